"""What a step of a unit's way is taken with, and what it leaves in the ledger."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from db import copies, ledger
from db.ledger import Move
from lurge.archiver.claims import Claim
from lurge.archiver.fetching import fetched
from lurge.archiver.sending import Patience
from lurge.archiver.works import Works, now
from lurge_types.archive import Binned, Copy, Entry, Header, RunNow, State, Unit, UnitNow
from lurge_types.targets import Target
from utils import manifests, runfiles
from utils.journals import NEVER, Order


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
        move = Move(state, now(), self.works.actor, reason, binned=binned)
        unit = self.works.database.transaction(
            partial(ledger.move, one=self.unit, lease=self.claim.lease, to=move)
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

        Raises TargetFailed, also where a manifest is neither here nor there as it was sent, NoRoom,
        OSError.
        """
        ids = [self.unit.unit_id]
        known = self.works.database.read(partial(copies.of, unit_ids=ids)).get(ids[0], ())
        by_target = {copy.target: copy for copy in known}
        return [
            (target, copy, fetched(target, copy, self.copy_manifest(number), self.patience()))
            for number, target in enumerate(self.targets())
            if (copy := by_target.get(target.url))
        ]

    def targets(self) -> list[Target]:
        """Those of the run, in its order. Raises TargetFailed."""
        return [self.target(url) for url in self.run.policy.targets]

    def target(self, url: str) -> Target:
        """One of them, opened unless it is, which it is waited for, too. Raises TargetFailed."""
        return self.patience().tried(partial(self.works.target, url))

    def patience(self) -> Patience:
        """How targets are waited for, by who has the lease."""
        return self.works.patience(self.claim.check)

    def entries(self) -> Iterator[Entry]:
        """Those of the unit: as they were copied, or planned where nothing is."""
        manifest = self.copy_manifest(0) if self.run.policy.targets else self.manifest
        with manifest.open("rb") as file:
            yield from manifests.read(file)[1]

    def members(self) -> list[bytes]:
        """The paths of all entries."""
        return [entry.path for entry in self.entries()]

    def order(self) -> Order:
        """Of the journal that tells last where its bytes are, by the manifest of a copy."""
        if not self.run.policy.targets:
            return NEVER
        with self.copy_manifest(0).open("rb") as file:
            return order_of(manifests.read(file)[0])

    def header(self, target: str | None, order: Order) -> Header:
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
            token=order.token,
            round=order.round,
        )


def order_of(header: Header) -> Order:
    """Of the journal that tells last where the bytes of a copy are; NEVER where nobody knows."""
    return Order(header.token, header.round)
