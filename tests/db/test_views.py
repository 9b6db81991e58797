"""Dashboards of two generations find in views what they used to find in tables, on MariaDB."""

import secrets
from collections.abc import Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, on_mariadb
from servers.mariadb import Mariadb
from servers.nights import DAY, VOLUME
from site_of_tests import Site

from db import directories, usage, user_usage, vaults, views
from db.database import Database
from db.schema import volume
from db.views import Generation, ViewsUnmakable
from lurge_types.names import Group
from lurge_types.reports import NOWHERE, BaseDirectory, UserUse
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile

OTHER = Volume("scratch2", b"/lustre/scratch2")
YESTERDAY = DAY - timedelta(days=1)
LONG_AGO = [DAY - timedelta(days=days) for days in range(300, 308)]
SHOWN_ALWAYS = [day for day in LONG_AGO if (day.toordinal() + 365) % 4 == 0]
TEAM = Group(1, "Team1", "Doe", is_humgen=True)
GIB = 2**30

INT, BIG, TEXT = "int", "bigint", "text"
NO, NULL = "NO", "YES"
NAMES = {
    "pi": [("pi_id", INT, NO), ("pi_name", TEXT, NO)],
    "user": [("user_id", INT, NO), ("user_name", TEXT, NO)],
    "volume": [("volume_id", INT, NO), ("scratch_disk", TEXT, NO)],
    "warning": [("warning_id", INT, NO), ("warning", TEXT, NO)],
    "vault_actions": [("vault_action_id", INT, NO), ("action_name", TEXT, NO)],
    "filetype": [("filetype_id", INT, NO), ("filetype_name", TEXT, NO)],
    "file_size": [
        ("file_size_id", BIG, NO),
        ("directory_id", INT, NO),
        ("filetype_id", INT, NO),
        ("size", "double", NULL),
    ],
    "vault": [
        ("record_id", BIG, NO),
        ("record_date", "date", NO),
        ("filepath", TEXT, NO),
        ("group_id", INT, NO),
        ("vault_action_id", INT, NO),
        ("size", BIG, NO),
        ("user_id", INT, NO),
        ("last_modified", "date", NO),
        ("volume_id", INT, NO),
    ],
    "user_usage": [
        ("record_id", BIG, NO),
        ("record_date", "date", NO),
        ("user_id", INT, NO),
        ("group_id", INT, NO),
        ("volume_id", INT, NO),
        ("size", BIG, NO),
        ("last_modified", "date", NO),
    ],
}
COLUMNS: dict[Generation, dict[str, list[tuple[str, str, str]]]] = {
    "weaver22": {
        **NAMES,
        "unix_group": [
            ("group_id", INT, NO),
            ("group_name", TEXT, NO),
            ("is_humgen", "tinyint", NO),
        ],
        "lustre_usage": [
            ("record_id", BIG, NO),
            ("used", BIG, NO),
            ("quota", BIG, NULL),
            ("record_date", "date", NO),
            ("archived", "tinyint", NO),
            ("last_modified", "decimal", NO),
            ("pi_id", INT, NULL),
            ("unix_id", INT, NO),
            ("volume_id", INT, NO),
            ("warning_id", INT, NO),
        ],
        "directory": [
            ("directory_id", INT, NO),
            ("project_name", TEXT, NULL),
            ("directory_path", TEXT, NULL),
            ("num_files", BIG, NO),
            ("size", "double", NULL),
            ("last_modified", "decimal", NO),
            ("pi_id", INT, NULL),
            ("group_id", INT, NO),
            ("volume_id", INT, NO),
        ],
    },
    "weaver23": {
        **NAMES,
        "unix_group": [("group_id", INT, NO), ("group_name", TEXT, NO)],
        "base_directory": [
            ("base_directory_id", INT, NO),
            ("directory_path", TEXT, NO),
            ("volume_id", INT, NO),
        ],
        "lustre_usage": [
            ("record_id", BIG, NO),
            ("used", BIG, NO),
            ("quota", BIG, NULL),
            ("record_date", "date", NO),
            ("last_modified", "decimal", NO),
            ("pi_id", INT, NULL),
            ("unix_id", INT, NO),
            ("base_directory_id", INT, NO),
            ("warning_id", INT, NO),
        ],
        "directory": [
            ("directory_id", INT, NO),
            ("directory_path", TEXT, NO),
            ("num_files", BIG, NO),
            ("size", "double", NULL),
            ("last_modified", "decimal", NO),
            ("pi_id", INT, NULL),
            ("group_id", INT, NO),
            ("base_directory_id", INT, NO),
        ],
    },
}
GENERATIONS: list[Generation] = ["weaver22", "weaver23"]
on_22 = pytest.mark.parametrize("generation", ["weaver22"], indirect=True)
on_23 = pytest.mark.parametrize("generation", ["weaver23"], indirect=True)


@pytest.fixture(params=GENERATIONS)
def generation(request: pytest.FixtureRequest) -> Generation:
    """Which dashboard asks; both, if a test is not about one of them."""
    chosen: Generation = request.param
    return chosen


class Dashboard:
    """A database of views, and a user who may read them and nothing else."""

    def __init__(self, server: Mariadb, lurge: str, generation: Generation) -> None:
        self.lurge = lurge
        self.name = f"{lurge}_{generation}"
        self._password = secrets.token_urlsafe()
        self._server = server
        server.execute(f"CREATE USER {self.name}@127.0.0.1 IDENTIFIED BY %s", self._password)
        server.execute(f"GRANT SELECT ON {self.name}.* TO {self.name}@127.0.0.1")
        address = sql.URL.create(
            "mysql+pymysql", self.name, self._password, "127.0.0.1", server.port, self.name
        )
        self._engine = sql.create_engine(address)

    def ask(self, question: str) -> list[Any]:
        """What a question is answered, as the dashboard's user."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(question)]

    def drop(self) -> None:
        self._engine.dispose()
        self._server.execute(f"DROP DATABASE IF EXISTS {self.name}")
        self._server.execute(f"DROP USER {self.name}@127.0.0.1")


@pytest.fixture
def dashboard(
    mariadb: Mariadb, place: Place, database: Database, generation: Generation
) -> Iterator[Dashboard]:
    """The views of a generation, made by the server's administrator."""
    lurge = str(sql.make_url(place.table.url).database)
    made = Dashboard(mariadb, lurge, generation)
    administrator = Database(mariadb.url(lurge))
    try:
        administrator.transaction(lambda connection: views.make(connection, generation, made.name))
        yield made
    finally:
        administrator.close()
        made.drop()


def store_usage(database: Database, day: date, volume: Volume = VOLUME, **facts: Any) -> None:
    row = nights.row(TEAM, volume, **facts)
    usage.store(database, nights.run(day, volume), volume, [row], replace=False)


def store_directories(database: Database, day: date, volume: Volume = VOLUME) -> None:
    """A directory of 3 GiB, files directly in its base directory, and those above all bases."""
    below, above = nights.base(1, volume), BaseDirectory(NOWHERE, NOWHERE)
    rows = [
        nights.directory(3, TEAM, below, directory="cohort", size_bytes=3 * GIB),
        nights.directory(4, TEAM, below, directory=".", last_modified_days=None),
        nights.directory(5, TEAM, above, directory="-", real_path=None),
    ]
    run = nights.run(day, volume, report="inspector")
    types = ("BAM", "CRAM", "VCF")
    filling = directories.begin(database, run, volume, len(rows), replace=False, file_types=types)
    filling.add(rows, {1: TEAM})
    filling.finish(lambda: iter([[nights.use(TEAM, below)]]), {1: TEAM})
    directories.sweep(database, "inspector", volume.name)


def store_users(database: Database, day: date, volume: Volume = VOLUME, size: int = 7) -> None:
    run = nights.run(day, volume, report="users")
    rows = [UserUse(1, 1, size, 2, None)]
    people = {1: nights.user(1)}
    user_usage.store(
        database, run, volume, rows, people, {1: TEAM}, withdraw=lambda: None, replace=False
    )


def store_vault(
    database: Database, day: date, files: list[VaultFile], volume: Volume = VOLUME
) -> None:
    run = nights.run(day, volume, report="puppeteer")
    files = sorted(files, key=VaultFile.state)
    filling = vaults.begin(database, run, volume, len(files), replace=False)
    new = filling.changes(file.state() for file in files)
    people = {uid: nights.user(uid) for uid in range(1, 41)}
    groups = {gid: nights.group(gid) for gid in range(1, 31)}
    filling.add([files[place] for place in new], people, groups)
    filling.finish()
    vaults.sweep(database, "puppeteer", volume.name)


@on_mariadb
def test_every_column_has_the_name_type_and_nulls_that_a_dashboard_expects(
    dashboard: Dashboard, generation: Generation
) -> None:
    rows = dashboard.ask(
        "select table_name, column_name, data_type, is_nullable, collation_name "
        f"from information_schema.columns where table_schema = '{dashboard.name}' "
        "order by table_name, ordinal_position"
    )
    found: dict[str, list[tuple[str, str, str]]] = {}
    for table, column, kind, null, collation in rows:
        assert collation in (None, views.COLLATION)
        found.setdefault(table, []).append((column, TEXT if collation else kind, null))
    assert {name: set(columns) for name, columns in found.items()} == {
        name: set(columns) for name, columns in COLUMNS[generation].items()
    }


@on_mariadb
def test_every_view_is_merged_into_the_question(
    dashboard: Dashboard, mariadb: Mariadb, generation: Generation
) -> None:
    algorithms = mariadb.execute(
        "select table_name, algorithm from information_schema.views where table_schema = %s",
        dashboard.name,
    )
    assert {tuple(row) for row in algorithms} == {(name, "MERGE") for name in COLUMNS[generation]}


@on_mariadb
def test_a_dashboards_user_reads_views_and_nothing_else(
    dashboard: Dashboard, generation: Generation
) -> None:
    with pytest.raises(sql.exc.OperationalError, match="denied"):
        dashboard.ask(f"select * from {dashboard.lurge}.unix_group")
    with pytest.raises(sql.exc.OperationalError, match="denied"):
        dashboard.ask("delete from pi")


@on_mariadb
@on_22
def test_the_newest_date_of_each_volume_is_found_with_its_names(
    dashboard: Dashboard, database: Database
) -> None:
    for day in (YESTERDAY, DAY):
        store_usage(database, day, used_bytes=day.day * GIB, last_modified_days=None, warning=3)
    store_usage(database, YESTERDAY, OTHER, used_bytes=5)
    rows = dashboard.ask(
        "select scratch_disk, group_name, pi_name, used, quota, last_modified, archived, "
        "is_humgen, warning, record_date from lustre_usage "
        "join volume using (volume_id) join unix_group on unix_id = group_id "
        "left join pi using (pi_id) join warning using (warning_id) "
        "where (record_date, volume_id) in "
        "(select max(record_date), volume_id from lustre_usage group by volume_id) "
        "order by scratch_disk"
    )
    quota = 2**31
    assert rows == [
        ("scratch1", "Team1", "Doe", GIB, quota, 0, 0, 1, "Not OK", DAY),
        ("scratch2", "Team1", "Doe", 5, quota, Decimal("0.1"), 0, 1, "Kinda OK", YESTERDAY),
    ]


@on_mariadb
@on_22
def test_history_has_all_days_of_eight_months_and_every_fourth_before(
    dashboard: Dashboard, database: Database
) -> None:
    for day in (*LONG_AGO, YESTERDAY, DAY):
        store_usage(database, day)
    rows = dashboard.ask("select record_date from lustre_usage order by record_date")
    assert rows == [(day,) for day in (*sorted(SHOWN_ALWAYS), YESTERDAY, DAY)]
    assert len(SHOWN_ALWAYS) == 2


@on_mariadb
@on_22
def test_the_newest_day_of_a_volume_in_use_is_always_there(
    dashboard: Dashboard, database: Database
) -> None:
    shown = (
        "select record_date from lustre_usage join volume using (volume_id) "
        "where scratch_disk = 'scratch2'"
    )
    store_usage(database, DAY)
    old = next(day for day in LONG_AGO if day not in SHOWN_ALWAYS)
    store_usage(database, old, OTHER)
    assert dashboard.ask(shown) == [(old,)]
    retire = sql.update(volume).where(volume.c.scratch_disk == OTHER.name)
    database.transaction(lambda connection: connection.execute(retire.values(retired=DAY)))
    store_usage(database, DAY + timedelta(1))
    assert dashboard.ask("select record_date from lustre_usage order by record_date") == [
        (DAY,),
        (DAY + timedelta(1),),
    ]


@on_mariadb
@on_23
def test_history_by_base_directory_has_the_groups_quota_and_warning(
    dashboard: Dashboard, database: Database
) -> None:
    store_usage(database, YESTERDAY, quota_bytes=77, warning=2)
    for day in (YESTERDAY, DAY):  # of the second day the reporter knows nothing
        store_directories(database, day)
    pairs = dashboard.ask("select distinct unix_id, base_directory_id from lustre_usage")
    assert len(pairs) == 1
    rows = dashboard.ask(
        "select used, quota, record_date, warning_id, scratch_disk, directory_path "
        "from lustre_usage join base_directory using (base_directory_id) "
        "join volume using (volume_id) "
        f"where (unix_id, base_directory_id) in ({pairs[0]}) "
        f"and record_date > '{DAY}' - interval 8 month order by record_date"
    )
    path = "/lustre/scratch1/projects/alpha1"
    assert rows == [
        (2**20, 77, YESTERDAY, 2, "scratch1", path),
        (2**20, None, DAY, 1, "scratch1", path),
    ]


@on_mariadb
@on_22
def test_directories_of_a_group_come_with_their_file_types(
    dashboard: Dashboard, database: Database
) -> None:
    for day in (YESTERDAY, DAY):  # only the newest are seen
        store_directories(database, day)
    rows = dashboard.ask(
        "select project_name, directory_path, directory.size, cast(last_modified as char), "
        "group_concat(filetype_name order by filetype_name separator ',') "
        "from directory left join file_size on file_size.directory_id = directory.directory_id "
        "left join filetype using (filetype_id) where group_id = 1 "
        "group by directory.directory_id order by directory.directory_id"
    )
    assert rows == [
        ("projects/alpha1", "cohort", 3.0, "0.3", "other,VCF"),
        ("projects/alpha1", None, 0.0, "0.0", "BAM,VCF"),
        (None, "-", 0.0, "0.5", "CRAM,VCF"),
    ]


@on_mariadb
@on_23
def test_what_lies_above_base_directories_lies_in_the_volume(
    dashboard: Dashboard, database: Database
) -> None:
    store_directories(database, DAY)
    rows = dashboard.ask(
        "select d.directory_path, b.directory_path from directory d "
        "join base_directory b using (base_directory_id) order by directory_id"
    )
    base = "/lustre/scratch1/projects/alpha1"
    assert rows == [("cohort", base), (".", base), ("-", "/lustre/scratch1")]


@on_mariadb
def test_a_vaults_files_are_found_by_user_group_and_part_of_their_path(
    dashboard: Dashboard, database: Database, generation: Generation
) -> None:
    gone, kept, others = (nights.vault_file(number) for number in (18, 20, 21))
    store_vault(database, YESTERDAY, [gone, kept])
    store_vault(database, DAY, [kept])
    store_vault(database, YESTERDAY, [others], OTHER)

    def found(where: str) -> list[Any]:
        return dashboard.ask(
            "select filepath, record_date, action_name, size, last_modified from vault "
            "join volume using (volume_id) join unix_group using (group_id) "
            "join user using (user_id) join vault_actions using (vault_action_id) "
            f"where {where} order by size"
        )

    assert found("filepath like '%%SAMPLE\\_18/%%'") == [
        (gone.shown, YESTERDAY, "Keep", 18_000, YESTERDAY)
    ]
    newest = "record_date in (select max(record_date) from vault)"
    assert [row[:2] for row in found(newest)] == [(kept.shown, DAY), (others.shown, DAY)]
    assert [row[0] for row in found(f"group_name = 'TEAM{kept.gid}'")] == [kept.shown]
    assert [row[0] for row in found("user_name = 'user22'")] == [others.shown]
    assert found("scratch_disk = 'scratch2'")[0][4] == others.last_modified


@on_mariadb
def test_use_by_user_of_all_volumes_stands_under_the_newest_date(
    dashboard: Dashboard, database: Database, generation: Generation
) -> None:
    store_users(database, YESTERDAY, size=6)
    store_users(database, DAY, size=7)
    store_users(database, YESTERDAY, OTHER, size=8)
    rows = dashboard.ask(
        "select user_name, group_name, scratch_disk, size, last_modified from user_usage "
        "join user using (user_id) join unix_group using (group_id) "
        "join volume using (volume_id) "
        "where record_date in (select max(record_date) from user_usage) order by size"
    )
    assert rows == [
        ("user1", "Team1", "scratch1", 7, DAY),
        ("user1", "Team1", "scratch2", 8, DAY),
    ]


@on_mariadb
@on_22
def test_a_retired_volume_is_joined_with_nothing(
    dashboard: Dashboard, database: Database, mariadb: Mariadb
) -> None:
    store_usage(database, DAY)
    store_usage(database, DAY, OTHER)
    mariadb.execute(
        f"update {dashboard.lurge}.volume set retired = %s where scratch_disk = 'scratch2'", DAY
    )
    assert dashboard.ask("select scratch_disk from lustre_usage join volume using (volume_id)") == [
        ("scratch1",)
    ]


@on_mariadb
@on_22
def test_init_makes_the_views(dashboard: Dashboard, mariadb: Mariadb, tmp_path: Path) -> None:
    site = Site(tmp_path, database=mariadb.url(dashboard.lurge))
    mariadb.execute(f"drop database {dashboard.name}")
    done = site.run("init", "--views", f"weaver22={dashboard.name}")
    assert done.returncode == 0, done.stderr
    assert f"weaver22: 12 views in {dashboard.name}" in done.stdout
    assert dashboard.ask("select * from lustre_usage") == []


@pytest.mark.parametrize(
    ("views", "reason"),
    [
        ("weaver21=there", "weaver22=DATABASE or weaver23=DATABASE"),
        ("weaver22", "weaver22=DATABASE or weaver23=DATABASE"),
        ("weaver22=a.b", "weaver22=DATABASE or weaver23=DATABASE"),
        ("weaver22=there", "SQLite has no views in other databases"),
    ],
)
def test_views_that_cannot_be_are_refused(tmp_path: Path, views: str, reason: str) -> None:
    done = Site(tmp_path).run("init", "--views", views)
    assert done.returncode == 2
    assert reason in done.stderr


@on_mariadb
@on_22
def test_a_database_with_tables_of_its_own_is_refused(
    dashboard: Dashboard, mariadb: Mariadb, connect: Connect
) -> None:
    administrator = Database(mariadb.url(dashboard.lurge))
    with pytest.raises(ViewsUnmakable, match="views are made in a database of their own"):
        administrator.transaction(
            lambda connection: views.make(connection, "weaver22", dashboard.lurge)
        )
    assert administrator.transaction(
        lambda connection: views.make(connection, "weaver22", dashboard.name)
    )
    administrator.close()
