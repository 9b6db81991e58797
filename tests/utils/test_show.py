"""What people read: sizes in the unit they would use, tables of just what is in the cells."""

import io
import sys

import children
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from utils.show import UNITS, console, print_table, size, table


@pytest.mark.parametrize(
    ("count", "form"),
    [
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (2**20 - 52, "1023.9 KiB"),
        (2**20 - 51, "1.0 MiB"),
        (2**20, "1.0 MiB"),
        (10**9, "953.7 MiB"),
        (2**30 - 1, "1.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
        (2**50, "1.0 PiB"),
        (2**60, "1.0 EiB"),
        (2**63 - 1, "8.0 EiB"),
        (2**80, "1048576.0 EiB"),
    ],
)
def test_a_size_is_in_the_unit_that_people_would_use(count: int, form: str) -> None:
    assert size(count) == form


@given(st.integers(0, 2**63 - 1))
def test_a_size_is_right_to_its_last_digit(count: int) -> None:
    figure, unit = size(count).split()
    factor = 1024 ** UNITS.index(unit)
    assert abs(float(figure) * factor - count) <= 0.0501 * factor * (unit != "B")
    assert float(figure) < 1024


def shown(*rows: tuple[str, ...], width: int = 60) -> list[str]:
    stream = io.StringIO()
    made = table("Groups", ("group", "used"), rows, right=("used",))
    Console(file=stream, width=width).print(made)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def test_figures_stand_at_the_right() -> None:
    assert shown(("team", "5"), ("a", "1,000")) == [
        "Groups",
        "group   used",
        "team       5",
        "a      1,000",
    ]


@pytest.mark.parametrize("cell", ["[red]x[/red]", "[/]", "[link=x]", ":smile:", "\\[x]", "a\\tb"])
def test_a_cell_is_shown_as_it_is(cell: str) -> None:
    assert shown((cell, "5"))[-1].split("  ")[0] == cell


def test_nothing_of_a_long_cell_is_left_out() -> None:
    path = "/lustre/scratch123/" + "x" * 100
    rows = shown((path, "5"), width=40)[2:]
    assert "".join(row.split()[0] for row in rows) == path


def test_without_a_terminal_a_table_is_wide_and_plain() -> None:
    printed = children.run(
        """
        from utils.show import console, table

        path = "/x" * 50
        console().print(table("T", ("path", "used"), [(path, "1.0 GiB")]))
        """
    )
    title, header, row = (line.rstrip() for line in printed.splitlines())
    assert (title, header.split(), row.split()) == (
        "T",
        ["path", "used"],
        ["/x" * 50, "1.0", "GiB"],
    )


def test_messages_go_to_their_own_stream() -> None:
    assert console(stderr=True).file is sys.stderr
    assert console().file is sys.stdout


def printed(width: int, *, paths: int) -> list[str]:
    out = io.StringIO()
    made = table(
        "Units",
        ("unit", "since", "files", "path", "why"),
        [
            ("0123456789ab-000001", "2026-01-02", "1,234", "/" + "x" * paths, ""),
            ("0123456789ab-000002", "2026-01-02", "5", "/y", "says [bold] no"),
        ],
        right=("files",),
        give=("path", "why"),
    )
    print_table(Console(file=out, width=width, force_terminal=True, color_system=None), made)
    return out.getvalue().splitlines()


def test_paths_give_way_to_what_is_not_folded() -> None:
    told = printed(105, paths=80)
    assert all(len(line) <= 105 for line in told)
    assert told[2].startswith("0123456789ab-000001  2026-01-02  1,234  /xxx")
    assert told[3].strip() == "x" * len(told[3].strip())
    assert "".join(told[2:4]).count("x") == 80


def test_where_there_is_no_room_for_paths_they_go_below_and_are_not_broken() -> None:
    assert printed(60, paths=80) == [
        "Units",
        "unit                 since       files",
        "  path, why",
        "0123456789ab-000001  2026-01-02  1,234",
        "  /" + "x" * 80,
        "0123456789ab-000002  2026-01-02      5",
        "  /y",
        "  says [bold] no",
    ]
