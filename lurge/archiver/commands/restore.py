"""`archive restore`: what was removed is brought back."""

import os
import re
from pathlib import Path

import click

from lurge.archiver import restoring, showing
from lurge.archiver.commands.asking import (
    ask,
    print_tables,
    see_askable,
)
from lurge.archiver.commands.options import (
    PLACE,
    started,
    with_json,
    with_yes,
)
from lurge.archiver.desk import Start, at_work
from lurge.scan import absolute
from lurge_types.archive import UNIT_NAME_DIGITS
from utils.paths import text

NAME = re.compile(rb"([0-9a-f]{6,64})(-[0-9]{1,6})?").fullmatch
"""The beginning of a run's content id, or a unit's name."""


@click.command(short_help="Bring back what was removed.")
@click.argument("what", type=PLACE)
@click.option("--to", "folder", type=PLACE, metavar="DIR", help="Not to its place, but in here.")
@click.option("--overwrite", is_flag=True, help="Replace what is there; not out of the bin.")
@with_yes
@with_json
@started
def restore(
    start: Start,
    config: Path | None,
    defaults: bool,
    what: bytes,
    folder: bytes | None,
    overwrite: bool,
    yes: bool,
    as_json: bool,
) -> bool:
    """
    Bring WHAT back: from the bin while it is there, else from a copy, every digest compared.

    WHAT: a path that was archived, one in it, or one above several; the beginning of a unit's name,
    or of the content's id of a run for all of its units. At a terminal it asks before.

    Exit status: 0 all of it is back; 1 something is not, or nothing is called so; 2 wrong arguments
    or configuration; 3 the database cannot be used.
    """
    see_askable(yes=yes)
    with at_work(start, config, defaults=defaults) as desk:
        found = restoring.find(desk.works, _meant(what))
        to = None if folder is None else absolute(folder)
        if not yes:
            print_tables([showing.restore_table(found, to)], stderr=as_json)
            these = "it" if len(found) == 1 else f"these {len(found):,}"
            if not ask(f"Restore {these}? [Y/N] "):
                return True
        desk.look.again = "the same command"
        done = []
        with desk.bars():
            for each in restoring.restore(desk.works, found, to, overwrite=overwrite):
                done.append(each)
                if as_json:
                    click.echo(showing.restored_json(each))
        if not as_json:
            print_tables([showing.restored_table(done)])
        return all(each.failure is None for each in done)


def _meant(what: bytes) -> str:
    """A path in text form, or the beginning of a name."""
    if (name := NAME(what)) and not os.path.lexists(what):
        unit = name[1][:UNIT_NAME_DIGITS] + (name[2] or b"")
        return unit.decode("ascii")
    return text(absolute(what))
