"""What belongs to nobody known is found, told once, and not told where nobody can be asked."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from rich.console import Console
from servers import nights
from servers.nights import DAY, VOLUME
from site_of_tests import TODAY, Site, entry

from db import directories, usage, user_usage
from db.database import Database
from db.schema import unix_group, user, volume
from lurge import orphan_forms, orphans
from lurge.orphans import By, NothingRecorded, Orphan, Orphans, Question
from lurge_types.config import Config, DatabaseTable
from lurge_types.names import Group, User
from lurge_types.reports import BaseDirectory, DirectoryReport, UserUse
from lurge_types.scans import Volume
from utils.names import NamesMissing
from utils.paths import text

OTHER = Volume("scratch2", b"/lustre/scratch2")
LATER = DAY + timedelta(days=1)
ABSENT = date(2025, 11, 1)
MODIFIED = date(2026, 1, 5)

on_sqlite = pytest.mark.parametrize("place", ["sqlite"], indirect=True)


class Directory:
    """Names of some numbers; groups with an investigator, `pi<gid>`."""

    def __init__(self, users: Iterable[int], groups: Iterable[int]) -> None:
        self.known_users = set(users)
        self.known_groups = set(groups)

    def users(self, uids: Iterable[int]) -> dict[int, User]:
        known = self.known_users
        return {uid: a_user(uid) if uid in known else stranger(uid) for uid in uids}

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        known = self.known_groups
        return {gid: a_group(gid) if gid in known else a_strange_group(gid) for gid in gids}

    def uids(self, names: Iterable[str]) -> dict[str, int]:
        numbers = {a_user(uid).name: uid for uid in self.known_users}
        return {name: numbers[name] for name in names if name in numbers}

    def gids(self, names: Iterable[str]) -> dict[str, int]:
        numbers = {a_group(gid).name: gid for gid in self.known_groups}
        return {name: numbers[name] for name in names if name in numbers}


def a_user(uid: int) -> User:
    return User(uid, f"user{uid}")


def stranger(uid: int) -> User:
    return User(uid, f"uid:{uid}", known=False)


def a_group(gid: int) -> Group:
    return Group(gid, f"team{gid}", f"pi{gid}")


def a_strange_group(gid: int) -> Group:
    return Group(gid, f"gid:{gid}", known=False)


NOW = Directory(users=[1, 2], groups=[1, 2])
"""Everybody else has gone by now, or was never there."""


def store_groups(
    database: Database,
    uses: Mapping[Group, tuple[int, int]],
    day: date = DAY,
    of: Volume = VOLUME,
) -> None:
    """What groups used: bytes and inodes."""
    rows = [
        nights.row(
            group, of, used_bytes=used, inodes=inodes, last_modified_days=Decimal("10.5"), warning=1
        )
        for group, (used, inodes) in uses.items()
    ]
    usage.store(database, nights.run(day, of), of, rows, replace=False)


def store_users(
    database: Database,
    uses: Mapping[tuple[User, Group], tuple[int, int]],
    day: date = DAY,
    of: Volume = VOLUME,
) -> None:
    """What users had in groups: bytes and inodes."""
    rows = [
        UserUse(one.uid, group.gid, used, inodes, MODIFIED + timedelta(days=one.uid))
        for (one, group), (used, inodes) in uses.items()
    ]
    user_usage.store(
        database,
        nights.run(day, of, report="users"),
        of,
        rows,
        {one.uid: one for one, _ in uses},
        {group.gid: group for _, group in uses},
        withdraw=lambda: None,
        replace=False,
    )


def store_directories(
    database: Database, rows: Sequence[tuple[Group, DirectoryReport]], day: date = DAY
) -> None:
    run = nights.run(day, report="inspector")
    groups = {group.gid: group for group, _ in rows}
    uses = {
        (group.gid, row.base): nights.use(group, row.base, used_bytes=1, inodes=1)
        for group, row in rows
    }
    filling = directories.begin(
        database, run, VOLUME, len(rows), replace=False, file_types=("BAM", "CRAM", "VCF")
    )
    filling.add([row for _, row in rows], groups)
    filling.finish(lambda: [list(uses.values())], groups)


def place(
    group: Group, base: str, directory: str, size_bytes: int
) -> tuple[Group, DirectoryReport]:
    real = BaseDirectory(f"/real{base}", base)
    facts = {"directory": directory, "size_bytes": size_bytes, "files": 3}
    made = nights.directory(1, group, real, last_modified_days=Decimal("31.0"), **facts)
    return group, made


def absent(database: Database, table: sql.Table, number: int, since: date | None) -> None:
    """Note from when on somebody is absent."""
    key = list(table.columns)[1]
    statement = sql.update(table).where(key == number).values(absent_since=since)
    database.transaction(lambda connection: connection.execute(statement))


def found(
    database: Database,
    by: By = "owner",
    *,
    volumes: Sequence[str] = (),
    absent_since: date | None = None,
    known: Directory = NOW,
    config: Config | None = None,
    today: date = LATER,
) -> Orphans:
    asked = Question(by, volumes, absent_since, today)
    return orphans.run(database, config or Config(), known, asked)


def lines(answer: Orphans) -> list[str]:
    """The rows of the TSV, with a blank between cells."""
    return [line.rstrip("\n").replace("\t", " ") for line in orphan_forms.as_tsv(answer)][1:]


def store_all(database: Database) -> None:
    """
    Users 1 and 2 and groups 1 and 2 are known; user 3 and group 3 were, once; user 4 and group 4
    never were.
    """
    users = {uid: a_user(uid) for uid in (1, 2, 3)} | {4: stranger(4)}
    groups = {gid: a_group(gid) for gid in (1, 2, 3)} | {4: a_strange_group(4)}
    store_groups(
        database,
        {groups[1]: (1000, 10), groups[2]: (800, 8), groups[3]: (600, 6), groups[4]: (50, 5)},
    )
    store_users(
        database,
        {
            (users[1], groups[1]): (500, 5),
            (users[3], groups[1]): (300, 3),
            (users[4], groups[1]): (200, 2),
            (users[2], groups[2]): (100, 1),
            (users[3], groups[2]): (700, 7),
            (users[3], groups[3]): (20, 1),
            (users[1], groups[3]): (580, 5),
            (users[1], groups[4]): (50, 5),
        },
    )
    absent(database, user, 3, ABSENT)
    absent(database, unix_group, 3, ABSENT + timedelta(days=1))


def test_what_users_and_groups_have_is_listed_largest_first(database: Database) -> None:
    store_all(database)
    assert lines(found(database)) == [
        "scratch1 user user3 3 no 2025-11-01 team2 2 pi2 700 7 2026-01-08",
        "scratch1 group team3 3 no 2025-11-02 team3 3 pi3 600 6 2026-02-18",
        "scratch1 user user3 3 no 2025-11-01 team1 1 pi1 300 3 2026-01-08",
        "scratch1 user uid:4 4 yes - team1 1 pi1 200 2 2026-01-09",
        "scratch1 group gid:4 4 yes - gid:4 4 - 50 5 2026-02-18",
        "scratch1 user user3 3 no 2025-11-01 team3 3 pi3 20 1 2026-01-08",
    ]


def test_in_the_sum_everything_counts_once(database: Database) -> None:
    store_all(database)
    answer = found(database)
    assert (answer.users, answer.groups) == (2, 2)
    # Without the 20 bytes that user 3 has in group 3.
    assert (answer.total_bytes, answer.total_inodes) == (700 + 600 + 300 + 200 + 50, 23)
    assert answer.remarks == []


def test_users_are_summed_over_groups(database: Database) -> None:
    store_all(database)
    answer = found(database, "user")
    assert lines(answer) == [
        "scratch1 user user3 3 no 2025-11-01 1020 11 2026-01-08",
        "scratch1 user uid:4 4 yes - 200 2 2026-01-09",
    ]
    assert (answer.users, answer.groups, answer.total_bytes) == (2, 0, 1220)


def test_what_lies_in_a_groups_space_is_summed_and_an_unknown_group_is_whole(
    database: Database,
) -> None:
    store_all(database)
    answer = found(database, "group")
    assert lines(answer) == [
        "scratch1 team2 2 pi2 yes 1 700 7 2026-01-08",
        "scratch1 team3 3 pi3 no 1 600 6 2026-02-18",
        "scratch1 team1 1 pi1 yes 2 500 5 2026-01-09",
        "scratch1 gid:4 4 - no 0 50 5 2026-02-18",
    ]
    assert answer.total_bytes == sum(row.used_bytes for row in answer.rows)


def test_a_pi_is_told_of_all_their_groups_on_a_volume(database: Database) -> None:
    one, two = (replace(a_group(gid), pi="Doe") for gid in (3, 4))
    store_groups(database, {one: (10, 1), two: (20, 2)})
    store_users(
        database,
        {
            (stranger(3), one): (5, 1),
            (stranger(4), a_group(1)): (7, 1),
            (a_user(1), a_group(1)): (1, 1),
        },
    )
    store_groups(database, {one: (1, 1)}, of=OTHER)
    assert lines(found(database, "pi")) == [
        "scratch1 Doe 2 1 30 3 2026-02-18",
        "scratch1 pi1 1 1 7 1 2026-01-09",
        "scratch2 Doe 1 0 1 1 2026-02-18",
    ]


def test_the_pi_of_an_absent_group_is_the_last_one_recorded(database: Database) -> None:
    gone = replace(a_group(3), pi=None)
    store_groups(database, {replace(gone, pi="Roe"): (10, 1)}, DAY - timedelta(days=9))
    store_groups(database, {replace(gone, pi="Doe"): (10, 1)}, DAY - timedelta(days=8))
    store_groups(database, {gone: (10, 1), a_group(1): (1, 1)})
    store_groups(database, {replace(gone, pi="Poe"): (10, 1)}, of=OTHER)
    assert {row.volume: row.pi for row in found(database).rows} == {
        "scratch1": "Doe",
        "scratch2": "Poe",
    }


def test_only_those_absent_since_a_day_or_longer(database: Database) -> None:
    store_all(database)

    def owners(day: date) -> set[tuple[str, int]]:
        rows = found(database, absent_since=day).rows
        return {(row.owner.kind, row.owner.number) for row in rows if row.owner}

    assert owners(ABSENT - timedelta(days=1)) == set()
    assert owners(ABSENT) == {("user", 3)}
    assert owners(ABSENT + timedelta(days=1)) == {("user", 3), ("group", 3)}
    everybody = {("user", 3), ("user", 4), ("group", 3), ("group", 4)}
    assert {
        (row.owner.kind, row.owner.number) for row in found(database).rows if row.owner
    } == everybody


def test_asking_again_gives_the_same_answer(database: Database) -> None:
    store_all(database)
    assert found(database) == found(database)


def test_whoever_is_known_again_is_no_orphan(database: Database) -> None:
    store_all(database)
    answer = found(database, absent_since=LATER, known=Directory([1, 2, 3], [1, 2]))
    assert [(row.owner and row.owner.name) for row in answer.rows] == ["team3"]


def test_somebody_whose_absence_no_night_has_noted_is_told_from_who_never_was() -> None:
    noted, gone, never = (
        Orphan("user", 5, "ann", ABSENT),
        Orphan("user", 5, "ann", None),
        Orphan("user", 5, "uid:5", None),
    )
    assert [each.never_known for each in (noted, gone, never)] == [False, False, True]
    assert [each.since for each in (noted, gone, never)] == ["2025-11-01", "-", "never known"]
    assert not Orphan("user", 5, "gid:5", None).never_known
    assert Orphan("group", 5, "gid:5", ABSENT).never_known


def test_of_imported_names_without_a_number_only_the_absent_are_orphans(
    database: Database,
) -> None:
    there, gone = a_user(-1), a_user(-2)
    team, team_gone = Group(-1, "imported", "Doe"), Group(-2, "imported2", "Roe")
    store_groups(database, {team: (5, 1), team_gone: (9, 1)})
    store_users(database, {(there, team): (1, 1), (gone, team): (2, 1), (there, team_gone): (4, 1)})
    assert lines(found(database)) == []
    absent(database, user, -2, ABSENT)
    absent(database, unix_group, -2, ABSENT)
    assert lines(found(database)) == [
        "scratch1 group imported2 -2 no 2025-11-01 imported2 -2 Roe 9 1 2026-02-18",
        "scratch1 user user-2 -2 no 2025-11-01 imported -1 Doe 2 1 2026-01-03",
    ]
    assert [row.group.known for row in found(database, "group").rows if row.group] == [False, True]


def test_pseudo_groups_are_known(database: Database) -> None:
    pseudo = {"/lustre/scratch1/shared": {"name": "shared", "pi": "Doe", "gid": 4}}
    config = Config.model_validate({"pseudo_groups": pseudo})
    store_all(database)
    owners = {row.owner.name for row in found(database, config=config).rows if row.owner}
    assert owners == {"user3", "uid:4", "team3"}
    store_groups(database, {a_strange_group(9): (1, 1), a_strange_group(4): (1, 1)}, of=OTHER)
    with pytest.raises(NamesMissing, match=r"2 of 2 users .*; .* 2 of 2 groups "):
        found(database, config=config, known=Directory([], []))


def test_where_nobody_at_all_is_known_nobody_is_called_unknown(database: Database) -> None:
    store_all(database)
    nobody = Directory([], [])
    # User 3 and group 3 are noted as absent, 4 never were known.
    with pytest.raises(NamesMissing, match=r"2 of 2 users .*; names.* 2 of 2 groups .* a part$"):
        found(database, known=nobody)
    with pytest.raises(NamesMissing, match=r"2 of 2 users .*all users are left out; see"):
        found(database, "user", known=Directory([], [1]))
    answer = found(database, known=Directory([], [1, 2]))
    assert {row.owner.kind for row in answer.rows if row.owner} == {"group"}
    assert [remark.partition(":")[0] for remark in answer.remarks] == [
        "names.source = system does not know 2 of 2 users that tell whether it is whole"
    ]
    assert len(found(database, "user", known=Directory([1], [])).rows) == 3


def test_a_directory_that_is_down_or_halved_calls_nobody_unknown(database: Database) -> None:
    numbers = [0, *range(1000, 1020)]
    store_users(database, {(a_user(uid), a_group(0)): (1, 1) for uid in numbers})
    store_groups(database, {a_group(gid): (1, 1) for gid in numbers})
    for left in ([0, 1000], [0, *range(1000, 1009)]):
        missing = len(numbers) - len(left)
        match = rf"know {missing} of 20 users .* {missing} of 20 groups"
        for by in ("owner", "group", "pi"):
            with pytest.raises(NamesMissing, match=match):
                found(database, by, known=Directory(left, left))
        answer = found(database, known=Directory(left, numbers))
        assert (list(answer.rows), len(answer.remarks)) == ([], 1)
    half = [0, *range(1000, 1010)]
    answer = found(database, known=Directory(half, half))
    assert (answer.users, answer.groups, answer.remarks) == (10, 10, [])


def test_who_is_noted_as_absent_does_not_count_for_a_directory(database: Database) -> None:
    store_groups(database, {a_group(gid): (1, 1) for gid in range(1000, 1060)})
    for gid in range(1000, 1036):
        absent(database, unix_group, gid, ABSENT)
    everybody_else = range(1036, 1060)
    assert found(database, known=Directory([], everybody_else)).groups == 36
    with pytest.raises(NamesMissing, match="13 of 24 groups"):
        found(database, known=Directory([], everybody_else[13:]))


def test_one_doubt_is_enough_where_only_one_kind_is_recorded(database: Database) -> None:
    store_groups(database, {a_group(1): (1, 1), a_group(2): (1, 1)})
    pseudo = {"/lustre/scratch1/shared": {"name": "shared", "pi": "Doe", "gid": 4}}
    for config in (Config(), Config.model_validate({"pseudo_groups": pseudo})):
        with pytest.raises(NamesMissing, match=r"2 of 2 groups"):
            found(database, config=config, known=Directory([1], []))


def test_where_nobody_ever_was_known_nobody_is_called_unknown(database: Database) -> None:
    store_groups(database, {a_strange_group(5): (1, 1), a_strange_group(6): (1, 1)})
    with pytest.raises(NamesMissing, match="2 of 2 groups"):
        found(database, known=Directory([], []))
    assert found(database, known=Directory([], [5])).groups == 1


def test_only_the_newest_record_of_each_volume_counts(database: Database) -> None:
    store_all(database)
    gone = a_strange_group(7)
    store_groups(database, {gone: (9999, 1)}, DAY - timedelta(days=1))
    store_groups(database, {gone: (77, 7), a_group(1): (1, 1)}, DAY - timedelta(days=3), OTHER)
    rows = [(row.volume, row.used_bytes) for row in found(database).rows if row.owner]
    assert ("scratch2", 77) in rows
    assert max(used for _, used in rows) == 700
    assert [row.used_bytes for row in found(database, volumes=["scratch2"]).rows] == [77]


def test_retired_volumes_are_left_out_unless_they_are_named(database: Database) -> None:
    store_all(database)
    retired = sql.update(volume).values(retired=LATER)
    database.transaction(lambda connection: connection.execute(retired))
    assert len(found(database, today=DAY).rows) == 6
    with pytest.raises(NothingRecorded, match="nothing is recorded"):
        found(database, today=LATER)
    assert len(found(database, volumes=["scratch1"], today=LATER).rows) == 6


def test_a_volume_without_a_record_is_told(database: Database) -> None:
    with pytest.raises(NothingRecorded, match="run users and reporter"):
        found(database)
    store_groups(database, {a_group(1): (1, 1), a_strange_group(5): (5, 1)})
    answer = found(database)
    assert [row.used_bytes for row in answer.rows] == [5]
    assert answer.remarks == ["scratch1: no record of users: what users have there is left out"]
    with pytest.raises(NothingRecorded, match="run inspector"):
        found(database, "directory")
    with pytest.raises(NothingRecorded, match="scratch9: no record; there is one of scratch1"):
        found(database, volumes=["scratch1", "scratch9"])


def test_nobody_unknown_is_an_answer(database: Database) -> None:
    store_all(database)
    answer = found(database, known=Directory(range(9), range(9)))
    assert (lines(answer), list(orphan_forms.as_json(answer))) == ([], [])
    assert (answer.users, answer.groups, answer.total_bytes) == (0, 0, 0)
    assert "Unknown users: 0, unknown groups: 0; in all 0 B in 0 inodes" in seen(answer, None)


def test_directories_are_those_of_groups_and_those_called_like_users(database: Database) -> None:
    store_all(database)
    base = "/lustre/scratch1/projects/alpha"
    rows = [
        place(a_group(1), base, "users/user3", 70),
        place(a_group(1), base, "users/user2", 900),
        place(a_group(1), base, "users/user33", 900),
        place(a_group(1), base, "deeds/user3", 900),
        place(a_group(1), base, "users/uid:4", 900),
        place(a_group(2), "/lustre/scratch1/users/user3", "data", 60),
        place(a_group(2), "/lustre/scratch1/users/user3/more", "data", 900),
        place(a_group(3), base, "users/user3", 50),
        place(a_group(3), base, ".", 40),
        place(a_strange_group(4), "/lustre/scratch1/teams/b", "*other*", 30),
        place(a_strange_group(4), "-", "-", 20),
    ]
    store_directories(database, [place(a_group(3), base, "old", 9999)], DAY - timedelta(days=1))
    store_directories(database, rows)
    answer = found(database, "directory")
    on = "2026-01-29"
    assert lines(answer) == [
        f"scratch1 user user3 3 no 2025-11-01 team1 1 pi1 {base} users/user3 70 3 {on}",
        "scratch1 user user3 3 no 2025-11-01 team2 2 pi2 /lustre/scratch1/users/user3 data 60 3 "
        + on,
        f"scratch1 group team3 3 no 2025-11-02 team3 3 pi3 {base} users/user3 50 3 {on}",
        f"scratch1 group team3 3 no 2025-11-02 team3 3 pi3 {base} . 40 3 {on}",
        f"scratch1 group gid:4 4 yes - gid:4 4 - /lustre/scratch1/teams/b *other* 30 3 {on}",
        f"scratch1 group gid:4 4 yes - gid:4 4 - - - 20 3 {on}",
    ]
    assert (answer.total_bytes, answer.total_inodes) == (270, 18)
    shown = seen(answer, None)
    assert f"{base}/users/user3" in shown
    assert "in 18 files" in shown


def test_names_are_no_patterns(database: Database) -> None:
    config = Config.model_validate({"inspector": {"deeper": ["user%", "ho_es"]}})
    odd = User(3, text(b"50%_\n\xff"))
    store_users(database, {(odd, a_group(1)): (1, 1), (a_user(1), a_group(1)): (1, 1)})
    store_groups(database, {a_group(1): (1, 1)})
    base = "/lustre/scratch1/projects/alpha"
    rows = [
        place(a_group(1), base, f"user%/{odd.name}", 70),
        place(a_group(1), base, f"users/{odd.name}", 900),
        place(a_group(1), base, f"ho_es/{odd.name}", 60),
        place(a_group(1), base, f"homes/{odd.name}", 900),
        place(a_group(1), base, "user%/50xx", 900),
        place(a_group(1), base, f"user%/{odd.name} ", 900),
    ]
    store_directories(database, rows)
    answer = found(database, "directory", config=config)
    assert [row.directory for row in answer.rows] == [f"user%/{odd.name}", f"ho_es/{odd.name}"]
    assert all("\n" not in line for line in lines(answer))
    first = json.loads(next(orphan_forms.as_json(answer)))
    assert (first["owner"], first["absent_since"]) == (odd.name, None)


def test_more_orphans_than_a_statement_asks_for(database: Database) -> None:
    count = 5001
    everybody = {(stranger(uid), a_group(1)): (uid, 1) for uid in range(10, 10 + count)}
    store_users(database, {**everybody, (a_user(1), a_group(1)): (1, 1)})
    store_groups(
        database,
        {a_strange_group(gid): (gid, 1) for gid in range(10, 10 + count)} | {a_group(1): (1, 1)},
    )
    answer = found(database)
    assert (answer.users, answer.groups, answer.total_inodes) == (count, count, 2 * count)
    assert answer.total_bytes == 2 * sum(range(10, 10 + count))


def test_figures_larger_than_a_double_holds_are_exact(database: Database) -> None:
    huge = 2**62 + 1
    store_users(
        database,
        {
            (stranger(3), a_group(1)): (huge, 1),
            (stranger(3), a_group(2)): (huge, 1),
            (a_user(1), a_group(1)): (1, 1),
        },
    )
    assert [row.used_bytes for row in found(database, "user").rows] == [2 * huge]


def seen(answer: Orphans, most: int | None) -> str:
    """What people see."""
    written = StringIO()
    Console(file=written, width=200).print(orphan_forms.as_table(answer, most))
    return written.getvalue()


def test_a_table_has_the_largest_rows_and_the_sum_of_all(database: Database) -> None:
    store_all(database)
    title, header, *rows, total = (
        " ".join(line.split()) for line in seen(found(database), 4).splitlines()
    )
    assert title == "What belongs to nobody known"
    assert header == "owner kind absent since volume group PI used inodes modified"
    assert [row.split()[0] for row in rows] == ["user3", "team3", "user3", "uid:4"]
    assert rows[0] == "user3 user 2025-11-01 scratch1 team2 pi2 700 B 7 2026-01-08"
    assert rows[3] == "uid:4 user never known scratch1 team1 pi1 200 B 2 2026-01-09"
    assert total == "Unknown users: 2, unknown groups: 2; in all 1.8 KiB in 23 inodes"


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    return Site(tmp_path, database=table.url, password_file=table.password_file)


def by_owner(site: Site, *arguments: str) -> list[dict[str, Any]]:
    done = site.run("orphans", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@on_sqlite
def test_the_command_tells_what_nights_have_recorded(site: Site) -> None:
    group_file, user_file = site.folder / "group", site.folder / "passwd"
    site.config = (
        f'[names]\nsource = "files"\ngroup_file = "{group_file}"\nuser_file = "{user_file}"\n'
    )
    group_file.write_text("team:x:2:\nold:x:3:\n")
    user_file.write_text("ann:x:1:2:\nbob:x:5:2:\n")
    site.add_scan(
        [
            entry("/lustre/s1/a", uid=1, gid=2, size=10, inode=1),
            entry("/lustre/s1/b", uid=5, gid=2, size=20, inode=2),
            entry("/lustre/s1/c", uid=1, gid=3, size=30, inode=3),
            entry("/lustre/s1/d", uid=6, gid=2, size=40, inode=4),
        ]
    )
    site.outcomes("reporter", "users")
    group_file.write_text("team:x:2:\n")
    user_file.write_text("ann:x:1:2:\n")
    rows = by_owner(site)
    assert [(row["owner"], row["used_bytes"], row["never_known"]) for row in rows] == [
        ("uid:6", 40, True),
        ("old", 30, False),
        ("bob", 20, False),
    ]
    assert by_owner(site, "--absent-since", str(TODAY)) == []
    done = site.run("orphans", "--by", "group", "--volume", "s1")
    assert (done.returncode, done.stderr) == (0, "")
    header, *others = (line.split("\t") for line in done.stdout.splitlines())
    assert tuple(header) == orphan_forms.COLUMNS["group"]
    assert [row[1:7] for row in others] == [
        ["team", "2", "-", "yes", "2", "60"],
        ["old", "3", "-", "no", "0", "30"],
    ]
    user_file.write_text("")
    group_file.write_text("")
    done = site.run("orphans")
    assert (done.returncode, done.stdout) == (3, "")
    assert "all users are left out" in done.stderr


@on_sqlite
def test_the_command_refuses_what_it_cannot_tell(site: Site) -> None:
    done = site.run("orphans")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing is recorded: run users and reporter" in done.stderr
    assert site.run("orphans", "--volume", "s9").returncode == 1
    assert site.run("orphans", "--by", "file").returncode == 2
    assert site.run("orphans", "--absent-since", "yesterday").returncode == 2


def test_without_a_database_none_is_made(tmp_path: Path) -> None:
    done = Site(tmp_path).run("orphans")
    assert done.returncode == 1
    assert "nothing is recorded" in done.stderr
    assert not (tmp_path / "lurge.db").exists()
