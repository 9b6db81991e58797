"""What a reader of a report should know of its scan, in words."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from lurge_types.reports import GroupReport, Run
from lurge_types.scans import BadLines
from utils import show

BAD_LINES_TOLD = 3
BELIEVABLE_SHARE = 0.5
"""Of the lines that the last record had; with fewer, a scan may not be whole."""

BELIEVABLE_GAP = 0.1
"""Of the larger of a scan's and a server's figure; with a wider gap, a scan may not be whole."""

LEAST_GAP_BYTES, LEAST_GAP_INODES = 1 << 30, 1000
"""What may differ anyhow: servers count blocks where scans have sizes, and files come and go."""

GAPS_TOLD = 3


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


class _Gap(NamedTuple):
    """What is between a server's and a scan's figures of a group; 0 where that is believable."""

    row: GroupReport
    size_bytes: int
    inodes: int


def gaps(rows: Sequence[GroupReport], pseudo: Collection[int]) -> Iterator[str]:
    """
    What to say of groups whose use is not what their quota's server states.

    pseudo: the gids of pseudo groups. What they have is taken from other groups in the scan, and
    any of it may be a group's by the server's count: a lack of less than that says nothing.
    """
    taken = [row for row in rows if row.group.gid in pseudo]
    taken_bytes, taken_inodes = (sum(row.used_bytes for row in taken), sum(r.inodes for r in taken))
    found = [
        _Gap(
            row,
            _gap(row.quota_used_bytes, row.used_bytes, taken_bytes, LEAST_GAP_BYTES),
            _gap(row.quota_used_inodes, row.inodes, taken_inodes, LEAST_GAP_INODES),
        )
        for row in rows
    ]
    wide = sorted((gap for gap in found if gap.size_bytes or gap.inodes), key=_widest_first)
    if wide:
        first = "; ".join(map(_gap_in_words, wide[:GAPS_TOLD]))
        more = "" if len(wide) <= GAPS_TOLD else "; ..."
        yield (
            f"the quota's server and the scan differ by more than {BELIEVABLE_GAP:.0%} for "
            f"{len(wide)} of {len(rows)} groups: {first}{more}; "
            "where the scan has less, part of the tree may not have been readable"
        )


def _gap(stated: int | None, scanned: int, taken: int, least: int) -> int:
    """How far apart two figures are, 0 if that is believable; `taken` may be missing in a scan."""
    if stated is None:
        return 0
    gap = scanned - stated if scanned > stated else max(0, stated - scanned - taken)
    wide = gap > least and gap > max(stated, scanned) * BELIEVABLE_GAP
    return gap if wide else 0


def _widest_first(gap: _Gap) -> tuple[int, int, int]:
    return -gap.size_bytes, -gap.inodes, gap.row.group.gid


def _gap_in_words(gap: _Gap) -> str:
    """Both figures of a group: of bytes, inodes or both."""
    row, figures = gap.row, []
    if gap.size_bytes and row.quota_used_bytes is not None:
        stated, scanned = show.size(row.quota_used_bytes), show.size(row.used_bytes)
        figures.append(f"{stated} stated, {scanned} scanned")
    if gap.inodes and row.quota_used_inodes is not None:
        figures.append(f"{row.quota_used_inodes:,} inodes stated, {row.inodes:,} scanned")
    return f"{row.group.name} ({', '.join(figures)})"
