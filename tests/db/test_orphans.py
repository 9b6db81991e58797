"""Directories are found by the names of however many users, in statements that servers take."""

from typing import Any

import sqlalchemy as sql
from servers import nights
from servers.nights import VOLUME
from sqlalchemy.engine import Connection

from db import directories, orphans, pages
from db.database import Database
from lurge_types.reports import BaseDirectory

LEAST_PACKET = 2**20
"""Bytes that a MariaDB server is hardly ever set to take less of in a statement."""


def test_long_names_of_many_users_make_no_long_statement(database: Database) -> None:
    base = BaseDirectory("/real/a", "/lustre/scratch1/projects/a")
    group = nights.group(1)
    names = [f"{number:04}" + "n" * 496 for number in range(1500)]
    called = [f"users/{name}" for name in (names[0], names[700], names[-1])]
    rows = [nights.directory(1, group, base, directory=each) for each in (*called, "users/other")]
    filling = directories.begin(
        database,
        nights.run(report="inspector"),
        VOLUME,
        len(rows),
        replace=False,
        file_types=("BAM", "CRAM", "VCF"),
    )
    filling.add(rows, {1: group})
    filling.finish(lambda: [[nights.use(group, base, used_bytes=1, inodes=1)]], {1: group})
    sizes = []

    def note(_: Any, __: Any, statement: str, parameters: Any, *___: Any) -> None:
        values = parameters.values() if isinstance(parameters, dict) else parameters
        sizes.append(len(statement) + sum(len(str(value)) for value in values))

    def find(connection: Connection) -> list[str]:
        stored = pages.newest(connection, "inspector", VOLUME.name)
        assert stored
        sql.event.listen(connection, "before_cursor_execute", note)
        found = orphans.directories_called(connection, stored, ["users", "homes"], names)
        return [place.directory for _, place in found]

    assert sorted(database.transaction(find)) == called
    assert max(sizes) < LEAST_PACKET
