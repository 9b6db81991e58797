"""The summary of one directory tree from the newest scan, for whoever asks; nothing is written."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial

from rich.table import Table

from lurge import nightly
from lurge.groups import symlinks
from lurge.nightly import FOUND_BY_ITS_SCAN, Pass
from lurge.onepass.work import Answers, Reading, Work
from lurge.remarks import bad_lines
from lurge.tallies.directories import DirectorySum, DirectoryTally
from lurge.tallies.tally import SumOverflow
from lurge_types.config import Config
from lurge_types.reports import days_between, percent
from lurge_types.scans import Progress, Scan, Volume
from utils import show, tsv
from utils.path_rules import PathRules, ShownPaths, components, real_paths
from utils.paths import text
from utils.scans import NoScans, ScanMissing

COLUMNS = ("path", "real_path", "used_bytes", "inodes", "last_modified_days", "share_percent")
LARGEST_SHOWN = 50


class PathUnplaced(Exception):
    """A path that lies in no volume, or may lie in several."""


class TreeFailed(Exception):
    """A tree that is not in the scan, or whose scan cannot be read."""


@dataclass(frozen=True, slots=True)
class Directory:
    """
    A directory with all that lies below it; a file with several names there counts once.

    path: as people know it.
    last_modified_days: days from the newest modification to the scan, one decimal; None if unknown.
    share_percent: of the tree's bytes; None if it has none.
    """

    path: bytes
    real_path: bytes
    used_bytes: int
    inodes: int
    last_modified_days: Decimal | None
    share_percent: Decimal | None


@dataclass(frozen=True, slots=True)
class Tree:
    """
    The directories of a tree down to a depth, in no order, and what to know of their scan.

    There are several at the top where several real directories are known by the path asked for.
    """

    scan: Scan
    directories: Sequence[Directory]
    remarks: Sequence[str]


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    The tree that is asked for.

    path: absolute; its real form, or the one that people use.
    depth: levels of directories below it; 0 is the path alone.
    symlinks: pattern of the real path → the path that people use.
    """

    path: bytes
    depth: int
    symlinks: dict[bytes, bytes]

    @classmethod
    def of(cls, config: Config, path: bytes, depth: int) -> "Wanted":
        """A tree at a site."""
        return cls(path, depth, symlinks(config))

    @property
    def real_paths(self) -> list[bytes]:
        """Patterns of the real paths that may be meant; the first is the path as it was given."""
        return list(dict.fromkeys(real_paths(self.path, self.symlinks)))

    def is_at(self, real: bytes) -> bool:
        """Whether the tree begins at a real path."""
        return real == self.path or any(
            ShownPaths({pattern: shown}).of(real) == self.path
            for pattern, shown in self.symlinks.items()
        )


def find_scan(
    config: Config, wanted: Wanted, volume: str | None, day: date | None, today: date
) -> Scan:
    """
    The scan of the volume that a tree lies in; of `volume`, if that is given.

    Raises PathUnplaced, UnknownVolume, ScansUnreadable, NoScans, MountsAlike.
    """
    names = [volume] if volume else [table.name for table in config.volume]  # retired or not
    scans = nightly.wanted(config, names, day, today)
    scan = _scan_around(wanted, scans)
    if isinstance(scan, ScanMissing):
        raise NoScans(scan.reason)
    return scan


def _scan_around(wanted: Wanted, scans: Sequence[Scan | ScanMissing]) -> Scan | ScanMissing:
    """The scan of the innermost mount around the tree, or of the only volume without a mount."""
    path = text(wanted.path)
    around = {
        scan: components(scan.volume.mount)
        for scan in scans
        if scan.volume.mount and _may_lie_in(wanted, scan.volume.mount)
    }
    possible = [scan for scan, depth in around.items() if depth == max(around.values())]
    if not possible:
        possible = [scan for scan in scans if not scan.volume.mount]
    if len(possible) == 1:
        return possible[0]
    if possible:
        raise PathUnplaced(f"{path} may lie in {_names(possible)}: say in which with --volume")
    if below := [
        scan for scan in scans if scan.volume.mount and _lies_in(scan.volume.mount, wanted.path)
    ]:
        raise PathUnplaced(f"{path} lies above {_names(below)}: give a path in one of them")
    raise PathUnplaced(f"{path} lies in none of {_names(scans)}: give a path that does")


def _lies_in(path: bytes, directory: bytes) -> bool:
    return path == directory or path.startswith(directory.rstrip(b"/") + b"/")


def _may_lie_in(wanted: Wanted, mount: bytes) -> bool:
    """Whether a mount is, or lies above, one of the real directories that may be meant."""
    _, *patterns = wanted.real_paths
    depth = components(mount)
    return _lies_in(wanted.path, mount) or any(
        components(pattern) >= depth
        and PathRules([b"/".join(pattern.split(b"/")[: depth + 1])]).find(mount) >= 0
        for pattern in patterns
    )


def _names(scans: Iterable[Scan | ScanMissing]) -> str:
    """Volumes in words, with their mounts."""
    return ", ".join(_name(scan.volume) for scan in scans)


def _name(volume: Volume) -> str:
    return f"{volume.name} ({text(volume.mount)})" if volume.mount else volume.name


def read_tree(
    config: Config,
    scan: Scan,
    wanted: Wanted,
    one_pass: Pass,
    progress: Callable[[Progress], None],
) -> Tree:
    """
    Read a scan and add up the tree.

    Raises TreeFailed.
    """
    deepest = max(map(components, wanted.real_paths)) + wanted.depth
    tally = partial(DirectoryTally, scan.scan_time, deepest, PathRules(wanted.real_paths))
    (read,) = one_pass([Work(scan, (tally,))], Reading.of(config), progress)
    if read.error:
        raise TreeFailed(_reason(scan, read.error)) from read.error
    try:
        tops, sums = _sums(read.tallies[0], wanted)
    except SumOverflow as error:
        raise TreeFailed(_reason(scan, error)) from error
    if not sums:
        raise TreeFailed(
            f"{text(wanted.path)} is no directory in the scan of {_name(scan.volume)} of "
            f"{scan.record_date}, {text(bytes(scan.path))}: give one that is, or scan again"
        )
    remarks = [remark for remark in scan.remarks if remark != FOUND_BY_ITS_SCAN]
    return Tree(
        scan,
        list(_directories(tops, sums, scan, wanted)),
        [*remarks, *bad_lines(read.bad)],
    )


def _reason(scan: Scan, error: Exception) -> str:
    """Why a scan cannot be read, in words that name its file."""
    path = text(bytes(scan.path))
    return f"{path}: {error}" if isinstance(error, SumOverflow) else str(error)


def _sums(tally: Answers, wanted: Wanted) -> tuple[list[DirectorySum], list[DirectorySum]]:
    """The sums of the tops of the tree, and of all its directories with them."""
    tops: list[DirectorySum] = []
    sums: list[DirectorySum] = []
    for depth in sorted(set(map(components, wanted.real_paths))):
        # What lies below another top is in its tree already.
        here = {
            row.path: row
            for row in tally.tell(depth)
            if wanted.is_at(row.path) and not any(_lies_in(row.path, top.path) for top in tops)
        }
        found = list(here.values())
        tops += found
        level = depth
        while found:
            sums += found
            level += 1
            if level > depth + wanted.depth:
                break
            found = [row for row in tally.tell(level) if _cut(row.path, depth) in here]
    return tops, sums


def _cut(path: bytes, depth: int) -> bytes:
    """The first components of a path."""
    return b"/".join(path.split(b"/")[: depth + 1]) or b"/"


def _directories(
    tops: Sequence[DirectorySum], sums: Sequence[DirectorySum], scan: Scan, wanted: Wanted
) -> Iterator[Directory]:
    shown = ShownPaths(wanted.symlinks)
    total = sum(row.used_bytes for row in tops)
    for row in sums:
        modified = row.last_modified
        yield Directory(
            shown.of(row.path),
            row.path,
            row.used_bytes,
            row.inodes,
            days_between(modified, scan.scan_time) if modified else None,
            percent(row.used_bytes, total or None),
        )


def as_tsv(tree: Tree) -> Iterator[str]:
    """The lines of a TSV, sorted by path."""
    return tsv.lines(COLUMNS, map(_cells, _by_path(tree)))


def as_json(tree: Tree) -> Iterator[str]:
    """A line of JSON in ASCII for each directory, sorted by path."""
    of_scan = {"volume": tree.scan.volume.name, "record_date": str(tree.scan.record_date)}
    for row in _by_path(tree):
        yield json.dumps(dict(zip(COLUMNS, _cells(row), strict=True)) | of_scan, default=float)


def _by_path(tree: Tree) -> list[Directory]:
    return sorted(
        tree.directories,
        key=lambda row: (text(row.path).encode(), text(row.real_path).encode()),
    )


def _cells(row: Directory) -> tuple[object, ...]:
    return (
        text(row.path),
        text(row.real_path),
        row.used_bytes,
        row.inodes,
        row.last_modified_days,
        row.share_percent,
    )


def as_table(tree: Tree, most: int | None) -> Table:
    """
    The tree for people: below each directory its own, the largest first.

    most: how many directories are shown, the largest; all, if None. With a directory that is shown
    are those above it, as they are at least as large.
    """
    alike = Counter(row.path for row in tree.directories)
    with_real = ("real path",) if max(alike.values()) > 1 else ()
    largest = sorted(tree.directories, key=lambda row: (-row.used_bytes, row.real_path))
    return show.table(
        f"Scan of {tree.scan.scanned_at:%Y-%m-%d %H:%M} UTC",
        ("size", "%", "inodes", "modified", "path", *with_real),
        (_shown(row)[: 5 + len(with_real)] for row in _as_tree(largest[:most])),
        right=("size", "%", "inodes", "modified"),
    )


def _as_tree(rows: Sequence[Directory]) -> list[Directory]:
    """Each directory right behind the one it lies in, or behind what lies in a larger sibling."""
    used = {row.real_path: row.used_bytes for row in rows}

    def down_to(row: Directory) -> list[tuple[int, bytes]]:
        above = (_cut(row.real_path, depth) for depth in range(components(row.real_path) + 1))
        return [(-used[path], path) for path in above if path in used]

    return sorted(rows, key=down_to)


def _shown(row: Directory) -> tuple[str, ...]:
    days = row.last_modified_days
    return (
        show.size(row.used_bytes),
        "-" if row.share_percent is None else str(row.share_percent),
        f"{row.inodes:,}",
        "-" if days is None else f"{days} d ago",
        text(row.path),
        text(row.real_path),
    )
