"""A part of a table, as people ask for it: in which order, from where on, how many rows."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection

Record = TypeVar("Record")

FETCHED_AT_ONCE = 1000


@dataclass(frozen=True, slots=True)
class Part:
    """
    sort: the name of a column, whose unknown values come last. first: how many rows are left out.
    count: how many are given at most; None for all.
    """

    sort: str
    descending: bool = False
    first: int = 0
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Rows(Generic[Record]):
    """Some rows, which may be read once, and how many there are in all."""

    rows: Iterator[Record]
    total: int


def total(connection: Connection, select: sql.Select[Any]) -> int:
    """How many rows there are."""
    return connection.scalar(sql.select(sql.func.count()).select_from(select.subquery())) or 0


def take(
    connection: Connection,
    select: sql.Select[Any],
    part: Part,
    sorts: Mapping[str, sql.ColumnElement[Any]],
    last: Sequence[sql.ColumnElement[Any]],
) -> Iterator[sql.Row[Any]]:
    """
    The rows of a part.

    sorts: what each column is sorted by. last: what tells rows apart that are alike in it.
    """
    key = sorts[part.sort]
    order = key.desc() if part.descending else key.asc()
    select = select.order_by(key.is_(None), order, *last).limit(part.count)
    if part.first:
        select = select.offset(part.first)
    streamed = connection.execution_options(yield_per=FETCHED_AT_ONCE)
    yield from streamed.execute(select)
