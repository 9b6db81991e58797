"""Rates: by how much a use grows each day, from its records of some days, all groups at once."""

import numpy as np
from numpy.typing import NDArray

from lurge.forecast.series import Floats

FEWEST_POINTS = 3
"""Today and two earlier points."""

SLOPES_AT_ONCE = 1 << 22


def theil_sen(used: Floats) -> Floats:
    """
    The median of the slopes between all pairs of points, for each group; NaN with too few points.

    used: groups by days, NaN where there is no point. What up to 29 % of the points say does not
    matter much (P. K. Sen, 1968), so neither do single days that are odd.
    """
    first, second = np.triu_indices(used.shape[1], 1)
    length = (second - first).astype(np.float64)
    at_once = max(1, SLOPES_AT_ONCE // max(1, len(first)))
    parts = [
        _medians((part[:, second] - part[:, first]) / length)
        for part in (used[row : row + at_once] for row in range(0, len(used), at_once))
    ]
    slopes = np.concatenate(parts) if parts else np.empty(0)
    return _whole(np.where(_has_enough(used), slopes, np.nan))


def two_point(used: Floats) -> Floats:
    """The slope from the second point before the newest to the newest; NaN with too few points."""
    from_the_end = np.cumsum(~np.isnan(used[:, ::-1]), axis=1)
    row = np.arange(len(used))
    newest = np.argmax(from_the_end == 1, axis=1)
    second_before = np.argmax(from_the_end == FEWEST_POINTS, axis=1)
    length = np.maximum(second_before - newest, 1)
    slopes = (used[row, -1 - newest] - used[row, -1 - second_before]) / length
    return _whole(np.where(_has_enough(used), slopes, np.nan))


def _has_enough(used: Floats) -> NDArray[np.bool_]:
    points: NDArray[np.int64] = np.count_nonzero(~np.isnan(used), axis=1)
    return points >= FEWEST_POINTS


def _whole(rates: Floats) -> Floats:
    """Whole numbers per day, half-even, as they are kept."""
    return np.rint(rates)


def _medians(values: Floats) -> Floats:
    """The median of each row, NaN left out; NaN where all are. Sorts the values in place."""
    values.sort(axis=1)  # NaN comes last
    count = np.count_nonzero(~np.isnan(values), axis=1)
    row = np.arange(len(values))
    below, above = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, values.shape[1] - 1)
    found: Floats = (values[row, below] + values[row, above]) / 2
    return found
