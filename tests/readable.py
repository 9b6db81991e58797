"""
What of a volume is readable where: in its place, in a bin, at a target as a manifest has it.

It knows nothing of the archiver's code, but from its documents how a bin and a manifest look: it
reads plain files with hashlib, gzip and json. Bytes are told apart by their SHA-256.
"""

import gzip
import hashlib
import json
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BIN = b".lurge-bin"
OURS = b".lurge-"
"""What names begin with that no user gives."""

TOMBSTONE = b"This directory was archived by Lurge as unit "


class Seen(NamedTuple):
    """
    Something in its place.

    what: a file's SHA-256, where a link leads, nothing of a directory.
    identity: device and inode. links: how many names it has.
    """

    kind: str
    what: str
    identity: tuple[int, int]
    mode: int
    mtime_ns: int
    links: int


def digest(path: bytes) -> str:
    """The SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(root: bytes) -> dict[bytes, Seen]:
    """
    What is in a tree, by absolute paths, without what is Lurge's: bins, tombstones, unfinished
    files. The root is not in it.
    """
    found: dict[bytes, Seen] = {}
    with os.scandir(root) as listing:
        names = sorted(each.name for each in listing)
    for name in names:
        path = root + b"/" + name
        if name.startswith(OURS) or is_tombstone(path):
            continue
        seen = look(path)
        found[path] = seen
        if seen.kind == "d":
            found |= tree(path)
    return found


def look(path: bytes) -> Seen:
    """What is there."""
    status = os.lstat(path)
    facts = (stat.S_IMODE(status.st_mode), status.st_mtime_ns, status.st_nlink)
    identity = status.st_dev, status.st_ino
    if stat.S_ISDIR(status.st_mode):
        return Seen("d", "", identity, *facts)
    if stat.S_ISLNK(status.st_mode):
        return Seen("l", repr(os.readlink(path)), identity, *facts)
    return Seen("f", digest(path), identity, *facts)


def is_tombstone(path: bytes, *, but: str | None = None) -> bool:
    """
    Whether it is a word that the archiver has left in the place of a directory.

    but: not of this unit.
    """
    status = os.lstat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > 4096:
        return False
    with open(path, "rb") as file:
        first = file.readline(4096)
    return first.startswith(TOMBSTONE) and first != TOMBSTONE + f"{but}\n".encode()


def in_bin(bin_: bytes) -> dict[str, dict[bytes, str]]:
    """By the names of units, the paths below them of the files that are in a bin, with digests."""
    found: dict[str, dict[bytes, str]] = {}
    for path in files(bin_):
        inner = path[len(bin_) + 1 :]
        unit, token, *way = inner.split(b"/")
        if way and way[0] == b"tree":
            assert token.isdigit(), path
            found.setdefault(unit.decode(), {})[b"/".join(way[1:])] = digest(path)
    return found


def files(root: bytes) -> Iterator[bytes]:
    """All files in a tree, whatever they are called."""
    for above, _, names in os.walk(root):
        for name in sorted(names):
            path = above + b"/" + name
            if stat.S_ISREG(os.lstat(path).st_mode):
                yield path


def at_target(target: bytes) -> set[str]:
    """The digests of the files that a target has whole, where a manifest there says."""
    return {digest for copy in copies(target) for digest in copy.values() if digest}


def copies(target: bytes, unit: str = "") -> Iterator[dict[bytes, str | None]]:
    """
    What each manifest at a target says of files: by their paths below the unit, the digests of
    those that are there as a whole, None of the others.

    unit: how the names of those begin that are wanted.
    """
    for folder in (b"manifests", b"versions"):
        for path in files(target + b"/" + folder):
            if (lines := _lines(path)) and lines[0]["unit"].startswith(unit):
                yield {_raw(line["path"]): _whole(target, line) for line in lines if "key" in line}


def _lines(path: bytes) -> list[Any]:
    """Those of a manifest; none of what is none, or not whole."""
    try:
        unzipped = gzip.decompress(Path(os.fsdecode(path)).read_bytes())
        lines = [json.loads(line) for line in unzipped.splitlines()]
    except (gzip.BadGzipFile, zlib.error, EOFError, ValueError):
        return []
    return lines if lines and "manifest" in lines[0] and lines[-1].get("whole") else []


def _whole(target: bytes, line: Any) -> str | None:
    """The digest of a file, None where it is not as a whole where a manifest's line says."""
    digest = _stored(target + b"/" + os.fsencode(line["key"]), line.get("offset", 0), line["size"])
    segments = line["segments"]
    return digest if len(segments) > 1 or segments[0][1] == digest else None


def _raw(form: str) -> bytes:
    """The bytes of a path in its text form, which has escapes as Python has them."""
    return form.encode().decode("unicode_escape").encode("latin-1")


def _stored(path: bytes, offset: int, size: int) -> str | None:
    """The digest of a part of a file, None where it is not there as a whole."""
    try:
        with open(path, "rb") as file:
            file.seek(offset)
            content = file.read(size)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return hashlib.sha256(content).hexdigest() if len(content) == size else None


EMPTY = hashlib.sha256().hexdigest()
"""Of a file without bytes."""


def hashed(content: bytes) -> str:
    """The SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def below(found: dict[bytes, Seen], root: bytes) -> dict[bytes, Seen]:
    """What of it lies below a directory, by paths below that."""
    return {
        path[len(root) + 1 :]: seen for path, seen in found.items() if path.startswith(root + b"/")
    }
