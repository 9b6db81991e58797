"""A run goes to each kind of target, and comes back from it as it was."""

import os
import subprocess
from functools import partial
from pathlib import Path

import oddities
import pytest
from archiving import Told, Yard
from servers.swift_s3 import SECRET, WRITER, Swift

from db.database import Database
from lurge.archiver import checking, emptying, restoring
from lurge.archiver.handling import hand_over, ready
from lurge_types.archive import State, UnitNow


@pytest.fixture(params=["swift", "s3"])
def url(request: pytest.FixtureRequest, swift: Swift, monkeypatch: pytest.MonkeyPatch) -> str:
    """A container of a real server, and how to get into it."""
    swift.start()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRITER)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("ST_AUTH", f"{swift.url}/auth/v1.0")
    monkeypatch.setenv("ST_USER", WRITER)
    monkeypatch.setenv("ST_KEY", SECRET)
    return f"{request.param}://{swift.make_bucket()}/archive"


@pytest.mark.parametrize("layout", ["tree", "packs"])
def test_what_went_to_a_store_comes_back_as_it_was(
    tmp_path: Path, database: Database, swift: Swift, url: str, layout: str
) -> None:
    yard = Yard(
        tmp_path,
        database,
        target=url,
        endpoint_url=swift.url if url.startswith("s3") else None,
        layout=layout,
        segment_size=5 << 20,
        keep_in_bin=0,
    )
    root, twin = yard.mount / "alpha", tmp_path / "twin"
    for each in (root, twin):
        oddities.make(each, 60)
        (each / "large").write_bytes(bytes(range(251)) * 50_000)
        os.utime(each / "large", (1, 2))
        os.utime(each, (3, 4))
    (unit,) = yard.apply(*yard.plan(root))
    assert unit.state == "deleted", unit.reason
    works = yard.works()
    (made,) = restoring.restore(works, restoring.find(works, str(root)))
    assert (made.failure, made.how, made.remarks) == (None, url, ())
    command = ["rsync", "-aHAXnc", "--delete", "--itemize-changes", f"{twin}/", f"{root}/"]
    assert subprocess.run(command, check=True, capture_output=True).stdout == b""


@pytest.fixture(params=["tree", "packs"])
def yard(
    tmp_path: Path, database: Database, swift: Swift, url: str, request: pytest.FixtureRequest
) -> Yard:
    """An archiver that keeps nothing in the bin, with 21 files that a run is to take."""
    endpoint = swift.url if url.startswith("s3") else None
    yard = Yard(
        tmp_path,
        database,
        target=url,
        endpoint_url=endpoint,
        layout=request.param,
        segment_size=5 << 20,
        keep_in_bin=0,
    )
    root = yard.mount / "alpha"
    root.mkdir()
    for number in range(20):
        (root / str(number)).write_bytes(b"%d" % number * number)
    (root / "large").write_bytes(bytes(range(251)) * 50_000)
    return yard


def test_a_copy_that_a_store_has_lost_is_found_and_keeps_the_unit(yard: Yard, url: str) -> None:
    file, run = yard.plan(yard.mount / "alpha")
    target = yard.open(url)
    lost: list[str] = []

    class Losing:
        """Loses an object between the verification and the purge."""

        def event(self, event: str, *_: object, **__: object) -> None:
            if event == "binned" and not lost:
                found = next(each for each in target.list("") if "manifests/" not in each.key)
                target.delete(found.key)
                lost.append(found.key)

        def __getattr__(self, name: str) -> object:
            return getattr(yard.told, name)

    (unit,) = yard.apply(file, run, watch=Losing())
    assert unit.state == "binned"
    assert lost[0] in (unit.reason or "")
    checked = checking.begin()
    (found,) = checking.check(yard.works(), checked, 100)
    assert (found.kind, found.where) == ("lost", url)
    assert checked.bad == 0
    assert 0 < checked.read < 21
    (purged,) = emptying.purge(yard.works())
    assert (purged.became, purged.unit.state) == ("stays", "binned")


def test_what_a_store_has_whole_is_told_nothing_of(yard: Yard) -> None:
    (unit,) = yard.apply(*yard.plan(yard.mount / "alpha"))
    assert unit.state == "deleted", unit.reason
    checked = checking.begin()
    assert list(checking.check(yard.works(), checked, 100)) == []
    assert (checked.files, checked.read, checked.bad) == (21, 21, 0)


@pytest.fixture
def large(tmp_path: Path, database: Database, swift: Swift, url: str) -> Yard:
    """An archiver that believes digests, with a large file that a run is to take."""
    endpoint = swift.url if url.startswith("s3") else None
    facts = {"endpoint_url": endpoint, "segment_size": 5 << 20, "keep_in_bin": 0}
    yard = Yard(tmp_path, database, target=url, verify="digest", **facts)
    (yard.mount / "alpha").mkdir()
    (yard.mount / "alpha" / "large").write_bytes(bytes(range(251)) * 50_000)
    return yard


class SegmentLost(Told):
    """Deletes the second segment of the large object when a unit has come to a state."""

    def __init__(self, swift: Swift, url: str, state: State) -> None:
        super().__init__()
        self._lose = partial(swift.lose_segments, url.split("/")[2], 2)
        self._state = state
        self.lost = 0

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        if event == self._state and not self.lost:
            self.lost = self._lose()


GONE = "its segment of 5242880 bytes at 5242880 is missing or damaged"
"""An object tells the same size and digest without it."""


def test_a_large_object_of_which_a_segment_is_gone_keeps_the_unit_until_it_is_archived_anew(
    large: Yard, swift: Swift, url: str
) -> None:
    root = large.mount / "alpha"
    losing = SegmentLost(swift, url, "binned")
    (unit,) = large.apply(*large.plan(root), watch=losing)
    assert (losing.lost, unit.state) == (1, "binned")
    assert GONE in (unit.reason or "")
    (found,) = checking.check(large.works(), checking.begin())
    assert (found.kind, found.where) == ("lost", url)
    assert GONE in found.why
    works = large.works()
    (made,) = restoring.restore(works, restoring.find(works, str(root)))
    assert made.failure is None
    (unit,) = large.apply(*large.plan(root))
    assert unit.state == "deleted", unit.reason


def test_a_large_object_of_which_a_segment_is_gone_is_not_verified_by_its_digest(
    large: Yard, swift: Swift, url: str
) -> None:
    losing = SegmentLost(swift, url, "copied")
    (unit,) = large.apply(*large.plan(large.mount / "alpha"), watch=losing)
    assert (losing.lost, unit.state) == (1, "deleted"), unit.reason
    assert [facts["reason"] for event, _, facts in losing.events if event == "lost"] == [
        "not what was sent: 1 file"
    ]


def test_a_vault_hands_files_over_to_a_store_once(yard: Yard) -> None:
    assert ready(yard.works(), 1 << 20) == []
    paths = [bytes(each) for each in (yard.mount / "alpha").iterdir()]
    assert list(hand_over(yard.works(), paths)) == []
    yard.told.events.clear()
    assert list(hand_over(yard.works(), paths)) == []
    assert yard.told.events == [("known", None, {"files": 21})]
