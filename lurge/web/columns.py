"""The columns of a table: how a value is shown to people, and how it is written for programs."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from lurge_types.reports import WARNINGS
from utils import show

Kind = (
    Literal["text", "path", "shares", "bytes", "count", "percent", "days", "cost"]
    | Literal["date", "level", "flag", "hard_links", "names"]
)

Link = Callable[[Any], str | None]
"""Where a row's cell leads, if anywhere."""

Several = Callable[[Any], Iterable[tuple[str, str | None]]]
"""The texts of a row's cell, each with where it leads, if anywhere."""

NOTHING = "-"

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""With what a cell of text begins that spreadsheets would compute."""

NAMES_SHOWN = 10
"""How many names people see in a cell."""

FIGURES = frozenset({"bytes", "count", "percent", "days", "cost"})


@dataclass(frozen=True, slots=True)
class Column:
    """
    key: the column's name for programs. title: its name for people. hint: what it means, where the
    title does not tell. of: the attribute of a row, where it is not called like the column.
    shows: what people see instead of the value.
    """

    key: str
    title: str
    kind: Kind = "text"
    link: Link | None = None
    sortable: bool = True
    hint: str = ""
    of: str | None = None
    shows: Several | None = None

    @property
    def is_figure(self) -> bool:
        """Whether cells stand to the right."""
        return self.kind in FIGURES

    def value(self, row: object) -> object:
        """What a program gets."""
        return getattr(row, self.of or self.key)

    def shown(self, row: object) -> str:
        """What people see."""
        return shown(self.kind, self.value(row))

    def href(self, row: object) -> str | None:
        """Where the cell leads."""
        return self.link(row) if self.link else None

    def for_spreadsheet(self, row: object) -> object:
        """What a CSV file has: no text that a spreadsheet would take for a formula."""
        value = self.value(row)
        if isinstance(value, str) and value.startswith(FORMULA):
            return f"'{value}"
        return "" if value is None else _plain(value)

    def for_json(self, row: object) -> object:
        """What JSON has: decimals are numbers, dates text."""
        return for_json(self.value(row))


def for_json(value: object) -> object:
    """
    A value as JSON has it.

    >>> for_json(Decimal("1.5")), for_json(date(2026, 1, 2)), for_json(None)
    (1.5, '2026-01-02', None)
    """
    match value:
        case Decimal():
            return float(value)
        case date():
            return value.isoformat()
        case _:
            return value


def _plain(value: object) -> object:
    return ("yes" if value else "no") if isinstance(value, bool) else value


def shown(kind: Kind, value: Any) -> str:  # noqa: PLR0911 - one for each kind
    """
    A value for people.

    >>> shown("bytes", 2048), shown("count", 12345), shown("percent", Decimal("81.2"))
    ('2.0 KiB', '12,345', '81.2 %')
    >>> shown("level", 2), shown("flag", True), shown("date", None)
    ('Kinda OK', 'yes', '-')
    """
    if value is None:
        return NOTHING
    match kind:
        case "bytes":
            return show.size(value)
        case "count" | "cost":
            return f"{value:,}"
        case "percent":
            return f"{value:,} %"
        case "days":
            return f"{value:,} d"
        case "level":
            return WARNINGS.get(value, str(value))
        case "flag":
            return "yes" if value else ""
        case "names":
            names = value.split(",")
            more = len(names) - NAMES_SHOWN
            return ", ".join(names[:NAMES_SHOWN]) + (f" and {more:,} more" if more > 0 else "")
        case "hard_links":
            return "only the vault has it" if value == 1 else f"{value:,}"
        case _:
            return str(value)
