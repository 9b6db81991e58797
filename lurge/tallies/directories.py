"""Bytes, inodes and newest modification by directory, down to a depth."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from lurge.tallies import directory_loops as loops
from lurge.tallies.owner_loops import sum_links
from lurge.tallies.table import ROWS, LinkSet, SumTable, merge_linked, pieces_of
from lurge.tallies.tally import Piece, SumOverflow
from lurge_types.batch import Batch
from utils.path_rules import PathRules, components


@dataclass(frozen=True, slots=True, order=True)
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
    under: what counts at all; everything, if None.
    """

    def __init__(self, scan_time: int, depth: int, under: PathRules | None = None) -> None:
        self._scan_time = scan_time
        self._depth = depth
        self._under = under
        self._table = SumTable(3, maxima=1)
        self._links = LinkSet()

    def add(self, batch: Batch) -> None:
        """
        Count the entries of a batch.

        Raises SumOverflow.
        """
        self._table.reserve(len(batch), int(batch.offsets[-1]))
        self._links.reserve(len(batch))
        if loops.add_directories(
            batch.paths,
            batch.offsets,
            batch.size,
            batch.mtime,
            batch.type,
            batch.inode,
            batch.links,
            batch.device,
            np.zeros(len(batch), np.int64) if self._under is None else self._under.match(batch),
            self._depth,
            self._scan_time,
            self._table.arrays,
            self._links.arrays,
        ):
            raise SumOverflow

    def pieces(self) -> Iterator[Piece]:
        """All that was counted."""
        return pieces_of(self._table, self._links)

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another tally has counted.

        Raises SumOverflow.
        """
        merge_linked(self._table, self._links, pieces)

    def tell(self, depth: int | None = None) -> list[DirectorySum]:
        """
        The sums, sorted by path.

        depth: only of the directories that have so many components, not more than the tally's own
            depth; each is told with all that lies below it.

        Raises SumOverflow.
        """
        if depth is None:
            return self._all()
        cut = DirectoryTally(self._scan_time, depth)
        cut.merge(self._cut(depth))
        return [row for row in cut.tell() if components(row.path) == depth]

    def _cut(self, depth: int) -> Iterator[Piece]:
        """All that was counted, as a tally of a lesser depth would have it."""
        for kind, piece in self.pieces():
            if kind == ROWS:
                _, sums, ends, names = piece
                keys, cut_ends, cut = loops.cut_names(ends, names, depth)
                yield kind, (keys, sums, cut_ends, cut)
            else:
                yield kind, piece

    def _all(self) -> list[DirectorySum]:
        sums = self._table.sums.copy()
        if sum_links(self._links.rows, self._links.values, sums):
            raise SumOverflow
        return sorted(
            DirectorySum(self._table.name(row) or b"/", used, inodes, newest)
            for row, (newest, used, inodes) in enumerate(sums.tolist())
        )
