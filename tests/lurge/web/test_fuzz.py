"""Whatever is asked for, by whomever: an answer without a fault, and no row of other people's."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pages_of_tests import ADMIN, Pages, pages
from servers import nights
from servers.nights import DAY, VOLUME
from werkzeug.routing import Rule

from db import candidates, directories, usage, user_usage, vaults
from db.database import Database
from lurge_types.candidates import COLD, NOW, Candidate
from lurge_types.names import Group
from lurge_types.reports import UserUse

MINE, THEIRS = 1, 5
JANE, OTHER = 41, 42
SECRET = "zebra"
"""Part of every name that jane must not see; nothing that is asked for has it."""

GROUPS = {MINE: nights.group(MINE), THEIRS: Group(THEIRS, f"g{SECRET}", f"Dr {SECRET}")}
USERS = {JANE: nights.user(JANE, name="jane"), OTHER: nights.user(OTHER, name=f"u{SECRET}")}

PARAMETERS = (
    *("volume", "group", "pi", "level", "words", "sort", "page", "rows", "path", "user"),
    *("action", "after", "class", "kind", "area", "of", "months", "name", "form", "colour"),
)
LIKELY = (
    *("", "0", "1", "-1", "2", "5", "42", "jane", "team1", "scratch1", "/lustre/", "all", "bytes"),
    *("files", "-size_bytes", "path", "rank", "-used_bytes", "now", "vault", "Keep", "csv"),
    *("' OR 1=1 --", '" OR ""="', "%", "_", "\\", "\x00", "1e9", "NaN", "9" * 30, "-" + "9" * 30),
    *("\ud800", "\U0010ffff", "../../etc/passwd", "{{7*7}}", "<b>", "x" * 5000, "MTIz", "e30="),
)
VALUES = st.sampled_from(LIKELY) | st.text(max_size=20) | st.integers().map(str)
QUERIES = st.lists(st.tuples(st.sampled_from(PARAMETERS), VALUES), max_size=4)


def fill(database: Database) -> None:
    """A night of a volume, half of which is jane's."""
    whole = [nights.row(group) for group in GROUPS.values()]
    usage.store(database, nights.run(), VOLUME, whole, replace=False)
    fill_users(database)
    fill_directories(database)
    fill_vaults(database)
    fill_candidates(database)


def fill_users(database: Database) -> None:
    rows = [UserUse(JANE, MINE, 10, 1, DAY), UserUse(OTHER, THEIRS, 20, 2, DAY)]
    run = nights.run(report="users")
    user_usage.store(
        database, run, VOLUME, rows, USERS, GROUPS, withdraw=lambda: None, replace=False
    )


def fill_directories(database: Database) -> None:
    found = [
        nights.directory(1, GROUPS[MINE], nights.base(1)),
        nights.directory(2, GROUPS[MINE], nights.base(1)),
        nights.directory(3, GROUPS[THEIRS], nights.base(1), directory=f"d{SECRET}"),
        nights.directory(4, GROUPS[THEIRS], nights.base(2), directory=f"e{SECRET}"),
    ]
    run = nights.run(report="inspector")
    filling = directories.begin(
        database, run, VOLUME, len(found), replace=False, file_types=("A", "B", "C")
    )
    filling.add(found, GROUPS)
    uses = [nights.use(GROUPS[MINE], nights.base(1)), nights.use(GROUPS[THEIRS], nights.base(2))]
    filling.finish(lambda: [uses], GROUPS)


def fill_vaults(database: Database) -> None:
    files = [
        nights.vault_file(1, gid=MINE, uid=JANE),
        nights.vault_file(2, gid=THEIRS, uid=OTHER, shown=f"/lustre/{SECRET}/file"),
    ]
    run = nights.run(report="puppeteer")
    filling = vaults.begin(database, run, VOLUME, len(files), replace=False)
    there = sorted(files, key=lambda file: file.state())
    filling.add([there[n] for n in filling.changes(f.state() for f in there)], USERS, GROUPS)
    filling.finish()


def fill_candidates(database: Database) -> None:
    rows = [
        a_candidate(1, "/lustre/mine", MINE),
        a_candidate(2, f"/lustre/{SECRET}", THEIRS),
        a_candidate(3, f"/lustre/shared/{SECRET}", MINE, THEIRS),
    ]
    run = nights.run(report="candidates")
    filling = candidates.begin(database, run, VOLUME, len(rows), replace=False)
    filling.add(rows, GROUPS)
    filling.finish()


def a_candidate(rank: int, path: str, *gids: int) -> Candidate:
    names = ",".join(GROUPS[gid].name for gid in gids)
    return Candidate(rank, NOW, COLD, names, None, 9, 9, 1, None, path, path, None, gids)


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    fill(database)
    return pages(database, tmp_path, {"jane": (JANE, (MINE,))})


def rules(site: Pages) -> list[Rule]:
    """Every address of the application, as it tells itself."""
    found = site.client.application.url_map.iter_rules()
    return [rule for rule in found if rule.endpoint != "plotly"]


def address(rule: Rule, draw: st.DataObject) -> str:
    """An address of a rule, whatever its variables are."""
    return re.sub(r"<[^>]*>", lambda _: quoted(draw.draw(VALUES)) or "1", rule.rule)


def quoted(value: str) -> str:
    """As a client may send it: any bytes."""
    return quote_from_bytes(value.encode("utf-8", "surrogatepass"), safe="")


def query(of: list[tuple[str, str]]) -> str:
    return "&".join(f"{key}={quoted(value)}" for key, value in of)


def test_what_is_asked_of_each_page_is_known_here(site: Pages) -> None:
    words = "".join(map(site.page, ("/", "/directories", "/vault", "/candidates")))
    assert set(re.findall(r'name="(\w+)"', words)) - {"viewport"} <= set(PARAMETERS)


def places(site: Pages) -> Iterator[str]:
    """Every address with variables that lead to somebody else's rows, and to one's own."""
    values = {"volume": ["scratch1"], "gid": ["5", "1"], "uid": ["42", "41"]}
    values |= {"base_directory_id": ["1", "2"], "form": ["csv", "tsv"], "filename": ["lurge.css"]}
    for rule in rules(site):
        made = [rule.rule]
        for name in rule.arguments:
            pattern = re.compile(rf"<[^>]*\b{name}>")
            made = [pattern.sub(value, each) for each in made for value in values.get(name, ["1"])]
        yield from made


def understood(site: Pages, path: str) -> list[str]:
    """The parameters of a page: it tells of all others that there are none."""
    told = site.ask(f"{path}?{'&'.join(f'{name}=1' for name in PARAMETERS)}").text
    unknown = re.findall(r"(\w+): there is no such parameter", told)
    return [name for name in PARAMETERS if name not in unknown]


@given(draw=st.data(), user=st.sampled_from([ADMIN, "jane"]))
@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_parameter_makes_a_fault_or_shows_what_is_not_ones_own(
    site: Pages, draw: st.DataObject, user: str
) -> None:
    path = draw.draw(st.sampled_from(list(places(site))))
    if names := understood(site, path):
        some = st.lists(st.sampled_from(names), unique=True, min_size=1, max_size=3)
        asked = query([(name, draw.draw(VALUES)) for name in draw.draw(some)])
        check(site, f"{path}?{asked}", user)


@given(draw=st.data(), user=st.sampled_from([ADMIN, "jane"]), asked=QUERIES)
@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_address_makes_a_fault_or_shows_what_is_not_ones_own(
    site: Pages, draw: st.DataObject, user: str, asked: list[tuple[str, str]]
) -> None:
    path = address(draw.draw(st.sampled_from(rules(site))), draw)
    check(site, f"{path}?{query(asked)}", user)


def check(site: Pages, path: str, user: str) -> None:
    answer = site.ask(path, user)
    assert answer.status_code < 500, answer.text
    if user == "jane":
        assert SECRET.encode() not in answer.data


def test_nobody_elses_rows_can_be_had_from_any_address(site: Pages) -> None:
    asked = list(places(site))
    seen = 0
    for path in asked:
        own = site.ask(path, "jane")
        assert own.status_code < 500
        assert SECRET.encode() not in own.data, path
        seen += SECRET.encode() in site.ask(path).data
    assert len(asked) > 40
    assert seen > 20  # of what there is to be seen by an administrator
