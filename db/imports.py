"""
Rows that another database has written, taken over: names keep their ids where these are free.

A day that Lurge has counted itself is never touched. Of a name whose gid or uid nobody knows the
number is below 0, until somebody does.
"""

import secrets
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from hashlib import sha256
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import names, runs
from db.ancestor import NOTHING, OldGroup, Sum
from db.database import Database
from db.dialects import insert_rows
from db.runs import Begun, Origin
from db.schema import (
    base_directory,
    base_directory_usage,
    lustre_usage,
    pi,
    report_run,
    unix_group,
    user,
    user_usage,
    vault,
    vault_actions,
    volume,
)
from lurge_types.reports import Run
from utils.paths import raw

NO_INODE = "-"
Row = tuple[object, ...]


class Filled(NamedTuple):
    """A table, and which of its columns are filled, in its order; inodes were not counted."""

    table: sql.Table
    columns: Sequence[str]


USAGE = Filled(
    lustre_usage,
    (
        *("record_date", "volume_id", "unix_id", "pi_id", "used", "quota", "inodes"),
        *("last_modified", "archived", "suspect", "warning_id"),
    ),
)
BASE_USAGE = Filled(
    base_directory_usage,
    (
        *("record_date", "unix_id", "base_directory_id", "volume_id", "pi_id", "used", "inodes"),
        "last_modified",
    ),
)
USER_USAGE = Filled(
    user_usage,
    ("record_date", "user_id", "group_id", "volume_id", "size", "inodes", "last_modified"),
)


class Day(NamedTuple):
    """
    A day of a report of a volume: its run, and its rows in the order of the columns.

    again: whether an earlier import wrote other rows of it, which these replace.
    """

    run: Run
    of: Filled
    rows: Sequence[Row]
    again: bool = False


class State(NamedTuple):
    """A file in a vault, as it was from one day to another; None while it is still seen."""

    digest: bytes
    path: str
    group_id: int
    action_id: int
    size_bytes: int
    last_modified: date | None
    user_id: int
    first_seen: date
    last_seen: date | None


# Names.


def groups(
    connection: Connection, old: Mapping[int, OldGroup], gids: Mapping[str, int], today: date
) -> dict[int, int]:
    """The ids here of groups, by their ids there; gids: those that are known, by name."""
    of = {number: group.name for number, group in old.items()}
    humgen = {group.name for group in old.values() if group.is_humgen}
    return _numbered(
        connection, unix_group, of, gids, today, lambda name: {"is_humgen": name in humgen}
    )


def users(
    connection: Connection, old: Mapping[int, str], uids: Mapping[str, int], today: date
) -> dict[int, int]:
    """The ids here of users, by their ids there; uids: those that are known, by name."""
    return _numbered(connection, user, old, uids, today, lambda _: {})


def _numbered(  # noqa: PLR0917 - what rows are, and where they go
    connection: Connection,
    table: sql.Table,
    old: Mapping[int, str],
    numbers: Mapping[str, int],
    today: date,
    more: Callable[[str], Mapping[str, object]],
) -> dict[int, int]:
    """The ids in a table that begins with an id, a gid or uid and a name."""
    id_, number, called = list(table.columns)[:3]
    there = list(connection.execute(sql.select(id_, number, called)))
    by_number = {row[1]: int(row[0]) for row in there}
    by_name = {row[2]: int(row[0]) for row in there if row[1] < 0}
    numbered = {row[2]: int(row[0]) for row in there if row[1] >= 0}
    used = set(by_number.values())
    last = max(used | old.keys(), default=0)
    new, ids = [], {}
    for old_id, name in sorted(old.items()):
        key = numbers.get(name)
        mine = by_number.get(key) if key is not None else by_name.get(name, numbered.get(name))
        if mine is None and key is not None and name in by_name:  # it was not known then
            mine = by_number[key] = by_name.pop(name)
            known = {number.name: key, "absent_since": None}
            connection.execute(sql.update(table).where(id_ == mine).values(known))
        elif mine is None:
            mine = _free(old_id, used, last)
            last = max(last, mine)
            key = -mine if key is None else key
            absent = today if key < 0 else None
            new.append(
                {id_.name: mine, number.name: key, called.name: name, "absent_since": absent}
                | dict(more(name))
            )
            by_number[key] = mine
            if key < 0:
                by_name[name] = mine
        ids[old_id] = mine
    if new:
        connection.execute(sql.insert(table), new)
    return ids


def pis(connection: Connection, old: Mapping[int, str]) -> dict[int, int]:
    """The ids here of investigators, by their ids there."""
    by_name = {row.pi_name: row.pi_id for row in connection.execute(sql.select(pi))}

    def values(name: str) -> Mapping[str, object]:
        return {"pi_hash": sha256(name.encode()).digest(), "pi_name": name}

    return _keyed(connection, pi.c.pi_id, old, by_name, values)


def volumes(connection: Connection, old: Mapping[int, str]) -> dict[int, int]:
    """The ids here of volumes, by their ids there."""
    by_name = {row.scratch_disk: row.volume_id for row in connection.execute(sql.select(volume))}
    return _keyed(connection, volume.c.volume_id, old, by_name, lambda name: {"scratch_disk": name})


def actions(connection: Connection, old: Mapping[int, str]) -> dict[int, int]:
    """The ids here of what vaults do with files, by their ids there; case says nothing."""
    there = {name.casefold(): id_ for name, id_ in names.vault_actions(connection).items()}
    called = {name.casefold(): name for name in old.values()}
    return _keyed(
        connection,
        vault_actions.c.vault_action_id,
        {number: name.casefold() for number, name in old.items()},
        there,
        lambda folded: {"action_name": called[folded]},
    )


def bases(connection: Connection, old: Mapping[int, tuple[str, int]]) -> dict[int, int]:
    """The ids here of base directories, by their ids there: shown paths and ids of volumes here."""
    there = connection.execute(sql.select(base_directory))
    by_place = {(row.directory_path, row.volume_id): row.base_directory_id for row in there}

    def values(place: tuple[str, int]) -> Mapping[str, object]:
        path, volume_id = place
        return {
            "directory_path": path,
            "real_path": path,
            "path_hash": names.shown_hash(path),
            "volume_id": volume_id,
        }

    return _keyed(connection, base_directory.c.base_directory_id, old, by_place, values)


def _keyed(
    connection: Connection,
    id_: sql.Column[Any],
    old: Mapping[int, Any],
    there: Mapping[Any, int],
    values: Callable[[Any], Mapping[str, object]],
) -> dict[int, int]:
    known = dict(there)
    used = set(known.values())
    last = max(used | old.keys(), default=0)
    new = []
    for old_id, key in sorted(old.items()):
        if key not in known:
            known[key] = _free(old_id, used, last)
            last = max(last, known[key])
            new.append({id_.name: known[key], **values(key)})
    if new:
        connection.execute(sql.insert(id_.table), new)
    return {old_id: known[key] for old_id, key in old.items()}


def _free(wish: int, used: set[int], last: int) -> int:
    """The id that is wished for, or else the one behind the last; it is used then."""
    mine = wish if wish > 0 and wish not in used else last + 1
    used.add(mine)
    return mine


# Histories.


def store(database: Database, volume_id: int, days: Sequence[Day]) -> None:
    """
    Write days of a volume in one transaction, but for those that are there, of whomever.

    Raises DatabaseFailed.
    """
    token = secrets.token_hex(16)

    def write(connection: Connection) -> None:
        runs.lock(connection, volume_id)
        reports = {day.run.report for day in days}
        there = {report: runs.origins(connection, report, volume_id) for report in reports}
        for day in days:
            mine = there[day.run.report].get(day.run.record_date)
            if day.again and mine and mine.imported_from == day.run.imported_from:
                if mine.token == token:  # it was committed, but the answer got lost
                    return
                _forget(connection, volume_id, day)
                del there[day.run.report][day.run.record_date]
        new = [day for day in days if day.run.record_date not in there[day.run.report]]
        runs.record_all(connection, [day.run for day in new], volume_id, token)
        for of in {day.run.report: day.of for day in new}.values():
            rows = [row for day in new if day.of is of for row in day.rows]
            insert_rows(connection, of.table, rows, of.columns)

    database.transaction(write)


def _forget(connection: Connection, volume_id: int, day: Day) -> None:
    """Delete the rows of an imported day, and its run."""

    def of_day(table: sql.Table) -> sql.ColumnElement[bool]:
        at = table.c.volume_id == volume_id, table.c.record_date == day.run.record_date
        return sql.and_(*at)

    connection.execute(sql.delete(day.of.table).where(of_day(day.of.table)))
    of_report = report_run.c.report == day.run.report
    connection.execute(sql.delete(report_run).where(of_day(report_run), of_report))


def stored(
    connection: Connection, report: str, table: sql.Table, volume_id: int, origin: str
) -> dict[date, Sum]:
    """What is here of each day of a volume that came from a database."""
    size = table.c.size if "size" in table.c else table.c.used
    rows = connection.execute(
        sql.select(
            report_run.c.record_date,
            sql.func.count(table.c.record_id),
            sql.func.coalesce(sql.func.sum(size), 0),
        )
        .select_from(
            report_run.outerjoin(
                table,
                sql.and_(
                    table.c.volume_id == report_run.c.volume_id,
                    table.c.record_date == report_run.c.record_date,
                ),
            )
        )
        .where(*_imported(report, volume_id, origin))
        .group_by(report_run.c.record_date)
    )
    return {day: Sum(count, int(size_bytes)) for day, count, size_bytes in rows}


def _imported(report: str, volume_id: int, origin: str) -> tuple[sql.ColumnElement[bool], ...]:
    return (
        report_run.c.report == report,
        report_run.c.volume_id == volume_id,
        report_run.c.done == 1,
        report_run.c.imported_from == origin,
    )


# Vaults.


def begin_vault(database: Database, run: Run, volume_id: int, rows: int) -> Begun:
    """Record a run that is to be filled with so many rows of all days. Raises DatabaseFailed."""
    token = secrets.token_hex(16)

    def record(connection: Connection) -> Begun:
        return runs.begin(connection, run, volume_id, token, rows, replace=True, below_newer=True)

    return database.transaction(record)


def add_to_vault(
    database: Database, begun: Begun, volume_id: int, filled: int, states: Sequence[State]
) -> None:
    """Write some thousand rows in one transaction. Raises DatabaseFailed, RunLost."""
    rows = [_vault_row(begun.run_id, volume_id, state) for state in states]

    def write(connection: Connection) -> None:
        if runs.fill(connection, begun, filled, len(rows)):
            insert_rows(connection, vault, rows)

    database.transaction(write)


def _vault_row(run_id: int, volume_id: int, state: State) -> Row:
    """A row of `vault`; neither the inode nor the real path nor the names' number were recorded."""
    return (
        None,
        state.path,
        state.path,
        sha256(raw(state.path)).digest(),
        NO_INODE,
        0,
        state.group_id,
        state.action_id,
        state.size_bytes,
        state.last_modified and state.last_modified.isoformat(),
        volume_id,
        state.user_id,
        run_id,
        state.first_seen.isoformat(),
        state.last_seen and state.last_seen.isoformat(),
        state.digest,
    )


def finish_vault(  # noqa: PLR0917 - what is finished, and what becomes of others
    database: Database,
    run: Run,
    volume_id: int,
    begun: Begun,
    earlier: Sequence[Run],
    base: Mapping[date, Origin],
) -> None:
    """
    Let readers see the rows, instead of those of an earlier import; see `runs.complete_import`.

    Where this is the newest date, what came from elsewhere is no longer seen from then on.

    Raises DatabaseFailed, RunLost.
    """
    others = [day for day, of in base.items() if of.imported_from not in (None, run.imported_from)]

    def complete(connection: Connection) -> None:
        runs.complete_import(connection, run, volume_id, begun, earlier, base)
        if others and run.record_date > max(base):
            elsewhere = sql.select(report_run.c.run_id).where(
                report_run.c.report == run.report,
                report_run.c.volume_id == volume_id,
                report_run.c.imported_from != run.imported_from,
            )
            connection.execute(
                sql.update(vault)
                .where(
                    vault.c.volume_id == volume_id,
                    vault.c.last_seen.is_(None),
                    vault.c.run_id.in_(elsewhere),
                )
                .values(last_seen=max(others))
            )

    database.transaction(complete)


def vault_sum(connection: Connection, volume_id: int, origin: str) -> Sum:
    """How many copies, one for each day, the rows of a volume stand for, and their bytes."""
    imported = _imported("puppeteer", volume_id, origin)
    days = sorted(connection.scalars(sql.select(report_run.c.record_date).where(*imported)))
    spans = connection.execute(
        sql.select(
            vault.c.first_seen,
            vault.c.last_seen,
            sql.func.count(),
            sql.func.coalesce(sql.func.sum(vault.c.size), 0),
        )
        .where(
            vault.c.volume_id == volume_id,
            vault.c.run_id.in_(sql.select(report_run.c.run_id).where(*imported)),
        )
        .group_by(vault.c.first_seen, vault.c.last_seen)
    )
    total = NOTHING
    for first, last, rows, size_bytes in spans:
        count = bisect_right(days, last or date.max) - bisect_left(days, first)
        total += Sum(count * rows, count * int(size_bytes))
    return total
