"""What a group uses on a volume: all that is known of it now, and its history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import usage
from db.schema import lustre_usage, report_run, unix_group, volume
from db.sight import groups
from db.sight.conditions import newest_run
from db.sight.groups import GroupUse
from db.upkeep import in_use
from lurge_types.forecasts import Forecast
from lurge_types.sight import Sight

Of = Literal["bytes", "inodes"]
"""Of which of the two quotas."""


@dataclass(frozen=True, slots=True)
class GroupNow:
    """
    A group on a volume on its newest date, and what is foretold of it.

    group_id, volume_id: by which the database knows them; whoever has them may see the group.
    """

    group_id: int
    volume_id: int
    use: GroupUse
    foretold: dict[Of, Forecast]


class Point(NamedTuple):
    """What a group used on a date, of its quota then; whether it is a fall that is not believed."""

    date: date
    used: int
    quota: int | None
    suspect: bool


class Elsewhere(NamedTuple):
    """What a group uses on another volume."""

    volume: str
    used_bytes: int


USE = lustre_usage.c

COLUMNS: dict[Of, tuple[sql.Column[int], sql.Column[int]]] = {
    "bytes": (USE.used, USE.quota),
    "inodes": (USE.inodes, USE.quota_inodes),
}
"""The columns of use and quota."""


def now(connection: Connection, sight: Sight, volume_name: str, gid: int) -> GroupNow | None:
    """A group on a volume; None where there is none that may be seen."""
    row = connection.execute(
        groups.current(sight, *groups.COLUMNS, *usage.FORETOLD, USE.unix_id, USE.volume_id).where(
            volume.c.scratch_disk == volume_name, unix_group.c.gid == gid
        )
    ).one_or_none()
    if row is None:
        return None
    foretold: dict[Of, Forecast] = {
        "bytes": usage.foretold("bytes", row),
        "inodes": usage.foretold("inodes", row),
    }
    use = GroupUse._make(row[: len(GroupUse._fields)])
    return GroupNow(row.unix_id, row.volume_id, use, foretold)


def elsewhere(connection: Connection, of: GroupNow, today: date) -> Sequence[Elsewhere]:
    """What a group uses on other volumes that are in use, by their names."""
    # By the newest row of each volume, of which the index tells: see `db.sight.people`.
    newest = (
        sql.select(USE.volume_id, sql.func.max(USE.record_date).label("record_date"))
        .where(USE.unix_id == of.group_id, USE.volume_id != of.volume_id)
        .group_by(USE.volume_id)
        .subquery()
    )
    of_newest_run = sql.and_(
        newest_run("reporter", newest.c.volume_id),
        report_run.c.record_date == newest.c.record_date,
    )
    same = sql.and_(
        USE.unix_id == of.group_id, *(USE[column.name] == column for column in newest.columns)
    )
    rows = connection.execute(
        sql.select(volume.c.scratch_disk, USE.used)
        .select_from(
            newest.join(report_run, of_newest_run)
            .join(lustre_usage, same)
            .join(volume, volume.c.volume_id == newest.c.volume_id)
        )
        .where(in_use(today))
        .order_by(volume.c.scratch_disk)
    )
    return [Elsewhere(*row) for row in rows]


def read(connection: Connection, of: GroupNow, what: Of, first: date) -> Sequence[Point]:
    """The records of a group from a date on, the oldest first."""
    rows = connection.execute(
        sql.select(USE.record_date, *COLUMNS[what], USE.suspect)
        .where(USE.unix_id == of.group_id, USE.volume_id == of.volume_id, USE.record_date >= first)
        .order_by(USE.record_date)
    )
    return [Point(*row) for row in rows]


def imported_until(connection: Connection, of: GroupNow, first: date) -> date | None:
    """The newest day from a date on that was imported, and hence counted in another way."""
    newest: date | None = connection.scalar(
        sql.select(sql.func.max(report_run.c.record_date)).where(
            *usage.was_imported(),
            report_run.c.volume_id == of.volume_id,
            report_run.c.record_date >= first,
        )
    )
    return newest
