"""The tables are made once, whoever asks for them how often, and whatever breaks it off."""

import re
import threading
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, Wired, on_mariadb, on_sqlite
from servers.mariadb import Mariadb
from servers.nights import DAY, VOLUME

from db import directories, migrations, names, runs, usage, vaults
from db.database import Database, DatabaseFailed, SchemaMissing
from db.dialects import make_view
from db.migrations import LOCK, NEWEST
from db.newest import ON_DASHBOARDS, note_newest
from db.schema import (
    ALL_VOLUMES,
    ARCHIVE_CANDIDATE_NOW,
    BIG,
    DIRECTORY_NOW,
    MYSQL,
    VAULT_NOW,
    Days,
    archive_audit,
    archive_candidate_now,
    archive_copy,
    archive_run,
    archive_unit,
    candidate_group,
    directory_base,
    directory_now,
    lease,
    metadata,
    newest_date,
    schema_version,
    vault,
    vault_now,
    warning,
)
from lurge_types.reports import WARNINGS, Run
from lurge_types.vaults import VaultFile

ALL = list(range(1, NEWEST + 1))
PAGE = Path(migrations.__file__).parent.parent / "docs/database.md"
ADMINISTRATORS = "CREATE, CREATE VIEW, ALTER, INDEX, DROP, REFERENCES"

Schema = Mapping[str, tuple[list[str], list[str], int]]

# The tables of version 1 that are as they were but for the columns that came with version 5, and
# those of the next three that have grown or were new.
UNCHANGED = ("pi", "unix_group", "volume", "warning", "schema_version")
LATER = {"volume": {"retired", "successor_id"}, "report_run": {"imported_from"}}
FOURTH = ("lustre_usage", "archive_candidate")
THIRD = ("user", "user_usage", "vault_actions", "vault")
SECOND = (
    "report_run",
    "base_directory",
    "base_directory_usage",
    "filetype",
    "directory",
    "file_size",
    "directory_age",
)


LATER_INDEX = "base_directory_usage_shown"
FIFTH = 5
SIXTH = ("directory_base", "candidate_group")
SEVENTH = (archive_audit, archive_copy, archive_unit, archive_run, lease)
EARLIER_VAULT_NOW = VAULT_NOW.with_only_columns(
    *(column for column in vault.columns if column.name != "path_start")
)


def make_first_version(database: Database) -> None:
    """The tables of version 1, with a run that was recorded there."""
    first = unchanged()
    sql.Table(
        "report_run",
        first,
        sql.Column("run_id", BIG, primary_key=True),
        sql.Column("report", sql.String(32), nullable=False),
        sql.Column("volume_id", sql.ForeignKey("volume.volume_id"), nullable=False),
        sql.Column("record_date", sql.Date, nullable=False),
        sql.Column("scan_file", sql.Text, nullable=False),
        sql.Column("scan_time", sql.DateTime, nullable=False),
        sql.Column("lines", sql.BigInteger, nullable=False),
        sql.Column("bad_lines", sql.BigInteger, nullable=False),
        sql.Column("started", sql.DateTime, nullable=False),
        sql.Column("finished", sql.DateTime, nullable=False),
        sql.Column("version", sql.String(32), nullable=False),
        sql.Column("token", sql.String(32), nullable=False),
        sql.Column("done", sql.SmallInteger),
        sql.Column("current", sql.Boolean, nullable=False),
        sql.UniqueConstraint("report", "volume_id", "record_date", "done", name="report_run_whole"),
        **MYSQL,
    )
    database.transaction(lambda connection: make(connection, first, [1], settings=False))


def make_second_version(database: Database) -> None:
    """The tables of version 2, with a run that was recorded there."""
    second = unchanged(*SECOND)

    def act(connection: sql.Connection) -> None:
        make(connection, second, [1, 2])
        make_view(connection, directory_now.name, DIRECTORY_NOW)

    database.transaction(act)


def make_third_version(database: Database) -> None:
    """The tables of version 3, with a run that was recorded there."""
    third = unchanged(*SECOND, *THIRD)

    def act(connection: sql.Connection) -> None:
        make(connection, third, [1, 2, 3])
        fill_actions(connection, third)
        make_view(connection, directory_now.name, DIRECTORY_NOW)
        make_view(connection, vault_now.name, EARLIER_VAULT_NOW)

    database.transaction(act)


def make_fourth_version(database: Database) -> None:
    """The tables of version 4, with a run that was recorded there."""
    fourth = as_they_were(*UNCHANGED, *SECOND, *THIRD, *FOURTH)

    def act(connection: sql.Connection) -> None:
        make(connection, fourth, [1, 2, 3, 4])
        fill_actions(connection, fourth)
        make_view(connection, directory_now.name, DIRECTORY_NOW)
        make_view(connection, vault_now.name, EARLIER_VAULT_NOW)
        make_view(connection, archive_candidate_now.name, ARCHIVE_CANDIDATE_NOW)

    database.transaction(act)


def make_fifth_version(database: Database) -> None:
    """The tables of version 5, with a run that was recorded there."""
    fifth = as_they_were(*UNCHANGED, *SECOND, *THIRD, *FOURTH, newest_date.name)

    def act(connection: sql.Connection) -> None:
        make(connection, fifth, [1, 2, 3, 4, 5])
        fill_actions(connection, fifth)
        for report in ON_DASHBOARDS:
            of_all = {"report": report, "volume_id": ALL_VOLUMES}
            connection.execute(sql.insert(newest_date), of_all)
            note_newest(connection, report)
        make_view(connection, directory_now.name, DIRECTORY_NOW)
        make_view(connection, vault_now.name, EARLIER_VAULT_NOW)
        make_view(connection, archive_candidate_now.name, ARCHIVE_CANDIDATE_NOW)

    database.transaction(act)


def make_sixth_version(database: Database) -> None:
    """The tables of version 6, with a run that was recorded there."""
    sixth = as_they_were(*UNCHANGED, *SECOND, *THIRD, *FOURTH, newest_date.name, *SIXTH)

    def act(connection: sql.Connection) -> None:
        make(connection, sixth, [1, 2, 3, 4, 5, 6])
        fill_actions(connection, sixth)
        for report in ON_DASHBOARDS:
            of_all = {"report": report, "volume_id": ALL_VOLUMES}
            connection.execute(sql.insert(newest_date), of_all)
            note_newest(connection, report)
        make_view(connection, directory_now.name, DIRECTORY_NOW)
        make_view(connection, vault_now.name, VAULT_NOW)
        make_view(connection, archive_candidate_now.name, ARCHIVE_CANDIDATE_NOW)

    database.transaction(act)


def fill_actions(connection: sql.Connection, tables: sql.MetaData) -> None:
    actions = [
        {"vault_action_id": number, "action_name": name}
        for number, name in migrations.VAULT_ACTIONS.items()
    ]
    connection.execute(sql.insert(tables.tables["vault_actions"]), actions)


def as_they_were(*names: str) -> sql.MetaData:
    """Tables of today; `make` takes away the columns that came later."""
    tables = sql.MetaData()
    for name in names:
        metadata.tables[name].to_metadata(tables)
    return tables


def unchanged(*more: str) -> sql.MetaData:
    """The tables that are as they were, and use by group as it was before there were forecasts."""
    tables = as_they_were(*UNCHANGED, *more)
    sql.Table(
        "lustre_usage",
        tables,
        sql.Column("record_id", BIG, primary_key=True),
        sql.Column("record_date", sql.Date, nullable=False),
        sql.Column("volume_id", sql.ForeignKey("volume.volume_id"), nullable=False),
        sql.Column("unix_id", sql.ForeignKey("unix_group.group_id"), nullable=False),
        sql.Column("pi_id", sql.ForeignKey("pi.pi_id")),
        sql.Column("used", sql.BigInteger, nullable=False),
        sql.Column("quota", sql.BigInteger),
        sql.Column("inodes", sql.BigInteger, nullable=False),
        sql.Column("quota_inodes", sql.BigInteger),
        sql.Column("last_modified", Days),
        sql.Column("archived", sql.Boolean, nullable=False),
        sql.Column("suspect", sql.Boolean, nullable=False),
        sql.Column("warning_id", sql.ForeignKey("warning.warning_id"), nullable=False),
        sql.UniqueConstraint("unix_id", "volume_id", "record_date", name="lustre_usage_history"),
        sql.Index("lustre_usage_day", "volume_id", "record_date"),
        **MYSQL,
    )
    return tables


def make(
    connection: sql.Connection,
    tables: sql.MetaData,
    versions: Sequence[int],
    *,
    settings: bool = True,
) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    tables.create_all(connection)
    if vault.name in tables.tables and directory_base.name not in tables.tables:
        take_path_start(connection)
    if FIFTH not in versions:
        take_from_fifth(connection, tables)
    levels = [{"warning_id": number, "warning": name} for number, name in WARNINGS.items()]
    connection.execute(sql.insert(warning), levels)
    applied = [{"version": number, "applied": now} for number in versions]
    connection.execute(sql.insert(schema_version), applied)
    number = names.volume_id(connection, VOLUME)
    facts = {key: getattr(nights.run(), key) for key in Run.__dataclass_fields__}
    del facts["volume"], facts["imported_from"]
    if not settings:
        del facts["settings"]
    run = {**facts, "volume_id": number, "token": "1", "done": 1, "current": True}
    connection.execute(sql.insert(tables.tables["report_run"]), run)


def take_path_start(connection: sql.Connection) -> None:
    """Take away what came with version 6, and make the indices that there were."""
    connection.exec_driver_sql(f"DROP VIEW IF EXISTS {vault_now.name}")
    for index in vault.indexes:
        if vault.c.path_start in index.columns.values():
            index.drop(connection)
    length = "" if connection.dialect.name == "sqlite" else "(255)"
    connection.exec_driver_sql("ALTER TABLE vault DROP COLUMN path_start")
    connection.exec_driver_sql("CREATE INDEX vault_user ON vault (user_id, volume_id)")
    connection.exec_driver_sql(f"CREATE INDEX vault_path ON vault (filepath{length})")


def take_from_fifth(connection: sql.Connection, tables: sql.MetaData) -> None:
    """Take away the columns and the index that came with version 5."""
    for name, columns in LATER.items():
        present = {column["name"] for column in sql.inspect(connection).get_columns(name)}
        for column in sorted(columns & present):
            connection.exec_driver_sql(f"ALTER TABLE {name} DROP COLUMN {column}")
    for table in tables.tables.values():
        for index in table.indexes:
            if index.name == LATER_INDEX:
                index.drop(connection)


OLDER = {
    1: make_first_version,
    2: make_second_version,
    3: make_third_version,
    4: make_fourth_version,
    FIFTH: make_fifth_version,
    6: make_sixth_version,
}


def details(database: Database) -> Mapping[str, object]:
    """What the database tells of its tables and views, without the names that it has made up."""

    def nameless(facts: Iterable[Mapping[str, Any]]) -> list[str]:
        return sorted(str({key: fact[key] for key in fact if key != "name"}) for fact in facts)

    def look(connection: sql.Connection) -> Mapping[str, object]:
        at = sql.inspect(connection)
        return {
            name: (
                [
                    (
                        *(column["name"], str(column["type"]), column["nullable"]),
                        *(column["default"], column.get("computed")),
                    )
                    for column in at.get_columns(name)
                ],
                at.get_pk_constraint(name),
                sorted(map(str, at.get_indexes(name))),
                sorted(map(str, at.get_unique_constraints(name))),
                nameless(at.get_foreign_keys(name)),
            )
            for name in (*at.get_table_names(), *at.get_view_names())
        }

    return database.transaction(look)


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


def test_what_vaults_do_is_in_the_database(database: Database) -> None:
    assert database.transaction(names.vault_actions) == {"Keep": 1, "Archive": 2}


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


def test_the_documented_questions_can_be_asked(database: Database) -> None:
    questions = re.findall(r"^select .*?;$", PAGE.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    assert len(questions) == 9

    def ask(connection: sql.Connection) -> list[object]:
        return [row for question in questions for row in connection.exec_driver_sql(question)]

    assert database.transaction(ask) == []


# From one version to the next.


@pytest.mark.parametrize("older", OLDER)
def test_an_older_version_becomes_what_a_new_database_is(
    place: Place, connect: Connect, older: int
) -> None:
    database = connect(place.admin)
    OLDER[older](database)
    assert database.init() == ALL[older:]
    stepped = details(database)
    database.transaction(drop_all)
    assert database.init() == ALL
    assert stepped == details(database)


def drop_all(connection: sql.Connection) -> None:
    for view in (directory_now, vault_now, archive_candidate_now):
        connection.exec_driver_sql(f"DROP VIEW {view.name}")
    metadata.drop_all(connection)


@pytest.mark.parametrize("older", OLDER)
def test_what_an_older_version_has_recorded_stays(
    place: Place, connect: Connect, older: int
) -> None:
    database = connect(place.admin)
    OLDER[older](database)
    database.init()
    found = database.transaction(
        lambda connection: runs.find(connection, "reporter", VOLUME.name, DAY)
    )
    assert found == nights.run()
    assert (
        database.transaction(
            lambda connection: runs.rows_of(connection, "reporter", VOLUME.name, DAY)
        )
        == 0
    )
    usage.store(connect(place.table), nights.run(), VOLUME, nights.rows(3), replace=True)


@pytest.mark.parametrize("older", OLDER)
def test_the_newest_dates_of_an_older_version_are_known(
    place: Place, connect: Connect, older: int
) -> None:
    database = connect(place.admin)
    OLDER[older](database)
    database.init()
    dates = sql.select(newest_date.c.report, newest_date.c.volume_id, newest_date.c.record_date)
    found = database.transaction(lambda connection: set(map(tuple, connection.execute(dates))))
    assert found == {
        ("reporter", ALL_VOLUMES, DAY),
        ("reporter", 1, DAY),
        *((report, ALL_VOLUMES, None) for report in ("inspector", "puppeteer", "users")),
    }


def go_back_to_fifth(connection: sql.Connection) -> None:
    """Take away of a database of today, with its rows, what came with later versions."""
    connection.execute(sql.delete(schema_version).where(schema_version.c.version > FIFTH))
    for table in SEVENTH:
        table.drop(connection)
    directory_base.drop(connection)
    candidate_group.drop(connection)
    take_path_start(connection)
    make_view(connection, vault_now.name, EARLIER_VAULT_NOW)


def test_the_directories_of_an_older_version_are_summed_up(place: Place, connect: Connect) -> None:
    database = connect(place.admin)
    database.init()
    groups = {gid: nights.group(gid) for gid in range(1, 6)}
    for day in (DAY, DAY + timedelta(1)):
        run = nights.run(day, report="inspector")
        filling = directories.begin(
            database, run, VOLUME, 50, replace=False, file_types=("BAM", "CRAM", "VCF")
        )
        filling.add(nights.directories(50), groups)
        filling.finish(list, groups)
    sums = sql.select(directory_base).order_by(*directory_base.primary_key)
    made = database.transaction(lambda connection: connection.execute(sums).all())
    assert sum(row.directories for row in made) == 100

    database.transaction(go_back_to_fifth)
    assert database.init() == ALL[FIFTH:]
    assert database.transaction(lambda connection: connection.execute(sums).all()) == made


def test_files_in_vaults_of_an_older_version_are_found_by_their_paths(
    place: Place, connect: Connect
) -> None:
    database = connect(place.admin)
    database.init()
    files = sorted(map(nights.vault_file, range(50)), key=VaultFile.state)
    files[7] = files[7]._replace(shown="/" + "\U0001f4be" * 300)
    run = nights.run(report="puppeteer")
    filling = vaults.begin(database, run, VOLUME, len(files), replace=False)
    filling.changes(sorted(file.state() for file in files))
    users = {file.uid: nights.user(file.uid) for file in files}
    groups = {file.gid: nights.group(file.gid) for file in files}
    filling.add(files, users, groups)
    filling.finish()
    database.transaction(go_back_to_fifth)
    database.init()
    starts = sql.select(vault_now.c.path_start).order_by(vault_now.c.path_start)
    found = database.transaction(lambda connection: list(connection.scalars(starts)))
    assert found == sorted((file.shown[:255] for file in files), key=str.encode)


@on_mariadb
@pytest.mark.parametrize(
    "step",
    [
        (1, b"ADD COLUMN filled"),
        (1, b"SECURITY INVOKER VIEW directory_now"),
        (1, b"INSERT INTO vault_actions"),
        (1, b"SECURITY INVOKER VIEW vault_now"),
        (1, b"ADD COLUMN rate_bytes"),
        (1, b"SECURITY INVOKER VIEW archive_candidate_now"),
        (1, b"ADD COLUMN imported_from"),
        (1, b"ADD COLUMN successor_id"),
        (1, b"INSERT INTO newest_date"),
        (FIFTH, b"DROP INDEX vault_user"),
        (FIFTH, b"ADD COLUMN path_start"),
        (FIFTH, b"CREATE INDEX directory_base_group"),
        (FIFTH, b"CREATE INDEX candidate_group_of"),
        (FIFTH, b"CREATE INDEX vault_group"),
        (FIFTH, b"DROP VIEW vault_now"),
        (FIFTH, b"SECURITY INVOKER VIEW vault_now"),
        (6, b"CREATE TABLE archive_unit"),
        (6, b"CREATE INDEX archive_unit_next"),
        (6, b"CREATE INDEX archive_audit_unit"),
    ],
)
@pytest.mark.parametrize("lost", ["server", "answer"])
def test_a_step_that_broke_off_is_completed(
    wired: Wired, place: Place, connect: Connect, step: tuple[int, bytes], lost: str
) -> None:
    older, moment = step
    database = connect(place.admin)
    OLDER[older](database)
    if lost == "server":
        wired.wire.before(moment, act=wired.server.kill)
        with pytest.raises(DatabaseFailed):
            connect(wired.admin, retry_seconds=0).init()
        wired.server.start()
        missing = database.init()  # a later step commits what an earlier one did
        assert missing == ALL[-len(missing) :]
    else:
        wired.wire.cut_behind(moment)
        connect(wired.admin).init()
    assert versions(database) == ALL
    assert wired.wire.happened.is_set()
    stepped = details(database)
    database.transaction(drop_all)
    database.init()
    assert stepped == details(database)


@on_mariadb
def test_the_documented_rights_are_enough_to_make_the_tables(
    place: Place, connect: Connect, mariadb: Mariadb
) -> None:
    address = sql.make_url(place.admin.url)
    user = f"{address.username}@127.0.0.1"
    mariadb.execute(f"REVOKE ALL ON {address.database}.* FROM {user}")
    for rights in ("SELECT, INSERT, UPDATE, DELETE", ADMINISTRATORS):
        mariadb.execute(f"GRANT {rights} ON {address.database}.* TO {user}")
    assert ADMINISTRATORS in PAGE.read_text("utf-8")
    database = connect(place.admin)
    make_first_version(database)
    database.init()


@on_mariadb
@pytest.mark.parametrize("view", [directory_now, vault_now, archive_candidate_now])
def test_a_view_is_read_when_whoever_made_it_is_gone(
    place: Place, connect: Connect, mariadb: Mariadb, view: sql.TableClause
) -> None:
    admin = sql.make_url(place.admin.url).username
    connect(place.admin).init()
    mariadb.execute(f"RENAME USER {admin}@127.0.0.1 TO {admin}_gone@127.0.0.1")
    try:
        select = sql.select(view)
        rows = connect(place.table).transaction(lambda connection: connection.execute(select).all())
    finally:
        mariadb.execute(f"RENAME USER {admin}_gone@127.0.0.1 TO {admin}@127.0.0.1")
    assert rows == []


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
