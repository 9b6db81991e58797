"""Whether a target still has what a manifest says, as it tells itself: nothing is read back."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from lurge.archiver.batches import Numbered, batches
from lurge.archiver.pouring import in_order
from lurge.archiver.sending import Patience
from lurge_types.archive import Entry
from lurge_types.targets import Stored, Target
from utils import manifests
from utils.paths import text

AHEAD = 4


def absent(target: Target, manifest: Path, patience: Patience, workers: int) -> Iterator[str]:
    """
    Which files' bytes a target does not have, or not in their size and digest, in words.

    Raises TargetFailed, ManifestBroken, OSError.
    """
    with ThreadPoolExecutor(workers) as threads, manifest.open("rb") as file:
        files = batches(manifests.read(file)[1])
        for found in in_order(threads, partial(_absent, target, patience), files, AHEAD * workers):
            yield from found


def _absent(target: Target, patience: Patience, batch: list[Numbered]) -> list[str]:
    return [why for _, why in wrong(target, patience, batch)]


def wrong(
    target: Target, patience: Patience, batch: Iterable[Numbered]
) -> Iterator[tuple[int, str]]:
    """
    The numbers of files whose bytes a target has not, with why; those in one object are looked up
    once.

    Raises TargetFailed.
    """
    stored: dict[str, Stored | None] = {}
    for number, entry in batch:
        key = entry.key
        if key is None:
            yield number, f"{text(entry.path)}: the manifest tells no object"
            continue
        if key not in stored:
            patience.check()
            stored[key] = patience.tried(partial(target.stat, key))
        if why := told_wrong(target, stored[key], entry):
            yield number, f"{text(entry.path)} ({key}): {why}"


def told_wrong(target: Target, stored: Stored | None, entry: Entry) -> str | None:
    """What is wrong with what a target tells of the object that should hold a file's bytes."""
    size = entry.fingerprint.size
    if stored is None:
        return "no object"
    if stored.size < entry.offset + size:
        return f"the object has {stored.size} bytes"
    wanted = digest_of(target, entry)
    if wanted and stored.told and stored.size == size and stored.told != wanted:
        return f"the object has digest {stored.told}, not {wanted}"
    return None


def digest_of(target: Target, entry: Entry) -> str | None:
    """What a target should tell of the object of a file; None where it tells nothing."""
    md5s = [segment.md5 for segment in entry.segments if segment.md5]
    return target.digest(md5s) if len(md5s) == len(entry.segments) else None
