"""A lost ledger is told again by what is left: nothing that was archived becomes unfindable."""

import gzip
import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import children
import pytest
import sqlalchemy as sql
from archiving import Yard
from servers.databases import Connect, Place
from sqlalchemy.engine import Connection

from db import copies, ledger, schema
from db.database import Database
from lurge.archiver import applying, checking, emptying, recovering, restoring
from lurge.archiver.checkpointing import Checkpoints
from lurge.archiver.claims import claimed
from lurge.archiver.recovering import Recovered
from lurge.archiver.step import Step
from lurge.archiver.works import now
from lurge_types.archive import STATES, Binned, Proposal, UnitNow
from utils import checkpoints

TABLES = (
    schema.archive_run,
    schema.archive_unit,
    schema.archive_copy,
    schema.archive_audit,
    schema.lease,
)

Lose = Callable[[Yard], None]


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    guards = {"max_share": 1.0, "min_free": 0, "max_growth": 1e9}
    return Yard(tmp_path, database, guards=guards)


@pytest.fixture
def lose(place: Place, connect: Connect, request: pytest.FixtureRequest) -> Lose:
    """Loses the database, and makes an empty one."""

    def lose(yard: Yard) -> None:
        yard.database.close()
        address = sql.make_url(place.table.url)
        if address.drivername == "sqlite":
            Path(address.database or "").unlink()
        else:
            server = request.getfixturevalue("mariadb")
            server.execute(f"DROP DATABASE {address.database}")
            server.execute(f"CREATE DATABASE {address.database}")
        connect(place.admin).init()
        yard.database = connect(place.table)

    return lose


def rows(yard: Yard) -> list[list[Any]]:
    """All that the ledger has."""

    def read(connection: Connection) -> list[list[Any]]:
        return [list(connection.execute(sql.select(table))) for table in TABLES]

    return yard.database.read(read)


def recover(yard: Yard, *allow: str) -> list[Recovered]:
    found = list(recovering.recover(yard.works(), allow))
    recovering.as_table(found)
    for each in found:
        assert json.loads(recovering.as_json(each))["became"] == each.became
    return found


def units(yard: Yard) -> dict[str, UnitNow]:
    """The newest unit of each path."""
    found = yard.database.read(lambda connection: list(ledger.each_unit(connection)))
    return {Path(os.fsdecode(unit.root)).name: unit for unit in found}


def states(yard: Yard) -> dict[str, str]:
    return {name: unit.state for name, unit in units(yard).items()}


def tree(root: Path) -> Path:
    (root / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "caf\udce9\n").write_bytes(os.urandom(100_000))
    return root


def make_due(yard: Yard, unit: UnitNow) -> None:
    past = Binned(unit.bin or b"", now() - timedelta(days=40), now() - timedelta(days=10))
    run = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
    with claimed(yard.database, unit, STATES, "test", 30) as found:
        assert found is not None
        Step(yard.works(), run, found[0], None, found[1]).moved("binned", binned=past)


def restore(yard: Yard, what: Path) -> None:
    found = restoring.find(yard.works(), str(what))
    (made,) = restoring.restore(yard.works(), found)
    assert made.failure is None


class At:
    """Does something when an event is told of."""

    def __init__(self, told: Any, event: str, act: Callable[[], object]) -> None:
        self._told, self._event, self._act = told, event, act

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        self._told.event(event, unit, **facts)
        if event == self._event:
            self._act()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._told, name)


def years(yard: Yard) -> None:
    """What an archiver does in years: something of each kind. The last is put into the bin."""
    mount = yard.mount
    gone = tree(mount / "gone")
    yard.apply(*yard.plan(gone))
    make_due(yard, units(yard)["gone"])
    assert [each.became for each in emptying.purge(yard.works())] == ["deleted"]
    changed = tree(mount / "changed")
    touch = At(yard.told, "copied", (changed / "new").touch)
    yard.apply(*yard.plan(changed), watch=touch)
    yard.apply(*yard.plan(tree(mount / "discarded"), course="discard"))
    yard.apply(*yard.plan(tree(mount / "back")))
    restore(yard, mount / "back")
    files = Proposal(bytes(tree(mount / "files")), "files", (b"a",), "vault", None)
    yard.apply(*yard.plan_of([files]))
    copied = Proposal(bytes(tree(mount / "copied")), "files", (b"a",), None, None)
    yard.apply(*yard.plan_of([copied], "copy"))
    (mount / "copied" / "a").unlink()
    yard.apply(*yard.plan(tree(mount / "binned")))


AFTER = {
    "gone": "deleted",
    "changed": "dirty",
    "discarded": "binned",
    "back": "restored",
    "files": "binned",
    "copied": "verified",
    "binned": "binned",
}


def drop_runs(yard: Yard) -> None:
    shutil.rmtree(yard.config.archive.run_dir)


def drop_checkpoints(yard: Yard) -> None:
    for file in yard.config.archive.checkpoint_files:
        file.unlink(missing_ok=True)


def tear_checkpoint(yard: Yard) -> None:
    found = checkpoints.newest(yard.config.archive.checkpoint_files).newest
    assert found
    found.file.write_bytes(found.file.read_bytes()[:-20])


LOSSES: dict[str, tuple[Callable[[Yard], None], ...]] = {
    "the database": (),
    "its runs": (drop_runs,),
    "the newest checkpoint": (tear_checkpoint,),
    "all checkpoints": (drop_checkpoints,),
    "all but bins and targets": (drop_runs, drop_checkpoints),
}


@pytest.mark.parametrize("loss", LOSSES)
def test_all_that_was_archived_is_found_again(yard: Yard, lose: Lose, loss: str) -> None:
    years(yard)
    before = units(yard)
    assert {name: unit.state for name, unit in before.items()} == AFTER
    lose(yard)
    for act in LOSSES[loss]:
        act(yard)
    found = recover(yard)
    after = units(yard)
    for name in ("gone", "discarded", "files", "copied", "binned"):
        assert after[name].state == AFTER[name], (name, found)
        for fact in ("name", "course", "kind", "volume", "root", "bin"):
            assert getattr(after[name], fact) == getattr(before[name], fact)
    # What is in its place was not lost; all that was known of it may be.
    assert states(yard).get("back", "restored") in {"restored", "planned"}
    assert states(yard).get("changed", "dirty") in {"dirty", "restored", "planned"}
    for name in ("binned", "files", "discarded"):
        wait = after[name].purge_after
        assert wait is not None
        assert wait > now() + timedelta(days=29), "people have time"
    again = rows(yard)
    assert [each for each in recover(yard) if each.became != "remark"] == []
    assert rows(yard) == again
    assert list(emptying.purge(yard.works())) == []
    for name in ("binned", "discarded", "gone", "copied"):
        restore(yard, yard.mount / name)
        assert (yard.mount / name / "a").read_bytes() == b"some bytes"
    make_due(yard, units(yard)["files"])
    assert [(each.became, each.reason) for each in emptying.purge(yard.works())] == [
        ("deleted", None)
    ]
    restore(yard, yard.mount / "files")
    assert (yard.mount / "files" / "a").read_bytes() == b"some bytes"


@pytest.mark.parametrize("loss", LOSSES)
def test_a_ledger_that_is_not_lost_is_not_changed(yard: Yard, loss: str) -> None:
    years(yard)
    yard.plan(tree(yard.mount / "only planned"))
    before = rows(yard)
    for act in LOSSES[loss]:
        act(yard)
    assert [each for each in recover(yard) if each.became != "remark"] == []
    assert rows(yard) == before


@pytest.mark.parametrize("loss", LOSSES)
def test_a_recovery_that_was_broken_off_is_taken_up(yard: Yard, lose: Lose, loss: str) -> None:
    years(yard)
    lose(yard)
    for act in LOSSES[loss]:
        act(yard)
    for _ in islice(recovering.recover(yard.works()), 3):
        pass
    assert recover(yard)
    for name in ("gone", "discarded", "files", "copied", "binned"):
        assert states(yard)[name] == AFTER[name]
    assert [each for each in recover(yard) if each.became != "remark"] == []


KILLED = """
    import os, signal, sys
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from archiving import Told, Yard
    from db.database import Database
    from lurge.archiver import binning
    from utils import runfiles

    folder, file, url, password, when = sys.argv[2:]
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)
    class Watch(Told):
        def event(self, event, unit=None, **facts):
            if event == when and unit and unit.number == 2:
                die()
    if when == "renamed":
        compare, seen = binning._compare, []
        def second(step, place):
            die() if step.unit.number == 2 else compare(step, place)
        binning._compare = second
    database = Database(url, password=password or None)
    yard = Yard(Path(folder), database)
    yard.apply(Path(file), runfiles.read(Path(file)), watch=Watch(), holder="child")
"""


@pytest.mark.parametrize("loss", ["the database", "the newest checkpoint", "all checkpoints"])
@pytest.mark.parametrize(
    "when", ["claimed", "begin copy", "copied", "verified", "renamed", "binned"]
)
def test_a_run_that_was_killed_goes_on_after_the_database_was_lost(
    yard: Yard, lose: Lose, place: Place, when: str, loss: str
) -> None:
    roots = [tree(yard.mount / name) for name in ("one", "two", "three")]
    file, run = yard.plan(*roots)
    secret = place.table.password_file
    password = secret.read_text().strip() if secret else ""
    arguments = (Path(__file__).parents[2], yard.folder, file, place.table.url, password, when)
    done = subprocess.run(children.command(KILLED, *arguments), check=False, capture_output=True)
    if when != "begin copy":
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    lose(yard)
    for act in LOSSES[loss]:
        act(yard)
    recover(yard)
    assert states(yard)["one"] == "binned"
    assert {unit.state for unit in yard.apply(file, run)} == {"binned"}
    assert not any(root.exists() for root in roots)
    assert list(checking.check(yard.works(), checking.begin())) == []
    for root in roots:
        restore(yard, root)
        assert (root / "a").read_bytes() == b"some bytes"


def test_a_check_with_an_empty_ledger_tells_of_it(yard: Yard, lose: Lose) -> None:
    root = yard.mount / "alpha"
    root.mkdir()
    assert list(checking.check(yard.works(), checking.begin())) == []
    (unit,) = yard.apply(*yard.plan(root))
    lose(yard)
    found = [each for each in checking.check(yard.works(), checking.begin()) if each.unit is None]
    (target,) = [each for each in found if each.kind == "nothing"]
    assert target.where == f"file://{yard.target}"
    assert (unit.name in target.why, "archive recover" in target.todo) == (True, True)


def test_a_run_is_not_begun_anew_on_a_ledger_that_was_lost(yard: Yard, lose: Lose) -> None:
    file, run = yard.plan(tree(yard.mount / "alpha"))
    yard.apply(file, run)
    lose(yard)
    with pytest.raises(applying.RunRefused, match="archive recover first"):
        yard.apply(file, run, "stale")
    other = yard.plan(tree(yard.mount / "beta"))
    for _ in range(3):  # as many checkpoints as replace all that there were
        yard.apply(*other)
    assert any(event == "checkpoint_unknown" for event, _, _ in yard.told.events)
    recover(yard)
    assert states(yard) == {"alpha": "binned", "beta": "binned"}
    assert [unit.state for unit in yard.apply(file, run)] == ["binned"]


def test_a_deletion_that_was_broken_off_goes_on(yard: Yard, lose: Lose) -> None:
    file, run = yard.plan(tree(yard.mount / "alpha"))
    (unit,) = yard.apply(file, run)
    make_due(yard, unit)
    run_now = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
    with claimed(yard.database, units(yard)["alpha"], STATES, "test", 30) as found:
        assert found is not None
        Step(yard.works(), run_now, found[0], None, found[1]).moved("deleting")
    Checkpoints(yard.works()).end()
    (Path(os.fsdecode(unit.bin or b"")) / "tree" / "a").unlink()
    lose(yard)
    recover(yard)
    assert states(yard) == {"alpha": "deleting"}
    assert [each.became for each in emptying.purge(yard.works())] == ["deleted"]
    restore(yard, yard.mount / "alpha")


@pytest.mark.parametrize("loss", LOSSES)
def test_a_run_without_units_does_not_break_off_the_recovery(
    yard: Yard, lose: Lose, loss: str
) -> None:
    yard.apply(*yard.plan(tree(yard.mount / "binned")))
    linked = tree(yard.mount / "linked")
    os.link(linked / "a", yard.mount / "a")
    file, run = yard.plan(linked)
    assert run.units == ()
    yard.apply(file, run)
    for act in LOSSES[loss]:
        act(yard)
    lose(yard)
    recover(yard)
    assert states(yard) == {"binned": "binned"}
    before = rows(yard)
    assert recover(yard) == []
    assert rows(yard) == before


@pytest.mark.parametrize("course", ["archive", "discard"])
def test_what_somebody_took_out_of_a_bin_does_not_delete_the_rest(
    yard: Yard, lose: Lose, course: Any
) -> None:
    (unit,) = yard.apply(*yard.plan(tree(yard.mount / "alpha"), course=course))
    (Path(os.fsdecode(unit.bin or b"")) / "tree" / "a").unlink()
    lose(yard)
    (found,) = recover(yard)
    assert found.state == "binned"
    assert "a: missing" in (found.why or "")


def test_what_cannot_be_seen_is_not_gone(yard: Yard, lose: Lose) -> None:
    yard.apply(*yard.plan(tree(yard.mount / "alpha")))
    lose(yard)
    away = yard.mount.rename(yard.folder / "away")
    yard.mount.mkdir()
    found = recover(yard)
    assert [each.became for each in found] == ["left out"]
    assert "--allow mount" in (found[0].why or "")
    assert states(yard) == {}
    yard.mount.rmdir()
    away.rename(yard.mount)
    assert [each.state for each in recover(yard)] == ["binned"]


def test_a_volume_that_is_gone_for_good_is_in_the_archive(yard: Yard, lose: Lose) -> None:
    yard.apply(*yard.plan(tree(yard.mount / "alpha")))
    lose(yard)
    drop_runs(yard)
    drop_checkpoints(yard)
    shutil.rmtree(yard.mount)
    yard.mount.mkdir()
    assert [each.state for each in recover(yard, "mount")] == ["deleted"]
    restore(yard, yard.mount / "alpha")
    assert (yard.mount / "alpha" / "a").read_bytes() == b"some bytes"


def test_of_two_targets_one_that_does_not_answer_keeps_a_run_out(
    tmp_path: Path, database: Database, lose: Lose
) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    (tmp_path / "other").mkdir()
    yard = Yard(tmp_path, database, target=targets, copies=2)
    yard.apply(*yard.plan(tree(yard.mount / "alpha")))
    lose(yard)
    drop_runs(yard)
    drop_checkpoints(yard)
    (tmp_path / "other").rename(tmp_path / "away")
    yard._targets.clear()
    found = recover(yard)
    assert [each.became for each in found] == ["left out"]
    assert "holds nothing" in (found[0].why or "")
    (tmp_path / "other").rmdir()
    (tmp_path / "away").rename(tmp_path / "other")
    yard._targets.clear()
    assert [each.state for each in recover(yard)] == ["binned"]
    one = units(yard)["alpha"]
    known = yard.database.read(partial(copies.of_unit, unit_id=one.unit_id))
    assert sorted(known) == sorted(targets)
    assert {copy.verified_how for copy in known.values()} == {"recovered"}


def test_a_damaged_manifest_is_told_and_counts_for_nothing(yard: Yard, lose: Lose) -> None:
    yard.apply(*yard.plan(tree(yard.mount / "alpha")))
    (manifest,) = (yard.target / "manifests").iterdir()
    content = bytearray(manifest.read_bytes())
    content[-30] ^= 1
    manifest.write_bytes(content)
    (yard.target / "manifests" / "thesis").touch()
    lose(yard)
    drop_checkpoints(yard)
    found = recover(yard)
    assert sorted(each.became for each in found) == ["recovered", "remark", "remark"]
    assert states(yard) == {"alpha": "binned"}
    make_due(yard, units(yard)["alpha"])
    assert [each.became for each in emptying.purge(yard.works())] == ["stays"]


def sent_again(yard: Yard) -> list[Path]:
    """The manifests of a unit in the bin, of which an object was not what was sent, at first."""
    root = tree(yard.mount / "alpha")
    copy = yard.target / "data" / str(root)[1:] / "a"
    spoil = At(yard.told, "copied", lambda: copy.write_bytes(b"more bytes"))
    yard.apply(*yard.plan(root), watch=spoil)
    assert states(yard) == {"alpha": "binned"}
    found = sorted((yard.target / "manifests").iterdir())
    assert len(found) == 2
    return found


@pytest.mark.parametrize("is_turned", [False, True])
@pytest.mark.parametrize("is_purged", [False, True])
@pytest.mark.parametrize("loss", ["the database", "all but bins and targets"])
def test_of_a_unit_that_was_sent_again_in_part_the_manifest_of_the_end_counts(
    yard: Yard, lose: Lose, loss: str, *, is_turned: bool, is_purged: bool
) -> None:
    first, last = sent_again(yard)
    if is_purged:
        make_due(yard, units(yard)["alpha"])
        assert [each.became for each in emptying.purge(yard.works())] == ["deleted"]
    if is_turned and loss != "the database":  # a checkpoint knows the key
        other = first.rename(yard.folder / "other")
        last.rename(first)
        other.rename(last)
    lose(yard)
    for drop in LOSSES[loss]:
        drop(yard)
    (found,) = recover(yard)
    assert found.state == ("deleted" if is_purged else "binned")
    if not is_purged:
        make_due(yard, units(yard)["alpha"])
        (purged,) = emptying.purge(yard.works())
        assert (purged.became, purged.reason) == ("deleted", None)
    restore(yard, yard.mount / "alpha")
    assert (yard.mount / "alpha" / "a").read_bytes() == b"some bytes"


def test_a_manifest_that_is_not_the_one_of_what_is_in_the_bin_verifies_nothing(
    yard: Yard, lose: Lose
) -> None:
    _, last = sent_again(yard)
    last.unlink()
    lose(yard)
    drop_checkpoints(yard)
    recover(yard)
    (one,) = yard.database.read(ledger.units)
    (copy,) = yard.database.read(partial(copies.of_unit, unit_id=one.unit_id)).values()
    assert (one.state, copy.verified_at) == ("binned", None)


@pytest.mark.parametrize("is_purged", [False, True])
@pytest.mark.parametrize("loss", LOSSES)
def test_what_has_a_manifest_of_times_to_come_is_told_and_left_to_them(
    yard: Yard, lose: Lose, loss: str, *, is_purged: bool
) -> None:
    yard.apply(*yard.plan(tree(yard.mount / "alpha")))
    if is_purged:
        make_due(yard, units(yard)["alpha"])
        assert [each.became for each in emptying.purge(yard.works())] == ["deleted"]
    (manifest,) = (yard.target / "manifests").iterdir()
    there = manifest.read_bytes()
    lines = gzip.decompress(there).replace(b'"manifest":1', b'"manifest":2', 1)
    manifest.write_bytes(gzip.compress(lines))
    lose(yard)
    for drop in LOSSES[loss]:
        drop(yard)
    for _ in range(2):
        found = recover(yard)
        assert "recovered" not in {each.became for each in found}
        assert any("use a newer Lurge" in (each.why or "") for each in found)
    manifest.write_bytes(there)  # as whoever knows it reads it
    assert "recovered" in {each.became for each in recover(yard)}
    assert states(yard) == {"alpha": "deleted" if is_purged else "binned"}


def test_the_newest_of_several_units_of_a_path_is_the_newest_again(yard: Yard, lose: Lose) -> None:
    root = yard.mount / "alpha"
    for number in range(3):
        tree(root)
        (root / "a").write_bytes(b"%d" % number)
        yard.apply(*yard.plan(root))
        make_due(yard, units(yard)["alpha"])
        list(emptying.purge(yard.works()))
    before = units(yard)["alpha"]
    lose(yard)
    drop_runs(yard)
    drop_checkpoints(yard)
    recover(yard)
    assert replace(units(yard)["alpha"], unit_id=0).name == before.name
    restore(yard, root)
    assert (root / "a").read_bytes() == b"2"


def test_what_is_recovered_late_is_not_newer_for_that(yard: Yard, lose: Lose) -> None:
    root = yard.mount / "alpha"
    tree(root)
    yard.apply(*yard.plan(root))
    lose(yard)
    tree(root)
    (root / "a").write_bytes(b"newer")
    yard.apply(*yard.plan(root))
    assert [each.state for each in recover(yard)] == ["binned"]
    restore(yard, root)
    assert (root / "a").read_bytes() == b"newer"


def test_an_approval_is_not_lost(tmp_path: Path, database: Database, lose: Lose) -> None:
    yard = Yard(tmp_path, database, approval="required")
    file, run = yard.plan(tree(yard.mount / "alpha"))
    register = partial(ledger.register, run=run, file=file, actor=yard.works().actor, now=now())
    yard.database.transaction(register)
    other = replace(yard.works().actor, who="somebody@else")
    approve = partial(ledger.approve, content_id=run.content_id, actor=other, now=now())
    yard.database.transaction(approve)
    yard.apply(file, run)
    lose(yard)
    recover(yard)
    (known,) = yard.database.read(ledger.runs)
    assert (known.approved_by, known.ended is not None) == ("somebody@else", True)
