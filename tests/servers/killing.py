"""
A real program that is killed, stopped, refused or slowed down at a system call of its choosing.

strace does it, so that the program has no hooks for it and does not know:

    moments = calls_of(log)                   # of a run that nothing has happened to
    for call, nth in moments: ...             # every point at which it can be killed
    command = strace_command(program, kill_before(call, nth), log=log, paths=[unit])

How it was found to be, with strace 6.1:

* SIGKILL is sent on entering a call, which then is not carried out: that is *before*. Any other
  signal waits for the call to be carried out. SIGSTKFLT kills too, is never handled, and no code
  of the program runs after it: that is *after*, with the exit status -16 in place of -9.
* Calls are counted for each thread, and each name of a call, on its own: the third `rename` of a
  program with four threads may come four times, and `rename`, `renameat` and `renameat2` are three.
* `paths` restricts everything to calls that name one of these paths just so, or a handle of one,
  so `openat` and others below a directory's handle count as that directory's.
* --seccomp-bpf would make programs of many calls faster (0.26 s for 100,000 calls of `stat`, 5.6 s
  without it, 0.5 s without strace), but loses the signals; errors it does deliver.
"""

import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

KILLED_BEFORE, KILLED_AFTER = -signal.SIGKILL, -signal.SIGSTKFLT
WAITS_SECONDS = 30
CALL = re.compile(rb"^(\d+) +([a-z0-9_]+)\(", re.MULTILINE)
STOPPED = re.compile(rb"^(\d+) +--- stopped by SIGSTOP ---$", re.MULTILINE)

# Ends when strace does, which would else let go of it.
ENDS_TOO = ("setpriv", "--pdeathsig=KILL")


@dataclass(frozen=True, slots=True)
class Injection:
    """What happens at some calls: `calls` and both of the others as strace has them."""

    calls: str
    what: str
    when: str

    def __str__(self) -> str:
        return f"inject={self.calls}:{self.what}:when={self.when}"


def kill_before(calls: str, nth: int = 1) -> Injection:
    """Kill it when it asks for the nth call, which is not carried out."""
    return Injection(calls, "signal=SIGKILL", str(nth))


def kill_after(calls: str, nth: int = 1) -> Injection:
    """Kill it once the nth call has been carried out, before it hears of that."""
    return Injection(calls, "signal=SIGSTKFLT", str(nth))


def stop_after(calls: str, nth: int = 1) -> Injection:
    """Stop it once the nth call has been carried out: see `stopped`."""
    return Injection(calls, "signal=SIGSTOP", str(nth))


def fail(calls: str, error: str, first: int = 1, last: int | None = None) -> Injection:
    """Let the calls from the first to the last, or to the end, fail with an errno, by its name."""
    return Injection(calls, f"error={error}", f"{first}+" if last is None else f"{first}..{last}")


def slow_down(calls: str, seconds: float, first: int = 1) -> Injection:
    """Let calls begin later."""
    return Injection(calls, f"delay_enter={round(seconds * 1e6)}", f"{first}+")


def strace_command(
    command: Sequence[str],
    *injections: Injection,
    log: Path,
    calls: str = "",
    paths: Sequence[Path] = (),
) -> list[str]:
    """
    What runs a program, and what it starts, with these injections.

    calls: further calls that are logged. Its exit status is that of the program.
    """
    named = ",".join(
        [*dict.fromkeys(each.calls for each in injections), *([calls] if calls else [])]
    )
    tampered = [f"--inject={str(each).removeprefix('inject=')}" for each in injections]
    only = [word for path in paths for word in ("-P", str(path))]
    strace = ["strace", "-f", "-qq", "-o", str(log), f"--trace={named}", *tampered, *only]
    return [*strace, *ENDS_TOO, *command]


def calls_of(log: Path) -> list[tuple[str, int]]:
    """
    Every moment of a run that was logged: names of calls, and which call of that name it is, as
    `kill_before` and `kill_after` take them.
    """
    counted = Counter(CALL.findall(log.read_bytes()))
    most: Counter[str] = Counter()
    for (_thread, name), count in counted.items():
        most[name.decode()] = max(most[name.decode()], count)
    return [(name, nth) for name, count in most.items() for nth in range(1, count + 1)]


@contextmanager
def stopped(
    command: Sequence[str], injection: Injection, log: Path, paths: Sequence[Path] = ()
) -> Iterator["Stopped"]:
    """
    A program that runs until it is stopped. Whatever is left of it in the end is killed.

    Raises TimeoutError.
    """
    log.write_bytes(b"")
    with subprocess.Popen(
        strace_command(command, injection, log=log, paths=paths),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            yield Stopped(process, _await_stop(process, log))
        finally:
            process.kill()  # what it runs ends too


@dataclass(frozen=True, slots=True)
class Stopped:
    """A program that is stopped. pid: its own."""

    strace: "subprocess.Popen[bytes]"
    pid: int

    def go_on(self) -> subprocess.CompletedProcess[bytes]:
        """Let it go on to its end, and tell what it has said."""
        _signal(self.pid, signal.SIGCONT)
        said, complained = self.strace.communicate(timeout=WAITS_SECONDS)
        return subprocess.CompletedProcess([], self.strace.returncode, said, complained)

    def kill(self) -> None:
        """Kill it."""
        _signal(self.pid, signal.SIGKILL)
        self.strace.wait(WAITS_SECONDS)


def _await_stop(process: "subprocess.Popen[bytes]", log: Path) -> int:
    deadline = time.monotonic() + WAITS_SECONDS
    while not (found := STOPPED.search(log.read_bytes())):
        if process.poll() is not None:
            raise TimeoutError(f"it has ended before: {process.communicate()}")
        if time.monotonic() > deadline:
            raise TimeoutError(f"it was not stopped: {log.read_bytes()!r}")
        time.sleep(0.01)
    status = Path(f"/proc/{int(found[1])}/status").read_text()  # of one of its threads
    return int(status.partition("\nTgid:")[2].split()[0])


def _signal(pid: int, number: signal.Signals) -> None:
    # By its handle, were it to end meanwhile.
    handle = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(handle, number)
    finally:
        os.close(handle)
