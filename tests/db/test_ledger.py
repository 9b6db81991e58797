"""The ledger tells where each unit is: moved by one at a time, on its way, whatever gets lost."""

import json
import pickle
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, get_args

import children
import pytest
import sqlalchemy as sql
from servers import archives
from servers.archives import (
    BINNED,
    FILE,
    NOW,
    PLANNER,
    POLICY,
    WORKER,
    add_copy,
    bring,
    hold,
    move,
    register,
    run,
    unit,
)
from servers.databases import Connect, Wired, on_mariadb
from sqlalchemy.engine import Connection

from db import audits, copies, ledger
from db.database import Database
from db.leases import Lease, LeaseLost
from db.ledger import Move, NotAllowed, NotOnTheWay, RunUnknown, UnitMoved
from db.schema import archive_audit, archive_copy, archive_run, archive_unit
from lurge_types.archive import OPEN, WAYS, Actor, Archived, Course, State, UnitNow
from lurge_types.config import DatabaseTable
from utils import config

TABLES = (archive_run, archive_unit, archive_copy, archive_audit)
LONG = 3600.0
WAY: tuple[State, ...] = ("claimed", "copied", "verified", "binned", "deleting", "deleted")
LATER = NOW + timedelta(hours=1)


def content(database: Database) -> Mapping[str, Any]:
    """All that is in the ledger."""
    return database.read(
        lambda connection: {
            table.name: connection.execute(sql.select(table)).all() for table in TABLES
        }
    )


def acts(database: Database, **which: Any) -> list[str]:
    found = database.read(lambda connection: audits.read(connection, **which))
    return [audit.act for audit in found]


def units(database: Database, **which: Any) -> list[int]:
    """The numbers of units."""
    found = database.read(lambda connection: ledger.units(connection, **which))
    return [one.number for one in found]


def one_unit(database: Database, **policy: Any) -> UnitNow:
    return register(database, run(1, policy=replace(POLICY, **policy)))[0]


def write(database: Database, act: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    return database.transaction(lambda connection: act(connection, *arguments, **more))


# Runs.


def test_a_run_is_known_with_its_units(database: Database) -> None:
    of = run(2500)
    assert database.read(partial(ledger.known, content_id=of.content_id)) is None
    run_id = write(database, ledger.register, of, FILE, PLANNER, NOW)
    known = database.read(lambda connection: ledger.run_of(connection, of.content_id))
    assert database.read(partial(ledger.known, content_id=of.content_id)) == known
    assert known.run_id == run_id
    for name in ("content_id", "system", "name", "selector", "cut_off", "policy", "expires"):
        assert getattr(known, name) == getattr(of, name)
    assert (known.file, known.planned_by, known.planned_at) == (FILE, PLANNER.who, of.planned_at)
    assert (known.approved_by, known.started, known.ended) == (None, None, None)
    there = database.read(lambda connection: list(ledger.each_unit(connection, run_id=run_id)))
    assert [one.name for one in there] == list(map(of.unit_name, of.units))
    assert there[7] == UnitNow(
        unit_id=there[7].unit_id,
        run_id=run_id,
        content_id=of.content_id,
        number=8,
        name=of.unit_name(of.units[7]),
        course="archive",
        kind="directory",
        volume="scratch1",
        root=of.units[7].root,
        subject="8",
        state="planned",
        reason=None,
        tries=0,
        entries=80,
        files=72,
        size_bytes=8 << 30,
        bin=None,
        binned_at=None,
        purge_after=None,
        updated=NOW,
        token=0,
    )


def test_a_run_is_registered_once_wherever_its_file_is(database: Database) -> None:
    register(database, run())
    before = content(database)
    register(database, run())
    assert content(database) == before
    moved = Path("/elsewhere/caf\udce9.json")
    write(database, ledger.register, run(), moved, WORKER, LATER)
    after = content(database)
    assert {name for name in before if before[name] != after[name]} == {"archive_run"}
    known = database.read(lambda connection: ledger.run_of(connection, run().content_id))
    assert known.file == moved


def test_a_plan_is_told_as_its_planners_act(database: Database) -> None:
    write(database, ledger.register, run(), FILE, WORKER, NOW)
    (told,) = database.read(audits.read)
    assert (told.act, told.who, told.at) == ("planned", PLANNER.who, run().planned_at)
    assert told.config_sha256 == PLANNER.config_sha256
    assert told.detail == f"{FILE}, registered by {WORKER.who}"


def test_times_with_a_zone_are_stored_in_utc(database: Database) -> None:
    seoul = datetime.fromisoformat("2026-03-01T21:30:15.123456+09:00")
    write(database, ledger.register, run(planned_at=seoul), FILE, PLANNER, seoul)
    (known,) = database.read(ledger.runs)
    (one,) = database.read(lambda connection: ledger.units(connection, limit=1))
    assert (known.planned_at, one.updated) == (NOW, NOW)


def test_a_run_is_found_by_how_its_content_id_begins(database: Database) -> None:
    for first in ("aaaaaa0", "aaaaaa1", "ffffff0"):
        register(database, run(1, name=first, content_id=first + 57 * "0"))

    def find(prefix: str) -> str:
        return database.read(lambda connection: ledger.run_of(connection, prefix)).name

    assert [find(prefix) for prefix in ("aaaaaa0", "aaaaaa1" + 57 * "0", "ffffff")] == [
        *("aaaaaa0", "aaaaaa1", "ffffff0")
    ]
    wrong = {"aaaaaa": "several", "bbbbbb": "no run", "ffff": "6 to 64", "AAAAAA": "0-9 and a-f"}
    for prefix, why in wrong.items():
        with pytest.raises(RunUnknown, match=why):
            find(prefix)


def test_a_run_is_approved_by_somebody_else_than_its_planner(database: Database) -> None:
    one = one_unit(database, approval="required")
    lease = hold(database, one)
    before = content(database)
    with pytest.raises(NotAllowed, match="not approved"):
        write(database, ledger.begin_run, one.run_id, WORKER, NOW)
    with pytest.raises(NotAllowed, match="not approved"):
        move(database, one, lease, "claimed")
    for who in (PLANNER.who, "ada@node9"):
        with pytest.raises(NotAllowed, match="somebody else"):
            write(database, ledger.approve, one.content_id, Actor(who, "c" * 64), NOW)
    assert content(database) == before
    write(database, ledger.approve, one.content_id, WORKER, NOW)
    write(database, ledger.approve, one.content_id, Actor("eve@node1", "c" * 64), LATER)
    (known,) = database.read(ledger.runs)
    assert (known.approved_by, known.approved_at) == (WORKER.who, NOW)
    write(database, ledger.begin_run, one.run_id, WORKER, NOW)
    move(database, one, lease, "claimed")
    assert acts(database) == ["planned", "approved", "applied", "claimed"]


@pytest.mark.parametrize("verb", ["approve", "begin_run", "finish_run"])
def test_what_is_not_registered_is_told(database: Database, verb: str) -> None:
    key = "0" * 64 if verb == "approve" else 7
    with pytest.raises(RunUnknown, match="register its run file"):
        write(database, getattr(ledger, verb), key, WORKER, NOW)


def test_a_run_is_begun_once_and_each_applying_is_told(database: Database) -> None:
    run_id = register(database, run())[0].run_id
    for now in (NOW, NOW, LATER):
        write(database, ledger.begin_run, run_id, WORKER, now)
    (known,) = database.read(ledger.runs)
    assert known.started == NOW
    assert acts(database) == ["planned", "applied", "applied"]


def test_a_run_ends_with_the_last_of_its_units(database: Database) -> None:
    first, second, third, fourth = register(database, run(4))
    run_id = first.run_id
    finish = partial(write, database, ledger.finish_run, run_id, WORKER)
    bring(database, first, *WAY[:4])
    bring(database, second, "dirty")
    bring(database, third, "dirty")
    failed = bring(database, fourth, "claimed", "failed")
    assert not finish(NOW)
    assert [known.run_id for known in database.read(ledger.unfinished)] == [run_id]
    bring(database, failed, *WAY)
    assert finish(NOW)
    assert finish(LATER)
    assert database.read(ledger.unfinished) == []
    assert database.read(ledger.runs)[0].ended == NOW
    assert acts(database).count("ended") == 1


@pytest.mark.parametrize("course", get_args(Course))
@pytest.mark.parametrize("state", get_args(State))
def test_open_is_what_may_still_be_claimed_or_goes_on_by_itself(
    course: Course, state: State
) -> None:
    ways = WAYS[course].get(state, frozenset())
    assert (state in OPEN[course]) == ("claimed" in ways)


def test_the_bytes_of_the_last_run_that_ended_are_known(database: Database) -> None:
    def last(selector: str | None = "candidates") -> int | None:
        return database.read(
            lambda connection: ledger.last_run_bytes(connection, "archive", selector)
        )

    assert last() is None
    for number, name in enumerate(("first", "second", "running", "other", "discarded"), 1):
        facts = {"selector": "vault"} if name == "other" else {}
        course: Course = "discard" if name == "discarded" else "archive"
        of = run(number, name=name, policy=replace(POLICY, course=course), **facts)
        for one in register(database, of):
            bring(database, one, "claimed" if name == "running" else "dirty")
        write(database, ledger.finish_run, one.run_id, WORKER, NOW + timedelta(days=number))
    assert (last(), last("vault"), last("paths"), last(None)) == (
        *(3 << 30, 10 << 30, None, 10 << 30),
    )


# Units as they are.


def test_units_are_found_by_whatever_is_known_of_them(database: Database) -> None:
    roots = [b"/a/B", b"/a/B/c", b"/a/b/c", b"/a/B2", b"/a/caf\xe9/x", b"/a/%", b"/a/%/y"]
    of = replace(run(), units=tuple(unit(at, root=root) for at, root in enumerate(roots, 1)))
    there = register(database, of)
    bring(database, there[3], "dirty")
    assert units(database) == [1, 2, 3, 4, 5, 6, 7]
    assert units(database, run_id=of.units[0].number + 100) == []
    assert units(database, states=["dirty", "failed"]) == [4]
    assert units(database, states=[]) == []
    assert units(database, name=of.content_id[:12]) == [1, 2, 3, 4, 5, 6, 7]
    assert units(database, name=of.unit_name(of.units[2])) == [3]
    assert units(database, name="zz") == []
    assert units(database, root=b"/a/B") == [1]
    assert units(database, below=b"/a/B") == [1, 2]
    assert units(database, below=b"/a/B/") == [1, 2]
    assert units(database, below=b"/a/caf\xe9") == [5]
    assert units(database, below=b"/a/%") == [6, 7]
    assert units(database, below=b"/") == [1, 2, 3, 4, 5, 6, 7]
    assert units(database, after=there[4].unit_id, limit=1) == [6]


def test_the_newest_unit_of_each_root_is_told(database: Database) -> None:
    first = register(database, run(2500, name="first"))
    bring(database, first[0], *WAY[:4], "restored")
    second = register(database, run(1, name="second"))[0]
    roots = [unit(number).root for number in range(1, 2501)]
    found = database.read(lambda connection: ledger.latest(connection, [*roots, b"/none"]))
    assert sorted(found) == sorted(roots)
    assert found[roots[0]] == second
    assert found[roots[2499]].number == 2500


def test_what_was_restored_is_told_with_its_time(database: Database) -> None:
    one = bring(database, one_unit(database), *WAY[:4])
    assert (one.bin, one.binned_at, one.purge_after) == BINNED
    one = move(database, one, hold(database, one), "restored", now=LATER)
    found = database.read(lambda connection: ledger.latest(connection, [one.root]))
    assert found == {one.root: one}
    assert (one.state, one.updated, one.bin, one.purge_after) == ("restored", LATER, None, None)


def test_due_is_what_has_been_in_the_bin_for_long_or_is_being_deleted(database: Database) -> None:
    early, late, begun, done = register(database, run(4))
    early, late = (bring(database, one, *WAY[:4]) for one in (early, late))
    bring(database, begun, *WAY[:5])
    bring(database, done, *WAY)
    later = BINNED._replace(purge_after=BINNED.purge_after + timedelta(days=1))
    move(database, late, hold(database, late), "binned", binned=later, reason="asked for")

    def due(now: datetime, **page: int) -> list[int]:
        found = database.read(lambda connection: ledger.due(connection, now, **page))
        return [one.number for one in found]

    assert due(NOW) == [3]
    assert due(BINNED.purge_after) == [1, 3]
    assert due(later.purge_after) == [1, 2, 3]
    assert due(later.purge_after.replace(tzinfo=UTC), limit=1, after=early.unit_id) == [2]


def test_gone_is_what_is_in_the_bin_or_deleted_since_then(database: Database) -> None:
    there = register(database, run(5))
    bring(database, there[0], *WAY[:3])
    for one, way in zip(there[1:4], (WAY[:4], WAY[:5], WAY), strict=True):
        bring(database, one, *way)
    bring(database, there[4], *WAY, "restored")

    def gone(volume: str, since: datetime) -> list[Archived]:
        return database.read(lambda connection: list(ledger.gone(connection, volume, since)))

    assert gone("scratch1", NOW) == [Archived(one.root, NOW) for one in there[1:4]]
    assert gone("scratch1", LATER) == []
    assert gone("other", NOW) == []


# Units on their way.


def put(connection: Connection, unit_id: int, state: State) -> UnitNow:
    """Put a unit into a state, on no way."""
    connection.execute(sql.update(archive_unit).values(state=state, bin="/bin"))
    return ledger.unit(connection, unit_id)


@pytest.mark.parametrize("course", get_args(Course))
def test_a_unit_moves_on_its_way_and_on_no_other(database: Database, course: Course) -> None:
    one = one_unit(database, course=course)
    lease = hold(database, one)
    add_copy(database, one, lease)
    for state, to in product(get_args(State), repeat=2):
        one = write(database, put, one.unit_id, state)
        facts = {"reason": "so it is", "binned": BINNED}
        if to in WAYS[course].get(state, ()):
            one = move(database, one, lease, to, **facts)
            assert one.state == to
        else:
            before = content(database)
            with pytest.raises(NotOnTheWay, match=f"cannot become {to}"):
                move(database, one, lease, to, **facts)
            assert content(database) == before


def test_an_act_that_leaves_nothing_else_is_told_once_each_time(database: Database) -> None:
    for now in (NOW, NOW, LATER):
        write(database, audits.add_once, "checked", WORKER, now, detail="1% read back")
    assert acts(database, act="checked") == ["checked", "checked"]


def test_every_move_is_told(database: Database) -> None:
    first, second = register(database, run(2))
    bring(database, first, *WAY, "restored")
    bring(database, second, "claimed", "failed", "claimed", "dirty")
    told = acts(database, unit_id=first.unit_id)
    assert told == [
        *("claimed", "copied", "copied", "verified", "verified"),
        *("binned", "deleting", "purged", "restored"),
    ]
    (failed,) = database.read(lambda connection: audits.read(connection, act="failed"))
    assert (failed.detail, failed.run_id) == ("so it is", second.run_id)
    assert acts(database, run_id=second.run_id, after=failed.audit_id) == ["claimed", "dirty"]
    assert acts(database, since=LATER) == []


def test_what_is_discarded_is_told_so(database: Database) -> None:
    one = one_unit(database, course="discard")
    bring(database, one, "claimed", "binned", "deleting", "deleted")
    assert acts(database) == ["planned", "claimed", "discarded", "deleting", "purged"]


def test_failures_are_counted_and_their_reason_goes_with_the_next_try(database: Database) -> None:
    one = one_unit(database)
    lease = hold(database, one)
    reason = "cannot read caf\udce9: " + "x" * 100_000
    for tries in (1, 2):
        one = move(database, one, lease, "claimed")
        assert one.reason is None
        one = move(database, one, lease, "failed", reason=reason)
        assert one.tries == tries
        assert one.reason
        assert one.reason.startswith("cannot read caf\\xe9: x")


@pytest.mark.parametrize(
    ("state", "to"),
    [("claimed", "failed"), ("claimed", "dirty"), ("verified", "binned")],
)
def test_no_state_is_written_without_what_it_needs(
    database: Database, state: State, to: State
) -> None:
    one = bring(database, one_unit(database), *WAY[: WAY.index(state) + 1])
    before = content(database)
    with pytest.raises(ValueError, match="is it"):
        move(database, one, hold(database, one), to)
    assert content(database) == before


def test_a_token_that_is_not_the_newest_changes_nothing(database: Database) -> None:
    one = one_unit(database)
    old = hold(database, one, "ada")
    hold(database, one, "ada")
    before = content(database)
    copy = archives.copy()
    for write_it in (
        lambda connection: ledger.move(connection, one, old, Move("claimed", NOW, WORKER)),
        lambda connection: copies.add(connection, one, old, copy, WORKER),
        lambda connection: copies.verify(connection, one, old, copy, "digest", NOW, WORKER),
    ):
        with pytest.raises(LeaseLost):
            database.transaction(write_it)
    assert content(database) == before


def test_who_has_not_seen_the_last_move_writes_nothing(database: Database) -> None:
    seen = one_unit(database)
    bring(database, seen, "claimed", "failed")
    lease = hold(database, seen)
    before = content(database)
    with pytest.raises(UnitMoved, match="was planned and is failed"):
        move(database, seen, lease, "claimed")
    with pytest.raises(UnitMoved):
        write(database, copies.add, seen, lease, archives.copy(), WORKER)
    assert content(database) == before


def test_a_move_that_is_made_again_is_made_once_though_the_lease_is_lost(
    database: Database,
) -> None:
    one = one_unit(database)
    lease = hold(database, one)
    moved = move(database, one, lease, "claimed")
    hold(database, one, "me")
    before = content(database)
    assert move(database, one, lease, "claimed") == moved
    assert content(database) == before
    with pytest.raises(LeaseLost):
        move(database, one, lease, "claimed", now=LATER)


@on_mariadb
def test_what_was_committed_although_the_answer_got_lost_is_written_once(
    wired: Wired, database: Database, connect: Connect
) -> None:
    mine = connect(wired.table)

    def lost(words: bytes, act: Callable[[], Any]) -> Any:
        wired.wire.happened.clear()
        wired.wire.cut_behind(words, b"COMMIT")
        done = act()
        assert wired.wire.happened.is_set()
        return done

    of = run(1, policy=replace(POLICY, approval="required"))
    (one,) = lost(b"INSERT INTO archive_unit", lambda: register(mine, of))
    approve = partial(write, mine, ledger.approve, of.content_id, WORKER, NOW)
    lost(b"UPDATE archive_run", approve)
    lost(b"UPDATE archive_run", partial(write, mine, ledger.begin_run, one.run_id, WORKER, NOW))
    lease = hold(database, one)
    for state in WAY:
        if state == "verified":
            lost(b"UPDATE archive_copy", partial(add_copy, mine, one, lease))
        facts = {"binned": BINNED} if state == "binned" else {}
        one = lost(b"UPDATE archive_unit", partial(move, mine, one, lease, state, **facts))
    finish = partial(write, mine, ledger.finish_run, one.run_id, WORKER, NOW)
    assert lost(b"UPDATE archive_run", finish)
    assert one.moves == len(WAY)
    assert acts(database) == [
        *("planned", "approved", "applied", "claimed", "copied", "copied", "verified", "verified"),
        *("binned", "deleting", "purged", "ended"),
    ]


def test_a_lost_ledger_is_told_again_from_what_is_known_elsewhere(database: Database) -> None:
    one = one_unit(database, approval="required")
    lease = hold(database, one)
    facts: dict[str, Any] = {"act": "recovered", "detail": "checkpoint 7", "binned": BINNED}
    one = move(database, one, lease, "binned", **facts)
    assert (one.state, one.bin) == ("binned", BINNED.folder)
    assert acts(database) == ["planned", "recovered"]
    with pytest.raises(NotOnTheWay):
        move(database, one, lease, "verified", **facts)


# Copies.


def known_copies(database: Database, one: UnitNow) -> Any:
    return database.read(lambda connection: copies.of(connection, [one.unit_id])).get(one.unit_id)


def test_copies_are_known_by_unit_and_target(database: Database) -> None:
    first, second, third = register(database, run())
    far = archives.copy(target="file:///far/caf\u00e9")
    for one, which in ((first, archives.copy()), (first, far), (second, far)):
        write(database, copies.add, one, hold(database, one), which, WORKER)
    ids = [one.unit_id for one in (first, second, third)]
    found = database.read(lambda connection: copies.of(connection, ids))
    assert found == {first.unit_id: [archives.copy(), far], second.unit_id: [far]}
    by_target = database.read(lambda connection: copies.of_unit(connection, first.unit_id))
    assert by_target == {archives.TARGET: archives.copy(), far.target: far}


def test_a_copy_counts_once_it_is_verified_and_no_longer_once_it_is_lost(
    database: Database,
) -> None:
    one = bring(database, one_unit(database), "claimed", "copied")
    lease = hold(database, one)
    copy = archives.copy()
    write(database, copies.add, one, lease, copy, WORKER)
    with pytest.raises(NotOnTheWay, match="no verified copy"):
        move(database, one, lease, "verified")
    write(database, copies.verify, one, lease, copy, "read-back", LATER, WORKER)
    verified = replace(copy, verified_at=LATER, verified_how="read-back")
    assert known_copies(database, one) == [verified]
    one = move(database, one, lease, "verified")
    for _ in range(2):
        write(database, copies.lose, one, copy, "not there", LATER, WORKER)
    assert known_copies(database, one) == [replace(copy, lost_at=LATER)]
    assert acts(database).count("lost") == 1
    with pytest.raises(NotOnTheWay, match="no verified copy"):
        move(database, one, lease, "binned", binned=BINNED)
    write(database, copies.verify, one, lease, copy, "read-back", LATER, WORKER)
    assert known_copies(database, one) == [verified]


def test_nothing_is_deleted_from_the_bin_whose_copy_is_lost(database: Database) -> None:
    one = bring(database, one_unit(database), *WAY[:4])
    write(database, copies.lose, one, archives.copy(), "not there", LATER, WORKER)
    lease = hold(database, one)
    with pytest.raises(NotOnTheWay, match="no verified copy"):
        move(database, one, lease, "deleting")
    one = move(database, one, lease, "binned", reason="its copy is lost")
    assert (one.reason, one.bin) == ("its copy is lost", BINNED.folder)
    assert move(database, one, lease, "restored").state == "restored"


def test_a_unit_is_verified_and_deleted_with_copies_at_all_of_its_targets_only(
    database: Database,
) -> None:
    far = archives.copy(target="file:///far/caf\u00e9")
    one = one_unit(database, targets=(archives.TARGET, far.target))
    one = bring(database, one, "claimed", "copied")
    lease = hold(database, one)
    add_copy(database, one, lease)
    lacking = f"no verified copy at {far.target}: it cannot become"
    with pytest.raises(NotOnTheWay, match=f"{lacking} verified"):
        move(database, one, lease, "verified")
    add_copy(database, one, lease, far)
    one = move(database, one, lease, "verified")
    write(database, copies.lose, one, far, "not there", LATER, WORKER)
    one = move(database, one, lease, "binned", binned=BINNED)
    with pytest.raises(NotOnTheWay, match=f"{lacking} deleting"):
        move(database, one, lease, "deleting")
    write(database, copies.verify, one, lease, far, "read-back", LATER, WORKER)
    assert move(database, one, lease, "deleting").state == "deleting"


def test_a_run_of_which_no_target_is_known_has_no_copies(database: Database) -> None:
    one = one_unit(database, targets=())
    one = bring(database, one, *WAY[:4])
    lease = hold(database, one)
    write(database, copies.lose, one, archives.copy(), "not there", LATER, WORKER)
    with pytest.raises(NotOnTheWay, match="no verified copy at any target"):
        move(database, one, lease, "deleting")


def test_a_copy_takes_another_ones_place_only_before_it_may_be_all_there_is(
    database: Database,
) -> None:
    one = bring(database, one_unit(database), "claimed")
    lease = hold(database, one)
    old, new = archives.copy(), archives.copy(key="lurge/unit/manifest.2.jsonl.gz")
    for which in (old, new):
        add_copy(database, one, lease, which)
    with pytest.raises(UnitMoved, match="another copy"):
        write(database, copies.verify, one, lease, old, "digest", LATER, WORKER)
    write(database, copies.lose, one, old, "not there", LATER, WORKER)
    assert [each.key for each in known_copies(database, one)] == [new.key]
    assert known_copies(database, one)[0].verified_at == NOW
    one = move(database, one, lease, "copied")
    one = move(database, one, lease, "verified")
    with pytest.raises(NotOnTheWay, match="its copies are what they are"):
        write(database, copies.add, one, lease, old, WORKER)


# Several workers.


def test_a_unit_is_taken_unless_another_has_it(database: Database) -> None:
    first, second = register(database, run(2))
    hold(database, first)
    take = partial(write, database, ledger.take)
    assert take(first, OPEN["archive"], "other", LONG) is None
    taken = take(second, OPEN["archive"], "other", LONG)
    assert taken == (second, Lease(ledger.lease_of(second), 1))


def test_a_unit_that_was_moved_before_its_lease_was_free_is_left_alone(database: Database) -> None:
    seen = one_unit(database)
    bring(database, seen, "dirty")
    assert write(database, ledger.take, seen, ["planned"], "other", LONG) is None
    assert hold(database, seen, "another").token == 3


WORK = """
    import pickle, sys
    from datetime import UTC, datetime
    from db import leases, ledger
    from db.database import Database
    from lurge_types.archive import Actor

    print("ready", flush=True)
    url, password, run_id = pickle.load(sys.stdin.buffer)
    database = Database(url, password=password, retry_seconds=60)
    actor = Actor("ben@node2", "d" * 64)

    def take(connection):
        states = ["planned", "claimed"]
        for one in ledger.units(connection, run_id=run_id, states=states):
            if taken := ledger.take(connection, one, states, leases.me(), 3600):
                return taken

    def move(taken, state, reason=None):
        to = ledger.Move(state, datetime.now(UTC), actor, reason)
        return taken._replace(unit=database.transaction(lambda connection: ledger.move(
            connection, taken.unit, taken.lease, to)))

    while taken := database.transaction(take):
        print(taken.unit.number, flush=True)
        move(move(taken, "claimed"), "dirty", reason="seen")
        database.transaction(lambda connection: leases.release(connection, *taken.lease))
    database.close()
"""


def test_processes_that_share_a_run_take_each_unit_once(
    table: DatabaseTable, database: Database
) -> None:
    count = 40
    run_id = register(database, run(count))[0].run_id
    processes = [
        subprocess.Popen(children.command(WORK), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(4)
    ]
    try:
        for process in processes:
            assert process.stdout
            assert process.stdout.readline() == b"ready\n"
        for process in processes:
            assert process.stdin
            process.stdin.write(pickle.dumps((table.url, config.password(table), run_id)))
            process.stdin.close()
            process.stdin = None
        told = [process.communicate(timeout=120)[0].split() for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * 4
    assert Counter(number for each in told for number in each) == Counter(
        {b"%d" % number: 1 for number in range(1, count + 1)}
    )
    assert units(database, states=["dirty"], limit=count + 1) == list(range(1, count + 1))
    assert Counter(acts(database)) == {"planned": 1, "claimed": count, "dirty": count}


def test_a_policy_is_stored_as_json(database: Database) -> None:
    register(database, run(1))
    stored = database.read(lambda connection: connection.scalar(sql.select(archive_run.c.policy)))
    assert json.loads(stored or "")["targets"] == [archives.TARGET]
