"""Who fills a run: a process of this host that is seen to live, or one that was heard of lately."""

import os
import socket
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path
from typing import NamedTuple

SILENT = timedelta(hours=1)
"""A writer that nobody has heard of for so long is taken for dead, wherever it is."""

BOOT = Path("/proc/sys/kernel/random/boot_id")

DEAD = frozenset("ZXx")
"""States of a process that has ended and only waits for its parent to ask how."""


class Writer(NamedTuple):
    """
    A process, known from all others.

    host: with the namespace that the process's number is from, a container has its own, and what
    the system calls its run since it was booted: the first namespaces of all hosts have one number,
    and hosts may share a name. Who wrote before the last boot, or without that, is heard of or not.
    process: its number, and when it started in ticks since the system did: numbers come again.
    """

    host: str
    process: str


def me() -> Writer:
    """This process."""
    host = f"{socket.gethostname()} {Path('/proc/self/ns/pid').readlink()} {_boot()}"
    return Writer(host, f"{os.getpid()} {_started(os.getpid())}")


def lives(writer: Writer, touched: datetime, now: datetime) -> bool:
    """Whether a writer may go on; `touched` is when it last wrote, in UTC like `now`."""
    if now - touched > SILENT:
        return False
    if writer.host != me().host:
        return True
    number, _, started = writer.process.partition(" ")
    return _started(int(number)) == started


@cache
def _boot() -> str:
    """What tells the run of a system, since it was booted, from all others: see random(4)."""
    return BOOT.read_text("ascii").strip()


def _started(number: int) -> str | None:
    """When a process started, in ticks; None if it has ended. See proc(5)."""
    try:
        status = Path("/proc", str(number), "stat").read_text(errors="replace")
    except OSError:
        return None
    # After the name of the program, which may hold anything: the state is the first field.
    fields = status.rpartition(")")[2].split()
    return None if fields[0] in DEAD else fields[19]
