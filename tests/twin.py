"""
The twin of the compiled line parser: written from the format's description alone, slow and simple.

Whatever bytes the two are fed, they must agree on every entry and on what is wrong with a line.
"""

import base64
import re
from collections.abc import Container

import numpy as np

from lurge_types.batch import DEVICE, INODE, LINKS, NO_APPARENT_SIZE, TYPE, Batch, Entry
from lurge_types.scans import BadLine

LONGEST_LINE = 65_536
STANDARD = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
ORDERED = b"+/0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TO_ORDERED = bytes.maketrans(STANDARD, ORDERED)
TO_STANDARD = bytes.maketrans(ORDERED, STANDARD)

INT64 = range(-(2**63), 2**63)
UINT32 = range(2**32)
UINT64 = range(2**64)
KNOWN_TYPES = "fdlsbFcX"

NUMBER = re.compile(rb"(-?)0*([0-9]+)").fullmatch
LETTER = re.compile(rb"[A-Za-z]").fullmatch
BASE64 = re.compile(rb"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?").fullmatch
PLAIN = re.compile(rb'[^"\\]+').match
ESCAPE = re.compile(
    rb'\\(?:(["\\abfnrtv])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8}))'
).match
SHORT = {b"a": b"\a", b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


class BadError(ValueError):
    """What is wrong with a line."""


def parse_line(line: bytes) -> Entry | str | None:
    r"""
    The entry of a line without its newline, or what is wrong with it, or None if it is blank.

    >>> parse_line(b'"/a"\t1\t2\t3\t4\t5\t6\tf\t7\t8')
    'not 11 or 12 columns'
    """
    try:
        return _entry(line) if line else None
    except BadError as bad:
        return str(bad)


def parse_lines(text: bytes, first_line: int = 1) -> tuple[list[Entry], list[BadLine]]:
    """The entries of some lines, and all of the bad lines."""
    found = list(enumerate(map(parse_line, text.split(b"\n")), first_line))
    return (
        [entry for _, entry in found if isinstance(entry, Entry)],
        [BadLine(number, reason) for number, reason in found if isinstance(reason, str)],
    )


def entries(batch: Batch) -> list[Entry]:
    """A batch as a list of entries, to be compared with the twin's."""
    return [_entry_of_batch(batch, i) for i in range(len(batch))]


def _entry_of_batch(batch: Batch, i: int) -> Entry:
    numbers = batch.numbers[:, i].tolist()
    for column in (INODE, LINKS, DEVICE):
        numbers[column] = int(batch.numbers[column, i].view(np.uint64))
    numbers[TYPE] = chr(numbers[TYPE])
    if numbers[-1] == NO_APPARENT_SIZE:
        numbers[-1] = None
    return Entry(batch.path(i), *numbers)


def _entry(line: bytes) -> Entry:
    if len(line) > LONGEST_LINE:
        raise BadError("longer than 65536 bytes")
    columns = line.split(b"\t")
    if len(columns) not in (11, 12):
        raise BadError("not 11 or 12 columns")
    path = _path(columns[0])
    return Entry(
        path.rstrip(b"/") or b"/",
        _size(columns[1]),
        _number(columns[2], UINT32),
        _number(columns[3], UINT32),
        _number(columns[4], INT64),
        _number(columns[5], INT64),
        _number(columns[6], INT64),
        _type(columns[7], path),
        _number(columns[8], UINT64),
        _number(columns[9], UINT64),
        _number(columns[10], UINT64),
        _size(columns[11]) if len(columns) == 12 else None,
    )


def _number(column: bytes, fitting: Container[int]) -> int:
    found = NUMBER(column)  # int() would accept '+1', ' 1', '1_0' and other alphabets' digits
    if not found:
        raise BadError("a number is not one")
    sign, digits = found.groups()
    value = int(sign + digits[:21])  # 21 digits fit nowhere, and int() refuses more than 4300
    if value not in fitting:
        raise BadError("a number does not fit its type")
    return value


def _size(column: bytes) -> int:
    if NUMBER(column) and column.startswith(b"-") and column.strip(b"-0"):
        raise BadError("negative size")
    return _number(column, INT64)


def _type(column: bytes, path: bytes) -> str:
    if not LETTER(column):
        raise BadError("the type is not one letter")
    if path.endswith(b"/"):
        return "d"
    letter = column.decode("ascii")
    return letter if letter in KNOWN_TYPES else "X"


def _path(column: bytes) -> bytes:
    match column[:1]:
        case b'"':
            path = _literal(column)
        case b"L":
            path = _base64(column)
        case b"9":
            path = _base64(column.translate(TO_STANDARD))
        case _:
            raise BadError('the path begins with none of L, 9 and "')
    if not path.startswith(b"/"):
        raise BadError("empty or relative path")
    return path


def _base64(column: bytes) -> bytes:
    if not BASE64(column):
        raise BadError("bad base64")
    return base64.b64decode(column)


def _literal(column: bytes) -> bytes:
    path = b""
    at = 1
    while at < len(column) and column[at : at + 1] != b'"':
        if plain := PLAIN(column, at):
            path += plain[0]
            at = plain.end()
        elif escape := ESCAPE(column, at):
            path += _unescape(*escape.groups())
            at = escape.end()
        else:
            raise BadError("bad escape in the path's literal")
    if column[at:] != b'"':
        raise BadError("the path's literal is unfinished or followed by something")
    return path


def _unescape(
    letter: bytes | None, byte: bytes | None, short: bytes | None, long: bytes | None
) -> bytes:
    if letter:
        return SHORT.get(letter, letter)
    if byte:
        return bytes([int(byte, 16)])
    code = int(short or long or b"", 16)
    if 0xD800 <= code <= 0xDFFF or code > 0x10FFFF:
        raise BadError("bad escape in the path's literal")
    return chr(code).encode("utf-8")
