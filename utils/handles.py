"""
Directories by handles: what is looked at lies in the tree that was opened, whatever is renamed.

A path is a way that anybody may change under one's feet: a link put in the place of a directory
leads elsewhere. So each component is opened relative to the one before it, and no link is followed.
That reaches any depth, too, while the kernel refuses a path of more than 4,096 bytes.
"""

import errno
import os
import stat
from collections.abc import Sequence
from types import TracebackType
from typing import NamedTuple, Self

from utils.paths import text

HANDLES = 64
"""How many directories above the one looked at are kept open; those further up are opened anew."""

CLOSED = os.O_NOFOLLOW | os.O_CLOEXEC
DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | CLOSED
THROUGH = os.O_PATH | os.O_DIRECTORY | CLOSED
"""Of a directory on the way, which need not be readable."""

FDINFO_BYTES = 4096
"""More than Linux tells of an open directory."""

FILE = os.O_RDONLY | os.O_NONBLOCK | CLOSED
"""Does not wait for the other end of a pipe that was put in a file's place."""


class TreeUnfit(Exception):
    """A tree cannot be archived as a unit: where, why, and what to do."""


class PathRefused(TreeUnfit):
    """A path leads out of its tree, by a link or by `..`: which, where, and what to do."""


class TreeChanged(TreeUnfit):
    """A directory is not the one that it was a moment ago: which, and what to do."""


def components(path: bytes) -> list[bytes]:
    """
    The names that a relative path is made of; none of an empty one.

    Raises PathRefused.
    """
    see_below(path)
    return path.split(b"/") if path else []


def see_below(path: bytes) -> None:
    """See that a relative path leads to where it seems to. Raises PathRefused."""
    way = b"/" + path + b"/" if path else b""
    if b"//" in way or b"/./" in way or b"/../" in way or b"\0" in way:
        raise PathRefused(f"{text(path)}: give a path without `.`, `..` and double slashes")


def open_quietly(name: bytes, flags: int, at: int) -> int:
    """Open without leaving a time of reading, where that is allowed. Raises OSError."""
    try:
        return os.open(name, flags | os.O_NOATIME, dir_fd=at)
    except PermissionError as error:
        if error.errno != errno.EPERM:
            raise
        return os.open(name, flags, dir_fd=at)


def open_root(path: bytes) -> int:
    """
    A handle of a directory by its absolute path, on which no link lies.

    Raises PathRefused, OSError.
    """
    if not path.startswith(b"/"):
        raise PathRefused(f"{text(path)} is not absolute: give the path from / on")
    names = components(path[1:])
    handle = os.open(b"/", THROUGH if names else DIRECTORY)
    for depth, name in enumerate(names, 1):
        above = handle
        try:
            flags = THROUGH if depth < len(names) else DIRECTORY
            handle = _enter(name, above, [b"", *names[: depth - 1]], flags)
        finally:
            os.close(above)
    return handle


def _enter(name: bytes, above: int, way: Sequence[bytes], flags: int = DIRECTORY) -> int:
    """
    Open a directory in another one; `way` is how one comes to that.

    Raises PathRefused where it is a link, OSError.
    """
    try:
        if flags & os.O_PATH:
            return os.open(name, flags, dir_fd=above)
        return open_quietly(name, flags, above)
    except OSError as error:
        path = b"/".join([*way, name])
        if error.errno in {errno.ELOOP, errno.ENOTDIR} and _is_link(name, above):
            raise PathRefused(
                f"{text(path)} is a link, which is not followed: give the directory behind it"
            ) from error
        raise OSError(error.errno, error.strerror, path) from error


def _is_link(name: bytes, above: int) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


class Chain:
    """
    A directory of a tree, and those above it, of which the nearest `HANDLES` are open.

    root: a handle of the tree's top, which stays the caller's. For one thread.

    A directory that is opened a second time is compared with what it was the first time. None that
    something is mounted on is entered, be it of the same filesystem.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._mount = _identity(root).mount
        self._names: list[bytes] = []
        self._handles: list[int] = []
        self._known: list[_Identity] = []

    def handle(self) -> int:
        """Of the directory that is reached. Raises PathRefused, TreeChanged, OSError."""
        if not self._names:
            return self._root
        if self._handles[-1] < 0:
            self._reopen()
        return self._handles[-1]

    def down(self, name: bytes) -> int:
        """Go to a directory in this one. Raises PathRefused, TreeChanged, TreeUnfit, OSError."""
        handle = _enter(name, self.handle(), self._names)
        try:
            known = self._see_unmounted(name, handle)
        except BaseException:
            os.close(handle)
            raise
        self._names.append(name)
        self._handles.append(handle)
        self._known.append(known)
        self._close(len(self._names) - HANDLES - 1)
        return handle

    def up(self) -> None:
        """Go to the directory above."""
        self._close(len(self._names) - 1)
        for each in (self._names, self._handles, self._known):
            each.pop()

    def go(self, names: Sequence[bytes]) -> int:
        """Go to a directory by its way from the root. Raises as `down`."""
        same = 0
        for here, there in zip(self._names, names, strict=False):
            if here != there:
                break
            same += 1
        while len(self._names) > same:
            self.up()
        for name in names[same:]:
            self.down(name)
        return self.handle()

    def close(self) -> None:
        """Close what is open, but for the root."""
        while self._names:
            self.up()

    def _see_unmounted(self, name: bytes, handle: int) -> "_Identity":
        known = _identity(handle)
        if known.mount != self._mount:
            path = b"/".join([*self._names, name])
            raise TreeUnfit(f"{text(path)} is a mount: unmount it, or archive what is beside it")
        return known

    def _close(self, level: int) -> None:
        if level >= 0 and self._handles[level] >= 0:
            os.close(self._handles[level])
            self._handles[level] = -1

    def _reopen(self) -> None:
        above = self._root
        for level, name in enumerate(self._names):
            above = self._handles[level] = _enter(name, above, self._names[:level])
            if _identity(above) != self._known[level]:
                path = b"/".join(self._names[: level + 1])
                raise TreeChanged(f"{text(path)} is another directory than before: try again")
            self._close(level - HANDLES)


class _Identity(NamedTuple):
    """By what an open directory is known; mount: the mount that it was reached by."""

    device: int
    inode: int
    mount: int


def _identity(handle: int) -> _Identity:
    status = os.fstat(handle)
    return _Identity(status.st_dev, status.st_ino, _mount(handle))


def _mount(handle: int) -> int:
    """The number of the mount that something was opened by: `man 5 proc_pid_fdinfo`."""
    told = os.open(f"/proc/self/fdinfo/{handle}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        lines = os.read(told, FDINFO_BYTES)
    finally:
        os.close(told)
    return int(lines.partition(b"mnt_id:")[2].split(maxsplit=1)[0])


class Opener:
    """
    Opens what lies in a tree, by paths below its root; each thread has one of its own.

    The way to the last directory stays open: in the order of a manifest, the next file of the same
    directory is opened in one step.
    """

    def __init__(self, root: int) -> None:
        self._root = root
        self._chain = Chain(root)
        self._directory: bytes | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def place(self, path: bytes) -> tuple[int, bytes]:
        """
        A handle of the directory that holds it, good until the next call, and its name there.

        Raises PathRefused, TreeChanged, OSError.
        """
        above, _, name = path.rpartition(b"/")
        see_below(name)
        return self.directory(above), name

    def directory(self, path: bytes) -> int:
        """A handle of a directory, good until the next call; raises as `place`."""
        if path != self._directory:
            self._directory = None
            self._chain.go(components(path))
            self._directory = path
        return self._chain.handle()

    def open(self, path: bytes) -> int:
        """
        Open a file to be read; what it is now is for the caller to see.

        Raises PathRefused where a link is there or on the way, TreeChanged, OSError.
        """
        above, name = self.place(path)
        try:
            return open_quietly(name, FILE, above)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise PathRefused(f"{text(path)} is a link now: it is not followed") from error
            raise OSError(error.errno, error.strerror, path) from error

    def stat(self, path: bytes) -> os.stat_result:
        """Of what has this path, not of what it leads to; raises as `open`."""
        if not path:
            return os.fstat(self._root)
        above, name = self.place(path)
        return os.stat(name, dir_fd=above, follow_symlinks=False)

    def close(self) -> None:
        """Close what is open, but for the root."""
        self._directory = None
        self._chain.close()
