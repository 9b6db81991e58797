"""
The group splitter: a folder for each day, with a file of raw lines for each group.

The folder is there when every volume that was asked for is in it; if one fails, there is none.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from datetime import date, timedelta
from functools import partial
from operator import attrgetter
from pathlib import Path
from typing import NamedTuple

from db import runs, splits
from db.database import Database, DatabaseFailed
from lurge.onepass.work import Read, Told
from lurge.remarks import bad_lines, too_few_lines
from lurge.splitter.folder import Folder, FolderTaken, remove_older, tidy
from lurge.splitter.join import file_stems, join
from lurge.splitter.parts import SplitFailed, write_lines
from lurge.splitter.tally import Split, SplitTally
from lurge.splitter.upload import upload
from lurge.tallies.owners import OWNERS, By, OwnerTally
from lurge.tallies.tally import Maker, TallyFailed
from lurge_types.config import Config
from lurge_types.names import Group, User
from lurge_types.reports import Outcome, Run, Status
from lurge_types.scans import Scan
from utils import tsv
from utils.names import Names
from utils.s3 import Bucket
from utils.s3_client import S3Failed
from utils.scans import ScanMissing

NOBODY = 65_534
"""The group of users whose own group is not known: `nogroup`, as Debian has it."""

VOLUMES = "volumes.tsv"
VOLUME_COLUMNS = ("volume", "record_date", "lines")

FOLDER_THERE = "the day's folder is there: --force replaces it"

ALL_VOLUMES = "-"
"""Of what is told of the folder as a whole."""


class Taken(NamedTuple):
    """A scan that was split off."""

    run: Run
    scan: Scan
    split: Split
    remarks: tuple[str, ...]


class Splitter:
    """
    Makes the folder of a day, of all scans of a run.

    threads: of each process that reads scans; they share the memory. bucket: where the files are to
    be sent, if anywhere. uploading: told the bytes that are sent, of how many. everyone: with the
    groups that nobody knows. force: in place of a folder that is there. dry_run: count, write
    nothing.
    scans: those that it is to be shown; none where there is nothing to be made.
    """

    name = "splitter"

    def __init__(
        self,
        config: Config,
        database: Database,
        names: Names,
        *,
        threads: int,
        bucket: Bucket | None,
        uploading: Callable[[int, int], object],
        everyone: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> None:
        self.scans: tuple[Scan, ...] = ()
        self._costs = config.splitter.build
        self._days = config.report_dir / self.name
        self._table = config.splitter
        self._database = database
        self._names = names
        self._threads = threads
        self._bucket = bucket
        self._uploading = uploading
        self._everyone = everyone
        self._force = force
        self._dry_run = dry_run
        self._folder: Folder | None = None
        self._taken: list[Taken] = []
        self._users: set[int] = set()
        self._failures: dict[Scan, str] = {}
        self._last: dict[Scan, Run | None] = {}
        self._replaced: Set[str] = frozenset()

    def begin(self, wanted: Sequence[Scan | ScanMissing], today: date) -> Iterator[Outcome]:
        """
        Begin the folder of the newest day among some scans, or tell why it is not begun.

        Raises DatabaseFailed.
        """
        scans = tuple(each for each in wanted if isinstance(each, Scan))
        missing = [each for each in wanted if isinstance(each, ScanMissing)]
        for each in missing:
            yield Outcome(self.name, each.volume.name, "failed", reason=each.reason)
        if missing:
            lacking = ", ".join(each.volume.name for each in missing)
            yield from self._fail(scans, f"it needs every volume, and {lacking} has no scan")
            return
        if not self._dry_run:
            try:
                tidy(self._days)
            except SplitFailed as error:
                yield from self._fail(scans, str(error))
                return
        day = max(scan.record_date for scan in scans)
        self._folder = Folder(self._days, day)
        keep = self._table.keep
        if not (self._force or self._dry_run):
            if self._folder.path.exists():
                yield from self._there(scans, self._folder.path)
                return
            if day < today - timedelta(days=keep):
                remark = f"folders are kept for no more than {keep} days"
                yield from self._tell("skipped", scans, remark)
                return
        if self._force:
            self._replaced = _volumes_in(self._folder.path)
        self._last = {scan: self._run_before(scan) for scan in scans}
        try:
            if not self._dry_run:
                self._folder.begin()
            self.scans = scans
        except SplitFailed as error:
            yield from self._fail(scans, str(error))

    def _run_before(self, scan: Scan) -> Run | None:
        return self._database.transaction(
            lambda connection: runs.last_before(
                connection, self.name, scan.volume.name, scan.record_date
            )
        )

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """What makes its tallies of a scan: lines by group, and who owns them."""
        if scan not in self.scans:
            return {}
        folder = self._folder.part if self._folder and not self._dry_run else None
        budget = self._table.memory_budget // self._threads
        return {
            self.name: partial(SplitTally, folder, budget),
            OWNERS: partial(OwnerTally, scan.scan_time),
        }

    def take(self, run: Run, read: Read, told: Told) -> None:
        """Take what was split off a scan."""
        scan = read.scan
        try:
            split = told[self.name].tell(None)
            self._users |= {owner.uid for owner in told[OWNERS].tell(By.USER)}
        except TallyFailed as error:
            self.give_up(scan, str(error))
        else:
            last = self._last.get(scan)
            remarks = (*scan.remarks, *bad_lines(read.bad), *too_few_lines(run, last))
            self._taken.append(Taken(run, scan, split, remarks))

    def give_up(self, scan: Scan, reason: str) -> None:
        """Take note that a scan failed, and why."""
        self._failures[scan] = reason

    def finish(self, today: date) -> Iterator[Outcome]:
        """Make the folder whole if all scans were taken, send its files, remove old folders."""
        if self.scans and self._folder:
            yield from self._outcomes(self._folder)
        if self._dry_run:
            return
        if self._bucket and self._folder and self._folder.path.exists():
            yield self._upload(self._bucket, self._folder.path)
        made = self._folder.path if self.scans and self._folder else None
        try:
            remove_older(self._days, self._table.keep, today, made)
        except SplitFailed as error:
            yield Outcome(self.name, ALL_VOLUMES, "failed", reason=str(error))

    def close(self) -> None:
        """Remove what was not made whole."""
        if self._folder:
            self._folder.discard()

    def _outcomes(self, folder: Folder) -> Iterator[Outcome]:
        """Make the folder, and tell what became of each volume."""
        if self._failures:
            failed = ", ".join(sorted(scan.volume.name for scan in self._failures))
            for scan in self.scans:
                why = f"it needs every volume, and this failed: {failed}"
                yield from self._fail([scan], self._failures.get(scan, why))
            return
        gids = {gid for taken in self._taken for gid in taken.split.groups}
        groups = self._names.groups(gids)
        wanted = {gid: group for gid, group in groups.items() if group.known or self._everyone}
        try:
            if not self._dry_run:
                self._make(folder, wanted)
        except (SplitFailed, DatabaseFailed) as error:
            yield from self._fail(self.scans, str(error))
        except FolderTaken:
            yield from self._tell("already", self.scans, "another run has made the day's folder")
        else:
            yield from (self._outcome(taken, wanted) for taken in self._taken)

    def _make(self, folder: Folder, groups: Mapping[int, Group]) -> None:
        """
        Make the files of some groups, and all that stands beside them.

        Raises SplitFailed, DatabaseFailed, FolderTaken; then there is no folder of this run.
        """
        stems = file_stems({gid: group.name for gid, group in groups.items()})
        of_volumes = [taken.split for taken in self._taken]
        join(folder.part, of_volumes, stems, self._costs, self._threads)
        users = self._names.users(self._users).values()
        write_lines(
            folder.part / "passwd",
            (
                f"{_field(each.name)}:x:{each.uid}:{_own_group(each)}:::\n"
                for each in sorted(users, key=attrgetter("uid"))
                if each.known
            ),
        )
        write_lines(
            folder.part / "group",
            (
                f"{_field(each.name)}:x:{each.gid}:\n"
                for each in sorted(groups.values(), key=attrgetter("gid"))
                if each.known
            ),
        )
        made_of = (taken.run for taken in self._taken)
        rows = sorted((run.volume, run.record_date, run.lines) for run in made_of)
        write_lines(folder.part / VOLUMES, tsv.lines(VOLUME_COLUMNS, rows))
        splits.record(self._database, [(taken.run, taken.scan.volume) for taken in self._taken])
        folder.publish(replace=self._force)

    def _outcome(self, taken: Taken, groups: Mapping[int, Group]) -> Outcome:
        """What became of a volume, and how many of its lines are not in the folder."""
        lines = {gid: each.lines for gid, each in taken.split.groups.items()}
        left_out = [lines[gid] for gid in lines.keys() - groups.keys()]
        remarks = taken.remarks
        if left_out:
            many = "1 group" if len(left_out) == 1 else f"{len(left_out):,} groups"
            of = f"{sum(left_out):,} lines of {many} that nobody knows"
            remarks = (*remarks, f"{of} are left out: --all takes them")
        if dropped := self._replaced - {taken.run.volume for taken in self._taken}:
            names = ", ".join(sorted(dropped))
            remarks = (*remarks, f"THE FOLDER IT REPLACES HAD ALSO {names}")
        return Outcome(
            self.name,
            taken.run.volume,
            "read" if self._dry_run else "written",
            taken.run,
            sum(lines.values()) - sum(left_out),
            None if self._dry_run or not self._folder else self._folder.path,
            remarks,
        )

    def _there(self, scans: Sequence[Scan], folder: Path) -> Iterator[Outcome]:
        """What became of volumes of a folder that is there; not all of them may be in it."""
        held = _volumes_in(folder)
        there = f"{folder} is there without it, made of {', '.join(sorted(held)) or 'nothing'}"
        for scan in scans:
            if scan.volume.name in held:
                yield from self._tell("already", [scan], FOLDER_THERE)
            else:
                yield from self._fail([scan], f"{there}: --force makes it of those asked for")

    def _tell(self, status: Status, scans: Sequence[Scan], remark: str) -> Iterator[Outcome]:
        path = self._folder.path if self._folder and self._folder.path.exists() else None
        for scan in scans:
            yield Outcome(self.name, scan.volume.name, status, tsv=path, remarks=(remark,))

    def _fail(self, scans: Sequence[Scan], reason: str) -> Iterator[Outcome]:
        for scan in scans:
            yield Outcome(self.name, scan.volume.name, "failed", reason=reason)

    def _upload(self, bucket: Bucket, folder: Path) -> Outcome:
        """Send the files that are not there yet."""
        try:
            done = upload(folder, bucket, self._uploading)
        except (S3Failed, OSError) as error:
            return Outcome(self.name, ALL_VOLUMES, "failed", reason=str(error))
        status: Status = "written" if done.sent else "already"
        remark = (
            f"{done.sent:,} files sent to {done.destination}, {done.already_there:,} were there"
        )
        return Outcome(self.name, ALL_VOLUMES, status, rows=done.sent, remarks=(remark,))


def _volumes_in(folder: Path) -> Set[str]:
    """The volumes that a folder is made of; none where it is not there."""
    with suppress(FileNotFoundError):
        lines = (folder / VOLUMES).read_text(encoding="utf-8").splitlines()
        return {line.partition("\t")[0] for line in lines[1:]}
    return set()


def _field(name: str) -> str:
    """A name as a field of a line; in its text form, the only thing in it that could end one."""
    return name.replace(":", "%3A")


def _own_group(user: User) -> int:
    return NOBODY if user.gid is None else user.gid
