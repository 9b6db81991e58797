"""The private OpenLDAP keeps what it is given and leaves nothing behind."""

import subprocess
import time
from pathlib import Path

import children
from servers.openldap import Openldap

RUN = """
    import sys, time

    sys.path.insert(0, sys.argv[1])
    from servers.openldap import private_openldap

    with private_openldap() as server:
        print(server.ca_file, flush=True)
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


def test_nothing_is_left_of_it_when_the_tests_are_killed() -> None:
    with subprocess.Popen(
        children.command(RUN, TESTS), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout
        folder = Path(process.stdout.readline().strip()).parent
        assert folder.name.startswith("lurge-")
        assert alive(folder)
        process.kill()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and (folder.exists() or alive(folder)):
        time.sleep(0.05)
    assert not folder.exists()
    assert not alive(folder)


def test_what_was_stored_outlives_a_kill(openldap: Openldap) -> None:
    openldap.start()
    branch = openldap.branch()
    for verb in (openldap.kill, openldap.kill, openldap.start, openldap.start):
        verb()
    since = openldap.log_size()
    command = ["ldapsearch", "-x", "-LLL", "-H", openldap.url, "-b", branch]
    found = subprocess.run(command, capture_output=True, check=True, text=True)
    assert f"dn: {branch}" in found.stdout
    assert len(openldap.searches(since)) == 1
