"""What is at a path is told without following any link, however it is swapped in."""

import os
from pathlib import Path

import pytest

from utils import places


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/file").touch()
    (tmp_path / "to a").symlink_to("a")
    (tmp_path / "a/to file").symlink_to("file")
    return tmp_path


@pytest.mark.parametrize("below", ["a", "a/b", "a/file", "a/to file", "to a"])
def test_facts_are_those_of_the_very_name(tree: Path, below: str) -> None:
    found = places.facts(bytes(tree / below))
    assert found == (tree / below).lstat()
    with places.directory(bytes(tree)) as handle:
        assert places.facts(below.encode(), handle) == found


@pytest.mark.parametrize("below", ["c", "c/d", "to a/b", "to a/file", "a/file/x", "a/to file/x"])
def test_nothing_is_found_behind_a_link_or_a_file(tree: Path, below: str) -> None:
    assert places.facts(bytes(tree / below)) is None


def test_a_handle_stays_with_its_directory_though_a_link_takes_its_name(tree: Path) -> None:
    with places.directory(bytes(tree / "a")) as handle:
        (tree / "a").rename(tree / "away")
        (tree / "other").mkdir()
        (tree / "a").symlink_to("other")
        assert places.names(handle) == [b"b", b"file", b"to file"]
        assert places.facts(b"file", handle) == (tree / "away/file").lstat()
    with pytest.raises(NotADirectoryError), places.directory(bytes(tree / "a")):
        pass


def test_no_handle_is_left_open(tree: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - as many as there are
    for below in ("a/b", "to a/b", "c", "a/file/x"):
        places.facts(bytes(tree / below))
        places.bar(bytes(tree / below))
    with places.directory(bytes(tree)) as handle:
        places.names(handle)
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_only_the_links_above_a_path_are_resolved(tree: Path) -> None:
    real = bytes(tree.resolve())
    assert places.real(bytes(tree / "to a/b")) == real + b"/a/b"
    assert places.real(bytes(tree / "to a/to file")) == real + b"/a/to file"
    assert places.real(b"/etc") == b"/etc"


@pytest.mark.parametrize(
    ("below", "why"),
    [
        ("a", None),
        ("a/b", None),
        ("to a", "is a symbolic link"),
        ("to a/b", "lies behind a symbolic link"),
        ("a/file", "is no directory"),
        ("gone/b", "absent"),
    ],
)
def test_a_directory_is_acted_on_where_it_really_is(
    tree: Path, below: str, why: str | None
) -> None:
    assert places.bar(bytes(tree / below)) == why
