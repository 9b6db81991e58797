"""The index of a day's files: what building a tree of each will take, in time and memory."""

import os
from collections.abc import Iterable
from pathlib import Path

from lurge.splitter.parts import write_lines
from lurge.splitter.tally import GroupSum
from lurge_types.config import BuildTable
from utils import tsv

NAME = "index.tsv"
HEADER = ("group", "build_seconds", "memory_bytes")


def seconds(costs: BuildTable, lines: int) -> int:
    """
    How long it takes.

    >>> seconds(BuildTable(), 21_999)
    101
    """
    return costs.seconds_base + lines // costs.lines_per_second


def memory_bytes(costs: BuildTable, lines: int, directories: int) -> int:
    """
    What it needs.

    >>> memory_bytes(BuildTable(), 1000, 8)
    792000
    """
    nodes = costs.nodes_base + directories * costs.nodes_per_directory
    return nodes * next(
        size for most, size in costs.bytes_per_node if 100 * directories <= most * lines
    )


def write_index(folder: Path, groups: Iterable[tuple[str, GroupSum]], costs: BuildTable) -> None:
    """
    Write the index of some files, by their stems, durably.

    Raises SplitFailed.
    """
    rows = [
        (
            stem,
            seconds(costs, each.lines),
            memory_bytes(costs, each.lines, each.directories),
        )
        for stem, each in sorted(groups, key=lambda group: os.fsencode(group[0]))
    ]
    write_lines(folder / NAME, tsv.lines(HEADER, rows))
