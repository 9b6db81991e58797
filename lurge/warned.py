"""Whom to warn: the levels of a volume's groups, which are the worst, and when they are full."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import NamedTuple

from lurge.forecast.foretell import foretell
from lurge.levels import OK, level, worst
from lurge_types.config import LevelRule, WarningsTable
from lurge_types.forecasts import Forecast, Foretold, History, Present
from lurge_types.reports import WARNINGS, GroupReport

HIGHEST_RATE = 2**63 - 1
"""As high as a use can be; rates are found with floats, in which that is one more."""


def judged(
    rows: Sequence[GroupReport], history: History, day: date, table: WarningsTable
) -> list[GroupReport]:
    """The rows of a record date with what is foretold of each group, and its level."""
    present = [
        Present(
            row.group.gid,
            row.suspect,
            row.used_bytes,
            row.inodes,
            row.quota_bytes,
            row.quota_inodes,
        )
        for row in rows
    ]
    foretold = foretell(history, day, present, table)
    return [_judged(row, of, table.levels) for row, of in zip(rows, foretold, strict=True)]


def _judged(row: GroupReport, of: Foretold, rules: Sequence[LevelRule]) -> GroupReport:
    of_bytes, of_inodes = map(bounded, of)
    return replace(
        row,
        warning=worst(
            level(row.used_bytes, row.quota_bytes, of_bytes.rate, rules),
            level(row.inodes, row.quota_inodes, of_inodes.rate, rules),
        ),
        foretold_bytes=of_bytes,
        foretold_inodes=of_inodes,
    )


def bounded(of: Forecast) -> Forecast:
    """With rates that a database can hold."""

    def cut(rate: int) -> int:
        return max(-HIGHEST_RATE, min(rate, HIGHEST_RATE))

    return replace(
        of,
        rate=cut(of.rate),
        theil_sen=None if of.theil_sen is None else cut(of.theil_sen),
        two_point=None if of.two_point is None else cut(of.two_point),
    )


def full(row: GroupReport) -> tuple[date | None, date | None, date | None]:
    """The likely, earliest and latest days of a full quota: each the earlier of the two quotas'."""
    both = row.foretold_bytes, row.foretold_inodes
    return (
        _earlier(each.likely for each in both),
        _earlier(each.earliest for each in both),
        _earlier(each.latest for each in both),
    )


def _earlier(days: Iterable[date | None]) -> date | None:
    return min((day for day in days if day), default=None)


class Soonest(NamedTuple):
    """What is foretold of the quota that may be reached first, and of which: bytes or inodes."""

    of: str
    foretold: Forecast

    @property
    def day(self) -> date:
        """The first day on which it may be reached; the last of all where there is none."""
        return self.foretold.earliest or self.foretold.likely or date.max


def soonest(row: GroupReport) -> Soonest:
    """What may be full first; bytes, where both are on the same day or none ever."""
    both = Soonest("bytes", row.foretold_bytes), Soonest("inodes", row.foretold_inodes)
    return min(both, key=lambda each: each.day)


def urgency(row: GroupReport) -> tuple[object, ...]:
    """By which the worst come first: the level, then who may be full first, then the share used."""
    share = max(
        _share(row.used_bytes, row.quota_bytes),
        _share(row.inodes, row.quota_inodes),
    )
    return -row.warning, soonest(row).day, -share, row.volume, row.group.gid


def _share(used: int, quota: int | None) -> Fraction:
    return Fraction(used, quota) if quota else Fraction(0)


def remarks(rows: Iterable[GroupReport]) -> Iterator[str]:
    """How many groups are of each level, the worst first; nothing where all are OK."""
    counts = Counter(row.warning for row in rows if row.warning != OK)
    if counts:
        worst_first = sorted(counts.items(), reverse=True)
        yield "groups: " + ", ".join(f"{count} {WARNINGS[each]}" for each, count in worst_first)
