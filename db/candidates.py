"""
What could be archived: added in chunks, seen all at once, and read again by rank.

Readers go by the view `archive_candidate_now`. The ids that a run keeps are not those of its rows,
which have run_id and rank: they say that it has rows, as those of `directory` do.
"""

import secrets
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import partial
from itertools import islice
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import names, pages, runs, sweeping
from db.database import Database
from db.dialects import insert_rows
from db.pages import Stored
from db.runs import Begun, Unseen
from db.schema import archive_candidate, candidate_group, unix_group
from lurge_types.candidates import COLD, Candidate
from lurge_types.names import Group
from lurge_types.reports import Run
from lurge_types.scans import Volume
from utils.paths import raw

SWEPT_ROWS = 10_000

Row = tuple[object, ...]


def begin(database: Database, run: Run, of: Volume, rows: int, *, replace: bool) -> "Filling":
    """
    Record a run that is to be filled with so many rows.

    Raises DatabaseFailed, and AlreadyRecorded unless what is recorded shall be replaced.
    """
    token = secrets.token_hex(16)
    volume_id = database.transaction(lambda connection: names.volume_id(connection, of))
    begun = database.transaction(
        partial(
            runs.begin,
            run=run,
            volume_id=volume_id,
            token=token,
            rows=rows,
            replace=replace,
            numbered=True,
        )
    )
    return Filling(database, run, begun, volume_id, replace=replace)


class Filling:
    """
    A run that is being filled, by one thread; see `begin`.

    stores_rows: False where a newer date is there: then the rows need not be added.
    """

    def __init__(
        self, database: Database, run: Run, begun: Begun, volume_id: int, *, replace: bool
    ) -> None:
        self.stores_rows = begun.stores_rows
        self._database = database
        self._run = run
        self._begun = begun
        self._volume_id = volume_id
        self._replace = replace
        self._filled = 0
        self._groups: dict[int, int] = {}

    def add(self, candidates: Sequence[Candidate], groups: Mapping[int, Group]) -> None:
        """
        Write some thousand rows in one transaction.

        groups: at least those that the candidates are of, by gid.

        Raises DatabaseFailed, RunLost.
        """
        if not self.stores_rows or not candidates:
            return
        self._learn(candidates, groups)
        rows = [self._row(candidate) for candidate in candidates]
        theirs = list(self._group_rows(candidates))

        def write(connection: Connection) -> None:
            if runs.fill(connection, self._begun, self._filled, len(rows)):
                insert_rows(connection, archive_candidate, rows)
                insert_rows(connection, candidate_group, theirs)

        self._database.transaction(write)
        self._filled += len(rows)

    def finish(self) -> None:
        """
        Let readers see the rows.

        Raises DatabaseFailed, RunLost; and AlreadyRecorded where another was first, unless that
        shall be replaced.
        """
        if self.stores_rows and self._filled != self._begun.rows:
            raise ValueError(f"{self._filled} rows were added of {self._begun.rows}")
        self._database.transaction(self._complete)

    def abandon(self) -> None:
        """Make a left-over of a run that is not whole, to be swept by the next one."""
        runs.abandon(self._database, self._begun)

    def _complete(self, connection: Connection) -> None:
        token = self._begun.token
        if runs.claim(connection, self._run, self._volume_id, token, replace=self._replace):
            runs.complete(connection, self._run, self._volume_id, self._begun)

    def _learn(self, candidates: Sequence[Candidate], groups: Mapping[int, Group]) -> None:
        """Learn the ids of groups that are met for the first time, in another transaction."""
        gids = {gid for each in candidates for gid in each.gids} - self._groups.keys()
        if gids:
            new = [groups[gid] for gid in gids]
            self._groups.update(self._database.transaction(partial(names.group_ids, groups=new)))

    def _group_rows(self, candidates: Iterable[Candidate]) -> Iterator[Row]:
        """The values of rows of `candidate_group`."""
        for candidate in candidates:
            for gid in candidate.gids:
                yield (self._begun.run_id, candidate.rank, self._groups[gid])

    def _row(self, candidate: Candidate) -> Row:
        """The values of a row, in the order of its columns."""
        return (
            self._begun.run_id,
            candidate.rank,
            candidate.kind,
            candidate.reason,
            self._volume_id,
            candidate.groups,
            candidate.pi,
            candidate.size_bytes,
            candidate.cold_bytes,
            candidate.files,
            _number(candidate.last_used_days),
            candidate.shown,
            candidate.real_path,
            _number(candidate.cost_per_month),
        )


def sweep(database: Database, report: str, volume_name: str) -> None:
    """Delete the rows that readers of a volume see no longer; see `db.sweeping`."""
    sweeping.sweep(database, report, volume_name, _delete, SWEPT_ROWS)


def _delete(connection: Connection, of: Unseen, ids: range) -> None:
    """Delete the rows up to a rank, for which the ids up to the last of these are kept."""
    last = ids.stop - of.ids.start
    for table in (candidate_group, archive_candidate):
        theirs = table.c.run_id == of.run_id, table.c.rank <= last
        connection.execute(sql.delete(table).where(*theirs))


def read(database: Database, run: Run) -> Iterator[Candidate] | None:
    """
    The rows of a run, by rank; None where they are not kept.

    Raises DatabaseFailed, and RowsReplaced at the end where they are not all of one run.
    """
    stored = database.transaction(partial(pages.newest, report=run.report, volume_name=run.volume))
    if stored is None or stored.run.record_date != run.record_date or not stored.keeps_rows:
        return None
    return _ranked(database, stored)


def cold(
    database: Database, volume_name: str, kinds: Collection[str], group_names: Collection[str]
) -> Iterator[bytes] | None:
    """
    The real paths of the directories of a volume's newest run, by rank; None where there is none.

    kinds: classes that they may be of. group_names: one of these has files in them; any, if none
    are given.

    Raises DatabaseFailed, and RowsReplaced at the end where they are not all of one run.
    """
    stored = database.transaction(
        partial(pages.newest, report="candidates", volume_name=volume_name)
    )
    if stored is None or not stored.keeps_rows:
        return None
    of = archive_candidate.c
    theirs = sql.select(of.rank, of.real_path).where(
        of.run_id == stored.run_id, of.reason == COLD, of["class"].in_(sorted(kinds))
    )
    if group_names:
        theirs = theirs.where(_of_groups(group_names))
    return _paths(database, stored, theirs)


def _of_groups(group_names: Collection[str]) -> sql.ColumnElement[bool]:
    """Of a candidate: one of the groups has files in it."""
    its = candidate_group.c
    return sql.exists().where(
        its.run_id == archive_candidate.c.run_id,
        its.rank == archive_candidate.c.rank,
        its.group_id == unix_group.c.group_id,
        unix_group.c.group_name.in_(sorted(group_names)),
    )


def _paths(database: Database, stored: Stored, theirs: sql.Select[Any]) -> Iterator[bytes]:
    for row in pages.through(database, theirs, archive_candidate.c.rank):
        yield raw(row.real_path)
    pages.check(database, [stored])


def _ranked(database: Database, stored: Stored) -> Iterator[Candidate]:
    theirs = sql.select(archive_candidate).where(archive_candidate.c.run_id == stored.run_id)
    rows = pages.through(database, theirs, archive_candidate.c.rank)
    while some := list(islice(rows, pages.PAGE_ROWS)):
        ranks = some[0].rank, some[-1].rank
        gids = database.transaction(partial(_gids, run_id=stored.run_id, ranks=ranks))
        yield from (_candidate(row, gids[row.rank]) for row in some)
    pages.check(database, [stored])


def _gids(connection: Connection, run_id: int, ranks: tuple[int, int]) -> Mapping[int, list[int]]:
    """The gids of candidates from one rank to another, of each in ascending order."""
    theirs = candidate_group.c.run_id == run_id, candidate_group.c.rank.between(*ranks)
    rows = connection.execute(
        sql.select(candidate_group.c.rank, unix_group.c.gid)
        .join(unix_group, unix_group.c.group_id == candidate_group.c.group_id)
        .where(*theirs)
        .order_by(unix_group.c.gid)
    )
    gids: dict[int, list[int]] = defaultdict(list)
    for rank, gid in rows:
        gids[rank].append(gid)
    return gids


def _candidate(row: sql.Row[Any], gids: Sequence[int]) -> Candidate:
    """The twin of `Filling._row` and `_group_rows`."""
    values = row._mapping
    return Candidate(
        rank=values["rank"],
        kind=values["class"],
        reason=values["reason"],
        groups=values["groups"],
        pi=values["pi"],
        size_bytes=values["size"],
        cold_bytes=values["cold"],
        files=values["files"],
        last_used_days=values["last_used"],
        shown=values["path"],
        real_path=values["real_path"],
        cost_per_month=values["cost_per_month"],
        gids=tuple(gids),
    )


def _number(value: Decimal | None) -> float | None:
    """As SQLite takes it; a float's shortest digits are the decimal, in every database."""
    return None if value is None else float(value)
