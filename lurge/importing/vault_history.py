"""
The files in vaults: of each day's copies, a row for each file and state from one day to another.

All copies are read once, in the order in which they were written. Of each state of a volume's files
one number is kept, in which a bit stands for each of the volume's days.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from itertools import islice

from db import imports, runs, vaults
from db.ancestor import (
    COPY_BYTES,
    NOTHING,
    NUMBER_BYTES,
    STATE_BYTES,
    Ancestor,
    Copies,
    OldFile,
    Sum,
)
from db.database import Database, DatabaseFailed
from db.imports import State
from db.runs import Origin
from lurge.importing.plan import Plan
from lurge.importing.sums import Taken

REPORT = "puppeteer"

STATES_AT_ONCE = 2_000
"""How many are asked for, and written in one transaction with all their days."""


def take(
    database: Database, ancestor: Ancestor, plan: Plan, told: Callable[[int], None]
) -> list[Taken]:
    """
    Take over the files in vaults; told: how many more copies have come.

    Raises DatabaseFailed.
    """
    sums = ancestor.sums("vault")
    seen = {
        volume_id: _Seen(
            {place[1]: sums[place] for place in sums if place and place[0] == volume_id}
        )
        for volume_id in plan.volumes
    }
    for copies in ancestor.copies():
        volume_id, day = copies.place
        if volume_id in seen:
            seen[volume_id].add(day, copies)
        told(len(copies.packed) // COPY_BYTES)
    taken = []
    for volume_id in list(seen):
        states = seen.pop(volume_id)  # which takes most of the memory
        if changed := states.changed():
            raise DatabaseFailed(
                f"{ancestor.name}: vault of {changed}: the rows that have come are not those that "
                "were counted before: run again when nobody writes there"
            )
        if states.days:
            taken.append(_Vault(database, ancestor, plan, volume_id, states).store())
    return taken


class _Seen:
    """
    On which days files of a volume were seen, by the digest of their state.

    days: in order; the place of one is its bit. twice: what a day has of one state, but for one.
    """

    def __init__(self, sums: Mapping[date, Sum]) -> None:
        self.sums = sums
        self.days = sorted(sums)
        self.twice = dict.fromkeys(sums, NOTHING)
        self.of: dict[bytes, int] = {}
        self.first: dict[bytes, int] = {}
        self._bits = {day: 1 << place for place, day in enumerate(self.days)}
        self._rows: Counter[date] = Counter()

    def add(self, day: date, copies: Copies) -> None:
        """Note the copies of a day, or of a part of it."""
        of, first, bit, packed = self.of, self.first, self._bits.get(day, 0), copies.packed
        self._rows[day] += len(packed) // COPY_BYTES
        for at in range(0, len(packed), COPY_BYTES):
            number = at + STATE_BYTES
            state = packed[at:number]
            days = of.get(state)
            if days is None:
                of[state] = bit
                first[state] = _number(packed, number)
            elif days & bit:
                self.twice[day] += Sum(1, _number(packed, number + NUMBER_BYTES))
            else:
                of[state] = days | bit

    def changed(self) -> date | None:
        """A day of which other rows came than were counted."""
        days = sorted(self._rows.keys() | self.sums.keys())
        rows = {day: self.sums.get(day, NOTHING).rows for day in days}
        return next((day for day in days if self._rows[day] != rows[day]), None)

    def once(self, day: date) -> Sum:
        """What a day has, of one state but one."""
        there, twice = self.sums[day], self.twice[day]
        return Sum(there.rows - twice.rows, there.size_bytes - twice.size_bytes)

    def bits(self, days: Collection[date]) -> int:
        """The bits of some days."""
        return sum(self._bits[day] for day in days)


class _Vault:
    """The rows of a volume."""

    def __init__(
        self, database: Database, ancestor: Ancestor, plan: Plan, volume_id: int, seen: _Seen
    ) -> None:
        self._database = database
        self._ancestor = ancestor
        self._plan = plan
        self._place = volume_id
        self._seen = seen
        self._here = plan.ids.volumes[volume_id]
        self._dates = {day: plan.days[volume_id][day].record_date for day in seen.days}
        self._in_order = list(self._dates.values())
        old = plan.old
        self._groups = {group.name: plan.ids.groups[id_] for id_, group in old.groups.items()}
        self._users = {name: plan.ids.users[id_] for id_, name in old.users.items()}
        self._actions = {name: plan.ids.actions[id_] for id_, name in old.actions.items()}

    def store(self) -> Taken:
        """Write what is not here yet, and compare."""
        seen, name = self._seen, self._plan.volumes[self._place].name
        vaults.sweep(self._database, REPORT, name)
        ask = partial(runs.origins, report=REPORT, volume_id=self._here)
        there = self._database.transaction(ask)
        last = seen.days[-1]
        is_next = self._plan.days[self._place][last].scan is not None
        left = {self._dates[last]} if is_next else set()
        free = {
            day for day in free_days(self._in_order, there, self._plan.origin) if day not in left
        }
        mine = {day for day, of in there.items() if of.imported_from == self._plan.origin}
        if mine < free:
            self._write([day for day in seen.days if self._dates[day] in free], there)
            vaults.sweep(self._database, REPORT, name)
            mine = free
        return Taken(
            "files in vaults",
            name,
            len(seen.days),
            there=sum(seen.sums.values(), NOTHING),
            added_up=sum(seen.twice.values(), NOTHING),
            own=sum((seen.once(day) for day in seen.days if self._dates[day] not in mine), NOTHING),
            here=self._database.transaction(
                partial(imports.vault_sum, volume_id=self._here, origin=self._plan.origin)
            ),
        )

    def _write(self, days: Sequence[date], there: Mapping[date, Origin]) -> None:
        """Write all rows under one run, that of the last day; the other days have none."""
        run_of = [self._plan.run(REPORT, (self._place, day)) for day in days]
        bits = self._seen.bits(days)
        is_newest = run_of[-1].record_date >= max(there, default=date.min)
        last_bit = bits.bit_length() - 1 if is_newest else None
        count = sum(_count(of & bits) for of in self._seen.of.values())
        begun = imports.begin_vault(self._database, run_of[-1], self._here, count)
        rows = self._rows(bits, last_bit)
        try:
            filled = 0
            while some := list(islice(rows, STATES_AT_ONCE)):
                imports.add_to_vault(self._database, begun, self._here, filled, some)
                filled += len(some)
            self._check(filled, count)
            imports.finish_vault(self._database, run_of[-1], self._here, begun, run_of[:-1], there)
        except BaseException:
            runs.abandon(self._database, begun)
            raise

    def _check(self, filled: int, count: int) -> None:
        if filled != count:
            raise DatabaseFailed(
                f"{self._ancestor.name}: of vault come {filled:,} states, where {count:,} were "
                "counted: run again when nobody writes there"
            )

    def _rows(self, days: int, last_bit: int | None) -> Iterator[State]:
        """
        A row for each state and each span of days; days: the bits of those that count.

        last_bit: a state that was seen on this day is seen still.
        """
        seen = self._seen
        states = {seen.first[state]: state for state, of in seen.of.items() if of & days}
        in_order = iter(sorted(states))
        while numbers := list(islice(in_order, STATES_AT_ONCE)):
            for file in self._ancestor.files(numbers):
                digest = states[file.record_id]
                for first, last in _spans(seen.of[digest] & days):
                    yield self._state(file, digest, first, None if last == last_bit else last)

    def _state(self, file: OldFile, digest: bytes, first: int, last: int | None) -> State:
        return State(
            digest=digest,
            path=file.path,
            group_id=self._groups[file.group],
            action_id=self._actions[file.action],
            size_bytes=file.size_bytes,
            last_modified=file.last_modified,
            user_id=self._users[file.user],
            first_seen=self._in_order[first],
            last_seen=None if last is None else self._in_order[last],
        )


def free_days(days: Collection[date], there: Mapping[date, Origin], origin: str) -> set[date]:
    """
    The days that may come from an older database: there, the runs that are here already.

    They are before the first of which Lurge has rows, no other run is of them, and they are not
    between the days that came from elsewhere.
    """
    own = min(
        (day for day, of in there.items() if of.imported_from is None and of.stored),
        default=date.max,
    )
    others = [day for day, of in there.items() if of.imported_from not in (None, origin)]
    taken = {day for day, of in there.items() if of.imported_from != origin}
    return {
        day
        for day in days
        if day < own and day not in taken and not (others and min(others) <= day <= max(others))
    }


def _spans(days: int) -> Iterator[tuple[int, int]]:
    """The first and the last bit of each row of bits that are set."""
    while days:
        first = (days & -days).bit_length() - 1
        after = days >> first
        length = (~after & (after + 1)).bit_length() - 1
        yield first, first + length - 1
        days = (after >> length) << (first + length)


def _count(days: int) -> int:
    """How many spans there are."""
    return (days & ~(days << 1)).bit_count()


def _number(packed: bytes, at: int) -> int:
    return int.from_bytes(packed[at : at + NUMBER_BYTES], "big")
