"""
Restoring: out of the bin by a rename while a unit is there, else from a copy, by its manifest.

What comes from a copy is made under another name, with all digests compared, and gets its place as
a whole in the end. Nothing that is there is replaced unless that is allowed.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from itertools import chain
from pathlib import Path

from db import audits, ledger
from lurge.archiver import tombstones
from lurge.archiver.binning import Place, clear, take_out
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.claims import claimed
from lurge.archiver.handles import opened, opened_in
from lurge.archiver.pouring import in_order
from lurge.archiver.steps import Step
from lurge.archiver.works import Works, lies_in, now, words
from lurge_types.archive import STATES, Entry, UnitNow
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed
from utils import manifests, runfiles
from utils.differences import Differs
from utils.durable import sync_filesystem
from utils.handles import Opener, TreeUnfit
from utils.paths import raw, text
from utils.remaking import ContentWrong, NameTaken, PartnerGone, Remaking, Told
from utils.removing import remove_tree
from utils.renaming import rename_new
from utils.runfiles import RunFileWrong
from utils.trees import fingerprint

RESTORABLE = frozenset({"binned", "deleted", "restored"})
PART = b".lurge-restore-"
AHEAD = 8

FAILURES = (
    TargetFailed,
    ContentWrong,
    PartnerGone,
    NameTaken,
    TreeUnfit,
    Differs,
    manifests.ManifestBroken,
    RunFileWrong,
    OSError,
)


class RestoreRefused(Exception):
    """Nothing is restored: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Found:
    """A unit that is to be restored, or what lies at a path in it; empty for all of it."""

    unit: UnitNow
    inner: bytes


@dataclass(frozen=True, slots=True)
class Restored:
    """
    What became of restoring something.

    to: where it is. how: `bin` by a rename, else the URL of the target. failure: why it is not
    there. remarks: what of it could not be made again.
    """

    unit: str
    path: bytes
    to: bytes
    how: str
    size_bytes: int
    failure: str | None
    remarks: tuple[str, ...]


def find(works: Works, what: str) -> list[Found]:
    """
    What a path, in text form, or the beginning of a unit's name or run's content id means.

    A path in a unit is part of it; all units below a path are meant by it. Of several units of one
    path the newest counts that can be restored.

    Raises RestoreRefused where nothing is meant.
    """
    if what.startswith("/"):
        path = raw(what).rstrip(b"/")
        found = _holding(works, path) or _below(works, path)
    else:
        found = [Found(unit, b"") for unit in _units(works, name=what)]
    if not found:
        raise RestoreRefused(f"{what}: the archive has nothing of it: see `archive list`")
    return found


def _units(works: Works, **which: object) -> list[UnitNow]:
    """The units that can be restored."""
    found = works.database.read(lambda connection: list(ledger.each_unit(connection, **which)))
    return [unit for unit in found if unit.state in RESTORABLE and unit.state != "restored"]


def _holding(works: Works, path: bytes) -> list[Found]:
    """The newest unit that a path lies in, the innermost of these."""
    way = path
    while way:
        if units := _units(works, root=way):
            return [Found(units[-1], path[len(way) + 1 :])]
        way = way.rpartition(b"/")[0]
    return []


def _below(works: Works, path: bytes) -> list[Found]:
    newest = {unit.root: unit for unit in _units(works, below=path)}
    return [Found(unit, b"") for _, unit in sorted(newest.items())]


def restore(
    works: Works, found: Iterable[Found], to: bytes | None = None, *, overwrite: bool = False
) -> Iterator[Restored]:
    """
    Restore what was found, into its place or into a folder; what became of each.

    Raises DatabaseFailed.
    """
    keeper = Checkpoints(works)
    for one in found:
        seconds = works.table.lease_seconds
        with claimed(works.database, one.unit, STATES, works.holder, seconds) as taken:
            if taken is None:
                yield _failed(one, to, "somebody works on it just now: try again later")
                continue
            unit, claim = taken
            run = works.database.read(partial(ledger.run_of, prefix=unit.content_id))
            step = Step(works, run, unit, None, claim)
            yield _restored(step, replace(one, unit=unit), to, overwrite=overwrite)
        keeper.note()
    keeper.end()


def _failed(one: Found, to: bytes | None, why: str) -> Restored:
    return Restored(one.unit.name, _path(one), _goal(one, to), "-", 0, why, ())


def _path(one: Found) -> bytes:
    return one.unit.root + (b"/" + one.inner if one.inner else b"")


def _goal(one: Found, to: bytes | None) -> bytes:
    """Where it will be: of files, the directory above them."""
    path = _path(one)
    if to is None:
        return path
    return to + b"/" + os.path.basename(path)


def _restored(step: Step, one: Found, to: bytes | None, *, overwrite: bool) -> Restored:
    unit = step.unit
    if unit.state not in RESTORABLE:
        return _failed(one, to, f"is {unit.state}: apply its run, or purge, then try again")
    try:
        if unit.state == "binned" and to is None and not one.inner:
            place = Place(unit.bin or b"")
            if place.is_filled():
                return _from_bin(step, one, place)
            if _is_back(step):  # somebody was killed who had restored it
                return _is_restored(step, one, place)
        return _from_copy(step, one, to, overwrite=overwrite)
    except (RestoreRefused, *FAILURES) as error:
        return _failed(one, to, words(error))


def _from_bin(step: Step, one: Found, place: Place) -> Restored:
    """Rename a unit back into its place."""
    with opened(os.path.dirname(step.unit.root)) as parent:
        tombstones.remove(step.unit, parent)
        try:
            take_out(step, place, parent)
        except FileExistsError as error:
            raise RestoreRefused(
                f"something is in its place: move it away, or restore elsewhere; "
                f"it is in {text(place.tree)}"
            ) from error
    return _is_restored(step, one, place)


def _is_restored(step: Step, one: Found, place: Place) -> Restored:
    """Note that a unit is in its place again, before what tells of it in the bin is removed."""
    step.moved("restored")
    remarks: tuple[str, ...] = ()
    try:
        clear(place)
    except OSError as error:
        remarks = (f"{text(bytes(place.unit))} is left in the bin: {words(error)}",)
    path, size = _path(one), step.unit.size_bytes
    return Restored(step.unit.name, path, path, "bin", size, None, remarks)


def _is_back(step: Step) -> bool:
    """Whether the directory that was put into the bin is in its place. Raises RunFileWrong."""
    planned = runfiles.read(step.run.file).units[step.unit.number - 1]
    try:
        found = fingerprint(os.lstat(step.unit.root))
    except (FileNotFoundError, NotADirectoryError):
        return False
    known = planned.root_fingerprint
    return planned.kind == "directory" and (found.kind, found.inode) == (known.kind, known.inode)


def _from_copy(step: Step, one: Found, to: bytes | None, *, overwrite: bool) -> Restored:
    """Make a unit, or a part of it, again, from the first of its copies that is whole."""
    known = [copy for copy in step.copies() if not copy[1].lost_at]
    if not known:
        raise RestoreRefused("has no copy at any target: it can only be taken out of the bin")
    failures = []
    for target, copy, manifest in known:
        try:
            return _made(step, one, to, (target, manifest), overwrite=overwrite)
        except (TargetFailed, ContentWrong) as error:
            failures.append(f"{copy.target}: {words(error)}")
    raise RestoreRefused("; ".join(failures))


def _made(
    step: Step, one: Found, to: bytes | None, from_: tuple[Target, Path], *, overwrite: bool
) -> Restored:
    goal = _goal(one, to)
    target, manifest = from_
    told: list[str] = []

    def tell(path: bytes, what: str) -> None:
        told.append(f"{text(path) or '.'} {what}")

    whole = to is None and not one.inner
    if whole and _is_there(goal, manifest):  # who made it was killed before it could be noted
        _note(step, goal, whole=True)
        return Restored(step.unit.name, _path(one), goal, target.url, 0, None, ())
    step.works.watch.begin("restore", step.unit.size_bytes)
    with manifest.open("rb") as file:
        source = _Source(step, target, _wanted(manifests.read(file)[1], one.inner), tell)
        size = _make(source, one, goal, overwrite=overwrite)
    _note(step, goal, whole=whole)
    return Restored(step.unit.name, _path(one), goal, target.url, size, None, tuple(told))


def _is_there(root: bytes, manifest: Path) -> bool:
    """Whether all of a unit is in its place, with its bytes. Raises OSError, ManifestBroken."""
    try:
        with opened(root) as handle, Opener(handle) as opener, manifest.open("rb") as file:
            return all(_is_made(opener, entry) for entry in manifests.read(file)[1])
    except (FileNotFoundError, NotADirectoryError, TreeUnfit):
        return False


def _is_made(opener: Opener, entry: Entry) -> bool:
    """Whether an entry is there as it would be made. Raises TreeUnfit, OSError."""
    try:
        found = opener.stat(entry.path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    known = entry.fingerprint
    there = fingerprint(found)
    if (there.kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid) != (
        known.kind,
        entry.mode,
        entry.uid,
        entry.gid,
    ):
        return False
    if known.kind == "l":
        above, name = opener.place(entry.path)
        return os.readlink(name, dir_fd=above) == entry.link
    if there.mtime_ns != known.mtime_ns:
        return False
    return known.kind != "f" or (there.size == known.size and _has_bytes(opener, entry))


def _has_bytes(opener: Opener, entry: Entry) -> bool:
    with os.fdopen(opener.open(entry.path), "rb") as file:
        for segment in entry.segments:
            digest, left = sha256(), segment.size
            while left and (chunk := file.read(min(left, CHUNK_BYTES))):
                digest.update(chunk)
                left -= len(chunk)
            if digest.hexdigest() != segment.sha256:
                return False
    return True


def _wanted(entries: Iterable[Entry], inner: bytes) -> Iterator[Entry]:
    """
    The entries at a path in a unit and below, with the paths that they have below it.

    A name whose bytes stand under one that is not wanted has them itself.
    """
    firsts: dict[bytes, Entry] = {}
    for entry in entries:
        first = entry.same_as or entry.path
        if inner and not lies_in(entry.path, inner):
            if entry.links > 1 and entry.same_as is None:
                firsts[entry.path] = entry
            continue
        path = entry.path[len(inner) :].lstrip(b"/")
        if first in firsts:
            known = firsts[first]
            made = replace(known, path=path)
            if known.path != first:  # another name that is wanted stands for it by now
                made = replace(made, same_as=known.path)
            else:
                firsts[first] = replace(made, path=path)
            yield made
        elif entry.same_as is not None:
            yield replace(entry, path=path, same_as=entry.same_as[len(inner) :].lstrip(b"/"))
        else:
            yield replace(entry, path=path)


@dataclass(frozen=True, slots=True)
class _Source:
    """Entries that are to be made, and where their bytes are; told of what cannot be made again."""

    step: Step
    target: Target
    entries: Iterator[Entry]
    tell: Told


def _make(source: _Source, one: Found, goal: bytes, *, overwrite: bool) -> int:
    """Make what was found, where it is to be; how many bytes it has."""
    if one.unit.kind == "files" and not one.inner:
        _make_folder(source, goal)
        with opened(goal) as there, Opener(there) as opener:
            missing = (entry for entry in source.entries if not _is_made(opener, entry))
            left = source if overwrite else replace(source, entries=missing)
            return _fill(left, there, overwrite=overwrite)
    first = next(source.entries, None)
    if first is None:
        raise RestoreRefused(f"holds nothing called {text(one.inner)}")
    name = os.path.basename(goal)
    with opened(os.path.dirname(goal)) as parent:
        if first.fingerprint.kind != "d":
            alone = iter([replace(first, path=name, same_as=None)])
            return _fill(replace(source, entries=alone), parent, overwrite=overwrite)
        everything = replace(source, entries=chain([first], source.entries))
        if overwrite and _is_directory(name, parent):
            with opened(goal) as there:
                return _fill(everything, there, overwrite=True)
        return _whole(everything, parent, name)


def _make_folder(source: _Source, goal: bytes) -> None:
    """Make the directory above files, unless it is there: nothing is known of it."""
    with opened(os.path.dirname(goal)) as parent, suppress(FileExistsError):
        os.mkdir(os.path.basename(goal), dir_fd=parent)
        source.tell(b"", "is made as a new directory, as nothing is known of it")


def _is_directory(name: bytes, parent: int) -> bool:
    try:
        return stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _whole(source: _Source, parent: int, name: bytes) -> int:
    """Make a directory under another name, and give it its own when it is whole."""
    step = source.step
    part = PART + step.unit.name.encode("ascii")
    _sweep(part, parent)
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


def _sweep(part: bytes, parent: int) -> None:
    """Delete what is left of a directory that was being made: the archive has all of it."""
    with suppress(FileNotFoundError):
        remove_tree(part, parent)


def _fill(source: _Source, root: int, *, overwrite: bool = False) -> int:
    """Make entries below a directory, durably; how many bytes they have."""
    step = source.step
    size = 0
    fetch = partial(_fetch, step, source.target)
    threads = ThreadPoolExecutor(step.works.table.workers)
    try:
        with Remaking(root, source.tell, overwrite=overwrite) as remaking:
            for entry, content in in_order(threads, fetch, source.entries, AHEAD):
                step.claim.check()
                remaking.make(entry, content)
                size += entry.fingerprint.size if entry.has_bytes else 0
                step.works.watch.advance(entry.fingerprint.size if entry.has_bytes else 0)
    finally:
        threads.shutdown(cancel_futures=True)
    sync_filesystem(root)
    return size


def _fetch(step: Step, target: Target, entry: Entry) -> tuple[Entry, Iterable[bytes]]:
    """An entry with its bytes: those of a small file, of a large one as they are asked for."""
    if not entry.has_bytes:
        return entry, ()
    size = entry.fingerprint.size
    if size > CHUNK_BYTES:
        return entry, target.get(entry.key or "", entry.offset, size)

    def whole() -> list[bytes]:
        return list(target.get(entry.key or "", entry.offset, size))

    return entry, step.patience().tried(whole)


def _note(step: Step, goal: bytes, *, whole: bool) -> None:
    if whole:
        step.moved("restored")
        return
    unit = step.unit
    tell = partial(
        audits.add_once,
        act="restored",
        actor=step.works.actor,
        now=now(),
        run_id=unit.run_id,
        unit_id=unit.unit_id,
        detail=f"to {text(goal)}",
    )
    step.works.database.transaction(tell)
