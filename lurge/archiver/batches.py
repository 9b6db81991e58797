"""The files of a manifest some at a time: many small ones, or a large one."""

from collections.abc import Callable, Iterable, Iterator

from lurge_types.archive import Entry

BATCH_FILES = 64
BATCH_BYTES = 64 << 20

Numbered = tuple[int, Entry]
"""An entry with its number in the manifest, counted from 0."""


def batches(
    entries: Iterable[Entry], wanted: Callable[[Entry], bool] = lambda _: True
) -> Iterator[list[Numbered]]:
    """The entries that have bytes and are wanted, in their order."""
    batch: list[Numbered] = []
    size = 0
    for number, entry in enumerate(entries):
        if not (entry.has_bytes and wanted(entry)):
            continue
        batch.append((number, entry))
        size += entry.fingerprint.size
        if len(batch) == BATCH_FILES or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
