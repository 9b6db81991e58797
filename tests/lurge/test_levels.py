"""Warning levels: each cell of the table and its edges."""

from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from lurge.levels import level, worst
from lurge_types.config import LevelRule, WarningsTable

RULES = WarningsTable().levels


@pytest.mark.parametrize(
    ("used", "rate", "expected"),
    [
        # Nothing changes: only how much is used today.
        (0, 0, 1),
        (800, 0, 1),
        (801, 0, 2),
        (850, 0, 2),
        (851, 0, 3),
        (950, 0, 3),
        (951, 0, 3),
        (1000, 0, 3),
        (1001, 0, 3),
        # 80 % in 3 days, and not in 7.
        (797, 1, 1),
        (798, 1, 2),
        (744, 8, 1),
        (745, 8, 1),
        (710, 30, 2),
        # 85 % in 7 days.
        (710, 20, 1),
        (711, 20, 2),
        # 85 % in 3 days.
        (820, 10, 2),
        (821, 10, 3),
        # 95 % in 7 days.
        (600, 50, 2),
        (601, 50, 3),
        (670, 40, 2),
        (671, 40, 3),
        # 95 % in 3 days.
        (650, 100, 3),
        # Shrinking: today's use counts.
        (801, -100, 2),
        (851, -100, 3),
        (1200, -500, 3),
        (800, -100, 1),
    ],
)
def test_the_worst_level_that_applies_counts(used: int, rate: int, expected: int) -> None:
    assert level(used, 1000, rate, RULES) == expected


@pytest.mark.parametrize("quota", [None, 0])
def test_without_a_quota_all_is_well(quota: int | None) -> None:
    assert level(10**15, quota, 10**12, RULES) == 1


@pytest.mark.parametrize(("share", "days"), [(rule.share, rule.days) for rule in RULES])
def test_exactly_a_share_is_not_above_it(share: Decimal, days: int) -> None:
    quota = 10**17  # where a float has no room for a byte more
    edge = int(quota * share)
    rule = [LevelRule(days=days, share=share, level=3)]
    assert level(edge - days * 1000, quota, 1000, rule) == 1
    assert level(edge - days * 1000 + 1, quota, 1000, rule) == 3


def test_levels_are_as_configured() -> None:
    rules = [LevelRule(days=0, share=Decimal("1.5"), level=2)]
    assert [level(used, 100, 50, rules) for used in (150, 151)] == [1, 2]
    assert level(10**9, 100, 50, []) == 1


def test_the_worse_of_bytes_and_inodes_counts() -> None:
    assert [worst(*levels) for levels in ((1, 1), (1, 2), (3, 2))] == [1, 2, 3]


@pytest.mark.parametrize(
    "table",
    [
        {"levels": [{"days": 3, "share": 0, "level": 3}]},
        {"levels": [{"days": 3, "share": -0.1, "level": 3}]},
        {"levels": [{"days": 3, "share": "nan", "level": 3}]},
        {"levels": [{"days": 3, "share": 0.9, "level": 1}]},
        {"levels": [{"days": 3, "share": 0.9, "level": 4}]},
        {"levels": [{"days": -1, "share": 0.9, "level": 3}]},
        {"levels": [{"days": 1.5, "share": 0.9, "level": 3}]},
        {"levels": [{"share": 0.9, "level": 3}]},
        {"levels": [{"days": 3, "share": 0.9, "level": 3, "color": "red"}]},
        {"history_days": 1},
        {"history_days": 367},
        {"rate": "no-change"},
    ],
)
def test_a_table_that_means_nothing_is_refused(table: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        WarningsTable.model_validate(table)


def test_a_share_is_the_decimal_that_was_written() -> None:
    table = WarningsTable.model_validate({"levels": [{"days": 0, "share": 0.85, "level": 3}]})
    assert table.levels[0].share == Decimal("0.85")
