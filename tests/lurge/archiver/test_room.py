"""Where there is no room for what a run writes about itself it ends, and goes on when there is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from archiving import Told, Yard
from servers.disks import fill, small_disk

from db import ledger
from db.database import Database
from lurge.archiver import restoring
from lurge_types.archive import State, UnitNow
from utils.durable import NoRoom

DISK_BYTES = 1 << 20
NAMES = ("alpha", "beta")


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Iterator[Yard]:
    """An archiver whose runs, and whose checkpoints, are on small disks."""
    checkpoints = [str(tmp_path / "checkpoints" / name) for name in ("1", "2")]
    with (
        small_disk(tmp_path / "runs", DISK_BYTES),
        small_disk(tmp_path / "checkpoints", DISK_BYTES),
    ):
        yield Yard(tmp_path, database, checkpoint_files=checkpoints)


def roots(yard: Yard) -> list[Path]:
    made = [yard.mount / name for name in NAMES]
    for root in made:
        root.mkdir()
        for number in range(20):
            (root / str(number)).write_bytes(b"%d" % number * number)
    return made


def states(yard: Yard) -> list[tuple[State, int, str | None]]:
    units = yard.database.read(ledger.units)
    return [(unit.state, unit.tries, unit.reason) for unit in units]


@pytest.mark.parametrize("left", [0, 1], ids=["of the journal", "of the copy's manifest"])
def test_a_full_run_folder_fails_no_unit(yard: Yard, left: int) -> None:
    file, run = yard.plan(*roots(yard))
    fill(yard.folder / "runs", left)
    with pytest.raises(NoRoom, match=r"runs/.*/000001: No space left on device: make room there"):
        yard.apply(file, run)
    assert states(yard) == [("claimed", 0, None), ("planned", 0, None)]
    assert [event for event, *_ in yard.told.events if event in {"failed", "no_room"}] == [
        "no_room"
    ]
    (yard.folder / "runs" / "filler").unlink()
    units = yard.apply(file, run)
    assert [unit.state for unit in units] == ["binned", "binned"]


class Filling(Told):
    """Fills a disk when a unit has come to a state for the first time."""

    def __init__(self, state: State, folder: Path, gone: str | None = None) -> None:
        super().__init__()
        self._state: State | None = state
        self._folder = folder
        self._gone = gone

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        if event == self._state:
            self._state = None
            for file in self._folder.rglob(self._gone) if self._gone else ():
                file.unlink()
            fill(self._folder)


def test_a_copys_manifest_that_cannot_be_fetched_for_lack_of_room_is_fetched_later(
    yard: Yard,
) -> None:
    file, run = yard.plan(*roots(yard))
    filling = Filling("copied", yard.folder / "runs", "copy0.manifest.gz")
    with pytest.raises(NoRoom, match=r"000001: No space left on device"):
        yard.apply(file, run, watch=filling)
    assert filling.waits == []
    assert states(yard) == [("copied", 0, None), ("planned", 0, None)]
    (yard.folder / "runs" / "filler").unlink()
    assert [unit.state for unit in yard.apply(file, run)] == ["binned", "binned"]
    assert list((yard.folder / "runs").rglob(".copy*")) == []


def test_a_run_folder_that_is_full_when_copies_are_read_back_fails_no_unit(yard: Yard) -> None:
    file, run = yard.plan(*roots(yard))
    filling = Filling("copied", yard.folder / "runs")
    with pytest.raises(NoRoom, match=r"000001: No space left on device"):
        yard.apply(file, run, watch=filling)
    assert filling.waits == []
    assert states(yard) == [("copied", 0, None), ("planned", 0, None)]
    assert list((yard.folder / "runs").rglob("*.marks*")) == []
    (yard.folder / "runs" / "filler").unlink()
    assert [unit.state for unit in yard.apply(file, run)] == ["binned", "binned"]


def test_no_unit_is_taken_once_there_is_no_room_for_checkpoints(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lurge.archiver.checkpointing.SECONDS", 0.0)
    monkeypatch.setattr("lurge.archiver.checkpointing.SHARE", 0)
    file, run = yard.plan(*roots(yard))
    filling = Filling("verified", yard.folder / "checkpoints")
    with pytest.raises(NoRoom, match=r"checkpoints: No space left on device: make room there"):
        yard.apply(file, run, watch=filling)
    assert [state for state, *_ in states(yard)] == ["binned", "planned"]
    with pytest.raises(NoRoom, match=r"checkpoints: No space left"):
        yard.apply(file, run)
    (yard.folder / "checkpoints" / "filler").unlink()
    assert [unit.state for unit in yard.apply(file, run)] == ["binned", "binned"]


def test_a_run_whose_last_checkpoint_has_no_room_is_not_all_well(yard: Yard) -> None:
    file, run = yard.plan(*roots(yard))
    with pytest.raises(NoRoom, match="checkpoints: No space left"):
        yard.apply(file, run, watch=Filling("binned", yard.folder / "checkpoints"))
    assert [state for state, *_ in states(yard)] == ["binned", "binned"]


def test_a_plan_without_room_leaves_nothing(yard: Yard) -> None:
    runs = yard.folder / "runs"
    planned = roots(yard)
    for left in range(3):  # for no manifest, for one, for all but the run file
        fill(runs, left)
        with pytest.raises(NoRoom, match=r"runs: No space left on device"):
            yard.plan(*planned)
        assert [each.name for each in runs.iterdir()] == ["filler"]
    (runs / "filler").unlink()
    assert [unit.state for unit in yard.apply(*yard.plan(*planned))] == ["binned", "binned"]


def test_what_is_restored_needs_room_for_its_manifest_and_says_so(
    yard: Yard, database: Database
) -> None:
    yard = Yard(yard.folder, database, keep_in_bin=0)
    first, second = roots(yard)
    yard.apply(*yard.plan(first, second))
    for manifest in (yard.folder / "runs").glob("*/000001/copy0.manifest.gz"):
        manifest.unlink()
    fill(yard.folder / "runs")
    works = yard.works()
    made = list(restoring.restore(works, restoring.find(works, str(yard.mount))))
    assert [bool(each.failure) for each in made] == [True, False]
    assert "000001: No space left on device: make room there" in (made[0].failure or "")
    assert (first.exists(), second.exists()) == (False, True)
