"""
What is measured: one pass of ranks, or of threads, over some scans.

    mpirun -n N python -m mpi4py ranks_pass.py BLOCKS_PER_MESSAGE FILE...
    python ranks_pass.py BLOCKS_PER_MESSAGE FILE...     by two threads

It prints JSON: seconds, what rank 1 did as a controller, CPU seconds and peak memory of each rank.
The tallies are those of a night: groups, and the inspector's.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.lurge_pass import peak_kib

from lurge.inspector.rules import BaseRule, FileType, Rules
from lurge.inspector.tally import InspectorTally
from lurge.onepass import ranks, threads
from lurge.onepass.mpi import MpiPost
from lurge.onepass.ranks import Kind, Letter
from lurge.onepass.work import Read, Reading, Work
from lurge.reporter import GroupTally
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
    makers = partial(GroupTally, scan_time, None, []), partial(InspectorTally, rules)
    return Work(Scan(Volume(file.name), file, DAY, scan_time), makers)


class CountingPost(MpiPost):
    """Counts blocks that are sent, and the time in which nothing comes."""

    def __init__(self, comm: Any) -> None:
        super().__init__(comm)
        self.sent = 0
        self.bytes_sent = 0
        self.waited = 0.0
        self.reading = True

    def send(self, to: int, kind: Kind, content: object = None) -> None:
        """Remember when a volume is done: what is waited for after that is not counted."""
        if isinstance(content, ranks.Done):
            self.reading = False
        super().send(to, kind, content)

    def send_lines(self, to: int, block: Block) -> None:
        """Count it."""
        self.sent += 1
        self.bytes_sent += block.length
        super().send_lines(to, block)

    def wait(self, source: int | None = None, kind: Kind | None = None) -> Letter:
        """Count how long it takes."""
        start = time.perf_counter()
        try:
            return super().wait(source, kind)
        finally:
            if self.reading and kind != Kind.PLAN:
                self.waited += time.perf_counter() - start


def read(reads: Iterator[Read]) -> Counter[str]:
    """Read all; the lines of each volume."""
    lines: Counter[str] = Counter()
    for each in reads:
        if each.error:
            raise each.error
        lines[each.scan.volume.name] = each.lines
    return lines


def facts(post: CountingPost | None) -> dict[str, Any]:
    """What a process says of itself."""
    own = {"cpu_seconds": time.process_time(), "peak_kib": peak_kib()}
    return own if post is None else own | {"sent": post.sent, "waited": post.waited}


def main(blocks: int, files: Sequence[Path]) -> None:
    """Make a pass, and print what it took."""
    works = list(map(work, files))
    reading = Reading(250, blocks, 0)
    if "mpi4py.run" not in sys.modules:
        start = time.perf_counter()
        lines = read(threads.one_pass(THREADS, works, reading, lambda _: None))
        seconds = time.perf_counter() - start
        print(
            json.dumps({"seconds": seconds, "lines": sum(lines.values()), "ranks": [facts(None)]})
        )
        return
    from mpi4py import MPI  # noqa: PLC0415 - loading it starts MPI

    post = CountingPost(MPI.COMM_WORLD)
    seconds = 0.0
    lines = Counter()
    if post.rank == 0:
        start = time.perf_counter()
        lines = read(ranks.one_pass(post, works, reading, lambda _: None))
        seconds = time.perf_counter() - start
        ranks.dismiss(post)
    else:
        ranks.serve(post)
    told = MPI.COMM_WORLD.gather(facts(post))
    if post.rank == 0:
        tell(seconds, lines, told)
    post.close()


def tell(seconds: float, lines: Counter[str], told: Sequence[Any] | None) -> None:
    """Print what was measured."""
    print(json.dumps({"seconds": seconds, "lines": sum(lines.values()), "ranks": told}))


if __name__ == "__main__":
    main(int(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
