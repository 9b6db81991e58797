"""
Old days that are filled in, oldest first: each as it would have been in its night.

What the rows of a day say leans on the days that are stored before it, so a day is done before the
next is begun, and one that fails leaves a gap as a night that fails does. A volume that has no scan
of a day is no failure here: there is none to come.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from functools import partial
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple

from lurge.nightly import Night, Result, no_scan, remarked, volumes_asked
from lurge.splitter.report import Splitter
from lurge_types.config import Config
from lurge_types.reports import Outcome
from lurge_types.scans import Progress, Scan, Volume
from utils import scans
from utils.scans import Found, ScanMissing

ALL_VOLUMES = "-"
"""Stands for every volume where days are told of which none has a scan."""


@dataclass(frozen=True, slots=True)
class Day:
    """A day with the scans of it, and the names of the volumes that have none."""

    day: date
    scans: tuple[Scan, ...]
    lacking: tuple[str, ...]


class OldDays(NamedTuple):
    """
    The days of a range that any volume has a scan of, oldest first, and those without one.

    gaps: by volume, the days that others have a scan of; of `-`, those that none has; in words.
    """

    days: Sequence[Day]
    gaps: Mapping[str, str]


def find(config: Config, names: Sequence[str], range_: tuple[date, date], today: date) -> OldDays:
    """
    The days of a range, both ends included.

    names: only these volumes, if any are given; else each until it retires.

    Raises UnknownVolume, ScansUnreadable, NoScans, MountsAlike.
    """
    first, last = range_
    reach = f"from {first} to {last}"
    found = [each for each in scans.listing(config.wrstat_dir) if first <= each.record_date <= last]
    volumes = volumes_asked(config, names, found, reach, first)

    def asked(day: date) -> list[Volume]:
        left_out = () if names else config.retired(day)
        return [volume for volume in volumes if volume.name not in left_out]

    by_day = groupby(found, key=attrgetter("record_date"))
    newest_first = [_day(config, day, list(of_day), asked(day), today) for day, of_day in by_day]
    days = [day for day in reversed(newest_first) if day.scans]
    if not days:
        raise no_scan(config, f"of {', '.join(names)} {reach}" if names else reach)
    expected = {volume.name for volume in volumes}
    every = (first + timedelta(days) for days in range((last - first).days + 1))
    return OldDays(days, _gaps(days, [day for day in every if expected - config.retired(day)]))


def _day(
    config: Config, day: date, found: Sequence[Found], volumes: Sequence[Volume], today: date
) -> Day:
    newest = scans.newest(found, volumes, config.wrstat_dir, f"of {day}")
    there = [each for each in newest if isinstance(each, Scan)]
    lacking = {each.volume.name for each in newest if isinstance(each, ScanMissing)}
    return Day(
        day,
        tuple(remarked(each, config, day, today) for each in there),
        tuple(sorted(lacking - config.retired(day))),
    )


def _gaps(days: Sequence[Day], expected: Sequence[date]) -> Mapping[str, str]:
    """expected: the days of which there should be a scan of any volume."""
    there = {day.day for day in days}
    without = {ALL_VOLUMES: [day for day in expected if day not in there]}
    for day in days:
        for name in day.lacking:
            without.setdefault(name, []).append(day.day)
    return {name: in_ranges(without[name]) for name in sorted(without) if without[name]}


def run(
    night: Night,
    old: OldDays,
    splitter: Callable[[], Splitter] | None,
    progress: Callable[[Progress], None],
) -> Iterator[Result]:
    """
    Do a night's work for one day after the other; each result says of which day it is.

    History is thinned out in the end: what is said of a day leans on all days before it.

    splitter: makes one for a day; None where it is not wanted.

    Raises DatabaseFailed where it cannot even be told what is due; the days before are done.
    """
    for day in old.days:
        yield from map(partial(_dated, day=day.day), _of_day(night, day, splitter, progress))
    yield from map(partial(_dated, day=old.days[-1].day), night.thin())


def _dated(result: Result, day: date) -> Result:
    return replace(result, outcome=replace(result.outcome, day=day))


def _of_day(
    night: Night,
    day: Day,
    splitter: Callable[[], Splitter] | None,
    progress: Callable[[Progress], None],
) -> Iterator[Result]:
    if splitter and day.lacking:
        yield from map(Result, _without_folder(day))
    wanted = splitter() if splitter and not day.lacking else None
    yield from replace(night, splitter=wanted, day=day.day).make(day.scans, progress)


def _without_folder(day: Day) -> Iterator[Outcome]:
    """That the splitter makes nothing of a day that is not whole."""
    remark = f"its folder needs every volume, and there is no scan of {', '.join(day.lacking)}"
    for scan in day.scans:
        yield Outcome(Splitter.name, scan.volume.name, "skipped", remarks=(remark,))


def in_ranges(days: Sequence[date]) -> str:
    """
    Days in words, those that follow each other together; they are sorted.

    >>> in_ranges([date(2026, 1, 3), date(2026, 1, 7), date(2026, 1, 8)])
    '2026-01-03, 2026-01-07 to 2026-01-08'
    """
    ranges: list[tuple[date, date]] = []
    for day in days:
        if ranges and ranges[-1][1] + timedelta(days=1) == day:
            ranges[-1] = (ranges[-1][0], day)
        else:
            ranges.append((day, day))
    return ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in ranges)
