"""What must be on the disk before anything that relies on it is done."""

import ctypes
import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from utils.paths import text

_libc = ctypes.CDLL(None, use_errno=True)
"""Python has no syncfs."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class NoRoom(Exception):
    """A folder has no room for what is to be kept there: which, why, and what to do."""


@contextmanager
def room_in(folder: Path) -> Iterator[None]:
    """
    Say of a full disk or quota which folder needs room: what the system says names none.

    Raises NoRoom.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise NoRoom(
            f"{text(bytes(folder))}: {error.strerror}: make room there, or ask for a larger quota, "
            "then run this again: it goes on from where it is"
        ) from error


def sync_folder(folder: Path) -> None:
    """
    Make the names in a folder durable: a rename in it then outlives a loss of power.

    Raises OSError.
    """
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(file: Path, content: bytes, part: Path | None = None) -> None:
    """
    Write a file whole or not at all, and durably; one that is there is replaced.

    part: the name that it has until then. Raises OSError.
    """
    other = part or file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with other.open("xb") as opened:
            opened.write(content)
            opened.flush()
            os.fsync(opened.fileno())
        other.rename(file)
    except BaseException:
        other.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)


def sync_filesystem(handle: int) -> None:
    """
    Make all that was written to a filesystem durable, by a handle of anything in it.

    Raises OSError.
    """
    if _libc.syncfs(handle):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
