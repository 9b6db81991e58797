"""History thins out with its age, and ends the same however often that is done."""

import json
import sqlite3
import subprocess
from collections.abc import Callable, Iterable, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sql
from hypothesis import given
from hypothesis import strategies as some
from servers import nights
from servers.databases import Connect, on_mariadb, on_sqlite
from servers.mariadb import Mariadb
from servers.nights import DAY, VOLUME
from site_of_tests import TODAY, Site, entries

import manager
from db import directories, pruning, runs, usage
from db.database import Database
from db.names import volume_id
from db.schema import lustre_usage, report_run
from lurge import retention
from lurge.retention import Thinned
from lurge_types.config import DatabaseTable, KeepTable
from lurge_types.scans import Volume

OTHER = Volume("scratch2", b"/lustre/scratch2")
SHORT = KeepTable(daily=7, weekly=30)
MONDAY = date(2026, 3, 2)

keeps = some.builds(
    KeepTable,
    daily=some.integers(7, 60),
    weekly=some.integers(30, 90),
    monthly=some.none() | some.integers(0, 90),
)


def days(*back: int) -> set[date]:
    """So many days before DAY."""
    return {DAY - timedelta(number) for number in back}


# Which days stay.


def test_of_nothing_nothing_stays() -> None:
    assert retention.kept([], DAY, KeepTable()) == set()


def test_every_day_stays_for_a_while() -> None:
    young = days(*range(401))
    assert retention.kept(young, DAY, KeepTable()) == young


def test_then_the_newest_of_each_week_stays() -> None:
    weeks = {MONDAY + timedelta(number) for number in range(14)}
    today = MONDAY + timedelta(7 + 6 + 401)
    sundays = {MONDAY + timedelta(6), MONDAY + timedelta(13)}
    assert retention.kept(weeks, today, KeepTable()) == sundays
    of_gaps = weeks - sundays
    assert retention.kept(of_gaps, today, KeepTable()) == {day - timedelta(1) for day in sundays}


def test_a_week_that_is_half_old_keeps_what_is_young_of_it() -> None:
    week = {MONDAY + timedelta(number) for number in range(7)}
    today = MONDAY + timedelta(3 + SHORT.daily)
    assert retention.kept(week, today, SHORT) == {day for day in week if day.weekday() >= 3}


def test_a_week_may_lie_in_two_years() -> None:
    week = {date(2025, 12, 31), date(2026, 1, 1)}
    assert retention.kept(week, date(2026, 2, 1), SHORT) == {date(2026, 1, 1)}


def test_then_the_newest_week_of_each_month_stays_for_ever() -> None:
    sundays = {date(2020, 1, 5) + timedelta(7 * number) for number in range(100)}
    stay = retention.kept(sundays, date(3026, 1, 1), KeepTable())
    assert len(stay) == len({(day.year, day.month) for day in sundays})
    assert all((day + timedelta(7)).month != day.month for day in stay - {max(sundays)})


def test_or_as_long_as_is_said() -> None:
    keep = KeepTable(daily=7, weekly=30, monthly=100)
    newest = date(2026, 12, 27)
    months = {date(2026, 12 - back, 27) for back in range(9)}
    oldest = min(day for day in months if (newest - day).days <= 137)
    assert retention.kept(months, newest, keep) == {day for day in months if day >= oldest}
    none = KeepTable(daily=7, weekly=30, monthly=0)
    assert min(retention.kept(months, newest, none)) == date(2026, 11, 27)


def test_a_day_that_was_imported_gives_way_to_an_older_one_of_its_week() -> None:
    week = [MONDAY + timedelta(number) for number in range(7)]
    later = date(2026, 4, 15)
    of_week = retention.kept([*week, later], later, SHORT, imported=set(week[3:]))
    assert of_week == {week[2], later}
    assert retention.kept([*week, later], later, SHORT, imported=set(week)) == {week[6], later}


def test_a_week_that_was_imported_gives_way_to_an_older_one_of_its_month() -> None:
    sundays = [date(2026, 3, day) for day in (8, 15, 22, 29)]
    later = date(2026, 9, 1)
    of_month = retention.kept([*sundays, later], later, SHORT, imported=set(sundays[2:]))
    assert of_month == {sundays[1], later}


def test_the_newest_that_lurge_has_counted_stays_too() -> None:
    own, imported = date(2026, 3, 2), date(2026, 3, 8)
    never = KeepTable(monthly=0)
    assert retention.kept([own, imported], date(2900, 1, 1), never, {imported}) == {own, imported}


@given(some.sets(some.dates(date(2020, 1, 1), date(2026, 1, 1)), min_size=1), keeps)
def test_the_newest_of_all_stays_however_old(recorded: set[date], keep: KeepTable) -> None:
    assert max(recorded) in retention.kept(recorded, date(2900, 1, 1), keep)


def test_a_day_to_come_stays() -> None:
    tomorrow = days(-1, 0)
    assert retention.kept(tomorrow, DAY, SHORT) == tomorrow


@given(
    some.sets(some.integers(0, 300), min_size=1),
    some.sets(some.integers(0, 300)),
    some.integers(1, 40),
    some.integers(0, 60),
    keeps,
)
def test_history_that_is_thinned_every_so_many_nights_ends_as_if_it_were_thinned_once(
    recorded: set[int], of_others: set[int], every: int, later: int, keep: KeepTable
) -> None:
    """recorded: on which nights there is a record. of_others: those of which would be imported."""
    last = max(recorded) + later
    # Where months stay for less than a month, an own day may go before an imported week is old.
    short_months = keep.monthly is not None and 0 < keep.monthly < 31
    imported = set() if short_months else {DAY + timedelta(number) for number in of_others}
    all_of_them = {DAY + timedelta(number) for number in recorded}
    stay: set[date] = set()
    for number in range(last + 1):
        day = DAY + timedelta(number)
        stay |= all_of_them & {day}
        if number % every == 0 or number == last:
            stay = retention.kept(stay, day, keep, imported)
    assert stay == retention.kept(all_of_them, DAY + timedelta(last), keep, imported)


@given(some.sets(some.integers(0, 2000), min_size=1), some.sets(some.integers(0, 2000)), keeps)
def test_what_is_thinned_is_not_thinned_again(
    back: set[int], of_others: set[int], keep: KeepTable
) -> None:
    imported = days(*of_others)
    stay = retention.kept(days(*back), DAY, keep, imported)
    assert retention.kept(stay, DAY, keep, imported) == stay


@given(some.sets(some.integers(0, 2000), min_size=1), keeps)
def test_every_week_and_then_every_month_that_ends_in_a_week_has_a_day(
    back: set[int], keep: KeepTable
) -> None:
    recorded = days(*back)
    stay = retention.kept(recorded, DAY, keep)
    within = keep.daily + keep.weekly
    young = [day for day in recorded if (DAY - day).days <= within]
    assert {day.isocalendar()[:2] for day in young} <= {day.isocalendar()[:2] for day in stay}
    if keep.monthly is None:
        newest_of_weeks = {day.isocalendar()[:2]: day for day in sorted(recorded)}.values()
        months = {(day.year, day.month) for day in newest_of_weeks}
        assert months <= {(day.year, day.month) for day in stay}


# In the database.


def store(database: Database, of: Iterable[date], volume: Volume = VOLUME, count: int = 3) -> None:
    made = [(nights.run(day, volume), nights.rows(count, volume)) for day in of]
    usage.store_days(database, volume, made, replace=False)


def thin(
    database: Database, today: date = DAY, keep: KeepTable = SHORT, *, dry_run: bool = False
) -> list[Thinned]:
    return list(retention.thin(database, keep, today, dry_run=dry_run))


def days_stored(database: Database) -> tuple[set[date], set[date]]:
    """Of rows, and of runs."""

    def read(connection: sql.Connection) -> tuple[set[date], set[date]]:
        columns = lustre_usage.c.record_date, report_run.c.record_date
        rows, of_runs = (set(connection.scalars(sql.select(column))) for column in columns)
        return rows, of_runs

    return database.transaction(read)


def test_an_empty_database_has_nothing_to_thin(database: Database) -> None:
    assert thin(database) == []


def test_a_dry_run_tells_what_is_then_done_and_again_nothing_is(database: Database) -> None:
    recorded = days(*range(50))
    store(database, recorded)
    store(database, days(0, 1), OTHER)
    stay = retention.kept(recorded, DAY, SHORT)
    gone = len(recorded - stay)
    told = [
        Thinned("reporter", "scratch1", gone, 3 * gone, len(stay), min(stay)),
        Thinned("reporter", "scratch2", 0, 0, 2, DAY - timedelta(1)),
    ]
    assert gone > 20
    assert thin(database, dry_run=True) == told
    assert days_stored(database) == (recorded, recorded)
    assert thin(database) == told
    assert days_stored(database) == (stay, stay)
    assert [(each.days, each.rows) for each in thin(database)] == [(0, 0), (0, 0)]


def test_each_volume_has_its_own_newest_days(database: Database) -> None:
    monday = MONDAY - timedelta(28)
    store(database, [monday, monday + timedelta(1), DAY])
    store(database, [monday, monday + timedelta(2)], OTHER)
    thin(database, MONDAY)
    one, two = monday + timedelta(1), monday + timedelta(2)
    assert days_stored(database)[0] == {one, two, DAY}


def test_a_volume_without_scans_for_years_keeps_its_newest_day(database: Database) -> None:
    store(database, days(0, 1, 2))
    keep = KeepTable(monthly=0)
    assert thin(database, DAY + timedelta(5000), keep) == [
        Thinned("reporter", "scratch1", 2, 6, 1, DAY)
    ]
    assert days_stored(database) == ({DAY}, {DAY})


def test_imported_days_are_thinned_too_and_the_newest_own_one_stays(database: Database) -> None:
    own, newest = MONDAY - timedelta(70), MONDAY - timedelta(28)
    older = [newest - timedelta(7 * number) for number in range(3)]  # Mondays
    imported = [*older, *(day + timedelta(1) for day in older), own + timedelta(1)]
    made = [(nights.run(day, imported_from="older"), nights.rows(3)) for day in imported]
    usage.store_days(database, VOLUME, made, replace=False)
    store(database, [own])
    keep = KeepTable(daily=7, weekly=60, monthly=0)
    stay = {own, *(day + timedelta(1) for day in older)}
    assert thin(database, MONDAY, keep) == [Thinned("reporter", "scratch1", 4, 12, 4, own)]
    assert days_stored(database) == (stay, stay)


def test_days_that_may_not_go_are_not_told_as_gone(database: Database) -> None:
    for day in sorted(days(40, 41, 42, 0)):
        store_directories(database, day)
    kept = Thinned("inspector", "scratch1", 0, 0, 4, DAY - timedelta(42))
    assert thin(database, dry_run=True) == [kept]
    assert thin(database) == [kept]
    directories.sweep(database, "inspector", VOLUME.name)
    [told] = thin(database, dry_run=True)
    assert told.days > 0
    assert thin(database) == [told]


def store_directories(database: Database, day: date) -> None:
    """Record base directories, and a directory that is not swept yet."""
    run = nights.run(day, report="inspector")
    group = nights.group(1)
    filling = directories.begin(database, run, VOLUME, 1, replace=False, file_types="abcd")
    filling.add(nights.directories(1), {1: group})
    filling.finish(lambda: [[nights.use(group, nights.base(1))]], {1: group})


@on_mariadb
def test_days_that_another_deletes_meanwhile_are_not_counted(
    database: Database, table: DatabaseTable, connect: Connect
) -> None:
    store(database, days(0, 1, 2, 40, 41, 42, 43))
    another = connect(table)
    [history] = another.transaction(partial(pruning.histories, reports=["reporter"]))
    gone = DAY - timedelta(42)

    def look(*facts: Any) -> None:
        if facts[2].startswith("DELETE FROM lustre_usage") and not taken:
            taken.append(another.transaction(partial(pruning.forget, of=history, day=gone)))

    taken: list[int | None] = []
    sql.event.listen(database._engine, "after_cursor_execute", look)
    [told] = thin(database)
    assert taken == [3]
    left = len(days_stored(database)[1])
    assert (told.days, told.rows) == (7 - left - 1, 3 * (7 - left - 1))


def test_runs_of_reports_without_history_stay(database: Database) -> None:
    reports = ("puppeteer", "candidates", "splitter")

    def record(connection: sql.Connection) -> None:
        here = volume_id(connection, VOLUME)
        for report in reports:
            for day in days(40, 41, 42, 0):
                runs.record(connection, nights.run(day, report=report), here, report)

    database.transaction(record)
    assert thin(database) == []
    assert days_stored(database)[1] == days(40, 41, 42, 0)


def test_thinning_goes_on_where_it_was_cut_short(database: Database) -> None:
    recorded = days(*range(50))
    for volume in (VOLUME, OTHER):
        store(database, recorded, volume)
    next(retention.thin(database, SHORT, DAY))
    assert days_stored(database)[0] == recorded
    thin(database)
    assert days_stored(database)[0] == retention.kept(recorded, DAY, SHORT)


def test_a_rate_is_found_from_what_is_left(database: Database) -> None:
    store(database, days(*range(50)))
    stay = retention.kept(days(*range(50)), DAY, SHORT)
    thin(database)

    def read(connection: sql.Connection) -> Sequence[int]:
        found = usage.history(connection, VOLUME.name, DAY - timedelta(60), DAY + timedelta(1))
        return sorted({int(day) for day in found.day})

    assert database.transaction(read) == sorted(day.toordinal() for day in stay)


# As a user runs it.


BACK = range(20, 61, 2)


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def told(self) -> list[dict[str, Any]]:
        """What is told in JSON."""
        return [json.loads(line) for line in self.out.splitlines()]


Run = Callable[..., Done]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture
def run(site: Site, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command on a site that keeps history for a short time."""

    def run(*arguments: str) -> Done:
        config = site.write_config()
        with config.open("a", encoding="utf-8") as text:
            text.write("[database.keep]\ndaily = 7\nweekly = 30\n")
        capsys.readouterr()
        status = manager.main([*arguments, "--config", str(config)])
        return Done(status, *capsys.readouterr())

    return run


def with_database(site: Site, table: DatabaseTable) -> None:
    site.database, site.password_file = table.url, table.password_file


def old_days() -> set[date]:
    return {TODAY - timedelta(number) for number in BACK}


def test_a_night_thins_the_history_of_its_reports_and_says_so_once(
    site: Site, run: Run, database: Database, table: DatabaseTable
) -> None:
    store(database, old_days())
    with_database(site, table)
    site.add_scan(entries(10))
    assert "thinned" not in run("users").out
    assert [each["status"] for each in run("reporter", "--dry-run", "--json").told] == ["read"]
    assert days_stored(database)[0] == old_days()
    done = run("reporter", "--json")
    assert [each["status"] for each in done.told] == ["written", "thinned"]
    assert (done.told[1]["report"], done.told[1]["volume"]) == ("reporter", "-")
    # The new day is another volume's: the newest of this one stays, however old.
    stay = retention.kept(old_days(), TODAY, SHORT)
    gone = len(BACK) - len(stay)
    assert done.told[1]["remarks"] == [
        f"{gone} days of volumes and {3 * gone} rows of history were deleted"
    ]
    assert "event=thinned" in done.err
    assert days_stored(database)[0] == stay | {TODAY}
    assert [each["status"] for each in run("reporter", "--json").told] == ["already"]


@on_mariadb
def test_history_that_cannot_be_thinned_is_a_failure_of_its_own(
    site: Site, run: Run, database: Database, table: DatabaseTable, mariadb: Mariadb
) -> None:
    store(database, old_days())
    with_database(site, table)
    site.add_scan(entries(10))
    name, user = table.url.rpartition("/")[2].partition("?")[0], table.url.split("/")[2]
    user = user.partition("@")[0]
    mariadb.execute(f"REVOKE DELETE ON {name}.* FROM {user}@127.0.0.1")
    done = run("reporter", "--json")
    assert done.status == 1
    assert [each["status"] for each in done.told] == ["written", "failed"]
    assert done.told[1]["reason"].startswith("history is not thinned out to the end: mysql")
    assert days_stored(database)[0] == old_days() | {TODAY}


def test_old_days_that_are_filled_in_are_thinned_in_the_end(site: Site, run: Run) -> None:
    for day in old_days():
        site.add_scan(entries(10), day=day)
    since = ("reporter", "--from", str(min(old_days())))
    told = run(*since, "--json").told
    assert [each["status"] for each in told] == ["written"] * len(BACK) + ["thinned"]
    assert told[-1]["day"] == str(max(old_days()))
    with sqlite3.connect(site.folder / "lurge.db") as database:
        left = database.execute("select distinct record_date from lustre_usage").fetchall()
    stay = retention.kept(old_days(), TODAY, SHORT)
    assert {day for (day,) in left} == set(map(str, stay))
    assert "thinned out" in run(*since).out


def test_prune_tells_of_each_history_what_goes_and_what_is_left(
    site: Site, run: Run, database: Database, table: DatabaseTable
) -> None:
    store(database, old_days())
    with_database(site, table)
    stay = retention.kept(old_days(), TODAY, SHORT)
    told = {
        "report": "reporter",
        "volume": "scratch1",
        "days": len(BACK) - len(stay),
        "rows": 3 * (len(BACK) - len(stay)),
        "days_kept": len(stay),
        "oldest": str(min(stay)),
    }
    dry = run("prune", "--dry-run", "--json")
    assert (dry.status, dry.told, dry.err) == (0, [told], "")
    assert run("prune", "--dry-run").out.startswith("History that would be deleted")
    assert days_stored(database)[0] == old_days()
    done = run("prune")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("History that was deleted")
    assert done.out.splitlines()[2].split() == list(map(str, told.values()))
    assert days_stored(database)[0] == stay
    assert run("prune", "--json").told == [told | {"days": 0, "rows": 0}]


def refuse_to_delete(database: Database, day: date) -> None:
    """Let a deletion fail, in SQLite."""
    refuse = (
        "CREATE TRIGGER refuse BEFORE DELETE ON lustre_usage "
        f"WHEN old.record_date = '{day}' BEGIN SELECT RAISE(ABORT, 'no'); END"
    )
    database.transaction(lambda connection: connection.exec_driver_sql(refuse))


@on_sqlite
def test_prune_that_breaks_off_tells_what_it_has_deleted(
    site: Site, run: Run, database: Database, table: DatabaseTable
) -> None:
    store(database, old_days())
    with_database(site, table)
    going = sorted(old_days() - retention.kept(old_days(), TODAY, SHORT))
    refuse_to_delete(database, going[2])
    done = run("prune", "--json")
    assert (done.status, done.told[0]["days"], done.told[0]["rows"]) == (3, 2, 6)
    assert days_stored(database)[0] == old_days() - set(going[:2])
    done = run("prune")
    assert done.status == 3
    assert done.out.splitlines()[2].split()[:4] == ["reporter", "scratch1", "0", "0"]


@on_sqlite
def test_a_night_that_cannot_thin_to_the_end_tells_what_it_has_deleted(
    site: Site, run: Run, database: Database, table: DatabaseTable
) -> None:
    store(database, old_days())
    with_database(site, table)
    site.add_scan(entries(10))
    going = sorted(old_days() - retention.kept(old_days(), TODAY, SHORT))
    refuse_to_delete(database, going[1])
    told = run("reporter", "--json").told
    assert [each["status"] for each in told] == ["written", "failed", "thinned"]
    assert told[2]["remarks"] == ["1 days of volumes and 3 rows of history were deleted"]


def test_prune_makes_no_database(site: Site, run: Run) -> None:
    assert run("prune", "--json") == (0, "", "")
    assert not (site.folder / "lurge.db").exists()


def test_prune_without_a_database_server_ends_with_status_3(site: Site, run: Run) -> None:
    site.database, site.retry_seconds = "mysql+pymysql://nobody@127.0.0.1:1/none", 0
    done = run("prune")
    assert done.status == 3
    assert "see that it is there" in done.err


def test_prune_takes_no_defaults_by_chance(site: Site, tmp_path: Path) -> None:
    command = site.command("prune")[:-2]
    (tmp_path / "lurge.toml").unlink()
    done = subprocess.run(
        command,
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "no configuration and no terminal" in done.stderr
