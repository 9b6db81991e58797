"""
What is to be acted on of what was proposed, by what was done before: records in, records out.

There is no window that moves and no last id: what qualifies is due until the ledger has it done. So
what was left out once, for whatever reason, is seen again.
"""

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import NamedTuple

from lurge.bins import Bins
from lurge_types.archive import REMOVED, Missed, Proposal, Selector, Skipped, State, UnitNow
from utils.paths import text
from utils.places import ABSENT

UNDER_WAY: frozenset[State] = frozenset({"planned", "claimed", "copied", "verified", "failed"})
"""States in which a run has something to do yet, unless it has ended."""

ID_DIGITS = 8

Proposed = Proposal | Skipped | Missed


@dataclass(frozen=True, slots=True)
class Terms:
    """
    By what is told what is due.

    cold_after: for how many days what was restored is left to whoever wanted it back.
    open_runs: the ids of those that have not ended and may still be applied.
    """

    selector: Selector
    today: date
    cold_after: int
    open_runs: Collection[int] = ()
    bins: Bins = field(default_factory=Bins)


class _Known(NamedTuple):
    """What the ledger knows, and the roots of what is under way, sorted."""

    units: Mapping[bytes, UnitNow]
    busy: Sequence[bytes]


def due(
    proposed: Iterable[Proposed], units: Mapping[bytes, UnitNow], terms: Terms
) -> Iterator[Proposed]:
    """
    Each proposal once, or why it is left out; what else is proposed goes through.

    units: of each root the newest unit, but one of an open run goes first: of what is proposed, of
    all directories above, and of all that is in open runs.

    No two directories that are due lie in one another: the outer stays. Those that lie in, above or
    at the root of a vault whose files are due make way. Files come as they are proposed, and then
    directories in their order.
    """
    busy = sorted(root for root, unit in units.items() if _is_under_way(unit, terms))
    known = _Known(units, busy)
    directories: list[Proposal] = []
    vaults: set[bytes] = set()
    for each in proposed:
        if isinstance(each, Skipped):
            yield _known_better(each, known.units.get(each.root))
        elif isinstance(each, Missed):
            yield each
        elif why := _bar(each, known, terms):
            yield Skipped(each.root, each.subject, why)
        elif each.kind == "files":
            vaults.add(each.root)
            yield each
        else:
            directories.append(each)
    yield from _apart(directories, vaults)


def above(root: bytes) -> Iterator[bytes]:
    """
    The directories above a path, the nearest first.

    >>> list(above(b"/a/b/c"))
    [b'/a/b', b'/a', b'/']
    """
    while root != b"/":
        root = root.rpartition(b"/")[0] or b"/"
        yield root


def below(root: bytes, among: Sequence[bytes]) -> bytes | None:
    """The first of some paths, sorted, that lies below a directory."""
    start = root.rstrip(b"/") + b"/"
    at = bisect_left(among, start)
    if at < len(among) and among[at] == root:  # of the root of all, which lies not below itself
        at += 1
    return among[at] if at < len(among) and among[at].startswith(start) else None


def _known_better(skipped: Skipped, unit: UnitNow | None) -> Skipped:
    """What is absent since it was removed is told so."""
    is_gone = unit is not None and unit.kind == "directory" and unit.state in REMOVED
    if skipped.reason != ABSENT or unit is None or not is_gone or unit.binned_at is None:
        return skipped
    act = "discarded" if unit.course == "discard" else "archived"
    return replace(skipped, reason=f"{ABSENT}: {act} on {unit.binned_at.date()} as {unit.name}")


def _bar(proposal: Proposal, known: _Known, terms: Terms) -> str | None:
    """Why the ledger, or a bin, bars a proposal."""
    root = proposal.root
    if _meets_bin(proposal, terms.bins):
        return "is, lies in or holds a bin"
    if unit := known.units.get(root):
        if _is_under_way(unit, terms):
            return f"in run {unit.content_id[:ID_DIGITS]}"
        if unit.state == "restored" and (why := _wanted_back(unit, proposal, terms)):
            return why
    for directory in above(root):
        unit = known.units.get(directory)
        if unit and unit.kind == "directory" and (why := _bar_above(unit, proposal, terms)):
            return f"lies in {text(directory)}: {why}"
    if inner := _busy_below(proposal, known):
        run = known.units[inner].content_id[:ID_DIGITS]
        return f"holds {text(inner)}: in run {run}"
    return None


def _meets_bin(proposal: Proposal, bins: Bins) -> bool:
    """Whether a proposal has to do with a bin; what files lie below may hold one."""
    if proposal.kind == "directory":
        return bins.meet(proposal.root)
    start = proposal.root.rstrip(b"/") + b"/"
    return any(map(bins.hold, (proposal.root, *(start + each for each in proposal.members))))


def _busy_below(proposal: Proposal, known: _Known) -> bytes | None:
    """What is under way in a directory, or has one of the files in it."""
    inner = below(proposal.root, known.busy)
    if inner is None or proposal.kind == "directory":
        return inner
    busy = set(known.busy) - {proposal.root}
    start = proposal.root.rstrip(b"/") + b"/"
    over = (directory for member in proposal.members for directory in above(start + member))
    return next((each for each in over if each in busy and each.startswith(start)), None)


def _bar_above(unit: UnitNow, proposal: Proposal, terms: Terms) -> str | None:
    """Why a unit above a proposal bars it."""
    if _is_under_way(unit, terms):
        return f"in run {unit.content_id[:ID_DIGITS]}"
    if unit.state == "restored" and terms.selector in {"candidates", "vault"}:
        return _wanted_back(unit, proposal, terms)
    return None


def _is_under_way(unit: UnitNow, terms: Terms) -> bool:
    """Whether a run still has something to do with a unit; to one that is only copied nothing."""
    is_copied = unit.course == "copy" and unit.state == "verified"
    return unit.run_id in terms.open_runs and unit.state in UNDER_WAY and not is_copied


def _wanted_back(unit: UnitNow, proposal: Proposal, terms: Terms) -> str | None:
    """Why what was restored is left alone, if it is."""
    restored = unit.updated.date()
    match terms.selector:
        case "paths":
            return None  # a person has named it
        case "projects":
            ended_again = proposal.since is not None and proposal.since > restored
            return None if ended_again else f"restored on {restored}, and not ended again since"
        case _:
            until = restored + timedelta(terms.cold_after)
            return (
                f"restored on {restored}: left out until {until}" if terms.today < until else None
            )


def _apart(
    directories: Sequence[Proposal], vaults: Collection[bytes]
) -> Iterator[Proposal | Skipped]:
    """Directories none of which lies in another; of those with one root the first stays."""
    vaults_sorted = sorted(vaults)
    meeting = {each.root: _meeting(each.root, vaults, vaults_sorted) for each in directories}
    taken: set[bytes] = set()
    for each in directories:
        outer = [directory for directory in above(each.root) if meeting.get(directory, b"") is None]
        vault = meeting[each.root]
        if vault is not None:
            why = f"files of the vault in {text(vault)} are acted on first"
            yield Skipped(each.root, each.subject, why)
        elif outer:
            yield Skipped(each.root, each.subject, f"lies in {text(outer[-1])}")
        elif each.root in taken:
            yield Skipped(each.root, each.subject, "is proposed twice")
        else:
            taken.add(each.root)
            yield each


def _meeting(root: bytes, vaults: Collection[bytes], ordered: Sequence[bytes]) -> bytes | None:
    """The root of a vault that is a directory, lies in it or above it."""
    over = (directory for directory in (root, *above(root)) if directory in vaults)
    return next(over, None) or below(root, ordered)
