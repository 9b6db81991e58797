"""
A unit, or a part of it, made again from a copy: under another name until it is whole.

Every digest is compared. What a restore that was killed has left is made use of, or swept.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain

from lurge.archiver import tombstones
from lurge.archiver.binning import make_way
from lurge.archiver.handles import opened, opened_in
from lurge.archiver.pouring import in_order
from lurge.archiver.standing import stands
from lurge.archiver.step import Step
from lurge.archiver.works import lies_in
from lurge_types.archive import Entry
from lurge_types.targets import CHUNK_BYTES, Target
from utils.durable import sync_filesystem
from utils.handles import Opener, open_root
from utils.paths import text
from utils.remaking import Maker, NameTaken, Remaking, Told
from utils.removing import remove_tree
from utils.renaming import rename_new

PART = b".lurge-restore-"
AHEAD = 8


class RestoreRefused(Exception):
    """Nothing is restored: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Source:
    """Entries that are to be made, and where their bytes are; told of what cannot be made again."""

    step: Step
    target: Target
    entries: Iterator[Entry]
    tell: Told


def make(source: Source, inner: bytes, goal: bytes, *, overwrite: bool) -> int:
    """
    Make a unit, or what lies at a path in it, where it is to be; how many bytes it has.

    Raises RestoreRefused, NameTaken, ContentWrong, PartnerGone, TreeUnfit, TargetFailed, LeaseLost,
    OSError.
    """
    unit = source.step.unit
    if unit.kind == "files" and not inner:
        _make_folder(source, goal)
        with opened(goal) as there:
            return _fill(source, there, overwrite=overwrite)
    first = next(source.entries)
    name = os.path.basename(goal)
    if unit.kind == "files" and goal == unit.root + b"/" + inner:
        _make_folder(source, unit.root)
        with opened(unit.root) as root:
            make_way(root, inner)
    with above(goal) as parent:
        if first.fingerprint.kind != "d":
            alone = iter([replace(first, path=name, same_as=None)])
            return _fill(replace(source, entries=alone), parent, overwrite=overwrite)
        everything = replace(source, entries=chain([first], source.entries))
        if overwrite and _is_directory(name, parent):
            with opened(goal) as there:
                return _fill(everything, there, overwrite=True)
        return _whole(everything, parent, name)


def _make_folder(source: Source, goal: bytes) -> None:
    """Make the directory above files, unless it is there: nothing is known of it."""
    with above(goal) as parent, suppress(FileExistsError):
        os.mkdir(os.path.basename(goal), dir_fd=parent)
        source.tell(b"", "is made as a new directory, as nothing is known of it")


def _is_directory(name: bytes, parent: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _whole(source: Source, parent: int, name: bytes) -> int:
    """Make a directory under another name, and give it its own when it is whole."""
    step = source.step
    start = PART + step.unit.name.encode("ascii") + b"."
    step.claim.check()
    for old in _earlier(start, step.token, parent):
        _sweep(old, parent)
    part = start + b"%d" % step.token
    os.mkdir(part, 0o700, dir_fd=parent)
    try:
        with opened_in(parent, part) as made:
            size = _fill(source, made)
        step.claim.check()
        tombstones.remove(step.unit, parent)
        rename_new(part, name, from_=parent, to=parent)
    except FileExistsError as error:
        raise NameTaken(f"{text(name)} is there already: move it away, or --overwrite") from error
    finally:
        _sweep(part, parent)
    os.fsync(parent)
    return size


def _earlier(start: bytes, token: int, parent: int) -> list[bytes]:
    """What earlier workers have left; whoever has lost the lease since removes only its own."""
    with os.scandir(parent) as found:
        names = (os.fsencode(each.name) for each in found)
        ends = [name[len(start) :] for name in names if name.startswith(start)]
    return [start + end for end in ends if end.isdigit() and int(end) < token]


def _sweep(part: bytes, parent: int) -> None:
    """Delete what is left of a directory that was being made: the archive has all of it."""
    with suppress(FileNotFoundError):
        remove_tree(part, parent)


def _fill(source: Source, root: int, *, overwrite: bool = False) -> int:
    """Make entries below a directory, durably; how many bytes they have."""
    step = source.step
    size = 0
    there = None if overwrite else root
    fetch = partial(_fetch, step, source.target, there)
    threads = ThreadPoolExecutor(step.works.table.workers)
    try:
        maker = Maker(step.unit.name, step.token)
        with Remaking(root, source.tell, overwrite=overwrite, maker=maker) as remaking:
            for entry, content in in_order(threads, fetch, source.entries, AHEAD):
                step.claim.check()
                if content is not None:
                    remaking.make(entry, content)
                size += entry.fingerprint.size if entry.has_bytes else 0
                step.works.watch.advance(entry.fingerprint.size if entry.has_bytes else 0)
    finally:
        threads.shutdown(cancel_futures=True)
    sync_filesystem(root)
    return size


def _fetch(
    step: Step, target: Target, there: int | None, entry: Entry
) -> tuple[Entry, Iterable[bytes] | None]:
    """
    An entry with its bytes: those of a small file, of a large one as they are asked for.

    there: where it is to be; None instead of its bytes where that has been made before.
    """
    if there is not None and entry.fingerprint.kind != "d":
        with Opener(there) as opener:
            if stands(opener, entry):
                return entry, None
    if not entry.has_bytes:
        return entry, ()
    size = entry.fingerprint.size
    if size > CHUNK_BYTES:
        return entry, target.get(entry.key or "", entry.offset, size)

    def whole() -> list[bytes]:
        return list(target.get(entry.key or "", entry.offset, size))

    return entry, step.patience().tried(whole)


@contextmanager
def above(goal: bytes) -> Iterator[int]:
    """A handle of the directory that something is to be in. Raises RestoreRefused, OSError."""
    folder = os.path.dirname(goal)
    try:
        handle = open_root(folder)
    except FileNotFoundError as error:
        raise RestoreRefused(
            f"{text(folder)} is not there: make it, or restore elsewhere: --to DIR"
        ) from error
    try:
        yield handle
    finally:
        os.close(handle)


def wanted(entries: Iterable[Entry], inner: bytes, base: bytes) -> Iterator[Entry]:
    """
    The entries at a path in a unit and below, and the directories from another on that lead there,
    with the paths that they have below that.

    A name whose bytes stand under one that is not wanted has them itself.

    Raises RestoreRefused in the end where there is nothing at that path.
    """
    firsts: dict[bytes, Entry] = {}
    is_there = False
    for entry in entries:
        first = entry.same_as or entry.path
        is_wanted = not inner or lies_in(entry.path, inner)
        is_there |= is_wanted
        if not is_wanted and not _leads(entry.path, inner, base):
            if entry.links > 1 and entry.same_as is None:
                firsts[entry.path] = entry
            continue
        path = entry.path[len(base) :].lstrip(b"/")
        if first in firsts:
            known = firsts[first]
            made = replace(known, path=path)
            if known.path != first:  # another name that is wanted stands for it by now
                made = replace(made, same_as=known.path)
            else:
                firsts[first] = replace(made, path=path)
            yield made
        elif entry.same_as is not None:
            yield replace(entry, path=path, same_as=entry.same_as[len(base) :].lstrip(b"/"))
        else:
            yield replace(entry, path=path)
    if not is_there:
        raise RestoreRefused(f"holds nothing called {text(inner)}")


def _leads(path: bytes, inner: bytes, base: bytes) -> bool:
    """
    Whether a path is a way to another, from a third on; empty ones are the root.

    >>> [_leads(path, b"a/b/c", b"a") for path in (b"", b"a", b"a/b", b"a/bc", b"a/b/c")]
    [False, True, True, False, False]
    >>> [_leads(path, b"a/b", b"") for path in (b"", b"a", b"a/b", b"b")]
    [True, True, False, False]
    """
    leads = not path or inner.startswith(path + b"/")
    return leads and path != inner and (not base or path == base or path.startswith(base + b"/"))
