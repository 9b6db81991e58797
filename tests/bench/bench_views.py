#!/usr/bin/env python3
"""
How long the questions of older dashboards take, with three years of thinned history on MariaDB.

    bench_views.py [GROUPS]

10 volumes with 500 groups each, if no other number is given; a base directory for each group and
volume; 100 times as many rows of users as groups each night, of 30 nights; 200,000 files in vaults.
"""

import statistics
import sys
import time
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers.mariadb import private_mariadb
from sqlalchemy.engine import Connection

from db import views
from db.database import Database
from db.views import Generation

VOLUMES, USERS_EACH, USER_NIGHTS, FILES = 10, 10, 30, 200_000
LAST = date(2026, 11, 28)
DAYS = [LAST - timedelta(days=back) for back in (*range(400), *range(406, 1096, 7))]
ROUNDS = 5
SETTINGS = (
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=256M",
    "--innodb-flush-log-at-trx-commit=2",
)

NAMES = (
    "insert into pi values (1, repeat('a', 32), 'Doe')",
    "insert into unix_group select seq, seq, concat('team', seq), 1, null from seq_1_to_{groups}",
    "insert into user select seq, seq, concat('user', seq), null from seq_1_to_{users}",
    "insert into volume (volume_id, scratch_disk) "
    "select seq, concat('scratch', seq) from seq_1_to_{volumes}",
    "insert into base_directory select (v.seq - 1) * {groups} + g.seq, "
    "concat('/lustre/scratch', v.seq, '/projects/team', g.seq), 'real', "
    "unhex(sha2(concat(v.seq, ' ', g.seq), 256)), v.seq "
    "from seq_1_to_{volumes} v, seq_1_to_{groups} g",
)
NIGHT = (
    "insert into lustre_usage (record_date, volume_id, unix_id, pi_id, used, quota, inodes, "
    "archived, suspect, warning_id) select '{day}', v.seq, g.seq, 1, g.seq * 1000000000, "
    "g.seq * 2000000000, 5, 0, 0, 1 from seq_1_to_{volumes} v, seq_1_to_{groups} g",
    "insert into base_directory_usage (record_date, unix_id, base_directory_id, volume_id, pi_id, "
    "used, inodes) select '{day}', g.seq, (v.seq - 1) * {groups} + g.seq, v.seq, 1, "
    "g.seq * 1000000000, 5 from seq_1_to_{volumes} v, seq_1_to_{groups} g",
)
USERS = (
    "insert into user_usage (record_date, user_id, group_id, volume_id, size, inodes) "
    "select '{day}', (g.seq * {each} + u.seq) mod {users} + 1, g.seq, v.seq, 1000, 1 "
    "from seq_1_to_{volumes} v, seq_1_to_{groups} g, seq_1_to_{each} u"
)
VAULT = (
    "insert into vault (filepath, real_path, path_hash, inode, links, group_id, vault_action_id, "
    "size, volume_id, user_id, run_id, first_seen, last_seen, state_hash) "
    "select concat('/lustre/projects/team', seq mod {groups}, '/', repeat('x', 80), seq), 'real', "
    "unhex(sha2(seq, 256)), seq, 1, seq mod {groups} + 1, 1, 1000, seq mod {volumes} + 1, "
    "seq mod {users} + 1, 1, '2026-01-01', if(seq mod 4, '2026-06-01', null), "
    "unhex(sha2(seq, 256)) from seq_1_to_{files}"
)
DATES = (
    "replace into newest_date select r.report, v.seq - 1, '{last}', '{last}' - interval 245 day "
    "from (select 'reporter' report union select 'inspector' union select 'users' "
    "union select 'puppeteer') r, seq_1_to_{more} v"
)
NEWEST22 = "select max(record_date), volume_id from lustre_usage group by volume_id"
QUESTIONS = {
    ("weaver22", "newest date of each volume, with names"): (
        "select used, quota, group_name, pi_name, scratch_disk from lustre_usage "
        "join volume using (volume_id) join unix_group on unix_id = group_id "
        f"left join pi using (pi_id) where (record_date, volume_id) in ({NEWEST22})"
    ),
    ("weaver22", "history of three groups on a volume, 8 months"): (
        "select used, quota, record_date from lustre_usage where (unix_id, volume_id, pi_id) in "
        "((1, 1, 1), (2, 1, 1), (3, 1, 1)) and record_date > '2026-11-28' - interval 8 month"
    ),
    ("weaver23", "newest date of each volume, with names"): (
        "select used, quota, group_name, directory_path from lustre_usage "
        "join base_directory using (base_directory_id) join unix_group on unix_id = group_id "
        "where (record_date, volume_id) in (select max(record_date), volume_id "
        "from lustre_usage join base_directory using (base_directory_id) group by volume_id)"
    ),
    ("weaver23", "history of three groups in base directories, 8 months"): (
        "select used, quota, record_date from lustre_usage where (unix_id, base_directory_id) in "
        "((1, 1), (2, 2), (3, 3)) and record_date > '2026-11-28' - interval 8 month"
    ),
    ("weaver23", "users of the newest date, all volumes"): (
        "select user_name, group_name, scratch_disk, size from user_usage "
        "join user using (user_id) join unix_group using (group_id) join volume using (volume_id) "
        "where record_date in (select max(record_date) from user_usage)"
    ),
    ("weaver23", "vault of a user"): (
        "select filepath, record_date from vault join user using (user_id) "
        "where user_name = 'user7'"
    ),
    ("weaver23", "vault of a group on a volume, newest date"): (
        "select filepath, size from vault where record_date in "
        "(select max(record_date) from vault) and volume_id = 1 and group_id = 1"
    ),
    ("weaver23", "vault by a part of the path"): (
        "select filepath, record_date from vault join volume using (volume_id) "
        "where filepath like '%/team17/%'"
    ),
}


def fill(connection: Connection, groups: int) -> None:
    """Three years of nights, thinned as `[database.keep]` is by default."""
    facts = {
        "groups": groups,
        "users": groups * USERS_EACH,
        "volumes": VOLUMES,
        "each": USERS_EACH,
        "files": FILES,
        "last": LAST,
        "more": VOLUMES + 1,
    }
    for statement in (*NAMES, VAULT, DATES):
        connection.exec_driver_sql(statement.format(**facts))
    for day in reversed(DAYS):
        for statement in NIGHT:
            connection.exec_driver_sql(statement.format(day=day, **facts))
    for day in DAYS[USER_NIGHTS::-1]:
        connection.exec_driver_sql(USERS.format(day=day, **facts))


def main() -> None:
    """Measure all."""
    groups = int(sys.argv[1]) if len(sys.argv) > 1 else 500
    with private_mariadb(*SETTINGS) as server:
        server.execute("create database lurge")
        database = Database(server.url("lurge"))
        database.init()
        database.transaction(lambda connection: fill(connection, groups))
        for generation in get_args(Generation):
            make = partial(views.make, generation=generation, database=generation)
            database.transaction(make)
        server.execute("analyze table lurge.lustre_usage, lurge.base_directory_usage, lurge.vault")
        print(f"{len(DAYS) * VOLUMES * groups:,} rows of groups\n")
        print("| views | question | rows | median | slowest |\n| --- | --- | --- | --- | --- |")
        for (generation, words), question in QUESTIONS.items():
            server_side = question.replace("'%", "'%%").replace("%'", "%%'")
            taken, rows = [], 0
            with server.administrator() as connection:
                connection.exec_driver_sql(f"use {generation}")
                for _ in range(ROUNDS):
                    start = time.perf_counter()
                    rows = len(connection.exec_driver_sql(server_side).all())
                    taken.append(time.perf_counter() - start)
            median, most = statistics.median(taken), max(taken)
            line = f"| {generation} | {words} | {rows:,} | {median:.2f} s | {most:.2f} s |"
            print(line, flush=True)
        database.close()


if __name__ == "__main__":
    main()
