"""What tests of databases are given: see the fixtures in `conftest.py`."""

from dataclasses import dataclass
from typing import Any, Protocol

import pytest
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


class Connect(Protocol):
    """Opens a database, which is closed after the test; settings are those of `Database`."""

    def __call__(self, table: DatabaseTable, **settings: Any) -> Database: ...
