"""Files in vaults are seen whole or not at all, and what was kept on a date is known ever after."""

import os
import pickle
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import partial
from hashlib import sha256
from typing import Any

import children
import pytest
import sqlalchemy as sql
from hypothesis import example, given, settings
from hypothesis import strategies as some
from servers import nights
from servers.databases import Connect, Place, Wired, on_mariadb, on_sqlite
from servers.nights import DAY, VOLUME

from db import runs, vaults
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded, RunLost
from db.schema import (
    VAULT_IS_WHOLE,
    report_run,
    unix_group,
    user,
    vault,
    vault_actions,
    vault_now,
    volume,
)
from db.vaults import Filling
from lurge_types.config import DatabaseTable
from lurge_types.reports import Run
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile
from utils import config
from utils.paths import text

YESTERDAY = DAY - timedelta(days=1)
TOMORROW = DAY + timedelta(days=1)
OTHER = Volume("scratch2", b"/lustre/scratch2")
LARGEST = 2**63 - 1
USERS = {uid: nights.user(uid) for uid in range(1, 41)}
GROUPS = {gid: nights.group(gid) for gid in range(1, 31)}
CHUNK = 50


def files(*numbers: int, **facts: Any) -> list[VaultFile]:
    """Files by their numbers, or so many, sorted by their states."""
    chosen = range(numbers[0]) if len(numbers) == 1 else numbers
    return in_order(nights.vault_file(number, **facts) for number in chosen)


def in_order(unsorted: Iterable[VaultFile]) -> list[VaultFile]:
    return sorted(unsorted, key=VaultFile.state)


def begin(
    database: Database,
    rows: int,
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    replace: bool = False,
) -> Filling:
    run = nights.run(day, volume, report="puppeteer")
    return vaults.begin(database, run, volume, rows, replace=replace)


def add(filling: Filling, there: Sequence[VaultFile]) -> int:
    """Add what has no row yet; how many that are."""
    new = filling.changes(file.state() for file in there)
    for first in range(0, len(new), CHUNK):
        filling.add([there[place] for place in new[first : first + CHUNK]], USERS, GROUPS)
    return len(new)


def sweep(database: Database, volume: Volume = VOLUME) -> None:
    vaults.sweep(database, "puppeteer", volume.name)


def fill(
    database: Database,
    there: Sequence[VaultFile],
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    replace: bool = False,
) -> int:
    """Do what a run does; how many rows it has added."""
    filling = begin(database, len(there), day, volume, replace=replace)
    added = add(filling, there)
    filling.finish()
    sweep(database, volume)
    return added


def read(database: Database, rows: sql.FromClause, of: Volume) -> list[VaultFile]:
    """Files by their states, as they were stored."""
    select = (
        sql.select(rows, vault_actions.c.action_name, user.c.uid, unix_group.c.gid)
        .join(vault_actions, vault_actions.c.vault_action_id == rows.c.vault_action_id)
        .join(user, user.c.user_id == rows.c.user_id)
        .join(unix_group, unix_group.c.group_id == rows.c.group_id)
        .join(volume, volume.c.volume_id == rows.c.volume_id)
        .where(volume.c.scratch_disk == of.name)
    )

    def look(connection: sql.Connection) -> list[VaultFile]:
        return in_order(
            VaultFile(
                action=row.action_name,
                real_path=row.real_path,
                shown=row.filepath,
                inode=int(row.inode),
                size_bytes=row.size,
                uid=row.uid,
                gid=row.gid,
                last_modified=row.last_modified,
                links=row.links,
            )
            for row in connection.execute(select)
        )

    return database.transaction(look)


def seen(database: Database, of: Volume = VOLUME) -> list[VaultFile]:
    """What readers see of a volume."""
    return read(database, vault_now, of)


def seen_on(database: Database, day: date, of: Volume = VOLUME) -> list[VaultFile]:
    """What was kept on a date."""
    kept = sql.select(vault).where(
        VAULT_IS_WHOLE,
        vault.c.first_seen <= day,
        sql.or_(vault.c.last_seen.is_(None), vault.c.last_seen >= day),
    )
    return read(database, kept.subquery(), of)


def scalar(database: Database, select: sql.Select[Any]) -> Any:
    return database.transaction(lambda connection: connection.scalar(select))


def count(database: Database, table: sql.FromClause = vault) -> int:
    return int(scalar(database, sql.select(sql.func.count()).select_from(table)))


def days(database: Database, number: int) -> list[tuple[date, date | None]]:
    """From when to when the states of a file were seen."""
    select = (
        sql.select(vault.c.first_seen, vault.c.last_seen)
        .where(vault.c.real_path == nights.vault_file(number).real_path)
        .order_by(vault.c.first_seen)
    )
    return database.transaction(
        lambda connection: [(row[0], row[1]) for row in connection.execute(select)]
    )


def rows_of(database: Database, day: date = DAY) -> int:
    return database.transaction(
        lambda connection: runs.rows_of(connection, "puppeteer", VOLUME.name, day)
    )


def recorded(database: Database, day: date = DAY) -> Run | None:
    return database.transaction(
        lambda connection: runs.find(connection, "puppeteer", VOLUME.name, day)
    )


def leaves_only(database: Database, there: Sequence[VaultFile], rows: int | None = None) -> None:
    """Neither a row that nobody sees nor a run that is not whole is there."""
    assert seen(database) == there
    assert count(database) == (len(there) if rows is None else rows)
    unfinished = sql.select(sql.func.count()).where(report_run.c.done.is_(None))
    assert scalar(database, unfinished) == 0


# What is stored.


def test_what_was_stored_is_seen(database: Database) -> None:
    assert fill(database, files(333)) == 333
    leaves_only(database, files(333))
    assert rows_of(database) == 333
    assert recorded(database) == nights.run(report="puppeteer")


@pytest.mark.parametrize(
    "facts",
    [
        {"size_bytes": LARGEST, "links": LARGEST, "inode": 2**64 - 1},
        {"size_bytes": 0, "links": 0, "inode": 0},
        {"last_modified": None},
        {"last_modified": date(1970, 1, 1)},
        {"last_modified": date(9999, 12, 31)},
    ],
)
def test_the_ends_of_what_may_be_are_seen(database: Database, facts: dict[str, Any]) -> None:
    fill(database, files(1, **facts))
    leaves_only(database, files(1, **facts))


@pytest.mark.parametrize(
    "path",
    [
        b"/" + b"a" * 4095,
        (b"/" + b"\xff" * 255) * 16,
        (b"/" + "\U0001f4be".encode() * 63) * 16,
        b"/tab\t newline\n backslash\\ quote' %s %(name)s :name ? \x00",
    ],
)
def test_paths_of_any_bytes_are_seen(database: Database, path: bytes) -> None:
    there = files(1, real_path=text(path), shown=text(path))
    fill(database, there)
    leaves_only(database, there)
    assert scalar(database, sql.select(vault.c.path_hash)) == sha256(path).digest()


def test_an_action_that_a_site_has_added_is_seen(database: Database) -> None:
    mine = {"vault_action_id": 7, "action_name": "Freeze"}
    database.transaction(lambda connection: connection.execute(sql.insert(vault_actions), mine))
    fill(database, files(3, action="Freeze"))
    leaves_only(database, files(3, action="Freeze"))


def test_a_volume_without_files_is_recorded(database: Database) -> None:
    fill(database, [])
    leaves_only(database, [])
    assert recorded(database) == nights.run(report="puppeteer")


def test_volumes_stay_apart(database: Database) -> None:
    fill(database, files(60))
    assert fill(database, files(70), volume=OTHER) == 70
    fill(database, [], TOMORROW)
    assert seen(database) == []
    assert seen(database, OTHER) == files(70)


def test_a_file_that_two_vaults_hold_is_one_row(database: Database) -> None:
    twice = in_order(files(40) + files(30))
    filling = begin(database, len(twice))
    new = filling.changes(file.state() for file in twice)
    assert [twice[place] for place in new] == files(40)
    assert all(twice[place - 1] != twice[place] for place in new if place)
    filling.add([twice[place] for place in new], USERS, GROUPS)
    filling.finish()
    leaves_only(database, files(40))
    assert fill(database, twice, TOMORROW) == 0


# From night to night.


def test_a_night_without_changes_writes_no_row(database: Database) -> None:
    fill(database, files(300))
    before = database.transaction(lambda connection: connection.execute(sql.select(vault)).all())
    assert fill(database, files(300), TOMORROW) == 0
    after = database.transaction(lambda connection: connection.execute(sql.select(vault)).all())
    assert after == before
    assert recorded(database, TOMORROW) is not None


def test_a_state_is_seen_from_its_first_date_to_its_last(database: Database) -> None:
    for number, there in enumerate(([1, 2], [1, 2], [2, 3], [3, 2], [3, 1])):
        fill(database, files(*there), DAY + timedelta(days=2 * number))
    assert days(database, 1) == [
        (DAY, DAY + timedelta(days=2)),
        (DAY + timedelta(days=8), None),
    ]
    assert days(database, 2) == [(DAY, DAY + timedelta(days=6))]
    assert days(database, 3) == [(DAY + timedelta(days=4), None)]


@pytest.mark.parametrize(
    "change",
    [
        {"action": "Archive"},
        {"size_bytes": 7},
        {"links": 9},
        {"uid": 9},
        {"gid": 9},
        {"last_modified": None},
        {"shown": "/elsewhere"},
        {"inode": 5},
    ],
)
def test_whatever_changes_ends_a_state_and_begins_another(
    database: Database, change: dict[str, Any]
) -> None:
    fill(database, files(1, 2))
    changed = in_order([nights.vault_file(1, **change), nights.vault_file(2)])
    assert fill(database, changed, TOMORROW) == 1
    leaves_only(database, changed, rows=3)
    assert seen_on(database, DAY) == files(1, 2)


def test_a_file_that_changes_is_known_as_it_was_on_each_date(database: Database) -> None:
    for number in range(5):
        fill(database, files(60, size_bytes=number // 2), DAY + timedelta(days=number))
    for number in range(5):
        on = seen_on(database, DAY + timedelta(days=number))
        assert on == files(60, size_bytes=number // 2)
    leaves_only(database, files(60, size_bytes=2), rows=180)


def test_a_date_that_is_replaced_is_compared_with_the_night_before(database: Database) -> None:
    fill(database, files(1, 2, 3, 4))
    fill(database, files(1, 2, 5, 6), TOMORROW)
    assert fill(database, files(1, 3, 5, 7), TOMORROW, replace=True) == 2
    leaves_only(database, files(1, 3, 5, 7), rows=6)
    assert seen_on(database, DAY) == files(1, 2, 3, 4)
    assert days(database, 3) == [(DAY, None)]
    assert days(database, 2) == [(DAY, DAY)]
    assert days(database, 5) == [(TOMORROW, None)]


def test_the_first_date_of_all_may_be_replaced(database: Database) -> None:
    fill(database, files(60))
    assert fill(database, files(70), replace=True) == 70
    leaves_only(database, files(70))
    assert rows_of(database) == 70


def test_an_older_date_is_recorded_without_rows(database: Database) -> None:
    fill(database, files(60))
    filling = begin(database, 80, YESTERDAY)
    assert not filling.stores_rows
    assert add(filling, files(80)) == 0
    filling.add(files(80), USERS, GROUPS)
    filling.finish()
    leaves_only(database, files(60))
    assert rows_of(database, YESTERDAY) == 80
    assert recorded(database, YESTERDAY) is not None
    fill(database, files(90), YESTERDAY, replace=True)
    leaves_only(database, files(60))
    assert rows_of(database, YESTERDAY) == 90


def test_an_older_date_that_is_replaced_leaves_the_rows_that_it_has_stored(
    database: Database,
) -> None:
    fill(database, files(60))
    fill(database, files(70), TOMORROW)
    again = nights.run(version="2", report="puppeteer")
    vaults.begin(database, again, VOLUME, 5, replace=True).finish()
    sweep(database)
    leaves_only(database, files(70))
    assert seen_on(database, DAY) == files(60)
    assert recorded(database) == again
    assert rows_of(database) == 5


def test_a_date_that_was_filled_in_hides_no_row_that_is_to_be_taken_up_again(
    database: Database,
) -> None:
    fill(database, files(1, 2), YESTERDAY)
    fill(database, files(1, 3), TOMORROW)
    fill(database, files(4, 5), DAY)
    fill(database, files(2, 3), TOMORROW, replace=True)
    leaves_only(database, files(2, 3), rows=3)
    assert days(database, 2) == [(YESTERDAY, None)]
    assert days(database, 1) == [(YESTERDAY, YESTERDAY)]


Night = tuple[str, int, set[tuple[int, int]]]


@settings(max_examples=40)
@given(
    some.lists(
        some.tuples(
            some.sampled_from(["stored", "replaced", "killed", "given up"]),
            some.integers(0, 5),
            some.sets(some.tuples(some.integers(0, 9), some.integers(0, 1))),
        ),
        max_size=12,
    )
)
@example(
    [
        ("stored", 0, {(1, 0), (2, 0)}),
        ("killed", 2, {(2, 0), (3, 0)}),
        ("stored", 3, {(2, 0), (3, 0)}),
        ("stored", 1, {(9, 0)}),
        ("replaced", 3, {(1, 0), (3, 0), (3, 1)}),
        ("replaced", 0, set()),
        ("stored", 5, {(1, 0), (3, 1)}),
    ]
)
def test_what_was_kept_on_each_date_is_known_whatever_the_nights(story: Sequence[Night]) -> None:
    kept: dict[date, list[VaultFile]] = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name in ("PAGE_ROWS", "CHANGED_ROWS", "SWEPT_ROWS"):
            patch.setattr(vaults, name, 3)
        database = Database(f"sqlite:///{folder}/lurge.db")
        database.init()
        for what, after, chosen in story:
            day = DAY + timedelta(days=after)
            there = in_order(nights.vault_file(number, links=links) for number, links in chosen)
            try:
                filling = begin(database, len(there), day, replace=what == "replaced")
            except AlreadyRecorded:
                continue
            add(filling, there)
            if what in ("stored", "replaced"):
                filling.finish()
                if day >= max(kept, default=day):
                    kept[day] = there
                sweep(database)
            elif what == "given up":
                filling.abandon()
            newest = kept.get(max(kept, default=DAY), [])
            assert seen(database) == newest
        for day, there in kept.items():
            assert seen_on(database, day) == there
        say(database, touched=hours_ago(2))
        sweep(database)
        leaves_only(database, kept.get(max(kept, default=DAY), []), rows=count(database))
        database.close()


# What must not be.


def test_states_must_come_in_order(database: Database) -> None:
    filling = begin(database, 2)
    with pytest.raises(ValueError, match="state 1 is less than the one before"):
        filling.changes([b"\x02" * 32, b"\x01" * 32])


def test_what_has_no_row_must_be_added_and_no_more(database: Database) -> None:
    filling = begin(database, 10)
    with pytest.raises(ValueError, match="more than the 0 files"):
        filling.add(files(1), USERS, GROUPS)
    with pytest.raises(ValueError, match="0 rows were added of None"):
        filling.finish()
    filling.changes(file.state() for file in files(10))
    with pytest.raises(ValueError, match="more than the 10 files"):
        filling.add(files(11), USERS, GROUPS)
    filling.add(files(9), USERS, GROUPS)
    with pytest.raises(ValueError, match="9 rows were added of 10"):
        filling.finish()
    assert seen(database) == []


def test_what_is_recorded_stays_unless_it_shall_be_replaced(database: Database) -> None:
    fill(database, files(60))
    fill(database, files(60), TOMORROW)
    for day in (DAY, TOMORROW):
        with pytest.raises(AlreadyRecorded, match=f"puppeteer of scratch1 on {day}"):
            begin(database, 1, day)
    leaves_only(database, files(60))


# Which are seen, and which are swept.


def test_nothing_is_seen_before_all_is_there(database: Database) -> None:
    fill(database, files(100))
    filling = begin(database, 150, TOMORROW)
    add(filling, files(150, size_bytes=1))
    assert seen(database) == files(100)
    filling.finish()
    assert seen(database) == files(150, size_bytes=1)


@pytest.mark.parametrize("day", [DAY, TOMORROW])
def test_a_reader_sees_all_of_the_old_or_all_of_the_new(
    database: Database,
    table: DatabaseTable,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    day: date,
) -> None:
    monkeypatch.setattr(vaults, "SWEPT_ROWS", 70)
    monkeypatch.setattr(vaults, "CHANGED_ROWS", 70)
    figures = sql.select(
        sql.func.count(), sql.func.min(vault_now.c.size), sql.func.max(vault_now.c.size)
    )
    looks: list[tuple[int, ...]] = []
    ended = threading.Event()

    def look() -> None:
        reader = connect(table)
        while not ended.is_set():
            row = reader.transaction(lambda connection: connection.execute(figures).one())
            looks.append(tuple(map(int, row)))

    fill(database, files(600, size_bytes=1))
    thread = threading.Thread(target=look)
    thread.start()
    try:
        fill(database, files(500, size_bytes=2), day, replace=day == DAY)
    finally:
        ended.set()
        thread.join()
    assert set(looks) <= {(600, 1, 1), (500, 2, 2)}
    assert looks == sorted(looks, key=lambda look: look[1])
    leaves_only(database, files(500, size_bytes=2), rows=500 if day == DAY else 1100)


def say(database: Database, **values: Any) -> None:
    """Change what is recorded of runs that are not whole."""
    change = sql.update(report_run).where(report_run.c.done.is_(None)).values(values)
    database.transaction(lambda connection: connection.execute(change))


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)


def test_a_run_that_was_taken_for_dead_is_told_so(database: Database) -> None:
    filling = begin(database, 60)
    filling.changes(file.state() for file in files(60))
    filling.add(files(60)[:50], USERS, GROUPS)
    say(database, touched=hours_ago(2))
    sweep(database)
    assert count(database) == 0
    with pytest.raises(RunLost, match="taken for dead"):
        filling.add(files(60)[50:], USERS, GROUPS)
    filling.abandon()
    leaves_only(database, [])


def test_a_run_that_was_taken_for_dead_in_the_end_is_told_so(database: Database) -> None:
    fill(database, files(60))
    filling = begin(database, 50, TOMORROW)
    add(filling, files(50, size_bytes=1))
    say(database, touched=hours_ago(2))
    sweep(database)
    with pytest.raises(RunLost, match="taken for dead"):
        filling.finish()
    leaves_only(database, files(60))
    assert days(database, 1) == [(DAY, None)]


def test_what_is_given_up_is_gone(database: Database) -> None:
    fill(database, files(60))
    filling = begin(database, 80, replace=True)
    add(filling, files(80, size_bytes=1))
    filling.abandon()
    filling.abandon()
    sweep(database)
    leaves_only(database, files(60))


@on_sqlite
def test_rows_of_a_run_id_that_is_used_again_are_let_be(database: Database) -> None:
    filling = begin(database, 60)
    add(filling, files(60))
    filling.abandon()
    find = partial(runs.unseen, report="puppeteer", volume_name=VOLUME.name)
    (of,) = database.transaction(find)
    sweep(database)
    fill(database, files(70))
    assert scalar(database, sql.select(vault.c.run_id).distinct()) == of.run_id
    assert not database.transaction(partial(vaults._delete_some, of=of))
    leaves_only(database, files(70))


# Several at once.


def test_of_two_runs_of_a_date_at_once_the_first_that_is_whole_wins(database: Database) -> None:
    fill(database, files(1, 2), YESTERDAY)
    slow = begin(database, 60)
    add(slow, files(60))
    fill(database, files(70))
    with pytest.raises(AlreadyRecorded):
        slow.finish()
    slow.abandon()
    sweep(database)
    leaves_only(database, files(70))


@pytest.mark.parametrize(
    ("mine", "theirs"), [(DAY, TOMORROW), (TOMORROW, DAY), (TOMORROW, TOMORROW), (DAY, YESTERDAY)]
)
def test_rows_that_are_no_longer_the_last_ones_are_not_changed(
    database: Database, mine: date, theirs: date
) -> None:
    fill(database, files(1, 2, 3), YESTERDAY)
    slow = begin(database, 60, mine, replace=True)
    add(slow, files(60))
    fill(database, files(3, 4), theirs, replace=True)
    with pytest.raises(DatabaseFailed, match=r"recorded by another run meanwhile.* run again"):
        slow.finish()
    slow.abandon()
    sweep(database)
    assert seen(database) == files(3, 4)
    fill(database, files(60), mine, replace=True)
    assert seen(database) == (files(3, 4) if mine < theirs else files(60))


def test_an_older_date_that_is_filled_in_meanwhile_is_no_matter(database: Database) -> None:
    fill(database, files(1, 2, 3), YESTERDAY)
    slow = begin(database, 60, TOMORROW)
    add(slow, files(60))
    fill(database, files(5), YESTERDAY - timedelta(days=1))
    slow.finish()
    leaves_only(database, files(60))


def test_threads_that_fill_the_same_report_leave_it_once(
    table: DatabaseTable, connect: Connect
) -> None:
    start = threading.Barrier(3)
    told: list[str] = []
    fill(connect(table), files(100), YESTERDAY)

    def race(number: int) -> None:
        database = connect(table)
        start.wait(20)
        filling = None
        try:
            filling = begin(database, 200)
            add(filling, files(200, size_bytes=number + 1))
            filling.finish()
            told.append("written")
        except AlreadyRecorded:
            if filling:
                filling.abandon()
            told.append("already")

    threads = [threading.Thread(target=race, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == ["already", "already", "written"]
    database = connect(table)
    sweep(database)
    (size,) = {file.size_bytes for file in seen(database)}
    leaves_only(database, files(200, size_bytes=size), rows=300)
    assert seen_on(database, YESTERDAY) == files(100)


# Killed, lost.

FILL = """
    import pickle, sys
    from db import vaults
    from db.database import Database

    url, password, run, volume, replace, all_added, files, users, groups = pickle.load(
        sys.stdin.buffer
    )
    database = Database(url, password=password, retry_seconds=20)
    filling = vaults.begin(database, run, volume, len(files), replace=replace)
    new = filling.changes(file.state() for file in files)
    for first in range(0, len(new) if all_added else len(new) - 50, 50):
        filling.add([files[place] for place in new[first : first + 50]], users, groups)
    print("added", flush=True)
    sys.stdin.buffer.read()
"""


@contextmanager
def half_filled(
    table: DatabaseTable, there: Sequence[VaultFile], day: date = DAY, *, all_added: bool = False
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has added all or all but the last rows, and not finished."""
    run = nights.run(day, report="puppeteer")
    with subprocess.Popen(
        children.command(FILL), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin
            assert process.stdout
            place = (table.url, config.password(table), run, VOLUME)
            process.stdin.write(pickle.dumps((*place, True, all_added, there, USERS, GROUPS)))
            process.stdin.flush()
            assert process.stdout.readline() == b"added\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("day", [DAY, TOMORROW])
@pytest.mark.parametrize("all_added", [False, True])
def test_nothing_is_left_of_a_process_that_was_killed(
    table: DatabaseTable, database: Database, day: date, all_added: bool
) -> None:
    fill(database, files(60), DAY)
    lost = files(400, size_bytes=1)
    with half_filled(table, lost, day, all_added=all_added) as process:
        assert count(database) == 60 + (400 if all_added else 350)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED)
        assert seen(database) == files(60)
        # Compared with what is whole, not with what was left.
        added = fill(database, files(70, size_bytes=1), day, replace=day == DAY)
    assert added == 70
    leaves_only(database, files(70, size_bytes=1), rows=70 if day == DAY else 130)


def test_a_process_that_lives_is_left_alone(table: DatabaseTable, database: Database) -> None:
    with half_filled(table, files(100)):
        fill(database, files(60), TOMORROW)
        assert count(database) == 110
    sweep(database)
    leaves_only(database, files(60))


MOMENTS = {
    "begun": [b"INSERT INTO report_run", b"COMMIT"],
    "names": [b"INSERT INTO user ", b"COMMIT"],
    "page": [b"SELECT vault.state_hash"],
    "row": [b"INSERT INTO vault "],
    "rows": [b"INSERT INTO vault ", b"COMMIT"],
    "ended": [b"UPDATE vault"],
    "whole": [b"UPDATE vault", b"COMMIT"],
    "swept": [b"DELETE FROM vault", b"COMMIT"],
    "forgotten": [b"DELETE FROM vault", b"DELETE FROM report_run", b"COMMIT"],
}


def nights_of(database: Database, replace: bool) -> tuple[list[VaultFile], int]:
    """Make two dates, of which the second is to be replaced, or one; what then comes, and rows."""
    fill(database, files(60), YESTERDAY)
    if replace:
        fill(database, files(90, size_bytes=1))
    return in_order([*files(30), *files(140, size_bytes=2)]), 60 + 140


@on_mariadb
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_answer_that_is_lost_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str, replace: bool
) -> None:
    there, rows = nights_of(database, replace)
    if not replace:
        begin(database, 1).abandon()
        add(left := begin(database, 3), files(3, size_bytes=9))
        left.abandon()
    there = in_order([*there, nights.vault_file(7, uid=99)])
    wired.wire.cut_behind(*MOMENTS[moment])
    later = {**USERS, 99: nights.user(99)}
    mine = connect(wired.table)
    filling = begin(mine, len(there), replace=replace)
    new = filling.changes(file.state() for file in there)
    for first in range(0, len(new), CHUNK):
        filling.add([there[place] for place in new[first : first + CHUNK]], later, GROUPS)
    filling.finish()
    sweep(mine)
    assert wired.wire.happened.is_set()
    leaves_only(database, there, rows + 1)
    assert seen_on(database, YESTERDAY) == files(60)
    assert rows_of(database) == len(there)


@on_mariadb
@pytest.mark.parametrize("replace", [False, True])
def test_the_lost_answer_of_an_older_date_is_no_loss(
    wired: Wired, database: Database, connect: Connect, replace: bool
) -> None:
    if replace:
        fill(database, files(50))
    fill(database, files(60), TOMORROW)
    words = b"DELETE FROM report_run" if replace else b"UPDATE report_run"
    wired.wire.cut_behind(words, b"COMMIT")
    fill(connect(wired.table), files(70), replace=replace)
    assert wired.wire.happened.is_set()
    leaves_only(database, files(60))
    assert rows_of(database) == 70


def kill(wired: Wired) -> Callable[[], None]:
    def act() -> None:
        wired.server.kill()
        threading.Timer(1, wired.server.start).start()

    return act


@on_mariadb
@pytest.mark.parametrize("moment", ["page", "rows", "whole", "swept"])
def test_a_server_that_is_killed_and_comes_again_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str
) -> None:
    there, rows = nights_of(database, replace=True)
    wired.wire.before(*MOMENTS[moment], act=kill(wired))
    fill(connect(wired.table), there, replace=True)
    assert wired.wire.happened.is_set()
    leaves_only(database, there, rows)


@on_mariadb
def test_a_readers_question_goes_by_its_index(
    place: Place, database: Database, connect: Connect
) -> None:
    fill(database, files(300))
    questions = {
        "vault_user": "user_id = 3",
        "vault_path": "path_start LIKE '/lustre/scratch1/projects/alpha3/cohort\\_5/%'",
    }
    admin = connect(place.admin)
    for key, by in questions.items():
        assert plan(admin, f"SELECT * FROM vault_now WHERE {by}")["key"] == key


def plan(database: Database, question: str) -> Mapping[str, Any]:
    """How MariaDB reads the first table that a question is asked of."""
    explain = sql.text(f"EXPLAIN {question}")
    return database.transaction(
        lambda connection: dict(connection.execute(explain).mappings().all()[0])
    )


PAGES = {"vault_user": "user_id = 3 AND", "vault_group": "group_id = 3 AND", "vault_path": ""}


@on_mariadb
@pytest.mark.parametrize("key", PAGES)
def test_a_page_of_files_in_the_order_of_their_paths_is_read_from_an_index(
    place: Place, database: Database, connect: Connect, key: str
) -> None:
    fill(database, files(3000))
    page = (
        f"SELECT * FROM vault_now WHERE {PAGES[key]} path_start > '/lustre/scratch1/projects/alpha'"
        " ORDER BY path_start, record_id LIMIT 50"
    )
    how = plan(connect(place.admin), page)
    assert how["key"] == key
    assert "filesort" not in how["Extra"]


@on_sqlite
@pytest.mark.parametrize("key", PAGES)
def test_sqlite_reads_a_page_from_an_index_too(database: Database, key: str) -> None:
    page = (
        f"SELECT * FROM vault_now WHERE {PAGES[key]} path_start GLOB '/lustre/scratch1/*' "
        "ORDER BY path_start, record_id LIMIT 50"
    )
    explain = sql.text(f"EXPLAIN QUERY PLAN {page}")
    how = database.transaction(lambda connection: str(connection.execute(explain).all()))
    assert f"USING INDEX {key}" in how
    assert "path_start>?" in how
    assert "TEMP B-TREE" not in how


@pytest.mark.parametrize(
    "path",
    ["/short", "/" + "a" * 254, "/" + "a" * 255, "/" + "\U0001f4be" * 300, "/\\xff" * 1000 + " "],
)
def test_a_path_begins_with_its_first_255_characters(database: Database, path: str) -> None:
    fill(database, [nights.vault_file(1, shown=path)])
    assert scalar(database, sql.select(vault_now.c.path_start)) == path[:255]
