"""
What follows each night: volumes that retire, and groups and people who go, are marked as such.

Nothing of theirs is removed.
"""

from collections.abc import Iterator, Sequence
from datetime import date
from functools import partial
from typing import NamedTuple

from sqlalchemy.engine import Connection

from db import upkeep
from db.database import Database, DatabaseFailed
from db.upkeep import TABLES, Kind, Person, Retirement
from lurge.nightly import Result
from lurge.presence import Presence, present_groups, present_users
from lurge_types.config import Config
from lurge_types.reports import Outcome, Status
from utils.names import Names

NAME = "upkeep"

NO_VOLUME = "-"
"""Stands for all volumes where it is told what became of groups and people."""

TOLD = 3
"""How many names are told."""


class Seen(NamedTuple):
    """
    Who is known today.

    gone: nobody knows them any more. back: somebody knows them again. in_doubt: so many would be
    gone that none is taken to be.
    """

    kind: Kind
    gone: Sequence[Person] = ()
    back: Sequence[Person] = ()
    in_doubt: Presence | None = None


def after_night(config: Config, database: Database, names: Names, today: date) -> Iterator[Result]:
    """Store what is configured of volumes, and who is gone; that is told, if it is anything new."""
    volumes = {
        volume.name: Retirement(volume.retired, volume.successor) for volume in config.volume
    }
    try:
        seen = [
            _look(config, names, kind, database.transaction(partial(upkeep.met, kind=kind)))
            for kind in _looked_at(config)
        ]

        def store(connection: Connection) -> None:
            upkeep.retire(connection, volumes)
            for kind, gone, back, _ in seen:
                upkeep.note_absent(connection, kind, (each.number for each in gone), today)
                upkeep.note_absent(connection, kind, (each.number for each in back), None)

        database.transaction(store)
    except DatabaseFailed as error:
        yield Result(Outcome(NAME, NO_VOLUME, "failed", reason=str(error)))
        return
    if remarks := tuple(_remarks(config.names.source, seen, today)):
        count = sum(len(each.gone) for each in seen)
        status: Status = "written" if count else "skipped"
        yield Result(Outcome(NAME, NO_VOLUME, status, rows=count, remarks=remarks))


def _looked_at(config: Config) -> Sequence[Kind]:
    """Users only where somebody could know any."""
    no_users = config.names.source == "files" and config.names.user_file is None
    return [kind for kind in TABLES if not (kind == "user" and no_users)]


def _look(config: Config, names: Names, kind: Kind, met: Sequence[Person]) -> Seen:
    if kind == "group":
        now, _ = present_groups(config, names, met)
    else:
        now = present_users(names, met)
    if now.in_doubt:
        return Seen(kind, in_doubt=now if now.gone else None)
    back = [each for each in met if each.absent_since and each.number in now.known]
    return Seen(kind, now.gone, back)


def _remarks(source: str, seen: Sequence[Seen], today: date) -> Iterator[str]:
    for kind, gone, _, in_doubt in seen:
        if gone:
            first = ", ".join(each.name for each in gone[:TOLD])
            more = ", ..." if len(gone) > TOLD else ""
            words = f"a {kind}" if len(gone) == 1 else f"{len(gone):,} {kind}s"
            yield (
                f"names.source = {source} does not know {words} any more, absent since {today}: "
                f"{first}{more}"
            )
        if in_doubt:
            yield in_doubt.doubt(source, "nobody is marked as absent")
