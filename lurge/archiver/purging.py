"""
Out of the bin for good: exactly what the manifest names, if it is still what was put there.

The copies are looked up once more before, and read back where somebody may have touched them; each
entry in the bin is compared with what was put there, and that with what the copies have. From then
on the unit is `deleting`, in the folder of who deletes it: there is no way back by renaming, so
whoever held it before and wakes up deletes nothing that lies in its place again, and takes nothing
there that is being deleted.

An empty bin is not believed: its filesystem may not be mounted. So what tells whose folder it was
goes last, once the ledger knows that all else has gone.
"""

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice
from pathlib import Path

from db.ledger import NotOnTheWay
from lurge.archiver import guards
from lurge.archiver.binning import (
    NOT_EMPTY,
    TREE,
    OriginBroken,
    Place,
    clear_unit,
    located,
    read_origin,
    strangers,
    taken_over,
)
from lurge.archiver.guards import GuardTripped
from lurge.archiver.handles import opened
from lurge.archiver.step import Step
from lurge.archiver.verifying import is_whole, lacking
from lurge.archiver.works import words
from lurge_types.archive import Binned, Copy, Entry, Kind, MountSeen, Segment, UnitNow
from lurge_types.targets import Target
from utils import manifests, runfiles, trees
from utils.differences import Difference, changed, differences
from utils.handles import Opener, TreeUnfit
from utils.manifests import ManifestBroken
from utils.paths import text
from utils.removing import open_up
from utils.runfiles import RunFileWrong
from utils.trees import order

UNLIKE = (ManifestBroken, OriginBroken, TreeUnfit, OSError)
"""Errors by which what is in a bin cannot be told to be what was put there."""

SHOWN = 3
ALL = os.R_OK | os.W_OK | os.X_OK


def purge(step: Step, allow: Collection[str] = ()) -> Step:
    """
    Delete a unit that is in the bin; its next state. Where anything of it has changed, or a copy is
    not there, it stays, with the reason.

    allow: `mount` lets an empty bin be believed, though nobody knows its filesystem.

    Raises LeaseLost, UnitMoved; before anything is done, TargetFailed, ManifestBroken and OSError,
    where it cannot be told what the copies are, and NoRoom where there is none for a manifest.
    """
    place = located(step.unit)
    if why := (
        _not_compared(step, place)
        or _elsewhere(step, allow)
        or _copies_lack(step, place)
        or _bin_lacks(step, place, allow)
    ):
        return staying(step, why)
    if step.unit.state == "binned":
        try:
            place = taken_over(step, place)
        except (TreeUnfit, OSError) as error:
            return staying(step, f"in the bin, {words(error)}")
        binned = _now_in(step.unit, place)
        try:
            step = step.moved("deleting", binned=binned)
        except NotOnTheWay as error:
            return step.moved("binned", reason=str(error), binned=binned)
    if why := _deleted(step, place):
        return staying(step, why)
    step = step.moved("deleted")
    try:
        clear_unit(place.unit)
    except OSError as error:  # it has been deleted for all that: see `binning.sweep`
        step.works.watch.event("left_over", step.unit, reason=words(error))
    return step


def staying(step: Step, why: str) -> Step:
    """Note why a unit stays in the bin, unless that is known. Raises LeaseLost, UnitMoved."""
    if step.unit.reason == why:
        return step
    return step.moved(step.unit.state, reason=why)


def _now_in(unit: UnitNow, place: Place) -> Binned:
    """The same that the ledger has of a unit in the bin, in another place there."""
    if unit.binned_at is None or unit.purge_after is None:
        raise ValueError(f"{unit.name} is {unit.state}: nobody knows since when")
    return Binned(place.folder, unit.binned_at, unit.purge_after)


def differing(place: Place, kind: Kind, *, deleting: bool) -> Iterator[str]:
    """
    What in a bin is not what was put there, in words.

    deleting: what has gone is as it should be.
    """
    renamed = () if kind == "files" else {b""}  # by a purge that was killed, see `taken_over`
    try:
        with opened(place.tree) as tree:
            device = os.fstat(tree).st_dev
            found: Iterator[Entry] = trees.entries(tree)
            if kind == "files":
                found = without_ways(found, entries(place.manifest))
            wanted = entries(place.manifest)
            told = differences(wanted, found, device=device, renamed=renamed, deleting=deleting)
            yield from map(str, told)
        yield from (f"{text(name)}: unknown" for name in strangers(place))
    except UNLIKE as error:
        yield words(error)


def entries(manifest: Path) -> Iterator[Entry]:
    """Those of a manifest. Raises ManifestBroken, OSError."""
    with manifest.open("rb") as file:
        yield from manifests.read(file)[1]


def without_ways(found: Iterator[Entry], wanted: Iterator[Entry]) -> Iterator[Entry]:
    """What is found, without the directories that only lead to what is wanted."""
    next_ = next(wanted, None)
    for entry in found:
        while next_ is not None and order(next_.path) < order(entry.path):
            next_ = next(wanted, None)
        leads = next_ is not None and next_.path != entry.path and _lies_in(next_.path, entry.path)
        if not (leads and entry.fingerprint.kind == "d"):
            yield entry


def _not_compared(step: Step, place: Place) -> str | None:
    """Why what came into the bin was not compared with its copy, if whoever put it there told."""
    is_known = step.unit.state == "deleting" or place.manifest.exists() or not place.is_filled()
    return None if is_known else step.unit.reason


def _elsewhere(step: Step, allow: Collection[str]) -> str | None:
    """Why its targets are not those that it was copied to, as far as its run file is there."""
    if "mount" in allow:
        return None
    try:
        seen = _mounts_of(step.run.file, step.run.content_id)
    except (RunFileWrong, OSError):
        return None  # all copies are looked at in any case
    other = next(guards.other_targets(step.works, seen), None)
    return None if other is None else str(GuardTripped(other.guard, other.why))


@lru_cache(maxsize=1)  # units of a run follow each other, and its file may be large
def _mounts_of(file: Path, content_id: str) -> tuple[MountSeen, ...]:
    """What a run saw where. Raises RunFileWrong, OSError."""
    run = runfiles.read(file)
    if run.content_id != content_id:
        raise RunFileWrong(f"{file} is that of another run")
    return run.mounts


def _copies_lack(step: Step, place: Place) -> str | None:
    """Why the copies do not allow that a unit is deleted. Raises TargetFailed, NoRoom, OSError."""
    known = step.copies()
    if len(known) < len(step.run.policy.targets):
        return "not all of its copies are known"
    for target, copy, manifest in known:
        if why := _copy_lacks(step, target, copy, manifest):
            return f"its copy at {copy.target} {why}"
        if place.manifest.exists() and (more := _only_here(place, step.unit.kind, manifest)):
            return f"the bin has not what is in the copy at {copy.target}: {more}"
    return None


def _copy_lacks(step: Step, target: Target, copy: Copy, manifest: Path) -> str | None:
    if copy.lost_at or not copy.verified_at:
        return "is not verified"
    patience = step.patience()
    sent = (Segment(copy.manifest_bytes, copy.manifest_sha256, None),)
    if not patience.tried(lambda: is_whole(target, copy.key, 0, sent, patience.check)):
        return f"is not whole: its manifest {copy.key} is not what was sent"
    found = lacking((target, copy, manifest), patience, step.works.table.workers)
    wrong = next((why for _, why in found if why), None)
    return wrong and f"is not whole: {wrong}"


def _only_here(place: Place, kind: Kind, manifest: Path) -> Difference | None:
    """What the bin's manifest tells of other than a copy's; both may have seen another device."""
    renamed = None if kind == "files" else {b""}
    here, there = map(_anywhere, (place.manifest, manifest))
    return next(differences(there, here, renamed=renamed), None)


def _anywhere(manifest: Path) -> Iterator[Entry]:
    for entry in entries(manifest):
        yield replace(entry, fingerprint=entry.fingerprint._replace(device=0))


def _bin_lacks(step: Step, place: Place, allow: Collection[str]) -> str | None:
    """Why a unit cannot be deleted as it is in the bin."""
    deleting = step.unit.state == "deleting"
    try:
        if deleting and not place.is_filled():
            return _not_gone(step, place, allow)
    except UNLIKE as error:
        return f"in the bin, {words(error)}"
    found = list(islice(differing(place, step.unit.kind, deleting=deleting), SHOWN))
    return f"in the bin, {'; '.join(found)}" if found else None


def _not_gone(step: Step, place: Place, allow: Collection[str]) -> str | None:
    """Why it is not believed that a unit of which nothing is in the bin has been deleted."""
    origin = read_origin(place.origin)
    if origin is not None:
        return None if origin.unit == step.unit.name else f"the folder is that of {origin.unit}"
    if "mount" in allow:
        return None
    try:
        guards.see_mounts(step.works, runfiles.read(step.run.file), allow)
        os.lstat(place.unit.parent)
    except (GuardTripped, RunFileWrong, OSError) as error:
        return f"nothing of it is in the bin, which may not be mounted: {words(error)}"
    return None


@dataclass
class _Deleting:
    """
    Entries that are being deleted, in the order of a manifest.

    check: asked before each. above: directories on the way, to be deleted when all in them is; None
    for one that was made only to hold what was put there.
    """

    opener: Opener
    device: int
    check: Callable[[], None]
    above: list[tuple[bytes, Entry | None]] = field(default_factory=list)

    def delete(self, entry: Entry) -> str | None:
        """Delete an entry, a directory later on; why not, if so."""
        if why := self.leave(entry.path):
            return why
        # What is above holds this path, without a gap; only of a directory the root is among it.
        self.above += [(way, None) for way in [*_ways(entry.path)][len(self.above) :]]
        if entry.fingerprint.kind == "d":
            self.above.append((entry.path, entry))
            return self._opened_up(entry)
        return self._remove(entry.path, entry)

    def leave(self, path: bytes | None) -> str | None:
        """Delete the directories that do not hold a path, or all but the root; why not, if so."""
        while self.above and (path is None or not _lies_in(path, self.above[-1][0])):
            directory, entry = self.above.pop()
            if directory and (why := self._remove(directory, entry)):
                return why
        return None

    def _opened_up(self, entry: Entry) -> str | None:
        """Let entries of a directory be deleted, whatever its mode is; why not, if so."""
        if not entry.path:
            return None  # which could not have been renamed without that
        found = self._found(entry.path)
        if found is None:
            return None
        if why := self._differs(entry, found):
            return why
        above, name = self.opener.place(entry.path)
        if not os.access(name, ALL, dir_fd=above, effective_ids=True):
            open_up(name, above)
        return None

    def _found(self, path: bytes) -> os.stat_result | None:
        try:
            return self.opener.stat(path)
        except FileNotFoundError:
            return None

    def _differs(self, entry: Entry, found: os.stat_result) -> str | None:
        facts = changed(entry, found, device=self.device, deleting=True)
        return f"in the bin, {text(entry.path)}: different ({', '.join(facts)})" if facts else None

    def _remove(self, path: bytes, entry: Entry | None) -> str | None:
        """Delete what has a path, if it is there and as it was put there; why not."""
        self.check()
        found = self._found(path)
        if found is None:
            return None
        if entry and (why := self._differs(entry, found)):
            return why
        above, name = self.opener.place(path)
        if entry is None or entry.fingerprint.kind == "d":
            return _remove_folder(name, above, path)
        os.unlink(name, dir_fd=above)
        return None


def _remove_folder(name: bytes, above: int, path: bytes) -> str | None:
    """Remove an empty directory; why not, if it is none."""
    try:
        os.rmdir(name, dir_fd=above)
    except OSError as error:
        if error.errno not in NOT_EMPTY:
            raise
        return f"in the bin, {text(path)}: it holds what nobody has put there"
    return None


def _deleted(step: Step, place: Place) -> str | None:
    """Delete what is left of a unit; why not all of it, if so."""
    try:
        if place.is_filled() and (why := _emptied(step, place)):
            return why
        return _unfoldered(place)
    except UNLIKE as error:
        return words(error)


def _unfoldered(place: Place) -> str | None:
    """Remove the folder that held it, durably; why not, if so."""
    try:
        with opened(bytes(place.unit)) as unit:
            name = os.path.basename(place.folder)
            why = _remove_folder(name, unit, name)
            os.fsync(unit)
    except FileNotFoundError:
        return None  # it had gone before
    return why


def _emptied(step: Step, place: Place) -> str | None:
    with opened(place.tree) as root, Opener(root) as opener:
        deleting = _Deleting(opener, os.fstat(root).st_dev, step.claim.check)
        for entry in entries(place.manifest):
            if why := deleting.delete(entry):
                return why
        if why := deleting.leave(None):
            return why
    with opened(place.folder) as folder:
        return _remove_folder(TREE, folder, TREE)


def _ways(path: bytes) -> Iterator[bytes]:
    """
    The directories that a path leads through.

    >>> list(_ways(b"a/b/c")), list(_ways(b"a"))
    ([b'a', b'a/b'], [])
    """
    at = path.find(b"/")
    while at >= 0:
        yield path[:at]
        at = path.find(b"/", at + 1)


def _lies_in(path: bytes, directory: bytes) -> bool:
    return not directory or path.startswith(directory + b"/")
