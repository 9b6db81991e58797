"""The puppeteer: which files people have put into vaults, to keep or to archive."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace as changed
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from db import names, vaults
from db.database import Database
from db.vaults import Filling, Overtaken
from lurge.bins import bins
from lurge.filled import CHUNK_ROWS, chunks, put, recorded, swept
from lurge.groups import group_order, symlinks
from lurge.onepass.work import Answers, Told
from lurge.puppeteer.rows import At, Counts, Faults, Files, Largest, Owned, Owners, Put, States
from lurge.puppeteer.tally import VaultTally
from lurge.tallies.tally import Maker
from lurge_types.config import Config
from lurge_types.names import Group, User
from lurge_types.reports import Made, NamedFile, Run
from lurge_types.scans import Scan
from lurge_types.vaults import VaultFile
from utils import tsv
from utils.names import Names
from utils.tsv import Prepared

COLUMNS = ("volume", "action", "group", "user", "size_bytes", "last_modified", "links", "path")
BRANCHES_TOLD = 10


class Named(NamedTuple):
    """Who owns what is in vaults, by gid and uid."""

    groups: Mapping[int, Group]
    users: Mapping[int, User]


class Puppeteer:
    """Makes the rows of `vault`, and their TSV."""

    name = "puppeteer"

    def __init__(self, config: Config, database: Database, owner_names: Names) -> None:
        self._report_dir = config.report_dir
        self._symlinks = symlinks(config)
        self._bins = bins(config)
        self._database = database
        self._names = owner_names

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """What makes its tally of a scan. Raises DatabaseFailed."""
        make = partial(VaultTally, scan.scan_time, self._actions(), self._symlinks, self._bins)
        return {self.name: make}

    def settings(self, scan: Scan) -> str:  # noqa: ARG002 - the same for all scans
        """A digest of the actions, of how paths are shown, and of bins. Raises DatabaseFailed."""
        settings = [self._actions(), sorted(self._symlinks.items()), *self._bins.folders]
        return sha256(repr(settings).encode()).hexdigest()

    def _actions(self) -> tuple[str, ...]:
        return tuple(sorted(self._database.transaction(names.vault_actions)))

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written."""
        tally = told[self.name]
        named = self._named(tally)
        return _made(scan.volume.name, tally, named, _put(tally, named), None)

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """
        Put what changed since the last date into the database, and the TSV into its place.

        Raises DatabaseFailed, AlreadyRecorded, and TsvFailed before anything is recorded; then
        neither has anything of the new rows that a reader could see. A TSV that cannot get its name
        in the end is TsvFailed too: the next run finds it missing.
        """
        try:
            return self._write(run, scan, told[self.name], replace=replace)
        except Overtaken:  # by another date: now it is known with what to compare
            return self._write(run, scan, told[self.name], replace=replace)

    def _write(self, run: Run, scan: Scan, tally: Answers, *, replace: bool) -> Made:
        named = self._named(tally)
        counts = _put(tally, named)
        filling = vaults.begin(self._database, run, scan.volume, counts.files, replace=replace)

        def prepare() -> Prepared:
            _fill(filling, tally, named, counts)
            return self._prepare(run, tally, named, counts)

        path = put(filling, prepare, filling.finish, replace=replace)
        made = _made(run.volume, tally, named, counts, path)
        swept_remarks = swept(self._database, run, vaults.sweep)
        return changed(made, remarks=(*made.remarks, *swept_remarks))

    def recorded(self, run: Run) -> Made:
        """A run that is in the database; what killed runs left there is deleted."""
        return recorded(self._database, run, self.tsv(run), vaults.sweep)

    def is_there(self, run: Run) -> bool:
        """Whether the TSV of a run is there."""
        return self.tsv(run).exists()

    def restore(self, run: Run, told: Told | None) -> bool:
        """Write the TSV of a recorded run again, for which its scan must be read again."""
        if told is None:
            return False
        tally = told[self.name]
        named = self._named(tally)
        tsv.publish(self._prepare(run, tally, named, _put(tally, named)))
        return True

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run is."""
        return tsv.place(self._report_dir, self.name, run.record_date, run.volume)

    def _named(self, tally: Answers) -> Named:
        owned: Owned = tally.tell(Owners())
        return Named(self._names.groups(owned.gids), self._names.users(owned.uids))

    def _prepare(self, run: Run, tally: Answers, named: Named, counts: Counts) -> Prepared:
        files = chunks(tally, Files, counts.files)
        rows = (_cells(run.volume, named, file) for chunk in files for file in chunk)
        return tsv.prepare(self.tsv(run), COLUMNS, rows)


def _put(tally: Answers, named: Named) -> Counts:
    groups = sorted(named.groups.values(), key=group_order)
    users = sorted(named.users.values(), key=lambda user: (user.name.encode(), user.uid))
    counts: Counts = tally.tell(
        Put(tuple(group.gid for group in groups), tuple(user.uid for user in users))
    )
    return counts


def _fill(filling: Filling, tally: Answers, named: Named, counts: Counts) -> None:
    """Add the files whose states have no row yet."""
    if not filling.stores_rows:
        return
    states = (state for chunk in chunks(tally, States, counts.files) for state in chunk)
    new = filling.changes(states)
    for first in range(0, len(new), CHUNK_ROWS):
        files = tally.tell(At(tuple(new[first : first + CHUNK_ROWS])))
        filling.add(files, named.users, named.groups)


def _cells(volume: str, named: Named, file: VaultFile) -> tuple[object, ...]:
    return (
        volume,
        file.action,
        named.groups[file.gid].name,
        named.users[file.uid].name,
        file.size_bytes,
        file.last_modified,
        file.links,
        file.shown,
    )


def _made(volume: str, tally: Answers, named: Named, counts: Counts, path: Path | None) -> Made:
    largest = [
        NamedFile(volume, named.users[file.uid], named.groups[file.gid], file)
        for file in tally.tell(Largest())
    ]
    return Made(counts.files, tuple(largest), path, tuple(_remarks(counts)))


def _remarks(counts: Counts) -> Iterator[str]:
    if counts.others:
        yield f"files in other branches: {_listed(f'{name} {n:,}' for name, n in counts.others)}"
    if counts.broken.count:
        yield f"broken entries in vaults: {counts.broken.count:,}: {_faults(counts.broken)}"
    if counts.copied.count:
        yield f"files in copies of vaults: {counts.copied.count:,}: {_faults(counts.copied)}"


def _listed(parts: Iterable[str]) -> str:
    told = list(parts)
    more = "" if len(told) <= BRANCHES_TOLD else f", and {len(told) - BRANCHES_TOLD:,} more"
    return ", ".join(told[:BRANCHES_TOLD]) + more


def _faults(faults: Faults) -> str:
    """The first few, and how many more there are."""
    told = "; ".join(f"{each.path} ({each.reason})" for each in faults.first)
    return told if len(faults.first) == faults.count else f"{told}; ..."
