"""Databases as the suite before Lurge has made them, in both of its generations."""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from servers.mariadb import Mariadb

Generation = Literal[1, 2]

NAMES = (
    "create table pi (pi_id int auto_increment primary key, pi_name varchar(255))",
    "create table user (user_id int auto_increment primary key, user_name varchar(255))",
    "create table volume (volume_id int auto_increment primary key, scratch_disk varchar(255))",
    "create table vault_actions "
    "(vault_action_id int auto_increment primary key, action_name varchar(255))",
    "insert into vault_actions values (1, 'Keep'), (2, 'Archive')",
    "create table user_usage (record_id int auto_increment primary key, record_date date, "
    "user_id int, group_id int, volume_id int, size bigint, last_modified date)",
    "create table vault (record_id int auto_increment primary key, record_date date, "
    "filepath text, group_id int, vault_action_id int, size int, user_id int, "
    "last_modified date, volume_id int)",
)
TABLES: Mapping[Generation, Sequence[str]] = {
    1: (
        *NAMES,
        "create table unix_group (group_id int auto_increment primary key, "
        "group_name varchar(255), is_humgen tinyint(1))",
        "create table lustre_usage (record_id int auto_increment primary key, used bigint, "
        "quota bigint, record_date date, archived tinyint(1), last_modified int, pi_id int, "
        "unix_id int, volume_id int, warning_id int)",
        "create table directory (directory_id int auto_increment primary key, "
        "project_name varchar(255), directory_path varchar(255), volume_id int)",
    ),
    2: (
        *NAMES,
        "create table unix_group (group_id int auto_increment primary key, "
        "group_name varchar(255))",
        "create table base_directory (base_directory_id int auto_increment primary key, "
        "directory_path varchar(255), volume_id int)",
        "create table lustre_usage (record_id int auto_increment primary key, used bigint, "
        "quota bigint, record_date date, last_modified int, pi_id int, unix_id int, "
        "base_directory_id int, warning_id int)",
    ),
}


@dataclass
class OldDatabase:
    """
    An older database.

    url: how a user reaches it who may only read, with this password.
    """

    server: Mariadb
    name: str
    url: str
    password: str

    def execute(self, statement: str, *values: object) -> list[Any]:
        """Do one thing in it."""
        with self.server.administrator() as connection:
            connection.exec_driver_sql(f"use {self.name}")
            done = connection.exec_driver_sql(statement, values)
            return list(done) if done.returns_rows else []

    def add(self, table: str, *rows: Mapping[str, object]) -> None:
        """Insert rows, in this order."""
        for row in rows:
            places = ", ".join(["%s"] * len(row))
            self.execute(f"insert into {table} ({', '.join(row)}) values ({places})", *row.values())

    def group(self, group_id: int, name: str) -> None:
        """A group, if need be one of the site's projects."""
        of = {"is_humgen": 1} if self.has("unix_group", "is_humgen") else {}
        self.add("unix_group", {"group_id": group_id, "group_name": name, **of})

    def has(self, table: str, column: str) -> bool:
        """Whether a table has a column."""
        return column in [row[0] for row in self.execute(f"show columns from {table}")]

    def use(self, day: date, group_id: int, place: int, used: int, **more: object) -> None:
        """What a group used on a volume, or in a base directory."""
        of = "volume_id" if self.has("lustre_usage", "volume_id") else "base_directory_id"
        fixed = {"record_date": day, "unix_id": group_id, of: place, "used": used}
        self.add("lustre_usage", {**fixed, "last_modified": 3, "warning_id": 1, **more})

    def file(self, day: date, path: str, **more: object) -> None:
        """A file in a vault on a day."""
        facts = {"group_id": 7, "vault_action_id": 1, "size": 100, "user_id": 3, "volume_id": 1}
        modified = {"last_modified": date(2024, 5, 6)}
        self.add("vault", {"record_date": day, "filepath": path, **facts, **modified, **more})


@contextmanager
def old_database(server: Mariadb, generation: Generation) -> Iterator[OldDatabase]:
    """An older database with its tables, two volumes, and the names of a few."""
    name = f"old_{secrets.token_hex(4)}"
    reader, password = f"{name}_reader", secrets.token_urlsafe()
    server.execute(f"create database {name}")
    server.execute(f"create user {reader}@127.0.0.1 identified by %s", password)
    server.execute(f"grant select on {name}.* to {reader}@127.0.0.1")
    url = f"mysql+pymysql://{reader}@127.0.0.1:{server.port}/{name}?ssl_disabled=true"
    made = OldDatabase(server, name, url, password)
    try:
        for statement in TABLES[generation]:
            made.execute(statement)
        for number, disk in ((1, "scratch1"), (4, "scratch4")):
            made.add("volume", {"volume_id": number, "scratch_disk": disk})
        made.add("pi", {"pi_id": 5, "pi_name": "Doe"})
        made.add("user", {"user_id": 3, "user_name": "alice"}, {"user_id": 8, "user_name": "gone"})
        made.group(7, "team7")
        made.group(9, "left")
        yield made
    finally:
        server.execute(f"drop database {name}")
        server.execute(f"drop user {reader}@127.0.0.1")
