"""What people see of a night: who is warned, before who is largest."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from rich.console import Console
from servers import nights

from lurge import outcomes
from lurge.nightly import Result
from lurge_types.forecasts import Forecast
from lurge_types.reports import LARGEST_SHOWN, GroupReport, Outcome
from lurge_types.scans import Volume

DAY = nights.DAY
WIDTH = 100


def row(gid: int, warning: int = 1, likely: int | None = None, **facts: Any) -> GroupReport:
    """A group and in how many days it is full."""
    forecast = Forecast(likely=None if likely is None else DAY + timedelta(days=likely))
    known: dict[str, Any] = {"foretold_bytes": forecast, "used_bytes": 1, "quota_bytes": 100}
    return nights.row(nights.group(gid), warning=warning, **(known | facts))


def shown(*volumes: Sequence[GroupReport], day: date = DAY) -> list[str]:
    """The lines that a terminal shows of some volumes."""
    console = Console(width=WIDTH, force_terminal=False)
    results = []
    for number, rows in enumerate(volumes):
        run = nights.run(day, Volume(f"scratch{number}"))
        results.append(Result(Outcome("reporter", run.volume, "written", run, len(rows)), rows))
    with console.capture() as captured:
        for table in outcomes.tables(results):
            console.print(table)
    return captured.get().splitlines()


def part(lines: Sequence[str], title: str) -> list[list[str]]:
    """The words of each line of the table with a title."""
    first = next(number for number, line in enumerate(lines) if line.startswith(title))
    table = []
    for line in lines[first + 1 :]:
        if line.startswith(("Largest", "Reports")):
            break
        table.append(line.split())
    return table


def test_the_worst_come_first_of_all_volumes() -> None:
    lines = shown(
        [row(1, 2, 1), row(2, 3, 9), row(3)],
        [row(4, 3, 3), row(5, 3, None, used_bytes=97), row(6, 3, None, used_bytes=99)],
    )
    assert lines[0].rstrip() == "Warnings (5 of 5)"
    assert [words[1] for words in part(lines, "Warnings")[1:]] == [
        f"team{gid}" for gid in (4, 2, 6, 5, 1)
    ]


def test_of_many_warnings_the_first_are_shown() -> None:
    lines = shown([row(gid, 3, gid) for gid in range(1, 31)])
    assert lines[0].rstrip() == f"Warnings ({outcomes.WARNED_SHOWN} of 30)"
    assert len(part(lines, "Warnings")) == 1 + outcomes.WARNED_SHOWN


def test_without_warnings_there_is_no_table_of_them() -> None:
    lines = shown([row(1), row(2)])
    assert lines[0].rstrip() == "Largest groups (2 of 2)"


def test_who_is_warned_but_small_is_not_among_the_largest() -> None:
    large = [row(gid, used_bytes=1000 + gid) for gid in range(1, LARGEST_SHOWN + 1)]
    lines = shown([*large, row(99, 3)])
    assert f"Largest groups ({LARGEST_SHOWN} of {LARGEST_SHOWN + 1})" in map(str.rstrip, lines)
    assert "team99" not in {words[1] for words in part(lines, "Largest groups")}


def test_a_warning_tells_the_quota_that_is_full_first_and_how_sure_that_is() -> None:
    days = [DAY + timedelta(days=number) for number in (101, 60, 230)]
    warning = row(
        11,
        3,
        300,
        quota_inodes=100,
        inodes=90,
        foretold_inodes=Forecast("theil-sen", 1, 1, 1, *days),
    )
    told = " ".join(part(shown([warning]), "Warnings")[1])
    assert told == "scratch1 team11 Doe 11 Not OK 1.0 90.0 2026-06-10 (inodes) 101 (60 to 230)"


def test_a_warning_tells_of_the_quota_that_may_be_full_in_days_not_of_one_that_will_in_years() -> (
    None
):
    bytes_, inodes = ([DAY + timedelta(days=each) for each in some] for some in ((900, 800), (8,)))
    warning = row(
        11,
        3,
        None,
        quota_inodes=100,
        inodes=93,
        foretold_bytes=Forecast("theil-sen", 1, 1, 1, *bytes_),
        foretold_inodes=Forecast("no-change", 0, 1, 1, None, *inodes),
    )
    lines = shown([row(12, 3, 20), warning])
    told = [" ".join(words) for words in part(lines, "Warnings")[1:]]
    assert told[0].endswith("93.0 - (inodes) - (8 or more)")
    assert "team12" in told[1]


@pytest.mark.parametrize(
    ("likely", "earliest", "latest", "told"),
    [
        (None, None, None, "-"),
        (0, 0, 0, "0"),
        (4, None, None, "4"),
        (4, 2, 9, "4 (2 to 9)"),
        (4, 2, None, "4 (2 or more)"),
        (None, 2, None, "- (2 or more)"),
    ],
)
def test_days_to_go_are_told_as_far_as_they_are_known(
    likely: int | None, earliest: int | None, latest: int | None, told: str
) -> None:
    days = [
        None if each is None else DAY + timedelta(days=each) for each in (likely, earliest, latest)
    ]
    assert outcomes.in_days(Forecast("theil-sen", 1, 1, 1, *days), DAY) == told


def test_days_are_counted_from_the_record_date() -> None:
    lines = shown([row(11, 3, 9)], day=DAY + timedelta(days=2))
    assert part(lines, "Warnings")[1][-2:] == ["2026-03-10", "7"]


def test_the_tables_of_groups_fit_a_terminal() -> None:
    days = [DAY + timedelta(days=number) for number in (101, 60, 1230)]
    warned = nights.row(
        nights.group(4321, name="psoriasis_cohort"),
        Volume("scratch123"),
        warning=2,
        foretold_bytes=Forecast("theil-sen", 1, 1, 1, *days),
    )
    lines = shown([warned])
    assert max(len(line.rstrip()) for line in lines) <= WIDTH
    assert len(part(lines, "Warnings")) == 2
