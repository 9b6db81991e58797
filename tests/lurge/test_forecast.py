"""What is foretold of groups: by which method, on which days, and from which records."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, timedelta
from random import Random
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lurge.forecast.foretell import FAR_DAYS, days_needed, foretell
from lurge.forecast.past import HORIZONS
from lurge_types.config import WarningsTable
from lurge_types.forecasts import Forecast, Foretold, History, Kept, Present

DAY = date(2026, 3, 1)
ROBUST = WarningsTable()
NAN = float("nan")


class Record(NamedTuple):
    """What a record says of one group; of inodes there are a hundredth as many."""

    days_ago: int
    used: float
    theil_sen: float = NAN
    two_point: float = NAN
    gid: int = 1
    suspect: bool = False


def history(records: Sequence[Record], day: date = DAY) -> History:
    columns = list(zip(*records, strict=True)) or [()] * len(Record._fields)
    days_ago, used, theil_sen, two_point, gid, suspect = columns
    rates = (np.array(theil_sen, np.float64), np.array(two_point, np.float64))
    bytes_ = np.array(used, np.float64)
    return History(
        gid=np.array(gid, np.int64),
        day=day.toordinal() - np.array(days_ago, np.int64),
        suspect=np.array(suspect, np.bool_),
        used_bytes=Kept(bytes_, *rates),
        inodes=Kept(bytes_ / 100, *(rate / 100 for rate in rates)),
    )


def present(used: int, quota: int | None = None, gid: int = 1, suspect: bool = False) -> Present:
    inodes = None if quota is None else quota // 100
    return Present(gid, suspect, used, used // 100, quota, inodes)


def told(
    records: Sequence[Record], now: Present, day: date = DAY, table: WarningsTable = ROBUST
) -> Forecast:
    (found,) = foretell(history(records, day), day, [now], table)
    return found.used_bytes


def line(days: int, of: Callable[[int], float], rate: float = NAN) -> list[Record]:
    """Records of the days before, oldest first; `of` tells the use by how many days ago it was."""
    return [Record(ago, of(ago), rate, rate) for ago in range(days, 0, -1)]


def after(days: int) -> date:
    return DAY + timedelta(days=days)


# Rates and methods.


@pytest.mark.parametrize("count", [0, 1])
def test_with_one_earlier_record_or_none_nothing_is_expected_to_change(count: int) -> None:
    found = told(line(count, lambda ago: 1000 - 100 * ago), present(1000, 2000))
    assert found == Forecast()


def test_after_a_gap_that_leaves_no_rate_there_is_no_interval_either() -> None:
    days = line(147, lambda ago: 10**6 - 100 * ago + ago % 5 * 300, 100)
    before = [record for record in days if record.days_ago > 32]
    assert told(before, present(10**6, 10**6 + 5000)) == Forecast()


def test_a_longer_history_for_rates_does_not_change_by_what_methods_are_judged() -> None:
    flat = [Record(ago, 10**6, 0, 0) for ago in range(366, 120, -1)]
    grown = [Record(ago, 10**6 + 10**4 * (120 - ago), 10**4, 10**4) for ago in range(120, 0, -1)]
    longer = WarningsTable(history_days=366)
    found = told([*flat, *grown], present(10**6 + 120 * 10**4, 10**8), table=longer)
    assert found.method != "no-change"


def test_two_earlier_records_make_a_rate_but_no_interval() -> None:
    found = told(line(2, lambda ago: 1000 - 100 * ago), present(1000, 2000))
    assert found == Forecast("theil-sen", 100, 100, 100, likely=after(10))


def test_only_the_configured_days_make_the_rate() -> None:
    table = WarningsTable(history_days=5)
    records = line(20, lambda ago: 1000 - 10 * ago if ago <= 5 else 5000)
    assert told(records, present(1000), table=table).theil_sen == 10
    assert told(records, present(1000)).theil_sen != 10


def test_gaps_are_no_points_and_no_zeros() -> None:
    records = [record for record in line(30, lambda ago: 900 - 7 * ago) if record.days_ago % 3]
    assert told(records, present(900)).rate == 7


def test_the_line_through_the_last_records_can_be_forced() -> None:
    records = line(20, lambda ago: 1000 if ago > 2 else 1300 - 50 * ago)
    found = told(records, present(1300), table=WarningsTable(rate="two-point"))
    assert (found.method, found.rate, found.two_point) == ("two-point", 50, 50)
    assert found.theil_sen != 50


def best_for(theil_sen: float, two_point: float, slope: float) -> str:
    records = [
        record._replace(theil_sen=theil_sen, two_point=two_point)
        for record in line(60, lambda ago: 10_000 - slope * ago)
    ]
    return told(records, present(10_000)).method


@pytest.mark.parametrize(
    ("theil_sen", "two_point", "slope", "method"),
    [
        (90, 60, 100, "theil-sen"),
        (60, 90, 100, "two-point"),
        (60, 90, 10, "no-change"),
        (100, 100, 100, "theil-sen"),  # as good, and simpler
        (0, 0, 0, "no-change"),
        (20, 50, 10, "no-change"),
        (-20, 100, 100, "two-point"),
    ],
)
def test_the_method_that_foretold_the_past_best_is_used(
    theil_sen: float, two_point: float, slope: float, method: str
) -> None:
    assert best_for(theil_sen, two_point, slope) == method


def test_a_step_now_and_then_does_not_make_a_group_grow() -> None:
    """In weeks without a step nothing changed: no other method was better half of the time."""
    records = [
        record._replace(theil_sen=30, two_point=0 if record.days_ago % 40 else 500)
        for record in line(100, lambda ago: 5000 - 1000 * (ago // 40))
    ]
    found = told(records, present(5000, 6000))
    assert (found.method, found.rate, found.likely, found.latest) == ("no-change", 0, None, None)
    assert found.earliest is not None  # by another step


def test_records_without_kept_rates_tell_nothing_of_methods() -> None:
    found = told(line(60, lambda ago: 1000 - 10 * ago), present(1000, 1100))
    assert found == Forecast("theil-sen", 10, 10, 10, likely=after(10))


# Suspect records.


def test_a_day_that_is_suspect_is_no_point() -> None:
    records = line(20, lambda ago: 1000 - 10 * ago)
    records[-5] = Record(5, 3, suspect=True)
    assert told(records, present(1000)).rate == 10


def test_a_suspect_record_today_keeps_the_rate_and_starts_from_todays_use() -> None:
    records = line(20, lambda ago: 1000 - 10 * ago)
    found = told(records, present(500, 600, suspect=True))
    assert (found.rate, found.two_point, found.likely) == (10, 10, after(10))


def test_a_clean_up_is_no_shrinking() -> None:
    records = line(20, lambda ago: 1000 - 10 * ago if ago > 10 else 500 - 10 * ago)
    records[10] = records[10]._replace(suspect=True)
    assert told(records, present(500)).theil_sen == 10


def test_a_miss_on_a_suspect_day_is_not_held_against_a_method() -> None:
    records = line(120, lambda ago: 10_000 - 10 * ago, rate=10)
    odd = [
        record._replace(used=9.0, suspect=True) if record.days_ago % 2 else record
        for record in records
    ]
    found = told(odd, present(10_000, 10_100))
    assert found.earliest == found.likely == found.latest == after(10)


# The days on which a quota is reached.


@pytest.mark.parametrize(
    ("quota", "days"),
    [
        (999, 0),
        (1000, 0),
        (1001, 1),
        (1010, 1),
        (1011, 2),
        (1000 + 10 * FAR_DAYS, FAR_DAYS),
        (1001 + 10 * FAR_DAYS, None),
    ],
)
def test_the_likely_day_is_the_first_on_which_the_quota_is_reached(
    quota: int, days: int | None
) -> None:
    found = told(line(10, lambda ago: 1000 - 10 * ago), present(1000, quota))
    assert found.likely == (None if days is None else after(days))


@pytest.mark.parametrize("quota", [None, 0])
def test_without_a_quota_there_is_a_rate_and_no_day(quota: int | None) -> None:
    found = told(line(60, lambda ago: 1000 - 10 * ago, rate=10), present(1000, quota))
    assert found == Forecast("theil-sen", 10, 10, 10)


@pytest.mark.parametrize("rate", [-10, 0])
def test_what_does_not_grow_never_reaches_its_quota(rate: int) -> None:
    found = told(line(60, lambda ago: 5000 - rate * ago, rate=rate), present(5000, 6000))
    assert (found.likely, found.earliest, found.latest) == (None, None, None)


@pytest.mark.parametrize("days", [0, 60])
def test_who_is_over_reached_the_quota_today_also_when_shrinking(days: int) -> None:
    records = line(days, lambda ago: 5000 + 10 * ago, rate=-10)
    found = told(records, present(5000, 4000))
    assert (found.likely, found.earliest, found.latest) == (DAY, DAY, DAY)


def test_a_past_without_a_miss_makes_an_interval_without_width() -> None:
    found = told(line(60, lambda ago: 1000 - 10 * ago, rate=10), present(1000, 1300))
    assert found.earliest == found.likely == found.latest == after(30)


def test_misses_make_the_interval_wider_on_their_own_side() -> None:
    """Each forecast was 2 a day too low: 12 came, where 10 were foretold."""
    found = told(line(60, lambda ago: 2000 - 12 * ago, rate=10), present(2000, 2600))
    assert (found.rate, found.latest) == (12, found.likely)
    assert found.likely == after(50)
    assert found.earliest == after(43)  # 600 / (12 + 2)


def test_bytes_and_inodes_are_foretold_each_by_itself() -> None:
    (found,) = foretell(
        history(line(60, lambda ago: 10_000 - 100 * ago, rate=100)),
        DAY,
        [Present(1, False, 10_000, 100, 11_000, 90)],
        ROBUST,
    )
    assert (found.used_bytes.rate, found.used_bytes.likely) == (100, after(10))
    assert (found.inodes.rate, found.inodes.likely) == (1, DAY)


def test_too_short_a_past_has_no_interval_and_a_longer_one_has() -> None:
    def interval(days: int) -> bool:
        found = told(line(days, lambda ago: 9000 - 10 * ago, rate=10), present(9000, 9100))
        return found.earliest is not None and found.latest is not None

    assert [interval(days) for days in (5, 23, 24, 40)] == [False, False, True, True]


# Which records count.


def rate(rng: np.random.Generator) -> float:
    return float(rng.integers(-50, 50))


def some_history(seed: int, groups: int = 3, days: int = 130) -> list[Record]:
    rng = np.random.default_rng(seed)
    return [
        Record(ago, use, rate(rng), rate(rng), gid, bool(rng.random() < 0.03))
        for gid in range(1, groups + 1)
        for ago, use in enumerate(10_000 + 30 * np.cumsum(rng.integers(-50, 60, days)), start=1)
        if rng.random() < 0.9
    ]


SEEDS = st.integers(0, 10**6)
GROUPS = [present(50_000, 70_000, gid) for gid in (1, 2, 3)]


def all_told(records: Sequence[Record], day: date = DAY) -> list[Foretold]:
    return foretell(history(records, day), day, GROUPS, ROBUST)


@settings(max_examples=20)
@given(SEEDS, st.randoms())
def test_the_order_of_records_and_of_groups_tells_nothing(seed: int, random: Random) -> None:
    records = some_history(seed)
    before = dict(zip((1, 2, 3), all_told(records), strict=True))
    random.shuffle(records)
    groups = random.sample(GROUPS, 3)
    after_ = foretell(history(records), DAY, groups, ROBUST)
    assert {group.gid: found for group, found in zip(groups, after_, strict=True)} == before


@settings(max_examples=20)
@given(SEEDS)
def test_only_what_was_before_the_record_date_counts(seed: int) -> None:
    records = some_history(seed)
    later = [Record(-number // 2, number * 7, number, number, number % 4) for number in range(60)]
    assert all_told(records + later) == all_told(records)


def test_the_record_dates_own_record_does_not_count() -> None:
    records = line(40, lambda ago: 1000 - 10 * ago, rate=10)
    assert told([*records, Record(0, 1, 5, 5)], present(1000, 1100)) == told(
        records, present(1000, 1100)
    )


@settings(max_examples=20)
@given(SEEDS)
def test_older_records_than_are_asked_for_and_other_groups_do_not_matter(seed: int) -> None:
    records = some_history(seed)
    recent = [record for record in records if record.days_ago <= days_needed(ROBUST)]
    others = [record._replace(gid=record.gid + 3) for record in records]
    assert len(recent) < len(records)
    assert all_told(records) == all_told(recent) == all_told(recent + others)


def test_days_needed_reach_as_far_as_rates_and_past_forecasts() -> None:
    assert days_needed(ROBUST) > max(HORIZONS)
    assert days_needed(WarningsTable(history_days=200)) == 200


@settings(max_examples=20)
@given(SEEDS, st.integers(-3000, 3000))
def test_on_another_date_all_days_are_others_by_as_much(seed: int, days: int) -> None:
    def shifted(forecast: Forecast) -> Forecast:
        dates = {
            name: getattr(forecast, name) and getattr(forecast, name) + timedelta(days=days)
            for name in ("likely", "earliest", "latest")
        }
        return replace(forecast, **dates)

    records = some_history(seed)
    expected = [Foretold(*map(shifted, found)) for found in all_told(records)]
    assert all_told(records, after(days)) == expected


@settings(max_examples=20)
@given(SEEDS, st.integers(1, 2**20))
def test_a_use_of_so_many_times_as_much_grows_so_many_times_as_fast(seed: int, times: int) -> None:
    def larger(record: Record) -> Record:
        return record._replace(
            used=times * record.used,
            theil_sen=times * record.theil_sen,
            two_point=times * record.two_point,
        )

    records = some_history(seed, groups=1)
    one = told(records, present(20_000))
    many = told(list(map(larger, records)), present(times * 20_000))
    assert many.method == one.method
    assert abs(many.rate - times * one.rate) <= (times + 1) / 2  # both are rounded


def test_of_two_records_of_a_day_the_larger_counts() -> None:
    records = line(20, lambda ago: 1000 - 10 * ago)
    twice = [*records, *(record._replace(used=record.used / 2) for record in records)]
    for order in (twice, twice[::-1]):
        assert told(order, present(1000)).rate == 10


def test_a_group_that_is_new_or_gone_disturbs_no_other() -> None:
    records = line(60, lambda ago: 1000 - 10 * ago, rate=10)
    gone = [record._replace(gid=9) for record in records]
    new, old = foretell(
        history(records + gone), DAY, [present(5, 10, gid=77), present(1000, 1100)], ROBUST
    )
    assert new.used_bytes == Forecast()
    assert old.used_bytes == told(records, present(1000, 1100))


def test_no_group_is_no_trouble() -> None:
    assert foretell(history(line(60, float)), DAY, [], ROBUST) == []
    assert foretell(history([]), DAY, [present(1)], ROBUST) == [Foretold(Forecast(), Forecast())]
