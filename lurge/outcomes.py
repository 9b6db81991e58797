"""What became of a night, for people (tables) and for programs (JSON)."""

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from rich.table import Table

from lurge import warned
from lurge.levels import OK
from lurge.nightly import Result
from lurge.old_days import in_ranges
from lurge_types.forecasts import Forecast
from lurge_types.reports import (
    LARGEST_SHOWN,
    WARNINGS,
    GroupReport,
    NamedCandidate,
    NamedDirectory,
    NamedFile,
    NamedUse,
    Outcome,
    Row,
    percent,
)
from utils import show
from utils.paths import text

WARNED_SHOWN = 20
"""Of the groups that are warned, how many are shown: those over their quota come first."""

STATUSES = {
    "written": "written",
    "already": "recorded already",
    "read": "read only",
    "skipped": "skipped",
    "thinned": "thinned out",
    "failed": "failed",
}
"""What is told of each."""


def as_json(outcome: Outcome) -> str:
    """One line of JSON in ASCII: the fields of the outcome, dates ISO, paths in their text form."""
    fields = asdict(outcome) | {"tsv": outcome.tsv and text(bytes(outcome.tsv))}
    return json.dumps(fields, default=str)


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """Warnings, the largest rows of each kind, what became of each report, and what to know."""
    results = _sorted(results)
    yield from _warnings(results)
    yield from _largest(results)
    yield show.table(
        "Reports",
        ("volume", "report", "date", "outcome", "lines", "bad", "rows", "file"),
        (_outcome(result.outcome) for result in results),
        right=("lines", "bad", "rows"),
    )
    remarks: dict[tuple[str, str], list[str]] = {}
    for outcome in (result.outcome for result in results):
        for remark in _remarks(outcome):
            remarks.setdefault((outcome.volume, remark), []).append(outcome.report)
    if remarks:
        told = ((volume, ", ".join(of), remark) for (volume, remark), of in remarks.items())
        yield show.table("Remarks", ("volume", "reports", "remark"), told)


class Days:
    """
    What became of old days that were filled in: of each some figures, of the newest its rows too.

    failed: whether anything has.
    """

    def __init__(self) -> None:
        self.failed = False
        self._figures: dict[date, Counter[str]] = {}
        self._remarks: dict[tuple[str, str], tuple[set[str], set[date]]] = {}
        self._newest: list[Result] = []

    def add(self, result: Result) -> None:
        """Take note of a result of a day, or of none; days come in their order."""
        outcome = result.outcome
        day = outcome.day
        self.failed |= outcome.status == "failed"
        for remark in _remarks(outcome):
            reports, days = self._remarks.setdefault((outcome.volume, remark), (set(), set()))
            reports.add(outcome.report)
            days.update({day} if day else ())
        if day is None:
            return
        if day not in self._figures:
            self._newest.clear()
        self._newest.append(result)
        self._figures.setdefault(day, Counter()).update({outcome.status: 1, "rows": outcome.rows})

    def tables(self, gaps: Mapping[str, str]) -> Iterator[Table]:
        """
        The newest day's largest rows, how many reports of each day came to what, and remarks.

        gaps: the days without a scan, by volume.
        """
        newest = _sorted(self._newest)
        yield from _warnings(newest)
        yield from _largest(newest, f" on {max(self._figures)}")
        columns = (*(each for each in STATUSES if any(f[each] for f in self._figures.values())),)
        yield show.table(
            "Days",
            ("date", *(STATUSES[each] for each in columns), "rows"),
            (
                (str(day), *(f"{figures[each]:,}" for each in (*columns, "rows")))
                for day, figures in self._figures.items()
            ),
            right=(*STATUSES.values(), "rows"),
        )
        if gaps:
            yield show.table("No scan", ("volume", "days without a scan"), gaps.items())
        if self._remarks:
            told = (
                (volume, ", ".join(sorted(reports)), in_ranges(sorted(days)) or "-", remark)
                for (volume, remark), (reports, days) in sorted(self._remarks.items())
            )
            yield show.table("Remarks", ("volume", "reports", "days", "remark"), told)


def _sorted(results: Sequence[Result]) -> list[Result]:
    return sorted(results, key=lambda each: (each.outcome.volume, each.outcome.report))


def _remarks(outcome: Outcome) -> tuple[str, ...]:
    """What to know of a report; why it failed, too."""
    return (*outcome.remarks, outcome.reason) if outcome.reason else outcome.remarks


def _largest(results: Sequence[Result], when: str = "") -> Iterator[Table]:
    for kind, shown in SHOWN.items():
        of_kind = [each for each in results if each.largest and isinstance(each.largest[0], kind)]
        rows = [row for each in of_kind for row in each.largest]
        if rows:
            rows.sort(key=lambda row: -shown.size(row))
            total = sum(each.outcome.rows for each in of_kind)
            title = f"{shown.title}{when} ({min(len(rows), LARGEST_SHOWN)} of {total:,})"
            cells = map(shown.cells, rows[:LARGEST_SHOWN])
            yield show.table(title, shown.columns, cells, right=shown.right)


def _warnings(results: Sequence[Result]) -> Iterator[Table]:
    """The worst of the groups that are not OK, if there are any."""
    found = [
        (row, each.outcome.run.record_date)
        for each in results
        for row in each.largest
        if each.outcome.run and isinstance(row, GroupReport) and row.warning != OK
    ]
    if found:
        found.sort(key=lambda each: warned.urgency(each[0]))
        yield show.table(
            f"Warnings ({min(len(found), WARNED_SHOWN)} of {len(found):,})",
            ("volume", "group", "PI", "level", "bytes %", "inodes %", "full", "in days"),
            (_warned(row, day) for row, day in found[:WARNED_SHOWN]),
            right=("bytes %", "inodes %"),
        )


def _warned(row: GroupReport, day: date) -> tuple[str, ...]:
    first = warned.soonest(row)
    return (
        row.volume,
        row.group.name,
        row.group.pi or "-",
        WARNINGS[row.warning],
        _share(row.used_bytes, row.quota_bytes),
        _share(row.inodes, row.quota_inodes),
        _full(row),
        in_days(first.foretold, day),
    )


def in_days(of: Forecast, day: date) -> str:
    """
    In how many days from one on a quota will be reached, and the interval where there is one.

    >>> first, *later = (date(2026, 3, 1 + days) for days in (0, 9, 5, 30))
    >>> in_days(Forecast(), first), in_days(Forecast(likely=later[0]), first)
    ('-', '9')
    >>> in_days(Forecast("theil-sen", 1, 1, 1, *later), first)
    '9 (5 to 30)'
    >>> in_days(Forecast("theil-sen", 1, 1, 1, None, later[1], None), first)
    '- (5 or more)'
    """
    likely, earliest, latest = (
        None if each is None else (each - day).days for each in (of.likely, of.earliest, of.latest)
    )
    told = "-" if likely is None else str(likely)
    if earliest is None or (earliest == latest == likely):
        return told
    return f"{told} ({earliest} {'or more' if latest is None else f'to {latest}'})"


def _full(row: GroupReport) -> str:
    """The day on which a quota is likely to be full, and which quota if not that of bytes."""
    first = warned.soonest(row)
    of = "" if first.of == "bytes" else f" ({first.of})"
    return f"{first.foretold.likely or '-'}{of}"


def _share(used: int, limit: int | None) -> str:
    share = percent(used, limit)
    return "-" if share is None else str(share)


def _group(row: GroupReport) -> tuple[str, ...]:
    return (
        row.volume,
        row.group.name,
        row.group.pi or "-",
        show.size(row.used_bytes),
        "-" if row.quota_bytes is None else show.size(row.quota_bytes),
        _share(row.used_bytes, row.quota_bytes),
        f"{row.inodes:,}",
        _ago(row.last_modified_days),
        WARNINGS[row.warning],
        _full(row),
    )


def _directory(named: NamedDirectory) -> tuple[str, ...]:
    row = named.row
    return (
        named.volume,
        named.group.name,
        row.base.shown,
        row.directory,
        show.size(row.size_bytes),
        f"{row.files:,}",
        _ago(row.last_used_days),
    )


def _use(named: NamedUse) -> tuple[str, ...]:
    use = named.row
    return (
        named.volume,
        named.user.name,
        named.group.name,
        show.size(use.used_bytes),
        f"{use.inodes:,}",
        str(use.last_modified or "-"),
    )


def _file(named: NamedFile) -> tuple[str, ...]:
    file = named.row
    return (
        named.volume,
        file.action,
        named.user.name,
        named.group.name,
        show.size(file.size_bytes),
        f"{file.links:,}",
        file.shown,
    )


def _candidate(named: NamedCandidate) -> tuple[str, ...]:
    row = named.row
    share = None if row.cold_bytes is None else percent(row.cold_bytes, row.size_bytes)
    return (
        named.volume,
        row.kind or row.reason,
        show.size(row.size_bytes),
        "-" if share is None else str(share),
        _ago(row.last_used_days),
        "-" if row.cost_per_month is None else f"{row.cost_per_month:,}",
        row.shown,
    )


def _ago(days: Decimal | None) -> str:
    return "-" if days is None else f"{days} d ago"


def _outcome(outcome: Outcome) -> tuple[str, ...]:
    run = outcome.run
    return (
        outcome.volume,
        outcome.report,
        str(run.record_date) if run else "-",
        STATUSES[outcome.status],
        f"{run.lines:,}" if run else "-",
        f"{run.bad_lines:,}" if run else "-",
        f"{outcome.rows:,}",
        text(bytes(outcome.tsv)) if outcome.tsv else "-",
    )


class _Shown(NamedTuple):
    """How the largest rows of a kind are shown: the cells of each, and what makes it large."""

    title: str
    columns: Sequence[str]
    cells: Callable[[Any], tuple[str, ...]]
    size: Callable[[Any], int]
    right: Sequence[str]


SHOWN: dict[type[Row], _Shown] = {
    GroupReport: _Shown(
        "Largest groups",
        ("volume", "group", "PI", "used", "quota", "%", "inodes", "modified", "level", "full"),
        _group,
        attrgetter("used_bytes"),
        right=("used", "quota", "%", "inodes", "modified"),
    ),
    NamedUse: _Shown(
        "Largest users",
        ("volume", "user", "group", "used", "inodes", "modified"),
        _use,
        attrgetter("row.used_bytes"),
        right=("used", "inodes"),
    ),
    NamedDirectory: _Shown(
        "Largest directories",
        ("volume", "group", "base directory", "directory", "size", "files", "used last"),
        _directory,
        attrgetter("row.size_bytes"),
        right=("size", "files", "used last"),
    ),
    NamedFile: _Shown(
        "Largest files in vaults",
        ("volume", "action", "user", "group", "size", "links", "path"),
        _file,
        attrgetter("row.size_bytes"),
        right=("size", "links"),
    ),
    NamedCandidate: _Shown(
        "Top candidates",
        ("volume", "class", "size", "cold %", "used last", "cost a month", "path"),
        _candidate,
        attrgetter("score"),
        right=("size", "cold %", "used last", "cost a month"),
    ),
}
