"""
Names under which files and folders are prepared, until they are whole and get their own.

Such a name tells who may still be at it; what runs that were killed had prepared is removed.
"""

import os
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

LEFT_OVER_SECONDS = 86_400
"""After so long, what another host had prepared belongs to no run that is still alive."""


def part_of(path: Path) -> Path:
    """The name under which this process prepares a file or folder."""
    return path.with_name(f".{path.name}.{maker()}.part")


def maker() -> str:
    """This process, in a name: its host and its number, with a dot between."""
    return f"{_host()}.{os.getpid()}"


def remove_left_overs(folder: Path) -> None:
    """Remove what runs that were killed had prepared in a folder."""
    for part in left_overs(folder):
        with suppress(OSError):
            _remove(part)


def left_overs(folder: Path) -> Iterator[Path]:
    """What runs that were killed had prepared in a folder."""
    for part in folder.glob(".*.part"):
        *_, host, process, _ = part.name.rsplit(".", 3)
        with suppress(OSError):  # another run has removed it
            if is_left(host, process, partial(_touched, part)):
                yield part


def is_left(host: str, process: str, touched: Callable[[], float]) -> bool:
    """
    Whether who has made something must have been killed.

    touched: tells when it was last written, in seconds. Raises what that does.
    """
    if host == _host():
        return not Path("/proc", process).exists()
    return time.time() - touched() > LEFT_OVER_SECONDS


def _host() -> str:
    """This host's name as one part of a dotted name."""
    return socket.gethostname().replace(".", "-")


def _touched(part: Path) -> float:
    """When a file, or any in a folder, was last written."""
    inside = [] if part.is_symlink() or not part.is_dir() else list(part.iterdir())
    return max(each.lstat().st_mtime for each in [part, *inside])


def _remove(part: Path) -> None:
    if part.is_dir() and not part.is_symlink():
        shutil.rmtree(part)
    else:
        part.unlink()
