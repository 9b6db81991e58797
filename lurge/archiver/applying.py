"""
A run is applied: by one process or by several, on one host or more, as often as one likes.

Each takes units that nobody else has, in their order, and brings each as far as it comes. In the
end it waits for those that others have: if one of these dies, its units are taken over.

Where there is no room for what a run writes about itself, no unit is to blame, and none would come
further: the process ends, and each unit stays where it is on its way.
"""

from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path

from sqlalchemy.engine import Connection

from db import ledger
from db.leases import LeaseLost
from db.ledger import NotOnTheWay, UnitMoved
from lurge.archiver import binning, checkpointing, guards
from lurge.archiver.binning import BinRefused
from lurge.archiver.checkpointing import Checkpoints, is_lost
from lurge.archiver.claims import Claim, claimed
from lurge.archiver.guards import GuardTripped
from lurge.archiver.reading import Changed, SourceFailed
from lurge.archiver.step import Step
from lurge.archiver.steps import PlanLost, next_step
from lurge.archiver.works import Works, now, words
from lurge_types.archive import OPEN, STATES, Actor, Run, RunNow, State, UnitNow
from lurge_types.targets import TargetFailed
from utils import runfiles, show
from utils.differences import Differs
from utils.durable import NoRoom
from utils.handles import TreeUnfit
from utils.journals import JournalBroken
from utils.manifests import ManifestBroken

LOOKS_SECONDS = 5.0
"""How often it is looked whether others are done with their units."""

MOST_LOST = 3
"""How often a process takes a unit up again whose lease it has lost."""

CHANGED = (Changed, Differs, TreeUnfit)
"""Errors by which a unit is not what was planned: the source is left as it is."""

FAILED = (
    SourceFailed,
    TargetFailed,
    BinRefused,
    PlanLost,
    JournalBroken,
    ManifestBroken,
    NotOnTheWay,
    OSError,
)
"""Errors after which a unit may be tried again."""


class RunRefused(Exception):
    """A run is not applied: why, and what to do."""


def apply(works: Works, file: Path, run: Run, allow: Collection[str] = ()) -> list[UnitNow]:
    """
    Apply a run; what has become of its units.

    allow: names of guards that a person has allowed to trip.

    Raises RunRefused, GuardTripped, NotAllowed where it is not approved, DatabaseFailed; NoRoom
    where the run's folder or that of the checkpoints is full.
    """
    _see_recovered(works, run)
    known = works.database.read(partial(ledger.known, content_id=run.content_id))
    open_ = _open_states(run)
    is_open = known is None or next(_units(works, known.run_id, open_), None) is not None
    if run.units and is_open:
        see_fresh(works, run, allow)
    begin = partial(_begin_run, run=run, file=file, actor=works.actor, moment=now())
    works.database.transaction(begin)
    row = works.database.read(partial(ledger.run_of, prefix=run.content_id))
    keeper = Checkpoints(works)
    _begin(keeper)
    _Applying(works, run, row, open_, allow, keeper).until_done()
    finish = partial(ledger.finish_run, run_id=row.run_id, actor=works.actor, now=now())
    works.database.transaction(finish)
    keeper.end()
    units = list(_units(works, row.run_id, None))
    for unit in units:
        binning.sweep(works, unit)
    keeper.see_room()
    return units


def _begin_run(
    connection: Connection, run: Run, file: Path, actor: Actor, moment: datetime
) -> None:
    """Enter a run, and that somebody applies it: what is refused before bars no other plan."""
    run_id = ledger.register(connection, run, file, actor, moment)
    ledger.begin_run(connection, run_id, actor, moment)


def _see_recovered(works: Works, run: Run) -> None:
    """See that the ledger is not one that has lost what is known of a run. Raises RunRefused."""
    try:
        lost = is_lost(works, run.content_id)
    except checkpointing.FAILURES as error:
        raise RunRefused(f"{words(error)}: see to archive.checkpoint_files") from error
    if lost:
        raise RunRefused(
            "it was begun before, by the last checkpoint, and the ledger does not know it: "
            "archive recover first"
        )


def _begin(keeper: Checkpoints) -> None:
    try:
        keeper.begin()
    except checkpointing.FAILURES as error:
        raise RunRefused(
            f"no checkpoint can be written: {words(error)}: see to archive.checkpoint_files"
        ) from error


def _open_states(run: Run) -> frozenset[State]:
    """In which states there is something left to do for a unit."""
    if run.policy.keep_in_bin == 0:
        return OPEN[run.policy.course] | {"binned", "deleting"}
    return OPEN[run.policy.course]


def _units(works: Works, run_id: int, states: Collection[State] | None) -> Iterator[UnitNow]:
    """The units of a run in these states, page by page."""
    after = 0
    while page := works.database.read(
        partial(ledger.units, run_id=run_id, states=states, after=after)
    ):
        yield from page
        after = page[-1].unit_id


def see_fresh(works: Works, run: Run, allow: Collection[str]) -> None:
    """
    See that a plan still tells what is there: nothing of it was done yet, or it goes on.

    Another may begin it at any moment, and move what is looked at.

    Raises RunRefused, GuardTripped.
    """
    guards.see_mounts(works, run, allow)
    if alike := guards.targets_alike(run.policy.targets):
        raise RunRefused(alike)
    guards.see_archives(works, run, allow)
    if _is_begun(works, run):
        return
    if now() > run.expires:
        raise RunRefused(f"the plan has expired on {run.expires:%Y-%m-%d %H:%M} UTC: plan again")
    guards.see_usual(run, allow)
    try:
        guards.see_roots(run, allow)
    except GuardTripped:
        if not _is_begun(works, run):
            raise


def _is_begun(works: Works, run: Run) -> bool:
    """Whether something of a run was done."""
    known = works.database.read(partial(ledger.known, content_id=run.content_id))
    begun = STATES - {"planned"}
    return known is not None and next(_units(works, known.run_id, begun), None) is not None


@dataclass
class _Applying:
    """Units that are being brought on by this process, each once unless its lease is lost."""

    works: Works
    run: Run
    row: RunNow
    open_states: frozenset[State]
    allow: Collection[str]
    keeper: Checkpoints
    tried: set[int] = field(default_factory=set)
    lost: Counter[int] = field(default_factory=Counter)
    failures: int = 0

    def __post_init__(self) -> None:
        self._planned = {unit.number: unit for unit in self.run.units}

    def until_done(self) -> None:
        """Bring on all units, those of others too if they give them up."""
        seconds = min(LOOKS_SECONDS, self.works.table.lease_seconds / 2)
        while self._round():
            if self.works.stop.wait(seconds):
                break

    def _round(self) -> bool:
        """Bring on what is free; whether others have units that are not done."""
        others = False
        for unit in _units(self.works, self.row.run_id, self.open_states):
            if unit.unit_id not in self.tried:
                others |= not self._bring_on(unit)
        return others

    def _bring_on(self, unit: UnitNow) -> bool:
        """Bring on a unit; whether it was free, or is done."""
        works = self.works
        guards.see_mounts(works, self.run, self.allow)
        seconds = works.table.lease_seconds
        try:
            with claimed(works.database, unit, self.open_states, works.holder, seconds) as found:
                if found is None:
                    return False
                self.tried.add(unit.unit_id)
                self._advance(*found)
        except (LeaseLost, UnitMoved) as error:
            works.watch.event("lease_lost", unit, reason=str(error))
            self._lose(unit)
            return False
        except NoRoom as error:
            works.watch.event("no_room", unit, reason=str(error))
            raise
        self.keeper.note()
        self.keeper.see_room()
        return True

    def _lose(self, unit: UnitNow) -> None:
        """
        Come back to a unit whose lease was lost, unless that happens all the time.

        Nobody may have taken it over, as when the database was away for longer than the lease.
        """
        self.lost[unit.unit_id] += 1
        if self.lost[unit.unit_id] < MOST_LOST:
            self.tried.discard(unit.unit_id)

    def _advance(self, unit: UnitNow, claim: Claim) -> None:
        """Bring a unit as far as it comes."""
        planned = self._planned[unit.number]
        first = Step(self.works, self.row, unit, planned, claim)
        with suppress(OSError):  # what comes next tells what is wrong with it
            runfiles.sweep(first.folder)
        step: Step | None = first
        while step is not None:
            last = step
            try:
                step = next_step(step, self.allow)
            except CHANGED as error:
                self._take_back(last, str(error))
                return
            except FAILED as error:
                self._fail(last, error)
                return
        self.failures = 0

    def _take_back(self, step: Step, why: str) -> None:
        try:
            binning.take_back(step, why)
        except FAILED as error:
            self._fail(step, error)

    def _fail(self, step: Step, error: Exception) -> None:
        _settle(step, words(error))
        self._count_failure()

    def _count_failure(self) -> None:
        self.failures += 1
        most = self.works.table.guards.max_failures
        if self.failures >= most and "failures" not in self.allow:
            raise GuardTripped("failures", f"{show.count(most, 'unit')} in a row failed: see why")


def _settle(step: Step, why: str) -> None:
    """Note that a step has failed; what is in the bin stays what it is."""
    state = step.unit.state
    step.moved(state if state in {"binned", "deleting"} else "failed", reason=why)
