"""A check finds what is lost, changed, left behind or unknown, and changes nothing else."""

import gzip
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
import sqlalchemy as sql
from archiving import Yard

from db import audits, copies, ledger
from db.database import Database
from db.schema import archive_copy
from lurge.archiver import checking, emptying
from lurge.archiver.claims import claimed
from lurge.archiver.findings import Finding, as_json, as_table
from lurge.archiver.step import Step
from lurge_types.archive import STATES, Copy, Proposal, UnitNow
from utils.paths import text
from utils.targets.posix import Posix


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_tree(root: Path) -> None:
    (root / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "b").write_bytes(b"more")
    (root / "deep" / "caf\udce9\n").write_bytes(b"hostile")
    (root / "link").symlink_to("deep/b")


def archived(yard: Yard, name: str = "alpha", kind: str = "directory") -> UnitNow:
    root = yard.mount / name
    make_tree(root)
    if kind == "files":
        proposal = Proposal(bytes(root), "files", (b"a", b"deep/b"), None, None)
        (unit,) = yard.apply(*yard.plan_of([proposal]))
    else:
        (unit,) = yard.apply(*yard.plan(root))
    return unit


def check(yard: Yard, read: float = 0.0) -> list[Finding]:
    return list(checking.check(yard.works(), checking.begin("seed"), read))


def copies_of(yard: Yard, unit: UnitNow) -> list[Copy]:
    found = yard.database.read(partial(copies.of, unit_ids=[unit.unit_id]))
    return found[unit.unit_id]


def place(unit: UnitNow) -> Path:
    return Path(os.fsdecode(unit.bin or b""))


def data(yard: Yard, unit: UnitNow) -> Path:
    return yard.target / "data" / os.fsdecode(unit.root)[1:]


def manifest(yard: Yard, unit: UnitNow) -> Path:
    return yard.target / "manifests" / f"{unit.name}.jsonl.gz"


def test_a_manifest_of_times_to_come_is_not_lost(yard: Yard) -> None:
    unit = archived(yard)
    there = manifest(yard, unit)
    lines = gzip.decompress(there.read_bytes()).replace(b'"manifest":1', b'"manifest":2', 1)
    there.write_bytes(gzip.compress(lines))
    (copy,) = copies_of(yard, unit)
    digest, size = sha256(there.read_bytes()).hexdigest(), there.stat().st_size
    change = sql.update(archive_copy).values(manifest_sha256=digest, manifest_bytes=size)
    yard.database.transaction(lambda connection: connection.execute(change))
    (found,) = check(yard)
    assert (found.kind, found.where) == ("target", copy.target)
    assert "use a newer Lurge" in found.why
    assert copies_of(yard, unit) == [replace(copy, manifest_sha256=digest, manifest_bytes=size)]


def flip(file: Path) -> None:
    found = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"X")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


@pytest.mark.parametrize("kind", ["directory", "files"])
def test_what_is_whole_is_told_nothing_of(yard: Yard, kind: str) -> None:
    archived(yard, kind=kind)
    checked = checking.begin()
    assert list(checking.check(yard.works(), checked, 100)) == []
    files = 3 if kind == "directory" else 2
    assert (checked.units, checked.copies, checked.files, checked.read) == (1, 1, files, files)
    assert checked.in_words().endswith(
        f"of {files} files all were read back, all whole (drawn by {checked.seed})"
    )
    (told,) = yard.database.read(partial(audits.read, act="checked"))
    assert told.detail == checked.in_words()


Change = Callable[[Yard, UnitNow], object]

LOST: dict[str, tuple[Change, float, str]] = {
    "an object": (lambda y, u: (data(y, u) / "a").unlink(), 0, "no object"),
    "half an object": (lambda y, u: os.truncate(data(y, u) / "a", 3), 0, "3 bytes"),
    "a byte": (lambda y, u: flip(data(y, u) / "deep" / "b"), 100, "other bytes"),
    "the manifest": (lambda y, u: manifest(y, u).unlink(), 0, "its manifest"),
    "a byte of the manifest": (lambda y, u: flip(manifest(y, u)), 0, "its manifest"),
    "half the manifest": (lambda y, u: os.truncate(manifest(y, u), 50), 0, "its manifest"),
}


@pytest.mark.parametrize("change", LOST)
def test_a_copy_that_is_not_whole_is_found_and_noted(yard: Yard, change: str) -> None:
    unit, other = archived(yard), archived(yard, "beta")
    act, read, why = LOST[change]
    act(yard, unit)
    (found,) = check(yard, read)
    assert (found.kind, found.unit, found.where) == ("lost", unit.name, f"file://{yard.target}")
    assert why in found.why
    assert "it is still in the bin" in found.todo
    (copy,) = copies_of(yard, unit)
    assert copy.lost_at
    assert copy.verified_at is None
    assert copies_of(yard, other)[0].verified_at
    (again,) = check(yard, read)
    assert again.kind == "lost"
    assert len(yard.database.read(partial(audits.read, act="lost"))) == 1
    assert yard.database.read(partial(ledger.unit, unit_id=unit.unit_id)) == unit


def test_a_flipped_byte_is_found_by_reading_alone(yard: Yard) -> None:
    unit = archived(yard)
    flip(data(yard, unit) / "a")
    assert check(yard) == []
    assert [each.kind for each in check(yard, 100)] == ["lost"]


def test_with_the_manifest_here_the_objects_are_looked_at_all_the_same(yard: Yard) -> None:
    unit = archived(yard)
    manifest(yard, unit).unlink()
    (data(yard, unit) / "a").unlink()
    (found,) = check(yard)
    assert "its manifest" in found.why
    assert "no object" in found.why


def test_of_two_copies_the_other_is_told(tmp_path: Path, database: Database) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    yard = Yard(tmp_path, database, target=targets, copies=2)
    unit = archived(yard)
    (data(yard, unit) / "a").unlink()
    (found,) = check(yard)
    assert (found.kind, found.where) == ("lost", targets[0])
    assert f"its copy at {targets[1]} is there" in found.todo
    lost, whole = copies_of(yard, unit)
    assert lost.lost_at
    assert whole.verified_at


def test_a_copy_that_is_whole_again_is_told(yard: Yard) -> None:
    unit = archived(yard)
    file = data(yard, unit) / "a"
    file.rename(yard.folder / "aside")
    check(yard)
    (yard.folder / "aside").rename(file)
    (found,) = check(yard)
    assert found.kind == "found"


def test_a_target_that_is_empty_is_not_believed(yard: Yard) -> None:
    units = [archived(yard), archived(yard, "beta")]
    for each in yard.target.iterdir():
        each.rename(yard.folder / each.name)
    (found,) = checking.check(yard.works(target=Posix), checking.begin())
    assert (found.kind, found.where) == ("target", f"file://{yard.target}")
    assert all(copies_of(yard, unit)[0].verified_at for unit in units)


def taken(yard: Yard, unit: UnitNow) -> None:
    (yard.mount / text(unit.root).rpartition("/")[2]).mkdir(exist_ok=True)
    (yard.mount / text(unit.root).rpartition("/")[2] / "a").touch()


IN_BIN: dict[str, tuple[Change, str, str]] = {
    "changed": (lambda _, u: flip(place(u) / "tree" / "a"), "bin", "a: different"),
    "missing": (lambda _, u: (place(u) / "tree" / "a").unlink(), "bin", "a: missing"),
    "added": (lambda _, u: (place(u) / "tree" / "new").touch(), "bin", "new: unknown"),
    "beside it": (lambda _, u: (place(u).parent / "new").touch(), "bin", "new: unknown"),
    "no manifest": (lambda _, u: (place(u).parent / "manifest.gz").unlink(), "bin", "No such"),
    "all of it": (lambda _, u: shutil.rmtree(place(u).parent), "bin", "No such"),
    "the bin": (lambda y, _: shutil.rmtree(y.mount / ".lurge-bin"), "bin", "No such"),
    "taken": (taken, "taken", "in the place"),
    "unknown": (
        lambda y, _: (y.mount / ".lurge-bin" / "caf\udce9").mkdir(),
        "unknown",
        "origin.json",
    ),
}


@pytest.mark.parametrize("kind", ["directory", "files"])
@pytest.mark.parametrize("change", IN_BIN)
def test_what_is_not_as_it_was_in_the_bin_is_found(yard: Yard, change: str, kind: str) -> None:
    unit = archived(yard, kind=kind)
    act, what, why = IN_BIN[change]
    act(yard, unit)
    (found,) = check(yard)
    assert found.kind == what
    assert why in found.why
    assert yard.database.read(partial(ledger.unit, unit_id=unit.unit_id)) == unit


def test_a_unit_that_another_ledger_has_put_into_the_bin_is_told_by_its_origin(
    yard: Yard,
) -> None:
    unit = archived(yard)
    other = place(unit).parent.with_name("0123456789ab-000001")
    shutil.copytree(place(unit).parent, other, symlinks=True)
    (found,) = check(yard)
    assert (found.kind, found.where) == ("unknown", str(other))
    assert str(yard.mount / "alpha") in found.why


def test_a_unit_that_was_being_worked_on_is_left_out(yard: Yard) -> None:
    unit = archived(yard)
    (place(unit) / "tree" / "new").touch()
    with claimed(yard.database, unit, STATES, "other", 30):
        assert check(yard) == []
    assert len(check(yard)) == 1


def test_a_worker_that_was_killed_when_it_had_filled_the_bin_is_told_of(yard: Yard) -> None:
    make_tree(yard.mount / "alpha")
    file, run = yard.plan(yard.mount / "alpha")

    class Killed(BaseException):
        pass

    class Killing:
        def __getattr__(self, name: str) -> object:
            return getattr(yard.told, name)

        def event(self, event: str, *_: object, **__: object) -> None:
            if event == "verified":
                raise Killed

    with pytest.raises(Killed):
        yard.apply(file, run, watch=Killing())
    (unit,) = yard.database.read(ledger.units)
    assert unit.state == "verified"
    bin_ = yard.mount / ".lurge-bin" / unit.name / str(unit.token)
    bin_.mkdir(parents=True)
    (yard.mount / "alpha").rename(bin_ / "tree")
    folder, begun = check(yard)
    assert (folder.kind, folder.where, begun.kind) == ("broken", str(bin_.parent), "broken")
    assert run.content_id[:12] in begun.todo
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    assert check(yard) == []


def test_a_deletion_that_was_broken_off_is_told_of(yard: Yard) -> None:
    unit = archived(yard)
    run = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
    with claimed(yard.database, unit, STATES, "test", 30) as found:
        assert found is not None
        Step(yard.works(), run, found[0], None, found[1]).moved("deleting")
    (place(unit) / "tree" / "a").unlink()
    (told,) = check(yard)
    assert (told.kind, told.todo) == ("broken", "archive purge")
    (purged,) = emptying.purge(yard.works())
    assert purged.became == "deleted"
    assert check(yard) == []
    place(unit).mkdir(parents=True)
    (left,) = check(yard)
    assert left.kind == "left"


def test_a_word_that_should_be_in_a_place_is_missed(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, tombstone=True)
    archived(yard)
    assert check(yard) == []
    (yard.mount / "alpha").unlink()
    (found,) = check(yard)
    assert found.kind == "tombstone"


def test_findings_are_told(yard: Yard) -> None:
    unit = archived(yard)
    (place(unit) / "tree" / "new").touch()
    found = check(yard)
    assert as_table(found).row_count == 1
    assert json.loads(as_json(found[0]))["unit"] == unit.name
