"""What belongs to users and groups that nobody knows any more; nothing is written."""

from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from typing import Literal, NamedTuple

from sqlalchemy.engine import Connection

from db import orphans, pages
from db.database import Database
from db.orphans import Place, Use
from db.pages import Stored
from db.upkeep import Kind, Person
from lurge.presence import Presence, present_groups, present_users, was_known
from lurge_types.config import Config
from lurge_types.names import Group
from utils import tsv
from utils.names import Names, NamesMissing
from utils.paths import raw, text

By = Literal["owner", "user", "group", "pi", "directory"]

REPORTS: Mapping[By, tuple[str, ...]] = {
    "owner": ("users", "reporter"),
    "user": ("users",),
    "group": ("users", "reporter"),
    "pi": ("users", "reporter"),
    "directory": ("inspector",),
}
"""Whose records tell it."""

LEFT_OUT = {
    "users": "what users have there is left out",
    "reporter": "what groups have there is left out",
    "inspector": "its directories are left out",
}
"""Where one of them is missing."""

Chosen = Mapping[str, Stored]
"""A volume's newest runs by their reports."""


class NothingRecorded(Exception):
    """No volume has a record to look into: which, why, and what to do."""


class Orphan(NamedTuple):
    """
    A user or group that nobody knows.

    number: the uid or gid; below 0 where only the name is known, from an imported database.
    name: the last one that was known; a placeholder if none ever was.
    absent_since: from when on nobody knew them any more, if a night has noted it.
    """

    kind: Kind
    number: int
    name: str
    absent_since: date | None

    @property
    def never_known(self) -> bool:
        """Whether nobody has known them since they were first recorded."""
        return not was_known(self.kind, self.number, self.name)

    @property
    def since(self) -> str:
        """Since when they are absent, for people."""
        return "never known" if self.never_known else tsv.text_of(self.absent_since)


@dataclass(frozen=True, slots=True)
class Row:
    """
    What an orphan has left on a volume, or several in a group, or with an investigator.

    owner, group: None where it is summed over several. pi: the group's now, or else the last one
    that is recorded. inodes: in a directory its files alone.
    users, groups: how many unknown users there are, and in how many groups.
    """

    volume: str
    used_bytes: int
    inodes: int
    last_modified: date | None
    owner: Orphan | None = None
    group: Group | None = None
    pi: str | None = None
    base_directory: str | None = None
    directory: str | None = None
    users: int = 0
    groups: int = 0


@dataclass(frozen=True, slots=True)
class Orphans:
    """
    What belongs to nobody known, the largest first, and what to know of it in words.

    total: the sum of all, in which everything counts once; users, groups: how many orphans.
    """

    by: By
    rows: Sequence[Row]
    total_bytes: int
    total_inodes: int
    users: int
    groups: int
    remarks: Sequence[str]


class Question(NamedTuple):
    """
    What is asked.

    volumes: all that are not retired, if there is none. absent_since: only of those who have been
    absent since this day or longer. today: decides which volumes are retired.
    """

    by: By
    volumes: Sequence[str]
    absent_since: date | None
    today: date


class Found(NamedTuple):
    """What was found on a volume: of a user, or of a group where there is none."""

    volume: str
    user: Orphan | None
    what: Use | Place


def run(database: Database, config: Config, names: Names, asked: Question) -> Orphans:
    """
    Find what belongs to nobody known.

    Raises NothingRecorded, NamesMissing where the source of names is not believed, DatabaseFailed.
    """
    by = asked.by
    chosen, remarks = database.transaction(partial(_choose, asked=asked))
    holders = database.transaction(orphans.users)
    asked_for = [present_users(names, holders.values())]
    users = _lost(holders, asked_for[0], asked.absent_since)
    look = partial(_homes, deeper=config.inspector.deeper) if by == "directory" else _uses
    found = database.transaction(partial(look, chosen=chosen, users=users))
    # After what is found: so that every group of it is there.
    holders = database.transaction(orphans.groups)
    now, named = present_groups(config, names, holders.values())
    groups = _groups(holders, now, named)
    lost: Mapping[int, Orphan] = {}
    if by != "user":
        asked_for.append(now)
        lost = _lost(holders, now, asked.absent_since)
    doubts = _doubts(config.names.source, asked_for)
    if by == "directory":
        found = [each for each in found if each.what.group_id not in lost]
        found += database.transaction(partial(_directories, chosen=chosen, group_ids=lost.keys()))
        pages.check(database, [stored for of in chosen.values() for stored in of.values()])
    rows = database.transaction(partial(_rows, found=found, groups=groups, lost=lost))
    counted = _once(rows)
    owners = {row.owner for row in rows if row.owner}
    return Orphans(
        by,
        sorted(_summed(by, rows), key=_order),
        sum(row.used_bytes for row in counted),
        sum(row.inodes for row in counted),
        users=sum(owner.kind == "user" for owner in owners),
        groups=sum(owner.kind == "group" for owner in owners),
        remarks=[*remarks, *doubts],
    )


# What is recorded.


def _choose(connection: Connection, asked: Question) -> tuple[Mapping[str, Chosen], list[str]]:
    """The newest runs of the volumes by their reports, and what is missing, in words."""
    there = orphans.volumes(connection)
    in_use = [name for name, retired in there.items() if retired is None or retired > asked.today]
    if unknown := [name for name in asked.volumes if name not in there]:
        raise NothingRecorded(
            f"{', '.join(unknown)}: no record; there is one of {', '.join(there) or 'no volume'}"
        )
    chosen = {}
    remarks = []
    for name in dict.fromkeys(asked.volumes or in_use):
        newest = {report: pages.newest(connection, report, name) for report in REPORTS[asked.by]}
        chosen[name] = {report: stored for report, stored in newest.items() if stored}
        remarks += [
            f"{name}: no record of {report}: {LEFT_OUT[report]}"
            for report in newest.keys() - chosen[name].keys()
        ]
    if not any(chosen.values()):
        raise NothingRecorded(f"nothing is recorded: run {' and '.join(REPORTS[asked.by])}")
    return chosen, sorted(remarks)


def _uses(
    connection: Connection, chosen: Mapping[str, Chosen], users: Mapping[int, Orphan]
) -> list[Found]:
    """What users have in each group, and what all groups have."""
    found = []
    for name, of in chosen.items():
        if stored := of.get("users"):
            uses = orphans.of_users(connection, stored.run, users.keys())
            found += [Found(name, users[user_id], use) for user_id, use in uses]
        if stored := of.get("reporter"):
            found += [Found(name, None, use) for use in orphans.of_groups(connection, stored.run)]
    return found


def _homes(
    connection: Connection,
    chosen: Mapping[str, Chosen],
    users: Mapping[int, Orphan],
    deeper: Sequence[str],
) -> list[Found]:
    """The directories that are called like users who were known once."""
    by_name = {user.name: user for user in users.values() if not user.never_known}
    parents = [text(raw(parent)) for parent in deeper]
    return [
        Found(name, by_name[child], place)
        for name, of in chosen.items()
        for stored in of.values()
        for child, place in orphans.directories_called(connection, stored, parents, by_name.keys())
    ]


def _directories(
    connection: Connection, chosen: Mapping[str, Chosen], group_ids: Collection[int]
) -> list[Found]:
    """The directories of groups."""
    return [
        Found(name, None, place)
        for name, of in chosen.items()
        for stored in of.values()
        for place in orphans.directories_of(connection, stored, group_ids)
    ]


# Who is lost.


def _lost(
    holders: Mapping[int, Person], now: Presence, absent_since: date | None
) -> Mapping[int, Orphan]:
    """Those that nobody knows, by their ids; none if the source of names is not believed."""
    if now.in_doubt:
        return {}
    return {
        id_: Orphan(now.kind, *holder)
        for id_, holder in holders.items()
        if not _is_known(holder, now.known) and _was_absent(holder, absent_since)
    }


def _doubts(source: str, asked: Sequence[Presence]) -> list[str]:
    """What is left out, in words. Raises NamesMissing if nothing is left."""
    doubts = [
        each.doubt(source, f"all {each.kind}s are left out") for each in asked if each.in_doubt
    ]
    if doubts and len(doubts) == sum(each.asked > 0 for each in asked):
        raise NamesMissing("; ".join(doubts))
    return doubts


def _groups(
    holders: Mapping[int, Person], now: Presence, named: Mapping[int, Group]
) -> Mapping[int, Group]:
    """The groups by their ids: as they are known now, or else as they are recorded."""
    return {
        id_: named[holder.number]
        if holder.number in now.known
        else Group(holder.number, holder.name, known=_is_known(holder, now.known))
        for id_, holder in holders.items()
    }


def _is_known(holder: Person, known: Collection[int]) -> bool:
    """Of a number below 0 only what is recorded tells."""
    return holder.number in known if holder.number >= 0 else holder.absent_since is None


def _was_absent(holder: Person, day: date | None) -> bool:
    return day is None or (holder.absent_since is not None and holder.absent_since <= day)


# Rows.


def _rows(
    connection: Connection,
    found: Iterable[Found],
    groups: Mapping[int, Group],
    lost: Mapping[int, Orphan],
) -> list[Row]:
    """A row for each thing of an orphan, with the investigators of their groups."""
    of_volumes: dict[str, list[tuple[Orphan, Use | Place]]] = {}
    for volume, user, what in found:
        if owner := user or lost.get(what.group_id):
            of_volumes.setdefault(volume, []).append((owner, what))
    rows = []
    for volume, whats in of_volumes.items():
        without = {what.group_id for _, what in whats if groups[what.group_id].pi is None}
        pis = orphans.pis(connection, volume, without)
        for owner, what in whats:
            group = groups[what.group_id]
            rows.append(_row(volume, owner, what, group, group.pi or pis.get(what.group_id)))
    return rows


def _row(volume: str, owner: Orphan, what: Use | Place, group: Group, pi: str | None) -> Row:
    match what:
        case Use():
            return Row(volume, what.used_bytes, what.inodes, what.last_modified, owner, group, pi)
        case Place():
            return Row(
                volume,
                what.size_bytes,
                what.files,
                what.last_modified,
                owner,
                group,
                pi,
                what.base,
                what.directory,
            )


def _once(rows: Sequence[Row]) -> list[Row]:
    """Without what users have in groups that are there themselves: it is in these."""
    whole = {_place(row) for row in rows if row.owner and row.owner.kind == "group"}
    return [
        row for row in rows if (row.owner and row.owner.kind == "group") or _place(row) not in whole
    ]


def _place(row: Row) -> tuple[str, int | None]:
    return row.volume, row.group.gid if row.group else None


def _summed(by: By, rows: Sequence[Row]) -> Iterator[Row]:
    """The rows of a kind of answer."""
    match by:
        case "user":
            for same in _alike(rows, lambda row: (row.volume, row.owner)):
                yield replace(_sum(same), owner=same[0].owner)
        case "group":
            for same in _alike(rows, _place):
                yield replace(_sum(same), group=same[0].group, pi=same[0].pi)
        case "pi":
            for same in _alike(rows, lambda row: (row.volume, row.pi)):
                yield replace(_sum(same), pi=same[0].pi)
        case _:
            yield from rows


def _alike(rows: Iterable[Row], key: Callable[[Row], Hashable]) -> Iterable[Sequence[Row]]:
    found: dict[Hashable, list[Row]] = {}
    for row in rows:
        found.setdefault(key(row), []).append(row)
    return found.values()


def _sum(rows: Sequence[Row]) -> Row:
    """What rows of one volume amount to, with how many users and groups."""
    counted = _once(rows)
    owners = {row.owner for row in rows if row.owner}
    return Row(
        rows[0].volume,
        sum(row.used_bytes for row in counted),
        sum(row.inodes for row in counted),
        max((row.last_modified for row in rows if row.last_modified), default=None),
        users=sum(owner.kind == "user" for owner in owners),
        groups=len({_place(row) for row in rows}),
    )


def _order(row: Row) -> tuple[object, ...]:
    """The largest first; a group before its users."""
    return (
        -row.used_bytes,
        -row.inodes,
        row.volume,
        (row.owner.kind, row.owner.number) if row.owner else (),
        row.group.gid if row.group else 0,
        row.pi or "",
        row.base_directory or "",
        row.directory or "",
    )
