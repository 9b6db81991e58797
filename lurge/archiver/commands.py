"""
`archive` and its commands: what is asked for is looked up, shown, asked about, done and told.

Each returns whether all is well. Nights do not import this.
"""

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import click
from rich.table import Table

from db import ledger
from db.ledger import RunUnknown
from lurge.archiver import (
    applying,
    checking,
    emptying,
    findings,
    guards,
    handling,
    listing,
    planning,
    proposing,
    recovering,
    restoring,
    run_names,
    showing,
)
from lurge.archiver.applying import RunRefused
from lurge.archiver.desk import Desk, Start, at_work
from lurge.archiver.guards import GuardTripped
from lurge.archiver.proposing import Asked
from lurge.archiver.showing import Planned
from lurge.archiver.works import Works, now
from lurge.scan import absolute
from lurge_types.archive import STATES, UNIT_NAME_DIGITS, Run, State, UnitNow
from lurge_types.candidates import CLASSES, NOW
from utils import config as config_file
from utils import show
from utils.object_keys import MANIFESTS
from utils.paths import text

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
PLACE = click.Path(path_type=bytes)
STANDARD_INPUT = "-"
MOST_LISTED = 200
WIDEST = 100_000

NAME = re.compile(rb"([0-9a-f]{6,64})(-[0-9]{1,6})?").fullmatch
"""The beginning of a run's content id, or a unit's name."""


def started(command: Command) -> Command:
    """The options that every command has, and how it was started."""
    command = click.option(
        "--defaults",
        is_flag=True,
        help="Use no configuration file, though nobody is at a terminal.",
    )(command)
    command = click.option(
        "--config", type=FILE, help="The configuration file (default: $LURGE_CONFIG, lurge.toml)."
    )(command)
    return cast(Command, click.pass_obj(command))


def with_json(command: Command) -> Command:
    """Let the answer be for programs."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")(command)


def with_yes(command: Command) -> Command:
    """Let nobody be asked."""
    return click.option("--yes", is_flag=True, help="Do not ask.")(command)


def with_list(command: Command) -> Command:
    """Take a list of paths."""
    command = click.option(
        "--null", is_flag=True, help="The list has bytes of paths with NUL between, not lines."
    )(command)
    return click.option(
        "--file",
        "list_file",
        required=True,
        metavar="FILE",
        help="Directories, one a line as Lurge shows them; - is standard input.",
    )(command)


def of_candidates(command: Command) -> Command:
    """What is asked of the candidates."""
    for option in (
        click.option("--group", "groups", multiple=True, help="With files of it; may be repeated."),
        click.option(
            "--class",
            "classes",
            multiple=True,
            type=click.Choice(list(CLASSES)),
            default=(NOW,),
            show_default=True,
            help="Of this class; may be repeated.",
        ),
        click.option("--volume", "volumes", multiple=True, help="On it; may be repeated."),
    ):
        command = option(command)
    return command


def of_plans(command: Command) -> Command:
    """What is asked of a plan."""
    command = click.option(
        "--recall", is_flag=True, help="Take units too with files that were released to an HSM."
    )(command)
    return click.option(
        "--force-run",
        "anew",
        is_flag=True,
        help="Plan anew, though there is a plan of the last hour.",
    )(command)


@click.group(invoke_without_command=True, short_help="Archive, verify, remove, restore.")
@of_candidates
@of_plans
@started
@click.pass_context
def archive(
    ctx: click.Context,
    start: Start,
    config: Path | None,
    defaults: bool,
    volumes: tuple[str, ...],
    classes: tuple[str, ...],
    groups: tuple[str, ...],
    anew: bool,
    recall: bool,
) -> bool:
    """
    Copy directories to an archive, verify the copies, put the directories into a bin, and delete
    them from there later. What was removed can be restored.

    Alone, at a terminal, it plans what the candidates report proposes, as `archive plan candidates`
    does, shows the plan and asks: Upload? [Y/N/D]. Y applies it, N ends and nothing counts as done,
    D shows every step without doing it and asks again. Without a terminal there are `archive plan`
    and `archive apply RUN --yes`.

    Exit status of all its commands: 0 done, all is well; 1 something is not done, or needs a
    person; 2 wrong arguments or configuration; 3 the database or a target cannot be used, nothing
    was done; 130 Ctrl-C.
    """
    start.config = config or start.config
    if ctx.invoked_subcommand is not None:
        _see_none(ctx)
        return True
    if not at_a_terminal():
        raise click.UsageError(
            "nobody is at a terminal: `archive plan SELECTOR` plans, `archive apply RUN --yes` "
            "applies that"
        )
    with at_work(start, config, defaults=defaults) as desk:
        asked = proposing.of_candidates(desk.works, volumes, classes, groups)
        planned = _plan(desk, replace(asked, recall=recall), anew=anew)
        _tell_plan(planned, as_json=False)
        if not planned.run.units:
            return _is_fine(planned)
        if planned.run.tripped or planned.run.policy.approval == "required":
            why = "a guard has tripped" if planned.run.tripped else "it is to be approved"
            raise RunRefused(f"{why}: nothing was uploaded")
        if not _agreed(desk, planned.run):
            return _is_fine(planned)
        return _apply(desk, planned, (), as_json=False) and _is_fine(planned)


def _see_none(ctx: click.Context) -> None:
    """See that no option stands before a command that is for `archive` alone."""
    given = [
        parameter.opts[0]
        for parameter in ctx.command.params
        if parameter.name not in {"config", None}
        and ctx.get_parameter_source(parameter.name or "") is click.core.ParameterSource.COMMANDLINE
    ]
    if given:
        raise click.UsageError(f"{', '.join(given)}: must stand behind the command")


# Plans.


@archive.group(short_help="Write down what would be done.")
def plan() -> None:
    """
    Look at what is proposed and due, as it is on the disk now, and write a run file. Nothing else
    is changed.

    It shows the units, what is left out and why, how much that frees and when, which guards stop
    it, and the command that applies it. A plan of the last hour that was asked for in the same way,
    with the same configuration, is shown again.

    Exit status: 0 planned, also if nothing is due; 1 a guard has tripped, or the selector could not
    see everything; 2 wrong arguments or configuration; 3 the database cannot be used.
    """


@plan.command("candidates", short_help="What the reports have found cold.")
@of_candidates
@of_plans
@with_json
@started
def plan_candidates(
    start: Start,
    config: Path | None,
    defaults: bool,
    volumes: tuple[str, ...],
    classes: tuple[str, ...],
    groups: tuple[str, ...],
    anew: bool,
    recall: bool,
    as_json: bool,
) -> bool:
    """
    Plan the directories that the newest candidates report of each volume names.

    Classes: now was last used two years ago or earlier, soon one year, watch less.

    Exit status: 0 planned, also if nothing is due; 1 a guard has tripped, or a volume has no
    candidates report; 2 wrong arguments or configuration; 3 the database cannot be used.
    """
    with at_work(start, config, defaults=defaults, make=False) as desk:
        asked = proposing.of_candidates(desk.works, volumes, classes, groups)
        return _planned(desk, replace(asked, recall=recall), anew=anew, as_json=as_json)


@plan.command("vault", short_help="What people have marked.")
@click.option("--volume", "volumes", multiple=True, help="On it; may be repeated.")
@of_plans
@with_json
@started
def plan_vault(
    start: Start,
    config: Path | None,
    defaults: bool,
    volumes: tuple[str, ...],
    anew: bool,
    recall: bool,
    as_json: bool,
) -> bool:
    """
    Plan the files that people have marked to be archived, vault by vault, each with its link there.

    Which are marked comes from the newest puppeteer report; each is looked at on the disk.

    Exit status: 0 planned, also if nothing is due; 1 a guard has tripped; 2 wrong arguments or
    configuration; 3 the database cannot be used.
    """
    with at_work(start, config, defaults=defaults, make=False) as desk:
        asked = proposing.of_vaults(desk.works, volumes)
        return _planned(desk, replace(asked, recall=recall), anew=anew, as_json=as_json)


@plan.command("projects", short_help="Projects that ended.")
@of_plans
@with_json
@started
def plan_projects(
    start: Start, config: Path | None, defaults: bool, anew: bool, recall: bool, as_json: bool
) -> bool:
    """
    Plan the directories of projects and tasks that ended long enough ago, by the site's own
    database: see [archive.projects]; its URL is in LURGE_PROJECTS_URL.

    Exit status: 0 planned, also if nothing is due; 1 a guard has tripped, or a query has no answer;
    2 wrong arguments or configuration; 3 Lurge's database cannot be used.
    """
    with at_work(start, config, defaults=defaults, make=False) as desk:
        asked = proposing.of_projects(desk.works, config_file.projects_url())
        return _planned(desk, replace(asked, recall=recall), anew=anew, as_json=as_json)


@plan.command("paths", short_help="A list of directories.")
@with_list
@of_plans
@with_json
@started
def plan_paths(
    start: Start,
    config: Path | None,
    defaults: bool,
    list_file: str,
    null: bool,
    anew: bool,
    recall: bool,
    as_json: bool,
) -> bool:
    """
    Plan the directories of a list.

    Exit status: 0 planned, also if nothing is due; 1 a guard has tripped, or the list cannot be
    read; 2 wrong arguments or configuration; 3 the database cannot be used.
    """
    with (
        at_work(start, config, defaults=defaults, make=False) as desk,
        _listed(list_file) as paths,
        proposing.of_paths(paths, "archive", null=null) as asked,
    ):
        return _planned(desk, replace(asked, recall=recall), anew=anew, as_json=as_json)


def _planned(desk: Desk, asked: Asked, *, anew: bool, as_json: bool) -> bool:
    """Plan, and show it."""
    planned = _plan(desk, asked, anew=anew)
    _tell_plan(planned, as_json=as_json)
    return _is_fine(planned) and not planned.run.tripped


def _plan(desk: Desk, asked: Asked, *, anew: bool) -> Planned:
    works = desk.works
    terminal = show.console(stderr=True)
    with terminal.status("looking at what is due"):
        wanted = proposing.wanted(works, asked)
        file, run, is_old = planning.plan(works, wanted, reuse=not anew)
    desk.look.run = run.content_id
    desk.look.event("plan", file=text(bytes(file)), units=len(run.units), bytes=run.size_bytes)
    return Planned(file.absolute(), run, is_old, asked.missed)


def _tell_plan(planned: Planned, *, as_json: bool) -> None:
    if as_json:
        _lines(showing.plan_json(planned))
        return
    _tables(showing.plan_tables(planned))
    _lines(showing.plan_words(planned, now().date()))


def _is_fine(planned: Planned) -> bool:
    """Whether the selector has seen everything."""
    return not any(each.is_failure for each in planned.missed)


@contextmanager
def _listed(name: str) -> Iterator[IO[bytes]]:
    """A list of paths. Raises OSError."""
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file


# Runs.


@archive.command(short_help="Let a run be applied, as another than its planner.")
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
        register = partial(ledger.register, run=read, file=file, actor=works.actor, now=moment)
        works.database.transaction(register)
        works.database.transaction(
            partial(ledger.approve, content_id=read.content_id, actor=works.actor, now=moment)
        )
        desk.look.event("approved", who=works.actor.who)
        size = show.size(read.size_bytes)
        click.echo(f"approved: {len(read.units):,} units, {size}, of {file}")
        return True


@archive.command(short_help="Do what a run file says.")
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
    Do what a run file says: copy, verify, put into the bin. At a terminal it asks before.

    RUN: a run file, or the first digits of its content's id, 6 or more. It may be applied as often
    as one likes, by several processes and hosts at once: what is done is done once.

    Exit status: 0 every unit has come to a good end; 1 some have not, or a guard has tripped, or
    the run is refused; 2 there is no such run, or it was changed; 3 the database or a target cannot
    be used, nothing was done; 130 Ctrl-C: apply it again to go on.
    """
    _see_askable(yes=yes or dry_run)
    with at_work(start, config, defaults=defaults, acting=not dry_run) as desk:
        file, read = run_names.named(desk.works, run)
        if dry_run:
            _tell_steps(desk.works, read, as_json=as_json)
            return True
        if not yes:
            planned = Planned(file, read, False, ())
            _tables(showing.plan_tables(planned), stderr=as_json)
            if not _agreed(desk, read):
                return True
        return _apply(desk, Planned(file, read, False, ()), allow, as_json=as_json)


@archive.command(short_help="Put directories into the bin, without a copy.")
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
    _see_askable(yes=yes)
    with (
        at_work(start, config, defaults=defaults) as desk,
        _listed(list_file) as paths,
        proposing.of_paths(paths, "discard", null=null) as asked,
    ):
        planned = _plan(desk, asked, anew=False)
        if not (as_json and yes):
            _tables(showing.plan_tables(planned), stderr=as_json)
        if not planned.run.units or not (yes or _agreed(desk, planned.run)):
            return not planned.run.skipped
        return _apply(desk, planned, (), as_json=as_json) and not planned.run.skipped


def _apply(desk: Desk, planned: Planned, allow: Sequence[str], *, as_json: bool) -> bool:
    """Apply a run, and tell what has become of its units; whether all is well with them."""
    works, run = desk.works, planned.run
    desk.look.run = run.content_id
    _see_targets(works, run)
    desk.look.event("applying", file=text(bytes(planned.file)), who=works.actor.who)
    try:
        with desk.bars():
            units = applying.apply(works, planned.file, run, allow)
    except GuardTripped:
        if desk.look.done:
            _tell_outcome(desk, run, list(_units(works, run).values()), as_json=as_json)
        raise
    _tell_outcome(desk, run, units, as_json=as_json)
    return all(showing.is_good(unit, run.policy) for unit in units)


def _see_targets(works: Works, run: Run) -> None:
    """See that the targets answer before anything is done. Raises TargetFailed, DatabaseFailed."""
    try:
        if works.database.read(partial(ledger.run_of, prefix=run.content_id)).ended:
            return
    except RunUnknown:
        pass  # it is applied for the first time
    for target in works.targets(run.policy):
        target.stat(f"{MANIFESTS}ready")


def _units(works: Works, run: Run) -> dict[int, UnitNow]:
    """The units of a run as the ledger has them, by number; none of a run that it has not."""
    try:
        known = works.database.read(partial(ledger.run_of, prefix=run.content_id))
    except RunUnknown:
        return {}
    units = works.database.read(
        lambda connection: list(ledger.each_unit(connection, run_id=known.run_id))
    )
    return {unit.number: unit for unit in units}


def _tell_steps(works: Works, run: Run, *, as_json: bool, stderr: bool = False) -> None:
    told = showing.steps_json if as_json else showing.steps
    _lines(told(works, run, _units(works, run)), stderr=stderr)


def _tell_outcome(desk: Desk, run: Run, units: list[UnitNow], *, as_json: bool) -> None:
    good = sum(showing.is_good(unit, run.policy) for unit in units)
    desk.look.event("summary", units=len(units), good=good, need_a_person=len(units) - good)
    done = desk.look.done
    if as_json:
        _lines(showing.outcome_json(units, run, done))
        return
    _tables(showing.outcome_tables(units, run.policy))
    _lines(showing.outcome_words(units, done))


# The archive.


@archive.command(short_help="Delete what has been in the bin for long enough.")
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

    Exit status: 0 all that is due was deleted; 1 something stays, see why; 2 wrong arguments or
    configuration; 3 the database cannot be used, nothing was done.
    """
    _see_askable(yes=yes or dry_run)
    with at_work(start, config, defaults=defaults, acting=not dry_run) as desk:
        if dry_run or not yes:
            due = list(emptying.purge(desk.works, dry_run=True))
            _tell_purged(due, as_json=as_json and dry_run, dry_run=True)
            if dry_run or not due:
                return True
            if not ask(f"Delete {emptying.summary(due)}, for good? [Y/N] "):
                return True
        found = []
        for each in emptying.purge(desk.works, allow=allow):
            found.append(each)
            if as_json:
                click.echo(emptying.as_json(each))
        if not as_json:
            _tell_purged(found, as_json=False, dry_run=False)
        return all(each.became == "deleted" for each in found)


def _tell_purged(found: list[emptying.Purged], *, as_json: bool, dry_run: bool) -> None:
    if as_json:
        _lines(map(emptying.as_json, found))
        return
    _tables([emptying.as_table(found, dry_run=dry_run)])
    click.echo(emptying.summary(found))


@archive.command()
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
        found = []
        for each in recovering.recover(desk.works, allow):
            found.append(each)
            if as_json:
                click.echo(recovering.as_json(each))
        if not as_json:
            _tables([recovering.as_table(found)])
            known = sum(each.became == "recovered" for each in found)
            click.echo(f"{known:,} units are known again")
        return all(each.became == "recovered" for each in found)


class Percent(click.ParamType[float]):
    """A share from 0 to 100, with or without its sign."""

    name = "N%"

    def convert(
        self, value: str | float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number."""
        if isinstance(value, float):
            return value
        try:
            share = float(value.removesuffix("%"))
        except ValueError:
            share = -1.0
        if not 0 <= share <= 100:
            self.fail("must be like 5%, from 0 to 100", param, ctx)
        return share


@archive.command(short_help="Whether what the ledger says is so.")
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
    units there and below, and not what else may be in the bins.

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
            _tables([findings.as_table(found)] if found else [])
            click.echo(checked.in_words())
        return not found


@archive.command("list", short_help="What is where.")
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
        if as_json:
            _lines(map(listing.as_json, found))
            return True
        most = None if everything else MOST_LISTED
        _tables([listing.as_table(islice(found, most))])
        if next(found, None) is not None:
            click.echo("... and older ones: --all shows them, --state, --run and PATH choose")
        return True


@archive.command(short_help="Bring back what was removed.")
@click.argument("what", type=PLACE)
@click.option("--to", "folder", type=PLACE, metavar="DIR", help="Not to its place, but in here.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
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
    _see_askable(yes=yes)
    with at_work(start, config, defaults=defaults) as desk:
        found = restoring.find(desk.works, _meant(what))
        to = None if folder is None else absolute(folder)
        if not yes:
            _tables([showing.restore_table(found, to)], stderr=as_json)
            if not ask(f"Restore {len(found):,} of these? [Y/N] "):
                return True
        done = []
        with desk.bars():
            for each in restoring.restore(desk.works, found, to, overwrite=overwrite):
                done.append(each)
                if as_json:
                    click.echo(showing.restored_json(each))
        if not as_json:
            _tables([showing.restored_table(done)])
        return all(each.failure is None for each in done)


def _meant(what: bytes) -> str:
    """A path in text form, or the beginning of a name."""
    if (name := NAME(what)) and not os.path.lexists(what):
        unit = name[1][:UNIT_NAME_DIGITS] + (name[2] or b"")
        return unit.decode("ascii")
    return text(absolute(what))


@archive.command(short_help="For vaults that drain themselves.")
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
        _lines(refused, stderr=True)
        return not refused


def _bytes_of(words: Sequence[str]) -> int | None:
    """How many bytes it is asked for; None where files are handed over."""
    if not words:
        return None
    if len(words) != 2 or words[0] != "ready" or not words[1].isdecimal():
        raise click.UsageError("handler takes paths on standard input, or: ready BYTES")
    return int(words[1])


# Whoever is asked and told.


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def _see_askable(*, yes: bool) -> None:
    if not yes and not at_a_terminal():
        raise click.UsageError("nobody is at a terminal who could be asked: give --yes")


def _agreed(desk: Desk, run: Run) -> bool:
    """Whether a person wants a run to be applied."""
    tell = partial(_tell_steps, desk.works, run, as_json=False, stderr=True)
    return ask(showing.question(run, now().date()), tell)


def ask(question: str, details: Callable[[], object] | None = None) -> bool:
    """
    Ask until there is an answer; whoever hangs up says no.

    details: shown to who answers D.
    """
    while True:
        click.echo(question, nl=False, err=True)
        answer = sys.stdin.readline()
        match answer.strip().upper():
            case "Y" | "YES":
                return True
            case "N" | "NO":
                return False
            case "D" if details:
                details()
        if not answer:
            click.echo(err=True)
            return False


def _lines(lines: Iterable[str], *, stderr: bool = False) -> None:
    for line in lines:
        click.echo(line, err=stderr)


def _tables(tables: Iterable[Table], *, stderr: bool = False) -> None:
    """Print tables, a line apart; without a terminal no path is folded, however long it is."""
    console = show.console(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDEST
    for table in tables:
        console.print(table, "")
