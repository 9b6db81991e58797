"""Compiled loops are kept for the next process, safely and whoever starts at once."""

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
from site_of_tests import Site, entries

ROOT = Path(__file__).parent.parent.parent


def cache_of(env: dict[str, str]) -> str:
    """Where a process with this environment keeps its compiled loops."""
    script = "from utils.compiled import numba; print(numba().config.CACHE_DIR)"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def environment(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    return kept | changes


def test_processes_that_start_at_once_with_an_empty_cache_agree(tmp_path: Path) -> None:
    sites = [Site(tmp_path / str(number)) for number in range(4)]
    for site in sites:
        site.add_scan(entries(3000))
        site.env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    runs = [site.start("reporter") for site in sites]
    for run in runs:
        _, errors = run.communicate(timeout=120)
        assert run.returncode == 0, errors
    assert len({site.tsv().read_bytes() for site in sites}) == 1


def test_a_second_process_compiles_nothing(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.add_scan(entries(3000))
    site.env = {"XDG_CACHE_HOME": str(tmp_path / "cache")}

    def compiled() -> set[tuple[Path, int]]:
        return {(file, file.stat().st_mtime_ns) for file in (tmp_path / "cache").rglob("*.nbc")}

    site.run("reporter")
    first = compiled()
    assert first
    site.run("reporter", "--force")
    assert compiled() == first


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_cache_where_others_may_write_is_not_used(tmp_path: Path, mode: int) -> None:
    (tmp_path / "lurge").mkdir()
    (tmp_path / "lurge").chmod(mode)
    used = cache_of(environment(XDG_CACHE_HOME=str(tmp_path), TMPDIR=str(tmp_path)))
    assert not used.startswith(str(tmp_path / "lurge") + "/")
    assert used.startswith(str(tmp_path / f"lurge-{os.getuid()}"))


def test_without_a_home_the_cache_is_a_private_folder_among_temporary_files(tmp_path: Path) -> None:
    used = cache_of(environment(XDG_CACHE_HOME="/dev/null", TMPDIR=str(tmp_path)))
    folder = tmp_path / f"lurge-{os.getuid()}"
    assert used.startswith(str(folder))
    assert folder.stat().st_mode & 0o077 == 0


def test_what_runs_no_loop_and_asks_no_server_starts_without_their_libraries() -> None:
    script = """
        import sys
        import manager
        from lurge.archiver.commands.group import archive
        heavy = {"boto3", "botocore", "jinja2", "ldap3", "llvmlite", "numba", "swiftclient"}
        print(*sorted(heavy & sys.modules.keys()))
    """
    done = subprocess.run(
        [sys.executable, "-c", dedent(script)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == []
