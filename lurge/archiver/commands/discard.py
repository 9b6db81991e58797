"""`archive discard`: directories go into the bin without a copy, once somebody has agreed."""

from pathlib import Path

import click

from lurge.archiver import proposing
from lurge.archiver.commands.apply import agreed, apply_run, show_plan
from lurge.archiver.commands.asking import see_askable
from lurge.archiver.commands.options import started, with_json, with_list, with_yes
from lurge.archiver.commands.plan import listed, make_plan
from lurge.archiver.desk import Start, at_work


@click.command(short_help="Put directories into the bin, without a copy.")
@with_list
@with_yes
@with_json
@started
def discard(
    start: Start,
    config: Path | None,
    defaults: bool,
    list_file: str,
    null: bool,
    yes: bool,
    as_json: bool,
) -> bool:
    """
    Put the directories of a list into the bin without archiving them. Until archive.keep_in_bin
    days later they can be restored from there; then `archive purge` deletes them.

    At a terminal it asks before, and names what has no copy.

    Exit status: 0 all of them are in the bin; 1 some are not, or a guard has tripped; 2 wrong
    arguments or configuration; 3 the database cannot be used, nothing was done.
    """
    see_askable(yes=yes)
    with (
        at_work(start, config, defaults=defaults) as desk,
        listed(list_file) as paths,
        proposing.of_paths(paths, "discard", null=null) as asked,
    ):
        planned = make_plan(desk, asked, anew=False)
        if not (as_json and yes):
            show_plan(desk, planned, stderr=as_json)
        if not planned.run.units or not (yes or agreed(desk, planned.run)):
            return not planned.run.skipped
        return apply_run(desk, planned, (), as_json=as_json) and not planned.run.skipped
