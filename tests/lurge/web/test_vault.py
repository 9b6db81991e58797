"""Vaults are searched by whoever may see what is in them: page by page, and by programs."""

import csv
import re
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pages_of_tests import Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import upkeep, vaults
from db.database import Database
from db.sight import vaults as search
from db.sight.vaults import Limit, Place
from db.upkeep import Retirement
from lurge.web import vault
from lurge.web.vault import place_of, token
from lurge_types.scans import Volume
from lurge_types.vaults import VaultFile

OTHER = Volume("scratch2", b"/lustre/scratch2")
PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
HOSTILE = "/lustre/<img src=x onerror=alert(1)>&amp;"
FORMS = ["/vault", "/vault.csv", "/vault.tsv", "/api/vault"]


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def file(number: int, **facts: Any) -> VaultFile:
    """A file whose path goes by its number."""
    at = f"/lustre/file{number:02}"
    of = {"shown": at, "real_path": at, "uid": number % 5, "gid": number % 4 + 1} | facts
    return nights.vault_file(number, **of)


def store(database: Database, files: Sequence[VaultFile], volume: Volume = VOLUME) -> None:
    there = sorted(files, key=VaultFile.state)
    run = nights.run(volume=volume, report="puppeteer")
    filling = vaults.begin(database, run, volume, len(there), replace=False)
    filling.changes(each.state() for each in there)
    users = {each.uid: nights.user(each.uid) for each in there}
    groups = {each.gid: nights.group(each.gid) for each in there}
    filling.add(there, users, groups)
    filling.finish()


def paths(answer: dict[str, Any]) -> list[str]:
    return [row["path"] for row in answer["rows"]]


def names(*numbers: int) -> list[str]:
    return [f"/lustre/file{number:02}" for number in numbers]


def test_a_row_has_all_that_is_known_of_a_file(database: Database, site: Pages) -> None:
    store(database, [file(5, links=1, uid=3, gid=2)])
    [row] = site.json("/vault")["rows"]
    assert row == {
        "volume": "scratch1",
        "path": "/lustre/file05",
        "action": "Archive",
        "group": "team2",
        "gid": 2,
        "user": "user3",
        "uid": 3,
        "size_bytes": 5000,
        "last_modified": "2025-01-06",
        "links": 1,
        "first_seen": DAY.isoformat(),
    }
    page = site.page("/vault")
    assert "only the vault has it" in page


@pytest.mark.parametrize("form", FORMS)
def test_a_person_sees_their_own_files_and_those_of_their_groups(
    database: Database, site: Pages, form: str
) -> None:
    store(database, [file(number, uid=number % 10) for number in range(40)])
    for user, (uid, gids) in {**PEOPLE, "admin": (0, (1, 2, 3, 4))}.items():
        may = {number for number in range(40) if number % 10 == uid or number % 4 + 1 in gids}
        for query, asked in {
            "": may,
            "?path=/lustre": may,
            "?path=file": may,
            "?volume=scratch1": may,
            "?user=user1": {number for number in may if number % 10 == 1},
            "?group=team4": {number for number in may if number % 4 == 3},
        }.items():
            found = re.findall(r"/lustre/file(\d\d)", site.ask(form + query, user).text)
            assert list(map(int, found)) == sorted(asked)


def test_every_link_of_a_file_leads_to_a_page_that_has_it(database: Database, site: Pages) -> None:
    store(database, [file(1, uid=7, gid=4), file(2, uid=1, gid=1)])
    for row, href in ((1, "group=team4"), (2, "group=team1"), (1, "user=user7"), (2, "user=user1")):
        assert f'href="/vault?{href}"' in site.page("/vault", "jane")
        assert f"/lustre/file{row:02}" in site.page(f"/vault?{href}", "jane")


FILTERS = {
    "path=/lustre/file0": names(1, 2, 3, 4),
    "path=/lustre/FILE0": [],
    "path=FILE0": names(1, 2, 3, 4),
    "path=4+lustre": names(4),
    "path=%25": [],
    "path=/lustre/file0_": [],
    "path=/lustre/file%2504": [],
    "path=%00": [],
    "path=/%00": [],
    "path=/%ff": [],
    "path=/" + quote("\U0010ffff" * 1365): [],
    "path=/" + "x" * 4095: [],
    "user=user2": names(2),
    "user=USER2": [],
    "group=team3&user=user2": names(2),
    "group=team3&user=user1": [],
    "action=Archive": ["/scratch2/other05"],
    "volume=scratch2": ["/scratch2/other05"],
    "volume=scratch1&action=Archive": [],
    "volume=scratch9": [],
}


def test_filters_let_through_what_they_say(database: Database, site: Pages) -> None:
    store(database, [file(number) for number in range(1, 5)])
    store(database, [file(5, shown="/scratch2/other05")], OTHER)
    asked = {query: paths(site.json(f"/vault?{query}")) for query in FILTERS}
    assert asked == FILTERS


def test_pages_lead_from_one_to_the_next(database: Database, site: Pages) -> None:
    store(database, [file(number) for number in range(25)])
    found: list[str] = []
    asked: str | None = "/vault?rows=7&path=/lustre"
    pages_seen = 0
    while asked:
        page = site.page(asked)
        found += re.findall(r"/lustre/file\d\d", page)
        assert ("from the beginning" in page) == bool(pages_seen)
        pages_seen += 1
        link = re.search(r'rel="next" href="([^"]*)">next<', page)
        asked = link and unescape(link[1])
    assert found == names(*range(25))
    assert pages_seen == 4


def test_programs_ask_for_the_next_page_by_a_token(database: Database, site: Pages) -> None:
    store(database, [file(number) for number in range(25)])
    found: list[str] = []
    after = ""
    for rows in (10, 10, 5):
        answer = site.json(f"/vault?rows=10&after={after}")
        assert len(answer["rows"]) == rows
        assert answer["searched_to"] is None
        found += paths(answer)
        after = answer["next"]
    assert after is None
    assert found == names(*range(25))


def test_a_search_that_takes_long_says_how_far_it_is_and_goes_on(
    database: Database, site: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FOR_A_PAGE", Limit(10, 5))
    store(database, [file(number) for number in range(25)])
    page = site.page("/vault?path=file23&rows=5")
    assert "Searched up to <code>/lustre/file09</code>, not further." in page
    assert "nothing so far" in page
    for last in (19, None):
        link = re.search(r'rel="next" href="([^"]*)">search on<', page)
        assert link
        page = site.page(unescape(link[1]))
        assert (f"Searched up to <code>/lustre/file{last}</code>" in page) == bool(last)
    assert "<td" in page
    assert re.findall(r">(/lustre/file\d\d)<", page) == ["/lustre/file23"]
    assert 'rel="next"' not in page
    answer = site.json("/vault?path=file23&rows=5")
    assert answer["rows"] == []
    assert answer["searched_to"] == "/lustre/file09"
    assert answer["next"]


def test_downloads_have_so_many_files_in_the_same_order(
    database: Database, site: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vault, "MOST_DOWNLOADED", 20)
    store(database, [file(number) for number in range(25)])
    answer = site.ask("/vault.tsv?rows=3")
    header, *lines = answer.text.splitlines()
    assert header.split("\t")[:3] == ["volume", "path", "action"]
    assert [line.split("\t")[1] for line in lines] == names(*range(20))
    assert "filename=vault.tsv" in answer.headers["Content-Disposition"]
    assert len(list(csv.reader(site.ask("/vault.csv?group=team1").text.splitlines()))) == 8
    assert "the first 20 of all, up to 500,000 looked at" in site.page("/vault?rows=3")


def test_a_download_that_would_look_at_too_many_files_is_refused(
    database: Database, site: Pages, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FETCHED_AT_ONCE", 2)
    monkeypatch.setattr(search, "FOR_A_DOWNLOAD", Limit(5, 5))
    monkeypatch.setattr(search, "READS_FOR_A_DOWNLOAD", 3)
    store(database, [file(number) for number in range(25)])
    for form in ("csv", "tsv"):
        answer = site.ask(f"/vault.{form}?path=file23")
        assert answer.status_code == 400
        assert "narrow the search" in answer.text
        assert "Content-Disposition" not in answer.headers
        assert site.ask(f"/vault.{form}?path=/lustre/file23").status_code == 200


def test_a_path_is_no_markup(database: Database, site: Pages) -> None:
    store(database, [file(1, shown=HOSTILE)])
    page = site.page(f"/vault?path={quote(HOSTILE)}")
    assert HOSTILE not in page
    assert "/lustre/&lt;img src=x onerror=" in page


def test_retired_volumes_are_searched_where_they_are_named(database: Database, site: Pages) -> None:
    store(database, [file(1)])
    store(database, [file(2)], OTHER)
    gone = {"scratch2": Retirement(DAY - timedelta(days=1), "scratch1")}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert paths(site.json("/vault")) == names(1)
    assert paths(site.json("/vault?volume=scratch2")) == names(2)


def coded(raw: bytes) -> str:
    return urlsafe_b64encode(raw).decode("ascii")


WRONG = [
    ("after=x", "after: "),
    ("after=%C3%A9", "after: "),
    ("after=" + coded(b"/lustre"), "after: "),
    ("after=" + coded(b"-5 /lustre"), "after: "),
    ("after=" + coded("٣ /lustre".encode()), "after: "),
    ("after=" + coded(b"9223372036854775808 /lustre"), "after: "),
    ("after=" + coded(b"5 /" + b"x" * 255), "after: "),
    ("after=" + coded(b"5 /\xed\xa0\x80"), "after: "),
    ("after=" + coded(b"5" * 1400 + b" /lustre"), "after: "),
    ("after=" + "x" * 4000, "after: "),
    ("path=" + "+".join("abcdefghijk"), "path: "),
    ("path=" + "x" * 5000, "path: "),
    ("rows=501", "rows: "),
    ("rows=0", "rows: "),
    ("page=2", "page: there is no such parameter"),
    ("sort=path", "sort: there is no such parameter"),
    ("user=a&user=b", "more than once: user"),
]


def test_wrong_parameters_are_told_in_words(site: Pages) -> None:
    for query, words in WRONG:
        for path in FORMS:
            answer = site.ask(f"{path}?{query}")
            assert answer.status_code == 400, query
            assert words in unescape(answer.text)


@pytest.mark.parametrize(
    "place",
    [Place("", 0), Place("/lustre/a b", 5), Place("/" + "\U0010ffff" * 254, 2**63 - 1)],
)
def test_a_place_comes_back_from_its_token(place: Place) -> None:
    assert place_of(token(place)) == place
