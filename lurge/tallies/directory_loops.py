"""The compiled loop that adds entries up by directory, down to a depth."""

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.owner_loops import BYTES, INODES
from lurge.tallies.table_loops import (
    NEWEST,
    Links,
    Rows,
    find_link,
    find_name,
    hash_bytes,
    same_bytes,
)
from lurge_types.batch import DIRECTORY, FILE
from utils.compiled import compiled
from utils.path_loops import SLASH


@compiled
def directory_length(path: NDArray[np.uint8], is_directory: bool, depth: int) -> tuple[int, bool]:
    """
    (length, whether it has `depth` components) of the directory that an entry counts to.

    That is the entry itself, or the lowest directory above it, but no deeper than `depth`. The root
    directory has no component and no length.
    """
    slashes = 0
    last = 0
    for k in range(len(path)):
        if path[k] == SLASH:
            if slashes == depth:
                return k, True
            slashes += 1
            last = k
    if is_directory and len(path) > 1:
        return len(path), slashes == depth
    return last, False


@compiled
def add_directories(
    paths: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    modified: NDArray[np.int64],
    types: NDArray[np.int64],
    inodes: NDArray[np.uint64],
    names: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    counted: NDArray[np.int64],
    depth: int,
    scan_time: int,
    rows: Rows,
    links: Links,
) -> bool:
    """
    Add those entries whose number in `counted` is not negative; whether a sum left 64 bits.

    Neighbours mostly lie in one directory: whatever lies below the one of the entry before counts
    to it too if that is at the full depth, and then only its bytes are compared.
    """
    overflow = False
    row = -1
    full = False
    for i in range(len(sizes)):
        if counted[i] < 0:
            continue
        path = paths[offsets[i] : offsets[i + 1]]
        length = rows.ends[row + 1] - rows.ends[row] if full else 0
        if (
            not full
            or len(path) <= length
            or path[length] != SLASH
            or not same_bytes(rows.names[rows.ends[row] :], path, length)
        ):
            length, full = directory_length(path, types[i] == DIRECTORY, depth)
            row = find_name(rows, np.uint64(0), path[:length])
        if rows.sums[row, NEWEST] < modified[i] <= scan_time:
            rows.sums[row, NEWEST] = modified[i]
        if types[i] == FILE and names[i] > np.uint64(1):
            link = find_link(links, row, inodes[i], devices[i])
            links.values[link, 0] = max(links.values[link, 0], sizes[i])
        else:
            rows.sums[row, BYTES] += sizes[i]
            rows.sums[row, INODES] += 1
            overflow |= rows.sums[row, BYTES] < 0
    return overflow


@compiled
def cut_names(
    ends: NDArray[np.int64], names: NDArray[np.uint8], depth: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.uint8]]:
    """The keys, ends and names of rows, of whose names no more than `depth` components are left."""
    rows = len(ends) - 1
    keys = np.zeros((rows, 2), np.uint64)
    cut_ends = np.zeros(rows + 1, np.int64)
    cut = np.empty(len(names), np.uint8)
    for row in range(rows):
        name = names[ends[row] : ends[row + 1]]
        length, _ = directory_length(name, True, depth)
        start = cut_ends[row]
        cut_ends[row + 1] = start + length
        for k in range(length):
            cut[start + k] = name[k]
        keys[row, 0] = hash_bytes(name[:length])
    return keys, cut_ends, cut[: cut_ends[rows]]
