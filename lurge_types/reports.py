"""The rows of the reports, and the record of the run that made them."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

from lurge_types.names import Group

WARNINGS = {1: "OK", 2: "Kinda OK", 3: "Not OK"}


@dataclass(frozen=True, slots=True)
class GroupReport:
    """
    What a group uses on a volume.

    last_modified_days: days from the newest modification to the scan, one decimal; None if unknown.
    warning: a key of `WARNINGS`.
    suspect: the use fell further since the last record than is believable.
    """

    volume: str
    group: Group
    used_bytes: int
    quota_bytes: int | None
    inodes: int
    quota_inodes: int | None
    last_modified_days: Decimal | None
    archived: bool
    suspect: bool
    warning: int = 1


@dataclass(frozen=True, slots=True)
class Run:
    """A report of one volume and one record date: from which scan, when, and by which version."""

    report: str
    volume: str
    record_date: date
    scan_file: str
    scan_time: datetime
    lines: int
    bad_lines: int
    started: datetime
    finished: datetime
    version: str


Status = Literal["written", "already", "read", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a report of a volume.

    status: `written`; `already` there before; only `read` (a dry run); or `failed`.
    run: from which scan; None where there is none, or where it could not be read.
    tsv: the file with the rows, where there is one.
    remarks: what a reader of the report should know, in words.
    reason: why it failed: which, why, and what to do.
    """

    report: str
    volume: str
    status: Status
    run: Run | None = None
    rows: int = 0
    tsv: Path | None = None
    remarks: tuple[str, ...] = ()
    reason: str | None = None


def days_between(earlier: int, later: int) -> Decimal:
    """
    Days from one time in seconds to a later one, one decimal, half-even in exact arithmetic.

    >>> days_between(0, 86400 * 3 + 4320)
    Decimal('3.0')
    >>> days_between(0, 86400 * 3 + 4321)
    Decimal('3.1')
    """
    tenths, rest = divmod(later - earlier, 8640)
    if 2 * rest > 8640 or (2 * rest == 8640 and tenths % 2):
        tenths += 1
    return Decimal(tenths).scaleb(-1)


def percent(used: int, limit: int | None) -> Decimal | None:
    """
    How much of a limit is used, in percent with one decimal; None without a limit.

    >>> percent(1, 3)
    Decimal('33.3')
    """
    return None if limit is None else (Decimal(used) * 100 / limit).quantize(Decimal("0.1"))
