"""A lease is one holder's until the database's clock ends it, and an old token is nobody's."""

import os
import pickle
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import children
import pytest
import sqlalchemy as sql
from servers.databases import Connect, Wired, on_mariadb
from sqlalchemy.engine import Connection

from db import leases
from db.database import Database
from db.dialects import clock
from db.leases import LeaseLost
from db.schema import lease
from lurge_types.config import DatabaseTable
from utils import config

LONG = 3600.0
TAKERS = 8
NAME = "unit/0123456789ab-000001"


def take(
    database: Database, holder: str = "ada", name: str = NAME, seconds: float = LONG
) -> int | None:
    return database.transaction(lambda connection: leases.take(connection, name, holder, seconds))


def renew(database: Database, token: int, seconds: float = LONG) -> bool:
    return database.transaction(lambda connection: leases.renew(connection, NAME, token, seconds))


def release(database: Database, token: int) -> None:
    database.transaction(lambda connection: leases.release(connection, NAME, token))


def check(database: Database, token: int) -> None:
    database.transaction(lambda connection: leases.check(connection, NAME, token))


def who(database: Database) -> str | None:
    holder = database.read(lambda connection: leases.holder(connection, NAME))
    return None if holder is None else holder.who


def expire(database: Database) -> None:
    """Let the time of every lease be over by now."""

    def act(connection: Connection) -> None:
        connection.execute(sql.update(lease).values(expires=clock(connection)))

    database.transaction(act)


def test_a_lease_is_one_holders(database: Database) -> None:
    assert who(database) is None
    assert take(database, "ada") == 1
    assert who(database) == "ada"
    assert take(database, "ben") is None
    assert who(database) == "ada"
    check(database, 1)


def test_leases_of_other_names_are_others(database: Database) -> None:
    assert [take(database, name, name) for name in ("a", "A", "a.")] == [1, 1, 1]


def test_a_holder_who_takes_it_again_gets_a_new_token(database: Database) -> None:
    assert [take(database), take(database)] == [1, 2]
    with pytest.raises(LeaseLost, match="token 1 is no longer the newest"):
        check(database, 1)
    assert not renew(database, 1)
    check(database, 2)


def test_an_expired_lease_is_anybodys_but_no_longer_its_holders(database: Database) -> None:
    take(database)
    expire(database)
    assert who(database) is None
    assert not renew(database, 1)
    with pytest.raises(LeaseLost, match="token 1 has expired"):
        check(database, 1)
    assert take(database, "ben") == 2


def test_a_lease_that_is_kept_up_does_not_expire(database: Database) -> None:
    take(database, seconds=LONG)
    before = database.read(lambda connection: leases.holder(connection, NAME))
    assert renew(database, 1, 2 * LONG)
    after = database.read(lambda connection: leases.holder(connection, NAME))
    assert before
    assert after
    assert after.expires - before.expires >= timedelta(seconds=LONG)


def test_a_lease_that_was_given_back_is_free_and_its_token_used_up(database: Database) -> None:
    take(database)
    release(database, 1)
    assert who(database) is None
    assert not renew(database, 1)
    with pytest.raises(LeaseLost):
        check(database, 1)
    assert take(database, "ben") == 2
    release(database, 1)
    assert who(database) == "ben"


def test_nobody_holds_what_nobody_took(database: Database) -> None:
    assert not renew(database, 0)
    release(database, 0)
    with pytest.raises(LeaseLost):
        check(database, 0)


@pytest.mark.parametrize("name", ["", "a b", "caf\u00e9", "a\n", "x" * 192])
def test_a_name_that_databases_compare_otherwise_is_refused(database: Database, name: str) -> None:
    with pytest.raises(ValueError, match="cannot be a lease"):
        take(database, name=name)


@on_mariadb
def test_the_databases_clock_tells_when_a_lease_ends(database: Database) -> None:
    take(database, seconds=LONG)

    def later(connection: Connection) -> int | None:
        connection.exec_driver_sql(f"SET timestamp = unix_timestamp() + {LONG + 1}")
        try:
            return leases.take(connection, NAME, "ben", LONG)
        finally:
            connection.exec_driver_sql("SET timestamp = DEFAULT")

    assert database.transaction(later) == 2


# Holders that are dead.

HOLD = """
    import sys
    from db import leases

    print(leases.me(3), flush=True)
    sys.stdin.read()
"""


def test_a_process_that_has_ended_loses_its_lease_at_once(database: Database) -> None:
    with subprocess.Popen(
        children.command(HOLD), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        holder = process.stdout.readline().rstrip("\n")
        assert take(database, holder) == 1

        def other(connection: Connection) -> int | None:
            return leases.take(connection, NAME, leases.me(), LONG, dead=leases.is_dead)

        assert database.transaction(other) is None
        process.kill()
        process.wait()
        assert database.transaction(other) == 2
    with pytest.raises(LeaseLost):
        check(database, 1)


def test_of_holders_elsewhere_and_of_other_names_nothing_is_known() -> None:
    host, number, rest = leases.me().rsplit(" ", 3)[0], os.getpid(), "1 0"
    assert leases.is_dead(f"{host} {number} {rest}")
    assert not leases.is_dead(leases.me())
    assert not leases.is_dead(f"else{host} {number} {rest}")
    assert not any(map(leases.is_dead, ("", "ada", f"{host} x {rest}")))


# At once.

TAKE = """
    import pickle, sys
    from db import leases
    from db.database import Database

    print("ready", flush=True)
    url, password, name, number = pickle.load(sys.stdin.buffer)
    database = Database(url, password=password, retry_seconds=60)
    print(database.transaction(lambda c: leases.take(c, name, f"taker {number}", 3600)))
    database.close()
"""


@contextmanager
def takers(table: DatabaseTable, count: int) -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Processes that take a lease at the same moment."""
    started = [
        subprocess.Popen(children.command(TAKE), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(count)
    ]
    try:
        for process in started:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for number, process in enumerate(started):
            assert process.stdin
            process.stdin.write(pickle.dumps((table.url, config.password(table), NAME, number)))
            process.stdin.close()
            process.stdin = None
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_of_processes_that_take_a_new_lease_at_once_one_gets_it(
    table: DatabaseTable, database: Database
) -> None:
    with takers(table, TAKERS) as processes:
        told = [process.communicate(timeout=60)[0].strip() for process in processes]
        assert [process.returncode for process in processes] == [0] * TAKERS
    assert sorted(told) == [b"1", *[b"None"] * (TAKERS - 1)]
    assert who(database) == f"taker {told.index(b'1')}"


def test_of_threads_that_take_an_expired_lease_at_once_one_gets_it_each_time(
    table: DatabaseTable, database: Database, connect: Connect
) -> None:
    rounds = 5
    start = threading.Barrier(TAKERS + 1)
    told: list[int] = []

    def race(number: int) -> None:
        mine = connect(table, retry_seconds=60)
        for _ in range(rounds):
            start.wait(60)
            token = take(mine, f"taker {number}")
            if token is not None:
                told.append(token)
            start.wait(60)

    threads = [threading.Thread(target=race, args=[number]) for number in range(TAKERS)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        expire(database)
        start.wait(60)
        start.wait(60)
    for thread in threads:
        thread.join()
    assert told == list(range(1, rounds + 1))


def test_a_lease_that_was_checked_is_not_taken_before_the_commit(
    table: DatabaseTable, database: Database, connect: Connect
) -> None:
    take(database)
    done = threading.Event()
    seen: list[tuple[int | None, str | None]] = []

    def other() -> None:
        def act(connection: Connection) -> tuple[int | None, str | None]:
            token = leases.take(connection, NAME, "ben", LONG, dead=lambda _: True)
            marked = connection.scalar(sql.select(lease.c.holder).where(lease.c.name == "mark"))
            return token, marked

        seen.append(connect(table, retry_seconds=60).transaction(act))
        done.set()

    thread = threading.Thread(target=other)

    def act(connection: Connection) -> None:
        leases.check(connection, NAME, 1)
        thread.start()
        done.wait(0.3)  # who does not wait for the commit has the time to come first
        leases.take(connection, "mark", "written under token 1", LONG)

    database.transaction(act)
    thread.join()
    assert seen == [(2, "written under token 1")]


@on_mariadb
def test_a_take_whose_answer_was_lost_is_made_again(
    wired: Wired, database: Database, connect: Connect
) -> None:
    mine = connect(wired.table)
    wired.wire.cut_behind(b"UPDATE lease", b"COMMIT")
    assert take(mine) == 2
    assert wired.wire.happened.is_set()
    check(database, 2)
