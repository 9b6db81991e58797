"""Made-up quotas: most groups are well below theirs; of every other case there are some."""

from collections.abc import Iterator, Sequence
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from lurge.demo.people import People
from lurge.demo.use import Past, Use
from lurge.forecast.rates import theil_sen

RATE_DAYS = 31
ROUND_BYTES, LEAST_BYTES = 1 << 26, 1 << 40
ROUND_INODES = 1000


class Fate(Enum):
    """What is to become of a group: when its quota is reached, if it has one."""

    DAYS = auto()
    SOON = auto()
    YEARS = auto()
    OVER = auto()
    FULL_OF_FILES = auto()
    BYTES_ONLY = auto()
    NO_QUOTA = auto()
    FREE = auto()


SHARES = {
    Fate.DAYS: 0.03,
    Fate.SOON: 0.05,
    Fate.YEARS: 0.15,
    Fate.OVER: 0.01,
    Fate.FULL_OF_FILES: 0.03,
    Fate.BYTES_ONLY: 0.08,
    Fate.NO_QUOTA: 0.1,
    Fate.FREE: 0.55,
}
"""Of the groups of a volume; and one at least is of each, two are over."""

AHEAD = {Fate.DAYS: (1, 7), Fate.YEARS: (300, 800)}
"""For how many days there is room, if it goes on as it does."""

TIGHT_DAYS, TIGHT = 3, (0.81, 0.845)
"""In so many days such a share is in use of a quota that will be reached in weeks, or months."""

MANY_FILES = (0.88, 0.99)
"""Which share of a quota of inodes is in use where it is a cause for warning."""


def lines(people: People, past: Past, use: Use, dice: np.random.Generator) -> Iterator[str]:
    """A line of the quotas' file for each group that has a name and a quota, ascending by gid."""
    rates = _rates(past)
    growth = rates / np.maximum(use.used_bytes[-1], LEAST_BYTES)
    nameless = ~np.isin(use.gids, people.named())
    idle = nameless | np.isin(use.gids, list(past.archived))
    fates = _fates(np.where(idle, -np.inf, growth), dice)
    for place, gid in enumerate(use.gids.tolist()):
        if nameless[place] or fates[place] == Fate.NO_QUOTA:
            continue
        used, inodes = int(use.used_bytes[-1, place]), int(use.inodes[-1, place])
        limit_bytes = _limit_bytes(used, float(rates[place]), fates[place], dice)
        limit_inodes = _limit_inodes(inodes, fates[place], dice)
        yield f"{people.group_name(gid)},{past.volume},{limit_bytes},{limit_inodes}"


def _rates(past: Past) -> NDArray[np.float64]:
    """By how many bytes groups have grown a day lately."""
    lately = past.used_bytes[:, -RATE_DAYS:].astype(np.float64)
    return theil_sen(lately, np.zeros(lately.shape, np.bool_))


def _fates(growth: NDArray[np.float64], dice: np.random.Generator) -> Sequence[Fate]:
    """The fate of each group. Those who grow most have each fate, and two are over their quota."""
    fates = list(SHARES)
    drawn = dice.choice(len(fates), len(growth), p=list(SHARES.values()))
    by_growth = np.argsort(-growth, kind="stable")
    shown = [*range(len(fates)), fates.index(Fate.OVER)]
    drawn[by_growth[: len(shown)]] = shown[: len(growth)]
    return [fates[number] for number in drawn]


def _limit_bytes(used: int, rate: float, fate: Fate, dice: np.random.Generator) -> int:
    if fate == Fate.OVER:
        limit = used / dice.uniform(1.02, 1.3)
    elif fate in AHEAD and rate > 0:
        limit = used + rate * dice.uniform(*AHEAD[fate])
    elif fate == Fate.SOON:
        limit = (used + max(rate, 0) * TIGHT_DAYS) / dice.uniform(*TIGHT)
    else:
        limit = used / dice.uniform(0.2, 0.7)
    return int(limit // ROUND_BYTES * ROUND_BYTES) or LEAST_BYTES


def _limit_inodes(inodes: int, fate: Fate, dice: np.random.Generator) -> str:
    if fate == Fate.BYTES_ONLY:
        return ""
    if fate == Fate.FULL_OF_FILES:
        return str(int(inodes / dice.uniform(*MANY_FILES)) + 1)
    return str(int(inodes / dice.uniform(0.1, 0.7) // ROUND_INODES + 1) * ROUND_INODES)
