"""
A plan: what is due, looked at on the disk as it is now, and written before anything is done.

A plan writes nothing else. Its manifests are made under another name, and get theirs when the run
file, which comes last, is about to be written: what a killed plan leaves is swept by the next.
"""

import os
import secrets
import shutil
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import NamedTuple

from db import ledger
from lurge.archiver.guards import (
    Usual,
    kept_places,
    mounts_seen,
    placed_wrong,
    targets_alike,
    tripped,
)
from lurge.archiver.released import Released
from lurge.archiver.works import Works, now, volume_of, words
from lurge_types.archive import (
    Course,
    Entry,
    Fingerprint,
    Header,
    Policy,
    Proposal,
    Run,
    Skipped,
    Unit,
)
from utils import manifests, runfiles, trees
from utils.durable import room_in, sync_folder
from utils.handles import TreeUnfit, open_root
from utils.parts import part_of, remove_left_overs
from utils.paths import text
from utils.runfiles import RunFileWrong
from utils.trees import Links

UNFINISHED = ".planning-"
SWEPT_SECONDS = 86_400
REUSED = timedelta(hours=1)
TIB = 1 << 40


class PlanFailed(Exception):
    """Nothing can be planned: why, and what to do."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """
    What a plan is made of.

    asked: what was asked of the selector, in words. cut_off: the day that units ended on or before.
    recall: units are taken too that have files which were released to an HSM.
    """

    selector: str
    asked: str
    cut_off: date | None
    course: Course
    proposals: Iterable[Proposal | Skipped]
    recall: bool = False


class Unfit(Exception):
    """What was proposed cannot be a unit: why, and what to do."""


class _Found(NamedTuple):
    """A unit, the bytes in it of each gid, and of all what is no hole."""

    unit: Unit
    by_gid: dict[int, int]
    disk_bytes: int


@dataclass
class _Seen:
    """
    What a manifest's entries amount to, while they go by.

    released: where that matters. kept: directories that may not be among them.
    """

    released: Released | None
    kept: Collection[tuple[int, int]]
    entries: int = 0
    files: int = 0
    size_bytes: int = 0
    disk_bytes: int = 0

    def __post_init__(self) -> None:
        self.by_gid: dict[int, int] = {}
        self.links = Links()

    def going_by(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        """The same entries, each counted. Raises Unfit."""
        for entry in self.links.watch(entries):
            if entry.fingerprint.kind == "d" and entry.fingerprint[:2] in self.kept:
                raise Unfit(f"holds {text(entry.path)}, which is a target, or where runs are kept")
            self.entries += 1
            self.files += entry.fingerprint.kind == "f"
            size = entry.fingerprint.size if entry.has_bytes else 0
            self.size_bytes += size
            self.disk_bytes += _without_holes(entry) if entry.has_bytes else 0
            self.by_gid[entry.gid] = self.by_gid.get(entry.gid, 0) + size
            yield entry


def _without_holes(entry: Entry) -> int:
    """How many bytes of a file a disk has; one that compresses may have fewer."""
    if entry.extents is None:
        return entry.fingerprint.size
    return sum(length for _, length in entry.extents)


def plan(works: Works, wanted: Wanted, reuse: bool = True) -> tuple[Path, Run, bool]:
    """
    Write a plan of what is wanted: its file, what is in it, and whether it is one of before.

    reuse: take one of the last hour that was made of the same.

    Raises PlanFailed, NoRoom, OSError, and what the selector raises.
    """
    folder = works.table.run_dir
    made = now()
    with room_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
        if reuse and (before := _before(works, wanted, made)):
            return *before, True
        sweep(folder)
        return *_new(works, wanted, folder, made), False


def _new(works: Works, wanted: Wanted, folder: Path, made: datetime) -> tuple[Path, Run]:
    """Write a plan; where that fails nothing is left of it."""
    unfinished = part_of(folder / f"planning-{secrets.token_hex(8)}")
    unfinished.mkdir()
    try:
        run = runfiles.sealed(_planned(works, wanted, unfinished, made))
        file = folder / runfiles.file_name(run)
        sync_folder(unfinished)
        unfinished.rename(runfiles.folder_of(file))
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    try:
        runfiles.write(file, run)
    except BaseException:
        if not file.exists():
            shutil.rmtree(runfiles.folder_of(file), ignore_errors=True)
        raise
    return file, run


def policy_of(works: Works, course: Course, *, recall: bool = False) -> Policy:
    """How units are treated, as it is configured. Raises PlanFailed where that does not suffice."""
    table = works.table
    targets = () if course == "discard" else table.target[: table.copies]
    if course != "discard" and len(targets) < table.copies:
        raise PlanFailed("archive.target: it says nowhere to put copies: name a target")
    if alike := targets_alike(targets):
        raise PlanFailed(f"archive.target: {alike}")
    return Policy(
        course=course,
        targets=targets,
        verify=table.verify,
        layout=table.layout,
        keep_in_bin=table.keep_in_bin,
        tombstone=table.tombstone and course == "archive",
        approval=table.approval,
        segment_bytes=table.segment_size,
        recall=recall,
    )


def _before(works: Works, wanted: Wanted, made: datetime) -> tuple[Path, Run] | None:
    """The newest plan of the last hour that was made of the same."""
    files = works.table.run_dir.glob(f"*{runfiles.SUFFIX}")
    recent = [file for file in files if time.time() - file.stat().st_mtime < REUSED.total_seconds()]
    for file in sorted(recent, key=lambda each: each.stat().st_mtime, reverse=True):
        try:
            run = runfiles.read(file)
        except RunFileWrong:
            continue  # whoever asks for that very one is told of it
        policy = run.policy
        same = (run.selector, run.asked, policy.course, policy.recall, run.config_sha256) == (
            wanted.selector,
            wanted.asked,
            wanted.course,
            wanted.recall,
            works.actor.config_sha256,
        )
        is_new = timedelta(0) <= made - run.planned_at < REUSED
        if same and is_new and run.units and not _has_begun(works, run):
            return file, run
    return None


def _has_begun(works: Works, run: Run) -> bool:
    """Whether somebody has applied a run."""
    known = works.database.read(partial(ledger.known, content_id=run.content_id))
    return known is not None and known.started is not None


def sweep(folder: Path) -> None:
    """Delete what killed plans have left, those too of before they told whose it was."""
    remove_left_overs(folder)
    for left in folder.glob(f"{UNFINISHED}*"):
        if time.time() - left.stat().st_mtime > SWEPT_SECONDS:
            shutil.rmtree(left)


def _planned(works: Works, wanted: Wanted, folder: Path, made: datetime) -> Run:
    """All that a run says; the manifests of its units are in the folder."""
    policy = policy_of(works, wanted.course, recall=wanted.recall)
    units: list[Unit] = []
    skipped: list[Skipped] = []
    by_gid: dict[tuple[str, int], int] = {}
    disk_bytes: Counter[str] = Counter()
    for proposed in wanted.proposals:
        if isinstance(proposed, Skipped):
            skipped.append(proposed)
            continue
        part = folder / f"{len(units) + 1:06}"
        try:
            found = _unit(works, policy, proposed, part, made)
        except (Unfit, TreeUnfit, FileNotFoundError) as error:
            skipped.append(Skipped(proposed.root, proposed.subject, words(error)))
            if part.exists():
                shutil.rmtree(part)
            continue
        units.append(found.unit)
        disk_bytes[found.unit.volume] += found.disk_bytes
        for gid, size in found.by_gid.items():
            group = found.unit.volume, gid
            by_gid[group] = by_gid.get(group, 0) + size
        works.watch.event("planned", root=text(proposed.root), bytes=found.unit.size_bytes)
    usual = Usual(wanted.selector, wanted.course, by_gid, disk_bytes)
    return Run(
        content_id="",
        system=works.table.system,
        name=works.table.name,
        selector=wanted.selector,
        asked=wanted.asked,
        cut_off=wanted.cut_off,
        planned_at=made,
        planned_by=works.actor.who,
        config_sha256=works.actor.config_sha256,
        expires=made + timedelta(days=works.table.expires_after),
        policy=policy,
        mounts=tuple(mounts_seen(works, policy, units)),
        units=tuple(units),
        skipped=tuple(skipped),
        tripped=tuple(tripped(works, usual, units)),
        cost_per_month=_cost(works, sum(unit.size_bytes for unit in units)),
    )


def _unit(works: Works, policy: Policy, proposed: Proposal, part: Path, made: datetime) -> _Found:
    """
    A unit as it is on the disk now, with its manifest in a folder of its own, and its bytes by gid.

    Raises Unfit, OSError.
    """
    volume = volume_of(works.config, proposed.root)
    if volume is None:
        raise Unfit("lies in no configured volume: add a [[volume]] with its mount")
    if refused := placed_wrong(works, policy, proposed, volume.name):
        raise Unfit(refused)
    part.mkdir(exist_ok=True)
    leaves_alone = not policy.recall and policy.course != "discard"  # that reads nothing
    released = Released(proposed.root) if leaves_alone else None
    seen = _Seen(released, kept_places(works, policy))
    sha256, root = _write_manifest(proposed, volume.name, part, made, seen)
    if seen.released and (away := seen.released.reason()):
        raise Unfit(away)
    if policy.course != "copy" and (elsewhere := seen.links.elsewhere()):
        raise Unfit(
            f"linked elsewhere: {len(elsewhere)} of its files with names outside of it, such as "
            f"{text(elsewhere[0])}: removing it would free nothing of them"
        )
    if not seen.entries:
        raise Unfit("nothing of it is there")
    unit = Unit(
        number=int(part.name),
        kind=proposed.kind,
        volume=volume.name,
        root=proposed.root,
        subject=proposed.subject,
        gids=tuple(sorted(seen.by_gid)),
        entries=seen.entries,
        files=seen.files,
        size_bytes=seen.size_bytes,
        root_fingerprint=root,
        manifest_sha256=sha256,
    )
    return _Found(unit, seen.by_gid, seen.disk_bytes)


def _write_manifest(
    proposed: Proposal, volume: str, part: Path, made: datetime, seen: _Seen
) -> tuple[str, Fingerprint]:
    """Write the manifest of what is there now: its SHA-256, and the fingerprint of the root."""
    root = open_root(proposed.root)
    try:
        found = trees.fingerprint(os.fstat(root))
        members = proposed.members if proposed.kind == "files" else None
        header = Header(part.name, proposed.kind, volume, proposed.root, made)
        suspect = seen.released.suspect if seen.released else None
        entries = seen.going_by(trees.entries(root, members, suspect))
        return manifests.write(part / "plan.manifest.gz", header, entries).sha256, found
    finally:
        os.close(root)


def _cost(works: Works, size_bytes: int) -> str | None:
    price = works.config.candidates.cost_per_tib_month
    return None if price is None else str(round(price * size_bytes / TIB, 2))
