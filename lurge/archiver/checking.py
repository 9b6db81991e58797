"""
Whether what the ledger says is so: at the targets, in the bins, and in the places of units.

A check changes but one thing: a copy that is not whole is noted as lost, unless its target has
nothing at all, as one has that is not mounted; once all of it is read and whole, as verified. What
somebody works on meanwhile is left out.
"""

import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial

from db import audits, copies, leases, ledger
from lurge.archiver import bin_check, listing
from lurge.archiver.bin_check import Bins
from lurge.archiver.copy_check import Checked, Copies
from lurge.archiver.findings import Finding
from lurge.archiver.onlooking import RUN_DIGITS
from lurge.archiver.works import Works, now
from lurge_types.archive import OPEN, STATES, Copy, RunNow, State, UnitNow
from lurge_types.targets import TargetFailed
from utils.object_keys import MANIFESTS
from utils.paths import text

LOOKED_AT = STATES - {"planned"}
COPIED: frozenset[State] = frozenset({"verified", "binned", "deleting", "deleted", "restored"})
"""In which states a unit has copies, if its course makes any."""

SEED_BYTES = 8
LOOKED_FOR = 100


def begin(seed: str | None = None) -> Checked:
    """What a check counts in; the seed tells which files are read back, chance if none is given."""
    return Checked(seed or secrets.token_hex(SEED_BYTES))


def check(
    works: Works, checked: Checked, read: float = 0.0, below: bytes | None = None
) -> Iterator[Finding]:
    """
    Compare the ledger with targets, bins and places; what is not so, as it is found.

    checked: from `begin`; what was looked at is counted there. read: percent of the files at the
    targets that are read back. below: only of units with this path or below it; what else is in
    bins, and which runs were broken off, is not told then.

    Raises DatabaseFailed, Stopped.
    """
    at_targets = Copies(works, checked, read / 100)
    bins = Bins(works)
    runs: dict[int, RunNow] = {}
    for unit, known in _units(works, below):
        if unit.run_id not in runs:
            runs = {unit.run_id: _run(works, unit)}
        run = runs[unit.run_id]
        checked.units += 1
        bins.add(unit)
        if unit.state in COPIED and run.policy.course != "discard":
            yield from at_targets.look(unit, run, known)
        yield from bin_check.look(works, unit, run)
    if below is None:
        yield from bins.look()
        yield from _broken(works)
        if not checked.units:
            yield from _forgotten(works)
    elif not checked.units:
        yield _nothing(works, below)
    done = partial(audits.add_once, act="checked", actor=works.actor, now=now())
    works.database.transaction(partial(done, detail=checked.in_words()))


def _units(works: Works, below: bytes | None) -> Iterator[tuple[UnitNow, list[Copy]]]:
    """All units that were acted on, with their copies, page by page."""
    after = 0
    which = partial(ledger.units, states=LOOKED_AT, below=below)
    while page := works.database.read(partial(which, after=after)):
        ids = [unit.unit_id for unit in page]
        known = works.database.read(partial(copies.of, unit_ids=ids))
        yield from ((unit, known.get(unit.unit_id, [])) for unit in page)
        after = page[-1].unit_id


def _forgotten(works: Works) -> Iterator[Finding]:
    """Targets that have manifests, though the ledger has nothing: it may be another's, or new."""
    for url in works.table.target:
        try:
            found = next(iter(works.target(url).list(MANIFESTS)), None)
        except TargetFailed as error:
            yield Finding("target", None, url, str(error), "check again later")
            continue
        if found:
            why = f"it has {found.key}, and {works.database.name} knows of no unit"
            todo = "see that it is the right database; if it was lost: archive recover"
            yield Finding("nothing", None, url, why, todo)


def _nothing(works: Works, path: bytes) -> Finding:
    """Why nothing was looked at of a path."""
    acted_on = next(listing.listed(works, path, states=LOOKED_AT), None)
    why, todo = "nothing is known of it, nor of what is below", "archive list tells what is known"
    if acted_on:
        root = text(acted_on.unit.root)
        lies = "lies" if acted_on.has_inner else "may lie"
        why, todo = f"it {lies} in {root}, which is checked as a whole", f"archive check {root}"
    elif planned := next(listing.listed(works, path), None):
        why = f"{text(planned.unit.root)} is {planned.unit.state}: nothing was done with it"
        todo = f"archive apply {planned.unit.content_id[:RUN_DIGITS]}"
    return Finding("nothing", None, text(path), why, todo)


def _run(works: Works, unit: UnitNow) -> RunNow:
    return works.database.read(partial(ledger.run_of, prefix=unit.content_id))


def _broken(works: Works) -> Iterator[Finding]:
    """Runs that somebody has begun to apply, and nobody is applying."""
    after = 0
    while page := works.database.read(partial(ledger.runs, unfinished=True, after=after)):
        for run in page:
            if run.started is not None and not _is_applied(works, run):
                why = f"begun on {run.started:%Y-%m-%d}, and not all of its units have an end"
                todo = f"archive apply {run.content_id[:RUN_DIGITS]}"
                yield Finding("broken", None, str(run.file), why, todo)
        after = page[-1].run_id


def _is_applied(works: Works, run: RunNow) -> bool:
    """Whether anybody works on one of the first units that are to be done."""
    states = OPEN[run.policy.course]
    page = partial(ledger.units, run_id=run.run_id, states=states, limit=LOOKED_FOR)
    return any(
        works.database.read(partial(leases.holder, name=ledger.lease_of(unit))) is not None
        for unit in works.database.read(page)
    )


def as_json(checked: Checked) -> str:
    """What was looked at, as one line of JSON in ASCII."""
    return json.dumps({"kind": "checked", **asdict(checked), "words": checked.in_words()})
