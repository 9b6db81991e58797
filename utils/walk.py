"""
Walks a directory tree: every entry, in the order of the bytes of its written path.

A scan waits for answers more than it computes, so helpers read directories ahead of the one that is
being given out. Depth first, with each directory's children sorted by name and a directory's name
ending in a slash, is the order of the written paths, so nothing is ever sorted but one directory.
"""

import errno
import os
import resource
import stat
from bisect import bisect_left, insort
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from heapq import heappop, heappush
from operator import attrgetter
from threading import Condition, Lock, Thread

from lurge_types.batch import Entry
from utils.paths import text

THREADS = 16
"""
Questions asked at a time. Where an answer takes 1 ms one thread gets 830 entries a second, 4 get
3,300, 8 6,000, 16 9,000; where it takes 0.1 ms: 5,000, 18,000, 30,000, 41,000. More gain little: a
Lustre client has 8 requests to a metadata server in flight, and Python ends at 90,000 a second.
"""

NAMES_AT_A_TIME = 256
"""A larger directory is looked up by several threads: a million files in one are not rare."""

NEAR_DIRECTORIES = 64
"""How many directories read and not given out may lie before the one to read next."""

NEAR_ENTRIES = 50_000
"""The same for the entries in them: some 30 MB."""

AHEAD_DIRECTORIES = 512
"""How many directories read and not given out there may be in all: each may hold a handle."""

LONGEST_PATH = 65_536
"""Bytes; a directory with a longer path is not entered: no line of a scan can hold its entries."""

REFUSALS_SHOWN = 100
"""How many refusals are kept with their path and reason; the others are counted."""

STOP_SECONDS = 0.5
"""How long the end of a walk waits for helpers that hang in the filesystem."""

OPENING = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
FATAL = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
LETTERS = {
    stat.S_IFREG: "f",
    stat.S_IFDIR: "d",
    stat.S_IFLNK: "l",
    stat.S_IFSOCK: "s",
    stat.S_IFBLK: "b",
    stat.S_IFCHR: "c",
    stat.S_IFIFO: "F",
}

_path = attrgetter("path")


class WalkFailed(Exception):
    """A tree cannot be walked at all, or no further: the message says which, why and what to do."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A path that could not be read, or not to its end, and why."""

    path: bytes
    reason: str


class Refusals:
    """What could not be read: how often, and the first `REFUSALS_SHOWN` as the walk met them."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[Refusal] = []

    def add(self, refusal: Refusal) -> None:
        """Count one more."""
        self.count += 1
        if len(self.first) < REFUSALS_SHOWN:
            self.first.append(refusal)


class _Directory:
    """
    A directory to be entered.

    path: as written, with a trailing slash.
    handle: open while names are to be looked up or children to be opened through it.
    unread: how many slices of its names are still to be looked up.
    unopened: how many child directories are still to be opened.
    found: its entries by their written paths, until it is read.
    runs: its entries once it is read, the last first: some, and the directory to enter after them.
    """

    __slots__ = (
        "found",
        "handle",
        "path",
        "read",
        "refused",
        "runs",
        "size",
        "unopened",
        "unread",
    )

    def __init__(self, path: bytes) -> None:
        self.path = path
        self.handle = -1
        self.unread = 0
        self.unopened = 0
        self.found: dict[bytes, Entry] = {}
        self.refused: list[Refusal] = []
        self.runs: list[tuple[list[Entry], _Directory | None]] = []
        self.size = 0
        self.read = False


# A directory's path and where in its names a slice begins, by which jobs are sorted; the directory;
# what to do: with 0 to enter it, else to look up the slice.
_Job = tuple[bytes, int, _Directory, Callable[[], None]]


def walk(root: bytes, refusals: Refusals, threads: int = THREADS) -> Generator[Entry, None, None]:
    """
    The entries of a tree, `root` itself first; other filesystems and links are not entered.

    root: absolute and normal: no trailing slash, no `.` or `..`.
    refusals: told what could not be read, as the walk gets there.
    threads: how many questions the filesystem is asked at a time.
    Raises WalkFailed where `root` cannot be read, and where handles or memory run out.
    """
    _raise_open_files()
    tree = _Walk(root, refusals, threads)
    try:
        yield from tree.entries()
    finally:
        tree.stop()


def _raise_open_files() -> None:
    """Allow as many open files as the system does: each level of the tree may hold a handle."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class _Walk:
    """
    A walk under way.

    Helpers alone ask the filesystem: where it hangs, who waits for entries can be interrupted.
    Jobs that nobody has begun lie in `jobs`, a heap by path. `ahead` are the directories that were
    begun and are not given out, sorted by path. Both, and the counts of a directory, change under
    the lock only.
    """

    def __init__(self, root: bytes, refusals: Refusals, threads: int) -> None:
        self._root = root
        self._refusals = refusals
        self._device = -1
        self._jobs: list[_Job] = []
        self._ahead: list[_Directory] = []
        self._opened: set[_Directory] = set()
        self._lock = Lock()
        self._work = Condition(self._lock)
        self._news = Condition(self._lock)
        self._stopped = False
        self._failure: BaseException | None = None
        self._helpers = [Thread(target=self._help, daemon=True) for _ in range(threads)]

    def entries(self) -> Iterator[Entry]:
        """The entries of the tree."""
        above = _Directory(b"")
        self._put(above, 0, partial(self._begin, above))
        for helper in self._helpers:
            helper.start()
        runs = self._runs(above)
        while runs:
            entries, child = runs.pop()
            yield from entries
            if child is not None:
                runs += self._runs(child)

    def stop(self) -> None:
        """End the helpers and close what is open."""
        self._halt()
        for helper in self._helpers:
            if helper.ident is not None:
                helper.join(STOP_SECONDS / len(self._helpers))
        while self._opened:
            os.close(self._opened.pop().handle)

    def _halt(self) -> None:
        with self._lock:
            self._stopped = True
            self._work.notify_all()
            self._news.notify()

    def _runs(self, directory: _Directory) -> list[tuple[list[Entry], _Directory | None]]:
        """What the directory that is due holds, once it is read."""
        with self._lock:
            self._work.notify()
            while not (directory.read or self._failure):
                self._news.wait()
            if self._failure:
                raise self._failure
            del self._ahead[0]
        for refusal in sorted(directory.refused, key=_path):
            self._refusals.add(refusal)
        return directory.runs

    def _help(self) -> None:
        try:
            while do := self._next():
                do()
        except BaseException as error:  # noqa: BLE001 - raised again by who gives out entries
            self._failure = error
            self._halt()

    def _put(self, directory: _Directory, start: int, do: Callable[[], None]) -> None:
        heappush(self._jobs, (directory.path, start, directory, do))

    def _next(self) -> Callable[[], None] | None:
        """What is to be done, once there is something near enough; None at the end."""
        with self._lock:
            while not (self._stopped or self._is_near()):
                self._work.wait()
            if self._stopped:
                return None
            _, number, directory, do = heappop(self._jobs)
            if number == 0:
                insort(self._ahead, directory, key=_path)
            self._work.notify()
            return do

    def _is_near(self) -> bool:
        """
        Whether the next job may be done now.

        Only what lies before it counts against it: directories further on may have been read
        earlier, when nothing nearer was known, and wait for a whole tree to be given out.
        """
        if not self._jobs:
            return False
        before = bisect_left(self._ahead, self._jobs[0][0], key=_path)
        if before == 0:
            return True
        if before >= NEAR_DIRECTORIES or len(self._ahead) >= AHEAD_DIRECTORIES:
            return False
        return sum(directory.size for directory in self._ahead[:before]) < NEAR_ENTRIES

    def _begin(self, above: _Directory) -> None:
        """Look up the root, as what is found in no directory."""
        try:
            entry = _entry(self._root, os.lstat(self._root))
        except OSError as error:
            raise _root_refused(self._root, error) from error
        if entry.type != "d":
            raise WalkFailed(
                f"{text(self._root)} is no directory: give a directory, not a file or a link"
            )
        self._device = entry.device
        above.found[_written(self._root)] = entry
        self._finish(above)

    def _enter(self, directory: _Directory, parent: _Directory) -> None:
        """Open a directory and read its names; where that breaks off, those before."""
        names: list[str] = []
        try:
            self._open(directory, parent)
            # Something may have been mounted since lstat, or by opening it.
            if os.fstat(directory.handle).st_dev == self._device:
                self._add_names(directory, names)
        except OSError as error:
            path = directory.path[:-1] or b"/"
            directory.refused.append(_refusal(path, error))
            if path == self._root:
                raise _root_refused(path, error) from error
        self._share(directory, names)

    def _open(self, directory: _Directory, parent: _Directory) -> None:
        try:
            directory.handle = os.open(_name(directory, parent), OPENING, dir_fd=parent.handle)
            self._opened.add(directory)
        finally:
            self._let_go(parent)

    def _let_go(self, parent: _Directory) -> None:
        """One child directory less needs the parent's handle."""
        with self._lock:
            parent.unopened -= 1
            last = not parent.unopened
        if last:
            self._close(parent)

    def _close(self, directory: _Directory) -> None:
        """Close a directory, if it could be opened."""
        if directory in self._opened:
            self._opened.remove(directory)
            os.close(directory.handle)

    def _add_names(self, directory: _Directory, names: list[str]) -> None:
        with os.scandir(directory.handle) as listing:
            for item in listing:
                if self._stopped:
                    break
                names.append(item.name)

    def _share(self, directory: _Directory, names: list[str]) -> None:
        """Look up the first names, and leave the others to whoever is free."""
        starts = range(NAMES_AT_A_TIME, len(names), NAMES_AT_A_TIME)
        with self._lock:
            directory.unread = 1 + len(starts)
            for start in starts:
                part = names[start : start + NAMES_AT_A_TIME]
                self._put(directory, start, partial(self._look_up, directory, part))
            self._work.notify()
        self._look_up(directory, names[:NAMES_AT_A_TIME])

    def _look_up(self, directory: _Directory, names: list[str]) -> None:
        """
        Add the entries of these names, in the order in which the filesystem listed them.

        A name that was listed twice because it was renamed meanwhile is one entry.
        """
        handle, path, found = directory.handle, directory.path, directory.found
        for name in names:
            if self._stopped:
                break
            below = path + os.fsencode(name)
            try:
                entry = _entry(below, os.lstat(name, dir_fd=handle))
            except OSError as error:
                directory.refused.append(_refusal(below, error))
            else:
                found[_written(below) if entry.type == "d" else below] = entry
        with self._lock:
            directory.unread -= 1
            last = not directory.unread
        if last:
            self._finish(directory)

    def _finish(self, directory: _Directory) -> None:
        """Put what was found in order, and make the directories in it known."""
        children = self._arrange(directory)
        if not children:
            self._close(directory)
        with self._lock:
            for child in children:
                self._put(child, 0, partial(self._enter, child, directory))
            directory.read = True
            self._work.notify()
            self._news.notify()

    def _arrange(self, directory: _Directory) -> list[_Directory]:
        children = []
        entries: list[Entry] = []
        found = directory.found
        for written in sorted(found):
            entry = found[written]
            entries.append(entry)
            if entry.type == "d" and entry.device == self._device:
                child = _Directory(written)
                children.append(child)
                directory.runs.append((entries, child))
                entries = []
        directory.runs.append((entries, None))
        directory.runs.reverse()
        directory.size = len(found)
        directory.found = {}
        directory.unopened = len(children)
        return children


def _written(path: bytes) -> bytes:
    """The path of a directory with its trailing slash."""
    return path if path == b"/" else path + b"/"


def _name(directory: _Directory, parent: _Directory) -> bytes:
    """By which the directory is opened through its parent's handle."""
    if len(directory.path) > LONGEST_PATH:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return directory.path[len(parent.path) : -1] or b"/"


def _entry(path: bytes, status: os.stat_result) -> Entry:
    mode, inode, device, links, uid, gid, size, atime, mtime, ctime = status
    letter = LETTERS.get(stat.S_IFMT(mode), "X")
    # As a tuple a stat_result gives whole seconds, though its annotation says float.
    times: tuple[int, int, int] = (atime, mtime, ctime)  # type: ignore[assignment]
    return Entry(path, size, uid, gid, *times, letter, inode, links, device, size)


def _refusal(path: bytes, error: OSError) -> Refusal:
    """What to count; raises WalkFailed where the next path would fare no better."""
    reason = os.strerror(error.errno or 0)
    if error.errno in FATAL:
        raise WalkFailed(
            f"{text(path)} cannot be read: {reason}; "
            "raise the limit of open files (ulimit -Hn) or free memory, and scan again"
        ) from error
    return Refusal(path, reason)


def _root_refused(path: bytes, error: OSError) -> WalkFailed:
    match error.errno:
        case errno.ENOTDIR | errno.ELOOP:
            why = "is no directory: give a directory, not a file or a link"
        case errno.ENOENT:
            why = "does not exist: give a directory that does"
        case _:
            why = f"cannot be read: {error.strerror}; give a directory that this user may read"
    return WalkFailed(f"{text(path)} {why}")
