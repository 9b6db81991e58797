"""
What is left of runs when the ledger is lost: checkpoint, run files, bins, manifests at targets.

Runs are told apart by the first digits of their content ids, which the names of their units begin
with. One run at a time is held in memory, with what the checkpoint and the bins have.
"""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from lurge.archiver.binning import MANIFEST, ORIGIN, OriginBroken, read_origin
from lurge.archiver.evidence import KEY, NAME, read_header
from lurge.archiver.works import Works, bin_of, volume_of, words
from lurge_types.archive import UNIT_NAME_DIGITS, Header, RunNow
from lurge_types.targets import Stored, Target, TargetFailed
from utils import checkpoints, manifests, runfiles
from utils.checkpoints import Checkpoint, Kept
from utils.manifests import ManifestBroken, ManifestUnknown
from utils.object_keys import MANIFESTS
from utils.paths import text
from utils.runfiles import RunFileWrong

Tell = Callable[[str, str], None]
"""Told of something for a person to look at: where, and what is wrong with it."""


class Object(NamedTuple):
    """A manifest at a target, not read yet."""

    target: Target
    stored: Stored


@dataclass
class Traces:
    """Where something of units may be, and what is known of it without a closer look."""

    works: Works
    tell: Tell
    checkpoint: Checkpoint | None = None
    runs: dict[str, RunNow] = field(default_factory=dict)
    units: dict[str, dict[str, Kept]] = field(default_factory=dict)
    bins: dict[str, dict[str, set[bytes]]] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    _targets: dict[str, Target | None] = field(default_factory=dict)
    _empty: dict[str, bool] = field(default_factory=dict)

    def target(self, url: str) -> Target | None:
        """A target, if it answers; if not that is told, once."""
        if url not in self._targets:
            try:
                target = self.works.target(url)
                self.works.patience().tried(lambda: target.stat(f"{MANIFESTS}here"))
                self._targets[url] = target
            except (TargetFailed, ValueError) as error:
                self.tell(url, f"{words(error)}: what is only there is not found")
                self._targets[url] = None
        return self._targets[url]

    def is_empty(self, url: str) -> bool:
        """Whether a target that answers has no manifest: a folder may not be mounted."""
        if url not in self._empty:
            target = self.target(url)
            self._empty[url] = target is None or next(target.list(MANIFESTS), None) is None
        return self._empty[url]

    def look(self) -> set[str]:
        """Find the runs that have left any trace, by their first digits. Raises TargetFailed."""
        self._read_checkpoint()
        self._scan_bins()
        found = set(self.runs) | set(self.bins)
        for url in self.works.table.target:
            found |= self._at(url)
        return found | self._find_files(found)

    def objects(self, prefix: str, urls: tuple[str, ...]) -> dict[str, list[Object]]:
        """The manifests of a run's units at targets that answer. Raises TargetFailed."""
        found: dict[str, list[Object]] = {}
        for target in filter(None, map(self.target, urls)):
            for stored in target.list(f"{MANIFESTS}{prefix}-"):
                if match := KEY(stored.key):
                    name = f"{match[1]}-{match[2]}"
                    found.setdefault(name, []).append(Object(target, stored))
        return found

    def headers(self, prefix: str, objects: dict[str, list[Object]]) -> Iterator[Header]:
        """What is known of the units of a run whose file is lost, by the best that is there."""
        kept = self.units.get(prefix, {})
        bins = self.bins.get(prefix, {})
        for name in sorted(objects.keys() | kept.keys() | bins.keys()):
            header = (
                self._of_objects(objects.get(name, ()))
                or self._of_bins(name, bins.get(name, ()))
                or (_of_kept(kept[name], self.runs[prefix]) if name in kept else None)
            )
            if header is None:
                lost = "cannot be read" if name in objects else "is lost"
                self.tell(
                    name, f"nobody knows what it is: its run file is lost, its manifest {lost}"
                )
            else:
                yield header

    def _read_checkpoint(self) -> None:
        found = checkpoints.newest(self.works.table.checkpoint_files)
        for why in found.remarks:
            self.tell("checkpoint", why)
        if found.newest is None:
            return
        self.checkpoint = found.newest
        for record in checkpoints.records(found.newest):
            if isinstance(record, RunNow):
                self.runs[prefix_of(record.content_id)] = record
            else:
                of_run = self.units.setdefault(prefix_of(record.unit.content_id), {})
                of_run[record.unit.name] = record

    def _scan_bins(self) -> None:
        """Bins of volumes, and those in which the checkpoint has units."""
        config = self.works.config
        bins = {bin_of(config, table.name) for table in config.volume}
        for of_run in self.units.values():
            bins |= {bin_of_place(kept.unit.bin) for kept in of_run.values() if kept.unit.bin}
        for bin_ in sorted(bins):
            try:
                names = os.listdir(bin_)
            except (FileNotFoundError, NotADirectoryError):
                continue
            for name in sorted(names):
                if match := NAME(name):
                    of_prefix = self.bins.setdefault(match[1].decode("ascii"), {})
                    of_prefix.setdefault(name.decode("ascii"), set()).add(bin_)
                else:
                    self.tell(text(bin_ + b"/" + name), "nobody knows what it is")

    def _at(self, url: str) -> set[str]:
        found: set[str] = set()
        target = self.target(url)
        for stored in target.list(MANIFESTS) if target else ():
            if match := KEY(stored.key):
                found.add(match[1])
            else:
                self.tell(f"{url} {stored.key}", "it is called as no manifest is")
        return found

    def _find_files(self, found: set[str]) -> set[str]:
        """The run files of what is found, and of all else that was begun."""
        more = set()
        elsewhere = {was.file for was in self.runs.values() if was.file.exists()}
        for file in sorted({*self.works.table.run_dir.glob(f"*{runfiles.SUFFIX}"), *elsewhere}):
            try:
                run = runfiles.read(file)
            except RunFileWrong as error:
                self.tell(str(file), words(error))
                continue
            prefix = prefix_of(run.content_id)
            if prefix in found or _is_begun(file, len(run.units)):
                self.files[prefix] = file
                more.add(prefix)
        return more

    def _of_objects(self, objects: list[Object] | tuple[()]) -> Header | None:
        for target, stored in objects:
            try:
                header = self.works.patience().tried(
                    lambda target=target, stored=stored: read_header(  # type: ignore[misc]
                        target, stored.key, stored.size
                    )
                )
            except ManifestUnknown as error:
                self.tell(f"{target.url} {stored.key}", words(error))
                continue
            except ManifestBroken:  # which is told when it is read as a whole
                continue
            if header.run and header.course:
                return header
        return None

    def _of_bins(self, name: str, bins: set[bytes] | tuple[()]) -> Header | None:
        for bin_ in sorted(bins):
            folder = Path(os.fsdecode(bin_), name)
            try:
                with (folder / MANIFEST).open("rb") as file:
                    return manifests.read(file)[0]
            except (FileNotFoundError, ManifestBroken):
                if header := self._of_origin(folder):
                    return header
        return None

    def _of_origin(self, folder: Path) -> Header | None:
        try:
            origin = read_origin(folder / ORIGIN)
        except OriginBroken:
            return None  # which is told when it is looked at
        volume = origin and volume_of(self.works.config, origin.root)
        if origin is None or volume is None:
            return None
        return Header(
            origin.unit,
            origin.kind,
            volume.name,
            origin.root,
            origin.binned_at,
            run=origin.content_id,
            course=origin.course,
        )


def prefix_of(content_id: str) -> str:
    """The digits by which the units of a run are known."""
    return content_id[:UNIT_NAME_DIGITS]


def bin_of_place(folder: bytes) -> bytes:
    """The bin in which a unit's place is."""
    return os.path.dirname(os.path.dirname(folder))


def _is_begun(file: Path, units: int) -> bool:
    """Whether anything but the plan is in the folder of a run."""
    for number in range(1, units + 1):
        folder = runfiles.unit_folder(file, number)
        plan = {runfiles.plan_manifest(file, number).name}
        if folder.is_dir() and set(os.listdir(folder)) - plan:
            return True
    return False


def _of_kept(kept: Kept, run: RunNow) -> Header:
    unit = kept.unit
    return Header(
        unit.name,
        unit.kind,
        unit.volume,
        unit.root,
        run.planned_at,
        entries=unit.entries,
        files=unit.files,
        size_bytes=unit.size_bytes,
        run=run.content_id,
        course=unit.course,
        targets=run.policy.targets,
        subject=unit.subject,
    )
