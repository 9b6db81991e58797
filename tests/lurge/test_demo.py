"""A made-up site: the same every time, exact in its numbers, and believed by every reader."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, date, datetime
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from twin import parse_lines

from lurge.demo.entries import HARD_LINKS
from lurge.demo.people import people_for
from lurge.demo.site import FEWEST, FolderTaken, Site, SiteTooSmall, make, write_scan
from lurge_types.batch import Block, Entry
from lurge_types.scans import Volume
from utils import config, vaults
from utils.names import FileNames
from utils.quotas import CsvQuotas
from utils.vaults import KeyBroken, Place
from utils.wrstat import Parser, format_line

TODAY = date(2024, 5, 6)
MANAGER = Path(__file__).parents[2] / "manager.py"
ENTRIES = 20_000


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return make(tmp_path_factory.mktemp("site"), ENTRIES, 7, TODAY)


def newest(made: Site) -> tuple[Path, ...]:
    return made.scans[-len(made.volumes) :]


@cache
def entries(scan: Path) -> list[Entry]:
    found, bad = parse_lines(gzip.decompress(scan.read_bytes()))
    assert not bad
    return found


def written(entry: Entry) -> bytes:
    return entry.path + b"/" if entry.type == "d" else entry.path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        make(tmp_path / name, 1000, 3, TODAY)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_seed_gives_another_site(tmp_path: Path) -> None:
    make(tmp_path / "one", 1000, 3, TODAY)
    make(tmp_path / "two", 1000, 4, TODAY)
    assert contents(tmp_path / "one") != contents(tmp_path / "two")


@pytest.mark.parametrize("count", [FEWEST, FEWEST + 1, 1234, 9_999, 40_003])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_newest_night_has_exactly_so_many_entries(
    tmp_path: Path, count: int, seed: int
) -> None:
    made = make(tmp_path, count, seed, TODAY)
    assert sum(len(entries(scan)) for scan in newest(made)) == made.entries == count


def test_too_few_entries_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SiteTooSmall):
        make(tmp_path / "site", FEWEST - 1, 0, TODAY)
    assert not (tmp_path / "site").exists()


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "precious").touch()
    with pytest.raises(FolderTaken):
        make(tmp_path, FEWEST, 0, TODAY)
    assert [each.name for each in tmp_path.iterdir()] == ["precious"]


def test_lines_are_in_the_order_of_their_written_paths(made: Site) -> None:
    for scan in made.scans:
        paths = [written(entry) for entry in entries(scan)]
        assert paths == sorted(set(paths))


def test_lines_are_as_the_scanner_would_write_them(made: Site) -> None:
    for scan in newest(made):
        text = gzip.decompress(scan.read_bytes())
        assert b"".join(map(format_line, entries(scan))) == text


def test_the_compiled_parser_finds_no_bad_line(made: Site) -> None:
    for scan in made.scans:
        text = gzip.decompress(scan.read_bytes())
        lines = text.count(b"\n")
        batch, bad = Parser().parse(Block(np.frombuffer(text, np.uint8), len(text), 1, lines))
        assert (len(batch), bad.count) == (lines, 0)


def test_every_entry_lies_in_a_directory_that_is_there_too(made: Site) -> None:
    for scan, mount in with_mounts(made):
        found = entries(scan)
        directories = {entry.path for entry in found if entry.type == "d"}
        assert {entry.path.rpartition(b"/")[0] for entry in found} - directories == {b"/lustre"}
        assert found[0].path == mount


def with_mounts(made: Site) -> Iterator[tuple[Path, bytes]]:
    for scan in made.scans:
        name = scan.parent.name.partition("_")[2]
        yield scan, name.replace("\uff0f", "/").encode()


def files_in_vaults(found: list[Entry]) -> dict[Entry, Place]:
    """The files that lie in a branch of a vault, and where."""
    places = {entry: vaults.place(entry.path) for entry in found if entry.type == "f"}
    return {entry: place for entry, place in places.items() if place and place.key}


def share_of_links(found: list[Entry]) -> float:
    """The share of the names of files that are one of several, but for what is in vaults."""
    marked = {entry.inode for entry in files_in_vaults(found)}
    files = [entry for entry in found if entry.type == "f" and entry.inode not in marked]
    return sum(entry.links > 1 for entry in files) / len(files)


def test_one_name_in_twenty_is_one_of_several_of_a_file(made: Site) -> None:
    for scan in newest(made):
        assert share_of_links(entries(scan)) == pytest.approx(HARD_LINKS, abs=0.005)


def test_the_names_of_a_file_agree_in_all_but_the_path(made: Site) -> None:
    together = 0
    apart = 0
    for scan in made.scans:
        files = defaultdict(list)
        for entry in entries(scan):
            files[entry.inode].append(entry)
        for names in files.values():
            assert len({name[1:] for name in names}) == 1
            assert len(names) == names[0].links or names[0].type == "d"
            folders = {name.path.rpartition(b"/")[0] for name in names}
            together += len(names) > len(folders)
            apart += len(folders) > 1
    assert together > 100
    assert apart > 100


def test_a_file_in_a_vault_is_the_one_that_its_key_tells(made: Site) -> None:
    for scan in made.scans:
        by_path = {entry.path: entry for entry in entries(scan)}
        odd = Counter[str]()
        for entry, place in files_in_vaults(entries(scan)).items():
            assert entry.path == b"/".join([place.root, b".vault", place.branch, place.key])
            try:
                key = vaults.decode(place.key)
            except KeyBroken:
                odd["broken"] += 1
                continue
            if key.inode != entry.inode:
                odd["copied"] += entry.links
                continue
            assert place.key == vaults.encode(key)
            assert entry.links in (1, 2)
            path = place.root + b"/" + key.path
            assert (path in by_path) == (entry.links == 2)
            assert by_path.get(path, entry)[1:] == entry[1:]
        assert odd <= Counter(broken=1, copied=1)
    assert odd.total() == 2


def test_a_vault_holds_an_audit_and_no_more_folders_than_its_keys_need(made: Site) -> None:
    for scan in newest(made):
        inside = [entry for entry in entries(scan) if b"/.vault/" in entry.path]
        marked = files_in_vaults(entries(scan))
        roots = {place.root for place in marked.values()}
        files = {entry.path for entry in marked} | {root + b"/.vault/.audit" for root in roots}
        assert {entry.path for entry in inside if entry.type == "f"} == files
        folders = {folder for file in files for folder in parents(file)}
        assert {entry.path for entry in inside if entry.type == "d"} == folders


def parents(file: bytes) -> Iterator[bytes]:
    """The folders below a vault on the way to a file."""
    while not (file := file.rpartition(b"/")[0]).endswith(b"/.vault"):
        yield file


def test_vaults_have_all_that_vaults_have(made: Site) -> None:
    links, branches, cut = Counter[int](), Counter[bytes](), 0
    for scan in newest(made):
        marked = files_in_vaults(entries(scan))
        assert len(marked) >= 5
        assert {place.root.split(b"/")[4] for place in marked.values()} <= {b"projects", b"teams"}
        links.update(entry.links for entry in marked)
        branches.update(place.branch for place in marked.values())
        cut += sum(b"/" in place.key.partition(b"-")[2] for place in marked.values())
    assert set(branches) == {b"keep", b"archive", b".staged", b".limbo"}
    assert branches[b"keep"] > branches[b"archive"] > branches[b".staged"]
    assert links[2] > links[1] > len(made.volumes) * 2
    assert cut > 2


def test_the_tree_grows_and_nothing_in_it_is_younger_than_its_scan(made: Site) -> None:
    older: dict[bytes, set[Entry]] = defaultdict(set)
    older_time: dict[bytes, float] = defaultdict(float)
    for scan, mount in with_mounts(made):
        found = set(entries(scan))
        scan_time = scan.stat().st_mtime
        assert found > older[mount]
        assert max(max(entry.atime, entry.mtime, entry.ctime) for entry in found) <= scan_time
        assert min(entry.mtime for entry in found - older[mount]) > older_time[mount]
        older[mount], older_time[mount] = found, scan_time


def test_the_scans_are_of_today_yesterday_and_a_week_ago(made: Site) -> None:
    days = Counter(scan.parent.name[:8] for scan in made.scans)
    assert days == {"20240429": 3, "20240505": 3, "20240506": 3}
    for scan in made.scans:
        modified = datetime.fromtimestamp(scan.stat().st_mtime, UTC)
        assert f"{modified:%Y%m%d}" == scan.parent.name[:8]


def test_inodes_do_not_fit_a_float_and_are_used_once(made: Site) -> None:
    for scan in newest(made):
        found = entries(scan)
        assert min(entry.inode for entry in found) > 2**53
        single = [entry.inode for entry in found if entry.links == 1]
        assert len(single) == len(set(single))


def test_there_are_names_that_programs_stumble_over(made: Site) -> None:
    for scan in newest(made):
        paths = b"".join(entry.path for entry in entries(scan))
        assert all(odd in paths for odd in (b"\n", b"\t", b'"', b"\\", b"\xff", b"\xc3\xaf"))


def test_an_archived_group_has_a_marker_and_next_to_nothing(made: Site) -> None:
    settings = config.read(made.config)
    names = FileNames(made.config.parent / "group")
    for scan, table in zip(newest(made), settings.volume, strict=True):
        found = entries(scan)
        markers = [entry for entry in found if entry.path.endswith(b"/.imirrored")]
        assert len(markers) == 3
        for marker in markers:
            group_directory, _, name = os.fsdecode(marker.path.rpartition(b"/")[0]).rpartition("/")
            assert group_directory in table.group_directories
            assert name == names.groups([marker.gid])[marker.gid].name
            assert sum(entry.size for entry in found if entry.gid == marker.gid) < 100 << 20


def test_limits_are_around_the_use_of_groups_that_have_names(made: Site) -> None:
    settings = config.read(made.config)
    assert settings.names.group_file
    assert settings.quotas.csv_file
    names = FileNames(settings.names.group_file)
    quotas = CsvQuotas(settings.quotas.csv_file)
    over: Counter[bool | None] = Counter()
    for scan, table in zip(newest(made), settings.volume, strict=True):
        used: Counter[int] = Counter()
        sizes = {entry.inode: entry for entry in entries(scan)}
        for entry in sizes.values():
            used[entry.gid] += entry.size
        groups = names.groups(used).values()
        limits = quotas.limits(Volume(table.name), list(groups)).limits
        for gid in used:
            limit = limits[gid].used_bytes if gid in limits else None
            over[None if limit is None else used[gid] > limit] += 1
    assert min(over[True], over[False], over[None]) >= 5
    assert over[False] > over[True]


def test_one_group_is_known_to_nobody(made: Site) -> None:
    names = FileNames(made.config.parent / "group")
    gids = {entry.gid for scan in newest(made) for entry in entries(scan)} - {0}
    unknown = [group for group in names.groups(gids).values() if group.name == f"gid:{group.gid}"]
    assert len(unknown) == 1


def test_all_users_but_one_are_known(made: Site) -> None:
    settings = config.read(made.config)
    assert settings.names.group_file
    names = FileNames(settings.names.group_file, settings.names.user_file)
    uids = {entry.uid for scan in newest(made) for entry in entries(scan)}
    users = names.users(uids).values()
    assert [user.name for user in users if not user.known] == [f"uid:{max(uids)}"]
    assert len({user.name for user in users}) == len(users) == made.users + 1
    gids = {user.gid for user in users if user.gid is not None}
    assert sum(group.known for group in names.groups(gids).values()) >= len(gids) - 1


@pytest.mark.parametrize("count", [300, 100_000, 10**9])
def test_no_two_people_or_groups_have_one_name(count: int) -> None:
    people = people_for(count)
    assert len(set(people.groups)) == len(people.groups) <= 500
    assert len(set(people.users)) == len(people.users) <= 800


def test_reports_can_be_made_of_it(tmp_path: Path) -> None:
    made = make(tmp_path / "site", 3000, 1, datetime.now(UTC).date())
    run = subprocess.run(
        [sys.executable, MANAGER, "reporter", "--config", made.config, "--json"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    outcomes = [json.loads(line) for line in run.stdout.splitlines()]
    assert {outcome["volume"] for outcome in outcomes} == set(made.volumes)
    assert {outcome["status"] for outcome in outcomes} == {"written"}
    tsv = "".join(path.read_text() for path in (tmp_path / "site" / "reports").rglob("*.tsv"))
    assert len(tsv.splitlines()) > len(made.volumes) * 5


@pytest.mark.parametrize("hard_links", [0.0, 0.05, 0.3])
def test_a_single_scan_has_the_share_of_hard_links_asked_for(
    tmp_path: Path, hard_links: float
) -> None:
    write_scan(tmp_path / "stats.gz", 50_000, 1, TODAY, hard_links)
    found = entries(tmp_path / "stats.gz")
    assert len(found) == 50_000
    assert share_of_links(found) == pytest.approx(hard_links, abs=0.002)
    in_vaults = len(files_in_vaults(found)) / len(found)
    assert in_vaults == 0 if not hard_links else 0.002 < in_vaults < 0.02
