"""
Copies are read back and compared: what a target says of what it has is not what it has.

What is compared with comes from the manifest that was written of the copy, before it was sent. What
a target tells of an object just before it is read is kept: where it tells the same later on, and
before anything is deleted, it need not be read again.
"""

from collections.abc import Callable, Generator, Iterable
from dataclasses import replace
from functools import cache, partial
from hashlib import sha256
from pathlib import Path

from lurge.archiver import marks
from lurge.archiver.batches import Numbered, batches
from lurge.archiver.hurrying import hurried
from lurge.archiver.job import Job
from lurge.archiver.looking import digest_of, looks
from lurge.archiver.marks import Marks
from lurge.archiver.pouring import in_order
from lurge.archiver.reading import Check
from lurge.archiver.sending import Patience, read_back
from lurge_types.archive import Copy, Entry, Segment
from lurge_types.targets import ObjectDamaged, ObjectMissing, Target, TargetFailed
from utils import manifests
from utils.object_keys import PACKS
from utils.paths import text

AHEAD = 4
MOST_BAD = 1000
"""So many files of a unit are sent again; where there are more, somebody should look."""


def bad_files(job: Job, target: Target, copy: Copy, manifest: Path) -> set[int]:
    """
    The numbers of the files whose copies at a target are not whole; of some more than `MOST_BAD` no
    further ones are looked for.

    manifest: of the copy.

    Raises TargetFailed, LeaseLost, Stopped, NoRoom, OSError.
    """
    bad: set[int] = set()
    with (
        manifest.open("rb") as file,
        marks.written(manifest, copy) as told,
        hurried(job.patience, job.workers) as (threads, patience),
    ):
        files = batches(manifests.read(file)[1])
        how = partial(_bad_of, replace(job, patience=patience), target, told)
        for found in in_order(threads, how, files, AHEAD * job.workers):
            bad |= found
            if len(bad) > MOST_BAD:
                break
    return bad


def manifest_is_there(job: Job, target: Target, copy: Copy) -> bool:
    """Whether a target has a copy's manifest as it was sent. Raises TargetFailed."""
    sent = Segment(copy.manifest_bytes, copy.manifest_sha256, None)
    return job.patience.tried(lambda: is_whole(target, copy.key, 0, (sent,), job.check))


def is_whole(
    target: Target, key: str, offset: int, segments: Iterable[Segment], check: Check
) -> bool:
    """Whether an object has these bytes where they should be. Raises TargetFailed."""
    at = offset
    try:
        for segment in segments:
            at += segment.size
            if read_back(target, key, at - segment.size, segment, check) != segment.sha256:
                return False
    except (ObjectMissing, ObjectDamaged):
        return False
    except TargetFailed:
        if _is_short(target, key, at):
            return False
        raise
    return True


def _is_short(target: Target, key: str, needed: int) -> bool:
    """Whether an object has fewer bytes than it should. Raises TargetFailed."""
    stored = target.stat(key)
    return stored is None or stored.size < needed


def lacking(
    where: tuple[Target, Copy, Path],
    patience: Patience,
    workers: int,
    wanted: Callable[[Entry], bool] = lambda _: True,
) -> Generator[tuple[Entry, str | None], None, None]:
    """
    Files of a copy that was verified, each with why its bytes are not there any more, if so.

    where: with the copy's manifest, which is here. What a target tells no digest of is read back,
    unless it tells the same as before it was when it was verified. Whoever wants no more of them
    waits for none that is being read.

    Raises TargetFailed, ManifestBroken, OSError.
    """
    target, copy, manifest = where
    with (
        manifest.open("rb") as file,
        marks.known(manifest, copy) as told,
        hurried(patience, workers) as (threads, stoppable),
    ):
        files = batches(manifests.read(file)[1], wanted)
        how = partial(_lacking_of, target, stoppable, told)
        for found in in_order(threads, how, files, AHEAD * workers):
            yield from found


def _lacking_of(
    target: Target, patience: Patience, told: Marks, batch: list[Numbered]
) -> list[tuple[Entry, str | None]]:
    mark = _marking(target, patience)
    found = []
    for number, entry, wrong, is_told in looks(target, patience, batch):
        key = entry.key or ""
        why = wrong
        if not (wrong or is_told or told.has(number, key, mark(key))):
            whole = partial(is_whole, target, key, entry.offset, entry.segments, patience.check)
            if not patience.tried(whole):
                why = f"{text(entry.path)} ({key}): other bytes than were sent"
        found.append((entry, why))
    return found


def _marking(target: Target, patience: Patience) -> Callable[[str], str | None]:
    """What a target tells of objects, asked once of each."""
    return cache(lambda key: patience.tried(partial(target.mark, key)))


def _bad_of(job: Job, target: Target, told: Marks, batch: list[Numbered]) -> set[int]:
    mark = _marking(target, job.patience)
    bad = set()
    for number, entry in batch:
        job.check()
        key = entry.key or ""
        is_silent = _is_packed(key, entry) or digest_of(target, entry) is None
        before = mark(key) if key and is_silent else None
        if _is_good(job, target, number, entry):
            told.add(number, key, before)
        else:
            bad.add(number)
    return bad


def _is_packed(key: str, entry: Entry) -> bool:
    """Whether other files may be in its object, whose digest is then not the file's."""
    return entry.offset > 0 or key.startswith(PACKS)


def _is_good(job: Job, target: Target, number: int, entry: Entry) -> bool:
    key = entry.key
    if key is None:
        return False
    if not reads_back(job.policy.verify, job.name, entry.path):
        (look,) = looks(target, job.patience, [(number, entry)])
        if look.wrong or look.is_told:
            return not look.wrong
    whole = partial(is_whole, target, key, entry.offset, entry.segments, job.check)
    good = job.patience.tried(whole)
    job.copied(entry.fingerprint.size)
    return good


def reads_back(verify: str, unit: str, path: bytes) -> bool:
    """
    Whether a policy has a file read back: which of a sample is told by its name alone.

    >>> reads_back("read-back", "u", b"a"), reads_back("digest", "u", b"a")
    (True, False)
    """
    if not verify.startswith("sample="):
        return verify == "read-back"
    percent = int(verify.removeprefix("sample=").removesuffix("%"))
    drawn = int.from_bytes(sha256(unit.encode() + b"/" + path).digest()[:8], "big")
    return drawn % 100 < percent
