"""
From the inspector's sums to rows in the order of the TSV, a chunk at a time.

Only the rows of one base directory are objects at a time, so that a million rows need no more
memory than their sums.

Whoever looks for archive candidates asks first: until something else is asked, the directories are
there as they were before small ones were folded, and so are the inodes with several names.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from lurge.inspector import loops
from lurge.inspector.rules import Rules
from lurge.tallies.order import Order
from lurge.tallies.table import PART_LINKS, LinkSet, SumTable
from lurge.tallies.table_loops import NEWEST, hash_bytes, part_of_links
from lurge.tallies.tally import SumOverflow
from lurge_types.candidates import KINDS, VAULT, Held
from lurge_types.reports import (
    AGE_CLASSES,
    DIRECTLY,
    FOLDED,
    LARGEST_SHOWN,
    NOWHERE,
    UNKNOWN_AGE,
    BaseDirectory,
    BaseUse,
    DirectoryReport,
    Part,
    days_between,
)
from utils.path_rules import ShownPaths, as_array
from utils.paths import text

AGE_KINDS = (*AGE_CLASSES, UNKNOWN_AGE)
SLASH = b"/"
"""Behind the path of a base directory: the name of the row of its smallest directories."""

IN_VAULT = b"/.vault/"


@dataclass(frozen=True, slots=True)
class Groups:
    """Which groups have anything? A list of gids."""


@dataclass(frozen=True, slots=True)
class Put:
    """Put the rows in the order of groups: `gids`, then of paths. `Counts` tell how many."""

    gids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Directories:
    """Rows `first` to `last` of the directories, in the order they were put in."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Bases:
    """Rows `first` to `last` of the base directories, in the order they were put in."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Largest:
    """The rows with most bytes, largest first."""


@dataclass(frozen=True, slots=True)
class Large:
    """
    Put the directories of real trees in order that hold so many bytes over all groups; how many.

    Only trees: whatever lies below one of them counts to it, unless a base rule begins there.
    """

    least: int


@dataclass(frozen=True, slots=True)
class Holdings:
    """What directories `first` to `last` of the large ones hold: a list of `Held`."""

    first: int
    last: int


@dataclass(frozen=True, slots=True)
class Freed:
    """
    The bytes that go with some large directories and some files, each inode once; a list by kind.

    places: of the directories, and of each the place of its class in `KINDS`. inodes, devices,
    sizes: of the files, which are of kind `VAULT`; an inode of several kinds is of the last.
    """

    places: NDArray[np.int64]
    kinds: NDArray[np.int64]
    inodes: NDArray[np.uint64]
    devices: NDArray[np.uint64]
    sizes: NDArray[np.int64]


Question = Groups | Put | Directories | Bases | Largest | Large | Holdings | Freed


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows there are; and how many were folded, in how many base directories."""

    directories: int
    bases: int
    folded: int
    folded_bases: int


@dataclass(slots=True)
class Unfolded:
    """
    The directories before any was folded, with what they sum up to, and the links in those sums.

    Number `i` of the large ones is the rows `large[ends[i] : ends[i + 1]]`, of different groups.
    """

    directories: SumTable
    sums: NDArray[np.int64]
    links: LinkSet
    large: NDArray[np.int64]
    ends: NDArray[np.int64]


class Rows:
    """The rows of a scan that was counted; nothing is counted any more."""

    def __init__(  # noqa: PLR0917 - what a tally consists of
        self,
        rules: Rules,
        layout: loops.Layout,
        bases: SumTable,
        directories: SumTable,
        links: LinkSet,
        vaults: set[bytes],
        kept: LinkSet,
    ) -> None:
        self._rules = rules
        self._shown = ShownPaths(rules.symlinks)
        self._vaults = sorted(vaults)
        self._bases = bases
        self._layout = layout
        self._folded = self._folded_bases = 0
        self._add_base_links(directories, links)
        sums = directories.sums.copy() if rules.rows_per_base else directories.sums
        self._add_links(links, kept, sums)
        nothing = np.zeros(0, np.int64)
        self._unfolded: Unfolded | None = Unfolded(directories, sums, links, nothing, nothing)
        self._directories = directories
        if rules.rows_per_base and (small := self._small(sums, rules.rows_per_base)).any():
            self._directories, renumbered = self._fold(directories, small)
            sums = self._directories.sums
            for part in links.regrouped(renumbered):
                self._add_links(part, kept, sums)
        self._sums = sums
        self._base_of = self._bases_of(self._directories)
        self._known = sorted({*rules.bases, *map(bases.name, range(len(bases)))})
        self._rank = np.empty(0, np.int64)
        self._order = Order(self._rank, self._keys)
        self._named: list[BaseDirectory] = []
        self._base_order: list[int] = []

    def _add_links(self, links: LinkSet, kept: LinkSet, sums: NDArray[np.int64]) -> None:
        types = len(self._rules.file_types) + 1
        if loops.sum_links(links.rows, links.values, self._rules.scan_time, types, sums):
            raise SumOverflow
        loops.sum_kept(links.arrays, kept.arrays, sums)

    def _add_base_links(self, directories: SumTable, links: LinkSet) -> None:
        """Count a link once in each base directory, however many directories there hold it."""
        for part in links.regrouped(self._bases_of(directories)):
            if loops.sum_base_links(part.rows, part.values, self._bases.sums):
                raise SumOverflow

    def _bases_of(self, directories: SumTable) -> NDArray[np.int64]:
        found = np.empty(len(directories), np.int64)
        self._bases.reserve(1, 0)
        loops.bases_of(directories.arrays, self._bases.arrays, self._layout, found)
        return found

    def _small(self, sums: NDArray[np.int64], most: int) -> NDArray[np.bool_]:
        """
        Which directories are not among the `most` - 1 largest of a base that has more.

        One that is called `FOLDED` is small, whatever its size: no two rows have one key.
        """
        base_of = self._bases_of(self._directories)
        small = np.zeros(len(base_of), np.bool_)
        for base in np.flatnonzero(np.bincount(base_of, minlength=1) > most):
            rows = np.flatnonzero(base_of == base)
            names = {row: self._directories.name(row) for row in rows.tolist()}
            largest = sorted(
                names,
                key=lambda row: (
                    self._directory(row) == FOLDED,
                    -sums[row, loops.BYTES],
                    names[row],
                ),
            )
            small[largest[most - 1 :]] = True
            self._folded += len(largest) - most + 1
            self._folded_bases += 1
        return small

    def _fold(
        self, directories: SumTable, small: NDArray[np.bool_]
    ) -> tuple[SumTable, NDArray[np.int64]]:
        """The same rows, but one for the small ones of each base directory; which each row is."""
        base_of = self._bases_of(directories)
        folded = SumTable(directories.sums.shape[1], maxima=loops.MAXIMA)
        renumbered = np.empty(len(directories), np.int64)
        for row in range(len(directories)):
            name = directories.name(row)
            if small[row]:
                name = self._bases.name(base_of[row]) + SLASH
            piece = (
                np.array([[hash_bytes(as_array(name)), directories.keys[row, 1]]], np.uint64),
                directories.sums[row : row + 1],
                np.array([0, len(name)]),
                as_array(name),
            )
            renumbered[row] = folded.merge(piece)[0]
        return folded, renumbered

    def tell(self, question: Question) -> object:
        """Answer a question."""
        if isinstance(question, Large | Holdings | Freed):
            return self._tell_unfolded(question)
        self._unfolded = None  # its links may be gigabytes
        match question:
            case Groups():
                return sorted({self._gid(base) for base in range(len(self._bases))})
            case Put(gids):
                return self._put(gids)
            case Directories(first, last):
                return list(map(self._report, self._order.rows(first, last)))
            case Bases(first, last):
                return list(map(self._use, self._base_order[first:last]))
            case Largest():
                return self._largest()

    def _tell_unfolded(self, question: Large | Holdings | Freed) -> object:
        whole = self._unfolded
        if whole is None:
            raise ValueError("what candidates need is gone: they must be asked for first")
        match question:
            case Large(least):
                return _find_large(whole, least)
            case Holdings(first, last):
                return self._holdings(whole, first, last)
            case Freed():
                return _freed(whole, question)

    def _holdings(self, whole: Unfolded, first: int, last: int) -> list[Held]:
        last = min(last, len(whole.ends) - 1)
        ends = whole.ends.tolist()
        return [
            self._held(whole, whole.large[ends[place] : ends[place + 1]].tolist())
            for place in range(first, last)
        ]

    def _held(self, whole: Unfolded, rows: list[int]) -> Held:
        """What the rows of one directory amount to."""
        name = whole.directories.name(rows[0])
        seconds = whole.directories.keys[rows, 1].tolist()
        sums = whole.sums[rows].sum(axis=0).tolist()
        ages = loops.PARTS + 2 * (len(self._rules.file_types) + 1)
        below = seconds[0] & ((1 << loops.BASE_BITS) - 1)
        return Held(
            directory=text(name[below:]),
            real_path=text(name),
            gids=tuple(sorted(second >> loops.BASE_BITS for second in seconds)),
            files=sums[loops.FILES],
            size_bytes=sums[loops.BYTES],
            by_age=tuple(sums[ages + 1 :: 2]),
            last_used_days=self._days(max(whole.sums[rows, loops.USED].tolist())),
            kept_files=sums[loops.KEPT],
            holds_vault=self._holds_vault(name),
            lies_above=_below(self._known, name),
            is_whole=True,
        )

    def _holds_vault(self, name: bytes) -> bool:
        return IN_VAULT in name + SLASH or _below(self._vaults, name)

    def _gid(self, base: int) -> int:
        return int(self._bases.keys[base, 1]) >> loops.BASE_BITS

    def _put(self, gids: Sequence[int]) -> Counts:
        """Order the base directories, and the rows by them."""
        place = {gid: number for number, gid in enumerate(gids)}
        self._named = [self._base(base) for base in range(len(self._bases))]
        shown = [
            (place[self._gid(base)], named.shown.encode()) for base, named in enumerate(self._named)
        ]
        order = sorted(zip(shown, self._named, range(len(shown)), strict=True))
        self._base_order = [base for _, _, base in order]
        ranks = {key: rank for rank, key in enumerate(sorted(set(shown)))}
        self._rank = np.array([ranks[key] for key in shown], np.int64)
        self._order = Order(self._rank[self._base_of], self._keys)
        return Counts(len(self._directories), len(self._bases), self._folded, self._folded_bases)

    def _base(self, base: int) -> BaseDirectory:
        if not self._bases.keys[base, 1] & np.uint64((1 << loops.BASE_BITS) - 1):
            return BaseDirectory(NOWHERE, NOWHERE)
        real = self._bases.name(base) or SLASH
        return BaseDirectory(text(real), text(self._shown.of(real)))

    def _keys(self, rows: Sequence[int]) -> Iterator[bytes]:
        return map(self._key, rows)

    def _key(self, row: int) -> bytes:
        """What orders the rows of a group and base directory as shown; no text form has a NUL."""
        return f"{self._directory(row)}\0{self._named[self._base_of[row]].real}".encode()

    def _below_base(self, row: int) -> int:
        """Where in a row's name the part below its base directory begins, or 0 if it has none."""
        return int(self._directories.keys[row, 1]) & ((1 << loops.BASE_BITS) - 1)

    def _directory(self, row: int) -> str:
        """The directory of a row below its base directory, in its text form."""
        base = self._below_base(row)
        if not base:
            return NOWHERE
        name = self._directories.name(row)
        if name.endswith(SLASH):
            return FOLDED
        return text(name[base:]) or DIRECTLY

    def _report(self, row: int) -> DirectoryReport:
        base = int(self._base_of[row])
        sums = self._sums[row].tolist()
        types = len(self._rules.file_types) + 1
        parts = loops.PARTS + 2 * types
        name = self._directories.name(row)
        below = self._below_base(row)
        is_real = below > 0 and not name.endswith(SLASH)
        is_tree = is_real and len(name) > below
        return DirectoryReport(
            gid=self._gid(base),
            base=self._named[base],
            directory=self._directory(row),
            real_path=text(name or SLASH) if is_real else None,
            files=sums[loops.FILES],
            size_bytes=sums[loops.BYTES],
            last_modified_days=self._days(sums[NEWEST]),
            last_used_days=self._days(sums[loops.USED]),
            by_type=_parts(range(types), sums[loops.PARTS : parts]),
            by_age=_parts(AGE_KINDS, sums[parts:]),
            kept_files=sums[loops.KEPT],
            holds_vault=is_tree and self._holds_vault(name),
            lies_above=is_tree and _below(self._known, name),
        )

    def _days(self, time: int) -> Decimal | None:
        return days_between(time, self._rules.scan_time) if time else None

    def _use(self, base: int) -> BaseUse:
        newest, _, used, inodes = self._bases.sums[base].tolist()
        return BaseUse(self._gid(base), self._named[base], used, inodes, self._days(newest))

    def _largest(self) -> list[DirectoryReport]:
        """Ties go by the order that the rows were put in."""
        sizes = self._sums[:, loops.BYTES]
        least = np.sort(sizes)[-LARGEST_SHOWN:][:1]  # nothing where there is no row
        rows = np.flatnonzero(sizes >= least).tolist()
        rows.sort(key=lambda row: (-sizes[row], self._rank[self._base_of[row]], self._key(row)))
        return list(map(self._report, rows[:LARGEST_SHOWN]))


def _find_large(whole: Unfolded, least: int) -> int:
    """Find the rows that have one name; names are told apart only where there is enough."""
    keys, sums = whole.directories.keys, whole.sums
    below = (keys[:, 1] & np.uint64((1 << loops.BASE_BITS) - 1)).astype(np.int64)
    rows = np.flatnonzero(below)
    rows = rows[np.argsort(keys[rows, 0], kind="stable")]
    starts = np.flatnonzero(np.diff(keys[rows, 0], prepend=~keys[rows[:1], 0]))
    sizes = np.add.reduceat(sums[rows, loops.BYTES], starts) if len(rows) else rows
    stops = np.append(starts[1:], len(rows))
    found: list[list[int]] = []
    for group in np.flatnonzero(sizes >= least).tolist():
        named: dict[bytes, list[int]] = {}
        for row in rows[starts[group] : stops[group]].tolist():
            named.setdefault(whole.directories.name(row), []).append(row)
        for name, of_name in named.items():
            is_tree = len(name) > below[of_name].max()  # else files directly in a base directory
            if is_tree and sums[of_name, loops.BYTES].sum() >= least:
                found.append(of_name)
    whole.large = np.array([row for of_name in found for row in of_name], np.int64)
    whole.ends = np.cumsum([0, *map(len, found)])
    return len(found)


def _freed(whole: Unfolded, asked: Freed) -> list[int]:
    """
    Sum up the rows; then count their links, and the files, once instead.

    All links of an inode are in one part, so that no second copy of all links is needed.
    """
    kind_of = np.full(len(whole.directories), -1, np.int64)
    for place, kind in zip(asked.places.tolist(), asked.kinds.tolist(), strict=True):
        kind_of[whole.large[whole.ends[place] : whole.ends[place + 1]]] = kind
    chosen = kind_of >= 0
    bytes_of = np.zeros(len(KINDS), np.int64)
    np.add.at(bytes_of, kind_of[chosen], whole.sums[chosen, loops.BYTES])
    parts = -(-(len(whole.links) + len(asked.inodes)) // PART_LINKS)
    for part in range(parts):
        seen = LinkSet(2)
        for rows, inodes, devices, values in whole.links.pieces():
            some = part_of_links(inodes, part, parts)
            some = some[chosen[rows[some]]]
            kinds, sizes = kind_of[rows[some]], values[some, loops.LINK_SIZE]
            np.subtract.at(bytes_of, kinds, sizes)
            seen.reserve(len(some))
            loops.note_links(inodes[some], devices[some], sizes, kinds, seen.arrays)
        some = part_of_links(asked.inodes, part, parts)
        kinds = np.full(len(some), KINDS.index(VAULT))
        seen.reserve(len(some))
        loops.note_links(
            asked.inodes[some], asked.devices[some], asked.sizes[some], kinds, seen.arrays
        )
        np.add.at(bytes_of, seen.values[:, 1], seen.values[:, 0])
    freed: list[int] = bytes_of.tolist()
    return freed


def _parts(kinds: Sequence[int], sums: Sequence[int]) -> tuple[Part, ...]:
    return tuple(
        Part(kind, files, size)
        for kind, files, size in zip(kinds, sums[::2], sums[1::2], strict=True)
        if files
    )


def _below(paths: Sequence[bytes], path: bytes) -> bool:
    """Whether any of some sorted paths lies below a path."""
    place = bisect_left(paths, path + SLASH)
    return place < len(paths) and paths[place].startswith(path + SLASH)
