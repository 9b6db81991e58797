"""Two dates are compared by group, user and directory, with what is to be known of them."""

import json
from collections.abc import Mapping
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, on_mariadb, on_sqlite
from servers.nights import DAY, VOLUME
from site_of_tests import Site

from db import directories, pruning, upkeep, usage, user_usage
from db.database import Database
from db.growth import By
from db.upkeep import Retirement
from lurge import diff
from lurge.diff import Change, NothingToCompare
from lurge_types.config import DatabaseTable
from lurge_types.reports import UserUse
from lurge_types.scans import Volume

WEEK = DAY + timedelta(days=7)
OTHER = Volume("scratch2", b"/lustre/scratch2")
NAMES = range(1, 10)
GROUPS = {gid: nights.group(gid) for gid in NAMES}
USERS = {uid: nights.user(uid) for uid in NAMES}

Uses = Mapping[int, tuple[int, int]]


def store(
    database: Database,
    day: date,
    uses: Uses,
    volume: Volume = VOLUME,
    suspect: tuple[int, ...] = (),
) -> None:
    """What groups used: bytes and inodes by gid."""
    rows = [
        nights.row(GROUPS[gid], volume, used_bytes=used, inodes=inodes, suspect=gid in suspect)
        for gid, (used, inodes) in uses.items()
    ]
    usage.store(database, nights.run(day, volume), volume, rows, replace=False)


def store_users(database: Database, day: date, rows: list[UserUse]) -> None:
    run = nights.run(day, report="users")
    user_usage.store(
        database, run, VOLUME, rows, USERS, GROUPS, withdraw=lambda: None, replace=False
    )


def store_directories(
    database: Database, day: date, uses: Mapping[tuple[int, int], tuple[int, int]]
) -> None:
    """What groups used in base directories: bytes and inodes by gid and directory."""
    rows = [
        nights.use(GROUPS[gid], nights.base(number), used_bytes=used, inodes=inodes)
        for (gid, number), (used, inodes) in uses.items()
    ]
    run = nights.run(day, report="inspector")
    filling = directories.begin(database, run, VOLUME, 0, replace=False, file_types=())
    filling.finish(lambda: [rows], GROUPS)


def compared(
    database: Database, by: By = "group", first: date = DAY, last: date = WEEK
) -> diff.Diff:
    return diff.run(database, by, (), first, last)


def store_week(database: Database) -> None:
    store(database, DAY, {1: (3000, 30), 2: (4000, 40), 4: (70, 7), 5: (9, 9)})
    store(database, WEEK, {1: (3100, 20), 2: (1000, 10), 3: (500, 5), 5: (9, 9)}, suspect=(2,))


def test_groups_are_compared_largest_change_first(database: Database) -> None:
    store_week(database)
    found = compared(database)
    assert found.remarks == []
    assert found.changes == [
        Change("scratch1", "team2", 2, 4000, 1000, 40, 10, suspect=True),
        Change("scratch1", "team3", 3, 0, 500, 0, 5, suspect=False),
        Change("scratch1", "team1", 1, 3000, 3100, 30, 20, suspect=False),
        Change("scratch1", "team4", 4, 70, 0, 7, 0, suspect=False),
        Change("scratch1", "team5", 5, 9, 9, 9, 9, suspect=False),
    ]
    assert [row.percent for row in found.changes] == [
        Decimal("-75.0"),
        None,
        Decimal("3.3"),
        Decimal("-100.0"),
        Decimal("0.0"),
    ]


@on_mariadb
def test_a_day_that_is_thinned_out_meanwhile_is_compared_as_it_was(
    database: Database, table: DatabaseTable, connect: Connect
) -> None:
    store_week(database)
    another = connect(table)
    whole = compared(database)

    def thin_out(*facts: Any) -> None:
        if "max(report_run.record_date)" in facts[2]:
            another.transaction(forget)

    def forget(connection: sql.Connection) -> None:
        for history in pruning.histories(connection, ["reporter"]):
            pruning.forget(connection, history, DAY)

    sql.event.listen(database._engine, "after_cursor_execute", thin_out)
    assert compared(database) == whole
    with pytest.raises(NothingToCompare):
        compared(database)


def test_users_are_summed_over_their_groups(database: Database) -> None:
    store(database, DAY, {1: (1, 1), 2: (1, 1)}, suspect=(2,))
    store(database, WEEK, {1: (1, 1), 2: (1, 1)})
    store_users(database, DAY, [UserUse(1, 1, 10, 1, None), UserUse(1, 2, 20, 2, None)])
    store_users(database, WEEK, [UserUse(1, 1, 15, 4, None), UserUse(2, 1, 7, 1, None)])
    assert compared(database, "user").changes == [
        Change("scratch1", "user1", 1, 30, 15, 3, 4, suspect=True),
        Change("scratch1", "user2", 2, 0, 7, 0, 1, suspect=False),
    ]


def test_directories_are_summed_over_their_groups(database: Database) -> None:
    store(database, WEEK, {1: (1, 1), 2: (1, 1)}, suspect=(2,))
    store_directories(database, DAY, {(1, 1): (10, 1), (1, 2): (20, 2)})
    store_directories(database, WEEK, {(1, 1): (15, 4), (2, 1): (100, 5), (1, 2): (20, 3)})
    one, two = nights.base(1), nights.base(2)
    assert compared(database, "directory").changes == [
        Change("scratch1", one.shown, one.real, 10, 115, 1, 9, suspect=True),
        Change("scratch1", two.shown, two.real, 20, 20, 2, 3, suspect=False),
    ]


def test_records_of_other_days_and_volumes_left_out_are_told(database: Database) -> None:
    store_week(database)
    store(database, DAY, {1: (1, 1)}, OTHER)
    third = Volume("scratch3")
    store(database, WEEK, {1: (1, 1)}, third)
    late = WEEK + timedelta(days=1)
    found = compared(database, last=late)
    assert {row.volume for row in found.changes} == {"scratch1"}
    assert found.remarks == [
        f"scratch1: no record of {late}: that of {WEEK} is used",
        f"scratch2: the record of {DAY} is the newest for both dates: left out",
        f"scratch3: no record at or before {DAY}: left out",
    ]


def test_a_volume_that_has_retired_is_compared_until_then_or_if_it_is_named(
    database: Database,
) -> None:
    store_week(database)
    for day, used in ((DAY, 5), (WEEK, 6)):
        store(database, day, {1: (used, used)}, OTHER)

    def run(retired: date, last: date, *names: str) -> tuple[set[str], list[str]]:
        retirement = {OTHER.name: Retirement(retired, None)}
        database.transaction(partial(upkeep.retire, retirements=retirement))
        found = diff.run(database, "group", names, DAY, last)
        return {row.volume for row in found.changes}, list(found.remarks)

    both = {"scratch1", "scratch2"}
    assert run(WEEK, WEEK) == (both, [])
    assert run(DAY, WEEK) == ({"scratch1"}, [])
    assert run(DAY, WEEK, "scratch2") == ({"scratch2"}, [])
    everyone = {name: Retirement(DAY, None) for name in both}
    database.transaction(partial(upkeep.retire, retirements=everyone))
    with pytest.raises(NothingToCompare, match=f"scratch1, scratch2: retired by {DAY}: name"):
        compared(database)


def test_nothing_to_compare_is_told(database: Database) -> None:
    store(database, WEEK, {1: (1, 1)})
    with pytest.raises(NothingToCompare, match="no record at or before"):
        compared(database)
    with pytest.raises(NothingToCompare, match="scratch9: no record of reporter"):
        diff.run(database, "group", ["scratch9"], DAY, WEEK)


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    return Site(tmp_path, database=table.url, password_file=table.password_file)


@on_sqlite
def test_the_command_writes_tsv_and_json(site: Site, database: Database) -> None:
    store_week(database)
    done = site.run("diff", str(DAY), str(WEEK + timedelta(days=1)), "--volume", "scratch1")
    assert done.returncode == 0, done.stderr
    assert f"that of {WEEK} is used" in done.stderr
    header, first, second, *rest = (line.split("\t") for line in done.stdout.splitlines())
    assert tuple(header) == ("volume", "group", "gid", *diff.FIGURES)
    assert " ".join(first) == "scratch1 team2 2 4000 1000 -3000 -75.0 40 10 -30 yes"
    assert " ".join(second) == "scratch1 team3 3 0 500 500 - 0 5 5 no"
    assert len(rest) == 3
    done = site.run("diff", str(DAY), str(WEEK), "--json")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5
    assert (rows[0]["gid"], rows[0]["change_percent"], rows[0]["suspect"]) == (2, -75.0, True)
    assert rows[1]["change_percent"] is None


def test_the_command_refuses_what_cannot_be_compared(tmp_path: Path) -> None:
    site = Site(tmp_path)
    done = site.run("diff", str(WEEK), str(DAY))
    assert (done.returncode, done.stdout) == (2, "")
    done = site.run("diff", str(DAY), str(WEEK), "--by", "user")
    assert done.returncode == 1
    assert "nothing to compare" in done.stderr
    assert not (tmp_path / "lurge.db").exists()
