"""A run file says what will be done, and nothing else than what was written."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from servers import archives

from lurge_types.archive import Run, Skipped, Tripped
from utils import runfiles
from utils.runfiles import RunFileWrong


def run() -> Run:
    return runfiles.sealed(
        replace(
            archives.run(3),
            skipped=(Skipped(b"/a\xff\nb", None, "absent"),),
            tripped=(Tripped("share", "much"),),
            cost_per_month="1.50",
        )
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / runfiles.file_name(run())
    runfiles.write(file, run())
    assert runfiles.read(file) == run()
    assert list(tmp_path.iterdir()) == [file]


def test_what_was_not_written_to_its_end_in_a_units_folder_is_swept(tmp_path: Path) -> None:
    left = {
        ".plan.manifest.gz.01234567",
        ".copy0.manifest.gz.89abcdef",
        ".copy12.manifest.marks.89abcdef",
    }
    stays = {
        "plan.manifest.gz",
        "copy0.manifest.gz",
        "1-0.journal",
        ".copy0.manifest.gz",
        ".copy0.manifest.gz.89abcdeg",
        ".copy.manifest.gz.89abcdef",
        ".thesis.01234567",
    }
    for name in left | stays:
        (tmp_path / name).touch()
    runfiles.sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == stays


def test_a_run_is_named_by_its_content_and_hour() -> None:
    other = runfiles.sealed(replace(run(), asked="something else"))
    assert other.content_id != run().content_id
    assert runfiles.sealed(run()) == run()
    id_ = run().content_id[:8]
    assert runfiles.file_name(run()) == f"lurge_archival_archive_2026030111_{id_}_run_file.json"


@pytest.mark.parametrize("key", ["selector", "units", "content_id", "policy", "expires"])
def test_a_run_file_that_was_changed_is_refused(tmp_path: Path, key: str) -> None:
    file = tmp_path / "run_file.json"
    runfiles.write(file, run())
    form = json.loads(file.read_bytes())
    change = {
        "selector": "other",
        "units": form["units"][:-1],
        "content_id": "0" * 64,
        "policy": {**form["policy"], "keep_in_bin": 0},
        "expires": "2100-01-01T00:00:00",
    }
    file.write_text(json.dumps({**form, key: change[key]}))
    with pytest.raises(RunFileWrong, match="has been changed"):
        runfiles.read(file)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b"\xff", b'{"content_id": 1}'])
def test_what_is_no_run_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "run_file.json"
    file.write_bytes(content)
    with pytest.raises(RunFileWrong, match="is no run file"):
        runfiles.read(file)
    with pytest.raises(RunFileWrong, match="No such file"):
        runfiles.read(tmp_path / "other")
