"""What is where: units with their copies, the newest first."""

import heapq
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from rich.table import Table

from db import copies, ledger
from lurge.archiver.purging import entries
from lurge.archiver.works import Works
from lurge_types.archive import Copy, RunNow, State, UnitNow
from utils import runfiles, show
from utils.manifests import ManifestBroken
from utils.paths import text
from utils.trees import order

PAGE = 1000


@dataclass(frozen=True, slots=True)
class Listed:
    """
    A unit and its copies.

    inner: the path below its root that was asked for, empty for all of it. has_inner: whether it
    has that; None where its manifest is not here to tell.
    """

    unit: UnitNow
    copies: tuple[Copy, ...]
    inner: bytes = b""
    has_inner: bool | None = True


def listed(
    works: Works,
    path: bytes | None = None,
    *,
    states: Collection[State] | None = None,
    run: str | None = None,
) -> Iterator[Listed]:
    """
    Units, the newest first: those that hold an absolute path, and those below it.

    states: only units in one of them. run: of the run whose content id begins so.

    Raises RunUnknown, DatabaseFailed.
    """
    which: dict[str, Any] = {"states": states}
    if run is not None:
        found = partial(ledger.run_of, prefix=run)
        which["run_id"] = works.database.read(found).run_id
    if path is None:
        yield from _pages(works, **which)
        return
    path = path.rstrip(b"/") or b"/"
    below = _pages(works, below=path, **which)
    above = _holding(works, path, **which)
    yield from heapq.merge(below, above, key=lambda each: -each.unit.unit_id)


def _pages(works: Works, **which: Any) -> Iterator[Listed]:
    """Units page by page, each with its copies."""
    before: int | None = None
    newest = partial(ledger.newest_units, limit=PAGE, **which)
    while page := works.database.read(partial(newest, before=before)):
        known = works.database.read(partial(copies.of, unit_ids=[one.unit_id for one in page]))
        for unit in page:
            yield Listed(unit, tuple(known.get(unit.unit_id, ())))
        before = page[-1].unit_id


def _holding(works: Works, path: bytes, **which: Any) -> Iterator[Listed]:
    """The units that have a path in them, or may have."""
    for each in _pages(works, roots=list(ways_up(path)), **which):
        inner = path[len(each.unit.root.rstrip(b"/")) + 1 :]
        has = has_inner(works, each.unit, inner)
        if has is not False:
            yield Listed(each.unit, each.copies, inner, has)


def ways_up(path: bytes) -> Iterator[bytes]:
    """
    The directories that a path lies in.

    >>> list(ways_up(b"/a/b/c"))
    [b'/a/b', b'/a', b'/']
    """
    while path != b"/":
        path = path.rpartition(b"/")[0] or b"/"
        yield path


def has_inner(works: Works, unit: UnitNow, inner: bytes) -> bool | None:
    """Whether a unit has something of a path in it, by the manifest of its plan if that is here."""
    run: RunNow = works.database.read(partial(ledger.run_of, prefix=unit.content_id))
    wanted = order(inner)
    try:
        for entry in entries(runfiles.plan_manifest(run.file, unit.number)):
            if entry.path == inner or entry.path.startswith(inner + b"/"):
                return True
            if order(entry.path) > wanted + b"\0":
                return False
    except (FileNotFoundError, ManifestBroken):
        return None
    return False


def as_table(found: Iterable[Listed]) -> Table:
    """Units for people."""
    return show.table(
        "What is in the archive",
        ("unit", "state", "since", "size", "files", "copies", "bin until", "path"),
        (
            (
                each.unit.name,
                each.unit.state,
                f"{each.unit.updated:%Y-%m-%d}",
                show.size(each.unit.size_bytes),
                f"{each.unit.files:,}",
                " ".join(map(_copy, each.copies)) or "-",
                f"{each.unit.purge_after:%Y-%m-%d}" if each.unit.purge_after else "-",
                _path(each),
            )
            for each in found
        ),
        right=("size", "files"),
        give=("copies", "path"),
    )


def _copy(copy: Copy) -> str:
    """Where a copy is, and what is wrong with it."""
    if copy.lost_at:
        return f"{copy.target} (lost)"
    return copy.target if copy.verified_at else f"{copy.target} (not verified)"


def _path(each: Listed) -> str:
    root = text(each.unit.root)
    if not each.inner:
        return root
    return f"{root} {'has' if each.has_inner else 'may have'} {text(each.inner)}"


def as_json(of: Listed) -> str:
    """A unit and its copies, as one line of JSON in ASCII."""
    unit = of.unit
    return json.dumps(
        {
            "unit": unit.name,
            "run": unit.content_id,
            "course": unit.course,
            "kind": unit.kind,
            "state": unit.state,
            "reason": unit.reason,
            "volume": unit.volume,
            "root": text(unit.root),
            "subject": unit.subject,
            "inner": text(of.inner),
            "has_inner": of.has_inner,
            "files": unit.files,
            "size_bytes": unit.size_bytes,
            "bin": None if unit.bin is None else text(unit.bin),
            "binned_at": unit.binned_at,
            "purge_after": unit.purge_after,
            "updated": unit.updated,
            "copies": [
                {
                    "target": copy.target,
                    "manifest": copy.key,
                    "copied_at": copy.copied_at,
                    "verified_at": copy.verified_at,
                    "verified_how": copy.verified_how,
                    "lost_at": copy.lost_at,
                }
                for copy in of.copies
            ],
        },
        default=lambda moment: moment.isoformat(),
    )
