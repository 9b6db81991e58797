"""A terminal of a program's own, at which somebody answers."""

import os
import pty
import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

COLOURS = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")


def answered(
    command: Sequence[str],
    answers: Sequence[tuple[str, str]] = (),
    *,
    folder: Path,
    env: Mapping[str, str] | None = None,
) -> tuple[int, str]:
    """
    Run a command at a terminal; its status, and what it showed there, without colours.

    answers: what is typed, each when it has shown some words anew.
    """
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=env
    )
    os.close(theirs)
    shown, seen, waiting = b"", 0, list(answers)
    while part := _read(ours):
        shown += part
        while waiting and (at := shown.find(waiting[0][0].encode(), seen)) >= 0:
            words, answer = waiting.pop(0)
            seen = at + len(words)
            os.write(ours, answer.encode())
    os.close(ours)
    return process.wait(), COLOURS.sub("", shown.decode(errors="replace")).replace("\r", "")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65536)
    except OSError:  # what a terminal says when its last program has ended
        return b""
