"""
What is found of a unit whose state nobody knows: its copies at targets, in a bin, in its place.

A copy is found by its manifest, which is read whole: what it says of itself is all that there is to
say of it.
"""

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple

from lurge.archiver import tombstones
from lurge.archiver.binning import (
    Origin,
    OriginBroken,
    Place,
    places,
    read_origin,
)
from lurge.archiver.handles import opened
from lurge.archiver.purging import differing, entries
from lurge.archiver.sending import Patience
from lurge.archiver.step import order_of
from lurge_types.archive import Entry, Header, UnitNow
from lurge_types.targets import Target
from utils import journals, manifests
from utils.handles import Opener, TreeUnfit
from utils.journals import NEVER, Order
from utils.manifests import ManifestBroken
from utils.object_keys import MANIFESTS

KEY = re.compile(
    rf"{re.escape(MANIFESTS)}([0-9a-f]{{12}})-([0-9]{{6,9}})\.jsonl\.gz(?:~[0-9a-f]+)?", re.ASCII
).fullmatch
NAME = re.compile(rb"([0-9a-f]{12})-([0-9]{6,9})").fullmatch

SHOWN = 3
GONE = (FileNotFoundError, NotADirectoryError, TreeUnfit)

Where = Literal["same", "other", "none"]
"""What is in a unit's place: the very same inode, something else, or nothing."""


class Manifest(NamedTuple):
    """
    A manifest that was read whole.

    root_inode: of a directory. in_place: whether all files of one of kind files are.
    """

    key: str
    header: Header
    sha256: str
    size_bytes: int
    root_inode: int | None
    in_place: bool


@dataclass(frozen=True, slots=True)
class InBin:
    """
    What is in a bin of a unit.

    whole: all of it has been compared with its manifest, once. lacks: what is not as it was put
    there. emptied: that is so as far as a deletion that was broken off would leave it. order: that
    of the copies of which it has come there.
    """

    place: Place
    origin: Origin | None
    whole: bool
    lacks: tuple[str, ...]
    emptied: bool
    token: int
    order: Order


class _Body(io.RawIOBase):
    """An object as a file that is read from its beginning to its end."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = memoryview(b"")
        self.digest = sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self.digest.update(chunk)
            self._rest = memoryview(chunk)
        into = memoryview(buffer)
        size = min(len(into), len(self._rest))
        into[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def read_header(target: Target, key: str, size: int) -> Header:
    """The first line of a manifest at a target. Raises TargetFailed, ManifestBroken."""
    body = _Body(target.get(key, 0, size))
    return manifests.read(io.BufferedReader(body))[0]


def read_manifest(target: Target, key: str, size: int, patience: Patience) -> Manifest:
    """
    A manifest at a target, read whole.

    Raises TargetFailed, ManifestBroken.
    """

    def once() -> Manifest:
        body = _Body(target.get(key, 0, size))
        file = io.BufferedReader(body)
        header, found = manifests.read(file)
        look = _Look(header)
        for entry in found:
            look.at(entry)
        while file.read(1 << 20):
            pass
        return Manifest(
            key, header, body.digest.hexdigest(), size, look.root_inode, look.in_place()
        )

    return patience.tried(once)


class _Look:
    """Looks at what is in the place of entries that go by."""

    def __init__(self, header: Header) -> None:
        self._header = header
        self.root_inode: int | None = None
        self._absent = header.kind == "directory"

    def at(self, entry: Entry) -> None:
        if not entry.path:
            self.root_inode = entry.fingerprint.inode
        if not self._absent:
            path = self._header.root.rstrip(b"/") + b"/" + entry.path
            self._absent = inode_of(path) != entry.fingerprint.inode

    def in_place(self) -> bool:
        return not self._absent


def inode_of(path: bytes) -> int | None:
    """The inode of what has a path, None where nothing has. Raises OSError."""
    folder, name = os.path.split(path)
    try:
        with opened(folder) as handle:
            return os.stat(name, dir_fd=handle, follow_symlinks=False).st_ino
    except GONE:
        return None


def all_in_place(unit: UnitNow, manifest: Path) -> bool:
    """Whether all files of a unit are in their places, by a manifest that is here."""
    try:
        with opened(unit.root) as root, Opener(root) as opener:
            return all(
                opener.stat(entry.path).st_ino == entry.fingerprint.inode
                for entry in entries(manifest)
            )
    except (*GONE, ManifestBroken):
        return False


def where(unit: UnitNow, inode: int | None) -> Where:
    """What is in the place of a directory that had this inode. Raises OSError."""
    there = inode_of(unit.root)
    if there is None:
        return "none"
    with suppress(*GONE), opened(os.path.dirname(unit.root)) as folder:
        if tombstones.stands(unit, folder):
            return "none"
    return "same" if there == inode else "other"


def in_bin(
    bins: Iterable[bytes], unit: str, kind: str, tell: Callable[[str], None]
) -> InBin | None:
    """
    What bins have of a unit; of several places the newest, the others are told of.

    Raises OSError.
    """
    found = [place for bin_ in dict.fromkeys(bins) for place in _places(bin_, unit)]
    if not found:
        return None
    found.sort(key=lambda place: int(os.path.basename(place.folder)))
    for place in found[:-1]:
        tell(f"{os.fsdecode(place.tree)!r} is in a bin, too: see what it is")
    return _looked_at(found[-1], kind, tell)


def _places(bin_: bytes, unit: str) -> list[Place]:
    try:
        return places(bin_, unit)
    except NotADirectoryError:
        return []


def _looked_at(place: Place, kind: str, tell: Callable[[str], None]) -> InBin:
    try:
        origin = read_origin(place.origin)
    except OriginBroken as error:
        tell(str(error))
        origin = None
    whole = place.manifest.exists()
    lacks: tuple[str, ...] = ()
    emptied = False
    if whole:
        differs = partial(differing, place, "files" if kind == "files" else "directory")
        lacks = tuple(islice(differs(deleting=False), SHOWN))
        emptied = bool(lacks) and next(differs(deleting=True), None) is None
    token = int(os.path.basename(place.folder))
    order = _order_in(place) if whole else NEVER
    return InBin(place, origin, whole, lacks, emptied, token, order)


def _order_in(place: Place) -> Order:
    try:
        with place.manifest.open("rb") as file:
            return order_of(manifests.read(file)[0])
    except ManifestBroken:  # which is among what is not as it was put there
        return NEVER


def token_of(folder: Path) -> int:
    """The largest token of a unit's journals, 0 if there is none. Raises OSError."""
    try:
        known = journals.journals(folder, 1 << 62)
    except FileNotFoundError:
        return 0
    return max((order.token for order in known), default=0)
