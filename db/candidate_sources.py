"""
What candidates are made of where no scan is read: the inspector's and the puppeteer's stored rows.

And, in any case, which groups are archived by the reporter's rows.
"""

from array import array
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from functools import partial
from hashlib import blake2b
from typing import Any, NamedTuple

import numpy as np
import sqlalchemy as sql
from numpy.typing import NDArray
from sqlalchemy.engine import Connection

from db.database import Database
from db.pages import RowsReplaced, Stored, fetch, through
from db.schema import (
    directory,
    directory_age,
    lustre_usage,
    unix_group,
    vault_actions,
    vault_now,
    volume,
)
from lurge_types.candidates import Held, Marked
from lurge_types.reports import AGE_CLASSES, DIRECTLY, FOLDED, UNKNOWN_AGE
from utils.paths import raw

CHUNK_ROWS = 1000
"""How many rows are asked for at a time, by their ids."""

Ids = NDArray[np.int64]


def archived(connection: Connection, volume_name: str, day: date) -> set[int]:
    """The gids of which the reporter's last row of a volume, of a date or before, says archived."""
    volume_id = connection.scalar(
        sql.select(volume.c.volume_id).where(volume.c.scratch_disk == volume_name)
    )
    last = (
        sql.select(lustre_usage.c.archived)
        .where(
            lustre_usage.c.unix_id == unix_group.c.group_id,
            lustre_usage.c.volume_id == volume_id,
            lustre_usage.c.record_date <= day,
        )
        .order_by(lustre_usage.c.record_date.desc())
        .limit(1)
        .scalar_subquery()
    )
    rows = connection.execute(sql.select(unix_group.c.gid, last.label("archived")))
    return {row.gid for row in rows if row.archived}


def large(database: Database, inspected: Stored, least: int) -> Iterator[Sequence[Held]]:
    """
    What directories hold that have so many bytes over all groups, some hundred at a time.

    One is whole unless a group's directories are folded there and it may be among them: then there
    is no telling what the group has in it.

    Raises DatabaseFailed.
    """
    # GROUP BY is no help: MariaDB compares the first 1,024 bytes of a text, and keeps all of them.
    gids = database.transaction(_gids)
    folded = database.transaction(partial(_folded, run_id=inspected.run_id))
    for ids in _large_ids(database, inspected.run_id, least):
        yield [
            held
            for rows in database.transaction(partial(_by_path, ids=ids))
            if (held := _held(rows, gids, folded)).size_bytes >= least
        ]


class _Part(NamedTuple):
    """A row of `directory`, with its bytes by class of age."""

    row: sql.Row[Any]
    by_age: Mapping[int, int]


def _gids(connection: Connection) -> dict[int, int]:
    rows = connection.execute(sql.select(unix_group.c.group_id, unix_group.c.gid))
    return {row.group_id: row.gid for row in rows}


def _folded(connection: Connection, run_id: int) -> dict[int, set[int]]:
    """The groups whose smallest directories are folded, by base directory."""
    rows = connection.execute(
        sql.select(directory.c.base_directory_id, directory.c.group_id).where(
            directory.c.run_id == run_id,
            directory.c.real_path.is_(None),
            directory.c.directory_path == FOLDED,
        )
    )
    folded: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        folded[row.base_directory_id].add(row.group_id)
    return folded


def _large_ids(database: Database, run_id: int, least: int) -> Iterator[list[int]]:
    """
    Ids of rows whose paths may have so many bytes; all rows of a path are together.

    A path is known by a digest of 8 bytes here: whoever reads the rows tells paths apart.
    """
    ids, digests, sizes = array("q"), array("Q"), array("q")
    for row in _paths(database, run_id):
        ids.append(row.directory_id)
        digest = blake2b(row.real_path.encode(), digest_size=8).digest()
        digests.append(int.from_bytes(digest, "little"))
        sizes.append(row.size)
    distinct, digest_of = np.unique(np.array(digests, np.uint64), return_inverse=True)
    total = np.zeros(len(distinct), np.int64)
    np.add.at(total, digest_of, np.array(sizes, np.int64))
    chosen = np.flatnonzero((total >= least)[digest_of]) if len(distinct) else digest_of
    chosen = chosen[np.argsort(digest_of[chosen], kind="stable")]
    chosen_ids = np.array(ids, np.int64)[chosen].tolist()
    ends = np.flatnonzero(np.diff(digest_of[chosen], append=-1)) + 1
    first = 0
    for end in ends.tolist():
        if end - first >= CHUNK_ROWS or end == len(chosen_ids):
            yield chosen_ids[first:end]
            first = end


def _paths(database: Database, run_id: int) -> Iterator[sql.Row[Any]]:
    rows = sql.select(directory.c.directory_id, directory.c.real_path, directory.c.size).where(
        directory.c.run_id == run_id, directory.c.real_path.is_not(None)
    )
    return through(database, rows, directory.c.directory_id)


def _by_path(connection: Connection, ids: Sequence[int]) -> list[list[_Part]]:
    """The rows with some ids, those of each path together."""
    ages: dict[int, dict[int, int]] = defaultdict(dict)
    found = sql.select(directory_age).where(directory_age.c.directory_id.in_(ids))
    for age in connection.execute(found):
        ages[age.directory_id][age.age_class] = age.size
    by_path: dict[str, list[_Part]] = defaultdict(list)
    for row in connection.execute(sql.select(directory).where(directory.c.directory_id.in_(ids))):
        by_path[row.real_path].append(_Part(row, ages[row.directory_id]))
    return list(by_path.values())


def _held(parts: Sequence[_Part], gids: Mapping[int, int], folded: Mapping[int, set[int]]) -> Held:
    """What a directory holds; 0 bytes of one that is no whole tree in any case."""
    rows = [part.row for part in parts]
    first = rows[0]
    is_tree = all(row.directory_path != DIRECTLY for row in rows)
    groups = {row.group_id for row in rows}
    days = [row.last_used for row in rows if row.last_used is not None]
    return Held(
        directory=first.directory_path,
        real_path=first.real_path,
        gids=tuple(sorted(gids[group_id] for group_id in groups)),
        files=sum(row.num_files for row in rows),
        size_bytes=sum(row.size for row in rows) if is_tree else 0,
        by_age=tuple(
            sum(part.by_age.get(age, 0) for part in parts) for age in (*AGE_CLASSES, UNKNOWN_AGE)
        ),
        last_used_days=min(days, default=None),
        kept_files=sum(row.kept_files for row in rows),
        holds_vault=any(row.holds_vault for row in rows),
        lies_above=any(row.lies_above for row in rows),
        is_whole=folded.get(first.base_directory_id, set()) <= groups,
    )


class MarkedFiles:
    """
    The files of a volume that vaults have by some action, but those that they have by another too.

    ids: of their rows; sizes: in bytes; gids: of all of them, ascending. left_out: how many are not
    among them for the other action.
    """

    def __init__(self, database: Database, volume_name: str, action: str, unless: str) -> None:
        self._database = database
        gid_of = database.transaction(_gids)
        ids, sizes, inodes, others = array("q"), array("q"), array("Q"), array("Q")
        groups = set()
        for row in _vault_rows(database, volume_name):
            called = row.action_name.lower()
            if called == unless:
                others.append(int(row.inode))
            elif called == action:
                ids.append(row.record_id)
                sizes.append(row.size)
                inodes.append(int(row.inode))
                groups.add(row.group_id)
        is_other = np.isin(np.array(inodes, np.uint64), np.array(others, np.uint64))
        self.ids: Ids = np.array(ids, np.int64)[~is_other]
        self.sizes: Ids = np.array(sizes, np.int64)[~is_other]
        self.left_out = int(is_other.sum())
        self.gids = tuple(sorted(gid_of[group_id] for group_id in groups))
        self._gid_of = gid_of

    def at(self, places: Sequence[int]) -> list[Marked]:
        """The files at some places. Raises DatabaseFailed, RowsReplaced."""
        return [marked for marked, _ in self._read(places)]

    def keys(self, places: Sequence[int]) -> Iterator[bytes]:
        """What orders those of a size: real paths, then states."""
        for first in range(0, len(places), CHUNK_ROWS):
            for marked, state in self._read(places[first : first + CHUNK_ROWS]):
                yield raw(marked.real_path) + b"\0" + state

    def _read(self, places: Sequence[int]) -> list[tuple[Marked, bytes]]:
        ids = self.ids[list(places)].tolist()
        rows: dict[int, sql.Row[Any]] = {}
        for first in range(0, len(ids), CHUNK_ROWS):
            some = sql.select(vault_now).where(
                vault_now.c.record_id.in_(ids[first : first + CHUNK_ROWS])
            )
            found = self._database.transaction(partial(fetch, select=some))
            rows.update({row.record_id: row for row in found})
        if len(rows) < len(ids):
            raise RowsReplaced("rows of puppeteer were replaced meanwhile: run again")
        return [
            (Marked(row.real_path, self._gid_of[row.group_id], row.size), row.state_hash)
            for row in map(rows.__getitem__, ids)
        ]


def _vault_rows(database: Database, volume_name: str) -> Iterator[sql.Row[Any]]:
    columns = ("record_id", "inode", "size", "group_id")
    rows = (
        sql.select(*(vault_now.c[name] for name in columns), vault_actions.c.action_name)
        .join(vault_actions, vault_actions.c.vault_action_id == vault_now.c.vault_action_id)
        .join(volume, volume.c.volume_id == vault_now.c.volume_id)
        .where(volume.c.scratch_disk == volume_name)
    )
    return through(database, rows, vault_now.c.record_id)
