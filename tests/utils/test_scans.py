# ruff: noqa: RUF001 - the slashes in names are U+FF0F, which looks like one
"""Scan files are found by their names, in every layout that scanners have left behind."""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.scans import Scan, Volume
from utils.scans import (
    Found,
    MountsAlike,
    ScanMissing,
    ScansUnreadable,
    listing,
    newest,
    of_file,
    volumes_of,
    within_reach,
)

DAY = date(2026, 3, 10)
TODAY = date(2026, 3, 12)
MIDNIGHT = datetime(2026, 3, 10, tzinfo=UTC)
SECOND = 10**9


def nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * SECOND


def made(path: Path, modified: datetime = MIDNIGHT + timedelta(hours=2)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    os.utime(path, ns=(nanoseconds(modified),) * 2)
    return path


def of_mount(folder: Path, mount: str, day: date = DAY, time: str = "010203") -> Path:
    return folder / f"{day:%Y%m%d}-{time}_{mount.replace('/', chr(0xFF0F))}" / "stats.gz"


def of_volume(folder: Path, volume: str, day: date = DAY, unique: str = "u1.u2") -> Path:
    return folder / f"{day:%Y%m%d}_{volume}.{unique}.stats.gz"


def names_of(found: Iterable[Found]) -> list[bytes | str | None]:
    return [each.volume if each.mount is None else each.mount for each in found]


def chosen(folder: Path, *volumes: Volume, day: date | None = None) -> list[Scan | ScanMissing]:
    found = within_reach(listing(folder), day=day, today=TODAY, max_days_ago=10)
    return newest(found, volumes or volumes_of(found), folder, "of the last 10 days")


def path_chosen(folder: Path, volume: Volume) -> Path | None:
    (scan,) = chosen(folder, volume)
    return scan.path if isinstance(scan, Scan) else None


# Names.


@pytest.mark.parametrize(
    ("name", "volume"),
    [
        ("20260310_scratch123.cl1a2b.cl3c4d.stats.gz", "scratch123"),
        ("20260310_scratch_123.u1.u2.stats.gz", "scratch_123"),
        ("20260310_a.b.c.u1.u2.stats.gz", "a.b.c"),
        ("20260310__.u1.u2.stats.gz", "_"),
        ("20260310_20260311_x.u1.u2.stats.gz", "20260311_x"),
        ("20260310_stats.gz.u1.u2.stats.gz", "stats.gz"),
        ("20260310_a b\n.u1.u2.stats.gz", "a b\\n"),
        ("20260310_café.u1.u2.stats.gz", "café"),
        ("20260310_caf\udce9.u1.u2.stats.gz", "caf\\xe9"),
        ("20240229_leap.u1.u2.stats.gz", "leap"),
    ],
)
def test_an_old_name_holds_date_and_volume(name: str, volume: str, tmp_path: Path) -> None:
    path = made(tmp_path / name)
    (found,) = listing(tmp_path)
    assert (found.volume, found.mount, found.path) == (volume, None, path)
    assert f"{found.record_date:%Y%m%d}" == name[:8]
    assert f"{found.named_time:%Y%m%d %H:%M:%S}" == f"{name[:8]} 23:59:59"


@pytest.mark.parametrize(
    ("name", "mount", "volume"),
    [
        ("20260310-010203_／lustre／scratch123", b"/lustre/scratch123", "scratch123"),
        ("20260310-000000_／", b"/", "root"),
        ("20260310-235959_／data／", b"/data", "data"),
        ("20260310-010203_／a_b.c d", b"/a_b.c d", "a_b.c d"),
        ("20260310-010203_／nested／mount", b"/nested/mount", "mount"),
        ("20260310-010203_／caf\udce9", b"/caf\xe9", "caf\\xe9"),
        ("20260310-010203_／日本", "/日本".encode(), "日本"),
        ("20260310-010203_／a\nb", b"/a\nb", "a\\nb"),
        ("20260310-010203_／x.u1.u2.stats.gz", b"/x.u1.u2.stats.gz", "x.u1.u2.stats.gz"),
    ],
)
def test_a_new_name_holds_time_and_mount(
    name: str, mount: bytes, volume: str, tmp_path: Path
) -> None:
    path = made(tmp_path / name / "stats.gz")
    (found,) = listing(tmp_path)
    assert (found.volume, found.mount, found.path) == (None, mount, path)
    assert f"{found.named_time:%Y%m%d-%H%M%S}" == name[:15]
    assert volumes_of([found]) == [Volume(volume, mount)]


@pytest.mark.parametrize(
    "name",
    [
        "20260310_scratch123.u1.stats.gz",
        "20260310_.u1.u2.stats.gz",
        "20260310_a.u1.u2.stats",
        "20260310_a.u1.u2.stats.gz.part",
        "20260310_a.u1.u2.basedirs",
        "2026031_a.u1.u2.stats.gz",
        "202603100_a.u1.u2.stats.gz",
        "20261310_a.u1.u2.stats.gz",
        "20260229_a.u1.u2.stats.gz",
        "20260300_a.u1.u2.stats.gz",
        "00000101_a.u1.u2.stats.gz",
        "٢٠٢٦٠٣١٠_a.u1.u2.stats.gz",
        ".20260310_a.u1.u2.stats.gz",
        "20260310-010203_／a",  # a file, not a folder
        "20260310-240000_／a/stats.gz",
        "20260310-006000_／a/stats.gz",
        "20260310-000060_／a/stats.gz",
        "20260230-010203_／a/stats.gz",
        "20260310-01020_／a/stats.gz",
        "20260310-010203_/stats.gz",
        ".20260310-010203_／a/stats.gz",
        "20260310-010203_／a/.stats.gz",
        "20260310-010203_／a/other.gz",
        "stats.gz",
        "latest",
    ],
)
def test_other_names_are_no_scans(name: str, tmp_path: Path) -> None:
    made(tmp_path / name)
    assert listing(tmp_path) == []


def test_a_folder_without_its_file_and_a_dangling_link_are_no_scans(tmp_path: Path) -> None:
    of_mount(tmp_path, "/empty").parent.mkdir()
    of_volume(tmp_path, "dangling").symlink_to(tmp_path / "nowhere")
    of_mount(tmp_path, "/dangling").parent.symlink_to(tmp_path / "nowhere")
    within = of_mount(tmp_path, "/within")
    within.parent.mkdir()
    within.symlink_to("nowhere")
    assert listing(tmp_path) == []


def test_links_are_followed_and_their_targets_time_counts(tmp_path: Path) -> None:
    wrstat = tmp_path / "wrstat"
    wrstat.mkdir()
    target = made(tmp_path / "elsewhere" / "stats.gz", MIDNIGHT + timedelta(hours=5))
    links = [of_volume(wrstat, "old"), of_mount(wrstat, "/file")]
    for link in links:
        link.parent.mkdir(exist_ok=True)
        link.symlink_to(target)
        os.utime(link, ns=(0, 0), follow_symlinks=False)
    of_mount(wrstat, "/folder").parent.symlink_to(target.parent)
    scans = chosen(wrstat)
    assert [scan.volume.name for scan in scans] == ["file", "folder", "old"]
    for scan in scans:
        assert isinstance(scan, Scan)
        assert scan.scan_time == (MIDNIGHT + timedelta(hours=5)).timestamp()


@pytest.mark.parametrize("there", ["missing", "a file", "forbidden"])
def test_a_wrstat_folder_that_cannot_be_read_is_named(there: str, tmp_path: Path) -> None:
    folder = tmp_path / "wrstat"
    if there == "a file":
        folder.touch()
    elif there == "forbidden":
        folder.mkdir(0)
    printed = children.run(
        """
        import sys
        from pathlib import Path
        from utils.scans import ScansUnreadable, listing

        try:
            listing(Path(sys.argv[1]))
        except ScansUnreadable as error:
            print(error, end="")
        """,
        folder,
        within=children.REFUSABLE,
    )
    why = {
        "missing": "No such file or directory",
        "a file": "Not a directory",
        "forbidden": "Permission denied",
    }[there]
    assert printed == f"wrstat_dir: {folder}: {why}: see that it is there and readable"


def test_one_scan_that_cannot_be_seen_is_the_trouble_of_its_volume_alone(tmp_path: Path) -> None:
    made(of_mount(tmp_path, "/fine"))
    made(of_mount(tmp_path, "/forbidden")).parent.chmod(0)
    of_volume(tmp_path, "loop").symlink_to(of_volume(tmp_path, "loop"))
    printed = children.run(
        """
        import sys
        from pathlib import Path
        from utils.scanfile import ScanFile, ScanUnreadable
        from utils.scans import listing, newest, volumes_of

        folder = Path(sys.argv[1])
        found = listing(folder)
        for scan in newest(found, volumes_of(found), folder, ""):
            try:
                ScanFile(scan.path, 250).close()
                print(scan.volume.name, "fine")
            except ScanUnreadable as error:
                print(scan.volume.name, str(error).removeprefix(str(scan.path)))
        """,
        tmp_path,
        within=children.REFUSABLE,
    )
    assert printed.splitlines() == [
        "fine fine",
        "forbidden  cannot be read: Permission denied",
        "loop  cannot be read: Too many levels of symbolic links",
    ]


# Volumes.


def test_each_mount_and_each_name_is_a_volume(tmp_path: Path) -> None:
    for mount in ("/", "/lustre", "/lustre/scratch123", "/both"):
        made(of_mount(tmp_path, mount))
        made(of_mount(tmp_path, mount, DAY - timedelta(days=1)))
    made(of_volume(tmp_path, "both"))
    made(of_volume(tmp_path, "old"))
    assert volumes_of(listing(tmp_path)) == [
        Volume("both", b"/both"),
        Volume("lustre", b"/lustre"),
        Volume("old"),
        Volume("root", b"/"),
        Volume("scratch123", b"/lustre/scratch123"),
    ]


@pytest.mark.parametrize(
    ("mounts", "name"),
    [(("/a/data", "/b/data"), "data"), (("/", "/root"), "root")],
)
def test_two_mounts_of_one_name_are_refused(
    mounts: tuple[str, str], name: str, tmp_path: Path
) -> None:
    for mount in mounts:
        made(of_mount(tmp_path, mount))
    with pytest.raises(MountsAlike) as caught:
        volumes_of(listing(tmp_path))
    for word in (*mounts, f"both called {name}", "[[volume]]"):
        assert word in str(caught.value)


@pytest.mark.parametrize("old_is_newer", [False, True])
def test_a_volume_that_changed_its_layout_is_one(old_is_newer: bool, tmp_path: Path) -> None:
    yesterday = DAY - timedelta(days=1)
    old = made(of_volume(tmp_path, "data", DAY if old_is_newer else yesterday))
    new = made(of_mount(tmp_path, "/mnt/data", yesterday if old_is_newer else DAY))
    (volume,) = volumes_of(listing(tmp_path))
    assert volume == Volume("data", b"/mnt/data")
    assert path_chosen(tmp_path, volume) == (old if old_is_newer else new)


def test_a_configured_volume_is_known_by_its_mount_or_else_by_its_name(tmp_path: Path) -> None:
    elsewhere = made(of_mount(tmp_path, "/elsewhere/data"))
    assert path_chosen(tmp_path, Volume("data", b"/mnt/data")) is None
    assert path_chosen(tmp_path, Volume("renamed", b"/elsewhere/data")) == elsewhere
    by_name = made(of_volume(tmp_path, "data"))
    assert path_chosen(tmp_path, Volume("data", b"/mnt/data")) == by_name
    assert path_chosen(tmp_path, Volume("renamed", b"/mnt/data")) is None


# Which of several.


def test_the_newest_date_counts_whatever_the_modification_times(tmp_path: Path) -> None:
    made(of_mount(tmp_path, "/data", date(2026, 3, 9)), MIDNIGHT + timedelta(days=2))
    newest_date = made(of_mount(tmp_path, "/data", date(2026, 3, 10)))
    assert path_chosen(tmp_path, Volume("data", b"/data")) == newest_date


def test_of_several_of_one_day_the_most_recently_modified_counts(tmp_path: Path) -> None:
    volume = Volume("data", b"/data")
    for hours, time in ((3, "030000"), (9, "010000"), (6, "060000")):
        made(of_mount(tmp_path, "/data", time=time), MIDNIGHT + timedelta(hours=hours))
    assert path_chosen(tmp_path, volume) == of_mount(tmp_path, "/data", time="010000")
    old_layout = made(of_volume(tmp_path, "data"), MIDNIGHT + timedelta(hours=10))
    assert path_chosen(tmp_path, volume) == old_layout


def test_modification_times_differ_by_nanoseconds(tmp_path: Path) -> None:
    paths = [of_volume(tmp_path, "data", unique=unique) for unique in ("a.a", "b.b", "c.c")]
    for path, more in zip(paths, (0, 2, 1), strict=True):
        made(path)
        os.utime(path, ns=(0, nanoseconds(MIDNIGHT) + more))
    assert path_chosen(tmp_path, Volume("data")) == paths[1]


@pytest.mark.parametrize(
    ("days_ago", "max_days_ago", "there"),
    [(0, 0, True), (1, 0, False), (10, 10, True), (11, 10, False), (-1, 0, True), (400, 400, True)],
)
def test_days_back_are_counted_from_today(
    days_ago: int, max_days_ago: int, there: bool, tmp_path: Path
) -> None:
    made(of_mount(tmp_path, "/data", TODAY - timedelta(days=days_ago)))
    found = listing(tmp_path)
    reach = within_reach(found, day=None, today=TODAY, max_days_ago=max_days_ago)
    assert reach == (found if there else [])


def test_a_date_that_is_asked_for_is_taken_exactly(tmp_path: Path) -> None:
    for day in (9, 10, 11):
        made(of_mount(tmp_path, "/data", date(2026, 3, day)))
    reach = within_reach(listing(tmp_path), day=DAY, today=date(2030, 1, 1), max_days_ago=0)
    assert [each.record_date for each in reach] == [DAY]
    assert within_reach(listing(tmp_path), day=TODAY, today=TODAY, max_days_ago=10) == []


def test_a_volume_without_a_scan_within_reach_is_missing_and_the_others_go_on(
    tmp_path: Path,
) -> None:
    made(of_mount(tmp_path, "/stale", TODAY - timedelta(days=11)))
    made(of_mount(tmp_path, "/fine"))
    stale, fine = Volume("stale", b"/stale"), Volume("fine", b"/fine")
    missing, scan = chosen(tmp_path, stale, fine)
    assert missing == ScanMissing(
        stale, f"no scan of stale (/stale) of the last 10 days in {tmp_path}: see whether it ran"
    )
    assert isinstance(scan, Scan)
    assert scan.volume == fine


# The scan time.


def scan_of(modified: datetime, *, mount: bool) -> Scan:
    named = datetime(2026, 3, 10, 1, 2, 3, tzinfo=UTC) if mount else MIDNIGHT.replace(hour=23)
    return Found(Path("f"), DAY, named, nanoseconds(modified)).scan(Volume("v"))


@pytest.mark.parametrize("days", [-7, -1, 0, 1, 6.5, 7])
@pytest.mark.parametrize("mount", [True, False])
def test_within_seven_days_the_file_tells_the_scan_time(days: float, mount: bool) -> None:
    modified = MIDNIGHT + timedelta(days=days)
    assert scan_of(modified, mount=mount) == Scan(
        Volume("v"), Path("f"), DAY, int(modified.timestamp())
    )


@pytest.mark.parametrize("days", [-400, -8, 8, 400])
def test_of_a_copied_file_the_name_tells_the_scan_time_with_a_remark(
    days: int, tmp_path: Path
) -> None:
    modified = MIDNIGHT + timedelta(days=days)
    made(of_mount(tmp_path, "/new"), modified)
    made(of_volume(tmp_path, "old"), modified)
    times = {"new": "2026-03-10 01:02:03", "old": "2026-03-10 23:59:59"}
    for scan in chosen(tmp_path):
        assert isinstance(scan, Scan)
        assert str(scan.scanned_at) == times[scan.volume.name]
        assert scan.record_date == DAY
        assert scan.remarks == (
            f"the file is of {modified:%Y-%m-%d}: {scan.scanned_at} is taken as scan time",
        )


@pytest.mark.parametrize(
    ("year", "modified"), [("36812-02-20", 2**40), ("-2861-05-28", -152_438_953_472)]
)
def test_a_file_may_be_of_a_year_that_no_calendar_has(year: str, modified: int) -> None:
    scan = Found(Path("f"), DAY, MIDNIGHT, modified * SECOND).scan(Volume("v"))
    assert scan.scanned_at == MIDNIGHT.replace(tzinfo=None)
    assert scan.remarks == (f"the file is of {year}: {scan.scanned_at} is taken as scan time",)


@given(st.integers(-7 * 86_400, 7 * 86_400 - 1), st.integers(0, SECOND - 1))
def test_a_scan_time_is_whole_seconds_rounded_down(seconds: int, rest: int) -> None:
    whole = int(MIDNIGHT.timestamp()) + seconds
    found = Found(Path("f"), DAY, MIDNIGHT, whole * SECOND + rest)
    assert found.scan(Volume("v")).scan_time == whole


def test_the_last_nanosecond_of_a_second_is_not_the_next_second(tmp_path: Path) -> None:
    path = made(of_volume(tmp_path, "v"))
    os.utime(path, ns=(0, nanoseconds(MIDNIGHT) + SECOND - 1))
    for scan in (*chosen(tmp_path), of_file(path, Volume("v"), DAY)):
        assert isinstance(scan, Scan)
        assert scan.scan_time == MIDNIGHT.timestamp()


# A file that is given.


def test_a_given_file_is_of_the_day_that_is_given(tmp_path: Path) -> None:
    path = made(tmp_path / "anything", MIDNIGHT + timedelta(hours=7))
    scan = of_file(path, Volume("v", b"/v"), DAY)
    assert scan == Scan(
        Volume("v", b"/v"), path, DAY, int((MIDNIGHT + timedelta(hours=7)).timestamp())
    )


def test_a_given_file_of_another_time_is_of_the_end_of_its_day(tmp_path: Path) -> None:
    scan = of_file(made(tmp_path / "anything"), Volume("v"), date(2020, 1, 1))
    assert str(scan.scanned_at) == "2020-01-01 23:59:59"
    assert scan.remarks == ("the file is of 2026-03-10: 2020-01-01 23:59:59 is taken as scan time",)


def test_standard_input_is_of_the_end_of_its_day() -> None:
    scan = of_file(Path("-"), Volume("v"), DAY)
    assert str(scan.scanned_at) == "2026-03-10 23:59:59"
    assert scan.remarks == ("read from standard input: the end of its day is the scan time",)


def test_a_given_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScansUnreadable) as caught:
        of_file(tmp_path / "missing", Volume("v"), DAY)
    assert str(caught.value) == f"--scan {tmp_path / 'missing'}: No such file or directory"
