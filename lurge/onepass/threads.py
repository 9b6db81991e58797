"""
The pass in one process: threads share the blocks of a volume.

Each has tallies of its own, which are merged at the end; so the result does not depend on their
number or on who got which block.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lurge.onepass.work import Read, Reading, Share, VolumeError, Work, judge
from lurge.tallies.tally import SumOverflow
from lurge_types.scans import BadLines, Progress
from utils.scanfile import ScanChanged, ScanFile, ScanUnreadable, buffer
from utils.wrstat import Parser

POLL_SECONDS = 0.2
STOP_SECONDS = 0.5
"""How long the end of a pass waits for threads that hang in the filesystem."""


@dataclass(slots=True)
class _Volume:
    """
    A volume being read. `share` and `error` are changed only by who holds `merging`, the counts
    only by who holds the pass's lock: so nobody waits for the merging of another volume.
    """

    work: Work
    file: ScanFile
    merging: threading.Lock = field(default_factory=threading.Lock)
    workers: int = 0
    ended: bool = False
    share: Share | None = None
    error: VolumeError | None = None

    @property
    def left(self) -> float:
        """Bytes still to be read for each thread, if another one joined."""
        return (self.file.size - self.file.position) / (self.workers + 1)

    @property
    def progress(self) -> Progress:
        return Progress(self.work.scan, self.file.position, self.file.size, self.file.lines)


def one_pass(
    threads: int, works: Sequence[Work], reading: Reading, progress: Callable[[Progress], None]
) -> Iterator[Read]:
    """
    Read every scan, and give each as soon as it is done.

    A volume's trouble is its own: its result holds the error and the others go on. Leaving the
    iterator early ends the threads.
    """
    shared = _Pass(reading)
    for work in works:
        try:
            file = ScanFile(work.scan.path, reading.block_lines)
            shared.volumes.append(_Volume(work, file))
        except ScanUnreadable as error:
            yield Read(work.scan, 0, BadLines(), (), error)
    team = [threading.Thread(target=shared.work, daemon=True) for _ in range(threads)]
    for thread in team:
        thread.start()
    try:
        waiting = len(shared.volumes)
        while waiting:
            for volume in shared.volumes:
                progress(volume.progress)
            try:
                result = shared.results.get(timeout=POLL_SECONDS)
            except queue.Empty:
                continue
            if isinstance(result, BaseException):
                raise result
            waiting -= 1
            yield result
    finally:
        shared.stop.set()
        deadline = time.monotonic() + STOP_SECONDS
        for thread in team:
            thread.join(max(0, deadline - time.monotonic()))
        if not any(thread.is_alive() for thread in team):
            for volume in shared.volumes:
                volume.file.close()


class _Pass:
    """What the threads of a pass share."""

    def __init__(self, reading: Reading) -> None:
        self.volumes: list[_Volume] = []
        self.results: queue.Queue[Read | BaseException] = queue.Queue()
        self.stop = threading.Event()
        self._reading = reading
        self._lock = threading.Lock()

    def work(self) -> None:
        """What each thread does: read volumes until none is left."""
        parser = Parser()
        into = buffer(self._reading.block_lines)
        try:
            while volume := self._join():
                share = Share.of(volume.work)
                self._leave(volume, share, self._count(volume, share, parser, into))
        except BaseException as bug:  # noqa: BLE001 - raised again by who waits for the results
            self.results.put(bug)

    def _count(
        self, volume: _Volume, share: Share, parser: Parser, into: NDArray[np.uint8]
    ) -> VolumeError | None:
        """Take blocks of a volume until there are no more, or it has failed: then why."""
        try:
            while not (volume.error or self.stop.is_set()) and (block := volume.file.read(into)):
                share.count(parser, block)
        except (ScanUnreadable, ScanChanged, SumOverflow) as error:
            return error
        return None

    def _join(self) -> _Volume | None:
        """The volume with most left to read for each thread that is on it."""
        with self._lock:
            volumes = [volume for volume in self.volumes if not volume.ended]
            if not volumes or self.stop.is_set():
                return None
            volume = max(volumes, key=lambda volume: volume.left)
            volume.workers += 1
            return volume

    def _leave(self, volume: _Volume, share: Share, error: VolumeError | None) -> None:
        """Hand in what a thread has counted; the last one hands out the volume's result."""
        with self._lock:
            volume.ended = True
        if not (error or volume.error or self.stop.is_set()):
            share.end()
        with volume.merging:
            volume.error = volume.error or error
            if volume.share is None:
                volume.share = share
            elif volume.error is None:
                volume.error = _merge(volume.share, share)
        with self._lock:
            volume.workers -= 1
            last = not volume.workers
        if last and not self.stop.is_set() and volume.share:
            whole, volume.share = volume.share, None  # whoever gets the result has it alone
            self.results.put(self._result(volume, whole))

    def _result(self, volume: _Volume, share: Share) -> Read:
        share.bad = share.bad.merge(volume.file.unended)
        lines = volume.file.lines + volume.file.unended.count
        scan = volume.work.scan
        error = volume.error or judge(scan, lines, share, self._reading.bad_lines_allowed)
        return Read(scan, lines, share.bad, () if error else share.tallies, error)


def _merge(whole: Share, part: Share) -> SumOverflow | None:
    try:
        whole.merge(part.pieces())
    except SumOverflow as error:
        return error
    return None
