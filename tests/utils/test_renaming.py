"""A rename never replaces anything, whatever the filesystem can do."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from utils import renaming

MAKERS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: path.write_bytes(b"it"),
    "directory": lambda path: path.mkdir(),
    "link": lambda path: path.symlink_to("nowhere"),
}


class Unable:
    """A C library of a kernel that knows no such rename."""

    def renameat2(self, *_: object) -> int:
        import ctypes  # noqa: PLC0415
        import errno  # noqa: PLC0415

        ctypes.set_errno(errno.EINVAL)
        return -1


@pytest.fixture(params=["able", "unable"])
def folders(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[int, int]]:
    if request.param == "unable":
        monkeypatch.setattr(renaming, "_libc", Unable())
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    handles = os.open(tmp_path / "from", os.O_RDONLY), os.open(tmp_path / "to", os.O_RDONLY)
    yield handles
    for handle in handles:
        os.close(handle)


@pytest.mark.parametrize("into_ours", [True, False])
@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_renamed_is_there_and_no_longer_here(
    tmp_path: Path, folders: tuple[int, int], kind: str, *, into_ours: bool
) -> None:
    MAKERS[kind](tmp_path / "from" / "a")
    inode = (tmp_path / "from" / "a").lstat().st_ino
    renaming.rename_new(b"a", b"b", from_=folders[0], to=folders[1], into_ours=into_ours)
    assert (tmp_path / "to" / "b").lstat().st_ino == inode
    assert not os.path.lexists(tmp_path / "from" / "a")


@pytest.mark.parametrize("into_ours", [True, False])
@pytest.mark.parametrize("kind", MAKERS)
@pytest.mark.parametrize("other", MAKERS)
def test_what_has_the_name_stays(
    tmp_path: Path, folders: tuple[int, int], kind: str, other: str, *, into_ours: bool
) -> None:
    MAKERS[kind](tmp_path / "from" / "a")
    MAKERS[other](tmp_path / "to" / "b")
    inodes = [path.lstat().st_ino for path in (tmp_path / "from" / "a", tmp_path / "to" / "b")]
    with pytest.raises(FileExistsError):
        renaming.rename_new(b"a", b"b", from_=folders[0], to=folders[1], into_ours=into_ours)
    there = [path.lstat().st_ino for path in (tmp_path / "from" / "a", tmp_path / "to" / "b")]
    assert there == inodes


def test_what_gets_the_old_name_meanwhile_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that goes to a folder of ours never has two names, of which the old one would go."""
    monkeypatch.setattr(renaming, "_libc", Unable())
    old, new = tmp_path / "a", tmp_path / "ours"
    new.mkdir()
    old.write_bytes(b"old")
    handles = os.open(tmp_path, os.O_RDONLY), os.open(new, os.O_RDONLY)
    rename = os.rename

    def saved_at_once(*arguments: Any, **more: Any) -> None:
        rename(*arguments, **more)
        old.write_bytes(b"new")

    monkeypatch.setattr(os, "rename", saved_at_once)
    renaming.rename_new(b"a", b"a", from_=handles[0], to=handles[1], into_ours=True)
    assert (old.read_bytes(), (new / "a").read_bytes()) == (b"new", b"old")
    assert (new / "a").stat().st_nlink == 1
    for handle in handles:
        os.close(handle)
