"""What lies where is summed of what somebody may see, and of each volume's newest inspection."""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from decimal import Decimal

import pytest
from servers import nights
from servers.nights import DAY, VOLUME
from sqlalchemy.engine import Connection

from db import directories, upkeep, usage
from db.database import Database
from db.sight import directories as sight_of
from db.sight.directories import (
    DirectoriesWanted,
    DirectoryUse,
    Owner,
    Siblings,
    Tile,
    VolumeOrBase,
)
from db.sight.paging import Part
from db.upkeep import Retirement
from lurge_types.reports import DIRECTLY, FOLDED, NOWHERE, BaseDirectory, DirectoryReport
from lurge_types.scans import Volume
from lurge_types.sight import Sight

OTHER = Volume("scratch2", b"/lustre/scratch2")
ALL = Sight(everything=True)
SOME = Sight(gids=frozenset({1, 2}), uid=7)
NONE = Sight(gids=frozenset(), uid=9)
GROUPS = {gid: nights.group(gid) for gid in range(1, 6)}
BASES = [nights.base(number) for number in range(3)]
TOP = BaseDirectory(NOWHERE, NOWHERE)


def there(  # noqa: PLR0917 - a row as a line
    base: BaseDirectory, name: str, gid: int, size: int, used: str | None = "3.5", files: int = 1
) -> DirectoryReport:
    """What a group has in a directory."""
    report = nights.directory(1, GROUPS[gid], base, directory=name, size_bytes=size, files=files)
    is_none = name in {FOLDED, NOWHERE}
    path = None if is_none else f"{base.real}/{name}"
    days = None if used is None else Decimal(used)
    return report._replace(real_path=path, last_used_days=days, last_modified_days=days)


REPORTS = [
    there(BASES[0], "shared", 1, 100, "9.5", files=3),
    there(BASES[0], "shared", 2, 50, "2.5", files=4),
    there(BASES[0], "shared", 3, 25, None, files=5),
    there(BASES[0], "old", 1, 1000, "900.0"),
    there(BASES[0], DIRECTLY, 3, 7),
    there(BASES[1], "100%_sure", 2, 2**62, None, files=2**40),
    there(BASES[2], "secret", 3, 5000),
    there(TOP, NOWHERE, 4, 10),
]


def fill(
    database: Database,
    reports: Sequence[DirectoryReport] = REPORTS,
    volume: Volume = VOLUME,
    day: int = 0,
) -> None:
    run = nights.run(DAY + timedelta(days=day), volume, report="inspector")
    filling = directories.begin(
        database, run, volume, len(reports), replace=False, file_types=("BAM", "CRAM", "VCF")
    )
    filling.add(reports, GROUPS)
    filling.finish(list, GROUPS)


def find(database: Database, name: str = "scratch1") -> VolumeOrBase:
    place = database.read(lambda connection: sight_of.find(connection, name))
    assert place
    return place


def find_base(database: Database, shown: str, sight: Sight = ALL) -> VolumeOrBase | None:
    place = find(database)
    uses = read(database, sight_of.bases(ALL, DirectoriesWanted(), place))
    [key] = [use.base_directory_id for use in uses if use.base_directory == shown]
    assert key is not None
    return database.read(lambda connection: sight_of.find_base(connection, sight, place, key))


def below(
    database: Database,
    base: BaseDirectory = BASES[0],
    sight: Sight = ALL,
    wanted: DirectoriesWanted = DirectoriesWanted(),  # noqa: B008 - it is frozen
) -> Siblings:
    place = find_base(database, base.shown)
    assert place
    return sight_of.below(sight, wanted, place)


def read(
    database: Database,
    siblings: Siblings,
    part: Part = Part("size_bytes", descending=True),  # noqa: B008 - it is frozen
) -> list[DirectoryUse]:
    return database.read(lambda connection: list(sight_of.read(connection, siblings, part).rows))


def tiles(
    database: Database, siblings: Siblings, most: int = 10, area: sight_of.Area = "size_bytes"
) -> Sequence[Tile]:
    return database.read(lambda connection: sight_of.tiles(connection, siblings, area, most))


def names(uses: Iterable[DirectoryUse]) -> list[str | None]:
    return [use.directory or use.base_directory or use.volume for use in uses]


def test_volumes_are_summed_up_over_what_somebody_may_see(database: Database) -> None:
    fill(database)
    fill(database, [there(BASES[0], "x", 1, 9)], OTHER, day=-1)
    first, second = read(database, sight_of.volumes(ALL, DirectoriesWanted(), DAY))
    assert first == DirectoryUse(
        volume="scratch1",
        record_date=DAY,
        base_directory_id=None,
        base_directory=None,
        directory=None,
        folded=False,
        owners=[],
        directories=8,
        files=16 + 2**40,
        size_bytes=2**62 + 6192,
        last_modified_days=Decimal("2.5"),
        last_used_days=Decimal("2.5"),
        kept_files=8,
    )
    assert (second.volume, second.record_date) == ("scratch2", DAY - timedelta(days=1))
    [mine] = read(database, sight_of.volumes(Sight(gids=frozenset({3})), DirectoriesWanted(), DAY))
    assert (mine.volume, mine.size_bytes, mine.directories) == ("scratch1", 5032, 3)
    assert read(database, sight_of.volumes(NONE, DirectoriesWanted(), DAY)) == []


def test_volumes_that_have_retired_are_found_by_their_name_alone(database: Database) -> None:
    fill(database)
    database.transaction(
        lambda connection: upkeep.retire(connection, {"scratch1": Retirement(DAY, None)})
    )
    assert read(database, sight_of.volumes(ALL, DirectoriesWanted(), DAY)) == []
    assert len(read(database, sight_of.bases(ALL, DirectoriesWanted(), find(database)))) == 4
    assert database.read(lambda connection: sight_of.find(connection, "scratch")) is None


def test_base_directories_have_the_groups_that_somebody_may_see(database: Database) -> None:
    fill(database)
    place = find(database)
    uses = read(database, sight_of.bases(ALL, DirectoriesWanted(), place))
    assert [(use.base_directory, use.size_bytes, use.groups, use.directories) for use in uses] == [
        (BASES[1].shown, 2**62, "team2", 1),
        (BASES[2].shown, 5000, "team3", 1),
        (BASES[0].shown, 1182, "team1,team2,team3", 5),
        (NOWHERE, 10, "team4", 1),
    ]
    some = read(database, sight_of.bases(SOME, DirectoriesWanted(), place))
    assert [(use.base_directory, use.size_bytes, use.groups) for use in some] == [
        (BASES[1].shown, 2**62, "team2"),
        (BASES[0].shown, 1150, "team1,team2"),
    ]
    assert read(database, sight_of.bases(NONE, DirectoriesWanted(), place)) == []


def test_directories_are_summed_up_over_groups(database: Database) -> None:
    fill(database)
    found = read(database, below(database))
    assert [(use.directory, use.size_bytes, use.files, use.groups) for use in found] == [
        ("old", 1000, 1, "team1"),
        ("shared", 175, 12, "team1,team2,team3"),
        (DIRECTLY, 7, 1, "team3"),
    ]
    shared = found[1]
    assert shared.last_used_days == Decimal("2.5")
    assert shared.directories == 3
    assert (shared.volume, shared.record_date) == ("scratch1", DAY)
    assert shared.base_directory == BASES[0].shown
    [_, mine] = read(database, below(database, sight=SOME))
    assert (mine.size_bytes, mine.files, mine.groups) == (150, 7, "team1,team2")
    assert read(database, below(database, sight=NONE)) == []


def test_a_base_directory_is_there_for_those_who_have_something_in_it(database: Database) -> None:
    fill(database)
    assert find_base(database, BASES[0].shown, SOME)
    assert find_base(database, BASES[2].shown, SOME) is None
    assert find_base(database, BASES[2].shown, NONE) is None
    fill(database, [there(BASES[0], "x", 1, 9)], OTHER)
    other = find(database, "scratch2")
    place = find_base(database, BASES[0].shown)
    assert place
    assert not database.read(
        lambda connection: sight_of.find_base(connection, ALL, other, place.base_directory_id or 0)
    )


def test_only_the_newest_inspection_is_read_though_older_rows_are_there(
    database: Database,
) -> None:
    fill(database)
    fill(database, [there(BASES[0], "new", 1, 9)], day=1)  # the older rows are not swept yet
    assert names(read(database, below(database))) == ["new"]
    [base] = read(database, sight_of.bases(ALL, DirectoriesWanted(), find(database)))
    [whole] = read(database, sight_of.volumes(ALL, DirectoriesWanted(), DAY))
    assert base.size_bytes == whole.size_bytes == 9
    assert whole.record_date == DAY + timedelta(days=1)


def test_a_volume_without_an_inspection_has_nothing(database: Database) -> None:
    usage.store(database, nights.run(), VOLUME, nights.rows(2), replace=False)
    place = find(database)
    assert (place.run_id, place.record_date) == (None, None)
    assert read(database, sight_of.bases(ALL, DirectoriesWanted(), place)) == []
    assert tiles(database, sight_of.bases(ALL, DirectoriesWanted(), place)) == []
    assert read(database, sight_of.volumes(ALL, DirectoriesWanted(), DAY)) == []


def test_everything_can_be_narrowed_to_one_group(database: Database) -> None:
    fill(database)
    of_one = DirectoriesWanted(group="team3")
    [whole] = read(database, sight_of.volumes(ALL, of_one, DAY))
    assert whole.size_bytes == 5032
    uses = read(database, sight_of.bases(ALL, of_one, find(database)))
    assert [(use.base_directory, use.groups) for use in uses] == [
        (BASES[2].shown, "team3"),
        (BASES[0].shown, "team3"),
    ]
    assert names(read(database, below(database, wanted=of_one))) == ["shared", DIRECTLY]
    assert read(database, sight_of.bases(SOME, of_one, find(database))) == []
    assert read(database, below(database, sight=SOME, wanted=of_one)) == []


def test_words_are_looked_for_in_names_as_they_are(database: Database) -> None:
    fill(database)
    place = find(database)

    def found(words: str) -> list[str | None]:
        return names(read(database, sight_of.bases(ALL, DirectoriesWanted(words=words), place)))

    assert found("ALPHA1") == [BASES[1].shown]
    assert found("alpha projects") == [BASES[1].shown, BASES[2].shown, BASES[0].shown]
    assert found("%") == found("_") == []
    assert names(
        read(database, below(database, BASES[1], wanted=DirectoriesWanted(words="%_s")))
    ) == ["100%_sure"]
    siblings = sight_of.volumes(ALL, DirectoriesWanted(words="scratch2"), DAY)
    assert read(database, siblings) == []


def test_pages_have_their_rows_and_how_many_there_are_in_all(database: Database) -> None:
    reports = [there(BASES[0], f"d{number:02}", 1, number) for number in range(25)]
    fill(database, reports)
    siblings = below(database)

    def page(connection: Connection, first: int) -> tuple[list[DirectoryUse], int]:
        rows = sight_of.read(connection, siblings, Part("directory", first=first, count=10))
        return list(rows.rows), rows.total

    found, total = database.read(lambda connection: page(connection, 20))
    assert names(found) == [f"d{number}" for number in range(20, 25)]
    assert total == 25
    assert database.read(lambda connection: page(connection, 50)) == ([], 25)


def test_every_amount_can_be_sorted_by_and_what_is_unknown_comes_last(database: Database) -> None:
    fill(database)
    place = find(database)
    all_siblings = {
        "volume": sight_of.volumes(ALL, DirectoriesWanted(), DAY),
        "base_directory": sight_of.bases(ALL, DirectoriesWanted(), place),
        "directory": below(database),
    }
    for key, siblings in all_siblings.items():
        for each in (key, *sight_of.AMOUNTS):
            for descending in (False, True):
                assert read(database, siblings, Part(each, descending))
    for descending in (False, True):
        bases = read(database, all_siblings["base_directory"], Part("last_used_days", descending))
        assert bases[-1].last_used_days is None
    assert names(
        read(database, all_siblings["directory"], Part("last_used_days", descending=True))
    ) == [
        "old",
        DIRECTLY,
        "shared",
    ]


def test_what_is_folded_is_told_from_a_directory_that_is_called_so(database: Database) -> None:
    real = there(BASES[0], FOLDED, 1, 5)._replace(real_path=f"{BASES[0].real}/{FOLDED}")
    fill(database, [there(BASES[0], FOLDED, 1, 6), there(BASES[0], FOLDED, 2, 1), real])
    found = read(database, below(database))
    assert [(use.directory, use.folded, use.size_bytes) for use in found] == [
        (FOLDED, True, 7),
        (FOLDED, False, 5),
    ]


def test_an_owner_has_a_page_where_its_use_is_recorded(database: Database) -> None:
    fill(database)
    usage.store(database, nights.run(), OTHER, nights.rows(3, OTHER), replace=False)
    yesterday = nights.run(DAY - timedelta(days=1))
    usage.store(database, yesterday, VOLUME, nights.rows(3), replace=False)
    usage.store(database, nights.run(), VOLUME, nights.rows(2), replace=False)
    shared = read(database, below(database))[1]
    assert shared.owners == [
        Owner(1, "team1", True),
        Owner(2, "team2", True),
        Owner(3, "team3", False),
    ]


def test_hundreds_of_owners_are_all_told(database: Database) -> None:
    many = {gid: nights.group(gid) for gid in range(1000, 1400)}
    reports = [nights.directory(1, group, BASES[0], directory="shared") for group in many.values()]
    run = nights.run(report="inspector")
    filling = directories.begin(
        database, run, VOLUME, len(reports), replace=False, file_types=("BAM", "CRAM", "VCF")
    )
    filling.add(reports, many)
    filling.finish(list, many)
    [use] = read(database, below(database))
    assert [owner.gid for owner in use.owners] == list(many)


def test_tiles_are_the_largest_and_the_rest_as_one(database: Database) -> None:
    reports = [
        there(BASES[0], f"d{number:02}", gid, 2**number, f"{number}.5", files=1000 - number)
        for number in range(20)
        for gid in (1, 3)
    ]
    fill(database, reports)
    siblings = below(database)
    *largest, rest = tiles(database, siblings, most=3)
    assert [(tile.name, tile.size_bytes, tile.smaller) for tile in largest] == [
        ("d19", 2**20, 0),
        ("d18", 2**19, 0),
        ("d17", 2**18, 0),
    ]
    assert (rest.smaller, rest.size_bytes) == (17, sum(2 ** (number + 1) for number in range(17)))
    assert rest.last_used_days == Decimal("0.5")
    assert rest.files == sum(2 * (1000 - number) for number in range(17))
    by_files = tiles(database, siblings, most=1, area="files")
    assert [(tile.name, tile.smaller) for tile in by_files[:1]] == [("d00", 0)]
    assert len(tiles(database, siblings, most=20)) == 20
    mine = tiles(database, below(database, sight=SOME), most=1)
    assert sum(tile.size_bytes for tile in mine) == 2**20 - 1


def test_tiles_of_each_level_tell_what_they_are(database: Database) -> None:
    fill(database)
    place = find(database)
    [volume] = tiles(database, sight_of.volumes(ALL, DirectoriesWanted(), DAY))
    assert volume == Tile(
        *("scratch1", None, False, 0, 16 + 2**40, 2**62 + 6192),
        *(Decimal("2.5"), Decimal("2.5")),
    )
    first, *_ = tiles(database, sight_of.bases(ALL, DirectoriesWanted(), place))
    assert (first.name, first.last_used_days) == (BASES[1].shown, None)
    assert find_base(database, BASES[1].shown) == place._replace(
        base_directory_id=first.base_directory_id, base_directory=BASES[1].shown
    )
    assert tiles(database, sight_of.bases(NONE, DirectoriesWanted(), place)) == []


@pytest.mark.parametrize("words", ["'; drop table volume; --", "\\", "x" * 1000, '%"', "😀"])
def test_words_are_text_and_no_statement(database: Database, words: str) -> None:
    fill(database)
    for wanted in (DirectoriesWanted(words=words), DirectoriesWanted(group=words)):
        assert read(database, sight_of.bases(ALL, wanted, find(database))) == []
