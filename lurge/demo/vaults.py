"""
Vaults on a made-up site, in which some files of a group have a second name.

A vault is written before the files that are marked in it. So the first directories of the group are
made up at once, and some of their files are given inodes of their own.
"""

from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from lurge.demo.folders import ALWAYS, Folder, Marked, in_order
from lurge.demo.words import DIRECTORY_KIND, KINDS, NOTE
from utils.vaults import VAULT, Key, encode

MARKED, FEWEST_MARKED, MOST_MARKED = 0.015, 3, 500
"""How many files are marked: the share of a group's entries, and the bounds of their number."""

LOOKED_AT = 4
"""How many files are made up for one that is marked, where there are as many."""

BRANCHES = {b"keep/": 0.6, b"archive/": 0.3, b".staged/": 0.05, b".limbo/": 0.05}
"""Which share of the files is in each."""

AUDIT = b".audit"
BROKEN = b"keep/README"
"""What somebody put into a vault by hand."""

ONLY_THERE = 0.05
NEWLY_MARKED = 0.1
UNMARKED = 0.1
LONG = 0.3
LONG_ENDING = b".before_" + b"_and_".join([b"recalibration_of_base_qualities"] * 5)
"""What makes a path too long for one name of its key."""

FIRST_INODE = 0x240000401 << 24
INODE_STEP = 40


class Mark(NamedTuple):
    """A file that is in a vault, with the directory and the name that it had when it was marked."""

    folder: Folder
    name: bytes
    kind: int
    file: Marked


class Wish(NamedTuple):
    """A file that shall be marked, by its directory and its place there; the nights it shall be."""

    branch: bytes
    folder: Folder
    place: int
    first: int = 0
    last: int = ALWAYS


class Vaults:
    """
    Makes the vaults of a volume. The first of them has a broken key, and a copy of a file.

    share: of the groups that have one, of those with enough for it. nights: how many are made.
    """

    def __init__(self, dice: np.random.Generator, share: float, nights: int) -> None:
        self._dice = dice
        self._share = share
        self._newest = nights - 1
        self._inode = FIRST_INODE
        self._is_first = True

    def add(self, root: Folder) -> None:
        """
        Give a directory a vault, if there is enough in it.

        The vault's entries are taken from what the largest directory below still has to make up.
        """
        wanted = min(int(root.below * MARKED), MOST_MARKED)
        if wanted < FEWEST_MARKED or self._dice.random() >= self._share:
            return
        files, waiting = _first_files(root, wanted * LOOKED_AT)
        if files and self._dice.random() < LONG:
            _lengthen(files[0][0])
        marks = [self._mark(*file) for file in files[:: max(len(files) // wanted, 1)][:wanted]]
        branches = self._dice.choice(list(BRANCHES), len(marks), p=list(BRANCHES.values()))
        vault = self._vault(root, marks, branches.tolist())
        largest = max(waiting, key=lambda folder: folder.below, default=None)
        if largest is None or largest.below <= len(vault.names):
            return
        largest.below -= self.size(vault)
        root.folders = in_order([vault, *root.folders])
        _tell(marks)
        self._is_first = False

    def of(self, root: Folder, wishes: Sequence[Wish]) -> Folder:
        """A vault of a directory in which just these files are marked."""
        marks = [self._wished(wish) for wish in wishes]
        vault = self._vault(root, marks, [wish.branch for wish in wishes])
        _tell(marks)
        self._is_first = False
        return vault

    def _wished(self, wish: Wish) -> Mark:
        folder, place = wish.folder, wish.place
        file = self._file(folder, 2)._replace(first=wish.first, last=wish.last)
        return Mark(folder, folder.names[place], folder.kinds[place], file)

    def size(self, folder: Folder) -> int:
        """How many entries a directory that is made up already has on the newest night."""
        marked = (folder.marked or {}).values() if is_vault(folder) else ()
        gone = sum(file.last < self._newest for file in marked)
        return 1 + len(folder.names) - gone + sum(map(self.size, folder.folders))

    def _mark(self, folder: Folder, place: int) -> Mark:
        """Mark a file, or one that is not there any more."""
        only_there = self._dice.random() < ONLY_THERE
        name = b"old_" + folder.names[place] if only_there else folder.names[place]
        file = self._file(folder, 1) if only_there else self._changing(self._file(folder, 2))
        return Mark(folder, name, folder.kinds[place], file)

    def _file(self, folder: Folder, links: int) -> Marked:
        self._inode += int(self._dice.integers(2, INODE_STEP))
        return Marked(self._inode, links, folder.uid, folder.gid, folder.born, folder.until)

    def _changing(self, file: Marked) -> Marked:
        """Some files are marked only on the newest night, some only on the oldest one."""
        if not self._newest:
            return file
        chance = self._dice.random()
        if chance < NEWLY_MARKED:
            return file._replace(first=self._newest)
        return file._replace(last=0) if chance > 1 - UNMARKED else file

    def _vault(self, root: Folder, marks: Sequence[Mark], branches: Sequence[bytes]) -> Folder:
        """A vault of a directory, in which these files are marked."""
        marked = {}
        kinds = {AUDIT: KINDS[NOTE]}
        for branch, mark in zip(branches, marks, strict=True):
            key = branch + encode(Key(mark.file.inode, _below(root, mark)))
            kinds[key], marked[key] = mark.kind, mark.file
        if self._is_first:
            copied = self._file(root, 1)
            key = b"keep/" + encode(Key(copied.inode - 1, _below(root, marks[0])))
            kinds[key], marked[key] = marks[0].kind, copied
            kinds[BROKEN] = KINDS[NOTE]
        kinds |= dict.fromkeys(_folders(kinds), DIRECTORY_KIND)
        vault = Folder(root.path + VAULT + b"/", root.uid, root.gid, root.born)
        vault.names = sorted(kinds)
        vault.kinds = [kinds[name] for name in vault.names]
        vault.marked = marked
        return vault


def is_vault(folder: Folder) -> bool:
    """Whether a directory is a vault."""
    return folder.path.endswith(b"/" + VAULT + b"/")


def _first_files(root: Folder, enough: int) -> tuple[list[tuple[Folder, int]], Sequence[Folder]]:
    """
    Files of the first levels below a directory until there are enough, each by its directory and
    its place there, the last place first; and the directories of the next level, not made up yet.
    """
    files: list[tuple[Folder, int]] = []
    level = root.folders
    while level and len(files) < enough:
        for folder in level:
            if folder.grow:
                folder.grow(folder)
                folder.grow = None
            files += [(folder, place) for place in reversed(range(len(folder.names)))]
        level = [below for folder in level for below in folder.folders]
    return files, level


def _tell(marks: Iterable[Mark]) -> None:
    """Let the directories know which of their files are marked."""
    for mark in marks:
        if mark.file.links > 1:
            mark.folder.marked = mark.folder.marked or {}
            mark.folder.marked[mark.name] = mark.file


def _lengthen(folder: Folder) -> None:
    """Give a directory's last file a long name, with which it is still the last."""
    *names, last = folder.names
    folder.names = [*names, last + LONG_ENDING]


def _below(root: Folder, mark: Mark) -> bytes:
    """The path of a file from a vault's root on; it needs no quotes."""
    return (mark.folder.path + mark.name).removeprefix(root.path)


def _folders(names: Iterable[bytes]) -> set[bytes]:
    """
    All folders on the way to what has these names.

    >>> sorted(_folders([b"keep/1f/03-eA==", b"keep/1f/04-eA==", b".audit"]))
    [b'keep/', b'keep/1f/']
    """
    last = {name.rpartition(b"/")[0] for name in names} - {b""}
    on_the_way = (accumulate(part + b"/" for part in folder.split(b"/")) for folder in last)
    return {folder for folders in on_the_way for folder in folders}
