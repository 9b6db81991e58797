"""Whatever happens to a run in its middle, nothing is half there and the next run completes it."""

import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pytest
from servers.mariadb import Mariadb
from site_of_tests import TODAY, Site, entries, text, wait_for

from db import runs, usage
from db.database import Database
from lurge_types.config import DatabaseTable
from utils.config import password

PRIVATE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
"""Starts a command that may mount what nobody else sees."""


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    """A site whose database has its tables, once of each kind."""
    return Site(tmp_path, database=table.url, password_file=table.password_file)


HEADER = "group,volume,limit_bytes,limit_inodes\n"
GROUPS = 4000
"""So many that writing them takes long enough to be hit in its middle."""


def stored(site: Site, day: date = TODAY) -> tuple[bool, int]:
    """(whether the run is recorded as whole, its rows) in the database."""
    table = DatabaseTable(url=site.database, password_file=site.password_file)
    database = Database(table.url, password=password(table))
    try:
        return database.transaction(
            lambda connection: (
                runs.find(connection, "reporter", "s1", day) is not None,
                len(usage.read(connection, "s1", day)),
            )
        )
    finally:
        database.close()


def parts(site: Site) -> list[Path]:
    """What is being prepared."""
    return list(site.reports.glob("reporter/*/.*"))


BEGINNING, PREPARING, PUBLISHED = "beginning", "TSV being prepared", "TSV in place"


@pytest.mark.parametrize("moment", [BEGINNING, PREPARING, PUBLISHED])
def test_a_killed_run_leaves_all_or_nothing_and_the_next_completes_it(
    site: Site, moment: str
) -> None:
    chance = random.Random(moment)
    scan = text(entries(20_000, groups=GROUPS))
    contents = set()
    for number in range(6):
        day = TODAY - timedelta(days=number)
        site.add_scan(scan, day=day)
        tsv = site.tsv(day=day)
        looks: dict[str, Callable[[], object]] = {
            BEGINNING: lambda: True,
            PREPARING: lambda: parts(site),
            PUBLISHED: tsv.exists,
        }
        process = site.start("reporter", "--date", day.isoformat())
        wait_for(looks[moment], process)
        time.sleep(chance.random() * (1.5 if moment == BEGINNING else 0.1))
        process.kill()
        process.communicate()

        whole, rows = stored(site, day)
        assert rows == (GROUPS if whole else 0)
        if tsv.exists():
            assert whole, "a TSV is there only when its rows are"
            contents.add(without_ages(tsv))
        (outcome,) = site.outcomes("reporter", "--date", day.isoformat())
        assert outcome["status"] == ("already" if whole else "written")
        assert stored(site, day) == (True, GROUPS)
        contents.add(without_ages(tsv))
        assert parts(site) == []
    assert len(contents) == 1


def test_a_killed_replacement_leaves_the_old_rows_or_the_new(site: Site) -> None:
    chance = random.Random(1)
    site.add_scan(entries(20_000, groups=GROUPS))
    site.outcomes("reporter")
    old = site.tsv().read_bytes()
    for _ in range(5):
        process = site.start("reporter", "--force")
        wait_for(lambda: parts(site), process)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate()
        assert stored(site) == (True, GROUPS)
        assert not site.tsv().exists() or site.tsv().read_bytes() == old
    (outcome,) = site.outcomes("reporter", "--force")
    assert outcome["status"] == "written"
    assert parts(site) == []


def test_a_tsv_that_is_there_agrees_with_its_rows_whenever_a_replacement_is_killed(
    site: Site,
) -> None:
    chance = random.Random(2)
    quotas = site.folder / "quotas.csv"
    site.config = '[quotas]\nsource = "csv"\ncsv_file = "quotas.csv"'
    quotas.write_text(f"{HEADER}gid:3000,s1,1000,1\n")
    site.add_scan(entries(20_000, groups=GROUPS))
    site.outcomes("reporter")
    for number in range(5):
        quotas.write_text(f"{HEADER}gid:3000,s1,{number + 2000},1\n")
        process = site.start("reporter", "--force")
        wait_for(lambda: parts(site), process)
        time.sleep(chance.random() * 0.3)
        process.kill()
        process.communicate()
        (outcome,) = site.outcomes("reporter")
        assert outcome["status"] == "already"
        before = site.tsv().read_bytes()
        site.tsv().unlink()
        site.outcomes("reporter")
        assert site.tsv().read_bytes() == before, "as the database has it"


def without_ages(tsv: Path) -> bytes:
    """A TSV's columns that do not depend on the scan time."""
    lines = tsv.read_bytes().splitlines()
    return b"\n".join(b"\t".join(line.split(b"\t")[:9]) for line in lines)


def test_two_runs_at_once_neither_duplicate_nor_hinder_each_other(site: Site) -> None:
    site.add_scan(entries(20_000, groups=GROUPS))
    both = [site.start("reporter", "--json") for _ in range(2)]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(each["status"] for each in said) == ["already", "written"]
    assert stored(site) == (True, GROUPS)
    assert site.tsv().read_bytes().count(b"\n") == GROUPS + 1


def test_two_that_replace_at_once_both_succeed(site: Site) -> None:
    site.add_scan(entries(20_000, groups=GROUPS))
    site.outcomes("reporter")
    both = [site.start("reporter", "--force", "--json") for _ in range(2)]
    said = [json.loads(process.communicate(timeout=60)[0]) for process in both]
    assert [each["status"] for each in said] == ["written", "written"]
    assert stored(site) == (True, GROUPS)


def stopped_while_reading(site: Site, scan: Path) -> "subprocess.Popen[str]":
    """A run that has begun to read its scan, and is stopped there."""
    process = site.start_reading(scan, "reporter", "--json")
    process.send_signal(signal.SIGSTOP)
    return process


def test_a_scan_that_is_replaced_while_it_is_read_stands_as_it_was_opened(site: Site) -> None:
    site.config = "[pass]\nthreads = 1"
    scan = site.add_scan(text(entries(20_000)) * 40)
    process = stopped_while_reading(site, scan)
    other = scan.with_name("other")
    other.write_bytes(b"no scan at all")
    other.replace(scan)
    process.send_signal(signal.SIGCONT)
    said = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 0
    assert (said["status"], said["run"]["lines"]) == ("written", 800_000)


def test_a_scan_that_is_changed_in_place_while_it_is_read_fails_its_volume(site: Site) -> None:
    site.config = "[pass]\nthreads = 1"
    scan = site.add_scan(text(entries(20_000)) * 40)
    process = stopped_while_reading(site, scan)
    with scan.open("ab") as file:
        file.write(b"more")
    process.send_signal(signal.SIGCONT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(scan) in json.loads(output)["reason"]
    assert stored(site) == (False, 0)
    assert not site.tsv().exists()


def on_a_small_disk(site: Site, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `manager.py` where a folder is on a filesystem of 64 KiB, of its own."""
    folder.mkdir(exist_ok=True)
    script = 'mount -t tmpfs -o size=64k none "$1" && shift && exec "$@"'
    command = [*PRIVATE, "sh", "-c", script, "sh", str(folder), *site.command(*arguments)]
    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | site.env,
    )


def test_a_full_disk_under_the_tsv_leaves_no_row_and_no_file(site: Site) -> None:
    site.add_scan(entries(20_000, groups=GROUPS))
    done = on_a_small_disk(site, site.reports, "reporter")
    assert done.returncode == 1
    assert "s1.tsv cannot be written: No space left on device" in done.stderr
    assert stored(site) == (False, 0)
    assert site.outcomes("reporter")[0]["status"] == "written"


@pytest.mark.parametrize("place", ["mariadb"], indirect=True)
def test_a_server_that_goes_away_for_a_while_is_waited_for(site: Site, mariadb: Mariadb) -> None:
    site.retry_seconds = 30
    site.add_scan(entries(20_000, groups=GROUPS))
    process = site.start("reporter", "--json")
    wait_for(lambda: parts(site), process)
    mariadb.kill()
    time.sleep(1)
    mariadb.start()
    output, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert json.loads(output)["status"] == "written"
    assert "event=waiting" in log
    assert stored(site) == (True, GROUPS)


@pytest.mark.parametrize("place", ["mariadb"], indirect=True)
def test_a_server_that_stays_away_fails_the_volume_and_the_next_run_completes_it(
    site: Site, mariadb: Mariadb
) -> None:
    site.add_scan(entries(20_000, groups=GROUPS))
    process = site.start("reporter", "--json")
    wait_for(lambda: parts(site), process)
    mariadb.kill()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    said = [json.loads(line) for line in output.splitlines()]
    assert [(each["report"], each["volume"]) for each in said] == [
        ("reporter", "s1"),
        ("reporter", "-"),
        ("upkeep", "-"),
    ]
    for each in said:
        assert each["status"] == "failed"
        assert "see that it is there and run again" in each["reason"]
    assert parts(site) == []
    assert not site.tsv().exists()
    mariadb.start()
    assert site.outcomes("reporter")[0]["status"] == "written"
    assert stored(site) == (True, GROUPS)


def test_a_full_disk_under_sqlite_leaves_no_row_and_no_file(tmp_path: Path) -> None:
    site = Site(tmp_path, database="sqlite:///small/lurge.db")
    site.add_scan(entries(20_000, groups=GROUPS))
    done = on_a_small_disk(site, tmp_path / "small", "reporter")
    assert done.returncode in (1, 3)
    assert "is full" in done.stderr
    assert not site.tsv().exists()
    assert parts(site) == []
