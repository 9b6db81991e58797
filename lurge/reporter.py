"""The reporter: what each group uses on a volume, against which quota, and since when."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from db import usage
from db.database import Database
from lurge.tallies.marks import MarkTally
from lurge.tallies.owners import OwnerSum, OwnerTally, PseudoGroups
from lurge_types.batch import Batch
from lurge_types.config import Config
from lurge_types.names import Group
from lurge_types.reports import WARNINGS, GroupReport, Run, days_between, percent
from lurge_types.scans import Scan
from utils import tsv
from utils.names import Names
from utils.path_rules import PathRules, real_paths
from utils.paths import raw, text
from utils.quotas import Quotas

ARCHIVED_BELOW_BYTES = 100 << 20
"""A group that is marked as archived may still use this much."""

COLUMNS = (
    "volume",
    "group",
    "gid",
    "pi",
    "used_bytes",
    "quota_bytes",
    "used_percent",
    "inodes",
    "quota_inodes",
    "last_modified_days",
    "archived",
    "warning",
    "suspect",
    "rate_bytes_per_day",
    "method",
    "full_likely",
    "full_earliest",
    "full_latest",
)


@dataclass(frozen=True, slots=True)
class GroupTally:
    """The sums of each group, and which groups are marked as archived."""

    owners: OwnerTally
    marks: MarkTally

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch."""
        self.owners.add(batch)
        self.marks.add(batch)

    def merge(self, other: Self) -> None:
        """Take over what another tally has counted."""
        self.owners.merge(other.owners)
        self.marks.merge(other.marks)


class Reporter:
    """Makes the rows of `lustre_usage` and their TSV."""

    name = "reporter"

    def __init__(
        self, config: Config, database: Database, group_names: Names, quotas: Quotas
    ) -> None:
        self._config = config
        self._database = database
        self._names = group_names
        self._quotas = quotas
        self._symlinks = {raw(real): raw(shown) for real, shown in config.symlinks.items()}

    def tally(self, scan: Scan) -> GroupTally:
        """What must see the scan."""
        parents = [
            real
            for directory in scan.volume.group_directories
            for real in real_paths(directory, self._symlinks)
        ]
        owners = OwnerTally(scan.scan_time, pseudo=self._pseudo_groups())
        return GroupTally(owners, MarkTally(parents))

    def _pseudo_groups(self) -> PseudoGroups | None:
        paths: list[bytes] = []
        gids: list[int] = []
        for path, group in self._config.pseudo_groups.items():
            for real in real_paths(raw(path), self._symlinks):
                paths.append(real)
                gids.append(group.gid)
        return PseudoGroups(PathRules(paths), tuple(gids)) if paths else None

    def rows(self, scan: Scan, tally: GroupTally) -> list[GroupReport]:
        """
        A row for each group, sorted by gid.

        Raises SumOverflow, DatabaseFailed.
        """
        sums = tally.owners.rows()
        groups = self._groups([owner.gid for owner in sums])
        earlier = self._database.transaction(
            lambda connection: usage.last_used(connection, scan.volume.name, scan.record_date)
        )
        return [
            self._row(scan, groups[owner.gid], owner, tally.marks.marked, earlier) for owner in sums
        ]

    def _groups(self, gids: Sequence[int]) -> Mapping[int, Group]:
        pseudo = {
            group.gid: Group(group.gid, _text(group.name), group.pi and _text(group.pi))
            for group in self._config.pseudo_groups.values()
        }
        return self._names.groups(gid for gid in gids if gid not in pseudo) | pseudo

    def _row(
        self,
        scan: Scan,
        group: Group,
        owner: OwnerSum,
        marked: Set[bytes],
        earlier: Mapping[int, int],
    ) -> GroupReport:
        limits = self._quotas.limits(scan.volume.name, group)
        least = earlier.get(group.gid, 0) * (1 - self._config.warnings.suspect_fall)
        modified = owner.last_modified
        return GroupReport(
            volume=scan.volume.name,
            group=group,
            used_bytes=owner.used_bytes,
            quota_bytes=limits.used_bytes,
            inodes=owner.inodes,
            quota_inodes=limits.inodes,
            last_modified_days=days_between(modified, scan.scan_time) if modified else None,
            archived=raw(group.name) in marked and owner.used_bytes < ARCHIVED_BELOW_BYTES,
            suspect=owner.used_bytes < least,
        )

    def write(self, run: Run, scan: Scan, rows: Sequence[GroupReport], *, replace: bool) -> Path:
        """
        Put the rows into the database and their TSV into its place; which file that is.

        A TSV that is to be replaced is gone before its rows are, so that one that is there always
        agrees with them. Raises TsvFailed, DatabaseFailed, AlreadyRecorded; then neither has
        anything of the new rows.
        """
        prepared = tsv.prepare(self.tsv(run), COLUMNS, map(_cells, _sorted(rows)))
        try:
            if replace:
                tsv.withdraw(prepared)
            usage.store(self._database, run, scan.volume, rows, replace=replace)
        except BaseException:
            tsv.discard(prepared)
            raise
        tsv.publish(prepared)
        return prepared.path

    def recorded(self, run: Run) -> list[GroupReport]:
        """The rows of a run that is in the database."""
        return self._database.transaction(
            lambda connection: usage.read(connection, run.volume, run.record_date)
        )

    def restore(self, run: Run, rows: Sequence[GroupReport]) -> Path:
        """Write the TSV of a recorded run again, which was killed before it could."""
        prepared = tsv.prepare(self.tsv(run), COLUMNS, map(_cells, _sorted(rows)))
        tsv.publish(prepared)
        return prepared.path

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""
        return tsv.place(self._config.report_dir, self.name, run.record_date, run.volume)


def _text(name: str) -> str:
    return text(name.encode("utf-8"))


def _sorted(rows: Sequence[GroupReport]) -> list[GroupReport]:
    """By the key columns as bytes, as they stand in the TSV."""
    return sorted(rows, key=lambda row: (row.group.name.encode("utf-8"), row.group.gid))


def _cells(row: GroupReport) -> tuple[object, ...]:
    """The cells of a row; what forecasts would say is not known."""
    return (
        row.volume,
        row.group.name,
        row.group.gid,
        row.group.pi,
        row.used_bytes,
        row.quota_bytes,
        percent(row.used_bytes, row.quota_bytes),
        row.inodes,
        row.quota_inodes,
        row.last_modified_days,
        row.archived,
        WARNINGS[row.warning],
        row.suspect,
        *(None,) * 5,
    )
