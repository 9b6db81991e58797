"""Rates: by how much a use grows each day, from its records of some days, all groups at once."""

import numpy as np

from lurge.forecast.series import Flags, Floats

FEWEST_POINTS = 3
"""The newest and two earlier ones."""

SLOPES_AT_ONCE = 1 << 20


def theil_sen(used: Floats, suspect: Flags) -> Floats:
    """
    The median of the slopes between all pairs of points, for each group (P. K. Sen, 1968).

    used, suspect: groups by days; NaN where there is no point, as on a day that is suspect. Pairs
    with such a day between them are left out, unless there are no others: what is cleaned up at
    once is no growth, and tells nothing of the growth before and after. NaN with too few points.
    """
    first, second = np.triu_indices(used.shape[1], 1)
    stretch = np.cumsum(suspect, axis=1, dtype=np.int16)
    at_once = max(1, SLOPES_AT_ONCE // len(first))
    found = np.full(len(used), np.nan)
    for begin in range(0, len(used), at_once):
        rows = slice(begin, begin + at_once)
        slopes = (used[rows, second] - used[rows, first]) / (second - first)
        across = stretch[rows, second] != stretch[rows, first]
        across[(across | np.isnan(slopes)).all(axis=1)] = False
        slopes[across] = np.nan
        found[rows] = medians(slopes)
    return _whole(found, used)


def two_point(used: Floats) -> Floats:
    """The slope from the second point before the newest to the newest; NaN with too few points."""
    from_the_end = np.cumsum(~np.isnan(used[:, ::-1]), axis=1)
    row = np.arange(len(used))
    newest = np.argmax(from_the_end == 1, axis=1)
    second_before = np.argmax(from_the_end == FEWEST_POINTS, axis=1)
    length = np.maximum(second_before - newest, 1)
    return _whole((used[row, -1 - newest] - used[row, -1 - second_before]) / length, used)


def _whole(rates: Floats, used: Floats) -> Floats:
    """Rates as they are kept: whole numbers per day, half-even; NaN where points are too few."""
    enough = np.count_nonzero(~np.isnan(used), axis=1) >= FEWEST_POINTS
    return np.where(enough, np.rint(rates), np.nan)


def medians(values: Floats) -> Floats:
    """The median of each row, NaN left out; NaN where all are. Sorts the values in place."""
    values.sort(axis=1)  # NaN comes last
    count = np.count_nonzero(~np.isnan(values), axis=1)
    row = np.arange(len(values))
    below, above = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    found: Floats = (values[row, below] + values[row, above]) / 2
    return found
