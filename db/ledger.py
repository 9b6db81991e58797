"""
The ledger: which runs there are, where each of their units is on its way, and where its copies are.

A unit moves under a lease, in a transaction that checks the lease, writes the state and tells the
audit. Whoever moves it gives it as it was seen last: where another has moved it since, nothing is
written. A move that is made again, since the answer to its commit was lost, is known as one's own.
"""

import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, TypedDict, TypeVar, Unpack

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import audits, leases, names
from db.dialects import insert_new
from db.leases import Lease
from db.schema import archive_audit, archive_copy, archive_run, archive_unit, utc, volume
from lurge_types.archive import (
    OPEN,
    REMOVED,
    WAYS,
    Act,
    Actor,
    Archived,
    Binned,
    Course,
    Policy,
    Run,
    RunNow,
    State,
    Unit,
    UnitNow,
)
from lurge_types.scans import Volume
from utils.paths import raw, text

T = TypeVar("T")

PAGE = 1000
"""How many rows a statement writes or reads."""

PREFIX = re.compile(r"[0-9a-f]{6,64}").fullmatch

IN_BIN: frozenset[State] = frozenset({"binned", "deleting"})
NEEDS_COPY: frozenset[State] = frozenset({"verified", "binned", "deleting"})
HAS_REASON: frozenset[State] = frozenset({"dirty", "failed"})

UNITS = (
    sql.select(
        archive_unit,
        archive_unit.c.size.label("size_bytes"),
        archive_run.c.content_id,
        archive_run.c.course,
        volume.c.scratch_disk.label("volume"),
    )
    .join(archive_run, archive_run.c.run_id == archive_unit.c.run_id)
    .join(volume, volume.c.volume_id == archive_unit.c.volume_id)
)


class RunUnknown(Exception):
    """No run is called so, or several are: which, and what to do."""


class NotAllowed(Exception):
    """A run is not approved, or whoever wants to approve it must not."""


class NotOnTheWay(Exception):
    """From its state a unit cannot come to the other."""


class UnitMoved(Exception):
    """Another has moved a unit since it was seen: it is to be read again."""


class Taken(NamedTuple):
    """A unit, as it is, whose lease was taken."""

    unit: UnitNow
    lease: Lease


class Move(NamedTuple):
    """
    What a unit comes to.

    now: the same however often the transaction is tried. reason: why it is dirty or failed, or
    stays in the bin. detail: for the audit, where there is more to tell than the reason.
    binned: whenever it comes into the bin. act: what the audit calls it, where its state does not
    tell. `recovered` brings a unit that was only just registered to any state.
    """

    state: State
    now: datetime
    actor: Actor
    reason: str | None = None
    detail: str = ""
    binned: Binned | None = None
    act: Act | None = None


class Which(TypedDict, total=False):
    """
    Which units; None is whichever.

    name: how theirs begins. root: exactly theirs. below: what theirs is, or lies below.
    roots: theirs is one of these, of which there are few.
    """

    run_id: int | None
    states: Collection[State] | None
    name: str | None
    root: bytes | None
    below: bytes | None
    roots: Sequence[bytes] | None
    course: Course | None


# Runs.


def register(
    connection: Connection,
    run: Run,
    file: Path,
    actor: Actor,
    now: datetime,
    *,
    complete: bool = False,
) -> int:
    """
    Let the ledger know a run and its units; its run_id, the same one whenever it is done again.

    complete: add the units, too, that an earlier registration has not had.

    What was skipped is in the run file alone. Told by the audit as what its planner has done.
    """
    facts = _run_facts(run, file)
    connection.execute(insert_new(connection, archive_run, "content_id"), facts)
    run_id = _locked(connection, archive_run.c.content_id == run.content_id).run_id
    this = archive_run.c.run_id == run_id
    connection.execute(sql.update(archive_run).where(this).values(file=facts["file"]))
    told = archive_audit.c.run_id == run_id, archive_audit.c.act == "planned"
    if connection.scalar(sql.select(archive_audit.c.audit_id).where(*told).limit(1)) is None:
        _add_units(connection, run, run_id, now)
        planner = Actor(run.planned_by, run.config_sha256)
        detail = f"{facts['file']}, registered by {actor.who}"
        audits.add(connection, "planned", planner, run.planned_at, run_id=run_id, detail=detail)
    elif complete:
        _add_units(connection, run, run_id, now)
    return int(run_id)


def _run_facts(run: Run, file: Path) -> dict[str, Any]:
    return {
        "content_id": run.content_id,
        "file": text(os.fsencode(file)),
        "system": run.system,
        "name": run.name,
        "selector": run.selector,
        "course": run.policy.course,
        "cut_off": run.cut_off,
        "planned_at": run.planned_at,
        "planned_by": run.planned_by,
        "expires": run.expires,
        "approval": run.policy.approval,
        "policy": json.dumps(asdict(run.policy)),
    }


def _add_units(connection: Connection, run: Run, run_id: int, now: datetime) -> None:
    volumes = {
        name: names.volume_id(connection, Volume(name))
        for name in sorted({unit.volume for unit in run.units})
    }
    mine = archive_unit.c.run_id == run_id
    there = set(connection.scalars(sql.select(archive_unit.c.number).where(mine)))
    lacking = (unit for unit in run.units if unit.number not in there)
    rows = (_unit_facts(run, unit, now, run_id, volumes[unit.volume]) for unit in lacking)
    for some in slices(rows):
        connection.execute(sql.insert(archive_unit), some)


def _unit_facts(
    run: Run, unit: Unit, now: datetime, run_id: int, volume_id: int
) -> dict[str, object]:
    return {
        "run_id": run_id,
        "number": unit.number,
        "name": run.unit_name(unit),
        "kind": unit.kind,
        "volume_id": volume_id,
        "root": text(unit.root),
        "path_hash": _hash(unit.root),
        "subject": unit.subject,
        "state": "planned",
        "tries": 0,
        "entries": unit.entries,
        "files": unit.files,
        "size": unit.size_bytes,
        "updated": now,
        "token": 0,
        "moves": 0,
    }


def approve(connection: Connection, content_id: str, actor: Actor, now: datetime) -> None:
    """
    Let a run be applied; the first who approves it is remembered.

    Raises RunUnknown, and NotAllowed for its planner, from whichever host.
    """
    row = _locked(connection, archive_run.c.content_id == content_id)
    if _user(actor.who) == _user(row.planned_by):
        raise NotAllowed(f"{actor.who} has planned {content_id}: somebody else must approve it")
    if row.approved_at is None:
        this = sql.update(archive_run).where(archive_run.c.run_id == row.run_id)
        connection.execute(this.values(approved_at=now, approved_by=actor.who))
        audits.add(connection, "approved", actor, now, run_id=row.run_id)


def _user(who: str) -> str:
    """The user in user@host."""
    return who.rpartition("@")[0] or who


def begin_run(connection: Connection, run_id: int, actor: Actor, now: datetime) -> None:
    """
    Note that somebody applies a run, for the first time or once more.

    now: the same however often the transaction is tried.

    Raises RunUnknown, and NotAllowed where an approval is required and there is none.
    """
    row = _locked(connection, archive_run.c.run_id == run_id)
    _see_approved(row)
    if row.started is None:
        this = sql.update(archive_run).where(archive_run.c.run_id == run_id)
        connection.execute(this.values(started=now))
    audits.add_once(connection, "applied", actor, now, run_id=run_id)


def finish_run(connection: Connection, run_id: int, actor: Actor, now: datetime) -> bool:
    """
    Note that a run has ended, if all of its units have come to an end; whether it has.

    Raises RunUnknown.
    """
    row = _locked(connection, archive_run.c.run_id == run_id)
    if row.ended is not None:
        return True
    course: Course = row.course
    if units(connection, run_id=run_id, states=OPEN[course], limit=1):
        return False
    this = sql.update(archive_run).where(archive_run.c.run_id == run_id)
    connection.execute(this.values(ended=now))
    audits.add(connection, "ended", actor, now, run_id=run_id)
    return True


def _locked(connection: Connection, which: sql.ColumnElement[bool]) -> sql.Row[Any]:
    """A run's row, which others wait for to the end of the transaction. Raises RunUnknown."""
    this = sql.select(archive_run).where(which).with_for_update()
    row = connection.execute(this).one_or_none()
    if row is None:
        raise RunUnknown("the ledger does not know this run: register its run file")
    return row


def _see_approved(row: sql.Row[Any]) -> None:
    if row.approval == "required" and row.approved_at is None:
        raise NotAllowed(f"{row.content_id} is not approved: let somebody else approve it")


def run_of(connection: Connection, prefix: str) -> RunNow:
    """
    The run whose content id begins so, with at least 6 digits.

    Raises RunUnknown.
    """
    if not PREFIX(prefix):
        raise RunUnknown(f"{prefix!r} does not begin a content id: give 6 to 64 of 0-9 and a-f")
    found = runs(connection, prefix=prefix, limit=2)
    if not found:
        raise RunUnknown(f"the ledger knows no run {prefix}: see what it lists")
    if len(found) > 1:
        raise RunUnknown(f"the ledger knows several runs {prefix}: give more digits")
    return found[0]


def known(connection: Connection, content_id: str) -> RunNow | None:
    """A run, if the ledger has it."""
    this = sql.select(archive_run).where(archive_run.c.content_id == content_id)
    row = connection.execute(this).one_or_none()
    return None if row is None else _run(row)


def runs(
    connection: Connection,
    *,
    prefix: str = "",
    unfinished: bool = False,
    after: int = 0,
    limit: int = PAGE,
) -> list[RunNow]:
    """A page of runs in the order they were registered in, behind a run_id."""
    where = [archive_run.c.run_id > after]
    if prefix:
        where.append(archive_run.c.content_id.between(prefix, f"{prefix}g"))
    if unfinished:
        where.append(archive_run.c.ended.is_(None))
    select = sql.select(archive_run).where(*where).order_by(archive_run.c.run_id).limit(limit)
    return [_run(row) for row in connection.execute(select)]


def last_started(connection: Connection) -> RunNow | None:
    """The run that somebody has begun to apply last, for the first time."""
    newest = archive_run.c.started.desc(), archive_run.c.run_id.desc()
    started = sql.select(archive_run).where(archive_run.c.started.is_not(None))
    row = connection.execute(started.order_by(*newest).limit(1)).first()
    return None if row is None else _run(row)


def unfinished(connection: Connection) -> list[RunNow]:
    """The runs that have not ended, those too that nobody has applied."""
    found: list[RunNow] = []
    while some := runs(connection, unfinished=True, after=found[-1].run_id if found else 0):
        found += some
    return found


def _run(row: sql.Row[Any]) -> RunNow:
    """The twin of `_run_facts`."""
    facts = {name: row._mapping[name] for name in RunNow.__dataclass_fields__}
    policy = json.loads(row.policy)
    policy["targets"] = tuple(policy["targets"])
    facts["file"] = Path(os.fsdecode(raw(row.file)))
    facts["policy"] = Policy(**policy)
    return RunNow(**facts)


def last_run_bytes(
    connection: Connection, course: Course, selector: str | None = None
) -> int | None:
    """
    How many bytes the units had, as planned, of the last such run that ended with any.

    selector: of which it was; None for whichever.
    """
    of_selector = sql.true() if selector is None else archive_run.c.selector == selector
    total = connection.scalar(
        sql.select(sql.func.sum(archive_unit.c.size))
        .join(archive_run, archive_run.c.run_id == archive_unit.c.run_id)
        .where(
            of_selector,
            archive_run.c.course == course,
            archive_run.c.ended.is_not(None),
        )
        .group_by(archive_run.c.run_id)
        .order_by(archive_run.c.ended.desc(), archive_run.c.run_id.desc())
        .limit(1)
    )
    return None if total is None else int(total)


# Units as they are.


def unit(connection: Connection, unit_id: int) -> UnitNow:
    """A unit that there is."""
    this = UNITS.where(archive_unit.c.unit_id == unit_id)
    return _unit(connection.execute(this).one())


def units(
    connection: Connection, *, after: int = 0, limit: int = PAGE, **which: Unpack[Which]
) -> list[UnitNow]:
    """A page of units in the order of their unit_id, behind one."""
    where = archive_unit.c.unit_id > after, *_where(which)
    rows = connection.execute(UNITS.where(*where).order_by(archive_unit.c.unit_id).limit(limit))
    return [_unit(row) for row in rows]


def newest_units(
    connection: Connection,
    *,
    before: int | None = None,
    limit: int = PAGE,
    **which: Unpack[Which],
) -> list[UnitNow]:
    """A page of units, the newest first, registered before a unit_id."""
    where = [*_where(which)]
    if before is not None:
        where.append(archive_unit.c.unit_id < before)
    newest = UNITS.where(*where).order_by(archive_unit.c.unit_id.desc()).limit(limit)
    return [_unit(row) for row in connection.execute(newest)]


def each_unit(connection: Connection, **which: Unpack[Which]) -> Iterator[UnitNow]:
    """All of them, page by page, in the order of their unit_id."""
    after = 0
    while some := units(connection, after=after, **which):
        yield from some
        after = some[-1].unit_id


def _where(which: Which) -> Iterator[sql.ColumnElement[bool]]:
    if (run_id := which.get("run_id")) is not None:
        yield archive_unit.c.run_id == run_id
    if (states := which.get("states")) is not None:
        yield archive_unit.c.state.in_(states)
    if (name := which.get("name")) is not None:
        yield archive_unit.c.name.between(name, f"{name}~")
    if (root := which.get("root")) is not None:
        yield archive_unit.c.path_hash == _hash(root)
    if (below := which.get("below")) is not None:
        yield _is_below(below)
    if (roots := which.get("roots")) is not None:
        yield archive_unit.c.path_hash.in_([_hash(root) for root in roots])
    if (course := which.get("course")) is not None:
        yield archive_run.c.course == course


def due(connection: Connection, now: datetime, limit: int = PAGE, after: int = 0) -> list[UnitNow]:
    """
    A page of units whose time in the bin is over, behind a unit_id.

    Among them are those whose deletion has begun, whenever that was to be.
    """
    over = archive_unit.c.state == "binned", archive_unit.c.purge_after <= now
    which = sql.or_(sql.and_(*over), archive_unit.c.state == "deleting")
    page = UNITS.where(which, archive_unit.c.unit_id > after).order_by(archive_unit.c.unit_id)
    return [_unit(row) for row in connection.execute(page.limit(limit))]


def latest(connection: Connection, roots: Sequence[bytes]) -> Mapping[bytes, UnitNow]:
    """The newest unit of each of these roots that has any."""
    found = {}
    for hashes in slices([_hash(root) for root in roots]):
        newest = (
            sql.select(sql.func.max(archive_unit.c.unit_id))
            .where(archive_unit.c.path_hash.in_(hashes))
            .group_by(archive_unit.c.path_hash)
        )
        ids = connection.scalars(newest).all()
        for row in connection.execute(UNITS.where(archive_unit.c.unit_id.in_(ids))):
            one = _unit(row)
            found[one.root] = one
    return found


def gone(connection: Connection, volume_name: str, since: datetime) -> Iterator[Archived]:
    """
    The directories of a volume that were put into the bin at a moment or later, and not restored.

    One of the same path may have been made since.
    """
    columns = archive_unit.c.unit_id, archive_unit.c.root, archive_unit.c.binned_at
    where = [
        archive_unit.c.state.in_(REMOVED),
        archive_unit.c.kind == "directory",
        archive_unit.c.binned_at >= since,
        volume.c.scratch_disk == volume_name,
    ]
    select = UNITS.with_only_columns(*columns).where(*where).order_by(archive_unit.c.unit_id)
    after = 0
    while rows := connection.execute(
        select.where(archive_unit.c.unit_id > after).limit(PAGE)
    ).all():
        for row in rows:
            yield Archived(raw(row.root), row.binned_at)
        after = rows[-1].unit_id


def _is_below(path: bytes) -> sql.ColumnElement[bool]:
    """Not LIKE: SQLite's takes capitals for small letters."""
    itself = path.rstrip(b"/")
    start = text(itself) + "/"
    begins = sql.func.substr(archive_unit.c.root, 1, len(start)) == start
    return sql.or_(archive_unit.c.path_hash == _hash(itself), begins)


def _unit(row: sql.Row[Any]) -> UnitNow:
    """The twin of `_unit_facts`."""
    facts = {name: row._mapping[name] for name in UnitNow.__dataclass_fields__}
    facts["root"] = raw(row.root)
    facts["bin"] = None if row.bin is None else raw(row.bin)
    return UnitNow(**facts)


def _hash(path: bytes) -> bytes:
    return sha256(path).digest()


def slices(values: Iterable[T]) -> Iterator[list[T]]:
    """Values, as many at a time as a statement takes."""
    them = iter(values)
    while some := list(islice(them, PAGE)):
        yield some


# Units on their way.


def lease_of(one: UnitNow) -> str:
    """The name of the lease under which a unit is moved, whoever moves it."""
    return f"unit/{one.name}"


def take(
    connection: Connection,
    one: UnitNow,
    states: Collection[State],
    holder: str,
    seconds: float,
    *,
    dead: Callable[[str], bool] = leases.is_dead,
) -> Taken | None:
    """Take the lease of a unit; None where another has it, or has brought it to other states."""
    token = leases.take(connection, lease_of(one), holder, seconds, dead=dead)
    if token is None:
        return None
    now = unit(connection, one.unit_id)  # another may have moved it until the lease was free
    if now.state in states:
        return Taken(now, Lease(lease_of(one), token))
    leases.release(connection, lease_of(one), token)
    return None


def move(connection: Connection, one: UnitNow, lease: Lease, to: Move) -> UnitNow:
    """
    Write a unit's next state and tell the audit; the unit as it is then.

    one: as it was seen last.

    Raises LeaseLost, UnitMoved, NotOnTheWay, also where a copy should be verified and is not, and
    NotAllowed where its run is not approved.
    """
    there = unit(connection, one.unit_id)
    if _is_mine(there, one, lease, to):
        return there
    leases.check(connection, *lease)
    if to.state in HAS_REASON and not to.reason:
        raise ValueError(f"{one.name}: why is it {to.state}?")
    if to.state in IN_BIN and one.bin is None and to.binned is None:
        raise ValueError(f"{one.name}: in which bin is it?")
    if to.act != "recovered" or one.moves:
        _see_way(connection, one, to.state)
    where = archive_unit.c.unit_id == one.unit_id, archive_unit.c.moves == one.moves
    values = _moved(one, lease, to)
    if connection.execute(sql.update(archive_unit).where(*where).values(values)).rowcount != 1:
        raise UnitMoved(f"{one.name} was {one.state} and is {there.state} by now: read it again")
    audits.add(
        connection,
        to.act or _act(one.course, to.state),
        to.actor,
        to.now,
        run_id=one.run_id,
        unit_id=one.unit_id,
        detail=to.detail or to.reason or "",
    )
    return unit(connection, one.unit_id)


def _is_mine(there: UnitNow, one: UnitNow, lease: Lease, to: Move) -> bool:
    """Whether this very move has been made: it was committed, but the answer got lost."""
    made = (one.moves + 1, to.state, lease.token, utc(to.now))
    return (there.moves, there.state, there.token, there.updated) == made


def _see_way(connection: Connection, one: UnitNow, state: State) -> None:
    if state not in WAYS[one.course].get(one.state, ()):
        raise NotOnTheWay(f"{one.name} is {one.state} ({one.course}): it cannot become {state}")
    if state == "claimed":
        run = sql.select(archive_run).where(archive_run.c.run_id == one.run_id)
        _see_approved(connection.execute(run).one())
    if state in NEEDS_COPY and state != one.state and one.course != "discard":
        _see_copies(connection, one, state)


def _see_copies(connection: Connection, one: UnitNow, state: State) -> None:
    """
    See that copies were verified, which nobody calls lost before the commit: at all targets of its
    run; for the bin, from which there is a way back, any.
    """
    run = sql.select(archive_run.c.policy).where(archive_run.c.run_id == one.run_id)
    wanted: list[str] = json.loads(connection.scalars(run).one())["targets"]
    where = archive_copy.c.unit_id == one.unit_id, archive_copy.c.verified_at.is_not(None)
    copies = sql.select(archive_copy.c.target).where(*where).with_for_update()
    verified = set(connection.scalars(copies))
    lacking = [url for url in wanted if url not in verified]
    if not verified or (lacking and state != "binned"):
        at = " and ".join(lacking) or "any target"
        raise NotOnTheWay(f"{one.name} has no verified copy at {at}: it cannot become {state}")


def _moved(one: UnitNow, lease: Lease, to: Move) -> dict[str, object]:
    values: dict[str, object] = {
        "state": to.state,
        "reason": None if to.reason is None else audits.words(to.reason),
        "tries": one.tries + (to.state == "failed"),
        "updated": to.now,
        "token": lease.token,
        "moves": one.moves + 1,
    }
    if to.binned is not None:
        values |= {
            "bin": text(to.binned.folder),
            "binned_at": to.binned.at,
            "purge_after": to.binned.purge_after,
        }
    if to.state not in IN_BIN:
        values |= {"bin": None, "purge_after": None}
    return values


def _act(course: Course, state: State) -> Act:
    match state:
        case "binned" if course == "discard":
            return "discarded"
        case "deleted":
            return "purged"
        case _:
            return state
