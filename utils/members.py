"""
Who is a member of which groups, by the system or by files such as `getent` prints.

A login is believed to be somebody only where it is the very bytes of a name: one that differs in
its capitals, or that is a pattern for many, is nobody's.
"""

import os
import pwd
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from lurge_types.names import Member
from utils.names import (
    LONGEST_NAME,
    Known,
    Line,
    NamesMissing,
    NamesWrong,
    SystemNames,
    known,
    read_files,
    shown,
)
from utils.paths import raw, text


class Members(Protocol):
    """Whoever knows what somebody is a member of; several threads may ask at a time."""

    def member(self, login: str) -> Member | None:
        """
        Who has a login, in the text form; None where nobody is known by this name.

        Raises NamesMissing where whoever knows does not answer.
        """


class SystemMembers:
    """What this system knows, from wherever it has it (NSS); a source that is away knows nobody."""

    def member(self, login: str) -> Member | None:
        """Who has a login, in the text form; None where nobody is known by this name."""
        name = login_bytes(login)
        if name is None:
            return None
        try:
            user = pwd.getpwnam(os.fsdecode(name))
            gids = {user.pw_gid, *os.getgrouplist(user.pw_name, user.pw_gid)}
        except (KeyError, ValueError):  # nobody; a NUL; no UTF-8, whose groups Python cannot ask
            return None
        if os.fsencode(user.pw_name) != name:  # a source may make no difference of capitals
            return None
        groups = SystemNames().groups(sorted(gids))
        return Member(user.pw_uid, login, {gid: group.name for gid, group in groups.items()})


class FileMembers:
    """
    What is in a file of lines like `name:x:gid:members`, and in one of lines that begin like
    `name:x:uid:gid`; without the second, nobody is known. Of two users with one name the first
    counts.

    They are read anew each time, which takes 20 ms for 12,000 lines: what is replaced counts at
    once, whatever time and size it has.

    Raises NamesWrong with every problem of both.
    """

    def __init__(self, group_file: Path, user_file: Path | None = None) -> None:
        self._files = group_file, user_file
        read_files(group_file, user_file)

    def member(self, login: str) -> Member | None:
        """
        Who has a login, in the text form; None where nobody is known by this name.

        Raises NamesMissing where the files are not as they should be any more.
        """
        name = login_bytes(login)
        if name is None:
            return None
        try:
            groups, users = read_files(*self._files)
        except NamesWrong as error:
            raise NamesMissing(str(error)) from error
        for user, (uid, gid), _ in users:
            if user == name:
                gids = {gid, *(group.ids[0] for group in groups if _lists(group, name))}
                return Member(uid, login, named(gids, known(groups)))
        return None


def login_bytes(login: str) -> bytes | None:
    r"""
    The bytes of which a login is the text form, as short as a name may be; None where there are
    none.

    >>> login_bytes("caf\\xe9"), login_bytes("a\\b"), login_bytes("\\x61"), login_bytes("")
    (b'caf\xe9', None, None, None)
    """
    try:
        name = raw(login)
    except UnicodeEncodeError:  # half of a pair of surrogates
        return None
    # What is only like a text form must not be anybody: the text form of an a is a, not \x61.
    return name if 0 < len(name) <= LONGEST_NAME and text(name) == login else None


def named(gids: Iterable[int], groups: Known) -> dict[int, str]:
    """How groups are shown, by ascending gid."""
    return {gid: shown("gid", gid, *groups.name(gid)) for gid in sorted(gids)}


def _lists(group: Line, name: bytes) -> bool:
    return name in map(bytes.strip, group.rest.split(b","))
