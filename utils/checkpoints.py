"""
Checkpoint files: what the ledger says, kept for the night on which the database is lost.

There are two or more, written in turn, so that there is a whole one whatever happens to the one
that is being written. JSON Lines: first a line about the checkpoint; then one for each run and,
behind it or later, one for each unit; last a line with how it ended, and the SHA-256 of all that is
before. Paths are in their text form.
"""

import hashlib
import json
import os
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import date, datetime
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple

from pydantic import TypeAdapter

from lurge_types.archive import Copy, RunNow, UnitNow
from utils.durable import room_in, sync_folder
from utils.paths import raw, text

FORMAT = 1
BEGINS = b'{"checkpoint": '
ENDED = "End successful"
LONGEST_LINE = 1 << 22

RUN = TypeAdapter(RunNow)
UNIT = TypeAdapter(UnitNow)
COPIES = TypeAdapter(tuple[Copy, ...])


class CheckpointBroken(Exception):
    """A checkpoint file is cut short, damaged or not one: which, and why."""


class Head(NamedTuple):
    """
    The first line of a checkpoint.

    generation: one more than that of the checkpoint before. written_by: user@host.
    run: the content id of the newest run that was applied. cut_off: of that.
    """

    generation: int
    written_at: datetime
    written_by: str
    run: str | None
    cut_off: date | None


class Kept(NamedTuple):
    """A unit, and its copies, as a ledger had them: its ids are those of that ledger."""

    unit: UnitNow
    copies: tuple[Copy, ...]


class Checkpoint(NamedTuple):
    """A checkpoint file that is whole. ended: whether its run has come to a good end."""

    file: Path
    head: Head
    ended: bool


class Found(NamedTuple):
    """The newest checkpoint of several files, if any is whole, and what is wrong with others."""

    newest: Checkpoint | None
    remarks: tuple[str, ...]


Record = RunNow | Kept


def write(
    files: Sequence[Path],
    about: Callable[[int], Head],
    records: Iterable[Record],
    ended: Callable[[], bool],
) -> Checkpoint:
    """
    Write a checkpoint whole or not at all, and durably, in the place of the oldest.

    about: makes the first line, given the generation. ended: asked when all records are written.

    Raises CheckpointBroken where all files are something else, NoRoom, OSError, and what `records`
    does.
    """
    states = [_state(file) for file in files]
    known = [each for each in states if isinstance(each, Checkpoint)]
    head = about(max((each.head.generation for each in known), default=0) + 1)
    file = _next(files, states)
    other = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    try:
        with room_in(file.parent), other.open("xb") as opened:
            well = _write(opened, head, records, ended)
            opened.flush()
            os.fsync(opened.fileno())
        other.rename(file)
    except BaseException:
        other.unlink(missing_ok=True)
        raise
    sync_folder(file.parent)
    return Checkpoint(file, head, well)


def _write(
    file: IO[bytes], head: Head, records: Iterable[Record], ended: Callable[[], bool]
) -> bool:
    digest = hashlib.sha256()

    def add(line: bytes) -> None:
        file.write(line + b"\n")
        digest.update(line + b"\n")

    add(_json({"checkpoint": FORMAT, **head._asdict()}))
    for record in records:
        add(format_record(record))
    well = ended()
    end = ENDED if well else None
    last = {"end": end, "sha256": _sealed(digest, end)}
    file.write(_json(last) + b"\n")
    return well


def _sealed(digest: "hashlib._Hash", end: str | None) -> str:
    """The checksum of all lines before the last, and of what that says of the end."""
    digest.update((end or "").encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _next(files: Sequence[Path], states: Sequence["Checkpoint | Wrong | None"]) -> Path:
    """Which file is written next: one that is not there, or broken, before the oldest."""
    best: tuple[int, Path] | None = None
    for file, state in zip(files, states, strict=True):
        if isinstance(state, Wrong) and not state.ours:
            continue
        age = state.head.generation if isinstance(state, Checkpoint) else 0
        if best is None or age < best[0]:
            best = age, file
    if best is None:
        names = " and ".join(map(str, files))
        raise CheckpointBroken(f"{names} are no checkpoints: set archive.checkpoint_files")
    return best[1]


class Wrong(NamedTuple):
    """Why a file is no whole checkpoint; ours: whether it is one at all."""

    why: str
    ours: bool


def newest(files: Iterable[Path]) -> Found:
    """The newest checkpoint that is whole. Raises OSError."""
    states = [_state(file) for file in files]
    whole = [each for each in states if isinstance(each, Checkpoint)]
    remarks = tuple(each.why for each in states if isinstance(each, Wrong))
    return Found(max(whole, key=lambda each: each.head.generation, default=None), remarks)


def _state(file: Path) -> Checkpoint | Wrong | None:
    """What a file is, None where there is none. Raises OSError."""
    try:
        with file.open("rb") as opened:
            begins = opened.read(len(BEGINS))
            opened.seek(0)
            (last,) = deque(_all(opened, file), maxlen=1)
    except FileNotFoundError:
        return None
    except CheckpointBroken as error:
        return Wrong(str(error), ours=not begins or begins == BEGINS)
    assert isinstance(last, Checkpoint)  # noqa: S101 - all else raises
    return last


def records(of: Checkpoint) -> Iterator[Record]:
    """
    The runs and units of a checkpoint.

    Raises CheckpointBroken, also where another has taken its place by now, OSError.
    """
    with of.file.open("rb") as opened:
        for each in _all(opened, of.file):
            if isinstance(each, Head | Checkpoint):
                if (each if isinstance(each, Head) else each.head) != of.head:
                    raise CheckpointBroken(f"{of.file} was replaced while it was read")
            else:
                yield each


def _all(opened: IO[bytes], file: Path) -> Iterator[Head | Record | Checkpoint]:
    """What each line says; the last of all is the checkpoint itself, once it is known whole."""
    digest = hashlib.sha256()
    head: Head | None = None
    try:
        while line := opened.readline(LONGEST_LINE):
            if not line.endswith(b"\n"):
                break
            form = json.loads(line)
            if head is None:
                yield (head := _head(form))
            elif "end" in form:
                if form["sha256"] != _sealed(digest, form["end"]) or opened.read(1):
                    raise CheckpointBroken(f"{file} is damaged: its checksum is another")
                yield Checkpoint(file, head, form["end"] == ENDED)
                return
            else:
                yield parse_record(form)
            digest.update(line)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointBroken(f"{file} is no checkpoint, or damaged: {_reason(error)}") from error
    raise CheckpointBroken(f"{file} is cut short")


def _reason(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _head(form: dict[str, Any]) -> Head:
    if form["checkpoint"] != FORMAT:
        raise ValueError(f"it has format {form['checkpoint']!r}: use a newer Lurge")
    return Head(
        generation=int(form["generation"]),
        written_at=datetime.fromisoformat(form["written_at"]),
        written_by=form["written_by"],
        run=form["run"],
        cut_off=None if form["cut_off"] is None else date.fromisoformat(form["cut_off"]),
    )


def format_record(record: Record) -> bytes:
    """The line of a run or a unit, without its end."""
    if isinstance(record, RunNow):
        return _json({"run": asdict(record)})
    return _json({"unit": asdict(record.unit), "copies": [asdict(one) for one in record.copies]})


def parse_record(form: dict[str, Any]) -> Record:
    """Its twin. Raises ValueError, KeyError, TypeError."""
    kind: Literal["run", "unit"] = "run" if "run" in form else "unit"
    facts = form[kind]
    for name in {"root", "bin"} & facts.keys():
        facts[name] = None if facts[name] is None else raw(facts[name])
    if kind == "unit":
        return Kept(UNIT.validate_python(facts), COPIES.validate_python(form["copies"]))
    facts["file"] = Path(os.fsdecode(raw(facts["file"])))
    return RUN.validate_python(facts)


def _json(form: object) -> bytes:
    return json.dumps(form, default=_written).encode("ascii")


def _written(value: object) -> str:
    if isinstance(value, bytes | Path):
        return text(os.fsencode(value))
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value)} is not written to a checkpoint")
