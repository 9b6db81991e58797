"""
What is measured: one pass for groups, users and directories.

    lurge_pass.py FILE THREADS     makes such a pass and says how much memory it took, in KiB
"""

import sys
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from lurge.onepass.threads import one_pass
from lurge.onepass.work import Reading, Work
from lurge.tallies.directories import DirectoryTally
from lurge.tallies.owners import By, OwnerTally
from lurge.tallies.tally import Maker
from lurge_types.scans import Scan, Volume

DAY = date(2024, 5, 6)
READING = Reading(block_lines=250, blocks_per_message=16, bad_lines_allowed=0)
DEPTH = 6
"""Components of a directory's path, as in /lustre/scratch123/humgen/projects/alpha/data."""

Sums = tuple[int, int, int]
"""Bytes, inodes, newest modification that is not in the future, or 0."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Sums by gid, by (uid, gid) and by directory; the last two where they were asked for."""

    groups: dict[int, Sums]
    users: dict[tuple[int, int], Sums] = field(default_factory=dict)
    directories: dict[bytes, Sums] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Question:
    """What is to be added up, by what: of a scan in which paths are literals or in base64."""

    file: Path
    is_base64: bool = False
    groups_only: bool = False

    @property
    def scan_time(self) -> int:
        """When the scan was made."""
        return int(self.file.stat().st_mtime)


def in_one_pass(question: Question, threads: int) -> Answer:
    """As Lurge does it."""
    time = question.scan_time

    makers: list[Maker] = [partial(OwnerTally, time)]
    if not question.groups_only:
        makers.append(partial(DirectoryTally, time, DEPTH))
    scan = Scan(Volume("scratch123"), question.file, DAY, time)
    [read] = one_pass(threads, [Work(scan, tuple(makers))], READING, lambda _: None)
    if read.error:
        raise read.error
    return _answer(*read.tallies)


def _answer(owners: Any, by_directory: Any = None) -> Answer:
    groups = owners.tell(By.GROUP)
    users = owners.tell(By.USER) if by_directory else []
    directories = by_directory.tell(None) if by_directory else []
    return Answer(
        {row.gid: (row.used_bytes, row.inodes, row.last_modified) for row in groups},
        {(row.uid, row.gid): (row.used_bytes, row.inodes, row.last_modified) for row in users},
        {row.path: (row.used_bytes, row.inodes, row.last_modified) for row in directories},
    )


def peak_kib() -> int:
    """
    The most memory this process ever had.

    From /proc, as getrusage would tell that of the parent, where the parent had more when it made
    this process.
    """
    [line] = [
        line
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines()
        if line.startswith("VmHWM:")
    ]
    return int(line.split()[1])


if __name__ == "__main__":
    in_one_pass(Question(Path(sys.argv[1])), int(sys.argv[2]))
    print(peak_kib())
