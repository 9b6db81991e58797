"""A small site in a folder: its configuration, its scan files, and `manager.py` run on them."""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from datetime import time as clock
from pathlib import Path
from typing import Any

import mpirun

from lurge_types.batch import Entry
from utils.scans import FULLWIDTH_SLASH
from utils.wrstat import format_line

MANAGER = Path(__file__).parent.parent / "manager.py"
TODAY = datetime.now(UTC).date()

DEFAULTS = Entry(b"/", 10, 1, 2, 5, 5, 5, "f", 7, 1, 9, None)


def entry(path: str | bytes, **facts: Any) -> Entry:
    """An entry of which only what matters is given."""
    raw = path.encode() if isinstance(path, str) else path
    return DEFAULTS._replace(path=raw, **facts)


def entries(count: int, *, groups: int = 5, mount: str = "/lustre/s1") -> list[Entry]:
    """Some entries of some groups; which depends on nothing but the arguments."""
    return [
        entry(
            f"{mount}/dir{i % 7}/file{i}",
            size=i * 37 % 1000,
            gid=3000 + i % groups,
            uid=i % 3,
            mtime=1_700_000_000 + i,
            inode=i // 2 if i % 10 < 2 else i + 10**6,
            links=2 if i % 10 < 2 else 1,
        )
        for i in range(count)
    ]


def text(entries: Iterable[Entry]) -> bytes:
    """The scan's text."""
    return b"".join(map(format_line, entries))


def wait_for(happens: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Look very often, until something happens or the process has ended."""
    while not happens() and process.poll() is None:
        time.sleep(0.0005)


@dataclass
class Site:
    """
    Everything of a site under one folder.

    config: the configuration's lines behind those that say where things are.
    ranks: how many `mpirun` starts; 0 is one process without it.
    """

    folder: Path
    config: str = ""
    database: str = "sqlite:///lurge.db"
    password_file: Path | None = None
    retry_seconds: float = 2
    env: dict[str, str] = field(default_factory=dict)
    ranks: int = 0

    @property
    def wrstat(self) -> Path:
        return self.folder / "wrstat"

    @property
    def reports(self) -> Path:
        return self.folder / "reports"

    def add_scan(
        self,
        what: Sequence[Entry] | bytes,
        mount: str = "/lustre/s1",
        day: date = TODAY,
        at: clock = clock(1, 2, 3),
    ) -> Path:
        """Write a scan of a mount, from entries or from its text."""
        name = f"{day:%Y%m%d}-{at:%H%M%S}_{mount}".replace("/", FULLWIDTH_SLASH)
        path = self.wrstat / name / "stats.gz"
        path.parent.mkdir(parents=True)
        path.write_bytes(gzip.compress(what if isinstance(what, bytes) else text(what), 1))
        moment = datetime.combine(day, at, UTC).timestamp()
        os.utime(path, (moment, moment))
        return path

    def write_config(self) -> Path:
        """Write `lurge.toml`."""
        self.wrstat.mkdir(parents=True, exist_ok=True)
        path = self.folder / "lurge.toml"
        path.write_text(
            f'wrstat_dir = "wrstat"\nreport_dir = "reports"\n{self.config}\n'
            f'[database]\nurl = "{self.database}"\nretry_seconds = {self.retry_seconds}\n'
            + (f'password_file = "{self.password_file}"\n' if self.password_file else ""),
            encoding="utf-8",
        )
        return path

    def command(self, *arguments: str | Path) -> list[str]:
        """What starts `manager.py` with this site's configuration, by its ranks if it has any."""
        config = self.write_config()
        python = mpirun.ranks(self.ranks) if self.ranks else [sys.executable]
        return [*python, str(MANAGER), *map(str, arguments), "--config", str(config)]

    def start(self, *arguments: str | Path, **options: Any) -> subprocess.Popen[str]:
        """Start `manager.py` without a terminal."""
        return subprocess.Popen(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=mpirun.environment() | self.env,
            **options,
        )

    def start_reading(self, scan: Path, *arguments: str | Path) -> subprocess.Popen[str]:
        """Start `manager.py`, and return when it has opened the scan's file."""
        process = self.start(*arguments)
        handles = Path("/proc", str(process.pid), "fd")

        def reads() -> bool:
            with suppress(FileNotFoundError):
                return any(handle.resolve() == scan for handle in handles.iterdir())
            return False

        wait_for(reads, process)
        return process

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """Run `manager.py` to its end."""
        return subprocess.run(
            self.command(*arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            env=mpirun.environment() | self.env,
        )

    def outcomes(self, *arguments: str | Path) -> list[dict[str, Any]]:
        """What a report run says in JSON, sorted by volume."""
        done = self.run(*arguments, "--json")
        assert done.returncode in (0, 1), done.stderr
        objects = [json.loads(line) for line in done.stdout.splitlines()]
        return sorted(objects, key=lambda each: (each["volume"], each["report"]))

    def tsv(self, volume: str = "s1", day: date = TODAY, program: str = "reporter") -> Path:
        """Where a program's TSV is."""
        return self.reports / program / day.isoformat() / f"{volume}.tsv"
