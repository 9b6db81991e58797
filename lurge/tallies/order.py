"""Rows put in an order that is worked out only as far as it is asked for."""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray


class Order:
    """
    Rows in the order of their ranks, those of one rank in the order of their keys.

    Those of a rank are put in order when the first of them is asked for: so no more than their keys
    are there at a time.
    """

    def __init__(
        self, ranks: NDArray[np.int64], keys: Callable[[list[int]], Iterable[bytes]]
    ) -> None:
        self._keys = keys
        self._rows = np.argsort(ranks, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(ranks))])
        self._sorted: set[int] = set()

    def rows(self, first: int, last: int) -> Iterator[int]:
        """The rows in the places from `first` to below `last`."""
        rank = int(np.searchsorted(self._starts, first, side="right")) - 1
        last = min(last, len(self._rows))
        while first < last:
            start, stop = self._starts[rank : rank + 2].tolist()
            if rank not in self._sorted:
                rows = self._rows[start:stop].tolist()
                in_order = sorted(zip(self._keys(rows), rows, strict=True))
                self._rows[start:stop] = [row for _, row in in_order]
                self._sorted.add(rank)
            yield from self._rows[first : min(stop, last)].tolist()
            first = stop
            rank += 1
