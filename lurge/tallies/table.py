"""A table from a pair of numbers to a row of sums, and a set of (row, inode) with sizes."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lurge.tallies import loops

SMALLEST = 64
T = TypeVar("T", bound=np.generic)


def _slots_for(rows: int) -> int:
    """A power of two, of which `rows` fill less than three quarters."""
    return max(SMALLEST, 1 << (rows * 4 // 3 + 1).bit_length())


class SumTable:
    """
    Rows in the order in which their keys were first seen.

    keys: uint64 of shape (room, 2); sums: int64 of shape (room, columns); the first `rows` count.
    """

    def __init__(self, columns: int) -> None:
        self.rows = 0
        self.slots = np.zeros(SMALLEST, np.int64)
        self.keys = np.zeros((SMALLEST, 2), np.uint64)
        self.sums = np.zeros((SMALLEST, columns), np.int64)

    def reserve(self, more: int) -> None:
        """Make room for that many new rows."""
        rows = self.rows + more
        if rows > len(self.keys):
            room = max(rows, 2 * len(self.keys))
            self.keys = _grown(self.keys, room)
            self.sums = _grown(self.sums, room)
        if rows * 4 >= len(self.slots) * 3:
            self.slots = np.zeros(_slots_for(rows), np.int64)
            loops.rehash(self.slots, self.keys, self.rows)

    def row(self, first: np.uint64, second: np.uint64) -> int:
        """The row of a key, a new one if need be."""
        self.reserve(1)
        row = loops.find_row(self.slots, self.keys, self.rows, first, second)
        self.rows = max(self.rows, row + 1)
        return row


class LinkSet:
    """
    The inodes with several names, once for each row, with the greatest size that was seen.

    20 bytes a slot, of which half are empty on average; the only part of a tally that grows with
    the length of a scan.
    """

    def __init__(self) -> None:
        self.count = 0
        self.rows = np.zeros(SMALLEST, np.uint32)
        self.inodes = np.empty(SMALLEST, np.uint64)
        self.sizes = np.empty(SMALLEST, np.int64)

    def reserve(self, more: int) -> None:
        """Make room for that many new links."""
        links = self.count + more
        if links * 4 < len(self.rows) * 3:
            return
        old = self.rows, self.inodes, self.sizes
        slots = _slots_for(links)
        self.rows = np.zeros(slots, np.uint32)
        self.inodes = np.empty(slots, np.uint64)
        self.sizes = np.empty(slots, np.int64)
        same = np.arange(int(old[0].max(initial=0)))
        loops.add_links(self.rows, self.inodes, self.sizes, *old, same)

    def merge(self, other: "LinkSet", renumbered: NDArray[np.int64]) -> None:
        """Take over another set, whose row `r` is our row `renumbered[r]`."""
        self.reserve(other.count)
        self.count += loops.add_links(
            self.rows,
            self.inodes,
            self.sizes,
            other.rows,
            other.inodes,
            other.sizes,
            renumbered,
        )


def _grown(array: NDArray[T], room: int) -> NDArray[T]:
    grown = np.zeros((room, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
