"""
The files that vaults hold, searched in the order of their paths, page by page.

There are millions of rows. So a page examines some thousand that follow each other in an index of
`path_start`: of all, of a user, of a group, or of each of a person's groups at once. Where they do
not fill it, it tells how far it has come, and the next one goes on from there. Every file that is
asked for is on one page, and on one only.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import PATH_START, VAULT_IS_WHOLE, unix_group, user, vault, vault_actions, volume
from db.sight import conditions
from db.sight.conditions import Condition
from lurge_types.sight import Sight


class Limit(NamedTuple):
    """
    How far a search goes for a page.

    entries: of indices in which words are looked for. rows: how many of them are looked up.
    """

    entries: int
    rows: int


FOR_A_PAGE = Limit(6_000, 2_000)
"""
With 5,000,000 rows in MariaDB 10.11, of which a quarter fits into its buffer pool, words that no
path has take 20 ms, 2,000 rows of which none is wanted 10 ms, or 100 ms if none was read before.
"""

FOR_A_DOWNLOAD = Limit(20_000, 20_000)
FETCHED_AT_ONCE = 1_000
READS_FOR_A_DOWNLOAD = 25
"""Each goes to that limit, if it does not find as many files as are fetched at once before."""

MERGED_AT_ONCE = 100
"""SQLite merges no more than 500 selects."""

LAST_CHARACTER = "\U0010ffff"
SURROGATES = range(0xD800, 0xE000)
"""Numbers that stand for no character."""


class SearchTooLong(Exception):
    """So few of the files that may be seen are wanted that too many would have to be looked at."""


@dataclass(frozen=True, slots=True)
class FilesWanted:
    """
    Which files: whose path begins so (`/...`) or has all of some words, whose, marked for what.

    volume: one that has retired is searched where it is named, and only there. today: which have.
    """

    today: date
    path: str = ""
    user: str | None = None
    group: str | None = None
    action: str | None = None
    volume: str | None = None


class Place(NamedTuple):
    """A place in the order of the paths: that of a row."""

    path_start: str
    record_id: int


class Stretch(NamedTuple):
    """
    What a page may have.

    after: behind which place it begins. rows: how many files.
    """

    after: Place | None
    rows: int
    limit: Limit


class KeptFile(NamedTuple):
    """A file in a vault. path: as people know it. links: with 1, only the vault still has it."""

    volume: str
    path: str
    action: str
    group: str
    gid: int
    user: str
    uid: int
    size_bytes: int
    last_modified: date | None
    links: int
    first_seen: date


class Page(NamedTuple):
    """
    Some files that follow each other.

    after: behind which place the next page goes on; None where this is the last one.
    stopped: where the search broke off, though the page is not full.
    """

    files: Sequence[KeptFile]
    after: Place | None
    stopped: str | None


FILE = vault.c
ORDER = (FILE.path_start, FILE.record_id)
NOWHERE = Page((), None, None)


class Series(NamedTuple):
    """
    Entries of an index in the order of their paths.

    of: what the index begins with. but: which of the entries are looked at.
    """

    by: str
    of: Condition
    but: Condition = sql.true()


class Ids(NamedTuple):
    """What is asked for, by ids; None where anything is."""

    users: frozenset[int] | None
    groups: frozenset[int] | None
    actions: frozenset[int] | None
    volumes: frozenset[int] | None


def read(connection: Connection, sight: Sight, wanted: FilesWanted, stretch: Stretch) -> Page:
    """A page of files."""
    rows = stretch.rows
    ids = _ids(connection, wanted)
    # To a person somebody of whom they see nothing is as good as nobody, and looked for likewise.
    if frozenset() in (ids if sight.everything else (ids.actions, ids.volumes)):
        return NOWHERE
    series = _series(connection, sight, ids)
    if not series:
        return NOWHERE
    span = [*_begins(wanted.path), *_behind(stretch.after)]
    hints = list(_may_have_words(wanted.path))
    stop = _stop(connection, series, span, hints, stretch)
    where = *span, *_up_to(stop), *hints, *_conditions(ids, wanted)
    keys = _merged(series, lambda one: _entries(one, one.but, *where).limit(rows + 1))
    found = connection.execute(_files(keys.limit(rows + 1))).all()
    files = [KeptFile._make(row[len(ORDER) :]) for row in found[:rows]]
    if len(found) > rows:
        return Page(files, Place._make(found[rows - 1][: len(ORDER)]), None)
    return Page(files, stop, stop and stop.path_start)


def through(
    connection: Connection, sight: Sight, wanted: FilesWanted, after: Place | None, most: int
) -> Iterator[KeptFile]:
    """
    All files behind a place, but no more than so many.

    Raises SearchTooLong.
    """
    for _ in range(READS_FOR_A_DOWNLOAD):
        rows = min(most, FETCHED_AT_ONCE)
        page = read(connection, sight, wanted, Stretch(after, rows, FOR_A_DOWNLOAD))
        yield from page.files
        after = page.after
        most -= len(page.files)
        if after is None or not most:
            return
    raise SearchTooLong


def actions(connection: Connection) -> Sequence[str]:
    """What vaults do with files, by name."""
    name = vault_actions.c.action_name
    return connection.scalars(sql.select(name).order_by(name)).all()


def _ids(connection: Connection, wanted: FilesWanted) -> Ids:
    def of(column: sql.Column[int], where: Condition | None) -> frozenset[int] | None:
        if where is None:
            return None
        return frozenset(connection.scalars(sql.select(column).where(where)))

    def named(name: sql.Column[str], called: str | None) -> Condition | None:
        return None if called is None else name == called

    return Ids(
        of(user.c.user_id, named(user.c.user_name, wanted.user)),
        of(unix_group.c.group_id, named(unix_group.c.group_name, wanted.group)),
        of(vault_actions.c.vault_action_id, named(vault_actions.c.action_name, wanted.action)),
        of(volume.c.volume_id, conditions.of_volumes(wanted.volume, wanted.today)),
    )


def _series(connection: Connection, sight: Sight, ids: Ids) -> list[Series]:
    """
    How to come by what is asked for: to all of it that the visitor may see.

    A person passes what they may see and nothing else, whoever is asked for: how far a search came
    tells how much it has passed.
    """
    if not sight.everything:
        return _series_in_sight(_groups(connection, sight), _own(connection, sight), ids)
    if ids.users is not None:
        return list(map(_of_user, ids.users))
    if ids.groups is not None:
        return list(map(_of_group, ids.groups))
    return [Series("vault_path", sql.true())]


def _series_in_sight(groups: frozenset[int], own: frozenset[int], ids: Ids) -> list[Series]:
    if own and ids.users == own:
        return list(map(_of_user, own))
    within = groups if ids.groups is None else groups & ids.groups
    of_others = FILE.group_id.not_in(groups)
    return [*map(_of_group, within), *(_of_user(each, of_others) for each in own)]


def _groups(connection: Connection, sight: Sight) -> frozenset[int]:
    """The ids of a person's groups that have files in vaults."""
    has_files = sql.exists().where(FILE.group_id == unix_group.c.group_id)
    select = sql.select(unix_group.c.group_id).where(unix_group.c.gid.in_(sight.gids), has_files)
    return frozenset(connection.scalars(select))


def _own(connection: Connection, sight: Sight) -> frozenset[int]:
    """A person's id, if the database knows them."""
    return frozenset(connection.scalars(sql.select(user.c.user_id).where(user.c.uid == sight.uid)))


def _of_user(user_id: int, but: Condition = sql.true()) -> Series:  # noqa: B008 - never changed
    return Series("vault_user", FILE.user_id == user_id, but)


def _of_group(group_id: int) -> Series:
    return Series("vault_group", FILE.group_id == group_id)


def _stop(
    connection: Connection,
    series: Sequence[Series],
    span: Sequence[Condition],
    hints: Sequence[Condition],
    stretch: Stretch,
) -> Place | None:
    """
    Where to stop; None: nowhere.

    Of each series at least as many entries are passed as fill a page.
    """
    entries, rows = (max(each // len(series), stretch.rows + 1) for each in stretch.limit)
    stop = _nth(connection, series, span, entries) if hints else None
    return _nth(connection, series, [*span, *_up_to(stop), *hints], rows) or stop


def _nth(
    connection: Connection, series: Sequence[Series], span: Sequence[Condition], number: int
) -> Place | None:
    """The first place at which so many entries of any of the series are passed; None: nowhere."""
    last = _merged(series, lambda one: _entries(one, *span).limit(1).offset(number - 1))
    found = connection.execute(last.limit(1)).one_or_none()
    return None if found is None else Place._make(found)


def _entries(one: Series, *where: Condition) -> sql.Select[Any]:
    """
    Entries of a series, in their order.

    MariaDB takes an index for less than it is worth where only the first rows are asked for.
    """
    return (
        sql.select(*ORDER)
        .where(one.of, *where)
        .order_by(*ORDER)
        .with_hint(vault, f"FORCE INDEX ({one.by})", "mysql")
    )


def _merged(series: Sequence[Series], part: Callable[[Series], sql.Select[Any]]) -> sql.Select[Any]:
    """Parts of series in one order."""
    return _merge([part(one) for one in series])


def _merge(parts: Sequence[sql.Select[Any]]) -> sql.Select[Any]:
    if len(parts) > MERGED_AT_ONCE:
        starts = range(0, len(parts), MERGED_AT_ONCE)
        return _merge([_merge(parts[start : start + MERGED_AT_ONCE]) for start in starts])
    if len(parts) == 1:
        return parts[0]
    merged = sql.union_all(*(sql.select(part.subquery()) for part in parts)).subquery()
    return sql.select(merged).order_by(merged.c.path_start, merged.c.record_id)


def _files(entries: sql.Select[Any]) -> sql.Select[Any]:
    """The files of some entries, each behind its place."""
    keys = entries.subquery("keys_of_page")
    return (
        sql.select(
            *(keys.c.path_start, keys.c.record_id, volume.c.scratch_disk, FILE.filepath),
            *(vault_actions.c.action_name, unix_group.c.group_name, unix_group.c.gid),
            *(user.c.user_name, user.c.uid, FILE.size, FILE.last_modified, FILE.links),
            FILE.first_seen,
        )
        .select_from(
            keys.join(vault, FILE.record_id == keys.c.record_id)
            .join(volume, volume.c.volume_id == FILE.volume_id)
            .join(vault_actions, vault_actions.c.vault_action_id == FILE.vault_action_id)
            .join(unix_group, unix_group.c.group_id == FILE.group_id)
            .join(user, user.c.user_id == FILE.user_id)
        )
        .order_by(keys.c.path_start, keys.c.record_id)
    )


def _conditions(ids: Ids, wanted: FilesWanted) -> Iterator[Condition]:
    """What is asked of entries on the way."""
    if not wanted.path.startswith("/"):
        yield conditions.has_words(wanted.path, FILE.filepath)
    yield FILE.last_seen.is_(None)
    for column, some in (
        # SQLite would rather sort what it finds by an index that begins with the volume.
        (sql.literal_column("0") + FILE.volume_id, ids.volumes),
        (FILE.vault_action_id, ids.actions),
        (FILE.group_id, ids.groups),
        (FILE.user_id, ids.users),
    ):
        if some is not None:
            yield column.in_(some)
    yield VAULT_IS_WHOLE


def _may_have_words(path: str) -> Iterator[Condition]:
    """What the index tells of whether the path has all words."""
    for word in () if path.startswith("/") else path.split():
        yield sql.or_(
            conditions.has_words(word, FILE.path_start),
            sql.func.length(FILE.path_start) >= PATH_START,  # bytes or characters
        )


def _begins(path: str) -> Iterator[Condition]:
    """The path begins so, as a range of the index."""
    if not path.startswith("/"):
        return
    yield from _between(FILE.path_start, path[:PATH_START])
    # What is compared in MySQL is the same with spaces at its end.
    if len(path) > PATH_START or path.endswith(" "):
        yield from _between(FILE.filepath, path)
        yield FILE.filepath.startswith(path, autoescape=True)


def _between(column: sql.Column[str], beginning: str) -> Iterator[Condition]:
    yield column >= beginning
    yield column < _end(beginning)


def _end(beginning: str) -> str:
    r"""
    The least text that is greater than all that begin so, which is not with the last character.

    >>> _end("/a"), _end("/a\U0010ffff"), ascii(_end("/\ud7ff"))
    ('/b', '/b', "'/\\ue000'")
    """
    kept = beginning.rstrip(LAST_CHARACTER)
    number = ord(kept[-1]) + 1
    return kept[:-1] + chr(SURROGATES.stop if number in SURROGATES else number)


def _behind(place: Place | None) -> Iterator[Condition]:
    start, number = FILE.path_start, FILE.record_id
    if place:
        yield start >= place.path_start
        yield sql.or_(
            start > place.path_start,
            sql.and_(start == place.path_start, number > place.record_id),
        )


def _up_to(place: Place | None) -> Iterator[Condition]:
    start, number = FILE.path_start, FILE.record_id
    if place:
        yield start <= place.path_start
        yield sql.or_(
            start < place.path_start,
            sql.and_(start == place.path_start, number <= place.record_id),
        )
