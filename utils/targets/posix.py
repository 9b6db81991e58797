"""
A directory as a target, perhaps on another filesystem: an object is a file, its key the path.

What is in the making is a file beside its place, under a name that no key can have; it takes its
place by a rename that replaces nothing. Nothing is synced by itself: after a loss of power, what
was stored since the last `sync` may be missing, or be there and hold something else.
"""

import errno
import mmap
import os
import re
import secrets
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from lurge_types.targets import (
    CHUNK_BYTES,
    ObjectMissing,
    Occupied,
    Part,
    Stored,
    TargetFailed,
    TargetFull,
    TargetTrouble,
    Upload,
    UploadLost,
    is_key,
)
from utils.durable import FULL, sync_filesystem
from utils.parts import is_left, maker
from utils.renaming import rename_new
from utils.targets.bodies import counted, unchanged
from utils.targets.folders import FOLDER_MODE, OPENING, Folder, Folders

T = TypeVar("T")

FILE_MODE = 0o600
MAKING = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
GOING_ON = os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
# Something else than a file must not be waited for.
READING = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC

LARGEST_FILE = (1 << 63) - 1
MOST_PARTS = 1_000_000

BEHIND_BYTES = 8 << 20
"""After so many bytes that were read they are forgotten: they shall not crowd out what is used."""

PAGE_BYTES = mmap.PAGESIZE
SECOND_NS = 1_000_000_000

TRIES = 10
"""How often a folder is made that others remove meanwhile because it is empty."""

IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY, errno.ELOOP)
MAY_PASS = (
    errno.ESTALE,
    errno.ETIMEDOUT,
    errno.EAGAIN,
    errno.ENOMEM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.ENOTCONN,
    errno.ESHUTDOWN,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.ECONNABORTED,
)
STAYS_FULL = (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT, errno.EBUSY)
"""Why a folder is not removed: it is used, or has gone already."""

WORDS = {
    errno.ENOSPC: "no room left: remove something there, or get more room",
    errno.EDQUOT: "the quota is full: ask for a larger one",
    errno.EACCES: "permission denied: its folders must belong to who runs this",
    errno.EROFS: "read-only there: mount it for writing",
    errno.EIO: "the disk fails: look at the system's log",
    errno.EXDEV: "another filesystem is mounted below the target: give it a target of its own",
}
PLACE = "file://"
UPLOAD_ID = re.compile(r"[0-9a-f]{32}(?:\.([^./\0]{1,64})\.([0-9]{1,19}))?", re.ASCII).fullmatch
"""What is in the making, and the host and process that have begun it; before, nobody told that."""

PART_START, PART_END = ".lurge-", ".part…"


class Posix:
    """
    A directory as a target; see `Target`.

    url: file:///DIRECTORY, as it is, with nothing escaped. It is made if only it is missing, not
    what is above: a filesystem may not be mounted.

    Raises TargetFailed.
    """

    speaks_md5 = False
    largest_put = LARGEST_FILE
    most_parts = MOST_PARTS
    smallest_part = 1

    def __init__(self, url: str) -> None:
        self.url = url
        self._unsynced: str | None = None
        path = url.removeprefix(PLACE).rstrip("/")
        if not url.startswith(PLACE + "/") or not path:
            raise ValueError("must be file:///DIRECTORY")
        try:
            with suppress(FileExistsError):
                Path(path).mkdir(FOLDER_MODE)
        except FileNotFoundError as error:
            raise TargetFailed(
                f"{url}: {Path(path).parent} is not there: mount its filesystem, or make it"
            ) from error
        except OSError as error:
            raise self._failed(None, error) from error
        try:
            # It alone may be a link: whoever configured it knows.
            self._root = Folder(os.open(path, OPENING & ~os.O_NOFOLLOW))
        except OSError as error:
            raise self._failed(None, error) from error
        self._folders = Folders(self._root)

    def put(self, key: str, body: Iterable[bytes], size: int) -> Stored:
        """
        Store an object.

        Raises Occupied, also where a folder has this key or a file is in the place of a folder.
        """
        name = _part_name(_new_id())
        with unchanged(), self._named(key):
            folder, handle = self._make(key, name)
            try:
                _fill(handle, body, size)
                _settle(folder.handle, name, _name(key))
            except BaseException:
                with suppress(OSError):  # what went wrong first counts
                    os.unlink(name, dir_fd=folder.handle)
                raise
        return Stored(key, size, None)

    def begin(self, key: str, size: int) -> Upload:  # noqa: ARG002 - how large is told by parts
        """Begin a large object. Raises Occupied."""
        upload = Upload(key, _new_id())
        with self._named(key):
            _, handle = self._make(key, _part_name(upload.id))
            os.close(handle)
        return upload

    def put_part(
        self, upload: Upload, number: int, start: int, body: Iterable[bytes], size: int
    ) -> Part:
        """Store a part. Raises UploadLost."""
        with unchanged(), self._named(upload.key):
            opened = self._within(upload.key, partial(_open_part, _part_of(upload)))
            if opened is None:
                raise _lost(upload)
            _fill(opened, body, size, start)
        return Part(size, _tag(number, start))

    def finish(self, upload: Upload, parts: Sequence[Part]) -> Stored:
        """
        Make the object of all its parts: they must follow each other, and have the file's size.

        That each was written its tag tells: it was got for it. Raises Occupied, UploadLost.
        """
        _check_parts(upload, parts)
        name = _part_of(upload)
        size = sum(part.size for part in parts)
        with self._named(upload.key):
            folder = self._folder(upload.key)
            found = _look(folder.handle, name) if folder else None
            if folder is None or found is None:
                raise _lost(upload)
            if found.st_size != size:
                raise TargetFailed(
                    f"{self.url}: {upload.key}: its parts have {size:,} bytes, but "
                    f"{found.st_size:,} are there: begin it anew"
                )
            _settle(folder.handle, name, _name(upload.key))
        return Stored(upload.key, size, None)

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts."""
        name = _part_of(upload)
        with self._named(upload.key):
            self._remove(upload.key, name)

    def digest(self, md5s: Sequence[str]) -> None:
        """A filesystem tells none."""

    def stat(self, key: str) -> Stored | None:
        """What it has, None if nothing: folders, links and the like are none."""
        with self._named(key):
            found = self._within(key, _look)
        return found and Stored(key, found.st_size, None)

    def mark(self, key: str) -> str | None:
        """
        The fingerprint of its file, None where there is none, or times have whole seconds only.

        It is opened for that: then a server of NFS is asked, not what is remembered of it.
        """
        with self._named(key):
            handle = self._within(key, _open_file)
            if handle is None:
                return None
            try:
                found = os.fstat(handle)
            finally:
                os.close(handle)
        if found.st_ctime_ns % SECOND_NS == 0:
            return None
        return f"{found.st_ino} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}"

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """
        So many bytes from `start` on.

        The system is told to forget the file's pages before, so that they come from the medium: it
        does so only with those that are synced (`sync`), and a server may remember others.

        Raises ObjectMissing; TargetFailed where there are fewer.
        """
        with self._named(key):
            handle = self._within(key, _open_file)
        if handle is None:
            raise ObjectMissing(f"{self.url}: {key} is not there")
        try:
            with self._named(key):
                has = os.fstat(handle).st_size
                _forget(handle, start, start + size)
            if has < start + size:
                raise TargetFailed(f"{self.url}: {key} has {has:,} bytes, not {start + size:,}")
            yield from self._read(key, handle, start, start + size)
        finally:
            os.close(handle)

    def delete(self, key: str) -> None:
        """Delete an object, and the folders above that are empty then."""
        with self._named(key):
            if self._within(key, _look) is not None:
                self._remove(key, _name(key))

    def list(self, prefix: str) -> Iterator[Stored]:
        """What has a key that begins so, in the order of keys. A folder at a time is in memory."""
        above, _, start = prefix.rpartition("/")
        if not is_key(f"{above}/x" if above or prefix.startswith("/") else "x"):
            return  # nothing can begin so
        # What is to be looked at, the last first; folders end in a slash.
        waiting = [*self._names(above, start)]
        while waiting:
            key = waiting.pop()
            if key.endswith("/"):
                waiting += self._names(key[:-1])
            elif found := self.stat(key):
                yield found

    def sweep(self, folders: Iterable[str], keep: Collection[str]) -> None:
        """
        Remove what processes that were killed had begun to store in folders.

        One on another host counts as killed when it has written nothing for a day. keep: ids of
        uploads that go on.
        """
        for path in folders:
            with self._named(f"{path}/x"):
                try:
                    folder = self._folders.open(path)
                    with os.scandir(folder.handle) as listing:
                        names = [each.name for each in listing if each.name.endswith(PART_END)]
                except (FileNotFoundError, NotADirectoryError):
                    continue
                for name in names:
                    _remove_left(folder.handle, name, keep)

    def sync(self) -> None:
        """
        Return when all that was stored before is durable.

        The system tells once that it could not write something, to whoever had the filesystem open
        before; whose it was it does not tell. So it is remembered, and told ever after.
        """
        if not self._unsynced:
            try:
                sync_filesystem(self._root.handle)
            except OSError as error:
                self._unsynced = error.strerror
        if self._unsynced:
            raise TargetFailed(
                f"{self.url}: {self._unsynced}: what was stored since the last sync may be lost: "
                "look at the system's log, then start anew"
            )
        self._folders.forget()  # what was moved elsewhere is not found from now on

    def free_bytes(self) -> int:
        """How much room is left on the filesystem; quotas are not told."""
        with self._named(None):
            told = os.fstatvfs(self._root.handle)
        return told.f_bavail * told.f_frsize

    def close(self) -> None:
        """Let go of all folders but those that are in use."""
        self._folders.forget()

    def _make(self, key: str, name: str) -> tuple[Folder, int]:
        """A new file beside the place of an object, open, and its folder. Raises Occupied."""
        for _ in range(TRIES):
            try:
                folder = self._folders.open(_above(key), make=True)
                if _exists(folder.handle, _name(key)):
                    raise _occupied(key)
                return folder, os.open(name, MAKING, FILE_MODE, dir_fd=folder.handle)
            except FileNotFoundError:  # somebody has removed it since it was made, or looked up
                self._folders.forget()
            except OSError as error:
                if error.errno in IN_THE_WAY:
                    raise _occupied(key) from error
                raise
        raise TargetTrouble(f"{self.url}: {key}: its folder is removed time and again")

    def _within(self, key: str, act: Callable[[int, str], T | None]) -> T | None:
        """What comes of acting in the folder of an object, None where there is nothing."""
        folder = self._folder(key)
        if folder is None:
            return None
        return act(folder.handle, _name(key))

    def _folder(self, key: str) -> Folder | None:
        """The folder of an object, None where it is not there, or something else."""
        try:
            folder = self._folders.open(_above(key))
            if folder.is_gone():
                self._folders.forget()
                folder = self._folders.open(_above(key))
        except (FileNotFoundError, NotADirectoryError):
            return None
        return folder

    def _remove(self, key: str, name: str) -> None:
        """Remove a file in an object's folder, and the folders above that are empty then."""
        folder = self._folder(key)
        if folder is None:
            return
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=folder.handle)
        while key := _above(key):
            folder = self._folder(key)
            try:
                if folder:
                    os.rmdir(_name(key), dir_fd=folder.handle)
            except OSError as error:
                if error.errno not in STAYS_FULL:
                    raise
                return

    def _names(self, path: str, start: str = "") -> Sequence[str]:
        """What is in a folder and begins so, by whole keys, the last first."""
        with self._named(path or None):
            try:
                folder = self._folders.open(path)
                if folder.is_gone():
                    self._folders.forget()
                    folder = self._folders.open(path)
                with os.scandir(folder.handle) as listing:
                    names = [
                        each.name + "/" * each.is_dir(follow_symlinks=False) for each in listing
                    ]
            except (FileNotFoundError, NotADirectoryError):
                return []
        below = f"{path}/" if path else ""
        keys = [below + name for name in names if name.startswith(start)]
        return sorted((key for key in keys if is_key(key.removesuffix("/"))), reverse=True)

    def _read(self, key: str, handle: int, at: int, end: int) -> Iterator[bytes]:
        behind = at
        while at < end:
            with self._named(key):
                read = os.pread(handle, min(end - at, CHUNK_BYTES), at)
                if not read:
                    raise TargetFailed(f"{self.url}: {key} has become shorter while it was read")
                at += len(read)
                if at - behind >= BEHIND_BYTES:
                    _forget(handle, behind, at)
                    behind = at
            yield read

    @contextmanager
    def _named(self, key: str | None) -> Iterator[None]:
        """Say of errors which object they are about. Raises ValueError for what is no key."""
        if key is not None and not is_key(key):
            raise ValueError(f"no key: {key!a}")
        try:
            yield
        except OSError as error:
            if error.errno == errno.ESTALE:  # a folder was removed on another host
                self._folders.forget()
            raise self._failed(key, error) from error

    def _failed(self, key: str | None, error: OSError) -> TargetFailed:
        where = f"{self.url}: {key}" if key else self.url
        why = WORDS.get(error.errno or 0) or error.strerror or str(error)
        return _kind(error.errno)(f"{where}: {why}")


def _kind(number: int | None) -> type[TargetFailed]:
    if number in FULL:
        return TargetFull
    return TargetTrouble if number in MAY_PASS else TargetFailed


def _above(key: str) -> str:
    return key.rpartition("/")[0]


def _name(key: str) -> str:
    return key.rpartition("/")[2]


def _part_name(upload: str) -> str:
    """The name of what is in the making: a key has ASCII only."""
    return f"{PART_START}{upload}{PART_END}"


def _part_of(upload: Upload) -> str:
    """The same of an upload. Raises ValueError for what is none."""
    if not UPLOAD_ID(upload.id):
        raise ValueError(f"no upload of this target: {upload.id!a}")
    return _part_name(upload.id)


def _new_id() -> str:
    """Of what begins; it tells who has begun it."""
    return f"{secrets.token_hex(16)}.{maker()}"


def _remove_left(folder: int, name: str, keep: Collection[str]) -> None:
    """Remove what was in the making, if its maker was killed."""
    id_ = name.removeprefix(PART_START).removesuffix(PART_END)
    found = UPLOAD_ID(id_)
    if id_ in keep or not (found and found[1] and name == _part_name(id_)):
        return
    with suppress(FileNotFoundError):
        if is_left(found[1], found[2], lambda: _status(folder, name).st_mtime):
            os.unlink(name, dir_fd=folder)


def _status(folder: int, name: str) -> os.stat_result:
    return os.stat(name, dir_fd=folder, follow_symlinks=False)


def _tag(number: int, start: int) -> str:
    return f"{number}@{start}"


def _check_parts(upload: Upload, parts: Sequence[Part]) -> None:
    """See that parts follow each other, from the first on. Raises TargetFailed, ValueError."""
    if len(parts) < 2:
        raise ValueError(f"{upload.key}: what has less than two parts is put at once")
    start = 0
    for number, part in enumerate(parts, 1):
        if part.tag != _tag(number, start):
            raise TargetFailed(f"{upload.key}: part {number} is another one, {part.tag!a}")
        start += part.size


def _occupied(key: str) -> Occupied:
    return Occupied(f"{key}: something is there, or in the place of a folder above")


def _lost(upload: Upload) -> UploadLost:
    return UploadLost(f"{upload.key}: its upload is no longer there: begin it anew")


def _look(folder: int, name: str) -> os.stat_result | None:
    """What is known of a file; None where there is none, or something else."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _exists(folder: int, name: str) -> bool:
    """Whether anything has this name."""
    try:
        os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _open_file(folder: int, name: str) -> int | None:
    """A file for reading; None where there is none, or something else."""
    if _look(folder, name) is None:  # opening a device may do something
        return None
    try:
        return os.open(name, READING, dir_fd=folder)
    except FileNotFoundError:
        return None


def _open_part(part: str, folder: int, _: str) -> int | None:
    """A part file for writing on; None where there is none."""
    try:
        return os.open(part, GOING_ON, dir_fd=folder)
    except FileNotFoundError:
        return None


def _forget(handle: int, start: int, end: int) -> None:
    """
    Let the system forget these bytes of a file, and what is on the same pages, which is not
    forgotten in part.
    """
    start -= start % PAGE_BYTES
    os.posix_fadvise(handle, start, end + -end % PAGE_BYTES - start, os.POSIX_FADV_DONTNEED)


def _fill(handle: int, body: Iterable[bytes], size: int, at: int = 0) -> None:
    """Write a body into an open file, and close it: some filesystems tell of full disks then."""
    try:
        for chunk in counted(body, size):
            written = os.pwrite(handle, chunk, at)
            while written < len(chunk):
                written += os.pwrite(handle, memoryview(chunk)[written:], at + written)
            at += written
    except BaseException:
        with suppress(OSError):  # what went wrong first counts
            os.close(handle)
        raise
    os.close(handle)


def _settle(folder: int, part: str, name: str) -> None:
    """Give a file in the making its name. Raises Occupied."""
    try:
        rename_new(part.encode(), name.encode(), from_=folder, to=folder)
    except OSError as error:
        if error.errno not in IN_THE_WAY:
            raise
        # A server of NFS may have given it its name before, and the answer was lost.
        if error.errno != errno.EEXIST or not _is_same(folder, part, name):
            raise _occupied(name) from error
        os.unlink(part, dir_fd=folder)


def _is_same(folder: int, one: str, other: str) -> bool:
    """Whether two names are of one file. Raises OSError."""
    there = _look(folder, other)
    return there is not None and os.path.samestat(
        there, os.stat(one, dir_fd=folder, follow_symlinks=False)
    )
