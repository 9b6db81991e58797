"""What an archiver enters into the ledger: runs, units and copies, told by what matters."""

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from db import copies, leases, ledger
from db.database import Database
from db.leases import Lease
from db.ledger import Move
from lurge_types.archive import (
    Actor,
    Binned,
    Copy,
    Fingerprint,
    MountSeen,
    Policy,
    Run,
    State,
    Unit,
    UnitNow,
)

NOW = datetime(2026, 3, 1, 12, 30, 15, 123456)  # noqa: DTZ001 - as databases have it
PLANNER = Actor("ada@node1", "c" * 64)
WORKER = Actor("ben@node2", "d" * 64)
FILE = Path("/runs/run_file.json")
TARGET = "s3://archive/lurge"
BINNED = Binned(b"/lustre/scratch1/.lurge-bin/caf\xe9", NOW, NOW + timedelta(days=30))
LONG = 3600.0

POLICY = Policy(
    course="archive",
    targets=(TARGET,),
    verify="read-back",
    layout="tree",
    keep_in_bin=30,
    tombstone=False,
    approval="none",
    segment_bytes=1 << 30,
)


def unit(number: int = 1, **facts: Any) -> Unit:
    """A directory whose name is no text."""
    made = Unit(
        number=number,
        kind="directory",
        volume="scratch1",
        root=b"/lustre/scratch1/projects/caf\xe9\n%d" % number,
        subject=f"{number}",
        gids=(100, 200),
        entries=10 * number,
        files=9 * number,
        size_bytes=number << 30,
        root_fingerprint=Fingerprint(1, number, "d", 4096, 1, 2),
        manifest_sha256="e" * 64,
    )
    return replace(made, **facts)


def run(units: int = 3, *, name: str = "archive", policy: Policy = POLICY, **facts: Any) -> Run:
    """A run whose content id depends on its name."""
    made = Run(
        content_id=sha256(name.encode()).hexdigest(),
        system="lurge",
        name=name,
        selector="candidates",
        asked="class now",
        cut_off=None,
        planned_at=NOW - timedelta(hours=1),
        planned_by=PLANNER.who,
        config_sha256=PLANNER.config_sha256,
        expires=NOW + timedelta(days=7),
        policy=policy,
        mounts=(MountSeen("scratch1", b"/lustre/scratch1", 1, None),),
        units=tuple(unit(number) for number in range(1, units + 1)),
        skipped=(),
        tripped=(),
        cost_per_month=None,
    )
    return replace(made, **facts)


def copy(**facts: Any) -> Copy:
    """A copy that nobody has verified."""
    made = Copy(
        target=TARGET,
        key="lurge/unit/manifest.jsonl.gz",
        manifest_sha256="f" * 64,
        manifest_bytes=1234,
        copied_at=NOW,
        verified_at=None,
        verified_how=None,
    )
    return replace(made, **facts)


def register(database: Database, of: Run) -> list[UnitNow]:
    """The units of a run that the ledger knows from now on."""
    run_id = database.transaction(
        lambda connection: ledger.register(connection, of, FILE, PLANNER, NOW)
    )
    return database.read(lambda connection: ledger.units(connection, run_id=run_id))


def hold(database: Database, one: UnitNow, holder: str = "me") -> Lease:
    """The lease of a unit."""
    name = ledger.lease_of(one)
    token = database.transaction(lambda connection: leases.take(connection, name, holder, LONG))
    assert token is not None
    return Lease(name, token)


def move(database: Database, one: UnitNow, lease: Lease, state: State, **facts: Any) -> UnitNow:
    """Write one state."""
    facts = {"now": NOW, "actor": WORKER, **facts}
    return database.transaction(
        lambda connection: ledger.move(connection, one, lease, Move(state, **facts))
    )


def bring(database: Database, one: UnitNow, *states: State, binned: Binned = BINNED) -> UnitNow:
    """Bring a unit on its way, with copies where it needs them."""
    lease = hold(database, one)
    for state in states:
        if state == "verified":
            add_copy(database, one, lease)
        facts: dict[str, Any] = {"reason": "so it is"} if state in ledger.HAS_REASON else {}
        if state == "binned":
            facts = {"binned": binned}
        one = move(database, one, lease, state, **facts)
    database.transaction(lambda connection: leases.release(connection, *lease))
    return one


def add_copy(database: Database, one: UnitNow, lease: Lease, which: Copy | None = None) -> None:
    """Add a copy and verify it."""
    stored = which or copy()

    def act(connection: Any) -> None:
        copies.add(connection, one, lease, stored, WORKER)
        copies.verify(connection, one, lease, stored, "read-back", NOW, WORKER)

    database.transaction(act)
