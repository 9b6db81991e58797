#!/usr/bin/env python3
"""
How long a pass takes, next to inflating alone, a plain loop, Polars and DuckDB; and its memory.

    bench_pass.py [--entries N] [--rounds N]

Scans are made once and kept in the user's cache. All are measured in turns, so that whatever else
the machine does meets them alike; the best of a few rounds is what it can do when it does nothing
else. Exit status 1 where answers differ.
"""

import argparse
import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from argparse import RawTextHelpFormatter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from subprocess import PIPE

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench import lurge_pass
from bench.contenders import decoded, in_duckdb, in_polars, in_python
from bench.lurge_pass import DAY, Answer, Question, in_one_pass
from isal import igzip

from lurge import demo
from lurge.demo.site import write_scan

SEED = 1
HARD_LINKS = 0.05
READ_BYTES = 1 << 20
PYTHON_SHARE = 10
"""The plain loop is shown a scan of a tenth of the entries."""

MEMORY_SHARE = 4
FEW = 300

Run = Callable[[Question], Answer | None]


@dataclass(frozen=True, slots=True)
class Case:
    """
    Something that is measured.

    scale: for how many times the work the figures stand.
    """

    name: str
    run: Run
    question: Question
    scale: int = 1
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    answers: list[Answer | None] = field(default_factory=list)

    def measure(self) -> None:
        """Run once; the answer of the last run is kept."""
        start, cpu_start = time.perf_counter(), time.process_time()
        answer = self.run(self.question)
        self.seconds.append(self.scale * (time.perf_counter() - start))
        self.cpu_seconds.append(self.scale * (time.process_time() - cpu_start))
        self.answers[:] = [answer]

    @property
    def best(self) -> float:
        """Seconds of the fastest run."""
        return min(self.seconds)


class Scans:
    """The scans that are read, made where they are missing; those of another `lurge.demo` go."""

    def __init__(self) -> None:
        sources = sorted(Path(demo.__path__[0]).glob("*.py"))
        made_by = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lurge-bench"
        self._folder = cache / made_by
        for other in cache.glob("*"):
            if other != self._folder:
                shutil.rmtree(other)
        self._folder.mkdir(parents=True, exist_ok=True)

    def scan(self, entries: int, hard_links: float = 0) -> Path:
        """A scan of so many entries, and that share of hard-linked names."""
        return self.kept(
            f"{entries}-{hard_links}.gz",
            lambda file: write_scan(file, entries, SEED, DAY, hard_links),
        )

    def in_base64(self, entries: int) -> Path:
        """The same entries as wrstat wrote them before 6.0."""
        source = self.scan(entries)
        return self.kept(f"{entries}-base64.gz", lambda file: write_base64(source, file))

    def kept(self, name: str, write: Callable[[Path], None]) -> Path:
        """A file that is made where it is missing."""
        file = self._folder / name
        if not file.exists():
            print(f"making {file}", flush=True)
            unfinished = file.with_name(f".{name}")
            write(unfinished)
            unfinished.rename(file)
        return file


def write_base64(source: Path, target: Path) -> None:
    """
    Write a scan again with paths in base64, and without the last column.

    Bytes in names that are no UTF-8 are replaced: Polars has no way to leave such a path undecoded.
    """
    with (
        igzip.IGzipFile(source) as lines,  # type: ignore[no-untyped-call]
        igzip.IGzipFile(target, "wb", 2) as text,  # type: ignore[no-untyped-call]
    ):
        for line in lines:
            written, _, rest = line.partition(b"\t")
            path = decoded(written).decode("utf-8", "replace").rstrip("/").encode() or b"/"
            text.write(  # type: ignore[no-untyped-call]
                b"%b\t%b\n" % (base64.b64encode(path), rest.rpartition(b"\t")[0])
            )
    status = source.stat()
    os.utime(target, (status.st_atime, status.st_mtime))


def inflate(question: Question) -> None:
    """Read to the end, as `utils.scanfile` does."""
    into = memoryview(bytearray(READ_BYTES))
    with igzip.IGzipFile(question.file) as text:  # type: ignore[no-untyped-call]
        while text.readinto(into):
            pass


def cases(question: Question) -> list[Case]:
    """Whatever can answer a question; first what the others are compared with."""
    return [
        Case("inflating alone", inflate, question),
        Case("Lurge, 2 threads", partial(in_one_pass, threads=2), question),
        Case("Lurge, 1 thread", partial(in_one_pass, threads=1), question),
        Case("Polars", in_polars, question),
        Case("DuckDB", in_duckdb, question),
    ]


def in_turns(all_cases: Sequence[Case], rounds: int) -> None:
    """Measure all, then all again, and so on."""
    for number in range(rounds):
        print(f"round {number + 1} of {rounds}", flush=True)
        for case in all_cases:
            case.measure()


def differing(all_cases: Sequence[Case]) -> list[str]:
    """Whose answer is another than the first one's."""
    answers = [(case.name, case.answers[0]) for case in all_cases if case.answers[0]]
    first_name, first = answers[0]
    return [
        f"{name} gives another answer than {first_name}"
        for name, answer in answers
        if answer != first
    ]


def show(title: str, all_cases: Sequence[Case], entries: int) -> None:
    """Print a table; rates and ratios are of the best runs."""
    inflating, ours, *_ = all_cases
    size = text_bytes(inflating.question.file)
    print(f"\n{title}: {entries:,} entries, {size / entries:.0f} bytes a line")
    print(f"{'':24}    best  median     cpu  entries    text  as long as  Lurge is")
    print(f"{'':24}       s       s       s      M/s    MB/s   inflating    faster")
    for case in all_cases:
        print(
            f"{case.name:24}{case.best:8.2f}{median(case.seconds):8.2f}{min(case.cpu_seconds):8.2f}"
            f"{entries / case.best / 1e6:9.2f}{size / case.best / 1e6:8.0f}"
            f"{case.best / inflating.best:11.2f}x{case.best / ours.best:9.2f}x"
        )


def text_bytes(file: Path) -> int:
    """How long a scan's text is."""
    into = memoryview(bytearray(READ_BYTES))
    with igzip.IGzipFile(file) as text:  # type: ignore[no-untyped-call]
        return sum(iter(lambda: text.readinto(into), 0))


def show_memory(scans: Scans, entries: int) -> None:
    """Print the peak memory of a pass over a short and a long scan."""
    print("\npeak memory of a pass with three tallies on 2 threads, MiB")
    for hard_links in (0, HARD_LINKS):
        for count in (entries // MEMORY_SHARE, entries):
            peak = int(run_pass(scans.scan(count, hard_links), os.environ)) / 1024
            print(f"{count:12,} entries, {hard_links:3.0%} hard-linked names: {peak:6.0f}")


def show_starts(scans: Scans) -> None:
    """Print how long a pass over next to nothing takes, compiled for the first time and later."""
    few = scans.scan(FEW)
    print("\nstarting and ending a process, s")
    with tempfile.TemporaryDirectory() as empty:
        environment = os.environ | {"NUMBA_CACHE_DIR": empty}
        for name in ("compiling the loops", "with compiled loops", "once more"):
            start = time.perf_counter()
            run_pass(few, environment)
            print(f"{name:24}{time.perf_counter() - start:6.2f}")


def run_pass(file: Path, environment: Mapping[str, str]) -> str:
    """Make a pass in a process of its own; what it says."""
    command = [sys.executable, lurge_pass.__file__, str(file), "2"]
    return subprocess.run(command, check=True, stdout=PIPE, text=True, env=environment).stdout


def main() -> int:
    """Measure all and print it; the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=RawTextHelpFormatter)
    parser.add_argument("--entries", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    entries, scans = given.entries, Scans()
    literal, in_base64 = scans.scan(entries), scans.in_base64(entries)
    part = Question(scans.scan(entries // PYTHON_SHARE))
    plain = Case("plain Python (a part)", in_python, part, PYTHON_SHARE)
    ours = Case("Lurge on that part", partial(in_one_pass, threads=2), part)
    three = cases(Question(literal))
    groups = cases(Question(literal, groups_only=True))
    older = cases(Question(in_base64, is_base64=True))
    in_turns([*three, *groups, *older, plain, ours], given.rounds)
    show("groups, users and directories", [*three, plain], entries)
    show("groups alone", groups, entries)
    show("groups, users and directories, paths in base64", older, entries)
    show_memory(scans, entries)
    show_starts(scans)
    wrong = [each for alike in (three + older, groups, [ours, plain]) for each in differing(alike)]
    print("\n" + ("\n".join(wrong) or "all answers are the same"))
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
