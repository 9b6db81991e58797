"""
The database of the suite before Lurge, of either of its two generations; it is only read.

Generation 1 has what groups use by volume, generation 2 by base directory. Both have a row for each
day, and of vaults a copy of every file for each day. Rows are read in the order of their ids, up to
the ids that are there when the reading begins.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.database import Database, DatabaseFailed
from utils.paths import text

Table = Literal["lustre_usage", "user_usage", "vault"]
T = TypeVar("T")
Place = tuple[int, date]
"""A volume, by its id there, and a date."""

ALWAYS = ("lustre_usage", "pi", "unix_group", "user", "volume")
NEEDED = {
    "lustre_usage": {"record_id", "used", "record_date", "unix_id"},
    "pi": {"pi_id", "pi_name"},
    "unix_group": {"group_id", "group_name"},
    "user": {"user_id", "user_name"},
    "volume": {"volume_id", "scratch_disk"},
    "user_usage": {"record_id", "record_date", "user_id", "group_id", "volume_id", "size"},
    "vault": {"record_id", "record_date", "filepath", "vault_action_id", "size", "volume_id"},
    "vault_actions": {"vault_action_id", "action_name"},
}
"""Columns that tables have in every form; the first tables are always there."""

OWN = {"report_run", "schema_version"}
"""Tables that only Lurge has."""

LONGEST_NAME = 255
SIZES: Mapping[Table, str] = {"lustre_usage": "used", "user_usage": "size", "vault": "size"}
PAGE_ROWS = 10_000
AHEAD = 2
"""How many pages are read while one is looked at."""

ASKED_AT_ONCE = 1_000

STATE_BYTES, NUMBER_BYTES = 32, 8
COPY_BYTES = STATE_BYTES + 2 * NUMBER_BYTES
"""Of a file in a vault on a day: a digest of its state, its record_id and its size."""

ROOM = 2 * PAGE_ROWS * COPY_BYTES
"""For all copies of a page in one field; the server's default is 1 MB, or less."""


class NoAncestor(DatabaseFailed):
    """A database that has not the tables of the suite before Lurge."""


class OldGroup(NamedTuple):
    """A group; generation 2 does not tell which are the site's project groups."""

    name: str
    is_humgen: bool


class OldBase(NamedTuple):
    """A base directory, as it was shown."""

    path: str
    volume_id: int


@dataclass(frozen=True)
class Sum:
    """How many rows, and the bytes that they tell of."""

    rows: int
    size_bytes: int

    def __add__(self, other: "Sum") -> "Sum":
        """Both together."""
        return Sum(self.rows + other.rows, self.size_bytes + other.size_bytes)

    def __bool__(self) -> bool:
        """Whether there is any row."""
        return bool(self.rows)


NOTHING = Sum(0, 0)

NOBODY, NO_ID = "-", 0
"""An owner who was not recorded: there the id is NULL, or that of no row."""


class OldUse(NamedTuple):
    """What a group used on a volume, or in a base directory, on a date; all ids are those there."""

    record_id: int
    record_date: date
    volume_id: int
    base_id: int | None
    group_id: int
    pi_id: int | None
    size_bytes: int
    quota_bytes: int | None
    last_modified: Decimal | None
    archived: bool
    warning: int


class OldUserUse(NamedTuple):
    """What a user had in a group on a volume on a date; all ids are those there."""

    record_id: int
    record_date: date
    volume_id: int
    user_id: int
    group_id: int
    size_bytes: int
    last_modified: date | None


class OldFile(NamedTuple):
    """A state of a file in a vault, with the names of its owners."""

    record_id: int
    path: str
    group: str
    user: str
    action: str
    size_bytes: int
    last_modified: date | None


class Copies(NamedTuple):
    """Files of a vault's volume and day: `COPY_BYTES` of each, one after the other."""

    place: Place
    packed: bytes


@dataclass(frozen=True)
class OldNames:
    """
    What is called how, by the ids there; names are in their text form.

    volumes: of several of one name the first stands for all. first_of: this one's id, by any id.
    """

    pis: Mapping[int, str]
    groups: Mapping[int, OldGroup]
    users: Mapping[int, str]
    volumes: Mapping[int, str]
    actions: Mapping[int, str]
    bases: Mapping[int, OldBase]
    first_of: Mapping[int, int]


class Ancestor:
    """
    A database of the suite before Lurge.

    name: its server and name, whoever reads it. has: which of its histories are there. names: all
        that are there, whether anything is of them or not.

    Raises NoAncestor, DatabaseFailed.
    """

    def __init__(self, url: str, password: str | None, waiting: Callable[[str], None]) -> None:
        address = sql.make_url(url)
        port = f":{address.port}" if address.port else ""
        self.name = f"{address.host or 'localhost'}{port}/{address.database}"
        self._database = database = Database(
            url, password=password, silent_seconds=None, waiting=waiting
        )
        self._columns = database.transaction(_columns)
        self._check()
        self._tables = {
            name: sql.table(name, *map(sql.column, sorted(columns)))
            for name, columns in self._columns.items()
        }
        self.has = [table for table in SIZES if table in self._columns]
        self._counted: dict[Table, Mapping[Place | None, Sum]] = {}
        self.names = database.transaction(self._names)
        self._last = {table: database.transaction(partial(_last, table)) for table in self.has}

    def close(self) -> None:
        """Let go of all connections."""
        self._database.close()

    @property
    def by_base(self) -> bool:
        """Whether this is generation 2, which has use by base directory."""
        return "base_directory_id" in self._columns["lustre_usage"]

    def _check(self) -> None:
        if OWN & self._columns.keys():
            raise NoAncestor(f"{self.name} is a database of Lurge: name that of the suite before")
        if len(self.name) > LONGEST_NAME:
            raise NoAncestor(f"{self.name}: longer than {LONGEST_NAME} characters: use an alias")
        of_history = {
            name: needed for name, needed in NEEDED.items() if name in (*ALWAYS, *self._columns)
        }
        for table, needed in of_history.items():
            if missing := needed - self._columns.get(table, set()):
                raise NoAncestor(
                    f"{self.name}: {table} has no {', '.join(sorted(missing))}: name the database "
                    "that the suite before Lurge has written"
                )

    def sums(self, table: Table) -> Mapping[Place | None, Sum]:
        """What is there of each volume and date; of None what has no volume or no date."""
        if table not in self._counted:
            counted = self._database.transaction(partial(self._sums, table=table))
            self._counted[table] = counted
        return self._counted[table]

    def uses(self) -> Iterator[list[OldUse]]:
        """What groups used, in pages, of whatever has a volume and a date."""
        of = self._tables["lustre_usage"]
        columns = (
            *(of.c.record_id, of.c.record_date),
            of.c.base_directory_id if self.by_base else of.c.volume_id,
            _number(of.c.unix_id),
            *(of.c.pi_id, _number(of.c.used), of.c.quota, of.c.last_modified),
            self._optional(of, "archived", 0),
            self._optional(of, "warning_id", 1),
        )
        volumes = self.names.first_of
        if self.by_base:
            volumes = {
                number: volumes[base.volume_id]
                for number, base in self.names.bases.items()
                if base.volume_id in volumes
            }
        for page in self._rows_of("lustre_usage", columns):
            placed = ((row, volumes.get(row[2])) for row in page if row[1] is not None)
            yield [
                OldUse(row[0], row[1], volume_id, row[2] if self.by_base else None, *row[3:])
                for row, volume_id in placed
                if volume_id is not None
            ]

    def user_uses(self) -> Iterator[list[OldUserUse]]:
        """What users had, in pages."""
        of = self._tables["user_usage"]
        columns = (
            *(of.c.record_id, of.c.record_date, of.c.volume_id),
            *map(_number, (of.c.user_id, of.c.group_id, of.c.size)),
            of.c.last_modified,
        )
        volumes = self.names.first_of
        for page in self._rows_of("user_usage", columns):
            placed = ((row, volumes.get(row[2])) for row in page if row[1] is not None)
            yield [
                OldUserUse(row[0], row[1], volume_id, *row[3:])
                for row, volume_id in placed
                if volume_id is not None
            ]

    def copies(self) -> Iterator[Copies]:
        """
        The files that vaults held, of some volume and day at a time.

        The server packs them into one field: as rows they would take five times as long.
        """
        for copies in self._pages("vault", self._packed):
            yield from copies

    def files(self, record_ids: Sequence[int]) -> list[OldFile]:
        """Files of vaults by their ids, of any number, in no order."""
        of, joined, group, owner = self._vault()
        actions = self._tables["vault_actions"]
        select = (
            sql.select(
                *(of.c.record_id, of.c.filepath),
                *(sql.func.coalesce(name, NOBODY) for name in (group, owner)),
                *(actions.c.action_name, _number(of.c.size), of.c.last_modified),
            )
            .select_from(joined.join(actions, actions.c.vault_action_id == of.c.vault_action_id))
            .where(of.c.record_id.in_(sql.bindparam("ids", expanding=True)))
        )
        found = []
        for first in range(0, len(record_ids), ASKED_AT_ONCE):
            ids = {"ids": list(record_ids[first : first + ASKED_AT_ONCE])}
            found += self._database.transaction(partial(_rows, select=select, values=ids))
        return [
            OldFile(row[0], *(_text(row[1]), _text(row[2]), _text(row[3]), _text(row[4])), *row[5:])
            for row in found
        ]

    def _optional(self, of: sql.TableClause, column: str, otherwise: int) -> sql.ColumnElement[Any]:
        """A column that came later, and may be NULL."""
        if column not in of.c:
            return sql.literal_column(str(otherwise))
        return sql.func.coalesce(of.c[column], otherwise)

    def _names(self, connection: Connection) -> OldNames:
        def called(table: str, number: str, name: str) -> dict[int, str]:
            if table not in self._columns:
                return {}
            of = self._tables[table]
            rows = connection.execute(sql.select(of.c[number], of.c[name]))
            return {row[0]: _text(row[1]) for row in rows}

        groups = self._tables["unix_group"]
        humgen = self._optional(groups, "is_humgen", 1)
        found = connection.execute(sql.select(groups.c.group_id, groups.c.group_name, humgen))
        group_names = {row[0]: OldGroup(_text(row[1]), bool(row[2])) for row in found}
        user_names = called("user", "user_id", "user_name") | self._file_owners(connection)
        group_names[NO_ID] = OldGroup(NOBODY, is_humgen=False)
        user_names[NO_ID] = NOBODY
        disks = called("volume", "volume_id", "scratch_disk")
        first = {disk: number for number, disk in sorted(disks.items(), reverse=True)}
        return OldNames(
            pis=called("pi", "pi_id", "pi_name"),
            groups=group_names,
            users=user_names,
            volumes={number: disk for disk, number in first.items()},
            first_of={number: first[disk] for number, disk in disks.items()},
            actions=called("vault_actions", "vault_action_id", "action_name"),
            bases=self._bases(connection) if self.by_base else {},
        )

    def _bases(self, connection: Connection) -> dict[int, OldBase]:
        of = self._tables["base_directory"]
        columns = (of.c.base_directory_id, of.c.directory_path, of.c.volume_id)
        rows = connection.execute(sql.select(*columns))
        return {row[0]: OldBase(_text(row[1]), row[2]) for row in rows}

    def _file_owners(self, connection: Connection) -> dict[int, str]:
        """The names that an early form of vaults has instead of numbers; theirs are below 0."""
        if "file_owner" not in self._columns.get("vault", ()):
            return {}
        of = self._tables["vault"]
        owners = connection.scalars(
            sql.select(of.c.file_owner).distinct().where(of.c.file_owner.is_not(None))
        )
        return {-number: _text(name) for number, name in enumerate(sorted(owners), start=1)}

    def _sums(self, connection: Connection, table: Table) -> dict[Place | None, Sum]:
        of = self._tables[table]
        rows: sql.FromClause = of
        where = of
        whole: sql.ColumnElement[bool] = sql.true()
        if table == "lustre_usage" and self.by_base:
            where = self._tables["base_directory"]
            rows = of.outerjoin(where, where.c.base_directory_id == of.c.base_directory_id)
        if table == "vault":
            whole = self._is_whole(of)
        found = connection.execute(
            sql.select(
                sql.case((whole, where.c.volume_id)),
                of.c.record_date,
                sql.func.count(),
                sql.func.sum(_number(of.c[SIZES[table]])),
            )
            .select_from(rows)
            .where(of.c.record_id <= self._last[table])
            .group_by(sql.text("1"), of.c.record_date)
        )
        sums: dict[Place | None, Sum] = {}
        for volume_id, day, count, size_bytes in found:
            first = self.names.first_of.get(volume_id)
            place = None if first is None or day is None else (first, day)
            sums[place] = sums.get(place, NOTHING) + Sum(count, int(size_bytes))
        return sums

    def _is_whole(self, of: sql.TableClause) -> sql.ColumnElement[bool]:
        """Of a row of vault: it has a path, and an action that there is."""
        action = of.c.vault_action_id.in_(sorted(self.names.actions))
        return sql.and_(sql.func.coalesce(action, sql.false()), of.c.filepath.is_not(None))

    def _pages(self, table: Table, read: Callable[..., T]) -> Iterator[T]:
        """
        What is read of the ids above one number and not above another, page by page.

        The next pages are on their way meanwhile: the server has as much to do as who reads.
        """
        firsts = range(0, self._last[table], PAGE_ROWS)
        pool = ThreadPoolExecutor(AHEAD)
        try:
            coming: deque[Future[T]] = deque()
            for first in firsts:
                last = min(first + PAGE_ROWS, self._last[table])
                act = partial(read, after=first, upto=last)
                coming.append(pool.submit(self._database.transaction, act))
                if len(coming) > AHEAD:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _rows_of(
        self, table: Table, columns: Sequence[sql.ColumnElement[Any]]
    ) -> Iterator[list[Any]]:
        """The rows of a table in the order of their ids, in pages."""
        record_id = self._tables[table].c.record_id

        def read(connection: Connection, after: int, upto: int) -> list[Any]:
            page = sql.select(*columns).where(record_id > after, record_id <= upto)
            return list(connection.execute(page.order_by(record_id)))

        return self._pages(table, read)

    def _vault(
        self,
    ) -> tuple[sql.TableClause, sql.FromClause, sql.ColumnElement[Any], sql.ColumnElement[Any]]:
        """The vaults' table, with the names' tables, and the names of the group and the owner."""
        of, groups = self._tables["vault"], self._tables["unix_group"]
        joined: sql.FromClause = of.outerjoin(groups, groups.c.group_id == of.c.group_id)
        if "user_id" not in of.c:  # an early form has the name itself
            return of, joined, groups.c.group_name, of.c.file_owner
        users = self._tables["user"]
        joined = joined.outerjoin(users, users.c.user_id == of.c.user_id)
        return of, joined, groups.c.group_name, users.c.user_name

    def _packed(self, connection: Connection, after: int, upto: int) -> list[Copies]:
        """
        The copies whose ids are above one number and not above another.

        Owners are told by their names: generation 2 has many ids for one group.
        """
        of, joined, group, owner = self._vault()
        facts = (of.c.vault_action_id, of.c.size, of.c.last_modified, group, owner, of.c.filepath)
        state = sql.func.concat_ws(
            "\0", *(sql.func.coalesce(sql.func.concat("=", fact), "-") for fact in facts)
        )
        packed = sql.func.concat(
            sql.func.unhex(sql.func.sha2(state, 256)),
            *map(_binary, (of.c.record_id, _number(of.c.size))),
        )
        connection.exec_driver_sql(f"SET SESSION group_concat_max_len = {ROOM}")
        rows = connection.execute(
            sql.select(
                of.c.volume_id,
                of.c.record_date,
                sql.func.count(),
                sql.func.group_concat(packed.op("SEPARATOR")(sql.literal_column("''"))),
            )
            .select_from(joined)
            .where(
                of.c.record_id > after,
                of.c.record_id <= upto,
                of.c.volume_id.in_(sorted(self.names.first_of)),
                of.c.record_date.is_not(None),
                self._is_whole(of),
            )
            .group_by(of.c.volume_id, of.c.record_date)
        )
        copies = []
        for volume_id, day, count, field_ in rows:
            if len(field_) != count * COPY_BYTES:
                raise DatabaseFailed(
                    f"{self.name}: {len(field_)} bytes came of {count} files in vaults: "
                    "see to its max_allowed_packet, which must be 1 MB at the least"
                )
            copies.append(Copies((self.names.first_of[volume_id], day), field_))
        return copies


def _columns(connection: Connection) -> dict[str, set[str]]:
    at = sql.inspect(connection)
    return {
        table: {str(column["name"]) for column in at.get_columns(table)}
        for table in at.get_table_names()
    }


def _last(table: str, connection: Connection) -> int:
    """The last id."""
    last = connection.scalar(
        sql.select(sql.func.max(sql.column("record_id"))).select_from(sql.table(table))
    )
    return last or 0


def _rows(connection: Connection, select: sql.Select[Any], values: Mapping[str, Any]) -> list[Any]:
    return list(connection.execute(select, values))


def _number(column: sql.ColumnElement[Any]) -> sql.ColumnElement[Any]:
    return sql.func.coalesce(column, 0)


def _binary(number: sql.ColumnElement[Any]) -> sql.ColumnElement[Any]:
    """A number in eight bytes, the highest first."""
    return sql.func.unhex(sql.func.lpad(sql.func.hex(number), 2 * NUMBER_BYTES, "0"))


def _text(name: object) -> str:
    return text(str(name).encode())
