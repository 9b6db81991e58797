"""
Reading a scan's file: inflated once, handed out in blocks of whole lines, to any number of threads.

Whoever wants a block inflates it, into a buffer of its own, while the others work on theirs: so
there is no queue, nothing piles up, and what was inflated is still in the core's cache when it is
parsed.
"""

import gzip
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from isal import igzip, igzip_lib
from numpy.typing import NDArray

from lurge_types.batch import Block
from lurge_types.scans import BadLine, BadLines
from utils.wrstat import NOT_ENDED
from utils.wrstat_loops import LONGEST_LINE, NEWLINE, cut_blocks

HANDOVER = 1 << 20
"""Bytes of text handed out at a time: large enough for few calls, small enough for the cache."""

USUAL_LINE = 256
"""Bytes that hardly any line exceeds."""

STANDARD_INPUT = Path("-")


class ScanUnreadable(Exception):
    """The scan's file cannot be opened, is cut short, damaged, or no gzip file at all."""


class ScanChanged(Exception):
    """The scan's file was changed in place while it was read."""


def buffer(block_lines: int, blocks: int = 1) -> NDArray[np.uint8]:
    """
    An empty buffer that has room for a block of the longest lines; memory comes with use.

    blocks: how many blocks of usual lines shall fit too.
    """
    usual = blocks * block_lines * USUAL_LINE
    return np.empty(block_lines * (LONGEST_LINE + 2) + usual + 2 * HANDOVER, np.uint8)


class ScanFile:
    """
    An open scan file; `read` may be called by several threads, each with a buffer of its own.

    position and size: bytes of the file as it lies on disk that were read and that there are; both
        are 0 where that is not known, as of a pipe.
    unended: the last line, where it lacks its newline: what is missing of it nobody knows, so it
        is a bad line.
    """

    def __init__(self, path: Path, block_lines: int) -> None:
        self.path = path
        self.lines = 0
        self.unended = BadLines()
        self._block_lines = block_lines
        self._turn = threading.Lock()
        self._carry = np.empty(0, np.uint8)
        self._ended = False
        self.position = 0
        with self._named_errors():
            self._file = sys.stdin.buffer if path == STANDARD_INPUT else path.open("rb")
        self._is_file = path != STANDARD_INPUT and path.is_file()  # a pipe changes all the time
        self._state = self._stat()
        self.size = self._state[0]
        gzipped = path.suffix == ".gz"
        self._text: Any = igzip.open(self._file) if gzipped else self._file

    def close(self) -> None:
        """Nothing can be read any more."""
        if self.path != STANDARD_INPUT:
            self._file.close()

    def read(self, into: NDArray[np.uint8], most: int | None = None) -> Block | None:
        """
        The next block, in `into` (from `buffer`); None when there are no more.

        It holds whole blocks of `block_lines` lines: `most` of them, or as many as `HANDOVER` bytes
        make; less where they are long. Only the last block of a file has fewer lines.

        Raises ScanUnreadable and ScanChanged.
        """
        with self._turn, self._named_errors():
            blocks, end = cut_blocks(self._carry, len(self._carry), self._block_lines, most or 0)
            if not blocks or blocks != most:
                blocks, end = self._inflate(into, most)
            else:
                into[:end] = self._carry[:end]
                self._carry = self._carry[end:]
            if not blocks:
                return self._last(into, end)
            return self._block(into, end, blocks * self._block_lines)

    def _inflate(self, into: NDArray[np.uint8], most: int | None) -> tuple[int, int]:
        """(blocks, end) in `into`, of what is left over and what is read; then all is left over."""
        filled = len(self._carry)
        into[:filled] = self._carry
        blocks, end = 0, 0
        enough = (most or 1) * self._block_lines * USUAL_LINE
        while not self._ended and (not blocks or (blocks < (most or 1) and filled < enough)):
            filled = self._fill(into, filled, max(HANDOVER, enough))
            blocks, end = cut_blocks(into, filled, self._block_lines, most or 0)
        if not blocks:
            self._carry = into[:0]
            return 0, filled
        self._carry = into[end:filled].copy()
        return blocks, end

    def _fill(self, into: NDArray[np.uint8], filled: int, enough: int) -> int:
        """Read until `enough` bytes are there, or some more at least; how many there are then."""
        if max(enough, filled + HANDOVER) > len(into):
            filled = _without_overlong(into, filled)
        until = max(enough, filled + HANDOVER // 4)
        while filled < until and not self._ended:
            count = self._text.readinto(into[filled:until].data)
            self._ended = not count
            filled += count
        if self.size:
            self.position = self._file.tell()
        if self._ended:
            self._check_unchanged()
            self._check_begun()
        return filled

    def _last(self, into: NDArray[np.uint8], filled: int) -> Block | None:
        """What is left of the file at its end: less than a block."""
        lines = into[:filled] == NEWLINE
        end = filled - int(lines[::-1].argmax()) if lines.any() else 0
        if end < filled:
            number = self.lines + int(np.count_nonzero(lines)) + 1
            self.unended = BadLines(1, (BadLine(number, NOT_ENDED),))
        return self._block(into, end, int(np.count_nonzero(lines))) if end else None

    def _block(self, into: NDArray[np.uint8], end: int, lines: int) -> Block:
        block = Block(into, end, self.lines + 1, lines)
        self.lines += lines
        return block

    def _stat(self) -> tuple[int, int]:
        """(size, time of modification): what changes when a file is changed in place."""
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def _check_unchanged(self) -> None:
        if self._is_file and self._stat() != self._state:
            raise ScanChanged(
                f"{self.path} was changed while it was read: run again when its writer is done"
            )

    def _check_begun(self) -> None:
        """A file without a byte is no gzip file, though isal takes it for one of no members."""
        gzipped = self._text is not self._file
        if gzipped and self._file.seekable() and not self._file.tell():
            raise EOFError

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        """Say what is wrong with the file in the words of who keeps it."""
        try:
            yield
        except EOFError as error:
            raise ScanUnreadable(
                f"{self.path} is cut short, or something stands behind its end: "
                "copy or make it again"
            ) from error
        except (gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc]  # its stub
            raise ScanUnreadable(
                f"{self.path} is damaged or no gzip file ({error}): copy or make it again"
            ) from error
        except OSError as error:
            raise ScanUnreadable(f"{self.path} cannot be read: {error.strerror}") from error


def _without_overlong(into: NDArray[np.uint8], filled: int) -> int:
    """
    Cut what a line has beyond a legal one's length and a byte, so that a block fits its buffer.

    Such a line stays a bad one. What is shorter stays as it is.
    """
    ends = np.flatnonzero(into[:filled] == NEWLINE).tolist()
    kept = 0
    start = 0
    for end in [*ends, filled]:
        length = min(end - start, LONGEST_LINE + 1)
        into[kept : kept + length] = into[start : start + length].copy()
        kept += length
        if end < filled:
            into[kept] = NEWLINE
            kept += 1
        start = end + 1
    return kept
