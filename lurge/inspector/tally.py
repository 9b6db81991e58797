"""What the inspector adds up: files by group and directory, use by group and base directory."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from lurge.inspector import loops
from lurge.inspector.rows import Question, Rows
from lurge.inspector.rules import Rules
from lurge.tallies.owners import counted_gids
from lurge.tallies.table import LinkSet, SumTable, merge_linked, pieces_of
from lurge.tallies.table_loops import find_name
from lurge.tallies.tally import Piece, SumOverflow
from lurge_types.batch import Batch
from utils.path_loops import in_vaults
from utils.path_rules import PathRules, as_array, components, joined
from utils.vaults import KEEP

BASES, DIRECTORIES, VAULTS, KEPT = "bases", "directories", "vaults", "kept"
SEVERAL = 2


class InspectorTally:
    """
    Counts files in directories, and entries of every type in base directories.

    What vaults keep is known in the end only. So the inodes of it are in a set, and the entries
    there are taken for files of several names, however many these have. A file that gets its second
    name by being marked while the scan runs, and was seen before, is known as kept the next time.
    """

    def __init__(self, rules: Rules) -> None:
        self._rules = rules
        self._layout = _layout(rules)
        parts = len(rules.file_types) + 1 + loops.AGE_KINDS
        self._bases = SumTable(loops.BASE_COLUMNS, maxima=loops.BASE_MAXIMA)
        self._directories = SumTable(loops.PARTS + 2 * parts, maxima=loops.MAXIMA)
        self._links = LinkSet(loops.LINK_COLUMNS)
        self._vaults: set[bytes] = set()
        self._keep = as_array(KEEP)
        self._kept = LinkSet(0)
        self._rows: Rows | None = None

    def add(self, batch: Batch) -> None:
        """
        Count the entries of a batch.

        Raises SumOverflow.
        """
        name_bytes = int(batch.offsets[-1])
        self._bases.reserve(len(batch), name_bytes)
        self._directories.reserve(len(batch), name_bytes)
        self._links.reserve(len(batch))
        if loops.inspect(
            batch.paths,
            batch.offsets,
            counted_gids(batch, self._rules.pseudo),
            batch.size,
            batch.atime,
            batch.mtime,
            batch.type,
            batch.inode,
            self._names(batch),
            batch.device,
            self._rules.scan_time,
            len(self._rules.file_types) + 1,
            self._layout,
            self._bases.arrays,
            self._directories.arrays,
            self._links.arrays,
        ):
            raise SumOverflow

    def _names(self, batch: Batch) -> NDArray[np.uint64]:
        """Look into vaults; how many names each entry has, several for what a vault keeps."""
        entries = in_vaults(batch.paths, batch.offsets)
        if not len(entries):
            return batch.links
        kept, vaults = loops.look_into_vaults(
            batch.paths, batch.offsets, batch.type, entries, self._keep
        )
        self._vaults.update(map(batch.path, vaults.tolist()))
        if not len(kept):
            return batch.links
        row, nothing = np.zeros(len(kept), np.uint32), np.empty((len(kept), 0), np.int64)
        self._add_kept((row, batch.inode[kept], batch.device[kept], nothing))
        names = batch.links.copy()
        names[kept] = SEVERAL
        return names

    def _add_kept(self, piece: Piece) -> None:
        self._kept.merge(piece, np.zeros(1, np.int64))

    def pieces(self) -> Iterator[Piece]:
        """All that was counted."""
        for piece in self._bases.pieces():
            yield BASES, piece
        for piece in pieces_of(self._directories, self._links):
            yield DIRECTORIES, piece
        yield VAULTS, self._vaults
        for piece in self._kept.pieces():
            yield KEPT, piece

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another tally has counted.

        Raises SumOverflow.
        """
        for kind, group in groupby(pieces, itemgetter(0)):
            parts = map(itemgetter(1), group)
            if kind == BASES:
                for part in parts:
                    self._bases.merge(part)
            elif kind == DIRECTORIES:
                merge_linked(self._directories, self._links, parts)
            elif kind == KEPT:
                for part in parts:
                    self._add_kept(part)
            else:
                self._vaults.update(*parts)

    def tell(self, question: Question) -> object:
        """
        Answer a question about the rows, for which nothing is counted any more.

        Raises SumOverflow.
        """
        if self._rows is None:
            self._rows = Rows(
                self._rules,
                self._layout,
                self._bases,
                self._directories,
                self._links,
                self._vaults,
                self._kept,
            )
            self._links = LinkSet(loops.LINK_COLUMNS)  # the rows have them, as long as need be
            self._keep = as_array(KEEP)
        self._kept = LinkSet(0)
        return self._rows.tell(question)


def _layout(rules: Rules) -> loops.Layout:
    """The rules as compiled loops have them."""
    known = SumTable(1, maxima=0)
    prefixes = PathRules([rule.prefix for rule in rules.base_rules])
    deeper, deeper_offsets = joined(rules.deeper)
    for path in {base.rstrip(b"/") for base in rules.bases}:
        known.reserve(1, len(path))
        find_name(known.arrays, np.uint64(0), as_array(path))
    endings = sorted(
        (
            (ending, number)
            for number, file_type in enumerate(rules.file_types, 1)
            for ending in file_type.endings
        ),
        key=lambda each: (each[0][-1], -len(each[0])),
    )
    texts, ending_offsets = joined([ending for ending, _ in endings])
    return loops.Layout(
        known=known.arrays,
        patterns=prefixes.patterns,
        offsets=prefixes.offsets,
        depths=np.array([rules.base_rules[rule].depth for rule in prefixes.order], np.int64),
        deepest=max(map(components, _paths(rules)), default=0),
        deeper=deeper,
        deeper_offsets=deeper_offsets,
        endings=texts,
        ending_offsets=ending_offsets,
        types=np.array([number for _, number in endings], np.int64),
        starts=np.searchsorted([ending[-1] for ending, _ in endings], range(257)),
    )


def _paths(rules: Rules) -> Sequence[bytes]:
    return [*rules.bases, *(rule.prefix for rule in rules.base_rules)]
