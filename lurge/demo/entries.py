"""
The numbers of made-up entries, drawn for thousands at a time, and their lines in today's form.

A file that is younger than a night's scan is absent from it. A file that is marked in a vault on
some nights has a link more on these. All else is the same every night.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lurge.demo.folders import Marked, Run
from lurge.demo.tree import DAY
from lurge.demo.words import DIRECTORY_KIND, FIRST_COMMON_KIND, MEDIANS, SPREADS
from lurge_types.batch import (
    APPARENT_SIZE,
    ATIME,
    CTIME,
    DEVICE,
    DIRECTORY,
    FILE,
    GID,
    INODE,
    LINKS,
    MTIME,
    NUMBER_COLUMNS,
    SIZE,
    TYPE,
    UID,
)

AT_A_TIME = 1 << 15
"""Entries whose numbers are drawn together. Names of one file are never further apart."""

HARD_LINKS = 0.05
"""The share of the names of files that are one of several names of a file."""

LINE = b'"%b"\t%d\t%d\t%d\t%d\t%d\t%d\t%c\t%d\t%d\t%d\t%d\n'

SYMLINK = ord("l")
SYMLINKS = 0.005
READ_LATER = 0.4
CHANGED_LATER = 0.15
BUSY_DAYS = 25
"""How long files come into a new directory, on average."""

FIRST_INODE = 0x200000401 << 24
FIRST_DEVICE = 1_182_790_704
INODE_STEP = 40

Columns = NDArray[np.int64]


class Entries(NamedTuple):
    """
    Entries of a volume in the order of their paths.

    paths: quoted; a path may come again, on other nights. numbers: as in a batch.
    first, last: the nights that have each entry. again: whether it is a further name of a file
    that was counted.
    """

    paths: list[bytes]
    numbers: Columns
    first: NDArray[np.int64]
    last: NDArray[np.int64]
    again: NDArray[np.bool_]

    def on(self, night: int) -> NDArray[np.bool_]:
        """Which of the entries a night has."""
        return (self.first <= night) & (night <= self.last)

    def lines(self) -> list[bytes]:
        """The entries as lines in today's form."""
        return list(map(LINE.__mod__, zip(self.paths, *self.numbers.tolist(), strict=True)))


class Numbers:
    """
    Draws sizes, times and inodes.

    volume: the volume's number. scan_times: of each night, the oldest first.
    hard_links: the share of the names of files that are one of several names of a file.
    """

    def __init__(
        self,
        volume: int,
        scan_times: Sequence[int],
        hard_links: float,
        dice: np.random.Generator,
    ) -> None:
        self._nights = np.array(scan_times)
        self._hard_links = hard_links
        self._dice = dice
        self._device = FIRST_DEVICE + volume
        self._inode = FIRST_INODE
        self._owed = 0.0
        self._marked: dict[int, Columns] = {}
        """The numbers of marked files with a name that is still to come, by inode."""

    def entries(self, runs: Iterator[Run]) -> Iterator[Entries]:
        """All entries of the runs, thousands at a time."""
        paths: list[bytes] = []
        some: list[Run] = []
        for run in runs:
            paths += [run.folder + name for name in run.names]
            some.append(run)
            if len(paths) >= AT_A_TIME:
                yield self._entries(paths, some)
                paths, some = [], []
        if some:
            yield self._entries(paths, some)

    def _entries(self, paths: list[bytes], runs: list[Run]) -> Entries:
        kinds = np.fromiter(chain.from_iterable(run.kinds for run in runs), np.int64, len(paths))
        owners = np.array([(run.uid, run.gid, run.born, run.until) for run in runs]).T
        owned = np.repeat(owners, [len(run.names) for run in runs], axis=1)
        marked = dict(_marked(runs))
        for place, file in marked.items():
            owned[:, place] = file.uid, file.gid, file.born, file.until
        uid, gid, born, until = owned
        numbers = np.empty((len(NUMBER_COLUMNS), len(paths)), np.int64)
        numbers[UID], numbers[GID] = uid, gid
        numbers[DEVICE] = self._device
        self._draw_types(numbers, kinds)
        self._draw_inodes(numbers)
        night = self._draw_times(numbers, kinds, born, until)
        again = np.zeros(len(paths), np.bool_)
        for place, file in marked.items():
            again[place] = self._mark(numbers[:, place], file)
        places = list(marked)
        night[places] = np.searchsorted(self._nights, numbers[MTIME, places])
        unmarked = numbers[TYPE] == FILE
        unmarked[places] = False
        common = unmarked & (kinds >= FIRST_COMMON_KIND) & (night == 0)
        self._owed += self._hard_links * np.count_nonzero(unmarked)
        for files in self._names_of_files(numbers[GID], kinds, common):
            numbers[:, files] = numbers[:, files[:, :1]]
            numbers[LINKS, files] = files.shape[1]
            again[files[:, 1:]] = True
            self._owed -= files.size
        last = np.full(len(paths), len(self._nights) - 1)
        return self._while_marked(Entries(paths, numbers, night, last, again), marked)

    def _mark(self, numbers: Columns, file: Marked) -> bool:
        """Let an entry be a name of a marked file; whether it is the second one."""
        if (known := self._marked.pop(file.inode, None)) is not None:
            numbers[:] = known
            return True
        numbers[TYPE], numbers[INODE], numbers[LINKS] = FILE, file.inode, file.links
        if file.links > 1:
            self._marked[file.inode] = numbers.copy()
        return False

    def _while_marked(self, made: Entries, marked: Mapping[int, Marked]) -> Entries:
        """
        Let files be in a vault only on the nights on which they are marked.

        The vault's name is there on these; the other name has one link before and afterwards.
        """
        newest = len(self._nights) - 1
        alone = []
        for place, file in marked.items():
            born, last = int(made.first[place]), min(file.last, newest)
            made.first[place], made.last[place] = max(born, file.first), last
            if made.again[place]:
                before, after = (born, file.first - 1), (max(born, last + 1), newest)
                alone += [(place, *nights) for nights in (before, after) if nights[0] <= nights[1]]
        return _with_alone(made, alone) if alone else made

    def _draw_types(self, numbers: Columns, kinds: NDArray[np.int64]) -> None:
        """Types and sizes; some common files become symbolic links."""
        count = len(kinds)
        sizes = MEDIANS[kinds] * np.exp(SPREADS[kinds] * self._dice.standard_normal(count))
        links = (self._dice.random(count) < SYMLINKS) & (kinds >= FIRST_COMMON_KIND)
        numbers[TYPE] = np.where(kinds == DIRECTORY_KIND, DIRECTORY, FILE)
        numbers[TYPE, links] = SYMLINK
        sizes[links] = self._dice.integers(40, 120, np.count_nonzero(links))
        numbers[SIZE] = numbers[APPARENT_SIZE] = sizes
        numbers[LINKS] = np.where(kinds == DIRECTORY_KIND, 2, 1)

    def _draw_inodes(self, numbers: Columns) -> None:
        steps = self._dice.integers(1, INODE_STEP, numbers.shape[1])
        numbers[INODE] = self._inode + np.cumsum(steps)
        self._inode = numbers[INODE, -1]

    def _draw_times(
        self,
        numbers: Columns,
        kinds: NDArray[np.int64],
        born: NDArray[np.int64],
        until: NDArray[np.int64],
    ) -> NDArray[np.int64]:
        """The times; the first night that has each entry. A night sees nothing that is later."""
        count = len(born)
        busy = self._dice.exponential(BUSY_DAYS * DAY, count)
        busy[kinds == DIRECTORY_KIND] = 0
        ends = np.minimum(until, self._nights[-1])
        modified = born + np.minimum(busy, (ends - born) * self._dice.random(count))
        numbers[MTIME] = modified
        night: NDArray[np.int64] = np.searchsorted(self._nights, numbers[MTIME])
        for column, chance in (ATIME, READ_LATER), (CTIME, CHANGED_LATER):
            ends = np.minimum(until, self._nights[night])
            later = (ends - modified) * self._dice.random(count)
            numbers[column] = modified + later * (self._dice.random(count) < chance)
        return night

    def _names_of_files(
        self, gid: NDArray[np.int64], kinds: NDArray[np.int64], common: NDArray[np.bool_]
    ) -> Iterator[NDArray[np.int64]]:
        """
        Which entries shall be one file, as arrays of shape (files, names of each).

        Half of the names owed lie near each other, mostly in one directory; the others lie anywhere
        and have two or three names a file. Names of a file are of one kind and mostly of one group.
        """
        owed = int(self._owed)
        found = np.flatnonzero(common)
        alike = found[np.lexsort((gid[found], kinds[found]))]
        pairs = alike[: len(alike) // 2 * 2].reshape(-1, 2)
        drawn = self._dice.permutation(len(pairs))
        yield pairs[drawn[: owed // 4]]
        apart = pairs[np.sort(drawn[owed // 4 : owed // 4 * 3]), 0]
        threes = len(apart) // 6 * 3
        yield apart[:threes].reshape(-1, 3)
        yield apart[threes : threes + (len(apart) - threes) // 2 * 2].reshape(-1, 2)


def _marked(runs: Sequence[Run]) -> Iterator[tuple[int, Marked]]:
    """Where there is a name of a marked file, counted over all runs, and which."""
    start = 0
    for run in runs:
        if run.marked:
            for place, name in enumerate(run.names, start):
                if name in run.marked:
                    yield place, run.marked[name]
        start += len(run.names)


def _with_alone(made: Entries, alone: Sequence[tuple[int, int, int]]) -> Entries:
    """Add entries with one link: like the one at a place, from one night to another."""
    places, first, last = np.array(alone).T
    numbers = made.numbers[:, places]
    numbers[LINKS] = 1
    paths = made.paths.copy()
    for place in sorted(places.tolist(), reverse=True):
        paths.insert(place, paths[place])
    return Entries(
        paths,
        np.insert(made.numbers, places, numbers, axis=1),
        np.insert(made.first, places, first),
        np.insert(made.last, places, last),
        np.insert(made.again, places, False),
    )
