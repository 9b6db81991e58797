"""A real LDAP server tells who somebody is, and only who has the very login is anybody."""

import time
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.openldap import HIDDEN, PASSWORD, READER, SIZE_LIMIT, Openldap

from lurge_types.config import LdapTable
from lurge_types.names import Member
from utils.ldap_directory import Directory
from utils.ldap_members import LdapMembers
from utils.ldap_names import LdapNames
from utils.names import NamesMissing, NamesWrong
from utils.paths import text

WIDE = "\uff21\uff2e\uff2e"
"""ANN in the letters that Chinese and Japanese have for it; a server may take it for ann."""

LOOSE = {
    "people_filter": "(objectClass=loose)",
    "people_uid_attribute": "looseNumber",
    "people_gid_attribute": "contact",
}
LOOSE_GROUPS = {
    "group_filter": "(objectClass=loose)",
    "group_gid_attribute": "looseNumber",
    "group_member_attribute": "contact",
}


def account(login: str, uid: int, gid: int = 100, rdn: str = "") -> str:
    """An account in LDIF."""
    return (
        f"dn: {rdn or f'uid={login}'},BRANCH\nobjectClass: account\nobjectClass: posixAccount\n"
        f"uid: {login}\ncn: {login}\nuidNumber: {uid}\ngidNumber: {gid}\nhomeDirectory: /\n\n"
    )


def group(name: str, gid: int, *logins: str) -> str:
    """A group in LDIF."""
    members = "".join(f"memberUid: {login}\n" for login in logins)
    head = f"dn: cn={name},BRANCH\nobjectClass: posixGroup\ncn: {name}\n"
    return f"{head}gidNumber: {gid}\n{members}\n"


def loose(rdn: str, *lines: str) -> str:
    """An entry in LDIF whose attributes may be anything."""
    return "\n".join([f"dn: {rdn},BRANCH", "objectClass: loose", *lines, "", ""])


def table(server: Openldap, branch: str, **settings: Any) -> LdapTable:
    facts = {
        "url": server.url,
        "group_base": branch,
        "people_base": branch,
        "timeout_seconds": 10,
        "retry_seconds": 600,
    }
    return LdapTable.model_validate(facts | settings)


def members(server: Openldap, entries: str, **settings: Any) -> LdapMembers:
    """Who is in a branch with these entries."""
    return LdapMembers(table(server, server.branch(entries), **settings))


def found(member: Member | None) -> Member:
    assert member is not None
    return member


# Members.


def test_somebody_is_in_the_primary_group_and_in_those_that_list_the_login(
    server: Openldap,
) -> None:
    known = members(
        server,
        account("ann", 2001)
        + account("bob", 2002, 77)
        + group("all", 100, "bob")
        + group("team", 1001, "bob", "ann")
        + group("other", 1002, "bob", "anna", "an")
        + group("empty", 1003),
    )
    since = server.log_size()
    assert known.member("ann") == Member(2001, "ann", {100: "all", 1001: "team"})
    assert len(server.searches(since)) == 2
    assert server.log_since(since).count(" ACCEPT ") == 1
    bobs = {77: "gid:77", 100: "all", 1001: "team", 1002: "other"}
    assert known.member("bob") == Member(2002, "bob", bobs)


def test_who_is_not_there_is_nobody(server: Openldap) -> None:
    known = members(server, group("team", 1, "ann"))
    assert known.member("ann") is None


def test_an_account_may_be_in_no_group(server: Openldap) -> None:
    known = members(server, loose("uid=ann", "looseNumber: 7") + group("team", 1, "bob"), **LOOSE)
    assert known.member("ann") == Member(7, "ann", {})


def test_a_primary_group_that_is_no_number_is_none(server: Openldap) -> None:
    person = loose("uid=ann", "looseNumber: 7", "contact: staff")
    known = members(server, person + group("team", 1, "ann"), **LOOSE)
    assert known.member("ann") == Member(7, "ann", {1: "team"})


@pytest.mark.parametrize("number", [[], ["x"], ["-1"], ["4294967296"], ["1", "2"]])
def test_an_account_without_one_number_is_nobodys(server: Openldap, number: list[str]) -> None:
    person = loose("uid=ann", *(f"looseNumber: {one}" for one in number))
    assert members(server, person, **LOOSE).member("ann") is None


def test_of_several_accounts_that_with_the_least_number_counts_as_in_names(
    server: Openldap,
) -> None:
    accounts = [account("ann", uid, uid, f"cn=a{uid}") for uid in (30, 4, 200)]
    chosen = table(server, server.branch("".join(accounts) + group("team", 4)))
    assert LdapMembers(chosen).member("ann") == Member(4, "ann", {4: "team"})
    assert LdapNames(chosen.model_copy(update={"retry_seconds": 0})).uids(["ann"]) == {"ann": 4}


def test_of_several_logins_of_an_account_that_in_the_dn_counts_as_in_names(
    server: Openldap,
) -> None:
    entries = account("ann", 2001).replace("uid: ann\n", "uid: ann\nuid: aaron\nuid: zoe\n")
    entries += account("b", 2002, rdn="cn=b").replace("uid: b\n", "uid: b\nuid: bea\n")
    chosen = table(server, server.branch(entries + group("team", 1, "aaron", "zoe")))
    known, names = LdapMembers(chosen), LdapNames(chosen)
    for login in ("ann", "aaron", "zoe", "b", "bea"):
        member = known.member(login)
        assert (member and member.uid) == names.uids([login]).get(login)
    assert known.member("ann") == Member(2001, "ann", {100: "gid:100"})
    assert known.member("aaron") is None
    assert known.member("bea") is None


def test_groups_of_one_name_are_told_apart(server: Openldap) -> None:
    groups = [loose(f"uid={gid}", "cn: a", f"looseNumber: {gid}", "contact: ann") for gid in (8, 9)]
    groups += [loose("uid=x", "cn: c", "looseNumber: 7", "contact: ann")]
    groups += [loose("uid=y", "cn: b", "looseNumber: 7", "contact: ann")]
    known = members(server, account("ann", 1, 9) + "".join(groups), **LOOSE_GROUPS)
    assert found(known.member("ann")).groups == {7: "b", 8: "a", 9: "a (gid:9)"}


def test_groups_that_cannot_be_used_are_passed_over(server: Openldap) -> None:
    groups = loose("uid=1", "looseNumber: 1", "contact: ann")
    groups += loose("uid=2", "cn: b", "contact: ann")
    groups += loose("uid=3", "cn: c", "looseNumber: 3", "looseNumber: 4", "contact: ann")
    groups += loose("uid=5", "cn: e", "looseNumber: 5", "contact: ann")
    known = members(server, account("ann", 1, 1) + groups, **LOOSE_GROUPS)
    assert found(known.member("ann")).groups == {1: "gid:1", 5: "e"}


def test_names_of_groups_are_in_the_text_form(server: Openldap) -> None:
    groups = loose("cn=1", "looseNumber: 1", "looseName:: Y2Fm6Q==", "contact: ann")  # caf\xe9
    settings = LOOSE_GROUPS | {"group_name_attribute": "looseName"}
    known = members(server, account("ann", 1) + groups, **settings)
    assert found(known.member("ann")).groups == {1: "caf\\xe9", 100: "gid:100"}


def test_filters_choose_who_and_what_is_found(server: Openldap) -> None:
    entries = account("ann", 1) + account("bob", 2) + group("a", 100) + group("b", 7, "ann", "bob")
    known = members(
        server,
        entries,
        people_filter="\n (&\n (objectClass=posixAccount)\n (!(uid=bob)) )\n",
        group_filter="(|(cn=b)(cn=c))",
    )
    assert known.member("bob") is None
    assert known.member("ann") == Member(1, "ann", {7: "b", 100: "gid:100"})


def test_all_pages_are_read(server: Openldap) -> None:
    count = SIZE_LIMIT + 1
    entries = "".join(group(f"g{gid}", gid, "ann") for gid in range(1000, 1000 + count))
    known = members(server, account("ann", 1) + entries, page_size=100)
    assert len(found(known.member("ann")).groups) == count + 1


# To the byte.


class Trap(NamedTuple):
    """
    A directory in which nearly anything finds somebody.

    logins: of who is really there, by uid, in the text form.
    """

    known: LdapMembers
    directory: Directory
    base: str
    logins: list[str]


LOGINS = ["ann", "Bob Baker", "zoé", "a*", "(uid=ann)", "\\2a", "ann)(uid=*", "=", "日本"]


@pytest.fixture(scope="session")
def trap(openldap: Openldap) -> Trap:
    """Accounts by `uid`, of which this server compares neither capitals nor double spaces."""
    openldap.start()
    entries = [
        loose(
            f"cn={number}", f"uid:: {b64encode(login.encode()).decode()}", f"looseNumber: {number}"
        )
        for number, login in enumerate(LOGINS)
    ]
    groups = "".join(group(f"g{number}", number, "ann") for number in (7, 8))
    base = openldap.branch("".join(entries) + groups)
    chosen = table(openldap, base, **LOOSE)
    logins = [text(login.encode()) for login in LOGINS]
    return Trap(LdapMembers(chosen), Directory(chosen, None), base, logins)


def test_a_login_of_odd_letters_is_found(trap: Trap) -> None:
    for number, login in enumerate(trap.logins):
        member = found(trap.known.member(login))
        assert (member.uid, member.login) == (number, login)


@pytest.mark.parametrize(
    "login",
    ["ANN", "Ann", "bob baker", "Bob  Baker", WIDE, "zoe\u0301", "ZOÉ", "A*"],
)
def test_what_only_the_server_takes_for_a_login_is_nobodys(trap: Trap, login: str) -> None:
    with trap.directory.session() as session:
        assert session.search(trap.base, f"(uid={login})".replace("*", "\\2a"), ["uid"])
    assert trap.known.member(login) is None


@pytest.mark.parametrize(
    "login",
    [
        *("", "*", "a", "an*", "*n", "(ann)", "ann)", "(", ")", "\\", "\\\\", "\\2a", "\\61nn"),
        *("*)(uid=*", "ann)(cn=*", "*))(|(uid=*", ")(objectClass=*)", "ann\0", "\\x00", "ann\\x00"),
        *("\\x00ann", "ann ", " ann", "ann\n", "ann\\n", "\\xff", "ann\\xff", "\\x61nn", "\ud800"),
        *("uid=ann", "\u200bann", "a" * 501, "a" * 500, "&", "!(uid=bob)", "(&(uid=ann))"),
    ],
)
def test_no_pattern_is_anybody(trap: Trap, login: str) -> None:
    assert trap.known.member(login) is None


near = st.builds(
    lambda login, at, new, cut: login[:at] + new + login[at + cut :],
    st.sampled_from(LOGINS).map(str.encode),
    st.integers(0, 12),
    st.sampled_from([b"", b" ", b"*", b"\0", b"(", b")", b"\\", b"A", b"\xc2\xad", b"\xff"]),
    st.integers(0, 2),
)


@settings(max_examples=300)
@given(
    near.map(text)
    | st.binary(max_size=20).map(text)
    | st.text(max_size=20)
    | st.text(st.sampled_from("anN*()\\\0&|!=~<>: uid2é"), max_size=12)
    | st.sampled_from(LOGINS).map(str.swapcase)
)
def test_nobody_is_found_but_by_the_very_bytes_of_a_login(trap: Trap, login: str) -> None:
    member = trap.known.member(login)
    if login not in trap.logins:
        assert member is None
    else:
        groups = {7: "g7", 8: "g8"} if login == "ann" else {}
        assert member == Member(trap.logins.index(login), login, groups)


ODD = [
    b"\0",
    b"a\0b",
    b"\xff\xfe",
    b"*",
    b"(*)",
    b"\\00",
    b"caf\xe9",
    b")(looseNumber=*",
    b" a ",
    b"\n",
]


def test_a_login_may_have_any_bytes(server: Openldap) -> None:
    people = [
        loose(f"cn={number}", f"looseNumber: {number}", f"looseName:: {b64encode(name).decode()}")
        for number, name in enumerate(ODD)
    ]
    known = members(server, "".join(people), people_login_attribute="looseName", **LOOSE)
    for number, name in enumerate(ODD):
        assert known.member(text(name)) == Member(number, text(name), {})
        assert known.member(text(name + b"\0")) is None


def test_only_groups_that_list_the_very_login_count(server: Openldap) -> None:
    lists = {1: ["ANN"], 2: ["Ann"], 3: ["ann  b", "ann"], 4: ["annb", "an"], 5: [WIDE]}
    groups = "".join(
        loose(f"cn=g{gid}", f"looseNumber: {gid}", *(f"contact: {one}" for one in listed))
        for gid, listed in lists.items()
    )
    known = members(server, account("ann", 1) + groups, **LOOSE_GROUPS)
    assert found(known.member("ann")).groups == {3: "g3", 100: "gid:100"}


def test_a_group_that_does_not_list_the_very_login_names_no_other(server: Openldap) -> None:
    groups = loose("uid=1", "cn: a", "looseNumber: 7", "contact: ANN")
    groups += loose("uid=2", "cn: b", "looseNumber: 7", "contact: ann")
    known = members(server, account("ann", 1) + groups, **LOOSE_GROUPS)
    assert found(known.member("ann")).groups == {7: "b", 100: "gid:100"}


# A server that does not answer.


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_a_server_that_is_away_is_asked_once(server: Openldap, trouble: str) -> None:
    known = members(server, account("ann", 1), timeout_seconds=1)
    (server.kill if trouble == "killed" else server.freeze)()
    start = time.monotonic()
    with pytest.raises(NamesMissing, match=f"^{server.url}: .*: see that it is there$"):
        known.member("ann")
    assert time.monotonic() - start < 10


def test_a_server_that_is_back_answers(server: Openldap) -> None:
    known = members(server, account("ann", 1))
    server.kill()
    with pytest.raises(NamesMissing):
        known.member("ann")
    server.start()
    assert found(known.member("ann")).uid == 1


def test_a_base_that_is_not_there_is_told(server: Openldap) -> None:
    branch = server.branch(account("ann", 1))
    for key in ("people_base", "group_base"):
        known = LdapMembers(table(server, branch, **{key: f"ou=none,{branch}"}))
        with pytest.raises(NamesMissing, match="the server has no such base"):
            known.member("ann")


def test_whoever_asks_has_a_password(server: Openldap) -> None:
    branch = server.branch(account("ann", 1), above=HIDDEN)
    chosen = table(server, branch, url=server.tls_url, ca_file=server.ca_file, bind_dn=READER)
    assert found(LdapMembers(chosen, password=PASSWORD).member("ann")).uid == 1
    with pytest.raises(NamesMissing, match=r"refuses names\.ldap\.bind_dn or its password$"):
        LdapMembers(chosen, password="wrong one").member("ann")


def test_a_file_without_certificates_is_told_at_once(server: Openldap, tmp_path: Path) -> None:
    with pytest.raises(NamesWrong, match=r"^names\.ldap\.ca_file: .*No such file"):
        LdapMembers(table(server, "dc=x", url=server.tls_url, ca_file=tmp_path / "ca.pem"))


def test_several_threads_may_ask_at_a_time(server: Openldap) -> None:
    logins = [f"u{uid}" for uid in range(8)]
    entries = "".join(account(login, uid) for uid, login in enumerate(logins))
    known = members(server, entries, url=server.tls_url, ca_file=server.ca_file)
    with ThreadPoolExecutor(8) as pool:
        told = [*pool.map(known.member, logins * 5)]
    assert [found(member).login for member in told] == logins * 5
