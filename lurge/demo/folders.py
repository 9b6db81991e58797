"""
Made-up directories, walked in the order of the bytes of their written paths.

Each directory knows how many entries are still to come below it; what they are is made up when the
walk gets there. So their number is exact, and nothing is kept but what lies along the way down.
"""

from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from lurge.demo.words import DIRECTORY_KIND

ALWAYS = 1 << 62
"""Until when a directory is used that is in use, in seconds; and the night that has it last."""


class Marked(NamedTuple):
    """
    A file that somebody marked in a vault, whichever of its names one looks at.

    links: 2, or 1 where the vault has its only name. born: when its directory was made, and used
    until. first, last: the nights on which it is marked.
    """

    inode: int
    links: int
    uid: int
    gid: int
    born: int
    until: int
    first: int = 0
    last: int = ALWAYS


class Run(NamedTuple):
    """
    Consecutive entries of one directory, with one owner.

    names: as they stand between the quotes of a Go literal; the directory's own is ``b""``.
    kinds: of each entry, as in `KINDS`. born: when the directory was made; entries came later.
    until: when any of them was used last.
    marked: those of the directory's files that are in a vault, by name.
    """

    folder: bytes
    names: Sequence[bytes]
    kinds: Sequence[int]
    uid: int
    gid: int
    born: int
    until: int
    marked: Mapping[bytes, Marked] | None


@dataclass(slots=True)
class Folder:
    """
    A directory to be walked.

    path: quoted, with a trailing slash. below: how many entries `grow` has to make up below it,
    which sets `names`, `kinds` and `folders`, all sorted by name. marked, until: as in a run.
    """

    path: bytes
    uid: int
    gid: int
    born: int
    grow: Callable[["Folder"], None] | None = None
    below: int = 0
    names: Sequence[bytes] = ()
    kinds: Sequence[int] = ()
    folders: Sequence["Folder"] = ()
    marked: dict[bytes, Marked] | None = None
    until: int = ALWAYS

    def items(self) -> Iterator["Run | Folder"]:
        """The directory's own entry, its files and directories, in the order of their names."""
        names = [b"", *self.names]
        kinds = [DIRECTORY_KIND, *self.kinds]
        start = 0
        for folder in self.folders:
            end = bisect(names, folder.path[len(self.path) :])
            if start < end:
                yield self._run(names[start:end], kinds[start:end])
            yield folder
            start = end
        if start < len(names):
            yield self._run(names[start:], kinds[start:])

    def _run(self, names: Sequence[bytes], kinds: Sequence[int]) -> Run:
        owned = self.uid, self.gid, self.born, self.until
        return Run(self.path, names, kinds, *owned, self.marked)


def walk(root: Folder) -> Iterator[Run]:
    """All entries of a tree, in the order of their written paths."""
    waiting: list[Run | Folder] = [root]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Run):
            yield item
            continue
        if item.grow:
            item.grow(item)
        waiting.extend(reversed(list(item.items())))
        item.names, item.kinds, item.folders, item.marked = (
            (),
            (),
            (),
            None,
        )  # its parent may be kept


def in_order(folders: Iterable[Folder]) -> list[Folder]:
    """Sorted by name, as a directory has them."""
    return sorted(folders, key=lambda folder: folder.path)
