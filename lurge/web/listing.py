"""
A table that people sort, filter, page through and download: defined once for pages, CSV, TSV, JSON.

All that is asked for stands in the URL: filters by their names, `sort=KEY` or `sort=-KEY`, `page`
and `rows`. What is not known there is refused in words.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError
from sqlalchemy.engine import Connection
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import BadRequest

from db.sight.paging import Part, Rows
from lurge.web.columns import Column
from lurge_types.sight import Sight
from utils import tsv

LARGEST_NUMBER = (1 << 63) - 1
"""That a database knows."""

MOST_ROWS = 500
MOST_PAGES = 1_000_000
MOST_WORDS = 10
IN_MEMORY = 1 << 20
"""Bytes of a download that are kept in memory; more lie in a temporary file."""

Form = Literal["csv", "tsv"]
MIME: Mapping[Form, str] = {"csv": "text/csv", "tsv": "text/tab-separated-values"}

Words = Annotated[str, Field(max_length=1000)]


def few(words: str) -> str:
    """Words that are looked for in many rows, as they are. Raises ValueError."""
    if len(words.split()) > MOST_WORDS:
        raise ValueError(f"no more than {MOST_WORDS} words")
    return words


FewWords = Annotated[Words, AfterValidator(few)]

PAGING = {"rows", "page", "after"}
"""Those of a URL's parameters that tell which page of a table is shown."""


class Parameters(BaseModel):
    """Those of a URL, which are added by subclasses; it has no others."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def query(self, **changes: object) -> dict[str, object]:
        """The URL's parameters, some of them changed; those that are as always are left out."""
        changed = self.model_copy(update=changes)
        return changed.model_dump(exclude_defaults=True, by_alias=True)


AnyAsked = TypeVar("AnyAsked", bound=Parameters)


class Query(Parameters):
    """What is asked of a page with a table; its filters are added by subclasses."""

    rows: Annotated[int, Field(ge=1, le=MOST_ROWS)] = 50

    def of_all(self, **changes: object) -> dict[str, object]:
        """The same of all rows, whichever page is shown."""
        query = self.query(**changes)
        return {key: value for key, value in query.items() if key not in PAGING}


class Asked(Query):
    """What is asked of a table that is sorted and has pages by their numbers."""

    sort: Words = ""
    page: Annotated[int, Field(ge=1, le=MOST_PAGES)] = 1


def parse(model: type[AnyAsked], arguments: "MultiDict[str, str]") -> AnyAsked:
    """
    What a URL asks for; empty parameters are none.

    Raises BadRequest with every problem.
    """
    if twice := sorted(key for key, values in arguments.lists() if len(values) > 1):
        raise BadRequest(f"more than once: {', '.join(twice)}")
    try:
        return model.model_validate({key: value for key, value in arguments.items() if value})
    except ValidationError as error:
        raise BadRequest("; ".join(_problems(error))) from error


def _problems(error: ValidationError) -> Iterator[str]:
    for problem in error.errors(include_url=False, include_input=False):
        key = ".".join(map(str, problem["loc"]))
        unknown = problem["type"] == "extra_forbidden"
        yield f"{key}: {'there is no such parameter' if unknown else problem['msg']}"


Reader = Callable[[Connection, Sight, Any, Part], Rows[Any]]


@dataclass(frozen=True, slots=True)
class Listing:
    """
    sort: the column that it is sorted by if nothing else is asked for, behind a minus where the
    largest come first. read: takes what is asked and which part, gives its rows.
    """

    columns: Sequence[Column]
    asked: type[Asked]
    sort: str
    read: Reader

    def part(self, asked: Asked, *, everything: bool = False) -> Part:
        """
        Which rows are asked for.

        Raises BadRequest where they cannot be sorted so.
        """
        sort = asked.sort or self.sort
        key = sort.removeprefix("-")
        keys = [column.key for column in self.columns if column.sortable]
        if key not in keys:
            raise BadRequest(f"sort: one of {', '.join(keys)}, or with a minus in front")
        if everything:
            return Part(key, sort.startswith("-"))
        return Part(key, sort.startswith("-"), (asked.page - 1) * asked.rows, asked.rows)

    def shown(self, connection: Connection, sight: Sight, asked: Asked) -> "Shown":
        """A page of the table."""
        part = self.part(asked)
        found = self.read(connection, sight, asked, part)
        return Shown(self, asked, part, list(found.rows), found.total)

    def download(self, connection: Connection, sight: Sight, asked: Asked, form: Form) -> IO[bytes]:
        """All rows as a file, which whoever gets it closes."""
        found = self.read(connection, sight, asked, self.part(asked, everything=True))
        return written(self.columns, found.rows, form)


def written(columns: Sequence[Column], rows: Iterable[object], form: Form) -> IO[bytes]:
    """Rows as a file, which whoever gets it closes."""
    return filed(_csv(columns, rows) if form == "csv" else _tsv(columns, rows))


def filed(lines: Iterable[str]) -> IO[bytes]:
    """Lines as a file, likewise."""
    file = SpooledTemporaryFile(IN_MEMORY)  # noqa: SIM115 - it is handed on
    try:
        for line in lines:  # all at once they would lie in memory before they are counted
            file.write(line.encode("utf-8"))
    except BaseException:
        file.close()
        raise
    return file


def as_json(columns: Sequence[Column], rows: Iterable[object]) -> list[dict[str, object]]:
    """Rows for programs."""
    return [{column.key: column.for_json(row) for column in columns} for row in rows]


def _tsv(columns: Sequence[Column], rows: Iterable[object]) -> Iterator[str]:
    keys = [column.key for column in columns]
    return tsv.lines(keys, ([column.value(row) for column in columns] for row in rows))


def _csv(columns: Sequence[Column], rows: Iterable[object]) -> Iterator[str]:
    line = io.StringIO()
    writer = csv.writer(line)
    writer.writerow(column.key for column in columns)
    for row in rows:
        writer.writerow(column.for_spreadsheet(row) for column in columns)
        yield line.getvalue()
        line.seek(0)
        line.truncate()
    yield line.getvalue()


@dataclass(frozen=True, slots=True)
class Shown:
    """A page of a table. total: how many rows there are on all pages."""

    listing: Listing
    asked: Asked
    part: Part
    rows: Sequence[Any]
    total: int

    @property
    def first(self) -> int:
        """The number of the first row, from 1 on."""
        return self.part.first + 1

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.part.first + len(self.rows)

    def sorted_by(self, column: Column) -> dict[str, object]:
        """The URL's parameters with which the table is sorted by a column; again: the other way."""
        largest_first = column.is_figure
        if self.part.sort == column.key:
            largest_first = not self.part.descending
        return self.asked.query(sort=f"-{column.key}" if largest_first else column.key, page=1)

    def order(self, column: Column) -> str | None:
        """How the table is sorted by a column, in HTML's words; None if it is not."""
        if self.part.sort != column.key:
            return None
        return "descending" if self.part.descending else "ascending"

    @property
    def before(self) -> dict[str, object] | None:
        """The URL's parameters of the page before, or of the last there is; None on the first."""
        page = min(self.asked.page - 1, self._pages)
        return self.asked.query(page=page) if page else None

    @property
    def after(self) -> dict[str, object] | None:
        """The URL's parameters of the next page; None where there is none."""
        page = self.asked.page + 1
        return self.asked.query(page=page) if page <= self._pages else None

    @property
    def _pages(self) -> int:
        return -(-self.total // self.asked.rows)

    def as_json(self) -> dict[str, object]:
        """The page for programs."""
        return {
            "total": self.total,
            "page": self.asked.page,
            "rows": as_json(self.listing.columns, self.rows),
        }
