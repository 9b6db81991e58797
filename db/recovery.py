"""
The ledger of a lost database, told again from what is known elsewhere.

What a ledger has is never changed here but for what it has only just heard of: whatever recovers,
and however often, a unit that was ever moved is left as it is.
"""

from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import audits, copies, leases, ledger
from db.ledger import Move
from db.schema import archive_run, lease, utc
from lurge_types.archive import Actor, Binned, Copy, RunNow, State, UnitNow

SECONDS = 60.0
NEW: frozenset[State] = frozenset({"planned"})


class Truth(NamedTuple):
    """
    What is true of a unit, as far as it can be told.

    reason: where its state has one, and why it stays in the bin. token: all leases from now on have
    larger ones. detail: how it is known, for the audit.
    """

    state: State
    copies: tuple[Copy, ...]
    token: int
    reason: str | None
    binned: Binned | None
    detail: str


def tell_run(connection: Connection, run_id: int, was: RunNow, actor: Actor, now: datetime) -> None:
    """Note who has approved a run, and since when it is applied, where nobody has noted that."""
    row = connection.execute(
        sql.select(archive_run).where(archive_run.c.run_id == run_id).with_for_update()
    ).one()
    facts = {"approved_at": was.approved_at, "approved_by": was.approved_by, "started": was.started}
    new = {name: value for name, value in facts.items() if value and row._mapping[name] is None}
    if new:
        this = sql.update(archive_run).where(archive_run.c.run_id == run_id)
        connection.execute(this.values(new))
        detail = ", ".join(f"{name} {value}" for name, value in sorted(new.items()))
        audits.add(connection, "recovered", actor, now, run_id=run_id, detail=detail)


def tell_unit(  # noqa: PLR0917 - of what, by whom, and when
    connection: Connection, one: UnitNow, truth: Truth, actor: Actor, holder: str, now: datetime
) -> UnitNow | None:
    """
    Bring a unit that was only just registered to what is true of it; the unit as it is then.

    now: the same however often the transaction is tried. None where somebody else has moved it, or
    works on it.
    """
    there = ledger.unit(connection, one.unit_id)
    if there.moves:
        is_mine = (there.moves, there.state, there.updated) == (1, truth.state, utc(now))
        return there if is_mine else None
    taken = ledger.take(connection, one, NEW, holder, SECONDS)
    if taken is None:
        return None
    leases.raise_to(connection, taken.lease.name, truth.token)
    held = taken.lease._replace(token=max(taken.lease.token, truth.token))
    if truth.state != "planned":
        for copy in truth.copies:
            copies.add(connection, taken.unit, held, copy, actor)
        facts = truth.reason, truth.detail, truth.binned
        move = Move(truth.state, now, actor, *facts, act="recovered")
        ledger.move(connection, taken.unit, held, move)
    leases.release(connection, *held)
    return ledger.unit(connection, one.unit_id)


def is_behind(connection: Connection, one: UnitNow, token: int) -> bool:
    """Whether a unit's next lease could have a token that was seen somewhere."""
    name = ledger.lease_of(one)
    return (connection.scalar(sql.select(lease.c.token).where(lease.c.name == name)) or 0) < token
