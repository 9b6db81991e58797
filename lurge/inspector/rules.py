"""Where base directories are, which of their directories have rows, and what types files are of."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from lurge.tallies.owners import PseudoGroups
from utils.path_rules import PathRules, components


@dataclass(frozen=True, slots=True)
class BaseRule:
    """Entries under `prefix` have the base directory at `depth` components of their path."""

    prefix: bytes
    depth: int


@dataclass(frozen=True, slots=True)
class FileType:
    """A name for files whose names end in one of `endings`, in lower case."""

    name: str
    endings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """
    What decides in which row a file counts.

    bases: paths of base directories, which go before `base_rules`. deeper: names of directories
    directly in a base directory, of which each directory has a row of its own. rows_per_base: how
    many rows a group has at most in a base directory; the smallest are folded into one. symlinks:
    pattern of the real path → the path that people use.
    """

    scan_time: int
    bases: tuple[bytes, ...] = ()
    base_rules: tuple[BaseRule, ...] = ()
    deeper: tuple[bytes, ...] = ()
    file_types: tuple[FileType, ...] = ()
    rows_per_base: int | None = None
    symlinks: dict[bytes, bytes] = field(default_factory=dict)
    pseudo: PseudoGroups | None = None


class RuleHeads:
    """
    The directories above the prefixes of rules.

    What lies below one of them counts there or elsewhere, as the rules say: even to no base
    directory, where the prefix is there but not the depth.

    >>> heads = RuleHeads([BaseRule(b"/a", 2), BaseRule(b"/a/*/c", 4)])
    >>> [heads.hold(path) for path in (b"/a", b"/a/b", b"/a/b/c", b"/b")]
    [True, True, False, False]
    """

    def __init__(self, rules: Iterable[BaseRule]) -> None:
        heads: dict[int, list[bytes]] = {}
        for rule in rules:
            parts = rule.prefix.rstrip(b"/").split(b"/")
            for depth in range(1, len(parts) - 1):
                heads.setdefault(depth, []).append(b"/".join(parts[: depth + 1]))
        self._heads = {depth: PathRules(paths) for depth, paths in heads.items()}

    def hold(self, path: bytes) -> bool:
        """Whether a directory is one of them."""
        rules = self._heads.get(components(path))
        return rules is not None and rules.find(path) >= 0
