"""What every tally can do."""

from collections.abc import Iterable, Iterator
from typing import Any, Protocol

from lurge_types.batch import Batch

Piece = tuple[Any, ...]
"""A part of a tally that can be sent: a few megabytes of arrays at most."""


class Tally(Protocol):
    """
    Adds up what a report needs, in any order, in as many parts as there are threads or ranks.

    Merging parts gives what one tally would have had that was shown every batch. All but `pieces`
    raise SumOverflow.
    """

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch, which stays valid only until the next one."""

    def pieces(self) -> Iterator[Piece]:
        """All that was counted, in pieces."""

    def merge(self, pieces: Iterable[Piece]) -> None:
        """Take over what another tally of the same kind has counted."""

    def tell(self, question: Any) -> Any:
        """Answer what the report wants to know; both may have to be sent to another rank."""


class SumOverflow(Exception):
    """Sizes add up to 2^63 bytes or more: the scan holds sizes that cannot be."""

    def __str__(self) -> str:
        return "sizes add up to 2^63 bytes or more: the scan cannot be right"
