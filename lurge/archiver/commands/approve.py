"""`archive approve`: somebody else than its planner lets a run be applied."""

from pathlib import Path

import click
from sqlalchemy.engine import Connection

from db import ledger
from lurge.archiver import run_names
from lurge.archiver.applying import RunRefused
from lurge.archiver.commands.options import FILE, started
from lurge.archiver.desk import Start, at_work
from lurge.archiver.works import now
from utils import show


@click.command(short_help="Let a run be applied, as another than its planner.")
@click.argument("run", type=FILE)
@started
def approve(start: Start, config: Path | None, defaults: bool, run: Path) -> bool:
    """
    Let RUN be applied, where archive.approval = "required": somebody else than its planner must.

    RUN: a run file, or the first digits of its content's id, 6 or more.

    Exit status: 0 it is approved; 1 it is refused, as to its planner; 2 there is no such run, or it
    was changed; 3 the database cannot be used.
    """
    with at_work(start, config, defaults=defaults) as desk:
        works = desk.works
        file, read = run_names.named(works, run)
        desk.look.run = read.content_id
        if now() > read.expires:
            raise RunRefused(f"the plan has expired on {read.expires:%Y-%m-%d %H:%M} UTC")
        moment = now()

        def approved(connection: Connection) -> None:
            ledger.register(connection, read, file, works.actor, moment)
            ledger.approve(connection, read.content_id, works.actor, moment)

        works.database.transaction(approved)
        desk.look.event("approved", who=works.actor.who)
        what = f"{show.count(len(read.units), 'unit')}, {show.size(read.size_bytes)}"
        click.echo(f"approved: {what}, of {file}")
        return True
