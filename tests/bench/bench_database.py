#!/usr/bin/env python3
"""
How long a night and a year of usage take to store: 10 volumes of 500 groups, names and all.

    bench_database.py [DAYS]     into MariaDB with durable and with fast settings, and into SQLite
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from pathlib import Path

import sqlalchemy as sql

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers import nights
from servers.mariadb import DURABLE, FAST, private_mariadb

from db import usage
from db.database import Database
from db.schema import lustre_usage, report_run
from lurge_types.scans import Volume

VOLUMES = [Volume(f"scratch{number}", b"/lustre/%d" % number) for number in range(10)]
GROUPS = 500
FIRST = date(2025, 1, 1)
NIGHTS = 3
READS = 5


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


@contextmanager
def on_mariadb(*settings: str) -> Iterator[Database]:
    """An empty database on a server of its own."""
    with private_mariadb(*settings) as server:
        server.execute("CREATE DATABASE lurge")
        database = Database(server.url("lurge"))
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
    for name, opened in (
        ("MariaDB, durable", on_mariadb(*DURABLE)),
        ("MariaDB, fast", on_mariadb(*FAST, "--innodb-buffer-pool-size=128M")),
        ("SQLite", on_sqlite()),
    ):
        with opened as database:
            measure(name, database, days)


if __name__ == "__main__":
    main()
