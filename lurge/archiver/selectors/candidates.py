"""Directories that the reports have found cold, by rank."""

from collections.abc import Collection, Iterator, Sequence

from db import candidates as stored
from db.database import Database
from lurge_types.archive import Missed, Proposal, Skipped
from utils import places


def candidates(
    database: Database,
    volume_names: Sequence[str],
    classes: Collection[str],
    group_names: Collection[str] = (),
) -> Iterator[Proposal | Skipped | Missed]:
    """
    The archive candidates of the newest night of each volume, that are still there.

    classes: of `lurge_types.candidates.CLASSES`. group_names: only what has files of one of these.

    Raises DatabaseFailed.
    """
    for name in volume_names:
        found = stored.cold(database, name, classes, group_names)
        if found is None:
            yield Missed(name, "has no stored candidates: run candidates first", is_failure=True)
            continue
        yield from map(_look, found)


def _look(root: bytes) -> Proposal | Skipped:
    why = places.wrong(root) or places.bar(root)
    return Skipped(root, None, why) if why else Proposal(root, "directory")
