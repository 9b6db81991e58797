"""What every tally can do."""

from typing import Protocol, Self

from lurge_types.batch import Batch


class Tally(Protocol):
    """
    Adds up what a report needs, in any order, in as many parts as there are threads or ranks.

    Merging parts gives what one tally would have had that was shown every batch.
    """

    def add(self, batch: Batch) -> None:
        """Count the entries of a batch, which stays valid only until the next one."""

    def merge(self, other: Self) -> None:
        """Take over what another tally of the same kind has counted."""


class SumOverflow(Exception):
    """Sizes add up to 2^63 bytes or more: the scan holds sizes that cannot be."""
