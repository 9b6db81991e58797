"""Each group and user is shown by a name of its own, wherever the names come from."""

import grp
import json
import pwd
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.names import Group, User
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
USERS = (
    b"root:x:0:0:root:/root:/bin/bash\n"
    b"aa1:x:2001:1001:A. A.,,,:/home/aa1:/bin/sh\n"
    b"caf\xe9:x:2002:0:::\n"
    b"aa1:x:2003:1002:::\n"
    b"second:x:2001:1003:::\n" + "日本:x:4294967294:4294967294:::\n".encode()
)
USERS_SHOWN = {
    0: User(0, "root", 0),
    2001: User(2001, "aa1", 1001),
    2002: User(2002, "caf\\xe9", 0),
    2003: User(2003, "aa1 (uid:2003)", 1002),
    2004: User(2004, "uid:2004", known=False),
    4_294_967_294: User(4_294_967_294, "日本", 4_294_967_294),
    4_294_967_295: User(4_294_967_295, "uid:4294967295", known=False),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "group"
    path.write_bytes(GROUPS)
    return path


@pytest.fixture
def user_file(tmp_path: Path) -> Path:
    path = tmp_path / "passwd"
    path.write_bytes(USERS)
    return path


def names_of(names: Names, gids: Iterable[int]) -> dict[int, str]:
    groups = names.groups(gids)
    for gid, group in groups.items():
        assert group == Group(gid, group.name, known=group.name != f"gid:{gid}")
    return {gid: group.name for gid, group in groups.items()}


def test_a_file_names_groups_and_the_others_go_by_number(file: Path) -> None:
    assert names_of(FileNames(file), SHOWN) == SHOWN


def test_a_file_names_users_and_the_others_go_by_number(file: Path, user_file: Path) -> None:
    names = FileNames(file, user_file)
    assert names.users(USERS_SHOWN) == USERS_SHOWN
    assert names_of(names, SHOWN) == SHOWN


def test_without_a_file_of_them_all_users_go_by_number(file: Path) -> None:
    assert FileNames(file).users([0, 7]) == {
        0: User(0, "uid:0", known=False),
        7: User(7, "uid:7", known=False),
    }


def test_a_users_line_may_end_behind_the_group(file: Path, user_file: Path) -> None:
    user_file.write_bytes(b"aa1:x:2001:1001")
    assert FileNames(file, user_file).users([2001]) == {2001: User(2001, "aa1", 1001)}


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


def test_the_system_names_the_same_users_as_its_file_would(user_file: Path) -> None:
    printed = children.run(
        """
        import json, subprocess, sys
        from dataclasses import astuple
        from utils.names import SystemNames

        subprocess.run(["mount", "--bind", sys.argv[1], "/etc/passwd"], check=True)
        users = SystemNames().users(map(int, sys.argv[2:]))
        print(json.dumps([[uid, astuple(user)] for uid, user in users.items()]))
        """,
        *(user_file, *USERS_SHOWN),
        within=children.OWN_MOUNTS,
    )
    assert {uid: User(*user) for uid, user in json.loads(printed)} == USERS_SHOWN


def test_the_system_knows_its_groups() -> None:
    known = {group.gr_gid: group.gr_name for group in reversed(grp.getgrall())}
    unknown = max(known) + 1
    found = names_of(SystemNames(), [*known, unknown])
    assert found[unknown] == f"gid:{unknown}"
    assert all(name in found[gid] for gid, name in known.items())


def test_the_system_knows_its_users_and_their_groups() -> None:
    known = {user.pw_uid: user for user in reversed(pwd.getpwall())}
    unknown = max(known) + 1
    found = SystemNames().users([*known, unknown])
    assert found.pop(unknown) == User(unknown, f"uid:{unknown}", known=False)
    for uid, user in found.items():
        assert user == User(uid, user.name, known[uid].pw_gid)
        assert known[uid].pw_name in user.name


@pytest.mark.parametrize("names", [SystemNames, lambda: FileNames(Path("/dev/null"))])
def test_nobody_asked_for_is_nobody_named(names: Callable[[], Names]) -> None:
    assert names().groups([]) == {}
    assert names().users([]) == {}


@pytest.mark.parametrize(
    ("kind", "number", "name", "first", "form"),
    [
        ("gid", 7, b"team", 7, "team"),
        ("gid", 8, b"team", 7, "team (gid:8)"),
        ("gid", 7, b"", 7, "gid:7"),
        ("gid", 7, b"a\tb", 7, "a\\tb"),
        ("gid", 8, b"\xff", 7, "\\xff (gid:8)"),
        ("uid", 7, b"aa1", 7, "aa1"),
        ("uid", 8, b"aa1", 7, "aa1 (uid:8)"),
        ("uid", 7, b"", 7, "uid:7"),
    ],
)
def test_a_group_or_user_is_shown(
    kind: Literal["gid", "uid"], number: int, name: bytes, first: int, form: str
) -> None:
    assert shown(kind, number, name, first) == form


names = st.binary(min_size=1, max_size=4).filter(lambda name: not set(name) & set(b":\r\n(gu"))


@given(st.lists(st.tuples(names, st.integers(0, 9)), max_size=12))
def test_no_two_groups_or_users_of_a_file_are_shown_alike(
    tmp_path_factory: pytest.TempPathFactory, lines: list[tuple[bytes, int]]
) -> None:
    file = tmp_path_factory.getbasetemp() / "any-names"
    file.write_bytes(b"".join(b"%b:x:%d:5\n" % line for line in lines))
    known = FileNames(file, file)
    users = {uid: user.name for uid, user in known.users(range(10)).items()}
    for kind, found in (("gid", names_of(known, range(10))), ("uid", users)):
        assert len(set(found.values())) == len(found)
        for number, name in found.items():
            own = [text(other) for other, its in lines if its == number]
            assert name.removesuffix(f" ({kind}:{number})") in (own[:1] or [f"{kind}:{number}"])


def test_every_line_that_names_nobody_is_told(tmp_path: Path) -> None:
    file, user_file = tmp_path / "group", tmp_path / "passwd"
    file.write_bytes(b"a:x:1:\n\nb:x\nc:x:-1:\nd:x:1_0:\ne:x:2\n# f:x:\nf:x: 3:\n")
    user_file.write_bytes(b"a:x:1:1\n\nb:x:1\nc:x:1:\nd:x:1:-1:\n+::::::\ne:x:2:3::\n")
    with pytest.raises(NamesWrong) as caught:
        FileNames(file, user_file)
    assert str(caught.value).splitlines() == [
        *(
            f"names.group_file: {file}, line {line}: not name:x:gid:members"
            for line in (2, 3, 4, 5, 7, 8)
        ),
        *(f"names.user_file: {user_file}, line {line}: not name:x:uid:gid" for line in range(2, 7)),
    ]


def test_files_that_cannot_be_read_are_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(NamesWrong) as caught:
        FileNames(tmp_path / "missing", tmp_path)
    assert str(caught.value).splitlines() == [
        f"names.group_file: {tmp_path / 'missing'}: No such file or directory",
        f"names.user_file: {tmp_path}: Is a directory",
    ]


def test_a_line_without_a_name_or_with_a_number_too_large_is_told(tmp_path: Path) -> None:
    file, user_file = tmp_path / "group", tmp_path / "passwd"
    file.write_bytes(b":x:1:\na:x:4294967296:\nb:x:4294967295:\nc:x:%b:\n" % (b"9" * 5000))
    user_file.write_bytes(b":x:1:1\na:x:4294967296:1\nb:x:1:4294967296\nc:x:1:4294967295\n")
    with pytest.raises(NamesWrong) as caught:
        FileNames(file, user_file)
    assert str(caught.value).splitlines() == [
        f"names.group_file: {file}, line 1: not name:x:gid:members",
        f"names.group_file: {file}, line 2: a number above 4294967295",
        f"names.group_file: {file}, line 4: not name:x:gid:members",
        f"names.user_file: {user_file}, line 1: not name:x:uid:gid",
        f"names.user_file: {user_file}, line 2: a number above 4294967295",
        f"names.user_file: {user_file}, line 3: a number above 4294967295",
    ]
