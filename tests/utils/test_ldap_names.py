"""Names from a real LDAP server are all there and right, or nothing is used and the reason told."""

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import children
import pytest
from servers.openldap import (
    HIDDEN,
    LIMITED,
    LIMITED_TO,
    PASSWORD,
    READER,
    SIZE_LIMIT,
    Openldap,
    certify,
    people_and_groups,
)
from servers.wire import wire_to
from site_of_tests import TODAY, Site, entry

from lurge_types.config import LdapTable
from lurge_types.names import Group, User
from utils.ldap_names import LdapNames
from utils.names import NamesMissing, NamesWrong

ANN = "dn: uid=ann,BRANCH\nobjectClass: inetOrgPerson\nobjectClass: posixAccount\nuid: ann\n"
ANN += "cn: Ann\nsn: Archer\nuidNumber: 2001\ngidNumber: 100\nhomeDirectory: /home/ann\n\n"
BOB = "dn: cn=Bob Baker,BRANCH\nobjectClass: inetOrgPerson\ncn: Bob Baker\nsn: Baker\n\n"
TEAM = "dn: cn=team,BRANCH\nobjectClass: posixGroup\ncn: team\ngidNumber: 1001\n\n"
LOOSE = {
    "group_filter": "(objectClass=loose)",
    "group_gid_attribute": "looseNumber",
    "group_pi_attribute": "contact",
}


def group(name: str, gid: int, pi: str = "") -> str:
    """A group in LDIF; its PI's DN, if any."""
    return (
        f"dn: cn={name},BRANCH\nobjectClass: posixGroup\nobjectClass: projectGroup\ncn: {name}\n"
        f"gidNumber: {gid}\n" + (f"projectPI: {pi}\n\n" if pi else "\n")
    )


def loose(rdn: str, *lines: str) -> str:
    """An entry in LDIF whose attributes may be anything."""
    return "\n".join([f"dn: {rdn},BRANCH", "objectClass: loose", *lines, "", ""])


def table(server: Openldap, branch: str, **settings: Any) -> LdapTable:
    facts = {
        "url": server.url,
        "group_base": branch,
        "people_base": branch,
        "group_pi_attribute": "projectPI",
        "timeout_seconds": 10,
        "retry_seconds": 0,
    }
    return LdapTable.model_validate(facts | settings)


def names(server: Openldap, entries: str, **settings: Any) -> LdapNames:
    """The names of a branch with these entries, and Ann's."""
    return LdapNames(table(server, server.branch(ANN + entries), **settings))


def refused(chosen: LdapTable, **arguments: Any) -> str:
    """Why there are no names."""
    with pytest.raises(NamesMissing) as caught:
        LdapNames(chosen, **arguments)
    why = str(caught.value)
    assert why.startswith(f"{chosen.url}: ")
    assert PASSWORD not in why
    return why.removeprefix(f"{chosen.url}: ")


# Names.


def test_groups_have_their_names_and_the_surnames_of_their_pis(server: Openldap) -> None:
    found = names(
        server,
        BOB
        + group("team", 1001, "uid=ann,BRANCH")
        + group("other", 1002, "cn=Bob Baker,BRANCH")
        + group("alone", 1003),
    )
    assert found.groups([1001, 1002, 1003, 1004]) == {
        1001: Group(1001, "team", "Archer", is_humgen=True),
        1002: Group(1002, "other", "Baker", is_humgen=True),
        1003: Group(1003, "alone", None, is_humgen=True),
        1004: Group(1004, "gid:1004", known=False),
    }
    assert found.remarks == ()


def test_people_have_their_logins_and_groups(server: Openldap) -> None:
    found = names(server, BOB + TEAM)
    assert found.users([2001, 2002]) == {
        2001: User(2001, "ann", 100),
        2002: User(2002, "uid:2002", known=False),
    }


def test_nobody_asked_for_is_nobody_named(server: Openldap) -> None:
    found = names(server, TEAM)
    assert (found.groups([]), found.users([])) == ({}, {})


def test_names_are_in_the_text_form_of_paths(server: Openldap) -> None:
    found = names(
        server,
        loose("cn=1", "looseNumber: 1", "looseName:: Y2Fm6Q==")  # caf\xe9
        + loose("cn=2", "looseNumber: 2", "looseName:: YQliXA==")  # a tab b backslash
        + loose("cn=3", "looseNumber: 3", "looseName: 日本", "contact: uid=zoé,BRANCH")
        + BOB.replace("cn=Bob Baker", "uid=zoé").replace("sn: Baker", "uid: zoé\nsn: Zoë Ångström"),
        **LOOSE,
        group_name_attribute="looseName",
        people_login_attribute="cn",
    )
    shown = [group.name for group in found.groups([1, 2, 3]).values()]
    assert shown == ["caf\\xe9", "a\\tb\\\\", "日本"]
    assert found.groups([3])[3].pi == "Zoë Ångström"


@pytest.mark.parametrize(
    ("entry", "written"),
    [
        ("uid=zed", "UID=ZED,BRANCH"),
        ("uid=zed", "  uid = zed ,BRANCH"),
        ("uid=zed", "uid=\\7a\\65d,BRANCH"),
        ("cn=Doe\\, J. \\+ co", "cn=doe\\2c  j. \\2B CO,BRANCH"),
        ("cn=zoé", "cn=ZO\\C3\\89,BRANCH"),
        ("cn=a=b\\\\c\\#\\22", 'cn=a\\=b\\5cc#\\",BRANCH'),
        ("uid=zed+cn=Zed", "cn=zed+uid=ZED,BRANCH"),
    ],
)
@pytest.mark.parametrize("attribute", ["projectPI", "contact"])
def test_a_pi_is_found_however_the_dn_is_written(
    server: Openldap, entry: str, written: str, attribute: str
) -> None:
    person = f"dn: {entry},BRANCH\nobjectClass: inetOrgPerson\nuid: zed\ncn: Zed\nsn: Zola\n\n"
    # A space at the start has to be encoded in LDIF; a server of DNs sees none there.
    pi = written.strip() if attribute == "projectPI" else written
    team = f"dn: cn=team,BRANCH\nobjectClass: loose\ncn: team\nlooseNumber: 1\n{attribute}: {pi}\n"
    settings = LOOSE | {"group_pi_attribute": attribute}
    found = names(server, person + team, **settings)
    assert found.groups([1])[1].pi == "Zola"
    assert found.remarks == ()


def test_a_pi_whom_nobody_names_is_told(server: Openldap) -> None:
    entries = loose("cn=a", "looseNumber: 1", "contact: uid=none,BRANCH")
    entries += loose("cn=b", "looseNumber: 2", "contact: John Doe")
    entries += loose("cn=c", "looseNumber: 3", "contact: cn=d,BRANCH")
    entries += loose("cn=d", "looseNumber: 4", "contact: cn=d,BRANCH")
    entries += loose("cn=e", "looseNumber: 5", "contact: uid=ann,BRANCH")
    branch = server.branch(ANN + entries)
    found = LdapNames(table(server, branch, **LOOSE))
    pis = {gid: group.pi for gid, group in found.groups(range(1, 6)).items()}
    assert pis == {1: None, 2: None, 3: None, 4: None, 5: "Archer"}
    assert found.remarks == (
        "4 groups with a PI who has no name"
        f"; cn=a,{branch}: nobody below names.ldap.people_base is uid=none,{branch}"
        f"; cn=b,{branch}: nobody below names.ldap.people_base is John Doe"
        f"; cn=c,{branch}: nobody below names.ldap.people_base is cn=d,{branch}; ...",
    )


def test_an_account_without_a_surname_is_told_where_it_is_a_pi(server: Openldap) -> None:
    person = "dn: uid=x,BRANCH\nobjectClass: account\nobjectClass: posixAccount\nuid: x\ncn: X\n"
    person += "uidNumber: 2002\ngidNumber: 100\nhomeDirectory: /\n\n"
    found = names(server, person + group("team", 1, "uid=x,BRANCH"))
    assert found.groups([1])[1].pi is None
    assert found.users([2002])[2002].name == "x"
    assert "has no sn" in found.remarks[0]


def test_the_first_of_several_pis_who_has_a_name_counts(server: Openldap) -> None:
    contacts = ["contact: uid=a,BRANCH", "contact: uid=ann,BRANCH", "contact: cn=Bob Baker,BRANCH"]
    found = names(server, BOB + loose("cn=a", "looseNumber: 1", *contacts), **LOOSE)
    assert found.groups([1])[1].pi == "Baker"
    assert [remark.partition(";")[0] for remark in found.remarks] == [
        "1 groups with a PI who has no name",
        "1 groups of several PIs",
    ]


def test_without_an_attribute_for_them_there_are_no_pis(server: Openldap) -> None:
    found = names(server, group("team", 1, "uid=none,BRANCH"), group_pi_attribute=None)
    assert found.groups([1])[1] == Group(1, "team", None, is_humgen=True)
    assert found.remarks == ()


def test_of_two_groups_with_one_gid_the_lesser_name_counts(server: Openldap) -> None:
    entries = group("zebra", 1, "cn=Bob Baker,BRANCH") + group("ape", 1) + group("bee", 1)
    branch = server.branch(ANN + BOB + entries)
    found = LdapNames(table(server, branch))
    assert found.groups([1])[1] == Group(1, "ape", None, is_humgen=True)
    why = f"gidNumber 1 is that of cn=ape,{branch}, which counts"
    assert found.remarks == (
        f"2 groups with the number of another; cn=bee,{branch}: {why}; cn=zebra,{branch}: {why}",
    )


def test_the_least_gid_of_a_name_has_it_alone(server: Openldap) -> None:
    entries = [loose(f"uid={gid}", "cn: team", f"looseNumber: {gid}") for gid in (30, 4, 200)]
    found = names(server, "".join(entries), **LOOSE)
    shown = {gid: group.name for gid, group in found.groups([4, 30, 200]).items()}
    assert shown == {4: "team", 30: "team (gid:30)", 200: "team (gid:200)"}


def test_of_several_names_that_in_the_dn_counts(server: Openldap) -> None:
    entries = loose("cn=b", "cn: a", "cn: c", "looseNumber: 1")
    entries += loose("uid=1", "cn: f", "cn: e", "looseNumber: 2")
    found = names(server, entries, **LOOSE)
    assert [group.name for group in found.groups([1, 2]).values()] == ["b", "e"]
    assert found.remarks[0].startswith("2 groups of several names; cn=b,")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "no looseNumber"),
        (["looseNumber: one"], "looseNumber is no number: one"),
        (["looseNumber: -1"], "looseNumber is no number: -1"),
        (["looseNumber: \u0661"], "looseNumber is no number: \u0661"),
        (["looseNumber: 4294967296"], "looseNumber is above 4294967295: 4294967296"),
        ([f"looseNumber: {'9' * 5000}"], f"looseNumber is no number: {'9' * 40}"),
        (["looseNumber: 1", "looseNumber: 2"], "2 values of looseNumber"),
    ],
)
def test_a_group_without_one_number_is_passed_over_and_told(
    server: Openldap, lines: list[str], why: str
) -> None:
    branch = server.branch(ANN + loose("cn=odd", *lines) + loose("cn=fine", "looseNumber: 5"))
    found = LdapNames(table(server, branch, **LOOSE))
    assert found.groups([5])[5].name == "fine"
    assert found.remarks == (f"1 groups passed over; cn=odd,{branch}: {why}",)


def test_names_that_are_missing_or_too_long_are_passed_over_and_told(server: Openldap) -> None:
    entries = loose("uid=none", "looseNumber: 1") + loose("cn=fine", "looseNumber: 3")
    entries += loose("uid=long", f"cn: {'é' * 251}", "looseNumber: 2")
    entries += loose("uid=most", f"cn: {'é' * 250}", "looseNumber: 4")
    found = names(server, entries, **LOOSE)
    assert [group.known for group in found.groups([1, 2, 3, 4]).values()] == [
        False,
        False,
        True,
        True,
    ]
    assert "no cn" in found.remarks[0]
    assert "cn has more than 500 bytes" in found.remarks[0]


def test_people_are_passed_over_and_told_like_groups(server: Openldap) -> None:
    people = loose("cn=a", "looseNumber: x", "uid: a") + loose("cn=b", "looseNumber: 1", "uid: b")
    people += loose("cn=c", "looseNumber: 1", "uid: c")
    branch = server.branch(TEAM + people)
    settings = {"people_filter": "(objectClass=loose)", "people_uid_attribute": "looseNumber"}
    found = LdapNames(table(server, branch, **settings))
    assert found.users([1])[1] == User(1, "b", None)
    assert found.remarks == (
        f"1 people passed over; cn=a,{branch}: looseNumber is no number: x",
        "1 people with the number of another; "
        f"cn=c,{branch}: looseNumber 1 is that of cn=b,{branch}, which counts",
    )


def test_attributes_may_be_written_in_any_case(server: Openldap) -> None:
    found = names(
        server,
        group("team", 1, "uid=ann,BRANCH"),
        group_gid_attribute="GIDNUMBER",
        group_name_attribute="CN",
        group_pi_attribute="projectpi",
        people_surname_attribute="SN",
    )
    assert found.groups([1])[1] == Group(1, "team", "Archer", is_humgen=True)


@pytest.mark.parametrize(
    "words",
    [
        "(cn=te*m)",
        "(&(objectClass=posixGroup)(!(cn=other)))",
        "( & (objectClass=posixGroup)\n (| (gidNumber=1) (gidNumber=2) ) )",
        "(cn:caseExactMatch:=te\\41m)",
        "(&(gidNumber>=1)(gidNumber<=5))",
    ],
)
def test_a_filter_chooses_the_groups(server: Openldap, words: str) -> None:
    found = names(server, group("teAm", 1) + group("other", 7), group_filter=words)
    known = {gid for gid, group in found.groups([1, 7]).items() if group.is_humgen}
    assert known == {1}


# All of them.


def test_all_pages_are_read_in_three_searches(server: Openldap) -> None:
    groups, people = SIZE_LIMIT + 201, 2 * SIZE_LIMIT + 1
    branch = server.branch()
    entries = "".join(people_and_groups(groups, people)).replace("dc=site,dc=example", branch)
    server.add(entries)
    since = server.log_size()
    found = LdapNames(table(server, branch, page_size=100))
    uids = [20_000 + number for number in range(people) if number % 50]
    assert all(user.known for user in found.users(uids).values())
    numbers = range(groups)
    assert [group.name for group in found.groups(10_000 + i for i in numbers).values()] == [
        f"team{i}" for i in numbers
    ]
    pis = [group.pi for group in found.groups(10_000 + i for i in numbers).values()]
    assert pis == [f"Surname{i % 500}" if i % 7 else None for i in numbers]
    pages = server.searches(since)
    assert len(set(pages)) == 3
    assert len(pages) == 8 + 10 + 1


def test_what_the_server_cuts_short_is_not_used(server: Openldap) -> None:
    branch = server.branch(ANN + "".join(group(f"g{i}", i) for i in range(LIMITED_TO + 1)))
    why = refused(
        table(server, branch, bind_dn=LIMITED, page_size=10),
        password=PASSWORD,
    )
    assert "sizeLimitExceeded" in why
    assert "ask for a higher limit" in why


def test_a_page_larger_than_the_servers_limit_is_no_harm(server: Openldap) -> None:
    entries = "".join(group(f"g{i}", i) for i in range(SIZE_LIMIT + 1))
    found = names(server, entries, page_size=10_000)
    assert all(group.known for group in found.groups(range(SIZE_LIMIT + 1)).values())


@pytest.mark.parametrize(
    ("entries", "told"),
    [(ANN, "no group found: see to names.ldap.group_base"), (TEAM, "no people found: see to")],
)
def test_a_directory_without_any_group_or_account_is_an_error(
    server: Openldap, entries: str, told: str
) -> None:
    assert refused(table(server, server.branch(entries))).startswith(told)


def test_that_all_groups_were_passed_over_is_told(server: Openldap) -> None:
    branch = server.branch(ANN + loose("cn=odd"))
    assert "1 groups passed over; cn=odd" in refused(table(server, branch, **LOOSE))


@pytest.mark.parametrize("key", ["group_base", "people_base"])
def test_a_base_that_is_not_there_is_told(server: Openldap, key: str) -> None:
    branch = server.branch(ANN + TEAM)
    why = refused(table(server, branch, **{key: f"ou=none,{branch}"}))
    assert f"ou=none,{branch}" in why
    assert "noSuchObject: the server has no such base" in why


def test_entries_that_another_server_has_are_told(server: Openldap) -> None:
    referral = "dn: ou=far,BRANCH\nobjectClass: referral\nobjectClass: extensibleObject\nou: far\n"
    found = names(server, TEAM + referral + "ref: ldap://127.0.0.1:1/ou=far\n\n")
    assert found.groups([1001])[1001].known
    assert found.remarks == ("3 references to other servers, not followed",)


def test_a_base_that_another_server_has_is_told_with_that(server: Openldap) -> None:
    referral = "dn: ou=far,BRANCH\nobjectClass: referral\nobjectClass: extensibleObject\nou: far\n"
    branch = server.branch(ANN + referral + "ref: ldap://127.0.0.1:1/ou=far\n\n")
    why = refused(table(server, branch, group_base=f"ou=far,{branch}"))
    assert "referral: ldap://127.0.0.1:1/ou=far" in why
    assert "names another server instead" in why


def test_a_people_filter_may_stand_in_several_lines(server: Openldap) -> None:
    words = "\n (&\n (objectClass=posixAccount)\n (uid=ann) )\n"
    entries = BOB + group("team", 1, "cn=bob baker,BRANCH")
    found = names(server, entries, people_filter=words)
    assert found.groups([1])[1].pi == "Baker"
    assert found.users([2001])[2001].name == "ann"


# Who asks.


def test_whoever_binds_sees_what_others_do_not(server: Openldap) -> None:
    branch = server.branch(ANN + TEAM, above=HIDDEN)
    found = LdapNames(table(server, branch, bind_dn=READER), password=PASSWORD)
    assert found.groups([1001])[1001].name == "team"
    assert "noSuchObject" in refused(table(server, branch))


def test_a_wrong_password_is_told_at_once(server: Openldap) -> None:
    waits: list[str] = []
    chosen = table(server, server.branch(ANN + TEAM), bind_dn=READER, retry_seconds=60)
    why = refused(chosen, password="wrong one", waiting=waits.append)
    assert why == (
        "binding: invalidCredentials: the server refuses names.ldap.bind_dn or its password"
    )
    assert waits == []


# TLS.


TLS: dict[str, Callable[[Openldap], dict[str, Any]]] = {
    "ldaps": lambda server: {"url": server.tls_url},
    "StartTLS": lambda server: {"url": server.url, "start_tls": True},
}


@pytest.mark.parametrize("way", TLS)
def test_a_server_whose_certificate_is_trusted_is_read(server: Openldap, way: str) -> None:
    found = names(server, TEAM, ca_file=server.ca_file, **TLS[way](server))
    assert found.groups([1001])[1001].name == "team"


@pytest.mark.parametrize("way", TLS)
def test_a_server_whose_certificate_nobody_trusts_is_refused(
    server: Openldap, way: str, tmp_path: Path
) -> None:
    certify(tmp_path)
    branch = server.branch(ANN + TEAM)
    for settings in ({}, {"ca_file": tmp_path / "ca.pem"}):
        chosen = table(
            server, branch, bind_dn=READER, retry_seconds=60, **TLS[way](server), **settings
        )
        waits: list[str] = []
        since = server.log_size()
        why = refused(chosen, password=PASSWORD, waiting=waits.append)
        assert why.startswith("its certificate is not trusted (")
        assert "names.ldap.ca_file" in why
        assert waits == []
        assert server.searches(since) == []
        assert READER not in server.log_since(since)


def test_a_server_whose_certificate_is_anothers_is_refused(server: Openldap) -> None:
    chosen = table(server, server.branch(), url=server.stranger, ca_file=server.ca_file)
    assert "not valid for '127.0.0.2'" in refused(chosen)


@pytest.mark.parametrize(("text", "told"), [("x", "holds no certificates"), (None, "No such file")])
def test_a_file_without_certificates_is_told(
    server: Openldap, text: str | None, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "ca.pem"
    if text:
        file.write_text(text)
    with pytest.raises(NamesWrong, match=rf"^names\.ldap\.ca_file: .*{told}"):
        LdapNames(table(server, "dc=x", url=server.tls_url, ca_file=file))


# A server that is down or slow.


def test_a_server_that_is_down_is_told(server: Openldap) -> None:
    branch = server.branch(ANN + TEAM)
    server.kill()
    for settings in TLS.values():
        why = refused(table(server, branch, ca_file=server.ca_file, **settings(server)))
        assert why == "Connection refused: see that it is there and run again"


def test_a_host_may_have_several_addresses(server: Openldap, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.3 localhost\n127.0.0.1 localhost\n")  # at the first is nobody
    code = """
        import subprocess, sys, warnings

        warnings.simplefilter("ignore")  # of ldap3, which also leaves sockets open
        from lurge_types.config import LdapTable
        from utils.ldap_names import LdapNames
        from utils.names import NamesMissing

        hosts, chosen = sys.argv[1:]
        subprocess.run(["mount", "--bind", hosts, "/etc/hosts"], check=True)
        try:
            print(LdapNames(LdapTable.model_validate_json(chosen)).groups([1001])[1001].name)
        except NamesMissing as error:
            print(error)
        """

    def told(chosen: LdapTable) -> str:
        json = chosen.model_dump_json()
        return children.run(code, hosts, json, within=children.OWN_MOUNTS).strip()

    url = server.tls_url.replace("127.0.0.1", "localhost")
    chosen = table(server, server.branch(ANN + TEAM), url=url, ca_file=server.ca_file)
    assert told(chosen) == "team"
    stranger = chosen.model_copy(update={"ca_file": None})
    assert "its certificate is not trusted" in told(stranger)
    server.kill()
    assert told(chosen) == f"{url}: Connection refused: see that it is there and run again"


def test_a_host_that_nobody_knows_is_told(server: Openldap) -> None:
    why = refused(table(server, "dc=x", url="ldap://nobody.invalid"))
    assert why.startswith("no such host is known")


@pytest.mark.parametrize("way", ["plain", *TLS])
def test_a_server_that_does_not_answer_is_told(server: Openldap, way: str) -> None:
    branch = server.branch(ANN + TEAM)
    chosen = TLS[way](server) | {"ca_file": server.ca_file} if way in TLS else {}
    server.freeze()
    why = refused(table(server, branch, timeout_seconds=1, **chosen))
    assert why == "no answer within 1 s: see that it is there and run again"


def test_a_server_that_breaks_off_between_pages_is_asked_again_from_the_start(
    server: Openldap,
) -> None:
    branch = server.branch(ANN + "".join(group(f"g{i}", i) for i in range(30)))
    waits: list[str] = []
    with wire_to(server.port) as wire:
        wire.cut_behind(b"posixGroup", b"posixGroup", b"posixGroup")
        url = f"ldap://127.0.0.1:{wire.port}"
        chosen = table(server, branch, url=url, page_size=10, retry_seconds=10)
        found = LdapNames(chosen, waiting=waits.append)
        assert wire.happened.is_set()
    assert all(group.known for group in found.groups(range(30)).values())
    assert len(waits) == 1
    assert waits[0].startswith(f"{url}: ")


@pytest.mark.parametrize("trouble", ["killed", "frozen"])
def test_a_server_that_comes_back_is_waited_for(server: Openldap, trouble: str) -> None:
    branch = server.branch(ANN + TEAM)
    waits: list[str] = []
    back = threading.Event()

    def waiting(why: str) -> None:
        waits.append(why)
        back.set()

    def come_back() -> None:
        back.wait(20)
        server.thaw()
        server.start()

    (server.kill if trouble == "killed" else server.freeze)()
    thread = threading.Thread(target=come_back)
    thread.start()
    chosen = table(server, branch, timeout_seconds=1, retry_seconds=20)
    found = LdapNames(chosen, waiting=waiting)
    thread.join()
    assert found.groups([1001])[1001].name == "team"
    assert len(waits) == 1


def test_pauses_between_tries_grow(server: Openldap) -> None:
    server.kill()
    tries: list[float] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def hang_up() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return
                tries.append(time.monotonic())

        thread = threading.Thread(target=hang_up)
        thread.start()
        refused(table(server, "dc=x", url=f"ldap://127.0.0.1:{port}", retry_seconds=1))
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert 2 <= len(tries) <= 5


@contextmanager
def stand_in(answer: bytes) -> Iterator[str]:
    """The URL of a server that gives one answer to whatever it is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1 << 16)
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"ldap://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def test_a_server_that_speaks_no_ldap_is_told(server: Openldap) -> None:
    with stand_in(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 9) as url:
        assert refused(table(server, "dc=x", url=url)).startswith("speaks no LDAP")


def test_a_server_that_is_busy_is_asked_again(server: Openldap) -> None:
    busy = bytes.fromhex("300c02010161070a013304000400")
    waits: list[str] = []
    with stand_in(busy) as url:
        refused(table(server, "dc=x", url=url, retry_seconds=0.2), waiting=waits.append)
    assert len(waits) == 1


# A night.


@pytest.fixture
def site(server: Openldap, tmp_path: Path) -> Site:
    """A site with a scan, whose names are in a directory that wants a password."""
    branch = server.branch(
        ANN + BOB + group("team", 3000, "cn=bob baker,BRANCH") + loose("cn=team2"), above=HIDDEN
    )
    password = tmp_path / "ldap-password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    site = Site(tmp_path)
    site.config = f"""
        [names]
        source = "ldap"
        [names.ldap]
        url = "{server.url}"
        start_tls = true
        ca_file = "{server.ca_file}"
        bind_dn = "{READER}"
        password_file = "ldap-password"
        group_base = "{branch}"
        group_filter = "(|(objectClass=posixGroup)(objectClass=loose))"
        group_pi_attribute = "projectPI"
        people_base = "{branch}"
        retry_seconds = 0.2
        timeout_seconds = 10
        """
    site.add_scan([entry("/lustre/s1/a", gid=3000, uid=2001), entry("/lustre/s1/b", gid=3001)])
    return site


def test_a_nights_reports_have_the_directorys_names(site: Site) -> None:
    done = site.run("reporter", "users")
    assert done.returncode == 0, done.stderr
    rows = [line.split("\t") for line in site.tsv().read_text().splitlines()]
    assert [row[1:4] for row in rows[1:]] == [["gid:3001", "3001", "-"], ["team", "3000", "Baker"]]
    users = (site.reports / "users" / f"{TODAY}.tsv").read_text().splitlines()
    assert users[1].startswith("ann\t2001\tteam\t3000\t")
    with sqlite3.connect(site.folder / "lurge.db") as database:
        groups = database.execute("select gid, group_name, is_humgen from unix_group order by gid")
        assert groups.fetchall() == [(3000, "team", 1), (3001, "gid:3001", 0)]
    assert "event=names" in done.stderr
    assert "1 groups passed over; cn=team2," in done.stderr
    assert PASSWORD not in done.stdout + done.stderr


@pytest.mark.parametrize("trouble", ["down", "slow", "password", "trust", "base"])
def test_without_its_names_a_night_reads_and_writes_nothing(
    site: Site, server: Openldap, trouble: str, tmp_path: Path
) -> None:
    (scan,) = site.wrstat.glob("*/stats.gz")
    scan.write_bytes(b"what would fail the volume if it were read")
    site.env = {"LURGE_LDAP_PASSWORD": "wrong one"} if trouble == "password" else {}
    if trouble == "trust":
        certify(tmp_path)
        site.config = site.config.replace(str(server.ca_file), str(tmp_path / "ca.pem"))
    elif trouble == "base":
        site.config = site.config.replace('people_base = "', 'people_base = "ou=none,')
    elif trouble in {"down", "slow"}:
        (server.kill if trouble == "down" else server.freeze)()
        site.config = site.config.replace("timeout_seconds = 10", "timeout_seconds = 1")
    before = sorted(tmp_path.rglob("*"))
    done = site.run("reporter")
    assert done.returncode == 3, done.stderr
    *waits, told = done.stderr.splitlines()
    assert told.startswith(f"lurge: {server.url}: ")
    assert len(waits) == (1 if trouble in {"down", "slow"} else 0)
    assert "wrong one" not in done.stderr
    assert PASSWORD not in done.stderr
    assert done.stdout == ""
    assert sorted({*tmp_path.rglob("*")} - {site.folder / "lurge.toml"}) == before


def test_a_password_that_others_can_read_is_told_with_all_other_problems(site: Site) -> None:
    (site.folder / "ldap-password").chmod(0o644)
    site.config += '[quotas]\nsource = "csv"\ncsv_file = "none"'
    done = site.run("reporter")
    assert done.returncode == 2
    names, quotas = done.stderr.splitlines()
    assert names.endswith("ldap-password: run chmod 600 on it")
    assert quotas.startswith("lurge: quotas.csv_file: ")


def test_a_doctor_finds_the_directory_well_or_says_what_ails_it(
    site: Site, server: Openldap
) -> None:
    site.config = site.config.replace("retry_seconds = 0.2", "retry_seconds = 600")
    assert "names.source = ldap answers in" in site.run("doctor", "--json").stdout
    server.kill()
    ill = site.run("doctor", "--json")
    assert ill.returncode == 1
    assert f"{server.url}: Connection refused" in ill.stdout
