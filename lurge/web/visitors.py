"""Who asks, and what they may see: told by the proxy in front, and by the groups they belong to."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from werkzeug import Request
from werkzeug.exceptions import BadRequest, Forbidden

from lurge_types.config import ServeTable
from lurge_types.names import Member
from lurge_types.sight import Sight
from utils.members import Members
from utils.paths import text

LOCAL_NAMES = ("localhost", "127.0.0.1", "[::1]")
"""What a browser on this machine may call it; another name may be a page's that was rebound."""

MOST_REMEMBERED = 10_000


class Visitor(NamedTuple):
    """Somebody who asks. login: None where nobody logs in."""

    login: str | None
    sight: Sight


class Known(NamedTuple):
    """What was found out of a person. until: a time of the clock until which it is believed."""

    member: Member | None
    until: float


class Visitors:
    """
    Tells who asks.

    Whose groups were looked up is remembered for `remember_seconds`, so that a page costs no look
    into the directory. What fails is not remembered.
    """

    def __init__(
        self, table: ServeTable, members: Members, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._members = members
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()

    def of(self, request: Request) -> Visitor:
        """
        Who sends a request.

        Raises Forbidden, BadRequest, NamesMissing where it cannot be told.
        """
        if self._table.auth == "none":
            return self._anybody(request)
        if not self._table.trusts(request.remote_addr or ""):
            raise Forbidden("requests come through the proxy of this site, not directly")
        login = _login(request, self._table.user_header)
        member = self._member(login)
        if member is None:
            raise Forbidden(f"nobody here is called {login}: ask those who run these pages")
        return Visitor(login, self._sight(member))

    def _anybody(self, request: Request) -> Visitor:
        host = request.host.rpartition(":")[0] if _has_port(request.host) else request.host
        if host not in LOCAL_NAMES:
            raise BadRequest(f"without logging in these pages are at {LOCAL_NAMES[0]} only")
        return Visitor(None, Sight(everything=True))

    def _member(self, login: str) -> Member | None:
        now = self._clock()
        with self._lock:
            known = self._known.get(login)
        if known and now < known.until:
            return known.member
        member = self._members.member(login)
        with self._lock:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[login] = Known(member, now + self._table.remember_seconds)
        return member

    def _sight(self, member: Member) -> Sight:
        if not set(self._table.admin_groups).isdisjoint(member.groups.values()):
            return Sight(everything=True)
        return Sight(gids=frozenset(member.groups), uid=member.uid)


def _has_port(host: str) -> bool:
    return host.rpartition(":")[2].isdigit()


def _login(request: Request, header: str) -> str:
    """
    The name in the proxy's header, in the text form.

    Raises Forbidden where there is none.
    """
    value = request.headers.get(header, "")
    if not value:
        raise Forbidden(f"the proxy has not told who you are: there is no {header}")
    return text(value.encode("latin-1", "replace"))
