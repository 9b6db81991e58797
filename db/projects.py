"""
The site's own database of projects: read by the queries of the configuration, and never written.

Its URL has a password in it: no error repeats the URL, nor the query.
"""

import re
import sqlite3
import time
from collections.abc import Iterator
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import sqlalchemy as sql
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import ArgumentError, DBAPIError, ResourceClosedError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from db import dialects
from utils.paths import text

CONNECT_SECONDS = 10
QUERY_SECONDS = 300
"""For how long the server may work on a query; then it ends it."""

PATIENCE_SECONDS = 30
"""For how much longer an answer is waited for: a server that is gone ends nothing."""

MOST_ROWS = 1_000_000
"""Some 300 MB: they are read at once, as the server's clock runs until the last one is."""

STEPS = 10_000
"""After so many steps SQLite looks at the clock."""

COLUMNS = 3
ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?", re.ASCII).fullmatch
FORM = "must be like mysql+pymysql://user:password@host/name or sqlite:////FILE"


class ProjectsFailed(Exception):
    """A query of projects has no answer: which, why, and what to do."""


class ProjectRow(NamedTuple):
    """
    A row as the query gives it.

    id: in text form; None where it has none. path: None where it has none, else as it is there.
    ended: None while it has not; text where it is no date.
    """

    id: str | None
    path: bytes | None
    ended: date | str | None


def rows(url: str, query: str, called: str, seconds: int = QUERY_SECONDS) -> Iterator[ProjectRow]:
    """
    What a query gives, in its order.

    called: what the query is called in the configuration. seconds: for how long the server may work
    on it.

    Raises ProjectsFailed.
    """
    address = _address(url)
    engine = _engine(address, seconds)
    try:
        with engine.connect() as connection:
            _limit(connection, seconds)
            for number, row in enumerate(_select(connection, query)):
                if number == MOST_ROWS:
                    raise ProjectsFailed(f"{called}: gives more than {MOST_ROWS:,} rows: narrow it")
                yield _row(row, called)
    except (SQLAlchemyError, UnicodeError) as error:
        # Not the whole URL: drivers take passwords in several places of it.
        raise ProjectsFailed(
            f"{called}: {address.host or 'sqlite'}, {address.database}: {_why(error)}: "
            "see to the query and the database"
        ) from error
    finally:
        engine.dispose()


def _address(url: str) -> sql.URL:
    """Where the database is. Raises ProjectsFailed, which does not repeat it."""
    try:
        address = sql.make_url(url)
    except (ArgumentError, ValueError):  # both quote it
        raise ProjectsFailed(f"the URL of the database of projects {FORM}") from None
    if address.drivername not in {"sqlite", "mysql+pymysql"} or not address.database:
        raise ProjectsFailed(f"the URL of the database of projects {FORM}")
    return address


def _engine(address: sql.URL, seconds: int) -> Engine:
    if address.drivername == "sqlite":
        file = f"file:{quote(str(Path(str(address.database)).absolute()))}?mode=ro"
        return sql.create_engine(
            "sqlite://", creator=partial(sqlite3.connect, file, uri=True), poolclass=NullPool
        )
    silent = seconds + PATIENCE_SECONDS
    timeouts = {"connect_timeout": CONNECT_SECONDS, "read_timeout": silent}
    return sql.create_engine(
        address, poolclass=NullPool, connect_args={"charset": "utf8mb4", **timeouts}
    )


def _limit(connection: Connection, seconds: int) -> None:
    """Let nothing be written, and the query be ended after some seconds."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.dbapi_connection
        end = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > end, STEPS)
        return
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    limit = (
        f"max_statement_time = {seconds}" if is_mariadb else f"max_execution_time = {seconds}000"
    )
    connection.exec_driver_sql(f"SET SESSION {limit}")
    connection.exec_driver_sql(f"SET SESSION sql_select_limit = {MOST_ROWS + 1}")
    connection.exec_driver_sql("SET SESSION TRANSACTION READ ONLY")


def _select(connection: Connection, query: str) -> Iterator[sql.Row[Any]]:
    # Without parameters, or a driver would look for their places behind each % of the query.
    yield from connection.exec_driver_sql(query, execution_options={"no_parameters": True})


def _row(row: sql.Row[Any], called: str) -> ProjectRow:
    if len(row) != COLUMNS:
        raise ProjectsFailed(
            f"{called}: gives {len(row)} columns: it must be three, an id, a path and the day on "
            "which the project ended"
        )
    number, path, ended = tuple(row)
    return ProjectRow(
        None if number is None else text(_bytes(number)),
        None if path is None else _bytes(path),
        _day(ended),
    )


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def _day(value: object) -> date | str | None:
    """The day that a value stands for; what is none as text."""
    if value is None:
        return None
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    form = text(_bytes(value))
    try:
        return datetime.fromisoformat(form).date() if ISO(form) else form
    except ValueError:
        return form


def _why(error: Exception) -> str:
    if isinstance(error, ResourceClosedError):
        return "the query is no SELECT"
    if isinstance(error, UnicodeError):
        return "what it gives is no UTF-8 text"
    return dialects.reason(error) if isinstance(error, DBAPIError) else type(error).__name__
