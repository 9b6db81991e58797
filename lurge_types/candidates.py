"""What could be archived: what directories hold over all groups, and the rows of the report."""

from decimal import Decimal
from typing import NamedTuple

NOW, SOON, WATCH, VAULT = "now", "soon", "watch", "vault"
CLASSES = {NOW: 730, SOON: 365, WATCH: 0}
"""Classes of cold directories: for how many days the cold share must not have been used."""

COLD = "cold"
"""The reason of a directory; that of a file is `VAULT`."""

KINDS = (VAULT, WATCH, SOON, NOW)
"""What may free the bytes of an inode; the last one that does has them."""

ARCHIVE_ACTION, KEEP_ACTION = "archive", "keep"
"""Actions of vaults in lower case: to be archived, and to be left alone."""


class Held(NamedTuple):
    """
    What the files of all groups in a directory below a base directory amount to.

    directory: below the base directory, in text form, as `real_path` is. gids: ascending.
    by_age: bytes of each of `AGE_CLASSES`, then of unknown age.
    kept_files, holds_vault, lies_above: see `DirectoryReport`.
    is_whole: whether all that lies below the directory is counted here.
    """

    directory: str
    real_path: str
    gids: tuple[int, ...]
    files: int
    size_bytes: int
    by_age: tuple[int, ...]
    last_used_days: Decimal | None
    kept_files: int
    holds_vault: bool
    lies_above: bool
    is_whole: bool


class Marked(NamedTuple):
    """A file that somebody has marked to be archived; its real path in text form."""

    real_path: str
    gid: int
    size_bytes: int


class Freed(NamedTuple):
    """
    The bytes that go with each of `KINDS`.

    is_exact: whether an inode counts once; else it may count in each directory that has a name.
    """

    by_kind: dict[str, int]
    is_exact: bool

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.by_kind.values())


class Candidate(NamedTuple):
    """
    A row of the report, and whose it is.

    kind: one of `CLASSES`, None for a file. groups, pi: names as a TSV has them. last_used_days:
    None if unknown. shown: the path as people know it. cost_per_month: None without a price.
    gids: of the groups that have files in it, ascending; a TSV has them not.
    """

    rank: int
    kind: str | None
    reason: str
    groups: str
    pi: str | None
    size_bytes: int
    cold_bytes: int | None
    files: int
    last_used_days: Decimal | None
    shown: str
    real_path: str
    cost_per_month: Decimal | None
    gids: tuple[int, ...]
