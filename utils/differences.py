"""
What has become of a unit: what was expected of it and what is found, compared as both are read.

Lurge's own acts change some facts: a rename the ctime of what is renamed, a deletion those of the
directory and of the inode's other names. These are told apart from what somebody else did.
"""

import os
from collections.abc import Container, Iterable, Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

from lurge_types.archive import Entry, Fingerprint
from utils.paths import text
from utils.trees import fingerprint, order

RENAMED = frozenset({"ctime_ns"})
"""What a rename changes of an inode."""

NAME_DELETED = frozenset({"ctime_ns", "links", "same_as"})
"""What the deletion of a name changes of those that the inode still has."""

EMPTIED = frozenset({"ctime_ns", "mtime_ns", "size", "mode"})
"""What deletions in a directory change of it, which is opened up before; see `_without_mode`."""

ACL = b"system.posix_acl_access"

NOTHING: frozenset[str] = frozenset()
FACTS = ("mode", "uid", "gid", "rdev", "link", "same_as", "attributes")
"""
Of an entry, beside the fingerprint. How many links a directory has is its filesystem's matter.
"""


class Differs(Exception):
    """An entry is not as expected: which, and how."""


class Difference(NamedTuple):
    """
    An entry that is not as expected.

    kind: `missing`: it is not there; `unknown`: nobody expected it; `different`: in these facts.
    """

    path: bytes
    kind: Literal["missing", "unknown", "different"]
    facts: tuple[str, ...] = ()

    def __str__(self) -> str:
        facts = f" ({', '.join(self.facts)})" if self.facts else ""
        return f"{text(self.path) or '.'}: {self.kind}{facts}"


def differences(
    expected: Iterable[Entry],
    found: Iterable[Entry],
    *,
    device: int | None = None,
    renamed: Container[bytes] | None = (),
    deleting: bool = False,
) -> Iterator[Difference]:
    """
    What is missing, unknown or different, in the order of both, which is that of a manifest.

    device: the number that it must have now, if not the recorded one: mounting may change it.
    renamed: paths of what was itself renamed since, of which the ctime may be another; None: all.
    deleting: Lurge has begun to delete the unit: what is missing is as it should be, and so is what
    that did to directories and to the other names of an inode. What is unknown is still told.
    """
    for wanted, is_ in _merged(expected, found):
        if not (is_ is None and deleting):
            difference = _difference(wanted, is_, device, renamed, deleting=deleting)
            if difference is not None:
                yield difference


def compared(
    expected: Iterable[Entry],
    found: Iterable[Entry],
    *,
    device: int | None = None,
    renamed: Container[bytes] | None = (),
) -> Iterator[Entry]:
    """
    What was expected, with the fingerprints that were found; device, renamed: as above.

    Raises Differs at the first difference.
    """
    for wanted, is_ in _merged(expected, found):
        difference = _difference(wanted, is_, device, renamed, deleting=False)
        if difference is not None:
            raise Differs(str(difference))
        if wanted is not None and is_ is not None:
            yield replace(wanted, fingerprint=is_.fingerprint)


def forgiven(entry: Entry, *, renamed: bool, deleting: bool) -> frozenset[str]:
    """Which facts of an entry Lurge itself may have changed."""
    ignored = RENAMED if renamed else NOTHING
    if deleting and entry.fingerprint.kind == "d":
        ignored |= EMPTIED
    elif deleting and entry.links > 1:
        ignored |= NAME_DELETED
    return ignored


def changed(
    entry: Entry,
    now: os.stat_result,
    *,
    device: int | None = None,
    renamed: bool = False,
    deleting: bool = False,
) -> tuple[str, ...]:
    """
    Which facts of an entry's fingerprint are others now, just before something is done to it.

    device, renamed, deleting: as for `differences`.
    """
    ignored = forgiven(entry, renamed=renamed, deleting=deleting)
    return tuple(_differing_prints(entry.fingerprint, fingerprint(now), device, ignored))


def _difference(
    wanted: Entry | None,
    is_: Entry | None,
    device: int | None,
    renamed: Container[bytes] | None,
    *,
    deleting: bool,
) -> Difference | None:
    if wanted is None or is_ is None:
        if wanted is not None:
            return Difference(wanted.path, "missing")
        return None if is_ is None else Difference(is_.path, "unknown")
    was_renamed = renamed is None or wanted.path in renamed
    ignored = forgiven(wanted, renamed=was_renamed, deleting=deleting)
    facts = tuple(_differing(wanted, is_, device, ignored))
    return Difference(wanted.path, "different", facts) if facts else None


def _merged(
    expected: Iterable[Entry], found: Iterable[Entry]
) -> Iterator[tuple[Entry | None, Entry | None]]:
    """Pairs of one path; None where one side lacks it."""
    left, right = _sorted(expected), _sorted(found)
    wanted, is_ = next(left, None), next(right, None)
    while wanted is not None or is_ is not None:
        if is_ is None or (wanted is not None and order(wanted.path) < order(is_.path)):
            yield wanted, None
            wanted = next(left, None)
        elif wanted is None or order(is_.path) < order(wanted.path):
            yield None, is_
            is_ = next(right, None)
        else:
            yield wanted, is_
            wanted, is_ = next(left, None), next(right, None)


def _sorted(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same; out of order, a merge would tell what is not so. Raises ValueError."""
    last: Entry | None = None
    for entry in entries:
        if last is not None and order(entry.path) <= order(last.path):
            raise ValueError(f"{text(entry.path)} comes after {text(last.path)}: not sorted")
        yield entry
        last = entry


def _differing(
    wanted: Entry, is_: Entry, device: int | None, ignored: frozenset[str]
) -> Iterator[str]:
    yield from _differing_prints(wanted.fingerprint, is_.fingerprint, device, ignored)
    if "mode" in ignored:
        wanted, is_ = _without_mode(wanted), _without_mode(is_)
    facts = FACTS if wanted.fingerprint.kind == "d" else (*FACTS, "links")
    for fact in facts:
        if fact not in ignored and getattr(wanted, fact) != getattr(is_, fact):
            yield fact


def _without_mode(entry: Entry) -> Entry:
    """The same without the attribute that a mode is part of."""
    return replace(entry, attributes=tuple(each for each in entry.attributes if each[0] != ACL))


def _differing_prints(
    wanted: Fingerprint, is_: Fingerprint, device: int | None, ignored: frozenset[str]
) -> Iterator[str]:
    if device is not None:
        wanted = wanted._replace(device=device)
    if wanted != is_:
        for fact, one, other in zip(Fingerprint._fields, wanted, is_, strict=True):
            if one != other and fact not in ignored:
                yield fact
