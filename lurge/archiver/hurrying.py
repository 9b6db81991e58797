"""Threads that look at copies, and end soon when what they were begun for is left."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from lurge.archiver.sending import Patience, Stopped


@contextmanager
def hurried(patience: Patience, workers: int) -> Iterator[tuple[ThreadPoolExecutor, Patience]]:
    """
    Threads, and the patience that they are to have: a stop of its own, which `check` asks, too.

    Whyever this is left, none of them goes on afterwards; so what they use is opened before it.
    """
    stop = threading.Event()

    def check() -> None:
        if stop.is_set():
            raise Stopped
        patience.check()

    threads = ThreadPoolExecutor(workers)
    try:
        yield threads, patience._replace(stop=stop, check=check)
    finally:
        stop.set()
        threads.shutdown(cancel_futures=True)
