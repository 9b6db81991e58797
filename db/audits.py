"""The audit: who did what to runs and units, and when. Rows are added and nothing else."""

from datetime import datetime

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import archive_audit
from lurge_types.archive import Act, Actor, Audit

LONGEST = 4000
"""Characters of a detail or reason, of which MySQL takes 16,383."""


def add(
    connection: Connection,
    act: Act,
    actor: Actor,
    now: datetime,
    *,
    run_id: int | None = None,
    unit_id: int | None = None,
    detail: str = "",
) -> None:
    """Tell of an act, in the transaction that does it and knows when it has done it before."""
    row = _row(act, actor, now, run_id, unit_id, detail)
    connection.execute(sql.insert(archive_audit), row)


def add_once(
    connection: Connection,
    act: Act,
    actor: Actor,
    now: datetime,
    *,
    run_id: int | None = None,
    unit_id: int | None = None,
    detail: str = "",
) -> None:
    """
    Tell of an act that leaves no other row; of the same one, to the microsecond, only once.

    now: the same however often the transaction is tried.
    """
    row = _row(act, actor, now, run_id, unit_id, detail)
    same = (archive_audit.c[name].is_not_distinct_from(value) for name, value in row.items())
    if connection.scalar(sql.select(archive_audit.c.audit_id).where(*same).limit(1)) is None:
        connection.execute(sql.insert(archive_audit), row)


def _row(  # noqa: PLR0917 - a row has as many values
    act: Act, actor: Actor, now: datetime, run_id: int | None, unit_id: int | None, detail: str
) -> dict[str, object]:
    return {
        "at": now,
        "act": act,
        "run_id": run_id,
        "unit_id": unit_id,
        "who": actor.who,
        "config_sha256": actor.config_sha256,
        "detail": words(detail),
    }


def read(
    connection: Connection,
    *,
    run_id: int | None = None,
    unit_id: int | None = None,
    act: Act | None = None,
    since: datetime | None = None,
    after: int = 0,
    limit: int = 1000,
) -> list[Audit]:
    """A page of what was told, in its order, behind an audit_id."""
    asked = {"run_id": run_id, "unit_id": unit_id, "act": act}
    where = [archive_audit.c[name] == value for name, value in asked.items() if value is not None]
    if since is not None:
        where.append(archive_audit.c.at >= since)
    rows = connection.execute(
        sql.select(archive_audit)
        .where(*where, archive_audit.c.audit_id > after)
        .order_by(archive_audit.c.audit_id)
        .limit(limit)
    )
    return [Audit(**row._mapping) for row in rows]


def words(said: str) -> str:
    r"""
    Words as a database takes them: cut, and bytes of names that are no characters written out.

    >>> print(words("no such file: caf\udce9"))
    no such file: caf\xe9
    """
    text = said.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return text[:LONGEST]
