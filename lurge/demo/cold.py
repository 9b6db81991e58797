"""
Directories of a made-up volume that could be archived, and such as only look so.

They have few files, all large. Beside those that nobody has used for years, or for months, there is
one with a kept file, one in which another group works, and one that counts to an archived group.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from lurge.demo.folders import ALWAYS, Folder
from lurge.demo.vaults import Vaults, Wish
from lurge.demo.words import KINDS, NOTE

DAY = 86_400

ROOM = 150
"""With fewer entries a volume has no cold directories."""

ENTRIES_FOR_ONE = 2500
"""For so many entries of a volume there is a cold directory of each age."""

FEWEST_FILES, ENTRIES_FOR_FILE, MOST_MORE_FILES = 3, 500, 40
TRAP_FILES = 4
"""So few that one of them is far more than the share that may be in use."""

BUSY_DAYS = 60
"""How long a cold directory was in use."""


class Age(NamedTuple):
    """How directories of an age are called, before the year; how long ago the last use may be."""

    stem: bytes
    least_days: int
    most_days: int


YEARS = Age(b"novaseq_runs", 800, 2400)
AGES = (YEARS, Age(b"exome_pilot", 380, 560), Age(b"imputed_freeze", 200, 290))
"""In none of them the use begins in one class of candidates and ends in another."""

KEPT, SHARED, LEFT = b"kept_runs", b"rerun_runs", b"left_behind/"
HANDED_OVER, HANDED_OVER_DAYS = b"handed_over/", 10
"""A directory whose files are marked to be archived, but were in use before all nights."""


class Cold:
    """
    Makes the cold directories of a volume of so many entries.

    now: when the newest scan is made. nights: how many scans are made.
    """

    def __init__(self, entries: int, now: int, nights: int, dice: np.random.Generator) -> None:
        self._entries = entries
        self._now = now
        self._newest = nights - 1
        self._dice = dice

    def folders(
        self, working: Sequence[Folder], archived: Sequence[Folder], vaults: Vaults
    ) -> Mapping[int, Sequence[Folder]]:
        """What to put into the directories of groups, by gid; nothing where there is no room."""
        found: dict[int, list[Folder]] = defaultdict(list)
        if self._entries < ROOM:
            return found
        count = min(max(self._entries // ENTRIES_FOR_ONE, 1), len(working))
        for age in AGES:
            for root in self._some(working, count):
                found[root.gid].append(self._cold(root, age, self._file_count()))
        keeper, owner, guest = self._some(working, 3)
        found[keeper.gid] += self._kept(keeper, vaults)
        found[owner.gid].append(self._shared(owner, guest))
        found[archived[0].gid].append(self._left(archived[0], guest))
        return found

    def _some(self, working: Sequence[Folder], count: int) -> list[Folder]:
        return [working[place] for place in self._dice.permutation(len(working))[:count]]

    def _file_count(self) -> int:
        more = min(self._entries // ENTRIES_FOR_FILE, MOST_MORE_FILES)
        return FEWEST_FILES + int(self._dice.integers(0, more + 1))

    def _cold(self, root: Folder, age: Age, files: int) -> Folder:
        """A directory of this age."""
        until = self._now - int(self._dice.integers(age.least_days, age.most_days) * DAY)
        year = datetime.fromtimestamp(until, UTC).year
        return self._folder(root, b"%b_%d/" % (age.stem, year), until, files)

    def _folder(self, root: Folder, name: bytes, until: int, files: int) -> Folder:
        born = min(until, self._now) - BUSY_DAYS * DAY
        root.born = min(root.born, born)
        folder = Folder(root.path + name, root.uid, root.gid, born, until=until)
        folder.names = [b"run_%05d.tar" % number for number in range(1, files + 1)]
        folder.kinds = [KINDS[b".tar"]] * files
        return folder

    def _kept(self, root: Folder, vaults: Vaults) -> list[Folder]:
        """
        A cold directory with a kept file; files to be archived, and the vault that tells of both.

        Of these files one is marked every night, one only on the newest and one on the oldest.
        """
        cold = self._cold(root, YEARS._replace(stem=KEPT), TRAP_FILES)
        until = self._now - HANDED_OVER_DAYS * DAY
        handed_over = self._folder(root, HANDED_OVER, until, TRAP_FILES)
        wishes = [
            Wish(b"keep/", cold, 0),
            Wish(b"archive/", handed_over, 0),
            Wish(b"archive/", handed_over, 1, first=self._newest),
            Wish(b"archive/", handed_over, 2, last=0),
        ]
        return [cold, handed_over, vaults.of(root, wishes)]

    def _shared(self, root: Folder, guest: Folder) -> Folder:
        """A cold directory with a file that another group has made lately."""
        cold = self._cold(root, YEARS._replace(stem=SHARED), TRAP_FILES)
        redone = self._folder(cold, b"redone/", ALWAYS, 1)
        redone.uid, redone.gid = guest.uid, guest.gid
        cold.folders = [redone]
        return cold

    def _left(self, root: Folder, owner: Folder) -> Folder:
        """A cold directory of another group's files, in which an archived group has a note."""
        until = self._now - YEARS.least_days * DAY
        left = self._folder(root, LEFT, until, 0)
        left.names, left.kinds = [NOTE], [KINDS[NOTE]]
        runs = self._folder(left, b"runs/", until, TRAP_FILES)
        runs.uid, runs.gid = owner.uid, owner.gid
        left.folders = [runs]
        return left
