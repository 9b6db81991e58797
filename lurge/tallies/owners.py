"""Bytes, inodes and newest modification by group, or by user and group."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from lurge.tallies import loops
from lurge.tallies.table import LinkSet, SumTable
from lurge.tallies.tally import SumOverflow
from lurge_types.batch import Batch
from utils.path_rules import PathRules

GID_BITS = 32
GID_MASK = 2**32 - 1
MOST_BYTES = 2**63 - 1


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
    """
    Sums over all entries; a file with several names counts once in each of its rows.

    Rows are kept by device too: links of one inode lie on one device, so that (row, inode) is
    enough to tell a file.
    """

    def __init__(
        self, scan_time: int, *, by_user: bool = False, pseudo: PseudoGroups | None = None
    ) -> None:
        self._scan_time = scan_time
        self._by_user = by_user
        self._pseudo = pseudo
        self._table = SumTable(3)
        self._links = LinkSet()
        self._overflow = False

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch."""
        self._table.reserve(len(batch))
        self._links.reserve(len(batch))
        self._table.rows, links, overflow = loops.add_owners(
            self._owners(batch),
            batch.size,
            batch.mtime,
            batch.type,
            batch.inode,
            batch.links,
            batch.device,
            self._scan_time,
            self._table.slots,
            self._table.keys,
            self._table.sums,
            self._table.rows,
            self._links.rows,
            self._links.inodes,
            self._links.sizes,
        )
        self._links.count += links
        self._overflow |= overflow

    def _owners(self, batch: Batch) -> NDArray[np.uint64]:
        """To whom each entry counts, as one number: uid << 32 | gid; uid 0 where none counts."""
        gids = batch.gid
        if self._pseudo is not None:
            rule = self._pseudo.rules.match(batch)
            gids = np.where(rule < 0, gids, np.array(self._pseudo.gids)[rule])
        if self._by_user:
            gids = batch.uid << GID_BITS | gids
        return gids.view(np.uint64)

    def merge(self, other: Self) -> None:
        """Take over what another tally has counted."""
        theirs = other._table
        rows = np.array([self._table.row(*key) for key in theirs.keys[: theirs.rows]], np.int64)
        sums = self._table.sums
        for row, more in zip(rows, theirs.sums, strict=False):
            sums[row, : loops.NEWEST] += more[: loops.NEWEST]
            sums[row, loops.NEWEST] = max(sums[row, loops.NEWEST], more[loops.NEWEST])
        self._links.merge(other._links, rows)
        self._overflow |= other._overflow or bool((sums < 0).any())

    def rows(self) -> list[OwnerSum]:
        """
        The sums, sorted by gid and uid.

        Raises SumOverflow.
        """
        sums = self._table.sums[: self._table.rows].copy()
        overflow = loops.sum_links(self._links.rows, self._links.sizes, sums) or self._overflow
        owners: dict[tuple[int, int], OwnerSum] = {}
        keys = self._table.keys[: len(sums)].tolist()
        for (owner, _), (used, inodes, newest) in zip(keys, sums.tolist(), strict=True):
            key = owner & GID_MASK, owner >> GID_BITS
            seen = owners.get(key, OwnerSum(*key, 0, 0, 0))
            owners[key] = OwnerSum(
                *key,
                seen.used_bytes + used,
                seen.inodes + inodes,
                max(seen.last_modified, newest),
            )
        if overflow or any(owner.used_bytes > MOST_BYTES for owner in owners.values()):
            raise SumOverflow("sizes add up to 2^63 bytes or more: the scan cannot be right")
        return sorted(owners.values())
