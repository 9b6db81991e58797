"""The site's database of projects is read, not written, and its password never told."""

import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sql
from servers.databases import Place, on_mariadb, on_sqlite
from servers.mariadb import Mariadb

from db import projects
from db.projects import ProjectRow, ProjectsFailed, rows
from utils.config import password

END = date(2026, 1, 31)


@pytest.fixture
def url(place: Place) -> str:
    """Where a site's database is, with the password of a user who may do anything there."""
    address = sql.make_url(place.admin.url)
    if address.drivername == "sqlite":
        sqlite3.connect(str(address.database)).close()
        Path(str(address.database)).touch()
        return place.admin.url
    return address.set(password=password(place.admin)).render_as_string(hide_password=False)


def asked(url: str, query: str, **settings: int) -> list[ProjectRow]:
    return list(rows(url, query, "archive.projects.upload", **settings))


def run(url: str, *statements: str) -> None:
    engine = sql.create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement, execution_options={"no_parameters": True})
    engine.dispose()


def test_rows_are_given_as_they_are_there(url: str) -> None:
    run(
        url,
        "CREATE TABLE project (id INTEGER, path VARCHAR(99), ended DATE, at DATETIME)",
        "INSERT INTO project VALUES (7, '/p/caf\u00e9 100%', '2026-01-31', '2026-01-31 23:59:59')",
        "INSERT INTO project VALUES (NULL, NULL, NULL, NULL)",
    )
    for column in ("ended", "at"):
        query = f"SELECT id, path, {column} FROM project WHERE 'a%s:b' LIKE 'a%' ORDER BY id DESC"
        assert asked(url, query) == [
            ProjectRow("7", "/p/caf\u00e9 100%".encode(), END),
            ProjectRow(None, None, None),
        ]


@pytest.mark.parametrize(
    ("value", "ended"),
    [
        *(("'2026-01-31'", END), ("'2026-01-31 12:00:00'", END), ("'2026-01-31T12:00:00Z'", END)),
        *(
            ("NULL", None),
            ("''", ""),
            ("'0000-00-00'", "0000-00-00"),
            ("'2026-02-30'", "2026-02-30"),
        ),
        *(("20260131", "20260131"), ("'31.1.2026'", "31.1.2026"), ("'2026-01-31x'", "2026-01-31x")),
        ("'9999-12-31'", date(9999, 12, 31)),
    ],
)
def test_an_end_is_a_day_or_what_is_none(url: str, value: str, ended: object) -> None:
    assert asked(url, f"SELECT 'a', '/p', {value}") == [("a", b"/p", ended)]


@on_sqlite
def test_bytes_stay_bytes(url: str) -> None:
    assert asked(url, "SELECT x'61ff', x'2fff', NULL") == [ProjectRow("a\\xff", b"/\xff", None)]


@pytest.mark.parametrize("columns", ["1", "1, '/p'", "1, '/p', NULL, 2"])
def test_other_than_three_columns_are_refused(url: str, columns: str) -> None:
    with pytest.raises(ProjectsFailed, match=r"^archive.projects.upload: gives [124] columns"):
        asked(url, f"SELECT {columns}")


@pytest.mark.parametrize(
    "query",
    [
        "DELETE FROM project",
        "INSERT INTO project VALUES (2)",
        "DROP TABLE project",
        "CREATE TABLE other (id INTEGER)",
        "SELECT 1, '/p', NULL; DELETE FROM project",
    ],
)
def test_nothing_is_written_whatever_the_query_says(url: str, query: str) -> None:
    run(url, "CREATE TABLE project (id INTEGER)", "INSERT INTO project VALUES (1)")
    with pytest.raises(ProjectsFailed):
        asked(url, query)
    assert asked(url, "SELECT id, '/p', NULL FROM project") == [ProjectRow("1", b"/p", None)]
    with pytest.raises(ProjectsFailed, match="other"):
        asked(url, "SELECT id, '/p', NULL FROM other")


LONG = {
    "sqlite": "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    "SELECT count(*), '/p', NULL FROM n",
    "mysql": "SELECT sleep(30), '/p', NULL FROM (SELECT 1 UNION SELECT 2) t",
}


def test_the_server_ends_a_query_that_takes_too_long(url: str) -> None:
    kind = sql.make_url(url).get_backend_name()
    told = "interrupted" if kind == "sqlite" else "max_statement_time"
    with pytest.raises(ProjectsFailed, match=rf"^archive.projects.upload: .*{told}"):
        asked(url, LONG[kind], seconds=1)


def test_a_query_that_is_none_is_told_by_its_name(url: str) -> None:
    with pytest.raises(ProjectsFailed, match=r"^archive.projects.upload: .*: see to the query"):
        asked(url, "SELECT id, path, ended FROM nothing_of_this_name")


def wrong_password(url: str) -> str:
    return sql.make_url(url).set(password="correct-horse").render_as_string(hide_password=False)


def in_the_query(url: str) -> str:
    return (
        sql.make_url(url)
        .set(password=None, query={"password": "correct-horse", "ssl_disabled": "true"})
        .render_as_string(hide_password=False)
    )


def no_server(url: str) -> str:
    return str(sql.make_url(wrong_password(url)).set(port=1).render_as_string(hide_password=False))


@on_mariadb
@pytest.mark.parametrize("change", [wrong_password, in_the_query, no_server])
def test_the_password_is_never_told(url: str, change: Callable[[str], str]) -> None:
    with pytest.raises(ProjectsFailed) as caught:
        asked(change(url), "SELECT 1, '/p', NULL")
    assert "correct-horse" not in f"{caught.value} {caught.value.__cause__}"


@pytest.mark.parametrize(
    "url",
    [
        *("", "correct-horse", "mysql+pymysql://me:correct-horse@host", "sqlite://"),
        *("postgresql://me:correct-horse@host/name", "mysql+pymysql://me:correct-horse@host:x/n"),
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ProjectsFailed, match="must be like mysql") as caught:
        asked(url, "SELECT 1, '/p', NULL")
    assert "correct-horse" not in f"{caught.value} {caught.value.__cause__}"


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    file = tmp_path / "none ?mode=rwc.db"
    with pytest.raises(ProjectsFailed, match="unable to open"):
        asked(f"sqlite:///{file}", "SELECT 1, '/p', NULL")
    assert not file.exists()


@on_mariadb
def test_a_server_that_dies_while_it_answers_is_told(url: str, mariadb: Mariadb) -> None:
    query = "SELECT sleep(60), '/p', NULL"
    with ThreadPoolExecutor(1) as pool:
        asking = pool.submit(asked, url, query)
        busy = "SELECT count(*) FROM information_schema.processlist WHERE info = %s"
        while mariadb.execute(busy, query) != [(1,)]:
            assert not asking.done()
            time.sleep(0.01)
        mariadb.kill()
        with pytest.raises(ProjectsFailed, match=r"^archive.projects.upload: .*see to"):
            asking.result()


@pytest.mark.parametrize("count", [3, 4])
def test_more_rows_than_can_be_held_are_refused(
    url: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projects, "MOST_ROWS", 3)
    query = " UNION ALL ".join(["SELECT 1, '/p', NULL"] * count)
    if count == 3:
        assert len(asked(url, query)) == 3
    else:
        with pytest.raises(ProjectsFailed, match="gives more than 3 rows"):
            asked(url, query)
