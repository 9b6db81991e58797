"""The summary of a tree: each directory with all below it, found however its path is written."""

import json
import os
import pty
import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from site_of_tests import TODAY, Site, entries, entry, text

from lurge.onepass.threads import one_pass
from lurge.tree import LARGEST_SHOWN, Tree, TreeFailed, Wanted, read_tree
from lurge_types.batch import Entry
from lurge_types.config import Config
from lurge_types.scans import Scan, Volume

SCAN_TIME = 1_800_000_000
DAY = 86_400
MDTS = {b"/s/mdt*/projects": b"/s/projects"}

Components = tuple[bytes, ...]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scans")


def summary(
    folder: Path,
    lines: Sequence[Entry],
    path: bytes,
    depth: int = 1,
    symlinks: Mapping[bytes, bytes] | None = None,
) -> Tree:
    file = folder / "scan"
    file.write_bytes(text(lines))
    scan = Scan(Volume("s"), file, date(2026, 1, 1), SCAN_TIME)
    wanted = Wanted(path, depth, dict(symlinks or {}))
    return read_tree(Config(), scan, wanted, partial(one_pass, 2), lambda _: None)


def sizes(tree: Tree) -> dict[bytes, int]:
    return {row.real_path: row.used_bytes for row in tree.directories}


def tsv(site: Site, *arguments: str | Path) -> dict[str, dict[str, str]]:
    """The rows that a program is given, by their real path."""
    done = site.run("tree", *arguments)
    assert done.returncode == 0, done.stderr
    header, *lines = done.stdout.splitlines()
    rows = [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]
    assert rows == sorted(rows, key=lambda row: row["path"].encode())
    return {row["real_path"]: row for row in rows}


def at_a_terminal(site: Site, *arguments: str) -> list[str]:
    """The lines that a person sees who runs this."""
    ours, theirs = pty.openpty()
    command = site.command("tree", *arguments)
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env={**os.environ, **site.env}
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:  # what a terminal says when its last program has ended
        pass
    os.close(ours)
    _, errors = process.communicate()
    assert process.returncode == 0, errors
    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.decode())
    return [line.rstrip() for line in plain.splitlines()]


# The sums, against the rule as it is written down.


def parts(path: bytes) -> Components:
    return tuple(part for part in path.split(b"/") if part)


def stands_for(real: Components, path: bytes, symlinks: Mapping[bytes, bytes]) -> bool:
    """Whether a real directory is what people mean by a path."""
    for pattern, shown in symlinks.items():
        known = parts(pattern)
        alike = len(real) >= len(known) and all(
            re.fullmatch(re.escape(name).replace(rb"\*", b".*"), part, re.DOTALL)
            for name, part in zip(known, real, strict=False)
        )
        if alike and parts(shown) + real[len(known) :] == parts(path):
            return True
    return real == parts(path)


def plainly(
    lines: Sequence[Entry], path: bytes, depth: int, symlinks: Mapping[bytes, bytes]
) -> dict[bytes, tuple[int, int, int]]:
    """Bytes, inodes and newest modification by real path."""
    single: dict[Components, list[int]] = defaultdict(list)
    linked: dict[Components, dict[tuple[int, int], int]] = defaultdict(dict)
    newest: dict[Components, int] = defaultdict(int)
    for each in lines:
        own = parts(each.path) if each.type == "d" else parts(each.path)[:-1]
        above = [own[:length] for length in range(len(own) + 1)]
        top = next((place for place in above if stands_for(place, path, symlinks)), None)
        for place in above[len(top) :][: depth + 1] if top is not None else []:
            newest[place] = max(newest[place], each.mtime if 0 < each.mtime <= SCAN_TIME else 0)
            if each.type == "f" and each.links > 1:
                file = each.device, each.inode
                linked[place][file] = max(linked[place].get(file, 0), each.size)
            else:
                single[place].append(each.size)
    return {
        b"/" + b"/".join(place): (
            sum(single[place]) + sum(linked[place].values()),
            len(single[place]) + len(linked[place]),
            newest[place],
        )
        for place in newest
    }


names = st.sampled_from(["a", "m1", "b", "m2", "a*", "\n"])
paths = st.lists(names, max_size=5).map(lambda found: "/" + "/".join(found))
tops = st.sampled_from(["/", "/a", "/b", "/a/b", "/m1", "/m1/a", "/a*"])
layouts: st.SearchStrategy[dict[bytes, bytes]] = st.sampled_from(
    [
        {},
        {b"/m*": b"/a"},
        {b"/m*/a": b"/a"},
        {b"/a/m*": b"/a", b"/b/m1": b"/a/b"},
        {b"/*/b": b"/b", b"/a": b"/b"},
    ]
)
scans = st.lists(
    st.builds(
        lambda path, type_, **facts: entry(path, type="d" if path == "/" else type_, **facts),
        path=paths,
        type_=st.sampled_from("ffdl"),
        size=st.integers(0, 10**12),
        mtime=st.integers(SCAN_TIME - 5 * DAY, SCAN_TIME + 5) | st.just(0),
        inode=st.integers(0, 3),
        links=st.integers(0, 3),
        device=st.integers(1, 2),
    ),
    min_size=10,
    max_size=60,
)


@settings(max_examples=300)
@given(scans, tops, st.integers(0, 6), layouts)
def test_sums_are_those_of_the_plain_rule(
    folder: Path, lines: list[Entry], path: str, depth: int, symlinks: dict[bytes, bytes]
) -> None:
    expected = plainly(lines, path.encode(), depth, symlinks)
    if not expected:
        with pytest.raises(TreeFailed, match="is no directory in the scan"):
            summary(folder, lines, path.encode(), depth, symlinks)
        return
    tree = summary(folder, lines, path.encode(), depth, symlinks)
    assert len(tree.directories) == len(expected)
    for row in tree.directories:
        used, inodes, modified = expected[row.real_path]
        assert (row.used_bytes, row.inodes) == (used, inodes)
        if not modified:
            assert row.last_modified_days is None
        else:
            days = float(row.last_modified_days or 0)
            assert abs(days - (SCAN_TIME - modified) / DAY) <= 0.0501


def test_a_file_with_several_names_counts_once_in_each_row(folder: Path) -> None:
    lines = [
        entry("/a/b/one", size=100, links=3, inode=5),
        entry("/a/b/two", size=100, links=3, inode=5),
        entry("/a/c/three", size=100, links=3, inode=5),
        entry("/a/c/other", size=1, links=2, inode=6),
    ]
    assert sizes(summary(folder, lines, b"/a")) == {b"/a": 101, b"/a/b": 100, b"/a/c": 101}


def test_files_directly_in_the_path_count_to_it_alone(folder: Path) -> None:
    lines = [entry("/a", type="d", size=4), entry("/a/file", size=10), entry("/a/b/file", size=20)]
    assert sizes(summary(folder, lines, b"/a", 5)) == {b"/a": 34, b"/a/b": 20}


def test_a_directory_is_there_if_it_or_only_something_below_it_is_listed(folder: Path) -> None:
    lines = [entry("/a/empty", type="d", size=1), entry("/a/b/c/file", size=2)]
    assert sizes(summary(folder, lines, b"/a", 2)) == {
        b"/a": 3,
        b"/a/b": 2,
        b"/a/b/c": 2,
        b"/a/empty": 1,
    }


def test_a_tree_without_a_byte_has_no_shares(folder: Path) -> None:
    (row,) = summary(folder, [entry("/a", type="d", size=0)], b"/a").directories
    assert (row.used_bytes, row.share_percent) == (0, None)


def test_a_star_in_a_name_is_a_star(folder: Path) -> None:
    lines = [entry("/a*/file", size=1), entry("/ab/file", size=2)]
    assert sizes(summary(folder, lines, b"/a*")) == {b"/a*": 1}


def test_real_directories_that_are_known_by_one_path_stay_apart(folder: Path) -> None:
    lines = [
        entry("/s/mdt0/projects/x/file", size=30),
        entry("/s/mdt1/projects/x/file", size=10),
        entry("/s/mdt1/else/file", size=1000),
    ]
    tree = summary(folder, lines, b"/s/projects", 1, MDTS)
    assert sorted(
        (row.path, row.real_path, str(row.share_percent)) for row in tree.directories
    ) == [
        (b"/s/projects", b"/s/mdt0/projects", "75.0"),
        (b"/s/projects", b"/s/mdt1/projects", "25.0"),
        (b"/s/projects/x", b"/s/mdt0/projects/x", "75.0"),
        (b"/s/projects/x", b"/s/mdt1/projects/x", "25.0"),
    ]


def test_a_real_path_is_shown_by_the_path_that_people_use(folder: Path) -> None:
    lines = [entry("/s/mdt0/projects/x/file"), entry("/s/mdt1/projects/x/file")]
    (row,) = summary(folder, lines, b"/s/mdt0/projects/x", 1, MDTS).directories
    assert (row.path, row.real_path) == (b"/s/projects/x", b"/s/mdt0/projects/x")


def test_sizes_that_cannot_be_are_an_error_and_no_small_number(folder: Path) -> None:
    lines = [entry("/a/b/x", size=2**63 - 1), entry("/a/c/x", size=1)]
    with pytest.raises(TreeFailed, match=r"/scan: sizes add up to 2\^63"):
        summary(folder, lines, b"/a")


# A real tree.


def du(option: str, tree: Path) -> int:
    """What du says of a tree, which counts a file once."""
    command = ["du", "-s", "-x", option, "--block-size=1", str(tree)]
    return int(subprocess.run(command, capture_output=True, check=True).stdout.split()[0])


def test_bytes_and_inodes_are_those_of_du(site: Site) -> None:
    top = site.folder / "tree"
    for number, name in enumerate(["e", "e/f", "a/b/c", "a/d", "caf\udce9\n"]):
        (top / name).mkdir(parents=True)
        (top / name / "file").write_bytes(b"x" * 1000 * number)
        (top / name / "again").hardlink_to(top / name / "file")
        (top / "e" / f"file{number}").hardlink_to(top / name / "file")
        (top / name / "link").symlink_to("file")
    (top / "file").write_bytes(b"x" * 77)
    assert site.run("scan", top).returncode == 0
    rows = tsv(site, top, "--depth", "2")
    below = [
        path for path in top.rglob("*") if path.is_dir() and len(path.parts) <= len(top.parts) + 2
    ]
    forms = {path: str(path).replace("\udce9\n", "\\xe9\\n") for path in (top, *below)}
    assert sorted(rows) == sorted(forms.values())
    # Newer versions of du leave the directories' own sizes out.
    empty = site.folder / "empty"
    empty.mkdir()
    left_out = not du("--apparent-size", empty)
    for path, form in forms.items():
        directories = [path, *(each for each in path.rglob("*") if each.is_dir())]
        own = sum(each.stat().st_size for each in directories) if left_out else 0
        assert int(rows[form]["used_bytes"]) == du("--apparent-size", path) + own
        assert int(rows[form]["inodes"]) == du("--inodes", path)


# What people and programs get.

LAYOUT = [
    entry("/lustre/s1", type="d", size=0),
    entry("/lustre/s1/small/file", size=2**20),
    entry("/lustre/s1/large/part/file", size=3 * 2**20),
    entry("/lustre/s1/large/rest/file", size=2 * 2**20),
    entry("/lustre/s1/old/file", size=2**21, mtime=0),
]


def test_a_terminal_shows_each_directory_below_its_own_the_largest_first(site: Site) -> None:
    site.add_scan(LAYOUT)
    title, header, *rows = at_a_terminal(site, "/lustre/s1", "--depth", "2")
    assert title == f"Scan of {TODAY} 01:02 UTC"
    assert header.split() == ["size", "%", "inodes", "modified", "path"]
    assert [(row.split()[:4], row.split()[-1]) for row in rows] == [
        (["8.0", "MiB", "100.0", "5"], "/lustre/s1"),
        (["5.0", "MiB", "62.5", "2"], "/lustre/s1/large"),
        (["3.0", "MiB", "37.5", "1"], "/lustre/s1/large/part"),
        (["2.0", "MiB", "25.0", "1"], "/lustre/s1/large/rest"),
        (["2.0", "MiB", "25.0", "1"], "/lustre/s1/old"),
        (["1.0", "MiB", "12.5", "1"], "/lustre/s1/small"),
    ]
    assert rows[4].split()[4] == "-"
    assert "d ago" in rows[0]


def test_a_terminal_says_how_many_directories_it_leaves_out(site: Site) -> None:
    count = LARGEST_SHOWN + 20
    site.add_scan([entry(f"/lustre/s1/{i}/deep/file", size=i) for i in range(1, count + 1)])
    *rows, last = at_a_terminal(site, "/lustre/s1", "--depth", "2")[2:]
    assert len(rows) == LARGEST_SHOWN
    assert (
        last
        == f"... and {2 * count + 1 - LARGEST_SHOWN} more, none of them larger: --all shows them"
    )
    seen = {row.split()[-1] for row in rows}
    assert {str(Path(path).parent) for path in seen - {"/lustre/s1"}} <= seen
    assert len(at_a_terminal(site, "/lustre/s1", "--depth", "2", "--all")[2:]) == 2 * count + 1


def test_a_terminal_shows_real_paths_where_shown_ones_are_alike(site: Site) -> None:
    site.config = '[symlinks]\n"/lustre/s1/mdt*/p" = "/lustre/s1/p"'
    site.env = {"COLUMNS": "120"}
    site.add_scan([entry("/lustre/s1/mdt0/p/f"), entry("/lustre/s1/mdt1/p/f", size=3)])
    _, header, *rows = at_a_terminal(site, "/lustre/s1/p")
    assert header.endswith("real path")
    assert [row.split()[-2:] for row in rows] == [
        ["/lustre/s1/p", "/lustre/s1/mdt0/p"],
        ["/lustre/s1/p", "/lustre/s1/mdt1/p"],
    ]
    assert not at_a_terminal(site, "/lustre/s1/mdt0/p")[1].endswith("real path")


def test_programs_get_tsv_in_utf_8_whatever_the_locale(site: Site) -> None:
    site.add_scan([entry("/lustre/s1/café/f", mtime=0), entry(b"/lustre/s1/x\xe9\t/f", size=5)])
    site.env = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    process = site.start("tree", "/lustre/s1")
    out = process.communicate()[0]
    assert out.splitlines() == [
        "path\treal_path\tused_bytes\tinodes\tlast_modified_days\tshare_percent",
        *(
            "\t".join((path, path, *rest))
            for path, *rest in (
                ("/lustre/s1", "15", "2", age_of(out), "100.0"),
                ("/lustre/s1/café", "10", "1", "-", "66.7"),
                ("/lustre/s1/x\\xe9\\t", "5", "1", age_of(out), "33.3"),
            )
        ),
    ]


def age_of(out: str) -> str:
    """The age in the first row, which is that of 1970."""
    age = out.splitlines()[1].split("\t")[4]
    assert float(age) > 20_000
    return age


def test_json_has_an_object_for_each_directory(site: Site) -> None:
    site.add_scan(LAYOUT)
    done = site.run("tree", "/lustre/s1/old", "--json", "--depth", "0")
    assert [json.loads(line) for line in done.stdout.splitlines()] == [
        {
            "path": "/lustre/s1/old",
            "real_path": "/lustre/s1/old",
            "used_bytes": 2**21,
            "inodes": 1,
            "last_modified_days": None,
            "share_percent": 100.0,
            "volume": "s1",
            "record_date": TODAY.isoformat(),
        }
    ]


def test_nothing_is_written_and_no_database_is_needed(site: Site) -> None:
    site.database = "mysql+pymysql://nobody@127.0.0.1:1/lurge"
    site.add_scan(LAYOUT)
    tsv(site, "/lustre/s1")
    assert {path.name for path in site.folder.iterdir()} == {"lurge.toml", "wrstat"}


def test_of_several_ranks_one_prints(site: Site) -> None:
    site.add_scan(LAYOUT)
    alone = tsv(site, "/lustre/s1")
    site.ranks = 2
    assert tsv(site, "/lustre/s1") == alone


# Which tree, of which scan.


@pytest.mark.parametrize(
    "path", ["/lustre/s1", "/lustre/s1/", "//lustre/./s1/large/..", "/lustre/s1//"]
)
def test_a_path_may_be_written_in_many_ways(site: Site, path: str) -> None:
    site.add_scan(LAYOUT)
    assert tsv(site, path)["/lustre/s1"]["inodes"] == "5"


def test_a_relative_path_starts_in_the_working_directory(site: Site) -> None:
    top = site.folder / "tree"
    (top / "sub").mkdir(parents=True)
    assert site.run("scan", top).returncode == 0
    process = site.start("tree", ".", "--depth", "0", cwd=top / "sub")
    assert process.communicate()[0].splitlines()[1].startswith(f"{top}/sub\t")


def test_the_root_of_everything_may_be_a_volume(site: Site) -> None:
    site.add_scan([entry("/", type="d", size=1), entry("/bin/x", size=2)], "/")
    rows = tsv(site, "/")
    assert {path: row["used_bytes"] for path, row in rows.items()} == {"/": "3", "/bin": "2"}
    assert list(tsv(site, "/bin")) == ["/bin"]


def test_a_path_that_is_not_utf_8_is_found(site: Site) -> None:
    site.add_scan([entry(b"/lustre/s1/\xff\n/file"), entry("/lustre/s1/x/file")])
    assert list(tsv(site, os.fsdecode(b"/lustre/s1/\xff\n"))) == ["/lustre/s1/\\xff\\n"]


def test_the_innermost_mount_has_the_path(site: Site) -> None:
    site.add_scan([entry("/lustre/s1/x/file", size=1)], "/lustre")
    site.add_scan([entry("/lustre/s1/x/file", size=2)], "/lustre/s1")
    assert tsv(site, "/lustre/s1/x")["/lustre/s1/x"]["used_bytes"] == "2"
    assert tsv(site, "/lustre/s1/x", "--volume", "lustre")["/lustre/s1/x"]["used_bytes"] == "1"


def test_the_path_that_people_use_may_lie_in_another_volume_than_its_files(site: Site) -> None:
    site.config = '[symlinks]\n"/lustre/s*/projects" = "/projects"'
    site.add_scan([entry("/lustre/s1/projects/x/file")])
    site.add_scan([entry("/projects", type="l")], "/")
    assert list(tsv(site, "/projects/x")) == ["/lustre/s1/projects/x"]
    site.add_scan([entry("/lustre/s2/projects/x/file")], "/lustre/s2")
    done = site.run("tree", "/projects/x")
    assert done.returncode == 2
    assert "may lie in s1 (/lustre/s1), s2 (/lustre/s2): say in which with --volume" in done.stderr
    assert list(tsv(site, "/projects/x", "--volume", "s2")) == ["/lustre/s2/projects/x"]


def test_volumes_of_which_only_names_are_known_are_told_by_the_option(site: Site) -> None:
    site.wrstat.mkdir()
    for name in ("s1", "s2"):
        file = site.add_scan([entry(f"/lustre/{name}/x/file")], f"/lustre/{name}")
        file.rename(site.wrstat / f"{TODAY:%Y%m%d}_{name}.abc.def.stats.gz")
        file.parent.rmdir()
        if name == "s1":
            assert list(tsv(site, "/lustre/s1")) == ["/lustre/s1", "/lustre/s1/x"]
    done = site.run("tree", "/lustre/s1")
    assert (done.returncode, "may lie in s1, s2" in done.stderr) == (2, True)
    assert list(tsv(site, "/lustre/s1", "--volume", "s1")) == ["/lustre/s1", "/lustre/s1/x"]


def test_a_date_takes_exactly_that_days_scan_else_it_is_the_newest(site: Site) -> None:
    old = TODAY - timedelta(days=30)
    site.add_scan(entries(10), day=old)
    site.add_scan(entries(20))
    assert tsv(site, "/lustre/s1")["/lustre/s1"]["inodes"] == "18"
    assert tsv(site, "/lustre/s1", "--date", old.isoformat())["/lustre/s1"]["inodes"] == "9"


def test_without_a_configuration_the_defaults_serve(site: Site) -> None:
    (site.folder / "tree").mkdir()
    for arguments in (["scan", "tree"], ["tree", "tree"]):
        command = [*site.command(*arguments)[:-2], "--defaults"]
        done = subprocess.run(command, cwd=site.folder, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[1].split("\t")[0] == str(site.folder / "tree")
    assert done.stderr == ""


# Trouble.


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["/lustre"], 2, "/lustre lies above s1 (/lustre/s1): give a path in one of them"),
        (["/lustre/s10"], 2, "/lustre/s10 lies in none of s1 (/lustre/s1): give a path that does"),
        (["/lustre/s1", "--volume", "x"], 2, "--volume x: the volumes are s1"),
        (["/x\\\n", "--volume", "s1"], 2, "/x\\\\\\n lies in none of s1 (/lustre/s1)"),
        (["/lustre/s1", "--depth", "-1"], 2, "--depth"),
        (["/lustre/s1", "--date", "2001-01-01"], 3, "no scan of 2001-01-01"),
        (["/lustre/s1/lar"], 1, "/lustre/s1/lar is no directory in the scan of s1 (/lustre/s1) of"),
        (["/lustre/s1/old/file"], 1, "/lustre/s1/old/file is no directory in the scan"),
        ([], 2, "PATH"),
    ],
)
def test_a_tree_that_cannot_be_given_is_an_error_of_one_line(
    site: Site, arguments: list[str], status: int, complaint: str
) -> None:
    site.add_scan(LAYOUT)
    done = site.run("tree", *arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert complaint in done.stderr.splitlines()[-1]


def test_a_configured_volume_without_a_scan_ends_with_status_3(site: Site) -> None:
    site.config = '[[volume]]\nname = "one"\nmount = "/lustre/s1"\n'
    done = site.run("tree", "/lustre/s1")
    assert done.returncode == 3
    assert "no scan of one (/lustre/s1) of the last 10 days" in done.stderr


def test_a_path_in_a_retired_volume_has_the_summary_of_its_newest_scan(site: Site) -> None:
    site.config = "".join(
        f'[[volume]]\nname = "{name}"\nmount = "/lustre/{name}"\n' for name in ("s2", "s1")
    )
    site.config += f"retired = {TODAY}\n"
    site.add_scan(entries(9, mount="/lustre/s2"), "/lustre/s2")
    done = site.run("tree", "/lustre/s1")
    assert done.returncode == 3
    assert "no scan of s1 (/lustre/s1) of the last 10 days" in done.stderr
    site.add_scan(entries(9), day=TODAY - timedelta(days=3))
    assert "/lustre/s1/dir0" in tsv(site, "/lustre/s1")
    assert "/lustre/s2/dir0" in tsv(site, "/lustre/s2")


def test_a_damaged_scan_ends_with_status_1_and_no_row(site: Site) -> None:
    scan = site.add_scan(entries(1000))
    scan.write_bytes(scan.read_bytes()[:-9])
    done = site.run("tree", "/lustre/s1")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"{scan} is cut short" in done.stderr


def test_bad_lines_are_told_beside_the_rows_and_too_many_fail(site: Site) -> None:
    site.add_scan(text(LAYOUT) + b"x\n" * 3)
    done = site.run("tree", "/lustre/s1")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 5)
    assert "3 bad lines (line 6: not 11 or 12 columns" in done.stderr
    site.add_scan(text(LAYOUT) + b"x\n" * 11, "/lustre/s2")
    done = site.run("tree", "/lustre/s2")
    assert (done.returncode, done.stdout) == (1, "")
    assert "11 of 16 lines are bad" in done.stderr
