"""A run brings its units from their places into the bin, by way of verified copies."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import readable
from archiving import Yard
from servers.disks import bind, unmounted_after

from db import ledger
from db.database import Database
from lurge.archiver import binning, tombstones
from lurge.archiver.guards import GuardTripped
from lurge_types.archive import Binned, Course, Proposal, Run, UnitNow
from utils import manifests


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_tree(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "er" / "b").write_bytes(os.urandom(3_000_000))
    (root / "none").touch()
    (root / "link").symlink_to("deep/er/b")
    os.link(root / "a", root / "deep" / "other name")


def content(root: Path) -> dict[str, bytes | None]:
    """All that is in a tree: what its files hold, None for all else."""
    return {
        str(path.relative_to(root)): path.read_bytes()
        if path.is_file() and not path.is_symlink()
        else None
        for path in sorted(root.rglob("*"))
    }


def tree_of(unit: UnitNow) -> Path:
    return Path(os.fsdecode(unit.bin or b"")) / "tree"


def test_a_unit_is_copied_verified_and_binned(yard: Yard) -> None:
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    assert not run.tripped
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    assert not root.exists()
    assert (tree_of(unit) / "a").read_bytes() == b"some bytes"
    data = yard.target / "data" / str(root)[1:]
    assert (data / "a").read_bytes() == b"some bytes"
    assert yard.apply(file, run) == [unit]


@pytest.mark.parametrize("layout", ["tree", "packs"])
@pytest.mark.parametrize("copies", [1, 2])
def test_what_a_target_has_is_what_was_there(
    tmp_path: Path, database: Database, layout: str, copies: int
) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    (tmp_path / "other").mkdir()
    yard = Yard(
        tmp_path, database, layout=layout, target=targets, copies=copies, segment_size=5 << 20
    )
    root = yard.mount / "alpha"
    make_tree(root)
    (root / "deep" / "large").write_bytes(os.urandom(12_000_000))
    (root / "zero").mkdir()
    for number in range(200):
        (root / "zero" / str(number)).write_bytes(b"%d" % number * number)
    there = content(root)
    file, run = yard.plan(root)
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    for target, folder in zip(targets[:copies], (yard.target, tmp_path / "other"), strict=False):
        (manifest,) = (folder / "manifests").iterdir()
        with manifest.open("rb") as opened:
            header, entries = manifests.read(opened)
            found = list(entries)
        assert (header.target, header.root) == (target, bytes(root))
        for entry in found:
            if entry.has_bytes:
                with (folder / str(entry.key)).open("rb") as stored:
                    stored.seek(entry.offset)
                    size = entry.fingerprint.size
                    assert stored.read(size) == there[os.fsdecode(entry.path)]
    if layout == "packs":
        packs = [path for path in (yard.target / "packs").rglob("*") if path.is_file()]
        assert 0 < len(packs) < 10


def swap(path: Path, link: str) -> None:
    """Put a link in the place of something, which is moved beside the unit."""
    path.rename(path.parents[1] / "moved")
    path.symlink_to(link)


def file_for_directory(path: Path) -> None:
    path.rmdir()
    path.touch()


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended": lambda root: (root / "a").write_bytes(b"some bytes more"),
    "touched": lambda root: os.utime(root / "a", (1, 1)),
    "truncated": lambda root: (root / "a").write_bytes(b""),
    "removed": lambda root: (root / "a").unlink(),
    "added": lambda root: (root / "deep" / "new").touch(),
    "renamed": lambda root: (root / "none").rename(root / "deep" / "none"),
    "linked elsewhere": lambda root: os.link(root / "a", root.parent / "elsewhere"),
    "mode": lambda root: (root / "a").chmod(0o600),
    "a link for a file": lambda root: swap(root / "none", "a"),
    "a link for a directory": lambda root: swap(root / "deep", "../moved"),
    "a file for a directory": lambda root: file_for_directory(root / "empty"),
    "all of it": shutil.rmtree,
    "a link for all of it": lambda root: swap(root, "../moved"),
}


class At:
    """Does something when an event is told of."""

    def __init__(self, told: Any, event: str, act: Callable[[], object]) -> None:
        self._told, self._event, self._act = told, event, act

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        self._told.event(event, unit, **facts)
        if event == self._event:
            self._event = ""
            self._act()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._told, name)


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("stage", ["claimed", "copied", "verified"])
def test_what_changes_meanwhile_stays_in_its_place(yard: Yard, change: str, stage: str) -> None:
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    seen: list[dict[str, bytes | None]] = []

    def act() -> None:
        CHANGES[change](root)
        seen.append(content(yard.mount))

    for _ in range(2):
        (unit,) = yard.apply(file, run, watch=At(yard.told, stage, act))
        assert unit.state == "dirty", unit
        assert in_place(yard) == seen[0] | in_place(yard, only_folders=True)
    assert len(seen) == 1


def in_place(yard: Yard, *, only_folders: bool = False) -> dict[str, bytes | None]:
    """What is in a volume, the bin with it; or of the bin only the folders."""
    return {
        path: what
        for path, what in content(yard.mount).items()
        if not only_folders or (path.startswith(".lurge-bin") and what is None)
    }


def test_a_plan_whose_units_have_changed_is_stale(yard: Yard) -> None:
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    (root / "new").touch()
    with pytest.raises(GuardTripped, match="--allow stale"):
        yard.apply(file, run)
    (unit,) = yard.apply(file, run, "stale")
    assert unit.state == "dirty"


@pytest.mark.parametrize("tombstone", [False, True])
def test_a_unit_that_has_gone_within_another_is_dirty(
    tmp_path: Path, database: Database, tombstone: bool
) -> None:
    yard = Yard(tmp_path, database, tombstone=tombstone)
    root = yard.mount / "alpha"
    make_tree(root)
    outer, inner = yard.apply(*yard.plan(root, root / "deep" / "er"))
    assert (outer.state, inner.state) == ("binned", "dirty"), inner.reason


class Killed(BaseException):
    """Whoever applies a run has gone."""


def killed(yard: Yard, file: Path, run: Run, stage: str) -> Path:
    """Apply a run until its unit comes to a stage: the folder that it would get in the bin then."""

    def die() -> None:
        raise Killed

    with pytest.raises(Killed):
        yard.apply(file, run, watch=At(yard.told, stage, die))
    return yard.mount / ".lurge-bin" / run.unit_name(run.units[0]) / "1"


@pytest.mark.parametrize("tombstone", [False, True])
@pytest.mark.parametrize("above", ["gone", "a file", "a link"])
def test_what_was_put_into_the_bin_needs_nothing_in_its_place(
    tmp_path: Path, database: Database, tombstone: bool, above: str
) -> None:
    yard = Yard(tmp_path, database, tombstone=tombstone)
    root = yard.mount / "alpha" / "beta"
    make_tree(root)
    file, run = yard.plan(root)
    place = killed(yard, file, run, "verified")
    place.mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    root.rename(place / "tree")
    if above == "a link":
        swap(root.parent, "../moved")
    else:
        root.parent.rmdir()
    if above == "a file":
        root.parent.touch()
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    assert (tree_of(unit) / "a").read_bytes() == b"some bytes"


@pytest.mark.parametrize("course", ["archive", "discard"])
def test_what_lay_in_a_directory_that_has_gone_is_dirty(yard: Yard, course: Course) -> None:
    root = yard.mount / "alpha" / "beta"
    make_tree(root)
    file, run = yard.plan(root, course=course)
    shutil.rmtree(root.parent)
    (unit,) = yard.apply(file, run, "stale")
    assert unit.state == "dirty", unit


@pytest.mark.parametrize("stage", ["claimed", "verified"])
def test_what_has_changed_and_no_place_waits_in_the_bin(yard: Yard, stage: str) -> None:
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    place = killed(yard, file, run, stage)
    place.mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    root.rename(place / "tree")
    (place / "tree" / "a").write_bytes(b"written by who had it open")
    root.mkdir()
    (unit,) = yard.apply(file, run)
    assert unit.state == {"claimed": "failed", "verified": "binned"}[stage]
    assert "its place is taken by now" in (unit.reason or "")
    root.rmdir()
    (unit,) = yard.apply(file, run)
    if stage == "claimed":
        assert unit.state == "dirty"
        assert (root / "a").read_bytes() == b"written by who had it open"


@pytest.mark.parametrize("stage", ["claimed", "verified"])
def test_what_cannot_be_taken_back_is_one_units_failure(yard: Yard, stage: str) -> None:
    root, other = yard.mount / "above" / "alpha", yard.mount / "beta"
    make_tree(root)
    make_tree(other)
    file, run = yard.plan(root, other)
    place = killed(yard, file, run, stage)
    place.mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    root.rename(place / "tree")
    (place / "tree" / "a").write_bytes(b"written by who had it open")
    swap(root.parent, "../moved")
    alpha, beta = yard.apply(file, run)
    assert (alpha.state, beta.state) == ("failed", "binned")
    assert f"it is in {place / 'tree'}: " in (alpha.reason or "")
    assert "is a link" in (alpha.reason or "")
    root.parent.unlink()
    root.parent.mkdir()
    alpha, _ = yard.apply(file, run)
    assert alpha.state == "dirty", alpha.reason
    assert (root / "a").read_bytes() == b"written by who had it open"


def test_the_word_in_its_place_makes_way_for_what_is_taken_back(
    tmp_path: Path, database: Database
) -> None:
    """Its worker was killed before the ledger knew that it is in the bin."""
    yard = Yard(tmp_path, database, tombstone=True)
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    place = killed(yard, file, run, "verified")
    place.mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    root.rename(place / "tree")
    (place / "tree" / "a").write_bytes(b"written by who had it open")
    (unit,) = yard.database.read(ledger.units)
    tombstones.leave(unit, Binned(bytes(place), unit.updated, unit.updated))
    (unit,) = yard.apply(file, run)
    assert unit.state == "dirty", unit.reason
    assert (root / "a").read_bytes() == b"written by who had it open"


FILES_GONE: dict[str, Callable[[Path], object]] = {
    "one of them": lambda root: (root / "deep" / "b").unlink(),
    "a directory of theirs": lambda root: shutil.rmtree(root / "deep"),
    "changed": lambda root: (root / "deep" / "b").write_bytes(b"more"),
}


@pytest.mark.parametrize("change", FILES_GONE)
def test_files_of_which_not_all_are_there_come_back_out_of_the_bin(yard: Yard, change: str) -> None:
    root = yard.mount / "alpha"
    (root / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"a")
    (root / "deep" / "b").write_bytes(b"b")
    file, run = yard.plan_of([Proposal(bytes(root), "files", (b"a", b"deep/b"))])
    place = killed(yard, file, run, "verified")
    (place / "tree").mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    (root / "a").rename(place / "tree" / "a")
    FILES_GONE[change](root)
    (unit,) = yard.apply(file, run)
    assert unit.state == "dirty", unit
    assert (root / "a").read_bytes() == b"a"
    assert not list((yard.mount / ".lurge-bin").iterdir())


def test_a_new_file_in_the_place_of_one_in_the_bin_is_left_alone(yard: Yard) -> None:
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "ab":
        (root / name).write_text(name)
    file, run = yard.plan_of([Proposal(bytes(root), "files", (b"a", b"b"))])
    place = killed(yard, file, run, "verified")
    (place / "tree").mkdir(0o700, parents=True)
    (yard.mount / ".lurge-bin").chmod(0o700)
    (root / "a").rename(place / "tree" / "a")
    (root / "a").write_bytes(b"new")
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    assert {path.name: path.read_bytes() for path in root.iterdir()} == {"a": b"new"}
    assert (tree_of(unit) / "a").read_bytes() == b"a"


LOSSES: dict[str, Callable[[Path], object]] = {
    "gone": Path.unlink,
    "empty": lambda object_: object_.write_bytes(b""),
    "shorter": lambda object_: object_.write_bytes(b"some byte"),
    "other bytes": lambda object_: object_.write_bytes(b"SOME BYTES"),
}


@pytest.mark.parametrize("verify", ["read-back", "digest"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_copy_that_was_lost_before_it_is_verified_is_sent_again(
    tmp_path: Path, database: Database, loss: str, verify: str
) -> None:
    yard = Yard(tmp_path, database, verify=verify)
    root = yard.mount / "alpha"
    make_tree(root)

    def lose() -> None:
        LOSSES[loss](yard.target / "data" / str(root)[1:] / "a")

    (unit,) = yard.apply(*yard.plan(root), watch=At(yard.told, "copied", lose))
    assert unit.state == "binned", unit.reason
    assert readable.hashed(b"some bytes") in readable.at_target(bytes(yard.target))


@pytest.mark.parametrize("when", ["planned", "applied", "renamed", "compared"])
def test_what_is_mounted_in_a_unit_stays(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """Though it is of the same filesystem, and whenever it was mounted."""
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root, other = yard.mount / "alpha", tmp_path / "other"
    for each in (root / "m", other):
        each.mkdir(parents=True)
        (each / "a").write_bytes(b"some bytes")
    compare, fill = binning._compare, binning._filled

    def compared(step: Any, place: Any) -> None:
        bind(other, Path(os.fsdecode(place.tree), "m"))
        compare(step, place)

    def filled(*facts: Any) -> Any:
        bind(other, root / "m")
        return fill(*facts)

    with unmounted_after(root / "m"):
        if when == "planned":
            bind(other, root / "m")
        file, run = yard.plan(root)
        if when == "applied":
            bind(other, root / "m")
        elif when == "renamed":
            monkeypatch.setattr(binning, "_filled", filled)
        elif when == "compared":
            monkeypatch.setattr(binning, "_compare", compared)
        units = yard.apply(file, run)
    if when == "planned":
        assert [each.reason.partition(":")[0] for each in run.skipped] == ["m is a mount"]
    else:
        assert [each.state for each in units] == ["dirty"]
    assert (root / "m" / "a").read_bytes() == (other / "a").read_bytes() == b"some bytes"


def test_a_mount_that_a_person_has_allowed_is_allowed_until_all_is_deleted(
    tmp_path: Path, database: Database
) -> None:
    guards = {"max_share": 1.0, "min_free": 0, "marker": "marker"}
    yard = Yard(tmp_path, database, keep_in_bin=0, guards=guards)
    root = yard.mount / "alpha"
    make_tree(root)
    for place in yard.mount, yard.target:
        (place / "marker").write_text("as planned")
    file, run = yard.plan(root)
    (yard.target / "marker").write_text("another")
    with pytest.raises(GuardTripped, match="--allow mount"):
        yard.apply(file, run)
    (unit,) = yard.apply(file, run, "mount")
    assert (unit.state, unit.reason) == ("deleted", None)
