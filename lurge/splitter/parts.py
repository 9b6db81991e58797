"""
Part files: what one tally has split off, and tables of where it lies.

A range of a part file is a gzip member or plain lines, of one group. So that what is remembered of
them does not grow with their number, their table is written into the file whenever it is full.
"""

import os
import tempfile
import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from isal import igzip_lib
from numpy.typing import NDArray

from lurge.splitter.loops import MEMBER, RANGE_COLUMNS, START
from lurge.tallies.tally import TallyFailed

PREFIX = ".part-"
TABLE_RANGES = 16_384
TABLE_BYTES = TABLE_RANGES * RANGE_COLUMNS * 8
LEVEL = 1
"""Of igzip: as small as its higher levels, a fifth smaller than level 0; 0.9 GB/s on one core."""


class SplitFailed(TallyFailed):
    """A file of the splitter cannot be written or read."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part file: its name, and where in it each table begins and how many ranges it has."""

    name: str
    tables: tuple[tuple[int, int], ...]

    def read_tables(self, folder: Path) -> Iterator[NDArray[np.int64]]:
        """
        The tables one by one, of shape (ranges, 4): GID, KIND, START, LENGTH.

        Raises SplitFailed.
        """
        path = folder / self.name
        with reading(path), path.open("rb") as file:
            for start, ranges in self.tables:
                file.seek(start)
                table = np.empty((ranges, RANGE_COLUMNS), np.int64)
                if file.readinto(table.data) < table.nbytes:
                    raise SplitFailed(f"{path} is cut short: run again")
                yield table


class PartFile:
    """A part file that is written; there is none before the first range."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder
        self._handle = -1
        self._position = 0
        self._table = np.empty((TABLE_RANGES, RANGE_COLUMNS), np.int64)
        self._filled = 0
        self._tables: list[tuple[int, int]] = []

    def append(self, data: memoryview, ranges: NDArray[np.int64]) -> None:
        """
        Write some ranges, whose START counts from the beginning of the data.

        Raises SplitFailed.
        """
        if self._filled + len(ranges) > len(self._table):
            self._write_table()
        rows = self._table[self._filled : self._filled + len(ranges)]
        rows[:] = ranges
        rows[:, START] += self._position
        self._filled += len(ranges)
        self._write(data)

    def append_member(self, gid: int, member: bytes) -> None:
        """
        Write a gzip member.

        Raises SplitFailed.
        """
        self.append(memoryview(member), np.array([[gid, MEMBER, 0, len(member)]]))

    def close(self) -> Part | None:
        """
        The whole file, if anything was written.

        Raises SplitFailed.
        """
        if not self._filled:
            return None
        self._write_table()
        with writing(self._path):
            self._close()  # a full disk that is another host's may be told of only now
        return Part(self._path.name, tuple(self._tables))

    def _write_table(self) -> None:
        self._tables.append((self._position, self._filled))
        self._write(self._table[: self._filled].data)
        self._filled = 0

    def _write(self, data: memoryview) -> None:
        with writing(self._path):
            if self._handle < 0:
                self._handle, name = tempfile.mkstemp(prefix=PREFIX, dir=self._folder)
                self._path = Path(name)
                self._close = weakref.finalize(self, os.close, self._handle)
            left = data.cast("B")
            self._position += len(left)
            while left:
                left = left[os.write(self._handle, left) :]


def compress(text: NDArray[np.uint8] | bytearray) -> bytes:
    """A gzip member, without a time or a name."""
    return igzip_lib.compress(text, LEVEL, igzip_lib.COMP_GZIP)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """
    Write a file of text durably.

    Raises SplitFailed.
    """
    with writing(path), path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file cannot be written, and why."""
    try:
        yield
    except OSError as error:
        raise SplitFailed(
            f"{path} cannot be written: {error.strerror}; "
            "see that there is space and this user may write there, then run again"
        ) from error


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Say which file cannot be read, and why."""
    try:
        yield
    except OSError as error:
        raise SplitFailed(f"{path} cannot be read: {error.strerror}; run again") from error
