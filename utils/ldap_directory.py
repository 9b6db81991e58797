"""
An LDAP directory that is searched; only this file knows ldap3.

What a search finds is all there or not used at all: an answer that is cut short is an error.
"""

import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import ldap3
from ldap3.core.exceptions import (
    LDAPCommunicationError,
    LDAPExceptionError,
    LDAPResponseTimeoutError,
    LDAPStartTLSError,
)

from lurge_types.config import LdapTable
from utils.ldap_entries import Entry
from utils.names import NamesMissing, NamesWrong
from utils.paths import text

Answer = TypeVar("Answer")

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 10.0
PAGES = "1.2.840.113556.1.4.319"

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


class Away(Exception):
    """The server does not answer now, for this reason."""


class Directory:
    """
    A server, and how it is asked.

    name: what it is called in words. Raises NamesWrong where `ca_file` cannot be used.
    """

    def __init__(self, table: LdapTable, password: str | None) -> None:
        self.name = table.url
        self._table = table
        self._password = password
        self._context = _context(table) if table.encrypted else None

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """A connection that is bound. Raises Away, NamesMissing; so do searches in it."""
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
            _check(self.name, connection.result, "binding")
            yield Session(self.name, connection, self._table.page_size)
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

    def _translated(self, error: LDAPExceptionError) -> Exception:
        """What to raise for what ldap3 does."""
        if isinstance(error, (LDAPCommunicationError, LDAPResponseTimeoutError, OSError)):
            return Away(_reason(error, self._table.timeout_seconds))
        if isinstance(error, LDAPStartTLSError):
            return self._missing(f"offers no StartTLS ({error}): use ldaps://")
        return self._missing(f"{error}: see to names.ldap")

    def _missing(self, why: str) -> NamesMissing:
        return NamesMissing(f"{self.name}: {why}")


class Session:
    """
    A connection to a server, which may be searched.

    references: how many its searches have met, to other servers that have more.
    """

    def __init__(self, name: str, connection: ldap3.Connection, page_size: int) -> None:
        self.references = 0
        self._name = name
        self._connection = connection
        self._page_size = page_size

    def search(self, base: str, words: str, attributes: Iterable[str]) -> list[Entry]:
        """All entries that a filter finds below a base. Raises Away, NamesMissing."""
        entries: list[Entry] = []
        cookie = None
        while cookie != b"":
            self._connection.search(
                base,
                words,
                dereference_aliases=ldap3.DEREF_NEVER,
                attributes=list(attributes),
                paged_size=self._page_size,
                paged_cookie=cookie,
            )
            result = self._connection.result
            _check(self._name, result, f"{base}, {words}, {len(entries)} entries so far")
            for answer in self._connection.response:
                if answer["type"] == "searchResEntry":
                    entries.append(_entry(answer))
                else:
                    self.references += 1
            pages = result.get("controls", {}).get(PAGES)
            cookie = pages["value"]["cookie"] if pages else b""
        return entries


def _check(name: str, result: Mapping[str, Any], doing: str) -> None:
    """See that a server has done something. Raises Away, NamesMissing."""
    code = result["result"]
    if code == SUCCESS:
        return
    words = (result["description"], result["message"], *(result.get("referrals") or ()))
    said = ": ".join(text(word.encode()) for word in words if word)
    if code in PASSES:
        raise Away(said)
    raise NamesMissing(f"{name}: {doing}: {said}: the server {REASONS.get(code, REFUSED)}")


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


def patiently(
    name: str,
    read: Callable[[], Answer],
    retry_seconds: float,
    waiting: Callable[[str], None],
) -> Answer:
    """
    What a server of this name answers, which is asked until `retry_seconds` after it was first
    away.

    waiting: told in words, once, that it is being waited for. Raises NamesMissing.
    """
    deadline = None
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            return read()
        except Away as error:
            if deadline is None:
                deadline = time.monotonic() + retry_seconds
                waiting(f"{name}: {error}")
            if time.monotonic() + pause > deadline:
                raise NamesMissing(
                    f"{name}: {error}: see that it is there and run again"
                ) from error
        time.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE_SECONDS)
