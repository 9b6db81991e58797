"""Bytes, inodes and newest modification by directory, down to a depth."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Self

import numpy as np

from lurge.tallies import loops
from lurge.tallies.table import LinkSet, SumTable
from lurge.tallies.tally import SumOverflow
from lurge_types.batch import Batch

MOST_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DirectorySum:
    """
    What counts to a directory.

    At full depth that is the directory and all that lies below it; else the directory and what lies
    directly in it, but for the directories there, which have rows of their own.

    last_modified: seconds since 1970 of the newest modification that is not in the future, or 0.
    """

    path: bytes
    used_bytes: int
    inodes: int
    last_modified: int


class DirectoryTally:
    """
    Sums over all entries; a file with several names counts once in each of its rows.

    depth: how many components the path of a row has at most; 0 makes one row of everything.
    Rows are kept by device too, as in `OwnerTally`.
    """

    def __init__(self, scan_time: int, depth: int) -> None:
        self._scan_time = scan_time
        self._depth = depth
        self._table = SumTable(3)
        self._names = _Names()
        self._links = LinkSet()
        self._overflow = False

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch."""
        self._reserve(len(batch), int(batch.offsets[-1]))
        self._links.reserve(len(batch))
        self._table.rows, links, overflow = loops.add_directories(
            batch.paths,
            batch.offsets,
            batch.size,
            batch.mtime,
            batch.type,
            batch.inode,
            batch.links,
            batch.device,
            self._depth,
            self._scan_time,
            self._table.slots,
            self._table.keys,
            self._names.ends,
            self._names.text,
            self._table.sums,
            self._table.rows,
            self._links.rows,
            self._links.inodes,
            self._links.sizes,
        )
        self._links.count += links
        self._overflow |= overflow

    def merge(self, other: Self) -> None:
        """Take over what another tally has counted."""
        theirs = other._table
        self._reserve(theirs.rows, int(other._names.ends[theirs.rows]))
        renumbered = np.empty(theirs.rows, np.int64)
        self._table.rows, overflow = loops.merge_directories(
            self._table.slots,
            self._table.keys,
            self._names.ends,
            self._names.text,
            self._table.sums,
            self._table.rows,
            theirs.keys,
            other._names.ends,
            other._names.text,
            theirs.sums,
            renumbered,
        )
        self._links.merge(other._links, renumbered)
        self._overflow |= other._overflow or overflow

    def _reserve(self, rows: int, text: int) -> None:
        """Make room for that many new rows, whose paths have that many bytes together."""
        self._table.reserve(rows)
        self._names.reserve(self._table.rows, len(self._table.keys), text)

    def rows(self) -> list[DirectorySum]:
        """
        The sums, sorted by path.

        Raises SumOverflow.
        """
        sums = self._table.sums[: self._table.rows].copy()
        overflow = loops.sum_links(self._links.rows, self._links.sizes, sums) or self._overflow
        directories: dict[bytes, list[int]] = {}
        for path, row in zip(self._names.paths(len(sums)), sums.tolist(), strict=True):
            seen = directories.setdefault(path, row)
            if seen is not row:  # the same directory on another device
                seen[loops.BYTES] += row[loops.BYTES]
                seen[loops.INODES] += row[loops.INODES]
                seen[loops.NEWEST] = max(seen[loops.NEWEST], row[loops.NEWEST])
        if overflow or any(row[loops.BYTES] > MOST_BYTES for row in directories.values()):
            raise SumOverflow("sizes add up to 2^63 bytes or more: the scan cannot be right")
        return [DirectorySum(path, *row) for path, row in sorted(directories.items())]


class _Names:
    """
    The paths of a table's rows, one behind the other; the root's is empty.

    text: uint8; ends: int64; the path of row `r` is `text[ends[r] : ends[r + 1]]`.
    """

    def __init__(self) -> None:
        self.text = np.zeros(0, np.uint8)
        self.ends = np.zeros(1, np.int64)

    def reserve(self, rows: int, room: int, more: int) -> None:
        """Make room for `room` rows, and for so many bytes more than the first `rows` have."""
        if len(self.ends) <= room:
            self.ends = np.append(self.ends, np.zeros(room + 1 - len(self.ends), np.int64))
        missing = int(self.ends[rows]) + more - len(self.text)
        if missing > 0:
            grown = max(missing, len(self.text))
            self.text = np.append(self.text, np.zeros(grown, np.uint8))

    def paths(self, rows: int) -> list[bytes]:
        """The paths of the first rows."""
        text = self.text.tobytes()
        return [text[start:end] or b"/" for start, end in pairwise(self.ends[: rows + 1].tolist())]
