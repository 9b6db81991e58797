"""What users have is stored whole or not at all, and read for all volumes of a date."""

import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Wired, on_mariadb
from servers.nights import DAY, VOLUME

from db import runs, user_usage
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded
from lurge_types.config import DatabaseTable
from lurge_types.names import Group, User
from lurge_types.reports import NamedUse, Run, UserUse
from lurge_types.scans import Volume

TOMORROW = DAY + timedelta(days=1)
OTHER = Volume("scratch2", b"/lustre/scratch2")
LARGEST = 2**63 - 1
USERS = {uid: nights.user(uid) for uid in range(1, 51)}
GROUPS = {gid: nights.group(gid, pi=None) for gid in range(1, 51)}


def use(uid: int, gid: int, **facts: Any) -> UserUse:
    made = UserUse(uid, gid, uid % 1000, gid * 10, DAY - timedelta(days=uid % 100))
    return made._replace(**facts)


def uses(count: int, **facts: Any) -> list[UserUse]:
    """What so many pairs of a user and a group have."""
    return [use(number % 50 + 1, number // 50 + 1, **facts) for number in range(count)]


def store(
    database: Database,
    rows: Sequence[UserUse],
    day: date = DAY,
    volume: Volume = VOLUME,
    *,
    replace: bool = False,
    withdraw: Callable[[], None] = lambda: None,
    users: Mapping[int, User] = USERS,
    groups: Mapping[int, Group] = GROUPS,
) -> None:
    run = nights.run(day, volume, report="users")
    user_usage.store(database, run, volume, rows, users, groups, withdraw=withdraw, replace=replace)


def read(database: Database, day: date = DAY) -> list[NamedUse]:
    return database.transaction(lambda connection: user_usage.read(connection, day))


def stored(database: Database, day: date = DAY, volume: Volume = VOLUME) -> list[UserUse]:
    """The rows of a volume as they were stored by `uses`."""
    found = [each.row for each in read(database, day) if each.volume == volume.name]
    return sorted(found, key=lambda row: (row.gid, row.uid))


def volumes(database: Database, day: date = DAY) -> list[str]:
    return database.transaction(lambda connection: user_usage.volumes(connection, day))


def recorded(database: Database) -> Run | None:
    return database.transaction(lambda connection: runs.find(connection, "users", VOLUME.name, DAY))


def test_what_was_stored_is_read_back_with_names(database: Database) -> None:
    rows = uses(300)
    store(database, rows)
    assert stored(database) == rows
    assert recorded(database) == nights.run(report="users")
    for row in read(database):
        assert row == NamedUse(VOLUME.name, USERS[row.row.uid], GROUPS[row.row.gid], row.row)


@pytest.mark.parametrize(
    "facts",
    [
        {"used_bytes": LARGEST, "inodes": LARGEST},
        {"used_bytes": 0, "inodes": 0, "last_modified": None},
        {"last_modified": date(1970, 1, 1)},
        {"last_modified": date(9999, 12, 31)},
    ],
)
def test_the_ends_of_what_may_be_are_read_back(database: Database, facts: dict[str, Any]) -> None:
    store(database, [use(1, 1, **facts)])
    assert stored(database) == [use(1, 1, **facts)]


@pytest.mark.parametrize("uid", [0, 2**31, 2**32 - 1, 2**63 - 1])
def test_a_uid_may_be_as_large_as_the_scan_has_it(database: Database, uid: int) -> None:
    store(database, [use(uid, 1)], users={uid: nights.user(uid)})
    assert [row.user for row in read(database)] == [nights.user(uid)]


def test_rows_of_all_volumes_come_by_the_bytes_of_their_names(database: Database) -> None:
    names = ["Zoe", "adam", "adam (uid:9)", "Ädam", "\uff24", "\U0001f42d", "a", "A"]
    users = {uid: User(uid, name) for uid, name in enumerate(names, start=1)}
    users[20] = User(20, "adam")
    groups = {gid: Group(gid, name) for gid, name in enumerate(reversed(names), start=1)}
    for of in (OTHER, VOLUME):
        rows = [use(uid, gid) for gid in groups for uid in users]
        store(database, rows, volume=of, users=users, groups=groups)
    keys = [
        (row.user.name.encode(), row.user.uid, row.group.name.encode(), row.group.gid, row.volume)
        for row in read(database)
    ]
    assert keys == sorted(keys)
    assert len(keys) == len(set(keys)) == 2 * len(users) * len(groups)


def test_a_hundred_thousand_rows_are_stored_and_read(database: Database) -> None:
    users = {uid: nights.user(uid) for uid in range(2000)}
    rows = [use(uid, gid) for gid in GROUPS for uid in users]
    store(database, rows, users=users)
    assert len(read(database)) == len(rows) == 100_000


def test_only_the_names_of_the_rows_are_added(database: Database) -> None:
    store(database, uses(3))
    ids = sql.text("SELECT uid FROM user ORDER BY uid")
    assert database.transaction(lambda connection: list(connection.scalars(ids))) == [1, 2, 3]


# Whole or not at all, once.


def test_days_and_volumes_stay_apart(database: Database) -> None:
    places = [(day, volume) for day in (DAY, TOMORROW) for volume in (VOLUME, OTHER)]
    for number, (day, volume) in enumerate(places):
        store(database, uses(70, used_bytes=number), day, volume)
    for number, (day, volume) in enumerate(places):
        assert stored(database, day, volume) == uses(70, used_bytes=number)


def test_the_volumes_of_a_date_are_told(database: Database) -> None:
    assert volumes(database) == []
    store(database, uses(70))
    store(database, [], volume=OTHER)
    store(database, uses(70), TOMORROW, Volume("scratch3"))
    assert volumes(database) == [VOLUME.name, OTHER.name]


def test_only_what_is_replaced_is_withdrawn(database: Database) -> None:
    seen: list[str] = []
    store(database, uses(3), withdraw=lambda: seen.append("new"))
    with pytest.raises(AlreadyRecorded):
        store(database, uses(3), withdraw=lambda: seen.append("recorded"))
    store(database, uses(2), replace=True, withdraw=lambda: seen.append("replaced"))
    assert seen == ["replaced"]


def test_nobody_records_rows_while_they_are_shown(
    database: Database, connect: Connect, table: DatabaseTable
) -> None:
    store(database, uses(3))
    other = connect(table)
    replacing = threading.Thread(target=store, args=(other, uses(5)), kwargs={"replace": True})
    shown: list[int] = []

    def write(volumes: Sequence[str], rows: Sequence[NamedUse]) -> None:
        replacing.start()
        replacing.join(0.5)
        shown.append(len(rows))
        assert replacing.is_alive()

    user_usage.show(database, DAY, write)
    replacing.join()
    assert shown == [3]
    assert len(read(database)) == 5


def test_another_report_of_the_date_is_no_volume_of_users(database: Database) -> None:
    store(database, uses(3))
    run = nights.run(volume=OTHER, report="reporter")
    user_usage.store(
        database, run, OTHER, uses(3), USERS, GROUPS, withdraw=lambda: None, replace=False
    )
    assert volumes(database) == [VOLUME.name]
    assert len(read(database)) == 3


def test_what_is_recorded_stays_unless_it_shall_be_replaced(database: Database) -> None:
    rows = uses(60)
    store(database, rows)
    with pytest.raises(AlreadyRecorded, match="users of scratch1 on 2026-03-01"):
        store(database, uses(70, used_bytes=1))
    assert stored(database) == rows
    store(database, uses(55, used_bytes=1), replace=True)
    assert stored(database) == uses(55, used_bytes=1)


def test_a_pair_that_comes_twice_is_refused(database: Database) -> None:
    with pytest.raises(DatabaseFailed):
        store(database, [*uses(60), *uses(1)])
    assert read(database) == []
    assert recorded(database) is None


@on_mariadb
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize(
    "moment",
    [
        [b"INSERT INTO user "],
        [b"INSERT INTO report_run"],
        [b"INSERT INTO user_usage"],
        [b"INSERT INTO user_usage", b"COMMIT"],
    ],
)
def test_an_answer_that_is_lost_is_no_loss(
    wired: Wired, database: Database, connect: Connect, moment: list[bytes], replace: bool
) -> None:
    if replace:
        store(database, uses(20, used_bytes=1))
    wired.wire.cut_behind(*moment)
    store(connect(wired.table), uses(100), replace=replace)
    assert wired.wire.happened.is_set()
    assert stored(database) == uses(100)
