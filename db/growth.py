"""What was recorded of groups, users and base directories on a date, to compare two dates."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, Literal, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import (
    base_directory,
    base_directory_usage,
    lustre_usage,
    report_run,
    unix_group,
    user,
    user_usage,
    volume,
)

By = Literal["group", "user", "directory"]

REPORTS: Mapping[By, str] = {"group": "reporter", "user": "users", "directory": "inspector"}
"""Whose records tell what each kind has used."""


class Use(NamedTuple):
    """
    What somebody has used on a volume.

    key: the gid, the uid, or the real path of a base directory; name: as it is shown.
    suspect: whether the use of the group, or of any of the groups, is not to be believed.
    """

    key: int | str
    name: str
    used_bytes: int
    inodes: int
    suspect: bool


def volumes(connection: Connection, by: By) -> list[str]:
    """The names of the volumes that have any whole record, sorted."""
    found = connection.scalars(
        sql.select(volume.c.scratch_disk)
        .distinct()
        .join_from(report_run, volume)
        .where(*_whole(by))
    )
    return sorted(found)


def newest(connection: Connection, by: By, day: date) -> dict[str, date]:
    """The newest whole recorded date of each volume at or before a date."""
    rows = connection.execute(
        sql.select(volume.c.scratch_disk, sql.func.max(report_run.c.record_date).label("day"))
        .join_from(report_run, volume)
        .where(*_whole(by), report_run.c.record_date <= day)
        .group_by(volume.c.scratch_disk)
    )
    return {row.scratch_disk: row.day for row in rows}


def _whole(by: By) -> tuple[sql.ColumnElement[bool], ...]:
    return report_run.c.report == REPORTS[by], report_run.c.done == 1


def read(connection: Connection, by: By, volume_name: str, day: date) -> Sequence[Use]:
    """What was used on a volume on a date, summed over groups except by group."""
    query = {"group": _groups, "user": _users, "directory": _directories}[by]()
    rows = connection.execute(query, {"volume_name": volume_name, "day": day})
    # Sums of integers are decimals in MariaDB.
    return [
        Use(row.key, row.name, int(row.used), int(row.inodes), bool(row.suspect)) for row in rows
    ]


def _groups() -> sql.Select[Any]:
    return (
        sql.select(
            unix_group.c.gid.label("key"),
            unix_group.c.group_name.label("name"),
            lustre_usage.c.used,
            lustre_usage.c.inodes,
            lustre_usage.c.suspect,
        )
        .select_from(volume.join(lustre_usage).join(unix_group))
        .where(*_of_day(lustre_usage))
    )


def _users() -> sql.Select[Any]:
    return (
        sql.select(
            user.c.uid.label("key"),
            user.c.user_name.label("name"),
            *_sums(user_usage.c.size, user_usage.c.inodes),
        )
        .select_from(
            volume.join(user_usage)
            .join(user, user.c.user_id == user_usage.c.user_id)
            .outerjoin(lustre_usage, _same_group(user_usage, user_usage.c.group_id))
        )
        .where(*_of_day(user_usage))
        .group_by(user.c.uid, user.c.user_name)
    )


def _directories() -> sql.Select[Any]:
    of = base_directory_usage
    return (
        sql.select(
            base_directory.c.real_path.label("key"),
            base_directory.c.directory_path.label("name"),
            *_sums(of.c.used, of.c.inodes),
        )
        .select_from(
            volume.join(of, of.c.volume_id == volume.c.volume_id)
            .join(base_directory, base_directory.c.base_directory_id == of.c.base_directory_id)
            .outerjoin(lustre_usage, _same_group(of, of.c.unix_id))
        )
        .where(*_of_day(of))
        .group_by(
            base_directory.c.base_directory_id,
            base_directory.c.real_path,
            base_directory.c.directory_path,
        )
    )


def _sums(used: sql.Column[Any], inodes: sql.Column[Any]) -> tuple[sql.ColumnElement[Any], ...]:
    suspect = sql.case((lustre_usage.c.suspect.is_(True), 1), else_=0)
    return (
        sql.func.sum(used).label("used"),
        sql.func.sum(inodes).label("inodes"),
        sql.func.max(suspect).label("suspect"),
    )


def _same_group(of: sql.Table, group: sql.Column[Any]) -> sql.ColumnElement[bool]:
    """There is at most one such row, so that no sum counts anything twice."""
    return sql.and_(
        lustre_usage.c.unix_id == group,
        lustre_usage.c.volume_id == of.c.volume_id,
        lustre_usage.c.record_date == of.c.record_date,
    )


def _of_day(of: sql.Table) -> tuple[sql.ColumnElement[bool], ...]:
    return (
        volume.c.scratch_disk == sql.bindparam("volume_name"),
        of.c.record_date == sql.bindparam("day"),
    )
