"""
What is acted on, and how it is known again: fingerprints, digests, units, runs and their states.

All later acts on files use the same records: what was planned is what is done, and what is done can
be told from what was planned.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal, NamedTuple, get_args

State = Literal[
    "planned",
    "claimed",
    "copied",
    "verified",
    "binned",
    "deleting",
    "deleted",
    "dirty",
    "failed",
    "restored",
]
"""
Where a unit is on its way.

deleting: what is in the bin is being deleted: there is no way back but from the copies. dirty:
something changed meanwhile, the source is untouched. failed: it is tried again by whoever applies
the run again.
"""

STATES: frozenset[State] = frozenset(get_args(State))

Course = Literal["archive", "copy", "discard"]
"""
What becomes of the units of a run.

archive: copied, verified, put into the bin, and deleted from there later. copy: copied and
verified, the source stays with whoever asked for it. discard: the same as archive, but no copy.
"""

_AGAIN: frozenset[State] = frozenset({"claimed", "dirty", "failed"})
"""Where a unit may come to from anywhere before the bin; claimed again by whoever takes over."""

_ANY: Mapping[State, frozenset[State]] = {
    "planned": _AGAIN,
    "failed": frozenset({"claimed", "failed"}),
    "dirty": frozenset(),
}

_BIN: Mapping[State, frozenset[State]] = {
    "binned": frozenset({"binned", "deleting", "restored"}),
    "deleting": frozenset({"deleting", "deleted"}),
}
"""What stays in the bin for some reason, or is there longer, is binned or deleting once more."""

WAYS: Mapping[Course, Mapping[State, frozenset[State]]] = {
    "archive": {
        **_ANY,
        **_BIN,
        "claimed": _AGAIN | {"copied"},
        "copied": _AGAIN | {"verified"},
        "verified": _AGAIN | {"binned"},
        "deleted": frozenset({"restored"}),
        "restored": frozenset({"restored"}),
    },
    "copy": {
        **_ANY,
        "claimed": _AGAIN | {"copied"},
        "copied": _AGAIN | {"verified"},
        "verified": frozenset({"restored"}),
        "restored": frozenset({"restored"}),
    },
    "discard": {
        **_ANY,
        **_BIN,
        "claimed": _AGAIN | {"binned"},
        "deleted": frozenset(),
        "restored": frozenset(),
    },
}
"""From which states a unit may come to which; what is being deleted has to be gone to come back."""

REMOVED: frozenset[State] = frozenset({"binned", "deleting", "deleted"})
"""States in which a directory is not in its place."""

OPEN: Mapping[Course, frozenset[State]] = {
    "archive": frozenset({"planned", "claimed", "copied", "verified", "failed"}),
    "copy": frozenset({"planned", "claimed", "copied", "failed"}),
    "discard": frozenset({"planned", "claimed", "failed"}),
}
"""In which states of its units a run has not come to its end."""

Act = Literal[
    "planned",
    "approved",
    "applied",
    "claimed",
    "copied",
    "verified",
    "binned",
    "discarded",
    "deleting",
    "purged",
    "restored",
    "dirty",
    "failed",
    "checked",
    "lost",
    "recovered",
    "ended",
]
"""
What the audit tells of.

discarded: put into the bin without a copy. lost: a copy was not found. ended: of a run.
"""

Kind = Literal["directory", "files"]
"""directory: all that is in a directory, itself included. files: some files below a directory."""

UNIT_NAME_DIGITS = 12

BIN_NAME = b".lurge-bin"
"""What a bin is called where the configuration names none."""


class Fingerprint(NamedTuple):
    """
    By what a file is known again; taken without following links.

    kind: the letter of its type as in a scan: f, d, l, s, b, c, F.
    """

    device: int
    inode: int
    kind: str
    size: int
    mtime_ns: int
    ctime_ns: int


class Segment(NamedTuple):
    """
    A run of a file's bytes with its digests in hexadecimal; a file has one, or several of one size.

    md5: None where no target speaks it.
    """

    size: int
    sha256: str
    md5: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """
    A line of a manifest: an entry of a unit, and where its bytes are.

    path: below the unit's root; empty for the root itself.
    atime_ns: when it was read last, before Lurge did.
    links: how many names the inode has.
    rdev: of a device file, else 0. link: where a symbolic link leads.
    same_as: the path of the entry above of which this is a further name; its bytes are there.
    attributes: extended ones with their values, POSIX ACLs among them, sorted by name.
    extents: where a sparse file has data, as (start, length), ascending; None without holes.
    segments: of a file, once its bytes have been read; one of size 0 for an empty file.
    key, offset: where a target has the bytes, once it has; they are never cut.
    """

    path: bytes
    fingerprint: Fingerprint
    mode: int
    uid: int
    gid: int
    atime_ns: int
    links: int = 1
    rdev: int = 0
    link: bytes | None = None
    same_as: bytes | None = None
    attributes: tuple[tuple[bytes, bytes], ...] = ()
    extents: tuple[tuple[int, int], ...] | None = None
    segments: tuple[Segment, ...] = ()
    key: str | None = None
    offset: int = 0

    @property
    def has_bytes(self) -> bool:
        """Whether it is a file whose bytes are to be copied: the first name of its inode."""
        return self.fingerprint.kind == "f" and self.same_as is None


@dataclass(frozen=True, slots=True)
class Header:
    """
    The first line of a manifest: which unit it is of.

    unit: its name. root: its absolute path. target: where the copy is, None in a plan's manifest.
    entries, files, size_bytes: counted when it is written.
    run: its content id, course, targets: its policy's, subject: the unit's; for whoever has lost
    all else. A plan's manifest has none of these: it is written before the run has its name.
    token, round: of the last journal that tells where bytes are. Of several manifests of a unit at
    a target, of which some were sent again, the one with the largest counts; 0 where nobody knows.
    """

    unit: str
    kind: Kind
    volume: str
    root: bytes
    planned_at: datetime
    target: str | None = None
    entries: int = 0
    files: int = 0
    size_bytes: int = 0
    run: str | None = None
    course: Course | None = None
    targets: tuple[str, ...] = ()
    subject: str | None = None
    token: int = 0
    round: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """
    How a run's units are treated, whatever the configuration says later.

    targets: URLs. verify: `read-back`, `digest` or `sample=N%`. keep_in_bin: days.
    segment_bytes: files above it go up in segments of this size, or of a larger one.
    recall: files that were released to an HSM are read all the same, which brings them back.
    """

    course: Course
    targets: tuple[str, ...]
    verify: str
    layout: Literal["tree", "packs"]
    keep_in_bin: int
    tombstone: bool
    approval: Literal["none", "required"]
    segment_bytes: int
    recall: bool = False


@dataclass(frozen=True, slots=True)
class MountSeen:
    """
    Where a volume was when it was planned, or a target that is a directory.

    volume: its name, or the target's URL. marker_sha256: of the file that marks the mount, None
    where none is configured, and of a target that has none.
    """

    volume: str
    path: bytes
    device: int
    marker_sha256: str | None


@dataclass(frozen=True, slots=True)
class Unit:
    """
    What is archived and removed together.

    number: in its run, from 1. subject: what the selector knows it by, such as a project's id.
    gids: of those that have files in it, ascending. size_bytes: of files, each inode once,
    by their lengths: holes count, and what a disk compresses counts in full.
    root_fingerprint: of the directory, as the plan saw it. manifest_sha256: of the plan's manifest.
    """

    number: int
    kind: Kind
    volume: str
    root: bytes
    subject: str | None
    gids: tuple[int, ...]
    entries: int
    files: int
    size_bytes: int
    root_fingerprint: Fingerprint
    manifest_sha256: str


Selector = Literal["candidates", "vault", "projects", "paths"]
"""Who proposes what is acted on."""


@dataclass(frozen=True, slots=True)
class Proposal:
    """
    What a selector proposes as a unit.

    root: an absolute path without links on its way. members: of kind files, below the root, in the
    order of `utils.trees`; else none. subject: what the selector knows it by: the id of a project
    or task, the root of a vault. since: the day from which on it was due, if it tells.
    """

    root: bytes
    kind: Kind
    members: tuple[bytes, ...] = ()
    subject: str | None = None
    since: date | None = None


@dataclass(frozen=True, slots=True)
class Missed:
    """
    Something that a selector was to look through and had nothing to tell of: which, and why.

    is_failure: nobody knows what is there; the rest goes on, and the run is not all well.
    """

    what: str
    reason: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class Skipped:
    """What was proposed and is left out, and why."""

    root: bytes
    subject: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Tripped:
    """A guard that stops a run before it acts, by its name, and why; a person may allow it once."""

    guard: str
    why: str


@dataclass(frozen=True, slots=True)
class Run:
    """
    What will be done: the content of a run file.

    content_id: the SHA-256 of all the rest in its written form, in hexadecimal.
    selector: which proposed the units. asked: what else was asked of it, in words.
    cut_off: units were due that ended on this day or before.
    planned_by: user@host. config_sha256: of the configuration it was planned with.
    cost_per_month: what the units cost where they are, in words; None without a price.
    """

    content_id: str
    system: str
    name: str
    selector: str
    asked: str
    cut_off: date | None
    planned_at: datetime
    planned_by: str
    config_sha256: str
    expires: datetime
    policy: Policy
    mounts: tuple[MountSeen, ...]
    units: tuple[Unit, ...]
    skipped: tuple[Skipped, ...]
    tripped: tuple[Tripped, ...]
    cost_per_month: str | None

    @property
    def size_bytes(self) -> int:
        """Of all units."""
        return sum(unit.size_bytes for unit in self.units)

    def unit_name(self, unit: Unit) -> str:
        """The name of a unit among those of all runs: of its run's content, and its number."""
        return f"{self.content_id[:UNIT_NAME_DIGITS]}-{unit.number:06}"


@dataclass(frozen=True, slots=True)
class UnitNow:
    """
    What the ledger knows of a unit.

    unit_id, run_id: the ledger's. name: among those of all runs. course: of its run.
    reason: why it is dirty or failed. tries: how often it failed.
    bin: the folder that it is in, while it is binned or being deleted. binned_at, purge_after,
    updated: UTC without a zone. token: of the lease under which the state was written last.
    moves: how often it was written.
    """

    unit_id: int
    run_id: int
    content_id: str
    number: int
    name: str
    course: Course
    kind: Kind
    volume: str
    root: bytes
    subject: str | None
    state: State
    reason: str | None
    tries: int
    entries: int
    files: int
    size_bytes: int
    bin: bytes | None
    binned_at: datetime | None
    purge_after: datetime | None
    updated: datetime
    token: int
    moves: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """
    A unit's copy at a target.

    key: of its manifest there. manifest_sha256, manifest_bytes: of that object.
    verified_at: UTC without a zone, None until then. verified_how: the policy's `verify`.
    lost_at: since when it is known not to be whole; such a copy is not verified.
    """

    target: str
    key: str
    manifest_sha256: str
    manifest_bytes: int
    copied_at: datetime
    verified_at: datetime | None
    verified_how: str | None
    lost_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Actor:
    """Who does something: user@host, and the SHA-256 of the configuration it is done with."""

    who: str
    config_sha256: str


@dataclass(frozen=True, slots=True)
class RunNow:
    """
    What the ledger knows of a run. Times are UTC without a zone.

    file: where its run file was when it was registered last.
    started: when somebody first applied it. ended: when all of its units had come to an end.
    """

    run_id: int
    content_id: str
    file: Path
    system: str
    name: str
    selector: str
    cut_off: date | None
    planned_at: datetime
    planned_by: str
    expires: datetime
    policy: Policy
    approved_at: datetime | None
    approved_by: str | None
    started: datetime | None
    ended: datetime | None


class Binned(NamedTuple):
    """In which folder a unit is, since when, and after when it may be deleted."""

    folder: bytes
    at: datetime
    purge_after: datetime


class Archived(NamedTuple):
    """A directory that is in the bin or deleted, and when it was put there."""

    root: bytes
    binned_at: datetime


@dataclass(frozen=True, slots=True)
class Audit:
    """What was done to a run or a unit, when, by whom (user@host) and with which configuration."""

    audit_id: int
    at: datetime
    act: Act
    run_id: int | None
    unit_id: int | None
    who: str
    config_sha256: str
    detail: str
