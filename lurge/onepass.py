"""
One pass: every volume's scan is read once, and shown to the tallies of all reports that are due.

Threads share the blocks of a volume. Each has tallies of its own, which are merged at the end; so
the result does not depend on their number or on who got which block.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lurge.tallies.tally import Tally
from lurge_types.scans import BadLines, Progress, Scan
from utils.scanfile import ScanChanged, ScanFile, ScanUnreadable, buffer
from utils.wrstat import Parser

POLL_SECONDS = 0.2
STOP_SECONDS = 0.5
"""How long the end of a pass waits for threads that hang in the filesystem."""
BAD_LINES_BORNE = 10
"""Bad lines that never fail a volume, whatever their share."""


class ScanEmpty(Exception):
    """A scan without an entry: its scanner crashed."""


class TooManyBadLines(Exception):
    """More lines are bad than the configuration allows."""


VolumeError = ScanUnreadable | ScanChanged | ScanEmpty | TooManyBadLines


@dataclass(frozen=True, slots=True)
class Work:
    """A scan that is to be read, and what makes a tally for each report that is due of it."""

    scan: Scan
    make_tallies: Callable[[], Sequence[Tally]]


@dataclass(frozen=True, slots=True)
class Read:
    """
    A scan that was read: how many lines, which were bad, and the tallies in the order of the work.

    error: why the volume failed, if it did; then there are no tallies.
    """

    scan: Scan
    lines: int
    bad: BadLines
    tallies: Sequence[Tally]
    error: VolumeError | None = None


@dataclass(slots=True)
class _Share:
    """What one thread, or all of them together, counted of a volume."""

    tallies: Sequence[Tally]
    entries: int = 0
    bad: BadLines = field(default_factory=BadLines)
    error: VolumeError | None = None

    def add(self, other: "_Share") -> None:
        for mine, theirs in zip(self.tallies, other.tallies, strict=True):
            mine.merge(theirs)
        self.entries += other.entries
        self.bad = self.bad.merge(other.bad)
        self.error = self.error or other.error


@dataclass(slots=True)
class _Volume:
    """
    A volume being read. `share` is changed only by who holds `merging`, the counts only by who
    holds the pass's lock: so nobody waits for the merging of another volume.
    """

    work: Work
    file: ScanFile
    merging: threading.Lock = field(default_factory=threading.Lock)
    workers: int = 0
    ended: bool = False
    share: _Share | None = None

    @property
    def left(self) -> float:
        """Bytes still to be read for each thread, if another one joined."""
        return (self.file.size - self.file.position) / (self.workers + 1)

    @property
    def progress(self) -> Progress:
        return Progress(self.work.scan, self.file.position, self.file.size, self.file.lines)


def one_pass(
    works: Sequence[Work],
    *,
    threads: int,
    block_lines: int,
    bad_lines_allowed: float,
    progress: Callable[[Progress], None],
) -> Iterator[Read]:
    """
    Read every scan, and give each as soon as it is done.

    A volume's trouble is its own: its result holds the error and the others go on. Leaving the
    iterator early ends the threads.
    """
    reading = _Pass(block_lines, bad_lines_allowed)
    for work in works:
        try:
            reading.volumes.append(_Volume(work, ScanFile(work.scan.path, block_lines)))
        except ScanUnreadable as error:
            yield Read(work.scan, 0, BadLines(), (), error)
    team = [threading.Thread(target=reading.work, daemon=True) for _ in range(threads)]
    for thread in team:
        thread.start()
    try:
        waiting = len(reading.volumes)
        while waiting:
            for volume in reading.volumes:
                progress(volume.progress)
            try:
                result = reading.results.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            waiting -= 1
            yield result
    finally:
        reading.stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in team:
            thread.join(max(0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in team):
            for volume in reading.volumes:
                volume.file.close()


class _Pass:
    """What the threads of a pass share."""

    def __init__(self, block_lines: int, bad_lines_allowed: float) -> None:
        self.volumes: list[_Volume] = []
        self.results: queue.Queue[Read | BaseException] = queue.Queue()
        self.stop = threading.Event()
        self._block_lines = block_lines
        self._bad_lines_allowed = bad_lines_allowed
        self._lock = threading.Lock()

    def work(self) -> None:
        """What each thread does: read volumes until none is left."""
        parser = Parser()
        into = buffer(self._block_lines)
        try:
            while volume := self._join():
                self._leave(volume, self._count(volume, parser, into))
        except BaseException as bug:  # noqa: BLE001 - raised again by who waits for the results
            self.results.put(bug)

    def _count(self, volume: _Volume, parser: Parser, into: NDArray[np.uint8]) -> _Share:
        """Take blocks of a volume until there are no more, or the volume has failed."""
        share = _Share(volume.work.make_tallies())
        try:
            while not self._is_over(volume) and (block := volume.file.read(into)):
                batch, bad = parser.parse(block)
                share.entries += len(batch)
                share.bad = share.bad.merge(bad)
                for tally in share.tallies:
                    tally.add(batch)
        except (ScanUnreadable, ScanChanged) as error:
            share.error = error
        return share

    def _is_over(self, volume: _Volume) -> bool:
        failed = volume.share is not None and volume.share.error is not None
        return failed or self.stop.is_set()

    def _join(self) -> _Volume | None:
        """The volume with most left to read for each thread that is on it."""
        with self._lock:
            volumes = [volume for volume in self.volumes if not volume.ended]
            if not volumes or self.stop.is_set():
                return None
            volume = max(volumes, key=lambda volume: volume.left)
            volume.workers += 1
            return volume

    def _leave(self, volume: _Volume, share: _Share) -> None:
        """Hand in what a thread has counted; the last one hands out the volume's result."""
        with self._lock:
            volume.ended = True
        with volume.merging:
            if volume.share is None:
                volume.share = share
            else:
                volume.share.add(share)
            whole = volume.share
        with self._lock:
            volume.workers -= 1
            last = not volume.workers
        if last and not self.stop.is_set():
            self.results.put(self._result(volume.work.scan, volume.file, whole))

    def _result(self, scan: Scan, file: ScanFile, share: _Share) -> Read:
        bad = share.bad.merge(file.unended)
        lines = file.lines + file.unended.count
        error = share.error or self._judge(scan, lines, share.entries, bad)
        return Read(scan, lines, bad, () if error else share.tallies, error)

    def _judge(self, scan: Scan, lines: int, entries: int, bad: BadLines) -> VolumeError | None:
        """What is wrong with a scan that could be read to its end."""
        if bad.count > max(BAD_LINES_BORNE, lines * self._bad_lines_allowed):
            first = bad.first[0]
            return TooManyBadLines(
                f"{scan.path}: {bad.count} of {lines} lines are bad, the first is line "
                f"{first.number} ({first.reason}): make the scan again, or raise bad_lines_allowed"
            )
        if not entries:
            return ScanEmpty(f"{scan.path} has no entry: its scanner failed, run it again")
        return None
