"""What became of a night, for people (tables) and for programs (JSON)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from rich.table import Table

from lurge.nightly import Result
from lurge_types.reports import Outcome, percent
from utils import show
from utils.paths import text

LARGEST_SHOWN = 10


def as_json(outcome: Outcome) -> str:
    """One line of JSON in ASCII: the fields of the outcome, dates ISO, paths in their text form."""
    fields = asdict(outcome) | {"tsv": outcome.tsv and text(bytes(outcome.tsv))}
    return json.dumps(fields, default=str)


def tables(results: Sequence[Result]) -> Iterator[Table]:
    """The largest groups, what became of each report, and what to know about them."""
    results = sorted(results, key=lambda each: (each.outcome.volume, each.outcome.report))
    rows = [row for result in results for row in result.rows]
    if rows:
        rows.sort(key=lambda row: (-row.used_bytes, row.volume, row.group.gid))
        yield show.table(
            f"Largest groups ({min(len(rows), LARGEST_SHOWN)} of {len(rows)})",
            ("volume", "group", "PI", "used", "quota", "%", "inodes", "modified"),
            (
                (
                    row.volume,
                    row.group.name,
                    row.group.pi or "-",
                    show.size(row.used_bytes),
                    "-" if row.quota_bytes is None else show.size(row.quota_bytes),
                    "-"
                    if (share := percent(row.used_bytes, row.quota_bytes)) is None
                    else str(share),
                    f"{row.inodes:,}",
                    "-" if row.last_modified_days is None else f"{row.last_modified_days} d ago",
                )
                for row in rows[:LARGEST_SHOWN]
            ),
            right=("used", "quota", "%", "inodes", "modified"),
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
