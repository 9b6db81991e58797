"""
A filesystem that breaks when a test says so: what lies in one folder, seen through FUSE at another.

Rules hold from the moment on at which `rules` returns. Nothing is cached: each call of a program
arrives, is counted, and can be asked for, `direct_io` reads included. `fault_filesystem.py` is the
filesystem, in a process of its own; it and the mount end however this process ends. What it does
not do:

* RENAME_NOREPLACE is EINVAL, as on many a network filesystem.
* `syncfs` and `copy_file_range` never arrive, nor do file locks.
* An open file that has lost its last name can be read and written, while `fstat` says ENOENT.
* Holes of sparse files are not told (`SEEK_DATA`), paths end at 4,096 bytes, and a directory that
  is read gets a time of reading even with O_NOATIME; a file does not.
* Who is killed while one of its calls is held dies when that is let go.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Any

from servers.disks import unmounted_after

TESTS = Path(__file__).parent.parent
WAITS_SECONDS = 30
UNMOUNT = ("fusermount3", "-u", "-z", "--")


class FilesystemFailed(Exception):
    """The filesystem cannot be mounted or has ended: what it says."""


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What goes wrong. Of several rules that fit, the first counts.

    operation: as FUSE names it (`read`, `fsync`, `create`: a method of `Passing`), or `*`.
    path: a pattern below the mount, in which `*` stands for slashes too; one of the two of a rename
    or a link has to fit. error: an errno's name. from_byte: reads and writes go well up to there.
    skip: how many go well before. times: how often, None: always. delay_seconds: how long it takes.
    holds: it waits until the rules change. flips: that one byte is read wrong, and nobody is told.
    """

    operation: str
    path: str = "*"
    error: str | None = None
    from_byte: int = 0
    skip: int = 0
    times: int | None = None
    delay_seconds: float = 0.0
    holds: bool = False
    flips: bool = False

    def fits(self, operation: str, *paths: str) -> bool:
        """Whether it is about this."""
        return self.operation in {operation, "*"} and any(
            fnmatchcase(path, self.path) for path in paths
        )


class FaultFilesystem:
    """
    A mounted filesystem.

    root: where it is mounted. behind: what it shows, whole and without any faults.
    """

    def __init__(self, root: Path, behind: Path, process: "subprocess.Popen[str]", log: Path):
        self.root = root
        self.behind = behind
        self._process = process
        self._log = log
        self._heard()

    def rules(self, *rules: Rule) -> None:
        """Let these be the rules, and no others; what was held goes on."""
        self._ask(rules=[asdict(rule) for rule in rules])

    def hits(self) -> list[int]:
        """How often each of the rules has made something go wrong, in their order."""
        return list(self._ask()["hits"])

    def free(self, free_bytes: int | None) -> None:
        """Let so much fit, ENOSPC beyond, and tell that as free; None: what is true."""
        self._ask(free_bytes=free_bytes)

    def calls(self, operation: str, path: str = "*") -> int:
        """How often something was asked for, of paths of this pattern."""
        return self._sum(self._ask()["calls"].get(operation, {}), path)

    def read_bytes(self, path: str = "*") -> int:
        """How many bytes were given to readers, of paths of this pattern."""
        return self._sum(self._ask()["read_bytes"], path)

    def forget(self) -> None:
        """Count from 0 on."""
        self._ask(forget=True)

    def wait_held(self, count: int = 1) -> None:
        """Wait until so many calls are held. Raises TimeoutError."""
        deadline = time.monotonic() + WAITS_SECONDS
        while self._ask()["held"] < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"fewer than {count} calls are held")
            time.sleep(0.005)

    def kill(self) -> None:
        """End it where it stands: from now on every call fails with ENOTCONN."""
        self._process.kill()
        self._process.wait()

    @staticmethod
    def _sum(counts: dict[str, int], path: str) -> int:
        return sum(count for name, count in counts.items() if fnmatchcase(name, path))

    def _ask(self, **what: object) -> dict[str, Any]:
        try:
            # Not by its buffer, which would be flushed once more in the end.
            os.write(self._pipe(self._process.stdin).fileno(), f"{json.dumps(what)}\n".encode())
        except BrokenPipeError as error:
            raise self._failed() from error
        return self._heard()

    def _heard(self) -> dict[str, Any]:
        line = self._pipe(self._process.stdout).readline()
        if not line:
            raise self._failed()
        heard: dict[str, Any] = json.loads(line)
        return heard

    def _failed(self) -> FilesystemFailed:
        return FilesystemFailed(f"see debian-packages.txt: {self._log.read_text(errors='replace')}")

    @staticmethod
    def _pipe(pipe: IO[str] | None) -> IO[str]:
        assert pipe
        return pipe


@contextmanager
def fault_filesystem(behind: Path, root: Path) -> Iterator[FaultFilesystem]:
    """
    Mount at `root` what lies in `behind`; whoever may mount FUSE may do so.

    Raises FilesystemFailed.
    """
    command = [sys.executable, "-m", "servers.fault_filesystem", str(behind), str(root)]
    log = root.with_name(f"{root.name}.log")
    with log.open("wb") as errors:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            start_new_session=True,
            # Found at once, and the one that refuses RENAME_NOREPLACE.
            env={**os.environ, "PYTHONPATH": str(TESTS), "FUSE_LIBRARY_PATH": "libfuse.so.2"},
        )
    with process, unmounted_after(root, *UNMOUNT):
        try:
            yield FaultFilesystem(root, behind, process, log)
        finally:
            process.kill()  # whatever hangs in it
