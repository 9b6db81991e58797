"""
What groups and users had, day by day, taken over from an older database.

Its rows come in the order in which they were written. A day of a volume is held until all of it has
come, which its count of rows tells.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from typing import Generic, TypeVar

from db import imports, runs
from db.ancestor import NO_ID, NOTHING, Ancestor, OldUse, OldUserUse, Place, Sum, Table
from db.database import Database, DatabaseFailed
from db.imports import BASE_USAGE, USAGE, USER_USAGE, Day, Row
from db.runs import Origin
from lurge.importing.plan import Plan
from lurge.importing.sums import Taken

BATCH_ROWS = 5_000
"""Rows of a volume that are written at a time, at the least."""

REPORTS = {
    "groups": ("reporter", USAGE),
    "base directories": ("inspector", BASE_USAGE),
    "users": ("users", USER_USAGE),
}
"""What is taken over: the report that it is of, and where its rows go."""

Old = TypeVar("Old", OldUse, OldUserUse)
Key = TypeVar("Key")


@dataclass(frozen=True)
class Made:
    """The rows of a day, what they tell of, and what was added up to make them."""

    rows: Sequence[Row]
    sum: Sum
    added_up: Sum


Make = Callable[[Place, Sequence[Old]], Mapping[str, Made]]


def usage(
    database: Database, ancestor: Ancestor, plan: Plan, told: Callable[[int], None]
) -> list[Taken]:
    """
    Take over what groups used; told: how many more rows have come.

    Raises DatabaseFailed.
    """
    make = partial(_base_day if ancestor.by_base else _group_day, plan)
    history = _History[OldUse](database, ancestor, plan, "lustre_usage")
    return history.take(ancestor.uses(), make, told)


def users(
    database: Database, ancestor: Ancestor, plan: Plan, told: Callable[[int], None]
) -> list[Taken]:
    """The same of what users had."""
    history = _History[OldUserUse](database, ancestor, plan, "user_usage")
    return history.take(ancestor.user_uses(), partial(_user_day, plan), told)


class _History(Generic[Old]):
    """The days of a table of an older database."""

    def __init__(self, database: Database, ancestor: Ancestor, plan: Plan, table: Table) -> None:
        self._database = database
        self._name = f"{ancestor.name}: {table}"
        self._plan = plan
        self._sums = ancestor.sums(table)
        self._waiting: dict[int, list[Day]] = {}
        self._taken: dict[tuple[str, int], Taken] = {}
        self._origins: dict[tuple[str, int], Mapping[date, Origin]] = {}
        self._stored: dict[tuple[str, int], Mapping[date, Sum]] = {}

    def take(
        self, pages: Iterable[Sequence[Old]], make: "Make[Old]", told: Callable[[int], None]
    ) -> list[Taken]:
        """Take over all days, each when it is whole."""
        held: dict[Place, list[Old]] = {}
        for page in pages:
            touched = set()
            for use in page:
                if use.volume_id in self._plan.volumes:
                    place = use.volume_id, use.record_date
                    held.setdefault(place, []).append(use)
                    touched.add(place)
            for place in sorted(touched):
                if len(held[place]) == self._sums.get(place, NOTHING).rows:
                    self._add(place, make(place, held.pop(place)))
            told(len(page))
        for (_, day), uses in held.items():
            raise DatabaseFailed(
                f"{self._name} of {day}: {len(uses)} rows have come, and others were counted "
                "before: run again when nobody writes there"
            )
        for volume_id in list(self._waiting):
            self._write(volume_id)
        return [self._compared(*key) for key in sorted(self._taken)]

    def _add(self, place: Place, made: Mapping[str, Made]) -> None:
        """Count a day, and let it be written unless it is here."""
        volume_id = place[0]
        waiting = self._waiting.setdefault(volume_id, [])
        for kind, day in made.items():
            report, filled = REPORTS[kind]
            run = self._plan.run(report, place)
            taken = self._taken.setdefault((kind, volume_id), Taken(kind, run.volume))
            there = self._origins_of(report, volume_id).get(run.record_date)
            taken.days += 1
            taken.there += self._sums[place]
            taken.added_up += day.added_up
            if there is None:
                waiting.append(Day(run, filled, day.rows))
            elif there.imported_from != self._plan.origin:
                taken.own += day.sum
            elif self._stored_of(kind, volume_id)[run.record_date] != day.sum:
                waiting.append(Day(run, filled, day.rows, again=True))
        if sum(len(day.rows) for day in waiting) >= BATCH_ROWS:
            self._write(volume_id)

    def _origins_of(self, report: str, volume_id: int) -> Mapping[date, Origin]:
        key = report, volume_id
        if key not in self._origins:
            here = self._plan.ids.volumes[volume_id]
            ask = partial(runs.origins, report=report, volume_id=here)
            self._origins[key] = self._database.transaction(ask)
        return self._origins[key]

    def _stored_of(self, kind: str, volume_id: int) -> Mapping[date, Sum]:
        """What an earlier import has written."""
        key = kind, volume_id
        if key not in self._stored:
            self._stored[key] = self._ask_stored(kind, volume_id)
        return self._stored[key]

    def _ask_stored(self, kind: str, volume_id: int) -> Mapping[date, Sum]:
        report, filled = REPORTS[kind]
        return self._database.transaction(
            partial(
                imports.stored,
                report=report,
                table=filled.table,
                volume_id=self._plan.ids.volumes[volume_id],
                origin=self._plan.origin,
            )
        )

    def _write(self, volume_id: int) -> None:
        days = self._waiting.pop(volume_id)
        imports.store(self._database, self._plan.ids.volumes[volume_id], days)

    def _compared(self, kind: str, volume_id: int) -> Taken:
        taken = self._taken[kind, volume_id]
        days = {day.record_date for day in self._plan.days[volume_id].values()}
        there = self._ask_stored(kind, volume_id)
        taken.here = sum((sum_ for day, sum_ in there.items() if day in days), NOTHING)
        return taken


def _latest(uses: Sequence[Old], key: Callable[[Old], object]) -> tuple[Sequence[Old], Sum]:
    """
    Of rows of one key the last, and what the others amount to.

    Those of an owner who was not recorded are of several.
    """
    last = {key(use) if _has_owner(use) else use.record_id: use for use in uses}
    if len(last) == len(uses):
        return uses, NOTHING
    dropped = sum(use.size_bytes for use in uses) - sum(use.size_bytes for use in last.values())
    return list(last.values()), Sum(len(uses) - len(last), dropped)


def _has_owner(of: OldUse | OldUserUse) -> bool:
    return of.group_id != NO_ID and (isinstance(of, OldUse) or of.user_id != NO_ID)


def _made(rows: Mapping[object, Row], size_bytes: int, uses: int, dropped: Sum) -> Made:
    """The rows that some uses became; those of one key were added up."""
    added_up = dropped + Sum(uses - len(rows), 0)
    return Made(list(rows.values()), Sum(len(rows), size_bytes), added_up)


def _group_day(plan: Plan, place: Place, uses: Sequence[OldUse]) -> Mapping[str, Made]:
    """A day of generation 1."""
    kept, dropped = _latest(uses, lambda use: (use.group_id,))
    return {"groups": _groups(plan, place, kept, dropped)}


def _base_day(plan: Plan, place: Place, uses: Sequence[OldUse]) -> Mapping[str, Made]:
    """A day of generation 2, which repeats a group's quota and warning in each base directory."""
    kept, dropped = _latest(uses, lambda use: (use.group_id, use.base_id))
    volume_id, day = _here(plan, place)
    rows: dict[object, Row] = {}
    for key, some in _by(
        kept, lambda use: (_id(plan.ids.groups, use.group_id), plan.ids.bases[use.base_id or NO_ID])
    ).items():
        rows[key] = (
            *(day, *key, volume_id, _pi(plan, some)),
            *(sum(use.size_bytes for use in some), 0, _least_days(some)),
        )
    size_bytes = sum(use.size_bytes for use in kept)
    return {
        "base directories": _made(rows, size_bytes, len(kept), dropped),
        "groups": _groups(plan, place, kept, dropped),
    }


def _groups(plan: Plan, place: Place, uses: Sequence[OldUse], dropped: Sum) -> Made:
    """What groups used on a volume; their inodes were not counted."""
    volume_id, day = _here(plan, place)
    rows: dict[object, Row] = {}
    for group_id, some in _by(uses, lambda use: _id(plan.ids.groups, use.group_id)).items():
        quotas = [use.quota_bytes for use in some if use.quota_bytes is not None]
        rows[group_id] = (
            *(day, volume_id, group_id, _pi(plan, some), sum(use.size_bytes for use in some)),
            *(max(quotas, default=None), 0, _least_days(some)),
            *(any(use.archived for use in some), False, max(use.warning for use in some)),
        )
    return _made(rows, sum(use.size_bytes for use in uses), len(uses), dropped)


def _user_day(plan: Plan, place: Place, uses: Sequence[OldUserUse]) -> Mapping[str, Made]:
    """What users had in groups on a volume; their inodes were not counted."""
    kept, dropped = _latest(uses, lambda use: (use.user_id, use.group_id))
    volume_id, day = _here(plan, place)
    rows: dict[object, Row] = {}
    for key, some in _by(
        kept,
        lambda use: (
            _id(plan.ids.users, use.user_id),
            _id(plan.ids.groups, use.group_id),
        ),
    ).items():
        modified = max((use.last_modified for use in some if use.last_modified), default=None)
        rows[key] = (
            *(day, *key, volume_id),
            *(sum(use.size_bytes for use in some), 0, modified and modified.isoformat()),
        )
    return {"users": _made(rows, sum(use.size_bytes for use in kept), len(kept), dropped)}


def _id(ids: Mapping[int, int], old: int) -> int:
    """The id here of an owner; nobody's, if there is none of that id."""
    return ids.get(old, ids[NO_ID])


def _here(plan: Plan, place: Place) -> tuple[int, str]:
    """The id here of a volume there, and the date under which a day there is recorded."""
    volume_id, day = place
    return plan.ids.volumes[volume_id], plan.days[volume_id][day].record_date.isoformat()


def _by(uses: Sequence[Old], key: Callable[[Old], Key]) -> dict[Key, list[Old]]:
    found: dict[Key, list[Old]] = {}
    for use in uses:
        found.setdefault(key(use), []).append(use)
    return found


def _pi(plan: Plan, uses: Sequence[OldUse]) -> int | None:
    found = (plan.ids.pis.get(use.pi_id) for use in uses if use.pi_id is not None)
    return next((pi_id for pi_id in found if pi_id is not None), None)


def _least_days(uses: Sequence[OldUse]) -> float | None:
    """As a float, which every driver takes, and which has one decimal at the most."""
    days = (use.last_modified for use in uses if use.last_modified is not None)
    return min(map(float, days), default=None)
