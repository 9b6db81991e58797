"""The overview tells each visitor of their groups: sorted, filtered, page by page, for programs."""

import csv
import gzip
import json
import re
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pages_of_tests import ADMIN, Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import upkeep, usage
from db.database import Database
from db.sight.volumes import VolumeDates
from db.upkeep import Retirement
from lurge.web.overview import remark
from lurge_types.forecasts import Forecast
from lurge_types.reports import GroupReport
from lurge_types.scans import Volume

OTHER = Volume("scratch2", b"/lustre/scratch2")
PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
HOSTILE = '<img src=x onerror="alert(1)">&amp;'


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def store(
    database: Database, rows: list[GroupReport], volume: Volume = VOLUME, day: date = DAY
) -> None:
    usage.store(database, nights.run(day, volume), volume, rows, replace=False)


def groups(answer: dict[str, list[dict[str, object]]]) -> list[object]:
    return [row["group"] for row in answer["rows"]]


def test_an_administrator_sees_every_group_of_the_newest_date(
    database: Database, site: Pages
) -> None:
    store(database, nights.rows(5), day=DAY - timedelta(days=1))
    store(database, nights.rows(3))
    store(database, nights.rows(2, OTHER), OTHER)
    answer = site.json("/groups?sort=gid")
    assert answer["total"] == 5
    assert [(row["volume"], row["gid"]) for row in answer["rows"]] == [
        ("scratch1", 1),
        ("scratch2", 1),
        ("scratch1", 2),
        ("scratch2", 2),
        ("scratch1", 3),
    ]
    page = site.page("/")
    assert "1 to 5 of 5" in page
    assert "team3" in page


def test_a_row_has_all_that_is_known_of_a_group(database: Database, site: Pages) -> None:
    full = Forecast("theil-sen", 5, 5, 5, likely=DAY + timedelta(days=9))
    fuller = Forecast("theil-sen", 5, 5, 5, likely=DAY + timedelta(days=4))
    row = nights.row(nights.group(1), foretold_bytes=full, foretold_inodes=fuller)
    store(database, [row])
    [found] = site.json("/groups")["rows"]
    assert found == {
        "volume": "scratch1",
        "group": "team1",
        "gid": 1,
        "pi": "Doe 1",
        "used_bytes": 2**30,
        "quota_bytes": 2**31,
        "used_percent": 50.0,
        "inodes": 1000,
        "quota_inodes": 5000,
        "inodes_percent": 20.0,
        "last_modified_days": 0.1,
        "level": 2,
        "archived": False,
        "suspect": False,
        "full": (DAY + timedelta(days=4)).isoformat(),
        "full_in_days": 4,
        "record_date": DAY.isoformat(),
    }


@pytest.mark.parametrize("form", ["/groups.csv", "/groups.tsv", "/api/groups", "/", "/metrics"])
@pytest.mark.parametrize(
    ("user", "seen"), [("jane", {"team1", "team2"}), ("joe", {"team3"}), ("idle", set())]
)
def test_a_person_sees_their_own_groups_in_every_form(
    database: Database, site: Pages, form: str, user: str, seen: set[str]
) -> None:
    store(database, nights.rows(9))
    for query in ("", "?level=1", "?words=team", "?group=team5", "?pi=Doe+5", "?volume=scratch1"):
        if form == "/metrics" and query:
            continue
        text = site.ask(form + query, user).text
        # A page says again what was asked for; a row has a link.
        row = r"/group/scratch1/(\d+)" if form == "/" else r"\bteam(\d+)\b"
        shown = {f"team{gid}" for gid in re.findall(row, text)}
        assert shown <= seen
        assert query or shown == seen


def test_sums_of_volumes_are_of_what_a_person_may_see(database: Database, site: Pages) -> None:
    store(database, nights.rows(9))
    assert ">3.0 GiB<" in site.page("/", "jane")
    assert ">45.0 GiB<" in site.page("/")
    assert ">0<" in site.page("/", "idle")


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("volume=scratch2", ["team1", "team2"]),
        ("group=team3", ["team3"]),
        ("group=TEAM3", []),
        ("pi=Doe+2&volume=scratch1", ["team2"]),
        ("level=1", ["team3"]),
        ("words=TEAM3", ["team3"]),
        ("words=doe+scratch2", ["team1", "team2"]),
        ("words=%25", []),
        ("words=_", []),
        ("words=nothing+like+it", []),
    ],
)
def test_filters_let_through_what_they_say(
    database: Database, site: Pages, query: str, found: list[str]
) -> None:
    store(database, nights.rows(3))
    store(database, nights.rows(2, OTHER), OTHER)
    assert groups(site.json(f"/groups?sort=gid&{query}")) == found


def test_what_is_unknown_comes_last_whichever_way_it_is_sorted(
    database: Database, site: Pages
) -> None:
    store(database, nights.rows(6))  # the fifth has no quota
    assert groups(site.json("/groups?sort=quota_bytes"))[-1] == "team5"
    assert groups(site.json("/groups?sort=-quota_bytes"))[-1] == "team5"
    assert groups(site.json("/groups?sort=-quota_bytes"))[0] == "team6"


def test_the_worst_level_comes_first_and_in_it_the_fullest(database: Database, site: Pages) -> None:
    uses = [(1, 99, 1), (2, 50, 3), (3, 70, 3), (4, 95, 2), (5, 10, 1)]
    store(
        database,
        [
            nights.row(nights.group(gid), used_bytes=used, quota_bytes=100, warning=level)
            for gid, used, level in uses
        ],
    )
    assert groups(site.json("/groups")) == ["team3", "team2", "team4", "team1", "team5"]


def test_levels_are_counted_of_what_is_asked_for(database: Database, site: Pages) -> None:
    store(database, nights.rows(9))  # three of each level
    store(database, nights.rows(2, OTHER), OTHER)  # of the levels 2 and 3
    for query, counts in (
        ("", ["4", "4", "3"]),
        ("volume=scratch2", ["1", "1", "0"]),
        ("volume=scratch2&level=3", ["1", "1", "0"]),
        ("words=team9", ["0", "0", "1"]),
    ):
        assert re.findall(r"<b>(\d+)</b> (?:Not|Kinda|OK)", site.page(f"/?{query}")) == counts
    assert re.findall(r"<b>(\d+)</b> (?:Not|Kinda|OK)", site.page("/", "joe")) == ["0", "0", "1"]


def test_every_column_can_be_sorted_by(database: Database, site: Pages) -> None:
    soon = Forecast("theil-sen", 5, 5, 5, likely=DAY + timedelta(days=9))
    later = Forecast("theil-sen", 5, 5, 5, likely=DAY + timedelta(days=700))
    foretold: list[dict[str, Any]] = [
        {},
        {"foretold_bytes": soon},
        {"foretold_inodes": later, "foretold_bytes": soon},
    ]
    store(database, [nights.row(nights.group(n), **foretold[n % 3]) for n in range(1, 13)])
    rows = site.json("/groups")["rows"]
    for key in rows[0]:
        known = sorted(row[key] for row in rows if row[key] is not None)
        for sign, expected in (("", known), ("-", known[::-1])):
            found = [row[key] for row in site.json(f"/groups?sort={sign}{key}")["rows"]]
            assert found == [*expected, *[None] * (12 - len(known))], (sign, key)


def test_pages_have_every_row_once(database: Database, site: Pages) -> None:
    store(database, nights.rows(25))
    found: list[object] = []
    for page in range(1, 5):
        found += groups(site.json(f"/groups?sort=-level&rows=7&page={page}"))
    assert len(found) == 25
    assert set(found) == {f"team{gid}" for gid in range(1, 26)}
    text = site.page("/?rows=7&page=2")
    assert 'rel="prev"' in text
    assert 'rel="next"' in text
    assert "8 to 14 of 25" in text
    assert site.json("/groups?rows=7&page=99")["rows"] == []


def test_beyond_the_last_page_there_is_a_way_back(database: Database, site: Pages) -> None:
    store(database, nights.rows(25))
    text = site.page("/?rows=7&page=99")
    assert " of 25" not in text
    [before] = re.findall(r'<a rel="prev" href="([^"]*)">', text)
    assert 'rel="next"' not in text
    assert "22 to 25 of 25" in site.page(before.replace("&amp;", "&"))
    assert 'rel="prev"' not in site.page("/?group=nothing&page=99")


def test_a_table_tells_which_of_its_downloads_has_all_rows(site: Pages) -> None:
    words = " ".join(re.sub("<[^>]*>", " ", site.page("/")).split())
    assert "all rows: CSV TSV ; page by page: JSON" in words


def test_downloads_have_all_rows_in_the_same_order(database: Database, site: Pages) -> None:
    store(database, nights.rows(70))
    answer = site.ask("/groups.tsv?sort=-used_bytes&rows=5")
    header, *lines = answer.text.splitlines()
    assert header.split("\t")[:3] == ["volume", "group", "gid"]
    assert [line.split("\t")[1] for line in lines] == [f"team{gid}" for gid in range(70, 0, -1)]
    assert "filename=groups.tsv" in answer.headers["Content-Disposition"]
    rows = list(csv.reader(site.ask("/groups.csv?level=3").text.splitlines()))
    assert rows[0] == header.split("\t")
    assert {row[11] for row in rows[1:]} == {"3"}


def test_a_name_is_no_markup_and_no_formula(database: Database, site: Pages) -> None:
    evil = nights.group(1, name=HOSTILE, pi="=1+1")
    store(database, [nights.row(evil)])
    page = site.page("/?words=" + quote("<img"))
    assert HOSTILE not in page
    assert "&lt;img src=x onerror=" in page
    [_, row] = csv.reader(site.ask("/groups.csv").text.splitlines())
    assert row[1] == HOSTILE
    assert row[3] == "'=1+1"
    assert "\t=1+1\t" in site.ask("/groups.tsv").text


def test_retired_volumes_are_shown_where_they_are_named(database: Database, site: Pages) -> None:
    store(database, nights.rows(2))
    store(database, nights.rows(3, OTHER), OTHER)
    gone = {"scratch2": Retirement(DAY, "scratch1")}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert site.json("/groups")["total"] == 2
    assert site.json("/groups?volume=scratch2")["total"] == 3
    assert ">3<" not in site.page("/")


def test_old_data_is_remarked() -> None:
    def of(**dates: date) -> str | None:
        return remark(VolumeDates("s1", None, dates), DAY)

    yesterday, before = DAY - timedelta(days=1), DAY - timedelta(days=2)
    assert of(reporter=DAY) is None
    assert of(reporter=yesterday, inspector=yesterday) is None
    assert of(reporter=before) == "its newest data is 2 days old"
    assert of(reporter=DAY, inspector=before) == f"older than the rest: inspector of {before}"
    assert of() == "nothing is recorded"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("page=0", "page: "),
        ("page=x", "page: "),
        ("rows=100000", "rows: "),
        ("level=4", "level: "),
        ("sort=nothing", "sort: one of volume, group"),
        ("colour=red", "colour: there is no such parameter"),
        ("page=1&page=2", "more than once: page"),
        ("page=99999999999999999999", "page: "),
        ("words=" + "+".join("abcdefghijk"), "words: "),
    ],
)
def test_wrong_parameters_are_told_in_words(site: Pages, query: str, words: str) -> None:
    for path in ("/", "/groups.csv", "/api/groups"):
        answer = site.ask(f"{path}?{query}")
        assert answer.status_code == 400
        assert words in (json.loads(answer.text)["error"] if answer.is_json else answer.text)


def test_metrics_tell_what_groups_use_and_how_old_that_is(database: Database, site: Pages) -> None:
    store(database, [nights.row(nights.group(1, name='a"b\\'), quota_bytes=None)])
    text = site.page("/metrics")
    assert 'lurge_used_bytes{volume="scratch1",group="a\\"b\\\\",gid="1"} 1073741824\n' in text
    assert "lurge_quota_bytes{" not in text
    assert 'lurge_data_age_seconds{volume="scratch1",report="reporter"} ' in text
    packed = site.client.get(
        "/metrics", headers={"X-Remote-User": ADMIN, "Accept-Encoding": "gzip"}
    )
    assert gzip.decompress(packed.data).count(b"lurge_used_bytes{") == 1


@pytest.mark.parametrize("path", ["/", "/directories", "/candidates", "/vault"])
def test_forms_of_filters_keep_how_many_rows_a_page_has(site: Pages, path: str) -> None:
    assert '<input type="hidden" name="rows" value="7">' in site.page(f"{path}?rows=7")
    assert 'type="hidden"' not in site.page(path)
