"""A made-up tree of directories, grown at random."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, cycle, islice, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lurge.demo.cold import Cold
from lurge.demo.folders import Folder, in_order
from lurge.demo.people import People
from lurge.demo.vaults import Vaults, is_vault
from lurge.demo.words import (
    KINDS,
    MARKER,
    NOTE,
    NUMBERED,
    ODD_FILES,
    ODD_FOLDER,
    PARTS,
    RECIPES,
    WORDS,
)
from utils.wrstat import quote

DAY = 86_400
YEAR = 365 * DAY
ROOT = 0
"""The uid and gid of the administrators' directories."""

FILES_MEDIAN, FILES_SPREAD, MOST_FILES = 11, 1.3, 50_000
BREADTH = 0.3
"""A directory above many entries has more directories: this power of their number, on average."""

WORTH_ONE = 10
"""How many entries are worth a directory of their own."""

ENTRIES_PER_PART = 50
OTHER_USER = 0.1
OTHER_GROUP = 0.01
MOST_SKIPPED = 12
"""How far apart the numbers of two samples may be."""

DRAWN = 1 << 14


class Wood:
    """
    Grows a volume's directories at random.

    groups: the gids of those who work there. now: when the newest scan is made; nothing is younger.
    vaults: which share of the groups has one. nights: how many scans are made.
    """

    def __init__(
        self,
        people: People,
        groups: Sequence[int],
        mount: bytes,
        now: int,
        dice: np.random.Generator,
        *,
        vaults: float,
        nights: int = 1,
    ) -> None:
        self._people = people
        self._groups = groups
        self._mount = mount
        self._now = now
        self._vaults = Vaults(dice, vaults, nights)
        self._cold: Mapping[int, Sequence[Folder]] = {}
        self._share = _endless(lambda: dice.random(DRAWN))
        self._weight = _endless(lambda: dice.lognormal(0, 1.2, DRAWN))
        self._breadth = _endless(lambda: dice.exponential(1, DRAWN))
        self._files = _endless(
            lambda: dice.lognormal(np.log(FILES_MEDIAN), FILES_SPREAD, DRAWN).astype(int)
        )

    def volume(
        self, entries: int, archived: Iterable[int], users: Iterable[int], cold: Cold | None = None
    ) -> Folder:
        """The root of a volume of so many entries, itself counted; with what is cold on it."""
        marked = [self._marked(gid) for gid in archived]
        working = [self._holder(gid) for gid in self._groups]
        if cold:
            self._cold = cold.folders(working, marked, self._vaults)
            for folder in marked:
                folder.folders = self._cold.get(folder.gid, ())
        private = [self._home(uid) for uid in users]
        odd = self._odd()
        teams = [folder for folder in marked + working if self._is_team(folder.gid)]
        projects = [folder for folder in marked + working if not self._is_team(folder.gid)]
        humgen = [self._top(b"/humgen/projects/", projects), self._top(b"/humgen/teams/", teams)]
        tops = [self._top(b"/humgen/", humgen), self._top(b"/users/", [odd, *private])]
        fixed = 1 + len(humgen) + len(tops) + sum(1 + len(each.names) for each in [odd, *marked])
        unused = sum(map(self._vaults.size, chain.from_iterable(self._cold.values())))
        self._share_out(working + private, entries - fixed - unused)
        return self._top(b"/", tops)

    def _top(self, path: bytes, folders: Sequence[Folder] = ()) -> Folder:
        """A directory of the administrators."""
        made = self._now - 6 * YEAR
        return Folder(self._mount + path, ROOT, ROOT, made, folders=in_order(folders))

    def _is_team(self, gid: int) -> bool:
        return self._people.group_name(gid).startswith("team")

    def _holder(self, gid: int) -> Folder:
        """The directory of a group, which is called like it."""
        is_team = self._is_team(gid)
        name = self._people.group_name(gid).encode("ascii")
        top = b"/humgen/teams/" if is_team else b"/humgen/projects/"
        path = b"%b%b%b/" % (self._mount, top, name)
        return Folder(path, self._people.members(gid)[0], gid, self._long_ago(), self._group)

    def _marked(self, gid: int) -> Folder:
        """The directory of a group whose files were archived."""
        folder = self._holder(gid)
        folder.grow = None
        folder.names, folder.kinds = (MARKER, NOTE), (KINDS[MARKER], KINDS[NOTE])
        return folder

    def _home(self, uid: int) -> Folder:
        """The directory of a user."""
        path = b"%b/users/%b/" % (self._mount, self._people.user_name(uid).encode("ascii"))
        gid = self._groups[uid % len(self._groups)]
        return Folder(path, uid, gid, self._long_ago(), self._plain)

    def _odd(self) -> Folder:
        """A directory of names that programs stumble over."""
        folder = self._top(b"/users/" + quote(ODD_FOLDER))
        folder.names = [quote(name) for name in ODD_FILES]
        folder.kinds = [KINDS[b"." + name.rpartition(b".")[2]] for name in ODD_FILES]
        return folder

    def _long_ago(self) -> int:
        return self._now - 30 * DAY - int(next(self._share) * 5 * YEAR)

    def _group(self, folder: Folder) -> None:
        """What a group works with, often a vault, and what it uses no more."""
        cold = self._cold.get(folder.gid, ())
        has_vault = any(is_vault(each) for each in cold)
        if self._is_team(folder.gid):
            self._in_common(folder)
        else:
            has_vault |= not self._by_purpose(folder)
        if not has_vault:
            self._vaults.add(folder)
        folder.folders = in_order([*folder.folders, *cold])

    def _by_purpose(self, folder: Folder) -> bool:
        """A few directories by purpose, one for the users; False where that would be too much."""
        if folder.below < ENTRIES_PER_PART:
            self._plain(folder)
            return False
        parts = PARTS[-(folder.below // ENTRIES_PER_PART) :]
        purposes = [self._child(folder, name, self._plain) for name in parts]
        users = self._child(folder, b"users/", self._in_common)
        folder.folders = in_order([users, *purposes])
        self._share_out(folder.folders, folder.below)
        return True

    def _in_common(self, folder: Folder) -> None:
        """A directory for each member of the group."""
        members = self._people.members(folder.gid)[: folder.below // WORTH_ONE]
        if not members:
            self._plain(folder)
            return
        for uid in members:
            name = self._people.user_name(uid).encode("ascii") + b"/"
            child = self._child(folder, name, self._plain)
            child.uid = uid
            folder.folders = in_order([*folder.folders, child])
        self._share_out(folder.folders, folder.below)

    def _plain(self, folder: Folder) -> None:
        """Files of one purpose, and directories for what is left."""
        files = min(next(self._files), MOST_FILES, folder.below)
        left = folder.below - files
        if left < WORTH_ONE:
            files, left = folder.below, 0
        folder.names, folder.kinds = self._file_names(files)
        if left:
            breadth = 2 + int(next(self._breadth) * left**BREADTH)
            names = self._folder_names(min(1 + left // WORTH_ONE, breadth))
            folder.folders = [self._child(folder, name, self._plain) for name in names]
            self._share_out(folder.folders, left)

    def _child(self, folder: Folder, name: bytes, grow: Callable[[Folder], None]) -> Folder:
        """A directory made some time after its parent, mostly by the same user."""
        uid, gid = folder.uid, folder.gid
        chance = next(self._share)
        if chance < OTHER_USER:
            members = self._people.members(gid)
            uid = members[int(chance / OTHER_USER * len(members))]
        elif chance > 1 - OTHER_GROUP:
            gid = self._groups[int((1 - chance) / OTHER_GROUP * len(self._groups))]
        born = folder.born + int(next(self._share) ** 4 * (self._now - folder.born))
        return Folder(folder.path + name, uid, gid, born, grow)

    def _share_out(self, folders: Sequence[Folder], entries: int) -> None:
        """Let directories and what is below them be so many entries together."""
        bounds = list(accumulate(islice(self._weight, len(folders)), initial=0.0))
        scale = (entries - len(folders)) / bounds[-1]
        ends = [round(bound * scale) for bound in bounds]
        for folder, (start, end) in zip(folders, pairwise(ends), strict=True):
            folder.below = end - start

    def _file_names(self, count: int) -> tuple[list[bytes], list[int]]:
        """Sorted names and their kinds: one sample after the other, each with all endings."""
        stem, endings, kinds = RECIPES[int(next(self._share) * len(RECIPES))]
        step = 1 + int(next(self._share) * MOST_SKIPPED)
        first = int(next(self._share) * (10**8 - MOST_FILES * MOST_SKIPPED))
        samples = range(first, first + step * -(-count // len(endings)), step)
        names = [b"%b%08d%b" % (stem, number, ending) for number in samples for ending in endings]
        return names[:count], list(islice(cycle(kinds), count))

    def _folder_names(self, count: int) -> Sequence[bytes]:
        """Sorted names: some words, or one word with numbers."""
        chance = next(self._share)
        if count < len(WORDS) // 2 and chance < 0.6:
            start = int(chance / 0.6 * (len(WORDS) - count))
            return WORDS[start :: (len(WORDS) - start) // count][:count]
        word = NUMBERED[int(chance * len(NUMBERED))]
        return [b"%b_%04d/" % (word, number) for number in range(1, count + 1)]


def _endless(draw: Callable[[], NDArray[Any]]) -> Iterator[Any]:
    """Numbers that are drawn by the thousand, one by one."""
    return chain.from_iterable(iter(lambda: draw().tolist(), None))
