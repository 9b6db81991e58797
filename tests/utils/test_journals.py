"""Journals tell what was copied, whoever has copied it and however that ended."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers.disks import small_disk

from lurge_types.archive import Segment
from lurge_types.targets import Part, Upload
from utils import journals
from utils.durable import NoRoom
from utils.journals import Copied, Journal, JournalBroken, Order, PartDone, Place

NUMBERS = st.lists(st.integers(0, 40), unique=True).map(sorted)


def done(number: int, key: str = "key", *, packed: bool = False) -> Copied:
    return Copied(number, (Segment(number, "0" * 64, None),), (Place(key, number),), packed)


def write(folder: Path, order: Order, *lines: Copied) -> None:
    with closing(Journal(folder, order)) as journal:
        for line in lines:
            journal.copied(line)


def read(folder: Path, token: int = 99) -> list[Copied]:
    return list(journals.copied(journals.journals(folder, token)))


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=4))
def test_the_last_journal_that_tells_of_an_entry_counts(
    tmp_path_factory: pytest.TempPathFactory, written: list[tuple[list[int], list[int]]]
) -> None:
    folder = tmp_path_factory.mktemp("unit")
    expected: dict[int, Copied] = {}
    for token, (single, packed) in enumerate(written):
        ones = [done(number, f"{token}") for number in single]
        packs = [done(number, f"{token}", packed=True) for number in packed if number not in single]
        # Packs end later than what comes after them.
        write(folder, Order(token, token % 2), *ones, *packs)
        expected |= {line.number: line for line in (*ones, *packs)}
    assert read(folder) == [expected[number] for number in sorted(expected)]


def test_a_later_round_says_that_a_copy_is_lost(tmp_path: Path) -> None:
    write(tmp_path, Order(9, 0), done(1), done(2))
    write(tmp_path, Order(9, 1), Copied(2, (), ()))
    write(tmp_path, Order(10, 0), done(3))
    assert read(tmp_path) == [done(1), Copied(2, (), ()), done(3)]
    assert read(tmp_path, 9) == [done(1), Copied(2, (), ())]


def test_nobody_writes_into_the_journal_of_another(tmp_path: Path) -> None:
    write(tmp_path, Order(1, 0), done(1))
    with pytest.raises(FileExistsError):
        Journal(tmp_path, Order(1, 0))


def test_half_a_line_at_the_end_counts_for_nothing(tmp_path: Path) -> None:
    write(tmp_path, Order(1, 0), done(1), done(2))
    [path] = tmp_path.iterdir()
    whole = path.read_bytes()
    for length in range(len(whole.splitlines()[0]) + 1, len(whole)):
        path.write_bytes(whole[:length])
        assert read(tmp_path) == [done(1)]


def test_nothing_is_written_behind_half_a_line(tmp_path: Path) -> None:
    large = Copied(2, tuple(Segment(1, "a" * 64, None) for _ in range(2000)), (Place("k", 0),))
    small = [Copied(number, (), (Place("k", 0),)) for number in (1, 3)]
    with small_disk(tmp_path / "small", 1 << 16) as folder:
        journal = Journal(folder, Order(1, 0))
        journal.copied(small[0])
        with pytest.raises(NoRoom, match="small: No space left on device: make room there"):
            journal.copied(large)
        for file in folder.iterdir():
            os.truncate(file, 4096)  # now there is room
        with pytest.raises(NoRoom):
            journal.copied(small[1])
        journal.close()
        assert list(journals.copied(journals.journals(folder, 1))) == small[:1]


@pytest.mark.parametrize("line", [b"\n", b"{}\n", b"[1]\n", b"\0\0\0\n", b'{"n": 1}\n'])
def test_a_line_that_is_none_is_told(tmp_path: Path, line: bytes) -> None:
    write(tmp_path, Order(1, 0), done(1))
    [path] = tmp_path.iterdir()
    path.write_bytes(line + path.read_bytes())
    with pytest.raises(JournalBroken, match="copied anew"):
        read(tmp_path)


def test_parts_count_until_their_entry_is_whole_and_of_the_last_upload(tmp_path: Path) -> None:
    def part(upload: str) -> PartDone:
        return PartDone(Upload("key", upload), Part(5, "tag"), Segment(5, "0" * 64, None))

    with closing(Journal(tmp_path, Order(1, 0))) as journal:
        journal.part(7, 0, 1, part("first"))
        journal.part(7, 1, 1, part("other"))
        journal.part(8, 0, 1, part("whole"))
        journal.copied(done(8))
    with closing(Journal(tmp_path, Order(2, 0))) as journal:
        journal.part(7, 0, 2, part("second"))
    paths = journals.journals(tmp_path, 2).values()
    assert journals.unfinished(paths) == {7: {0: {2: part("second")}, 1: {1: part("other")}}}
