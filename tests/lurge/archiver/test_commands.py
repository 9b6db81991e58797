"""`archive` as a person and a cron line use it: what it shows, asks, does, and how it ends."""

import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import redirect_stdout
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import mpirun
import pytest
from servers.disks import fill, small_disk
from site_of_tests import MANAGER, Site, wait_for
from terminals import answered

import manager
from lurge.archiver.works import now
from lurge_types.archive import Run
from utils import runfiles

BIG_BYTES = 6 << 30
ODD = b"caf\xe9\n\x1b[31m"


class Store:
    """A site that has a volume `s1` with two directories in it, and a target."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.mount = folder / "s1"
        self.target = folder / "target"
        self.runs = folder / "runs"
        self.log = folder / "log"
        self.target.mkdir()
        for name, words in ("alpha", "one"), ("beta", "three"):
            (self.mount / name).mkdir(parents=True)
            (self.mount / name / "file").write_text(words)
        self.site = Site(folder)
        self.configure()

    def configure(self, more: str = "", guards: str = "max_share = 1.0", **archive: object) -> None:
        """Change the configuration."""
        table: dict[str, object] = {
            "target": f"file://{self.target}",
            "run_dir": "runs",
            "log_dir": "log",
            **archive,
        }
        lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
        self.site.config = (
            f'[[volume]]\nname = "s1"\nmount = "{self.mount}"\n'
            f"[archive]\n{lines}\n[archive.guards]\nmin_free = 0\n{guards}\n{more}"
        )

    def list_of(self, *names: str) -> Path:
        """A list of directories."""
        file = self.folder / "list"
        file.write_text("".join(f"{self.mount / name}\n" for name in names))
        return file

    def run(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return self.site.run("archive", *arguments)

    def json(self, *arguments: str | Path, status: int = 0) -> list[dict[str, Any]]:
        """The lines of an answer for programs."""
        done = self.run(*arguments, "--json")
        assert done.returncode == status, done.stderr
        assert done.stdout.isascii()
        return [json.loads(line) for line in done.stdout.splitlines()]

    def plan(self, *names: str, status: int = 0) -> Path:
        """The run file of a plan of directories."""
        return self.plan_here("plan", "paths", "--file", self.list_of(*names), status=status)

    def plan_here(self, *arguments: str | Path, status: int = 0) -> Path:
        """The run file of a plan that is made in this process, as that is quicker."""
        config = self.site.write_config()
        told = io.StringIO()
        with redirect_stdout(told):
            words = ["archive", *map(str, arguments), "--json", "--config", str(config)]
            assert manager.run(words, None) == status
        return Path(json.loads(told.getvalue().splitlines()[-1])["file"])

    def at_a_terminal(
        self, *arguments: str | Path, answers: tuple[tuple[str, str], ...] = ()
    ) -> tuple[int, str]:
        command = self.site.command("archive", *arguments)
        return answered(
            command, answers, folder=self.folder, env={**mpirun.environment(), "COLUMNS": "200"}
        )

    def lines(self) -> list[str]:
        """Those of the log files."""
        return [
            line for file in sorted(self.log.iterdir()) for line in file.read_text().split("\n")
        ]

    def ledger(self, query: str) -> list[Any]:
        database = sqlite3.connect(self.folder / "lurge.db")
        try:
            return database.execute(query).fetchall()
        finally:
            database.close()

    def resealed(self, file: Path, **changes: Any) -> tuple[Path, Run]:
        """Another plan, that differs from one in what is given."""
        run = runfiles.sealed(replace(runfiles.read(file), content_id="", **changes))
        other = self.runs / runfiles.file_name(run)
        shutil.copytree(runfiles.folder_of(file), runfiles.folder_of(other))
        runfiles.write(other, run)
        return other, run


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_plan_shows_units_what_is_left_out_what_it_frees_and_how_to_go_on(store: Store) -> None:
    done = store.run("plan", "paths", "--file", store.list_of("alpha", "beta", "absent"))
    assert done.returncode == 0, done.stderr
    (file,) = store.runs.glob("*_run_file.json")
    day = now().date() + timedelta(days=30)
    assert re.search(rf"1 +{store.mount}/alpha +- +1 +3 B", done.stdout)
    assert re.search(rf"{store.mount}/absent +- +absent", done.stdout)
    assert "2 units, 2 files, 8 B" in done.stdout
    assert f"frees 8 B on {day}: until then it is in the bin" in done.stdout
    assert f"run file: {file}\n" in done.stdout
    assert f"lurge archive apply {runfiles.read(file).content_id[:12]}\n" in done.stdout
    assert not (store.folder / "lurge.db").exists()
    assert list(store.target.iterdir()) == []


def test_a_plan_of_the_last_hour_is_shown_again_unless_another_is_forced(store: Store) -> None:
    first = store.plan("alpha")
    assert store.plan("alpha") == first
    assert store.plan("alpha", "beta") != first
    forced = store.json("plan", "paths", "--file", store.list_of("alpha"), "--force-run")[-1]
    assert Path(forced["file"]) != first


def test_what_is_planned_is_applied_listed_restored_and_purged(store: Store) -> None:
    file = store.plan("alpha", "beta")
    told = store.json("apply", file, "--yes")
    assert [each.get("state") for each in told] == ["binned", "binned", None]
    assert told[-1] | {"run": ""} == {
        "kind": "summary",
        "run": "",
        "states": {"binned": 2},
        "copied_bytes": 8,
        "verified_bytes": 8,
        "binned_bytes": 8,
        "freed_bytes": 0,
        "need_a_person": 0,
    }
    assert {entry.name for entry in store.mount.iterdir()} == {".lurge-bin"}
    digits = told[-1]["run"][:8]
    listed = store.json("list", store.mount / "alpha", "--state", "binned", "--run", digits)
    assert [each["root"] for each in listed] == [f"{store.mount}/alpha"]
    (back,) = store.json("restore", store.mount / "alpha", "--yes")
    (again,) = store.json("restore", store.mount / "alpha", "--yes")
    assert again["remarks"] == ["all of it was there already"]
    assert (back["how"], back["failure"]) == ("bin", None)
    assert (store.mount / "alpha" / "file").read_text() == "one"
    assert store.json("purge", "--yes") == []
    assert store.json("check", "--read", "100%")[-1]["read"] == 2
    assert store.json("apply", digits, "--yes")[-1]["copied_bytes"] == 0


def test_a_summary_tells_states_bytes_and_when_they_are_free(store: Store) -> None:
    done = store.run("apply", store.plan("alpha"), "--yes")
    assert re.search(r"binned +1 +1 +3 B", done.stdout)
    assert "copied 3 B, verified 3 B" in done.stdout
    day = now().date() + timedelta(days=30)
    assert f"in the bin 3 B: frees it on {day}, by archive purge" in done.stdout


def test_a_dry_run_shows_every_step_and_does_nothing(store: Store) -> None:
    done = store.run("apply", store.plan("alpha"), "--dry-run")
    assert done.returncode == 0
    assert "copy 1 file, 3 B, to file://" in done.stdout
    assert "verify the copy at file://" in done.stdout
    assert f"rename it into {store.mount}/.lurge-bin/" in done.stdout
    assert list(store.target.iterdir()) == []
    assert not (store.folder / "lurge.db").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["apply", "RUN"],
        ["purge"],
        ["restore", "/x"],
        ["discard", "--file", "list"],
    ],
)
def test_without_a_terminal_nobody_is_asked_and_nothing_is_done(
    store: Store, arguments: list[str]
) -> None:
    file = store.plan("alpha")
    done = store.run(*(str(file) if word == "RUN" else word for word in arguments))
    assert done.returncode == 2
    assert "nobody is at a terminal" in done.stderr
    if not arguments:
        assert "`archive plan SELECTOR`" in done.stderr
        assert "`archive apply RUN --yes`" in done.stderr
    assert (store.mount / "alpha" / "file").exists()


def test_a_person_sees_all_steps_before_saying_yes(store: Store) -> None:
    asked = "Upload? [Y/N/D]"
    answers = ((asked, "what?\n"), (asked, "d\n"), (asked, "Y\n"))
    status, shown = store.at_a_terminal("apply", store.plan("alpha"), answers=answers)
    assert status == 0, shown
    assert shown.count(asked) == 3
    before = shown.partition(asked)[0]
    assert "1 unit, 1 file, 3 B" in before
    assert f"to file://{store.target}, verified by read-back" in before
    assert "until then it is in the bin" in before
    assert "verify the copy at file://" in shown
    assert not (store.mount / "alpha").exists()


@pytest.mark.parametrize("command", ["apply", "discard"])
def test_what_is_not_kept_in_the_bin_is_told_and_asked_for_in_words(
    store: Store, command: str
) -> None:
    store.configure(keep_in_bin=0)
    if command == "apply":
        planned = store.run("plan", "paths", "--file", store.list_of("alpha"))
        assert "frees 3 B at once: what it takes is deleted at once, no bin\n" in planned.stdout
        (file,) = store.runs.glob("*_run_file.json")
        words: tuple[str | Path, ...] = ("apply", file)
    else:
        words = ("discard", "--file", store.list_of("alpha"))
    status, shown = store.at_a_terminal(*words, answers=(("[Y/N/D]", "d\n"), ("[Y/N/D]", "y\n")))
    assert status == 0, shown
    question = shown.partition("[Y/N/D]")[0]
    assert question.count("deleted at once, no bin") == 2
    assert "each compared before: deleted at once, no bin" in shown
    assert [each["state"] for each in store.json("list")] == ["deleted"]


def test_who_is_asked_about_a_run_that_was_begun_sees_how_far_it_is(store: Store) -> None:
    file = store.plan("alpha", "beta")
    (store.mount / "beta" / "file").write_text("other")
    assert store.run("apply", file, "--yes").returncode == 1
    _, shown = store.at_a_terminal("apply", file, answers=(("[Y/N/D]", "n\n"),))
    assert "begun before: 1 binned, 1 dirty\n" in shown


@pytest.mark.parametrize("answer", ["N\n", "no\n", "\x04"])
def test_who_says_no_or_hangs_up_has_nothing_done(store: Store, answer: str) -> None:
    file = store.plan("alpha")
    status, shown = store.at_a_terminal("apply", file, answers=(("[Y/N/D]", answer),))
    assert status == 0, shown
    assert (store.mount / "alpha" / "file").exists()
    assert store.ledger("select count(*) from archive_run") == [(0,)]


def test_nobody_is_asked_of_nothing(store: Store) -> None:
    status, shown = store.at_a_terminal("apply", store.plan("absent"))
    assert (status, "[Y/N/D]" in shown) == (0, False), shown


def test_archive_alone_plans_the_candidates_and_asks(store: Store) -> None:
    store.configure(more=CANDIDATES.format(mount=store.mount, depth=len(store.mount.parts)))
    cold = store.mount / "projects" / "cold"
    cold.mkdir(parents=True)
    (cold / "file").write_text("long ago")
    for path in cold / "file", cold:
        os.utime(path, (1_000_000_000, 1_000_000_000))
    assert store.site.run("scan", "--volume", "s1").returncode == 0
    made = store.site.run("inspector", "puppeteer", "candidates")
    assert made.returncode == 0, made.stderr
    answers = (("Upload? [Y/N/D]", "what?\n"), ("N: do nothing; D: show each step", "y\n"))
    status, shown = store.at_a_terminal(answers=answers)
    assert status == 0, shown
    assert f"{cold}" in shown
    assert not cold.exists()
    status, shown = store.at_a_terminal("--force-run")
    assert (status, "nothing is due" in shown) == (0, True), shown


CANDIDATES = """
[inspector]
base_directories = [{{ prefix = "{mount}/projects", depth = {depth} }}]
[candidates]
min_size = 1
"""


def test_a_volume_without_candidates_is_told_and_is_a_failure(store: Store) -> None:
    told = store.json("plan", "candidates", status=1)
    assert [each["kind"] for each in told] == ["missed", "plan"]


def test_projects_that_ended_are_planned_by_the_sites_own_database(store: Store) -> None:
    database = sqlite3.connect(store.folder / "projects.db")
    database.execute("create table project (id, path, ended)")
    rows = [(1, f"{store.mount}/alpha", "2020-01-31"), (2, f"{store.mount}/beta", None)]
    database.executemany("insert into project values (?, ?, ?)", rows)
    database.commit()
    database.close()
    store.configure(more='[archive.projects.upload]\nquery = "select id, path, ended from project"')
    assert store.run("plan", "projects").returncode == 2
    store.site.env["LURGE_PROJECTS_URL"] = f"sqlite:///{store.folder}/projects.db"
    unit, plan = store.json("plan", "projects")
    assert (unit["root"], unit["subject"]) == (f"{store.mount}/alpha", "1")
    assert plan["cut_off"] < str(now().date())


def test_no_vault_means_that_nothing_is_due(store: Store) -> None:
    assert "nothing is due" in store.run("plan", "vault").stdout


def test_what_is_in_a_run_is_not_planned_twice(store: Store) -> None:
    store.configure(approval="required")
    store.run("approve", store.resealed(store.plan("alpha"), planned_by="somebody@else")[0])
    (skipped, _) = store.json("plan", "paths", "--force-run", "--file", store.list_of("alpha"))
    assert skipped["reason"].startswith("in run ")


def test_the_planner_may_not_approve_and_without_approval_nothing_is_applied(store: Store) -> None:
    store.configure(approval="required")
    file = store.plan("alpha")
    refused = store.run("approve", file)
    assert (refused.returncode, "somebody else must approve" in refused.stderr) == (1, True)
    refused = store.run("apply", file, "--yes")
    assert (refused.returncode, "is not approved" in refused.stderr) == (1, True)
    assert (store.mount / "alpha" / "file").exists()
    assert store.ledger("select content_id from archive_run") == []
    other, run = store.resealed(file, planned_by="somebody@else")
    assert store.run("approve", run.content_id[:10]).returncode == 0
    assert store.run("apply", other, "--yes").returncode == 0
    told = store.ledger("select act, who from archive_audit where act in ('planned', 'approved')")
    assert {act for act, who in told if who == "somebody@else"} == {"planned"}


def test_an_expired_plan_is_refused(store: Store) -> None:
    old = now() - timedelta(days=9)
    file, _ = store.resealed(store.plan("alpha"), planned_at=old, expires=old + timedelta(days=7))
    for command in ("apply", file, "--yes"), ("approve", file):
        done = store.run(*command)
        assert (done.returncode, "has expired" in done.stderr) == (1, True)
    assert (store.mount / "alpha" / "file").exists()


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ("000000", "no run begins so"),
        ("nothing.json", "there is no such run file"),
        ("changed", "has been changed"),
        ("list", "is no run file"),
    ],
)
def test_what_is_no_run_is_refused(store: Store, run: str, why: str) -> None:
    file = store.plan("alpha")
    (store.folder / "changed").write_text(
        file.read_text().replace('"expires": "2', '"expires": "3')
    )
    named = store.folder / run
    done = store.run("apply", named if named.exists() else run, "--yes")
    assert (done.returncode, why in done.stderr) == (2, True), done.stderr


def test_a_guard_stops_a_plan_and_may_be_allowed_once(store: Store) -> None:
    store.configure(guards="max_share = 1.0\nmax_growth = 1.0")
    assert store.run("apply", store.plan("alpha"), "--yes").returncode == 0
    (store.mount / "beta" / "file").write_text("a long text")
    file = store.plan("beta", status=1)
    refused = store.run("apply", file, "--yes")
    assert (refused.returncode, "--allow growth" in refused.stderr) == (1, True)
    assert store.run("apply", file, "--yes", "--allow", "growth").returncode == 0


def test_what_has_changed_needs_a_person_and_stays(store: Store) -> None:
    file = store.plan("alpha", "beta")
    (store.mount / "alpha" / "file").write_text("two")
    done = store.run("apply", file, "--yes")
    assert done.returncode == 1
    assert "What needs a person" in done.stdout
    assert re.search(rf"dirty +{store.mount}/alpha", done.stdout)
    assert (store.mount / "alpha" / "file").read_text() == "two"


def test_a_target_that_is_not_there_is_told_before_anything_is_done(store: Store) -> None:
    file = store.plan("alpha")
    store.target.rmdir()
    store.target.touch()
    done = store.run("apply", file, "--yes")
    assert (done.returncode, "Not a directory" in done.stderr) == (3, True), done.stderr
    assert store.ledger("select count(*) from archive_run") == [(0,)]


def test_a_full_run_folder_is_told_and_the_run_goes_on_when_there_is_room(store: Store) -> None:
    with small_disk(store.runs, 1 << 20):
        run = store.plan("alpha", "beta")
        filler = fill(store.runs)
        done = store.run("apply", run, "--yes")
        assert done.returncode == 1
        (told,) = [line for line in done.stderr.splitlines() if line.startswith("lurge: ")]
        assert f"{store.runs}/" in told
        assert "No space left on device: make room there, or ask for a larger quota" in told
        assert store.ledger("SELECT state, tries FROM archive_unit") == [
            ("claimed", 0),
            ("planned", 0),
        ]
        filler.unlink()
        assert store.run("apply", run, "--yes").returncode == 0


def test_a_database_that_is_not_there_is_told_before_anything_is_done(store: Store) -> None:
    file = store.plan("alpha")
    store.site.database = "mysql+pymysql://nobody@127.0.0.1:1/nothing"
    store.site.retry_seconds = 0
    assert store.run("apply", file, "--yes").returncode == 3
    assert (store.mount / "alpha" / "file").exists()


def test_discarding_names_what_has_no_copy_and_asks(store: Store) -> None:
    arguments = ("discard", "--file", store.list_of("alpha"))
    status, shown = store.at_a_terminal(*arguments, answers=(("? [Y/N/D] ", "n\n"),))
    assert status == 0, shown
    assert "No copy is made of this" in shown
    assert shown.count(f"{store.mount}/alpha") >= 2
    assert (store.mount / "alpha" / "file").exists()
    status, shown = store.at_a_terminal(*arguments, answers=(("? [Y/N/D] ", "y\n"),))
    assert (status, (store.mount / "alpha").exists()) == (0, False), shown
    assert list(store.target.iterdir()) == []
    assert store.run("restore", store.mount / "alpha", "--yes").returncode == 0
    assert (store.mount / "alpha" / "file").read_text() == "one"


def test_a_purge_asks_and_deletes_what_is_due(store: Store) -> None:
    store.run("apply", store.plan("alpha"), "--yes")
    assert store.run("purge", "--yes").stdout == "nothing is due\n"
    database = sqlite3.connect(store.folder / "lurge.db")
    database.execute("update archive_unit set purge_after = '2020-01-01 00:00:00.000000'")
    database.commit()
    database.close()
    assert [each["became"] for each in store.json("purge", "--dry-run")] == ["due"]
    status, shown = store.at_a_terminal("purge", answers=(("for good? [Y/N] ", "n\n"),))
    assert (status, store.json("list")[0]["state"]) == (0, "binned"), shown
    status, shown = store.at_a_terminal("purge", answers=(("for good? [Y/N] ", "y\n"),))
    assert (status, store.json("list")[0]["state"]) == (0, "deleted"), shown
    (back,) = store.json("restore", store.mount / "alpha", "--yes")
    assert back["how"] == f"file://{store.target}"
    assert (store.mount / "alpha" / "file").read_text() == "one"


def test_a_check_tells_what_is_lost_and_what_to_do(store: Store) -> None:
    store.run("apply", store.plan("alpha"), "--yes")
    for file in store.target.glob("data/**/file"):
        file.unlink()
    found, checked = store.json("check", store.mount, "--read", "50", status=1)
    assert (found["kind"], checked["lost"]) == ("lost", 1)


def test_what_nothing_is_known_of_does_not_look_healthy(store: Store) -> None:
    done = store.run("list", store.mount)
    assert (done.returncode, done.stdout) == (
        0,
        f"nothing is known of {store.mount}, nor of what is below\n",
    )
    store.run("apply", store.plan("alpha"), "--yes")
    told = {
        "nowhere": ("nothing is known of it, nor of what is below", "archive list"),
        "alpha/file": (f"it lies in {store.mount}/alpha", f"archive check {store.mount}/alpha"),
    }
    for path, (why, todo) in told.items():
        found, checked = store.json("check", store.mount / path, status=1)
        assert (found["kind"], checked["units"]) == ("nothing", 0)
        assert found["why"].startswith(why)
        assert found["todo"].startswith(todo)
    assert store.json("check", store.mount)[-1]["units"] == 1
    done = store.run("list", "--state", "dirty")
    assert done.stdout == "nothing is known, in state dirty\n"


def test_a_vault_hands_files_over(store: Store) -> None:
    assert store.run("handler", "ready", "1000").returncode == 0
    assert store.run("handler", "ready", str(1 << 60)).returncode == 1
    assert store.run("handler", "unready").returncode == 2
    command = store.site.command("archive", "handler")
    paths = bytes(store.mount / "alpha" / "file") + b"\0"
    for handed, status in (paths, 0), (paths + b"/nowhere\0", 1), (b"", 2):
        done = subprocess.run(
            command, input=handed, capture_output=True, check=False, env=mpirun.environment()
        )
        assert done.returncode == status, done.stderr
    assert len(list(store.target.glob("data/**/file"))) == 1


def test_a_log_has_a_line_for_each_state_with_both_times(store: Store) -> None:
    store.configure(log_time_zone="Asia/Seoul")
    store.run("apply", store.plan("alpha"), "--yes")
    (file,) = store.log.iterdir()
    states = [line for line in store.lines() if "state=" in line]
    assert [re.findall(r"state=(\w+)", line)[0] for line in states] == [
        "claimed",
        "copied",
        "verified",
        "binned",
    ]
    for line in states:
        told = re.fullmatch(
            r"timestamp=\S+Z local=(\S{10})T\S+\+09:00 level=info event=\w+ run=[0-9a-f]{12} .*"
            r"unit=[0-9a-f]{12}-000001 state=\w+ bytes=3 seconds=[0-9.]+ path=\S+/alpha",
            line,
        )
        assert told, line
        assert file.name.startswith(told[1])


def test_hostile_names_are_in_text_form_everywhere(store: Store) -> None:
    odd = os.fsdecode(bytes(store.mount) + b"/" + ODD)
    Path(odd).mkdir()
    (store.folder / "list0").write_bytes(os.fsencode(odd) + b"\0")
    arguments = ("plan", "paths", "--null", "--file", store.folder / "list0")
    file = store.json(*arguments)[-1]["file"]
    done = store.run("apply", file, "--yes")
    assert done.returncode == 0
    shown = r"caf\xe9\n\x1b[31m"
    assert any(line.endswith(shown) for line in store.lines())
    everything = done.stdout + done.stderr + store.run("list").stdout + "\n".join(store.lines())
    assert "\x1b" not in everything
    assert shown in everything


def test_a_log_that_cannot_be_made_stops_what_acts(store: Store) -> None:
    file = store.plan("alpha")
    shutil.rmtree(store.log)
    store.log.write_text("no folder")
    assert store.run("apply", file, "--yes").returncode == 3
    assert store.run("list").returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_copy_leaves_nothing_half_written_and_no_lease(
    store: Store, number: signal.Signals
) -> None:
    with (store.mount / "alpha" / "big").open("wb") as file:
        file.truncate(BIG_BYTES)
    run = store.plan("alpha")
    process = store.site.start("archive", "apply", run, "--yes")
    wait_for(lambda: any(store.target.glob("data/**/*")), process)
    process.send_signal(number)
    _, errors = process.communicate()
    assert (process.returncode, "interrupted" in errors) == (130, True), errors
    assert "Traceback" not in errors
    assert f"to go on: lurge archive apply {runfiles.read(run).content_id[:12]}\n" in errors
    assert (store.mount / "alpha" / "big").stat().st_size == BIG_BYTES
    assert store.ledger("select state from archive_unit") == [("claimed",)]
    assert store.ledger("select holder from lease where name like 'unit/%'") == [("",)]
    assert list(store.target.glob("manifests/*")) == []


def test_options_of_archive_alone_do_not_stand_before_commands(store: Store) -> None:
    done = store.run("--class", "soon", "plan", "candidates")
    assert (done.returncode, "must stand behind the command" in done.stderr) == (2, True)


def test_a_night_does_not_import_the_archiver() -> None:
    program = "import sys, manager; sys.exit('lurge.archiver.commands' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=MANAGER.parent, check=False)
    assert done.returncode == 0
