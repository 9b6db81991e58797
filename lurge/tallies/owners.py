"""Bytes, inodes and newest modification by user and group, which are told by group too."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from lurge.tallies import owner_loops as loops
from lurge.tallies.table import LinkSet, SumTable, merge_linked, pieces_of
from lurge.tallies.tally import Piece, SumOverflow
from lurge_types.batch import Batch
from utils.path_rules import PathRules

GID_BITS = 32
GID_MASK = 2**32 - 1

OWNERS = "owners"
"""The name of the tally of entries by their own groups, which several reports share."""


class By(Enum):
    """By what to tell sums."""

    GROUP = auto()
    USER = auto()


@dataclass(frozen=True, slots=True, order=True)
class OwnerSum:
    """
    What belongs to a user in a group, or to a group; its uid is 0 then.

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

    def __init__(self, scan_time: int, *, pseudo: PseudoGroups | None = None) -> None:
        self._scan_time = scan_time
        self._pseudo = pseudo
        self._table = _table()
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
        """To whom each entry counts, as one number: uid << 32 | gid."""
        return (batch.uid << GID_BITS | counted_gids(batch, self._pseudo)).view(np.uint64)

    def pieces(self) -> Iterator[Piece]:
        """All that was counted."""
        return pieces_of(self._table, self._links)

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another tally has counted.

        Raises SumOverflow.
        """
        merge_linked(self._table, self._links, pieces)

    def tell(self, by: By) -> list[OwnerSum]:
        """
        The sums, sorted by gid and uid.

        Raises SumOverflow.
        """
        if by is By.USER:
            return _told(self._table.keys, self._table.sums.copy(), [self._links])
        groups = _table()
        rows = [groups.merge(_of_groups(piece)) for piece in self._table.pieces()]
        links = self._links.regrouped(np.concatenate([np.empty(0, np.int64), *rows]))
        return _told(groups.keys, groups.sums, links)


def _table() -> SumTable:
    return SumTable(3, maxima=1)


def _of_groups(piece: Piece) -> Piece:
    """Rows of users as rows of their groups."""
    keys, *rest = piece
    return keys & np.uint64(GID_MASK), *rest


def _told(
    keys: NDArray[np.uint64], sums: NDArray[np.int64], links: Iterable[LinkSet]
) -> list[OwnerSum]:
    """Add each link once to its row's sums."""
    for part in links:
        if loops.sum_links(part.rows, part.values, sums):
            raise SumOverflow
    return sorted(
        OwnerSum(owner & GID_MASK, owner >> GID_BITS, used, inodes, newest)
        for owner, (newest, used, inodes) in zip(keys[:, 0].tolist(), sums.tolist(), strict=True)
    )


def counted_gids(batch: Batch, pseudo: PseudoGroups | None) -> NDArray[np.int64]:
    """The group that each entry counts to: its own, or that of a path it lies under."""
    if pseudo is None:
        return batch.gid
    rule = pseudo.rules.match(batch)
    return np.where(rule < 0, batch.gid, np.array(pseudo.gids)[rule])
