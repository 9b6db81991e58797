"""
Who looks on while the archiver acts: the log file of the day, and a person or another log.

A log that cannot be written stops nothing, as the ledger's audit has it all: it is told once.
"""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from lurge_types.archive import UnitNow
from lurge_types.config import ArchiveTable
from utils.day_files import DayFile
from utils.log import Log, open_log
from utils.paths import text

RUN_DIGITS = 12
LOG_SECONDS = 30.0
SHOWN_PATH = 40

WARNED = frozenset({"dirty", "failed", "lost", "lease_lost", "no_room"})
"""Events that somebody should look at."""


class Onlooker:
    """
    Tells of all that happens, by `lurge.archiver.works.Watch`.

    log: for when nobody is at the terminal, None where somebody is. done: bytes of the units that
    this process has brought to a state. again: how to go on when it is broken off, in words.
    """

    def __init__(self, log: Log | None, file: Log | None = None, run: str | None = None) -> None:
        self.run = run
        self.again: str | None = None
        self.done: Counter[str] = Counter()
        self._logs = [each for each in (log, file) if each is not None]
        self._log = log
        self._bars: Progress | None = None
        self._bar: TaskID | None = None
        self._since: tuple[str, float] = "", 0.0
        self._pace = _Pace()
        self._lock = threading.Lock()
        self._silent = False

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        """Tell of something that has become of a unit, or of the run."""
        if unit is not None:
            self.done[event] += unit.size_bytes
            facts = {**self._of(unit), **facts}
        known = {"run": self.run and self.run[:RUN_DIGITS], **facts}
        self._tell("warning" if event in WARNED else "info", event, known)

    def waiting(self, why: str) -> None:
        """Tell that it is waited for something."""
        self._tell("warning", "waiting", {"run": self.run and self.run[:RUN_DIGITS], "why": why})
        if self._bars is not None:
            self._bars.console.print(Text(f"waiting: {why}"))

    def begin(self, what: str, size_bytes: int) -> None:
        """Show how something goes from now on."""
        self._pace = _Pace(what, size_bytes)
        if self._bars is not None:
            if self._bar is not None:
                self._bars.remove_task(self._bar)
            self._bar = self._bars.add_task(f"{what} {self._since[0]}", total=size_bytes)

    def advance(self, size_bytes: int) -> None:
        """Show that it has gone on."""
        if self._bars is not None and self._bar is not None:
            self._bars.advance(self._bar, size_bytes)
        with self._lock:
            facts = self._pace.after(size_bytes)
        if facts and self._log:
            self._tell("info", "going on", {"run": self.run and self.run[:RUN_DIGITS], **facts})

    @contextmanager
    def bars(self, console: Console) -> Iterator[None]:
        """Show bars on a terminal, while the block runs; nothing where it is none."""
        if not console.is_terminal:
            yield
            return
        columns = (
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        # What is printed for programs goes to them, wherever the bars are.
        bars = Progress(
            *columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False
        )
        with bars:
            self._bars, self._bar = bars, None
            try:
                yield
            finally:
                self._bars = None

    def _of(self, unit: UnitNow) -> dict[str, object]:
        """What is told of a unit; seconds: since it was told of last."""
        now = time.monotonic()
        path = text(unit.root)
        seconds = now - self._since[1] if self._since[0] == _short(path) else 0.0
        self._since = _short(path), now
        return {
            "run": unit.content_id[:RUN_DIGITS],
            "unit": unit.name,
            "state": unit.state,
            "bytes": unit.size_bytes,
            "seconds": round(seconds, 3),
            "path": path,
        }

    def _tell(self, level: str, event: str, facts: dict[str, object]) -> None:
        told = {key: fact for key, fact in facts.items() if fact is not None}
        for log in self._logs:
            try:
                getattr(log, level)(event, **told)
            except OSError as error:
                self._complain(error)

    def _complain(self, error: OSError) -> None:
        """Say once, wherever that can be read, that a log is not written."""
        if self._silent:
            return
        self._silent = True
        why = f"the log is not written: {error.filename or ''} {error.strerror}"
        if self._bars is not None:
            self._bars.console.print(Text(why))
        elif self._log is not None:
            self._log.error("log", why=why)


class _Pace:
    """How fast something goes, told now and then."""

    def __init__(self, what: str = "", size_bytes: int = 0) -> None:
        self._what = what
        self._size = size_bytes
        self._done = 0
        self._began = self._told = time.monotonic()

    def after(self, size_bytes: int) -> dict[str, object] | None:
        """What there is to tell after some more bytes, if anything."""
        self._done += size_bytes
        now = time.monotonic()
        if now - self._told < LOG_SECONDS:
            return None
        self._told = now
        rate = self._done / (now - self._began)
        left = max(self._size - self._done, 0) / rate if rate else None
        return {
            "what": self._what,
            "percent": f"{100 * self._done / max(self._size, 1):.1f}",
            "bytes": self._done,
            "bytes_per_second": round(rate),
            "seconds_left": None if left is None else round(left),
        }


def file_log(table: ArchiveTable) -> tuple[Log, Callable[[], None]]:
    """The log file of the day, and what closes it. Raises OSError."""
    zone = ZoneInfo(table.log_time_zone)
    file = DayFile(Path(table.log_dir), zone, lambda: datetime.now(UTC))
    return open_log(file, None, zone).bind(process=secrets.token_hex(4)), file.close


def _short(path: str) -> str:
    """The end of a path, as much as a terminal has room for."""
    return path if len(path) <= SHOWN_PATH else f"...{path[3 - SHOWN_PATH :]}"
