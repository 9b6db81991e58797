"""`archive check`: whether what the ledger says is so."""

from pathlib import Path

import click

from lurge.archiver import checking, findings
from lurge.archiver.commands.asking import print_tables
from lurge.archiver.commands.options import PLACE, Percent, started, with_json
from lurge.archiver.desk import Start, at_work
from lurge.scan import absolute


@click.command(short_help="Whether what the ledger says is so.")
@click.argument("path", type=PLACE, required=False)
@click.option(
    "--read",
    "read",
    type=Percent(),
    default=0.0,
    metavar="N%",
    help="Read a share of the files back, drawn by chance, and tell how sure that makes.",
)
@with_json
@started
def check(
    start: Start,
    config: Path | None,
    defaults: bool,
    path: bytes | None,
    read: float,
    as_json: bool,
) -> bool:
    """
    Compare the ledger with the targets, the bins and the places of units; with PATH only of the
    units there and below, and not what else may be in the bins. A PATH that nothing is known of is
    told, and is not well.

    A copy that is not whole is noted as lost: its unit is not purged. Nothing else is changed.

    Exit status: 0 all is as it should be; 1 something is not, each with what to do; 2 wrong
    arguments or configuration; 3 the database cannot be used.
    """
    with at_work(start, config, defaults=defaults) as desk:
        checked = checking.begin()
        found = []
        below = None if path is None else absolute(path)
        for finding in checking.check(desk.works, checked, read, below):
            found.append(finding)
            desk.look.event("found", kind=finding.kind, what=finding.where, why=finding.why)
            if as_json:
                click.echo(findings.as_json(finding))
        desk.look.event("checked", found=len(found), words=checked.in_words())
        if as_json:
            click.echo(checking.as_json(checked))
        else:
            print_tables([findings.as_table(found)] if found else [])
            click.echo(checked.in_words())
        return not found
