"""The record that a day's folder of raw lines has all its volumes."""

import secrets
from collections.abc import Sequence

from sqlalchemy.engine import Connection

from db import names, runs
from db.database import Database
from lurge_types.reports import Run
from lurge_types.scans import Volume


def record(database: Database, of: Sequence[tuple[Run, Volume]]) -> None:
    """
    Record the runs of several volumes, all or none; those that are recorded are replaced.

    Raises DatabaseFailed.
    """
    token = secrets.token_hex(16)
    ids = database.transaction(
        lambda connection: [names.volume_id(connection, volume) for _, volume in of]
    )

    def write(connection: Connection) -> None:
        for volume_id, (run, _) in sorted(zip(ids, of, strict=True), key=lambda each: each[0]):
            if runs.claim(connection, run, volume_id, token, replace=True):
                runs.record(connection, run, volume_id, token)

    database.transaction(write)
