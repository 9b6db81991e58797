"""
Directories of projects and of tasks that ended long enough ago, by the site's own database.

What is due hangs on today and the end alone: a project that ended late, or whose directory was
absent, is due on a later day just so.
"""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import NamedTuple

from db import projects as site
from db.projects import ProjectRow, ProjectsFailed
from lurge_types.archive import Missed, Proposal, Skipped
from lurge_types.config import ProjectTreesTable
from utils import places
from utils.months import first_reached, months_before

TREES = ("upload", "result")
MOST_DIGITS = 18


class _Ended(NamedTuple):
    """A project's directory, as the database has it, and the day on which it ended."""

    id: str
    path: bytes
    day: date


class _Open(NamedTuple):
    """The directories of what has not ended, or not long enough ago, with their ids; sorted."""

    paths: Sequence[bytes]
    ids: Mapping[bytes, str]

    def bar(self, path: bytes) -> str | None:
        """Why what lies in a directory still belongs to somebody, if it does."""
        if path in self.ids:
            return f"is also of {self.ids[path]}, which has not ended long enough ago"
        below = path + b"/"
        at = bisect_left(self.paths, below)
        if at < len(self.paths) and self.paths[at].startswith(below):
            theirs = self.ids[self.paths[at]]
            return f"has the directory of {theirs} in it, which has not ended long enough ago"
        return None


def cut_off(table: ProjectTreesTable, today: date) -> date:
    """The last day on which a project must have ended to be due."""
    return months_before(today, table.months)


def projects(
    table: ProjectTreesTable, url: str, today: date
) -> Iterator[Proposal | Skipped | Missed]:
    """
    What is due of both trees, of each in the order of the ids.

    A tree without an answer does not stop the other: it is told as Missed.
    """
    last = cut_off(table, today)
    trees: dict[str, list[ProjectRow]] = {}
    for name in TREES:
        missed = _read(table, url, name, trees)
        if missed:
            yield missed
    if table.upload is None and table.result is None:
        yield Missed("archive.projects", "has no query: configure one", is_failure=True)
    still = _still_open((row for rows in trees.values() for row in rows), last)
    seen: dict[bytes, str] = {}
    for rows in trees.values():
        found = list(_ended(rows, last))
        yield from (each for each in found if isinstance(each, Skipped))
        ended = [each for each in found if isinstance(each, _Ended)]
        days = _latest(ended)
        for each in sorted(ended, key=lambda each: (_order(each.id), each.path)):
            yield _look(each, still, seen, first_reached(days[each.path], table.months))


def _read(
    table: ProjectTreesTable, url: str, name: str, trees: dict[str, list[ProjectRow]]
) -> Missed | None:
    """Add the rows of a tree, or tell why there are none."""
    query = getattr(table, name)
    if query is None:
        return None
    called = f"archive.projects.{name}"
    try:
        trees[name] = list(site.rows(url, query.query, called))
    except ProjectsFailed as error:
        return Missed(called, str(error), is_failure=True)
    return None if trees[name] else Missed(called, "gives no row at all", is_failure=False)


def _still_open(rows: Iterable[ProjectRow], last: date) -> _Open:
    ids: dict[bytes, str] = {}
    for row in rows:
        path = (row.path or b"").rstrip(b"/")
        is_open = not isinstance(row.ended, date) or row.ended > last
        if is_open and not places.wrong(path):
            ids |= dict.fromkeys((path, places.real(path)), row.id or "a project without an id")
    return _Open(sorted(ids), ids)


def _ended(rows: Iterable[ProjectRow], last: date) -> Iterator[_Ended | Skipped]:
    """What ended by a day, and what may have."""
    for row in rows:
        path = (row.path or b"").rstrip(b"/")
        if isinstance(row.ended, str):
            yield Skipped(path, row.id, f"ended on {row.ended!r}, which is no date")
        elif row.ended is not None and row.ended <= last:
            why = "has no id" if row.id is None else "has no path" if not path else None
            why = why or places.wrong(path)
            yield Skipped(path, row.id, why) if why else _Ended(str(row.id), path, row.ended)


def _order(number: str) -> tuple[bool, int, bytes]:
    """Numbers by their value, then other ids by their bytes."""
    is_number = number.isascii() and number.isdigit() and len(number) <= MOST_DIGITS
    return not is_number, int(number) if is_number else 0, number.encode()


def _latest(ended: Iterable[_Ended]) -> dict[bytes, date]:
    """When each directory's projects had all ended."""
    days: dict[bytes, date] = {}
    for each in ended:
        days[each.path] = max(each.day, days.get(each.path, each.day))
    return days


def _look(ended: _Ended, still: _Open, seen: dict[bytes, str], since: date) -> Proposal | Skipped:
    root = places.real(ended.path)
    why = still.bar(ended.path) or still.bar(root)
    if root in seen:
        why = f"is the directory of {seen[root]}, too"
    seen.setdefault(root, ended.id)
    why = why or places.bar(root)
    if why:
        return Skipped(root, ended.id, why)
    return Proposal(root, "directory", (), ended.id, since)
