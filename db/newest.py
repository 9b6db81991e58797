"""The newest dates of each volume and of all, kept where the views of dashboards read them."""

from collections.abc import Mapping
from datetime import date, timedelta

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import ALL_VOLUMES, newest_date, report_run, volume

ON_DASHBOARDS = ("reporter", "inspector", "puppeteer", "users")
"""The reports whose rows older dashboards read."""

SHOWN_DAILY = timedelta(days=245)
"""Eight months, however long they are: for so long before the newest date every day is shown."""


def note_newest(connection: Connection, report: str) -> None:
    """Keep the newest dates of a report that dashboards read, of each volume and of all."""
    of_report = newest_date.c.report == report
    all_volumes = of_report, newest_date.c.volume_id == ALL_VOLUMES
    # Of two volumes at a time one waits here for the other, and then sees what it has stored.
    if not connection.execute(
        sql.select(newest_date).where(*all_volumes).with_for_update()
    ).one_or_none():
        return
    there = _dates(connection, newest_date, of_report)
    dates = _dates(connection, report_run, report_run.c.report == report, report_run.c.current)
    newest = max(filter(None, dates.values()), default=None)
    connection.execute(
        sql.update(newest_date)
        .where(*all_volumes)
        .values(daily_after=newest and _daily_after(connection, newest, dates))
    )
    dates[ALL_VOLUMES] = newest
    for volume_id in sorted(dates.keys() - there.keys()):
        place = {"report": report, "volume_id": volume_id}
        connection.execute(sql.insert(newest_date).values(place))
    for volume_id, day in sorted(dates.items()):
        if there.get(volume_id) != day:
            connection.execute(
                sql.update(newest_date)
                .where(of_report, newest_date.c.volume_id == volume_id)
                .values(record_date=day)
            )


def _daily_after(connection: Connection, newest: date, dates: Mapping[int, date | None]) -> date:
    """Some months before the newest date; or before that of any volume that is still in use."""
    gone = sql.select(volume.c.volume_id).where(volume.c.retired <= newest)
    retired = set(connection.scalars(gone))
    last = [day for volume_id, day in dates.items() if day and volume_id not in retired]
    return min([newest - SHOWN_DAILY, *(day - timedelta(1) for day in last)])


def _dates(
    connection: Connection, table: sql.Table, *where: sql.ColumnElement[bool]
) -> dict[int, date | None]:
    rows = connection.execute(sql.select(table.c.volume_id, table.c.record_date).where(*where))
    return {row.volume_id: row.record_date for row in rows}
