"""The newest records of each volume, and who is recorded: to find what belongs to nobody known."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.pages import Stored
from db.schema import (
    base_directory,
    base_directory_usage,
    directory,
    lustre_usage,
    pi,
    unix_group,
    user,
    user_usage,
    volume,
)
from db.upkeep import Person
from lurge_types.reports import Run

T = TypeVar("T")

ASKED_AT_ONCE = 5000
"""How many users, groups or base directories a statement asks for by their ids."""

PATHS_AT_ONCE = 500
"""How many directories a statement asks for by their paths, each of a kilobyte and more."""


class Use(NamedTuple):
    """What a group, or a user in it, has on a volume; inodes of entries of every type."""

    group_id: int
    used_bytes: int
    inodes: int
    last_modified: date | None


class Place(NamedTuple):
    """
    What a group's files in a directory amount to.

    base: the base directory as people know it; directory: below it, as `DirectoryReport` has it.
    """

    directory_id: int
    group_id: int
    base: str
    directory: str
    files: int
    size_bytes: int
    last_modified: date | None


def volumes(connection: Connection) -> Mapping[str, date | None]:
    """The names of all volumes, sorted, each with the date from which on it is retired, if any."""
    rows = connection.execute(sql.select(volume.c.scratch_disk, volume.c.retired))
    return {row.scratch_disk: row.retired for row in sorted(rows)}


def users(connection: Connection) -> Mapping[int, Person]:
    """All users by their ids."""
    return _holders(connection, user)


def groups(connection: Connection) -> Mapping[int, Person]:
    """All groups by their ids."""
    return _holders(connection, unix_group)


def _holders(connection: Connection, table: sql.Table) -> Mapping[int, Person]:
    """Those in a table that begins with an id, a number and a name."""
    id_, number, name = list(table.columns)[:3]
    rows = connection.execute(sql.select(id_, number, name, table.c.absent_since).order_by(id_))
    return {row[0]: Person(*row[1:]) for row in rows}


def of_users(
    connection: Connection, run: Run, user_ids: Collection[int]
) -> Iterator[tuple[int, Use]]:
    """What some users have in each group, with the user's id, by the rows of a run."""
    for ids in _slices(user_ids):
        rows = connection.execute(
            sql.select(
                user_usage.c.user_id,
                user_usage.c.group_id,
                user_usage.c.size,
                user_usage.c.inodes,
                user_usage.c.last_modified,
            )
            .join(volume)
            .where(*_of_day(run, user_usage), _is_among(user_usage.c.user_id, ids))
        )
        yield from ((row[0], Use._make(row[1:])) for row in rows)


def of_groups(connection: Connection, run: Run) -> list[Use]:
    """What each group has, by the rows of a run."""
    rows = connection.execute(
        sql.select(
            lustre_usage.c.unix_id,
            lustre_usage.c.used,
            lustre_usage.c.inodes,
            lustre_usage.c.last_modified,
        )
        .join(volume)
        .where(*_of_day(run, lustre_usage))
    )
    return [Use(row.unix_id, row.used, row.inodes, _day(run, row.last_modified)) for row in rows]


def pis(connection: Connection, volume_name: str, group_ids: Collection[int]) -> Mapping[int, str]:
    """The last recorded investigators of some groups on a volume; of those that ever had one."""
    volume_id = connection.scalar(
        sql.select(volume.c.volume_id).where(volume.c.scratch_disk == volume_name)
    )
    last = (
        sql.select(lustre_usage.c.pi_id)
        .where(
            lustre_usage.c.unix_id == unix_group.c.group_id,
            lustre_usage.c.volume_id == volume_id,
            lustre_usage.c.pi_id.is_not(None),
        )
        .order_by(lustre_usage.c.record_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    names = {row.pi_id: row.pi_name for row in connection.execute(sql.select(pi))}
    found = {}
    for ids in _slices(group_ids) if names else ():
        rows = connection.execute(
            sql.select(unix_group.c.group_id, last.label("pi_id")).where(
                unix_group.c.group_id.in_(ids)
            )
        )
        found.update({row.group_id: names[row.pi_id] for row in rows if row.pi_id is not None})
    return found


def directories_of(
    connection: Connection, stored: Stored, group_ids: Collection[int]
) -> Iterator[Place]:
    """The directories of some groups, by the rows of a run."""
    for ids in _slices(group_ids):
        yield from _places(
            connection,
            stored,
            # The base directories of these groups are few, and lead to their directories by an
            # index; MariaDB would rather look through all directories of the volume.
            sql.select()
            .prefix_with("STRAIGHT_JOIN", dialect="mysql")
            .select_from(
                volume.join(
                    base_directory_usage, base_directory_usage.c.volume_id == volume.c.volume_id
                )
                .join(
                    directory,
                    sql.and_(
                        directory.c.base_directory_id == base_directory_usage.c.base_directory_id,
                        directory.c.group_id == base_directory_usage.c.unix_id,
                    ),
                )
                .join(
                    base_directory,
                    base_directory.c.base_directory_id == directory.c.base_directory_id,
                )
            )
            .where(
                *_of_day(stored.run, base_directory_usage),
                _is_among(base_directory_usage.c.unix_id, ids),
            ),
        )


def directories_called(
    connection: Connection, stored: Stored, parents: Sequence[str], children: Collection[str]
) -> list[tuple[str, Place]]:
    """
    The directories, of any group, that are or lie in `parent/child`, with the child.

    That is the end of a base directory, or stands directly below one.
    """
    wanted = {f"{parent}/{child}": child for parent in parents for child in children}
    bases = connection.execute(
        sql.select(base_directory.c.base_directory_id, base_directory.c.directory_path)
        .join(volume)
        .where(volume.c.scratch_disk == stored.run.volume)
    )
    within = [row.base_directory_id for row in bases if _project(row.directory_path) in wanted]
    query = (
        sql.select()
        # Row by row, as they lie: MariaDB would rather begin with all base directories.
        .prefix_with("STRAIGHT_JOIN", dialect="mysql")
        .select_from(
            directory.join(
                base_directory,
                base_directory.c.base_directory_id == directory.c.base_directory_id,
            )
        )
    )
    found = {}
    for where in (
        *(directory.c.base_directory_id.in_(ids) for ids in _slices(within)),
        *(directory.c.directory_path.in_(paths) for paths in _slices(wanted, PATHS_AT_ONCE)),
    ):
        for place in _places(connection, stored, query.where(where)):
            # Below the base directory goes before its end; MariaDB takes `a` for `a ` here.
            child = wanted.get(place.directory) or wanted.get(_project(place.base))
            if child is not None:
                found[place.directory_id] = child, place
    return list(found.values())


def _project(base: str) -> str:
    """
    The last two components of a base directory.

    >>> _project("/lustre/scratch1/users/ann")
    'users/ann'
    """
    return "/".join(base.split("/")[-2:])


def _places(connection: Connection, stored: Stored, query: sql.Select[Any]) -> Iterator[Place]:
    rows = connection.execute(
        query.add_columns(
            directory.c.directory_id,
            directory.c.group_id,
            base_directory.c.directory_path,
            directory.c.directory_path,
            directory.c.num_files,
            directory.c.size,
            directory.c.last_modified,
        ).where(directory.c.run_id == stored.run_id)
    )
    for row in rows:
        yield Place._make((*row[:-1], _day(stored.run, row[-1])))


def _of_day(run: Run, of: sql.Table) -> tuple[sql.ColumnElement[bool], ...]:
    return volume.c.scratch_disk == run.volume, of.c.record_date == run.record_date


def _is_among(column: sql.Column[int], ids: Sequence[int]) -> sql.ColumnElement[bool]:
    """
    Whether a row has one of some ids, in a way that leads to no index.

    By an index of the column a database would read all that these ids have had since ever, where
    the rows of one day are few.
    """
    return (column + 0).in_(ids)


def _day(run: Run, days: Decimal | None) -> date | None:
    """The day in UTC of so many days before a run's scan."""
    return None if days is None else (run.scan_time - timedelta(days=float(days))).date()


def _slices(of: Collection[T], at_once: int = ASKED_AT_ONCE) -> Iterator[Sequence[T]]:
    every = list(of)
    for first in range(0, len(every), at_once):
        yield every[first : first + at_once]
