"""The conditions that let through what somebody may see, and nothing else."""

import sqlalchemy as sql

from db.schema import unix_group, user
from lurge_types.sight import Sight

Condition = sql.ColumnElement[bool]


def of_groups(sight: Sight) -> Condition:
    """Of rows that are joined with their group."""
    return sql.true() if sight.everything else unix_group.c.gid.in_(sight.gids)


def of_owners(sight: Sight) -> Condition:
    """Of rows that are joined with their group and their user."""
    if sight.everything or sight.uid is None:
        return of_groups(sight)
    return sql.or_(of_groups(sight), user.c.uid == sight.uid)


def has_words(words: str, *columns: sql.ColumnElement[str | None]) -> Condition:
    """Each word stands in one of the columns, in small letters or capitals."""
    return sql.and_(
        sql.true(),
        *(
            # Not LIKE: SQLite's reads no further than a NUL.
            sql.or_(*(sql.func.instr(sql.func.lower(column), word) > 0 for column in columns))
            for word in words.lower().split()
        ),
    )
