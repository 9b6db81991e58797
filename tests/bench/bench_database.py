#!/usr/bin/env python3
"""
How long a night and a year of usage take to store: 10 volumes of 500 groups, names and all; and how
long the directories of a volume, with 2 file types and 3 ages each, and what a reader feels of it.

    bench_database.py [DAYS [DIRECTORIES]]
        usage into MariaDB with durable and with fast settings, and into SQLite; then as many
        directories into a durable MariaDB with a buffer pool of 512 MiB. 0 leaves one of them out.
"""

import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from itertools import islice
from multiprocessing.connection import Connection
from pathlib import Path

import sqlalchemy as sql

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers import nights
from servers.mariadb import DURABLE, FAST, private_mariadb

from db import directories, usage
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
)
from lurge_types.reports import BaseUse, DirectoryReport, Run
from lurge_types.scans import Volume

VOLUMES = [Volume(f"scratch{number}", b"/lustre/%d" % number) for number in range(10)]
GROUPS = 500
FIRST = date(2025, 1, 1)
NIGHTS = 3
READS = 5

BASES = 3000
GROUPS_OF_A_BASE = 2
CHUNK = 2000
FILE_TYPES = ("BAM", "CRAM", "VCF")
READER_RESTS_SECONDS = 0.05


def fill(database: Database, first: int, days: int) -> float:
    """Store some days of all volumes, counted from the first of all; rows per second."""
    reports = {volume: nights.rows(GROUPS, volume) for volume in VOLUMES}
    start = time.perf_counter()
    for number in range(first, first + days):
        for volume, rows in reports.items():
            run = nights.run(FIRST + timedelta(days=number), volume)
            usage.store(database, run, volume, rows, replace=False)
    return days * len(VOLUMES) * GROUPS / (time.perf_counter() - start)


def count(database: Database, table: sql.Table) -> int:
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


if __name__ == "__main__":
    main()
