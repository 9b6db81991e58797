#!/usr/bin/env python3
"""
How fast ranks are: next to threads, by their number, by blocks in a message; and their memory.

    bench_ranks.py [--entries N] [--rounds N]

Each figure is the best of a few rounds, in which all are measured in turns.
"""

import argparse
import gzip
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import mpirun
from bench.bench_pass import FEW, Scans

PASS = Path(__file__).with_name("ranks_pass.py")
ROOT = PASS.parent.parent.parent
MOST_RANKS = 8
BLOCKS = 16
UNEQUAL = (0.6, 0.3, 0.1)
"""Shares of three volumes."""

DIRECTORIES = 500_000
FILES_EACH = 8
HARD_LINKS = 20
"""One in so many names is one of two of a file."""


@dataclass(slots=True)
class Case:
    """
    A pass that is measured.

    ranks: how many; 1 is two threads. told: what each round says.
    """

    name: str
    ranks: int
    files: Sequence[Path]
    blocks: int = BLOCKS
    told: list[dict[str, Any]] = field(default_factory=list)

    def measure(self, small: Path) -> None:
        """Make the pass once."""
        python = [sys.executable] if self.ranks == 1 else mpirun.ranks(self.ranks)
        command = [*python, str(PASS), str(self.blocks), str(small), *map(str, self.files)]
        environment = mpirun.environment() | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env=environment)
        self.told.append(json.loads(done.stdout))

    @property
    def best(self) -> dict[str, Any]:
        """The fastest round."""
        return min(self.told, key=lambda told: float(told["seconds"]))

    @property
    def seconds(self) -> float:
        """Of the fastest round."""
        return float(self.best["seconds"])


def show(title: str, cases: Iterable[Case]) -> None:
    """Print a table; of a pass by ranks what the controllers did."""
    print(f"\n{title}")
    print(f"{'':24}       s    M/s  messages/s  controllers wait  rank 0 burns")
    for case in cases:
        best, seconds = case.best, case.seconds
        line = f"{case.name:24}{seconds:8.2f}{best['lines'] / seconds / 1e6:7.2f}"
        if case.ranks > 1:
            volumes = min(len(case.files), case.ranks - 1)
            writer, *others = best["ranks"]
            waited = sum(rank["waited"] for rank in others[:volumes]) / volumes / seconds
            sent = sum(rank["sent"] for rank in others)
            burnt = writer["cpu_seconds"] / seconds
            line += f"{sent / seconds:12,.0f}{waited:17.1%}{burnt:13.1%}"
        print(line, flush=True)


def many_directories(scans: Scans) -> Path:
    """A scan of half a million directories with a few files each, and hard-linked names."""

    def lines() -> Iterator[str]:
        for directory in range(DIRECTORIES):
            base = f"/lustre/scratch123/humgen/projects/project{directory // 100:05}"
            for number in range(FILES_EACH):
                file = directory * FILES_EACH + number
                linked = file % HARD_LINKS == 0
                inode = 144115205255725056 + (file // (2 * HARD_LINKS) if linked else file)
                yield (
                    f'"{base}/sample{directory % 100:02}/file{number}.cram"\t4096\t1000\t'
                    f"{directory // 100 % 50}\t1700000000\t1700000000\t1700000000\tf\t{inode}\t"
                    f"{2 if linked else 1}\t7\t4096\n"
                )

    def write(path: Path) -> None:
        with gzip.open(path, "wt", 1) as text:
            text.writelines(lines())

    return scans.kept("many-directories.gz", write)


def show_memory(scans: Scans, small: Path) -> None:
    """Print the peak memory of each rank."""
    case = Case("", 4, [many_directories(scans)])
    case.measure(small)
    names = ("rank 0", "controller", "worker", "worker")
    print(
        f"\npeak memory with {DIRECTORIES:,} rows of {case.best['lines']:,} entries, one in "
        f"{HARD_LINKS} names hard-linked, MiB"
    )
    for name, rank in zip(names, case.best["ranks"], strict=True):
        print(f"{name:24}{rank['peak_kib'] / 1024:8.0f}")


def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    scans = Scans()
    small, one = scans.scan(FEW), [scans.scan(given.entries)]
    three = [scans.scan(int(given.entries * share)) for share in UNEQUAL]
    by_blocks = [Case(f"{blocks} blocks a message", 3, one, blocks) for blocks in (1, 4, 16, 64)]
    by_ranks = [
        Case("2 threads" if ranks == 1 else f"{ranks} ranks", ranks, one)
        for ranks in range(1, MOST_RANKS + 1)
    ]
    unequal = [
        Case("2 threads" if ranks == 1 else f"{ranks} ranks", ranks, three)
        for ranks in range(1, MOST_RANKS + 1)
    ]
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", flush=True)
        for case in (*by_ranks, *by_blocks, *unequal):
            case.measure(small)
    entries = f"{given.entries:,} entries, {os.cpu_count()} cores"
    show(f"one volume of {entries}", by_ranks)
    threads, _, pair, *_ = by_ranks
    print(f"a controller and a worker: {threads.seconds / pair.seconds:.0%} of two threads")
    show(f"one volume of {entries}, 3 ranks", by_blocks)
    show(f"three volumes of 60, 30 and 10 % of {entries}", unequal)
    show_memory(scans, small)


if __name__ == "__main__":
    main()
