"""The groups and users of a made-up site, and who works where."""

from collections.abc import Iterator
from dataclasses import dataclass

from lurge.demo.words import STUDIES, TOPICS

FIRST_GID = 15_001
FIRST_UID = 10_001
MOST_GROUPS = 500
MOST_USERS = 800
LETTERS = 26


@dataclass(frozen=True, slots=True)
class People:
    """
    Names of groups and users; gids and uids are counted from `FIRST_GID` and `FIRST_UID`.

    archived_groups: how many groups each volume keeps only a marker of; they come first.
    """

    groups: tuple[str, ...]
    users: tuple[str, ...]
    archived_groups: int

    def archived(self, volume: int) -> Iterator[int]:
        """The groups of which the volume keeps only a marker."""
        first = FIRST_GID + volume * self.archived_groups
        yield from range(first, first + self.archived_groups)

    def active(self, volume: int, volumes: int) -> Iterator[int]:
        """The groups that work on the volume: two of three work on each."""
        for group in range(volumes * self.archived_groups, len(self.groups)):
            if (group + volume) % 3:
                yield FIRST_GID + group

    def group_name(self, gid: int) -> str:
        """What a group is called."""
        return self.groups[gid - FIRST_GID]

    def user_name(self, uid: int) -> str:
        """What a user is called."""
        return self.users[uid - FIRST_UID]

    def named(self) -> range:
        """The gids of groups that have a name: nobody knows the last group."""
        return range(FIRST_GID, FIRST_GID + len(self.groups) - 1)

    def members(self, gid: int) -> list[int]:
        """The users in a group."""
        first = 7 * gid
        return [FIRST_UID + user % len(self.users) for user in range(first, first + 3 + gid % 9)]

    def group_lines(self) -> Iterator[str]:
        """The names as `getent group` prints them, but for the last group: nobody knows it."""
        yield "root:x:0:"
        for gid in self.named():
            users = ",".join(map(self.user_name, self.members(gid)))
            yield f"{self.group_name(gid)}:x:{gid}:{users}"

    def user_lines(self) -> Iterator[str]:
        """The names as `getent passwd` prints them, but for the last user: nobody knows them."""
        yield "root:x:0:0:root:/root:/bin/bash"
        for user, name in enumerate(self.users[:-1]):
            gid = FIRST_GID + user % len(self.groups)
            yield f"{name}:x:{FIRST_UID + user}:{gid}::/nfs/users/{name}:/bin/bash"


def people_for(entries: int) -> People:
    """As many people as have reason to make so many entries."""
    groups = min(max(entries // 400, 12), MOST_GROUPS)
    users = min(max(entries // 250, 16), MOST_USERS)
    return People(
        tuple(map(_group_name, range(groups))),
        tuple(map(_user_name, range(users))),
        archived_groups=1 if entries < 10_000 else 3,
    )


def _group_name(number: int) -> str:
    if number % 4 == 0:
        return f"team{101 + number}"
    return f"{TOPICS[number % len(TOPICS)]}_{STUDIES[number % len(STUDIES)]}"


def _user_name(number: int) -> str:
    """
    Two letters and a number, of which no two are alike.

    >>> [_user_name(number) for number in range(3)]
    ['aa1', 'mt8', 'zm15']
    """
    first, second = divmod(number * 331 % LETTERS**2, LETTERS)
    count = 1 + 7 * number % 30 + number // LETTERS**2 * 30
    return f"{chr(ord('a') + first)}{chr(ord('a') + second)}{count}"
