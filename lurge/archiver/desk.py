"""
Where a command of the archiver does its work: all that it needs is opened, and closed in the end.

What goes wrong is told as one of three kinds, which whoever started the command has words for.
"""

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from db import leases
from db.database import Database, DatabaseFailed
from db.leases import LeaseLost
from db.ledger import NotAllowed, NotOnTheWay, RunUnknown, UnitMoved
from lurge.archiver.applying import RunRefused
from lurge.archiver.guards import GuardTripped
from lurge.archiver.handling import HandlerRefused
from lurge.archiver.interrupting import interruptible
from lurge.archiver.onlooking import Onlooker, file_log
from lurge.archiver.planning import PlanFailed
from lurge.archiver.remade import RestoreRefused
from lurge.archiver.sending import Stopped
from lurge.archiver.troubles import AskedWrong, NotDone, Unavailable
from lurge.archiver.works import Works, words
from lurge_types.archive import Actor
from lurge_types.config import ArchiveTable, Config
from lurge_types.targets import Target, TargetFailed
from utils import show
from utils.accounts import accountable
from utils.checkpoints import CheckpointBroken
from utils.durable import NoRoom
from utils.log import open_log
from utils.manifests import ManifestBroken
from utils.runfiles import RunFileWrong
from utils.targets.opening import open_target

WRONG = (PlanFailed, RunFileWrong, RunUnknown, HandlerRefused)
FAILED = (
    GuardTripped,
    RunRefused,
    NotAllowed,
    NotOnTheWay,
    RestoreRefused,
    LeaseLost,
    UnitMoved,
    ManifestBroken,
    CheckpointBroken,
    NoRoom,
    Stopped,
)


class Start(Protocol):
    """What whoever starts a command gives it."""

    config: Path | None

    def configuration(self, given: Path | None, *, defaults: bool) -> tuple[Config, str]:
        """The configuration, and its digest."""

    def database(self, config: Config, waiting: Callable[[str], None], *, make: bool) -> Database:
        """The database with its tables; make: they are made where SQLite has none."""

    def abandon(self, again: str | None) -> object:
        """End the process. again: how to go on with what it did, in words."""


@dataclass(frozen=True)
class Desk:
    """Works, and who looks on."""

    works: Works
    look: Onlooker

    def bars(self) -> AbstractContextManager[None]:
        """How it goes, on a terminal."""
        return self.look.bars(show.console(stderr=True))


class Targets:
    """Targets, each opened when it is first asked for, and once."""

    def __init__(self, table: ArchiveTable) -> None:
        self._table = table
        self._opened: dict[str, Target] = {}
        self._lock = threading.Lock()

    def open(self, url: str) -> Target:
        """The target at a URL. Raises TargetFailed."""
        with self._lock:
            if url not in self._opened:
                self._opened[url] = open_target(url, self._table)
            return self._opened[url]

    def close(self) -> None:
        """Hang up."""
        for target in self._opened.values():
            target.close()


@contextmanager
def at_work(
    start: Start, given: Path | None, *, defaults: bool, acting: bool = True, make: bool = True
) -> Iterator[Desk]:
    """
    A desk, while the block runs.

    acting: something may be changed, which goes into the log of the day. make: SQLite's tables are
    made where there are none.

    Raises AskedWrong, Unavailable, NotDone, ConfigWrong, DatabaseFailed, KeyboardInterrupt.
    """
    config, digest = start.configuration(given or start.config, defaults=defaults)
    stop = threading.Event()
    with ExitStack() as stack:
        look = _onlooker(config.archive, stack, acting=acting)
        stack.enter_context(_resumable(look))
        stack.enter_context(interruptible(stop, lambda: start.abandon(look.again)))
        stack.enter_context(_translated(look))
        database = stack.enter_context(
            closing(start.database(config, look.waiting, make=acting and make))
        )
        targets = stack.enter_context(closing(Targets(config.archive)))
        actor = Actor(accountable(), digest)
        works = Works(config, database, targets.open, actor, leases.me(), look, stop=stop)
        yield Desk(works, look)


def _onlooker(table: ArchiveTable, stack: ExitStack, *, acting: bool) -> Onlooker:
    log = None if sys.stderr.isatty() else open_log(sys.stderr, None)
    if not acting:
        return Onlooker(log)
    try:
        file, close = file_log(table)
    except OSError as error:
        raise Unavailable(f"archive.log_dir: {words(error)}") from error
    stack.callback(close)
    return Onlooker(log, file)


@contextmanager
def _resumable(look: Onlooker) -> Iterator[None]:
    """Let who interrupts it be told how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt(look.again or "") from error


@contextmanager
def _translated(look: Onlooker) -> Iterator[None]:
    """Raise what goes wrong as it is known to whoever started the command."""
    try:
        yield
    except WRONG as error:
        raise AskedWrong(str(error)) from error
    except FAILED as error:
        raise NotDone(str(error)) from error
    except TargetFailed as error:
        raise (NotDone if look.done else Unavailable)(str(error)) from error
    except DatabaseFailed as error:
        if not look.done:
            raise
        raise NotDone(f"{error}; what was begun goes on from where it is") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        raise NotDone(words(error)) from error
