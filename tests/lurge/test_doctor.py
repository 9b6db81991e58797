"""The doctor says of each thing that a run needs whether it is there, and what to do if not."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sql
from servers import nights
from servers.databases import Connect, Place, on_mariadb
from servers.mariadb import Mariadb
from servers.nights import DAY, VOLUME

import manager
from db import checkup, upkeep, usage, vaults
from db.database import Database
from db.schema import lustre_usage, metadata, vault
from db.upkeep import Retirement
from lurge import doctor, retention
from lurge.demo.site import make
from lurge.doctor import Point
from lurge_types.config import DatabaseTable, KeepTable
from lurge_types.forecasts import Forecast
from lurge_types.reports import Run
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile
from utils import config
from utils.mounts import mounts

FORETOLD = Forecast("theil-sen", 2**35, 2**35, 2**36, DAY, DAY, DAY)

Points = dict[str, Point]


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The configuration of a site whose newest scans are of today."""
    return make(tmp_path / "site", 900, 1, datetime.now(UTC).date()).config


def change(config: Path, old: str, new: str) -> None:
    text = config.read_text("utf-8")
    assert old in text
    config.write_text(text.replace(old, new), "utf-8")


def examined(config: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, Points]:
    """The doctor's exit status, and what it says of each point."""
    status = manager.main(["doctor", "--json", "--config", str(config)])
    lines = capsys.readouterr().out.splitlines()
    points = [Point(**json.loads(line)) for line in lines]
    assert status == int(any(point.state == "fails" for point in points))
    return status, {point.point: point for point in points}


Said = Callable[[], tuple[int, Points]]


@pytest.fixture
def said(site: Path, capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: examined(site, capsys)


def test_a_site_that_has_all_it_needs_is_well(said: Said) -> None:
    status, points = said()
    assert status == 0
    del points["ranks"]  # which of the two it is depends on who may start them
    assert {point.state for point in points.values()} == {"ok"}


def test_nothing_is_written(site: Path, said: Said) -> None:
    before = sorted(site.parent.rglob("*"))
    said()
    assert sorted(site.parent.rglob("*")) == before


def test_people_get_a_table(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert manager.main(["doctor", "--config", str(site)]) == 0
    assert "names.source = files answers" in capsys.readouterr().out


def test_every_problem_of_a_configuration_is_told(site: Path, said: Said) -> None:
    change(site, '[quotas]\nsource = "csv"', '[quotas]\nsource = "cvs"\nwhat = 1')
    status, points = said()
    assert status == 1
    assert list(points) == ["configuration"]
    assert points["configuration"].state == "fails"


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ('admin_groups = ["root", "rooot"]', "serve.admin_groups: nobody knows rooot:"),
        ('proxies = ["0.0.0.0/0"]', "serve.proxies: 0.0.0.0/0 has every address:"),
    ],
)
def test_pages_that_nobody_or_anybody_sees_are_looked_at(
    site: Path, said: Said, key: str, words: str
) -> None:
    with site.open("a") as file:
        proxies = "" if key.startswith("proxies") else 'proxies = ["127.0.0.1"]\n'
        file.write(f'\n[serve]\nauth = "proxy"\n{proxies}{key}\n')
    status, points = said()
    assert status == 0
    assert points["pages"].state == "look"
    assert words in points["pages"].words


def test_a_volume_without_a_scan_fails(site: Path, said: Said) -> None:
    for scan in site.parent.glob("wrstat/*scratch123"):
        (scan / "stats.gz").unlink()
    status, points = said()
    assert status == 1
    assert points["scan of scratch123"].state == "fails"
    assert "see whether it ran" in points["scan of scratch123"].words
    assert points["scan of scratch124"].state == "ok"


def test_a_volume_whose_scan_is_old_is_to_be_looked_at(tmp_path: Path, said: Said) -> None:
    old = datetime.now(UTC).date() - timedelta(days=4)
    config = make(tmp_path / "old", 900, 1, old).config
    (tmp_path / "site").rename(tmp_path / "new")
    (tmp_path / "old").rename(tmp_path / "site")
    assert not config.exists()
    status, points = said()
    assert status == 0
    assert points["scan of humgen01"].state == "look"
    assert "THE NEWEST SCAN IS 4 DAYS OLD" in points["scan of humgen01"].words


def test_a_scan_that_cannot_be_looked_at_fails_and_stops_no_other_point(
    site: Path, said: Said
) -> None:
    (scan,) = (folder / "stats.gz" for folder in newest(site, "scratch123"))
    scan.unlink()
    scan.symlink_to("stats.gz")
    status, points = said()
    assert status == 1
    assert points["scan of scratch123"].words.endswith("cannot be read: see to its rights")
    assert "ranks" in points


def newest(site: Path, volume: str) -> list[Path]:
    return sorted(site.parent.glob(f"wrstat/*{volume}"))[-1:]


def test_without_quotas_nobody_is_asked_for_any(site: Path, said: Said) -> None:
    change(site, 'source = "csv"', 'source = "none"')
    assert said()[1]["quotas"].words == "quotas.source = none: no group has a limit"


def test_quotas_are_tried_on_volumes_that_are_found_by_their_scans(site: Path, said: Said) -> None:
    change(site, 'source = "csv"', 'source = "lfs"')
    text = site.read_text("utf-8")
    begin, end = text.index("[[volume]]"), text.index("[inspector]")
    site.write_text(text[:begin] + text[end:], "utf-8")
    _, points = said()
    found = [point for name, point in points.items() if name.startswith("quotas of ")]
    assert len(found) == 3
    assert all("lfs was not asked" in point.words for point in found)


def test_a_password_that_cannot_be_read_is_one_point(site: Path, said: Said) -> None:
    change(site, "[database]", '[database]\npassword_file = "nowhere"')
    (site.parent / "lurge.db").write_bytes(b"x")
    _, points = said()
    assert points["database"].state == "fails"
    assert "names" in points


def test_no_scan_at_all_fails(site: Path, said: Said) -> None:
    change(site, 'wrstat_dir = "wrstat"', 'wrstat_dir = "elsewhere"')
    status, points = said()
    assert status == 1
    assert "elsewhere" in points["scans"].words


def test_what_is_wrong_with_names_and_quotas_is_told_in_lines(site: Path, said: Said) -> None:
    (site.parent / "group").write_text("nonsense\n")
    (site.parent / "quotas.csv").unlink()
    status, points = said()
    assert status == 1
    assert points["names and quotas"].state == "fails"


def test_a_pseudo_group_with_a_real_groups_number_is_to_be_looked_at(
    site: Path, said: Said
) -> None:
    with site.open("a", encoding="utf-8") as text:
        text.write('[pseudo_groups."/lustre/x"]\nname = "common"\ngid = 15001\n')
    assert said()[1]["pseudo_groups"].words.startswith("gid 15001 of common is that of team101")


def test_too_little_memory_for_the_splitter_fails(site: Path, said: Said) -> None:
    with site.open("a", encoding="utf-8") as text:
        text.write('[pass]\nthreads = 500\n[splitter]\nmemory_budget = "1 GiB"\n')
    status, points = said()
    assert status == 1
    assert "too little for 500 threads" in points["splitter.memory_budget"].words


def test_a_bucket_that_cannot_be_used_fails(site: Path, said: Said) -> None:
    with site.open("a", encoding="utf-8") as text:
        text.write('[splitter]\nupload = "s3://bucket"\ncredentials_file = "keys"\n')
    status, points = said()
    assert status == 1
    assert "keys: No such file" in points["splitter.upload"].words


def test_directories_that_are_not_there_are_told_where_the_volume_is(
    site: Path, said: Said, tmp_path: Path
) -> None:
    (tmp_path / "mount/projects").mkdir(parents=True)
    change(site, '"/lustre/humgen01"', f'"{tmp_path}/mount"')
    change(site, '= ["/lustre/humgen01/humgen/projects"', f'= ["{tmp_path}/mount/projects"')
    _, points = said()
    assert points["directories"].words == (
        "group_directories of humgen01: /lustre/humgen01/humgen/teams is not there"
    )


def test_what_the_archiver_needs_is_looked_at_where_it_is_configured(
    site: Path, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, before = said()
    monkeypatch.delenv("LURGE_PROJECTS_URL", raising=False)
    with site.open("a", encoding="utf-8") as text:
        text.write('[archive]\ntarget = "file:///nowhere/at/all"\n')
        text.write('[archive.projects.upload]\nquery = "SELECT 1"\n')
    status, points = said()
    assert status == 1
    assert {
        name: (point.state, point.words)
        for name, point in points.items()
        if name not in before and point.state != "ok"
    } == {
        "target file:///nowhere/at/all": (
            "fails",
            "file:///nowhere/at/all: /nowhere/at is not there: mount its filesystem, or make it",
        ),
        "archive.projects": (
            "fails",
            "archive.projects: set LURGE_PROJECTS_URL to the URL of the database of projects",
        ),
        **{
            f"bin of {name}": (
                "look",
                f"/lustre/{name} is not mounted here: run this where it is",
            )
            for name in ("humgen01", "scratch123", "scratch124")
        },
    }
    assert points.keys() - before.keys() >= {"archive.run_dir", "archive.log_dir"}


# The database.


def with_database(site: Path, table: DatabaseTable) -> None:
    password = f'\npassword_file = "{table.password_file}"' if table.password_file else ""
    change(site, 'url = "sqlite:///lurge.db"', f'url = "{table.url}"{password}\nretry_seconds = 0')


def store(database: Database, days: int, first_day: date = DAY) -> None:
    for number in range(days):
        run = nights.run(first_day + timedelta(days=number))
        rows = nights.rows(50, foretold_bytes=FORETOLD, foretold_inodes=FORETOLD)
        usage.store(database, run, VOLUME, rows, replace=False)


def measured(connection: sql.Connection) -> checkup.Size:
    """The size, of which a server looks up the newest only now and then unless it is told to."""
    word = "TABLE" if connection.dialect.name == "mysql" else ""
    connection.exec_driver_sql(f"ANALYZE {word} lustre_usage")
    return checkup.size(connection, DAY)


def test_a_database_that_can_be_used_is_well(
    site: Path, said: Said, table: DatabaseTable, connect: Connect
) -> None:
    with_database(site, table)
    assert "nothing is known yet" in said()[1]["database size"].words
    store(connect(table), 2)
    status, points = said()
    assert status == 0
    assert points["database"].words.endswith("has its tables, and may be written")
    # 50 rows of 320 bytes of the one volume that has records; there are three.
    assert "46.9 KiB more each night of 3 volumes" in points["database size"].words
    assert "in a year, with history thinned out by [database.keep]" in points["database size"].words


def test_the_doctor_leaves_the_database_as_it_is(
    site: Path, said: Said, table: DatabaseTable, database: Database
) -> None:
    with_database(site, table)
    before = content(database)
    said()
    assert content(database) == before


def content(database: Database) -> dict[str, list[object]]:
    return database.transaction(
        lambda connection: {
            name: list(connection.execute(each.select()).all())
            for name, each in metadata.tables.items()
        }
    )


@on_mariadb
def test_a_database_without_tables_fails(site: Path, said: Said, place: Place) -> None:
    with_database(site, place.table)
    status, points = said()
    assert status == 1
    assert "run manager.py init" in points["database"].words


@on_mariadb
def test_a_user_who_may_only_read_fails(
    site: Path, said: Said, table: DatabaseTable, mariadb: Mariadb
) -> None:
    name, user = table.url.rpartition("/")[2].partition("?")[0], table.url.split("/")[2]
    user = user.partition("@")[0]
    mariadb.execute(f"REVOKE DELETE ON {name}.* FROM {user}@127.0.0.1")
    with_database(site, table)
    status, points = said()
    assert status == 1
    assert "see to the user, password and rights" in points["database"].words


@on_mariadb
def test_a_server_that_is_down_fails(
    site: Path, said: Said, table: DatabaseTable, mariadb: Mariadb
) -> None:
    with_database(site, table)
    mariadb.kill()
    status, points = said()
    assert status == 1
    assert "see that it is there" in points["database"].words
    assert points["names"].state == "ok"


def test_the_size_that_is_foretold_is_about_what_comes(database: Database) -> None:
    store(database, 30)
    first = database.transaction(measured)
    store(database, 90, first_day=DAY + timedelta(days=30))
    grown = database.transaction(measured).bytes_now - first.bytes_now
    assert grown / 2 < 90 * first.bytes_a_night < grown * 2


def size_of(
    days: Sequence[date], bytes_a_night: int = 1000, vault_bytes_a_night: int = 0
) -> checkup.Size:
    """What a database of one volume takes."""
    history = checkup.Kept(days, bytes_a_night)
    return checkup.Size(10**6, [history], vault_bytes_a_night, volumes=1)


def grown(found: checkup.Size, keep: KeepTable | None = None, volumes: int = 1) -> int:
    return doctor.grown_in_a_year(keep or KeepTable(), DAY, found, volumes)


def before(count: int) -> list[date]:
    return [DAY - timedelta(days=number) for number in range(count)]


def test_a_year_of_nights_is_all_kept_at_first() -> None:
    assert grown(size_of([DAY])) == 365 * 1000
    assert grown(size_of([DAY], vault_bytes_a_night=10)) == 365 * 1010


def test_what_is_thinned_out_within_a_year_is_taken_off() -> None:
    # 400 days stay, and one of each of the 52 weeks before or of the one that the 400 begin in.
    assert grown(size_of(before(400))) in (52 * 1000, 53 * 1000)


def test_history_that_has_got_as_old_as_it_gets_grows_by_a_day_a_month() -> None:
    keep = KeepTable(daily=30, weekly=60)
    old = sorted(retention.kept(before(3000), DAY, keep))
    assert grown(size_of(old), keep) in (11 * 1000, 12 * 1000, 13 * 1000)
    kept_shorter = keep.model_copy(update={"monthly": 365})
    old = sorted(retention.kept(old, DAY, kept_shorter))
    assert grown(size_of(old), kept_shorter) in (0, 1000, 2000)


def test_what_was_never_thinned_yet_leaves_room_but_no_smaller_database() -> None:
    assert grown(size_of(before(3000))) == 0


def test_history_of_a_retired_volume_gets_less() -> None:
    one, other = (checkup.Kept(before(count), 1000) for count in (1, 400))
    found = size_of([DAY])._replace(histories=[one, other._replace(grows=False)])
    assert found.bytes_a_night == 1000
    # Of 400 days 36 are no older than 400 in a year, and of each of 52 or 53 weeks one is left.
    gone = 400 - 36 - 52
    assert grown(found) - (365 - gone) * 1000 in (0, 1000)


def test_volumes_without_records_are_average_ones_that_begin_now() -> None:
    found = size_of(before(400))
    assert grown(found, volumes=3) == grown(found) + 2 * 365 * 1000
    vaults = size_of([DAY], 0, vault_bytes_a_night=10)
    assert grown(vaults, volumes=3) == 3 * 365 * 10


def test_what_vaults_add_is_counted_by_the_nights_there_were(database: Database) -> None:
    for number in range(4):
        run = nights.run(DAY + timedelta(days=number), report="puppeteer")
        files = [nights.vault_file(each) for each in range((number + 1) * 10)]
        store_vault(database, run, files)
    assert database.transaction(measured).bytes_a_night == 10 * checkup.ROW_BYTES[vault]


def store_vault(database: Database, run: Run, files: Sequence[VaultFile]) -> None:
    users = {each.uid: nights.user(each.uid) for each in files}
    groups = {each.gid: nights.group(each.gid) for each in files}
    files = sorted(files, key=VaultFile.state)
    filling = vaults.begin(database, run, VOLUME, len(files), replace=False)
    new = filling.changes(each.state() for each in files)
    filling.add([files[place] for place in new], users, groups)
    filling.finish()


def test_the_groups_asked_for_are_the_largest(database: Database) -> None:
    largest = partial(checkup.largest_gids, most=3, today=DAY)
    assert database.transaction(largest) == []
    store(database, 2)
    assert database.transaction(largest) == [50, 49, 48]
    nameless = nights.row(nights.group(-1), used_bytes=2**60)
    usage.store(database, nights.run(DAY + timedelta(2)), VOLUME, [nameless], replace=False)
    assert database.transaction(largest) == []


def test_a_volume_that_has_retired_is_no_part_of_what_comes(database: Database) -> None:
    store(database, 2)
    gone = Volume("scratch2")
    rows = [nights.row(nights.group(gid), gone) for gid in (51, 52)]
    usage.store(database, nights.run(DAY, gone), gone, rows, replace=False)
    files = [nights.vault_file(number) for number in range(10)]
    store_vault(database, nights.run(DAY, VOLUME, report="puppeteer"), files)
    of_two = database.transaction(measured)
    assert of_two.volumes == 2
    for retired, counted in ((DAY + timedelta(days=1), 52), (DAY, 50), (None, 52)):
        retirement = {"scratch2": Retirement(retired, None)}
        database.transaction(partial(upkeep.retire, retirements=retirement))
        found = database.transaction(measured)
        assert (found.bytes_a_night, found.volumes) == (
            counted * checkup.ROW_BYTES[lustre_usage],
            1 + (counted == 52),
        )
        largest = partial(checkup.largest_gids, most=1, today=DAY)
        assert database.transaction(largest) == [counted]


def test_what_the_vaults_of_a_retired_volume_added_does_not_count(database: Database) -> None:
    for number in range(2):
        run = nights.run(DAY + timedelta(days=number), report="puppeteer")
        store_vault(database, run, [nights.vault_file(each) for each in range(10 + number)])
    assert database.transaction(measured).bytes_a_night == checkup.ROW_BYTES[vault]
    retirement = {VOLUME.name: Retirement(DAY, None)}
    database.transaction(partial(upkeep.retire, retirements=retirement))
    found = database.transaction(measured)
    assert (found.bytes_a_night, found.volumes) == (0, 0)


def test_the_doctor_expects_nothing_of_a_volume_that_has_retired(
    site: Path, said: Said, tmp_path: Path
) -> None:
    today = datetime.now(UTC).date()
    (tmp_path / "mount").mkdir()
    for scan in site.parent.glob("wrstat/*humgen01"):
        (scan / "stats.gz").unlink()
    change(site, '"/lustre/humgen01"', f'"{tmp_path}/mount"')
    change(site, 'source = "csv"', 'source = ["csv", "lfs"]')
    status, points = said()
    assert status == 1
    assert "directories" in points
    change(site, 'name = "humgen01"', f'name = "humgen01"\nretired = {today}')
    status, points = said()
    assert status == 0
    assert "directories" not in points
    assert {name for name in points if name.startswith("scan of ")} == {
        "scan of scratch123",
        "scan of scratch124",
    }


def test_a_retired_volume_that_is_not_mounted_and_one_that_still_is_are_passed_over(
    site: Path,
) -> None:
    def words(*mounted: bytes) -> list[str]:
        lines = b"".join(b"40 27 0:40 / %b rw - lustre x rw\n" % place for place in mounted)
        found = doctor.volumes(config.read(site), mounts(lines), DAY)
        return [point.words for point in found]

    change(site, 'source = "csv"', 'source = "lfs"')
    there = (b"/lustre/scratch123", b"/lustre/scratch124")
    gone = "/lustre/humgen01 of humgen01 is not mounted here, so lfs cannot tell its quotas"
    assert words(*there) == [gone]
    change(site, 'name = "humgen01"', f'name = "humgen01"\nretired = {DAY}')
    assert words(*there) == []
    assert words(*there, b"/lustre/humgen01") == []


# What is mounted.


MOUNTED = b"""\
22 27 0:20 / /proc rw,nosuid - proc proc rw
40 27 0:40 / /lustre/scratch\\040one rw shared:1 master:2 - lustre 10.0.0.1@tcp:/one rw,flock
42 27 0:42 / /odd\rname rw - tmpfs none rw
41 27 0:41 /home /nfs/back\\134slash rw - nfs4 server:/home rw
"""


def test_mounts_are_read_with_odd_names() -> None:
    found = mounts(MOUNTED)
    assert [(mount.place, mount.is_shared) for mount in found] == [
        ("/proc", False),
        ("/lustre/scratch one", True),
        ("/odd\\x0dname", False),
        ("/nfs/back\\\\slash", True),
    ]


def test_this_machines_mounts_are_read() -> None:
    places = [mount.place for mount in mounts()]
    assert "/" in places
    assert "/proc" in places


def test_shared_filesystems_without_a_volume_are_told(site: Path) -> None:
    settings = config.read(site)
    points = list(doctor.volumes(settings, mounts(MOUNTED), DAY))
    assert [point.words for point in points] == [
        "lustre on /lustre/scratch one has no [[volume]]: add one, or let it be",
        "nfs4 on /nfs/back\\\\slash has no [[volume]]: add one, or let it be",
    ]


# Ranks.


def test_ranks_that_start_are_well(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("PRTE_MCA_rmaps_default_mapping_policy", ":oversubscribe")
    [point] = doctor.ranks(doctor.mpirun())
    assert point.state == "ok", point.words


def test_ranks_that_do_not_start_are_to_be_looked_at(tmp_path: Path) -> None:
    broken = tmp_path / "mpirun"
    broken.write_text("#!/no/such/shell\n")
    broken.chmod(0o755)
    [point] = doctor.ranks(str(broken))
    assert point.words == f"{broken} cannot be started: No such file or directory"
    broken.write_text("#!/bin/sh\necho '-----' >&2; echo 'no slots left' >&2; exit 1\n")
    broken.chmod(0o755)
    [point] = doctor.ranks(str(broken))
    assert point == Point("ranks", "look", f"{broken} -n 2 fails: no slots left")


def test_without_mpirun_runs_go_by_threads() -> None:
    [point] = doctor.ranks(None)
    assert point.state == "look"
    assert point.words.startswith("no mpirun: runs go by threads")


# Room.


def test_a_folder_that_cannot_be_written_fails() -> None:
    point = doctor.room(Path("/proc/reports"), 0)
    assert point.state == "fails"
    assert point.words.startswith("/proc cannot be written: ")


def test_too_little_room_is_told(tmp_path: Path) -> None:
    point = doctor.room(tmp_path / "not/there/yet", 2**62)
    assert point.state == "look"
    assert "tonight's scans have 4.0 EiB, and group files take about as much" in point.words
