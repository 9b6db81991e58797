"""Whether in the bins is what the ledger has there, nothing else, and nothing in its place."""

import os
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

from db import ledger
from db.ledger import IN_BIN
from lurge.archiver import tombstones
from lurge.archiver.binning import (
    GONE,
    ORIGIN,
    OriginBroken,
    located,
    place_of,
    places,
    read_origin,
)
from lurge.archiver.findings import Finding, rests
from lurge.archiver.handles import opened
from lurge.archiver.purging import UNLIKE, differing, entries
from lurge.archiver.works import BIN, Works, bin_of, words
from lurge_types.archive import REMOVED, RunNow, UnitNow
from utils.handles import Opener
from utils.paths import text

SHOWN = 3


def look(works: Works, unit: UnitNow, run: RunNow) -> Iterator[Finding]:
    """What is wrong in the bin, and in the place, of a unit that is in the bin or deleted."""
    if unit.state not in REMOVED:
        return
    found = [*_in_place(unit, run)]
    if unit.state in IN_BIN:
        found += _in_bin(unit)
    if found and rests(works, unit):
        yield from found


def _in_bin(unit: UnitNow) -> Iterator[Finding]:
    try:
        place = located(unit)
    except OSError:
        place = place_of(unit)  # what cannot be told is told by what follows
    deleting = unit.state == "deleting"
    where = text(place.folder)
    if deleting:
        why = "its deletion was broken off"
        yield Finding("broken", unit.name, where, why, "archive purge")
        with suppress(OSError):  # what cannot be told is told by what follows
            if not place.is_filled():
                return
    found = list(islice(differing(place, unit.kind, deleting=deleting), SHOWN + 1))
    if found:
        why = "; ".join(found[:SHOWN]) + ("; and more" if len(found) > SHOWN else "")
        todo = "see whether it is mounted, and who has changed it: no purge deletes it as it is"
        yield Finding("bin", unit.name, where, why, todo)


def _in_place(unit: UnitNow, run: RunNow) -> Iterator[Finding]:
    """What is where a unit was."""
    if unit.kind == "files":
        if unit.state == "binned":
            yield from _members_in_place(unit)
        return
    where = text(unit.root)
    try:
        with opened(os.path.dirname(unit.root)) as folder:
            if tombstones.stands(unit, folder):
                return
            os.stat(os.path.basename(unit.root), dir_fd=folder, follow_symlinks=False)
    except GONE:
        if run.policy.tombstone and os.path.lexists(os.path.dirname(unit.root)):
            why = "no word was left of it, or somebody has removed that"
            yield Finding("tombstone", unit.name, where, why, "archive list tells where it is")
    except UNLIKE as error:
        yield Finding("taken", unit.name, where, words(error), "see what is there")
    else:
        if unit.state == "binned":
            yield _taken(unit, where)


def _members_in_place(unit: UnitNow) -> Iterator[Finding]:
    """The first of its files that has something in its place."""
    place = place_of(unit)
    try:
        with opened(unit.root) as root, Opener(root) as opener:
            for entry in entries(place.manifest):
                with suppress(*GONE):
                    opener.stat(entry.path)
                    yield _taken(unit, text(unit.root + b"/" + entry.path))
                    return
    except GONE:
        return  # of the root, or the bin, of which is told
    except UNLIKE as error:
        yield Finding("taken", unit.name, text(unit.root), words(error), "see what is there")


def _taken(unit: UnitNow, where: str) -> Finding:
    why = "something is in the place of what is in the bin"
    return Finding("taken", unit.name, where, why, "archive restore --to another folder")


class Bins:
    """The bins that there are: those of volumes, and those that units are in or lie beside."""

    def __init__(self, works: Works) -> None:
        self._works = works
        self._bins = {bin_of(works.config, table.name) for table in works.config.volume}

    def add(self, unit: UnitNow) -> None:
        """Look into those of this unit too."""
        beside = os.path.dirname(unit.root).rstrip(b"/") + b"/" + BIN
        if beside not in self._bins and os.path.lexists(beside):
            self._bins.add(beside)
        if unit.bin:
            self._bins.add(bytes(place_of(unit).unit.parent))

    def look(self) -> Iterator[Finding]:
        """What is in bins that should not be there."""
        for bin_ in sorted(self._bins):
            try:
                with os.scandir(bin_) as listing:
                    for each in listing:
                        yield from self._folder(bin_, each.name)
            except FileNotFoundError:
                continue  # where nothing was ever put, or of which its units tell
            except OSError as error:
                yield Finding("bin", None, text(bin_), words(error), "see to it")

    def _folder(self, bin_: bytes, name: bytes) -> Iterator[Finding]:
        """What is wrong with a folder of a unit in a bin."""
        folder = bin_ + b"/" + name
        unit = self._unit(name)
        if unit is None:
            yield _unknown(folder)
            return
        if unit.state in IN_BIN and bytes(place_of(unit).unit) == folder:
            return
        if not rests(self._works, unit):
            return
        if not places(bin_, unit.name):
            why = f"nothing is left there of what is {unit.state}, but its folder"
            yield Finding("left", unit.name, text(folder), why, "it may be removed by hand")
        elif unit.state in {"deleted", "restored"} | IN_BIN:
            why = f"it is in this bin, and the ledger has it {unit.state}"
            yield Finding("left", unit.name, text(folder), why, "see whether anybody misses it")
        else:
            why = f"it is in the bin, and the ledger has it {unit.state}"
            todo = f"a worker was killed: archive apply {unit.content_id[:12]}"
            yield Finding("broken", unit.name, text(folder), why, todo)

    def _unit(self, name: bytes) -> UnitNow | None:
        try:
            wanted = name.decode("ascii")
        except UnicodeDecodeError:
            return None
        found = self._works.database.read(
            lambda connection: ledger.units(connection, name=wanted, limit=1)
        )
        return found[0] if found and found[0].name == wanted else None


def _unknown(folder: bytes) -> Finding:
    """A folder of which the ledger knows nothing."""
    try:
        origin = read_origin(Path(os.fsdecode(folder)) / ORIGIN)
    except (OriginBroken, OSError) as error:
        why = f"nobody knows what it is: {words(error)}"
        return Finding("unknown", None, text(folder), why, "see what is in it")
    if origin is None:
        why = "nobody knows what it is: it has no origin.json"
        return Finding("unknown", None, text(folder), why, "see what is in it")
    why = f"the ledger does not know it: it is {text(origin.root)}, of {origin.run}"
    return Finding("unknown", origin.unit, text(folder), why, "archive recover, or rename it back")
