"""Bytes that are read once and go to several takers at once, each in a thread of its own."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")

WAITING_CHUNKS = 8
LOOKS_SECONDS = 0.5

Taker = Callable[[Iterable[bytes]], T]


class _End:
    """What stands behind the last chunk."""


class _Pipe:
    """Chunks on their way to a taker, who may go before the end."""

    def __init__(self) -> None:
        self._queue: Queue[bytes | BaseException | _End] = Queue(WAITING_CHUNKS)
        self._gone = threading.Event()

    @property
    def gone(self) -> bool:
        """Whether nobody takes from it any more."""
        return self._gone.is_set()

    def give(self, what: bytes | BaseException | _End) -> None:
        """Wait until the taker has room, or has gone."""
        while not self._gone.is_set():
            try:
                self._queue.put(what, timeout=LOOKS_SECONDS)
            except Full:
                continue
            return

    def fill(self, taker: Taker[T]) -> T:
        """What a taker makes of all of it."""
        try:
            return taker(self._chunks())
        finally:
            self._gone.set()

    def _chunks(self) -> Iterator[bytes]:
        while not isinstance(what := self._queue.get(), _End):
            if isinstance(what, BaseException):
                raise what
            yield what


def pour(chunks: Iterable[bytes], takers: Sequence[Taker[T]]) -> list[T]:
    """
    Give all chunks to all takers; what each makes of them, in their order.

    What the source raises, each taker is raised too. A taker that raises does not stop the others:
    the first such error is raised when all have ended. Who needs no more chunks than all of them
    takes to the end all the same.
    """
    pipes = [_Pipe() for _ in takers]
    with ThreadPoolExecutor(len(takers)) as threads:
        futures = [
            threads.submit(pipe.fill, taker) for pipe, taker in zip(pipes, takers, strict=True)
        ]
        try:
            for chunk in chunks:
                for pipe in pipes:
                    pipe.give(chunk)
                if all(pipe.gone for pipe in pipes):
                    break
            end: BaseException | _End = _End()
        except BaseException as error:
            end = error
            raise
        finally:
            for pipe in pipes:
                pipe.give(end)
    return [future.result() for future in futures]


def in_order(
    threads: Executor, act: Callable[[T], U], things: Iterable[T], ahead: int
) -> Iterator[U]:
    """
    What becomes of each thing, in their order; so many at most are being acted on or waiting.

    The first that fails raises; those that have begun by then are waited for.
    """
    begun: deque[Future[U]] = deque()
    try:
        for thing in things:
            begun.append(threads.submit(act, thing))
            if len(begun) >= ahead:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        for future in begun:
            future.cancel()
