"""`archive recover`: a database that has lost the ledger is told again."""

from pathlib import Path

import click

from lurge.archiver import recovering
from lurge.archiver.commands.asking import print_tables
from lurge.archiver.commands.options import started, with_json
from lurge.archiver.desk import Start, at_work
from utils import show


@click.command()
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(["mount", "target"]),
    help="What was on a volume, or at a target, that is not there is gone; may be repeated.",
)
@with_json
@started
def recover(
    start: Start, config: Path | None, defaults: bool, allow: tuple[str, ...], as_json: bool
) -> bool:
    """
    Tell a database that has lost the archive's ledger what became of each unit: by run files, bins,
    manifests at the targets, and checkpoint files. What it knows it keeps, so this may be done at
    any time, and again.

    Exit status: 0 all that was found is known again; 1 something cannot be told, or needs a look; 2
    wrong arguments or configuration; 3 the database or a target cannot be used.
    """
    with at_work(start, config, defaults=defaults) as desk:
        desk.look.again = "lurge archive recover"
        found = []
        for each in recovering.recover(desk.works, allow):
            found.append(each)
            if as_json:
                click.echo(recovering.as_json(each))
        if not as_json:
            print_tables([recovering.as_table(found)])
            known = sum(each.became == "recovered" for each in found)
            click.echo(f"{show.count(known, 'unit')} known again")
        return all(each.became == "recovered" for each in found)
