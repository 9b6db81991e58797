"""What users have: of a group on a volume, or of one user everywhere, now and over time."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import report_run, unix_group, user, user_usage, volume
from db.sight import conditions
from db.sight.conditions import newest_run
from db.sight.history import GroupNow
from db.sight.paging import Part, Rows, take, total
from db.upkeep import in_use
from lurge_types.sight import Sight


class Person(NamedTuple):
    """A user. user_id: by which the database knows them; None where it does not."""

    user_id: int | None
    uid: int
    name: str


class UserHas(NamedTuple):
    """What a user has in a group on a volume: bytes and inodes of entries of every type."""

    volume: str
    gid: int
    group: str
    uid: int
    user: str
    used_bytes: int
    inodes: int
    last_modified: date | None
    record_date: date


class Had(NamedTuple):
    """What a user had on a date."""

    date: date
    used_bytes: int
    inodes: int


class Recorded(NamedTuple):
    """
    What a user had on a volume on each of its recorded dates, the oldest first.

    retired: from when on nothing of the volume is expected.
    """

    retired: date | None
    had: Sequence[Had]


HAS = user_usage.c

COLUMNS = (
    *(volume.c.scratch_disk, unix_group.c.gid, unix_group.c.group_name),
    *(user.c.uid, user.c.user_name),
    *(HAS.size, HAS.inodes, HAS.last_modified, HAS.record_date),
)

SORTS: dict[str, sql.ColumnElement[Any]] = dict(zip(UserHas._fields, COLUMNS, strict=True))
"""What each column is sorted by."""

PERSONS = sql.select(user.c.user_id, user.c.uid, user.c.user_name)


def of_group(connection: Connection, of: GroupNow, part: Part) -> Rows[UserHas]:
    """A part of the table of a group's users on a volume."""
    newest = connection.scalar(
        sql.select(report_run.c.record_date).where(newest_run("users", of.volume_id))
    )
    theirs = (
        HAS.group_id == of.group_id,
        HAS.volume_id == of.volume_id,
        HAS.record_date == newest,
    )
    select = _named(sql.select(*COLUMNS).select_from(user_usage)).where(*theirs)
    rows = take(connection, select, part, SORTS, [user.c.uid])
    return Rows(
        map(UserHas._make, rows), total(connection, sql.select(HAS.record_id).where(*theirs))
    )


def of_person(
    connection: Connection, sight: Sight, of: Person, today: date, part: Part
) -> Rows[UserHas]:
    """A part of the table of what a user has on volumes that are in use."""
    select = _current(sight, of, *COLUMNS).where(in_use(today))
    rows = take(connection, select, part, SORTS, [volume.c.scratch_disk, unix_group.c.gid])
    count = total(connection, _current(sight, of, HAS.record_id).where(in_use(today)))
    return Rows(map(UserHas._make, rows), count)


def sums(connection: Connection, sight: Sight, of: Person, today: date) -> Mapping[str, Had]:
    """What a user has on each volume that is in use, by its name."""
    name = volume.c.scratch_disk
    had = HAS.record_date, sql.func.sum(HAS.size), sql.func.sum(HAS.inodes)
    select = _current(sight, of, name, *had).where(in_use(today))
    rows = connection.execute(select.group_by(name, HAS.record_date).order_by(name))
    return {name: Had(day, int(size), int(inodes)) for name, day, size, inodes in rows}


def find(connection: Connection, sight: Sight, name: str) -> Person | None:
    """The user of a name of whom something may be seen, if there is one."""
    # MariaDB makes no difference between `a` and `a `.
    rows = connection.execute(PERSONS.where(user.c.user_name == name).order_by(user.c.uid)).all()
    of_name = (each for each in map(Person._make, rows) if each.name == name)
    return next((each for each in of_name if _may_be_seen(connection, sight, each)), None)


def person(connection: Connection, sight: Sight, uid: int) -> Person | None:
    """A user of whom something may be seen; None where there is none."""
    row = connection.execute(PERSONS.where(user.c.uid == uid)).one_or_none()
    of = None if row is None else Person._make(row)
    return of if of and _may_be_seen(connection, sight, of) else None


def history(
    connection: Connection, sight: Sight, of: Person, first: date
) -> Mapping[str, Recorded]:
    """What a user had from a date on, of all that may be seen, by the name of the volume."""
    sums = sql.func.sum(HAS.size), sql.func.sum(HAS.inodes)
    rows = connection.execute(
        _named(sql.select(HAS.volume_id, HAS.record_date, *sums).select_from(user_usage))
        .where(HAS.user_id == of.user_id, HAS.record_date >= first, conditions.of_owners(sight))
        .group_by(HAS.volume_id, HAS.record_date)
    )
    had = {(row[0], row[1]): Had(row[1], int(row[2]), int(row[3])) for row in rows}
    days = _days(connection, {volume_id for volume_id, _ in had}, first)
    names = sql.select(volume).where(volume.c.volume_id.in_(days)).order_by(volume.c.scratch_disk)
    return {
        row.scratch_disk: Recorded(
            row.retired,
            [had.get((row.volume_id, day), Had(day, 0, 0)) for day in days[row.volume_id]],
        )
        for row in connection.execute(names)
    }


def _days(connection: Connection, volume_ids: set[int], first: date) -> dict[int, list[date]]:
    """The recorded dates of volumes: on one of them who has no row had nothing."""
    days: dict[int, list[date]] = {}
    for volume_id, day in connection.execute(
        sql.select(report_run.c.volume_id, report_run.c.record_date)
        .where(
            report_run.c.report == "users",
            report_run.c.volume_id.in_(volume_ids),
            report_run.c.record_date >= first,
            report_run.c.done == 1,
        )
        .order_by(report_run.c.record_date)
    ):
        days.setdefault(volume_id, []).append(day)
    return days


def _named(select: sql.Select[Any]) -> sql.Select[Any]:
    return (
        select.join(user, user.c.user_id == HAS.user_id)
        .join(unix_group, unix_group.c.group_id == HAS.group_id)
        .join(volume, volume.c.volume_id == HAS.volume_id)
    )


def _current(sight: Sight, of: Person, *columns: sql.ColumnElement[Any]) -> sql.Select[Any]:
    """
    What a user has on each volume's newest date.

    By the newest row of each group and volume, of which the index tells: MariaDB took 220 ms where
    it began with the newest dates, as it read all rows of these.
    """
    newest = (
        sql.select(HAS.group_id, HAS.volume_id, sql.func.max(HAS.record_date).label("record_date"))
        .where(HAS.user_id == of.user_id)
        .group_by(HAS.group_id, HAS.volume_id)
        .subquery()
    )
    of_newest_run = sql.and_(
        newest_run("users", newest.c.volume_id),
        report_run.c.record_date == newest.c.record_date,
    )
    same = sql.and_(
        HAS.user_id == of.user_id, *(HAS[column.name] == column for column in newest.columns)
    )
    select = sql.select(*columns).select_from(
        newest.join(report_run, of_newest_run).join(user_usage, same)
    )
    return _named(select).where(conditions.of_owners(sight))


def _may_be_seen(connection: Connection, sight: Sight, of: Person) -> bool:
    """Whether it is who asks, or has something in a group of theirs."""
    if sight.everything or of.uid == sight.uid:
        return True
    return connection.scalar(_current(sight, of, HAS.record_id).limit(1)) is not None
