"""
The directories of a group on a volume, of the inspector's newest date, by file type and by age.

Which rows there are, and in what order, is found out by their ids alone; what is told of them is
then read some hundred at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import (
    base_directory,
    directory,
    directory_age,
    directory_base,
    file_size,
    filetype,
    report_run,
)
from db.sight.conditions import newest_run
from db.sight.history import GroupNow
from db.sight.paging import Part, Rows, take

READ_AT_ONCE = 500


class Share(NamedTuple):
    """The files of a directory that are of one type or of one age."""

    files: int
    size_bytes: int


class Directory(NamedTuple):
    """
    What a group's files in a directory below a base directory amount to.

    base_directory: as people know it. directory: below it. by_type: by the type's name, the largest
    first. by_age: by the days since the last use from which on files are of a class, ascending.
    """

    base_directory: str
    directory: str
    size_bytes: int
    files: int
    last_modified_days: Decimal | None
    last_used_days: Decimal | None
    kept_files: int
    by_type: Mapping[str, Share]
    by_age: Mapping[int, Share]


DIRECTORY = directory.c
BASE = base_directory.c.directory_path

SORTS: dict[str, sql.ColumnElement[Any]] = {
    "base_directory": BASE,
    "directory": DIRECTORY.directory_path,
    "size_bytes": DIRECTORY.size,
    "files": DIRECTORY.num_files,
    "last_modified_days": DIRECTORY.last_modified,
    "last_used_days": DIRECTORY.last_used,
    "kept_files": DIRECTORY.kept_files,
}
"""What each column is sorted by."""


def read(connection: Connection, of: GroupNow, part: Part) -> Rows[Directory]:
    """A part of the table of directories."""
    run_id = connection.scalar(
        sql.select(report_run.c.run_id).where(newest_run("inspector", of.volume_id))
    )
    theirs = directory_base.c.group_id == of.group_id, directory_base.c.run_id == run_id
    total = connection.scalar(sql.select(sql.func.sum(directory_base.c.directories)).where(*theirs))
    select = sql.select(DIRECTORY.directory_id).select_from(_placed()).where(*theirs)
    if part.sort == "base_directory":
        select = select.join(
            base_directory, base_directory.c.base_directory_id == directory_base.c.base_directory_id
        )
    rows = take(connection, select, part, SORTS, [DIRECTORY.directory_id])
    ids = [row.directory_id for row in rows]
    return Rows(_told(connection, ids), int(total or 0))


def _placed() -> sql.Join:
    """Where a group has directories, and the rows of these."""
    return directory_base.join(
        directory,
        sql.and_(
            DIRECTORY.base_directory_id == directory_base.c.base_directory_id,
            DIRECTORY.group_id == directory_base.c.group_id,
            DIRECTORY.run_id == directory_base.c.run_id,
        ),
    )


def _told(connection: Connection, ids: Sequence[int]) -> Iterator[Directory]:
    """What is told of directories, in their order."""
    for first in range(0, len(ids), READ_AT_ONCE):
        some = ids[first : first + READ_AT_ONCE]
        facts = {row[0]: row[1:] for row in connection.execute(_facts(some))}
        types = _shares(connection, _types(some))
        ages = _shares(connection, _ages(some))
        for id_ in some:
            yield Directory._make((*facts[id_], types.get(id_, {}), ages.get(id_, {})))


def _facts(ids: Sequence[int]) -> sql.Select[Any]:
    return (
        sql.select(
            *(DIRECTORY.directory_id, BASE, DIRECTORY.directory_path),
            *(DIRECTORY.size, DIRECTORY.num_files, DIRECTORY.last_modified, DIRECTORY.last_used),
            DIRECTORY.kept_files,
        )
        .join(base_directory, base_directory.c.base_directory_id == DIRECTORY.base_directory_id)
        .where(DIRECTORY.directory_id.in_(ids))
    )


def _types(ids: Sequence[int]) -> sql.Select[Any]:
    sizes = file_size.c
    return (
        sql.select(sizes.directory_id, filetype.c.filetype_name, sizes.files, sizes.size)
        .join(filetype, filetype.c.filetype_id == sizes.filetype_id)
        .where(sizes.directory_id.in_(ids))
        .order_by(sizes.size.desc(), filetype.c.filetype_name)
    )


def _ages(ids: Sequence[int]) -> sql.Select[Any]:
    ages = directory_age.c
    return (
        sql.select(ages.directory_id, ages.age_class, ages.files, ages.size)
        .where(ages.directory_id.in_(ids))
        .order_by(ages.age_class)
    )


def _shares(connection: Connection, select: sql.Select[Any]) -> dict[int, dict[Any, Share]]:
    """By directory and type or age."""
    found: dict[int, dict[Any, Share]] = {}
    for id_, kind, *share in connection.execute(select):
        found.setdefault(id_, {})[kind] = Share(*share)
    return found
