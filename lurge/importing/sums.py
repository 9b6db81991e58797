"""What was taken over of each volume, and whether the sums of both databases are the same."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.table import Table

from db.ancestor import NOTHING, Sum
from utils import show


@dataclass
class Taken:
    """
    What was taken over of a volume.

    there: what the older database has. added_up: rows of one day that became one, or that a later
    row of the same takes the place of; only these take bytes away. own: of days that Lurge has
    counted, or that came from elsewhere. here: what this database has of it now.
    """

    kind: str
    volume: str
    days: int = 0
    there: Sum = NOTHING
    added_up: Sum = NOTHING
    own: Sum = NOTHING
    here: Sum = NOTHING

    @property
    def same(self) -> bool:
        """Whether nothing was lost, and nothing came from nowhere."""
        return self.here + self.added_up + self.own == self.there


def table(taken: Sequence[Taken]) -> Table:
    """The sums of both, for people."""
    figures = ("days", "rows there", "added up", "own", "rows here", "bytes there", "bytes here")
    return show.table(
        "Imported",
        ("volume", "what", *figures, "sums"),
        map(_shown, taken),
        right=figures,
    )


def _shown(of: Taken) -> tuple[str, ...]:
    rows = (of.there.rows, of.added_up.rows, of.own.rows, of.here.rows)
    size_bytes = (of.there.size_bytes, of.here.size_bytes)
    return (
        of.volume,
        of.kind,
        *(f"{number:,}" for number in (of.days, *rows, *size_bytes)),
        _verdict(of),
    )


def _verdict(of: Taken) -> str:
    if not of.same:
        return "DIFFER"
    return "all own" if of.own and not of.here else "the same"
