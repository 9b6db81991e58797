"""A user's page has all that they have for themselves, and for others what is in their groups."""

import csv
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import pytest
from pages_of_tests import ADMIN, Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import user_usage
from db.database import Database
from db.sight.people import Had, Recorded
from lurge.web.person import stack
from lurge_types.names import User
from lurge_types.reports import UserUse
from lurge_types.scans import Volume

OTHER = Volume("scratch2", b"/lustre/scratch2")
YESTERDAY = DAY - timedelta(days=1)
PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
HOSTILE = '<img src=x onerror="alert(1)">'
USERS = {7: User(7, "jane"), 8: User(8, "joe"), 10: User(10, HOSTILE)}
GROUPS = {gid: nights.group(gid) for gid in range(1, 6)}


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def store(
    database: Database, uses: Sequence[UserUse], day: date = DAY, volume: Volume = VOLUME
) -> None:
    run = nights.run(day, volume, report="users")
    user_usage.store(
        database, run, volume, uses, USERS, GROUPS, withdraw=lambda: None, replace=False
    )


def use(uid: int, gid: int, used_bytes: int) -> UserUse:
    return UserUse(uid, gid, used_bytes, used_bytes // 1024, DAY)


@pytest.fixture
def filled(database: Database) -> Database:
    """Jane has something in groups of hers and in one that is not; joe in one of them."""
    uses = [use(7, 1, 1024), use(7, 2, 2048), use(7, 3, 4096), use(8, 1, 8192), use(8, 4, 16384)]
    store(database, uses)
    store(database, [use(7, 1, 1 << 20)], YESTERDAY, OTHER)
    return database


def rows(site: Pages, uid: int, user: str) -> list[tuple[str, int]]:
    return [(row["volume"], row["gid"]) for row in site.json(f"/user/{uid}/uses", user)["rows"]]


def test_a_person_sees_all_of_their_own(filled: Database, site: Pages) -> None:
    assert rows(site, 7, "jane") == [
        ("scratch2", 1),
        ("scratch1", 3),
        ("scratch1", 2),
        ("scratch1", 1),
    ]
    page = site.page("/user/7", "jane")
    assert "<h1>What jane has</h1>" in page
    assert ">7.0 KiB<" in page
    assert ">1.0 MiB<" in page
    assert '<th scope="row">all</th>' in page
    assert 'href="/group/scratch1/2"' in page
    assert ">team3<" in page
    assert 'href="/group/scratch1/3"' not in page  # she is not in it


def test_others_see_what_is_in_their_groups(filled: Database, site: Pages) -> None:
    assert rows(site, 7, ADMIN) == rows(site, 7, "jane")
    assert rows(site, 7, "joe") == [("scratch1", 3)]
    assert rows(site, 8, "jane") == [("scratch1", 1)]
    page = site.page("/user/8", "jane")
    assert "<h1>What joe has in your groups</h1>" in page
    assert ">8.0 KiB<" in page
    assert "team4" not in page
    assert ">24.0 KiB<" not in page
    lines = site.ask("/user/8/uses.csv", "jane").text.splitlines()
    assert [row[1] for row in csv.reader(lines)] == ["group", "team1"]
    [volume] = site.json("/user/8/history", "jane")["volumes"]
    assert volume == {"volume": "scratch1", "used": [8192]}


@pytest.mark.parametrize(
    "path",
    [
        *("/user/7", "/user/7/uses.csv", "/user/7/uses.tsv", "/api/user/7/uses"),
        *("/api/user/7/history", "/user?name=jane"),
    ],
)
def test_who_has_nothing_in_ones_groups_is_not_there(
    filled: Database, site: Pages, path: str
) -> None:
    seen, missing = site.ask(path, "joe"), site.ask(path, "idle")
    assert seen.status_code in {200, 302}
    assert missing.status_code == 404
    assert "no user of this whole name, or nothing of theirs is recorded" in missing.text
    unknown = site.ask(path.replace("7", "4321").replace("jane", "nobody"), "idle")
    assert (unknown.status_code, unknown.text) == (404, missing.text)


def test_who_asks_has_a_page_though_nothing_is_recorded(filled: Database, site: Pages) -> None:
    assert "<h1>What idle has</h1>" in site.page("/user/9", "idle")
    assert site.json("/user/9/uses", "idle") == {"page": 1, "rows": [], "total": 0}
    assert site.json("/user/9/history", "idle")["volumes"] == []
    assert site.ask("/user/9", "jane").status_code == 404


def test_a_name_leads_to_its_page(filled: Database, site: Pages) -> None:
    answer = site.ask("/user?name=jane")
    assert (answer.status_code, answer.headers["Location"]) == (302, "/user/7")
    for name in ("JANE", "jan", "j%25", "%00", "%ED%A0%80", "jane%20", "x" * 1000):
        assert site.ask(f"/user?name={name}").status_code == 404
    for query in ("", "?name=", "?name=a&name=b", "?name=jane&uid=7", f"?name={'x' * 1001}"):
        assert site.ask(f"/user{query}").status_code == 400


@pytest.mark.parametrize("uid", ["-1", str(1 << 63), str(-(10**40)), "x", "1.5"])
def test_what_is_no_user_is_not_found(filled: Database, site: Pages, uid: str) -> None:
    for path in (f"/user/{uid}", f"/api/user/{uid}/history", f"/user/{uid}/uses.csv"):
        assert site.ask(path).status_code == 404


def test_a_table_and_a_chart_are_asked_for_with_the_other_left_as_it_is(
    filled: Database, site: Pages
) -> None:
    page = site.page("/user/7?sort=gid&of=inodes&months=3")
    assert 'href="/user/7?sort=gid&amp;of=inodes&amp;months=36"' in page or (
        'href="/user/7?of=inodes&amp;months=36&amp;sort=gid"' in page
    )
    assert 'data-source="/api/user/7/history?of=inodes&amp;months=3"' in page
    assert 'aria-sort="ascending"' in page
    assert site.ask("/user/7?months=5").status_code == 400
    assert site.ask("/user/7?sort=uid").status_code == 400


def test_a_history_is_stacked_by_volume(filled: Database, site: Pages) -> None:
    store(filled, [use(7, 1, 512)], YESTERDAY)
    assert site.json("/user/7/history") == {
        "uid": 7,
        "user": "jane",
        "of": "bytes",
        "dates": [YESTERDAY.isoformat(), DAY.isoformat()],
        "volumes": [
            {"volume": "scratch1", "used": [512, 7168]},
            {"volume": "scratch2", "used": [1 << 20, 1 << 20]},
        ],
    }
    answer = site.json("/user/7/history?of=inodes")
    assert answer["volumes"][0]["used"] == [0, 7]


def test_a_volume_counts_from_its_first_date_until_it_retires() -> None:
    days = [DAY + timedelta(days=number) for number in range(5)]
    recorded = {
        "a": Recorded(None, [Had(day, 1, 10) for day in days]),
        "b": Recorded(days[3], [Had(days[1], 2, 20)]),
        "c": Recorded(None, [Had(days[2], 3, 30), Had(days[3], 0, 0)]),
    }
    assert stack(recorded, "inodes") == {
        "dates": [day.isoformat() for day in days],
        "volumes": [
            {"volume": "a", "used": [10, 10, 10, 10, 10]},
            {"volume": "b", "used": [0, 20, 20, 0, 0]},
            {"volume": "c", "used": [0, 0, 30, 0, 0]},
        ],
    }
    assert stack({}, "bytes") == {"dates": [], "volumes": []}


def test_names_are_no_markup(database: Database, site: Pages) -> None:
    store(database, [use(10, 1, 1)])
    page = site.page("/user/10")
    assert "<img" not in page
    assert "&lt;img" in page
    assert "<style" not in page
    assert " style=" not in page
