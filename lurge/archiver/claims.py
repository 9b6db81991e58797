"""
A claim: a lease on a unit, which a thread renews for as long as its holder works on it.

The lease's end is told by the database's clock. The holder counts from the moment at which it
asked, on a clock that goes on while the process or the machine sleeps, so it gives up before
anybody else may take over. It looks at that clock before each act; a commit is refused by the
database.
"""

import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path

from db.leases import LeaseLost

from db import leases
from db.database import Database, DatabaseFailed

RENEWALS = 4
"""How often a lease is renewed in the time for which it is given."""

MARGIN = 0.9
"""The share of that time after which the holder gives up."""


def clock() -> float:
    """Seconds, counted while the machine sleeps too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def lease_name(root: bytes) -> str:
    """The name of the lease on whatever lies at a path: runs that want it exclude each other."""
    return f"path:{sha256(root).hexdigest()}"


def this_process() -> str:
    """
    A holder's name: its host, process and when that began, and the system that numbers processes.

    By these another process of the host can tell that the holder is dead.
    """
    pid = os.getpid()
    return f"{socket.gethostname()} {pid} {_began(pid)} {_system()}"


def is_dead(holder: str) -> bool:
    """Whether a holder has been a process of this host, and is no more."""
    try:
        host, pid, began, system = holder.rsplit(" ", 3)
        number = int(pid)
    except ValueError:
        return False
    if (host, system) != (socket.gethostname(), _system()):
        return False
    return _began(number) != began


def _began(pid: int) -> str:
    """When a process began, in ticks since the system did; `-` if it is not there."""
    try:
        facts = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "-"
    state, *rest = facts.rpartition(")")[2].split()
    return "-" if state in "ZX" else rest[18]


def _system() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}/{os.readlink('/proc/self/ns/pid')}"  # noqa: PTH115 - no path


class Claim:
    """
    A lease that is held, for some seconds after each renewal.

    Raises nothing by itself: whoever acts asks `check` first.
    """

    def __init__(
        self, database: Database, name: str, token: int, seconds: float, asked: float
    ) -> None:
        self.name = name
        self.token = token
        self._database = database
        self._seconds = seconds
        self._until = asked + MARGIN * seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises LeaseLost once another may have taken over."""
        if clock() >= self._until:
            raise LeaseLost(f"{self.name}: the lease has run out: another may work on it")

    def release(self, retry_seconds: float | None = None) -> None:
        """Let others take it at once. Raises DatabaseFailed where they cannot be told."""
        self._ended.set()
        self._thread.join()
        self._database.transaction(
            lambda connection: leases.release(connection, self.name, self.token),
            retry_seconds=retry_seconds,
        )

    def _keep(self) -> None:
        while not self._ended.wait(self._seconds / RENEWALS):
            asked = clock()
            try:
                held = self._database.transaction(
                    lambda connection: leases.renew(
                        connection, self.name, self.token, self._seconds
                    ),
                    retry_seconds=max(self._until - asked, 0),
                )
            except DatabaseFailed:
                continue  # until the lease runs out, which `check` tells
            if not held:
                self._until = asked
                return
            self._until = asked + MARGIN * self._seconds


@contextmanager
def claimed(database: Database, root: bytes, holder: str, seconds: float) -> Iterator[Claim | None]:
    """
    Claim whatever lies at a path, for as long as the block runs; None where another has it.

    Raises DatabaseFailed.
    """
    name, asked = lease_name(root), clock()
    token = database.transaction(
        lambda connection: leases.take(connection, name, holder, seconds, dead=is_dead)
    )
    if token is None:
        yield None
        return
    claim = Claim(database, name, token, seconds, asked)
    try:
        yield claim
    except BaseException:
        with suppress(DatabaseFailed):  # then the lease ends by itself
            claim.release(retry_seconds=0)
        raise
    claim.release()
