"""The pages of directories lead down and up again, each visitor to what they may see."""

import csv
import json
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from pages_of_tests import Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME

from db import directories, upkeep, usage
from db.database import Database
from db.upkeep import Retirement
from lurge.web.directories import LONGEST_NAME, MOST_TILES
from lurge_types.reports import DIRECTLY, FOLDED, NOWHERE, BaseDirectory, DirectoryReport
from lurge_types.scans import Volume

PEOPLE = {"jane": (7, (1, 2)), "joe": (8, (3,)), "idle": (9, ())}
GROUPS = {gid: nights.group(gid) for gid in range(1, 6)}
OTHER = Volume("scratch 2", b"/lustre/scratch2")
TOP = BaseDirectory(NOWHERE, NOWHERE)
ALPHA = nights.base(1)
HOSTILE = '<a href="javascript:alert(1)">x</a><img src=x onerror=alert(1)>'


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    return pages(database, tmp_path, PEOPLE)


def there(
    name: str, gid: int = 1, size: int = 2**40, base: BaseDirectory = ALPHA, **facts: Any
) -> DirectoryReport:
    report = nights.directory(1, GROUPS[gid], base, directory=name, size_bytes=size)
    path = None if name in {FOLDED, NOWHERE} else f"{base.real}/{name}"
    return report._replace(real_path=path, **facts)


REPORTS = [
    there("reads"),
    there("reads", 3, 2**30),
    there("results", 2, 2**35),
    there("secret of joe", 3, 2**50, nights.base(2)),
    there(DIRECTLY, 1, 5, files=7),
    there(FOLDED, 1, 6),
    there(NOWHERE, 1, 9, TOP),
]


def fill(database: Database, reports: list[DirectoryReport], volume: Volume = VOLUME) -> None:
    run = nights.run(volume=volume, report="inspector")
    filling = directories.begin(
        database, run, volume, len(reports), replace=False, file_types=("BAM", "CRAM", "VCF")
    )
    filling.add(reports, GROUPS)
    filling.finish(list, GROUPS)


def base_of(site: Pages, shown: str, volume: str = "scratch1") -> int:
    """The number of a base directory."""
    for row in site.json(f"/directories/{quote(volume)}/base_directories")["rows"]:
        if row["base_directory"] == shown:
            return int(row["base_directory_id"])
    raise LookupError(shown)


def forms(site: Pages) -> list[str]:
    """Every address that tells of directories."""
    alpha, beta = base_of(site, ALPHA.shown), base_of(site, nights.base(2).shown)
    folders = {
        "directories": ("/directories", ""),
        "base_directories": ("/directories/scratch1",) * 2,
        "subdirectories": (f"/directories/scratch1/{alpha}",) * 2,
        "subdirectories ": (f"/directories/scratch1/{beta}",) * 2,
    }
    return [
        address
        for name, (page, folder) in folders.items()
        for address in (
            page,
            f"/api{page}/tiles",
            f"/api{folder}/{name.strip()}",
            f"{folder}/{name.strip()}.csv",
            f"{folder}/{name.strip()}.tsv",
        )
    ]


def test_pages_lead_down_to_directories_and_up_again(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    alpha = base_of(site, ALPHA.shown)
    first = site.page("/directories?area=files")
    assert '<a href="/directories/scratch1?area=files">scratch1</a>' in first
    assert f">{DAY}<" in first
    second = site.page("/directories/scratch1?area=files")
    assert f'<a href="/directories/scratch1/{alpha}?area=files">{ALPHA.shown}</a>' in second
    assert f"Data of {DAY}" in second
    assert '<a href="/directories?area=files">volumes</a>' in second
    third = site.page(f"/directories/scratch1/{alpha}?area=files&group=team1")
    assert '<a href="/directories?area=files&amp;group=team1">volumes</a>' in third
    assert '<a href="/directories/scratch1?area=files&amp;group=team1">scratch1</a>' in third
    assert ">reads<" in third
    assert ">1.0 TiB<" in third


def test_what_is_no_directory_is_told_in_words(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    assert ">above every base directory</a>" in site.page("/directories/scratch1")
    page = site.page(f"/directories/scratch1/{base_of(site, ALPHA.shown)}")
    assert ">files directly in it</td>" in page
    assert ">smaller ones, folded</td>" in page
    top = f"/directories/scratch1/{base_of(site, NOWHERE)}"
    assert "<h1>above every base directory</h1>" in site.page(top)
    assert ">above every base directory</td>" in site.page(top)
    [row] = site.json(f"{top}/subdirectories")["rows"]
    assert (row["base_directory"], row["directory"]) == (NOWHERE, NOWHERE)


def test_a_row_has_all_that_is_known(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    alpha = base_of(site, ALPHA.shown)
    row = site.json(f"/directories/scratch1/{alpha}/subdirectories")["rows"][0]
    assert row == {
        "volume": "scratch1",
        "record_date": DAY.isoformat(),
        "base_directory_id": alpha,
        "base_directory": ALPHA.shown,
        "directory": "reads",
        "groups": "team1,team3",
        "size_bytes": 2**40 + 2**30,
        "files": 12,
        "last_modified_days": 0.1,
        "last_used_days": 0.1,
        "kept_files": 2,
    }
    [base] = site.json("/directories/scratch1/base_directories?words=alpha1")["rows"]
    assert base["directories"] == 5


def test_groups_lead_to_their_pages_where_they_have_one(database: Database, site: Pages) -> None:
    fill(database, [there("shared", gid) for gid in range(1, 6)])
    usage.store(database, nights.run(), VOLUME, nights.rows(2), replace=False)
    for path in ("/directories/scratch1", f"/directories/scratch1/{base_of(site, ALPHA.shown)}"):
        page = site.page(path)
        assert '<a href="/group/scratch1/1">team1</a>, <a href="/group/scratch1/2">' in page
        assert "</a>, team3, team4, team5<" in page


def test_of_many_groups_people_read_some_and_programs_all(database: Database, site: Pages) -> None:
    many = {gid: nights.group(gid) for gid in range(10, 30)}
    GROUPS.update(many)
    fill(database, [there("shared", gid) for gid in many])
    assert "team15, and 14 more<" in site.page("/directories/scratch1")
    [row] = site.json("/directories/scratch1/base_directories")["rows"]
    assert row["groups"].count("team") == 20


@pytest.mark.parametrize("user", ["jane", "idle"])
def test_nobody_learns_what_others_have_in_any_form(
    database: Database, site: Pages, user: str
) -> None:
    fill(database, REPORTS)
    beta = f"/{base_of(site, nights.base(2).shown)}"
    for path in forms(site):
        for query in ("", "?group=team3", "?words=secret", "?words=alpha2", "?sort=-files"):
            answer = site.ask(path + query, user)
            assert answer.status_code == (404 if beta in path else 200) or user == "idle"
            said = answer.text.replace('value="team3"', "").replace("group=team3", "")
            for secret in ("team3", "secret of joe", "alpha2", str(2**50), "1.0 PiB"):
                shown = re.sub(r'(?:value=|words=)"?(?:secret|alpha2)"?', "", said)
                assert secret not in shown, path


def test_sums_are_of_what_a_person_may_see(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    [row] = site.json("/directories", "joe")["rows"]
    assert row["size_bytes"] == 2**50 + 2**30
    [tile] = site.json("/directories/tiles", "joe")["tiles"]
    assert tile["size_bytes"] == 2**50 + 2**30
    rows = site.json(f"/directories/scratch1/{base_of(site, ALPHA.shown)}/subdirectories", "joe")
    assert [(each["directory"], each["groups"]) for each in rows["rows"]] == [("reads", "team3")]


def test_tiles_have_an_area_a_colour_and_a_page(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    answer = site.json("/directories/scratch1/tiles?area=files")
    assert answer["area"] == "files"
    tiles = {tile["name"]: tile for tile in answer["tiles"]}
    alpha = base_of(site, ALPHA.shown)
    assert tiles[ALPHA.shown] == {
        "name": ALPHA.shown,
        "page": f"/directories/scratch1/{alpha}?area=files",
        "size_bytes": 2**40 + 2**30 + 2**35 + 11,
        "files": 31,
        "last_modified_days": 0.1,
        "last_used_days": 0.1,
        "shown": ["31 files", "1.0 TiB", "last used 0.1 d before the scan"],
    }
    assert "above every base directory" in tiles
    below = site.json(f"/directories/scratch1/{alpha}/tiles")["tiles"]
    assert [tile["name"] for tile in below][:2] == ["reads", "results"]
    assert {tile["page"] for tile in below} == {None}
    assert "files directly in it" in {tile["name"] for tile in below}


def test_a_large_base_directory_has_few_tiles_and_a_small_answer(
    database: Database, site: Pages
) -> None:
    long = "\\x01" * 3000
    reports = [there(f"{number}{long}", size=number + 1) for number in range(MOST_TILES + 20)]
    fill(database, reports, OTHER)
    alpha = base_of(site, ALPHA.shown, OTHER.name)
    answer = site.ask(f"/api/directories/scratch%202/{alpha}/tiles")
    assert len(answer.data) < 200_000
    *largest, rest = json.loads(answer.data)["tiles"]
    assert len(largest) == MOST_TILES
    assert {len(tile["name"]) for tile in largest} == {LONGEST_NAME}
    assert (rest["name"], rest["size_bytes"]) == ("20 smaller ones", sum(range(1, 21)))
    assert rest["page"] is None


def test_the_page_tells_the_script_where_its_tiles_are(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    page = site.page("/directories/scratch1?area=files&group=team1&sort=-files&rows=2")
    [source] = re.findall(r'data-source="([^"]*)"', page)
    path, query = source.replace("&amp;", "&").split("?")
    assert path == "/api/directories/scratch1/tiles"
    assert sorted(query.split("&")) == ["area=files", "group=team1"]
    assert "data-source" not in site.page("/directories/scratch1?words=nothing")
    assert re.findall(r'data-days="(\d+)"', page) == ["0", "30", "90", "180", "365", "730", "1095"]
    assert not re.search(r"<script(?![^>]*\bsrc=)|style=|onclick", page)


def test_a_name_is_no_markup(database: Database, site: Pages) -> None:
    evil = BaseDirectory(f"/lustre/{HOSTILE}", f"/lustre/{HOSTILE}")
    fill(database, [there(HOSTILE, base=evil)])
    path = f"/directories/scratch1/{base_of(site, evil.shown)}"
    for page in (site.page("/directories/scratch1"), site.page(path)):
        assert "<img" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;" in page
    [tile] = site.json(f"{path}/tiles")["tiles"]
    assert tile["name"] == HOSTILE  # the script takes care


def test_retired_volumes_are_at_their_address(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    gone = {"scratch1": Retirement(DAY, None)}
    database.transaction(lambda connection: upkeep.retire(connection, gone))
    assert site.json("/directories")["rows"] == []
    assert site.json("/directories/tiles")["tiles"] == []
    assert ALPHA.shown in site.page("/directories/scratch1")


def test_a_volume_without_an_inspection_says_so(database: Database, site: Pages) -> None:
    usage.store(database, nights.run(), VOLUME, nights.rows(2), replace=False)
    assert "Nothing is recorded of this volume yet" in site.page("/directories/scratch1")
    assert "nothing" in site.page("/directories")


def test_downloads_have_all_rows_and_no_formula(database: Database, site: Pages) -> None:
    fill(database, [there(f"=d{number}", size=number) for number in range(70)])
    alpha = base_of(site, ALPHA.shown)
    path = f"/directories/scratch1/{alpha}/subdirectories"
    header, *rows = csv.reader(site.ask(f"{path}.csv?sort=-size_bytes").text.splitlines())
    assert [row[header.index("directory")] for row in rows][:2] == ["'=d69", "'=d68"]
    assert len(rows) == 70
    assert "\t=d0\t" in site.ask(f"{path}.tsv").text
    [volume] = csv.DictReader(site.ask("/directories.csv").text.splitlines())
    assert (volume["volume"], volume["directories"]) == ("scratch1", "70")


def test_every_column_can_be_sorted_by(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    for path in ("/directories", "/directories/scratch1", f"/directories/scratch1/{1}"):
        keys = set(re.findall(r"[?&;]sort=-?(\w+)", site.page(path)))
        assert {"size_bytes", "last_used_days", "kept_files"} < keys
        for key in keys:
            site.page(f"{path}?sort={key}")
            site.page(f"{path}?sort=-{key}")


@pytest.mark.parametrize(
    "path",
    [
        "/directories/nothing",
        "/directories/%00",
        "/directories/%ED%A0%80",
        "/directories/scratch%",
        "/directories/scratch1/0",
        "/directories/scratch1/2147483647",
        "/directories/scratch1/2147483648",
        "/directories/scratch1/99999999999999999999",
        f"/directories/scratch1/{'9' * 5000}",
        "/directories/scratch1/-1",
        "/directories/nothing/1",
    ],
)
def test_what_is_not_there_is_not_found(database: Database, site: Pages, path: str) -> None:
    fill(database, REPORTS)
    for address in (path, f"/api{path}/tiles"):
        assert site.ask(address).status_code == 404


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("area=colour", "area: "),
        ("sort=groups", "sort: one of"),
        ("sort=nothing", "sort: one of"),
        ("page=99999999999999999999", "page: "),
        ("volume=scratch1", "volume: there is no such parameter"),
        ("words=" + "x" * 2000, "words: "),
        ("words=" + "+".join("abcdefghijk"), "words: "),
    ],
)
def test_wrong_parameters_are_told_in_words(
    database: Database, site: Pages, query: str, words: str
) -> None:
    fill(database, REPORTS)
    for path in ("/directories", "/directories/scratch1", f"/directories/scratch1/{1}"):
        answer = site.ask(f"{path}?{query}")
        assert answer.status_code == 400
        assert words in answer.text


@pytest.mark.parametrize(
    "value", ["%00", "%ED%A0%80", "%FF", "%25", "_", "%27", "%5C", "%F0%9F%98%80"]
)
def test_no_text_is_a_fault(database: Database, site: Pages, value: str) -> None:
    fill(database, REPORTS)
    for path in forms(site):
        for key in ("words", "group"):
            assert site.ask(f"{path}?{key}={value}").status_code == 200


def test_answers_are_json_that_any_program_reads(database: Database, site: Pages) -> None:
    fill(database, REPORTS)
    for path in forms(site):
        if path.startswith("/api"):
            json.loads(site.ask(path).data, parse_constant=pytest.fail)
