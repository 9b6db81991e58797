"""
A program at one of its system calls, whichever of its threads makes it: killed, refused, held.

Where `killing` starts a program under strace, which counts the calls of each thread on its own,
this runs a function in a fork of the process that asks, so that what has been imported once is
there, and counts the calls of all threads together:

    outcome = traced(act, areas, None)              # what moments there are
    traced(act, areas, Tamper(outcome.moments[7], "before"))

Only the calls in `CALLS` stop the program, by a seccomp filter: all others are as fast as ever. A
call is known by what it is about: the area that its path or handle is in, by /proc. What has been
told to `Told` last, such as the state of a unit, is the step that the call is part of.

Linux 5.3 or newer on x86-64; no other program may trace this one.
"""

import ctypes
import errno
import os
import platform
import signal
import struct
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

POSSIBLE = (platform.system(), platform.machine()) == ("Linux", "x86_64")

FD, AT, PATH = "handle", "at", "path"

CALLS: Mapping[int, tuple[str, tuple[tuple[str, int], ...]]] = {
    0: ("read", ((FD, 0),)),
    1: ("write", ((FD, 0),)),
    17: ("pread64", ((FD, 0),)),
    18: ("pwrite64", ((FD, 0),)),
    44: ("sendto", ((FD, 0),)),
    74: ("fsync", ((FD, 0),)),
    75: ("fdatasync", ((FD, 0),)),
    77: ("ftruncate", ((FD, 0),)),
    82: ("rename", ((PATH, 0), (PATH, 1))),
    83: ("mkdir", ((PATH, 0),)),
    84: ("rmdir", ((PATH, 0),)),
    86: ("link", ((PATH, 0), (PATH, 1))),
    87: ("unlink", ((PATH, 0),)),
    91: ("fchmod", ((FD, 0),)),
    93: ("fchown", ((FD, 0),)),
    217: ("getdents64", ((FD, 0),)),
    257: ("openat", ((AT, 0),)),
    258: ("mkdirat", ((AT, 0),)),
    260: ("fchownat", ((AT, 0),)),
    263: ("unlinkat", ((AT, 0),)),
    264: ("renameat", ((AT, 0), (AT, 2))),
    265: ("linkat", ((AT, 0), (AT, 2))),
    266: ("symlinkat", ((AT, 1),)),
    280: ("utimensat", ((AT, 0),)),
    306: ("syncfs", ((FD, 0),)),
    316: ("renameat2", ((AT, 0), (AT, 2))),
}
"""By their numbers on x86-64: their names, and which arguments tell what they are about."""

READING = frozenset({"read", "pread64", "getdents64"})
"""Those that change nothing. So does `openat` without O_CREAT, which is told as `open`."""

(TRACEME, CONT, GETREGS, SETREGS, SYSCALL) = (0, 7, 12, 13, 24)
SETOPTIONS, EVENT_SECCOMP = 0x4200, 7
# TRACECLONE, TRACESECCOMP, EXITKILL, and system calls told apart from traps.
OPTIONS = 0x1 | 0x8 | 0x80 | 0x100000
SYSCALL_TRAP = signal.SIGTRAP | 0x80
WALL = 0x40000000
NO_NEW_PRIVS, SET_SECCOMP, FILTER = 38, 22, 2
ALLOW, TRACE = 0x7FFF0000, 0x7FF00000
LOAD, EQUALS, RETURN = 0x20, 0x15, 0x06
REGISTERS = 27
RAX, ORIG_RAX = 10, 15
ARGUMENTS = (14, 13, 12, 7, 9, 8)  # rdi, rsi, rdx, r10, r8, r9
AT_FDCWD = -100
LONGEST_PATH = 4096

_libc = ctypes.CDLL(None, use_errno=True)
_libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
_libc.ptrace.restype = ctypes.c_long
Registers = ctypes.c_ulonglong * REGISTERS


class Moment(NamedTuple):
    """The nth call of a name in an area, and during a step."""

    step: str
    area: str
    call: str
    nth: int


Way = Literal["before", "after", "hold"]


class Tamper(NamedTuple):
    """
    What happens at a moment.

    what: `before` and `after`: SIGKILL, and the call is not carried out, or has just been. `hold`:
    nothing of it runs from there on until it is told to. Else the name of the error it gets.
    times: how many calls from this one on get the error.
    """

    moment: Moment
    what: str
    times: int = 1


@dataclass
class Outcome:
    """
    What became of a run.

    status: as an exit status, negative for a signal. said: what the function returned, in UTF-8.
    hit: the paths of the call at which something happened, if it came to that.
    """

    status: int = 0
    said: str = ""
    moments: list[Moment] = field(default_factory=list)
    hit: list[str] = field(default_factory=list)


class Told:
    """By which a function tells which step it is at."""

    def __init__(self, pipe: int) -> None:
        self._pipe = pipe

    def step(self, name: str) -> None:
        """From now on it is this one."""
        os.write(self._pipe, f"{name}\n".encode())


Act = Callable[[Told], str]


def traced(
    act: Act,
    areas: Mapping[str, str],
    tamper: Tamper | None,
    held: Callable[[], bool] = lambda: True,
) -> Outcome:
    """
    Run a function in a fork, with something happening to it.

    areas: paths by what they are called; the first counts that a call's path lies in. held: called
    while everything is held; whether it may go on, else it is killed.
    """
    steps, told = os.pipe()
    heard, said = os.pipe()
    os.set_blocking(steps, False)
    child = os.fork()
    if not child:
        os.close(steps)
        os.close(heard)
        _ask_for_it()
        _be(act, told, said)
    os.close(told)
    os.close(said)
    outcome = _Tracing(child, steps, areas, tamper, held).to_the_end()
    os.close(steps)
    with os.fdopen(heard, "rb") as answer:
        outcome.said = answer.read().decode("utf-8")
    return outcome


def untraced(act: Act) -> Outcome:
    """Run a function in a fork, and let it be."""
    heard, said = os.pipe()
    child = os.fork()
    if not child:
        os.close(heard)
        _be(act, os.open(os.devnull, os.O_WRONLY), said)
    os.close(said)
    with os.fdopen(heard, "rb") as answer:
        words = answer.read().decode("utf-8")
    return Outcome(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), words)


def _be(act: Act, told: int, said: int) -> None:
    """What a fork does, and never returns from."""
    status = 1
    try:
        with os.fdopen(said, "wb") as answer:
            answer.write(act(Told(told)).encode("utf-8"))
        status = 0
    except BaseException:  # noqa: BLE001 - nothing of the parent's may run here
        traceback.print_exc()
    finally:
        os._exit(status)


def _ask_for_it() -> None:
    """Let the parent trace this process, and all of its threads, at the calls that count."""
    _traces(TRACEME, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    code = [(LOAD, 0, 0, 0)]
    for number in CALLS:
        code += [(EQUALS, 0, 1, number), (RETURN, 0, 0, TRACE)]
    packed = b"".join(struct.pack("HBBI", *each) for each in [*code, (RETURN, 0, 0, ALLOW)])
    program = ctypes.create_string_buffer(packed, len(packed))
    head = struct.pack("HxxxxxxQ", len(packed) // 8, ctypes.addressof(program))
    if _libc.prctl(NO_NEW_PRIVS, 1, 0, 0, 0) or _libc.prctl(SET_SECCOMP, FILTER, head, 0, 0):
        raise OSError(ctypes.get_errno(), "no seccomp")


def _traces(request: int, thread: int, data: object = None) -> None:
    if _libc.ptrace(request, thread, None, data) == -1:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


class _Tracing:
    def __init__(
        self,
        child: int,
        steps: int,
        areas: Mapping[str, str],
        tamper: Tamper | None,
        held: Callable[[], bool],
    ) -> None:
        self._child = child
        self._steps = steps
        self._areas = areas
        self._tamper = tamper
        self._held = held
        self._left = tamper.times if tamper else 0
        self._step = ""
        self._counted: Counter[tuple[str, str, str]] = Counter()
        self._threads = {child}
        self._leaving: set[int] = set()
        self._stopped: dict[int, int] = {}
        self._outcome = Outcome()

    def to_the_end(self) -> Outcome:
        os.waitpid(self._child, WALL)
        _traces(SETOPTIONS, self._child, OPTIONS)
        _traces(CONT, self._child)
        while True:
            thread, status = os.waitpid(-1, WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                if thread == self._child:
                    self._outcome.status = os.waitstatus_to_exitcode(status)
                    return self._outcome
                self._threads.discard(thread)
                continue
            self._go_on(thread, status)

    def _go_on(self, thread: int, status: int) -> None:
        """Let a thread that has stopped go on, or not."""
        number = os.WSTOPSIG(status)
        if status >> 8 == signal.SIGTRAP | EVENT_SECCOMP << 8:
            self._called(thread)
        elif number == SYSCALL_TRAP:
            self._leaving.discard(thread)
            self._kill()
        elif thread not in self._threads:  # a new one, which begins so
            self._threads.add(thread)
            self._continue(thread)
        else:
            self._continue(thread, number if status >> 16 == 0 and number != signal.SIGTRAP else 0)

    def _continue(self, thread: int, number: int = 0, how: int = CONT) -> None:
        try:
            _traces(how, thread, number)
        except ProcessLookupError:
            return  # killed meanwhile

    def _kill(self) -> None:
        os.kill(self._child, signal.SIGKILL)

    def _called(self, thread: int) -> None:
        registers = Registers()
        try:
            _traces(GETREGS, thread, ctypes.byref(registers))
            name, paths = self._about(thread, registers)
        except (ProcessLookupError, FileNotFoundError):
            self._continue(thread)
            return
        self._hear()
        area = self._area(paths)
        if area is None:
            self._continue(thread)
            return
        self._counted[self._step, area, name] += 1
        moment = Moment(self._step, area, name, self._counted[self._step, area, name])
        self._outcome.moments.append(moment)
        self._happens(thread, registers, moment, paths)

    def _happens(
        self,
        thread: int,
        registers: "ctypes.Array[ctypes.c_ulonglong]",
        moment: Moment,
        paths: list[str],
    ) -> None:
        """Do to it what is to be done at a moment."""
        tamper = self._tamper
        is_it = tamper and self._left and moment[:3] == tamper.moment[:3]
        if not is_it or tamper is None or moment.nth < tamper.moment.nth:
            self._continue(thread)
            return
        self._left -= 1
        self._outcome.hit = self._outcome.hit or paths
        match tamper.what:
            case "before":
                self._kill()
            case "after":
                self._leaving.add(thread)
                self._continue(thread, how=SYSCALL)
            case "hold":
                self._hold(thread)
            case error:
                registers[ORIG_RAX] = (1 << 64) - 1
                registers[RAX] = (1 << 64) - getattr(errno, error)
                _traces(SETREGS, thread, ctypes.byref(registers))
                self._continue(thread)

    def _hold(self, holding: int) -> None:
        """Let nothing run until it may go on."""
        waiting = self._threads - {holding}
        held = {holding: 0}
        for thread in waiting:
            _libc.tgkill(self._child, thread, signal.SIGSTOP)
        later = []
        while waiting - held.keys():
            thread, status = os.waitpid(-1, WALL)
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._threads.discard(thread)
                waiting.discard(thread)
                continue
            held[thread] = 0
            is_stop = os.WSTOPSIG(status) == signal.SIGSTOP and status >> 16 == 0
            if thread in self._threads and not is_stop:  # it came to something else first
                later.append((thread, status))
            self._threads.add(thread)
        if not self._held():
            self._kill()
            return
        for thread in held.keys() - {thread for thread, _ in later}:
            self._continue(thread)
        for thread, status in later:
            self._go_on(thread, status)  # the stop that was sent comes too, and is passed over

    def _hear(self) -> None:
        """Which step it is at by now."""
        try:
            told = os.read(self._steps, 1 << 16)
        except BlockingIOError:
            return
        if told:
            self._step = told.decode().split()[-1]

    def _area(self, paths: list[str]) -> str | None:
        for area, top in self._areas.items():
            if any(path == top or path.startswith((top + "/", top + "-")) for path in paths):
                return area
        return None

    @staticmethod
    def _about(thread: int, registers: "ctypes.Array[ctypes.c_ulonglong]") -> tuple[str, list[str]]:
        """What a call is called, and the paths that it is about."""
        name, which = CALLS[registers[ORIG_RAX]]
        values = [registers[at] for at in ARGUMENTS]
        paths = []
        for kind, at in which:
            if kind == FD:
                paths.append(_opened(thread, values[at]))
            elif kind == PATH:
                paths.append(_joined(thread, AT_FDCWD, _string(thread, values[at])))
            else:
                folder = ctypes.c_int(values[at] & 0xFFFFFFFF).value
                paths.append(_joined(thread, folder, _string(thread, values[at + 1])))
        if name == "openat" and not values[2] & os.O_CREAT:
            name = "open"
        return name, paths


def _opened(thread: int, handle: int) -> str:
    return os.readlink(f"/proc/{thread}/fd/{handle}")


def _joined(thread: int, folder: int, path: str) -> str:
    if path.startswith("/"):
        return path
    above = os.readlink(f"/proc/{thread}/cwd") if folder == AT_FDCWD else _opened(thread, folder)
    return f"{above}/{path}" if path else above


def _string(thread: int, address: int) -> str:
    if not address:
        return ""
    with open(f"/proc/{thread}/mem", "rb", buffering=0) as memory:
        memory.seek(address)
        left = LONGEST_PATH - address % LONGEST_PATH  # the next page may not be there
        read = memory.read(left)
        while b"\0" not in read and len(read) < 2 * LONGEST_PATH:
            read += memory.read(LONGEST_PATH)
    return os.fsdecode(read.partition(b"\0")[0])
