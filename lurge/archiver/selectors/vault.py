"""
Files that people have marked to be archived, vault by vault, each with all of its names.

Where a file was when it was marked is known from the last night. Whether it still is there, and
which links vaults have of it, is looked up now: only a file all of whose names are known goes.
"""

import stat
from collections.abc import Collection, Iterator
from functools import lru_cache
from os import stat_result
from typing import NamedTuple

from db import vaults as stored
from db.database import Database
from db.vaults import MarkedNow
from lurge_types.archive import Proposal, Skipped
from lurge_types.candidates import ARCHIVE_ACTION, KEEP_ACTION
from utils import places
from utils.paths import text
from utils.trees import order
from utils.vaults import VAULT, Key, KeyBroken, decode, encode

UNIT_FILES = 10_000
"""Files of a unit: so many are removed together."""

REMEMBERED = 4096
"""Directories of which is remembered what vault they hold."""

SLASH = b"/"


class _Left(Exception):
    """A file is left out, for this reason."""


class _Found(NamedTuple):
    """The vault of a file, and all names of it, below the vault's root."""

    root: bytes
    names: tuple[bytes, ...]


class _Unit:
    """Files of a vault that are gathered, to be proposed together."""

    def __init__(self, root: bytes) -> None:
        self.root = root
        self.files = 0
        self._names: list[bytes] = []

    def add(self, found: _Found) -> None:
        self.files += 1
        self._names += found.names

    def proposal(self) -> Proposal:
        return Proposal(self.root, "files", tuple(sorted(self._names, key=order)), text(self.root))


def vault(
    database: Database, volume_names: Collection[str], most: int = UNIT_FILES
) -> Iterator[Proposal | Skipped]:
    """
    The marked files of some volumes: units of one vault each, of no more than so many files.

    Raises DatabaseFailed.
    """
    look = _Look()
    unit: _Unit | None = None
    for marked in stored.marked(database, volume_names, ARCHIVE_ACTION):
        try:
            found = look.find(marked)
        except _Left as left:
            yield Skipped(marked.real_path, None, str(left))
            continue
        if found is None:
            continue
        if unit and (unit.root != found.root or unit.files == most):
            yield unit.proposal()
            unit = None
        unit = unit or _Unit(found.root)
        unit.add(found)
    if unit:
        yield unit.proposal()


class _Look:
    """Looks for files and their links in vaults."""

    def __init__(self) -> None:
        self._branches = lru_cache(REMEMBERED)(_branches)

    def find(self, marked: MarkedNow) -> _Found | None:
        """All names of a file; None where another mark of it tells them. Raises _Left."""
        if why := places.wrong(marked.real_path):
            raise _Left(why)
        try:
            return self._find(marked)
        except OSError as error:
            raise _Left(f"cannot be looked at: {error.strerror}") from error

    def _find(self, marked: MarkedNow) -> _Found | None:
        parts = marked.real_path.split(SLASH)
        for depth in range(len(parts) - 1, 0, -1):
            root, path = SLASH.join(parts[:depth]), SLASH.join(parts[depth:])
            if branches := self._branches(root or SLASH):
                with places.directory(root) as handle:
                    vault = _Vault(handle, branches)
                    for link in vault.links(ARCHIVE_ACTION, Key(marked.inode, path)):
                        names = vault.names(link, Key(marked.inode, path))
                        return _Found(root or SLASH, names) if names else None
        raise _Left("no vault has it any more")


def _branches(root: bytes) -> tuple[tuple[bytes, str], ...]:
    """The branches of the vault in a directory, if it has one, with what they say is to become."""
    try:
        with places.directory(root + SLASH + VAULT) as handle:
            names = places.names(handle)
    except (FileNotFoundError, NotADirectoryError):
        return ()
    actions = ((name, name.removeprefix(b".").lower().decode("latin-1")) for name in names)
    return tuple(each for each in actions if each[1] in (ARCHIVE_ACTION, KEEP_ACTION))


class _Vault:
    """A vault, by a handle of its root."""

    def __init__(self, handle: int, branches: tuple[tuple[bytes, str], ...]) -> None:
        self._handle = handle
        self._branches = branches

    def links(self, action: str, key: Key) -> Iterator[bytes]:
        """The links by just this key, of the very inode."""
        for branch in self._folders(action):
            link = branch + encode(key)
            found = places.facts(link, self._handle)
            if found and stat.S_ISREG(found.st_mode) and found.st_ino == key.inode:
                yield link

    def names(self, link: bytes, key: Key) -> tuple[bytes, ...] | None:
        """
        All names of the file of a link: where it lies, then its links.

        None where the link is not the first of its links: so a file of several marks is told once.
        Raises _Left, OSError.
        """
        of = places.facts(link, self._handle)
        if of is None:
            raise _Left("its link in the vault has just gone")
        links = list(self._links(ARCHIVE_ACTION, of))
        if link != min(links):
            return None
        there = places.facts(key.path, self._handle)
        if there and not _same(there, of):
            raise _Left("another file is where it was when it was marked")
        lies = sorted({path for each in links if self._is_at(path := self._path(each), of)})
        if any(self._links(KEEP_ACTION, of)):
            raise _Left("is marked to be kept, too")
        if len(lies) + len(links) != of.st_nlink:
            raise _Left(
                f"has {of.st_nlink} names, of which {len(lies) + len(links)} are known: it is "
                "renamed, or has links elsewhere"
            )
        return (*lies, *links)

    def _is_at(self, path: bytes, of: stat_result) -> bool:
        there = places.facts(path, self._handle)
        return there is not None and _same(there, of)

    def _path(self, link: bytes) -> bytes:
        """Where a file was when this link of it was made."""
        try:
            return decode(link.split(SLASH, 2)[2]).path
        except KeyBroken as error:
            raise _Left(f"a link of it in the vault has a broken key: {error}") from error

    def _folders(self, action: str) -> Iterator[bytes]:
        for branch, meaning in self._branches:
            if meaning == action:
                yield VAULT + SLASH + branch + SLASH

    def _links(self, action: str, of: stat_result) -> Iterator[bytes]:
        """The links of a file by whatever key: they lie where its inode says."""
        folder, _, begins = encode(Key(of.st_ino, b"")).rpartition(SLASH)
        for branch in self._folders(action):
            above = (branch + folder).rstrip(SLASH)
            for name in self._list(above):
                if name.startswith(begins):
                    yield from self._below(above + SLASH + name, of)

    def _below(self, path: bytes, of: stat_result) -> Iterator[bytes]:
        """A link, or the links in a folder that a long key was cut into."""
        found = places.facts(path, self._handle)
        if found and stat.S_ISDIR(found.st_mode):
            for name in self._list(path):
                yield from self._below(path + SLASH + name, of)
        elif found and _same(found, of):
            yield path

    def _list(self, path: bytes) -> list[bytes]:
        try:
            with places.directory(path, self._handle) as handle:
                return places.names(handle)
        except (FileNotFoundError, NotADirectoryError):
            return []


def _same(one: stat_result, other: stat_result) -> bool:
    return (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino)
