"""The records of a volume as matrices: a row for each group, a column for each day."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lurge_types.forecasts import History, Kept

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Series:
    """
    What is known of bytes or of inodes: groups by days, the last column the record date.

    used: as it was recorded; NaN where nothing was, or where it is suspect. suspect: where it is.
    theil_sen, two_point: the rates that were kept, NaN where there are none; none of the last day.
    """

    used: Floats
    suspect: Flags
    theil_sen: Floats
    two_point: Floats

    def newest(self, days: int) -> "Series":
        """The same of the last day and so many before it."""
        part = slice(-1 - days, None)
        return Series(
            self.used[:, part],
            self.suspect[:, part],
            self.theil_sen[:, part],
            self.two_point[:, part],
        )


@dataclass(frozen=True, slots=True)
class Cells:
    """
    Where records stand in the matrices of a volume.

    records: which of a history's records count. row, column: of each of them.
    """

    records: Whole
    row: Whole
    column: Whole
    shape: tuple[int, int]

    def matrix(self, values: Floats) -> Floats:
        """The value of each record in its place, NaN in the others."""
        made = np.full(self.shape, np.nan)
        made[self.row, self.column] = values[self.records]
        return made


def cells(history: History, gids: Sequence[int], day: int, days: int) -> Cells:
    """
    The places of the records of some groups, on the `days` days before a day.

    Whatever is of that day or later does not count. Of two records of a group and day the one with
    more bytes counts, so that their order tells nothing.
    """
    wanted = np.asarray(gids, np.int64)
    by_gid = np.argsort(wanted)
    column = history.day - (day - days)
    recent = np.flatnonzero((column >= 0) & (column < days))
    place = np.searchsorted(wanted, history.gid[recent], sorter=by_gid)
    known = place < len(wanted)
    recent, row = recent[known], by_gid[place[known]]
    known = wanted[row] == history.gid[recent]
    recent, row = recent[known], row[known]
    order = np.argsort(history.used_bytes.used[recent], kind="stable")
    records = recent[order]
    return Cells(records, row[order], column[records], (len(wanted), days + 1))


def suspects(at: Cells, history: History, today: Flags) -> Flags:
    """Where records are suspect, with those of the record date."""
    made = np.zeros(at.shape, np.bool_)
    made[at.row, at.column] = history.suspect[at.records]
    made[:, -1] = today
    return made


def series(at: Cells, kept: Kept, now: Sequence[int], suspect: Flags) -> Series:
    """The matrices of bytes or of inodes, with what is used on the record date."""
    used = at.matrix(kept.used)
    used[:, -1] = now
    used[suspect] = np.nan
    return Series(used, suspect, at.matrix(kept.theil_sen), at.matrix(kept.two_point))


def between(known: Series) -> Floats:
    """The use, where nothing was recorded as if it had changed evenly; NaN where it is suspect."""
    columns = np.arange(known.used.shape[1])
    here = ~np.isnan(known.used)
    before = np.maximum.accumulate(np.where(here, columns, -1), axis=1)
    after = np.minimum.accumulate(np.where(here, columns, len(columns))[:, ::-1], axis=1)[:, ::-1]
    inside = ~here & ~known.suspect & (before >= 0) & (after < len(columns))
    row, column = np.nonzero(inside)
    first, last = before[row, column], after[row, column]
    share = (column - first) / (last - first)
    used = known.used.copy()
    used[row, column] = used[row, first] + (used[row, last] - used[row, first]) * share
    return used
