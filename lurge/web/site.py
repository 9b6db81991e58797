"""What every page is made of: the configuration, the database, and who may see what of it."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TypeVar

from flask import g
from sqlalchemy.engine import Connection

from db.database import Database
from lurge.web.visitors import Visitor, Visitors
from lurge_types.config import Config
from lurge_types.sight import Sight

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Site:
    """A site whose pages are shown."""

    config: Config
    database: Database
    visitors: Visitors

    def look(self, act: Callable[[Connection, Sight], T]) -> T:
        """
        Read, of one moment, what whoever asks may see.

        Raises DatabaseFailed.
        """
        sight = visitor().sight
        return self.database.read(lambda connection: act(connection, sight))

    def today(self) -> date:
        """The day in UTC, as everywhere."""
        return datetime.now(UTC).date()


def visitor() -> Visitor:
    """Who asks for the page that is being made."""
    found: Visitor = g.visitor
    return found
