"""Who asks, and what they may see: told by the proxy in front, and by the groups they belong to."""

import math
import threading
import time
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import urlsplit

from werkzeug import Request
from werkzeug.exceptions import BadRequest, Forbidden

from lurge_types.config import ServeTable, is_loopback
from lurge_types.names import Member
from lurge_types.sight import Sight
from utils.members import Members
from utils.names import NamesMissing
from utils.paths import text

MOST_REMEMBERED = 10_000
"""People."""

DOWN_SECONDS = 10
"""For how long a directory that does not answer is not asked again."""

LOOKING_AT_ONCE = 2
"""So that one that is silent does not take all threads."""

LOOKS_WITHIN_SECONDS = 5
"""For how long somebody waits for their turn."""


class Visitor(NamedTuple):
    """Somebody who asks. login: None where nobody logs in."""

    login: str | None
    sight: Sight


class Known(NamedTuple):
    """What was found out of a person. until: a time of the clock until which it is believed."""

    member: Member | None
    until: float


class Down(NamedTuple):
    """Why the directory does not tell who somebody is, and until when it is not asked again."""

    why: str
    until: float


class Visitors:
    """
    Tells who asks.

    Whose groups were looked up is remembered for `remember_seconds`, so that a page costs no look
    into the directory. That it does not answer is remembered for some seconds.
    """

    def __init__(
        self, table: ServeTable, members: Members, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._table = table
        self._members = members
        self._clock = clock
        self._known: dict[str, Known] = {}
        self._lock = threading.Lock()
        self._looking = threading.BoundedSemaphore(LOOKING_AT_ONCE)
        self._down = Down("", -math.inf)

    def login(self, request: Request) -> str | None:
        """Who a request says it is from, in the text form, whether or not that is believed."""
        if self._table.auth == "none":
            return None
        value = request.headers.get(self._table.user_header, "")
        return text(value.encode("latin-1", "replace"))

    def of(self, request: Request) -> Visitor:
        """
        Who sends a request.

        Raises Forbidden, BadRequest, NamesMissing where it cannot be told.
        """
        if self._table.auth == "none":
            return self._anybody(request)
        if not self._table.trusts(request.remote_addr or ""):
            raise Forbidden("requests come through the proxy of this site, not directly")
        login = self.login(request)
        if not login:
            header = self._table.user_header
            raise Forbidden(f"the proxy has not told who you are: there is no {header}")
        member = self._member(login)
        if member is None:
            raise Forbidden(f"nobody here is called {login}: ask those who run these pages")
        return Visitor(login, self._sight(member))

    def _anybody(self, request: Request) -> Visitor:
        # Another name may be a page's of another site, which was rebound to this address.
        if not is_loopback(urlsplit(f"//{request.host}").hostname or ""):
            raise BadRequest("without logging in these pages are at localhost only")
        return Visitor(None, Sight(everything=True))

    def _member(self, login: str) -> Member | None:
        now = self._clock()
        with self._lock:
            known = self._known.get(login)
        if known and now < known.until:
            return known.member
        member = self._look_up(login)
        with self._lock:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[login] = Known(member, now + self._table.remember_seconds)
        return member

    def _look_up(self, login: str) -> Member | None:
        if not self._looking.acquire(timeout=LOOKS_WITHIN_SECONDS):
            raise NamesMissing("others are still being looked up")
        try:
            return self._ask(login)
        finally:
            self._looking.release()

    def _ask(self, login: str) -> Member | None:
        if self._clock() < self._down.until:
            raise NamesMissing(f"{self._down.why} (within the last {DOWN_SECONDS} seconds)")
        try:
            return self._members.member(login)
        except NamesMissing as error:
            self._down = Down(str(error), self._clock() + DOWN_SECONDS)
            raise

    def _sight(self, member: Member) -> Sight:
        if not set(self._table.admin_groups).isdisjoint(member.groups.values()):
            return Sight(everything=True)
        return Sight(gids=frozenset(member.groups), uid=member.uid)
