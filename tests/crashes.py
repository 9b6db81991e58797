"""
Acts that die in the middle: in a forked process, of which no code runs after that moment.

A fork has all modules loaded, which takes a program of its own a second: so hundreds of deaths can
be tried. There are two kinds. A *moment* is before or after one of the calls that change something,
as Python makes them: the process ends itself there, and nothing is cleaned up or flushed. At a
*system call* the kernel kills it, as strace makes it do; see `servers.killing`.
"""

import ctypes
import itertools
import os
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Literal, NamedTuple, NoReturn

from servers.killing import KILLED_AFTER, KILLED_BEFORE, kill_after, kill_before

DIED = 66
FAILED = 67
WAITS_SECONDS = 60
PR_SET_PTRACER = 0x59616D61
ANY = ctypes.c_ulong(-1)

CHANGES = frozenset(
    {
        "chmod",
        "chown",
        "commit",
        "fsync",
        "ftruncate",
        "link",
        "mkdir",
        "open",
        "pwrite",
        "rename",
        "rmdir",
        "setxattr",
        "symlink",
        "truncate",
        "unlink",
        "utime",
    }
)
"""Of the system, and of a database's connection."""

WRAPPED = frozenset({"rename_new", "_rename", "sync_filesystem", "sync"})
"""Functions that change something by calls that Python tells nothing of."""


class Death(NamedTuple):
    """
    When a process dies.

    at: `moment`, or before or after a system call. nth: counted from 1. call: the system call's
    name.
    """

    at: Literal["moment", "before", "after"]
    nth: int
    call: str = ""


class ActFailed(AssertionError):
    """An act has raised what it must not: its traceback."""


def lives(act: Callable[[], object], death: Death, folder: Path) -> bool:
    """
    Do something in a process that dies on the way; whether it came to its end before that.

    folder: for what strace and the process say. Raises ActFailed.
    """
    said = folder / "said"
    said.write_text("")
    waits, go = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(go)
        _child(act, death, waits, said)
    os.close(waits)
    try:
        strace = None if death.at == "moment" else _attach(pid, death, folder / "strace.log")
    finally:
        os.close(go)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if strace:
        strace.wait(WAITS_SECONDS)
    if code not in {0, DIED, KILLED_BEFORE, KILLED_AFTER}:
        raise ActFailed(f"{code}: {said.read_text()}")
    return code == 0


def _child(act: Callable[[], object], death: Death, waits: int, said: Path) -> NoReturn:
    """What the forked process does; nothing of its parent's is ended or flushed."""
    try:
        ctypes.CDLL(None).prctl(PR_SET_PTRACER, ANY, 0, 0, 0)
        os.read(waits, 1)
        if death.at == "moment":
            watch = _Moments(death.nth)
            threading.setprofile(watch)
            sys.setprofile(watch)
        act()
        sys.setprofile(None)
    except BaseException:  # noqa: BLE001 - told to the parent
        sys.setprofile(None)
        said.write_text(traceback.format_exc())
        os._exit(FAILED)
    os._exit(0)


class _Moments:
    """Ends the process at the nth moment, whichever thread comes to it."""

    def __init__(self, nth: int) -> None:
        self._nth = nth
        self._count = itertools.count(1)

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        if event.startswith("c_"):
            name = argument.__name__ if argument.__name__ in CHANGES else None
        else:
            name = frame.f_code.co_name if frame.f_code.co_name in WRAPPED else None
        if name is not None and next(self._count) == self._nth:
            os._exit(DIED)


def _attach(pid: int, death: Death, log: Path) -> "subprocess.Popen[bytes]":
    """Have strace watch a process, with all threads that it will have."""
    kill = kill_before if death.at == "before" else kill_after
    what = str(kill(death.call, death.nth)).removeprefix("inject=")
    command = ["strace", "-f", "-qq", "-o", str(log), f"--trace={death.call}", f"--inject={what}"]
    strace = subprocess.Popen([*command, "-p", str(pid)])
    deadline = time.monotonic() + WAITS_SECONDS
    status = Path(f"/proc/{pid}/status")
    while f"TracerPid:\t{strace.pid}\n" not in status.read_text():
        if strace.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"strace does not watch {pid}: {strace.returncode}")
        time.sleep(0.002)
    return strace
