"""The archiver's bins, in which what was removed waits for its end: nothing of it is acted upon."""

from collections.abc import Iterable

from lurge.groups import symlinks
from lurge.inspector.rules import BaseRule, RuleHeads
from lurge_types.archive import BIN_NAME
from lurge_types.config import Config
from utils.path_rules import PathRules, real_paths
from utils.paths import raw

INSIDE = b"/" + BIN_NAME + b"/"


class Bins:
    """
    All folders that are called like a bin, and those that the configuration names.

    folders: real paths; a * stands for anything within a component.

    >>> bins = Bins([b"/m*/gone"])
    >>> [bins.hold(path) for path in (b"/m1/gone", b"/m1/gone/x", b"/a/.lurge-bin/x", b"/m1/going")]
    [True, True, True, False]
    >>> [bins.meet(path) for path in (b"/m1/gone/x", b"/m1", b"/m1/x")]
    [True, True, False]
    """

    def __init__(self, folders: Iterable[bytes] = ()) -> None:
        self.folders = tuple(sorted(folders))
        self._rules = PathRules(self.folders)
        self._heads = RuleHeads(BaseRule(folder, 0) for folder in self.folders)

    def hold(self, path: bytes) -> bool:
        """Whether a path is a bin or lies in one."""
        return INSIDE in path + b"/" or (bool(self.folders) and self._rules.find(path) >= 0)

    def meet(self, path: bytes) -> bool:
        """Whether a path is a bin, lies in one, or has one in it that the configuration names."""
        return self.hold(path) or self._heads.hold(path)


def bins(config: Config) -> Bins:
    """The bins of all volumes."""
    links = symlinks(config)
    return Bins(
        real for folder in config.archive.bin.values() for real in real_paths(raw(folder), links)
    )
