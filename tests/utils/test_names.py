"""Each group is shown by a name of its own, wherever the names come from."""

import grp
import json
from collections.abc import Iterable
from pathlib import Path

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.names import Group
from utils.names import FileNames, Names, NamesWrong, SystemNames, shown
from utils.paths import text

GROUPS = (
    b"root:x:0:\n"
    b"team:x:1001:anna,bob\n"
    b"with space:x:1002:\n"
    b"caf\xe9:x:1003:\n"
    b"team:x:1004:\n"
    b"second:x:1001:\n"
    b"back\\slash:x:1005:\n" + "日本:x:4294967294:\n".encode()
)
SHOWN = {
    0: "root",
    1001: "team",
    1002: "with space",
    1003: "caf\\xe9",
    1004: "team (gid:1004)",
    1005: "back\\\\slash",
    1006: "gid:1006",
    4_294_967_294: "日本",
    4_294_967_295: "gid:4294967295",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "group"
    path.write_bytes(GROUPS)
    return path


def names_of(names: Names, gids: Iterable[int]) -> dict[int, str]:
    groups = names.groups(gids)
    for gid, group in groups.items():
        assert group == Group(gid, group.name, known=group.name != f"gid:{gid}")
    return {gid: group.name for gid, group in groups.items()}


def test_a_file_names_groups_and_the_others_go_by_number(file: Path) -> None:
    assert names_of(FileNames(file), SHOWN) == SHOWN


def test_the_system_names_the_same_groups_as_its_file_would(file: Path) -> None:
    printed = children.run(
        """
        import json, subprocess, sys
        from utils.names import SystemNames

        subprocess.run(["mount", "--bind", sys.argv[1], "/etc/group"], check=True)
        groups = SystemNames().groups(map(int, sys.argv[2:]))
        print(json.dumps([[gid, group.name] for gid, group in groups.items()]))
        """,
        *(file, *SHOWN),
        within=children.OWN_MOUNTS,
    )
    assert dict(json.loads(printed)) == SHOWN


def test_the_system_knows_its_groups() -> None:
    known = {group.gr_gid: group.gr_name for group in reversed(grp.getgrall())}
    unknown = max(known) + 1
    found = names_of(SystemNames(), [*known, unknown])
    assert found[unknown] == f"gid:{unknown}"
    assert all(name in found[gid] for gid, name in known.items())


@pytest.mark.parametrize("names", [SystemNames, lambda: FileNames(Path("/dev/null"))])
def test_nobody_asked_for_is_nobody_named(names: type[SystemNames]) -> None:
    assert names().groups([]) == {}


@pytest.mark.parametrize(
    ("gid", "name", "first_gid", "form"),
    [
        (7, b"team", 7, "team"),
        (8, b"team", 7, "team (gid:8)"),
        (7, b"", 7, "gid:7"),
        (7, b"a\tb", 7, "a\\tb"),
        (8, b"\xff", 7, "\\xff (gid:8)"),
    ],
)
def test_a_group_is_shown(gid: int, name: bytes, first_gid: int, form: str) -> None:
    assert shown(gid, name, first_gid) == form


names = st.binary(min_size=1, max_size=4).filter(lambda name: not set(name) & set(b":\r\n(g"))


@given(st.lists(st.tuples(names, st.integers(0, 9)), max_size=12))
def test_no_two_groups_of_a_file_are_shown_alike(
    tmp_path_factory: pytest.TempPathFactory, groups: list[tuple[bytes, int]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-group"
    file.write_bytes(b"".join(b"%b:x:%d:\n" % group for group in groups))
    found = names_of(FileNames(file), range(10))
    assert len(set(found.values())) == len(found)
    for gid, name in found.items():
        own = [text(other) for other, number in groups if number == gid]
        assert name.removesuffix(f" (gid:{gid})") in (own[:1] or [f"gid:{gid}"])


def test_every_line_that_names_no_group_is_told(tmp_path: Path) -> None:
    file = tmp_path / "group"
    file.write_bytes(b"a:x:1:\n\nb:x\nc:x:-1:\nd:x:1_0:\ne:x:2\n# f:x:\nf:x: 3:\n")
    with pytest.raises(NamesWrong) as caught:
        FileNames(file)
    assert str(caught.value).splitlines() == [
        f"names.group_file: {file}, line {line}: not name:x:gid:members"
        for line in (2, 3, 4, 5, 7, 8)
    ]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(NamesWrong) as caught:
        FileNames(tmp_path / "missing")
    assert str(caught.value) == (
        f"names.group_file: {tmp_path / 'missing'}: No such file or directory"
    )
