"""Names of groups and users, from the system or from files such as `getent` prints."""

import grp
import os
import pwd
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from lurge_types.config import MAX_ID
from lurge_types.names import Group, User
from utils.paths import raw, text

GROUP_LINE = "name:x:gid:members"
USER_LINE = "name:x:uid:gid"
NUMBER = re.compile(rb"[0-9]{1,20}").fullmatch

LONGEST_NAME = 500
"""Bytes; the database takes so many in any text form."""


class NamesWrong(Exception):
    """What is wrong with the files of names: every problem a line."""


class NamesMissing(Exception):
    """Whoever knows the names does not tell them: who, why, and what to do."""


class Names(Protocol):
    """Whoever knows what a group or a user is called."""

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""

    def users(self, uids: Iterable[int]) -> dict[int, User]:
        """A user for each number, with a name of their own."""

    def gids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of groups, by name in the text form, of those that are known."""

    def uids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of users, by name in the text form, of those that are known."""


class SystemNames:
    """The names that this system knows, from wherever it has them (NSS)."""

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""
        return {gid: self._group(gid) for gid in gids}

    def users(self, uids: Iterable[int]) -> dict[int, User]:
        """A user for each number, with a name of their own."""
        return {uid: self._user(uid) for uid in uids}

    def gids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of groups, by name in the text form, of those that are known."""
        return _numbers(names, lambda name: grp.getgrnam(name).gr_gid)

    def uids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of users, by name in the text form, of those that are known."""
        return _numbers(names, lambda name: pwd.getpwnam(name).pw_uid)

    def _group(self, gid: int) -> Group:
        try:
            name = grp.getgrgid(gid).gr_name
            return _group(gid, os.fsencode(name), grp.getgrnam(name).gr_gid)
        except KeyError:
            return _group(gid, b"", gid)

    def _user(self, uid: int) -> User:
        try:
            user = pwd.getpwuid(uid)
            first_uid = pwd.getpwnam(user.pw_name).pw_uid
            return _user(uid, os.fsencode(user.pw_name), first_uid, user.pw_gid)
        except KeyError:
            return _user(uid, b"", uid, None)


def _numbers(names: Iterable[str], ask: Callable[[str], int]) -> dict[str, int]:
    numbers = {}
    for name in names:
        with suppress(KeyError, ValueError):  # there is none, or it has a NUL
            numbers[name] = ask(os.fsdecode(raw(name)))
    return numbers


class FileNames:
    """
    The names in a file of lines like `name:x:gid:members`, and in one of lines that begin like
    `name:x:uid:gid`; without the second, nobody knows any user.

    Raises NamesWrong with every problem of both.
    """

    def __init__(self, group_file: Path, user_file: Path | None = None) -> None:
        groups, users = read_files(group_file, user_file)
        self._groups = known(groups)
        self._users = known(users)
        self._primary = {uid: gid for _, (uid, gid), _ in reversed(users)}

    def groups(self, gids: Iterable[int]) -> dict[int, Group]:
        """A group for each number, with a name of its own."""
        return {gid: _group(gid, *self._groups.name(gid)) for gid in gids}

    def users(self, uids: Iterable[int]) -> dict[int, User]:
        """A user for each number, with a name of their own."""
        gids = self._primary
        return {uid: _user(uid, *self._users.name(uid), gids.get(uid)) for uid in uids}

    def gids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of groups, by name in the text form, of those that are known."""
        return self._groups.numbers(names)

    def uids(self, names: Iterable[str]) -> dict[str, int]:
        """The numbers of users, by name in the text form, of those that are known."""
        return self._users.numbers(names)


class Known:
    """Names with their numbers. Of two with one number, or of one name, the first counts."""

    def __init__(self, names: Iterable[tuple[bytes, int]]) -> None:
        self._names: dict[int, bytes] = {}
        self._numbers: dict[bytes, int] = {}
        for name, number in names:
            self._names.setdefault(number, name)
            self._numbers.setdefault(name, number)

    def name(self, number: int) -> tuple[bytes, int]:
        """The name of a number, empty if there is none, and the first number of that name."""
        name = self._names.get(number, b"")
        return name, self._numbers.get(name, number)

    def numbers(self, names: Iterable[str]) -> dict[str, int]:
        """The first number of each name in the text form that has any."""
        found = ((name, self._numbers.get(raw(name))) for name in names)
        return {name: number for name, number in found if number is not None}


class Line(NamedTuple):
    """A line of a file of names, as far as it is of use; in `rest` a group has its members."""

    name: bytes
    ids: list[int]
    rest: bytes


def read_files(group_file: Path, user_file: Path | None) -> tuple[list[Line], list[Line]]:
    """
    The lines of groups, and of users where there is a file of them.

    Raises NamesWrong with every problem of both.
    """
    problems: list[str] = []
    groups = list(_lines(group_file, "group_file", GROUP_LINE, problems))
    users = list(_lines(user_file, "user_file", USER_LINE, problems)) if user_file else []
    if problems:
        raise NamesWrong("\n".join(problems))
    return groups, users


def known(lines: Iterable[Line]) -> Known:
    """The names in the lines of a file."""
    return Known((line.name, line.ids[0]) for line in lines)


def _lines(file: Path, key: str, form: str, problems: list[str]) -> Iterator[Line]:
    """
    The lines of a file that the configuration has under `key`.

    form: what a line is like, at the least as far as its last id. problems: what is wrong is added.
    """
    ids = slice(2, 2 + form.count("id"))
    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        problems.append(f"names.{key}: {file}: {error.strerror}")
        return
    for count, line in enumerate(lines, start=1):
        fields = line.split(b":")
        numbers = [int(field) for field in fields[ids] if NUMBER(field)]
        if not fields[0] or len(numbers) < form.count("id"):
            problems.append(f"names.{key}: {file}, line {count}: not {form}")
        elif max(numbers) > MAX_ID:
            problems.append(f"names.{key}: {file}, line {count}: a number above {MAX_ID}")
        else:
            yield Line(fields[0], numbers, b"".join(fields[ids.stop : ids.stop + 1]))


def _group(gid: int, name: bytes, first_gid: int) -> Group:
    return Group(gid, shown("gid", gid, name, first_gid), known=bool(name))


def _user(uid: int, name: bytes, first_uid: int, gid: int | None) -> User:
    return User(uid, shown("uid", uid, name, first_uid), gid, known=bool(name))


def shown(kind: Literal["gid", "uid"], number: int, name: bytes, first: int) -> str:
    """
    How a group or user is shown, where the first number of its name is `first`.

    >>> shown("gid", 7, b"team", 7), shown("gid", 8, b"team", 7), shown("uid", 9, b"", 9)
    ('team', 'team (gid:8)', 'uid:9')
    """
    if not name:
        return f"{kind}:{number}"
    return text(name) if number == first else f"{text(name)} ({kind}:{number})"
