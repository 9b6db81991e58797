"""What users have: a row for each user, group, volume and date, kept as history."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import names, runs
from db.database import Database
from db.dialects import insert_rows
from db.schema import report_run, unix_group, user, user_usage, volume
from lurge_types.names import Group, User
from lurge_types.reports import NamedUse, Run, UserUse
from lurge_types.scans import Volume

REPORT = "users"


def store(  # noqa: PLR0917 - the last two are the names of the rows
    database: Database,
    run: Run,
    of: Volume,
    rows: Sequence[UserUse],
    users: Mapping[int, User],
    groups: Mapping[int, Group],
    *,
    withdraw: Callable[[], None],
    replace: bool,
) -> None:
    """
    Write a report's rows and the record of its run, in one transaction; names in one before.

    users, groups: at least those of the rows, by uid and gid. withdraw: takes away what was written
    of rows that are replaced, before anybody else can; see `show`.

    Raises DatabaseFailed, and AlreadyRecorded unless the rows that are there shall be replaced.
    """
    token = secrets.token_hex(16)
    volume_id, user_ids, group_ids = database.transaction(
        lambda connection: (
            names.volume_id(connection, of),
            names.user_ids(connection, [users[uid] for uid in {row.uid for row in rows}]),
            names.group_ids(connection, [groups[gid] for gid in {row.gid for row in rows}]),
        )
    )
    values = [
        (
            None,
            run.record_date.isoformat(),
            user_ids[row.uid],
            group_ids[row.gid],
            volume_id,
            row.used_bytes,
            row.inodes,
            row.last_modified and row.last_modified.isoformat(),
        )
        for row in rows
    ]

    def write(connection: Connection) -> None:
        if not runs.claim(connection, run, volume_id, token, replace=replace):
            return
        if replace:
            withdraw()
            connection.execute(
                sql.delete(user_usage).where(
                    user_usage.c.volume_id == volume_id,
                    user_usage.c.record_date == run.record_date,
                )
            )
        runs.record(connection, run, volume_id, token)
        insert_rows(connection, user_usage, values)

    database.transaction(write)


def show(
    database: Database, day: date, write: Callable[[Sequence[str], Sequence[NamedUse]], None]
) -> None:
    """
    Let somebody write all rows of a date, and its volumes, while nobody can change them.

    Raises DatabaseFailed.
    """

    def hold(connection: Connection) -> None:
        connection.execute(sql.select(volume.c.volume_id).with_for_update())
        write(volumes(connection, day), read(connection, day))

    database.transaction(hold)


def volumes(connection: Connection, day: date) -> list[str]:
    """The names of the volumes that are recorded for a date, sorted."""
    names = connection.scalars(
        sql.select(volume.c.scratch_disk).join_from(report_run, volume).where(*_recorded(day))
    )
    return sorted(names)


def read(connection: Connection, day: date, volume_name: str | None = None) -> list[NamedUse]:
    """
    The rows of all volumes that are recorded for a date, or of one.

    Sorted by the name and number of the user and of the group, then by the volume; names as their
    bytes.
    """
    users = {
        row.user_id: User(row.uid, row.user_name) for row in connection.execute(sql.select(user))
    }
    groups = {
        row.group_id: Group(row.gid, row.group_name, is_humgen=row.is_humgen)
        for row in connection.execute(sql.select(unix_group))
    }
    one = () if volume_name is None else (volume.c.scratch_disk == volume_name,)
    rows = connection.execute(
        sql.select(volume.c.scratch_disk, user_usage)
        .join_from(report_run, volume)
        .join(
            user_usage,
            sql.and_(
                user_usage.c.volume_id == report_run.c.volume_id,
                user_usage.c.record_date == report_run.c.record_date,
            ),
        )
        .where(*_recorded(day), *one)
    )
    found = [
        _named(row.scratch_disk, users[row.user_id], groups[row.group_id], row) for row in rows
    ]
    return sorted(found, key=_order)


def _recorded(day: date) -> tuple[sql.ColumnElement[bool], ...]:
    return (
        report_run.c.report == REPORT,
        report_run.c.record_date == day,
        report_run.c.done == 1,
    )


def _named(name: str, owner: User, group: Group, row: sql.Row[tuple[object, ...]]) -> NamedUse:
    use = UserUse(owner.uid, group.gid, row.size, row.inodes, row.last_modified)
    return NamedUse(name, owner, group, use)


def _order(row: NamedUse) -> tuple[str, int, str, int, str]:
    """Text sorts as its bytes in UTF-8 do."""
    return row.user.name, row.user.uid, row.group.name, row.group.gid, row.volume
