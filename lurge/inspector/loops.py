"""
The compiled loop of the inspector: from an entry's path to its base directory and subdirectory.

A row's second number is gid << 20 | length of its base directory's path + 1, or + 0 where there is
no base directory; its name is the path of the directory that it stands for. Neighbours mostly lie
in one directory; so what is known of the entry before is tried first, and only where that does not
hold are rules looked at.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.table_loops import (
    NEWEST,
    Links,
    Rows,
    find_link,
    find_name,
    has_link,
    has_row,
    hash_bytes,
    same_bytes,
)
from lurge_types.batch import DIRECTORY, FILE
from lurge_types.reports import AGE_CLASSES
from utils.compiled import compiled
from utils.path_loops import SLASH, first_rule, is_in_branch, is_vault, lower

BASE_BITS = 20
NO_BASE = -1

# Columns of the sums of base directories, behind NEWEST.
BASE_SETTLED, BASE_BYTES, BASE_INODES = 1, 2, 3
BASE_COLUMNS = 4
BASE_MAXIMA = 2

# Columns of the sums of directories, behind NEWEST; then (files, bytes) of each type and age class.
USED, SETTLED, FILES, BYTES, KEPT, PARTS = 1, 2, 3, 4, 5, 6
MAXIMA = 3

# Columns of a link's values, the first of which decides.
LINK_SIZE, LINK_USED, LINK_REST = 0, 1, 2
LINK_COLUMNS = 3
TYPE_BITS = 8
"""The last value of a link is time of modification << 8 | type."""

DAY = 86_400
AGES = np.array([days * DAY for days in AGE_CLASSES[1:]], np.int64)
"""Seconds from which on each age class but the first begins."""

AGE_KINDS = len(AGE_CLASSES) + 1
"""The age classes; behind them the one of files of unknown age."""


class Layout(NamedTuple):
    """
    Where base directories are and which files are of which type.

    known: rows named by the paths of base directories. patterns and offsets: the ranked prefixes of
    rules, depths: of each, the components of its base directories. deepest: components of the
    deepest of them all. deeper and deeper_offsets: names of the directories that are looked into.
    endings, lower-case, ranked for each last byte `b` at `starts[b] : starts[b + 1]`; types: of
    each.
    """

    known: Rows
    patterns: NDArray[np.uint8]
    offsets: NDArray[np.int64]
    depths: NDArray[np.int64]
    deepest: int
    deeper: NDArray[np.uint8]
    deeper_offsets: NDArray[np.int64]
    endings: NDArray[np.uint8]
    ending_offsets: NDArray[np.int64]
    types: NDArray[np.int64]
    starts: NDArray[np.int64]


@compiled
def components(path: NDArray[np.uint8]) -> int:
    """How many components a path has, which has no trailing slash."""
    count = 0
    for k in range(len(path)):
        count += path[k] == SLASH
    return count


@compiled
def parent_length(path: NDArray[np.uint8]) -> int:
    """The length of the path of the directory in which a path lies; the root's is 0."""
    for k in range(len(path) - 1, 0, -1):
        if path[k] == SLASH:
            return k
    return 0


@compiled
def component_end(path: NDArray[np.uint8], start: int, stop: int) -> int:
    """Where the component that begins at `start` ends."""
    while start < stop and path[start] != SLASH:
        start += 1
    return start


@compiled
def known_base(path: NDArray[np.uint8], length: int, layout: Layout) -> int:
    """The length of the longest known base directory that `path[:length]` is or lies in."""
    if layout.known.filled[0] == 0:
        return NO_BASE
    while True:
        directory = path[:length]
        if has_row(layout.known, hash_bytes(directory), np.uint64(0), directory):
            return length
        if length == 0:
            return NO_BASE
        length = parent_length(directory)


@compiled
def base_length(path: NDArray[np.uint8], is_directory: bool, layout: Layout) -> int:
    """The length of an entry's base directory, or `NO_BASE`."""
    length = len(path) if is_directory else parent_length(path)
    base = known_base(path, length, layout)
    if base != NO_BASE:
        return base
    rule = first_rule(path, layout.patterns, layout.offsets)
    if rule < 0:
        return NO_BASE
    end = 0
    for _ in range(layout.depths[rule]):
        if end >= length:
            return NO_BASE
        end = component_end(path, end + 1, length)
    return end


@compiled
def is_deeper(name: NDArray[np.uint8], layout: Layout) -> bool:
    """Whether the directories in one of that name have rows of their own."""
    for i in range(len(layout.deeper_offsets) - 1):
        start = layout.deeper_offsets[i]
        length = layout.deeper_offsets[i + 1] - start
        if length == len(name) and same_bytes(layout.deeper[start:], name, length):
            return True
    return False


@compiled
def row_length(path: NDArray[np.uint8], base: int, parent: int, layout: Layout) -> tuple[int, bool]:
    """
    (length, whether all that lies below counts to it) of the directory that a file counts to.

    base and parent: lengths of its base directory and of the directory that it lies in.
    """
    if base == NO_BASE:
        return 0, False
    if parent == base:
        return base, False
    end = component_end(path, base + 1, parent)
    if is_deeper(path[base + 1 : end], layout):
        if end == parent:
            return end, False
        end = component_end(path, end + 1, parent)
    return end, components(path[:end]) >= layout.deepest


@compiled
def file_type(
    path: NDArray[np.uint8],
    endings: NDArray[np.uint8],
    ending_offsets: NDArray[np.int64],
    types: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> int:
    """The type of the longest ending that a path has, whatever its case, or 0; see `Layout`."""
    last = lower(path[len(path) - 1])
    for i in range(starts[last], starts[last + 1]):
        ending = endings[ending_offsets[i] : ending_offsets[i + 1]]
        start = len(path) - len(ending)
        k = 0
        while start >= 0 and k < len(ending) and lower(path[start + k]) == ending[k]:
            k += 1
        if k == len(ending):
            return types[i]
    return 0


@compiled
def age_class(used: int, scan_time: int) -> int:
    """The place of a file's age class; the last one where it is not known when it was used."""
    if used == 0:
        return AGE_KINDS - 1
    age = scan_time - used
    kind = 0
    while kind < len(AGES) and age >= AGES[kind]:
        kind += 1
    return kind


@compiled
def count_file(
    sums: NDArray[np.int64], row: int, types: int, kind: int, size: int, used: int, scan_time: int
) -> bool:
    """Add a file of a type to a row, of `types` types in all; whether a sum left 64 bits."""
    sums[row, FILES] += 1
    sums[row, BYTES] += size
    of_type = PARTS + 2 * kind
    sums[row, of_type] += 1
    sums[row, of_type + 1] += size
    of_age = PARTS + 2 * (types + age_class(used, scan_time))
    sums[row, of_age] += 1
    sums[row, of_age + 1] += size
    return sums[row, BYTES] < 0


@compiled
def lies_in(path: NDArray[np.uint8], directory: NDArray[np.uint8]) -> bool:
    """Whether a path lies below a directory."""
    length = len(directory)
    return len(path) > length and path[length] == SLASH and same_bytes(directory, path, length)


@compiled
def second_key(gid: int, base: int) -> np.uint64:
    """The second number of a row's key."""
    return np.uint64(gid) << np.uint64(BASE_BITS) | np.uint64(base + 1)


@compiled
def find_base(bases: Rows, path: NDArray[np.uint8], gid: int, base: int, layout: Layout) -> int:
    """The row of a group in the base directory that a path begins with."""
    name = path[:base] if base > 0 else path[:0]
    row = find_name(bases, second_key(gid, base), name)
    if base != NO_BASE and components(name) >= layout.deepest:
        bases.sums[row, BASE_SETTLED] = 1
    return row


@compiled
def look_into_vaults(
    paths: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    types: NDArray[np.int64],
    entries: NDArray[np.int64],
    keep: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(files in the branch `keep`, vaults) among the entries of which a component is `.vault`."""
    kept = np.empty(len(entries), np.int64)
    vaults = np.empty(len(entries), np.int64)
    kept_count = 0
    vault_count = 0
    for i in range(len(entries)):
        entry = entries[i]
        path = paths[offsets[entry] : offsets[entry + 1]]
        if types[entry] == FILE:
            if is_in_branch(path, keep):
                kept[kept_count] = entry
                kept_count += 1
        elif types[entry] == DIRECTORY and is_vault(path, len(path) - 7, len(path)):
            vaults[vault_count] = entry
            vault_count += 1
    return kept[:kept_count], vaults[:vault_count]


@compiled
def inspect(
    paths: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    gids: NDArray[np.int64],
    sizes: NDArray[np.int64],
    accessed: NDArray[np.int64],
    modified: NDArray[np.int64],
    types: NDArray[np.int64],
    inodes: NDArray[np.uint64],
    names: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    scan_time: int,
    type_count: int,
    layout: Layout,
    bases: Rows,
    rows: Rows,
    links: Links,
) -> bool:
    """
    Add the entries to base directories, and the files among them to directories.

    Each entry has a number of `names`; a file of several goes into the set of links, not into the
    sums. True where a sum left 64 bits.
    """
    # A table that is handed to a function costs an atomic count for each of its arrays: so the
    # arrays that every entry needs stand alone, which is three times as fast.
    base_names, base_ends, base_keys, base_sums = bases.names, bases.ends, bases.keys, bases.sums
    row_names, row_ends, row_sums = rows.names, rows.ends, rows.sums
    deepest, starts = layout.deepest, layout.starts
    endings, ending_offsets, ending_types = layout.endings, layout.ending_offsets, layout.types
    overflow = False
    base_row = -1  # of the entry before
    row = -1  # of the file before, which has this gid and lies in the directory paths[start:stop]
    row_base = -1
    row_gid = np.int64(-1)
    start = 0
    stop = 0
    for i in range(len(sizes)):
        path = paths[offsets[i] : offsets[i + 1]]
        if len(path) == 1:  # the root's path is empty here
            path = path[:0]
        time = modified[i] if 0 < modified[i] <= scan_time else np.int64(0)
        if types[i] != FILE:
            if (
                base_row < 0
                or base_sums[base_row, BASE_SETTLED] == 0
                or base_keys[base_row, 1] >> np.uint64(BASE_BITS) != np.uint64(gids[i])
                or not lies_in(path, base_names[base_ends[base_row] : base_ends[base_row + 1]])
            ):
                base = base_length(path, types[i] == DIRECTORY, layout)
                base_row = find_base(bases, path, gids[i], base, layout)
        else:
            if (
                row < 0
                or row_gid != gids[i]
                or row_sums[row, SETTLED] == 0
                or not lies_in(path, row_names[row_ends[row] : row_ends[row + 1]])
            ):
                parent = parent_length(path)
                if (
                    row < 0
                    or row_gid != gids[i]
                    or stop - start != parent
                    or components(path) <= deepest
                    or not same_bytes(paths[start:stop], path, parent)
                ):
                    base = base_length(path, False, layout)
                    row_base = find_base(bases, path, gids[i], base, layout)
                    end, settled = row_length(path, base, parent, layout)
                    row = find_name(rows, second_key(gids[i], base), path[:end])
                    if settled:
                        row_sums[row, SETTLED] = 1
                    row_gid = gids[i]
                start = offsets[i]
                stop = start + parent
            base_row = row_base
            used = accessed[i] if time < accessed[i] <= scan_time else time
            kind = file_type(path, endings, ending_offsets, ending_types, starts)
            row_sums[row, NEWEST] = max(row_sums[row, NEWEST], time)
            row_sums[row, USED] = max(row_sums[row, USED], used)
            if names[i] > np.uint64(1):
                link = find_link(links, row, inodes[i], devices[i])
                rest = time << TYPE_BITS | kind
                if links.values[link, LINK_SIZE] < sizes[i] or (
                    links.values[link, LINK_SIZE] == sizes[i]
                    and (
                        links.values[link, LINK_USED] < used
                        or (
                            links.values[link, LINK_USED] == used
                            and links.values[link, LINK_REST] < rest
                        )
                    )
                ):
                    links.values[link, LINK_SIZE] = sizes[i]
                    links.values[link, LINK_USED] = used
                    links.values[link, LINK_REST] = rest
            else:
                overflow |= count_file(row_sums, row, type_count, kind, sizes[i], used, scan_time)
        base_sums[base_row, NEWEST] = max(base_sums[base_row, NEWEST], time)
        if types[i] != FILE or names[i] <= np.uint64(1):
            base_sums[base_row, BASE_BYTES] += sizes[i]
            base_sums[base_row, BASE_INODES] += 1
            overflow |= base_sums[base_row, BASE_BYTES] < 0
    return overflow


@compiled
def bases_of(rows: Rows, bases: Rows, layout: Layout, found: NDArray[np.int64]) -> None:
    """Write into `found` the row among `bases` of each row."""
    for row in range(len(found)):
        name = rows.names[rows.ends[row] : rows.ends[row + 1]]
        second = rows.keys[row, 1]
        base = np.int64(second & np.uint64((1 << BASE_BITS) - 1)) - 1
        gid = np.int64(second >> np.uint64(BASE_BITS))
        found[row] = find_base(bases, name, gid, base, layout)


@compiled
def sum_links(
    link_rows: NDArray[np.uint32],
    link_values: NDArray[np.int64],
    scan_time: int,
    type_count: int,
    sums: NDArray[np.int64],
) -> bool:
    """Count each link once as a file of its row; whether a sum left 64 bits."""
    overflow = False
    for link in range(len(link_rows)):
        overflow |= count_file(
            sums,
            np.int64(link_rows[link]),
            type_count,
            link_values[link, LINK_REST] & np.int64((1 << TYPE_BITS) - 1),
            link_values[link, LINK_SIZE],
            link_values[link, LINK_USED],
            scan_time,
        )
    return overflow


@compiled
def sum_kept(links: Links, kept: Links, sums: NDArray[np.int64]) -> None:
    """Count the links of each row that are kept: whose inode is one of row 0 of `kept`."""
    for link in range(links.filled[0]):
        if has_link(kept, 0, links.inodes[link], links.devices[link]):
            sums[links.rows[link], KEPT] += 1


@compiled
def sum_base_links(
    link_rows: NDArray[np.uint32], link_values: NDArray[np.int64], sums: NDArray[np.int64]
) -> bool:
    """Count each link once as an inode of its base directory; whether a sum left 64 bits."""
    overflow = False
    for link in range(len(link_rows)):
        row = link_rows[link]
        sums[row, BASE_BYTES] += link_values[link, LINK_SIZE]
        sums[row, BASE_INODES] += 1
        overflow |= sums[row, BASE_BYTES] < 0
    return overflow


@compiled
def note_links(
    inodes: NDArray[np.uint64],
    devices: NDArray[np.uint64],
    sizes: NDArray[np.int64],
    kinds: NDArray[np.int64],
    seen: Links,
) -> None:
    """Of each inode, once for all rows, note the greatest size and kind that were seen."""
    for i in range(len(inodes)):
        link = find_link(seen, 0, inodes[i], devices[i])
        seen.values[link, 0] = max(seen.values[link, 0], sizes[i])
        seen.values[link, 1] = max(seen.values[link, 1], kinds[i])
