"""Tables tell keys apart whatever their hashes, and hand over all they have in pieces."""

import numpy as np
import pytest

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
