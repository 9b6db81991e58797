"""
Made-up histories of what groups use: a year of days, each kind of group by itself.

Uses are shares of what a group begins with, about: shapes of (groups, days).
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]

WEEK = 7
WRITTEN_BY_WEEKDAY = np.array([1.2, 1.5, 1.5, 1.4, 1.2, 0.1, 0.1])
"""Of what a group writes in a day, by the day of the week; people rest on two of seven."""


def steady(rng: Generator, groups: int, days: int) -> Floats:
    """Sequencers write about as much each day."""
    daily = rng.uniform(0.0005, 0.005, (groups, 1))
    return 1 + np.cumsum(daily * rng.gamma(4, 1 / 4, (groups, days)), axis=1)


def stepwise(rng: Generator, groups: int, days: int) -> Floats:
    """Nothing happens for weeks, then somebody copies a data set, or deletes one."""
    every = rng.uniform(40, 90, (groups, 1))
    happens = rng.random((groups, days)) < 1 / every
    grows = rng.random((groups, days)) < 0.75
    size = np.where(
        grows, rng.uniform(0.03, 0.4, happens.shape), rng.uniform(-0.3, -0.02, happens.shape)
    )
    return np.cumprod(1 + happens * size, axis=1)


def sawtooth(rng: Generator, groups: int, days: int) -> Floats:
    """A pipeline fills its space, which is cleaned every few weeks."""
    daily = rng.uniform(0.01, 0.03, groups)
    every = rng.uniform(30, 60, groups)
    used = np.empty((groups, days))
    level, since = rng.uniform(0.5, 1.5, groups), rng.uniform(0, every)
    until = every * rng.uniform(0.7, 1.3, groups)
    for day in range(days):
        is_cleaned = since >= until
        level = np.where(
            is_cleaned,
            level * rng.uniform(0.4, 0.6, groups),
            level + daily * rng.gamma(4, 1 / 4, groups),
        )
        until = np.where(is_cleaned, every * rng.uniform(0.7, 1.3, groups), until)
        since = np.where(is_cleaned, 0, since + 1)
        used[:, day] = level
    return used


def noisy(rng: Generator, groups: int, days: int) -> Floats:
    """Scratch files come and go: much noise around a slow trend."""
    trend = 1 + rng.uniform(-0.0003, 0.002, (groups, 1)) * np.arange(days)
    noise = rng.uniform(0.01, 0.04, (groups, 1)) * rng.standard_normal((groups, days))
    return trend + noise


def weekly(rng: Generator, groups: int, days: int) -> Floats:
    """People write on weekdays, and old files are removed at the end of each week."""
    daily = rng.uniform(0.001, 0.004, (groups, 1))
    weekday = (np.arange(days) + rng.integers(0, WEEK, (groups, 1))) % WEEK
    removed = daily * rng.uniform(2, 6, (groups, 1))
    written = WRITTEN_BY_WEEKDAY[weekday] * (daily + removed / WEEK)
    noise = 0.1 * daily * rng.standard_normal((groups, days))
    return 1 + np.cumsum(written - removed * (weekday == WEEK - 1), axis=1) + noise


KINDS: dict[str, Callable[[Generator, int, int], Floats]] = {
    "steady": steady,
    "stepwise": stepwise,
    "sawtooth": sawtooth,
    "noisy": noisy,
    "weekly": weekly,
}
