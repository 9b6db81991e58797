"""The ledger of copies: at which targets a unit has them, and who has read them back, and when."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import audits, leases, ledger
from db.leases import Lease
from db.ledger import NotOnTheWay, UnitMoved
from db.schema import archive_copy, archive_unit, utc
from lurge_types.archive import Actor, Copy, State, UnitNow

COPIED_IN: frozenset[State] = frozenset({"planned", "claimed", "copied"})
"""In which states a copy may take another's place: later on that may be all that there is."""

FACTS = [archive_copy.c[name] for name in Copy.__dataclass_fields__]


def add(connection: Connection, one: UnitNow, lease: Lease, copy: Copy, actor: Actor) -> None:
    """
    Note a unit's copy at a target, in the place of an earlier one there.

    Raises LeaseLost, UnitMoved, and NotOnTheWay from `verified` on.
    """
    stored = _stored(copy)
    still = *_this(one.unit_id, copy), archive_copy.c.lost_at.is_(None)
    if connection.scalar(sql.select(archive_copy.c.copy_id).where(*still)) is not None:
        return  # it was committed, but the answer got lost
    _hold(connection, one, lease)
    if one.state not in COPIED_IN:
        raise NotOnTheWay(f"{one.name} is {one.state}: its copies are what they are")
    values = {column.name: getattr(stored, column.name) for column in FACTS}
    at = _at(one.unit_id, copy.target)
    if connection.execute(sql.update(archive_copy).where(*at).values(values)).rowcount == 0:
        place = {"unit_id": one.unit_id, "target_hash": _hash(copy.target)}
        connection.execute(sql.insert(archive_copy), {**place, **values})
    ids = {"run_id": one.run_id, "unit_id": one.unit_id}
    audits.add(connection, "copied", actor, copy.copied_at, **ids, detail=_words(copy))


def verify(  # noqa: PLR0917 - what was verified, how, when, and who has
    connection: Connection,
    one: UnitNow,
    lease: Lease,
    copy: Copy,
    how: str,
    now: datetime,
    actor: Actor,
) -> None:
    """
    Note that a copy was verified just now; one that was thought lost is not.

    Raises LeaseLost, UnitMoved, also where another copy has taken this one's place.
    """
    done = replace(_stored(copy), verified_at=utc(now), verified_how=how, lost_at=None)
    if done in of(connection, [one.unit_id]).get(one.unit_id, ()):
        return  # it was committed, but the answer got lost
    _hold(connection, one, lease)
    values = {"verified_at": now, "verified_how": how, "lost_at": None}
    this = _this(one.unit_id, copy)
    if connection.execute(sql.update(archive_copy).where(*this).values(values)).rowcount != 1:
        raise UnitMoved(f"{one.name} has another copy at {copy.target} by now: read it again")
    ids = {"run_id": one.run_id, "unit_id": one.unit_id}
    audits.add(connection, "verified", actor, now, **ids, detail=f"{how}: {_words(copy)}")


def lose(  # noqa: PLR0917 - what was lost, how, when, and who tells
    connection: Connection, one: UnitNow, copy: Copy, why: str, now: datetime, actor: Actor
) -> None:
    """
    Note that a copy is not whole, unless another has taken its place; it is verified no more.

    Its row stays, so that whoever looks for it knows where it was.
    """
    values = {"verified_at": None, "verified_how": None, "lost_at": now}
    still = *_this(one.unit_id, copy), archive_copy.c.lost_at.is_(None)
    if connection.execute(sql.update(archive_copy).where(*still).values(values)).rowcount:
        ids = {"run_id": one.run_id, "unit_id": one.unit_id}
        audits.add(connection, "lost", actor, now, **ids, detail=f"{why}: {_words(copy)}")


def regain(  # noqa: PLR0917 - what was found, how, when, and who tells
    connection: Connection, one: UnitNow, copy: Copy, how: str, now: datetime, actor: Actor
) -> None:
    """Note that a copy that was thought lost is whole: all of it was read back just now."""
    values = {"verified_at": now, "verified_how": how, "lost_at": None}
    still = *_this(one.unit_id, copy), archive_copy.c.lost_at == copy.lost_at
    if connection.execute(sql.update(archive_copy).where(*still).values(values)).rowcount:
        ids = {"run_id": one.run_id, "unit_id": one.unit_id}
        audits.add(connection, "verified", actor, now, **ids, detail=f"found: {_words(copy)}")


def of(connection: Connection, unit_ids: Sequence[int]) -> Mapping[int, list[Copy]]:
    """The copies of units that have any, those too that are lost, in the order they were added."""
    found: dict[int, list[Copy]] = defaultdict(list)
    for ids in ledger.slices(unit_ids):
        rows = connection.execute(
            sql.select(archive_copy.c.unit_id, *FACTS)
            .where(archive_copy.c.unit_id.in_(ids))
            .order_by(archive_copy.c.copy_id)
        )
        for unit_id, *facts in rows:
            found[unit_id].append(Copy(*facts))
    return dict(found)


def of_unit(connection: Connection, unit_id: int) -> Mapping[str, Copy]:
    """The copies of a unit by their targets' URLs, those too that are lost."""
    return {copy.target: copy for copy in of(connection, [unit_id]).get(unit_id, ())}


def newest(connection: Connection, target: str, but_of: int, most: int) -> list[Copy]:
    """The copies at a target that were noted last, but for those of a run, or that are lost."""
    there = archive_copy.c.target_hash == _hash(target), archive_copy.c.lost_at.is_(None)
    rows = (
        sql.select(*FACTS)
        .join(archive_unit, archive_unit.c.unit_id == archive_copy.c.unit_id)
        .where(*there, archive_unit.c.run_id != but_of)
        .order_by(archive_copy.c.copy_id.desc())
        .limit(most)
    )
    return [Copy(*facts) for facts in connection.execute(rows)]


def _hold(connection: Connection, one: UnitNow, lease: Lease) -> None:
    """See that a unit is as it was seen, and keep it so. Raises LeaseLost, UnitMoved."""
    leases.check(connection, *lease)
    there = ledger.unit(connection, one.unit_id)
    if there.moves != one.moves:
        raise UnitMoved(f"{one.name} was {one.state} and is {there.state} by now: read it again")


def _stored(copy: Copy) -> Copy:
    """A copy as the database gives it back."""
    return replace(
        copy,
        copied_at=utc(copy.copied_at),
        verified_at=None if copy.verified_at is None else utc(copy.verified_at),
        lost_at=None if copy.lost_at is None else utc(copy.lost_at),
    )


def _at(unit_id: int, target: str) -> tuple[sql.ColumnElement[bool], ...]:
    return archive_copy.c.unit_id == unit_id, archive_copy.c.target_hash == _hash(target)


def _this(unit_id: int, copy: Copy) -> tuple[sql.ColumnElement[bool], ...]:
    """This very copy at its target."""
    return (
        *_at(unit_id, copy.target),
        archive_copy.c.key == copy.key,
        archive_copy.c.manifest_sha256 == copy.manifest_sha256,
        archive_copy.c.copied_at == copy.copied_at,
    )


def _words(copy: Copy) -> str:
    return f"{copy.target} {copy.key}"


def _hash(target: str) -> bytes:
    return sha256(target.encode("utf-8")).digest()
