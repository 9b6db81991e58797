"""
Checkpoints of the ledger, written while it changes.

A checkpoint is made of what the ledger says at that time and of nothing else, so whichever process
writes it, it has what all have done. It has each unit of the newest run, of every run that has not
ended, and each that is in a bin: so it grows with what is under way and not with the years. All
else is told by the manifests at the targets. What a unit became since the last one was written is
told by its bin, which is why it need not be written for each.

A ledger that does not know a run of the last checkpoint is one that was lost and is not recovered:
what the checkpoint has of that run is carried on.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import chain

from sqlalchemy.engine import Connection

from db import copies, leases, ledger
from db.database import DatabaseFailed
from db.leases import is_dead
from db.ledger import IN_BIN
from lurge.archiver.works import Works, now, words
from lurge_types.archive import RunNow, UnitNow
from utils import checkpoints, show
from utils.checkpoints import Checkpoint, CheckpointBroken, Head, Kept, Record
from utils.durable import NoRoom

SECONDS = 10.0
"""How often one is written, at most."""

SHARE = 20
"""One is written for a twentieth of the time, at most."""

LEASE = "checkpoint"
LEASE_SECONDS = 60.0
LOOKS_SECONDS = 0.2

FAILURES = (OSError, CheckpointBroken)


class Checkpoints:
    """Writes checkpoints for a process that changes units."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self._next = 0.0
        self._told = False
        self._full: NoRoom | None = None

    def begin(self) -> None:
        """Write one before anything is done. Raises NoRoom, OSError, CheckpointBroken."""
        self._write()

    def see_room(self) -> None:
        """See that there was room for the last one. Raises NoRoom."""
        if self._full is not None:
            raise self._full

    def note(self) -> None:
        """Write one, if the last is old enough; a unit has changed."""
        if time.monotonic() >= self._next and not self._is_new():
            self._try()

    def end(self) -> None:
        """Write one, after whoever is just writing another."""
        until = time.monotonic() + LEASE_SECONDS
        while not self._try() and time.monotonic() < until:
            if self._works.stop.wait(LOOKS_SECONDS):
                break

    def _is_new(self) -> bool:
        """Whether somebody has just written one."""
        with suppress(FileNotFoundError):
            newest = max(file.stat().st_mtime for file in self._works.table.checkpoint_files)
            return 0 <= time.time() - newest < SECONDS
        return False

    def _try(self) -> bool:
        """Write one; whether nobody else was just writing. That it cannot be written is told."""
        try:
            self._full = None
            return self._write()
        except (NoRoom, *FAILURES) as error:
            self._full = error if isinstance(error, NoRoom) else None
            self._works.watch.event("checkpoint_failed", reason=words(error))
            return True

    def _write(self) -> bool:
        with self._alone() as alone:
            if alone:
                begun = time.monotonic()
                try:
                    self._written()
                finally:
                    ended = time.monotonic()
                    self._next = ended + max(SECONDS, SHARE * (ended - begun))
        return alone

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Whether nobody else writes one while the block runs. Raises DatabaseFailed."""
        database = self._works.database
        token = database.transaction(
            lambda connection: leases.take(
                connection, LEASE, self._works.holder, LEASE_SECONDS, dead=is_dead
            )
        )
        if token is None:
            yield False
            return

        def release(connection: Connection) -> None:
            leases.release(connection, LEASE, token)

        try:
            yield True
        except BaseException:
            with suppress(DatabaseFailed):  # then the lease ends by itself
                database.transaction(release, retry_seconds=0)
            raise
        database.transaction(release)

    def _written(self) -> Checkpoint:
        works = self._works
        files = works.table.checkpoint_files
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
        before = checkpoints.newest(files).newest
        run = works.database.read(ledger.last_started)
        carried = () if before is None else self._carried(before)

        def about(generation: int) -> Head:
            content_id, cut_off = (run.content_id, run.cut_off) if run else (None, None)
            return Head(generation, now(), works.actor.who, content_id, cut_off)

        def well() -> bool:
            last = works.database.read(ledger.last_started)
            return last is not None and last.ended is not None

        return checkpoints.write(files, about, chain(_records(works, run), carried), well)

    def _carried(self, before: Checkpoint) -> Iterator[Record]:
        """What the last checkpoint has of runs that the ledger does not know."""
        lost: set[str] = set()
        for record in checkpoints.records(before):
            content_id = record.content_id if isinstance(record, RunNow) else _run_of(record)
            if isinstance(record, RunNow) and not _knows(self._works, content_id):
                lost.add(content_id)
            if content_id in lost:
                yield record
        if lost and not self._told:
            self._told = True
            runs = show.count(len(lost), "run")
            why = f"the ledger does not know {runs} of {before.file}: archive recover"
            self._works.watch.event("checkpoint_unknown", reason=why)


def is_lost(works: Works, content_id: str) -> bool:
    """
    Whether the ledger does not know a run that somebody has begun to apply, by the last checkpoint.

    Raises OSError, CheckpointBroken.
    """
    if _knows(works, content_id):
        return False
    last = checkpoints.newest(works.table.checkpoint_files).newest
    return last is not None and any(
        record.content_id == content_id and record.started is not None
        for record in checkpoints.records(last)
        if isinstance(record, RunNow)
    )


def _run_of(kept: Kept) -> str:
    return kept.unit.content_id


def _knows(works: Works, content_id: str) -> bool:
    return works.database.read(partial(ledger.known, content_id=content_id)) is not None


def _records(works: Works, newest: RunNow | None) -> Iterator[Record]:
    """The runs, and the units behind theirs, that a checkpoint has."""
    whole = {run.run_id: run for run in works.database.read(ledger.unfinished)}
    if newest is not None:
        whole[newest.run_id] = newest
    for run in whole.values():
        yield run
        yield from _units(works, run_id=run.run_id)
    told: set[int] = set()
    for kept in _units(works, states=IN_BIN):
        run_id = kept.unit.run_id
        if run_id in whole:
            continue
        if run_id not in told:
            told.add(run_id)
            yield _run(works, kept.unit)
        yield kept


def _run(works: Works, unit: UnitNow) -> RunNow:
    return works.database.read(partial(ledger.run_of, prefix=unit.content_id))


def _units(works: Works, **which: object) -> Iterator[Kept]:
    """Units with their copies, page by page."""
    after = 0
    page = partial(ledger.units, **which)  # type: ignore[arg-type]
    while some := works.database.read(partial(page, after=after)):
        ids = [unit.unit_id for unit in some]
        known = works.database.read(partial(copies.of, unit_ids=ids))
        yield from (Kept(unit, tuple(known.get(unit.unit_id, ()))) for unit in some)
        after = some[-1].unit_id
