"""Quotas in a whole run: what Lustre states is stored, and what it does not say is remarked."""

import os
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from lfs_stand_in import ANYBODY, Count, Reply, StandIn, figures
from servers.databases import on_sqlite
from site_of_tests import TODAY, Site, entry, wait_for

from db import usage
from db.database import Database
from lurge import remarks
from lurge_types.config import DatabaseTable
from lurge_types.names import Group
from lurge_types.reports import GroupReport

GIB = 1 << 30
MOUNT = b"/lustre/s1"
BYTES = GIB + 1
INODES = 1001


@pytest.fixture
def lfs(tmp_path: Path) -> StandIn:
    """A stand-in that does not answer for groups of which it was told nothing."""
    return StandIn(tmp_path / "bin", {ANYBODY: Reply(complaint="not told", status=1)})


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable, lfs: StandIn) -> Site:
    site = Site(tmp_path, database=table.url, password_file=table.password_file, retry_seconds=10)
    site.env["PATH"] = lfs.path
    return site


def report(site: Site, lfs: StandIn, quotas: str, *arguments: str) -> dict[str, Any]:
    """What became of the report with some quotas."""
    lfs.install()
    site.config = (
        f'[quotas]\n{quotas}\n[[volume]]\nname = "s1"\nmount = "/lustre/s1"\n{site.config}'
    )
    (outcome,) = site.outcomes("reporter", *arguments)
    return outcome


def test_what_lustre_states_now_is_not_stored_of_an_old_day(
    site: Site, lfs: StandIn, database: Database
) -> None:
    old = TODAY - timedelta(days=5)
    site.add_scan([entry("/lustre/s1/a", gid=71, size=50 * GIB)], day=old)
    lfs.replies[71] = Reply(figures(MOUNT, Count(80 << 20, 90 << 20, 100 << 20), Count(5, 0, 7)))
    outcome = report(site, lfs, 'source = "lfs"', "--date", old.isoformat())
    (row,) = database.transaction(lambda connection: usage.read(connection, "s1", old))
    assert (row.quota_bytes, row.quota_inodes) == (100 * GIB, 7)
    assert (row.quota_used_bytes, row.quota_used_inodes) == (None, None)
    assert outcome["remarks"] == []


def test_what_lustre_states_is_stored_and_what_it_does_not_say_is_remarked(
    site: Site, lfs: StandIn, database: Database
) -> None:
    sizes = {71: 50 * GIB, 72: 500, 73: 500, 74: 500, 75: 500, 4_000_000_001: 500}
    site.add_scan(
        [entry(f"/lustre/s1/{gid}", gid=gid, size=size) for gid, size in sizes.items()]
        + [entry("/lustre/s1/common", gid=71, size=10 * GIB)]
    )
    used = Count(80 << 20, 90 << 20, 100 << 20)
    lfs.replies |= {
        71: Reply(figures(MOUNT, used, Count(5, 0, 7))),
        72: Reply(figures(MOUNT, Count(1), Count(2))),
        73: Reply(figures(MOUNT, Count(1, used_known=False), Count(1)), status=5),
        74: Reply(complaint="Permission denied.\n", status=1),
    }
    (site.folder / "quotas.csv").write_text(
        "group,volume,limit_bytes,limit_inodes\n"
        "71,s1,1,1\n72,s1,1,1\n74,s1,2000,3\ncommon,s1,4000,\n80,s1,5,5\n71,s2,5,5\n"
    )
    site.config = '[pseudo_groups."/lustre/s1/common"]\nname = "common"\ngid = 4000000001'
    outcome = report(site, lfs, 'source = ["lfs", "csv"]\ncsv_file = "quotas.csv"')
    stored = database.transaction(lambda connection: usage.read(connection, "s1", TODAY))
    rows = {row.group.gid: row for row in stored}
    assert {
        gid: (row.quota_bytes, row.quota_inodes, row.quota_used_bytes, row.quota_used_inodes)
        for gid, row in rows.items()
    } == {
        71: (100 * GIB, 7, 80 * GIB, 5),
        72: (None, None, 1024, 2),
        73: (None, None, None, None),
        74: (2000, 3, None, None),
        75: (None, None, None, None),
        4_000_000_001: (4000, None, None, None),
    }
    assert outcome["remarks"] == [
        "groups: 1 Not OK",
        "lfs says nothing of 1 group (gid:74): Permission denied.",
        "lfs says nothing of 1 group (gid:75): not told",
        "lfs is not sure of the use of 1 group (gid:73): a server may not have told its part",
        "quotas.csv_file: 1 line is of volumes that are not configured (s2)",
        "the quota's server and the scan differ by more than 10% for 1 of 6 groups: "
        "gid:71 (80.0 GiB stated, 50.0 GiB scanned); "
        "where the scan has less, part of the tree may not have been readable",
    ]
    assert lfs.gids() == [71, 72, 73, 74, 75]


@on_sqlite
def test_a_dry_run_asks_too(site: Site, lfs: StandIn) -> None:
    site.add_scan([entry("/lustre/s1/a", gid=71)])
    outcome = report(site, lfs, 'source = "lfs"', "--dry-run")
    assert outcome["remarks"] == ["lfs says nothing of 1 group (gid:71): not told"]


@on_sqlite
def test_a_run_where_there_is_no_lfs_is_written(site: Site, lfs: StandIn) -> None:
    site.add_scan([entry("/lustre/s1/a", gid=71), entry("/lustre/s1/b", gid=72)])
    site.env["PATH"] = "/usr/bin:/bin"
    outcome = report(site, lfs, 'source = "lfs"\nlimit = "soft"')
    assert (outcome["status"], outcome["rows"]) == ("written", 2)
    assert [remark.partition(":")[0] for remark in outcome["remarks"]] == [
        "lfs was not asked for 2 groups (gid"
    ]


@on_sqlite
def test_ctrl_c_ends_what_is_being_asked(site: Site, lfs: StandIn) -> None:
    site.add_scan([entry(f"/lustre/s1/{gid}", gid=gid) for gid in range(20)])
    lfs.replies[ANYBODY] = Reply(seconds=600, stubborn=True)
    lfs.install()
    site.config = '[quotas]\nsource = "lfs"\nlfs_timeout = 300'
    process = site.start("reporter")
    wait_for(lambda: len(lfs.calls()) > 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, "nothing is half-written" in errors) == (130, True)
    assert not site.tsv().exists()
    for call in lfs.calls():
        with pytest.raises(ProcessLookupError):
            os.kill(call["pid"], 0)


# How wide a gap is told.


def row(gid: int, scanned: tuple[int, int], stated: tuple[int | None, int | None]) -> GroupReport:
    """A group's row with bytes and inodes."""
    return GroupReport(
        volume="s1",
        group=Group(gid, f"g{gid}"),
        used_bytes=scanned[0],
        inodes=scanned[1],
        quota_bytes=None,
        quota_inodes=None,
        last_modified_days=None,
        archived=False,
        suspect=False,
        quota_used_bytes=stated[0],
        quota_used_inodes=stated[1],
    )


@pytest.mark.parametrize(
    ("scanned", "stated", "told"),
    [
        ((90 * GIB, 5), (100 * GIB, 5), None),
        ((90 * GIB - 1, 5), (100 * GIB, 5), "100.0 GiB stated, 90.0 GiB scanned"),
        ((100 * GIB, 5), (90 * GIB, 5), None),
        ((100 * GIB, 5), (90 * GIB - 1, 5), "90.0 GiB stated, 100.0 GiB scanned"),
        ((0, 5), (GIB, 5), None),
        ((0, 5), (BYTES, 5), "1.0 GiB stated, 0 B scanned"),
        ((BYTES, 5), (0, 5), "0 B stated, 1.0 GiB scanned"),
        ((0, 0), (0, 1000), None),
        ((0, 0), (0, INODES), "1,001 inodes stated, 0 scanned"),
        ((0, 9000), (0, 10_000), None),
        ((0, 8999), (0, 10_000), "10,000 inodes stated, 8,999 scanned"),
        ((0, 0), (BYTES, INODES), "1.0 GiB stated, 0 B scanned, 1,001 inodes stated, 0 scanned"),
        ((100 * GIB, 10_000), (None, None), None),
        ((100 * GIB, 10_000), (None, 0), "0 inodes stated, 10,000 scanned"),
    ],
)
def test_a_gap_is_told_above_a_tenth_of_the_larger_figure_unless_it_is_small(
    scanned: tuple[int, int], stated: tuple[int | None, int | None], told: str | None
) -> None:
    found = list(remarks.gaps([row(1, scanned, stated), row(2, (1, 1), (1, 1))], ()))
    lead = "the quota's server and the scan differ by more than 10% for 1 of 2 groups: "
    tail = "; where the scan has less, part of the tree may not have been readable"
    assert found == ([f"{lead}g1 ({told}){tail}"] if told else [])


def test_the_widest_gaps_of_bytes_are_told_first_then_those_of_inodes() -> None:
    rows = [
        row(1, (0, 0), (0, 9000)),
        row(2, (0, 0), (2 * GIB, 0)),
        row(3, (0, 0), (0, 5000)),
        row(4, (5 * GIB, 0), (0, 0)),
    ]
    (remark,) = remarks.gaps(rows, ())
    assert "4 of 4 groups: g4 (" in remark
    assert remark.index("g4 (") < remark.index("g2 (") < remark.index("g1 (")
    assert "; ...; where" in remark
    assert "g3" not in remark


def test_what_pseudo_groups_have_may_be_what_the_scan_lacks() -> None:
    common = row(9, (40 * GIB, 0), (None, None))
    assert not list(remarks.gaps([row(1, (60 * GIB, 0), (100 * GIB, 0)), common], {9}))
    assert list(remarks.gaps([row(1, (40 * GIB, 0), (100 * GIB, 0)), common], {9}))
    assert list(remarks.gaps([row(1, (100 * GIB, 0), (70 * GIB, 0)), common], {9}))
