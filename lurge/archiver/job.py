"""A unit that is being copied or verified: what each of the threads needs to know of it."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from lurge.archiver.reading import Changed, SourceFailed, chunks
from lurge.archiver.sending import Patience, Stopped
from lurge_types.archive import Entry, Policy
from lurge_types.targets import Target, TargetFull
from utils import show
from utils.handles import Opener, TreeUnfit
from utils.paths import text


@dataclass(frozen=True)
class Job:
    """
    A unit that is being copied.

    name: of the unit. root: its absolute path, with a handle of it. folder: where its journals are.
    min_free: bytes that stay free at a target. copied: told how many bytes were read of its files.
    """

    name: str
    token: int
    root: bytes
    handle: int
    folder: Path
    policy: Policy
    targets: Sequence[Target]
    workers: int
    min_free: int
    patience: Patience
    copied: Callable[[int], None]
    _mine: threading.local = field(default_factory=threading.local)

    @property
    def md5(self) -> bool:
        """Whether any target speaks it."""
        return any(target.speaks_md5 for target in self.targets)

    def check(self) -> None:
        """Raises Stopped, LeaseLost."""
        if self.patience.stop.is_set():
            raise Stopped
        self.patience.check()

    def wait_for_room(self, size_bytes: int) -> None:
        """Wait until each target has room for so many bytes, if it tells. Raises TargetFailed."""
        for target in self.targets:
            self.patience.tried(partial(_see_room, target, size_bytes + self.min_free))

    def path(self, entry: Entry) -> bytes:
        """Where an entry is."""
        return self.root + b"/" + entry.path

    def open(self, entry: Entry) -> int:
        """
        A handle of a file.

        Raises Changed where it is no longer there, SourceFailed.
        """
        if not hasattr(self._mine, "opener"):
            self._mine.opener = Opener(self.handle)
        try:
            handle: int = self._mine.opener.open(entry.path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise Changed(f"{text(self.path(entry))} is no longer there") from error
        except TreeUnfit as error:
            raise Changed(f"{text(self.root)}: {error}") from error
        except OSError as error:
            raise SourceFailed(f"{text(self.path(entry))}: {error.strerror}") from error
        return handle

    def read(self, entry: Entry, part: range) -> Iterator[bytes]:
        """The bytes of a part of a file. Raises Changed, SourceFailed, Stopped, LeaseLost."""
        handle = self.open(entry)
        try:
            path, recall = self.path(entry), self.policy.recall
            for chunk in chunks(handle, entry, path, part, self.check, recall=recall):
                self.copied(len(chunk))
                yield chunk
            os.posix_fadvise(handle, part.start, len(part), os.POSIX_FADV_DONTNEED)
        finally:
            os.close(handle)


def _see_room(target: Target, needed: int) -> None:
    free = target.free_bytes()
    if free is not None and free < needed:
        least = f"{show.size(needed)} are needed with guards.min_free"
        raise TargetFull(f"{target.url}: {show.size(free)} are free, {least}")
