"""
Joining: from the part files of all volumes to one gzip file for each group.

A group's members are copied as they are; what was too little for members becomes some.
"""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Event
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from lurge.splitter.index import write_index
from lurge.splitter.loops import GID, KIND, LENGTH, MEMBER, MEMBER_TEXT, START
from lurge.splitter.parts import PREFIX, Part, SplitFailed, compress, reading, writing
from lurge.splitter.tally import GroupSum, Split
from lurge_types.config import BuildTable
from utils.durable import sync_folder
from utils.paths import raw

SUFFIX = ".dat.gz"
LONGEST_NAME = 255
ROOM = len("..part")
"""Bytes of a name that are left to whoever keeps an unfinished file under another name."""

RANGES_AT_ONCE = 1 << 18
READ_BYTES = 1 << 20
PART = 4
"""Behind the columns of a range: the number of its part file."""


def file_stems(names: Mapping[int, str]) -> dict[int, str]:
    r"""
    What the files of groups are called, by gid, from their names in the text form of paths.

    >>> file_stems({7: r"\xff", 8: "team (gid:8)"})
    {7: '%FF', 8: 'team%20%28gid%3A8%29'}
    """
    return {gid: file_stem(os.fsdecode(raw(name)), gid) for gid, name in names.items()}


def file_stem(name: str, gid: int) -> str:
    """
    What the file of a group is called, without its suffix: its name as in a URL.

    It is never empty, hidden or too long, and leads nowhere else: "+" begins the gid of a group
    whose name cannot be had back.

    >>> file_stem("../a b", 7), file_stem("", 7)
    ('%2E.%2Fa%20b', '+7')
    """
    quoted = quote(name.encode("utf-8", "surrogateescape"), safe="")
    if quoted.startswith("."):
        quoted = "%2E" + quoted[1:]
    most = LONGEST_NAME - len(SUFFIX) - ROOM
    if 0 < len(quoted) <= most:
        return quoted
    number = f"+{gid}"
    return quoted[: most - len(number)] + number


def join(
    folder: Path, splits: Sequence[Split], stems: Mapping[int, str], costs: BuildTable, threads: int
) -> int:
    """
    Make a file of each group that has entries and a stem, and their index; how many there are.

    folder: of the parts, which are removed, and of the files. stems: the names of files by gid, all
    different.

    Raises SplitFailed.
    """
    groups = _groups(splits, stems)
    parts = [part for split in splits for part in split.parts]
    stop = Event()
    join_one = partial(_join, folder, parts, stop)
    with ThreadPoolExecutor(threads) as team:
        try:
            for gids in _portions(groups):
                paths = [folder / f"{stems[gid]}{SUFFIX}" for gid in gids]
                for _ in team.map(join_one, paths, _ranges(folder, parts, gids)):
                    pass  # raises what was raised there
        except BaseException:
            stop.set()
            team.shutdown(cancel_futures=True)
            raise
    write_index(folder, ((stems[gid], each) for gid, each in groups.items()), costs)
    with writing(folder):
        for path in folder.glob(f"{PREFIX}*"):
            path.unlink()
        sync_folder(folder)
    return len(groups)


def _groups(splits: Sequence[Split], stems: Mapping[int, str]) -> dict[int, GroupSum]:
    """What each wanted group has in all volumes together, sorted by gid."""
    lines: Counter[int] = Counter()
    directories: Counter[int] = Counter()
    ranges: Counter[int] = Counter()
    for split in splits:
        for gid in split.groups.keys() & stems.keys():
            each = split.groups[gid]
            lines[gid] += each.lines
            directories[gid] += each.directories
            ranges[gid] += each.ranges
    return {gid: GroupSum(lines[gid], directories[gid], ranges[gid]) for gid in sorted(lines)}


def _portions(groups: Mapping[int, GroupSum]) -> Iterator[list[int]]:
    """Groups whose ranges need little memory together."""
    gids: list[int] = []
    ranges = 0
    for gid, each in groups.items():
        if gids and ranges + each.ranges > RANGES_AT_ONCE:
            yield gids
            gids, ranges = [], 0
        gids.append(gid)
        ranges += each.ranges
    if gids:
        yield gids


def _ranges(folder: Path, parts: Sequence[Part], gids: Sequence[int]) -> list[NDArray[np.int64]]:
    """The ranges of each group: members first, then text, each in the order of the parts."""
    found = [np.empty((0, PART + 1), np.int64)]
    for number, part in enumerate(parts):
        for table in part.read_tables(folder):
            wanted = table[np.isin(table[:, GID], gids)]
            found.append(np.column_stack((wanted, np.full(len(wanted), number))))
    ranges = np.concatenate(found)
    ranges = ranges[np.lexsort(ranges[:, [START, PART, KIND, GID]].T)]
    return np.split(ranges, np.searchsorted(ranges[:, GID], gids[1:]))


def _join(
    folder: Path, parts: Sequence[Part], stop: Event, path: Path, ranges: NDArray[np.int64]
) -> None:
    """Write the file of a group, durably; what is written of it when it is to stop is of no use."""
    text = bytearray()
    with writing(path), path.open("xb") as file:
        for kind, data in _read(folder, parts, ranges):
            if stop.is_set():
                return
            if kind == MEMBER:
                file.write(data)
                continue
            text += data
            if len(text) >= MEMBER_TEXT:
                file.write(compress(text))
                text.clear()
        if text:
            file.write(compress(text))
        file.flush()
        os.fsync(file.fileno())


def _read(
    folder: Path, parts: Sequence[Part], ranges: NDArray[np.int64]
) -> Iterator[tuple[int, bytes]]:
    """(kind, bytes) of the ranges; no more files are open at once than are read."""
    for (kind, number), of_part in groupby(ranges.tolist(), itemgetter(KIND, PART)):
        path = folder / parts[number].name
        with reading(path), path.open("rb", buffering=0) as file:
            for each in of_part:
                at, left = each[START], each[LENGTH]
                while left:
                    data = os.pread(file.fileno(), min(left, READ_BYTES), at)
                    if not data:
                        raise SplitFailed(f"{path} is cut short: run again")
                    yield kind, data
                    at += len(data)
                    left -= len(data)
