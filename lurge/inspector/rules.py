"""Where base directories are, which of their directories have rows, and what types files are of."""

from dataclasses import dataclass, field

from lurge.tallies.owners import PseudoGroups


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
