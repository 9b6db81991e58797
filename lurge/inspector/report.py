"""The project inspector: what is in each project directory, by file type and age."""

from collections.abc import Iterator, Mapping
from dataclasses import replace as changed
from functools import partial
from hashlib import sha256
from pathlib import Path

from db import directories
from db.database import Database
from lurge.filled import chunks, put, recorded, swept
from lurge.groups import group_order, pseudo_groups, shown_groups, symlinks
from lurge.inspector.rows import Bases, Counts, Directories, Groups, Largest, Put
from lurge.inspector.rules import BaseRule, FileType, RuleHeads, Rules
from lurge.inspector.tally import InspectorTally
from lurge.onepass.work import Answers, Told
from lurge.tallies.tally import Maker
from lurge_types.config import Config
from lurge_types.names import Group
from lurge_types.reports import (
    DIRECTORY_COLUMNS,
    OTHER,
    DirectoryReport,
    Made,
    NamedDirectory,
    Run,
)
from lurge_types.scans import Scan
from utils import tsv
from utils.basedirs import Basedirs, newest
from utils.names import Names
from utils.path_rules import components, real_paths
from utils.paths import raw
from utils.tsv import Prepared

NO_MOUNT = (
    "nothing tells where base directories are: configure [[volume]] with its mount, or "
    "inspector.base_directories"
)


class Inspector:
    """Makes the rows of `directory` with its details, of `base_directory_usage`, and their TSV."""

    name = "inspector"

    def __init__(self, config: Config, database: Database, group_names: Names) -> None:
        self._config = config
        self._database = database
        self._names = group_names
        self._symlinks = symlinks(config)
        self._types = tuple(config.inspector.file_types)
        self._basedirs: dict[Scan, Basedirs] = {}

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """
        What makes its tally of a scan.

        Raises BasedirsUnreadable.
        """
        inspector = self._config.inspector
        rules = Rules(
            scan_time=scan.scan_time,
            bases=self._found(scan).paths,
            base_rules=tuple(self._base_rules(scan)),
            deeper=tuple(map(raw, inspector.deeper)),
            file_types=tuple(
                FileType(name, tuple(raw(ending).lower() for ending in endings))
                for name, endings in inspector.file_types.items()
            ),
            rows_per_base=inspector.rows_per_base,
            symlinks=self._symlinks,
            pseudo=pseudo_groups(self._config),
        )
        return {self.name: partial(InspectorTally, rules)}

    def settings(self, scan: Scan) -> str:
        """
        A digest of the settings that rows depend on, and of the base directories that were found.

        Raises BasedirsUnreadable.
        """
        settings = self._config.model_dump_json(include={"inspector", "pseudo_groups", "symlinks"})
        bases = [*self._found(scan).paths, scan.volume.mount or b""]
        return sha256(b"\0".join([settings.encode(), *bases])).hexdigest()

    def heads(self, scan: Scan) -> RuleHeads:
        """The directories in which rules begin."""
        return RuleHeads(self._base_rules(scan))

    def _found(self, scan: Scan) -> Basedirs:
        """The file of base directories that counts for a scan, which is read once."""
        if scan not in self._basedirs:
            config = self._config
            self._basedirs[scan] = newest(config.wrstat_dir, scan.record_date, config.max_days_ago)
        return self._basedirs[scan]

    def _base_rules(self, scan: Scan) -> Iterator[BaseRule]:
        """The configured rules, of real paths too; without any the first level of the volume."""
        for rule in self._config.inspector.base_directories:
            prefix = raw(rule.prefix)
            for real in real_paths(prefix, self._symlinks):
                yield BaseRule(real, rule.depth + components(real) - components(prefix))
        mount = scan.volume.mount
        if mount and not self._config.inspector.base_directories:
            yield BaseRule(mount, components(mount) + 1)

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written."""
        tally = told[self.name]
        groups = self._groups(tally)
        counts = self._put(tally, groups)
        return self._made(scan, tally, groups, counts, None)

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """
        Put the rows into the database and their TSV into its place.

        Raises DatabaseFailed, AlreadyRecorded, and TsvFailed before anything is recorded; then
        neither has anything of the new rows that a reader could see. A TSV that cannot get its name
        in the end is TsvFailed too: the next run finds it missing.
        """
        tally = told[self.name]
        groups = self._groups(tally)
        counts = self._put(tally, groups)
        filling = directories.begin(
            self._database,
            run,
            scan.volume,
            counts.directories,
            file_types=self._types,
            replace=replace,
        )

        def stored() -> Iterator[DirectoryReport]:
            for chunk in chunks(tally, Directories, counts.directories):
                filling.add(chunk, groups)
                yield from chunk

        path = put(
            filling,
            lambda: self._prepare(run, stored(), groups),
            lambda: filling.finish(lambda: chunks(tally, Bases, counts.bases), groups),
            replace=replace,
        )
        made = self._made(scan, tally, groups, counts, path)
        swept_remarks = swept(self._database, run, directories.sweep)
        return changed(made, remarks=(*made.remarks, *swept_remarks))

    def recorded(self, run: Run) -> Made:
        """A run that is in the database; what killed runs left there is deleted."""
        return recorded(self._database, run, self.tsv(run), directories.sweep)

    def is_there(self, run: Run) -> bool:
        """Whether the TSV of a run is there."""
        return self.tsv(run).exists()

    def restore(self, run: Run, told: Told | None) -> bool:
        """Write the TSV of a recorded run again, for which its scan must be read again."""
        if told is None:
            return False
        tally = told[self.name]
        groups = self._groups(tally)
        counts = self._put(tally, groups)
        of_chunks = chunks(tally, Directories, counts.directories)
        rows = (row for chunk in of_chunks for row in chunk)
        tsv.publish(self._prepare(run, rows, groups))
        return True

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""
        return tsv.place(self._config.report_dir, self.name, run.record_date, run.volume)

    def _groups(self, tally: Answers) -> Mapping[int, Group]:
        return shown_groups(self._config, self._names, tally.tell(Groups()))

    def _put(self, tally: Answers, groups: Mapping[int, Group]) -> Counts:
        order = sorted(groups.values(), key=group_order)
        counts: Counts = tally.tell(Put(tuple(group.gid for group in order)))
        return counts

    def _prepare(
        self, run: Run, rows: Iterator[DirectoryReport], groups: Mapping[int, Group]
    ) -> Prepared:
        columns = (*DIRECTORY_COLUMNS, *self._types, OTHER)
        cells = (self._cells(run.volume, groups[row.gid], row) for row in rows)
        return tsv.prepare(self.tsv(run), columns, cells)

    def _cells(self, volume: str, group: Group, row: DirectoryReport) -> tuple[object, ...]:
        sizes = {part.kind: part.size_bytes for part in row.by_type}
        return (
            volume,
            group.name,
            group.gid,
            group.pi,
            row.base.shown,
            row.directory,
            row.files,
            row.size_bytes,
            row.last_modified_days,
            row.last_used_days,
            *(sizes.get(kind, 0) for kind in range(1, len(self._types) + 1)),
            sizes.get(0, 0),
        )

    def _made(
        self,
        scan: Scan,
        tally: Answers,
        groups: Mapping[int, Group],
        counts: Counts,
        path: Path | None,
    ) -> Made:
        largest = [
            NamedDirectory(scan.volume.name, groups[row.gid], row) for row in tally.tell(Largest())
        ]
        return Made(counts.directories, tuple(largest), path, tuple(self._remarks(scan, counts)))

    def _remarks(self, scan: Scan, counts: Counts) -> Iterator[str]:
        found = self._found(scan)
        yield from found.remarks
        if not (found.paths or list(self._base_rules(scan))):
            yield NO_MOUNT
        if counts.folded:
            yield (
                f"{counts.folded:,} directories are folded into *other* in {counts.folded_bases:,} "
                "base directories: see inspector.rows_per_base"
            )
