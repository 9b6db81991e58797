"""Usage is stored whole or not at all, once, whoever else is at it and whatever breaks."""

import pickle
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import children
import numpy as np
import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Wired, on_mariadb
from servers.mariadb import Mariadb
from servers.nights import DAY, VOLUME
from sqlalchemy.engine import Connection

from db import runs, usage
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded
from db.schema import lustre_usage, report_run
from lurge_types.config import DatabaseTable
from lurge_types.forecasts import Forecast, History
from lurge_types.reports import GroupReport, Run
from lurge_types.scans import Volume
from utils import config

YESTERDAY = DAY - timedelta(days=1)
TOMORROW = DAY + timedelta(days=1)
OTHER = Volume("scratch2", b"/lustre/scratch2")
LARGEST = 2**63 - 1
RACES = 6


def store(
    database: Database,
    rows: Sequence[GroupReport],
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    replace: bool = False,
) -> Run:
    run = nights.run(day, volume)
    usage.store(database, run, volume, rows, replace=replace)
    return run


def stored(database: Database, day: date = DAY, volume: Volume = VOLUME) -> list[GroupReport]:
    return database.transaction(lambda connection: usage.read(connection, volume.name, day))


def recorded(database: Database, day: date = DAY, volume: Volume = VOLUME) -> Run | None:
    return database.transaction(
        lambda connection: runs.find(connection, "reporter", volume.name, day)
    )


def count(database: Database, table: sql.Table) -> int | None:
    return database.transaction(
        lambda connection: connection.scalar(sql.select(sql.func.count()).select_from(table))
    )


def last_used(database: Database, before: date) -> dict[int, int]:
    return dict(
        database.transaction(lambda connection: usage.last_used(connection, VOLUME.name, before))
    )


def used(rows: Sequence[GroupReport]) -> dict[int, int]:
    return {row.group.gid: row.used_bytes for row in rows}


# What is stored.


def test_what_was_stored_is_read_back(database: Database) -> None:
    rows = nights.rows(200)
    run = store(database, rows)
    assert stored(database) == rows
    assert recorded(database) == run


@pytest.mark.parametrize(
    "facts",
    [
        {"used_bytes": LARGEST, "quota_bytes": LARGEST, "inodes": LARGEST, "quota_inodes": LARGEST},
        {"used_bytes": 0, "quota_bytes": 0, "inodes": 0, "quota_inodes": 0},
        {"quota_bytes": None, "quota_inodes": None, "last_modified_days": None},
        {"archived": True, "suspect": True, "warning": 3},
        {"archived": False, "suspect": False, "warning": 1},
        *(
            {"last_modified_days": Decimal(days)}
            for days in ("0.0", "0.1", "20705.3", "99999999.9")
        ),
    ],
)
def test_the_ends_of_what_may_be_are_read_back(database: Database, facts: dict[str, Any]) -> None:
    row = nights.row(nights.group(2**32 - 1), **facts)
    store(database, [row])
    assert stored(database) == [row]


def test_the_largest_counts_of_lines_are_read_back(database: Database) -> None:
    run = nights.run(lines=LARGEST, bad_lines=LARGEST, scan_file="/" + "é\U0001f4be" * 2000)
    usage.store(database, run, VOLUME, nights.rows(1), replace=False)
    assert recorded(database) == run


def test_rows_come_by_gid_however_they_were_stored(database: Database) -> None:
    rows = nights.rows(50)
    store(database, rows[::-1])
    assert stored(database) == rows


def test_a_report_without_rows_is_recorded(database: Database) -> None:
    run = store(database, [])
    assert stored(database) == []
    assert recorded(database) == run


def test_days_and_volumes_stay_apart(database: Database) -> None:
    places = {(day, volume) for day in (DAY, TOMORROW) for volume in (VOLUME, OTHER)}
    for number, (day, volume) in enumerate(places):
        store(database, nights.rows(5, volume, used_bytes=number), day, volume)
    for number, (day, volume) in enumerate(places):
        assert stored(database, day, volume) == nights.rows(5, volume, used_bytes=number)


def test_several_days_are_stored_together_or_not_at_all(database: Database) -> None:
    days = [(nights.run(day), nights.rows(count)) for count, day in ((3, YESTERDAY), (5, DAY))]
    usage.store_days(database, VOLUME, days, replace=False)
    assert [stored(database, run.record_date) for run, _ in days] == [rows for _, rows in days]
    more = [(nights.run(TOMORROW), nights.rows(1)), days[1]]
    with pytest.raises(AlreadyRecorded):
        usage.store_days(database, VOLUME, more, replace=False)
    assert recorded(database, TOMORROW) is None


def test_more_rows_than_fit_into_one_statement_are_stored(database: Database) -> None:
    rows = [
        nights.row(nights.group(gid, name=f"{gid}" + "\U0001f4be" * 1000)) for gid in range(1, 1001)
    ]
    store(database, rows)  # 4 MB of names, to a server that takes 1 MB at a time
    assert stored(database) == rows


# Whole or not at all.


@pytest.mark.parametrize("replace", [False, True])
def test_one_row_that_cannot_be_stored_leaves_all_as_it_was(
    database: Database, replace: bool
) -> None:
    before = nights.rows(20)
    run = store(database, before) if replace else None
    rows = [*nights.rows(30, used_bytes=1), nights.row(nights.group(31), warning=99)]
    with pytest.raises(DatabaseFailed):
        store(database, rows, replace=replace)
    assert stored(database) == (before if replace else [])
    assert recorded(database) == run


def test_a_group_that_comes_twice_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseFailed):
        store(database, [*nights.rows(3), *nights.rows(1)])
    assert stored(database) == []
    assert recorded(database) is None


def test_what_is_recorded_stays_unless_it_shall_be_replaced(database: Database) -> None:
    rows = nights.rows(20)
    store(database, rows)
    with pytest.raises(AlreadyRecorded, match=r"reporter of scratch1 on 2026-03-01"):
        store(database, nights.rows(10, used_bytes=1))
    assert stored(database) == rows


def test_replacing_leaves_nothing_of_what_was_there(database: Database) -> None:
    others = nights.rows(20)
    store(database, others, YESTERDAY)
    store(database, nights.rows(20, OTHER), volume=OTHER)
    store(database, nights.rows(20))
    rows = nights.rows(10, used_bytes=1)
    store(database, rows, replace=True)
    assert stored(database) == rows
    assert stored(database, YESTERDAY) == others
    assert stored(database, volume=OTHER) == nights.rows(20, OTHER)


def test_there_need_be_nothing_to_replace(database: Database) -> None:
    store(database, nights.rows(10), replace=True)
    assert stored(database) == nights.rows(10)


# Several at once.

STORE = """
    import pickle, sys
    from db import usage
    from db.database import Database
    from db.runs import AlreadyRecorded

    print("ready", flush=True)
    url, password, volume, replace, nights = pickle.load(sys.stdin.buffer)
    database = Database(url, password=password, retry_seconds=20)
    for run, rows in nights:
        try:
            usage.store(database, run, volume, rows, replace=replace)
            print("written", flush=True)
        except AlreadyRecorded:
            print("already", flush=True)
    database.close()
"""


@contextmanager
def storing(
    table: DatabaseTable, jobs: Sequence[Sequence[tuple[Run, Sequence[GroupReport]]]], replace: bool
) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that begin to store at the same moment."""
    started = [
        subprocess.Popen(children.command(STORE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in jobs
    ]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for process, job in zip(started, jobs, strict=True):
            assert process.stdin
            process.stdin.write(
                pickle.dumps((table.url, config.password(table), VOLUME, replace, job))
            )
            process.stdin.close()
            process.stdin = None
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


@pytest.mark.parametrize(
    ("replace", "told"),
    [(False, [[b"already"], [b"already"], [b"written"]]), (True, [[b"written"]] * 3)],
)
def test_of_processes_that_store_the_same_report_one_wins(
    table: DatabaseTable, database: Database, replace: bool, told: list[list[bytes]]
) -> None:
    jobs = [[(nights.run(), nights.rows(500, used_bytes=number))] for number in range(3)]
    with storing(table, jobs, replace) as processes:
        said = [process.communicate(timeout=30)[0].split() for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(said) == told
    assert stored(database) in [rows for ((_, rows),) in jobs]
    assert count(database, lustre_usage) == 500


@pytest.mark.parametrize("replace", [False, True])
def test_threads_that_store_the_same_reports_leave_each_once(
    table: DatabaseTable, connect: Connect, replace: bool
) -> None:
    days = [DAY + timedelta(days=number) for number in range(RACES)]
    start = threading.Barrier(3)
    told: list[str] = []

    def race(number: int) -> None:
        database = connect(table)
        for day in days:
            start.wait(20)
            try:
                store(database, nights.rows(100, used_bytes=number), day, replace=replace)
                told.append("written")
            except AlreadyRecorded:
                told.append("already")

    threads = [threading.Thread(target=race, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert told.count("written") == RACES * (3 if replace else 1)
    assert len(told) == 3 * RACES
    database = connect(table)
    for day in days:
        assert len({row.used_bytes for row in stored(database, day)}) == 1
    assert count(database, lustre_usage) == 100 * RACES
    assert count(database, report_run) == RACES


def test_a_process_that_is_killed_leaves_only_whole_reports(
    table: DatabaseTable, database: Database
) -> None:
    job = [(nights.run(DAY + timedelta(days=number)), nights.rows(1000)) for number in range(20)]
    for seconds in (0.1, 0.3):
        with storing(table, [job], replace=True) as (process,):
            time.sleep(seconds)
            process.kill()
        for run, rows in job:
            whole = recorded(database, run.record_date) is not None
            assert stored(database, run.record_date) == (rows if whole else [])


# The server is lost in the middle.

MOMENTS = {
    "names": [b"INSERT INTO unix_group"],
    "claim": [b"FOR UPDATE"],
    "run": [b"INSERT INTO report_run"],
    "rows": [b"INSERT INTO lustre_usage"],
    "commit": [b"INSERT INTO lustre_usage", b"COMMIT"],
}
AWAY_SECONDS = 1.0


def soon(act: Callable[[], object]) -> None:
    threading.Timer(AWAY_SECONDS, act).start()


def kill_connections(server: Mariadb) -> None:
    for (number,) in server.execute(
        "SELECT id FROM information_schema.processlist WHERE user LIKE 'lurge%%'"
    ):
        server.execute(f"KILL {number}")


def stop(server: Mariadb) -> None:
    server.stop()
    soon(server.start)


def kill(server: Mariadb) -> None:
    server.kill()
    soon(server.start)


def freeze(server: Mariadb) -> None:
    server.freeze()
    soon(server.thaw)


@on_mariadb
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_connection_that_an_administrator_ends_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str
) -> None:
    wired.wire.before(*MOMENTS[moment], act=lambda: kill_connections(wired.server))
    rows = nights.rows(100)
    store(connect(wired.table), rows)
    assert wired.wire.happened.is_set()
    assert stored(database) == rows


@on_mariadb
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("moment", ["run", "rows", "commit"])
def test_an_answer_that_is_lost_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str, replace: bool
) -> None:
    if replace:
        store(database, nights.rows(20, used_bytes=1))
    wired.wire.cut_behind(*MOMENTS[moment])
    rows = nights.rows(100)
    store(connect(wired.table), rows, replace=replace)
    assert wired.wire.happened.is_set()
    assert stored(database) == rows


@on_mariadb
@pytest.mark.parametrize(
    ("accident", "moment"),
    [(stop, "rows"), (stop, "commit"), (kill, "commit"), (freeze, "rows"), (freeze, "commit")],
)
def test_a_server_that_is_away_for_a_second_is_waited_for(
    wired: Wired,
    database: Database,
    connect: Connect,
    accident: Callable[[Mariadb], None],
    moment: str,
) -> None:
    wired.wire.before(*MOMENTS[moment], act=lambda: accident(wired.server))
    rows = nights.rows(100)
    store(connect(wired.table, silent_seconds=0.4), rows)
    assert wired.wire.happened.is_set()
    assert stored(database) == rows
    assert count(database, lustre_usage) == 100
    assert count(database, report_run) == 1


@on_mariadb
def test_another_run_that_is_first_in_the_last_moment_is_seen(
    wired: Wired, database: Database, connect: Connect
) -> None:
    others = nights.rows(10, used_bytes=1)
    wired.wire.before(b"FOR UPDATE", act=lambda: store(database, others))
    with pytest.raises(AlreadyRecorded):
        store(connect(wired.table), nights.rows(20))
    assert stored(database) == others


# What groups used before.


def test_the_last_use_is_that_of_the_newest_day_before(database: Database) -> None:
    for number in range(5):
        store(database, nights.rows(3, used_bytes=number), DAY + timedelta(days=number))
    assert last_used(database, DAY + timedelta(days=3)) == dict.fromkeys((1, 2, 3), 2)
    assert last_used(database, DAY + timedelta(days=9)) == dict.fromkeys((1, 2, 3), 4)


def test_a_first_day_has_no_last_use(database: Database) -> None:
    store(database, nights.rows(3))
    assert last_used(database, DAY) == {}
    assert last_used(database, YESTERDAY) == {}


def test_a_volume_that_nobody_knows_has_no_last_use(database: Database) -> None:
    assert last_used(database, DAY) == {}


def test_each_group_has_the_last_use_of_its_own_newest_day(database: Database) -> None:
    store(database, nights.rows(3), YESTERDAY)
    store(database, nights.rows(1, used_bytes=7), DAY)
    store(database, nights.rows(3, OTHER, used_bytes=8), DAY, OTHER)
    assert last_used(database, TOMORROW) == used(nights.rows(3)) | {1: 7}


# The history of a volume.


def history(
    database: Database, first: date, before: date, volume: Volume = VOLUME
) -> tuple[History, list[tuple[object, ...]]]:
    """As it is read, and its records by day and gid."""
    read = database.transaction(
        lambda connection: usage.history(connection, volume.name, first, before)
    )
    columns = (
        read.day,
        read.gid,
        read.suspect,
        *(
            column
            for kept in (read.used_bytes, read.inodes)
            for column in (kept.used, kept.theil_sen, kept.two_point)
        ),
    )
    records = zip(*(column.tolist() for column in columns), strict=True)
    return read, sorted((date.fromordinal(day), *rest) for day, *rest in records)


def foretold(row: GroupReport, **facts: Any) -> GroupReport:
    """A row with rates by every method, all different."""
    gid = row.group.gid
    return nights.row(
        row.group,
        suspect=gid == 2,
        used_bytes=gid * 1000,
        inodes=gid * 100,
        foretold_bytes=Forecast("theil-sen", gid, gid, -gid),
        foretold_inodes=Forecast("two-point", gid * 10, gid * 9, gid * 10),
        **facts,
    )


def record(day: date, gid: int) -> tuple[object, ...]:
    return (day, gid, gid == 2, gid * 1000.0, gid, -gid, gid * 100.0, gid * 9, gid * 10)


def test_a_history_has_the_records_from_one_date_to_before_another(database: Database) -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    rows = list(map(foretold, nights.rows(3)))
    for day in days:
        store(database, rows, day)
        store(database, nights.rows(4, OTHER), day, OTHER)
    expected = [record(day, gid) for day in days for gid in (1, 2, 3)]
    assert history(database, days[1], days[3])[1] == expected[3:9]
    assert history(database, YESTERDAY, DAY + timedelta(days=99))[1] == expected
    assert history(database, date.min, date.max)[1] == expected
    assert history(database, days[2], days[2])[1] == []


def test_a_history_has_gaps_where_nothing_is_recorded(database: Database) -> None:
    rows = list(map(foretold, nights.rows(3)))
    store(database, rows, DAY)
    store(database, rows[1:], DAY + timedelta(days=40))
    _, records = history(database, DAY, DAY + timedelta(days=41))
    later = DAY + timedelta(days=40)
    assert records == [*(record(DAY, gid) for gid in (1, 2, 3)), record(later, 2), record(later, 3)]


def test_what_a_history_does_not_know_is_nan(database: Database) -> None:
    row = nights.row(nights.group(1), foretold_inodes=Forecast("no-change", 0, 3, None))
    store(database, [row])
    read, _ = history(database, DAY, TOMORROW)
    unknown = (read.used_bytes.theil_sen, read.used_bytes.two_point, read.inodes.two_point)
    assert np.isnan(unknown).all()
    assert read.inodes.theil_sen.tolist() == [3]


@pytest.mark.parametrize("stored", [True, False])
def test_a_history_without_records_has_empty_columns(database: Database, stored: bool) -> None:
    if stored:
        store(database, nights.rows(3))
    read, records = history(database, YESTERDAY, DAY)
    assert records == []
    columns = (read.gid, read.day, read.suspect, read.used_bytes.used, read.inodes.two_point)
    assert [str(each.dtype) for each in columns] == ["int64", "int64", "bool", *["float64"] * 2]


def test_the_ends_of_what_may_be_are_in_a_history(database: Database) -> None:
    rates = Forecast("two-point", -LARGEST, -LARGEST, LARGEST)
    group = nights.group(2**32 - 1)
    store(database, [nights.row(group, used_bytes=LARGEST, foretold_bytes=rates)])
    read, _ = history(database, DAY, TOMORROW)
    assert read.gid.tolist() == [2**32 - 1]
    assert read.used_bytes.used.tolist() == [2.0**63]
    assert (read.used_bytes.theil_sen.tolist(), read.used_bytes.two_point.tolist()) == (
        [-(2.0**63)],
        [2.0**63],
    )


@pytest.mark.parametrize("days", [usage.DAYS_AT_ONCE + more for more in (-1, 0, 1)] + [35])
def test_a_long_history_is_whole(database: Database, days: int) -> None:
    row = foretold(nights.rows(1)[0])
    recorded = [DAY + timedelta(days=number) for number in range(40)]
    for day in recorded:
        store(database, [row], day)
    expected = [record(day, 1) for day in recorded[2 : 2 + days]]
    assert history(database, recorded[2], recorded[2 + days])[1] == expected


def test_more_may_be_asked_in_the_transaction_of_a_history(database: Database) -> None:
    store(database, nights.rows(3))

    def ask(connection: Connection) -> tuple[int, int]:
        read = usage.history(connection, VOLUME.name, DAY, TOMORROW)
        return len(read.gid), len(usage.last_used(connection, VOLUME.name, TOMORROW))

    assert database.transaction(ask) == (3, 3)


@on_mariadb
def test_a_history_that_is_cut_off_is_read_again(
    wired: Wired, database: Database, connect: Connect
) -> None:
    days = [DAY + timedelta(days=number) for number in range(usage.DAYS_AT_ONCE + 1)]
    for day in days:
        store(database, [foretold(nights.rows(1)[0])], day)
    wired.wire.cut_behind(b"SELECT STRAIGHT_JOIN", b"SELECT STRAIGHT_JOIN")
    _, records = history(connect(wired.table), DAY, DAY + timedelta(days=20))
    assert wired.wire.happened.is_set()
    assert records == [record(day, 1) for day in days]
