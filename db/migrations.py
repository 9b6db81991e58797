"""The schema's versions, one step each; a new database takes them all."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import directory_sums
from db.dialects import add_column, insert_new, make_view
from db.newest import ON_DASHBOARDS, note_newest
from db.schema import (
    ALL_VOLUMES,
    ARCHIVE_CANDIDATE_NOW,
    DIRECTORY_NOW,
    VAULT_NOW,
    archive_candidate_now,
    directory_now,
    lustre_usage,
    metadata,
    newest_date,
    report_run,
    schema_version,
    vault,
    vault_actions,
    vault_now,
    volume,
    warning,
)
from lurge_types.reports import WARNINGS

LOCK = "lurge_init"

VAULT_ACTIONS = {1: "Keep", 2: "Archive"}
"""What a vault does with a file; a site may add more."""


class InitBusy(Exception):
    """Another has been making or changing the tables for longer than one waits."""


def _first(connection: Connection) -> None:
    """Usage by group, and the record of runs."""
    _make_tables(connection)
    _fill(connection, warning, WARNINGS)


def _second(connection: Connection) -> None:
    """Use by directory, and runs whose rows are filled in chunks."""
    _make_tables(connection)
    _add_columns(connection, report_run)
    make_view(connection, directory_now.name, DIRECTORY_NOW)


def _third(connection: Connection) -> None:
    """Use by user, and files in vaults."""
    _make_tables(connection)
    _fill(connection, vault_actions, VAULT_ACTIONS)
    make_view(connection, vault_now.name, VAULT_NOW)


def _fourth(connection: Connection) -> None:
    """Forecasts, and what could be archived."""
    _make_tables(connection)
    _add_columns(connection, lustre_usage)
    make_view(connection, archive_candidate_now.name, ARCHIVE_CANDIDATE_NOW)


def _fifth(connection: Connection) -> None:
    """Imported history, newest dates for the views of dashboards, and volumes that have retired."""
    _make_tables(connection)
    _add_columns(connection, report_run)
    _add_columns(connection, volume)
    for report in ON_DASHBOARDS:
        of_all = {"report": report, "volume_id": ALL_VOLUMES}
        connection.execute(insert_new(connection, newest_date, "report", "volume_id"), of_all)
        note_newest(connection, report)


def _sixth(connection: Connection) -> None:
    """What pages read: current runs, sums of directories, files by path, candidates by group."""
    _drop_changed(connection, vault)
    _add_columns(connection, vault)
    _make_tables(connection)
    make_view(connection, vault_now.name, VAULT_NOW)
    _sum_up_directories(connection)


def _seventh(connection: Connection) -> None:
    """Leases, and the archiver's ledger."""
    _make_tables(connection)


def _sum_up_directories(connection: Connection) -> None:
    """Sum up the directories of the runs that are whole; others will be swept."""
    kept = report_run.c.done == 1, report_run.c.first_id.is_not(None)
    of_inspector = sql.select(report_run.c.run_id).where(report_run.c.report == "inspector", *kept)
    for run_id in connection.scalars(of_inspector).all():
        directory_sums.sum_up(connection, run_id)


def _add_columns(connection: Connection, table: sql.Table) -> None:
    """Add the columns that a table has not yet."""
    present = {column["name"] for column in sql.inspect(connection).get_columns(table.name)}
    for column in table.columns:
        if column.name not in present:
            add_column(connection, column)


def _drop_changed(connection: Connection, table: sql.Table) -> None:
    """Drop the indices of a table that have other columns now."""
    indices = sql.inspect(connection).get_indexes(table.name)
    there = {index["name"]: index["column_names"] for index in indices}
    for index in table.indexes:
        if index.name in there and there[index.name] != index.columns.keys():
            index.drop(connection)


def _make_tables(connection: Connection) -> None:
    """Make the tables that are missing, and the indices but for those of columns yet to come."""
    metadata.create_all(connection)
    for table in metadata.sorted_tables:
        columns = sql.inspect(connection).get_columns(table.name)
        present = {column["name"] for column in columns}
        for index in table.indexes:  # a statement of its own, that may not have been reached
            if present.issuperset(index.columns.keys()):
                index.create(connection, checkfirst=True)


def _fill(connection: Connection, table: sql.Table, names: Mapping[int, str]) -> None:
    """Add those of some fixed numbers and names that are missing."""
    number, called = table.columns
    present = set(connection.scalars(sql.select(number)))
    rows = [
        {number.name: id_, called.name: name} for id_, name in names.items() if id_ not in present
    ]
    if rows:
        connection.execute(sql.insert(table), rows)


STEPS: tuple[Callable[[Connection], None], ...] = (
    *(_first, _second, _third, _fourth, _fifth),
    *(_sixth, _seventh),
)
NEWEST = len(STEPS)


def version(connection: Connection) -> int:
    """The version of the tables that are there; 0 without any."""
    if not sql.inspect(connection).has_table(schema_version.name):
        return 0
    return connection.scalar(sql.select(sql.func.max(schema_version.c.version))) or 0


def apply(connection: Connection, now: datetime, wait_seconds: float) -> list[int]:
    """
    Take the steps that are missing; which.

    MySQL commits every CREATE and ALTER at once: so a step leaves alone what an earlier, broken try
    at it made, and two who try at once go one after the other.

    Raises InitBusy where the other takes longer than `wait_seconds`.
    """
    with _alone(connection, wait_seconds):
        missing = list(range(version(connection) + 1, NEWEST + 1))
        for number in missing:
            STEPS[number - 1](connection)
            connection.execute(sql.insert(schema_version), {"version": number, "applied": now})
        return missing


@contextmanager
def _alone(connection: Connection, wait_seconds: float) -> Iterator[None]:
    """
    Keep others from making tables meanwhile.

    A transaction of SQLite does that anyway. MySQL has named locks, which outlive its many commits;
    the next one must not get it before the last rows are committed.
    """
    if connection.dialect.name == "sqlite":
        yield
        return
    if connection.scalar(sql.select(sql.func.get_lock(LOCK, wait_seconds))) != 1:
        raise InitBusy
    try:
        yield
        connection.exec_driver_sql("COMMIT")
    finally:
        if not connection.invalidated:  # with the connection, its lock has gone
            connection.execute(sql.select(sql.func.release_lock(LOCK)))
