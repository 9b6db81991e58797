"""
Names of groups and people in an LDAP directory, read all at once; only this file knows ldap3.

Three searches, each in pages: the groups; the accounts, with the surnames of the people who have
them; and the people with a surname who have no account, as one of them may be a group's PI.
Whatever cannot be used is passed over and told in `remarks`; what is cut short is not used at all.
"""

import ssl
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from typing import Any, NamedTuple

import ldap3
from ldap3.core.exceptions import (
    LDAPCommunicationError,
    LDAPExceptionError,
    LDAPResponseTimeoutError,
    LDAPStartTLSError,
)

from lurge_types.config import MAX_ID, LdapTable
from lurge_types.ldap_text import normal_dn, normal_value, parts_of_dn
from lurge_types.names import Group, User
from utils.names import LONGEST_NAME, NUMBER, Known, NamesWrong, shown
from utils.paths import text

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
PAGES = "1.2.840.113556.1.4.319"
EXAMPLES = 3

SUCCESS = 0
PASSES = {51, 52}
"""Result codes of a server that is busy or not available: it may be another time."""

REASONS = {
    4: "gives out no more entries: lower names.ldap.page_size, or ask for a higher limit",
    10: "names another server instead: put that into names.ldap.url",
    11: "gives out no more entries: ask for a higher limit, or raise names.ldap.page_size",
    13: "wants encryption: use ldaps:// or names.ldap.start_tls",
    32: "has no such base: see to names.ldap",
    48: "wants another way to bind: see to names.ldap.bind_dn",
    49: "refuses names.ldap.bind_dn or its password",
    50: "gives no right to look there: see to names.ldap.bind_dn",
}
"""What a server does that ends with a result code, and what to do about it."""

REFUSED = "refuses: ask those who run it"


class NamesMissing(Exception):
    """The directory does not tell its names: which server, why, and what to do."""


class Away(Exception):
    """The server does not answer now, for this reason."""


class Entry(NamedTuple):
    """An entry of the directory; the names of its attributes are in small letters."""

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def all(self, attribute: str) -> list[bytes]:
        """The values of an attribute, in the order of their bytes; empty ones are none."""
        return sorted({value for value in self.values.get(attribute.lower(), ()) if value})


class Answers(NamedTuple):
    """What the searches have found; references: to other servers, which have more."""

    groups: list[Entry]
    accounts: list[Entry]
    others: list[Entry]
    references: int


class Found(NamedTuple):
    """What an entry names: a number and its name; those of a lesser (name, dn) count first."""

    name: bytes
    number: int
    dn: str
    entry: Entry


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
        answers = _patiently(server, table.retry_seconds, waiting)
        told = Remarks()
        told.count("references to other servers, not followed", answers.references)
        groups = _found(
            "groups", answers.groups, table.group_name_attribute, table.group_gid_attribute, told
        )
        accounts = _found(
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


class Remarks:
    """What is to be told of entries: how many of a kind, and the first few with the reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, dn: str, why: str) -> None:
        """Tell of an entry."""
        self.count(kind)
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{_shown(dn)}: {why}")

    def count(self, kind: str, number: int = 1) -> None:
        """Count what cannot be told more of."""
        self._counts[kind] += number

    def lines(self) -> tuple[str, ...]:
        """A line for each kind."""
        return tuple(self._line(kind, count) for kind, count in self._counts.items() if count)

    def _line(self, kind: str, count: int) -> str:
        examples = self._examples.get(kind, [])
        more = ["..."] if 0 < len(examples) < count else []
        return "; ".join([f"{count} {kind}", *examples, *more])


def _shown(dn: str) -> str:
    return text(dn.encode("utf-8", "surrogateescape"))


def _found(
    kind: str, entries: Iterable[Entry], name: str, number: str, told: Remarks
) -> dict[int, Found]:
    """What entries name, by number, in the order in which they count."""
    usable = []
    for entry in entries:
        try:
            usable.append(Found(_name(entry, name), _number(entry, number), entry.dn, entry))
        except ValueError as error:
            told.add(f"{kind} passed over", entry.dn, str(error))
            continue
        if len(entry.all(name)) > 1:
            told.add(f"{kind} of several names", entry.dn, f"goes by {text(usable[-1].name)}")
    counting: dict[int, Found] = {}
    for one in sorted(usable, key=lambda one: one[:3]):
        first = counting.setdefault(one.number, one)
        if first is not one:
            why = f"{number} {one.number} is that of {_shown(first.dn)}, which counts"
            told.add(f"{kind} with the number of another", one.dn, why)
    return counting


def _name(entry: Entry, attribute: str) -> bytes:
    """An entry's name. Raises ValueError where it has none that can be used."""
    names = entry.all(attribute)
    if not names:
        raise ValueError(f"no {attribute}")
    if len(names) > 1:
        own = _in_dn(entry.dn, attribute)
        names.sort(key=lambda name: normal_value(name.decode("utf-8", "surrogateescape")) != own)
    if len(names[0]) > LONGEST_NAME:
        raise ValueError(f"{attribute} has more than {LONGEST_NAME} bytes")
    return names[0]


def _in_dn(dn: str, attribute: str) -> str | None:
    """The value of an attribute in an entry's own part of its DN, in the normal form."""
    try:
        return dict(parts_of_dn(dn)[0]).get(attribute.lower())
    except ValueError:
        return None


def _number(entry: Entry, attribute: str) -> int:
    """A gid or uid. Raises ValueError where there is none, or not one."""
    values = entry.all(attribute)
    if len(values) != 1:
        raise ValueError(f"{len(values)} values of {attribute}" if values else f"no {attribute}")
    if not NUMBER(values[0]):
        raise ValueError(f"{attribute} is no number: {text(values[0][:40])}")
    if int(values[0]) > MAX_ID:
        raise ValueError(f"{attribute} is above {MAX_ID}: {int(values[0])}")
    return int(values[0])


def _primary(table: LdapTable, accounts: Iterable[Found]) -> dict[int, int]:
    """The primary group of each account by uid, where one is told."""
    gids = {}
    for account in accounts:
        with suppress(ValueError):
            gids[account.number] = _number(account.entry, table.people_gid_attribute)
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
        raise ValueError(f"nobody below names.ldap.people_base is {_shown(dn)}")
    try:
        return text(_name(person, attribute))
    except ValueError as error:
        raise ValueError(f"{_shown(dn)} has {error}") from error


def _key(dn: str) -> str:
    """What two forms of one DN have in common; what is no DN is like itself alone."""
    try:
        return normal_dn(dn)
    except ValueError:
        return dn


class Directory:
    """A server, and the three searches that it is asked for."""

    def __init__(self, table: LdapTable, password: str | None) -> None:
        self.name = table.url
        self._table = table
        self._password = password
        self._context = _context(table) if table.encrypted else None

    def read(self) -> Answers:
        """All that is asked for, or nothing. Raises Away, NamesMissing."""
        table = self._table
        surname = table.people_surname_attribute
        group = [table.group_name_attribute, table.group_gid_attribute]
        person = [table.people_login_attribute, table.people_uid_attribute]
        person += [table.people_gid_attribute, surname]
        searches = [
            (table.group_base, table.group_filter, group),
            (table.people_base, table.people_filter, person),
        ]
        if table.group_pi_attribute is not None:
            group.append(table.group_pi_attribute)
            others = f"(&({surname}=*)(!{table.people_filter}))"
            searches.append((table.people_base, others, [surname]))
        with self._session() as session:
            found = [self._search(session, *search) for search in searches]
        groups, accounts, *rest = (entries for entries, _ in found)
        references = sum(elsewhere for _, elsewhere in found)
        return Answers(groups, accounts, list(chain(*rest)), references)

    @contextmanager
    def _session(self) -> Iterator[ldap3.Connection]:
        """A connection that is bound; what ldap3 raises becomes Away or NamesMissing."""
        host = self._table.address.hostname
        tls = Verified(self._context, host) if self._context else None
        connection = self._connection(tls)
        try:
            connection.open(read_server_info=False)
            if self._table.start_tls:
                connection.start_tls(read_server_info=False)
                if not connection.tls_started:  # ldap3 may return without having done it
                    raise self._missing("has not started TLS: use ldaps://")
            connection.bind(read_server_info=False)
            self._check(connection.result, "binding")
            yield connection
            connection.unbind()
        except LDAPExceptionError as error:
            if tls and tls.refused:
                raise self._missing(
                    f"its certificate is not trusted ({tls.refused}): see to names.ldap.ca_file "
                    "and to the host's name in names.ldap.url"
                ) from error
            raise self._translated(error) from error
        except (LookupError, TypeError, ValueError) as error:  # ldap3, of bytes that are no LDAP
            raise self._missing(f"speaks no LDAP ({error!r}): see to names.ldap.url") from error
        finally:
            if connection.socket is not None:  # ldap3 leaves one that failed open
                connection.socket.close()

    def _connection(self, tls: "Verified | None") -> ldap3.Connection:
        table = self._table
        encrypted = table.address.scheme == "ldaps"
        server = ldap3.Server(
            table.address.hostname,
            table.address.port or (636 if encrypted else 389),
            use_ssl=encrypted,
            tls=tls,
            get_info=ldap3.NONE,  # the schema would be two more searches
            connect_timeout=table.timeout_seconds,
        )
        return ldap3.Connection(
            server,
            user=table.bind_dn,
            password=self._password,
            auto_referrals=False,
            auto_range=False,
            check_names=False,
            return_empty_attributes=False,
            receive_timeout=table.timeout_seconds,
        )

    def _search(
        self, session: ldap3.Connection, base: str, words: str, attributes: list[str]
    ) -> tuple[list[Entry], int]:
        """The entries that a filter finds below a base, and how many references to elsewhere."""
        entries: list[Entry] = []
        references = 0
        cookie = None
        while cookie != b"":
            session.search(
                base,
                words,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=attributes,
                paged_size=self._table.page_size,
                paged_cookie=cookie,
            )
            self._check(session.result, f"{base}, {words}, {len(entries)} entries so far")
            for answer in session.response:
                if answer["type"] == "searchResEntry":
                    entries.append(_entry(answer))
                else:
                    references += 1
            pages = session.result.get("controls", {}).get(PAGES)
            cookie = pages["value"]["cookie"] if pages else b""
        return entries, references

    def _check(self, result: Mapping[str, Any], doing: str) -> None:
        """See that something was done. Raises Away, NamesMissing."""
        code = result["result"]
        if code == SUCCESS:
            return
        words = (result["description"], result["message"], *(result.get("referrals") or ()))
        said = ": ".join(text(word.encode()) for word in words if word)
        if code in PASSES:
            raise Away(said)
        raise self._missing(f"{doing}: {said}: the server {REASONS.get(code, REFUSED)}")

    def _translated(self, error: LDAPExceptionError) -> Exception:
        """What to raise for what ldap3 does."""
        if isinstance(error, (LDAPCommunicationError, LDAPResponseTimeoutError, OSError)):
            return Away(_reason(error, self._table.timeout_seconds))
        if isinstance(error, LDAPStartTLSError):
            return self._missing(f"offers no StartTLS ({error}): use ldaps://")
        return self._missing(f"{error}: see to names.ldap")

    def _missing(self, why: str) -> NamesMissing:
        return NamesMissing(f"{self.name}: {why}")


class Verified(ldap3.Tls):  # type: ignore[misc] # ldap3 has no types
    """
    TLS whose certificate and host name OpenSSL verifies itself.

    ldap3 does neither unless it is told to, and compares host names with a function that Python
    has given up. refused: why the certificate was not trusted.
    """

    def __init__(self, context: ssl.SSLContext, host: str | None) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context
        self._host = host
        self.refused = ""

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:
        """Encrypt what a connection sends from now on."""
        try:
            connection.socket = self._context.wrap_socket(
                connection.socket,
                server_hostname=self._host,
                do_handshake_on_connect=do_handshake,
            )
        except ssl.SSLCertVerificationError as error:
            self.refused = error.verify_message
            raise


def _context(table: LdapTable) -> ssl.SSLContext:
    """Whom to trust: those who signed what is in `ca_file`, else whom the system trusts."""
    try:
        return ssl.create_default_context(cafile=table.ca_file)
    except ssl.SSLError as error:
        raise NamesWrong(f"names.ldap.ca_file: {table.ca_file} holds no certificates") from error
    except OSError as error:
        raise NamesWrong(f"names.ldap.ca_file: {table.ca_file}: {error.strerror}") from error


def _entry(answer: Mapping[str, Any]) -> Entry:
    return Entry(
        answer["raw_dn"].decode("utf-8", "surrogateescape"),
        {name.lower(): values or [] for name, values in answer["raw_attributes"].items()},
    )


def _reason(error: Exception, seconds: float) -> str:
    """In words why a server cannot be reached; ldap3 has a list of reasons for many addresses."""
    failures = error.args[1] if len(error.args) > 1 else [(error, None)]
    reasons = dict.fromkeys(str(failure).rpartition("] ")[2] for failure, _ in failures)
    said = ", ".join(reasons)
    if "timed out" in said:
        return f"no answer within {seconds} s"
    return "no such host is known" if said == "invalid server address" else said


def _patiently(server: Directory, retry_seconds: float, waiting: Callable[[str], None]) -> Answers:
    """What a server answers, which is asked until `retry_seconds` after its first failure."""
    deadline = None
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return server.read()
        except Away as error:
            if deadline is None:
                deadline = time.monotonic() + retry_seconds
                waiting(f"{server.name}: {error}")
            if time.monotonic() + pause > deadline:
                raise NamesMissing(
                    f"{server.name}: {error}: see that it is there and run again"
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
