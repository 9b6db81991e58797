"""Names are added in bulk, keep their ids, and stay apart however alike they look."""

import threading
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect
from servers.nights import DAY, VOLUME

from db import names, usage
from db.database import Database
from db.schema import base_directory, user, vault_actions, volume
from lurge_types.config import DatabaseTable
from lurge_types.names import Group, User
from lurge_types.reports import BaseDirectory
from lurge_types.scans import Volume
from utils.paths import text

LONGEST = 1000

ALIKE = [
    "Doe",
    "doe",
    "DOE",
    "Doe ",
    "Doe  ",
    " Doe",
    "Do\u00e9",  # é in one
    "Doe\u0301",  # é in two
    "Dôe",
    "Straße",
    "Strasse",
    "Æsir",
    "Aesir",
    "\U0001f42d",
    "\U0001f431",
    "\uff24oe",  # full width
]

ODD = [
    "",
    " ",
    "%",
    "%s",
    "%(gid)s",
    ":name",
    "?",
    "'; DROP TABLE unix_group; --",
    '"',
    "`",
    "\\",
    "\\'",
    "\\x00\\n\\t",
    "\\xff",
    "gid:1234",
    "team (gid:8)",
    "a, b\u2028c",
    "\u202eright to left",
    "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "中文",
    "\U0010ffff",
    *(character * LONGEST for character in ("x", "'", "\\", "%", "é", "\U0001f4be", " ")),
    "".join(chr(0x1F300 + number % 700) for number in range(LONGEST)),
]


def group_ids(database: Database, groups: Iterable[Group]) -> Mapping[int, int]:
    listed = list(groups)
    return database.transaction(lambda connection: names.group_ids(connection, listed))


def user_ids(database: Database, users: Iterable[User]) -> Mapping[int, int]:
    listed = list(users)
    return database.transaction(lambda connection: names.user_ids(connection, listed))


def stored_users(database: Database) -> list[User]:
    rows = sql.select(user.c.uid, user.c.user_name).order_by(user.c.uid)
    return database.transaction(
        lambda connection: [User(row.uid, row.user_name) for row in connection.execute(rows)]
    )


def pi_ids(database: Database, of: Iterable[str]) -> Mapping[str, int]:
    listed = list(of)
    return database.transaction(lambda connection: names.pi_ids(connection, listed))


def volume_id(database: Database, of: Volume) -> int:
    return database.transaction(lambda connection: names.volume_id(connection, of))


def base_ids(
    database: Database, bases: Iterable[BaseDirectory], of: Volume = VOLUME
) -> Mapping[str, int]:
    listed = list(bases)
    return database.transaction(
        lambda connection: names.base_ids(connection, names.volume_id(connection, of), listed)
    )


def file_type_ids(database: Database, of: Iterable[str]) -> Mapping[str, int]:
    return database.transaction(lambda connection: names.file_type_ids(connection, of))


def stored_groups(database: Database) -> list[Group]:
    rows = database.transaction(lambda connection: usage.read(connection, VOLUME.name, DAY))
    return [row.group for row in rows]


def store(database: Database, groups: Iterable[Group]) -> None:
    rows = [replace(nights.row(nights.group(1)), group=group) for group in groups]
    usage.store(database, nights.run(), VOLUME, rows, replace=True)


# Groups.


def test_each_group_has_an_id_that_it_keeps(database: Database) -> None:
    first = group_ids(database, [nights.group(gid) for gid in range(1, 4)])
    assert sorted(first) == [1, 2, 3]
    assert len(set(first.values())) == 3
    both = group_ids(database, [nights.group(gid) for gid in range(3, 6)])
    assert sorted(both) == [1, 2, 3, 4, 5]
    assert first.items() <= both.items()


def test_ten_thousand_groups_are_added_at_once(database: Database) -> None:
    groups = [Group(gid, f"{gid} " + "n" * 300) for gid in range(10_000)]
    ids = group_ids(database, groups)
    assert len(set(ids.values())) == len(ids) == 10_000


def test_a_new_name_is_shown_with_the_same_id(database: Database) -> None:
    store(database, [nights.group(1, name="old", is_humgen=False), nights.group(2)])
    before = group_ids(database, [])
    store(database, [nights.group(1, name="new", is_humgen=True), nights.group(2)])
    assert stored_groups(database) == [
        nights.group(1, name="new", is_humgen=True),
        nights.group(2),
    ]
    assert group_ids(database, []) == before


def test_a_name_that_only_changes_its_case_is_changed(database: Database) -> None:
    for name in ("team", "TEAM", "team ", "Team"):
        store(database, [nights.group(1, name=name)])
        assert stored_groups(database)[0].name == name


def test_two_groups_may_have_one_name(database: Database) -> None:
    groups = [nights.group(gid, name="team") for gid in (7, 8)]
    store(database, groups)
    assert stored_groups(database) == groups


@pytest.mark.parametrize("gid", [0, 2**31, 2**32 - 1, 2**63 - 1])
def test_a_gid_may_be_as_large_as_the_scan_has_it(database: Database, gid: int) -> None:
    store(database, [nights.group(gid)])
    assert stored_groups(database) == [nights.group(gid)]


def test_names_of_any_characters_are_read_back(database: Database) -> None:
    groups = [Group(gid, name, pi=name or None) for gid, name in enumerate([*ODD, *ALIKE], start=1)]
    store(database, groups)
    assert stored_groups(database) == groups


# Users.


def test_each_user_has_an_id_that_it_keeps(database: Database) -> None:
    first = user_ids(database, map(nights.user, range(1, 4)))
    assert sorted(first) == [1, 2, 3]
    both = user_ids(database, map(nights.user, range(3, 2000)))
    assert len(set(both.values())) == len(both) == 1999
    assert first.items() <= both.items()


def test_a_user_that_nobody_knows_today_stays_as_it_was_known(database: Database) -> None:
    for name in ("old", "new"):
        user_ids(database, [nights.user(7, name=name)])
        assert stored_users(database) == [nights.user(7, name=name)]
    before = user_ids(database, [nights.user(7, name="uid:7", known=False)])
    assert stored_users(database) == [nights.user(7, name="new")]
    user_ids(database, [nights.user(8, name="uid:8", known=False)])
    user_ids(database, [nights.user(8, name="jane")])
    assert stored_users(database) == [nights.user(7, name="new"), nights.user(8, name="jane")]
    assert user_ids(database, [])[7] == before[7]


def test_names_of_users_of_any_characters_are_read_back(database: Database) -> None:
    users = [User(uid, name) for uid, name in enumerate([*ODD, *ALIKE])]
    user_ids(database, users)
    assert stored_users(database) == users


# What vaults do.


def test_a_site_may_add_what_vaults_do(database: Database) -> None:
    def actions() -> Mapping[str, int]:
        return database.transaction(names.vault_actions)

    assert actions() == {"Keep": 1, "Archive": 2}
    mine = {"action_name": "Freeze"}
    database.transaction(lambda connection: connection.execute(sql.insert(vault_actions), mine))
    assert actions() == {"Keep": 1, "Archive": 2, "Freeze": 3}


# Investigators.


def test_an_investigator_keeps_the_id(database: Database) -> None:
    first = pi_ids(database, ["Doe", "Roe"])
    assert pi_ids(database, ["Roe", "Poe"]).items() >= first.items()


def test_investigators_whose_names_are_alike_stay_apart(database: Database) -> None:
    ids = pi_ids(database, ALIKE)
    assert sorted(ids) == sorted(ALIKE)
    assert len(set(ids.values())) == len(ALIKE)
    for name in ALIKE:  # one at a time they find the same
        assert pi_ids(database, [name])[name] == ids[name]


def test_a_group_may_change_its_investigator(database: Database) -> None:
    for pi in ("Doe", "doe", None, "Doe "):
        store(database, [nights.group(1, pi=pi)])
        assert stored_groups(database)[0].pi == pi


def test_owners_are_groups_with_their_investigators(database: Database) -> None:
    groups = [nights.group(7, pi="Doe"), nights.group(8, pi=None), nights.group(7, pi="Doe")]
    owners = database.transaction(lambda connection: names.owners(connection, groups))
    ids = group_ids(database, [])
    assert owners == {7: (ids[7], pi_ids(database, [])["Doe"]), 8: (ids[8], None)}


# File types.


def test_file_types_keep_their_ids_and_stay_apart(database: Database) -> None:
    ids = file_type_ids(database, [*ALIKE, *ODD])
    assert len(set(ids.values())) == len({*ALIKE, *ODD})
    assert file_type_ids(database, ["Doe", "BAM"]) == {**ids, "BAM": len(ids) + 1}


# Base directories.


def test_base_directories_whose_paths_are_alike_stay_apart(database: Database) -> None:
    bases = [BaseDirectory(f"/{name}", f"/{name}") for name in ALIKE]
    ids = base_ids(database, bases)
    assert len(set(ids.values())) == len(ALIKE)
    for base in bases:  # one at a time they find the same
        assert base_ids(database, [base]) == {base.real: ids[base.real]}


def test_base_directories_that_show_the_same_path_stay_apart(database: Database) -> None:
    bases = [BaseDirectory(f"/mdt{number}/alpha", "/projects/alpha") for number in range(3)]
    assert len(set(base_ids(database, bases).values())) == 3


def test_one_path_on_two_volumes_is_two_base_directories(database: Database) -> None:
    (here,) = base_ids(database, [nights.base()]).values()
    (there,) = base_ids(database, [nights.base()], Volume("scratch2")).values()
    assert here != there


def test_a_base_directory_keeps_its_id_when_it_is_shown_otherwise(database: Database) -> None:
    real = nights.base().real
    before = base_ids(database, [nights.base()])
    assert (
        base_ids(database, [BaseDirectory(real, "/new"), nights.base(2)]).items() > before.items()
    )
    select = sql.select(base_directory.c.directory_path).where(base_directory.c.real_path == real)
    assert database.transaction(lambda connection: connection.scalar(select)) == "/new"


def test_the_hash_of_a_base_directory_is_that_of_its_paths_bytes(database: Database) -> None:
    path = b"/odd\xff\n/caf\xc3\xa9"
    base_ids(database, [BaseDirectory(text(path), "/odd")])
    stored = sql.select(base_directory.c.path_hash)
    assert database.transaction(lambda connection: connection.scalar(stored)) == (
        sha256(path).digest()
    )


def test_thousands_of_base_directories_are_added_at_once(database: Database) -> None:
    bases = [BaseDirectory(f"/{number}" + "\\xff" * 500, "/") for number in range(2500)]
    ids = base_ids(database, bases)
    assert len(set(ids.values())) == 2500
    assert base_ids(database, bases) == ids


# Volumes.


def test_a_volume_keeps_its_id_when_it_is_mounted_elsewhere(database: Database) -> None:
    def mount() -> str | None:
        return database.transaction(
            lambda connection: connection.scalar(volume.select().with_only_columns(volume.c.mount))
        )

    number = volume_id(database, Volume("scratch1"))
    assert mount() is None
    assert volume_id(database, Volume("scratch1", b"/lustre/scratch1")) == number
    assert mount() == "/lustre/scratch1"
    assert volume_id(database, Volume("scratch1", b"/odd\xff\n")) == number
    assert mount() == r"/odd\xff\n"


def test_volumes_that_differ_in_case_stay_apart(database: Database) -> None:
    assert volume_id(database, Volume("Scratch")) != volume_id(database, Volume("scratch"))


# Several at once.


def test_two_that_add_the_same_names_agree_on_their_ids(
    table: DatabaseTable, connect: Connect
) -> None:
    start = threading.Barrier(2)
    found: list[tuple[int, object, object]] = []

    def add() -> None:
        database = connect(table)
        for round_ in range(5):
            groups = [nights.group(gid) for gid in range(round_ * 200, round_ * 200 + 200)]
            start.wait(20)
            group_ids(database, groups)
            pis = pi_ids(database, {group.pi for group in groups if group.pi})
            bases = base_ids(database, [nights.base(round_ * 10 + n) for n in range(10)])
            number = volume_id(database, Volume(f"scratch{round_}"))
            found.append((number, tuple(pis.items()), tuple(bases.items())))

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 10
    assert len(set(found)) == 5
    assert sorted(group_ids(connect(table), [])) == list(range(1000))
