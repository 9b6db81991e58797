"""
A unit's files on their way to the targets, in the order of its manifest.

What earlier workers have copied is not read again, and a large file goes on with its next part.
Nothing here is believed in the end: what is said to be copied is read back by `verifying`.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from lurge.archiver.job import Job
from lurge.archiver.large import Large
from lurge.archiver.parcels import Parcel, parcels, segment_bytes
from lurge.archiver.pouring import in_order
from lurge.archiver.reading import Digests, shown_to
from lurge.archiver.sending import Body, store
from lurge_types.archive import Entry, Segment
from lurge_types.targets import TargetFailed
from utils import journals, manifests
from utils.journals import Copied, Journal, Order, Place, Unfinished
from utils.object_keys import SHARED, folder_of, of_file, of_pack
from utils.paths import text

AHEAD = 4
"""How many parcels for each thread are being copied or wait for those before them."""


def copy(job: Job, manifest: Path, round_: int) -> None:
    """
    Copy what is missing of a unit at any target; in the end all is durable, and in journals.

    manifest: the plan's. round_: how often this worker has copied the unit before.

    Raises Changed, SourceFailed, TargetFailed, JournalBroken, NoRoom, LeaseLost, OSError.
    """
    before = journals.journals(job.folder, job.token)
    begun = journals.unfinished(before.values())
    if any(order.token < job.token for order in before):
        _sweep(job, manifest, begun)
    journal = Journal(job.folder, Order(job.token, round_))
    threads = ThreadPoolExecutor(job.workers)
    try:
        act = partial(_carry, job, journal, begun)
        segment = segment_bytes(job.policy, job.targets)
        waiting = parcels(_missing(manifest, before), job.policy, segment)
        for done in in_order(threads, act, waiting, AHEAD * job.workers):
            for copied in done:
                journal.copied(copied)
        for target in job.targets:
            job.patience.tried(target.sync)
        journal.sync()
    except BaseException:
        job.patience.stop.set()
        raise
    finally:
        threads.shutdown()
        journal.close()


def _sweep(job: Job, manifest: Path, begun: Unfinished) -> None:
    """Remove what earlier workers have left at the targets that were killed."""
    keep = {
        done.upload.id
        for of_targets in begun.values()
        for parts in of_targets.values()
        for done in parts.values()
    }
    for target in job.targets:
        with suppress(TargetFailed):  # what comes next tells what is wrong with it
            target.sweep(_folders(job, manifest), keep)


def _folders(job: Job, manifest: Path) -> Iterator[str]:
    """In which folders of keys objects of a unit may be."""
    yield from SHARED
    yield folder_of(of_pack(job.name, 0))
    above: list[str] = []
    with manifest.open("rb") as file:
        for entry in manifests.read(file)[1]:
            folder = folder_of(of_file(job.path(entry)))
            if not entry.has_bytes or folder in SHARED:
                continue
            while above and not f"{folder}/".startswith(f"{above[-1]}/"):
                above.pop()
            if above[-1:] != [folder]:
                above.append(folder)
                yield folder


def placed(manifest: Path, journals_: dict[Order, Path], target: int) -> Iterator[Entry]:
    """
    The entries of a plan's manifest, with the places of those that have bytes at a target.

    Raises ValueError where one has none: then the unit is not copied.
    """
    for _, entry, copied in _joined(manifest, journals_):
        if entry.has_bytes:
            if copied is None or not copied.places:
                raise ValueError(f"{text(entry.path)} is not copied")
            place = copied.places[target]
            yield replace(entry, segments=copied.segments, key=place.key, offset=place.offset)
        else:
            yield entry


def _missing(manifest: Path, before: dict[Order, Path]) -> Iterator[tuple[int, Entry]]:
    """The files that are to be copied, with their numbers."""
    for number, entry, copied in _joined(manifest, before):
        if entry.has_bytes and (copied is None or not copied.places):
            yield number, entry


def _joined(
    manifest: Path, before: dict[Order, Path]
) -> Iterator[tuple[int, Entry, Copied | None]]:
    """All entries with their numbers, and what journals say of them."""
    known = journals.copied(before)
    latest = next(known, None)
    with manifest.open("rb") as file:
        for number, entry in enumerate(manifests.read(file)[1]):
            while latest is not None and latest.number < number:
                latest = next(known, None)
            is_its = latest is not None and latest.number == number
            yield number, entry, latest if is_its else None


def _carry(job: Job, journal: Journal, begun: Unfinished, parcel: Parcel) -> list[Copied]:
    """Store a parcel at all targets, once they have room for it."""
    job.wait_for_room(parcel.size_bytes)
    match parcel.kind:
        case "each":
            return [_single(job, number, entry) for number, entry in parcel.files]
        case "pack":
            return _pack(job, parcel)
        case "large":
            number, entry = parcel.files[0]
            return [Large(job, journal, number, entry).store(begun.get(number, {}))]


def _single(job: Job, number: int, entry: Entry) -> Copied:
    """Store a file as an object."""
    found: list[Segment] = []

    def read() -> Iterator[bytes]:
        found.clear()
        digests = Digests(md5=job.md5)
        yield from shown_to(job.read(entry, range(entry.fingerprint.size)), digests)
        found.append(digests.segment())

    body = Body(entry.fingerprint.size, read, lambda: tuple(found), lambda: found[0].md5)
    key = of_file(job.path(entry))
    places = store(key, body, job.targets, job.name, job.patience)
    return Copied(number, tuple(found), places)


def _pack(job: Job, parcel: Parcel) -> list[Copied]:
    """Store many files as one object, one behind the other."""
    found: list[Segment] = []
    whole = Digests(md5=job.md5)

    def read() -> Iterator[bytes]:
        nonlocal whole
        found.clear()
        whole = Digests(md5=job.md5)
        for _, entry in parcel.files:
            digests = Digests(md5=job.md5)
            part = range(entry.fingerprint.size)
            yield from shown_to(job.read(entry, part), digests, *((whole,) if job.md5 else ()))
            found.append(digests.segment())

    body = Body(parcel.size_bytes, read, lambda: tuple(found), lambda: whole.segment().md5)
    key = of_pack(job.name, parcel.files[0][0])
    places = store(key, body, job.targets, job.name, job.patience)
    copied, offset = [], 0
    for (number, _), segment in zip(parcel.files, found, strict=True):
        copied.append(
            Copied(number, (segment,), tuple(Place(key, at + offset) for key, at in places), True)
        )
        offset += segment.size
    return copied
