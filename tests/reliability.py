"""
The tables of docs/reliability.md, counted from what tests of the archiver have shown.

Each case that passes leaves a property, `("matrix", (row, column))`, which comes here whichever
process has run it. A session that runs all of a module in `MODULES` compares its counts with the
document's, and prints its own if they are others, as with another Python or SQLite, whose calls are
counted; with LURGE_WRITE_DOCS=1 it writes them.
"""

import os
from collections import Counter
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"
BEGIN, END = "<!-- counted by {} -->\n", "<!-- end -->\n"
MODULES = ("test_matrix.py", "test_weather.py")

ANY = "at any time"

ROWS = (
    "planning",
    "planned",
    "claimed",
    "copied",
    "verified",
    "binned",
    "deleting",
    "deleted",
    "restoring from the bin",
    "restoring from a copy",
    "restored",
    ANY,
)
LEFT = "left over: "

counted: dict[str, Counter[tuple[str, str]]] = {module: Counter() for module in MODULES}


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    if report.when == "call" and report.passed:
        module = Path(report.nodeid.partition("::")[0]).name
        for name, value in report.user_properties:
            if name == "matrix" and isinstance(value, list | tuple):
                row, column = map(str, value)
                counted[module][row, column] += 1


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare the tables, where all of a module was run."""
    config = session.config
    is_part = config.option.keyword or any("::" in arg for arg in config.args)
    if hasattr(config, "workerinput") or is_part or session.testsfailed:
        return
    for module, counts in counted.items():
        if counts:
            _compare(module, tables(counts))


def _compare(module: str, found: str) -> None:
    """Print what a module has shown, or write it, where the document has it otherwise."""
    if os.environ.get("LURGE_EVERY_MOMENT"):
        print(f"\n{found}")
        return
    page = PAGE.read_text(encoding="utf-8")
    before, begin, rest = page.partition(BEGIN.format(module))
    there, _, after = rest.partition(END)
    if there == found:
        return
    if os.environ.get("LURGE_WRITE_DOCS"):
        PAGE.write_text(f"{before}{begin}{found}{END}{after}", encoding="utf-8")
        return
    print(f"\n{PAGE} does not have these counts: LURGE_WRITE_DOCS=1 writes them\n{found}")


def tables(counts: Counter[tuple[str, str]]) -> str:
    """What was counted: how many cases have passed, and what they have left over."""
    left = [row for row, _ in counts if row.startswith(LEFT)]
    cases = [row for row, _ in counts if not row.startswith(LEFT)]
    total = sum(count for (row, _), count in counts.items() if row in set(cases))
    shown = f"\n{table(counts, cases, ROWS, 'while it is')}\n{total} cases in all."
    if not left:
        return f"{shown} In none of them anything was left over in the end.\n\n"
    return (
        f"{shown} What was left over in the end, in how many of them:\n\n"
        f"{table(counts, left, (), 'left over')}\n"
    )


def table(
    counts: Counter[tuple[str, str]], rows: list[str], order: tuple[str, ...], corner: str
) -> str:
    """In lines of disturbances, as there are more of them than of steps."""
    known = {row: number for number, row in enumerate(order)}
    chosen = sorted(set(rows), key=lambda row: (known.get(row, len(known)), row))
    columns = sorted({column for row, column in counts if row in set(rows)})
    heads = [row.removeprefix(LEFT) for row in chosen]
    lines = [[f"what happens, {corner}", *heads], ["---", *["--:" for _ in heads]]]
    lines += [[column, *[str(counts[row, column] or "") for row in chosen]] for column in columns]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
