"""
Into the bin: a rename, which can be undone, before anything is deleted.

A unit's place in a bin is told by its name, and within it by the token of the lease: so whoever
takes over finds what was renamed by then, and by removing the empty folder of an older token makes
sure that its holder, should it wake up, renames nothing. What has come into the bin is compared
with the manifest of what was copied. If anything differs it all goes back. Before it is deleted it
is renamed into the folder of who does that: then none of those before can rename it back.

    BIN/UNIT/origin.json        where it came from, and when it may be deleted: there before it is
    BIN/UNIT/manifest.gz        what is in it, with the fingerprints that it has there, once all of
                                it has been compared
    BIN/UNIT/TOKEN/tree         the directory, or the folder of the files
"""

import errno
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from db.dialects import clock
from lurge.archiver import tombstones
from lurge.archiver.handles import opened, opened_in
from lurge.archiver.reading import Changed
from lurge.archiver.step import Step
from lurge.archiver.works import BIN, Works, bin_of, words
from lurge_types.archive import WAYS, Binned, Course, Kind, UnitNow
from lurge_types.config import Config
from utils import manifests, mounts, trees
from utils.differences import compared, differences
from utils.durable import sync_folder, write_whole
from utils.handles import Chain, Opener, TreeUnfit, components, open_root
from utils.paths import raw, text
from utils.removing import remove_folders
from utils.renaming import rename_new

TREE = b"tree"
MANIFEST = "manifest.gz"
ORIGIN = "origin.json"
OURS = re.compile(
    rb"(?:manifest\.gz|origin\.json)|\.(?:manifest\.gz|origin\.json)\.[0-9a-f]{8}"
).fullmatch
"""What is written about a unit, and what a worker that was killed had begun to write."""

LARGEST_ORIGIN = 1 << 20

GONE = (FileNotFoundError, NotADirectoryError)
NOT_EMPTY = (errno.ENOTEMPTY, errno.EEXIST)

OUT_OF_BIN = frozenset({"deleted", "restored", "dirty"})
"""In which states nothing of a unit is in a bin any more."""


class BinRefused(Exception):
    """A unit cannot be put into a bin, or taken out of it: which, why, and what to do."""


@dataclass(frozen=True)
class Place:
    """A unit's place in a bin: BIN/UNIT/TOKEN."""

    folder: bytes

    @property
    def tree(self) -> bytes:
        """The directory that it is, or the one that holds its files."""
        return self.folder + b"/" + TREE

    @property
    def unit(self) -> Path:
        """What is the unit's in the bin."""
        return Path(os.fsdecode(self.folder)).parent

    @property
    def manifest(self) -> Path:
        """What is in it."""
        return self.unit / MANIFEST

    @property
    def origin(self) -> Path:
        """Where it came from."""
        return self.unit / ORIGIN

    def is_filled(self) -> bool:
        """Whether anything is in it. Raises OSError where that cannot be told."""
        try:
            os.lstat(self.tree)
        except FileNotFoundError:
            return False
        return True


class OriginBroken(Exception):
    """What tells where something in a bin came from is damaged: which."""


class Origin(NamedTuple):
    """
    Where something in a bin came from, and when it may be deleted, in UTC without a zone.

    run: its file. content_id: of that.
    """

    unit: str
    kind: Kind
    root: bytes
    run: str
    content_id: str
    course: Course
    binned_at: datetime
    purge_after: datetime


def put(step: Step) -> Step:
    """
    Put a unit into the bin, once there is room for what is written there; its next state.

    Raises Changed where it is not what was copied: it may be in the bin, see `take_back`.
    BinRefused, TreeUnfit, LeaseLost, OSError.
    """
    return _noted(step, step.patience().tried(partial(_put, step)))


def _put(step: Step) -> Place:
    place = found(step)
    if place is None or step.unit.kind == "files":
        with _above(step) as parent:
            place = _filled(step, parent, place)
    _compare(step, place)
    return place


@contextmanager
def _above(step: Step) -> Iterator[int]:
    """A handle of the directory that a unit lies in. Raises Changed where it is not there."""
    above = os.path.dirname(step.unit.root)
    try:
        handle = open_root(above)
    except GONE as error:
        raise Changed(f"{text(above)} is no longer there") from error
    try:
        yield handle
    finally:
        os.close(handle)


def place_of(unit: UnitNow) -> Place:
    """Where the ledger has a unit that is in the bin. Raises ValueError for another."""
    if unit.bin is None:
        raise ValueError(f"{unit.name} is {unit.state}: it is in no bin")
    return Place(unit.bin)


def located(unit: UnitNow) -> Place:
    """
    Where a unit is that the ledger has in the bin: there, or where a purge was killed that had
    renamed it into its own folder; where the ledger has it, if nothing of it is there.

    Raises ValueError as `place_of`, OSError.
    """
    place = place_of(unit)
    if place.is_filled():
        return place
    others = places(bytes(place.unit.parent), unit.name)
    return others[-1] if others else place


def taken_over(step: Step, place: Place) -> Place:
    """
    Rename what is in the bin into the folder of this lease's token, so who held an older one and
    wakes up finds nothing there to rename; where it is then.

    Raises FileNotFoundError where it is no longer there, TreeUnfit, OSError, LeaseLost.
    """
    mine = _place(bytes(place.unit), step.token)
    if mine == place:
        return place
    with suppress(FileExistsError):
        os.mkdir(mine.folder, 0o700)
    sync_folder(place.unit)
    with opened(place.folder) as old, opened(mine.folder) as new:
        step.claim.check()
        rename_new(TREE, TREE, from_=old, to=new, into_ours=True)
        os.fsync(new)
        os.fsync(old)
    return mine


def places(bin_: bytes, unit: str) -> list[Place]:
    """The places in a bin, each of a worker, that hold anything of a unit. Raises OSError."""
    folder = bin_ + b"/" + unit.encode("ascii")
    return [place for token in _tokens(folder) if (place := _place(folder, token)).is_filled()]


def strangers(place: Place) -> Iterator[bytes]:
    """What is in a unit's folder in the bin and was not put there. Raises OSError."""
    folder, token = os.path.split(place.folder)
    for name in sorted(os.listdir(folder)):
        if not (name == token or OURS(name) or _is_empty_place(folder, name)):
            yield name
    yield from (token + b"/" + name for name in os.listdir(place.folder) if name != TREE)


def _is_empty_place(folder: bytes, name: bytes) -> bool:
    """Whether it is what a worker left that has put nothing there."""
    return name.isdigit() and not os.listdir(folder + b"/" + name)


def _place(folder: bytes, token: int) -> Place:
    return Place(folder + b"/%d" % token)


def found(step: Step) -> Place | None:
    """
    Where in a bin a unit is, whoever has put it there, or some of its files.

    Empty folders of earlier workers are removed: should one wake up, it can rename nothing.
    Raises OSError.
    """
    for bin_ in _bins(step):
        folder = bin_ + b"/" + step.unit.name.encode("ascii")
        for token in _tokens(folder):
            place = _place(folder, token)
            if place.is_filled():
                return place
            if token < step.token:
                with suppress(FileNotFoundError):
                    os.rmdir(place.folder)
    return None


def take_back(step: Step, why: str) -> Step:
    """
    Let a unit that has changed be in its place, and note that it is dirty; its next state.

    Where something else has its place by now, or that is gone, it stays in the bin until somebody
    has looked; before it has copies it counts as failed, so another try may take it back.

    Raises BinRefused where it cannot be taken back, LeaseLost, OSError.
    """
    place = found(step)
    if place is not None:
        place.manifest.unlink(missing_ok=True)
        try:
            with opened(os.path.dirname(step.unit.root)) as parent:
                step.claim.check()
                tombstones.remove(step.unit, parent)
                take_out(step, place, parent)
        except (FileExistsError, *GONE) as error:
            gone = "gone" if isinstance(error, GONE) else "taken"
            stays = f"{why}; its place is {gone} by now, it is in {text(place.tree)}"
            if "binned" in WAYS[step.unit.course][step.unit.state]:
                return _noted(step, place, stays)
            return step.moved("failed", reason=stays)
        except (TreeUnfit, OSError) as error:
            raise BinRefused(
                f"{why}; it cannot be taken back, it is in {text(place.tree)}: {words(error)}"
            ) from error
        clear(place)
    return step.moved("dirty", reason=why)


def _noted(step: Step, place: Place, reason: str | None = None) -> Step:
    """Note in the bin and in the ledger what is there, and leave a word in its place."""
    unit, binned = step.unit, _binned(step, place)
    step.patience().tried(partial(_write_origin, step, place, binned))
    if step.run.policy.tombstone and reason is None:
        tombstones.leave(unit, binned)
    return step.moved("binned", binned=binned, reason=reason)


def _binned(step: Step, place: Place) -> Binned:
    """What is put into the bin now."""
    at = step.works.database.read(clock)
    return Binned(place.folder, at, at + timedelta(days=step.run.policy.keep_in_bin))


def bins_of(config: Config, unit: UnitNow) -> list[bytes]:
    """The volume's, and the one beside the unit: where projects forbid renames, that is within."""
    beside = os.path.dirname(unit.root).rstrip(b"/") + b"/" + BIN
    return list(dict.fromkeys([bin_of(config, unit.volume), beside]))


def _bins(step: Step) -> list[bytes]:
    return bins_of(step.works.config, step.unit)


def _tokens(folder: bytes) -> list[int]:
    try:
        return sorted(int(name) for name in os.listdir(folder) if name.isdigit())
    except GONE:  # what it lay in may be archived, too
        return []


def _filled(step: Step, parent: int, begun: Place | None) -> Place:
    """Rename a unit into the first bin that takes it, or the rest where that has begun."""
    if begun is not None:
        _rename(step, begun, parent)
        return begun
    _see_unchanged(step, parent)
    for bin_ in _bins(step):
        _make_bin(bin_)
        place = Place(bin_ + b"/%s/%d" % (step.unit.name.encode("ascii"), step.token))
        os.makedirs(place.folder, mode=0o700, exist_ok=True)
        _write_origin(step, place, _binned(step, place))
        sync_folder(Path(os.fsdecode(bin_)))
        try:
            _rename(step, place, parent)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            _unmove(step, place, parent)
            continue
        return place
    bins = " and ".join(map(text, _bins(step)))
    raise BinRefused(f"{text(step.unit.root)} cannot be renamed into {bins}: set archive.bin")


def _unmove(step: Step, place: Place, parent: int) -> None:
    """Put files back of which others cannot be renamed into a bin, and leave nothing there."""
    if place.is_filled():
        take_out(step, place, parent)
    clear(place)


def _make_bin(bin_: bytes) -> None:
    """
    Make a bin that only its owner gets into, or see that it is one.

    Raises BinRefused, TreeUnfit where there is a link on its way.
    """
    with suppress(FileExistsError):
        os.mkdir(bin_, 0o700)
        sync_folder(Path(os.fsdecode(os.path.dirname(bin_))))
    see_own(bin_)


def see_own(bin_: bytes) -> None:
    """
    See that only its owner gets into a bin.

    Raises BinRefused, TreeUnfit where there is a link on its way, OSError.
    """
    with opened(bin_) as handle:
        found = os.fstat(handle)
    if found.st_uid != os.geteuid() or found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise BinRefused(
            f"{text(bin_)}: others could change what is in the bin: it must be a directory of who "
            "runs this, with mode 700"
        )


def _rename(step: Step, place: Place, parent: int) -> None:
    """Rename a unit into its place in a bin."""
    with opened(place.folder) as folder:
        if step.unit.kind == "directory":
            step.claim.check()  # after the folder is there, which who takes over will remove
            name = os.path.basename(step.unit.root)
            rename_new(name, TREE, from_=parent, to=folder, into_ours=True)
        else:
            _rename_files(step, folder)
        os.fsync(folder)
        if step.unit.kind == "directory":  # above files may be another filesystem
            os.fsync(parent)


def _rename_files(step: Step, folder: int) -> None:
    """
    Rename those that are there: what is missing, or was put there before and has another in its
    place by now, is told by comparing.
    """
    with suppress(FileExistsError):
        os.mkdir(TREE, 0o700, dir_fd=folder)
    with suppress(*GONE), opened(step.unit.root) as root, opened_in(folder, TREE) as tree:
        for entry in step.entries():
            make_way(tree, entry.path, 0o700)
            step.claim.check()
            with suppress(FileExistsError):
                move(entry.path, root, tree, into_ours=True)


def make_way(root: int, path: bytes, mode: int = 0o777) -> None:
    """Make the directories that a path leads through, below a directory. Raises OSError."""
    chain = Chain(root)
    try:
        for name in components(path)[:-1]:
            with suppress(FileExistsError):
                os.mkdir(name, mode, dir_fd=chain.handle())
            chain.down(name)
    finally:
        chain.close()


def move(path: bytes, root: int, other: int, *, into_ours: bool = False) -> None:
    """
    Rename what lies below a directory, if it is there, to the same path below another.

    into_ours: see `rename_new`.

    Raises FileExistsError, PathRefused, OSError.
    """
    with Opener(root) as here, Opener(other) as there:
        try:
            from_, name = here.place(path)
            os.stat(name, dir_fd=from_, follow_symlinks=False)
        except GONE:
            return
        to, _ = there.place(path)
        rename_new(name, name, from_=from_, to=to, into_ours=into_ours)


def _see_unchanged(step: Step, parent: int) -> None:
    """See that what is to be renamed is what was planned. Raises Changed."""
    if step.unit.kind == "files":
        try:
            with opened(step.unit.root) as root:
                for difference in differences(step.entries(), trees.entries(root, step.members())):
                    raise Changed(str(difference))
        except GONE as error:
            raise Changed(f"{text(step.unit.root)} is no longer there") from error
        return
    try:
        found = os.stat(os.path.basename(step.unit.root), dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError as error:
        raise Changed(f"{text(step.unit.root)} is no longer there") from error
    if step.planned and trees.fingerprint(found) != step.planned.root_fingerprint:
        raise Changed(f"{text(step.unit.root)} has changed since it was planned")
    if place := mounts.within(step.unit.root):
        raise Changed(f"{place} is a mount: it would be renamed with {text(step.unit.root)}")


def _compare(step: Step, place: Place) -> None:
    """Compare what is in the bin with what was copied, and write down what is there."""
    with opened(place.tree) as tree:
        device = os.fstat(tree).st_dev
        if step.unit.kind == "files":
            found = trees.entries(tree, step.members())
            there = compared(step.entries(), found, device=device, renamed=None)
        else:
            found = trees.entries(tree)
            there = compared(step.entries(), found, device=device, renamed={b""})
        manifests.write(place.manifest, step.header(None, step.order()), there)


def take_out(step: Step, place: Place, parent: int) -> None:
    """
    Rename a unit from a bin to its place; what is left in the bin is to be cleared once that is
    known.

    parent: a handle of the directory that it lies in.

    Raises FileExistsError where something else is there, PathRefused, OSError, LeaseLost.
    """
    with opened(place.folder) as folder:
        step.claim.check()  # who takes over to delete it renames it into another folder
        if step.unit.kind == "directory":
            rename_new(TREE, os.path.basename(step.unit.root), from_=folder, to=parent)
        else:
            with opened(step.unit.root) as root, opened_in(folder, TREE) as tree:
                for path in _files(place, step):
                    step.claim.check()
                    make_way(root, path)
                    _move_back(path, tree, root)
        os.fsync(folder)
        if step.unit.kind == "directory":  # above files may be another filesystem
            os.fsync(parent)


def _move_back(path: bytes, tree: int, root: int) -> None:
    """
    Rename a file out of the bin; where one inode has both names, only the bin's goes.

    Raises FileExistsError with the path below the root, OSError.
    """
    try:
        move(path, tree, root)
    except FileExistsError as error:
        with Opener(tree) as here, Opener(root) as there:
            from_, name = here.place(path)
            found = os.stat(name, dir_fd=from_, follow_symlinks=False)
            if not os.path.samestat(found, there.stat(path)):
                raise FileExistsError(error.errno, error.strerror, path) from error
            os.unlink(name, dir_fd=from_)


def _files(place: Place, step: Step) -> list[bytes]:
    """The paths of the files that are in a bin."""
    if not place.manifest.exists():  # they came only half-way
        return step.members()
    with place.manifest.open("rb") as file:
        return [entry.path for entry in manifests.read(file)[1]]


def clear(place: Place) -> None:
    """
    Remove what a bin has of a unit that is no longer in it; what nobody has put there stays.

    Raises OSError.
    """
    try:
        if place.is_filled():  # of files, the folders
            with opened(place.folder) as handle:
                remove_folders(TREE, handle)
        os.rmdir(place.folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        if error.errno not in NOT_EMPTY:
            raise
        return
    clear_unit(place.unit)


def clear_unit(folder: Path) -> None:
    """Remove the folder of a unit in a bin, if nothing is in it but what Lurge wrote about it."""
    way = bytes(folder)
    try:
        names = os.listdir(way)
    except FileNotFoundError:
        return
    if all(OURS(name) or _is_empty_place(way, name) for name in names):
        for name in sorted(names, key=lambda name: name == ORIGIN.encode("ascii")):
            with suppress(FileNotFoundError):  # somebody else does the same
                (os.unlink if OURS(name) else os.rmdir)(way + b"/" + name)
        with suppress(FileNotFoundError):
            os.rmdir(way)


def sweep(works: Works, unit: UnitNow) -> None:
    """Remove what a killed worker has left of a unit in bins that it is not in, or tell why not."""
    if unit.state not in OUT_OF_BIN:
        return
    for bin_ in bins_of(works.config, unit):
        try:
            if unit.kind == "files":  # what it lay in there was made for it
                for place in places(bin_, unit.name):
                    clear(place)
            clear_unit(Path(os.fsdecode(bin_), unit.name))
        except OSError as error:
            works.watch.event("left_over", unit, reason=words(error))


def _write_origin(step: Step, place: Place, binned: Binned) -> None:
    """For whoever finds the bin without the database."""
    facts = {
        "unit": step.unit.name,
        "kind": step.unit.kind,
        "root": text(step.unit.root),
        "run": str(step.run.file),
        "content_id": step.run.content_id,
        "course": step.unit.course,
        "binned_at": binned.at.isoformat(),
        "purge_after": binned.purge_after.isoformat(),
    }
    write_whole(place.origin, json.dumps(facts, indent=1).encode("ascii") + b"\n")


def read_origin(file: Path) -> Origin | None:
    """
    Its twin: what it says of something in a bin, None where it is not there.

    Raises OriginBroken, OSError.
    """
    try:
        with file.open("rb") as opened_:
            facts = json.loads(opened_.read(LARGEST_ORIGIN))
        return Origin(
            unit=facts["unit"],
            kind=facts["kind"],
            root=raw(facts["root"]),
            run=facts["run"],
            content_id=facts["content_id"],
            course=facts["course"],
            binned_at=datetime.fromisoformat(facts["binned_at"]),
            purge_after=datetime.fromisoformat(facts["purge_after"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise OriginBroken(f"{file} is damaged: look at what is beside it") from error
