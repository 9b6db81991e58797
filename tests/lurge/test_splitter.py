"""The splitter by the real program: a folder of every group's lines, whole or not there at all."""

import gzip
import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import children
import pytest
from servers.mariadb import Mariadb
from servers.swift_s3 import SECRET, WRITER, Swift
from servers.wire import wire_to
from site_of_tests import MANAGER, TODAY, Site, entry, text, wait_for
from splitting import plainly, zcat

from lurge.splitter.folder import Folder, FolderTaken, _put_aside, remove_older, tidy
from lurge.splitter.upload import MARKER
from lurge_types.batch import Entry
from lurge_types.config import DatabaseTable
from utils.parts import part_of

NAMES = '[names]\nsource = "files"\ngroup_file = "group"\nuser_file = "passwd"\n'
GROUPS = b"team:x:7:ann,bob\nlab:x:8:\nteam:x:9:\nidle:x:10:\n"
GIDS = (7, 8, 9, 70, 71)
STEMS = {7: "team", 8: "lab", 9: "team%20%28gid%3A9%29"}
UNKNOWN = {70: "gid%3A70", 71: "gid%3A71"}
S1, S2 = "/lustre/s1", "/lustre/s2"
BESIDE = {"index.tsv", "passwd", "group", "volumes.tsv"}

WITHOUT_END = b'"/cut'
BAD = [b"no line at all\n", b"\n"]


def some(count: int, mount: str, gids: Sequence[int] = GIDS) -> list[bytes]:
    """The lines of entries of all groups, with paths that are no text."""
    return [
        text(
            [
                entry(
                    mount.encode() + b"/dir\xff\n\t%d" % i,
                    type="fd"[i % 10 == 0],
                    gid=gids[i % len(gids)],
                    uid=i % 3,
                    size=i,
                )
            ]
        )
        for i in range(count)
    ]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Names, and no scan yet."""
    (tmp_path / "group").write_bytes(GROUPS)
    (tmp_path / "passwd").write_text("ann:x:1:7:::\nbob:x:2:8:::\nzoe:x:5:7:::\n", "utf-8")
    return Site(tmp_path, NAMES)


def days(site: Site) -> Path:
    return site.reports / "splitter"


def folder(site: Site, day: date = TODAY) -> Path:
    return days(site) / f"{day:%Y%m%d}"


def in_days(site: Site) -> list[str]:
    """What is among the folders of days, hidden or not."""
    return sorted(path.name for path in days(site).glob("*"))


def files(of: Path) -> dict[str, Path]:
    return {path.name: path for path in of.iterdir()}


def split(of: Path) -> dict[str, Counter[bytes]]:
    """The lines in each group's file, by its stem; beside them is what belongs there."""
    there = files(of)
    assert there.keys() >= BESIDE
    assert all(name.endswith(".dat.gz") for name in there.keys() - BESIDE)
    return {name[:-7]: zcat(there[name]) for name in there.keys() - BESIDE}


def by_stem(lines: Sequence[bytes], stems: dict[int, str]) -> dict[str, Counter[bytes]]:
    """What is to be in the files, found out the plain way."""
    groups = plainly(lines)
    return {stem: groups[gid] for gid, stem in stems.items()}


def recorded(site: Site) -> list[tuple[str, int]]:
    """The volumes of the runs that are recorded in SQLite, and their lines."""
    with closing(sqlite3.connect(site.folder / "lurge.db")) as connection:
        return connection.execute(
            "SELECT scratch_disk, lines FROM report_run JOIN volume USING (volume_id)"
            " WHERE report = 'splitter' AND done = 1 ORDER BY scratch_disk"
        ).fetchall()


def told(process: "subprocess.Popen[str]") -> list[dict[str, Any]]:
    """What a run that was started with --json says in the end."""
    output, _ = process.communicate(timeout=60)
    return [json.loads(line) for line in output.splitlines()]


def statuses(outcomes: Sequence[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["volume"], each["status"]) for each in outcomes]


# The files.


def test_each_known_group_has_exactly_its_lines_of_all_volumes(site: Site) -> None:
    site.config = f"bad_lines_allowed = 0.1\n{NAMES}"
    one, two = some(100, S1), some(50, S2)
    scan = site.add_scan(b"".join([*one[:50], *BAD, *one[50:], WITHOUT_END]), S1)
    site.add_scan(b"".join(two), S2)

    dry = site.outcomes("splitter", "--dry-run")
    assert [(each["status"], each["rows"], each["tsv"]) for each in dry] == [
        ("read", 60, None),
        ("read", 30, None),
    ]
    assert not site.reports.exists()
    assert not (site.folder / "lurge.db").exists()

    done = site.outcomes("splitter")
    assert [(each["status"], each["rows"], each["tsv"]) for each in done] == [
        ("written", 60, str(folder(site))),
        ("written", 30, str(folder(site))),
    ]
    for each, lines in zip(done, (40, 20), strict=True):
        left_out = f"{lines} lines of 2 groups that nobody knows are left out: --all takes them"
        assert left_out in each["remarks"]
    assert "2 bad lines" in str(done[0]["remarks"])
    assert split(folder(site)) == by_stem([*one, *two], STEMS)
    for stem, of_group in split(folder(site)).items():
        inflated = gzip.decompress((folder(site) / f"{stem}.dat.gz").read_bytes())
        assert Counter(inflated.splitlines(keepends=True)) == of_group
    assert (folder(site) / "index.tsv").read_text("utf-8").splitlines() == [
        "group\tbuild_seconds\tmemory_bytes",
        "lab\t100\t600000",
        "team\t100\t640000",
        "team%20%28gid%3A9%29\t100\t600000",
    ]
    assert (folder(site) / "group").read_text("utf-8").splitlines() == [
        "team:x:7:",
        "lab:x:8:",
        "team (gid%3A9):x:9:",
    ]
    passwd = (folder(site) / "passwd").read_text("utf-8")
    assert passwd == "ann:x:1:7:::\nbob:x:2:8:::\n"
    assert in_days(site) == [folder(site).name]
    assert recorded(site) == [("s1", 103), ("s2", 50)]

    whole = scan.read_bytes()
    scan.write_bytes(b"no scan at all")  # nobody opens it
    assert statuses(again := site.outcomes("splitter")) == [("s1", "already"), ("s2", "already")]
    assert again[0]["remarks"] == ["the day's folder is there: --force replaces it"]

    assert "failed" in dict(statuses(site.outcomes("splitter", "--force"))).values()
    assert split(folder(site)) == by_stem([*one, *two], STEMS)
    scan.write_bytes(whole)
    done = site.outcomes("splitter", "--force", "--all")
    assert [each["rows"] for each in done] == [100, 50]
    assert split(folder(site)) == by_stem([*one, *two], STEMS | UNKNOWN)
    assert "gid" not in (folder(site) / "group").read_text("utf-8").replace("team (gid%3A9)", "")
    assert in_days(site) == [folder(site).name]


def test_no_name_of_a_group_leads_out_of_the_folder(site: Site) -> None:
    names = {
        100: (b"a/b", "a%2Fb"),
        101: (b"..", "%2E."),
        102: (b"../../out", "%2E.%2F..%2Fout"),
        103: (b" two words ", "%20two%20words%20"),
        104: (b".hidden", "%2Ehidden"),
        105: (b"\xff\xfe\\", "%FF%FE%5C"),
        106: (b"x" * 250, "x" * 238 + "+106"),
        107: (b"/" * 200, "%2F" * 79 + "%" + "+107"),
        108: (b"/tmp/absolute", "%2Ftmp%2Fabsolute"),
        111: (b"twin", "twin"),
        112: (b"twin", "twin%20%28gid%3A112%29"),
        113: ("é\t".encode(), "%C3%A9%09"),
        114: (b"", "gid%3A114"),
    }
    (site.folder / "group").write_bytes(
        b"".join(b"%b:x:%d:\n" % (name, gid) for gid, (name, _) in names.items() if name)
    )
    lines = some(300, S1, tuple(names))
    site.add_scan(b"".join(lines))
    before = set(site.folder.rglob("*"))
    assert statuses(site.outcomes("splitter", "--all")) == [("s1", "written")]
    stems = {gid: stem for gid, (_, stem) in names.items()}
    there = split(folder(site))
    assert there == by_stem(lines, stems)
    new = set(site.folder.rglob("*")) - before - set(folder(site).iterdir())
    assert {str(path.relative_to(site.folder)) for path in new} == {
        "lurge.db",
        "lurge.toml",
        "reports",
        "reports/splitter",
        f"reports/splitter/{folder(site).name}",
    }
    assert not Path("/tmp/absolute.dat.gz").exists()
    index = (folder(site) / "index.tsv").read_text("utf-8").splitlines()[1:]
    assert [row.split("\t")[0] for row in index] == sorted(there)


# What fails.


def test_a_volume_that_fails_leaves_no_folder_and_the_reports_of_the_others(site: Site) -> None:
    one = site.add_scan(b"".join(some(1000, S1)), S1)
    two = site.add_scan(b"".join(some(1000, S2)), S2)
    whole = two.read_bytes()
    two.write_bytes(whole[: len(whole) // 2])
    done = site.outcomes("reporter", "splitter")
    assert [(each["report"], each["status"]) for each in done] == [
        ("reporter", "written"),
        ("splitter", "failed"),
        ("reporter", "failed"),
        ("splitter", "failed"),
    ]
    assert done[1]["reason"] == "it needs every volume, and this failed: s2"
    assert str(two) in done[3]["reason"]
    assert in_days(site) == []
    assert recorded(site) == []
    assert site.tsv("s1").exists()

    two.write_bytes(whole)
    done = site.outcomes("reporter", "splitter")
    assert [each["status"] for each in done] == ["already", "written", "written", "written"]
    assert split(folder(site)) == by_stem([*some(1000, S1), *some(1000, S2)], STEMS)

    # What is there already needs no scan; nor does what cannot be made, as another has none.
    for scan in (one, two):
        scan.write_bytes(b"no scan at all")
    assert site.run("reporter", "splitter").returncode == 0
    missing = '[[volume]]\nname = "{}"\nmount = "/lustre/{}"\n'
    site.config += "".join(missing.format(name, name) for name in ("s1", "s2", "s3"))
    run = site.run("reporter", "splitter", "--json", "--force", "--volume", "s1", "--volume", "s3")
    assert run.returncode == 1
    reasons = {
        each["volume"]: each["reason"]
        for each in map(json.loads, run.stdout.splitlines())
        if each["report"] == "splitter"
    }
    assert reasons["s1"] == "it needs every volume, and s3 has no scan"
    assert "no scan of s3 (/lustre/s3)" in reasons["s3"]
    assert in_days(site) == [folder(site).name]


def test_a_full_disk_fails_the_splitter_alone(site: Site) -> None:
    many = [
        text([entry(f"{S1}/{os.urandom(50).hex()}", gid=7 + i % 2, uid=1)]) for i in range(3000)
    ]
    site.add_scan(b"".join(many))
    days(site).mkdir(parents=True)
    script = 'mount -t tmpfs -o size=64k none "$1" && shift && "$@"; echo $?; ls -A "$0"'
    done = subprocess.run(
        [
            *(*children.OWN_MOUNTS, "sh", "-c", script, days(site), days(site)),
            *site.command("reporter", "splitter", "--json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    *outcomes, status = done.stdout.splitlines()  # and nothing is left over
    assert status == "1"
    reporter, splitter = map(json.loads, outcomes)
    assert reporter["status"] == "written"
    assert splitter["status"] == "failed"
    assert "cannot be written: No space left on device; see that there is" in splitter["reason"]
    assert site.tsv().exists()
    assert recorded(site) == []


# Killed, or not alone.


def parts(site: Site) -> list[Path]:
    return list(days(site).glob(".*.part"))


def has(site: Site, pattern: str, times: int = 1) -> Callable[[], bool]:
    """Whether so many unfinished folders have such a file."""
    return lambda: sum(any(part.glob(pattern)) for part in parts(site)) >= times


def _any(of: Path, pattern: str) -> bool:
    return any(of.glob(pattern))


@contextmanager
def not_recorded(site: Site, count: int = 1) -> Iterator[list["subprocess.Popen[str]"]]:
    """So many runs that have begun their folders, but may not yet write into SQLite."""
    running = []
    for number in range(count):
        running.append(site.start("splitter", "--json"))
        wait_for(partial(_any, days(site), f".*.{running[number].pid}.part"), running[number])
        running[number].send_signal(signal.SIGSTOP)
    with closing(sqlite3.connect(site.folder / "lurge.db", isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for process in running:
            process.send_signal(signal.SIGCONT)
        yield running
        connection.rollback()


def many_groups(site: Site, count: int, times: int = 1) -> list[bytes]:
    """A scan of groups that all are known."""
    (site.folder / "group").write_text("".join(f"g{n}:x:{n}:\n" for n in range(count)))
    lines = some(20_000, S1, range(count)) * times
    site.add_scan(b"".join(lines))
    return lines


def test_a_run_that_was_killed_leaves_nothing_the_next_does_not_make_right(site: Site) -> None:
    site.config = f"{NAMES}[pass]\nthreads = 1"
    lines = many_groups(site, 200, 2)
    site.retry_seconds = 60
    [scan] = site.wrstat.glob("*/stats.gz")
    process = site.start_reading(scan, "splitter")  # with the tables in the database
    process.kill()
    process.communicate()
    assert [part.name for part in parts(site)] == in_days(site) != []
    for moment in ("*.dat.gz", "group"):
        with not_recorded(site) as [process]:
            wait_for(has(site, moment), process)
            process.kill()
            process.communicate()
            assert has(site, moment)()
        assert in_days(site) == [part.name for part in parts(site)]
        assert len(parts(site)) == 1, "what the one before had left was removed"
        assert recorded(site) == []
    assert statuses(site.outcomes("splitter")) == [("s1", "written")]
    assert in_days(site) == [folder(site).name]
    assert split(folder(site)) == by_stem(lines, {gid: f"g{gid}" for gid in range(200)})
    assert recorded(site) == [("s1", len(lines))]


@pytest.mark.parametrize("place", ["mariadb"], indirect=True)
def test_a_run_that_is_killed_when_it_is_recorded_but_has_no_folder_is_made_again(
    site: Site, table: DatabaseTable, mariadb: Mariadb
) -> None:
    lines = some(100, S1)
    site.add_scan(b"".join(lines))
    site.password_file = table.password_file
    running: list[subprocess.Popen[str]] = []
    with wire_to(mariadb.port) as wire:
        site.database = wire.url(table.url)

        def kill_when_recorded(*arguments: str) -> None:
            words = (b"INSERT INTO report_run", b"COMMIT", b"ROLLBACK")
            wire.happened.clear()
            wire.before(*words, act=lambda: running[-1].send_signal(signal.SIGKILL))
            running.append(site.start("splitter", *arguments))
            running[-1].communicate()
            assert wire.happened.is_set()
            assert len(parts(site)) == 1

        kill_when_recorded()
        assert not folder(site).exists()
        assert statuses(site.outcomes("splitter")) == [("s1", "written")]
        assert in_days(site) == [folder(site).name]

        # One that was to replace the folder leaves it, and what it left is removed nevertheless.
        kill_when_recorded("--force")
        assert statuses(site.outcomes("splitter")) == [("s1", "already")]
    assert in_days(site) == [folder(site).name]
    assert split(folder(site)) == by_stem(lines, STEMS)


def test_of_two_runs_at_once_one_makes_the_folder_and_the_other_says_so(site: Site) -> None:
    site.add_scan(b"".join(some(100, S1)))
    site.retry_seconds = 60
    folder(site, TODAY - timedelta(days=15)).mkdir(parents=True)
    with not_recorded(site, 2) as both:
        wait_for(has(site, "group", times=2), both[0])
    said = [each for process in both for each in told(process)]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(each["status"] for each in said) == ["already", "written"]
    [loser] = [each for each in said if each["status"] == "already"]
    assert loser["remarks"] == ["another run has made the day's folder"]
    assert in_days(site) == [folder(site).name]
    assert split(folder(site)) == by_stem(some(100, S1), STEMS)
    assert len(recorded(site)) == 1


@pytest.fixture
def a_day(tmp_path: Path) -> Path:
    """A folder that is there, with a file."""
    made = tmp_path / "20260310"
    made.mkdir()
    (made / "mine").touch()
    return made


def test_what_is_put_aside_is_given_back_after_trouble(a_day: Path) -> None:
    @_put_aside(a_day)
    def interrupted() -> None:
        assert not a_day.exists()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (a_day / "mine").exists()
    assert list(a_day.parent.iterdir()) == [a_day]


def test_what_is_put_aside_is_removed_when_another_has_its_name(a_day: Path) -> None:
    @_put_aside(a_day)
    def too_late() -> None:
        a_day.mkdir()
        (a_day / "theirs").touch()
        raise FolderTaken

    with pytest.raises(FolderTaken):
        too_late()
    assert list(files(a_day)) == ["theirs"]
    assert list(a_day.parent.iterdir()) == [a_day]
    remove_older(a_day.parent, 1, date(2026, 3, 12), None)
    with _put_aside(a_day):  # nobody has it
        pass
    assert list(a_day.parent.iterdir()) == []


def left_by_a_dead_process(part: Path) -> Path:
    """The name that a folder would have of a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    return part.rename(part.with_name(part.name.replace(f".{os.getpid()}.", f".{ended.pid}.")))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_folder_that_a_killed_run_had_put_aside_gets_its_name_back(
    a_day: Path, replaced: bool
) -> None:
    a_day.rename(part_of(a_day.with_name("20260310.old")))
    [aside] = a_day.parent.iterdir()
    left_by_a_dead_process(aside)
    new = Folder(a_day.parent, date(2026, 3, 10))
    new.begin()
    (new.part / "new").touch()
    if replaced:
        new.publish(replace=False)
    else:
        left_by_a_dead_process(new.part)
    tidy(a_day.parent)
    assert list(a_day.parent.iterdir()) == [a_day]
    assert list(files(a_day)) == ["new" if replaced else "mine"]


def test_what_was_not_removed_to_the_end_is_not_taken_for_whole(a_day: Path) -> None:
    a_day.rename(part_of(a_day))
    [part] = a_day.parent.iterdir()
    left_by_a_dead_process(part)
    tidy(a_day.parent)
    assert list(a_day.parent.iterdir()) == []


def test_what_a_killed_run_of_the_same_process_number_left_is_no_hindrance(tmp_path: Path) -> None:
    begun = Folder(tmp_path, date(2026, 3, 10))
    begun.part.mkdir()
    (begun.part / "left").touch()
    begun.begin()
    assert list(begun.part.iterdir()) == []
    begun.path.mkdir()
    for name in (begun.path.name, f"{begun.path.name}.old"):
        part_of(tmp_path / name).mkdir(exist_ok=True)
        (part_of(tmp_path / name) / "new").touch()
    begun.publish(replace=True)
    assert [path.name for path in tmp_path.rglob("*")] == [begun.path.name, "new"]


def test_a_folder_says_of_which_volumes_it_is(site: Site) -> None:
    one, two = some(100, S1), some(50, S2)
    site.add_scan(b"".join(one))
    site.add_scan(b"".join(two), S2)
    site.outcomes("splitter", "--volume", "s1")
    [held, lacking] = site.outcomes("splitter")
    assert (held["status"], lacking["status"]) == ("already", "failed")
    assert lacking["reason"] == (
        f"{folder(site)} is there without it, made of s1: --force makes it of those asked for"
    )
    assert {each["status"] for each in site.outcomes("splitter", "--force")} == {"written"}
    rows = (folder(site) / "volumes.tsv").read_text("utf-8").splitlines()
    assert rows == ["volume\trecord_date\tlines", f"s1\t{TODAY}\t100", f"s2\t{TODAY}\t50"]
    [alone] = site.outcomes("splitter", "--force", "--volume", "s2")
    assert alone["remarks"][-1] == "THE FOLDER IT REPLACES HAD ALSO s1"
    assert split(folder(site)) == by_stem(two, STEMS)


# Days.


def test_the_folder_is_of_the_newest_day_and_old_ones_are_removed(site: Site) -> None:
    site.config = f"max_days_ago = 30\n{NAMES}[splitter]\nkeep = 5\n"
    old, kept = (TODAY - timedelta(days=count) for count in (6, 5))
    site.add_scan(b"".join(some(50, S1)), S1, day=TODAY - timedelta(days=1))
    site.add_scan(b"".join(some(50, S2)), S2, day=TODAY)
    site.add_scan(b"".join(some(20, S1)), S1, day=old)
    site.add_scan(b"".join(some(20, S2)), S2, day=old)
    for other in (folder(site, old), folder(site, kept), days(site) / "20209999"):
        other.mkdir(parents=True)
        (other / "team.dat.gz").touch()
    (days(site) / "20200101").touch()
    (days(site) / "20200102").symlink_to(site.folder)
    not_folders = ["20200101", "20200102", "20209999"]

    assert statuses(site.outcomes("splitter")) == [("s1", "written"), ("s2", "written")]
    assert split(folder(site)) == by_stem([*some(50, S1), *some(50, S2)], STEMS)
    there = sorted([*not_folders, folder(site, kept).name, folder(site).name])
    assert in_days(site) == there

    done = site.outcomes("splitter", "--date", str(old))
    assert statuses(done) == [("s1", "skipped"), ("s2", "skipped")]
    assert done[0]["remarks"] == ["folders are kept for no more than 5 days"]
    assert in_days(site) == there
    done = site.outcomes("splitter", "--date", str(old), "--force")
    assert statuses(done) == [("s1", "written"), ("s2", "written")]
    assert split(folder(site, old)) == by_stem([*some(20, S1), *some(20, S2)], STEMS)
    site.outcomes("splitter")
    assert in_days(site) == there


# Sending.


@pytest.fixture
def bucket(site: Site, swift: Swift) -> str:
    """A bucket to which the site sends its files."""
    swift.start()
    name = swift.make_bucket()
    send_to(site, name, swift.url)
    return name


def send_to(site: Site, bucket: str, url: str, secret: str = SECRET) -> None:
    credentials = site.folder / "credentials"
    credentials.touch(0o600)
    credentials.write_text(
        f"[default]\naws_access_key_id = {WRITER}\naws_secret_access_key = {secret}\n"
    )
    site.config = (
        f'{NAMES}[splitter]\nupload = "s3://{bucket}/of/trees"\n'
        f'endpoint_url = "{url}"\ncredentials_file = "credentials"\n'
    )


def sending(site: Site, *arguments: str, status: int = 0) -> list[dict[str, Any]]:
    """What a run says, which never is a secret."""
    done = site.run(*arguments, "--json")
    assert done.returncode == status, done.stderr
    assert SECRET not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def is_all_there(site: Site, swift: Swift, bucket: str) -> bool:
    """Whether the bucket has all files of the day's folder, byte for byte, and nothing else."""
    here = {name: path for name, path in files(folder(site)).items() if name != MARKER}
    keys = {f"of/trees/{folder(site).name}/{name}": path for name, path in here.items()}
    return swift.objects(bucket).keys() == keys.keys() and all(
        swift.read(bucket, key) == path.read_bytes() for key, path in keys.items()
    )


def test_the_files_are_sent_once_and_trouble_with_that_is_told_in_words(
    site: Site, swift: Swift, bucket: str
) -> None:
    site.add_scan(b"".join(some(100, S1)))
    send_to(site, bucket, swift.url, secret=f"not-{SECRET}")
    reporter, splitter, sent = sending(site, "reporter", "splitter", status=1)
    assert statuses([reporter, splitter]) == [("s1", "written"), ("s1", "written")]
    assert (sent["report"], sent["volume"], sent["status"]) == ("splitter", "-", "failed")
    assert "wrong access key or secret" in sent["reason"]
    assert str(folder(site)) in sent["reason"]
    assert site.tsv().exists()
    assert recorded(site) == [("s1", 100)]
    assert split(folder(site)) == by_stem(some(100, S1), STEMS)

    send_to(site, "lurge-nobodys", swift.url)
    *_, sent = sending(site, "splitter", status=1)
    assert "no such bucket: make it" in sent["reason"]

    send_to(site, bucket, swift.url)
    assert statuses(sending(site, "splitter", "--no-upload")) == [("s1", "already")]
    assert swift.objects(bucket) == {}
    already, sent = sending(site, "splitter")
    assert statuses([already, sent]) == [("s1", "already"), ("-", "written")]
    destination = f"s3://{bucket}/of/trees/{folder(site).name} at {swift.url}"
    assert sent["remarks"] == [f"7 files sent to {destination}, 0 were there"]
    assert sent["rows"] == 7
    assert is_all_there(site, swift, bucket)
    before = swift.objects(bucket)
    already, sent = sending(site, "splitter", "--upload")
    assert statuses([already, sent]) == [("s1", "already"), ("-", "already")]
    assert sent["remarks"] == [f"0 files sent to {destination}, 7 were there"]
    assert swift.objects(bucket) == before


def test_an_upload_that_was_killed_is_gone_on_with(site: Site, swift: Swift, bucket: str) -> None:
    site.config = NAMES
    many_groups(site, 12)
    with wire_to(swift.port) as wire:
        send_to(site, bucket, f"http://127.0.0.1:{wire.port}")
        running: list[subprocess.Popen[str]] = []
        # Four at a time: when the sixth begins, at least two are there.
        wire.before(*[b"PUT /"] * 6, act=lambda: running[0].send_signal(signal.SIGKILL))
        running.append(site.start("splitter"))
        running[0].communicate()
        assert wire.happened.is_set()
        assert 2 <= len(swift.objects(bucket)) < 15
        already, sent = sending(site, "splitter")
    assert statuses([already, sent]) == [("s1", "already"), ("-", "written")]
    assert 1 <= sent["rows"] <= 13
    assert is_all_there(site, swift, bucket)


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ("", "--upload: splitter.upload says nowhere to send the files to"),
        (
            '[splitter]\nupload = "s3://trees"\nendpoint_url = "https://me:hush-hush@store"\n',
            "must be like https://host or https://host:port, without a password",
        ),
        ('[splitter]\nupload = "s3://hush-hush@x"\n', "must be s3://BUCKET or s3://BUCKET/PREFIX"),
    ],
)
def test_a_destination_that_is_none_is_wrong_use(site: Site, more: str, says: str) -> None:
    site.config += more
    site.add_scan(b"".join(some(10, S1)))
    done = site.run("splitter", "--upload")
    assert done.returncode == 2
    assert says in done.stderr
    assert SECRET not in done.stderr
    assert not site.reports.exists()


# Memory.

PEAK = """
    import atexit, runpy, sys
    from pathlib import Path

    def tell_peak():
        status = Path("/proc/self/status").read_text("ascii").splitlines()
        print(*(line.split()[1] for line in status if line.startswith("VmHWM:")))

    atexit.register(tell_peak)
    sys.argv = sys.argv[1:]
    sys.path.insert(0, str(Path(sys.argv[0]).parent))
    runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_memory_stays_within_the_budget_whatever_the_number_of_groups(site: Site) -> None:
    count = 2000
    (site.folder / "group").write_text("".join(f"g{n}:x:{n}:\n" for n in range(count)))
    some_entries: list[Entry] = [
        entry(f"{S1}/{'long' * 200}{i}", gid=i % count, uid=i % 3) for i in range(20_000)
    ]
    site.add_scan(text(some_entries) * 8)
    site.config += '[splitter]\nmemory_budget = "64MiB"\n[pass]\nthreads = 2\n'

    def peak(*reports: str) -> int:
        """KiB."""
        python, *command = site.command(*reports, "--json")
        assert python == sys.executable
        assert command[0] == str(MANAGER)
        *_, figure = children.run(PEAK, *command).splitlines()
        return int(figure)

    without = peak("reporter")
    assert peak("splitter") - without <= 64 << 10
    assert len(files(folder(site))) == count + len(BESIDE)
    whole = text(some_entries)
    lines = [line for line in whole.splitlines(keepends=True)[7::count] for _ in range(8)]
    assert zcat(folder(site) / "g7.dat.gz") == Counter(lines)
