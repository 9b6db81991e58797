"""Conditions of what is read: what somebody may see and nothing else, which run, which words."""

from collections.abc import Sequence
from datetime import date
from typing import Literal

import sqlalchemy as sql

from db.schema import report_run, unix_group, user, volume
from db.upkeep import in_use
from lurge_types.sight import Sight

Condition = sql.ColumnElement[bool]

Report = Literal["reporter", "users", "inspector", "candidates"]
"""Those whose rows people are shown."""


def of_groups(sight: Sight) -> Condition:
    """Of rows that are joined with their group."""
    return sql.true() if sight.everything else unix_group.c.gid.in_(sight.gids)


def of_owners(sight: Sight) -> Condition:
    """Of rows that are joined with their group and their user."""
    if sight.everything or sight.uid is None:
        return of_groups(sight)
    return sql.or_(of_groups(sight), user.c.uid == sight.uid)


def of_volumes(name: str | None, today: date) -> Condition:
    """Of rows that are joined with their volume: the named one, else all that are in use."""
    return in_use(today) if name is None else volume.c.scratch_disk == name


def newest_run(report: Report, volume_id: int | sql.ColumnElement[int] | None = None) -> Condition:
    """Of rows of `report_run`: the one that stands for a volume now, or those of all volumes."""
    run = report_run.c
    newest = sql.and_(run.report == report, run.current)
    return newest if volume_id is None else sql.and_(newest, run.volume_id == volume_id)


def has_words(words: str, *columns: sql.ColumnElement[str | None]) -> Condition:
    """
    Each word stands in one of the columns, in small letters or capitals.

    SQLite knows those of ASCII alone; other letters have to be the same.
    """
    return sql.and_(sql.true(), *(_has(word, columns) for word in words.split()))


def _has(word: str, columns: Sequence[sql.ColumnElement[str | None]]) -> Condition:
    # Not LIKE: SQLite's reads no further than a NUL. Python makes other letters small than SQLite.
    small = sql.func.lower(word)
    return sql.or_(*(sql.func.instr(sql.func.lower(column), small) > 0 for column in columns))
