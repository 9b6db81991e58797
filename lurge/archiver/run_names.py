"""Which run is meant: by the path of its run file, or by the first digits of its content id."""

import os
import re
from functools import partial
from pathlib import Path

from db import ledger
from db.ledger import RunUnknown
from lurge.archiver.works import Works
from lurge_types.archive import Run
from utils import runfiles

DIGITS = re.compile(r"[0-9a-f]{6,64}").fullmatch


def named(works: Works, what: Path) -> tuple[Path, Run]:
    """
    The run file that is meant, by its absolute path, and what is in it.

    A file is meant where one has this path; else a run that the ledger knows, or whose file is in
    `run_dir`.

    Raises RunUnknown where none or several are meant, RunFileWrong, DatabaseFailed.
    """
    if what.is_file():
        file = Path(os.path.normpath(what.absolute()))
        return file, runfiles.read(file)
    if not DIGITS(str(what)):
        raise RunUnknown(
            f"{what}: there is no such run file, and it is not 6 to 64 digits of a content id"
        )
    found = {
        run.content_id: (file, run)
        for file in _here(works.table.run_dir, str(what))
        if (run := runfiles.read(file)).content_id.startswith(str(what))
    }
    found |= _known(works, str(what))
    if len(found) != 1:
        many = "several runs begin so: give more digits" if found else "no run begins so"
        raise RunUnknown(f"{what}: {many}")
    return next(iter(found.values()))


def _here(folder: Path, digits: str) -> list[Path]:
    """The run files whose names have these digits, those before their ends at least."""
    short = digits[: runfiles.SHORT_ID]
    some = f"{short}{'*' if len(short) < runfiles.SHORT_ID else ''}"
    return sorted(folder.absolute().glob(f"*_{some}{runfiles.SUFFIX}"))


def _known(works: Works, digits: str) -> dict[str, tuple[Path, Run]]:
    """The run that the ledger knows by these digits, where its file was seen last."""
    runs = works.database.read(partial(ledger.runs, prefix=digits, limit=2))
    return {run.content_id: (run.file, runfiles.read(run.file)) for run in runs}
