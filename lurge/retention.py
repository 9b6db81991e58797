"""Retention: history thins out with its age, from every day to one a week and then one a month."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial

from rich.table import Table

from db import pruning
from db.database import Database
from db.pruning import History
from lurge_types.config import KeepTable
from utils import show


@dataclass(frozen=True, slots=True)
class Thinned:
    """
    What becomes of the history of a report and volume.

    days, rows: how many are deleted. days_kept: how many other days there were, which stay unless
    somebody else deletes them meanwhile. oldest: the first of these.
    """

    report: str
    volume: str
    days: int
    rows: int
    days_kept: int
    oldest: date


def kept(
    days: Iterable[date], today: date, keep: KeepTable, imported: Set[date] = frozenset()
) -> set[date]:
    """
    The days that stay, of all that are recorded.

    Of a week, from Monday to Sunday, its newest day stays; of a month the newest of these. A day
    that Lurge has counted goes before those that were imported, which were counted in another way.
    What is the newest is told by all days, not by those that are so old: so history that is thinned
    every night ends as if it were thinned once; but for imported weeks, if `monthly` is less than a
    month. The newest day of all stays, however old it is, and so does the newest that Lurge has
    counted.
    """
    ordered = sorted(days, key=lambda day: (day not in imported, day))
    of_weeks = set({day.isocalendar()[:2]: day for day in ordered}.values())
    of_months = {(day.year, day.month): day for day in ordered if day in of_weeks}
    ages = (
        (set(ordered), keep.daily),
        (of_weeks, keep.weekly),
        (set(of_months.values()), keep.monthly),
    )
    newest = {*ordered[-1:], *sorted(ordered)[-1:]}
    return newest | {day for day in ordered if _stays(day, (today - day).days, ages)}


def _stays(day: date, age: int, ages: Iterable[tuple[set[date], int | None]]) -> bool:
    """ages: which days stay, and for how many days more than those before."""
    for staying, days in ages:
        if days is None or age <= days:
            return day in staying
        age -= days
    return False


def thin(
    database: Database,
    keep: KeepTable,
    today: date,
    reports: Sequence[str] = tuple(pruning.HISTORIES),
    *,
    dry_run: bool = False,
) -> Iterator[Thinned]:
    """
    Thin the history of some reports, one day of a volume at a time; each history as it is done.

    dry_run: only count. Raises DatabaseFailed; what is deleted by then stays deleted, and the
    history that was being thinned is told before.
    """
    act: Callable[..., int | None] = pruning.rows if dry_run else pruning.forget
    for history in database.transaction(partial(pruning.histories, reports=reports)):
        staying = kept(history.days, today, keep, history.imported) | history.held
        gone: dict[date, int] = {}
        try:
            for day in sorted(set(history.days) - staying):
                rows = database.transaction(partial(act, of=history, day=day))
                if rows is not None:
                    gone[day] = rows
        finally:
            yield _thinned(history, gone)


def _thinned(of: History, gone: Mapping[date, int]) -> Thinned:
    """gone: how many rows each day had."""
    left = [day for day in of.days if day not in gone]
    return Thinned(of.report, of.volume, len(gone), sum(gone.values()), len(left), left[0])


def as_table(found: Iterable[Thinned], *, dry_run: bool) -> Table:
    """What became of each history, for people; or what would."""
    title = "History that would be deleted" if dry_run else "History that was deleted"
    figures = ("days", "rows", "days kept")
    return show.table(
        title,
        ("report", "volume", *figures, "from"),
        (
            (
                each.report,
                each.volume,
                f"{each.days:,}",
                f"{each.rows:,}",
                f"{each.days_kept:,}",
                str(each.oldest),
            )
            for each in found
        ),
        right=figures,
    )


def as_json(of: Thinned) -> str:
    """What became of a history, as one line of JSON in ASCII."""
    return json.dumps(asdict(of), default=str)
