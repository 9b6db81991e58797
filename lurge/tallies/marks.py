"""Which groups' directories hold a marker file."""

from collections.abc import Iterable, Iterator, Sequence, Set

from lurge.tallies.tally import Piece
from lurge_types.batch import FILE, Batch
from utils.path_loops import ends_with
from utils.path_rules import PathRules, as_array

MARKER = b"/.imirrored"


class MarkTally:
    """
    The names of directories that lie directly in one of `parents` and hold a marker file.

    parents: directories, in which `*` stands for anything within a component.
    """

    def __init__(self, parents: Sequence[bytes]) -> None:
        self._parents = parents
        self._rules = PathRules(parents)
        self._marker = as_array(MARKER)
        self._marked: set[bytes] = set()

    def add(self, batch: Batch) -> None:
        """Look for markers among the entries of a batch."""
        for entry in ends_with(batch.paths, batch.offsets, self._marker):
            if batch.type[entry] == FILE:
                parent, _, name = batch.path(entry).removesuffix(MARKER).rpartition(b"/")
                rule = self._rules.find(parent)
                if rule >= 0 and self._parents[rule].count(b"/") == parent.count(b"/"):
                    self._marked.add(name)

    def pieces(self) -> Iterator[Piece]:
        """All that was found."""
        yield (self._marked,)

    def merge(self, pieces: Iterable[Piece]) -> None:
        """Take over what another tally has found."""
        for (marked,) in pieces:
            self._marked |= marked

    def tell(self, _: object = None) -> Set[bytes]:
        """The names of the directories."""
        return self._marked
