"""The files of a day: one for each group that is wanted, an index, and nothing else."""

import gzip
from collections import Counter
from decimal import Decimal
from pathlib import Path

import children
import pytest
import splitting
from hypothesis import given
from hypothesis import strategies as st
from splitting import COSTS, LEAST_TEXT, SMALLEST_POOL, line, members, plain_index, plainly, split

from lurge.splitter import index
from lurge.splitter import join as joining
from lurge.splitter.join import file_stem, join
from lurge.splitter.parts import PREFIX, SplitFailed
from lurge.splitter.tally import Split
from lurge_types.config import BuildTable

TESTS = Path(__file__).parent.parent
EVERY = [line(i * i % 30, 100 + i % 3000, i, "fd"[i % 20 == 0]) for i in range(3000)]


# Names of files.


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("humgen", "humgen"),
        ("t144_tic-tac.x~", "t144_tic-tac.x~"),
        ("a/b", "a%2Fb"),
        ("..", "%2E."),
        (".", "%2E"),
        (".hidden", "%2Ehidden"),
        ("", "+7"),
        ("domain users", "domain%20users"),
        ("a\nb\0\t", "a%0Ab%00%09"),
        ("é", "%C3%A9"),
        ("\udcff", "%FF"),
        ("%41", "%2541"),
        ("+7", "%2B7"),
        ("x" * 242, "x" * 242),
        ("x" * 243, "x" * 240 + "+7"),
        ("/" * 300, ("%2F" * 80) + "+7"),
    ],
)
def test_a_group_is_found_by_its_name_as_in_a_url(name: str, stem: str) -> None:
    assert file_stem(name, 7) == stem


@given(st.text(max_size=300), st.integers(0, 2**32 - 1))
def test_no_name_leaves_the_folder_or_is_hidden_or_too_long(name: str, gid: int) -> None:
    stem = file_stem(name.replace("\ud800", ""), gid)
    assert stem
    assert not stem.startswith(".")
    assert "/" not in stem
    assert len(f".{stem}.dat.gz.part".encode("ascii")) <= 255


@given(st.text(max_size=100), st.text(max_size=100))
def test_different_names_have_different_files_whatever_their_length(one: str, other: str) -> None:
    if one != other:
        assert file_stem(one, 1) != file_stem(other, 2)


# Files.


def test_a_group_that_is_not_wanted_has_no_file_and_a_wanted_one_without_lines_none(
    tmp_path: Path,
) -> None:
    told = split(tmp_path, EVERY)
    assert join(tmp_path, [told], {4: "four", 5: "five"}, COSTS, 2) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["four.dat.gz", "index.tsv"]
    assert splitting.zcat(tmp_path / "four.dat.gz") == plainly(EVERY)[4]
    assert (tmp_path / "index.tsv").read_text("utf-8").count("\n") == 2


def test_nothing_wanted_makes_an_empty_index(tmp_path: Path) -> None:
    assert join(tmp_path, [split(tmp_path, EVERY)], {}, COSTS, 2) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["index.tsv"]
    assert (tmp_path / "index.tsv").read_bytes() == b"group\tbuild_seconds\tmemory_bytes\n"


def test_members_are_copied_as_they_are(tmp_path: Path) -> None:
    told = split(tmp_path, [line(1, 1000, i) for i in range(100)])
    [table] = told.parts[0].read_tables(tmp_path)
    [(_, _, start, length)] = table.tolist()
    member = (tmp_path / told.parts[0].name).read_bytes()[start : start + length]
    join(tmp_path, [told], {1: "g1"}, COSTS, 1)
    assert (tmp_path / "g1.dat.gz").read_bytes() == member


def test_text_of_many_volumes_makes_members_of_a_megabyte(tmp_path: Path) -> None:
    lines = [line(1, 60_000, number) for number in range(40)]
    splits = [split(tmp_path, [each]) for each in lines]
    join(tmp_path, splits, {1: "g1"}, COSTS, 2)
    sizes = members(tmp_path / "g1.dat.gz")
    assert sizes == [18 * 60_001, 18 * 60_001, 4 * 60_001]
    assert splitting.zcat(tmp_path / "g1.dat.gz") == Counter(lines)


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
@pytest.mark.parametrize("parts", [1, 4])
@pytest.mark.parametrize("more", [0, 1 << 20])
def test_the_index_and_the_lines_are_the_same_however_the_lines_were_split(
    tmp_path: Path, parts: int, more: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(joining, "RANGES_AT_ONCE", at_once)
    splits = [
        split(tmp_path, EVERY[:2000], SMALLEST_POOL + more, parts),
        split(tmp_path, EVERY[2000:], SMALLEST_POOL + more),
    ]
    assert splitting.joined(tmp_path, splits, threads=parts) == plainly(EVERY)
    assert (tmp_path / "index.tsv").read_text("utf-8") == plain_index(EVERY)
    for path in tmp_path.glob("*.gz"):
        assert all(size >= LEAST_TEXT for size in members(path)[:-1])
        assert gzip.decompress(path.read_bytes()).endswith(b"\n")


def test_parts_that_belong_to_no_volume_are_removed_too(tmp_path: Path) -> None:
    (tmp_path / f"{PREFIX}of-nobody").write_bytes(b"x")
    splitting.joined(tmp_path, [split(tmp_path, EVERY)])


# The index.


@pytest.mark.parametrize(
    ("directories", "per_node"),
    [
        *((0, 12_000), (8, 12_000), (9, 10_000), (15, 10_000), (16, 9000), (20, 9000)),
        *((21, 8500), (40, 8500), (41, 8000), (1000, 8000)),
    ],
)
def test_memory_depends_on_the_share_of_directories(directories: int, per_node: int) -> None:
    assert index.memory_bytes(COSTS, 1000, directories) == (2 * directories + 50) * per_node


def test_shares_are_exact_however_many_lines_there_are() -> None:
    lines, directories = 10**18, 8 * 10**15
    assert index.memory_bytes(COSTS, lines, directories) == (2 * directories + 50) * 12_000
    assert index.memory_bytes(COSTS, lines, directories + 1) == (2 * directories + 52) * 10_000


@pytest.mark.parametrize(
    ("lines", "seconds"), [(1, 100), (10_999, 100), (11_000, 101), (22_000, 102)]
)
def test_time_grows_by_a_second_with_so_many_lines(lines: int, seconds: int) -> None:
    assert index.seconds(COSTS, lines) == seconds


def test_all_figures_can_be_others() -> None:
    costs = BuildTable(
        seconds_base=5,
        lines_per_second=10,
        nodes_base=4,
        nodes_per_directory=6,
        bytes_per_node=((Decimal(50), 3), (Decimal(100), 7)),
    )
    assert index.seconds(costs, 25) == 7
    assert [index.memory_bytes(costs, 2, each) for each in (1, 2)] == [10 * 3, 16 * 7]


def test_the_index_is_sorted_by_the_bytes_of_the_names(tmp_path: Path) -> None:
    told = split(tmp_path, [line(gid) for gid in (1, 2, 3, 4)])
    join(tmp_path, [told], {1: "b", 2: "a%20", 3: "a", 4: "B"}, COSTS, 1)
    rows = (tmp_path / "index.tsv").read_text("utf-8").splitlines()[1:]
    assert rows == [f"{stem}\t100\t600000" for stem in ("B", "a", "a%20", "b")]


# What can go wrong.


def failing(folder: Path, *splits: Split) -> str:
    """What a join says that fails."""
    with pytest.raises(SplitFailed) as failed:
        join(folder, splits, {gid: f"g{gid}" for gid in range(30)}, COSTS, 2)
    return str(failed.value)


def test_a_part_that_is_gone_or_cut_short_is_named(tmp_path: Path) -> None:
    told = split(tmp_path, EVERY)
    part = tmp_path / told.parts[0].name
    whole = part.read_bytes()
    part.write_bytes(whole[:-1])
    assert failing(tmp_path, told) == f"{part} is cut short: run again"
    part.unlink()
    assert failing(tmp_path, told) == f"{part} cannot be read: No such file or directory; run again"
    part.write_bytes(whole[:-8] + (2**40).to_bytes(8, "little"))  # the length of the last range
    assert failing(tmp_path, told) == f"{part} is cut short: run again"


def test_a_file_that_is_there_already_is_not_written_over(tmp_path: Path) -> None:
    told = split(tmp_path, EVERY)
    (tmp_path / "g4.dat.gz").write_bytes(b"mine")
    assert failing(tmp_path, told).startswith(
        f"{tmp_path / 'g4.dat.gz'} cannot be written: File exists; "
    )
    assert (tmp_path / "g4.dat.gz").read_bytes() == b"mine"


ON_A_SMALL_DISK = """
    import hashlib, subprocess, sys
    from pathlib import Path
    sys.path.append(sys.argv[2])
    from splitting import COSTS, line, split
    from lurge.splitter.join import join
    from lurge.splitter.parts import SplitFailed

    folder = Path(sys.argv[1])
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], check=True)
    lines = [line(i % 10, 0, hashlib.sha512(b"%d" % i).hexdigest()) for i in range(1200)]
    told = split(folder, lines)
    try:
        join(folder, [told], {gid: f"g{gid}" for gid in range(10)}, COSTS, 2)
    except SplitFailed as error:
        print(error)
    print((folder / told.parts[0].name).exists())
"""


def test_a_disk_that_is_full_when_parts_are_joined_is_named(tmp_path: Path) -> None:
    said = children.run(ON_A_SMALL_DISK, tmp_path, TESTS, within=children.OWN_MOUNTS).splitlines()
    assert said[0].startswith(f"{tmp_path}/g")
    assert "dat.gz cannot be written: No space left on device; " in said[0]
    assert said[1:] == ["True"]
