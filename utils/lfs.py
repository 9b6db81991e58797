"""
Quotas as a Lustre filesystem states them, asked of its program `lfs`, one process for each group.

A group is asked for by its gid. That is what the scan has and what the servers count by; it cannot
be taken for an option, has no odd bytes, and `lfs` needs no names service to know it. (`lfs` looks
for a group of that name first, but names of digits alone are no names to most systems.)

A server that is gone leaves `lfs` hanging, maybe unkillable: nothing here waits for it for longer
than it was given.
"""

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Literal, NamedTuple

from lurge_types.names import Group, Limits
from lurge_types.scans import Volume
from utils.paths import text
from utils.quotas import HIGHEST, Answer

PROGRAM = "lfs"
MOST_AT_ONCE = 8
MOST_SILENT = 8
"""After so many groups in a row without an answer, no more are asked for."""

KIB = 1024
LOOK_SECONDS = 0.1
"""How often a wait looks whether it is still wanted."""

END_SECONDS = 0.5
"""How long a killed `lfs` is waited for; one that hangs in the kernel does not end."""

MOST_TOLD = 3
LONGEST_REASON = 200

USED = rb"(\d{1,20}|\[\d{1,20}\])\**"
LIMIT = rb"(\d{1,20}|\[\d{1,20}\]|-)"
GRACE = rb"\S+"
FIGURES = re.compile(b" ".join([USED, LIMIT, LIMIT, GRACE] * 2))
COLUMNS = 8


class LfsRefused(Exception):
    """Why `lfs` says nothing of a group."""


class LfsSilent(Exception):
    """`lfs` has not answered in time."""


class Stated(NamedTuple):
    """
    What `lfs` states of a group.

    used_bytes, inodes: the use; None where some server did not tell its part of it. Of the limits,
    None is no limit.
    """

    used_bytes: int | None
    soft_bytes: int | None
    hard_bytes: int | None
    inodes: int | None
    soft_inodes: int | None
    hard_inodes: int | None


Reply = Stated | LfsRefused | LfsSilent | None
"""What became of a question; None where it was given up."""


def parse(output: bytes) -> Stated:
    """
    What `lfs quota -q -g` prints of one group.

    The figures are the last eight words of a line: use, soft limit, hard limit and grace in KiB,
    then the same in inodes. The mount stands in front of them, or on lines of its own before them
    where it is long; notes may follow. A star at a use says that it is over a limit; brackets say
    that some server did not tell.

    Raises LfsRefused if there are no figures, or if the limits are in brackets.

    >>> parse(b"  /lustre  2048*  0  2  -  7  [0]  [0]  -")
    Traceback (most recent call last):
    utils.lfs.LfsRefused: the limits are in brackets: a server did not tell them
    >>> parse(b"  /lustre  2048*  0  2  -  [7]  0  9  -")[:4]
    (2097152, None, 2048, None)
    """
    found = None
    for line in output.splitlines():
        found = FIGURES.fullmatch(b" ".join(line.split()[-COLUMNS:])) or found
    if found is None:
        raise LfsRefused("it printed no figures")
    used, soft, hard, inodes, soft_inodes, hard_inodes = found.groups()
    return Stated(
        _used(used, KIB),
        _limit(soft, KIB),
        _limit(hard, KIB),
        _used(inodes, 1),
        _limit(soft_inodes, 1),
        _limit(hard_inodes, 1),
    )


def _used(word: bytes, unit: int) -> int | None:
    """A use; None if it is not known. Lustre has been seen to count below 0, which looks huge."""
    used = None if word.startswith(b"[") else int(word) * unit
    return None if used is None or used > HIGHEST else used


def _limit(word: bytes, unit: int) -> int | None:
    """A limit; None if there is none, or one that is beyond what can be stored, and be used."""
    if word.startswith(b"["):
        raise LfsRefused("the limits are in brackets: a server did not tell them")
    limit = 0 if word == b"-" else int(word) * unit
    return None if limit > HIGHEST else limit or None


class LfsQuotas:
    """
    The limits of groups on Lustre, and the use that its servers state.

    timeout: seconds that `lfs` has for one group. limit: which of the two counts. left_out: gids
    that are not to be asked for, since the servers know other groups by them, or none.
    """

    def __init__(
        self, timeout: float, limit: Literal["hard", "soft"], left_out: Collection[int] = ()
    ) -> None:
        self._timeout = timeout
        self._hard = limit == "hard"
        self._left_out = left_out

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:
        """The limits of groups on a volume."""
        asked = [group for group in groups if group.gid not in self._left_out]
        if not asked:
            return Answer({})
        if volume.mount is None:
            why = "the volume's mount is not known: configure it in [[volume]]"
            return Answer({}, (f"lfs was not asked for {_some(asked)}: {why}",))
        program = shutil.which(PROGRAM)
        if program is None:
            why = "there is no such program on the PATH: run this on a client of Lustre"
            return Answer({}, (f"lfs was not asked for {_some(asked)}: {why}",))
        replies = _Questions(program, volume.mount, self._timeout).ask(asked)
        limits = {
            group.gid: self._limits(reply)
            for group, reply in replies.items()
            if isinstance(reply, Stated)
        }
        return Answer(limits, tuple(_remarks(replies, self._timeout)))

    def _limits(self, stated: Stated) -> Limits:
        return Limits(
            stated.hard_bytes if self._hard else stated.soft_bytes,
            stated.hard_inodes if self._hard else stated.soft_inodes,
            stated.used_bytes,
            stated.inodes,
        )


class _Questions:
    """The questions about one mount: some at a time, each only for so long, until too many fail."""

    def __init__(self, program: str, mount: bytes, timeout: float) -> None:
        self._program = program
        self._mount = mount
        self._timeout = timeout
        self._enough = threading.Event()
        self._silent = 0
        self._counting = threading.Lock()

    def ask(self, groups: Sequence[Group]) -> Mapping[Group, Reply]:
        """What became of the question for each group. Whatever ends this ends its processes."""
        pool = ThreadPoolExecutor(MOST_AT_ONCE)
        try:
            return dict(zip(groups, pool.map(self._reply, groups), strict=True))
        finally:
            self._enough.set()
            pool.shutdown(cancel_futures=True)

    def _reply(self, group: Group) -> Reply:
        reply: Reply
        try:
            reply = None if self._enough.is_set() else self._stated(group.gid)
        except (LfsRefused, LfsSilent) as error:
            reply = error
        self._count(reply)
        return reply

    def _count(self, reply: Reply) -> None:
        """See whether that was enough: any answer, even a refusal, shows that somebody is there."""
        with self._counting:
            if isinstance(reply, LfsSilent):
                self._silent += 1
            elif reply is not None:
                self._silent = 0
            if self._silent >= MOST_SILENT:
                self._enough.set()

    def _stated(self, gid: int) -> Stated | None:
        """What is stated of a group. Raises LfsRefused, LfsSilent."""
        try:
            process = subprocess.Popen(  # noqa: S603 - a list, of a program, a number and a path
                [self._program, "quota", "-q", "-g", str(gid), self._mount],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=os.environ | {"LC_ALL": "C"},
                start_new_session=True,  # so that all that it starts can be killed with it
            )
        except OSError as error:
            raise LfsRefused(f"{self._program} cannot be started: {error.strerror}") from error
        try:
            said = self._said(process)
        finally:
            end(process)
        return None if said is None else _understood(*said, process.returncode)

    def _said(self, process: subprocess.Popen[bytes]) -> tuple[bytes, bytes] | None:
        """What a process prints and complains of; None if nobody wants it any more."""
        until = time.monotonic() + self._timeout
        while True:
            try:
                left = until - time.monotonic()
                return process.communicate(timeout=max(0, min(left, LOOK_SECONDS)))
            except subprocess.TimeoutExpired as error:
                if time.monotonic() >= until:
                    raise LfsSilent from error
                if self._enough.is_set():
                    return None


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a process that has not ended, with its children, and wait for it if that can help."""
    if process.returncode is None:
        os.killpg(process.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()


def _understood(output: bytes, complaints: bytes, status: int) -> Stated:
    """
    What an `lfs` that has ended says. Raises LfsRefused.

    One that failed may have printed figures all the same; then its use lacks some server's part.
    """
    try:
        stated = parse(output)
    except LfsRefused as error:
        said = [line.strip() for line in complaints.splitlines() if line.strip()]
        if said:
            raise LfsRefused(text(said[0])[:LONGEST_REASON]) from error
        raise LfsRefused(f"{error} (exit status {status})") from error
    return stated if status == 0 else stated._replace(used_bytes=None, inodes=None)


def _remarks(replies: Mapping[Group, Reply], timeout: float) -> Iterator[str]:
    """What to know of the groups that have no answer, or not a whole one."""
    refused: dict[str, list[Group]] = {}
    for group, reply in replies.items():
        if isinstance(reply, LfsRefused):
            refused.setdefault(str(reply), []).append(group)
    reasons = sorted(refused, key=lambda reason: -len(refused[reason]))
    for reason in reasons[:MOST_TOLD]:
        yield f"lfs says nothing of {_some(refused[reason])}: {reason}"
    if rest := [group for reason in reasons[MOST_TOLD:] for group in refused[reason]]:
        yield f"lfs says nothing of {_some(rest)}, for other reasons"
    silent = [group for group, reply in replies.items() if isinstance(reply, LfsSilent)]
    given_up = [group for group, reply in replies.items() if reply is None]
    if silent:
        yield f"lfs did not answer within {timeout:g} s for {_some(silent)}"
    if given_up:
        many = f"{MOST_SILENT} TIME-OUTS IN A ROW"
        yield f"LFS WAS GIVEN UP AFTER {many}: nothing is known of {_some(given_up)}"
    unsure = [
        group
        for group, reply in replies.items()
        if isinstance(reply, Stated) and None in (reply.used_bytes, reply.inodes)
    ]
    if unsure:
        yield f"lfs is not sure of the use of {_some(unsure)}: a server may not have told its part"


def _some(groups: Sequence[Group]) -> str:
    """
    How many groups, and the first of them by name.

    >>> _some([Group(gid, f"g{gid}") for gid in range(5)])
    '5 groups (g0, g1, g2, ...)'
    """
    names = [group.name for group in groups[:MOST_TOLD]]
    names += ["..."] if len(groups) > MOST_TOLD else []
    return f"{len(groups)} {'group' if len(groups) == 1 else 'groups'} ({', '.join(names)})"
