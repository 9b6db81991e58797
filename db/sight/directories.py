"""What lies where, of each volume's newest inspection: by volume, base directory and directory."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import chain
from typing import Any, Literal, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import (
    base_directory,
    directory,
    directory_base,
    lustre_usage,
    report_run,
    unix_group,
    volume,
)
from db.sight import conditions
from db.sight.conditions import newest_run
from db.sight.paging import Part, Rows, take, total
from db.upkeep import in_use
from lurge_types.reports import FOLDED
from lurge_types.sight import Sight

Area = Literal["size_bytes", "files"]


@dataclass(frozen=True, slots=True)
class DirectoriesWanted:
    """Only what a group has, if one is named; of what has all of some words in its name."""

    group: str | None = None
    words: str = ""


class VolumeOrBase(NamedTuple):
    """
    A volume, or a base directory on it.

    run_id, record_date: of the volume's newest inspection; None where there is none.
    base_directory: its path as people know it, or `NOWHERE`; None: all of the volume.
    """

    volume_id: int
    volume: str
    run_id: int | None
    record_date: date | None
    base_directory_id: int | None = None
    base_directory: str | None = None


class Owner(NamedTuple):
    """A group that has files somewhere. is_recorded: whether its use of the volume is recorded."""

    gid: int
    group: str
    is_recorded: bool


class DirectoryUse(NamedTuple):
    """
    What lies on a volume, in a base directory on it or in a directory of that.

    directory: below the base directory, or one of `NOWHERE`, `DIRECTLY`, `FOLDED`. folded: whether
    it stands for the smallest ones, and is not called so. owners: none are told of a whole volume.
    directories: how many; one in which several groups have files counts for each.
    last_modified_days, last_used_days: the least that are known.
    """

    volume: str
    record_date: date
    base_directory_id: int | None
    base_directory: str | None
    directory: str | None
    folded: bool
    owners: Sequence[Owner]
    directories: int
    files: int
    size_bytes: int
    last_modified_days: Decimal | None
    last_used_days: Decimal | None
    kept_files: int

    @property
    def groups(self) -> str:
        """The names of the owners, with commas between."""
        return ",".join(owner.group for owner in self.owners)


class Tile(NamedTuple):
    """
    One of the largest parts of a whole, or all smaller ones together.

    name: of the volume, base directory or directory. smaller: how many smaller ones it is; then
    name and base_directory_id tell nothing.
    """

    name: str
    base_directory_id: int | None
    folded: bool
    smaller: int
    files: int
    size_bytes: int
    last_modified_days: Decimal | None
    last_used_days: Decimal | None


@dataclass(frozen=True, slots=True)
class Siblings:
    """
    What lies next to each other, summed up: the volumes, or what is in one of them.

    sums: a row of each. source: they and their names. name: of each. facts: of each the first
    fields of a `DirectoryUse`. last: what tells them apart. place: what they are in, if anything.
    """

    sight: Sight
    wanted: DirectoriesWanted
    place: VolumeOrBase | None
    sums: sql.Subquery
    source: sql.FromClause
    name: sql.ColumnElement[Any]
    facts: Mapping[str, sql.ColumnElement[Any]]
    last: Sequence[sql.ColumnElement[Any]]

    def select(self, *columns: Any) -> sql.Select[Any]:
        """Some columns of all that are wanted."""
        words = conditions.has_words(self.wanted.words, self.name)
        return sql.select(*columns).select_from(self.source).where(words)


AMOUNTS = (
    *("directories", "files", "size_bytes", "last_modified_days", "last_used_days"),
    "kept_files",
)


NOWHERE_YET = {"base_directory_id": None, "base_directory": None, "directory": None, "folded": 0}
"""The facts that not all siblings have."""


def find(connection: Connection, name: str) -> VolumeOrBase | None:
    """A volume, retired or not. They are known to everybody."""
    run = report_run.c
    newest = newest_run("inspector", volume.c.volume_id)
    row = connection.execute(
        sql.select(volume.c.volume_id, volume.c.scratch_disk, run.run_id, run.record_date)
        .select_from(volume.outerjoin(report_run, newest))
        .where(volume.c.scratch_disk == name)
    ).one_or_none()
    return VolumeOrBase(*row) if row else None


def find_base(
    connection: Connection, sight: Sight, of: VolumeOrBase, base_directory_id: int
) -> VolumeOrBase | None:
    """A base directory of a volume in which somebody may see anything."""
    key = directory_base.c.base_directory_id
    path = connection.scalar(
        sql.select(base_directory.c.directory_path)
        .join_from(base_directory, directory_base, key == base_directory.c.base_directory_id)
        .where(
            directory_base.c.run_id == of.run_id,
            key == base_directory_id,
            *_groups(sight, DirectoriesWanted(), directory_base.c.group_id),
        )
        .limit(1)
    )
    if path is None:
        return None
    return of._replace(base_directory_id=base_directory_id, base_directory=path)


def volumes(sight: Sight, wanted: DirectoriesWanted, today: date) -> Siblings:
    """The volumes that are in use."""
    keys = directory_base.c.volume_id, report_run.c.record_date
    sums = (
        sql.select(*keys, *_sums(directory_base))
        .join_from(report_run, directory_base, report_run.c.run_id == directory_base.c.run_id)
        .where(
            newest_run("inspector"),
            *_groups(sight, wanted, directory_base.c.group_id),
        )
        .group_by(*keys)
        .subquery()
    )
    of_use = sql.and_(volume.c.volume_id == sums.c.volume_id, in_use(today))
    name = volume.c.scratch_disk
    facts = {"volume": name, "record_date": sums.c.record_date}
    return Siblings(sight, wanted, None, sums, sums.join(volume, of_use), name, facts, [name])


def bases(sight: Sight, wanted: DirectoriesWanted, of: VolumeOrBase) -> Siblings:
    """The base directories of a volume."""
    key = directory_base.c.base_directory_id
    sums = (
        sql.select(key, *_sums(directory_base), _owned(directory_base))
        .where(
            directory_base.c.run_id == of.run_id,
            *_groups(sight, wanted, directory_base.c.group_id),
        )
        .group_by(key)
        .subquery()
    )
    source = sums.join(base_directory, base_directory.c.base_directory_id == sums.c[key.name])
    name = base_directory.c.directory_path
    facts = {"base_directory_id": sums.c[key.name], "base_directory": name}
    return Siblings(sight, wanted, of, sums, source, name, facts, [name, sums.c[key.name]])


def below(sight: Sight, wanted: DirectoriesWanted, of: VolumeOrBase) -> Siblings:
    """The directories of a base directory."""
    # What is really called so has a path.
    folded = sql.and_(directory.c.directory_path == FOLDED, directory.c.real_path.is_(None))
    keys = directory.c.directory_path, folded.label("folded")
    sums = (
        sql.select(*keys, *_sums(directory), _owned(directory))
        .where(
            directory.c.base_directory_id == of.base_directory_id,
            directory.c.run_id == of.run_id,
            *_groups(sight, wanted, directory.c.group_id),
        )
        .group_by(*keys)
        .subquery()
    )
    name = sums.c.directory_path
    facts = {"directory": name, "folded": sums.c.folded}
    return Siblings(sight, wanted, of, sums, sums, name, facts, [name, sums.c.folded])


def read(connection: Connection, siblings: Siblings, part: Part) -> Rows[DirectoryUse]:
    """A part of the table of siblings."""
    sums = siblings.sums.c
    sorts = {**siblings.facts, **{key: sums[key] for key in AMOUNTS}}
    select = siblings.select(
        *(fact.label(name) for name, fact in siblings.facts.items()),
        *(sums[key] for key in AMOUNTS),
        *([sums.group_ids] if siblings.place else []),
        # What is summed up twice, to be counted too, takes twice as long.
        sql.func.count().over().label("total"),
    )
    owners = _owners(connection, siblings.sight, siblings.place) if siblings.place else {}
    rows = take(connection, select, part, sorts, siblings.last)
    first = next(rows, None)
    if first is None:
        is_beyond = part.first > 0
        return Rows(iter(()), total(connection, siblings.select(sums.files)) if is_beyond else 0)
    uses = (_use(siblings, owners, row._asdict()) for row in chain([first], rows))
    return Rows(uses, int(first.total))


def tiles(connection: Connection, siblings: Siblings, area: Area, most: int) -> Sequence[Tile]:
    """So many of the largest siblings, the largest first, and last all smaller ones as one."""
    sums = siblings.sums.c
    order = sql.func.row_number().over(order_by=(sums[area].desc(), *siblings.last))
    amounts = [sums[key] for key in AMOUNTS]
    facts = siblings.facts
    ranked = siblings.select(
        siblings.name.label("name"),
        facts.get("base_directory_id", sql.null()).label("base_directory_id"),
        facts.get("folded", sql.false()).label("folded"),
        order.label("place"),
        *amounts,
    ).subquery()
    tile = ranked.c
    is_small = tile.place > most
    place = sql.case((is_small, most + 1), else_=tile.place)
    rows = connection.execute(
        sql.select(
            *(sql.func.min(tile[key]) for key in ("name", "base_directory_id", "folded")),
            sql.func.sum(sql.case((is_small, 1), else_=0)),
            *(sql.func.sum(tile[key]) for key in ("files", "size_bytes")),
            *(sql.func.min(tile[key]) for key in ("last_modified_days", "last_used_days")),
        )
        .group_by(place)
        .order_by(place)
    )
    return [
        Tile(name, base, bool(folded), int(smaller), int(files), int(size), modified, used)
        for name, base, folded, smaller, files, size, modified, used in map(tuple, rows)
    ]


def _groups(
    sight: Sight, wanted: DirectoriesWanted, group_id: sql.ColumnElement[int]
) -> Iterator[conditions.Condition]:
    """What is of groups that somebody may see, and of the one that is wanted."""
    group = unix_group.c.group_name
    named = sql.true() if wanted.group is None else group == wanted.group
    if wanted.group is not None or not sight.everything:
        yield group_id.in_(
            sql.select(unix_group.c.group_id).where(conditions.of_groups(sight), named)
        )


def _sums(of: sql.Table) -> Iterator[sql.ColumnElement[Any]]:
    """The amounts, of rows of `directory` or of what they were summed up to."""
    count = sql.func.count() if of is directory else sql.func.sum(of.c.directories)
    yield count.label("directories")
    yield sql.func.sum(of.c.num_files).label("files")
    yield sql.func.sum(of.c.size).label("size_bytes")
    yield sql.func.min(of.c.last_modified).label("last_modified_days")
    yield sql.func.min(of.c.last_used).label("last_used_days")
    yield sql.func.sum(of.c.kept_files).label("kept_files")


def _owned(of: sql.Table) -> sql.ColumnElement[str]:
    """The ids of groups, with commas between."""
    return sql.func.group_concat(of.c.group_id, type_=sql.String).label("group_ids")


def _owners(connection: Connection, sight: Sight, of: VolumeOrBase) -> Mapping[int, Owner]:
    """Whoever has files in a volume or base directory, by the group's id."""
    there = directory_base.c.run_id == of.run_id
    if of.base_directory_id is not None:
        there = sql.and_(there, directory_base.c.base_directory_id == of.base_directory_id)
    newest = (
        sql.select(report_run.c.record_date)
        .where(newest_run("reporter", of.volume_id))
        .scalar_subquery()
    )
    use = sql.and_(
        lustre_usage.c.unix_id == unix_group.c.group_id,
        lustre_usage.c.volume_id == of.volume_id,
        lustre_usage.c.record_date == newest,
    )
    rows = connection.execute(
        sql.select(
            *(unix_group.c.group_id, unix_group.c.gid, unix_group.c.group_name),
            lustre_usage.c.record_id,
        )
        .select_from(unix_group.outerjoin(lustre_usage, use))
        .where(
            conditions.of_groups(sight),
            unix_group.c.group_id.in_(sql.select(directory_base.c.group_id).where(there)),
        )
    )
    return {group_id: Owner(gid, name, use is not None) for group_id, gid, name, use in rows}


def _use(siblings: Siblings, owners: Mapping[int, Owner], row: Mapping[str, Any]) -> DirectoryUse:
    """What a row tells, and what is known of the place that it is in."""
    facts = {**NOWHERE_YET, **(siblings.place._asdict() if siblings.place else {}), **row}
    ids = row["group_ids"].split(",") if siblings.place else ()
    return DirectoryUse(
        volume=facts["volume"],
        record_date=facts["record_date"],
        base_directory_id=facts["base_directory_id"],
        base_directory=facts["base_directory"],
        directory=facts["directory"],
        folded=bool(facts["folded"]),
        owners=sorted((owners[int(each)] for each in ids), key=lambda owner: owner.group),
        # Sums of integers are decimals in MariaDB.
        directories=int(row["directories"]),
        files=int(row["files"]),
        size_bytes=int(row["size_bytes"]),
        last_modified_days=row["last_modified_days"],
        last_used_days=row["last_used_days"],
        kept_files=int(row["kept_files"]),
    )
