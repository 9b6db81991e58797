"""Programs end, stop and fail at the very call that was named."""

import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import children
import pytest
from servers.killing import (
    KILLED_AFTER,
    KILLED_BEFORE,
    Injection,
    calls_of,
    fail,
    kill_after,
    kill_before,
    slow_down,
    stop_after,
    stopped,
    strace_command,
)

NAMES = "abc"

# Each name gets another, one by one, by a handle of the folder, in a thread of its own if asked to.
RENAME = """
    import os, sys, threading

    folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)

    def rename(names):
        for name in names:
            try:
                os.rename(name, name + name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                print(error.strerror, flush=True)

    for names in sys.argv[2:]:
        thread = threading.Thread(target=rename, args=[names])
        thread.start()
        thread.join()
    print("ended", flush=True)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with files."""
    made = tmp_path / "folder"
    made.mkdir()
    for name in NAMES:
        (made / name).touch()
    return made


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rename(folder: Path, threads: Sequence[str] = (NAMES,)) -> list[str]:
    return children.command(RENAME, folder, *threads)


def run(
    folder: Path,
    *injections: Injection,
    threads: Sequence[str] = (NAMES,),
    paths: Sequence[Path] = (),
) -> "subprocess.CompletedProcess[str]":
    command = strace_command(
        rename(folder, threads),
        *injections,
        log=folder.parent / "log",
        calls="renameat",
        paths=paths,
    )
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_what_it_is_killed_before_is_not_done(folder: Path) -> None:
    assert run(folder, kill_before("renameat", 2)).returncode == KILLED_BEFORE
    assert names(folder) == ["aa", "b", "c"]


def test_what_it_is_killed_after_is_done_and_nothing_more(folder: Path) -> None:
    done = run(folder, kill_after("renameat", 2))
    assert (done.returncode, done.stdout) == (KILLED_AFTER, "")
    assert names(folder) == ["aa", "bb", "c"]


def test_all_moments_of_a_run_are_told(folder: Path) -> None:
    assert run(folder).stdout == "ended\n"
    assert calls_of(folder.parent / "log") == [("renameat", 1), ("renameat", 2), ("renameat", 3)]


def test_each_thread_counts_on_its_own(folder: Path) -> None:
    assert run(folder, kill_before("renameat", 2), threads=NAMES).stdout == "ended\n"
    assert calls_of(folder.parent / "log") == [("renameat", 1)]
    assert names(folder) == ["aa", "bb", "cc"]


def test_a_call_of_another_thread_kills_all_of_them(folder: Path) -> None:
    assert run(folder, kill_after("renameat", 2), threads=("a", "bc")).returncode == KILLED_AFTER
    assert names(folder) == ["aa", "bb", "cc"]


def test_calls_fail_from_one_to_another(folder: Path) -> None:
    done = run(folder, fail("renameat", "EIO", 1, 1), threads=[NAMES])
    assert done.stdout == "Input/output error\nended\n"
    assert run(folder, fail("renameat", "EDQUOT", 2)).stdout.count("Disk quota exceeded") == 2


def test_only_calls_at_a_path_count(folder: Path) -> None:
    elsewhere = [folder.parent]
    assert run(folder, kill_before("renameat"), paths=elsewhere).stdout == "ended\n"
    for name in NAMES:
        (folder / (name + name)).rename(folder / name)
    assert run(folder, kill_before("renameat"), paths=[folder]).returncode == KILLED_BEFORE
    assert names(folder) == list(NAMES)


def test_a_call_begins_later(folder: Path) -> None:
    start = time.monotonic()
    assert run(folder, slow_down("renameat", 0.05)).stdout == "ended\n"
    assert time.monotonic() - start >= 3 * 0.05


def test_a_stopped_program_stays_where_it_is_until_it_goes_on(folder: Path) -> None:
    log = folder.parent / "log"
    with stopped(rename(folder), stop_after("renameat", 2), log) as program:
        assert names(folder) == ["aa", "bb", "c"]
        (folder / "c").unlink()
        done = program.go_on()
    assert (done.returncode, done.stdout) == (0, b"No such file or directory\nended\n")


def test_a_stopped_program_can_be_killed(folder: Path) -> None:
    log = folder.parent / "log"
    with stopped(rename(folder), stop_after("renameat", 1), log) as program:
        program.kill()
    assert program.strace.returncode == KILLED_BEFORE
    assert names(folder) == ["aa", "b", "c"]


def test_nothing_is_left_of_a_program_whose_test_fails(folder: Path) -> None:
    with (
        pytest.raises(ValueError, match="so it is"),
        stopped(rename(folder), stop_after("renameat"), folder.parent / "log") as program,
    ):
        raise ValueError("so it is")
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{program.pid}/exe").exists():
        time.sleep(0.01)
    assert not Path(f"/proc/{program.pid}/exe").exists()


def test_a_program_that_is_never_stopped_is_told(folder: Path) -> None:
    with (
        pytest.raises(TimeoutError, match="ended before"),
        stopped(rename(folder), stop_after("renameat", 9), folder.parent / "log"),
    ):
        pass
