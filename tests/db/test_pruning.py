"""A day of a history is deleted wholly or not at all, and nothing that is not old history."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, on_mariadb
from servers.nights import DAY, VOLUME

from db import directories, pruning, runs, usage, user_usage
from db.database import Database
from db.pruning import HISTORIES, History
from db.schema import base_directory_usage, lustre_usage, report_run
from db.schema import user_usage as users
from lurge_types.config import DatabaseTable
from lurge_types.reports import UserUse
from lurge_types.scans import Volume

OTHER = Volume("scratch2", b"/lustre/scratch2")
DAYS = [DAY + timedelta(number) for number in range(3)]
NAMES = range(1, 4)
GROUPS = {gid: nights.group(gid) for gid in NAMES}
USERS = {uid: nights.user(uid) for uid in NAMES}


def store(database: Database, day: date, volume: Volume = VOLUME, rows: int = 3) -> None:
    """Record what groups used; again, where it is recorded."""
    of = nights.rows(rows, volume)
    usage.store(database, nights.run(day, volume), volume, of, replace=True)


def store_users(database: Database, day: date) -> None:
    user_usage.store(
        database,
        nights.run(day, report="users"),
        VOLUME,
        [UserUse(1, 1, 10, 1, None), UserUse(2, 1, 10, 1, None)],
        USERS,
        GROUPS,
        withdraw=lambda: None,
        replace=False,
    )


def store_directories(database: Database, day: date) -> None:
    """Record base directories, and 5 directories, of which nothing is swept yet."""
    run = nights.run(day, report="inspector")
    filling = directories.begin(database, run, VOLUME, 5, replace=False, file_types="abcd")
    groups = {gid: nights.group(gid) for gid in range(1, 6)}
    filling.add(nights.directories(5), groups)
    filling.finish(lambda: [[nights.use(GROUPS[1], nights.base(1))]], groups)


def histories(database: Database) -> list[History]:
    return database.transaction(partial(pruning.histories, reports=list(HISTORIES)))


def forget(database: Database, of: History, day: date) -> int | None:
    return database.transaction(partial(pruning.forget, of=of, day=day))


def days_of(database: Database, table: sql.Table) -> list[tuple[date, int]]:
    """The days that a table has rows of, and how many."""
    day = table.c.record_date
    count = sql.select(day, sql.func.count()).group_by(day).order_by(day)
    return database.transaction(lambda connection: list(map(tuple, connection.execute(count))))


def days_recorded(database: Database) -> list[date]:
    return [day for of in histories(database) for day in of.days]


def test_an_empty_database_has_no_history(database: Database) -> None:
    assert histories(database) == []


def test_histories_are_by_report_and_volume_with_their_days_in_order(database: Database) -> None:
    for day in reversed(DAYS):
        store(database, day, OTHER)
        store_users(database, day)
    store(database, DAY)
    found = [(of.report, of.volume, of.days) for of in histories(database)]
    assert found == [
        ("reporter", "scratch1", DAYS[:1]),
        ("reporter", "scratch2", DAYS),
        ("users", "scratch1", DAYS),
    ]
    only = database.transaction(partial(pruning.histories, reports=["users"]))
    assert [of.report for of in only] == ["users"]


def test_a_history_tells_which_days_were_imported_and_which_may_not_go(database: Database) -> None:
    imported = [nights.run(day, imported_from="older") for day in DAYS[1:]]
    usage.store_days(database, VOLUME, [(run, nights.rows(1)) for run in imported], replace=False)
    store(database, DAYS[0])
    for day in DAYS:
        store_directories(database, day)
    told = [(of.report, of.imported, of.held) for of in histories(database)]
    newest_own = {DAYS[0]}
    assert told == [("inspector", set(), set(DAYS)), ("reporter", set(DAYS[1:]), newest_own)]
    directories.sweep(database, "inspector", VOLUME.name)
    assert histories(database)[0].held == {DAYS[2]}


@pytest.mark.parametrize(
    ("record", "of_rows", "rows"),
    [
        (store, lustre_usage, 3),
        (store_users, users, 2),
        (store_directories, base_directory_usage, 1),
    ],
)
def test_a_day_goes_with_its_rows_and_its_run_and_no_other(
    database: Database, record: Any, of_rows: sql.Table, rows: int
) -> None:
    for day in DAYS:
        record(database, day)
    directories.sweep(database, "inspector", VOLUME.name)
    [of] = histories(database)
    assert database.transaction(partial(pruning.rows, of=of, day=DAYS[1])) == rows
    assert forget(database, of, DAYS[1]) == rows
    assert days_of(database, of_rows) == [(DAYS[0], rows), (DAYS[2], rows)]
    assert days_recorded(database) == [DAYS[0], DAYS[2]]
    assert forget(database, of, DAYS[1]) is None


def test_other_volumes_keep_the_day(database: Database) -> None:
    for volume in (VOLUME, OTHER):
        store(database, DAYS[0], volume)
        store(database, DAYS[1], volume)
    forget(database, histories(database)[0], DAYS[0])
    assert days_of(database, lustre_usage) == [(DAYS[0], 3), (DAYS[1], 6)]
    assert [of.days for of in histories(database)] == [DAYS[1:2], DAYS[:2]]


def test_the_newest_day_stays(database: Database) -> None:
    store(database, DAY)
    assert forget(database, histories(database)[0], DAY) is None
    assert days_of(database, lustre_usage) == [(DAY, 3)]


def test_a_day_stays_while_its_directories_are_not_swept(database: Database) -> None:
    store_directories(database, DAYS[0])
    store_directories(database, DAYS[1])
    [of] = histories(database)
    assert forget(database, of, DAYS[0]) is None
    assert days_recorded(database) == DAYS[:2]
    directories.sweep(database, "inspector", VOLUME.name)
    assert forget(database, of, DAYS[0]) == 1


def test_a_run_that_is_not_whole_stays(database: Database) -> None:
    store(database, DAYS[1])
    store(database, DAYS[0])
    [of] = histories(database)
    not_whole = sql.update(report_run).where(report_run.c.record_date == DAYS[0]).values(done=None)
    database.transaction(lambda connection: connection.execute(not_whole))
    assert days_recorded(database) == [DAYS[1]]
    assert forget(database, of, DAYS[0]) is None
    assert days_of(database, lustre_usage) == [(DAYS[0], 3), (DAYS[1], 3)]


def test_a_day_that_is_gone_can_be_recorded_again(database: Database) -> None:
    for day in DAYS[:2]:
        store(database, day)
    forget(database, histories(database)[0], DAYS[0])
    usage.store(database, nights.run(DAYS[0]), VOLUME, nights.rows(2), replace=False)
    assert days_of(database, lustre_usage) == [(DAYS[0], 2), (DAYS[1], 3)]
    find = partial(runs.last_before, report="reporter", volume_name=VOLUME.name, day=DAYS[2])
    assert database.transaction(find) == nights.run(DAYS[1])


def test_what_fails_in_the_middle_leaves_the_day_whole(database: Database) -> None:
    for day in DAYS[:2]:
        store(database, day)
    [of] = histories(database)

    def fail(connection: sql.Connection) -> None:
        pruning.forget(connection, of, DAYS[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        database.transaction(fail)
    assert days_of(database, lustre_usage) == [(DAYS[0], 3), (DAYS[1], 3)]
    assert days_recorded(database) == DAYS[:2]


@contextmanager
def meanwhile(database: Database, after: str, act: Any) -> Iterator[None]:
    """Let something happen once after the first statement that begins so."""
    waiting = [act]

    def look(*facts: Any) -> None:
        if facts[2].startswith(after) and waiting:
            waiting.pop()()

    sql.event.listen(database._engine, "after_cursor_execute", look)
    yield
    assert not waiting


@on_mariadb
def test_a_day_that_is_replaced_meanwhile_stays(
    database: Database, table: DatabaseTable, connect: Connect
) -> None:
    store(database, DAYS[0], rows=0)
    store(database, DAYS[1])
    [of] = histories(database)
    another = connect(table)
    with meanwhile(database, "DELETE FROM lustre_usage", lambda: store(another, DAYS[0])):
        assert forget(database, of, DAYS[0]) is None
    assert days_of(database, lustre_usage) == [(DAYS[0], 3), (DAYS[1], 3)]
    assert days_recorded(database) == DAYS[:2]


@on_mariadb
def test_while_rows_are_deleted_others_see_the_day_and_record_others(
    database: Database, table: DatabaseTable, connect: Connect
) -> None:
    for day in DAYS[:2]:
        store(database, day)
    [of] = histories(database)
    another = connect(table, retry_seconds=0)
    seen = []

    def look_and_record() -> None:
        seen.append((days_of(another, lustre_usage), days_recorded(another)))
        store(another, DAYS[2])

    with meanwhile(database, "DELETE FROM lustre_usage", look_and_record):
        assert forget(database, of, DAYS[0]) == 3
    assert seen == [([(DAYS[0], 3), (DAYS[1], 3)], DAYS[:2])]
    assert days_of(database, lustre_usage) == [(DAYS[1], 3), (DAYS[2], 3)]
