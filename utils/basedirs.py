"""
Base directories from the files that wrstat 3.0 to 4.1 wrote: `YYYYMMDD_*.basedirs`.

A line is a gid, a tab and a path, whose bytes stand there as they are. Only the paths matter.
"""

import os
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

NAME = re.compile(rb"(?P<date>[0-9]{8})_.+\.basedirs", re.DOTALL)


class BasedirsUnreadable(Exception):
    """The file of base directories that counts cannot be read."""


@dataclass(frozen=True, slots=True)
class Basedirs:
    """The paths in a file, and what a reader of the reports should know of it, in words."""

    paths: tuple[bytes, ...] = ()
    remarks: tuple[str, ...] = ()


def newest(folder: Path, day: date, max_days_ago: int) -> Basedirs:
    """
    What is in the newest file that is not of later than a day, nor too old; nothing without one.

    Raises BasedirsUnreadable.
    """
    oldest = day - timedelta(days=max_days_ago)
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names only
        dated = [(found, folder / name) for name in names if (found := _date(name))]
        files = [
            (found, path.stat().st_mtime_ns, path)
            for found, path in dated
            if oldest <= found <= day
        ]
        return _read(max(files)[-1]) if files else Basedirs()
    except OSError as error:
        raise BasedirsUnreadable(
            f"base directories: {error.filename}: {error.strerror}: see that it is readable"
        ) from error


def _date(name: str) -> date | None:
    match = NAME.fullmatch(os.fsencode(name))
    try:
        return datetime.strptime(match["date"].decode(), "%Y%m%d").date() if match else None  # noqa: DTZ007
    except ValueError:
        return None


def _read(file: Path) -> Basedirs:
    paths = set()
    bad = []
    for number, line in enumerate(file.read_bytes().split(b"\n"), 1):
        gid, _, path = line.partition(b"\t")
        if gid.isdigit() and path.startswith(b"/"):
            paths.add(path.rstrip(b"/") or b"/")
        elif line:
            bad.append(number)
    if not bad:
        return Basedirs(tuple(sorted(paths)))
    remark = f"{file.name}: {len(bad)} bad lines, the first is line {bad[0]}"
    return Basedirs(tuple(sorted(paths)), (remark,))
