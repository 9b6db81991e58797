"""What follows each night: who is gone is marked, and a directory that is down marks nobody."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import date, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import pytest
import sqlalchemy as sql
from dump import dump
from servers.databases import Connect, Place, on_mariadb, on_sqlite
from servers.nights import DAY
from servers.openldap import Openldap
from site_of_tests import TODAY, Site, entries, entry
from sqlalchemy.engine import Connection

import manager
from db import names as db_names
from db import upkeep
from db.database import Database
from db.schema import unix_group
from db.upkeep import Kind
from lurge import nightly
from lurge.upkeep import after_night
from lurge_types.config import Config, DatabaseTable
from lurge_types.names import Group, User
from lurge_types.reports import Outcome
from utils.config import read
from utils.names import FileNames, SystemNames

NEXT = DAY + timedelta(days=1)

Known = Mapping[int, str]


class Office:
    """A directory in two files, and a database of nights that have met whom it knows."""

    def __init__(self, folder: Path, database: Database, **config: Any) -> None:
        self._folder = folder
        self._database = database
        self.config = Config.model_validate(
            {
                "names": {"source": "files", "group_file": "group", "user_file": "passwd"},
                **config,
            },
            context={"folder": folder},
        )

    def knows(self, groups: Known, users: Known) -> FileNames:
        lines = "".join(f"{name}:x:{gid}:\n" for gid, name in groups.items())
        (self._folder / "group").write_text(lines, "utf-8")
        lines = "".join(f"{name}:x:{uid}:1::/:/bin/sh\n" for uid, name in users.items())
        (self._folder / "passwd").write_text(lines, "utf-8")
        user_file = self.config.names.user_file
        return FileNames(self._folder / "group", user_file)

    def night(
        self,
        groups: Known,
        users: Known | None = None,
        day: date = DAY,
        met: tuple[int, ...] = (),
    ) -> list[Outcome]:
        """A night that meets some numbers, and what follows it."""
        names = self.knows(groups, users or {})

        def meet(connection: Connection) -> None:
            db_names.group_ids(connection, names.groups(met).values())
            db_names.user_ids(connection, names.users(met).values())

        self._database.transaction(meet)
        found = after_night(self.config, self._database, names, day)
        return [result.outcome for result in found]

    def absent(self, kind: Kind = "group") -> dict[int, date]:
        rows = self._database.transaction(partial(upkeep.met, kind=kind))
        return {row.number: row.absent_since for row in rows if row.absent_since}


@pytest.fixture
def office(tmp_path: Path, database: Database) -> Office:
    return Office(tmp_path, database)


ALL = {2001: "ann", 2002: "bob", 2003: "cy"}
NUMBERS = tuple(ALL)


def without(*numbers: int) -> Known:
    return {number: name for number, name in ALL.items() if number not in numbers}


def test_a_night_in_which_nobody_goes_says_nothing(office: Office) -> None:
    assert office.night({}) == []
    assert office.night(ALL, ALL, met=NUMBERS) == []
    assert office.night(ALL, ALL, NEXT, met=(2001,)) == []
    assert (office.absent("group"), office.absent("user")) == ({}, {})


def test_who_goes_is_told_once_and_stays_absent_since_that_day(office: Office) -> None:
    office.night(ALL, ALL, met=NUMBERS)
    (told,) = office.night(without(2002), without(2001, 2003))
    assert (told.report, told.volume, told.status, told.rows) == ("upkeep", "-", "written", 3)
    assert told.remarks == (
        f"names.source = files does not know a group any more, absent since {DAY}: bob",
        f"names.source = files does not know 2 users any more, absent since {DAY}: ann, cy",
    )
    assert office.night(without(2002), without(2001, 2003), NEXT) == []
    assert office.absent("group") == {2002: DAY}
    assert office.absent("user") == {2001: DAY, 2003: DAY}
    (told,) = office.night(without(2001, 2002), without(2001, 2003), NEXT)
    assert told.rows == 1
    assert office.absent("group") == {2001: NEXT, 2002: DAY}


def test_who_comes_back_is_absent_no_more(office: Office) -> None:
    office.night(ALL, ALL, met=NUMBERS)
    office.night(without(2002, 2003), without(2002))
    assert office.night(without(2003), ALL, NEXT) == []
    assert (office.absent("group"), office.absent("user")) == ({2003: DAY}, {})


def test_who_is_renamed_is_there(office: Office) -> None:
    office.night(ALL, ALL, met=NUMBERS)
    renamed = {2001: "anna", 2002: "bob", 2003: "cy"}
    assert office.night(renamed, renamed) == []
    assert office.absent() == {}


def test_a_number_that_nobody_ever_knew_is_not_missed(office: Office) -> None:
    office.night(ALL, ALL, met=(*NUMBERS, 4000))
    assert office.night(ALL, ALL, NEXT) == []
    assert office.night({}, {}, NEXT)[0].rows == 0
    assert office.absent() == {}


def test_a_second_number_of_a_name_is_missed_like_the_first(office: Office) -> None:
    office.night({2001: "ann", 2002: "ann", 2003: "cy"}, ALL, met=NUMBERS)
    (told,) = office.night({2001: "ann", 2003: "cy"}, ALL)
    assert told.remarks[0].endswith(f"absent since {DAY}: ann (gid:2002)")


def test_of_many_the_first_three_are_named(office: Office) -> None:
    many = {gid: f"team{gid}" for gid in range(2000, 4000)}
    office.night(many, ALL, met=tuple(many))
    (told,) = office.night({gid: name for gid, name in many.items() if gid >= 3000}, ALL)
    assert told.remarks == (
        f"names.source = files does not know 1,000 groups any more, absent since {DAY}: "
        "team2000, team2001, team2002, ...",
    )
    assert (told.rows, len(office.absent())) == (1000, 1000)


def test_an_empty_directory_is_told_every_night_and_marks_nobody(office: Office) -> None:
    office.night(ALL, ALL, met=NUMBERS)
    for day in (DAY, NEXT):
        (told,) = office.night({}, ALL, day)
        assert (told.status, told.rows) == ("skipped", 0)
        assert told.remarks == (
            "names.source = files does not know 3 of 3 groups that tell whether it is whole: "
            "nobody is marked as absent; see whether it is down or lacks a part",
        )
    (told,) = office.night({9: "other"}, without(2001))
    assert told.status == "written"
    assert ["3 of 3 groups" in remark for remark in told.remarks] == [True, False]
    assert (office.absent("group"), office.absent("user")) == ({}, {2001: DAY})


def test_what_a_machine_knows_by_itself_does_not_speak_for_its_directory(office: Office) -> None:
    own = {0: "root", 100: "users", 65_534: "nogroup"}
    office.night(ALL | own, ALL, met=(*NUMBERS, *own))
    (told,) = office.night(own, ALL)
    assert told.status == "skipped"
    assert "3 of 3 groups" in told.remarks[0]
    assert office.absent() == {}
    (told,) = office.night({2001: "ann", 0: "root"}, ALL)
    assert sorted(office.absent()) == [100, 2002, 2003, 65_534]


MANY = {0: "root"} | {number: f"name{number}" for number in range(1000, 1020)}
"""A machine's own, the first account of its own too, and those of a directory: 20 tell."""


def last(count: int) -> Known:
    """Root and the last ones of many."""
    return {number: name for number, name in MANY.items() if number == 0 or number >= 1020 - count}


@pytest.mark.parametrize("left", [{0: "root", 1000: "admin"}, last(9)])
def test_a_directory_that_is_down_or_halved_marks_nobody(office: Office, left: Known) -> None:
    office.night(MANY, MANY, met=tuple(MANY))
    missing = len(MANY) - len(left)
    for day in (DAY, NEXT):
        (told,) = office.night(left, left, day)
        assert (told.status, told.rows) == ("skipped", 0)
        assert [remark.partition(":")[0] for remark in told.remarks] == [
            f"names.source = files does not know {missing} of 20 {kind}s that tell whether it is "
            "whole"
            for kind in ("group", "user")
        ]
    assert (office.absent("group"), office.absent("user")) == ({}, {})
    assert office.night(MANY, MANY, NEXT) == []


def test_half_of_many_may_go_in_a_night_and_then_half_of_the_others(office: Office) -> None:
    office.night(MANY, MANY, met=tuple(MANY))
    assert office.night(last(10), MANY)[0].rows == 10
    # Of 10 that are left all but one go: few.
    assert office.night(last(1), MANY, NEXT)[0].rows == 9
    absent = office.absent()
    assert [absent[number] for number in range(1000, 1019)] == [DAY] * 10 + [NEXT] * 9
    assert "1 of 1 groups" in office.night({0: "root"}, MANY, NEXT)[0].remarks[0]


def test_who_has_gone_before_does_not_count_for_a_directory(office: Office) -> None:
    many = {number: f"name{number}" for number in range(2000, 2060)}
    office.night(many, ALL, met=tuple(many))
    for first in (2020, 2036):  # so 24 are left
        (told,) = office.night({gid: name for gid, name in many.items() if gid >= first}, ALL)
    assert told.status == "written"
    (told,) = office.night({gid: name for gid, name in many.items() if gid >= 2049}, ALL)
    assert "13 of 24 groups" in told.remarks[0]
    assert len(office.absent()) == 36


def test_where_all_are_a_machines_own_they_are_judged_by_themselves(office: Office) -> None:
    own = {0: "root", 100: "users"}
    office.night(own, own, met=(0, 100))
    assert office.night({}, own)[0].status == "skipped"
    assert office.night({0: "root"}, own)[0].status == "written"
    assert office.absent() == {100: DAY}


PSEUDO = {"pseudo_groups": {"/lustre/x": {"name": "common", "gid": 2009}}}


def test_pseudo_groups_are_never_absent_and_say_nothing_of_the_others(
    tmp_path: Path, database: Database
) -> None:
    office = Office(tmp_path, database, **PSEUDO)
    office.night({**ALL, 2009: "common"}, ALL, met=(*NUMBERS, 2009))
    assert office.night(ALL, ALL) == []
    assert "3 of 3 groups" in office.night({}, ALL)[0].remarks[0]
    assert office.absent() == {}
    plain = Office(tmp_path, database)
    assert plain.night(ALL, ALL)[0].rows == 1
    assert plain.absent() == {2009: DAY}
    assert office.night(ALL, ALL) == []
    assert office.absent() == {}


def test_without_a_file_of_users_none_is_missed(tmp_path: Path, database: Database) -> None:
    Office(tmp_path, database).night(ALL, ALL, met=NUMBERS)
    no_users = {"source": "files", "group_file": "group"}
    office = Office(tmp_path, database, names=no_users)
    assert office.night(ALL) == []
    assert office.night(without(2001))[0].rows == 1
    assert office.absent("user") == {}


def test_whoever_was_imported_by_name_alone_is_left_as_the_import_has_it(
    office: Office, database: Database
) -> None:
    imported = [
        {"gid": -1, "group_name": "old", "is_humgen": False, "absent_since": DAY},
        {"gid": -2, "group_name": "older", "is_humgen": False, "absent_since": None},
    ]
    rows = sql.select(unix_group.c.absent_since).where(unix_group.c.gid < 0)
    database.transaction(lambda connection: connection.execute(sql.insert(unix_group), imported))
    office.night(ALL, ALL, met=NUMBERS)
    assert office.night(without(2001), ALL)[0].rows == 1
    found = database.transaction(lambda connection: list(connection.scalars(rows)))
    assert sorted(map(str, found)) == [str(DAY), "None"]


def test_hostile_names_are_told_as_they_are(office: Office) -> None:
    odd = {2001: "[bold]x'; drop table user;", 2002: "%s", 2003: "\u202e"}
    office.night(odd, ALL, met=NUMBERS)
    (told,) = office.night({2003: "\u202e"}, ALL)
    assert told.remarks[0].endswith(": [bold]x'; drop table user;, %s")


def test_this_machines_names_are_known_and_others_are_gone(
    tmp_path: Path, database: Database
) -> None:
    office = Office(tmp_path, database, names={"source": "system"})
    gone = Group(2_999_999_999, "team"), User(2_999_999_999, "ann")
    known = SystemNames().groups([0])[0], SystemNames().users([0])[0]

    def meet(connection: Connection) -> None:
        db_names.group_ids(connection, [known[0], gone[0]])
        db_names.user_ids(connection, [known[1], gone[1]])

    database.transaction(meet)
    (told,) = (
        result.outcome for result in after_night(office.config, database, SystemNames(), DAY)
    )
    # All whom only a directory may know are gone: it may be down.
    assert told.status == "skipped"
    assert len(told.remarks) == 2
    assert office.absent() == {}


@on_mariadb
def test_a_user_without_rights_is_told_as_a_failure(
    tmp_path: Path, place: Place, connect: Connect
) -> None:
    office = Office(tmp_path, connect(place.table))  # there are no tables
    (told,) = (
        result.outcome
        for result in after_night(office.config, connect(place.table), office.knows({}, {}), DAY)
    )
    assert told.status == "failed"
    assert told.reason
    assert "doesn't exist" in told.reason


# With nights that are run.


VOLUMES = "".join(
    f'[[volume]]\nname = "{name}"\nmount = "/lustre/{name}"\n' for name in ("s2", "s1")
)
NAMES = '[names]\nsource = "files"\ngroup_file = "group"\nuser_file = "passwd"\n'


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    """Two volumes, s1 the last of which is configured, and names of three groups and users."""
    (tmp_path / "group").write_text("".join(f"team{gid}:x:{gid}:\n" for gid in range(3000, 3003)))
    (tmp_path / "passwd").write_text("".join(f"user{uid}:x:{uid}:1::/:\n" for uid in range(3)))
    site = Site(
        tmp_path,
        NAMES + VOLUMES,
        database=table.url,
        password_file=table.password_file,
        retry_seconds=10,
    )
    for name in ("s1", "s2"):
        site.add_scan(entries(60, groups=3, mount=f"/lustre/{name}"), f"/lustre/{name}")
    return site


class Night(Protocol):
    """Runs a command at a site: its exit status, what it prints, and its log."""

    def __call__(self, *arguments: object) -> tuple[int, str, str]: ...


@pytest.fixture
def night(site: Site, capsys: pytest.CaptureFixture[str]) -> Night:
    def night(*arguments: object) -> tuple[int, str, str]:
        config = site.write_config()
        status = manager.main([*map(str, arguments), "--config", str(config)])
        return status, *capsys.readouterr()

    return night


def outcomes(night: Night, *arguments: object) -> list[tuple[str, str, str]]:
    """The volume, report and status of each outcome, sorted."""
    _, out, _ = night(*arguments, "--json")
    told = map(json.loads, out.splitlines())
    return sorted((each["volume"], each["report"], each["status"]) for each in told)


def absent(table: DatabaseTable, name: str) -> list[date | None]:
    """Since when the groups or users are absent, in the order of their numbers."""
    return [row[-1] for row in sorted(dump(table)[name], key=lambda row: row[0])]


def test_a_night_expects_nothing_of_a_volume_that_has_retired(
    site: Site, night: Night, table: DatabaseTable
) -> None:
    written = [(name, "users", "written") for name in ("s1", "s2")]
    assert outcomes(night, "users") == written
    before = dump(table)
    site.config += f'retired = {TODAY}\nsuccessor = "s2"\n'
    assert outcomes(night, "users", "--dry-run") == [("s2", "users", "read")]
    assert dump(table) == before
    next(site.wrstat.glob("*s1/stats.gz")).unlink()
    # A folder of group files needs every volume: but not this one.
    status, _, log = night("users", "splitter", "--all")
    assert status == 0, log
    after = dump(table)
    assert [row[-2:] for row in after["volume"]] == [("/lustre/s1", TODAY), ("/lustre/s2", None)]
    assert after["user_usage"] == before["user_usage"]


def test_a_retired_volume_that_is_named_or_asked_for_by_an_older_day_is_looked_for(
    site: Site,
) -> None:
    site.config += f"retired = {TODAY}\n"
    config = read(site.write_config())

    def volumes(*names: str, day: date | None = None) -> list[str]:
        return [each.volume.name for each in nightly.wanted(config, names, day, TODAY)]

    assert volumes() == volumes(day=TODAY) == ["s2"]
    assert volumes("s1") == volumes("s1", day=TODAY) == ["s1"]
    assert volumes(day=TODAY - timedelta(days=1)) == ["s2", "s1"]


def test_a_site_of_which_all_has_retired_is_told(site: Site, night: Night) -> None:
    site.config = site.config.replace('s2"\n[', f's2"\nretired = {TODAY}\n[')
    site.config += f"retired = {TODAY}\n"
    status, _, log = night("reporter", "splitter")
    assert status == 3
    assert f"every [[volume]] has retired by {TODAY}: add one that has not" in log


def test_a_night_tells_who_is_gone_in_its_log_its_table_and_json(
    site: Site, night: Night, table: DatabaseTable
) -> None:
    assert night("reporter")[0] == 0
    assert absent(table, "unix_group") == [None] * 3
    (site.folder / "group").write_text("team3000:x:3000:\nteam3001:x:3001:\n")
    dry = outcomes(night, "reporter", "--dry-run")
    assert [report for _, report, _ in dry] == ["reporter"] * 2
    assert ("-", "upkeep", "written") in outcomes(night, "reporter")
    assert absent(table, "unix_group") == [None, None, TODAY]
    (site.folder / "group").write_text("team3000:x:3000:\n")
    status, out, log = night("reporter")
    words = f"names.source = files does not know a group any more, absent since {TODAY}: team3001"
    assert status == 0
    assert words in " ".join(out.split())
    assert words in next(line for line in log.splitlines() if "report=upkeep" in line)
    assert "upkeep" not in "".join(night("reporter")[1:])


@on_sqlite
def test_old_days_are_followed_once_and_of_no_day(
    site: Site, night: Night, table: DatabaseTable
) -> None:
    first = TODAY - timedelta(days=1)
    for name in ("s1", "s2"):
        mount = f"/lustre/{name}"
        site.add_scan(entries(30, groups=3, mount=mount), mount, day=first)
    night("reporter")
    (site.folder / "group").write_text("team3000:x:3000:\n")
    assert "upkeep" not in night("reporter", "--from", first, "--dry-run")[1]
    status, out, log = night("reporter", "--from", first)
    assert status == 0, log
    (told,) = (line.split() for line in out.splitlines() if "upkeep" in line)
    assert told[:3] == ["-", "upkeep", "-"]
    assert log.count("report=upkeep") == 1
    days = [line.split()[0] for line in out.splitlines() if line.startswith(f"{TODAY.year}-")]
    assert days == [str(first), str(TODAY)]
    assert absent(table, "unix_group") == [None, TODAY, TODAY]


@on_sqlite
def test_what_cannot_be_stored_is_a_failure_of_the_night(site: Site, night: Night) -> None:
    assert night("reporter")[0] == 0
    with sqlite3.connect(site.folder / "lurge.db") as database:
        database.execute(
            "create trigger t before update on volume begin select raise(abort, 'not now'); end"
        )
    site.config += f"retired = {TODAY + timedelta(days=1)}\n"
    for old_days in ((), ("--from", TODAY)):
        status, out, log = night("reporter", *old_days)
        assert status == 1
        assert "upkeep" in out
        assert "not now" in next(line for line in log.splitlines() if "event=failed" in line)


# With a directory.


LDAP = """
[names]
source = "ldap"
[names.ldap]
url = "{url}"
group_base = "{branch}"
people_base = "{branch}"
retry_seconds = 0
"""


def group(gid: int) -> str:
    return f"dn: cn=team{gid},BRANCH\nobjectClass: posixGroup\ncn: team{gid}\ngidNumber: {gid}\n\n"


def person(uid: int) -> str:
    return (
        f"dn: uid=user{uid},BRANCH\nobjectClass: account\nobjectClass: posixAccount\n"
        f"uid: user{uid}\ncn: U\nuidNumber: {uid}\ngidNumber: 1\nhomeDirectory: /\n\n"
    )


@pytest.fixture
def ldap(openldap: Openldap) -> Callable[[str], str]:
    """The configuration of names in a branch with some entries."""

    def ldap(entries: str) -> str:
        openldap.start()
        return LDAP.format(url=openldap.url, branch=openldap.branch(entries))

    return ldap


@on_sqlite
def test_who_goes_from_an_ldap_directory_is_absent(
    site: Site,
    night: Night,
    table: DatabaseTable,
    ldap: Callable[[str], str],
    openldap: Openldap,
) -> None:
    yesterday = TODAY - timedelta(days=1)
    lines = [entry(f"/lustre/s1/{n}", gid=3000 + n, uid=4000 + n, inode=n) for n in range(3)]
    site.add_scan(lines, day=yesterday)
    asked = ("users", "--volume", "s1", "--date", yesterday)
    everybody = [*map(group, range(3000, 3003)), *map(person, range(4000, 4003))]
    site.config = VOLUMES + ldap("".join(everybody))
    assert night(*asked)[0] == 0
    site.config = VOLUMES + ldap("".join(everybody[1:-1]))
    _, out, _ = night(*asked, "--json")
    assert json.loads(out.splitlines()[-1])["remarks"] == [
        f"names.source = ldap does not know a group any more, absent since {TODAY}: team3000",
        f"names.source = ldap does not know a user any more, absent since {TODAY}: user4002",
    ]
    site.config = VOLUMES + ldap("".join(everybody[1:]))
    openldap.kill()
    assert night(*asked)[0] == 3
    assert absent(table, "user") == [None, None, TODAY]
    openldap.start()
    assert "upkeep" not in night(*asked)[1]
    assert absent(table, "user") == [None] * 3
    assert absent(table, "unix_group") == [TODAY, None, None]
