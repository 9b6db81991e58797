#!/usr/bin/env python3
"""
How long a night and a year of usage take to store: 10 volumes of 500 groups, names and all; how
long a night's warnings and forecasts take then; how long the directories of a volume, with 2 file
types and 3 ages each, and what a reader feels of it; and how long the files in its vaults, on a
first night, without changes, and with some.

    bench_database.py [DAYS [DIRECTORIES [FILES]]]
        usage into MariaDB with durable and with fast settings, and into SQLite; then as many
        directories, and as many files in vaults, each into a durable MariaDB with a buffer pool of
        512 MiB. 0 leaves one of them out.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from functools import partial
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import sqlalchemy as sql

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers import nights
from servers.mariadb import DURABLE, FAST, private_mariadb

from db import directories, usage, vaults
from db.database import Database
from db.schema import (
    base_directory,
    directory,
    directory_age,
    directory_now,
    file_size,
    lustre_usage,
    report_run,
    unix_group,
    user,
    vault,
    vault_now,
)
from lurge import warned
from lurge.forecast.foretell import days_needed
from lurge_types.config import WarningsTable
from lurge_types.forecasts import Forecast
from lurge_types.reports import BaseUse, DirectoryReport, GroupReport, Run
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile

VOLUMES = [Volume(f"scratch{number}", b"/lustre/%d" % number) for number in range(10)]
GROUPS = 500
FIRST = date(2025, 1, 1)
NIGHTS = 3
READS = 5
JUDGED = 3

BASES = 3000
GROUPS_OF_A_BASE = 2
CHUNK = 2000
FILE_TYPES = ("BAM", "CRAM", "VCF")
READER_RESTS_SECONDS = 0.05

USERS = {uid: nights.user(uid) for uid in range(1, 41)}
GROUPS_OF_VAULTS = {gid: nights.group(gid) for gid in range(1, 31)}
CHANGED_OF = 100


def used(number: int, volume: Volume) -> list[GroupReport]:
    """What groups use on a day of a week, each somewhat more or less, with all that is foretold."""
    day = FIRST + timedelta(days=number)
    foretold = Forecast("theil-sen", 2**24, 2**24, -(2**23) * number, day, day, day)
    return [
        replace(
            row,
            used_bytes=row.used_bytes + number * row.group.gid % 5 * 2**24,
            inodes=row.inodes + number * row.group.gid % 3,
            suspect=(number + row.group.gid) % 50 == 0,
            foretold_bytes=foretold,
            foretold_inodes=foretold,
        )
        for row in nights.rows(GROUPS, volume)
    ]


def judge(database: Database, day: date) -> tuple[float, float]:
    """Warn and foretell for a night of all volumes; the seconds of reading and of the rest."""
    table = WarningsTable()
    first = day - timedelta(days=days_needed(table))
    read = computed = 0.0
    for volume in VOLUMES:
        rows = used(0, volume)
        start = time.perf_counter()
        history = database.transaction(
            partial(usage.history, volume_name=volume.name, first=first, before=day)
        )
        middle = time.perf_counter()
        judged = warned.judged(rows, history, day, table)
        read += middle - start
        computed += time.perf_counter() - middle
        assert {row.foretold_bytes.method for row in judged} != {"-"}
    return read, computed


def fill(database: Database, first: int, days: int) -> float:
    """Store some days of all volumes, counted from the first of all; rows per second."""
    week = [{volume: used(number, volume) for volume in VOLUMES} for number in range(7)]
    start = time.perf_counter()
    for number in range(first, first + days):
        for volume, rows in week[number % 7].items():
            run = nights.run(FIRST + timedelta(days=number), volume)
            usage.store(database, run, volume, rows, replace=False)
    return days * len(VOLUMES) * GROUPS / (time.perf_counter() - start)


def count(database: Database, table: sql.FromClause) -> int:
    """How many rows a table has."""
    return database.transaction(
        lambda connection: connection.scalar(sql.select(sql.func.count()).select_from(table)) or 0
    )


def milliseconds(act: Callable[[], object]) -> float:
    """The best of a few tries."""
    taken = []
    for _ in range(READS):
        start = time.perf_counter()
        act()
        taken.append(1000 * (time.perf_counter() - start))
    return min(taken)


def measure(name: str, database: Database, days: int) -> None:
    """Print the figures of one kind of database; its rows must all be there."""
    database.init()
    night = len(VOLUMES) * GROUPS
    first = night / fill(database, 0, 1)
    more = [night / fill(database, 1 + number, 1) for number in range(NIGHTS)]
    print(f"{name}: the first night {first:.2f} s, another {min(more):.2f} s", flush=True)
    rate = fill(database, 1 + NIGHTS, days)
    stored = 1 + NIGHTS + days
    assert count(database, lustre_usage) == stored * night
    assert count(database, report_run) == stored * len(VOLUMES)
    after = night / fill(database, stored, 1)
    volume, day = VOLUMES[0].name, FIRST + timedelta(days=stored)
    last = milliseconds(
        lambda: database.transaction(lambda connection: usage.last_used(connection, volume, day))
    )
    rows = milliseconds(
        lambda: database.transaction(lambda connection: usage.read(connection, volume, FIRST))
    )
    print(
        f"{name}: {days} days at {rate:,.0f} rows/s; the night after {after:.2f} s; of one volume "
        f"a day's rows {rows:.0f} ms, the last use of each group {last:.0f} ms",
        flush=True,
    )
    tries = [judge(database, FIRST + timedelta(days=stored + 1)) for _ in range(JUDGED)]
    read, computed = min(tries, key=sum)
    total = count(database, lustre_usage)
    print(
        f"{name}: warnings and forecasts of a night with {total:,} rows of history "
        f"{read + computed:.2f} s (the first time {sum(tries[0]):.2f} s), of which reading "
        f"{read:.2f} s",
        flush=True,
    )


def made(count: int) -> Iterator[DirectoryReport]:
    """Directories of a volume, next to each other those of different base directories."""
    groups = [nights.group(number + 1) for number in range(GROUPS)]
    bases = [nights.base(number) for number in range(BASES)]
    for number in range(count):
        place = number * 7919 % BASES
        group = (place + number // BASES % GROUPS_OF_A_BASE) % GROUPS
        yield nights.directory(number, groups[group], bases[place])


def uses() -> Iterator[Sequence[BaseUse]]:
    """What one group uses in each base directory."""
    yield [
        nights.use(nights.group(place % GROUPS + 1), nights.base(place)) for place in range(BASES)
    ]


def fill_directories(database: Database, run: Run, count: int) -> float:
    """Store a volume's directories, and sweep what was there; the seconds of the sweeping."""
    groups = {gid: nights.group(gid) for gid in range(1, GROUPS + 1)}
    filling = directories.begin(
        database, run, nights.VOLUME, count, replace=True, file_types=FILE_TYPES
    )
    reports = made(count)
    while chunk := list(islice(reports, CHUNK)):
        filling.add(chunk, groups)
    filling.finish(uses, groups)
    start = time.perf_counter()
    directories.sweep(database, run.report, run.volume)
    return time.perf_counter() - start


def read_on(url: str, pipe: Connection) -> None:
    """Ask for one group's directories in a base directory, again and again, until told to end."""
    database = Database(url)
    group, place = database.transaction(
        lambda connection: (
            connection.scalar(sql.select(unix_group.c.group_id).where(unix_group.c.gid == 8)),
            connection.scalar(
                sql.select(base_directory.c.base_directory_id).where(
                    base_directory.c.real_path == nights.base(7).real
                )
            ),
        )
    )
    page = sql.select(directory_now).where(
        directory_now.c.group_id == group, directory_now.c.base_directory_id == place
    )
    taken, counts = [], set()
    while not pipe.poll(READER_RESTS_SECONDS):
        start = time.perf_counter()
        counts.add(len(database.transaction(lambda connection: connection.execute(page).all())))
        taken.append(time.perf_counter() - start)
    pipe.send((taken[0], taken[1:], counts))
    database.close()


def measure_directories(url: str, number: int) -> None:
    """Print the figures of a volume's directories: stored, and replaced while somebody reads."""
    database = Database(url)
    database.init()
    run = nights.run(report="inspector")
    start = time.perf_counter()
    fill_directories(database, run, number)
    print(f"{number:,} directories: stored in {time.perf_counter() - start:.0f} s", flush=True)
    ours, theirs = multiprocessing.Pipe()
    reader = multiprocessing.get_context("spawn").Process(target=read_on, args=(url, theirs))
    reader.start()
    start = time.perf_counter()
    swept = fill_directories(database, run, number)
    replaced = time.perf_counter() - start
    ours.send("end")
    first, taken, counts = ours.recv()
    reader.join()
    for table, rows in ((directory, 1), (file_size, 2), (directory_age, 3)):
        assert count(database, table) == rows * number
    assert len(counts) == 1, counts
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"{number:,} directories: replaced in {replaced:.0f} s, of which {swept:.0f} s deleting; "
        f"a page of {max(counts)} rows meanwhile {1000 * first:.0f} ms the first time, then "
        f"{1000 * statistics.median(taken):.0f} ms, at most {1000 * max(taken):.0f} ms of "
        f"{len(taken)}; the writer's peak {peak:.0f} MiB",
        flush=True,
    )
    database.close()


def kept(number: int, night: int) -> VaultFile:
    """A file in a vault; of a hundred one has changed on the third night."""
    file = nights.vault_file(number)
    is_changed = night == 2 and number % CHANGED_OF == 0
    return file._replace(size_bytes=file.size_bytes + 1) if is_changed else file


def store_vaults(database: Database, night: int, number: int) -> tuple[float, float, int]:
    """Store a night's files; the seconds of comparing and of the rest, and how many were new."""
    run = nights.run(FIRST + timedelta(days=night), report="puppeteer")
    order = sorted((kept(place, night).state(), place) for place in range(number))
    start = time.perf_counter()
    filling = vaults.begin(database, run, nights.VOLUME, number, replace=False)
    new = filling.changes(state for state, _ in order)
    compared = time.perf_counter() - start
    added = 0.0
    for first in range(0, len(new), CHUNK):
        files = [kept(order[place][1], night) for place in new[first : first + CHUNK]]
        start = time.perf_counter()
        filling.add(files, USERS, GROUPS_OF_VAULTS)
        added += time.perf_counter() - start
    start = time.perf_counter()
    filling.finish()
    vaults.sweep(database, run.report, run.volume)
    return compared, added + time.perf_counter() - start, len(new)


def measure_vaults(url: str, number: int) -> None:
    """Print the figures of the files in a volume's vaults: three nights, and a user's files."""
    database = Database(url)
    database.init()
    for night, name in enumerate(("a first night", "one without changes", "one with 1 % changed")):
        compared, rest, new = store_vaults(database, night, number)
        print(
            f"{number:,} files in vaults: {name} {compared + rest:.1f} s, of which comparing "
            f"{compared:.1f} s; {new:,} rows added",
            flush=True,
        )
    assert count(database, vault_now) == number
    size = "SELECT SUM(data_length + index_length) FROM information_schema.tables WHERE table_name"
    user_id = sql.select(user.c.user_id).where(user.c.uid == 7).scalar_subquery()
    theirs = sql.select(vault_now).where(vault_now.c.user_id == user_id)
    below = sql.select(vault_now).where(
        vault_now.c.path_start.like(nights.base(3).shown + "/cohort\\_7/%")
    )

    def rows(select: sql.Select[Any]) -> int:
        return len(database.transaction(lambda connection: connection.execute(select).all()))

    print(
        f"{number:,} files in vaults: "
        f"{rows(theirs):,} of a user {milliseconds(lambda: rows(theirs)):.0f} ms, "
        f"{rows(below):,} below a directory {milliseconds(lambda: rows(below)):.0f} ms",
        flush=True,
    )
    database.transaction(lambda connection: connection.exec_driver_sql("ANALYZE TABLE vault").all())
    octets = database.transaction(
        lambda connection: connection.exec_driver_sql(f"{size} = '{vault.name}'").scalar()
    )
    print(f"{number:,} files in vaults: {int(octets or 0) / 10**9:.2f} GB", flush=True)
    database.close()


@contextmanager
def url_on_mariadb(*settings: str) -> Iterator[str]:
    """Where an empty database is, on a server of its own."""
    with private_mariadb(*settings) as server:
        server.execute("CREATE DATABASE lurge")
        yield server.url("lurge")


@contextmanager
def on_mariadb(*settings: str) -> Iterator[Database]:
    """An empty database on a server of its own."""
    with url_on_mariadb(*settings) as url:
        database = Database(url)
        yield database
        database.close()


@contextmanager
def on_sqlite() -> Iterator[Database]:
    """An empty file."""
    with tempfile.TemporaryDirectory() as folder:
        database = Database(f"sqlite:///{folder}/lurge.db")
        yield database
        database.close()


def main() -> None:
    """Measure all."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else 365
    number = int(sys.argv[2]) if len(sys.argv) > 2 else 1_000_000
    files = int(sys.argv[3]) if len(sys.argv) > 3 else 2_000_000
    for name, opened in (
        ("MariaDB, durable", on_mariadb(*DURABLE)),
        ("MariaDB, fast", on_mariadb(*FAST, "--innodb-buffer-pool-size=128M")),
        ("SQLite", on_sqlite()),
    ):
        if days:
            with opened as database:
                measure(name, database, days)
    if number:
        with url_on_mariadb(*DURABLE, "--innodb-buffer-pool-size=512M") as url:
            measure_directories(url, number)
    if files:
        with url_on_mariadb(*DURABLE, "--innodb-buffer-pool-size=512M") as url:
            measure_vaults(url, files)


if __name__ == "__main__":
    main()
