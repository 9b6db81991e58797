"""
What lies where, by the million rows: added in chunks, seen all at once, deleted in chunks.

Readers go by the view `directory_now`. A run's rows are seen from the moment it is whole; those
that it replaces, and those of older dates, are seen no longer and wait to be swept.
"""

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import partial

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import directory_sums, names, runs, sweeping
from db.database import Database
from db.dialects import insert_rows
from db.names import Owner
from db.runs import Begun, Unseen
from db.schema import base_directory_usage, directory, directory_age, file_size
from lurge_types.names import Group
from lurge_types.reports import NOWHERE, OTHER, BaseDirectory, BaseUse, DirectoryReport, Run
from lurge_types.scans import Volume

SWEPT_ROWS = 10_000
"""How many directories are deleted at a time, with their details: a few tenths of a second."""

TYPES_BITS = 16
"""More than the number of file types takes: a file_size_id is a directory_id and a filetype_id."""

Row = tuple[object, ...]
Uses = Callable[[], Iterable[Sequence[BaseUse]]]


def begin(
    database: Database,
    run: Run,
    of: Volume,
    rows: int,
    *,
    replace: bool,
    file_types: Sequence[str],
) -> "Filling":
    """
    Record a run that is to be filled with so many rows.

    file_types: the names of kinds 1, 2, ... of the reports' parts by type.

    Raises DatabaseFailed, and AlreadyRecorded unless what is recorded shall be replaced.
    """
    token = secrets.token_hex(16)

    def add_names(connection: Connection) -> tuple[int, list[int]]:
        ids = names.file_type_ids(connection, [OTHER, *file_types])
        return names.volume_id(connection, of), [ids[name] for name in (OTHER, *file_types)]

    volume_id, kinds = database.transaction(add_names)
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
    return Filling(database, run, begun, volume_id, kinds, replace=replace)


class Filling:
    """
    A run that is being filled, by one thread; see `begin`.

    stores_rows: False where a newer date is there: then the rows need not be added.
    """

    def __init__(
        self,
        database: Database,
        run: Run,
        begun: Begun,
        volume_id: int,
        kinds: Sequence[int],
        *,
        replace: bool,
    ) -> None:
        self.stores_rows = begun.stores_rows
        self._database = database
        self._run = run
        self._begun = begun
        self._volume_id = volume_id
        self._kinds = kinds
        self._replace = replace
        self._filled = 0
        self._owners: dict[int, Owner] = {}
        self._bases: dict[str, int] = {}

    def add(self, reports: Sequence[DirectoryReport], groups: Mapping[int, Group]) -> None:
        """
        Write some thousand rows in one transaction.

        Raises DatabaseFailed, RunLost.
        """
        if self._begun.first_id is None or not reports:
            return
        if self._filled + len(reports) > self._begun.rows:
            raise ValueError(f"more than the {self._begun.rows} rows for which there are ids")
        self._know(reports, groups)
        first = self._begun.first_id + self._filled
        rows = [self._row(number, report) for number, report in enumerate(reports, start=first)]
        sizes = list(_sizes(first, reports, self._kinds))
        ages = list(_ages(first, reports))

        def write(connection: Connection) -> None:
            if runs.fill(connection, self._begun, self._filled, len(rows)):
                insert_rows(connection, directory, rows)
                insert_rows(connection, file_size, sizes)
                insert_rows(connection, directory_age, ages)

        self._database.transaction(write)
        self._filled += len(rows)

    def finish(self, uses: Uses, groups: Mapping[int, Group]) -> None:
        """
        Let readers see the rows, and write the day's use of base directories, in one transaction.

        The rows are summed up before it.

        uses: gives chunks of a few thousand; it may be asked several times.

        Raises DatabaseFailed, RunLost; and AlreadyRecorded where another was first, unless that
        shall be replaced.
        """
        if self.stores_rows and self._filled != self._begun.rows:
            raise ValueError(f"{self._filled} rows were added of {self._begun.rows}")
        for chunk in uses():
            self._know(chunk, groups)
        if self.stores_rows:
            self._database.transaction(self._sum_up)
        self._database.transaction(partial(self._complete, uses=uses))

    def abandon(self) -> None:
        """Make a left-over of a run that is not whole, to be swept by the next one."""
        runs.abandon(self._database, self._begun)

    def _know(
        self, rows: Sequence[DirectoryReport] | Sequence[BaseUse], groups: Mapping[int, Group]
    ) -> None:
        """Learn the ids of names that are met for the first time, in a transaction of their own."""
        bases = {row.base for row in rows if row.base.real not in self._bases}
        new = any(row.gid not in self._owners for row in rows)

        def add_names(connection: Connection) -> None:
            if bases:
                self._bases.update(names.base_ids(connection, self._volume_id, bases))
            if new:
                self._owners.update(names.owners(connection, groups.values()))

        if bases or new:
            self._database.transaction(add_names)

    def _row(self, number: int, report: DirectoryReport) -> Row:
        """The values of a row of `directory`, in the order of its columns."""
        owner = self._owners[report.gid]
        return (
            number,
            self._begun.run_id,
            _project(report.base),
            report.directory,
            report.real_path,
            report.files,
            report.size_bytes,
            _days(report.last_modified_days),
            _days(report.last_used_days),
            report.kept_files,
            report.holds_vault,
            report.lies_above,
            owner.pi_id,
            owner.group_id,
            self._volume_id,
            self._bases[report.base.real],
        )

    def _sum_up(self, connection: Connection) -> None:
        """It takes seconds where there are a million rows: too long for what others wait for."""
        runs.hold_on(connection, self._begun)
        directory_sums.sum_up(connection, self._begun.run_id)

    def _complete(self, connection: Connection, uses: Uses) -> None:
        day = self._run.record_date
        token = self._begun.token
        if not runs.claim(connection, self._run, self._volume_id, token, replace=self._replace):
            return
        if self._replace:
            connection.execute(
                sql.delete(base_directory_usage).where(
                    base_directory_usage.c.volume_id == self._volume_id,
                    base_directory_usage.c.record_date == day,
                )
            )
        for chunk in uses():
            if chunk:
                values = [self._use(use, day) for use in chunk]
                connection.execute(sql.insert(base_directory_usage), values)
        runs.complete(connection, self._run, self._volume_id, self._begun)

    def _use(self, use: BaseUse, day: date) -> dict[str, object]:
        owner = self._owners[use.gid]
        return {
            "record_date": day,
            "unix_id": owner.group_id,
            "base_directory_id": self._bases[use.base.real],
            "volume_id": self._volume_id,
            "pi_id": owner.pi_id,
            "used": use.used_bytes,
            "inodes": use.inodes,
            "last_modified": use.last_modified_days,
        }


def sweep(database: Database, report: str, volume_name: str) -> None:
    """Delete the rows that readers of a volume see no longer; see `db.sweeping`."""
    sweeping.sweep(database, report, volume_name, _delete, SWEPT_ROWS)


def _delete(connection: Connection, of: Unseen, ids: range) -> None:
    """Delete directories, their details first, and with the first of them what all amount to."""
    directory_sums.delete(connection, of.run_id)
    for table in (file_size, directory_age, directory):
        where = table.c.directory_id.between(ids.start, ids.stop - 1)
        connection.execute(sql.delete(table).where(where))


def _sizes(first: int, reports: Sequence[DirectoryReport], kinds: Sequence[int]) -> Iterator[Row]:
    """The values of rows of `file_size`."""
    for number, report in enumerate(reports, start=first):
        for kind, files, size_bytes in report.by_type:
            yield (number << TYPES_BITS | kinds[kind], number, kinds[kind], files, size_bytes)


def _ages(first: int, reports: Sequence[DirectoryReport]) -> Iterator[Row]:
    """The values of rows of `directory_age`."""
    for number, report in enumerate(reports, start=first):
        for age_class, files, size_bytes in report.by_age:
            yield (number, age_class, files, size_bytes)


def _project(base: BaseDirectory) -> str | None:
    """
    The last two components of a base directory as people know it.

    >>> _project(BaseDirectory("/lustre/scratch1/mdt0/projects/alpha", "/s1/projects/alpha"))
    'projects/alpha'
    """
    if base.shown == NOWHERE:
        return None
    return "/".join(base.shown.strip("/").split("/")[-2:])


def _days(days: Decimal | None) -> float | None:
    """SQLite has no decimals; a float's shortest digits are the decimal, in every database."""
    return None if days is None else float(days)
