"""A database: transactions that are retried when the server is gone for a while, and the schema."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool

from db import dialects, migrations

T = TypeVar("T")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
SQLITE_WAITS_SECONDS = 30
INIT_WAITS_SECONDS = 60
CONNECT_SECONDS = 10
CONNECTIONS = 5
SILENT_SECONDS = 120
"""More than a server lets a statement wait for a lock: 50 by default."""

SQL_MODE = "STRICT_TRANS_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"
"""Whatever the server's is: one that is not strict cuts a value that is too long and says OK."""

LONGEST_LIST = 2**24
"""Bytes that GROUP_CONCAT makes at most: MySQL's 1024 would be cut without an error."""

READS = "lurge_reads"
"""An option of connections that only read."""


class DatabaseFailed(Exception):
    """The database cannot be used: which, why, and what to do."""


class SchemaMissing(DatabaseFailed):
    """The tables are not there, or not those that this version of Lurge needs."""


def is_empty_file(url: str) -> bool:
    """Whether this is an SQLite database whose file has nothing in it, or is not there."""
    file = sqlite_file(url)
    return file is not None and (not file.exists() or not file.stat().st_size)


def sqlite_file(url: str) -> Path | None:
    """The file of an SQLite database, None for another."""
    address = sql.make_url(url)
    if address.drivername != "sqlite" or not address.database:
        return None
    return Path(address.database)


class Database:
    """
    A database and how long to wait for it, in seconds.

    url: `sqlite:///FILE` or `mysql+pymysql://user@host/name`, without a password.
    user: instead of the url's.
    connections: how many are kept to a server, for as many threads. connect_seconds: how long one
        may take.
    silent_seconds: a server that lets a statement wait for so long is taken for lost; None for
        statements that may take hours.
    waiting: told in words, once for each loss, that the database is being waited for.

    Raises DatabaseFailed where SQLite's file has no folder and none can be made.
    """

    def __init__(
        self,
        url: str,
        *,
        user: str | None = None,
        password: str | None = None,
        retry_seconds: float = 300,
        silent_seconds: float | None = SILENT_SECONDS,
        connect_seconds: int = CONNECT_SECONDS,
        connections: int = CONNECTIONS,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        address = sql.make_url(url)
        self.name = address.render_as_string(hide_password=True)
        self._engine = (
            _sqlite(address, min(SQLITE_WAITS_SECONDS, retry_seconds))
            if address.drivername == "sqlite"
            else _mysql(
                address.set(username=user or address.username, password=password),
                connections,
                connect_timeout=connect_seconds,
                read_timeout=silent_seconds,
                write_timeout=silent_seconds,
            )
        )
        self._reading = self._engine.execution_options(**{READS: True})
        self._retry_seconds = retry_seconds
        self._waiting = waiting

    def transaction(
        self,
        act: Callable[[Connection], T],
        *,
        retry_seconds: float | None = None,
    ) -> T:
        """
        Do something wholly or not at all, and again while the database is away or busy.

        A connection that is lost while it commits leaves open whether it did: what is done again
        must know its own work. Raises DatabaseFailed `retry_seconds` after the first loss, which
        is the database's if none is given.
        """
        return self._patiently(self._engine, act, retry_seconds)

    def read(self, act: Callable[[Connection], T]) -> T:
        """
        Read; all statements see the rows of one moment, whatever others change meanwhile.

        Nobody is locked out, but that SQLite lets nobody commit until all is read.

        Raises DatabaseFailed, as `transaction` does.
        """

        def still(connection: Connection) -> T:
            dialects.hold_still(connection)
            return act(connection)

        return self._patiently(self._reading, still, None)

    def _patiently(
        self, engine: Engine, act: Callable[[Connection], T], retry_seconds: float | None
    ) -> T:
        patience = self._retry_seconds if retry_seconds is None else retry_seconds
        deadline = None
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                with engine.begin() as connection:
                    return act(connection)
            except DBAPIError as error:
                if not dialects.worth_a_retry(error):
                    raise self._failed(error) from error
                if deadline is None:
                    deadline = time.monotonic() + patience
                    self._waiting(f"{self.name}: {dialects.reason(error)}")
                if time.monotonic() + pause > deadline:
                    raise self._failed(error) from error
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    def check(self, *, make: bool = True) -> None:
        """
        See that the database is there with its tables; SQLite's are made, unless told not to.

        Raises DatabaseFailed, SchemaMissing.
        """
        if make and self._engine.dialect.name == "sqlite":
            self.init()
        version = self.read(migrations.version)
        if version != migrations.NEWEST:
            raise SchemaMissing(
                f"{self.name} has schema version {version}, this Lurge needs {migrations.NEWEST}: "
                + ("run manager.py init" if version < migrations.NEWEST else "use a newer Lurge")
            )

    def init(self) -> list[int]:
        """
        Make the tables, or bring them to this version; which versions were applied.

        Raises DatabaseFailed.
        """

        def apply(connection: Connection) -> list[int]:
            now = datetime.now(UTC).replace(tzinfo=None)
            return migrations.apply(connection, now, min(INIT_WAITS_SECONDS, self._retry_seconds))

        try:
            return self.transaction(apply)
        except migrations.InitBusy as error:
            raise DatabaseFailed(
                f"{self.name}: another init is at work: wait for its end and run again"
            ) from error

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _failed(self, error: DBAPIError) -> DatabaseFailed:
        why = dialects.reason(error)
        if dialects.is_full(error):
            return DatabaseFailed(f"{self.name} is full ({why}): make room and run again")
        if dialects.is_denied(error):
            return DatabaseFailed(f"{self.name}: {why}: see to the user, password and rights")
        if isinstance(error, (IntegrityError, DataError)):
            return DatabaseFailed(f"{self.name} refuses what was to be stored, all of it: {why}")
        return DatabaseFailed(f"{self.name}: {why}: see that it is there and run again")


def _mysql(address: sql.URL, connections: int, **seconds: float | None) -> Engine:
    return sql.create_engine(
        address,
        pool_size=connections,
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "charset": "utf8mb4",
            "sql_mode": SQL_MODE,
            "init_command": f"SET SESSION group_concat_max_len = {LONGEST_LIST}",
            **seconds,
        },
    )


def _sqlite(address: sql.URL, busy_seconds: float) -> Engine:
    """
    SQLite with foreign keys, waiting for who else is writing.

    A transaction takes the write lock at its start: one that first reads and then wants to write
    would fail at once if another has written in between. One that only reads takes none.
    """
    if address.database:
        _make_folder(Path(address.database).parent)
    engine = sql.create_engine(
        address,
        # A file that is kept open would be read for ever, though another has taken its place.
        poolclass=NullPool if address.database else None,
        hide_parameters=True,
        connect_args={"timeout": busy_seconds, "isolation_level": None},
    )

    @sql.event.listens_for(engine, "connect")
    def _connected(connection: Any, _: object) -> None:
        connection.execute("PRAGMA foreign_keys = ON")

    @sql.event.listens_for(engine, "begin")
    def _begun(connection: Connection) -> None:
        reads = connection.get_execution_options().get(READS, False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")

    return engine


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseFailed(
            f"{folder} cannot be made for the database: {error.strerror}"
        ) from error
