"""What all acts on files have in common: where things are, who acts, and whom they tell of it."""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Protocol

from db.database import Database
from lurge.archiver.sending import FULL_SECONDS, PAUSES, Patience
from lurge.nightly import volume
from lurge_types.archive import Actor, Policy, UnitNow
from lurge_types.config import ArchiveTable, Config
from lurge_types.scans import Volume
from lurge_types.targets import Target
from utils.paths import raw, text

BIN = b".lurge-bin"
"""What a bin is called where the configuration gives it no other place."""


class Watch(Protocol):
    """Whoever looks on."""

    def event(self, event: str, unit: UnitNow | None = None, **facts: object) -> None:
        """Something has become of a unit, or of the run."""

    def waiting(self, why: str) -> None:
        """It is waited for something, in words."""

    def begin(self, what: str, size_bytes: int) -> None:
        """So many bytes are to be copied, verified or restored from now on."""

    def advance(self, size_bytes: int) -> None:
        """So many more are. Told by any thread."""


@dataclass(frozen=True)
class Works:
    """
    What an act is done with.

    target: opens a target by its URL; the same one each time. holder: what this process is called
    by those who want a unit too. stop: set, it ends all threads soon.
    """

    config: Config
    database: Database
    target: Callable[[str], Target]
    actor: Actor
    holder: str
    watch: Watch
    pauses: Sequence[float] = PAUSES
    full_seconds: float = FULL_SECONDS
    stop: threading.Event = field(default_factory=threading.Event)

    @property
    def table(self) -> ArchiveTable:
        """The configuration of the archiver."""
        return self.config.archive

    def targets(self, policy: Policy) -> list[Target]:
        """Those of a run, in its order. Raises TargetFailed."""
        return [self.target(url) for url in policy.targets]

    def patience(self, check: Callable[[], None] = lambda: None) -> Patience:
        """How targets are waited for. check: called after each pause; what it raises ends it."""
        return Patience(self.pauses, self.full_seconds, self.stop, check, self.watch.waiting)


def now() -> datetime:
    """What time it is, in UTC without a zone, as the database has it."""
    return datetime.now(UTC).replace(tzinfo=None)


def volume_of(config: Config, path: bytes) -> Volume | None:
    """The configured volume that a path lies in or is, by the longest mount on its way."""
    inside = [each for each in map(volume, config.volume) if lies_in(path, each.mount or b"")]
    return max(inside, key=lambda each: len(each.mount or b""), default=None)


def bin_of(config: Config, name: str) -> bytes:
    """The folder for what is removed from a volume. Raises KeyError for one that is unknown."""
    mounts = {table.name: raw(table.mount) for table in config.volume}
    configured = config.archive.bin.get(name)
    return mounts[name].rstrip(b"/") + b"/" + BIN if configured is None else raw(configured)


def lies_in(path: bytes, folder: bytes) -> bool:
    """
    Whether an absolute path is a folder, or below it.

    >>> lies_in(b"/a/b", b"/a"), lies_in(b"/a", b"/a"), lies_in(b"/ab", b"/a"), lies_in(b"/a", b"/")
    (True, True, False, True)
    """
    return path == folder or path.startswith(folder.rstrip(b"/") + b"/")


def words(error: Exception) -> str:
    """An error in words, names of files in their text form."""
    if isinstance(error, OSError):
        named = isinstance(error.filename, (str, bytes, os.PathLike))
        where = f"{text(os.fsencode(error.filename))}: " if named else ""
        return f"{where}{error.strerror}"
    return str(error)
