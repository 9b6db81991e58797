"""What is stored of volumes that retire, and of groups and users who go: no more than is told."""

from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from functools import partial

import pytest
import sqlalchemy as sql
from servers import nights
from servers.nights import DAY
from sqlalchemy.engine import Connection

from db import names, upkeep, usage
from db.database import Database
from db.newest import SHOWN_DAILY
from db.schema import ALL_VOLUMES, newest_date, unix_group, volume
from db.upkeep import TABLES, Kind, Person, Retirement
from lurge_types.names import Group
from lurge_types.scans import Volume

LATER = DAY + timedelta(days=40)
NAMES = ("s1", "s2", "s3")


def add_volumes(database: Database, *of: str) -> None:
    for name in of:
        database.transaction(partial(names.volume_id, of=Volume(name)))


def retire(database: Database, **retirements: Retirement) -> None:
    database.transaction(partial(upkeep.retire, retirements=retirements))


def stored(database: Database) -> Mapping[str, Retirement]:
    """What is stored of each volume, with the names of successors."""
    successor = volume.alias()
    rows = sql.select(
        volume.c.scratch_disk, volume.c.retired, successor.c.scratch_disk.label("successor")
    ).outerjoin(successor, successor.c.volume_id == volume.c.successor_id)

    def read(connection: Connection) -> Mapping[str, Retirement]:
        return {row[0]: Retirement(row[1], row[2]) for row in connection.execute(rows)}

    return database.transaction(read)


IN_USE = Retirement(None, None)


def test_what_is_configured_is_stored_and_taken_back(database: Database) -> None:
    add_volumes(database, *NAMES)
    retire(database, s1=Retirement(DAY, "s2"), s2=Retirement(LATER, None))
    assert stored(database) == {
        "s1": Retirement(DAY, "s2"),
        "s2": Retirement(LATER, None),
        "s3": IN_USE,
    }
    retire(database, s1=Retirement(LATER, "s3"), s2=IN_USE)
    assert stored(database) == {"s1": Retirement(LATER, "s3"), "s2": IN_USE, "s3": IN_USE}
    retire(database, s1=IN_USE)
    assert stored(database) == dict.fromkeys(NAMES, IN_USE)


def test_a_volume_that_is_no_longer_configured_stays_as_it_is(database: Database) -> None:
    add_volumes(database, "s1", "s2")
    retire(database, s1=Retirement(DAY, "s2"))
    retire(database, s2=IN_USE)
    assert stored(database)["s1"] == Retirement(DAY, "s2")


def test_volumes_that_no_night_has_met_are_not_added(database: Database) -> None:
    retire(database, s1=Retirement(DAY, "s2"), s2=IN_USE)
    assert stored(database) == {}
    add_volumes(database, "s1")
    retire(database, s1=Retirement(DAY, "s2"), s2=IN_USE)
    assert stored(database) == {"s1": Retirement(DAY, None)}
    add_volumes(database, "s2")
    retire(database, s1=Retirement(DAY, "s2"), s2=IN_USE)
    assert stored(database) == {"s1": Retirement(DAY, "s2"), "s2": IN_USE}


def in_use(database: Database, day: date) -> set[str]:
    rows = sql.select(volume.c.scratch_disk).where(upkeep.in_use(day))
    return database.transaction(lambda connection: set(connection.scalars(rows)))


def test_a_volume_has_retired_from_its_day_on(database: Database) -> None:
    add_volumes(database, *NAMES)
    retire(database, s1=Retirement(DAY, None), s2=Retirement(LATER, None))
    for day, gone in ((DAY - timedelta(days=1), set()), (DAY, {"s1"}), (LATER, {"s1", "s2"})):
        assert database.transaction(partial(upkeep.retired, day=day)) == gone
        assert in_use(database, day) == set(NAMES) - gone


def test_dashboards_are_shown_less_history_when_an_old_volume_retires(database: Database) -> None:
    old = DAY - timedelta(days=1000)
    for name, day in (("s1", DAY), ("s2", old)):
        of = Volume(name)
        usage.store(database, nights.run(day, of), of, nights.rows(1, of), replace=False)
    daily = sql.select(newest_date.c.daily_after).where(
        newest_date.c.report == "reporter", newest_date.c.volume_id == ALL_VOLUMES
    )

    def shown_after() -> date | None:
        return database.transaction(lambda connection: connection.scalar(daily))

    assert shown_after() == old - timedelta(days=1)
    retire(database, s2=Retirement(DAY, "s1"))
    assert shown_after() == DAY - SHOWN_DAILY
    retire(database, s1=Retirement(DAY, None))  # and so all have
    assert shown_after() == DAY - SHOWN_DAILY
    retire(database, s1=IN_USE, s2=IN_USE)
    assert shown_after() == old - timedelta(days=1)


# Groups and users.


def add(database: Database, kind: Kind, numbers: Iterable[int]) -> None:
    def store(connection: Connection) -> None:
        if kind == "group":
            names.group_ids(connection, map(nights.group, numbers))
        else:
            names.user_ids(connection, map(nights.user, numbers))

    database.transaction(store)


def met(database: Database, kind: Kind) -> list[Person]:
    return database.transaction(partial(upkeep.met, kind=kind))


def note(database: Database, kind: Kind, numbers: Iterable[int], since: date | None) -> None:
    database.transaction(partial(upkeep.note_absent, kind=kind, numbers=numbers, since=since))


def test_a_database_that_has_met_nobody_has_nobody_to_miss(database: Database) -> None:
    for kind in TABLES:
        assert met(database, kind) == []
        note(database, kind, [], DAY)


@pytest.mark.parametrize("kind", TABLES)
def test_whoever_is_gone_is_so_from_a_day_on_until_they_are_back(
    database: Database, kind: Kind
) -> None:
    add(database, kind, [2**40, 7, 0, 8])
    called = "team" if kind == "group" else "user"

    def everybody(**absent: date) -> list[Person]:
        numbers = (0, 7, 8, 2**40)
        return [Person(each, f"{called}{each}", absent.get(f"_{each}")) for each in numbers]

    assert met(database, kind) == everybody()
    note(database, kind, [8, 0], DAY)
    note(database, kind, [7], LATER)
    assert met(database, kind) == everybody(_0=DAY, _8=DAY, _7=LATER)
    note(database, kind, [8, 7], None)
    assert met(database, kind) == everybody(_0=DAY)


@pytest.mark.parametrize("kind", TABLES)
def test_a_day_that_another_job_has_noted_stays(database: Database, kind: Kind) -> None:
    add(database, kind, [7, 8])
    note(database, kind, [7], DAY)
    note(database, kind, [7, 8], LATER)
    assert [each.absent_since for each in met(database, kind)] == [DAY, LATER]


def test_whose_number_nobody_knows_is_not_met(database: Database) -> None:
    add(database, "group", [7])
    imported = {"gid": -1, "group_name": "old", "is_humgen": False, "absent_since": DAY}
    database.transaction(lambda each: each.execute(sql.insert(unix_group), imported))
    assert met(database, "group") == [Person(7, "team7", None)]


def test_a_hundred_thousand_may_go_at_once(database: Database) -> None:
    groups = [Group(gid, f"team{gid}") for gid in range(100_000)]
    database.transaction(partial(names.group_ids, groups=groups))
    note(database, "group", (group.gid for group in groups[1:]), DAY)
    absent = [each.absent_since for each in met(database, "group")]
    assert absent == [None] + [DAY] * 99_999
