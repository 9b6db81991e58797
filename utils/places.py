"""
What is at a path, without following a link: each component is opened from that above.

A link that is swapped in for a directory on the way is met as a link, and leads nowhere.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager

DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
"""A handle that nothing is read through, for which nobody needs the right to read."""

READ_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
LONGEST_PATH = 4095
"""Bytes that the kernel takes; a longer path is opened in parts, but no list of paths has any."""

ABSENT = "absent"


@contextmanager
def directory(path: bytes, at: int | None = None) -> Iterator[int]:
    """
    A handle of a directory, by its absolute path or from a handle of one above.

    Raises OSError; NotADirectoryError also where a component is a link.
    """
    handle = os.open(b"/", DIRECTORY) if at is None else os.dup(at)
    try:
        for name in filter(None, path.split(b"/")):
            below = os.open(name, DIRECTORY, dir_fd=handle)
            os.close(handle)
            handle = below
        yield handle
    finally:
        os.close(handle)


def facts(path: bytes, at: int | None = None) -> os.stat_result | None:
    """
    What is known of a path, None where there is nothing, or a link or file on the way.

    Raises OSError, but for what is not there.
    """
    folder, _, name = path.rstrip(b"/").rpartition(b"/")
    try:
        with directory(folder, at) as handle:
            return os.stat(name or b".", dir_fd=handle, follow_symlinks=False)
    except (FileNotFoundError, NotADirectoryError):
        return None


def names(handle: int) -> list[bytes]:
    """
    The names in a directory, in the order of their bytes.

    Raises OSError.
    """
    reading = os.open(b".", READ_DIRECTORY, dir_fd=handle)
    try:
        with os.scandir(reading) as entries:
            return sorted(os.fsencode(entry.name) for entry in entries)
    finally:
        os.close(reading)


def wrong(path: bytes) -> str | None:
    """
    Why a path is none that can be acted on, whatever is there; None if it is one.

    >>> wrong(b"/a/../b"), wrong(b"/a/b"), wrong(b"a")
    ('is no straight path: it has a . or .. in it', None, 'is no absolute path')
    """
    if not path.startswith(b"/"):
        return "is no absolute path"
    parts = path[1:].split(b"/")
    if {b".", b".."} & set(parts):
        return "is no straight path: it has a . or .. in it"
    if b"" in parts:
        return "is no straight path: it is / or has an empty component"
    if b"\0" in path or len(path) > LONGEST_PATH:
        return "is no path: it has a NUL, or is too long"
    return None


def bar(path: bytes) -> str | None:
    """Why what is at a straight path is no directory to be acted on; None if it is one."""
    try:
        found = facts(path)
    except OSError as error:
        return f"cannot be looked at: {error.strerror}"
    if found is None:
        return ABSENT if not os.path.lexists(path) else "lies behind a symbolic link"
    if stat.S_ISLNK(found.st_mode):
        return "is a symbolic link"
    return None if stat.S_ISDIR(found.st_mode) else "is no directory"


def real(path: bytes) -> bytes:
    """A straight path with the links above its last component resolved, as far as they lead."""
    folder, _, name = path.rpartition(b"/")
    return os.path.join(os.path.realpath(folder or b"/"), name)  # noqa: PTH118 - bytes
