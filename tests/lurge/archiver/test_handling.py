"""A vault hands files over, and hears whether all of them are safe."""

import io
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from archiving import Yard

from db import ledger
from db.database import Database
from lurge.archiver import handling
from lurge.archiver.handling import HandlerRefused, hand_over, read_paths
from lurge_types.archive import UnitNow
from utils.object_keys import of_file
from utils.targets.posix import Posix


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_vault(yard: Yard) -> list[Path]:
    """Files as a vault has them: each in folders of its own, with a second name elsewhere."""
    vault = yard.mount / "group" / ".vault"
    files = [vault / "01" / "02-YQ==", vault / "01" / "03-caf\udce9", vault / "04" / "0"]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content %d" % number * (number + 1))
    os.link(files[0], yard.mount / "group" / "a")
    files.append(yard.mount / "at the top")
    files[-1].touch()
    return files


def stored(yard: Yard, file: Path) -> Path:
    return yard.target / of_file(bytes(file))


def over(yard: Yard, *files: Path | bytes, **works: object) -> list[str]:
    yard.told.events.clear()
    return list(hand_over(yard.works(**works), [bytes(file) for file in files]))


def units(yard: Yard) -> list[UnitNow]:
    return yard.database.read(ledger.units)


def test_all_files_are_copied_and_stay(yard: Yard) -> None:
    files = make_vault(yard)
    assert over(yard, *files) == []
    for file in files:
        assert stored(yard, file).read_bytes() == file.read_bytes()
    (unit,) = units(yard)
    assert (unit.state, unit.root, unit.kind) == ("verified", bytes(yard.mount), "files")


def test_what_was_copied_before_is_not_sent_again(yard: Yard) -> None:
    files = make_vault(yard)
    over(yard, *files[:3])
    times = {stored(yard, file): stored(yard, file).stat().st_ctime_ns for file in files[:3]}
    assert over(yard, *files[:3]) == []
    assert len(units(yard)) == 1
    assert over(yard, *files) == []
    assert [unit.files for unit in units(yard)] == [3, 1]
    assert {file: file.stat().st_ctime_ns for file in times} == times
    assert over(yard, files[3], files[1]) == []
    assert len(units(yard)) == 2


def test_a_copy_of_before_is_no_copy_of_what_has_changed(yard: Yard) -> None:
    files = make_vault(yard)
    over(yard, *files)
    files[1].write_bytes(b"other content")
    assert over(yard, *files) == []
    assert [unit.files for unit in units(yard)] == [4, 1]


@pytest.mark.parametrize("lost", ["object", "manifest", "folder"])
def test_what_is_lost_meanwhile_is_sent_again(yard: Yard, lost: str) -> None:
    files = make_vault(yard)
    over(yard, files[0])
    over(yard, *files)
    unit = units(yard)[-1]
    match lost:
        case "object":
            stored(yard, files[1]).unlink()
        case "manifest":
            (yard.target / "manifests" / f"{unit.name}.jsonl.gz").unlink()
            shutil.rmtree(yard.folder / "runs")
        case "folder":
            shutil.rmtree(yard.target / "data")
    assert over(yard, *files, target=Posix) == []
    for file in files:
        assert stored(yard, file).read_bytes() == file.read_bytes()


def test_what_was_changed_in_its_copy_is_sent_again(yard: Yard) -> None:
    files = make_vault(yard)
    over(yard, *files)
    copy = stored(yard, files[1])
    copy.write_bytes(copy.read_bytes()[::-1])
    assert over(yard, *files) == []
    assert [unit.files for unit in units(yard)] == [4, 1]
    (again,) = copy.parent.glob(f"{copy.name}~*")
    assert again.read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize(
    ("paths", "why"),
    [
        ([b"s1/at the top"], "is not absolute"),
        ([b""], "is not absolute"),
        ([b"%(mount)b/at the top", b"%(mount)b/at the top"], "is there twice"),
        ([b"%(mount)b/group"], "is no file"),
        ([b"%(mount)b/group/link"], "is no file"),
        ([b"%(mount)b/linked/a"], "is not there"),
        ([b"%(mount)b/nothing"], "is not there"),
        ([b"%(mount)b/group/../at the top"], "has `.`"),
        ([b"%(mount)b/group/"], "has `.`"),
        ([b"/etc/passwd"], "no configured volume"),
    ],
)
def test_what_is_no_file_stops_all_before_anything_is_sent(
    yard: Yard, paths: list[bytes], why: str
) -> None:
    files = make_vault(yard)
    (yard.mount / "group" / "link").symlink_to("a")
    (yard.mount / "linked").symlink_to("group")
    handed = [path % {b"mount": bytes(yard.mount)} for path in paths]
    found = over(yard, files[0], *handed)
    assert any(why in each for each in found), found
    assert list(yard.target.iterdir()) == []
    assert units(yard) == []


class At:
    """Does something when an event is told of."""

    def __init__(self, yard: Yard, event: str, act: Callable[[], object]) -> None:
        self._told, self._event, self._act = yard.told, event, act

    def event(self, event: str, *_: object, **__: object) -> None:
        if event == self._event:
            self._act()

    def __getattr__(self, name: str) -> object:
        return getattr(self._told, name)


def replace(file: Path, make: Callable[[Path], object]) -> None:
    file.unlink()
    make(file)


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended": lambda file: file.write_bytes(b"longer than before, all of it"),
    "removed": Path.unlink,
    "a directory": lambda file: replace(file, Path.mkdir),
    "a link": lambda file: replace(file, lambda path: path.symlink_to("0")),
}


@pytest.mark.parametrize("event", ["known", "planned", "claimed", "copied", "verified"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("known", [True, False])
def test_what_changes_meanwhile_is_not_called_safe(
    yard: Yard, event: str, change: str, *, known: bool
) -> None:
    files = make_vault(yard)
    if known:
        over(yard, files[1])
    act = partial(CHANGES[change], files[1])
    done: list[None] = []

    def once() -> None:
        if not done:
            done.append(None)
            act()

    changed_before_it_was_planned = (event, change, known) == ("known", "appended", False)
    assert bool(over(yard, *files, watch=At(yard, event, once))) is not (
        changed_before_it_was_planned
    )
    assert done


def test_a_target_that_holds_another_file_of_the_name_keeps_both(yard: Yard) -> None:
    files = make_vault(yard)
    stored(yard, files[1]).parent.mkdir(parents=True)
    stored(yard, files[1]).write_bytes(b"another's")
    assert over(yard, *files) == []
    assert stored(yard, files[1]).read_bytes() == b"another's"
    assert over(yard, *files) == []
    assert len(units(yard)) == 1


def test_two_copies_are_made(tmp_path: Path, database: Database) -> None:
    targets = [f"file://{tmp_path}/target", f"file://{tmp_path}/other"]
    yard = Yard(tmp_path, database, target=targets, copies=2)
    files = make_vault(yard)
    assert over(yard, *files) == []
    (tmp_path / "other" / stored(yard, files[1]).relative_to(yard.target)).unlink()
    assert over(yard, *files, target=Posix) == []
    assert [unit.files for unit in units(yard)] == [4, 1]


def test_many_files_are_one_unit(yard: Yard) -> None:
    folder = yard.mount / "many"
    folder.mkdir()
    files = [folder / str(number) for number in range(2000)]
    for file in files:
        file.touch()
    assert over(yard, *files) == []
    assert over(yard, *reversed(files)) == []
    (unit,) = units(yard)
    assert unit.files == 2000


def test_ready_tells_whether_there_is_room(yard: Yard) -> None:
    works = yard.works()
    assert handling.ready(works, 1000) == []
    (why,) = handling.ready(works, 1 << 62)
    assert "would be needed" in why


def test_ready_tells_of_a_target_that_is_not_there(yard: Yard) -> None:
    shutil.rmtree(yard.target)
    yard.target.touch()
    (why,) = handling.ready(yard.works(), 0)
    assert str(yard.target) in why


def test_ready_tells_that_there_is_no_target(tmp_path: Path, database: Database) -> None:
    yard = Yard(tmp_path, database, target=())
    (why,) = handling.ready(yard.works(), 0)
    assert "name a target" in why


@pytest.mark.parametrize(
    ("handed", "paths"),
    [
        (b"/a\0/b\0", [b"/a", b"/b"]),
        (b"/a\0/b", [b"/a", b"/b"]),
        (b"/a\n\0", [b"/a\n"]),
        (b"\0/a\0", [b"", b"/a"]),
    ],
)
def test_paths_come_with_nul_bytes_between(handed: bytes, paths: list[bytes]) -> None:
    assert read_paths(io.BytesIO(handed)) == paths


@pytest.mark.parametrize(
    ("handed", "why"),
    [
        (b"", "nothing"),
        (b"/a/" * 100_000, "NUL bytes"),
        (b"/a\0" * 1_000_001, "in parts"),
    ],
)
def test_what_is_no_list_of_paths_is_refused(handed: bytes, why: str) -> None:
    with pytest.raises(HandlerRefused, match=why):
        read_paths(io.BytesIO(handed))


def test_a_list_of_a_hundred_thousand_is_read() -> None:
    paths = [b"/volume/group/.vault/%d" % number for number in range(100_000)]
    assert read_paths(io.BytesIO(b"\0".join(paths))) == paths
