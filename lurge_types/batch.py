"""A batch: the entries of some consecutive lines of a scan, as columns of arrays."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

NUMBER_COLUMNS = (
    "size",
    "uid",
    "gid",
    "atime",
    "mtime",
    "ctime",
    "type",
    "inode",
    "links",
    "device",
    "apparent_size",
)
SIZE, UID, GID, ATIME, MTIME, CTIME, TYPE, INODE, LINKS, DEVICE, APPARENT_SIZE = range(
    len(NUMBER_COLUMNS)
)
NO_APPARENT_SIZE = -1

FILE = ord("f")
DIRECTORY = ord("d")


class Entry(NamedTuple):
    """
    One entry of a scan: a directory's path has no trailing slash, the type is one letter.

    Sizes are bytes, times seconds since 1970; `apparent_size` is None where a line has 11 columns.
    """

    path: bytes
    size: int
    uid: int
    gid: int
    atime: int
    mtime: int
    ctime: int
    type: str
    inode: int
    links: int
    device: int
    apparent_size: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """
    Whole lines of a scan's text: `raw[:length]`, which ends in a newline.

    `first_line` is the number in the file of the first of its `lines` lines, counted from 1.
    Whoever parses it trusts that there are no more lines than that.
    """

    raw: NDArray[np.uint8]
    length: int
    first_line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Batch:
    """
    Entries as columns; number `i` of each and path `i` are of one entry.

    numbers: int64 of shape (11, entries), rows in the order of `NUMBER_COLUMNS`; the properties
        name them. Inode, links and device hold unsigned numbers bit by bit. The type is the code
        of its letter; `apparent_size` is -1 where the line has 11 columns.
    paths: uint8, the decoded paths one behind the other, without trailing slashes.
    offsets: int64 of length entries + 1; path `i` is `paths[offsets[i]:offsets[i + 1]]`.
    raw, starts, ends: the block's text as uint8, and as int64 where in it the line of each entry
        begins and ends: line `i` with its newline is `raw[starts[i]:ends[i]]`.
    """

    numbers: NDArray[np.int64]
    paths: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    raw: NDArray[np.uint8]
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def size(self) -> NDArray[np.int64]:
        """Bytes."""
        return self._column(SIZE)

    @property
    def uid(self) -> NDArray[np.int64]:
        """Owners."""
        return self._column(UID)

    @property
    def gid(self) -> NDArray[np.int64]:
        """Groups."""
        return self._column(GID)

    @property
    def atime(self) -> NDArray[np.int64]:
        """Times of the last access."""
        return self._column(ATIME)

    @property
    def mtime(self) -> NDArray[np.int64]:
        """Times of the last modification."""
        return self._column(MTIME)

    @property
    def type(self) -> NDArray[np.int64]:
        """Codes of the type's letter."""
        return self._column(TYPE)

    @property
    def inode(self) -> NDArray[np.uint64]:
        """Inodes."""
        return self._column(INODE).view(np.uint64)

    @property
    def links(self) -> NDArray[np.uint64]:
        """Numbers of names."""
        return self._column(LINKS).view(np.uint64)

    @property
    def device(self) -> NDArray[np.uint64]:
        """Devices."""
        return self._column(DEVICE).view(np.uint64)

    def _column(self, number: int) -> NDArray[np.int64]:
        column: NDArray[np.int64] = self.numbers[number]
        return column

    def path(self, entry: int) -> bytes:
        """The path of one entry, as the bytes that the filesystem knows."""
        return self.paths[self.offsets[entry] : self.offsets[entry + 1]].tobytes()

    def line(self, entry: int) -> bytes:
        """The line of one entry as the scan has it, with its newline."""
        return self.raw[self.starts[entry] : self.ends[entry]].tobytes()
