"""
What is where, told by nobody but the disk and the target: an oracle that knows no code of Lurge's.

It knows docs/archiving.md: where a bin is and what is in it, what a manifest looks like, that an
object is named by its key. Whether a byte is safe it tells by reading it.
"""

import gzip
import json
import os
import shutil
import sqlite3
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Protocol

BIN = ".lurge-bin"
LEDGER = ("archive_run", "archive_unit", "archive_copy")


class Fact(NamedTuple):
    """
    What a path has: a file's SHA-256, a link's goal. first: the first path of the same inode.
    """

    kind: str
    content: str
    mode: int
    mtime_ns: int
    first: bytes


Tree = Mapping[bytes, Fact]


class Shelf(Protocol):
    """Where objects are."""

    def sizes(self) -> Mapping[str, int]:
        """Of all, by their keys."""

    def read(self, key: str) -> bytes:
        """One; raises KeyError."""


class FolderShelf:
    """A directory in which each object is a file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def sizes(self) -> Mapping[str, int]:
        return {
            os.path.relpath(os.path.join(above, name), self.folder): os.lstat(
                os.path.join(above, name)
            ).st_size
            for above, _, names in os.walk(self.folder)
            for name in names
        }

    def read(self, key: str) -> bytes:
        try:
            return (self.folder / key).read_bytes()
        except OSError as error:
            raise KeyError(key) from error


def tree(root: Path) -> dict[bytes, Fact]:
    """All that is at a path and below; nothing where nothing is."""
    found: dict[bytes, Fact] = {}
    firsts: dict[tuple[int, int], bytes] = {}
    for path in _walk(os.fsencode(root)):
        status = os.lstat(path)
        relative = path[len(os.fsencode(root)) + 1 :]
        first = firsts.setdefault((status.st_dev, status.st_ino), relative)
        kind, content = _content(path, status.st_mode)
        mtime = 0 if kind == "l" else status.st_mtime_ns
        found[relative] = Fact(kind, content, stat.S_IMODE(status.st_mode), mtime, first)
    return found


def _walk(root: bytes) -> Iterator[bytes]:
    if not os.path.lexists(root):
        return
    yield root
    if os.path.isdir(root) and not os.path.islink(root):
        for name in sorted(os.listdir(root)):
            yield from _walk(root + b"/" + name)


def _content(path: bytes, mode: int) -> tuple[str, str]:
    if stat.S_ISLNK(mode):
        return "l", os.fsdecode(os.readlink(path))
    if stat.S_ISREG(mode):
        with open(path, "rb") as file:
            return "f", sha256(file.read()).hexdigest()
    return ("d", "") if stat.S_ISDIR(mode) else ("?", "")


def raw(form: str) -> bytes:
    """The bytes of a name in a manifest."""
    return form.encode().decode("unicode_escape").encode("latin-1")


@dataclass
class Copied:
    """
    What a target has of a unit, by its manifests there.

    whole: what is readable by any of them. broken: what one tells of and is not so. named: keys of
    objects that they name, their own among them.
    """

    whole: dict[bytes, Fact] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)


def copied(shelf: Shelf, root: Path) -> Copied:
    """All that manifests at a target tell of a unit, by its root."""
    found = Copied()
    for key in shelf.sizes():
        if not key.startswith("manifests/") or "/." in key:
            continue
        try:
            lines = gzip.decompress(shelf.read(key)).splitlines()
            header, *entries, end = map(json.loads, lines)
        except (OSError, EOFError, ValueError) as error:
            found.broken.append(f"{key}: {error}")
            continue
        if raw(header["root"]) != os.fsencode(root):
            continue
        found.named.add(key)
        if end != {"whole": True, "entries": len(entries)}:
            found.broken.append(f"{key} is cut short")
        for entry in entries:
            _see(shelf, entry, found)
    return found


def _see(shelf: Shelf, entry: dict[str, Any], found: Copied) -> None:
    path = raw(entry["path"])
    first = raw(entry.get("same_as", entry["path"]))
    content = entry.get("link", "")
    if entry["kind"] == "f" and "same_as" not in entry:
        found.named.add(entry["key"])
        try:
            whole = shelf.read(entry["key"])
        except KeyError:
            found.broken.append(f"{entry['key']} is not there")
            return
        at, end = entry.get("offset", 0), entry.get("offset", 0) + entry["size"]
        content = sha256(whole[at:end]).hexdigest()
        for size, digest, _ in entry["segments"]:
            if sha256(whole[at : at + size]).hexdigest() != digest:
                found.broken.append(f"{entry['key']} is not what its manifest says")
                return
            at += size
    elif entry["kind"] == "f":
        if first not in found.whole:
            return
        content = found.whole[first].content
    mtime = 0 if entry["kind"] == "l" else entry["mtime_ns"]
    if entry["kind"] == "l":
        content = os.fsdecode(raw(content))
    found.whole[path] = Fact(entry["kind"], content, int(entry["mode"], 8), mtime, first)


class Binned(NamedTuple):
    """Something in a bin: the folder of a unit, what tells of it, and what is in it."""

    folder: Path
    origin: dict[str, Any] | None
    tree: Tree


def binned(bin_: Path) -> list[Binned]:
    """What is in a bin."""
    found = []
    for folder in sorted(bin_.iterdir()) if bin_.exists() else ():
        origin = folder / "origin.json"
        told = json.loads(origin.read_bytes()) if origin.exists() else None
        for token in sorted(folder.iterdir()):
            if token.name.isdigit():
                found += [Binned(folder, told, tree(token / "tree"))]
    return found


@dataclass(frozen=True)
class Unit:
    """
    What is archived, as it was: all of a directory, or some files in it.

    before: all that is at the root, and below. members: which of that the unit is.
    """

    root: Path
    before: Tree
    members: frozenset[bytes]

    def wanted(self) -> Iterator[tuple[bytes, Fact]]:
        """What must never be lost."""
        yield from ((path, self.before[path]) for path in sorted(self.members))


def homeless(
    unit: Unit, bin_: Path, shelves: Sequence[Shelf], run_names: Callable[[str], bool]
) -> list[str]:
    """
    What of a unit is nowhere to be read and found: in its place, in a bin, or at a target.

    While it is in a bin or its place all is well. Once anything of it is in neither, every target
    has all of it whole.

    run_names: whether a run file that is there names a unit, which tells whose a folder in the bin
    is until its origin is written.
    """
    place = tree(unit.root)
    bins = binned(bin_)
    here: set[bytes] = set()
    for path, fact in unit.wanted():
        if _same(place.get(path), fact):
            here.add(path)
        for each in bins:
            findable = (
                raw(each.origin["root"]) == os.fsencode(unit.root)
                if each.origin
                else run_names(each.folder.name)
            )
            if findable and _same(each.tree.get(path), fact):
                here.add(path)
    gone = [path for path, _ in unit.wanted() if path not in here]
    if not gone:
        return []
    wrong = []
    for number, shelf in enumerate(shelves):
        there = copied(shelf, unit.root)
        wrong += [
            f"target {number}: {path!r}: {there.whole.get(path)}, was {fact}"
            for path, fact in unit.wanted()
            if not _same(there.whole.get(path), fact)
        ]
    return wrong if shelves else [f"{path!r} is nowhere" for path in gone]


def _same(found: Fact | None, fact: Fact) -> bool:
    """Whether it is what it was, but for the times of directories, which change as they empty."""
    if found is None:
        return False
    if fact.kind == "d":
        return found.kind == "d"
    return found[:4] == fact[:4]


@contextmanager
def _reading(database: Path) -> Iterator[sqlite3.Connection]:
    """A database as it is after whoever wrote to it was killed, which is left to the next."""
    with TemporaryDirectory(dir=database.parent) as folder:
        for file in database.parent.glob(f"{database.name}*"):
            shutil.copy(file, folder)
        with closing(sqlite3.connect(Path(folder, database.name))) as connection:
            yield connection


def ledger(database: Path) -> dict[str, list[tuple[Any, ...]]]:
    """The rows that tell of what was done, but for the audit and leases."""
    with _reading(database) as connection:
        return {
            table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
            for table in LEDGER
        }


def states(database: Path) -> list[str]:
    """Of all units."""
    with _reading(database) as connection:
        select = "SELECT state FROM archive_unit ORDER BY unit_id"
        return [state for (state,) in connection.execute(select)]


def listing(folder: Path) -> dict[str, tuple[int, ...]]:
    """All names below a folder with what would tell of any change."""
    return {
        os.path.relpath(path, os.fsencode(folder)).decode(errors="surrogateescape"): (
            (found := os.lstat(path)).st_ino,
            found.st_mode,
            found.st_size if not stat.S_ISDIR(found.st_mode) else 0,
            found.st_mtime_ns,
            found.st_ctime_ns,
            found.st_nlink,
        )
        for path in _walk(os.fsencode(folder))
    }
