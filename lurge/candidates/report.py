"""Archive candidates: whole directories that are cold, and files that are marked to be archived."""

import os
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from dataclasses import replace as changed
from datetime import UTC, date
from fractions import Fraction
from functools import partial
from hashlib import sha256
from pathlib import Path

from sqlalchemy.engine import Connection

from db import candidate_sources, candidates, ledger, pages
from db.database import Database, DatabaseFailed
from db.pages import RowsReplaced, Stored
from lurge.bins import bins
from lurge.candidates.find import Found, Terms
from lurge.candidates.judge import Rules
from lurge.candidates.sources import Source, StoredRows, Tallies
from lurge.filled import put, recorded, swept
from lurge.groups import shown_groups, symlinks
from lurge.inspector.report import Inspector
from lurge.onepass.work import Told
from lurge.puppeteer.report import Puppeteer
from lurge.reporter import MARKS, Reporter
from lurge.tallies.tally import Maker, TallyFailed
from lurge_types.candidates import Candidate
from lurge_types.config import Config
from lurge_types.reports import Made, Run
from lurge_types.scans import Scan, Volume
from utils import tsv
from utils.names import Names
from utils.path_rules import ShownPaths
from utils.paths import raw
from utils.tsv import Prepared, TsvFailed

COLUMNS = (
    "rank",
    "class",
    "reason",
    "volume",
    "groups",
    "pi",
    "size_bytes",
    "cold_bytes",
    "files",
    "last_used_days",
    "path",
    "real_path",
    "cost_per_month",
)


class RowsMissing(Exception):
    """The rows that candidates are made of are not stored."""


@dataclass(frozen=True, slots=True)
class Rows:
    """Stored rows of one volume, and the one scan that they were made of."""

    scan: Scan
    inspected: Stored
    kept: Stored


@dataclass(frozen=True, slots=True)
class Looked:
    """What came of looking for candidates, to be told like a tally."""

    found: Found | TallyFailed | DatabaseFailed

    def tell(self, _: object = None) -> Found:
        """What was found. Raises TallyFailed, DatabaseFailed."""
        if isinstance(self.found, Found):
            return self.found
        raise self.found


class Candidates:
    """Makes the rows of `archive_candidate` and their TSV of what two other reports have."""

    name = "candidates"

    def __init__(
        self,
        config: Config,
        database: Database,
        group_names: Names,
        *,
        reporter: Reporter,
        inspector: Inspector,
        puppeteer: Puppeteer,
    ) -> None:
        self._config = config
        self._database = database
        self._names = group_names
        self._reporter = reporter
        self._inspector = inspector
        self._puppeteer = puppeteer
        self.needed = (inspector.name, puppeteer.name)

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """
        What makes the tallies of the two other reports.

        Raises BasedirsUnreadable, DatabaseFailed.
        """
        return {**self._inspector.tallies(scan), **self._puppeteer.tallies(scan)}

    def settings(self, scan: Scan) -> str:
        """
        A digest of the settings that rows depend on, here and in the two other reports.

        Raises BasedirsUnreadable, DatabaseFailed.
        """
        settings = self._config.model_dump_json(include={"candidates"})
        others = self._inspector.settings(scan), self._puppeteer.settings(scan)
        return sha256("\0".join([settings, *others]).encode()).hexdigest()

    def look(self, scan: Scan, told: Told) -> Looked:
        """
        Look for candidates in the tallies of a scan, before any of them is asked anything else.

        What goes wrong is told by whoever is asked what was found.
        """
        try:
            inspector, puppeteer = (told[name] for name in self.needed)
            archived = self._reporter.archived(told) if MARKS in told else self._archived(scan)
            return Looked(self._find(scan, Tallies(inspector, puppeteer), archived))
        except (TallyFailed, DatabaseFailed) as error:
            return Looked(error)

    def stored(self, of: Volume, day: date | None) -> Rows:
        """
        The newest stored rows of a volume, which must be of that day if one is given.

        Raises RowsMissing, DatabaseFailed, BasedirsUnreadable.
        """
        runs = [
            self._database.transaction(partial(pages.newest, report=name, volume_name=of.name))
            for name in self.needed
        ]
        missing = [name for name, run in zip(self.needed, runs, strict=True) if run is None]
        inspected, kept = runs
        if inspected is None or kept is None:
            named = " and ".join(missing)
            raise RowsMissing(f"no rows of {named} of {of.name}: run {' '.join(missing)} first")
        _check_scans(inspected.run, kept.run)
        is_of = inspected.run.record_date
        if day not in (None, is_of):
            raise RowsMissing(
                f"the rows of inspector that are kept are of {is_of}, not of {day}: "
                f"run inspector puppeteer candidates --date {day} --force"
            )
        rows = Rows(_scan(of, inspected.run), inspected, kept)
        if inspected.run.settings != self._inspector.settings(rows.scan):
            raise RowsMissing(
                f"the rows of inspector of {of.name} were made with other settings: "
                "run inspector --force first"
            )
        return rows

    def look_at(self, rows: Rows) -> Looked:
        """Look for candidates in stored rows."""
        try:
            source = StoredRows(self._database, rows.inspected, rows.kept)
            return Looked(self._find(rows.scan, source, self._archived(rows.scan)))
        except DatabaseFailed as error:
            return Looked(error)

    def _archived(self, scan: Scan) -> set[int]:
        return self._database.transaction(
            lambda connection: candidate_sources.archived(
                connection, scan.volume.name, scan.record_date
            )
        )

    def _gone(self, scan: Scan) -> set[bytes]:
        """What the archiver has removed since the scan."""

        def ask(connection: Connection) -> set[bytes]:
            since = ledger.gone(connection, scan.volume.name, scan.scanned_at)
            return {each.root for each in since}

        return self._database.transaction(ask)

    def _find(self, scan: Scan, source: Source, archived: Set[int]) -> Found:
        table = self._config.candidates
        rules = Rules(
            min_bytes=table.min_size,
            cold_share=Fraction(table.cold_share),
            cold_after=table.cold_after,
            deeper=frozenset(self._config.inspector.deeper),
            pseudo=frozenset(group.gid for group in self._config.pseudo_groups.values()),
            archived=archived,
            bins=bins(self._config),
            gone=self._gone(scan),
        )
        terms = Terms(
            rules,
            self._inspector.heads(scan),
            table.cost_per_tib_month,
            ShownPaths(symlinks(self._config)),
            partial(shown_groups, self._config, self._names),
        )
        return Found(source, terms)

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written."""
        found: Found = told[self.name].tell(None)
        return _made(scan.volume.name, found, None)

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """
        Put the rows into the database and their TSV into its place.

        Raises DatabaseFailed, AlreadyRecorded, and TsvFailed before anything is recorded; then
        neither has anything of the new rows that a reader could see. A TSV that cannot get its name
        in the end is TsvFailed too: the next run finds it missing.
        """
        found: Found = told[self.name].tell(None)
        filling = candidates.begin(self._database, run, scan.volume, len(found), replace=replace)

        def stored() -> Iterator[Candidate]:
            for chunk in found.chunks():
                filling.add(chunk, found.groups)
                yield from chunk

        def finish() -> None:
            found.check()
            filling.finish()

        path = put(filling, lambda: self._prepare(run, stored()), finish, replace=replace)
        made = _made(run.volume, found, path)
        swept_remarks = swept(self._database, run, candidates.sweep)
        return changed(made, remarks=(*made.remarks, *swept_remarks))

    def recorded(self, run: Run) -> Made:
        """A run that is in the database; what killed runs left there is deleted."""
        return recorded(self._database, run, self.tsv(run), candidates.sweep)

    def is_there(self, run: Run) -> bool:
        """Whether the TSV of a run is there."""
        return self.tsv(run).exists()

    def restore(self, run: Run, told: Told | None) -> bool:
        """
        Write the TSV of a recorded run again: from its rows, else from what was found again.

        Raises DatabaseFailed, and TsvFailed: also where the rows are replaced meanwhile.
        """
        if told is None:
            rows = candidates.read(self._database, run)
        else:
            found: Found = told[self.name].tell(None)
            rows = (row for chunk in found.chunks() for row in chunk)
        if rows is None:
            return False
        try:
            tsv.publish(self._prepare(run, rows))
        except RowsReplaced as error:
            raise TsvFailed(f"{self.tsv(run)} is not written: {error}") from error
        return True

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""
        return tsv.place(self._config.report_dir, self.name, run.record_date, run.volume)

    def _prepare(self, run: Run, rows: Iterator[Candidate]) -> Prepared:
        cells = ((*row[:3], run.volume, *row[3:-1]) for row in rows)  # gids are no column
        return tsv.prepare(self.tsv(run), COLUMNS, cells)


def _made(volume: str, found: Found, path: Path | None) -> Made:
    return Made(len(found), found.top(volume), path, tuple(found.remarks()))


def _check_scans(inspected: Run, kept: Run) -> None:
    """See that two runs were made of one scan, which its time tells. Raises RowsMissing."""
    days = inspected.record_date, kept.record_date
    if days[0] != days[1]:
        raise RowsMissing(
            f"the newest rows of inspector are of {days[0]}, those of puppeteer of {days[1]}: "
            "run the older one of the two first"
        )
    if inspected.scan_time != kept.scan_time:
        raise RowsMissing(
            f"the rows of inspector are of another scan, {inspected.scan_file} of "
            f"{inspected.scan_time}, than those of puppeteer, {kept.scan_file} of "
            f"{kept.scan_time}: run inspector puppeteer candidates --date {days[0]} --force"
        )


def _scan(of: Volume, run: Run) -> Scan:
    """The scan that a run was made of."""
    scan_time = int(run.scan_time.replace(tzinfo=UTC).timestamp())
    return Scan(of, Path(os.fsdecode(raw(run.scan_file))), run.record_date, scan_time)
