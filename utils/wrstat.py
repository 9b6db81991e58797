"""
The wrstat format: a line of text for each entry of a volume.

`Parser.parse` reads lines in every form that scanners have written since 2021, `format_line` writes
today's. The loops that touch each byte are compiled, in `utils.wrstat_loops`.
"""

import re

import numpy as np

from lurge_types.batch import NUMBER_COLUMNS, Batch, Block, Entry
from lurge_types.scans import BAD_LINES_SHOWN, BadLine, BadLines
from utils import wrstat_loops as loops

REASONS = {
    loops.BAD_COLUMNS: "not 11 or 12 columns",
    loops.BAD_LENGTH: f"longer than {loops.LONGEST_LINE} bytes",
    loops.BAD_NUMBER: "a number is not one",
    loops.BAD_RANGE: "a number does not fit its type",
    loops.BAD_SIZE: "negative size",
    loops.BAD_TYPE: "the type is not one letter",
    loops.BAD_START: 'the path begins with none of L, 9 and "',
    loops.BAD_BASE64: "bad base64",
    loops.BAD_ESCAPE: "bad escape in the path's literal",
    loops.BAD_LITERAL: "the path's literal is unfinished or followed by something",
    loops.BAD_PATH: "empty or relative path",
}
NOT_ENDED = "the file ends within this line"

PRINTABLE = re.compile(rb"[ !#-\[\]-~]*").fullmatch
SHORT_ESCAPES = {
    "\a": b"\\a",
    "\b": b"\\b",
    "\f": b"\\f",
    "\n": b"\\n",
    "\r": b"\\r",
    "\t": b"\\t",
    "\v": b"\\v",
    '"': b'\\"',
    "\\": b"\\\\",
}


class Parser:
    r"""
    Turns blocks into batches, always in the same arrays: a batch is valid until the next one.

    >>> parser = Parser()
    >>> line = b'"/a"\t5\t0\t7\t1\t2\t3\tf\t9\t1\t1\t5\n'
    >>> batch, bad = parser.parse(Block(np.frombuffer(line, np.uint8), len(line), 1, 1))
    >>> batch.path(0), batch.numbers[:3, 0].tolist(), bad.count
    (b'/a', [5, 0, 7], 0)
    >>> batch.line(0) == line
    True
    """

    def __init__(self) -> None:
        self._numbers = np.empty((len(NUMBER_COLUMNS), 0), np.int64)
        self._offsets = np.empty(1, np.int64)
        self._starts = np.empty(0, np.int64)
        self._ends = np.empty(0, np.int64)
        self._paths = np.empty(0, np.uint8)
        self._bad = np.empty((BAD_LINES_SHOWN, 2), np.int64)

    def parse(self, block: Block) -> tuple[Batch, BadLines]:
        """The entries of a block and what is wrong with its other lines."""
        if block.length and block.raw[block.length - 1] != loops.NEWLINE:
            raise ValueError("a block must end in a newline")
        self._make_room(block.lines, block.length)
        entries, bad = loops.parse_lines(
            block.raw,
            block.length,
            self._numbers,
            self._paths,
            self._offsets,
            self._starts,
            self._ends,
            self._bad,
        )
        batch = Batch(
            self._numbers[:, :entries],
            self._paths,
            self._offsets[: entries + 1],
            block.raw,
            self._starts[:entries],
            self._ends[:entries],
        )
        return batch, self._bad_lines(block, bad)

    def _make_room(self, lines: int, length: int) -> None:
        if lines > self._numbers.shape[1]:
            self._numbers = np.empty((len(NUMBER_COLUMNS), lines), np.int64)
            self._offsets = np.empty(lines + 1, np.int64)
            self._starts = np.empty(lines, np.int64)
            self._ends = np.empty(lines, np.int64)
        if length > len(self._paths):
            self._paths = np.empty(length, np.uint8)

    def _bad_lines(self, block: Block, count: int) -> BadLines:
        return BadLines(
            count,
            tuple(
                BadLine(block.first_line + line, REASONS[reason])
                for line, reason in self._bad[:count].tolist()
            ),
        )


def format_line(entry: Entry) -> bytes:
    r"""
    The line of an entry in today's form, or with 11 columns where it has no apparent size.

    >>> format_line(Entry(b"/tmp", 4096, 0, 0, 1, 2, 3, "d", 8, 9, 51, 4096))
    b'"/tmp/"\t4096\t0\t0\t1\t2\t3\td\t8\t9\t51\t4096\n'
    """
    path = entry.path
    if entry.type == "d" and not path.endswith(b"/"):
        path += b"/"
    numbers = entry[1:] if entry.apparent_size is not None else entry[1:-1]
    return b'"%b"\t%b\n' % (quote(path), "\t".join(map(str, numbers)).encode("ascii"))


def quote(path: bytes) -> bytes:
    r"""
    What stands between the quotes of a Go string literal, as `strconv.Quote` writes it.

    >>> quote(b'a"b\n\xe9\x00')
    b'a\\"b\\n\\xe9\\x00'
    """
    if PRINTABLE(path):
        return path
    return b"".join(map(_quote_character, path.decode("utf-8", "surrogateescape")))


def _quote_character(character: str) -> bytes:
    code = ord(character)
    if short := SHORT_ESCAPES.get(character):
        return short
    if character.isprintable():
        return character.encode("utf-8")
    if 0xDC80 <= code <= 0xDCFF:
        return b"\\x%02x" % (code & 0xFF)
    if code < 0x20 or code == 0x7F:
        return b"\\x%02x" % code
    return b"\\u%04x" % code if code < 0x10000 else b"\\U%08x" % code
