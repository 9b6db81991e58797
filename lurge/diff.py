"""Who grew and who shrank between two dates, for whoever asks; nothing is written."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from rich.table import Table
from sqlalchemy.engine import Connection

from db import growth, runs, upkeep
from db.database import Database
from db.growth import By, Use
from lurge_types.reports import percent
from utils import show, tsv

LARGEST_SHOWN = 20

COUNTED_ANEW = (
    "one of the records was imported: it has no inodes, and bytes of hard-linked files and of "
    "directories were counted in another way"
)

NUMBERS: Mapping[By, tuple[str, ...]] = {"group": ("gid",), "user": ("uid",), "directory": ()}
"""The column of a number, where there is one."""

FIGURES = (
    "before_bytes",
    "after_bytes",
    "change_bytes",
    "change_percent",
    "before_inodes",
    "after_inodes",
    "change_inodes",
    "suspect",
)


class NothingToCompare(Exception):
    """No volume has records of two days: which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """
    What somebody had on a volume at two dates; 0 where it was not there.

    key: the gid, the uid, or the real path of a base directory.
    suspect: whether either use is not to be believed.
    """

    volume: str
    name: str
    key: int | str
    before_bytes: int
    after_bytes: int
    before_inodes: int
    after_inodes: int
    suspect: bool

    @property
    def bytes(self) -> int:
        """How many more there are."""
        return self.after_bytes - self.before_bytes

    @property
    def inodes(self) -> int:
        """How many more there are."""
        return self.after_inodes - self.before_inodes

    @property
    def percent(self) -> Decimal | None:
        """The change of the bytes before; None where there were none."""
        return percent(self.bytes, self.before_bytes or None)


@dataclass(frozen=True, slots=True)
class Diff:
    """The changes, the largest first, and what to know of them in words."""

    by: By
    changes: Sequence[Change]
    remarks: Sequence[str]


def run(database: Database, by: By, volumes: Sequence[str], first: date, last: date) -> Diff:
    """
    Compare two dates of some volumes, or of all that had not retired by the first.

    Raises NothingToCompare, DatabaseFailed.
    """

    def read(connection: Connection) -> Diff:
        stored = growth.volumes(connection, by)
        if unknown := [name for name in volumes if name not in stored]:
            raise NothingToCompare(
                f"{', '.join(unknown)}: no record of {growth.REPORTS[by]}; there is one of "
                f"{', '.join(stored) or 'no volume'}"
            )
        retired = () if volumes else upkeep.retired(connection, first)
        asked = volumes or [name for name in stored if name not in retired]
        if stored and not asked:
            raise NothingToCompare(
                f"{', '.join(stored)}: retired by {first}: name with --volume what to compare"
            )
        before, after = (growth.newest(connection, by, day) for day in (first, last))
        changes: list[Change] = []
        remarks: list[str] = []
        compared = False
        for name in dict.fromkeys(asked):
            days = before.get(name), after.get(name)
            remarks += remarks_of(name, (first, last), days)
            old, new = days
            if old and new and old != new:
                compared = True
                if _is_imported(connection, by, name, old) != _is_imported(
                    connection, by, name, new
                ):
                    remarks.append(f"{name}: {COUNTED_ANEW}")
                uses = (growth.read(connection, by, name, day) for day in (old, new))
                changes += compare(name, *uses)
        if not compared:
            raise NothingToCompare(
                "; ".join([*remarks, f"nothing to compare: run {growth.REPORTS[by]} on both dates"])
            )
        return Diff(by, in_order(changes), remarks)

    # A day that is thinned out between two statements must not look like one without any use.
    return database.read(read)


def _is_imported(connection: Connection, by: By, volume: str, day: date) -> bool:
    record = runs.find(connection, growth.REPORTS[by], volume, day)
    return record is not None and record.imported_from is not None


def remarks_of(
    volume: str, asked: tuple[date, date], used: tuple[date | None, date | None]
) -> Iterator[str]:
    """What to know of a volume's records: of other days than asked, or that it is left out."""
    missing = [day for day, found in zip(asked, used, strict=True) if found is None]
    if missing:
        yield f"{volume}: no record at or before {missing[0]}: left out"
    elif used[0] == used[1]:
        yield f"{volume}: the record of {used[0]} is the newest for both dates: left out"
    else:
        for day, found in zip(asked, used, strict=True):
            if day != found:
                yield f"{volume}: no record of {day}: that of {found} is used"


def compare(volume: str, before: Iterable[Use], after: Iterable[Use]) -> Iterator[Change]:
    """What changed of each that is there at either date, in no order."""
    old, new = ({use.key: use for use in uses} for uses in (before, after))
    for key in old.keys() | new.keys():
        name = (new.get(key) or old[key]).name
        nothing = Use(key, name, 0, 0, suspect=False)
        was, now = old.get(key, nothing), new.get(key, nothing)
        yield Change(
            volume,
            name,
            key,
            was.used_bytes,
            now.used_bytes,
            was.inodes,
            now.inodes,
            was.suspect or now.suspect,
        )


def in_order(changes: Iterable[Change]) -> list[Change]:
    """The largest change of bytes first, then of inodes; all keys are of one type."""
    return sorted(changes, key=lambda row: (-abs(row.bytes), -abs(row.inodes), row.volume, row.key))


def columns(by: By) -> tuple[str, ...]:
    """Of the TSV, and of JSON."""
    return ("volume", by, *NUMBERS[by], *FIGURES)


def as_tsv(diff: Diff) -> Iterator[str]:
    """The lines of a TSV."""
    return tsv.lines(columns(diff.by), (_cells(diff.by, row) for row in diff.changes))


def as_json(diff: Diff) -> Iterator[str]:
    """A line of JSON in ASCII for each change."""
    for row in diff.changes:
        cells = zip(columns(diff.by), _cells(diff.by, row), strict=True)
        yield json.dumps(dict(cells), default=float)


def _cells(by: By, row: Change) -> tuple[object, ...]:
    return (
        row.volume,
        row.name,
        *((row.key,) if NUMBERS[by] else ()),
        row.before_bytes,
        row.after_bytes,
        row.bytes,
        row.percent,
        row.before_inodes,
        row.after_inodes,
        row.inodes,
        row.suspect,
    )


def as_table(diff: Diff, most: int | None) -> Table:
    """The changes for people; `most`: how many are shown, the largest; all, if None."""
    figures = ("before", "after", "change", "%", "inodes before", "inodes after", "inodes change")
    return show.table(
        "Changes of bytes and inodes",
        ("volume", diff.by, *figures, "suspect"),
        (_shown(row) for row in diff.changes[:most]),
        right=figures,
    )


def _shown(row: Change) -> tuple[str, ...]:
    sign = "-" if row.bytes < 0 else "+"
    return (
        row.volume,
        row.name,
        show.size(row.before_bytes),
        show.size(row.after_bytes),
        sign + show.size(abs(row.bytes)) if row.bytes else "0 B",
        "-" if row.percent is None else f"{row.percent:+}",
        f"{row.before_inodes:,}",
        f"{row.after_inodes:,}",
        f"{row.inodes:+,}",
        "suspect" if row.suspect else "",
    )
