"""What tests of databases are given: see the fixtures in `conftest.py`."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sql
from servers.mariadb import Mariadb
from servers.wire import Wire

from db.database import Database
from lurge_types.config import DatabaseTable

on_mariadb = pytest.mark.parametrize("place", ["mariadb"], indirect=True)
on_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


@dataclass(frozen=True, slots=True)
class Place:
    """
    Where a test may have a database of its own; there are no tables in it.

    table: as the configuration of a run has it; on a server that user may only read and write rows.
    admin: the same for whoever makes the tables.
    """

    table: DatabaseTable
    admin: DatabaseTable


@dataclass(frozen=True, slots=True)
class Wired:
    """
    A server, a wire to it, and a database there that is reached by the wire.

    table: as the configuration of a run has it. admin: for whoever makes the tables.
    """

    server: Mariadb
    wire: Wire
    table: DatabaseTable
    admin: DatabaseTable


class Tables:
    """
    What `init` makes, once for a session: to copy it is quicker.

    folder: for that of SQLite. server: starts it when it is first asked for.
    """

    TEMPLATE = "lurge_template"

    def __init__(self, folder: Path, server: Callable[[], Mariadb]) -> None:
        self._folder = folder
        self._server = server
        self._statements: list[str] = []

    @cached_property
    def file(self) -> Path:
        """One of SQLite with the tables."""
        file = self._folder / "lurge.db"
        _init(f"sqlite:///{file}")
        return file

    def make(self, table: DatabaseTable) -> None:
        """Make the tables in an empty database."""
        url = sql.make_url(table.url)
        assert url.database
        if url.get_backend_name() == "sqlite":
            shutil.copyfile(self.file, url.database)
            return
        server = self._server()
        if not self._statements:
            server.execute(f"CREATE OR REPLACE DATABASE {self.TEMPLATE}")
            _init(server.url(self.TEMPLATE))
            self._statements = list(_statements(server, self.TEMPLATE))
        with server.administrator() as connection:
            for statement in (f"USE {url.database}", *self._statements):
                connection.exec_driver_sql(statement)
            connection.invalidate()  # the next one to have it stands in no database


def _init(url: str) -> None:
    with closing(Database(url)) as database:
        database.init()


def _statements(server: Mariadb, name: str) -> Iterator[str]:
    """What makes the tables, rows and views of a database in the one that is used."""
    found = server.execute(f"SHOW FULL TABLES FROM {name}")
    tables = [table for table, kind in found if kind == "BASE TABLE"]
    yield "SET foreign_key_checks = 0"
    for table in tables:
        yield server.execute(f"SHOW CREATE TABLE {name}.{table}")[0][1]
    for table in tables:
        if server.execute(f"SELECT 1 FROM {name}.{table} LIMIT 1"):
            yield f"INSERT INTO {table} SELECT * FROM {name}.{table}"
    yield "SET foreign_key_checks = 1"
    for view in (view for view, kind in found if kind == "VIEW"):
        made = server.execute(f"SHOW CREATE VIEW {name}.{view}")[0][1]
        yield made.replace(f"`{name}`.", "")


class Connect(Protocol):
    """Opens a database, which is closed after the test; settings are those of `Database`."""

    def __call__(self, table: DatabaseTable, **settings: Any) -> Database: ...
