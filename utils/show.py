"""What people read on a terminal: sizes in their units, tables without surprises."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 140
UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size(count: int) -> str:
    """
    Bytes in the unit that people would use.

    >>> size(999), size(1024), size(2**20 - 1), size(5 * 2**40 + 2**39), size(2**63 - 1)
    ('999 B', '1.0 KiB', '1.0 MiB', '5.5 TiB', '8.0 EiB')
    """
    value = float(count)
    for unit in UNITS[:-1]:
        if round(value, 1) < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} {UNITS[-1]}"


def count(number: int, of: str, many: str | None = None) -> str:
    """
    How many there are of something.

    >>> count(1, "unit"), count(1200, "unit"), count(0, "copy", "copies")
    ('1 unit', '1,200 units', '0 copies')
    """
    return f"{number:,} {of if number == 1 else many or of + 's'}"


def console(*, stderr: bool = False, plain: bool = False) -> Console:
    """
    Where to write; without a terminal a table may be wider than 80 columns.

    plain: what looks like a terminal is none.
    """
    made = Console(stderr=stderr, highlight=False, force_terminal=False if plain else None)
    if not made.is_terminal:
        made.width = WIDTH_WITHOUT_TERMINAL
    return made


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, right: Iterable[str] = ()
) -> Table:
    """A table of plain text: nothing in a cell is taken for markup. `right`: columns of figures."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(Text, row))
    return made
