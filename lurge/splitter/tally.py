"""
What the splitter adds up: lines and directories of each group, and their text in a part file.

The text of each group is held until it is worth a gzip member, or there is no more room. Only what
is too little for a member when room is needed, or at the end, is written as it is; joining all
parts makes members of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lurge.splitter import loops
from lurge.splitter.parts import TABLE_BYTES, Part, PartFile, SplitFailed, compress
from lurge.tallies.table import SumTable
from lurge.tallies.tally import Piece
from lurge_types.batch import Batch
from utils.wrstat_loops import LONGEST_LINE

LEAST_TEXT = 64 << 10
"""Bytes of text that a member has at least, where there is that much."""

SCRATCH_BYTES = loops.MEMBER_TEXT + LONGEST_LINE + 1
"""No chain is longer: it makes a member as soon as it has that much text."""

RANGES_AT_ONCE = 4096
BESIDE_POOL = 4 * SCRATCH_BYTES + TABLE_BYTES + (1 << 20)
"""Bytes of the scratch, of what compressing needs and gives, of the tables."""

LEAST_CHUNKS = 2 * -(-(LONGEST_LINE + 1) // loops.CHUNK)
"""Half of them have room for the longest line."""

PARTS, COUNTS = "parts", "counts"


@dataclass(frozen=True, slots=True)
class GroupSum:
    """What a group has: lines, those of them that are directories, ranges in the part files."""

    lines: int
    directories: int
    ranges: int


@dataclass(frozen=True, slots=True)
class Split:
    """A volume's part files, and what each group has by its gid."""

    parts: tuple[Part, ...]
    groups: dict[int, GroupSum]


class SplitTally:
    """
    Splits raw lines by the entries' own group.

    folder: for the part file; None: lines are only counted. budget_bytes: of memory while it
    counts; besides it has one or two hundred bytes a group.
    """

    def __init__(self, folder: Path | None, budget_bytes: int) -> None:
        self._table = SumTable(loops.COLUMNS, maxima=0)
        self._chains = _Chains(folder, budget_bytes, self._table) if folder else None
        self._parts: tuple[Part, ...] = ()
        self._trouble: str | None = None

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch, and hold or write their lines."""
        self._table.reserve(len(batch))
        if self._chains is None:
            loops.count(batch.gid, batch.type, self._table.arrays)
            return
        try:
            self._chains.add(batch)
        except SplitFailed as error:
            self._fail(str(error))

    def end(self) -> None:
        """Write all that is held, and free the memory for it."""
        if self._chains is None:
            return
        try:
            self._parts += self._chains.end()
        except SplitFailed as error:
            self._fail(str(error))
        self._chains = None

    def pieces(self) -> Iterator[Piece]:
        """All that was counted and where it was written."""
        self.end()
        yield PARTS, (self._parts, self._trouble)
        for piece in self._table.pieces():
            yield COUNTS, piece

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another tally has counted and written.

        Raises SumOverflow.
        """
        for kind, piece in pieces:
            if kind == COUNTS:
                self._table.merge(piece)
                continue
            parts, trouble = piece
            self._parts += parts
            if trouble:
                self._fail(trouble)

    def tell(self, _: object = None) -> Split:
        """
        What was written for whom.

        Raises SplitFailed.
        """
        self.end()
        if self._trouble:
            raise SplitFailed(self._trouble)
        gids = self._table.keys[:, 0].tolist()
        sums = self._table.sums[:, : loops.RANGES + 1].tolist()
        return Split(
            self._parts, {gid: GroupSum(*each) for gid, each in zip(gids, sums, strict=True)}
        )

    def _fail(self, trouble: str) -> None:
        """Nothing more is written: other reports of the volume are to go on."""
        self._trouble = self._trouble or trouble
        self._chains = None


class _Chains:
    """The text that is held, and the part file that it goes to."""

    def __init__(self, folder: Path, budget_bytes: int, table: SumTable) -> None:
        self._file = PartFile(folder)
        self._table = table
        per_chunk = loops.CHUNK + np.dtype(np.int64).itemsize
        self._chunks = max(LEAST_CHUNKS, (budget_bytes - BESIDE_POOL) // per_chunk)
        self._pool = loops.Pool(
            text=np.empty(self._chunks * loops.CHUNK, np.uint8),  # memory comes with use
            after=np.arange(1, self._chunks + 1),
            free=np.array([0, self._chunks]),
        )
        self._scratch = np.empty(SCRATCH_BYTES, np.uint8)
        self._ranges = np.empty((RANGES_AT_ONCE, loops.RANGE_COLUMNS), np.int64)

    def add(self, batch: Batch) -> None:
        """Raises SplitFailed."""
        entry = 0
        while entry < len(batch):
            entry, row = loops.split(
                batch.raw,
                batch.starts,
                batch.ends,
                batch.gid,
                batch.type,
                entry,
                self._table.arrays,
                self._pool,
            )
            if row == loops.NO_ROOM:
                self._make_room()
            elif row != loops.ALL_TAKEN:
                self._write_member(row)

    def end(self) -> tuple[Part, ...]:
        """
        Write everything; the part file, if there is one.

        Raises SplitFailed.
        """
        self._write_members(self._chunks)
        self._write_texts()
        part = self._file.close()
        return (part,) if part else ()

    def _make_room(self) -> None:
        """Write until half of the pool is free: members, and all the rest if they are too few."""
        enough = -(-self._chunks // 2)
        self._write_members(enough)
        if self._pool.free[1] < enough:
            self._write_texts()

    def _write_members(self, enough: int) -> None:
        """Write members, largest first, until enough chunks are free or chains are too short."""
        held = self._table.sums[:, loops.HELD]
        worth = np.flatnonzero(held >= LEAST_TEXT)
        for row in worth[np.argsort(-held[worth])].tolist():
            if self._pool.free[1] >= enough:
                break
            self._write_member(row)

    def _write_member(self, row: int) -> None:
        end = loops.gather(self._table.sums, row, self._pool, self._scratch, 0)
        self._file.append_member(int(self._table.keys[row, 0]), compress(self._scratch[:end]))

    def _write_texts(self) -> None:
        """Write all that is held, as it is."""
        keys, sums = self._table.keys, self._table.sums
        row = 0
        while row < len(sums):
            row, end, ranges = loops.gather_all(
                keys, sums, row, self._pool, self._scratch, self._ranges
            )
            if ranges:
                self._file.append(self._scratch[:end].data, self._ranges[:ranges])
