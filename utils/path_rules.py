"""
Rules on paths: which of some directories an entry is, or lies below.

A rule is a path whose components are compared whole (`/a/b` says nothing of `/a/bc`); a `*` stands
for any bytes within one component. Of several rules the longest wins, that is the one with most
components; then one with a literal component where the other has a `*`; then the earlier one.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lurge_types.batch import Batch
from utils import path_loops as loops


class PathRules:
    """
    Paths to be matched.

    order: the numbers of the rules, in the order in which they are tried; the first that matches
        wins. Its place in the order is its place among `patterns`, for compiled loops, which lie
        one behind the other: number `i` is `patterns[offsets[i] : offsets[i + 1]]`.

    >>> rules = PathRules([b"/a", b"/a/b*/c", b"/a/bb/c"])
    >>> [rules.find(path) for path in (b"/a/x", b"/ab", b"/a/bx/c", b"/a/bb/c/d")]
    [0, -1, 1, 2]
    """

    def __init__(self, paths: Sequence[bytes]) -> None:
        self.order = sorted(range(len(paths)), key=lambda rule: _rank(paths[rule]))
        self._numbers = np.array([*self.order, loops.NO_RULE], np.int64)
        self.patterns, self.offsets = joined([paths[rule].rstrip(b"/") for rule in self.order])

    def match(self, batch: Batch) -> NDArray[np.int64]:
        """The number of the rule that holds for each entry, or -1; shape (entries,)."""
        return self._match(batch.paths, batch.offsets)

    def find(self, path: bytes) -> int:
        """The number of the rule that holds for a path, or -1."""
        return int(self.find_all([path])[0])

    def find_all(self, paths: Sequence[bytes]) -> NDArray[np.int64]:
        """The number of the rule that holds for each path, or -1."""
        return self._match(*joined(paths))

    def _match(self, paths: NDArray[np.uint8], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        rules = np.empty(len(offsets) - 1, np.int64)
        loops.match_rules(paths, offsets, self.patterns, self.offsets, rules)
        return self._numbers[rules]


def as_array(path: bytes) -> NDArray[np.uint8]:
    """The bytes of a path, in an array of the type that compiled loops know."""
    return np.frombuffer(bytearray(path), np.uint8)


def joined(texts: Sequence[bytes]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Texts one behind the other, for compiled loops, and where each begins and the last ends."""
    return as_array(b"".join(texts)), np.cumsum([0, *map(len, texts)])


def _rank(path: bytes) -> tuple[int, list[bool]]:
    """What decides between rules; the least wins, in a stable sort."""
    components = path.rstrip(b"/").split(b"/")
    return -len(components), [b"*" in component for component in components]


def components(path: bytes) -> int:
    """
    How many components a path has.

    >>> [components(path) for path in (b"/", b"/a", b"/a/b/")]
    [0, 1, 2]
    """
    return path.rstrip(b"/").count(b"/")


def real_paths(path: bytes, symlinks: Mapping[bytes, bytes]) -> Iterable[bytes]:
    """
    A path as it was written, and each real path that it may stand for.

    symlinks: pattern of the real path → the path that people use.

    >>> list(real_paths(b"/s/projects/x", {b"/s/mdt*/projects": b"/s/projects"}))
    [b'/s/projects/x', b'/s/mdt*/projects/x']
    """
    yield path
    for real, shown in symlinks.items():
        if path == shown or path.startswith(shown + b"/"):
            yield real + path[len(shown) :]


class ShownPaths:
    """
    What people call real paths; the longest pattern wins, and what none matches is as it is.

    symlinks: pattern of the real path → the path that people use.

    >>> shown = ShownPaths({b"/s/mdt*/projects": b"/s/projects"})
    >>> shown.of(b"/s/mdt7/projects/x"), shown.of(b"/s/mdt7/other")
    (b'/s/projects/x', b'/s/mdt7/other')
    """

    def __init__(self, symlinks: Mapping[bytes, bytes]) -> None:
        self._shown = list(symlinks.values())
        self._depths = list(map(components, symlinks))
        self._rules = PathRules(list(symlinks))

    def of(self, path: bytes) -> bytes:
        """The path that people use."""
        return self.of_all([path])[0]

    def of_all(self, paths: Sequence[bytes]) -> list[bytes]:
        """The paths that people use, of many in half the time."""
        rules = self._rules.find_all(paths).tolist()
        return list(map(self._by_rule, paths, rules))

    def _by_rule(self, path: bytes, rule: int) -> bytes:
        if rule < 0:
            return path
        below = path.split(b"/")[1 + self._depths[rule] :]
        return b"/".join([self._shown[rule].rstrip(b"/"), *below]) or b"/"
