"""What is told of a group is of its volume's newest date, its history of all; only to its own."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any

import pytest
from servers import nights
from servers.nights import DAY, VOLUME

from db import upkeep, usage
from db.database import Database
from db.sight import history
from db.sight.history import Elsewhere, GroupNow, Of, Point
from db.upkeep import Retirement
from lurge_types.forecasts import UNKNOWN, Forecast
from lurge_types.reports import GroupReport
from lurge_types.scans import Volume
from lurge_types.sight import Sight

ALL = Sight(everything=True)
OTHER = Volume("scratch2", b"/lustre/scratch2")
EVER = date(1970, 1, 1)
WEEK = [DAY - timedelta(days=ago) for ago in range(6, -1, -1)]


def store(
    database: Database,
    rows: Sequence[GroupReport],
    day: date = DAY,
    volume: Volume = VOLUME,
    **facts: Any,
) -> None:
    usage.store(database, nights.run(day, volume, **facts), volume, rows, replace=False)


def now(
    database: Database, gid: int, sight: Sight = ALL, volume: str = VOLUME.name
) -> GroupNow | None:
    return database.read(lambda connection: history.now(connection, sight, volume, gid))


def points(database: Database, of: Of = "bytes", first: date = EVER) -> Sequence[Point]:
    group = now(database, 1)
    assert group
    return database.read(lambda connection: history.read(connection, group, of, first))


def imported_until(database: Database, first: date = EVER) -> date | None:
    group = now(database, 1)
    assert group
    return database.read(lambda connection: history.imported_until(connection, group, first))


def elsewhere(database: Database, today: date = DAY) -> Sequence[Elsewhere]:
    group = now(database, 1)
    assert group
    return database.read(lambda connection: history.elsewhere(connection, group, today))


def test_a_group_is_as_on_the_newest_date_of_its_volume(database: Database) -> None:
    store(database, nights.rows(2, used_bytes=5), WEEK[0])
    foretold = Forecast("theil-sen", 7, likely=DAY, earliest=DAY, latest=None)
    store(database, nights.rows(2, used_bytes=6, foretold_inodes=foretold))
    store(database, nights.rows(2, OTHER, used_bytes=7), WEEK[1], OTHER)
    found = now(database, 1)
    assert found
    assert (found.use.group, found.use.used_bytes, found.use.record_date) == ("team1", 6, DAY)
    assert found.foretold == {"bytes": UNKNOWN, "inodes": foretold}
    assert now(database, 3) is None
    assert now(database, 1, volume="scratch9") is None
    of_other = now(database, 1, volume=OTHER.name)
    assert of_other
    assert of_other.use.used_bytes == 7


@pytest.mark.parametrize(
    ("sight", "seen"),
    [
        (ALL, True),
        (Sight(gids=frozenset({1, 5})), True),
        (Sight(gids=frozenset({5}), uid=1), False),
        (Sight(), False),
    ],
)
def test_a_group_is_told_to_its_own(database: Database, sight: Sight, *, seen: bool) -> None:
    store(database, nights.rows(5))
    assert (now(database, 1, sight) is not None) == seen


def test_a_history_is_of_one_group_volume_and_quota(database: Database) -> None:
    for number, day in enumerate(WEEK):
        rows = [
            nights.row(
                nights.group(gid),
                used_bytes=number * gid,
                inodes=number * 100,
                quota_bytes=None if number == 2 else 9,
                suspect=number == 3,
            )
            for gid in (1, 2)
        ]
        store(database, rows, day)
        store(database, nights.rows(2, OTHER), day, OTHER)
    assert points(database) == [
        Point(day, number, None if number == 2 else 9, number == 3)
        for number, day in enumerate(WEEK)
    ]
    assert [point.used for point in points(database, "inodes")] == [0, 100, 200, 300, 400, 500, 600]
    assert [point.quota for point in points(database, "inodes")] == [5000] * 7
    assert [point.date for point in points(database, first=WEEK[4])] == WEEK[4:]


def test_the_newest_imported_day_ends_what_was_counted_in_another_way(database: Database) -> None:
    for number, day in enumerate(WEEK):
        imported = "old" if number < 3 else None
        store(database, nights.rows(1), day, imported_from=imported)
        store(database, nights.rows(1, OTHER), day, OTHER, imported_from="old")
    assert imported_until(database) == WEEK[2]
    assert imported_until(database, WEEK[2]) == WEEK[2]
    assert imported_until(database, WEEK[3]) is None


def test_elsewhere_a_group_is_on_volumes_that_are_in_use_and_have_it_still(
    database: Database,
) -> None:
    places = [VOLUME, OTHER, *(Volume(f"scratch{n}", b"/lustre/%d" % n) for n in (3, 4))]
    for number, place in enumerate(places):
        store(database, nights.rows(2, place, used_bytes=number), WEEK[number], place)
    store(database, [nights.row(nights.group(2), places[2])], DAY, places[2])
    assert elsewhere(database) == [Elsewhere("scratch2", 1), Elsewhere("scratch4", 3)]
    gone = {"scratch4": Retirement(DAY, "scratch1")}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert elsewhere(database) == [Elsewhere("scratch2", 1)]
    assert elsewhere(database, WEEK[0]) == [Elsewhere("scratch2", 1), Elsewhere("scratch4", 3)]
