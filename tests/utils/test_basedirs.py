"""Base directories from wrstat's own files: the newest that counts, its paths as raw bytes."""

import os
from datetime import date
from pathlib import Path

import children
import pytest

from utils.basedirs import Basedirs, BasedirsUnreadable, newest

DAY = date(2022, 3, 10)


def put(folder: Path, name: str, text: bytes, modified: int = 0) -> None:
    path = folder / name
    path.write_bytes(text)
    os.utime(path, (modified, modified))


def paths(folder: Path, day: date = DAY, max_days_ago: int = 10) -> tuple[bytes, ...]:
    return newest(folder, day, max_days_ago).paths


def test_without_a_file_nothing_is_known(tmp_path: Path) -> None:
    put(tmp_path, "20220310_s1.a.b.stats.gz", b"")
    assert newest(tmp_path, DAY, 10) == Basedirs()


def test_paths_are_the_bytes_behind_the_tab_and_each_counts_once(tmp_path: Path) -> None:
    text = b"1\t/a/b\n2\t/a/b\n3\t/a/\xff \\x41\n4\t/c/\n5\t/\n6\t/t\tab\n"
    put(tmp_path, "20220310_x.basedirs", text)
    assert paths(tmp_path) == (b"/", b"/a/b", b"/a/\xff \\x41", b"/c", b"/t\tab")


@pytest.mark.parametrize(
    ("days", "expected"),
    [
        (["20220309", "20220308"], "20220309"),
        (["20220311", "20220310"], "20220310"),
        (["20220228", "20220227"], "20220228"),
        (["20220227"], None),
        (["20220311"], None),
        (["20220399", "20220301"], "20220301"),
    ],
)
def test_the_newest_not_later_than_the_day_and_not_too_old_counts(
    tmp_path: Path, days: list[str], expected: str | None
) -> None:
    for day in days:
        put(tmp_path, f"{day}_s.x.basedirs", f"1\t/{day}\n".encode())
    assert paths(tmp_path) == ((f"/{expected}".encode(),) if expected else ())


def test_of_one_day_the_last_one_written_counts(tmp_path: Path) -> None:
    put(tmp_path, "20220310_b.basedirs", b"1\t/older\n", 1)
    put(tmp_path, "20220310_a.basedirs", b"1\t/newer\n", 2)
    assert paths(tmp_path) == (b"/newer",)


def test_lines_without_a_gid_or_an_absolute_path_are_told(tmp_path: Path) -> None:
    put(tmp_path, "20220310_x.basedirs", b"1\t/a\n\nno tab\nx\t/b\n2\trelative\n")
    found = newest(tmp_path, DAY, 10)
    assert found.paths == (b"/a",)
    assert found.remarks == ("20220310_x.basedirs: 3 bad lines, the first is line 3",)


def test_a_file_that_may_not_be_read_is_an_error(tmp_path: Path) -> None:
    put(tmp_path, "20220310_x.basedirs", b"1\t/a\n")
    (tmp_path / "20220310_x.basedirs").chmod(0)
    code = """
        import sys
        from datetime import date
        from pathlib import Path
        from utils.basedirs import BasedirsUnreadable, newest
        try:
            newest(Path(sys.argv[1]), date(2022, 3, 10), 10)
        except BasedirsUnreadable as error:
            print(error)
    """
    said = children.run(code, tmp_path, within=children.REFUSABLE)
    assert said == (
        f"base directories: {tmp_path}/20220310_x.basedirs: Permission denied: "
        "see that it is readable\n"
    )


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BasedirsUnreadable, match="nowhere"):
        newest(tmp_path / "nowhere", DAY, 10)
