"""The doctor says of each thing that the archiver needs whether it is there, and what to do."""

import os
from collections.abc import Callable, Iterator
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from archiving import Yard
from hsm_stand_in import HsmStandIn
from servers.databases import Connect, on_mariadb
from servers.disks import bind, fill, small_disk, unmounted_after
from servers.faults import FaultFilesystem, Rule
from servers.mariadb import Mariadb
from servers.swift_s3 import READER, SECRET, WRITER, Swift

from db.database import Database, DatabaseFailed
from lurge.archiver import examining
from lurge.doctor import Point
from lurge_types.config import ArchiveTable, Config, DatabaseTable
from utils.config import ConfigWrong
from utils.mounts import Mount, mounts

GIB = 1 << 30

Told = list[tuple[str, str]]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another filesystem than that of the volumes."""
    with small_disk(tmp_path / "elsewhere", 8 << 20) as folder:
        yield folder


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    folder = tmp_path / "s1"
    folder.mkdir()
    return folder


@pytest.fixture
def configured(mount: Path) -> Callable[..., Config]:
    """A configuration with a volume `s1`, and what is given for [archive]."""

    def configured(**archive: Any) -> Config:
        table = {"guards": {"min_free": 0}, **archive}
        return Config.model_validate(
            {"volume": [{"name": "s1", "mount": str(mount)}], "archive": table}
        )

    return configured


Configured = Callable[..., Config]


def in_short(points: Iterator[Point]) -> Told:
    """The state of each point, and what is said."""
    return [(point.state, point.words) for point in points]


# Targets.


def test_a_target_is_tried_and_left_as_it_was(configured: Configured, elsewhere: Path) -> None:
    (elsewhere / "target").mkdir()
    before = sorted(elsewhere.rglob("*"))
    ((state, words),) = in_short(examining.targets(configured(target=f"file://{elsewhere}/target")))
    assert state == "ok"
    assert words.startswith("an object was stored, read back and removed; ")
    assert sorted(elsewhere.rglob("*")) == before


def test_without_a_target_nothing_can_be_archived(configured: Configured) -> None:
    ((state, words),) = in_short(examining.targets(configured()))
    assert (state, "name one" in words) == ("look", True)


def a_file(folder: Path) -> None:
    folder.touch()


def full(folder: Path) -> None:
    folder.mkdir()
    fill(folder.parent)


@pytest.mark.parametrize(
    ("make", "target", "state", "words"),
    [
        (None, "target", "look", "the first run makes it. If a filesystem is to be mounted there"),
        (None, "not/there", "fails", "not is not there: mount its filesystem, or make it"),
        (a_file, "target", "fails", "Not a directory"),
        (full, "target", "fails", "no room left: remove something there, or get more room"),
    ],
)
def test_a_target_that_cannot_be_used_is_told(  # noqa: PLR0917 - what is made, and what is told
    configured: Configured,
    elsewhere: Path,
    make: Callable[[Path], None] | None,
    target: str,
    state: str,
    words: str,
) -> None:
    if make:
        make(elsewhere / target)
    (told,) = in_short(examining.targets(configured(target=f"file://{elsewhere}/{target}")))
    assert told[0] == state
    assert words in told[1]
    assert (elsewhere / target).exists() == bool(make)


def test_a_target_that_is_where_the_volume_is_keeps_nothing_safe(
    configured: Configured, mount: Path, tmp_path: Path
) -> None:
    (tmp_path / "target").mkdir()
    told = in_short(examining.targets(configured(target=f"file://{tmp_path}/target")))
    assert [state for state, _ in told] == ["look", "ok"]
    assert "on the filesystem of volume s1: what breaks that takes the copies too" in told[0][1]
    told = in_short(examining.targets(configured(target=f"file://{mount.parent}")))
    assert told[0] == (
        "fails",
        "volume s1 lies in it: nothing of that is archived: name another",
    )


def test_a_target_with_less_room_than_is_kept_free_is_waited_for(
    configured: Configured, elsewhere: Path
) -> None:
    config = configured(target=f"file://{elsewhere}/target", guards={"min_free": GIB})
    (elsewhere / "target").mkdir()
    ((state, words),) = in_short(examining.targets(config))
    assert (state, "guards.min_free is 1.0 GiB: archive apply waits" in words) == ("look", True)


def test_two_copies_on_one_filesystem_are_one(configured: Configured, elsewhere: Path) -> None:
    urls = [f"file://{elsewhere}/{name}" for name in ("one", "two", "three")]
    for url in urls:
        Path(url.removeprefix("file://")).mkdir()
    told = in_short(examining.targets(configured(target=urls, copies=2)))
    assert [state for state, _ in told] == ["look", "ok", "ok", "ok", "look", "look", "look"]
    assert told[0][1] == "archive.copies = 2: new copies go to those before it"
    assert told[4][1].startswith(f"it is on the filesystem of {urls[0]}: what breaks that takes")


@pytest.fixture(params=["swift", "s3"])
def store(
    request: pytest.FixtureRequest, swift: Swift, monkeypatch: pytest.MonkeyPatch
) -> dict[str, str | None]:
    """How a container of a real server is configured."""
    swift.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("ST_AUTH", f"{swift.url}/auth/v1.0")
    monkeypatch.setenv("ST_USER", WRITER)
    monkeypatch.setenv("ST_KEY", SECRET)
    return {
        "target": f"{request.param}://{swift.make_bucket()}/archive",
        "endpoint_url": swift.url if request.param == "s3" else None,
    }


def test_a_store_is_tried_and_left_as_it_was(
    configured: Configured, swift: Swift, store: dict[str, str | None]
) -> None:
    ((state, words),) = in_short(examining.targets(configured(**store)))
    assert (state, words.startswith("an object was stored")) == ("ok", True)
    assert swift.objects(str(store["target"]).split("/")[2]) == {}


WORDS = {
    "key": "wrong",
    "reader": "denied",
    "container": "no such",
    "server": "not reachable",
    "user": "set ",
}


@pytest.mark.parametrize("what", WORDS)
def test_a_store_that_cannot_be_used_is_told(
    configured: Configured,
    swift: Swift,
    store: dict[str, str | None],
    monkeypatch: pytest.MonkeyPatch,
    what: str,
) -> None:
    match what:
        case "key":
            monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "none")
            monkeypatch.setenv("ST_KEY", "none")
        case "reader":
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
            monkeypatch.setenv("ST_USER", READER)
        case "container":
            store["target"] = f"{str(store['target']).split(':')[0]}://nowhere-{os.getpid()}/a"
        case "server":
            swift.kill()
        case "user":
            for name in ("AWS_ACCESS_KEY_ID", "ST_USER"):
                monkeypatch.delenv(name)
            monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    (point,) = examining.targets(configured(**store))
    assert (point.point, point.state) == (f"target {store['target']}", "fails")
    assert WORDS[what] in point.words
    assert SECRET not in point.words


# Folders.


def test_where_runs_are_kept_outlives_a_reboot(configured: Configured, elsewhere: Path) -> None:
    table = configured(run_dir=f"{elsewhere}/runs").archive
    told = [(point.point, point.state) for point in examining.folders(table, mounts())]
    assert ("archive.run_dir", "ok") in told
    assert ("archive.run_dir", "look") in told
    assert not (elsewhere / "runs").exists()


def test_each_folder_that_is_written_is_looked_at(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = configured(
        run_dir=f"{tmp_path}/file/runs",
        log_dir=f"{tmp_path}/log",
        checkpoint_files=[f"{tmp_path}/one/1", f"{tmp_path}/other/2"],
    ).archive
    assert {
        (point.point, point.state, point.words.split(":")[0])
        for point in examining.folders(table, [])
    } == {
        ("archive.run_dir", "fails", f"{tmp_path}/file/runs"),
        ("archive.log_dir", "ok", f"{tmp_path}/log"),
        ("archive.checkpoint_files", "ok", f"{tmp_path}/one"),
        ("archive.checkpoint_files", "ok", f"{tmp_path}/other"),
    }


def test_a_file_that_is_no_checkpoint_is_told(configured: Configured, tmp_path: Path) -> None:
    (tmp_path / "1").write_text("mine")
    table = configured(
        run_dir=str(tmp_path),
        log_dir=str(tmp_path),
        checkpoint_files=[f"{tmp_path}/1", f"{tmp_path}/2"],
    ).archive
    *_, last = examining.folders(table, [])
    assert (last.point, last.state) == ("archive.checkpoint_files", "look")
    assert f"{tmp_path}/1 is cut short: it is written anew, unless" in last.words


# Bins.


def bins(config: Config) -> list[Point]:
    return list(examining.bins(config, config.volume))


def test_a_bin_is_tried_and_left_as_it_was(configured: Configured, mount: Path) -> None:
    (point,) = bins(configured())
    assert (point.point, point.state) == ("bin of s1", "ok")
    assert point.words == f"{mount}/.lurge-bin is not there yet: the first run makes it"
    assert list(mount.iterdir()) == []
    (mount / ".lurge-bin").mkdir(0o700)
    (point,) = bins(configured())
    assert (point.state, point.words) == ("ok", f"{mount}/.lurge-bin can be renamed into")
    assert list(mount.rglob("*")) == [mount / ".lurge-bin"]


def test_a_bin_that_others_get_into_is_refused(configured: Configured, mount: Path) -> None:
    (mount / ".lurge-bin").mkdir(0o755)
    (point,) = bins(configured())
    assert (point.state, "others could change" in point.words) == ("fails", True)


def test_a_link_is_no_bin(configured: Configured, mount: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (mount / ".lurge-bin").symlink_to(tmp_path / "real")
    (point,) = bins(configured())
    assert (point.state, ".lurge-bin" in point.words) == ("fails", True), point.words


def test_a_bin_on_another_filesystem_is_told(configured: Configured, elsewhere: Path) -> None:
    (point,) = bins(configured(bin={"s1": f"{elsewhere}/bin"}))
    assert point.state == "look"
    assert "which is on another filesystem: each unit will have a .lurge-bin" in point.words


def test_a_bin_below_another_mount_of_its_filesystem_is_told(
    configured: Configured, mount: Path, tmp_path: Path
) -> None:
    """As between projects: the device is the same, and the kernel refuses to rename."""
    there, shown = tmp_path / "there", tmp_path / "shown"
    for each in (there, shown):
        each.mkdir(0o700)
    with unmounted_after(shown):
        bind(there, shown)
        (point,) = bins(configured(bin={"s1": str(shown)}))
    assert point.state == "look"
    assert "though it is on its filesystem: each unit will have a .lurge-bin" in point.words
    assert [*mount.iterdir(), *there.iterdir()] == []


def test_a_bin_whose_place_is_not_there_fails(configured: Configured, tmp_path: Path) -> None:
    (point,) = bins(configured(bin={"s1": f"{tmp_path}/no/bin"}))
    assert point.state == "fails"
    assert point.words == (
        f"{tmp_path}/no: No such file or directory: see to its rights, or set archive.bin"
    )


def test_a_volume_that_is_not_here_is_told(configured: Configured, mount: Path) -> None:
    mount.rmdir()
    (point,) = bins(configured())
    assert (point.state, point.words) == (
        "look",
        f"{mount} is not mounted here: run this where it is",
    )


def test_a_mount_without_its_marker_fails(configured: Configured, mount: Path) -> None:
    config = configured(guards={"marker": ".marker"})
    marker, point = bins(config)
    assert (marker.point, marker.state, point.state) == ("archive.guards.marker", "fails", "ok")
    (mount / ".marker").touch()
    assert len(bins(config)) == 1


def on_faults(faulty: FaultFilesystem) -> Config:
    volume = {"name": "s1", "mount": str(faulty.root)}
    return Config.model_validate({"volume": [volume]})


def test_a_filesystem_that_cannot_refuse_to_replace_is_told(faulty: FaultFilesystem) -> None:
    (point,) = bins(on_faults(faulty))
    assert point.state == "look"
    assert "let nobody else write where a directory is being restored" in point.words
    assert list(faulty.root.iterdir()) == []


@pytest.mark.parametrize(
    ("operation", "error", "state", "words"),
    [
        ("mkdir", "EACCES", "look", "so nothing was tried: run this as the user who archives"),
        ("mkdir", "EROFS", "fails", "Read-only file system: see to its rights"),
        ("rename", "EACCES", "fails", "Permission denied: see to its rights"),
    ],
)
def test_why_a_bin_could_not_be_tried_is_told(
    faulty: FaultFilesystem, operation: str, error: str, state: str, words: str
) -> None:
    faulty.rules(Rule(operation, error=error))
    (point,) = bins(on_faults(faulty))
    assert (point.state, words in point.words) == (state, True), point.words
    assert list(faulty.root.iterdir()) == []


# All else.


def test_on_lustre_there_must_be_lfs(
    configured: Configured, mount: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = configured().volume
    there = [Mount(str(mount), b"lustre")]
    assert list(examining.lustre(volumes, [Mount(str(mount), b"xfs")])) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    ((state, words),) = in_short(examining.lustre(volumes, there))
    assert (state, "unless there is --recall: install Lustre's tools" in words) == ("look", True)
    stand_in = HsmStandIn(tmp_path / "lfs")
    stand_in.install()
    monkeypatch.setenv("PATH", stand_in.path)
    ((state, _),) = in_short(examining.lustre(volumes, there))
    assert state == "ok"


def rights(configured: Configured, table: DatabaseTable, connect: Connect) -> Told:
    config = configured().model_copy(update={"database": table})
    return in_short(examining.tables(config, lambda: connect(table)))


def test_the_archives_tables_may_be_written(
    configured: Configured, table: DatabaseTable, database: Database, connect: Connect
) -> None:
    assert rights(configured, table, connect) == [("ok", "rows can be added, and changed")]


@on_mariadb
@pytest.mark.parametrize("right", ["INSERT", "UPDATE"])
def test_a_user_who_lacks_a_right_fails(
    configured: Configured, table: DatabaseTable, connect: Connect, mariadb: Mariadb, right: str
) -> None:
    name, user = table.url.rpartition("/")[2].partition("?")[0], table.url.split("/")[2]
    user = user.partition("@")[0]
    mariadb.execute(f"REVOKE {right} ON {name}.* FROM {user}@127.0.0.1")
    with pytest.raises(DatabaseFailed, match="see to the user, password and rights"):
        rights(configured, table, connect)


def no_url() -> str:
    raise ConfigWrong("set LURGE_PROJECTS_URL")


def test_the_queries_of_projects_are_asked(configured: Configured, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/projects.db"
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE project (id, path, ended)")
        connection.exec_driver_sql("INSERT INTO project VALUES (1, '/a', NULL)")
        connection.exec_driver_sql("CREATE TABLE task (id, path, ended)")
    engine.dispose()
    ask = partial(examining.queries, url=lambda: url)

    def asked(upload: str, result: str) -> ArchiveTable:
        projects = {"upload": {"query": upload}, "result": {"query": result}}
        return configured(projects=projects).archive

    good = "SELECT id, path, ended FROM project"
    told = in_short(ask(asked(good, "SELECT id, path, ended FROM task")))
    assert [state for state, _ in told] == ["ok", "look"]
    assert told[0][1].startswith("the query gives 1 rows in ")
    told = in_short(ask(asked("SELECT 1", "SELECT a FROM nowhere")))
    assert [state for state, _ in told] == ["fails", "fails"]
    assert "it must be three, an id, a path and the day" in told[0][1]
    assert "no such table: nowhere: see to the query and the database" in told[1][1]
    assert list(examining.queries(configured().archive, no_url)) == []
    with pytest.raises(ConfigWrong):
        list(examining.queries(asked(good, good), no_url))


def test_what_is_well_lets_a_run_go_through(
    tmp_path: Path, database: Database, elsewhere: Path, connect: Connect, table: DatabaseTable
) -> None:
    """What the doctor finds nothing against is what an archiver does its work with."""
    (elsewhere / "target").mkdir()
    yard = Yard(tmp_path, database, target=f"file://{elsewhere}/target")
    config = yard.config.model_copy(update={"database": table})
    found = examining.checks(config, date(2026, 11, 28), lambda: connect(table), no_url)
    points = [point for check in found.values() for point in check()]
    assert {point.state for point in points} == {"ok"}, points
    (yard.mount / "a").mkdir()
    (yard.mount / "a" / "b").write_bytes(b"b")
    (unit,) = yard.apply(*yard.plan(yard.mount / "a"))
    assert unit.state == "binned", unit.reason
    points = [point for check in found.values() for point in check()]
    assert {point.state for point in points} == {"ok"}, points
