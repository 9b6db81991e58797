"""What a night would store: groups, rows and runs of which only what matters is given."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

from lurge_types.names import Group, User
from lurge_types.reports import (
    AGE_CLASSES,
    BaseDirectory,
    BaseUse,
    DirectoryReport,
    GroupReport,
    Part,
    Run,
)
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile

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


def user(uid: int, **facts: Any) -> User:
    """A user."""
    return replace(User(uid, f"user{uid}"), **facts)


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


def base(number: int = 1, volume: Volume = VOLUME) -> BaseDirectory:
    """A base directory that people know by another path than the filesystem."""
    project = f"{volume.name}/projects/alpha{number}"
    return BaseDirectory(f"/lustre/mdt{number % 4}/{project}", f"/lustre/{project}")


def directory(number: int, of: Group, below: BaseDirectory, **facts: Any) -> DirectoryReport:
    """A directory with files of two types and three ages, in figures that depend on its number."""
    parts = tuple(Part(kind, kind + 1, number * 100) for kind in (number % 3, 3))
    made = DirectoryReport(
        gid=of.gid,
        base=below,
        directory=f"directory_number_{number}",
        real_path=f"{below.real}/directory_number_{number}",
        files=sum(part.files for part in parts),
        size_bytes=number * 200,
        last_modified_days=Decimal(number % 9999).scaleb(-1),
        last_used_days=Decimal(number % 999).scaleb(-1) if number % 7 else None,
        by_type=parts,
        by_age=tuple(Part(age, 1, number) for age in AGE_CLASSES[number % 6 : number % 6 + 3]),
        kept_files=number % 2,
        holds_vault=number % 11 == 0,
        lies_above=number % 13 == 0,
    )
    return made._replace(**facts)


def directories(count: int, **facts: Any) -> list[DirectoryReport]:
    """So many directories of a few groups below a few base directories."""
    return [
        directory(number, group(number % 5 + 1), base(number % 7), **facts)
        for number in range(count)
    ]


def use(of: Group, below: BaseDirectory, **facts: Any) -> BaseUse:
    """What a group uses in a base directory."""
    made = BaseUse(of.gid, below, of.gid * 2**20, of.gid * 100, Decimal("12.3"))
    return made._replace(**facts)


def vault_file(number: int, **facts: Any) -> VaultFile:
    """A file in a vault, in figures that depend on its number."""
    below = base(number % 7)
    name = (
        f"cohort_{number % 100}/sample_{number}/release_of_whole_genomes/reads.sorted.marked.cram"
    )
    made = VaultFile(
        action="Archive" if number % 5 == 0 else "Keep",
        real_path=f"{below.real}/{name}",
        shown=f"{below.shown}/{name}",
        inode=number + 10**9,
        size_bytes=number * 1000,
        uid=number % 40 + 1,
        gid=number % 30 + 1,
        last_modified=date(2025, 1, 1) + timedelta(days=number % 300) if number % 9 else None,
        links=number % 2 + 1,
    )
    return made._replace(**facts)
