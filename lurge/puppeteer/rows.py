"""
From what was found in vaults to files in the order of the TSV, or of their states; in chunks.

Files are objects only when they are asked for: a volume may have millions of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from heapq import nsmallest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.order import Order
from lurge_types.candidates import Marked
from lurge_types.reports import LARGEST_SHOWN
from lurge_types.vaults import VaultFile
from utils.path_rules import ShownPaths
from utils.paths import raw, text

FAULTS_SHOWN = 5
CHUNK_ROWS = 2000
NO_DAY = -1
FIRST_DAY = date(1970, 1, 1).toordinal()

FILE_COLUMNS = np.dtype(
    [
        ("inode", ">u8"),
        ("device", ">u8"),
        ("size", ">i8"),
        ("links", ">u8"),
        ("day", ">i4"),
        ("uid", ">u4"),
        ("gid", ">u4"),
        ("action", ">u2"),
        ("length", ">u4"),
    ]
)
"""
What is known of a file but its real path, whose bytes are counted: as bytes in the order of inodes.

The day is that of the last modification, counted from 1970, or `NO_DAY`.
"""


class Fault(NamedTuple):
    """What is wrong in a vault: a path in its text form, and the reason."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Faults:
    """How much is wrong, and the first few faults in the order of their paths."""

    count: int = 0
    first: tuple[Fault, ...] = ()

    def merge(self, other: "Faults") -> "Faults":
        """Both together, whichever was found first."""
        first = sorted((*self.first, *other.first))[:FAULTS_SHOWN]
        return Faults(self.count + other.count, tuple(first))


@dataclass(frozen=True, slots=True)
class Owners:
    """Whose are the files? `Owned` tells."""


@dataclass(frozen=True, slots=True)
class Put:
    """
    Put the files in the order of actions, groups, users and shown paths; `Counts` tell how many.

    gids and uids: all that there are, in their order.
    """

    gids: tuple[int, ...]
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Files:
    """Files `first` to `last`, in the order they were put in."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Largest:
    """The files with most bytes, largest first; those as large in the order they were put in."""


@dataclass(frozen=True, slots=True)
class States:
    """The states of files `first` to `last` in the order of states, 32 bytes each."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class At:
    """The files at some places in the order of states."""

    places: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Find:
    """
    Put the files of an action in the order of sizes, the largest first; `Found` tells of them.

    action, unless: in lower case. Those are left out whose inode is also of the action `unless`,
    and all but one of those that agree in everything.
    """

    action: str
    unless: str


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """Files `first` to `last` of those found: a list of `Marked`."""

    first: int
    last: int


Question = Owners | Put | Files | Largest | States | At | Find | FoundFiles


@dataclass(frozen=True, slots=True)
class Owned:
    """The groups and users that any file belongs to, each sorted."""

    gids: tuple[int, ...]
    uids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """
    The files of an action: of which groups, ascending; and how many were left out for the other.

    inodes, devices, sizes: of all of them.
    """

    gids: tuple[int, ...]
    left_out: int
    inodes: NDArray[np.uint64]
    devices: NDArray[np.uint64]
    sizes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Counts:
    """
    How much there is in vaults.

    broken: entries that say of no file where it was. copied: files whose keys are those of others.
    others: branches that are no actions, in text form, and how many files each of them has.
    """

    files: int
    broken: Faults
    copied: Faults
    others: tuple[tuple[str, int], ...]


class Rows:
    """
    The files of a scan that was looked through; nothing is looked at any more.

    files: rows of `FILE_COLUMNS`; paths: their real paths, one behind the other.
    """

    def __init__(  # noqa: PLR0917 - what a tally consists of
        self,
        actions: Sequence[str],
        symlinks: Mapping[bytes, bytes],
        files: bytearray,
        paths: bytearray,
        broken: Faults,
        copied: Faults,
        others: Mapping[bytes, int],
    ) -> None:
        self._actions = actions
        self._shown = ShownPaths(symlinks)
        self._files = np.frombuffer(files, FILE_COLUMNS)
        self._paths = paths
        self._ends = np.concatenate([[0], np.cumsum(self._files["length"], dtype=np.int64)])
        self._counts = Counts(
            len(self._files),
            broken,
            copied,
            tuple((text(branch), count) for branch, count in sorted(others.items())),
        )
        self._rank = np.empty(0, np.int64)
        self._order = Order(self._rank, self._keys)
        self._states: NDArray[np.void] | None = None
        self._by_state = np.empty(0, np.int64)
        self._found = np.empty(0, np.int64)
        self._by_size = Order(self._found, self._keys_by_size)

    def tell(self, question: Question) -> object:  # noqa: PLR0911 - one for each question
        """Answer a question."""
        if isinstance(question, Find | FoundFiles):
            return self._tell_of_action(question)
        match question:
            case Owners():
                return Owned(self._occurring("gid"), self._occurring("uid"))
            case Put(gids, uids):
                return self._put(gids, uids)
            case Files(first, last):
                return self._at(list(self._order.rows(first, last)))
            case Largest():
                return self._largest()
            case States(first, last):
                return self._sorted_states()[first:last].tolist()
            case At(places):
                self._sorted_states()
                return self._at(self._by_state[list(places)].tolist())

    def _occurring(self, column: str) -> tuple[int, ...]:
        return tuple(np.unique(self._files[column]).tolist())

    def _put(self, gids: Sequence[int], uids: Sequence[int]) -> Counts:
        """Order the files; those of one action, group and user when they are asked for."""
        names = [action.encode() for action in self._actions]
        action = _places(self._files["action"], sorted(range(len(names)), key=names.__getitem__))
        group = _places(self._files["gid"], gids)
        user = _places(self._files["uid"], uids)
        ranks = (action * len(gids) + group) * len(uids) + user
        self._rank = np.unique(ranks, return_inverse=True)[1]
        self._order = Order(self._rank, self._keys)
        return self._counts

    def _keys(self, rows: Sequence[int]) -> Iterator[bytes]:
        """
        What orders the files of an action, group and user: paths, inode, then whatever differs.

        No text form has a NUL.
        """
        for some in _chunks(rows):
            for row, (real, shown) in zip(some, self._named(some), strict=True):
                yield f"{shown}\0{real}\0".encode() + self._files[row : row + 1].tobytes()

    def _named(self, rows: Sequence[int]) -> list[tuple[str, str]]:
        """The paths of files, in text form: real, and as shown."""
        starts, ends = self._ends[rows].tolist(), self._ends[1:][rows].tolist()
        with memoryview(self._paths) as paths:
            real = [bytes(paths[start:end]) for start, end in zip(starts, ends, strict=True)]
        shown = self._shown.of_all(real)
        return list(zip(map(text, real), map(text, shown), strict=True))

    def _at(self, rows: Sequence[int]) -> list[VaultFile]:
        return list(map(self._file, self._files[rows].tolist(), self._named(rows)))

    def _file(self, columns: tuple[int, ...], paths: tuple[str, str]) -> VaultFile:
        inode, _, size, links, day, uid, gid, action, _ = columns
        modified = None if day == NO_DAY else date.fromordinal(FIRST_DAY + day)
        return VaultFile(self._actions[action], *paths, inode, size, uid, gid, modified, links)

    def _tell_of_action(self, question: Find | FoundFiles) -> object:
        match question:
            case Find(action, unless):
                return self._find(action, unless)
            case FoundFiles(first, last):
                return list(map(_marked, self._at(self._found_rows(first, last))))

    def _find(self, action: str, unless: str) -> Found:
        inodes = self._files["inode"]
        rows = np.flatnonzero(self._is_of(action))
        is_other = np.isin(inodes[rows], inodes[self._is_of(unless)])
        self._found = self._distinct(rows[~is_other])
        files = self._files[self._found]
        sizes = files["size"].astype(np.int64)
        ranks = np.unique(-sizes, return_inverse=True)[1]
        self._by_size = Order(ranks, self._keys_by_size)
        return Found(
            tuple(np.unique(files["gid"]).tolist()),
            int(is_other.sum()),
            files["inode"].astype(np.uint64),
            files["device"].astype(np.uint64),
            sizes,
        )

    def _is_of(self, action: str) -> NDArray[np.bool_]:
        numbers = [place for place, name in enumerate(self._actions) if name.lower() == action]
        return np.isin(self._files["action"], numbers)

    def _distinct(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The same files, but each state once: two vaults may hold one file."""
        _, which, counts = np.unique(
            self._files["inode"][rows], return_inverse=True, return_counts=True
        )
        states = set()
        is_again = np.zeros(len(rows), np.bool_)
        for some in _chunks(np.flatnonzero(counts[which] > 1).tolist()):
            for place, file in zip(some, self._at(rows[some].tolist()), strict=True):
                state = file.state()
                is_again[place] = state in states
                states.add(state)
        return rows[~is_again]

    def _found_rows(self, first: int, last: int) -> list[int]:
        rows: list[int] = self._found[list(self._by_size.rows(first, last))].tolist()
        return rows

    def _keys_by_size(self, places: Sequence[int]) -> Iterator[bytes]:
        """What orders the found files of a size."""
        for some in _chunks(places):
            for file in self._at(self._found[some].tolist()):
                yield raw(file.real_path) + b"\0" + file.state()

    def _largest(self) -> list[VaultFile]:
        sizes = self._files["size"].astype(np.int64)
        least = np.sort(sizes)[-LARGEST_SHOWN:][:1]  # nothing where there is no file
        rows = np.flatnonzero(sizes >= least).tolist()
        ranked = zip(-sizes[rows], self._rank[rows], self._keys(rows), rows, strict=True)
        return self._at([row for *_, row in nsmallest(LARGEST_SHOWN, ranked)])

    def _sorted_states(self) -> NDArray[np.void]:
        """The states of all files in their order, as 32 bytes each."""
        if self._states is None:
            states = np.frombuffer(b"".join(self._all_states()), "V32")
            self._by_state = np.argsort(states, kind="stable")
            self._states = states[self._by_state]
        return self._states

    def _all_states(self) -> Iterator[bytes]:
        for rows in _chunks(range(len(self._files))):
            yield from map(VaultFile.state, self._at(rows))


def _marked(file: VaultFile) -> Marked:
    return Marked(file.real_path, file.gid, file.size_bytes)


def _chunks(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[first : first + CHUNK_ROWS] for first in range(0, len(rows), CHUNK_ROWS))


def _places(values: NDArray[np.uint32], order: Sequence[int]) -> NDArray[np.int64]:
    """Where each value is in an order of all values."""
    sorter = np.argsort(order)
    places: NDArray[np.int64] = sorter[np.searchsorted(order, values, sorter=sorter)]
    return places
