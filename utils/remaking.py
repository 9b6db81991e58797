"""
Making the entries of a unit again, from the lines of its manifest, with all their facts.

Whatever is made gets a name that nobody knows, all its facts, and only then its own name: so what
has its own name is whole, and nothing is replaced unawares. Facts are given by a handle of what was
made, so a name that is swapped meanwhile changes nothing elsewhere. A directory gets its facts when
all that is in it is made, as that changes its times, and may need rights that it does not give.

Nothing is durable before the filesystem is synced, which is for the caller to do, once.
"""

import errno
import hashlib
import os
import re
import secrets
import stat
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import islice
from types import TracebackType
from typing import NamedTuple, Self

from lurge_types.archive import Entry, Segment
from utils.handles import CLOSED, DIRECTORY, Opener
from utils.paths import text
from utils.renaming import rename_new
from utils.trees import KEPT_NAMES, NO_ATTRIBUTES, fingerprint

TYPES = {"F": stat.S_IFIFO, "s": stat.S_IFSOCK, "b": stat.S_IFBLK, "c": stat.S_IFCHR}
SETS_ID = stat.S_ISUID | stat.S_ISGID
NOT_OURS = (errno.EPERM, errno.EINVAL)
UNSETTABLE = (
    errno.EACCES,
    errno.E2BIG,
    errno.EINVAL,
    errno.ENOSPC,
    errno.ENOTSUP,
    errno.EPERM,
    errno.ERANGE,
)
"""What an attribute that a filesystem or a user cannot have is refused with."""

Told = Callable[[bytes, str], None]
"""Is told of a path what of it could not be made again."""


class NameTaken(Exception):
    """Something else has the name: which, and what to do."""


class ContentWrong(Exception):
    """The bytes are not those of the file: which, and in what."""


class PartnerGone(Exception):
    """What an entry is a further name of is not there, or is something else: which."""


PART = re.compile(
    rb"\.lurge-([0-9a-f]{12}-[0-9]{6,9})\.([0-9]{1,19})\.[0-9a-f]{16}\.part"
).fullmatch
"""What something is called while a `Maker` makes it: of which unit, by which number."""


class Maker(NamedTuple):
    """Whoever makes entries of a unit, by its name, and the number of its lease."""

    name: str
    number: int


class _LeftOut(Exception):
    """An entry that cannot be made here, and why."""


class Remaking:
    """
    Makes entries below a directory, in the order of a manifest; for one thread.

    root: a handle of the directory, which stays the caller's.
    overwrite: replace what has a name, but for directories, which get their facts.
    maker: by what is told whose it is that is being made. What those of the same name and smaller
    numbers have left in a directory is removed before anything is made there.

    As a context it ends with the directories' facts, or without, after an error.
    """

    def __init__(
        self, root: int, told: Told, *, overwrite: bool = False, maker: Maker | None = None
    ) -> None:
        self._told = told
        self._maker = maker
        self._swept: list[bytes] = []
        self._overwrite = overwrite
        self._opener = Opener(root)
        self._partners = Opener(root)
        self._unfinished: list[Entry] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._finish_beside(None)
        finally:
            self._opener.close()
            self._partners.close()

    def make(self, entry: Entry, content: Iterable[bytes] = ()) -> None:
        """
        Make an entry; the root's own is only given its facts.

        content: the bytes of a file that is the first name of its inode, holes as zeros; they are
        compared with the entry's digests, if it has any.

        Raises NameTaken, ContentWrong, PartnerGone, PathRefused, TreeChanged, OSError, and what
        `content` does.
        """
        self._finish_beside(entry.path)
        if not entry.path:
            self._unfinished.append(entry)
            return
        try:
            self._make(entry, content)
        except _LeftOut as reason:
            self._told(entry.path, str(reason))

    def _make(self, entry: Entry, content: Iterable[bytes]) -> None:
        above, name = self._place(entry.path)
        kind = entry.fingerprint.kind
        if kind == "d":
            self._directory(above, name, entry)
        elif entry.same_as is not None:
            self._further_name(above, name, entry, entry.same_as)
        elif kind == "f":
            self._file(above, name, entry, content)
        else:
            self._special(above, name, entry)

    def _place(self, path: bytes) -> tuple[int, bytes]:
        """Where an entry is to be; directories that no entry was of are made."""
        try:
            return self._opener.place(path)
        except FileNotFoundError:
            way = path.split(b"/")[:-1]
        for depth in range(1, len(way) + 1):
            here = b"/".join(way[:depth])
            above, name = self._opener.place(here)
            with suppress(FileExistsError):
                os.mkdir(name, dir_fd=above)
                self._told(here, "is made as a new directory, as nothing is known of it")
        return self._opener.place(path)

    def _directory(self, above: int, name: bytes, entry: Entry) -> None:
        try:
            os.mkdir(name, stat.S_IRWXU, dir_fd=above)
        except FileExistsError:
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
            if not stat.S_ISDIR(found.st_mode):
                raise self._taken(entry.path) from None
            if not self._overwrite:
                self._told(entry.path, "is there already: mode, owner and times stay as they are")
                return
        self._unfinished.append(entry)

    def _finish_beside(self, path: bytes | None) -> None:
        """Give directories their facts in which the entry does not lie; None: all."""
        while self._unfinished:
            entry = self._unfinished[-1]
            if path is not None and (not entry.path or path.startswith(entry.path + b"/")):
                return
            self._dress(self._opener.directory(entry.path), entry)
            self._unfinished.pop()

    def _file(self, above: int, name: bytes, entry: Entry, content: Iterable[bytes]) -> None:
        with self._part(above, name, entry) as part:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | CLOSED
            handle = os.open(part, flags, stat.S_IRUSR | stat.S_IWUSR, dir_fd=above)
            try:
                _fill(handle, entry, content)
                self._dress(handle, entry)
            finally:
                os.close(handle)

    def _special(self, above: int, name: bytes, entry: Entry) -> None:
        """A symbolic link, a pipe, a socket, or a device."""
        with self._part(above, name, entry) as part:
            if entry.link is not None:
                os.symlink(entry.link, part, dir_fd=above)
            else:
                mode = TYPES[entry.fingerprint.kind] | stat.S_IRUSR | stat.S_IWUSR
                try:
                    os.mknod(part, mode, entry.rdev, dir_fd=above)
                except PermissionError as error:
                    raise _LeftOut("is a device, which only root may make: left out") from error
            handle = os.open(part, os.O_PATH | CLOSED, dir_fd=above)
            try:
                _see_made(handle, entry)
                self._dress(handle, entry)
            finally:
                os.close(handle)

    def _further_name(self, above: int, name: bytes, entry: Entry, first: bytes) -> None:
        try:
            partner, its_name = self._partners.place(first)
            found = os.stat(its_name, dir_fd=partner, follow_symlinks=False)
        except (FileNotFoundError, NotADirectoryError) as error:
            if entry.fingerprint.kind in "bc":
                raise _LeftOut(f"is the device {text(first)}, too: left out") from error
            raise PartnerGone(
                f"{text(entry.path)} is {text(first)}, too, which is not there: make that first"
            ) from error
        now, known = fingerprint(found), entry.fingerprint
        if (now.kind, now.size, now.mtime_ns) != (known.kind, known.size, known.mtime_ns):
            raise PartnerGone(
                f"{text(entry.path)} is {text(first)}, too, but something else has that name"
            )
        with self._part(above, name, entry) as part:
            os.link(its_name, part, src_dir_fd=partner, dst_dir_fd=above, follow_symlinks=False)

    @contextmanager
    def _part(self, above: int, name: bytes, entry: Entry) -> Iterator[bytes]:
        """A name to make something under; then it gets its own, or nothing is left of it."""
        part = b".lurge-%s.part" % secrets.token_hex(8).encode("ascii")
        if self._maker is not None:
            self._sweep(self._maker, above, entry.path.rpartition(b"/")[0])
            unit, number = self._maker.name.encode("ascii"), self._maker.number
            part = b".lurge-%s.%d.%s" % (unit, number, part.removeprefix(b".lurge-"))
        try:
            yield part
            self._rename(part, name, above, entry)
        finally:
            # It is there still after an error, or if both names were of one inode.
            with suppress(FileNotFoundError):
                os.unlink(part, dir_fd=above)

    def _sweep(self, maker: Maker, above: int, path: bytes) -> None:
        """Remove from a directory what others have begun to make, unless that was just done."""
        while self._swept and not _is_in(path, self._swept[-1]):
            self._swept.pop()
        if self._swept and self._swept[-1] == path:
            return
        self._swept.append(path)
        with suppress(PermissionError):  # who may write there need not be allowed to read
            _remove_left(maker, above)

    def _rename(self, part: bytes, name: bytes, above: int, entry: Entry) -> None:
        try:
            if self._overwrite:
                os.rename(part, name, src_dir_fd=above, dst_dir_fd=above)
            else:
                rename_new(part, name, from_=above, to=above)
        except (FileExistsError, IsADirectoryError) as error:
            raise self._taken(entry.path) from error

    def _taken(self, path: bytes) -> NameTaken:
        what = "move it away" if self._overwrite else "move it away, or allow to overwrite it"
        return NameTaken(f"{text(path)} is there already: {what}")

    def _dress(self, handle: int, entry: Entry) -> None:
        """
        Give what was made all its facts.

        A change of owner clears the bits that set ids, and an ACL changes the mode, so the mode
        follows them.
        """
        place = b"/proc/self/fd/%d" % handle  # leads to what is open, even if that is a link
        owned = self._own(place, handle, entry)
        self._attribute(place, entry)
        mode = entry.mode
        if entry.fingerprint.kind != "l":
            if not owned:
                mode &= ~SETS_ID
            os.chmod(place, mode)  # noqa: PTH101 - bytes
        os.utime(place, ns=(entry.atime_ns, entry.fingerprint.mtime_ns))
        self._compare(os.fstat(handle), entry)

    def _own(self, place: bytes, handle: int, entry: Entry) -> bool:
        try:
            os.chown(place, entry.uid, entry.gid)
        except OSError as error:
            if error.errno not in NOT_OURS:
                raise
            with suppress(PermissionError):
                os.chown(place, -1, entry.gid)
        found = os.fstat(handle)
        return (found.st_uid, found.st_gid) == (entry.uid, entry.gid)

    def _attribute(self, place: bytes, entry: Entry) -> None:
        """
        Give extended attributes and take those away that come from the directory above.

        ACLs come last: they may forbid the others.
        """
        wanted = dict(entry.attributes)
        for name in _inherited(place):
            if name not in wanted:
                os.removexattr(place, name)
        for name in sorted(wanted, key=lambda name: name in KEPT_NAMES):
            try:
                os.setxattr(place, name, wanted[name])
            except OSError as error:
                if error.errno not in UNSETTABLE:
                    raise
                self._told(entry.path, f"cannot have {text(name)}: {error.strerror}")

    def _compare(self, now: os.stat_result, entry: Entry) -> None:
        """Tell of what was refused, whether it was said or not."""
        if (now.st_uid, now.st_gid) != (entry.uid, entry.gid):
            self._told(
                entry.path, f"is not given to {entry.uid}:{entry.gid}, which only root may do"
            )
        if entry.fingerprint.kind != "l" and stat.S_IMODE(now.st_mode) != entry.mode:
            self._told(
                entry.path, f"has mode {stat.S_IMODE(now.st_mode):04o}, not {entry.mode:04o}"
            )
        if (now.st_atime_ns, now.st_mtime_ns) != (entry.atime_ns, entry.fingerprint.mtime_ns):
            self._told(entry.path, "has times that this filesystem cannot keep")


def _inherited(place: bytes) -> list[bytes]:
    try:
        return [name for name in map(os.fsencode, os.listxattr(place)) if name in KEPT_NAMES]
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return []
        raise


def _see_made(handle: int, entry: Entry) -> None:
    """See that what was opened is what was made: another may have got its name meanwhile."""
    found = os.fstat(handle)
    if (fingerprint(found).kind, found.st_nlink) != (entry.fingerprint.kind, 1):
        raise NameTaken(f"{text(entry.path)} was replaced while it was made: see who does that")


def _fill(handle: int, entry: Entry, content: Iterable[bytes]) -> None:
    """
    Write a file's bytes, but not into its holes, unless there are any but zeros.

    Raises ContentWrong.
    """
    size = entry.fingerprint.size
    os.ftruncate(handle, size)
    at = 0
    for chunk in _checked(entry, content):
        end = at + len(chunk)
        if end > size:
            raise ContentWrong(f"{text(entry.path)} has more than {size} bytes")
        for start, stop, is_hole in _parts(entry, at, end):
            part = memoryview(chunk)[start - at : stop - at]
            if not is_hole or any(part):
                _write(handle, part, start)
        at = end
    if at != size:
        raise ContentWrong(f"{text(entry.path)} has {at} bytes, not {size}")


def _is_in(path: bytes, directory: bytes) -> bool:
    """Whether a path is a directory or lies below it; all lies below the empty one."""
    return not directory or path == directory or path.startswith(directory + b"/")


def _remove_left(maker: Maker, above: int) -> None:
    """Remove from a directory what is left of a unit by those who had it before."""
    handle = os.open(b".", DIRECTORY, dir_fd=above)
    try:
        with os.scandir(handle) as found:
            names = [os.fsencode(each.name) for each in found if each.name.startswith(".lurge-")]
        for left in filter(None, map(PART, names)):
            if left[1] == maker.name.encode("ascii") and int(left[2]) < maker.number:
                with suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(left[0], dir_fd=handle)
    finally:
        os.close(handle)


def _parts(entry: Entry, at: int, end: int) -> Iterator[tuple[int, int, bool]]:
    """Where data and holes are between two bytes: (start, end, whether it is a hole)."""
    extents = ((0, end),) if entry.extents is None else entry.extents
    first = bisect_right(extents, at, key=sum)
    for start, length in islice(extents, first, None):
        if start >= end:
            break
        if at < start:
            yield at, start, True
        begin, at = max(at, start), min(start + length, end)
        yield begin, at, False
    if at < end:
        yield at, end, True


def _checked(entry: Entry, content: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes, compared with the digest of each segment, if any is known."""
    segments = iter(entry.segments)
    segment = next(segments, None)
    missing = segment.size if segment else 0
    digest = hashlib.sha256()
    for chunk in content:
        yield chunk
        rest = memoryview(chunk)
        while segment and len(rest) >= missing:
            digest.update(rest[:missing])
            _see_digest(entry, segment, digest.hexdigest())
            rest = rest[missing:]
            segment, digest = next(segments, None), hashlib.sha256()
            missing = segment.size if segment else 0
        digest.update(rest)
        missing -= len(rest)
    if segment and not missing:  # of an empty file
        _see_digest(entry, segment, digest.hexdigest())


def _see_digest(entry: Entry, segment: Segment, found: str) -> None:
    if found != segment.sha256:
        raise ContentWrong(
            f"{text(entry.path)}: the SHA-256 of its bytes is {found}, not {segment.sha256}"
        )


def _write(handle: int, data: memoryview, at: int) -> None:
    while data:
        count = os.pwrite(handle, data, at)
        data, at = data[count:], at + count
