"""Who a number is: groups with their names and principal investigators, users and members."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Group:
    """
    A group as it is shown. Its identity is the gid; names may change.

    name: in the text form of paths; `gid:1234` where nobody knows the number, `name (gid:1234)`
        for a second number of one name.
    pi: the principal investigator, if known.
    known: whether anybody knows the number.
    is_humgen: whether the site's directory knows it as a project group.
    """

    gid: int
    name: str
    pi: str | None = None
    is_humgen: bool = False
    known: bool = True


@dataclass(frozen=True, slots=True)
class User:
    """
    A person or account as it is shown. Its identity is the uid; names may change.

    name: in the text form of paths; `uid:1234` where nobody knows the number, `name (uid:1234)`
        for a second number of one name.
    gid: the primary group, if known.
    known: whether anybody knows the number.
    """

    uid: int
    name: str
    gid: int | None = None
    known: bool = True


@dataclass(frozen=True, slots=True)
class Member:
    """
    Somebody with an account, and what they are a member of.

    login: in the text form of paths.
    groups: gid -> name as a `Group` has it, of the primary group and of all that list the login.
    """

    uid: int
    login: str
    groups: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Limits:
    """
    A group's quota on a volume: bytes and inodes, None where there is no limit.

    stated_bytes, stated_inodes: the use that the quota's server states, None where none does.
    """

    used_bytes: int | None = None
    inodes: int | None = None
    stated_bytes: int | None = None
    stated_inodes: int | None = None
