"""
Ctrl-C and SIGTERM: what is being done is given up, and its leases are given back.

A thread may be waiting for a disk or a server that does not answer, and nothing can wake it. So a
moment later the process is ended all the same: whatever instant that is, it is as good as any.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

GRACE_SECONDS = 0.8
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interruptible(
    stop: threading.Event, abandon: Callable[[], object], seconds: float = GRACE_SECONDS
) -> Iterator[None]:
    """
    Raise KeyboardInterrupt in the block at the first signal, and set `stop`; whatever comes of
    that, it leaves as KeyboardInterrupt. Where it does not end in some seconds, or at the second
    signal, `abandon` ends the process.
    """
    told, tell = os.pipe()
    ended = threading.Event()
    came = False

    def note(_: int, __: FrameType | None) -> None:
        nonlocal came
        # No lock is taken here: what was interrupted may hold it.
        os.write(tell, b"!")
        if not came:
            came = True
            raise KeyboardInterrupt

    def watch() -> None:
        if os.read(told, 1) != b"!":
            return
        stop.set()
        timer = threading.Timer(seconds, _unless, (ended, abandon))
        timer.daemon = True
        timer.start()
        if os.read(told, 1) == b"!":
            abandon()

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    except BaseException as error:
        if came and not isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt from error
        raise
    finally:
        ended.set()
        for number, handler in before.items():
            signal.signal(number, handler)
        os.write(tell, b".")
        watcher.join()
        os.close(told)
        os.close(tell)


def _unless(ended: threading.Event, abandon: Callable[[], object]) -> None:
    if not ended.is_set():
        abandon()
