"""A database: transactions that are retried when the server is gone for a while, and the schema."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError

from db import dialects, migrations

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
SQLITE_WAITS_SECONDS = 30
CONNECT_SECONDS = 10


class DatabaseFailed(Exception):
    """The database cannot be used: which, why, and what to do."""


class SchemaMissing(DatabaseFailed):
    """The tables are not there, or not those that this version of Lurge needs."""


class Database:
    """
    A database and how long to wait for it, in seconds.

    url: `sqlite:///FILE` or `mysql+pymysql://user@host/name`, without a password.
    user: instead of the url's.
    waiting: told in words, once for each loss, that the database is being waited for.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        retry_seconds: float = 300,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.name = url
        self._engine = _engine(url, user, password)
        self._retry_seconds = retry_seconds
        self._waiting = waiting

    def transaction(self, act: Callable[[Connection], T]) -> T:
        """
        Do something wholly or not at all, and again while the database is away or busy.

        Raises DatabaseFailed after `retry_seconds`, and IntegrityError for the caller to judge.
        """
        deadline = time.monotonic() + self._retry_seconds
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                with self._engine.begin() as connection:
                    return act(connection)
            except IntegrityError:
                raise
            except DBAPIError as error:
                if not dialects.worth_a_retry(error) or time.monotonic() + pause > deadline:
                    raise self._failed(error) from error
                self._waiting(f"{self.name}: {dialects.reason(error)}")
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def check(self) -> None:
        """
        See that the database is there with its tables; SQLite's are made.

        Raises DatabaseFailed, SchemaMissing.
        """
        if self._engine.dialect.name == "sqlite":
            self.init()
        version = self.transaction(migrations.version)
        if version != migrations.NEWEST:
            raise SchemaMissing(
                f"{self.name} has schema version {version}, this Lurge needs {migrations.NEWEST}: "
                + ("run manager.py init" if version < migrations.NEWEST else "use a newer Lurge")
            )

    def init(self) -> list[int]:
        """Make the tables, or bring them to this version; which versions were applied."""

        def apply(connection: Connection) -> list[int]:
            return migrations.apply(connection, datetime.now(UTC).replace(tzinfo=None))

        return self.transaction(apply)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _failed(self, error: DBAPIError) -> DatabaseFailed:
        why = dialects.reason(error)
        if dialects.is_full(error):
            return DatabaseFailed(f"{self.name} is full ({why}): make room and run again")
        return DatabaseFailed(f"{self.name}: {why}: see that it is there and run again")


def _engine(url: str, user: str | None, password: str | None) -> Engine:
    address = sql.make_url(url)
    if address.drivername == "sqlite":
        return _sqlite(address)
    return sql.create_engine(
        address.set(username=user or address.username, password=password),
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        connect_args={"charset": "utf8mb4", "connect_timeout": CONNECT_SECONDS},
    )


def _sqlite(address: sql.URL) -> Engine:
    """
    SQLite with foreign keys, waiting for who else is writing.

    A transaction takes the write lock at its start: one that first reads and then wants to write
    would fail at once if another has written in between.
    """
    if address.database:
        Path(address.database).parent.mkdir(parents=True, exist_ok=True)
    engine = sql.create_engine(
        address, connect_args={"timeout": SQLITE_WAITS_SECONDS, "isolation_level": None}
    )

    @sql.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    @sql.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine
