"""Made-up histories as the forecasts are given them: groups of one kind, a record for each day."""

from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lurge.demo.histories import KINDS
from lurge_types.forecasts import History, Kept

Whole = NDArray[np.int64]

TIB = 2**40


@dataclass(frozen=True, slots=True)
class Grown:
    """What groups used on each day, groups by days, and where it fell by more than a share."""

    used_bytes: Whole
    inodes: Whole
    suspect: NDArray[np.bool_]


def as_history(grown: Grown, first: date) -> History:
    """Records of groups numbered from 1, one for each day, without rates."""
    groups, days = grown.used_bytes.shape
    return History(
        gid=np.repeat(np.arange(1, groups + 1), days),
        day=np.tile(first.toordinal() + np.arange(days), groups),
        suspect=grown.suspect.ravel(),
        used_bytes=_without_rates(grown.used_bytes),
        inodes=_without_rates(grown.inodes),
    )


def _without_rates(used: Whole) -> Kept:
    unknown = np.full(used.size, np.nan)
    return Kept(used.ravel().astype(np.float64), unknown, unknown)


def grow(kind: str, seed: int, groups: int, days: int, suspect_fall: float = 0.2) -> Grown:
    """The histories of some groups of a kind: from hundreds of GiB to hundreds of TiB."""
    rng = np.random.default_rng([seed, list(KINDS).index(kind)])
    shape = KINDS[kind](rng, groups, days)
    size = TIB * rng.lognormal(2, 1.5, (groups, 1))
    mean_file = rng.lognormal(14, 1.2, (groups, 1))
    used = np.rint(np.maximum(shape, 0) * size).astype(np.int64)
    fell = used[:, 1:] < used[:, :-1] * (1 - suspect_fall)
    suspect = np.concatenate([np.zeros((groups, 1), np.bool_), fell], axis=1)
    return Grown(used, np.rint(used / mean_file).astype(np.int64), suspect)
