"""Whatever has a name: a row for each, added in bulk, found by what never changes."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from typing import NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db import schema
from db.dialects import insert_new
from db.schema import base_directory, filetype, pi, unix_group, user, volume
from lurge_types.names import Group, User
from lurge_types.reports import BaseDirectory
from lurge_types.scans import Volume
from utils.paths import raw, text

ASKED_AT_ONCE = 1000
"""How many base directories a statement asks for."""


class Owner(NamedTuple):
    """The ids of a group and of its investigator, if it has one."""

    group_id: int
    pi_id: int | None


class Named(NamedTuple):
    """What a row says of a gid or uid, and whether anybody knows it today."""

    known: bool
    values: Mapping[str, object]


def owners(connection: Connection, groups: Iterable[Group]) -> Mapping[int, Owner]:
    """The ids of groups and of their investigators by gid; new ones are added."""
    by_gid = {group.gid: group for group in groups}
    groups_by_gid = group_ids(connection, by_gid.values())
    pis_by_name = pi_ids(connection, (group.pi for group in by_gid.values() if group.pi))
    return {
        gid: Owner(groups_by_gid[gid], pis_by_name[group.pi] if group.pi else None)
        for gid, group in by_gid.items()
    }


def group_ids(connection: Connection, groups: Iterable[Group]) -> Mapping[int, int]:
    """The ids of groups by gid; new groups are added, changed names are changed."""
    rows = {
        group.gid: Named(group.known, {"group_name": group.name, "is_humgen": group.is_humgen})
        for group in groups
    }
    return _numbered_ids(connection, unix_group, rows)


def user_ids(connection: Connection, users: Iterable[User]) -> Mapping[int, int]:
    """The ids of users by uid; new users are added, changed names are changed."""
    rows = {one.uid: Named(one.known, {"user_name": one.name}) for one in users}
    return _numbered_ids(connection, user, rows)


def _numbered_ids(
    connection: Connection, table: sql.Table, rows: Mapping[int, Named]
) -> Mapping[int, int]:
    """
    The ids in a table that begins with an id and a gid or uid, by the latter.

    A name that was known stays when nobody knows it today: a directory that is down for a night
    must not rename everybody. A row that was imported with the name alone gets its number.
    """
    id_, number, called = list(table.columns)[:3]
    known = {row[1]: row._mapping for row in connection.execute(sql.select(table))}
    unnumbered = {row[called.name]: key for key, row in known.items() if key < 0}
    new = []
    for key in sorted(rows):
        values = rows[key].values
        if key not in known and rows[key].known and values[called.name] in unnumbered:
            mine = number == unnumbered.pop(str(values[called.name]))
            numbered = {number.name: key, **values, "absent_since": None}
            connection.execute(sql.update(table).where(mine).values(numbered))
        elif key not in known:
            new.append({number.name: key, **values})
        elif rows[key].known and any(known[key][name] != values[name] for name in values):
            connection.execute(sql.update(table).where(number == key).values(values))
    if new:
        connection.execute(insert_new(connection, table, number.name), new)
    return {row[0]: row[1] for row in connection.execute(sql.select(number, id_))}


def vault_actions(connection: Connection) -> Mapping[str, int]:
    """The ids of what vaults do with files, by name; sites may have added some."""
    actions = connection.execute(sql.select(schema.vault_actions))
    return {row.action_name: row.vault_action_id for row in actions}


def pi_ids(connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
    """The ids of investigators by name; new ones are added."""
    return _ids(connection, pi, names)


def file_type_ids(connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
    """The ids of file types by name; new ones are added."""
    return _ids(connection, filetype, names)


def _ids(connection: Connection, table: sql.Table, names: Iterable[str]) -> Mapping[str, int]:
    """The ids of names in a table that has an id, a hash and a name."""
    number, hashed, called = table.columns
    ids = sql.select(called, number)
    known = {name for name, _ in connection.execute(ids)}
    new = [
        {hashed.name: sha256(name.encode("utf-8")).digest(), called.name: name}
        for name in sorted(set(names) - known)
    ]
    if new:
        connection.execute(insert_new(connection, table, hashed.name), new)
    return {name: int(id_) for name, id_ in connection.execute(ids)}


def base_ids(
    connection: Connection, volume_id: int, bases: Iterable[BaseDirectory]
) -> Mapping[str, int]:
    """
    The ids of a volume's base directories by their real path.

    New ones are added; what is shown for one may change. One that was imported, as it was shown,
    gets its real path.
    """
    by_hash = {sha256(raw(base.real)).digest(): base for base in bases}
    ids = {}
    for hashes in _slices(sorted(by_hash)):
        known = _known_bases(connection, volume_id, hashes)
        if missing := [by_hash[hashed] for hashed in hashes if hashed not in known]:
            _make_real(connection, volume_id, missing)
            known = _known_bases(connection, volume_id, hashes)
        new = [
            {
                "directory_path": by_hash[hashed].shown,
                "real_path": by_hash[hashed].real,
                "path_hash": hashed,
                "volume_id": volume_id,
            }
            for hashed in hashes
            if hashed not in known
        ]
        if new:
            insert = insert_new(connection, base_directory, "volume_id", "path_hash")
            connection.execute(insert, new)
            known = _known_bases(connection, volume_id, hashes)
        for hashed, (base_directory_id, shown) in known.items():
            if shown != by_hash[hashed].shown:
                _show(connection, base_directory_id, by_hash[hashed].shown)
            ids[by_hash[hashed].real] = base_directory_id
    return ids


def shown_hash(path: str) -> bytes:
    """What stands for the hash of a base directory whose real path nobody knows, but the shown."""
    return sha256(b"shown: " + raw(path)).digest()


def _make_real(connection: Connection, volume_id: int, bases: Sequence[BaseDirectory]) -> None:
    """Let base directories take the place of those that were imported as they are shown."""
    by_hash = {shown_hash(base.shown): base for base in bases}
    for hashed in _known_bases(connection, volume_id, list(by_hash)):
        real = by_hash[hashed].real
        connection.execute(
            sql.update(base_directory)
            .where(base_directory.c.volume_id == volume_id, base_directory.c.path_hash == hashed)
            .values(real_path=real, path_hash=sha256(raw(real)).digest())
        )


def _slices(hashes: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for first in range(0, len(hashes), ASKED_AT_ONCE):
        yield hashes[first : first + ASKED_AT_ONCE]


def _known_bases(
    connection: Connection, volume_id: int, hashes: Sequence[bytes]
) -> Mapping[bytes, tuple[int, str]]:
    rows = connection.execute(
        sql.select(
            base_directory.c.base_directory_id,
            base_directory.c.directory_path,
            base_directory.c.path_hash,
        ).where(
            base_directory.c.volume_id == volume_id,
            base_directory.c.path_hash.in_(hashes),
        )
    )
    return {row.path_hash: (row.base_directory_id, row.directory_path) for row in rows}


def _show(connection: Connection, base_directory_id: int, shown: str) -> None:
    connection.execute(
        sql.update(base_directory)
        .where(base_directory.c.base_directory_id == base_directory_id)
        .values(directory_path=shown)
    )


def volume_id(connection: Connection, of: Volume) -> int:
    """The id of a volume, which is added where it is new; its mount may change."""
    values = {"scratch_disk": of.name, "mount": None if of.mount is None else text(of.mount)}
    row = connection.execute(
        sql.select(volume.c.volume_id, volume.c.mount).where(volume.c.scratch_disk == of.name)
    ).one_or_none()
    if row is None:
        connection.execute(insert_new(connection, volume, "scratch_disk"), values)
        return volume_id(connection, of)
    if of.mount is not None and row.mount != values["mount"]:
        connection.execute(
            sql.update(volume).where(volume.c.volume_id == row.volume_id).values(values)
        )
    return int(row.volume_id)
