"""What each group uses of a made-up volume: on its oldest night, on its newest, and long before."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date

import numpy as np
from numpy.typing import NDArray

from lurge.demo.entries import Entries
from lurge.demo.histories import KINDS
from lurge.demo.people import FIRST_GID, People
from lurge_types.batch import GID, SIZE

Whole = NDArray[np.int64]

ROOT = 0
"""The gid of administrators."""

DAYS = 365
"""Before the oldest night."""

SPARE_DAYS = 60
"""So many more days are made up, of which each group's history ends on one that is quiet."""

QUIET_DAYS, QUIET_FALL = 8, 0.05
"""Before the oldest night no group has less than the day before by more than this share."""


class Counted:
    """Counts what groups use on each night."""

    def __init__(self, people: People, nights: int) -> None:
        self._gids = np.array([ROOT, *range(FIRST_GID, FIRST_GID + len(people.groups))])
        self._bytes = np.zeros((nights, len(self._gids)), np.int64)
        self._inodes = np.zeros((nights, len(self._gids)), np.int64)

    def add(self, entries: Entries) -> None:
        """Count entries, a file once."""
        place = np.maximum(entries.numbers[GID] - FIRST_GID + 1, 0)
        for night in range(len(self._bytes)):
            counted = entries.on(night) & ~entries.again
            np.add.at(self._bytes[night], place[counted], entries.numbers[SIZE, counted])
            self._inodes[night] += np.bincount(place[counted], minlength=len(self._gids))

    def use(self) -> "Use":
        """What there is on the oldest night and on the newest, of groups with entries on both."""
        there = np.flatnonzero(self._inodes[0])
        return Use(
            self._gids[there],
            *(of[[0, -1]][:, there] for of in (self._bytes, self._inodes)),
        )


@dataclass(frozen=True, slots=True)
class Use:
    """
    What groups use on the oldest night and on the newest: nights by groups.

    gids: ascending.
    """

    gids: Whole
    used_bytes: Whole
    inodes: Whole


@dataclass(frozen=True, slots=True)
class Past:
    """
    What groups of a volume used on the days up to the oldest night: groups by days.

    The last column is that night's, as its scan has it. gids: ascending. archived: those of groups
    whose files were archived before. last: the day of the oldest night.
    """

    volume: str
    gids: Whole
    used_bytes: Whole
    inodes: Whole
    archived: Collection[int]
    last: date


def grown(
    volume: str, last: date, use: Use, archived: Collection[int], dice: np.random.Generator
) -> Past:
    """
    Make up how the use has come about in a year; that of archived groups has not changed.

    Each group is of one of the kinds of histories.
    """
    days = DAYS + 1
    kinds = dice.integers(0, len(KINDS), len(use.gids))
    shapes = np.empty((len(use.gids), days))
    for number, make in enumerate(KINDS.values()):
        mine = np.flatnonzero(kinds == number)
        made = np.maximum(make(dice, len(mine), days + SPARE_DAYS), 0)
        for row, shape in zip(mine.tolist(), made, strict=True):
            end = _quiet_end(shape)
            shapes[row] = shape[end - days : end] / shape[end - 1]
    shapes[np.isin(use.gids, list(archived))] = 1
    used_bytes, inodes = (
        np.rint(shapes * now[0][:, None]).astype(np.int64) for now in (use.used_bytes, use.inodes)
    )
    return Past(volume, use.gids, used_bytes, inodes, archived, last)


def _quiet_end(shape: NDArray[np.float64]) -> int:
    """Behind the last day before which nothing was cleaned up for some days."""
    fell = shape[1:] < shape[:-1] * (1 - QUIET_FALL)
    end = len(shape)
    while fell[end - 1 - QUIET_DAYS : end - 1].any() and end > len(shape) - SPARE_DAYS:
        end -= 1
    return end
