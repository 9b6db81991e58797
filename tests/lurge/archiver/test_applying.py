"""A run brings its units from their places into the bin, by way of verified copies."""

import os
from pathlib import Path

import pytest
from archiving import Yard

from db.database import Database


@pytest.fixture
def yard(tmp_path: Path, database: Database) -> Yard:
    return Yard(tmp_path, database)


def make_tree(root: Path) -> None:
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "er" / "b").write_bytes(os.urandom(3_000_000))
    (root / "none").touch()
    (root / "link").symlink_to("deep/er/b")
    os.link(root / "a", root / "deep" / "other name")


def test_a_unit_is_copied_verified_and_binned(yard: Yard) -> None:
    root = yard.mount / "alpha"
    make_tree(root)
    file, run = yard.plan(root)
    assert not run.tripped
    (unit,) = yard.apply(file, run)
    assert unit.state == "binned", unit.reason
    assert not root.exists()
    place = Path(os.fsdecode(unit.bin or b""))
    assert (place / "tree" / "a").read_bytes() == b"some bytes"
    data = yard.target / "data" / str(root)[1:]
    assert (data / "a").read_bytes() == b"some bytes"
    assert yard.apply(file, run) == [unit]
