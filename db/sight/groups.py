"""What groups use on volumes, of each volume's newest date."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import lustre_usage, pi, report_run, unix_group, volume
from db.sight import conditions
from db.sight.conditions import Condition, newest_run
from db.sight.paging import Part, Rows, take, total
from lurge_types.reports import percent
from lurge_types.sight import Sight


@dataclass(frozen=True, slots=True)
class GroupsWanted:
    """
    Which groups: of a volume, of a name, of an investigator, of a level, with all of some words.

    volume: one that has retired is shown where it is named, and only there. today: which have.
    """

    today: date
    volume: str | None = None
    group: str | None = None
    pi: str | None = None
    level: int | None = None
    words: str = ""


class GroupUse(NamedTuple):
    """
    What a group uses on a volume.

    full: the day on which the first of its quotas will likely be reached.
    """

    volume: str
    gid: int
    group: str
    pi: str | None
    used_bytes: int
    quota_bytes: int | None
    inodes: int
    quota_inodes: int | None
    last_modified_days: Decimal | None
    level: int
    archived: bool
    suspect: bool
    full: date | None
    record_date: date

    @property
    def used_percent(self) -> Decimal | None:
        """Of the quota of bytes."""
        return percent(self.used_bytes, self.quota_bytes or None)

    @property
    def inodes_percent(self) -> Decimal | None:
        """Of the quota of inodes."""
        return percent(self.inodes, self.quota_inodes or None)

    @property
    def full_in_days(self) -> int | None:
        """From the record date on."""
        return None if self.full is None else (self.full - self.record_date).days


class Figures(NamedTuple):
    """What a group uses on a volume, and may use; None where there is no quota."""

    volume: str
    group: str
    gid: int
    used_bytes: int
    quota_bytes: int | None
    inodes: int
    quota_inodes: int | None


class VolumeUse(NamedTuple):
    """What groups use on a volume."""

    volume: str
    groups: int
    used_bytes: int
    inodes: int


USE = lustre_usage.c

# Of two days the earlier; where one is unknown, the other.
FULL = sql.case(
    (USE.full_bytes_likely <= USE.full_inodes_likely, USE.full_bytes_likely),
    else_=sql.func.coalesce(USE.full_inodes_likely, USE.full_bytes_likely),
)

COLUMNS = (
    *(volume.c.scratch_disk, unix_group.c.gid, unix_group.c.group_name, pi.c.pi_name),
    *(USE.used, USE.quota, USE.inodes, USE.quota_inodes, USE.last_modified),
    *(USE.warning_id, USE.archived, USE.suspect, FULL, USE.record_date),
)
"""Those of a `GroupUse`."""

SORTS: dict[str, sql.ColumnElement[Any]] = {
    "volume": volume.c.scratch_disk,
    "group": unix_group.c.group_name,
    "gid": unix_group.c.gid,
    "pi": pi.c.pi_name,
    "used_bytes": USE.used,
    "quota_bytes": USE.quota,
    "used_percent": USE.used * 1.0 / sql.func.nullif(USE.quota, 0),
    "inodes": USE.inodes,
    "quota_inodes": USE.quota_inodes,
    "inodes_percent": USE.inodes * 1.0 / sql.func.nullif(USE.quota_inodes, 0),
    "last_modified_days": USE.last_modified,
    "level": USE.warning_id,
    "archived": USE.archived,
    "suspect": USE.suspect,
    "full": FULL,
    # Days of different volumes count from their own record dates, which lie close together.
    "full_in_days": FULL,
    "record_date": USE.record_date,
}
"""What each column is sorted by."""

LAST = (
    *(SORTS["used_percent"].is_(None), SORTS["used_percent"].desc(), USE.used.desc()),
    *(volume.c.scratch_disk, unix_group.c.gid),
)
"""What groups are sorted by that are alike in a column."""


def read(connection: Connection, sight: Sight, wanted: GroupsWanted, part: Part) -> Rows[GroupUse]:
    """A part of the table of groups."""
    select = _select(sight, wanted, *COLUMNS)
    rows = take(connection, select, part, SORTS, LAST)
    return Rows(map(GroupUse._make, rows), total(connection, _select(sight, wanted, USE.record_id)))


def figures(connection: Connection, sight: Sight, today: date) -> Sequence[Figures]:
    """What all groups use on volumes that are in use, by volume and gid."""
    owner = volume.c.scratch_disk, unix_group.c.group_name, unix_group.c.gid
    numbers = USE.used, USE.quota, USE.inodes, USE.quota_inodes
    rows = connection.execute(
        _select(sight, GroupsWanted(today), *owner, *numbers).order_by(owner[0], owner[2])
    )
    return list(map(Figures._make, rows))


def of_volumes(connection: Connection, sight: Sight, today: date) -> Sequence[VolumeUse]:
    """The sums of each volume that is in use, by its name."""
    name = volume.c.scratch_disk
    sums = sql.func.count(), sql.func.sum(USE.used), sql.func.sum(USE.inodes)
    rows = connection.execute(
        _select(sight, GroupsWanted(today), name, *sums).group_by(name).order_by(name)
    )
    # Sums of integers are decimals in MariaDB.
    return [VolumeUse(called, *map(int, numbers)) for called, *numbers in rows]


def levels(connection: Connection, sight: Sight, wanted: GroupsWanted) -> Mapping[int, int]:
    """How many groups are of each level, of those that are wanted but for their level."""
    of_any = replace(wanted, level=None)
    rows = connection.execute(
        _select(sight, of_any, USE.warning_id, sql.func.count()).group_by(USE.warning_id)
    )
    return {row.warning_id: row[1] for row in rows}


def current(sight: Sight, *columns: Any) -> sql.Select[Any]:
    """What groups use on the newest date of each volume."""
    return (
        sql.select(*columns)
        .select_from(
            report_run.join(volume, volume.c.volume_id == report_run.c.volume_id)
            .join(
                lustre_usage,
                sql.and_(
                    USE.volume_id == report_run.c.volume_id,
                    USE.record_date == report_run.c.record_date,
                ),
            )
            .join(unix_group, unix_group.c.group_id == USE.unix_id)
            .outerjoin(pi, pi.c.pi_id == USE.pi_id)
        )
        .where(
            newest_run("reporter"),
            conditions.of_groups(sight),
        )
    )


def _select(sight: Sight, wanted: GroupsWanted, *columns: Any) -> sql.Select[Any]:
    return current(sight, *columns).where(*_conditions(wanted))


def _conditions(wanted: GroupsWanted) -> Iterator[Condition]:
    yield conditions.of_volumes(wanted.volume, wanted.today)
    if wanted.group is not None:
        yield unix_group.c.group_name == wanted.group
    if wanted.pi is not None:
        yield pi.c.pi_name == wanted.pi
    if wanted.level is not None:
        yield USE.warning_id == wanted.level
    yield conditions.has_words(
        wanted.words, volume.c.scratch_disk, unix_group.c.group_name, pi.c.pi_name
    )
