"""
A night through LSF: cron.sh run for real, with ranks and all, on a stand-in for LSF's `bsub`.

What the stand-in does of what LSF does is told in `bsub_stand_in.py`.
"""

import json
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bsub_stand_in
import click
import mpirun
import pytest
from site_of_tests import TODAY, Site, entries

import manager

ROOT = Path(manager.__file__).parent
CRON = ROOT / "cron.sh"
SETTINGS = re.findall(r"^([A-Z_]+)=\$\{\1:?-", CRON.read_text(encoding="utf-8"), re.MULTILINE)
VOLUME = '[[volume]]\nname = "{0}"\nmount = "/lustre/{0}"\n'
WITH_CANDIDATES = "reporter puppeteer inspector candidates"
BY_VOLUME = ("reporter", "inspector", "puppeteer", "candidates")
"""The reports with a TSV for each volume."""


@dataclass
class Cluster:
    """A site with a stand-in for LSF."""

    site: Site

    @property
    def folder(self) -> Path:
        return self.site.folder

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    def settings(self, **settings: str) -> dict[str, str]:
        """The environment in which cron.sh is run, or what it has printed."""
        path = self.folder / "bin"
        path.mkdir(exist_ok=True)
        bsub = path / "bsub"
        words = [sys.executable, bsub_stand_in.__file__]
        bsub.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n', encoding="utf-8")
        bsub.chmod(0o755)
        around = mpirun.environment()
        return {name: value for name, value in around.items() if name not in SETTINGS} | {
            "PATH": f"{path}:{around['PATH']}",
            "LSF_STAND_IN": str(self.folder),
            "PYTHON": sys.executable,
            "MPIRUN": str(mpirun.MPIRUN),
            "WORKERS_PER_VOLUME": "1",
            "LURGE_CONFIG": str(self.site.write_config()),
            "LOGS": str(self.logs),
            **settings,
        }

    def cron(self, *arguments: str, **settings: str) -> subprocess.CompletedProcess[str]:
        """Run cron.sh; the stand-in's jobs have ended when it has."""
        return subprocess.run(
            [CRON, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=self.settings(**settings),
        )

    def printed(self, *arguments: str, **settings: str) -> list[list[str]]:
        """The words of the commands that cron.sh shows."""
        done = self.cron("--print", *arguments, **settings)
        assert (done.returncode, done.stderr) == (0, "")
        return [shlex.split(line) for line in done.stdout.splitlines()]

    def job(self, *arguments: str, **settings: str) -> dict[str, str]:
        """The options of the one job that cron.sh shows, and its `command`."""
        _, bsub = self.printed(*arguments, **settings)
        assert bsub[0] == "bsub"
        return dict(zip(bsub[1:-1:2], bsub[2:-1:2], strict=True)) | {"command": bsub[-1]}

    def jobs(self) -> list[dict[str, Any]]:
        """What became of each job, in the order of submission."""
        lines = (self.folder / "jobs").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def outcomes(self) -> list[tuple[str, int | None]]:
        """(name, exit status or None where it was not started) of each job."""
        return [(job["name"], job["status"]) for job in self.jobs()]

    def log(self, job: str, number: str = "101") -> str:
        return (self.logs / f"{TODAY}.{job}.{number}.log").read_text(encoding="utf-8")

    def tables(self) -> dict[str, bytes]:
        """Every TSV file there is."""
        found = self.site.reports.glob("*/????-??-??/*.tsv")
        return {str(path.relative_to(self.site.reports)): path.read_bytes() for path in found}


def cluster_in(folder: Path) -> Cluster:
    """A cluster with scans of two volumes."""
    folder.mkdir(exist_ok=True)
    cluster = Cluster(Site(folder, VOLUME.format("s1") + VOLUME.format("s2")))
    cluster.site.add_scan(entries(1000))
    cluster.site.add_scan(entries(3000, mount="/lustre/s2"), "/lustre/s2")
    return cluster


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    return cluster_in(tmp_path)


def cut_short(scan: Path) -> None:
    scan.write_bytes(scan.read_bytes()[:-9])


def test_a_night_is_one_job_that_makes_every_report_and_leaves_a_log(cluster: Cluster) -> None:
    done = cluster.cron()
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "Job <101> is submitted to queue <normal>.\n"
    (job,) = cluster.jobs()
    assert (job["name"], job["status"], job["slots"]) == ("lurge", 0, 5)
    assert "mpirun -n 5 " in job["command"]
    assert set(cluster.tables()) == {
        f"{report}/{TODAY}/{volume}.tsv" for report in BY_VOLUME for volume in ("s1", "s2")
    }
    assert (cluster.site.reports / "users" / f"{TODAY}.tsv").exists()
    assert (cluster.site.reports / "splitter" / f"{TODAY:%Y%m%d}" / "index.tsv").exists()
    assert cluster.log("lurge").count("event=written") == 2 * len(manager.REPORTS)
    assert cluster.log("lurge").endswith("Successfully completed.\n")


def test_a_night_that_is_run_again_finds_everything_done(cluster: Cluster) -> None:
    cluster.cron("reporter")
    before = cluster.tables()
    cluster.cron("reporter")
    assert cluster.outcomes() == [("lurge", 0), ("lurge", 0)]
    assert cluster.log("lurge", "102").count("event=already") == 2
    assert cluster.tables() == before


def test_one_job_and_three_give_the_same_tsv(tmp_path: Path) -> None:
    one, three = cluster_in(tmp_path / "one"), cluster_in(tmp_path / "three")
    one.cron()
    assert three.cron(SPLIT="yes").returncode == 0
    jobs = ("lurge-reports", "lurge-inspector", "lurge-candidates")
    assert three.outcomes() == [(job, 0) for job in jobs]
    assert ["mpirun" in job["command"] for job in three.jobs()] == [False, True, False]
    assert three.log("lurge-reports").count("event=written report=reporter") == 0
    assert one.tables() == three.tables() != {}


def test_without_an_mpi_a_night_runs_in_threads(cluster: Cluster) -> None:
    done = cluster.cron(MPIRUN="", CORES="2")
    assert done.returncode == 0
    (job,) = cluster.jobs()
    assert (job["status"], job["slots"]) == (0, 2)
    assert "mpirun" not in job["command"]
    assert len(cluster.tables()) == 2 * len(BY_VOLUME)


def test_only_the_reports_that_are_named_are_made_with_the_options_given(cluster: Cluster) -> None:
    cluster.cron("reporter", "--volume", "s2", "--date", TODAY.isoformat())
    assert set(cluster.tables()) == {f"reporter/{TODAY}/s2.tsv"}


def test_candidates_starts_when_both_other_jobs_are_done(cluster: Cluster) -> None:
    done = cluster.cron(SPLIT="yes", REPORTS=WITH_CANDIDATES)
    assert done.returncode == 0
    reports, inspector, candidates = cluster.jobs()
    assert (reports["status"], inspector["status"]) == (0, 0)
    assert candidates["waits"] == "done(101) && done(102)"
    assert " candidates " in candidates["command"]
    assert candidates["status"] == 0
    assert cluster.log("lurge-candidates", "103").count("report=candidates") == 2


def test_a_failing_volume_fails_its_jobs_and_keeps_candidates_from_starting(
    cluster: Cluster,
) -> None:
    cut_short(next(cluster.site.wrstat.glob("*s2/stats.gz")))
    done = cluster.cron(SPLIT="yes", REPORTS=WITH_CANDIDATES)
    assert done.returncode == 0
    assert cluster.outcomes() == [
        ("lurge-reports", 1),
        ("lurge-inspector", 1),
        ("lurge-candidates", None),
    ]
    for job, number in (("lurge-reports", "101"), ("lurge-inspector", "102")):
        assert "cut short" in cluster.log(job, number)
        assert cluster.log(job, number).endswith("Exited with exit code 1.\n")
    assert not list(cluster.logs.glob("*candidates*"))
    made = ("reporter", "inspector", "puppeteer")
    assert set(cluster.tables()) == {f"{name}/{TODAY}/s1.tsv" for name in made}


def test_candidates_may_start_whatever_came_of_the_others(cluster: Cluster) -> None:
    cut_short(next(cluster.site.wrstat.glob("*s2/stats.gz")))
    cluster.cron("reporter", "candidates", SPLIT="yes", REPORTS=WITH_CANDIDATES, AFTER="ended")
    reports, candidates = cluster.jobs()
    assert reports["status"] == 1
    assert candidates["waits"] == "ended(101)"
    assert candidates["status"] is not None


def test_candidates_alone_waits_for_nothing(cluster: Cluster) -> None:
    job = cluster.job("candidates", SPLIT="yes", REPORTS=WITH_CANDIDATES)
    assert job["-J"] == "lurge-candidates"
    assert "-w" not in job


def test_what_lsf_does_not_take_is_told_and_nothing_waits_for_it(cluster: Cluster) -> None:
    done = cluster.cron(SPLIT="yes", REPORTS=WITH_CANDIDATES, QUEUE="closed")
    assert done.returncode == 1
    assert "closed: No such queue. Job not submitted." in done.stderr
    assert "cron.sh: LSF did not take lurge-inspector" in done.stderr
    assert "lurge-candidates is not submitted" in done.stderr


def test_print_submits_nothing_and_makes_nothing(cluster: Cluster) -> None:
    cluster.settings()
    before = set(cluster.folder.iterdir())
    assert cluster.cron("--print").returncode == 0
    assert cluster.cron("--print", "--fill", "2026-01-01", "2026-01-09").returncode == 0
    assert set(cluster.folder.iterdir()) == before


def test_what_is_printed_can_be_pasted_into_a_shell(cluster: Cluster) -> None:
    shown = cluster.cron("--print", SPLIT="yes", REPORTS=WITH_CANDIDATES).stdout
    done = subprocess.run(
        ["/bin/sh", "-e"],
        input=shown,
        capture_output=True,
        text=True,
        check=False,
        env=cluster.settings(),
    )
    assert done.returncode == 0
    reports, inspector, candidates = cluster.jobs()
    assert (reports["status"], inspector["status"]) == (0, 0)
    assert candidates["waits"] == "done(101) && done(102)"
    assert len(cluster.tables()) == 8


def test_any_character_may_stand_in_a_path(tmp_path: Path) -> None:
    cluster = cluster_in(tmp_path / 'it\'s a "b" & $HOME; caf\u00e9 (*)')
    checkout = cluster.folder / "the checkout"
    checkout.symlink_to(ROOT)
    done = cluster.cron(LURGE=str(checkout))
    assert (done.returncode, cluster.outcomes()) == (0, [("lurge", 0)]), done.stderr
    assert f"{checkout}/manager.py" in cluster.jobs()[0]["command"].replace("'\\''", "'")
    assert len(cluster.tables()) == 2 * len(BY_VOLUME)
    shown = cluster.printed("--fill", "2026-01-01", "2026-01-02")
    assert shown[0] == ["mkdir", "-p", str(cluster.logs)]


def test_paths_may_be_given_from_the_working_directory(cluster: Cluster) -> None:
    job = cluster.job(LURGE_CONFIG="lurge.toml", LOGS="logs")
    assert job["command"].endswith(f" --config {cluster.folder}/lurge.toml")
    assert job["-o"] == f"{cluster.logs}/{datetime.now(UTC):%Y-%m-%d}.lurge.%J.log"
    assert cluster.job("--config", "lurge.toml", LURGE_CONFIG="none") == job


@pytest.mark.parametrize("mpi", [str(mpirun.MPIRUN), ""], ids=["ranks", "threads"])
def test_old_days_are_filled_in_by_one_job_that_lists_those_without_a_scan(
    tmp_path: Path, mpi: str
) -> None:
    cluster = Cluster(Site(tmp_path, VOLUME.format("s1")))
    days = [TODAY - timedelta(days=ago) for ago in (40, 39, 38, 37)]
    for day in (days[0], days[1], days[3]):
        cluster.site.add_scan(entries(500), day=day)
    done = cluster.cron("--fill", str(days[0]), str(days[3]), "reporter", MPIRUN=mpi)
    assert (done.returncode, done.stderr) == (0, "")
    (job,) = cluster.jobs()
    assert (job["name"], job["status"]) == ("lurge-fill", 0)
    assert ("mpirun" in job["command"]) == bool(mpi)
    assert sorted(cluster.tables()) == [f"reporter/{days[i]}/s1.tsv" for i in (0, 1, 3)]
    (told,) = (line for line in cluster.log("lurge-fill").splitlines() if "=no_scan" in line)
    assert told.endswith(f"volume=- days={days[2]}")


def test_old_days_are_one_job_though_a_night_is_several(cluster: Cluster) -> None:
    job = cluster.job("--fill", "2026-01-01", "2026-01-31", SPLIT="yes")
    assert job["-J"] == "lurge-fill"
    assert f"{' '.join(manager.REPORTS)} --from=2026-01-01 --to=2026-01-31 --" in job["command"]
    assert "mpirun" in job["command"]
    only = cluster.job("--fill", "2026-01-01", "2026-01-31", "reporter", SPLIT="yes")
    assert "mpirun" not in only["command"]


@pytest.mark.parametrize(
    ("tables", "arguments", "settings", "ranks"),
    [
        (1, [], {}, 3),
        (3, [], {}, 7),
        (3, [], {"WORKERS_PER_VOLUME": "4"}, 16),
        (3, [], {"WORKERS_PER_VOLUME": "0"}, 4),
        (0, [], {}, 3),
        (0, [], {"VOLUMES": "6"}, 13),
        (3, [], {"VOLUMES": "6"}, 13),
        (8, [], {"VOLUMES": "6"}, 17),
        (8, ["--volume", "s1"], {"VOLUMES": "6"}, 3),
        (8, ["--volume", "s1", "--volume=s2", "--volume", "s1"], {}, 5),
        (8, [], {"RANKS": "9"}, 9),
    ],
)
def test_ranks_are_counted_from_the_volumes(
    cluster: Cluster, tables: int, arguments: list[str], settings: dict[str, str], ranks: int
) -> None:
    cluster.site.config = "".join(VOLUME.format(f"s{number}") for number in range(tables))
    job = cluster.job(*arguments, **settings)
    assert job["-n"] == str(ranks)
    assert f"mpirun -n {ranks} " in job["command"]


def test_a_volume_that_has_retired_takes_no_ranks(cluster: Cluster) -> None:
    retired = ("", f"retired = {TODAY + timedelta(days=2)}\n", f"retired = {TODAY}\n")
    tables = [VOLUME.format(f"s{number}") + line for number, line in enumerate(retired)]
    cluster.site.config = "".join(tables)
    assert cluster.job()["-n"] == "5"


@pytest.mark.parametrize(
    ("settings", "memory", "reserved", "span"),
    [
        ({}, "5000MB", "5000MB", "hosts=1"),
        ({"SPAN": "ptile=2"}, "2000MB", "2000MB", "ptile=2"),
        ({"SPAN": "ptile=16"}, "5000MB", "5000MB", "ptile=16"),
        ({"MEMORY_UNIT": ""}, "5000", "5000", "hosts=1"),
        ({"RESERVED_BY": "slot"}, "5000MB", "1000MB", "hosts=1"),
        ({"MPIRUN": "", "SPAN": "ptile=2", "CORES": "3"}, "3000MB", "3000MB", "hosts=1"),
    ],
)
def test_memory_is_asked_for_by_host(
    cluster: Cluster, settings: dict[str, str], memory: str, reserved: str, span: str
) -> None:
    job = cluster.job(**{"MEMORY_MB": "1000", **settings})
    assert job["-M"] == memory
    assert job["-R"] == f"select[mem>{memory}] rusage[mem={reserved}] span[{span}]"


def test_a_site_adds_options_of_bsub_and_mpirun(cluster: Cluster) -> None:
    job = cluster.job(BSUB_OPTIONS="-G hgi -W 10:00", MPIRUN_OPTIONS="--bind-to none")
    assert (job["-G"], job["-W"]) == ("hgi", "10:00")
    assert "mpirun --bind-to none -n 5 " in job["command"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["reporter", "--date", "2026-01-01", "--force"],
        ["--date", "2026-01-01", "reporter", "--force"],
        ["--date=2026-01-01", "--force", "reporter"],
    ],
)
def test_options_may_stand_before_the_reports_and_behind_them(
    cluster: Cluster, arguments: list[str]
) -> None:
    words = cluster.job(*arguments)["command"].split()
    assert words[words.index(str(ROOT / "manager.py")) + 1 : -2] == [
        "reporter",
        "--date=2026-01-01",
        "--force",
    ]


def test_the_value_of_an_option_is_never_taken_for_a_report(cluster: Cluster) -> None:
    """Whoever gives a report another option with a value has to tell cron.sh."""
    for parameter in manager.suite.commands["reporter"].params:
        if isinstance(parameter, click.Option) and not parameter.is_flag:
            (option,) = parameter.opts
            done = cluster.cron("--print", "reporter", option, "lurge.toml")
            assert done.returncode == 0, f"{option}: {done.stderr}"


@pytest.mark.parametrize(
    ("arguments", "settings", "complaint"),
    [
        (["raporter"], {}, f"raporter: no such report; REPORTS are {' '.join(manager.REPORTS)}"),
        (["reporter", "--date"], {}, "--date needs a value"),
        (["--defaults"], {}, "a night needs a configuration"),
        (["--fill", "2026-01-01"], {}, "--fill needs two days"),
        (["--fill", "", ""], {}, "is no day"),
        (["--fill", "yesterday", "today"], {}, "yesterday is no day"),
        (["--fill", "2026-01-01", "2026-02-30"], {}, "2026-02-30 is no day"),
        (["--fill", "2026-01-02", "2026-01-01"], {}, "the older day goes first"),
        (["--fill", "2026-01-01", "2026-01-02", "--date", "2026-01-01"], {}, "exclude each other"),
        ([], {"VOLUMES": "many"}, "VOLUMES=many"),
        ([], {"CORES": "0"}, "CORES=0"),
        ([], {"WORKERS_PER_VOLUME": "-1"}, "WORKERS_PER_VOLUME=-1"),
        ([], {"RANKS": "a[$(touch pwned)]"}, "RANKS=a["),
        ([], {"SPLIT": "maybe"}, "SPLIT=maybe"),
        ([], {"AFTER": "never"}, "AFTER=never"),
        ([], {"RESERVED_BY": "rack"}, "RESERVED_BY=rack"),
        ([], {"SPAN": "ptile=all"}, "SPAN=ptile=all"),
        ([], {"LURGE": "/nowhere"}, "LURGE=/nowhere: there is no manager.py"),
        ([], {"PYTHON": "/nowhere/python"}, "make setup"),
        ([], {"MPIRUN": "/nowhere/mpirun"}, "MPIRUN=/nowhere/mpirun: no such program"),
        ([], {"LURGE_CONFIG": "/nowhere.toml"}, "`lurge init` writes one"),
        ([], {"LURGE_CONFIG": str(CRON)}, f"cron.sh: {CRON}: "),
    ],
)
def test_wrong_use_ends_with_status_2_and_nothing_is_submitted(
    cluster: Cluster, arguments: list[str], settings: dict[str, str], complaint: str
) -> None:
    done = cluster.cron(*arguments, **settings)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("cron.sh: ")
    assert complaint in line
    assert not (cluster.folder / "jobs").exists()
    assert not cluster.logs.exists()


def test_a_night_has_every_report_that_lurge_makes(cluster: Cluster) -> None:
    assert f"manager.py {' '.join(manager.REPORTS)} --config" in cluster.job()["command"]


def test_help_and_the_documents_tell_every_setting(cluster: Cluster) -> None:
    done = cluster.cron("--help")
    assert done.returncode == 0
    page = (ROOT / "docs" / "cron.md").read_text(encoding="utf-8")
    assert len(SETTINGS) > 15
    for setting in SETTINGS:
        assert f"  {setting}=" in done.stdout
        assert f"`{setting}`" in page


def test_shellcheck_has_nothing_to_say() -> None:
    done = subprocess.run(["shellcheck", CRON], capture_output=True, text=True, check=False)
    assert done.stdout == ""
