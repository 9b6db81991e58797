#!/usr/bin/env python3
"""
How long an import takes, and how much memory: into MariaDB, from either generation.

    bench_import.py [PART]

2,000,000 rows of what groups used, as many of users, and of 50,000 files in vaults 20,000,000 daily
copies, on 10 volumes; with PART, so much of the days: 0.1 is a tenth. Each import is then killed in
its middle by SIGKILL and started again on an empty database; all that is stored has to be the same.
"""

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

sys.path.insert(0, str(Path(__file__).parent.parent))

from servers.ancestors import Generation, OldDatabase, old_database
from servers.mariadb import Mariadb, private_mariadb

from db.database import Database

MANAGER = Path(__file__).parents[2] / "manager.py"
VOLUMES, GROUPS, FILES_DAYS = 10, 500, 400
USAGE_ROWS, FILES = 2_000_000, 50_000
SETTINGS = (
    "--innodb-buffer-pool-size=1G",
    "--innodb-log-file-size=512M",
    "--innodb-flush-log-at-trx-commit=1",
    "--max-allowed-packet=16M",
)
STORED = (
    "select report, volume_id, record_date, imported_from from report_run order by 1, 2, 3",
    "select record_date, volume_id, unix_id, used, quota from lustre_usage order by 1, 2, 3",
    "select base_directory_id, record_date, unix_id, used from base_directory_usage "
    "order by 1, 2, 3",
    "select record_date, volume_id, user_id, group_id, size from user_usage order by 1, 2, 3, 4",
    "select filepath, group_id, user_id, vault_action_id, size, first_seen, last_seen from vault "
    "order by 1, 6",
)


def fill(old: OldDatabase, days: int, vault_days: int) -> None:
    """Names and rows; a file of a vault changes every hundredth day, and one of nine goes."""
    old.execute("delete from volume")
    old.execute(f"insert into volume select seq, concat('scratch', seq) from seq_1_to_{VOLUMES}")
    called = "seq + 100, concat('team', seq)" + (", 1" * old.has("unix_group", "is_humgen"))
    old.execute(f"insert into unix_group select {called} from seq_1_to_{GROUPS}")
    old.execute(f"insert into user select seq + 100, concat('u', seq) from seq_1_to_{GROUPS}")
    place = "v.seq"
    if not old.has("lustre_usage", "volume_id"):
        place = f"v.seq * {GROUPS} + g.seq"
        old.execute(
            f"insert into base_directory select {place}, concat('/lustre/', v.seq, '/', g.seq), "
            f"v.seq from seq_1_to_{VOLUMES} v, seq_1_to_{GROUPS} g"
        )
    column = "volume_id" if place == "v.seq" else "base_directory_id"
    for day in range(days):
        date = f"'2021-01-01' + interval {day} day"
        each = f"from seq_1_to_{VOLUMES} v, seq_1_to_{GROUPS} g"
        old.execute(
            f"insert into lustre_usage (record_date, unix_id, {column}, used, quota, pi_id, "
            f"last_modified, warning_id) select {date}, g.seq + 100, {place}, "
            f"g.seq * {10**9} + {day}, {10**13}, 5, 3, 1 {each}"
        )
        old.execute(
            "insert into user_usage (record_date, user_id, group_id, volume_id, size, "
            f"last_modified) select {date}, g.seq + 100, g.seq + 100, v.seq, g.seq * {10**9}, "
            f"{date} {each}"
        )
    for day in range(vault_days):
        old.execute(
            "insert into vault (record_date, filepath, group_id, vault_action_id, size, user_id, "
            f"last_modified, volume_id) select '2021-01-01' + interval {day} day, "
            "concat('/lustre/projects/', repeat('x', 60), '/', seq), seq mod 500 + 101, 1, "
            f"seq + ({day} + seq) div 100, seq mod 500 + 101, '2020-01-01', "
            f"seq mod {VOLUMES} + 1 from seq_1_to_{FILES} "
            f"where not (seq mod 9 = 0 and {day} > seq mod 97)"
        )


def import_(folder: Path, server: Mariadb, old: OldDatabase, name: str) -> subprocess.Popen[str]:
    """Start an import into a database."""
    (folder / "wrstat").mkdir(exist_ok=True)
    config = folder / f"{name}.toml"
    config.write_text(f'wrstat_dir = "wrstat"\n[database]\nurl = "{server.url(name)}"\n')
    return subprocess.Popen(
        [sys.executable, str(MANAGER), "init", "--config", str(config), "--import", old.url],
        env=os.environ | {"LURGE_IMPORT_PASSWORD": old.password},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def peak(process: "subprocess.Popen[str]", peaks: dict[str, int]) -> bool:
    """Note the most memory that a process has had, in kB; whether it still runs."""
    try:
        status = Path(f"/proc/{process.pid}/status").read_text()
    except FileNotFoundError:
        return False
    lines: Mapping[str, str] = dict(line.split(":", 1) for line in status.splitlines())
    if "VmHWM" in lines:
        peaks["kB"] = int(lines["VmHWM"].split()[0])
    return process.poll() is None


def digest(server: Mariadb, name: str) -> str:
    """Of all rows that an import has stored, ids and times left out."""
    summed = hashlib.sha256()
    with server.administrator() as connection:
        connection.exec_driver_sql(f"use {name}")
        for select in STORED:
            streamed = connection.execution_options(stream_results=True)
            for row in streamed.exec_driver_sql(select):
                summed.update(repr(tuple(row)).encode())
    return summed.hexdigest()


def measure(server: Mariadb, generation: Generation, part: float) -> None:
    """Import once to the end, and once more with a kill in the middle."""
    days = round(part * USAGE_ROWS / VOLUMES / GROUPS)
    with (
        old_database(server, generation) as old,
        tempfile.TemporaryDirectory() as folder,
    ):
        fill(old, days, round(part * FILES_DAYS))
        [[uses]] = old.execute("select count(*) from lustre_usage")
        [[copies]] = old.execute("select count(*) from vault")
        digests, seconds, peaks = [], 0.0, {"kB": 0}
        for name in ("whole", "killed"):
            kills = name == "killed"
            server.execute(f"create database {name}")
            Database(server.url(name)).init()
            start = time.perf_counter()
            process = import_(Path(folder), server, old, name)
            while peak(process, peaks):
                time.sleep(0.2)
                if kills and time.perf_counter() - start > seconds / 2:
                    process.send_signal(signal.SIGKILL)
                    process.communicate()
                    process, kills = import_(Path(folder), server, old, name), False
            told = process.communicate()[0]
            seconds = seconds or time.perf_counter() - start
            if process.returncode or "DIFFER" in told:
                sys.exit(f"the import failed:\n{told}")
            digests.append(digest(server, name))
            server.execute(f"drop database {name}")
        same = "the same" if digests[0] == digests[1] else "DIFFERENT"
        print(
            f"| {generation} | {uses:,} | {copies:,} | {seconds:,.0f} s | "
            f"{peaks['kB'] / 1024:,.0f} MB | {same} |",
            flush=True,
        )


def main() -> None:
    """Measure both generations."""
    part = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print("| generation | rows of groups | copies | import | memory | after a kill |")
    print("| --- | --- | --- | --- | --- | --- |", flush=True)
    with private_mariadb(*SETTINGS) as server:
        for generation in get_args(Generation):
            measure(server, generation, part)


if __name__ == "__main__":
    main()
