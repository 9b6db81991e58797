"""`archive purge`: what has been in the bin for long enough is deleted."""

from pathlib import Path

import click

from lurge.archiver import emptying
from lurge.archiver.commands.asking import ask, print_lines, print_tables, see_askable
from lurge.archiver.commands.options import started, with_json, with_yes
from lurge.archiver.desk import Start, at_work


@click.command(short_help="Delete what has been in the bin for long enough.")
@with_yes
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["failures", "mount"]),
    help="Go on, this once, though this guard trips; may be repeated.",
)
@with_json
@started
def purge(
    start: Start,
    config: Path | None,
    defaults: bool,
    yes: bool,
    dry_run: bool,
    allow: tuple[str, ...],
    as_json: bool,
) -> bool:
    """
    Delete what has been in the bin for as long as it was to be, of each unit exactly what was put
    there. Where anything of it has changed, or a copy is not there, the unit stays.

    At a terminal it asks before.

    Exit status: 0 all that is due was deleted, or is left to another who works on it just now and
    has an exit status of his own; 1 something stays, see why; 2 wrong arguments or
    configuration; 3 the database cannot be used, nothing was done.
    """
    see_askable(yes=yes or dry_run)
    with at_work(start, config, defaults=defaults, acting=not dry_run) as desk:
        if dry_run or not yes:
            due = list(emptying.purge(desk.works, dry_run=True))
            _tell_purged(due, as_json=as_json and dry_run, dry_run=True)
            if dry_run or not due:
                return True
            if not ask(f"Delete {emptying.summary(due)}, for good? [Y/N] "):
                return True
        desk.look.again = "lurge archive purge"
        found = []
        for each in emptying.purge(desk.works, allow=allow):
            found.append(each)
            if as_json:
                click.echo(emptying.as_json(each))
        if not as_json:
            _tell_purged(found, as_json=False, dry_run=False)
        return all(each.became in emptying.WELL for each in found)


def _tell_purged(found: list[emptying.Purged], *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        print_lines(map(emptying.as_json, found))
        return
    if not found:
        click.echo("nothing is due")
        return
    print_tables([emptying.as_table(found, dry_run=dry_run)])
    click.echo(emptying.summary(found))
