"""What could be archived: sums, the table, the list for an archiver, all within one's sight."""

import csv
from collections.abc import Sequence
from decimal import Decimal
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from pages_of_tests import Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import candidates, upkeep
from db.database import Database
from db.upkeep import Retirement
from lurge_types.candidates import Candidate
from lurge_types.scans import Volume

OTHER = Volume("scratch2", b"/lustre/scratch2")
PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
FORMS = [
    "/candidates",
    "/candidates.csv",
    "/candidates.tsv",
    "/candidates.txt",
    "/api/candidates",
    "/api/candidates/totals",
]
TOTALS = (
    *("volume", "class", "candidates", "size_bytes", "cold_bytes", "files"),
    "cost_per_month",
)
HOSTILE = "/lustre/<img src=x onerror=alert(1)>&amp;"


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def candidate(rank: int, *gids: int, **facts: Any) -> Candidate:
    made = Candidate(
        rank=rank,
        kind="now",
        reason="cold",
        groups=",".join(f"team{gid}" for gid in gids),
        pi="Doe",
        size_bytes=rank * 2**30,
        cold_bytes=rank * 2**29,
        files=rank * 10,
        last_used_days=Decimal("900.5"),
        shown=f"/lustre/run_{rank}",
        real_path=f"/lustre/mdt0/run_{rank}",
        cost_per_month=Decimal("1.25"),
        gids=gids,
    )
    return made._replace(**facts)


def marked(rank: int, *gids: int, **facts: Any) -> Candidate:
    """A file that somebody has marked."""
    return candidate(rank, *gids, kind=None, reason="vault", cold_bytes=None, **facts)


def store(database: Database, rows: Sequence[Candidate], of: Volume = VOLUME) -> None:
    run = nights.run(volume=of, report="candidates")
    filling = candidates.begin(database, run, of, len(rows), replace=False)
    filling.add(rows, {gid: nights.group(gid) for row in rows for gid in row.gids})
    filling.finish()


def ranks(answer: dict[str, Any]) -> list[tuple[str, int]]:
    return [(row["volume"], row["rank"]) for row in answer["rows"]]


def test_a_row_has_all_that_is_known_of_a_candidate(database: Database, site: Pages) -> None:
    store(database, [candidate(1, 1, 2)])
    [row] = site.json("/candidates")["rows"]
    assert row == {
        "volume": "scratch1",
        "rank": 1,
        "class": "now",
        "reason": "cold",
        "path": "/lustre/run_1",
        "groups": "team1,team2",
        "pi": "Doe",
        "size_bytes": 2**30,
        "cold_bytes": 2**29,
        "cold_percent": 50.0,
        "files": 10,
        "last_used_days": 900.5,
        "cost_per_month": 1.25,
        "real_path": "/lustre/mdt0/run_1",
    }
    page = site.page("/candidates")
    assert "team1, team2" in page
    assert "/lustre/run_1" in page
    assert "mdt0" not in page


@pytest.mark.parametrize("form", FORMS)
def test_a_person_sees_what_only_their_groups_have_files_in(
    database: Database, site: Pages, form: str
) -> None:
    of = {1: (1,), 2: (2, 1), 3: (1, 3), 4: (3,), 5: (4,), 6: (1, 2, 3, 4)}
    store(database, [candidate(rank, *sorted(gids)) for rank, gids in of.items()])
    for user, may in {"jane": {1, 2}, "joe": {4}, "idle": set(), "admin": set(of)}.items():
        for query in (
            "",
            "?class=now",
            "?words=team3",
            "?group=team3",
            "?volume=scratch1",
            "?sort=-size_bytes",
        ):
            text = site.ask(form + query, user).text
            if form.endswith("totals"):
                assert "team3" in query or (f'"candidates":{len(may)}' in text) == bool(may)
            else:
                found = {rank for rank in of if f"run_{rank}" in text}
                assert found == (
                    {rank for rank in may if 3 in of[rank]} if "team3" in query else may
                )


def test_totals_are_by_volume_and_class(database: Database, site: Pages) -> None:
    store(database, [candidate(1, 1), candidate(2, 1, kind="soon"), candidate(3, 1, kind="soon")])
    store(database, [candidate(1, 2, cost_per_month=None), marked(2, 2)], OTHER)
    rows = site.json("/candidates/totals")["rows"]
    assert [tuple(row[key] for key in TOTALS) for row in rows] == [
        ("scratch1", "now", 1, 2**30, 2**29, 10, 1.25),
        ("scratch1", "soon", 2, 5 * 2**30, 5 * 2**29, 50, 2.5),
        ("scratch2", "now", 1, 2**30, 2**29, 10, None),
        ("scratch2", "vault", 1, 2 * 2**30, None, 20, 1.25),
    ]
    page = unescape(site.page("/candidates?words=run"))
    assert 'href="/candidates?volume=scratch1&class=soon&words=run"' in page
    assert ">5.0 GiB<" in page
    assert site.json("/candidates?class=vault")["total"] == 1


QUERIES = {
    "": [("scratch1", 1), ("scratch1", 2), ("scratch1", 3), ("scratch2", 1)],
    "sort=rank": [("scratch1", 1), ("scratch2", 1), ("scratch1", 2), ("scratch1", 3)],
    "sort=-size_bytes": [("scratch1", 3), ("scratch1", 2), ("scratch1", 1), ("scratch2", 1)],
    "sort=cold_bytes": [("scratch1", 1), ("scratch2", 1), ("scratch1", 2), ("scratch1", 3)],
    "sort=-volume": [("scratch2", 1), ("scratch1", 1), ("scratch1", 2), ("scratch1", 3)],
    "rows=2&page=2": [("scratch1", 3), ("scratch2", 1)],
    "volume=scratch2": [("scratch2", 1)],
    "volume=scratch3": [],
    "class=soon": [("scratch1", 2)],
    "class=vault": [("scratch1", 3)],
    "group=team2": [("scratch2", 1)],
    "group=team": [],
    "group=TEAM2": [],
    "words=TEAM2": [("scratch2", 1)],
    "words=run_2": [("scratch1", 2)],
    "words=run+team1+doe": [("scratch1", 1), ("scratch1", 2), ("scratch1", 3)],
    "words=%25": [],
    "words=%00": [],
}


def test_filters_and_sorts_do_what_they_say(database: Database, site: Pages) -> None:
    store(database, [candidate(1, 1), candidate(2, 1, kind="soon"), marked(3, 1)])
    store(database, [candidate(1, 2)], OTHER)
    assert {query: ranks(site.json(f"/candidates?{query}")) for query in QUERIES} == QUERIES


def test_candidates_of_a_group_are_not_those_of_a_group_whose_name_begins_so(
    database: Database, site: Pages
) -> None:
    store(database, [candidate(1, 1, 3), candidate(2, 12), candidate(3, 2, shown="/lustre/team1")])
    assert ranks(site.json("/candidates?group=team1")) == [("scratch1", 1)]
    [total] = site.json("/candidates/totals?group=team1")["rows"]
    assert total["candidates"] == 1
    page = unescape(site.page("/candidates?group=team1"))
    assert 'href="/candidates?volume=scratch1&class=now&group=team1"' in page
    assert 'href="/candidates.txt?group=team1"' in page


def test_the_archivers_list_has_the_real_paths_of_what_is_asked_for(
    database: Database, site: Pages
) -> None:
    of = [candidate(rank, 1, real_path=f"/r/{rank}\\n=x") for rank in range(1, 80)]
    store(database, [*of, marked(80, 1)])
    answer = site.ask("/candidates.txt?class=now&rows=5&sort=-rank")
    assert answer.mimetype == "text/plain"
    assert "filename=candidates.txt" in answer.headers["Content-Disposition"]
    assert answer.text == "".join(f"/r/{rank}\\n=x\n" for rank in range(79, 0, -1))
    link = 'href="/candidates.txt?sort=-rank&class=now"'
    assert link in unescape(site.page("/candidates?class=now&rows=5&sort=-rank&page=2"))
    assert site.ask("/candidates.txt?class=watch").text == ""


def test_downloads_have_all_rows(database: Database, site: Pages) -> None:
    store(database, [candidate(rank, 1) for rank in range(1, 80)])
    header, *rows = csv.reader(site.ask("/candidates.csv?rows=3").text.splitlines())
    assert header[:4] == ["volume", "rank", "class", "reason"]
    assert [row[1] for row in rows] == [str(rank) for rank in range(1, 80)]
    assert "/lustre/mdt0/run_1\n" in site.ask("/candidates.tsv").text


def test_very_many_groups_are_not_all_shown(database: Database, site: Pages) -> None:
    many = ",".join(f"team{gid}" for gid in range(2000))
    store(database, [candidate(1, 1, groups=many)])
    assert "team8, team9 and 1,990 more<" in site.page("/candidates")
    assert site.json("/candidates")["rows"][0]["groups"] == many


def test_a_path_is_no_markup(database: Database, site: Pages) -> None:
    store(database, [candidate(1, 1, shown=HOSTILE, groups="<b>", pi="<b>")])
    page = site.page("/candidates")
    assert HOSTILE not in page
    assert "<b>" not in page
    assert "/lustre/&lt;img src=x onerror=" in page


def test_retired_volumes_are_shown_where_they_are_named(database: Database, site: Pages) -> None:
    store(database, [candidate(1, 1)])
    store(database, [candidate(1, 1)], OTHER)
    gone = {"scratch2": Retirement(DAY, "scratch1")}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert ranks(site.json("/candidates")) == [("scratch1", 1)]
    assert ranks(site.json("/candidates?volume=scratch2")) == [("scratch2", 1)]


def test_without_candidates_there_is_a_page(site: Pages) -> None:
    assert ">nothing<" in site.page("/candidates")
    assert site.json("/candidates") == {"total": 0, "page": 1, "rows": []}


WRONG = [
    ("class=later", "class: "),
    ("kind=now", "kind: there is no such parameter"),
    ("sort=path", "sort: one of volume, rank"),
    ("rows=501", "rows: "),
    ("page=99999999999999999999", "page: "),
    ("words=" + "+".join("abcdefghijk"), "words: "),
]


def test_wrong_parameters_are_told_in_words(site: Pages) -> None:
    for query, words in WRONG:
        for path in FORMS[:-1]:
            answer = site.ask(f"{path}?{query}")
            assert answer.status_code == 400, (path, query)
            assert words in unescape(answer.text)
