"""The tables are made once, whoever asks for them how often, and whatever breaks it off."""

import threading
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, Wired, on_mariadb, on_sqlite
from servers.mariadb import Mariadb
from servers.nights import VOLUME

from db import usage
from db.database import Database, DatabaseFailed, SchemaMissing
from db.migrations import LOCK, NEWEST
from db.schema import metadata, schema_version, warning
from lurge_types.reports import WARNINGS

ALL = list(range(1, NEWEST + 1))

Schema = Mapping[str, tuple[list[str], list[str], int]]


def schema(database: Database) -> Schema:
    """Of each table its columns, indices and number of foreign keys."""

    def look(connection: sql.Connection) -> Schema:
        at = sql.inspect(connection)
        return {
            table: (
                [column["name"] for column in at.get_columns(table)],
                sorted(str(index["name"]) for index in at.get_indexes(table)),
                len(at.get_foreign_keys(table)),
            )
            for table in sorted(at.get_table_names())
        }

    return database.transaction(look)


def versions(database: Database) -> list[int]:
    return database.transaction(
        lambda connection: list(connection.scalars(sql.select(schema_version.c.version)))
    )


def levels(database: Database) -> dict[int, str]:
    return database.transaction(
        lambda connection: {
            row.warning_id: row.warning for row in connection.execute(sql.select(warning))
        }
    )


def test_making_the_tables_twice_changes_nothing(place: Place, connect: Connect) -> None:
    database = connect(place.admin)
    assert database.init() == ALL
    once = schema(database)
    assert database.init() == []
    assert schema(database) == once
    assert versions(database) == ALL


def test_every_table_and_index_is_made(place: Place, connect: Connect) -> None:
    database = connect(place.admin)
    database.init()
    there = schema(database)
    assert sorted(there) == sorted(metadata.tables)
    for name, table in metadata.tables.items():
        columns, indices, foreign_keys = there[name]
        assert columns == [column.name for column in table.columns]
        assert {index.name for index in table.indexes} <= set(indices)
        assert foreign_keys == len(table.foreign_keys)


def test_the_warning_levels_are_in_the_database(database: Database) -> None:
    assert levels(database) == WARNINGS


def test_two_who_make_the_tables_at_once_make_them_once(place: Place, connect: Connect) -> None:
    start = threading.Barrier(3)
    applied: list[list[int]] = []

    def init() -> None:
        database = connect(place.admin)
        start.wait(20)
        applied.append(database.init())

    threads = [threading.Thread(target=init) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(applied) == [[], [], ALL]
    assert versions(connect(place.admin)) == ALL
    assert levels(connect(place.admin)) == WARNINGS


# Broken off.

MOMENTS = {
    "first table": b"CREATE TABLE",
    "usage": b"CREATE TABLE lustre_usage",
    "index": b"CREATE INDEX",
    "levels": b"INSERT INTO warning",
    "version": b"INSERT INTO schema_version",
}


@on_mariadb
@pytest.mark.parametrize("moment", MOMENTS)
def test_what_broke_off_is_completed_the_next_time(
    wired: Wired, place: Place, connect: Connect, moment: str
) -> None:
    wired.wire.before(MOMENTS[moment], act=wired.server.kill)
    with pytest.raises(DatabaseFailed):
        connect(wired.admin, retry_seconds=0).init()
    assert wired.wire.happened.is_set()
    wired.server.start()
    database = connect(place.admin)
    assert database.init() == ALL
    assert versions(database) == ALL
    assert levels(database) == WARNINGS
    there = schema(database)
    for name, table in metadata.tables.items():
        assert {index.name for index in table.indexes} <= set(there[name][1])


@on_mariadb
def test_a_connection_lost_while_tables_are_made_is_no_loss(
    wired: Wired, place: Place, connect: Connect
) -> None:
    wired.wire.cut_behind(b"CREATE INDEX")
    assert connect(wired.admin).init() == ALL
    connect(place.table).check()


@on_mariadb
def test_whoever_may_not_make_tables_is_told_and_holds_up_nobody(
    place: Place, connect: Connect
) -> None:
    refused = connect(place.table)
    with pytest.raises(DatabaseFailed, match=r"CREATE command denied .*: see to the user"):
        refused.init()
    assert connect(place.admin, retry_seconds=1).init() == ALL


@on_mariadb
def test_an_init_that_takes_too_long_is_not_waited_for(
    place: Place, connect: Connect, mariadb: Mariadb
) -> None:
    with mariadb.administrator() as other:
        assert other.exec_driver_sql(f"SELECT GET_LOCK('{LOCK}', 0)").scalar() == 1
        with pytest.raises(DatabaseFailed, match="another init is at work"):
            connect(place.admin, retry_seconds=0.2).init()
        other.exec_driver_sql(f"SELECT RELEASE_LOCK('{LOCK}')")
    assert connect(place.admin).init() == ALL


# Whether the tables are those that are needed.


@on_sqlite
def test_sqlites_tables_are_made_when_they_are_needed(place: Place, connect: Connect) -> None:
    database = connect(place.table)
    database.check()
    assert versions(database) == ALL
    usage.store(database, nights.run(), VOLUME, nights.rows(3), replace=False)


@on_mariadb
def test_a_servers_tables_are_not_made_unasked(place: Place, connect: Connect) -> None:
    for table in (place.table, place.admin):
        database = connect(table)
        with pytest.raises(
            SchemaMissing, match=rf"version 0, .* needs {NEWEST}: run manager.py init"
        ):
            database.check()
        assert schema(database) == {}


def test_tables_of_a_newer_lurge_are_left_alone(place: Place, connect: Connect) -> None:
    database = connect(place.admin)
    database.init()
    now = datetime.now(UTC).replace(tzinfo=None)
    newer = {"version": NEWEST + 1, "applied": now}
    database.transaction(lambda connection: connection.execute(sql.insert(schema_version), newer))
    with pytest.raises(
        SchemaMissing, match=f"version {NEWEST + 1}, this Lurge needs {NEWEST}: use a newer Lurge"
    ):
        connect(place.table).check()
    assert connect(place.admin).init() == []
