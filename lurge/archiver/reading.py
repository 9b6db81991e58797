"""
Bytes of a unit's files, read once on their way to the targets, with their digests.

A file is looked at before its first byte is read and again before its last is given out: so what
stores a body only when it is whole never stores bytes of a file that was changed meanwhile.
"""

import hashlib
import os
from collections.abc import Callable, Iterator

from lurge.archiver import released
from lurge_types.archive import Entry, Segment
from lurge_types.targets import CHUNK_BYTES
from utils.paths import text
from utils.trees import fingerprint

Check = Callable[[], None]


class Changed(Exception):
    """A unit is not what was planned: which of its entries, and how."""


class SourceFailed(Exception):
    """A file of a unit cannot be read: which, and why."""


class Digests:
    """The digests of the bytes that are shown to it."""

    def __init__(self, *, md5: bool) -> None:
        self.size = 0
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False) if md5 else None

    def add(self, chunk: bytes) -> None:
        """Count these in."""
        self.size += len(chunk)
        self._sha256.update(chunk)
        if self._md5:
            self._md5.update(chunk)

    def segment(self) -> Segment:
        """All that was shown."""
        md5 = self._md5.hexdigest() if self._md5 else None
        return Segment(self.size, self._sha256.hexdigest(), md5)


def see_unchanged(handle: int, entry: Entry, path: bytes) -> os.stat_result:
    """
    See that an open file is what was planned; what is told of it now.

    Raises Changed, SourceFailed.
    """
    try:
        found = os.fstat(handle)
    except OSError as error:
        raise SourceFailed(f"{text(path)}: {error.strerror}") from error
    if fingerprint(found) != entry.fingerprint:
        raise Changed(f"{text(path)} has changed since it was planned")
    return found


def chunks(
    handle: int, entry: Entry, path: bytes, part: range, check: Check, *, recall: bool = False
) -> Iterator[bytes]:
    """
    The bytes of a part of an open file.

    path: for words. check: called before each chunk is given out; what it raises ends it.
    recall: also if that brings them back from an HSM.

    Raises Changed, SourceFailed.
    """
    found = see_unchanged(handle, entry, path)
    if not recall:
        _see_here(handle, found, path)
    at = part.start
    while at < part.stop:
        chunk = _read(handle, min(CHUNK_BYTES, part.stop - at), at, path)
        if not chunk:
            raise Changed(f"{text(path)} has become shorter")
        at += len(chunk)
        if at == part.stop:
            see_unchanged(handle, entry, path)
        check()
        yield chunk


def _see_here(handle: int, found: os.stat_result, path: bytes) -> None:
    """See that a file was not released to an HSM, which changes nothing else of it."""
    try:
        why = released.of_open(handle, found)
    except OSError as error:
        raise SourceFailed(f"{text(path)}: {error.strerror}") from error
    if why:
        raise Changed(f"{text(path)} {why}")


def _read(handle: int, size: int, at: int, path: bytes) -> bytes:
    try:
        return os.pread(handle, size, at)
    except OSError as error:
        raise SourceFailed(f"{text(path)}: {error.strerror}") from error


def shown_to(chunks: Iterator[bytes], *digests: Digests) -> Iterator[bytes]:
    """The same chunks, each counted in."""
    for chunk in chunks:
        for each in digests:
            each.add(chunk)
        yield chunk


def drained(chunks: Iterator[bytes]) -> None:
    """Read to the end, for the digests alone."""
    for _ in chunks:
        pass
