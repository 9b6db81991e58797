"""`archive list`: what is where."""

from collections.abc import Collection
from itertools import chain, islice
from pathlib import Path

import click

from lurge.archiver import listing
from lurge.archiver.commands.asking import print_lines, print_tables
from lurge.archiver.commands.options import PLACE, started, with_json
from lurge.archiver.desk import Start, at_work
from lurge.scan import absolute
from lurge_types.archive import STATES, State
from utils.paths import text

MOST_LISTED = 200


@click.command("list", short_help="What is where.")
@click.argument("path", type=PLACE, required=False)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(sorted(STATES)),
    help="Only units in this state; may be repeated.",
)
@click.option("--run", metavar="RUN", help="Only of the run whose content's id begins so.")
@click.option("--all", "everything", is_flag=True, help=f"Not only the newest {MOST_LISTED}.")
@with_json
@started
def list_units(
    start: Start,
    config: Path | None,
    defaults: bool,
    path: bytes | None,
    states: tuple[State, ...],
    run: str | None,
    everything: bool,
    as_json: bool,
) -> bool:
    """
    Tell what is where, the newest first: units with their states and copies; with PATH those that
    have it in them, and those below it. Nothing is changed.

    Exit status: 0 done, also if there is nothing; 2 wrong arguments or configuration; 3 the
    database cannot be used.
    """
    with at_work(start, config, defaults=defaults, acting=False) as desk:
        where = None if path is None else absolute(path)
        found = listing.listed(desk.works, where, states=states or None, run=run)
        first = next(found, None)
        if first is None:
            what = "" if where is None else f" of {text(where)}, nor of what is below"
            click.echo(f"nothing is known{what}" + _chosen(states, run), err=as_json)
            return True
        found = chain([first], found)
        if as_json:
            print_lines(map(listing.as_json, found))
            return True
        most = None if everything else MOST_LISTED
        print_tables([listing.as_table(islice(found, most))])
        if next(found, None) is not None:
            click.echo("... and older ones: --all shows them, --state, --run and PATH choose")
        return True


def _chosen(states: Collection[State], run: str | None) -> str:
    """By what units were chosen, in words."""
    words = [f"in run {run}"] if run else []
    words += [f"in state {' or '.join(states)}"] if states else []
    return "".join(f", {each}" for each in words)
