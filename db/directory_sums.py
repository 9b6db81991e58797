"""
What a group's files in a base directory amount to, of a run of the inspector: summed up once.

Whoever shows all of a group would else read all of its rows of `directory`.
"""

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import directory, directory_base


def sum_up(connection: Connection, run_id: int) -> None:
    """Sum up the directories of a run, which may have been done before."""
    delete(connection, run_id)
    keys = [directory.c[column.name] for column in directory_base.primary_key]
    keys.append(directory.c.volume_id)
    sums = (
        *keys,
        sql.func.count().label("directories"),
        *(sql.func.sum(directory.c[name]).label(name) for name in ("num_files", "size")),
        *(sql.func.min(directory.c[name]).label(name) for name in ("last_modified", "last_used")),
        sql.func.sum(directory.c.kept_files).label("kept_files"),
    )
    rows = sql.select(*sums).where(directory.c.run_id == run_id).group_by(*keys)
    connection.execute(
        sql.insert(directory_base).from_select([column.name for column in sums], rows)
    )


def delete(connection: Connection, run_id: int) -> None:
    """Delete the sums of a run."""
    connection.execute(sql.delete(directory_base).where(directory_base.c.run_id == run_id))
