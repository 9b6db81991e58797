"""
Leases: claims that end by themselves, each with a token that grows whenever somebody takes it.

Whoever was silent for too long loses a lease without knowing. So what is done under one is written
in a transaction that checks it: a token that is no longer the newest writes nothing. When a lease
ends is told by the database's clock alone, which all who take it share.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import writers
from db.dialects import clock, insert_new
from db.schema import lease
from db.writers import Writer

NAME = re.compile(r"[!-~]{1,191}").fullmatch

LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - as databases have it
NOBODY: dict[str, Any] = {"holder": "", "expires": LONG_AGO}


class LeaseLost(Exception):
    """A lease has expired, or another has taken it: what was to be done under it is not."""


class Lease(NamedTuple):
    """A lease that was taken, and the token it was taken with."""

    name: str
    token: int


class Holder(NamedTuple):
    """Who has a lease, and until when by the database's clock if it is not renewed."""

    who: str
    expires: datetime


def _nobody(_: str) -> bool:
    return False


def me(worker: object = 0) -> str:
    """
    What this process calls itself as a holder.

    worker: tells apart those in the process that take leases on their own; no blank in it.
    """
    return f"{writers.me().host} {writers.me().process} {worker}"


def is_dead(holder: str) -> bool:
    """Whether a holder, as `me` calls it, is a process of this host that has ended."""
    words = holder.rsplit(" ", 3)
    if len(words) != len(("host", "number", "started", "worker")) or not words[1].isdecimal():
        return False
    return not writers.lives(Writer(words[0], f"{words[1]} {words[2]}"), LONG_AGO, LONG_AGO)


def take(
    connection: Connection,
    name: str,
    holder: str,
    seconds: float,
    *,
    dead: Callable[[str], bool] = _nobody,
) -> int | None:
    """
    Take a lease; its new token, or None while another has it.

    name: up to 191 printable ASCII characters, no blank. holder: unlike all others' who take it;
    one who has it already gets a new token, and the old one ends. dead: whether another is known
    not to come back, such as `is_dead`.
    """
    if not NAME(name) or not holder:
        raise ValueError(f"{name!r} of {holder!r} cannot be a lease")
    row, now = _locked(connection, name)
    if row is None:
        first = {"name": name, "token": 0, **NOBODY}
        connection.execute(insert_new(connection, lease, "name"), first)
        return take(connection, name, holder, seconds, dead=dead)
    if row.expires > now and row.holder != holder and not dead(row.holder):
        return None
    token = int(row.token) + 1
    expires = now + timedelta(seconds=seconds)
    _change(connection, name, holder=holder, token=token, expires=expires)
    return token


def raise_to(connection: Connection, name: str, token: int) -> None:
    """
    Let a lease have this token, and all later ones larger, where it has a smaller one.

    Whoever holds it under the smaller one loses it.
    """
    row, _ = _locked(connection, name)
    if row is None:
        connection.execute(
            insert_new(connection, lease, "name"), {"name": name, "token": 0, **NOBODY}
        )
        row, _ = _locked(connection, name)
    if row is not None and row.token < token:
        _change(connection, name, token=token)


def renew(connection: Connection, name: str, token: int, seconds: float) -> bool:
    """Keep a lease for so long from now on; False where it is lost, an expired one too."""
    row, now = _locked(connection, name)
    if row is None or row.token != token or row.expires <= now:
        return False
    _change(connection, name, expires=now + timedelta(seconds=seconds))
    return True


def release(connection: Connection, name: str, token: int) -> None:
    """Give a lease back, unless another has it by now."""
    row, _ = _locked(connection, name)
    if row is not None and row.token == token:
        _change(connection, name, **NOBODY)


def check(connection: Connection, name: str, token: int) -> None:
    """
    See that a lease is held, in the transaction that writes what is done under it.

    Nobody else can take it before the end of the transaction, though it expires meanwhile.

    Raises LeaseLost.
    """
    row, now = _locked(connection, name)
    if row is None or row.token != token:
        raise LeaseLost(f"{name}: token {token} is no longer the newest")
    if row.expires <= now:
        raise LeaseLost(f"{name}: token {token} has expired at {row.expires} UTC")


def holder(connection: Connection, name: str) -> Holder | None:
    """Who has a lease, if anybody has."""
    row = connection.execute(sql.select(lease).where(lease.c.name == name)).one_or_none()
    if row is None or row.expires <= clock(connection):
        return None
    return Holder(row.holder, row.expires)


def _locked(connection: Connection, name: str) -> tuple[sql.Row[Any] | None, datetime]:
    """A lease's row, locked where there is one, and what time it was after that."""
    this = sql.select(lease).where(lease.c.name == name).with_for_update()
    return connection.execute(this).one_or_none(), clock(connection)


def _change(connection: Connection, name: str, **values: object) -> None:
    connection.execute(sql.update(lease).where(lease.c.name == name).values(values))
