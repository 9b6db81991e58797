"""Who is at the terminal is shown something, and asked."""

import sys
from collections.abc import Callable, Iterable

import click
from rich.table import Table

from utils import show

WIDEST = 100_000


def at_a_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def see_askable(*, yes: bool) -> None:
    """See that somebody can be asked, unless that is not wanted. Raises UsageError."""
    if not yes and not at_a_terminal():
        raise click.UsageError("nobody is at a terminal who could be asked: give --yes")


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
            case _ if answer:
                more = "; D: show each step, and ask again" if details else ""
                click.echo(f"Y: do it; N: do nothing{more}", err=True)
        if not answer:
            click.echo(err=True)
            return False


def print_lines(lines: Iterable[str], *, stderr: bool = False) -> None:
    """Print lines."""
    for line in lines:
        click.echo(line, err=stderr)


def print_tables(tables: Iterable[Table], *, stderr: bool = False) -> None:
    """Print tables, a line apart; without a terminal no path is folded, however long it is."""
    console = show.console(stderr=stderr)
    if not console.is_terminal:
        console.width = WIDEST
    for table in tables:
        show.print_table(console, table)
        console.print("")
