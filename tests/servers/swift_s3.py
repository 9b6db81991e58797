"""
A private Swift, which is a real S3 server too: a folder and ports of its own, and nothing left.

Runs as whoever starts it. What is stopped may be started again on the same ports, with what it has
stored. A watcher ends it however this process ends: see `servers/mariadb.py`.
"""

import secrets
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import swiftclient
from servers.mariadb import WATCH, free_port

DEBIANS_PYTHON = "/usr/bin/python3"
SERVERS = Path(__file__).with_name("swift_servers.py")
STARTS_SECONDS = 30
WRITER, READER, SECRET = "test:writer", "test:reader", "hush-hush"


class SwiftMissing(Exception):
    """Swift or memcached is not installed."""


class SwiftFailed(Exception):
    """Swift does not start: the end of its log."""


class Swift:
    """A server in a folder."""

    def __init__(self, root: Path, watcher: "subprocess.Popen[str]") -> None:
        self._ports = [free_port() for _ in range(5)]
        self.port = self._ports[0]
        self.url = f"http://127.0.0.1:{self.port}"
        self._root = root
        self._disk = root / "device"
        self._disk.mkdir()
        self._watcher = watcher
        self._log = root / "log"
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Start unless it runs, and wait until it answers. Raises SwiftFailed, SwiftMissing."""
        if self._processes:
            return
        memcached = ["memcached", "-l", "127.0.0.1", "-p", str(self._ports[1]), "-U", "0"]
        # It uses the file only as a daemon: that names the folder, by which the watcher knows it.
        self._run([*memcached, "-u", "root", "-P", str(self._root / "pid")])
        python = [DEBIANS_PYTHON, "-I", "-W", "ignore"]  # whatever this process has for its own
        self._run([*python, str(SERVERS), str(self._root), *map(str, self._ports)])
        deadline = time.monotonic() + STARTS_SECONDS
        while not self._answers():
            ended = any(process.poll() is not None for process in self._processes)
            if ended or time.monotonic() > deadline:
                self.kill()
                raise SwiftFailed(self._log.read_text(errors="replace")[-2000:])
            time.sleep(0.02)

    def kill(self) -> None:
        """End it where it stands: what it has answered is stored."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._processes.clear()

    def lose_disk(self) -> None:
        """Let it run without what it has stored."""
        self._disk.rename(self._root / "lost")

    def find_disk(self) -> None:
        """Give it back what it has stored."""
        (self._root / "lost").rename(self._disk)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Its own interface, not S3's."""
        client = swiftclient.Connection(f"{self.url}/auth/v1.0", WRITER, SECRET)
        try:
            yield client
        finally:
            client.close()

    def make_bucket(self, quota_bytes: int | None = None) -> str:
        """A new bucket."""
        name = f"lurge-{secrets.token_hex(4)}"
        quota = {} if quota_bytes is None else {"x-container-meta-quota-bytes": str(quota_bytes)}
        with self.client() as client:
            client.put_container(name, quota)
        return name

    def objects(self, bucket: str) -> dict[str, dict[str, Any]]:
        """What a bucket has, by key: `bytes`, `hash`, `last_modified`."""
        with self.client() as client:
            return {each["name"]: each for each in client.get_container(bucket)[1]}

    def read(self, bucket: str, key: str) -> bytes:
        """An object."""
        with self.client() as client:
            read: bytes = client.get_object(bucket, key)[1]
            return read

    def write(self, bucket: str, key: str, written: bytes) -> None:
        """Put something in the place of an object."""
        with self.client() as client:
            client.put_object(bucket, key, written)

    def lose_segments(self, bucket: str, number: int) -> int:
        """Delete the segment of this number of all large objects. How many were there."""
        lost = 0
        with self.client() as client:
            there = {each["name"] for each in client.get_account()[1]}
            for each in {bucket, f"{bucket}+segments"} & there:  # the latter are S3's
                for name in self.objects(each):
                    folder, _, last = name.rpartition("/")
                    if (each != bucket or "segments…/" in folder) and last.lstrip("0") == str(
                        number
                    ):
                        client.delete_object(each, name)
                        lost += 1
        return lost

    def _run(self, command: Sequence[str]) -> None:
        try:
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
        except FileNotFoundError as error:
            raise SwiftMissing(f"{command[0]} is not there: see debian-packages.txt") from error
        self._processes.append(process)
        assert self._watcher.stdin
        self._watcher.stdin.write(f"{process.pid}\n")
        self._watcher.stdin.flush()

    def _answers(self) -> bool:
        who = {"X-Auth-User": WRITER, "X-Auth-Key": SECRET}
        request = urllib.request.Request(f"{self.url}/auth/v1.0", headers=who)
        try:
            with urllib.request.urlopen(request, timeout=STARTS_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            error.close()
            return False
        except OSError:
            return False


@contextmanager
def private_swift() -> Iterator[Swift]:
    """
    A server that runs.

    Raises SwiftMissing, SwiftFailed.
    """
    root = Path(tempfile.mkdtemp(prefix="lurge-", dir="/tmp"))
    watcher = subprocess.Popen(
        ["sh", "-c", WATCH, str(root)], stdin=subprocess.PIPE, start_new_session=True, text=True
    )
    with watcher:  # its end closes the pipe and waits until the folder has gone
        server = Swift(root, watcher)
        try:
            server.start()
            yield server
        finally:
            server.kill()
