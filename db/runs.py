"""
The record of runs: which reports of which volume and date are there, whole.

A small report is recorded in the transaction that writes its rows. The rows of a large one come in
chunks: its run is begun, filled and completed, and readers see it from then on. What they see no
longer, and what a killed run left, is let go and deleted in chunks.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import writers
from db.database import Database, DatabaseFailed
from db.newest import note_newest
from db.schema import report_run, volume
from db.writers import Writer
from lurge_types.reports import Run

RUN_COLUMNS = [report_run.c[name] for name in Run.__dataclass_fields__ if name != "volume"]

IDS_END = 2**31
"""The first number that is no id: dashboards take them for signed integers of 32 bits."""

GIVING_UP_SECONDS = 5
"""How long a database that is away is waited for when a run is given up."""

LEFT_OVER: dict[str, Any] = {"done": None, "current": False, "host": None, "process": None}


class AlreadyRecorded(Exception):
    """Another run has recorded this report of this volume and date."""


class RunLost(DatabaseFailed):
    """A run that is being filled was taken for dead, and its rows were deleted."""


class Begun(NamedTuple):
    """
    A run that is to be filled.

    token: tells it from a later run that got the same run_id.
    rows: how many the report has.
    stores_rows: False where a newer date is there: readers would never see them.
    first_id: of the rows, where they are stored and have ids that are the run's own.
    """

    run_id: int
    token: str
    rows: int
    stores_rows: bool
    first_id: int | None


class Unseen(NamedTuple):
    """A run whose rows nobody sees any more, and their ids if those were the run's own."""

    run_id: int
    token: str
    ids: range


def find(connection: Connection, report: str, volume_name: str, day: date) -> Run | None:
    """The whole run of a report of a volume and date, if there is one."""
    return _one(connection, report, volume_name, report_run.c.record_date == day)


def last_before(connection: Connection, report: str, volume_name: str, day: date) -> Run | None:
    """The newest whole run of a report of a volume before a date."""
    return _one(connection, report, volume_name, report_run.c.record_date < day)


def _one(
    connection: Connection, report: str, volume_name: str, when: sql.ColumnElement[bool]
) -> Run | None:
    row = connection.execute(
        sql.select(*RUN_COLUMNS)
        .join(volume)
        .where(
            report_run.c.report == report,
            volume.c.scratch_disk == volume_name,
            report_run.c.done == 1,
            when,
        )
        .order_by(report_run.c.record_date.desc())
        .limit(1)
    ).one_or_none()
    return None if row is None else Run(volume=volume_name, **row._mapping)


class Origin(NamedTuple):
    """
    Which database a whole run came from, if any, and whether it has rows of its own.

    token: tells it from another run in its place.
    """

    imported_from: str | None
    stored: bool
    token: str = ""


class ScanOf(NamedTuple):
    """When a scan was made of which a whole run is; of one that was imported, its date there."""

    record_date: date
    scan_time: datetime
    imported_from: str | None


def origins(connection: Connection, report: str, volume_id: int) -> dict[date, Origin]:
    """The dates of the whole runs of a report of a volume, and where each came from."""
    rows = connection.execute(
        sql.select(
            report_run.c.record_date,
            report_run.c.imported_from,
            sql.or_(report_run.c.row_count.is_(None), report_run.c.filled.is_not(None)),
            report_run.c.token,
        ).where(*_of_volume(report, volume_id), report_run.c.done == 1)
    )
    return {day: Origin(origin, bool(stored), token) for day, origin, stored, token in rows}


def scans_of(connection: Connection, volume_id: int) -> list[ScanOf]:
    """Of which scans a volume has whole runs."""
    columns = report_run.c.record_date, report_run.c.scan_time, report_run.c.imported_from
    rows = connection.execute(
        sql.select(*columns)
        .distinct()
        .where(report_run.c.volume_id == volume_id, report_run.c.done == 1)
    )
    return [ScanOf(*row) for row in rows]


def rows_of(connection: Connection, report: str, volume_name: str, day: date) -> int:
    """
    How many rows a whole run had, whether they are kept or not.

    0 where there is none, and for reports that are recorded together with their rows.
    """
    rows = connection.scalar(
        sql.select(report_run.c.row_count)
        .join(volume)
        .where(
            report_run.c.report == report,
            volume.c.scratch_disk == volume_name,
            report_run.c.record_date == day,
            report_run.c.done == 1,
        )
    )
    return rows or 0


# Recorded at once.


def claim(connection: Connection, run: Run, volume_id: int, token: str, *, replace: bool) -> bool:
    """
    Take the place of a run, in the transaction that then writes its rows and records it.

    Others of the volume wait from here to the end of the transaction: what is found stays true, and
    of two who replace the same rows or would be current one comes after the other. False where the
    token tells that the run is there already: it was committed, but the answer got lost.

    Raises AlreadyRecorded, unless what is recorded shall be replaced.
    """
    lock(connection, volume_id)
    there = _whole(connection, run, volume_id)
    if there is None:
        return True
    run_id, theirs = there
    if theirs == token:
        return False
    if not replace:
        raise _already(run)
    replaced = report_run.c.run_id == run_id
    connection.execute(sql.delete(report_run).where(replaced, report_run.c.row_count.is_(None)))
    connection.execute(sql.update(report_run).where(replaced).values(LEFT_OVER))
    return True


def lock(connection: Connection, volume_id: int) -> None:
    """Let others of the volume wait, from here to the end of the transaction."""
    connection.execute(
        sql.select(volume.c.volume_id).where(volume.c.volume_id == volume_id).with_for_update()
    )


def _whole(connection: Connection, run: Run, volume_id: int) -> tuple[int, str] | None:
    """The run_id and the token of the whole run in the place of one, if there is any."""
    row = connection.execute(
        sql.select(report_run.c.run_id, report_run.c.token).where(
            *_place(run, volume_id), report_run.c.done == 1
        )
    ).one_or_none()
    return None if row is None else (row.run_id, row.token)


def record(connection: Connection, run: Run, volume_id: int, token: str) -> None:
    """Say that a run is whole, in the transaction that makes it so and has claimed its place."""
    record_all(connection, [run], volume_id, token)


def record_all(connection: Connection, of: Sequence[Run], volume_id: int, token: str) -> None:
    """The same of several runs, in the transaction that has seen that their places are free."""
    if of:
        facts = [_facts(run, volume_id, token=token, done=1, current=False) for run in of]
        connection.execute(sql.insert(report_run), facts)
    for run in {run.report: run for run in of}.values():
        _mark_current(connection, run, volume_id)


def _facts(run: Run, volume_id: int, **more: Any) -> dict[str, Any]:
    facts = {name: getattr(run, name) for name in Run.__dataclass_fields__ if name != "volume"}
    return {**facts, "volume_id": volume_id, **more}


def _place(run: Run, volume_id: int) -> tuple[sql.ColumnElement[bool], ...]:
    return (*_of_volume(run.report, volume_id), report_run.c.record_date == run.record_date)


def _of_volume(report: str, volume_id: int) -> tuple[sql.ColumnElement[bool], ...]:
    return report_run.c.report == report, report_run.c.volume_id == volume_id


def _newest(connection: Connection, report: str, volume_id: int) -> date | None:
    """The newest date that Lurge has counted, or without any the newest that was imported."""
    return _newest_own(connection, report, volume_id) or _newest_of(
        connection, *_of_volume(report, volume_id)
    )


def _newest_own(connection: Connection, report: str, volume_id: int) -> date | None:
    own = report_run.c.imported_from.is_(None)
    return _newest_of(connection, *_of_volume(report, volume_id), own)


def _newest_of(connection: Connection, *where: sql.ColumnElement[bool]) -> date | None:
    newest: date | None = connection.scalar(
        sql.select(sql.func.max(report_run.c.record_date)).where(*where, report_run.c.done == 1)
    )
    return newest


def _mark_current(connection: Connection, run: Run, volume_id: int) -> None:
    day = _newest(connection, run.report, volume_id)
    current = sql.and_(report_run.c.record_date == day, report_run.c.done.is_not(None))
    connection.execute(
        sql.update(report_run)
        .where(*_of_volume(run.report, volume_id), report_run.c.current != current)
        .values(current=current)
    )
    note_newest(connection, run.report)


def _already(run: Run) -> AlreadyRecorded:
    return AlreadyRecorded(
        f"{run.report} of {run.volume} on {run.record_date} was recorded by another run"
    )


# Filled in chunks.


def begin(
    connection: Connection,
    run: Run,
    volume_id: int,
    token: str,
    rows: int,
    *,
    replace: bool,
    numbered: bool = False,
    below_newer: bool = False,
) -> Begun:
    """
    Record a run that is to be filled; if they are numbered, ids are kept for its rows.

    below_newer: rows are stored though there is a newer date: readers see them there, too.

    Raises AlreadyRecorded, unless what is recorded shall be replaced.
    """
    if numbered:  # those who look for free ids come one after the other
        connection.execute(sql.select(volume.c.volume_id).with_for_update())
    else:
        lock(connection, volume_id)
    mine = connection.execute(
        sql.select(report_run.c.run_id, report_run.c.filled, report_run.c.first_id).where(
            *_place(run, volume_id), report_run.c.token == token
        )
    ).one_or_none()
    if mine is not None:  # by now, or committed before and the answer got lost
        return Begun(mine.run_id, token, rows, mine.filled is not None, mine.first_id)
    # What was imported has no rows whose ids are its own: numbered ones are stored above it.
    newest = (_newest_own if numbered else _newest)(connection, run.report, volume_id)
    if not replace and _whole(connection, run, volume_id):
        raise _already(run)
    is_stored = below_newer or newest is None or newest <= run.record_date
    writer = writers.me()
    connection.execute(
        sql.insert(report_run).values(
            _facts(
                run,
                volume_id,
                token=token,
                done=None,
                current=False,
                row_count=rows,
                filled=0 if is_stored else None,
                first_id=_free_ids(connection, rows) if is_stored and numbered else None,
                host=writer.host,
                process=writer.process,
                touched=_now(),
            )
        )
    )
    return begin(connection, run, volume_id, token, rows, replace=replace, numbered=numbered)


def fill(connection: Connection, begun: Begun, filled: int, more: int) -> bool:
    """
    Count more rows to those filled, in the transaction that writes them.

    False where they are counted already: they were committed, but the answer got lost.

    Raises RunLost.
    """
    if _is_changed(
        connection, begun, report_run.c.filled == filled, filled=filled + more, touched=_now()
    ):
        return True
    there = connection.scalar(sql.select(report_run.c.filled).where(*_being_filled(begun)))
    if there != filled + more:
        raise _lost()
    return False


def hold_on(connection: Connection, begun: Begun) -> None:
    """
    Keep a run that is being filled from being swept, to the end of the transaction.

    Raises RunLost.
    """
    if not _is_changed(connection, begun, touched=_now()):
        raise _lost()


def complete(connection: Connection, run: Run, volume_id: int, begun: Begun) -> None:
    """
    Say that a run is filled, in the transaction that has claimed its place.

    Raises RunLost.
    """
    if not _is_changed(connection, begun, done=1, host=None, process=None):
        raise _lost()
    _mark_current(connection, run, volume_id)


def complete_import(  # noqa: PLR0917 - what is complete, and what it is compared with
    connection: Connection,
    run: Run,
    volume_id: int,
    begun: Begun,
    earlier: Sequence[Run],
    base: Mapping[date, Origin],
) -> None:
    """
    Say that a run is filled that stands for several days, and let go of an earlier import's.

    earlier: a run without rows for each of these days but its own. base: the runs that there were
    when it was found out which days these are.

    Raises RunLost, and DatabaseFailed where another run has come since.
    """
    lock(connection, volume_id)
    theirs = (
        *_of_volume(run.report, volume_id),
        report_run.c.done == 1,
        report_run.c.imported_from == run.imported_from,
    )
    if connection.scalar(
        sql.select(report_run.c.run_id).where(*theirs, report_run.c.token == begun.token).limit(1)
    ):
        return  # it was committed, but the answer got lost
    if origins(connection, run.report, volume_id) != base:
        raise DatabaseFailed(
            f"{run.report} of {run.volume} was recorded by another run meanwhile: import again"
        )
    connection.execute(sql.delete(report_run).where(*theirs, report_run.c.row_count.is_(None)))
    connection.execute(sql.update(report_run).where(*theirs).values(LEFT_OVER))
    complete(connection, run, volume_id, begun)
    record_all(connection, earlier, volume_id, begun.token)


def restate(
    connection: Connection, run: Run, volume_id: int, begun: Begun, *, replace: bool
) -> None:
    """
    Say that a run without rows is whole.

    One that it replaces keeps its run_id, and with it rows that may be seen on newer dates.

    Raises RunLost, and AlreadyRecorded unless what is recorded shall be replaced.
    """
    lock(connection, volume_id)
    there = _whole(connection, run, volume_id)
    if there is None:
        complete(connection, run, volume_id, begun)
        return
    run_id, theirs = there
    if theirs == begun.token:  # it was committed, but the answer got lost
        return
    if not replace:
        raise _already(run)
    connection.execute(sql.delete(report_run).where(*named(begun.run_id, begun.token)))
    connection.execute(
        sql.update(report_run)
        .where(report_run.c.run_id == run_id)
        .values(_facts(run, volume_id, token=begun.token, row_count=begun.rows))
    )


def stored(connection: Connection, run: Run, volume_id: int) -> list[tuple[date, str]]:
    """
    The whole runs that stored rows, from the newest before a run's date on, by date.

    Of each the date, and the token, which tells whether it is still the same.
    """
    theirs = (
        *_of_volume(run.report, volume_id),
        report_run.c.done == 1,
        report_run.c.filled.is_not(None),
    )
    before = connection.scalar(
        sql.select(sql.func.max(report_run.c.record_date)).where(
            *theirs, report_run.c.record_date < run.record_date
        )
    )
    found = connection.execute(
        sql.select(report_run.c.record_date, report_run.c.token)
        .where(*theirs, report_run.c.record_date >= (before or run.record_date))
        .order_by(report_run.c.record_date)
    )
    return [(row.record_date, row.token) for row in found]


def abandon(database: Database, begun: Begun) -> None:
    """
    Make a left-over of a run that was being filled, unless it is whole, or gone.

    Where the database is away, it is one once this process has ended.
    """
    give_up = partial(_is_changed, begun=begun, **LEFT_OVER)
    with suppress(DatabaseFailed):
        database.transaction(give_up, retry_seconds=GIVING_UP_SECONDS)


def unseen(connection: Connection, report: str, volume_name: str) -> list[Unseen]:
    """
    What readers of a report of a volume see no longer: rows of older dates, and left-overs.

    Runs whose writers are dead become left-overs here, so that none of these comes to life again.
    """
    volume_id = connection.scalar(
        sql.select(volume.c.volume_id).where(volume.c.scratch_disk == volume_name)
    )
    if volume_id is None:
        return []
    newest = _newest(connection, report, volume_id)
    rows = connection.execute(
        sql.select(report_run)
        .where(
            *_of_volume(report, volume_id),
            sql.or_(report_run.c.done.is_(None), report_run.c.first_id.is_not(None)),
        )
        .with_for_update()
    ).all()
    found = [row for row in rows if _is_unseen(row, newest)]
    left = [row.run_id for row in found if row.done is None]
    connection.execute(
        sql.update(report_run).where(report_run.c.run_id.in_(left)).values(LEFT_OVER)
    )
    return [_unseen(row) for row in found]


def hold(connection: Connection, of: Unseen) -> bool:
    """
    Keep the ids of an unseen run, its own and its rows', to the end of the transaction.

    False where they may be in use again already: another has deleted the rows.
    """
    held = connection.scalar(
        sql.select(report_run.c.run_id)
        .where(
            *named(of.run_id, of.token),
            sql.or_(report_run.c.done.is_(None), report_run.c.first_id.is_not(None)),
        )
        .with_for_update()
    )
    return held is not None


def forget(connection: Connection, of: Unseen) -> None:
    """Free the ids of a run whose rows are deleted; a left-over leaves nothing."""
    this = named(of.run_id, of.token)
    connection.execute(sql.delete(report_run).where(*this, report_run.c.done.is_(None)))
    connection.execute(sql.update(report_run).where(*this).values(first_id=None))


def named(run_id: int, token: str) -> tuple[sql.ColumnElement[bool], ...]:
    """
    That it is this very run.

    SQLite gives the last run_id again when its run is gone: the token is never the same.
    """
    return report_run.c.run_id == run_id, report_run.c.token == token


def _being_filled(begun: Begun) -> tuple[sql.ColumnElement[bool], ...]:
    return (*named(begun.run_id, begun.token), report_run.c.host.is_not(None))


def _is_changed(
    connection: Connection, begun: Begun, *where: sql.ColumnElement[bool], **values: Any
) -> bool:
    """Change a run, if it is still being filled."""
    change = sql.update(report_run).where(*_being_filled(begun), *where).values(values)
    return connection.execute(change).rowcount == 1


def _free_ids(connection: Connection, rows: int) -> int:
    """
    The lowest number from which on so many are free, of those that runs have not kept.

    Raises DatabaseFailed.
    """
    kept = connection.execute(
        sql.select(report_run.c.first_id, report_run.c.row_count)
        .where(report_run.c.first_id.is_not(None))
        .order_by(report_run.c.first_id)
    )
    free = 1
    for first_id, count in kept:
        if free + rows <= first_id:
            break
        free = max(free, first_id + count)
    if free + rows > IDS_END:
        raise DatabaseFailed(f"no {rows} ids in a row are free below {IDS_END}: run fewer at once")
    return free


def _is_unseen(row: sql.Row[Any], newest: date | None) -> bool:
    if row.done is not None:
        return newest is not None and row.record_date < newest
    if row.host is None:
        return True
    return not writers.lives(Writer(row.host, row.process), row.touched, _now())


def _unseen(row: sql.Row[Any]) -> Unseen:
    ids = range(0) if row.first_id is None else range(row.first_id, row.first_id + row.filled)
    return Unseen(row.run_id, row.token, ids)


def _now() -> datetime:
    return datetime.now(UTC).replace(tzinfo=None)


def _lost() -> RunLost:
    return RunLost("the run was taken for dead by another, which deleted its rows: run again")
