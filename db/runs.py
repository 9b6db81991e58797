"""The record of runs: which reports of which volume and date are there, whole."""

from datetime import date

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import report_run, volume
from lurge_types.reports import Run

RUN_COLUMNS = [report_run.c[name] for name in Run.__dataclass_fields__ if name != "volume"]


class AlreadyRecorded(Exception):
    """Another run has recorded this report of this volume and date."""


def find(connection: Connection, report: str, volume_name: str, day: date) -> Run | None:
    """The whole run of a report of a volume and date, if there is one."""
    return _one(connection, report, volume_name, report_run.c.record_date == day)


def last_before(connection: Connection, report: str, volume_name: str, day: date) -> Run | None:
    """The newest whole run of a report of a volume before a date."""
    return _one(connection, report, volume_name, report_run.c.record_date < day)


def _one(
    connection: Connection, report: str, volume_name: str, when: sql.ColumnElement[bool]
) -> Run | None:
    row = connection.execute(
        sql.select(*RUN_COLUMNS)
        .join(volume)
        .where(
            report_run.c.report == report,
            volume.c.scratch_disk == volume_name,
            report_run.c.done == 1,
            when,
        )
        .order_by(report_run.c.record_date.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Run(volume=volume_name, **row._mapping)


def claim(connection: Connection, run: Run, volume_id: int, token: str, *, replace: bool) -> bool:
    """
    Take the place of a run, in the transaction that then writes its rows and records it.

    Others of the volume wait from here to the end of the transaction: what is found stays true, and
    of two who replace the same rows or would be current one comes after the other. False where the
    token tells that the run is there already: it was committed, but the answer got lost.

    Raises AlreadyRecorded, unless what is recorded shall be replaced.
    """
    connection.execute(
        sql.select(volume.c.volume_id).where(volume.c.volume_id == volume_id).with_for_update()
    )
    place = (
        report_run.c.report == run.report,
        report_run.c.volume_id == volume_id,
        report_run.c.record_date == run.record_date,
    )
    there = connection.scalar(sql.select(report_run.c.token).where(*place, report_run.c.done == 1))
    if there == token:
        return False
    if there and not replace:
        raise AlreadyRecorded(
            f"{run.report} of {run.volume} on {run.record_date} was recorded by another run"
        )
    if there:
        connection.execute(sql.delete(report_run).where(*place, report_run.c.done == 1))
    return True


def record(connection: Connection, run: Run, volume_id: int, token: str) -> None:
    """Say that a run is whole, in the transaction that makes it so and has claimed its place."""
    values = {name: getattr(run, name) for name in Run.__dataclass_fields__ if name != "volume"}
    connection.execute(
        sql.insert(report_run).values(
            **values, volume_id=volume_id, token=token, done=1, current=False
        )
    )
    of_volume = (report_run.c.report == run.report, report_run.c.volume_id == volume_id)
    newest = connection.scalar(
        sql.select(sql.func.max(report_run.c.record_date)).where(*of_volume, report_run.c.done == 1)
    )
    current = sql.and_(report_run.c.record_date == newest, report_run.c.done.is_not(None))
    connection.execute(
        sql.update(report_run)
        .where(*of_volume, report_run.c.current != current)
        .values(current=current)
    )
