"""
Whether the copies of a unit are at their targets, as far as these tell, and a share of them by
reading.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from db import copies
from lurge.archiver.batches import Numbered, batches
from lurge.archiver.confidence import in_words
from lurge.archiver.fetching import ManifestLost, fetch
from lurge.archiver.findings import Finding
from lurge.archiver.hurrying import hurried
from lurge.archiver.looking import wrong
from lurge.archiver.pouring import in_order
from lurge.archiver.purging import entries
from lurge.archiver.sending import Patience
from lurge.archiver.verifying import is_whole
from lurge.archiver.works import Works, now
from lurge_types.archive import Copy, Entry, RunNow, UnitNow
from lurge_types.targets import Target, TargetFailed, TargetTrouble
from utils import manifests, runfiles, show
from utils.manifests import ManifestBroken, ManifestUnknown
from utils.paths import text

AHEAD = 4
SHOWN = 5
ALL = 1 << 64
READ = "read-back"


@dataclass
class Checked:
    """
    What was looked at so far.

    seed: tells which files are drawn: with the same one, the same are. copies: of units. files: of
    which the targets tell what they should, each copy for itself. read: those of them that were
    read back, bad: and were not whole.
    """

    seed: str
    units: int = 0
    copies: int = 0
    lost: int = 0
    files: int = 0
    read: int = 0
    read_bytes: int = 0
    bad: int = 0

    def in_words(self) -> str:
        """All of it, and how sure one can be that the copies are whole."""
        return (
            f"{show.count(self.units, 'unit')} with {show.count(self.copies, 'copy', 'copies')}, "
            f"{self.lost:,} of them lost; "
            f"{in_words(self.files, self.read, self.bad)} (drawn by {self.seed})"
        )


class _Looked(NamedTuple):
    """What came of looking at some files; wrong: in words, those that are not whole."""

    files: int
    read: int
    read_bytes: int
    bad: int
    wrong: list[str]


@dataclass
class _Faults:
    """What is wrong with a copy: the first ones in words, and how many."""

    shown: list[str] = field(default_factory=list)
    count: int = 0

    def add(self, words: list[str]) -> None:
        self.count += len(words)
        self.shown += words[: SHOWN - len(self.shown)]

    def __str__(self) -> str:
        more = self.count - len(self.shown)
        return "; ".join(self.shown) + (f"; and {more:,} more" if more else "")


@dataclass
class Copies:
    """
    Looks at copies.

    share: of the files, from 0 to 1, that are read back. away: targets that are asked no more.
    """

    works: Works
    checked: Checked
    share: float
    away: set[str] = field(default_factory=set)

    def look(self, unit: UnitNow, run: RunNow, known: list[Copy]) -> Iterator[Finding]:
        """What is wrong with the copies of a unit. Raises DatabaseFailed, Stopped."""
        by_target = {copy.target: copy for copy in known}
        bad: list[tuple[str, str]] = []
        for number, url in enumerate(run.policy.targets):
            copy = by_target.get(url)
            if copy is None:
                bad.append((url, "the ledger knows of no copy there"))
            elif url not in self.away:
                faults = yield from self._faults(unit, run, copy, number)
                if faults is not None and faults.count:
                    bad.append((url, str(faults)))
                elif faults is not None and copy.lost_at:
                    if self.share >= 1:
                        self._regain(unit, copy)
                    else:
                        yield _found(unit, copy)
        good = [url for url in by_target if url not in self.away | {at for at, _ in bad}]
        self.checked.lost += len(bad)
        for url, why in bad:
            if copy := by_target.get(url):
                self._lose(unit, copy, why)
            yield Finding("lost", unit.name, url, why, _todo(unit, good))

    def _lose(self, unit: UnitNow, copy: Copy, why: str) -> None:
        actor = self.works.actor
        note = partial(copies.lose, one=unit, copy=copy, why=why, now=now(), actor=actor)
        self.works.database.transaction(note)
        self.works.watch.event("lost", unit, reason=why)

    def _regain(self, unit: UnitNow, copy: Copy) -> None:
        """Note that a copy is not lost, as all of it was read."""
        actor = self.works.actor
        note = partial(copies.regain, one=unit, copy=copy, how=READ, now=now(), actor=actor)
        self.works.database.transaction(note)
        self.works.watch.event("found", unit, target=copy.target)

    def _faults(
        self, unit: UnitNow, run: RunNow, copy: Copy, number: int
    ) -> Generator[Finding, None, "_Faults | None"]:
        """Gives what is wrong with a copy, None where that cannot be told, which is a finding."""
        self.checked.copies += 1
        try:
            target = self.works.target(copy.target)
            faults = self._looked(unit, run, copy, number, target)
            if faults.count and next(iter(target.list("")), None) is None:
                self.away.add(copy.target)
                yield _empty(copy.target)
                return None
        except TargetFailed as error:
            if isinstance(error, TargetTrouble):
                self.away.add(copy.target)
            yield Finding("target", unit.name, copy.target, str(error), "check again later")
            return None
        except ManifestUnknown as error:
            yield Finding("target", unit.name, copy.target, str(error), "check with that Lurge")
            return None
        return faults

    def _looked(
        self, unit: UnitNow, run: RunNow, copy: Copy, number: int, target: Target
    ) -> _Faults:
        """Raises TargetFailed, ManifestUnknown."""
        faults = _Faults()
        works = self.works
        patience = works.patience()
        with TemporaryDirectory(prefix="lurge-check-") as folder:
            read = Path(folder) / "manifest.gz"
            manifest: Path | None = read
            try:
                fetch(target, copy, read, patience)
            except ManifestLost as error:
                faults.add([f"its manifest: {error}"])
                manifest = _here(run, unit, copy, number)
            try:
                for looked in self._batches(target, patience, unit, manifest):
                    faults.add(looked.wrong)
            except ManifestUnknown as error:
                raise ManifestUnknown(f"{copy.key}: {error}") from error
            except ManifestBroken as error:
                faults.add([f"its manifest {copy.key}: {error}"])
        return faults

    def _batches(
        self, target: Target, patience: Patience, unit: UnitNow, manifest: Path | None
    ) -> Iterator[_Looked]:
        """All files of a manifest, some at a time, each counted."""
        if manifest is None:
            return
        workers = self.works.table.workers
        with hurried(patience, workers) as (threads, stoppable):
            act = partial(self._some, target, stoppable, unit.name)
            for looked in in_order(threads, act, batches(entries(manifest)), AHEAD * workers):
                self.checked.files += looked.files
                self.checked.read += looked.read
                self.checked.read_bytes += looked.read_bytes
                self.checked.bad += looked.bad
                yield looked

    def _some(
        self, target: Target, patience: Patience, unit: str, batch: list[Numbered]
    ) -> _Looked:
        missing = dict(wrong(target, patience, batch))
        rest = [entry for number, entry in batch if number not in missing]
        drawn = [entry for entry in rest if self._is_drawn(target.url, unit, entry)]
        bad = [words for entry in drawn if (words := _bad(target, patience, entry))]
        size = sum(entry.fingerprint.size for entry in drawn)
        return _Looked(len(rest), len(drawn), size, len(bad), [*missing.values(), *bad])

    def _is_drawn(self, url: str, unit: str, entry: Entry) -> bool:
        """Whether chance, which the seed is, has a file read back."""
        drawn = sha256(f"{self.checked.seed} {url} {unit} ".encode() + entry.path).digest()
        return int.from_bytes(drawn[:8], "big") < self.share * ALL


def _bad(target: Target, patience: Patience, entry: Entry) -> str | None:
    """Whether a file's bytes are not what was sent, in words."""
    key = entry.key or ""
    if patience.tried(lambda: is_whole(target, key, entry.offset, entry.segments, patience.check)):
        return None
    return f"{text(entry.path)} ({key}): other bytes than were sent"


def _here(run: RunNow, unit: UnitNow, copy: Copy, number: int) -> Path | None:
    """The manifest of a copy where it was written, if it is there still."""
    file = runfiles.copy_manifest(run.file, unit.number, number)
    try:
        return file if manifests.digest(file) == copy.manifest_sha256 else None
    except FileNotFoundError:
        return None


def _empty(url: str) -> Finding:
    why = "it has nothing at all, and no copy there is noted as lost"
    return Finding("target", None, url, why, "see that it is the right one, and mounted")


def _found(unit: UnitNow, copy: Copy) -> Finding:
    why = f"noted as lost on {copy.lost_at:%Y-%m-%d}, and whole as far as was looked"
    return Finding("found", unit.name, copy.target, why, "read all of it: archive check --read 100")


def _todo(unit: UnitNow, good: list[str]) -> str:
    """What to do about a copy that is lost."""
    if good:
        return f"its copy at {' and '.join(good)} is there: restore it from there, archive it anew"
    match unit.state:
        case "binned":
            return f"it is still in the bin: archive restore {unit.name}, then archive it anew"
        case "deleting":
            return "keep what is left of it in the bin: it may be all that there is"
        case "deleted":
            return "no other copy is known: look for the target's own backups; restore what is left"
        case _:
            return "its source should be in its place: archive it anew"
