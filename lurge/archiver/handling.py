"""
The handler of a vault that drains itself: it hands files over, and deletes them once all are safe.

It speaks hgi-vault's protocol. `ready BYTES` asks whether so much would go through now. Otherwise
the absolute paths of files come with NUL bytes between, and the answer is yes only if each of them
has verified copies, and is what was copied. What makes it a no is told before anything is sent,
where that is known. Files that an earlier call has copied are not sent again.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence, Set
from functools import partial
from pathlib import Path
from typing import IO, NamedTuple

from db import copies, ledger
from lurge.archiver import applying, planning
from lurge.archiver.fetching import ManifestLost, fetched
from lurge.archiver.listing import ways_up
from lurge.archiver.planning import Wanted
from lurge.archiver.purging import entries
from lurge.archiver.verifying import lacking
from lurge.archiver.works import Works, volume_of, words
from lurge_types.archive import Copy, Entry, Fingerprint, Proposal, Run, RunNow, UnitNow
from lurge_types.targets import Target, TargetFailed
from utils import places, runfiles, show
from utils.handles import PathRefused, see_below
from utils.manifests import ManifestBroken
from utils.object_keys import MANIFESTS
from utils.paths import text
from utils.trees import fingerprint, order

CHUNK_BYTES = 1 << 16
LONGEST_PATH = 65_536
MOST_PATHS = 1_000_000
"""So many are held in memory; who has more hands them over in parts."""

ALLOWED = ("share", "growth")
"""Guards that are there for what is removed from its place, which nothing is here."""

LOOKED_BACK = 20
"""In so many earlier units it is looked for what was copied before; what is not found is sent."""


class HandlerRefused(Exception):
    """What was handed over is no list of files: why."""


def ready(works: Works, size_bytes: int) -> list[str]:
    """Why so many bytes would not go through now; empty if they would. Raises DatabaseFailed."""
    works.database.read(partial(ledger.runs, limit=1))
    try:
        targets = works.targets(planning.policy_of(works, "copy"))
    except (planning.PlanFailed, TargetFailed) as error:
        return [words(error)]
    return [why for target in targets if (why := _not_ready(works, target, size_bytes))]


def _not_ready(works: Works, target: Target, size_bytes: int) -> str | None:
    wanted = size_bytes + works.table.guards.min_free
    try:
        target.stat(f"{MANIFESTS}ready")
        free = target.free_bytes()
    except TargetFailed as error:
        return words(error)
    if free is not None and free < wanted:
        return f"{target.url}: {show.size(free)} are free, {show.size(wanted)} would be needed"
    return None


def read_paths(file: IO[bytes]) -> list[bytes]:
    """The paths that are handed over. Raises HandlerRefused, OSError."""
    found: list[bytes] = []
    rest = b""
    while chunk := file.read(CHUNK_BYTES):
        *whole, rest = (rest + chunk).split(b"\0")
        found += whole
        if len(found) > MOST_PATHS:
            raise HandlerRefused(f"more than {MOST_PATHS:,} files: hand them over in parts")
        if len(rest) > LONGEST_PATH:
            raise HandlerRefused("a path is too long: hand paths over with NUL bytes between")
    if rest:
        found.append(rest)
    if not found:
        raise HandlerRefused("nothing was handed over")
    return found


def hand_over(works: Works, paths: Sequence[bytes]) -> Iterator[str]:
    """
    Copy files and verify the copies; why not all of them are safe. With no word they all are.

    Raises PlanFailed, RunRefused, GuardTripped, NotAllowed, TargetFailed, DatabaseFailed, OSError.
    """
    if bad := list(_unfit(works, paths)):
        yield from bad
        return
    known: dict[bytes, Fingerprint] = {}
    proposals = []
    for root, members in _groups(works, paths):
        before = _copied_before(works, root, members)
        known |= before
        rest = tuple(path for path in members if _join(root, path) not in before)
        if rest:
            proposals.append(Proposal(root, "files", rest, None, None))
    works.watch.event("known", files=len(known))
    if proposals:
        yield from _sent(works, proposals)
    yield from (
        f"{text(path)} has changed since it was copied"
        for path, was in known.items()
        if _look(path) != was
    )


def _unfit(works: Works, paths: Sequence[bytes]) -> Iterator[str]:
    """Which paths are no files that can be copied, and why."""
    seen: set[bytes] = set()
    for path in paths:
        if path in seen:
            yield f"{text(path)} is there twice"
        elif why := _misplaced(works, path):
            yield f"{text(path)}: {why}"
        seen.add(path)


def _misplaced(works: Works, path: bytes) -> str | None:
    if not path.startswith(b"/"):
        return "is not absolute"
    try:
        see_below(path[1:])
    except PathRefused:
        return "has `.`, `..` or double slashes"
    if volume_of(works.config, path) is None:
        return "lies in no configured volume"
    return _no_file(path)


def _no_file(path: bytes) -> str | None:
    try:
        found = places.facts(path)
    except OSError as error:
        return error.strerror
    if found is None:
        return "is not there, or a link lies on its way"
    return None if stat.S_ISREG(found.st_mode) else "is no file"


def _groups(works: Works, paths: Iterable[bytes]) -> Iterator[tuple[bytes, list[bytes]]]:
    """The files of each volume: the directory that they have in common, and their paths below."""
    by_volume: dict[str, list[bytes]] = {}
    for path in paths:
        volume = volume_of(works.config, path)
        by_volume.setdefault(volume.name if volume else "", []).append(path)
    for _, some in sorted(by_volume.items()):
        root = os.path.commonpath([os.path.dirname(path) for path in some])
        start = len(root.rstrip(b"/")) + 1
        yield root, sorted((path[start:] for path in some), key=order)


def _join(root: bytes, path: bytes) -> bytes:
    return root.rstrip(b"/") + b"/" + path


def _look(path: bytes) -> Fingerprint | None:
    """What has a path now, None for nothing. Raises OSError."""
    found = places.facts(path)
    return None if found is None else fingerprint(found)


def _sent(works: Works, proposals: Sequence[Proposal]) -> Iterator[str]:
    """Send files; which are not safe, and why."""
    wanted = Wanted("handler", "", None, "copy", proposals)
    file, run, _ = planning.plan(works, wanted, reuse=False)
    if bad := [*_unplanned(file, run, proposals)]:
        yield from bad
        return
    for unit in applying.apply(works, file, run, ALLOWED):
        if unit.state != "verified":
            files = show.count(unit.files, "file")
            yield f"{text(unit.root)}: {files} {unit.state}: {unit.reason or '-'}"
    for planned in run.units:
        for entry in entries(runfiles.plan_manifest(file, planned.number)):
            path = _join(planned.root, entry.path)
            if _look(path) != entry.fingerprint:
                yield f"{text(path)} has changed since it was copied"


def _unplanned(file: Path, run: Run, proposals: Sequence[Proposal]) -> Iterator[str]:
    """Files that are not in the plan as such, and why."""
    yield from (f"{text(each.root)}: {each.reason}" for each in run.skipped)
    planned = {unit.root: unit.number for unit in run.units}
    for each in proposals:
        if each.root in planned:
            found = entries(runfiles.plan_manifest(file, planned[each.root]))
            there = {entry.path for entry in found if entry.fingerprint.kind == "f"}
            for path in each.members:
                if path not in there:
                    yield f"{text(_join(each.root, path))} is no file any more"


def _copied_before(works: Works, root: bytes, members: Sequence[bytes]) -> dict[bytes, Fingerprint]:
    """Those files, by absolute paths, that earlier calls have copied, and that are as they were."""
    wanted = {_join(root, path) for path in members}
    found: dict[bytes, Fingerprint] = {}
    for unit in _earlier(works, root):
        if not wanted:
            break
        try:
            more = _unchanged(works, unit, wanted)
        except (ManifestLost, ManifestBroken) as error:
            works.watch.event("lost", unit, reason=str(error))
            continue
        found |= more
        wanted -= more.keys()
    return found


def _earlier(works: Works, root: bytes) -> list[UnitNow]:
    """The newest units that may have some of the files that lie below a directory."""
    which = partial(ledger.newest_units, states={"verified"}, course="copy", limit=LOOKED_BACK)
    below = works.database.read(partial(which, below=root))
    above = works.database.read(partial(which, roots=list(ways_up(root))))
    return sorted({*below, *above}, key=lambda unit: -unit.unit_id)[:LOOKED_BACK]


def _unchanged(works: Works, unit: UnitNow, wanted: Set[bytes]) -> dict[bytes, Fingerprint]:
    """Which files a unit has a verified copy of at each target, and are what was copied."""
    run = works.database.read(partial(ledger.run_of, prefix=unit.content_id))
    known = works.database.read(partial(copies.of, unit_ids=[unit.unit_id]))
    whole = {
        copy.target: copy
        for copy in known.get(unit.unit_id, ())
        if copy.verified_at and not copy.lost_at and copy.verified_how == works.table.verify
    }
    found: dict[bytes, Fingerprint] | None = None
    for target in works.targets(planning.policy_of(works, "copy")):
        copy = whole.get(target.url)
        if copy is None:
            return {}
        here = dict(_at(works, _Before(unit, run, copy, target), wanted))
        found = here if found is None else {path: here[path] for path in found if path in here}
    return found or {}


class _Before(NamedTuple):
    """A copy of before."""

    unit: UnitNow
    run: RunNow
    copy: Copy
    target: Target


def _at(works: Works, before: _Before, wanted: Set[bytes]) -> Iterator[tuple[bytes, Fingerprint]]:
    """Files that are as they were copied, and so are their bytes at a target."""
    unit, run, copy, target = before
    patience = works.patience()
    number = run.policy.targets.index(copy.target)
    local = runfiles.copy_manifest(run.file, unit.number, number)
    manifest = fetched(target, copy, local, patience)

    def same(entry: Entry) -> bool:
        path = _join(unit.root, entry.path)
        return path in wanted and _look(path) == entry.fingerprint

    for entry, why in lacking((target, copy, manifest), patience, works.table.workers, same):
        if why is None:
            yield _join(unit.root, entry.path), entry.fingerprint
