"""How a run goes is told: in bars where somebody looks on, in lines of a log where nobody does."""

import io
import shlex
import time
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from rich.console import Console

from lurge_types.scans import Progress, Scan, Volume
from utils.log import open_log
from utils.progress import entry_counter, progress_bars, progress_log


def facts(line: str) -> dict[str, str]:
    """The facts of a line of the log."""
    return dict(fact.split("=", 1) for fact in shlex.split(line))


def progress(
    volume: str, position: int, size: int = 1000, lines: int = 7, day: int = 1
) -> Progress:
    return Progress(Scan(Volume(volume), Path("f"), date(2026, 1, day), 0), position, size, lines)


# The log.


def test_what_names_may_hold_neither_ends_a_line_nor_steers_a_terminal() -> None:
    stream = io.StringIO()
    open_log(stream, None).info(
        "x", name="a\x1b[31m\r\x85\u2028\u202eb", path=Path("caf\udce9\x00")
    )
    (line,) = stream.getvalue().splitlines()
    assert r"name=a\x1b[31m\x0d\x85\u2028\u202eb" in line
    assert r"path=caf\xe9\x00" in line
    assert "run=" not in line


def test_a_log_may_tell_the_time_of_a_zone_too() -> None:
    stream = io.StringIO()
    open_log(stream, "1", ZoneInfo("Asia/Seoul")).info("x")
    told = facts(stream.getvalue())
    at = datetime.fromisoformat(told["timestamp"]).replace(microsecond=0)
    assert datetime.fromisoformat(told["local"]) == at
    assert told["local"].endswith("+09:00")


def test_each_event_is_a_line_of_facts_with_the_run() -> None:
    stream = io.StringIO()
    log = open_log(stream, "1a2b")
    log.info("written", volume="scratch 123", rows=5, path=Path("/a b"))
    log.error("failed", reason='a "quoted"\nreason = two lines', volume="v")
    first, second = map(facts, stream.getvalue().splitlines())
    assert list(first) == ["timestamp", "level", "event", "run", "volume", "rows", "path"]
    assert datetime.fromisoformat(first.pop("timestamp")).tzname() == "UTC"
    assert first == {
        "level": "info",
        "event": "written",
        "run": "1a2b",
        "volume": "scratch 123",
        "rows": "5",
        "path": "/a b",
    }
    assert (second["level"], second["event"], second["run"]) == ("error", "failed", "1a2b")
    assert second["reason"] == 'a "quoted"\\nreason = two lines'


def test_two_logs_know_nothing_of_each_other() -> None:
    streams = [io.StringIO(), io.StringIO()]
    logs = [open_log(stream, run) for stream, run in zip(streams, ("one", "two"), strict=True)]
    for log in logs:
        log.bind(volume="v").warning("waiting")
    runs = [[facts(line)["run"] for line in stream.getvalue().splitlines()] for stream in streams]
    assert runs == [["one"], ["two"]]


# Progress without a terminal.


def logged(seconds: float, *steps: Progress) -> list[dict[str, str]]:
    stream = io.StringIO()
    tell = progress_log(open_log(stream, "run"), seconds)
    for step in steps:
        tell(step)
    return [facts(line) for line in stream.getvalue().splitlines()]


def test_a_line_tells_how_far_a_volume_is() -> None:
    (told,) = logged(0, progress("v", 250))
    rate = float(told.pop("lines_per_second"))
    del told["timestamp"]
    assert told == {
        "level": "info",
        "event": "reading",
        "run": "run",
        "volume": "v",
        "date": "2026-01-01",
        "percent": "25.0",
        "lines": "7",
    }
    assert rate > 0


def test_of_an_unknown_size_no_share_is_told() -> None:
    (told,) = logged(0, progress("v", 0, 0))
    assert told["percent"] == "-"


def test_nothing_is_told_before_its_time() -> None:
    assert logged(30, *(progress("v", position) for position in range(1000))) == []


def test_each_volume_is_told_in_its_turn() -> None:
    told = logged(0, progress("a", 1), progress("b", 2), progress("a", 3))
    assert [fact["volume"] for fact in told] == ["a", "b", "a"]


def test_each_scan_of_a_volume_is_told_with_its_date_and_a_rate_of_its_own() -> None:
    told = logged(
        0,
        progress("v", 999, lines=10**9),
        progress("v", 1, lines=5, day=2),
        progress("v", 2, lines=6, day=2),
    )
    assert [fact["date"] for fact in told] == ["2026-01-01", "2026-01-02", "2026-01-02"]
    assert told[1]["lines_per_second"] == "0"
    assert int(told[2]["lines_per_second"]) > 0


# Progress on a terminal.


@pytest.mark.parametrize("name", ["scratch123", "[red]odd[/red]"])
def test_each_volume_has_a_bar(name: str) -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, color_system=None, width=120)
    with progress_bars(terminal) as bars:
        bars(progress(name, 500_000, 1_000_000))
        bars(progress("of no known size", 0, 0))
        bars(progress(name, 1_000_000, 1_000_000))
    text = stream.getvalue()
    assert name in text
    assert "of no known size" in text
    assert "1.0/1.0 MB" in text
    assert "lines/s" in text


def test_another_scan_of_a_volume_takes_over_its_bar() -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, color_system=None, width=120)
    with progress_bars(terminal) as bars:
        bars(progress("v", 1_000_000, 1_000_000))
        time.sleep(0.3)
        bars(progress("v", 500_000, 2_000_000, day=2))
    *_, first, last = (line for line in stream.getvalue().split("\r") if "lines/s" in line)
    assert "v 2026-01-01" in first
    assert "v 2026-01-02" in last
    assert "0.5/2.0 MB" in last


def test_bars_leave_nothing_behind_when_reading_fails() -> None:
    stream = io.StringIO()
    terminal = Console(file=stream, force_terminal=True, width=120)
    with suppress(InterruptedError), progress_bars(terminal) as bars:
        bars(progress("v", 1))
        raise InterruptedError
    assert stream.getvalue().endswith("\x1b[1A\x1b[2K")


def test_a_scan_counts_its_entries_on_a_terminal_only() -> None:
    for terminal in (True, False):
        stream = io.StringIO()
        with entry_counter(Console(file=stream, force_terminal=terminal, width=120)) as count:
            count(1_234_567)
            time.sleep(0.3)
        assert ("1,234,567 entries" in stream.getvalue()) == terminal
