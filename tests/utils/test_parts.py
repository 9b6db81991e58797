"""What is prepared has a name that tells who is at it."""

import os
import subprocess
import sys
from pathlib import Path

import children

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


def test_what_a_living_process_prepares_stays_and_so_does_what_has_another_name(
    tmp_path: Path,
) -> None:
    mine = part_of(tmp_path / "s1.tsv")
    names = (mine.name, ".hidden", "a.part", ".part", "20260310")
    for name in names:
        (tmp_path / name).touch()
    remove_left_overs(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)


def test_a_file_or_link_of_a_dead_process_is_removed_but_not_where_it_leads(tmp_path: Path) -> None:
    dead = left_over(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    dead.rename(elsewhere)
    dead.symlink_to(elsewhere)
    dead.with_name(dead.name.replace("20260310", "s1.with.dots.tsv")).touch()
    remove_left_overs(tmp_path)
    assert list(tmp_path.iterdir()) == [elsewhere]
    assert (elsewhere / "a.dat.gz").exists()


def test_a_folder_that_is_not_there_has_no_left_overs(tmp_path: Path) -> None:
    remove_left_overs(tmp_path / "none")


def test_what_belongs_to_a_host_with_dots_in_its_name_is_told_from_ours(tmp_path: Path) -> None:
    code = """
        import socket, sys
        from pathlib import Path
        sys.path.insert(0, sys.argv[2])
        from utils.parts import part_of

        socket.sethostname("far.away.example")
        part_of(Path(sys.argv[1]) / "20260310").mkdir()
    """
    children.run(code, tmp_path, Path(__file__).parents[2], within=children.OWN_HOST)
    remove_left_overs(tmp_path)
    [theirs] = tmp_path.iterdir()
    assert theirs.name.startswith(".20260310.far-away-example.")
