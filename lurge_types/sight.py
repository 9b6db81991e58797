"""What somebody may see of the database."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sight:
    """
    everything: all of it; else what belongs to some groups, by gid, and to one user, by uid.
    """

    everything: bool = False
    gids: frozenset[int] = frozenset()
    uid: int | None = None
