"""What could be archived, of each volume's newest date: sums of it, and the rows."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

import sqlalchemy as sql
from sqlalchemy.engine import Connection

from db.schema import archive_candidate, candidate_group, report_run, unix_group, volume
from db.sight import conditions
from db.sight.conditions import Condition
from db.sight.paging import Part, Rows, take
from lurge_types.candidates import KINDS, VAULT
from lurge_types.reports import percent
from lurge_types.sight import Sight


@dataclass(frozen=True, slots=True)
class CandidatesWanted:
    """
    Which candidates: of a volume, of a kind, with all of some words in the path, groups or PI.

    volume: one that has retired is shown where it is named, and only there. today: which have.
    kind: one of `KINDS`: a file has no class, and its reason stands for it. group: one that has
    files in them.
    """

    today: date
    volume: str | None = None
    kind: str | None = None
    group: str | None = None
    words: str = ""


class ShownCandidate(NamedTuple):
    """A candidate as in `lurge_types.candidates`, and its volume. kind: one of `KINDS`."""

    volume: str
    rank: int
    kind: str
    reason: str
    groups: str
    pi: str | None
    size_bytes: int
    cold_bytes: int | None
    files: int
    last_used_days: Decimal | None
    path: str
    real_path: str
    cost_per_month: Decimal | None

    @property
    def cold_percent(self) -> Decimal | None:
        """Of its bytes."""
        return None if self.cold_bytes is None else percent(self.cold_bytes, self.size_bytes)


class Total(NamedTuple):
    """What the candidates of one of `KINDS` on a volume amount to; None: not known of any."""

    volume: str
    kind: str
    candidates: int
    size_bytes: int
    cold_bytes: int | None
    files: int
    cost_per_month: Decimal | None


@dataclass(frozen=True, slots=True)
class Found(Rows[ShownCandidate]):
    """Some candidates, how many there are in all, and the sums of them by volume and kind."""

    totals: Sequence[Total]


OF = archive_candidate.c
ITS = candidate_group.c

SORTS: Mapping[str, sql.ColumnElement[Any]] = {
    "rank": OF.rank,
    "size_bytes": OF.size,
    "cold_bytes": OF.cold,
    "last_used_days": OF.last_used,
    "cost_per_month": OF.cost_per_month,
}
"""What each column is sorted by, but for the volume."""

BY_RANK = Part("volume")


class Among(NamedTuple):
    """
    What is looked through.

    volumes: their names by the ids of their newest runs. mine: the ids of the groups that a
    candidate's have to be among. any_of: those of which one has to be a candidate's. None: whatever
    groups.
    """

    volumes: Mapping[int, str]
    mine: frozenset[int] | None
    any_of: frozenset[int] | None


def read(connection: Connection, sight: Sight, wanted: CandidatesWanted, part: Part) -> Found:
    """A part of the table, and the sums of what is wanted of any kind."""
    among = _among(connection, sight, wanted)
    sums = _totals(connection, among, wanted)
    counts = Counter[str]()
    for each in sums:
        if wanted.kind in (None, each.kind):
            counts[each.volume] += each.candidates
    if replace(part, first=0, count=None) == BY_RANK:
        rows = _by_rank(connection, among, wanted, part, counts)
    else:
        rows = _rows(connection, among, wanted, part)
    return Found(rows, counts.total(), sums)


def totals(connection: Connection, sight: Sight, wanted: CandidatesWanted) -> Sequence[Total]:
    """The sums by volume and kind, of whatever kind is wanted."""
    return _totals(connection, _among(connection, sight, wanted), wanted)


def _among(connection: Connection, sight: Sight, wanted: CandidatesWanted) -> Among:
    name = volume.c.scratch_disk
    runs = connection.execute(
        sql.select(report_run.c.run_id, name)
        .join(volume, volume.c.volume_id == report_run.c.volume_id)
        .where(
            conditions.newest_run("candidates"),
            conditions.of_volumes(wanted.volume, wanted.today),
        )
        .order_by(name)
    )
    volumes = {row.run_id: row.scratch_disk for row in runs}
    mine = None if sight.everything else _ids(connection, conditions.of_groups(sight))
    if wanted.group is None:
        return Among(volumes, mine, mine)
    named = _ids(connection, unix_group.c.group_name == wanted.group)
    return Among(volumes, mine, named if mine is None else named & mine)


def _ids(connection: Connection, of_groups: Condition) -> frozenset[int]:
    return frozenset(connection.scalars(sql.select(unix_group.c.group_id).where(of_groups)))


def _totals(connection: Connection, among: Among, wanted: CandidatesWanted) -> Sequence[Total]:
    by = OF.run_id, OF["class"], OF.reason
    sums = map(sql.func.sum, (OF.size, OF.cold, OF.files, OF.cost_per_month))
    select: sql.Select[Any] = sql.select(*by, sql.func.count(), *sums).group_by(*by)
    found = connection.execute(_seen(select, among, wanted.words))
    made = (_total(among.volumes[run_id], *facts) for run_id, *facts in found)
    return sorted(made, key=lambda each: (each.volume, -KINDS.index(each.kind)))


def _total(called: str, kind: str | None, reason: str, count: int, *sums: Any) -> Total:
    """Sums of integers are decimals in MariaDB."""
    size, cold, files, cost = sums
    cold_bytes = None if cold is None else int(cold)
    return Total(called, kind or reason, count, int(size), cold_bytes, int(files), cost)


def _by_rank(
    connection: Connection,
    among: Among,
    wanted: CandidatesWanted,
    part: Part,
    counts: Mapping[str, int],
) -> Iterator[ShownCandidate]:
    """
    Volume by volume: rows lie so in the database, which stops at the last that is asked for.

    counts: how many candidates there are of each volume.
    """
    first, left = part.first, part.count
    for run_id, called in among.volumes.items():
        there = max(0, counts[called] - first)
        if there and left != 0:
            of_one = among._replace(volumes={run_id: called})
            yield from _rows(connection, of_one, wanted, Part("rank", False, first, left))
            left = left and max(0, left - there)
        first = max(0, first - counts[called])


def _rows(
    connection: Connection, among: Among, wanted: CandidatesWanted, part: Part
) -> Iterator[ShownCandidate]:
    select: sql.Select[Any] = sql.select(
        *(OF.run_id, OF.rank, sql.func.coalesce(OF["class"], OF.reason), OF.reason, OF.groups),
        *(OF.pi, OF.size, OF.cold, OF.files, OF.last_used, OF.path, OF.real_path),
        OF.cost_per_month,
    )
    select = _seen(select, among, wanted.words)
    if wanted.kind is not None:
        is_file = wanted.kind == VAULT
        select = select.where(OF["class"].is_(None) if is_file else OF["class"] == wanted.kind)
    # As by their names, but faster.
    places = {run_id: place for place, run_id in enumerate(among.volumes)}
    of_volume = sql.case(places, value=OF.run_id) if places else OF.run_id
    sorts = {"volume": of_volume, **SORTS}
    for row in take(connection, select, part, sorts, (of_volume, OF.rank)):
        yield ShownCandidate._make((among.volumes[row[0]], *row[1:]))


def _seen(select: sql.Select[Any], among: Among, words: str) -> sql.Select[Any]:
    select = select.where(conditions.has_words(words, OF.path, OF.groups, OF.pi))
    if among.any_of is None:
        # By the index of sums MariaDB would look up each row to find words in it: 130 ms, not 50.
        hint = "IGNORE INDEX (candidate_sums)" if words else ""
        select = select.where(OF.run_id.in_(among.volumes))
        return select.with_hint(archive_candidate, hint, "mysql")
    of_one = ITS.group_id.in_(among.any_of), ITS.run_id.in_(among.volumes)
    is_it = sql.and_(ITS.run_id == OF.run_id, ITS.rank == OF.rank)
    joined = candidate_group.join(archive_candidate, is_it)
    # Of a hundred groups MariaDB would rather read all candidates: 120 ms, not 60.
    select = select.prefix_with("STRAIGHT_JOIN", dialect="mysql").select_from(joined)
    return select.where(*of_one, ~_is_of_another(among.mine, among.any_of))


def _is_of_another(mine: frozenset[int] | None, any_of: frozenset[int]) -> Condition:
    """
    A candidate also is of a group that is none of mine, or comes before among those it may be of.

    So it is shown once, to whom all of its groups belong; one whose groups nobody has stored is
    shown to nobody.
    """
    other = candidate_group.alias("other")
    group_id = other.c.group_id
    another = sql.and_(group_id.in_(any_of), group_id < ITS.group_id)
    if mine is not None:
        another = sql.or_(group_id.not_in(mine), another)
    return sql.exists().where(other.c.run_id == ITS.run_id, other.c.rank == ITS.rank, another)
