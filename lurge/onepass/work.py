"""What a pass is given and gives, and what its threads or ranks count: their shares."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from operator import itemgetter
from typing import Any, Protocol

from lurge.tallies.tally import Holds, Maker, Piece, SumOverflow, Tally
from lurge_types.batch import Block
from lurge_types.config import Config
from lurge_types.scans import BadLines, Scan
from utils.scanfile import ScanChanged, ScanUnreadable
from utils.wrstat import Parser

BAD_LINES_BORNE = 10
"""Bad lines that never fail a volume, whatever their share."""


class ScanEmpty(Exception):
    """A scan without an entry: its scanner crashed."""


class TooManyBadLines(Exception):
    """More lines are bad than the configuration allows."""


VolumeError = ScanUnreadable | ScanChanged | ScanEmpty | TooManyBadLines | SumOverflow


@dataclass(frozen=True, slots=True)
class Reading:
    """
    How scans are read.

    block_lines: of each block but the last. blocks_per_message: that a worker is sent at a time.
    bad_lines_allowed: the share of bad lines that fails no volume.
    """

    block_lines: int
    blocks_per_message: int
    bad_lines_allowed: float

    @classmethod
    def of(cls, config: Config) -> "Reading":
        """As it is configured."""
        reading = config.pass_
        return cls(reading.block_lines, reading.blocks_per_message, config.bad_lines_allowed)


@dataclass(frozen=True, slots=True)
class Work:
    """
    A scan that is to be read, and what makes the tallies of it.

    Both can be sent to other ranks.
    """

    scan: Scan
    tallies: tuple[Maker, ...]


class Answers(Protocol):
    """A tally that can be asked, wherever it is."""

    def tell(self, question: Any) -> Any:
        """What the tally says. Raises TallyFailed."""


Told = Mapping[str, Answers]
"""Tallies by the names that reports have for them."""


@dataclass(frozen=True, slots=True)
class Read:
    """
    A scan that was read: how many lines, which were bad, and the tallies in the order of the work.

    error: why the volume failed, if it did; then there are no tallies.
    """

    scan: Scan
    lines: int
    bad: BadLines
    tallies: Sequence[Answers]
    error: VolumeError | None = None


@dataclass(slots=True)
class Share:
    """What one thread or rank, or all of them together, counted of a volume."""

    tallies: Sequence[Tally]
    entries: int = 0
    bad: BadLines = field(default_factory=BadLines)

    @classmethod
    def of(cls, work: Work) -> "Share":
        """An empty share."""
        return cls([make() for make in work.tallies])

    def count(self, parser: Parser, block: Block) -> None:
        """
        Show a block to all tallies.

        Raises SumOverflow.
        """
        batch, bad = parser.parse(block)
        self.entries += len(batch)
        self.bad = self.bad.merge(bad)
        for tally in self.tallies:
            tally.add(batch)

    def end(self) -> None:
        """Let the tallies go of what they hold only while they count."""
        for tally in self.tallies:
            if isinstance(tally, Holds):
                tally.end()

    def pieces(self) -> Iterator[Piece]:
        """All that was counted: first the entries and bad lines, then the tallies in order."""
        yield self.entries, self.bad
        for number, tally in enumerate(self.tallies):
            for piece in tally.pieces():
                yield number, piece

    def merge(self, pieces: Iterable[Piece]) -> None:
        """
        Take over what another share has counted.

        Raises SumOverflow.
        """
        pieces = iter(pieces)
        entries, bad = next(pieces)
        self.entries += entries
        self.bad = self.bad.merge(bad)
        for number, of_tally in groupby(pieces, itemgetter(0)):
            self.tallies[number].merge(piece for _, piece in of_tally)


def judge(
    scan: Scan, lines: int, share: Share, bad_lines_allowed: float
) -> TooManyBadLines | ScanEmpty | None:
    """What is wrong with a scan that could be read to its end."""
    bad = share.bad
    if bad.count > max(BAD_LINES_BORNE, lines * bad_lines_allowed):
        first = bad.first[0]
        return TooManyBadLines(
            f"{scan.path}: {bad.count} of {lines} lines are bad, the first is line "
            f"{first.number} ({first.reason}): make the scan again, or raise bad_lines_allowed"
        )
    if not share.entries:
        return ScanEmpty(f"{scan.path} has no entry: its scanner failed, run it again")
    return None
