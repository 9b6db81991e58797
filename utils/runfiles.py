"""
The run file: what will be done, written whole before anything is, and never changed.

It names itself by its content: another plan is another file. Beside it is a folder of the same name
with the manifests of its units and the journals of what was done with them.
"""

import hashlib
import json
import re
from dataclasses import asdict, replace
from datetime import date, datetime
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lurge_types.archive import Run
from utils.durable import write_whole
from utils.parts import part_of
from utils.paths import raw, text

SUFFIX = "_run_file.json"
SHORT_ID = 8
UNFINISHED = re.compile(
    r"\.(?:plan\.manifest\.gz|copy[0-9]+\.manifest\.(?:gz|marks))\.[0-9a-f]{8}", re.ASCII
).fullmatch
"""What files in a unit's folder are called until they are whole."""

LARGEST_BYTES = 1 << 30
RUN = TypeAdapter(Run)


class RunFileWrong(Exception):
    """A run file cannot be read, or is not what was written: which, why, and what to do."""


def sealed(run: Run) -> Run:
    """The same, named by its content."""
    return replace(run, content_id=hashlib.sha256(_content(run)).hexdigest())


def file_name(run: Run) -> str:
    """What a run's file is called: its hour is in UTC."""
    hour = f"{run.planned_at:%Y%m%d%H}"
    return f"{run.system}_archival_{run.name}_{hour}_{run.content_id[:SHORT_ID]}{SUFFIX}"


def folder_of(file: Path) -> Path:
    """Where the manifests and journals of a run are."""
    return file.with_name(file.name.removesuffix(SUFFIX))


def unit_folder(file: Path, number: int) -> Path:
    """Where the manifests and journals of a unit are."""
    return folder_of(file) / f"{number:06}"


def plan_manifest(file: Path, number: int) -> Path:
    """The manifest of what the plan saw of a unit."""
    return unit_folder(file, number) / "plan.manifest.gz"


def copy_manifest(file: Path, number: int, target: int) -> Path:
    """The manifest of a unit's copy at one of the run's targets, counted from 0."""
    return unit_folder(file, number) / f"copy{target}.manifest.gz"


def sweep(folder: Path) -> None:
    """
    Remove from a unit's folder what others had begun to write there; whoever does has its lease.

    Raises OSError.
    """
    for path in folder.iterdir():
        if UNFINISHED(path.name):
            path.unlink(missing_ok=True)


def write(file: Path, run: Run) -> None:
    """Write a run that is sealed. Raises OSError."""
    form = {"content_id": run.content_id, **json.loads(_content(run))}
    write_whole(file, json.dumps(form, indent=1).encode("ascii") + b"\n", part_of(file))


def read(file: Path) -> Run:
    """
    The run that a file holds.

    Raises RunFileWrong.
    """
    try:
        if file.stat().st_size > LARGEST_BYTES:
            raise RunFileWrong(f"{file}: too large for a run file")
        run = RUN.validate_python(_rawed(json.loads(file.read_bytes())))
    except OSError as error:
        raise RunFileWrong(f"{file}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise RunFileWrong(f"{file} is no run file: {_reason(error)}") from error
    if sealed(run) != run:
        raise RunFileWrong(f"{file} has been changed since it was written: plan again")
    return run


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return str(error)


def _content(run: Run) -> bytes:
    """All but the name that is made of it."""
    form = asdict(run)
    del form["content_id"]
    return json.dumps(form, default=_written, sort_keys=True).encode("ascii")


def _written(value: object) -> str:
    if isinstance(value, bytes):
        return text(value)
    if isinstance(value, date | datetime):
        return value.isoformat()
    raise TypeError(f"{type(value)} is not written to a run file")


def _rawed(form: object) -> object:
    """The same with paths as the bytes that they are."""
    if isinstance(form, list):
        return [_rawed(each) for each in form]
    if isinstance(form, dict):
        return {
            key: raw(value) if key in {"root", "path"} and isinstance(value, str) else _rawed(value)
            for key, value in form.items()
        }
    return form
