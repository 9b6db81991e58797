"""Candidates are shown to those to whom all of their groups belong: rows and sums alike."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from servers import nights
from servers.databases import Connect, Place, on_mariadb
from servers.nights import DAY, VOLUME

from db import candidates, upkeep
from db.database import Database
from db.schema import archive_candidate, candidate_group
from db.sight import candidates as seen
from db.sight.candidates import CandidatesWanted, ShownCandidate, Total
from db.sight.paging import Part
from db.upkeep import Retirement
from lurge_types.candidates import Candidate
from lurge_types.scans import Volume
from lurge_types.sight import Sight

OTHER = Volume("another", b"/lustre/another")
GONE = Volume("gone", b"/lustre/gone")
VOLUMES = (VOLUME, OTHER, GONE)
# Two are called alike, as those of an imported database may be.
GROUPS = {gid: nights.group(gid) for gid in range(5)} | {5: nights.group(5, name="team2")}
KINDS = ("now", "soon", "watch", "vault")
EVERYTHING = Sight(everything=True)
BY_RANK = Part("volume")


def candidate(rank: int, gids: Sequence[int], kind: str = "now", **facts: Any) -> Candidate:
    """A candidate in figures that depend on its rank; a file if it is of kind `vault`."""
    is_file = kind == "vault"
    made = Candidate(
        rank=rank,
        kind=None if is_file else kind,
        reason="vault" if is_file else "cold",
        groups=",".join(f"team{gid}" for gid in gids),
        pi=f"Doe {rank % 2}" if rank % 3 else None,
        size_bytes=rank * 37 % 11 * 10**9,
        cold_bytes=None if is_file else rank * 37 % 11 * 9 * 10**8,
        files=rank,
        last_used_days=None if is_file else Decimal(rank * 29 % 13).scaleb(-1),
        shown=f"/lustre/projects/run_{rank}",
        real_path=f"/lustre/mdt0/projects/run_{rank}",
        cost_per_month=Decimal("1.25") * rank if rank % 2 else None,
        gids=tuple(gids),
    )
    return made._replace(**facts)


def store(
    database: Database, rows: Sequence[Candidate], of: Volume = VOLUME, days_ago: int = 0
) -> None:
    run = nights.run(DAY - timedelta(days=days_ago), of, report="candidates")
    filling = candidates.begin(database, run, of, len(rows), replace=True)
    filling.add(rows, GROUPS)
    filling.finish()


def retire(database: Database) -> None:
    gone = {GONE.name: Retirement(DAY, None)}
    database.transaction(lambda connection: upkeep.retire(connection, gone))


def read(
    database: Database, sight: Sight, wanted: CandidatesWanted, part: Part = BY_RANK
) -> tuple[list[ShownCandidate], int, Sequence[Total]]:
    def act(connection: sql.Connection) -> tuple[list[ShownCandidate], int, Sequence[Total]]:
        found = seen.read(connection, sight, wanted, part)
        return list(found.rows), found.total, found.totals

    return database.read(act)


def shown(of: Volume, row: Candidate) -> ShownCandidate:
    return ShownCandidate(
        *(of.name, row.rank, row.kind or "vault", row.reason, row.groups, row.pi, row.size_bytes),
        *(row.cold_bytes, row.files, row.last_used_days, row.shown, row.real_path),
        row.cost_per_month,
    )


def twin(
    stored: dict[Volume, list[Candidate]], sight: Sight, wanted: CandidatesWanted
) -> list[ShownCandidate]:
    """What is found of any kind, by volume and rank."""
    return [
        shown(of, row)
        for of in sorted(stored, key=lambda each: each.name)
        for row in stored[of]
        if sight.everything or (row.gids and sight.gids.issuperset(row.gids))
        if wanted.volume == of.name or (wanted.volume is None and of is not GONE)
        if wanted.group is None or wanted.group in {GROUPS[gid].name for gid in row.gids}
        if all(
            any(word in text.lower() for text in (row.shown, row.groups, row.pi or ""))
            for word in wanted.words.lower().split()
        )
    ]


def amount(rows: Sequence[ShownCandidate]) -> list[Total]:
    places = {(row.volume, row.kind) for row in rows}
    return [
        total_of([row for row in rows if (row.volume, row.kind) == place])
        for place in sorted(places, key=lambda place: (place[0], KINDS.index(place[1])))
    ]


def total_of(rows: Sequence[ShownCandidate]) -> Total:
    cold = [row.cold_bytes for row in rows if row.cold_bytes is not None]
    costs = [row.cost_per_month for row in rows if row.cost_per_month is not None]
    return Total(
        *(rows[0].volume, rows[0].kind, len(rows), sum(row.size_bytes for row in rows)),
        *(sum(cold) if cold else None, sum(row.files for row in rows)),
        sum(costs, Decimal()) if costs else None,
    )


some_rows = some.lists(
    some.tuples(some.sets(some.integers(0, 5), max_size=3), some.sampled_from(KINDS)), max_size=12
).map(
    lambda each: [candidate(rank, sorted(gids), kind) for rank, (gids, kind) in enumerate(each, 1)]
)
sights = some.one_of(
    some.just(EVERYTHING), some.builds(Sight, gids=some.frozensets(some.integers(0, 7)))
)
wishes = some.builds(
    CandidatesWanted,
    some.just(DAY),
    volume=some.sampled_from([None, None, VOLUME.name, GONE.name, "unknown"]),
    kind=some.sampled_from([None, None, *KINDS]),
    group=some.sampled_from([None, None, "team1", "team2", "team", "strangers"]),
    words=some.sampled_from(["", "", "TEAM1", "doe run_1", "team2 team3", "%", "_", "nothing"]),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(some.tuples(some_rows, some_rows, some_rows), sights, wishes, some.integers(1, 5))
def test_whoever_asks_gets_the_rows_and_sums_of_what_they_may_see(
    database: Database,
    rows: tuple[list[Candidate], ...],
    sight: Sight,
    wanted: CandidatesWanted,
    on_page: int,
) -> None:
    stored = dict(zip(VOLUMES, rows, strict=True))
    for of, theirs in stored.items():
        store(database, theirs, of)
    retire(database)
    right = twin(stored, sight, wanted)
    of_kind = [row for row in right if wanted.kind in (None, row.kind)]
    found, total, totals = read(database, sight, wanted)
    assert found == of_kind
    assert total == len(of_kind)
    assert totals == amount(right)
    for sort in (BY_RANK, Part("size_bytes", descending=True), Part("cost_per_month")):
        paged: list[ShownCandidate] = []
        for first in range(0, total, on_page):
            part = Part(sort.sort, sort.descending, first, on_page)
            page, _, _ = read(database, sight, wanted, part)
            assert len(page) <= on_page
            paged += page
        assert sorted(paged) == sorted(of_kind)
        assert sort != BY_RANK or paged == of_kind
        sizes = [row.size_bytes for row in paged]
        assert sort.sort != "size_bytes" or sizes == sorted(sizes, reverse=True)


def test_candidates_of_an_older_version_are_for_administrators_alone(database: Database) -> None:
    store(database, [candidate(1, [1]), candidate(2, [1])])
    forget = sql.delete(candidate_group).where(candidate_group.c.rank == 2)
    database.transaction(lambda connection: connection.execute(forget))
    ranks = [
        row.rank for row in read(database, Sight(gids=frozenset({1})), CandidatesWanted(DAY))[0]
    ]
    assert ranks == [1]
    assert len(read(database, EVERYTHING, CandidatesWanted(DAY))[0]) == 2


def test_only_the_newest_date_is_shown(database: Database) -> None:
    store(database, [candidate(1, [1]), candidate(2, [1])], days_ago=1)
    store(database, [candidate(1, [1], "soon")])
    run = nights.run(DAY + timedelta(days=1), report="candidates")
    candidates.begin(database, run, VOLUME, 1, replace=False).add([candidate(1, [1])], GROUPS)
    for sight in (EVERYTHING, Sight(gids=frozenset({1}))):
        found, total, _ = read(database, sight, CandidatesWanted(DAY))
        assert [row.kind for row in found] == ["soon"]
        assert total == 1


@pytest.mark.parametrize("sort", ["rank", *seen.SORTS])
def test_what_is_unknown_comes_last_whichever_way_it_is_sorted(
    database: Database, sort: str
) -> None:
    of = [candidate(rank, [1], "vault" if rank % 4 == 0 else "now") for rank in range(1, 20)]
    store(database, of)
    for descending in (False, True):
        found, _, _ = read(database, EVERYTHING, CandidatesWanted(DAY), Part(sort, descending))
        values = [getattr(row, sort) for row in found]
        known = [value for value in values if value is not None]
        assert values == sorted(known, reverse=descending) + [None] * (len(values) - len(known))


def analyze(connection: sql.Connection, table: sql.Table) -> None:
    connection.exec_driver_sql(f"ANALYZE TABLE {table.name}").all()


@on_mariadb
@pytest.mark.parametrize(
    ("sight", "wanted"),
    [
        (Sight(gids=frozenset({1, 2})), CandidatesWanted(DAY)),
        (Sight(gids=frozenset({1, 2})), CandidatesWanted(DAY, group="team1")),
        (EVERYTHING, CandidatesWanted(DAY, group="team1")),
    ],
)
def test_candidates_of_groups_are_read_by_the_index_of_groups(
    place: Place,
    database: Database,
    connect: Connect,
    sight: Sight,
    wanted: CandidatesWanted,
) -> None:
    store(database, [candidate(rank, [rank % 6]) for rank in range(1, 2000)])
    admin = connect(place.admin)
    for table in (archive_candidate, candidate_group):
        admin.transaction(partial(analyze, table=table))

    def plans(connection: sql.Connection) -> list[sql.RowMapping]:
        asked_for: list[tuple[str, Any]] = []

        @sql.event.listens_for(connection, "before_cursor_execute")
        def note(*arguments: Any) -> None:
            if "archive_candidate" in arguments[2]:
                asked_for.append((arguments[2], arguments[3]))

        part = Part("size_bytes", descending=True, count=50)
        list(seen.read(connection, sight, wanted, part).rows)
        return [
            row
            for statement, values in list(asked_for)
            for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values).mappings()
        ]

    keys = [(step["table"], step["key"]) for step in admin.read(plans)]
    assert len(keys) == 6
    assert keys[:3] == keys[3:]
    assert keys[:3] == [
        ("candidate_group", "candidate_group_of"),
        ("archive_candidate", "PRIMARY"),
        ("other", "PRIMARY"),
    ]
