"""
What is measured: one pass of ranks, or of threads, over some scans.

    mpirun -n N python -m mpi4py ranks_pass.py BLOCKS_PER_MESSAGE SMALL FILE...
    python ranks_pass.py BLOCKS_PER_MESSAGE SMALL FILE...     by two threads

A pass over a small scan goes before it, which loads what is compiled. It prints JSON: seconds,
lines and, of each rank, CPU seconds, messages with blocks, seconds in which it waited, peak memory.
The tallies are those of a night: the reporter's and the inspector's.
"""

import json
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.lurge_pass import peak_kib

from lurge.inspector.rules import BaseRule, FileType, Rules
from lurge.inspector.tally import InspectorTally
from lurge.nightly import Pass
from lurge.onepass import ranks, threads
from lurge.onepass.mpi import MpiPost
from lurge.onepass.ranks import Kind, Letter
from lurge.onepass.work import Read, Reading, Work
from lurge.tallies.marks import MarkTally
from lurge.tallies.owners import OwnerTally
from lurge_types.batch import Block
from lurge_types.config import FILE_TYPES
from lurge_types.scans import Scan, Volume

DAY = date(2024, 5, 6)
THREADS = 2


def work(file: Path) -> Work:
    """A scan, and the tallies of a night."""
    scan_time = int(file.stat().st_mtime)
    rules = Rules(
        scan_time,
        base_rules=(BaseRule(b"/lustre", 5),),
        deeper=(b"users", b"projects"),
        file_types=tuple(
            FileType(name, tuple(ending.encode() for ending in endings))
            for name, endings in FILE_TYPES.items()
        ),
    )
    makers = (
        partial(OwnerTally, scan_time),
        partial(MarkTally, []),
        partial(InspectorTally, rules),
    )
    return Work(Scan(Volume(file.name), file, DAY, scan_time), makers)


class CountingPost(MpiPost):
    """Counts messages with blocks, and the time in which nothing comes while a volume is read."""

    def __init__(self, comm: Any) -> None:
        super().__init__(comm)
        self.begin()

    def begin(self) -> None:
        """Begin to count."""
        self.sent = 0
        self.waited = 0.0
        self.reading = True
        self.cpu_seconds = time.process_time()
        super().begin()

    def send(self, to: int, kind: Kind, content: object = None) -> None:
        """Remember when a volume is done: what is waited for after that is not counted."""
        self.reading = self.reading and not isinstance(content, ranks.Done)
        super().send(to, kind, content)

    def send_lines(self, to: int, block: Block) -> None:
        """Count it."""
        self.sent += 1
        super().send_lines(to, block)

    def wait(self, source: int | None = None, kind: Kind | None = None) -> Letter:
        """Count how long it takes."""
        start = time.perf_counter()
        try:
            return super().wait(source, kind)
        finally:
            if self.reading:
                self.waited += time.perf_counter() - start


def read(reads: Iterator[Read]) -> int:
    """Read all; how many lines."""
    lines = 0
    for each in reads:
        if each.error:
            raise each.error
        lines += each.lines
    return lines


def facts(post: CountingPost) -> dict[str, Any]:
    """What a rank says of itself."""
    return {
        "cpu_seconds": time.process_time() - post.cpu_seconds,
        "sent": post.sent,
        "waited": post.waited,
        "peak_kib": peak_kib(),
    }


def main(blocks: int, small: Path, files: Sequence[Path]) -> None:
    """Make the passes, and print what the second took."""
    reading = Reading(250, blocks, 0)
    if "mpi4py.run" not in sys.modules:
        by_threads = partial(threads.one_pass, THREADS)
        seconds, lines = timed(by_threads, small, files, reading)
        print(json.dumps({"seconds": seconds, "lines": lines, "ranks": [{"peak_kib": peak_kib()}]}))
        return
    from mpi4py import MPI  # noqa: PLC0415 - loading it starts MPI

    post = CountingPost(MPI.COMM_WORLD)
    if post.rank:
        ranks.serve(post)
        MPI.COMM_WORLD.gather(facts(post))
    else:
        seconds, lines = timed(partial(ranks.one_pass, post), small, files, reading)
        ranks.dismiss(post)
        told = MPI.COMM_WORLD.gather(facts(post))
        print(json.dumps({"seconds": seconds, "lines": lines, "ranks": told}))
    post.close()


def timed(
    one_pass: Pass, small: Path, files: Sequence[Path], reading: Reading
) -> tuple[float, int]:
    """Seconds and lines of the second pass."""
    read(one_pass([work(small)], reading, lambda _: None))
    works = list(map(work, files))
    start = time.perf_counter()
    lines = read(one_pass(works, reading, lambda _: None))
    return time.perf_counter() - start, lines


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), [Path(name) for name in sys.argv[3:]])
