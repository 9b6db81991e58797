"""A directory is removed however deep it is, and nothing that it leads to."""

import os
import subprocess
import sys
from pathlib import Path

import oddities
import pytest

from utils.handles import DIRECTORY
from utils.removing import remove_folders, remove_tree

WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if os.geteuid() == 0 else []


def handle_of(folder: Path) -> int:
    return os.open(folder, DIRECTORY)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder"


def test_all_that_is_in_a_directory_goes_and_nothing_beside_it(folder: Path) -> None:
    oddities.make(folder / "odd", 300)
    (folder / "beside").write_bytes(b"kept")
    (folder / "odd" / "link to it").symlink_to("../beside")
    (folder / "odd" / "link to all").symlink_to("..")
    handle = handle_of(folder)
    remove_tree(b"odd", handle)
    assert [path.name for path in folder.iterdir()] == ["beside"]
    with pytest.raises(FileNotFoundError):
        remove_tree(b"odd", handle)
    os.close(handle)


@pytest.mark.parametrize("name", [b"d", b"n" * 200])
def test_a_directory_goes_however_deep_it_is(folder: Path, name: bytes) -> None:
    oddities.chain(folder / "deep", 3000, name)
    handle = handle_of(folder)
    with pytest.raises(OSError, match="not empty"):
        remove_folders(b"deep", handle)
    remove_tree(b"deep", handle)
    os.close(handle)
    assert list(folder.iterdir()) == []


def test_empty_folders_go(folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    (folder / "a" / "d").mkdir()
    handle = handle_of(folder)
    remove_folders(b"a", handle)
    os.close(handle)
    assert list(folder.iterdir()) == []


AS_ANOTHER = """
import os, sys
from utils.handles import DIRECTORY
from utils.removing import remove_tree
remove_tree(b"a", os.open(sys.argv[1], DIRECTORY))
"""


def test_what_its_owner_may_not_write_to_goes_too(folder: Path) -> None:
    (folder / "a" / "b" / "c").mkdir(parents=True)
    for mode, path in ((0, "a/b/c"), (0o500, "a/b"), (0o100, "a")):
        (folder / path).chmod(mode)
    command = [*WITHOUT_RIGHTS, sys.executable, "-c", AS_ANOTHER, str(folder)]
    subprocess.run(command, check=True)
    assert list(folder.iterdir()) == []
