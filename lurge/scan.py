"""
Writes the scan of a directory tree in today's wrstat form.

A scan is filled in a folder whose name begins with a dot and gets its name when it is complete and
on disk. Who fills it holds a lock on its file, so what a killed scan left behind can be told from
a scan under way.
"""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from isal import isal_zlib

from lurge_types.batch import Entry
from utils.durable import sync_folder
from utils.paths import text
from utils.scans import FULLWIDTH_SLASH
from utils.walk import THREADS, Refusal, Refusals, WalkFailed, walk
from utils.wrstat import format_line
from utils.wrstat_loops import LONGEST_LINE

STATS = "stats.gz"
NEW = "new"
TIME = "%Y%m%d-%H%M%S"
DOTTED_TIME = re.compile(rb"\.\d{8}-\d{6}").fullmatch
LONGEST_NAME = 255
SLASH = FULLWIDTH_SLASH.encode()

LINES_AT_A_TIME = 1000
LEVEL = 1
"""1.1 GB/s and an eighth of the text; level 3 takes three times as long for 1 % less."""
GZIP = 31
"""What zlib's functions call a deflate stream with a gzip header and trailer."""


class ScanFailed(Exception):
    """No scan was written and nothing is left of it: the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Written:
    """
    A scan that was written.

    path: the file.
    size_bytes: the sum of the sizes of all entries, a file once for each of its names.
    refused: how many paths could not be read; `refusals` are the first of them.
    """

    path: Path
    entries: int
    size_bytes: int
    refused: int
    refusals: tuple[Refusal, ...]


def _no_progress(entries: int) -> None:
    """Tell nobody."""


def scan(
    path: bytes,
    output: Path,
    now: datetime,
    progress: Callable[[int], None] = _no_progress,
    threads: int = THREADS,
) -> Written:
    """
    Write the scan of the tree at `path` into a new folder in `output`.

    now: with its time zone; the folder is named by it in UTC, or by the next second that is free.
    progress: told now and then how many entries are written.
    Raises ScanFailed.
    """
    root = absolute(path)
    refusals = Refusals()
    with _naming_errors(output):
        _remove_left_overs(output, root)
        dotted, final = _new_folder(output, root, now.astimezone(UTC))
    with (
        _all_or_nothing(dotted, final),
        closing(_Folder(dotted)) as folder,
        closing(walk(root, refusals, threads)) as tree,
    ):
        entries, size = _fill(folder, tree, refusals, progress)
        folder.rename(final)
    return Written(final / STATS, entries, size, refusals.count, tuple(refusals.first))


def absolute(path: bytes) -> bytes:
    """
    The path by which a tree is known; `..` takes back the name before it, as in a shell's `cd`.

    >>> absolute(b"//lustre/./scratch1/../scratch2/")
    b'/lustre/scratch2'
    """
    return b"/" + os.path.abspath(path).lstrip(b"/")  # noqa: PTH100 - a Path keeps `..`


def _fill(
    folder: "_Folder",
    tree: Iterator[Entry],
    refusals: Refusals,
    progress: Callable[[int], None],
) -> tuple[int, int]:
    """Write all entries; how many there were, and their size."""
    count = size = 0
    while entries := list(islice(tree, LINES_AT_A_TIME)):
        lines = list(map(format_line, entries))
        if max(map(len, lines)) > LONGEST_LINE + 1:
            entries = _legal(entries, refusals)
            lines = list(map(format_line, entries))
        folder.write(b"".join(lines))
        count += len(entries)
        size += sum(entry.size for entry in entries)
        progress(count)
    return count, size


def _legal(entries: list[Entry], refusals: Refusals) -> list[Entry]:
    """The entries whose lines a reader takes; the others are counted as refused."""
    legal = []
    for entry in entries:
        if len(format_line(entry)) <= LONGEST_LINE + 1:
            legal.append(entry)
        else:
            refusals.add(Refusal(entry.path, f"its line would exceed {LONGEST_LINE} bytes"))
    return legal


class _Folder:
    """A folder that is being filled, and the open file in it."""

    def __init__(self, dotted: Path) -> None:
        self._dotted = dotted
        self._deflate = isal_zlib.compressobj(LEVEL, wbits=GZIP)
        with _naming_errors(dotted.parent):
            self._file = (dotted / NEW).open("xb")
            # Where the filesystem has no locks nobody can tell left-overs, and nobody removes any.
            with suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Only now, so that there is never a file of this name that looks dead and is not.
            (dotted / NEW).rename(dotted / STATS)

    def write(self, lines: bytes) -> None:
        with _naming_errors(self._dotted.parent):
            self._file.write(self._deflate.compress(lines))

    def rename(self, final: Path) -> None:
        """Make all of it durable and give the folder its name, still locked."""
        with _naming_errors(self._dotted.parent):
            self._file.write(self._deflate.flush())
            self._file.flush()
            os.fsync(self._file.fileno())
            sync_folder(self._dotted)
            self._dotted.rename(final)
            sync_folder(final.parent)

    def close(self) -> None:
        """Let go of the file; what could not be written was told before."""
        with suppress(OSError):
            self._file.close()


@contextmanager
def _all_or_nothing(dotted: Path, final: Path) -> Iterator[None]:
    """Remove the folder if it does not come to its name, or not durably."""
    try:
        yield
    except BaseException as error:
        shutil.rmtree(dotted if dotted.exists() else final, ignore_errors=True)
        if isinstance(error, WalkFailed):
            raise ScanFailed(str(error)) from error
        raise


def _new_folder(output: Path, root: bytes, start: datetime) -> tuple[Path, Path]:
    """
    Make the folder under its dotted name; that, and its name once it is complete.

    Who has made the dotted one alone may make the other, so that is looked for afterwards.
    """
    while True:
        name = _name(root, start)
        dotted, final = output / f".{name}", output / name
        start += timedelta(seconds=1)
        with suppress(FileExistsError):
            dotted.mkdir()
            if not final.exists():
                return dotted, final
            dotted.rmdir()


def _name(root: bytes, start: datetime) -> str:
    if SLASH in root:
        raise ScanFailed(
            f"{text(root)}: U+FF0F stands for a slash in the name of a scan's folder, "
            "so this one would be taken for another path's: scan the directory above"
        )
    name = start.strftime(f"{TIME}_").encode() + root.replace(b"/", SLASH)
    if len(name) >= LONGEST_NAME:
        raise ScanFailed(
            f"{text(root)}: the scan's folder is named by the path, and {len(name) + 1} bytes are "
            f"more than the {LONGEST_NAME} of a name: scan a directory with a shorter path"
        )
    return os.fsdecode(name)


def _remove_left_overs(output: Path, root: bytes) -> None:
    """Remove the unfinished folders of scans of this path that were killed."""
    ending = b"_" + root.replace(b"/", SLASH)
    for folder in output.iterdir():
        name = os.fsencode(folder.name)
        if name.endswith(ending) and DOTTED_TIME(name.removesuffix(ending)):
            _remove_dead(folder)


def _remove_dead(folder: Path) -> None:
    """Remove a folder unless a scan is filling it, or it is somebody else's."""
    file = folder / STATS
    # Opened for writing, as NFS locks nothing else.
    with suppress(OSError), file.open("r+b") as unfinished:
        fcntl.flock(unfinished, fcntl.LOCK_EX | fcntl.LOCK_NB)
        file.unlink()
        folder.rmdir()


@contextmanager
def _naming_errors(output: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ScanFailed(
            f"{text(os.fsencode(output))} cannot be written: {error.strerror}; {_advice(error)}"
        ) from error


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.ENOSPC | errno.EDQUOT:
            return "free space there, or give another --output"
        case errno.ENOENT | errno.ENOTDIR:
            return "make that folder, or give another --output"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return "let this user write there, or give another --output"
    return "see to that, or give another --output"
