"""Plans, their steps and what has become of them: as tables for people, as JSON for programs."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rich.table import Table

from lurge.archiver.onlooking import RUN_DIGITS
from lurge.archiver.remarking import shown
from lurge.archiver.restoring import Found, Restored
from lurge.archiver.works import Works, bin_of
from lurge_types.archive import (
    Course,
    Missed,
    Policy,
    Run,
    State,
    Unit,
    UnitNow,
)
from utils import show
from utils.object_keys import of_manifest
from utils.paths import text

GOOD: Mapping[Course, frozenset[State]] = {
    "archive": frozenset({"binned", "deleted", "restored"}),
    "copy": frozenset({"verified", "restored"}),
    "discard": frozenset({"binned", "deleted", "restored"}),
}
"""Where a unit may end well, by the course of its run."""

AT_ONCE = "deleted at once"
"""What becomes of a unit that is not kept in the bin."""

WITHOUT_COPY = 50
"""So many paths are named in a question."""


class Planned(NamedTuple):
    """A plan, where it is, whether it is one of before, and what its selector could not tell."""

    file: Path
    run: Run
    is_old: bool
    missed: Sequence[Missed]


# A plan.


def plan_tables(planned: Planned) -> Iterator[Table]:
    """Its units, and what is left out."""
    run = planned.run
    if run.units:
        yield show.table(
            f"Run {run.content_id[:RUN_DIGITS]}: {run.policy.course} {_many(run)}",
            ("unit", "path", "subject", "files", "size"),
            (
                (
                    str(unit.number),
                    text(unit.root),
                    unit.subject or "-",
                    f"{unit.files:,}",
                    show.size(unit.size_bytes),
                )
                for unit in run.units
            ),
            right=("unit", "files", "size"),
            give=("path", "subject"),
        )
    if run.skipped:
        yield show.table(
            f"Left out ({len(run.skipped):,})",
            ("path", "subject", "why"),
            ((text(each.root), each.subject or "-", each.reason) for each in run.skipped),
            give=("path", "subject", "why"),
        )


def plan_words(planned: Planned, today: date) -> Iterator[str]:
    """Its totals, and what stops it; a line each."""
    run, policy = planned.run, planned.run.policy
    for each in planned.missed:
        yield f"{each.what}: {each.reason}"
    if not run.units:
        yield "nothing is due"
    files = sum(unit.files for unit in run.units)
    size = f"{show.size(run.size_bytes)} by the lengths of files, holes included"
    yield f"{_many(run)}, {show.count(files, 'file')}, {size}"
    if policy.targets:
        yield f"to {' and '.join(policy.targets)}, verified by {policy.verify}"
    if policy.recall:
        yield "what was released to an HSM is brought back by that"
    yield _frees(policy, run.size_bytes, today)
    if run.cost_per_month is not None:
        yield f"costs {run.cost_per_month} a month where it is"
    if run.cut_off:
        yield f"cut-off: {run.cut_off}"
    for guard in run.tripped:
        yield f"guard {guard.guard}: {guard.why}: look at it; to go on: --allow {guard.guard}"


def _many(run: Run) -> str:
    return show.count(len(run.units), "unit")


def going_on(planned: Planned) -> Iterator[str]:
    """Where it is, and how it is applied; a line each."""
    run = planned.run
    yield f"run file: {planned.file}" + (" (of the last hour)" if planned.is_old else "")
    if run.units:
        yield f"may be applied until {run.expires:%Y-%m-%d %H:%M} UTC: {applying(planned)}"


def applying(planned: Planned) -> str:
    """The command that applies a plan."""
    run = planned.run.content_id[:RUN_DIGITS]
    allow = "".join(f" --allow {name}" for name in _guards(planned.run))
    first = f"lurge archive approve {run}, by somebody else, then "
    needs = planned.run.policy.approval == "required"
    return f"{first if needs else ''}lurge archive apply {run}{allow}"


def applied_again(run: Run, allow: Iterable[str]) -> str:
    """The command that goes on with a run that was begun."""
    return " ".join(
        ["lurge archive apply", run.content_id[:RUN_DIGITS], *(f"--allow {each}" for each in allow)]
    )


def _guards(run: Run) -> list[str]:
    return sorted({each.guard for each in run.tripped})


def _frees(policy: Policy, size_bytes: int, today: date) -> str:
    """What is freed, and when, if it is applied today."""
    size = show.size(size_bytes)
    if policy.course == "copy":
        return "frees nothing: all stays where it is"
    if not policy.keep_in_bin:
        without = "no bin and no copy" if policy.course == "discard" else "no bin"
        return f"frees {size} at once: what it takes is {AT_ONCE}, {without}"
    day = today + timedelta(days=policy.keep_in_bin)
    return f"frees {size} on {day}: until then it is in the bin and counts against quotas"


def plan_json(planned: Planned) -> Iterator[str]:
    """A line for each unit, for what is left out or stops it, and for the plan."""
    run = planned.run
    for unit in run.units:
        yield _line(
            kind="unit",
            unit=run.unit_name(unit),
            volume=unit.volume,
            root=text(unit.root),
            subject=unit.subject,
            entries=unit.entries,
            files=unit.files,
            size_bytes=unit.size_bytes,
        )
    for each in run.skipped:
        yield _line(kind="skipped", root=text(each.root), subject=each.subject, reason=each.reason)
    for missed in planned.missed:
        yield _line(
            kind="missed", what=missed.what, reason=missed.reason, is_failure=missed.is_failure
        )
    for guard in run.tripped:
        yield _line(kind="guard", guard=guard.guard, why=guard.why)
    yield _line(
        kind="plan",
        run=run.content_id,
        file=text(bytes(planned.file)),
        is_old=planned.is_old,
        selector=run.selector,
        asked=run.asked,
        course=run.policy.course,
        targets=run.policy.targets,
        approval=run.policy.approval,
        cut_off=run.cut_off,
        planned_at=run.planned_at,
        planned_by=run.planned_by,
        expires=run.expires,
        units=len(run.units),
        files=sum(unit.files for unit in run.units),
        size_bytes=run.size_bytes,
        keep_in_bin=run.policy.keep_in_bin,
        cost_per_month=run.cost_per_month,
    )


# Its steps.


def steps(works: Works, run: Run, now: Mapping[int, UnitNow]) -> Iterator[str]:
    """
    Every step of each unit that is still to be taken, a line each.

    now: units by number, as the ledger has them.
    """
    for unit in run.units:
        known = now.get(unit.number)
        state: State = known.state if known else "planned"
        yield f"{run.unit_name(unit)} {text(unit.root)}: is {state}"
        for step in _steps(works, run, unit, state):
            yield f"  {step}"


def steps_json(works: Works, run: Run, now: Mapping[int, UnitNow]) -> Iterator[str]:
    """The same for programs, a line for each unit."""
    for unit in run.units:
        known = now.get(unit.number)
        state: State = known.state if known else "planned"
        yield _line(
            kind="steps",
            unit=run.unit_name(unit),
            root=text(unit.root),
            state=state,
            steps=list(_steps(works, run, unit, state)),
        )


def _steps(works: Works, run: Run, unit: Unit, state: State) -> Iterator[str]:
    policy = run.policy
    if state in GOOD[policy.course] and not (state == "binned" and not policy.keep_in_bin):
        yield "nothing more"
        return
    if state == "dirty":
        yield "nothing: it has changed; plan it again"
        return
    begun = state in {"planned", "claimed", "failed"}
    if begun:
        yield "claim it, and compare its manifest with the plan's"
    if policy.targets and (begun or state in {"copied", "verified"}):
        yield from _copying(run, unit, state, begun=begun)
    if policy.course == "copy":
        return
    if begun or state in {"copied", "verified"}:
        yield from _binning(works, policy, run.unit_name(unit), unit)
    if not policy.keep_in_bin:
        what = show.count(unit.entries, "entry", "entries")
        yield f"delete the {what} of its manifest, each compared before: {AT_ONCE}, no bin"


def _copying(run: Run, unit: Unit, state: State, *, begun: bool) -> Iterator[str]:
    policy = run.policy
    size = show.size(unit.size_bytes)
    for url in policy.targets if begun else ():
        yield f"copy {show.count(unit.files, 'file')}, {size}, to {url}, those above " + (
            f"{show.size(policy.segment_bytes)} in segments, layout {policy.layout}"
        )
        entries = show.count(unit.entries, "entry", "entries")
        yield f"store its manifest of {entries}: {of_manifest(run.unit_name(unit))}"
    if begun or state == "copied":
        yield from (f"verify the copy at {url} by {policy.verify}" for url in policy.targets)


def _binning(works: Works, policy: Policy, name: str, unit: Unit) -> Iterator[str]:
    folder = bin_of(works.config, unit.volume)
    what = "it" if unit.kind == "directory" else f"its {show.count(unit.files, 'name')}"
    yield f"rename {what} into {text(folder)}/{name}, and compare every entry there"
    if policy.tombstone and unit.kind == "directory":
        yield "leave a tombstone in its place"
    if policy.keep_in_bin:
        yield f"let it be deleted {show.count(policy.keep_in_bin, 'day')} later, by archive purge"


def question(run: Run, today: date) -> str:
    """What is asked before a run is applied."""
    if run.policy.course != "discard":
        at_once = not run.policy.keep_in_bin and run.policy.course == "archive"
        words = f" What is verified is then {AT_ONCE}, no bin." if at_once else ""
        return f"Upload?{words} [Y/N/D] "
    names = [text(unit.root) for unit in run.units]
    more = len(names) - WITHOUT_COPY
    until = today + timedelta(days=run.policy.keep_in_bin)
    lines = [
        "No copy is made of this, and what no other run has archived cannot be had back",
        f"after {until}:" if run.policy.keep_in_bin else f"from now on: it is {AT_ONCE}, no bin:",
        *(f"  {name}" for name in names[:WITHOUT_COPY]),
        *((f"  and {more:,} more: D shows all",) if more > 0 else ()),
        f"Discard {_many(run)}, {show.size(run.size_bytes)}? [Y/N/D] ",
    ]
    return "\n".join(lines)


# What has become of it.


def is_good(unit: UnitNow, policy: Policy) -> bool:
    """Whether a unit has come to a good end."""
    if policy.keep_in_bin == 0 and unit.state == "binned":
        return False
    stuck = unit.state == "binned" and unit.reason is not None
    return unit.state in GOOD[policy.course] and not stuck


def so_far(now: Iterable[UnitNow]) -> str | None:
    """How many units are in which states, of a run that was begun."""
    states = Counter(unit.state for unit in now)
    if states.keys() <= {"planned"}:
        return None
    return "begun before: " + ", ".join(
        f"{count:,} {state}" for state, count in states.most_common()
    )


def outcome_tables(units: Sequence[UnitNow], policy: Policy) -> Iterator[Table]:
    """Units by their states, and those that need a person."""
    states: Counter[State] = Counter(unit.state for unit in units)
    sizes: Counter[State] = Counter()
    files: Counter[State] = Counter()
    for unit in units:
        sizes[unit.state] += unit.size_bytes
        files[unit.state] += unit.files
    yield show.table(
        "Units by state",
        ("state", "units", "files", "size"),
        (
            (state, f"{count:,}", f"{files[state]:,}", show.size(sizes[state]))
            for state, count in states.most_common()
        ),
        right=("units", "files", "size"),
    )
    if bad := [unit for unit in units if not is_good(unit, policy)]:
        yield show.table(
            "What needs a person, or is to be applied again",
            ("unit", "state", "path", "why"),
            ((unit.name, unit.state, text(unit.root), unit.reason or "-") for unit in bad),
            give=("path", "why"),
        )


def outcome_words(units: Iterable[UnitNow], done: Mapping[str, int]) -> Iterator[str]:
    """What was done now, and what is freed when. done: bytes by the state they were brought to."""
    copied, verified = show.size(done.get("copied", 0)), show.size(done.get("verified", 0))
    yield f"copied {copied}, verified {verified}"
    frees: defaultdict[date, int] = defaultdict(int)
    freed = 0
    for unit in units:
        if unit.state == "binned" and unit.purge_after:
            frees[unit.purge_after.date()] += unit.size_bytes
        freed += unit.size_bytes if unit.state == "deleted" else 0
    if freed:
        yield f"freed {show.size(freed)}"
    for day, size in sorted(frees.items()):
        yield f"in the bin {show.size(size)}: frees it on {day}, by archive purge"


def outcome_json(units: Sequence[UnitNow], run: Run, done: Mapping[str, int]) -> Iterator[str]:
    """A line for each unit, and one for all."""
    for unit in units:
        yield _line(
            kind="unit",
            unit=unit.name,
            run=unit.content_id,
            state=unit.state,
            is_good=is_good(unit, run.policy),
            reason=unit.reason,
            tries=unit.tries,
            volume=unit.volume,
            root=text(unit.root),
            subject=unit.subject,
            files=unit.files,
            size_bytes=unit.size_bytes,
            purge_after=unit.purge_after,
        )
    yield _line(
        kind="summary",
        run=run.content_id,
        states=dict(Counter(unit.state for unit in units)),
        copied_bytes=done.get("copied", 0),
        verified_bytes=done.get("verified", 0),
        binned_bytes=sum(unit.size_bytes for unit in units if unit.state == "binned"),
        freed_bytes=sum(unit.size_bytes for unit in units if unit.state == "deleted"),
        need_a_person=sum(not is_good(unit, run.policy) for unit in units),
    )


# What is brought back.


def restore_table(found: Iterable[Found], to: bytes | None) -> Table:
    """What would be restored."""
    return show.table(
        "To be restored",
        ("unit", "state", "path", "size of the unit", "to"),
        (
            (
                each.unit.name,
                each.unit.state,
                text(_path(each)),
                show.size(each.unit.size_bytes),
                "its place" if to is None else text(to),
            )
            for each in found
        ),
        right=("size of the unit",),
        give=("path", "to"),
    )


def _path(found: Found) -> bytes:
    return found.unit.root + (b"/" + found.inner if found.inner else b"")


def restored_table(done: Iterable[Restored]) -> Table:
    """What was restored, and what was not."""
    return show.table(
        "Restored",
        ("unit", "from", "to", "size", "remarks"),
        (
            (
                each.unit,
                "-" if each.failure else each.how,
                text(each.to),
                show.size(each.size_bytes),
                _became(each),
            )
            for each in done
        ),
        right=("size",),
        give=("from", "to", "remarks"),
    )


def _became(of: Restored) -> str:
    """What there is to say of something that was to be restored."""
    return f"not restored: {of.failure}" if of.failure else shown(of.remarks, of.remarked)


def restored_json(of: Restored) -> str:
    """What has become of restoring something, as one line of JSON in ASCII."""
    return _line(
        unit=of.unit,
        path=text(of.path),
        to=text(of.to),
        how=of.how,
        size_bytes=of.size_bytes,
        failure=of.failure,
        remarks=of.remarks,
        remarked=of.remarked,
    )


def _line(**facts: object) -> str:
    """A line of JSON in ASCII."""
    return json.dumps(facts, default=_written)


def _written(value: object) -> str:
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value)} is not written to JSON")
