"""Files that were released to an HSM are left alone, by the plan and by whoever applies it."""

import os
from datetime import date
from pathlib import Path

import pytest
from archiving import Yard
from hsm_stand_in import ARCHIVED, ON_TAPE, HsmStandIn

from db.database import Database
from lurge.archiver import planning
from lurge.archiver.planning import Wanted
from lurge_types.archive import Course, Proposal, Run, UnitNow
from utils import runfiles, trees

LOV = "trusted.lov" if os.geteuid() == 0 else "user.lov"
MIB = 1 << 20


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HsmStandIn:
    """The program, and an attribute by which files are on Lustre, whoever may set it."""
    monkeypatch.setattr(trees, "LUSTRE", (LOV.encode("ascii"),))
    lfs = HsmStandIn(tmp_path / "lfs")
    lfs.install()
    monkeypatch.setenv("PATH", lfs.path)
    return lfs


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def bare(file: Path, size: int = MIB) -> Path:
    """A file on Lustre that may have been released."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.truncate(file, size)
    os.setxattr(file, LOV, b"striping")
    return file


def plan(
    yard: Yard, root: Path, *, course: Course = "archive", recall: bool = False, reuse: bool = False
) -> tuple[Path, Run]:
    proposals = [Proposal(bytes(root), "directory")]
    wanted = Wanted("paths", "", date(2026, 1, 1), course, proposals, recall)
    file, run, _ = planning.plan(yard.works(), wanted, reuse)
    return file, run


def applied(yard: Yard, planned: tuple[Path, Run]) -> UnitNow:
    (unit,) = yard.apply(*planned)
    return unit


@pytest.mark.parametrize("course", ["archive", "copy"])
@pytest.mark.parametrize("size", [100, MIB])
def test_a_unit_with_a_released_file_is_left_out(
    yard: Yard, lfs: HsmStandIn, course: Course, size: int
) -> None:
    root = yard.mount / "alpha"
    lfs.tell(bare(root / "in" / "a", size), ON_TAPE)
    lfs.tell(bare(root / "b"), ARCHIVED)
    lfs.tell(bare(root / "c\n: (0x0"), ON_TAPE)
    _, run = plan(yard, root, course=course)
    assert run.units == ()
    (left,) = run.skipped
    assert "2 files are released to the HSM, such as " in left.reason
    assert "plan with --recall" in left.reason


def test_files_that_are_said_to_be_there_are_archived(yard: Yard, lfs: HsmStandIn) -> None:
    root = yard.mount / "alpha"
    lfs.tell(bare(root / "a"), ARCHIVED)
    assert applied(yard, plan(yard, root)).state == "binned"


def test_nobody_is_asked_for_files_that_have_data_or_are_elsewhere(
    yard: Yard, lfs: HsmStandIn
) -> None:
    root = yard.mount / "alpha"
    os.setxattr(bare(root / "empty", 0), LOV, b"striping")
    bare(root / "full").write_bytes(b"x" * 5000)
    (root / "elsewhere").touch()
    os.truncate(root / "elsewhere", MIB)
    assert applied(yard, plan(yard, root)).state == "binned"
    assert lfs.calls() == []


def test_where_nobody_can_tell_files_count_as_released(
    yard: Yard, lfs: HsmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = yard.mount / "alpha"
    bare(root / "a")
    planned = plan(yard, root)
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    (left,) = plan(yard, root)[1].skipped
    assert "1 file may be released to the HSM (there is no lfs" in left.reason
    unit = applied(yard, planned)
    assert unit.state == "dirty"
    assert "a may have been released to the HSM since" in (unit.reason or "")
    assert (root / "a").exists()


def test_with_recall_they_are_read(yard: Yard, lfs: HsmStandIn) -> None:
    root = yard.mount / "alpha"
    lfs.tell(bare(root / "a"), ON_TAPE)
    file, run = plan(yard, root, recall=True)
    assert runfiles.read(file).policy.recall
    unit = applied(yard, (file, run))
    assert unit.state == "binned", unit.reason
    assert lfs.calls() == []


def test_what_is_discarded_is_not_read_so_it_may_be_released(yard: Yard, lfs: HsmStandIn) -> None:
    root = yard.mount / "alpha"
    lfs.tell(bare(root / "a"), ON_TAPE)
    assert applied(yard, plan(yard, root, course="discard")).state == "binned"


@pytest.mark.parametrize("layout", ["tree", "packs"])
@pytest.mark.parametrize("size", [100, MIB, 12 * MIB])
def test_a_file_that_is_released_after_the_plan_is_not_read(
    tmp_path: Path, database: Database, lfs: HsmStandIn, layout: str, size: int
) -> None:
    """Nothing of its fingerprint tells of it."""
    yard = Yard(tmp_path, database, layout=layout, segment_size=5 * MIB)
    root = yard.mount / "alpha"
    file = bare(root / "in" / "a", size)
    lfs.tell(file, ARCHIVED)
    planned = plan(yard, root)
    lfs.tell(file, ON_TAPE)
    unit = applied(yard, planned)
    assert unit.state == "dirty"
    assert f"{file} was released to the HSM since it was planned" in (unit.reason or "")
    assert file.exists()
    assert not any(path.is_file() for path in yard.target.rglob("a"))


def test_a_plan_with_recall_is_not_one_without(yard: Yard, lfs: HsmStandIn) -> None:
    root = yard.mount / "alpha"
    bare(root / "a")
    first, _ = plan(yard, root, reuse=True)
    assert plan(yard, root, reuse=True)[0] == first
    assert plan(yard, root, recall=True, reuse=True)[0] != first


def test_many_are_counted_and_one_is_named(yard: Yard, lfs: HsmStandIn) -> None:
    root = yard.mount / "alpha"
    for number in range(450):
        lfs.states[bare(root / f"{number:03}").stat().st_ino] = ON_TAPE
    lfs.install()
    (left,) = plan(yard, root)[1].skipped
    assert left.reason.startswith("450 files are released to the HSM, such as ")
    assert str(root / "000") in left.reason
    assert [len(call) for call in lfs.calls()] == [200, 200, 50]
