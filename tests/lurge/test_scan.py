"""
A scan is there complete or not at all, and reads back as the tree it is of.

What needs a mount, fewer rights than root's or to be killed happens in a process of its own.
"""

import gzip
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from lurge.scan import ScanFailed, scan
from lurge_types.batch import NUMBER_COLUMNS, Batch, Block, Entry
from utils.scans import listing
from utils.walk import Refusal, Refusals, walk
from utils.wrstat import Parser

AS_ROOT = os.geteuid() == 0
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if AS_ROOT else []
OWN_MOUNTS = ["unshare", "--mount"] if AS_ROOT else ["unshare", "--mount", "--map-root-user"]

NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
STAMP = "20261121-030405"

NAMES = [
    b"plain",
    b"new\nline",
    b"tab\tbed",
    b'quo"te',
    b"back\\slash",
    b"\xff\xfe",
    b"-dash",
    "\uff0f".encode(),
    "naïve \u200b\U0001f9ec".encode(),
    bytes(range(1, 32)) + b"\x7f",
    b"n" * 255,
]

SCANS = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from lurge.scan import ScanFailed, scan
NOW = datetime(2026, 11, 21, 3, 4, 5, tzinfo=UTC)
def begin(progress=lambda entries: None, later=0):
    now = NOW + timedelta(seconds=later)
    try:
        print(scan(sys.argv[1].encode(), Path(sys.argv[2]), now, progress).path)
    except ScanFailed as failed:
        print(failed)
def wait(entries):
    print("under way", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def output(tmp_path: Path) -> Path:
    output = tmp_path / "scans"
    output.mkdir()
    return output


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with names of every kind and more entries than are written at a time."""
    tree = tmp_path / "tree"
    (tree / "flat").mkdir(parents=True)
    for size, name in enumerate(NAMES):
        path = Path(os.fsdecode(os.fsencode(tree) + b"/" + name))
        path.write_bytes(b"x" * size)
        (tree / f"{size}").mkdir()
        path.with_name(f"{size}").joinpath(path.name).symlink_to(path)
    os.utime(tree / "plain", (-5, 2**33))
    (tree / "again").hardlink_to(tree / "plain")
    for number in range(1200):
        (tree / "flat" / f"{number}").touch()
    return tree


def read(path: Path) -> Batch:
    """The entries of a scan, in which every line must be right."""
    raw = gzip.decompress(path.read_bytes())
    block = Block(np.frombuffer(raw, np.uint8), len(raw), 1, raw.count(b"\n"))
    batch, bad = Parser().parse(block)
    assert (bad.count, bad.first) == (0, ())
    return batch


def entries(batch: Batch) -> list[Entry]:
    """A batch row by row."""
    rows = []
    for at, numbers in enumerate(batch.numbers.T.tolist()):
        fields = dict(zip(NUMBER_COLUMNS, numbers, strict=True))
        unsigned = {name: fields[name] % 2**64 for name in ("inode", "links", "device")}
        rows.append(Entry(batch.path(at), **fields | unsigned | {"type": chr(fields["type"])}))
    return rows


def child(script: str, *arguments: object, under: list[str] | None = None) -> str:
    """What a script prints in a process of its own, in which `begin` writes a scan."""
    command = [*(under or []), sys.executable, "-c", SCANS + script, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def under_way(tree: Path, output: Path, later: int = 0) -> Iterator[subprocess.Popen[str]]:
    """A process in the middle of a scan, which goes on with every line it is told."""
    command = [sys.executable, "-c", SCANS + f"begin(wait, {later})", str(tree), str(output)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "under way\n"
        yield process
        process.kill()


def folder(tree: Path, stamp: str = STAMP) -> str:
    """The name of a tree's scan."""
    return f"{stamp}_{tree}".replace("/", "\uff0f")


def names(output: Path) -> list[str]:
    return sorted(path.name for path in output.iterdir())


def test_every_line_reads_back_as_the_entry_it_was(tree: Path, output: Path) -> None:
    root = os.fsencode(tree)
    list(walk(root, Refusals()))  # The first to read a directory changes its atime.
    written = scan(root, output, NOW)
    assert entries(read(written.path)) == list(walk(root, Refusals()))
    assert written.refused == 0


def test_totals_are_those_of_find(tree: Path, output: Path) -> None:
    written = scan(os.fsencode(tree), output, NOW)
    command = ["find", str(tree), "-xdev", "-printf", "%s %y %U %G %p\\0"]
    found = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")[:-1]
    rows = [line.split(b" ", 4) for line in found]
    batch = read(written.path)
    size, uid, gid, *_ = batch.numbers.tolist()
    assert written.entries == len(batch) == len(rows)
    assert written.size_bytes == sum(size) == sum(int(row[0]) for row in rows)
    kinds = Counter(chr(code) for code in batch.numbers[NUMBER_COLUMNS.index("type")].tolist())
    assert kinds == Counter(row[1].decode() for row in rows)
    assert Counter(uid) == Counter(int(row[2]) for row in rows)
    assert Counter(gid) == Counter(int(row[3]) for row in rows)
    assert {batch.path(at) for at in range(len(batch))} == {row[4] for row in rows}


def test_the_folder_is_named_by_the_utc_time_and_the_path(tree: Path, output: Path) -> None:
    summer = NOW.astimezone(timezone(timedelta(hours=5)))
    written = scan(os.fsencode(tree), output, summer)
    assert names(output) == [folder(tree)]
    assert written.path == output / folder(tree) / "stats.gz"
    assert [path.name for path in written.path.parent.iterdir()] == ["stats.gz"]


def test_the_scan_is_found_as_the_one_of_its_path(tree: Path, output: Path) -> None:
    path = scan(os.fsencode(tree), output, NOW).path
    found = [(each.path, each.mount, each.named_time) for each in listing(output)]
    assert found == [(path, os.fsencode(tree), NOW)]


@pytest.mark.parametrize(
    "form",
    ["{}/", "{}/.", "/{}", "{}//", "{}/flat/..", "{}/../tree"],
)
def test_the_path_is_made_normal(tree: Path, output: Path, form: str) -> None:
    scan(os.fsencode(form.format(tree)), output, NOW)
    assert names(output) == [folder(tree)]


def test_a_relative_path_is_made_absolute(
    tree: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree / "flat")
    written = scan(b"../flat", output, NOW)
    assert names(output) == [folder(tree / "flat")]
    assert read(written.path).path(0) == os.fsencode(tree / "flat")


def test_a_name_that_is_not_utf8_is_kept(tmp_path: Path, output: Path) -> None:
    root = os.fsencode(tmp_path) + b"/caf\xe9"
    Path(os.fsdecode(root)).mkdir()
    scan(root, output, NOW)
    assert [each.mount for each in listing(output)] == [root]


def test_the_same_tree_gives_the_same_bytes_with_any_number_of_threads(
    tree: Path, output: Path
) -> None:
    list(walk(os.fsencode(tree), Refusals()))
    scans = [scan(os.fsencode(tree), output, NOW, threads=threads) for threads in (1, 2, 16)]
    assert len({written.path.read_bytes() for written in scans}) == 1


def test_a_second_that_is_taken_is_left_alone(tree: Path, output: Path) -> None:
    first = scan(os.fsencode(tree), output, NOW).path
    before = first.read_bytes()
    last = NOW.replace(second=6)
    assert scan(os.fsencode(tree), output, NOW).path.parent.name == folder(
        tree, f"{last:%Y%m%d-%H%M%S}"
    )
    assert first.read_bytes() == before
    assert len(names(output)) == 2


def test_progress_is_told_up_to_the_number_of_entries(tree: Path, output: Path) -> None:
    told: list[int] = []
    written = scan(os.fsencode(tree), output, NOW, told.append)
    assert told == sorted(told)
    assert len(told) > 1
    assert told[-1] == written.entries


def test_what_may_not_be_read_is_told(tmp_path: Path, output: Path) -> None:
    (tmp_path / "tree" / "closed").mkdir(parents=True)
    (tmp_path / "tree" / "closed").chmod(0)
    script = """
written = scan(sys.argv[1].encode(), Path(sys.argv[2]), NOW)
print(written.entries, written.refused, written.refusals)
"""
    refusal = Refusal(os.fsencode(tmp_path / "tree" / "closed"), "Permission denied")
    printed = child(script, tmp_path / "tree", output, under=WITHOUT_RIGHTS)
    assert printed == f"2 1 ({refusal},)\n"


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Callable[[bytes, int], bytes]]:
    """Makes directories in each other; removed by `rm`, as pytest gives up on deep ones."""
    top = tmp_path / "deep"

    def make(name: bytes, levels: int) -> bytes:
        top.mkdir()
        handle = os.open(top, os.O_RDONLY)
        for _ in range(levels):
            os.mkdir(name, dir_fd=handle)
            below = os.open(name, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(handle)
        return os.fsencode(top)

    yield make
    subprocess.run(["rm", "-rf", top], check=True)


def test_entries_whose_line_would_be_too_long_are_refused(
    deep: Callable[[bytes, int], bytes], output: Path
) -> None:
    written = scan(deep(b"\xff" * 255, 80), output, NOW)
    batch = read(written.path)
    assert written.entries == len(batch)
    assert written.entries + written.refused == 81
    assert {refusal.reason for refusal in written.refusals} == {"its line would exceed 65536 bytes"}
    longest = max(map(len, gzip.decompress(written.path.read_bytes()).splitlines()))
    assert 64_000 < longest <= 65_536


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("missing", "does not exist: give a directory that does"),
        ("tree/plain", "is no directory: give a directory, not a file or a link"),
    ],
)
def test_a_path_that_is_no_directory_is_named(
    tree: Path, output: Path, place: str, why: str
) -> None:
    with pytest.raises(ScanFailed) as failed:
        scan(os.fsencode(tree.parent / place), output, NOW)
    assert str(failed.value) == f"{tree.parent / place} {why}"
    assert names(output) == []


def test_a_path_too_long_for_the_name_of_a_folder_is_named(tmp_path: Path, output: Path) -> None:
    tree = tmp_path / ("n" * 200)
    tree.mkdir()
    with pytest.raises(ScanFailed) as failed:
        scan(os.fsencode(tree), output, NOW)
    length = len(os.fsencode(f".{folder(tree)}"))
    assert str(failed.value) == (
        f"{tree}: the scan's folder is named by the path, and {length} bytes are more than the 255 "
        "of a name: scan a directory with a shorter path"
    )
    assert names(output) == []


def test_the_longest_name_of_a_folder_is_taken(tmp_path: Path, output: Path) -> None:
    room = 255 - len(os.fsencode(f".{folder(tmp_path / 'n')}"))
    for extra in (0, 1):
        tree = tmp_path / ("n" * (1 + room + extra))
        tree.mkdir()
        if extra:
            with pytest.raises(ScanFailed, match="256 bytes are more than the 255"):
                scan(os.fsencode(tree), output, NOW)
        else:
            assert scan(os.fsencode(tree), output, NOW).entries == 1


def test_a_path_that_would_be_taken_for_another_is_named(tmp_path: Path, output: Path) -> None:
    tree = tmp_path / "a\uff0fb"
    tree.mkdir()
    with pytest.raises(ScanFailed, match=r"U\+FF0F stands for a slash"):
        scan(os.fsencode(tree), output, NOW)


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("missing", "No such file or directory; make that folder, or give another --output"),
        ("tree/plain", "Not a directory; make that folder, or give another --output"),
    ],
)
def test_an_output_that_is_no_folder_is_named(tree: Path, place: str, why: str) -> None:
    with pytest.raises(ScanFailed) as failed:
        scan(os.fsencode(tree), tree.parent / place, NOW)
    assert str(failed.value) == f"{tree.parent / place} cannot be written: {why}"


def test_an_output_that_may_not_be_written_is_named(tree: Path, output: Path) -> None:
    output.chmod(0o555)
    assert child("begin()", tree, output, under=WITHOUT_RIGHTS) == (
        f"{output} cannot be written: Permission denied; "
        "let this user write there, or give another --output\n"
    )
    output.chmod(0o755)
    assert names(output) == []


@pytest.mark.parametrize("size", ["4k", "4k,nr_inodes=2"])
def test_a_full_disk_is_named_and_nothing_is_left(tree: Path, output: Path, size: str) -> None:
    script = f"""
import subprocess
subprocess.run(["mount", "-t", "tmpfs", "-o", "size={size}", "tmpfs", sys.argv[2]], check=True)
begin()
print(list(Path(sys.argv[2]).iterdir()))
"""
    assert child(script, tree, output, under=OWN_MOUNTS) == (
        f"{output} cannot be written: No space left on device; "
        "free space there, or give another --output\n[]\n"
    )


def test_a_scan_that_is_interrupted_leaves_nothing(tree: Path, output: Path) -> None:
    with under_way(tree, output) as process:
        assert names(output) == [f".{folder(tree)}"]
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=60) == -signal.SIGINT
    assert names(output) == []


def test_a_callback_that_fails_leaves_nothing(tree: Path, output: Path) -> None:
    def fail(entries: int) -> None:
        raise BrokenPipeError(f"after {entries}")

    with pytest.raises(BrokenPipeError, match="after 1000"):
        scan(os.fsencode(tree), output, NOW, fail)
    assert names(output) == []


def test_a_killed_scan_is_not_a_finished_one_and_the_next_removes_it(
    tree: Path, output: Path
) -> None:
    with under_way(tree, output) as process:
        process.kill()
        process.wait()
    assert names(output) == [f".{folder(tree)}"]
    assert listing(output) == []
    scan(os.fsencode(tree), output, NOW)
    assert names(output) == [folder(tree)]


def test_a_scan_under_way_is_left_alone(tree: Path, output: Path) -> None:
    with under_way(tree, output) as process:
        scan(os.fsencode(tree), output, NOW + timedelta(hours=1))
        later = folder(tree, "20261121-040405")
        assert names(output) == [f".{folder(tree)}", later]
        out, complaint = process.communicate("\n" * 10)
        assert complaint == ""
        assert out.endswith(f"{output / folder(tree)}/stats.gz\n")
    assert names(output) == [folder(tree), later]


def test_two_scans_in_one_second_both_come_to_a_name(tree: Path, output: Path) -> None:
    with under_way(tree, output) as process:
        assert scan(os.fsencode(tree), output, NOW).path.parent.name == folder(
            tree, "20261121-030406"
        )
        process.communicate("\n" * 10)
    assert names(output) == [folder(tree), folder(tree, "20261121-030406")]


def test_what_killed_scans_of_other_paths_left_is_not_touched(tree: Path, output: Path) -> None:
    with under_way(tree / "flat", output) as process:
        process.kill()
        process.wait()
    shutil.copytree(
        output / f".{folder(tree / 'flat')}", output / f".{STAMP}_else{tree}".replace("/", "\uff0f")
    )
    before = names(output)
    scan(os.fsencode(tree), output, NOW)
    assert names(output) == sorted([*before, folder(tree)])
