"""The pass gives the same whatever reads it, and a volume's trouble stays its own."""

import gzip
import threading
from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import site_of_tests as site

from lurge.onepass.threads import one_pass
from lurge.onepass.work import Read, Reading, ScanEmpty, TooManyBadLines, Work
from lurge.tallies.directories import DirectoryTally
from lurge.tallies.owners import By, OwnerTally
from lurge.tallies.tally import Piece
from lurge_types.batch import Batch
from lurge_types.scans import Progress, Scan, Volume
from utils.scanfile import ScanUnreadable

SCAN_TIME = 1_800_000_000
MAKERS = (partial(OwnerTally, SCAN_TIME), partial(DirectoryTally, SCAN_TIME, 2))
CAREFUL = Reading(250, 16, 0)


def scan_of(folder: Path, name: str, text: bytes) -> Scan:
    path = folder / f"{name}.gz"
    path.write_bytes(gzip.compress(text, 1))
    return Scan(Volume(name), path, date(2026, 1, 1), SCAN_TIME)


def read(
    scans: Sequence[Scan], *, threads: int = 2, block_lines: int = 250, allowed: float = 0.001
) -> dict[str, Read]:
    results = one_pass(
        threads,
        [Work(scan, MAKERS) for scan in scans],
        Reading(block_lines, 16, allowed),
        lambda _: None,
    )
    return {result.scan.volume.name: result for result in results}


def rows(result: Read) -> list[object]:
    assert result.error is None
    owners, directories = result.tallies
    return [owners.tell(By.GROUP), owners.tell(By.USER), directories.tell(None)]


@pytest.mark.parametrize("count", [1, 249, 250, 251, 500, 20_003])
def test_threads_and_blocks_do_not_change_the_result(tmp_path: Path, count: int) -> None:
    scan = scan_of(tmp_path, "s1", site.text(site.entries(count)))
    expected = read([scan], threads=1, block_lines=100_000)["s1"]
    for threads, block_lines in [(1, 250), (2, 250), (5, 250), (3, 1), (2, 7)]:
        result = read([scan], threads=threads, block_lines=block_lines)["s1"]
        assert (result.lines, rows(result)) == (count, rows(expected))


def test_volumes_that_share_the_threads_do_not_mix(tmp_path: Path) -> None:
    alone: dict[str, Read] = {}
    scans = []
    for number, count in enumerate([3, 30_000, 700, 9_000]):
        scan = scan_of(tmp_path, f"s{number}", site.text(site.entries(count, groups=number + 1)))
        scans.append(scan)
        alone |= read([scan], threads=1)
    together = read(scans, threads=3)
    assert {name: rows(each) for name, each in together.items()} == {
        name: rows(each) for name, each in alone.items()
    }


def test_one_volumes_trouble_is_its_own(tmp_path: Path) -> None:
    good = site.text(site.entries(5000))
    fine = scan_of(tmp_path, "fine", good)
    cut = scan_of(tmp_path, "cut", good)
    cut.path.write_bytes(cut.path.read_bytes()[:-100])
    missing = Scan(Volume("missing"), tmp_path / "none.gz", date(2026, 1, 1), SCAN_TIME)
    results = read([cut, fine, missing])
    assert isinstance(results["cut"].error, ScanUnreadable)
    assert "cut short" in str(results["cut"].error)
    assert isinstance(results["missing"].error, ScanUnreadable)
    assert "No such file" in str(results["missing"].error)
    assert results["fine"].error is None


@pytest.mark.parametrize("text", [b"", b"\n\n", b"bad line\n" * 3])
def test_a_scan_without_an_entry_fails_its_volume(tmp_path: Path, text: bytes) -> None:
    assert isinstance(read([scan_of(tmp_path, "s1", text)])["s1"].error, ScanEmpty)


@pytest.mark.parametrize(
    ("bad", "good", "allowed", "fails"),
    [
        (10, 10, 0.001, False),
        (11, 10, 0.001, True),
        (11, 989, 0.011, False),
        (11, 989, 0.0109, True),
        (11, 10_989, 0.001, False),
    ],
)
def test_more_than_ten_bad_lines_beyond_the_share_fail_the_volume(
    tmp_path: Path, bad: int, good: int, allowed: float, fails: bool
) -> None:
    text = site.text(site.entries(good)) + b"bad line\n" * bad
    result = read([scan_of(tmp_path, "s1", text)], allowed=allowed)["s1"]
    assert isinstance(result.error, TooManyBadLines) == fails
    if fails:
        assert f"{bad} of {good + bad} lines are bad, the first is line {good + 1}" in str(
            result.error
        )


def test_bad_lines_have_their_numbers_whoever_read_them(tmp_path: Path) -> None:
    good = site.text(site.entries(997))
    scan = scan_of(tmp_path, "s1", (b"bad\n" + good) * 9 + b"not ended")
    result = read([scan], threads=3, block_lines=10)["s1"]
    assert [line.number for line in result.bad.first] == [1 + 998 * i for i in range(10)]
    assert result.bad.count == 10
    assert result.bad.first[-1].reason == "the file ends within this line"
    assert result.lines == 998 * 9 + 1


class Broken(OwnerTally):
    """A tally with a bug."""

    def add(self, batch: Batch) -> None:
        raise ZeroDivisionError(len(batch))


def test_a_bug_in_a_thread_is_raised_and_ends_the_others(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, "s1", site.text(site.entries(5000)))
    before = threading.active_count()
    work = Work(scan, (partial(Broken, SCAN_TIME),))
    with pytest.raises(ZeroDivisionError):
        list(one_pass(3, [work], CAREFUL, lambda _: None))
    assert threading.active_count() == before


class Holding(OwnerTally):
    """Holds something until it is ended."""

    held = True

    def end(self) -> None:
        self.held = False

    def pieces(self) -> Iterator[Piece]:
        assert not self.held
        return super().pieces()

    def tell(self, _: object = None) -> Any:
        return self.held


def test_what_a_tally_holds_is_let_go_before_it_is_merged_or_told(tmp_path: Path) -> None:
    scans = [scan_of(tmp_path, f"s{i}", site.text(site.entries(9000))) for i in range(3)]
    works = [Work(scan, (partial(Holding, SCAN_TIME),)) for scan in scans]
    reads = list(one_pass(4, works, CAREFUL, lambda _: None))
    assert [tally.tell(None) for read in reads for tally in read.tallies] == [False] * 3


def test_leaving_early_ends_the_threads(tmp_path: Path) -> None:
    scans = [scan_of(tmp_path, f"s{i}", site.text(site.entries(3000))) for i in range(3)]
    before = threading.active_count()
    reading = one_pass(2, [Work(scan, MAKERS) for scan in scans], CAREFUL, lambda _: None)
    next(iter(reading))
    reading.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


def test_progress_tells_bytes_of_the_file_and_lines(tmp_path: Path) -> None:
    scan = scan_of(tmp_path, "s1", site.text(site.entries(5000)))
    told: list[Progress] = []
    list(one_pass(1, [Work(scan, MAKERS)], CAREFUL, told.append))
    size = scan.path.stat().st_size
    assert told
    assert all(0 <= each.position <= size == each.size and each.lines <= 5000 for each in told)
