"""What is due hangs on what the ledger has done, never on a window; no two that are due overlap."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lurge.archiver.due import Proposed, Terms, above, due
from lurge.bins import Bins
from lurge_types.archive import Missed, Proposal, Skipped, UnitNow

TODAY = date(2026, 6, 15)
OPEN, OVER = 1, 2
SELECTORS: Any = ("candidates", "vault", "projects", "paths")


def unit(state: Any, root: bytes = b"/p/a", run_id: int = OVER, **facts: Any) -> UnitNow:
    known: dict[str, Any] = {
        "unit_id": 1,
        "content_id": "0123456789abcdef",
        "course": "archive",
        "kind": "directory",
        "volume": "s1",
        "updated": at(TODAY),
    }
    known |= dict.fromkeys(("number", "tries", "entries", "files", "size_bytes", "token"), 1)
    known |= dict.fromkeys(("subject", "reason", "bin", "binned_at", "purge_after"))
    known["name"] = "u"
    return UnitNow(**(known | {"state": state, "root": root, "run_id": run_id} | facts))


def at(day: date) -> datetime:
    return datetime.combine(day, time(12))


def terms(selector: Any = "candidates", **facts: Any) -> Terms:
    return Terms(selector, TODAY, 180, **({"open_runs": {OPEN}} | facts))


def skipped(reason: str) -> Skipped:
    return Skipped(b"/p/a", "7", reason)


def directory(root: bytes = b"/p/a", since: date | None = None) -> Proposal:
    return Proposal(root, "directory", (), "7", since)


def told(proposed: Iterable[Proposed], *units: UnitNow, by: Terms | None = None) -> list[str]:
    """`due`, or the reason, of each."""
    known = {each.root: each for each in units}
    results = due(proposed, known, by or terms())
    return [each.reason if isinstance(each, Skipped) else "due" for each in results]


def test_what_is_absent_since_it_was_removed_is_told_so() -> None:
    gone = unit("binned", binned_at=at(date(2026, 5, 1)))
    assert told([skipped("absent")], gone) == ["absent: archived on 2026-05-01 as u"]
    assert told([skipped("absent")], replace(gone, course="discard", state="deleted")) == [
        "absent: discarded on 2026-05-01 as u"
    ]
    assert told([skipped("absent")], replace(gone, state="restored")) == ["absent"]
    assert told([skipped("absent")], replace(gone, kind="files")) == ["absent"]
    assert told([skipped("absent")]) == ["absent"]
    assert told([skipped("is no directory")], gone) == ["is no directory"]


@pytest.mark.parametrize("selector", SELECTORS)
@pytest.mark.parametrize("run_id", [OPEN, OVER])
@pytest.mark.parametrize(
    "state",
    [
        *("planned", "claimed", "copied", "verified", "failed"),
        *("binned", "deleting", "deleted", "dirty"),
    ],
)
def test_what_is_proposed_is_due_unless_an_open_run_has_it(
    state: str, run_id: int, selector: str
) -> None:
    is_busy = run_id == OPEN and state in {"planned", "claimed", "copied", "verified", "failed"}
    [said] = told([directory()], unit(state, run_id=run_id), by=terms(selector))
    assert said == ("in run 01234567" if is_busy else "due")


def test_what_the_ledger_has_never_seen_is_due() -> None:
    assert told([directory()]) == ["due"]


def test_a_copy_that_is_verified_bars_nothing_though_its_run_goes_on() -> None:
    copied = unit("verified", run_id=OPEN, course="copy")
    assert told([directory()], copied) == ["due"]
    assert told([directory()], unit("copied", run_id=OPEN, course="copy")) == ["in run 01234567"]


@pytest.mark.parametrize("selector", ["candidates", "vault"])
@pytest.mark.parametrize("root", [b"/p/a", b"/p"])
@pytest.mark.parametrize(("days", "is_due"), [(0, False), (179, False), (180, True)])
def test_what_somebody_wanted_back_is_left_out_until_it_may_be_cold_again(
    selector: str, root: bytes, days: int, is_due: bool
) -> None:
    restored = unit("restored", root, updated=at(TODAY - timedelta(days)))
    [said] = told([directory()], restored, by=terms(selector))
    assert (said == "due") is is_due
    if not is_due:
        assert "restored on" in said


def test_what_a_person_names_is_due_though_it_was_restored() -> None:
    assert told([directory()], unit("restored"), by=terms("paths")) == ["due"]


@pytest.mark.parametrize(
    ("since", "is_due"),
    [(date(2026, 3, 1), False), (date(2026, 3, 2), True), (date(2025, 1, 1), False), (None, False)],
)
def test_a_restored_project_is_due_once_it_has_ended_again(
    since: date | None, is_due: bool
) -> None:
    restored = unit("restored", updated=at(date(2026, 3, 1)))
    [said] = told([directory(since=since)], restored, by=terms("projects"))
    assert (said == "due") is is_due


def test_what_lies_in_or_holds_what_a_run_is_at_is_left_out() -> None:
    outer, inner = unit("claimed", b"/p", OPEN), unit("planned", b"/p/a/b/c", OPEN)
    assert told([directory()], outer) == ["lies in /p: in run 01234567"]
    assert told([directory()], inner) == ["holds /p/a/b/c: in run 01234567"]
    assert told([directory(b"/p/a/b/c/d")], inner) == ["lies in /p/a/b/c: in run 01234567"]
    assert told([directory(b"/p/a/b-c"), directory(b"/p/a/b/c-d")], inner) == ["due", "due"]


def test_files_that_lie_in_what_a_run_is_at_are_left_out_and_others_go() -> None:
    busy = unit("planned", b"/p/a/b", OPEN)
    files = [Proposal(b"/p/a", "files", (name, b".vault/k")) for name in (b"b/c/x", b"bc/x")]
    assert told(files, busy) == ["holds /p/a/b: in run 01234567", "due"]


@pytest.mark.parametrize("order", [1, -1])
def test_of_nested_proposals_the_outer_stays_whatever_the_order(order: int) -> None:
    roots = [b"/p/a", b"/p/a/b", b"/p/a/b/c", b"/p/ab", b"/p/a-b/c"][::order]
    said = dict(zip(roots, told(map(directory, roots)), strict=True))
    assert said == {
        **dict.fromkeys([b"/p/a", b"/p/ab", b"/p/a-b/c"], "due"),
        **dict.fromkeys([b"/p/a/b", b"/p/a/b/c"], "lies in /p/a"),
    }


def test_what_lies_in_a_proposal_that_is_left_out_is_judged_by_itself() -> None:
    roots = [directory(b"/p/a"), directory(b"/p/a/b")]
    inner = unit("planned", b"/p/a/c", OPEN)
    assert sorted(told(roots, inner)) == ["due", "holds /p/a/c: in run 01234567"]


def test_a_directory_that_is_proposed_twice_is_due_once() -> None:
    assert told([directory(), directory()]) == ["due", "is proposed twice"]


def test_bins_and_what_meets_them_are_left_out() -> None:
    roots = [b"/p/.lurge-bin/x", b"/m/gone", b"/m", b"/p/x"]
    by = terms(bins=Bins([b"/m/gone"]))
    assert told(map(directory, roots), by=by) == ["is, lies in or holds a bin"] * 3 + ["due"]


def test_files_may_lie_beside_a_bin() -> None:
    files = [Proposal(b"/m", "files", (b"a", name)) for name in (b"gone/x", b".lurge-bin/x", b"x")]
    by = terms(bins=Bins([b"/m/gone"]))
    assert told(files, by=by) == ["is, lies in or holds a bin"] * 2 + ["due"]


def test_files_of_a_vault_go_first_and_its_units_go_together() -> None:
    files = [Proposal(b"/p/a", "files", (name,)) for name in (b"x", b"y")]
    roots = [b"/p", b"/p/a", b"/p/a/b", b"/p/b"]
    found = due([*map(directory, roots), *files], {}, terms())
    assert [each.root for each in found if isinstance(each, Proposal)] == [
        *(b"/p/a", b"/p/a", b"/p/b")
    ]


def test_what_a_selector_tells_besides_goes_through() -> None:
    missed = Missed("s1", "has nothing", is_failure=True)
    others: list[Proposed] = [Skipped(b"/x", None, "absent"), missed]
    assert list(due(others, {}, terms())) == others


names = st.sampled_from([b"a", b"a-", b"b", b"c"])
roots = st.lists(names, min_size=1, max_size=4).map(lambda parts: b"/" + b"/".join(parts))
states = st.sampled_from(
    ["planned", "claimed", "copied", "verified", "failed", "binned", "deleted", "dirty", "restored"]
)
units = st.builds(
    unit, states, roots, st.sampled_from([OPEN, OVER]), kind=st.sampled_from(["directory", "files"])
)
proposals = st.builds(
    Proposal, roots, st.sampled_from(["directory", "directory", "files"]), st.just(()), st.none()
)


@given(st.lists(proposals, max_size=12), st.lists(units, max_size=6), st.sampled_from(SELECTORS))
def test_no_two_that_are_due_overlap_and_nothing_is_lost(
    proposed: list[Proposal], known: list[UnitNow], selector: str
) -> None:
    found = list(due(proposed, {each.root: each for each in known}, terms(selector)))
    assert sorted(each.root for each in found if not isinstance(each, Missed)) == sorted(
        each.root for each in proposed
    )
    chosen = [each for each in found if isinstance(each, Proposal)]
    for place, one in enumerate(chosen):
        for other in chosen[:place]:
            if {one.kind, other.kind} != {"files"}:
                assert one.root not in (other.root, *above(other.root))
                assert other.root not in above(one.root)


@given(st.lists(roots, min_size=1, max_size=12, unique=True))
def test_of_what_nothing_bars_all_outermost_are_due(proposed: list[bytes]) -> None:
    outermost = {root for root in proposed if not set(above(root)) & set(proposed)}
    found = due(map(directory, proposed), {}, terms())
    assert {each.root for each in found if isinstance(each, Proposal)} == outermost
