"""The volumes, and how old what is known of each is."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import report_run, volume
from db.upkeep import in_use


class VolumeDates(NamedTuple):
    """
    A volume and the newest date of each report of it.

    retired: from when on nothing of it is expected.
    """

    name: str
    retired: date | None
    dates: Mapping[str, date]


class Scanned(NamedTuple):
    """When the newest scan was made of which a report of a volume is recorded, in UTC."""

    volume: str
    report: str
    scan_time: datetime


def read(connection: Connection) -> Sequence[VolumeDates]:
    """All volumes by their names, the retired ones too. They are known to everybody."""
    rows = connection.execute(sql.select(volume).order_by(volume.c.scratch_disk)).all()
    dates: dict[int, dict[str, date]] = {}
    for volume_id, report, day in connection.execute(
        sql.select(report_run.c.volume_id, report_run.c.report, report_run.c.record_date).where(
            report_run.c.current
        )
    ):
        dates.setdefault(volume_id, {})[report] = day
    return [
        VolumeDates(
            row.scratch_disk,
            row.retired,
            dates.get(row.volume_id, {}),
        )
        for row in rows
    ]


def scans(connection: Connection, today: date) -> Sequence[Scanned]:
    """The newest scans of the volumes that are in use. They are known to everybody."""
    rows = connection.execute(
        sql.select(volume.c.scratch_disk, report_run.c.report, report_run.c.scan_time)
        .join_from(report_run, volume)
        .where(report_run.c.current, in_use(today))
        .order_by(volume.c.scratch_disk, report_run.c.report)
    )
    return list(map(Scanned._make, rows))
