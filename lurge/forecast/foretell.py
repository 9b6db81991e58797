"""What is foretold of every group of a volume, from what was recorded before a date."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from lurge.forecast import past, rates
from lurge.forecast.past import JUDGED_DAYS, METHODS, Spread
from lurge.forecast.series import Floats, Series, cells, series
from lurge_types.config import WarningsTable
from lurge_types.forecasts import Forecast, Foretold, History, Method, Present

FAR_DAYS = 5 * 365
"""What is further away is not foretold."""


def days_needed(table: WarningsTable) -> int:
    """How many days before the record date the history must reach back; more does not matter."""
    return max(table.history_days, JUDGED_DAYS)


def foretell(
    history: History, day: date, groups: Sequence[Present], table: WarningsTable
) -> list[Foretold]:
    """
    What is foretold of groups on a record date, in their order.

    history: of the volume, in any order; only the `days_needed` days before the date count. What is
    suspect does not, except as today's use. No I/O, no clock.
    """
    gids = [group.gid for group in groups]
    suspect = np.array([group.suspect for group in groups], np.bool_)
    at = cells(history, gids, day.toordinal(), days_needed(table))
    used = [group.used_bytes for group in groups]
    inodes = [group.inodes for group in groups]
    of_bytes = outlook(series(at, history.used_bytes, used, suspect), table)
    of_inodes = outlook(series(at, history.inodes, inodes, suspect), table)
    return list(
        map(
            Foretold,
            _forecasts(of_bytes, day, used, [group.quota_bytes for group in groups]),
            _forecasts(of_inodes, day, inodes, [group.quota_inodes for group in groups]),
        )
    )


@dataclass(frozen=True, slots=True)
class Outlook:
    """
    What is expected of bytes or of inodes, for each group.

    rate: per day, whole. method: a place in METHODS, -1 where there are too few records.
    theil_sen, two_point: rates, NaN where there are too few records.
    """

    rate: Floats
    method: NDArray[np.int64]
    theil_sen: Floats
    two_point: Floats
    spread: Spread


def outlook(known: Series, table: WarningsTable) -> Outlook:
    """Find the rates of today, choose between them, and tell how far off they may be."""
    recent = known.used[:, -1 - table.history_days :]
    found = {"theil-sen": rates.theil_sen(recent), "two-point": rates.two_point(recent)}
    unknown = np.isnan(found["theil-sen"])
    method = np.where(unknown, -1, _methods(known, table))
    rate = np.choose(method, [np.zeros(len(method)), *found.values()], mode="clip")
    return Outlook(
        np.where(unknown, 0, rate),
        method,
        found["theil-sen"],
        found["two-point"],
        past.spread(known, method),
    )


def _methods(known: Series, table: WarningsTable) -> NDArray[np.int64]:
    """The method that is forced, or each group's best; Theil-Sen where none has proved itself."""
    if table.rate == "two-point":
        return np.full(len(known.now), METHODS.index("two-point"))
    best = past.best(known)
    return np.where(best < 0, METHODS.index("theil-sen"), best)


def _forecasts(
    of: Outlook, day: date, used: Sequence[int], quotas: Sequence[int | None]
) -> list[Forecast]:
    gap = np.array(
        [np.nan if not quota else quota - now for now, quota in zip(used, quotas, strict=True)],
        np.float64,
    )
    likely = _reached(gap, of.rate, np.zeros(len(gap)), of.spread.power)
    earliest = _reached(gap, of.rate, of.spread.high, of.spread.power)
    latest = _reached(gap, of.rate, of.spread.low, of.spread.power)
    return [
        Forecast(
            method=_name(int(of.method[row])),
            rate=int(of.rate[row]),
            theil_sen=_kept(of.theil_sen[row]),
            two_point=_kept(of.two_point[row]),
            likely=_date(day, int(likely[row])),
            earliest=_date(day, int(earliest[row])),
            latest=_date(day, int(latest[row])),
        )
        for row in range(len(gap))
    ]


def _reached(gap: Floats, rate: Floats, width: Floats, power: Floats) -> NDArray[np.int64]:
    """
    After how many days a gap is filled first; -1 if not within FAR_DAYS, or if nobody can tell.

    In d days the use grows by rate * d + width * d**power.
    """

    def grown(days: NDArray[np.int64]) -> Floats:
        return rate * days + width * days**power

    # A use that shrinks, give or take, may grow up to a peak first; any other that has fallen
    # first and then grown past the gap stays there.
    to_peak = _first(lambda days: (width > 0) & (grown(days + 1) <= grown(days)), len(gap))
    days = _first(lambda days: grown(np.minimum(days, to_peak)) >= gap, len(gap))
    return np.where(days > FAR_DAYS, -1, days)


def _first(
    holds: Callable[[NDArray[np.int64]], NDArray[np.bool_]], groups: int
) -> NDArray[np.int64]:
    """From how many days on something holds for each group; FAR_DAYS + 1 if only later."""
    low, high = np.zeros(groups, np.int64), np.full(groups, FAR_DAYS + 1)
    while (low < high).any():
        middle = (low + high) // 2
        found = holds(middle)
        low, high = np.where(found, low, middle + 1), np.where(found, middle, high)
        low = np.minimum(low, high)
    return low


def _name(method: int) -> Method:
    return "-" if method < 0 else METHODS[method]


def _kept(rate: np.float64) -> int | None:
    return None if np.isnan(rate) else int(rate)


def _date(day: date, days: int) -> date | None:
    return None if days < 0 else day + timedelta(days=days)
