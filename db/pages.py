"""Rows of whole runs, read page by page: whether they are still those that readers see."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import runs
from db.database import Database, DatabaseFailed
from db.schema import report_run, volume
from lurge_types.reports import Run

PAGE_ROWS = 20_000
"""How many rows are looked through at a time."""


class RowsReplaced(DatabaseFailed):
    """Rows that were read have been replaced by another run meanwhile."""


class Stored(NamedTuple):
    """A whole run, and whether rows are stored of it."""

    run: Run
    run_id: int
    token: str
    keeps_rows: bool


def newest(connection: Connection, report: str, volume_name: str) -> Stored | None:
    """The newest whole run of a report of a volume, if there is one."""
    row = connection.execute(
        sql.select(*runs.RUN_COLUMNS, report_run.c.run_id, report_run.c.token, report_run.c.filled)
        .join(volume)
        .where(
            report_run.c.report == report,
            volume.c.scratch_disk == volume_name,
            report_run.c.current,
        )
    ).one_or_none()
    if row is None:
        return None
    facts = {column.name: row._mapping[column.name] for column in runs.RUN_COLUMNS}
    run = Run(volume=volume_name, **facts)
    return Stored(run, row.run_id, row.token, row.filled is not None)


def check(database: Database, stored: Sequence[Stored]) -> None:
    """
    See that rows that were read are still those that readers see.

    Raises DatabaseFailed, RowsReplaced.
    """
    for each in stored:
        report, of = each.run.report, each.run.volume
        now = database.transaction(partial(newest, report=report, volume_name=of))
        if now is None or now.token != each.token:
            raise RowsReplaced(f"the rows of {report} of {of} were replaced meanwhile: run again")


def through(
    database: Database, select: sql.Select[Any], key: sql.ColumnElement[int]
) -> Iterator[sql.Row[Any]]:
    """
    All rows of a select that has a number above 0 of each, in its order, page by page.

    Raises DatabaseFailed.
    """
    last = 0
    while True:
        page = select.where(key > last).order_by(key).limit(PAGE_ROWS)
        rows = database.transaction(partial(fetch, select=page))
        yield from rows
        if len(rows) < PAGE_ROWS:
            return
        last = rows[-1]._mapping[key]


def fetch(connection: Connection, select: sql.Select[Any]) -> Sequence[sql.Row[Any]]:
    """A page of rows."""
    return connection.execute(select).all()
