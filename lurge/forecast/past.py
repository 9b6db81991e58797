"""
What past forecasts were worth: by how much each method missed, group by group.

A past forecast is the use of a day and a rate that was kept with it. It is not fitted again, so
that it cannot know what came later.
"""

from dataclasses import dataclass

import numpy as np

from lurge.forecast.rates import medians
from lurge.forecast.series import Flags, Floats, Series, Whole, between
from lurge_types.forecasts import Method

METHODS: tuple[Method, ...] = ("no-change", "theil-sen", "two-point")
"""The simplest first: of methods that did equally well it is taken."""

JUDGED_DAYS = 120
"""
How far back past forecasts count. Of what came 30 days later to steadily growing groups 81 % lay
in the interval; with 90 days 75 %, with 150 days 83 %. At 7 and 14 days they hardly differ.
"""

JUDGED_AHEAD = 7
"""How many days ahead methods are compared: as far as the warnings look."""

HORIZONS = (1, 3, 7, 10, 14, 20, 30)
"""How many days ahead misses are looked at; weekdays differ, so not only whole weeks."""

BEGINNING_DAYS = 14
"""
Rates of a group's first days, from a few points, are worse than those to come: they are not judged.
Else the intervals of groups that change with the weekdays hold 94 % in the first four months.
"""

FEWEST_MISSES, FEWEST_STRETCHES = 10, 2
"""How many misses tell something; and how many times as many as days were looked ahead."""

SHARE = 0.8
"""Of what comes so much shall lie in the interval."""

OVERLAP = 2
"""Forecasts that look over the same days miss together: they count as so many for each stretch."""


@dataclass(frozen=True, slots=True)
class Spread:
    """
    What may come less what is foretold, groups by HORIZONS: NaN where there is too little history.

    low is at most 0, high at least 0.
    """

    low: Floats
    high: Floats

    def at(self, days: Whole) -> tuple[Floats, Floats]:
        """
        Low and high so many days ahead, 1 or more: groups by days.

        Between two horizons the wider counts. Beyond the last it grows with the days, as the error
        of a rate does: with their square root, of steadily growing groups only 64 % of what came
        120 days later lay in the interval, and so 85 %.
        """
        horizons = np.array(HORIZONS)
        after = np.minimum(np.searchsorted(horizons, days), len(horizons) - 1)
        before = np.minimum(np.searchsorted(horizons, days, side="right") - 1, after)
        grown = np.maximum(1, days / horizons[-1])
        return (
            np.minimum(self.low[:, before], self.low[:, after]) * grown,
            np.maximum(self.high[:, before], self.high[:, after]) * grown,
        )


@dataclass(frozen=True, slots=True)
class Past:
    """
    What there is to compare: the use with gaps filled, and the rates by each method.

    rates: METHODS by groups by days, NaN on days on which one of them is not known.
    """

    used: Floats
    rates: Floats

    def misses(self, method: int | Whole, ahead: int) -> Floats:
        """What came less what was foretold so many days before: groups by days."""
        rates = self.rates[method, np.arange(len(self.used)), :-ahead]
        return self.used[:, ahead:] - self.used[:, :-ahead] - rates * ahead


def past(known: Series) -> Past:
    """The forecasts that were possible on the days before."""
    rates = np.stack([np.zeros_like(known.used), known.theil_sen, known.two_point])
    rates[:, np.isnan(rates + known.used).any(axis=0) | _beginnings(known)] = np.nan
    return Past(between(known), rates)


def _beginnings(known: Series) -> Flags:
    """The first days of groups that are younger than the history, or may be."""
    columns = np.arange(known.used.shape[1])
    first = np.argmax(~np.isnan(known.used), axis=1)[:, None]
    young: Flags = (first > 0) & (columns < first + BEGINNING_DAYS)
    return young


def best(seen: Past) -> Whole:
    """
    The method that would have foretold each group best: whose median miss is the smallest.

    A place in METHODS; -1 where too few forecasts can be judged. A median, as a step that nobody
    could foretell tells nothing of a method.
    """
    misses = [np.abs(seen.misses(method, JUDGED_AHEAD)) for method in range(len(METHODS))]
    count = np.count_nonzero(~np.isnan(misses[0]), axis=1)
    found = np.argmin(np.stack(list(map(medians, misses))), axis=0)
    return np.where(count < FEWEST_MISSES, -1, found)


def spread(seen: Past, method: Whole) -> Spread:
    """
    How far off forecasts by each group's method were.

    A horizon with too few misses is wider than the one before it in proportion; one before the
    first with enough is as wide as that.
    """
    found = [_ends(seen.misses(method, ahead), ahead) for ahead in HORIZONS]
    low, high = (np.stack(ends, axis=1) for ends in zip(*found, strict=True))
    for later in range(1, len(HORIZONS)):
        wider = HORIZONS[later] / HORIZONS[later - 1]
        for ends in (low, high):
            unknown = np.isnan(ends[:, later])
            ends[unknown, later] = ends[unknown, later - 1] * wider
    for earlier in range(len(HORIZONS) - 2, -1, -1):
        for ends in (low, high):
            unknown = np.isnan(ends[:, earlier])
            ends[unknown, earlier] = ends[unknown, earlier + 1]
    return Spread(low, high)


def _ends(misses: Floats, ahead: int) -> tuple[Floats, Floats]:
    """
    Between which of a group's misses another one lies with a probability of SHARE.

    Of n misses that have nothing to do with each other the next one lies below the k-th with
    k / (n + 1), as in conformal prediction. Misses that do count as fewer.
    """
    ordered = np.sort(misses, axis=1)  # NaN comes last
    count = np.count_nonzero(~np.isnan(misses), axis=1)
    fewer = _independent(misses, count, ahead)
    tail = np.maximum(0, ((1 - SHARE) / 2 * (fewer + 1) - 1) / (fewer - 1))
    enough = count >= max(FEWEST_MISSES, FEWEST_STRETCHES * ahead)
    low = np.where(enough, np.minimum(0, _between(ordered, tail * (count - 1))), np.nan)
    high = np.where(enough, np.maximum(0, _between(ordered, (1 - tail) * (count - 1))), np.nan)
    return low, high


def _independent(misses: Floats, count: Whole, ahead: int) -> Floats:
    """
    As how many misses those of a group count.

    By von Neumann's ratio, how much they change from day to day measured by their variance: 2 and
    above where each is new. At least OVERLAP for each stretch of days that they look over.
    """
    changes = np.diff(misses, axis=1)
    change = _mean_square(changes)
    variance = _mean_square(misses - (np.nansum(misses, axis=1) / np.maximum(count, 1))[:, None])
    ratio = np.divide(change, variance, out=np.zeros(len(count)), where=variance > 0)
    return np.minimum(np.maximum(count * ratio, OVERLAP * count / ahead), count).clip(2)


def _mean_square(values: Floats) -> Floats:
    """Of each row, NaN left out; 0 where all are."""
    count = np.count_nonzero(~np.isnan(values), axis=1)
    mean: Floats = np.nansum(values**2, axis=1) / np.maximum(count, 1)
    return mean


def _between(ordered: Floats, place: Floats) -> Floats:
    """The value at a place in each row, which may lie between two."""
    row = np.arange(len(ordered))
    below = np.clip(np.floor(place).astype(np.int64), 0, ordered.shape[1] - 1)
    above = np.minimum(below + 1, np.maximum(np.ceil(place).astype(np.int64), below))
    share = place - below
    found: Floats = ordered[row, below] * (1 - share) + ordered[row, above] * share
    return found
