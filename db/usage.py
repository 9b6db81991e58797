"""What groups use: a row for each group, volume and date, kept as history."""

import secrets
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import names, runs
from db.database import Database
from db.schema import lustre_usage, pi, unix_group, volume
from lurge_types.forecasts import Forecast
from lurge_types.names import Group
from lurge_types.reports import GroupReport, Run
from lurge_types.scans import Volume


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
    token = secrets.token_hex(16)
    volume_id, owners = database.transaction(
        lambda connection: (
            names.volume_id(connection, of),
            names.owners(connection, [row.group for row in rows]),
        )
    )
    values = [_values(row, run.record_date, volume_id, owners[row.group.gid]) for row in rows]

    def write(connection: Connection) -> None:
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
        if values:
            connection.execute(sql.insert(lustre_usage), values)

    database.transaction(write)


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


def _foretold(of: str, record: sql.Row[Any]) -> Forecast:
    """The twin of `_columns`."""
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
            foretold_bytes=_foretold("bytes", row),
            foretold_inodes=_foretold("inodes", row),
        )
        for row in found
    ]


def last_used(connection: Connection, volume_name: str, before: date) -> Mapping[int, int]:
    """The bytes of each group, by gid, in its newest record of a volume before a date."""
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
