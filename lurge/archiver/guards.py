"""
Guards: what stops a run before it acts, since somebody should look at it first.

Some are told by the plan, and stand in the run file; some are looked at before each unit. A person
may allow one for one run, by its name, but for those that would lose data.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from hashlib import sha256
from itertools import combinations
from pathlib import Path

from db import copies, ledger, usage
from db.database import sqlite_file
from lurge.archiver.works import BIN, Works, bin_of, lies_in, now
from lurge_types.archive import Copy, Course, MountSeen, Policy, Proposal, Run, Tripped, Unit
from lurge_types.targets import TargetFailed
from utils import show
from utils.paths import raw, text
from utils.trees import fingerprint

NAMES = {
    "share": "more than guards.max_share of a volume or a group",
    "growth": "more than guards.max_growth times the last run",
    "mount": "another filesystem is mounted than the plan saw, or a target lacks what it had",
    "stale": "units have changed since they were planned",
    "failures": "too many units in a row have failed",
}
"""What may be allowed."""

PLACE = "file://"
"""How the URL of a target begins that is a directory."""

LARGEST_MARKER = 1 << 20
REMEMBERED = 3
"""How many copies a target is asked for, any of which tells that it is the same as ever."""

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Usual:
    """
    By what a plan is compared with the last run of its kind, and with what is there.

    by_gid: bytes by volume and group, as scans count them: lengths of files. disk_bytes: by volume,
    as a filesystem counts what is used of it: without holes.
    """

    selector: str
    course: Course
    by_gid: Mapping[tuple[str, int], int]
    disk_bytes: Mapping[str, int]


class GuardTripped(Exception):
    """A guard stops a run: which, why, and how a person may go on."""

    def __init__(self, guard: str, why: str) -> None:
        super().__init__(f"{why}. To go on all the same, once: --allow {guard}")


def placed_wrong(works: Works, policy: Policy, proposal: Proposal, volume_name: str) -> str | None:
    """
    Why a unit cannot be acted on where it is, if so: that may not be allowed.

    What is only copied stays where it is, so all of a volume may be, with its bin and its targets:
    only what lies in a target is refused.
    """
    if policy.course == "copy":
        return _in_target(policy, proposal.root)
    if proposal.kind == "files":
        return _files_wrong(works, policy, proposal, volume_name)
    return _removed_wrong(works, policy, proposal.root, volume_name)


def _files_wrong(works: Works, policy: Policy, proposal: Proposal, volume_name: str) -> str | None:
    """The same of files: what they lie below may be a whole volume, with its bin in it."""
    root = proposal.root
    if any(BIN in path.split(b"/") for path in (root, *proposal.members)):
        return "lies in a bin"
    members = frozenset(proposal.members)
    ways = {root + b"/" + way for member in members for way in _ways_to(member)}
    inside = _way(root) | {found for way in ways if (found := _identity(way))}
    targets = [(place, "a target") for _, place in _places(policy.targets)]
    bin_ = bin_of(works.config, volume_name)
    for place, what in ((bin_, "a bin"), *targets, *_own(works)):
        real = bytes(Path(os.fsdecode(place)).resolve())
        inner = real[len(root.rstrip(b"/")) + 1 :] if lies_in(real, root) else b""
        if inner in members or _identity(place) in inside:
            return f"is, or lies in, {text(place)}, {what}"
    return None


def _ways_to(path: bytes) -> Iterator[bytes]:
    """
    The directories that lead to a relative path.

    >>> list(_ways_to(b"a/b/c"))
    [b'a/b', b'a']
    """
    while b"/" in path:
        path = path.rpartition(b"/")[0]
        yield path


def _removed_wrong(works: Works, policy: Policy, root: bytes, volume_name: str) -> str | None:
    """The same of what is to be removed from its place."""
    if BIN in root.split(b"/"):
        return "lies in a bin"
    if any(raw(table.mount) == root for table in works.config.volume):
        return "is a whole volume"
    bin_ = bin_of(works.config, volume_name)
    if lies_in(bin_, root) or lies_in(root, bin_):
        return f"holds the bin {text(bin_)}, or lies in it"
    for url, place in _places(policy.targets):
        if _same_place(root, place):
            return f"it and the target {url} are the same place, or one lies in the other"
    for place, what in _own(works):
        if _same_place(root, place):
            return f"holds {text(place)}, {what}, or lies in it"
    return None


def _own(works: Works) -> Iterator[tuple[bytes, str]]:
    """What the archiver itself writes to, besides targets and bins."""
    table = works.table
    yield bytes(table.run_dir.absolute()), "where the archiver keeps its runs"
    yield bytes(table.log_dir.absolute()), "where the archiver writes its log"
    for file in table.checkpoint_files:
        yield bytes(file.absolute()), "a checkpoint of the archiver"
    if database := sqlite_file(works.database.name):
        yield bytes(database.absolute()), "the database"


def kept_places(works: Works, policy: Policy) -> set[tuple[int, int]]:
    """
    Directories, by device and inode, that may not be in what is removed: a mount may lead to them.

    What is only copied may hold them.
    """
    if policy.course == "copy":
        return set()
    targets = [place for _, place in _places(policy.targets)]
    places = [*targets, bytes(works.table.run_dir.absolute())]
    return {found for place in places if (found := _identity(place))}


def _in_target(policy: Policy, root: bytes) -> str | None:
    for url, place in _places(policy.targets):
        if _identity(place) in _way(root):
            return f"it is, or lies in, the target {url}"
    return None


def _places(targets: Iterable[str]) -> list[tuple[str, bytes]]:
    """The URLs of targets that are directories, with the paths of these."""
    return [(url, os.fsencode(url.removeprefix(PLACE))) for url in targets if _is_directory(url)]


def targets_alike(targets: Sequence[str]) -> str | None:
    """Why copies at several targets are fewer than they seem, if so: that may not be allowed."""
    for (one, place), (other, its_place) in combinations(_places(targets), 2):
        if _same_place(place, its_place):
            return (
                f"the targets {one} and {other} are the same place, or one lies in the other: "
                "name another"
            )
    return None


def _same_place(one: bytes, other: bytes) -> bool:
    """Whether one directory is another, or lies in it, by device and inode of all on their way."""
    return _identity(one) in _way(other) or _identity(other) in _way(one)


def _way(path: bytes) -> set[tuple[int, int]]:
    """The directories on the way to what is there of a path, itself among them."""
    real = Path(os.fsdecode(path)).resolve()
    return {found for each in (real, *real.parents) if (found := _identity(bytes(each)))}


def _identity(path: bytes) -> tuple[int, int] | None:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino


def mounts_seen(works: Works, policy: Policy, units: Iterable[Unit]) -> Iterator[MountSeen]:
    """The mounts of the volumes that units are of, and of the targets, as now. Raises OSError."""
    volumes = sorted({unit.volume for unit in units})
    for name in [*volumes, *filter(_is_directory, policy.targets)] if volumes else ():
        yield _seen(works, name)


def _is_directory(target: str) -> bool:
    return target.startswith(PLACE)


def _seen(works: Works, name: str) -> MountSeen:
    """
    The mount of a volume or a target as it is now.

    Raises OSError, StopIteration for a volume that is not configured.
    """
    marker = works.table.guards.marker
    if _is_directory(name):
        return _target_seen(name, marker)
    mount = next(raw(table.mount) for table in works.config.volume if table.name == name)
    return MountSeen(
        name, mount, os.stat(mount).st_dev, None if marker is None else _marker(mount, marker)
    )


def _target_seen(url: str, marker: str | None) -> MountSeen:
    """The same of a target, which may have no marker. If it is to be made, what is above counts."""
    place = Path(url.removeprefix(PLACE))
    there = place if place.exists() else place.parent
    found = None
    if marker is not None and (place / marker).exists():
        found = _marker(bytes(place), marker)
    return MountSeen(url, bytes(place), there.stat().st_dev, found)


def _marker(mount: bytes, name: str) -> str:
    """The SHA-256 of a marker file. Raises OSError."""
    with Path(os.fsdecode(mount), name).open("rb") as file:
        return sha256(file.read(LARGEST_MARKER)).hexdigest()


def other_mounts(works: Works, mounts: Iterable[MountSeen]) -> Iterator[Tripped]:
    """Volumes and targets that are not mounted as the plan saw them."""
    for seen in mounts:
        try:
            there = _seen(works, seen.volume)
        except OSError as error:
            why = f"{seen.volume}: {error.filename}: {error.strerror}"
        except StopIteration:
            why = f"{seen.volume} is no longer configured"
        else:
            if _is_same(seen, there):
                continue
            why = f"{seen.volume}: another filesystem is at {text(seen.path)} than was planned on"
        yield Tripped("mount", why)


def _is_same(seen: MountSeen, there: MountSeen) -> bool:
    """
    Whether a mount is that which was seen.

    That of a target by its marker alone, if it has one: a unit may be in the bin for months, and
    after a reboot the device of the same filesystem may have another number.
    """
    if not _is_directory(seen.volume):
        return there == seen
    if seen.marker_sha256 is not None:
        return there.marker_sha256 == seen.marker_sha256
    return there.device == seen.device


def other_targets(works: Works, mounts: Iterable[MountSeen]) -> Iterator[Tripped]:
    """Targets that are not mounted as the plan saw them."""
    return other_mounts(works, (each for each in mounts if _is_directory(each.volume)))


def tripped(works: Works, usual: Usual, units: Sequence[Unit]) -> Iterator[Tripped]:
    """What in a plan is more than usual."""
    for name in sorted({unit.volume for unit in units}):
        yield from _shares(works, name, usual)
    last = works.database.read(
        partial(ledger.last_run_bytes, selector=usual.selector, course=usual.course)
    )
    planned = sum(unit.size_bytes for unit in units)
    if last and planned > works.table.guards.max_growth * last:
        yield Tripped("growth", f"{show.size(planned)}, the last run had {show.size(last)}")


def _shares(works: Works, name: str, usual: Usual) -> Iterator[Tripped]:
    """Whether a plan takes too much of a volume, or of what a group last had on it."""
    share = works.table.guards.max_share
    disk = os.statvfs(next(raw(table.mount) for table in works.config.volume if table.name == name))
    used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
    planned = usual.disk_bytes.get(name, 0)
    if planned > share * used:
        yield Tripped("share", f"{_of(planned, used)} that are in use on the disk of volume {name}")
    last_used = partial(usage.last_used, volume_name=name, before=_tomorrow())
    recorded = works.database.read(last_used)
    for (volume_name, gid), size in sorted(usual.by_gid.items()):
        if volume_name == name and gid in recorded and size > share * recorded[gid]:
            yield Tripped("share", f"{_of(size, recorded[gid])} of gid {gid} on {name}")


def _of(part: int, whole: int) -> str:
    return f"{show.size(part)} are {100 * part / max(whole, 1):.0f} % of {show.size(whole)}"


def _tomorrow() -> date:
    return now().date() + timedelta(days=1)


def see_usual(run: Run, allow: Collection[str]) -> None:
    """Raises GuardTripped by what the plan has found."""
    _see_none(run.tripped, allow)


def see_mounts(works: Works, run: Run, allow: Collection[str]) -> None:
    """Raises GuardTripped where a volume or a target is not mounted as the plan saw it."""
    _see_none(other_mounts(works, run.mounts), allow)


def see_archives(works: Works, run: Run, allow: Collection[str]) -> None:
    """Raises GuardTripped where a target lacks what other runs have stored there."""
    _see_none(_other_archives(works, run), allow)


def _other_archives(works: Works, run: Run) -> Iterator[Tripped]:
    """
    Targets that have nothing of what other runs have stored there last: their filesystem may not be
    mounted.

    One that does not answer is told by whoever stores something there.
    """
    this = works.database.read(partial(ledger.known, content_id=run.content_id))
    but_of = this.run_id if this else 0  # which no run has
    for url in run.policy.targets:
        newest = partial(copies.newest, target=url, but_of=but_of, most=REMEMBERED)
        known = works.database.read(newest)
        with suppress(TargetFailed):
            if known and not _has_any(works, url, known):
                why = f"{url} lacks {known[0].key}, which was stored there: mount it"
                yield Tripped("mount", f"{why}; if it is lost: archive check")


def _has_any(works: Works, url: str, known: Iterable[Copy]) -> bool:
    """Whether a target has the manifest of any of its copies. Raises TargetFailed."""
    if _is_directory(url) and not Path(url.removeprefix(PLACE)).exists():
        return False  # to open it would make it
    target = works.target(url)
    return any(target.stat(copy.key) for copy in known)


def _see_none(found: Iterable[Tripped], allow: Collection[str]) -> None:
    for each in found:
        if each.guard not in allow:
            raise GuardTripped(each.guard, each.why)


def see_roots(run: Run, allow: Collection[str]) -> None:
    """Raises GuardTripped where units have changed, by what can be told without reading them."""
    changed = [unit for unit in run.units if unit.kind == "directory" and _has_changed(unit)]
    if changed and "stale" not in allow:
        shown = ", ".join(text(unit.root) for unit in changed[:SHOWN])
        have = f"{show.count(len(changed), 'unit')} {'has' if len(changed) == 1 else 'have'}"
        raise GuardTripped("stale", f"{have} changed since the plan: {shown}")


def _has_changed(unit: Unit) -> bool:
    try:
        found = os.lstat(unit.root)
    except (FileNotFoundError, NotADirectoryError):
        return True
    return fingerprint(found) != unit.root_fingerprint
