"""What was archived comes back as it was: from the bin, from a copy, whole or in part."""

import os
import resource
import shutil
import signal
import subprocess
from functools import partial
from pathlib import Path

import oddities
import pytest
from archiving import Told, Yard

from db import copies, leases, ledger
from db.database import Database
from lurge.archiver import checking, restoring, showing, tombstones
from lurge.archiver.handles import opened
from lurge.archiver.remade import RestoreRefused
from lurge.archiver.restoring import Restored
from lurge_types.archive import Binned, Course, Proposal, UnitNow
from utils import trees


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database, segment_size=5 << 20)


def archived(yard: Yard, root: Path) -> UnitNow:
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "binned", unit.reason
    return unit


def restore(yard: Yard, what: object, to: Path | None = None, **options: bool) -> list[Restored]:
    works = yard.works()
    found = restoring.find(works, str(what))
    return list(restoring.restore(works, found, bytes(to) if to else None, **options))


def differences(one: Path, other: Path) -> str:
    """What an independent tool finds to be different, by all facts and bytes."""
    command = ["rsync", "-aHAXnc", "--delete", "--itemize-changes", f"{one}/", f"{other}/"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_a_unit_comes_back_out_of_the_bin(yard: Yard) -> None:
    root, twin = yard.mount / "alpha", yard.folder / "twin"
    for each in (root, twin):
        oddities.make(each, 200)
    inode = root.stat().st_ino
    archived(yard, root)
    (made,) = restore(yard, root)
    assert (made.failure, made.how) == (None, "bin")
    assert root.stat().st_ino == inode
    assert differences(twin, root) == ""
    assert not list((yard.mount / ".lurge-bin").iterdir())


@pytest.mark.parametrize("layout", ["tree", "packs"])
def test_a_unit_is_made_again_from_its_copy(
    tmp_path: Path, database: Database, layout: str
) -> None:
    yard = Yard(tmp_path, database, layout=layout, segment_size=5 << 20, keep_in_bin=0)
    root, twin = yard.mount / "alpha", yard.folder / "twin"
    for each in (root, twin):
        oddities.make(each, 500)
        (each / "large").write_bytes(bytes(range(256)) * 50_000)
        os.utime(each / "large", (1, 2))
        os.utime(each, (3, 4))
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason
    assert not root.exists()
    (made,) = restore(yard, root)
    assert made.failure is None
    assert made.remarks == ()
    assert differences(twin, root) == ""
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason


def test_a_part_of_a_unit_is_made_again_beside_it(yard: Yard, tmp_path: Path) -> None:
    root, there, twin = yard.mount / "alpha", tmp_path / "there", tmp_path / "twin"
    there.mkdir()
    for each in (root, twin):
        (each / "one").mkdir(parents=True)
        (each / "two").mkdir()
        (each / "one" / "first").write_bytes(b"linked")
        os.link(each / "one" / "first", each / "two" / "second")
        os.link(each / "one" / "first", each / "two" / "third")
        (each / "two" / "b").write_bytes(b"b")
        os.utime(each / "two" / "b", ns=(5, 6))
        os.utime(each / "one" / "first", ns=(7, 8))
        os.utime(each / "two", ns=(9, 10))
    archived(yard, root)
    for what in ("two", "one/first"):
        (made,) = restore(yard, root / what, there)
        assert made.failure is None
    assert differences(twin / "two", there / "two") == ""
    assert (there / "two" / "second").stat().st_ino == (there / "two" / "third").stat().st_ino
    assert (there / "first").read_bytes() == b"linked"
    assert (there / "first").stat().st_mtime_ns == 8
    (made,) = restore(yard, root / "two", there)
    assert "is there already" in (made.failure or "")
    (there / "two" / "b").write_bytes(b"changed")
    (there / "two" / "more").touch()
    (made,) = restore(yard, root / "two", there, overwrite=True)
    assert made.failure is None
    (there / "two" / "more").unlink()
    os.utime(there / "two", ns=(9, 10))
    assert differences(twin / "two", there / "two") == ""
    with pytest.raises(RestoreRefused, match="nothing of it"):
        restore(yard, root.with_name("beta"))


def test_what_took_its_place_is_not_replaced(yard: Yard) -> None:
    root = yard.mount / "alpha"
    oddities.make(root, 20)
    unit = archived(yard, root)
    root.mkdir()
    (root / "new").write_bytes(b"work")
    (made,) = restore(yard, root)
    assert f"{root} is there already: move it away" in (made.failure or "")
    assert [path.name for path in root.iterdir()] == ["new"]
    shutil.rmtree(root)
    (made,) = restore(yard, unit.name)
    assert made.failure is None


def test_a_copy_that_is_not_whole_is_not_given_for_one(tmp_path: Path, database: Database) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    yard = Yard(tmp_path, database, target=targets, copies=2, keep_in_bin=0)
    root = yard.mount / "alpha"
    root.mkdir()
    (root / "a").write_bytes(b"whole")
    assert yard.apply(*yard.plan(root))[0].state == "deleted"
    for folder in (tmp_path / "target", tmp_path / "other"):
        assert not root.exists()
        (data,) = folder.glob("data/**/a")
        kept = data.read_bytes()
        data.write_bytes(b"wrong")
        (made,) = restore(yard, root, tmp_path)
        if folder.name == "target":
            assert (made.failure, made.how) == (None, targets[1])
            assert (tmp_path / "alpha" / "a").read_bytes() == kept
            shutil.rmtree(tmp_path / "alpha")
        else:
            assert "SHA-256" in (made.failure or "")
            assert not (tmp_path / "alpha").exists()


def test_a_word_is_left_in_its_place_and_makes_way(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, tombstone=True)
    root = yard.mount / "alpha"
    oddities.make(root, 20)
    unit = archived(yard, root)
    words = root.read_text()
    assert unit.name in words
    assert f"lurge archive restore '{root}'" in words
    (made,) = restore(yard, root)
    assert made.failure is None
    assert root.is_dir()


def test_a_restore_that_was_killed_after_the_rename_is_known_to_be_done(yard: Yard) -> None:
    root = yard.mount / "alpha"
    oddities.make(root, 20)
    unit = archived(yard, root)
    Path(os.fsdecode(unit.bin or b""), "tree").rename(root)
    (made,) = restore(yard, root)
    assert (made.failure, made.how) == (None, "bin")
    assert not list((yard.mount / ".lurge-bin").iterdir())


def test_what_nobody_has_put_into_the_bin_does_not_hinder_a_restore(yard: Yard) -> None:
    root = yard.mount / "alpha"
    oddities.make(root, 20)
    folder = Path(os.fsdecode(archived(yard, root).bin or b""))
    (folder.parent / "note").touch()
    (folder.parent / ".manifest.gz.01234567").touch()
    (folder.parent / "0").mkdir()
    (made,) = restore(yard, root)
    assert made.failure is None
    assert [path.name for path in folder.parent.iterdir() if path.name == "note"] == ["note"]


def test_a_unit_that_another_takes_over_does_not_keep_the_others(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    roots = [yard.mount / name for name in ("alpha", "beta")]
    for root in roots:
        oddities.make(root, 5)
    yard.apply(*yard.plan(*roots))

    class TakingOver(Told):
        def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
            super().event(event, unit, **facts)
            if event == "restoring" and unit and unit.number == 1:
                lease = partial(leases.raise_to, name=ledger.lease_of(unit), token=1 << 20)
                database.transaction(lease)

    works = yard.works(watch=TakingOver())
    one, other = restoring.restore(works, restoring.find(works, str(yard.mount)))
    assert "no longer the newest: try again later" in (one.failure or "")
    assert other.failure is None
    (one,) = restore(yard, one.unit)
    assert one.failure is None


def test_files_come_to_a_folder_that_is_not_there(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root = yard.mount / "alpha"
    root.mkdir()
    (root / "a").write_bytes(b"a")
    (unit,) = yard.apply(*yard.plan_of([Proposal(bytes(root), "files", (b"a",))]))
    assert unit.state == "deleted", unit.reason
    (made,) = restore(yard, unit.name, tmp_path)
    assert made.failure is None
    assert (tmp_path / "alpha" / "a").read_bytes() == b"a"


def test_files_come_out_of_the_bin_to_directories_that_have_gone(yard: Yard) -> None:
    root = yard.mount / "alpha"
    (root / "deep").mkdir(parents=True)
    (root / "deep" / "a").write_bytes(b"a")
    (unit,) = yard.apply(*yard.plan_of([Proposal(bytes(root), "files", (b"deep/a",))]))
    assert unit.state == "binned", unit.reason
    (root / "deep").rmdir()
    (made,) = restore(yard, unit.name)
    assert made.failure is None
    assert (root / "deep" / "a").read_bytes() == b"a"


def test_a_tree_of_any_depth_goes_and_comes_back(tmp_path: Path, database: Database) -> None:
    """A restore that was killed has left one, too."""
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root = yard.mount / "alpha"
    oddities.chain(root, 3000, b"d")
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason
    assert not root.exists()
    oddities.chain(yard.mount / f".lurge-restore-{unit.name}.0", 3000, b"d")
    (made,) = restore(yard, root)
    assert (made.failure, made.remarks) == (None, ())
    with opened(bytes(root)) as handle:
        deepest = list(trees.entries(handle))[-1]
    assert deepest.path == b"d/" * 3000 + b"file"
    assert [path.name for path in yard.mount.iterdir() if path.name != ".lurge-bin"] == ["alpha"]
    oddities.remove(root)


def test_files_of_any_depth_go_into_the_bin_and_come_back(yard: Yard) -> None:
    root, deep = yard.mount / "alpha", b"d/" * 1500 + b"file"
    oddities.chain(root, 1500, b"d")
    unit = yard.apply(*yard.plan_of([Proposal(bytes(root), "files", (deep,))]))[0]
    assert unit.state == "binned", unit.reason
    (made,) = restore(yard, unit.name)
    assert made.failure is None
    with opened(bytes(root)) as handle:
        assert list(trees.entries(handle))[-1].path == deep
    assert not list((yard.mount / ".lurge-bin").iterdir())
    oddities.remove(root)


def test_a_word_that_there_is_no_room_for_is_not_begun(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, tombstone=True)
    root = yard.mount / "alpha"
    oddities.make(root, 3)
    unit = archived(yard, root)
    root.unlink()
    binned = Binned(unit.bin or b"", unit.updated, unit.updated)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            tombstones.leave(unit, binned)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in yard.mount.iterdir()] == [".lurge-bin"]
    tombstones.leave(unit, binned)
    assert unit.name in root.read_text()


def test_a_word_that_was_not_written_to_its_end_goes_with_it(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, tombstone=True)
    root = yard.mount / "alpha"
    oddities.make(root, 3)
    unit = archived(yard, root)
    names = [yard.mount / f".lurge-word-{name}" for name in (unit.name, "0" * 16)]
    for again in (False, True):
        for name in names:
            name.write_text("This dir")
        if again:
            restore(yard, root)
            assert root.is_dir()
        else:
            root.unlink()
            tombstones.leave(unit, Binned(unit.bin or b"", unit.updated, unit.updated))
            assert unit.name in root.read_text()
        assert [name.exists() for name in names] == [False, True]


def test_what_somebody_has_added_to_a_word_is_theirs(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, tombstone=True)
    root = yard.mount / "alpha"
    oddities.make(root, 3)
    archived(yard, root)
    before = root.read_text()
    root.chmod(0o644)
    root.write_text(before + "Ask Ann first!\n")
    (made,) = restore(yard, root)
    assert "is there already" in (made.failure or "")
    assert root.read_text() == before + "Ask Ann first!\n"
    root.write_text(before)
    (made,) = restore(yard, root)
    assert (made.failure, root.is_dir()) == (None, True)


def test_each_night_of_one_vault_comes_back(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "abc":
        (root / name).write_text(name)
        yard.apply(*yard.plan_of([Proposal(bytes(root), "files", (name.encode(),))]))
    assert not list(root.iterdir())
    (made,) = restore(yard, root / "a")
    assert made.failure is None
    (root / "a").unlink()
    assert [made.failure for made in restore(yard, root)] == [None] * 3
    assert sorted(path.name for path in root.iterdir()) == ["a", "b", "c"]
    shutil.rmtree(root)
    (made,) = restore(yard, root / "b")
    assert made.failure is None
    assert (root / "b").read_text() == "b"


def test_what_the_archive_only_copied_and_what_it_gave_back_can_be_restored(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database)
    root = yard.mount / "alpha"
    oddities.make(root, 5)
    (unit,) = yard.apply(*yard.plan(root, course="copy"))
    assert unit.state == "verified"
    for _ in range(2):
        shutil.rmtree(root)
        (made,) = restore(yard, root)
        assert made.failure is None
        assert root.is_dir()


def test_what_is_left_of_a_lost_copy_is_restored(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "ab":
        (root / name).write_text(name)
    yard.apply(*yard.plan(root))
    (data,) = yard.target.glob("data/**/a")
    data.rename(tmp_path / "aside")
    assert [each.kind for each in checking.check(yard.works(), checking.begin(), 100)] == ["lost"]
    (made,) = restore(yard, root / "b", tmp_path)
    assert made.failure is None
    (tmp_path / "aside").rename(data)
    assert [each.kind for each in checking.check(yard.works(), checking.begin())] == ["found"]
    assert not list(checking.check(yard.works(), checking.begin(), 100))
    (unit,) = yard.database.read(ledger.units)
    (copy,) = yard.database.read(partial(copies.of, unit_ids=[unit.unit_id]))[unit.unit_id]
    assert copy.verified_at
    assert not copy.lost_at


def test_files_of_which_one_copy_is_not_whole_come_from_both(
    tmp_path: Path, database: Database
) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    yard = Yard(tmp_path, database, target=targets, copies=2, keep_in_bin=0)
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "abc":
        (root / name).write_text(name)
    os.link(root / "a", root / "aa")
    (root / "b.link").symlink_to("a")
    members = (b"a", b"aa", b"b", b"b.link", b"c")
    (unit,) = yard.apply(*yard.plan_of([Proposal(bytes(root), "files", members)]))
    assert unit.state == "deleted", unit.reason
    next(yard.target.glob("data/**/c")).write_text("x")
    for _ in range(2):
        (made,) = restore(yard, unit.name)
        assert made.failure is None
    assert "".join((root / name).read_text() for name in ("a", "aa", "b", "b.link", "c")) == "aabac"


@pytest.mark.parametrize("course", ["archive", "discard"])
def test_a_bin_that_lacks_something_is_not_given_for_the_whole(
    tmp_path: Path, database: Database, course: Course
) -> None:
    yard = Yard(tmp_path, database)
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "ab":
        (root / name).write_text(name)
    (unit,) = yard.apply(*yard.plan(root, course=course))
    (Path(os.fsdecode(unit.bin or b""), "tree") / "a").unlink()
    (made,) = restore(yard, unit.name)
    if course == "discard":
        assert "a: missing" in (made.failure or "")
        assert not root.exists()
    else:
        assert "a: missing" in made.remarks[0]
        assert (root / "a").read_text() == "a"


def test_files_that_were_half_way_out_of_the_bin_come_out(
    tmp_path: Path, database: Database
) -> None:
    """Of one only the second name was to go, as where a rename is a link and an unlink."""
    yard = Yard(tmp_path, database)
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "abc":
        (root / name).write_text(name)
    os.link(root / "a", root / "aa")
    proposal = Proposal(bytes(root), "files", (b"a", b"aa", b"b", b"c"))
    (unit,) = yard.apply(*yard.plan_of([proposal], "discard"))
    tree = Path(os.fsdecode(unit.bin or b""), "tree")
    (tree / "a").rename(root / "a")
    os.link(tree / "b", root / "b")
    (made,) = restore(yard, unit.name)
    assert (made.failure, made.how) == (None, "bin")
    assert "".join((root / name).read_text() for name in ("a", "aa", "b", "c")) == "aabc"
    assert not list((yard.mount / ".lurge-bin").iterdir())


def deep(root: Path) -> Path:
    """A directory with files that lie deep in it, each of a mode and a time of its own."""
    (root / "one" / "two").mkdir(parents=True)
    (root / "one" / "two" / "a").write_text("a")
    (root / "one" / "two" / "b").write_text("b")
    for number, path in enumerate(("one/two/a", "one/two", "one", "")):
        (root / path).chmod(0o700 + number)
        os.chown(root / path, 10 + number, 20 + number)
        os.utime(root / path, ns=(number, number + 1))
    return root


@pytest.mark.parametrize("tombstone", [False, True])
def test_the_directories_that_lead_to_a_part_are_made_as_they_were(
    tmp_path: Path, database: Database, tombstone: bool
) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root, twin = deep(yard.mount / "alpha"), deep(tmp_path / "twin")
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason
    if tombstone:
        tombstones.leave(unit, Binned(b"", unit.updated, unit.updated))
    (twin / "one" / "two" / "b").unlink()
    os.utime(twin / "one" / "two", ns=(1, 2))
    for gone in (root, root / "one" / "two"):
        shutil.rmtree(gone, ignore_errors=True)
        (made,) = restore(yard, root / "one" / "two" / "a")
        what = f"{gone} was not there: it is made as it was, with nothing else in it"
        assert (made.failure, made.remarks) == (None, (what,))
        os.utime(root / "one", ns=(2, 3))
        assert differences(twin, root) == ""
        assert [path.name for path in yard.mount.iterdir() if path.name[0] != "."] == ["alpha"]
    (made,) = restore(yard, root / "one" / "two" / "b")
    assert (made.failure, made.remarks) == (None, ())


def test_a_part_of_what_is_in_the_bin_does_not_take_the_place_of_all(yard: Yard) -> None:
    root = deep(yard.mount / "alpha")
    archived(yard, root)
    (made,) = restore(yard, root / "one")
    assert f"all of {root} is in the bin: restore that, or " in (made.failure or "")
    assert not root.exists()
    (made,) = restore(yard, root)
    assert (made.failure, made.how) == (None, "bin")


def test_where_nothing_can_be_made_it_is_told_what_to_do(
    tmp_path: Path, database: Database
) -> None:
    yard = Yard(tmp_path, database, keep_in_bin=0)
    root = deep(yard.mount / "above" / "alpha")
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason
    root.parent.rmdir()
    todo = "is not there: make it, or restore elsewhere: --to DIR"
    for what in (root, root / "one"):
        (made,) = restore(yard, what)
        assert made.failure == f"{root.parent} {todo}"
    (made,) = restore(yard, root, tmp_path / "absent")
    assert made.failure == f"{tmp_path}/absent {todo}"


def test_what_is_in_the_bin_overwrites_nothing(yard: Yard) -> None:
    root = deep(yard.mount / "alpha")
    archived(yard, root)
    root.mkdir()
    (root / "new").touch()
    (made,) = restore(yard, root, overwrite=True)
    assert "what is in the bin overwrites nothing" in (made.failure or "")
    assert [path.name for path in root.iterdir()] == ["new"]


def test_what_was_changed_in_the_bin_is_told_when_it_comes_back(yard: Yard) -> None:
    root = yard.mount / "alpha"
    root.mkdir()
    for name in "abcde":
        (root / name).write_text(name)
    tree = Path(os.fsdecode(archived(yard, root).bin or b""), "tree")
    for name in "abcd":
        was = (tree / name).stat()
        (tree / name).write_text(name.upper())
        os.utime(tree / name, ns=(was.st_atime_ns, was.st_mtime_ns))
    (tree / "new").touch()
    (made,) = restore(yard, root)
    assert (made.failure, made.how, made.remarked) == (None, "bin", 5)
    assert made.remarks[0].startswith(". was changed in the bin (")
    assert made.remarks[1:] == tuple(f"{name} was changed in the bin (ctime_ns)" for name in "abcd")
    told = [facts["what"] for event, _, facts in yard.told.events if event == "remark"]
    assert tuple(told) == made.remarks
    (shown,) = showing.restored_table([made]).columns[-1].cells
    assert str(shown).startswith("5 remarks, all in the log, such as . was changed")
    assert str(shown).count(";") == 2


def test_what_is_in_the_place_of_a_file_is_named(yard: Yard) -> None:
    root = deep(yard.mount / "alpha")
    members = (b"one/two/a", b"one/two/b")
    (unit,) = yard.apply(*yard.plan_of([Proposal(bytes(root), "files", members)]))
    assert unit.state == "binned", unit.reason
    (made,) = restore(yard, root / "one" / "two" / "b")
    assert made.failure is None
    (made,) = restore(yard, unit.name)
    assert f"{root}/one/two/b is there already: move it away" in (made.failure or "")
    (root / "one" / "two" / "b").unlink()
    (made,) = restore(yard, unit.name)
    assert (made.failure, made.how) == (None, "bin")
