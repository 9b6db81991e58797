"""
A claim: a lease on a unit, which a thread renews for as long as its holder works on it.

The lease's end is told by the database's clock. The holder counts from the moment at which it
asked, on a clock that goes on while the process or the machine sleeps, so it gives up before
anybody else may take over. It looks at that clock before each act; a commit is refused by the
database.
"""

import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress

from db import leases, ledger
from db.database import Database, DatabaseFailed
from db.leases import Lease, LeaseLost
from lurge_types.archive import State, UnitNow

RENEWALS = 4
"""How often a lease is renewed in the time for which it is given."""

MARGIN = 0.9
"""The share of that time after which the holder gives up."""


def clock() -> float:
    """Seconds, counted while the machine sleeps too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Claim:
    """
    A lease that is held, for some seconds after each renewal.

    Raises nothing by itself: whoever acts asks `check` first.
    """

    def __init__(self, database: Database, lease: Lease, seconds: float, asked: float) -> None:
        self.lease = lease
        self._database = database
        self._seconds = seconds
        self._until = asked + MARGIN * seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LeaseLost once another may have taken over."""
        if clock() >= self._until:
            raise LeaseLost(f"{self.lease.name}: the lease has run out: another may work on it")

    def release(self, retry_seconds: float | None = None) -> None:
        """Let others take it at once. Raises DatabaseFailed where they cannot be told."""
        self._ended.set()
        self._thread.join()
        self._database.transaction(
            lambda connection: leases.release(connection, *self.lease),
            retry_seconds=retry_seconds,
        )

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            asked = clock()
            try:
                held = self._database.transaction(
                    lambda connection: leases.renew(connection, *self.lease, self._seconds),
                    retry_seconds=max(self._until - asked, 0),
                )
            except DatabaseFailed:
                continue  # until the lease runs out, which `check` tells
            if not held:
                self._until = asked
                return
            self._until = asked + MARGIN * self._seconds


@contextmanager
def claimed(
    database: Database, unit: UnitNow, states: Collection[State], holder: str, seconds: float
) -> Iterator[tuple[UnitNow, Claim] | None]:
    """
    Claim a unit for as long as the block runs, as it is by now; None where another has it, or it is
    in none of these states any more.

    Raises DatabaseFailed.
    """
    asked = clock()
    taken = database.transaction(
        lambda connection: ledger.take(connection, unit, states, holder, seconds)
    )
    if taken is None:
        yield None
        return
    claim = Claim(database, taken.lease, seconds, asked)
    try:
        yield taken.unit, claim
    except BaseException:
        with suppress(DatabaseFailed):  # then the lease ends by itself
            claim.release(retry_seconds=0)
        raise
    claim.release()
