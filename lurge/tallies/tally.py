"""What every tally can do."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Protocol, runtime_checkable

from lurge_types.batch import Batch

Piece = tuple[Any, ...]
"""A part of a tally that can be sent: a few megabytes of arrays at most."""


class Tally(Protocol):
    """
    Adds up what a report needs, in any order, in as many parts as there are threads or ranks.

    Merging parts gives what one tally would have had that was shown every batch. All but `pieces`
    raise SumOverflow, `tell` any TallyFailed.
    """

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch, which stays valid only until the next one."""

    def pieces(self) -> Iterator[Piece]:
        """All that was counted, in pieces."""

    def merge(self, pieces: Iterable[Piece]) -> None:
        """Take over what another tally of the same kind has counted."""

    def tell(self, question: Any) -> Any:
        """Answer what the report wants to know; both may have to be sent to another rank."""


Maker = Callable[[], Tally]
"""Makes an empty tally; it can be sent to other ranks, as a `functools.partial` of plain values."""


@runtime_checkable
class Holds(Protocol):
    """A tally that holds on to much while it counts, and lets go of it when that is over."""

    def end(self) -> None:
        """Nothing is added any more, but others may still be merged."""


class TallyFailed(Exception):
    """A tally cannot tell what it is asked."""


class SumOverflow(TallyFailed):
    """Sizes add up to 2^63 bytes or more: the scan holds sizes that cannot be."""

    def __str__(self) -> str:
        return "sizes add up to 2^63 bytes or more: the scan cannot be right"
