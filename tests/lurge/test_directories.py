"""Sums by directory: every entry counts to the lowest directory above it that is not too deep."""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_of_tests import entry, text

from lurge.tallies.directories import DirectorySum, DirectoryTally
from lurge.tallies.tally import SumOverflow
from lurge_types.batch import Block, Entry
from utils.wrstat import Parser

SCAN_TIME = 1000


def show(tally: DirectoryTally, entries: Sequence[Entry]) -> DirectoryTally:
    raw = np.frombuffer(bytearray(text(entries)), np.uint8)
    batch, bad = Parser().parse(Block(raw, len(raw), 1, len(entries)))
    assert bad.count == 0
    tally.add(batch)
    return tally


def directory(each: Entry, depth: int) -> bytes:
    """Where an entry counts, from the rule as it is written down."""
    components = each.path.strip(b"/").split(b"/") if each.path != b"/" else []
    if each.type != "d":
        components = components[:-1]
    return b"/" + b"/".join(components[:depth])


def plainly(entries: Sequence[Entry], depth: int) -> list[DirectorySum]:
    """What the tally must give, from the rule as it is written down."""
    single: dict[bytes, list[int]] = defaultdict(list)
    linked: dict[bytes, dict[tuple[int, int], int]] = defaultdict(dict)
    newest: dict[bytes, int] = defaultdict(int)
    for each in entries:
        path = directory(each, depth)
        newest[path] = max(newest[path], each.mtime if 0 < each.mtime <= SCAN_TIME else 0)
        if each.type == "f" and each.links > 1:
            file = each.device, each.inode
            linked[path][file] = max(linked[path].get(file, 0), each.size)
        else:
            single[path].append(each.size)
    return [
        DirectorySum(
            path,
            sum(single[path]) + sum(linked[path].values()),
            len(single[path]) + len(linked[path]),
            newest[path],
        )
        for path in sorted(newest)
    ]


LONG = "a" * 40
components = st.sampled_from(["a", "b", "ab", "\n", "ä", LONG, LONG + "b", "b" + LONG])
paths = st.lists(components, max_size=6).map(lambda parts: "/" + "/".join(parts))
depths = st.integers(0, 7)
entries = st.lists(
    st.builds(
        lambda path, type_, **facts: entry(path, type="d" if path == "/" else type_, **facts),
        path=paths,
        type_=st.sampled_from("fdls"),
        size=st.integers(0, 10**12),
        mtime=st.integers(-5, SCAN_TIME + 5),
        inode=st.integers(0, 4) | st.just(2**64 - 1),
        links=st.integers(0, 3) | st.just(2**64 - 1),
        device=st.integers(1, 2),
    ),
    max_size=60,
)


@settings(deadline=None)  # the first call compiles
@given(entries, depths, st.booleans())
def test_sums_are_those_of_the_plain_rule(entries: list[Entry], depth: int, in_order: bool) -> None:
    shown = sorted(entries) if in_order else entries
    assert show(DirectoryTally(SCAN_TIME, depth), shown).tell() == plainly(entries, depth)


@settings(deadline=None)  # the first call compiles
@given(entries, depths, st.integers(1, 5), st.randoms(use_true_random=False))
def test_parts_merged_in_any_order_are_the_whole(
    entries: list[Entry], depth: int, parts: int, order: random.Random
) -> None:
    tallies = [DirectoryTally(SCAN_TIME, depth) for _ in range(parts)]
    for each in entries:
        show(order.choice(tallies), [each])
    order.shuffle(tallies)
    first, *others = tallies
    for other in others:
        first.merge(other.pieces())
    assert first.tell() == plainly(entries, depth)


def test_tables_grow_as_directories_and_links_come() -> None:
    many = [
        entry(f"/a/{i % 6000:05}/{'x' * (1 + i % 90)}", links=1 + i % 2, inode=i % 7000, size=i)
        for i in range(20_000)
    ]
    tally = DirectoryTally(SCAN_TIME, 3)
    for start in range(0, len(many), 997):
        show(tally, many[start : start + 997])
    assert tally.tell() == plainly(many, 3)


def test_a_directory_counts_to_itself_and_a_file_to_the_directory_it_is_in() -> None:
    lines = [
        entry("/", type="d"),
        entry("/file"),
        entry("/a", type="d"),
        entry("/a/file"),
        entry("/a/b", type="d"),
        entry("/a/b/file"),
        entry("/a/b/c", type="d"),
        entry("/a/b/c/file"),
    ]
    tally = show(DirectoryTally(SCAN_TIME, 2), lines)
    assert [(row.path, row.inodes) for row in tally.tell()] == [(b"/", 2), (b"/a", 2), (b"/a/b", 4)]


def test_a_path_that_begins_like_another_is_not_below_it() -> None:
    lines = [entry("/a/b/x"), entry("/a/bc/x"), entry("/a/b"), entry("/a/b/y")]
    tally = show(DirectoryTally(SCAN_TIME, 2), lines)
    assert [(row.path, row.inodes) for row in tally.tell()] == [
        (b"/a", 1),
        (b"/a/b", 2),
        (b"/a/bc", 1),
    ]


@pytest.mark.parametrize("links", [1, 2])
def test_sizes_beyond_64_bits_are_an_error_and_no_small_number(links: int) -> None:
    huge = [entry("/a/b", size=2**63 - 1, inode=inode, links=links) for inode in (1, 2)]
    with pytest.raises(SumOverflow, match="2\\^63"):
        show(DirectoryTally(SCAN_TIME, 1), huge).tell()


def test_sums_that_leave_64_bits_only_when_merged_are_an_error() -> None:
    one = show(DirectoryTally(SCAN_TIME, 1), [entry("/a/b", size=2**62)])
    other = show(DirectoryTally(SCAN_TIME, 1), [entry("/a/b", size=2**62)])
    with pytest.raises(SumOverflow):
        one.merge(other.pieces())
