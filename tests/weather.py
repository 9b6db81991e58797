"""
Weather: real servers and disks that are slow, cut off, full or wrong while a unit is on its way.

Where the matrix puts errors in the place of system calls, here the wire to a server is cut at one
of its requests or statements, which are counted in peace before. A case is a unit in a folder of
its own, disturbed once. Then, as in the matrix, the oracle finds every byte, the next run comes to
the end, and a third does nothing.
"""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock
from typing import Any

import archive_oracle as oracle
import matrix
from archive_oracle import Shelf, Unit
from archiving import Told, Yard
from servers.moments import Moment
from servers.wire import Wire

from db.database import Database
from lurge_types.archive import STATES, UnitNow
from utils.durable import sync_filesystem

PREFIX = "archive/"
LARGE_BYTES = (5 << 20) + 1000
"""Of two parts, as no S3 takes smaller ones."""


def nothing(*_: object) -> None:
    """What happens when nothing does."""


class StoreShelf:
    """What a container has below a folder, by Swift's own client, which asks nobody's wire."""

    def __init__(self, client: Any, bucket: str) -> None:
        self._client = client
        self._bucket = bucket
        self._read: dict[tuple[str, str, str], bytes] = {}

    def sizes(self) -> dict[str, int]:
        return {key: each["bytes"] for key, each in self.objects().items()}

    def read(self, key: str) -> bytes:
        """What is read once is as it is until it is written again."""
        known = self.objects().get(key)
        if known is None:
            raise KeyError(key)
        which = key, known["hash"], known["last_modified"]
        if which not in self._read:
            self._read[which] = self._client.get_object(self._bucket, PREFIX + key)[1]
        return self._read[which]

    def objects(self) -> dict[str, dict[str, Any]]:
        """With the names of objects as they are told, but for parts of large ones."""
        there = self._client.get_container(self._bucket)[1]
        return {
            each["name"].removeprefix(PREFIX): each
            for each in there
            if not each["name"].startswith(f"{PREFIX}.lurge-")
        }

    def key(self, of: str) -> str:
        """Of the one object whose key has this in it."""
        (only,) = [key for key in self.objects() if of in key]
        return only

    def write(self, key: str, written: bytes) -> None:
        """Put something in the place of an object."""
        self._client.put_object(self._bucket, PREFIX + key, written)

    def delete(self, key: str) -> None:
        """Lose an object."""
        self._client.delete_object(self._bucket, PREFIX + key)


class Sky(Told):
    """
    Knows to which state a unit has come, and lets something happen then, once.

    at: what happens by the state. waits_for: what happens whenever something is waited for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.step = "planned"
        self.at: dict[str, Callable[[], object]] = {}
        self.waits_for: Callable[[], object] = nothing

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        if event in STATES:
            self.step = event
            self.at.pop(event, nothing)()

    def waiting(self, why: str) -> None:
        super().waiting(why)
        self.waits_for()


class Case:
    """A directory that is archived and deleted in one go, in a folder of its own."""

    def __init__(
        self,
        folder: Path,
        database: Database,
        shelves: Sequence[Shelf] = (),
        *,
        large: bool = False,
        **archive: Any,
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.sky = Sky()
        self.yard = Yard(folder, database, **{"workers": 1, "keep_in_bin": 0, **archive})
        self.shelves = shelves or [oracle.FolderShelf(self.yard.target)]
        self.root = self.yard.mount / "alpha"
        matrix.make(self.root, large=False)
        if large:
            (self.root / "large").write_bytes(os.urandom(LARGE_BYTES))
        before = oracle.tree(self.root)
        self.unit = Unit(self.root, before, frozenset(before))
        self.file, self.run = self.yard.plan(self.root)

    @property
    def bin(self) -> Path:
        return self.yard.mount / oracle.BIN

    def apply(self, **works: Any) -> UnitNow:
        """Apply the run; what its unit is then."""
        (unit,) = self.yard.apply(self.file, self.run, **{"watch": self.sky, **works})
        return unit

    def see_safe(self) -> None:
        """See that each byte can be found."""
        assert oracle.homeless(self.unit, self.bin, self.shelves, self._is_ours) == []

    def _is_ours(self, unit: str) -> bool:
        return unit == f"{self.run.content_id[:12]}-000001"

    def see_ended(self, unit: UnitNow) -> None:
        """See that all is as in the end of a run in peace."""
        assert (unit.state, unit.reason) == ("deleted", None)
        self.see_safe()
        assert not self.root.exists()
        assert not list(self.bin.iterdir())
        for shelf in self.shelves:
            there = oracle.copied(shelf, self.root)
            assert there.whole.keys() == self.unit.members
            assert all(there.whole[path].content == fact.content for path, fact in self.wanted())

    def wanted(self) -> Iterator[tuple[bytes, oracle.Fact]]:
        """What it is made of."""
        return self.unit.wanted()

    def see_there(self) -> None:
        """See that all of it is in its place, or in the bin."""
        assert oracle.homeless(self.unit, self.bin, (), self._is_ours) == []

    def end(self, disturbed: UnitNow | None = None) -> None:
        """
        See that nothing is lost, that the next run comes to the end, and a third does nothing.

        disturbed: where the disturbed one should have come to the end by itself.
        """
        self.see_safe()
        if disturbed is not None:
            self.see_ended(disturbed)
        self.sky = Sky()
        self.see_ended(self.apply())
        before = self.everything()
        self.see_ended(self.apply())
        assert self.everything() == before

    def everything(self) -> object:
        """The ledger's rows, all objects, and the volume."""
        rows = [
            self.yard.database.read(
                lambda connection, table=table: sorted(  # type: ignore[misc]
                    map(repr, connection.exec_driver_sql(f"SELECT * FROM {table}"))
                )
            )
            for table in oracle.LEDGER
        ]
        objects = [
            shelf.objects() if isinstance(shelf, StoreShelf) else shelf.sizes()
            for shelf in self.shelves
        ]
        return rows, objects, oracle.listing(self.yard.mount)


class Tap:
    """
    What goes by a wire, by the step of the unit during which it does: `moments`.

    name: what a piece of what a client says is called, as area and call; None where that is not
    the beginning of anything. bodies: how many bytes follow, or are asked for.
    """

    def __init__(self, wire: Wire, name: Callable[[bytes], tuple[str, str] | None]) -> None:
        self.wire = wire
        self.moments: list[Moment] = []
        self.bodies: dict[Moment, int] = {}
        self._name = name
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._lock = Lock()
        self._step: Callable[[], str] = lambda: "planned"
        self._at: Moment | None = None
        self._act: Callable[[bytes], object] = nothing
        self.hit = False

    @contextmanager
    def on(
        self, case: Case, at: Moment | None = None, act: Callable[[bytes], object] = nothing
    ) -> Iterator[None]:
        """Listen while a case goes its way; do something at a moment, before that is passed on."""
        self.moments.clear()
        self._counts.clear()
        self._step = lambda: case.sky.step
        self._at, self._act, self.hit = at, act, False
        self.wire.heard = self._heard
        try:
            yield
        finally:
            self.wire.heard = nothing
        assert self.hit == (at is not None), at

    def _heard(self, said: bytes) -> None:
        named = self._name(said)
        if named is None:
            return
        with self._lock:
            place = (self._step(), *named)
            self._counts[place] += 1
            moment = Moment(*place, self._counts[place])
            self.moments.append(moment)
            self.bodies[moment] = length(said)
            is_it, self.hit = moment == self._at and not self.hit, self.hit or moment == self._at
        if is_it:
            self._act(said)


REQUEST = re.compile(rb"(PUT|GET|HEAD|POST|DELETE) (\S+) HTTP/1.1\r\n")
LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
RANGE = re.compile(rb"\r\nrange: *bytes=(\d+)-(\d+)", re.IGNORECASE)
PART = re.compile(rb"uploads|uploadId|partNumber|\.lurge-segments|multipart-manifest")


def request(said: bytes) -> tuple[str, str] | None:
    """What a request is about, and its verb."""
    begins = REQUEST.match(said)
    if begins is None:
        return None
    verb, path = begins.groups()
    if PART.search(path):
        area = "a part"
    elif b"/manifests/" in path:
        area = "a manifest"
    else:
        area = "an object" if b"/data/" in path else "the store"
    return area, verb.decode()


def length(said: bytes) -> int:
    """How many bytes follow a request, or are asked for by it."""
    if found := RANGE.search(said):
        return int(found[2]) - int(found[1]) + 1
    return int(found[1]) if (found := LENGTH.search(said)) else 0


QUERY = b"\x03"
VERB = re.compile(rb"[A-Z]+")
STILL = b"SET TRANSACTION ISOLATION"


def statement(said: bytes) -> tuple[str, str] | None:
    """What a statement to MariaDB is; pings, and what opens a connection, count for nothing."""
    verb = VERB.match(said[5:]) if said[4:5] == QUERY else None
    if verb is None or (verb[0] == b"SET" and not said.startswith(STILL, 5)):
        return None
    return "database", verb[0].decode()


FILLER = "filler"


def fill(disk: Path) -> None:
    """Fill a disk to its last byte."""
    with (disk / FILLER).open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            with suppress(OSError):
                while file.write(os.urandom(size)):
                    os.fsync(file.fileno())


def free(disk: Path) -> None:
    """Make room again; btrfs takes its time."""
    (disk / FILLER).unlink(missing_ok=True)
    handle = os.open(disk, os.O_RDONLY)
    try:
        sync_filesystem(handle)
    finally:
        os.close(handle)


def of_each(moments: Sequence[Moment], *calls: str) -> list[Moment]:
    """The first of each kind of these calls, if any are given; or every one: `matrix.EVERY`."""
    some = [each for each in moments if matrix.EVERY or not calls or each.call in calls]
    assert some, calls
    return matrix.chosen(some, last=False)
