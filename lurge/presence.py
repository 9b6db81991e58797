"""
Who is known now, and whether the source of names is believed of those whom it does not know.

A directory that is down, or answers by half, is not taken for one that people have left.
"""

from collections.abc import Collection, Mapping, Sequence, Set
from typing import NamedTuple

from db.upkeep import Kind, Person
from lurge.groups import shown_groups
from lurge_types.config import Config
from lurge_types.names import Group
from utils.names import Names, shown

FEW = 10
"""So many may go in a night, whatever their share is."""


class Presence(NamedTuple):
    """
    Which numbers of groups or users are known now.

    gone: who was known and is not marked as absent yet, but is not known now, in doubt or not.
    asked: of how many this was asked, without pseudo groups.
    judged: how many tell whether the source is whole; missing: how many of these it does not know.
    """

    kind: Kind
    known: Set[int]
    gone: Sequence[Person]
    asked: int
    judged: int
    missing: int

    @property
    def in_doubt(self) -> bool:
        """Whether so many are missing that it says nothing of any of them."""
        too_many = self.missing > FEW and 2 * self.missing > self.judged
        return too_many or 0 < self.judged == self.missing

    def doubt(self, source: str, so: str) -> str:
        """The doubt in words; `so`: what follows from it."""
        return (
            f"names.source = {source} does not know {self.missing:,} of {self.judged:,} "
            f"{self.kind}s that tell whether it is whole: {so}; see whether it is down or lacks "
            "a part"
        )


def present_users(names: Names, people: Collection[Person]) -> Presence:
    """Which of some users are known. Raises NamesMissing."""
    users = names.users(_numbers(people))
    return _presence("user", people, {uid for uid, user in users.items() if user.known})


def present_groups(
    config: Config, names: Names, people: Collection[Person]
) -> tuple[Presence, Mapping[int, Group]]:
    """
    Which of some groups are known, and all by their gids; pseudo groups are.

    Raises NamesMissing.
    """
    groups = shown_groups(config, names, _numbers(people))
    pseudo = {group.gid for group in config.pseudo_groups.values()}
    real = [each for each in people if each.number not in pseudo]
    known = {gid for gid, group in groups.items() if group.known}
    return _presence("group", real, known), groups


def _presence(kind: Kind, people: Collection[Person], known: Set[int]) -> Presence:
    numbers = _numbers(people)
    # Who is already marked as absent says nothing of tonight.
    here = [
        each
        for each in people
        if each.number >= 0
        and each.absent_since is None
        and was_known(kind, each.number, each.name)
    ]
    gone = [each for each in here if each.number not in known]
    judged = [each.number for each in here if not is_local(each.number)]
    judged = judged or [each.number for each in here]
    if not judged and known.isdisjoint(numbers):
        judged = numbers
    missing = sum(number not in known for number in judged)
    return Presence(kind, known, gone, len(numbers), len(judged), missing)


def _numbers(people: Collection[Person]) -> list[int]:
    """The numbers that a source of names can be asked for."""
    return [each.number for each in people if each.number >= 0]


def was_known(kind: Kind, number: int, name: str) -> bool:
    """Whether any night knew it: a number that none knew is stored with a name made of it."""
    return name != shown("gid" if kind == "group" else "uid", number, b"", number)


def is_local(number: int) -> bool:
    """
    Whether a machine is likely to know a group or user by itself, though its directory is down.

    The ranges are those of Debian's policy, 9.2.2.

    >>> [number for number in (0, 999, 1000, 59_999, 65_534, 70_000) if is_local(number)]
    [0, 999, 65534]
    """
    return number < 1000 or 60_000 <= number <= 65_535
