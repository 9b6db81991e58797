"""A search in vaults finds what is asked for and may be seen: each file once, by an index."""

import random
from collections.abc import Iterator, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sql
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some
from servers import nights
from servers.databases import Connect, Place, on_mariadb
from servers.nights import DAY, VOLUME

from db import names, runs, upkeep, vaults
from db.database import Database
from db.schema import vault
from db.sight import vaults as search
from db.sight.vaults import FilesWanted, KeptFile, Limit, Page, Stretch
from db.upkeep import Retirement
from lurge_types.scans import Volume
from lurge_types.sight import Sight

VOLUMES = (VOLUME, Volume("scratch2", b"/lustre/scratch2"), Volume("gone", b"/lustre/gone"))
GONE = VOLUMES[2].name
ACTIONS = ("Keep", "Archive")
# Two are called alike, as those of an imported database may be.
USERS = [nights.user(uid) for uid in range(3)] + [nights.user(3, name="user2")]
GROUPS = [nights.group(gid) for gid in range(4)] + [nights.group(4, name="team3")]
EVERYTHING = Sight(everything=True)


class Row(NamedTuple):
    """A row of a vault; others are gone, or of a run that is not whole."""

    path: str
    user: int
    group: int
    action: int
    volume: int
    state: str


@pytest.fixture
def named(database: Database) -> Database:
    """A database that knows the names, and a whole run and one that is not."""

    def act(connection: sql.Connection) -> None:
        names.user_ids(connection, USERS)
        names.group_ids(connection, GROUPS)
        for number, each in enumerate(VOLUMES):
            run = nights.run(volume=each, report="puppeteer")
            volume_id = names.volume_id(connection, each)
            assert volume_id == number + 1
            runs.record_all(connection, [run], volume_id, "whole")
        upkeep.retire(connection, {GONE: Retirement(DAY, None)})

    database.transaction(act)
    run = nights.run(DAY + timedelta(days=1), report="puppeteer")
    vaults.begin(database, run, VOLUME, 1, replace=False)
    return database


def store(database: Database, rows: Sequence[Row]) -> list[tuple[int, Row]]:
    """Let vaults hold this and nothing else; which ids the rows have."""

    def act(connection: sql.Connection) -> None:
        connection.execute(sql.delete(vault))
        users = names.user_ids(connection, USERS)
        groups = names.group_ids(connection, GROUPS)
        actions = names.vault_actions(connection)
        unfinished = max(connection.scalars(sql.text("SELECT run_id FROM report_run")))
        stored = [
            {
                "record_id": number,
                "filepath": row.path,
                "real_path": row.path,
                "path_hash": bytes(32),
                "inode": str(number),
                "links": number % 2 + 1,
                "group_id": groups[row.group],
                "vault_action_id": actions[ACTIONS[row.action]],
                "size": number * 1000,
                "last_modified": DAY if number % 3 else None,
                "volume_id": row.volume + 1,
                "user_id": users[row.user],
                "run_id": unfinished if row.state == "unfinished" else row.volume + 1,
                "first_seen": DAY,
                "last_seen": DAY if row.state == "gone" else None,
                "state_hash": bytes(32),
            }
            for number, row in enumerate(rows, 1)
        ]
        if stored:
            connection.execute(sql.insert(vault), stored)

    database.transaction(act)
    return list(enumerate(rows, 1))


def twin(
    rows: Sequence[tuple[int, Row]], sight: Sight, wanted: FilesWanted, *, pads: bool
) -> list[KeptFile]:
    """
    What a search finds, in plain Python.

    pads: whether the order knows nothing of spaces at the end.
    """

    def place(each: tuple[int, Row]) -> tuple[str, int]:
        start = each[1].path[:255]
        return (start.rstrip(" ") if pads else start), each[0]

    return [
        KeptFile(
            VOLUMES[row.volume].name,
            row.path,
            ACTIONS[row.action],
            GROUPS[row.group].name,
            GROUPS[row.group].gid,
            USERS[row.user].name,
            USERS[row.user].uid,
            number * 1000,
            DAY if number % 3 else None,
            number % 2 + 1,
            DAY,
        )
        for number, row in sorted(rows, key=place)
        if row.state == "seen" and may_see(sight, row) and is_wanted(wanted, row)
    ]


def may_see(sight: Sight, row: Row) -> bool:
    return sight.everything or row.group in sight.gids or row.user == sight.uid


def is_wanted(wanted: FilesWanted, row: Row) -> bool:
    called = VOLUMES[row.volume].name
    if wanted.path.startswith("/"):
        has_path = row.path.startswith(wanted.path)
    else:
        has_path = all(word in row.path.lower() for word in wanted.path.lower().split())
    return (
        has_path
        and wanted.user in (None, USERS[row.user].name)
        and wanted.group in (None, GROUPS[row.group].name)
        and wanted.action in (None, ACTIONS[row.action])
        and (wanted.volume == called or (wanted.volume is None and called != GONE))
    )


def pages(
    database: Database,
    sight: Sight,
    wanted: FilesWanted,
    rows: int,
    limit: Limit = search.FOR_A_PAGE,
) -> Iterator[Page]:
    """All pages of a search, one after the other."""
    after = None
    while True:
        stretch = Stretch(after, rows, limit)
        ask = partial(search.read, sight=sight, wanted=wanted, stretch=stretch)
        page = database.read(ask)
        yield page
        if page.after is None:
            return
        assert page.after != after
        after = page.after


def found(database: Database, sight: Sight, wanted: FilesWanted, rows: int = 50) -> list[KeptFile]:
    return [file for page in pages(database, sight, wanted, rows) for file in page.files]


PARTS = ["a", "A", "aa", "b", " ", "/", "%", "_", "é", "\ud7ff", "💾", "\U0010ffff"]
LONG = ["x" * 252, "x" * 254, "💾" * 254]
path_parts = some.lists(some.sampled_from(PARTS), max_size=4).map("".join)
paths = some.builds(
    lambda *parts: "/" + "".join(parts), some.sampled_from(["", "", "", *LONG]), path_parts
)
rows_of_vaults = some.lists(
    some.builds(
        Row,
        paths,
        some.integers(0, 3),
        some.integers(0, 4),
        some.integers(0, 1),
        some.integers(0, 2),
        some.sampled_from(["seen", "seen", "seen", "gone", "unfinished"]),
    ),
    max_size=30,
)
people = some.builds(
    Sight,
    gids=some.frozensets(some.integers(0, 5)),
    uid=some.one_of(some.none(), some.integers(0, 4)),
)
sights = some.one_of(some.just(EVERYTHING), people)
limits = some.builds(Limit, some.integers(1, 9), some.integers(1, 9))


def either(*values: str) -> some.SearchStrategy[str | None]:
    return some.sampled_from([None, None, None, *values])


searches = some.builds(
    FilesWanted,
    some.just(DAY),
    path=some.one_of(some.just(""), paths, path_parts.map(lambda words: words.replace("/", ""))),
    user=either("user0", "user2", "stranger"),
    group=either("team0", "team3", "strangers"),
    action=either(*ACTIONS, "Forget"),
    volume=either("scratch1", "scratch2", GONE, "scratch9"),
)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows_of_vaults,
    some.tuples(sights, searches),
    some.tuples(some.integers(1, 7), limits),
)
@example(
    [Row("/" + "x" * 300 + end, 0, 0, 0, 0, "seen") for end in "cabA"],
    (EVERYTHING, FilesWanted(DAY, path="/" + "x" * 300 + "a")),
    (1, Limit(1, 1)),
)
@example(
    [Row(path, 0, 0, 0, 0, "seen") for path in ("/a", "/a ", "/a  ", "/a b", "/a", "/b ")],
    (EVERYTHING, FilesWanted(DAY, path="/a ")),
    (1, Limit(1, 1)),
)
def test_every_file_is_on_one_page_for_whoever_may_see_it(
    named: Database,
    place: Place,
    rows: list[Row],
    asks: tuple[Sight, FilesWanted],
    size: tuple[int, Limit],
) -> None:
    (sight, wanted), (on_page, limit) = asks, size
    stored = store(named, rows)
    right = twin(stored, sight, wanted, pads=not place.table.url.startswith("sqlite"))
    there: list[KeptFile] = []
    for page in pages(named, sight, wanted, on_page, limit):
        assert len(page.files) <= on_page
        assert page.after is None or page.stopped or len(page.files) == on_page
        there += page.files
    assert there == right
    assert found(named, sight, wanted) == right


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of_vaults, sights, searches, limits)
@example(
    [Row("/secret", 2, 0, 0, 0, "seen")] * 3,
    Sight(),
    FilesWanted(DAY, user="user2"),
    Limit(1, 1),
)
def test_whoever_searches_hears_of_no_path_that_they_may_not_see(
    named: Database, rows: list[Row], sight: Sight, wanted: FilesWanted, limit: Limit
) -> None:
    seen = [row.path[:255] for _, row in store(named, rows) if may_see(sight, row)]
    for page in pages(named, sight, wanted, 1, limit):
        assert page.stopped is None or page.stopped in seen
        assert page.after is None or page.after.path_start in seen


def forget(database: Database, numbers: Sequence[int]) -> None:
    some_rows = vault.c.record_id.in_(numbers)
    database.transaction(lambda connection: connection.execute(sql.delete(vault).where(some_rows)))


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows_of_vaults, people, searches, limits)
@example(
    [Row("/mine", 0, 0, 0, 0, "seen")] * 3 + [Row("/theirs", 1, 1, 0, 0, "seen")] * 3,
    Sight(gids=frozenset({0}), uid=2),
    FilesWanted(DAY, user="user1"),
    Limit(2, 2),
)
def test_a_person_is_told_the_same_whatever_there_is_that_they_may_not_see(
    named: Database, rows: list[Row], sight: Sight, wanted: FilesWanted, limit: Limit
) -> None:
    stored = store(named, rows)
    told = list(pages(named, sight, wanted, 1, limit))
    forget(named, [number for number, row in stored if not may_see(sight, row)])
    assert list(pages(named, sight, wanted, 1, limit)) == told


def test_a_person_is_told_the_same_of_others_as_of_nobody(named: Database) -> None:
    both = (Row("/mine", 0, 0, 0, 0, "seen"), Row("/theirs", 1, 1, 0, 0, "seen"))
    store(named, both * 5)
    for sight in (Sight(gids=frozenset({0})), Sight(uid=0)):

        def told(sight: Sight = sight, **of: str) -> list[Page]:
            return list(pages(named, sight, FilesWanted(DAY, **of), 1, Limit(2, 2)))

        assert told(user="user1") == told(user="stranger") != []
        assert told(group="team1") == told(group="strangers") != []
        assert told(user="user0", group="team1") == told(user="user0", group="strangers")


def test_a_download_has_as_many_files_as_may_be(
    named: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FETCHED_AT_ONCE", 7)
    monkeypatch.setattr(search, "FOR_A_DOWNLOAD", Limit(9, 5))
    store(named, [Row(f"/{number:03}", 0, number % 3, 0, 0, "seen") for number in range(100)])

    def download(most: int, after: search.Place | None = None) -> list[str]:
        ask = partial(
            search.through, sight=EVERYTHING, wanted=FilesWanted(DAY), after=after, most=most
        )
        return named.read(lambda connection: [file.path for file in ask(connection)])

    assert download(30) == [f"/{number:03}" for number in range(30)]
    assert download(500) == [f"/{number:03}" for number in range(100)]
    assert download(2, search.Place("/050", 51)) == ["/051", "/052"]


def test_a_download_gives_up_where_it_would_look_at_too_many_files(
    named: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FETCHED_AT_ONCE", 2)
    monkeypatch.setattr(search, "FOR_A_DOWNLOAD", Limit(5, 5))
    monkeypatch.setattr(search, "READS_FOR_A_DOWNLOAD", 3)
    store(named, [Row(f"/{number:02}", 0, 0, number % 9 // 8, 0, "seen") for number in range(20)])

    def download(most: int, **of: str) -> list[KeptFile]:
        ask = partial(search.through, sight=EVERYTHING, wanted=FilesWanted(DAY, **of), after=None)
        return named.read(lambda connection: list(ask(connection, most=most)))

    for of in ({"action": "Archive"}, {"path": "nothing"}):
        with pytest.raises(search.SearchTooLong):
            download(9, **of)
    assert len(download(6)) == 6
    assert len(download(9, path="/17", action="Archive")) == 1


def test_somebody_of_very_many_groups_searches_all_of_them(
    named: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "MERGED_AT_ONCE", 2)
    store(named, [Row(f"/{number:03}", 0, number % 5, 0, 0, "seen") for number in range(100)])
    of_all = Sight(gids=frozenset(range(5)))
    assert [file.path for file in found(named, of_all, FilesWanted(DAY), 9)] == [
        f"/{number:03}" for number in range(100)
    ]


def test_the_actions_are_known(named: Database) -> None:
    assert named.read(search.actions) == ["Archive", "Keep"]


PERSON = Sight(gids=frozenset({1, 2}), uid=0)
ASKED = {
    "everything": (EVERYTHING, FilesWanted(DAY), {"vault_path"}),
    "below": (EVERYTHING, FilesWanted(DAY, path="/lustre/a"), {"vault_path"}),
    "words": (EVERYTHING, FilesWanted(DAY, path="sample bam"), {"vault_path"}),
    "user": (EVERYTHING, FilesWanted(DAY, user="user1", volume="scratch1"), {"vault_user"}),
    "group": (EVERYTHING, FilesWanted(DAY, group="team1", action="Keep"), {"vault_group"}),
    "both": (EVERYTHING, FilesWanted(DAY, group="team1", user="user1"), {"vault_user"}),
    "person": (PERSON, FilesWanted(DAY), {"vault_user", "vault_group"}),
    "another": (PERSON, FilesWanted(DAY, user="user1"), {"vault_user", "vault_group"}),
    "own": (PERSON, FilesWanted(DAY, user="user0"), {"vault_user"}),
}


@on_mariadb
@pytest.mark.parametrize("asked", ASKED)
def test_a_page_is_read_from_an_index_and_not_sorted(
    place: Place, named: Database, connect: Connect, asked: str
) -> None:
    sight, wanted, indices = ASKED[asked]
    chance = random.Random(5)
    store(
        named,
        [
            Row(f"/lustre/{chance.random()}/sample.bam", number % 3, number % 4, 0, 0, "seen")
            for number in range(3000)
        ],
    )
    admin = connect(place.admin)
    admin.transaction(lambda connection: connection.exec_driver_sql("ANALYZE TABLE vault").all())
    start = search.Place("/lustre/0.2", 7)

    def plans(connection: sql.Connection) -> list[sql.RowMapping]:
        asked_for: list[tuple[str, Any]] = []

        @sql.event.listens_for(connection, "before_cursor_execute")
        def note(*arguments: Any) -> None:
            if "vault.path_start" in arguments[2]:
                asked_for.append((arguments[2], arguments[3]))

        search.read(connection, sight, wanted, Stretch(start, 50, Limit(200, 100)))
        return [
            row
            for statement, values in list(asked_for)
            for row in connection.exec_driver_sql(f"EXPLAIN {statement}", values).mappings()
        ]

    steps = [step for step in admin.read(plans) if step["table"] == "vault"]
    ranges = [step for step in steps if step["key"] != "PRIMARY"]
    assert {step["key"] for step in ranges} == indices
    for step in ranges:
        assert step["type"] in ("range", "index")
        assert "filesort" not in step["Extra"]
        assert "temporary" not in step["Extra"]
