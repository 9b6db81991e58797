"""Where the directories and marked files of a volume are known from: tallies, or stored rows."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np

from db import candidate_sources, pages
from db.candidate_sources import MarkedFiles
from db.database import Database
from db.pages import Stored
from lurge.candidates.judge import Judged
from lurge.inspector.rows import Freed as AskFreed
from lurge.inspector.rows import Holdings, Large
from lurge.onepass.work import Answers
from lurge.puppeteer.rows import Find, FoundFiles
from lurge.puppeteer.rows import Found as FoundInVaults
from lurge.tallies.order import Order
from lurge_types.candidates import ARCHIVE_ACTION, KEEP_ACTION, KINDS, VAULT, Freed, Held, Marked

CHUNK_ROWS = 2000


class Source(Protocol):
    """
    Tells of one volume; its methods raise TallyFailed and DatabaseFailed.

    files: that are marked to be archived. gids: of them, ascending. left_out: how many are not
    among them because they are kept too.
    """

    files: int
    gids: tuple[int, ...]
    left_out: int

    def directories(self, least: int) -> Iterator[Held]:
        """The directories that hold so many bytes."""

    def freed(self, candidates: Sequence[Judged]) -> Freed:
        """What goes with those of the directories, and with the marked files."""

    def marked(self, first: int, last: int) -> Sequence[Marked]:
        """Some of the marked files, the largest first; those as large by their real paths."""

    def check(self) -> None:
        """See that what was told still holds."""


class Tallies:
    """The tallies of an inspector, which must not have told of anything else yet."""

    def __init__(self, inspector: Answers, puppeteer: Answers) -> None:
        self._inspector = inspector
        self._puppeteer = puppeteer
        self._found: FoundInVaults = puppeteer.tell(Find(ARCHIVE_ACTION, KEEP_ACTION))
        self.files = len(self._found.sizes)
        self.gids = self._found.gids
        self.left_out = self._found.left_out

    def directories(self, least: int) -> Iterator[Held]:
        """The directories that hold so many bytes."""
        count = self._inspector.tell(Large(least))
        for first in range(0, count, CHUNK_ROWS):
            yield from self._inspector.tell(Holdings(first, first + CHUNK_ROWS))

    def freed(self, candidates: Sequence[Judged]) -> Freed:
        """What goes, each inode once."""
        question = AskFreed(
            np.array([each.place for each in candidates], np.int64),
            np.array([KINDS.index(each.kind) for each in candidates], np.int64),
            self._found.inodes,
            self._found.devices,
            self._found.sizes,
        )
        by_kind = self._inspector.tell(question)
        return Freed(dict(zip(KINDS, by_kind, strict=True)), is_exact=True)

    def marked(self, first: int, last: int) -> Sequence[Marked]:
        """Some of the marked files."""
        told: Sequence[Marked] = self._puppeteer.tell(FoundFiles(first, last))
        return told

    def check(self) -> None:
        """Tallies do not change."""


class StoredRows:
    """The rows of one scan in the database."""

    def __init__(self, database: Database, inspected: Stored, kept: Stored) -> None:
        self._database = database
        self._runs = (inspected, kept)
        volume = inspected.run.volume
        self._files = MarkedFiles(database, volume, ARCHIVE_ACTION, KEEP_ACTION)
        self.files = len(self._files.ids)
        self.gids = self._files.gids
        self.left_out = self._files.left_out
        ranks = np.unique(-self._files.sizes, return_inverse=True)[1]
        self._order = Order(ranks, self._files.keys)

    def directories(self, least: int) -> Iterator[Held]:
        """The directories that hold so many bytes."""
        for some in candidate_sources.large(self._database, self._runs[0], least):
            yield from some

    def freed(self, candidates: Sequence[Judged]) -> Freed:
        """What goes; what has names in several places is in there several times."""
        by_kind = dict.fromkeys(KINDS, 0)
        by_kind[VAULT] = int(self._files.sizes.sum())
        for each in candidates:
            by_kind[each.kind] += each.held.size_bytes
        return Freed(by_kind, is_exact=False)

    def marked(self, first: int, last: int) -> Sequence[Marked]:
        """Some of the marked files."""
        return self._files.at(list(self._order.rows(first, last)))

    def check(self) -> None:
        """See that the rows are still those that readers see."""
        pages.check(self._database, self._runs)
