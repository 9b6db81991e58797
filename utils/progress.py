"""How reading goes: a bar for each volume on a terminal, a log line now and then without one."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from lurge_types.scans import Progress
from utils.log import Log

LOG_SECONDS = 30.0


class Pace:
    """How fast each volume is read; of several scans of one, only the last counts."""

    def __init__(self) -> None:
        self._started = time.monotonic()
        self._first: dict[str, tuple[Progress, float]] = {}

    def begins_anew(self, progress: Progress) -> bool:
        """Whether this is the first of another scan of a volume that was told of before."""
        name = progress.scan.volume.name
        if name not in self._first:
            self._first[name] = replace(progress, lines=0), self._started
        if self._first[name][0].scan == progress.scan:
            return False
        self._first[name] = progress, time.monotonic()
        return True

    def lines_per_second(self, progress: Progress) -> float:
        """Since the scan was first told of."""
        first, moment = self._first[progress.scan.volume.name]
        lines = progress.lines - first.lines
        return lines / (time.monotonic() - moment) if lines else 0


@contextmanager
def progress_bars(console: Console) -> Iterator[Callable[[Progress], None]]:
    """A bar for each volume that is told of: bytes of its file, of how many, and lines a second."""
    pace = Pace()
    tasks: dict[str, TaskID] = {}
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:

        def show(progress: Progress) -> None:
            name = progress.scan.volume.name
            if name not in tasks:
                tasks[name] = bars.add_task(_of(progress), total=progress.size or None, rate="")
            if pace.begins_anew(progress):
                bars.reset(
                    tasks[name], total=progress.size or None, description=_of(progress), rate=""
                )
            rate = f"{pace.lines_per_second(progress):,.0f} lines/s"
            bars.update(tasks[name], completed=progress.position, rate=rate)

        yield show


def _of(progress: Progress) -> str:
    """What is being read."""
    return f"{progress.scan.volume.name} {progress.scan.record_date}"


def progress_log(log: Log, seconds: float = LOG_SECONDS) -> Callable[[Progress], None]:
    """A line in the log for each volume that is told of, but not more often than that."""
    started = time.monotonic()
    pace = Pace()
    told: dict[str, float] = {}

    def tell(progress: Progress) -> None:
        name = progress.scan.volume.name
        now = time.monotonic()
        pace.begins_anew(progress)
        if now - told.setdefault(name, started) < seconds:
            return
        told[name] = now
        share = f"{100 * progress.position / progress.size:.1f}" if progress.size else "-"
        log.info(
            "reading",
            volume=name,
            date=str(progress.scan.record_date),
            percent=share,
            lines=progress.lines,
            lines_per_second=round(pace.lines_per_second(progress)),
        )

    return tell


def upload_log(log: Log, seconds: float = LOG_SECONDS) -> Callable[[int, int], None]:
    """A line in the log when files begin to be sent and then, but not more often than that."""
    told = 0.0

    def tell(done: int, total: int) -> None:
        nonlocal told
        if not done or time.monotonic() - told >= seconds:
            told = time.monotonic()
            log.info("uploading", percent=f"{100 * done / (total or 1):.1f}", sent_bytes=done)

    return tell


@contextmanager
def entry_counter(console: Console) -> Iterator[Callable[[int], None]]:
    """How many entries a scan has written, on a terminal; nothing elsewhere."""
    if not console.is_terminal:
        yield lambda _: None
        return
    with console.status("scanning") as status:
        yield lambda entries: status.update(f"scanning: {entries:,} entries")
