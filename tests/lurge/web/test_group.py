"""A group's page has its use over time, its directories and users; others find nothing there."""

import csv
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from pages_of_tests import ADMIN, Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import directories, usage, user_usage
from db.database import Database
from lurge_types.forecasts import UNKNOWN, Forecast
from lurge_types.reports import GroupReport, UserUse
from lurge_types.scans import Volume
from utils.months import months_before

OTHER = Volume("scratch2", b"/lustre/scratch2")
PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
HOSTILE = '<img src=x onerror="alert(1)">'
GROUPS = {gid: nights.group(gid) for gid in range(1, 6)}
USERS = {uid: nights.user(uid) for uid in range(1, 41)}
NOWHERE = (
    "/group/scratch1/{gid}",
    "/group/scratch1/{gid}/directories",
    "/group/scratch1/{gid}/directories.csv",
    "/group/scratch1/{gid}/directories.tsv",
    "/group/scratch1/{gid}/users",
    "/group/scratch1/{gid}/users.csv",
    "/api/group/scratch1/{gid}/directories",
    "/api/group/scratch1/{gid}/users",
    "/api/group/scratch1/{gid}/history",
)
FULL = Forecast("theil-sen", 2048, 1, 1, DAY + timedelta(9), DAY + timedelta(5), None)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def store(
    database: Database,
    rows: list[GroupReport],
    day: date = DAY,
    volume: Volume = VOLUME,
    **facts: Any,
) -> None:
    usage.store(database, nights.run(day, volume, **facts), volume, rows, replace=False)


def fill(database: Database, count: int = 20) -> None:
    """Directories of five groups, and what eight users have in each of them."""
    reports = [
        nights.directory(number, GROUPS[number % 5 + 1], nights.base(number % 7))
        for number in range(count)
    ]
    run = nights.run(report="inspector")
    filling = directories.begin(
        database, run, VOLUME, count, replace=False, file_types=("BAM", "CRAM", "VCF")
    )
    filling.add(reports, GROUPS)
    filling.finish(list, GROUPS)
    uses = [UserUse(uid, uid % 5 + 1, uid * 1024, uid, DAY) for uid in USERS]
    run = nights.run(report="users")
    user_usage.store(
        database, run, VOLUME, uses, USERS, GROUPS, withdraw=lambda: None, replace=False
    )


def test_a_page_tells_all_of_a_group(database: Database, site: Pages) -> None:
    store(database, [nights.row(GROUPS[1], foretold_bytes=FULL), *nights.rows(5)[1:]])
    store(database, nights.rows(2, OTHER), DAY, OTHER)
    fill(database)
    page = site.page("/group/scratch1/1", "jane")
    assert "<h1>team1 on scratch1</h1>" in page
    assert "<dt>PI</dt><dd>Doe 1</dd>" in page
    assert "<dt>share</dt><dd>50.0 %</dd>" in page
    assert "Grows by 2.0 KiB a day" in page
    assert (
        "likely on 2026-03-10, at the earliest on 2026-03-06, "
        "at the latest in over five years or never" in page
    )
    assert "Nothing is foretold: there are too few records." in page
    assert ">directory_number_15<" in page
    assert ">user40<" in page
    assert 'href="/vault?volume=scratch1&amp;group=team1"' in page
    assert 'href="/candidates?volume=scratch1&amp;group=team1"' in page
    assert 'href="/group/scratch2/1"' in page


def test_a_group_of_which_only_its_use_is_known_has_a_page(database: Database, site: Pages) -> None:
    store(database, nights.rows(1))
    assert "<h1>team1 on scratch1</h1>" in site.page("/group/scratch1/1")


@pytest.mark.parametrize("path", NOWHERE)
def test_what_somebody_may_not_see_is_as_if_it_were_not_there(
    database: Database, site: Pages, path: str
) -> None:
    store(database, nights.rows(5))
    fill(database)
    for gid, seeing in ((1, {ADMIN, "jane"}), (3, {ADMIN, "joe"}), (4, {ADMIN}), (77, set())):
        answers = {user: site.ask(path.format(gid=gid), user) for user in (ADMIN, *PEOPLE)}
        assert {user for user, answer in answers.items() if answer.status_code == 200} == seeing
        missing = [answer for user, answer in answers.items() if user not in seeing]
        assert {answer.status_code for answer in missing} <= {404}
        for answer in missing:
            assert "no such group on this volume, or none of yours" in answer.text
            assert "team" not in answer.text


@pytest.mark.parametrize(
    "path",
    [
        f"/group/scratch1/{1 << 63}",
        f"/group/scratch1/-{1 << 64}",
        f"/api/group/scratch1/{10**30}/history",
        "/group/scratch9/1",
        "/group/%00/1",
        "/group/%ED%A0%80/1",
        "/group/%25/1",
        "/group/scratch1/x",
        "/group/scratch1/1.5",
    ],
)
def test_what_is_no_group_is_not_found(database: Database, site: Pages, path: str) -> None:
    store(database, nights.rows(1))
    assert site.ask(path).status_code == 404


def test_a_history_has_the_months_and_the_quota_that_are_asked_for(
    database: Database, site: Pages
) -> None:
    days = [months_before(DAY, months) for months in (40, 13, 12, 6, 1, 0)]
    for number, day in enumerate(days):
        row = nights.row(
            GROUPS[1],
            used_bytes=number,
            inodes=number * 10,
            suspect=number == 4,
            foretold_bytes=FULL if day == DAY else UNKNOWN,
        )
        store(database, [row], day)
    answer = site.json("/group/scratch1/1/history?months=all", "jane")
    assert [point["used"] for point in answer["points"]] == [0, 1, 2, 3, 4, 5]
    assert answer["points"][4] == {
        "date": days[4].isoformat(),
        "used": 4,
        "quota": 2**31,
        "suspect": True,
    }
    assert answer["forecast"] == {
        "method": "theil-sen",
        "rate_per_day": 2048,
        "likely": "2026-03-10",
        "earliest": "2026-03-06",
        "latest": None,
    }
    assert answer["imported_until"] is None
    for query, count in (("", 4), ("?months=1", 2), ("?months=6", 3), ("?months=36", 5)):
        assert len(site.json(f"/group/scratch1/1/history{query}")["points"]) == count
    answer = site.json("/group/scratch1/1/history?of=inodes&months=all")
    assert answer["forecast"] is None
    assert [point["used"] for point in answer["points"]] == [0, 10, 20, 30, 40, 50]
    assert {point["quota"] for point in answer["points"]} == {5000}


def test_a_history_tells_where_imported_days_end(database: Database, site: Pages) -> None:
    before, yesterday = DAY - timedelta(2), DAY - timedelta(1)
    store(database, nights.rows(1), before, imported_from="older")
    store(database, nights.rows(1), yesterday, imported_from="older")
    store(database, nights.rows(1))
    answer = site.json("/group/scratch1/1/history")
    assert answer["imported_until"] == yesterday.isoformat()


def test_three_years_are_a_small_answer(database: Database, site: Pages) -> None:
    days = [
        (nights.run(DAY - timedelta(ago)), [nights.row(GROUPS[1], used_bytes=2**50 + ago)])
        for ago in range(1095)
    ]
    usage.store_days(database, VOLUME, days, replace=False)
    assert len(site.json("/group/scratch1/1/history?months=all")["points"]) == 1095
    assert len(site.ask("/api/group/scratch1/1/history?months=all").data) < 100_000


def test_choices_of_a_chart_are_links(database: Database, site: Pages) -> None:
    store(database, nights.rows(1))
    page = site.page("/group/scratch1/1?of=inodes&months=3")
    assert 'href="/group/scratch1/1?months=3"' in page
    assert 'href="/group/scratch1/1?of=inodes&amp;months=36"' in page
    assert 'data-source="/api/group/scratch1/1/history?of=inodes&amp;months=3"' in page
    assert page.count('aria-current="true"') == 2


def test_directories_have_their_types_and_ages_in_every_form(
    database: Database, site: Pages
) -> None:
    store(database, nights.rows(5))
    fill(database)
    answer = site.json("/group/scratch1/1/directories", "jane")
    assert answer["total"] == 4
    row = answer["rows"][0]
    assert row["directory"] == "directory_number_15"
    assert row["by_type"] == {
        "VCF": {"files": 4, "size_bytes": 1500},
        "other": {"files": 1, "size_bytes": 1500},
    }
    assert row["by_age"] == {age: {"files": 1, "size_bytes": 15} for age in ("180", "365", "730")}
    page = site.page("/group/scratch1/1/directories")
    assert "VCF 1.5 KiB, other 1.5 KiB" in page
    assert "180 d-1 y 15 B, 1-2 y 15 B, 2-3 y 15 B" in page
    header, first, *_ = csv.reader(site.ask("/group/scratch1/1/directories.csv").text.splitlines())
    cells = dict(zip(header, first, strict=True))
    assert json.loads(cells["by_type"]) == {"VCF": 1500, "other": 1500}
    assert json.loads(cells["by_age"]) == {"180": 15, "365": 15, "730": 15}


def test_tables_of_a_group_are_sorted_and_paged(database: Database, site: Pages) -> None:
    store(database, nights.rows(5))
    fill(database, 100)
    names: list[str] = []
    for number in (1, 2, 3):
        answer = site.json(f"/group/scratch1/2/directories?sort=directory&rows=8&page={number}")
        names += [row["directory"] for row in answer["rows"]]
    assert len(names) == 20
    assert names == sorted(names)
    uids = [row["uid"] for row in site.json("/group/scratch1/2/users?sort=uid")["rows"]]
    assert uids == [1, 6, 11, 16, 21, 26, 31, 36]
    page = site.page("/group/scratch1/2/users?sort=-user&rows=3&page=2")
    assert "4 to 6 of 8" in page
    assert 'href="/group/scratch1/2/users.csv?sort=-user"' in page
    text = site.ask("/group/scratch1/2/users.tsv?sort=-used_bytes").text
    assert text.splitlines()[1].split("\t")[:3] == ["user36", "36", str(36 * 1024)]


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("of=files", "of: "),
        ("months=2", "months: "),
        ("months=1&months=3", "more than once: months"),
        ("sort=used", "sort: there is no such parameter"),
    ],
)
def test_wrong_choices_are_told_in_words(
    database: Database, site: Pages, query: str, words: str
) -> None:
    store(database, nights.rows(1))
    for path in ("/group/scratch1/1", "/api/group/scratch1/1/history"):
        answer = site.ask(f"{path}?{query}")
        assert answer.status_code == 400
        assert words in answer.text


def test_names_are_no_markup(database: Database, site: Pages) -> None:
    store(database, [nights.row(nights.group(1, name=HOSTILE, pi=HOSTILE))])
    for path in ("/group/scratch1/1", "/group/scratch1/1/directories", "/group/scratch1/1/users"):
        page = site.page(path)
        assert "<img" not in page
        assert "&lt;img" in page


def test_a_page_has_neither_scripts_nor_styles_in_itself(database: Database, site: Pages) -> None:
    store(database, nights.rows(1))
    page = site.page("/group/scratch1/1")
    assert "<style" not in page
    assert " style=" not in page
    assert page.count("<script") == page.count("<script src=") == 2


def test_a_page_has_an_element_for_each_style_that_plotly_looks_for(
    database: Database, site: Pages
) -> None:
    store(database, nights.rows(1))
    page = site.page("/group/scratch1/1")
    script = site.ask(page.split('<script src="')[1].split('"')[0]).text
    ids = {part[:64] for part in script.split('if(!document.getElementById("')[1:]}
    assert ids
    for id_ in ids:
        assert f'<template id="{id_}">' in page
    assert script.count('createElement("style")') == len(ids) + 1
    assert 'id="plotly.js-style-global" class="no-inline-styles"' in page
