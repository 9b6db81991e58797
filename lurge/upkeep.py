"""
What follows each night: volumes that retire, and groups and people who go, are marked as such.

Nothing of theirs is removed. A directory that is down or empty is not taken for one that everybody
has left.
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
from lurge_types.config import Config
from lurge_types.reports import Outcome, Status
from utils.names import Names, shown

NAME = "upkeep"

NO_VOLUME = "-"
"""Stands for all volumes where it is told what became of groups and people."""

TOLD = 3
"""How many names are told."""


class Seen(NamedTuple):
    """
    Who is known today.

    gone: nobody knows them any more. back: somebody knows them again. in_doubt: so many were known
    and none is now, which says nothing of any of them.
    """

    kind: Kind
    gone: Sequence[Person] = ()
    back: Sequence[Person] = ()
    in_doubt: int = 0


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
    pseudo = {group.gid for group in config.pseudo_groups.values()} if kind == "group" else set()
    theirs = [each for each in met if each.number not in pseudo]
    known = _known(names, kind, [each.number for each in theirs])
    once = [each for each in theirs if _was_known(kind, each)]
    telling = [each for each in once if not is_local(each.number)] or once
    if telling and not any(each.number in known for each in telling):
        return Seen(kind, in_doubt=len(telling))
    there = known | pseudo
    return Seen(
        kind,
        [each for each in once if not (each.number in known or each.absent_since)],
        [each for each in met if each.absent_since and each.number in there],
    )


def _known(names: Names, kind: Kind, numbers: Sequence[int]) -> set[int]:
    found = names.groups(numbers) if kind == "group" else names.users(numbers)
    return {number for number, each in found.items() if each.known}


def _was_known(kind: Kind, each: Person) -> bool:
    """Whether any night knew it: a number that none knew is stored with a name made of it."""
    return each.name != shown("gid" if kind == "group" else "uid", each.number, b"", each.number)


def is_local(number: int) -> bool:
    """
    Whether a machine is likely to know a group or user by itself, though its directory is down.

    The ranges are those of Debian's policy, 9.2.2.

    >>> [number for number in (0, 999, 1000, 59_999, 65_534, 70_000) if is_local(number)]
    [0, 999, 65534]
    """
    return number < 1000 or 60_000 <= number <= 65_535


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
            yield (
                f"names.source = {source} knows none of {in_doubt:,} {kind}s that were known: "
                "nobody is marked as absent; see whether it is down or empty"
            )
