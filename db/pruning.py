"""History that is thinned out: which days are recorded, and how one of them is deleted."""

from collections.abc import Mapping, Sequence, Set
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import runs
from db.schema import base_directory_usage, lustre_usage, report_run, user_usage, volume

HISTORIES: Mapping[str, sql.Table] = {
    "reporter": lustre_usage,
    "users": user_usage,
    "inspector": base_directory_usage,
}
"""The reports that add rows to a table every night, and the table."""


class History(NamedTuple):
    """
    A report of a volume, and the days that are recorded of it, oldest first.

    imported: those that came from an older database. held: those that may not be deleted now: the
    current one, and of an inspector those with directories that are still to be swept.
    """

    report: str
    volume: str
    volume_id: int
    days: Sequence[date]
    imported: Set[date]
    held: Set[date]


def histories(connection: Connection, reports: Sequence[str]) -> list[History]:
    """What is recorded of some reports, sorted by the report and the volume's name."""
    rows = connection.execute(
        sql.select(
            report_run.c.report,
            volume.c.scratch_disk,
            report_run.c.volume_id,
            report_run.c.record_date,
            report_run.c.imported_from.is_not(None).label("imported"),
            sql.and_(*_may_go()).label("may_go"),
        )
        .join_from(report_run, volume)
        .where(report_run.c.report.in_(reports), report_run.c.done == 1)
        .order_by(report_run.c.record_date)
    )
    found: dict[tuple[str, str, int], list[sql.Row[Any]]] = {}
    for row in rows:
        found.setdefault((row.report, row.scratch_disk, row.volume_id), []).append(row)
    return [_history(*of, found[of]) for of in sorted(found)]


def _history(report: str, volume_name: str, volume_id: int, of: Sequence[sql.Row[Any]]) -> History:
    return History(
        report,
        volume_name,
        volume_id,
        [row.record_date for row in of],
        {row.record_date for row in of if row.imported},
        {row.record_date for row in of if not row.may_go},
    )


def rows(connection: Connection, of: History, day: date) -> int:
    """How many rows a day of a history has."""
    count = sql.select(sql.func.count()).select_from(HISTORIES[of.report])
    return connection.scalar(count.where(*_of_day(of, day))) or 0


def forget(connection: Connection, of: History, day: date) -> int | None:
    """
    Delete a day of a history, its rows and its run; how many rows.

    None where nothing is deleted: another has done that or replaced the day, or it may not go now.
    """
    run = connection.execute(
        sql.select(report_run.c.run_id, report_run.c.token).where(
            report_run.c.report == of.report,
            report_run.c.volume_id == of.volume_id,
            report_run.c.record_date == day,
            *_may_go(),
        )
    ).one_or_none()
    if run is None:
        return None
    with connection.begin_nested() as deletion:
        # Before the volume is locked: 50,000 rows may take seconds, and nobody else wants these.
        deleted = connection.execute(sql.delete(HISTORIES[of.report]).where(*_of_day(of, day)))
        runs.lock(connection, of.volume_id)
        still_there = runs.named(run.run_id, run.token)
        gone = connection.execute(sql.delete(report_run).where(*still_there, *_may_go()))
        if not gone.rowcount:  # replaced meanwhile
            deletion.rollback()
            return None
    return deleted.rowcount


def _of_day(of: History, day: date) -> tuple[sql.ColumnElement[bool], ...]:
    table = HISTORIES[of.report]
    return table.c.volume_id == of.volume_id, table.c.record_date == day


def _may_go() -> tuple[sql.ColumnElement[bool], ...]:
    return report_run.c.done == 1, report_run.c.current.is_(False), report_run.c.first_id.is_(None)
