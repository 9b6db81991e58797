"""What groups use: a row for each group, volume and date, kept as history."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
import sqlalchemy as sql
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from db import names, runs
from db.database import Database
from db.schema import lustre_usage, pi, report_run, unix_group, volume
from lurge_types.forecasts import UNKNOWN, Forecast, History, Kept
from lurge_types.names import Group
from lurge_types.reports import GroupReport, Run
from lurge_types.scans import Volume

DAYS_AT_ONCE = 10
"""Of a history: as Python's objects a row takes ten times as much memory as in columns."""

RECORD = np.dtype(
    [
        ("gid", np.int64),
        ("day", "datetime64[D]"),
        ("suspect", np.bool_),
        ("bytes", np.float64),
        ("theil_sen_bytes", np.float64),
        ("two_point_bytes", np.float64),
        ("inodes", np.float64),
        ("theil_sen_inodes", np.float64),
        ("two_point_inodes", np.float64),
    ]
)
"""A record of a history; NULL becomes NaN."""


def store(
    database: Database,
    run: Run,
    of: Volume,
    rows: Sequence[GroupReport],
    *,
    replace: bool,
) -> None:
    """
    Write a report's rows and the record of its run, in one transaction; names in one before.

    Raises DatabaseFailed, and AlreadyRecorded unless the rows that are there shall be replaced.
    """
    store_days(database, of, [(run, rows)], replace=replace)


def store_days(
    database: Database,
    of: Volume,
    days: Sequence[tuple[Run, Sequence[GroupReport]]],
    *,
    replace: bool,
) -> None:
    """The same for several runs of a volume, all of them or none."""
    token = secrets.token_hex(16)
    volume_id, owners = database.transaction(
        lambda connection: (
            names.volume_id(connection, of),
            names.owners(connection, [row.group for _, rows in days for row in rows]),
        )
    )

    def write(connection: Connection, run: Run, rows: Sequence[GroupReport]) -> None:
        if not runs.claim(connection, run, volume_id, token, replace=replace):
            return
        if replace:
            connection.execute(
                sql.delete(lustre_usage).where(
                    lustre_usage.c.volume_id == volume_id,
                    lustre_usage.c.record_date == run.record_date,
                )
            )
        runs.record(connection, run, volume_id, token)
        day = run.record_date
        if values := [_values(row, day, volume_id, owners[row.group.gid]) for row in rows]:
            connection.execute(sql.insert(lustre_usage), values)

    def write_all(connection: Connection) -> None:
        for run, rows in days:
            write(connection, run, rows)

    database.transaction(write_all)


def _values(row: GroupReport, day: date, volume_id: int, owner: names.Owner) -> dict[str, object]:
    return {
        "record_date": day,
        "volume_id": volume_id,
        "unix_id": owner.group_id,
        "pi_id": owner.pi_id,
        "used": row.used_bytes,
        "quota": row.quota_bytes,
        "inodes": row.inodes,
        "quota_inodes": row.quota_inodes,
        "last_modified": row.last_modified_days,
        "archived": row.archived,
        "suspect": row.suspect,
        "warning_id": row.warning,
        "quota_used_bytes": row.quota_used_bytes,
        "quota_used_inodes": row.quota_used_inodes,
        **_columns("bytes", row.foretold_bytes),
        **_columns("inodes", row.foretold_inodes),
    }


def _columns(of: str, foretold: Forecast) -> dict[str, object]:
    """What is foretold of `bytes` or `inodes`, by the names of its columns."""
    known = None if foretold.method == "-" else foretold
    return {
        f"theil_sen_{of}": foretold.theil_sen,
        f"two_point_{of}": foretold.two_point,
        f"method_{of}": known and known.method,
        f"rate_{of}": known and known.rate,
        f"full_{of}_likely": foretold.likely,
        f"full_{of}_earliest": foretold.earliest,
        f"full_{of}_latest": foretold.latest,
    }


FORETOLD = tuple(
    lustre_usage.c[name] for of in ("bytes", "inodes") for name in _columns(of, UNKNOWN)
)
"""What is foretold of both."""


def foretold(of: str, record: sql.Row[Any]) -> Forecast:
    """The twin of `_columns`, of a row with `FORETOLD`."""
    row = record._mapping
    return Forecast(
        method=row[f"method_{of}"] or "-",
        rate=row[f"rate_{of}"] or 0,
        theil_sen=row[f"theil_sen_{of}"],
        two_point=row[f"two_point_{of}"],
        likely=row[f"full_{of}_likely"],
        earliest=row[f"full_{of}_earliest"],
        latest=row[f"full_{of}_latest"],
    )


def read(connection: Connection, volume_name: str, day: date) -> list[GroupReport]:
    """The rows of a volume and date, sorted by gid."""
    found = connection.execute(
        sql.select(
            lustre_usage,
            unix_group.c.gid,
            unix_group.c.group_name,
            unix_group.c.is_humgen,
            pi.c.pi_name,
        )
        .select_from(lustre_usage.join(unix_group).join(volume).outerjoin(pi))
        .where(volume.c.scratch_disk == volume_name, lustre_usage.c.record_date == day)
        .order_by(unix_group.c.gid)
    )
    return [
        GroupReport(
            volume=volume_name,
            group=Group(row.gid, row.group_name, row.pi_name, row.is_humgen),
            used_bytes=row.used,
            quota_bytes=row.quota,
            inodes=row.inodes,
            quota_inodes=row.quota_inodes,
            last_modified_days=row.last_modified,
            archived=row.archived,
            suspect=row.suspect,
            warning=row.warning_id,
            quota_used_bytes=row.quota_used_bytes,
            quota_used_inodes=row.quota_used_inodes,
            foretold_bytes=foretold("bytes", row),
            foretold_inodes=foretold("inodes", row),
        )
        for row in found
    ]


def read_whole(connection: Connection, run: Run) -> list[GroupReport] | None:
    """
    The rows of a run; None if it is there no longer.

    All of them if what the connection sees is of one moment.
    """
    if runs.find(connection, run.report, run.volume, run.record_date) is None:
        return None
    return read(connection, run.volume, run.record_date)


def volumes(connection: Connection) -> list[str]:
    """The names of the volumes that have rows, sorted."""
    rows = sql.exists().where(lustre_usage.c.volume_id == volume.c.volume_id)
    found = connection.scalars(sql.select(volume.c.scratch_disk).where(rows))
    return sorted(found)


def imported(connection: Connection, volume_name: str, first: date, before: date) -> list[date]:
    """
    The days of a volume from a date on, and before another, that were imported, sorted.

    They were counted in another way: with others they make no history.
    """
    days = connection.scalars(
        sql.select(report_run.c.record_date)
        .join(volume)
        .where(
            volume.c.scratch_disk == volume_name,
            *was_imported(),
            report_run.c.record_date >= first,
            report_run.c.record_date < before,
        )
    )
    return sorted(days)


def was_imported() -> tuple[sql.ColumnElement[bool], ...]:
    """Of a day's run: its rows were counted by an older version."""
    return (
        report_run.c.report == "reporter",
        report_run.c.done == 1,
        report_run.c.imported_from.is_not(None),
    )


def last_used(connection: Connection, volume_name: str, before: date) -> Mapping[int, int]:
    """
    The bytes of each group, by gid, in its newest record of a volume before a date.

    Only of those that Lurge has counted: see `imported`.
    """
    # One look into the index for each group, however long the history: 20 ms for 500 groups, where
    # the newest dates by GROUP BY took 190 ms with a year of 10 volumes.
    volume_id = connection.scalar(
        sql.select(volume.c.volume_id).where(volume.c.scratch_disk == volume_name)
    )
    newest = (
        sql.select(lustre_usage.c.record_id)
        .where(
            lustre_usage.c.unix_id == unix_group.c.group_id,
            lustre_usage.c.volume_id == volume_id,
            lustre_usage.c.record_date < before,
            ~sql.exists().where(
                *was_imported(),
                report_run.c.volume_id == volume_id,
                report_run.c.record_date == lustre_usage.c.record_date,
            ),
        )
        .order_by(lustre_usage.c.record_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    last = sql.select(unix_group.c.gid, newest.label("record_id")).subquery()
    rows = connection.execute(
        sql.select(last.c.gid, lustre_usage.c.used).join(
            last, lustre_usage.c.record_id == last.c.record_id
        )
    )
    return {row.gid: row.used for row in rows}


def history(connection: Connection, volume_name: str, first: date, before: date) -> History:
    """
    The records of a volume from a date on, and before another; some days at a time.

    Only of those that Lurge has counted: see `imported`.
    """
    found = connection.scalars(
        sql.select(lustre_usage.c.record_date)
        .distinct()
        .join(volume)
        .where(
            volume.c.scratch_disk == volume_name,
            lustre_usage.c.record_date >= first,
            lustre_usage.c.record_date < before,
        )
    )
    days = sorted(set(found).difference(imported(connection, volume_name, first, before)))
    some = [days[begin : begin + DAYS_AT_ONCE] for begin in range(0, len(days), DAYS_AT_ONCE)]
    parts = [_records(connection, volume_name, each) for each in some]
    records = np.concatenate([np.empty(0, RECORD), *parts])
    return History(
        gid=records["gid"],
        day=records["day"].astype(np.int64) + date(1970, 1, 1).toordinal(),
        suspect=records["suspect"],
        used_bytes=_kept("bytes", records),
        inodes=_kept("inodes", records),
    )


def _records(connection: Connection, volume_name: str, days: Sequence[date]) -> NDArray[np.void]:
    rows = connection.execute(
        sql.select(
            unix_group.c.gid,
            lustre_usage.c.record_date,
            lustre_usage.c.suspect,
            lustre_usage.c.used,
            lustre_usage.c.theil_sen_bytes,
            lustre_usage.c.two_point_bytes,
            lustre_usage.c.inodes,
            lustre_usage.c.theil_sen_inodes,
            lustre_usage.c.two_point_inodes,
        )
        # Day by day, as rows lie: MariaDB would rather begin with the groups, and read a page of
        # the table for each row, of all its years.
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
        .select_from(volume.join(lustre_usage).join(unix_group))
        .where(
            volume.c.scratch_disk == volume_name,
            lustre_usage.c.record_date.in_(days),
        )
    )
    return np.array(list(map(tuple, rows)), RECORD)


def _kept(of: str, records: NDArray[np.void]) -> Kept:
    return Kept(records[of], records[f"theil_sen_{of}"], records[f"two_point_{of}"])
