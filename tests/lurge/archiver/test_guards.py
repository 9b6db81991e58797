"""What is more than usual stops a run before it acts, until a person allows it, once."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from archiving import Told, Yard
from servers import nights
from servers.disks import small_disk

from db import usage
from db.database import Database
from lurge.archiver import applying, checking, guards, restoring
from lurge.archiver.applying import RunRefused
from lurge.archiver.guards import NAMES, GuardTripped
from lurge.archiver.planning import PlanFailed
from lurge.archiver.works import now
from lurge_types.archive import Proposal, UnitNow
from lurge_types.scans import Volume
from utils import runfiles

KIB = 1 << 10
WIDE = {"max_share": 1.0, "min_free": 0}


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


@pytest.fixture
def small(tmp_path: Path, database: Database) -> Iterator[Yard]:
    """A volume of which it is known how much is used."""
    with small_disk(tmp_path / "s1", 1 << 24):
        yield Yard(tmp_path, database, guards={**WIDE, "max_share": 0.5})


def tree(root: Path, size: int = 10 * KIB) -> Path:
    root.mkdir(parents=True)
    (root / "a").write_bytes(os.urandom(size))
    return root


def states(units: list[UnitNow]) -> list[str]:
    return [unit.state for unit in units]


@pytest.mark.parametrize("inside", ["", "/below"])
def test_two_targets_in_one_place_are_not_two(
    tmp_path: Path, database: Database, inside: str
) -> None:
    other = tmp_path / "other"
    urls = [f"file://{tmp_path}/target", f"file://{other}{inside}"]
    yard = Yard(tmp_path, database, target=urls, copies=2)
    other.mkdir()
    (other / "below").mkdir()
    planned = yard.plan(tree(yard.mount / "alpha"))
    shutil.rmtree(other)
    (yard.target / "below").mkdir()
    other.symlink_to(yard.target)
    with pytest.raises(RunRefused, match="the same place"):
        yard.apply(*planned, "mount")
    with pytest.raises(PlanFailed, match="the same place"):
        yard.plan(yard.mount / "alpha")


@pytest.mark.parametrize("there", [True, False])
def test_a_target_that_lacks_what_it_had_is_not_filled(yard: Yard, there: bool) -> None:
    first = yard.plan(tree(yard.mount / "alpha"))
    assert states(yard.apply(*first)) == ["binned"]
    planned = yard.plan(tree(yard.mount / "beta"))
    yard.target.rename(yard.folder / "away")
    later = Yard(yard.folder, yard.database)
    if not there:
        later.target.rmdir()
    with pytest.raises(GuardTripped, match=r"lacks manifests/.*--allow mount"):
        later.apply(*later.plan(yard.mount / "beta"))
    assert later.target.exists() is there
    shutil.rmtree(later.target, ignore_errors=True)
    (yard.folder / "away").rename(later.target)
    assert states(Yard(yard.folder, yard.database).apply(*planned)) == ["binned"]


def test_a_target_whose_last_copies_are_lost_may_be_filled(yard: Yard) -> None:
    assert states(yard.apply(*yard.plan(tree(yard.mount / "alpha")))) == ["binned"]
    planned = yard.plan(tree(yard.mount / "beta"))
    (manifest,) = (yard.target / "manifests").iterdir()
    manifest.unlink()
    with pytest.raises(GuardTripped):
        yard.apply(*planned)
    assert [each.kind for each in checking.check(yard.works(), checking.begin())] == ["lost"]
    assert states(yard.apply(*planned)) == ["binned"]


def test_a_plan_for_much_of_a_volume_is_stopped(small: Yard) -> None:
    tree(small.mount / "rest", 400 * KIB)
    assert not small.plan(tree(small.mount / "some", 100 * KIB))[1].tripped
    file, run = small.plan(tree(small.mount / "much", 800 * KIB))
    (tripped,) = run.tripped
    assert (tripped.guard, "of volume s1" in tripped.why) == ("share", True)
    with pytest.raises(GuardTripped, match=r"in use on the disk of volume s1\. .*--allow share"):
        small.apply(file, run)
    with pytest.raises(GuardTripped):
        small.apply(file, run, *(NAMES.keys() - {"share"}))
    assert small.plan(small.mount / "much")[1].units, "what was refused bars no other plan"
    assert states(small.apply(file, run, "share")) == ["binned"]


def test_a_plan_for_much_of_a_group_is_stopped(tmp_path: Path, database: Database) -> None:
    """By what its newest report tells, of this volume."""
    with small_disk(tmp_path / "s1", 1 << 24):
        yard = Yard(tmp_path, database, guards={**WIDE, "max_share": 0.5})
        tree(yard.mount / "rest", 2000 * KIB)
        root = tree(yard.mount / "alpha", 100 * KIB)
        os.chown(root / "a", -1, 4711) if os.geteuid() == 0 else None
        gid = (root / "a").stat().st_gid
        for days, volume, size in ((3, "s1", 1 << 30), (2, "other", 1 << 10), (1, "s1", 300 * KIB)):
            report(database, volume, now() - timedelta(days=days), gid, size)
        assert not yard.plan(root)[1].tripped
        report(database, "s1", now(), gid, 150 * KIB)
        file, run = yard.plan(root)
        assert [(each.guard, f"of gid {gid} on s1" in each.why) for each in run.tripped] == [
            ("share", True)
        ]
        assert states(yard.apply(file, run, "share")) == ["binned"]


def report(database: Database, name: str, at: datetime, gid: int, size: int) -> None:
    volume = Volume(name, None)
    row = replace(nights.rows(1, volume)[0], group=nights.group(gid), used_bytes=size)
    usage.store(database, nights.run(at.date(), volume), volume, [row], replace=False)


def test_a_plan_for_much_more_than_the_last_run_is_stopped(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, guards={**WIDE, "max_growth": 3})
    first = yard.plan(tree(yard.mount / "one", 10 * KIB))
    assert not first[1].tripped
    much = tree(yard.mount / "much", 31 * KIB)
    assert not yard.plan(much)[1].tripped, "nothing has ended"
    yard.apply(*first)
    assert not yard.plan(tree(yard.mount / "three", 30 * KIB))[1].tripped
    assert not yard.plan(much, course="copy")[1].tripped, "another kind"
    file, run = yard.plan(much)
    with pytest.raises(GuardTripped, match="--allow growth"):
        yard.apply(file, run)
    assert states(yard.apply(file, run, "growth")) == ["binned"]
    assert not yard.plan(yard.mount / "three")[1].tripped


def other_disk(yard: Yard) -> AbstractContextManager[object]:
    return small_disk(yard.mount, 1 << 20)


def marked(content: bytes | None) -> Callable[[Yard], AbstractContextManager[object]]:
    def mark(yard: Yard) -> AbstractContextManager[object]:
        marker = yard.mount / "marker"
        marker.unlink() if content is None else marker.write_bytes(content)
        return nullcontext()

    return mark


MOUNTS = {"another": other_disk, "no marker": marked(None), "another marker": marked(b"other")}


@pytest.mark.parametrize("mount", MOUNTS)
def test_a_mount_that_is_not_the_one_of_the_plan_stops_a_run(
    tmp_path: Path, database: Database, mount: str
) -> None:
    yard = Yard(tmp_path, database, guards={**WIDE, "marker": "marker"})
    (yard.mount / "marker").write_bytes(b"s1")
    file, run = yard.plan(tree(yard.mount / "alpha"))
    with MOUNTS[mount](yard), pytest.raises(GuardTripped, match="--allow mount"):
        yard.apply(file, run, *(NAMES.keys() - {"mount"}))
    (yard.mount / "marker").write_bytes(b"s1")
    assert states(yard.apply(file, run)) == ["binned"]


@pytest.mark.parametrize("marker", [None, "marker"])
def test_a_target_that_is_not_mounted_stops_a_run(
    tmp_path: Path, database: Database, marker: str | None
) -> None:
    """What would be written in its place, and found there again, is in none of the archives."""
    yard = Yard(tmp_path, database, keep_in_bin=0, guards={**WIDE, "marker": marker})
    (yard.mount / "marker").write_bytes(b"s1")
    root = tree(yard.mount / "alpha")
    with small_disk(yard.target, 1 << 24):
        (yard.target / "marker").write_bytes(b"target")
        file, run = yard.plan(root)
    with pytest.raises(GuardTripped, match=r"target: .*--allow mount"):
        yard.apply(file, run, *(NAMES.keys() - {"mount"}))
    assert root.exists()
    yard.target.joinpath("marker").write_bytes(b"target")
    if marker:  # the same filesystem, whatever number its device has now
        assert states(yard.apply(file, run)) == ["deleted"]
    else:
        assert states(yard.apply(file, run, "mount")) == ["deleted"]


def test_a_target_that_is_to_be_made_is_known_by_where(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, target=f"file://{tmp_path}/target/new")
    plan = yard.plan(tree(yard.mount / "alpha"))
    assert [each.volume for each in plan[1].mounts] == ["s1", f"file://{tmp_path}/target/new"]
    assert states(yard.apply(*plan)) == ["binned"]
    yard = Yard(tmp_path, database, target=f"file://{tmp_path}/absent/new")
    with pytest.raises(FileNotFoundError):
        yard.plan(tree(yard.mount / "beta"))


def test_a_mount_may_be_allowed_and_then_its_units_are_not_there(yard: Yard) -> None:
    file, run = yard.plan(tree(yard.mount / "alpha"))
    with other_disk(yard):
        assert states(yard.apply(file, run, "mount", "stale")) == ["dirty"]
    assert (yard.mount / "alpha" / "a").exists()


def test_holes_are_no_share_of_a_volume(small: Yard) -> None:
    tree(small.mount / "rest", 400 * KIB)
    root = tree(small.mount / "some", 100 * KIB)
    with (root / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    _, run = small.plan(root)
    assert run.size_bytes > 1 << 30
    assert not run.tripped


def test_files_below_a_whole_volume_are_removed_and_come_back(yard: Yard) -> None:
    """As those of a vault that all of a volume has."""
    (yard.mount / "in").mkdir()
    for name in ("a", "in/b"):
        (yard.mount / name).write_text(name)
    proposal = Proposal(bytes(yard.mount), "files", (b"a", b"in/b"))
    (unit,) = yard.apply(*yard.plan_of([proposal]))
    assert unit.state == "binned", unit.reason
    assert sorted(path.name for path in yard.mount.iterdir()) == [".lurge-bin", "in"]
    assert not list(checking.check(yard.works(), checking.begin(), 100))
    (made,) = restoring.restore(yard.works(), restoring.find(yard.works(), unit.name))
    assert (made.failure, made.how) == (None, "bin")
    assert (yard.mount / "in" / "b").read_text() == "in/b"


def test_files_in_a_bin_a_target_or_of_the_archiver_itself_are_left_out(
    tmp_path: Path, database: Database
) -> None:
    there = tmp_path / "s1"
    yard = Yard(
        tmp_path,
        database,
        target=f"file://{there}/target",
        run_dir=str(there / "runs"),
        checkpoint_files=[str(there / name) for name in ("one", "two")],
        bin={"s1": str(there / "trash")},
    )
    files = ("target/a", "in/target/a", "runs/a", ".lurge-bin/a", "trash/a", "one", "in/one")
    for name in files:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).touch()
    proposals = [Proposal(bytes(there), "files", (name.encode(),)) for name in files]
    _, run = yard.plan_of(proposals)
    assert len(run.units) == 2
    assert [each.reason.rpartition(", ")[2] for each in run.skipped] == [
        "a target",
        "where the archiver keeps its runs",
        "lies in a bin",
        "a bin",
        "a checkpoint of the archiver",
    ]


def test_no_plan_is_made_without_its_marker(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, guards={**WIDE, "marker": "marker"})
    root = tree(yard.mount / "alpha")
    with pytest.raises(FileNotFoundError):
        yard.plan(root)


def test_units_that_have_changed_make_a_plan_stale(yard: Yard) -> None:
    roots = [tree(yard.mount / name) for name in ("alpha", "beta", "gamma")]
    file, run = yard.plan(*roots)
    (roots[0] / "new").touch()
    shutil.rmtree(roots[1])
    with pytest.raises(GuardTripped, match=r"2 units have changed .*--allow stale"):
        yard.apply(file, run)
    assert states(yard.apply(file, run, "stale")) == ["dirty", "dirty", "binned"]


def test_a_plan_that_another_begins_meanwhile_is_not_stale(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = yard.plan(tree(yard.mount / "alpha"))
    see_roots = guards.see_roots

    def meanwhile(*arguments: Any) -> None:
        monkeypatch.setattr(guards, "see_roots", see_roots)
        assert states(yard.apply(*planned, holder="another")) == ["binned"]
        see_roots(*arguments)

    monkeypatch.setattr(guards, "see_roots", meanwhile)
    assert states(yard.apply(*planned)) == ["binned"]


def test_a_run_stops_after_so_many_failures_in_a_row(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, guards={**WIDE, "max_failures": 2})
    file, run = yard.plan(*(tree(yard.mount / f"{number}") for number in range(5)))
    lost = [runfiles.plan_manifest(file, number) for number in (1, 3, 4)]
    for manifest in lost:
        manifest.rename(manifest.with_suffix(".lost"))
    with pytest.raises(GuardTripped, match=r"2 units in a row failed.*--allow failures"):
        yard.apply(file, run)
    assert (yard.mount / "4" / "a").exists()
    assert states(yard.apply(file, run, "failures")) == [
        "failed",
        "binned",
        "failed",
        "failed",
        "binned",
    ]
    for manifest in lost:
        manifest.with_suffix(".lost").rename(manifest)
    assert states(yard.apply(file, run)) == ["binned"] * 5


class Killed(Told):
    """Ends all when a unit has come into the bin."""

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        if event == "binned":
            raise KeyboardInterrupt


def test_a_run_that_has_begun_goes_on_and_another_expires(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if its units have changed since, and it was more than usual."""
    begun = yard.plan(*(tree(yard.mount / name) for name in ("alpha", "beta")))
    other = yard.plan(tree(yard.mount / "gamma"))
    with pytest.raises(KeyboardInterrupt):
        yard.apply(*begun, watch=Killed())
    later: Any = lambda: now() + timedelta(days=8)  # noqa: E731 - a clock
    monkeypatch.setattr(applying, "now", later)
    assert states(yard.apply(*begun)) == ["binned", "binned"]
    with pytest.raises(RunRefused, match=r"expired on .* plan again"):
        yard.apply(*other, *NAMES)
    assert (yard.mount / "gamma" / "a").exists()


OWN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "run_dir": lambda root: {"run_dir": str(root / "runs")},
    "log_dir": lambda root: {"log_dir": str(root / "log")},
    "checkpoint": lambda root: {"checkpoint_files": [str(root / "a.json"), str(root / "b.json")]},
}


@pytest.mark.parametrize("own", OWN)
def test_a_unit_that_holds_what_the_archiver_writes_is_left_out(
    tmp_path: Path, database: Database, own: str
) -> None:
    root = tmp_path / "s1" / "alpha"
    yard = Yard(tmp_path, database, **OWN[own](root / "deep"))
    _, run = yard.plan(tree(root))
    assert [each.reason.partition(" ")[0] for each in run.skipped] == ["holds"]
    assert len(yard.plan(root, course="copy")[1].units) == 1


@pytest.mark.parametrize("linked", [True, False])
def test_a_unit_that_holds_the_database_is_left_out(tmp_path: Path, linked: bool) -> None:
    root = tree(tmp_path / "s1" / "alpha")
    file = tmp_path / "link" if linked else root / "db"
    if linked:
        file.symlink_to(root / "db")
    database = Database(f"sqlite:///{file}", retry_seconds=5)
    database.check()
    _, run = Yard(tmp_path, database).plan(root)
    (skipped,) = run.skipped
    assert skipped.reason == f"holds {file}, the database, or lies in it"
