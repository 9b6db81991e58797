"""What the splitter is to give, found out the plain way: by Python's own gzip, zcat and a dict."""

import subprocess
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import twin

from lurge.splitter.join import file_stem, join
from lurge.splitter.tally import BESIDE_POOL, Split, SplitTally
from lurge.tallies.tally import Tally
from lurge_types.batch import Block, Entry
from lurge_types.config import BuildTable
from utils.wrstat import Parser

LEAST_TEXT = 65_536
SMALLEST_POOL = BESIDE_POOL
COSTS = BuildTable()


def line(gid: int, length: int = 0, name: object = "", kind: str = "f") -> bytes:
    """A line of a group; its path makes it that long, if it is not longer, without the newline."""
    numbers = b'"\t1\t2\t%d\t5\t5\t5\t%b\t7\t1\t9' % (gid, kind.encode())
    path = b'"/a%b' % str(name).encode()
    return path.ljust(length - len(numbers), b"x") + numbers + b"\n"


def show(tally: Tally, lines: Sequence[bytes], parser: Parser) -> None:
    text = b"".join(lines)
    raw = np.frombuffer(bytearray(text), np.uint8)
    batch, _ = parser.parse(Block(raw, len(text), 1, len(lines)))
    tally.add(batch)


def split(
    folder: Path | None, lines: Sequence[bytes], budget: int = SMALLEST_POOL, parts: int = 1
) -> Split:
    """The lines are dealt to so many tallies, some lines at a time."""
    tallies = [SplitTally(folder, budget) for _ in range(parts)]
    parser = Parser()
    for number, start in enumerate(range(0, len(lines), 50)):
        show(tallies[number % parts], lines[start : start + 50], parser)
    first, *others = tallies
    for other in others:
        first.merge(other.pieces())
    return first.tell()


def entries(lines: Iterable[bytes]) -> Iterator[tuple[Entry, bytes]]:
    """The good lines."""
    for each in lines:
        entry = twin.parse_line(each.removesuffix(b"\n"))
        if isinstance(entry, Entry):
            yield entry, each


def plainly(lines: Iterable[bytes]) -> dict[int, Counter[bytes]]:
    """The lines of each group."""
    groups: dict[int, Counter[bytes]] = {}
    for entry, each in entries(lines):
        groups.setdefault(entry.gid, Counter())[each] += 1
    return groups


def plain_index(lines: Iterable[bytes]) -> str:
    """The index, from the rule as it is written down."""
    counts: Counter[int] = Counter()
    directories: Counter[int] = Counter()
    for entry, _ in entries(lines):
        counts[entry.gid] += 1
        directories[entry.gid] += entry.type == "d"
    rows = []
    for gid, count in counts.items():
        share = directories[gid] * 1000 / count
        node = 12_000 if share <= 8 else 10_000 if share <= 15 else 9000 if share <= 20 else 8500
        node = 8000 if share > 40 else node
        rows.append(f"g{gid}\t{100 + count // 11_000}\t{(2 * directories[gid] + 50) * node}\n")
    return "group\tbuild_seconds\tmemory_bytes\n" + "".join(sorted(rows))


def joined(folder: Path, splits: Sequence[Split], threads: int = 2) -> dict[int, Counter[bytes]]:
    """The lines in the file of each group."""
    gids = {gid for each in splits for gid in each.groups}
    stems = {gid: file_stem(f"g{gid}", gid) for gid in gids}
    assert join(folder, splits, stems, COSTS, threads) == len(gids)
    assert {path.name for path in folder.iterdir()} == {
        "index.tsv",
        *(f"{stem}.dat.gz" for stem in stems.values()),
    }
    return inflated(folder, stems)


def inflated(folder: Path, stems: Mapping[int, str]) -> dict[int, Counter[bytes]]:
    return {gid: zcat(folder / f"{stem}.dat.gz") for gid, stem in stems.items()}


def zcat(path: Path) -> Counter[bytes]:
    done = subprocess.run(["zcat", path], check=True, capture_output=True)
    return Counter(done.stdout.splitlines(keepends=True))


def members(path: Path) -> list[int]:
    """How much text each gzip member of a file has."""
    sizes = []
    left = path.read_bytes()
    while left:
        stream = zlib.decompressobj(wbits=31)
        sizes.append(len(stream.decompress(left)))
        assert stream.eof
        assert left[3:8] == b"\0" * 5, "a name or a time"
        left = stream.unused_data
    return sizes
