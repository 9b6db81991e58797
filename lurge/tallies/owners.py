"""Bytes, inodes and newest modification by group, or by user and group."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lurge.tallies import owner_loops as loops
from lurge.tallies.table import LinkSet, SumTable, merge_linked, pieces_of
from lurge.tallies.tally import Piece, SumOverflow
from lurge_types.batch import Batch
from utils.path_rules import PathRules

GID_BITS = 32
GID_MASK = 2**32 - 1


@dataclass(frozen=True, slots=True, order=True)
class OwnerSum:
    """
    What belongs to a group, or to a user in a group (uid is 0 where users do not count).

    last_modified: seconds since 1970 of the newest modification that is not in the future, or 0.
    """

    gid: int
    uid: int
    used_bytes: int
    inodes: int
    last_modified: int


@dataclass(frozen=True, slots=True)
class PseudoGroups:
    """Entries at or under the path of rule `i` count to group `gids[i]` instead of their own."""

    rules: PathRules
    gids: tuple[int, ...]


class OwnerTally:
    """Sums over all entries; a file with several names counts once in each of its rows."""

    def __init__(
        self, scan_time: int, *, by_user: bool = False, pseudo: PseudoGroups | None = None
    ) -> None:
        self._scan_time = scan_time
        self._by_user = by_user
        self._pseudo = pseudo
        self._table = SumTable(3, maxima=1)
        self._links = LinkSet()

    def add(self, batch: Batch) -> None:
        """
        Count the entries of a batch.

        Raises SumOverflow.
        """
        self._table.reserve(len(batch))
        self._links.reserve(len(batch))
        if loops.add_owners(
            self._owners(batch),
            batch.size,
            batch.mtime,
            batch.type,
            batch.inode,
            batch.links,
            batch.device,
            self._scan_time,
            self._table.arrays,
            self._links.arrays,
        ):
            raise SumOverflow

    def _owners(self, batch: Batch) -> NDArray[np.uint64]:
        """To whom each entry counts, as one number: uid << 32 | gid; uid 0 where none counts."""
        gids = counted_gids(batch, self._pseudo)
        if self._by_user:
            gids = batch.uid << GID_BITS | gids
        return gids.view(np.uint64)

    def pieces(self) -> Iterator[Piece]:
        """All that was counted."""
        return pieces_of(self._table, self._links)

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another tally has counted.

        Raises SumOverflow.
        """
        merge_linked(self._table, self._links, pieces)

    def tell(self, _: object = None) -> list[OwnerSum]:
        """
        The sums, sorted by gid and uid.

        Raises SumOverflow.
        """
        sums = self._table.sums.copy()
        if loops.sum_links(self._links.rows, self._links.values, sums):
            raise SumOverflow
        owners = self._table.keys[:, 0].tolist()
        return sorted(
            OwnerSum(owner & GID_MASK, owner >> GID_BITS, used, inodes, newest)
            for owner, (newest, used, inodes) in zip(owners, sums.tolist(), strict=True)
        )


def counted_gids(batch: Batch, pseudo: PseudoGroups | None) -> NDArray[np.int64]:
    """The group that each entry counts to: its own, or that of a path it lies under."""
    if pseudo is None:
        return batch.gid
    rule = pseudo.rules.match(batch)
    return np.where(rule < 0, batch.gid, np.array(pseudo.gids)[rule])
