"""What somebody may see of the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """
    A part of the rows: those of some groups, by gid, and of one user, by uid.

    everything: an administrator's, who sees them all.
    """

    everything: bool = False
    gids: frozenset[int] = frozenset()
    uid: int | None = None
