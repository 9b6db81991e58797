"""Names of groups, from the system or from a file such as `getent group` prints."""

import grp
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lurge_types.names import Group
from utils.paths import text


class NamesWrong(Exception):
    """What is wrong with a file of names: every problem a line."""


class Names(Protocol):
    """Whoever knows what a group is called."""

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""


class SystemNames:
    """The names that this system knows, from wherever it has them (NSS)."""

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""
        return {gid: self._group(gid) for gid in gids}

    def _group(self, gid: int) -> Group:
        try:
            name = grp.getgrgid(gid).gr_name
            return _named(gid, os.fsencode(name), grp.getgrnam(name).gr_gid)
        except KeyError:
            return _named(gid, b"", gid)


class FileNames:
    """
    The names in a file of lines like `name:x:gid:members`.

    Raises NamesWrong.
    """

    def __init__(self, file: Path) -> None:
        self._names: dict[int, bytes] = {}
        self._gids: dict[bytes, int] = {}
        try:
            lines = file.read_bytes().splitlines()
        except OSError as error:
            raise NamesWrong(f"names.group_file: {file}: {error.strerror}") from error
        problems = []
        for number, line in enumerate(lines, start=1):
            fields = line.split(b":")
            if len(fields) < 3 or not fields[2].isdigit():
                problems.append(f"names.group_file: {file}, line {number}: not name:x:gid:members")
                continue
            self._names.setdefault(int(fields[2]), fields[0])
            self._gids.setdefault(fields[0], int(fields[2]))
        if problems:
            raise NamesWrong("\n".join(problems))

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""
        return {gid: self._group(gid) for gid in gids}

    def _group(self, gid: int) -> Group:
        name = self._names.get(gid, b"")
        return _named(gid, name, self._gids.get(name, gid))


def _named(gid: int, name: bytes, first_gid: int) -> Group:
    return Group(gid, shown(gid, name, first_gid), known=bool(name))


def shown(gid: int, name: bytes, first_gid: int) -> str:
    """
    How a group is shown, where the first group of its name is `first_gid`.

    >>> shown(7, b"team", 7), shown(8, b"team", 7), shown(9, b"", 9)
    ('team', 'team (gid:8)', 'gid:9')
    """
    if not name:
        return f"gid:{gid}"
    return text(name) if gid == first_gid else f"{text(name)} (gid:{gid})"
