"""
A private MariaDB: a folder, a port and a socket of its own, and nothing left of it afterwards.

Runs as root (the server then as `mysql`) and as an ordinary user. What is stopped may be started
again on the same port. A watcher outlives this process: it ends the server and removes the folder
however this process ends, even by SIGKILL.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sql
from sqlalchemy.engine import Connection

SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/sbin")
PORTS = range(20_000, 32_000)
"""Below those that the kernel gives away: a port stays free while its server is stopped."""
STARTS_SECONDS = 30
STOPS_SECONDS = 30

FAST = (
    "--innodb-buffer-pool-size=32M",
    "--innodb-log-file-size=16M",
    "--innodb-flush-method=nosync",
    # Written at each commit, though not synced: a server that is killed loses nothing.
    "--innodb-flush-log-at-trx-commit=2",
)
DURABLE = (
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-doublewrite=1",
    "--innodb-buffer-pool-size=128M",
)

# Reads the server's process ids, one a line, until its parent has gone or closes the pipe. That a
# process is the server is known by the folder in its command line.
WATCH = """
trap '' INT TERM HUP
while read -r pid; do all="$all $pid"; done
for pid in $all; do
    while grep -qs -- "$0" "/proc/$pid/cmdline"; do
        kill -9 "$pid"
        sleep 0.02
    done
done
rm -rf -- "$0"
"""


class MariadbMissing(Exception):
    """MariaDB is not installed."""


class MariadbFailed(Exception):
    """MariaDB does not start or stop: the end of its log."""


class Mariadb:
    """A server in a folder; its verbs may be used in any order, by several threads."""

    def __init__(self, root: Path, watcher: "subprocess.Popen[str]", settings: Sequence[str]):
        self.port = free_port()
        self._root = root
        self._watcher = watcher
        self._settings = settings
        self._engine = sql.create_engine(
            self.url(""), pool_pre_ping=True, isolation_level="AUTOCOMMIT"
        )
        self._log = root / "log"
        self._process: subprocess.Popen[bytes] | None = None
        self._changing = threading.RLock()
        self._install()

    def url(self, name: str) -> str:
        """Where the administrator of this server reaches a database, without a password."""
        return f"mysql+pymysql://root@localhost/{name}?unix_socket={self._root}/socket"

    def start(self) -> None:
        """Start unless it runs, and wait until it answers. Raises MariadbFailed."""
        with self._changing:
            if self._process is None or self._process.poll() is not None:
                self._start()

    def stop(self) -> None:
        """Let it end in good order."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it where it stands."""
        self._end(signal.SIGKILL)

    def freeze(self) -> None:
        """Let it keep its connections and answer nobody."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    @contextmanager
    def administrator(self) -> Iterator[Connection]:
        """A connection that may do everything, each statement on its own."""
        with self._engine.connect() as connection:
            yield connection

    def execute(self, statement: str, *values: object) -> list[Any]:
        """Do one thing as the administrator; the rows it gives."""
        with self.administrator() as connection:
            done = connection.exec_driver_sql(statement, values)
            return list(done) if done.returns_rows else []

    def _start(self) -> None:
        command = [
            program("mariadbd"),
            *self._common(),
            *self._settings,
            f"--socket={self._root}/socket",
            f"--pid-file={self._root}/pid",
            "--bind-address=127.0.0.1",
            f"--port={self.port}",
            "--performance-schema=OFF",
            # As lax and as narrow as a site may have it.
            "--sql-mode=",
            "--max-allowed-packet=1M",
        ]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        assert self._watcher.stdin
        self._watcher.stdin.write(f"{self._process.pid}\n")
        self._watcher.stdin.flush()
        deadline = time.monotonic() + STARTS_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise self._failed()
            time.sleep(0.02)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:  # PyMySQL does not close one that is refused
            if probe.connect_ex(f"{self._root}/socket"):
                return False
        try:
            self.execute("SELECT 1")
        except sql.exc.OperationalError:
            return False
        return True

    def _signal(self, number: int) -> None:
        if self._process and self._process.poll() is None:
            self._process.send_signal(number)

    def _end(self, number: int) -> None:
        with self._changing:
            self._engine.dispose()
            self._signal(number)
            self.thaw()
            try:
                if self._process:
                    self._process.wait(STOPS_SECONDS)
            except subprocess.TimeoutExpired as error:
                raise self._failed() from error

    def _install(self) -> None:
        command = [
            program("mariadb-install-db"),
            *self._common(),
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            "--skip-name-resolve",
            *self._settings,
            "--innodb-flush-method=nosync",
        ]
        with self._log.open("ab") as log:
            done = subprocess.run(command, stdout=log, stderr=log, check=False)
        if done.returncode:
            raise self._failed()

    def _failed(self) -> MariadbFailed:
        return MariadbFailed(self._log.read_text(errors="replace")[-2000:])

    def _common(self) -> list[str]:
        user = ["--user=mysql"] if os.geteuid() == 0 else []
        return ["--no-defaults", *user, f"--datadir={self._root}/data", f"--tmpdir={self._root}"]


@contextmanager
def private_mariadb(*settings: str) -> Iterator[Mariadb]:
    """
    A server that runs, by default with fast settings.

    Raises MariadbMissing, MariadbFailed.
    """
    program("mariadbd")
    # A short name: the path of a socket may have 107 bytes.
    root = Path(tempfile.mkdtemp(prefix="lurge-", dir="/tmp"))
    if os.geteuid() == 0:
        shutil.chown(root, "mysql")
    watcher = subprocess.Popen(
        ["sh", "-c", WATCH, str(root)], stdin=subprocess.PIPE, start_new_session=True, text=True
    )
    with watcher:  # its end closes the pipe and waits until the folder has gone
        server = Mariadb(root, watcher, settings or FAST)
        try:
            server.start()
            yield server
        finally:
            server.stop()


def program(name: str, folders: Sequence[str] = SYSTEM_FOLDERS) -> str:
    """
    The path of one of MariaDB's programs; `mariadbd` is where only root looks.

    Raises MariadbMissing.
    """
    path = os.pathsep.join((os.environ.get("PATH", os.defpath), *folders))
    found = shutil.which(name, path=path)
    if found is None:
        raise MariadbMissing(f"{name} is not there: apt-get install mariadb-server")
    return found


def free_port() -> int:
    """A port of this host that nobody listens on."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
