"""
The compiled loops of tables: rows of sums found by their key, and links of an inode counted once.

A table's slot holds a row's number + 1, or 0. Tables have a power of two of slots, are probed one
by one, and are grown by their owner before they are three quarters full, so that a loop never
meets a full one. Keys are compared, not only their hashes.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from utils.compiled import compiled

NEWEST = 0
"""The column of every table's sums that holds the newest time of modification, or 0."""

CHUNK = 16
"""Bytes that are compared at a time; known when compiling, so that one instruction does it."""


class Rows(NamedTuple):
    """
    Rows in the order in which their keys were first seen; the first `filled[0]` are in use.

    filled: int64 of shape (1,); slots: int64; keys: uint64 of shape (room, 2); sums: int64 of shape
    (room, columns). Row `r` has the name `names[ends[r] : ends[r + 1]]`, uint8 and int64, which is
    part of its key; its first number is then the name's hash.
    """

    filled: NDArray[np.int64]
    slots: NDArray[np.int64]
    keys: NDArray[np.uint64]
    sums: NDArray[np.int64]
    ends: NDArray[np.int64]
    names: NDArray[np.uint8]


class Links(NamedTuple):
    """
    Inodes with several names, once for each row; the first `filled[0]` are in use.

    filled: int64 of shape (1,); slots and rows: uint32; inodes and devices: uint64; values:
    int64 of shape (room, columns), the greatest that were seen, the first deciding before the next.
    """

    filled: NDArray[np.int64]
    slots: NDArray[np.uint32]
    rows: NDArray[np.uint32]
    inodes: NDArray[np.uint64]
    devices: NDArray[np.uint64]
    values: NDArray[np.int64]


@compiled
def mix(first: np.uint64, second: np.uint64) -> np.uint64:
    """Scatter two numbers over 64 bits (the constants of splitmix64)."""
    value = first * np.uint64(0xBF58476D1CE4E5B9) ^ second * np.uint64(0x94D049BB133111EB)
    value ^= value >> np.uint64(31)
    value *= np.uint64(0x9E3779B97F4A7C15)
    return value ^ value >> np.uint64(29)


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
def _slot(rows: Rows, first: np.uint64, second: np.uint64, name: NDArray[np.uint8]) -> np.uint64:
    """The slot of a key: where its row stands, or would stand."""
    mask = np.uint64(len(rows.slots) - 1)
    slot = mix(first, second) & mask
    while rows.slots[slot]:
        row = rows.slots[slot] - 1
        if (
            rows.keys[row, 0] == first
            and rows.keys[row, 1] == second
            and rows.ends[row + 1] - rows.ends[row] == len(name)
            and same_bytes(rows.names[rows.ends[row] :], name, len(name))
        ):
            break
        slot = slot + np.uint64(1) & mask
    return slot


@compiled
def has_row(rows: Rows, first: np.uint64, second: np.uint64, name: NDArray[np.uint8]) -> bool:
    """Whether there is a row of a key."""
    return rows.slots[_slot(rows, first, second, name)] > 0


@compiled
def find_row(rows: Rows, first: np.uint64, second: np.uint64, name: NDArray[np.uint8]) -> int:
    """The row of a key, a new one if need be."""
    slot = _slot(rows, first, second, name)
    if rows.slots[slot]:
        return rows.slots[slot] - 1
    row = rows.filled[0]
    rows.filled[0] += 1
    rows.slots[slot] = row + 1
    rows.keys[row, 0] = first
    rows.keys[row, 1] = second
    rows.ends[row + 1] = rows.ends[row] + len(name)
    for k in range(len(name)):  # a slice would take Numba two seconds more to compile
        rows.names[rows.ends[row] + k] = name[k]
    return row


@compiled
def find_name(rows: Rows, second: np.uint64, name: NDArray[np.uint8]) -> int:
    """The row of a name and a number, a new one if need be."""
    return find_row(rows, hash_bytes(name), second, name)


@compiled
def rehash_rows(rows: Rows) -> None:
    """Fill empty slots with the rows of a table that has grown."""
    mask = np.uint64(len(rows.slots) - 1)
    for row in range(rows.filled[0]):
        slot = mix(rows.keys[row, 0], rows.keys[row, 1]) & mask
        while rows.slots[slot]:
            slot = slot + np.uint64(1) & mask
        rows.slots[slot] = row + 1


@compiled
def merge_rows(
    rows: Rows,
    keys: NDArray[np.uint64],
    sums: NDArray[np.int64],
    ends: NDArray[np.int64],
    names: NDArray[np.uint8],
    maxima: int,
    renumbered: NDArray[np.int64],
) -> bool:
    """
    Add rows of another table: their row `r` is our row `renumbered[r]`; whether a sum overflowed.

    The first `maxima` columns of the sums are not added: the greater one stays.
    """
    overflow = False
    for r in range(len(renumbered)):
        row = find_row(rows, keys[r, 0], keys[r, 1], names[ends[r] : ends[r + 1]])
        renumbered[r] = row
        for column in range(sums.shape[1]):
            if column < maxima:
                rows.sums[row, column] = max(rows.sums[row, column], sums[r, column])
            else:
                rows.sums[row, column] += sums[r, column]
                overflow |= rows.sums[row, column] < 0
    return overflow


@compiled
def _link_slot(links: Links, row: int, inode: np.uint64, device: np.uint64) -> np.uint64:
    """The slot of a row's inode: where its link stands, or would stand."""
    mask = np.uint64(len(links.slots) - 1)
    slot = mix(inode, np.uint64(row) << np.uint64(32) ^ device) & mask
    while links.slots[slot]:
        link = np.int64(links.slots[slot]) - 1
        if (
            links.inodes[link] == inode
            and links.rows[link] == row
            and links.devices[link] == device
        ):
            break
        slot = slot + np.uint64(1) & mask
    return slot


@compiled
def has_link(links: Links, row: int, inode: np.uint64, device: np.uint64) -> bool:
    """Whether there is a link of a row's inode."""
    return links.slots[_link_slot(links, row, inode, device)] > 0


@compiled
def find_link(links: Links, row: int, inode: np.uint64, device: np.uint64) -> int:
    """The place of a row's inode, a new one if need be; its values there are below any others."""
    slot = _link_slot(links, row, inode, device)
    if links.slots[slot]:
        return np.int64(links.slots[slot]) - 1
    link = links.filled[0]
    links.filled[0] += 1
    links.slots[slot] = link + 1
    links.rows[link] = row
    links.inodes[link] = inode
    links.devices[link] = device
    for column in range(links.values.shape[1]):
        links.values[link, column] = -1
    return link


@compiled
def rehash_links(links: Links) -> None:
    """Fill empty slots with the links of a set that has grown."""
    mask = np.uint64(len(links.slots) - 1)
    for link in range(links.filled[0]):
        row = np.uint64(links.rows[link])
        slot = mix(links.inodes[link], row << np.uint64(32) ^ links.devices[link]) & mask
        while links.slots[slot]:
            slot = slot + np.uint64(1) & mask
        links.slots[slot] = link + 1


@compiled
def merge_links(
    links: Links,
    rows: NDArray[np.uint32],
    inodes: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    values: NDArray[np.int64],
    renumbered: NDArray[np.int64],
) -> None:
    """Add links of another set, whose row `r` is our row `renumbered[r]`."""
    for i in range(len(rows)):
        link = find_link(links, renumbered[rows[i]], inodes[i], devices[i])
        for column in range(values.shape[1]):
            if links.values[link, column] > values[i, column]:
                break
            if links.values[link, column] < values[i, column]:
                for later in range(column, values.shape[1]):
                    links.values[link, later] = values[i, later]
                break


@compiled
def part_of_links(inodes: NDArray[np.uint64], part: int, parts: int) -> NDArray[np.int64]:
    """
    Which inodes are in one of some parts, fewer than 2^32, that are about equally large.

    The upper half of the hash says so: the lower one finds the slot, and would leave most of them
    empty.
    """
    found = np.empty(len(inodes), np.int64)
    count = 0
    for i in range(len(inodes)):
        upper = mix(inodes[i], np.uint64(0)) >> np.uint64(32)
        if upper * np.uint64(parts) >> np.uint64(32) == np.uint64(part):
            found[count] = i
            count += 1
    return found[:count]
