"""`archive`: all its commands, and what it does alone, at a terminal."""

from dataclasses import replace
from pathlib import Path

import click

from lurge.archiver import proposing
from lurge.archiver.applying import RunRefused
from lurge.archiver.commands.apply import agreed, apply, apply_run
from lurge.archiver.commands.approve import approve
from lurge.archiver.commands.asking import at_a_terminal
from lurge.archiver.commands.check import check
from lurge.archiver.commands.discard import discard
from lurge.archiver.commands.handler import handler
from lurge.archiver.commands.list import list_units
from lurge.archiver.commands.options import of_candidates, of_plans, started
from lurge.archiver.commands.plan import is_fine, make_plan, plan, tell_plan
from lurge.archiver.commands.purge import purge
from lurge.archiver.commands.recover import recover
from lurge.archiver.commands.restore import restore
from lurge.archiver.desk import Start, at_work


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
        planned = make_plan(desk, replace(asked, recall=recall), anew=anew)
        tell_plan(planned, as_json=False)
        if not planned.run.units:
            return is_fine(planned)
        if planned.run.tripped or planned.run.policy.approval == "required":
            why = "a guard has tripped" if planned.run.tripped else "it is to be approved"
            raise RunRefused(f"{why}: nothing was uploaded")
        if not agreed(desk, planned.run):
            return is_fine(planned)
        return apply_run(desk, planned, (), as_json=False) and is_fine(planned)


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


for each in (approve, apply, check, discard, handler, list_units, plan, purge, recover, restore):
    archive.add_command(each)
