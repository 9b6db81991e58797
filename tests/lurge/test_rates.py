"""Rates: SciPy's slope is the oracle, and what is suspect is left out."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import theilslopes

from lurge.forecast.rates import SLOPES_AT_ONCE, theil_sen, two_point
from lurge.forecast.series import Floats

NAN = np.nan

USES = st.lists(
    st.lists(st.one_of(st.just(NAN), st.integers(0, 2**50).map(float)), min_size=9, max_size=9),
    min_size=1,
    max_size=8,
)


def nothing_suspect(used: Floats) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.zeros(used.shape, np.bool_)


@given(USES)
def test_a_slope_is_that_of_scipy(rows: list[list[float]]) -> None:
    used = np.array(rows)
    for row, rate in zip(used, theil_sen(used, nothing_suspect(used)), strict=True):
        (days,) = np.nonzero(~np.isnan(row))
        if len(days) < 3:
            assert np.isnan(rate)
        else:
            assert rate == np.rint(theilslopes(row[days], days).slope)


@given(USES, st.data())
def test_slopes_across_a_suspect_day_are_left_out_unless_there_are_no_others(
    rows: list[list[float]], data: st.DataObject
) -> None:
    used = np.array(rows)
    suspect = np.array([data.draw(st.lists(st.booleans(), min_size=9, max_size=9)) for _ in rows])
    used[suspect] = NAN
    for row, odd, rate in zip(used, suspect, theil_sen(used, suspect), strict=True):
        points = [(day, use) for day, use in enumerate(row) if not np.isnan(use)]
        slopes = {
            (since, until): (last - first) / (until - since)
            for (since, first), (until, last) in combinations(points, 2)
        }
        within = [slope for days, slope in slopes.items() if not odd[slice(*days)].any()]
        if len(points) < 3:
            assert np.isnan(rate)
        else:
            assert rate == np.rint(np.median(within or list(slopes.values())))


def test_a_clean_up_does_not_hide_the_growth_around_it() -> None:
    used = np.array([[100.0, 110, 120, 130, NAN, 25, 35, 45]])
    suspect = np.isnan(used)
    assert theil_sen(used, suspect).tolist() == [10]
    assert theil_sen(used, nothing_suspect(used)).tolist() != [10]


def test_many_groups_are_like_one_at_a_time() -> None:
    used = np.random.default_rng(1).integers(0, 10**15, (20_000, 31)).astype(np.float64)
    together = theil_sen(used, nothing_suspect(used))
    edge = SLOPES_AT_ONCE // (31 * 30 // 2)
    for row in (0, edge - 1, edge, edge + 1, 19_999):
        alone = used[row : row + 1]
        assert theil_sen(alone, nothing_suspect(alone)) == together[row]


@pytest.mark.parametrize(
    ("used", "rate"),
    [
        ([1, 2, 4], 2),  # 1.5, half-even
        ([1, 2, 6], 2),  # 2.5, half-even
        ([0, 10, 11, 13], 2),
        ([13, 11, 10, 0], -6),
        ([0, NAN, 10, NAN, NAN, 70], 14),
        ([5, 5, 8, NAN], 2),
        ([NAN, NAN, 5, 8], NAN),
        ([7], NAN),
        ([NAN], NAN),
    ],
)
def test_the_two_point_line_begins_at_the_second_newest_earlier_point(
    used: list[float], rate: float
) -> None:
    np.testing.assert_equal(two_point(np.array([used], np.float64)), [rate])
