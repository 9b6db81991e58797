"""The user reporter: what each user has in each group, with all volumes of a date in one TSV."""

import os
import signal
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import date, time, timedelta
from pathlib import Path

import pytest
from servers import nights
from site_of_tests import TODAY, Site, entries, entry, text, wait_for

from db import user_usage
from db.database import Database
from lurge.users import UserReporter
from lurge_types.config import DatabaseTable
from lurge_types.reports import UserUse
from lurge_types.scans import Volume
from utils.names import SystemNames
from utils.tsv import TsvFailed

TODAY_LATER = time(5)
ROOTS = ("/lustre/s1", "/lustre/s2")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "group").write_text("team:x:7:\nlab:x:8:\n", "utf-8")
    (tmp_path / "passwd").write_text("ann:x:1:7:::\nbob:x:2:7:::\n", "utf-8")
    names = '[names]\nsource = "files"\ngroup_file = "group"\nuser_file = "passwd"'
    site = Site(tmp_path, names)
    first, second = ROOTS
    site.add_scan(
        [
            entry(first, type="d", size=4, uid=1, gid=7),
            entry(f"{first}/a", size=10, uid=1, gid=7, mtime=86_400 * 3),
            entry(f"{first}/b", size=20, uid=2, gid=7, mtime=0),
            entry(f"{first}/c", size=30, uid=1, gid=99),
        ],
        first,
    )
    site.add_scan([entry(f"{second}/a", size=100, uid=1, gid=7, mtime=86_400)], second)
    return site


def rows(site: Site, day: str = str(TODAY)) -> list[list[str]]:
    text = (site.reports / "users" / f"{day}.tsv").read_text("utf-8")
    return [line.split("\t") for line in text.splitlines()]


def test_all_volumes_stand_beside_each_other(site: Site) -> None:
    done = site.outcomes("users")
    assert [(each["volume"], each["status"], each["rows"]) for each in done] == [
        ("s1", "written", 3),
        ("s2", "written", 1),
    ]
    assert rows(site) == [
        ["user", "uid", "group", "gid", "data", "s1", "s2"],
        ["ann", "1", "gid:99", "99", "inodes", "1", "-"],
        ["ann", "1", "gid:99", "99", "last_modified", "1970-01-01", "-"],
        ["ann", "1", "gid:99", "99", "size_bytes", "30", "-"],
        ["ann", "1", "team", "7", "inodes", "2", "1"],
        ["ann", "1", "team", "7", "last_modified", "1970-01-04", "1970-01-02"],
        ["ann", "1", "team", "7", "size_bytes", "14", "100"],
        ["bob", "2", "team", "7", "inodes", "1", "-"],
        ["bob", "2", "team", "7", "last_modified", "-", "-"],
        ["bob", "2", "team", "7", "size_bytes", "20", "-"],
    ]
    assert (site.reports / "users" / "latest" / "users.tsv").resolve().name == f"{TODAY}.tsv"


def test_a_volume_that_comes_later_gets_its_column(site: Site) -> None:
    site.outcomes("users", "--volume", "s2")
    assert rows(site)[0][5:] == ["s2"]
    site.outcomes("users", "--volume", "s1")
    assert rows(site)[0][5:] == ["s1", "s2"]


def test_a_file_without_a_recorded_volume_is_written_again(site: Site) -> None:
    site.outcomes("users")
    before = rows(site)
    (site.reports / "users" / f"{TODAY}.tsv").write_text(
        "user\tuid\tgroup\tgid\tdata\ts1\n", "utf-8"
    )
    done = site.outcomes("users")
    assert {each["status"] for each in done} == {"already"}
    assert any("written from the database" in remark for remark in done[0]["remarks"])
    assert rows(site) == before


def thin_out(site: Site, volume: str, day: date = TODAY) -> None:
    """Take a day of a volume away, as it is when the day has got old."""
    with closing(sqlite3.connect(site.folder / "lurge.db")) as database, database:
        here = f"(select volume_id from volume where scratch_disk = '{volume}')"
        for table in ("user_usage", "report_run"):
            gone = f"delete from {table} where volume_id = {here} and record_date = '{day}'"
            database.execute(gone)


def test_a_file_with_a_volume_that_was_thinned_out_since_stays(site: Site) -> None:
    site.outcomes("users")
    before = rows(site)
    thin_out(site, "s2")
    done = site.outcomes("users", "--volume", "s1")
    assert [(each["status"], each["remarks"]) for each in done] == [
        ("already", ["no [[volume]] is configured: this one was found by its scan"])
    ]
    assert rows(site) == before


def test_a_file_is_not_written_again_without_a_volume_that_it_has(site: Site) -> None:
    site.outcomes("users")
    thin_out(site, "s1")
    file = site.reports / "users" / f"{TODAY}.tsv"
    file.write_text("user\tuid\tgroup\tgid\tdata\ts1\n", "utf-8")
    [done] = site.outcomes("users", "--volume", "s2")
    assert done["status"] == "failed"
    assert "it has s1, of which this day is no longer in the database" in done["reason"]
    assert columns(site) == ["s1"]
    file.unlink()
    [done] = site.outcomes("users", "--volume", "s2")
    assert (done["status"], columns(site)) == ("already", ["s2"])


def test_a_file_that_is_none_of_this_kind_is_written_again(site: Site) -> None:
    site.outcomes("users")
    before = rows(site)
    (site.reports / "users" / f"{TODAY}.tsv").write_text("a\tb\tc\td\te\ts1\ts2\ts3\n", "utf-8")
    assert {each["status"] for each in site.outcomes("users")} == {"already"}
    assert rows(site) == before


@pytest.mark.parametrize("recorded", [(), ("scratch2",)])
def test_no_file_is_written_of_a_run_that_is_gone(
    tmp_path: Path, database: Database, recorded: Sequence[str]
) -> None:
    for name in recorded:
        user_usage.store(
            database,
            nights.run(volume=Volume(name), report="users"),
            Volume(name),
            [UserUse(1, 1, 10, 1, None)],
            {1: nights.user(1)},
            {1: nights.group(1)},
            withdraw=lambda: None,
            replace=False,
        )
    reporter = UserReporter(tmp_path, database, SystemNames())
    run = nights.run(report="users")
    with pytest.raises(TsvFailed, match="thinned out meanwhile: run again"):
        reporter.restore(run, None)
    assert not reporter.tsv(run).exists()


def test_what_is_recorded_is_shown_by_its_largest_rows(site: Site) -> None:
    site.outcomes("users")
    shown = site.run("users").stdout
    assert "Largest users" in shown
    assert "recorded already" in shown


def test_a_volume_is_replaced_in_the_file_too(site: Site) -> None:
    site.outcomes("users")
    other = [entry("/lustre/s2/new", size=5, uid=2, gid=8)]
    site.add_scan(other, ROOTS[1], at=TODAY_LATER)
    done = site.outcomes("users", "--volume", "s2", "--force")
    assert done[0]["status"] == "written"
    assert [row[6] for row in rows(site) if row[:3] == ["ann", "1", "team"]] == ["-"] * 3
    assert next(row[6] for row in rows(site) if row[:3] == ["bob", "2", "lab"]) == "1"


def test_pseudo_groups_do_not_count(site: Site) -> None:
    site.config += '\n[pseudo_groups."/lustre/s1"]\nname = "common"\ngid = 5000\n'
    done = site.outcomes("reporter", "users")
    assert {each["status"] for each in done} == {"written"}
    assert {row[2] for row in rows(site)[1:]} == {"gid:99", "team"}
    reporter = (site.reports / "reporter" / str(TODAY) / "s1.tsv").read_text("utf-8")
    assert [line.split("\t")[1] for line in reporter.splitlines()[1:]] == ["common"]


def test_files_that_are_too_old_are_removed(site: Site) -> None:
    site.outcomes("users")
    old = TODAY - timedelta(days=401)
    file = site.reports / "users" / f"{old}.tsv"
    file.touch()
    site.outcomes("users")
    assert not file.exists()
    assert rows(site)


def columns(site: Site, day: date = TODAY) -> list[str]:
    """The volumes in the TSV of a date."""
    return rows(site, str(day))[0][5:]


def test_a_volume_that_fails_leaves_the_columns_of_the_others(site: Site) -> None:
    site.add_scan(b"no scan\n", "/lustre/s3")
    assert [each["status"] for each in site.outcomes("users")] == ["written", "written", "failed"]
    assert columns(site) == ["s1", "s2"]
    before = rows(site)
    site.add_scan(b"no scan\n", ROOTS[1], at=TODAY_LATER)
    done = site.outcomes("users", "--force", "--volume", "s2")
    assert [each["status"] for each in done] == ["failed"]
    assert rows(site) == before


def test_volumes_in_any_order_give_the_same(tmp_path: Path) -> None:
    site = Site(tmp_path)
    orders = [["s1", "s2", "s3"]], [["s2"], ["s3"], ["s1"]], [["s3"], ["s1", "s2"]]
    contents = set()
    for number, order in enumerate(orders):
        day = TODAY - timedelta(days=number)
        for name in ("s1", "s2", "s3"):
            site.add_scan(
                entries(400, groups=int(name[1]) * 3, mount=f"/lustre/{name}"),
                f"/lustre/{name}",
                day,
            )
        for names in order:
            volumes = [part for name in names for part in ("--volume", name)]
            assert site.run("users", "--date", str(day), *volumes).returncode == 0
        contents.add((site.reports / "users" / f"{day}.tsv").read_bytes())
    assert len(contents) == 1


# Several runs at once.


@pytest.fixture
def shared(tmp_path: Path, table: DatabaseTable) -> Site:
    """A site whose database has its tables, once of each kind."""
    return Site(tmp_path, database=table.url, password_file=table.password_file, retry_seconds=30)


def of_pipes(site: Site, names: Sequence[str], day: date, count: int) -> list[str]:
    """
    Let a process for each volume get ready, and give them their scans at one moment.

    What they said.
    """
    pipes = {name: site.folder / f"{day}-{name}" for name in names}
    processes = []
    for name, pipe in pipes.items():
        os.mkfifo(pipe)
        volume = ("--volume", name, "--date", str(day), "--scan", pipe)
        processes.append(site.start("users", "--json", *volume))
    with ExitStack() as stack:
        files = [stack.enter_context(pipe.open("wb")) for pipe in pipes.values()]
        for name, file in zip(names, files, strict=True):
            file.write(text(entries(count, groups=count // 4, mount=f"/lustre/{name}")))
    return [process.communicate(timeout=60)[0] for process in processes]


def test_runs_of_several_volumes_at_once_end_with_all_columns(shared: Site) -> None:
    names = ["s1", "s2"]
    for number, count in enumerate((40, 4000)):
        day = TODAY - timedelta(days=number)
        said = of_pipes(shared, names, day, count)
        assert all('"status": "written"' in each for each in said), said
        assert columns(shared, day) == names
        inodes = [row[5:] for row in rows(shared, str(day)) if row[4] == "inodes"]
        assert [sum(map(int, column)) for column in zip(*inodes, strict=True)] == [count, count]
    assert not list(shared.reports.rglob(".*"))


def held_while_it_writes(site: Site, *arguments: str) -> subprocess.Popen[str]:
    """Start a run, and stop it as soon as it prepares a TSV."""
    process = site.start("users", *arguments)
    wait_for(lambda: list(site.reports.glob("users/.*")), process)
    process.send_signal(signal.SIGSTOP)
    assert list(site.reports.glob("users/.*"))
    return process


def test_a_run_that_is_held_up_brings_back_nothing_that_was_replaced_meanwhile(
    shared: Site,
) -> None:
    for name, count in (("s1", 20_000), ("s2", 10)):
        mount = f"/lustre/{name}"
        shared.add_scan(entries(count, groups=4000, mount=mount), mount)
    shared.outcomes("users", "--volume", "s2")
    slow = held_while_it_writes(shared, "--volume", "s1")
    shared.add_scan([entry("/lustre/s2/x", size=77, uid=1, gid=99)], ROOTS[1], at=TODAY_LATER)
    quick = shared.start("users", "--volume", "s2", "--force")
    with pytest.raises(subprocess.TimeoutExpired):  # nobody may change what is being written
        quick.wait(3)
    slow.send_signal(signal.SIGCONT)
    for process in (slow, quick):
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert columns(shared) == ["s1", "s2"]
    assert [row[6] for row in rows(shared) if row[6] != "-"] == ["s2", "1", "1970-01-01", "77"]
