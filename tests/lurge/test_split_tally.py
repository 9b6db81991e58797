"""Each line is kept for its group, byte for byte, whatever there is of memory."""

import os
import pickle
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import children
import numpy as np
import pytest
import splitting
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from office import Team
from splitting import LEAST_TEXT, SMALLEST_POOL, joined, line, members, plain_index, plainly, split

from lurge.onepass import ranks, threads
from lurge.onepass.work import Reading, Work
from lurge.splitter import loops
from lurge.splitter.join import join
from lurge.splitter.parts import TABLE_RANGES, SplitFailed
from lurge.splitter.tally import GroupSum, SplitTally
from lurge.tallies.owners import By, OwnerTally
from lurge.tallies.tally import Tally
from lurge_types.batch import Batch
from lurge_types.scans import Scan, Volume
from utils.wrstat import Parser
from utils.wrstat_loops import LONGEST_LINE

READING = Reading(250, 2, 0.5)
MIB = 1 << 20

lengths = (
    st.integers(0, 300)
    | st.sampled_from([loops.CHUNK - 2, loops.CHUNK - 1, loops.CHUNK, 2 * loops.CHUNK - 1])
    | st.sampled_from([20_000, LEAST_TEXT - 2, LEAST_TEXT - 1, LONGEST_LINE])
)
lines = st.lists(
    st.builds(
        line,
        gid=st.integers(0, 4) | st.sampled_from([1000, 2**32 - 1]),
        length=lengths,
        name=st.integers(0, 3),
        kind=st.sampled_from("fdl"),
    )
    | st.sampled_from([b"\n", b"bad\n", b'"/a/"\t01\t2\t003\t5\t5\t5\tf\t7\t1\t9\t-0\n']),
    max_size=60,
)
budgets = st.integers(0, 200).map(lambda chunks: SMALLEST_POOL + chunks * loops.CHUNK)


def work(folder: Path, name: str, lines: Sequence[bytes], *makers: Callable[[], Tally]) -> Work:
    path = folder / f"{name}.stats"
    path.write_bytes(b"".join(lines))
    return Work(Scan(Volume(name), path, date(2026, 1, 1), 1), makers)


@given(st.lists(st.tuples(lines, budgets, st.integers(1, 3)), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_each_file_has_the_lines_of_its_group_in_all_volumes(
    volumes: list[tuple[list[bytes], int, int]],
) -> None:
    every = [each for some, _, _ in volumes for each in some]
    with TemporaryDirectory() as name:
        folder = Path(name)
        splits = [split(folder, *each) for each in volumes]
        assert joined(folder, splits) == plainly(every)
        assert (folder / "index.tsv").read_text("utf-8") == plain_index(every)
        for path in folder.glob("*.dat.gz"):
            assert all(size >= LEAST_TEXT for size in members(path)[:-1])


def test_a_long_chain_becomes_members_of_a_megabyte_before_the_end(tmp_path: Path) -> None:
    every = [line(7 + (i % 10 == 0), 1000, i) for i in range(5000)]
    told = split(tmp_path, every, SMALLEST_POOL + 8 * MIB)
    assert told.groups == {7: GroupSum(4500, 0, 5), 8: GroupSum(500, 0, 1)}
    assert joined(tmp_path, [told]) == plainly(every)
    *whole, _ = members(tmp_path / "g7.dat.gz")
    assert all(MIB <= size < MIB + 1001 for size in whole)


def test_where_room_is_short_the_largest_chains_become_members(tmp_path: Path) -> None:
    chunks = 128
    every = [line(gid, 4095, i) for gid, count in ((1, 30), (2, 60), (3, 38)) for i in range(count)]
    tally = SplitTally(tmp_path, SMALLEST_POOL + chunks * (loops.CHUNK + 8))
    parser = Parser()
    splitting.show(tally, every, parser)
    assert not list(tmp_path.iterdir())
    splitting.show(tally, [line(1, 4095)], parser)
    ranges = {gid: each.ranges for gid, each in tally.tell().groups.items()}
    [table] = tally.tell().parts[0].read_tables(tmp_path)
    kinds = {gid: table[table[:, loops.GID] == gid, loops.KIND].tolist() for gid in ranges}
    assert table[0, loops.GID] == 2
    assert kinds == {1: [loops.MEMBER], 2: [loops.MEMBER], 3: [loops.MEMBER]}


def test_text_that_is_too_little_for_members_waits_for_the_join(tmp_path: Path) -> None:
    every = [line(i % 100, 4000, i) for i in range(2000)]
    told = split(tmp_path, every)
    [table] = told.parts[0].read_tables(tmp_path)
    assert set(table[:, loops.KIND].tolist()) == {loops.TEXT}
    assert table[:, loops.LENGTH].max() < LEAST_TEXT
    assert joined(tmp_path, [told]) == plainly(every)
    assert members(tmp_path / "g5.dat.gz") == [20 * 4001]


def test_more_ranges_than_a_table_has_are_found_again(tmp_path: Path) -> None:
    every = [line(i, 200, i) for i in range(TABLE_RANGES + 500)]
    told = split(tmp_path, every)
    [part] = told.parts
    assert len(part.tables) == 2
    some = {gid: f"g{gid}" for gid in (0, 1, TABLE_RANGES - 1, TABLE_RANGES + 499, 10**6)}
    assert join(tmp_path, [told], some, splitting.COSTS, 2) == 4
    del some[10**6]
    assert splitting.inflated(tmp_path, some) == {gid: {every[gid]: 1} for gid in some}


def test_a_dry_run_counts_and_writes_nothing(tmp_path: Path) -> None:
    every = [line(i % 3, kind="d" if i < 4 else "f") for i in range(9)]
    told = split(None, every, parts=2)
    assert told.parts == ()
    assert told.groups == {0: GroupSum(3, 2, 0), 1: GroupSum(3, 1, 0), 2: GroupSum(3, 1, 0)}
    assert {
        gid: (each.lines, each.directories) for gid, each in split(tmp_path, every).groups.items()
    } == {0: (3, 2), 1: (3, 1), 2: (3, 1)}


def test_a_tally_without_lines_makes_no_part(tmp_path: Path) -> None:
    assert split(tmp_path, []).parts == ()
    assert not list(tmp_path.iterdir())


def test_what_is_told_can_be_sent_and_is_small(tmp_path: Path) -> None:
    tally = SplitTally(tmp_path, SMALLEST_POOL)
    splitting.show(tally, [line(i, 10) for i in range(20_000)], Parser())
    pieces = list(tally.pieces())
    assert max(len(pickle.dumps(piece)) for piece in pieces) < MIB
    other = SplitTally(tmp_path, SMALLEST_POOL)
    other.merge(pickle.loads(pickle.dumps(pieces)))
    assert pickle.loads(pickle.dumps(other.tell())) == tally.tell()


# In a pass.


POOLS: list["weakref.ref[NDArray[np.uint8]]"] = []
ALIVE: list[int] = []


class Watched(SplitTally):
    """Tells how many pools there are whenever something is added."""

    def __init__(self, folder: Path, budget_bytes: int) -> None:
        super().__init__(folder, budget_bytes)
        assert self._chains
        POOLS.append(weakref.ref(self._chains._pool.text))

    def add(self, batch: Batch) -> None:
        super().add(batch)
        ALIVE.append(sum(pool() is not None for pool in POOLS))


def of_groups(count: int, lines: int, seed: int) -> list[bytes]:
    return [line(i * i % count, 50 + i % 300, i * seed, "fd"[i % 9 == 0]) for i in range(lines)]


@pytest.mark.parametrize("number", [1, 2, 4])
@pytest.mark.parametrize("are_ranks", [False, True])
def test_there_are_never_more_pools_than_threads_or_ranks(
    tmp_path: Path, number: int, are_ranks: bool
) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    volumes = [of_groups(50, count, count) for count in (9000, 4000, 100, 5000)]
    maker = partial(Watched, folder, SMALLEST_POOL)
    works = [work(tmp_path, f"s{i}", lines, maker) for i, lines in enumerate(volumes)]
    POOLS.clear()
    ALIVE.clear()
    if are_ranks:
        with Team(number + 1) as team:
            reads = ranks.one_pass(team.post, works, READING, lambda _: None)
            splits = [read.tallies[0].tell(None) for read in reads]
    else:
        reads = threads.one_pass(number, works, READING, lambda _: None)
        splits = [read.tallies[0].tell(None) for read in reads]
    assert max(ALIVE) <= number
    assert not any(pool() is not None for pool in POOLS)
    every = [each for lines in volumes for each in lines]
    assert joined(folder, splits) == plainly(every)
    assert (folder / "index.tsv").read_text("utf-8") == plain_index(every)


def test_a_failed_volume_leaves_no_open_file_and_no_pool(tmp_path: Path) -> None:
    folder = tmp_path / "day"
    folder.mkdir()
    POOLS.clear()
    bad = work(tmp_path, "bad", [line(1), *[b"bad\n"] * 30_000], partial(Watched, folder, 0))
    before = len(list(Path("/proc/self/fd").iterdir()))
    [read] = threads.one_pass(2, [bad], Reading(250, 2, 0), lambda _: None)
    assert read.error
    assert not any(pool() is not None for pool in POOLS)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# Where nothing can be written.


def test_a_folder_that_is_not_there_is_told_when_asked_and_survives_merging(tmp_path: Path) -> None:
    tally = SplitTally(tmp_path / "none", SMALLEST_POOL)
    parser = Parser()
    for _ in range(3):
        splitting.show(tally, of_groups(40, 2000, 1), parser)
    good = SplitTally(tmp_path, SMALLEST_POOL)
    splitting.show(good, [line(1)], parser)
    good.merge(pickle.loads(pickle.dumps(list(tally.pieces()))))
    splitting.show(good, of_groups(40, 2000, 1), parser)
    for each in (tally, good):
        with pytest.raises(SplitFailed, match="none cannot be written: No such file or directory"):
            each.tell()


@pytest.mark.parametrize("count", [2, 5])
def test_ranks_tell_that_nothing_could_be_written(tmp_path: Path, count: int) -> None:
    makers = (partial(SplitTally, tmp_path / "none", 0), partial(OwnerTally, 10))
    works = [work(tmp_path, name, of_groups(9, 9000, 1), *makers) for name in ("s1", "s2")]
    with Team(count) as team:
        for read in ranks.one_pass(team.post, works, READING, lambda _: None):
            with pytest.raises(SplitFailed, match="cannot be written"):
                read.tallies[0].tell(None)
            assert sum(owner.inodes for owner in read.tallies[1].tell(By.GROUP)) == 9000


ON_A_SMALL_DISK = """
    import subprocess, sys
    from datetime import date
    from functools import partial
    from pathlib import Path
    from lurge.onepass.threads import one_pass
    from lurge.onepass.work import Reading, Work
    from lurge.splitter.parts import SplitFailed
    from lurge.splitter.tally import SplitTally
    from lurge.tallies.owners import By, OwnerTally
    from lurge_types.scans import Scan, Volume

    scan, folder = map(Path, sys.argv[1:])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    scan = Scan(Volume("s1"), scan, date(2026, 1, 1), 1)
    work = Work(scan, (partial(SplitTally, folder, 0), partial(OwnerTally, 10)))
    [read] = one_pass(2, [work], Reading(250, 2, 0), lambda _: None)
    print(sum(owner.inodes for owner in read.tallies[1].tell(By.GROUP)))
    try:
        read.tallies[0].tell()
    except SplitFailed as error:
        print(error)
"""


def test_a_full_disk_is_named_and_other_reports_go_on(tmp_path: Path) -> None:
    every = [line(i % 50, 4000, i) for i in range(3000)]
    scan = work(tmp_path, "s1", every).scan.path
    folder = tmp_path / "day"
    folder.mkdir()
    said = children.run(ON_A_SMALL_DISK, scan, folder, within=children.OWN_MOUNTS).splitlines()
    assert said[0] == "3000"
    assert said[1].startswith(str(folder))  # a file there, or the folder for one more file
    assert said[1].endswith(
        " cannot be written: No space left on device; "
        "see that there is space and this user may write there, then run again"
    )


# Memory.

HOW_MUCH = """
    import sys
    import numpy as np
    from pathlib import Path
    from lurge.splitter.tally import SplitTally
    from lurge_types.batch import Block
    from utils.wrstat import Parser

    def kib(name):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1])

    def show(tally, times):
        for _ in range(times):
            tally.add(parser.parse(block)[0])

    raw = np.fromfile(sys.argv[1], np.uint8)
    parser = Parser()
    block = Block(raw, len(raw), 1, int((raw == 10).sum()))
    warm = SplitTally(Path(sys.argv[2]), 0)
    show(warm, 2)
    warm.tell()
    before = kib("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak
    tally = SplitTally(Path(sys.argv[2]), int(sys.argv[3]))
    show(tally, int(sys.argv[4]))
    most = kib("VmHWM")
    tally.tell()
    print(kib("VmHWM") - before, kib("VmRSS") - before)
"""


@pytest.mark.parametrize("few", [0, 50])
def test_memory_stays_within_the_budget(tmp_path: Path, few: int) -> None:
    budget = 64 * MIB
    gids = [i % few if few and i % 2 else 1000 + i * 7 % 2000 for i in range(20_000)]
    text = tmp_path / "text"
    text.write_bytes(b"".join(line(gid, 200, i) for i, gid in enumerate(gids)))
    folder = tmp_path / "day"
    folder.mkdir()
    peak, after = map(int, children.run(HOW_MUCH, text, folder, budget, 60).split())
    assert peak * 1024 <= budget
    assert peak * 1024 > budget // 2
    assert after * 1024 < 4 * MIB


# Where every index is checked.


def test_no_index_is_outside_its_array(tmp_path: Path) -> None:
    properties = (
        test_each_file_has_the_lines_of_its_group_in_all_volumes,
        test_where_room_is_short_the_largest_chains_become_members,
    )
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        + [f"{__file__}::{test.__name__}" for test in properties],
        env=os.environ | checked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f" {len(properties)} passed" in run.stdout
