"""
TSV files: one header line, sorted rows, `-` for nothing known.

A file is prepared under another name in its place and renamed when the database has the same rows,
so that whoever reads it sees all of it or nothing.
"""

import os
import socket
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from utils.durable import sync_folder

LATEST = "latest"
LEFT_OVER_SECONDS = 86_400
"""After so long a prepared file of another host belongs to no run that is still alive."""


class TsvFailed(Exception):
    """A TSV file cannot be written."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A file that is complete on the disk, but has not its name yet."""

    part: Path
    path: Path


def place(report_dir: Path, program: str, day: date, volume: str) -> Path:
    """Where a program's file of a volume and date is: named in UTF-8, whatever the locale."""
    return report_dir / program / day.isoformat() / os.fsdecode(f"{volume}.tsv".encode())


def text_of(cell: object) -> str:
    """
    A cell's text.

    >>> [text_of(cell) for cell in (None, True, 5, date(2026, 1, 2), "a")]
    ['-', 'yes', '5', '2026-01-02', 'a']
    """
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case _:
            return str(cell)


def lines(header: Sequence[str], rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """The lines of a file."""
    yield "\t".join(header) + "\n"
    for row in rows:
        yield "\t".join(map(text_of, row)) + "\n"


def prepare(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Prepared:
    """
    Write a file beside its place and make it durable.

    Raises TsvFailed; then nothing is left of it.
    """
    part = _part(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(lines(header, rows))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        with suppress(OSError):
            part.unlink()
        raise TsvFailed(f"{path} cannot be written: {error.strerror}") from error
    except BaseException:
        with suppress(OSError):  # what went wrong first is told
            part.unlink()
        raise
    return Prepared(part, path)


def publish(prepared: Prepared) -> None:
    """
    Give a prepared file its name, and point `latest` to it if none is newer.

    Raises TsvFailed.
    """
    path = prepared.path
    try:
        prepared.part.replace(path)
        sync_folder(path.parent)
        link_latest(path)
        _remove_left_overs(path.parent)
        _remove_left_overs(path.parent.parent / LATEST)
    except OSError as error:
        raise TsvFailed(f"{path} cannot be put in place: {error.strerror}") from error


def withdraw(prepared: Prepared) -> None:
    """
    Take away the file whose place a prepared one will have.

    Raises TsvFailed.
    """
    try:
        prepared.path.unlink(missing_ok=True)
    except OSError as error:
        raise TsvFailed(f"{prepared.path} cannot be replaced: {error.strerror}") from error


def discard(prepared: Prepared) -> None:
    """Take a prepared file back, if that can be done; else a later run finds it left over."""
    with suppress(OSError):
        prepared.part.unlink()


def remove_older(folder: Path, keep: int, today: date) -> list[Path]:
    """
    Remove a program's files of days more than `keep` days ago; which they were.

    Raises TsvFailed.
    """
    try:
        return [
            file
            for day in _days(folder)
            if date.fromisoformat(day.name) < today - timedelta(days=keep)
            for file in _remove(day, folder / LATEST)
        ]
    except OSError as error:
        raise TsvFailed(f"{error.filename} cannot be removed: {error.strerror}") from error


def _remove(day: Path, latest: Path) -> list[Path]:
    """Remove a day's files, the links to them, and the folder unless something else is in it."""
    _remove_left_overs(day)
    files = sorted(day.glob("*.tsv"))
    for file in files:
        file.unlink(missing_ok=True)
        _unlink_dangling(latest / file.name)
    if not any(day.iterdir()):
        day.rmdir()
    return files


def _days(folder: Path) -> list[Path]:
    """The folders of a program that are named by a date."""
    named = sorted(folder.glob("[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]"))
    return [day for day in named if _is_date(day.name) and day.is_dir()]


def _is_date(name: str) -> bool:
    try:
        return bool(date.fromisoformat(name))
    except ValueError:
        return False


def link_latest(path: Path) -> None:
    """Let `latest/<volume>.tsv` lead to the newest day that has one. Raises OSError."""
    day = path.parent
    newest = max(other.name for other in _days(day.parent) if (other / path.name).exists())
    link = day.parent / LATEST / path.name
    link.parent.mkdir(exist_ok=True)
    part = _part(link)
    part.unlink(missing_ok=True)
    part.symlink_to(Path("..", newest, path.name))
    part.replace(link)
    sync_folder(link.parent)


def _unlink_dangling(link: Path) -> None:
    if link.is_symlink() and not link.exists():
        link.unlink(missing_ok=True)


def _part(path: Path) -> Path:
    """The name under which this process prepares a file: it tells who may still be at it."""
    return path.with_name(f".{path.name}.{_host()}.{os.getpid()}.part")


def _host() -> str:
    """This host's name as one part of a dotted name."""
    return socket.gethostname().replace(".", "-")


def _remove_left_overs(folder: Path) -> None:
    """Remove what runs that were killed had prepared."""
    for part in folder.glob(".*.part"):
        *_, host, process, _ = part.name.rsplit(".", 3)
        with suppress(OSError):
            if host == _host():
                dead = not Path("/proc", process).exists()
            else:
                dead = time.time() - part.lstat().st_mtime > LEFT_OVER_SECONDS
            if dead:
                part.unlink()
