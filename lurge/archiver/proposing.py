"""What a selector proposes and the ledger leaves due: what a plan is made of."""

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from hashlib import sha256
from itertools import islice
from typing import IO

from db import ledger
from lurge.archiver import due
from lurge.archiver.due import UNDER_WAY, Proposed, Terms
from lurge.archiver.planning import Wanted
from lurge.archiver.selectors.candidates import candidates
from lurge.archiver.selectors.paths import paths
from lurge.archiver.selectors.projects import cut_off, projects
from lurge.archiver.selectors.vault import vault
from lurge.archiver.works import Works, now
from lurge.bins import bins
from lurge.nightly import UnknownVolume
from lurge_types.archive import STATES, Course, Missed, Proposal, RunNow, Selector, Skipped, UnitNow
from utils.places import ABSENT

BATCH = 16
"""So many proposals are looked up in the ledger at once; one of a vault may have 10,000 files."""

CHUNK_BYTES = 1 << 16


@dataclass
class Asked:
    """
    What is asked of a selector.

    words: of which a plan is known again. cut_off: units were due that ended on this day or before.
    propose: asks it. recall: as of `planning.Wanted`. missed: what it had nothing to tell of, once
    a plan was made.
    """

    selector: Selector
    words: str
    propose: Callable[[], Iterable[Proposed]]
    course: Course = "archive"
    cut_off: date | None = None
    recall: bool = False
    missed: list[Missed] = field(default_factory=list)


def of_candidates(
    works: Works, volumes: Sequence[str], classes: Sequence[str], groups: Sequence[str]
) -> Asked:
    """Directories of the candidates of some volumes, of all if none are named."""
    words = _words(volume=volumes, **{"class": classes}, group=groups)
    named = _volumes(works, volumes)
    return Asked("candidates", words, partial(candidates, works.database, named, classes, groups))


def of_vaults(works: Works, volumes: Sequence[str]) -> Asked:
    """Files that people have marked."""
    named = _volumes(works, volumes)
    return Asked("vault", _words(volume=volumes), partial(vault, works.database, named))


def of_projects(works: Works, url: str) -> Asked:
    """Directories of projects that ended long enough ago, by the database at a URL."""
    table, today = works.table.projects, now().date()
    last = cut_off(table, today)
    return Asked(
        "projects",
        f"ended by {last}",
        partial(projects, table, url, today),
        cut_off=last,
    )


@contextmanager
def of_paths(file: IO[bytes], course: Course, *, null: bool) -> Iterator[Asked]:
    """Directories of a list, which is read to its end now: it is known again by its bytes."""
    with tempfile.TemporaryFile() as copy:
        digest = sha256()
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            copy.write(chunk)
        copy.seek(0)
        words = f"{'null ' if null else ''}list sha256:{digest.hexdigest()}"
        yield Asked("paths", words, partial(paths, copy, null=null), course=course)


def wanted(works: Works, asked: Asked) -> Wanted:
    """What a plan is to be made of; the selector is asked when it is made."""
    proposals = _due(works, asked)
    return Wanted(
        asked.selector, asked.words, asked.cut_off, asked.course, proposals, recall=asked.recall
    )


def _due(works: Works, asked: Asked) -> Iterator[Proposal | Skipped]:
    open_runs = [run for run in works.database.read(ledger.unfinished) if _is_open(works, run)]
    units: dict[bytes, UnitNow] = {}
    for run in open_runs:
        units |= {unit.root: unit for unit in _under_way(works, run)}
    terms = Terms(
        selector=asked.selector,
        today=now().date(),
        cold_after=works.config.candidates.cold_after,
        open_runs={run.run_id for run in open_runs},
        bins=bins(works.config),
    )
    for each in due.due(_looked_up(works, asked.propose(), units), units, terms):
        if isinstance(each, Missed):
            asked.missed.append(each)
            works.watch.event("missed", what=each.what, reason=each.reason)
        else:
            yield each


def _is_open(works: Works, run: RunNow) -> bool:
    """Whether a run may still be applied: it has not expired, or something of it was done."""
    if not run.file.exists():  # then nobody can; what is in its bins comes back by a restore
        return False
    if run.expires > now():
        return True
    begun = partial(ledger.units, run_id=run.run_id, states=STATES - {"planned"}, limit=1)
    return bool(works.database.read(begun))


def _under_way(works: Works, run: RunNow) -> Iterator[UnitNow]:
    after = 0
    page = partial(ledger.units, run_id=run.run_id, states=UNDER_WAY)
    while units := works.database.read(partial(page, after=after)):
        yield from units
        after = units[-1].unit_id


def _looked_up(
    works: Works, proposed: Iterable[Proposed], units: dict[bytes, UnitNow]
) -> Iterator[Proposed]:
    """The same, with what the ledger has of their roots, and of all above, among the units."""
    seen = set(units)
    waiting = iter(proposed)
    while some := list(islice(waiting, BATCH)):
        roots = {each.root for each in some if isinstance(each, Proposal)}
        absent = {each.root for each in some if isinstance(each, Skipped) and each.reason == ABSENT}
        new = absent.union(roots, *map(due.above, roots)) - seen
        seen |= new
        units |= works.database.read(partial(ledger.latest, roots=sorted(new)))
        yield from some


def _volumes(works: Works, names: Sequence[str]) -> list[str]:
    """The volumes that are named, or all that have not retired. Raises UnknownVolume."""
    known = [table.name for table in works.config.volume]
    if unknown := [name for name in names if name not in known]:
        raise UnknownVolume(f"{', '.join(unknown)}: not in the configuration: {', '.join(known)}")
    retired = works.config.retired(now().date())
    return list(dict.fromkeys(names)) or [name for name in known if name not in retired]


def _words(**asked: Sequence[str]) -> str:
    """
    What was asked for, the same whatever the order.

    >>> _words(volume=["b", "a"], group=[])
    'volume=a,b'
    """
    return " ".join(f"{key}={','.join(sorted(set(some)))}" for key, some in asked.items() if some)
