"""
Whether a target still has what a manifest says, as it tells itself: no file is read back.

What a store tells of a large object it has noted when that was put together of its segments, also
where these are gone since. So one byte is got from the beginning of each.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import NamedTuple

from lurge.archiver.batches import Numbered
from lurge.archiver.reading import drained
from lurge.archiver.sending import Patience
from lurge_types.archive import Entry
from lurge_types.targets import ObjectDamaged, ObjectMissing, Stored, Target
from utils.paths import text


class Look(NamedTuple):
    """
    What a target tells of a file's bytes. wrong: why it has not got them.

    is_told: by the digest; else they may be others of the same size.
    """

    number: int
    entry: Entry
    wrong: str | None
    is_told: bool


def looks(target: Target, patience: Patience, batch: Iterable[Numbered]) -> Iterator[Look]:
    """Look files up; those in one object once. Raises TargetFailed."""
    stored: dict[str, Stored | None] = {}
    for number, entry in batch:
        key = entry.key
        if key is None:
            why = f"{text(entry.path)}: the manifest tells no object"
            yield Look(number, entry, why, is_told=True)
            continue
        if key not in stored:
            patience.check()
            stored[key] = patience.tried(partial(target.stat, key))
        wrong = told_wrong(target, stored[key], entry)
        if not wrong and _is_composed(stored[key], entry):
            wrong = _gap(target, patience, key, entry)
        why_not = wrong and f"{text(entry.path)} ({key}): {wrong}"
        yield Look(number, entry, why_not, is_told=tells(target, stored[key], entry))


def wrong(
    target: Target, patience: Patience, batch: Iterable[Numbered]
) -> Iterator[tuple[int, str]]:
    """The numbers of files whose bytes a target has not, with why. Raises TargetFailed."""
    for look in looks(target, patience, batch):
        if look.wrong:
            yield look.number, look.wrong


def tells(target: Target, stored: Stored | None, entry: Entry) -> bool:
    """Whether a target tells the digest of a file's bytes: there is nothing else in its object."""
    if stored is None or stored.told is None or stored.size != entry.fingerprint.size:
        return False
    return digest_of(target, entry) is not None


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


def _is_composed(stored: Stored | None, entry: Entry) -> bool:
    """Whether a target tells a digest of what has segments that it may have lost."""
    return stored is not None and stored.told is not None and len(entry.segments) > 1


def _gap(target: Target, patience: Patience, key: str, entry: Entry) -> str | None:
    """Where a segment of a large object begins that is not there. Raises TargetFailed."""
    at = entry.offset
    for segment in entry.segments:
        patience.check()
        if not patience.tried(partial(_has_byte, target, key, at)):
            return f"its segment of {segment.size} bytes at {at} is missing or damaged"
        at += segment.size
    return None


def _has_byte(target: Target, key: str, at: int) -> bool:
    try:
        drained(target.get(key, at, 1))
    except (ObjectMissing, ObjectDamaged):
        return False
    return True


def digest_of(target: Target, entry: Entry) -> str | None:
    """What a target should tell of the object of a file; None where it tells nothing."""
    md5s = [segment.md5 for segment in entry.segments if segment.md5]
    return target.digest(md5s) if len(md5s) == len(entry.segments) else None
