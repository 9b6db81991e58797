"""
TSV files: one header line, sorted rows, `-` for nothing known.

A file is prepared under another name in its place and renamed when the database has the same rows,
so that whoever reads it sees all of it or nothing.
"""

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from utils.durable import sync_folder
from utils.parts import part_of, remove_left_overs

LATEST = "latest"
DATED = re.compile(r"\d{4}-\d\d-\d\d").fullmatch


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


def place_of_day(report_dir: Path, program: str, day: date) -> Path:
    """Where a program's file of a date is that has all volumes."""
    return report_dir / program / f"{day.isoformat()}.tsv"


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


def header(path: Path) -> tuple[str, ...] | None:
    """
    The columns of a file; None if it is not there, or no TSV.

    Raises TsvFailed.
    """
    try:
        with path.open(encoding="utf-8", newline="\n") as file:
            return tuple(file.readline().removesuffix("\n").split("\t"))
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    except OSError as error:
        raise TsvFailed(f"{path} cannot be read: {error.strerror}") from error


def prepare(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> Prepared:
    """
    Write a file beside its place and make it durable.

    Raises TsvFailed; then nothing is left of it.
    """
    part = part_of(path)
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
        link = link_latest(path)
        remove_left_overs(path.parent)
        remove_left_overs(link.parent)
    except OSError as error:
        raise TsvFailed(f"{path} cannot be put in place: {error.strerror}") from error


def withdraw(path: Path) -> None:
    """
    Take away a file that is to be replaced.

    Raises TsvFailed.
    """
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise TsvFailed(f"{path} cannot be replaced: {error.strerror}") from error


def thinned(path: Path) -> TsvFailed:
    """That the rows of a file were deleted before it could be written, and what to do."""
    return TsvFailed(f"{path} is not written: its day was thinned out meanwhile: run again")


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
            for day, of in _days(folder).items()
            if of < today - timedelta(days=keep)
            for file in (_remove(day, folder / LATEST) if day.is_dir() else [_remove_file(day)])
        ]
    except OSError as error:
        raise TsvFailed(f"{error.filename} cannot be removed: {error.strerror}") from error


def _remove(day: Path, latest: Path) -> list[Path]:
    """Remove a day's files, the links to them, and the folder unless something else is in it."""
    remove_left_overs(day)
    files = sorted(day.glob("*.tsv"))
    for file in files:
        file.unlink(missing_ok=True)
        _unlink_dangling(latest / file.name)
    if not any(day.iterdir()):
        day.rmdir()
    return files


def _remove_file(file: Path) -> Path:
    """Remove a day's file of all volumes, and the link to it."""
    file.unlink(missing_ok=True)
    _unlink_dangling(_latest_of_day(file))
    return file


def _days(folder: Path) -> dict[Path, date]:
    """The folders of a program that are named by a date, and its files of all volumes."""
    return {each: day for each in sorted(folder.glob("[0-9]*")) if (day := _date(each))}


def _date(path: Path) -> date | None:
    """The date of a folder `2026-01-02` or a file `2026-01-02.tsv`; None for any other."""
    name = path.name if path.is_dir() else path.name.removesuffix(".tsv")
    if not DATED(name) or (name == path.name and not path.is_dir()):
        return None
    with suppress(ValueError):  # the 99th of a month
        return date.fromisoformat(name)
    return None


def link_latest(path: Path) -> Path:
    """Let a link in `latest` lead to a volume's newest file, or that of all volumes; which link."""
    if _date(path.parent):
        days = path.parent.parent
        newest = max(day.name for day in _days(days) if (day / path.name).exists())
        return _link(days / LATEST / path.name, Path("..", newest, path.name))
    newest = max(day.name for day in _days(path.parent) if not day.is_dir())
    return _link(_latest_of_day(path), Path("..", newest))


def _latest_of_day(path: Path) -> Path:
    """The link to the newest of a program's files of all volumes."""
    return path.parent / LATEST / f"{path.parent.name}.tsv"


def _link(link: Path, target: Path) -> Path:
    link.parent.mkdir(exist_ok=True)
    part = part_of(link)
    part.unlink(missing_ok=True)
    part.symlink_to(target)
    part.replace(link)
    sync_folder(link.parent)
    return link


def _unlink_dangling(link: Path) -> None:
    if link.is_symlink() and not link.exists():
        link.unlink(missing_ok=True)
