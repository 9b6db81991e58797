"""Directories that a person has named in a file, one a line or with NUL bytes between."""

from collections.abc import Iterator
from typing import IO

from lurge_types.archive import Proposal, Skipped
from utils import places
from utils.paths import raw, text

CHUNK_BYTES = 1 << 16
LONGEST_ITEM = 4 * places.LONGEST_PATH
"""Bytes of a path in its text form; what is longer is cut, and no path."""


def paths(file: IO[bytes], *, null: bool = False) -> Iterator[Proposal | Skipped]:
    """
    The directories of a list, in its order.

    null: bytes of paths with NUL between; else lines in the text form of paths, as pages and TSV
    files have them. Empty ones are passed over.
    """
    seen: set[bytes] = set()
    for item in filter(None, _items(file, b"\0" if null else b"\n")):
        root = item if null else _raw(item)
        if root is None:
            yield Skipped(item, None, "is not in the form in which Lurge shows paths")
        else:
            yield _look(root.rstrip(b"/") or root, seen)


def _look(path: bytes, seen: set[bytes]) -> Proposal | Skipped:
    if why := places.wrong(path):
        return Skipped(path, None, why)
    root = places.real(path)
    if root in seen:
        return Skipped(root, None, "is in the list above")
    seen.add(root)
    why = places.bar(root)
    return Skipped(root, None, why) if why else Proposal(root, "directory")


def _raw(line: bytes) -> bytes | None:
    """The path whose text form a line is; None if it is none."""
    try:
        path = raw(line.decode("utf-8"))
    except UnicodeDecodeError:
        return None
    return path if text(path).encode() == line else None


def _items(file: IO[bytes], end: bytes) -> Iterator[bytes]:
    """What stands between the ends; of what is too long only its beginning."""
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(end)
        yield from (item[: LONGEST_ITEM + 1] for item in whole)
        rest = rest[: LONGEST_ITEM + 1]
    yield rest
