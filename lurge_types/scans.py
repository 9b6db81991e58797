"""What is known of a scan: its volume, file and times, and how the reading of it goes."""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

BAD_LINES_SHOWN = 10
"""How many bad lines are kept with their number and reason; the others are counted."""


@dataclass(frozen=True, slots=True, order=True)
class BadLine:
    """One line that could not be read: its number in the file, counted from 1, and why."""

    number: int
    reason: str


@dataclass(frozen=True, slots=True)
class BadLines:
    """How many lines could not be read, and the first few of them in the order of the file."""

    count: int = 0
    first: tuple[BadLine, ...] = ()

    def merge(self, other: "BadLines") -> "BadLines":
        """Both together, whichever was read first."""
        if not other.count:
            return self
        first = sorted((*self.first, *other.first))[:BAD_LINES_SHOWN]
        return BadLines(self.count + other.count, tuple(first))


@dataclass(frozen=True, slots=True)
class Volume:
    """
    A filesystem that is reported on.

    name: as stored, such as `scratch123`; unique.
    mount: where it is mounted, without a trailing slash; None where only the name is known.
    group_directories: directories that hold a directory for each group, named like the group.
    """

    name: str
    mount: bytes | None = None
    group_directories: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Scan:
    """
    One night's file of one volume.

    path: the file, or `-` for standard input.
    record_date: the date under which its reports are stored.
    scan_time: whole seconds since 1970, against which ages are counted.
    remarks: what a reader of the reports should know of the file, in words.
    """

    volume: Volume
    path: Path
    record_date: date
    scan_time: int
    remarks: tuple[str, ...] = ()

    @property
    def scanned_at(self) -> datetime:
        """The scan time as a UTC time without a zone, as the database keeps it."""
        return datetime.fromtimestamp(self.scan_time, UTC).replace(tzinfo=None)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the reading of a scan is: bytes of its file, of how many (0: unknown), and lines."""

    scan: Scan
    position: int
    size: int
    lines: int
