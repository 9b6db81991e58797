"""
Restoring: out of the bin by a rename while a unit is there, else from a copy, by its manifest.

What comes from a copy is made under another name, with all digests compared, and gets its place as
a whole in the end. Nothing that is there is replaced unless that is allowed.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from db import audits, copies, ledger
from lurge.archiver import tombstones
from lurge.archiver.binning import GONE, Place, clear, make_way, take_out
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.claims import claimed
from lurge.archiver.fetching import fetched
from lurge.archiver.handles import opened, opened_in
from lurge.archiver.listing import has_inner
from lurge.archiver.pouring import in_order
from lurge.archiver.purging import entries
from lurge.archiver.standing import all_stands, stands
from lurge.archiver.step import Step
from lurge.archiver.works import Works, lies_in, now, words
from lurge_types.archive import STATES, WAYS, Copy, Entry, State, UnitNow
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed
from utils import manifests, runfiles
from utils.differences import Differs, changed
from utils.durable import NoRoom, sync_filesystem
from utils.handles import Opener, TreeUnfit
from utils.paths import raw, text
from utils.remaking import ContentWrong, Maker, NameTaken, PartnerGone, Remaking, Told
from utils.removing import remove_tree
from utils.renaming import rename_new
from utils.runfiles import RunFileWrong
from utils.trees import fingerprint

RANKS: Mapping[State, int] = {
    "binned": 0,
    "deleted": 1,
    "deleting": 2,
    "restored": 2,
    "verified": 2,
    "dirty": 3,
    "failed": 3,
}
"""In which states there may be something to restore; what lacks in its place comes first."""

PROVEN: frozenset[State] = frozenset({"deleted", "restored", "verified"})
"""States that no unit comes to whose copies were not verified."""

PART = b".lurge-restore-"
AHEAD = 8
SHOWN = 3
EARLIEST, LATEST = datetime.min, datetime.max  # noqa: DTZ901 - as databases have them

FAILURES = (
    TargetFailed,
    ContentWrong,
    PartnerGone,
    NameTaken,
    TreeUnfit,
    Differs,
    manifests.ManifestBroken,
    RunFileWrong,
    NoRoom,
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

    A path in a unit is part of it; all units below a path are meant by it. Of several directories
    of one path that counts which is in the bin, else deleted, else in its place; of these the
    newest.

    Raises RestoreRefused where nothing is meant.
    """
    if what.startswith("/"):
        path = raw(what).rstrip(b"/")
        found = _holding(works, path) or _below(works, path)
    else:
        found = [Found(unit, b"") for unit in _lacking(_units(works, name=what))]
    if not found:
        raise RestoreRefused(f"{what}: the archive has nothing of it: see `archive list`")
    return found


def _units(works: Works, **which: Any) -> list[UnitNow]:
    """The units that can be restored."""
    which |= {"states": RANKS}
    found = works.database.read(lambda connection: list(ledger.each_unit(connection, **which)))
    known: dict[int, list[Copy]] = {}
    for ids in ledger.slices(unit.unit_id for unit in found):
        known |= works.database.read(partial(copies.of, unit_ids=ids))
    return [unit for unit in found if _is_anywhere(unit, known.get(unit.unit_id, ()))]


def _is_anywhere(unit: UnitNow, known: Iterable[Copy]) -> bool:
    """
    Whether a unit is in a bin, or has a copy that is verified, or was until it was lost.

    A ledger that was recovered may not know when that of a unit was which has come so far.
    """
    if unit.state in ledger.IN_BIN:
        return True
    return any(one.verified_at or one.lost_at or unit.state in PROVEN for one in known)


def _lacking(units: list[UnitNow]) -> list[UnitNow]:
    """Without those that were restored and are there, unless nothing else is meant."""
    lacking = [one for one in units if one.state != "restored" or not os.path.lexists(one.root)]
    return lacking or units


def _rank(unit: UnitNow) -> tuple[int, timedelta, int]:
    """What lacks in its place first, then the newest; what is recovered is registered late."""
    age = LATEST - (unit.binned_at or EARLIEST)
    return RANKS[unit.state], age, -unit.unit_id


def _holding(works: Works, path: bytes) -> list[Found]:
    """
    The first unit that has a path in it, the innermost of these; all that may have it, where none
    is known to.
    """
    way = path
    while way:
        inner = path[len(way) + 1 :]
        units = sorted(_units(works, root=way), key=_rank)
        if units and not inner:
            return [Found(units[0], b"")] if units[0].kind == "directory" else []
        may: list[UnitNow] = []
        for unit in units:
            match has_inner(works, unit, inner):
                case True:
                    return [Found(unit, inner)]
                case None:
                    may.append(unit)
        if may:
            return [Found(unit, inner) for unit in may]
        way = way.rpartition(b"/")[0]
    return []


def _below(works: Works, path: bytes) -> list[Found]:
    """The first directory of each path, and all units of files, which may have one root."""
    met: set[bytes] = set()
    found = []
    for unit in sorted(_lacking(_units(works, below=path)), key=lambda one: (one.root, _rank(one))):
        if unit.kind == "files" or unit.root not in met:
            found.append(Found(unit, b""))
        if unit.kind == "directory":
            met.add(unit.root)
    return found


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
    if unit.state not in RANKS:
        return _failed(one, to, f"is {unit.state}: apply its run, then try again")
    if to is None and not one.inner and "restored" not in WAYS[unit.course][unit.state]:
        return _failed(one, to, f"is {unit.state}: restore it to another folder, or a part of it")
    try:
        if unit.state == "binned" and to is None and not one.inner:
            return _binned(step, one, overwrite=overwrite)
        return _from_copy(step, one, to, overwrite=overwrite)
    except (RestoreRefused, *FAILURES) as error:
        return _failed(one, to, words(error))


def _binned(step: Step, one: Found, *, overwrite: bool) -> Restored:
    """Restore what the ledger has in the bin: from there if it is there as it was put there."""
    place = Place(step.unit.bin or b"")
    if not place.is_filled():
        if _is_back(step):  # somebody was killed who had restored it
            return _is_restored(step, one, place)
        return _from_copy(step, one, None, overwrite=overwrite)
    try:
        lacking = list(islice(_bin_lacks(step, place), SHOWN))
    except (manifests.ManifestBroken, TreeUnfit, *GONE) as error:  # not what may pass, such as EIO
        lacking = [words(error)]
    if lacking:
        return _beside_bin(step, one, place, "; ".join(lacking), overwrite=overwrite)
    return _from_bin(step, one, place)


def _bin_lacks(step: Step, place: Place) -> Iterator[str]:
    """
    What has gone from the bin, or is not what was put there, in words; of files, what is back in
    its place has not gone. Nothing is told of what was never compared.
    """
    if not place.manifest.exists():
        return
    is_files = step.unit.kind == "files"
    with ExitStack() as stack:
        opener = stack.enter_context(Opener(stack.enter_context(opened(place.tree))))
        device = opener.stat(b"").st_dev
        sides = [opener]
        if is_files:
            with suppress(*GONE):
                root = stack.enter_context(opened(step.unit.root))
                sides.append(stack.enter_context(Opener(root)))
        for entry in entries(place.manifest):
            found = next(filter(None, (_stat(side, entry.path) for side in sides)), None)
            if found is None:
                yield f"{text(entry.path) or '.'}: missing"
            elif facts := changed(entry, found, device=device, renamed=True, deleting=True):
                yield f"{text(entry.path) or '.'}: different ({', '.join(facts)})"


def _stat(opener: Opener, path: bytes) -> os.stat_result | None:
    try:
        return opener.stat(path)
    except GONE:
        return None


def _beside_bin(step: Step, one: Found, place: Place, lacking: str, *, overwrite: bool) -> Restored:
    """Restore from a copy what is not in the bin as it was put there."""
    where = f"in the bin, {lacking}: what is left is in {text(place.tree)}"
    if not _copies(step):
        raise RestoreRefused(f"{where}, and there is no copy: move out by hand what is wanted")
    made = _from_copy(step, one, None, overwrite=overwrite)
    return replace(made, remarks=(where, *made.remarks))


def _from_bin(step: Step, one: Found, place: Place) -> Restored:
    """Rename a unit back into its place."""
    with opened(os.path.dirname(step.unit.root)) as parent:
        tombstones.remove(step.unit, parent)
        if step.unit.kind == "files":
            with suppress(FileExistsError):
                os.mkdir(os.path.basename(step.unit.root), dir_fd=parent)
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
    known = _copies(step)
    if not known:
        raise RestoreRefused("has no copy at any target: it can only be taken out of the bin")
    failures = []
    for number, copy in known:
        try:
            target = step.works.target(copy.target)
            manifest = fetched(target, copy, step.copy_manifest(number), step.patience())
            return _made(step, one, to, (target, manifest), overwrite=overwrite)
        except (TargetFailed, ContentWrong, manifests.ManifestBroken) as error:
            failures.append(f"{copy.target}: {words(error)}")
    raise RestoreRefused("; ".join(failures))


def _copies(step: Step) -> list[tuple[int, Copy]]:
    """The copies, by the numbers of their targets; last those that are not whole: most may be."""
    known = step.works.database.read(partial(copies.of_unit, unit_id=step.unit.unit_id))
    urls = enumerate(step.run.policy.targets)
    found = [(number, known[url]) for number, url in urls if url in known]
    return sorted(found, key=lambda each: each[1].lost_at is not None)


def _made(
    step: Step, one: Found, to: bytes | None, from_: tuple[Target, Path], *, overwrite: bool
) -> Restored:
    goal = _goal(one, to)
    target, manifest = from_
    told: list[str] = []

    def tell(path: bytes, what: str) -> None:
        told.append(f"{text(path) or '.'} {what}")

    whole = to is None and not one.inner
    if whole and all_stands(goal, manifest):  # who made it was killed before it could be noted
        if step.unit.state != "restored":
            _note(step, goal, whole=True)
        return Restored(step.unit.name, _path(one), goal, target.url, 0, None, ())
    step.works.watch.begin("restore", step.unit.size_bytes)
    with manifest.open("rb") as file:
        source = _Source(step, target, _wanted(manifests.read(file)[1], one.inner), tell)
        size = _make(source, one, goal, overwrite=overwrite)
    _note(step, goal, whole=whole)
    return Restored(step.unit.name, _path(one), goal, target.url, size, None, tuple(told))


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
        with opened(goal) as there:
            return _fill(source, there, overwrite=overwrite)
    first = next(source.entries, None)
    if first is None:
        raise RestoreRefused(f"holds nothing called {text(one.inner)}")
    name = os.path.basename(goal)
    if one.unit.kind == "files" and goal == _path(one):
        _make_folder(source, one.unit.root)
        with opened(one.unit.root) as root:
            make_way(root, one.inner)
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


def _fill(source: _Source, root: int, *, overwrite: bool = False) -> int:
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
