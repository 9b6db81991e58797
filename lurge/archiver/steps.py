"""
The steps of a unit's way, each from the state in which the ledger has it to the next.

Content is durable before its manifest is, that before the ledger says so; what the ledger says is
read back before anything is removed. A step that was broken off is taken again from its beginning,
and finds what it has done before: in the journals, at the targets, in the bin.
"""

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from hashlib import file_digest, sha256
from pathlib import Path

from db import copies, ledger
from lurge.archiver import binning, copying, purging
from lurge.archiver.claims import Claim
from lurge.archiver.job import Job
from lurge.archiver.reading import Changed
from lurge.archiver.sending import Body, Patience, store
from lurge.archiver.verifying import MOST_BAD, bad_files, manifest_is_there
from lurge.archiver.works import Works, now
from lurge_types.archive import (
    Binned,
    Copy,
    Entry,
    Header,
    Policy,
    RunNow,
    Segment,
    State,
    Unit,
    UnitNow,
)
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed
from utils import journals, manifests, runfiles
from utils.durable import sync_filesystem, sync_folder
from utils.handles import open_root
from utils.journals import Copied, Journal, Order
from utils.object_keys import of_manifest
from utils.paths import text

ROUNDS = 5
"""How many journals a worker writes of a unit, whose copies are not whole, before it has failed."""


class ManifestLost(TargetFailed):
    """The manifest of a copy is neither here nor at its target as it was sent: which."""


class PlanLost(Exception):
    """A unit's manifest is not what was planned: which, and what to do."""


@dataclass(frozen=True)
class Step:
    """
    What a step is taken with.

    run, unit: as the ledger has them. planned: as the run file has it, where it is to be applied.
    """

    works: Works
    run: RunNow
    unit: UnitNow
    planned: Unit | None
    claim: Claim

    @property
    def token(self) -> int:
        """Of the lease under which it is taken."""
        return self.claim.lease.token

    @property
    def manifest(self) -> Path:
        """The plan's manifest of the unit."""
        return runfiles.plan_manifest(self.run.file, self.unit.number)

    @property
    def folder(self) -> Path:
        """Where the unit's manifests and journals are."""
        return runfiles.unit_folder(self.run.file, self.unit.number)

    def copy_manifest(self, target: int) -> Path:
        """The manifest of the unit's copy at one of the run's targets."""
        return runfiles.copy_manifest(self.run.file, self.unit.number, target)

    def moved(
        self, state: State, *, reason: str | None = None, binned: Binned | None = None
    ) -> "Step":
        """The same with the unit in another state, in the ledger too. Raises LeaseLost."""
        self.claim.check()
        unit = self.works.database.transaction(
            partial(
                ledger.move,
                one=self.unit,
                lease=self.claim.lease,
                state=state,
                now=now(),
                actor=self.works.actor,
                reason=reason,
                binned=binned,
            )
        )
        self.works.watch.event(state, unit, reason=reason)
        return replace(self, unit=unit)

    def noted(self, note: Callable[..., None], **facts: object) -> None:
        """Note something of the unit in the ledger of copies. Raises LeaseLost, UnitMoved."""
        about = {"one": self.unit, "lease": self.claim.lease, "actor": self.works.actor}
        self.works.database.transaction(partial(note, **about, **facts))

    def copies(self) -> list[tuple[Target, Copy, Path]]:
        """
        The copies that are known, in the order of the targets, with these and the manifests.

        Raises TargetFailed, also where a manifest is neither here nor there as it was sent.
        """
        ids = [self.unit.unit_id]
        known = self.works.database.read(partial(copies.of, unit_ids=ids)).get(ids[0], ())
        by_target = {copy.target: copy for copy in known}
        return [
            (target, copy, fetched(target, copy, self.copy_manifest(number), self.patience()))
            for number, target in enumerate(self.works.targets(self.run.policy))
            if (copy := by_target.get(target.url))
        ]

    def patience(self) -> Patience:
        """How targets are waited for, by who has the lease."""
        works = self.works
        return Patience(
            works.pauses, works.full_seconds, works.stop, self.claim.check, works.watch.waiting
        )

    def entries(self) -> Iterator[Entry]:
        """Those of the unit: as they were copied, or planned where nothing is."""
        manifest = self.copy_manifest(0) if self.run.policy.targets else self.manifest
        with manifest.open("rb") as file:
            yield from manifests.read(file)[1]

    def members(self) -> list[bytes]:
        """The paths of all entries."""
        return [entry.path for entry in self.entries()]

    def header(self, target: str | None) -> Header:
        """The first line of a manifest of the unit."""
        return Header(
            unit=self.unit.name,
            kind=self.unit.kind,
            volume=self.unit.volume,
            root=self.unit.root,
            planned_at=self.run.planned_at,
            target=target,
            run=self.run.content_id,
            course=self.unit.course,
            targets=self.run.policy.targets,
            subject=self.unit.subject,
        )


def next_step(step: Step) -> Step | None:
    """
    Take the next step of a unit; None where there is none for now.

    Raises Changed, SourceFailed, TreeUnfit, TargetFailed, BinRefused, PlanLost, JournalBroken,
    ManifestBroken, LeaseLost, DatabaseFailed, OSError.
    """
    take = _act(step.unit.state, step.run.policy)
    return take(step) if take else None


def _act(state: State, policy: Policy) -> Callable[[Step], Step | None] | None:
    """What brings a unit on from a state."""
    match state, policy.course:
        case "planned" | "failed", _:
            return _claim
        case "claimed", "archive" | "copy":
            return _copy
        case "copied", _:
            return _verify
        case ("verified", "archive") | ("claimed", "discard"):
            return binning.put
        case "binned" | "deleting", _ if policy.keep_in_bin == 0:
            return _purge
    return None


def _purge(step: Step) -> Step | None:
    """Delete what is in the bin; None where it stays, which another try would not change."""
    after = purging.purge(step)
    return after if after.unit.state == "deleted" else None


def _claim(step: Step) -> Step:
    """See that the plan is the one that was approved, and the unit still there."""
    planned = step.planned
    if planned is None or sha256_of(step.manifest) != planned.manifest_sha256:
        raise PlanLost(f"{step.manifest} is not what was planned: plan again")
    return step.moved("claimed")


def _copy(step: Step) -> Step:
    """Copy what is missing, then say in a manifest at each target what is where."""
    with _job(step) as job:
        # Then what programs write into mapped memory from now on gets a new time.
        sync_filesystem(job.handle)
        step.works.watch.begin("copy", step.unit.size_bytes)
        copying.copy(job, step.manifest, _rounds(step))
        made = [_describe(step, job, number) for number in range(len(job.targets))]
    for copy in made:
        step.noted(copies.add, copy=copy)
    return step.moved("copied")


def _verify(step: Step) -> Step:
    """Read back what was copied; what is not whole is sent again."""
    how = step.run.policy.verify
    with _job(step) as job:
        step.works.watch.begin("verify", len(job.targets) * step.unit.size_bytes)
        try:
            known = step.copies()
        except ManifestLost as error:
            return _again(step, str(error))
        if len(known) < len(job.targets):
            return _again(step, "not all of its copies are known")
        bad: set[int] = set()
        for target, copy, manifest in known:
            if not manifest_is_there(job, target, copy):
                return _again(step, f"{copy.target}: {copy.key} is not what was sent")
            bad |= bad_files(job, target, manifest)
    if len(bad) > MOST_BAD:
        _forget(step, _numbers(step))
        raise TargetFailed(
            f"more than {MOST_BAD} of its files are not what was sent: see what has happened to "
            "the target, then apply the run again, and all of it is sent again"
        )
    if bad:
        _forget(step, sorted(bad))
        return _again(step, f"{len(bad)} files are not what was sent")
    for _, copy, _ in known:
        step.noted(copies.verify, copy=copy, how=how, now=now())
    return step.moved("verified")


def fetched(target: Target, copy: Copy, manifest: Path, patience: Patience) -> Path:
    """
    The manifest of a copy, from its target unless it is here.

    Raises ManifestLost where neither is as it was sent, TargetFailed, OSError.
    """
    if manifest.exists() and sha256_of(manifest) == copy.manifest_sha256:
        return manifest
    manifest.parent.mkdir(parents=True, exist_ok=True)
    part = manifest.with_name(f".{manifest.name}.{secrets.token_hex(4)}")
    try:
        fetch(target, copy, part, patience)
        part.rename(manifest)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(manifest.parent)
    return manifest


def fetch(target: Target, copy: Copy, file: Path, patience: Patience) -> None:
    """
    Read a copy's manifest back into a file, a piece at a time, durably.

    Raises ManifestLost where it is not there as it was sent, TargetFailed, OSError.
    """

    def once() -> str:
        digest = sha256()
        with file.open("wb") as opened:
            for chunk in target.get(copy.key, 0, copy.manifest_bytes):
                digest.update(chunk)
                opened.write(chunk)
            opened.flush()
            os.fsync(opened.fileno())
        return digest.hexdigest()

    stored = patience.tried(lambda: target.stat(copy.key))
    if stored is None:
        raise ManifestLost(f"{copy.target}: {copy.key} is not there")
    if stored.size != copy.manifest_bytes or patience.tried(once) != copy.manifest_sha256:
        raise ManifestLost(f"{copy.target}: {copy.key} is not what was sent")


def sha256_of(file: Path) -> str:
    """Of a file, in hexadecimal. Raises OSError."""
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


def _again(step: Step, why: str) -> Step:
    """
    Copy once more what is not whole.

    Raises TargetFailed where that was done often enough.
    """
    if _rounds(step) >= ROUNDS:
        raise TargetFailed(f"{why}, again and again: see to the target")
    step.works.watch.event("lost", step.unit, reason=why)
    return step.moved("claimed")


def _numbers(step: Step) -> Iterator[int]:
    """Those of all files."""
    return (number for number, entry in enumerate(step.entries()) if entry.has_bytes)


def _forget(step: Step, bad: Iterable[int]) -> None:
    """Write in a journal of a round of its own that copies are lost. bad: ascending."""
    with closing(Journal(step.folder, Order(step.token, _rounds(step)))) as journal:
        for number in bad:
            journal.copied(Copied(number, (), ()))
        journal.sync()


def _rounds(step: Step) -> int:
    """How many journals this worker has written of the unit."""
    orders = journals.journals(step.folder, step.token)
    return sum(order.token == step.token for order in orders)


def _describe(step: Step, job: Job, number: int) -> Copy:
    """Write the manifest of a copy, here and at its target; durably at both."""
    target = job.targets[number]
    known = journals.journals(step.folder, step.token)
    entries = copying.placed(step.manifest, known, number)
    file = step.copy_manifest(number)
    written = manifests.write(file, step.header(target.url), entries)
    (place,) = store(
        of_manifest(step.unit.name), _body(file, written), (target,), step.unit.name, job.patience
    )
    job.patience.tried(target.sync)
    return Copy(
        target=target.url,
        key=place.key,
        manifest_sha256=written.sha256,
        manifest_bytes=written.size_bytes,
        copied_at=now(),
        verified_at=None,
        verified_how=None,
    )


def _body(file: Path, written: manifests.Written) -> Body:
    """A manifest as what is stored of it."""
    whole = (Segment(written.size_bytes, written.sha256, None),)

    def read() -> Iterator[bytes]:
        with file.open("rb") as opened:
            while chunk := opened.read(CHUNK_BYTES):
                yield chunk

    return Body(written.size_bytes, read, lambda: whole, lambda: None)


def _root(step: Step) -> int:
    """A handle of the unit, wherever it is. Raises Changed, TreeUnfit, OSError."""
    place = binning.found(step) if step.unit.kind == "directory" else None
    try:
        return open_root(place.tree if place else step.unit.root)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Changed(f"{text(step.unit.root)} is no longer there") from error


@contextmanager
def _job(step: Step) -> Iterator[Job]:
    """What threads need to know of the unit, which may be in the bin."""
    works = step.works
    handle = _root(step)
    stop = threading.Event()
    try:
        yield Job(
            name=step.unit.name,
            token=step.token,
            root=step.unit.root,
            handle=handle,
            folder=step.folder,
            policy=step.run.policy,
            targets=works.targets(step.run.policy),
            workers=works.table.workers,
            min_free=works.table.guards.min_free,
            patience=step.patience()._replace(stop=stop),
            copied=works.watch.advance,
        )
    finally:
        stop.set()
        os.close(handle)
