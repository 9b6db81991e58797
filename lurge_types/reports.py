"""The rows of the reports, and the record of the run that made them."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal, NamedTuple

from lurge_types.candidates import Candidate
from lurge_types.forecasts import UNKNOWN, Forecast
from lurge_types.names import Group, User
from lurge_types.vaults import VaultFile

LARGEST_SHOWN = 10
"""Of a report's rows, how many are shown to whoever runs it."""

WARNINGS = {1: "OK", 2: "Kinda OK", 3: "Not OK"}


@dataclass(frozen=True, slots=True)
class GroupReport:
    """
    What a group uses on a volume.

    last_modified_days: days from the newest modification to the scan, one decimal; None if unknown.
    warning: a key of `WARNINGS`.
    suspect: the use fell further since the last record than is believable.
    quota_used_bytes, quota_used_inodes: the use that the quota's server states, if it does.
    foretold_bytes, foretold_inodes: what is foretold of either.
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
    quota_used_bytes: int | None = None
    quota_used_inodes: int | None = None
    foretold_bytes: Forecast = UNKNOWN
    foretold_inodes: Forecast = UNKNOWN


NOWHERE = "-"
"""The base directory of what lies above every base directory, and the directory of it there."""

DIRECTLY = "."
"""The directory of files that lie directly in a base directory."""

FOLDED = "*other*"
"""The directory that stands for the smallest ones of a base directory."""

OTHER = "other"
"""The type of files whose names have none of the endings that are looked for."""

DIRECTORY_COLUMNS = (
    "volume",
    "group",
    "gid",
    "pi",
    "base_directory",
    "directory",
    "files",
    "size_bytes",
    "last_modified_days",
    "last_used_days",
)
"""The inspector's columns, before one for each file type."""

AGE_CLASSES = (0, 30, 90, 180, 365, 730, 1095, 1825, 2555)
"""From how many days since the last use on a file is of a class; to below the next one's."""

UNKNOWN_AGE = -1
"""The class of files of which nobody knows when they were used."""


class BaseDirectory(NamedTuple):
    """
    A project-level directory, by its paths in their text form.

    real: as the filesystem has it; shown: as people know it. Both are `-` where there is none.
    """

    real: str
    shown: str


class Part(NamedTuple):
    """The files of a directory that are of one type or age: which one, how many, their bytes."""

    kind: int
    files: int
    size_bytes: int


class DirectoryReport(NamedTuple):
    """
    What a group's files in a directory below a base directory amount to; made by the million.

    directory: below the base directory in its text form, or one of `NOWHERE`, `DIRECTLY`, `FOLDED`.
    real_path: of the directory, in its text form; None where it is none.
    last_modified_days, last_used_days: to the scan, one decimal; None if unknown.
    by_type: parts with a file; their kind is a place in the list of file types, 0 for other.
    by_age: parts with a file; their kind is one of `AGE_CLASSES` or `UNKNOWN_AGE`.
    kept_files: how many are kept by a vault, whatever they are called now.
    holds_vault: whether it is, holds or lies in a vault.
    lies_above: whether another base directory lies below it.
    """

    gid: int
    base: BaseDirectory
    directory: str
    real_path: str | None
    files: int
    size_bytes: int
    last_modified_days: Decimal | None
    last_used_days: Decimal | None
    by_type: tuple[Part, ...]
    by_age: tuple[Part, ...]
    kept_files: int = 0
    holds_vault: bool = False
    lies_above: bool = False


class BaseUse(NamedTuple):
    """What a group uses in a base directory: bytes and inodes of entries of every type."""

    gid: int
    base: BaseDirectory
    used_bytes: int
    inodes: int
    last_modified_days: Decimal | None


class UserUse(NamedTuple):
    """
    What a user has in a group on a volume: bytes and inodes of entries of every type.

    last_modified: the day in UTC of the newest modification that is not in the future, if any.
    """

    uid: int
    gid: int
    used_bytes: int
    inodes: int
    last_modified: date | None


@dataclass(frozen=True, slots=True)
class Run:
    """
    A report of one volume and one record date: from which scan, when, and by which version.

    settings: a digest of those that its rows depend on, for a report that has such.
    imported_from: the database that its rows came from; None where Lurge has counted.
    """

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
    settings: str | None = None
    imported_from: str | None = None


@dataclass(frozen=True, slots=True)
class NamedDirectory:
    """A directory of a volume with its group, as it is shown."""

    volume: str
    group: Group
    row: DirectoryReport


@dataclass(frozen=True, slots=True)
class NamedUse:
    """What a user has in a group on a volume, with their names, as it is shown."""

    volume: str
    user: User
    group: Group
    row: UserUse


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file in a vault of a volume with the names of its owners, as it is shown."""

    volume: str
    user: User
    group: Group
    row: VaultFile


@dataclass(frozen=True, slots=True)
class NamedCandidate:
    """
    What could be archived of a volume, as it is shown.

    score: compares candidates of different volumes; see `lurge.candidates.judge`.
    """

    volume: str
    score: int
    row: Candidate


Row = GroupReport | NamedDirectory | NamedUse | NamedFile | NamedCandidate


@dataclass(frozen=True, slots=True)
class Made:
    """
    A report that was made: how many rows it has, and which of them are to be shown.

    largest: some of the largest, and all groups that are warned. path: of the TSV, where there is
    one. remarks: what a reader should know, in words.
    """

    rows: int
    largest: tuple[Row, ...] = ()
    path: Path | None = None
    remarks: tuple[str, ...] = ()


Status = Literal["written", "already", "read", "skipped", "thinned", "failed"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    What became of a report of a volume.

    status: `written`; `already` there before; only `read` (a dry run); `skipped`, as a remark says
    why; history that was `thinned` out; or `failed`.
    run: from which scan; None where there is none, or where it could not be read.
    tsv: the file with the rows, where there is one.
    remarks: what a reader of the report should know, in words.
    reason: why it failed: which, why, and what to do.
    day: which one was to be filled in; None where none was.
    """

    report: str
    volume: str
    status: Status
    run: Run | None = None
    rows: int = 0
    tsv: Path | None = None
    remarks: tuple[str, ...] = ()
    reason: str | None = None
    day: date | None = None


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
