"""The doctor: whether a run would go through tonight, point by point, and what to do if not."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryFile
from typing import Literal

from rich.table import Table

from db import checkup
from db.database import Database, is_empty_file
from lurge import nightly, retention
from lurge_types.config import Config, KeepTable, ServeTable, VolumeTable
from lurge_types.scans import Scan
from utils import show
from utils.mounts import Mount, mounts, nearest
from utils.names import Names
from utils.paths import raw, text
from utils.quotas import Quotas
from utils.scans import MountsAlike, NoScans, ScanMissing, ScansUnreadable

State = Literal["ok", "look", "fails"]

MPI_RANKS = 2
MPI_SECONDS = 60
NIGHTS_A_YEAR = 365
GROUPS_ASKED = 3
SQLITE = "sqlite:///"


@dataclass(frozen=True, slots=True)
class Point:
    """
    One thing that a run needs.

    state: `ok`; `look`: a run goes through, but somebody should see to it; `fails`: a run, or a
        part of it, would fail.
    words: what was found, and what to do about it.
    """

    point: str
    state: State
    words: str


Check = Callable[[], Iterable[Point]]
"""Looks at something; what it raises is why a run would fail."""


@dataclass(frozen=True, slots=True)
class Patient:
    """
    What a run would start with.

    sources: gives names and quotas, and tells what is odd. database: opens it, without making its
    tables. needs: what else a run sees to before it starts, by the configuration's key. archive:
    what the archiver needs, where it is configured, by the point. failures: what these may raise.
    """

    config: Config
    today: date
    sources: Callable[[Callable[[str], None]], tuple[Names, Quotas]]
    database: Callable[[], Database]
    needs: dict[str, Callable[[], object]]
    archive: Mapping[str, Check]
    failures: tuple[type[Exception], ...]


def examine(patient: Patient) -> Iterator[Point]:
    """Look at everything that a run needs."""
    config = patient.config
    checks: dict[str, Check] = {
        "scans": partial(_scans, config, patient.today),
        "database": partial(_database, patient),
        "names and quotas": partial(_sources, patient),
        **{key: partial(_need, key, need) for key, need in patient.needs.items()},
        **patient.archive,
        "space": partial(_space, config, patient.today),
        "volumes": lambda: volumes(config, mounts(), patient.today),
        "directories": partial(_directories, config, patient.today),
        "ranks": lambda: ranks(mpirun()),
    }
    for point, check in checks.items():
        try:
            yield from check()
        except patient.failures as error:
            yield from (Point(point, "fails", line) for line in str(error).splitlines())


def table(points: Sequence[Point]) -> Table:
    """The points for people."""
    rows = ((point.point, point.state, point.words) for point in points)
    return show.table("Doctor", ("point", "state", "what"), rows)


def as_json(point: Point) -> str:
    """A point as one line of JSON."""
    return json.dumps(asdict(point))


def _scans(config: Config, today: date) -> Iterator[Point]:
    """Whether each volume has a scan, and how old it is."""
    for scan in nightly.wanted(config, (), None, today):
        of = f"scan of {scan.volume.name}"
        if isinstance(scan, ScanMissing):
            yield Point(of, "fails", scan.reason)
        elif not os.access(scan.path, os.R_OK):
            yield Point(of, "fails", f"{_shown(scan.path)} cannot be read: see to its rights")
        else:
            facts = f"{scan.record_date}, {show.size(_bytes(scan))}, {_shown(scan.path)}"
            remarks = [each for each in scan.remarks if each != nightly.FOUND_BY_ITS_SCAN]
            yield Point(of, "look" if remarks else "ok", "; ".join((facts, *remarks)))


def _database(patient: Patient) -> Iterator[Point]:
    """Whether it is there with its tables, may be written, and how large it gets."""
    url = patient.config.database.url
    if is_empty_file(url):
        yield Point("database", "ok", f"{url} is not there yet: the first run makes it")
        return
    database = patient.database()
    try:
        database.check(make=False)
        database.transaction(checkup.try_rights)
        yield Point("database", "ok", f"{database.name} has its tables, and may be written")
        found = database.transaction(partial(checkup.size, today=patient.today))
        yield _size(patient.config, patient.today, found)
    finally:
        database.close()


def _size(config: Config, today: date, found: checkup.Size) -> Point:
    """What the database takes, and in a year; volumes that have no records yet are average ones."""
    now = f"{show.size(found.bytes_now)} now"
    if not found.bytes_a_night:
        return Point("database size", "ok", f"{now}; of what a night adds nothing is known yet")
    volumes = max(len(_in_use(config, today)), found.volumes)
    night = found.bytes_a_night * volumes // found.volumes
    year = found.bytes_now + grown_in_a_year(config.database.keep, today, found, volumes)
    of = f"{volumes} volumes" if volumes > 1 else "1 volume"
    words = (
        f"{now}, {show.size(night)} more each night of {of}: {show.size(year)} in a year, with "
        "history thinned out by [database.keep]"
    )
    return Point("database size", "ok", words)


def grown_in_a_year(keep: KeepTable, today: date, found: checkup.Size, volumes: int) -> int:
    """
    By how many bytes the database grows within a year, if each night adds what the last one did.

    Never below 0: what is deleted leaves room in the files, which do not shrink.
    """
    nights = [today + timedelta(days) for days in range(1, NIGHTS_A_YEAR + 1)]

    def more(days: Sequence[date], *, grows: bool = True) -> int:
        """How many more days are there in a year than now."""
        then = {*days, *nights} if grows else days
        return len(retention.kept(then, nights[-1], keep)) - len(days)

    recorded = sum(each.bytes_a_day * more(each.days, grows=each.grows) for each in found.histories)
    history_a_night = found.bytes_a_night - found.vault_bytes_a_night
    not_yet = history_a_night * more(()) * (volumes - found.volumes) // found.volumes
    vaults = NIGHTS_A_YEAR * found.vault_bytes_a_night * volumes // found.volumes
    return max(0, recorded + not_yet + vaults)


def _sources(patient: Patient) -> Iterator[Point]:
    """Whether names and quotas can be had."""
    started = time.monotonic()
    odd: list[str] = []
    names, quotas = patient.sources(odd.append)
    seconds = time.monotonic() - started
    source = patient.config.names.source
    yield Point("names", "ok", f"names.source = {source} answers in {seconds:.1f} s")
    yield from (Point("names", "look", remark) for remark in odd)
    yield from _pseudo_groups(patient.config, names)
    yield from _pages(patient.config.serve, names)
    yield from _quotas(patient, names, quotas)


def _pages(serve: ServeTable, names: Names) -> Iterator[Point]:
    """Whether somebody may see all pages, and not everybody say to be anybody."""
    known = names.gids(serve.admin_groups)
    if unknown := [name for name in serve.admin_groups if name not in known]:
        words = f"serve.admin_groups: nobody knows {', '.join(unknown)}: see how it is written"
        yield Point("pages", "look", words)
    if anybody := [str(network) for network in serve.proxies if network.prefixlen == 0]:
        words = (
            f"serve.proxies: {', '.join(anybody)} has every address: whoever reaches the port can "
            "say to be anybody"
        )
        yield Point("pages", "look", words)


def _pseudo_groups(config: Config, names: Names) -> Iterator[Point]:
    """Pseudo groups whose number is a real group's."""
    pseudo = {group.gid: group.name for group in config.pseudo_groups.values()}
    for group in names.groups(sorted(pseudo)).values():
        if group.known:
            words = (
                f"gid {group.gid} of {pseudo[group.gid]} is that of {group.name}, whose files "
                "count to it too: give it a gid that nobody has"
            )
            yield Point("pseudo_groups", "look", words)


def _quotas(patient: Patient, names: Names, quotas: Quotas) -> Iterator[Point]:
    """What the sources of quotas say of a few groups on each volume."""
    config = patient.config
    if not config.quotas.source:
        yield Point("quotas", "ok", "quotas.source = none: no group has a limit")
        return
    asked = list(names.groups(_some_gids(patient)).values())
    of = ", ".join(group.name for group in asked)
    for volume in (each.volume for each in _newest(config, patient.today)):
        answer = quotas.limits(volume, asked)
        words = (
            f"quotas.source = {', '.join(config.quotas.source)}: asked for {of}, it knows "
            f"{len(answer.limits)} of them"
        )
        state: State = "look" if answer.remarks else "ok"
        yield Point(f"quotas of {volume.name}", state, "; ".join((words, *answer.remarks)))


def _some_gids(patient: Patient) -> list[int]:
    """A few groups that the last nights have met; one's own where there is no database."""
    if is_empty_file(patient.config.database.url):
        return [os.getgid()]
    try:
        database = patient.database()
        largest = partial(checkup.largest_gids, most=GROUPS_ASKED, today=patient.today)
        met = database.transaction(largest)
        database.close()
    except patient.failures:  # which are a point of their own
        met = []
    return met or [os.getgid()]


def _need(key: str, need: Callable[[], object]) -> Iterator[Point]:
    """Whether something can be used as it is configured."""
    need()
    yield Point(key, "ok", "can be used as configured")


def _space(config: Config, today: date) -> Iterator[Point]:
    """Whether there is room for a night: group files take about as much as the scans."""
    needed = sum(_bytes(each) for each in _newest(config, today) if isinstance(each, Scan))
    yield room(config.report_dir, needed)
    if config.database.url.startswith(SQLITE):
        yield room(Path(config.database.url.removeprefix(SQLITE)).parent, 0)


def room(folder: Path, needed: int) -> Point:
    """Whether so many bytes can be written below a folder, which need not be there yet."""
    there = nearest(folder.absolute())
    point = f"space in {_shown(folder)}"
    try:
        with TemporaryFile(dir=there) as trial:
            trial.write(b"\0")
    except OSError as error:
        words = f"{_shown(there)} cannot be written: {error.strerror}: see to its rights and room"
        return Point(point, "fails", words)
    free = shutil.disk_usage(there).free
    words = f"{show.size(free)} free"
    if free < needed:
        advice = f"tonight's scans have {show.size(needed)}, and group files take about as much"
        return Point(point, "look", f"{words}: {advice}: make room, or put report_dir elsewhere")
    return Point(point, "ok", words)


def volumes(config: Config, mounted_here: Iterable[Mount], today: date) -> Iterator[Point]:
    """Shared filesystems that are mounted here and not configured, and the other way round."""
    mounted = {mount.place: mount for mount in mounted_here}
    configured = {table.mount for table in config.volume}
    if not configured:
        words = "no [[volume]] is configured: every mount that has scans is taken"
        yield Point("volumes", "look", words)
    for place, mount in sorted(mounted.items()):
        if mount.is_shared and place not in configured:
            words = f"{mount.kind.decode()} on {place} has no [[volume]]: add one, or let it be"
            yield Point("volumes", "look", words)
    asks_lfs = "lfs" in config.quotas.source
    for table in _in_use(config, today):
        if table.mount not in mounted and asks_lfs:
            words = (
                f"{table.mount} of {table.name} is not mounted here, so lfs cannot tell its quotas"
            )
            yield Point("volumes", "look", words)


def _directories(config: Config, today: date) -> Iterator[Point]:
    """Directories that the configuration names and that are not there, where the volume is."""
    for table in _in_use(config, today):
        if not os.path.isdir(raw(table.mount)):  # noqa: PTH112 - a path of bytes
            continue
        for directory in table.group_directories:
            if "*" not in directory and not os.path.isdir(raw(directory)):  # noqa: PTH112
                words = f"group_directories of {table.name}: {directory} is not there"
                yield Point("directories", "look", words)


def mpirun() -> str | None:
    """The program that starts ranks: the one beside this Python, or the machine's."""
    beside = Path(sys.executable).with_name("mpirun")
    return str(beside) if beside.exists() else shutil.which("mpirun")


def ranks(mpirun: str | None) -> Iterator[Point]:
    """Whether ranks can be started; without them a run goes by threads."""
    if not (mpirun and find_spec("mpi4py")):
        missing = "no mpi4py" if mpirun else "no mpirun"
        advice = "runs go by threads; for ranks: pip install 'lurge[mpi]'"
        yield Point("ranks", "look", f"{missing}: {advice}")
        return
    program = "from mpi4py import MPI; MPI.COMM_WORLD.Barrier()"
    command = [mpirun, "-n", str(MPI_RANKS), sys.executable, "-m", "mpi4py", "-c", program]
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and nothing in it is data
            command, capture_output=True, timeout=MPI_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        yield Point("ranks", "look", f"{mpirun} started nothing in {MPI_SECONDS} s")
        return
    except OSError as error:
        yield Point("ranks", "look", f"{mpirun} cannot be started: {error.strerror}")
        return
    if done.returncode:
        said = done.stderr.decode(errors="backslashreplace").split("\n")
        reason = next((line.strip(" -") for line in said if line.strip(" -")), "it said nothing")
        yield Point("ranks", "look", f"{mpirun} -n {MPI_RANKS} fails: {reason}")
    else:
        yield Point("ranks", "ok", f"{mpirun} starts {MPI_RANKS} ranks")


def _in_use(config: Config, today: date) -> list[VolumeTable]:
    """The configured volumes that have not retired."""
    retired = config.retired(today)
    return [table for table in config.volume if table.name not in retired]


def _newest(config: Config, today: date) -> Sequence[Scan | ScanMissing]:
    """The newest scan of each volume; none where that cannot be told, which is a point too."""
    try:
        return nightly.wanted(config, (), None, today)
    except (NoScans, ScansUnreadable, MountsAlike):
        return ()


def _bytes(scan: Scan) -> int:
    """The size of a scan; 0 of one that cannot be looked at, which is a point of its own."""
    try:
        return scan.path.stat().st_size
    except OSError:
        return 0


def _shown(path: Path) -> str:
    return text(bytes(path))
