"""The records of a volume as matrices: a row for each group, a column for each day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lurge_types.forecasts import History, Kept

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Series:
    """
    What is known of bytes or of inodes: groups by days, the last column today.

    used: as it is recorded; NaN where nothing is, or where it is suspect.
    theil_sen, two_point: the rates that were kept, NaN where there are none; none of today.
    now: how much is used today, suspect or not.
    """

    used: Floats
    theil_sen: Floats
    two_point: Floats
    now: Floats


@dataclass(frozen=True, slots=True)
class Cells:
    """
    Where records stand in the matrices of a volume.

    records: which of a history's records count. row, column: of each of them.
    """

    records: NDArray[np.int64]
    row: NDArray[np.int64]
    column: NDArray[np.int64]
    shape: tuple[int, int]

    def matrix(self, values: NDArray[np.float64]) -> Floats:
        """A value of each record in its place."""
        made = np.full(self.shape, np.nan)
        made[self.row, self.column] = values[self.records]
        return made


def cells(history: History, gids: Sequence[int], day: int, days: int) -> Cells:
    """
    The places of the records of some groups, on the `days` days before a day.

    Whatever is of that day or later does not count, nor what is suspect. Of two records of a group
    and day the one with more bytes counts, so that their order tells nothing.
    """
    wanted = np.asarray(gids, np.int64)
    by_gid = np.argsort(wanted)
    place = np.searchsorted(wanted, history.gid, sorter=by_gid)
    row = by_gid[np.minimum(place, len(wanted) - 1)] if len(wanted) else place
    column = history.day - (day - days)
    counts = (column >= 0) & (column < days) & ~history.suspect
    counts &= place < len(wanted)
    counts[counts] = wanted[row[counts]] == history.gid[counts]
    records = np.flatnonzero(counts)
    records = records[np.argsort(history.used_bytes.used[records], kind="stable")]
    return Cells(records, row[records], column[records], (len(wanted), days + 1))


def series(at: Cells, kept: Kept, now: Sequence[int], suspect: NDArray[np.bool_]) -> Series:
    """The matrices of bytes or of inodes, with today's use of each group."""
    used = at.matrix(kept.used)
    today = np.asarray(now, np.float64)
    used[:, -1] = np.where(suspect, np.nan, today)
    return Series(used, at.matrix(kept.theil_sen), at.matrix(kept.two_point), today)
