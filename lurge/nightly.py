"""
One night: every report that is due, of every volume, in one pass over each scan.

A report of a volume is written whole or not at all, and what became of it is told as soon as it is
done. What is recorded already is left alone; only its TSV is written again where it is missing.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

from db import pruning, runs
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded
from lurge import retention
from lurge.candidates.report import Candidates, RowsMissing
from lurge.onepass.work import Answers, Read, Reading, Told, Work
from lurge.remarks import bad_lines, too_few_lines
from lurge.splitter.report import Splitter
from lurge.tallies.tally import Maker, TallyFailed
from lurge_types.config import Config, VolumeTable
from lurge_types.reports import Made, Outcome, Row, Run, Status
from lurge_types.scans import Progress, Scan, Volume
from utils import scans, tsv
from utils.basedirs import BasedirsUnreadable
from utils.paths import raw, text
from utils.scanfile import STANDARD_INPUT
from utils.scans import Found, NoScans, ScanMissing
from utils.tsv import TsvFailed

FROM_DATABASE = "the TSV was missing: written from the database"
FROM_SCAN = "the TSV was missing: written from the scan again"
GIVE_WAY = frozenset({"reporter", "inspector", "users"})
"""The reports of which imported days are replaced; what vaults held is of all days together."""

GAVE_WAY = "replaces what was imported of this day"
OTHER_SETTINGS = "with other settings: --force makes it and its rows again"
ALL_VOLUMES = Volume("-")
FRESH_DAYS = 1
"""How many days old the newest scan is without a remark."""

FOUND_BY_ITS_SCAN = "no [[volume]] is configured: this one was found by its scan"


class Report(Protocol):
    """
    A program that makes rows of a tally and puts them where they belong.

    Its methods raise TallyFailed, DatabaseFailed and TsvFailed.
    """

    name: str

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """
        What makes each tally that it needs of a scan, by a name; reports share those of one name.

        Raises BasedirsUnreadable, DatabaseFailed.
        """

    def settings(self, scan: Scan) -> str | None:
        """
        A digest of the settings that the rows of a scan depend on.

        Raises BasedirsUnreadable, DatabaseFailed.
        """

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written."""

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """Put rows into the database and their TSV into its place. Raises AlreadyRecorded too."""

    def recorded(self, run: Run) -> Made:
        """A run that is in the database."""

    def is_there(self, run: Run) -> bool:
        """Whether the TSV of a recorded run is there, with its rows."""

    def restore(self, run: Run, told: Told | None) -> bool:
        """Write the TSV of a recorded run again; False if that needs the tallies of its scan."""

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""


Pass = Callable[[Sequence[Work], Reading, Callable[[Progress], None]], Iterator[Read]]
"""Reads scans, by threads or by ranks."""


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a report of a volume, and its largest rows."""

    outcome: Outcome
    largest: Sequence[Row] = ()


@dataclass(frozen=True, slots=True)
class Due:
    """
    A report that needs tallies.

    recorded: a run of which only the TSV is to be written again. gives_way: whether the rows of a
    run that was imported are to be replaced.
    """

    report: Report
    makers: Mapping[str, Maker]
    recorded: Run | None = None
    gives_way: bool = False


class UnknownVolume(Exception):
    """A volume that was asked for by a name that none has."""


def wanted(
    config: Config, names: Sequence[str], day: date | None, today: date
) -> list[Scan | ScanMissing]:
    """
    The scan to read of each volume: the configured ones, or all that have scans.

    names: only these volumes, if any are given; else none that has retired. day: exactly that
        day's scans.

    Raises UnknownVolume, ScansUnreadable, NoScans, MountsAlike.
    """
    found = scans.within_reach(
        scans.listing(config.wrstat_dir), day=day, today=today, max_days_ago=config.max_days_ago
    )
    reach = f"of {day}" if day else f"of the last {config.max_days_ago} days"
    chosen = volumes_asked(config, names, found, reach, day or today)
    newest = scans.newest(found, chosen, config.wrstat_dir, reach)
    return [
        each if isinstance(each, ScanMissing) else remarked(each, config, day, today)
        for each in newest
    ]


def volumes_asked(
    config: Config, names: Sequence[str], found: Sequence[Found], reach: str, day: date
) -> list[Volume]:
    """
    The volumes of some names, or all: the configured ones that have not retired by a day, or those
    of some scan files.

    Raises UnknownVolume, NoScans, MountsAlike.
    """
    volumes = list(map(volume, config.volume)) or scans.volumes_of(found)
    if not volumes:
        raise no_scan(config, reach)
    if unknown := sorted(set(names) - {volume.name for volume in volumes}):
        there = ", ".join(volume.name for volume in volumes)
        raise UnknownVolume(f"--volume {', '.join(unknown)}: the volumes are {there}")
    retired = config.retired(day)
    if not names and len(retired) == len(volumes):
        raise NoScans(
            f"every [[volume]] has retired by {day}: add one that has not, or name one with "
            "--volume"
        )
    chosen = names or {volume.name for volume in volumes} - retired
    return [volume for volume in volumes if volume.name in chosen]


def no_scan(config: Config, reach: str) -> NoScans:
    """That there is none, and what to do."""
    return NoScans(f"wrstat_dir: no scan {reach} in {config.wrstat_dir}: see whether any ran")


def remarked(scan: Scan, config: Config, day: date | None, today: date) -> Scan:
    """Say of a scan that nobody has configured its volume, and that it is the newest but old."""
    remarks = scan.remarks if config.volume else (*scan.remarks, FOUND_BY_ITS_SCAN)
    age = (today - scan.record_date).days
    if day is None and age > FRESH_DAYS:
        remarks = (*remarks, f"THE NEWEST SCAN IS {age} DAYS OLD: see whether the scanner runs")
    return replace(scan, remarks=remarks)


def volume(table: VolumeTable) -> Volume:
    """A volume as it is configured; paths there are in their text form."""
    return Volume(table.name, raw(table.mount), tuple(map(raw, table.group_directories)))


@dataclass(frozen=True, slots=True)
class Night:
    """
    What is to be done with which reports.

    splitter: makes one folder of all volumes; None where it is not wanted. candidates: made of what
    two of the reports have; None where they are not wanted. force: replace what is recorded.
    dry_run: read all, write nothing. day: that of the scans, where exactly that was asked for.
    """

    config: Config
    database: Database
    reports: Sequence[Report]
    today: date
    read: Pass
    splitter: Splitter | None = None
    candidates: Candidates | None = None
    force: bool = False
    dry_run: bool = False
    day: date | None = None

    def run(
        self, wanted: Sequence[Scan | ScanMissing], progress: Callable[[Progress], None]
    ) -> Iterator[Result]:
        """
        Read what is due and write it, then thin history out.

        Raises DatabaseFailed where it cannot even be told what is due.
        """
        yield from self.make(wanted, progress)
        yield from self.thin()

    def thin(self) -> Iterator[Result]:
        """Thin out the history of these reports, of all volumes; of what is deleted it is told."""
        for report in self.reports:
            if report.name in pruning.HISTORIES and not self.dry_run:
                yield from self._thinned(report)

    def _thinned(self, report: Report) -> Iterator[Result]:
        days = rows = 0
        keep = self.config.database.keep
        try:
            for each in retention.thin(self.database, keep, self.today, [report.name]):
                days, rows = days + each.days, rows + each.rows
        except DatabaseFailed as error:
            yield _failed(report, ALL_VOLUMES, f"history is not thinned out to the end: {error}")
        if days:
            remark = f"{days:,} days of volumes and {rows:,} rows of history were deleted"
            yield Result(Outcome(report.name, ALL_VOLUMES.name, "thinned", remarks=(remark,)))

    def make(
        self, wanted: Sequence[Scan | ScanMissing], progress: Callable[[Progress], None]
    ) -> Iterator[Result]:
        """
        Read what is due and write it.

        Raises DatabaseFailed where it cannot even be told what is due.
        """
        later: list[Volume] = []
        reasons: dict[str, dict[str, str]] = {}
        for result in self._pass(wanted, progress, later):
            if reason := result.outcome.reason:
                reasons.setdefault(result.outcome.volume, {})[result.outcome.report] = reason
            yield result
        if self.candidates:
            for volume in later:
                why = self._hindered(reasons.get(volume.name, {}))
                yield self._of_stored_rows(self.candidates, volume, why)
        if not self.dry_run:
            yield from self._remove_old_files()

    def _pass(
        self,
        wanted: Sequence[Scan | ScanMissing],
        progress: Callable[[Progress], None],
        later: list[Volume],
    ) -> Iterator[Result]:
        """What is made of scans; later: volumes whose candidates are not are added."""
        due: dict[Scan, list[Due]] = {}
        for scan in wanted:
            for result in self._look_at_all(scan, later):
                if isinstance(result, Due) and isinstance(scan, Scan):
                    due.setdefault(scan, []).append(result)
                elif isinstance(result, Result):
                    yield result
        started = _now()
        try:
            if self.splitter:
                yield from map(Result, self.splitter.begin(wanted, self.today))
                due |= {scan: due.get(scan, []) for scan in self.splitter.scans}
            for read in self._read(due, progress):
                yield from self._finish(read, due[read.scan], started)
            if self.splitter:
                yield from map(Result, self.splitter.finish(self.today))
        finally:
            if self.splitter:
                self.splitter.close()

    def _look_at_all(self, scan: Scan | ScanMissing, later: list[Volume]) -> Iterator[Result | Due]:
        """What became of each report, or that it is due; candidates of what is due are, too."""
        due = set()
        for report in self.reports:
            if isinstance(scan, ScanMissing):
                yield _failed(report, scan.volume, scan.reason)
                continue
            result = self._look(report, scan)
            if isinstance(result, Due):
                due.add(report.name)
            yield result
        if self.candidates is None:
            return
        found = None if isinstance(scan, ScanMissing) else self._look(self.candidates, scan)
        is_made = due.issuperset(self.candidates.needed)
        if found is None or (isinstance(found, Due) and not (found.recorded or is_made)):
            later.append(scan.volume)
        else:
            yield found

    def _look(self, report: Report, scan: Scan) -> Result | Due:
        """What became of a report already, or that it is due."""
        run = None if self.force or self.dry_run else self._recorded(report, scan)
        gives_way = bool(run and run.imported_from and report.name in GIVE_WAY)
        if gives_way:
            run = None
        try:
            if run and (run.imported_from or not self._misses_tsv(report, run)):
                return self._already(report, scan, run)
            if run and report.restore(run, None):
                return self._already(report, scan, run, FROM_DATABASE)
            if run and not _is_of(run, scan):
                return _failed(report, scan.volume, self._not_the_scan(report, run))
            if run and run.settings not in (None, report.settings(scan)):
                why = f"{report.tsv(run)} is missing, and was made {OTHER_SETTINGS}"
                return _failed(report, scan.volume, why)
            return Due(report, report.tallies(scan), run, gives_way)
        except (TsvFailed, BasedirsUnreadable) as error:
            return _failed(report, scan.volume, str(error))

    def _recorded(self, report: Report, scan: Scan) -> Run | None:
        return self.database.transaction(
            lambda connection: runs.find(
                connection, report.name, scan.volume.name, scan.record_date
            )
        )

    def _not_the_scan(self, report: Report, run: Run) -> str:
        """Why a TSV cannot be written again."""
        return (
            f"{report.tsv(run)} is missing, and was made of another scan, {run.scan_file} of "
            f"{run.scan_time} with {run.lines} lines: --force makes it and its rows again"
        )

    def _misses_tsv(self, report: Report, run: Run) -> bool:
        """Whether a TSV is missing that is not too old to be kept."""
        return not (report.is_there(run) or self._too_old(run.record_date))

    def _already(self, report: Report, scan: Scan, run: Run, *remarks: str) -> Result:
        """A report that is recorded."""
        remarks = (*scan.remarks, *remarks)
        if run.imported_from:
            remarks = (*remarks, f"imported from {run.imported_from}")
        elif not _is_of(run, scan):
            another = f"recorded from another scan, {run.scan_file} of {run.scan_time}"
            remarks = (*remarks, f"{another}: --force replaces it")
        if run.settings not in (None, report.settings(scan)):
            remarks = (*remarks, f"recorded {OTHER_SETTINGS}")
        return self._result(report, "already", run, report.recorded(run), remarks)

    def _result(
        self, report: Report, status: Status, run: Run, made: Made, remarks: tuple[str, ...]
    ) -> Result:
        path = made.path if made.path and made.path.exists() else None
        outcome = Outcome(
            report.name, run.volume, status, run, made.rows, path, (*remarks, *made.remarks)
        )
        return Result(outcome, made.largest)

    def _too_old(self, day: date) -> bool:
        """Whether the TSV files of a day are no longer kept."""
        return day < self.today - timedelta(days=self.config.keep)

    def _read(
        self, due: dict[Scan, list[Due]], progress: Callable[[Progress], None]
    ) -> Iterator[Read]:
        works = [
            Work(scan, tuple(self._makers(scan, of_scan).values())) for scan, of_scan in due.items()
        ]
        return self.read(works, Reading.of(self.config), progress)

    def _makers(self, scan: Scan, due: Sequence[Due]) -> Mapping[str, Maker]:
        """What makes the tallies of all reports of a scan, each once."""
        makers = dict(self.splitter.tallies(scan)) if self.splitter else {}
        for each in due:
            makers.update(each.makers)
        return makers

    def _finish(self, read: Read, due: Sequence[Due], started: datetime) -> Iterator[Result]:
        """Write the reports of a scan that was read."""
        if read.error:
            for each in due:
                yield _failed(each.report, read.scan.volume, str(read.error))
            if self.splitter:
                self.splitter.give_up(read.scan, str(read.error))
            return
        told: dict[str, Answers] = dict(
            zip(self._makers(read.scan, due), read.tallies, strict=True)
        )
        if self.candidates and any(each.report is self.candidates for each in due):
            told[self.candidates.name] = self.candidates.look(read.scan, told)
        reasons: dict[str, str] = {}
        for each in due:
            result = self._make(each, told, read, started, reasons)
            if result.outcome.reason:
                reasons[each.report.name] = result.outcome.reason
            yield result
        if self.splitter and read.scan in self.splitter.scans:
            run = _run(self.splitter.name, read, started, None)
            self.splitter.take(run, read, told)

    def _make(
        self,
        due: Due,
        told: Told,
        read: Read,
        started: datetime,
        reasons: Mapping[str, str],
    ) -> Result:
        """Write a report, unless it needs one that failed; reasons: why others did."""
        if due.report is self.candidates and (why := self._hindered(reasons)):
            return _failed(due.report, read.scan.volume, why)
        try:
            return self._write(due, told, read, started)
        except (TallyFailed, TsvFailed, DatabaseFailed) as error:
            return _failed(due.report, read.scan.volume, str(error))

    def _hindered(self, reasons: Mapping[str, str]) -> str | None:
        """Why there can be no candidates, if one of the reports failed that they are made of."""
        needed = self.candidates.needed if self.candidates else ()
        return next((f"{name} failed: {reasons[name]}" for name in needed if name in reasons), None)

    def _of_stored_rows(self, candidates: Candidates, of: Volume, why: str | None) -> Result:
        """Make candidates of what the database has, unless there can be none; no scan is read."""
        if why:
            return _failed(candidates, of, why)
        started = _now()
        try:
            rows = candidates.stored(of, self.day)
            looked = self._look(candidates, rows.scan)
            if isinstance(looked, Result):
                return looked
            if looked.recorded:
                return _failed(candidates, of, self._not_the_scan(candidates, looked.recorded))
            told = {candidates.name: candidates.look_at(rows)}
            run = replace(
                rows.inspected.run,
                report=candidates.name,
                started=started,
                finished=_now(),
                version=version("lurge"),
                settings=candidates.settings(rows.scan),
            )
            return self._put(candidates, run, rows.scan, told, ())
        except (RowsMissing, BasedirsUnreadable, TallyFailed, TsvFailed, DatabaseFailed) as error:
            return _failed(candidates, of, str(error))

    def _write(self, due: Due, told: Told, read: Read, started: datetime) -> Result:
        report, scan = due.report, read.scan
        if due.recorded:
            if due.recorded.lines != read.lines:
                return _failed(report, scan.volume, self._not_the_scan(report, due.recorded))
            report.restore(due.recorded, told)
            return self._already(report, scan, due.recorded, FROM_SCAN)
        run = _run(report.name, read, started, report.settings(scan))
        remarks = (*scan.remarks, *bad_lines(read.bad), *too_few_lines(run, self._last(run)))
        if due.gives_way:
            remarks = (*remarks, GAVE_WAY)
        return self._put(report, run, scan, told, remarks, gives_way=due.gives_way)

    def _put(
        self,
        report: Report,
        run: Run,
        scan: Scan,
        told: Told,
        remarks: tuple[str, ...],
        *,
        gives_way: bool = False,
    ) -> Result:
        """Write what was made, or only show it."""
        if self.dry_run:
            return self._result(report, "read", run, report.preview(scan, told), remarks)
        try:
            made = report.write(run, scan, told, replace=self.force or gives_way)
        except AlreadyRecorded as error:
            remarks = (*remarks, str(error))
            return Result(Outcome(report.name, run.volume, "already", remarks=remarks))
        if self._too_old(run.record_date):
            made = replace(made, path=None)
        return self._result(report, "written", run, made, remarks)

    def _last(self, run: Run) -> Run | None:
        """The run before."""
        return self.database.transaction(
            lambda connection: runs.last_before(connection, run.report, run.volume, run.record_date)
        )

    def _remove_old_files(self) -> Iterator[Result]:
        for report in (*self.reports, *filter(None, [self.candidates])):
            try:
                tsv.remove_older(self.config.report_dir / report.name, self.config.keep, self.today)
            except TsvFailed as error:
                yield _failed(report, ALL_VOLUMES, str(error))


def _run(report: str, read: Read, started: datetime, settings: str | None) -> Run:
    """The record of a report that was made just now."""
    scan = read.scan
    return Run(
        report=report,
        volume=scan.volume.name,
        record_date=scan.record_date,
        scan_file=_name(scan),
        scan_time=scan.scanned_at,
        lines=read.lines,
        bad_lines=read.bad.count,
        started=started,
        finished=_now(),
        version=version("lurge"),
        settings=settings,
    )


def _failed(report: Report, of: Volume, reason: str) -> Result:
    return Result(Outcome(report.name, of.name, "failed", reason=reason))


def _name(scan: Scan) -> str:
    """A scan's file as the record of runs has it."""
    return text(bytes(scan.path if scan.path == STANDARD_INPUT else scan.path.absolute()))


def _is_of(run: Run, scan: Scan) -> bool:
    """Whether a run was made of a scan: of that file, by whatever path, and that time."""
    same = run.scan_file == _name(scan)
    with suppress(OSError):  # one of the two is gone
        same = same or scan.path.samefile(os.fsdecode(raw(run.scan_file)))
    return same and run.scan_time == scan.scanned_at


def _now() -> datetime:
    """Now, UTC, in whole seconds and without a zone, as the database keeps it."""
    return datetime.now(UTC).replace(tzinfo=None, microsecond=0)
