"""What the commands of `archive` are given: the options that several of them have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import click

from lurge_types.candidates import CLASSES, NOW

Command = TypeVar("Command", bound=Callable[..., Any])

FILE = click.Path(path_type=Path)
PLACE = click.Path(path_type=bytes)


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
