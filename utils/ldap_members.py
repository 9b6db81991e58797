"""
Who is a member of which groups, by an LDAP directory: two searches in one connection, the first for
the account, the second for its groups.
"""

from collections.abc import Iterable
from contextlib import suppress

from lurge_types.config import LdapTable
from lurge_types.ldap_text import escaped
from lurge_types.names import Member
from utils.ldap_directory import Away, Directory, Session
from utils.ldap_entries import Entry, Found, Remarks, found_in, number_of
from utils.members import login_bytes, named
from utils.names import Known, NamesMissing


class LdapMembers:
    """
    What a directory knows. Of several entries with one name or number that counts which counts in
    `LdapNames`, as far as the two searches find them.

    What a server finds for a login need not have it: it may make no difference of capitals, spaces
    or forms of a letter. So only what has the very bytes counts, in accounts and in groups.

    The server is asked once and not waited for, since somebody waits for a page.

    Raises NamesWrong where `ca_file` cannot be used.
    """

    def __init__(self, table: LdapTable, *, password: str | None = None) -> None:
        self._table = table
        self._server = Directory(table, password)

    def member(self, login: str) -> Member | None:
        """
        Who has a login, in the text form; None where nobody is known by this name.

        Raises NamesMissing.
        """
        name = login_bytes(login)
        if name is None:
            return None
        try:
            with self._server.session() as session:
                account = self._account(session, name)
                if account is None:
                    return None
                gid = self._primary(account)
                found = self._groups(session, name, gid)
        except Away as error:
            why = f"{self._server.name}: {error}: see that it is there"
            raise NamesMissing(why) from error
        gids = {*found} if gid is None else {gid, *found}
        groups = Known((group.name, group.number) for group in found.values())
        return Member(account.number, login, named(gids, groups))

    def _account(self, session: Session, name: bytes) -> Found | None:
        """Who has a login; of several the one with the least number."""
        table = self._table
        attributes = (
            table.people_login_attribute,
            table.people_uid_attribute,
            table.people_gid_attribute,
        )
        words = f"(&{table.people_filter}({table.people_login_attribute}={escaped(name)}))"
        entries = session.search(table.people_base, words, attributes)
        people = found_in("people", entries, *attributes[:2], Remarks())
        return next((person for person in people.values() if person.name == name), None)

    def _primary(self, account: Found) -> int | None:
        with suppress(ValueError):
            return number_of(account.entry, self._table.people_gid_attribute)
        return None

    def _groups(self, session: Session, name: bytes, gid: int | None) -> dict[int, Found]:
        """The groups that list a login, and that with a gid if it is one of the directory's."""
        table = self._table
        kinds = table.group_name_attribute, table.group_gid_attribute
        either = f"({table.group_member_attribute}={escaped(name)})"
        if gid is not None:
            either += f"({table.group_gid_attribute}={gid})"
        words = f"(&{table.group_filter}(|{either}))"
        attributes = (*kinds, table.group_member_attribute)
        entries = session.search(table.group_base, words, attributes)
        return found_in("groups", self._own(entries, name, gid), *kinds, Remarks())

    def _own(self, entries: Iterable[Entry], name: bytes, gid: int | None) -> Iterable[Entry]:
        """Those entries of groups that have the very bytes of a login, or a gid."""
        table = self._table
        for entry in entries:
            number = None
            with suppress(ValueError):
                number = number_of(entry, table.group_gid_attribute)
            if name in entry.all(table.group_member_attribute) or number == gid is not None:
                yield entry
