"""What is prepared has a name that tells who is at it."""

import os
import subprocess
import sys
from pathlib import Path

from utils.parts import LEFT_OVER_SECONDS, part_of, remove_left_overs


def left_over(folder: Path) -> Path:
    """A folder with a file, prepared by a process that has ended."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    part = part_of(folder / "20260310")
    dead = part.with_name(part.name.replace(f".{os.getpid()}.", f".{ended.pid}."))
    dead.mkdir()
    (dead / "a.dat.gz").touch()
    return dead


def test_a_folder_that_a_dead_process_had_prepared_is_removed(tmp_path: Path) -> None:
    left_over(tmp_path)
    mine = part_of(tmp_path / "20260310")
    mine.mkdir()
    remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [mine]


def test_a_folder_of_another_host_stays_while_anything_in_it_is_young(tmp_path: Path) -> None:
    far = tmp_path / ".20260310.elsewhere.1.part"
    far.mkdir()
    file = far / "part"
    file.touch()
    old = file.stat().st_mtime - LEFT_OVER_SECONDS - 60
    os.utime(far, (old, old))
    remove_left_overs(tmp_path)
    assert file.exists()
    os.utime(file, (old, old))
    os.utime(far, (old, old))
    remove_left_overs(tmp_path)
    assert not far.exists()
