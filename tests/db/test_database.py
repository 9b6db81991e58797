"""A transaction is done wholly or not at all, and again while the database is away or busy."""

import socket
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, timedelta
from pathlib import Path

import children
import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, Wired, on_mariadb, on_sqlite
from servers.mariadb import FAST, Mariadb, private_mariadb
from servers.nights import DAY, VOLUME

from db import usage
from db.database import Database, DatabaseFailed
from db.schema import pi, unix_group
from lurge_types.config import DatabaseTable
from lurge_types.reports import GroupReport
from utils import config

AWAY_SECONDS = 0.3
LATE_SECONDS = 5.0
"""How much longer than it should something may take on a machine that has other work."""


def add(connection: sql.Connection, gid: int) -> None:
    connection.execute(
        sql.insert(unix_group).values(gid=gid, group_name=f"team{gid}", is_humgen=False)
    )


def gids(database: Database) -> list[int]:
    select = sql.select(unix_group.c.gid).order_by(unix_group.c.gid)
    return database.transaction(lambda connection: list(connection.scalars(select)))


def rows_of(database: Database, day: date) -> list[GroupReport]:
    return database.transaction(lambda connection: usage.read(connection, VOLUME.name, day))


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds + LATE_SECONDS


def passwords(*tables: DatabaseTable) -> list[str]:
    return [secret for table in tables if (secret := config.password(table))]


# Wholly or not at all.


def test_what_breaks_off_leaves_nothing_behind(database: Database) -> None:
    def break_off(connection: sql.Connection) -> None:
        add(connection, 1)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.transaction(break_off)
    assert gids(database) == []


def test_what_the_database_refuses_leaves_nothing_behind(database: Database) -> None:
    def twice(connection: sql.Connection) -> None:
        add(connection, 1)
        add(connection, 1)

    with pytest.raises(DatabaseFailed):
        database.transaction(twice)
    assert gids(database) == []


def test_a_transaction_gives_what_was_made_of_it(database: Database) -> None:
    assert database.transaction(lambda _: "made") == "made"


@on_mariadb
def test_a_value_that_is_too_long_is_refused_not_cut(database: Database, mariadb: Mariadb) -> None:
    assert mariadb.execute("SELECT @@GLOBAL.sql_mode") == [("",)]
    long = [nights.row(nights.group(1, name="x" * 3000))]
    with pytest.raises(DatabaseFailed, match="too long for column 'group_name'"):
        usage.store(database, nights.run(), VOLUME, long, replace=False)
    assert gids(database) == []


# Rights.


def test_a_run_needs_no_more_than_to_read_and_write_rows(
    place: Place, mariadb: Mariadb, database: Database
) -> None:
    if place.table.url.startswith("mysql"):
        user = sql.make_url(place.table.url).username
        rights = mariadb.execute(f"SHOW GRANTS FOR {user}@127.0.0.1")
        assert "GRANT SELECT, INSERT, UPDATE, DELETE ON" in rights[1][0]
        assert len(rights) == 2
    database.check()
    for replace in (False, True):
        usage.store(database, nights.run(), VOLUME, nights.rows(20), replace=replace)
    assert rows_of(database, DAY) == nights.rows(20)


@on_mariadb
@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE other (a INT)",
        "ALTER TABLE pi ADD COLUMN a INT",
        "DROP TABLE lustre_usage",
        "CREATE INDEX a ON pi (pi_name)",
    ],
)
def test_a_runs_user_cannot_change_tables(database: Database, statement: str) -> None:
    with pytest.raises(DatabaseFailed, match=r"command denied .* see to the user, password and"):
        database.transaction(lambda connection: connection.exec_driver_sql(statement))


# The server is away.


@on_mariadb
def test_each_loss_is_told_once(
    database: Database, connect: Connect, table: DatabaseTable, mariadb: Mariadb
) -> None:
    told: list[str] = []
    waiting = connect(table, waiting=told.append)
    waiting.check()
    for _ in range(2):
        mariadb.stop()
        threading.Timer(AWAY_SECONDS, mariadb.start).start()
        waiting.check()
    assert len(told) == 2
    assert all("127.0.0.1" in words for words in told)


@on_mariadb
def test_a_server_that_stays_away_is_given_up_in_time(
    table: DatabaseTable, connect: Connect, mariadb: Mariadb
) -> None:
    told: list[str] = []
    database = connect(table, retry_seconds=1, waiting=told.append)
    database.check()
    mariadb.stop()
    start = time.monotonic()
    with within(1), pytest.raises(DatabaseFailed) as caught:
        database.check()
    assert time.monotonic() - start > 0.5
    assert "Can't connect" in str(caught.value)
    assert "run again" in str(caught.value)
    assert len(told) == 1


@on_mariadb
def test_nothing_is_retried_when_nothing_shall_be(
    table: DatabaseTable, connect: Connect, mariadb: Mariadb
) -> None:
    mariadb.stop()
    with within(0), pytest.raises(DatabaseFailed):
        connect(table, retry_seconds=0).check()


@on_mariadb
def test_the_time_for_retries_begins_with_the_loss(
    database: Database, connect: Connect, table: DatabaseTable, mariadb: Mariadb
) -> None:
    tries = []

    def long_and_lost(connection: sql.Connection) -> None:
        tries.append(connection.scalar(sql.select(sql.func.connection_id())))
        add(connection, len(tries))
        if len(tries) == 1:
            time.sleep(0.7)
            mariadb.execute(f"KILL {tries[0]}")
        add(connection, 10)

    connect(table, retry_seconds=0.5).transaction(long_and_lost)
    assert gids(database) == [2, 10]


@on_mariadb
def test_a_server_that_falls_silent_is_given_up_too(
    wired: Wired, database: Database, connect: Connect
) -> None:
    silent = connect(wired.table, silent_seconds=0.3, retry_seconds=0.5)
    silent.check()
    wired.server.freeze()
    with within(1), pytest.raises(DatabaseFailed):
        silent.check()


@on_mariadb
@pytest.mark.parametrize("way", [{"sent": 0}, {"answered": 0}])
def test_a_read_that_is_cut_off_at_its_first_statement_is_made_again(
    wired: Wired, database: Database, connect: Connect, way: dict[str, int]
) -> None:
    mine = connect(wired.table)
    begun: list[bytes] = []
    mine.check()

    def heard(said: bytes) -> None:
        if b"ISOLATION LEVEL" in said and not begun:
            begun.append(said)
            wired.wire.reset_after(**way)

    wired.wire.heard = heard
    mine.check()
    assert begun


# Others are at it.


@on_mariadb
def test_a_deadlock_is_resolved(table: DatabaseTable, connect: Connect) -> None:
    first = connect(table)
    first.transaction(lambda connection: add(connection, 1))
    first.transaction(lambda connection: add(connection, 2))
    both_have_one = threading.Barrier(2)

    def rename(gids: tuple[int, int], name: str) -> None:
        meeting: list[Callable[[float], int]] = [both_have_one.wait]

        def act(connection: sql.Connection) -> None:
            for gid in gids:
                connection.execute(
                    sql.update(unix_group).where(unix_group.c.gid == gid).values(group_name=name)
                )
                if meeting:
                    meeting.pop()(20)

        connect(table).transaction(act)

    threads = [
        threading.Thread(target=rename, args=((1, 2), "this")),
        threading.Thread(target=rename, args=((2, 1), "that")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = first.transaction(
        lambda connection: list(connection.scalars(sql.select(unix_group.c.group_name)))
    )
    assert names in (["this"] * 2, ["that"] * 2)


@on_mariadb
def test_a_lock_that_is_held_too_long_is_asked_for_again(
    table: DatabaseTable, connect: Connect, mariadb: Mariadb
) -> None:
    name = sql.make_url(table.url).database
    before = connect(table)
    before.transaction(lambda connection: add(connection, 1))
    told: list[str] = []
    held, waited = threading.Event(), threading.Event()

    def hold() -> None:
        with mariadb.administrator() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.exec_driver_sql(f"SELECT * FROM {name}.unix_group FOR UPDATE").all()
            held.set()
            waited.wait(20)
            connection.exec_driver_sql("COMMIT")

    def act(connection: sql.Connection) -> None:
        connection.exec_driver_sql("SET SESSION innodb_lock_wait_timeout = 1")
        connection.execute(sql.update(unix_group).values(group_name="after"))

    def tell(words: str) -> None:
        told.append(words)
        waited.set()

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(20)
    connect(table, waiting=tell).transaction(act)
    holder.join()
    assert "Lock wait timeout" in told[0]


LOCK = """
    import sqlite3, sys, time

    file = sqlite3.connect(sys.argv[1], isolation_level=None)
    file.execute("BEGIN IMMEDIATE")
    print("locked", flush=True)
    time.sleep(float(sys.argv[2]))
    file.execute("COMMIT")
    file.close()
"""


@contextmanager
def locked(table: DatabaseTable, seconds: float) -> Iterator[None]:
    """Another process holds the write lock of SQLite's file."""
    process = subprocess.Popen(
        children.command(LOCK, sql.make_url(table.url).database, seconds), stdout=subprocess.PIPE
    )
    try:
        assert process.stdout
        assert process.stdout.readline() == b"locked\n"
        yield
    finally:
        process.kill()
        process.communicate()


@on_sqlite
def test_a_file_that_another_process_writes_is_waited_for(
    table: DatabaseTable, database: Database
) -> None:
    start = time.monotonic()
    with locked(table, seconds=1):
        database.transaction(lambda connection: add(connection, 1))
    assert time.monotonic() - start > 0.8
    assert gids(database) == [1]


@on_sqlite
def test_a_file_that_stays_locked_is_given_up_in_time(
    table: DatabaseTable, connect: Connect, database: Database
) -> None:
    busy = connect(table, retry_seconds=0.5)
    with locked(table, seconds=60), within(1), pytest.raises(DatabaseFailed, match="is locked"):
        busy.transaction(lambda connection: add(connection, 1))
    assert gids(database) == []


# It cannot be used, and waiting does not help.


@on_mariadb
def test_a_wrong_password_fails_at_once_and_is_not_shown(
    table: DatabaseTable, connect: Connect
) -> None:
    told: list[str] = []
    wrong = connect(table, password="not-the-password", retry_seconds=60, waiting=told.append)
    with within(0), pytest.raises(DatabaseFailed) as caught:
        wrong.check()
    assert "Access denied" in str(caught.value)
    assert "password and rights" in str(caught.value)
    assert "not-the-password" not in str(caught.value) + repr(caught.value.__cause__)
    assert told == []


@on_mariadb
def test_a_database_that_is_not_there_fails_at_once(
    place: Place, connect: Connect, mariadb: Mariadb
) -> None:
    nowhere = connect(DatabaseTable(url=mariadb.url("nowhere")), retry_seconds=60)
    with within(0), pytest.raises(DatabaseFailed, match="Unknown database 'nowhere'"):
        nowhere.check()


def test_a_host_that_nobody_knows_is_named(connect: Connect) -> None:
    table = DatabaseTable(url="mysql+pymysql://user@nowhere.invalid/lurge")
    with pytest.raises(DatabaseFailed, match=r"nowhere\.invalid"):
        connect(table, retry_seconds=0).check()


def test_a_port_where_something_else_answers_is_no_database(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            client = other.accept()[0]
            client.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
            client.close()

        thread = threading.Thread(target=answer)
        thread.start()
        url = f"mysql+pymysql://user@127.0.0.1:{other.getsockname()[1]}/lurge"
        with pytest.raises(DatabaseFailed):
            connect(DatabaseTable(url=url), retry_seconds=0).check()
        thread.join()


def test_a_file_that_is_no_database_is_left_alone(tmp_path: Path, connect: Connect) -> None:
    file = tmp_path / "lurge.db"
    file.write_bytes(b"something else\n" * 100)
    with within(0), pytest.raises(DatabaseFailed, match="not a database"):
        connect(DatabaseTable(url=f"sqlite:///{file}")).check()
    assert file.read_bytes() == b"something else\n" * 100


def test_a_folder_in_the_place_of_the_file_is_told(tmp_path: Path, connect: Connect) -> None:
    with pytest.raises(DatabaseFailed, match="unable to open database file"):
        connect(DatabaseTable(url=f"sqlite:///{tmp_path}")).check()


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path, connect: Connect) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DatabaseFailed, match=f"{tmp_path}/file cannot be made"):
        connect(DatabaseTable(url=f"sqlite:///{tmp_path}/file/lurge.db"))


def test_folders_for_the_file_are_made(tmp_path: Path, connect: Connect) -> None:
    connect(DatabaseTable(url=f"sqlite:///{tmp_path}/a/b/lurge.db")).check()
    assert (tmp_path / "a" / "b" / "lurge.db").exists()


# It is full.

FILL = """
    import sqlite3, subprocess, sys
    from datetime import timedelta

    folder, tests = sys.argv[1:]
    sys.path.insert(0, tests)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)

    import sqlalchemy as sql
    from servers import nights
    from db import usage
    from db.database import Database, DatabaseFailed
    from db.schema import lustre_usage, report_run

    def store(day, count):
        usage.store(database, nights.run(day), nights.VOLUME, nights.rows(count), replace=False)

    def count(table):
        return database.transaction(
            lambda connection: connection.scalar(sql.select(sql.func.count()).select_from(table))
        )

    database = Database(f"sqlite:///{folder}/lurge.db", retry_seconds=60)
    database.init()
    for number in range(100):
        try:
            store(nights.DAY + timedelta(days=number), 500)
        except DatabaseFailed as error:
            print(error)
            break
    assert count(report_run) == number > 0
    assert count(lustre_usage) == 500 * number
    database.close()
    check = sqlite3.connect(f"{folder}/lurge.db")
    print(check.execute("PRAGMA integrity_check").fetchone()[0])
    check.close()
    subprocess.run(["mount", "-o", "remount,size=9m", folder], check=True)
    store(nights.DAY + timedelta(days=number), 500)
    assert count(report_run) == number + 1
    database.close()
"""


def test_a_full_disk_leaves_what_was_whole_and_says_so(tmp_path: Path) -> None:
    tests = Path(__file__).parent.parent
    full, sound = children.run(FILL, tmp_path, tests, within=children.OWN_MOUNTS).splitlines()
    assert "lurge.db is full" in full
    assert "make room and run again" in full
    assert sound == "ok"


def test_a_full_server_leaves_what_was_whole_and_says_so(connect: Connect) -> None:
    tablespace = ("--innodb-file-per-table=0", "--innodb-data-file-path=ibdata1:20M")
    with private_mariadb(*FAST, *tablespace) as server:
        server.execute("CREATE DATABASE lurge")
        database = connect(DatabaseTable(url=server.url("lurge")), retry_seconds=60)
        database.init()
        whole: list[date] = []

        def fill() -> None:
            for number in range(100):
                run = nights.run(DAY + timedelta(days=number))
                usage.store(database, run, VOLUME, nights.rows(1000), replace=False)
                whole.append(run.record_date)

        with within(20), pytest.raises(DatabaseFailed, match=r"is full .*: make room and run ag"):
            fill()
        assert whole
        for day in whole:
            assert rows_of(database, day) == nights.rows(1000)
        assert rows_of(database, DAY + timedelta(days=len(whole))) == []
        database.close()


# What is said.


def test_errors_hold_no_values_of_rows(database: Database) -> None:
    rows = nights.rows(20, used_bytes=123_456_789, warning=99)
    with pytest.raises(DatabaseFailed, match=r"refuses .* (?i:foreign key)") as caught:
        usage.store(database, nights.run(), VOLUME, rows, replace=False)
    assert "123456789" not in "".join(traceback.format_exception(caught.value))


def test_errors_hold_no_names(database: Database) -> None:
    rows = [{"pi_hash": b"Top Secret", "pi_name": "Top Secret"}] * 2
    with pytest.raises(DatabaseFailed, match="pi_hash") as caught:
        database.transaction(lambda connection: connection.execute(sql.insert(pi), rows))
    assert "Secret" not in str(caught.value)


@on_mariadb
def test_no_words_hold_a_password(
    place: Place, connect: Connect, mariadb: Mariadb, capfd: pytest.CaptureFixture[str]
) -> None:
    said: list[str] = []
    for url in (place.table.url, place.admin.url.replace("@", ":in-the-url@")):
        for retry_seconds in (0.0, 0.3):
            for act in (Database.check, Database.init):
                database = Database(
                    url,
                    password=config.password(place.table),
                    retry_seconds=retry_seconds,
                    waiting=said.append,
                )
                mariadb.stop() if retry_seconds else mariadb.start()
                with pytest.raises(DatabaseFailed) as caught:
                    act(database)
                said += [str(caught.value), repr(caught.value), repr(caught.value.__cause__)]
                said += [str(caught.value.__cause__), database.name, repr(vars(database))]
                database.close()
    words = "\n".join(said) + "".join(capfd.readouterr())
    assert len(said) > 40
    for secret in (*passwords(place.table, place.admin), "in-the-url"):
        assert secret not in words


@on_sqlite
def test_another_file_in_the_place_of_the_one_before_is_read(
    database: Database, table: DatabaseTable, tmp_path: Path, connect: Connect
) -> None:
    count = sql.select(sql.func.count()).select_from(unix_group)
    assert database.read(lambda connection: connection.scalar(count)) == 0
    new = connect(DatabaseTable(url=f"sqlite:///{tmp_path}/new.db"))
    new.init()
    new.transaction(lambda connection: add(connection, 1))
    (tmp_path / "new.db").rename(tmp_path / "lurge.db")
    assert database.read(lambda connection: connection.scalar(count)) == 1
    (tmp_path / "lurge.db").unlink()
    with pytest.raises(DatabaseFailed, match="no such table"):
        database.read(lambda connection: connection.scalar(count))


def test_all_statements_of_a_reading_see_one_moment(
    database: Database, place: Place, connect: Connect
) -> None:
    another = connect(place.table, retry_seconds=0)
    database.transaction(lambda connection: add(connection, 1))

    def look_twice(connection: sql.Connection) -> list[int]:
        select = sql.select(unix_group.c.gid)
        before = list(connection.scalars(select))
        with suppress(DatabaseFailed):  # SQLite lets nobody commit meanwhile
            another.transaction(lambda their: add(their, 2))
        return [*before, *connection.scalars(select)]

    assert database.read(look_twice) == [1, 1]
