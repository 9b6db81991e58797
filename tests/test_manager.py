"""The one command: what it prints and with which status it ends, run as a user would run it."""

import json
import os
import pty
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import time as clock
from datetime import timedelta
from pathlib import Path

import pytest
from site_of_tests import MANAGER, TODAY, Site, entries, entry, text

import manager


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def rows_of(tsv: Path) -> list[dict[str, str]]:
    header, *lines = tsv.read_text(encoding="utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def at_a_terminal(command: list[str], folder: Path) -> tuple[int, str]:
    """Run a command with a terminal; its status and what it showed there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # what a terminal says when its last program has ended
            break
        if not part:
            break
        shown += part
    os.close(ours)
    return process.wait(), shown.decode()


def test_a_report_goes_into_the_table_the_tsv_and_the_database(site: Site) -> None:
    site.add_scan(entries(1000))
    done = site.run("reporter")
    assert done.returncode == 0
    assert "Largest groups (5 of 5)" in done.stdout
    assert "written" in done.stdout
    rows = rows_of(site.tsv())
    assert [row["group"] for row in rows] == [f"gid:{3000 + i}" for i in range(5)]
    with sqlite3.connect(site.folder / "lurge.db") as database:
        used = database.execute("select used, inodes from lustre_usage order by unix_id").fetchall()
        runs = database.execute("select report, lines, done, current from report_run").fetchall()
    assert used == [(int(row["used_bytes"]), int(row["inodes"])) for row in rows]
    assert runs == [("reporter", 1000, 1, 1)]


def test_the_log_has_a_line_an_event_with_the_runs_id(site: Site) -> None:
    site.add_scan(entries(10))
    (line,) = site.run("reporter").stderr.splitlines()
    assert " event=written run=" in line
    assert "report=reporter volume=s1 rows=5" in line


def test_a_terminal_shows_tables_and_no_log(site: Site) -> None:
    site.add_scan(entries(10))
    status, shown = at_a_terminal(site.command("reporter"), site.folder)
    assert status == 0
    assert "Largest groups" in shown
    assert "event=" not in shown


def test_a_second_run_leaves_what_is_recorded_alone_and_force_replaces_it(site: Site) -> None:
    scan = site.add_scan(entries(10))
    assert site.outcomes("reporter")[0]["status"] == "written"
    before = site.tsv().read_bytes()
    scan.write_bytes(b"no longer readable")
    assert site.outcomes("reporter")[0]["status"] == "already"
    assert site.tsv().read_bytes() == before
    assert site.outcomes("reporter", "--force")[0]["status"] == "failed"
    scan.unlink()
    site.add_scan(entries(20), at=clock(2, 0, 0))
    (replaced,) = site.outcomes("--force", "reporter")
    assert (replaced["status"], replaced["run"]["lines"]) == ("written", 20)
    assert site.tsv().read_bytes() != before


def test_a_newer_scan_of_a_recorded_day_is_told(site: Site) -> None:
    site.add_scan(entries(10))
    site.outcomes("reporter")
    site.add_scan(entries(20), at=clock(2, 0, 0))
    (outcome,) = site.outcomes("reporter")
    assert (outcome["status"], outcome["run"]["lines"]) == ("already", 10)
    assert "--force replaces it" in outcome["remarks"][-1]
    (outcome,) = site.outcomes("reporter", "--dry-run")
    assert (outcome["status"], outcome["run"]["lines"]) == ("read", 20)


def test_options_may_stand_before_the_reports_and_behind_them(site: Site) -> None:
    site.add_scan(entries(10))
    site.add_scan(entries(10, mount="/lustre/s2"), "/lustre/s2")
    config = str(site.write_config())
    for arguments in (
        ["--config", config, "--volume", "s1", "--dry-run", "reporter"],
        ["reporter", "--volume", "s1", "--config", config, "--dry-run"],
        ["--config", config, "reporter", "--dry-run", "--volume", "s1"],
    ):
        done = subprocess.run(
            [sys.executable, MANAGER, *arguments, "--json"], capture_output=True, check=True
        )
        assert [json.loads(line)["volume"] for line in done.stdout.splitlines()] == ["s1"]


def test_a_dry_run_reads_and_prints_and_writes_nothing(site: Site) -> None:
    site.add_scan(entries(1000))
    done = site.run("reporter", "--dry-run")
    assert done.returncode == 0
    assert "read only" in done.stdout
    assert "Largest groups" in done.stdout
    assert {path.name for path in site.folder.iterdir()} == {"lurge.toml", "wrstat"}


def test_one_volumes_trouble_is_its_own(site: Site) -> None:
    site.add_scan(entries(1000))
    bad = site.add_scan(entries(1000, mount="/lustre/s2"), "/lustre/s2")
    bad.write_bytes(bad.read_bytes()[:-9])
    done = site.run("reporter")
    assert done.returncode == 1
    assert f"{bad} is cut short" in done.stderr
    assert site.tsv("s1").exists()
    assert not site.tsv("s2").exists()


def test_a_configured_volume_without_a_scan_fails_and_the_others_go_on(site: Site) -> None:
    site.config = (
        '[[volume]]\nname = "one"\nmount = "/lustre/s1"\n'
        '[[volume]]\nname = "two"\nmount = "/lustre/s2"\n'
    )
    site.add_scan(entries(10))
    one, two = site.outcomes("reporter")
    assert one["status"] == "written"
    assert (two["status"], two["volume"]) == ("failed", "two")
    assert "no scan of two (/lustre/s2) of the last 10 days" in two["reason"]


def test_volumes_that_nobody_configured_are_found_with_a_remark(site: Site) -> None:
    site.add_scan(entries(10))
    (outcome,) = site.outcomes("reporter")
    assert "no [[volume]] is configured" in outcome["remarks"][0]
    site.config = '[[volume]]\nname = "s1"\nmount = "/lustre/s1"\n'
    (outcome,) = site.outcomes("reporter", "--force")
    assert outcome["remarks"] == []


def test_no_scan_at_all_ends_with_status_3_and_no_empty_report(site: Site) -> None:
    done = site.run("reporter")
    assert done.returncode == 3
    assert "no scan of the last 10 days" in done.stderr


def test_a_locale_without_the_names_characters_does_not_stop_a_run(site: Site) -> None:
    tree = site.folder / "caf\u00e9"
    tree.mkdir()
    site.env = {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    assert site.run("scan", tree).returncode == 0
    assert site.run("reporter").returncode == 0


def test_output_that_nobody_reads_any_more_is_no_bug(site: Site) -> None:
    site.add_scan(entries(10))
    command = site.command("reporter")
    done = subprocess.run(
        ["sh", "-c", '{ "$@"; echo "status $?" >&2; } | true', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert "status" in done.stderr
    assert site.tsv().exists()


def test_a_date_takes_exactly_that_days_scan(site: Site) -> None:
    old = TODAY - timedelta(days=30)
    site.add_scan(entries(10), day=old)
    site.add_scan(entries(20))
    (outcome,) = site.outcomes("reporter", "--date", old.isoformat())
    assert (outcome["run"]["record_date"], outcome["run"]["lines"]) == (old.isoformat(), 10)
    assert site.run("reporter", "--date", "2001-01-01").returncode == 3
    site.config = '[[volume]]\nname = "s1"\nmount = "/lustre/s1"\n'
    (missing,) = site.outcomes("reporter", "--date", "2001-01-01")
    assert missing["status"] == "failed"
    assert "no scan of s1 (/lustre/s1) of 2001-01-01" in missing["reason"]


def test_latest_leads_to_the_newest_day_although_an_older_one_is_filled_in(site: Site) -> None:
    old = TODAY - timedelta(days=3)
    site.add_scan(entries(10), day=old)
    site.add_scan(entries(20))
    site.outcomes("reporter")
    site.outcomes("reporter", "--date", old.isoformat())
    latest = site.reports / "reporter" / "latest" / "s1.tsv"
    assert latest.resolve() == site.tsv().resolve()
    with sqlite3.connect(site.folder / "lurge.db") as database:
        current = "select record_date from report_run where current"
        assert database.execute(current).fetchall() == [(TODAY.isoformat(),)]


def test_a_plain_file_and_standard_input_can_be_read(site: Site) -> None:
    plain = site.folder / "scan.txt"
    plain.write_bytes(text(entries(10)))
    arguments = ["reporter", "--volume", "s1", "--date", TODAY.isoformat(), "--scan"]
    (outcome,) = site.outcomes(*arguments, plain)
    assert outcome["status"] == "written"
    from_file = site.tsv().read_bytes()
    done = subprocess.run(
        [*site.command(*arguments, "-"), "--force", "--json"],
        input=text(entries(10)),
        capture_output=True,
        check=True,
    )
    assert "read from standard input" in json.loads(done.stdout)["remarks"][0]
    without_ages = [row.split("\t")[:9] for row in site.tsv().read_text().splitlines()]
    assert without_ages == [row.split("\t")[:9] for row in from_file.decode().splitlines()]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["reporter", "--scan", "x.gz"], "--scan FILE needs one --volume and a --date"),
        (
            ["reporter", "--scan", "x", "--volume", "../x", "--date", "2026-01-01"],
            "--volume ../x: must have no slash",
        ),
        (["reporter", "--volume", "none"], "--volume none: the volumes are s1"),
        (["reporter", "--date", "yesterday"], "yesterday"),
        (["reporter", "--frobnicate"], "--frobnicate"),
        (["nonsense"], "nonsense"),
        (["scan"], "scan what?"),
        (["scan", "--volume", "x"], "not in the configuration"),
    ],
)
def test_wrong_arguments_end_with_status_2(
    site: Site, arguments: list[str], complaint: str
) -> None:
    site.add_scan(entries(10))
    done = site.run(*arguments)
    assert (done.returncode, complaint in done.stderr) == (2, True), done.stderr


def test_three_mistakes_in_the_configuration_are_listed_at_once(site: Site) -> None:
    site.config = 'keep = 0\nblock = 7\n[[volume]]\nname = "a/b"\nmount = "x"\n'
    done = site.run("reporter")
    assert done.returncode == 2
    problems = done.stderr.splitlines()
    assert len(problems) == 4
    for key in ("keep", "block: unknown key", "volume.1.name", "volume.1.mount"):
        assert any(f"lurge.toml: {key}" in problem for problem in problems)


def test_problems_of_names_and_quotas_are_listed_at_once(site: Site) -> None:
    site.config = (
        '[names]\nsource = "files"\ngroup_file = "none"\n'
        '[quotas]\nsource = "csv"\ncsv_file = "none.csv"\n'
    )
    done = site.run("reporter")
    assert done.returncode == 2
    assert "names.group_file" in done.stderr
    assert "quotas.csv_file" in done.stderr


def test_no_configuration_and_no_terminal_is_refused(tmp_path: Path) -> None:
    command = [sys.executable, str(MANAGER), "reporter"]
    done = subprocess.run(
        command, cwd=tmp_path, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no configuration and no terminal" in done.stderr
    assert list(tmp_path.iterdir()) == []
    status, shown = at_a_terminal(command, tmp_path)
    assert status == 3
    assert "wrstat_dir" in shown


def test_a_missing_scan_folder_ends_with_status_3(site: Site) -> None:
    config = site.write_config()
    site.wrstat.rmdir()
    done = subprocess.run(
        [sys.executable, MANAGER, "reporter", "--config", config],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3
    assert "wrstat_dir" in done.stderr


def test_a_database_that_is_down_ends_with_status_3(site: Site) -> None:
    site.add_scan(entries(10))
    site.database = "mysql+pymysql://nobody@127.0.0.1:1/lurge"
    site.env = {"LURGE_DATABASE_PASSWORD": "hush-hush"}
    done = site.run("reporter")
    assert done.returncode == 3
    assert "mysql+pymysql://nobody@127.0.0.1:1/lurge" in done.stderr
    assert "hush-hush" not in done.stderr + done.stdout
    assert not site.reports.exists()


def test_a_scan_of_much_fewer_lines_than_the_last_has_a_loud_remark(site: Site) -> None:
    site.add_scan(entries(1000), day=TODAY - timedelta(days=1))
    site.outcomes("reporter")
    site.add_scan(entries(400))
    (outcome,) = site.outcomes("reporter")
    assert outcome["status"] == "written"
    assert "ONLY 400 LINES, BUT 1000 ON" in outcome["remarks"][-1]


def test_bad_lines_are_counted_and_the_first_are_told(site: Site) -> None:
    site.add_scan(text(entries(100)) + b"x\n" * 5 + text(entries(100)))
    (outcome,) = site.outcomes("reporter")
    assert outcome["run"]["bad_lines"] == 5
    assert outcome["run"]["lines"] == 205
    assert outcome["remarks"][-1:] == [
        "5 bad lines (line 101: not 11 or 12 columns; line 102: not 11 or 12 columns; "
        "line 103: not 11 or 12 columns; ...)"
    ]


def test_sizes_that_cannot_be_fail_the_volume(site: Site) -> None:
    site.add_scan([entry("/lustre/s1/a", size=2**63 - 1), entry("/lustre/s1/b", size=1)])
    (outcome,) = site.outcomes("reporter")
    assert outcome["status"] == "failed"
    assert "2^63" in outcome["reason"]


def test_a_tsv_that_is_missing_is_written_from_the_database(site: Site) -> None:
    site.add_scan(entries(100))
    site.outcomes("reporter")
    before = site.tsv().read_bytes()
    site.tsv().unlink()
    (outcome,) = site.outcomes("reporter")
    assert outcome["status"] == "already"
    assert "written from the database" in outcome["remarks"][-1]
    assert site.tsv().read_bytes() == before


def test_files_beyond_keep_are_removed_and_stay_removed(site: Site) -> None:
    old = TODAY - timedelta(days=5)
    site.config = "keep = 3"
    site.add_scan(entries(10), day=old)
    site.outcomes("reporter")
    assert not site.tsv(day=old).exists()
    (outcome,) = site.outcomes("reporter")
    assert (outcome["status"], outcome["tsv"]) == ("already", None)


def test_ctrl_c_ends_a_run_at_once_and_leaves_nothing_half_written(site: Site) -> None:
    scan = site.add_scan(text(entries(20_000)) * 100)
    process = site.start_reading(scan, "reporter")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "nothing is half-written" in errors
    assert not site.tsv().exists()
    assert site.outcomes("reporter")[0]["status"] == "written"


def test_init_writes_a_configuration_once_and_makes_the_tables(tmp_path: Path) -> None:
    command = [sys.executable, str(MANAGER), "init"]
    first = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "lurge.toml: written" in first.stdout
    assert (tmp_path / "lurge-data" / "lurge.db").exists()
    assert (tmp_path / "lurge-data" / "wrstat").is_dir()
    (tmp_path / "lurge.toml").write_text("keep = 5\n")
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "left as it is" in second.stdout
    assert "up to date" in second.stdout
    assert (tmp_path / "lurge.toml").read_text() == "keep = 5\n"


def test_a_scan_of_a_tree_is_reported_on(site: Site) -> None:
    tree = site.folder / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 1000)
    done = site.run("scan", tree)
    assert done.returncode == 0
    assert "2 entries" in done.stdout
    (outcome,) = site.outcomes("reporter")
    assert (outcome["volume"], outcome["run"]["lines"]) == ("tree", 2)
    assert int(rows_of(site.tsv("tree"))[0]["used_bytes"]) == 1000 + tree.stat().st_size


def test_a_scan_of_the_future_is_passed_over(site: Site) -> None:
    site.add_scan(entries(10))
    site.add_scan(entries(20), day=TODAY + timedelta(days=300))
    (outcome,) = site.outcomes("reporter")
    assert outcome["run"]["lines"] == 10


def test_a_run_that_knows_no_mount_keeps_the_one_that_was_known(site: Site) -> None:
    scan = site.add_scan(entries(10))
    site.outcomes("reporter")
    site.outcomes("reporter", "--scan", scan, "--volume", "s1", "--date", "2026-01-01")
    with sqlite3.connect(site.folder / "lurge.db") as database:
        assert database.execute("select mount from volume").fetchall() == [("/lustre/s1",)]


def test_a_name_that_nobody_knows_for_a_night_stays_in_the_database(site: Site) -> None:
    site.config = '[names]\nsource = "files"\ngroup_file = "group"'
    (site.folder / "group").write_bytes(b"team:x:3000:\n")
    site.add_scan(entries(10, groups=1))
    site.outcomes("reporter")
    (site.folder / "group").write_bytes(b"")
    site.outcomes("reporter", "--force")
    with sqlite3.connect(site.folder / "lurge.db") as database:
        assert database.execute("select group_name from unix_group").fetchall() == [("team",)]


def test_a_dry_run_leaves_an_empty_database_empty(site: Site) -> None:
    site.add_scan(entries(10))
    (site.folder / "lurge.db").touch()
    assert site.outcomes("reporter", "--dry-run")[0]["status"] == "read"
    assert (site.folder / "lurge.db").stat().st_size == 0


def test_defaults_are_the_defaults_wherever_a_configuration_may_be(tmp_path: Path) -> None:
    (tmp_path / "lurge.toml").write_text("nonsense = 1\n")
    command = [sys.executable, str(MANAGER), "reporter"]
    for more, status in (["--defaults"], 3), ([], 2):
        done = subprocess.run([*command, *more], cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == status


def test_ctrl_c_ends_a_run_whose_scan_never_comes(site: Site) -> None:
    pipe = site.folder / "pipe"
    os.mkfifo(pipe)
    process = site.start("reporter", "--volume", "s1", "--date", "2026-01-01", "--scan", pipe)
    with pipe.open("wb"):
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert process.returncode == 130


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-"])
def test_a_run_does_not_need_all_its_streams(site: Site, closed: str) -> None:
    site.add_scan(entries(10))
    script = f'exec "$@" {closed}'
    command = ["sh", "-c", script, "sh", *site.command("reporter")]
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    assert site.tsv().exists()


def test_in_a_job_of_lsf_a_run_takes_the_jobs_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSB_DJOB_NUMPROC", "3")
    assert manager.threads_of_job() == 3
    monkeypatch.delenv("LSB_DJOB_NUMPROC")
    assert manager.threads_of_job() == len(os.sched_getaffinity(0))


def test_help_names_every_command_and_what_it_does() -> None:
    done = subprocess.run([sys.executable, MANAGER, "--help"], capture_output=True, check=True)
    for command in (b"reporter", b"scan", b"init", b"demo"):
        assert command in done.stdout
