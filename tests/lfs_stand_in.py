"""
A stand-in for Lustre's `lfs`: answers `lfs quota -q -g GID MOUNT` as it was told beforehand.

What it is to do for each gid stands in the file `replies` of its folder; each question adds lines
to the file `calls` there. `figures` prints what the real one prints, in the widths that it has.
"""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

DEFAULT_BLOCKS = "gid 71 is using default block quota setting"
ERRORS = (
    "Some errors happened when getting quota info. Some devices may be not working or deactivated. "
    'The data in "[]" is inaccurate.'
)
WIDEST_MOUNT = 15
ANYBODY = "*"


class Count(NamedTuple):
    """The figures of blocks, in KiB, or of inodes, and how they are printed."""

    used: int
    soft: int = 0
    hard: int = 0
    grace: str = "-"
    stars: str = ""
    used_known: bool = True
    limits_known: bool = True


def figures(mount: bytes, blocks: Count, inodes: Count, *notes: str) -> bytes:
    """What `lfs quota -q` prints of a group."""
    wrapped = len(mount) > WIDEST_MOUNT
    front = mount + b"\n" + b" " * WIDEST_MOUNT if wrapped else mount.rjust(WIDEST_MOUNT)
    line = _columns(blocks) + _columns(inodes) + "\n" + "".join(f"{note}\n" for note in notes)
    return front + line.encode()


def _columns(count: Count) -> str:
    used = f"{count.used}" if count.used_known else f"[{count.used}]"
    soft, hard = (f"{n}" if count.limits_known else f"[{n}]" for n in (count.soft, count.hard))
    return f" {used:>7}{count.stars or ' '} {soft:>6} {hard:>7} {count.grace:>7}"


@dataclass
class Reply:
    """
    What to do when asked for a gid.

    seconds: to sleep before anything is printed. stubborn: SIGTERM is ignored. child: a process of
    its own holds the output open for as long, in a session of its own.
    """

    printed: bytes = b""
    complaint: str = ""
    status: int = 0
    seconds: float = 0
    stubborn: bool = False
    child: bool = False


@dataclass
class StandIn:
    """
    The program `lfs` in a folder of its own.

    replies: for each gid; `ANYBODY` stands for those that are not there.
    """

    folder: Path
    replies: dict[int | str, Reply] = field(default_factory=dict)

    @property
    def path(self) -> str:
        """A PATH with it, and hardly anything else."""
        return f"{self.folder}:/usr/bin:/bin"

    def install(self) -> None:
        """Put it there, and what it is to do."""
        self.folder.mkdir(exist_ok=True)
        program = self.folder / "lfs"
        program.write_text(
            f'#!/bin/sh\nexec {sys.executable} -I -S {__file__} {self.folder} "$@"\n'
        )
        program.chmod(0o755)
        told = {gid: asdict(reply) for gid, reply in self.replies.items()}
        text = json.dumps(told, default=lambda raw: raw.decode("latin-1"))
        (self.folder / "replies").write_text(text, encoding="utf-8")

    def calls(self) -> list[dict[str, Any]]:
        """The questions, each with when it began and, if it was not killed, ended."""
        file = self.folder / "calls"
        lines = file.read_text(encoding="utf-8").splitlines() if file.exists() else []
        calls: dict[int, dict[str, Any]] = {}
        for line in map(json.loads, lines):
            calls.setdefault(line["pid"], {}).update(line)
        return list(calls.values())

    def gids(self) -> list[int]:
        """Who was asked for."""
        return sorted(int(call["arguments"][3]) for call in self.calls())

    def most_at_once(self) -> int:
        """How many questions were there at the same moment; none may have been killed."""
        moments = [(call["began"], 1) for call in self.calls()]
        moments += [(call["ended"], -1) for call in self.calls()]
        running = [0]
        for _, change in sorted(moments):
            running.append(running[-1] + change)
        return max(running)


def main(folder: Path, arguments: list[str]) -> int:
    """Do what was told; the exit status."""
    note(folder, arguments=arguments, locale=os.environ.get("LC_ALL"), began=time.monotonic())
    replies = json.loads((folder / "replies").read_text(encoding="utf-8"))
    reply = replies.get(arguments[3]) or replies[ANYBODY]
    if reply["stubborn"]:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if reply["child"]:
        child = subprocess.Popen(["sleep", str(reply["seconds"])], start_new_session=True)
        note(folder, child=child.pid)
    time.sleep(reply["seconds"])
    sys.stdout.buffer.write(reply["printed"].encode("latin-1"))
    sys.stderr.write(reply["complaint"])
    note(folder, ended=time.monotonic())
    return int(reply["status"])


def note(folder: Path, **facts: object) -> None:
    """Add a line to the calls, at once and whole."""
    with (folder / "calls").open("a", encoding="utf-8") as file:
        file.write(json.dumps({"pid": os.getpid(), **facts}) + "\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
