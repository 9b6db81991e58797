"""A word in the place of a directory that was archived: where it is now, and how to get it back."""

import os
import stat
from contextlib import suppress

from lurge.archiver.handles import opened
from lurge_types.archive import Binned, UnitNow
from utils import show
from utils.handles import TreeUnfit
from utils.paths import text
from utils.renaming import rename_new

FIRST = "This directory was archived by Lurge as unit "
LINES = 3
LONGEST = 1 << 16
MODE = 0o444
PART = b".lurge-word-"
NOWHERE = (FileNotFoundError, NotADirectoryError, TreeUnfit)


def leave(unit: UnitNow, binned: Binned) -> None:
    """
    Write it, whole or not at all, unless something is there; whoever does has the unit's lease.

    Where what the unit lay in is no longer there, or a link is, it is nowhere. Raises OSError.
    """
    place, name = os.path.split(unit.root)
    files, size = show.count(unit.files, "file"), show.count(unit.size_bytes, "byte")
    what = f"on {binned.at:%Y-%m-%d}: {files}, {size}."
    with suppress(*NOWHERE), opened(place) as folder:
        part = _part_of(unit)
        _forget(part, folder)
        try:
            _write(part, folder, b"\n".join([_first(unit), what.encode("ascii"), _last(unit)]))
            with suppress(FileExistsError):
                rename_new(part, name, from_=folder, to=folder)
        finally:
            _forget(part, folder)
        os.fsync(folder)


def _first(unit: UnitNow) -> bytes:
    return f"{FIRST}{unit.name}".encode("ascii")


def _last(unit: UnitNow) -> bytes:
    words = f"To get it back: lurge archive restore '{text(unit.root)}'\n"
    return words.encode("ascii", "backslashreplace")


def _part_of(unit: UnitNow) -> bytes:
    """What it is called until it is whole."""
    return PART + unit.name.encode("ascii")


def _forget(part: bytes, folder: int) -> None:
    with suppress(FileNotFoundError):
        os.unlink(part, dir_fd=folder)


def _write(name: bytes, folder: int, words: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    handle = os.open(name, flags, MODE, dir_fd=folder)
    with os.fdopen(handle, "wb") as file:
        file.write(words)
        file.flush()
        os.fsync(handle)


def remove(unit: UnitNow, folder: int) -> None:
    """
    Remove the one of a unit from the directory that it is in, if it is there as it was written.

    Raises OSError.
    """
    _forget(_part_of(unit), folder)
    if stands(unit, folder):
        os.unlink(os.path.basename(unit.root), dir_fd=folder)


def stands(unit: UnitNow, folder: int) -> bool:
    """Whether the one of a unit is in the directory that the unit was in. Raises OSError."""
    name = os.path.basename(unit.root)
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode):
        return False
    handle = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    with os.fdopen(handle, "rb") as file:
        return _is_word(file.read(LONGEST), unit)


def _is_word(words: bytes, unit: UnitNow) -> bool:
    """Whether they are what was left of a unit; what somebody has added to it is theirs."""
    lines = words.split(b"\n", 2)
    return len(lines) == LINES and (lines[0], lines[2]) == (_first(unit), _last(unit))
