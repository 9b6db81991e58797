"""The reporter: what each group uses on a volume, against which quota, and when that is full."""

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace as changed
from datetime import date, timedelta
from functools import partial
from pathlib import Path

from db import usage
from db.database import Database
from lurge import warned
from lurge.forecast.foretell import days_needed
from lurge.groups import group_order, pseudo_groups, shown_groups, symlinks
from lurge.levels import OK
from lurge.onepass.work import Told
from lurge.remarks import gaps
from lurge.tallies.marks import MarkTally
from lurge.tallies.owners import OWNERS, By, OwnerSum, OwnerTally
from lurge.tallies.tally import Maker
from lurge_types.config import Config
from lurge_types.forecasts import History
from lurge_types.names import Group, Limits
from lurge_types.reports import (
    LARGEST_SHOWN,
    WARNINGS,
    GroupReport,
    Made,
    Run,
    days_between,
    percent,
)
from lurge_types.scans import Scan
from utils import tsv
from utils.names import Names
from utils.path_rules import real_paths
from utils.paths import raw
from utils.quotas import Answer, Quotas

ARCHIVED_BELOW_BYTES = 100 << 20
"""A group that is marked as archived may still use this much."""

STATED_DAYS = 1
"""How many days a scan may be old to be compared with the use that the quota's server states."""

COUNTED, MARKS = "owners with pseudo groups", "marks"

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


class Reporter:
    """Makes the rows of `lustre_usage` and their TSV."""

    name = "reporter"

    def __init__(
        self,
        config: Config,
        database: Database,
        group_names: Names,
        quotas: Quotas,
        *,
        today: date,
    ) -> None:
        self._config = config
        self._database = database
        self._names = group_names
        self._quotas = quotas
        self._today = today

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """What makes its tallies of a scan: who owns what, and which groups are archived."""
        pseudo = pseudo_groups(self._config)
        parents = [
            real
            for directory in scan.volume.group_directories
            for real in real_paths(directory, symlinks(self._config))
        ]
        return {
            COUNTED if pseudo else OWNERS: partial(OwnerTally, scan.scan_time, pseudo=pseudo),
            MARKS: partial(MarkTally, parents),
        }

    def settings(self, scan: Scan) -> str | None:  # noqa: ARG002 - quotas and names of the moment
        """Rows are those of the moment they were made."""
        return None

    def _rows(self, scan: Scan, told: Told) -> tuple[list[GroupReport], tuple[str, ...]]:
        """
        A row for each group, in the order of the TSV, and remarks on their quotas.

        Raises SumOverflow, DatabaseFailed.
        """
        sums = told[COUNTED if self._config.pseudo_groups else OWNERS].tell(By.GROUP)
        marked = told[MARKS].tell(None)
        groups = shown_groups(self._config, self._names, [owner.gid for owner in sums])
        earlier, history, imported = self._before(scan)
        limits, remarks = self._limits(scan, [groups[owner.gid] for owner in sums])
        rows = [
            self._row(
                scan,
                owner,
                groups[owner.gid],
                limits.get(owner.gid, Limits()),
                archived=_is_archived(owner, groups[owner.gid], marked),
                last_used=earlier.get(owner.gid, 0),
            )
            for owner in sums
        ]
        rows.sort(key=_order)
        pseudo = {group.gid for group in self._config.pseudo_groups.values()}
        judged = warned.judged(rows, history, scan.record_date, self._config.warnings)
        return judged, (*remarks, *gaps(rows, pseudo), *_without(imported))

    def _limits(self, scan: Scan, groups: Sequence[Group]) -> Answer:
        """The quotas of now; the use that a server states now, only for a scan of these days."""
        answer = self._quotas.limits(scan.volume, groups)
        if scan.record_date >= self._today - timedelta(days=STATED_DAYS):
            return answer
        unstated = {
            gid: changed(limits, stated_bytes=None, stated_inodes=None)
            for gid, limits in answer.limits.items()
        }
        return answer._replace(limits=unstated)

    def _before(self, scan: Scan) -> tuple[Mapping[int, int], History, Sequence[date]]:
        """
        The last use of each group, by gid, and the volume's history, before the record date.

        And the days of late that are not in it, as they were imported.

        Raises DatabaseFailed.
        """
        name, day = scan.volume.name, scan.record_date
        first = day - timedelta(days=days_needed(self._config.warnings))
        return self._database.transaction(
            lambda connection: (
                usage.last_used(connection, name, day),
                usage.history(connection, name, first, day),
                usage.imported(
                    connection, name, day - timedelta(self._config.warnings.history_days), day
                ),
            )
        )

    def archived(self, told: Told) -> Set[int]:
        """The gids of the groups that are archived. Raises SumOverflow."""
        sums = told[COUNTED if self._config.pseudo_groups else OWNERS].tell(By.GROUP)
        marked = told[MARKS].tell(None)
        groups = shown_groups(self._config, self._names, [owner.gid for owner in sums])
        return {owner.gid for owner in sums if _is_archived(owner, groups[owner.gid], marked)}

    def _row(
        self,
        scan: Scan,
        owner: OwnerSum,
        group: Group,
        limits: Limits,
        *,
        archived: bool,
        last_used: int,
    ) -> GroupReport:
        modified = owner.last_modified
        return GroupReport(
            volume=scan.volume.name,
            group=group,
            used_bytes=owner.used_bytes,
            quota_bytes=limits.used_bytes,
            inodes=owner.inodes,
            quota_inodes=limits.inodes,
            quota_used_bytes=limits.stated_bytes,
            quota_used_inodes=limits.stated_inodes,
            last_modified_days=days_between(modified, scan.scan_time) if modified else None,
            archived=archived,
            suspect=owner.used_bytes < last_used * (1 - self._config.warnings.suspect_fall),
        )

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written. Raises SumOverflow, DatabaseFailed."""
        rows, remarks = self._rows(scan, told)
        return _made(rows, None, remarks)

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """
        Put the rows into the database and their TSV into its place.

        A TSV that is to be replaced is gone before its rows are, so that one that is there always
        agrees with them. Raises SumOverflow, TsvFailed, DatabaseFailed, AlreadyRecorded; then
        neither has anything of the new rows.
        """
        rows, remarks = self._rows(scan, told)
        prepared = tsv.prepare(self.tsv(run), COLUMNS, map(_cells, rows))
        try:
            if replace:
                tsv.withdraw(prepared.path)
            usage.store(self._database, run, scan.volume, rows, replace=replace)
        except BaseException:
            tsv.discard(prepared)
            raise
        tsv.publish(prepared)
        return _made(rows, prepared.path, remarks)

    def recorded(self, run: Run) -> Made:
        """A run that is in the database. Raises DatabaseFailed."""
        return _made(self._stored(run), self.tsv(run))

    def _stored(self, run: Run) -> list[GroupReport]:
        return self._database.transaction(
            lambda connection: usage.read(connection, run.volume, run.record_date)
        )

    def is_there(self, run: Run) -> bool:
        """Whether the TSV of a run is there."""
        return self.tsv(run).exists()

    def restore(self, run: Run, told: Told | None) -> bool:  # noqa: ARG002 - the rows are stored
        """
        Write the TSV of a recorded run again.

        Raises DatabaseFailed, and TsvFailed: also where the run was deleted meanwhile.
        """
        rows = self._database.read(partial(usage.read_whole, run=run))
        if rows is None:
            raise tsv.thinned(self.tsv(run))
        rows.sort(key=_order)
        tsv.publish(tsv.prepare(self.tsv(run), COLUMNS, map(_cells, rows)))
        return True

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""
        return tsv.place(self._config.report_dir, self.name, run.record_date, run.volume)


def _without(imported: Sequence[date]) -> Iterator[str]:
    if imported:
        days = "a day" if len(imported) == 1 else f"{len(imported)} days"
        yield (
            f"{days} of late, up to {imported[-1]}, came from an older database, which counted in "
            "another way: rates and what is suspect go by the other records"
        )


def _is_archived(owner: OwnerSum, group: Group, marked: Set[bytes]) -> bool:
    return raw(group.name) in marked and owner.used_bytes < ARCHIVED_BELOW_BYTES


def _order(row: GroupReport) -> tuple[bytes, int]:
    return group_order(row.group)


def _made(rows: Sequence[GroupReport], path: Path | None, remarks: tuple[str, ...] = ()) -> Made:
    largest = sorted(rows, key=lambda row: (-row.used_bytes, row.group.gid))[:LARGEST_SHOWN]
    others = [row for row in rows if row.warning != OK and row not in largest]
    return Made(len(rows), (*largest, *others), path, (*warned.remarks(rows), *remarks))


def _cells(row: GroupReport) -> tuple[object, ...]:
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
        row.foretold_bytes.rate,
        row.foretold_bytes.method,
        *warned.full(row),
    )
