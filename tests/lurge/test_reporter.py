"""The reporter's rows: names, quotas, pseudo groups, markers, ages and falls."""

import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from servers import nights
from site_of_tests import TODAY, Site, entry

from db import usage
from db.database import Database
from lurge.reporter import Reporter
from lurge_types.batch import Entry
from lurge_types.config import Config
from lurge_types.reports import days_between
from utils.names import SystemNames
from utils.quotas import FirstThatKnows
from utils.tsv import TsvFailed

SCANNED_AT = int(datetime(TODAY.year, TODAY.month, TODAY.day, 1, 2, 3, tzinfo=UTC).timestamp())
DAY = 86_400


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def report(site: Site, scan: Sequence[Entry], **facts: object) -> dict[int, dict[str, str]]:
    """The TSV's rows by gid, of a report on a scan."""
    site.add_scan(scan, **facts)  # type: ignore[arg-type]
    (outcome,) = site.outcomes("reporter", "--force")
    assert outcome["status"] == "written", outcome
    header, *lines = Path(outcome["tsv"]).read_text(encoding="utf-8").splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    return {int(row["gid"]): row for row in rows}


def test_every_entry_counts_and_hard_links_once(site: Site) -> None:
    scan = [
        entry("/lustre/s1", type="d", size=4096),
        entry("/lustre/s1/a", size=10),
        entry("/lustre/s1/link", type="l", size=3),
        entry("/lustre/s1/one", size=100, links=2, inode=5),
        entry("/lustre/s1/two", size=100, links=2, inode=5),
    ]
    row = report(site, scan)[2]
    assert (row["used_bytes"], row["inodes"]) == (str(4096 + 10 + 3 + 100), "4")


def test_the_last_modification_is_told_in_days_before_the_scan(site: Site) -> None:
    scan = [
        entry("/lustre/s1/a", gid=1, mtime=SCANNED_AT - 2 * DAY),
        entry("/lustre/s1/b", gid=1, mtime=SCANNED_AT + 1),
        entry("/lustre/s1/c", gid=2, mtime=0),
        entry("/lustre/s1/d", gid=3, mtime=SCANNED_AT),
    ]
    rows = report(site, scan)
    assert [rows[gid]["last_modified_days"] for gid in (1, 2, 3)] == ["2.0", "-", "0.0"]


@pytest.mark.parametrize(
    ("seconds", "days"),
    [(0, "0.0"), (4320, "0.0"), (4321, "0.1"), (12_960, "0.2"), (DAY * 7 - 1, "7.0")],
)
def test_days_are_rounded_half_to_even(seconds: int, days: str) -> None:
    assert days_between(1000, 1000 + seconds) == Decimal(days)


def test_names_come_from_the_system_or_a_file_and_unknown_numbers_are_shown(site: Site) -> None:
    scan = [entry(f"/lustre/s1/{gid}", gid=gid) for gid in (0, 71, 72, 4_294_967_295)]
    assert report(site, scan)[0]["group"] == "root"
    (site.folder / "group").write_bytes(b"team:x:71:\nteam:x:72:a,b\n\xff\ttab:x:0:\n")
    site.config = '[names]\nsource = "files"\ngroup_file = "group"'
    (outcome,) = site.outcomes("reporter", "--force")
    text = Path(outcome["tsv"]).read_text(encoding="utf-8")
    groups = [line.split("\t")[1] for line in text.splitlines()[1:]]
    assert groups == ["\\xff\\ttab", "gid:4294967295", "team", "team (gid:72)"]


def test_a_group_that_was_renamed_keeps_its_history(site: Site) -> None:
    (site.folder / "group").write_bytes(b"old:x:71:\n")
    site.config = '[names]\nsource = "files"\ngroup_file = "group"'
    scan = [entry("/lustre/s1/a", gid=71)]
    report(site, scan, day=TODAY - timedelta(days=1))
    (site.folder / "group").write_bytes(b"new:x:71:\n")
    assert report(site, scan)[71]["group"] == "new"
    with sqlite3.connect(site.folder / "lurge.db") as database:
        groups = database.execute("select gid, group_name from unix_group").fetchall()
        assert groups == [(71, "new")]
        assert database.execute("select count(*) from lustre_usage").fetchone() == (2,)


def test_quotas_come_from_a_csv_file_by_number_or_name(site: Site) -> None:
    (site.folder / "quotas.csv").write_text(
        "group,volume,limit_bytes,limit_inodes\n"
        "71,s1,1000,20\nteam,s1,500,\n73,s1,0,0\n74,other,5,5\n71,other,1,1\n"
    )
    (site.folder / "group").write_bytes(b"team:x:72:\n")
    site.config = (
        '[quotas]\nsource = "csv"\ncsv_file = "quotas.csv"\n'
        '[names]\nsource = "files"\ngroup_file = "group"'
    )
    rows = report(site, [entry(f"/lustre/s1/{gid}", gid=gid, size=333) for gid in range(71, 75)])
    columns = ("quota_bytes", "used_percent", "quota_inodes")
    assert [tuple(rows[gid][column] for column in columns) for gid in range(71, 75)] == [
        ("1000", "33.3", "20"),
        ("500", "66.6", "-"),
        ("-", "-", "-"),
        ("-", "-", "-"),
    ]


def test_what_lies_under_a_pseudo_groups_path_counts_to_it_in_either_form(site: Site) -> None:
    site.config = (
        '[pseudo_groups."/lustre/s1/projects/common"]\nname = "common"\npi = "Doe"\n'
        'gid = 4000000001\n[symlinks]\n"/lustre/s1/mdt*/projects" = "/lustre/s1/projects"\n'
    )
    paths = [
        "/lustre/s1/mdt0/projects/common/a",
        "/lustre/s1/mdt1/projects/common",
        "/lustre/s1/projects/common/b",
        "/lustre/s1/mdt0/x/projects/common/c",
        "/lustre/s1/mdt0/projects/commons",
    ]
    rows = report(site, [entry(path) for path in paths])
    assert {row["gid"]: row["inodes"] for row in rows.values()} == {"4000000001": "3", "2": "2"}
    assert (rows[4000000001]["group"], rows[4000000001]["pi"]) == ("common", "Doe")


def test_a_group_is_archived_when_its_directory_has_the_marker_and_it_uses_little(
    site: Site,
) -> None:
    (site.folder / "group").write_bytes(
        b"".join(b"team%d:x:%d:\n" % (gid, gid) for gid in range(1, 8))
    )
    site.config = (
        '[[volume]]\nname = "s1"\nmount = "/lustre/s1"\n'
        'group_directories = ["/lustre/s1/projects", "/lustre/s1/teams"]\n'
        '[symlinks]\n"/lustre/s1/mdt*/projects" = "/lustre/s1/projects"\n'
        '[names]\nsource = "files"\ngroup_file = "group"'
    )
    limit = 100 << 20
    scan = [
        entry("/lustre/s1/teams/team1/.imirrored", gid=1, size=limit - 1),
        entry("/lustre/s1/teams/team2/.imirrored", gid=2, size=limit),
        entry("/lustre/s1/teams/team3/deeper/.imirrored", gid=3),
        entry("/lustre/s1/teams/team4/.imirrored", gid=4, type="d"),
        entry("/lustre/s1/elsewhere/team5/.imirrored", gid=5),
        entry("/lustre/s1/mdt1/projects/team6/.imirrored", gid=6),
        entry("/lustre/s1/teams/team7/x.imirrored", gid=7),
    ]
    rows = report(site, scan)
    archived = [row["group"] for row in rows.values() if row["archived"] == "yes"]
    assert archived == ["team1", "team6"]


def test_a_fall_by_more_than_a_fifth_is_suspect(site: Site) -> None:
    report(
        site,
        [entry(f"/lustre/s1/{gid}", gid=gid, size=1000) for gid in (1, 2, 3)],
        day=TODAY - timedelta(days=2),
    )
    sizes = {1: 799, 2: 800, 3: 2000, 4: 5}
    rows = report(
        site, [entry(f"/lustre/s1/{gid}", gid=gid, size=size) for gid, size in sizes.items()]
    )
    assert [rows[gid]["suspect"] for gid in sizes] == ["yes", "no", "no", "no"]


def test_no_forecast_and_no_warning_is_invented(site: Site) -> None:
    row = report(site, [entry("/lustre/s1/a")])[2]
    unknown = ("method", "full_likely", "full_earliest", "full_latest")
    assert {row[column] for column in unknown} == {"-"}
    assert (row["rate_bytes_per_day"], row["warning"]) == ("0", "OK")


def test_nights_that_are_recorded_foretell_the_next(site: Site) -> None:
    (site.folder / "quotas.csv").write_text(
        "group,volume,limit_bytes,limit_inodes\n71,s1,1000,0\n72,s1,1000,0\n"
    )
    site.config = '[quotas]\nsource = "csv"\ncsv_file = "quotas.csv"'
    for ago in (3, 2, 1, 0):
        scan = [
            entry("/lustre/s1/71", gid=71, size=800 - 50 * ago),
            entry("/lustre/s1/72", gid=72, size=500),
        ]
        site.add_scan(scan, day=TODAY - timedelta(days=ago))
        if ago:
            (done,) = site.outcomes("reporter", "--date", str(TODAY - timedelta(days=ago)))
            assert done["status"] == "written"
    (previewed,) = site.outcomes("reporter", "--dry-run")
    shown = site.run("reporter").stdout
    warnings, largest = shown.split("Largest groups (2 of 2)")
    full = TODAY + timedelta(days=4)
    assert warnings.splitlines()[0].strip() == "Warnings (1 of 1)"
    words = f"s1 gid:71 - Not OK 80.0 - {full} 4"
    assert warnings.splitlines()[2].split() == words.split()
    assert largest.splitlines()[2].split()[-3:] == ["Not", "OK", str(full)]
    assert previewed["remarks"][-1] == "groups: 1 Not OK"
    with sqlite3.connect(site.folder / "lurge.db") as database:
        stored = database.execute(
            "select warning_id, rate_bytes, method_bytes, full_bytes_likely from lustre_usage "
            "where record_date = ? order by used desc",
            [str(TODAY)],
        ).fetchall()
    assert stored == [(3, 50, "theil-sen", str(full)), (1, 0, "theil-sen", None)]


def test_rows_are_sorted_by_the_bytes_of_the_name(site: Site) -> None:
    (site.folder / "group").write_bytes("b:x:1:\nB:x:2:\n\u00e9:x:3:\na:x:4:\n".encode())
    site.config = '[names]\nsource = "files"\ngroup_file = "group"'
    rows = report(site, [entry(f"/lustre/s1/{gid}", gid=gid) for gid in (1, 2, 3, 4)])
    assert [row["group"] for row in rows.values()] == ["B", "a", "b", "\u00e9"]


def test_no_file_is_written_of_a_run_that_is_gone(tmp_path: Path, database: Database) -> None:
    config = Config(report_dir=tmp_path)
    today = nights.DAY
    reporter = Reporter(config, database, SystemNames(), FirstThatKnows(()), today=today)
    run = nights.run()
    usage.store(database, run, nights.VOLUME, nights.rows(2), replace=False)
    assert reporter.restore(run, None)
    assert len(reporter.tsv(run).read_text("utf-8").splitlines()) == 3
    gone = nights.run(today + timedelta(1))
    with pytest.raises(TsvFailed, match="thinned out meanwhile: run again"):
        reporter.restore(gone, None)
    assert not reporter.tsv(gone).exists()
