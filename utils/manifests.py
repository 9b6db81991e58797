"""
Manifests: what a unit consists of, a line per entry, so that a copy explains itself.

JSON Lines in gzip. First a line about the unit; then the entries, in the order of their paths'
components; last a line that tells that this is all. Names are in the text form of paths, values of
extended attributes in base64. docs/restore.py reads it with nothing but Python's own library.

The first line is a gzip member of its own, not compressed, of a length that does not depend on the
counts in it: it is written again once they are known.
"""

import gzip
import hashlib
import json
import os
import re
import secrets
import zlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime
from itertools import islice
from operator import itemgetter
from pathlib import Path
from typing import IO, Any, NamedTuple, cast, get_args

from isal import igzip, igzip_lib

from lurge_types.archive import Course, Entry, Fingerprint, Header, Segment
from utils.durable import sync_folder
from utils.handles import PathRefused, see_below
from utils.paths import raw, text
from utils.trees import order

FORMAT = 1
LONGEST_LINE = 1 << 22
"""Bytes. The longest path, link, attributes and extents that a tree gives fit."""

MOST_AT_A_TIME = 1000
"""Lines that are compressed at a time."""

READ_BYTES = 1 << 18
LEVEL = 1
"""isal's; 2 makes files smaller by an eighth and takes twice as long."""

LARGEST = (1 << 64) - 1
FARTHEST = 1 << 94
"""Nanoseconds: a filesystem may have 64 bits for seconds."""

INTEGERS = {int}
MOST_MODE = 0o7777
KINDS = frozenset("fdlsbcF")
SHA256 = re.compile("[0-9a-f]{64}", re.ASCII).fullmatch
MD5 = re.compile("[0-9a-f]{32}", re.ASCII).fullmatch
KEY = re.compile("[!-~]{1,1000}", re.ASCII).fullmatch
NUMBERS = ("size", "device", "inode", "uid", "gid")
TIMES = ("mtime_ns", "ctime_ns", "atime_ns")
NUMBERS_OF = itemgetter(*NUMBERS)
TIMES_OF = itemgetter(*TIMES)
MUST = frozenset({"path", "kind", "mode", *NUMBERS, *TIMES})


class ManifestBroken(Exception):
    """A manifest is cut short, damaged, or not one: which line, and why."""


class ManifestUnknown(ManifestBroken):
    """A manifest has a format of which only a newer Lurge knows: which."""


class EntryTooLarge(Exception):
    """An entry needs a longer line than a manifest may have: which."""


class Written(NamedTuple):
    """
    A manifest that was written.

    sha256, size_bytes: of the file. files: each inode once, as their bytes, content_bytes.
    """

    sha256: str
    size_bytes: int
    entries: int
    files: int
    content_bytes: int


class _Counts:
    def __init__(self) -> None:
        self.entries = 0
        self.files = 0
        self.size_bytes = 0

    def watch(self, entries: Iterable[Entry]) -> Iterator[Entry]:
        for entry in entries:
            self.entries += 1
            if entry.has_bytes:
                self.files += 1
                self.size_bytes += entry.fingerprint.size
            yield entry

    def fill(self, header: Header) -> Header:
        return replace(header, entries=self.entries, files=self.files, size_bytes=self.size_bytes)


def write(file: Path, header: Header, entries: Iterable[Entry]) -> Written:
    """
    Write a manifest whole or not at all, and durably; one that is there is replaced.

    entries: sorted by `trees.order`. The counts in the header are made here.
    Raises EntryTooLarge, ValueError where paths are not sorted, OSError, and what `entries` does.
    """
    other = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    counts = _Counts()
    try:
        with other.open("x+b") as opened:
            length = opened.write(_first_member(header))
            _write_entries(opened, counts.watch(_sorted(entries)))
            opened.seek(0)
            assert opened.write(_first_member(counts.fill(header))) == length  # noqa: S101
            opened.flush()
            os.fsync(opened.fileno())
            opened.seek(0)
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
            size = os.fstat(opened.fileno()).st_size
        other.rename(file)
    except BaseException:
        other.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    return Written(sha256, size, counts.entries, counts.files, counts.size_bytes)


def digest(file: Path) -> str:
    """The SHA-256 of a file, in hexadecimal. Raises OSError."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def read(file: IO[bytes]) -> tuple[Header, Iterator[Entry]]:
    """
    The header of an open manifest, and its entries, which are read as they are asked for.

    Paths are sorted and lead nowhere but below the root. That the manifest is whole is known only
    when the last entry was given. Raises ManifestBroken, and so do the entries.
    """
    lines = _lines(file)
    try:
        first = next(lines)
    except StopIteration:
        raise ManifestBroken("the manifest has no line: get it again") from None
    header = parse_header(first)
    return header, _entries(header, lines)


def format_header(header: Header) -> bytes:
    """The first line, without its end; as long for other counts."""
    form = {
        "manifest": FORMAT,
        "unit": header.unit,
        "kind": header.kind,
        "volume": header.volume,
        "root": text(header.root),
        "planned_at": header.planned_at.isoformat(),
        "target": header.target,
        "run": header.run,
        "course": header.course,
        "targets": header.targets,
        "subject": header.subject,
        "token": header.token,
        "round": header.round,
        "entries": header.entries,
        "files": header.files,
        "size_bytes": header.size_bytes,
    }
    digits = sum(len(str(count)) for count in (header.entries, header.files, header.size_bytes))
    return _json(form) + b" " * (3 * len(str(LARGEST)) - digits)


def parse_header(line: bytes) -> Header:
    """Its twin. Raises ManifestBroken."""
    try:
        form = json.loads(line)
        if form["manifest"] != FORMAT:
            raise _unknown(form["manifest"])
        if form["kind"] not in {"directory", "files"}:
            raise ValueError(f"{form['kind']!r} is no kind of a unit")  # noqa: TRY301
        return Header(
            unit=_str(form["unit"]),
            kind=form["kind"],
            volume=_str(form["volume"]),
            root=_root(form["root"]),
            entries=_number(form["entries"]),
            files=_number(form["files"]),
            size_bytes=_number(form["size_bytes"]),
            planned_at=datetime.fromisoformat(form["planned_at"]),
            target=_str_or_none(form["target"]),
            run=_str_or_none(form["run"]),
            course=_course(form["course"]),
            targets=tuple(map(_str, form["targets"])),
            subject=_str_or_none(form["subject"]),
            token=_number(form.get("token", 0)),
            round=_number(form.get("round", 0)),
        )
    except (ValueError, KeyError, TypeError, RecursionError, PathRefused) as error:
        raise ManifestBroken(f"line 1 tells of no unit: {_reason(error)}") from error


def _unknown(format_: object) -> ManifestBroken:
    if type(format_) is int and format_ > FORMAT:
        return ManifestUnknown(f"the manifest has format {format_}: use a newer Lurge")
    return ManifestBroken(f"the manifest has format {format_!r}, which there never was")


def format_entry(entry: Entry) -> bytes:
    """The line of an entry, without its end. Raises EntryTooLarge."""
    known = entry.fingerprint
    form: dict[str, Any] = {
        "path": text(entry.path),
        "kind": known.kind,
        "size": known.size,
        "mode": f"{entry.mode:04o}",
        "uid": entry.uid,
        "gid": entry.gid,
        "mtime_ns": known.mtime_ns,
        "ctime_ns": known.ctime_ns,
        "atime_ns": entry.atime_ns,
        "device": known.device,
        "inode": known.inode,
    }
    form.update(_further(entry))
    line = _json(form)
    if len(line) >= LONGEST_LINE:
        raise EntryTooLarge(
            f"{text(entry.path)} needs {len(line)} bytes in a manifest, where {LONGEST_LINE} are "
            "allowed: larger segments are fewer"
        )
    return line


def _further(entry: Entry) -> Iterator[tuple[str, Any]]:
    """What an entry may have and most have not."""
    if entry.links != 1:
        yield "links", entry.links
    if entry.rdev:
        yield "rdev", entry.rdev
    if entry.link is not None:
        yield "link", text(entry.link)
    if entry.same_as is not None:
        yield "same_as", text(entry.same_as)
    if entry.attributes:
        yield (
            "attributes",
            [(text(name), b64encode(value).decode("ascii")) for name, value in entry.attributes],
        )
    if entry.extents is not None:
        yield "extents", entry.extents
    if entry.segments:
        yield "segments", entry.segments
    if entry.key is not None:
        yield "key", entry.key
    if entry.offset:
        yield "offset", entry.offset


def parse_entry(line: bytes) -> Entry:
    """Its twin. Raises ManifestBroken."""
    try:
        return _entry(json.loads(line.decode("ascii")))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, PathRefused) as error:
        raise ManifestBroken(f"is no entry: {_reason(error)}") from error


def format_end(entries: int) -> bytes:
    """The last line, without its end."""
    return _json({"whole": True, "entries": entries})


def parse_end(line: bytes) -> int | None:
    """How many entries the last line tells of; None of any other line."""
    if not line.startswith(b'{"whole"'):
        return None
    try:
        return _number(json.loads(line)["entries"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ManifestBroken(f"the last line is damaged: {_reason(error)}") from error


def _write_entries(file: IO[bytes], entries: Iterator[Entry]) -> None:
    count = 0
    with igzip.IGzipFile("", "wb", LEVEL, file, mtime=0) as zipped:
        while some := [format_entry(entry) for entry in islice(entries, MOST_AT_A_TIME)]:
            count += len(some)
            zipped.write(b"\n".join(some) + b"\n")
        zipped.write(format_end(count) + b"\n")


def _first_member(header: Header) -> bytes:
    line = format_header(header) + b"\n"
    if len(line) > LONGEST_LINE:
        raise EntryTooLarge(f"{text(header.root)[:100]}... is too long for a manifest")
    packed = zlib.compressobj(0, wbits=16 + zlib.MAX_WBITS)
    return packed.compress(line) + packed.flush()


def _sorted(entries: Iterable[Entry]) -> Iterator[Entry]:
    last: bytes | None = None
    for entry in entries:
        if last is not None and order(entry.path) <= last:
            raise ValueError(f"{text(entry.path)} is not sorted")
        last = order(entry.path)
        yield entry


def _entries(header: Header, lines: Iterator[bytes]) -> Iterator[Entry]:
    counts = _Counts()
    yield from counts.watch(_parsed(lines))
    if counts.fill(header) != header:
        raise ManifestBroken(
            f"the manifest has {counts.entries} entries, {counts.files} files and "
            f"{counts.size_bytes} bytes, and tells of others: get it again"
        )


def _parsed(lines: Iterator[bytes]) -> Iterator[Entry]:
    """The entries up to the last line, and behind that nothing."""
    last: bytes | None = None
    for number, line in enumerate(lines, 2):
        count = parse_end(line)
        if count is not None:
            if count != number - 2 or next(lines, None) is not None:
                raise ManifestBroken(f"line {number} says that it is the end, which is not so")
            return
        try:
            entry = parse_entry(line)
        except ManifestBroken as error:
            raise ManifestBroken(f"line {number} {error}") from error
        here = order(entry.path)
        if last is not None and here <= last:
            raise ManifestBroken(f"line {number} is not sorted")
        last = here
        yield entry
    raise ManifestBroken("the manifest is cut short: get it again")


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Whole lines, without their ends. Raises ManifestBroken."""
    rest = b""
    for chunk in _chunks(file):
        lines = chunk.split(b"\n")
        lines[0] = rest + lines[0]
        rest = lines.pop()
        if len(rest) > LONGEST_LINE:
            raise ManifestBroken(f"a line has more than {LONGEST_LINE} bytes")
        yield from lines
    if rest:
        raise ManifestBroken("the manifest is cut short in a line: get it again")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    unzipped: Any = igzip.IGzipFile("", "rb", fileobj=file)
    while chunk := _inflated(unzipped):
        yield chunk


def _inflated(unzipped: Any) -> bytes:
    try:
        return bytes(unzipped.read1(READ_BYTES))
    except EOFError as error:
        raise ManifestBroken("the manifest is cut short: get it again") from error
    except (gzip.BadGzipFile, igzip_lib.IsalError) as error:  # type: ignore[misc]  # its stub
        raise ManifestBroken(f"the manifest is damaged ({error}): get it again") from error


def _entry(form: dict[str, Any]) -> Entry:
    size, device, inode, uid, gid = _within(NUMBERS_OF(form), 0, LARGEST)
    mtime_ns, ctime_ns, atime_ns = _within(TIMES_OF(form), -FARTHEST, FARTHEST)
    path, kind, mode = raw(form["path"]), form["kind"], int(form["mode"], 8)
    see_below(path)
    if kind not in KINDS or not 0 <= mode <= MOST_MODE:
        raise ValueError(f"kind {kind!r} or mode {form['mode']!r} is none")
    if (kind == "l") != ("link" in form):
        raise ValueError("a symbolic link leads nowhere, or something else leads somewhere")
    entry = Entry(
        path,
        Fingerprint(device, inode, kind, size, mtime_ns, ctime_ns),
        mode,
        uid,
        gid,
        atime_ns,
        **{name: FURTHER[name](form[name]) for name in form.keys() - MUST},
    )
    _see_sound(entry)
    return entry


def _see_sound(entry: Entry) -> None:
    """See that what was read fits together."""
    size = entry.fingerprint.size
    if entry.same_as is not None and order(entry.same_as) >= order(entry.path):
        raise ValueError("a further name comes before the first one")
    if entry.segments and sum([segment.size for segment in entry.segments]) != size:
        raise ValueError("segments are not of the file's size")
    if entry.extents and sum(entry.extents[-1]) > size:
        raise ValueError("extents go beyond the end")


def _number(value: Any) -> int:
    if type(value) is int and 0 <= value <= LARGEST:
        return value
    raise ValueError("a number is none, or out of range")


def _within(values: tuple[Any, ...], least: int, most: int) -> tuple[int, ...]:
    if set(map(type, values)) == INTEGERS and least <= min(values) and max(values) <= most:
        return values
    raise ValueError("a number is none, or out of range")


def _str(value: object) -> str:
    if isinstance(value, str):
        return value
    raise ValueError("a text is none")


def _str_or_none(value: object) -> str | None:
    return None if value is None else _str(value)


def _course(value: object) -> Course | None:
    if value is None or value in get_args(Course):
        return cast("Course | None", value)
    raise ValueError(f"{value!r} is no course of a run")


def _root(form: object) -> bytes:
    path = raw(_str(form))
    if not path.startswith(b"/"):
        raise ValueError("the root is not absolute")
    see_below(path[1:])
    return path


def _word(form: object) -> bytes:
    word = raw(_str(form))
    if not word or b"\0" in word:
        raise ValueError("a link or an attribute has no name")
    return word


def _same_as(form: object) -> bytes:
    same_as = raw(_str(form))
    see_below(same_as)
    return same_as


def _attributes(form: list[tuple[object, object]]) -> tuple[tuple[bytes, bytes], ...]:
    return tuple((_word(name), b64decode(_str(value), validate=True)) for name, value in form)


def _extents(form: list[tuple[Any, Any]]) -> tuple[tuple[int, int], ...]:
    end = 0
    for start, length in form:
        if _number(start) < end or _number(length) < 1:
            raise ValueError("extents are not ascending")
        end = start + length
    return tuple((start, length) for start, length in form)


def _segments(form: list[Any]) -> tuple[Segment, ...]:
    segments = tuple([Segment(*each) for each in form])
    for size, sha256, md5 in segments:
        _number(size)
        if not SHA256(sha256) or not (md5 is None or MD5(md5)):
            raise ValueError("a digest is none")
    return segments


def _key(form: str) -> str:
    """As a path below where the objects are, it must not leave that."""
    if not KEY(form):
        raise ValueError("a key has characters that no key has")
    see_below(form.encode("ascii"))
    return form


FURTHER: dict[str, Callable[[Any], Any]] = {
    "links": _number,
    "rdev": _number,
    "link": _word,
    "same_as": _same_as,
    "attributes": _attributes,
    "extents": _extents,
    "segments": _segments,
    "key": _key,
    "offset": _number,
}
"""How what an entry may have is read."""


def _json(form: object) -> bytes:
    return ENCODE(form).encode("ascii")


ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def _reason(error: BaseException) -> str:
    return f"{error} is missing or unknown" if isinstance(error, KeyError) else str(error)
