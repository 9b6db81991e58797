"""How reading goes: a bar for each volume on a terminal, a log line now and then without one."""

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bars

from lurge_types.scans import Progress
from utils.log import Log

LOG_SECONDS = 30.0


class ProgressBars:
    """A bar for each volume: bytes of its file, of how many, and lines a second."""

    def __init__(self, console: Console) -> None:
        self._bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._started = time.monotonic()

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bars.stop()

    def __call__(self, progress: Progress) -> None:
        """Show how far a volume is."""
        name = progress.scan.volume.name
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=progress.size or None, rate="")
        rate = progress.lines / (time.monotonic() - self._started)
        self._bars.update(
            self._tasks[name], completed=progress.position, rate=f"{rate:,.0f} lines/s"
        )


class ProgressLog:
    """A line in the log for each volume, every half minute or as often as told."""

    def __init__(self, log: Log, seconds: float = LOG_SECONDS) -> None:
        self._log = log
        self._seconds = seconds
        self._started = time.monotonic()
        self._told: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Nothing is left open."""

    def __call__(self, progress: Progress) -> None:
        """Tell how far a volume is, if it was not told lately."""
        name = progress.scan.volume.name
        now = time.monotonic()
        if now - self._told.setdefault(name, self._started) < self._seconds:
            return
        self._told[name] = now
        share = f"{100 * progress.position / progress.size:.1f}" if progress.size else "-"
        self._log.info(
            "reading",
            volume=name,
            percent=share,
            lines=progress.lines,
            lines_per_second=round(progress.lines / (now - self._started)),
        )


class ScanCounter:
    """How many entries a scan has written, on a terminal; nothing elsewhere."""

    def __init__(self, console: Console) -> None:
        self._status = console.status("scanning") if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._status:
            self._status.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._status:
            self._status.stop()

    def __call__(self, entries: int) -> None:
        """Show the count."""
        if self._status:
            self._status.update(f"scanning: {entries:,} entries")
