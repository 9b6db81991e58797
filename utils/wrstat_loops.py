"""The compiled loops that cut a scan's text into blocks of lines and parse lines into columns."""

import numpy as np
from numpy.typing import NDArray

from lurge_types.batch import (
    APPARENT_SIZE,
    ATIME,
    CTIME,
    DEVICE,
    DIRECTORY,
    GID,
    INODE,
    LINKS,
    MTIME,
    NO_APPARENT_SIZE,
    SIZE,
    TYPE,
    UID,
)
from utils.compiled import compiled

LONGEST_LINE = 65_536
"""Bytes a line may have, its newline not counted."""

WINDOW = 224
"""Bytes in which newlines are counted at a time."""

# Why a line is bad; `utils.wrstat.REASONS` says each in words.
(
    FINE,
    BAD_COLUMNS,
    BAD_LENGTH,
    BAD_NUMBER,
    BAD_RANGE,
    BAD_SIZE,
    BAD_TYPE,
    BAD_START,
    BAD_BASE64,
    BAD_ESCAPE,
    BAD_LITERAL,
    BAD_PATH,
) = range(12)

TAB = 9
NEWLINE = 10
SPACE = 32
QUOTE = 34
MINUS = 45
SLASH = 47
ZERO = 48
EQUALS = 61
BACKSLASH = 92
L_STANDARD = 76
NINE_ORDERED = 57
U_LONG = 85
U_SHORT = 117
X_BYTE = 120

NO_DIGIT = 64


def _decoding(alphabet: bytes) -> NDArray[np.uint8]:
    """The value of each byte in a base64 alphabet, `NO_DIGIT` for what is not in it."""
    values = np.full(256, NO_DIGIT, np.uint8)
    values[list(alphabet)] = np.arange(64)
    return values


LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
STANDARD = LETTERS + LETTERS.lower() + b"0123456789+/"
ORDERED = b"+/0123456789" + LETTERS + LETTERS.lower()
STANDARD_VALUES = _decoding(STANDARD)
ORDERED_VALUES = _decoding(ORDERED)

UINT64_MAX = np.uint64(2**64 - 1)

# The greatest value of each column, and the magnitude of the least.
HIGHEST = np.full(APPARENT_SIZE + 1, 2**63 - 1, np.uint64)
HIGHEST[[UID, GID]] = 2**32 - 1
HIGHEST[[INODE, LINKS, DEVICE]] = UINT64_MAX
DEEPEST = np.zeros(APPARENT_SIZE + 1, np.uint64)
DEEPEST[[ATIME, MTIME, CTIME]] = 2**63

# What follows a backslash and stands for one byte; 0 is none of these.
ESCAPES = np.zeros(256, np.uint8)
for _letter, _byte in zip(b'"\\abfnrtv', b'"\\\a\b\f\n\r\t\v', strict=True):
    ESCAPES[_letter] = _byte

# Hexadecimal digits, 255 for what is none.
HEX = np.full(256, 255, np.uint8)
for _value, _digit in enumerate(b"0123456789abcdef"):
    HEX[_digit] = _value
    HEX[ord(chr(_digit).upper())] = _value

# A known type letter stands for itself, another letter for X, 0 is no letter.
TYPES = np.zeros(256, np.uint8)
TYPES[list(LETTERS + LETTERS.lower())] = ord("X")
for _letter in b"fdlsbFcX":
    TYPES[_letter] = _letter


@compiled
def cut_blocks(raw: NDArray[np.uint8], stop: int, block_lines: int, most: int) -> tuple[int, int]:
    """
    (blocks, end): how many whole blocks of lines `raw[:stop]` holds, and where the last one ends.

    No more than `most` are looked for, unless that is 0.

    Newlines are counted by the window, which wide instructions do 14 times as fast as a loop over
    bytes; only the window in which a block ends is looked at byte by byte. A window's count must
    fit 8 bits and its length be known when compiling.
    """
    blocks = 0
    end = 0
    lines = 0
    at = 0
    while at < stop:
        until = min(at + WINDOW, stop)
        if at + WINDOW <= stop:
            window = raw[at : at + WINDOW]  # a slice: its indices are known not to be negative
            here = np.uint8(0)
            for i in range(WINDOW):
                here = np.uint8(here + np.uint8(window[i] == np.uint8(NEWLINE)))
            if lines + here < block_lines:
                lines += here
                at = until
                continue
        while at < until:
            lines += raw[at] == NEWLINE
            at += 1
            if lines == block_lines:
                lines = 0
                blocks += 1
                end = at
                if blocks == most:
                    return blocks, end
    return blocks, end


@compiled
def _magnitude(raw: NDArray[np.uint8], first: int, stop: int) -> tuple[np.uint64, bool]:
    """(value, whether it fits 64 bits) of digits that are too many to be added up unchecked."""
    value = np.uint64(0)
    for i in range(first, stop):
        digit = np.uint64(raw[i] - np.uint8(ZERO))
        if value > (UINT64_MAX - digit) // np.uint64(10):
            return value, False
        value = value * np.uint64(10) + digit
    return value, True


@compiled
def _number(raw: NDArray[np.uint8], at: int, column: int) -> tuple[int, int, int]:
    """(value, end, reason) of the number at `at`, which the first byte that is no digit ends."""
    negative = raw[at] == MINUS
    if negative:
        at += 1
    first = at
    value = np.uint64(0)
    digit = np.uint8(raw[at] - np.uint8(ZERO))
    while digit <= np.uint8(9):
        value = value * np.uint64(10) + np.uint64(digit)
        at += 1
        digit = np.uint8(raw[at] - np.uint8(ZERO))
    if at == first or (raw[at] != TAB and raw[at] != NEWLINE):
        return 0, at, BAD_NUMBER
    fits = True
    if at - first > 18:  # up to 18 digits cannot overflow
        value, fits = _magnitude(raw, first, at)
    if not fits:
        return 0, at, BAD_SIZE if negative and column in (SIZE, APPARENT_SIZE) else BAD_RANGE
    if negative and value > np.uint64(0):
        if column == SIZE or column == APPARENT_SIZE:
            return 0, at, BAD_SIZE
        if value > DEEPEST[column]:
            return 0, at, BAD_RANGE
        return -np.int64(value), at, FINE
    if value > HIGHEST[column]:
        return 0, at, BAD_RANGE
    return np.int64(value), at, FINE


@compiled
def _base64(
    raw: NDArray[np.uint8],
    at: int,
    stop: int,
    paths: NDArray[np.uint8],
    out: int,
    values: NDArray[np.uint8],
) -> tuple[int, int, int]:
    """(end, end of path, reason): decode up to the tab that ends the column."""
    source = raw[at:stop]
    target = paths[out:]
    taken = 0
    given = 0
    while taken + 4 <= len(source) and given + 3 <= len(target):
        a = values[source[taken]]
        b = values[source[taken + 1]]
        c = values[source[taken + 2]]
        d = values[source[taken + 3]]
        if (a | b | c | d) >= NO_DIGIT:
            break
        target[given] = np.uint8(a << 2 | b >> 4)
        target[given + 1] = np.uint8(b << 4 | c >> 2)
        target[given + 2] = np.uint8(c << 6 | d)
        taken += 4
        given += 3
    at += taken
    out += given
    if raw[at] == TAB:
        return at, out, FINE
    if at + 4 > stop:
        return at, out, BAD_BASE64
    a, b, c, d = values[raw[at]], values[raw[at + 1]], values[raw[at + 2]], values[raw[at + 3]]
    if (a | b) >= NO_DIGIT or raw[at + 3] != EQUALS:
        return at, out, BAD_BASE64
    paths[out] = np.uint8(a << 2 | b >> 4)
    out += 1
    if c < NO_DIGIT:
        paths[out] = np.uint8(b << 4 | c >> 2)
        out += 1
    elif raw[at + 2] != EQUALS:
        return at, out, BAD_BASE64
    return at + 4, out, FINE if raw[at + 4] == TAB else BAD_BASE64


@compiled
def _code_point(
    raw: NDArray[np.uint8], at: int, digits: int, paths: NDArray[np.uint8], out: int
) -> tuple[int, int, int]:
    """(end, end of path, reason): `digits` hexadecimal digits at `at` become UTF-8."""
    code = 0
    for _ in range(digits):
        value = HEX[raw[at]]
        if value > 15:
            return at, out, BAD_ESCAPE
        code = code * 16 + value
        at += 1
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return at, out, BAD_ESCAPE
    if code < 0x80:
        paths[out] = code
        return at, out + 1, FINE
    if code < 0x800:
        paths[out] = 0xC0 | code >> 6
        paths[out + 1] = 0x80 | code & 63
        return at, out + 2, FINE
    if code < 0x10000:
        paths[out] = 0xE0 | code >> 12
        paths[out + 1] = 0x80 | code >> 6 & 63
        paths[out + 2] = 0x80 | code & 63
        return at, out + 3, FINE
    paths[out] = 0xF0 | code >> 18
    paths[out + 1] = 0x80 | code >> 12 & 63
    paths[out + 2] = 0x80 | code >> 6 & 63
    paths[out + 3] = 0x80 | code & 63
    return at, out + 4, FINE


@compiled
def _escape(
    raw: NDArray[np.uint8], at: int, paths: NDArray[np.uint8], out: int
) -> tuple[int, int, int]:
    """(end, end of path, reason) of what follows a backslash."""
    letter = raw[at]
    if ESCAPES[letter] != 0:
        paths[out] = ESCAPES[letter]
        return at + 1, out + 1, FINE
    if letter == X_BYTE:
        high = HEX[raw[at + 1]]
        if high > 15:
            return at, out, BAD_ESCAPE
        low = HEX[raw[at + 2]]
        if low > 15:
            return at, out, BAD_ESCAPE
        paths[out] = high << 4 | low
        return at + 3, out + 1, FINE
    if letter == U_SHORT:
        return _code_point(raw, at + 1, 4, paths, out)
    if letter == U_LONG:
        return _code_point(raw, at + 1, 8, paths, out)
    return at, out, BAD_ESCAPE


@compiled
def _literal(
    raw: NDArray[np.uint8], at: int, stop: int, paths: NDArray[np.uint8], out: int
) -> tuple[int, int, int]:
    """
    (end, end of path, reason) of a Go literal, `at` behind its opening quote.

    Runs without escapes are found 16 bytes at a time and copied whole: half the time of a loop
    over bytes.
    """
    while True:
        source = raw[at:stop]
        length = 0
        while length + 16 <= len(source):
            special = np.uint8(0)
            for k in range(16):
                byte = source[length + k]
                special |= np.uint8(
                    (byte < np.uint8(SPACE))
                    | (byte == np.uint8(QUOTE))
                    | (byte == np.uint8(BACKSLASH))
                )
            if special:
                break
            length += 16
        byte = source[length]
        while byte != QUOTE and byte != BACKSLASH and byte != TAB and byte != NEWLINE:
            length += 1
            byte = source[length]
        target = paths[out : out + length]
        for k in range(length):
            target[k] = source[k]
        at += length
        out += length
        if byte == QUOTE:
            return at + 1, out, FINE
        if byte != BACKSLASH:
            return at, out, BAD_LITERAL
        at, out, reason = _escape(raw, at + 1, paths, out)
        if reason != FINE:
            return at, out, reason


@compiled
def _path(
    raw: NDArray[np.uint8], at: int, stop: int, paths: NDArray[np.uint8], out: int
) -> tuple[int, int, int]:
    """(end, end of path, reason) of the first column; its first byte tells the encoding."""
    first = raw[at]
    if first == QUOTE:
        return _literal(raw, at + 1, stop, paths, out)
    if first == L_STANDARD:
        return _base64(raw, at, stop, paths, out, STANDARD_VALUES)
    if first == NINE_ORDERED:
        return _base64(raw, at, stop, paths, out, ORDERED_VALUES)
    return at, out, BAD_START


@compiled
def _columns(
    raw: NDArray[np.uint8], at: int, numbers: NDArray[np.int64], entry: int
) -> tuple[int, int]:
    """(end, reason) of the columns behind the path's tab; the end is the line's newline."""
    for column in range(APPARENT_SIZE + 1):
        if column == TYPE:
            value = np.int64(TYPES[raw[at]])
            if value == 0:
                return at, BAD_TYPE
            at += 1
            reason = FINE if raw[at] == TAB else BAD_TYPE
        else:
            value, at, reason = _number(raw, at, column)
        if reason != FINE:
            return at, reason
        numbers[column, entry] = value
        if raw[at] != TAB or column == APPARENT_SIZE:
            break
        at += 1
    if raw[at] != NEWLINE:
        return at, BAD_NUMBER
    if column == DEVICE:
        numbers[APPARENT_SIZE, entry] = NO_APPARENT_SIZE
    elif column != APPARENT_SIZE:
        return at, BAD_COLUMNS
    return at, FINE


@compiled
def _fault(raw: NDArray[np.uint8], start: int, end: int, reason: int) -> int:
    """The reason to give for a bad line: its length and its columns are judged before the rest."""
    if end - start > LONGEST_LINE:
        return BAD_LENGTH
    tabs = 0
    for i in range(start, end):
        tabs += raw[i] == TAB
    return reason if tabs in (10, 11) else BAD_COLUMNS


@compiled
def parse_lines(
    raw: NDArray[np.uint8],
    stop: int,
    numbers: NDArray[np.int64],
    paths: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    bad: NDArray[np.int64],
) -> tuple[int, int]:
    """
    (entries, bad lines) of `raw[:stop]`, whose last byte must be a newline.

    Every scan of bytes below ends at a newline at the latest, so that nothing is read outside
    `raw`, whatever it holds. `numbers`, `offsets`, `starts` and `ends` must have room for an entry
    a line and `paths` for `stop` bytes: no path is longer than what it is written as. `bad` takes
    (line counted from 0, reason) of the first bad lines.
    """
    lines = 0
    entries = 0
    bad_lines = 0
    out = 0
    offsets[0] = 0
    at = 0
    while at < stop:
        if raw[at] == NEWLINE:
            at += 1
            lines += 1
            continue
        first = at
        at, end, reason = _path(raw, first, stop, paths, out)
        if reason == FINE and raw[at] != TAB:
            reason = BAD_LITERAL
        if reason == FINE and (end == out or paths[out] != SLASH):
            reason = BAD_PATH
        if reason == FINE:
            at, reason = _columns(raw, at + 1, numbers, entries)
        if reason == FINE and at - first > LONGEST_LINE:
            reason = BAD_LENGTH
        if reason == FINE:
            if paths[end - 1] == SLASH:
                numbers[TYPE, entries] = DIRECTORY
                while paths[end - 1] == SLASH and end - out > 1:
                    end -= 1
            out = end
            starts[entries] = first
            ends[entries] = at + 1
            entries += 1
            offsets[entries] = out
        else:
            while raw[at] != NEWLINE:
                at += 1
            if bad_lines < len(bad):
                bad[bad_lines, 0] = lines
                bad[bad_lines, 1] = _fault(raw, first, at, reason)
            bad_lines += 1
        at += 1
        lines += 1
    return entries, bad_lines
