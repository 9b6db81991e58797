"""What is foretold of a group's use: how fast it grows, and when a quota will be reached."""

from dataclasses import dataclass
from datetime import date
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Method = Literal["theil-sen", "no-change", "two-point", "-"]
"""How a rate is found; `-` where there are too few records."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """
    What is foretold of the bytes, or of the inodes, that a group uses on a volume.

    method: by which the rate is found, and rate: how many more there are expected each day.
    theil_sen, two_point: the rates by these methods, kept so that it can be told later which of
        them would have been right; None where there are too few records.
    likely, earliest, latest: the days on which the quota is reached, the last two the ends of an
        80 % interval; None where there is no quota, or that is more than five years away or never.
    """

    method: Method = "-"
    rate: int = 0
    theil_sen: int | None = None
    two_point: int | None = None
    likely: date | None = None
    earliest: date | None = None
    latest: date | None = None


UNKNOWN = Forecast()


@dataclass(frozen=True, slots=True)
class Kept:
    """
    What the records of a volume say of one thing, bytes or inodes: a float64 for each record.

    used: how much. theil_sen, two_point: the rates that were kept, NaN where there are none.
    """

    used: NDArray[np.float64]
    theil_sen: NDArray[np.float64]
    two_point: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class History:
    """
    Records of the groups of a volume, as columns of one length, in any order.

    gid: int64. day: int64, the record date as `date.toordinal` counts. suspect: bool.
    """

    gid: NDArray[np.int64]
    day: NDArray[np.int64]
    suspect: NDArray[np.bool_]
    used_bytes: Kept
    inodes: Kept


class Present(NamedTuple):
    """What a group uses on the record date; a quota is None or 0 where there is none."""

    gid: int
    suspect: bool
    used_bytes: int
    inodes: int
    quota_bytes: int | None
    quota_inodes: int | None


class Foretold(NamedTuple):
    """What is foretold of a group."""

    used_bytes: Forecast
    inodes: Forecast
