"""
Whatever users, the archiver, and chance do after one another: no byte of a user's is lost.

Histories are made up by hypothesis: users write, change, rename, link, swap and delete; the
archiver plans, applies, purges, restores and checks, and is killed at any moment of that; objects
are lost; the database is lost and recovered. What must be readable is told by a model that knows
nothing of the archiver: see `readable`.

    LURGE_LONG=1 LURGE_SEED=1 pytest -s tests/lurge/archiver/test_histories.py

LURGE_LONG=1: 2,000 histories instead of those of a minute or so, other ones each time;
LURGE_HISTORIES: as many. A tenth as many are made on a server. LURGE_SEED: makes them the same
again; it is printed. LURGE_STEPS: how many acts a history has at most. LURGE_SHRINK=0: a history
that fails is not made shorter.
"""

import itertools
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import hypothesis
import hypothesis.strategies as st
import pytest
import readable
import sqlalchemy as sql
from archiving import Yard
from crashes import Death, lives
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from readable import Seen
from servers.databases import Connect, Place, Tables, on_mariadb
from sqlalchemy.engine import Connection

from db import leases, ledger
from db.database import Database
from db.schema import archive_audit, archive_copy, archive_run, archive_unit, lease
from lurge.archiver import applying, checking, emptying, planning, recovering, restoring
from lurge.archiver.applying import RunRefused
from lurge.archiver.guards import NAMES as GUARDS
from lurge.archiver.guards import GuardTripped
from lurge.archiver.planning import PlanFailed, Wanted
from lurge.archiver.remade import RestoreRefused
from lurge.archiver.restoring import Restored
from lurge.archiver.works import Works
from lurge_types.archive import OPEN, REMOVED, Course, Proposal, Run, UnitNow
from lurge_types.targets import Target, TargetTrouble
from utils import runfiles

LONG = os.environ.get("LURGE_LONG") == "1"
HISTORIES = int(os.environ.get("LURGE_HISTORIES", "2000" if LONG else "70"))
STEPS = int(os.environ.get("LURGE_STEPS", "20"))
SHRINK = os.environ.get("LURGE_SHRINK", "1") == "1"
SEED = int(os.environ.get("LURGE_SEED", secrets.randbelow(1 << 32) if LONG else 1))
MEMORY = Path("/dev/shm")

IN_BIN = frozenset({"binned", "deleting"})
LARGE = (5 << 20) + 1
"""More than the smallest segment."""

TABLES = (archive_audit, archive_copy, archive_unit, archive_run, lease)

REFUSED = (GuardTripped, RunRefused, PlanFailed, RestoreRefused)
"""What an act may end with: it was not done."""

FEW = st.integers(0, 7)
"""Which of several, in their order."""

NAMES = st.sampled_from([b"a", b"b", b"c d", b"caf\xe9\n"])
WAYS = st.lists(NAMES, min_size=1, max_size=3).map(b"/".join)


@dataclass(frozen=True)
class Broken:
    """An act in this process that is broken off, or a target that fails, at the nth call."""

    how: str
    nth: int


CALLS = ("openat", "renameat2", "rename", "unlink", "unlinkat", "mkdir", "fsync", "pwrite64")
NOTHING = st.none()
MOMENTS = st.builds(Death, st.just("moment"), st.integers(1, 160), st.just(""))
KILLS = st.builds(
    Death, st.sampled_from(["before", "after"]), st.integers(1, 12), st.sampled_from(CALLS)
)
BREAKS = st.builds(Broken, st.sampled_from(["interrupt", "trouble"]), st.integers(1, 40))
MISHAPS: st.SearchStrategy[Death | Broken | None] = st.sampled_from(
    [NOTHING] * 4 + [MOMENTS] * 5 + [BREAKS] * 2 + [KILLS]
).flatmap(lambda which: which)
"""strace takes as long as ten acts: it is asked for few."""


class Breaking:
    """A target, or who looks on, of which the nth call in all fails."""

    def __init__(self, one: Any, count: list[int], error: Callable[[], BaseException]) -> None:
        self._one, self._count, self._error = one, count, error

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._one, name)
        if not callable(found):
            return found

        def called(*arguments: Any, **named: Any) -> Any:
            self._count[0] -= 1
            if self._count[0] == 0:
                raise self._error()
            return found(*arguments, **named)

        return called


class History(RuleBasedStateMachine):
    """
    A volume with users and an archiver.

    database: opens it for a process that is forked.
    homes: of each digest of what users have written and not destroyed, the paths at which they
    have it, whether it is there or archived. files, runs: of all plans, those whose files are
    there. torn: units that something was broken off with. spoiled: those of which not all was in
    the bin as it was put there.
    """

    def __init__(self, folder: Path, yards: Database, database: Callable[[], Database]) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="history-", dir=folder))
        self.outside = self.folder / "outside"
        self.outside.mkdir()
        self.yards = yards
        self.database = database
        self.homes: dict[str, set[bytes]] = {}
        self.seen: dict[bytes, Seen] = {}
        self.files: list[Path] = []
        self.runs: list[Run] = []
        self.trees: dict[str, dict[bytes, Seen]] = {}
        self.torn: set[str] = set()
        self.purged: set[str] = set()
        self.spoiled: set[str] = set()
        self.held: Any = None
        self.written = 0
        self.sound = False

    # How it begins and ends.

    @initialize(
        copies=st.sampled_from([1, 2]),
        layout=st.sampled_from(["tree", "packs"]),
        keep=st.sampled_from([30, 30, 0]),
        tombstone=st.booleans(),
        verify=st.sampled_from(["read-back", "digest"]),
    )
    def begin(self, copies: int, layout: str, keep: int, tombstone: bool, verify: str) -> None:
        self.targets = [self.folder / "target", self.folder / "other"][:copies]
        for target in self.targets:
            target.mkdir()
        self.yard = Yard(
            self.folder,
            self.yards,
            target=[f"file://{target}" for target in self.targets],
            copies=copies,
            layout=layout,
            keep_in_bin=keep,
            tombstone=tombstone,
            verify=verify,
            workers=1,
            segment_size=5 << 20,
        )
        self.mount = bytes(self.yard.mount)
        self.bin = self.mount + b"/" + readable.BIN
        for way in (b"a/a", b"a/b", b"b/a/a"):
            self._write(self.mount + b"/" + way, 10)
        self.seen = readable.tree(self.mount)

    def teardown(self) -> None:
        try:
            if self.held:
                self.held.close()
            if self.sound:
                self._converge()
                self._bring_back()
        finally:
            shutil.rmtree(self.folder)

    # What users do.

    @rule(way=WAYS, size=st.sampled_from([10] * 12 + [3000, 1 << 20, LARGE]))
    def write(self, way: bytes, size: int) -> None:
        path = self.mount + b"/" + way
        if self._is_free(path):
            self._write(path, size)

    def _write(self, path: bytes, size: int) -> None:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            file.write(self._new(size))
        self.homes.setdefault(readable.digest(path), set()).add(path)

    def _new(self, size: int) -> bytes:
        """Bytes that nobody has written before."""
        self.written += 1
        return (b"%08d" % self.written).ljust(size, b".")

    def _is_free(self, path: bytes) -> bool:
        """Whether a user can make something there; words of the archiver's are removed."""
        way = path
        while len(way) > len(self.mount):
            if os.path.lexists(way) and readable.is_tombstone(way):
                os.unlink(way)
            if way in self.seen and (way == path or self.seen[way].kind != "d"):
                return False
            way = os.path.dirname(way)
        return True

    @rule(
        which=FEW,
        how=st.sampled_from(["append", "overwrite", "overwrite", "truncate", "replace", "touch"]),
    )
    def change(self, which: int, how: str) -> None:
        if not (path := self._some(which, "f")):
            return
        before = os.stat(path)
        if how == "truncate" and not before.st_size:
            return  # which may leave its times as they are
        while True:
            self._changed(path, how, before)
            if os.stat(path).st_ctime_ns != before.st_ctime_ns:
                break  # the filesystem's clock has gone on
        self._rehome(path, before)

    def _changed(self, path: bytes, how: str, before: os.stat_result) -> None:
        match how:
            case "append":
                with open(path, "ab") as file:
                    file.write(self._new(10))
            case "overwrite":
                with open(path, "r+b") as file:
                    file.write(self._new(min(10, before.st_size)))
                os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
            case "truncate":
                os.truncate(path, 0)
            case "replace":
                with open(path + b"~", "xb") as file:
                    file.write(self._new(10))
                os.rename(path + b"~", path)
            case "touch":
                os.utime(path)

    def _rehome(self, path: bytes, before: os.stat_result) -> None:
        """Of all names of an inode that was changed, or of the only one that was replaced."""
        replaced = os.stat(path).st_ino != before.st_ino
        old = self.seen[path]
        new = readable.digest(path)
        for name, seen in self.seen.items():
            if name == path or (not replaced and seen.identity == old.identity):
                self._forget(seen.what, name)
                self._know(new, name)

    def _know(self, digest: str, path: bytes) -> None:
        self.homes.setdefault(digest, set()).add(path)

    def _forget(self, digest: str, path: bytes) -> None:
        self.homes.get(digest, set()).discard(path)

    @rule(which=FEW, kind=st.sampled_from("fddd"), way=WAYS)
    def rename(self, which: int, kind: str, way: bytes) -> None:
        old, new = self._some(which, kind), self.mount + b"/" + way
        if not old or not self._is_free(new) or new.startswith(old + b"/"):
            return
        if os.path.dirname(new) == self.mount or os.path.dirname(new) in self.seen:
            self._move(old, new)

    def _move(self, old: bytes, new: bytes) -> None:
        os.rename(old, new)
        for path, seen in self.seen.items():
            if seen.kind == "f" and (path + b"/").startswith(old + b"/"):
                self._forget(seen.what, path)
                self._know(seen.what, new + path[len(old) :])

    @rule(which=FEW, way=WAYS, outside=st.booleans())
    def link(self, which: int, way: bytes, outside: bool) -> None:
        if not (path := self._some(which, "f")):
            return
        for other in self.outside.iterdir():
            other.unlink()
        if outside:
            self.written += 1
            os.link(path, bytes(self.outside) + b"/%d" % self.written)
            return
        new = self.mount + b"/" + way
        if self._is_free(new):
            os.makedirs(os.path.dirname(new), exist_ok=True)
            os.link(path, new)
            self._know(self.seen[path].what, new)

    @rule(which=FEW, kind=st.sampled_from("fd"))
    def swap(self, which: int, kind: str) -> None:
        """Put a link in the place of something."""
        if path := self._some(which, kind):
            self.written += 1
            moved = self.mount + b"/moved%d" % self.written
            self._move(path, moved)
            os.symlink(moved, path)

    @rule(which=FEW, kind=st.sampled_from("ffdl"))
    def delete(self, which: int, kind: str) -> None:
        if not (path := self._some(which, kind)):
            return
        if kind == "d":
            shutil.rmtree(path)
        else:
            os.unlink(path)
        for each, seen in self.seen.items():
            if (each + b"/").startswith(path + b"/"):
                self._forget(seen.what, each)

    @rule(which=FEW)
    def hold(self, which: int) -> None:
        """A program of a user's keeps a file open."""
        if path := self._some(which, "f"):
            if self.held:
                self.held.close()
            self.held = open(path, "r+b", buffering=0)  # noqa: SIM115

    @precondition(lambda self: self.held is not None)
    @rule()
    def write_through(self) -> None:
        """It writes on, wherever the file may be by now."""
        status = os.fstat(self.held.fileno())
        binned = readable.in_bin(self.bin)
        self.held.seek(0)
        old = readable.hashed(self.held.read())
        while os.fstat(self.held.fileno()).st_ctime_ns == status.st_ctime_ns:
            self.held.seek(0)
            self.held.write(self._new(10))
        self.held.seek(0)
        new = readable.hashed(self.held.read())
        after = readable.in_bin(self.bin)
        self.spoiled |= {name for name in after if after[name] != binned[name]}
        identity = status.st_dev, status.st_ino
        names = {path for path, seen in self.seen.items() if seen.identity == identity}
        others = {path for path, seen in self.seen.items() if seen.what == old} - names
        if status.st_nlink:
            for path in self.homes.get(old, set()) - others:
                self._forget(old, path)
                self._know(new, path)

    def _some(self, which: int, kind: str) -> bytes | None:
        """Something in its place, if there is any of a kind."""
        them = [path for path, seen in self.seen.items() if seen.kind == kind]
        return them[which % len(them)] if them else None

    # What the archiver does.

    @rule(
        which=st.lists(FEW, min_size=1, max_size=2, unique=True),
        course=st.sampled_from(["archive"] * 6 + ["discard", "copy"]),
        kind=st.sampled_from(["directory"] * 4 + ["files"]),
        mishap=MISHAPS,
    )
    def plan(
        self, which: Sequence[int], course: Course, kind: str, mishap: Death | Broken | None
    ) -> None:
        self._plan(which, course, kind, mishap)

    def _plan(
        self, which: Sequence[int], course: Course, kind: str, mishap: Death | Broken | None
    ) -> None:
        roots = list(dict.fromkeys(self._some(each, "d") for each in which))
        wanted = [self._proposal(root, kind) for root in roots if root]
        before = self.seen

        def act(works: Works) -> None:
            planning.plan(works, Wanted("paths", "", None, course, wanted), reuse=False)

        self._act(act, mishap)
        new = set(self.folder.glob(f"runs/*{runfiles.SUFFIX}")) - set(self.files)
        self.files += sorted(new)
        self.runs += map(runfiles.read, sorted(new))
        self._see_same(before)

    def _proposal(self, root: bytes, kind: str) -> Proposal:
        if kind == "directory":
            return Proposal(root, "directory")
        below = [
            p[len(root) + 1 :]
            for p, s in self.seen.items()
            if p.startswith(root + b"/") and s.kind != "d"
        ]
        members = sorted(below, key=lambda path: path.split(b"/"))[::2]
        return Proposal(root, "files", tuple(members))

    @precondition(lambda self: self.files)
    @rule(which=FEW, mishap=MISHAPS, stale=st.sampled_from([True, True, False]))
    def apply(self, which: int, mishap: Death | Broken | None, stale: bool) -> None:
        self._apply(self.files[-1 - which % len(self.files)], mishap, stale=stale)

    @precondition(lambda self: self.seen)
    @rule(
        which=FEW,
        course=st.sampled_from(["archive", "archive", "discard"]),
        kind=st.sampled_from(["directory", "directory", "files"]),
        mishap=MISHAPS,
    )
    def archive(self, which: int, course: Course, kind: str, mishap: Death | Broken | None) -> None:
        """Both at once."""
        known = len(self.files)
        self._plan([which], course, kind, None)
        for file in self.files[known:]:
            self._apply(file, mishap)

    def _apply(self, file: Path, mishap: Death | Broken | None, *, stale: bool = True) -> None:
        run = runfiles.read(file)
        before = self.seen
        discarded = self._discarded()
        allow = set(GUARDS) - (set() if stale else {"stale"})

        def act(works: Works) -> None:
            applying.apply(works, file, run, allow)

        ended = self._act(act, mishap)
        after = self.seen = readable.tree(self.mount)
        units = [unit for unit in self._units() if unit.content_id == run.content_id]
        for path in before.keys() - after.keys():
            over = [unit for unit in units if (path + b"/").startswith(unit.root + b"/")]
            assert over, f"{path!r} has gone"
            if ended:
                assert any(unit.state in REMOVED for unit in over), (path, over)
        self._see_kept(before)
        for path in after.keys() - before.keys():
            seen = after[path]
            assert seen.kind != "f" or path in self.homes.get(seen.what, ()), f"{path!r} is new"
        for unit in units:
            if unit.root in before and unit.root not in after and unit.kind == "directory":
                self.trees[unit.name] = readable.below(before, unit.root)
        self._release(discarded)

    @rule(mishap=MISHAPS)
    def purge(self, mishap: Death | Broken | None) -> None:
        self._purge(mishap)

    def _purge(self, mishap: Death | Broken | None) -> None:
        """When so much time has passed."""
        before = self.seen
        discarded = self._discarded()
        late = sql.update(archive_unit).where(archive_unit.c.state == "binned")
        self.yard.database.transaction(
            lambda connection: connection.execute(late.values(purge_after=leases.LONG_AGO))
        )

        def act(works: Works) -> None:
            list(emptying.purge(works, allow=GUARDS))

        self._act(act, mishap)
        self._see_same(before)
        self._release(discarded)

    def _discarded(self) -> dict[str, set[str]]:
        """By unit, what may be deleted without a copy: where it is now."""
        binned = readable.in_bin(self.bin)
        found: dict[str, set[str]] = {}
        for run in self.runs:
            for unit in run.units if run.policy.course == "discard" else ():
                name = run.unit_name(unit)
                here = {seen.what for seen in readable.below(self.seen, unit.root).values()}
                found[name] = here | set(binned.get(name, {}).values())
        return found

    def _release(self, discarded: dict[str, set[str]]) -> None:
        """What was discarded and purged needs no more be readable."""
        for unit in self._units():
            if unit.state in {"deleting", "deleted"} and unit.name not in self.purged:
                if unit.state == "deleted":
                    self.purged.add(unit.name)
                for digest in discarded.get(unit.name, ()):
                    for path in list(self.homes.get(digest, ())):
                        if path not in self.seen:
                            self._forget(digest, path)

    @rule(
        which=FEW,
        part=st.one_of(st.none(), FEW),
        to=st.sampled_from(["place", "place", "volume", "outside"]),
        overwrite=st.booleans(),
        mishap=MISHAPS,
    )
    def restore(
        self,
        which: int,
        part: int | None,
        to: str,
        overwrite: bool,
        mishap: Death | Broken | None,
    ) -> None:
        units = [unit for unit in self._units() if unit.state in REMOVED]
        if units:
            unit = units[which % len(units)]
            known = sorted(self.trees.get(unit.name, {}))
            inner = known[part % len(known)] if part is not None and known else b""
            self._restore(unit, inner, to, overwrite, mishap)

    def _restore(
        self,
        unit: UnitNow,
        inner: bytes,
        to: str,
        overwrite: bool,
        mishap: Death | Broken | None,
    ) -> list[Restored]:
        before = self.seen
        binned = readable.in_bin(self.bin).get(unit.name, {})
        self.written += 1
        there = {
            "place": None,
            "volume": self._some(self.written % 5, "d"),
            "outside": bytes(self.folder) + b"/back%d" % self.written,
        }[to]
        if to == "outside":
            os.mkdir(there or b"")
        made: list[Restored] = []
        found = [restoring.Found(unit, inner)]

        def act(works: Works) -> None:
            made.extend(restoring.restore(works, found, there, overwrite=overwrite))

        ended = self._act(act, mishap)
        after = self.seen = readable.tree(self.mount)
        if not ended:
            self.torn.add(unit.name)
        path = unit.root + (b"/" + inner if inner else b"")
        goal = path if there is None else there + b"/" + os.path.basename(path)
        gone = before.keys() - after.keys()
        assert not gone, f"{sorted(gone)} have gone"
        self._see_kept(before, goal if overwrite else None)
        for new in after:
            if new not in before or after[new] != before[new]:
                if new in before:
                    self._forget(before[new].what, new)
                if after[new].kind == "f":
                    self._know(after[new].what, new)
        if ended and made:
            self._see_restored(made[0], unit, inner, goal, binned)
            if made[0].failure and not overwrite and unit.kind == "directory":
                self._see_same(before)
        return made

    def _see_restored(
        self, made: Restored, unit: UnitNow, inner: bytes, goal: bytes, binned: dict[bytes, str]
    ) -> None:
        if made.failure:
            return
        if made.how == "bin":
            wanted = binned
        else:
            known = self.trees.get(unit.name, {})
            path = inner.rstrip(b"/")
            wanted = {
                each[len(path) :].lstrip(b"/"): seen.what
                for each, seen in known.items()
                if seen.kind == "f" and (not path or (each + b"/").startswith(path + b"/"))
            }
        for way, digest in wanted.items():
            there = goal + b"/" + way if way else goal
            assert readable.digest(there) == digest, (there, made)

    @rule(read=st.sampled_from([0.0, 100.0]))
    def check(self, read: float) -> None:
        before = self.seen
        found = self._act(
            lambda works: list(checking.check(works, checking.begin("seed"), read)), None
        )
        assert found
        self._see_same(before)

    @rule(which=st.integers(0, 30), at=st.integers(0, 1), cut=st.booleans(), later=st.booleans())
    def lose(self, which: int, at: int, cut: bool, later: bool) -> None:
        """
        An object at a target is lost, or cut short, of which all is readable elsewhere.

        later: so much later that what is in the bin is to be deleted.
        """
        folder = bytes(self.targets[at % len(self.targets)])
        # In the order in which they were made, as their names are never the same again.
        objects = sorted(readable.files(folder), key=lambda file: (os.stat(file).st_ctime_ns, file))
        if not objects:
            return
        path = objects[which % len(objects)]
        kept = bytes(self.folder) + b"/kept"
        os.rename(path, kept)
        if self._lost():
            os.rename(kept, path)
        else:
            os.unlink(kept)
            if cut:
                Path(os.fsdecode(path)).touch()
        if later:
            self.seen = readable.tree(self.mount)
            self.all_is_readable()
            self._purge(None)

    @precondition(lambda self: self.runs)
    @rule(with_=st.sampled_from(["", "", "", "checkpoints", "runs"]), mishap=MISHAPS)
    def lose_database(self, with_: str, mishap: Death | Broken | None) -> None:
        """There is an empty one then, which is told again what is left."""
        before, known = self.seen, self._units()
        empty_tables(self.yard.database)
        if with_ == "checkpoints":
            for file in self.yard.config.archive.checkpoint_files:
                file.unlink(missing_ok=True)
        if with_ == "runs":
            shutil.rmtree(self.folder / "runs", ignore_errors=True)  # it is there with a plan
            self.files = []
        with suppress(TargetTrouble):
            self._act(recover, mishap)
        self._act(recover, None)
        self._see_same(before)
        self._see_recovered(known, with_)

    def _see_recovered(self, known: list[UnitNow], lost: str) -> None:
        """What was archived and is not in its place is known to be so."""
        now = {unit.name: unit.state for unit in self._units()}
        for unit in known:
            if unit.state == "deleting":
                assert now.get(unit.name) in self._deleting(unit, lost), (unit, now)
                if lost == "checkpoints":
                    self.spoiled.add(unit.name)
            elif unit.state in REMOVED and unit.course == "archive" and unit.name not in self.torn:
                assert now.get(unit.name) == unit.state, (unit, now)

    def _deleting(self, unit: UnitNow, lost: str) -> Collection[str]:
        """The states that may be known of a unit that was being deleted."""
        trees = list((Path(os.fsdecode(self.bin)) / unit.name).glob("[0-9]*/*"))
        if not trees:
            return {"deleted"}
        whole = unit.kind == "directory"  # the root is an entry, too
        walked = [each for tree in trees for each in os.walk(tree)]
        there = whole + sum(len(files) + whole * len(folders) for _, folders, files in walked)
        is_told = lost != "checkpoints" and unit.course == "archive" and unit.name not in self.torn
        return {"deleting"} if is_told and there < unit.entries else IN_BIN

    # What must be so.

    def _act(self, act: Callable[[Works], object], mishap: Death | Broken | None) -> bool:
        """Whether it came to its end."""
        try:
            match mishap:
                case Death():
                    return lives(partial(self._forked, act), mishap, self.folder)
                case Broken("interrupt"):
                    act(self._breaking(mishap.nth, KeyboardInterrupt))
                case Broken():
                    act(self._breaking(mishap.nth, lambda: TargetTrouble("trouble"), watch=False))
                case _:
                    act(self._works())
        except REFUSED:
            return False
        except KeyboardInterrupt:
            return False
        return True

    def _forked(self, act: Callable[[Works], object]) -> None:
        database = self.database()
        with suppress(*REFUSED):
            act(self._works(database=database))

    def _works(self, **changes: Any) -> Works:
        facts = {"holder": leases.me(), "pauses": (0.0, 0.0), "full_seconds": 0.0}
        return self.yard.works(**facts | changes)

    def _breaking(
        self, nth: int, error: Callable[[], BaseException], *, watch: bool = True
    ) -> Works:
        count = [nth]
        opened: dict[str, Any] = {}

        def open_(url: str) -> Target:
            return opened.setdefault(url, Breaking(self.yard.open(url), count, error))  # type: ignore[no-any-return]

        looks_on = Breaking(self.yard.told, count, error) if watch else self.yard.told
        return self._works(target=open_, watch=looks_on, pauses=())

    def _units(self) -> list[UnitNow]:
        return self.yard.database.read(lambda connection: list(ledger.each_unit(connection)))

    def _see_same(self, before: dict[bytes, Seen]) -> None:
        """Nothing of the users' is another."""
        self.seen = readable.tree(self.mount)
        assert self.seen.keys() == before.keys()
        self._see_kept(before)

    def _see_kept(self, before: dict[bytes, Seen], overwritten: bytes | None = None) -> None:
        """What is still there is the same, but what was to be overwritten."""
        for path, seen in before.items():
            if overwritten and (path + b"/").startswith(overwritten + b"/"):
                continue
            now = self.seen.get(path)
            if now is not None and seen.kind == "d":
                assert now.kind == "d", path
            elif now is not None:
                assert now._replace(links=0) == seen._replace(links=0), path

    def _lost(self) -> dict[str, set[bytes]]:
        """What is not readable anywhere, and should be."""
        place = readable.tree(self.mount)
        there = {
            digest
            for digest, homes in self.homes.items()
            if any(path in place and place[path].what == digest for path in homes)
        }
        for unit in readable.in_bin(self.bin).values():
            there.update(unit.values())
        for target in self.targets:
            there |= readable.at_target(bytes(target))
        return {
            digest: homes
            for digest, homes in self.homes.items()
            if homes and digest != readable.EMPTY and digest not in there
        }

    @invariant()
    def all_is_readable(self) -> None:
        self.sound = False
        if not hasattr(self, "mount"):
            return
        self.seen = readable.tree(self.mount)
        lost = self._lost()
        assert not lost, f"{lost} is not readable"
        self._see_ledger()
        self.sound = True

    def _see_ledger(self) -> None:
        """The ledger says of each unit that has come to an end where it is."""
        for unit in self._units():
            trees = list(Path(os.fsdecode(self.bin)).glob(f"{unit.name}/*/tree"))
            assert len(trees) <= 1, trees
            if unit.state not in {"binned", "deleting"}:
                self.torn.discard(unit.name)
            if unit.state == "binned" and unit.name not in self.torn:
                # Of a purge that was killed it may be in that one's own folder there.
                (tree,), noted = trees, Path(os.fsdecode(unit.bin or b""))
                assert tree.parent.parent == noted.parent, unit
                assert int(tree.parent.name) >= int(noted.name), unit
            if unit.state in {"deleted", "restored", "dirty"}:
                # What was written to in the bin stays there, and its copy is restored. Of files an
                # empty folder stays where somebody was killed.
                filled = [
                    tree for tree in trees if any(not each.is_dir() for each in tree.rglob("*"))
                ]
                assert not filled or (unit.state == "restored" and unit.name in self.spoiled)

    # In the end.

    def _converge(self) -> None:
        """All runs come to an end, and then nothing more happens."""
        for _ in range(2):
            for file in self.files:
                self._apply(file, None)
            if not self._under_way():
                break
        self.all_is_readable()
        assert not self._under_way()
        before = self._everything()
        for file in self.files:
            self._apply(file, None)
        assert self._everything() == before

    def _under_way(self) -> list[UnitNow]:
        return [unit for unit in self._units() if unit.state in OPEN[unit.course]]

    def _everything(self) -> object:
        units = [(unit.name, unit.state, unit.moves) for unit in self._units()]
        there = {
            path: readable.look(path)
            for folder in (self.mount, *map(bytes, self.targets))
            for path in readable.files(folder)
        }
        return units, there

    def _bring_back(self) -> None:
        """What is archived comes back by the archiver itself."""
        discarded = self._discarded()
        self._act(lambda works: list(emptying.purge(works, allow=GUARDS)), None)
        self._release(discarded)
        back = set()
        for unit in self._units():
            if unit.course == "discard" and unit.state != "binned":
                continue
            if unit.state in REMOVED:
                self._make_room(unit)
                to = "place" if unit.state == "binned" else "outside"
                (made,) = self._restore(unit, b"", to, overwrite=False, mishap=None)
                if made.failure is not None:
                    assert self._is_harmed(unit), made
                    self._restore_parts(unit)
        self.all_is_readable()
        for path in readable.files(bytes(self.folder)):
            if b"/back" in path:
                back.add(readable.digest(path))
        place = {seen.what for seen in self.seen.values()}
        binned = {
            digest for found in readable.in_bin(self.bin).values() for digest in found.values()
        }
        for digest, homes in self.homes.items():
            assert not homes or digest in {readable.EMPTY} | back | place | binned, homes

    def _is_harmed(self, unit: UnitNow) -> bool:
        """Whether it cannot come back as a whole, by what was done to it behind our back."""
        if unit.state == "binned" and unit.name not in self.spoiled:
            return False
        copies = [copy for one in self.targets for copy in readable.copies(bytes(one), unit.name)]
        return not any(all(copy.values()) for copy in copies)

    def _restore_parts(self, unit: UnitNow) -> None:
        """Bring back those of its files whose objects are there."""
        for target in self.targets:
            for copy in readable.copies(bytes(target), unit.name):
                for inner in (path for path, digest in copy.items() if digest):
                    self._restore(unit, inner, "outside", overwrite=False, mishap=None)

    def _make_room(self, unit: UnitNow) -> None:
        """A user moves away what is in the way of a unit in the bin, and makes what is above it."""
        if unit.state != "binned":
            return
        self._make_folder(os.path.dirname(unit.root))
        if os.path.lexists(unit.root) and readable.is_tombstone(unit.root, but=unit.name):
            os.unlink(unit.root)  # of another that was there
        if unit.kind == "directory":
            self._move_away(unit.root)
            return
        self._make_folder(unit.root)
        for inner in self._members(unit):
            self._make_folder(os.path.dirname(unit.root + b"/" + inner))
            self._move_away(unit.root + b"/" + inner)

    def _members(self, unit: UnitNow) -> Iterator[bytes]:
        """Of files that are in the bin."""
        tree = (unit.bin or b"") + b"/tree"
        for above, folders, names in os.walk(tree):
            paths = [above + b"/" + name for name in (*folders, *names)]
            yield from (path[len(tree) + 1 :] for path in paths if readable.look(path).kind != "d")

    def _make_folder(self, path: bytes) -> None:
        names = path[len(self.mount) + 1 :].split(b"/") if path != self.mount else []
        for depth in range(1, len(names) + 1):
            way = self.mount + b"/" + b"/".join(names[:depth])
            if way not in self.seen:
                if os.path.lexists(way):
                    os.unlink(way)  # a word of the archiver's
                os.mkdir(way)
            elif self.seen[way].kind != "d":
                self._move_away(way)
                os.mkdir(way)
            self.seen = readable.tree(self.mount)

    def _move_away(self, path: bytes) -> None:
        if path in self.seen:
            self.written += 1
            self._move(path, self.mount + b"/moved%d" % self.written)
            self.seen = readable.tree(self.mount)


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that is fast, if there is one."""
    folder = Path(tempfile.mkdtemp(dir=MEMORY if MEMORY.is_dir() else tmp_path))
    yield folder
    shutil.rmtree(folder)


def recover(works: Works) -> None:
    """Targets that are empty are believed."""
    list(recovering.recover(works, {"target"}))


def empty_tables(database: Database) -> None:
    """As in a database that was only just made."""

    def empty(connection: Connection) -> None:
        for table in TABLES:
            connection.execute(sql.delete(table))

    database.transaction(empty)


def run_histories(machine: Callable[[], History], count: int) -> None:
    print(f"LURGE_HISTORIES={count} LURGE_SEED={SEED} LURGE_STEPS={STEPS}")
    settings = hypothesis.settings(
        max_examples=count,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=True,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if SHRINK else [Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    done = itertools.count(1)

    def next_one() -> History:
        if (number := next(done)) % 100 == 0:
            print(f"{number} begun", flush=True)
        return machine()

    run_state_machine_as_test(
        hypothesis.seed(SEED)(next_one),  # type: ignore[arg-type]  # makes them, as a class does
        settings=settings,
    )


def test_whatever_happens_no_byte_is_lost(fast: Path, tables: Tables) -> None:
    file = fast / "lurge.db"
    # It opens the file anew for each transaction, and keeps what it knows of statements.
    database = Database(f"sqlite:///{file}")

    def machine() -> History:
        for left in fast.glob("lurge.db*"):
            left.unlink()
        shutil.copyfile(tables.file, file)
        return History(fast, database, lambda: database)

    run_histories(machine, HISTORIES)


@on_mariadb
def test_with_a_server_no_byte_is_lost_either(
    fast: Path, place: Place, database: Database, connect: Connect
) -> None:
    def machine() -> History:
        empty_tables(database)
        return History(fast, database, lambda: connect(place.table))

    run_histories(machine, max(HISTORIES // 10, 1))
