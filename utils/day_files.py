"""A text file a day, by the midnight of a time zone; those of many days ago are deleted."""

import os
import re
import socket
from collections.abc import Callable
from datetime import date, datetime, timedelta, tzinfo
from pathlib import Path

KEPT = timedelta(days=14)

UNFIT = re.compile(r"[^0-9A-Za-z.-]")
DATED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.[0-9A-Za-z.-]+\.log", re.ASCII).fullmatch


class DayFile:
    """
    What is written goes to the end of today's file, a line at once: `2026-01-31.HOST.log`.

    All processes of a host may write to it; each host has its own, as filesystems that hosts share
    do not always keep apart what several append. now: tells what time it is in UTC.

    Raises OSError, also where the folder is not there and cannot be made.
    """

    def __init__(
        self, folder: Path, zone: tzinfo, now: Callable[[], datetime], host: str | None = None
    ) -> None:
        self._folder = folder
        self._zone = zone
        self._now = now
        self._host = UNFIT.sub("-", host or socket.gethostname()) or "-"
        self._day: date | None = None
        self._handle = -1
        self._written = ""
        folder.mkdir(parents=True, exist_ok=True)
        self._turn()

    def write(self, text: str) -> int:
        """Add to the line."""
        self._written += text
        return len(text)

    def flush(self) -> None:
        """Append what was added."""
        line, self._written = self._written.encode("utf-8", "backslashreplace"), ""
        self._turn()
        while line:
            line = line[os.write(self._handle, line) :]

    def close(self) -> None:
        """Let go of the file."""
        if self._handle >= 0:
            os.close(self._handle)
        self._handle, self._day = -1, None

    def _turn(self) -> None:
        """See that it is today's file that is open."""
        today = self._now().astimezone(self._zone).date()
        if today == self._day:
            return
        self.close()
        how = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._handle = os.open(self._folder / f"{today}.{self._host}.log", how, 0o644)
        self._day = today
        for file in self._folder.iterdir():
            dated = DATED(file.name)
            if dated and dated[1] < str(today - KEPT):
                file.unlink(missing_ok=True)  # another process may do the same
