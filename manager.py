#!/usr/bin/env python3
"""The one command: reads arguments and configuration, calls the programs, sets the exit status."""

import errno
import os
import re
import secrets
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from functools import partial
from importlib.metadata import version
from io import TextIOWrapper
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast, get_args

import click
from pydantic import BaseModel
from rich.table import Table
from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from db import views
from db.ancestor import Ancestor
from db.database import Database, DatabaseFailed, is_empty_file
from db.growth import REPORTS as COMPARED
from db.growth import By
from db.views import Generation
from lurge import backtest as backtests
from lurge import diff as diffs
from lurge import doctor, nightly, old_days, orphan_forms, outcomes, retention
from lurge import orphans as lost
from lurge import tree as trees
from lurge.archiver.troubles import AskedWrong, NotDone, Unavailable
from lurge.backtest import NothingToJudge
from lurge.candidates.report import Candidates
from lurge.demo.history import write as write_history
from lurge.demo.site import FolderTaken, SiteTooSmall
from lurge.demo.site import make as make_site
from lurge.diff import NothingToCompare
from lurge.doctor import Check, Patient, Point
from lurge.importing import report as importing
from lurge.importing.sums import table as table_of_sums
from lurge.init import ConfigUnwritable, write_config
from lurge.inspector.report import Inspector
from lurge.nightly import Night, Pass, Report, Result, UnknownVolume
from lurge.onepass import mpi, ranks, threads
from lurge.onepass.mpi import MpiPost, NotStarted
from lurge.orphans import NothingRecorded
from lurge.puppeteer.report import Puppeteer
from lurge.reporter import Reporter
from lurge.scan import ScanFailed, absolute
from lurge.scan import scan as write_scan
from lurge.sources import sources
from lurge.splitter.report import Splitter
from lurge.tree import PathUnplaced, TreeFailed
from lurge.upkeep import after_night
from lurge.users import UserReporter
from lurge_types.config import (
    LEAST_BUDGET,
    MAX_DEPTH,
    MAX_HISTORY_DAYS,
    Config,
    DatabaseTable,
    volume_name,
)
from lurge_types.reports import Outcome
from lurge_types.scans import Progress, Scan, Volume
from utils import config as config_file
from utils import show
from utils.config import ConfigWrong
from utils.log import Log, open_log
from utils.names import Names, NamesMissing, NamesWrong
from utils.paths import raw, text
from utils.progress import entry_counter, progress_bars, progress_log, upload_log
from utils.quotas import Quotas, QuotasWrong
from utils.s3 import Bucket
from utils.s3_client import S3Failed
from utils.scanfile import STANDARD_INPUT
from utils.scans import MountsAlike, NoScans, ScanMissing, ScansUnreadable, of_file

FINE, SOMETHING_FAILED, WRONG_USE, NOTHING_DONE, BUG, INTERRUPTED = 0, 1, 2, 3, 70, 130

WRONG = (
    AskedWrong,
    ConfigWrong,
    MountsAlike,
    NamesWrong,
    PathUnplaced,
    QuotasWrong,
    S3Failed,
    UnknownVolume,
)
MISSING = (DatabaseFailed, NamesMissing, NoScans, ScansUnreadable, Unavailable)
FAILED = (
    ConfigUnwritable,
    FolderTaken,
    NotDone,
    NothingRecorded,
    NothingToCompare,
    NothingToJudge,
    ScanFailed,
    TreeFailed,
)

REPORTS = {
    "reporter": "What each group uses, against which quota.",
    "inspector": "What is in each project directory, by file type and age.",
    "puppeteer": "Which files people have put into vaults, to keep or to archive.",
    "users": "What each user has in each group.",
    "splitter": "The raw lines of each group, one file each, for tree servers.",
    "candidates": "What could be archived, largest and coldest first.",
}
"""The reports that may be named together, each with what `--help` says of it."""

WORTH_TRYING = (
    "reporter inspector users puppeteer candidates",
    "serve",
    "orphans",
    "backtest",
    "doctor",
)
"""What a made-up site has something to show for."""

ARCHIVE = "archive"
IN_MEMORY = "sqlite://"
DOCTOR_WAITS_SECONDS = 5
"""For whoever does not answer."""

DATABASE_NAME = re.compile(r"[0-9A-Za-z_$-]{1,64}").fullmatch

FILE = click.Path(path_type=Path)
DAY = click.DateTime(["%Y-%m-%d"])

Command = TypeVar("Command", bound=Callable[..., Any])
Answer = TypeVar("Answer")
Answer_contra = TypeVar("Answer_contra", contravariant=True)

Running = Callable[[Callable[[Progress], None]], Iterator[Result]]
"""Makes reports; it tells how the reading goes, and gives what becomes of each."""


@dataclass
class Start:
    """How a command is started: with which ranks, and with which configuration in front of it."""

    post: MpiPost | None
    config: Path | None = None

    def configuration(self, given: Path | None, *, defaults: bool) -> tuple[Config, str]:
        """The configuration of a command that writes, and its digest."""
        return config_file.read_with_digest(path_to_write(given, defaults))

    def database(self, config: Config, waiting: Callable[[str], None], *, make: bool) -> Database:
        """The database with its tables; make: they are made where SQLite has none."""
        return open_database(config.database, not make, waiting)

    def abandon(self, again: str | None = None) -> None:
        """End this process, whatever it is doing. again: how to go on."""
        interrupted(again)
        os._exit(INTERRUPTED)


class Suite(click.Group):
    """Commands; reports may be named together, with options before, between and behind them."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The report command keeps every word; any other command is told by the first."""
        if args[0] in REPORTS or args[0].startswith("-"):
            return args[0], report, args
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All of them."""
        return sorted([*super().list_commands(ctx), ARCHIVE])

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """A command by its name; those of the archiver are imported when they are asked for."""
        if name != ARCHIVE:
            return super().get_command(ctx, name)
        # Nights need no archiver, whose import takes as long as a small report.
        from lurge.archiver.commands.group import archive  # noqa: PLC0415

        return archive


def with_config(command: Command) -> Command:
    """Let --config stand before or behind any command."""
    return click.option(
        "--config", type=FILE, help="The configuration file (default: $LURGE_CONFIG, lurge.toml)."
    )(command)


def with_defaults(command: Command) -> Command:
    """Let --defaults stand for no configuration."""
    return click.option(
        "--defaults",
        is_flag=True,
        help="Use no configuration file, though nobody is at a terminal.",
    )(command)


@click.group(
    cls=Suite,
    context_settings={"ignore_unknown_options": True, "help_option_names": ["-h", "--help"]},
)
@click.version_option(version("lurge"), prog_name="lurge")
@with_config
@click.pass_context
def suite(ctx: click.Context, config: Path | None) -> None:
    """
    Lurge looks after shared filesystems: who uses what, since when, and what could go.

    Without a configuration file it takes defaults: everything under ./lurge-data, names from the
    system, no quotas. `lurge init` writes a commented one.
    """
    ctx.obj.config = config


@click.command(options_metavar="[REPORT]... [OPTIONS]")
@click.argument("reports", nargs=-1, required=True, type=click.Choice(list(REPORTS)), metavar="")
@with_config
@click.option("--volume", "volumes", multiple=True, help="Only this volume; may be repeated.")
@click.option(
    "--date",
    "day",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="Exactly this day's scans, not the newest.",
)
@click.option(
    "--from",
    "first",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="Fill in old days from this one on, oldest first.",
)
@click.option(
    "--to",
    "last",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="With --from: to this day (default: today).",
)
@click.option("--scan", "scan_file", type=FILE, help="Read this file, with --volume and --date.")
@click.option("--force", is_flag=True, help="Do it again although it is recorded.")
@click.option("--dry-run", is_flag=True, help="Read everything, print, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per volume and report.")
@click.option("--all", "everyone", is_flag=True, help="splitter: groups that nobody knows, too.")
@click.option(
    "--upload/--no-upload",
    default=None,
    help="splitter: send the files to splitter.upload, or do not (default: where it is given).",
)
@with_defaults
@click.pass_context
def report(
    ctx: click.Context,
    reports: tuple[str, ...],
    config: Path | None,
    volumes: tuple[str, ...],
    day: datetime | None,
    first: datetime | None,
    last: datetime | None,
    scan_file: Path | None,
    force: bool,
    dry_run: bool,
    as_json: bool,
    everyone: bool,
    upload: bool | None,
    defaults: bool,
) -> int:
    """
    Make reports of the newest scan of each volume; each scan is read once for all of them.

    reporter: what each group uses, against which quota, and since when.

    inspector: what is in each project directory, by file type and age.

    puppeteer: which files people have put into vaults, to keep or to archive.

    users: what each user has in each group.

    splitter: the raw lines of each group in a file of its own, for tree servers. Its folder is
    there when all volumes are in it.

    candidates: what could be archived; made of what inspector and puppeteer tell, in the same run
    or in the one before.

    With --from and --to, old days are filled in, oldest first, each as it would have been; days
    without a scan are listed.

    Under mpirun the ranks share the work: mpirun -n 8 python -m mpi4py manager.py inspector ...

    Exit status: 0 done, or done already; 1 something failed, the rest is written; 2 wrong
    arguments or configuration; 3 something all need is missing, nothing was done.
    """
    settings = config_to_write(config or ctx.obj.config, defaults)
    log = open_log(sys.stderr, secrets.token_hex(4))
    today = datetime.now(UTC).date()
    asked = days_asked(first, last, today)
    if asked and (day or scan_file):
        raise click.UsageError("--from and --to exclude --date and --scan")
    if scan_file:
        check_scan(scan_file, volumes, day)

    def waiting(why: str) -> None:
        log.warning("waiting", why=why)

    def odd(remark: str) -> None:
        log.warning("names", remark=remark)

    names, quotas = sources(settings, waiting, odd)
    bucket = bucket_of(settings, upload, waiting) if "splitter" in reports else None
    days = old_days.find(settings, volumes, asked, today) if asked else None
    wanted = (
        scans_to_read(settings, volumes, day.date() if day else None, scan_file, today)
        if days is None
        else []
    )
    database = open_database(settings.database, dry_run, waiting)
    programs, candidates = programs_of(settings, database, names, quotas, today)
    read, threads = how_to_read(settings, ctx.obj.post)
    if "splitter" in reports:
        check_budget(settings, threads)
    new_splitter = partial(
        Splitter,
        settings,
        database,
        names,
        threads=threads,
        bucket=bucket,
        uploading=upload_log(log),
        everyone=everyone,
        force=force,
        dry_run=dry_run,
    )
    night = Night(
        config=settings,
        database=database,
        reports=[program for name, program in programs.items() if name in reports],
        today=today,
        read=read,
        candidates=candidates if "candidates" in reports else None,
        force=force,
        dry_run=dry_run,
        day=day.date() if day else None,
    )
    splitter = new_splitter if "splitter" in reports else None
    after = () if dry_run else (partial(after_night, settings, database, names, today),)
    if days:
        filling = followed(partial(old_days.run, night, days, splitter), *after)
        return fill_in(filling, days.gaps, log, as_json)
    night = replace(night, splitter=splitter() if splitter else None)
    return run_night(followed(partial(night.run, wanted), *after), log, as_json)


for _name, _words in REPORTS.items():
    suite.add_command(click.Command(_name, params=report.params, short_help=_words), _name)


def programs_of(
    settings: Config, database: Database, names: Names, quotas: Quotas, today: date
) -> tuple[dict[str, Report], Candidates]:
    """The reports that are made of scans by their names, and the one that is made of two others."""
    reporter = Reporter(settings, database, names, quotas, today=today)
    inspector = Inspector(settings, database, names)
    puppeteer = Puppeteer(settings, database, names)
    candidates = Candidates(
        settings,
        database,
        names,
        reporter=reporter,
        inspector=inspector,
        puppeteer=puppeteer,
    )
    users = UserReporter(settings.report_dir, database, names)
    made: tuple[Report, ...] = (reporter, inspector, puppeteer, users)
    return {each.name: each for each in made}, candidates


def followed(run: Running, *steps: Callable[[], Iterator[Result]]) -> Running:
    """The same with some steps behind it."""

    def all_of_it(progress: Callable[[Progress], None]) -> Iterator[Result]:
        yield from run(progress)
        for step in steps:
            yield from step()

    return all_of_it


def run_night(run: Running, log: Log, as_json: bool) -> int:
    """Make the reports and tell what became of them; the exit status."""
    results = list(watched(run, log, as_json))
    if not as_json:
        show_tables(outcomes.tables(results))
    failed = any(result.outcome.status == "failed" for result in results)
    return SOMETHING_FAILED if failed else FINE


def fill_in(run: Running, gaps: Mapping[str, str], log: Log, as_json: bool) -> int:
    """Make the reports of old days and tell what became of them; the exit status."""
    told = outcomes.Days()
    for result in watched(run, log, as_json):
        told.add(result)
    for volume, without in gaps.items():
        log.warning("no_scan", volume=volume, days=without)
    if not as_json:
        show_tables(told.tables(gaps))
    return SOMETHING_FAILED if told.failed else FINE


def watched(run: Running, log: Log, as_json: bool) -> Iterator[Result]:
    """What becomes of reports, while it is told to whoever looks on."""
    terminal = show.console(stderr=True, plain=mpi.launched())
    watching = progress_bars(terminal) if terminal.is_terminal else nullcontext(progress_log(log))
    with watching as progress:
        for result in run(progress):
            if as_json:
                print(outcomes.as_json(result.outcome), flush=True)
            if not terminal.is_terminal:
                note(result.outcome, log)
            yield result


def show_tables(tables: Iterable[Table]) -> None:
    """Print tables, a line apart."""
    for table in tables:
        show.console(plain=mpi.launched()).print(table, "")


def chosen_config(given: Path | None, defaults: bool) -> Path | None:
    """The configuration file to use; with --defaults none, wherever one may be."""
    if given and defaults:
        raise click.UsageError("--config and --defaults exclude each other")
    return None if defaults else config_file.find(given)


def config_to_write(given: Path | None, defaults: bool) -> Config:
    """The configuration of a command that writes."""
    return config_file.read(path_to_write(given, defaults))


def path_to_write(given: Path | None, defaults: bool) -> Path | None:
    """The configuration file of a command that writes: not by chance none, unseen by anybody."""
    path = chosen_config(given, defaults)
    if not (path or defaults or at_a_terminal()):
        raise click.UsageError(
            "no configuration and no terminal: give --config FILE, or --defaults to go without"
        )
    return path


def how_to_read(settings: Config, post: MpiPost | None) -> tuple[Pass, int]:
    """A pass by the other ranks, or by threads where there are none; threads of each process."""
    if post:
        return partial(ranks.one_pass, post), 1
    count = settings.pass_.threads or threads_of_job()
    return partial(threads.one_pass, count), count


def check_budget(settings: Config, threads: int) -> None:
    """
    See that the splitter's memory suffices for some threads.

    Raises ConfigWrong.
    """
    budget = settings.splitter.memory_budget
    if budget < threads * LEAST_BUDGET:
        raise ConfigWrong(
            f"splitter.memory_budget: {show.size(budget)} is too little for {threads} threads, "
            f"which need {show.size(LEAST_BUDGET)} each: raise it, or set pass.threads"
        )


def bucket_of(
    settings: Config, upload: bool | None, waiting: Callable[[str], None]
) -> Bucket | None:
    """
    Where the splitter's files are to be sent, if anywhere; it tells why it waits.

    Raises S3Failed, ConfigWrong where that cannot be used.
    """
    table = settings.splitter
    if upload and table.upload is None:
        raise click.UsageError("--upload: splitter.upload says nowhere to send the files to")
    if upload is False or table.upload is None:
        return None
    try:
        return Bucket(
            table.upload,
            endpoint_url=table.endpoint_url,
            credentials_file=table.credentials_file,
            waiting=waiting,
        )
    except ValueError as error:
        raise ConfigWrong(f"splitter.upload, splitter.endpoint_url: {error}") from error


def threads_of_job() -> int:
    """Cores of the LSF job; outside of one, those that this process may use."""
    return int(os.environ.get("LSB_DJOB_NUMPROC") or len(os.sched_getaffinity(0)))


def at_a_terminal() -> bool:
    """Whether a person is there to see what happens."""
    streams = (sys.stdin, sys.stdout, sys.stderr)
    return not mpi.launched() and any(stream.isatty() for stream in streams)


def days_asked(
    first: datetime | None, last: datetime | None, today: date
) -> tuple[date, date] | None:
    """The first and the last of the days to fill in, if any are."""
    if first is None:
        if last:
            raise click.UsageError("--to needs --from, the oldest day to fill in")
        return None
    begin, end = first.date(), last.date() if last else today
    if end > today:
        raise click.UsageError(f"--to {end} is in the future: it is {today} (UTC)")
    if begin > end:
        raise click.UsageError(f"--from {begin} is later than --to {end}: the older day goes first")
    return begin, end


def check_scan(file: Path, volumes: Sequence[str], day: datetime | None) -> None:
    """See that it is told of what --scan is a scan, and that it can be read."""
    if len(volumes) != 1 or day is None:
        raise click.UsageError("--scan FILE needs one --volume and a --date")
    if file == STANDARD_INPUT and mpi.launched():
        raise click.UsageError("--scan -: mpirun does not pass standard input on; give a file")


def scans_to_read(
    settings: Config, volumes: Sequence[str], day: date | None, file: Path | None, today: date
) -> list[Scan | ScanMissing]:
    """The scan of each volume, or the one that --scan names."""
    if file is None or day is None:
        return nightly.wanted(settings, volumes, day, today)
    tables = [table for table in settings.volume if table.name == volumes[0]]
    try:
        volume = nightly.volume(tables[0]) if tables else Volume(volume_name(volumes[0]))
    except ValueError as error:
        raise click.UsageError(f"--volume {volumes[0]}: {error}") from error
    return [of_file(file, volume, day)]


def open_database(table: DatabaseTable, dry_run: bool, waiting: Callable[[str], None]) -> Database:
    """
    The database with its tables. A dry run makes none: where SQLite has no file it sees no history.

    Raises ConfigWrong, DatabaseFailed.
    """
    in_memory = dry_run and is_empty_file(table.url)
    database = database_of(table, waiting, IN_MEMORY if in_memory else None)
    database.check(make=in_memory or not dry_run)
    return database


def database_to_ask(settings: Config) -> Database:
    """
    The database as it is: no tables are made, and why it waits is said on standard error.

    Raises ConfigWrong, DatabaseFailed.
    """
    return open_database(settings.database, True, partial(print, file=sys.stderr))


def database_of(
    table: DatabaseTable, waiting: Callable[[str], None], url: str | None = None
) -> Database:
    """The database, or another in its place; nobody has looked at it yet. Raises ConfigWrong."""
    return Database(
        url or table.url,
        password=config_file.password(table),
        retry_seconds=table.retry_seconds,
        waiting=waiting,
    )


def note(outcome: Outcome, log: Log) -> None:
    """Say what became of a report in the log."""
    facts = {
        "date": outcome.day and str(outcome.day),
        "remarks": "; ".join(outcome.remarks),
        "reason": outcome.reason,
    }
    event = log.error if outcome.status == "failed" else log.info
    event(
        outcome.status,
        report=outcome.report,
        volume=outcome.volume,
        rows=outcome.rows,
        **{key: fact for key, fact in facts.items() if fact},
    )


@suite.command(short_help="What lies in a directory tree, by the newest scan.")
@click.argument("path", type=click.Path(path_type=bytes))
@with_config
@click.option(
    "--depth",
    type=click.IntRange(0, MAX_DEPTH),
    default=1,
    show_default=True,
    help="Levels of directories below PATH; 0 is PATH alone.",
)
@click.option("--volume", help="The volume that PATH lies in, where that is not clear.")
@click.option(
    "--date",
    "day",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="Exactly this day's scan, not the newest.",
)
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"At a terminal, show all directories, not the {trees.LARGEST_SHOWN} largest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per directory.")
@with_defaults
@click.pass_context
def tree(
    ctx: click.Context,
    path: bytes,
    config: Path | None,
    depth: int,
    volume: str | None,
    day: datetime | None,
    everything: bool,
    as_json: bool,
    defaults: bool,
) -> int:
    """
    Add up the directory tree at PATH, from the newest scan of its volume. Nothing is written.

    A row is a directory with all that lies below it, itself included. A file with several names
    there counts once in each row, as with du: rows may add up to more than the one above them.

    At a terminal each directory stands below the one it lies in, the largest first. Elsewhere the
    rows are TSV, in bytes, sorted by path.

    Exit status: 0 done; 1 PATH is not in the scan, or the scan cannot be read; 2 wrong arguments or
    configuration, or PATH in no volume; 3 no scan is there.
    """
    settings = config_file.read(chosen_config(config or ctx.obj.config, defaults))
    wanted = trees.Wanted.of(settings, absolute(path), depth)
    today = datetime.now(UTC).date()
    chosen = trees.find_scan(settings, wanted, volume, day.date() if day else None, today)
    terminal = show.console(stderr=True, plain=mpi.launched())
    watching = progress_bars(terminal) if terminal.is_terminal else nullcontext(lambda _: None)
    with watching as progress:
        found = trees.read_tree(settings, chosen, wanted, how_to_read(settings, None)[0], progress)
    complain("\n".join(found.remarks), FINE)
    tell(trees, found, len(found.directories), everything=everything, as_json=as_json)
    return FINE


class Form(Protocol[Answer_contra]):
    """A module that puts answers to a question into rows."""

    LARGEST_SHOWN: int

    def as_json(self, found: Answer_contra, /) -> Iterator[str]:
        """A line of JSON for each row."""

    def as_tsv(self, found: Answer_contra, /) -> Iterator[str]:
        """The lines of a TSV."""

    def as_table(self, found: Answer_contra, most: int | None, /) -> Table:
        """The largest rows for people, or all of them."""


def tell(form: Form[Answer], found: Answer, rows: int, *, everything: bool, as_json: bool) -> None:
    """
    Give an answer of so many rows: to people as a table, with how many are left out; else as TSV.

    everything: none are left out.
    """
    if as_json:
        click.echo("".join(f"{line}\n" for line in form.as_json(found)), nl=False)
    elif mpi.launched() or not sys.stdout.isatty():  # in UTF-8, whatever the locale
        click.echo("".join(form.as_tsv(found)).encode(), nl=False)
    else:
        most = None if everything else form.LARGEST_SHOWN
        show.console().print(form.as_table(found, most))
        left_out = rows - most if most else 0
        if left_out > 0:
            print(f"... and {left_out:,} more, none of them larger: --all shows them")


@suite.command(short_help="How good the forecasts were.")
@with_config
@click.option("--volume", "volumes", multiple=True, help="Only this volume; may be repeated.")
@click.option(
    "--days",
    multiple=True,
    type=click.IntRange(1, MAX_HISTORY_DAYS),
    default=backtests.AHEAD,
    show_default=True,
    help="How many days ahead; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object for each line of the table.")
@with_defaults
@click.pass_context
def backtest(
    ctx: click.Context,
    config: Path | None,
    volumes: tuple[str, ...],
    days: tuple[int, ...],
    as_json: bool,
    defaults: bool,
) -> int:
    """
    Tell how good the forecasts were: replay the stored history, and compare with what came.

    Each day is foretold from the days before it, by the configured method, and judged beside the
    line through the last records ("two-point") and beside "no change". Nothing is written.

    Exit status: 0 done; 1 too little history; 2 wrong arguments or configuration; 3 the database
    cannot be used.
    """
    settings = config_file.read(chosen_config(config or ctx.obj.config, defaults))
    database = database_to_ask(settings)
    scores = backtests.run(database, volumes, days, settings.warnings)
    if as_json:
        print("\n".join(map(backtests.as_json, scores)))
    else:
        show.console().print(backtests.as_table(scores))
    return FINE


@suite.command(short_help="Who grew and who shrank between two dates.")
@click.argument("first", type=DAY, metavar="DATE")
@click.argument("last", type=DAY, metavar="DATE")
@with_config
@click.option(
    "--by",
    type=click.Choice(list(COMPARED)),
    default="group",
    show_default=True,
    help="Whose use is compared.",
)
@click.option("--volume", "volumes", multiple=True, help="Only this volume; may be repeated.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"At a terminal, show all rows, not the {diffs.LARGEST_SHOWN} largest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per row.")
@with_defaults
@click.pass_context
def diff(
    ctx: click.Context,
    first: datetime,
    last: datetime,
    config: Path | None,
    by: By,
    volumes: tuple[str, ...],
    everything: bool,
    as_json: bool,
    defaults: bool,
) -> int:
    """
    Tell who grew and who shrank between two dates, YYYY-MM-DD, the largest change first.

    Of each volume the newest records at or before the dates are compared. Nothing is written.

    At a terminal the rows are a table. Elsewhere they are TSV, in bytes.

    Exit status: 0 done; 1 nothing can be compared; 2 wrong arguments or configuration; 3 the
    database cannot be used.
    """
    if first >= last:
        raise click.UsageError(f"{first.date()} is not before {last.date()}: the older date first")
    settings = config_file.read(chosen_config(config or ctx.obj.config, defaults))
    database = database_to_ask(settings)
    found = diffs.run(database, by, volumes, first.date(), last.date())
    complain("\n".join(found.remarks), FINE)
    tell(diffs, found, len(found.changes), everything=everything, as_json=as_json)
    return FINE


@suite.command(short_help="What belongs to users and groups that nobody knows.")
@with_config
@click.option(
    "--by",
    type=click.Choice(get_args(lost.By)),
    default="owner",
    show_default=True,
    help="What a row is of.",
)
@click.option(
    "--absent-since",
    type=DAY,
    metavar="YYYY-MM-DD",
    help="Only whom nobody has known since this day or longer.",
)
@click.option("--volume", "volumes", multiple=True, help="Only this volume; may be repeated.")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help=f"At a terminal, show all rows, not the {orphan_forms.LARGEST_SHOWN} largest.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per row.")
@with_defaults
@click.pass_context
def orphans(
    ctx: click.Context,
    config: Path | None,
    by: lost.By,
    absent_since: datetime | None,
    volumes: tuple[str, ...],
    everything: bool,
    as_json: bool,
    defaults: bool,
) -> int:
    """
    Tell what belongs to users and groups that nobody knows, the largest first.

    Of each volume that is not retired the newest records count. Nothing is written.

    --by owner: each user in each group, and each group. user: each user. group, pi: those in whose
    space it lies. directory: the directories of groups, and those called like users.

    At a terminal the rows are a table. Elsewhere they are TSV, in bytes.

    Exit status: 0 done, also if nobody is unknown; 1 nothing is recorded; 2 wrong arguments or
    configuration; 3 the database cannot be used, or the source of names is not believed.
    """
    settings = config_file.read(chosen_config(config or ctx.obj.config, defaults))
    told = partial(print, file=sys.stderr)
    names, _ = sources(settings, told, told)
    database = database_to_ask(settings)
    day = absent_since.date() if absent_since else None
    asked = lost.Question(by, volumes, day, datetime.now(UTC).date())
    found = lost.run(database, settings, names, asked)
    complain("\n".join(found.remarks), FINE)
    tell(orphan_forms, found, len(found.rows), everything=everything, as_json=as_json)
    return FINE


@suite.command(short_help="Thin out history, as it is after each night.")
@with_config
@click.option("--dry-run", is_flag=True, help="Only tell what would be deleted.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object per report and volume.")
@with_defaults
@click.pass_context
def prune(
    ctx: click.Context, config: Path | None, dry_run: bool, as_json: bool, defaults: bool
) -> int:
    """
    Delete history that is no longer to be kept, by [database.keep]: every day, later one a week,
    then one a month stay. Each night does the same for its reports.

    Exit status: 0 done; 2 wrong arguments or configuration; 3 the database cannot be used: what was
    deleted until then stays deleted.
    """
    settings = config_to_write(config or ctx.obj.config, defaults)
    database = database_to_ask(settings)
    today = datetime.now(UTC).date()
    thinned = []
    try:
        for each in retention.thin(database, settings.database.keep, today, dry_run=dry_run):
            thinned.append(each)
            if as_json:
                print(retention.as_json(each), flush=True)
    finally:  # what was deleted is told of one that breaks off, too
        if not as_json:
            show.console().print(retention.as_table(thinned, dry_run=dry_run))
        database.close()
    return FINE


@suite.command(short_help="Write a scan of a tree.")
@click.argument("path", type=click.Path(path_type=bytes), required=False)
@with_config
@click.option("--volume", help="Scan the mount of this configured volume.")
@click.option("--output", type=FILE, help="Where the scan goes (default: wrstat_dir).")
@with_defaults
@click.pass_context
def scan(
    ctx: click.Context,
    path: bytes | None,
    config: Path | None,
    volume: str | None,
    output: Path | None,
    defaults: bool,
) -> int:
    """
    Write a scan of the tree at PATH, or of a configured volume's mount.

    It stays on one filesystem and follows no links. What vanishes meanwhile or may not be read is
    counted and listed. The scan is there when it is complete.
    """
    file = chosen_config(config or ctx.obj.config, defaults)
    settings = config_file.read(file)
    if output is None:
        output = settings.wrstat_dir
        if file is None:
            with suppress(OSError):  # the scan says what is wrong with its folder
                output.mkdir(parents=True, exist_ok=True)
    root = tree_to_scan(settings, path, volume)
    with entry_counter(show.console(stderr=True)) as progress:
        written = write_scan(root, output, datetime.now(UTC), progress)
    print(
        f"{text(bytes(written.path))}: {written.entries:,} entries, "
        f"{show.size(written.size_bytes)}, {written.refused:,} refused"
    )
    for refusal in written.refusals:
        print(f"refused: {text(refusal.path)}: {refusal.reason}", file=sys.stderr)
    return FINE


def tree_to_scan(settings: Config, path: bytes | None, volume: str | None) -> bytes:
    """The tree that the arguments name."""
    mounts = [table.mount for table in settings.volume if table.name == volume]
    if volume is not None and not mounts:
        raise click.UsageError(f"--volume {volume}: not in the configuration")
    if path is None and volume is None:
        raise click.UsageError("scan what? Give a PATH, or --volume NAME")
    root = absolute(path) if path is not None else raw(mounts[0])
    if mounts and root != raw(mounts[0]):
        raise click.UsageError(f"PATH is not the mount of {volume}, which is {mounts[0]}")
    return root


@suite.command(short_help="Make up a site to try everything on.")
@click.argument("folder", metavar="DIR", type=FILE)
@click.option("--entries", default=100_000, show_default=True, help="Entries of the newest night.")
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="The same seed gives the same site.",
)
def demo(folder: Path, entries: int, seed: int) -> int:
    """
    Make up a site in DIR: scans of three volumes over three nights, groups, users, quotas, vaults.

    In its database is a year of history before these nights, so that there is something to foretell
    from. In the end it says what to try.
    """
    try:
        made = make_site(folder, entries, seed, datetime.now(UTC).date())
    except SiteTooSmall as error:
        raise click.BadParameter(str(error), param_hint="--entries") from error
    except OSError as error:
        return complain(f"{error.filename}: {error.strerror}: name another DIR", SOMETHING_FAILED)
    print(
        f"{folder}: {len(made.scans)} scans of {', '.join(made.volumes)}; {made.entries:,} entries "
        f"of {made.groups} groups and {made.users} users in the newest",
        flush=True,
    )
    settings = config_file.read(made.config)
    told = partial(print, file=sys.stderr)
    database = open_database(settings.database, dry_run=False, waiting=told)
    rows = write_history(database, settings, *sources(settings, told, told), made.pasts)
    database.close()
    print(f"{settings.database.url}: {rows:,} rows of what the groups used in the year before")
    print("now try:")
    for words in WORTH_TRYING:
        print(f"lurge --config {made.config} {words}")
    return FINE


@suite.command(name="serve", short_help="Web pages over the database.")
@with_config
@with_defaults
@click.pass_context
def show_pages(ctx: click.Context, config: Path | None, defaults: bool) -> int:
    """
    Show what is recorded as web pages, until SIGTERM or Ctrl-C: groups and their forecasts,
    directories, users, vaults, candidates; the same as JSON below /api/, and /metrics.

    Nothing is written; a database user with SELECT is enough. [serve] in the configuration says
    where it listens and who sees what. Each request is a line on standard error.

    Exit status: 0 stopped; 2 wrong arguments or configuration, or it cannot listen there; 3 the
    database's tables are missing, or of another version.
    """
    # Nights need no web server, whose import takes as long as a small report.
    from lurge.web import server  # noqa: PLC0415

    settings = config_file.read(chosen_config(config or ctx.obj.config, defaults))
    log = open_log(sys.stderr, secrets.token_hex(4))
    server.run(settings, log, partial(print, flush=True))
    return FINE


@suite.command(name="doctor", short_help="Whether a run would go through tonight.")
@with_config
@click.option("--json", "as_json", is_flag=True, help="One JSON object per point.")
@with_defaults
@click.pass_context
def examine(ctx: click.Context, config: Path | None, as_json: bool, defaults: bool) -> int:
    """
    Look at everything that a run needs, and say what to do about each thing that is missing.

    Of each point it says ok, look (a run goes through, but somebody should see to it) or fails (a
    run, or a part of it, would fail). It leaves nothing written.

    Exit status: 0 a run would go through; 1 it would fail.
    """
    path = chosen_config(config or ctx.obj.config, defaults)
    named = text(bytes(path)) if path else "none: the defaults are taken"
    try:
        settings = config_file.read(path)
        points = [
            Point("configuration", "ok", named),
            *doctor.examine(patient_of(in_a_hurry(settings))),
        ]
    except ConfigWrong as error:
        points = [Point("configuration", "fails", line) for line in str(error).splitlines()]
    if as_json:
        click.echo("\n".join(map(doctor.as_json, points)))
    else:
        show.console().print(doctor.table(points))
    return SOMETHING_FAILED if any(point.state == "fails" for point in points) else FINE


def in_a_hurry(settings: Config) -> Config:
    """The same, but nobody is waited for longer than a person would."""

    def quick(table: BaseModel, *keys: str) -> BaseModel:
        waits = {key: min(getattr(table, key), DOCTOR_WAITS_SECONDS) for key in keys}
        return table.model_copy(update=waits)

    names = settings.names
    if names.ldap:
        ldap = quick(names.ldap, "retry_seconds", "timeout_seconds")
        names = names.model_copy(update={"ldap": ldap})
    database = quick(settings.database, "retry_seconds")
    return settings.model_copy(update={"database": database, "names": names})


def patient_of(settings: Config) -> Patient:
    """What a run with this configuration would start with."""
    threads = how_to_read(settings, None)[1]
    needs: dict[str, Callable[[], object]] = {
        "splitter.memory_budget": partial(check_budget, settings, threads)
    }
    if settings.splitter.upload:
        needs["splitter.upload"] = partial(bucket_of, settings, None, lambda _: None)
    today = datetime.now(UTC).date()
    database = partial(database_of, settings.database, lambda _: None)
    return Patient(
        config=settings,
        today=today,
        sources=partial(sources, settings, lambda _: None),
        database=database,
        needs=needs,
        archive=archive_checks(settings, today, database),
        failures=WRONG + MISSING,
    )


def archive_checks(
    settings: Config, today: date, database: Callable[[], Database]
) -> Mapping[str, Check]:
    """What the archiver needs, if anything of it is configured."""
    if not settings.archive.model_fields_set:
        return {}
    # Nights need no archiver: see `Suite.get_command`.
    from lurge.archiver import examining  # noqa: PLC0415

    return examining.checks(settings, today, database, config_file.projects_url)


@suite.command(short_help="Write a configuration, make the database's tables.")
@with_config
@click.option("--user", help="Database user for making the tables, instead of the configured one.")
@click.option(
    "--views",
    "dashboards",
    multiple=True,
    metavar="weaver22=DATABASE",
    help="Make the tables of older dashboards, weaver22 or weaver23, as views; may be repeated.",
)
@click.option(
    "--import",
    "older",
    metavar="URL",
    help="Take over the history in a database of the suite before Lurge, mysql+pymysql://...",
)
@click.pass_context
def init(
    ctx: click.Context,
    config: Path | None,
    user: str | None,
    dashboards: tuple[str, ...],
    older: str | None,
) -> int:
    """
    Write a commented configuration where there is none, and make or migrate the database's tables.

    An existing configuration is left as it is. On MySQL and MariaDB the tables need a user with
    more rights than a night's run: give --user, and its password in LURGE_DATABASE_PASSWORD. The
    views for older dashboards are read with the rights of that user, who has to stay.

    --import only reads the older database; the password for it is in LURGE_IMPORT_PASSWORD. It may
    be run again at any time: what is here already is not written again. In the end the sums of both
    databases are compared.

    Exit status: 0 done; 1 the sums of an import differ; 2 wrong arguments or configuration; 3 a
    database cannot be used.
    """
    wanted = [view_database(each) for each in dashboards]
    ancestor_url = import_url(older) if older else None
    path = config_file.find(config or ctx.obj.config) or config_file.CONFIG_NAME
    written = write_config(path)
    print(f"{path}: {'written' if written else 'there already, left as it is'}")
    settings = config_file.read(path)
    with suppress(OSError):  # a scan says what is wrong with its folder
        settings.wrstat_dir.mkdir(parents=True, exist_ok=True)
    table = settings.database
    if wanted and table.url.startswith("sqlite:"):
        raise click.UsageError("--views: SQLite has no views in other databases")
    database = Database(
        table.url,
        user=user,
        password=config_file.password(table),
        retry_seconds=table.retry_seconds,
        silent_seconds=None,
    )
    versions = database.init()
    print(f"{table.url}: {f'made version {versions[-1]}' if versions else 'up to date'}")
    for generation, name in wanted:
        made = database.transaction(partial(views.make, generation=generation, database=name))
        print(f"{generation}: {len(made)} views in {name}")
    status = take_over(settings, database, ancestor_url) if ancestor_url else FINE
    database.close()
    return status


def take_over(settings: Config, database: Database, url: str) -> int:
    """Import the history in an older database, and show the sums of both; the exit status."""
    told = partial(print, file=sys.stderr)
    names, _ = sources(settings, told, told)
    with closing(Ancestor(url, config_file.import_password(), told)) as ancestor:
        made = importing.run(settings, database, names, ancestor, told)
    show.console().print(table_of_sums(made.taken))
    complain("\n".join(made.remarks), FINE)
    if made.same:
        return FINE
    return complain("the sums differ: see the lines that say so", SOMETHING_FAILED)


def import_url(given: str) -> str:
    """The URL of an older database, which must hold no password."""
    form = "mysql+pymysql://user@host/database"
    try:
        parts = make_url(given)
    except (ArgumentError, ValueError):  # a port that is no number is a ValueError
        parts = URL.create("")
    if parts.drivername != "mysql+pymysql" or not parts.database:
        raise click.UsageError(f"--import: must be like {form}")
    if parts.password or parts.query.keys() & {"password", "passwd"}:
        raise click.UsageError(f"--import: must be {form}, its password in LURGE_IMPORT_PASSWORD")
    return given


def view_database(given: str) -> tuple[Generation, str]:
    """The generation of dashboards and the database that --views names."""
    generation, _, name = given.partition("=")
    if generation not in get_args(Generation) or not DATABASE_NAME(name):
        raise click.UsageError(f"--views {given}: weaver22=DATABASE or weaver23=DATABASE")
    return cast(Generation, generation), name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, on the first of several ranks; the others help it. The exit status."""
    prepare_streams()
    try:
        post = mpi.post()
    except NotStarted as error:
        return complain(error, WRONG_USE)
    if post is None:
        return run(arguments, None)
    if post.rank != ranks.WRITER:
        serve(post)
        post.close()
        return FINE
    status = run(arguments, post)
    if status in (BUG, INTERRUPTED):
        post.abort(status)  # the others may be in the middle of something
    ranks.dismiss(post)
    post.close()
    return status


def serve(post: MpiPost) -> None:
    """Help the first rank; a bug ends them all."""
    try:
        ranks.serve(post)
    except Exception:
        traceback.print_exc()
        post.abort(BUG)


def prepare_streams() -> None:
    """Let nothing that is closed or cannot be encoded stop a run."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: PTH123, SIM115 - for good
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # whatever the locale, no name stops a run
            stream.reconfigure(errors="backslashreplace")


def run(arguments: Sequence[str] | None, post: MpiPost | None) -> int:
    """Run a command; its exit status, whatever happens."""
    try:
        status = suite.main(arguments, standalone_mode=False, obj=Start(post))
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except WRONG as error:
        return complain(error, WRONG_USE)
    except MISSING as error:
        return complain(error, NOTHING_DONE)
    except FAILED as error:
        return complain(error, SOMETHING_FAILED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return complain("whoever read the output has gone", SOMETHING_FAILED)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            traceback.print_exc()
            return BUG
        return complain(f"{error.filename or 'the output'}: {error.strerror}", SOMETHING_FAILED)
    except (KeyboardInterrupt, click.Abort) as error:
        return interrupted(str(error.__cause__ or error))  # click's own has it as its cause
    except Exception:
        traceback.print_exc()
        return BUG
    if isinstance(status, bool):  # a command of the archiver tells whether all is well
        return FINE if status else SOMETHING_FAILED
    return status if isinstance(status, int) else FINE


def interrupted(again: str | None) -> int:
    """Say that it was broken off, and how to go on; the status."""
    go_on = f"; to go on: {again}" if again else ""
    return complain(f"interrupted: nothing is half-written{go_on}", INTERRUPTED)


def complain(error: object, status: int) -> int:
    """Print an error, one line for each problem; the status."""
    for line in str(error).splitlines():
        print(f"lurge: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
