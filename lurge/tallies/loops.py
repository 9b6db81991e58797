"""
The compiled loops of the tallies: sums by owner and by directory, links counted once.

A table's slot holds a row's number + 1, or 0. Tables have a power of two of slots, are probed one
by one, and are grown by their owner before they are three quarters full, so that a loop never
meets a full one. Keys are compared, not only their hashes.
"""

import numpy as np
from numpy.typing import NDArray

from lurge_types.batch import DIRECTORY, FILE
from utils.compiled import compiled

BYTES, INODES, NEWEST = range(3)
"""Columns of the sums: bytes, inodes, newest time of modification (0 for none)."""

SLASH = 47
CHUNK = 16
"""Bytes that are compared at a time; known when compiling, so that one instruction does it."""


@compiled
def mix(first: np.uint64, second: np.uint64) -> np.uint64:
    """Scatter two numbers over 64 bits (the constants of splitmix64)."""
    value = first * np.uint64(0xBF58476D1CE4E5B9) ^ second * np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    value *= np.uint64(0x9E3779B97F4A7C15)
    return value ^ value >> np.uint64(29)


@compiled
def find_row(
    slots: NDArray[np.int64],
    keys: NDArray[np.uint64],
    rows: int,
    first: np.uint64,
    second: np.uint64,
) -> int:
    """The row of a key; `rows` where it is new, and then it stands there already."""
    mask = np.uint64(len(slots) - 1)
    slot = mix(first, second) & mask
    while slots[slot]:
        row = slots[slot] - 1
        if keys[row, 0] == first and keys[row, 1] == second:
            return row
        slot = slot + np.uint64(1) & mask
    slots[slot] = rows + 1
    keys[rows, 0] = first
    keys[rows, 1] = second
    return rows


@compiled
def rehash(slots: NDArray[np.int64], keys: NDArray[np.uint64], rows: int) -> None:
    """Fill empty slots with the rows of a table that has grown."""
    mask = np.uint64(len(slots) - 1)
    for row in range(rows):
        slot = mix(keys[row, 0], keys[row, 1]) & mask
        while slots[slot]:
            slot = slot + np.uint64(1) & mask
        slots[slot] = row + 1


@compiled
def add_link(
    link_rows: NDArray[np.uint32],
    link_inodes: NDArray[np.uint64],
    link_sizes: NDArray[np.int64],
    row: int,
    inode: np.uint64,
    size: int,
) -> int:
    """1 where the inode is new to the row; else its size becomes the greatest that was seen."""
    mask = np.uint64(len(link_rows) - 1)
    slot = mix(inode, np.uint64(row)) & mask
    while link_rows[slot]:
        if link_rows[slot] == row + 1 and link_inodes[slot] == inode:
            link_sizes[slot] = max(link_sizes[slot], size)
            return 0
        slot = slot + np.uint64(1) & mask
    link_rows[slot] = row + 1
    link_inodes[slot] = inode
    link_sizes[slot] = size
    return 1


@compiled
def add_links(
    link_rows: NDArray[np.uint32],
    link_inodes: NDArray[np.uint64],
    link_sizes: NDArray[np.int64],
    more_rows: NDArray[np.uint32],
    more_inodes: NDArray[np.uint64],
    more_sizes: NDArray[np.int64],
    renumbered: NDArray[np.int64],
) -> int:
    """How many links another set, whose row `r` is our row `renumbered[r]`, adds to this one."""
    added = 0
    for slot in range(len(more_rows)):
        if more_rows[slot]:
            row = renumbered[more_rows[slot] - 1]
            added += add_link(
                link_rows, link_inodes, link_sizes, row, more_inodes[slot], more_sizes[slot]
            )
    return added


@compiled
def add_owners(
    owners: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    modified: NDArray[np.int64],
    types: NDArray[np.int64],
    inodes: NDArray[np.uint64],
    links: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    scan_time: int,
    slots: NDArray[np.int64],
    keys: NDArray[np.uint64],
    sums: NDArray[np.int64],
    rows: int,
    link_rows: NDArray[np.uint32],
    link_inodes: NDArray[np.uint64],
    link_sizes: NDArray[np.int64],
) -> tuple[int, int, bool]:
    """
    (rows, links that are new, whether a sum left 64 bits) once the entries are added.

    A row's key is (owner, device). Files of several links go into the set of links, not into the
    sums. Neighbours mostly have one owner, so the row of the entry before is tried first.
    """
    new_links = 0
    overflow = False
    row = -1
    for i in range(len(owners)):
        if row < 0 or keys[row, 0] != owners[i] or keys[row, 1] != devices[i]:
            row = find_row(slots, keys, rows, owners[i], devices[i])
            rows = max(rows, row + 1)
        if sums[row, NEWEST] < modified[i] <= scan_time:
            sums[row, NEWEST] = modified[i]
        if types[i] == FILE and links[i] > np.uint64(1):
            new_links += add_link(link_rows, link_inodes, link_sizes, row, inodes[i], sizes[i])
        else:
            sums[row, BYTES] += sizes[i]
            sums[row, INODES] += 1
            overflow |= sums[row, BYTES] < 0
    return rows, new_links, overflow


@compiled
def sum_links(
    link_rows: NDArray[np.uint32], link_sizes: NDArray[np.int64], sums: NDArray[np.int64]
) -> bool:
    """Add each link once to its row's sums; whether a sum left 64 bits."""
    overflow = False
    for slot in range(len(link_rows)):
        if link_rows[slot]:
            row = link_rows[slot] - 1
            sums[row, BYTES] += link_sizes[slot]
            sums[row, INODES] += 1
            overflow |= sums[row, BYTES] < 0
    return overflow


@compiled
def same_bytes(one: NDArray[np.uint8], other: NDArray[np.uint8], length: int) -> bool:
    """Whether two arrays, both that long at least, begin alike; 16 bytes are compared at a time."""
    at = 0
    while at + CHUNK <= length:
        left = one[at : at + CHUNK]  # slices: their indices are known not to be negative
        right = other[at : at + CHUNK]
        differing = np.uint8(0)
        for k in range(CHUNK):
            differing |= left[k] ^ right[k]
        if differing:
            return False
        at += CHUNK
    while at < length and one[at] == other[at]:
        at += 1
    return at == length


@compiled
def hash_bytes(text: NDArray[np.uint8]) -> np.uint64:
    """A hash of some bytes, eight at a time; its low bits are scattered by `mix`."""
    value = np.uint64(len(text))
    at = 0
    while at + 8 <= len(text):
        eight = text[at : at + 8]
        word = np.uint64(0)
        for k in range(8):
            word |= np.uint64(eight[k]) << np.uint64(8 * k)
        value = mix(value, word)
        at += 8
    word = np.uint64(0)
    while at < len(text):
        word = word << np.uint64(8) | np.uint64(text[at])
        at += 1
    return mix(value, word)


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
def find_directory(
    slots: NDArray[np.int64],
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    rows: int,
    directory: NDArray[np.uint8],
    device: np.uint64,
) -> int:
    """
    The row of (directory, device); `rows` where it is new, and then it stands there already.

    Row `r` has the key (hash of the directory, device); its directory is
    `names[ends[r] : ends[r + 1]]`.
    """
    key = hash_bytes(directory)
    mask = np.uint64(len(slots) - 1)
    slot = mix(key, device) & mask
    while slots[slot]:
        row = slots[slot] - 1
        if (
            keys[row, 0] == key
            and keys[row, 1] == device
            and ends[row + 1] - ends[row] == len(directory)
            and same_bytes(names[ends[row] :], directory, len(directory))
        ):
            return row
        slot = slot + np.uint64(1) & mask
    slots[slot] = rows + 1
    keys[rows, 0] = key
    keys[rows, 1] = device
    ends[rows + 1] = ends[rows] + len(directory)
    for k in range(len(directory)):  # a slice would take Numba two seconds more to compile
        names[ends[rows] + k] = directory[k]
    return rows


@compiled
def add_directories(
    paths: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    sizes: NDArray[np.int64],
    modified: NDArray[np.int64],
    types: NDArray[np.int64],
    inodes: NDArray[np.uint64],
    links: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    depth: int,
    scan_time: int,
    slots: NDArray[np.int64],
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    sums: NDArray[np.int64],
    rows: int,
    link_rows: NDArray[np.uint32],
    link_inodes: NDArray[np.uint64],
    link_sizes: NDArray[np.int64],
) -> tuple[int, int, bool]:
    """
    (rows, links that are new, whether a sum left 64 bits) once the entries are added.

    Neighbours mostly lie in one directory: whatever lies below the one of the entry before counts
    to it too if that is at the full depth, and then only its bytes are compared.
    """
    new_links = 0
    overflow = False
    row = -1
    full = False
    for i in range(len(sizes)):
        path = paths[offsets[i] : offsets[i + 1]]
        length = ends[row + 1] - ends[row] if full else 0
        if (
            not full
            or len(path) <= length
            or path[length] != SLASH
            or keys[row, 1] != devices[i]
            or not same_bytes(names[ends[row] :], path, length)
        ):
            length, full = directory_length(path, types[i] == DIRECTORY, depth)
            row = find_directory(slots, keys, ends, names, rows, path[:length], devices[i])
            rows = max(rows, row + 1)
        if sums[row, NEWEST] < modified[i] <= scan_time:
            sums[row, NEWEST] = modified[i]
        if types[i] == FILE and links[i] > np.uint64(1):
            new_links += add_link(link_rows, link_inodes, link_sizes, row, inodes[i], sizes[i])
        else:
            sums[row, BYTES] += sizes[i]
            sums[row, INODES] += 1
            overflow |= sums[row, BYTES] < 0
    return rows, new_links, overflow


@compiled
def merge_directories(
    slots: NDArray[np.int64],
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    sums: NDArray[np.int64],
    rows: int,
    more_keys: NDArray[np.uint64],
    more_ends: NDArray[np.int64],
    more_names: NDArray[np.uint8],
    more_sums: NDArray[np.int64],
    renumbered: NDArray[np.int64],
) -> tuple[int, bool]:
    """(rows, whether a sum left 64 bits); their row `r` becomes our row `renumbered[r]`."""
    overflow = False
    for r in range(len(renumbered)):
        directory = more_names[more_ends[r] : more_ends[r + 1]]
        row = find_directory(slots, keys, ends, names, rows, directory, more_keys[r, 1])
        rows = max(rows, row + 1)
        renumbered[r] = row
        sums[row, BYTES] += more_sums[r, BYTES]
        sums[row, INODES] += more_sums[r, INODES]
        sums[row, NEWEST] = max(sums[row, NEWEST], more_sums[r, NEWEST])
        overflow |= sums[row, BYTES] < 0
    return rows, overflow
