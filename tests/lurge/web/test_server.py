"""The server as it is run: it starts, stops and goes on whatever the database does."""

import json
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, on_mariadb, on_sqlite
from servers.mariadb import Mariadb
from servers.nights import VOLUME
from servers.openldap import Openldap
from serving_of_tests import ANYWHERE, Serving, serving
from site_of_tests import Site

from db import directories, usage
from db.database import Database
from lurge_types.config import DatabaseTable


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    return Site(tmp_path, config=ANYWHERE, database=table.url, password_file=table.password_file)


def store(database: Database, used_bytes: int, *, replace: bool = False) -> None:
    rows = nights.rows(40, used_bytes=used_bytes)
    usage.store(database, nights.run(), VOLUME, rows, replace=replace)


def eventually(
    serving: Serving, path: str, status: int, headers: Mapping[str, str] | None = None
) -> str:
    """The page, when it has come to a status."""
    for _ in range(300):
        got, text = serving.get(path, headers)
        if got == status:
            return text
        time.sleep(0.1)
    raise AssertionError(f"{path} stays at {got}: {text}")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_told_to_stop(
    site: Site, database: Database, number: signal.Signals
) -> None:
    store(database, 5 * 2**30)
    with serving(site) as served:
        assert "5.0 GiB" in served.get("/")[1]
        assert served.get("/nothing")[0] == 404
        status, log = served.stop(number)
    assert status == 0
    assert len(re.findall(r"event=request .*status=(200|404)", log)) == 2


def test_a_user_who_may_only_read_is_enough(
    site: Site, database: Database, place: Place, mariadb: Mariadb
) -> None:
    store(database, 2**30)
    if place.table.url.startswith("mysql"):
        name = place.table.url.rpartition("/")[2].partition("?")[0]
        mariadb.execute(f"REVOKE INSERT, UPDATE, DELETE ON {name}.* FROM {name}_user@127.0.0.1")
    with serving(site) as served:
        assert "1.0 GiB" in served.get("/")[1]


@on_mariadb
def test_pages_say_that_the_database_is_down_and_recover_by_themselves(
    site: Site, database: Database, mariadb: Mariadb
) -> None:
    store(database, 2**30)
    with serving(site) as served:
        assert served.get("/")[0] == 200
        mariadb.kill()
        assert "The database does not answer" in eventually(served, "/", 503)
        status, told = served.get("/api/groups")
        assert status == 503
        assert "The database does not answer" in json.loads(told)["error"]
        mariadb.start()
        assert "1.0 GiB" in eventually(served, "/", 200)
        status, log = served.stop()
    assert status == 0
    assert "event=away" in log
    assert "see that it is there" in log


@on_mariadb
def test_it_starts_while_the_database_is_down(
    site: Site, database: Database, mariadb: Mariadb
) -> None:
    store(database, 2**30)
    mariadb.kill()
    with serving(site) as served:
        assert served.get("/")[0] == 503
        mariadb.start()
        assert "1.0 GiB" in eventually(served, "/", 200)


def test_without_its_tables_it_does_not_start(tmp_path: Path, place: Place) -> None:
    site = Site(
        tmp_path,
        config=ANYWHERE,
        database=place.table.url,
        password_file=place.table.password_file,
    )
    done = site.run("serve")
    assert done.returncode == 3
    assert "has schema version 0" in done.stderr


def test_an_address_that_is_taken_is_told(site: Site, database: Database) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        site.config = f'[serve]\nlisten = "127.0.0.1:{port}"\n'
        done = site.run("serve")
    assert done.returncode == 2
    assert f"serve.listen: 127.0.0.1:{port}: Address already in use" in done.stderr


@on_mariadb
def test_a_page_that_is_being_made_is_sent_before_it_stops(
    site: Site, database: Database, place: Place, mariadb: Mariadb
) -> None:
    store(database, 2**30)
    name = sql.make_url(place.table.url).database
    with serving(site) as served, ThreadPoolExecutor() as others:
        with mariadb.administrator() as connection:
            connection.exec_driver_sql(f"LOCK TABLES {name}.report_run WRITE")
            asked = others.submit(served.get, "/groups.csv")
            wait_until(lambda: waits(mariadb))
            stopped = others.submit(served.stop)
            wait_until(lambda: not listens(served))
            connection.exec_driver_sql("UNLOCK TABLES")
        status, text = asked.result(60)
        assert status == 200
        assert text.count("team") == 40
        status, log = stopped.result(60)
    assert status == 0
    assert "Traceback" not in log


def waits(server: Mariadb) -> bool:
    """Whether a statement waits for a table."""
    return any("metadata lock" in str(row) for row in server.execute("SHOW PROCESSLIST"))


def listens(served: Serving) -> bool:
    host, _, port = served.host.rpartition(":")
    with suppress(ConnectionRefusedError), socket.create_connection((host, int(port))):
        return True
    return False


def wait_until(happens: Callable[[], bool]) -> None:
    for _ in range(1200):
        if happens():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within a minute")


PEOPLE = """dn: uid=jane,BRANCH
objectClass: account
objectClass: posixAccount
uid: jane
cn: jane
uidNumber: 7
gidNumber: 2
homeDirectory: /

dn: cn=first,BRANCH
objectClass: posixGroup
cn: first
gidNumber: 1
memberUid: jane

dn: cn=third,BRANCH
objectClass: posixGroup
cn: third
gidNumber: 3
memberUid: joe
"""


@on_sqlite
def test_an_ldap_directory_tells_whose_rows_somebody_sees(
    site: Site, database: Database, openldap: Openldap
) -> None:
    openldap.start()
    base = openldap.branch(PEOPLE)
    site.config = (
        '[serve]\nlisten = "127.0.0.1:0"\nauth = "proxy"\nproxies = ["127.0.0.1"]\n'
        f'remember_seconds = 0\n[names]\nsource = "ldap"\n[names.ldap]\nurl = "{openldap.url}"\n'
        f'group_base = "{base}"\npeople_base = "{base}"\n'
    )
    store(database, 2**30)
    jane = {"X-Remote-User": "jane"}
    with serving(site) as served:
        status, text = served.get("/api/groups?sort=gid", jane)
        assert status == 200
        assert [row["gid"] for row in json.loads(text)["rows"]] == [1, 2]
        assert served.get("/api/groups", {"X-Remote-User": "nobody"})[0] == 403
        openldap.kill()
        status, text = served.get("/", jane)
        assert status == 503
        assert "team1" not in text
        openldap.start()
        assert "team1" in eventually(served, "/", 200, jane)


def test_a_host_that_nobody_knows_is_told(site: Site, database: Database) -> None:
    site.config = '[serve]\nlisten = "nosuch.invalid:80"\nauth = "proxy"\nproxies = ["127.0.0.1"]\n'
    done = site.run("serve")
    assert done.returncode == 2
    assert "serve.listen: nosuch.invalid:80: " in done.stderr


def test_pages_show_the_old_or_the_new_rows_while_a_night_replaces_them(
    site: Site, database: Database, place: Place, connect: Connect
) -> None:
    store(database, 2**30)
    ended = threading.Event()

    def replace() -> None:
        another = connect(place.table)
        for number in range(2, 40):
            store(another, number * 2**30, replace=True)
        ended.set()

    with serving(site) as served:
        writer = threading.Thread(target=replace)
        writer.start()
        seen: set[int] = set()
        while not ended.is_set():
            status, text = served.get("/api/groups")
            assert status == 200, text
            answer = json.loads(text)
            [one] = {row["used_bytes"] for row in answer["rows"]}
            assert answer["total"] == 40
            seen.add(one)
        writer.join()
    assert len(seen) > 1


def store_directories(database: Database, size: int) -> None:
    """Twenty directories of one size, in place of those that were there."""
    group, base = nights.group(1), nights.base(1)
    rows = [nights.directory(number, group, base, size_bytes=size) for number in range(20)]
    run = nights.run(report="inspector")
    filling = directories.begin(
        database, run, VOLUME, len(rows), replace=True, file_types=("A", "B", "C")
    )
    filling.add(rows[:10], {1: group})
    filling.add(rows[10:], {1: group})
    filling.finish(lambda: [[]], {1: group})
    directories.sweep(database, "inspector", VOLUME.name)


def test_sums_of_directories_are_those_of_the_old_or_of_the_new_rows(
    site: Site, database: Database, place: Place, connect: Connect
) -> None:
    store_directories(database, 1)
    ended = threading.Event()

    def replace() -> None:
        another = connect(place.table)
        for size in range(2, 12):
            store_directories(another, size)
        ended.set()

    with serving(site) as served:
        writer = threading.Thread(target=replace)
        writer.start()
        seen: set[int] = set()
        while not ended.is_set():
            [base] = json.loads(served.get("/api/directories/scratch1/base_directories")[1])["rows"]
            below = f"/api/directories/scratch1/{base['base_directory_id']}/subdirectories"
            status, text = served.get(below)
            assert status == 200, text
            answer = json.loads(text)
            [size] = {row["size_bytes"] for row in answer["rows"]}
            assert answer["total"] == 20
            assert base["size_bytes"] % 20 == 0
            seen |= {size, base["size_bytes"] // 20}
        writer.join()
    assert seen <= set(range(1, 12))
    assert len(seen) > 1
