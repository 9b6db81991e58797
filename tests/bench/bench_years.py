#!/usr/bin/env python3
"""
How large history gets over the years, and how long a night's thinning takes, on a durable MariaDB.

    bench_years.py [--nights N] [--volumes N] [--groups N] [--daily DAYS] [--weekly DAYS]

Three years of nights with 10 volumes of 500 groups, if nothing else is given; a base directory for
each group and volume, and ten users for each of these. Nights are filled in by the server itself;
each is thinned as it really is, while another asks for a group's history and a third one locks the
volumes, as who records does, over and over. A line tells of a quarter of a year.
"""

import argparse
import statistics
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_views import NAMES, NIGHT, USERS, USERS_EACH
from servers.mariadb import DURABLE, Mariadb, private_mariadb
from sqlalchemy.engine import Connection

from db import pruning
from db.database import Database
from db.pruning import HISTORIES
from lurge import retention
from lurge_types.config import KeepTable

FIRST = date(2026, 11, 28)
QUARTER = 91
SETTINGS = (*DURABLE, "--innodb-buffer-pool-size=512M", "--innodb-log-file-size=256M")
PAUSE_SECONDS = 0.02

RUNS = (
    "update report_run set current = 0",
    "insert into report_run (report, volume_id, record_date, scan_file, scan_time, `lines`, "
    "bad_lines, started, finished, version, token, done, current) select r.report, v.seq, '{day}', "
    "'/scans/stats.gz', '{day}', 4000000, 0, '{day}', '{day}', '1', repeat('t', 32), 1, 1 from "
    "(select 'reporter' report union select 'inspector' union select 'users') r, "
    "seq_1_to_{volumes} v",
)
HISTORY = "select used, record_date from lustre_usage where unix_id = 1 and volume_id = 1"
LOCK = "select volume_id from volume for update"
SIZES = (
    "select table_name, data_length + index_length from information_schema.tables "
    "where table_schema = 'lurge'"
)


class Timed(Database):
    """
    A database that notes how long each transaction takes, in seconds.

    deletions: of those that deleted a day. The listing of what there is locks nothing.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.seconds: list[float] = []
        self.deletions: list[float] = []

    def transaction(self, act: Callable[[Connection], Any], **settings: Any) -> Any:
        start = time.perf_counter()
        try:
            return super().transaction(act, **settings)
        finally:
            self.seconds.append(time.perf_counter() - start)
            if getattr(act, "func", None) is pruning.forget:
                self.deletions.append(self.seconds[-1])


class Bystander:
    """Asks one thing over and over while others are at work, and notes the longest wait for it."""

    def __init__(self, url: str, question: str) -> None:
        self.longest = 0.0
        self._question = question
        self._database = Timed(url)
        self._busy = threading.Event()
        threading.Thread(target=self._ask, daemon=True).start()

    def __enter__(self) -> None:
        self._busy.set()

    def __exit__(self, *_: object) -> None:
        self._busy.clear()
        self.longest = max([self.longest, *self._database.seconds])
        self._database.seconds.clear()

    def _ask(self) -> None:
        while True:
            self._busy.wait()
            self._database.transaction(
                lambda connection: connection.exec_driver_sql(self._question).all()
            )
            time.sleep(PAUSE_SECONDS)


def fill(server: Mariadb, statements: tuple[str, ...], **facts: object) -> None:
    """Let the server make rows, without waiting for the disk."""
    server.execute("set global innodb_flush_log_at_trx_commit = 2")
    with server.administrator() as connection:
        connection.exec_driver_sql("use lurge")
        for statement in statements:
            connection.exec_driver_sql(statement.format(**facts))
    server.execute("set global innodb_flush_log_at_trx_commit = 1")


def sizes(server: Mariadb) -> str:
    """The bytes of each table, as cells."""
    for table in HISTORIES.values():
        server.execute(f"analyze table lurge.{table.name}")
    taken = dict(map(tuple, server.execute(SIZES)))
    return " | ".join(f"{taken[table.name] / 2**20:,.0f}" for table in HISTORIES.values())


def arguments() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    for name, default in (
        ("nights", 3 * 365),
        ("volumes", 10),
        ("groups", 500),
        ("daily", KeepTable().daily),
        ("weekly", KeepTable().weekly),
    ):
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def main() -> None:
    """Let the nights pass."""
    asked = arguments()
    keep = KeepTable(daily=asked.daily, weekly=asked.weekly)
    facts = {
        "groups": asked.groups,
        "users": asked.groups * USERS_EACH,
        "volumes": asked.volumes,
        "each": USERS_EACH,
    }
    of_night = dict.fromkeys(HISTORIES, asked.volumes * asked.groups)
    of_night["users"] *= USERS_EACH
    rows: Counter[str] = Counter()
    nights: list[float] = []
    print(f"{sum(of_night.values()):,} rows a night; {keep}")
    tables = " | ".join(f"{table.name}, MiB" for table in HISTORIES.values())
    print(
        f"| night | rows | {tables} | filling in, s | thinning, s, median | longest night "
        "| longest deletion of a day | reader waited | writer waited |"
    )
    with private_mariadb(*SETTINGS) as server:
        server.execute("create database lurge")
        database = Timed(server.url("lurge"))
        database.init()
        fill(server, NAMES, **facts)
        reader, writer = (Bystander(server.url("lurge"), each) for each in (HISTORY, LOCK))
        filling = time.perf_counter()
        for night in range(asked.nights):
            day = FIRST + timedelta(night)
            fill(server, (*RUNS, *NIGHT, USERS), day=day, **facts)
            rows.update(of_night)
            start = time.perf_counter()
            with reader, writer:
                for each in retention.thin(database, keep, day):
                    rows.subtract({each.report: each.rows})
            nights.append(time.perf_counter() - start)
            if night % QUARTER == QUARTER - 1 or night == asked.nights - 1:
                filled = time.perf_counter() - filling - sum(nights)
                figures = (
                    filled / len(nights),
                    statistics.median(nights),
                    max(nights),
                    max(database.deletions, default=0.0),
                    reader.longest,
                    writer.longest,
                )
                print(
                    f"| {night + 1:,} | {rows.total():,} | {sizes(server)} | "
                    f"{' | '.join(f'{figure:.2f}' for figure in figures)} |",
                    flush=True,
                )
                nights, filling = [], time.perf_counter()
                database.seconds.clear()
                database.deletions.clear()
                reader.longest = writer.longest = 0.0


if __name__ == "__main__":
    main()
