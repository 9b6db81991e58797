"""A manifest holds what was written, whatever the names; one that is not whole is refused."""

import gzip
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge_types.archive import Entry, Fingerprint, Header, Segment
from utils import manifests
from utils.manifests import (
    EntryTooLarge,
    ManifestBroken,
    ManifestUnknown,
    format_entry,
    format_header,
    parse_entry,
    parse_header,
    read,
    write,
)
from utils.trees import order

HEADER = Header(
    "0123456789ab-000001",
    "directory",
    "s1",
    b"/lustre/\xff\n",
    datetime(2026, 1, 2, tzinfo=UTC),
    token=3,
    round=1,
)
PRINT = Fingerprint(64768, 12, "f", 3, 1_700_000_000_123_456_789, -1)
FILE = Entry(b"file", PRINT, 0o644, 6, 7, 8)
SHA256 = "ab" * 32

names = st.binary(min_size=1, max_size=20).filter(
    lambda name: name not in {b".", b".."} and not {0, 47} & set(name)
)
paths = st.lists(names, min_size=1, max_size=4).map(b"/".join)
counts = st.integers(0, 2**64 - 1)
sizes = st.integers(0, 2**60)  # five of them are a header's sum
times = st.integers(-(2**80), 2**80)
segments = st.lists(
    st.builds(Segment, st.integers(0, 2**40), st.just(SHA256), st.none() | st.just("cd" * 16)),
    max_size=3,
).map(tuple)
attributes = st.dictionaries(names, st.binary(max_size=50), max_size=3).map(
    lambda each: tuple(sorted(each.items()))
)


@st.composite
def made_up(draw: st.DrawFn) -> Entry:
    kind = draw(st.sampled_from("fdlsbcF"))
    parts = draw(segments) if kind == "f" else ()
    size = sum(part.size for part in parts) if parts else draw(sizes)
    known = Fingerprint(draw(counts), draw(counts), kind, size, draw(times), draw(times))
    path = draw(paths)
    return Entry(
        path,
        known,
        mode=draw(st.integers(0, 0o7777)),
        uid=draw(counts),
        gid=draw(counts),
        atime_ns=draw(times),
        links=draw(counts),
        rdev=draw(counts),
        link=draw(names) if kind == "l" else None,
        same_as=draw(st.none() | paths.filter(lambda first: order(first) < order(path))),
        attributes=draw(attributes),
        extents=draw(st.sampled_from([None, (), ((0, 1),), ((1, 1), (2, 1))]))
        if size > 2
        else None,
        segments=parts,
        key=draw(st.sampled_from([None, "a/b", "data/%0A~x"])),
        offset=draw(counts),
    )


def written(folder: Path, entries: Iterable[Entry]) -> bytes:
    write(folder / "manifest.gz", HEADER, entries)
    return (folder / "manifest.gz").read_bytes()


def whole(content: bytes) -> tuple[Header, list[Entry]]:
    header, entries = read(BytesIO(content))
    return header, list(entries)


def from_lines(*lines: bytes) -> bytes:
    return gzip.compress(b"".join(line + b"\n" for line in lines))


@given(made_up())
def test_an_entry_is_read_as_it_was_written(entry: Entry) -> None:
    assert parse_entry(format_entry(entry)) == entry


@given(st.lists(made_up(), max_size=5, unique_by=lambda entry: entry.path))
def test_a_manifest_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    entries.sort(key=lambda entry: order(entry.path))
    folder = tmp_path_factory.mktemp("manifests")
    done = write(folder / "m", HEADER, entries)
    files = [entry.fingerprint.size for entry in entries if entry.has_bytes]
    filled = (len(entries), len(files), sum(files))
    assert (done.entries, done.files, done.content_bytes) == filled
    assert done.sha256 == manifests.digest(folder / "m")
    assert done.size_bytes == (folder / "m").stat().st_size
    header, read_back = whole((folder / "m").read_bytes())
    assert read_back == entries
    assert header == replace(HEADER, entries=filled[0], files=filled[1], size_bytes=filled[2])
    assert parse_header(format_header(header)) == header


def test_lines_are_json_for_whoever_has_nothing_else(tmp_path: Path) -> None:
    first, line, last = gzip.decompress(written(tmp_path, [FILE])).splitlines()
    assert json.loads(first)["root"] == "/lustre/\\xff\\n"
    assert json.loads(line)["mode"] == "0644"
    assert json.loads(last) == {"whole": True, "entries": 1}


def test_the_same_manifest_has_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    assert written(tmp_path, [FILE]) == written(tmp_path / "other", [FILE])


def test_a_manifest_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    def breaks_off() -> Iterator[Entry]:
        yield FILE
        raise KeyboardInterrupt

    before = written(tmp_path, [FILE])
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path, breaks_off())
    with pytest.raises(ValueError, match="not sorted"):
        written(tmp_path, [FILE, FILE])
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [before]


def test_a_truncated_manifest_is_refused(tmp_path: Path) -> None:
    content = written(tmp_path, [replace(FILE, path=b"%d" % number) for number in range(3)])
    for length in range(len(content)):
        with pytest.raises(ManifestBroken):
            whole(content[:length])


def test_a_damaged_manifest_is_refused_or_tells_the_same(tmp_path: Path) -> None:
    """A few bits mean nothing: such as by which system it was compressed."""
    content = written(tmp_path, [FILE])
    refused = 0
    for at in range(8 * len(content)):
        damaged = bytearray(content)
        damaged[at // 8] ^= 1 << at % 8
        try:
            assert whole(bytes(damaged)) == whole(content)
        except ManifestBroken:
            refused += 1
    assert refused > 8 * (len(content) - 30)


ENTRY = json.loads(format_entry(FILE))
END = manifests.format_end(1)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([END, END], "which is not so"),
        ([manifests.format_end(2)], "which is not so"),
        ([], "cut short"),
        ([format_entry(FILE), END], "not sorted"),
        ([END, format_entry(FILE)], "which is not so"),
        ([b"x" * manifests.LONGEST_LINE, b"x"], "is no entry"),
        ([b"[" * 1_000_000], "is no entry"),
        ([b"7"], "is no entry"),
        ([b""], "is no entry"),
        ([b'{"whole":1}'], "damaged"),
    ],
)
def test_lines_that_make_no_manifest_are_refused(lines: list[bytes], why: str) -> None:
    header = replace(HEADER, entries=1, files=1, size_bytes=3)
    with pytest.raises(ManifestBroken, match=why):
        whole(from_lines(format_header(header), format_entry(FILE), *lines))


def test_a_line_without_end_takes_no_memory_without_end() -> None:
    with pytest.raises(ManifestBroken, match="a line has more than"):
        whole(from_lines(format_header(HEADER), b" " * (2 * manifests.LONGEST_LINE)))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("path", "../up"),
        ("path", "/etc"),
        ("path", "a//b"),
        ("path", "a/"),
        ("path", "."),
        ("path", "nul\\x00"),
        ("path", 7),
        ("kind", "x"),
        ("kind", "l"),
        ("kind", []),
        ("mode", "10000"),
        ("mode", "-1"),
        ("mode", 420),
        ("size", -1),
        ("size", 1.0),
        ("size", True),
        ("size", 10**30),
        ("uid", None),
        ("mtime_ns", "0"),
        ("mtime_ns", 1 << 100),
        ("link", "x"),
        ("same_as", "z"),
        ("same_as", "../a"),
        ("attributes", {"a": "b"}),
        ("attributes", [["a", "not base64"]]),
        ("attributes", [["", ""]]),
        ("extents", [[0, 4]]),
        ("extents", [[1, 1], [0, 1]]),
        ("extents", [[0, 0]]),
        ("extents", 7),
        ("segments", [[3, "ab", None]]),
        ("segments", [[2, SHA256, None]]),
        ("segments", [[-3, SHA256, None], [6, SHA256, None]]),
        ("segments", [[3, SHA256]]),
        ("key", "../../etc/passwd"),
        ("key", "/etc/passwd"),
        ("key", "a\nb"),
        ("key", "k" * 1001),
        ("offset", -1),
        ("unheard_of", 1),
    ],
)
def test_a_hostile_entry_is_refused(key: str, value: Any) -> None:
    with pytest.raises(ManifestBroken, match="line 2 is no entry"):
        whole(from_lines(format_header(HEADER), json.dumps(ENTRY | {key: value}).encode(), END))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("manifest", "2"),
        ("kind", "other"),
        ("root", "lustre"),
        ("root", "/a/../b"),
        ("unit", 7),
        ("entries", -1),
        ("planned_at", "yesterday"),
        ("target", 7),
        ("token", -1),
        ("round", "1"),
    ],
)
def test_a_hostile_header_is_refused(key: str, value: Any) -> None:
    form = json.loads(format_header(HEADER))
    with pytest.raises(ManifestBroken):
        read(BytesIO(from_lines(json.dumps(form | {key: value}).encode())))


def test_a_header_of_before_there_were_rounds_is_read() -> None:
    form = json.loads(format_header(HEADER))
    del form["token"], form["round"]
    assert parse_header(json.dumps(form).encode()) == replace(HEADER, token=0, round=0)


def test_a_format_that_is_to_come_is_told_from_damage() -> None:
    form = json.loads(format_header(HEADER)) | {"manifest": 2, "kind": "other"}
    with pytest.raises(ManifestUnknown, match="format 2: use a newer Lurge"):
        parse_header(json.dumps(form).encode())


def test_counts_that_are_not_those_of_the_entries_are_refused() -> None:
    with pytest.raises(ManifestBroken, match="tells of others"):
        whole(from_lines(format_header(HEADER), format_entry(FILE), END))


def test_an_entry_of_too_many_segments_is_refused() -> None:
    many = (Segment(1, SHA256, None),) * 100_000
    with pytest.raises(EntryTooLarge, match="larger segments"):
        format_entry(replace(FILE, segments=many))


def test_what_reads_a_manifest_holds_one_piece_of_it(tmp_path: Path) -> None:
    """The rest of the file is read only when its entries are asked for."""
    random = (
        replace(FILE, path=b"%08d" % number, attributes=((b"a", os.urandom(1000)),))
        for number in range(3000)
    )
    written(tmp_path, random)
    with (tmp_path / "manifest.gz").open("rb") as file:
        _, entries = read(file)
        next(entries)
        assert file.tell() < (tmp_path / "manifest.gz").stat().st_size / 2
        assert sum(1 for _ in entries) == 2999
