"""What a reader of a report should know of its scan, in words."""

from collections.abc import Iterator

from lurge_types.reports import Run
from lurge_types.scans import BadLines

BAD_LINES_TOLD = 3
BELIEVABLE_SHARE = 0.5
"""Of the lines that the last record had; with fewer, a scan may not be whole."""


def bad_lines(bad: BadLines) -> Iterator[str]:
    """What to say of bad lines that failed no volume."""
    if bad.count:
        first = "; ".join(
            f"line {line.number}: {line.reason}" for line in bad.first[:BAD_LINES_TOLD]
        )
        more = "" if bad.count <= BAD_LINES_TOLD else "; ..."
        yield f"{bad.count} bad lines ({first}{more})"


def too_few_lines(run: Run, last: Run | None) -> Iterator[str]:
    """A loud remark where a scan is so much shorter than the last that part may be missing."""
    if last and run.lines < last.lines * BELIEVABLE_SHARE:
        yield (
            f"ONLY {run.lines} LINES, BUT {last.lines} ON {last.record_date}: "
            "see whether the whole volume was scanned"
        )
