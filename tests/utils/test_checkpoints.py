"""Checkpoint files are whole or nothing, and written in turn."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import archives

from lurge_types.archive import STATES, RunNow, UnitNow
from utils import checkpoints
from utils.checkpoints import (
    CheckpointBroken,
    Head,
    Kept,
    Record,
    format_record,
    newest,
    parse_record,
    records,
)

NOW = archives.NOW

paths = st.lists(
    st.binary(min_size=1, max_size=9).filter(lambda name: not {0, 47} & set(name)), min_size=1
).map(lambda names: b"/" + b"/".join(names))

units = st.builds(
    UnitNow,
    unit_id=st.integers(0, 2**40),
    run_id=st.integers(0, 2**40),
    content_id=st.just("ab" * 32),
    number=st.integers(1, 999_999),
    name=st.just("abababababab-000001"),
    course=st.sampled_from(["archive", "copy", "discard"]),
    kind=st.sampled_from(["directory", "files"]),
    volume=st.text(max_size=9),
    root=paths,
    subject=st.none() | st.text(max_size=9),
    state=st.sampled_from(sorted(STATES)),
    reason=st.none() | st.text(max_size=9),
    tries=st.integers(0, 9),
    entries=st.integers(0, 2**63),
    files=st.integers(0, 2**63),
    size_bytes=st.integers(0, 2**63),
    bin=st.none() | paths,
    binned_at=st.none() | st.datetimes(),
    purge_after=st.none() | st.datetimes(),
    updated=st.datetimes(),
    token=st.integers(0, 2**40),
    moves=st.integers(0, 9),
)
copies = st.lists(st.builds(archives.copy, copied_at=st.datetimes()), max_size=2).map(tuple)
runs = st.builds(
    RunNow,
    run_id=st.integers(0, 2**40),
    content_id=st.just("ab" * 32),
    file=paths.map(lambda path: Path(path.decode("utf-8", "surrogateescape"))),
    policy=st.just(archives.POLICY),
    cut_off=st.none() | st.dates(),
    planned_at=st.datetimes(),
    expires=st.datetimes(),
)


@given(st.builds(Kept, units, copies) | runs)
def test_what_is_kept_is_read_as_it_was_written(record: Record) -> None:
    line = format_record(record)
    assert b"\n" not in line
    assert parse_record(json.loads(line)) == record


UNIT = Kept(
    UnitNow(
        unit_id=1,
        run_id=1,
        content_id="ab" * 32,
        number=1,
        name="abababababab-000001",
        course="archive",
        kind="directory",
        volume="s1",
        root=b"/a\xff\n",
        subject=None,
        state="binned",
        reason=None,
        tries=0,
        entries=1,
        files=1,
        size_bytes=1,
        bin=b"/bin/\xff",
        binned_at=NOW,
        purge_after=NOW,
        updated=NOW,
        token=3,
    ),
    (archives.copy(),),
)


def write(files: Iterable[Path], *kept: Record, ended: bool = True) -> checkpoints.Checkpoint:
    def about(generation: int) -> Head:
        return Head(generation, NOW, "ada@node1", None, None)

    return checkpoints.write(list(files), about, kept, lambda: ended)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    return [tmp_path / f"checkpoint.{number}.json" for number in (1, 2, 3)]


def test_the_oldest_is_written_next_and_the_newest_counts(files: list[Path]) -> None:
    turns = [write(files, ended=number == 4) for number in range(5)]
    assert [each.file for each in turns] == [*files, *files[:2]]
    assert [each.head.generation for each in turns] == [1, 2, 3, 4, 5]
    assert newest(files) == (turns[-1], ())
    assert turns[-1].ended
    assert b'"end": "End successful"' in files[1].read_bytes()
    assert {path.name for path in files[0].parent.iterdir()} == {file.name for file in files}


@pytest.mark.parametrize("keep", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_one_that_is_torn_is_passed_over_and_written_next(files: list[Path], keep: float) -> None:
    before, torn = write(files[:2]), write(files[:2], UNIT)
    content = torn.file.read_bytes()
    torn.file.write_bytes(content[: int(len(content) * keep)])
    found = newest(files)
    assert found.newest == before
    assert str(torn.file) in found.remarks[0]
    again = write(files[:2])
    assert (again.file, again.head.generation) == (torn.file, 2)


def test_a_byte_that_changed_is_noticed(files: list[Path]) -> None:
    content = write(files[:1], UNIT).file.read_bytes()
    for at in range(0, len(content) - 1, 7):
        files[0].write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        found = newest(files)
        assert found.newest is None, at
        assert found.remarks


def test_what_is_behind_the_end_is_damage(files: list[Path]) -> None:
    done = write(files)
    done.file.write_bytes(done.file.read_bytes() + b"\n")
    assert newest(files).newest is None


def test_a_foreign_file_is_never_replaced(files: list[Path]) -> None:
    files[0].write_bytes(b"somebody's thesis")
    assert [write(files[:2]).file for _ in range(2)] == [files[1], files[1]]
    assert files[0].read_bytes() == b"somebody's thesis"
    with pytest.raises(CheckpointBroken, match="checkpoint_files"):
        write(files[:1])


def test_a_checkpoint_that_was_replaced_is_not_mixed_up(files: list[Path]) -> None:
    first = write(files[:1])
    write(files[:1])
    with pytest.raises(CheckpointBroken, match="replaced"):
        list(records(first))


def test_one_that_cannot_be_finished_leaves_all_as_it_was(files: list[Path]) -> None:
    before = write(files[:1])

    def breaks_off() -> Iterable[Record]:
        yield UNIT
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(files[:1], lambda _: before.head, breaks_off(), lambda: True)
    assert newest(files) == (before, ())
    assert list(files[0].parent.iterdir()) == files[:1]
