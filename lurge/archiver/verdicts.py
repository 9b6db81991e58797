"""
What became of a unit, by what is found of it: records in, a record out.

What is seen goes before what a checkpoint says, which is older. In doubt a unit gets the state in
which most can be done to have it back: nothing is deleted by it, and a copy that is there can be
restored.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from db.ledger import IN_BIN
from db.recovery import Truth
from lurge.archiver.evidence import InBin, Where
from lurge_types.archive import Binned, Copy, State, UnitNow

ENDS: frozenset[State] = frozenset({"deleted", "restored", "dirty"})
"""States in which nothing is done to a unit any more but by a person."""

AGAIN = "it is in its place, and its run cannot go on: plan again"
NOWHERE = "it is neither in its place, nor in a bin, nor at a target"
UNSEEN = "its bin is not there: see whether it is mounted"
HALF_WAY = "it came into the bin and was not compared with its copy: restore it"


@dataclass(frozen=True, slots=True)
class Evidence:
    """
    What is found of a unit.

    unit: as it was just registered. was: what a checkpoint has of it. has_file: whether its run
    file is there. is_open: whether its run could still be begun. copies: that are whole. lost: that
    are not. all_copies: whether each of its run's targets has one. bin_unseen: the bin that the
    checkpoint has it in is not there. keep_in_bin: days. token: the largest that was seen.
    sources: by what it is known, in words.
    """

    unit: UnitNow
    was: UnitNow | None
    has_file: bool
    is_open: bool
    copies: tuple[Copy, ...]
    lost: tuple[Copy, ...]
    all_copies: bool
    bin: InBin | None
    bin_unseen: bool
    where: Where
    keep_in_bin: int
    planned_at: datetime
    token: int
    sources: str


def truth(of: Evidence, now: datetime) -> Truth:
    """What is true of a unit."""
    state, reason = _in_bin(of, of.bin, now) if of.bin else _elsewhere(of)
    # Tokens are counted one by one from 1: none that was ever given is as large as the time.
    token = max(int(now.timestamp()), of.token + 1) if state != "planned" else of.token
    known = (*of.copies, *of.lost)
    return Truth(state, known, token, reason, _binned(of, state, now), of.sources)


def _binned(of: Evidence, state: State, now: datetime) -> Binned | None:
    """Where it is; of what is deleted only since when: at least since it was planned."""
    until = now + timedelta(days=of.keep_in_bin)
    if of.bin and state in IN_BIN:
        place, origin = of.bin.place, of.bin.origin
        if origin is not None:
            until = max(until, origin.purge_after)
            return Binned(place.folder, origin.binned_at, until)
        return Binned(place.folder, (of.was and of.was.binned_at) or now, until)
    if of.was is not None and of.was.binned_at is not None:
        return Binned(of.was.bin or b"", of.was.binned_at, until)
    return Binned(b"", of.planned_at, until) if state == "deleted" else None


def _in_bin(of: Evidence, found: InBin, now: datetime) -> tuple[State, str | None]:
    was = of.was.state if of.was else None
    if not found.whole:
        if was not in IN_BIN and of.has_file:
            return "claimed", None
        return "binned", (of.was and of.was.reason) or HALF_WAY
    if not found.lacks:
        return "binned", None
    over = found.origin is not None and found.origin.purge_after <= now
    if found.emptied and (was == "deleting" or (over and of.unit.course != "discard")):
        return "deleting", None
    return "binned", f"in the bin, {'; '.join(found.lacks)}"


def _elsewhere(of: Evidence) -> tuple[State, str | None]:
    was = of.was
    if was is not None and (was.state in ENDS or (was.state, was.course) == ("verified", "copy")):
        return was.state, was.reason
    if was is not None and was.state in IN_BIN:
        return _out_of_bin(of, was)
    if of.where == "same":
        return _in_place(of, was.state if was else None)
    if of.copies:
        return ("verified" if of.unit.course == "copy" else "deleted"), None
    if of.unit.course == "discard" and was is None:
        return "deleted", None
    return "dirty", NOWHERE


def _out_of_bin(of: Evidence, was: UnitNow) -> tuple[State, str | None]:
    """What is no longer in the bin in which the checkpoint has it."""
    if of.bin_unseen:
        return was.state, UNSEEN
    if of.where == "same":
        return "restored", None
    if of.copies or of.unit.course == "discard":
        return "deleted", None
    return was.state, NOWHERE


def _in_place(of: Evidence, was: State | None) -> tuple[State, str | None]:
    if of.has_file and was is not None:
        return _under_way(of, was)
    if was is None and of.is_open:
        return "planned", None
    if was is None and of.has_file and of.unit.course == "copy" and of.all_copies:
        return "copied", None
    return ("restored", None) if of.copies else ("dirty", AGAIN)


def _under_way(of: Evidence, was: State) -> tuple[State, str | None]:
    """Where its run goes on; a copy that is not as it was is made again."""
    if was == "failed" and of.was is not None:
        return was, of.was.reason
    verified = all(copy.verified_at for copy in of.copies)
    lacking = not of.all_copies or (was == "verified" and not verified)
    if was in {"copied", "verified"} and lacking:
        return "claimed", None
    return was, None
