"""Sums by owner: every entry counts, a file with several names once in each of its rows."""

import random
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge.tallies.owners import By, OwnerSum, OwnerTally, PseudoGroups
from lurge.tallies.tally import SumOverflow
from lurge_types.batch import Block, Entry
from utils.path_rules import PathRules
from utils.wrstat import Parser, format_line

SCAN_TIME = 1000


def entry(path: str = "/a", **facts: int | str) -> Entry:
    usual: dict[str, int | str | None] = {
        "size": 10,
        "uid": 1,
        "gid": 2,
        "atime": 5,
        "mtime": 5,
        "ctime": 5,
        "type": "f",
        "inode": 7,
        "links": 1,
        "device": 9,
        "apparent_size": None,
    }
    return Entry(path.encode(), **{**usual, **facts})  # type: ignore[arg-type]


def show(tally: OwnerTally, entries: Sequence[Entry]) -> OwnerTally:
    text = b"".join(map(format_line, entries))
    batch, bad = Parser().parse(
        Block(np.frombuffer(bytearray(text), np.uint8), len(text), 1, len(entries))
    )
    assert bad.count == 0
    tally.add(batch)
    return tally


def plainly(entries: Sequence[Entry], by: By) -> list[OwnerSum]:
    """What the tally must give, from the rule as it is written down."""
    used: dict[tuple[int, int], int] = defaultdict(int)
    inodes: dict[tuple[int, int], int] = defaultdict(int)
    newest: dict[tuple[int, int], int] = defaultdict(int)
    linked: dict[tuple[int, int], dict[tuple[int, int], int]] = defaultdict(dict)
    for each in entries:
        owner = each.gid, each.uid if by is By.USER else 0
        newest[owner] = max(newest[owner], each.mtime if 0 < each.mtime <= SCAN_TIME else 0)
        if each.type == "f" and each.links > 1:
            sizes = linked[owner]
            sizes[each.device, each.inode] = max(sizes.get((each.device, each.inode), 0), each.size)
        else:
            used[owner] += each.size
            inodes[owner] += 1
    return [
        OwnerSum(
            *owner,
            used[owner] + sum(linked[owner].values()),
            inodes[owner] + len(linked[owner]),
            newest[owner],
        )
        for owner in sorted(newest)
    ]


entries = st.lists(
    st.builds(
        entry,
        size=st.integers(0, 10**12),
        uid=st.integers(0, 3) | st.just(2**32 - 1),
        gid=st.integers(0, 3) | st.just(2**32 - 1),
        mtime=st.integers(-5, SCAN_TIME + 5),
        type=st.sampled_from("fdls"),
        inode=st.integers(0, 4) | st.just(2**64 - 1),
        links=st.integers(0, 3) | st.just(2**64 - 1),
        device=st.integers(1, 2),
    ),
    max_size=60,
)


@given(entries, st.sampled_from(By))
def test_sums_are_those_of_the_plain_rule(entries: list[Entry], by: By) -> None:
    tally = show(OwnerTally(SCAN_TIME), entries)
    assert tally.tell(by) == plainly(entries, by)


@given(entries, st.integers(1, 5), st.randoms(use_true_random=False), st.sampled_from(By))
def test_parts_merged_in_any_order_are_the_whole(
    entries: list[Entry], parts: int, order: random.Random, by: By
) -> None:
    tallies = [OwnerTally(SCAN_TIME) for _ in range(parts)]
    for each in entries:
        show(order.choice(tallies), [each])
    order.shuffle(tallies)
    first, *others = tallies
    for other in others:
        first.merge(other.pieces())
    assert first.tell(by) == plainly(entries, by)


def test_tables_grow_as_owners_and_links_come() -> None:
    many = [
        entry(uid=i % 5000, gid=i % 3000, links=1 + i % 2, inode=i % 7000, size=i)
        for i in range(20_000)
    ]
    tally = OwnerTally(SCAN_TIME)
    for start in range(0, len(many), 997):
        show(tally, many[start : start + 997])
    assert tally.tell(By.USER) == plainly(many, By.USER)


def test_names_of_one_inode_with_different_owners_count_in_each_owners_row() -> None:
    tally = show(OwnerTally(SCAN_TIME), [entry(gid=1, links=2), entry(gid=2, links=2)])
    assert [(row.gid, row.used_bytes, row.inodes) for row in tally.tell(By.GROUP)] == [
        (1, 10, 1),
        (2, 10, 1),
    ]


def test_the_greatest_size_of_an_inode_counts_and_the_newest_time_of_all_its_names() -> None:
    names = [entry(links=2, size=5, mtime=900), entry(links=2, size=8, mtime=100)]
    assert show(OwnerTally(SCAN_TIME), names).tell(By.GROUP) == [OwnerSum(2, 0, 8, 1, 900)]


def test_times_that_cannot_be_say_nothing() -> None:
    times = [entry(mtime=time) for time in (0, -1, SCAN_TIME + 1, 10**12)]
    assert show(OwnerTally(SCAN_TIME), times).tell(By.GROUP)[0].last_modified == 0
    assert (
        show(OwnerTally(SCAN_TIME), [entry(mtime=SCAN_TIME)]).tell(By.GROUP)[0].last_modified
        == 1000
    )


@pytest.mark.parametrize("links", [1, 2])
def test_sizes_beyond_64_bits_are_an_error_and_no_small_number(links: int) -> None:
    huge = [entry(size=2**63 - 1, inode=inode, links=links) for inode in (1, 2)]
    with pytest.raises(SumOverflow, match="2\\^63"):
        show(OwnerTally(SCAN_TIME), huge).tell(By.GROUP)


def test_sums_that_leave_64_bits_only_when_merged_are_an_error() -> None:
    one = show(OwnerTally(SCAN_TIME), [entry(size=2**62)])
    other = show(OwnerTally(SCAN_TIME), [entry(size=2**62)])
    with pytest.raises(SumOverflow):
        one.merge(other.pieces())


def test_sums_of_two_devices_that_leave_64_bits_only_together_are_an_error() -> None:
    huge = [entry(size=2**62, device=device) for device in (1, 2)]
    with pytest.raises(SumOverflow):
        show(OwnerTally(SCAN_TIME), huge).tell(By.GROUP)


def test_what_lies_under_a_pseudo_groups_path_counts_to_it() -> None:
    pseudo = PseudoGroups(PathRules([b"/a/b", b"/a/b/c"]), (77, 88))
    under = ["/a/b", "/a/b/x", "/a/bc", "/a/b/c/x", "/x"]
    tally = show(OwnerTally(SCAN_TIME, pseudo=pseudo), [entry(path) for path in under])
    assert [(row.gid, row.inodes) for row in tally.tell(By.GROUP)] == [(2, 2), (77, 2), (88, 1)]
