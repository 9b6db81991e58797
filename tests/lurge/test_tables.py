"""Tables tell keys apart whatever their hashes, and hand over all they have in pieces."""

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge.tallies import table as tables
from lurge.tallies import table_loops as loops
from lurge.tallies.table import PIECE_LINKS, PIECE_ROWS, LinkSet, SumTable, merge_linked, pieces_of
from utils.path_rules import as_array


def test_names_of_one_hash_have_rows_of_their_own() -> None:
    table = SumTable(1, maxima=0)
    table.reserve(2, 8)
    one, other, key = as_array(b"/one"), as_array(b"/two"), np.uint64(7)
    assert loops.find_row(table.arrays, key, key, one) == 0
    assert loops.find_row(table.arrays, key, key, other) == 1
    assert loops.find_row(table.arrays, key, key, one) == 0
    assert [table.name(0), table.name(1)] == [b"/one", b"/two"]


def test_pieces_are_small_and_together_the_whole() -> None:
    table, links = SumTable(2, maxima=1), LinkSet()
    for number in range(PIECE_ROWS + 5):
        name = as_array(b"%d" % number)
        table.reserve(1, len(name))
        row = loops.find_name(table.arrays, np.uint64(0), name)
        table.arrays.sums[row] = number, 2 * number
    for number in range(PIECE_LINKS + 5):
        links.reserve(1)
        link = loops.find_link(
            links.arrays, number % len(table), np.uint64(number), np.uint64(2**64 - 1)
        )
        links.arrays.values[link, 0] = number
    merged, merged_links = SumTable(2, maxima=1), LinkSet()
    for _ in range(2):
        pieces = list(pieces_of(table, links))
        assert [len(piece[0]) for _, piece in pieces] == [PIECE_ROWS, 5, PIECE_LINKS, 5]
        merge_linked(merged, merged_links, pieces)
    assert len(merged) == len(table)
    assert np.array_equal(merged.sums[:, 0], table.sums[:, 0])
    assert np.array_equal(merged.sums[:, 1], 2 * table.sums[:, 1])
    assert np.array_equal(merged_links.values, links.values)
    assert np.array_equal(merged_links.rows, links.rows)


def test_the_first_values_of_a_link_decide_before_the_later_ones() -> None:
    def only(*values: int) -> LinkSet:
        links = LinkSet(3)
        link = loops.find_link(links.arrays, 0, np.uint64(1), np.uint64(2))
        links.arrays.values[link] = values
        return links

    merged = LinkSet(3)
    for values in [(1, 9, 9), (2, 3, 4), (2, 3, 3), (2, 2, 8), (2, 3, 5), (0, 0, 0)]:
        merged.merge(next(only(*values).pieces()), np.zeros(1, np.int64))
    assert merged.values.tolist() == [[2, 3, 5]]


links_of = st.tuples(
    st.integers(0, 5),
    st.integers(0, 9) | st.integers(0, 2**64 - 1),
    st.integers(1, 2) | st.just(2**64 - 1),
    st.integers(0, 3),
    st.integers(0, 3),
)
"""(row, inode, device, two values)"""


def link_set(links: Sequence[tuple[int, ...]]) -> LinkSet:
    found = LinkSet(2)
    for row, inode, device, *values in links:
        piece = (
            np.array([row], np.uint32),
            np.array([inode], np.uint64),
            np.array([device], np.uint64),
            np.array([values], np.int64),
        )
        found.merge(piece, np.arange(row + 1))
    return found


def all_links(links: LinkSet) -> dict[tuple[int, int, int], list[int]]:
    rows, inodes, devices, values = (array[: len(links)].tolist() for array in links.arrays[2:])
    return dict(zip(zip(rows, inodes, devices, strict=True), values, strict=True))


@given(st.lists(links_of, max_size=60), st.lists(st.integers(0, 3), min_size=6, max_size=6))
def test_links_are_regrouped_in_parts_of_which_each_has_all_of_an_inode(
    links: list[tuple[int, ...]], renumbered: list[int]
) -> None:
    expected: dict[tuple[int, int, int], list[int]] = {}
    for row, inode, device, *values in links:
        key = renumbered[row], inode, device
        expected[key] = max(values, expected.get(key, values))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tables, "PART_LINKS", 7)
        parts = list(map(all_links, link_set(links).regrouped(np.array(renumbered, np.int64))))
    assert len(parts) == -(-len(link_set(links)) // 7)
    assert {key: values for part in parts for key, values in part.items()} == expected
    inodes = [{inode for _, inode, _ in part} for part in parts]
    assert sum(map(len, inodes)) == len(set().union(*inodes))


def test_parts_of_links_are_about_equally_large() -> None:
    for first, step in [(0, 1), (2**40, 2), (144_115_205_255_725_056, 1), (0, 2**32)]:
        inodes = np.arange(100_000, dtype=np.uint64) * np.uint64(step) + np.uint64(first)
        sizes = [len(loops.part_of_links(inodes, part, 7)) for part in range(7)]
        assert sum(sizes) == len(inodes)
        assert max(sizes) < 1.1 * len(inodes) / 7


@pytest.mark.parametrize("length", [0, 1, 7, 8, 15, 16, 17, 31, 32, 33, 70])
def test_bytes_are_compared_to_the_last(length: int) -> None:
    one = np.arange(80, dtype=np.uint8)
    assert loops.same_bytes(one, one.copy(), length)
    for place in range(80):
        other = one.copy()
        other[place] ^= 0x80
        assert loops.same_bytes(one, other, length) == (place >= length)


def test_hashes_tell_short_strings_apart() -> None:
    texts = [bytes([a, b])[: 2 - (b == 0)] for a in range(256) for b in range(256)]
    texts += [bytes(length) for length in range(40)]
    hashes = {int(loops.hash_bytes(np.frombuffer(bytearray(each), np.uint8))) for each in texts}
    assert len(hashes) == len(set(texts))
