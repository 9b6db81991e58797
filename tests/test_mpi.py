"""`manager.py` on many ranks: the same bytes and rows as on one, whatever breaks."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import mpirun
import pytest
from dump import Rows, dump
from servers.databases import on_mariadb
from site_of_tests import MANAGER, TODAY, Site, entries, entry, text

from lurge_types.batch import Entry
from lurge_types.config import DatabaseTable
from utils.vaults import Key, encode

LARGE = 100_003
SIZES = (LARGE, 1, 249, 250, 251)
REPORTS = ("reporter", "inspector")
ALL_REPORTS = (*REPORTS, "puppeteer", "users", "splitter", "candidates")
CANDIDATES = '[candidates]\nmin_size = "1 KB"\ncold_share = 0.6'
ENDS_SECONDS = 10
WINDOWS = 8


def volume(number: int, count: int) -> list[Entry]:
    """A volume of some projects, of some groups, with hard links, file types and vaults."""
    mount = f"/lustre/s{number}"
    endings = ("txt", "bam", "fastq.gz", "VCF")
    files = [
        each._replace(
            path=b"%b/p%d/users/u%d/%b.%b"
            % (
                mount.encode(),
                i % 5,
                i % 11,
                each.path.rpartition(b"/")[2],
                endings[i % 4].encode(),
            ),
            atime=1_600_000_000 + 9000 * (i % 20_000),
        )
        for i, each in enumerate(entries(count, mount=mount))
    ]
    return [in_vault(i, each) if i % 50 < 2 else each for i, each in enumerate(files)]


def in_vault(number: int, file: Entry) -> Entry:
    """What a vault has of a file; some of it is no action, broken or a copy."""
    branch = (b"keep", b"Archive", b".staged")[number // 50 % 3]
    root = b"/".join(file.path.split(b"/")[:4])
    key = encode(Key(file.inode ^ (number % 7 == 0), file.path.removeprefix(root + b"/")))
    return file._replace(path=b"%b/.vault/%b/%b" % (root, branch, key[number % 11 == 0 :]))


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scans of five volumes of unequal size."""
    made = Site(tmp_path_factory.mktemp("scans"))
    for number, count in enumerate(SIZES):
        made.add_scan(volume(number, count), f"/lustre/s{number}")
    return made.wrstat


def site_of(folder: Path, scans: Path, volumes: int, ranks: int) -> Site:
    """A new site with the first volumes."""
    made = Site(folder, config=CANDIDATES, ranks=ranks)
    made.wrstat.mkdir(parents=True)
    for number in range(volumes):
        for scan in scans.glob(f"*s{number}"):
            (made.wrstat / scan.name).symlink_to(scan)
    return made


def written(made: Site) -> tuple[dict[str, Any], dict[str, Rows]]:
    """All that a night left behind; of a group's lines the order says nothing."""
    files = {
        str(path.relative_to(made.reports)): sorted(gzip.decompress(path.read_bytes()).splitlines())
        if path.suffix == ".gz"
        else path.read_bytes()
        for path in sorted(made.reports.rglob("*"))
        if path.is_file()
    }
    return files, dump(DatabaseTable(url=f"sqlite:///{made.folder}/lurge.db"))


@pytest.mark.parametrize(
    ("volumes", "numbers"), [(1, (1, 2, 3, 8)), (2, (3, 4, 5)), (5, (2, 5, 8, 13))]
)
def test_any_number_of_ranks_writes_the_same(
    tmp_path: Path, scans: Path, volumes: int, numbers: Sequence[int]
) -> None:
    threads = site_of(tmp_path / "threads", scans, volumes, ranks=0)
    assert threads.run(*ALL_REPORTS, "--all").returncode == 0
    expected = written(threads)
    assert len(expected[1]["vault"]) > 500
    assert {row[2] for row in expected[1]["archive_candidate"]} == {"cold", "vault"}
    for ranks in numbers:
        made = site_of(tmp_path / str(ranks), scans, volumes, ranks)
        done = made.run(*ALL_REPORTS, "--all")
        assert done.returncode == 0, done.stderr
        assert written(made) == expected, f"{ranks} ranks"


@on_mariadb
def test_ranks_write_into_a_server_too(tmp_path: Path, table: DatabaseTable) -> None:
    made = Site(
        tmp_path, database=table.url, password_file=table.password_file, retry_seconds=10, ranks=4
    )
    made.add_scan(volume(1, 2000), "/lustre/s1")
    assert [each["status"] for each in made.outcomes(*ALL_REPORTS)] == ["written"] * 6
    by_ranks = dump(table)
    made.ranks = 0
    again = made.outcomes(*ALL_REPORTS, "--force")
    assert [each["status"] for each in again] == ["written"] * 6
    assert dump(table) == by_ranks
    assert len(by_ranks["directory"]) > 50


def test_ranks_foretell_what_threads_do(tmp_path: Path) -> None:
    quotas = "".join(
        f"{gid},s{number},30000,60\n" for gid in range(3000, 3005) for number in (1, 2)
    )
    made = Site(tmp_path / "threads", '[quotas]\nsource = "csv"\ncsv_file = "quotas.csv"\n')
    for number in (1, 2):
        for ago in range(3):
            day = TODAY - timedelta(days=ago)
            made.add_scan(volume(number, 300 - 20 * number * ago), f"/lustre/s{number}", day)
    (made.folder / "quotas.csv").write_text(f"group,volume,limit_bytes,limit_inodes\n{quotas}")
    for ago in (2, 1):
        assert made.run("reporter", "--date", str(TODAY - timedelta(days=ago))).returncode == 0
    ranks = Site(tmp_path / "ranks", made.config, ranks=3)
    shutil.copytree(made.folder, ranks.folder)
    for site in (made, ranks):
        assert site.run("reporter").returncode == 0
    files, tables = written(made)
    assert written(ranks) == (files, tables)
    assert b"theil-sen" in files[f"reporter/{TODAY}/s1.tsv"]
    assert b"Not OK" in files[f"reporter/{TODAY}/s1.tsv"]


def test_two_hosts_write_what_one_does(tmp_path: Path, scans: Path) -> None:
    one = site_of(tmp_path / "one", scans, 3, ranks=0)
    assert one.run(*REPORTS).returncode == 0
    two = site_of(tmp_path / "two", scans, 3, ranks=0)
    with mpirun.two_hosts(tmp_path) as start:
        done = subprocess.run(
            [*start(7), *two.command(*REPORTS)[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stderr
    assert written(two) == written(one)


@pytest.mark.parametrize("ranks", [2, 3, 7])
def test_one_volumes_trouble_is_its_own(tmp_path: Path, ranks: int) -> None:
    good = text(volume(0, 20_000))
    bad = good.replace(b"\tf\t", b"\t?\t", 1000)
    made = Site(
        tmp_path,
        config="".join(
            f'[[volume]]\nname = "{name}"\nmount = "/lustre/{name}"\n'
            for name in ("bad", "cut", "fine", "gone")
        ),
        ranks=ranks,
    )
    made.add_scan(good, "/lustre/fine")
    made.add_scan(bad, "/lustre/bad")
    cut = made.add_scan(good, "/lustre/cut")
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    done = made.run(*REPORTS, "--json")
    assert done.returncode == 1
    said = [json.loads(line) for line in done.stdout.splitlines()]
    by_volume = {(each["volume"], each["report"]): each for each in said}
    for report in REPORTS:
        assert by_volume["fine", report]["status"] == "written"
        assert made.tsv("fine", program=report).exists()
        assert (
            "1000 of 20000 lines are bad, the first is line 1 "
            in (by_volume["bad", report]["reason"])
        )
        assert f"{cut} is cut short" in by_volume["cut", report]["reason"]
        assert "no scan of gone" in by_volume["gone", report]["reason"]
    assert len(list(made.reports.glob("*/2*/*.tsv"))) == len(REPORTS)
    assert not list(made.reports.glob("*/2*/.*"))


# Ranks that die.


def pids(launcher: subprocess.Popen[str]) -> dict[int, int]:
    """The process of each rank."""
    found = {}
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = dict(
                each.split(b"=", 1) for each in environ.read_bytes().split(b"\0") if b"=" in each
            )
            parent = int(environ.with_name("stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, ValueError):
            continue
        if parent == launcher.pid and b"OMPI_COMM_WORLD_RANK" in variables:
            found[int(variables[b"OMPI_COMM_WORLD_RANK"])] = int(environ.parent.name)
    return found


def reads(process: int, scan: Path) -> bool:
    """Whether a process has a scan's file open."""
    try:
        handles = list(Path("/proc", str(process), "fd").iterdir())
        return any(handle.resolve() == scan.resolve() for handle in handles)
    except OSError:
        return False


def cpu_seconds(process: int) -> float:
    """What a process has burnt."""
    fields = Path("/proc", str(process), "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def burnt(ranks: Mapping[int, int], seconds: float) -> dict[int, float]:
    """The share of a core that each rank burns for some seconds."""
    before = {rank: cpu_seconds(pid) for rank, pid in ranks.items()}
    time.sleep(seconds)
    return {rank: (cpu_seconds(pid) - before[rank]) / seconds for rank, pid in ranks.items()}


def wait_until(happens: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Look often, for a minute at most, until something happens; the process must live on."""
    deadline = time.monotonic() + 60
    while not happens():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.001)


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator["Pipe"]:
    """A scan that does not end before the test wants it to."""
    made = Pipe(tmp_path / "pipe.stats")
    yield made
    made.close()


class Pipe:
    """A named pipe, into which the lines of a scan are written now and then."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.path = path
        self._lines = text(volume(1, 20_000))
        self._file: int | None = None

    def open(self) -> None:
        """Wait for whoever reads, and give it something to do."""
        self._file = os.open(self.path, os.O_WRONLY)
        os.write(self._file, self._lines)

    def close(self) -> None:
        """Let the scan end."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def start_on(pipe: Pipe, made: Site, *arguments: str) -> subprocess.Popen[str]:
    """Start ranks on the endless scan of `s1`; they are reading when this returns."""
    day = TODAY.isoformat()
    process = made.start(
        *REPORTS, "--volume", "s1", "--date", day, "--scan", str(pipe.path), *arguments
    )
    pipe.open()
    return process


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_a_rank_that_is_killed_ends_all_and_the_next_run_completes_it(
    tmp_path: Path, pipe: Pipe, rank: int
) -> None:
    made = Site(tmp_path, ranks=4)
    process = start_on(pipe, made)
    wait_until(lambda: len(pids(process)) == made.ranks, process)
    killed = time.monotonic()
    os.kill(pids(process)[rank], signal.SIGKILL)
    process.communicate(timeout=ENDS_SECONDS)
    assert time.monotonic() - killed < ENDS_SECONDS
    assert process.returncode != 0
    assert not list(made.reports.rglob("*.tsv"))
    made.add_scan(volume(1, 3000), "/lustre/s1")
    assert [each["status"] for each in made.outcomes(*REPORTS)] == ["written"] * 2
    clean = Site(tmp_path / "clean", ranks=0)
    clean.add_scan(volume(1, 3000), "/lustre/s1")
    clean.run(*REPORTS)
    assert written(made) == written(clean)


def test_ranks_with_nothing_to_do_are_quiet(tmp_path: Path, pipe: Pipe) -> None:
    made = Site(tmp_path, ranks=5)
    process = start_on(pipe, made)
    wait_until(lambda: len(pids(process)) == made.ranks, process)
    ranks = pids(process)
    shares = [burnt(ranks, 2) for _ in range(WINDOWS)]  # in the first ones they load what they need
    process.kill()
    pipe.close()
    process.communicate()
    idle = [max(share[rank] for rank in ranks if rank != 1) for share in shares]
    assert min(idle) < 0.05, shares


BUG = """
import sys
import manager
from lurge.inspector.report import Inspector
from lurge.inspector.tally import InspectorTally

def fail(*_, **__):
    raise ZeroDivisionError("a bug")

{where} = fail
sys.exit(manager.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(
    "where",
    ["Inspector.write", "InspectorTally.add", "InspectorTally.merge", "InspectorTally.tell"],
)
def test_a_bug_on_any_rank_ends_all_with_its_traceback(tmp_path: Path, where: str) -> None:
    made = Site(tmp_path, ranks=4)
    for number in range(2):
        made.add_scan(volume(number, 3000), f"/lustre/s{number}")
    script = tmp_path / "bug.py"
    script.write_text(BUG.format(where=where))
    command = [str(script) if part == str(MANAGER) else part for part in made.command("inspector")]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=mpirun.environment() | {"PYTHONPATH": str(MANAGER.parent)},
    )
    assert done.returncode == 70
    assert "ZeroDivisionError: a bug" in done.stderr


# How it is started.


def test_wrong_use_and_what_is_missing_end_all_ranks_with_their_status(tmp_path: Path) -> None:
    made = Site(tmp_path, ranks=3)
    assert made.run("reporter", "--date", "tomorrow").returncode == 2
    done = made.run("reporter")
    assert done.returncode == 3
    assert "no scan" in done.stderr
    made.config = "wrong = 1"
    assert made.run("reporter").returncode == 2


def test_any_other_command_is_done_once(tmp_path: Path) -> None:
    made = Site(tmp_path, ranks=3)
    done = made.run("init")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("made version") == 1


def test_ranks_without_mpi4py_in_front_are_refused(tmp_path: Path) -> None:
    made = Site(tmp_path)
    command = [str(mpirun.MPIRUN), "-n", "2", *made.command("reporter")]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=mpirun.environment()
    )
    assert done.returncode == 2
    assert "python -m mpi4py manager.py" in done.stderr


def test_a_process_that_is_alone_though_several_were_started_is_refused(tmp_path: Path) -> None:
    made = Site(tmp_path, ranks=1, env={"MPI_LOCALNRANKS": "4"})
    done = made.run("reporter")
    assert done.returncode == 2
    assert "mpirun is not that of mpi4py's MPI" in done.stderr


def test_standard_input_which_mpirun_may_keep_open_for_ever_is_refused(tmp_path: Path) -> None:
    made = Site(tmp_path, ranks=2)
    done = made.run("reporter", "--volume", "s1", "--date", str(TODAY), "--scan", "-")
    assert done.returncode == 2
    assert "give a file" in done.stderr


@pytest.mark.parametrize("ranks", [1, 2])
def test_a_configuration_is_needed_though_mpirun_makes_a_terminal(
    tmp_path: Path, ranks: int
) -> None:
    done = subprocess.run(
        [*mpirun.ranks(ranks), str(MANAGER), "reporter"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env=mpirun.environment(),
    )
    assert done.returncode == 2
    assert "no configuration and no terminal" in done.stderr


def test_a_scan_without_an_entry_fails_under_ranks_too(tmp_path: Path) -> None:
    made = Site(tmp_path, ranks=4)
    scan = made.add_scan([entry("/lustre/s1/x")], "/lustre/s1")
    scan.write_bytes(gzip.compress(b""))
    [said] = made.outcomes("inspector")
    assert said["status"] == "failed"
    assert "has no entry" in said["reason"]
