"""A run goes to each kind of target, and comes back from it as it was."""

import os
import subprocess
from pathlib import Path

import oddities
import pytest
from archiving import Yard
from servers.swift_s3 import SECRET, WRITER, Swift

from db.database import Database
from lurge.archiver import restoring


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
