"""Old days that are filled in: what the nights would have left behind, in whatever steps."""

import gzip
import json
import os
import random
import re
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from dump import Rows, dump
from site_of_tests import TODAY, Site, entries, wait_for

from lurge import old_days
from lurge.nightly import UnknownVolume
from lurge_types.batch import Entry
from lurge_types.config import DatabaseTable
from utils.config import read
from utils.scans import NoScans
from utils.vaults import Key, encode

ALL_REPORTS = ("reporter", "inspector", "puppeteer", "users", "splitter")
DAYS = [TODAY - timedelta(days=ago) for ago in (3, 2, 1)]
VOLUMES = ("s1", "s2")
CONFIG = "".join(f'[[volume]]\nname = "{name}"\nmount = "/lustre/{name}"\n' for name in VOLUMES)
RANGE = ("--from", str(DAYS[0]), "--to", str(DAYS[-1]))
OF_DAYS = {"lustre_usage", "base_directory_usage", "user_usage", "report_run"}
"""Tables that keep every day."""


def of_day(volume: str, day: date) -> list[Entry]:
    """What a volume holds on a day: each day some files more, of which others are in vaults."""
    number = DAYS.index(day)
    mount = f"/lustre/{volume}"
    files = entries(300 + 40 * number, mount=mount)
    kept = [
        file._replace(
            path=b"%b/dir0/.vault/keep/%b"
            % (mount.encode(), encode(Key(file.inode, b"data/%d" % i)))
        )
        for i, file in enumerate(files[number : 20 + 2 * number])
    ]
    return files + kept


def add_scans(site: Site, day: date, volumes: Sequence[str] = VOLUMES) -> None:
    for volume in volumes:
        site.add_scan(of_day(volume, day), f"/lustre/{volume}", day=day)


def new_site(folder: Path, table: DatabaseTable | None = None, **more: Any) -> Site:
    """A site without a scan; with a database of its own, or a given one."""
    folder.mkdir(exist_ok=True)
    if table:
        more |= {"database": table.url, "password_file": table.password_file, "retry_seconds": 10}
    return Site(folder, CONFIG, **more)


def with_days(site: Site, days: Sequence[date] = DAYS) -> Site:
    """The site, with scans of both volumes of some days."""
    for day in days:
        add_scans(site, day)
    return site


def tables(site: Site) -> dict[str, Rows]:
    url = site.database.replace("sqlite:///lurge.db", f"sqlite:///{site.folder}/lurge.db")
    return dump(DatabaseTable(url=url, password_file=site.password_file))


def files(site: Site) -> dict[str, object]:
    """What is in each file, and where links lead to; of a group's lines the order says nothing."""
    return {str(path.relative_to(site.reports)): content(path) for path in moments(site)}


def content(path: Path) -> object:
    if path.is_symlink():
        return path.readlink()
    if path.suffix == ".gz":
        return sorted(gzip.decompress(path.read_bytes()).splitlines())
    return path.read_bytes()


def moments(site: Site) -> dict[Path, tuple[int, int]]:
    """Which file is where, and since when."""
    there = {path: path.lstat() for path in site.reports.rglob("*") if not path.is_dir()}
    return {path: (facts.st_ino, facts.st_mtime_ns) for path, facts in there.items()}


def written(site: Site) -> tuple[dict[str, Rows], dict[str, object]]:
    """All that was left behind."""
    return tables(site), files(site)


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What is left behind by nights, each of which finds one day's scans more."""
    site = new_site(tmp_path_factory.mktemp("nights"))
    for day in DAYS:
        add_scans(site, day)
        done = site.run(*ALL_REPORTS, "--all")
        assert done.returncode == 0, done.stderr
    return written(site)


def test_filling_in_leaves_what_nights_would_have_and_again_changes_nothing(
    tmp_path: Path, table: DatabaseTable, nights: Any
) -> None:
    site = with_days(new_site(tmp_path, table))
    outcomes = [
        json.loads(line)
        for line in site.run(*ALL_REPORTS, "--all", *RANGE, "--json").stdout.splitlines()
    ]
    assert [each["day"] for each in outcomes] == [
        str(day) for day in DAYS for _ in range(len(VOLUMES) * len(ALL_REPORTS))
    ]
    assert {each["status"] for each in outcomes} == {"written"}
    assert written(site) == nights
    before = moments(site)
    again = site.outcomes(*ALL_REPORTS, "--all", *RANGE)
    assert len(again) == len(outcomes)
    assert {each["status"] for each in again} == {"already"}
    assert (moments(site), tables(site)) == (before, nights[0])


def test_ranks_fill_in_the_same(tmp_path: Path, nights: Any) -> None:
    site = with_days(new_site(tmp_path, ranks=3))
    done = site.run(*ALL_REPORTS, "--all", *RANGE)
    assert done.returncode == 0, done.stderr
    assert written(site) == nights


def test_a_day_between_others_leaves_these_as_they_were(
    tmp_path: Path, table: DatabaseTable
) -> None:
    reports = ALL_REPORTS[:-1]
    late = DAYS[1]
    site = with_days(new_site(tmp_path, table), [day for day in DAYS if day != late])
    site.run(*reports, *RANGE)
    rows, stood = tables(site), files(site)
    add_scans(site, late)
    added = [each for each in site.outcomes(*reports, *RANGE) if each["status"] == "written"]
    assert {each["day"] for each in added} == {str(late)}
    assert len(added) == len(reports) * len(VOLUMES)
    after = tables(site)
    for name in rows.keys() - OF_DAYS:
        assert after[name] == rows[name], name
    for name in OF_DAYS:
        assert set(rows[name]) < set(after[name]), name
        assert all(late in row for row in set(after[name]) - set(rows[name])), name
    new = files(site)
    assert {name: new[name] for name in stood} == stood, "the links in `latest`, too"
    assert all(str(late) in name for name in new.keys() - stood.keys())


def test_a_killed_run_is_completed_by_the_next(
    tmp_path: Path, table: DatabaseTable, nights: Any
) -> None:
    chance = random.Random(7)
    site = with_days(new_site(tmp_path, table))
    for day in DAYS[:-1]:
        process = site.start(*ALL_REPORTS, "--all", *RANGE)
        wait_for(site.tsv("s1", day).exists, process)
        time.sleep(chance.random() * 0.1)
        process.kill()
        process.communicate()
    done = site.run(*ALL_REPORTS, "--all", *RANGE)
    assert done.returncode == 0, done.stderr
    assert written(site) == nights


def test_days_and_volumes_without_a_scan_are_listed_and_fail_nothing(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    add_scans(site, DAYS[0])
    add_scans(site, DAYS[2], ["s1"])
    begin = DAYS[0] - timedelta(days=2)
    done = site.run("reporter", "splitter", "--all", "--from", str(begin))
    assert done.returncode == 0, done.stderr
    _, _, listed = done.stdout.partition("days without a scan")
    none = f"{begin} to {begin + timedelta(days=1)}, {DAYS[1]}, {TODAY}"
    assert [line.rstrip().split(maxsplit=1) for line in listed.splitlines()[1:3]] == [
        ["-", none],
        ["s2", str(DAYS[2])],
    ]
    assert f"event=no_scan run={run_of(done.stderr)} volume=s2 days={DAYS[2]}" in done.stderr
    assert "its folder needs every volume, and there is no scan of s2" in done.stdout
    assert sorted(path.name for path in (site.reports / "splitter").glob("2*")) == [
        f"{DAYS[0]:%Y%m%d}"
    ]
    assert site.tsv("s1", DAYS[2]).exists()


def run_of(log: str) -> str:
    """The run's id in a log."""
    return log.split(" run=")[1].split(maxsplit=1)[0]


@pytest.mark.parametrize("arguments", [RANGE, ("--volume", "s2", *RANGE)])
def test_no_scan_on_any_day_ends_with_status_3(tmp_path: Path, arguments: Sequence[str]) -> None:
    site = new_site(tmp_path)
    if "--volume" in arguments:
        add_scans(site, DAYS[0], ["s1"])
    done = site.run("reporter", *arguments)
    assert done.returncode == 3
    assert f"from {DAYS[0]} to {DAYS[-1]}" in done.stderr
    assert not site.reports.exists()


def test_a_day_that_fails_is_a_gap_and_the_next_goes_on(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path))
    scan = next(site.wrstat.glob(f"{DAYS[1]:%Y%m%d}*s1/stats.gz"))
    whole = scan.read_bytes()
    scan.write_bytes(whole[:-9])
    done = site.run("reporter", *RANGE)
    assert done.returncode == 1
    assert f"date={DAYS[1]}" in next(
        line for line in done.stderr.splitlines() if "event=failed" in line
    )
    assert f"{scan} is cut short" in done.stderr
    there = {day: site.tsv("s1", day).exists() for day in DAYS}
    assert there == {day: day != DAYS[1] for day in DAYS}
    assert site.tsv("s2", DAYS[1]).exists()
    scan.write_bytes(whole)
    os.utime(scan, (scan.stat().st_atime, site.tsv("s1", DAYS[0]).stat().st_mtime))
    assert site.run("reporter", *RANGE).returncode == 0
    assert site.tsv("s1", DAYS[1]).exists()


def test_the_tables_have_a_line_a_day_and_the_largest_rows_of_the_newest(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path))
    site.run("reporter", "--date", str(DAYS[1]))
    done = site.run("reporter", "users", *RANGE)
    assert f"Largest groups on {DAYS[-1]} (10 of 10)" in done.stdout
    assert done.stdout.count("Largest groups") == 1
    _, _, shown = done.stdout.partition("Days ")
    header, *lines = (line.split() for line in shown.splitlines()[1 : 2 + len(DAYS)])
    assert header == ["date", "written", "recorded", "already", "rows"]
    rows = "40"
    assert lines == [
        [str(day), *(("2", "2") if day == DAYS[1] else ("4", "0")), rows] for day in DAYS
    ]


def test_a_dry_run_writes_nothing_and_force_makes_all_again(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path))
    assert {each["status"] for each in site.outcomes("reporter", *RANGE, "--dry-run")} == {"read"}
    assert {path.name for path in site.folder.iterdir()} == {"lurge.toml", "wrstat"}
    site.run("reporter", *RANGE)
    before = moments(site)
    forced = site.outcomes("reporter", *RANGE, "--force", "--volume", "s1")
    assert {each["status"] for each in forced} == {"written"}
    changed = {path for path, moment in moments(site).items() if before[path] != moment}
    assert {site.tsv("s1", day) for day in DAYS} <= changed
    assert not {path for path in changed if path.name == "s2.tsv"}


def test_folders_of_days_too_old_are_left_out(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path))
    site.config += "[splitter]\nkeep = 2\n"
    said = site.outcomes("splitter", "--all", *RANGE)
    told = {each["day"]: each["status"] for each in said if each["volume"] != "-"}
    assert list(map(told.get, map(str, DAYS))) == ["skipped", "written", "written"]


def test_volumes_that_nobody_configured_are_those_of_all_the_days(tmp_path: Path) -> None:
    site = Site(tmp_path)
    add_scans(site, DAYS[0], ["s1"])
    add_scans(site, DAYS[1], ["s2"])
    config = read(site.write_config())
    old = old_days.find(config, [], (DAYS[0], DAYS[1]), TODAY)
    assert [(day.day, day.lacking) for day in old.days] == [(DAYS[0], ("s2",)), (DAYS[1], ("s1",))]
    assert old.gaps == {"s1": str(DAYS[1]), "s2": str(DAYS[0])}
    with pytest.raises(UnknownVolume, match="s9: the volumes are s1, s2"):
        old_days.find(config, ["s9"], (DAYS[0], DAYS[1]), TODAY)


# Volumes that have retired.


def test_a_volume_is_filled_in_until_it_retires(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path), DAYS[1:])
    add_scans(site, DAYS[0], ["s1"])
    site.config += f"retired = {DAYS[2]}\n"  # s2
    before = DAYS[0] - timedelta(days=1)
    done = site.run("users", "splitter", "--all", "--from", str(before), "--json")
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    days = {name: [each["day"] for each in made if each["volume"] == name] for name in VOLUMES}
    assert {name: sorted(set(days[name])) for name in VOLUMES} == {
        "s1": list(map(str, DAYS)),
        "s2": [str(DAYS[1])],
    }
    gaps = [line.partition("volume=")[2] for line in done.stderr.splitlines() if "no_scan" in line]
    assert gaps == [f'- days="{before}, {TODAY}"', f"s2 days={DAYS[0]}"]
    folders = sorted(path.name for path in (site.reports / "splitter").glob("2*"))
    assert folders == [f"{day:%Y%m%d}" for day in DAYS[1:]]


def test_a_retired_volume_that_is_named_is_filled_in_where_it_has_scans(tmp_path: Path) -> None:
    site = new_site(tmp_path)
    site.config += f"retired = {DAYS[1]}\n"  # s2
    add_scans(site, DAYS[2])
    config = read(site.write_config())
    old = old_days.find(config, ["s2"], (DAYS[0], TODAY), TODAY)
    assert [(day.day, len(day.scans), day.lacking) for day in old.days] == [(DAYS[2], 1, ())]
    assert old.gaps == {"-": str(DAYS[0])}
    with pytest.raises(NoScans, match=f"no scan of s2 from {DAYS[0]} to {DAYS[1]}"):
        old_days.find(config, ["s2"], (DAYS[0], DAYS[1]), TODAY)


def test_days_after_all_volumes_have_retired_have_no_volumes(tmp_path: Path) -> None:
    site = with_days(new_site(tmp_path))
    retired = f'"\nretired = {DAYS[1]}\n'
    site.config = re.sub(r'(?<=/s\d)"\n', retired, CONFIG)
    config = read(site.write_config())
    old = old_days.find(config, [], (DAYS[0], TODAY), TODAY)
    assert ([day.day for day in old.days], old.gaps) == ([DAYS[0]], {})
    with pytest.raises(NoScans, match=f"has retired by {DAYS[1]}: add one that has not"):
        old_days.find(config, [], (DAYS[1], TODAY), TODAY)


TOMORROW = TODAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--to", "2026-01-01"], "--to needs --from"),
        (["--from", "2026-01-02", "--to", "2026-01-01"], "the older day goes first"),
        (["--from", "2026-01-02", "--to", TOMORROW], f"--to {TOMORROW} is in the future"),
        (["--from", TOMORROW], f"--from {TOMORROW} is later than --to {TODAY}"),
        (["--from", "2026-01-02", "--date", "2026-01-02"], "exclude --date and --scan"),
        (["--from", "2026-01-02", "--scan", "x", "--volume", "s1"], "exclude --date and --scan"),
    ],
)
def test_wrong_days_end_with_status_2(
    tmp_path: Path, arguments: Sequence[object], complaint: str
) -> None:
    site = new_site(tmp_path)
    add_scans(site, DAYS[0])
    done = site.run("reporter", *map(str, arguments))
    assert done.returncode == 2
    assert complaint in " ".join(done.stderr.split())
    assert not site.reports.exists()
