"""What people read on a terminal: sizes in their units, tables without surprises."""

from collections.abc import Iterable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

WIDTH_WITHOUT_TERMINAL = 140
LEAST = 40
"""So many columns of a terminal what gives way in a table has beside the rest."""

GAP = 2
NOTHING = frozenset({"", "-"})
"""Cells that say that there is nothing."""

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
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    right: Iterable[str] = (),
    give: Iterable[str] | None = None,
) -> Table:
    """
    A table of plain text: nothing in a cell is taken for markup.

    right: columns of figures. give: columns that give way where there is no room, such as paths;
    cells of others are never folded. None: all.
    """
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=give is not None and column not in give,
        )
    for row in rows:
        made.add_row(*map(Text, row))
    return made


def print_table(console: Console, made: Table) -> None:
    """
    Print a table. What has to give way goes below its row, unbroken, where there is too little room
    for it beside the rest.
    """
    giving = [column for column in made.columns if not column.no_wrap]
    least = [_width(each) if each.no_wrap else min(_width(each), LEAST) for each in made.columns]
    is_wide = sum(least) + GAP * (len(least) - 1) <= console.width
    if is_wide or len(giving) in {0, len(made.columns)}:
        console.print(made)
        return
    for line in _stacked(made):
        console.print(line, soft_wrap=True)


def _width(column: Column) -> int:
    return max(cell_len(str(each)) for each in (column.header, *column.cells))


def _stacked(made: Table) -> Iterator[Text]:
    """The lines of a table, with those of what gives way below each row."""
    staying = [column for column in made.columns if column.no_wrap]
    giving = [column for column in made.columns if not column.no_wrap]
    places = [(_width(each), each.justify == "right") for each in staying]
    yield Text(str(made.title), style="italic")
    yield _row(places, (str(column.header) for column in staying), style="bold")
    yield Text("  " + ", ".join(str(column.header) for column in giving), style="bold")
    rows = zip(*(column.cells for column in staying), strict=True)
    below = zip(*(column.cells for column in giving), strict=True)
    for row, cells in zip(rows, below, strict=True):
        yield _row(places, map(str, row))
        yield from (Text(f"  {cell}") for cell in cells if str(cell) not in NOTHING)


def _row(places: Sequence[tuple[int, bool]], cells: Iterable[str], style: str = "") -> Text:
    """Cells in columns of some widths, to the right in some."""
    padded = []
    for (width, is_right), cell in zip(places, cells, strict=True):
        room = " " * (width - cell_len(cell))
        padded.append(room + cell if is_right else cell + room)
    return Text((" " * GAP).join(padded).rstrip(), style=style)
