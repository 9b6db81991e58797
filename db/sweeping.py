"""Deleting, in chunks, rows that readers see no longer."""

from collections.abc import Callable
from functools import partial

from sqlalchemy.engine import Connection

from db import runs
from db.database import Database
from db.runs import Unseen

Delete = Callable[[Connection, Unseen, range], None]
"""Deletes the rows that some of a run's ids are kept for."""


def sweep(database: Database, report: str, volume_name: str, delete: Delete, rows: int) -> None:
    """
    Delete what readers of a volume see no longer, and what killed runs left.

    rows: how many at a time. Raises DatabaseFailed; what is deleted by then stays deleted.
    """
    find = partial(runs.unseen, report=report, volume_name=volume_name)
    for of in database.transaction(find):
        _sweep_run(database, of, delete, rows)


def _sweep_run(database: Database, of: Unseen, delete: Delete, rows: int) -> None:
    for first in range(of.ids.start, of.ids.stop, rows):
        ids = range(first, min(first + rows, of.ids.stop))
        if not database.transaction(partial(_delete_some, of=of, ids=ids, delete=delete)):
            return
    database.transaction(partial(runs.forget, of=of))


def _delete_some(connection: Connection, of: Unseen, ids: range, delete: Delete) -> bool:
    """False if the ids are no longer the run's own."""
    if not runs.hold(connection, of):
        return False
    delete(connection, of, ids)
    return True
