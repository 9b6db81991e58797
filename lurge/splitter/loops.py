"""
The compiled loops that copy lines into chains of chunks, one chain for each group, and out again.

All chunks lie in one pool. A chain is full but for its last chunk; a line may begin in one chunk
and end in another. Chunks that become free are taken again first, so that no more of the pool is
ever touched than was needed at once.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.table_loops import Rows, find_row
from lurge_types.batch import DIRECTORY
from utils.compiled import compiled

CHUNK = 4096
"""Bytes of a chunk: half of one is lost for each group, and a group needs one at least."""

MEMBER_TEXT = 1 << 20
"""Bytes of text that make a gzip member."""

LINES, DIRECTORIES, RANGES, HELD, FIRST, LAST = range(6)
"""Columns of a group's row; the last three are its chain: bytes, first and last chunk."""
COLUMNS = 6

GID, KIND, START, LENGTH = range(4)
RANGE_COLUMNS = 4
"""Columns of a range of a part file."""
MEMBER, TEXT = range(2)
"""Kinds of ranges: a gzip member, or plain lines."""

ALL_TAKEN, NO_ROOM = -1, -2
"""Instead of the row of a chain that makes a member."""


class Pool(NamedTuple):
    """
    Chunks, and what follows what.

    text: uint8, chunk `c` is `text[c * CHUNK : (c + 1) * CHUNK]`. after: int64, the chunk behind
    each one, of a chain or of those that are free. free: int64 of shape (2,): the first that is
    free, and how many are.
    """

    text: NDArray[np.uint8]
    after: NDArray[np.int64]
    free: NDArray[np.int64]


@compiled
def _find(rows: Rows, gid: np.uint64) -> int:
    return find_row(rows, gid, np.uint64(0), rows.names[:0])


@compiled
def _append(line: NDArray[np.uint8], chain: NDArray[np.int64], pool: Pool) -> bool:
    """Copy a line behind a chain; whether there was room for it, else nothing is done."""
    held = chain[HELD]
    needed = (held + len(line) + CHUNK - 1) // CHUNK - (held + CHUNK - 1) // CHUNK
    if needed > pool.free[1]:
        return False
    at = 0
    while at < len(line):
        place = held % CHUNK
        if place == 0:
            chunk = pool.free[0]
            pool.free[0] = pool.after[chunk]
            pool.free[1] -= 1
            if held == 0:
                chain[FIRST] = chunk
            else:
                pool.after[chain[LAST]] = chunk
            chain[LAST] = chunk
        count = min(CHUNK - place, len(line) - at)
        start = chain[LAST] * CHUNK + place
        source = line[at : at + count]
        target = pool.text[start : start + count]
        for k in range(count):
            target[k] = source[k]
        at += count
        held += count
    chain[HELD] = held
    return True


@compiled
def count(gids: NDArray[np.int64], types: NDArray[np.int64], rows: Rows) -> None:
    """Count lines and directories, and copy nothing."""
    for i in range(len(gids)):
        row = _find(rows, np.uint64(gids[i]))
        rows.sums[row, LINES] += 1
        rows.sums[row, DIRECTORIES] += types[i] == DIRECTORY


@compiled
def split(
    raw: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    gids: NDArray[np.int64],
    types: NDArray[np.int64],
    entry: int,
    rows: Rows,
    pool: Pool,
) -> tuple[int, int]:
    """
    (next entry, row): copy lines from `entry` on, until a row's chain makes a member.

    Or, instead of the row, until all are taken or there is no room for the next. Neighbours mostly
    have one group, so the row of the entry before is tried first.
    """
    row = -1
    for i in range(entry, len(gids)):
        gid = np.uint64(gids[i])
        if row < 0 or rows.keys[row, 0] != gid:
            row = _find(rows, gid)
        sums = rows.sums[row]
        if not _append(raw[starts[i] : ends[i]], sums, pool):
            return i, NO_ROOM
        sums[LINES] += 1
        sums[DIRECTORIES] += types[i] == DIRECTORY
        if sums[HELD] >= MEMBER_TEXT:
            return i + 1, row
    return len(gids), ALL_TAKEN


@compiled
def gather(sums: NDArray[np.int64], row: int, pool: Pool, into: NDArray[np.uint8], at: int) -> int:
    """Move the text of a row's chain to `into[at:]`, which has room for it; where it ends there."""
    chain = sums[row]
    end = at + chain[HELD]
    chunk = chain[FIRST]
    while at < end:
        length = min(CHUNK, end - at)
        source = pool.text[chunk * CHUNK : chunk * CHUNK + length]
        target = into[at : at + length]
        for k in range(length):
            target[k] = source[k]
        at += length
        following = pool.after[chunk]
        pool.after[chunk] = pool.free[0]
        pool.free[0] = chunk
        pool.free[1] += 1
        chunk = following
    chain[HELD] = chain[FIRST] = chain[LAST] = 0
    chain[RANGES] += 1
    return end


@compiled
def gather_all(
    keys: NDArray[np.uint64],
    sums: NDArray[np.int64],
    row: int,
    pool: Pool,
    into: NDArray[np.uint8],
    ranges: NDArray[np.int64],
) -> tuple[int, int, int]:
    """
    (next row, bytes, ranges): move the texts of chains from `row` on, as many as there is room for.

    `ranges` takes where in `into` they lie.
    """
    at = 0
    filled = 0
    while row < len(sums):
        held = sums[row, HELD]
        if held > 0:
            if at + held > len(into) or filled == len(ranges):
                break
            ranges[filled, GID] = keys[row, 0]
            ranges[filled, KIND] = TEXT
            ranges[filled, START] = at
            ranges[filled, LENGTH] = held
            filled += 1
            at = gather(sums, row, pool, into, at)
        row += 1
    return row, at, filled
