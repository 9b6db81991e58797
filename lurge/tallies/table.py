"""
Tables of sums by key, and sets of links, which grow as they are filled and merge piece by piece.

A piece is some rows or links as arrays: small enough to be sent, and all that a merge needs.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from lurge.tallies import table_loops as loops
from lurge.tallies.tally import Piece, SumOverflow

SMALLEST = 64
PIECE_ROWS = 8192
PIECE_LINKS = 65_536
PART_LINKS = 1_000_000
"""About how many links are regrouped at a time."""

ROWS, LINKS = "rows", "links"
T = TypeVar("T", bound=np.generic)


def _slots_for(rows: int) -> int:
    """A power of two, of which `rows` fill less than three quarters."""
    return max(SMALLEST, 1 << (rows * 4 // 3 + 1).bit_length())


class SumTable:
    """
    Rows of sums, found by two numbers and a name; see `Rows` for the arrays.

    columns: of the sums; the first `maxima` of them keep the greatest, the others add up.
    """

    def __init__(self, columns: int, maxima: int) -> None:
        self._maxima = maxima
        self.arrays = loops.Rows(
            filled=np.zeros(1, np.int64),
            slots=np.zeros(SMALLEST, np.int64),
            keys=np.zeros((SMALLEST, 2), np.uint64),
            sums=np.zeros((SMALLEST, columns), np.int64),
            ends=np.zeros(SMALLEST + 1, np.int64),
            names=np.zeros(0, np.uint8),
        )

    def __len__(self) -> int:
        return int(self.arrays.filled[0])

    @property
    def keys(self) -> NDArray[np.uint64]:
        """The numbers of each row's key; shape (rows, 2)."""
        return self.arrays.keys[: len(self)]

    @property
    def sums(self) -> NDArray[np.int64]:
        """The sums of each row; shape (rows, columns)."""
        return self.arrays.sums[: len(self)]

    def name(self, row: int) -> bytes:
        """The name of a row."""
        start, end = self.arrays.ends[row : row + 2]
        return self.arrays.names[start:end].tobytes()

    def reserve(self, more: int, name_bytes: int = 0) -> None:
        """Make room for that many new rows, whose names have that many bytes together."""
        arrays = self.arrays
        rows = len(self) + more
        if rows > len(arrays.keys):
            room = max(rows, 2 * len(arrays.keys))
            arrays = arrays._replace(
                keys=_grown(arrays.keys, room),
                sums=_grown(arrays.sums, room),
                ends=_grown(arrays.ends, room + 1),
            )
        needed = int(arrays.ends[len(self)]) + name_bytes
        if needed > len(arrays.names):
            arrays = arrays._replace(names=_grown(arrays.names, max(needed, 2 * len(arrays.names))))
        if rows * 4 >= len(arrays.slots) * 3:
            arrays = arrays._replace(slots=np.zeros(_slots_for(rows), np.int64))
            loops.rehash_rows(arrays)
        self.arrays = arrays

    def pieces(self) -> Iterator[Piece]:
        """All rows."""
        keys, sums, ends, names = self.arrays[2:]
        for first in range(0, len(self), PIECE_ROWS):
            last = min(first + PIECE_ROWS, len(self))
            start = ends[first]
            yield (
                keys[first:last],
                sums[first:last],
                ends[first : last + 1] - start,
                names[start : ends[last]],
            )

    def merge(self, piece: Piece) -> NDArray[np.int64]:
        """
        Add a piece of another table; which of our rows each of its rows is.

        Raises SumOverflow.
        """
        keys, sums, ends, names = piece
        self.reserve(len(keys), len(names))
        renumbered = np.empty(len(keys), np.int64)
        if loops.merge_rows(self.arrays, keys, sums, ends, names, self._maxima, renumbered):
            raise SumOverflow
        return renumbered


class LinkSet:
    """
    The inodes with several names, once for each row, with the greatest values that were seen.

    20 bytes a link and 8 for each column of values, with the slots and the room to grow up to twice
    as much; the only part of a tally that grows with the length of a scan.
    """

    def __init__(self, columns: int = 1) -> None:
        self.arrays = loops.Links(
            filled=np.zeros(1, np.int64),
            slots=np.zeros(SMALLEST, np.uint32),
            rows=np.zeros(SMALLEST, np.uint32),
            inodes=np.zeros(SMALLEST, np.uint64),
            devices=np.zeros(SMALLEST, np.uint64),
            values=np.zeros((SMALLEST, columns), np.int64),
        )

    def __len__(self) -> int:
        return int(self.arrays.filled[0])

    @property
    def rows(self) -> NDArray[np.uint32]:
        """The row of each link."""
        return self.arrays.rows[: len(self)]

    @property
    def values(self) -> NDArray[np.int64]:
        """The values of each link; shape (links, columns)."""
        return self.arrays.values[: len(self)]

    def reserve(self, more: int) -> None:
        """Make room for that many new links."""
        arrays = self.arrays
        links = len(self) + more
        if links > len(arrays.rows):
            room = max(links, len(arrays.rows) * 3 // 2)
            arrays = arrays._replace(
                rows=_grown(arrays.rows, room),
                inodes=_grown(arrays.inodes, room),
                devices=_grown(arrays.devices, room),
                values=_grown(arrays.values, room),
            )
        if links * 4 >= len(arrays.slots) * 3:
            arrays = arrays._replace(slots=np.zeros(_slots_for(links), np.uint32))
            loops.rehash_links(arrays)
        self.arrays = arrays

    def pieces(self) -> Iterator[Piece]:
        """All links."""
        for first in range(0, len(self), PIECE_LINKS):
            last = min(first + PIECE_LINKS, len(self))
            yield tuple(array[first:last] for array in self.arrays[2:])

    def merge(self, piece: Piece, renumbered: NDArray[np.int64]) -> None:
        """Add a piece of another set, whose row `r` is our row `renumbered[r]`."""
        rows, inodes, devices, values = piece
        self.reserve(len(rows))
        loops.merge_links(self.arrays, rows, inodes, devices, values, renumbered)

    def regrouped(self, renumbered: NDArray[np.int64]) -> Iterator["LinkSet"]:
        """
        The same links by other rows, a part of them at a time: row `r` becomes `renumbered[r]`.

        All links of an inode are in one part. So whatever is added up over links needs no second
        copy of them, which may be gigabytes.
        """
        parts = -(-len(self) // PART_LINKS)
        for part in range(parts):
            some = LinkSet(self.values.shape[1])
            for piece in self.pieces():
                chosen = loops.part_of_links(piece[1], part, parts)
                some.merge(tuple(array[chosen] for array in piece), renumbered)
            yield some


def pieces_of(table: SumTable, links: LinkSet) -> Iterator[Piece]:
    """A table with its links; each piece tells which of the two it is of."""
    for piece in table.pieces():
        yield ROWS, piece
    for piece in links.pieces():
        yield LINKS, piece


def merge_linked(table: SumTable, links: LinkSet, pieces: Iterable[Piece]) -> None:
    """
    Add the pieces of another table with its links.

    Raises SumOverflow.
    """
    renumbered = np.empty(0, np.int64)
    for kind, piece in pieces:
        if kind == ROWS:
            renumbered = np.append(renumbered, table.merge(piece))
        else:
            links.merge(piece, renumbered)


def _grown(array: NDArray[T], room: int) -> NDArray[T]:
    grown = np.zeros((room, *array.shape[1:]), array.dtype)
    grown[: len(array)] = array
    return grown
