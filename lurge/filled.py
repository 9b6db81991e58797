"""Reports whose rows go into the database in chunks: in which order, and what is left to clear."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from db import runs
from db.database import Database, DatabaseFailed
from lurge.onepass.work import Answers
from lurge_types.reports import Made, Run
from utils import tsv
from utils.tsv import Prepared

CHUNK_ROWS = 2000
NOT_SWEPT = "rows that nobody sees any more are left for the next run to delete"

Sweep = Callable[[Database, str, str], None]
"""Deletes what nobody sees any more of a report of a volume; see `db.sweeping`."""


class Filling(Protocol):
    """A run that is being filled."""

    def abandon(self) -> None:
        """Make a left-over of it."""


def put(
    filling: Filling, prepare: Callable[[], Prepared], finish: Callable[[], None], *, replace: bool
) -> Path:
    """
    Prepare the TSV of a run, make the run whole, give the TSV its name; where that is.

    A TSV that is to be replaced is gone before its rows are. What either of the first two raises
    leaves neither; TsvFailed from the last leaves the run, and the next one finds its TSV missing.
    """
    prepared = None
    try:
        prepared = prepare()
        if replace:
            tsv.withdraw(prepared.path)
        finish()
    except BaseException:
        if prepared:
            tsv.discard(prepared)
        filling.abandon()
        raise
    tsv.publish(prepared)
    return prepared.path


def recorded(database: Database, run: Run, path: Path, sweep: Sweep) -> Made:
    """A run that is in the database; what killed runs left there is deleted."""
    remarks = tuple(swept(database, run, sweep))
    rows = database.transaction(
        lambda connection: runs.rows_of(connection, run.report, run.volume, run.record_date)
    )
    return Made(rows, path=path, remarks=remarks)


def swept(database: Database, run: Run, sweep: Sweep) -> Iterator[str]:
    """Delete what nobody sees any more; a remark where that must be left to the next run."""
    try:
        sweep(database, run.report, run.volume)
    except DatabaseFailed as error:
        yield f"{NOT_SWEPT}: {error}"


def chunks(tally: Answers, question: Callable[[int, int], object], rows: int) -> Iterator[Any]:
    """The answers for all rows, some thousand at a time."""
    for first in range(0, rows, CHUNK_ROWS):
        yield tally.tell(question(first, first + CHUNK_ROWS))
