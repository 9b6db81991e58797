"""A writer lives while its process does, or as long as it was heard of lately."""

import os
import socket
import subprocess
from collections.abc import Iterator
from datetime import datetime, timedelta

import children
import pytest

from db import writers
from db.writers import SILENT, Writer

NOW = datetime(2026, 3, 1, 12)  # noqa: DTZ001 - as databases have it
LONGEST_NAME = 64
"""Of a host, in Linux."""

LATELY = NOW - timedelta(minutes=1)

TELL = """
    import sys
    from db import writers

    print(*writers.me(), sep="\\n", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        children.command(TELL), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield process
        process.kill()


def writer(process: "subprocess.Popen[str]") -> Writer:
    assert process.stdout
    return Writer(process.stdout.readline().strip(), process.stdout.readline().strip())


def test_this_process_lives() -> None:
    assert writers.lives(writers.me(), LATELY, NOW)


def test_another_process_lives_until_it_ends(process: "subprocess.Popen[str]") -> None:
    other = writer(process)
    assert other != writers.me()
    assert writers.lives(other, LATELY, NOW)
    process.kill()
    process.wait()
    assert not writers.lives(other, NOW, NOW)


def test_a_process_that_nobody_has_waited_for_has_ended(process: "subprocess.Popen[str]") -> None:
    other = writer(process)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not writers.lives(other, NOW, NOW)


def test_a_later_process_of_the_same_number_is_another() -> None:
    me = writers.me()
    number = me.process.split()[0]
    assert not writers.lives(me._replace(process=f"{number} 1"), NOW, NOW)


def test_a_process_of_another_host_lives_while_it_is_heard_of() -> None:
    elsewhere = writers.me()._replace(host="elsewhere pid:[1]", process="1 1")
    assert writers.lives(elsewhere, NOW - SILENT, NOW)
    assert not writers.lives(elsewhere, NOW - SILENT - timedelta(seconds=1), NOW)


@pytest.mark.parametrize("boot", [" 0e53f36c-7f4b-4b5b-8a6c-2d6a4c1b9f10", ""])
def test_hosts_of_one_name_are_told_apart(boot: str) -> None:
    """Those that have a writer's number have no process of it; rows of before have no boot."""
    name, namespace, _ = writers.me().host.rsplit(" ", 2)
    elsewhere = Writer(f"{name} {namespace}{boot}", "1 1")
    assert writers.lives(elsewhere, LATELY, NOW)
    assert not writers.lives(elsewhere, NOW - 2 * SILENT, NOW)


def test_a_process_that_is_silent_is_taken_for_dead() -> None:
    assert not writers.lives(writers.me(), NOW - 2 * SILENT, NOW)


def test_what_is_stored_of_a_writer_is_short() -> None:
    host, process = writers.me()
    assert len(process) <= 64
    assert len(host) - len(socket.gethostname()) + LONGEST_NAME <= 255
