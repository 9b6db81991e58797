"""Which directories are candidates, and in which order: a function of what they hold."""

from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from lurge.bins import Bins
from lurge_types.candidates import CLASSES, Held
from lurge_types.reports import AGE_CLASSES
from utils.paths import raw


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What a candidate must be.

    cold_share: of its bytes, not used for `cold_after` days. deeper: directories that are none,
    though their directories may be. pseudo, archived: gids of groups that have no candidates.
    bins: what is or lies in one is none, nor what has one in it. gone: directories that were
    removed since the scan, nothing in them is one.
    """

    min_bytes: int
    cold_share: Fraction
    cold_after: int
    deeper: Set[str] = frozenset()
    pseudo: Set[int] = frozenset()
    archived: Set[int] = frozenset()
    bins: Bins = field(default_factory=Bins)
    gone: Set[bytes] = frozenset()


class Judged(NamedTuple):
    """A candidate, its class, its score in bytes x days, its place among what was looked at."""

    held: Held
    kind: str
    score: int
    cold_bytes: int
    place: int


@dataclass(slots=True)
class Judgement:
    """
    The candidates, the first rank first; and how many directories could have been some.

    large: that are large enough; cold: those of them that are cold; in_doubt: cold ones of which a
    part may be counted elsewhere.
    """

    candidates: list[Judged] = field(default_factory=list)
    large: int = 0
    cold: int = 0
    in_doubt: int = 0


def judge(directories: Iterable[Held], rules: Rules) -> Judgement:
    """Who is a candidate, and why so few are."""
    judgement = Judgement()
    for place, held in enumerate(directories):
        if held.size_bytes < rules.min_bytes or held.directory in rules.deeper:
            continue
        judgement.large += 1
        judged = _judged(held, rules, place)
        if judged is None:
            continue
        judgement.cold += 1
        if not held.is_whole:
            judgement.in_doubt += 1
        elif may_go(held, rules):
            judgement.candidates.append(judged)
    judgement.candidates.sort(key=lambda each: (-each.score, raw(each.held.real_path)))
    return judgement


def may_go(held: Held, rules: Rules) -> bool:
    """Whether nothing but its age decides about a directory."""
    bars = rules.pseudo | rules.archived
    is_barred = held.kept_files or held.holds_vault or held.lies_above
    path = raw(held.real_path)
    is_barred = is_barred or rules.bins.meet(path) or not rules.gone.isdisjoint(way(path))
    return not is_barred and bars.isdisjoint(held.gids)


def way(path: bytes) -> list[bytes]:
    """
    An absolute path and all that are above it, but for the root.

    >>> way(b"/a/b")
    [b'/a/b', b'/a']
    """
    parts = path.split(b"/")
    return [b"/".join(parts[:count]) for count in range(len(parts), 1, -1)]


def _judged(held: Held, rules: Rules, place: int) -> Judged | None:
    """A directory with its class, if it is cold."""
    needed = rules.cold_share * held.size_bytes
    for kind, days in CLASSES.items():
        if cold_bytes(held, max(days, rules.cold_after)) >= needed:
            cold = cold_bytes(held, rules.cold_after)
            return Judged(held, kind, score(held, rules.cold_after), cold, place)
    return None


def cold_bytes(held: Held, days: int) -> int:
    """The bytes that were last used so many days ago, or earlier."""
    return sum(size for age, size in zip(AGE_CLASSES, held.by_age, strict=False) if age >= days)


def score(held: Held, cold_after: int) -> int:
    """What was not used for long, by how long: bytes x days of where its class of age begins."""
    ages = zip(AGE_CLASSES, held.by_age, strict=False)
    return sum(size * age for age, size in ages if age >= cold_after)
