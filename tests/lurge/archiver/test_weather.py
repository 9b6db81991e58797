"""Whatever servers and disks do to a unit on its way, nothing is lost, and the next run ends it."""

import hashlib
import json
import os
import random
import shutil
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from itertools import count, product
from pathlib import Path
from typing import Any

import archive_oracle as oracle
import matrix
import pytest
import sqlalchemy as sql
import weather
from archive_oracle import FolderShelf
from matrix import Crew
from reliability import ANY
from servers.databases import Connect, Place, Tables, Wired, on_mariadb
from servers.disks import quota_disk, small_disk
from servers.mariadb import Mariadb
from servers.moments import Moment
from servers.swift_s3 import SECRET, WRITER, Swift
from servers.wire import Wire, wire_to
from urllib3.connection import HTTPConnection
from weather import Case, Sky, StoreShelf, Tap

from db.database import Database, DatabaseFailed
from lurge_types.config import ArchiveTable
from lurge_types.targets import CHUNK_BYTES
from utils import config
from utils.durable import NoRoom
from utils.targets import swift_session
from utils.targets.opening import open_target

Cases = Callable[[str, str], None]
SEGMENT_BYTES = 5 << 20
WAITS_SECONDS = 30
KINDS = {"swift": "Swift", "s3": "S3"}


@pytest.fixture
def passed(record_property: Callable[[str, object], None]) -> Cases:
    """Tells the table of a case that has passed."""

    def passed(row: str, column: str) -> None:
        record_property("matrix", (row, column))

    return passed


@pytest.fixture
def local(tmp_path: Path, tables: Tables) -> Iterator[Database]:
    """An SQLite database with its tables."""
    database = Database(f"sqlite:///{shutil.copy(tables.file, tmp_path)}", retry_seconds=2)
    yield database
    database.close()


class Store:
    """A real server with containers for cases, reached by a wire."""

    def __init__(self, folder: Path, server: Swift, client: Any, wire: Wire, local: Database):
        self.server = server
        self.client = client
        self.wire = wire
        self._folder = folder
        self._local = local
        self._numbers = count()

    def urls(self, kind: str, quota_bytes: int | None = None) -> tuple[str, StoreShelf]:
        """A new container as a target, and what is in it."""
        bucket = self.server.make_bucket(quota_bytes)
        return f"{kind}://{bucket}/{weather.PREFIX[:-1]}", StoreShelf(self.client, bucket)

    def case(self, kind: str, **archive: Any) -> Case:
        """A case with a container as its target."""
        url, shelf = self.urls(kind)
        return self._of([url], [shelf], **archive)

    def pair(self, kind: str, quota_bytes: int | None = None) -> Case:
        """A case with two targets: a container by the wire, and one of the other kind without."""
        url, shelf = self.urls(kind, quota_bytes)
        other, well = self.urls("s3" if kind == "swift" else "swift")
        if kind == "swift":
            return self._of([url, other], [shelf, well], endpoint_url=self.server.url)
        os.environ["ST_AUTH"] = f"{self.server.url}/auth/v1.0"  # the test's own
        return self._of([url, other], [shelf, well])

    def _of(self, urls: list[str], shelves: list[StoreShelf], **archive: Any) -> Case:
        return Case(
            self._folder / str(next(self._numbers)),
            self._local,
            shelves,
            **{
                "target": urls,
                "copies": len(urls),
                "endpoint_url": f"http://127.0.0.1:{self.wire.port}",
                "segment_size": SEGMENT_BYTES,
                **archive,
            },
        )


@pytest.fixture
def store(
    tmp_path: Path, swift: Swift, local: Database, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    swift.start()
    with wire_to(swift.port) as wire, swift.client() as client:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER)
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
        monkeypatch.setenv("ST_AUTH", f"http://127.0.0.1:{wire.port}/auth/v1.0")
        monkeypatch.setenv("ST_USER", WRITER)
        monkeypatch.setenv("ST_KEY", SECRET)
        yield Store(tmp_path, swift, client, wire, local)


Peace = tuple[list[Moment], dict[Moment, int]]

in_peace: dict[tuple[str, bool], Peace] = {}
"""What went by wires in peace, by the kind of store, and whether a large file was sent."""


def calm(case: Case, tap: Tap) -> Peace:
    """What goes by a wire in peace, and the sizes of bodies."""
    with tap.on(case):
        case.see_ended(case.apply())
    return list(tap.moments), dict(tap.bodies)


CONTINUES = len(b"HTTP/1.1 100 Continue\r\n\r\n")
"""What comes before the answer, where a client asks whether it may send a body."""


def cut(wire: Wire, how: str, said: bytes) -> None:
    """Let a connection be reset somewhere in a request, or in its answer."""
    begins, size = said.index(b"\r\n\r\n") + 4, weather.length(said)
    match how:
        case "before a request":
            wire.reset_after(sent=0)
        case "at the first byte of a body":
            wire.reset_after(sent=begins + 1)
        case "amid a body":
            wire.reset_after(sent=begins + size // 2)
        case "before the last byte of a body":
            wire.reset_after(sent=begins + size - 1)
        case "at the answer":
            wire.reset_after(answered=CONTINUES if b"100-continue" in said.lower() else 0)
        case _:
            wire.reset_after(answered=size // 2)


Choice = Callable[[list[Moment], dict[Moment, int]], list[Moment]]


def every(moments: list[Moment], _: dict[Moment, int]) -> list[Moment]:
    """The first request of each kind."""
    return weather.of_each(moments)


def largest(call: str) -> Choice:
    """The one with the largest body of each kind, of those with any."""

    def choice(moments: list[Moment], bodies: dict[Moment, int]) -> list[Moment]:
        some = [each for each in moments if each.call == call and bodies[each]]
        return [*{each[:3]: each for each in sorted(some, key=bodies.__getitem__)}.values()]

    return choice


CUTS: dict[str, Choice] = {
    "before a request": every,
    "at the first byte of a body": largest("PUT"),
    "amid a body": largest("PUT"),
    "before the last byte of a body": largest("PUT"),
    "at the answer": every,
    "amid the body of an answer": largest("GET"),
}


@pytest.mark.parametrize("how", CUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_connection_to_a_store_that_is_reset_is_made_again(
    store: Store, passed: Cases, kind: str, how: str
) -> None:
    tap = Tap(store.wire, weather.request)
    for large in (False, True):
        if (kind, large) not in in_peace:
            in_peace[kind, large] = calm(store.case(kind, large=large), tap)
        chosen = CUTS[how](*in_peace[kind, large])
        for moment in [each for each in chosen if large == (each.area == "a part")]:
            case = store.case(kind, large=large)
            with tap.on(case, moment, lambda said: cut(store.wire, how, said)):
                unit = case.apply()
            assert store.wire.happened.is_set()
            store.wire.happened.clear()
            case.end(unit)
            passed(moment.step, f"{KINDS[kind]}: reset {how}")


# The database.


@pytest.fixture
def remote(mariadb: Mariadb, place: Place, tables: Tables) -> Iterator[Wired]:
    """A MariaDB by a wire, with its tables."""
    tables.make(place.admin)
    with wire_to(mariadb.port) as wire:
        table = place.table.model_copy(update={"url": wire.url(place.table.url)})
        yield Wired(mariadb, wire, table, place.admin)


LOSSES: dict[str, tuple[dict[str, int], tuple[str, ...]]] = {
    "before a statement": ({"sent": 0}, ("SET", "UPDATE")),
    "at the answer": ({"answered": 0}, ("INSERT", "COMMIT")),
}
"""What happens, and at which statements."""


@on_mariadb
@pytest.mark.parametrize("how", LOSSES)
def test_a_statement_whose_connection_is_reset_is_made_again(
    tmp_path: Path, remote: Wired, connect: Connect, passed: Cases, how: str
) -> None:
    tap, database = Tap(remote.wire, weather.statement), connect(remote.table)
    what, calls = LOSSES[how]
    calm(Case(tmp_path / "first", database), tap)  # of a volume
    moments, _ = calm(Case(tmp_path / "calm", database), tap)
    for number, moment in enumerate(weather.of_each(moments, *calls)):
        case = Case(tmp_path / str(number), database)
        with tap.on(case, moment, lambda _: remote.wire.reset_after(**what)):
            unit = case.apply()
        case.end(unit)
        passed(moment.step, f"MariaDB: reset {how}")


@on_mariadb
def test_a_database_that_stays_away_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, remote: Wired, connect: Connect, passed: Cases
) -> None:
    wire = remote.wire
    tap, database = Tap(wire, weather.statement), connect(remote.table, retry_seconds=0.2)

    def go(_: bytes) -> None:
        wire.refuse()
        wire.reset_after(sent=0)

    calm(Case(tmp_path / "first", database), tap)  # of a volume
    moments, _ = calm(Case(tmp_path / "calm", database), tap)
    for number, moment in enumerate(weather.of_each(moments, "SELECT", "COMMIT")):
        case = Case(tmp_path / str(number), database)
        with tap.on(case, moment, go), pytest.raises(DatabaseFailed):
            case.apply()
        wire.listen()
        case.end()
        passed(moment.step, "MariaDB: gone for longer than it is waited for")


STATES = ("claimed", "copied", "verified", "binned", "deleting")


def kill(server: Mariadb, starting: threading.Thread) -> None:
    """Let it be gone until it has been started."""
    server.kill()
    starting.start()


@on_mariadb
def test_a_database_that_is_killed_is_waited_for(
    tmp_path: Path, remote: Wired, connect: Connect, passed: Cases
) -> None:
    database = connect(remote.table, retry_seconds=60)
    for state in STATES:
        case = Case(tmp_path / state, database)
        starting = threading.Thread(target=remote.server.start)
        case.sky.at[state] = partial(kill, remote.server, starting)
        unit = case.apply()
        starting.join()
        case.end(unit)
        passed(state, "MariaDB: killed, and started again")


def refuse(wire: Wire, listening: threading.Thread) -> None:
    """Let nobody through until it listens again."""
    wire.refuse()
    wire.reset()
    listening.start()


@on_mariadb
def test_who_has_lost_a_lease_while_the_database_was_away_takes_it_again(
    tmp_path: Path, remote: Wired, connect: Connect, passed: Cases
) -> None:
    database = connect(remote.table, retry_seconds=60)
    for state in STATES:
        case = Case(tmp_path / state, database, lease_seconds=1.0)
        listening = threading.Timer(1.2, remote.wire.listen)
        case.sky.at[state] = partial(refuse, remote.wire, listening)
        unit = case.apply()
        listening.join()
        case.end(unit)
        passed(state, "MariaDB: gone for longer than a lease")


# Slow ones.


@pytest.mark.parametrize("kind", KINDS)
def test_a_lease_is_renewed_while_a_slow_store_takes_one_body(
    store: Store, passed: Cases, kind: str
) -> None:
    case, wire, began = store.case(kind, lease_seconds=2.0), store.wire, threading.Event()
    wire.heard = lambda said: began.set() if b"PUT " in said and b"deep/er/b " in said else None
    case.sky.at["copied"] = lambda: wire.slow_down(None)
    other = Sky()
    with ThreadPoolExecutor(1) as threads:
        wire.slow_down(400_000)
        applied = threads.submit(case.apply)
        assert began.wait(WAITS_SECONDS)
        waited = case.apply(watch=other, holder="another")
        case.end(applied.result())
    case.see_ended(waited)
    assert other.events == []
    passed("claimed", f"{KINDS[kind]}: slower than a lease")


def test_a_small_object_may_take_longer_than_a_connection(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(swift_session, "CONNECT_SECONDS", 0.5)
    small = [(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 14)]  # else it goes into that at once
    monkeypatch.setattr(HTTPConnection, "default_socket_options", small)
    store.wire.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    url, shelf = store.urls("swift")
    target = open_target(url, ArchiveTable())
    body = os.urandom(CHUNK_BYTES)
    store.wire.slow_down(CHUNK_BYTES // 2)
    target.put("slow", [body], len(body))
    assert shelf.read("slow") == body
    target.close()


# Wrong ones.

LARGEST = "deep/er/b"


def told(case: Case) -> tuple[bytes, bytes]:
    """The MD5 that a store tells of an object, and another."""
    content = (case.root / LARGEST).read_bytes()
    return tuple(  # type: ignore[return-value]
        hashlib.md5(each, usedforsecurity=False).hexdigest().encode() for each in (content, b"")
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_object_of_which_a_wrong_digest_is_told_is_sent_again(
    store: Store, passed: Cases, kind: str
) -> None:
    case = store.case(kind)
    true, wrong = told(case)
    lies = iter([True])

    def answers(said: bytes) -> bytes:
        return said.replace(true, wrong) if true in said and next(lies, False) else said

    store.wire.answers = answers
    case.end(case.apply())
    assert next(lies, None) is None
    passed("claimed", f"{KINDS[kind]}: a wrong digest is told")


@pytest.mark.parametrize("state", ["planned", "binned"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_store_that_always_tells_a_wrong_digest_keeps_the_unit(
    store: Store, passed: Cases, kind: str, state: str
) -> None:
    case = store.case(kind)
    true, wrong = told(case)

    def lie() -> None:
        store.wire.answers = lambda said: said.replace(true, wrong)

    if state == "planned":
        lie()
    case.sky.at[state] = lie
    unit = case.apply()
    assert unit.state == ("failed" if state == "planned" else "binned")
    assert wrong.decode() in (unit.reason or "")
    case.see_there()
    store.wire.answers = bytes
    case.end()
    row = "claimed" if state == "planned" else state
    passed(row, f"{KINDS[kind]}: a wrong digest is told all the time")


HARMS: dict[str, Callable[[StoreShelf, str, bytes], None]] = {
    "an object is deleted": lambda shelf, key, _: shelf.delete(key),
    "an object is cut short": lambda shelf, key, content: shelf.write(key, content[:5]),
    "an object is changed": lambda shelf, key, content: shelf.write(key, content[::-1]),
}


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("when", [*product(["copied", "binned"], [LARGEST, "manifests/"])])
@pytest.mark.parametrize("kind", KINDS)
def test_what_a_store_loses_is_sent_again_or_keeps_the_unit(
    store: Store, passed: Cases, kind: str, when: tuple[str, str], harm: str
) -> None:
    state, what = when
    case = store.case(kind)
    (shelf,) = case.shelves
    assert isinstance(shelf, StoreShelf)
    kept: list[tuple[str, bytes]] = []

    def lose() -> None:
        key = shelf.key(what)
        kept.append((key, shelf.read(key)))
        HARMS[harm](shelf, *kept[0])

    case.sky.at[state] = lose
    unit = case.apply()
    if state == "copied":
        case.end(unit)
    else:
        assert (unit.state, kept[0][0] in (unit.reason or "")) == ("binned", True)
        case.see_there()
        assert case.apply() == unit
        shelf.write(*kept[0])
        case.end()
    passed(state, f"{KINDS[kind]}: {harm}")


# Two targets.


def away(store: Store) -> None:
    """Nobody listens there."""
    store.wire.refuse()
    store.wire.reset()


@pytest.mark.parametrize("state", ["planned", "copied", "binned"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_targets_that_does_not_answer_is_waited_for_by_the_next_run(
    store: Store, passed: Cases, kind: str, state: str
) -> None:
    case = store.pair(kind)
    if state == "planned":
        away(store)
    case.sky.at[state] = lambda: away(store)
    unit = case.apply()
    assert unit.state == ("binned" if state == "binned" else "failed")
    assert "not reachable" in (unit.reason or "")
    case.see_there()
    store.wire.listen()
    case.end()
    row = "claimed" if state == "planned" else state
    passed(row, f"one of two, {KINDS[kind]}: nobody listens")


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_targets_whose_quota_is_too_small_is_waited_for(
    store: Store, passed: Cases, kind: str
) -> None:
    case = store.pair(kind, quota_bytes=1_000_000)
    bucket = case.yard.config.archive.target[0].split("/")[2]
    case.sky.waits_for = lambda: store.client.post_container(
        bucket, {"x-container-meta-quota-bytes": "10000000"}
    )
    unit = case.apply()
    assert case.sky.waits
    case.end(unit)
    passed("claimed", f"one of two, {KINDS[kind]}: over its quota")


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_targets_that_says_it_is_full_is_waited_for(
    store: Store, passed: Cases, kind: str
) -> None:
    case = store.pair(kind)
    words = iter([b"HTTP/1.1 507 Insufficient Storage"])

    def answers(said: bytes) -> bytes:
        created = said.startswith((b"HTTP/1.1 201 ", b"HTTP/1.1 200 ")) and is_put.is_set()
        if created and (word := next(words, None)):
            return word + said[said.index(b"\r\n") :]
        return said

    is_put = threading.Event()
    store.wire.heard = lambda said: is_put.set() if b"deep/er/b HTTP" in said else None
    store.wire.answers = answers
    unit = case.apply()
    assert next(words, None) is None
    case.end(unit)
    passed("claimed", f"one of two, {KINDS[kind]}: full (507)")


@pytest.mark.parametrize("kind", KINDS)
def test_one_of_two_targets_whose_connection_is_reset_gets_all_of_it_again(
    store: Store, passed: Cases, kind: str
) -> None:
    tap = Tap(store.wire, weather.request)
    case = store.pair(kind)
    # The second file in the order of names is the largest.
    moment = Moment("claimed", "an object", "PUT", 2)
    with tap.on(case, moment, lambda said: cut(store.wire, "amid a body", said)):
        unit = case.apply()
    case.end(unit)
    passed("claimed", f"one of two, {KINDS[kind]}: reset amid a body")


# Disks that are full.

MIB = 1 << 20
SIZE_BYTES = 4 * MIB
Disks = Callable[[Path, int], AbstractContextManager[Path]]
Places = Callable[[Path], dict[str, Any]]

DISKS: dict[str, Disks] = {"full": small_disk, "over its quota": quota_disk}
FULL: dict[str, tuple[str, Callable[[Path, Path], dict[str, Any]]]] = {
    "target": ("planned", lambda disk, other: {"folder": other, "target": f"file://{disk}"}),
    "volume": (
        "verified",
        lambda disk, other: {
            "folder": disk,
            "target": f"file://{other}",
            "run_dir": f"{other}.runs",
            "checkpoint_files": [f"{other}.{number}.json" for number in (1, 2)],
        },
    ),
}
"""What is on a disk of its own, when that is full, and where all is."""


@pytest.fixture
def interrupt() -> Iterator[Callable[[], None]]:
    """Does as Ctrl-C, which workers of pytest do not hear otherwise."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: os.kill(os.getpid(), signal.SIGINT)
    signal.signal(signal.SIGINT, before)


Full = tuple[str, str, bool]


@pytest.mark.parametrize("which", [*product(FULL, DISKS, [False, True])])
def test_a_full_disk_is_waited_for(
    tmp_path: Path,
    local: Database,
    passed: Cases,
    interrupt: Callable[[], None],
    which: Full,
) -> None:
    what, how, given_up = which
    state, places = FULL[what]
    other = tmp_path / "other"
    other.mkdir()
    with DISKS[how](tmp_path / "disk", SIZE_BYTES) as disk:
        where = places(disk, other)
        shelf = FolderShelf(Path(where.get("target", f"file://{other}/target")[7:]))
        case = Case(where.pop("folder"), local, [shelf], **where)
        case.sky.at[state] = lambda: weather.fill(disk)
        if state == "planned":
            weather.fill(disk)
        case.sky.waits_for = interrupt if given_up else lambda: weather.free(disk)
        if given_up:
            with pytest.raises(KeyboardInterrupt):
                case.apply()
            weather.free(disk)
            case.end()
        else:
            case.end(case.apply())
        case.yard.open(case.run.policy.targets[0]).close()
    row = "claimed" if state == "planned" else state
    passed(row, f"{what}: {how}{', given up' * given_up}")


@pytest.mark.parametrize("how", DISKS)
def test_a_run_folder_without_room_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, local: Database, passed: Cases, how: str
) -> None:
    with DISKS[how](tmp_path / "disk", SIZE_BYTES) as disk:
        case = Case(tmp_path / "case", local, run_dir=str(disk))
        case.sky.at["claimed"] = lambda: weather.fill(disk)
        with pytest.raises(NoRoom, match="make room there"):
            case.apply()
        case.see_there()
        weather.free(disk)
        case.end()
    passed("claimed", f"run folder: {how}")


@pytest.mark.parametrize("state", ["planned", *STATES])
def test_a_database_without_room_ends_the_run_and_the_next_goes_on(
    tmp_path: Path, passed: Cases, state: str
) -> None:
    with small_disk(tmp_path / "disk", 2 * MIB) as disk:
        database = Database(f"sqlite:///{disk}/lurge.db", retry_seconds=0.1)
        database.init()
        case = Case(tmp_path / "case", database)
        case.sky.at[state] = lambda: weather.fill(disk)
        if state == "planned":
            weather.fill(disk)
        with pytest.raises(DatabaseFailed, match="full"):
            case.apply()
        weather.free(disk)
        case.end()
        database.close()
    passed(state, "SQLite: disk full")


# Two processes.

ROOTS = ("alpha", "beta", "gamma", "delta")


class Pair:
    """Two processes that apply one run to one MariaDB at the same moment."""

    def __init__(self, folder: Path, url: str, crews: tuple[Crew, Crew]) -> None:
        self.folder = folder
        self.crews = crews
        self.roots = [folder / "s1" / name for name in ROOTS]
        self.units = []
        folder.mkdir()
        (folder / "target").mkdir()
        for root in self.roots:
            matrix.make(root, large=False)
            before = oracle.tree(root)
            self.units.append(oracle.Unit(root, before, frozenset(before)))
        site = {
            "url": url,
            "retry_seconds": 10,
            "archive": {"workers": 2, "keep_in_bin": 0, "lease_seconds": 2.0},
            "course": "archive",
            "units": [
                {"root": str(root), "kind": "directory", "members": []} for root in self.roots
            ],
        }
        (folder / "yard.json").write_text(json.dumps(site))
        done = crews[0].do(folder, "plan")
        assert (done.status, done.raised) == (0, None), done

    def begin(self) -> None:
        for each in self.crews:
            each.begin(self.folder, "apply")

    def see_safe(self) -> None:
        """See that each byte can be found."""
        shelf = FolderShelf(self.folder / "target")
        names = [file.name for file in self.folder.glob("s1/.lurge-bin/*")]
        for unit in self.units:
            assert (
                oracle.homeless(unit, self.folder / "s1" / oracle.BIN, [shelf], names.__contains__)
                == []
            )

    def see_ended(self, outcome: matrix.Outcome) -> None:
        """See that all units are deleted, and have whole copies."""
        assert (outcome.status, outcome.raised) == (0, None), outcome
        assert [unit[1:] for unit in outcome.became] == [["deleted", None]] * len(ROOTS)
        self.see_safe()
        assert not any(root.exists() for root in self.roots)
        assert not list((self.folder / "s1" / oracle.BIN).iterdir())


@pytest.fixture
def pair(
    tmp_path: Path, place: Place, tables: Tables, crews: tuple[Crew, Crew]
) -> Callable[[str], Pair]:
    tables.make(place.admin)
    url = sql.make_url(place.table.url).set(password=config.password(place.table))
    shown = url.render_as_string(hide_password=False)
    return lambda name: Pair(tmp_path / name, shown, crews)


@pytest.fixture(scope="module")
def crews() -> Iterator[tuple[Crew, Crew]]:
    with matrix.crew() as one, matrix.crew() as other:
        yield one, other


def moves(database: Database, act: str) -> list[int]:
    """How often something was done to each unit, by the audit."""
    count_ = f"SELECT COUNT(*) FROM archive_audit WHERE act = '{act}' GROUP BY unit_id"
    return database.read(lambda connection: list(connection.exec_driver_sql(count_).scalars()))


@on_mariadb
def test_two_processes_at_the_same_moment_do_no_unit_twice(
    pair: Callable[[str], Pair], place: Place, connect: Connect, passed: Cases
) -> None:
    two = pair("two")
    two.begin()
    ended = [each.end() for each in two.crews]
    for outcome in ended:
        two.see_ended(outcome)
    for act in ("claimed", "binned", "deleting", "purged"):
        assert moves(connect(place.table), act) == [1] * len(ROOTS), act
    before = oracle.listing(two.folder / "s1")
    two.see_ended(two.crews[0].do(two.folder, "apply"))
    assert oracle.listing(two.folder / "s1") == before
    passed(ANY, "MariaDB: two processes at the same moment")


@on_mariadb
def test_one_of_two_processes_that_is_killed_leaves_its_units_to_the_other(
    pair: Callable[[str], Pair], passed: Cases
) -> None:
    chance = random.Random(1)
    for number in range(6):
        two = pair(str(number))
        dying, other = two.crews
        two.begin()
        time.sleep(chance.random())
        dying.kill()
        died, ended = dying.end(), other.end()
        assert died.status in {0, -signal.SIGKILL}
        two.see_safe()
        two.see_ended(ended)
        two.see_ended(other.do(two.folder, "apply"))
        passed(ANY, "MariaDB: one of two processes is killed")
