"""What of something restored is not as it was: all goes to the log, the first remarks are kept."""

from lurge.archiver.works import Watch
from lurge_types.archive import UnitNow

KEPT = 1000
SHOWN = 3


class Remarks:
    """
    Remarks about a unit.

    kept: the first ones. count: of all.
    """

    def __init__(self, watch: Watch, unit: UnitNow) -> None:
        self.kept: list[str] = []
        self.count = 0
        self._watch = watch
        self._unit = unit

    def add(self, words: str) -> None:
        """Make one."""
        self.count += 1
        if len(self.kept) < KEPT:
            self.kept.append(words)
        self._watch.event("remark", of=self._unit.name, what=words)


def shown(kept: tuple[str, ...], count: int) -> str:
    """
    Remarks in a table, where there is room for some.

    >>> shown(("a", "b"), 2), shown(("a", "b", "c", "d"), 1200)
    ('a; b', '1,200 remarks, all in the log, such as a; b; c')
    """
    first = "; ".join(kept[:SHOWN])
    return first if count <= SHOWN else f"{count:,} remarks, all in the log, such as {first}"
