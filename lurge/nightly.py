"""
One night: every report that is due, of every volume, in one pass over each scan.

A report of a volume is written whole or not at all, and what became of it is told as soon as it is
done. What is recorded already is left alone; only its TSV is written again where it is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from db import runs
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded
from lurge.onepass import Read, Work, one_pass
from lurge.tallies.tally import SumOverflow, Tally
from lurge_types.config import Config, VolumeTable
from lurge_types.reports import GroupReport, Outcome, Run
from lurge_types.scans import BadLines, Progress, Scan, Volume
from utils import scans, tsv
from utils.paths import raw, text
from utils.scans import NoScans, ScanMissing
from utils.tsv import TsvFailed

BAD_LINES_TOLD = 3
BELIEVABLE_SHARE = 0.5
"""Of the lines that the last record had; with fewer, a scan may not be whole."""


FOUND_BY_ITS_SCAN = "no [[volume]] is configured: this one was found by its scan"


class Report(Protocol):
    """A program that makes rows of a tally and puts them where they belong."""

    name: str

    def tally(self, scan: Scan) -> Tally:
        """What must see the scan."""

    def rows(self, scan: Scan, tally: Any) -> list[GroupReport]:
        """What the tally amounts to."""

    def write(self, run: Run, scan: Scan, rows: Sequence[GroupReport], *, replace: bool) -> Path:
        """Put rows into the database and their TSV into its place."""

    def recorded(self, run: Run) -> list[GroupReport]:
        """The rows of a run that is in the database."""

    def restore(self, run: Run, rows: Sequence[GroupReport]) -> Path:
        """Write the TSV of a recorded run again."""

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a report of a volume, and its rows."""

    outcome: Outcome
    rows: Sequence[GroupReport] = ()


class UnknownVolume(Exception):
    """A volume that was asked for by a name that none has."""


def wanted(
    config: Config, names: Sequence[str], day: date | None, today: date
) -> list[Scan | ScanMissing]:
    """
    The scan to read of each volume: the configured ones, or all that have scans.

    names: only these volumes, if any are given. day: exactly that day's scans.

    Raises UnknownVolume, ScansUnreadable, NoScans, MountsAlike.
    """
    found = scans.within_reach(
        scans.listing(config.wrstat_dir), day=day, today=today, max_days_ago=config.max_days_ago
    )
    reach = f"of {day}" if day else f"of the last {config.max_days_ago} days"
    volumes = list(map(volume, config.volume)) or scans.volumes_of(found)
    if not volumes:
        raise NoScans(f"wrstat_dir: no scan {reach} in {config.wrstat_dir}: see whether any ran")
    if unknown := sorted(set(names) - {volume.name for volume in volumes}):
        there = ", ".join(volume.name for volume in volumes)
        raise UnknownVolume(f"--volume {', '.join(unknown)}: the volumes are {there}")
    chosen = [volume for volume in volumes if not names or volume.name in names]
    newest = scans.newest(found, chosen, config.wrstat_dir, reach)
    return newest if config.volume else list(map(_remark_on, newest))


def _remark_on(scan: Scan | ScanMissing) -> Scan | ScanMissing:
    """Say of a volume that nobody has configured it."""
    if isinstance(scan, ScanMissing):
        return scan
    return replace(scan, remarks=(*scan.remarks, FOUND_BY_ITS_SCAN))


def volume(table: VolumeTable) -> Volume:
    """A volume as it is configured; paths there are in their text form."""
    return Volume(table.name, raw(table.mount), tuple(map(raw, table.group_directories)))


@dataclass(frozen=True, slots=True)
class Night:
    """
    What is to be done with which reports.

    force: replace what is recorded. dry_run: read all, write nothing.
    """

    config: Config
    database: Database
    reports: Sequence[Report]
    today: date
    threads: int
    force: bool = False
    dry_run: bool = False

    def run(
        self, wanted: Sequence[Scan | ScanMissing], progress: Callable[[Progress], None]
    ) -> Iterator[Result]:
        """
        Read what is due and write it.

        Raises DatabaseFailed where it cannot even be told what is due.
        """
        due: dict[Scan, list[Report]] = {}
        for scan in wanted:
            for report in self.reports:
                if isinstance(scan, ScanMissing):
                    yield _failed(report, scan.volume, scan.reason)
                elif not (self.force or self.dry_run) and (run := self._recorded(report, scan)):
                    yield self._already(report, scan, run)
                else:
                    due.setdefault(scan, []).append(report)
        started = _now()
        for read in self._read(due, progress):
            yield from self._finish(read, due[read.scan], started)
        if not self.dry_run:
            yield from self._remove_old_files()

    def _recorded(self, report: Report, scan: Scan) -> Run | None:
        return self.database.transaction(
            lambda connection: runs.find(
                connection, report.name, scan.volume.name, scan.record_date
            )
        )

    def _already(self, report: Report, scan: Scan, run: Run) -> Result:
        """A report that is recorded; a TSV that is missing and not too old is written again."""
        rows = report.recorded(run)
        path = report.tsv(run)
        remarks = scan.remarks
        if run.scan_file != text(bytes(scan.path)):
            remarks = (
                *remarks,
                f"recorded from another scan, {run.scan_file}: --force replaces it",
            )
        if not (path.exists() or self._too_old(run.record_date) or self.dry_run):
            try:
                report.restore(run, rows)
            except TsvFailed as error:
                return _failed(report, scan.volume, str(error))
            remarks = (*remarks, "the TSV was missing: written from the database")
        there = path if path.exists() else None
        return Result(
            Outcome(report.name, run.volume, "already", run, len(rows), there, remarks), rows
        )

    def _too_old(self, day: date) -> bool:
        """Whether the TSV files of a day are no longer kept."""
        return day < self.today - timedelta(days=self.config.keep)

    def _read(
        self, due: dict[Scan, list[Report]], progress: Callable[[Progress], None]
    ) -> Iterator[Read]:
        def work(scan: Scan, reports: Sequence[Report]) -> Work:
            return Work(scan, lambda: [report.tally(scan) for report in reports])

        return one_pass(
            [work(scan, reports) for scan, reports in due.items()],
            threads=self.threads,
            block_lines=self.config.pass_.block_lines,
            bad_lines_allowed=self.config.bad_lines_allowed,
            progress=progress,
        )

    def _finish(self, read: Read, reports: Sequence[Report], started: datetime) -> Iterator[Result]:
        """Write the reports of a scan that was read."""
        if read.error:
            for report in reports:
                yield _failed(report, read.scan.volume, str(read.error))
            return
        for report, tally in zip(reports, read.tallies, strict=True):
            try:
                yield self._write(report, tally, read, started)
            except (SumOverflow, TsvFailed, DatabaseFailed) as error:
                yield _failed(report, read.scan.volume, str(error))

    def _write(self, report: Report, tally: Tally, read: Read, started: datetime) -> Result:
        scan = read.scan
        rows = report.rows(scan, tally)
        run = Run(
            report=report.name,
            volume=scan.volume.name,
            record_date=scan.record_date,
            scan_file=text(bytes(scan.path)),
            scan_time=scan.scanned_at,
            lines=read.lines,
            bad_lines=read.bad.count,
            started=started,
            finished=_now(),
            version=version("lurge"),
        )
        remarks = (*scan.remarks, *_bad_lines(read.bad), *self._too_few_lines(run))
        if self.dry_run:
            return Result(
                Outcome(report.name, run.volume, "read", run, len(rows), None, remarks), rows
            )
        try:
            path = report.write(run, scan, rows, replace=self.force)
        except AlreadyRecorded as error:
            remarks = (*remarks, str(error))
            return Result(Outcome(report.name, run.volume, "already", None, 0, None, remarks))
        kept = None if self._too_old(run.record_date) else path
        return Result(
            Outcome(report.name, run.volume, "written", run, len(rows), kept, remarks), rows
        )

    def _too_few_lines(self, run: Run) -> Iterator[str]:
        """A loud remark where a scan is so much shorter than the last that part may be missing."""
        last = self.database.transaction(
            lambda connection: runs.last_before(connection, run.report, run.volume, run.record_date)
        )
        if last and run.lines < last.lines * BELIEVABLE_SHARE:
            yield (
                f"ONLY {run.lines} LINES, BUT {last.lines} ON {last.record_date}: "
                "see whether the whole volume was scanned"
            )

    def _remove_old_files(self) -> Iterator[Result]:
        for report in self.reports:
            try:
                tsv.remove_older(self.config.report_dir / report.name, self.config.keep, self.today)
            except TsvFailed as error:
                yield _failed(report, Volume("-"), str(error))


def _failed(report: Report, of: Volume, reason: str) -> Result:
    return Result(Outcome(report.name, of.name, "failed", reason=reason))


def _bad_lines(bad: BadLines) -> Iterator[str]:
    if bad.count:
        first = "; ".join(
            f"line {line.number}: {line.reason}" for line in bad.first[:BAD_LINES_TOLD]
        )
        more = "" if bad.count <= BAD_LINES_TOLD else "; ..."
        yield f"{bad.count} bad lines ({first}{more})"


def _now() -> datetime:
    """Now, UTC, in whole seconds and without a zone, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
