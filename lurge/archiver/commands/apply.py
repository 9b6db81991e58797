"""`archive apply`: what a run file says is done, and what became of its units is told."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import click

from db import ledger
from lurge.archiver import applying, guards, run_names, showing
from lurge.archiver.commands.asking import ask, print_lines, print_tables, see_askable
from lurge.archiver.commands.options import FILE, started, with_json, with_yes
from lurge.archiver.desk import Desk, Start, at_work
from lurge.archiver.guards import GuardTripped
from lurge.archiver.showing import Planned
from lurge.archiver.works import Works, now
from lurge_types.archive import Run, UnitNow
from utils.durable import NoRoom
from utils.object_keys import MANIFESTS
from utils.paths import text


@click.command(short_help="Do what a run file says.")
@click.argument("run", type=FILE)
@with_yes
@click.option("--dry-run", is_flag=True, help="Show every step of each unit, and take none.")
@click.option(
    "--allow",
    multiple=True,
    type=click.Choice(list(guards.NAMES)),
    help="Go on, this once, though this guard trips; may be repeated.",
)
@with_json
@started
def apply(
    start: Start,
    config: Path | None,
    defaults: bool,
    run: Path,
    yes: bool,
    dry_run: bool,
    allow: tuple[str, ...],
    as_json: bool,
) -> bool:
    """
    Do what a run file says: copy, verify, put into the bin. At a terminal it asks before, unless
    there is nothing in it.

    RUN: a run file, or the first digits of its content's id, 6 or more. It may be applied as often
    as one likes, by several processes and hosts at once: what is done is done once.

    Exit status: 0 every unit has come to a good end; 1 some have not, or a guard has tripped, or
    the run is refused; 2 there is no such run, or it was changed; 3 the database or a target cannot
    be used, nothing was done; 130 Ctrl-C: apply it again to go on.
    """
    see_askable(yes=yes or dry_run)
    with at_work(start, config, defaults=defaults, acting=not dry_run) as desk:
        file, read = run_names.named(desk.works, run)
        planned = Planned(file, read, False, ())
        if dry_run:
            tell_steps(desk.works, read, as_json=as_json)
            return True
        if not yes:
            show_plan(desk, planned, stderr=as_json)
            if not agreed(desk, read):
                return True
        return apply_run(desk, planned, allow, as_json=as_json)


def show_plan(desk: Desk, planned: Planned, *, stderr: bool) -> None:
    """Show a plan to who is to agree, and what was done of it before."""
    print_tables(showing.plan_tables(planned), stderr=stderr)
    begun = showing.so_far(_units(desk.works, planned.run).values())
    lines = [*showing.plan_words(planned, now().date()), *filter(None, [begun])]
    print_lines(lines, stderr=stderr)


def agreed(desk: Desk, run: Run) -> bool:
    """Whether a person wants a run to be applied; nobody is asked of nothing."""
    tell = partial(tell_steps, desk.works, run, as_json=False, stderr=True)
    return not run.units or ask(showing.question(run, now().date()), tell)


def apply_run(desk: Desk, planned: Planned, allow: Sequence[str], *, as_json: bool) -> bool:
    """Apply a run, and tell what has become of its units; whether all is well with them."""
    works, run = desk.works, planned.run
    desk.look.run = run.content_id
    desk.look.again = showing.applied_again(run, allow)
    _see_targets(works, run)
    desk.look.event("applying", file=text(bytes(planned.file)), who=works.actor.who)
    try:
        with desk.bars():
            units = applying.apply(works, planned.file, run, allow)
    except (GuardTripped, NoRoom):
        if desk.look.done:
            _tell_outcome(desk, run, list(_units(works, run).values()), as_json=as_json)
        raise
    _tell_outcome(desk, run, units, as_json=as_json)
    return all(showing.is_good(unit, run.policy) for unit in units)


def _see_targets(works: Works, run: Run) -> None:
    """See that the targets answer before anything is done. Raises TargetFailed, DatabaseFailed."""
    known = works.database.read(partial(ledger.known, content_id=run.content_id))
    if known and known.ended:
        return
    for target in works.targets(run.policy):
        target.stat(f"{MANIFESTS}ready")


def _units(works: Works, run: Run) -> dict[int, UnitNow]:
    """The units of a run as the ledger has them, by number; none of a run that it has not."""
    known = works.database.read(partial(ledger.known, content_id=run.content_id))
    if known is None:
        return {}
    units = works.database.read(
        lambda connection: list(ledger.each_unit(connection, run_id=known.run_id))
    )
    return {unit.number: unit for unit in units}


def tell_steps(works: Works, run: Run, *, as_json: bool, stderr: bool = False) -> None:
    """Show the steps that are still to be taken."""
    told = showing.steps_json if as_json else showing.steps
    print_lines(told(works, run, _units(works, run)), stderr=stderr)


def _tell_outcome(desk: Desk, run: Run, units: list[UnitNow], *, as_json: bool) -> None:
    good = sum(showing.is_good(unit, run.policy) for unit in units)
    desk.look.event("summary", units=len(units), good=good, need_a_person=len(units) - good)
    done = desk.look.done
    if as_json:
        print_lines(showing.outcome_json(units, run, done))
        return
    print_tables(showing.outcome_tables(units, run.policy))
    print_lines(showing.outcome_words(units, done))
