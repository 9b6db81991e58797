"""What leaves the bin for good: what nobody has touched, with copies that are there."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import children
import pytest
from archiving import Told, Yard
from servers.disks import fill, small_disk

from db import ledger
from db.database import Database
from db.leases import LeaseLost
from lurge.archiver import binning, checking, emptying, evidence, purging, restoring
from lurge.archiver.claims import Claim, claimed
from lurge.archiver.emptying import Purged
from lurge.archiver.guards import GuardTripped
from lurge.archiver.handles import opened
from lurge.archiver.step import Step
from lurge.archiver.works import now
from lurge_types.archive import STATES, Binned, Proposal, UnitNow
from lurge_types.targets import Stored, Target, TargetTrouble
from utils import manifests, runfiles, trees
from utils.targets.posix import Posix


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_tree(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "er" / "b").write_bytes(b"more")
    (root / "deep" / "er" / "caf\udce9\n").touch()
    (root / "deep.er").write_bytes(b"sorted between")
    (root / "link").symlink_to("deep/er/b")
    os.link(root / "a", root / "deep" / "other name")


MEMBERS = (b"a", b"deep/er/b", b"deep/other name", b"link")


def bin_of(yard: Yard, kind: str = "directory") -> UnitNow:
    """A unit that is in the bin: a directory, some of its files, or one without copies."""
    root = yard.mount / "alpha"
    make_tree(root)
    if kind == "files":
        proposal = Proposal(bytes(root), "files", MEMBERS, None, None)
        file, run = yard.plan_of([proposal])
    else:
        file, run = yard.plan(root, course="discard" if kind == "discard" else "archive")
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    return unit


@contextmanager
def held(yard: Yard, unit: UnitNow) -> Iterator[Step]:
    run = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
    with claimed(yard.database, unit, STATES, "test", 30) as found:
        assert found is not None
        yield Step(yard.works(), run, found[0], None, found[1])


def make_due(yard: Yard, unit: UnitNow) -> None:
    """Let its time in the bin be over."""
    past = Binned(unit.bin or b"", now() - timedelta(days=40), now() - timedelta(days=10))
    with held(yard, unit) as step:
        step.moved("binned", binned=past)


def purge(yard: Yard, *allow: str, **works: Any) -> list[Purged]:
    return list(emptying.purge(yard.works(**works), allow=allow))


def place(unit: UnitNow) -> Path:
    return Path(os.fsdecode(unit.bin or b""))


def entries_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.name not in {"manifest.gz", "origin.json"}]


@pytest.mark.parametrize("kind", ["directory", "files", "discard"])
def test_what_is_due_is_deleted_and_what_is_not_stays(yard: Yard, kind: str) -> None:
    unit = bin_of(yard, kind)
    assert purge(yard) == []
    make_due(yard, unit)
    (told,) = emptying.purge(yard.works(), dry_run=True)
    assert (told.became, place(unit).exists()) == ("due", True)
    (purged,) = purge(yard)
    assert (purged.became, purged.reason) == ("deleted", None)
    assert list((yard.mount / ".lurge-bin").iterdir()) == []
    assert (yard.mount / "alpha" / "deep.er").exists() is (kind == "files")
    assert purge(yard) == []


@pytest.mark.parametrize("kind", ["directory", "discard"])
def test_a_run_that_keeps_nothing_deletes_at_once(
    tmp_path: Path, database: Database, kind: str
) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    make_tree(yard.mount / "alpha")
    file, run = yard.plan(
        yard.mount / "alpha", course="discard" if kind == "discard" else "archive"
    )
    (unit,) = yard.apply(file, run)
    assert (unit.state, unit.reason) == ("deleted", None)
    assert yard.apply(file, run) == [unit]


def test_directories_that_nobody_may_write_to_are_deleted_by_their_owner(tmp_path: Path) -> None:
    root = tmp_path / "s1" / "alpha"
    make_tree(root)
    for way in (root / "deep" / "er", root / "deep", root / "empty"):
        way.chmod(0o555)
    code = """
        import sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from archiving import Yard
        from db.database import Database
        folder = Path(sys.argv[1])
        database = Database(f"sqlite:///{folder}/lurge.db", retry_seconds=10)
        database.init()
        yard = Yard(folder, database, keep_in_bin=0)
        (unit,) = yard.apply(*yard.plan(folder / "s1" / "alpha"))
        print(unit.state, unit.reason)
        database.close()
    """
    tests = Path(__file__).parents[2]
    assert children.run(code, tmp_path, tests, within=children.REFUSABLE) == "deleted None\n"
    assert list((tmp_path / "s1" / ".lurge-bin").iterdir()) == []


def test_a_unit_that_stays_does_not_stop_the_run_that_keeps_nothing(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    for name in ("alpha", "beta"):
        make_tree(yard.mount / name)

    class Spoiling:
        def __getattr__(self, name: str) -> Any:
            return getattr(yard.told, name)

        def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
            if event == "binned" and unit and unit.number == 1 and not facts["reason"]:
                (yard.target / "data" / str(yard.mount)[1:] / "alpha" / "a").unlink()

    works = yard.plan(yard.mount / "alpha", yard.mount / "beta")
    alpha, beta = yard.apply(*works, watch=Spoiling())
    assert alpha.state == "binned"
    assert "a (data/" in (alpha.reason or "")
    assert "no object" in (alpha.reason or "")
    assert beta.state == "deleted"


def flipped(file: Path) -> None:
    """Another byte, with the times of before."""
    found = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"X")
    os.utime(file, ns=(found.st_atime_ns, found.st_mtime_ns))


def linked(tree: Path) -> None:
    """A link in the place of a directory, to what it was."""
    tree.rename(tree.parents[3] / "moved")
    tree.symlink_to(tree.parents[3] / "moved")


IN_BIN: dict[str, tuple[Callable[[Path], object], str]] = {
    "added": (lambda tree: (tree / "deep" / "new").touch(), "deep/new: unknown"),
    "a directory added": (lambda tree: (tree / "new").mkdir(), "new: unknown"),
    "appended": (lambda tree: (tree / "a").write_bytes(b"some bytes more"), "a: different"),
    "flipped": (lambda tree: flipped(tree / "a"), "a: different"),
    "touched": (lambda tree: os.utime(tree / "deep" / "er" / "b"), "deep/er/b: different"),
    "removed": (lambda tree: (tree / "link").unlink(), "link: missing"),
    "all of it": (shutil.rmtree, "tree"),
    "its folder": (lambda tree: shutil.rmtree(tree.parents[1]), "No such file"),
    "the manifest": (lambda tree: (tree.parents[1] / "manifest.gz").unlink(), "manifest.gz"),
    "half a manifest": (
        lambda tree: os.truncate(tree.parents[1] / "manifest.gz", 300),
        "manifest",
    ),
    "a word beside it": (lambda tree: (tree.parents[1] / "keep this").touch(), "keep this"),
    "a link for it": (linked, "is a link"),
}


@pytest.mark.parametrize("kind", ["directory", "files", "discard"])
@pytest.mark.parametrize("change", IN_BIN)
def test_what_has_changed_in_the_bin_stays(yard: Yard, kind: str, change: str) -> None:
    unit = bin_of(yard, kind)
    make_due(yard, unit)
    act, why = IN_BIN[change]
    act(place(unit) / "tree")
    there = entries_below(yard.mount)
    (purged,) = purge(yard)
    assert purged.became == "stays"
    assert why in (purged.reason or "")
    assert entries_below(yard.mount) == there
    (again,) = purge(yard)
    assert (again.unit.state, again.unit.moves) == ("binned", purged.unit.moves)


def test_a_manifest_in_the_bin_that_tells_of_more_than_was_copied_is_not_believed(
    yard: Yard,
) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    (place(unit) / "tree" / "new").touch()
    with held(yard, unit) as step, opened(bytes(place(unit) / "tree")) as tree:
        manifest = place(unit).parent / "manifest.gz"
        manifests.write(manifest, step.header(None, step.order()), trees.entries(tree))
    (purged,) = purge(yard)
    assert purged.became == "stays"
    assert "the bin has not what is in the copy" in (purged.reason or "")
    assert (place(unit) / "tree" / "a").exists()


def test_why_something_was_left_in_the_bin_is_not_forgotten(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    (yard.mount / "alpha").mkdir()
    (place(unit).parent / "manifest.gz").unlink()  # as where it was not compared to the end
    why = "a: different (mtime_ns); its place is taken by now"
    with held(yard, unit) as step:
        unit = step.moved("binned", reason=why).unit
    (purged,) = purge(yard)
    assert (purged.became, purged.reason, purged.unit.moves) == ("stays", why, unit.moves)


def object_of(yard: Yard, unit: UnitNow, path: str = "a") -> Path:
    return yard.target / "data" / os.fsdecode(unit.root)[1:] / path


def lose_object(yard: Yard, unit: UnitNow) -> None:
    object_of(yard, unit, "deep/er/b").unlink()


def truncate_object(yard: Yard, unit: UnitNow) -> None:
    os.truncate(object_of(yard, unit), 3)


def change_manifest(yard: Yard, unit: UnitNow) -> None:
    flipped(yard.target / "manifests" / f"{unit.name}.jsonl.gz")


def change_object(yard: Yard, unit: UnitNow) -> None:
    flipped(object_of(yard, unit))


def lose_manifest(yard: Yard, unit: UnitNow) -> None:
    (yard.target / "manifests" / f"{unit.name}.jsonl.gz").unlink()


def lose_all(yard: Yard, unit: UnitNow) -> None:
    for each in yard.target.iterdir():
        shutil.rmtree(each)


@pytest.mark.parametrize(
    "lose", [lose_object, truncate_object, change_object, change_manifest, lose_manifest, lose_all]
)
@pytest.mark.parametrize("state", ["binned", "deleting"])
@pytest.mark.parametrize("keeps", [True, False])
def test_what_has_no_whole_copy_stays(
    yard: Yard, lose: Callable[[Yard, UnitNow], None], state: str, *, keeps: bool
) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    if state == "deleting":
        with held(yard, unit) as step:
            step.moved("deleting")
    if not keeps:
        run = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
        shutil.rmtree(runfiles.folder_of(run.file))
    lose(yard, unit)
    there = entries_below(place(unit))
    (purged,) = purge(yard)
    assert (purged.became, purged.unit.state) == ("stays", state)
    assert entries_below(place(unit)) == there


def test_a_run_whose_folder_is_lost_is_purged_by_its_manifests_at_the_target(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    shutil.rmtree(yard.folder / "runs")
    (purged,) = purge(yard)
    assert (purged.became, purged.reason) == ("deleted", None)


class Read(Posix):
    """A target that notes which objects' bytes are read."""

    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.keys: set[str] = set()

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        self.keys.add(key)
        return super().get(key, start, size)


def read_of(yard: Yard) -> set[str]:
    """Of which objects a purge that deletes all has read bytes back, by their names."""
    target = Read(yard.config.archive.target[0])
    (purged,) = purge(yard, target=lambda _: target)
    assert (purged.became, purged.reason) == ("deleted", None)
    return {Path(key).name for key in target.keys if not key.startswith("manifests/")}


def test_what_nobody_has_touched_since_it_was_verified_is_not_read_again(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    assert read_of(yard) == set()


@pytest.mark.parametrize(
    "touch",
    [
        lambda file: file.chmod(0o644),
        lambda file: os.link(file, file.with_name("another name")),
        lambda file: Path(shutil.copy2(file, f"{file}.new")).rename(file),
    ],
    ids=["mode", "link", "copy"],
)
def test_an_object_that_was_touched_is_read_back_and_may_be_whole(
    yard: Yard, touch: Callable[[Path], object]
) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    touch(object_of(yard, unit))
    assert read_of(yard) == {"a"}


@pytest.mark.parametrize("loss", ["gone", "short", "of another manifest"])
def test_where_nobody_knows_what_was_verified_all_is_read_back(yard: Yard, loss: str) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    (marks,) = (yard.folder / "runs").rglob("*.marks")
    match loss:
        case "gone":
            marks.unlink()
        case "short":
            os.truncate(marks, 40)
        case _:
            flipped(marks)
    assert read_of(yard) == {"a", "b", "caf%E9%0A", "deep.er"}


def test_a_byte_that_was_changed_in_a_pack_keeps_the_unit(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, layout="packs")
    unit = bin_of(yard)
    make_due(yard, unit)
    (pack,) = (path for path in (yard.target / "packs").rglob("*") if path.is_file())
    flipped(pack)
    (purged,) = purge(yard)
    assert purged.became == "stays"
    assert "other bytes than were sent" in (purged.reason or "")


def test_with_two_copies_one_that_is_lost_keeps_the_unit(
    tmp_path: Path, database: Database
) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    yard = Yard(tmp_path, database, target=targets, copies=2)
    unit = bin_of(yard)
    make_due(yard, unit)
    (tmp_path / "other" / "data" / os.fsdecode(unit.root)[1:] / "a").unlink()
    (purged,) = purge(yard)
    assert purged.became == "stays"
    assert f"its copy at {targets[1]} is not whole" in (purged.reason or "")


class Dying(Claim):
    """A claim that is lost when it was asked so often: as if its holder were killed then."""

    def __init__(self, claim: Claim, checks: int) -> None:
        self.lease = claim.lease
        self._checks = checks

    def check(self) -> None:
        self._checks -= 1
        if self._checks < 0:
            raise LeaseLost("killed")


@pytest.mark.parametrize("kind", ["directory", "files", "discard"])
def test_a_deletion_that_was_killed_goes_on_wherever_that_was(yard: Yard, kind: str) -> None:
    checks, done = 0, False
    while not done:
        root = yard.mount / "alpha"
        if root.exists():
            shutil.rmtree(root)
        unit = bin_of(yard, kind)
        make_due(yard, unit)
        try:
            with held(yard, unit) as step:
                purging.purge(
                    Step(step.works, step.run, step.unit, None, Dying(step.claim, checks))
                )
            done = True
        except LeaseLost:
            (purged,) = purge(yard)
            assert (purged.became, purged.reason) == ("deleted", None), checks
        assert list((yard.mount / ".lurge-bin").iterdir()) == []
        checks += 1
    assert checks > 5


class Acting(Claim):
    """A claim of somebody who, when it is asked, sleeps while something is done, or is killed."""

    def __init__(self, claim: Claim, act: Callable[[], object]) -> None:
        self.lease = claim.lease
        self._act = act

    def check(self) -> None:
        self._act()


def purge_until(yard: Yard, unit: UnitNow, is_so: Callable[[], bool]) -> None:
    """A purge that is killed as soon as something is so."""

    def die() -> None:
        if is_so():
            raise LeaseLost("killed")

    with held(yard, unit) as step, pytest.raises(LeaseLost, match="killed"):
        purging.purge(replace(step, claim=Acting(step.claim, die)))


@pytest.mark.parametrize("kind", ["directory", "discard"])
def test_who_sleeps_in_a_restore_takes_nothing_out_of_a_deletion(yard: Yard, kind: str) -> None:
    root = yard.mount / "alpha"
    unit = bin_of(yard, kind)
    make_due(yard, unit)

    def purge_some() -> None:
        folder = place(unit).parent
        purge_until(yard, unit, lambda: not list(folder.glob("*/tree/a")))

    with held(yard, unit) as step, opened(bytes(root.parent)) as parent:
        asleep = replace(step, claim=Acting(step.claim, purge_some))
        with pytest.raises(FileNotFoundError):
            binning.take_out(asleep, binning.located(step.unit), parent)
    assert not root.exists()
    (purged,) = purge(yard)
    assert (purged.became, purged.reason) == ("deleted", None)


@pytest.mark.parametrize("kind", ["directory", "files", "discard"])
def test_what_a_purge_that_was_killed_had_only_renamed_can_be_restored(
    yard: Yard, kind: str
) -> None:
    unit = bin_of(yard, kind)
    make_due(yard, unit)
    purge_until(yard, unit, lambda: not binning.place_of(unit).is_filled())
    findings = list(checking.check(yard.works(), checking.begin()))
    assert [each for each in findings if each.kind != "tombstone"] == []
    tell = Told().waiting
    seen = evidence.in_bin([bytes(yard.mount / ".lurge-bin")], unit.name, unit.kind, tell)
    assert seen is not None
    assert (seen.whole, seen.lacks) == (True, ())
    works = yard.works()
    (made,) = restoring.restore(works, restoring.find(works, unit.name))
    assert (made.how, made.failure, made.remarks) == ("bin", None, ())
    assert (yard.mount / "alpha" / "deep" / "er" / "b").read_bytes() == b"more"
    assert list((yard.mount / ".lurge-bin").iterdir()) == []


def test_what_was_added_to_a_unit_that_is_half_deleted_stays(yard: Yard) -> None:
    unit = bin_of(yard)
    with held(yard, unit) as step:
        step.moved("deleting")
    tree = place(unit) / "tree"
    (tree / "a").unlink()
    (tree / "deep" / "new").touch()
    there = entries_below(place(unit))
    (purged,) = purge(yard)
    assert (purged.became, purged.unit.state) == ("stays", "deleting")
    assert "deep/new: unknown" in (purged.reason or "")
    assert entries_below(place(unit)) == there
    (tree / "deep" / "new").unlink()
    (purged,) = purge(yard)
    assert purged.became == "deleted"


def test_an_empty_bin_is_not_believed_unless_its_mount_is_the_one_that_was_planned_on(
    yard: Yard,
) -> None:
    unit = bin_of(yard)
    with held(yard, unit) as step:
        step.moved("deleting")
    aside = yard.folder / "aside"
    yard.mount.rename(aside)
    (purged,) = purge(yard)
    assert (purged.became, purged.unit.state) == ("stays", "deleting")
    assert "may not be mounted" in (purged.reason or "")
    yard.mount.mkdir()
    (purged,) = purge(yard)
    assert (purged.became, purged.unit.state) == ("stays", "deleting")
    (yard.mount / ".lurge-bin").mkdir()
    shutil.rmtree(yard.folder / "runs")
    (purged,) = purge(yard)
    assert (purged.became, purged.unit.state) == ("stays", "deleting")
    (purged,) = purge(yard, "mount")
    assert purged.became == "deleted"


def test_a_target_on_another_filesystem_than_was_planned_on_stops_a_purge(
    tmp_path: Path, database: Database
) -> None:
    guards = {"max_share": 1.0, "min_free": 0, "marker": "marker"}
    yard = Yard(tmp_path, database, guards=guards)
    for each in yard.mount, yard.target:
        (each / "marker").write_text("as planned")
    make_due(yard, bin_of(yard))
    (yard.target / "marker").write_text("another")
    (purged,) = purge(yard)
    assert (purged.became, "another filesystem" in (purged.reason or "")) == ("stays", True)
    (purged,) = purge(yard, "mount")
    assert purged.became == "deleted"


def test_a_folder_that_somebody_has_removed_from_the_bin_is_believed_on_the_known_mount(
    yard: Yard,
) -> None:
    unit = bin_of(yard)
    with held(yard, unit) as step:
        step.moved("deleting")
    shutil.rmtree(place(unit).parent)
    (purged,) = purge(yard)
    assert (purged.became, purged.reason) == ("deleted", None)


def test_what_another_works_on_is_left_to_it(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    with held(yard, unit):
        (purged,) = purge(yard)
    assert purged.became == "held"
    assert place(unit).exists()


def test_of_two_purges_the_slower_leaves_to_the_other_what_that_has_done(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    slower = emptying.purge(yard.works(holder="slower"))
    (seen,) = emptying.due(yard.works())
    (purged,) = purge(yard)
    assert purged.became == "deleted"
    run = yard.database.read(partial(ledger.run_of, prefix=unit.content_id))
    late, failed = emptying._purged(yard.works(holder="slower"), run, seen, ())
    assert (late.became, late.reason) == ("gone", "another was quicker: it is deleted")
    assert not failed
    assert list(slower) == []
    assert emptying.summary([late]) == "0 units, 0 B; 0 stay; 1 left to another"


def test_what_is_kept_longer_meanwhile_stays(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    (due,) = emptying.due(yard.works())
    longer = Binned(unit.bin or b"", now(), now() + timedelta(days=1))
    with held(yard, due) as step:
        step.moved("binned", binned=longer)
    with held(yard, due) as step:
        purged, _ = emptying._tried(step.works, step.run, step.unit, step.claim, allow=())
    assert (purged.became, purged.reason) == ("gone", "it is binned, and not due")


class Away(Posix):
    """A target whose network is gone."""

    def stat(self, key: str) -> Stored | None:
        raise TargetTrouble(f"{self.url}: {key}: away")


def test_targets_that_do_not_answer_end_a_purge(tmp_path: Path, database: Database) -> None:
    guards = {"max_share": 1.0, "min_free": 0, "max_failures": 2}
    yard = Yard(tmp_path, database, guards=guards)
    for name in ("one", "two", "three"):
        make_tree(yard.mount / name)
    units = yard.apply(*yard.plan(*(yard.mount / name for name in ("one", "two", "three"))))
    for unit in units:
        make_due(yard, unit)
    away: Callable[[str], Target] = Away
    purging_ = emptying.purge(yard.works(target=away))
    assert [next(purging_).became, next(purging_).became] == ["stays", "stays"]
    with pytest.raises(GuardTripped, match="--allow failures"):
        next(purging_)
    assert [each.became for each in purge(yard)] == ["deleted"] * 3


def test_a_unit_whose_manifest_there_is_no_room_for_does_not_keep_the_others(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database)
    with small_disk(tmp_path / "runs", 1 << 20):
        for name in ("one", "two"):
            make_tree(yard.mount / name)
        units = yard.apply(*yard.plan(yard.mount / "one", yard.mount / "two"))
        for unit in units:
            make_due(yard, unit)
        (manifest,) = (tmp_path / "runs").glob("*/000001/copy0.manifest.gz")
        manifest.unlink()
        fill(tmp_path / "runs")
        one, two = purge(yard)
        assert (one.became, two.became) == ("stays", "deleted")
        assert "No space left on device: make room there" in (one.reason or "")
        (tmp_path / "runs" / "filler").unlink()
        assert [each.became for each in purge(yard)] == ["deleted"]


def test_what_is_left_in_the_bin_of_a_unit_that_is_deleted_is_told(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    left = place(unit).parent / ".origin.json.01234567"
    left.mkdir()
    (purged,) = purge(yard)
    assert (purged.became, purged.reason) == ("deleted", None)
    assert "left_over" in {event for event, *_ in yard.told.events}
    assert emptying.summary([purged]) == "1 unit, 28 B; 0 stay"
    left.rmdir()
    assert purge(yard) == []
    assert list((yard.mount / ".lurge-bin").iterdir()) == []


def test_what_became_of_units_is_told(yard: Yard) -> None:
    unit = bin_of(yard)
    make_due(yard, unit)
    found = list(emptying.purge(yard.works(), dry_run=True))
    assert emptying.as_table(found, dry_run=True).row_count == 1
    assert emptying.summary(found) == "1 unit, 28 B; 0 stay"
    told = json.loads(emptying.as_json(found[0]))
    assert (told["unit"], told["became"], told["size_bytes"]) == (unit.name, "due", 28)
