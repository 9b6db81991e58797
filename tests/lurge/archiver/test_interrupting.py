"""Ctrl-C, as processes get it: in the middle of something, of nothing that ends, and twice."""

import signal
import subprocess
import time

import pytest
from children import command

WAITS = """
    import os, sys, threading, time
    from lurge.archiver.interrupting import interruptible

    stop = threading.Event()

    def abandon():
        print("abandoned", flush=True)
        os._exit(7)

    def wait():
        print("ready", flush=True)
        {wait}

    try:
        with interruptible(stop, abandon, {seconds}):
            {act}
    except KeyboardInterrupt:
        print("interrupted", stop.wait(10), flush=True)
"""

STUBBORN = """
        while True:
            try:
                time.sleep(100)
            except KeyboardInterrupt:
                pass
"""


def ended(wait: str, seconds: float, signals: list[signal.Signals], act: str = "wait()") -> str:
    code = WAITS.format(wait=wait.strip(), seconds=seconds, act=act)
    process = subprocess.Popen(command(code), stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    for number in signals:
        time.sleep(0.05)
        process.send_signal(number)
    told, _ = process.communicate(timeout=60)
    return told


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_interrupted_ends_and_all_threads_are_told(number: signal.Signals) -> None:
    assert ended("time.sleep(100)", 30, [number]) == "interrupted True\n"


def test_what_fails_when_it_is_interrupted_was_interrupted(tmp_path: object) -> None:
    wait = "\n        ".join(
        ("try:", "    time.sleep(100)", "finally:", '    raise OSError("by that")')
    )
    assert ended(wait, 30, [signal.SIGINT]) == "interrupted True\n"


def test_what_does_not_end_is_abandoned() -> None:
    assert ended(STUBBORN, 0.1, [signal.SIGINT]) == "abandoned\n"


def test_who_asks_twice_does_not_wait() -> None:
    assert ended(STUBBORN, 1000, [signal.SIGINT, signal.SIGINT]) == "abandoned\n"


def test_signals_are_what_they_were_afterwards() -> None:
    code = """
        import signal, threading
        from lurge.archiver.interrupting import SIGNALS, interruptible

        before = [signal.getsignal(each) for each in SIGNALS]
        with interruptible(threading.Event(), print):
            pass
        print(before == [signal.getsignal(each) for each in SIGNALS])
    """
    done = subprocess.run(command(code), capture_output=True, text=True, check=False)
    assert done.stdout == "True\n", done.stderr
