"""One body for all kinds of targets, against real directories and a real server of Swift and S3."""

import hashlib
import os
import shutil
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.mariadb import free_port
from servers.swift_s3 import READER, SECRET, WRITER, Swift
from servers.wire import Wire, wire_to

from lurge_types.config import ArchiveTable
from lurge_types.targets import (
    CHUNK_BYTES,
    ObjectDamaged,
    ObjectMissing,
    Occupied,
    Part,
    SizeDiffers,
    Target,
    TargetFailed,
    TargetFull,
    TargetTrouble,
    Upload,
    UploadLost,
    is_key,
)
from utils.parts import LEFT_OVER_SECONDS, maker
from utils.targets.opening import open_target
from utils.targets.posix import Posix

T = TypeVar("T")

MIB = 1 << 20
PART = 5 * MIB
KINDS = ("posix", "swift", "s3")
STORES = ("swift", "s3")

HOSTILE = [
    "-rf",
    ".hidden",
    ".lurge-once",
    ".lurge-segments/0/1",
    "a b/ c",
    "a%2Fb",
    "a%41%",
    "a+b&c=d",
    "a,b;c:d@e!f$g",
    "a?b=c#d",
    "a\\b",
    "q\"uote's`<>{}|^~[]*",
    "...",
    "x/..y/z..",
    " ",
]


class Site:
    """Where targets of one kind are, and what is really there. url: of one of them."""

    def __init__(self, kind: str, folder: Path, swift: Swift | None) -> None:
        self.kind = kind
        self.folder = folder
        self.swift = swift
        self.closing = ExitStack()
        self.limit()

    def limit(self, quota_bytes: int | None = None) -> None:
        """Make a new place, with so much room."""
        if self.swift is None:
            self.url = f"file://{self.folder}/target"
        else:
            self.bucket = self.swift.make_bucket(quota_bytes)
            self.url = f"{self.kind}://{self.bucket}/up/here"

    def open(
        self, port: int | None = None, user: str = WRITER, secret: str = SECRET, url: str = ""
    ) -> Target:
        """A target, by another port if there is one."""
        file = self.folder / "credentials"
        file.touch(0o600)
        file.write_text(
            f"[default]\naws_access_key_id = {user}\naws_secret_access_key = {secret}\n"
        )
        server = f"http://127.0.0.1:{port or (self.swift.port if self.swift else 1)}"
        table = ArchiveTable(endpoint_url=server, credentials_file=file)
        environ = {"ST_AUTH": f"{server}/auth/v1.0", "ST_USER": user, "ST_KEY": secret}
        target = open_target(url or self.url, table, environ)
        self.closing.enter_context(closing(target))
        return target

    def has(self) -> set[str]:
        """All that is stored, also what no target shows."""
        if self.swift is None:
            root = self.folder / "target"
            return {str(each.relative_to(root)) for each in root.rglob("*") if not each.is_dir()}
        with self.swift.client() as client:
            there = {each["name"] for each in client.get_account()[1]}
        buckets = {self.bucket, f"{self.bucket}+segments"} & there
        names = {name for bucket in buckets for name in self.swift.objects(bucket)}
        return {name.removeprefix("up/here/") for name in names} - {".lurge-once…"}

    def write(self, key: str, held: bytes) -> None:
        """Put something in the place of an object."""
        if self.swift is None:
            (self.folder / "target" / key).write_bytes(held)
        else:
            self.swift.write(self.bucket, f"up/here/{key}", held)


@pytest.fixture(params=KINDS)
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    for name in [name for name in os.environ if name.startswith(("AWS_", "ST_", "OS_"))]:
        monkeypatch.delenv(name)
    swift = None
    if request.param != "posix":
        swift = request.getfixturevalue("swift")
        swift.start()
    made = Site(request.param, tmp_path, swift)
    with made.closing:
        yield made
    if swift:
        swift.start()


only_stores = pytest.mark.parametrize("site", STORES, indirect=True)


@pytest.fixture
def target(site: Site) -> Target:
    return site.open()


@pytest.fixture
def server(site: Site) -> Swift:
    assert site.swift
    return site.swift


@pytest.fixture
def wire(server: Swift) -> Iterator[Wire]:
    with wire_to(server.port) as wire:
        yield wire


def pieces(held: bytes, size: int = CHUNK_BYTES) -> Iterator[bytes]:
    for at in range(0, len(held), size):
        yield held[at : at + size]


def md5(held: bytes) -> str:
    return hashlib.md5(held).hexdigest()


def read(target: Target, key: str, start: int = 0, size: int | None = None) -> bytes:
    found = target.stat(key)
    return b"".join(
        target.get(key, start, (found.size if found else 1) - start if size is None else size)
    )


def put(target: Target, key: str, held: bytes) -> str | None:
    return target.put(key, pieces(held), len(held)).told


def again(act: Callable[[], T]) -> T:
    """What comes of something that a server which is just back, or was hung up on, refuses."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return act()
        except TargetTrouble:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def upload(target: Target, key: str, parts: Sequence[bytes]) -> tuple[Upload, list[Part]]:
    """A large object with all its parts, not finished."""
    begun = target.begin(key, sum(map(len, parts)))
    sent, start = [], 0
    for number, part in enumerate(parts, 1):
        sent.append(target.put_part(begun, number, start, pieces(part), len(part)))
        start += len(part)
    return begun, sent


@pytest.fixture(scope="module")
def parts() -> list[bytes]:
    return [os.urandom(PART), os.urandom(PART), os.urandom(MIB + 1)]


def test_another_object_of_the_same_size_has_another_mark(target: Target) -> None:
    assert target.mark("a/b") is None
    marks = []
    for held in (b"one", b"two"):
        target.put("a/b", pieces(held), len(held))
        target.sync()
        marks.append(target.mark("a/b"))
        assert target.mark("a/b") == marks[-1] is not None
        target.delete("a/b")
    assert marks[0] != marks[1]


@pytest.mark.parametrize("size", [0, 1, 10_000, CHUNK_BYTES - 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 5])
def test_what_was_put_is_there(target: Target, size: int) -> None:
    held = os.urandom(size)
    stored = target.put("a/b/c", pieces(held), size)
    assert stored == ("a/b/c", size, target.digest([md5(held)]))
    assert (stored.told is not None) == target.speaks_md5
    assert target.stat("a/b/c") == stored
    target.sync()
    assert read(target, "a/b/c") == held


def test_nothing_is_ever_replaced(site: Site, target: Target) -> None:
    put(target, "a/b", b"first")
    for size in (0, 6, 2 * CHUNK_BYTES):
        for each in (target, site.open()):
            with pytest.raises(Occupied):
                again(partial(put, each, "a/b", bytes(size)))
    with pytest.raises(Occupied):
        again(lambda: target.begin("a/b", 10))
    assert again(lambda: read(target, "a/b")) == b"first"
    assert site.has() == {"a/b"}


@pytest.mark.parametrize("site", ["posix"], indirect=True)  # the others look before only
def test_of_many_that_put_at_once_one_wins(site: Site) -> None:
    targets = [site.open() for _ in range(4)]

    def race(number: int) -> str | None:
        try:
            put(targets[number % 4], "a/b", f"{number}".encode() * 20_000)
        except Occupied:
            return None
        return str(number)

    with ThreadPoolExecutor(8) as pool:
        won = [each for each in pool.map(race, range(8)) if each]
    assert len(won) == 1
    assert read(targets[0], "a/b") == won[0].encode() * 20_000
    assert site.has() == {"a/b"}


@pytest.mark.parametrize("size", [0, 1, 10_000, 3 * CHUNK_BYTES])
@pytest.mark.parametrize("error", [OSError(5, "the source"), KeyError("x"), KeyboardInterrupt()])
def test_what_a_body_raises_goes_through_and_nothing_is_stored(
    site: Site, target: Target, size: int, error: BaseException
) -> None:
    def body() -> Iterator[bytes]:
        yield from pieces(bytes(size))
        raise error

    with pytest.raises(type(error)) as raised:
        target.put("a/b", body(), size)
    assert raised.value is error
    assert again(lambda: target.stat("a/b")) is None
    assert site.has() == set()
    again(lambda: put(target, "a/b", b"then"))


@pytest.mark.parametrize(
    ("size", "chunks"),
    [
        (1, []),
        (0, [b"x"]),
        (10, [b"123456789"]),
        (10, [b"12345678901"]),
        (2 * CHUNK_BYTES, [bytes(CHUNK_BYTES), bytes(CHUNK_BYTES - 1)]),
        (2 * CHUNK_BYTES, [bytes(CHUNK_BYTES), bytes(CHUNK_BYTES), b"", b"x"]),
    ],
)
def test_a_body_of_another_size_is_refused(
    site: Site, target: Target, size: int, chunks: list[bytes]
) -> None:
    with pytest.raises(SizeDiffers):
        target.put("a/b", chunks, size)
    assert site.has() == set()
    if size > 1:
        begun = target.begin("a/b", size)
        with pytest.raises(SizeDiffers):
            target.put_part(begun, 1, 0, chunks, size)
        target.abort(begun)
    assert site.has() == set()


def test_large_objects_go_in_parts(site: Site, target: Target, parts: list[bytes]) -> None:
    begun, sent = upload(target, "a/large", parts)
    assert target.stat("a/large") is None
    assert list(target.list("")) == []
    stored = target.finish(begun, sent)
    size = sum(map(len, parts))
    assert stored == ("a/large", size, target.digest([md5(part) for part in parts]))
    assert target.stat("a/large") == stored
    assert [(each.key, each.size) for each in target.list("a")] == [("a/large", size)]
    target.sync()
    assert read(target, "a/large") == b"".join(parts)
    assert read(target, "a/large", PART - 3, 7) == (parts[0][-3:] + parts[1][:4])
    target.delete("a/large")
    assert site.has() == set()


def test_another_process_goes_on_with_parts_in_any_order(
    site: Site, target: Target, parts: list[bytes]
) -> None:
    begun = target.begin("a/large", sum(map(len, parts)))
    last = target.put_part(begun, 3, 2 * PART, pieces(parts[2]), len(parts[2]))
    other = site.open()
    again = Upload(begun.key, begun.id)
    other.put_part(again, 1, 0, pieces(bytes(PART)), PART)  # and once more, as it should be
    first = other.put_part(again, 1, 0, pieces(parts[0]), PART)
    second = other.put_part(again, 2, PART, pieces(parts[1]), PART)
    stored = site.open().finish(again, [first, second, last])
    assert stored.told == target.digest([md5(part) for part in parts])
    assert read(other, "a/large") == b"".join(parts)


def test_what_a_part_raises_goes_through_and_the_part_is_sent_again(
    site: Site, target: Target, parts: list[bytes]
) -> None:
    def body() -> Iterator[bytes]:
        yield from pieces(parts[0][: 3 * MIB])
        raise OSError(5, "the source")

    begun = target.begin("a/large", 2 * PART)
    with pytest.raises(OSError, match="the source"):
        target.put_part(begun, 1, 0, body(), PART)
    sent = [target.put_part(begun, n, (n - 1) * PART, pieces(parts[n - 1]), PART) for n in (1, 2)]
    target.finish(begun, sent)
    assert read(target, "a/large") == parts[0] + parts[1]


def test_wrong_and_missing_parts_make_no_object(
    site: Site, target: Target, parts: list[bytes]
) -> None:
    begun, sent = upload(target, "a/large", parts)
    swapped = [sent[1], sent[0], sent[2]]
    wrong = [*sent[:2], sent[2]._replace(tag=md5(b"x"))]
    more = [*sent, Part(3, md5(b"x"))]
    for those in (swapped, wrong, more, sent[1:]):
        with pytest.raises((TargetFailed, UploadLost)):
            target.finish(begun, those)
        assert target.stat("a/large") is None
    with pytest.raises(ValueError, match="less than two"):
        target.finish(begun, sent[:1])
    target.finish(begun, sent)
    assert read(target, "a/large") == b"".join(parts)


def test_an_aborted_upload_leaves_nothing_and_is_lost(
    site: Site, target: Target, parts: list[bytes]
) -> None:
    begun, sent = upload(target, "a/large", parts[:2])
    site.open().abort(begun)
    assert site.has() == set()
    for _ in range(2):
        target.abort(begun)
    with pytest.raises(UploadLost):
        target.put_part(begun, 1, 0, [b"x"], 1)
    with pytest.raises(UploadLost):
        again(lambda: target.finish(begun, sent))
    assert site.has() == set()


def test_an_abort_after_the_end_takes_nothing_away(target: Target, parts: list[bytes]) -> None:
    begun, sent = upload(target, "a/large", parts)
    target.finish(begun, sent)
    target.abort(begun)
    assert read(target, "a/large") == b"".join(parts)


def test_an_upload_does_not_replace_what_came_meanwhile(
    site: Site, target: Target, parts: list[bytes]
) -> None:
    begun, sent = upload(target, "a/large", parts)
    put(site.open(), "a/large", b"first")
    with pytest.raises(Occupied):
        target.finish(begun, sent)
    target.abort(begun)
    assert read(target, "a/large") == b"first"
    assert site.has() == {"a/large"}


@pytest.mark.parametrize(
    ("start", "size"), [(0, 1), (1, 4), (9_999, 1), (0, 10_000), (5, 0), (10_000, 0)]
)
def test_a_range_is_read(target: Target, start: int, size: int) -> None:
    held = os.urandom(10_000)
    put(target, "a", held)
    assert read(target, "a", start, size) == held[start : start + size]


@pytest.mark.parametrize(("start", "size"), [(0, 11), (10, 1), (11, 0), (5, 6), (99, 1)])
def test_fewer_bytes_than_asked_for_are_an_error(target: Target, start: int, size: int) -> None:
    put(target, "a", bytes(10))
    with pytest.raises(TargetFailed) as failed:
        read(target, "a", start, size)
    assert not isinstance(failed.value, TargetTrouble | ObjectMissing)


@pytest.mark.parametrize("size", [0, 1])
def test_what_is_not_there_is_told(site: Site, target: Target, size: int) -> None:
    put(target, "a/b", b"")
    for key in ("none", "a", "a/none", "a/b/none", "x/y/z"):
        assert target.stat(key) is None
        with pytest.raises(ObjectMissing):
            read(target, key, 0, size)
        target.delete(key)
    assert site.has() == {"a/b"}


def test_a_read_that_is_given_up_disturbs_no_other(target: Target) -> None:
    held = os.urandom(4 * MIB)
    put(target, "a", held)
    for _ in range(3):
        reading = target.get("a", 0, len(held))
        assert next(reading)[:10] == held[:10]
        reading.close()  # type: ignore[attr-defined]
    assert read(target, "a") == held


def test_what_is_deleted_may_be_put_again(site: Site, target: Target) -> None:
    other = site.open()
    for held in (b"1", b"22", b"333"):
        put(target, "a/b/c", held)
        assert read(other, "a/b/c") == held
        assert [each.key for each in other.list("a/")] == ["a/b/c"]
        target.delete("a/b/c")
        assert other.stat("a/b/c") is None
    put(target, "a", b"in the place of the folder")
    assert site.has() == {"a"}


def test_hostile_keys_are_keys_like_others(target: Target) -> None:
    for key in HOSTILE:
        put(target, key, key.encode())
    assert [each.key for each in target.list("")] == sorted(HOSTILE)
    for key in HOSTILE:
        assert read(target, key) == key.encode()
        assert key in [each.key for each in target.list(key)]
    for key in HOSTILE:
        target.delete(key)
        assert target.stat(key) is None


def test_a_list_is_in_the_order_of_keys(target: Target) -> None:
    keys = ["a-b", "a.b", "a/b", "a/b-c/d", "a/b.c", "ab/c", "a0", "b", "a/c/d/e", "a/b0"]
    keys.remove("a/b")  # no store of files has both
    for key in keys:
        put(target, key, key.encode())
    for prefix in ("", "a", "a/", "a/b", "a/b-c/", "a/b-c/d", "x", "a/x/y", "a//", "/", "a/../a"):
        found = list(target.list(prefix))
        assert [each.key for each in found] == sorted(k for k in keys if k.startswith(prefix))
        assert all(each.size == len(each.key) for each in found)
        if target.speaks_md5:
            assert all(each.told == md5(each.key.encode()) for each in found)


@pytest.mark.parametrize(
    "key",
    [
        *("", "/", "/a", "a/", "a//b", "..", "a/../b", "./a", "caf\u00e9", "a\nb", "\0", "\x7f"),
        *("x" * 201, "/".join(["x" * 199] * 6)),
    ],
)
def test_what_is_no_key_is_refused(site: Site, target: Target, key: str) -> None:
    acts: list[Callable[[], Any]] = [
        lambda: target.put(key, [b"x"], 1),
        lambda: target.begin(key, 1),
        lambda: target.stat(key),
        lambda: list(target.get(key, 0, 1)),
        lambda: target.delete(key),
    ]
    for act in acts:
        with pytest.raises(ValueError, match="no key"):
            act()
    assert site.has() == set()


def test_an_id_that_leads_elsewhere_is_refused(site: Site, target: Target) -> None:
    put(target, "kept", b"x")
    for wrong in ("../../kept", "", "kept", "x" * 32):
        made = Upload("a", wrong)
        for act in (
            lambda made=made: target.put_part(made, 1, 0, [b"x"], 1),
            lambda made=made: target.finish(made, [Part(1, "x"), Part(1, "x")]),
        ):
            with pytest.raises((ValueError, UploadLost, TargetFailed)):
                act()
    assert site.has() == {"kept"}


def test_several_threads_use_one_target(target: Target) -> None:
    def work(number: int) -> bool:
        held = os.urandom(20_000 + number)
        key = f"d{number % 7}/f{number}"
        told = put(target, key, held)
        return told == target.digest([md5(held)]) and read(target, key) == held

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(60)))
    assert len(list(target.list("d"))) == 60


def test_the_room_that_is_left_is_told(site: Site) -> None:
    site.limit(quota_bytes=100_000)
    target = site.open()
    if site.kind == "s3":
        assert target.free_bytes() is None
        return
    free = target.free_bytes()
    assert free is not None
    assert free > 0
    if site.kind == "swift":
        assert free == 100_000
        put(target, "a", bytes(1000))
        assert target.free_bytes() == 99_000


@only_stores
@pytest.mark.parametrize("size", [2000, CHUNK_BYTES, 8 * CHUNK_BYTES])
def test_a_full_store_is_told_and_has_nothing_of_it(site: Site, size: int) -> None:
    site.limit(quota_bytes=1000)
    target = site.open()
    with pytest.raises(TargetFull, match="quota"):
        put(target, "a", bytes(size))
    assert site.has() == set()
    put(target, "b", b"what fits")


@only_stores
def test_a_store_that_fills_up_leaves_an_upload_that_can_be_aborted(
    site: Site, server: Swift
) -> None:
    site.limit(quota_bytes=0)
    target = site.open()
    try:
        begun = target.begin("a", 2 * PART)
    except TargetFull:
        assert site.kind == "swift"
    else:
        target.abort(begun)
    assert site.has() == set()


@only_stores
def test_a_server_that_dies_is_trouble_until_it_is_back(
    site: Site, server: Swift, target: Target
) -> None:
    held = os.urandom(3 * MIB)
    put(target, "before", held)

    def dying() -> Iterator[bytes]:
        yield held[:MIB]
        server.kill()
        yield from pieces(held[MIB:])

    with pytest.raises(TargetTrouble):
        target.put("a", dying(), len(held))
    acts: list[Callable[[], Any]] = [
        lambda: target.stat("before"),
        lambda: put(target, "b", b"x"),
        lambda: read(target, "before", 0, 1),
        lambda: list(target.list("")),
        lambda: target.delete("before"),
        lambda: target.begin("c", 1),
    ]
    for act in acts:
        with pytest.raises(TargetTrouble, match="not reachable"):
            act()
    server.start()  # it does not know anybody who has logged in
    assert again(lambda: target.stat("a")) is None
    assert again(lambda: read(target, "before")) == held
    again(lambda: put(target, "a", held))
    assert read(target, "a") == held


@only_stores
def test_a_token_that_is_forgotten_is_renewed(site: Site, server: Swift, target: Target) -> None:
    held = bytes(3 * MIB)
    for number in range(2):
        server.kill()
        server.start()
        again(partial(put, target, f"large-{number}", held))
        server.kill()
        server.start()
        again(partial(put, target, f"small-{number}", b"x"))
        server.kill()
        server.start()
        assert again(partial(read, target, f"large-{number}")) == held


@only_stores
def test_a_server_without_its_disk_is_trouble(site: Site, server: Swift, target: Target) -> None:
    put(target, "a", b"x")
    server.lose_disk()
    try:
        with pytest.raises(TargetTrouble, match="trouble of its own"):
            put(target, "b", b"x")
    finally:
        server.find_disk()
    put(target, "b", b"x")


@only_stores
def test_a_server_that_tells_no_digest_is_not_taken_to_have_told_one(
    site: Site, wire: Wire
) -> None:
    target = site.open(wire.port)
    again(lambda: put(target, "a", b"x"))
    wire.leave_out(b"etag")
    assert again(lambda: target.stat("a")) == ("a", 1, None)
    assert target.mark("a") is None
    wire.leave_out(b"nothing")
    assert again(lambda: target.stat("a")) == ("a", 1, md5(b"x"))


@only_stores
def test_an_object_that_has_lost_a_segment_still_tells_its_digest_and_is_damaged_where_that_was(
    site: Site, server: Swift, target: Target, parts: list[bytes]
) -> None:
    stored = target.finish(*upload(target, "a", parts))
    assert server.lose_segments(site.bucket, 2) == 1
    assert target.stat("a") == stored
    assert read(target, "a", 0, 1) == parts[0][:1]
    assert read(target, "a", 2 * PART, 1) == parts[2][:1]
    with pytest.raises(ObjectDamaged, match="missing or damaged"):
        read(target, "a", PART, 1)


@only_stores
@pytest.mark.parametrize("count", [100, 2 * MIB])
def test_a_reset_while_sending_is_trouble(site: Site, wire: Wire, count: int) -> None:
    target = site.open(wire.port)
    again(lambda: put(target, "before", b"x"))
    held = os.urandom(4 * MIB)
    wire.reset_after(sent=count)
    with pytest.raises(TargetTrouble):
        put(target, "a", held)
    assert wire.happened.is_set()
    assert site.has() == {"before"}
    again(lambda: put(target, "a", held))
    assert read(target, "a") == held


@only_stores
@pytest.mark.parametrize("count", [10, 100_000, 2 * MIB])
def test_a_reset_while_reading_is_trouble(site: Site, wire: Wire, count: int) -> None:
    target = site.open(wire.port)
    held = os.urandom(4 * MIB)
    again(lambda: put(target, "a", held))
    wire.reset_after(answered=count)
    with pytest.raises(TargetTrouble):
        read(target, "a", 0, len(held))
    assert wire.happened.is_set()
    assert again(lambda: read(target, "a")) == held


@only_stores
def test_a_lost_answer_to_a_put_is_trouble_and_then_it_is_there(site: Site, wire: Wire) -> None:
    target = site.open(wire.port)
    again(lambda: put(target, "before", b"x"))
    wire.cut_behind(b"PUT /", b"a-body")
    with pytest.raises(TargetTrouble):
        put(target, "a", b"a-body")
    assert wire.happened.is_set()
    with pytest.raises(Occupied):
        put(target, "a", b"a-body")
    assert read(target, "a") == b"a-body"


@only_stores
def test_a_lost_answer_to_a_finish_is_asked_for_again(
    site: Site, wire: Wire, parts: list[bytes]
) -> None:
    target = site.open(wire.port)
    begun, sent = upload(target, "a/large", parts)
    wire.cut_behind(b"size_bytes" if site.kind == "swift" else b"<CompleteMultipartUpload")
    with pytest.raises(TargetTrouble):
        target.finish(begun, sent)
    assert wire.happened.is_set()
    target.abort(begun)  # by somebody who knows no better
    assert site.open().finish(begun, sent).told == target.digest([md5(part) for part in parts])
    assert read(target, "a/large") == b"".join(parts)
    assert target.stat("a/large") == target.finish(begun, sent)


@only_stores
@pytest.mark.parametrize("who", [(WRITER, "hush-wrong"), ("test:nobody", "hush-wrong")])
def test_wrong_credentials_are_told_without_the_secret(site: Site, who: tuple[str, str]) -> None:
    with pytest.raises(TargetFailed, match=r"wrong (user or|access) key") as failed:
        put(site.open(None, *who), "a", b"x")
    assert not isinstance(failed.value, TargetTrouble | TargetFull)
    assert site.url in str(failed.value)
    error: BaseException | None = failed.value
    while error:
        assert "hush" not in f"{error} {error!r}"
        error = error.__cause__ or error.__context__


@only_stores
def test_who_may_not_write_is_told_what_to_do(site: Site) -> None:
    with pytest.raises(TargetFailed, match=r"access denied: the (user|key)") as failed:
        put(site.open(None, READER), "a", b"x")
    assert not isinstance(failed.value, TargetTrouble | TargetFull)


@only_stores
@pytest.mark.parametrize("size", [1, 3 * CHUNK_BYTES])
def test_a_container_that_is_not_there_is_told(site: Site, size: int) -> None:
    target = site.open(url=f"{site.kind}://no-such-place/x")
    with pytest.raises(TargetFailed, match=r"no such (bucket|container): make it") as failed:
        put(target, "a", bytes(size))
    assert not isinstance(failed.value, TargetTrouble | TargetFull)


@only_stores
def test_a_server_that_never_was_there_is_trouble(site: Site) -> None:
    with pytest.raises(TargetTrouble, match="not reachable"):
        site.open(free_port()).stat("a")


@only_stores
def test_all_of_a_container_may_be_the_target(site: Site, parts: list[bytes]) -> None:
    target = site.open(url=f"{site.kind}://{site.bucket}")
    put(target, "a", b"x")
    target.finish(*upload(target, "b", parts))
    assert [each.key for each in target.list("")] == ["a", "b"]
    assert read(target, "b", PART, 5) == parts[1][:5]
    target.delete("b")
    assert site.has() <= {"a"}


def test_what_another_one_has_put_there_is_told_as_it_is(site: Site, target: Target) -> None:
    put(target, "a", b"as it was")
    site.write("a", b"as it is now")
    found = target.stat("a")
    assert found
    assert found.size == 12
    assert found.told == target.digest([md5(b"as it is now")])


@pytest.mark.parametrize(
    "url", ["", "x", "http://a/b", "file://x", "swift:/x", "s3://", "file:///"]
)
def test_what_is_no_url_of_a_target_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        open_target(url, ArchiveTable(), {"ST_AUTH": "x", "ST_USER": "x", "ST_KEY": "x"})


def test_without_a_user_it_is_said_where_one_may_be() -> None:
    with pytest.raises(TargetFailed, match="set ST_AUTH, ST_USER and ST_KEY, or OS_AUTH_URL"):
        open_target("swift://abc", ArchiveTable(), {"ST_AUTH": "http://x"})


def test_two_sides_wait_for_each_other_by_chunks(site: Site, target: Target) -> None:
    """What is read from one place goes to another one, and a stop is heard in between."""
    put(target, "a", os.urandom(4 * MIB))
    stop = threading.Event()

    class Stopped(BaseException):
        pass

    def body() -> Iterator[bytes]:
        for chunk in target.get("a", 0, 4 * MIB):
            if stop.is_set():
                raise Stopped
            yield chunk
            stop.set()

    with pytest.raises(Stopped):
        target.put("b", body(), 4 * MIB)
    assert site.has() == {"a"}


FULL = """
    import subprocess, sys
    from pathlib import Path

    folder = Path(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    sys.path.insert(0, sys.argv[1])
    from lurge_types.targets import TargetFull
    from utils.targets.posix import Posix

    target = Posix(f"file://{folder}")
    for size in (2 << 20, 900 << 10, 800 << 10, 1000):
        try:
            print(target.put(f"d/{size}", [bytes(1000)] * (size // 1000), size // 1000 * 1000).size)
        except TargetFull as full:
            print(full)
    begun = target.begin("d/large", 2 << 20)
    try:
        target.put_part(begun, 1, 0, [bytes(1 << 20)], 1 << 20)
    except TargetFull:
        target.abort(begun)
    print(sorted(str(each.relative_to(folder)) for each in folder.rglob("*")))
"""


def test_a_full_disk_is_told_and_has_nothing_of_it(tmp_path: Path) -> None:
    said = children.run(
        FULL,
        Path(open_target.__code__.co_filename).parents[2],
        tmp_path,
        within=children.OWN_MOUNTS,
    ).splitlines()
    no_room = f"file://{tmp_path}: d/{2 << 20}: no room left: remove something there, or get more"
    assert said[0].startswith(no_room)
    assert said[1] == "921000"
    assert "no room left" in said[2]
    assert said[3:] == ["1000", f"['d', 'd/1000', 'd/{900 << 10}']"]


@given(
    st.lists(
        st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=8),
        max_size=12,
    ),
    st.text(st.sampled_from("ab/.-"), max_size=3),
)
def test_a_directory_holds_what_its_keys_say(
    tmp_path_factory: pytest.TempPathFactory, keys: list[str], prefix: str
) -> None:
    target = Posix(f"file://{tmp_path_factory.mktemp('any')}/t")
    there: dict[str, bytes] = {}
    for number, key in enumerate(keys):
        held = bytes(number)
        if not is_key(key):
            with pytest.raises(ValueError, match="no key"):
                put(target, key, held)
        elif any(f"{key}/".startswith(f"{a}/") or a.startswith(f"{key}/") for a in there):
            with pytest.raises(Occupied):
                put(target, key, held)
        else:
            put(target, key, held)
            there[key] = held
    assert [each.key for each in target.list("")] == sorted(there)
    begins = sorted(key for key in there if key.startswith(prefix))
    assert [each.key for each in target.list(prefix)] == begins
    for key, held in there.items():
        assert read(target, key) == held
        target.delete(key)
    assert list(target.list("")) == []


@pytest.fixture
def posix(tmp_path: Path) -> Posix:
    return Posix(f"file://{tmp_path}/target")


def test_files_and_folders_are_for_their_owner_only(tmp_path: Path, posix: Posix) -> None:
    put(posix, "a/b", b"x")
    root = tmp_path / "target"
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (root, root / "a", root / "a/b")]
    assert modes == [0o700, 0o700, 0o600]


def test_what_dead_processes_had_begun_is_removed_and_nothing_else(
    tmp_path: Path, posix: Posix
) -> None:
    put(posix, "a/b", b"x")
    folder = tmp_path / "target" / "a"
    mine, going_on = posix.begin("a/mine", 1), posix.begin("a/going on", 1)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    host = maker().rpartition(".")[0]
    digits = "0" * 32

    def write(name: str, age: float = 0.0) -> str:
        (folder / name).touch()
        at = time.time() - age
        os.utime(folder / name, (at, at))
        return name

    kept = f"{digits}.{host}.{dead.pid}"
    stays = {
        "b",
        f".lurge-{mine.id}.part…",
        f".lurge-{going_on.id}.part…",
        write(f".lurge-{digits}.part…"),
        write(f".lurge-{digits}.elsewhere.1.part…", LEFT_OVER_SECONDS / 2),
        write(f".lurge-{digits}.{host}.{dead.pid}.part"),
        write(f"lurge-{digits}.{host}.{dead.pid}.part…"),
        write(f".lurge-thesis.{host}.{dead.pid}.part…"),
        write(f".lurge-{kept}.part…"),
    }
    write(f".lurge-{'1' * 32}.{host}.{dead.pid}.part…")
    write(f".lurge-{digits}.elsewhere.2.part…", 2 * LEFT_OVER_SECONDS)
    posix.sweep(["nothing", "a/b", "a"], {kept})
    assert {each.name for each in folder.iterdir()} == stays


@pytest.mark.parametrize("key", ["link/b", "file/b", "a/link", "fifo", "folder"])
def test_what_is_no_file_is_in_the_way_and_is_no_object(
    tmp_path: Path, posix: Posix, key: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_bytes(b"not ours")
    root = tmp_path / "target"
    (root / "link").symlink_to(outside)
    put(posix, "file", b"x")
    put(posix, "a/other", b"x")
    (root / "a/link").symlink_to(outside / "b")
    (root / "folder").mkdir()
    os.mkfifo(root / "fifo")
    with pytest.raises(Occupied):
        put(posix, key, b"x")
    with pytest.raises(Occupied):
        posix.begin(key, 1)
    assert posix.stat(key) is None
    with pytest.raises(ObjectMissing):
        read(posix, key, 0, 1)
    posix.delete(key)
    assert [each.key for each in posix.list("")] == ["a/other", "file"]
    assert (outside / "b").read_bytes() == b"not ours"
    assert (root / "folder").is_dir()


def test_a_folder_that_others_remove_is_made_anew(tmp_path: Path, posix: Posix) -> None:
    for number in range(3):
        put(posix, "a/b/c", str(number).encode())
        assert read(posix, "a/b/c") == str(number).encode()
        shutil.rmtree(tmp_path / "target/a")
        assert posix.stat("a/b/c") is None


def test_more_folders_than_are_kept_open_are_no_problem(posix: Posix) -> None:
    keys = [f"{number}/" + "d/" * (number % 9) + "f" for number in range(300)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: put(posix, key, key.encode()), keys))
        assert list(pool.map(lambda key: read(posix, key), keys)) == [key.encode() for key in keys]
    deep = "/".join("d" * 500)
    put(posix, deep, b"x")
    assert read(posix, deep) == b"x"


@pytest.mark.parametrize(("start", "size"), [(0, MIB), (1, 2), (5000, 9000), (9 * MIB, MIB)])
@pytest.mark.parametrize("end", [0, 1])
def test_what_is_read_is_forgotten_before_with_all_of_its_pages(
    posix: Posix, monkeypatch: pytest.MonkeyPatch, start: int, size: int, end: int
) -> None:
    """Linux keeps a page of which a part only is to be forgotten."""
    forgotten, forget = [], os.posix_fadvise

    def advise(handle: int, start: int, size: int, advice: int) -> None:
        forgotten.append((start, start + size))
        forget(handle, start, size, advice)

    put(posix, "pack", bytes(20 * MIB + end))
    monkeypatch.setattr(os, "posix_fadvise", advise)
    read(posix, "pack", start, size)
    read(posix, "pack", 1, 20 * MIB + end - 1)
    page = os.sysconf("SC_PAGE_SIZE")
    assert len(forgotten) > 2, "also while much is read"
    assert all(at % page == 0 for each in forgotten for at in each)
    assert forgotten[0][0] <= start < start + size <= forgotten[0][1] < start + size + page
    assert forgotten[1][0] == 0
    assert forgotten[1][1] >= 20 * MIB + end


def test_an_object_whose_file_has_both_names_is_stored(posix: Posix, tmp_path: Path) -> None:
    """As a server of NFS leaves it that was asked to link it twice, since an answer was lost."""
    begun = posix.begin("a/b", 4)
    parts = [posix.put_part(begun, number + 1, 2 * number, iter([b"xy"]), 2) for number in range(2)]
    (making,) = (tmp_path / "target" / "a").iterdir()
    os.link(making, tmp_path / "target" / "a" / "b")
    posix.finish(begun, parts)
    assert read(posix, "a/b") == b"xyxy"
    assert not making.exists()


def test_what_has_no_folder_above_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(TargetFailed, match="mount is not there: mount its filesystem"):
        Posix(f"file://{tmp_path}/mount/target")
    assert not (tmp_path / "mount").exists()
