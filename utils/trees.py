"""
What is in a unit, entry by entry, with all that is needed to make it again.

Depth first, the names of a directory sorted by their bytes: that is the order of the manifest, so
two looks at a tree are compared as they are read, and nothing is kept but one way down.
"""

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from itertools import pairwise

from lurge_types.archive import BIN_NAME, Entry, Fingerprint
from utils.handles import FILE, Chain, Opener, TreeChanged, TreeUnfit, open_quietly
from utils.paths import text
from utils.walk import LETTERS

LONGEST_PATH = 65_536
"""Bytes below the root, as in a scan."""

MOST_ATTRIBUTES = 1 << 20
"""Bytes of an entry's extended attributes: more is no file's, and a line has to hold them."""

MOST_EXTENTS = 10_000
"""Behind so many, the rest of a sparse file counts as data: the bytes are the same."""

KEPT_PREFIXES = (b"user.", b"security.")
KEPT_NAMES = (b"system.posix_acl_access", b"system.posix_acl_default")
LUSTRE = (b"lustre.", b"trusted.lov", b"trusted.hsm")
NO_ATTRIBUTES = (errno.ENOTSUP, errno.ENOSYS)
BLOCK_BYTES = 512
"""What `st_blocks` counts in, whatever the filesystem's blocks are."""


def fingerprint(found: os.stat_result) -> Fingerprint:
    """By what it is known again; the kind is X where nobody knows it."""
    return Fingerprint(
        found.st_dev,
        found.st_ino,
        LETTERS.get(stat.S_IFMT(found.st_mode), "X"),
        found.st_size,
        found.st_mtime_ns,
        found.st_ctime_ns,
    )


def order(path: bytes) -> bytes:
    r"""
    By what paths are sorted: as by `path.split(b"/")`, but for the root, which is first.

    >>> sorted([b"a.b", b"a/z", b"a", b"", b"a\n"], key=order)
    [b'', b'a', b'a/z', b'a\n', b'a.b']
    """
    return path.replace(b"/", b"\0")


class Links:
    """
    Counts the names of inodes: which has names that were not seen, as they are elsewhere.

    What is kept is only of inodes of which names are missing.
    """

    def __init__(self) -> None:
        self._missing: dict[int, tuple[bytes, int]] = {}

    def add(self, inode: int, links: int, path: bytes) -> bytes | None:
        """Count a name of what is no directory; the path of the first name, if this is another."""
        if links < 2:
            return None
        first, missing = self._missing.get(inode, (path, links))
        if missing > 1:
            self._missing[inode] = (first, missing - 1)
        else:
            del self._missing[inode]
        return None if missing == links else first

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries; once they have all gone by, `elsewhere` is known."""
        for entry in entries:
            if entry.fingerprint.kind != "d":
                self.add(entry.fingerprint.inode, entry.links, entry.path)
            yield entry

    def elsewhere(self) -> list[bytes]:
        """The first name of each inode that has others elsewhere."""
        return [path for path, _ in self._missing.values()]


def entries(
    root: int,
    members: Sequence[bytes] | None = None,
    suspect: Callable[[bytes], None] | None = None,
) -> Generator[Entry, None, None]:
    """
    All entries of a tree, the root first; or `members` only, without those that are not there.

    root: a handle of its directory. members: paths below it, sorted by `order`. suspect: told the
    path of each file that may have been released to an HSM, before its entry.
    A time of reading is left where there is no right to avoid it, and of symbolic links.
    Raises TreeUnfit, with its kinds, and OSError.
    """
    tree = _Tree(root, suspect)
    if members is None:
        yield from tree.all()
    else:
        yield from tree.some(members)


class _Tree:
    def __init__(self, root: int, suspect: Callable[[bytes], None] | None) -> None:
        self._root = root
        self._suspect = suspect
        self._device = os.fstat(root).st_dev
        self._links = Links()

    def all(self) -> Iterator[Entry]:
        chain = Chain(self._root)
        try:
            yield self._entry(self._root, b".", b"", os.fstat(self._root))
            yield from self._below(chain)
        finally:
            chain.close()

    def some(self, members: Sequence[bytes]) -> Iterator[Entry]:
        for path, following in pairwise(members):
            if order(path) >= order(following):
                raise ValueError(f"{text(path)} and {text(following)} are not sorted")
        with Opener(self._root) as opener:
            for path in members:
                try:
                    above, name = opener.place(path)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                except PermissionError as error:
                    raise _unreadable(path) from error
                found = self._look(above, name, path)
                if found is not None:
                    yield self._entry(above, name, path, found)

    def _below(self, chain: Chain) -> Iterator[Entry]:
        """What is in the root. A way down is a list of the names that are still to come."""
        ways = [(b"", iter(self._names(self._root, b"")))]
        while ways:
            prefix, names = ways[-1]
            name = next(names, None)
            if name is None:
                ways.pop()
                if ways:
                    chain.up()
                continue
            path = prefix + name
            found = self._look(chain.handle(), name, path)
            if found is None:
                continue
            yield self._entry(chain.handle(), name, path, found)
            if stat.S_ISDIR(found.st_mode):
                ways.append((path + b"/", iter(self._enter(chain, name, path, found))))

    def _look(self, above: int, name: bytes, path: bytes) -> os.stat_result | None:
        """None where it is there no longer: the time of its directory tells of it."""
        try:
            found = os.stat(name, dir_fd=above, follow_symlinks=False)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            raise _unreadable(path) from error
        self._see_fit(name, path, found)
        return found

    def _see_fit(self, name: bytes, path: bytes, found: os.stat_result) -> None:
        if found.st_dev != self._device:
            raise TreeUnfit(
                f"{text(path)} is on another filesystem: unmount it, or archive what is beside it"
            )
        if name == BIN_NAME and stat.S_ISDIR(found.st_mode):
            raise TreeUnfit(f"{text(path)} is a bin: archive what is beside it")
        if len(path) > LONGEST_PATH:
            raise TreeUnfit(
                f"{text(path[:100])}... is longer than {LONGEST_PATH} bytes: shorten it"
            )
        if stat.S_IFMT(found.st_mode) not in LETTERS:
            raise TreeUnfit(f"{text(path)} is of a type that nobody knows: remove it")

    def _enter(
        self, chain: Chain, name: bytes, path: bytes, found: os.stat_result
    ) -> Sequence[bytes]:
        try:
            handle = chain.down(name)
        except PermissionError as error:
            raise _unreadable(path) from error
        except (FileNotFoundError, NotADirectoryError) as error:
            raise _changed(path) from error
        _see_same(handle, found, path)
        return self._names(handle, path)

    def _names(self, handle: int, path: bytes) -> Sequence[bytes]:
        """Of a directory; one that was listed twice because it was renamed meanwhile is one."""
        try:
            return sorted(set(map(os.fsencode, os.listdir(handle))))
        except PermissionError as error:
            raise _unreadable(path) from error

    def _entry(self, above: int, name: bytes, path: bytes, found: os.stat_result) -> Entry:
        """Facts are read after the fingerprint: what changes meanwhile is seen by the next one."""
        known = fingerprint(found)
        kind = known.kind
        attributes, lustre = _attributes(above, name, path)
        is_suspect = lustre and _is_bare(found)
        if is_suspect and self._suspect:
            self._suspect(path)
        sparse = kind == "f" and found.st_blocks * BLOCK_BYTES < found.st_size
        asked = sparse and not is_suspect  # where its data is, which would recall it
        same_as = None
        if kind != "d":
            same_as = self._links.add(known.inode, found.st_nlink, path)
        return Entry(
            path,
            known,
            stat.S_IMODE(found.st_mode),
            found.st_uid,
            found.st_gid,
            found.st_atime_ns,
            found.st_nlink,
            found.st_rdev if kind in "bc" else 0,
            _link(above, name, path) if kind == "l" else None,
            same_as,
            attributes,
            _extents_of(above, name, path, found) if asked else None,
        )


def may_be_released(handle: int, found: os.stat_result) -> bool:
    """Whether an open file, by what `fstat` tells, may have been released to an HSM."""
    if not _is_bare(found):
        return False
    try:
        return _is_lustre(map(os.fsencode, os.listxattr(handle)))
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return False
        raise


def _is_bare(found: os.stat_result) -> bool:
    """Whether a file has no data: Lustre tells one block or none of one that was released."""
    return stat.S_ISREG(found.st_mode) and found.st_size > 0 and found.st_blocks <= 1


def _is_lustre(names: Iterable[bytes]) -> bool:
    return any(each.startswith(LUSTRE) for each in names)


def _link(above: int, name: bytes, path: bytes) -> bytes:
    try:
        return os.readlink(name, dir_fd=above)
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.EINVAL}:
            raise _changed(path) from error
        raise


def _attributes(
    above: int, name: bytes, path: bytes
) -> tuple[tuple[tuple[bytes, bytes], ...], bool]:
    """
    The extended attributes that are kept, sorted; and whether others are Lustre's.

    No call takes a directory's handle and a name, so the name is looked up in the folder that Linux
    shows of a handle.
    """
    place = b"/proc/self/fd/%d/%s" % (above, name)
    try:
        names = sorted(map(os.fsencode, os.listxattr(place, follow_symlinks=False)))
    except FileNotFoundError as error:
        raise _changed(path) from error
    except OSError as error:
        if error.errno in NO_ATTRIBUTES:
            return (), False
        raise
    if not names:
        return (), False
    kept = [each for each in names if each.startswith(KEPT_PREFIXES) or each in KEPT_NAMES]
    found = tuple(_values(place, kept, path))
    if sum(len(each) + len(value) for each, value in found) > MOST_ATTRIBUTES:
        raise TreeUnfit(f"{text(path)} has more than 1 MiB of extended attributes: remove some")
    return found, _is_lustre(names)


def _values(place: bytes, names: Iterable[bytes], path: bytes) -> Iterator[tuple[bytes, bytes]]:
    for name in names:
        try:
            yield name, os.getxattr(place, name, follow_symlinks=False)
        except FileNotFoundError as error:
            raise _changed(path) from error
        except PermissionError as error:
            if not name.startswith(b"security."):
                raise _unreadable(path) from error
        except OSError as error:
            if error.errno != errno.ENODATA:  # it was removed meanwhile: a new ctime tells of it
                raise


def _extents_of(
    above: int, name: bytes, path: bytes, found: os.stat_result
) -> tuple[tuple[int, int], ...] | None:
    try:
        handle = open_quietly(name, FILE, above)
    except PermissionError as error:
        raise _unreadable(path) from error
    except OSError as error:
        if error.errno in {errno.ENOENT, errno.ELOOP}:
            raise _changed(path) from error
        raise
    try:
        _see_same(handle, found, path)
        return extents(handle, found.st_size)
    finally:
        os.close(handle)


def extents(handle: int, size: int) -> tuple[tuple[int, int], ...] | None:
    """Where an open file of this size has data, as (start, length); None without holes."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        start = _seek(handle, at, os.SEEK_DATA, size)
        if start >= size:
            break
        last = len(found) + 1 == MOST_EXTENTS
        at = size if last else min(size, _seek(handle, start, os.SEEK_HOLE, size))
        found.append((start, at - start))
    return None if found == [(0, size)] else tuple(found)


def _seek(handle: int, at: int, what: int, size: int) -> int:
    """Where data or a hole is next; `size` where there is none."""
    try:
        return os.lseek(handle, at, what)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return size
        raise


def _see_same(handle: int, found: os.stat_result, path: bytes) -> None:
    now = os.fstat(handle)
    if (now.st_dev, now.st_ino) != (found.st_dev, found.st_ino):
        raise _changed(path)


def _changed(path: bytes) -> TreeChanged:
    return TreeChanged(f"{text(path) or '.'} was replaced while it was looked at: try again")


def _unreadable(path: bytes) -> TreeUnfit:
    return TreeUnfit(
        f"{text(path) or '.'} cannot be read: archive as a user who may read all of it"
    )
