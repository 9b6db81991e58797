"""
The files in vaults: a row for each file and state, seen from one date to another.

A night is compared with the rows of the night before, so one without changes writes next to
nothing. A file whose state is new gets a row, in chunks under a run that is not whole, where
readers of the view `vault_now` do not see it. One transaction then ends the rows of states that are
gone and makes the run whole.
"""

import heapq
import secrets
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from hashlib import sha256
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import names, pages, runs
from db.database import Database, DatabaseFailed
from db.dialects import insert_rows
from db.runs import AlreadyRecorded, Begun, Unseen
from db.schema import VAULT_IS_WHOLE, vault, vault_actions, vault_now, volume
from lurge_types.names import Group, User
from lurge_types.reports import Run
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile
from utils.paths import raw

PAGE_ROWS = 20_000
"""How many rows are read at a time to compare with."""

CHANGED_ROWS = 1_000
"""How many rows a statement ends or takes up again."""

SWEPT_ROWS = 10_000
"""How many rows are deleted at a time: a few tenths of a second."""

Row = tuple[object, ...]


class Overtaken(DatabaseFailed):
    """Another run has been recorded, so that the rows that were compared with are not the last."""


class Known(NamedTuple):
    """A row to compare with; one that is not open was ended by the run that is to be replaced."""

    state: bytes
    record_id: int
    is_open: bool


def begin(database: Database, run: Run, of: Volume, rows: int, *, replace: bool) -> "Filling":
    """
    Record a run that found so many files.

    Raises DatabaseFailed, and AlreadyRecorded unless what is recorded shall be replaced; what was
    imported never is, since its rows are of many days.
    """
    token = secrets.token_hex(16)
    volume_id, actions = database.transaction(
        lambda connection: (
            names.volume_id(connection, of),
            names.vault_actions(connection),
        )
    )

    def record(connection: Connection) -> "Filling":
        of_day = runs.origins(connection, run.report, volume_id).get(run.record_date)
        if of_day and of_day.imported_from:
            raise AlreadyRecorded(
                f"{run.record_date} was imported from {of_day.imported_from}: it is kept"
            )
        begun = runs.begin(connection, run, volume_id, token, rows, replace=replace)
        there = runs.stored(connection, run, volume_id)
        base = [(day, theirs) for day, theirs in there if day <= run.record_date]
        return Filling(database, run, begun, volume_id, base=base, actions=actions, replace=replace)

    return database.transaction(record)


class Filling:
    """
    A run that is being filled, by one thread; see `begin`.

    First `changes` tells which files have no row yet, then each of them is added.

    stores_rows: False where a newer date is there: then there are no changes.
    """

    def __init__(
        self,
        database: Database,
        run: Run,
        begun: Begun,
        volume_id: int,
        *,
        base: Sequence[tuple[date, str]],
        actions: Mapping[str, int],
        replace: bool,
    ) -> None:
        self.stores_rows = begun.stores_rows
        self._database = database
        self._run = run
        self._begun = begun
        self._volume_id = volume_id
        self._base = list(base)
        self._actions = actions
        self._replace = replace
        self._new: int | None = None if begun.stores_rows else 0
        self._filled = 0
        self._gone = array("q")
        self._again = array("q")
        self._users: dict[int, int] = {}
        self._groups: dict[int, int] = {}

    def changes(self, states: Iterable[bytes]) -> "array[int]":
        """
        Compare all of today's states, in ascending order, with the rows; those that have none.

        They are told by their places, of equal ones the first: two vaults may hold one file.

        Raises DatabaseFailed.
        """
        new, self._gone, self._again = array("q"), array("q"), array("q")
        if not self.stores_rows:
            return new
        known = self._known()
        row = next(known, None)
        last = b""
        for place, state in enumerate(states):
            if state <= last:
                if state < last:
                    raise ValueError(f"state {place} is less than the one before")
                continue
            last = state
            while row is not None and row.state < state:
                self._miss(row)
                row = next(known, None)
            if row is None or row.state != state:
                new.append(place)
                continue
            if not row.is_open:
                self._again.append(row.record_id)
            row = next(known, None)
        while row is not None:
            self._miss(row)
            row = next(known, None)
        self._new = len(new)
        return new

    def add(
        self, files: Sequence[VaultFile], users: Mapping[int, User], groups: Mapping[int, Group]
    ) -> None:
        """
        Write the rows of some thousand files that have none, in one transaction.

        users, groups: at least those of the files, by uid and gid.

        Raises DatabaseFailed, RunLost.
        """
        if not self.stores_rows or not files:
            return
        if self._filled + len(files) > (self._new or 0):
            raise ValueError(f"more than the {self._new or 0} files that have no row")
        self._learn(files, users, groups)
        rows = [self._row(file) for file in files]

        def write(connection: Connection) -> None:
            if runs.fill(connection, self._begun, self._filled, len(rows)):
                insert_rows(connection, vault, rows)

        self._database.transaction(write)
        self._filled += len(rows)

    def finish(self) -> None:
        """
        Let readers see the new states, and no longer those that are gone, in one transaction.

        Raises DatabaseFailed, Overtaken, RunLost; and AlreadyRecorded where another was first,
        unless that shall be replaced.
        """
        if self._filled != self._new:
            raise ValueError(f"{self._filled} rows were added of {self._new}")
        self._database.transaction(self._complete if self.stores_rows else self._restate)

    def abandon(self) -> None:
        """Make a left-over of a run that is not whole, to be swept by the next one."""
        runs.abandon(self._database, self._begun)

    def _known(self) -> Iterator[Known]:
        """The rows of the night before, by state; each state comes once."""
        before = self._before()
        if before is None:
            return iter(())
        if before == self._base[-1][0]:
            return self._pages(None)
        # The run that is to be replaced has ended some of them.
        return heapq.merge(self._pages(None), self._pages(before))

    def _before(self) -> date | None:
        """The date of the night before, if there was one."""
        days = [day for day, _ in self._base if day < self._run.record_date]
        return days[-1] if days else None

    def _pages(self, last_seen: date | None) -> Iterator[Known]:
        """The rows of whole runs of earlier dates, last seen on a date or not yet, by state."""
        state = b""
        while True:
            select = self._page(last_seen, state)
            rows = self._database.transaction(partial(_read, select=select))
            for state, record_id in rows:
                yield Known(state, record_id, last_seen is None)
            if len(rows) < PAGE_ROWS:
                return

    def _page(self, last_seen: date | None, after: bytes) -> sql.Select[Any]:
        return (
            sql.select(vault.c.state_hash, vault.c.record_id)
            .where(
                vault.c.volume_id == self._volume_id,
                vault.c.last_seen == last_seen,
                vault.c.state_hash > after,
                vault.c.first_seen < self._run.record_date,
                VAULT_IS_WHOLE,
            )
            .order_by(vault.c.state_hash)
            .limit(PAGE_ROWS)
        )

    def _miss(self, row: Known) -> None:
        """Remember to end the row of a state that is gone."""
        if row.is_open:
            self._gone.append(row.record_id)

    def _learn(
        self, files: Sequence[VaultFile], users: Mapping[int, User], groups: Mapping[int, Group]
    ) -> None:
        """Learn the ids of names that are met for the first time, in a transaction of their own."""
        uids = {file.uid for file in files} - self._users.keys()
        gids = {file.gid for file in files} - self._groups.keys()

        def add_names(connection: Connection) -> None:
            self._users.update(names.user_ids(connection, [users[uid] for uid in uids]))
            self._groups.update(names.group_ids(connection, [groups[gid] for gid in gids]))

        if uids or gids:
            self._database.transaction(add_names)

    def _row(self, file: VaultFile) -> Row:
        """The values of a row, in the order of its columns; the database gives it its id."""
        return (
            None,
            file.shown,
            file.real_path,
            sha256(raw(file.real_path)).digest(),
            str(file.inode),
            file.links,
            self._groups[file.gid],
            self._actions[file.action],
            file.size_bytes,
            file.last_modified and file.last_modified.isoformat(),
            self._volume_id,
            self._users[file.uid],
            self._begun.run_id,
            self._run.record_date.isoformat(),
            None,
            file.state(),
        )

    def _complete(self, connection: Connection) -> None:
        runs.lock(connection, self._volume_id)
        base = runs.stored(connection, self._run, self._volume_id)
        token = self._begun.token
        if not runs.claim(connection, self._run, self._volume_id, token, replace=self._replace):
            return
        if base != self._base:
            raise Overtaken(
                f"{self._run.report} of {self._run.volume} was recorded by another run meanwhile, "
                "whose rows these were not compared with: run again"
            )
        _end(connection, self._gone, self._before())
        _end(connection, self._again, None)
        runs.complete(connection, self._run, self._volume_id, self._begun)

    def _restate(self, connection: Connection) -> None:
        runs.restate(connection, self._run, self._volume_id, self._begun, replace=self._replace)


class MarkedNow(NamedTuple):
    """A file that a vault has now: where it was when it was marked, and its inode."""

    real_path: bytes
    inode: int


def marked(database: Database, volume_names: Collection[str], action: str) -> Iterator[MarkedNow]:
    """
    The files of an action, whose name may be in any case, by the beginnings of their shown paths.

    Each comes once. A night that is recorded meanwhile may leave some out.

    Raises DatabaseFailed.
    """
    file = vault_now.c
    wanted = (
        sql.select(file.path_start, file.record_id, file.real_path, file.inode)
        .join(vault_actions, vault_actions.c.vault_action_id == file.vault_action_id)
        .join(volume, volume.c.volume_id == file.volume_id)
        .where(
            sql.func.lower(vault_actions.c.action_name) == action,
            volume.c.scratch_disk.in_(sorted(volume_names)),
        )
        .order_by(file.path_start, file.record_id)
        .limit(PAGE_ROWS)
    )
    page = wanted
    start, told = None, set[MarkedNow]()
    while rows := database.transaction(partial(pages.fetch, select=page)):
        for row in rows:
            if row.path_start != start:
                start, told = row.path_start, set()
            one = MarkedNow(raw(row.real_path), int(row.inode))
            if one not in told:
                told.add(one)
                yield one
        start, record_id = rows[-1].path_start, rows[-1].record_id
        behind = sql.or_(file.path_start > start, file.record_id > record_id)
        page = wanted.where(file.path_start >= start, behind)


def sweep(database: Database, report: str, volume_name: str) -> None:
    """
    Delete the rows of a volume that were replaced, in chunks, and what killed runs left.

    Raises DatabaseFailed; what is deleted by then stays deleted.
    """
    find = partial(runs.unseen, report=report, volume_name=volume_name)
    for of in database.transaction(find):
        while database.transaction(partial(_delete_some, of=of)):
            pass
        database.transaction(partial(runs.forget, of=of))


def _delete_some(connection: Connection, of: Unseen) -> bool:
    """Delete some of a run's rows; False if none are left, or the run_id is no longer its own."""
    if not runs.hold(connection, of):
        return False
    theirs = sql.select(vault.c.record_id).where(vault.c.run_id == of.run_id)
    ids = connection.scalars(theirs.order_by(vault.c.record_id).limit(SWEPT_ROWS)).all()
    if ids:
        where = vault.c.run_id == of.run_id, vault.c.record_id <= ids[-1]
        connection.execute(sql.delete(vault).where(*where))
    return len(ids) == SWEPT_ROWS


def _read(connection: Connection, select: sql.Select[Any]) -> list[tuple[bytes, int]]:
    return [(state, record_id) for state, record_id in connection.execute(select)]


def _end(connection: Connection, ids: "array[int]", last_seen: date | None) -> None:
    """Say when the states of rows were seen last; None takes them up again."""
    for first in range(0, len(ids), CHANGED_ROWS):
        some = ids[first : first + CHANGED_ROWS].tolist()
        connection.execute(
            sql.update(vault).where(vault.c.record_id.in_(some)).values(last_seen=last_seen)
        )
