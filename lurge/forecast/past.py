"""
What past forecasts were worth: by how much each method missed, group by group.

A past forecast is the use of a day and a rate that was kept with it. It is not fitted again, so
that it cannot know what came later.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lurge.forecast.series import Floats, Series
from lurge_types.forecasts import Method

METHODS: tuple[Method, ...] = ("no-change", "theil-sen", "two-point")
"""The simplest first: of methods that did equally well it is taken."""

JUDGED_DAYS = 60
"""How many days back past forecasts count."""

HORIZONS = (3, 7, 14, 28)
"""How many days ahead they looked."""

JUDGED_AT = 7
FEWEST_FORECASTS = 10
SHARE = 0.8


@dataclass(frozen=True, slots=True)
class Spread:
    """
    How far the use may lie from what is foretold, for each group: NaN where nobody can tell.

    At d days low * d**power to high * d**power is added; low is at most 0, high at least 0.
    """

    low: Floats
    high: Floats
    power: Floats


def misses(series: Series, rates: Floats, ahead: int) -> Floats:
    """What came less what was foretold so many days before: groups by days; NaN if unknown."""
    used = series.used
    return used[:, ahead:] - used[:, :-ahead] - rates[:, :-ahead] * ahead


def best(series: Series) -> NDArray[np.int64]:
    """The method that would have foretold each group best; a place in METHODS, -1 if unknown."""
    rates = (0 * series.theil_sen, series.theil_sen, series.two_point)
    sizes = np.stack([_typical(np.abs(misses(series, rate, JUDGED_AT))) for rate in rates])
    unknown = np.isnan(sizes).all(axis=0)
    found = np.argmin(np.where(np.isnan(sizes), np.inf, sizes), axis=0)
    return np.where(unknown, -1, found)


def _typical(sizes: Floats) -> Floats:
    """The median of each row with enough values, else NaN."""
    ordered = np.sort(sizes, axis=1)
    count = np.count_nonzero(~np.isnan(sizes), axis=1)
    found = ordered[np.arange(len(sizes)), np.maximum(count - 1, 0) // 2]
    return np.where(count >= FEWEST_FORECASTS, found, np.nan)


def spread(series: Series, method: NDArray[np.int64]) -> Spread:
    """How far off the forecasts of each group by its method were, at several horizons."""
    choices = [method == 0, method == 1]
    rates = np.select(
        [choice[:, None] for choice in choices],
        [0 * series.theil_sen, series.theil_sen],
        series.two_point,
    )
    power = np.full(len(method), 0.5)
    scaled = np.concatenate(
        [misses(series, rates, ahead) / ahead**0.5 for ahead in HORIZONS if ahead < rates.shape[1]],
        axis=1,
    )
    ordered = np.sort(scaled, axis=1)
    count = np.count_nonzero(~np.isnan(scaled), axis=1)
    tail = (1 - SHARE) / 2
    row = np.arange(len(method))
    below = np.floor((count + 1) * tail).astype(np.int64) - 1
    low = ordered[row, np.maximum(below, 0)]
    high = ordered[row, np.maximum(count - 1 - below, 0)]
    known = (count >= FEWEST_FORECASTS) & (below >= 0)
    return Spread(
        np.where(known, np.minimum(low, 0), np.nan),
        np.where(known, np.maximum(high, 0), np.nan),
        power,
    )
