"""The compiled loop that adds entries up by owner."""

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.table_loops import NEWEST, Links, Rows, find_link, find_row
from lurge_types.batch import FILE
from utils.compiled import compiled

BYTES, INODES = 1, 2
"""Columns of the sums, behind `NEWEST`."""


@compiled
def add_owners(
    owners: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    modified: NDArray[np.int64],
    types: NDArray[np.int64],
    inodes: NDArray[np.uint64],
    names: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    scan_time: int,
    rows: Rows,
    links: Links,
) -> bool:
    """
    Add the entries, of which each has a number of `names`; whether a sum left 64 bits.

    Files of several names go into the set of links, not into the sums. Neighbours mostly have one
    owner, so the row of the entry before is tried first.
    """
    overflow = False
    row = -1
    for i in range(len(owners)):
        if row < 0 or rows.keys[row, 0] != owners[i]:
            row = find_row(rows, owners[i], np.uint64(0), rows.names[:0])
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
def sum_links(
    link_rows: NDArray[np.uint32], link_values: NDArray[np.int64], sums: NDArray[np.int64]
) -> bool:
    """Add each link once to its row's sums; whether a sum left 64 bits."""
    overflow = False
    for link in range(len(link_rows)):
        row = link_rows[link]
        sums[row, BYTES] += link_values[link, 0]
        sums[row, INODES] += 1
        overflow |= sums[row, BYTES] < 0
    return overflow
