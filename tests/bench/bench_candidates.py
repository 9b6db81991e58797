#!/usr/bin/env python3
"""
How long candidates take to be found among the directories of a volume: by the tally that counted
them, with hard links; and among the rows that a durable MariaDB has of them.

    bench_candidates.py [DIRECTORIES [LARGE]]
        of so many directories (1,000,000) so many (10,000) are large enough.
"""

import multiprocessing
import resource
import sys
import time
from fractions import Fraction
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from bench.bench_database import fill_directories, url_on_mariadb
from servers import nights
from servers.mariadb import DURABLE

from db import candidate_sources, pages
from db.database import Database
from lurge.candidates.find import Found, Terms
from lurge.candidates.judge import Rules
from lurge.candidates.sources import Source, Tallies
from lurge.inspector import rules as inspector
from lurge.inspector.tally import InspectorTally
from lurge.puppeteer.tally import VaultTally
from lurge_types.batch import Block, Entry
from lurge_types.names import Group
from utils.path_rules import ShownPaths
from utils.wrstat import Parser, format_line

SCAN_TIME = 1_800_000_000
YEARS_AGO = SCAN_TIME - 1000 * 86_400
BATCH = 100_000
LINKED_OF = 20
BASES, GROUPS = 3000, 500


def peak() -> float:
    """MiB of this process, at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def entry(place: int, step: int) -> Entry:
    """The file of a directory; one of every `step` is large, one in ten has two names."""
    size = 2 << 30 if place % step == 0 else 1 << 20
    is_linked = place % LINKED_OF < 2
    return Entry(
        path=b"/s/project%d/directory_number_%d/reads.cram" % (place % BASES, place),
        size=size,
        uid=1,
        gid=place % GROUPS,
        atime=YEARS_AGO,
        mtime=YEARS_AGO,
        ctime=YEARS_AGO,
        type="f",
        inode=place // 2 if is_linked else place + 10**9,
        links=1 + is_linked,
        device=1,
        apparent_size=None,
    )


def counted(number: int, large: int) -> InspectorTally:
    """So many directories of which so many are large."""
    made = InspectorTally(inspector.Rules(SCAN_TIME, base_rules=(inspector.BaseRule(b"/s", 2),)))
    parser = Parser()
    for first in range(0, number, BATCH):
        places = range(first, min(first + BATCH, number))
        text = b"".join(format_line(entry(place, number // large)) for place in places)
        lines = np.frombuffer(bytearray(text), np.uint8)
        made.add(parser.parse(Block(lines, len(lines), 1, len(places)))[0])
    return made


def found_in(source: Source, least: int) -> Found:
    """All that is found of cold directories of some size."""
    terms = Terms(
        Rules(least, Fraction("0.95"), 180),
        inspector.RuleHeads(()),
        None,
        ShownPaths({}),
        lambda gids: {gid: Group(gid, f"team{gid}") for gid in gids},
    )
    return Found(source, terms)


def measure_tally(number: int, large: int) -> None:
    """Print the figures of candidates in a tally."""
    found_in(Tallies(counted(1000, 10), VaultTally(SCAN_TIME, (), {})), 1)  # compiles the loops
    made = counted(number, large)
    before = peak()
    start = time.perf_counter()
    found = found_in(Tallies(made, VaultTally(SCAN_TIME, (), {})), 1 << 30)
    taken = time.perf_counter() - start
    assert len(found) == large
    assert found.freed.is_exact
    print(
        f"{number:,} directories in a tally: {large:,} candidates in {taken:.1f} s; the peak was "
        f"{before:.0f} MiB, and is {peak():.0f}",
        flush=True,
    )


def measure_stored(url: str, number: int, large: int) -> None:
    """Print the figures of candidates in stored rows, of which the last ones are the largest."""
    database = Database(url)
    database.init()
    fill_directories(database, nights.run(report="inspector"), number)
    stored = database.transaction(
        partial(pages.newest, report="inspector", volume_name=nights.VOLUME.name)
    )
    assert stored
    before = peak()
    start = time.perf_counter()
    least = nights.directory(number - large, nights.group(1), nights.base()).size_bytes
    held = sum(1 for some in candidate_sources.large(database, stored, least) for _ in some)
    taken = time.perf_counter() - start
    assert held == large, held
    print(
        f"{number:,} directories in a database: {large:,} that are large in {taken:.1f} s; the "
        f"peak was {before:.0f} MiB, and is {peak():.0f}",
        flush=True,
    )
    database.close()


def main() -> None:
    """Measure both, each in a process of its own."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    large = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    spawn = multiprocessing.get_context("spawn").Process
    with url_on_mariadb(*DURABLE, "--innodb-buffer-pool-size=512M") as url:
        for process in (
            spawn(target=measure_tally, args=(number, large)),
            spawn(target=measure_stored, args=(url, number, large)),
        ):
            process.start()
            process.join()
            if process.exitcode:
                sys.exit(1)


if __name__ == "__main__":
    main()
