"""
Names of groups and people in an LDAP directory, read all at once.

Three searches, each in pages: the groups; the accounts, with the surnames of the people who have
them; and the people with a surname who have no account, as one of them may be a group's PI.
Whatever cannot be used is passed over and told in `remarks`.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import NamedTuple

from lurge_types.config import LdapTable
from lurge_types.ldap_text import normal_dn
from lurge_types.names import Group, User
from utils.ldap_directory import Directory, patiently
from utils.ldap_entries import Entry, Found, Remarks, found_in, name_of, number_of, shown_dn
from utils.names import Known, NamesMissing, shown
from utils.paths import text


class Answers(NamedTuple):
    """What the searches have found; references: to other servers, which have more."""

    groups: list[Entry]
    accounts: list[Entry]
    others: list[Entry]
    references: int


class LdapNames:
    """
    The names of a directory's groups, which are project groups, and of its people.

    Of two entries with one number the one with the lesser name counts, of two numbers of one name
    the lesser number has it alone. Of several values of an attribute that names, the one in the
    entry's own DN counts, else the least.

    remarks: what was passed over, or is not as it should be.
    waiting: told in words, once, that the server is being waited for.

    Raises NamesWrong where `ca_file` cannot be used, NamesMissing.
    """

    def __init__(
        self,
        table: LdapTable,
        *,
        password: str | None = None,
        waiting: Callable[[str], None] = lambda _: None,
    ) -> None:
        server = Directory(table, password)
        answers = patiently(
            server.name, lambda: _answers(server, table), table.retry_seconds, waiting
        )
        told = Remarks()
        told.count("references to other servers, not followed", answers.references)
        groups = found_in(
            "groups", answers.groups, table.group_name_attribute, table.group_gid_attribute, told
        )
        accounts = found_in(
            "people",
            answers.accounts,
            table.people_login_attribute,
            table.people_uid_attribute,
            told,
        )
        for kind, found in (("group", groups), ("people", accounts)):
            if not found:
                raise NamesMissing(
                    f"{server.name}: no {kind} found: see to names.ldap.{kind}_base, "
                    + "; ".join((f"{kind}_filter and what bind_dn may see", *told.lines()))
                )
        self._groups = Known((group.name, group.number) for group in groups.values())
        self._users = Known((account.name, account.number) for account in accounts.values())
        self._pis = _pis(table, groups.values(), answers, told)
        self._primary = _primary(table, accounts.values())
        self.remarks = told.lines()

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""
        return {gid: self._group(gid) for gid in gids}

    def users(self, uids: Iterable[int]) -> dict[int, User]:
        """A user for each number, with a name of their own."""
        return {uid: self._user(uid) for uid in uids}

    def gids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of groups, by name in the text form, of those that are known."""
        return self._groups.numbers(names)

    def uids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of users, by name in the text form, of those that are known."""
        return self._users.numbers(names)

    def _group(self, gid: int) -> Group:
        name, first = self._groups.name(gid)
        known = bool(name)
        return Group(gid, shown("gid", gid, name, first), self._pis.get(gid), known, known)

    def _user(self, uid: int) -> User:
        name, first = self._users.name(uid)
        return User(uid, shown("uid", uid, name, first), self._primary.get(uid), bool(name))


def _answers(server: Directory, table: LdapTable) -> Answers:
    """All that is asked for, or nothing. Raises Away, NamesMissing."""
    surname = table.people_surname_attribute
    group = [table.group_name_attribute, table.group_gid_attribute]
    person = [table.people_login_attribute, table.people_uid_attribute]
    person += [table.people_gid_attribute, surname]
    if table.group_pi_attribute is not None:
        group.append(table.group_pi_attribute)
    with server.session() as session:
        groups = session.search(table.group_base, table.group_filter, group)
        accounts = session.search(table.people_base, table.people_filter, person)
        others = []
        if table.group_pi_attribute is not None:
            without = f"(&({surname}=*)(!{table.people_filter}))"
            others = session.search(table.people_base, without, [surname])
        return Answers(groups, accounts, others, session.references)


def _primary(table: LdapTable, accounts: Iterable[Found]) -> dict[int, int]:
    """The primary group of each account by uid, where one is told."""
    gids = {}
    for account in accounts:
        with suppress(ValueError):
            gids[account.number] = number_of(account.entry, table.people_gid_attribute)
    return gids


def _pis(
    table: LdapTable, groups: Iterable[Found], answers: Answers, told: Remarks
) -> dict[int, str]:
    """The surname of each group's PI by gid, where there is one; of several, the first by DN."""
    if table.group_pi_attribute is None:
        return {}
    people = {_key(person.dn): person for person in (*answers.accounts, *answers.others)}
    pis = {}
    for group in groups:
        surnames = []
        for value in group.entry.all(table.group_pi_attribute):
            dn = value.decode("utf-8", "surrogateescape")
            try:
                surnames.append(_surname(people, dn, table.people_surname_attribute))
            except ValueError as error:
                told.add("groups with a PI who has no name", group.dn, str(error))
        if surnames:
            pis[group.number] = surnames[0]
        if len(surnames) > 1:
            told.add("groups of several PIs", group.dn, f"goes by {surnames[0]}")
    return pis


def _surname(people: Mapping[str, Entry], dn: str, attribute: str) -> str:
    """The surname of whom a DN names. Raises ValueError."""
    person = people.get(_key(dn))
    if person is None:
        raise ValueError(f"nobody below names.ldap.people_base is {shown_dn(dn)}")
    try:
        return text(name_of(person, attribute))
    except ValueError as error:
        raise ValueError(f"{shown_dn(dn)} has {error}") from error


def _key(dn: str) -> str:
    """What two forms of one DN have in common; what is no DN is like itself alone."""
    try:
        return normal_dn(dn)
    except ValueError:
        return dn
