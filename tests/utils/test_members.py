"""A login is somebody's only where it is the very bytes of a name, whoever is asked."""

import json
import os
import pwd
from pathlib import Path

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.names import Member
from utils.members import FileMembers, Members, SystemMembers, login_bytes
from utils.names import LONGEST_NAME, NamesMissing, NamesWrong
from utils.paths import text

GROUPS = (
    b"root:x:0:\n"
    b"team:x:1001:ann,bob\n"
    b"with space:x:1002:bob,annb,ANN\n"
    b"caf\xe9:x:1003:ann\n"
    b"team:x:1004:ann\n"
    b"second:x:1005:bob\n"
    b"third:x:1005:ann\n"
    b"empty:x:1006:\n" + "日本:x:4294967294:zoé,bob\n".encode()
)
USERS = (
    b"root:x:0:0:root:/root:/bin/bash\n"
    b"ann:x:2001:1001:A. A.,bob:/home/ann:/bin/sh\n"
    b"bob:x:2002:77:::\n"
    b"ann:x:2003:1002:::\n"
    b"same:x:2001:1006:::\n" + "zoé:x:4294967294:4294967294:::\n".encode()
)
MEMBERS = {
    "root": Member(0, "root", {0: "root"}),
    "ann": Member(
        2001,
        "ann",
        {1001: "team", 1003: "caf\\xe9", 1004: "team (gid:1004)", 1005: "second"},
    ),
    "bob": Member(
        2002,
        "bob",
        {77: "gid:77", 1001: "team", 1002: "with space", 1005: "second", 4_294_967_294: "日本"},
    ),
    "same": Member(2001, "same", {1006: "empty"}),
    "zoé": Member(4_294_967_294, "zoé", {4_294_967_294: "日本"}),
}
STRANGERS = [
    *("", "ANN", "Ann", " ann", "ann ", "an", "annb", "an*", "*", "ann,bob", "ann:x", "2001"),
    *("ann\\n", "ann\n", "ann\\x00", "ann\0", "\\x61nn", "zoe\u0301", "zo\\xc3\\xa9", "\ud800"),
    *("ann\\", "team", "root\\t", "a" * (LONGEST_NAME + 1)),
]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    group_file, user_file = tmp_path / "group", tmp_path / "passwd"
    group_file.write_bytes(GROUPS)
    user_file.write_bytes(USERS)
    return group_file, user_file


def test_files_tell_who_is_a_member_of_what(files: tuple[Path, Path]) -> None:
    known = FileMembers(*files)
    assert {login: known.member(login) for login in MEMBERS} == MEMBERS
    assert [login for login in STRANGERS if known.member(login)] == []


def test_the_system_tells_the_same_as_its_files_would(files: tuple[Path, Path]) -> None:
    printed = children.run(
        """
        import json, subprocess, sys
        from dataclasses import astuple
        from utils.members import SystemMembers

        for file in ("group", "passwd"):
            subprocess.run(["mount", "--bind", f"{sys.argv[1]}/{file}", f"/etc/{file}"], check=True)
        found = [SystemMembers().member(login) for login in json.loads(sys.argv[2])]
        print(json.dumps([member and astuple(member) for member in found]))
        """,
        *(files[0].parent, json.dumps([*MEMBERS, *STRANGERS, "caf\\xe9"])),
        within=children.OWN_MOUNTS,
    )
    found = json.loads(printed)
    assert found[len(MEMBERS) :] == [None] * (len(STRANGERS) + 1)
    assert [
        Member(uid, login, {int(gid): name for gid, name in groups.items()})
        for uid, login, groups in found[: len(MEMBERS)]
    ] == [*MEMBERS.values()]


def test_the_system_knows_who_is_there() -> None:
    user = pwd.getpwuid(os.geteuid())
    member = SystemMembers().member(user.pw_name)
    assert member is not None
    assert (member.uid, member.login) == (user.pw_uid, user.pw_name)
    assert user.pw_gid in member.groups


def test_names_of_odd_bytes_are_asked_for_in_the_text_form(files: tuple[Path, Path]) -> None:
    files[0].write_bytes(b"g:x:1:caf\xe9,caf\\xe9\nh:x:2:a\\\\b,a\tb\n")
    files[1].write_bytes(b"caf\xe9:x:1:9\na\\b:x:2:9\na\tb:x:3:9\n")
    known = FileMembers(*files)
    assert known.member("caf\\xe9") == Member(1, "caf\\xe9", {1: "g", 9: "gid:9"})
    assert known.member("a\\\\b") == Member(2, "a\\\\b", {9: "gid:9"})
    assert known.member("a\\tb") == Member(3, "a\\tb", {2: "h", 9: "gid:9"})
    for other in ("café", "caf\\xE9", "a\\b", "a\tb"):
        assert known.member(other) is None


def test_without_a_file_of_users_nobody_is_known(files: tuple[Path, Path]) -> None:
    assert [FileMembers(files[0]).member(login) for login in ("ann", "root", "")] == [None] * 3


@pytest.mark.parametrize(
    ("listed", "inside"),
    [
        *(("ann", True), ("bob,ann", True), ("bob, ann ,c", True), ("ann,ann", True)),
        *(("", False), (",", False), ("annb", False), ("ANN", False), ("bob ann", False)),
        *(("bob:ann", False), ("ann:bob", True)),
    ],
)
def test_members_stand_between_commas(files: tuple[Path, Path], listed: str, inside: bool) -> None:
    files[0].write_text(f"g:x:7:{listed}\nh:x:8\n")
    member = FileMembers(*files).member("ann")
    assert member is not None
    assert (7 in member.groups, 8 in member.groups) == (inside, False)


def test_a_file_that_is_replaced_counts_at_once(files: tuple[Path, Path]) -> None:
    known = FileMembers(*files)
    before = files[0].stat()
    files[0].write_bytes(GROUPS.replace(b"bob", b"eve"))  # of the same size and time
    os.utime(files[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert known.member("bob") == Member(2002, "bob", {77: "gid:77"})
    files[1].write_bytes(USERS.replace(b"bob", b"eve"))
    assert known.member("bob") is None
    assert known.member("eve") == Member(2002, "eve", MEMBERS["bob"].groups)


def test_files_that_are_wrong_are_told_at_once_or_when_they_are_asked(
    files: tuple[Path, Path],
) -> None:
    known = FileMembers(*files)
    files[0].write_bytes(GROUPS + b"x\n")
    files[1].unlink()
    told = (
        f"names.group_file: {files[0]}, line 10: not name:x:gid:members\n"
        f"names.user_file: {files[1]}: No such file or directory"
    )
    with pytest.raises(NamesWrong) as wrong:
        FileMembers(*files)
    with pytest.raises(NamesMissing) as missing:
        known.member("ann")
    assert (str(wrong.value), str(missing.value)) == (told, told)


@given(st.text() | st.binary().map(text) | st.sampled_from([*MEMBERS, *STRANGERS]))
def test_whoever_is_known_has_that_very_login(
    tmp_path_factory: pytest.TempPathFactory, login: str
) -> None:
    folder = tmp_path_factory.getbasetemp()
    (folder / "group").write_bytes(GROUPS)
    (folder / "passwd").write_bytes(USERS)
    known: list[Members] = [FileMembers(folder / "group", folder / "passwd"), SystemMembers()]
    for member in (one.member(login) for one in known):
        assert member is None or member.login == login
    assert known[0].member(login) == MEMBERS.get(login)


@given(st.binary())
def test_every_name_has_one_login(name: bytes) -> None:
    expected = name if 0 < len(name) <= LONGEST_NAME else None
    assert login_bytes(text(name)) == expected


@given(st.text(st.sampled_from("\\x61nt\ud800é\0\n"), max_size=8))
def test_no_two_logins_are_one_name(login: str) -> None:
    name = login_bytes(login)
    assert name is None or text(name) == login
