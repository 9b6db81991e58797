"""The inspector from scan to TSV and tables: where base directories are, and what is replaced."""

import gzip
import os
from datetime import date, timedelta
from datetime import time as clock
from pathlib import Path

import pytest
import sqlalchemy as sql
from dump import dump
from site_of_tests import TODAY, Site, entries, entry, text, wait_for

from db.database import Database
from db.schema import directory_now
from lurge_types.batch import Entry
from lurge_types.config import DatabaseTable
from utils.config import password

YESTERDAY = TODAY - timedelta(days=1)
RULES = """
[inspector]
base_directories = [
    { prefix = "/lustre/s1/projects", depth = 4 },
    { prefix = "/lustre/s1/projects/big", depth = 5 },
]
"""


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    """A site whose database has its tables, once of each kind."""
    return Site(tmp_path, database=table.url, password_file=table.password_file, retry_seconds=10)


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """A site with SQLite."""
    return Site(tmp_path)


def rows(path: Path) -> list[dict[str, str]]:
    """A TSV file's rows by column."""
    header, *lines = path.read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def places(site: Site, day: date = TODAY) -> list[tuple[str, str, str]]:
    """Base directory, directory and files of each row of the TSV."""
    return [
        (row["base_directory"], row["directory"], row["files"])
        for row in rows(site.tsv(day=day, program="inspector"))
    ]


def directories(table: DatabaseTable) -> list[object]:
    """The paths of the rows of `directory`."""
    return sorted(row[2] for row in dump(table)["directory"])


def directories_now(table: DatabaseTable) -> list[object]:
    """The paths that readers see."""
    database = Database(table.url, password=password(table))
    paths = sql.select(directory_now.c.directory_path)
    try:
        return database.transaction(lambda connection: list(connection.scalars(paths)))
    finally:
        database.close()


FILES = [
    entry("/lustre/s1/projects/a/x.bam", size=5, atime=0, mtime=0),
    entry("/lustre/s1/projects/a/users/u1/x.fastq.gz", size=7, links=2, inode=1),
    entry("/lustre/s1/projects/a/users/u2/y.FQ.GZ", size=7, links=2, inode=1),
    entry("/lustre/s1/projects/a/users/readme", size=1),
    entry("/lustre/s1/projects/big/b/d/deep/z.vcf", size=9, gid=3),
    entry("/lustre/s1/projects/lonely", size=2),
    entry("/lustre/s1/top", size=3),
    entry("/lustre/s1/projects/a", type="d", size=4096),
]


def test_the_tsv_has_a_row_for_each_directory_of_each_project(small: Site) -> None:
    small.config = RULES
    small.add_scan(FILES)
    [said] = small.outcomes("inspector")
    assert (said["status"], said["rows"]) == ("written", 6)
    found = rows(small.tsv(program="inspector"))
    assert [
        (row["gid"], row["base_directory"], row["directory"], row["files"], row["size_bytes"])
        for row in found
    ] == [
        ("2", "-", "-", "2", "5"),
        ("2", "/lustre/s1/projects/a", ".", "1", "5"),
        ("2", "/lustre/s1/projects/a", "users", "1", "1"),
        ("2", "/lustre/s1/projects/a", "users/u1", "1", "7"),
        ("2", "/lustre/s1/projects/a", "users/u2", "1", "7"),
        ("3", "/lustre/s1/projects/big/b", "d", "1", "9"),
    ]
    assert list(found[0])[10:] == [
        *("SAM", "BAM", "CRAM", "FASTQ", "FASTQ (gzip)", "VCF", "VCF (gzip)", "PEDBED"),
        "other",
    ]
    assert [found[3][name] for name in ("FASTQ (gzip)", "other")] == ["7", "0"]
    assert [found[1][name] for name in ("BAM", "last_modified_days", "last_used_days")] == [
        *("5", "-", "-")
    ]
    for row in found:
        assert sum(map(int, list(row.values())[10:])) == int(row["size_bytes"])


def test_the_tables_have_the_details_and_the_use_of_base_directories(
    site: Site, table: DatabaseTable
) -> None:
    site.config = RULES
    site.add_scan(FILES)
    assert [each["status"] for each in site.outcomes("inspector")] == ["written"]
    stored = dump(table)
    assert len(stored["directory"]) == 6
    base = "/lustre/s1/projects/a"
    assert [row[1:] for row in stored["file_size"] if row[0][3] == "users/u1"] == [
        ("FASTQ (gzip)", 1, 7)
    ]
    assert [row[1:] for row in stored["directory_age"] if row[0][2:] == (base, ".")] == [(-1, 1, 5)]
    used = {(row[1], row[2]): row[5:7] for row in stored["base_directory_usage"]}
    assert used[2, base] == (4096 + 5 + 7 + 1, 4)
    assert used[2, "-"] == (5, 2)


def test_without_rules_the_first_level_of_the_volume_is_the_base_directory(small: Site) -> None:
    small.add_scan(FILES)
    small.outcomes("inspector")
    assert {base for base, *_ in places(small)} == {"-", "/lustre/s1/projects"}


def test_without_rules_and_mount_a_remark_says_what_to_configure(small: Site) -> None:
    scan = small.add_scan(FILES)
    scan.rename(small.wrstat / f"{TODAY:%Y%m%d}_s1.a.b.stats.gz")
    [said] = small.outcomes("inspector")
    assert any("inspector.base_directories" in remark for remark in said["remarks"])
    assert {base for base, *_ in places(small)} == {"-"}


def test_a_file_of_base_directories_goes_before_the_rules(small: Site) -> None:
    small.config = RULES
    small.add_scan(FILES)
    file = small.wrstat / f"{YESTERDAY:%Y%m%d}_s1.x.basedirs"
    file.write_bytes(b"2\t/lustre/s1/projects/a/users\n2\t/lustre/s1/top\nbad\n")
    [said] = small.outcomes("inspector")
    assert f"{file.name}: 1 bad lines, the first is line 3" in said["remarks"]
    assert places(small) == [
        ("-", "-", "2"),
        ("/lustre/s1/projects/a", ".", "1"),
        ("/lustre/s1/projects/a/users", ".", "1"),
        ("/lustre/s1/projects/a/users", "u1", "1"),
        ("/lustre/s1/projects/a/users", "u2", "1"),
        ("/lustre/s1/projects/big/b", "d", "1"),
    ]


def test_paths_are_shown_as_people_know_them_and_rules_may_name_them_so(
    small: Site,
) -> None:
    small.config = """
        [inspector]
        base_directories = [{ prefix = "/lustre/s1/projects", depth = 4 }]
        [symlinks]
        "/lustre/s1/mdt*/projects" = "/lustre/s1/projects"
    """
    small.add_scan([entry(f"/lustre/s1/mdt{real}/projects/a/d/x") for real in (0, 1)])
    small.outcomes("inspector")
    assert places(small) == [("/lustre/s1/projects/a", "d", "1")] * 2
    stored = dump(DatabaseTable(url=f"sqlite:///{small.folder}/lurge.db"))
    assert [row[0] for row in stored["base_directory"]] == [
        f"/lustre/s1/mdt{real}/projects/a" for real in (0, 1)
    ]


def test_rows_beyond_the_cap_are_folded_with_a_remark(small: Site) -> None:
    small.config = "[inspector]\nrows_per_base = 2"
    small.add_scan([entry(f"/lustre/s1/p/d{i}/x", size=i) for i in range(5)])
    [said] = small.outcomes("inspector")
    assert places(small) == [("/lustre/s1/p", "*other*", "4"), ("/lustre/s1/p", "d4", "1")]
    assert any(
        "4 directories are folded into *other* in 1 base" in each for each in said["remarks"]
    )


def test_pseudo_groups_count_in_the_inspector_too(small: Site) -> None:
    small.config = """
        [pseudo_groups."/lustre/s1/projects/a"]
        name = "common"
        pi = "Doe"
        gid = 77
    """
    small.add_scan(FILES)
    small.outcomes("inspector")
    found = [row for row in rows(small.tsv(program="inspector")) if row["gid"] == "77"]
    assert {(row["group"], row["pi"]) for row in found} == {("common", "Doe")}
    assert sum(int(row["files"]) for row in found) == 3


def test_a_newer_date_replaces_the_rows_and_an_older_one_does_not(
    site: Site, table: DatabaseTable
) -> None:
    site.add_scan([entry("/lustre/s1/p/old/x")], day=YESTERDAY)
    site.add_scan([entry("/lustre/s1/p/new/x")])
    said = site.outcomes("inspector", "--date", str(YESTERDAY))
    assert directories(table) == ["old"]
    said += site.outcomes("inspector")
    assert directories(table) == ["new"]
    said += site.outcomes("inspector", "--date", str(YESTERDAY), "--force")
    assert directories(table) == ["new"]
    assert [(each["status"], each["rows"]) for each in said] == [("written", 1)] * 3
    assert places(site, YESTERDAY) == [("/lustre/s1/p", "old", "1")]
    assert places(site) == [("/lustre/s1/p", "new", "1")]
    assert len(dump(table)["base_directory_usage"]) == 2


def test_a_day_that_was_recorded_with_other_settings_is_told_so(small: Site) -> None:
    small.add_scan(FILES)
    small.outcomes("inspector")
    small.config = RULES
    [said] = small.outcomes("inspector")
    assert said["status"] == "already"
    assert "recorded with other settings: --force makes it and its rows again" in said["remarks"]
    small.tsv(program="inspector").unlink()
    [said] = small.outcomes("inspector")
    assert said["status"] == "failed"
    assert "made with other settings" in said["reason"]
    [said] = small.outcomes("inspector", "--force")
    assert said["status"] == "written"
    assert not any("settings" in remark for remark in said["remarks"])


def test_the_newest_scan_is_told_to_be_old_after_a_day(small: Site) -> None:
    for days in (1, 2):
        small.add_scan(FILES, f"/lustre/old{days}", TODAY - timedelta(days=days))
    yesterday, older = small.outcomes("inspector")
    old = "THE NEWEST SCAN IS 2 DAYS OLD: see whether the scanner runs"
    assert (old in older["remarks"], "OLD" in "".join(yesterday["remarks"])) == (True, False)


def test_the_same_scan_by_another_path_is_the_same(small: Site, tmp_path: Path) -> None:
    small.add_scan(FILES)
    small.outcomes("inspector")
    (tmp_path / "link").symlink_to(small.wrstat)
    config = small.write_config()
    config.write_text(config.read_text().replace('"wrstat"', '"link"'))
    small.write_config = lambda: config  # type: ignore[method-assign]
    [said] = small.outcomes("inspector")
    assert said["status"] == "already"
    assert not any("another scan" in remark for remark in said["remarks"])


def test_force_replaces_the_rows_of_a_day(site: Site, table: DatabaseTable) -> None:
    scan = site.add_scan(entries(700))
    site.outcomes("inspector")
    before = dump(table)
    scan.unlink()
    scan.parent.rmdir()
    site.add_scan([entry("/lustre/s1/p/d/x")])
    [said] = site.outcomes("inspector")
    assert (said["status"], said["rows"]) == ("already", len(before["directory"]))
    site.outcomes("inspector", "--force")
    assert directories(table) == ["d"]
    assert len(dump(table)["report_run"]) == 1


def test_a_tsv_that_is_missing_is_written_from_the_scan_again(small: Site) -> None:
    small.add_scan(FILES)
    small.outcomes("inspector", "reporter")
    path = small.tsv(program="inspector")
    before = path.read_bytes()
    path.unlink()
    inspector, reporter = small.outcomes("inspector", "reporter")
    assert path.read_bytes() == before
    assert inspector["status"] == reporter["status"] == "already"
    assert "the TSV was missing: written from the scan again" in inspector["remarks"]


def test_a_tsv_that_is_missing_is_not_written_from_another_scan(small: Site) -> None:
    scan = small.add_scan(FILES)
    small.outcomes("inspector")
    small.tsv(program="inspector").unlink()
    scan.unlink()
    scan.parent.rmdir()
    small.add_scan(FILES[:1], at=clock(5))
    [said] = small.outcomes("inspector")
    assert said["status"] == "failed"
    assert "was made of another scan" in said["reason"]
    assert not small.tsv(program="inspector").exists()


def test_a_tsv_that_is_missing_is_not_written_from_a_scan_that_was_made_again(
    small: Site,
) -> None:
    scan = small.add_scan(FILES)
    small.outcomes("inspector")
    small.tsv(program="inspector").unlink()
    status = scan.stat()
    scan.write_bytes(gzip.compress(text(FILES[:-1])))
    os.utime(scan, (status.st_atime, status.st_mtime))
    [said] = small.outcomes("inspector")
    assert said["status"] == "failed"
    assert "with 8 lines: --force makes it" in said["reason"]


def test_a_dry_run_shows_and_writes_nothing(small: Site) -> None:
    small.config = RULES
    small.add_scan(FILES)
    done = small.run("inspector", "--dry-run")
    assert "Largest directories (6 of 6)" in done.stdout
    assert not small.reports.exists()
    assert not (small.folder / "lurge.db").exists()


def test_a_file_of_base_directories_that_cannot_be_read_fails_the_inspector_only(
    small: Site,
) -> None:
    small.add_scan(FILES)
    (small.wrstat / f"{TODAY:%Y%m%d}_x.basedirs").mkdir()
    inspector, reporter = small.outcomes("inspector", "reporter")
    assert (inspector["status"], reporter["status"]) == ("failed", "written")
    assert "base directories" in inspector["reason"]


def test_one_pass_serves_both_reports(small: Site) -> None:
    scan = small.add_scan(FILES)
    pipe = small.folder / "pipe"
    os.mkfifo(pipe)
    process = small.start(
        *("reporter", "inspector", "--json", "--volume", "s1", "--date", str(TODAY)),
        *("--scan", str(pipe)),
    )
    pipe.write_bytes(gzip.decompress(scan.read_bytes()))
    output, _ = process.communicate(timeout=60)
    assert output.count('"status": "written"') == 2


def many(count: int) -> list[Entry]:
    return [entry(f"/lustre/s1/p{i % 40}/d{i}/x") for i in range(count)]


def test_rows_are_fetched_and_stored_in_chunks(site: Site, table: DatabaseTable) -> None:
    site.add_scan(many(4500))
    [said] = site.outcomes("inspector")
    assert said["rows"] == 4500
    assert len(dump(table)["directory"]) == 4500
    found = rows(site.tsv(program="inspector"))
    keys = [(row["base_directory"].encode(), row["directory"].encode()) for row in found]
    assert keys == sorted(keys)
    assert len(set(keys)) == 4500


def test_killed_while_rows_are_written_nothing_is_seen_and_the_next_run_completes_it(
    site: Site, table: DatabaseTable
) -> None:
    site.add_scan([entry("/lustre/s1/p/old/x")], day=YESTERDAY)
    site.outcomes("inspector", "--date", str(YESTERDAY))
    site.add_scan(many(30_000))
    process = site.start("inspector")
    wait_for(lambda: list(site.reports.glob("inspector/*/.*")), process)
    process.kill()
    process.communicate()
    assert directories_now(table) == ["old"]
    assert not site.tsv(program="inspector").exists()
    [said] = site.outcomes("inspector")
    assert (said["status"], said["rows"]) == ("written", 30_000)
    assert len(directories_now(table)) == len(directories(table)) == 30_000
