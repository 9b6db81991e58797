"""What is where, and which unit has a path."""

import io
import json
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from archiving import Yard
from rich.console import Console

from db import ledger
from db.database import Database
from db.ledger import RunUnknown
from lurge.archiver import emptying, findings, listing, restoring, showing
from lurge.archiver.emptying import Purged
from lurge.archiver.findings import Finding
from lurge.archiver.listing import Listed, as_json, as_table, listed
from lurge.archiver.restoring import Restored
from lurge_types.archive import Proposal, UnitNow
from utils import show
from utils.paths import text


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_tree(root: Path) -> None:
    (root / "deep").mkdir(parents=True)
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "b").write_bytes(b"more")


@pytest.fixture
def units(yard: Yard) -> list[UnitNow]:
    """Some directories that are in the bin, and then some files of another."""
    roots = [yard.mount / name for name in ("group/alpha", "group/beta", "group.2/alpha")]
    for root in roots:
        make_tree(root)
    made = yard.apply(*yard.plan(*roots))
    make_tree(yard.mount / "group" / "rest")
    proposal = Proposal(bytes(yard.mount / "group"), "files", (b"rest/a",), None, None)
    return made + yard.apply(*yard.plan_of([proposal]))


def names(found: list[Listed]) -> list[str]:
    return [each.unit.name for each in found]


def find(yard: Yard, path: str | None = None, **which: Any) -> list[Listed]:
    asked = None if path is None else bytes(yard.mount / path)
    return list(listed(yard.works(), asked, **which))


def test_all_units_are_listed_the_newest_first(yard: Yard, units: list[UnitNow]) -> None:
    found = find(yard)
    assert names(found) == [unit.name for unit in reversed(units)]
    assert [copy.target for copy in found[0].copies] == [f"file://{yard.target}"]


@pytest.mark.parametrize(
    ("path", "those"),
    [
        ("", [3, 2, 1, 0]),
        ("group", [3, 1, 0]),
        ("group/alpha", [0]),
        ("group/alpha/", [0]),
        ("group/alpha/deep/b", [0]),
        ("group/alpha/deep", [0]),
        ("group/alpha/de", []),
        ("group/alpha/deep/b/c", []),
        ("group/rest/a", [3]),
        ("group/rest", [3]),
        ("group/rest/deep/b", []),
        ("group/gamma", []),
        ("GROUP", []),
        ("grou%", []),
    ],
)
def test_a_path_is_found_in_units_and_above_them(
    yard: Yard, units: list[UnitNow], path: str, those: list[int]
) -> None:
    assert names(find(yard, path)) == [units[number].name for number in those]


def test_which_unit_has_a_path_is_told_with_where_it_is_in_it(
    yard: Yard, units: list[UnitNow]
) -> None:
    (found,) = find(yard, "group/alpha/deep/b")
    assert (found.unit.name, found.inner, found.has_inner) == (units[0].name, b"deep/b", True)
    shutil.rmtree(yard.folder / "runs")
    maybe = find(yard, "group/alpha/deep/c")
    assert [(each.unit.number, each.has_inner) for each in maybe] == [(1, None), (1, None)]


def test_units_are_found_by_state_and_run(yard: Yard, units: list[UnitNow]) -> None:
    assert len(find(yard, states={"binned"})) == 4
    assert find(yard, states={"deleted"}) == []
    assert names(find(yard, "group", run=units[0].content_id[:8])) == [
        units[1].name,
        units[0].name,
    ]
    with pytest.raises(RunUnknown):
        find(yard, run="0" * 64)


def test_pages_follow_each_other(
    yard: Yard, units: list[UnitNow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "PAGE", 2)
    assert names(find(yard)) == [unit.name for unit in reversed(units)]
    newest = partial(ledger.newest_units, limit=1)
    assert yard.database.read(newest)[0].name == units[-1].name


def test_units_are_told(yard: Yard, units: list[UnitNow]) -> None:
    found = find(yard, "group/alpha/deep/b")
    assert as_table(found).row_count == 1
    told = json.loads(as_json(found[0]))
    assert (told["unit"], told["state"], told["inner"]) == (units[0].name, "binned", "deep/b")
    assert told["purge_after"] == (units[0].purge_after or units[0].updated).isoformat()
    assert told["copies"][0]["lost_at"] is None


@pytest.mark.parametrize("width", [80, 120])
def test_at_a_terminal_units_and_dates_are_not_broken(yard: Yard, width: int) -> None:
    root = yard.mount / ("a" * 100) / ("b" * 100)
    root.mkdir(parents=True)
    (root / "file").write_text("some bytes")
    file, run = yard.plan(root)
    units = yard.apply(file, run)
    (unit,) = (replace(each, reason="why not?") for each in units)
    found = restoring.find(yard.works(), unit.name)
    tables = (
        listing.as_table(listing.listed(yard.works())),
        emptying.as_table([Purged(unit, "stays", unit.reason)], dry_run=False),
        findings.as_table([Finding("bin", unit.name, text(unit.root), "why?", "see to it")]),
        showing.restore_table(found, None),
        showing.restored_table([Restored(unit.name, b"/x", unit.root, "bin", 1, None)]),
        list(showing.outcome_tables([unit], run.policy))[1],
    )
    for table in tables:
        out = io.StringIO()
        show.print_table(
            Console(file=out, width=width, force_terminal=True, color_system=None), table
        )
        lines = out.getvalue().splitlines()
        assert any(unit.name in line for line in lines), lines
        if "since" in out.getvalue():
            day = f"{unit.updated:%Y-%m-%d}"
            assert any(day in line for line in lines), lines
        assert all(len(line) <= width for line in lines if str(yard.folder) not in line), lines
