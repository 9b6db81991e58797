"""
Requests to a Swift: who asks, connections that are used again, and what goes wrong in words.

Only this file knows python-swiftclient, which is an extra, and of it the login and the connections:
its own verbs try again by themselves, and hide half of the answers. A token that has expired is
renewed once.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from io import BytesIO
from threading import Lock
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode, urlsplit

from lurge_types.targets import TargetFailed, TargetFull, TargetTrouble
from utils.targets.bodies import Flow

CONNECT_SECONDS = 10
SILENT_SECONDS = 60

INSTALL = "python-swiftclient is not there: pip install 'lurge[object-stores]'"
NO_USER = (
    "nobody to ask as: set ST_AUTH, ST_USER and ST_KEY, or OS_AUTH_URL, OS_USERNAME, OS_PASSWORD "
    "and the other variables of Keystone"
)
WRONG_USER = "wrong user or key: see ST_USER and ST_KEY, or OS_USERNAME and OS_PASSWORD"
REASONS = {
    401: "the login, which was good, is not known there: try again",
    403: "access denied: the user must be allowed to read and write there",
    404: "no such container: make it",
    413: "no room left in the store: ask for a larger quota, or remove what is old",
    507: "no room left in the store: ask for a larger quota, or remove what is old",
    422: "what came there is not what was sent: try again",
}
PLAIN = "1"
"""The version of Swift's own protocol of logging in; others are Keystone's."""

REFUSED = "the server refuses it"
TROUBLE = "the server has trouble of its own: ask those who run it"

NOT_ALLOWED, NOT_FOUND = 401, 404
FULL = (413, 507)
MAY_PASS = (401, 408, 409, 422, 425, 429, 498, 499)
"""Statuses that another try may not meet, beside those of the server itself, 5xx."""

SERVER_ERROR = 500
STAYS = (501, 505)

OPTIONS = {
    "OS_USER_ID": "user_id",
    "OS_USER_DOMAIN_ID": "user_domain_id",
    "OS_USER_DOMAIN_NAME": "user_domain_name",
    "OS_PROJECT_ID": "project_id",
    "OS_PROJECT_NAME": "project_name",
    "OS_PROJECT_DOMAIN_ID": "project_domain_id",
    "OS_PROJECT_DOMAIN_NAME": "project_domain_name",
    "OS_TENANT_ID": "tenant_id",
    "OS_TENANT_NAME": "tenant_name",
    "OS_REGION_NAME": "region_name",
    "OS_ENDPOINT_TYPE": "endpoint_type",
    "OS_AUTH_TYPE": "auth_type",
    "OS_APPLICATION_CREDENTIAL_ID": "application_credential_id",
    "OS_APPLICATION_CREDENTIAL_SECRET": "application_credential_secret",
    "OS_STORAGE_URL": "object_storage_url",
}
"""What swiftclient calls what is in the environment."""


class Account(NamedTuple):
    """Who asks whom. version: of the protocol by which they log in."""

    auth_url: str
    user: str | None
    key: str | None
    version: str
    options: dict[str, str]


class Token(NamedTuple):
    """What was got for logging in: where the account is, and the word that opens it."""

    url: str
    word: str


class Answer(NamedTuple):
    """What came back: headers by names in lower case; the body, empty where it is streamed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether the server did what it was asked."""
        return 200 <= self.status < 300

    def json(self) -> Any:
        """The body as JSON, None without any. Raises TargetTrouble where it is something else."""
        try:
            return json.loads(self.body or b"null")
        except ValueError as error:
            raise TargetTrouble("an answer of the server is no JSON") from error


class _Ask(NamedTuple):
    """A request; name: of the object that it is about, for errors."""

    method: str
    path: str
    name: str | None
    headers: Mapping[str, str] = {}
    body: bytes | Flow = b""
    silent_seconds: float = SILENT_SECONDS


def account(environ: Mapping[str, str]) -> Account:
    """Who asks, as the variables of Swift's or Keystone's tools say. Raises TargetFailed."""
    options = {name: environ[each] for each, name in OPTIONS.items() if environ.get(each)}
    match environ:
        case {"ST_AUTH": auth, "ST_USER": user, "ST_KEY": key} if auth and user and key:
            return Account(auth, user, key, PLAIN, options)
        case {"OS_AUTH_URL": auth} if auth:
            version = environ.get("OS_IDENTITY_API_VERSION", "3")
            names = environ.get("OS_USERNAME"), environ.get("OS_PASSWORD")
            return Account(auth, *names, version, options)
    raise TargetFailed(NO_USER)


class Session:
    """
    Requests for what is in a container; several threads may make them.

    url: of the target, for errors.

    Raises TargetFailed.
    """

    def __init__(self, url: str, container: str, who: Account) -> None:
        self._url = url
        self._container = container
        self._who = who
        self._token: Token | None = None
        self._idle: list[Any] = []
        self._lock = Lock()
        try:
            # An extra, wanted only where there is a target of this kind.
            import swiftclient.client  # noqa: PLC0415
            from requests import exceptions  # noqa: PLC0415
            from urllib3.exceptions import HTTPError  # noqa: PLC0415
        except ImportError as error:
            raise TargetFailed(f"{url}: {INSTALL}") from error
        self._client = swiftclient.client
        self._keystones = (swiftclient.client.ClientException, *_of_keystone())
        self._unsafe = exceptions.SSLError
        self._misnamed = (
            exceptions.InvalidURL,
            exceptions.MissingSchema,
            exceptions.InvalidSchema,
        )
        self._lost = (exceptions.RequestException, HTTPError, OSError)

    def close(self) -> None:
        """Hang up what is not in use."""
        with self._lock:
            self._hang_up()

    def request(
        self,
        method: str,
        name: str | None = None,
        *,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: bytes | Flow = b"",
        allowed: Sequence[int] = (),
        silent_seconds: float = SILENT_SECONDS,
    ) -> Answer:
        """
        What is answered about an object, or about the container without a name.

        headers: Content-Length among them for a body that flows.
        allowed: statuses that are no error, beside 2xx.
        """
        path = self._path(name, query or {})
        ask = _Ask(method, path, name, headers or {}, body, silent_seconds)
        return self._good(self._answer(ask), name, allowed)

    def stream(
        self, name: str, headers: Mapping[str, str], chunk_bytes: int, see: Callable[[Answer], None]
    ) -> Iterator[bytes]:
        """
        The body of an object as it comes.

        see: shown the answer before; it raises what there is to say against it.
        """
        with self._asked(_Ask("GET", self._path(name, {}), name, headers)) as (answer, response):
            if not answer.is_good:
                with self._heard(name):
                    response.read()
            see(answer)
            self._good(answer, name)
            while True:
                with self._heard(name):
                    read = response.read(chunk_bytes)
                if not read:
                    return
                yield read

    def account_headers(self) -> Mapping[str, str]:
        """What is told of the account; nothing to whom it is not told."""
        return self._good(self._answer(_Ask("HEAD", "", None)), None, (401, 403)).headers

    def capabilities(self) -> dict[str, Any]:
        """What the server says that it can, nothing where it is not to tell."""
        token = self._logged_in()
        parts = urlsplit(token.url)
        with self._connection(token, SILENT_SECONDS) as connection, self._heard(None):
            connection.request("GET", f"{parts.path.partition('/v1')[0]}/info", "", {})
            response = connection.getresponse()
            answer = Answer(response.status, {}, response.read())
        self._good(answer, None, (401, 403, 404))
        return dict(answer.json() or {}) if answer.is_good else {}

    def _path(self, name: str | None, query: Mapping[str, str]) -> str:
        """What an object or the container is called below the account."""
        path = "".join(f"/{quote(each)}" for each in (self._container, name) if each)
        return f"{path}?{urlencode(query, quote_via=quote)}" if query else path

    def _answer(self, ask: _Ask) -> Answer:
        with self._asked(ask) as (answer, response), self._heard(ask.name):
            return answer._replace(body=response.read())

    @contextmanager
    def _asked(self, ask: _Ask) -> Iterator[tuple[Answer, Any]]:
        """The answer but for its body, and what gives that."""
        token = self._logged_in()
        if not isinstance(ask.body, Flow):  # that cannot be sent twice
            with self._sent(ask, token) as (answer, response):
                if answer.status != NOT_ALLOWED:
                    yield answer, response
                    return
                with self._heard(ask.name):
                    response.read()
            token = self._logged_in()
        with self._sent(ask, token) as (answer, response):
            yield answer, response

    @contextmanager
    def _sent(self, ask: _Ask, token: Token) -> Iterator[tuple[Answer, Any]]:
        """The same with a token, which is forgotten if it is no good."""
        headers = {**ask.headers, "X-Auth-Token": token.word}
        with self._connection(token, ask.silent_seconds) as connection:
            with self._heard(ask.name):
                body = self._sendable(ask.body, headers)
                path = urlsplit(token.url).path + ask.path
                connection.request(ask.method, path, body, headers)
                response = connection.getresponse()
            if response.status == NOT_ALLOWED:
                self._log_out(token)
            told = {name.lower(): value for name, value in response.getheaders()}
            yield Answer(response.status, told, b""), response

    def _sendable(self, body: bytes | Flow, headers: dict[str, str]) -> Any:
        """In pieces: each may take `CONNECT_SECONDS` to go, and a slow server takes longer."""
        if isinstance(body, bytes):
            headers["Content-Length"] = str(len(body))
            if not body:
                return body
        read = BytesIO(body) if isinstance(body, bytes) else body
        return self._client.LengthWrapper(read, int(headers["Content-Length"]))

    @contextmanager
    def _connection(self, token: Token, silent_seconds: float) -> Iterator[Any]:
        """A connection that nobody else uses; it is used again if all went well."""
        timeout = (CONNECT_SECONDS, silent_seconds)
        with self._lock:
            idle = self._idle if token == self._token else []
            connection = idle.pop() if idle else None
        if connection is None:
            connection = self._client.http_connection(token.url)[1]
        connection.requests_args["timeout"] = timeout
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        with self._lock:
            self._idle.append(connection)
            if token != self._token:  # they belong to another one
                self._hang_up()

    def _hang_up(self) -> None:
        while self._idle:
            self._idle.pop().close()

    def _logged_in(self) -> Token:
        """The token, got anew if there is none: by one thread, while others wait for it."""
        with self._lock:
            if self._token is None:
                self._hang_up()
                self._token = self._log_in()
            return self._token

    def _log_out(self, token: Token) -> None:
        """Forget a token that is no good."""
        with self._lock:
            if self._token == token:
                self._token = None

    def _log_in(self) -> Token:
        who = self._who
        # Keystone's client wants one for both.
        both = (CONNECT_SECONDS, SILENT_SECONDS)
        timeout = both if who.version == PLAIN else SILENT_SECONDS
        with self._heard(None):
            try:
                found = self._client.get_auth(
                    who.auth_url,
                    who.user,
                    who.key,
                    auth_version=who.version,
                    os_options=dict(who.options),
                    timeout=timeout,
                )
            except self._keystones as error:
                raise self._refused(error) from None  # it may tell what it was asked with
        return Token(*found)

    def _refused(self, error: Any) -> TargetFailed:
        """Why logging in failed."""
        status = getattr(error, "http_status", None)
        if status in (401, 403):
            return TargetFailed(f"{self._url}: {WRONG_USER} (the server says {status})")
        if status:
            return self._failed(Answer(status, {}, b""), None)
        if isinstance(error, self._client.ClientException):  # its own words, of what is missing
            return TargetFailed(f"{self._url}: {' '.join(error.msg.split())}")
        return TargetTrouble(f"{self._url}: no login: {type(error).__name__}")

    @contextmanager
    def _heard(self, name: str | None) -> Iterator[None]:
        """Say of a server that does not answer which one, and about what it was asked."""
        try:
            yield
        except self._unsafe as error:
            raise TargetFailed(
                f"{self._where(name)}: the server has no certificate that is trusted here: see "
                "REQUESTS_CA_BUNDLE"
            ) from error
        except self._misnamed as error:
            raise TargetFailed(f"{self._where(name)}: ST_AUTH or OS_AUTH_URL is no URL") from error
        except self._lost as error:
            raise TargetTrouble(
                f"{self._where(name)}: server not reachable, or it does not answer"
            ) from error

    def _good(self, answer: Answer, name: str | None, allowed: Sequence[int] = ()) -> Answer:
        if answer.is_good or answer.status in allowed:
            return answer
        raise self._failed(answer, name)

    def _failed(self, answer: Answer, name: str | None) -> TargetFailed:
        """An answer in words, and what to do."""
        trouble = answer.status >= SERVER_ERROR and answer.status not in STAYS
        words = REASONS.get(answer.status, TROUBLE if trouble else REFUSED)
        why = f"{self._where(name)}: {words} (the server says {answer.status})"
        if answer.status in FULL:
            return TargetFull(why)
        return (TargetTrouble if trouble or answer.status in MAY_PASS else TargetFailed)(why)

    def _where(self, name: str | None) -> str:
        return f"{self._url}: {name}" if name else self._url


def _of_keystone() -> tuple[type[Exception], ...]:
    """What Keystone's client raises, where it is."""
    try:
        from keystoneauth1.exceptions import ClientException  # noqa: PLC0415 - as swiftclient does
    except ImportError:
        return ()
    return (ClientException,)
