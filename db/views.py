"""
The earlier tables, as views in a database of their own: two generations of dashboards read them.

Each view has exactly the columns of the table whose name it has, since dashboards join by all names
that two tables share. Text compares without regard to case. The views are read with the rights of
whoever made them, so that a dashboard's user needs none but SELECT on them; and they are merged
into the questions that are asked of them, so that these find their indices.
"""

from collections.abc import Callable, Mapping
from typing import Any, Literal

import sqlalchemy as sql
from sqlalchemy.dialects import mysql
from sqlalchemy.engine import Connection

from db.database import DatabaseFailed
from db.schema import ALL_VOLUMES, metadata

Generation = Literal["weaver22", "weaver23"]
Columns = sql.ColumnElement[Any]
View = sql.Select[Any]

COLLATION = "utf8mb4_unicode_ci"
GIB: Columns = sql.literal_column("1073741824e0")
"""A double: as integers, MySQL would divide to four decimals, and round these once more to two."""

EVERY_FOURTH = 4
"""Of the days of a history that are older than some months, one of so many is shown."""


class ViewsUnmakable(DatabaseFailed):
    """A database that cannot be one of views."""


def make(connection: Connection, generation: Generation, database: str) -> list[str]:
    """
    Make the views of a generation in a database, or make them anew; their names.

    Raises ViewsUnmakable where there are tables in it.
    """
    quote = mysql.dialect().identifier_preparer.quote
    connection.exec_driver_sql(f"CREATE DATABASE IF NOT EXISTS {quote(database)}")
    if tables := sql.inspect(connection).get_table_names(schema=database):
        raise ViewsUnmakable(
            f"{database} has tables ({tables[0]}): views are made in a database of their own"
        )
    lurge = connection.scalar(sql.select(sql.func.database()))
    views = _views(_Tables(str(lurge)), generation)
    for name, select in views.items():
        text = select.compile(dialect=mysql.dialect(), compile_kwargs={"literal_binds": True})
        connection.exec_driver_sql(
            f"CREATE OR REPLACE ALGORITHM = MERGE SQL SECURITY DEFINER "
            f"VIEW {quote(database)}.{quote(name)} AS {text}"
        )
    return list(views)


class _Tables:
    """The tables, named with the database that they are in."""

    def __init__(self, database: str) -> None:
        there = sql.MetaData()
        self._tables = {
            table.name: table.to_metadata(there, schema=database)
            for table in metadata.sorted_tables
        }

    def __getattr__(self, name: str) -> sql.Table:
        return self._tables[name]

    def newest(self, report: str, volume_id: object) -> tuple[sql.FromClause, Columns]:
        """The newest date of a report of a volume, and what to join it by."""
        dates = self.newest_date.alias()
        return dates, sql.and_(dates.c.report == report, dates.c.volume_id == volume_id)


def _views(of: _Tables, generation: Generation) -> Mapping[str, View]:
    made: dict[str, Callable[[_Tables], View]] = {
        "pi": lambda of: sql.select(of.pi.c.pi_id, _text(of.pi.c.pi_name)),
        "unix_group": _groups22 if generation == "weaver22" else _groups23,
        "user": lambda of: sql.select(of.user.c.user_id, _text(of.user.c.user_name)),
        "volume": _volumes,
        "warning": lambda of: sql.select(of.warning.c.warning_id, _text(of.warning.c.warning)),
        "vault_actions": lambda of: sql.select(
            of.vault_actions.c.vault_action_id, _text(of.vault_actions.c.action_name)
        ),
        "filetype": lambda of: sql.select(
            of.filetype.c.filetype_id, _text(of.filetype.c.filetype_name)
        ),
        "lustre_usage": _usage22 if generation == "weaver22" else _usage23,
        "directory": _directories22 if generation == "weaver22" else _directories23,
        "file_size": _file_sizes,
        "vault": _vault,
        "user_usage": _user_usage,
    }
    if generation == "weaver23":
        made["base_directory"] = _base_directories
    return {name: make_one(of) for name, make_one in made.items()}


def _text(column: Columns, name: str | None = None) -> Columns:
    return sql.collate(column, COLLATION).label(name or str(column.key))


def _days(column: Columns) -> Columns:
    return sql.func.coalesce(column, 0).label("last_modified")


def _gib(column: Columns) -> Columns:
    return sql.func.round(column / GIB, 2).label("size")


def _groups22(of: _Tables) -> View:
    return _groups23(of).add_columns(of.unix_group.c.is_humgen)


def _groups23(of: _Tables) -> View:
    return sql.select(of.unix_group.c.group_id, _text(of.unix_group.c.group_name))


def _volumes(of: _Tables) -> View:
    """Those that are in use: what is joined with them leaves out the others."""
    volume = of.volume
    in_use = sql.or_(volume.c.retired.is_(None), volume.c.retired > sql.func.current_date())
    return sql.select(volume.c.volume_id, _text(volume.c.scratch_disk)).where(in_use)


def _shown(of: _Tables, rows: sql.Table, report: str) -> tuple[sql.FromClause, Columns]:
    """What to select a history from, and which of its days: those of late, and every fourth."""
    newest_of_all, alls = of.newest(report, ALL_VOLUMES)
    day = rows.c.record_date
    shown = sql.or_(
        day > newest_of_all.c.daily_after, sql.func.mod(sql.func.to_days(day), EVERY_FOURTH) == 0
    )
    return newest_of_all, sql.and_(alls, shown)


def _usage22(of: _Tables) -> View:
    """
    Use by volume.

    The volume is told by its own table, which has few rows: so MariaDB sees that the newest dates
    of all volumes are few, and begins with them.
    """
    rows, volume = of.lustre_usage, of.volume
    newest_of_all, shown = _shown(of, rows, "reporter")
    return (
        sql.select(
            *(rows.c[name] for name in ("record_id", "used", "quota", "record_date", "archived")),
            _days(rows.c.last_modified),
            *(rows.c[name] for name in ("pi_id", "unix_id")),
            volume.c.volume_id,
            rows.c.warning_id,
        )
        .select_from(rows.join(volume, volume.c.volume_id == rows.c.volume_id))
        .join(newest_of_all, shown)
    )


def _usage23(of: _Tables) -> View:
    """Use by base directory; the quota and the warning are the group's on the volume."""
    rows, group = of.base_directory_usage, of.lustre_usage
    same = [rows.c[name] == group.c[name] for name in ("unix_id", "volume_id", "record_date")]
    newest_of_all, shown = _shown(of, rows, "inspector")
    return (
        sql.select(
            rows.c.record_id,
            rows.c.used,
            group.c.quota,
            rows.c.record_date,
            _days(rows.c.last_modified),
            *(rows.c[name] for name in ("pi_id", "unix_id", "base_directory_id")),
            sql.func.coalesce(group.c.warning_id, 1).label("warning_id"),
        )
        .select_from(rows.join(newest_of_all, shown))
        .outerjoin(group, sql.and_(*same))
    )


def _directories(of: _Tables, *first: Columns) -> View:
    rows, run = of.directory, of.report_run
    return (
        sql.select(
            rows.c.directory_id,
            *first,
            rows.c.num_files,
            _gib(rows.c.size),
            _days(rows.c.last_modified),
            rows.c.pi_id,
            rows.c.group_id,
        )
        .select_from(rows.join(run, run.c.run_id == rows.c.run_id))
        .where(run.c.current)
    )


def _directories22(of: _Tables) -> View:
    rows = of.directory
    path = _text(sql.func.nullif(rows.c.directory_path, "."), "directory_path")
    return _directories(of, _text(rows.c.project_name), path).add_columns(rows.c.volume_id)


def _directories23(of: _Tables) -> View:
    rows = of.directory
    return _directories(of, _text(rows.c.directory_path)).add_columns(rows.c.base_directory_id)


def _base_directories(of: _Tables) -> View:
    """Their volume is told by its own table, as in `_usage22`."""
    rows, volume = of.base_directory, of.volume
    path = sql.case(
        (rows.c.directory_path == "-", sql.func.concat("/lustre/", volume.c.scratch_disk)),
        else_=rows.c.directory_path,
    )
    return sql.select(
        rows.c.base_directory_id, _text(path, "directory_path"), volume.c.volume_id
    ).select_from(rows.join(volume, volume.c.volume_id == rows.c.volume_id))


def _file_sizes(of: _Tables) -> View:
    rows = of.file_size
    return sql.select(
        rows.c.file_size_id, rows.c.directory_id, rows.c.filetype_id, _gib(rows.c.size)
    )


def _vault(of: _Tables) -> View:
    """
    A row for each file and state, under the day on which it was seen last.

    The volume is hidden in an expression: MariaDB would else read the files of one volume after the
    other by an index, a page for each, for which it takes ten times as long as for all in a row.
    """
    rows, run = of.vault, of.report_run
    newest_of_all, alls = of.newest("puppeteer", ALL_VOLUMES)
    seen = (rows.c.last_seen, newest_of_all.c.record_date, rows.c.first_seen)
    return (
        sql.select(
            rows.c.record_id,
            sql.func.coalesce(*seen).label("record_date"),
            _text(rows.c.filepath),
            *(rows.c[name] for name in ("group_id", "vault_action_id", "size", "user_id")),
            sql.func.coalesce(rows.c.last_modified, *seen).label("last_modified"),
            sql.func.coalesce(rows.c.volume_id, 0).label("volume_id"),
        )
        .select_from(rows.join(newest_of_all, alls))
        .where(~sql.exists().where(run.c.run_id == rows.c.run_id, run.c.done.is_(None)))
    )


def _user_usage(of: _Tables) -> View:
    """Each volume's newest day, under the newest date of all volumes."""
    rows = of.user_usage
    newest, its = of.newest("users", rows.c.volume_id)
    newest_of_all, alls = of.newest("users", ALL_VOLUMES)
    day = sql.func.coalesce(newest_of_all.c.record_date, rows.c.record_date)
    return (
        sql.select(
            rows.c.record_id,
            day.label("record_date"),
            *(rows.c[name] for name in ("user_id", "group_id", "volume_id", "size")),
            sql.func.coalesce(rows.c.last_modified, day).label("last_modified"),
        )
        .select_from(rows.join(newest, its).join(newest_of_all, alls))
        .where(rows.c.record_date == newest.c.record_date)
    )
