"""A plan tells what is there now, what of it is left out and why, and writes nothing else."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from archiving import WHO, Yard
from servers.disks import small_disk, unmounted_after

from db import ledger
from db.database import Database
from lurge.archiver import planning
from lurge.archiver.planning import PlanFailed, Wanted
from lurge_types.archive import Proposal, Run, Skipped
from utils import manifests, parts, runfiles

ROOT = Path(__file__).parents[3]
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def tree(root: Path) -> Path:
    (root / "in").mkdir(parents=True)
    (root / "a").write_bytes(b"a")
    (root / "in" / "b").write_bytes(b"bb")
    return root


def bound(there: Path, here: Path) -> AbstractContextManager[None]:
    """A directory is at another place, too."""
    here.mkdir()
    subprocess.run(["mount", "--bind", str(there), str(here)], check=True)
    return unmounted_after(here)


def linked(root: Path) -> None:
    os.link(root / "a", root.parent / "other name")


LEFT_OUT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a name elsewhere": (linked, r"linked elsewhere: 1 of its files .* such as a: "),
    "a mount": (lambda root: small_disk(root / "in", 1 << 16), "in is on another filesystem"),
    "a bin": (lambda root: (root / ".lurge-bin").mkdir(), "is a bin: archive what is beside it"),
    "absent": (lambda root: bool(root.rename(root.with_name("away"))), "No such file"),
    "a link": (
        lambda root: root.with_name("alpha").symlink_to(root.rename(root.with_name("away"))),
        "is a link",
    ),
}


@pytest.mark.parametrize("what", LEFT_OUT)
def test_what_cannot_be_a_unit_is_left_out(yard: Yard, what: str) -> None:
    root, beta = tree(yard.mount / "alpha"), tree(yard.mount / "beta")
    act, why = LEFT_OUT[what]
    made = act(root)
    with made if isinstance(made, AbstractContextManager) else nullcontext():
        file, run = yard.plan(root, beta)
    (left,) = run.skipped
    assert left.root == bytes(root)
    assert re.search(why, left.reason)
    assert [unit.root for unit in run.units] == [bytes(beta)]
    assert [path.name for path in runfiles.folder_of(file).iterdir()] == ["000001"]


def test_what_has_names_elsewhere_may_be_copied(yard: Yard) -> None:
    linked(tree(yard.mount / "alpha"))
    assert yard.plan(yard.mount / "alpha", course="copy")[1].skipped == ()


def reason(yard: Yard, root: Path) -> str:
    _, run = yard.plan(root)
    assert run.units == ()
    return run.skipped[0].reason


def test_what_is_in_no_volume_or_is_one_or_holds_its_bin_is_left_out(
    tmp_path: Path, database: Database
) -> None:
    place = tmp_path / "s1" / "bins" / "bin"
    yard = Yard(tmp_path, database, bin={"s1": str(place)})
    assert "in no configured volume" in reason(yard, tree(tmp_path / "alpha"))
    assert "is a whole volume" in reason(yard, yard.mount)
    assert "holds the bin" in reason(yard, tree(place.parent))
    assert "or lies in it" in reason(yard, tree(place / "alpha"))
    assert "lies in a bin" in reason(yard, tree(yard.mount / "x" / ".lurge-bin" / "alpha"))


@pytest.mark.parametrize("by", ["itself", "a link", "a mount"])
@pytest.mark.parametrize("inner", ["target", "source", "neither"])
def test_source_and_target_do_not_lie_in_each_other(
    tmp_path: Path, database: Database, by: str, inner: str
) -> None:
    root = tree(tmp_path / "s1" / "out" / "alpha")
    target = {"target": root / "in", "source": root.parent, "neither": root}[inner]
    here = tmp_path / "here"
    with bound(target, here) if by == "a mount" else nullcontext():
        if by == "a link":
            here.symlink_to(target)
        yard = Yard(tmp_path, database, target=f"file://{target if by == 'itself' else here}")
        why = reason(yard, root)
    by_mount = by == "a mount" and inner == "target"
    assert ("which is a target" if by_mount else "are the same place, or one lies in") in why


def test_what_holds_the_runs_is_left_out(tmp_path: Path, database: Database) -> None:
    root = tree(tmp_path / "s1" / "alpha")
    yard = Yard(tmp_path, database, run_dir=str(root / "in" / "runs"))
    assert "where the archiver keeps its runs" in reason(yard, root)


AS_ANOTHER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from archiving import Yard
from db import ledger
from db.database import Database
folder = Path(sys.argv[2])
database = Database(f"sqlite:///{folder}/other.db")
database.init()
_, run = Yard(folder, database).plan(folder / "s1" / "alpha", folder / "s1" / "beta")
for left in run.skipped:
    print(left.reason)
"""


def test_what_cannot_be_read_is_left_out(tmp_path: Path) -> None:
    for name in ("alpha", "beta"):
        tree(tmp_path / "s1" / name)
    (tmp_path / "s1" / "alpha" / "in").chmod(0)
    command = [
        *WITHOUT_RIGHTS,
        sys.executable,
        "-c",
        AS_ANOTHER,
        str(ROOT / "tests"),
        str(tmp_path),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout == "in cannot be read: archive as a user who may read all of it\n"


def look(folder: Path) -> list[tuple[str, Any]]:
    """All that is in a folder with its facts, the times of reading of files too."""
    found = []
    for path in sorted(folder.rglob("*")):
        facts = path.lstat()
        read = None if path.is_symlink() else facts.st_atime_ns
        found.append((str(path), (facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns, read)))
    return found


def test_a_plan_writes_to_the_folder_of_runs_only(yard: Yard) -> None:
    root = tree(yard.mount / "alpha")
    before = look(yard.mount), look(yard.target)
    file, _ = yard.plan(root)
    assert (look(yard.mount), look(yard.target)) == before
    folder = runfiles.folder_of(file)
    there = {path for path in file.parent.rglob("*") if not path.is_dir()}
    assert there == {file, folder / "000001" / "plan.manifest.gz"}
    assert yard.database.read(ledger.runs) == []


def test_units_are_in_the_order_in_which_they_are_proposed(yard: Yard) -> None:
    roots = [tree(yard.mount / name) for name in ("c", "a", "b")]
    proposals: list[Proposal | Skipped] = [
        Proposal(bytes(root), "directory", subject=root.name) for root in roots
    ]
    absent = Proposal(bytes(yard.mount / "absent"), "directory", subject="absent")
    proposals[1:1] = [Skipped(b"/x", "x", "said so"), absent]
    file, run = yard.plan_of(proposals)
    assert [(unit.number, unit.subject) for unit in run.units] == [(1, "c"), (2, "a"), (3, "b")]
    assert [left.subject for left in run.skipped] == ["x", "absent"]
    for unit in run.units:
        manifest = runfiles.plan_manifest(file, unit.number)
        assert sha256(manifest.read_bytes()).hexdigest() == unit.manifest_sha256
        with manifest.open("rb") as opened:
            header, entries = manifests.read(opened)
            assert [entry.path for entry in entries] == [b"", b"a", b"in", b"in/b"]
        assert header.root == unit.root
        assert (unit.entries, unit.files, unit.size_bytes) == (4, 2, 3)
    assert runfiles.read(file) == run


def planned(yard: Yard, reuse: bool = True, asked: str = "", **works: Any) -> tuple[Path, bool]:
    proposals = [Proposal(bytes(yard.mount / "alpha"), "directory")]
    wanted = Wanted("paths", asked, None, "archive", proposals)
    file, _, again = planning.plan(yard.works(**works), wanted, reuse)
    return file, again


def test_a_plan_of_the_last_hour_is_taken_again(yard: Yard) -> None:
    tree(yard.mount / "alpha")
    first, again = planned(yard)
    assert not again
    assert planned(yard) == (first, True)
    others = [
        planned(yard, reuse=False),
        planned(yard, asked="other"),
        planned(yard, actor=replace(WHO, config_sha256="1" * 64)),
    ]
    assert not any(again for _, again in others)
    newest = planned(yard)
    assert newest[1]
    for file in first.parent.glob("*.json"):
        os.utime(file, (1, 1))
    assert planned(yard) not in {(first, True), newest}


def test_a_run_file_that_was_changed_is_no_plan_of_before(yard: Yard) -> None:
    tree(yard.mount / "alpha")
    first, _ = planned(yard)
    first.write_bytes(first.read_bytes().replace(b'"archive"', b'"discard"'))
    other, again = planned(yard)
    assert (other != first, again) == (True, False)


def test_what_killed_plans_have_left_is_swept_a_day_later(yard: Yard) -> None:
    root = tree(yard.mount / "alpha")
    runs = yard.folder / "runs"
    for name, age in (("old", 2), ("young", 0)):
        tree(runs / f".planning-{name}")
        at = (runs / f".planning-{name}").stat().st_mtime - age * 86_400
        os.utime(runs / f".planning-{name}", (at, at))
    yard.plan(root)
    assert [path.name for path in runs.glob(".planning-*")] == [".planning-young"]


def test_what_killed_plans_of_this_host_have_left_is_swept_at_once(yard: Yard) -> None:
    root = tree(yard.mount / "alpha")
    runs = yard.folder / "runs"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    mine = parts.part_of(runs / "planning-0")
    left = mine.with_name(mine.name.replace(f".{os.getpid()}.", f".{dead.pid}."))
    for each in (mine, left):
        tree(each)
    yard.plan(root)
    assert (mine.exists(), left.exists()) == (True, False)


def test_a_plan_that_fails_leaves_nothing(yard: Yard) -> None:
    def fail() -> Any:
        yield Proposal(bytes(tree(yard.mount / "alpha")), "directory")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        planning.plan(yard.works(), Wanted("paths", "", None, "archive", fail()))
    assert list((yard.folder / "runs").iterdir()) == []


def test_without_a_target_there_is_no_plan_but_to_discard(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, target=[])
    root = tree(yard.mount / "alpha")
    with pytest.raises(PlanFailed, match="name a target"):
        yard.plan(root)
    run: Run = yard.plan(root, course="discard")[1]
    assert run.policy.targets == ()
