"""What became of a night, for people (tables) and for programs (JSON)."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal
from operator import attrgetter
from typing import Any, NamedTuple

from rich.table import Table

from lurge.nightly import Result
from lurge_types.reports import (
    LARGEST_SHOWN,
    GroupReport,
    NamedDirectory,
    NamedFile,
    NamedUse,
    Outcome,
    Row,
    percent,
)
from utils import show
from utils.paths import text


def as_json(outcome: Outcome) -> str:
    """One line of JSON in ASCII: the fields of the outcome, dates ISO, paths in their text form."""
    fields = asdict(outcome) | {"tsv": outcome.tsv and text(bytes(outcome.tsv))}
    return json.dumps(fields, default=str)


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """The largest rows of each kind, what became of each report, and what to know of them."""
    results = sorted(results, key=lambda each: (each.outcome.volume, each.outcome.report))
    for kind, shown in SHOWN.items():
        of_kind = [each for each in results if each.largest and isinstance(each.largest[0], kind)]
        rows = [row for each in of_kind for row in each.largest]
        if rows:
            rows.sort(key=lambda row: -shown.size(row))
            total = sum(each.outcome.rows for each in of_kind)
            title = f"{shown.title} ({min(len(rows), LARGEST_SHOWN)} of {total:,})"
            cells = map(shown.cells, rows[:LARGEST_SHOWN])
            yield show.table(title, shown.columns, cells, right=shown.right)
    yield show.table(
        "Reports",
        ("volume", "report", "date", "outcome", "lines", "bad", "rows", "file"),
        (_outcome(result.outcome) for result in results),
        right=("lines", "bad", "rows"),
    )
    remarks: dict[tuple[str, str], list[str]] = {}
    for outcome in (result.outcome for result in results):
        for remark in (*outcome.remarks, *((outcome.reason,) if outcome.reason else ())):
            remarks.setdefault((outcome.volume, remark), []).append(outcome.report)
    if remarks:
        told = ((volume, ", ".join(of), remark) for (volume, remark), of in remarks.items())
        yield show.table("Remarks", ("volume", "reports", "remark"), told)


def _group(row: GroupReport) -> tuple[str, ...]:
    share = percent(row.used_bytes, row.quota_bytes)
    return (
        row.volume,
        row.group.name,
        row.group.pi or "-",
        show.size(row.used_bytes),
        "-" if row.quota_bytes is None else show.size(row.quota_bytes),
        "-" if share is None else str(share),
        f"{row.inodes:,}",
        _ago(row.last_modified_days),
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


def _ago(days: Decimal | None) -> str:
    return "-" if days is None else f"{days} d ago"


def _outcome(outcome: Outcome) -> tuple[str, ...]:
    run = outcome.run
    return (
        outcome.volume,
        outcome.report,
        str(run.record_date) if run else "-",
        {"already": "recorded already", "read": "read only"}.get(outcome.status, outcome.status),
        f"{run.lines:,}" if run else "-",
        f"{run.bad_lines:,}" if run else "-",
        f"{outcome.rows:,}",
        text(bytes(outcome.tsv)) if outcome.tsv else "-",
    )


class _Shown(NamedTuple):
    """How the largest rows of a kind are shown: the cells of each, and its size in bytes."""

    title: str
    columns: Sequence[str]
    cells: Callable[[Any], tuple[str, ...]]
    size: Callable[[Any], int]
    right: Sequence[str]


SHOWN: dict[type[Row], _Shown] = {
    GroupReport: _Shown(
        "Largest groups",
        ("volume", "group", "PI", "used", "quota", "%", "inodes", "modified"),
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
}
