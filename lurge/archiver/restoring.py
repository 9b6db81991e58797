"""
Restoring: out of the bin by a rename while a unit is there, else from a copy, by its manifest.

Nothing that is there is replaced unless that is allowed.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from db import audits, copies, ledger
from db.leases import LeaseLost
from db.ledger import UnitMoved
from lurge.archiver import tombstones
from lurge.archiver.binning import GONE, Place, clear, located, take_out
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.claims import claimed
from lurge.archiver.fetching import fetched
from lurge.archiver.handles import opened
from lurge.archiver.listing import has_inner, ways_up
from lurge.archiver.purging import entries
from lurge.archiver.remade import RestoreRefused, Source, above, make, wanted
from lurge.archiver.remarking import Remarks
from lurge.archiver.standing import all_stands
from lurge.archiver.step import Step
from lurge.archiver.works import Works, now, words
from lurge_types.archive import STATES, WAYS, Copy, Entry, State, UnitNow
from lurge_types.targets import Target, TargetFailed
from utils import manifests, runfiles
from utils.differences import Differs, changed
from utils.durable import NoRoom
from utils.handles import Opener, TreeUnfit
from utils.paths import raw, text
from utils.remaking import ContentWrong, NameTaken, PartnerGone
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
    there. remarks: what of it is not as it was, or that it was there already, the first ones;
    remarked: how many there are.
    """

    unit: str
    path: bytes
    to: bytes
    how: str
    size_bytes: int
    failure: str | None
    remarks: tuple[str, ...] = ()
    remarked: int = 0


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
        yield _tried(works, one, to, overwrite=overwrite)
        keeper.note()
    keeper.end()


def _tried(works: Works, one: Found, to: bytes | None, *, overwrite: bool) -> Restored:
    """What becomes of one, also where another has it, or takes it over meanwhile."""
    seconds = works.table.lease_seconds
    try:
        with claimed(works.database, one.unit, STATES, works.holder, seconds) as taken:
            if taken is None:
                return _failed(one, to, "somebody works on it just now: try again later")
            unit, claim = taken
            run = works.database.read(partial(ledger.run_of, prefix=unit.content_id))
            step = Step(works, run, unit, None, claim)
            return _restored(step, replace(one, unit=unit), to, overwrite=overwrite)
    except (LeaseLost, UnitMoved) as error:
        works.watch.event("lease_lost", one.unit, reason=str(error))
        return _failed(one, to, f"{error}: try again later")


def _failed(one: Found, to: bytes | None, why: str) -> Restored:
    return Restored(one.unit.name, _path(one), _goal(one, to), "-", 0, why)


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
        return _from_copy(step, one, _remarks(step), to, overwrite=overwrite)
    except (RestoreRefused, *FAILURES) as error:
        return _failed(one, to, words(error))


def _binned(step: Step, one: Found, *, overwrite: bool) -> Restored:
    """Restore what the ledger has in the bin: from there if it is there as it was put there."""
    place = located(step.unit)
    remarks = _remarks(step)
    if not place.is_filled():
        if _is_back(step):  # somebody was killed who had restored it
            return _is_restored(step, one, place, remarks)
        return _from_copy(step, one, remarks, overwrite=overwrite)
    try:
        differs = [*islice(_bin_differs(step, place), 1)]
        lacks = (each.words for each in _bin_differs(step, place) if each.lacks)
        lacking = [*islice(lacks, SHOWN)] if differs else []
    except (manifests.ManifestBroken, TreeUnfit, *GONE) as error:  # not what may pass, such as EIO
        lacking = [words(error)]
    if lacking:
        return _beside_bin(step, one, place, "; ".join(lacking), remarks, overwrite=overwrite)
    for each in _bin_differs(step, place) if differs else ():
        remarks.add(each.words)
    return _from_bin(step, one, place, remarks, overwrite=overwrite)


def _remarks(step: Step) -> Remarks:
    return Remarks(step.works.watch, step.unit)


class _Differing(NamedTuple):
    """What has become of something in a bin; lacks: it is not what was put there."""

    words: str
    lacks: bool


def _bin_differs(step: Step, place: Place) -> Iterator[_Differing]:
    """
    What has gone from the bin, or was changed there; of files, what is back in its place has not
    gone. Nothing is told of what was never compared.

    What has its size and time of modification does not lack: it may have another mode.
    """
    if not place.manifest.exists():
        return
    is_files = step.unit.kind == "files"
    with ExitStack() as stack:
        opener = stack.enter_context(Opener(stack.enter_context(opened(place.tree))))
        device = opener.stat(b"").st_dev
        sides = []
        if is_files:
            with suppress(*GONE):
                root = stack.enter_context(opened(step.unit.root))
                sides.append(stack.enter_context(Opener(root)))
        for entry in entries(place.manifest):
            path = text(entry.path) or "."
            here = _stat(opener, entry.path)
            found = here or next(filter(None, (_stat(side, entry.path) for side in sides)), None)
            if found is None:
                yield _Differing(f"{path}: missing", True)
            elif facts := changed(entry, found, device=device, renamed=True, deleting=True):
                yield _Differing(f"{path}: different ({', '.join(facts)})", True)
            elif here and (facts := _facts(entry, here, device, is_files=is_files)):
                yield _Differing(f"{path} was changed in the bin ({', '.join(facts)})", False)


def _facts(entry: Entry, here: os.stat_result, device: int, *, is_files: bool) -> tuple[str, ...]:
    """What was changed of an entry since it came into the bin, but for what Lurge has renamed."""
    renamed = not entry.path
    return changed(entry, here, device=device, renamed=renamed, deleting=is_files)


def _stat(opener: Opener, path: bytes) -> os.stat_result | None:
    try:
        return opener.stat(path)
    except GONE:
        return None


def _beside_bin(
    step: Step, one: Found, place: Place, lacking: str, remarks: Remarks, *, overwrite: bool
) -> Restored:
    """Restore from a copy what is not in the bin as it was put there."""
    where = f"in the bin, {lacking}: what is left is in {text(place.tree)}"
    if not _copies(step):
        raise RestoreRefused(f"{where}, and there is no copy: move out by hand what is wanted")
    remarks.add(where)
    return _from_copy(step, one, remarks, overwrite=overwrite)


def _from_bin(
    step: Step, one: Found, place: Place, remarks: Remarks, *, overwrite: bool
) -> Restored:
    """Rename a unit back into its place, which replaces nothing."""
    with above(step.unit.root) as parent:
        tombstones.remove(step.unit, parent)
        if step.unit.kind == "files":
            with suppress(FileExistsError):
                os.mkdir(os.path.basename(step.unit.root), dir_fd=parent)
        try:
            take_out(step, place, parent)
        except FileExistsError as error:
            never = "; what is in the bin overwrites nothing" if overwrite else ""
            inner = error.filename if step.unit.kind == "files" else b""
            where = text(_path(Found(step.unit, inner)))
            raise RestoreRefused(
                f"{where} is there already: move it away, or restore elsewhere; "
                f"it is in {text(place.tree)}{never}"
            ) from error
    return _is_restored(step, one, place, remarks)


def _is_restored(step: Step, one: Found, place: Place, remarks: Remarks) -> Restored:
    """Note that a unit is in its place again, before what tells of it in the bin is removed."""
    step.moved("restored")
    try:
        clear(place)
    except OSError as error:
        remarks.add(f"{text(bytes(place.unit))} is left in the bin: {words(error)}")
    path, size = _path(one), step.unit.size_bytes
    return _told(Restored(step.unit.name, path, path, "bin", size, None), remarks)


def _told(done: Restored, remarks: Remarks) -> Restored:
    return replace(done, remarks=tuple(remarks.kept), remarked=remarks.count)


def _is_back(step: Step) -> bool:
    """Whether the directory that was put into the bin is in its place. Raises RunFileWrong."""
    planned = runfiles.read(step.run.file).units[step.unit.number - 1]
    try:
        found = fingerprint(os.lstat(step.unit.root))
    except GONE:
        return False
    known = planned.root_fingerprint
    return planned.kind == "directory" and (found.kind, found.inode) == (known.kind, known.inode)


def _from_copy(
    step: Step, one: Found, remarks: Remarks, to: bytes | None = None, *, overwrite: bool
) -> Restored:
    """Make a unit, or a part of it, again, from the first of its copies that is whole."""
    known = _copies(step)
    if not known:
        raise RestoreRefused("has no copy at any target: it can only be taken out of the bin")
    failures = []
    for number, copy in known:
        try:
            target = step.target(copy.target)
            manifest = fetched(target, copy, step.copy_manifest(number), step.patience())
            source = _Copy(target, manifest, remarks)
            return _told(_made(step, one, to, source, overwrite=overwrite), remarks)
        except (TargetFailed, ContentWrong, manifests.ManifestBroken) as error:
            failures.append(f"{copy.target}: {words(error)}")
    raise RestoreRefused("; ".join(failures))


def _copies(step: Step) -> list[tuple[int, Copy]]:
    """The copies, by the numbers of their targets; last those that are not whole: most may be."""
    known = step.works.database.read(partial(copies.of_unit, unit_id=step.unit.unit_id))
    urls = enumerate(step.run.policy.targets)
    found = [(number, known[url]) for number, url in urls if url in known]
    return sorted(found, key=lambda each: each[1].lost_at is not None)


@dataclass(frozen=True, slots=True)
class _Copy:
    """A copy that something is made from, and who is told of what cannot be made again."""

    target: Target
    manifest: Path
    remarks: Remarks

    def tell(self, path: bytes, what: str) -> None:
        """Make a remark about a path."""
        self.remarks.add(f"{text(path) or '.'} {what}")


def _made(step: Step, one: Found, to: bytes | None, copy: _Copy, *, overwrite: bool) -> Restored:
    goal = _goal(one, to)
    done = Restored(step.unit.name, _path(one), goal, copy.target.url, 0, None)
    whole = to is None and not one.inner
    if whole and all_stands(goal, copy.manifest):  # who made it was killed before it was noted
        if step.unit.state != "restored":
            _note(step, goal, whole=True)
        copy.remarks.add("all of it was there already")
        return done
    lacking = _lacking_way(step.unit, one.inner) if to is None else None
    base = one.inner if lacking is None else lacking
    step.works.watch.event("restoring", step.unit, to=text(goal))
    step.works.watch.begin("restore", step.unit.size_bytes)
    with copy.manifest.open("rb") as file:
        entries = wanted(manifests.read(file)[1], one.inner, base)
        source = Source(step, copy.target, entries, copy.tell)
        made = goal if lacking is None else _path(replace(one, inner=base))
        size = make(source, one.inner, made, overwrite=overwrite)
    if lacking is not None:
        copy.remarks.add(
            f"{text(made)} was not there: it is made as it was, with nothing else in it"
        )
    _note(step, goal, whole=whole)
    return replace(done, size_bytes=size)


def _lacking_way(unit: UnitNow, inner: bytes) -> bytes | None:
    """
    The first directory of a unit on the way to something in it that is not in its place, empty for
    the root; None where none lacks, or nothing is known of them.

    Raises RestoreRefused where its place is wanted for what is in the bin, TreeUnfit, OSError.
    """
    if unit.kind == "files" or not inner:
        return None
    with above(unit.root) as parent:
        is_word = tombstones.stands(unit, parent)
    lacking: bytes | None = b""
    with suppress(FileNotFoundError):
        if not is_word:
            with opened(unit.root) as root:
                lacking = _first_lacking(root, inner)
    if lacking == b"" and unit.state in ledger.IN_BIN:
        whole = text(unit.root)
        raise RestoreRefused(
            f"all of {whole} is in the bin: restore that, or this to another folder: --to DIR"
        )
    return lacking


def _first_lacking(root: int, inner: bytes) -> bytes | None:
    """The first directory below another on the way to a path that is not there."""
    with Opener(root) as opener:
        for way in reversed([way[1:] for way in ways_up(b"/" + inner)]):
            if _stat(opener, way) is None:
                return way
    return None


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
