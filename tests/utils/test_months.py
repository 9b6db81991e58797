"""Months are those of the calendar; a month that is too short ends on its last day."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.months import first_reached, months_before

days = st.dates(date(1900, 1, 1), date(2200, 1, 1))
counts = st.integers(0, 1200)


@pytest.mark.parametrize(
    ("day", "months", "before"),
    [
        ((2026, 3, 31), 1, (2026, 2, 28)),
        ((2024, 3, 31), 1, (2024, 2, 29)),
        ((2024, 3, 30), 1, (2024, 2, 29)),
        ((2024, 3, 29), 1, (2024, 2, 29)),
        ((2026, 3, 28), 1, (2026, 2, 28)),
        ((2024, 2, 29), 12, (2023, 2, 28)),
        ((2024, 2, 29), 48, (2020, 2, 29)),
        ((2104, 2, 29), 48, (2100, 2, 28)),
        ((2000, 3, 31), 1, (2000, 2, 29)),
        ((2026, 2, 28), 1, (2026, 1, 28)),
        ((2026, 5, 31), 1, (2026, 4, 30)),
        ((2026, 7, 31), 1, (2026, 6, 30)),
        ((2026, 8, 31), 6, (2026, 2, 28)),
        ((2026, 1, 31), 2, (2025, 11, 30)),
        ((2026, 1, 1), 1, (2025, 12, 1)),
        ((2026, 12, 31), 12, (2025, 12, 31)),
        ((2026, 3, 31), 0, (2026, 3, 31)),
        ((2026, 3, 31), 1200, (1926, 3, 31)),
    ],
)
def test_some_months_earlier_is_the_same_day_or_the_months_last(
    day: tuple[int, int, int], months: int, before: tuple[int, int, int]
) -> None:
    assert months_before(date(*day), months) == date(*before)


@given(days, counts)
def test_what_ended_is_reached_on_one_day_and_stays_so(end: date, months: int) -> None:
    reached = first_reached(end, months)
    assert months_before(reached, months) >= end
    assert months == 0 or months_before(reached - timedelta(1), months) < end
    assert months_before(reached + timedelta(1), months) >= end


@given(days, days, counts)
def test_a_later_day_is_never_counted_back_to_an_earlier_one(
    one: date, other: date, months: int
) -> None:
    first, last = sorted([one, other])
    assert months_before(first, months) <= months_before(last, months)
