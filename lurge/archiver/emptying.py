"""What has been in the bin for long enough is deleted, unit by unit; what must not be, stays."""

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Literal

from rich.table import Table

from db import leases, ledger
from db.dialects import clock
from db.leases import LeaseLost
from db.ledger import IN_BIN, UnitMoved
from lurge.archiver import binning, purging
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.claims import Claim, claimed
from lurge.archiver.guards import GuardTripped
from lurge.archiver.step import Step
from lurge.archiver.works import Works, bin_of, words
from lurge_types.archive import RunNow, UnitNow
from lurge_types.targets import TargetFailed, TargetTrouble
from utils import show
from utils.durable import NoRoom
from utils.manifests import ManifestBroken
from utils.paths import text

FAILED = (TargetFailed, ManifestBroken, NoRoom, OSError)
"""Errors by which it cannot be told what the copies are, of one unit: the others are purged."""

IS_UNIT = re.compile(rb"[0-9a-f]{12}-[0-9]{6,}").fullmatch

HELD = "another works on it, or has moved it"

WELL = frozenset({"deleted", "held", "gone"})
"""What may become of a unit without a person having to look."""


@dataclass(frozen=True, slots=True)
class Purged:
    """
    What became of a unit whose time in the bin is over.

    stays: it was not deleted, or not all of it. held: another works on it, and tells what becomes
    of it. gone: another was quicker: it is no longer to be deleted. due: it would be.
    reason: why it stays, is held or gone.
    """

    unit: UnitNow
    became: Literal["deleted", "stays", "held", "gone", "due"]
    reason: str | None = None


def purge(works: Works, *, dry_run: bool = False, allow: Collection[str] = ()) -> Iterator[Purged]:
    """
    Delete what is due, also what a purge that was killed has begun; each unit as it is done.

    dry_run: only tell which. allow: names of guards: `mount` for what is no longer in a bin that
    nobody knows, or whose target is on another filesystem than was planned, `failures`.

    Raises GuardTripped where targets do not answer, time and again, DatabaseFailed.
    """
    failures = 0
    keeper = Checkpoints(works)
    runs: dict[int, RunNow] = {}
    for unit in due(works):
        if dry_run:
            yield Purged(unit, "due", unit.reason)
            continue
        if works.stop.is_set():
            break
        if unit.run_id not in runs:
            run = partial(ledger.run_of, prefix=unit.content_id)
            runs = {unit.run_id: works.database.read(run)}
        purged, failed = _purged(works, runs[unit.run_id], unit, allow)
        yield purged
        keeper.note()
        failures = failures + 1 if failed else 0
        _see_answered(works, failures, allow)
    if runs:
        keeper.end()
    if not dry_run:
        sweep(works)


def sweep(works: Works) -> None:
    """Remove from the volumes' bins what was left of units that are in none. Raises OSError."""
    for table in works.config.volume:
        for name in _names(bin_of(works.config, table.name)):
            for unit in works.database.read(partial(ledger.units, name=name)):
                binning.sweep(works, unit)


def _names(bin_: bytes) -> list[str]:
    """Of units that a bin has anything of."""
    try:
        names = os.listdir(bin_)
    except FileNotFoundError:
        return []
    return sorted(os.fsdecode(name) for name in names if IS_UNIT(name))


def due(works: Works) -> Iterator[UnitNow]:
    """The units whose time is over, page by page."""
    after, since = 0, works.database.read(clock)
    while page := works.database.read(partial(ledger.due, now=since, after=after)):
        yield from page
        after = page[-1].unit_id


def _see_answered(works: Works, failures: int, allow: Collection[str]) -> None:
    most = works.table.guards.max_failures
    if failures >= most and "failures" not in allow:
        units = show.count(most, "unit")
        raise GuardTripped("failures", f"of {units} in a row no target tells what it has")


def _purged(
    works: Works, run: RunNow, unit: UnitNow, allow: Collection[str]
) -> tuple[Purged, bool]:
    """What becomes of a unit, and whether it is because a target does not answer."""
    seconds = works.table.lease_seconds
    try:
        with claimed(works.database, unit, IN_BIN, works.holder, seconds) as found:
            if found is not None:
                return _tried(works, run, *found, allow=allow)
        why = HELD
    except (LeaseLost, UnitMoved) as error:
        works.watch.event("lease_lost", unit, reason=str(error))
        why = str(error)
    return _left(works, unit, why), False


def _left(works: Works, unit: UnitNow, why: str) -> Purged:
    """What becomes of a unit that is left to another, if there is one. why: that it is left."""
    again = works.database.read(partial(ledger.unit, unit_id=unit.unit_id))
    if not _is_due(again, works.database.read(clock)):
        return Purged(again, "gone", f"another was quicker: it is {again.state}")
    holder = works.database.read(partial(leases.holder, name=ledger.lease_of(again)))
    return Purged(again, "stays" if holder is None else "held", why)


def _is_due(unit: UnitNow, time: datetime) -> bool:
    """Whether a unit is to be deleted, by its time or as that has begun."""
    if unit.state == "binned":
        return unit.purge_after is not None and unit.purge_after <= time
    return unit.state == "deleting"


def _tried(
    works: Works, run: RunNow, unit: UnitNow, claim: Claim, *, allow: Collection[str]
) -> tuple[Purged, bool]:
    """The same of a unit that is claimed."""
    time = works.database.read(clock)  # the one by which it was put there, whatever the host's is
    if not _is_due(unit, time):
        return Purged(unit, "gone", f"it is {unit.state}, and not due"), False
    step = Step(works, run, unit, None, claim)
    failed = False
    try:
        step = purging.purge(step, allow)
    except FAILED as error:
        step = purging.staying(step, words(error))
        failed = isinstance(error, TargetTrouble)
    became: Literal["deleted", "stays"] = "deleted" if step.unit.state == "deleted" else "stays"
    return Purged(step.unit, became, step.unit.reason), failed


def as_table(found: Iterable[Purged], *, dry_run: bool) -> Table:
    """What became of each unit, for people; or what would."""
    return show.table(
        "What would be deleted from the bin" if dry_run else "What was deleted from the bin",
        ("unit", "became", "size", "files", "path", "why"),
        (
            (
                each.unit.name,
                each.became,
                show.size(each.unit.size_bytes),
                f"{each.unit.files:,}",
                text(each.unit.root),
                each.reason or "",
            )
            for each in found
        ),
        right=("size", "files"),
        give=("path", "why"),
    )


def summary(found: Iterable[Purged]) -> str:
    """How much that frees, in words."""
    became = Counter[str]()
    freed = 0
    for each in found:
        became[each.became] += 1
        freed += each.unit.size_bytes if each.became in {"deleted", "due"} else 0
    units, others = became["deleted"] + became["due"], became["held"] + became["gone"]
    words = f"{show.count(units, 'unit')}, {show.size(freed)}; {became['stays']:,} stay"
    return f"{words}; {others:,} left to another" if others else words


def as_json(of: Purged) -> str:
    """What became of a unit, as one line of JSON in ASCII."""
    unit = of.unit
    return json.dumps(
        {
            "unit": unit.name,
            "run": unit.content_id,
            "became": of.became,
            "reason": of.reason,
            "volume": unit.volume,
            "root": text(unit.root),
            "files": unit.files,
            "size_bytes": unit.size_bytes,
            "purge_after": unit.purge_after and unit.purge_after.isoformat(),
        }
    )
