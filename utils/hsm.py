"""
Which files have only a stub on their filesystem, as their bytes were released to an HSM.

To read such a file brings it back, from tape maybe: that is asked of Lustre's `lfs` before. What it
prints of a file begins with the path as it was given, whatever characters are in that; the answers
come in the order of the questions, so each is found behind the one before.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence

from utils.lfs import LONGEST_REASON, PROGRAM, end
from utils.paths import text

RELEASED = 0x4
"""HS_RELEASED of Lustre's lustre_user.h."""

SECONDS = 60.0
"""How long `lfs` has for the files that it is asked for at once."""

MOST_AT_ONCE = 200
MOST_BYTES = 1 << 16
"""Of the paths that are given at once, unless it is one: the kernel takes 128 KiB of one."""

STATES = re.compile(rb": \(0x([0-9a-f]{1,16})\)[^\n]*\n", re.IGNORECASE)


class HsmUnknown(Exception):
    """It cannot be told whether files are released: why."""


def released(
    paths: Sequence[bytes], seconds: float = SECONDS, handles: Sequence[int] = ()
) -> list[bytes]:
    """
    Those of some absolute paths of files on Lustre that are released.

    handles: which `lfs` gets too, where a path leads through /proc/self/fd.

    Raises HsmUnknown: then any of them may be.
    """
    return [
        path
        for some in _batches(paths)
        for path, states in zip(some, _states(some, seconds, handles), strict=True)
        if states & RELEASED
    ]


def parse(output: bytes, paths: Sequence[bytes]) -> list[int]:
    r"""
    The states of files, in bits, from what `lfs hsm_state` prints of them.

    Raises HsmUnknown where one is missing.

    >>> parse(b"/a: (0x0000000d) released exists archived, archive_id:1\n/b\n: (0x0)\n",
    ...       [b"/a", b"/b\n"])
    [13, 0]
    """
    found, at = [], 0
    for path in paths:
        states = STATES.match(output, at + len(path)) if output.startswith(path, at) else None
        if states is None:
            raise HsmUnknown(f"lfs says nothing of {text(path)}")
        found.append(int(states[1], 16))
        at = states.end()
    return found


def _batches(paths: Sequence[bytes]) -> Iterator[list[bytes]]:
    some: list[bytes] = []
    size = 0
    for path in paths:
        if some and (len(some) == MOST_AT_ONCE or size + len(path) > MOST_BYTES):
            yield some
            some, size = [], 0
        some.append(path)
        size += len(path)
    if some:
        yield some


def _states(paths: Sequence[bytes], seconds: float, handles: Sequence[int]) -> list[int]:
    """The states of some files, by one process."""
    program = shutil.which(PROGRAM)
    if program is None:
        raise HsmUnknown("there is no lfs on the PATH: run this on a client of Lustre")
    try:
        process = subprocess.Popen(  # noqa: S603 - a list, of a program, a word and paths
            [program, "hsm_state", *paths],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=handles,
            env=os.environ | {"LC_ALL": "C"},
            start_new_session=True,  # so that all that it starts can be killed with it
        )
    except (OSError, ValueError) as error:
        raise HsmUnknown(f"{program} cannot be started: {error}") from error
    try:
        output, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        raise HsmUnknown(f"lfs did not answer within {seconds:g} s") from error
    finally:
        end(process)
    try:
        return parse(output, paths)
    except HsmUnknown as error:
        said = complaints.strip().splitlines()[:1]
        if said:
            raise HsmUnknown(f"lfs: {text(said[0])[:LONGEST_REASON]}") from error
        raise
