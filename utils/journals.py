"""
The journal of a unit: what was copied where, line by line, so that nothing is copied twice.

Each worker that takes a unit up writes a journal of its own, named by the token of its lease, and
reads those of smaller tokens: whoever has lost the unit can spoil nothing. A worker that finds a
copy lost begins another round. Lines of entries in packs are in the order of the manifest, and so
are those of other whole entries, so journals are merged as they are read; what is not whole is
little.

A line is JSON. A half one at the end is what a killed worker left, and counts for nothing.
"""

import heapq
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from lurge_types.archive import Segment
from lurge_types.targets import Part, Upload
from utils.durable import room_in

NAME = re.compile(r"([0-9]+)-([0-9]+)\.journal", re.ASCII).fullmatch


class JournalBroken(Exception):
    """A journal has a line that nobody has written: which, and what to do."""


class Place(NamedTuple):
    """Where a target has the bytes of an entry: an object's key, and from which byte on."""

    key: str
    offset: int


class Copied(NamedTuple):
    """
    What became of an entry, by its number in the manifest, counted from 0.

    places: of each target of the run, in their order; none where the copy was found to be lost.
    packed: whether others are in the same object.
    """

    number: int
    segments: tuple[Segment, ...]
    places: tuple[Place, ...]
    packed: bool = False


class PartDone(NamedTuple):
    """A part of an entry's bytes that a target has: of which upload, and with which digests."""

    upload: Upload
    part: Part
    segment: Segment


Unfinished = Mapping[int, Mapping[int, Mapping[int, PartDone]]]
"""Parts of entries that are not whole: by the entry, the target, and the part's number."""


class Order(NamedTuple):
    """Which journal goes before which: by the token of the lease, then by the round."""

    token: int
    round: int


NEVER = Order(0, 0)
"""Goes before all others."""


class Journal:
    """
    A journal that is written, by any thread; see the module for the order of its lines.

    Raises NoRoom, OSError.
    """

    def __init__(self, folder: Path, order: Order) -> None:
        self._folder = folder
        with room_in(folder):
            self._file = (folder / f"{order.token}-{order.round}.journal").open("xb")
        self._alone = Lock()
        self._failed: OSError | None = None

    def copied(self, done: Copied) -> None:
        """An entry is whole at every target."""
        self._add(
            {
                "n": done.number,
                "segments": done.segments,
                "places": done.places,
                "packed": done.packed,
            }
        )

    def part(self, number: int, target: int, part: int, done: PartDone) -> None:
        """A target has a part of an entry."""
        self._add({"n": number, "target": target, "part": part, "done": done})
        self.flush()

    def flush(self) -> None:
        """Let a worker that comes after this one see all lines, if only the process ends."""
        with self._alone, room_in(self._folder):
            self._file.flush()

    def sync(self) -> None:
        """Make all lines durable."""
        self.flush()
        with room_in(self._folder):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Write no more; what was not synced may be lost with the machine's power."""
        with room_in(self._folder):
            self._file.close()

    def _add(self, line: object) -> None:
        written = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        with self._alone, room_in(self._folder):
            if self._failed:  # a half line must stay the last one
                raise self._failed
            try:
                self._file.write(written)
            except OSError as error:
                self._failed = error
                raise


def journals(folder: Path, token: int) -> dict[Order, Path]:
    """The journals of a unit that were written with this token or smaller ones, by their order."""
    names = filter(None, (NAME(path.name) for path in folder.iterdir()))
    orders = sorted(Order(int(name[1]), int(name[2])) for name in names)
    return {
        order: folder / f"{order.token}-{order.round}.journal"
        for order in orders
        if order.token <= token
    }


def last(known: Mapping[Order, Path]) -> Order:
    """
    The order of the last journal in which there is anything: who copies anew writes a later one.

    Raises OSError.
    """
    return max((order for order, path in known.items() if path.stat().st_size), default=NEVER)


def copied(paths: Mapping[Order, Path]) -> Iterator[Copied]:
    """
    What is known of each entry, in the order of the manifest: what the last journal says of it.

    Raises JournalBroken, OSError.
    """

    def of_one(order: Order, path: Path, packed: bool) -> Iterator[tuple[int, Order, Copied]]:
        for line in _lines(path):
            if "places" in line and line["packed"] is packed:
                places = tuple(Place(*place) for place in line["places"])
                segments = tuple(Segment(*segment) for segment in line["segments"])
                yield line["n"], order, Copied(line["n"], segments, places, packed)

    merged = heapq.merge(
        *(of_one(*path, packed) for path in paths.items() for packed in (False, True))
    )
    for _, of_entry in groupby(merged, key=itemgetter(0)):
        *_, (_, _, last) = of_entry
        yield last


def unfinished(paths: Iterable[Path]) -> Unfinished:
    """
    The parts of the entries that are not whole, as far as their upload is the last one begun.

    Raises JournalBroken, OSError.
    """
    found: dict[int, dict[int, dict[int, PartDone]]] = {}
    for path in paths:
        for line in _lines(path):
            if "part" not in line:
                found.pop(line["n"], None)
                continue
            upload, part, segment = line["done"]
            done = PartDone(Upload(*upload), Part(*part), Segment(*segment))
            parts = found.setdefault(line["n"], {}).setdefault(line["target"], {})
            if any(other.upload != done.upload for other in parts.values()):
                parts.clear()
            parts[line["part"]] = done
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            yield _parsed(path, line)


def _parsed(path: Path, line: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(line)
        if "places" in parsed or "part" in parsed:
            return dict(parsed)
    except (ValueError, TypeError) as error:
        raise JournalBroken(_broken(path)) from error
    raise JournalBroken(_broken(path))


def _broken(path: Path) -> str:
    return f"{path} has a line that is none: move it away, its unit is copied anew"
