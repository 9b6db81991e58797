"""A scan's file is handed out whole, line for line, or not at all."""

import gzip
import hashlib
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import pairwise
from operator import mul
from pathlib import Path

import children
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lurge_types.scans import BadLine, BadLines
from utils.scanfile import HANDOVER, ScanChanged, ScanFile, ScanUnreadable, buffer
from utils.wrstat_loops import LONGEST_LINE

MANY = 100_003

# What was read of a file: for each block where it begins, its lines, and its text.
Blocks = list[tuple[int, int, bytes]]


def lines(count: int) -> bytes:
    return b"".join(b"line %d\n" % number for number in range(1, count + 1))


def packed(*members: bytes) -> bytes:
    return b"".join(gzip.compress(member, 1, mtime=0) for member in members)


def written(path: Path, text: bytes) -> Path:
    """A file of the text, in two members if it is a gzip file, that was written a while ago."""
    half = len(text) // 2
    path.write_bytes(packed(text[:half], text[half:]) if path.suffix == ".gz" else text)
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


def blocks_of(file: ScanFile, block_lines: int) -> Blocks:
    into = buffer(block_lines)
    blocks = []
    while block := file.read(into):
        blocks.append((block.first_line, block.lines, block.raw[: block.length].tobytes()))
    return blocks


def read(path: Path, block_lines: int = 250) -> tuple[Blocks, BadLines]:
    with closing(ScanFile(path, block_lines)) as file:
        return blocks_of(file, block_lines), file.unended


def text_of(blocks: Blocks) -> bytes:
    return b"".join(text for _, _, text in blocks)


def numbered(blocks: Blocks) -> bool:
    """Whether each block says of itself where it begins and how many lines it has."""
    first_line = 1
    for block in blocks:
        if block[:2] != (first_line, block[2].count(b"\n")):
            return False
        first_line += block[1]
    return True


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scans")


# Blocks.


@pytest.mark.parametrize("name", ["plain.stats", "zipped.stats.gz"])
@pytest.mark.parametrize("block_lines", [1, 7, 250])
@pytest.mark.parametrize("count", [0, 1, 249, 250, 251, 500, MANY])
def test_blocks_are_of_whole_lines_and_only_the_last_is_shorter(
    count: int, block_lines: int, name: str, tmp_path: Path
) -> None:
    blocks, unended = read(written(tmp_path / name, lines(count)), block_lines)
    assert text_of(blocks) == lines(count)
    assert numbered(blocks)
    assert all(block[1] and block[1] % block_lines == 0 for block in blocks[:-1])
    assert sum(block[1] for block in blocks) == count
    assert unended == BadLines()


def test_no_more_is_handed_out_at_a_time_than_a_cache_holds(tmp_path: Path) -> None:
    blocks, _ = read(written(tmp_path / "plain.stats", lines(MANY) * 5))
    longest = max(len(text) for _, _, text in blocks)
    assert HANDOVER // 2 < longest <= 2 * HANDOVER


runs_of_lines = st.lists(
    st.tuples(st.integers(0, 300) | st.integers(0, LONGEST_LINE), st.integers(0, 3_000)).map(
        lambda run: (b"x" * run[0] + b"\n") * min(run[1], 2 * HANDOVER // (run[0] + 1))
    )
    | st.binary(max_size=50),
    max_size=6,
).map(b"".join)
texts = st.binary(max_size=500) | st.text("ab\n").map(str.encode) | runs_of_lines


@given(texts, st.sampled_from([1, 2, 7, 250]), st.lists(st.floats(0, 1), max_size=3), st.booleans())
@settings(deadline=None)
def test_the_blocks_of_any_text_are_the_text(
    folder: Path, text: bytes, block_lines: int, cuts: list[float], zipped: bool
) -> None:
    ends = [0, *sorted(int(cut * len(text)) for cut in cuts), len(text)]
    members = [text[start:end] for start, end in pairwise(ends)]
    path = folder / ("any.stats.gz" if zipped else "any.stats")
    path.write_bytes(packed(*members) if zipped else text)
    blocks, unended = read(path, block_lines)
    whole, newline, rest = text.rpartition(b"\n")
    assert text_of(blocks) == whole + newline
    assert numbered(blocks)
    assert all(block[1] % block_lines == 0 for block in blocks[:-1])
    assert unended.count == bool(rest)


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_that_share_a_file_get_every_block_once(threads: int, tmp_path: Path) -> None:
    text = lines(MANY) * 4
    path = written(tmp_path / "zipped.stats.gz", text)
    with closing(ScanFile(path, 7)) as file, ThreadPoolExecutor(threads) as team:
        shares = list(team.map(blocks_of, [file] * threads, [7] * threads))
        assert file.lines == 4 * MANY
    blocks = sorted(block for share in shares for block in share)
    assert text_of(blocks) == text
    assert numbered(blocks)
    assert all(block[1] % 7 == 0 for block in blocks[:-1])


@pytest.mark.parametrize("text", [b"", b"a\n", b"a\nb", lines(MANY)])
def test_behind_the_end_nothing_more_is_read(text: bytes, tmp_path: Path) -> None:
    with closing(ScanFile(written(tmp_path / "plain.stats", text), 2)) as file:
        blocks_of(file, 2)
        unended = file.unended
        assert blocks_of(file, 2) == blocks_of(file, 2) == []
        assert file.unended == unended


@pytest.mark.parametrize("name", ["plain.stats", "zipped.stats.gz"])
def test_the_position_grows_from_nothing_to_the_size_on_the_disk(name: str, tmp_path: Path) -> None:
    path = written(tmp_path / name, lines(MANY) * 8)
    into = buffer(250)
    with closing(ScanFile(path, 250)) as file:
        positions = [file.position]
        while file.read(into):
            positions.append(file.position)
        assert file.size == path.stat().st_size
    assert positions[0] == 0
    assert positions == sorted(positions)
    assert positions[-1] == path.stat().st_size
    assert len(set(positions)) > 2


# Lines that are bad before they are read.


@pytest.mark.parametrize("whole", [0, 1, 249, 250, 251, MANY])
@pytest.mark.parametrize("name", ["plain.stats", "zipped.stats.gz"])
def test_a_last_line_without_its_newline_is_a_bad_line(
    name: str, whole: int, tmp_path: Path
) -> None:
    blocks, unended = read(written(tmp_path / name, lines(whole) + b"unended"))
    assert text_of(blocks) == lines(whole)
    assert unended == BadLines(1, (BadLine(whole + 1, "the file ends within this line"),))


def same_line(given: bytes, read: bytes) -> bool:
    """Whether a line is as it was, or too long to be read now as then."""
    return given == read or (len(given) >= len(read) > LONGEST_LINE and given.startswith(read))


@pytest.mark.parametrize("block_lines", [1, 3, 250])
@pytest.mark.parametrize("length", [LONGEST_LINE + more for more in (-1, 0, 1, 2)] + [5 * HANDOVER])
@pytest.mark.parametrize("count", [1, 4])
def test_long_lines_neither_get_lost_nor_legal(
    count: int, length: int, block_lines: int, tmp_path: Path
) -> None:
    text = (b"before\n" + b"x" * length + b"\nbehind\n") * count + b"y" * length + b"\n" + lines(50)
    blocks, unended = read(written(tmp_path / "long.stats", text), block_lines)
    given, found = text.split(b"\n"), text_of(blocks).split(b"\n")
    assert len(given) == len(found)
    assert all(map(same_line, given, found))
    assert numbered(blocks)
    assert unended == BadLines()


@given(
    st.lists(
        st.integers(0, 5) | st.integers(LONGEST_LINE - 2, LONGEST_LINE + 3) | st.just(HANDOVER),
        max_size=60,
    ),
    st.integers(1, 5),
    st.booleans(),
)
@settings(deadline=None)
def test_lines_of_any_length_are_as_many_as_before(
    folder: Path, lengths: list[int], block_lines: int, ended: bool
) -> None:
    names = [b"%c" % (97 + number % 26) for number in range(len(lengths))]
    text = b"\n".join(map(mul, names, lengths)) + b"\n" * ended
    path = folder / "lengths.stats"
    path.write_bytes(text)
    blocks, unended = read(path, block_lines)
    *given, rest = text.split(b"\n")
    *found, nothing = text_of(blocks).split(b"\n")
    assert len(given) == len(found)
    assert all(map(same_line, given, found))
    assert unended.count == bool(rest)
    assert not nothing
    assert numbered(blocks)


@pytest.mark.parametrize(("block_lines", "bound_kib"), [(1, 8_000), (250, 40_000)])
@pytest.mark.parametrize("ending", [b"\n", b""])
def test_an_endless_line_takes_no_more_memory_than_a_block_of_long_ones(
    ending: bytes, block_lines: int, bound_kib: int, tmp_path: Path
) -> None:
    small = written(tmp_path / "small.stats", lines(MANY) * 3)
    path = tmp_path / "endless.stats.gz"
    path.write_bytes(packed(b"a\n" + b"x" * 40_000_000 + ending + b"b\n" * bool(ending)))
    printed = children.run(
        """
        import sys
        from pathlib import Path
        from utils.scanfile import ScanFile, buffer
        from utils.wrstat_loops import LONGEST_LINE

        def read(path, block_lines):
            file = ScanFile(Path(path), block_lines)
            into = buffer(block_lines)
            found = []
            while block := file.read(into):
                found += block.raw[: block.length].tobytes().split(b"\\n")[:-1]
            too_long = [len(line) > LONGEST_LINE for line in found[:4]]
            print(len(found), too_long, [bad.number for bad in file.unended.first])
            file.close()
            # ru_maxrss would also be that of the tests' process, of which this one is a fork.
            status = Path("/proc/self/status").read_text()
            return int(status.split("VmHWM:")[1].split()[0])

        block_lines = int(sys.argv[3])
        before = read(sys.argv[1], block_lines)
        print(read(sys.argv[2], block_lines) - before)
        """,
        *(small, path, block_lines),
    )
    _, found, grown = printed.splitlines()
    assert found == ("3 [False, True, False] []" if ending else "1 [False] [2]")
    assert int(grown) < bound_kib


# Damage.

SOUND = packed(lines(40), b"", lines(60)[len(lines(40)) :])
FIRST = len(packed(lines(40)))
EMPTY = len(packed(b""))

CUT_SHORT = "is cut short, or something stands behind its end: copy or make it again"


def outcome(path: Path, content: bytes) -> bytes | str:
    """The text of a file of this content, or why it cannot be read."""
    path.write_bytes(content)
    try:
        blocks, unended = read(path, 7)
    except ScanUnreadable as error:
        return str(error)
    assert not unended.count
    return text_of(blocks)


@pytest.mark.parametrize(
    "kept",
    [
        *(0, 1, 2, 3, 9, 10, 11),  # within the header, behind it
        *(FIRST // 2, FIRST - 9, FIRST - 8, FIRST - 4, FIRST - 1),  # within text, CRC, length
        *(FIRST + 1, FIRST + 10, FIRST + EMPTY - 1, FIRST + EMPTY + 2),  # within the next members
        *(len(SOUND) - 8, len(SOUND) - 1),
    ],
)
def test_a_truncated_scan_is_unreadable(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.stats.gz"
    assert outcome(path, SOUND[:kept]) == f"{path} {CUT_SHORT}"


def test_a_scan_may_be_cut_anywhere_but_between_its_members(folder: Path) -> None:
    path = folder / "cut.stats.gz"
    readable = [
        kept for kept in range(len(SOUND)) if isinstance(outcome(path, SOUND[:kept]), bytes)
    ]
    assert readable == [FIRST, FIRST + EMPTY]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (SOUND[:-8] + b"\0\0\0\0" + SOUND[-4:], "CRC check failed"),
        (SOUND[:-4] + b"\0\0\0\0", "Incorrect length of data"),
        (SOUND[:12] + b"\xff" * 20 + SOUND[32:], "is damaged or no gzip file"),
        (b"\0\0" + SOUND, "Not a gzipped file"),
        (SOUND + b"garbage of more than a few bytes", "Not a gzipped file"),
        (SOUND + b"x", "something stands behind its end"),
        (SOUND + b"\n", "something stands behind its end"),
        (SOUND + SOUND[:1], "something stands behind its end"),
        (SOUND + b"\0\0x", "something stands behind its end"),
        (lines(100), "Not a gzipped file"),
        (b"\x28\xb5\x2f\xfd" + b"zstandard" * 9, "Not a gzipped file"),
        (b"\0" * 4096, "Not a gzipped file"),
        (b"", "is cut short"),
    ],
)
def test_a_damaged_scan_is_unreadable_and_says_why(
    content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / "damaged.stats.gz"
    found = outcome(path, content)
    assert isinstance(found, str)
    assert found.startswith(f"{path} ")
    assert reason in found
    assert found.endswith("copy or make it again")


@pytest.mark.parametrize("mask", [0x01, 0x1F, 0x80, 0xFF])
def test_a_flipped_byte_changes_nothing_or_makes_a_scan_unreadable(mask: int, folder: Path) -> None:
    path = folder / "flipped.stats.gz"
    for at in range(len(SOUND)):
        content = bytearray(SOUND)
        content[at] ^= mask
        found = outcome(path, bytes(content))
        assert isinstance(found, str) or found == lines(60)


@given(
    st.lists(
        st.tuples(st.integers(0, len(SOUND) - 1), st.binary(min_size=1, max_size=8)), min_size=1
    )
)
@settings(deadline=None, max_examples=300)
def test_overwritten_bytes_change_nothing_or_make_a_scan_unreadable(
    folder: Path, damages: list[tuple[int, bytes]]
) -> None:
    content = bytearray(SOUND)
    for at, put in damages:
        content[at : at + len(put)] = put
    found = outcome(folder / "overwritten.stats.gz", bytes(content))
    assert isinstance(found, str) or found == lines(60)


def test_damage_far_behind_the_first_blocks_is_told_to_some_thread(tmp_path: Path) -> None:
    content = bytearray(packed(lines(MANY) * 4))
    content[-6] ^= 1
    path = tmp_path / "damaged.stats.gz"
    path.write_bytes(content)
    with closing(ScanFile(path, 250)) as file, ThreadPoolExecutor(3) as team:
        reading = [team.submit(blocks_of, file, 250) for _ in range(3)]
        errors = [thread.exception() for thread in reading]
    assert any(isinstance(error, ScanUnreadable) for error in errors)
    assert all(error is None or isinstance(error, ScanUnreadable) for error in errors)


# Files that cannot be opened.


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_missing_file_is_unreadable(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"missing.stats{suffix}"
    with pytest.raises(ScanUnreadable) as caught:
        ScanFile(path, 250)
    assert str(caught.value) == f"{path} cannot be read: No such file or directory"


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_folder_is_unreadable(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"folder{suffix}"
    path.mkdir()
    with pytest.raises(ScanUnreadable) as caught:
        ScanFile(path, 250)
    assert str(caught.value) == f"{path} cannot be read: Is a directory"


def test_a_file_without_permission_is_unreadable(tmp_path: Path) -> None:
    path = written(tmp_path / "secret.stats.gz", lines(3))
    path.chmod(0)
    printed = children.run(
        """
        import sys
        from pathlib import Path
        from utils.scanfile import ScanFile, ScanUnreadable

        try:
            ScanFile(Path(sys.argv[1]), 250)
        except ScanUnreadable as error:
            print(error, end="")
        """,
        path,
        within=children.REFUSABLE,
    )
    assert printed == f"{path} cannot be read: Permission denied"


# Files that change while they are read.


def appended(path: Path) -> None:
    with path.open("ab") as file:
        file.write(path.read_bytes() if path.suffix == ".gz" else b"more\n")


def truncated(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def emptied(path: Path) -> None:
    os.truncate(path, 0)


def rewritten(path: Path) -> None:
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[::-1])


@pytest.mark.parametrize("change", [appended, truncated, emptied, rewritten])
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_file_that_is_changed_in_place_while_it_is_read_fails(
    suffix: str, change: Callable[[Path], None], tmp_path: Path
) -> None:
    path = written(tmp_path / f"changed.stats{suffix}", lines(MANY) * 4)
    with closing(ScanFile(path, 250)) as file:
        file.read(buffer(250))
        change(path)
        with pytest.raises((ScanChanged, ScanUnreadable), match=str(path)):
            blocks_of(file, 250)


def test_what_was_changed_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "changed.stats", lines(MANY) * 4)
    with closing(ScanFile(path, 250)) as file:
        appended(path)
        with pytest.raises(ScanChanged) as caught:
            blocks_of(file, 250)
    assert str(caught.value) == (
        f"{path} was changed while it was read: run again when its writer is done"
    )


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("blocks_before", [0, 1])
def test_a_file_that_is_replaced_while_it_is_read_stands(
    blocks_before: int, suffix: str, tmp_path: Path
) -> None:
    text = lines(MANY) * 4
    path = written(tmp_path / f"replaced.stats{suffix}", text)
    with closing(ScanFile(path, 250)) as file:
        into = buffer(250)
        before = [file.read(into) for _ in range(blocks_before)]
        length = sum(block.length for block in before if block)
        written(tmp_path / "other", b"other").replace(path)
        assert text_of(blocks_of(file, 250)) == text[length:]


# Standard input.

OF_STANDARD_INPUT = """
    import hashlib
    from utils.scanfile import STANDARD_INPUT, ScanFile, buffer

    file = ScanFile(STANDARD_INPUT, 250)
    into = buffer(250)
    text = hashlib.sha256()
    position = file.position
    while block := file.read(into):
        text.update(block.raw[: block.length])
    file.close()
    print(text.hexdigest(), file.lines, file.unended.count, position, file.size)
"""


@pytest.mark.parametrize("text", [b"", b"a\n", lines(MANY) * 2, packed(b"no gzip\n" * 9)])
def test_standard_input_is_plain_text_of_no_known_size(text: bytes) -> None:
    whole, newline, rest = text.rpartition(b"\n")
    printed = children.run(OF_STANDARD_INPUT, stdin=text).split()
    digest = hashlib.sha256(whole + newline).hexdigest()
    assert printed == [digest, str(text.count(b"\n")), "1" if rest else "0", "0", "0"]


def test_a_file_as_standard_input_has_its_size(tmp_path: Path) -> None:
    path = written(tmp_path / "plain.stats", lines(MANY))
    with path.open("rb") as file:
        printed = subprocess.run(
            children.command(OF_STANDARD_INPUT), stdin=file, capture_output=True, check=True
        ).stdout
    digest = hashlib.sha256(lines(MANY)).hexdigest()
    assert printed.decode().split() == [digest, str(MANY), "0", "0", str(path.stat().st_size)]
