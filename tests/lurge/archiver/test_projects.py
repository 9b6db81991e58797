"""Projects that ended long enough ago are due, each once and none never, however late they end."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sql
from servers.databases import Place, on_mariadb

from lurge.archiver.due import Terms, due
from lurge.archiver.selectors.projects import cut_off, projects
from lurge_types.archive import Missed, Proposal, Skipped, UnitNow
from lurge_types.config import ProjectTreesTable
from utils.config import password

TODAY = date(2026, 3, 31)
UPLOAD = "SELECT id, path, ended FROM project"
RESULT = "SELECT id, path, ended FROM task"
BOTH = {"months": 1, "upload": {"query": UPLOAD}, "result": {"query": RESULT}}


class Office:
    """The site's database, and the directories of its projects."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self._engine = sql.create_engine(url)
        for table in ("project", "task"):
            self.do(f"CREATE TABLE {table} (id VARCHAR(20), path VARCHAR(500), ended VARCHAR(30))")

    def do(self, statement: str, **values: object) -> None:
        with self._engine.begin() as connection:
            connection.execute(sql.text(statement), values)

    def close(self) -> None:
        self._engine.dispose()

    def add(
        self, number: object, ended: str | None, path: str | None = None, table: str = "project"
    ) -> bytes:
        """Tell of a project, whose directory is made unless its path is given."""
        if path is None:
            made = self.folder / table / str(number)
            made.mkdir(parents=True, exist_ok=True)
            path = str(made)
        statement = f"INSERT INTO {table} VALUES (:id, :path, :ended)"
        self.do(statement, id=str(number), path=path, ended=ended)
        return path.encode()

    def end(self, number: int, ended: str | None) -> None:
        self.do("UPDATE project SET ended = :ended WHERE id = :id", id=str(number), ended=ended)

    def told(self, today: date = TODAY, **table: Any) -> list[Proposal | Skipped | Missed]:
        return list(projects(ProjectTreesTable.model_validate(BOTH | table), self.url, today))


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    with closing(Office(f"sqlite:///{tmp_path}/office.db", tmp_path)) as office:
        yield office


def ids(results: Sequence[object]) -> list[str | None]:
    return [each.subject for each in results if isinstance(each, Proposal)]


def reasons(results: Sequence[object]) -> dict[str | None, str]:
    return {each.subject: each.reason for each in results if isinstance(each, Skipped)}


@pytest.mark.parametrize(
    ("ended", "is_due"),
    [
        *(("2026-02-28", True), ("2026-02-28T23:59:59", True), ("2026-03-01", False)),
        *(("0001-01-01", True), ("9999-12-31", False), (None, False), ("2026-03-31", False)),
    ],
)
def test_a_project_is_due_that_ended_on_the_cut_off_or_before(
    office: Office, ended: str | None, is_due: bool
) -> None:
    assert cut_off(ProjectTreesTable(months=1), TODAY) == date(2026, 2, 28)
    office.add(1, ended)
    assert ids(office.told()) == (["1"] if is_due else [])
    assert reasons(office.told()) == {}


def test_it_became_due_on_the_first_day_on_which_it_was(office: Office) -> None:
    root = office.add(1, "2026-01-31")
    assert Proposal(root, "directory", (), "1", date(2026, 3, 31)) not in office.told()
    assert Proposal(root, "directory", (), "1", date(2026, 3, 1)) in office.told()
    assert ids(office.told(date(2026, 2, 28))) == []
    assert ids(office.told(date(2026, 3, 1))) == ["1"]


def test_each_tree_goes_by_its_ids_numbers_first(office: Office) -> None:
    for number in ("b", 10, 9, "a", "007"):
        office.add(number, "2025-01-01")
        office.add(number, "2025-01-01", table="task")
    assert ids(office.told()) == ["007", "9", "10", "a", "b"] * 2


def test_what_cannot_be_acted_on_is_left_out_with_the_reason(office: Office) -> None:
    (office.folder / "link").symlink_to("project")
    office.add(1, "2025-01-01", str(office.folder / "gone"))
    office.add(2, "2025-01-01", "relative")
    office.add(3, "2025-01-01", f"{office.folder}/project/../project")
    office.add(4, "2025-01-01", f"{office.folder}//project")
    office.add(5, "2025-01-01", "")
    office.add(6, "some day")
    office.add(7, "2025-01-01", str(office.folder / "link"))
    office.add(8, "2025-01-01", str(office.folder / "link/6"))
    assert reasons(office.told()) == {
        "1": "absent",
        "2": "is no absolute path",
        "3": "is no straight path: it has a . or .. in it",
        "4": "is no straight path: it is / or has an empty component",
        "5": "has no path",
        "6": "ended on 'some day', which is no date",
        "7": "is a symbolic link",
        "8": "is also of 6, which has not ended long enough ago",
    }


def test_a_directory_of_several_projects_is_due_once_when_all_have_ended(office: Office) -> None:
    root = office.add(1, "2025-01-01")
    office.add(2, "2026-01-15", f"{root.decode()}/")
    office.add(3, None, root.decode())
    assert (ids(office.told()), set(reasons(office.told()))) == ([], {"1", "2"})
    office.end(3, "2025-06-01")
    found = office.told()
    assert [each for each in found if isinstance(each, Proposal)] == [
        Proposal(root, "directory", (), "1", date(2026, 2, 15))
    ]
    assert reasons(found) == dict.fromkeys("23", "is the directory of 1, too")


def test_a_project_waits_for_those_whose_directories_lie_in_its_own(office: Office) -> None:
    root = office.add(1, "2025-01-01").decode()
    office.add(2, "2025-01-01", f"{root}-other")
    Path(f"{root}-other").mkdir()
    inner = Path(root, "task")
    inner.mkdir()
    office.add(9, None, str(inner), table="task")
    found = office.told()
    assert ids(found) == ["2"]
    assert reasons(found) == {
        "1": "has the directory of 9 in it, which has not ended long enough ago"
    }


@pytest.mark.parametrize("broken", ["upload", "result"])
def test_a_tree_that_fails_is_told_and_does_not_stop_the_other(office: Office, broken: str) -> None:
    office.add(1, "2025-01-01")
    office.add(2, "2025-01-01", table="task")
    wrong: dict[str, Any] = {broken: {"query": "SELECT nonsense"}}
    found = office.told(**wrong)
    assert ids(found) == (["2"] if broken == "upload" else ["1"])
    [missed] = [each for each in found if isinstance(each, Missed)]
    assert (missed.what, missed.is_failure) == (f"archive.projects.{broken}", True)
    assert "nonsense" in missed.reason


def test_a_tree_without_rows_is_told_and_does_not_stop_the_other(office: Office) -> None:
    office.add(2, "2025-01-01", table="task")
    found = office.told()
    assert ids(found) == ["2"]
    assert Missed("archive.projects.upload", "gives no row at all", is_failure=False) in found


def test_one_tree_may_be_configured_but_not_none(office: Office) -> None:
    office.add(1, "2025-01-01")
    assert ids(office.told(result=None)) == ["1"]
    [missed] = office.told(upload=None, result=None)
    assert isinstance(missed, Missed)
    assert missed.is_failure


# Over several runs.


class Archive:
    """A ledger in memory, and what a run does to directories: they go."""

    def __init__(self) -> None:
        self.units: dict[bytes, UnitNow] = {}
        self.done: list[str | None] = []
        self.runs = 0

    def run(self, office: Office, today: date, refused: Sequence[str] = ()) -> list[str | None]:
        """Archive what is due, but for what is refused; which those are."""
        self.runs += 1
        terms = Terms("projects", today, 180)
        found = list(due(office.told(today), self.units, terms))
        chosen = [each for each in found if isinstance(each, Proposal)]
        for each in chosen:
            self._note(each, today, "dirty" if each.subject in refused else "binned")
        archived = [each.subject for each in chosen if each.subject not in refused]
        self.done += archived
        return archived

    def restore(self, root: bytes, day: date) -> None:
        Path(root.decode()).mkdir()
        self._note(Proposal(root, "directory"), day, "restored")

    def _note(self, of: Proposal, day: date, state: Any) -> None:
        if state == "binned":
            Path(of.root.decode()).rmdir()
        facts: dict[str, Any] = dict.fromkeys(
            ("number", "tries", "entries", "files", "size_bytes", "token", "unit_id"), 1
        ) | dict.fromkeys(("reason", "bin", "binned_at", "purge_after"))
        self.units[of.root] = UnitNow(
            run_id=self.runs,
            content_id=f"{self.runs:064}",
            name=f"{self.runs:012}-000001",
            course="archive",
            kind="directory",
            volume="s1",
            root=of.root,
            subject=of.subject,
            state=state,
            updated=datetime.combine(day, time(12)),
            **facts,
        )


@pytest.fixture
def real_office(place: Place, tmp_path: Path) -> Iterator[Office]:
    url = sql.make_url(place.admin.url).set(password=password(place.admin))
    with closing(Office(url.render_as_string(hide_password=False), tmp_path)) as office:
        yield office


@on_mariadb
def test_over_four_runs_each_project_is_archived_once_and_none_never(real_office: Office) -> None:
    """A window from run to run would have lost 2, 3, 4 and 5, which are late for it."""
    office, archive = real_office, Archive()
    first, second, third, fourth = (date(2026, month, 1) for month in (3, 4, 5, 6))
    office.add(1, "2026-01-20")
    office.add(2, None)
    absent = office.folder / "project" / "3"
    office.add(3, "2026-01-15", str(absent))
    office.add(4, "2026-01-10")
    office.add(5, "2026-01-05")
    office.add(11, "2026-01-31", table="task")
    assert archive.run(office, first, refused=["4"]) == ["1", "5", "11"]

    office.end(2, "2026-01-25")  # told late, and of before the last cut-off
    absent.mkdir()
    assert archive.run(office, second, refused=["4"]) == ["2", "3"]

    office.end(1, None)  # re-opened: somebody wants it back
    archive.restore(f"{office.folder}/project/1".encode(), date(2026, 4, 10))
    assert archive.run(office, third) == ["4"]

    office.end(1, "2026-04-20")  # and it ends again
    office.add(6, "2026-05-31")
    assert archive.run(office, fourth) == ["1"]
    assert archive.run(office, date(2026, 6, 2)) == []
    assert sorted(map(str, archive.done)) == ["1", "1", "11", "2", "3", "4", "5"]
    assert archive.run(office, date(2026, 7, 1)) == ["6"]


@on_mariadb
def test_what_is_restored_and_has_not_ended_again_stays(real_office: Office) -> None:
    archive = Archive()
    root = real_office.add(1, "2026-01-01")
    assert archive.run(real_office, TODAY) == ["1"]
    assert archive.run(real_office, TODAY) == []
    archive.restore(root, date(2026, 4, 10))
    assert archive.run(real_office, date(2036, 1, 1)) == []
    real_office.end(1, "2026-05-01")
    assert archive.run(real_office, date(2026, 5, 31)) == []
    assert archive.run(real_office, date(2026, 6, 1)) == ["1"]
