"""The folder of a day: filled under another name, there under its own when it is whole."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import date, datetime, timedelta
from pathlib import Path

from lurge.splitter.parts import writing
from utils.durable import sync_folder
from utils.parts import left_overs, part_of, remove_left_overs

DATED = re.compile(r"\d{8}").fullmatch
DAY = "%Y%m%d"
ASIDE = ".old"
"""Behind the name of a folder in whose place another is put."""


class FolderTaken(Exception):
    """Another run has made the folder meanwhile."""


class Folder:
    """
    The folder of a day among those of other days.

    path: its own name. part: the one under which it is filled.
    """

    def __init__(self, days: Path, day: date) -> None:
        self.path = days / f"{day:{DAY}}"
        self.part = part_of(self.path)

    def begin(self) -> None:
        """
        Make the folder that is to be filled.

        Raises SplitFailed.
        """
        with writing(self.part):
            _unused(self.path).mkdir(parents=True)

    def publish(self, *, replace: bool) -> None:
        """
        Give the folder its name, in place of the one that has it where that is to be replaced.

        Raises SplitFailed, FolderTaken.
        """
        with writing(self.path):
            sync_folder(self.part)
            with _put_aside(self.path) if replace else nullcontext():
                try:
                    self.part.rename(self.path)
                except OSError as error:
                    if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                        raise FolderTaken from error
                    raise
                sync_folder(self.path.parent)

    def discard(self) -> None:
        """Remove what was filled, if it has not got its name."""
        shutil.rmtree(self.part, ignore_errors=True)  # a later run finds it left over


def tidy(days: Path) -> None:
    """
    Remove what killed runs left, but for a folder that was to be replaced: that gets its name back.

    Raises SplitFailed.
    """
    with writing(days):
        for part in left_overs(days):
            name, _, _ = part.name.removeprefix(".").partition(f"{ASIDE}.")
            if DATED(name) and not (days / name).exists():
                part.rename(days / name)
    remove_left_overs(days)


def remove_older(days: Path, keep: int, today: date, just_made: Path | None) -> None:
    """
    Remove the folders of days more than `keep` days ago, but the one just made.

    Raises SplitFailed.
    """
    for folder in sorted(days.glob("[0-9]*")):
        day = _day(folder)
        if not day or folder == just_made or folder.is_symlink() or not folder.is_dir():
            continue
        if day < today - timedelta(days=keep):
            with writing(folder), suppress(FileNotFoundError):  # another run was first
                # Under another name, so that nobody takes for whole what is left of it.
                shutil.rmtree(folder.rename(_unused(folder)))


@contextmanager
def _put_aside(folder: Path) -> Iterator[None]:
    """Take its name from a folder, if there is one; remove it in the end, or give it back."""
    aside = _unused(folder.with_name(f"{folder.name}{ASIDE}"))
    with suppress(FileNotFoundError):
        folder.rename(aside)
    try:
        yield
    except BaseException:
        with suppress(OSError):  # another has the name now
            aside.rename(folder)
        raise
    finally:
        with suppress(FileNotFoundError):
            shutil.rmtree(aside)


def _unused(path: Path) -> Path:
    """The name for what this process prepares; what an earlier one of its number left is gone."""
    part = part_of(path)
    with suppress(FileNotFoundError):
        shutil.rmtree(part)
    return part


def _day(folder: Path) -> date | None:
    if DATED(folder.name):
        with suppress(ValueError):  # the 99th of a month
            return datetime.strptime(folder.name, DAY).date()  # noqa: DTZ007 - a day, no time
    return None
