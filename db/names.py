"""Groups, investigators and volumes: a row for each, added in bulk, found by what never changes."""

from collections.abc import Iterable, Mapping
from hashlib import sha256

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.dialects import insert_new
from db.schema import pi, unix_group, volume
from lurge_types.names import Group
from lurge_types.scans import Volume
from utils.paths import text


def group_ids(connection: Connection, groups: Iterable[Group]) -> Mapping[int, int]:
    """
    The ids of groups by gid; new groups are added, changed names are changed.

    A name that was known stays when nobody knows it today: a directory that is down for a night
    must not rename everybody.
    """
    known = {
        row.gid: row
        for row in connection.execute(
            sql.select(
                unix_group.c.gid,
                unix_group.c.group_id,
                unix_group.c.group_name,
                unix_group.c.is_humgen,
            )
        )
    }
    new = []
    for group in sorted(groups, key=lambda group: group.gid):
        row = known.get(group.gid)
        values = {"gid": group.gid, "group_name": group.name, "is_humgen": group.is_humgen}
        if row is None:
            new.append(values)
        elif group.known and (row.group_name, row.is_humgen) != (group.name, group.is_humgen):
            connection.execute(
                sql.update(unix_group).where(unix_group.c.gid == group.gid).values(values)
            )
    if new:
        connection.execute(insert_new(connection, unix_group, "gid"), new)
    ids = sql.select(unix_group.c.gid, unix_group.c.group_id)
    return {row.gid: row.group_id for row in connection.execute(ids)}


def pi_ids(connection: Connection, names: Iterable[str]) -> Mapping[str, int]:
    """The ids of investigators by name; new ones are added."""
    ids = sql.select(pi.c.pi_name, pi.c.pi_id)
    known = {row.pi_name for row in connection.execute(ids)}
    new = [
        {"pi_hash": sha256(name.encode("utf-8")).digest(), "pi_name": name}
        for name in sorted(set(names) - known)
    ]
    if new:
        connection.execute(insert_new(connection, pi, "pi_hash"), new)
    return {row.pi_name: row.pi_id for row in connection.execute(ids)}


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
