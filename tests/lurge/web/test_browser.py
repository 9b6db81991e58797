"""Pages in a real browser: mouse and keyboard work, and nothing goes wrong unseen."""

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright
from serving_of_tests import ANYWHERE, Serving
from site_of_tests import MANAGER

CHROMIUM = "/usr/bin/chromium"
SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"
WIDTHS = {"laptop": 1400, "telephone": 400}
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"]}}
REPORTS = ("reporter", "inspector", "users", "puppeteer", "candidates")


@dataclass
class Window:
    """A page of the browser. wrong: what its console and its requests complain of."""

    page: Page
    address: str
    wrong: list[str]

    def open(self, path: str) -> Page:
        """Go somewhere, and wait until all charts are drawn."""
        answer = self.page.goto(self.address + path)
        assert answer
        assert answer.ok, answer.text()
        self.drawn()
        return self.page

    def drawn(self) -> None:
        for chart in self.page.locator("[data-chart]").all():
            expect(chart.locator(".main-svg").first).to_be_visible(timeout=30_000)


def failed(window: Window, request: Request) -> None:
    """Note a request that has failed; one that becomes a download is given up for it."""
    if request.failure != "net::ERR_ABORTED":
        window.wrong.append(f"failed: {request.url}: {request.failure}")


Open = Callable[..., Window]


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """The pages of a made-up site with a year of history."""
    folder = tmp_path_factory.mktemp("site") / "demo"
    config = folder / "lurge.toml"
    lurge = [sys.executable, str(MANAGER)]
    for command in (
        ["demo", str(folder), "--entries", "5000"],
        [*REPORTS, "--config", str(config)],
    ):
        subprocess.run(
            [*lurge, *command], check=True, capture_output=True, stdin=subprocess.DEVNULL
        )
    with config.open("a") as file:
        file.write(f"\n{ANYWHERE}")
    command = [*lurge, "serve", "--config", str(config)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            yield Serving(process)
        finally:
            process.kill()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=sandbox)
        yield chromium
        chromium.close()


@pytest.fixture
def open_(browser: Browser, serving: Serving) -> Iterator[Open]:
    """Opens windows; at the end of the test nothing may have gone wrong in any."""
    windows: list[Window] = []

    def open_(width: int = 1400, **options: object) -> Window:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            **options,  # type: ignore[arg-type]
        )
        page = context.new_page()
        window = Window(page, f"http://{serving.host}", [])
        page.on("console", lambda told: window.wrong.append(f"{told.type}: {told.text}"))
        page.on("pageerror", lambda error: window.wrong.append(f"error: {error}"))
        page.on("requestfailed", lambda request: failed(window, request))
        page.on("dialog", lambda dialog: window.wrong.append(f"dialog: {dialog.message}"))
        windows.append(window)
        return window

    yield open_
    wrong = [each for window in windows for each in window.wrong]
    for window in windows:
        window.page.context.close()
    assert wrong == []


@pytest.fixture(scope="module")
def places(serving: Serving) -> dict[str, str]:
    """A page of each kind with something on it."""

    def rows(path: str) -> list[dict[str, object]]:
        found: list[dict[str, object]] = json.loads(serving.get(f"/api{path}")[1])["rows"]
        return found

    group = rows("/groups?volume=scratch123&sort=-used_bytes")[0]
    of_group = f"/group/scratch123/{group['gid']}"
    user = rows(f"{of_group}/users")[0]
    base = re.search(r'"page":"(/directories/scratch123/\d+)', serving.get(TILES)[1])
    assert base
    return {
        "overview": "/",
        "group": of_group,
        "group_of_inodes": f"{of_group}?of=inodes&months=3",
        "group_directories": f"{of_group}/directories",
        "volumes": "/directories",
        "base_directories": "/directories/scratch123",
        "directories": base[1],
        "user": f"/user/{user['uid']}",
        "vault": "/vault",
        "candidates": "/candidates",
    }


TILES = "/api/directories/scratch123/tiles"
PAGES = (
    *("overview", "group", "group_of_inodes", "group_directories", "volumes"),
    *("base_directories", "directories", "user", "vault", "candidates"),
)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_its_window_and_is_fit_for_all_people(
    open_: Open, places: dict[str, str], name: str, width: str
) -> None:
    window = open_(WIDTHS[width])
    page = window.open(places[name])
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.locator("h1").count() == 1
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("name", PAGES)
def test_colours_can_be_told_apart_in_the_dark(
    open_: Open, places: dict[str, str], name: str
) -> None:
    page = open_(color_scheme="dark").open(places[name])
    page.screenshot(path=SCREENSHOTS / f"{name}-dark.png", full_page=True)
    found = Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()


def column(page: Page, title: str, table: int = -1) -> list[str]:
    """The cells of a table's column."""
    return [
        str(cell)
        for cell in page.evaluate(
            """([title, at]) => {
                const table = [...document.querySelectorAll("table")].at(at);
                const heads = [...table.tHead.rows[0].cells].map(cell => cell.innerText);
                const place = heads.findIndex(head => head.startsWith(title));
                return [...table.tBodies[0].rows].map(row => row.cells[place].innerText);
            }""",
            [title, table],
        )
    ]


def test_a_click_on_a_heading_sorts_and_another_turns_it_round(open_: Open) -> None:
    page = open_().open("/")
    page.get_by_role("link", name="inodes", exact=True).click()
    largest = [int(cell.replace(",", "")) for cell in column(page, "inodes")]
    assert largest == sorted(largest, reverse=True)
    assert len(largest) > 10
    page.get_by_role("link", name="inodes", exact=True).click()
    smallest = [int(cell.replace(",", "")) for cell in column(page, "inodes")]
    assert smallest == sorted(smallest)
    assert smallest[0] < largest[0]


def test_filters_narrow_the_table_and_stand_in_the_address(open_: Open) -> None:
    page = open_().open("/")
    page.locator("select[name=volume]").select_option("scratch124")
    page.locator("select[name=level]").select_option("Not OK")
    page.locator("form.filters").get_by_role("button", name="show").click()
    page.wait_for_url(re.compile("level=3"))
    assert set(column(page, "volume")) == {"scratch124"}
    assert set(column(page, "level")) == {"Not OK"}
    found = column(page, "group")
    page.reload()
    assert column(page, "group") == found


def test_pages_of_a_table_are_turned(open_: Open) -> None:
    page = open_().open("/?rows=7&sort=gid")
    first = column(page, "group")
    page.get_by_role("link", name="next").click()
    page.wait_for_url(re.compile("page=2"))
    second = column(page, "group")
    assert len(first) == len(second) == 7
    assert first != second
    page.get_by_role("link", name="before").click()
    page.wait_for_url(lambda url: "page=2" not in url)
    assert column(page, "group") == first


def test_a_download_has_what_the_table_shows(open_: Open) -> None:
    page = open_().open("/?volume=scratch123&sort=-used_bytes")
    with page.expect_download() as getting:
        page.get_by_role("link", name="CSV").click()
    with Path(getting.value.path()).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["group"] for row in rows][:50] == column(page, "group")
    assert getting.value.suggested_filename == "groups.csv"


def test_the_tree_map_leads_down_and_the_way_back_up(open_: Open) -> None:
    window = open_()
    page = window.open("/directories")
    for depth in (2, 3):
        page.locator("#treemap .chart").click()
        page.wait_for_url(re.compile("/directories" + "/[^/]+" * (depth - 1) + "$"))
        window.drawn()
        assert page.locator(".crumbs li").count() == depth
    page.locator(".crumbs a").first.click()
    page.wait_for_url(re.compile("/directories$"))


def test_all_can_be_reached_with_the_keyboard(open_: Open) -> None:
    page = open_().open("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("#main$"))
    heading = page.get_by_role("link", name="used", exact=True)
    heading.focus()
    assert heading.evaluate("(link) => getComputedStyle(link).outlineStyle") != "none"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("sort=-used_bytes"))


def test_a_group_leads_to_its_users_files_and_candidates(
    open_: Open, places: dict[str, str]
) -> None:
    window = open_()
    page = window.open(places["group"])
    page.get_by_role("link", name="1 month", exact=True).click()
    page.wait_for_url(re.compile("months=1"))
    window.drawn()
    page.locator("table").last.get_by_role("link").last.click()
    page.wait_for_url(re.compile("/user/"))
    window.drawn()


def test_a_user_is_found_by_name(open_: Open, places: dict[str, str]) -> None:
    window = open_()
    name = window.open(places["user"]).locator("h1").inner_text().split()[1]
    page = window.open("/")
    page.get_by_label("user", exact=True).fill(name)
    page.get_by_label("user", exact=True).press("Enter")
    page.wait_for_url(re.compile(places["user"]))
    window.drawn()
    assert page.locator("h1").inner_text() == f"What {name} has"


def test_pages_are_whole_without_scripts(open_: Open, places: dict[str, str]) -> None:
    window = open_(java_script_enabled=False)
    for name in PAGES:
        window.page.goto(window.address + places[name])
        cells = window.page.locator("table").last.locator("tbody td")
        assert cells.count() > 3, name  # an empty table has one that says so
