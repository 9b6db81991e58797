"""Taking over the history in a database of the suite before Lurge."""

import os
import signal
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import dump
import pytest
import sqlalchemy as sql
from servers import nights
from servers.ancestors import OldDatabase, old_database
from servers.databases import Place, on_mariadb, on_sqlite
from servers.mariadb import Mariadb
from site_of_tests import TODAY, Site, entry

from db import directories, imports, usage, vaults
from db import names as stored_names
from db.ancestor import Ancestor, NoAncestor, Sum
from db.database import Database, DatabaseFailed
from db.runs import AlreadyRecorded, Origin
from lurge.importing import plan, report, vault_history
from lurge.importing.sums import Taken
from lurge.importing.sums import table as table_of_sums
from lurge_types.config import Config, DatabaseTable
from lurge_types.reports import BaseDirectory
from lurge_types.scans import Volume
from utils.names import FileNames
from utils.scans import Found

FIRST = date(2024, 1, 1)
DAYS = [FIRST + timedelta(days) for days in range(5)]
SCRATCH1 = Volume("scratch1", b"/lustre/scratch1")

both_generations = pytest.mark.parametrize("old", [1, 2], indirect=True)
generation1 = pytest.mark.parametrize("old", [1], indirect=True)
generation2 = pytest.mark.parametrize("old", [2], indirect=True)


@pytest.fixture
def old(request: pytest.FixtureRequest, mariadb: Mariadb) -> Iterator[OldDatabase]:
    with old_database(mariadb, request.param) as made:
        yield made


@pytest.fixture
def names(tmp_path: Path) -> FileNames:
    """Knows one group and one user of those that the older databases have."""
    (tmp_path / "group").write_text("team7:x:1007:\n")
    (tmp_path / "passwd").write_text("alice:x:2003:1007:\n")
    return FileNames(tmp_path / "group", tmp_path / "passwd")


@pytest.fixture
def config(tmp_path: Path) -> Config:
    (tmp_path / "wrstat").mkdir(exist_ok=True)
    return Config(wrstat_dir=tmp_path / "wrstat")


class Importing:
    """An import into a database of Lurge, which may be run again and again."""

    def __init__(self, config: Config, database: Database, names: FileNames) -> None:
        self.config = config
        self.database = database
        self.names = names

    def run(self, old: OldDatabase, told: Any = lambda _: None) -> report.Import:
        ancestor = Ancestor(old.url, old.password, told)
        try:
            return report.run(self.config, self.database, self.names, ancestor, told)
        finally:
            ancestor.close()

    def rows(self, select: str) -> list[tuple[Any, ...]]:
        def ask(connection: sql.Connection) -> list[tuple[Any, ...]]:
            return [tuple(map(plain, row)) for row in connection.execute(sql.text(select))]

        return self.database.transaction(ask)


def plain(value: object) -> object:
    """The same on every database: dates are text in SQLite where they are asked for as text."""
    return value.isoformat() if isinstance(value, date) else value


@pytest.fixture
def importing(config: Config, database: Database, names: FileNames) -> Importing:
    return Importing(config, database, names)


def of(made: report.Import, kind: str, volume: str = "scratch1") -> Taken:
    [taken] = [each for each in made.taken if (each.kind, each.volume) == (kind, volume)]
    return taken


USES = (
    "select record_date, scratch_disk, group_name, pi_name, used, quota, warning_id, archived, "
    "inodes from lustre_usage join volume using (volume_id) "
    "join unix_group on unix_id = group_id left join pi using (pi_id) "
    "order by record_date, scratch_disk, group_name"
)
VAULT = (
    "select filepath, group_name, user_name, action_name, size, first_seen, last_seen "
    "from vault join unix_group using (group_id) join user using (user_id) "
    "join vault_actions using (vault_action_id) order by filepath, first_seen"
)


@generation1
def test_what_groups_used_is_taken_over_by_volume(importing: Importing, old: OldDatabase) -> None:
    old.use(FIRST, 7, 1, 2**40, quota=2**41, pi_id=5, warning_id=3, archived=1)
    old.use(FIRST, 9, 1, 10, archived=0)
    old.use(FIRST, 7, 4, 20, archived=0, last_modified=None, warning_id=None)
    made = importing.run(old)
    day = FIRST.isoformat()
    assert importing.rows(USES) == [
        (day, "scratch1", "left", None, 10, None, 1, 0, 0),
        (day, "scratch1", "team7", "Doe", 2**40, 2**41, 3, 1, 0),
        (day, "scratch4", "team7", None, 20, None, 1, 0, 0),
    ]
    assert made.same
    assert of(made, "groups").here == Sum(2, 2**40 + 10)
    assert of(made, "groups", "scratch4").days == 1


@generation1
def test_names_keep_their_ids_and_get_numbers_where_they_are_known(
    importing: Importing, old: OldDatabase
) -> None:
    old.use(FIRST, 7, 1, 1)
    importing.run(old)
    today = datetime.now(UTC).date().isoformat()
    groups = "select group_id, gid, group_name, is_humgen, absent_since from unix_group order by 1"
    assert importing.rows(groups) == [
        (7, 1007, "team7", 1, None),
        (9, -9, "left", 1, today),
        (10, -10, "-", 0, today),
    ]
    users = "select user_id, uid, user_name, absent_since from user order by 1"
    assert importing.rows(users) == [
        (3, 2003, "alice", None),
        (8, -8, "gone", today),
        (9, -9, "-", today),
    ]
    assert importing.rows("select pi_id, pi_name from pi") == [(5, "Doe")]
    assert importing.rows("select volume_id, scratch_disk from volume order by 1") == [
        (1, "scratch1"),
        (4, "scratch4"),
    ]


@generation1
def test_a_name_whose_id_is_taken_gets_another(importing: Importing, old: OldDatabase) -> None:
    usage.store(
        importing.database,
        nights.run(),
        nights.VOLUME,  # is volume 1 and has group 1
        [nights.row(nights.group(gid)) for gid in range(1, 9)],
        replace=False,
    )
    old.use(FIRST, 7, 1, 11)
    old.use(FIRST, 9, 4, 12)
    made = importing.run(old)
    assert made.same
    assert [row[:5] for row in importing.rows(USES) if row[0] == FIRST.isoformat()] == [
        (FIRST.isoformat(), "scratch1", "team7", None, 11),
        (FIRST.isoformat(), "scratch4", "left", None, 12),
    ]
    found = importing.rows("select group_id, gid from unix_group where gid < 0 or gid > 1000")
    assert sorted(found) == [(9, -9), (10, -10), (11, 1007)]


@generation1
def test_a_group_that_is_known_later_takes_its_row(importing: Importing, old: OldDatabase) -> None:
    old.use(FIRST, 9, 1, 5)
    importing.run(old)
    known = nights.group(1009, name="left")
    usage.store(importing.database, nights.run(), nights.VOLUME, [nights.row(known)], replace=False)
    rows = importing.rows("select group_id, gid, absent_since from unix_group where group_id = 9")
    assert rows == [(9, 1009, None)]
    assert len(importing.rows("select 1 from lustre_usage where unix_id = 9")) == 2


@generation1
def test_a_group_that_is_known_at_the_next_import_keeps_its_row(
    importing: Importing, old: OldDatabase, tmp_path: Path
) -> None:
    old.use(FIRST, 9, 1, 5)
    importing.run(old)
    (tmp_path / "group").write_text("team7:x:1007:\nleft:x:1009:\n")
    importing.names = FileNames(tmp_path / "group", tmp_path / "passwd")
    assert importing.run(old).same
    known = "select group_id, gid, absent_since from unix_group where gid > 0 order by 1"
    assert importing.rows(known) == [(7, 1007, None), (9, 1009, None)]


@generation1
def test_a_group_that_has_left_since_the_last_import_keeps_its_row(
    importing: Importing, old: OldDatabase, tmp_path: Path
) -> None:
    old.use(FIRST, 7, 1, 5)
    importing.run(old)
    (tmp_path / "group").write_text("another:x:1:\n")
    importing.names = FileNames(tmp_path / "group", tmp_path / "passwd")
    old.use(DAYS[1], 7, 1, 6)
    assert importing.run(old).same
    assert importing.rows("select distinct unix_id from lustre_usage") == [(7,)]
    assert importing.rows("select group_id from unix_group where group_name = 'team7'") == [(7,)]


@both_generations
def test_rows_without_an_owner_are_of_several_and_added_up(
    importing: Importing, old: OldDatabase
) -> None:
    facts = {"record_date": FIRST, "volume_id": 1, "user_id": 3}
    for size, group_id in ((10, None), (200, None), (3000, 77), (5, 7)):
        old.add("user_usage", {**facts, "group_id": group_id, "size": size})
    made = importing.run(old)
    assert made.same
    assert of(made, "users").added_up == Sum(2, 0)
    had = "select group_name, size from user_usage join unix_group using (group_id) order by 1"
    assert importing.rows(had) == [("-", 3210), ("team7", 5)]


@both_generations
def test_owners_of_no_row_are_nobody(importing: Importing, old: OldDatabase) -> None:
    if old.has("lustre_usage", "base_directory_id"):
        place = {"base_directory_id": 1, "directory_path": "/p", "volume_id": 1}
        old.add("base_directory", place)
    old.use(FIRST, 77, 1, 5, pi_id=66)
    old.file(FIRST, "/v", group_id=77, user_id=55)
    assert importing.run(old).same
    assert [row[2:5] for row in importing.rows(USES)] == [("-", None, 5)]
    assert [row[1:3] for row in importing.rows(VAULT)] == [("-", "-")]


@generation1
def test_several_volumes_of_one_name_are_one(importing: Importing, old: OldDatabase) -> None:
    old.add("volume", {"volume_id": 9, "scratch_disk": "scratch1"})
    old.use(FIRST, 7, 1, 5)
    old.use(FIRST, 9, 9, 6)
    old.use(DAYS[1], 7, 9, 7)
    old.file(FIRST, "/v", volume_id=1)
    old.file(DAYS[1], "/v", volume_id=9)
    made = importing.run(old)
    assert made.same
    assert importing.rows("select used from lustre_usage order by used") == [(5,), (6,), (7,)]
    assert importing.rows("select first_seen, last_seen from vault") == [(FIRST.isoformat(), None)]
    assert len([each for each in made.taken if each.kind == "groups"]) == 1


@generation1
def test_a_file_without_an_action_or_a_path_is_told(importing: Importing, old: OldDatabase) -> None:
    for action in (1, None, 77):
        old.file(FIRST, f"/{action}", vault_action_id=action)
    old.add("vault", {"record_date": FIRST, "vault_action_id": 1, "size": 5, "volume_id": 1})
    made = importing.run(old)
    assert made.same
    told = "vault: 3 rows of 205 bytes are of no volume, date, path or action: left out"
    assert made.remarks[0] == told
    assert [row[0] for row in importing.rows(VAULT)] == ["/1"]


@generation1
def test_days_with_a_decimal_are_taken(importing: Importing, old: OldDatabase) -> None:
    old.execute("alter table lustre_usage modify last_modified decimal(10,1)")
    old.use(FIRST, 7, 1, 5, last_modified=2.5)
    assert importing.run(old).same
    assert [float(row[0]) for row in importing.rows("select last_modified from lustre_usage")] == [
        2.5
    ]


@generation1
def test_of_two_rows_of_a_group_and_day_the_later_counts(
    importing: Importing, old: OldDatabase
) -> None:
    for used in (5, 8):
        old.use(FIRST, 7, 1, used)
    made = importing.run(old)
    assert [row[4] for row in importing.rows(USES)] == [8]
    assert of(made, "groups").added_up == Sum(1, 5)
    assert made.same


@generation1
def test_two_groups_of_one_name_are_added_up(importing: Importing, old: OldDatabase) -> None:
    old.group(11, "team7")
    old.use(FIRST, 7, 1, 5, quota=100)
    old.use(FIRST, 11, 1, 8, quota=70, warning_id=2)
    made = importing.run(old)
    assert [row[4:7] for row in importing.rows(USES)] == [(13, 100, 2)]
    assert of(made, "groups").added_up == Sum(1, 0)
    assert made.same


@generation2
def test_what_groups_used_in_base_directories_is_taken_over_and_added_up(
    importing: Importing, old: OldDatabase
) -> None:
    old.add(
        "base_directory",
        {"base_directory_id": 20, "directory_path": "/lustre/scratch1/projects/a", "volume_id": 1},
        {"base_directory_id": 21, "directory_path": "/lustre/scratch1/projects/b", "volume_id": 1},
    )
    old.group(30, "team7")  # as its writer did for every volume
    old.use(FIRST, 7, 20, 100, quota=1000, warning_id=2, pi_id=5)
    old.use(FIRST, 30, 21, 11, quota=1000, warning_id=2, last_modified=1)
    made = importing.run(old)
    assert made.same
    assert [row[2:7] for row in importing.rows(USES)] == [("team7", "Doe", 111, 1000, 2)]
    bases = (
        "select base_directory_id, directory_path, used, last_modified, gid "
        "from base_directory_usage join base_directory using (base_directory_id) "
        "join unix_group on group_id = unix_id order by 1"
    )
    assert importing.rows(bases) == [
        (20, "/lustre/scratch1/projects/a", 100, 3, 1007),
        (21, "/lustre/scratch1/projects/b", 11, 1, 1007),
    ]
    assert of(made, "base directories").here == Sum(2, 111)
    assert of(made, "groups").here == Sum(1, 111)
    reports = "select report, scan_file, imported_from from report_run order by report"
    origin = f"127.0.0.1:{old.server.port}/{old.name}"
    assert importing.rows(reports) == [("inspector", "-", origin), ("reporter", "-", origin)]


@generation2
def test_a_base_directory_gets_its_real_path_when_it_is_counted(
    importing: Importing, old: OldDatabase
) -> None:
    path = "/lustre/scratch1/projects/alpha1"
    old.add("base_directory", {"base_directory_id": 20, "directory_path": path, "volume_id": 1})
    old.use(FIRST, 7, 20, 100)
    importing.run(old)

    ids = importing.database.transaction(
        lambda connection: stored_names.base_ids(
            connection, 1, [BaseDirectory(real=f"/mnt{path}", shown=path)]
        )
    )
    assert ids == {f"/mnt{path}": 20}
    assert importing.rows("select real_path from base_directory") == [(f"/mnt{path}",)]


@both_generations
def test_what_users_had_is_taken_over(importing: Importing, old: OldDatabase) -> None:
    facts = {"record_date": FIRST, "group_id": 7, "volume_id": 1}
    modified = date(2023, 4, 5)
    old.add("user_usage", {**facts, "user_id": 3, "size": 2**40, "last_modified": modified})
    old.add("user_usage", {**facts, "user_id": None, "size": 4})
    made = importing.run(old)
    rows = importing.rows(
        "select user_name, group_name, size, inodes, last_modified from user_usage "
        "join user using (user_id) join unix_group using (group_id) order by size"
    )
    assert rows == [
        ("-", "team7", 4, 0, None),
        ("alice", "team7", 2**40, 0, modified.isoformat()),
    ]
    assert made.same
    assert of(made, "users").here == Sum(2, 2**40 + 4)


@both_generations
def test_copies_of_files_in_vaults_become_spans_of_days(
    importing: Importing, old: OldDatabase
) -> None:
    odd = "/lustre/scratch1/a\tb\\c\u20ac"
    for day in DAYS:
        old.file(day, "/stays")
        if day not in (DAYS[1], DAYS[4]):
            old.file(day, "/comes-and-goes")
        old.file(day, "/grows", size=100 if day < DAYS[2] else 200)
        if day == DAYS[0]:
            old.file(day, odd, group_id=None, user_id=None, vault_action_id=2)
    old.file(DAYS[0], "/elsewhere", volume_id=4)
    made = importing.run(old)
    days = [day.isoformat() for day in DAYS]
    who = "team7", "alice", "Keep"
    assert importing.rows(VAULT) == [
        ("/comes-and-goes", *who, 100, days[0], days[0]),
        ("/comes-and-goes", *who, 100, days[2], days[3]),
        ("/elsewhere", *who, 100, days[0], None),
        ("/grows", *who, 100, days[0], days[1]),
        ("/grows", *who, 200, days[2], None),
        (r"/lustre/scratch1/a\tb\\c€", "-", "-", "Archive", 100, days[0], days[0]),
        ("/stays", *who, 100, days[0], None),
    ]
    assert made.same
    assert of(made, "files in vaults").here == Sum(14, 1700)
    assert of(made, "files in vaults", "scratch4").here == Sum(1, 100)


@generation1
def test_a_copy_that_is_there_twice_is_counted(importing: Importing, old: OldDatabase) -> None:
    for _ in range(3):
        old.file(FIRST, "/twice", size=7)
    made = importing.run(old)
    assert made.same
    assert of(made, "files in vaults").added_up == Sum(2, 14)
    assert of(made, "files in vaults").here == Sum(1, 7)


@generation1
def test_owners_are_names_in_an_early_form_of_vaults(
    importing: Importing, old: OldDatabase
) -> None:
    old.execute("alter table vault drop column user_id, add column file_owner varchar(64)")
    old.add(
        "vault",
        *(
            {
                "record_date": FIRST,
                "filepath": f"/of-{owner}",
                "group_id": 7,
                "vault_action_id": 1,
                "size": 1,
                "file_owner": owner,
                "volume_id": 1,
            }
            for owner in ("alice", "bob", None)
        ),
    )
    assert importing.run(old).same
    assert [row[2] for row in importing.rows(VAULT)] == ["-", "alice", "bob"]
    users = dict(importing.rows("select user_name, uid from user where user_name in ('alice')"))
    assert users == {"alice": 2003}


def fill_both(old: OldDatabase) -> None:
    """Some days of everything."""
    place = 1
    if old.has("lustre_usage", "base_directory_id"):
        place = 20
        path = "/lustre/scratch1/projects/a"
        old.add("base_directory", {"base_directory_id": 20, "directory_path": path, "volume_id": 1})
    for day in DAYS:
        for group_id in (7, 9):
            old.use(day, group_id, place, day.day * group_id, quota=1000)
            old.file(day, f"/v/{group_id}/{day.day // 2}", group_id=group_id)
        facts = {"record_date": day, "group_id": 7, "volume_id": 1, "user_id": 3}
        old.add("user_usage", {**facts, "size": day.day})


@both_generations
def test_to_import_again_changes_nothing(
    importing: Importing, old: OldDatabase, table: DatabaseTable
) -> None:
    fill_both(old)
    once = importing.run(old)
    before = dump.dump(table)
    again = importing.run(old)
    assert once.same
    assert again == once
    assert dump.dump(table) == before


@both_generations
def test_to_import_again_adds_what_has_come_since(importing: Importing, old: OldDatabase) -> None:
    fill_both(old)
    importing.run(old)
    day = DAYS[-1] + timedelta(1)
    old.use(day, 7, 20 if old.has("lustre_usage", "base_directory_id") else 1, 77)
    old.file(day, "/v/7/2")
    made = importing.run(old)
    assert made.same
    assert importing.rows(USES)[-1][:5] == (day.isoformat(), "scratch1", "team7", None, 77)
    seen = importing.rows("select filepath, last_seen from vault where last_seen is null")
    assert seen == [("/v/7/2", None)]
    assert importing.rows("select count(*) from report_run where done is null") == [(0,)]


@both_generations
def test_a_day_of_which_more_has_come_is_taken_over_again(
    importing: Importing, old: OldDatabase
) -> None:
    fill_both(old)
    importing.run(old)
    place = 20 if old.has("lustre_usage", "base_directory_id") else 1
    old.execute("update lustre_usage set used = used + 1 where record_date = %s", DAYS[2])
    old.use(DAYS[1], 7, place, 1000)  # in place of the row that was there
    facts = {"record_date": DAYS[0], "group_id": 9, "volume_id": 1, "user_id": 3}
    old.add("user_usage", {**facts, "size": 500})
    made = importing.run(old)
    assert made.same
    uses = {(row[0], row[2]): row[4] for row in importing.rows(USES)}
    assert uses[DAYS[1].isoformat(), "team7"] == 1000
    assert uses[DAYS[2].isoformat(), "left"] == DAYS[2].day * 9 + 1
    assert len(importing.rows("select 1 from user_usage")) == len(DAYS) + 1
    assert importing.run(old) == made


def test_what_is_all_own_is_not_called_the_same() -> None:
    ours = Taken("groups", "scratch1", 1, there=Sum(3, 30), own=Sum(3, 30))
    theirs = Taken("groups", "scratch2", 1, there=Sum(3, 30), here=Sum(3, 30))
    last = table_of_sums([ours, theirs]).columns[-1]
    assert list(map(str, last.cells)) == ["all own", "the same"]


class Killed(BaseException):
    """As if the process had ended."""


@both_generations
@pytest.mark.parametrize("at", [2, 4])
def test_an_import_that_was_broken_off_ends_the_same(
    importing: Importing,
    old: OldDatabase,
    table: DatabaseTable,
    at: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill_both(old)
    monkeypatch.setattr("lurge.importing.usage_history.BATCH_ROWS", 1)
    monkeypatch.setattr("lurge.importing.report.TOLD_EVERY_SECONDS", -1)
    told = 0

    def break_off(_: str) -> None:
        nonlocal told
        told += 1
        if told == at:
            raise Killed

    with pytest.raises(Killed):
        importing.run(old, break_off)
    made = importing.run(old)
    assert made.same
    assert of(made, "files in vaults").here.rows == 10
    after = dump.dump(table)
    importing.run(old)
    assert dump.dump(table) == after


@on_mariadb
@generation1
def test_an_import_whose_process_is_killed_ends_the_same(
    old: OldDatabase, importing: Importing, place: Place, tmp_path: Path
) -> None:
    old.execute(
        "insert into lustre_usage (record_date, unix_id, volume_id, used) "
        "select %s + interval seq mod 900 day, 7, 1, seq from seq_1_to_30000",
        FIRST,
    )
    old.execute(
        "insert into vault (record_date, filepath, group_id, user_id, vault_action_id, size, "
        "volume_id) select %s + interval seq mod 100 day, concat('/', seq div 100), 7, 3, 1, 5, 1 "
        "from seq_0_to_39999",
        FIRST,
    )
    site = Site(tmp_path, database=place.table.url, password_file=place.table.password_file)
    site.env = {"LURGE_IMPORT_PASSWORD": old.password}
    for wanted in ("report_run where done = 1", "vault"):
        process = site.start("init", "--import", old.url)
        deadline = time.monotonic() + 60
        while importing.rows(f"select count(*) from {wanted}") == [(0,)]:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
        process.send_signal(signal.SIGKILL)
        process.communicate()
    done = site.run("init", "--import", old.url)
    assert done.returncode == 0, done.stderr
    assert "DIFFER" not in done.stdout
    assert done.stdout.count("the same") == 2
    [(rows, used)] = importing.rows("select count(*), sum(used) from lustre_usage")
    assert (rows, int(used)) == (900, sum(range(30_000 - 899, 30_001)))
    assert importing.rows("select count(*) from vault where last_seen is null") == [(400,)]
    assert importing.rows("select count(*) from report_run where done is null") == [(0,)]


@generation1
def test_a_day_that_lurge_has_counted_stays_as_it_is(
    importing: Importing, old: OldDatabase
) -> None:
    of_day = nights.run(DAYS[1], SCRATCH1)
    row = nights.row(nights.group(1007), SCRATCH1, used_bytes=3)
    usage.store(importing.database, of_day, SCRATCH1, [row], replace=False)
    for day in DAYS[:3]:
        old.use(day, 7, 1, 50)
    made = importing.run(old)
    assert [(row[0], row[4]) for row in importing.rows(USES)] == [
        (DAYS[0].isoformat(), 50),
        (DAYS[1].isoformat(), 3),
        (DAYS[2].isoformat(), 50),
    ]
    assert of(made, "groups").own == Sum(1, 50)
    assert made.same


def store_vault(database: Database, day: date, *paths: str) -> None:
    """A night of Lurge's own."""
    files = [
        nights.vault_file(number, real_path=path, shown=path) for number, path in enumerate(paths)
    ]
    filling = vaults.begin(
        database, nights.run(day, SCRATCH1, report="puppeteer"), SCRATCH1, len(files), replace=False
    )
    files.sort(key=lambda file: file.state())
    new = filling.changes([file.state() for file in files])
    chosen = [files[place] for place in new]
    filling.add(
        chosen,
        {file.uid: nights.user(file.uid) for file in chosen},
        {file.gid: nights.group(file.gid) for file in chosen},
    )
    filling.finish()


@generation1
def test_the_first_night_ends_what_was_imported(importing: Importing, old: OldDatabase) -> None:
    for day in DAYS[:2]:
        old.file(day, "/kept")
    importing.run(old)
    store_vault(importing.database, DAYS[3], "/kept")
    spans = "select filepath, first_seen, last_seen from vault order by first_seen"
    assert importing.rows(spans) == [
        ("/kept", DAYS[0].isoformat(), DAYS[1].isoformat()),
        ("/kept", DAYS[3].isoformat(), None),
    ]
    made = importing.run(old)
    assert made.same
    assert of(made, "files in vaults").here == Sum(2, 200)


@generation1
def test_days_of_vaults_from_lurges_first_on_are_its_own(
    importing: Importing, old: OldDatabase
) -> None:
    store_vault(importing.database, DAYS[2], "/kept")
    for day in DAYS:
        old.file(day, "/old")
    made = importing.run(old)
    assert importing.rows("select filepath, first_seen, last_seen from vault order by 2") == [
        ("/old", DAYS[0].isoformat(), DAYS[1].isoformat()),
        ("/kept", DAYS[2].isoformat(), None),
    ]
    assert of(made, "files in vaults").own == Sum(3, 300)
    assert made.same
    store_vault(importing.database, DAYS[3], "/kept")  # compares with its own
    assert len(importing.rows("select 1 from vault")) == 2


@generation1
def test_a_night_that_ends_meanwhile_is_not_overwritten(
    importing: Importing, old: OldDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    old.file(FIRST, "/old")
    finish = imports.finish_vault

    def late(*arguments: Any) -> None:
        store_vault(importing.database, DAYS[1], "/new")
        finish(*arguments)

    monkeypatch.setattr(imports, "finish_vault", late)
    with pytest.raises(DatabaseFailed, match="recorded by another run meanwhile: import again"):
        importing.run(old)
    monkeypatch.undo()
    seen = "select filepath, first_seen, last_seen from vault_now"
    assert importing.rows(seen) == [("/new", DAYS[1].isoformat(), None)]
    assert importing.run(old).same
    assert importing.rows(seen) == [("/new", DAYS[1].isoformat(), None)]
    assert len(importing.rows("select 1 from vault")) == 2


@generation2
def test_what_was_imported_takes_no_directories_away(
    importing: Importing, old: OldDatabase
) -> None:
    path = "/lustre/scratch1/projects/a"
    old.add("base_directory", {"base_directory_id": 20, "directory_path": path, "volume_id": 1})
    for day in (DAYS[0], DAYS[2]):
        old.use(day, 7, 20, 5)
    own = nights.run(DAYS[1], SCRATCH1, report="inspector")
    rows = nights.directories(3)
    groups = {row.gid: nights.group(row.gid) for row in rows}
    filling = directories.begin(
        importing.database,
        own,
        SCRATCH1,
        3,
        replace=False,
        file_types=list(Config().inspector.file_types),
    )
    filling.add(rows, groups)
    filling.finish(lambda: iter(()), groups)
    assert importing.run(old).same
    directories.sweep(importing.database, "inspector", "scratch1")
    assert importing.rows("select count(*) from directory_now") == [(3,)]


@generation1
def test_a_scan_that_is_gone_at_the_next_import_dates_nothing_anew(
    importing: Importing, old: OldDatabase
) -> None:
    moment = datetime(2024, 1, 3, 12).astimezone().timestamp()
    scan = importing.config.wrstat_dir / "20240102_scratch1.a.b.stats.gz"
    scan.write_bytes(b"")
    os.utime(scan, (moment, moment))
    for day in DAYS[1:3]:
        old.use(day, 7, 1, day.day)
    importing.run(old)
    dates = "select record_date, used from lustre_usage order by record_date"
    once = [(DAYS[0].isoformat(), 2), (DAYS[1].isoformat(), 3)]
    assert importing.rows(dates) == once
    scan.unlink()
    assert importing.run(old).same
    assert importing.rows(dates) == once
    moved = datetime(2024, 6, 3, 12).astimezone().timestamp()
    scan.write_bytes(b"")  # a copy, of which the time says nothing
    os.utime(scan, (moved, moved))
    old.use(date(2024, 6, 3), 7, 1, 77)
    assert importing.run(old).same
    assert importing.rows(dates) == [*once, ("2024-06-03", 77)]


@generation1
def test_what_was_imported_of_vaults_is_not_replaced_by_force(
    importing: Importing, old: OldDatabase
) -> None:
    old.file(FIRST, "/kept")
    importing.run(old)
    of_day = nights.run(FIRST, SCRATCH1, report="puppeteer")
    with pytest.raises(AlreadyRecorded, match="was imported from"):
        vaults.begin(importing.database, of_day, SCRATCH1, 0, replace=True)


@on_mariadb
@generation1
def test_of_two_older_databases_one_goes_on_where_the_other_ends(
    importing: Importing, old: OldDatabase, mariadb: Mariadb
) -> None:
    for day in DAYS[:2]:
        old.file(day, "/kept")
        old.use(day, 7, 1, 1)
    importing.run(old)
    with old_database(mariadb, 2) as newer:
        for day in DAYS[1:4]:
            newer.file(day, "/kept")
        made = importing.run(newer)
        assert made.same
        assert of(made, "files in vaults").own == Sum(1, 100)
        for each in (old, newer):
            assert importing.run(each).same
    spans = "select first_seen, last_seen from vault order by first_seen"
    assert importing.rows(spans) == [
        (DAYS[0].isoformat(), DAYS[1].isoformat()),
        (DAYS[2].isoformat(), None),
    ]


@generation1
def test_rows_of_no_volume_or_date_are_told(importing: Importing, old: OldDatabase) -> None:
    old.use(FIRST, 7, 1, 5)
    old.add("lustre_usage", {"record_date": None, "unix_id": 7, "volume_id": 1, "used": 30})
    old.add("lustre_usage", {"record_date": FIRST, "unix_id": 7, "volume_id": 99, "used": 4})
    old.execute("drop table user_usage")
    made = importing.run(old)
    assert made.same
    assert made.remarks == [
        "lustre_usage: 2 rows of 34 bytes are of no volume, date, path or action: left out",
        "names.source = system knows by name: 1 of 2 groups, 1 of 2 users",
        "no [[volume]] is called scratch1: give each that is gone one with its `retired`, so that "
        "nobody expects anything of it",
        f"user_usage: there is no such table in 127.0.0.1:{old.server.port}/{old.name}",
    ]


@on_sqlite
@generation1
def test_rows_that_change_meanwhile_are_told(importing: Importing, old: OldDatabase) -> None:
    for group_id in (7, 9):
        old.use(FIRST, group_id, 1, 5)

    ancestor = Ancestor(old.url, old.password, lambda _: None)
    ancestor.sums("lustre_usage")
    old.execute("delete from lustre_usage where unix_id = 9")
    with pytest.raises(DatabaseFailed, match=r"lustre_usage of 2024-01-01: 1 rows have come"):
        report.run(importing.config, importing.database, importing.names, ancestor, lambda _: None)
    ancestor.close()


@on_sqlite
@generation1
@pytest.mark.parametrize("day", [DAYS[1], DAYS[3]])
def test_copies_that_change_meanwhile_are_told(
    importing: Importing, old: OldDatabase, day: date
) -> None:
    for number in (1, 2):
        old.file(DAYS[1], f"/{number}")
    ancestor = Ancestor(old.url, old.password, lambda _: None)
    ancestor.sums("vault")
    old.execute("update vault set record_date = %s where filepath = '/2'", DAYS[3])
    old.execute("delete from vault where record_date = %s and filepath = '/1'", day)
    with pytest.raises(DatabaseFailed, match="vault of 2024-01-02: the rows that have come"):
        report.run(importing.config, importing.database, importing.names, ancestor, lambda _: None)
    ancestor.close()
    assert importing.rows("select count(*) from vault") == [(0,)]


@on_sqlite
@generation1
def test_another_database_is_none_of_the_suite_before(
    importing: Importing, old: OldDatabase
) -> None:
    old.execute("drop table lustre_usage")
    with pytest.raises(NoAncestor, match="lustre_usage has no record_date, record_id, unix_id"):
        importing.run(old)
    old.execute("create table report_run (run_id int)")
    with pytest.raises(NoAncestor, match="is a database of Lurge"):
        importing.run(old)


def test_sums_that_differ_are_told() -> None:
    taken = Taken("groups", "scratch1", 1, there=Sum(3, 30), added_up=Sum(1, 5), here=Sum(2, 25))
    assert taken.same
    assert not Taken("groups", "scratch1", 1, there=Sum(3, 30), here=Sum(2, 30)).same
    assert not Taken("groups", "scratch1", 1, there=Sum(3, 30), here=Sum(3, 29)).same


# Dates.


def found(day: date, modified: date) -> Found:
    moment = datetime(modified.year, modified.month, modified.day, 12).astimezone()
    named = datetime(day.year, day.month, day.day, tzinfo=UTC)
    nanoseconds = int(moment.timestamp()) * 10**9
    return Found(Path("/scans", day.isoformat()), day, named, nanoseconds, volume="scratch1")


def record_dates(dated: Mapping[date, plan.Day]) -> list[date]:
    return [day.record_date for day in dated.values()]


def test_a_day_is_that_of_its_scans_name() -> None:
    scan = found(DAYS[1], DAYS[2])
    dated = plan.dates({DAYS[2]}, {DAYS[2]: scan}, {})
    assert dated == {DAYS[2]: plan.Day(DAYS[1], scan)}


def test_days_whose_scans_are_gone_go_before_those_that_are_there() -> None:
    scans = {DAYS[3]: found(DAYS[2], DAYS[3])}
    dated = plan.dates({DAYS[0], DAYS[2], DAYS[3], DAYS[4]}, scans, {})
    assert list(dated) == [DAYS[0], DAYS[2], DAYS[3], DAYS[4]]
    assert record_dates(dated) == [DAYS[0], DAYS[1], DAYS[2], DAYS[4]]


def test_a_day_that_is_recorded_keeps_its_date() -> None:
    recorded = {DAYS[1]: DAYS[0], DAYS[2]: DAYS[1], DAYS[3]: DAYS[2]}
    scans = {DAYS[3]: found(DAYS[3], DAYS[3])}
    dated = plan.dates({*DAYS[1:]}, scans, recorded)
    assert record_dates(dated) == [*DAYS[:3], DAYS[4]]
    assert dated[DAYS[3]].scan is None


def test_no_two_days_have_one_date() -> None:
    scans = {day: found(DAYS[1], day) for day in DAYS[2:4]}
    dated = plan.dates({*DAYS[1:4]}, scans, {})
    assert len(set(record_dates(dated))) == 3
    assert record_dates(dated) == sorted(record_dates(dated))


# What may come of vaults.

ELSEWHERE = Origin("elsewhere", stored=True)
OWN, OWN_WITHOUT_ROWS = Origin(None, stored=True), Origin(None, stored=False)


@pytest.mark.parametrize(
    ("there", "free"),
    [
        ({}, DAYS),
        ({DAYS[0]: Origin("mine", stored=True)}, DAYS),
        ({DAYS[3]: OWN}, DAYS[:3]),
        ({DAYS[1]: OWN_WITHOUT_ROWS}, [DAYS[0], *DAYS[2:]]),
        ({DAYS[1]: ELSEWHERE, DAYS[2]: ELSEWHERE}, [DAYS[0], *DAYS[3:]]),
        ({DAYS[1]: ELSEWHERE, DAYS[3]: ELSEWHERE}, [DAYS[0], DAYS[4]]),
        ({FIRST - timedelta(1): OWN}, []),
    ],
)
def test_days_of_vaults_are_taken_that_nobody_else_has(
    there: dict[date, Origin], free: list[date]
) -> None:
    assert vault_history.free_days(DAYS, there, "mine") == set(free)


# The whole, as it is run.


@pytest.fixture
def site(tmp_path: Path, place: Place) -> Site:
    """A site with a scan of today of scratch1, which was finished today."""
    (tmp_path / "group").write_text("team7:x:1007:\n")
    (tmp_path / "passwd").write_text("alice:x:2003:1007:\n")
    made = Site(
        tmp_path,
        '[[volume]]\nname = "scratch1"\nmount = "/lustre/scratch1"\n'
        '[names]\nsource = "files"\ngroup_file = "group"\nuser_file = "passwd"\n',
        database=place.table.url,
        password_file=place.table.password_file,
    )
    made.add_scan(
        [entry("/lustre/scratch1/", type="d", gid=1007), entry("/lustre/scratch1/a", gid=1007)],
        "/lustre/scratch1",
    )
    return made


def import_(site: Site, old: OldDatabase) -> Any:
    site.env = {"LURGE_IMPORT_PASSWORD": old.password}
    return site.run("init", "--import", old.url)


@on_mariadb
@both_generations
def test_the_night_after_an_import_takes_the_place_of_its_scans_day(
    site: Site, old: OldDatabase, database: Database, importing: Importing
) -> None:
    place = 1
    if old.has("lustre_usage", "base_directory_id"):
        place = 20
        path = "/lustre/scratch1/projects/a"
        old.add("base_directory", {"base_directory_id": 20, "directory_path": path, "volume_id": 1})
    days = [TODAY - timedelta(back) for back in (2, 1, 0)]
    for day in days:
        old.use(day, 7, place, 10**6)
        old.file(day, "/lustre/scratch1/v")
    done = import_(site, old)
    assert done.returncode == 0, done.stderr
    [vault] = [line for line in done.stdout.splitlines() if "files in vaults" in line]
    assert vault.split()[-2:] == ["the", "same"]
    told = {each["report"]: each for each in site.outcomes("reporter", "inspector", "puppeteer")}
    assert {each["status"] for each in told.values()} == {"written"}
    assert "replaces what was imported of this day" in told["reporter"]["remarks"]
    assert any("another way" in each for each in told["reporter"]["remarks"])
    used = "select record_date, used, suspect from lustre_usage order by record_date"
    assert importing.rows(used) == [
        (days[0].isoformat(), 10**6, 0),
        (days[1].isoformat(), 10**6, 0),
        (days[2].isoformat(), 20, 0),  # hardly anything, but no fall
    ]
    spans = importing.rows("select first_seen, last_seen from vault")
    assert spans == [(days[0].isoformat(), days[1].isoformat())]
    again = {each["report"]: each for each in site.outcomes("reporter", "inspector", "puppeteer")}
    assert {each["status"] for each in again.values()} == {"already"}
    assert import_(site, old).returncode == 0


@on_mariadb
@generation1
def test_the_password_is_in_no_argument(site: Site, old: OldDatabase) -> None:
    with_password = old.url.replace("@", f":{old.password}@")
    done = site.run("init", "--import", with_password)
    assert done.returncode == 2
    assert "its password in LURGE_IMPORT_PASSWORD" in done.stderr
    assert old.password not in done.stderr
    for wrong in ("sqlite:///x.db", "nonsense", "mysql+pymysql://host"):
        assert site.run("init", "--import", wrong).returncode == 2


@on_mariadb
@generation1
@pytest.mark.usefixtures("table")
def test_an_older_database_that_cannot_be_reached_is_told(site: Site, old: OldDatabase) -> None:
    site.env = {"LURGE_IMPORT_PASSWORD": "wrong"}
    done = site.run("init", "--import", old.url)
    assert done.returncode == 3
    assert f"{old.name}" in done.stderr
    assert "see to the user, password and rights" in done.stderr


@on_mariadb
@generation1
def test_between_an_imported_day_and_another_nothing_is_foretold(
    importing: Importing, old: OldDatabase
) -> None:
    for day in DAYS[:3]:
        old.use(day, 7, 1, 10)
    importing.run(old)
    for day in DAYS[3:]:
        row = nights.row(nights.group(1007), SCRATCH1, used_bytes=3)
        of_day = nights.run(day, SCRATCH1)
        usage.store(importing.database, of_day, SCRATCH1, [row], replace=False)

    def look(connection: sql.Connection) -> Any:
        before = DAYS[4] + timedelta(1)
        return (
            usage.imported(connection, "scratch1", FIRST, before),
            usage.imported(connection, "scratch1", DAYS[1], DAYS[2]),
            usage.imported(connection, "scratch4", FIRST, before),
            usage.history(connection, "scratch1", date.min, before).used_bytes.used.tolist(),
            usage.last_used(connection, "scratch1", DAYS[3]),
            usage.last_used(connection, "scratch1", DAYS[4]),
        )

    assert importing.database.transaction(look) == (
        DAYS[:3],
        [DAYS[1]],
        [],
        [3.0, 3.0],
        {},
        {1007: 3},
    )
