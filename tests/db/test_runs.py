"""A report of a volume and date is recorded once, and the newest date is the current one."""

import threading
from collections.abc import Sequence
from datetime import date, timedelta

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Wired, on_mariadb
from servers.nights import DAY, VOLUME

from db import names, runs
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded
from db.schema import report_run
from lurge_types.config import DatabaseTable
from lurge_types.reports import Run
from lurge_types.scans import Volume

OTHER = Volume("scratch2")
DAYS = [DAY + timedelta(days=number) for number in range(5)]


def record(
    database: Database,
    run: Run,
    token: str = "mine",
    *,
    replace: bool = False,
) -> bool:
    """Record a run; whether it was still to be recorded."""

    def act(connection: sql.Connection) -> bool:
        volume_id = names.volume_id(connection, Volume(run.volume))
        to_do = runs.claim(connection, run, volume_id, token, replace=replace)
        if to_do:
            runs.record(connection, run, volume_id, token)
        return to_do

    return database.transaction(act)


def begin(database: Database, run: Run) -> None:
    """Leave a run behind that is not whole."""

    def act(connection: sql.Connection) -> None:
        volume_id = names.volume_id(connection, Volume(run.volume))
        runs.record(connection, run, volume_id, "begun")
        connection.execute(
            sql.update(report_run).where(report_run.c.token == "begun").values(done=None)
        )

    database.transaction(act)


def find(database: Database, run: Run) -> Run | None:
    return database.transaction(
        lambda connection: runs.find(connection, run.report, run.volume, run.record_date)
    )


def last_before(database: Database, day: date, report: str = "reporter") -> Run | None:
    return database.transaction(
        lambda connection: runs.last_before(connection, report, VOLUME.name, day)
    )


def current(database: Database) -> Sequence[tuple[str, int, date]]:
    """What is current: report, volume and date."""
    columns = (report_run.c.report, report_run.c.volume_id, report_run.c.record_date)
    select = sql.select(*columns).where(report_run.c.current).order_by(*columns)
    return database.transaction(lambda connection: list(map(tuple, connection.execute(select))))


def current_days(database: Database) -> list[date]:
    return [day for *_, day in current(database)]


def test_a_recorded_run_is_found_as_it_was(database: Database) -> None:
    assert find(database, nights.run()) is None
    record(database, nights.run())
    assert find(database, nights.run()) == nights.run()


def test_reports_volumes_and_dates_are_recorded_apart(database: Database) -> None:
    all_of_them = [
        nights.run(day, volume, report=report)
        for day in DAYS[:2]
        for volume in (VOLUME, OTHER)
        for report in ("reporter", "users")
    ]
    for run in all_of_them:
        assert find(database, run) is None
        assert record(database, run)
    for run in all_of_them:
        assert find(database, run) == run


def test_a_report_of_a_date_is_recorded_once(database: Database) -> None:
    record(database, nights.run())
    with pytest.raises(AlreadyRecorded, match="recorded by another run"):
        record(database, nights.run(version="2"), "other")
    assert find(database, nights.run()) == nights.run()


def test_the_same_token_tells_ones_own_run(database: Database) -> None:
    assert record(database, nights.run())
    assert not record(database, nights.run())
    assert not record(database, nights.run(), replace=True)


def test_a_run_may_be_replaced(database: Database) -> None:
    record(database, nights.run())
    record(database, nights.run(version="2"), "other", replace=True)
    assert find(database, nights.run()) == nights.run(version="2")
    assert current_days(database) == [DAY]


def test_the_database_itself_lets_no_report_be_whole_twice(database: Database) -> None:
    record(database, nights.run())
    with pytest.raises(DatabaseFailed):
        database.transaction(lambda connection: runs.record(connection, nights.run(), 1, "other"))
    assert find(database, nights.run()) == nights.run()


def test_runs_that_are_not_whole_count_for_nothing(database: Database) -> None:
    begin(database, nights.run(DAYS[1]))
    begin(database, nights.run(DAYS[1]))
    assert find(database, nights.run(DAYS[1])) is None
    assert last_before(database, DAYS[4]) is None
    record(database, nights.run(DAYS[0]))
    assert current_days(database) == [DAYS[0]]
    record(database, nights.run(DAYS[1]))
    assert find(database, nights.run(DAYS[1])) == nights.run(DAYS[1])
    assert current_days(database) == [DAYS[1]]


# The current one.


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (1, 3, 0, 2), (2, 0, 3, 1)])
def test_the_newest_date_is_current_in_whatever_order_they_come(
    database: Database, order: Sequence[int]
) -> None:
    for place in range(len(order)):
        record(database, nights.run(DAYS[order[place]]))
        assert current_days(database) == [DAYS[max(order[: place + 1])]]


def test_replacing_an_older_date_leaves_the_newest_current(database: Database) -> None:
    for day in DAYS:
        record(database, nights.run(day))
    record(database, nights.run(DAYS[1]), "other", replace=True)
    assert current_days(database) == [DAYS[4]]


def test_each_report_of_each_volume_has_its_current_date(database: Database) -> None:
    record(database, nights.run(DAYS[0]))
    record(database, nights.run(DAYS[1], OTHER))
    record(database, nights.run(DAYS[2], report="users"))
    assert current(database) == [
        ("reporter", 1, DAYS[0]),
        ("reporter", 2, DAYS[1]),
        ("users", 1, DAYS[2]),
    ]


@on_mariadb
def test_an_older_date_that_is_slow_does_not_take_current_from_a_newer_one(
    wired: Wired, database: Database, connect: Connect
) -> None:
    record(database, nights.run(DAYS[0]))
    newer = threading.Thread(target=lambda: record(connect(wired.table), nights.run(DAYS[3])))

    def let_it_pass() -> None:
        newer.start()
        newer.join(0.5)

    wired.wire.before(b"UPDATE report_run", act=let_it_pass)
    record(connect(wired.table), nights.run(DAYS[1]))
    newer.join()
    assert current_days(database) == [DAYS[3]]


def test_of_dates_recorded_at_once_the_newest_is_current(
    table: DatabaseTable, connect: Connect
) -> None:
    start = threading.Barrier(len(DAYS))

    def race(day: date) -> None:
        database = connect(table)
        start.wait(20)
        record(database, nights.run(day))

    threads = [threading.Thread(target=race, args=(day,)) for day in DAYS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert current_days(connect(table)) == [max(DAYS)]


# The last one before.


def test_the_last_run_before_a_date_is_the_newest_of_them(database: Database) -> None:
    for day in (DAYS[2], DAYS[0], DAYS[4]):
        record(database, nights.run(day))
    assert last_before(database, DAYS[0]) is None
    assert last_before(database, DAYS[1]) == nights.run(DAYS[0])
    assert last_before(database, DAYS[4]) == nights.run(DAYS[2])
    assert last_before(database, DAYS[4] + timedelta(days=1)) == nights.run(DAYS[4])
    assert last_before(database, DAYS[4], "users") is None
