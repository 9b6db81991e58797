"""A group's directories are those of the inspector's current run, with what is known of each."""

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from servers import nights
from servers.nights import DAY, VOLUME
from sqlalchemy.engine import Connection

from db import directories, usage
from db.database import Database
from db.sight import group_directories, history
from db.sight.group_directories import READ_AT_ONCE, SORTS, Directory, Share
from db.sight.paging import Part
from lurge_types.reports import DirectoryReport
from lurge_types.scans import Volume
from lurge_types.sight import Sight

OTHER = Volume("scratch2", b"/lustre/scratch2")
TYPES = ("BAM", "CRAM", "VCF (gzip)")
NAMES = ("other", *TYPES)
LARGEST = Part("size_bytes", descending=True)
GROUPS = {gid: nights.group(gid) for gid in range(1, 6)}


def fill(
    database: Database,
    reports: Sequence[DirectoryReport],
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    finish: bool = True,
) -> None:
    run = nights.run(day, volume, report="inspector")
    filling = directories.begin(
        database, run, volume, len(reports), replace=False, file_types=TYPES
    )
    filling.add(reports, GROUPS)
    if finish:
        filling.finish(list, GROUPS)


@pytest.fixture
def known(database: Database) -> Database:
    """A database that knows the groups on both volumes."""
    for volume in (VOLUME, OTHER):
        usage.store(
            database, nights.run(volume=volume), volume, nights.rows(5, volume), replace=False
        )
    return database


def read(database: Database, gid: int, part: Part = LARGEST) -> tuple[list[Directory], int]:
    def look(connection: Connection) -> tuple[list[Directory], int]:
        group = history.now(connection, Sight(everything=True), VOLUME.name, gid)
        assert group
        found = group_directories.read(connection, group, part)
        return list(found.rows), found.total

    return database.read(look)


def shown(report: DirectoryReport) -> Directory:
    by_type = sorted(report.by_type, key=lambda part: (-part.size_bytes, NAMES[part.kind]))
    return Directory(
        report.base.shown,
        report.directory,
        report.size_bytes,
        report.files,
        report.last_modified_days,
        report.last_used_days,
        report.kept_files,
        {NAMES[part.kind]: Share(part.files, part.size_bytes) for part in by_type},
        {part.kind: Share(part.files, part.size_bytes) for part in report.by_age},
    )


def of_group(reports: Sequence[DirectoryReport], gid: int) -> list[Directory]:
    """The largest first."""
    theirs = [report for report in reports if report.gid == gid]
    return [shown(report) for report in sorted(theirs, key=lambda report: -report.size_bytes)]


def test_all_that_is_known_of_a_directory_is_told(known: Database) -> None:
    reports = nights.directories(200)
    fill(known, reports)
    for gid in GROUPS:
        found, total = read(known, gid)
        assert found == of_group(reports, gid)
        assert [list(each.by_type) for each in found] == [
            list(each.by_type) for each in of_group(reports, gid)
        ]
        assert total == len(found)


def test_more_than_are_read_at_once_come_in_their_order(known: Database) -> None:
    reports = nights.directories(2 * READ_AT_ONCE + 7)
    reports = [report._replace(gid=1) for report in reports]
    fill(known, reports)
    assert read(known, 1) == (of_group(reports, 1), len(reports))


def test_only_the_current_run_of_the_volume_counts(known: Database) -> None:
    older, newer, filled = nights.directories(50), nights.directories(30), nights.directories(70)
    fill(known, older, DAY - timedelta(days=1))
    fill(known, newer)
    fill(known, filled, DAY + timedelta(days=1), finish=False)
    fill(known, nights.directories(90), volume=OTHER)
    assert read(known, 1) == (of_group(newer, 1), 6)


def test_a_part_is_what_is_asked_for(known: Database) -> None:
    reports = nights.directories(100)
    fill(known, reports)
    all_ = of_group(reports, 2)
    found, total = read(known, 2, Part("size_bytes", descending=True, first=5, count=4))
    assert (found, total) == (all_[5:9], 20)
    assert read(known, 2, Part("size_bytes", first=18, count=4)) == (all_[::-1][18:], 20)
    assert read(known, 2, Part("size_bytes", first=500, count=4)) == ([], 20)


@pytest.mark.parametrize("sort", SORTS)
def test_directories_are_sorted_by_any_column(known: Database, sort: str) -> None:
    fill(known, nights.directories(100))
    for descending in (False, True):
        found, _ = read(known, 3, Part(sort, descending))
        values = [getattr(each, sort) for each in found]
        there = [value for value in values if value is not None]
        assert there == sorted(there, reverse=descending)
        assert values[len(there) :] == [None] * (20 - len(there))


def test_a_group_without_directories_has_none(known: Database) -> None:
    assert read(known, 1) == ([], 0)
    fill(known, [nights.directory(1, GROUPS[2], nights.base())])
    assert read(known, 1) == ([], 0)
