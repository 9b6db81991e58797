"""Of a user everybody is told what is in groups of their own, and each all of themselves."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta

import pytest
from servers import nights
from servers.nights import DAY, VOLUME
from sqlalchemy.engine import Connection

from db import upkeep, usage, user_usage
from db.database import Database
from db.sight import history, people
from db.sight.paging import Part
from db.sight.people import Had, Person, Recorded, UserHas
from db.upkeep import Retirement
from lurge_types.names import User
from lurge_types.reports import UserUse
from lurge_types.scans import Volume
from lurge_types.sight import Sight

ALL = Sight(everything=True)
MINE = Sight(gids=frozenset({2, 3}), uid=5)
NOBODY = Sight()
OTHER = Volume("scratch2", b"/lustre/scratch2")
YESTERDAY = DAY - timedelta(days=1)
EVER = date(1970, 1, 1)
USERS = {uid: nights.user(uid) for uid in range(1, 10)}
GROUPS = {gid: nights.group(gid) for gid in range(1, 10)}


def store(
    database: Database,
    uses: Sequence[UserUse],
    day: date = DAY,
    volume: Volume = VOLUME,
    users: Mapping[int, User] = USERS,
) -> None:
    run = nights.run(day, volume, report="users")
    user_usage.store(
        database, run, volume, uses, users, GROUPS, withdraw=lambda: None, replace=False
    )


def use(uid: int, gid: int, used: int = 10) -> UserUse:
    return UserUse(uid, gid, used, used * 2, DAY)


def row(uid: int, gid: int, used: int = 10, volume: Volume = VOLUME) -> UserHas:
    return UserHas(volume.name, gid, f"team{gid}", uid, f"user{uid}", used, used * 2, DAY, DAY)


def person(database: Database, uid: int, sight: Sight = ALL) -> Person | None:
    return database.read(lambda connection: people.person(connection, sight, uid))


def find(database: Database, name: str, sight: Sight = ALL) -> int | None:
    of = database.read(lambda connection: people.find(connection, sight, name))
    return None if of is None else of.uid


def has(database: Database, uid: int, sight: Sight = ALL, today: date = DAY) -> list[UserHas]:
    """By volume and group, and it must be as many as are said to be there."""

    def look(connection: Connection) -> list[UserHas]:
        of = people.person(connection, ALL, uid)
        assert of
        found = people.of_person(connection, sight, of, today, Part("volume"))
        rows = list(found.rows)
        assert found.total == len(rows)
        sums = people.sums(connection, sight, of, today)
        assert {volume: had.used_bytes for volume, had in sums.items()} == {
            name: sum(each.used_bytes for each in rows if each.volume == name)
            for name in {each.volume for each in rows}
        }
        return rows

    return database.read(look)


def had(
    database: Database, uid: int, sight: Sight = ALL, first: date = EVER
) -> Mapping[str, Recorded]:
    def look(connection: Connection) -> Mapping[str, Recorded]:
        of = people.person(connection, ALL, uid)
        assert of
        return people.history(connection, sight, of, first)

    return database.read(look)


def test_a_groups_users_are_those_of_the_newest_date_of_the_volume(database: Database) -> None:
    usage.store(database, nights.run(), VOLUME, nights.rows(3), replace=False)
    store(database, [use(uid, 1, 7) for uid in range(1, 9)], YESTERDAY)
    store(database, [use(1, 1, 5), use(2, 1, 6), use(3, 2), use(4, 1, 5)])
    store(database, [use(9, 1)], volume=OTHER)

    def look(connection: Connection, part: Part) -> tuple[list[UserHas], int]:
        group = history.now(connection, ALL, VOLUME.name, 1)
        assert group
        found = people.of_group(connection, group, part)
        return list(found.rows), found.total

    def read(part: Part) -> tuple[list[UserHas], int]:
        return database.read(lambda connection: look(connection, part))

    rows = [row(2, 1, 6), row(1, 1, 5), row(4, 1, 5)]
    assert read(Part("used_bytes", descending=True)) == (rows, 3)
    assert read(Part("used_bytes", descending=True, first=1, count=1)) == (rows[1:2], 3)
    assert read(Part("user")) == ([rows[1], rows[0], rows[2]], 3)


def test_a_person_has_what_is_of_the_newest_date_of_each_volume(database: Database) -> None:
    store(database, [use(1, gid, 3) for gid in (1, 2, 3)], YESTERDAY)
    store(database, [use(1, 1, 5), use(1, 2, 6), use(2, 1)])
    store(database, [use(1, 1, 8)], DAY, OTHER)
    assert has(database, 1) == [row(1, 1, 5), row(1, 2, 6), row(1, 1, 8, OTHER)]


def test_who_has_gone_from_a_volume_has_nothing_there(database: Database) -> None:
    store(database, [use(1, 1)], YESTERDAY)
    store(database, [use(2, 1)])
    assert has(database, 1) == []


@pytest.mark.parametrize(
    ("uid", "sight", "seen"),
    [
        (1, ALL, [1, 2, 3]),
        (1, MINE, [2, 3]),
        (1, Sight(gids=frozenset({9}), uid=5), []),
        (1, Sight(uid=1), [1, 2, 3]),
        (1, NOBODY, []),
        (5, MINE, [1, 2]),
        (5, Sight(gids=frozenset({2, 3}), uid=6), [2]),
    ],
)
def test_others_see_what_is_in_their_groups(
    database: Database, uid: int, sight: Sight, seen: list[int]
) -> None:
    store(database, [use(1, 1), use(1, 2), use(1, 3), use(5, 1), use(5, 2), use(6, 6)])
    assert has(database, uid, sight) == [row(uid, gid) for gid in seen]
    expected = {VOLUME.name: Recorded(None, [Had(DAY, 10 * len(seen), 20 * len(seen))])}
    assert had(database, uid, sight) == (expected if seen else {})
    assert (person(database, uid, sight) is not None) == bool(seen)
    assert find(database, f"user{uid}", sight) == (uid if seen else None)


def test_who_has_nothing_now_is_told_to_themselves_and_administrators(database: Database) -> None:
    store(database, [use(1, 2)], YESTERDAY)
    store(database, [use(2, 2)])
    for sight, seen in ((ALL, True), (Sight(uid=1), True), (MINE, False), (NOBODY, False)):
        assert (person(database, 1, sight) is not None) == seen
        assert (find(database, "user1", sight) == 1) == seen


def test_a_name_is_found_as_it_is_written(database: Database) -> None:
    names = {1: "adam", 2: "Adam", 3: "ada", 4: "ad%", 5: "Ädam", 6: "adam "}
    users = {uid: User(uid, name) for uid, name in names.items()}
    store(database, [use(uid, 1) for uid in users], users=users)
    for uid, name in names.items():
        assert find(database, name) == uid
    for name in ("ADAM", "a%", "ad_m", "", "adam  ", "Adam\0", "'", "\\"):
        assert find(database, name) is None


def test_of_two_of_one_name_the_one_is_found_who_may_be_seen(database: Database) -> None:
    users = {uid: User(uid, "twin") for uid in (1, 2)}
    store(database, [use(1, 1), use(2, 2)], users=users)
    assert find(database, "twin") == 1
    assert find(database, "twin", MINE) == 2


def test_a_history_has_every_recorded_date_of_volumes_that_had_something(
    database: Database,
) -> None:
    before = YESTERDAY - timedelta(days=1)
    store(database, [use(1, 1, 5), use(1, 2, 6), use(2, 1)], before)
    store(database, [use(2, 1)], YESTERDAY)
    store(database, [use(1, 2, 4)])
    store(database, [use(1, 1, 8)], YESTERDAY, OTHER)
    store(database, [use(2, 1)], volume=Volume("scratch3", b"/lustre/scratch3"))
    of_first = [Had(before, 11, 22), Had(YESTERDAY, 0, 0), Had(DAY, 4, 8)]
    of_other = Recorded(None, [Had(YESTERDAY, 8, 16)])
    assert had(database, 1) == {"scratch1": Recorded(None, of_first), "scratch2": of_other}
    assert had(database, 1, first=DAY) == {"scratch1": Recorded(None, of_first[2:])}
    assert had(database, 1, MINE)["scratch1"].had[0] == Had(before, 6, 12)


def test_a_retired_volume_has_a_history_only(database: Database) -> None:
    store(database, [use(1, 1)])
    store(database, [use(1, 1)], volume=OTHER)
    gone = {"scratch2": Retirement(DAY, "scratch1")}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert has(database, 1) == [row(1, 1)]
    assert len(has(database, 1, today=YESTERDAY)) == 2
    assert had(database, 1)["scratch2"] == Recorded(DAY, [Had(DAY, 10, 20)])
