"""Directories are seen whole or not at all, the newest date's, whoever fills them and is killed."""

import os
import pickle
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import children
import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Wired, on_mariadb
from servers.nights import DAY, VOLUME

from db import directories, runs
from db.database import Database, DatabaseFailed
from db.directories import Filling
from db.runs import AlreadyRecorded, RunLost
from db.schema import (
    base_directory,
    base_directory_usage,
    directory,
    directory_age,
    directory_base,
    directory_now,
    file_size,
    filetype,
    report_run,
    unix_group,
    volume,
)
from lurge_types.config import DatabaseTable
from lurge_types.reports import (
    AGE_CLASSES,
    NOWHERE,
    UNKNOWN_AGE,
    BaseDirectory,
    BaseUse,
    DirectoryReport,
    Part,
    Run,
)
from lurge_types.reports import OTHER as OTHER_TYPE
from lurge_types.scans import Volume
from utils import config
from utils.paths import text

YESTERDAY = DAY - timedelta(days=1)
TOMORROW = DAY + timedelta(days=1)
OTHER = Volume("scratch2", b"/lustre/scratch2")
LARGEST = 2**63 - 1
TYPES = ("BAM", "CRAM", "VCF (gzip)")
KINDS = {name: kind for kind, name in enumerate((OTHER_TYPE, *TYPES))}
GROUPS = {gid: nights.group(gid) for gid in range(1, 51)}
CHUNK = 50


def begin(
    database: Database,
    rows: int,
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    replace: bool = False,
) -> Filling:
    run = nights.run(day, volume, report="inspector")
    return directories.begin(database, run, volume, rows, replace=replace, file_types=TYPES)


def add(filling: Filling, reports: Sequence[DirectoryReport]) -> None:
    for first in range(0, len(reports), CHUNK):
        filling.add(reports[first : first + CHUNK], GROUPS)


def finish(filling: Filling, uses: Sequence[BaseUse] = ()) -> None:
    filling.finish(
        lambda: (uses[first : first + CHUNK] for first in range(0, len(uses), CHUNK)), GROUPS
    )


def sweep(database: Database, volume: Volume = VOLUME) -> None:
    directories.sweep(database, "inspector", volume.name)


def fill(
    database: Database,
    reports: Sequence[DirectoryReport],
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    uses: Sequence[BaseUse] = (),
    replace: bool = False,
) -> None:
    """Do what a run does."""
    filling = begin(database, len(reports), day, volume, replace=replace)
    add(filling, reports)
    finish(filling, uses)
    sweep(database, volume)


def seen(database: Database, of: Volume = VOLUME) -> list[DirectoryReport]:
    """What readers see of a volume, in the order in which it was stored."""
    number = sql.select(volume.c.volume_id).where(volume.c.scratch_disk == of.name)
    rows = (
        sql.select(
            directory_now,
            unix_group.c.gid,
            base_directory.c.real_path.label("base_real"),
            base_directory.c.directory_path.label("base_shown"),
        )
        .join(unix_group, unix_group.c.group_id == directory_now.c.group_id)
        .join(
            base_directory, base_directory.c.base_directory_id == directory_now.c.base_directory_id
        )
        .where(directory_now.c.volume_id == number.scalar_subquery())
        .order_by(directory_now.c.directory_id)
    )
    sizes = sql.select(
        file_size.c.directory_id, filetype.c.filetype_name, file_size.c.files, file_size.c.size
    ).join(filetype, filetype.c.filetype_id == file_size.c.filetype_id)

    def look(connection: sql.Connection) -> list[DirectoryReport]:
        by_type = parts(connection, sizes)
        by_age = parts(connection, sql.select(directory_age))
        return [
            DirectoryReport(
                gid=row.gid,
                base=BaseDirectory(row.base_real, row.base_shown),
                directory=row.directory_path,
                real_path=row.real_path,
                files=row.num_files,
                size_bytes=row.size,
                last_modified_days=row.last_modified,
                last_used_days=row.last_used,
                by_type=by_type.get(row.directory_id, ()),
                by_age=by_age.get(row.directory_id, ()),
                kept_files=row.kept_files,
                holds_vault=row.holds_vault,
                lies_above=row.lies_above,
            )
            for row in connection.execute(rows)
        ]

    return database.transaction(look)


def parts(connection: sql.Connection, select: sql.Select[Any]) -> dict[int, tuple[Part, ...]]:
    found: dict[int, list[Part]] = {}
    for number, kind, files, size in connection.execute(select):
        found.setdefault(number, []).append(Part(KINDS.get(kind, kind), files, size))
    return {number: tuple(sorted(of)) for number, of in found.items()}


def scalar(database: Database, select: sql.Select[Any]) -> Any:
    return database.transaction(lambda connection: connection.scalar(select))


def count(database: Database, table: sql.FromClause) -> int:
    return int(scalar(database, sql.select(sql.func.count()).select_from(table)))


def rows_of(database: Database, day: date = DAY) -> int:
    return database.transaction(
        lambda connection: runs.rows_of(connection, "inspector", VOLUME.name, day)
    )


def recorded(database: Database, day: date = DAY) -> Run | None:
    return database.transaction(
        lambda connection: runs.find(connection, "inspector", VOLUME.name, day)
    )


def used(database: Database, day: date = DAY) -> int:
    """The bytes of all base directories on a day."""
    used = sql.func.sum(base_directory_usage.c.used)
    return int(scalar(database, sql.select(used).where(base_directory_usage.c.record_date == day)))


Sums = dict[tuple[int, str], tuple[object, ...]]


def sums(database: Database) -> Sums:
    """What is stored of each group in each base directory: directories, files, bytes ..."""
    keys = (unix_group.c.gid, base_directory.c.real_path)
    rows = (
        sql.select(*keys, *list(directory_base.columns)[4:])
        .join_from(directory_base, unix_group, unix_group.c.group_id == directory_base.c.group_id)
        .join(
            base_directory, base_directory.c.base_directory_id == directory_base.c.base_directory_id
        )
    )
    found = database.transaction(lambda connection: connection.execute(rows).all())
    return {(gid, base): tuple(amounts) for gid, base, *amounts in found}


def summed(reports: Sequence[DirectoryReport]) -> Sums:
    """The same, of reports."""
    of: dict[tuple[int, str], list[DirectoryReport]] = {}
    for report in reports:
        of.setdefault((report.gid, report.base.real), []).append(report)
    return {
        key: (
            len(some),
            sum(each.files for each in some),
            sum(each.size_bytes for each in some),
            least(each.last_modified_days for each in some),
            least(each.last_used_days for each in some),
            sum(each.kept_files for each in some),
        )
        for key, some in of.items()
    }


def least(days: Iterable[Decimal | None]) -> Decimal | None:
    return min((each for each in days if each is not None), default=None)


def leaves_only(database: Database, reports: Sequence[DirectoryReport]) -> None:
    """Neither a row that nobody sees nor a run that is not whole is there."""
    assert seen(database) == reports
    assert sums(database) == summed(reports)
    assert count(database, directory) == len(reports)
    assert count(database, file_size) == sum(len(report.by_type) for report in reports)
    assert count(database, directory_age) == sum(len(report.by_age) for report in reports)
    unfinished = sql.select(sql.func.count()).where(report_run.c.done.is_(None))
    assert scalar(database, unfinished) == 0


# What is stored.


def test_what_was_stored_is_seen(database: Database) -> None:
    reports = nights.directories(333)
    fill(database, reports)
    assert seen(database) == reports
    assert rows_of(database) == 333
    assert recorded(database) == nights.run(report="inspector")


@pytest.mark.parametrize(
    "facts",
    [
        {"files": LARGEST, "size_bytes": LARGEST, "kept_files": LARGEST},
        {"files": 0, "size_bytes": 0, "kept_files": 0, "by_type": (), "by_age": ()},
        {"last_modified_days": None, "last_used_days": None, "real_path": None},
        {"last_modified_days": Decimal("99999999.9"), "last_used_days": Decimal("0.1")},
        {"last_modified_days": Decimal("-0.3"), "last_used_days": Decimal("20705.3")},
        {"holds_vault": True, "lies_above": True},
        {"by_type": tuple(Part(kind, LARGEST, LARGEST) for kind in range(len(TYPES) + 1))},
        {"by_age": tuple(Part(age, 1, LARGEST) for age in (UNKNOWN_AGE, *AGE_CLASSES))},
    ],
)
def test_the_ends_of_what_may_be_are_seen(database: Database, facts: dict[str, Any]) -> None:
    report = nights.directory(1, GROUPS[1], nights.base(), **facts)
    fill(database, [report])
    assert seen(database) == [report]
    assert sums(database) == summed([report])


def test_every_tenth_of_a_day_is_exact(database: Database) -> None:
    reports = [
        nights.directory(number, GROUPS[1], nights.base(), last_used_days=Decimal(days).scaleb(-1))
        for number, days in enumerate((*range(400), *range(10**8, 10**8 + 100)))
    ]
    fill(database, reports)
    assert seen(database) == reports


@pytest.mark.parametrize(
    "path",
    [
        b"/" + b"a" * 4095,
        (b"/" + b"\xff" * 255) * 16,
        (b"/" + "\U0001f4be".encode() * 63) * 16,
        b"/tab\t newline\n backslash\\ quote' %s %(name)s :name ? \x00",
        b"/\\n/\\\\x41",
    ],
)
def test_paths_of_any_bytes_are_seen(database: Database, path: bytes) -> None:
    base = BaseDirectory(text(path), text(path))
    report = nights.directory(1, GROUPS[1], base, directory=text(path)[1:], real_path=text(path))
    fill(database, [report], uses=[nights.use(GROUPS[1], base)])
    assert seen(database) == [report]


def test_the_directories_of_a_group_in_a_base_directory_are_summed_up(database: Database) -> None:
    reports = [
        nights.directory(number, GROUPS[number % 3 + 1], nights.base(number % 4))
        for number in range(100)
    ]
    unknown: dict[str, Any] = {"last_modified_days": None, "last_used_days": None}
    reports += [
        nights.directory(200, GROUPS[1], nights.base(), **unknown),
        nights.directory(201, GROUPS[9], nights.base(), **unknown),
    ]
    fill(database, reports)
    found = sums(database)
    assert found == summed(reports)
    assert found[9, nights.base().real] == (1, 5, 201 * 200, None, None, 1)
    assert scalar(database, sql.select(directory_base.c.volume_id).distinct()) == scalar(
        database, sql.select(volume.c.volume_id)
    )


def test_sums_are_seen_by_run_like_the_directories(database: Database) -> None:
    old, new = nights.directories(60, size_bytes=1), nights.directories(70, size_bytes=2)
    fill(database, old)
    filling = begin(database, len(new), TOMORROW)
    add(filling, new)
    finish(filling)
    total = sql.select(sql.func.sum(directory_base.c.size)).join(
        report_run, report_run.c.run_id == directory_base.c.run_id
    )
    assert scalar(database, total) == 60 + 140
    assert scalar(database, total.where(report_run.c.current)) == 140
    sweep(database)
    leaves_only(database, new)


def test_files_above_every_base_directory_have_no_project(database: Database) -> None:
    nowhere = nights.directory(
        1, GROUPS[1], BaseDirectory(NOWHERE, NOWHERE), directory=NOWHERE, real_path=None
    )
    somewhere = nights.directory(2, GROUPS[1], nights.base(7))
    fill(database, [nowhere, somewhere])
    assert seen(database) == [nowhere, somewhere]
    names = sql.select(directory_now.c.project_name).order_by(directory_now.c.directory_id)
    assert database.transaction(lambda connection: list(connection.scalars(names))) == [
        None,
        "projects/alpha7",
    ]


def test_a_report_without_rows_is_recorded(database: Database) -> None:
    fill(database, [])
    leaves_only(database, [])
    assert recorded(database) == nights.run(report="inspector")


def test_volumes_stay_apart(database: Database) -> None:
    for of, size in ((VOLUME, 1), (OTHER, 2)):
        fill(database, nights.directories(60, size_bytes=size), volume=of)
    fill(database, nights.directories(70, size_bytes=3), TOMORROW)
    assert seen(database) == nights.directories(70, size_bytes=3)
    assert seen(database, OTHER) == nights.directories(60, size_bytes=2)


def test_the_use_of_base_directories_is_kept_by_day(database: Database) -> None:
    uses = [nights.use(GROUPS[gid], nights.base(place)) for gid in (1, 2) for place in range(60)]
    fill(database, [], uses=uses)
    fill(database, [], TOMORROW, uses=uses[:1])
    fill(database, [], uses=[use._replace(used_bytes=7) for use in uses], replace=True)
    assert count(database, base_directory_usage) == 121
    assert used(database) == 7 * 120
    assert used(database, TOMORROW) == uses[0].used_bytes


def test_a_group_that_comes_twice_in_a_base_directory_is_refused(database: Database) -> None:
    filling = begin(database, 0)
    use = nights.use(GROUPS[1], nights.base())
    with pytest.raises(DatabaseFailed):
        finish(filling, [use, use])
    assert recorded(database) is None


def test_the_rows_must_be_as_many_as_were_announced(database: Database) -> None:
    filling = begin(database, 10)
    with pytest.raises(ValueError, match="more than the 10 rows"):
        add(filling, nights.directories(11))
    add(filling, nights.directories(9))
    with pytest.raises(ValueError, match="9 rows were added of 10"):
        finish(filling)
    assert seen(database) == []


# Which are seen, and which are swept.


def test_nothing_is_seen_before_all_is_there(database: Database) -> None:
    old, new = nights.directories(100, size_bytes=1), nights.directories(150, size_bytes=2)
    fill(database, old)
    filling = begin(database, len(new), TOMORROW)
    add(filling, new)
    assert seen(database) == old
    finish(filling)
    assert seen(database) == new


@pytest.mark.parametrize("day", [DAY, TOMORROW])
def test_a_reader_sees_all_of_the_old_or_all_of_the_new(
    database: Database,
    table: DatabaseTable,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    day: date,
) -> None:
    monkeypatch.setattr(directories, "SWEPT_ROWS", 70)
    figures = sql.select(
        sql.func.count(), sql.func.min(directory_now.c.size), sql.func.max(directory_now.c.size)
    )
    looks: list[tuple[int, ...]] = []
    ended = threading.Event()

    def read() -> None:
        reader = connect(table)
        while not ended.is_set():
            row = reader.transaction(lambda connection: connection.execute(figures).one())
            looks.append(tuple(map(int, row)))

    fill(database, nights.directories(600, size_bytes=1))
    thread = threading.Thread(target=read)
    thread.start()
    try:
        fill(database, nights.directories(500, size_bytes=2), day, replace=day == DAY)
    finally:
        ended.set()
        thread.join()
    assert set(looks) <= {(600, 1, 1), (500, 2, 2)}
    assert looks == sorted(looks, key=lambda look: look[1])
    leaves_only(database, nights.directories(500, size_bytes=2))


def test_an_older_date_is_recorded_without_rows(database: Database) -> None:
    new = nights.directories(60)
    fill(database, new, uses=[nights.use(GROUPS[1], nights.base())])
    filling = begin(database, 80, YESTERDAY)
    assert not filling.stores_rows
    add(filling, nights.directories(80, size_bytes=1))
    finish(filling, [nights.use(GROUPS[1], nights.base(), used_bytes=5)])
    leaves_only(database, new)
    assert rows_of(database, YESTERDAY) == 80
    assert used(database, YESTERDAY) == 5
    assert recorded(database, YESTERDAY) is not None


def test_an_older_date_that_is_slow_does_not_take_the_newer_ones_place(database: Database) -> None:
    old, new = nights.directories(60, size_bytes=1), nights.directories(70, size_bytes=2)
    filling = begin(database, len(old), YESTERDAY)
    add(filling, old)
    fill(database, new)
    finish(filling)
    assert seen(database) == new
    sweep(database)
    leaves_only(database, new)
    assert rows_of(database, YESTERDAY) == 60


def test_what_is_recorded_stays_unless_it_shall_be_replaced(database: Database) -> None:
    reports = nights.directories(60)
    fill(database, reports)
    with pytest.raises(AlreadyRecorded, match="inspector of scratch1 on 2026-03-01"):
        begin(database, 1)
    leaves_only(database, reports)


def test_a_run_is_not_swept_while_it_is_filled(database: Database) -> None:
    reports = nights.directories(120)
    filling = begin(database, len(reports), TOMORROW)
    add(filling, reports[:50])
    fill(database, nights.directories(60, size_bytes=1))
    add(filling, reports[50:])
    finish(filling)
    sweep(database)
    leaves_only(database, reports)


def say(database: Database, **values: Any) -> None:
    """Change what is recorded of runs that are not whole."""
    change = sql.update(report_run).where(report_run.c.done.is_(None)).values(values)
    database.transaction(lambda connection: connection.execute(change))


def hours_ago(hours: float) -> datetime:
    return datetime.now(UTC).replace(tzinfo=None) - timedelta(hours=hours)


def test_a_run_on_another_host_is_swept_when_it_is_silent_for_an_hour(database: Database) -> None:
    filling = begin(database, 60)
    add(filling, nights.directories(50))
    say(database, host="elsewhere", touched=hours_ago(0.9))
    sweep(database)
    assert count(database, directory) == 50
    say(database, touched=hours_ago(1.1))
    sweep(database)
    leaves_only(database, [])


def test_a_run_that_was_taken_for_dead_is_told_so(database: Database) -> None:
    filling = begin(database, 60)
    add(filling, nights.directories(50))
    say(database, touched=hours_ago(2))
    fill(database, nights.directories(70, size_bytes=1), TOMORROW)
    with pytest.raises(RunLost, match="taken for dead"):
        add(filling, nights.directories(10))
    filling.abandon()
    leaves_only(database, nights.directories(70, size_bytes=1))


def test_a_run_that_was_taken_for_dead_in_the_end_is_told_so(database: Database) -> None:
    filling = begin(database, 50)
    add(filling, nights.directories(50))
    say(database, touched=hours_ago(2))
    sweep(database)
    with pytest.raises(RunLost, match="taken for dead"):
        finish(filling, [nights.use(GROUPS[1], nights.base())])
    leaves_only(database, [])
    assert count(database, base_directory_usage) == 0


def test_what_a_run_amounts_to_is_gone_with_it_when_it_is_killed_in_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    filling = begin(database, 150)
    add(filling, nights.directories(150))
    database.transaction(filling._sum_up)
    assert sums(database) == summed(nights.directories(150))
    monkeypatch.setattr(directories, "SWEPT_ROWS", 70)
    say(database, touched=hours_ago(2))
    sweep(database)
    leaves_only(database, [])


def test_ids_are_used_again(database: Database) -> None:
    for number in range(6):
        fill(database, nights.directories(100, size_bytes=number), replace=True)
        fill(database, nights.directories(60, size_bytes=number), volume=OTHER, replace=True)
    assert scalar(database, sql.select(sql.func.max(directory.c.directory_id))) <= 2 * (100 + 60)


def test_the_lowest_gap_that_is_wide_enough_is_used(database: Database) -> None:
    for number, of in enumerate((Volume("a"), Volume("b"), Volume("c"))):
        fill(database, nights.directories(50 + number), volume=of)
    fill(database, [], TOMORROW, Volume("b"))
    firsts = {}
    for rows in (52, 51, 1):
        filling = begin(database, rows, volume=Volume(f"v{rows}"))
        firsts[rows] = scalar(
            database,
            sql.select(report_run.c.first_id).where(report_run.c.run_id == filling._begun.run_id),
        )
    assert firsts == {52: 50 + 51 + 52 + 1, 51: 51, 1: 50 + 51 + 52 + 52 + 1}


def test_ids_stay_below_what_dashboards_can_take(database: Database) -> None:
    begin(database, 2**31 - 101)
    begin(database, 100, volume=OTHER)
    with pytest.raises(DatabaseFailed, match="no 1 ids in a row are free"):
        begin(database, 1, volume=Volume("scratch3"))


# Several at once.


def test_of_two_runs_at_once_the_first_that_is_whole_wins(database: Database) -> None:
    slow = begin(database, 60)
    add(slow, nights.directories(60, size_bytes=1))
    reports = nights.directories(70, size_bytes=2)
    fill(database, reports)
    with pytest.raises(AlreadyRecorded):
        finish(slow)
    slow.abandon()
    sweep(database)
    leaves_only(database, reports)


def test_threads_that_fill_the_same_report_leave_it_once(
    table: DatabaseTable, connect: Connect
) -> None:
    start = threading.Barrier(3)
    told: list[str] = []

    def race(number: int) -> None:
        database = connect(table)
        start.wait(20)
        filling = None
        try:
            filling = begin(database, 200)
            add(filling, nights.directories(200, size_bytes=number))
            finish(filling)
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
    (size,) = {report.size_bytes for report in seen(database)}
    leaves_only(database, nights.directories(200, size_bytes=size))


def test_threads_that_fill_different_volumes_do_not_meet(
    table: DatabaseTable, connect: Connect
) -> None:
    volumes = [Volume(f"scratch{number}") for number in range(3)]
    start = threading.Barrier(3)

    def work(of: Volume) -> None:
        database = connect(table)
        start.wait(20)
        for day in (DAY, TOMORROW):
            fill(database, nights.directories(150), day, of)

    threads = [threading.Thread(target=work, args=(of,)) for of in volumes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    database = connect(table)
    assert [seen(database, of) == nights.directories(150) for of in volumes] == [True] * 3
    assert count(database, directory) == 3 * 150


# Killed, given up, lost.

FILL = """
    import pickle, sys
    from db import directories
    from db.database import Database

    url, password, run, volume, reports, groups = pickle.load(sys.stdin.buffer)
    database = Database(url, password=password, retry_seconds=20)
    filling = directories.begin(
        database, run, volume, len(reports), replace=False, file_types=("BAM", "CRAM", "VCF (gzip)")
    )
    for first in range(0, len(reports) - 50, 50):
        filling.add(reports[first : first + 50], groups)
    print("added", flush=True)
    sys.stdin.buffer.read()
"""


@contextmanager
def half_filled(
    table: DatabaseTable, reports: Sequence[DirectoryReport]
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has added all but the last rows."""
    run = nights.run(report="inspector")
    with subprocess.Popen(
        children.command(FILL), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdin
            assert process.stdout
            job = (table.url, config.password(table), run, VOLUME, reports, GROUPS)
            process.stdin.write(pickle.dumps(job))
            process.stdin.flush()
            assert process.stdout.readline() == b"added\n"
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("day", [DAY, TOMORROW])
@pytest.mark.parametrize("is_waited_for", [False, True])
def test_nothing_is_left_of_a_process_that_was_killed(
    table: DatabaseTable, database: Database, day: date, is_waited_for: bool
) -> None:
    old, new = nights.directories(60, size_bytes=1), nights.directories(70, size_bytes=2)
    fill(database, old, YESTERDAY)
    with half_filled(table, nights.directories(400)) as process:
        assert count(database, directory) == 410
        process.kill()
        assert seen(database) == old
        # One that nobody has waited for is still listed.
        os.waitid(os.P_PID, process.pid, os.WEXITED | (0 if is_waited_for else os.WNOWAIT))
        fill(database, new, day)
    leaves_only(database, new)


def test_a_process_that_lives_is_left_alone(table: DatabaseTable, database: Database) -> None:
    with half_filled(table, nights.directories(100)):
        fill(database, nights.directories(60), TOMORROW)
        assert count(database, directory) == 110
    sweep(database)
    leaves_only(database, nights.directories(60))


def test_what_is_given_up_is_gone(database: Database) -> None:
    reports = nights.directories(60)
    fill(database, reports)
    filling = begin(database, 80, replace=True)
    add(filling, nights.directories(70))
    filling.abandon()
    filling.abandon()
    sweep(database)
    leaves_only(database, reports)


def test_a_run_that_is_whole_cannot_be_given_up(database: Database) -> None:
    filling = begin(database, 60)
    add(filling, nights.directories(60))
    finish(filling)
    filling.abandon()
    leaves_only(database, nights.directories(60))


@on_mariadb
def test_giving_up_hides_no_other_trouble(
    wired: Wired, database: Database, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "GIVING_UP_SECONDS", 0.1)
    filling = begin(connect(wired.table), 60)
    add(filling, nights.directories(50))
    wired.server.stop()
    filling.abandon()
    wired.server.start()
    assert count(database, directory) == 50


MOMENTS = {
    "begun": [b"INSERT INTO report_run", b"COMMIT"],
    "names": [b"INSERT INTO base_directory", b"COMMIT"],
    "row": [b"INSERT INTO directory_age"],
    "rows": [b"INSERT INTO directory_age", b"COMMIT"],
    "sums": [b"INSERT INTO directory_base"],
    "summed": [b"INSERT INTO directory_base", b"COMMIT"],
    "use": [b"INSERT INTO base_directory_usage"],
    "whole": [b"INSERT INTO base_directory_usage", b"COMMIT"],
    "swept": [b"DELETE FROM directory_age", b"COMMIT"],
    "forgotten": [b"SET first_id", b"COMMIT"],
}


@on_mariadb
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("moment", MOMENTS)
def test_an_answer_that_is_lost_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str, replace: bool
) -> None:
    old, new = nights.directories(60, size_bytes=1), nights.directories(170, size_bytes=2)
    fill(database, old, DAY if replace else YESTERDAY)
    wired.wire.cut_behind(*MOMENTS[moment])
    unknown = nights.base(99)
    reports = [report._replace(base=unknown) for report in new]
    fill(connect(wired.table), reports, uses=[nights.use(GROUPS[1], unknown)], replace=replace)
    assert wired.wire.happened.is_set()
    leaves_only(database, reports)
    assert count(database, base_directory_usage) == 1
    assert rows_of(database) == 170


def kill(wired: Wired) -> Callable[[], None]:
    def act() -> None:
        wired.server.kill()
        threading.Timer(1, wired.server.start).start()

    return act


@on_mariadb
@pytest.mark.parametrize("moment", ["rows", "summed", "whole", "swept"])
def test_a_server_that_is_killed_and_comes_again_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: str
) -> None:
    fill(database, nights.directories(60, size_bytes=1))
    wired.wire.before(*MOMENTS[moment], act=kill(wired))
    reports = nights.directories(170, size_bytes=2)
    uses = [nights.use(GROUPS[1], nights.base())]
    fill(connect(wired.table), reports, uses=uses, replace=True)
    assert wired.wire.happened.is_set()
    leaves_only(database, reports)


@on_mariadb
def test_rows_that_another_has_swept_and_ids_that_are_used_again_are_let_be(
    wired: Wired, database: Database, connect: Connect
) -> None:
    fill(database, nights.directories(60, size_bytes=1), YESTERDAY)
    filling = begin(database, 60)
    add(filling, nights.directories(60, size_bytes=2))
    finish(filling)
    reports = nights.directories(60, size_bytes=3)

    def be_faster() -> None:
        sweep(database)
        fill(database, reports, volume=OTHER)

    # Between finding what is to be swept and the first chunk of it.
    wired.wire.before(b"SELECT report_run.run_id \nFROM", act=be_faster)
    sweep(connect(wired.table))
    assert wired.wire.happened.is_set()
    assert seen(database, OTHER) == reports
