"""
Objects that are stored at all targets of a run at once, of bytes that are read once.

What is there already with the same bytes is not sent again; where something else has the key, the
object gets another. What may pass is tried again, and a target without room is waited for.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, TypeVar

from lurge.archiver.pouring import pour
from lurge.archiver.reading import Digests, drained
from lurge_types.archive import Segment
from lurge_types.targets import (
    CHUNK_BYTES,
    ObjectDamaged,
    ObjectMissing,
    Occupied,
    Stored,
    Target,
    TargetFailed,
    TargetFull,
    TargetTrouble,
)
from utils.durable import FULL
from utils.journals import Place
from utils.object_keys import versions

T = TypeVar("T")

PAUSES = (1.0, 4.0, 16.0, 60.0)
"""Seconds between five tries."""

FULL_SECONDS = 60.0
"""How often a target is asked whether it has room again."""


class Stopped(Exception):
    """Another thread has ended what this one was part of."""


class Patience(NamedTuple):
    """
    How what may pass is waited for.

    stop: ends all waiting. check: called after each pause; what it raises ends the waiting.
    waiting: told why, in words.
    """

    pauses: Sequence[float]
    full_seconds: float
    stop: threading.Event
    check: Callable[[], None]
    waiting: Callable[[str], None]

    def tried(self, act: Callable[[], T]) -> T:
        """
        What it gives, tried again where that may help; what is full is waited for.

        Raises TargetFailed, Stopped.
        """
        for pause in self.pauses:
            try:
                return self._with_room(act)
            except TargetTrouble as error:
                self._wait(f"{error}: again in {pause:.0f} s", pause)
        return self._with_room(act)

    def _with_room(self, act: Callable[[], T]) -> T:
        while True:
            try:
                return act()
            except TargetFull as error:
                self._wait(f"{error}: waiting for room", self.full_seconds)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                why = f"{error.filename or 'the disk'}: {error.strerror}"
                self._wait(f"{why}: waiting for room", self.full_seconds)

    def _wait(self, why: str, seconds: float) -> None:
        self.waiting(why)
        if self.stop.wait(seconds):
            raise Stopped
        self.check()


class Body(NamedTuple):
    """
    The bytes of an object, as often as they are asked for.

    read: gives them, and what `segments` returns afterwards are those that they are made of.
    md5: returns the MD5 of all of them, None where no target speaks it.
    """

    size: int
    read: Callable[[], Iterator[bytes]]
    segments: Callable[[], tuple[Segment, ...]]
    md5: Callable[[], str | None]


def store(
    key: str, body: Body, targets: Sequence[Target], unit: str, patience: Patience
) -> tuple[Place, ...]:
    """
    Store an object at each target; where each has it.

    unit: by its name. Raises TargetFailed, Stopped, and what reading the body raises.
    """

    def once() -> list[Stored | None]:
        return _given([(target, key) for target in targets], body)

    places = []
    for target, stored in zip(targets, patience.tried(once), strict=True):
        if stored is None:
            places.append(_elsewhere(key, body, target, unit, patience))
        else:
            places.append(Place(key, 0))
    return tuple(places)


def _given(wanted: Sequence[tuple[Target, str]], body: Body) -> list[Stored | None]:
    """What becomes of giving a body to targets: None where another object has the key."""

    def taker(target: Target, key: str) -> Callable[[Iterable[bytes]], Stored | None]:
        def take(chunks: Iterable[bytes]) -> Stored | None:
            rest = iter(chunks)
            try:
                return target.put(key, rest, body.size)
            except Occupied:
                drained(rest)
                return None

        return take

    takers = [taker(target, key) for target, key in wanted]
    if body.size <= CHUNK_BYTES:
        whole = list(body.read())
        given = [take(whole) for take in takers]
    else:
        given = pour(body.read(), takers)
    for (target, _), stored in zip(wanted, given, strict=True):
        if stored is not None:
            see_told(target, stored, body.size, [body.md5()])
    return given


def see_told(target: Target, stored: Stored, size: int, md5s: Sequence[str | None]) -> None:
    """
    Compare what a target tells of an object that it has just stored; one that differs is deleted.

    Raises TargetTrouble.
    """
    known = [md5 for md5 in md5s if md5 is not None]
    wanted = target.digest(known) if len(known) == len(md5s) else None
    if stored.size == size and (wanted is None or stored.told == wanted):
        return
    target.delete(stored.key)
    raise TargetTrouble(
        f"{target.url}: {stored.key}: it tells of {stored.size} bytes with digest {stored.told}, "
        f"sent were {size} with {wanted}"
    )


def _elsewhere(key: str, body: Body, target: Target, unit: str, patience: Patience) -> Place:
    """Where a target has the bytes, if not under the key: once they have been read."""
    segments = body.segments()
    if patience.tried(lambda: holds(target, key, 0, segments, patience.check)):
        return Place(key, 0)
    for other in versions(key, digest(segments), unit):

        def once(other: str = other) -> Stored | None:
            return _given([(target, other)], body)[0]

        if patience.tried(once) is not None:
            return Place(other, 0)
        if patience.tried(
            lambda other=other: holds(target, other, 0, segments, patience.check)  # type: ignore[misc]
        ):
            return Place(other, 0)
    raise TargetFailed(f"{target.url}: other objects have all keys that {key} could have")


def digest(segments: Sequence[Segment]) -> str:
    """A digest of what has these segments, in hexadecimal: that of one, or of their digests."""
    if len(segments) == 1:
        return segments[0].sha256
    whole = Digests(md5=False)
    for segment in segments:
        whole.add(segment.sha256.encode("ascii"))
    return whole.segment().sha256


def holds(
    target: Target,
    key: str,
    offset: int,
    segments: Sequence[Segment],
    check: Callable[[], None],
) -> bool:
    """
    Whether an object has these bytes from an offset on, by reading them.

    Raises TargetFailed.
    """
    stored = target.stat(key)
    if stored is None or stored.size < offset + sum(segment.size for segment in segments):
        return False
    at = offset
    try:
        for segment in segments:
            if read_back(target, key, at, segment, check) != segment.sha256:
                return False
            at += segment.size
    except (ObjectMissing, ObjectDamaged):
        return False
    return True


def read_back(
    target: Target, key: str, start: int, segment: Segment, check: Callable[[], None]
) -> str:
    """The SHA-256 of what an object has where a segment should be. Raises TargetFailed."""
    found = Digests(md5=False)
    for chunk in target.get(key, start, segment.size):
        check()
        found.add(chunk)
    return found.segment().sha256
