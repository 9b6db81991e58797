"""The few places where SQLite and MariaDB or MySQL differ."""

import re
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sql
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.schema import CreateColumn

LOST = frozenset({1053, 1077, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""MySQL: the server is not there, is going, or has cut the connection."""

BUSY = frozenset({1040, 1203, 1205, 1213})
"""MySQL: too many connections, a lock waited for too long, a deadlock: try again."""

FULL = frozenset({1021, 1114})
"""MySQL: the disk or the table is full."""

DENIED = frozenset({1044, 1045, 1142, 1143, 1227, 1698})
"""MySQL: not this user, not with this password, or not allowed to do that."""

QUOTED = re.compile(r"(entry|value:|near) '(.*'(?= for | at )|.*'$)", re.DOTALL)
"""Where a message of MySQL quotes what is in a row or a statement."""


def insert_new(connection: Connection, table: sql.Table, *key: str) -> sql.Insert:
    """An insert that leaves a row alone whose key is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=key)
    return mysql.insert(table).on_duplicate_key_update({key[0]: table.c[key[0]]})


def insert_rows(
    connection: Connection,
    table: sql.Table,
    rows: Sequence[tuple[object, ...]],
    columns: Sequence[str] | None = None,
) -> None:
    """
    Insert many rows, whose values come in the order of the columns and as every driver takes them.

    columns: those that the rows have values of, in the table's order; all that the database does
    not compute, if none are given.

    Rows as dictionaries, with Core's conversions of each value, take half as long again. PyMySQL
    makes one statement of up to 1 MB of many rows, but only of values that are told by their place.
    """
    if rows:
        is_sqlite = connection.dialect.name == "sqlite"
        by_place = (
            sqlite.dialect(paramstyle="qmark") if is_sqlite else mysql.dialect(paramstyle="format")
        )
        stored = [column.name for column in table.columns if column.computed is None]
        insert = sql.insert(table).compile(dialect=by_place, column_keys=columns or stored)
        connection.exec_driver_sql(str(insert), list(rows))


def make_view(connection: Connection, name: str, rows: sql.Select[Any]) -> None:
    """
    Make a view, unless it is there with these columns.

    MySQL's is read with the reader's rights: not with those of whoever made it, who may be gone.
    """
    if name in sql.inspect(connection).get_view_names():
        nothing: sql.Select[Any] = (
            sql.select(sql.literal_column("*")).select_from(sql.table(name)).limit(0)
        )
        if list(connection.execute(nothing).keys()) == rows.selected_columns.keys():
            return
        connection.exec_driver_sql(f"DROP VIEW {name}")
    security = "" if connection.dialect.name == "sqlite" else "SQL SECURITY INVOKER "
    text = rows.compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"CREATE {security}VIEW {name} AS {text}")


@compiles(sql.Computed, "sqlite")
def _computed(column: sql.Computed, *_: object, **__: object) -> str:
    """
    A column that is computed when it is read: SQLite adds no other kind to a table.

    MySQL's is stored: InnoDB has had bugs with indices of others.
    """
    return f"GENERATED ALWAYS AS ({column.sqltext}) VIRTUAL"


def add_column(connection: Connection, column: sql.Column[Any]) -> None:
    """Add a column to the end of its table."""
    text = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {column.table.name} ADD COLUMN {text}")


def hold_still(connection: Connection) -> None:
    """
    Let all statements of a transaction that begins see the rows of one moment, as SQLite's do.

    A statement of its own: as SQLAlchemy's `isolation_level` it would be several, when a connection
    is taken, where a loss of the server is neither known as such nor waited for.
    """
    if connection.dialect.name != "sqlite":
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")


def clock(connection: Connection) -> datetime:
    """
    What time it is for the database now, in UTC without a zone.

    A statement of its own: in one that waits for a lock, MySQL's time is that of its beginning.
    """
    if connection.dialect.name == "sqlite":
        told = connection.exec_driver_sql("SELECT strftime('%Y-%m-%d %H:%M:%f', 'now')")
        return datetime.fromisoformat(told.scalar_one())
    now: datetime = connection.exec_driver_sql("SELECT UTC_TIMESTAMP(6)").scalar_one()
    return now


def size(connection: Connection) -> int:
    """Bytes that a database takes, with its indices, as it tells itself."""
    if connection.dialect.name == "sqlite":
        pages, page = (
            connection.exec_driver_sql(f"PRAGMA {fact}").scalar_one()
            for fact in ("page_count", "page_size")
        )
        return int(pages * page)
    tables = sql.table(
        "tables",
        *map(sql.column, ("table_schema", "data_length", "index_length")),
        schema="information_schema",
    )
    taken = sql.func.sum(tables.c.data_length + tables.c.index_length)
    here = tables.c.table_schema == sql.func.database()
    return int(connection.scalar(sql.select(taken).where(here)) or 0)


def worth_a_retry(error: sql.exc.DBAPIError) -> bool:
    """Whether the same transaction may go through a little later."""
    if error.connection_invalidated:
        return True
    return _sqlite_code(error) == sqlite3.SQLITE_BUSY or _mysql_code(error) in LOST | BUSY


def is_full(error: sql.exc.DBAPIError) -> bool:
    """Whether the database has no room left."""
    return _sqlite_code(error) == sqlite3.SQLITE_FULL or _mysql_code(error) in FULL


def is_denied(error: sql.exc.DBAPIError) -> bool:
    """Whether the database knows this user, password or right not."""
    return _mysql_code(error) in DENIED


def reason(error: sql.exc.DBAPIError) -> str:
    """What the database says, without the statement and what was in it."""
    arguments = getattr(error.orig, "args", ())
    return QUOTED.sub(r"\1 ...", str(arguments[-1] if arguments else error.orig))


def _mysql_code(error: sql.exc.DBAPIError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None


def _sqlite_code(error: sql.exc.DBAPIError) -> int | None:
    """The primary result code: https://sqlite.org/rescode.html."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF
