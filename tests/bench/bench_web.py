#!/usr/bin/env python3
"""
How long the web pages take, and how much memory, over a large site's database on MariaDB.

    bench_web.py [--part SHARE] [--seconds N] [--rate N]

10 volumes with 500 groups each and three years of thinned history, 1,000,000 directories with two
types and three ages each, 5,000,000 files in vaults, 100,000 candidates, 50,000 rows of users a
night; of directories, files and candidates only a share, if one is given. The real server answers
so many requests a second for so many seconds, half of an administrator's and half of a member's of
five groups, each page in turn with another volume, group or path. Times are those of the client.
"""

import argparse
import http.client
import json
import os
import queue
import random
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlencode

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_views import DAYS, LAST, NAMES, NIGHT, USERS, VOLUMES
from servers.mariadb import Mariadb, private_mariadb
from sqlalchemy.engine import Connection

from db.database import Database

MANAGER = Path(__file__).parents[2] / "manager.py"
GROUPS, USERS_EACH, USER_NIGHTS = 500, 10, 30
DIRECTORIES, FILES, CANDIDATES = 1_000_000, 5_000_000, 100_000
CHUNK = 250_000
THREADS = 16
SETTINGS = (
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--innodb-flush-log-at-trx-commit=2",
)
ADMIN, MEMBER = "admin", "jane"

RUNS = (
    "insert into report_run (report, volume_id, record_date, scan_file, scan_time, `lines`, "
    "bad_lines, started, finished, version, token, done, current, row_count, filled, first_id) "
    "select r.report, v.seq, '{day}', '/scans/stats.gz', '{day}', 4000000, 0, '{day}', '{day}', "
    "'1', repeat('t', 32), 1, '{day}' = '{last}', 1, 1, 1 from (select 'reporter' report union "
    "select 'inspector' union select 'users' union select 'puppeteer' union select 'candidates') "
    "r, seq_1_to_{volumes} v"
)
NEWEST = (
    "create temporary table newest (primary key (report, volume_id)) "
    "select report, volume_id, run_id from report_run where current"
)
BASE = "(seq mod {bases} + 1)"
PLACE = "(seq mod {bases}) mod {groups} + 1"
"""A base directory's group; see `NAMES`: one for each group and volume."""
VOLUME = "((seq mod {bases}) div {groups} + 1)"
DIRECTORY = (
    "insert into directory (directory_id, run_id, project_name, directory_path, real_path, "
    "num_files, size, last_modified, last_used, kept_files, holds_vault, lies_above, pi_id, "
    f"group_id, volume_id, base_directory_id) select seq, r.run_id, 'projects/team', "
    "concat('run_', seq), concat('/lustre/scratch/projects/team/run_', seq), seq mod 1000 + 1, "
    f"seq * 7919 mod 1000000007, seq mod 900, seq mod 800, 0, 0, 0, 1, {PLACE}, {VOLUME}, {BASE} "
    f"from seq_{{first}}_to_{{to}} join newest r on r.volume_id = {VOLUME} "
    "and r.report = 'inspector'",
    "insert into file_size (file_size_id, directory_id, filetype_id, files, size) "
    "select s.seq * 200 + t.seq, s.seq, t.seq, 5, s.seq * 7919 mod 1000000007 div 2 "
    "from seq_{first}_to_{to} s, seq_1_to_2 t",
    "insert into directory_age (directory_id, age_class, files, size) "
    "select s.seq, a.days, 5, s.seq * 7919 mod 1000000007 div 3 from seq_{first}_to_{to} s, "
    "(select 0 days union select 90 union select 730) a",
)
SUMS = (
    "insert into filetype (filetype_id, filetype_hash, filetype_name) values "
    "(1, repeat('a', 32), 'BAM'), (2, repeat('b', 32), 'other')",
    "insert into directory_base (run_id, base_directory_id, group_id, volume_id, directories, "
    "num_files, size, last_modified, last_used, kept_files) select run_id, base_directory_id, "
    "group_id, volume_id, count(*), sum(num_files), sum(size), min(last_modified), "
    "min(last_used), sum(kept_files) from directory "
    "group by run_id, base_directory_id, group_id, volume_id",
)
VAULT = (
    "insert into vault (filepath, real_path, path_hash, inode, links, group_id, vault_action_id, "
    "size, volume_id, user_id, run_id, first_seen, last_seen, state_hash) select "
    f"concat('/lustre/scratch', {VOLUME}, '/projects/team', {PLACE}, '/', repeat('x', 60), '/', "
    f"seq), 'real', unhex(sha2(seq, 256)), seq, 1 + (seq mod 3 > 0), {PLACE}, "
    f"if(seq mod 50, 1, 2), 1000, {VOLUME}, seq mod {{users}} + 1, r.run_id, '2026-01-01', "
    "if(seq mod 7, null, '2026-06-01'), unhex(sha2(seq, 256)) "
    f"from seq_{{first}}_to_{{to}} join newest r on r.volume_id = {VOLUME} "
    "and r.report = 'puppeteer'",
)
CANDIDATE = (
    "insert into archive_candidate (run_id, `rank`, class, reason, volume_id, `groups`, pi, size, "
    "cold, files, last_used, path, real_path, cost_per_month) select r.run_id, "
    "seq div {volumes} + 1, elt(seq mod 3 + 1, 'now', 'soon', 'watch'), 'cold', r.volume_id, "
    "concat('team', seq mod {groups} + 1), 'Doe', 3000000000, 2900000000, 100, 900, "
    "concat('/lustre/scratch/projects/team/run_', seq), "
    "concat('/lustre/scratch/projects/team/run_', seq), 1.5 from seq_{first}_to_{to} "
    "join newest r on r.volume_id = seq mod {volumes} + 1 "
    "and r.report = 'candidates'",
    "insert into candidate_group (run_id, `rank`, group_id) select run_id, `rank`, "
    "substr(`groups`, 5) from archive_candidate where `rank` >= {first} div {volumes} + 1",
)


class Request(NamedTuple):
    """A page of a kind, asked for by somebody."""

    kind: str
    user: str
    path: str


class Answer(NamedTuple):
    """What came of a request: when it was due and when it was there, in seconds, and its bytes."""

    asked: Request
    status: int
    seconds: float
    size: int


def fill(connection: Connection, part: float) -> None:
    """A large site's rows."""
    facts = {
        "groups": GROUPS,
        "users": GROUPS * USERS_EACH,
        "volumes": VOLUMES,
        "bases": VOLUMES * GROUPS,
        "each": USERS_EACH,
        "last": LAST,
    }
    for statement in NAMES:
        connection.exec_driver_sql(statement.format(**facts))
    for day in reversed(DAYS):
        for statement in (RUNS, *NIGHT):
            connection.exec_driver_sql(statement.format(day=day, **facts))
    for day in DAYS[USER_NIGHTS::-1]:
        connection.exec_driver_sql(USERS.format(day=day, **facts))
    connection.exec_driver_sql(NEWEST)
    for statements, rows in ((DIRECTORY, DIRECTORIES), (VAULT, FILES), (CANDIDATE, CANDIDATES)):
        count = round(rows * part)
        for first in range(1, count + 1, CHUNK):
            to = min(first + CHUNK - 1, count)
            for statement in statements:
                connection.exec_driver_sql(statement.format(first=first, to=to, **facts))
    for statement in SUMS:
        connection.exec_driver_sql(statement.format(**facts))


def requests(chance: random.Random) -> Iterator[Request]:
    """Pages in turn, for ever."""
    while True:
        for user in (ADMIN, MEMBER):
            groups = range(1, GROUPS + 1) if user == ADMIN else range(1, 6)
            for kind, path in pages(chance, chance.choice(groups)):
                yield Request(kind, user, path)


def pages(chance: random.Random, group: int) -> Iterator[tuple[str, str]]:
    """One page of each kind."""
    number = chance.randint(1, VOLUMES)
    volume = f"scratch{number}"
    base = (number - 1) * GROUPS + group
    place = f"/group/{volume}/{group}"
    under = f"/lustre/{volume}/projects/team{group}/"

    def query(**parameters: object) -> str:
        return "?" + urlencode(parameters)

    yield "overview", "/"
    yield "overview, of words", "/" + query(words=f"team{group} {volume}")
    yield "overview, page 3 by files", "/" + query(sort="-inodes", page=3)
    yield "group", place
    yield "group's history, all", f"/api{place}/history" + query(months="all")
    yield "directories", "/directories"
    yield "directories of a volume", f"/directories/{volume}"
    yield "directories of a project", f"/directories/{volume}/{base}"
    yield (
        "user",
        f"/user/{(group * USERS_EACH + chance.randint(1, USERS_EACH)) % (GROUPS * USERS_EACH) + 1}",
    )
    yield "vault, by path", "/vault" + query(path=under)
    yield "vault, by a wide path", "/vault" + query(path="/lustre/")
    yield "vault, by action", "/vault" + query(action="Archive")
    yield "vault, of a user", "/vault" + query(user=f"user{chance.randint(1, 5000)}")
    yield "vault, of a group, by words", "/vault" + query(group=f"team{group}", path=f"{group}7")
    yield "candidates", "/candidates"
    yield "candidates of words", "/candidates" + query(words=f"team{group}")
    yield "metrics", "/metrics"


def ask(port: int, due: "queue.Queue[tuple[float, Request] | None]", answers: list[Answer]) -> None:
    """Send requests when they are due, on one connection, until there are no more."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    while (next_ := due.get()) is not None:
        at, asked = next_
        time.sleep(max(0, at - time.perf_counter()))
        headers = {"X-Remote-User": asked.user, "Accept-Encoding": "gzip"}
        connection.request("GET", quote(asked.path, safe="/?&=%+"), headers=headers)
        response = connection.getresponse()
        size = len(response.read())
        answers.append(Answer(asked, response.status, time.perf_counter() - at, size))


def load(port: int, rate: float, seconds: float) -> list[Answer]:
    """So many requests a second, whether or not those before are answered."""
    answers: list[Answer] = []
    due: queue.Queue[tuple[float, Request] | None] = queue.Queue()
    clients = [
        threading.Thread(target=ask, args=(port, due, answers), daemon=True) for _ in range(THREADS)
    ]
    start = time.perf_counter() + 0.5
    for number, asked in zip(
        range(round(rate * seconds)), requests(random.Random(1)), strict=False
    ):
        due.put((start + number / rate, asked))
    for client in clients:
        due.put(None)
        client.start()
    for client in clients:
        client.join()
    return answers


def start(folder: Path, server: Mariadb) -> tuple["subprocess.Popen[str]", int]:
    """The real server with a user who may only read, and the port that it listens on."""
    server.execute("create user reader@127.0.0.1 identified by 'reads'")
    server.execute("grant select on lurge.* to reader@127.0.0.1")
    (folder / "wrstat").mkdir()
    (folder / "group").write_text(
        f"admins:x:9000:{ADMIN}\n" + "".join(f"team{gid}:x:{gid}:{MEMBER}\n" for gid in range(1, 6))
    )
    (folder / "passwd").write_text(f"{ADMIN}:x:9000:9000\n{MEMBER}:x:1:1\n")
    (folder / "lurge.toml").write_text(
        f'[database]\nurl = "mysql+pymysql://reader@127.0.0.1:{server.port}/lurge?'
        'ssl_disabled=true"\n[names]\nsource = "files"\ngroup_file = "group"\nuser_file = '
        '"passwd"\n[serve]\nlisten = "127.0.0.1:0"\nauth = "proxy"\nproxies = ["127.0.0.1"]\n'
        'admin_groups = ["admins"]\n'
    )
    process = subprocess.Popen(
        [sys.executable, str(MANAGER), "serve", "--config", str(folder / "lurge.toml")],
        env=os.environ | {"LURGE_DATABASE_PASSWORD": "reads"},
        stdout=subprocess.PIPE,
        stderr=(folder / "log").open("w"),
        text=True,
    )
    assert process.stdout
    found = re.search(r":(\d+)/", process.stdout.readline())
    if found is None:
        sys.exit((folder / "log").read_text())
    return process, int(found[1])


def memory(process: "subprocess.Popen[str]") -> str:
    """The most that a process has had."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s*(\d+)", status)
    return f"{int(found[1]) / 1024:,.0f} MB" if found else "?"


def show(answers: list[Answer]) -> None:
    """A line for each kind of page and for all."""
    print("| page | requests | median | 95 % below | slowest | largest | not 200 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    kinds = list(dict.fromkeys(answer.asked.kind for answer in answers))
    for kind in [*sorted(kinds), "all"]:
        some = [each for each in answers if kind in (each.asked.kind, "all")]
        taken = sorted(each.seconds * 1000 for each in some)
        bad = sum(each.status != 200 for each in some)
        print(
            f"| {kind} | {len(some):,} | {statistics.median(taken):.0f} ms | "
            f"{taken[int(len(taken) * 0.95)]:.0f} ms | {taken[-1]:.0f} ms | "
            f"{max(each.size for each in some) / 1000:,.0f} kB | {bad} |",
            flush=True,
        )


def main() -> None:
    """Fill, ask, tell."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--part", type=float, default=1.0)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--rate", type=float, default=10)
    options = parser.parse_args()
    with private_mariadb(*SETTINGS) as server, tempfile.TemporaryDirectory() as folder:
        server.execute("create database lurge")
        database = Database(server.url("lurge"))
        database.init()
        database.close()
        with server.administrator() as connection:
            connection.exec_driver_sql("use lurge")
            fill(connection, options.part)
        tables = "show full tables in lurge where table_type = 'BASE TABLE'"
        for name, _ in server.execute(tables):
            server.execute(f"analyze table lurge.`{name}`")
        process, port = start(Path(folder), server)
        print(f"warm-up: {json.dumps({'port': port, 'database': server.port})}", flush=True)
        load(port, options.rate, min(30, options.seconds))
        show(load(port, options.rate, options.seconds))
        print(f"\nmemory of the server at most: {memory(process)}")
        process.terminate()
        process.wait()
        print(f"it stopped with status {process.returncode}")


if __name__ == "__main__":
    main()
