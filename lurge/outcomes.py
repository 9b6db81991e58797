"""What became of a night, for people (tables) and for programs (JSON)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from decimal import Decimal

from rich.table import Table

from lurge.nightly import Result
from lurge.reporter import largest_groups
from lurge_types.reports import LARGEST_SHOWN, GroupReport, NamedDirectory, Outcome, percent
from utils import show
from utils.paths import text


def as_json(outcome: Outcome) -> str:
    """One line of JSON in ASCII: the fields of the outcome, dates ISO, paths in their text form."""
    fields = asdict(outcome) | {"tsv": outcome.tsv and text(bytes(outcome.tsv))}
    return json.dumps(fields, default=str)


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """The largest groups and directories, what became of each report, and what to know of them."""
    results = sorted(results, key=lambda each: (each.outcome.volume, each.outcome.report))
    groups = [row for result in results for row in result.largest if isinstance(row, GroupReport)]
    if groups:
        yield show.table(
            f"Largest groups ({_share(results, groups)})",
            ("volume", "group", "PI", "used", "quota", "%", "inodes", "modified"),
            map(_group, largest_groups(groups)),
            right=("used", "quota", "%", "inodes", "modified"),
        )
    directories = [
        row for result in results for row in result.largest if isinstance(row, NamedDirectory)
    ]
    if directories:
        directories.sort(key=lambda named: -named.row.size_bytes)
        yield show.table(
            f"Largest directories ({_share(results, directories)})",
            ("volume", "group", "base directory", "directory", "size", "files", "used last"),
            map(_directory, directories[:LARGEST_SHOWN]),
            right=("size", "files", "used last"),
        )
    yield show.table(
        "Reports",
        ("volume", "report", "date", "outcome", "lines", "bad", "rows", "file"),
        (_outcome(result.outcome) for result in results),
        right=("lines", "bad", "rows"),
    )
    remarks = [
        (outcome.volume, outcome.report, remark)
        for outcome in (result.outcome for result in results)
        for remark in (*outcome.remarks, *((outcome.reason,) if outcome.reason else ()))
    ]
    if remarks:
        yield show.table("Remarks", ("volume", "report", "remark"), remarks)


def _share(results: Sequence[Result], shown: Sequence[object]) -> str:
    """How many rows are shown, of how many."""
    kind = type(shown[0])
    rows = sum(
        each.outcome.rows for each in results if isinstance(next(iter(each.largest), 0), kind)
    )
    return f"{min(len(shown), LARGEST_SHOWN)} of {rows:,}"


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
