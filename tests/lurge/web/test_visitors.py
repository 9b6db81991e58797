"""Who asks is told by a proxy that is trusted, and nobody sees more than their groups."""

import re
import threading
from pathlib import Path
from typing import Any

import pytest
from pages_of_tests import ADMIN, ADMINS, STRANGER, Pages, pages
from servers import nights
from servers.nights import VOLUME
from werkzeug import Request
from werkzeug.exceptions import Forbidden
from werkzeug.test import EnvironBuilder

from db import usage
from db.database import Database
from lurge.web.visitors import Visitors
from lurge_types.config import ServeTable
from lurge_types.names import Member
from lurge_types.sight import Sight
from utils.names import NamesMissing

PROXY = ServeTable.model_validate(
    {"auth": "proxy", "proxies": ["192.0.2.0/24"], "admin_groups": [ADMINS]}
)
JANE = Member(7, "jane", {1: "team1", 2: "team2"})


class Directory:
    """Who is a member of what; it counts how often it is asked."""

    def __init__(self, *people: Member) -> None:
        self.people = {person.login: person for person in people}
        self.asked = 0
        self.is_down = False

    def member(self, login: str) -> Member | None:
        self.asked += 1
        if self.is_down:
            raise NamesMissing("the directory is down")
        return self.people.get(login)


class Clock:
    """A clock that is set."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def asked(login: str | bytes | None = "jane", address: str = "192.0.2.1", **facts: Any) -> Request:
    builder = EnvironBuilder("/", environ_base={"REMOTE_ADDR": address}, **facts)
    environ = builder.get_environ()
    if login is not None:
        raw = login if isinstance(login, bytes) else login.encode()
        environ["HTTP_X_REMOTE_USER"] = raw.decode("latin-1")
    return Request(environ)


def test_a_person_sees_the_groups_they_are_a_member_of_and_themselves() -> None:
    visitor = Visitors(PROXY, Directory(JANE)).of(asked())
    assert visitor == ("jane", Sight(gids=frozenset({1, 2}), uid=7))


def test_a_member_of_an_admin_group_sees_everything() -> None:
    boss = Member(8, "boss", {3: ADMINS})
    assert Visitors(PROXY, Directory(boss)).of(asked("boss")).sight == Sight(everything=True)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (asked(address="192.0.3.1"), "through the proxy"),
        (asked(address="2001:db8::1"), "through the proxy"),
        (asked(None), "there is no X-Remote-User"),
        (asked(""), "there is no X-Remote-User"),
        (asked("JANE"), "nobody here is called JANE"),
        (asked("jane,boss"), "nobody here is called"),
        (asked(b"jane\xff"), r"nobody here is called jane\xff"),
    ],
)
def test_whoever_cannot_be_told_is_refused(request_: Request, words: str) -> None:
    with pytest.raises(Forbidden, match=words.replace("\\", r"\\")):
        Visitors(PROXY, Directory(JANE)).of(request_)


def test_a_login_is_looked_up_by_its_bytes() -> None:
    jose = Member(9, "josé", {})
    assert Visitors(PROXY, Directory(jose)).of(asked("josé")).login == "josé"


def test_groups_are_looked_up_once_in_a_while() -> None:
    directory, clock = Directory(JANE), Clock()
    visitors = Visitors(PROXY, directory, clock)
    for _ in range(5):
        visitors.of(asked())
    assert directory.asked == 1
    directory.people["jane"] = Member(7, "jane", {})
    clock.now = 299
    assert visitors.of(asked()).sight.gids == {1, 2}
    clock.now = 300
    assert visitors.of(asked()).sight.gids == frozenset()


def test_a_directory_that_is_down_is_asked_again_after_some_seconds() -> None:
    directory, clock = Directory(JANE), Clock()
    directory.is_down = True
    visitors = Visitors(PROXY, directory, clock)
    for now in (0, 5, 9.9):
        clock.now = now
        with pytest.raises(NamesMissing):
            visitors.of(asked(f"somebody {now}"))
    assert directory.asked == 1
    directory.is_down = False
    clock.now = 10
    assert visitors.of(asked()).login == "jane"


def test_a_directory_that_is_silent_keeps_two_waiting_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("lurge.web.visitors.LOOKS_WITHIN_SECONDS", 0.1)
    answers, waiting = threading.Event(), threading.Semaphore(0)

    class Silent(Directory):
        def member(self, login: str) -> Member | None:
            waiting.release()
            answers.wait(60)
            return super().member(login)

    visitors = Visitors(PROXY, Silent(JANE))
    threads = [threading.Thread(target=visitors.of, args=(asked(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
        assert waiting.acquire(timeout=60)
    with pytest.raises(NamesMissing, match="others are still being looked up"):
        visitors.of(asked())
    answers.set()
    for thread in threads:
        thread.join()
    assert visitors.of(asked()).login == "jane"


def test_a_strange_header_is_not_believed() -> None:
    table = PROXY.model_copy(update={"user_header": "X-Login"})
    with pytest.raises(Forbidden, match="there is no X-Login"):
        Visitors(table, Directory(JANE)).of(asked())


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "127.0.0.2:1", "[::1]:8080", "[::1]"]
)
def test_without_logging_in_everything_is_seen_at_this_machine(host: str) -> None:
    visitor = Visitors(ServeTable(), Directory()).of(asked(None, headers={"Host": host}))
    assert visitor == (None, Sight(everything=True))


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Pages:
    run = nights.run()
    usage.store(database, run, VOLUME, nights.rows(3), replace=False)
    return pages(database, tmp_path, {"jane": (7, (1, 2))})


def test_another_sites_page_cannot_read_through_a_visitors_browser(
    database: Database, tmp_path: Path
) -> None:
    site = pages(database, tmp_path, {}, auth="none")
    assert site.ask("/", None).status_code == 200
    for host in ("evil.example", "localhost.evil.example", "10.0.0.1", "[::2]", "[", ""):
        rebound = site.client.get("/", headers={"Host": host})
        assert rebound.status_code == 400, host
        assert "team" not in rebound.text


@pytest.mark.parametrize("path", ["/", "/groups.csv", "/api/groups", "/metrics", "/nothing"])
def test_nobody_gets_anything_but_through_the_proxy(site: Pages, path: str) -> None:
    assert site.ask(path, STRANGER).status_code == 403
    assert site.ask(path, None).status_code == 403
    elsewhere = {"environ_base": {"REMOTE_ADDR": "127.0.0.2"}}
    assert site.ask(path, ADMIN, **elsewhere).status_code == 403
    assert "team" not in site.ask(path, STRANGER).text


def test_a_refusal_is_json_for_programs(site: Pages) -> None:
    answer = site.ask("/api/groups", STRANGER)
    assert answer.json == {
        "error": f"nobody here is called {STRANGER}: ask those who run these pages"
    }


def test_a_directory_that_is_down_shows_nothing_and_says_so(
    database: Database, tmp_path: Path
) -> None:
    site = pages(database, tmp_path, {"jane": (7, ())})
    (tmp_path / "group").unlink()
    (tmp_path / "passwd").unlink()
    answer = site.ask("/", "jane")
    assert answer.status_code == 503
    assert "The directory of users and groups does not answer" in answer.text
    assert str(tmp_path) not in answer.text
    assert answer.headers["Retry-After"] == "30"
    assert f'why="names.group_file: {tmp_path}' in site.log.getvalue()


def test_every_answer_forbids_what_is_not_of_these_pages(site: Pages) -> None:
    for path in ("/", "/api/groups", "/nothing", "/static/lurge.css", "/?sort=no"):
        headers = site.ask(path).headers
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"


def test_nobody_but_the_browser_keeps_what_is_somebodys(site: Pages) -> None:
    for rule in site.client.application.url_map.iter_rules():
        path = re.sub(r"<[^>]*>", "csv", rule.rule)
        kept = site.ask(path).headers["Cache-Control"]
        is_everybodys = rule.endpoint in ("static", "plotly")
        assert kept.startswith("public, max-age=") == is_everybodys, path
        assert (kept == "private, no-cache") != is_everybodys, path


def test_each_request_is_a_line_of_the_log(site: Pages) -> None:
    site.ask("/?words=a%0Ab%20%22c", "jane")
    [line] = site.log.getvalue().splitlines()
    assert "event=request" in line
    assert "user=jane" in line
    assert "status=200" in line
    assert "method=GET" in line


def test_a_line_tells_how_large_a_download_is_and_who_was_refused(site: Pages) -> None:
    answer = site.ask("/groups.csv")
    site.ask("/", STRANGER)
    first, second = site.log.getvalue().splitlines()
    assert f" bytes={len(answer.data)} " in first
    assert f"user={STRANGER}" in second
    assert "status=403" in second
