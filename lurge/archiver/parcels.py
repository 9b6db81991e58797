"""What is sent at once: some small files one by one, many of them as a pack, or one large file."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from lurge_types.archive import Entry, Policy
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed
from utils import show

MIB = 1 << 20
SMALL_BYTES = 16 * MIB
"""Files up to this size go into packs."""

FEWEST_PARTS = 2
"""A target that takes fewer has no large objects."""

BATCH_FILES = 64
BATCH_BYTES = 16 * MIB


@dataclass(frozen=True, slots=True)
class Parcel:
    """
    Files that are sent by one thread, with their numbers in the manifest.

    kind: each: an object of each. pack: one object of all. large: one object of one file, in parts.
    """

    kind: Literal["each", "pack", "large"]
    files: list[tuple[int, Entry]]

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return sum(entry.fingerprint.size for _, entry in self.files)


def segment_bytes(policy: Policy, targets: Sequence[Target]) -> int:
    """Files above it go up in parts: what the policy says, or what the targets take at once."""
    return min(policy.segment_bytes, *(target.largest_put for target in targets))


def parcels(files: Iterable[tuple[int, Entry]], policy: Policy, segment: int) -> Iterator[Parcel]:
    """
    The files in parcels: packs are in the order of their files, and so are the others.

    segment: see `segment_bytes`.
    """
    small = SMALL_BYTES if policy.layout == "packs" else CHUNK_BYTES
    most_files = None if policy.layout == "packs" else BATCH_FILES
    most_bytes = segment if policy.layout == "packs" else BATCH_BYTES
    kind: Literal["pack", "each"] = "pack" if policy.layout == "packs" else "each"
    gathered: list[tuple[int, Entry]] = []
    gathered_bytes = 0
    for number, entry in files:
        size = entry.fingerprint.size
        if size > min(small, segment):
            if gathered and kind == "each":
                yield Parcel(kind, gathered)
                gathered, gathered_bytes = [], 0
            yield Parcel("large" if size > segment else "each", [(number, entry)])
            continue
        if gathered and (gathered_bytes + size > most_bytes or len(gathered) == most_files):
            yield Parcel(kind, gathered)
            gathered, gathered_bytes = [], 0
        gathered.append((number, entry))
        gathered_bytes += size
    if gathered:
        yield Parcel(kind, gathered)


def parts(size: int, policy: Policy, targets: Sequence[Target]) -> list[range]:
    """
    In which parts the bytes of a large file go: no more than any target allows.

    It depends on nothing but the size and what the targets allow, so that others can go on.

    Raises TargetFailed where a target does not allow so large a file.
    """
    most = min(target.most_parts for target in targets)
    least = max(segment_bytes(policy, targets), *(target.smallest_part for target in targets))
    whole = max(least, -(-size // (most * MIB)) * MIB)
    for target in targets:
        if whole > target.largest_put or target.most_parts < FEWEST_PARTS:
            raise TargetFailed(
                f"{target.url}: {show.size(size)} are too much for {target.most_parts} parts of "
                f"{show.size(target.largest_put)}: let its limits be raised, or leave the file out"
            )
    return [range(start, min(start + whole, size)) for start in range(0, size, whole)]
