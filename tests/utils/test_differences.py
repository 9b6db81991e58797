"""What became of a unit is told fact by fact; what Lurge itself did to it is forgiven."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lurge_types.archive import Entry, Fingerprint
from utils.differences import Difference, Differs, changed, compared, differences
from utils.handles import open_root
from utils.trees import entries

PRINT = Fingerprint(1, 2, "f", 3, 4, 5)
FILE = Entry(b"file", PRINT, 0o644, 6, 7, 8)
FOLDER = replace(FILE, path=b"folder", fingerprint=PRINT._replace(kind="d"))


@contextmanager
def opened(path: Path) -> Iterator[int]:
    handle = open_root(os.fsencode(path))
    try:
        yield handle
    finally:
        os.close(handle)


def look(path: Path) -> list[Entry]:
    with opened(path) as root:
        return list(entries(root))


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """Two names of one file, another file, in a directory."""
    unit = tmp_path / "unit"
    (unit / "in").mkdir(parents=True)
    (unit / "in" / "one").write_bytes(b"1")
    (unit / "in" / "other").hardlink_to(unit / "in" / "one")
    (unit / "in" / "third").write_bytes(b"3")
    return unit


@pytest.mark.parametrize("fact", Fingerprint._fields)
def test_each_part_of_a_fingerprint_is_told(fact: str) -> None:
    value: Any = "d" if fact == "kind" else 99
    other = replace(FILE, fingerprint=PRINT._replace(**{fact: value}))
    assert list(differences([FILE], [other])) == [Difference(b"file", "different", (fact,))]


@pytest.mark.parametrize(
    ("fact", "value"),
    [
        ("mode", 0o600),
        ("uid", 99),
        ("gid", 99),
        ("links", 2),
        ("rdev", 99),
        ("link", b"x"),
        ("same_as", b"a"),
        ("attributes", ((b"user.a", b""),)),
    ],
)
def test_each_other_fact_is_told(fact: str, value: Any) -> None:
    other = replace(FILE, **{fact: value})
    (difference,) = differences([FILE], [other])
    assert str(difference) == f"file: different ({fact})"


@pytest.mark.parametrize(
    ("fact", "value"),
    [("atime_ns", 99), ("extents", ()), ("key", "key"), ("offset", 9)],
)
def test_what_is_no_change_is_not_told(fact: str, value: Any) -> None:
    assert list(differences([FILE], [replace(FILE, **{fact: value})])) == []
    assert list(differences([FOLDER], [replace(FOLDER, links=9)])) == []


def test_what_is_missing_or_unknown_is_told_in_order() -> None:
    a, b, c, d = (replace(FILE, path=path) for path in (b"a", b"a/b", b"a.b", b"d"))
    told = list(differences([a, c], [b, c, d]))
    assert list(map(str, told)) == ["a: missing", "a/b: unknown", "d: unknown"]
    assert [str(each) for each in differences([a, c], [b, c, d], deleting=True)] == [
        "a/b: unknown",
        "d: unknown",
    ]


def test_what_is_not_sorted_is_no_side_of_a_comparison() -> None:
    with pytest.raises(ValueError, match="not sorted"):
        list(differences([FILE, FILE], []))


def test_another_number_of_the_device_is_forgiven_if_it_is_the_one_to_be() -> None:
    other = replace(FILE, fingerprint=PRINT._replace(device=77))
    assert list(differences([FILE], [other], device=77)) == []
    assert next(differences([FILE], [FILE], device=77)).facts == ("device",)


def test_a_renamed_unit_is_the_same_but_for_its_roots_ctime(unit: Path, tmp_path: Path) -> None:
    before = look(unit)
    unit.rename(tmp_path / "bin")
    after = look(tmp_path / "bin")
    assert list(map(str, differences(before, after))) == [".: different (ctime_ns)"]
    assert list(compared(before, after, renamed={b""})) == after
    (tmp_path / "bin" / "in" / "third").chmod(0o600)
    with pytest.raises(Differs, match="in/third: different"):
        list(compared(before, look(tmp_path / "bin"), renamed={b""}))


def test_renamed_files_are_the_same_but_for_their_ctime(unit: Path, tmp_path: Path) -> None:
    members = [b"in/one", b"in/other", b"in/third"]
    with opened(unit) as root:
        before = list(entries(root, members))
        (tmp_path / "bin" / "in").mkdir(parents=True)
        for path in map(os.fsdecode, members):
            (unit / path).rename(tmp_path / "bin" / path)
    with opened(tmp_path / "bin") as root:
        after = list(entries(root, members))
    assert {each.facts for each in differences(before, after)} == {("ctime_ns",)}
    assert list(compared(before, after, renamed=None)) == after


def test_what_a_purge_has_begun_is_forgiven_to_it(unit: Path) -> None:
    before = look(unit)
    (unit / "in" / "one").unlink()
    after = look(unit)
    told = {each.path: each for each in differences(before, after)}
    assert told[b"in/one"].kind == "missing"
    assert set(told[b"in/other"].facts) == {"ctime_ns", "links", "same_as"}
    assert list(differences(before, after, deleting=True)) == []
    other = next(entry for entry in before if entry.path == b"in/other")
    now = (unit / "in" / "other").lstat()
    assert changed(other, now) == ("ctime_ns",)
    assert changed(other, now, deleting=True) == ()


def test_a_directory_that_a_purge_has_opened_up_is_forgiven_to_it() -> None:
    acl = (b"system.posix_acl_access", b"as its mode was")
    before = replace(FOLDER, mode=0o555, attributes=(acl, (b"user.a", b"1")))
    after = replace(before, mode=0o700, attributes=before.attributes[1:])
    assert next(differences([before], [after])).facts == ("mode", "attributes")
    assert list(differences([before], [after], deleting=True)) == []
    other = replace(after, uid=12345, attributes=())
    assert next(differences([before], [other], deleting=True)).facts == ("uid", "attributes")


@pytest.mark.parametrize("name", ["other", "third", "new"])
def test_what_somebody_does_during_a_purge_is_told(unit: Path, name: str) -> None:
    before = look(unit)
    (unit / "in" / "one").unlink()
    (unit / "in" / name).write_bytes(b"longer")
    (difference,) = differences(before, look(unit), deleting=True)
    assert difference.path == f"in/{name}".encode()
    assert difference.kind == ("unknown" if name == "new" else "different")
