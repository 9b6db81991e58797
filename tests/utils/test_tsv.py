"""A TSV file is there whole or not at all, and `latest` leads to the newest."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path

import children
import pytest

from utils.parts import LEFT_OVER_SECONDS
from utils.tsv import (
    Prepared,
    TsvFailed,
    discard,
    header,
    place,
    place_of_day,
    prepare,
    publish,
    remove_older,
    text_of,
)

DAY = date(2026, 3, 10)
HEADER = ("volume", "group", "used_bytes")
ROWS = [("v1", "team", 5), ("v1", "other", None)]
TEXT = "volume\tgroup\tused_bytes\nv1\tteam\t5\nv1\tother\t-\n"


def files(folder: Path) -> list[str]:
    """Every file and link below a folder, with what a link holds."""
    return sorted(
        f"{path.relative_to(folder)}" + (f" -> {path.readlink()}" if path.is_symlink() else "")
        for path in folder.rglob("*")
        if path.is_symlink() or path.is_file()
    )


def published(folder: Path, volume: str, day: date = DAY, rows: Sequence[object] = ()) -> Path:
    path = place(folder, "reporter", day, volume)
    publish(prepare(path, HEADER, [(volume, day, row) for row in rows]))
    return path


# Preparing and publishing.


def test_a_file_has_its_place_by_program_day_and_volume() -> None:
    path = place(Path("/reports"), "reporter", DAY, "scratch_1.2")
    assert path == Path("/reports/reporter/2026-03-10/scratch_1.2.tsv")


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        (None, "-"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (-5, "-5"),
        (2**63, "9223372036854775808"),
        (Decimal("0.0"), "0.0"),
        (Decimal("-1234567.8"), "-1234567.8"),
        (DAY, "2026-03-10"),
        ("", ""),
        ("/caf\\xe9 日本", "/caf\\xe9 日本"),
    ],
)
def test_a_cell_is_written_as_everywhere(cell: object, text: str) -> None:
    assert text_of(cell) == text


def test_nothing_has_the_files_name_before_it_is_published(tmp_path: Path) -> None:
    path = place(tmp_path, "reporter", DAY, "v1")
    prepared = prepare(path, HEADER, ROWS)
    (part,) = files(tmp_path)
    assert tmp_path / part == prepared.part
    assert prepared.part.name.startswith(".")
    assert not prepared.part.name.endswith(".tsv")
    assert prepared.part.read_text("utf-8") == TEXT
    publish(prepared)
    assert path.read_text("utf-8") == TEXT
    assert files(tmp_path) == [
        "reporter/2026-03-10/v1.tsv",
        "reporter/latest/v1.tsv -> ../2026-03-10/v1.tsv",
    ]


def test_a_published_file_replaces_the_one_before(tmp_path: Path) -> None:
    path = published(tmp_path, "v1", rows=["old"])
    with path.open() as reader:
        prepared = prepare(path, HEADER, ROWS)
        assert "old" in path.read_text()
        publish(prepared)
        assert "old" in reader.read()
    assert path.read_text() == TEXT


def test_a_file_may_hold_no_row(tmp_path: Path) -> None:
    assert published(tmp_path, "v1").read_text() == "volume\tgroup\tused_bytes\n"


def test_a_discarded_file_leaves_nothing(tmp_path: Path) -> None:
    prepared = prepare(place(tmp_path, "reporter", DAY, "v1"), HEADER, ROWS)
    discard(prepared)
    discard(prepared)
    assert files(tmp_path) == []


def failing() -> Iterator[tuple[str, ...]]:
    yield ("v1", "team", "5")
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("rows", "error"),
    [(failing(), KeyboardInterrupt), ([("v1", "\udce9", "5")], UnicodeEncodeError)],
)
def test_rows_that_end_in_an_error_leave_nothing(
    rows: Iterator[tuple[str, ...]], error: type[BaseException], tmp_path: Path
) -> None:
    with pytest.raises(error):
        prepare(place(tmp_path, "reporter", DAY, "v1"), HEADER, rows)
    assert files(tmp_path) == []


# The latest.


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_the_latest_is_the_newest_whichever_came_last(
    order: tuple[int, ...], tmp_path: Path
) -> None:
    for count, month in enumerate(order, start=1):
        published(tmp_path, "v1", date(2026, month, 1))
        newest = max(order[:count])
        latest = (tmp_path / "reporter/latest/v1.tsv").readlink()
        assert latest == Path(f"../2026-0{newest}-01/v1.tsv")


def test_each_volume_has_a_latest_of_its_own(tmp_path: Path) -> None:
    published(tmp_path, "v1", DAY)
    published(tmp_path, "v2", DAY - timedelta(days=1))
    published(tmp_path, "v1", DAY - timedelta(days=2))
    (tmp_path / "reporter" / "9999-99-99").mkdir()
    (tmp_path / "reporter" / "9999-99-99" / "v1.tsv").touch()
    published(tmp_path, "v1", DAY - timedelta(days=2))
    latest = tmp_path / "reporter" / "latest"
    assert files(latest) == ["v1.tsv -> ../2026-03-10/v1.tsv", "v2.tsv -> ../2026-03-09/v2.tsv"]


def test_the_latest_stays_right_when_the_reports_are_moved(tmp_path: Path) -> None:
    published(tmp_path / "here", "v1", rows=["moved"])
    (tmp_path / "here").rename(tmp_path / "there")
    assert "moved" in (tmp_path / "there/reporter/latest/v1.tsv").read_text()


# What is old.


@pytest.mark.parametrize(
    ("keep", "kept"), [(0, [0]), (1, [0, 1]), (5, [0, 1, 5]), (400, [0, 1, 5])]
)
def test_files_of_more_than_so_many_days_ago_are_removed(
    keep: int, kept: list[int], tmp_path: Path
) -> None:
    days = {ago: DAY - timedelta(days=ago) for ago in (0, 1, 5)}
    paths = {ago: published(tmp_path, volume, day) for ago, day in days.items() for volume in "ab"}
    removed = remove_older(tmp_path / "reporter", keep, DAY)
    assert sorted({path.parent.name for path in removed}) == sorted(
        days[ago].isoformat() for ago in days if ago not in kept
    )
    assert all(path.exists() == (ago in kept) for ago, path in paths.items())
    assert all(path.parent.exists() == (ago in kept) for ago, path in paths.items())
    assert all(link.exists() for link in (tmp_path / "reporter" / "latest").iterdir())


def test_a_volume_of_which_nothing_is_kept_has_no_latest(tmp_path: Path) -> None:
    old = published(tmp_path, "gone", DAY - timedelta(days=2))
    published(tmp_path, "there", DAY)
    assert remove_older(tmp_path / "reporter", 1, DAY) == [old]
    assert files(tmp_path) == [
        "reporter/2026-03-10/there.tsv",
        "reporter/latest/there.tsv -> ../2026-03-10/there.tsv",
    ]


def test_what_is_no_tsv_of_a_day_is_kept(tmp_path: Path) -> None:
    others = ["2020-01-01/notes.txt", "2020-99-99/v1.tsv", "20200101/v1.tsv", "x/2020-01-01/v1.tsv"]
    for name in others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "2020-01-02").touch()
    (tmp_path / "2020-01-03.txt").touch()
    (tmp_path / "2020-01-01" / "v1.tsv").touch()
    assert remove_older(tmp_path, 1, DAY) == [tmp_path / "2020-01-01" / "v1.tsv"]
    assert files(tmp_path) == sorted([*others, "2020-01-02", "2020-01-03.txt"])


# A file of all volumes.


def of_all_volumes(folder: Path, day: date = DAY) -> Path:
    path = place_of_day(folder, "users", day)
    publish(prepare(path, HEADER, ROWS))
    return path


def test_a_file_of_all_volumes_is_named_by_its_day_and_its_latest_by_the_program(
    tmp_path: Path,
) -> None:
    newest = of_all_volumes(tmp_path)
    of_all_volumes(tmp_path, DAY - timedelta(days=3))
    assert header(newest) == HEADER
    assert files(tmp_path) == [
        "users/2026-03-07.tsv",
        "users/2026-03-10.tsv",
        "users/latest/users.tsv -> ../2026-03-10.tsv",
    ]


def test_a_file_of_all_volumes_that_is_too_old_is_removed_with_its_link(tmp_path: Path) -> None:
    old = of_all_volumes(tmp_path)
    assert remove_older(tmp_path / "users", 3, DAY + timedelta(days=3)) == []
    assert remove_older(tmp_path / "users", 3, DAY + timedelta(days=4)) == [old]
    assert files(tmp_path) == []


def test_a_file_that_is_not_there_has_no_header(tmp_path: Path) -> None:
    assert header(tmp_path / "none.tsv") is None


def test_a_file_that_is_no_tsv_has_no_header(tmp_path: Path) -> None:
    (tmp_path / "2026-03-10.tsv").write_bytes(b"\xff\n")
    assert header(tmp_path / "2026-03-10.tsv") is None


def test_of_a_program_that_never_ran_nothing_is_removed(tmp_path: Path) -> None:
    assert remove_older(tmp_path / "reporter", 1, DAY) == []


# What runs that were killed have left.

PREPARE = """
    import socket, sys
    from datetime import date
    from pathlib import Path
    from utils import tsv

    if sys.argv[3:]:
        socket.sethostname(sys.argv[3])
    path = tsv.place(Path(sys.argv[1]), "reporter", date(2026, 3, 10), sys.argv[2])
    print(tsv.prepare(path, ["a"], []).part, flush=True)
    sys.stdin.read()
"""


@contextmanager
def preparing(
    folder: Path, volume: str, *host: str, within: Sequence[str] = ()
) -> Iterator[tuple[Path, "subprocess.Popen[bytes]"]]:
    """A process that has prepared a file and waits, and the file."""
    line = children.command(PREPARE, folder, volume, *host, within=within)
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout
        part = Path(process.stdout.readline().decode().strip())
        try:
            yield part, process
        finally:
            process.kill()


def test_only_what_a_dead_process_had_prepared_is_removed(tmp_path: Path) -> None:
    mine = prepare(place(tmp_path, "reporter", DAY, "mine"), HEADER, ROWS)
    with (
        preparing(tmp_path, "alive") as (alive, _),
        preparing(tmp_path, "dead.with.dots") as (dead, process),
    ):
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert dead.exists()
        published(tmp_path, "v1")
        assert not dead.exists()
        assert alive.exists()
        assert mine.part.exists()


def test_a_link_that_a_killed_process_had_not_named_yet_is_removed(tmp_path: Path) -> None:
    latest = tmp_path / "reporter" / "latest"
    with preparing(tmp_path, "v2") as (alive, _), preparing(tmp_path, "v1") as (dead, process):
        process.send_signal(signal.SIGKILL)
        process.wait()
        latest.mkdir()
        for part in (alive, dead):
            (latest / part.name).symlink_to("../2026-03-10/v1.tsv")
        published(tmp_path, "v1")
        assert sorted(path.name for path in latest.iterdir()) == sorted([alive.name, "v1.tsv"])


def test_a_run_after_a_killed_one_leaves_just_its_own_file(tmp_path: Path) -> None:
    with preparing(tmp_path, "v1") as (_, process):
        process.send_signal(signal.SIGKILL)
    path = published(tmp_path, "v1")
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("host", ["node", "node1.site.example.org", "a.b"])
def test_dead_processes_are_known_whatever_the_host_is_called(host: str, tmp_path: Path) -> None:
    printed = children.run(
        """
        import os, socket, sys
        from datetime import date
        from pathlib import Path
        from utils import tsv

        socket.sethostname(sys.argv[2])
        place = lambda volume: tsv.place(Path(sys.argv[1]), "reporter", date(2026, 3, 10), volume)
        if not (child := os.fork()):
            tsv.prepare(place("dead.tsv"), ["a"], [])
            os._exit(0)
        os.waitpid(child, 0)
        alive = tsv.prepare(place("alive"), ["a"], [])
        os.utime(alive.part, (0, 0))
        folder = alive.path.parent
        print(len(list(folder.iterdir())))
        tsv.publish(tsv.prepare(place("v1"), ["a"], []))
        print(*sorted(path.name[:6] for path in folder.iterdir()))
        """,
        *(tmp_path, host),
        within=children.OWN_HOST,
    )
    assert printed.splitlines() == ["2", ".alive v1.tsv"]


@pytest.mark.parametrize(("age", "kept"), [(0, True), (LEFT_OVER_SECONDS + 60, False)])
def test_what_another_host_had_prepared_is_removed_after_a_day(
    age: int, kept: bool, tmp_path: Path
) -> None:
    with preparing(tmp_path, "v1", "another.host", within=children.OWN_HOST) as (part, _):
        modified = time.time() - age
        os.utime(part, (modified, modified))
        published(tmp_path, "v2")
        assert part.exists() == kept


def test_what_is_removed_for_its_age_takes_left_overs_along(tmp_path: Path) -> None:
    with preparing(tmp_path, "v1") as (part, process):
        process.kill()
    remove_older(tmp_path / "reporter", 1, DAY + timedelta(days=9))
    assert not part.parent.exists()


# Where nothing can be written.

ON_A_SMALL_DISK = """
    import subprocess, sys
    from datetime import date
    from pathlib import Path
    from utils import tsv

    folder = Path(sys.argv[1])
    options = ["-t", "tmpfs", "-o", sys.argv[2], "tmpfs", folder]
    subprocess.run(["mount", *options], check=True)
    path = tsv.place(folder, "reporter", date(2026, 3, 10), "v1")
    for rows in map(int, sys.argv[3:]):
        try:
            tsv.publish(tsv.prepare(path, ["a"], ([number] for number in range(rows))))
        except tsv.TsvFailed as error:
            print(error)
    for file in sorted(folder.rglob("*")):
        if not file.is_dir():
            print(file.relative_to(folder), file.read_text().count("\\n"))
"""


def on_a_small_disk(folder: Path, options: str, *rows: int) -> list[str]:
    """What is told, and the files that are left with their number of lines."""
    printed = children.run(ON_A_SMALL_DISK, folder, options, *rows, within=children.OWN_MOUNTS)
    return printed.splitlines()


# A file of 64 KiB or less is all in the buffers until it is synced or closed.
@pytest.mark.parametrize("rows", [3_000, 200_000])
@pytest.mark.parametrize("options", ["size=8k", "size=64k"])
def test_a_full_disk_leaves_nothing(options: str, rows: int, tmp_path: Path) -> None:
    told = on_a_small_disk(tmp_path, options, rows)
    if (options, rows) == ("size=64k", 3_000):
        assert told == ["reporter/2026-03-10/v1.tsv 3001", "reporter/latest/v1.tsv 3001"]
    else:
        path = tmp_path / "reporter/2026-03-10/v1.tsv"
        assert told == [f"{path} cannot be written: No space left on device"]


def test_a_full_disk_leaves_the_file_before_as_it_was(tmp_path: Path) -> None:
    told, *left = on_a_small_disk(tmp_path, "size=64k", 5, 200_000)
    assert told.endswith("cannot be written: No space left on device")
    assert left == ["reporter/2026-03-10/v1.tsv 6", "reporter/latest/v1.tsv 6"]


@pytest.mark.parametrize("inodes", [1, 2, 3])
def test_a_disk_without_inodes_leaves_nothing(inodes: int, tmp_path: Path) -> None:
    (told,) = on_a_small_disk(tmp_path, f"nr_inodes={inodes}", 5)
    assert told.endswith("cannot be written: No space left on device")


@pytest.mark.parametrize("inodes", [4, 5])
def test_a_file_without_its_link_is_whole_and_told(inodes: int, tmp_path: Path) -> None:
    told, *left = on_a_small_disk(tmp_path, f"nr_inodes={inodes}", 5)
    assert told.endswith("v1.tsv cannot be put in place: No space left on device")
    assert left == ["reporter/2026-03-10/v1.tsv 6"]


@pytest.mark.parametrize("unwritable", ["", "reporter", "reporter/2026-03-10"])
def test_a_folder_without_permission_is_told(unwritable: str, tmp_path: Path) -> None:
    folder = tmp_path / unwritable
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o555)
    printed = children.run(
        """
        import sys
        from datetime import date
        from pathlib import Path
        from utils import tsv

        path = tsv.place(Path(sys.argv[1]), "reporter", date(2026, 3, 10), "v1")
        try:
            tsv.prepare(path, ["a"], [])
        except tsv.TsvFailed as error:
            print(error, end="")
        """,
        tmp_path,
        within=children.REFUSABLE,
    )
    path = place(tmp_path, "reporter", DAY, "v1")
    assert printed == f"{path} cannot be written: Permission denied"
    assert files(tmp_path) == []


@pytest.mark.parametrize("in_the_way", ["reporter", "reporter/2026-03-10"])
def test_a_file_in_the_way_of_a_folder_is_told(in_the_way: str, tmp_path: Path) -> None:
    (tmp_path / in_the_way).parent.mkdir(exist_ok=True)
    (tmp_path / in_the_way).touch()
    with pytest.raises(TsvFailed, match=f"^{tmp_path}.*v1.tsv cannot be written: "):
        published(tmp_path, "v1")
    assert files(tmp_path) == [in_the_way]


@pytest.mark.parametrize("in_the_way", ["2026-03-10/v1.tsv", "latest/v1.tsv", "latest"])
def test_what_is_in_the_way_of_a_name_is_told(in_the_way: str, tmp_path: Path) -> None:
    reporter = tmp_path / "reporter"
    if in_the_way == "latest":
        reporter.mkdir()
        (reporter / in_the_way).touch()
    else:
        (reporter / in_the_way).mkdir(parents=True)
    with pytest.raises(TsvFailed, match=r"v1\.tsv cannot be put in place: "):
        published(tmp_path, "v1")


def test_a_prepared_file_that_is_gone_is_told(tmp_path: Path) -> None:
    path = place(tmp_path, "reporter", DAY, "v1")
    path.parent.mkdir(parents=True)
    with pytest.raises(TsvFailed, match="cannot be put in place: No such file"):
        publish(Prepared(path.with_name(".v1"), path))
