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
from utils.parts import part_of, remove_left_overs

DATED = re.compile(r"\d{8}").fullmatch
DAY = "%Y%m%d"


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
        Make the folder that is to be filled; what killed runs left is removed.

        Raises SplitFailed.
        """
        with writing(self.part):
            with suppress(FileNotFoundError):  # of a run that had this process's number
                shutil.rmtree(self.part)
            self.part.mkdir(parents=True)
            remove_left_overs(self.part.parent)

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


def remove_older(days: Path, keep: int, today: date, just_made: Path | None) -> None:
    """
    Remove the folders of days more than `keep` days ago but the one just made, and left-overs.

    Raises SplitFailed.
    """
    for folder in sorted(days.glob("[0-9]*")):
        day = _day(folder)
        if not day or folder == just_made or folder.is_symlink() or not folder.is_dir():
            continue
        if day < today - timedelta(days=keep):
            with writing(folder), _put_aside(folder):
                pass
    remove_left_overs(days)


@contextmanager
def _put_aside(folder: Path) -> Iterator[None]:
    """Take its name from a folder, if there is one; remove it in the end, or give it back."""
    aside = part_of(folder.with_name(f"{folder.name}.old"))
    with suppress(FileNotFoundError):  # of a run that had this process's number
        shutil.rmtree(aside)
    with suppress(FileNotFoundError):  # another run was first
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


def _day(folder: Path) -> date | None:
    if DATED(folder.name):
        with suppress(ValueError):  # the 99th of a month
            return datetime.strptime(folder.name, DAY).date()  # noqa: DTZ007 - a day, no time
    return None
