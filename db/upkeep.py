"""What is kept in step with a site: which volumes have retired, and who is gone from it."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Literal, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.newest import ON_DASHBOARDS, note_newest
from db.schema import unix_group, user, volume

Kind = Literal["group", "user"]

TABLES: Mapping[Kind, sql.Table] = {"group": unix_group, "user": user}
"""Each begins with an id, a number and a name."""

CHANGED_AT_ONCE = 1000
"""How many rows a statement changes."""


class Retirement(NamedTuple):
    """From when on nothing of a volume is expected, if at all, and the name of its successor."""

    retired: date | None
    successor: str | None


class Person(NamedTuple):
    """
    A group or user that is recorded.

    number: the gid or uid; below 0 where only the name is known, from an imported database.
    name: as the last night that knew it has stored it.
    absent_since: from when on nobody knows it any more, as far as that was noted.
    """

    number: int
    name: str
    absent_since: date | None


def in_use(day: date) -> sql.ColumnElement[bool]:
    """Of a row of `volume`: it has not retired by a day."""
    return sql.or_(volume.c.retired.is_(None), volume.c.retired > day)


def retired(connection: Connection, day: date) -> frozenset[str]:
    """The names of the volumes that have retired by a day."""
    return frozenset(
        connection.scalars(sql.select(volume.c.scratch_disk).where(volume.c.retired <= day))
    )


def retire(connection: Connection, retirements: Mapping[str, Retirement]) -> None:
    """
    Store what is configured of volumes, by name; those that no night has met are passed over.

    A successor that no night has met is stored by the first that comes after it. The history that
    dashboards are shown follows, as it depends on which volumes are in use.
    """
    rows = {row.scratch_disk: row for row in connection.execute(sql.select(volume))}
    changed = False
    for name in sorted(retirements.keys() & rows.keys()):
        retired, successor = retirements[name]
        successor_id = rows[successor].volume_id if successor in rows else None
        row = rows[name]
        if (row.retired, row.successor_id) != (retired, successor_id):
            changed = True
            connection.execute(
                sql.update(volume)
                .where(volume.c.volume_id == row.volume_id)
                .values(retired=retired, successor_id=successor_id)
            )
    for report in ON_DASHBOARDS if changed else ():
        note_newest(connection, report)


def met(connection: Connection, kind: Kind) -> list[Person]:
    """Everybody whose number is known, by number."""
    _, number, name, *_ = columns = TABLES[kind].columns
    known = sql.select(number, name, columns.absent_since).where(number >= 0).order_by(number)
    return [Person(*row) for row in connection.execute(known)]


def note_absent(
    connection: Connection, kind: Kind, numbers: Iterable[int], since: date | None
) -> None:
    """
    Store since when nobody knows some numbers, or that somebody does: None.

    A day that is stored already stays, as another job may have noted it meanwhile.
    """
    _, number, *_ = columns = TABLES[kind].columns
    unnoted = columns.absent_since.is_(None) if since else sql.true()
    changed = sorted(numbers)
    for first in range(0, len(changed), CHANGED_AT_ONCE):
        some = changed[first : first + CHANGED_AT_ONCE]
        connection.execute(
            sql.update(TABLES[kind]).where(number.in_(some), unnoted).values(absent_since=since)
        )
