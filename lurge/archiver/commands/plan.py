"""`archive plan`: what would be done is written down, and shown."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO

import click

from lurge.archiver import planning, proposing, showing
from lurge.archiver.commands.asking import print_lines, print_tables
from lurge.archiver.commands.options import of_candidates, of_plans, started, with_json, with_list
from lurge.archiver.desk import Desk, Start, at_work
from lurge.archiver.proposing import Asked
from lurge.archiver.showing import Planned
from lurge.archiver.works import now
from utils import config as config_file
from utils import show
from utils.paths import text

STANDARD_INPUT = "-"


@click.group(short_help="Write down what would be done.")
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
        listed(list_file) as paths,
        proposing.of_paths(paths, "archive", null=null) as asked,
    ):
        return _planned(desk, replace(asked, recall=recall), anew=anew, as_json=as_json)


def _planned(desk: Desk, asked: Asked, *, anew: bool, as_json: bool) -> bool:
    """Plan, and show it."""
    planned = make_plan(desk, asked, anew=anew)
    tell_plan(planned, as_json=as_json)
    return is_fine(planned) and not planned.run.tripped


def make_plan(desk: Desk, asked: Asked, *, anew: bool) -> Planned:
    """The plan of what is asked for, which may be one of before."""
    works = desk.works
    terminal = show.console(stderr=True)
    with terminal.status("looking at what is due"):
        wanted = proposing.wanted(works, asked)
        file, run, is_old = planning.plan(works, wanted, reuse=not anew)
    desk.look.run = run.content_id
    desk.look.event("plan", file=text(bytes(file)), units=len(run.units), bytes=run.size_bytes)
    return Planned(file.absolute(), run, is_old, asked.missed)


def tell_plan(planned: Planned, *, as_json: bool) -> None:
    """Show a plan, and how to go on."""
    if as_json:
        print_lines(showing.plan_json(planned))
        return
    print_tables(showing.plan_tables(planned))
    print_lines([*showing.plan_words(planned, now().date()), *showing.going_on(planned)])


def is_fine(planned: Planned) -> bool:
    """Whether the selector has seen everything."""
    return not any(each.is_failure for each in planned.missed)


@contextmanager
def listed(name: str) -> Iterator[IO[bytes]]:
    """A list of paths. Raises OSError."""
    if name == STANDARD_INPUT:
        yield sys.stdin.buffer
        return
    with Path(name).open("rb") as file:
        yield file
