"""A file a day, by the midnight of a zone, as several processes write it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from children import run

from utils.day_files import DayFile

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SEOUL = ZoneInfo("Asia/Seoul")


class Clock:
    """Stands, until it is moved."""

    def __init__(self) -> None:
        self.at = NOON

    def __call__(self) -> datetime:
        return self.at


def names(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def add(file: DayFile, line: str) -> None:
    file.write(line + "\n")
    file.flush()


def test_another_file_is_begun_at_the_midnight_of_the_zone(tmp_path: Path) -> None:
    clock = Clock()
    file = DayFile(tmp_path, SEOUL, clock, host="h 1/x")
    for hours, line in (2, "before"), (1, "after"):
        clock.at += timedelta(hours=hours)
        add(file, line)
    file.close()
    assert names(tmp_path) == ["2026-03-01.h-1-x.log", "2026-03-02.h-1-x.log"]
    assert [Path(tmp_path, name).read_text() for name in names(tmp_path)] == ["before\n", "after\n"]


def test_the_files_of_fourteen_days_are_kept_of_all_hosts_and_what_is_none_stays(
    tmp_path: Path,
) -> None:
    clock = Clock()
    (tmp_path / "2020-01-01.notes.txt").touch()
    (tmp_path / "2020-01-01.other.log").touch()
    file = DayFile(tmp_path, UTC, clock, host="h")
    for _ in range(20):
        clock.at += timedelta(days=1)
        add(file, "x")
    file.close()
    kept = [f"2026-03-{day:02}.h.log" for day in range(7, 22)]
    assert names(tmp_path) == ["2020-01-01.notes.txt", *kept]


def test_lines_of_several_processes_are_whole(tmp_path: Path) -> None:
    code = """
        import os, sys
        from datetime import UTC, datetime
        from pathlib import Path
        from utils.day_files import DayFile

        children = []
        for child in range(4):
            if not (number := os.fork()):
                file = DayFile(Path(sys.argv[1]), UTC, lambda: datetime(2026, 3, 1, tzinfo=UTC))
                for _ in range(500):
                    file.write(str(child) * 3000)
                    file.write("\\n")
                    file.flush()
                os._exit(0)
            children.append(number)
        print([os.waitpid(number, 0)[1] for number in children])
    """
    assert run(code, tmp_path) == "[0, 0, 0, 0]\n"
    (file,) = tmp_path.iterdir()
    lines = file.read_text().splitlines()
    assert len(lines) == 2000
    assert set(lines) == {str(child) * 3000 for child in range(4)}


def test_bytes_that_are_no_characters_are_written_out(tmp_path: Path) -> None:
    file = DayFile(tmp_path, UTC, Clock())
    add(file, "caf\udce9")
    file.close()
    assert next(tmp_path.iterdir()).read_text() == "caf\\udce9\n"
