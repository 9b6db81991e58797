"""What a night would store: groups, rows and runs of which only what matters is given."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from lurge_types.names import Group
from lurge_types.reports import GroupReport, Run
from lurge_types.scans import Volume

DAY = date(2026, 3, 1)
VOLUME = Volume("scratch1", b"/lustre/scratch1")


def run(day: date = DAY, volume: Volume = VOLUME, **facts: Any) -> Run:
    """The run that made a volume's rows of a day."""
    scan_time = datetime(day.year, day.month, day.day, 1, 2, 3)  # noqa: DTZ001 - as databases have it
    made = Run(
        report="reporter",
        volume=volume.name,
        record_date=day,
        scan_file=f"/scans/{day:%Y%m%d}_{volume.name}.a.b.stats.gz",
        scan_time=scan_time,
        lines=4_000_000,
        bad_lines=2,
        started=scan_time + timedelta(hours=1),
        finished=scan_time + timedelta(hours=2),
        version="1.2.3",
    )
    return replace(made, **facts)


def group(gid: int, **facts: Any) -> Group:
    """A group; a few have no investigator."""
    return replace(Group(gid, f"team{gid}", f"Doe {gid % 50}" if gid % 10 else None), **facts)


def row(of: Group, volume: Volume = VOLUME, **facts: Any) -> GroupReport:
    """What a group uses, in figures that depend on its number."""
    made = GroupReport(
        volume=volume.name,
        group=of,
        used_bytes=of.gid * 2**30,
        quota_bytes=of.gid * 2**31 if of.gid % 5 else None,
        inodes=of.gid * 1000,
        quota_inodes=of.gid * 5000 if of.gid % 3 else None,
        last_modified_days=Decimal(of.gid).scaleb(-1) if of.gid % 7 else None,
        archived=of.gid % 11 == 0,
        suspect=of.gid % 13 == 0,
        warning=of.gid % 3 + 1,
    )
    return replace(made, **facts)


def rows(count: int, volume: Volume = VOLUME, **facts: Any) -> list[GroupReport]:
    """What so many groups use, sorted by gid."""
    return [row(group(gid), volume, **facts) for gid in range(1, count + 1)]
