"""`archive handler`: for vaults that drain themselves."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from lurge.archiver import handling
from lurge.archiver.commands.asking import print_lines
from lurge.archiver.commands.options import (
    started,
)
from lurge.archiver.desk import Start, at_work


@click.command(short_help="For vaults that drain themselves.")
@click.argument("words", nargs=-1, metavar="[ready BYTES]")
@started
def handler(start: Start, config: Path | None, defaults: bool, words: tuple[str, ...]) -> bool:
    """
    For vaults that drain themselves: copy files, verify the copies, and leave the files to whoever
    handed them over.

    `archive handler ready BYTES` tells whether so many bytes would go through now. Without these
    words it reads paths from standard input, with NUL between.

    Exit status: 0 ready, or all files are copied and verified; 1 not so, each with the reason; 2
    wrong arguments or configuration; 3 the database cannot be used.
    """
    size = _bytes_of(words)
    with at_work(start, config, defaults=defaults) as desk:
        if size is not None:
            refused = handling.ready(desk.works, size)
        else:
            paths = handling.read_paths(sys.stdin.buffer)
            with desk.bars():
                refused = list(handling.hand_over(desk.works, paths))
        print_lines(refused, stderr=True)
        return not refused


def _bytes_of(words: Sequence[str]) -> int | None:
    """How many bytes it is asked for; None where files are handed over."""
    if not words:
        return None
    if len(words) != 2 or words[0] != "ready" or not words[1].isdecimal():
        raise click.UsageError("handler takes paths on standard input, or: ready BYTES")
    return int(words[1])
