"""
Units are looked at by handles: nothing leads elsewhere, whatever is done to the tree meanwhile.

What needs a mount or fewer rights than root's happens in a process of its own.
"""

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import oddities
import pytest

from lurge_types.archive import BIN_NAME, Entry
from utils import trees
from utils.handles import HANDLES, Opener, PathRefused, TreeChanged, TreeUnfit, open_root
from utils.trees import Links, entries, fingerprint, order

AS_ROOT = os.geteuid() == 0
WITHOUT_RIGHTS = ["setpriv", "--bounding-set=-all"] if AS_ROOT else []
OWN_MOUNTS = ["unshare", "--mount"] if AS_ROOT else ["unshare", "--mount", "--map-root-user"]
LOOK = """
import os, sys
from utils import trees
from utils.handles import TreeUnfit, open_root
try:
    for entry in trees.entries(open_root(os.fsencode(sys.argv[1]))):
        pass
except TreeUnfit as error:
    print(error)
"""


@contextmanager
def opened(path: Path) -> Iterator[int]:
    handle = open_root(os.fsencode(path))
    try:
        yield handle
    finally:
        os.close(handle)


def looked_at(path: Path, members: list[bytes] | None = None) -> list[Entry]:
    with opened(path) as root:
        return list(entries(root, members))


def refusal(path: Path, under: list[str], first: str = "") -> str:
    """Why a tree is unfit, as a process tells that runs under a command."""
    command = [
        *under,
        "sh",
        "-c",
        f'{first}\nexec "$@"',
        "sh",
        sys.executable,
        "-c",
        LOOK,
        str(path),
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def link_of(path: bytes) -> bytes:
    return os.readlink(path)  # noqa: PTH115 - a Path would make another of it


def open_handles() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """Directories with a file in each."""
    tree = tmp_path / "tree"
    for folder in (tree, tree / "a", tree / "a" / "b", tree / "c"):
        folder.mkdir()
        (folder / "file").write_bytes(os.fsencode(folder))
    yield tree
    oddities.remove(tree)


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    odd = tmp_path_factory.mktemp("odd") / "tree"
    oddities.make(odd, 500)
    yield odd
    oddities.remove(odd)


def test_all_entries_come_in_the_order_of_their_components(odd: Path) -> None:
    found = [entry.path for entry in looked_at(odd)]
    listed = subprocess.run(["find", odd, "-printf", r"%P\0"], check=True, capture_output=True)
    assert sorted(found) == sorted(listed.stdout.split(b"\0")[:-1])
    assert found[0] == b""
    assert found[1:] == sorted(found[1:], key=lambda path: path.split(b"/"))
    assert found == sorted(found, key=order)


def test_the_facts_are_those_of_the_disk(odd: Path) -> None:
    first: dict[int, bytes] = {}
    for entry in looked_at(odd):
        path = os.fsencode(odd) + b"/" + entry.path
        found = os.lstat(path)
        is_directory, is_device = stat.S_ISDIR(found.st_mode), entry.fingerprint.kind in "bc"
        assert entry.fingerprint == fingerprint(found)
        assert (entry.mode, entry.uid, entry.gid) == (
            found.st_mode & 0o7777,
            found.st_uid,
            found.st_gid,
        )
        assert (entry.links, entry.rdev) == (found.st_nlink, found.st_rdev if is_device else 0)
        assert entry.link == (link_of(path) if entry.fingerprint.kind == "l" else None)
        same_as = None if is_directory else first.setdefault(found.st_ino, entry.path)
        assert entry.same_as == (None if same_as == entry.path else same_as)
        names = [os.fsencode(name) for name in os.listxattr(path, follow_symlinks=False)]
        values = ((name, os.getxattr(path, name, follow_symlinks=False)) for name in sorted(names))
        assert entry.attributes == tuple(values)


def test_a_look_leaves_no_time_of_reading(tree: Path) -> None:
    paths = [tree, *tree.rglob("*")]
    with (tree / "c" / "sparse").open("wb") as file:
        file.truncate(1 << 20)
    for path in paths:
        os.utime(path, ns=(1, path.lstat().st_mtime_ns))
    looked_at(tree)
    with opened(tree) as root, Opener(root) as opener:
        handle = opener.open(b"a/file")
        os.read(handle, 1)
        os.close(handle)
    assert {path.lstat().st_atime_ns for path in paths} == {1}


@pytest.mark.parametrize(
    ("blocks", "extents"),
    [
        ("#", None),
        (".", ()),
        (".#", ((65536, 65536),)),
        ("#.", ((0, 65536),)),
        ("#..#", ((0, 65536), (196608, 65536))),
    ],
)
def test_where_a_sparse_file_has_data_is_told(
    tmp_path: Path, blocks: str, extents: tuple[tuple[int, int], ...] | None
) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(len(blocks) * 65536)
        for at, block in enumerate(blocks):
            if block == "#":
                os.pwrite(file.fileno(), b"x" * 65536, at * 65536)
    assert looked_at(tmp_path)[1].extents == extents


def test_behind_very_many_extents_all_counts_as_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trees, "MOST_EXTENTS", 3)
    with (tmp_path / "file").open("wb") as file:
        for at in range(5):
            os.pwrite(file.fileno(), b"x" * 65536, (2 * at + 1) * 65536)
    told = looked_at(tmp_path)[1].extents
    assert told == ((65536, 65536), (3 * 65536, 65536), (5 * 65536, 5 * 65536))


def test_attributes_of_the_filesystem_itself_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.setxattr(tmp_path / "file", "user.mine", b"kept")
    if AS_ROOT:
        os.setxattr(tmp_path / "file", "trusted.lov", b"striping")
    assert looked_at(tmp_path)[1].attributes == ((b"user.mine", b"kept"),)


@pytest.mark.parametrize("on_lustre", [False, AS_ROOT])
def test_a_file_that_may_have_been_released_is_not_asked_where_its_data_is(
    tmp_path: Path, on_lustre: bool
) -> None:
    (tmp_path / "file").touch()
    os.truncate(tmp_path / "file", 1 << 20)
    if on_lustre:
        os.setxattr(tmp_path / "file", "trusted.lov", b"striping")
    assert looked_at(tmp_path)[1].extents == (None if on_lustre else ())


def test_some_members_are_looked_at_alone(tree: Path) -> None:
    members = [b"a", b"a/b/file", b"c/gone", b"file", b"file/no directory"]
    assert [entry.path for entry in looked_at(tree, members)] == [b"a", b"a/b/file", b"file"]
    with pytest.raises(ValueError, match="not sorted"):
        looked_at(tree, [b"b", b"a"])


@pytest.mark.parametrize(
    "path", [b"../other", b"a/../c/file", b"/etc/passwd", b"a//file", b"./a", b"a\0"]
)
def test_a_path_that_leads_out_is_refused(tree: Path, path: bytes) -> None:
    with opened(tree) as root, Opener(root) as opener:
        with pytest.raises(PathRefused):
            opener.open(path)
        with pytest.raises(PathRefused):
            list(entries(root, [path]))


@pytest.mark.parametrize("link", ["way", "way/tree"])
def test_a_link_on_the_way_to_a_root_is_refused_where_it_is(tmp_path: Path, link: str) -> None:
    (tmp_path / "real" / "tree").mkdir(parents=True)
    (tmp_path / link).parent.mkdir(exist_ok=True)
    (tmp_path / link).symlink_to(tmp_path / "real" / link.removeprefix("way").lstrip("/"))
    with pytest.raises(PathRefused, match=f"{tmp_path}/{link} is a link"):
        open_root(os.fsencode(tmp_path / "way" / "tree"))


def test_a_root_is_opened_by_its_whole_way_only(tree: Path) -> None:
    with pytest.raises(PathRefused, match="not absolute"):
        open_root(b"tree")
    with pytest.raises(PathRefused, match=r"\.\."):
        open_root(os.fsencode(tree) + b"/a/..")
    with pytest.raises(FileNotFoundError):
        open_root(os.fsencode(tree / "none"))
    os.close(open_root(b"/"))


def swap(path: Path, other: Path) -> None:
    """Put a link to another directory in the place of one."""
    path.rename(path.with_name("moved"))
    path.symlink_to(other)


def test_a_link_swapped_in_for_a_directory_is_refused(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_bytes(b"secret")
    with opened(tree) as root, closing(entries(root)) as looking:
        while next(looking).path != b"a":
            pass
        swap(tree / "a", tmp_path / "other")
        with pytest.raises(PathRefused, match="a is a link"):
            next(looking)
        with Opener(root) as opener:
            with pytest.raises(PathRefused, match="a is a link"):
                opener.open(b"a/file")
            with pytest.raises(PathRefused, match="a is a link"):
                opener.open(b"a")


def test_another_directory_in_the_place_of_one_is_seen(tree: Path) -> None:
    with opened(tree) as root, closing(entries(root)) as looking:
        while next(looking).path != b"a":
            pass
        (tree / "a").rename(tree / "moved")
        (tree / "a").mkdir()
        with pytest.raises(TreeChanged, match="a was replaced"):
            next(looking)


def test_what_vanishes_meanwhile_is_left_out(tree: Path) -> None:
    with opened(tree) as root, closing(entries(root)) as looking:
        next(looking)
        (tree / "c" / "file").unlink()
        (tree / "file").unlink()
        rest = [entry.path for entry in looking]
    assert rest == [b"a", b"a/b", b"a/b/file", b"a/file", b"c"]


def test_a_pipe_in_the_place_of_a_file_does_not_stop_its_opening(tree: Path) -> None:
    (tree / "file").unlink()
    os.mkfifo(tree / "file")
    with opened(tree) as root, Opener(root) as opener:
        os.close(opener.open(b"file"))
        assert stat.S_ISFIFO(opener.stat(b"file").st_mode)
        assert opener.stat(b"").st_ino == tree.stat().st_ino


@pytest.mark.parametrize(("levels", "name"), [(40, b"n" * 255), (3000, b"level of a chain")])
def test_a_tree_of_any_depth_takes_few_handles(tmp_path: Path, levels: int, name: bytes) -> None:
    top = tmp_path / "top"
    oddities.chain(top, levels, name)
    (top / "zzz").touch()
    deepest = b"/".join([name] * levels + [b"file"])
    try:
        with opened(top) as root:
            before, found = open_handles(), []
            for entry in entries(root):
                found.append(entry.path)
                if len(found) % 29 == 0:
                    assert open_handles() <= before + HANDLES + 1
            assert len(found) == levels + 3
            assert found[-2:] == [deepest, b"zzz"]
            with Opener(root) as opener:
                for path in (
                    deepest,
                    b"zzz",
                    deepest,
                    deepest[: 100 * len(name)].rpartition(b"/")[0],
                ):
                    os.close(opener.open(path))
                    assert open_handles() <= before + HANDLES + 1
            assert open_handles() <= before  # less where another test has left one to be collected
    finally:
        oddities.remove(top)


def test_a_directory_above_that_is_swapped_is_seen_on_the_way_up(tmp_path: Path) -> None:
    top = tmp_path / "top"
    oddities.chain(top, 2 * HANDLES, b"d")
    (top / "d" / "e").touch()
    with opened(top) as root, closing(entries(root)) as looking:
        while not next(looking).path.endswith(b"file"):
            pass
        (top / "d").rename(top / "moved")
        (top / "d").mkdir()
        (top / "d" / "d").mkdir()
        with pytest.raises(TreeChanged, match="d is another directory"):
            list(looking)


@pytest.mark.parametrize("members", [None, [b"in/one", b"in/other"]])
def test_two_names_in_and_one_out_are_linked_elsewhere(
    tmp_path: Path, members: list[bytes] | None
) -> None:
    (tmp_path / "tree" / "in").mkdir(parents=True)
    one = tmp_path / "tree" / "in" / "one"
    one.write_bytes(b"bytes")
    (tmp_path / "tree" / "in" / "other").hardlink_to(one)
    links = Links()
    with opened(tmp_path / "tree") as root:
        assert list(links.watch(entries(root, members)))[-1].same_as == b"in/one"
        assert links.elsewhere() == []
        (tmp_path / "out").hardlink_to(one)
        links = Links()
        list(links.watch(entries(root, members)))
        assert links.elsewhere() == [b"in/one"]


def test_a_bin_in_a_tree_makes_it_unfit(tree: Path) -> None:
    (tree / "a" / os.fsdecode(BIN_NAME)).touch()
    looked_at(tree)
    (tree / "c" / os.fsdecode(BIN_NAME)).mkdir()
    with pytest.raises(TreeUnfit, match=r"c/\.lurge-bin is a bin"):
        looked_at(tree)


def test_a_tree_that_crosses_a_filesystem_is_unfit(tree: Path) -> None:
    mounting = f"mount -t tmpfs none '{tree}/a/b'"
    assert refusal(tree, OWN_MOUNTS, mounting).startswith("a/b is on another filesystem: ")


@pytest.mark.parametrize("there", ["tree/a", "elsewhere"])
def test_a_mount_of_the_same_filesystem_makes_a_tree_unfit(tree: Path, there: str) -> None:
    """Also one that shows what is there already, as any who mounts with `--rbind` may have."""
    folder = tree if there.startswith("tree") else tree.parent / there
    folder.mkdir(exist_ok=True)
    mounting = f"mount --bind '{folder}' '{tree}/a/b'"
    assert refusal(tree, OWN_MOUNTS, mounting).startswith("a/b is a mount: ")


@pytest.mark.parametrize(("mode", "where"), [(0o000, "a "), (0o300, "a "), (0o400, "a/b ")])
def test_a_directory_that_cannot_be_read_makes_its_tree_unfit(
    tree: Path, mode: int, where: str
) -> None:
    (tree / "a").chmod(mode)
    try:
        assert refusal(tree, WITHOUT_RIGHTS).startswith(f"{where}cannot be read: ")
    finally:
        (tree / "a").chmod(0o755)
