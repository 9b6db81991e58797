"""A made-up site: the same every time, exact in its numbers, and believed by every reader."""

import gzip
import json
import os
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sql
from sqlalchemy.engine import Connection
from twin import parse_lines

from db import usage
from db.schema import lustre_usage, vault
from lurge.demo.entries import HARD_LINKS
from lurge.demo.people import people_for
from lurge.demo.site import FEWEST, FolderTaken, Site, SiteTooSmall, make, write_scan
from lurge.forecast.foretell import days_needed
from lurge.warned import judged
from lurge_types.batch import Block, Entry
from lurge_types.config import WarningsTable
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


def test_a_vault_holds_an_audit_and_the_folders_that_its_keys_need(made: Site) -> None:
    for scan in made.scans:
        inside = [entry for entry in entries(scan) if b"/.vault/" in entry.path]
        marked = files_in_vaults(entries(scan))
        roots = {place.root for place in marked.values()}
        audits = {entry.path for entry in inside if entry.path.endswith(b"/.audit")}
        assert audits >= {root + b"/.vault/.audit" for root in roots}
        files = {entry.path for entry in marked} | audits
        assert {entry.path for entry in inside if entry.type == "f"} == files
        folders = {folder for file in files for folder in parents(file)}
        there = {entry.path for entry in inside if entry.type == "d"}
        assert there >= folders
        assert len(there) < 1.5 * len(folders)  # those of files that are not marked any more stay


def test_files_are_marked_between_the_nights_and_marks_are_taken_away(made: Site) -> None:
    seen: dict[bytes, list[set[bytes]]] = defaultdict(list)
    for scan, mount in with_mounts(made):
        seen[mount].append({entry.path for entry in files_in_vaults(entries(scan))})
    for oldest, middle, newest_night in seen.values():
        assert newest_night - middle
        assert oldest - middle - newest_night
        assert len(oldest & middle & newest_night) > len(newest_night) / 2


def test_a_file_that_is_not_marked_any_more_is_there_with_one_link(made: Site) -> None:
    links: dict[tuple[int, int], list[int]] = defaultdict(list)
    for scan in made.scans:
        for inode, file in {(each.device, each.inode): each for each in entries(scan)}.items():
            links[inode].append(file.links)
    changes = Counter(tuple(each) for each in links.values() if len(set(each)) > 1)
    assert set(changes) >= {(1, 1, 2), (2, 1, 1)}
    assert set(changes) <= {(1, 1, 2), (2, 1, 1), (1, 2)}


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
    marked = {each.inode for scan in made.scans for each in files_in_vaults(entries(scan))}
    for scan, mount in with_mounts(made):
        found = {entry for entry in entries(scan) if entry.inode not in marked}
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


CLASSES = {"now": 730, "soon": 365, "watch": 180}


class Directory:
    """What lies in a directory of a group's directory, over all groups."""

    def __init__(self) -> None:
        self.by_age: Counter[int] = Counter()
        self.by_gid: Counter[int] = Counter()
        self.inodes: set[int] = set()

    def add(self, entry: Entry, scan_time: int) -> None:
        self.by_age[(scan_time - max(entry.atime, entry.mtime)) // 86_400] += entry.size
        self.by_gid[entry.gid] += entry.size
        self.inodes.add(entry.inode)

    def kind(self, *, left_out: int = 0) -> str | None:
        """The class of candidates, if so many bytes more were not there."""
        size = self.by_age.total() - left_out
        for kind, days in CLASSES.items():
            cold = sum(count for age, count in self.by_age.items() if age >= days)
            if size >= 1 << 30 and cold >= 0.95 * size:
                return kind
        return None


def directories(scan: Path) -> dict[bytes, Directory]:
    """The directories right below the groups' own, without vaults."""
    found: dict[bytes, Directory] = defaultdict(Directory)
    for entry in entries(scan):
        path = b"/".join(entry.path.split(b"/")[:7])
        if entry.type == "f" and b"/humgen/" in path and path != entry.path:
            found[path].add(entry, int(scan.stat().st_mtime))
    return {path: each for path, each in found.items() if not path.endswith(b"/.vault")}


@pytest.mark.parametrize("count", [1000, 3000, ENTRIES])
@pytest.mark.parametrize("seed", [1, 2])
def test_there_are_candidates_of_all_classes_and_such_as_only_look_so(
    tmp_path: Path, count: int, seed: int
) -> None:
    made = make(tmp_path, count, seed, TODAY)
    for scan in newest(made):
        marked = files_in_vaults(entries(scan))
        kept = {entry.inode for entry, place in marked.items() if place.branch == b"keep"}
        archived = {entry.gid for entry in entries(scan) if entry.path.endswith(b"/.imirrored")}
        found = directories(scan)
        free = Counter(
            each.kind()
            for each in found.values()
            if not each.inodes & kept and not each.by_gid.keys() & archived
        )
        assert set(free) >= set(CLASSES)
        assert any(each.kind() and each.inodes & kept for each in found.values())
        assert any(each.kind() and each.by_gid.keys() & archived for each in found.values())
        assert any(
            not each.kind() and each.kind(left_out=min(each.by_gid.values()))
            for each in found.values()
            if len(each.by_gid) > 1
        )
        assert b"archive" in {place.branch for place in marked.values()}


@pytest.fixture(scope="module")
def tried(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a site as the command makes it."""
    folder = tmp_path_factory.mktemp("tried") / "site"
    told = lurge("demo", folder, "--entries", "3000", "--seed", "1")
    assert "candidates" in told
    return folder


def lurge(*words: object) -> str:
    """What the command prints."""
    run = subprocess.run(
        [sys.executable, MANAGER, *map(str, words)], check=False, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@contextmanager
def connected(folder: Path) -> Iterator[Connection]:
    engine = sql.create_engine(f"sqlite:///{folder / 'lurge.db'}")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def nights(folder: Path) -> list[date]:
    days = {each.name[:8] for each in (folder / "wrstat").iterdir()}
    return [date.fromisoformat(day) for day in sorted(days)]


def volumes(folder: Path) -> list[str]:
    return [each.name for each in config.read(folder / "lurge.toml").volume]


def test_there_is_a_year_of_history_up_to_the_oldest_night(tried: Path) -> None:
    oldest = nights(tried)[0]
    year = [oldest - timedelta(days) for days in range(365, 0, -1)]
    with connected(tried) as connection:
        for name in volumes(tried):
            records = usage.history(connection, name, date.min, date.max)
            days = defaultdict(list)
            for gid, day in zip(records.gid.tolist(), records.day.tolist(), strict=True):
                days[gid].append(date.fromordinal(day))
            assert all(sorted(each) == year for each in days.values())
            assert set(days) == set(used(tried, name, oldest))


def used(folder: Path, volume: str, night: date) -> Counter[int]:
    """What each group uses by the scan of a night."""
    [scan] = (folder / "wrstat").glob(f"{night:%Y%m%d}-*{volume}/stats.gz")
    files = {entry.inode: entry for entry in entries(scan)}
    total: Counter[int] = Counter()
    for entry in files.values():
        total[entry.gid] += entry.size
    return total


def test_the_nights_follow_on_the_history_without_a_fall(tried: Path) -> None:
    oldest, *later = nights(tried)
    with connected(tried) as connection:
        for name in volumes(tried):
            last = usage.last_used(connection, name, oldest)
            for night in (oldest, *later):
                now = used(tried, name, night)
                assert all(now[gid] >= 0.9 * before for gid, before in last.items())
                last = now


def test_no_group_is_cleaned_up_in_the_days_before_the_oldest_night(tmp_path: Path) -> None:
    fell = 0
    for past in make(tmp_path, 100_000, 1, TODAY).pasts:
        change = past.used_bytes[:, 1:] / np.maximum(past.used_bytes[:, :-1], 1)
        assert change[:, -7:].min() > 0.9
        fell += int(np.count_nonzero(change < 0.8))
    assert fell > 100


def test_there_are_groups_of_all_levels_with_forecasts_and_without(tried: Path) -> None:
    today = nights(tried)[-1]
    limited: Counter[tuple[bool, bool]] = Counter()
    lurge("--config", tried / "lurge.toml", "reporter")
    with connected(tried) as connection:
        for name in volumes(tried):
            rows = usage.read(connection, name, today)
            levels = Counter(row.warning for row in rows)
            assert set(levels) == {1, 2, 3}
            foretold = [row.foretold_bytes for row in rows]
            assert any(each.likely and each.likely > today for each in foretold)
            assert any(each.earliest and each.earliest > today for each in foretold)
            assert any(each.likely == today for each in foretold)
            assert any(row.inodes > 0.85 * row.quota_inodes for row in rows if row.quota_inodes)
            limited.update((bool(row.quota_bytes), bool(row.quota_inodes)) for row in rows)
    assert set(limited) == {(True, True), (True, False), (False, False)}


def test_rates_are_kept_of_the_days_that_forecasts_look_back_on(tried: Path) -> None:
    oldest = nights(tried)[0]
    with connected(tried) as connection:
        for name in volumes(tried):
            records = usage.history(connection, name, date.min, oldest)
            rates = records.used_bytes.theil_sen
            is_kept = records.day >= oldest.toordinal() - days_needed(WarningsTable())
            assert not np.isnan(rates[is_kept]).any()
            assert np.isnan(rates[~is_kept]).all()


def test_what_was_foretold_would_be_foretold_again(tried: Path) -> None:
    oldest = nights(tried)[0]
    table = WarningsTable()
    with connected(tried) as connection:
        for name in volumes(tried):
            for day in (oldest - timedelta(1), oldest - timedelta(days_needed(table) - 7)):
                stored = usage.read(connection, name, day)
                first = day - timedelta(days_needed(table))
                before = usage.history(connection, name, first, day)
                assert judged(stored, before, day, table) == stored


def test_the_same_arguments_give_the_same_history(tried: Path, tmp_path: Path) -> None:
    lurge("demo", tmp_path / "again", "--entries", "3000", "--seed", "1")
    oldest = nights(tried)[0]
    with connected(tried) as first, connected(tmp_path / "again") as second:
        columns = [column for column in lustre_usage.c if column.name != "record_id"]
        rows = sql.select(*columns).where(lustre_usage.c.record_date < oldest)
        ordered = rows.order_by(lustre_usage.c.record_id)
        assert first.execute(ordered).all() == second.execute(ordered).all()


def test_vaults_have_rows_of_files_that_came_and_went(tried: Path) -> None:
    for night in nights(tried):
        lurge("--config", tried / "lurge.toml", "puppeteer", "--date", night)
    oldest, _, today = nights(tried)
    with connected(tried) as connection:
        seen = connection.execute(sql.select(vault.c.first_seen, vault.c.last_seen)).all()
    assert {tuple(row) for row in seen} == {(oldest, None), (oldest, oldest), (today, None)}
