"""What a sample tells of the whole."""

from fractions import Fraction
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge.archiver.confidence import in_words, most_bad

ALPHA = Fraction(1, 20)
NEARLY = Fraction(1, 10**6)


def at_most(files: int, all_bad: int, read: int, bad: int) -> Fraction:
    """By counting, how probable it is that so many or fewer bad ones are drawn."""
    ways = sum(comb(all_bad, k) * comb(files - all_bad, read - k) for k in range(bad + 1))
    return Fraction(ways, comb(files, read))


@st.composite
def samples(draw: st.DrawFn) -> tuple[int, int, int]:
    files = draw(st.integers(1, 60))
    read = draw(st.integers(0, files))
    return files, read, draw(st.integers(0, read))


@given(samples())
def test_the_bound_is_the_largest_that_chance_allows(sample: tuple[int, int, int]) -> None:
    files, read, bad = sample
    most = most_bad(files, read, bad)
    assert bad <= most <= files - (read - bad)
    assert at_most(files, most, read, bad) >= ALPHA * (1 - NEARLY)
    if most < files - (read - bad):
        assert at_most(files, most + 1, read, bad) < ALPHA * (1 + NEARLY)


@given(st.integers(1000, 10**9))
def test_none_bad_of_many_is_the_rule_of_three(files: int) -> None:
    read = files // 100
    assert most_bad(files, read, 0) / files <= 3 / read


def test_what_was_not_whole_is_told() -> None:
    assert in_words(1000, 100, 2).startswith("of 1,000 files 100 were read back, 2 of them not")
    with pytest.raises(ValueError, match="2 of 1 of 3"):
        most_bad(3, 1, 2)
