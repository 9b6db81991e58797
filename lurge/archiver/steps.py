"""
The steps of a unit's way, each from the state in which the ledger has it to the next.

Content is durable before its manifest is, that before the ledger says so; what the ledger says is
read back before anything is removed. A step that was broken off is taken again from its beginning,
and finds what it has done before: in the journals, at the targets, in the bin.
"""

import os
import threading
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from db import copies
from lurge.archiver import binning, copying, purging
from lurge.archiver.fetching import ManifestLost
from lurge.archiver.job import Job
from lurge.archiver.reading import Changed
from lurge.archiver.sending import Body, store
from lurge.archiver.step import Step
from lurge.archiver.verifying import MOST_BAD, bad_files, manifest_is_there
from lurge.archiver.works import now
from lurge_types.archive import (
    Copy,
    Policy,
    Segment,
    State,
)
from lurge_types.targets import CHUNK_BYTES, TargetFailed
from utils import journals, manifests, show
from utils.durable import room_in, sync_filesystem
from utils.handles import open_root
from utils.journals import Copied, Journal, Order
from utils.object_keys import of_manifest
from utils.paths import text

ROUNDS = 5
"""How many journals a worker writes of a unit, whose copies are not whole, before it has failed."""


class PlanLost(Exception):
    """A unit's manifest is not what was planned: which, and what to do."""


def next_step(step: Step, allow: Collection[str] = ()) -> Step | None:
    """
    Take the next step of a unit; None where there is none for now.

    allow: names of guards that a person has allowed to trip.

    Raises Changed, SourceFailed, TreeUnfit, TargetFailed, BinRefused, PlanLost, JournalBroken,
    ManifestBroken, NoRoom, LeaseLost, DatabaseFailed, OSError.
    """
    take = _act(step.unit.state, step.run.policy, allow)
    return take(step) if take else None


def _act(
    state: State, policy: Policy, allow: Collection[str]
) -> Callable[[Step], Step | None] | None:
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
            return partial(_purge, allow=allow)
    return None


def _purge(step: Step, allow: Collection[str]) -> Step | None:
    """Delete what is in the bin; None where it stays, which another try would not change."""
    after = purging.purge(step, allow)
    return after if after.unit.state == "deleted" else None


def _claim(step: Step) -> Step:
    """See that the plan is the one that was approved, and the unit still there."""
    planned = step.planned
    if planned is None or manifests.digest(step.manifest) != planned.manifest_sha256:
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
            bad |= bad_files(job, target, copy, manifest)
    if len(bad) > MOST_BAD:
        _forget(step, _numbers(step))
        raise TargetFailed(
            f"more than {MOST_BAD} of its files are not what was sent: see what has happened to "
            "the target, then apply the run again, and all of it is sent again"
        )
    if bad:
        _forget(step, sorted(bad))
        return _again(step, f"not what was sent: {show.count(len(bad), 'file')}")
    for _, copy, _ in known:
        step.noted(copies.verify, copy=copy, how=how, now=now())
    return step.moved("verified")


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
    header = step.header(target.url, journals.last(known))
    with room_in(step.folder):
        written = manifests.write(file, header, entries)
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
            targets=step.targets(),
            workers=works.table.workers,
            min_free=works.table.guards.min_free,
            patience=step.patience()._replace(stop=stop),
            copied=works.watch.advance,
        )
    finally:
        stop.set()
        os.close(handle)
