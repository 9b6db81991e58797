"""The private server keeps what it is given while it is wanted, and leaves nothing behind."""

import signal
import subprocess
import time
from pathlib import Path

import children
import pytest
from servers.mariadb import Mariadb, MariadbMissing, private_mariadb, program

RUN = """
    import sys, time

    sys.path.insert(0, sys.argv[1])
    from servers.mariadb import private_mariadb

    with private_mariadb() as server:
        print(server.execute("SELECT @@datadir, @@pid_file")[0], flush=True)
        time.sleep(60)
"""
TESTS = Path(__file__).parent.parent


def alive(folder: Path) -> bool:
    """Whether any process has the folder in its command line."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if bytes(folder) in (process / "cmdline").read_bytes():
                return True
        except OSError:  # it has just ended
            continue
    return False


def test_what_was_committed_outlives_stops_and_kills() -> None:
    with private_mariadb() as server:
        server.execute("CREATE DATABASE kept")
        server.execute("CREATE TABLE kept.numbers (number INT PRIMARY KEY)")
        for number, end in enumerate((server.stop, server.kill, server.stop)):
            server.execute("INSERT INTO kept.numbers VALUES (%s)", number)
            end()
            server.start()
        assert server.execute("SELECT * FROM kept.numbers") == [(0,), (1,), (2,)]


def test_verbs_may_be_said_twice(mariadb: Mariadb) -> None:
    for verb in (mariadb.stop, mariadb.stop, mariadb.kill, mariadb.start, mariadb.start):
        verb()
    assert mariadb.execute("SELECT 1") == [(1,)]


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_however_the_tests_end(ending: signal.Signals) -> None:
    with subprocess.Popen(
        children.command(RUN, TESTS), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().split("'")[1]).parent
        assert folder.name.startswith("lurge-")
        assert alive(folder)
        process.send_signal(ending)
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (folder.exists() or alive(folder)):
        time.sleep(0.05)
    assert not folder.exists()
    assert not alive(folder)


def test_a_server_that_is_not_installed_is_named_with_its_package() -> None:
    with pytest.raises(
        MariadbMissing, match=r"no-mariadbd is not there: apt-get install mariadb-s"
    ):
        program("no-mariadbd")
