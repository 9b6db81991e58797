"""Whoever reads copies ends with what wanted them, before what all of them write to is closed."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from archiving import Told, Yard

from db import copies
from db.database import Database
from lurge.archiver import batches, marks
from lurge.archiver.verifying import lacking
from lurge_types.archive import Copy, UnitNow
from lurge_types.targets import Stored, TargetFailed
from utils import runfiles
from utils.targets.posix import Posix

PIECES = 3000


class Endless(Posix):
    """
    A target that, once it is `busy`, is reading `b` whenever it is asked for `a`.

    waited: whether somebody has waited for all of `b`.
    """

    busy = False
    waited = False

    def __init__(self, url: str, a: Callable[[], Iterator[bytes]]) -> None:
        super().__init__(url)
        self._a = a
        self._begun = threading.Event()

    def stat(self, key: str) -> Stored | None:
        self._see_begun(key)
        return super().stat(key)

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        self._see_begun(key)
        if self.busy and key.endswith("/a"):
            yield from self._a()
        if self.busy and key.endswith("/b"):
            self._begun.set()
            for _ in range(PIECES):
                time.sleep(0.01)
                yield b""
            self.waited = True
        yield from super().get(key, start, size)

    def _see_begun(self, key: str) -> None:
        if self.busy and key.endswith("/a"):
            assert self._begun.wait(30)


class Busy(Told):
    """Lets a target be busy when a unit is copied."""

    def __init__(self, target: Endless) -> None:
        super().__init__()
        self._target = target

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        super().event(event, unit, **facts)
        self._target.busy |= event == "copied"


@pytest.fixture
def yard(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Yard:
    """Each file is for a thread of its own."""
    monkeypatch.setattr(batches, "BATCH_FILES", 1)
    yard = Yard(tmp_path, database, workers=2)
    (yard.mount / "alpha").mkdir()
    for name in "ab":
        (yard.mount / "alpha" / name).write_bytes(name.encode())
    return yard


@pytest.fixture
def readers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many threads there were each time when marks were closed."""
    found: list[int] = []

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        @contextmanager
        def watching(manifest: Path, copy: Copy) -> Iterator[marks.Marks]:
            with real(manifest, copy) as told:
                try:
                    yield told
                finally:
                    names = [each.name for each in threading.enumerate()]
                    found.append(sum(name.startswith("ThreadPoolExecutor") for name in names))

        return watching

    for name in ("written", "known"):
        monkeypatch.setattr(marks, name, watched(getattr(marks, name)))
    return found


def fails() -> Iterator[bytes]:
    raise TargetFailed("the disk fails")


def others() -> Iterator[bytes]:
    yield b"other bytes"


@pytest.mark.parametrize("a", [fails, others])
def test_what_is_verified_no_further_is_read_no_further(
    yard: Yard,
    readers: list[int],
    monkeypatch: pytest.MonkeyPatch,
    a: Callable[[], Iterator[bytes]],
) -> None:
    for module in ("steps", "verifying"):
        monkeypatch.setattr(f"lurge.archiver.{module}.MOST_BAD", 0)
    target = Endless(f"file://{yard.target}", a)
    file, run = yard.plan(yard.mount / "alpha")
    (unit,) = yard.apply(file, run, watch=Busy(target), target=lambda _: target)
    assert unit.state == "failed"
    assert ("the disk fails" if a is fails else "more than 0") in (unit.reason or "")
    assert (readers, target.waited) == ([0], False)


@pytest.mark.parametrize("how", ["enough", "interrupted"])
def test_who_wants_no_more_of_what_is_lacking_does_not_wait_for_files_that_are_being_read(
    yard: Yard, readers: list[int], how: str
) -> None:
    root = yard.mount / "alpha"
    file, run = yard.plan(root)
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned"
    stored = yard.target / "data" / str(root)[1:]
    (stored / "a").unlink()
    os.utime(stored / "b")  # so it is read back
    target = Endless(f"file://{yard.target}", others)
    target.busy = True
    (copy,) = yard.database.read(lambda rows: copies.of(rows, [unit.unit_id]))[unit.unit_id]
    manifest = runfiles.copy_manifest(file, 1, 0)
    found = lacking((target, copy, manifest), yard.works().patience(), 2)
    assert "no object" in (next(found)[1] or "")
    if how == "enough":
        found.close()
    else:
        with pytest.raises(KeyboardInterrupt):
            found.throw(KeyboardInterrupt)
    assert (readers, target.waited) == ([0, 0], False)
