"""What past forecasts were worth: gaps, misses that count as fewer, and intervals by horizon."""

import numpy as np
import pytest

from lurge.forecast.past import HORIZONS, Past, Spread, _ends, best, spread
from lurge.forecast.series import Floats, Series, between

NAN = np.nan
RNG = np.random.default_rng(1)


def series(used: list[float], suspect: tuple[int, ...] = ()) -> Series:
    row = np.array([used])
    odd = np.isin(np.arange(len(used)), suspect)[None]
    unknown = np.full(row.shape, NAN)
    return Series(np.where(odd, NAN, row), odd, unknown, unknown)


@pytest.mark.parametrize(
    ("used", "suspect", "filled"),
    [
        ([1, 2, 3], (), [1, 2, 3]),
        ([1, NAN, NAN, 7], (), [1, 3, 5, 7]),
        ([NAN, 1, NAN, 3, NAN], (), [NAN, 1, 2, 3, NAN]),
        ([NAN, NAN], (), [NAN, NAN]),
        ([8, 1, 2], (1,), [8, NAN, 2]),
        ([8, NAN, 1, 2], (2,), [8, 6, NAN, 2]),
    ],
)
def test_between_two_records_a_use_changes_evenly(
    used: list[float], suspect: tuple[int, ...], filled: list[float]
) -> None:
    np.testing.assert_equal(between(series(used, suspect)), [filled])


def ends(misses: Floats, ahead: int = 1) -> tuple[float, float]:
    low, high = _ends(misses[None], ahead)
    return float(low[0]), float(high[0])


def test_of_99_misses_that_are_each_new_the_tenth_from_either_side_are_the_ends() -> None:
    assert ends(RNG.permutation(np.arange(-49.0, 50))) == pytest.approx((-40, 40))


def test_misses_that_drag_on_count_as_fewer_and_make_the_ends_wider() -> None:
    new = RNG.permutation(np.arange(-60.0, 60))
    low, high = ends(new)
    dragging_low, dragging_high = ends(np.sort(new), ahead=30)
    assert dragging_low == -60 < low
    assert dragging_high == 59 > high


def test_the_forecast_itself_lies_in_the_interval() -> None:
    assert ends(RNG.uniform(5, 6, 90))[0] == 0
    assert ends(RNG.uniform(-6, -5, 90))[1] == 0


@pytest.mark.parametrize(("count", "ahead"), [(9, 1), (27, 14), (0, 1)])
def test_too_few_misses_tell_nothing(count: int, ahead: int) -> None:
    misses = np.full(100, NAN)
    misses[:count] = 1.0
    assert np.isnan(ends(misses, ahead)).all()
    misses[: count + 1] = 1.0
    assert np.isnan(ends(misses, ahead)).any() == (count == 0)


def test_methods_are_judged_by_the_median_of_their_misses() -> None:
    used = np.cumsum(np.full((1, 100), 10.0), axis=1)
    rates = np.stack([np.zeros((1, 100)), np.full((1, 100), 9.0), np.full((1, 100), 10.0)])
    assert best(Past(used, rates)).tolist() == [2]
    used[:, 95:] += 10**9  # one step
    assert best(Past(used, rates)).tolist() == [2]
    assert best(Past(used[:, :16], rates[:, :, :16])).tolist() == [-1]


def test_a_horizon_with_too_few_misses_is_wider_than_the_one_before_in_proportion() -> None:
    days = 31
    used = np.cumsum(np.full((1, days), 12.0), axis=1)
    rates = np.full((3, 1, days), 10.0)
    found = spread(Past(used, rates), np.array([1]))
    high = dict(zip(HORIZONS, found.high[0].tolist(), strict=True))
    assert [high[ahead] for ahead in (1, 3, 7, 10)] == [2, 6, 14, 20]
    assert (high[14], high[20], high[30]) == pytest.approx((28, 40, 60))
    assert (found.low == 0).all()


def test_between_two_horizons_the_wider_counts_and_beyond_the_last_it_grows() -> None:
    high = np.array([[1.0, 9, 2, 8, 3, 7, 10]])
    found = Spread(-high, high)
    days = np.array([1, 2, 3, 5, 7, 8, 10, 14, 17, 20, 29, 30, 60, 300])
    low, top = found.at(days)
    assert top[0].tolist() == [1, 9, 9, 9, 2, 8, 8, 3, 7, 7, 10, 10, 20, 100]
    assert (low == -top).all()
