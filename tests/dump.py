"""All that a night stores, ids replaced by names, and what tells one run from the next left out."""

from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import schema
from db.database import Database
from lurge_types.config import DatabaseTable
from utils.config import password

OF_ONE_RUN = {"token", "started", "finished", "touched", "host", "process", "scan_file"}
"""Columns that say who did something, and when."""

NAMES = {
    "pi_id": (schema.pi, "pi_name"),
    "unix_id": (schema.unix_group, "gid"),
    "group_id": (schema.unix_group, "gid"),
    "user_id": (schema.user, "uid"),
    "volume_id": (schema.volume, "scratch_disk"),
    "base_directory_id": (schema.base_directory, "real_path"),
    "filetype_id": (schema.filetype, "filetype_name"),
    "vault_action_id": (schema.vault_actions, "action_name"),
}

Rows = list[tuple[Any, ...]]


def dump(table: DatabaseTable) -> dict[str, Rows]:
    """The rows of every table, sorted."""
    database = Database(table.url, password=password(table))
    try:
        return database.transaction(_dump)
    finally:
        database.close()


def _dump(connection: Connection) -> dict[str, Rows]:
    names = {
        key: {row[0]: row[1] for row in connection.execute(_names(table, name))}
        for key, (table, name) in NAMES.items()
    }
    places = {
        row.directory_id: (
            names["volume_id"][row.volume_id],
            names["group_id"][row.group_id],
            names["base_directory_id"][row.base_directory_id],
            row.directory_path,
        )
        for row in connection.execute(sql.select(schema.directory))
    }
    dumped = {}
    for table in schema.metadata.sorted_tables:
        if table is schema.schema_version:
            continue
        rows = []
        for row in connection.execute(sql.select(table)).mappings():
            named = []
            for column in table.columns:
                value = row[column.name]
                if column.name in names:
                    named.append(names[column.name].get(value))
                elif column.name == "directory_id":
                    named.append(places[value])
                elif not (_is_id(column, table) or column.name in OF_ONE_RUN):
                    named.append(value)
            rows.append(tuple(named))
        dumped[table.name] = sorted(rows, key=repr)
    return dumped


def _names(table: sql.Table, name: str) -> sql.Select[Any]:
    return sql.select(next(iter(table.primary_key)), table.c[name])


def _is_id(column: sql.Column[Any], table: sql.Table) -> bool:
    """Whether a number only tells rows apart: what has a meaning has a name of its own."""
    if column.name in ("warning_id", "first_id"):
        return column.name == "first_id"
    return column.name.endswith("_id")
