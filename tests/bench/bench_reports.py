#!/usr/bin/env python3
"""
What many reports in one pass cost, next to a pass for each; and the splitter, which writes all.

    bench_reports.py [--entries N] [--rounds N]

Each figure is the best of a few rounds, in which all are measured in turns. It is of the pass
alone, and of joining where the splitter takes part: what databases take is in bench_database.py.
One name in twenty is hard-linked, and there are vaults.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_pass import HARD_LINKS, Scans, inflate, text_bytes
from bench.lurge_pass import DAY, READING, Question, peak_kib
from isal import igzip

from db.database import Database
from lurge.inspector.report import Inspector
from lurge.nightly import Report
from lurge.onepass.threads import one_pass
from lurge.onepass.work import Work
from lurge.puppeteer.report import Puppeteer
from lurge.reporter import Reporter
from lurge.splitter.join import join
from lurge.splitter.tally import SplitTally
from lurge.tallies.tally import Maker
from lurge.users import UserReporter
from lurge_types.config import BaseDirectoryRule, BuildTable, Config, InspectorTable
from lurge_types.scans import Scan, Volume
from utils.names import SystemNames
from utils.quotas import FirstThatKnows

THREADS = 2
FOUR = ("reporter", "users", "puppeteer", "inspector")
SPLITTER = "splitter"
BUDGET_BYTES = 1 << 30
MANY_GROUPS = 2000
SMALL_BUDGET_BYTES = 128 << 20


@dataclass(slots=True)
class Case:
    """A pass for some reports; none is inflating alone. seconds: of each round."""

    name: str
    reports: Sequence[str]
    file: Path
    seconds: list[float] = field(default_factory=list)

    def measure(self) -> None:
        """Make the pass once."""
        start = time.perf_counter()
        if self.reports:
            read(self.file, self.reports)
        else:
            inflate(Question(self.file))
        self.seconds.append(time.perf_counter() - start)

    @property
    def best(self) -> float:
        """Seconds of the fastest round."""
        return min(self.seconds)


def read(file: Path, reports: Sequence[str], budget_bytes: int = BUDGET_BYTES) -> None:
    """Make a pass for some reports, and join what was split off."""
    scan = Scan(Volume("scratch123", b"/lustre/scratch123"), file, DAY, int(file.stat().st_mtime))
    makers: dict[str, Maker] = {}
    for each in programs(file.parent):
        if each.name in reports:
            makers.update(each.tallies(scan))
    folder = Path(tempfile.mkdtemp(dir=file.parent))
    try:
        if SPLITTER in reports:
            makers[SPLITTER] = partial(SplitTally, folder, budget_bytes // THREADS)
        [done] = one_pass(THREADS, [Work(scan, tuple(makers.values()))], READING, lambda _: None)
        if done.error:
            raise done.error
        if SPLITTER in reports:
            split = dict(zip(makers, done.tallies, strict=True))[SPLITTER].tell(None)
            join(folder, [split], {gid: str(gid) for gid in split.groups}, BuildTable(), THREADS)
    finally:
        shutil.rmtree(folder)


def programs(folder: Path) -> Sequence[Report]:
    """The reports that are made of sums, of scans in a folder."""
    database = Database("sqlite://", password=None, retry_seconds=0)
    database.init()
    rules = InspectorTable(base_directories=(BaseDirectoryRule(prefix="/lustre", depth=5),))
    config, names = Config(wrstat_dir=folder, inspector=rules), SystemNames()
    return (
        Reporter(config, database, names, FirstThatKnows(()), today=datetime.now(UTC).date()),
        UserReporter(config.report_dir, database, names),
        Puppeteer(config, database, names),
        Inspector(config, database, names),
    )


def show(cases: Mapping[str, Case], size: int) -> None:
    """Print a table, and what one pass saves."""
    inflating = cases["inflating alone"]
    print(f"\n{'':44}    best  text  as long as")
    print(f"{'':44}       s  MB/s   inflating")
    for case in cases.values():
        rate = size / case.best / 1e6
        ratio = case.best / inflating.best
        print(f"{case.name:44}{case.best:8.2f}{rate:6.0f}{ratio:11.2f}x")
    apart = sum(cases[name].best for name in FOUR)
    print(
        f"\nfour reports in one pass take {cases['four reports'].best / apart:.0%} of four passes"
    )
    apart += cases[SPLITTER].best
    print(f"all five take {cases['all five'].best / apart:.0%} of five passes")


def with_groups(scans: Scans, entries: int, groups: int) -> Path:
    """A scan with gids spread over so many groups."""

    def write(path: Path) -> None:
        with (
            igzip.IGzipFile(scans.scan(entries)) as lines,  # type: ignore[no-untyped-call]
            igzip.IGzipFile(path, "wb", 1) as text,  # type: ignore[no-untyped-call]
        ):
            for number, line in enumerate(lines):
                fields = line.split(b"\t")
                fields[3] = b"%d" % (number // 7 * 7919 % groups)
                text.write(b"\t".join(fields))  # type: ignore[no-untyped-call]

    return scans.kept(f"{entries}-{groups}-groups.gz", write)


def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.peak:
        file, budget_bytes = given.peak
        read(Path(file), [SPLITTER], int(budget_bytes))
        print(peak_kib())
        return
    scans = Scans()
    file, many = (
        scans.scan(given.entries, HARD_LINKS),
        with_groups(scans, given.entries, MANY_GROUPS),
    )
    cases = [
        Case("inflating alone", (), file),
        *(Case(name, [name], file) for name in FOUR),
        Case("four reports", FOUR, file),
        Case(SPLITTER, [SPLITTER], file),
        Case(f"{SPLITTER}, {MANY_GROUPS:,} groups", [SPLITTER], many),
        Case("all five", [*FOUR, SPLITTER], file),
    ]
    for number in range(given.rounds):
        print(f"round {number + 1} of {given.rounds}", flush=True)
        for case in cases:
            case.measure()
    print(f"\n{given.entries:,} entries, {THREADS} threads, {HARD_LINKS:.0%} hard-linked names")
    show({case.name: case for case in cases}, text_bytes(file))
    for budget_bytes in (SMALL_BUDGET_BYTES, BUDGET_BYTES):
        command = [sys.executable, __file__, "--peak", str(many), str(budget_bytes)]
        peak = int(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout) / 1024
        print(
            f"peak memory of the splitter with {MANY_GROUPS:,} groups and a budget of "
            f"{budget_bytes >> 20} MiB: {peak:.0f} MiB, Python and its libraries included"
        )


if __name__ == "__main__":
    main()
