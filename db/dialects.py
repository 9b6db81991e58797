"""The few places where SQLite and MariaDB or MySQL differ."""

import sqlalchemy as sql
from sqlalchemy.dialects import mysql, sqlite
from sqlalchemy.engine import Connection

LOST = frozenset({1053, 1077, 1927, 2002, 2003, 2006, 2013, 2014, 2055, 4031})
"""MySQL: the server is not there, is going, or has cut the connection."""

BUSY = frozenset({1040, 1203, 1205, 1213})
"""MySQL: too many connections, a lock waited for too long, a deadlock: try again."""

FULL = frozenset({1021, 1114})
"""MySQL: the disk or the table is full."""


def insert_new(connection: Connection, table: sql.Table, key: str) -> sql.Insert:
    """An insert that leaves a row alone whose key is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=[key])
    return mysql.insert(table).on_duplicate_key_update({key: table.c[key]})


def worth_a_retry(error: sql.exc.DBAPIError) -> bool:
    """Whether the same transaction may go through a little later."""
    if error.connection_invalidated:
        return True
    code = _code(error)
    return code in LOST | BUSY or "database is locked" in str(error.orig)


def is_full(error: sql.exc.DBAPIError) -> bool:
    """Whether the database has no room left."""
    return _code(error) in FULL or "disk is full" in str(error.orig)


def reason(error: sql.exc.DBAPIError) -> str:
    """What the database says, without the statement and what it held."""
    arguments = getattr(error.orig, "args", ())
    return str(arguments[-1]) if arguments else str(error.orig)


def _code(error: sql.exc.DBAPIError) -> object:
    arguments = getattr(error.orig, "args", ())
    return arguments[0] if arguments else None
