"""Warning levels: how much of a quota is used now or will be soon."""

from collections.abc import Sequence

from lurge_types.config import LevelRule

OK = 1


def level(used: int, quota: int | None, rate: int, rules: Sequence[LevelRule]) -> int:
    """
    The worst level that applies to a use that changes by a rate per day; whoever is over today is
    warned even when shrinking.

    >>> from decimal import Decimal
    >>> rule = LevelRule(days=3, share=Decimal("0.85"), level=3)
    >>> level(82, 100, 1, [rule]), level(83, 100, 1, [rule]), level(86, 100, -9, [rule])
    (1, 3, 3)
    """
    if not quota:
        return OK
    return max((rule.level for rule in rules if _is_above(used, quota, rate, rule)), default=OK)


def _is_above(used: int, quota: int, rate: int, rule: LevelRule) -> bool:
    """Exact: in whole numbers, as 85 of 100 is not above 0.85."""
    share, of = rule.share.as_integer_ratio()
    return (used + max(0, rate) * rule.days) * of > quota * share


def worst(of_bytes: int, of_inodes: int) -> int:
    """The level of a group, by those of its bytes and of its inodes."""
    return max(of_bytes, of_inodes)
