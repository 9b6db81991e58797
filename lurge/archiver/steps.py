"""
The steps of a unit's way, each from the state in which the ledger has it to the next.

Content is durable before its manifest is, that before the ledger says so; what the ledger says is
read back before anything is removed. A step that was broken off is taken again from its beginning,
and finds what it has done before: in the journals, at the targets, in the bin.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from db import ledger
from lurge.archiver import binning, copying, purging, verifying
from lurge.archiver.claims import Claim
from lurge.archiver.job import Job
from lurge.archiver.reading import Changed, Digests
from lurge.archiver.sending import Body, Patience, store
from lurge.archiver.works import Works, now
from lurge_types.archive import Copy, Entry, Header, Run, State, Unit, UnitNow
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed
from utils import journals, manifests, runfiles, trees
from utils.journals import Copied, Journal, Order
from utils.object_keys import of_manifest

ROUNDS = 3
"""How often copies that are not whole are sent again before the unit has failed."""


class PlanLost(Exception):
    """A unit's manifest is not what was planned: which, and what to do."""


@dataclass(frozen=True)
class Step:
    """
    What a step is taken with.

    file: of the run. unit: as the ledger has it. planned: as the run file has it.
    """

    works: Works
    run: Run
    file: Path
    unit: UnitNow
    planned: Unit
    claim: Claim

    @property
    def manifest(self) -> Path:
        """The plan's manifest of the unit."""
        return runfiles.plan_manifest(self.file, self.unit.number)

    @property
    def folder(self) -> Path:
        """Where the unit's manifests and journals are."""
        return runfiles.unit_folder(self.file, self.unit.number)

    def copy_manifest(self, target: int) -> Path:
        """The manifest of the unit's copy at one of the run's targets."""
        return runfiles.copy_manifest(self.file, self.unit.number, target)

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


def next_step(step: Step) -> Step | None:
    """
    Take the next step of a unit; None where there is none for now.

    Raises Changed, SourceFailed, TreeUnfit, TargetFailed, BinRefused, PlanLost, JournalBroken,
    ManifestBroken, LeaseLost, DatabaseFailed, OSError.
    """
    match step.unit.state, step.run.policy.course:
        case "planned" | "failed", _:
            return _claim(step)
        case "claimed", "discard":
            return binning.put(step)
        case "claimed", _:
            return _copy(step)
        case "copied", _:
            return _verify(step)
        case "verified", "archive":
            return binning.put(step)
        case ("binned" | "deleting"), _ if step.run.policy.keep_in_bin == 0:
            return purging.purge(step)
    return None


def _claim(step: Step) -> Step:
    """See that the plan is the one that was approved, and the unit still there."""
    if manifests.digest(step.manifest) != step.planned.manifest_sha256:
        raise PlanLost(f"{step.manifest} is not what was planned: plan again")
    return step.moved("claimed")


def _copy(step: Step) -> Step:
    """Copy what is missing, then say in a manifest at each target what is where."""
    targets = step.works.targets(step.run.policy)
    with _job(step, targets) as job:
        step.works.watch.begin("copy", step.unit.size_bytes)
        copying.copy(job, step.manifest, _next_round(step))
        copies = [_describe(step, job, number) for number in range(len(targets))]
    for copy in copies:
        step.works.database.transaction(partial(_record, step=step, copy=copy))
    return step.moved("copied")


def _verify(step: Step) -> Step:
    """Read back what was copied; what is not whole is sent again."""
    works = step.works
    targets = works.targets(step.run.policy)
    known = works.database.transaction(partial(copies.of_unit, unit_id=step.unit.unit_id))
    with _job(step, targets) as job:
        works.watch.begin("verify", len(targets) * step.unit.size_bytes)
        bad: set[int] = set()
        for number, target in enumerate(targets):
            copy, manifest = known.get(target.url), step.copy_manifest(number)
            if copy is None or not _same(manifest, copy):
                return step.moved("claimed")  # what this host knows of the copy is lost
            bad |= verifying.bad_files(job, target, manifest)
        if not bad:
            works.database.transaction(partial(_verified, step=step))
            return step.moved("verified")
        if _next_round(step) >= ROUNDS:
            raise TargetFailed(f"{len(bad)} files are never what was sent: see to the target")
        _forget(step, bad)
    works.watch.event("lost", step.unit, files=len(bad))
    return step.moved("claimed")


def _forget(step: Step, bad: Collection[int]) -> None:
    """Write in a journal of a round of its own that copies are lost."""
    with closing(Journal(step.folder, Order(step.claim.token, _next_round(step)))) as journal:
        for number in sorted(bad):
            journal.copied(Copied(number, (), ()))
        journal.sync()


def _next_round(step: Step) -> int:
    """How many journals this worker has written of the unit."""
    orders = journals.journals(step.folder, step.claim.token)
    return sum(order.token == step.claim.token for order in orders)


def _describe(step: Step, job: Job, number: int) -> Copy:
    """Write the manifest of a copy, here and at its target; durably at both."""
    target = job.targets[number]
    known = journals.journals(step.folder, step.claim.token)
    entries = copying.placed(step.manifest, known, number)
    header = Header(
        unit=step.unit.name,
        kind=step.unit.kind,
        volume=step.unit.volume,
        root=step.unit.root,
        planned_at=step.run.planned_at,
        target=target.url,
    )
    file = step.copy_manifest(number)
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
