"""The puppeteer from vaults to TSV and tables: what is in them, and since when."""

import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import pytest
import splitting
import sqlalchemy as sql
from dump import Rows, dump
from servers import nights
from site_of_tests import TODAY, Site, entry, text, wait_for

from db.database import Database
from db.schema import report_run, vault, vault_actions, vault_now
from db.vaults import begin
from lurge.puppeteer.report import Puppeteer
from lurge.puppeteer.rows import States
from lurge.puppeteer.tally import VaultTally
from lurge_types.batch import Entry
from lurge_types.config import Config, DatabaseTable
from lurge_types.scans import Scan
from utils import paths, vaults
from utils.config import password
from utils.names import SystemNames
from utils.vaults import Key
from utils.wrstat import Parser

YESTERDAY = TODAY - timedelta(days=1)
OLD = 1_700_000_000
ROOT = "/lustre/s1/projects/a"
NAMES = [
    b"plain",
    b"a_+b-=c==",
    b"two  words",
    b"new\nline",
    b"caf\xe9",
    "na\u00efve \U0001f4be".encode(),
    b"back\\slash\ttab",
    b"-",
    b"?>?>~~~",  # its base64 has both of the characters that are not a standard one's
    b"/".join([b"d" * 199, b"e" * 199, b"f" * 200]),
]


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    """A site whose database has its tables, once of each kind."""
    return Site(tmp_path, database=table.url, password_file=table.password_file, retry_seconds=10)


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """A site with SQLite."""
    return Site(tmp_path)


def of_site(site: Site) -> DatabaseTable:
    """The database of a site, from wherever a test runs."""
    url = site.database.replace("sqlite:///lurge.db", f"sqlite:///{site.folder}/lurge.db")
    return DatabaseTable(url=url, password_file=site.password_file)


def ask(site: Site, question: sql.Select[Any]) -> list[tuple[Any, ...]]:
    """The rows that the database answers with."""
    table = of_site(site)
    database = Database(table.url, password=password(table))
    try:
        return database.transaction(lambda link: [tuple(row) for row in link.execute(question)])
    finally:
        database.close()


def stored(site: Site) -> dict[str, Rows]:
    """All tables."""
    return dump(of_site(site))


def tsv_rows(site: Site, day: date = TODAY) -> list[list[str]]:
    """What the TSV of `s1` says below its header."""
    header, *lines = site.tsv(day=day, program="puppeteer").read_text("utf-8").splitlines()
    assert header == "volume\taction\tgroup\tuser\tsize_bytes\tlast_modified\tlinks\tpath"
    return [line.split("\t") for line in lines]


# Real vaults.


class Root:
    """A folder with a vault in which files are marked as hgi-vault does it: by a hard link."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.vault = folder / ".vault"
        self.vault.mkdir(parents=True)

    def file(self, name: bytes, size: int = 5) -> Path:
        """A new file below the root."""
        path = self.folder / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * size)
        os.utime(path, (OLD, OLD + 86_400 * size))
        return path

    def mark(self, branch: str, name: bytes, size: int = 5) -> Path:
        """A new file that is marked."""
        path = self.file(name, size)
        key = vaults.encode(Key(path.stat().st_ino, name))
        held = self.vault / branch / os.fsdecode(key)
        held.parent.mkdir(parents=True, exist_ok=True)
        held.hardlink_to(path)
        return path


@pytest.fixture
def real(tmp_path: Path) -> Site:
    """A site with a volume that is a folder of its own, and names of whoever runs the test."""
    (tmp_path / "passwd").write_text(f"ann:x:{os.getuid()}:0:::\n", "utf-8")
    volume = tmp_path / "s1"
    (volume / "projects").mkdir(parents=True)
    (tmp_path / "group").write_text(f"team:x:{volume.stat().st_gid}:\n", "utf-8")
    return Site(
        tmp_path,
        f"""
        [[volume]]
        name = "s1"
        mount = "{volume}"
        [names]
        source = "files"
        group_file = "group"
        user_file = "passwd"
        [inspector]
        base_directories = [{{ prefix = "{volume}/projects", depth = {len(volume.parts) + 1} }}]
        """,
    )


def scanned(site: Site, *reports: str) -> list[dict[str, Any]]:
    """What the reports say of the volume as it is now."""
    done = site.run("scan", "--volume", "s1")
    assert done.returncode == 0, done.stderr
    said = site.outcomes(*reports)
    assert {each["status"] for each in said} == {"written"}
    return said


def row(action: str, path: Path, size: int, links: int) -> list[str]:
    """A row of the TSV."""
    modified = datetime.fromtimestamp(OLD + 86_400 * size, UTC).date()
    return [
        "s1",
        action,
        "team",
        "ann",
        str(size),
        str(modified),
        str(links),
        paths.text(bytes(path)),
    ]


def test_what_was_put_into_a_vault_comes_out(real: Site) -> None:
    root = Root(real.folder / "s1/projects/a")
    expected = [
        row("Keep", root.mark("keep", name, size), size, 2) for size, name in enumerate(NAMES)
    ]
    expected += [
        row("Archive", root.mark("archive", b"to archive/%b" % name, size), size, 2)
        for size, name in enumerate(NAMES)
    ]
    twice = root.mark("keep", b"twice", 40)
    twice.with_name("again").hardlink_to(twice)
    expected.append(row("Keep", twice, 40, 3))
    gone = root.mark("keep", b"gone", 41)
    gone.unlink()
    expected.append(row("Keep", gone, 41, 1))
    moved = root.mark("archive", b"moved", 42)
    moved.rename(moved.with_name("elsewhere"))
    expected.append(row("Archive", moved, 42, 2))

    [said] = scanned(real, "puppeteer")
    found = tsv_rows(real)
    assert sorted(found) == sorted(expected)
    assert [(line[1], line[7].encode()) for line in found] == sorted(
        (line[1], line[7].encode()) for line in found
    )
    assert said["rows"] == len(expected)
    assert said["remarks"] == []
    columns = (vault.c.real_path, vault.c.inode, vault.c.size, vault.c.links)
    in_tables = {path: rest for path, *rest in ask(real, sql.select(*columns))}
    assert in_tables == {line[7]: [ANY, int(line[4]), int(line[6])] for line in found}
    for name in NAMES:
        path = root.folder / os.fsdecode(name)
        assert in_tables[paths.text(bytes(path))][0] == str(path.stat().st_ino)


def test_what_is_no_marked_file_is_told(real: Site) -> None:
    volume = real.folder / "s1/projects"
    root, other = Root(volume / "a"), Root(volume / "b")
    kept = root.mark("keep", b"x")
    for number, branch in enumerate((".staged", ".limbo", ".limbo", ".stash")):
        root.mark(branch, b"%d" % number)
    root.file(b".vault/keep/README")
    root.file(b".vault/keep/zz/01-eA==")
    root.file(b".vault/.audit", 100)
    (root.vault / "archive").mkdir()
    (root.vault / "archive" / "link").symlink_to(volume)
    theirs = other.mark("archive", b"y")
    copied = [other.mark("keep", f"copied{number}".encode()) for number in range(7)]
    shutil.copytree(other.vault, volume / "c/.vault")

    [said] = scanned(real, "puppeteer")
    expected = [row("Keep", path, 5, 2) for path in (kept, *copied)]
    assert tsv_rows(real) == [row("Archive", theirs, 5, 2), *expected]
    others, broken, copies = said["remarks"]
    assert others == "files in other branches: .limbo 2, .staged 1, .stash 1"
    assert broken == (
        "broken entries in vaults: 3: "
        f"{root.vault}/archive/link (not a file); "
        f"{root.vault}/keep/README (no - behind the inode); "
        f"{root.vault}/keep/zz/01-eA== (the inode is not one to eight bytes in hexadecimal)"
    )
    assert copies.startswith(f"files in copies of vaults: 8: {volume}/c/.vault/archive/")
    assert copies.count("the key is that of inode") == 5
    assert copies.endswith("; ...")


def test_a_vault_may_lie_below_the_root_of_another(real: Site) -> None:
    outer, inner = Root(real.folder / "s1/projects/a"), Root(real.folder / "s1/projects/a/sub")
    files = [outer.mark("keep", b"sub/z"), outer.mark("keep", b"x"), inner.mark("keep", b"y")]
    scanned(real, "puppeteer")
    assert tsv_rows(real) == [row("Keep", path, 5, 2) for path in sorted(files)]


def test_what_vaults_keep_is_counted_where_it_is_now(real: Site) -> None:
    root, other = Root(real.folder / "s1/projects/a"), Root(real.folder / "s1/projects/b")
    for name in (b"d/x", b"d/y", b"users/u/z", b"top"):
        root.mark("keep", name)
    root.file(b"d/free")
    root.mark("archive", b"e/x")
    root.mark(".limbo", b"e/y")
    root.mark("keep", b"e/z").rename(root.folder / "users/u/moved")
    root.mark("keep", b"e/gone").unlink()
    (other.folder / "another name").hardlink_to(root.folder / "d/x")
    other.mark("keep", b"f/x")
    shutil.copytree(other.vault, real.folder / "s1/projects/c/.vault")

    scanned(real, "puppeteer", "inspector")
    found = {(Path(row[0][2]).name, row[0][3]): row[8] for row in stored(real)["directory"]}
    assert found == {
        ("a", "."): 1,
        ("a", ".vault"): 6,
        ("a", "d"): 2,
        ("a", "e"): 0,
        ("a", "users/u"): 2,
        ("b", "."): 1,
        ("b", ".vault"): 1,
        ("b", "f"): 1,
        ("c", ".vault"): 1,
    }


# Made-up scans.


def marked(name: str, inode: int, branch: str = "keep", **facts: Any) -> list[Entry]:
    """A file of `ROOT` that is marked, and its entry in the vault."""
    key = vaults.encode(Key(inode, name.encode()))
    of_vault = entry(f"{ROOT}/.vault/{branch}/".encode() + key, inode=inode, links=2)
    return [
        each._replace(**facts)
        for each in (of_vault, of_vault._replace(path=b"%b/%b" % (ROOT.encode(), name.encode())))
    ]


def test_inodes_of_one_to_eight_bytes_come_out_as_put_in(site: Site) -> None:
    inodes = [0, 1, 255, 256, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1]
    inodes += [3 << 8 * number for number in range(8)]
    site.add_scan([each for inode in inodes for each in marked(f"of {inode}", inode)])
    [said] = site.outcomes("puppeteer")
    assert (said["status"], said["rows"], said["remarks"][1:]) == ("written", len(inodes), [])
    found = ask(site, sql.select(vault_now.c.filepath, vault_now.c.inode))
    assert sorted(found) == sorted((f"{ROOT}/of {inode}", str(inode)) for inode in inodes)
    assert sorted(line[7] for line in tsv_rows(site)) == sorted(path for path, _ in found)


def test_more_links_than_a_database_can_hold_are_told_as_so_many(small: Site) -> None:
    small.add_scan(marked("x", 1, links=2**64 - 1))
    [said] = small.outcomes("puppeteer")
    assert said["status"] == "written"
    assert [line[6] for line in tsv_rows(small)] == [str(2**63 - 1)]


# Nights.

FIRST = TODAY - timedelta(days=5)
State = tuple[str, str, int, int]
"""Name, action, size, links."""


def night(number: int) -> date:
    return FIRST + timedelta(days=number)


def show(site: Site, number: int, *arguments: str) -> dict[str, Any]:
    """Run one night."""
    [said] = site.outcomes("puppeteer", "--date", str(night(number)), *arguments)
    assert said["status"] == "written", said
    return said


def state(name: str, size: int = 10, links: int = 2, action: str = "Keep") -> State:
    return name, action, size, links


def add_night(site: Site, number: int, *states: State, at: clock = clock(1)) -> Path:
    """The scan of a night on which some files are in the vault."""
    files = [
        each
        for name, action, size, links in states
        for each in marked(name, ord(name), action.lower(), size=size, links=links)
    ]
    return site.add_scan([entry(f"{ROOT}/.vault", type="d"), *files], day=night(number), at=at)


def history(site: Site) -> list[tuple[State, int, int | None]]:
    """Each row of `vault` with the first and the last night on which it was seen."""
    columns = [vault.c[name] for name in ("filepath", "size", "links", "first_seen", "last_seen")]
    question = sql.select(vault_actions.c.action_name, *columns).join_from(
        vault, vault_actions, vault.c.vault_action_id == vault_actions.c.vault_action_id
    )
    return sorted(
        (
            (path.removeprefix(f"{ROOT}/"), action, size, links),
            (first - FIRST).days,
            last and (last - FIRST).days,
        )
        for action, path, size, links, first, last in ask(site, question)
    )


def seen_now(site: Site) -> list[tuple[Any, ...]]:
    """What readers see."""
    names = ("filepath", "size", "links")
    rows = ask(site, sql.select(*(vault_now.c[name] for name in names)))
    return sorted((path.removeprefix(f"{ROOT}/"), *rest) for path, *rest in rows)


def everything(site: Site) -> list[tuple[Any, ...]]:
    """The rows of `vault` with their ids and all."""
    return sorted(ask(site, sql.select(vault)))


def test_nights_leave_a_row_for_each_state_of_a_file(site: Site) -> None:
    nights = [
        [state("a"), state("b")],
        [state("a", size=11), state("b")],
        [state("a", size=11, links=1), state("b", action="Archive")],
        [state("a", size=11, links=1), state("b", action="Archive")],
        [state("b", action="Archive")],
        [state("a", size=11, links=1), state("b", action="Archive")],
    ]
    rows_after = []
    for number, states in enumerate(nights):
        add_night(site, number, *states)
        assert show(site, number)["rows"] == len(states)
        rows_after.append(everything(site))
        assert seen_now(site) == sorted((name, size, links) for name, _, size, links in states)
        assert len(tsv_rows(site, night(number))) == len(states)
    assert rows_after[3] == rows_after[2]
    assert history(site) == [
        (state("a"), 0, 0),
        (state("a", size=11, links=1), 2, 3),
        (state("a", size=11, links=1), 5, None),
        (state("a", size=11), 1, 1),
        (state("b", action="Archive"), 2, None),
        (state("b"), 0, 1),
    ]


def test_an_older_night_that_is_filled_in_changes_no_row(site: Site) -> None:
    for number, size in ((0, 1), (2, 3), (1, 2)):
        add_night(site, number, state("a", size=size), state("b"))
    show(site, 0)
    show(site, 2)
    before = everything(site)
    for arguments in ((), ("--force",)):
        assert show(site, 1, *arguments)["rows"] == 2
        assert everything(site) == before
        assert [line[4] for line in tsv_rows(site, night(1))] == ["2", "10"]
    columns = [report_run.c[name] for name in ("record_date", "done", "current", "row_count")]
    assert sorted(ask(site, sql.select(*columns))) == [
        (night(0), 1, False, 2),
        (night(1), 1, False, 2),
        (night(2), 1, True, 2),
    ]


def test_force_of_the_newest_night_takes_back_what_it_did(site: Site) -> None:
    add_night(site, 0, state("a"), state("b"), state("c"))
    show(site, 0)
    add_night(site, 1, state("a", size=11), state("b"), state("d"))
    show(site, 1)
    add_night(site, 1, state("a"), state("b", size=12), state("e"), at=clock(2))
    [said] = site.outcomes("puppeteer", "--date", str(night(1)))
    assert said["status"] == "already"
    assert any("a newer scan" in each or "another scan" in each for each in said["remarks"])
    show(site, 1, "--force")
    assert history(site) == [
        (state("a"), 0, None),
        (state("b"), 0, 0),
        (state("b", size=12), 1, None),
        (state("c"), 0, 0),
        (state("e"), 1, None),
    ]
    assert [line[7] for line in tsv_rows(site, night(1))] == [f"{ROOT}/{name}" for name in "abe"]


def test_a_tsv_that_is_missing_is_written_from_the_scan_again(small: Site) -> None:
    for number in range(2):
        add_night(small, number, state("a", size=number), state("b"))
        show(small, number)
    before = everything(small)
    for number in range(2):
        path = small.tsv(day=night(number), program="puppeteer")
        content = path.read_bytes()
        path.unlink()
        [said] = small.outcomes("puppeteer", "--date", str(night(number)))
        assert (said["status"], said["rows"], said["tsv"]) == ("already", 2, str(path))
        assert "the TSV was missing: written from the scan again" in said["remarks"]
        assert path.read_bytes() == content
    assert everything(small) == before


def test_other_symlinks_are_told(small: Site) -> None:
    add_night(small, 0, state("a"))
    show(small, 0)
    small.config = '[symlinks]\n"/lustre/s1/projects" = "/projects"'
    path = small.tsv(day=night(0), program="puppeteer")
    [said] = small.outcomes("puppeteer", "--date", str(night(0)))
    assert said["status"] == "already"
    assert "recorded with other settings: --force makes it and its rows again" in said["remarks"]
    path.unlink()
    [said] = small.outcomes("puppeteer", "--date", str(night(0)))
    assert said["status"] == "failed"
    assert f"{path} is missing, and was made with other settings" in said["reason"]
    show(small, 0, "--force")
    assert [line[7] for line in tsv_rows(small, night(0))] == ["/projects/a/a"]
    assert ask(small, sql.select(vault_now.c.filepath, vault_now.c.real_path)) == [
        ("/projects/a/a", f"{ROOT}/a")
    ]


def test_an_action_that_a_site_adds_is_told_and_counts_from_then_on(small: Site) -> None:
    add_night(small, 0, state("a"), state("b", action=".Stash"))
    assert "files in other branches: .stash 1" in show(small, 0)["remarks"]
    database = Database(of_site(small).url)
    database.transaction(
        lambda link: link.execute(sql.insert(vault_actions).values(action_name="Stash"))
    )
    database.close()
    [said] = small.outcomes("puppeteer", "--date", str(night(0)))
    assert "recorded with other settings: --force makes it and its rows again" in said["remarks"]
    show(small, 0, "--force")
    assert history(small) == [(state("a"), 0, None), (state("b", action="Stash"), 0, None)]


def test_a_dry_run_shows_and_writes_nothing(small: Site) -> None:
    add_night(small, 5, state("a"))
    done = small.run("puppeteer", "--dry-run")
    assert "Largest files in vaults (1 of 1)" in done.stdout
    assert not small.reports.exists()
    assert not (small.folder / "lurge.db").exists()


# Runs that are killed.

MANY = 20_000
FILLING, PREPARING = "rows being added", "TSV being prepared"


@pytest.mark.parametrize("moment", [FILLING, PREPARING])
def test_killed_while_it_writes_nothing_is_seen_and_the_next_run_completes_it(
    site: Site, moment: str
) -> None:
    kept = [each for number in range(10) for each in marked(f"kept{number}", 10**6 + number)]
    site.add_scan([*kept, *marked("old", 10**7)], day=YESTERDAY)
    site.outcomes("puppeteer", "--date", str(YESTERDAY))
    before = everything(site)
    site.add_scan([*kept, *(marked(f"file{number}", number)[0] for number in range(MANY))])
    looks = {
        FILLING: lambda: ask(site, sql.select(report_run).where(report_run.c.filled > 2000)),
        PREPARING: lambda: list(site.reports.glob("puppeteer/*/.*")),
    }
    process = site.start("puppeteer")
    wait_for(looks[moment], process)
    process.kill()
    process.communicate()
    assert len(everything(site)) > len(before)
    assert [row for row in everything(site) if row in before] == before
    assert len(seen_now(site)) == 11
    assert not site.tsv(program="puppeteer").exists()
    [said] = site.outcomes("puppeteer")
    assert (said["status"], said["rows"]) == ("written", MANY + 10)
    assert len(tsv_rows(site)) == len(seen_now(site)) == MANY + 10
    assert len(everything(site)) == MANY + 11
    ended = ask(site, sql.select(vault.c.filepath).where(vault.c.last_seen == YESTERDAY))
    assert ended == [(f"{ROOT}/old",)]
    assert len(ask(site, sql.select(report_run))) == 2
    assert not list(site.reports.glob("puppeteer/*/.*"))


class Overtaking:
    """A tally; when it is first asked for states, another date is recorded."""

    def __init__(self, tally: VaultTally, record: Callable[[], None]) -> None:
        self._tally = tally
        self._record = [record]

    def tell(self, question: Any) -> Any:
        if isinstance(question, States) and self._record:
            self._record.pop()()
        return self._tally.tell(question)


def test_a_run_that_another_date_overtakes_compares_again(
    tmp_path: Path, database: Database
) -> None:
    tally = VaultTally(10**9, ("Archive", "Keep"), {})
    key = vaults.encode(Key(7, b"x")).decode()
    splitting.show(tally, [text([entry(f"/a/.vault/keep/{key}", inode=7)])], Parser())

    def record_the_next_day() -> None:
        later = nights.run(nights.DAY + timedelta(days=1), report="puppeteer")
        filling = begin(database, later, nights.VOLUME, 0, replace=False)
        filling.changes([])
        filling.finish()

    puppeteer = Puppeteer(Config(report_dir=tmp_path), database, SystemNames())
    run = nights.run(report="puppeteer")
    scan = Scan(nights.VOLUME, tmp_path, nights.DAY, 10**9)
    told = {"puppeteer": Overtaking(tally, record_the_next_day)}
    made = puppeteer.write(run, scan, told, replace=False)
    assert (made.rows, made.path) == (1, puppeteer.tsv(run))
    assert puppeteer.recorded(run).rows == 1
