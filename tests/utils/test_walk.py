"""
A walk gives out what `find -xdev` finds, on real trees, and bears what happens to them meanwhile.

What needs a mount, a limit or fewer rights than root's happens in a process of its own.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lurge_types.batch import Entry
from utils.walk import (
    NAMES_AT_A_TIME,
    NEAR_DIRECTORIES,
    REFUSALS_SHOWN,
    Refusal,
    Refusals,
    WalkFailed,
    walk,
)

AS_ROOT = os.geteuid() == 0
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if AS_ROOT else []
OWN_MOUNTS = ["unshare", "--mount"] if AS_ROOT else ["unshare", "--mount", "--map-root-user"]

NAMES = [
    b"new\nline",
    b"tab\tbed",
    b'quo"te',
    b"back\\slash",
    b"not UTF-8 \xff\xfe",
    b"half a character \xe2\x82",
    b"-dash",
    "\uff0f".encode(),
    "naïve \u200b\U0001f9ec".encode(),
    bytes(range(1, 32)) + b"\x7f",
    b" ",
    b"a!",
    b"a0",
    b"...",
]
LONGEST = 255
FAR = 150
LAST = f"{FAR - 1:04}"
"""Of so many directories the last is known, but not opened, when the second entry is given out."""

WALKS = """
import os, resource, sys
from utils.walk import Refusals, WalkFailed, walk
refusals = Refusals()
def walked(root, threads):
    return list(walk(os.fsencode(root), refusals, int(threads)))
"""


def walked(root: bytes, threads: int = 4) -> list[Entry]:
    """The entries of a tree in which nothing may be refused."""
    refusals = Refusals()
    entries = list(walk(root, refusals, threads))
    assert (refusals.count, refusals.first) == (0, [])
    return entries


def written(entry: Entry) -> bytes:
    """The path as a scan has it."""
    return entry.path if entry.type != "d" or entry.path == b"/" else entry.path + b"/"


def find(root: bytes, form: str) -> list[tuple[bytes, ...]]:
    """For each entry below root, on its filesystem, the fields of a `find -printf` format."""
    command = [b"find", root, b"-xdev", b"-printf", form.replace(" ", "\\0").encode() + b"\\0"]
    output = subprocess.run(command, check=True, capture_output=True).stdout
    fields = output.split(b"\0")[:-1]
    width = len(form.split())
    return [tuple(fields[at : at + width]) for at in range(0, len(fields), width)]


def child(script: str, *arguments: object, under: list[str] | None = None) -> str:
    """What a script prints in a process of its own, in which `walked` and `refusals` are known."""
    command = [*(under or []), sys.executable, "-c", WALKS + script, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def fill(folder: bytes) -> None:
    """Make a file of every hostile name, and a directory of every one with a file in it."""
    for size, name in enumerate([*NAMES, b"f" * LONGEST]):
        Path(os.fsdecode(folder + b"/" + name)).write_bytes(b"x" * size)
    for size, name in enumerate([*(name + b"d" for name in NAMES), b"d" * LONGEST, b"a"]):
        Path(os.fsdecode(folder + b"/" + name)).mkdir()
        Path(os.fsdecode(folder + b"/" + name + b"/" + name)).write_bytes(b"y" * size)


@pytest.fixture
def root(tmp_path: Path) -> bytes:
    """A tree with every type of entry and every kind of name."""
    root = tmp_path / "root"
    (root / "types").mkdir(parents=True)
    fill(os.fsencode(root))
    types = root / "types"
    (types / "sparse").touch()
    os.truncate(types / "sparse", 1 << 40)
    (types / "one name").write_bytes(b"twice")
    (types / "other name").hardlink_to(types / "one name")
    (types / "to a directory").symlink_to("../a")
    (types / "loop").symlink_to(".")
    (types / "dangling").symlink_to(b"nowhere \xff".decode("utf-8", "surrogateescape"))
    os.mkfifo(types / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(types / "socket"))
    for at, when in enumerate((-86400, 0, 1, 2**33)):
        (types / f"of {when}").touch()
        os.utime(types / f"of {when}", (when, when + 1))
        if AS_ROOT:
            os.chown(types / f"of {when}", 1000 + at % 2, 2**32 - 2 - at % 3)
    (root / "flat").mkdir()
    for number in range(3 * NAMES_AT_A_TIME + 5):
        (root / "flat" / f"{number}").touch()
    (root / "empty").mkdir()
    return os.fsencode(root)


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Callable[..., bytes]]:
    """Makes directories in each other; removed by `rm`, as pytest gives up on deep ones."""
    tops: list[bytes] = []

    def make(name: bytes, levels: int, beside: bytes = b"") -> bytes:
        top = os.fsencode(tmp_path / f"chain {len(tops)}")
        tops.append(top)
        Path(os.fsdecode(top)).mkdir()
        handle = os.open(top, os.O_RDONLY)
        for _ in range(levels):
            if beside:
                os.mkdir(beside, dir_fd=handle)
            os.mkdir(name, dir_fd=handle)
            below = os.open(name, os.O_RDONLY, dir_fd=handle)
            os.close(handle)
            handle = below
        os.close(os.open(b"file", os.O_CREAT | os.O_WRONLY, dir_fd=handle))
        os.close(handle)
        return top

    yield make
    for top in tops:
        subprocess.run([b"rm", b"-rf", top], check=True)


def wide(top: Path, width: int) -> bytes:
    """A directory with so many directories, each with one in it."""
    for number in range(width):
        (top / f"{number:04}" / "below").mkdir(parents=True)
    return os.fsencode(top)


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_the_paths_are_those_that_find_finds(root: bytes, threads: int) -> None:
    paths = [entry.path for entry in walked(root, threads)]
    assert Counter(paths) == Counter(path for (path,) in find(root, "%p"))


@pytest.mark.parametrize("threads", [1, 2, 16])
def test_entries_come_in_the_order_of_their_written_paths(root: bytes, threads: int) -> None:
    paths = [written(entry) for entry in walked(root, threads)]
    assert paths == sorted(paths)
    below = [path.removeprefix(root) for path in paths]
    assert below.index(b"/a!") < below.index(b"/a/") < below.index(b"/a0")


@pytest.mark.parametrize("threads", [1, 16])
def test_totals_are_those_of_find(root: bytes, threads: int) -> None:
    entries = walked(root, threads)
    found = find(root, "%s %y %U %G")
    assert len(entries) == len(found)
    assert sum(entry.size for entry in entries) == sum(int(size) for size, *_ in found)
    assert Counter(entry.uid for entry in entries) == Counter(int(uid) for _, _, uid, _ in found)
    assert Counter(entry.gid for entry in entries) == Counter(int(gid) for *_, gid in found)
    letters = Counter(letter.decode().replace("p", "F") for _, letter, *_ in found)
    assert Counter(entry.type for entry in entries) == letters
    assert set("fdlsF") == set(letters)


def test_every_field_is_the_one_that_find_prints(root: bytes) -> None:
    walked(root)  # The first to read a directory changes its atime.
    fields = "%p %s %U %G %A@ %T@ %C@ %y %i %n %D"
    expected = {}
    for path, size, uid, gid, *times, letter, inode, links, device in find(root, fields):
        whole = [int(moment.partition(b".")[0]) for moment in times]
        numbers = map(int, (inode, links, device))
        kind = letter.decode().replace("p", "F")
        expected[path] = (int(size), int(uid), int(gid), *whole, kind, *numbers, int(size))
    assert {entry.path: entry[1:] for entry in walked(root)} == expected


def test_devices_have_their_letters() -> None:
    kinds = {entry.path: entry.type for entry in walk(b"/dev", Refusals())}
    letters = {path: letter.decode() for path, letter in find(b"/dev", "%p %y")}
    assert kinds[b"/dev/null"] == "c"
    assert {path for path, kind in kinds.items() if kind == "b"} == {
        path for path, letter in letters.items() if letter == "b"
    }


def test_times_before_the_second_are_rounded_down(tmp_path: Path) -> None:
    (tmp_path / "early").touch()
    os.utime(tmp_path / "early", ns=(-1, 1_999_999_999))
    _, early = walked(os.fsencode(tmp_path))
    assert (early.atime, early.mtime) == (-1, 1)


Tree = dict[bytes, "Tree | None"]
names = st.binary(min_size=1, max_size=4).map(lambda name: name.translate(None, b"/\0"))
names = names.filter(lambda name: name not in (b"", b".", b".."))
trees: st.SearchStrategy[Tree] = st.recursive(
    st.dictionaries(names, st.none()),
    lambda below: st.dictionaries(names, st.none() | below),
    max_leaves=20,
)


def plant(tree: Tree, at: bytes) -> list[bytes]:
    """Make a tree; the paths in it as a scan has them."""
    paths = [at + b"/"]
    for name, below in tree.items():
        path = at + b"/" + name
        if below is None:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
            paths.append(path)
        else:
            Path(os.fsdecode(path)).mkdir()
            paths += plant(below, path)
    return paths


@settings(deadline=None)
@given(trees, st.integers(1, 5))
def test_any_tree_comes_in_order(tree: Tree, threads: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = plant(tree, os.fsencode(folder))
        entries = walked(os.fsencode(folder), threads)
        assert [written(entry) for entry in entries] == sorted(paths)


@settings(deadline=None)
@given(trees, st.integers(1, 5), st.lists(st.integers(1, 4), min_size=4, max_size=4))
def test_the_bounds_of_reading_ahead_change_nothing(
    tree: Tree, threads: int, bounds: list[int]
) -> None:
    names = ("NAMES_AT_A_TIME", "NEAR_DIRECTORIES", "NEAR_ENTRIES", "AHEAD_DIRECTORIES")
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        for name, bound in zip(names, bounds, strict=True):
            patch.setattr(f"utils.walk.{name}", bound)
        paths = plant(tree, os.fsencode(folder))
        entries = walked(os.fsencode(folder), threads)
        assert [written(entry) for entry in entries] == sorted(paths)


def test_the_root_of_everything_is_one_slash() -> None:
    with closing(walk(b"/", Refusals())) as entries:
        first, second = islice(entries, 2)
    assert (first.path, first.type) == (b"/", "d")
    assert second.path.count(b"/") == 1


def test_links_are_listed_but_not_followed(root: bytes) -> None:
    kinds = {entry.path: entry.type for entry in walked(root)}
    links = [b"/types/to a directory", b"/types/loop", b"/types/dangling"]
    assert {kinds[root + link] for link in links} == {"l"}
    assert not any(path.startswith(root + links[0] + b"/") for path in kinds)


def test_a_mount_point_is_listed_but_not_entered(tmp_path: Path) -> None:
    (tmp_path / "mount").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside" / "file").touch()
    script = """
import subprocess
root, mount = sys.argv[1], sys.argv[1] + "/mount"
subprocess.run(["mount", "-t", "tmpfs", "-o", "uid=7,mode=751", "tmpfs", mount], check=True)
open(mount + "/inside", "w").close()
find = subprocess.run(["find", root, "-xdev", "-printf", "%p %y %U %D\\n"], capture_output=True)
entries = walked(root, 4)
ours = [f"{os.fsdecode(e.path)} {e.type} {e.uid} {e.device}" for e in entries]
assert sorted(ours) == sorted(find.stdout.decode().splitlines()), (ours, find)
for entry in entries:
    print(entry.path.decode().removeprefix(root), entry.uid == 7)
print(refusals.count)
"""
    lines = child(script, tmp_path, under=OWN_MOUNTS).splitlines()
    mine = os.geteuid() == 7
    expected = [" ", "/beside ", "/beside/file ", "/mount "]
    assert lines == [f"{path}{path == '/mount ' or mine}" for path in expected] + ["0"]


def test_what_is_mounted_after_its_directory_was_seen_is_not_entered(tmp_path: Path) -> None:
    wide(tmp_path, FAR)
    script = """
import subprocess
last = sys.argv[2]
entries = walk(os.fsencode(sys.argv[1]), refusals)
seen = [next(entries), next(entries)]
subprocess.run(["mount", "-t", "tmpfs", "tmpfs", last], check=True)
open(last + "/inside", "w").close()
print([*seen, *entries][-1].path.decode(), refusals.count)
"""
    last = tmp_path / LAST
    assert child(script, tmp_path, last, under=OWN_MOUNTS) == f"{last} 0\n"


def test_directories_that_may_not_be_read_are_listed_and_counted(tmp_path: Path) -> None:
    for number in range(REFUSALS_SHOWN + 50):
        (tmp_path / f"{number:03}").mkdir(mode=0)
    script = """
entries = walked(sys.argv[1], sys.argv[2])
print(len(entries), refusals.count, [(each.path[-3:], each.reason) for each in refusals.first])
"""
    shown = [(b"%03d" % number, "Permission denied") for number in range(REFUSALS_SHOWN)]
    for threads in (1, 16):
        printed = child(script, tmp_path, threads, under=WITHOUT_RIGHTS)
        assert printed == f"{REFUSALS_SHOWN + 51} {REFUSALS_SHOWN + 50} {shown}\n"


def test_entries_that_may_not_be_looked_up_are_counted_in_order(tmp_path: Path) -> None:
    closed = tmp_path / "names only"
    closed.mkdir()
    for number in range(10, 40):
        (closed / f"{number}").touch()
    closed.chmod(0o444)
    script = """
print(len(walked(sys.argv[1], 4)), refusals.count, refusals.first)
"""
    refused = [
        Refusal(os.fsencode(closed / f"{number}"), "Permission denied") for number in range(10, 40)
    ]
    printed = child(script, tmp_path, under=WITHOUT_RIGHTS)
    closed.chmod(0o755)
    assert printed == f"2 30 {refused}\n"


def test_a_directory_swapped_for_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "secret").touch()
    victim = tmp_path / "root" / LAST
    refusals = Refusals()
    entries = walk(wide(tmp_path / "root", FAR), refusals)
    assert len(list(islice(entries, 2))) == 2
    shutil.rmtree(victim)
    victim.symlink_to("../elsewhere")
    *_, last = entries
    assert (last.path, last.type) == (os.fsencode(victim), "d")
    assert refusals.first == [Refusal(os.fsencode(victim), "Not a directory")]


def test_a_directory_that_vanished_is_listed_and_counted(tmp_path: Path) -> None:
    refusals = Refusals()
    entries = walk(wide(tmp_path, FAR), refusals)
    assert len(list(islice(entries, 2))) == 2
    shutil.rmtree(tmp_path / LAST)
    *_, last = entries
    assert last.path == os.fsencode(tmp_path / LAST)
    assert refusals.first == [Refusal(last.path, "No such file or directory")]


def test_a_tree_that_moves_is_read_to_its_end(tmp_path: Path) -> None:
    top = wide(tmp_path / "root", FAR)
    entries = walk(top, Refusals())
    seen = list(islice(entries, 2))
    (tmp_path / "root").rename(tmp_path / "moved")
    seen += entries
    assert len(seen) == 1 + 2 * FAR
    assert {entry.path[: len(top)] for entry in seen} == {top}


def test_what_vanishes_meanwhile_is_counted(tmp_path: Path) -> None:
    for number in range(20):
        (tmp_path / f"{number}").mkdir()
    done = threading.Event()

    def come_and_go() -> None:
        while not done.is_set():
            for number in range(20):
                (tmp_path / f"{number}" / "directory").mkdir()
                (tmp_path / f"{number}" / "file").touch()
            for number in range(20):
                (tmp_path / f"{number}" / "directory").rmdir()
                (tmp_path / f"{number}" / "file").unlink()

    other = threading.Thread(target=come_and_go)
    other.start()
    refusals = Refusals()
    try:
        deadline = time.monotonic() + 60
        while not refusals.count and time.monotonic() < deadline:
            paths = [written(entry) for entry in walk(os.fsencode(tmp_path), refusals)]
            assert paths == sorted(set(paths))
            assert len(paths) >= 21
    finally:
        done.set()
        other.join()
    assert {refusal.reason for refusal in refusals.first} == {"No such file or directory"}
    assert {Path(os.fsdecode(refusal.path)).name for refusal in refusals.first} <= {
        "directory",
        "file",
    }


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("missing", "does not exist: give a directory that does"),
        ("file", "is no directory: give a directory, not a file or a link"),
        ("link", "is no directory: give a directory, not a file or a link"),
        ("file/below", "is no directory: give a directory, not a file or a link"),
        ("n" * 256, "cannot be read: File name too long; give a directory that this user may read"),
    ],
)
def test_a_root_that_is_no_directory_is_named(tmp_path: Path, name: str, why: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(".")
    with pytest.raises(WalkFailed) as failed:
        walked(os.fsencode(tmp_path / name))
    assert str(failed.value) == f"{tmp_path / name} {why}"


def test_a_root_that_may_not_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir(mode=0)
    script = """
try: walked(sys.argv[1], 4)
except WalkFailed as failed: print(failed)
"""
    printed = child(script, tmp_path / "root", under=WITHOUT_RIGHTS)
    assert printed == (
        f"{tmp_path}/root cannot be read: Permission denied; "
        "give a directory that this user may read\n"
    )


def test_a_path_longer_than_the_system_takes_is_walked(chain: Callable[..., bytes]) -> None:
    top = chain(b"n" * LONGEST, 40)
    entries = walked(top)
    assert [entry.path for entry in entries] == [path for (path,) in find(top, "%p")]
    assert len(entries[-1].path) > 10_000


def test_a_path_too_long_for_a_line_ends_there(chain: Callable[..., bytes]) -> None:
    top = chain(b"n" * LONGEST, 270)
    refusals = Refusals()
    entries = list(walk(top, refusals))
    assert [len(refusal.path) > 65_000 for refusal in refusals.first] == [True]
    assert refusals.first[0].reason == "File name too long"
    assert len(entries[-2].path) < 65_536 <= len(entries[-1].path) + 1


@pytest.mark.parametrize("beside", [b"", b"z"])
@pytest.mark.parametrize("threads", [1, 16])
def test_a_tree_deeper_than_the_limit_of_open_files_is_walked(
    chain: Callable[..., bytes], beside: bytes, threads: int
) -> None:
    top = chain(b"a", 300, beside)
    script = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 4096))
print(len(walked(*sys.argv[1:])), refusals.count)
"""
    assert child(script, os.fsdecode(top), threads) == f"{602 if beside else 302} 0\n"


def test_a_chain_of_directories_needs_few_handles(chain: Callable[..., bytes]) -> None:
    script = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
print(len(walked(*sys.argv[1:])), refusals.count)
"""
    assert child(script, os.fsdecode(chain(b"a", 300)), 4) == "302 0\n"


@pytest.mark.parametrize("threads", [1, 4])
def test_a_walk_out_of_handles_fails_by_name(chain: Callable[..., bytes], threads: int) -> None:
    script = """
resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
try: print(len(walked(*sys.argv[1:])), refusals.count)
except WalkFailed as failed: print(failed)
"""
    printed = child(script, os.fsdecode(chain(b"a", 300, b"z")), threads)
    failed = printed.endswith(
        "/a cannot be read: Too many open files; "
        "raise the limit of open files (ulimit -Hn) or free memory, and scan again\n"
    )
    # Several threads may be done with what lies beside before too many handles wait for it.
    assert failed or (threads > 1 and printed == "602 0\n")


def handles() -> dict[str, str]:
    """The open files of this process, without the one that it takes to list them."""
    found = {}
    for handle in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found[handle.name] = str(handle.readlink())
    return found


def test_open_handles_do_not_grow_with_the_tree(tmp_path: Path) -> None:
    before = len(handles())
    with closing(walk(wide(tmp_path, 1000), Refusals())) as entries:
        for _ in range(3):
            assert len(list(islice(entries, 500))) == 500
            time.sleep(0.3)
            assert len(handles()) - before <= NEAR_DIRECTORIES + 1


def test_what_is_far_ahead_is_not_read_yet(tmp_path: Path) -> None:
    top = wide(tmp_path, FAR)
    with closing(walk(top, Refusals())) as entries:
        assert next(entries).path == top
        time.sleep(0.3)
        (tmp_path / LAST / "late").touch()
        assert [entry.path for entry in entries][-1] == os.fsencode(tmp_path / LAST / "late")


@pytest.mark.parametrize("taken", [0, 1, 2, 500])
def test_a_walk_that_is_closed_ends_at_once(tmp_path: Path, taken: int) -> None:
    top = wide(tmp_path, 500)
    threads = set(threading.enumerate())
    open_before = handles()
    entries = walk(top, Refusals())
    assert len(list(islice(entries, taken))) == taken
    start = time.monotonic()
    entries.close()
    assert time.monotonic() - start < 1
    assert set(threading.enumerate()) == threads
    assert handles() == open_before


def test_a_walk_that_is_over_leaves_no_thread_and_no_handle(root: bytes) -> None:
    threads = set(threading.enumerate())
    open_before = handles()
    walked(root, 16)
    with pytest.raises(WalkFailed):
        walked(root + b"/types/loop", 16)
    assert set(threading.enumerate()) == threads
    assert handles() == open_before


def interrupt(command: list[str], delay: float) -> None:
    """Ctrl-C for a process some seconds after it first says something."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, complaint = process.communicate(timeout=30)
        assert time.monotonic() - start < 1
    assert complaint.endswith(b"KeyboardInterrupt\n")
    assert process.returncode == -signal.SIGINT


@pytest.mark.parametrize("delay", [0.01, 0.05, 0.1, 0.2, 0.3])
def test_ctrl_c_ends_a_walk_within_a_second(tmp_path: Path, delay: float) -> None:
    script = """
print("walking", flush=True)
while True:
    walked(sys.argv[1], 16)
"""
    top = os.fsdecode(wide(tmp_path, 1000))
    interrupt([sys.executable, "-c", WALKS + script, top], delay)


def test_ctrl_c_ends_a_walk_in_a_filesystem_that_hangs(tmp_path: Path) -> None:
    (tmp_path / "hangs").mkdir()
    # A FUSE filesystem that nobody serves answers no question.
    script = """
import subprocess
mount = sys.argv[1] + "/hangs"
fuse = os.open("/dev/fuse", os.O_RDWR)
os.set_inheritable(fuse, True)
options = f"fd={fuse},rootmode=40000,user_id=0,group_id=0"
subprocess.run(["mount", "-i", "-t", "fuse", "-o", options, "hangs", mount], close_fds=False)
print("walking", flush=True)
walked(sys.argv[1], 4)
"""
    interrupt([*OWN_MOUNTS, sys.executable, "-c", WALKS + script, str(tmp_path)], delay=0.5)
