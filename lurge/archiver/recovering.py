"""
The night on which the database is lost: what it knew is told again, by all that is left.

A run is known by its run file; where that is lost, by the manifests at the targets, by what is in
the bins, or by the newest checkpoint. What became of a unit is told by looking: see `verdicts`.
Only units are told of that the ledger has never moved, so whoever recovers twice, or a ledger that
was never lost, changes nothing.

Of a run with a volume or a target that is not there nothing is told: what cannot be seen is not
gone. It is told when that is there again.
"""

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from rich.table import Table

from db import ledger, recovery
from db.recovery import NEW
from lurge.archiver import evidence
from lurge.archiver.binning import bins_of
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.evidence import InBin, Manifest, Where
from lurge.archiver.step import order_of
from lurge.archiver.traces import Object, Traces, bin_of_place, prefix_of
from lurge.archiver.verdicts import Evidence, truth
from lurge.archiver.works import Works, now, words
from lurge_types.archive import (
    UNIT_NAME_DIGITS,
    Copy,
    Fingerprint,
    Header,
    Policy,
    Run,
    RunNow,
    State,
    Unit,
    UnitNow,
)
from utils import runfiles, show
from utils.checkpoints import Kept
from utils.journals import NEVER, Order
from utils.manifests import ManifestBroken, ManifestUnknown
from utils.paths import raw, text

UNKNOWN = "unknown"
RECOVERED = "recovered"
"""How a copy was verified of which only that is known: else its unit would not be in the bin."""


@dataclass(frozen=True, slots=True)
class Recovered:
    """
    Something that was found.

    became: `recovered`: the ledger has this unit again. `left out`: it cannot be told, for now.
    `remark`: something for a person to look at. where: a path, a file or a URL, in text form.
    source: by what its state is known.
    """

    became: Literal["recovered", "left out", "remark"]
    unit: str | None
    state: State | None
    where: str
    source: str
    why: str | None


class _Run(NamedTuple):
    """
    A run that has left a trace.

    run: as its run file has it, or made up of what is left. file: where that is, or would be.
    was: what the checkpoint has of it.
    """

    run: Run
    file: Path
    has_file: bool
    was: RunNow | None
    objects: Mapping[str, list[Object]]

    @property
    def prefix(self) -> str:
        """The digits by which its units are known."""
        return prefix_of(self.run.content_id)


def recover(works: Works, allow: Collection[str] = ()) -> Iterator[Recovered]:
    """
    Tell the ledger what it does not know; each unit as it is told, and what is worth a look.

    allow: `mount`, `target`: what was on a volume, or at a target, that is not there is gone.

    Raises DatabaseFailed, TargetFailed, CheckpointBroken, OSError.
    """
    remarks: list[Recovered] = []

    told: set[tuple[str, str]] = set()

    def tell(where: str, why: str) -> None:
        if (where, why) not in told:
            told.add((where, why))
            remarks.append(Recovered("remark", None, None, where, "-", why))

    traces = Traces(works, tell)
    ages = [(age, prefix) for prefix in traces.look() if (age := _age(traces, prefix))]
    changed = False
    # The oldest first: of several units of one path the one registered last is the newest.
    for _, prefix in sorted(ages):
        for each in _recovered(traces, prefix, allow):
            changed |= each.became == "recovered"
            yield each
        yield from remarks
        remarks.clear()
    yield from remarks
    if changed:
        Checkpoints(works).end()


def _age(traces: Traces, prefix: str) -> datetime | None:
    """When a run was planned, if anything tells of that."""
    if file := traces.files.get(prefix):
        return runfiles.read(file).planned_at
    if was := traces.runs.get(prefix):
        return was.planned_at
    objects = traces.objects(prefix, traces.works.table.target)
    first = next(traces.headers(prefix, objects), None)
    return first.planned_at if first else None


def _recovered(traces: Traces, prefix: str, allow: Collection[str]) -> Iterator[Recovered]:
    """What becomes of a run."""
    of = _found(traces, prefix)
    if unseen := [*_unseen(traces, of, allow)]:
        where = str(of.file) if of.has_file else f"run {of.run.content_id}"
        yield Recovered("left out", None, None, where, "-", "; ".join(unseen))
        return
    run_id = _registered(traces.works, of)
    told = False
    for unit in _new_units(traces.works, run_id):
        try:
            found = _gathered(traces, of, unit)
        except ManifestUnknown as error:
            where = text(unit.root)
            yield Recovered("left out", unit.name, None, where, "-", words(error))
            continue
        if each := _told(traces.works, found):
            told = True
            yield each
    if told or not (of.has_file or of.run.units):
        _finish(traces.works, run_id, of.was)


def _found(traces: Traces, prefix: str) -> _Run:
    was = traces.runs.get(prefix)
    if file := traces.files.get(prefix):
        run = runfiles.read(file)
        return _Run(run, file, True, was, traces.objects(prefix, _urls(traces, run.policy.targets)))
    urls = was.policy.targets if was else ()
    objects = traces.objects(prefix, _urls(traces, urls))
    headers = [*traces.headers(prefix, objects)]
    run = _made_up(traces.works, headers, was)
    objects = traces.objects(prefix, _urls(traces, run.policy.targets))
    file = traces.works.table.run_dir / runfiles.file_name(run)
    return _Run(run, was.file if was else file, False, was, objects)


def _urls(traces: Traces, targets: Iterable[str]) -> tuple[str, ...]:
    """All targets at which a run's copies may be."""
    return tuple(dict.fromkeys([*targets, *traces.works.table.target]))


def _made_up(works: Works, headers: list[Header], was: RunNow | None) -> Run:
    """A run whose file is lost, as far as it is known; it may have no units."""
    table = works.table
    planned_at = was.planned_at if was else headers[0].planned_at
    return Run(
        content_id=was.content_id if was else headers[0].run or "",
        system=was.system if was else table.system,
        name=was.name if was else table.name,
        selector=was.selector if was else UNKNOWN,
        asked="",
        cut_off=was.cut_off if was else None,
        planned_at=planned_at,
        planned_by=was.planned_by if was else UNKNOWN,
        config_sha256="",
        expires=was.expires if was else planned_at,
        policy=was.policy if was else _policy_of(works, headers[0]),
        mounts=(),
        units=tuple(map(_unit_of, headers)),
        skipped=(),
        tripped=(),
        cost_per_month=None,
    )


def _policy_of(works: Works, header: Header) -> Policy:
    """The policy of a run of which a unit's header is known."""
    table = works.table
    return Policy(
        course=header.course or "archive",
        targets=header.targets,
        verify=table.verify,
        layout=table.layout,
        keep_in_bin=table.keep_in_bin,
        tombstone=False,
        approval="none",
        segment_bytes=table.segment_size,
    )


def _unit_of(header: Header) -> Unit:
    return Unit(
        number=int(header.unit[UNIT_NAME_DIGITS + 1 :]),
        kind=header.kind,
        volume=header.volume,
        root=header.root,
        subject=header.subject,
        gids=(),
        entries=header.entries,
        files=header.files,
        size_bytes=header.size_bytes,
        root_fingerprint=Fingerprint(0, 0, "d", 0, 0, 0),
        manifest_sha256="",
    )


def _unseen(traces: Traces, of: _Run, allow: Collection[str]) -> Iterator[str]:
    """What of a run cannot be seen, and why."""
    if "mount" not in allow:
        for volume in sorted({unit.volume for unit in of.run.units}):
            if why := _absent(traces.works, volume):
                yield f"volume {volume} {why}: see to it, or --allow mount if it is gone"
    if "target" not in allow:
        for url in of.run.policy.targets:
            if traces.target(url) is None:
                yield f"{url} does not answer: see to it, or --allow target if it is gone"
            elif traces.is_empty(url) and _is_expected(traces, of, url):
                yield f"{url} holds nothing: see to it, or --allow target if it is gone"


def _is_expected(traces: Traces, of: _Run, url: str) -> bool:
    """Whether a target should have a copy of a run's units, by what there is besides."""
    if of.objects or (traces.bins.get(of.prefix) and of.run.policy.course != "discard"):
        return True
    kept = traces.units.get(of.prefix, {}).values()
    return any(copy.target == url for each in kept for copy in each.copies)


def _absent(works: Works, name: str) -> str | None:
    """Why a volume is not believed to be there."""
    mount = next((raw(table.mount) for table in works.config.volume if table.name == name), None)
    if mount is None:
        return "is not configured"
    marker = works.table.guards.marker
    try:
        with os.scandir(mount) as entries:
            if next(entries, None) is None:
                return "holds nothing"
        if marker is not None:
            os.stat(os.path.join(mount, os.fsencode(marker)))
    except OSError as error:
        return f"is not mounted ({words(error)})"
    return None


# The ledger.


def _registered(works: Works, of: _Run) -> int:
    """The ledger's id of a run, which it knows from now on with all of its units."""
    known = works.database.read(partial(ledger.known, content_id=of.run.content_id))
    if known and of.has_file and known.file.exists():
        return known.run_id
    if known and not of.has_file and not _lacks(works, known.run_id, of.run):
        return known.run_id
    at = now()
    register = partial(
        ledger.register, run=of.run, file=of.file, actor=works.actor, now=at, complete=True
    )
    run_id = works.database.transaction(register)
    if of.was is not None:
        tell = partial(recovery.tell_run, run_id=run_id, was=of.was, actor=works.actor, now=at)
        works.database.transaction(tell)
    return run_id


def _lacks(works: Works, run_id: int, run: Run) -> bool:
    """Whether the ledger does not know all units of a run."""
    known: set[int] = set()
    after = 0
    while page := works.database.read(partial(ledger.units, run_id=run_id, after=after)):
        known |= {unit.number for unit in page}
        after = page[-1].unit_id
    return not known.issuperset(unit.number for unit in run.units)


def _new_units(works: Works, run_id: int) -> Iterator[UnitNow]:
    """The units of a run that were never moved, page by page."""
    after = 0
    page = partial(ledger.units, run_id=run_id, states=NEW)
    while some := works.database.read(partial(page, after=after)):
        yield from (unit for unit in some if not unit.moves)
        after = some[-1].unit_id


def _told(works: Works, of: Evidence) -> Recovered | None:
    """Tell the ledger of a unit; None where it says so already."""
    at = now()
    found = truth(of, at)
    unit = of.unit
    if found.state == "planned" and not works.database.read(
        partial(recovery.is_behind, one=unit, token=found.token)
    ):
        return None
    tell = partial(
        recovery.tell_unit,
        one=unit,
        truth=found,
        actor=works.actor,
        holder=works.holder,
        now=at,
    )
    told = works.database.transaction(tell)
    where = text(unit.root)
    if told is None:
        why = "somebody works on it, or has moved it"
        return Recovered("left out", unit.name, None, where, of.sources, why)
    works.watch.event("recovered", told, source=of.sources)
    wrong = [*([found.reason] if found.reason else []), *map(_in_words, of.lost)]
    reason = "; ".join(wrong) or None
    return Recovered("recovered", unit.name, told.state, where, of.sources, reason)


def _in_words(lost: Copy) -> str:
    return f"its copy at {lost.target} ({lost.key}) is not whole"


def _finish(works: Works, run_id: int, was: RunNow | None) -> None:
    ended = was.ended if was is not None and was.ended is not None else now()
    finish = partial(ledger.finish_run, run_id=run_id, actor=works.actor, now=ended)
    works.database.transaction(finish)


# What is found of a unit.


def _gathered(traces: Traces, of: _Run, unit: UnitNow) -> Evidence:
    kept = traces.units.get(of.prefix, {}).get(unit.name)
    was = kept.unit if kept else None
    in_bin = _bin(traces, of, unit, was)
    proof = in_bin.origin.binned_at if in_bin and in_bin.origin and in_bin.whole else None
    # What was not verified may have been copied anew since.
    known = {
        copy.target: copy
        for copy in (kept.copies if kept else ())
        if copy.verified_at or copy.lost_at
    }
    order = in_bin.order if in_bin else NEVER
    manifests, lost = _manifests(traces, of, unit, known, order)
    whole = {
        url: known.get(url) or _copy(url, manifest, proof if is_sure else None)
        for url, (manifest, is_sure) in manifests.items()
    }
    one = next((manifest for manifest, _ in manifests.values()), None)
    journal = evidence.token_of(runfiles.unit_folder(of.file, unit.number))
    return Evidence(
        unit=unit,
        was=was,
        has_file=of.has_file,
        is_open=_is_open(traces, of),
        copies=tuple(whole.values()),
        lost=tuple(lost),
        all_copies=whole.keys() >= set(of.run.policy.targets),
        bin=in_bin,
        bin_unseen=bool(was and was.bin and not os.path.lexists(bin_of_place(was.bin))),
        where=_where(of, unit, one),
        keep_in_bin=of.run.policy.keep_in_bin,
        planned_at=of.run.planned_at,
        token=max(journal, in_bin.token if in_bin else 0, was.token if was else 0),
        sources=_sources(traces, kept, in_bin, whole),
    )


def _is_open(traces: Traces, of: _Run) -> bool:
    """Whether a run may go on: a checkpoint has all those that had not ended."""
    last = traces.checkpoint
    if not of.has_file or now() >= of.run.expires or (of.was and of.was.ended):
        return False
    return of.was is not None or last is None or last.head.written_at < of.run.planned_at


def _sources(
    traces: Traces, kept: Kept | None, in_bin: InBin | None, whole: Mapping[str, Copy]
) -> str:
    last = traces.checkpoint
    known = [f"checkpoint {last.head.generation}"] if kept and last else []
    known += [f"bin {text(in_bin.place.folder)}"] if in_bin else []
    return ", ".join([*known, *whole]) or "its place"


def _bin(traces: Traces, of: _Run, unit: UnitNow, was: UnitNow | None) -> InBin | None:
    bins = [*traces.bins.get(of.prefix, {}).get(unit.name, ())]
    if any(table.name == unit.volume for table in traces.works.config.volume):
        bins += bins_of(traces.works.config, unit)
    if was is not None and was.bin is not None:
        bins.append(bin_of_place(was.bin))
    return evidence.in_bin(bins, unit.name, unit.kind, partial(traces.tell, unit.name))


def _where(of: _Run, unit: UnitNow, manifest: Manifest | None) -> Where:
    """What is in the place of a unit."""
    plan = runfiles.plan_manifest(of.file, unit.number)
    if unit.kind == "files":
        there = manifest.in_place if manifest else evidence.all_in_place(unit, plan)
        return "same" if there else "none"
    inode = manifest.root_inode if manifest else None
    if of.has_file:
        planned = next(each for each in of.run.units if each.number == unit.number)
        inode = planned.root_fingerprint.inode
    return evidence.where(unit, inode)


def _manifests(
    traces: Traces, of: _Run, unit: UnitNow, known: Mapping[str, Copy], order: Order
) -> tuple[dict[str, tuple[Manifest, bool]], list[Copy]]:
    """
    The manifests of a unit's copies, by target, and whether each is surely that with which the unit
    came into the bin; and the copies that are known and have none that is what it was.

    order: of the copies with which it came there. Raises ManifestUnknown.
    """
    found: dict[str, tuple[Manifest, bool]] = {}
    by_url: dict[str, list[Object]] = {}
    for each in of.objects.get(unit.name, ()):
        by_url.setdefault(each.target.url, []).append(each)
    for url, objects in by_url.items():
        copy = known.get(url)
        if copy is not None and copy.lost_at:
            continue
        read = [one for each in objects if (one := _read(traces, unit, copy, each))]
        if read:
            right = max(read, key=partial(_rank, order))
            is_sure = len(objects) == 1 if order == NEVER else order_of(right.header) == order
            found[url] = right, is_sure
    lost = [
        copy if copy.lost_at else _lost(copy) for url, copy in known.items() if url not in found
    ]
    return found, lost


def _lost(copy: Copy) -> Copy:
    return replace(copy, verified_at=None, verified_how=None, lost_at=now())


def _read(traces: Traces, unit: UnitNow, known: Copy | None, object_: Object) -> Manifest | None:
    """
    A manifest of a unit; None where it is not that of the copy that is known, or, which is told,
    none of the unit.

    Raises ManifestUnknown: it may be the one that counts.
    """
    target, stored = object_
    where = f"{target.url} {stored.key}"
    if known is not None and stored.key != known.key:
        return None
    try:
        manifest = evidence.read_manifest(target, stored.key, stored.size, traces.works.patience())
    except ManifestUnknown as error:
        raise ManifestUnknown(f"{where}: {error}") from error
    except ManifestBroken as error:
        traces.tell(where, words(error))
        return None
    if (manifest.header.unit, manifest.header.root) != (unit.name, unit.root):
        traces.tell(where, "it is of another unit than its name says")
        return None
    if known is not None and manifest.sha256 != known.manifest_sha256:
        traces.tell(where, "it is not what was sent")
        return None
    return manifest


def _rank(order: Order, manifest: Manifest) -> tuple[bool, Order, str]:
    """
    Of several manifests of a unit the largest counts: files were sent again since the others.

    Before they told their order the key of a later one was longer than that of the first.
    """
    its = order_of(manifest.header)
    return its == order != NEVER, its, manifest.key


def _copy(url: str, manifest: Manifest, proof: datetime | None) -> Copy:
    """A copy of which its manifest tells; proof: since when it must have been verified."""
    return Copy(
        target=url,
        key=manifest.key,
        manifest_sha256=manifest.sha256,
        manifest_bytes=manifest.size_bytes,
        copied_at=proof or now(),
        verified_at=proof,
        verified_how=RECOVERED if proof else None,
    )


# What it is told as.


def as_table(found: Iterable[Recovered]) -> Table:
    """What was found, for people."""
    return show.table(
        "What was recovered",
        ("what", "unit", "state", "where", "known by", "why"),
        (
            (
                each.became,
                each.unit or "-",
                each.state or "-",
                each.where,
                each.source,
                each.why or "",
            )
            for each in found
        ),
        give=("where", "known by", "why"),
    )


def as_json(of: Recovered) -> str:
    """What was found, as one line of JSON in ASCII."""
    return json.dumps(
        {
            "became": of.became,
            "unit": of.unit,
            "state": of.state,
            "where": of.where,
            "source": of.source,
            "why": of.why,
        }
    )
