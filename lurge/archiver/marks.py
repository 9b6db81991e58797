"""
What a target told of objects when they were read back: by that it is seen later who was touched.

Most filesystems tell no digest of a file, but another time of change after whatever was done to it.
What they told just before a file's bytes were read back is kept beside the manifest of the copy,
by the file's number; who tells the same today has the same bytes. So it does not matter whose clock
is right: times are only compared with the same server's. Where nothing is kept nothing is known.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b, sha256
from pathlib import Path

from lurge_types.archive import Copy
from utils.durable import room_in, sync_folder

HEAD_BYTES = sha256().digest_size
MARK_BYTES = 16


class Marks:
    """
    Those of a copy's files by their numbers, in an open file; or none. Threads may use it.

    In the file stand first the digest of the manifest, then, at their numbers, digests of each.
    """

    def __init__(self, handle: int | None, file: Path) -> None:
        self._handle = handle
        self._file = file

    def add(self, number: int, key: str, mark: str | None) -> None:
        """Keep what a target told of a file's object before it was read. Raises NoRoom, OSError."""
        if self._handle is not None and mark is not None:
            with room_in(self._file.parent):
                os.pwrite(self._handle, _digest(key, mark), _at(number))

    def has(self, number: int, key: str, mark: str | None) -> bool:
        """Whether it told the same then. Raises OSError."""
        if self._handle is None or mark is None:
            return False
        return os.pread(self._handle, MARK_BYTES, _at(number)) == _digest(key, mark)


@contextmanager
def written(manifest: Path, copy: Copy) -> Iterator[Marks]:
    """
    Marks to be filled; kept in the end, durably, if nothing was raised. Raises NoRoom, OSError.

    manifest: of the copy, beside which they are.
    """
    file = _file_of(manifest)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with room_in(file.parent):
        handle = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with room_in(file.parent):
            os.pwrite(handle, _head(copy), 0)
        yield Marks(handle, file)
        with room_in(file.parent):
            os.fsync(handle)
            part.rename(file)
    finally:
        os.close(handle)
        part.unlink(missing_ok=True)
    sync_folder(file.parent)


@contextmanager
def known(manifest: Path, copy: Copy) -> Iterator[Marks]:
    """What is kept of a copy. Raises OSError."""
    file = _file_of(manifest)
    try:
        handle = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        yield Marks(None, file)
        return
    try:
        is_its = os.pread(handle, HEAD_BYTES, 0) == _head(copy)
        yield Marks(handle if is_its else None, file)
    finally:
        os.close(handle)


def _file_of(manifest: Path) -> Path:
    return manifest.with_suffix(".marks")


def _head(copy: Copy) -> bytes:
    return bytes.fromhex(copy.manifest_sha256)


def _at(number: int) -> int:
    return HEAD_BYTES + number * MARK_BYTES


def _digest(key: str, mark: str) -> bytes:
    return blake2b(f"{key}\n{mark}".encode("ascii"), digest_size=MARK_BYTES).digest()
