"""What is foretold of every group of a volume, from what was recorded before a date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from lurge.forecast import past, rates
from lurge.forecast.past import JUDGED_DAYS, METHODS, Past, Spread
from lurge.forecast.series import Floats, Series, Whole, cells, series, suspects
from lurge_types.config import WarningsTable
from lurge_types.forecasts import Forecast, Foretold, History, Method, Present

FAR_DAYS = 5 * 365
"""What is further away is not foretold."""

AHEAD = np.arange(1, FAR_DAYS + 1)

GROUPS_AT_ONCE = 64

NEVER = -1


def days_needed(table: WarningsTable) -> int:
    """How many days before the record date the history must reach back; more does not matter."""
    return max(table.history_days, JUDGED_DAYS)


def foretell(
    history: History, day: date, groups: Sequence[Present], table: WarningsTable
) -> list[Foretold]:
    """
    What is foretold of groups on a record date, in their order.

    history: of the volume, in any order; only the `days_needed` days before the date count. What is
    suspect tells nothing of rates; forecasts start from today's use, suspect or not.
    """
    at = cells(history, [group.gid for group in groups], day.toordinal(), days_needed(table))
    suspect = suspects(at, history, np.array([group.suspect for group in groups], np.bool_))
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
    method: Whole
    theil_sen: Floats
    two_point: Floats
    spread: Spread


def outlook(known: Series, table: WarningsTable) -> Outlook:
    """Find the rates of the last day, choose between them, and tell how far off they may be."""
    recent = slice(-1 - table.history_days, None)
    theil_sen = rates.theil_sen(known.used[:, recent], known.suspect[:, recent])
    two_point = rates.two_point(known.used[:, recent])
    seen = past.past(known.newest(JUDGED_DAYS))
    method = _methods(seen, table)
    rate = np.choose(method, [np.zeros(len(method)), theil_sen, two_point])
    unknown = np.isnan(theil_sen + two_point)
    spread = past.spread(seen, method)
    for ends in (spread.low, spread.high):
        ends[unknown] = np.nan
    return Outlook(
        np.where(unknown, 0, rate),
        np.where(unknown, -1, method),
        theil_sen,
        two_point,
        spread,
    )


def _methods(seen: Past, table: WarningsTable) -> Whole:
    """The method that is forced, or each group's best; Theil-Sen where none has proved itself."""
    if table.rate == "two-point":
        return np.full(len(seen.used), METHODS.index("two-point"))
    best = past.best(seen)
    return np.where(best < 0, METHODS.index("theil-sen"), best)


def _forecasts(
    of: Outlook, day: date, used: Sequence[int], quotas: Sequence[int | None]
) -> list[Forecast]:
    """What is kept of an outlook, with the days on which the quotas are reached."""
    free = np.array(
        [quota - now if quota else np.nan for now, quota in zip(used, quotas, strict=True)],
        np.float64,
    )
    columns = zip(
        of.method, of.rate, of.theil_sen, of.two_point, *days_until_full(of, free), strict=True
    )
    return [
        Forecast(
            _name(method),
            int(rate),
            _kept(theil_sen),
            _kept(two_point),
            *(_date(day, days) for days in (likely, earliest, latest)),
        )
        for method, rate, theil_sen, two_point, likely, earliest, latest in columns
    ]


def days_until_full(of: Outlook, free: Floats) -> tuple[Whole, Whole, Whole]:
    """
    After how many days as much more is used as is free: likely, at the earliest and at the latest.

    0 where nothing is free, NEVER where it takes more than FAR_DAYS, is not known, or free is NaN.
    """
    likely, earliest, latest = (np.full(len(free), NEVER) for _ in range(3))
    rows = np.flatnonzero(~np.isnan(free))
    for begin in range(0, len(rows), GROUPS_AT_ONCE):
        part = rows[begin : begin + GROUPS_AT_ONCE]
        grown = of.rate[part, None] * AHEAD
        low, high = Spread(of.spread.low[part], of.spread.high[part]).at(AHEAD)
        likely[part] = _first(grown, free[part])
        earliest[part] = _first(grown + high, free[part])
        latest[part] = _first(grown + low, free[part])
    return likely, earliest, latest


def _first(grown: Floats, free: Floats) -> Whole:
    """After how many days as much has been added first as is free."""
    full = grown >= free[:, None]
    days = np.where(full.any(axis=1), AHEAD[np.argmax(full, axis=1)], NEVER)
    return np.where(free <= 0, 0, days)


def _name(method: np.int64) -> Method:
    return METHODS[method] if method >= 0 else "-"


def _kept(rate: np.float64) -> int | None:
    return None if np.isnan(rate) else int(rate)


def _date(day: date, days: np.int64) -> date | None:
    return None if days == NEVER else day + timedelta(days=int(days))
