"""What is asked of a database before it is needed: may it be written, and how large does it get."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import dialects, pruning
from db.pruning import HISTORIES, History
from db.schema import (
    archive_audit,
    archive_copy,
    archive_run,
    archive_unit,
    base_directory_usage,
    lease,
    lustre_usage,
    pi,
    report_run,
    unix_group,
    user_usage,
    vault,
    volume,
)
from db.upkeep import in_use, retired

NIGHTS_LOOKED_AT = 30
"""For how many nights it is counted what vaults add."""

ROW_BYTES = {lustre_usage: 320, user_usage: 175, base_directory_usage: 250, vault: 1480}
"""
Bytes of a row with its indices, measured in MariaDB 10.11 with 120,000 rows of each table, filled
night by night (240,000 of base_directory_usage), and paths of 120 characters. SQLite took 235, 100,
125 and 925.
"""


class Kept(NamedTuple):
    """
    The days that are recorded of a report and volume.

    bytes_a_day: of the newest one's rows. grows: whether the volume is in use.
    """

    days: Sequence[date]
    bytes_a_day: int
    grows: bool = True


class Size(NamedTuple):
    """
    What the database takes.

    bytes_now: as the database itself tells. histories: which are thinned out with time.
    vault_bytes_a_night: that vaults add. volumes: how many have records. What has retired adds
    nothing, and does not count.
    """

    bytes_now: int
    histories: Sequence[Kept]
    vault_bytes_a_night: int
    volumes: int

    @property
    def bytes_a_night(self) -> int:
        """That a night adds, 0 where nothing is recorded."""
        of_history = sum(each.bytes_a_day for each in self.histories if each.grows)
        return self.vault_bytes_a_night + of_history


def size(connection: Connection, today: date) -> Size:
    """What the database takes now, and what each night adds."""
    volumes = connection.scalar(
        sql.select(sql.func.count(report_run.c.volume_id.distinct()))
        .join_from(report_run, volume)
        .where(in_use(today))
    )
    gone = retired(connection, today)
    return Size(
        dialects.size(connection),
        [_kept(connection, of, gone) for of in pruning.histories(connection, list(HISTORIES))],
        ROW_BYTES[vault] * _added_to_vaults(connection, today),
        volumes or 0,
    )


def _kept(connection: Connection, of: History, gone: frozenset[str]) -> Kept:
    rows = pruning.rows(connection, of, of.days[-1])
    return Kept(of.days, ROW_BYTES[HISTORIES[of.report]] * rows, grows=of.volume not in gone)


def _added_to_vaults(connection: Connection, today: date) -> int:
    """How many rows vaults add a night of late, but for what was there on a volume's first date."""
    seen = vault.c.first_seen
    days = (
        sql.select(
            vault.c.volume_id, sql.func.min(seen).label("first"), sql.func.max(seen).label("last")
        )
        .where(vault.c.volume_id.in_(sql.select(volume.c.volume_id).where(in_use(today))))
        .group_by(vault.c.volume_id)
    )
    return sum(_added(connection, *row) for row in connection.execute(days).all())


def _added(connection: Connection, volume_id: int, first: date, last: date) -> int:
    since = max(first, last - timedelta(NIGHTS_LOOKED_AT))
    rows = connection.scalar(
        sql.select(sql.func.count()).where(
            vault.c.volume_id == volume_id, vault.c.first_seen > since
        )
    )
    return (rows or 0) // max(1, (last - since).days)


def try_rights(connection: Connection) -> None:
    """Write a row, change and delete it, and take all of that back."""
    there = pi.c.pi_hash == bytes(32)  # no name has this hash
    with connection.begin_nested() as trial:
        connection.execute(sql.insert(pi), {"pi_hash": bytes(32), "pi_name": "nobody"})
        connection.execute(sql.update(pi).where(there).values(pi_name="no one"))
        connection.execute(sql.delete(pi).where(there))
        trial.rollback()


def try_archive_rights(connection: Connection) -> None:
    """Add and change no row at all: whether the archive's tables may be written is told by that."""
    for table in (lease, archive_run, archive_unit, archive_copy, archive_audit):
        nothing = sql.select(table).where(sql.false())
        names = [column.name for column in table.columns]
        connection.execute(sql.insert(table).from_select(names, nothing))
        if table is not archive_audit:
            column = table.columns[names[-1]]
            connection.execute(sql.update(table).where(sql.false()).values({column: column}))


def largest_gids(connection: Connection, most: int, today: date) -> list[int]:
    """The gids of groups that use most of the volumes in use, the largest first."""
    of_newest = sql.and_(
        lustre_usage.c.volume_id == report_run.c.volume_id,
        lustre_usage.c.record_date == report_run.c.record_date,
    )
    used = sql.func.max(lustre_usage.c.used)
    return list(
        connection.scalars(
            sql.select(unix_group.c.gid)
            .join_from(report_run, volume)
            .join(lustre_usage, of_newest)
            .join(unix_group, unix_group.c.group_id == lustre_usage.c.unix_id)
            .where(
                report_run.c.report == "reporter",
                report_run.c.current,
                in_use(today),
                unix_group.c.gid >= 0,  # below, only the name is known
            )
            .group_by(unix_group.c.gid)
            .order_by(used.desc(), unix_group.c.gid)
            .limit(most)
        )
    )
