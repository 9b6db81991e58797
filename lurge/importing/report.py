"""
Takes over what the suite before Lurge has recorded, and compares the sums of both afterwards.

A day that Lurge has counted itself stays as it is. What is here already is not written again: an
import that was killed goes on where it was, and a later one adds what has come since.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from db.ancestor import NOTHING, Ancestor, Table
from db.database import Database
from lurge.importing import plan, usage_history, vault_history
from lurge.importing.plan import Plan
from lurge.importing.sums import Taken
from lurge_types.config import Config
from utils.names import Names

TOLD_EVERY_SECONDS = 10

Step = Callable[[Database, Ancestor, Plan, Callable[[int], None]], list[Taken]]
STEPS: Mapping[Table, Step] = {
    "lustre_usage": usage_history.usage,
    "user_usage": usage_history.users,
    "vault": vault_history.take,
}


class Import(NamedTuple):
    """What was taken over, and what to know of it in words."""

    taken: Sequence[Taken]
    remarks: Sequence[str]

    @property
    def same(self) -> bool:
        """Whether all sums are."""
        return all(each.same for each in self.taken)


def run(
    config: Config,
    database: Database,
    names: Names,
    ancestor: Ancestor,
    told: Callable[[str], None],
) -> Import:
    """
    Take over all that is there; told: how it goes, in words.

    Raises DatabaseFailed, ScansUnreadable.
    """
    told(f"{ancestor.name}: counting its rows")
    sums = {table: ancestor.sums(table) for table in ancestor.has}
    volumes = ancestor.names.volumes
    remarks = []
    placed = set()
    for table, of in sums.items():
        places = {place for place in of if place is not None and place[0] in volumes}
        placed |= places
        if lost := sum((of[place] for place in of.keys() - places), NOTHING):
            remarks.append(
                f"{table}: {lost.rows:,} rows of {lost.size_bytes:,} bytes are of no volume, "
                "date, path or action: left out"
            )
    made = plan.make(config, database, names, ancestor, placed)
    remarks += _names_known(config, made) + _without_table(config, made)
    taken: list[Taken] = []
    for table, take in STEPS.items():
        if table in sums:
            rows = sum(sums[table].values(), NOTHING).rows
            rows_told = _every_few_seconds(f"{table}: {{:,}} of {rows:,} rows", told)
            taken += take(database, ancestor, made, rows_told)
        else:
            remarks.append(f"{table}: there is no such table in {ancestor.name}")
    return Import(sorted(taken, key=lambda each: (each.kind, each.volume)), remarks)


def _names_known(config: Config, made: Plan) -> list[str]:
    """For how many names there is a gid or uid."""
    groups = len({group.name for group in made.old.groups.values()}) - 1  # without nobody
    users = len(set(made.old.users.values())) - 1
    known = f"{made.groups_known:,} of {groups:,} groups, {made.users_known:,} of {users:,} users"
    return [f"names.source = {config.names.source} knows by name: {known}"]


def _without_table(config: Config, made: Plan) -> list[str]:
    """The volumes that have rows, but no table in the configuration."""
    names = {of.name for number, of in made.volumes.items() if made.days[number]}
    missing = sorted(names - {table.name for table in config.volume})
    if not missing:
        return []
    return [
        f"no [[volume]] is called {', '.join(missing)}: give each that is gone one with its "
        "`retired`, so that nobody expects anything of it"
    ]


def _every_few_seconds(words: str, told: Callable[[str], None]) -> Callable[[int], None]:
    """Tells of a number that is told bit by bit."""
    total, last = 0, time.monotonic()

    def add(more: int) -> None:
        nonlocal total, last
        total += more
        if time.monotonic() - last > TOLD_EVERY_SECONDS:
            told(words.format(total))
            last = time.monotonic()

    return add
