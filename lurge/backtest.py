"""
How good the forecasts were: history is replayed day by day, and what came is compared.

Each day is foretold from what was recorded before it, as in that night. The rates of the days
before are those that would have been kept then, also where none were.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import partial

import numpy as np
from rich.table import Table
from sqlalchemy.engine import Connection

from db import usage
from db.database import Database
from lurge.forecast.foretell import Outlook, days_needed, outlook
from lurge.forecast.past import METHODS
from lurge.forecast.series import Flags, Floats, Series, Whole, cells
from lurge_types.config import WarningsTable
from lurge_types.forecasts import History
from utils import show

AHEAD = (7, 14, 30)
"""How many days ahead forecasts are judged, unless somebody says otherwise."""

FORECAST, TWO_POINT, NO_CHANGE = CONTENDERS = ("forecast", "two-point", "no-change")

EDGES = np.geomspace(1e-9, 1e6, 3500)
"""Of the classes in which misses are counted, 1 % wide: a median needs no list of millions."""


class NothingToJudge(Exception):
    """No history, or too little: which, why, and what to do."""


@dataclass(slots=True)
class Sizes:
    """Of many misses or widths: how many, their mean, and their median to half a per cent."""

    counts: Whole = field(default_factory=lambda: np.zeros(len(EDGES) + 1, np.int64))
    total: float = 0.0

    def add(self, sizes: Floats) -> None:
        """Count some."""
        places = np.searchsorted(EDGES, sizes, side="right")
        self.counts += np.bincount(places, minlength=len(self.counts))
        self.total += float(sizes.sum())

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float | None:
        """Their mean."""
        return self.total / self.count if self.count else None

    @property
    def median(self) -> float | None:
        """The middle of the class in which the median lies; 0 in the lowest."""
        if not self.count:
            return None
        place = int(np.searchsorted(np.cumsum(self.counts), (self.count + 1) // 2))
        if place == 0:
            return 0.0
        return float(np.sqrt(EDGES[place - 1] * EDGES[min(place, len(EDGES) - 1)]))


@dataclass(slots=True)
class Score:
    """
    How forecasts of bytes or of inodes did, so many days ahead; all sizes are shares of the use on
    the day of the forecast.

    misses: by whom of CONTENDERS. widths: of the intervals; inside: how many held what came.
    chosen: how often each of METHODS.
    """

    of: str
    days: int
    misses: dict[str, Sizes] = field(default_factory=lambda: {who: Sizes() for who in CONTENDERS})
    widths: Sizes = field(default_factory=Sizes)
    inside: int = 0
    chosen: Whole = field(default_factory=lambda: np.zeros(len(METHODS), np.int64))

    @property
    def coverage(self) -> float | None:
        """The share of the intervals that held what came."""
        return self.inside / self.widths.count if self.widths.count else None


def run(
    database: Database, volumes: Sequence[str], ahead: Sequence[int], table: WarningsTable
) -> list[Score]:
    """
    Replay the stored history of some volumes, or of all, one after the other.

    Raises NothingToJudge, DatabaseFailed.
    """
    stored = database.transaction(usage.volumes)
    if unknown := [name for name in volumes if name not in stored]:
        raise NothingToJudge(
            f"{', '.join(unknown)}: no history; there is one of {', '.join(stored) or 'no volume'}"
        )
    scores = [Score(of, days) for of in ("bytes", "inodes") for days in sorted(set(ahead))]
    for name in volumes or stored:
        replay(database.transaction(partial(_all_of, name)), table, scores)
    if not any(score.misses[FORECAST].count for score in scores):
        raise NothingToJudge(
            f"too little history: a forecast needs three records of a group, and one "
            f"{min(ahead)} days after them; let some more nights pass"
        )
    return scores


def _all_of(volume_name: str, connection: Connection) -> History:
    return usage.history(connection, volume_name, date.min, date.max)


def replay(history: History, table: WarningsTable, scores: Sequence[Score]) -> None:
    """Foretell each day of a volume from the days before it, and score what came."""
    if not len(history.day):
        return
    lead = days_needed(table)
    last = int(history.day.max())
    days = last - int(history.day.min()) + 1 + lead
    at = cells(history, [int(gid) for gid in np.unique(history.gid)], last + 1, days)
    suspect = np.zeros(at.shape, np.bool_)
    suspect[at.row, at.column] = history.suspect[at.records]
    for of, kept in (("bytes", history.used_bytes), ("inodes", history.inodes)):
        used = at.matrix(kept.used)
        used[suspect] = np.nan
        mine = [score for score in scores if score.of == of]
        for day, said in _said(used, suspect, lead, table):
            for score in mine:
                if day + score.days < days:
                    _compare(score, said, used[:, day], used[:, day + score.days])


def _said(
    used: Floats, suspect: Flags, lead: int, table: WarningsTable
) -> Iterator[tuple[int, Outlook]]:
    """What would have been said on each day behind a lead, with the rates kept until then."""
    theil_sen, two_point = np.full(used.shape, np.nan), np.full(used.shape, np.nan)
    for day in np.flatnonzero((~np.isnan(used)).any(axis=0)):
        window = slice(day - lead, day + 1)
        known = Series(
            used[:, window], suspect[:, window], theil_sen[:, window], two_point[:, window]
        )
        said = outlook(known, table)
        is_there = ~np.isnan(used[:, day])
        theil_sen[is_there, day] = said.theil_sen[is_there]
        two_point[is_there, day] = said.two_point[is_there]
        yield int(day), said


def _compare(score: Score, said: Outlook, used: Floats, came: Floats) -> None:
    """Score the forecasts of a day; not of groups that used nothing, or whose use is not known."""
    judged = (said.method >= 0) & (used > 0) & ~np.isnan(came)
    growth = (came - used)[judged]
    rates = {FORECAST: said.rate, TWO_POINT: said.two_point, NO_CHANGE: np.zeros(len(used))}
    misses = {who: growth - rate[judged] * score.days for who, rate in rates.items()}
    for who, miss in misses.items():
        score.misses[who].add(np.abs(miss) / used[judged])
    score.chosen += np.bincount(said.method[judged], minlength=len(METHODS))
    low, high = (ends[judged, 0] for ends in said.spread.at(np.array([score.days])))
    known = ~np.isnan(low)
    score.widths.add(((high - low) / used[judged])[known])
    score.inside += int(((low <= misses[FORECAST]) & (misses[FORECAST] <= high))[known].sum())


def as_json(score: Score) -> str:
    """An object on one line; what nothing is known of is null."""
    return json.dumps(
        {
            "of": score.of,
            "days": score.days,
            "forecasts": score.misses[FORECAST].count,
            "median_error": {who: sizes.median for who, sizes in score.misses.items()},
            "mean_error": {who: sizes.mean for who, sizes in score.misses.items()},
            "intervals": score.widths.count,
            "coverage": score.coverage,
            "median_width": score.widths.median,
            "methods": dict(zip(METHODS, map(int, score.chosen), strict=True)),
        }
    )


def as_table(scores: Sequence[Score]) -> Table:
    """The scores for people, in per cent of what was used."""
    columns = ("of", "days", "forecasts", *CONTENDERS, "in interval", "its width")
    return show.table(
        "Errors, median / mean, and widths of the 80 % interval: % of the use on the day of the "
        "forecast",
        (*columns, "methods"),
        map(cells_of, scores),
        right=columns[1:],
    )


def cells_of(score: Score) -> tuple[str, ...]:
    """A row of the table."""
    count = score.misses[FORECAST].count
    errors = (f"{_percent(one.median)} / {_percent(one.mean)}" for one in score.misses.values())
    chosen = (
        f"{METHODS[method]} {100 * score.chosen[method] / count:.0f} %"
        for method in np.argsort(-score.chosen, kind="stable")
        if score.chosen[method]
    )
    return (
        score.of,
        str(score.days),
        f"{count:,}",
        *errors,
        "-" if score.coverage is None else f"{100 * score.coverage:.1f} %",
        _percent(score.widths.median),
        ", ".join(chosen),
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f}"
