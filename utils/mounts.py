"""What is mounted here, as Linux tells it."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from utils.paths import raw, text

MOUNTINFO = Path("/proc/self/mountinfo")
"""Its format: `man 5 proc_pid_mountinfo`."""

SHARED = frozenset(b"afs beegfs ceph cifs fhgfs gpfs lustre nfs nfs4 panfs smb3 wekafs".split())
"""Types of filesystems that many machines share."""


class Mount(NamedTuple):
    """A mounted filesystem: where, in the text form of paths, and of which type."""

    place: str
    kind: bytes

    @property
    def is_shared(self) -> bool:
        """Whether it is of a type that many machines share."""
        return self.kind in SHARED


def mounts(lines: bytes | None = None) -> list[Mount]:
    r"""
    What is mounted, in the order in which it was.

    lines: as in `MOUNTINFO`, which is read where none are given.

    >>> mounts(rb"36 35 98:0 / /lustre/a\040b rw,noatime master:1 - lustre mgs:/fs rw")
    [Mount(place='/lustre/a b', kind=b'lustre')]
    """
    found = []
    whole = MOUNTINFO.read_bytes() if lines is None else lines
    for line in filter(None, whole.split(b"\n")):  # a mount's name may hold a carriage return
        before, _, behind = line.partition(b" - ")
        place = before.split(b" ")[4]
        found.append(Mount(text(_unescaped(place)), behind.split(b" ")[0]))
    return found


def of(path: bytes, mounted: Iterable[Mount]) -> Mount | None:
    """The mount that a path without links lies in; of several at one place the last."""
    found: Mount | None = None
    for mount in mounted:
        place = raw(mount.place).rstrip(b"/") + b"/"
        is_on_it = (path + b"/").startswith(place)
        if is_on_it and (found is None or len(mount.place) >= len(found.place)):
            found = mount
    return found


def within(path: bytes) -> str | None:
    """Where something is mounted on a directory or below it, if so; on its path lies no link."""
    below = path.rstrip(b"/") + b"/"
    places = (mount.place for mount in mounts())
    return next((each for each in places if (raw(each) + b"/").startswith(below)), None)


def _unescaped(place: bytes) -> bytes:
    """The path, of which the kernel writes space, tab, newline and backslash as three digits."""
    head, *parts = place.split(b"\\")
    return head + b"".join(bytes([int(part[:3], 8)]) + part[3:] for part in parts)


def nearest(path: Path) -> Path:
    """The path itself, or what of it is there."""
    return next(each for each in (path, *path.parents) if os.path.lexists(each))
