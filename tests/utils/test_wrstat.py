"""
Lines are read as the format says by both parsers, the compiled one and its twin.

The properties that feed the compiled loops anything at all run twice: as they are, and in a process
of their own in which Numba checks every index.
"""

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import twin
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from lurge_types.batch import NUMBER_COLUMNS, Batch, Block, Entry
from lurge_types.scans import BAD_LINES_SHOWN, BadLine, BadLines
from utils import wrstat_loops as loops
from utils.compiled import compiled
from utils.wrstat import REASONS, Parser, format_line, quote

VECTORS = Path(__file__).parent.parent / "vectors"
LINES = json.loads((VECTORS / "wrstat_lines.json").read_text("utf-8"))
GO_QUOTE = json.loads((VECTORS / "go_quote.json").read_text("utf-8"))  # asked of Go 1.26

ENTRY = Entry(b"/a", 1, 2, 3, 4, 5, 6, "f", 7, 8, 9, 10)
COLUMNS = [b'"/a"', *b"1 2 3 4 5 6 f 7 8 9 10".split()]
TAIL = b"\t" + b"\t".join(COLUMNS[1:])
FENCE = 64

more = settings(max_examples=300, deadline=None)


# Reading, on both sides.


def block(text: bytes, first_line: int = 1) -> Block:
    return Block(np.frombuffer(bytearray(text), np.uint8), len(text), first_line, text.count(b"\n"))


def parse(text: bytes, first_line: int = 1) -> tuple[list[Entry], BadLines]:
    batch, bad = Parser().parse(block(text, first_line))
    return twin.entries(batch), bad


def expected(text: bytes, first_line: int = 1) -> tuple[list[Entry], BadLines]:
    entries, bad = twin.parse_lines(text, first_line)
    return entries, BadLines(len(bad), tuple(bad[:BAD_LINES_SHOWN]))


def compiled_line(line: bytes) -> Entry | str:
    """The entry of a line or what is wrong with it, as `twin.parse_line` gives it."""
    entries, bad = parse(line + b"\n")
    assert len(entries) + bad.count == 1
    return entries[0] if entries else bad.first[0].reason


class Fenced:
    """An array of just so many items, amid bytes that must stay as they are."""

    def __init__(self, count: int, dtype: DTypeLike) -> None:
        size = np.dtype(dtype).itemsize
        self._whole = np.full((count + 2 * FENCE) * size, 0xA5, np.uint8)
        self._fence = FENCE * size
        self.items: NDArray[Any] = self._whole[self._fence : -self._fence].view(dtype)

    def stands(self) -> bool:
        before, behind = self._whole[: self._fence], self._whole[-self._fence :]
        return bool((before == 0xA5).all() and (behind == 0xA5).all())


# Writing: entries in every form there ever was, and texts that are nearly or not at all like them.


def numbers_of(entry: Entry) -> bytes:
    return "".join(f"\t{value}" for value in entry[1:] if value is not None).encode() + b"\n"


def standard(entry: Entry) -> bytes:
    return base64.b64encode(entry.path) + numbers_of(entry)


def ordered(entry: Entry) -> bytes:
    return base64.b64encode(entry.path).translate(twin.TO_ORDERED) + numbers_of(entry)


def without_slash(entry: Entry) -> bytes:
    return b'"%b"' % quote(entry.path) + numbers_of(entry)


def wholly_escaped(entry: Entry) -> bytes:
    return b'"%b"' % b"".join(b"\\x%02X" % byte for byte in entry.path) + numbers_of(entry)


FORMS: tuple[Callable[[Entry], bytes], ...] = (
    format_line,
    without_slash,
    wholly_escaped,
    standard,
    ordered,
)

NAMES = (
    *rb'a / dir/ a-name-of-more-than-sixteen-bytes " \ \x41 \\'.split(),
    *(b"\t", b"\n", b" ", b"\xff", b"\x80", b"\xed\xa0\x80"),
    *("é日🙂\u00a0\U000e0001".encode(), "日".encode()[:2]),
)
ODD_PATHS = (
    *rb""" "  ""  "/  "/"  "//"  "/a//"  "a"  "/a"b  "/a""  "/a\"  /a  'a' """.split(),
    *rb""" "/\x4"  "/\x  "/\x4  "/\xfF"  "/\xfg"  "/\X41"  "/\101"  "/\  "\ """.split(),
    *rb""" "/\u00e9"  "/\u00e"  "/\u00e  "/\ud800"  "/\uDFFF"  "/\ue000"  "\u002f" """.split(),
    *rb""" "/\U0010ffff"  "/\U00110000"  "/\U0000d800"  "/\Uffffffff"  "/\U0001F64 """.split(),
    *rb""" "/\a\b\f\n\r\t\v\\\""  "/\'"  "\x2f"  "/......................\q" """.split(),
    *b"L L2 L2E L2E= L2E== L2F= L2== L2=E L=== L2E=L2E= L2E=x L2Eg L2Eg= L2Eg==== L2E-".split(),
    *b"LzEg YS9i L2EgL2EgL2EgL2EgL2EgL2Eg Ly8= 9 9q 9q2= 9q2== 9q== 9qEg 9=== 9qEg9qEg9qEg".split(),
    *(b"", b'"/\xff\0\x01"', b"L2E\r=", b' "/a"', b'\xef\xbb\xbf"/a"'),
)
ODD_VALUES = (
    *b"- --1 +1 1_0 1a a1 1e3 1.0 0x10 -1x -0 00 -00 d F X x fd @ [ ` {".split(),
    *(b"", b" 1", b"1 ", b"1\r", b"1\0", b"\xff", b"f ", b"\xe9", "é".encode()),
    *("\u0661".encode(), "\u00b2".encode(), b"0" * 30, b"0" * 30 + b"1", b"-" + b"0" * 30 + b"1"),
    *(b"9" * 18, b"9" * 19, b"9" * 20, b"9" * 21 + b"x"),
    *(b"%d" % (2**bits + n) for bits in (31, 32, 63, 64, 65) for n in (-1, 0, 1)),
    *(b"%d" % (-(2**bits) + n) for bits in (0, 31, 63, 64, 65) for n in (-1, 0, 1)),
)
GIVEN = (
    *rb'" \ \" \x \u \U = == - 0 9999999999999999999 L 9 / d 00e9 0001f642 AAAAAAAAAAAAAA'.split(),
    *(b"\t", b"\n", b"\n\n", b"\r\n", b"f\t", b"\t1", b"\0", b"\xff", b" " * 40),
)

paths = (
    st.binary(max_size=40)
    | st.text(max_size=20).map(str.encode)
    | st.lists(st.sampled_from(NAMES), max_size=6).map(b"".join)
).map(lambda name: b"/" + name.replace(b"\0", b"").rstrip(b"/"))
sizes = st.integers(0, 2**63 - 1)
ids = st.integers(0, 2**32 - 1)
times = st.integers(-(2**63), 2**63 - 1)
counts = st.integers(0, 2**64 - 1)
entries = st.builds(
    Entry,
    *(paths, sizes, ids, ids, times, times, times, st.sampled_from("fdlsbFcX")),
    *(counts, counts, counts, st.none() | sizes),
).map(lambda entry: entry._replace(type="d") if entry.path == b"/" else entry)
written = st.lists(st.tuples(entries, st.sampled_from(FORMS)), min_size=1, max_size=4)


def text_of(lines: list[tuple[Entry, Callable[[Entry], bytes]]]) -> bytes:
    return b"".join(form(entry) for entry, form in lines)


@st.composite
def odd_lines(draw: st.DrawFn) -> bytes:
    """A line of good columns but for some."""
    columns = COLUMNS[: draw(st.sampled_from((12, 12, 12, 11, 11, 10)))]
    for _ in range(draw(st.integers(1, 2))):
        column = draw(st.integers(0, len(columns)))
        odd = draw(st.sampled_from(ODD_VALUES if column else ODD_PATHS))
        columns[column : column + draw(st.sampled_from((1, 1, 1, 1, 0)))] = [odd]
    return b"\t".join(columns) + b"\n"


@st.composite
def odd_path_lines(draw: st.DrawFn) -> bytes:
    """A line that is good from its second column on."""
    before = draw(st.sampled_from((b'"/', b'"', b"L2E", b"L2Fh", b"9q2", b"9qFi", b"")))
    path = draw(st.lists(st.sampled_from((*GIVEN, *NAMES)), max_size=8).map(b"".join) | st.binary())
    return before + path + draw(st.sampled_from((b'"', b"=", b""))) + TAIL + b"\n"


@st.composite
def edited_texts(draw: st.DrawFn) -> bytes:
    """Good lines in which bytes are put, left out, changed, or copied from elsewhere."""
    text = text_of(draw(written))
    for _ in range(draw(st.integers(1, 4))):
        marks = [i for i, byte in enumerate(text) if byte in b'\t\n"\\='] + [0, len(text)]
        at = draw(st.sampled_from(marks) | st.integers(0, len(text)))
        taken = draw(st.integers(0, 3) | st.integers(0, len(text)))
        first = draw(st.integers(0, len(text)))
        copied = text[first : first + draw(st.integers(0, 60))]
        put = draw(st.just(b"") | st.sampled_from(GIVEN) | st.binary(max_size=3) | st.just(copied))
        text = text[:at] + put + text[at + taken :]
    return text + b"\n"


odd_texts = st.lists(odd_lines() | odd_path_lines(), min_size=1, max_size=6).map(b"".join)
random_texts = (
    st.binary(max_size=400)
    | st.lists(st.sampled_from((*GIVEN, *ODD_PATHS, *ODD_VALUES)), max_size=60).map(b"".join)
    | st.lists(st.sampled_from((*ODD_PATHS, *ODD_VALUES)), max_size=60).map(b"\t".join)
).map(lambda text: text + b"\n")
texts = written.map(text_of) | odd_texts | edited_texts() | random_texts


# One line.


def shortly(value: object) -> str:
    return repr(value)[:24]


@pytest.mark.parametrize("parse_line", [compiled_line, twin.parse_line])
@pytest.mark.parametrize("vector", LINES, ids=lambda vector: vector["name"])
def test_the_examples_are_read_as_told(
    vector: dict[str, Any], parse_line: Callable[[bytes], Entry | str | None]
) -> None:
    found = parse_line(vector["line"].encode("utf-8"))
    if vector.get("bad"):
        assert found in REASONS.values()
    else:
        assert found == Entry(bytes.fromhex(vector["path_hex"]), **vector["fields"])


BAD = [
    (b"", b"\t" * 9, "not 11 or 12 columns"),
    (b'"/a"', TAIL + b"\t", "not 11 or 12 columns"),
    (b'"/a"', TAIL + b"\t1", "not 11 or 12 columns"),
    (b'"/a"', b" ".join(COLUMNS[1:]), "not 11 or 12 columns"),
    (b'"/a\tb"', TAIL, "not 11 or 12 columns"),
    (b'"/' + b"a" * 65_536 + b'"', TAIL, "longer than 65536 bytes"),
    (b"\0" * 65_537, b"", "longer than 65536 bytes"),
    (b"", TAIL, 'the path begins with none of L, 9 and "'),
    (b"/a", TAIL, 'the path begins with none of L, 9 and "'),
    (b'\xef\xbb\xbf"/a"', TAIL, 'the path begins with none of L, 9 and "'),
    (b"L2E", TAIL, "bad base64"),
    (b"L2E-", TAIL, "bad base64"),
    (b"L2E==", TAIL, "bad base64"),
    (b"L2E=L2E=", TAIL, "bad base64"),
    (b"9", TAIL, "bad base64"),
    (b'"/\\q"', TAIL, "bad escape in the path's literal"),
    (b'"/\\', TAIL, "bad escape in the path's literal"),
    (b'"/\\x4', TAIL, "bad escape in the path's literal"),
    (b'"/\\U0000dfff"', TAIL, "bad escape in the path's literal"),
    (b'"/\\U00110000"', TAIL, "bad escape in the path's literal"),
    (b'"/\\Uffffffff"', TAIL, "bad escape in the path's literal"),
    (b'"/\\ud800', TAIL, "bad escape in the path's literal"),
    (b'"', TAIL, "the path's literal is unfinished or followed by something"),
    (b'"/a', TAIL, "the path's literal is unfinished or followed by something"),
    (b'"/a"b"', TAIL, "the path's literal is unfinished or followed by something"),
    (b'"a"b', TAIL, "the path's literal is unfinished or followed by something"),
    (b'""', TAIL, "empty or relative path"),
    (b'"a"', TAIL, "empty or relative path"),
    (b"LmEv", TAIL, "empty or relative path"),
    (b'"a"', b"\t1x" + TAIL[2:], "empty or relative path"),
    (b'"/a"', b"\t" + TAIL[2:], "a number is not one"),
    (b'"/a"', b"\t+1" + TAIL[2:], "a number is not one"),
    (b'"/a"', b"\t1_0" + TAIL[2:], "a number is not one"),
    (b'"/a"', b"\t-" + TAIL[2:], "a number is not one"),
    (b'"/a"', b"\t-1x" + TAIL[2:], "a number is not one"),
    (b'"/a"', b"\t" + b"9" * 25 + b"x" + TAIL[2:], "a number is not one"),
    (b'"/a"', TAIL + b"\r", "a number is not one"),
    (b'"/a"', TAIL + b"\0", "a number is not one"),
    (b'"/a"', b"\t9223372036854775808" + TAIL[2:], "a number does not fit its type"),
    (b'"/a"', b"\t1\t-1" + TAIL[4:], "a number does not fit its type"),
    (b'"/a"', b"\t1\t4294967296\t1x" + TAIL[6:], "a number does not fit its type"),
    (b'"/a"', b"\t-1" + TAIL[2:], "negative size"),
    (b'"/a"', b"\t-99999999999999999999" + TAIL[2:], "negative size"),
    (b'"/a"', TAIL[:-2] + b"-1", "negative size"),
    (b'"/a"', TAIL.replace(b"f", b""), "the type is not one letter"),
    (b'"/a"', TAIL.replace(b"f", b"fd"), "the type is not one letter"),
    (b'"/a"', TAIL.replace(b"f", b"1"), "the type is not one letter"),
    (b'"/a/"', TAIL.replace(b"f", b"?"), "the type is not one letter"),
]


@pytest.mark.parametrize("parse_line", [compiled_line, twin.parse_line])
@pytest.mark.parametrize(("path", "rest", "reason"), BAD, ids=shortly)
def test_a_bad_line_is_told_by_its_first_fault(
    path: bytes, rest: bytes, reason: str, parse_line: Callable[[bytes], Entry | str | None]
) -> None:
    assert parse_line(path + rest) == reason


def test_each_reason_has_an_example() -> None:
    assert {reason for _, _, reason in BAD} == set(REASONS.values())


GOOD = [
    (b'"/a/"', TAIL, ENTRY._replace(type="d")),
    (b'"/a//"', TAIL, ENTRY._replace(type="d")),
    (b'"/"', TAIL, ENTRY._replace(path=b"/", type="d")),
    (b'"//"', TAIL, ENTRY._replace(path=b"/", type="d")),
    (b'"/a b"', TAIL, ENTRY._replace(path=b"/a b")),
    (b'"/\xff\x01\r"', TAIL, ENTRY._replace(path=b"/\xff\x01\r")),
    (b'"\\x2fa"', TAIL, ENTRY),
    (b'"/\\xFf"', TAIL, ENTRY._replace(path=b"/\xff")),
    (b"L2F=", TAIL, ENTRY),
    (b"Ly8=", TAIL, ENTRY._replace(path=b"/", type="d")),
    (b'"/a"', TAIL[:-3], ENTRY._replace(apparent_size=None)),
    (b'"/a"', b"\t-0\t-0\t-00" + TAIL[6:], ENTRY._replace(size=0, uid=0, gid=0)),
    (b'"/a"', b"\t" + b"0" * 5000 + b"1" + TAIL[2:], ENTRY),
    (b'"/a"', TAIL.replace(b"f", b"Q"), ENTRY._replace(type="X")),
    (b'"/a"', TAIL.replace(b"f", b"c"), ENTRY._replace(type="c")),
]


@pytest.mark.parametrize("parse_line", [compiled_line, twin.parse_line])
@pytest.mark.parametrize(("path", "rest", "entry"), GOOD, ids=shortly)
def test_an_unusual_line_is_read(
    path: bytes, rest: bytes, entry: Entry, parse_line: Callable[[bytes], Entry | str | None]
) -> None:
    assert parse_line(path + rest) == entry


@pytest.mark.parametrize("parse_line", [compiled_line, twin.parse_line])
@pytest.mark.parametrize("code", [0, 0x7F, 0x80, 0x7FF, 0x800, 0xFFFF, 0x10000, 0x10FFFF], ids=hex)
def test_an_escaped_code_point_becomes_utf_8(
    code: int, parse_line: Callable[[bytes], Entry | str | None]
) -> None:
    escapes = [b"\\U%08x" % code, b"\\U%08X" % code, *[b"\\u%04x" % code] * (code < 0x10000)]
    for escape in escapes:
        entry = ENTRY._replace(path=b"/%b." % chr(code).encode("utf-8"))
        assert parse_line(b'"/%b."' % escape + TAIL) == entry


@pytest.mark.parametrize(
    ("before", "filling", "behind"),
    [
        (b'"/', b"a", b'"'),
        (b'"/', b"\\xff", b'"'),
        (b"L2Fh", b"YWFh", b""),
        (b"9q3W", b"a4RV", b""),
    ],
    ids=["literal", "escapes", "standard base64", "ordered base64"],
)
def test_a_line_of_65536_bytes_is_legal_and_one_of_65537_is_not(
    before: bytes, filling: bytes, behind: bytes
) -> None:
    room = 65_536 - len(before + behind + TAIL[2:]) - 2
    start = before + filling * (room // len(filling)) + behind + b"\t"
    digits = 65_536 - len(start) - len(TAIL[2:])
    longest = start + b"0" * (digits - 1) + b"1" + TAIL[2:]
    longer = start + b"0" * digits + b"1" + TAIL[2:]
    assert (len(longest), len(longer)) == (65_536, 65_537)
    for parse_line in (compiled_line, twin.parse_line):
        found = parse_line(longest)
        assert isinstance(found, Entry)
        assert found.size == 1
        assert parse_line(longer) == "longer than 65536 bytes"
    assert parse(longest + b"\n" + longer + b"\n") == expected(longest + b"\n" + longer + b"\n")


# Both parsers, and the writer.


@given(written)
@more
def test_entries_are_read_from_every_form_they_were_ever_written_in(
    lines: list[tuple[Entry, Callable[[Entry], bytes]]],
) -> None:
    text = text_of(lines)
    assert parse(text) == expected(text) == ([entry for entry, _ in lines], BadLines())


@given(entries)
@more
def test_a_line_written_reads_back_as_its_entry(entry: Entry) -> None:
    line = format_line(entry)
    assert line.count(b"\n") == 1
    assert compiled_line(line[:-1]) == entry


def test_a_line_without_an_apparent_size_has_11_columns() -> None:
    assert format_line(ENTRY) == b"\t".join(COLUMNS) + b"\n"
    assert format_line(ENTRY._replace(apparent_size=None)) == b"\t".join(COLUMNS[:-1]) + b"\n"


@given(odd_texts)
@more
def test_both_parsers_agree_on_odd_columns(text: bytes) -> None:
    assert parse(text) == expected(text)


@given(edited_texts())
@more
def test_both_parsers_agree_on_damaged_lines(text: bytes) -> None:
    assert parse(text) == expected(text)


@given(random_texts)
@more
def test_both_parsers_agree_on_any_bytes(text: bytes) -> None:
    assert parse(text) == expected(text)


@given(st.binary())
def test_what_is_quoted_prints_and_reads_back(name: bytes) -> None:
    quoted = quote(name)
    assert quoted.decode("utf-8").isprintable()
    line = b'"/%b."' % quoted + TAIL
    assert compiled_line(line) == twin.parse_line(line) == ENTRY._replace(path=b"/%b." % name)


@pytest.mark.parametrize("case", GO_QUOTE, ids=lambda case: case["name"])
def test_a_path_is_quoted_as_go_quotes_it(case: dict[str, str]) -> None:
    assert b'"%b"' % quote(bytes.fromhex(case["path_hex"])) == case["quoted"].encode("utf-8")


# Many lines.


def test_entries_and_bad_lines_of_a_block_keep_their_order_and_numbers() -> None:
    numbers = range(7_000, 7_100)
    text = b"".join(
        b"bad\n" if n % 5 == 0 else b"\n" if n % 7 == 0 else b'"/%d"' % n + TAIL + b"\n"
        for n in numbers
    )
    entries, bad = parse(text, 7_000)
    assert [entry.path for entry in entries] == [b"/%d" % n for n in numbers if n % 5 and n % 7]
    assert bad == BadLines(
        20, tuple(BadLine(n, "not 11 or 12 columns") for n in range(7_000, 7_050, 5))
    )


@pytest.mark.parametrize("count", [0, 1, 9, 10, 11, 1000])
def test_all_bad_lines_are_counted_and_the_first_are_shown(count: int) -> None:
    _, bad = parse(b"bad\n" * count)
    assert bad.count == count
    assert [line.number for line in bad.first] == list(range(1, count + 1))[:BAD_LINES_SHOWN]


def test_blank_lines_are_no_entries_and_not_bad() -> None:
    assert parse(b"\n" * 300) == ([], BadLines())


def test_an_empty_block_has_no_entries() -> None:
    assert parse(b"") == ([], BadLines())


def test_a_block_that_does_not_end_in_a_newline_is_refused() -> None:
    with pytest.raises(ValueError, match="must end in a newline"):
        parse(b'"/a"' + TAIL)
    with pytest.raises(ValueError, match="must end in a newline"):
        parse(b'"/a"' + TAIL + b"\n\r")


@given(texts)
@more
def test_each_entry_has_its_line_byte_for_byte_and_other_lines_are_nobodys(text: bytes) -> None:
    batch, _ = Parser().parse(block(text))
    lines = [line for line in text.split(b"\n") if isinstance(twin.parse_line(line), Entry)]
    assert [batch.line(i) for i in range(len(batch))] == [line + b"\n" for line in lines]


@given(st.lists(texts, min_size=2, max_size=4), st.integers(1, 2**40))
@more
def test_a_parser_remembers_nothing_of_the_blocks_before(blocks: list[bytes], line: int) -> None:
    parser = Parser()
    for text in blocks:
        batch, bad = parser.parse(block(text, line))
        assert (twin.entries(batch), bad) == expected(text, line)


# Nothing outside the arrays.


@given(texts)
@more
def test_nothing_outside_the_arrays_is_written(text: bytes) -> None:
    lines = text.count(b"\n")
    whole = np.frombuffer(bytearray(b"\xa5" * FENCE + text), np.uint8)
    numbers = Fenced(len(NUMBER_COLUMNS) * lines, np.int64)
    paths = Fenced(len(text), np.uint8)
    offsets = Fenced(lines + 1, np.int64)
    starts, ends = Fenced(lines, np.int64), Fenced(lines, np.int64)
    bad = Fenced(BAD_LINES_SHOWN * 2, np.int64)
    columns = numbers.items.reshape(len(NUMBER_COLUMNS), lines)
    found, bad_count = loops.parse_lines(
        *(whole[FENCE:], len(text), columns, paths.items, offsets.items, starts.items, ends.items),
        bad.items.reshape(BAD_LINES_SHOWN, 2),
    )
    assert whole.tobytes() == b"\xa5" * FENCE + text
    assert all(array.stands() for array in (numbers, paths, offsets, starts, ends, bad))
    batch = Batch(
        *(columns[:, :found], paths.items, offsets.items[: found + 1]),
        *(whole[FENCE:], starts.items[:found], ends.items[:found]),
    )
    entries, reasons = expected(text)
    assert (twin.entries(batch), bad_count) == (entries, reasons.count)


@given(texts, texts)
@more
def test_what_stands_behind_a_block_is_not_read(text: bytes, behind: bytes) -> None:
    raw = np.frombuffer(bytearray(text + behind), np.uint8)
    batch, bad = Parser().parse(Block(raw, len(text), 1, text.count(b"\n")))
    assert (twin.entries(batch), bad) == expected(text)


# Cutting a text into blocks.


def plain_cut(text: bytes, block_lines: int, most: int = 0) -> tuple[int, int]:
    ends = [i + 1 for i, byte in enumerate(text) if byte == loops.NEWLINE]
    blocks = min(len(ends) // block_lines, most or len(ends))
    return blocks, ends[blocks * block_lines - 1] if blocks else 0


around_a_window = st.sampled_from([n + more for n in (224, 448, 672) for more in range(-2, 3)])
runs = st.lists(
    st.integers(0, 500).map(lambda n: b"x" * n + b"\n")
    | st.integers(0, 500).map(lambda n: b"\n" * n)
    | around_a_window.map(lambda n: b"\n" * n)
    | around_a_window.map(lambda n: b"x" * n)
    | st.binary(max_size=20),
    max_size=8,
).map(b"".join)


@given(runs, runs, st.integers(1, 300) | st.integers(222, 226) | st.just(1), st.integers(0, 5))
@more
def test_a_text_is_cut_where_a_plain_loop_cuts_it(
    text: bytes, behind: bytes, block_lines: int, most: int
) -> None:
    raw = np.frombuffer(bytearray(text + behind), np.uint8)
    plain = plain_cut(text, block_lines, most)
    assert loops.cut_blocks(raw, len(text), block_lines, most) == plain
    assert loops.cut_blocks(raw[: len(text)], len(text), block_lines, most) == plain


@pytest.mark.parametrize("block_lines", [1, 2, 223, 224, 225, 300])
@pytest.mark.parametrize("size", [0, 1, 223, 224, 225, 447, 448, 449, 900])
def test_a_text_of_newlines_or_without_one_is_cut_where_a_plain_loop_cuts_it(
    size: int, block_lines: int
) -> None:
    for text in (b"\n" * size, b"x" * size, b"x" * size + b"\n", b"\n" + b"x" * size):
        raw = np.frombuffer(bytearray(text), np.uint8)
        assert loops.cut_blocks(raw, len(text), block_lines, 0) == plain_cut(text, block_lines)


# The same where every index is checked.


@compiled
def item(items: NDArray[np.int64], index: int) -> int:
    return int(items[index])


def test_an_index_outside_an_array_is_an_error_only_where_numba_checks_it() -> None:
    items = np.arange(8)
    if os.environ.get("NUMBA_BOUNDSCHECK") == "1":
        with pytest.raises(IndexError):
            item(items[:4], 4)
    else:
        assert item(items[:4], 4) == 4


def test_no_index_is_outside_its_array(tmp_path: Path) -> None:
    properties = (
        test_an_index_outside_an_array_is_an_error_only_where_numba_checks_it,
        test_entries_are_read_from_every_form_they_were_ever_written_in,
        test_both_parsers_agree_on_odd_columns,
        test_both_parsers_agree_on_damaged_lines,
        test_both_parsers_agree_on_any_bytes,
        test_nothing_outside_the_arrays_is_written,
        test_a_text_is_cut_where_a_plain_loop_cuts_it,
    )
    checked = {"NUMBA_BOUNDSCHECK": "1", "NUMBA_CACHE_DIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"]
        + [f"{__file__}::{test.__name__}" for test in properties],
        env=os.environ | checked,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert f" {len(properties)} passed" in run.stdout
