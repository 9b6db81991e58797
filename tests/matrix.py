"""
The matrix: a unit's way, and what happens to it at each of its steps.

A case is one course (`COURSES`), disturbed once, at one moment. Then, whatever it was:

1. no byte is without a readable and findable copy (`archive_oracle.homeless`);
2. the next run comes to the same end as one that nothing has happened to;
3. a third run does nothing.

What was left over on the way is counted: it is no harm, but it takes room.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import archive_oracle as oracle
from archive_oracle import FolderShelf, Shelf, Unit
from servers.moments import READING, Moment, Tamper

TESTS = Path(__file__).parent
EVERY = bool(os.environ.get("LURGE_EVERY_MOMENT"))
"""Every call, where otherwise the first and the last of each name, step and area count."""

ANSWERS_SECONDS = 120
SEGMENT_BYTES = 5 << 20
LARGE_BYTES = 11 << 20
MEMBERS = (b"a", b"deep/er/b", b"deep/er/caf\xe9\n", b"deep/other name", b"link")


class Outcome(NamedTuple):
    """What a worker tells of what became of a deed."""

    status: int
    became: Any
    raised: str | None
    events: list[str]
    waits: list[str]
    moments: list[Moment]
    hit: list[str]


class Crew:
    """A process that does deeds in forks of itself."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def do(
        self,
        folder: Path,
        deed: str,
        areas: Mapping[str, str] | None = None,
        tamper: Tamper | None = None,
    ) -> Outcome:
        """Do a deed; what became of it."""
        self.begin(folder, deed, areas, tamper)
        told = self._hear()
        assert "held" not in told, told
        return self._outcome(told)

    def begin(
        self,
        folder: Path,
        deed: str,
        areas: Mapping[str, str] | None = None,
        tamper: Tamper | None = None,
    ) -> None:
        """Let a deed begin, of which `held` or `end` hear."""
        wanted = tamper and {"moment": tamper.moment, "what": tamper.what, "times": tamper.times}
        self._say({"folder": str(folder), "deed": deed, "areas": areas, "tamper": wanted})

    def held(self) -> None:
        """Wait until all of it is held."""
        told = self._hear()
        assert told == {"held": True}, told

    def go_on(self, go_on: bool = True) -> None:
        """Let what is held go on, or end where it is."""
        self._say({"go_on": go_on})

    def end(self) -> Outcome:
        """Wait for its end."""
        return self._outcome(self._hear())

    @staticmethod
    def _outcome(told: dict[str, Any]) -> Outcome:
        said = json.loads(told["said"]) if told["said"] else {}
        return Outcome(
            told["status"],
            said.get("became"),
            said.get("raised"),
            said.get("events", []),
            said.get("waits", []),
            [Moment(*moment) for moment in told["moments"]],
            told["hit"],
        )

    def kill(self) -> None:
        """Kill what it is doing, wherever that is; `end` hears of it."""
        of = self._process.pid
        for child in Path(f"/proc/{of}/task/{of}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)

    def _say(self, what: object) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{json.dumps(what)}\n")
        self._process.stdin.flush()

    def _hear(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the worker has ended"
        heard: dict[str, Any] = json.loads(line)
        return heard


@contextmanager
def crew() -> Iterator[Crew]:
    """A crew until its context ends."""
    command = [sys.executable, "-m", "archive_worker"]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=TESTS.parent,
        env={**os.environ, "PYTHONPATH": f"{TESTS}{os.pathsep}{TESTS.parent}"},
    ) as process:
        try:
            yield Crew(process)
        finally:
            process.kill()


@dataclass(frozen=True)
class Course:
    """
    What is disturbed.

    before: deeds that are done in peace before. deed: the one that is disturbed. then: deeds after
    it that bring what it has begun to its end. ends: the state of its unit then. archive: how the
    archiver is configured. gone: whether its bytes may be nowhere in the end. steps: those that are
    unlike the same ones of other courses; None for all.
    """

    name: str
    deed: str
    ends: str
    before: tuple[str, ...] = ("plan",)
    then: tuple[str, ...] = ()
    archive: Mapping[str, Any] = field(default_factory=dict)
    kind: str = "directory"
    course: str = "archive"
    large: bool = False
    copies: int = 1
    gone: bool = False
    steps: frozenset[str] | None = None


NOW = {"keep_in_bin": 0}
PACKS = {"layout": "packs", "segment_size": SEGMENT_BYTES}
PARTS = {"segment_size": SEGMENT_BYTES}

AGED = ("plan", "apply", "age")
SENDING = frozenset({"claimed", "copied"})
REMOVING = frozenset({"verified", "binned", "deleting", "deleted"})

COURSES = (
    Course("plan", "plan", "deleted", before=(), then=("apply",), archive=NOW),
    Course("archive", "apply", "deleted", archive=NOW),
    Course("packs", "apply", "deleted", archive=NOW | PACKS, steps=SENDING),
    Course("large file", "apply", "deleted", archive=NOW | PARTS, large=True, steps=SENDING),
    Course("files", "apply", "deleted", archive=NOW, kind="files", steps=REMOVING),
    Course("two targets", "apply", "deleted", archive=NOW, copies=2, steps=SENDING),
    Course("tombstone", "apply", "binned", archive={"tombstone": True}, steps=REMOVING),
    Course("purge", "purge", "deleted", AGED),
    Course("purge of files", "purge", "deleted", AGED, kind="files", steps=REMOVING - {"binned"}),
    Course("discard", "apply", "binned", course="discard"),
    Course("purge of what was discarded", "purge", "deleted", AGED, course="discard", gone=True),
    Course("restore from the bin", "restore", "restored", ("plan", "apply"), ("purge",)),
    Course(
        "restore of files from the bin",
        "restore",
        "restored",
        ("plan", "apply"),
        ("purge",),
        kind="files",
    ),
    Course(
        "restore from a copy",
        "restore",
        "restored",
        ("plan", "apply"),
        archive=NOW | PARTS,
        large=True,
    ),
    Course(
        "restore of files from a copy",
        "restore",
        "restored",
        ("plan", "apply"),
        archive=NOW,
        kind="files",
    ),
    Course("restore from packs", "restore", "restored", ("plan", "apply"), archive=NOW | PACKS),
)


def make(root: Path, large: bool) -> None:
    """A directory with what a unit may have, and names that are bytes."""
    (root / "deep" / "er").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "a").write_bytes(b"some bytes")
    (root / "deep" / "er" / "b").write_bytes(b"0123456789abcdef" * 100_000)
    (root / "deep" / "er" / "caf\udce9\n").write_bytes(b"a name of bytes")
    (root / "none").touch()
    (root / "link").symlink_to("deep/er/b")
    os.link(root / "a", root / "deep" / "other name")
    (root / "a").chmod(0o640)
    if large:
        with (root / "large").open("wb") as file:
            for number in range(LARGE_BYTES // 1024):
                file.write(b"%1024d" % number)
    for number, path in enumerate(sorted(root.rglob("*"), reverse=True)):
        if not path.is_symlink():
            os.utime(path, ns=(10**18 + number, 10**18 + 2 * number))


class Site:
    """A course in a folder, ready to be disturbed."""

    def __init__(self, folder: Path, course: Course, crew_: Crew, template: Path) -> None:
        self.folder = folder
        self.course = course
        self.crew = crew_
        self.root = folder / "s1" / "alpha"
        self.bin = folder / "s1" / oracle.BIN
        self.database = folder / "lurge.db"
        folder.mkdir()
        shutil.copyfile(template, self.database)
        make(self.root, course.large)
        make(folder / "s1" / "beta", large=False)
        self._configure()
        before = oracle.tree(self.root)
        members = MEMBERS if course.kind == "files" else before
        self.unit = Unit(self.root, before, frozenset(members))
        self.neighbour = oracle.tree(folder / "s1" / "beta")
        for deed in course.before:
            done = crew_.do(folder, deed)
            assert (done.status, done.raised) == (0, None), done
        self.gone = tuple(oracle.tree(self.root)) == ()

    def _configure(self) -> None:
        folders = ("target", "other")[: self.course.copies]
        members = MEMBERS if self.course.kind == "files" else ()
        archive = {
            "target": [f"file://{self.folder}/{name}" for name in folders],
            "copies": len(folders),
            "workers": 1,  # so that a call has the same number each time
            **self.course.archive,
        }
        for name in folders:
            (self.folder / name).mkdir()
        self.shelves: Sequence[Shelf] = (
            [FolderShelf(self.folder / name) for name in folders]
            if self.course.course == "archive"
            else []
        )
        site = {
            "url": f"sqlite:///{self.database}",
            "retry_seconds": 2,
            "archive": archive,
            "course": self.course.course,
            "units": [
                {
                    "root": str(self.root),
                    "kind": self.course.kind,
                    "members": [
                        member.decode("latin-1").encode("unicode_escape").decode()
                        for member in members
                    ],
                }
            ],
        }
        (self.folder / "yard.json").write_text(json.dumps(site))

    @property
    def areas(self) -> dict[str, str]:
        """Where a call is; the bin lies in the volume."""
        folder = str(self.folder)
        return {
            "bin": f"{folder}/s1/.lurge-bin",
            "neighbour": f"{folder}/s1/beta",
            "source": f"{folder}/s1",
            "target": f"{folder}/target",
            "second target": f"{folder}/other",
            "run folder": f"{folder}/runs",
            "database": str(self.database),
        }

    def disturbed(self, tamper: Tamper | None) -> Outcome:
        """Do what the course is about, with something happening to it."""
        return self.crew.do(self.folder, self.course.deed, self.areas, tamper)

    def check(self) -> None:
        """See that nothing is lost, and that the neighbour is as it was."""
        assert oracle.tree(self.folder / "s1" / "beta") == self.neighbour
        if not (self.course.gone and {"deleting", "deleted"} & set(self.states())):
            assert self.homeless() == []
        if self.course.deed == "restore" and self.gone:
            self.check_restored()

    def check_restored(self) -> None:
        """What comes from a copy is there as a whole, or not at all."""
        there = oracle.tree(self.root)
        if there:
            assert there == self.unit.before
        assert len(self.broken()) == 0

    def homeless(self) -> list[str]:
        """What can be found nowhere."""
        return oracle.homeless(self.unit, self.bin, self.shelves, self._is_ours)

    def broken(self) -> list[str]:
        """What manifests tell and is not so."""
        return [each for shelf in self.shelves for each in oracle.copied(shelf, self.root).broken]

    def states(self) -> list[str]:
        """Of the units in the ledger."""
        return oracle.states(self.database)

    def _is_ours(self, unit: str) -> bool:
        """Whether a run file names it: twelve digits of the run's content, and a number."""
        runs = (json.loads(file.read_bytes()) for file in self.folder.glob("runs/*_run_file.json"))
        return any(unit == f"{run['content_id'][:12]}-000001" for run in runs)

    def converge(self) -> None:
        """Run again: it comes to the end that it would have come to."""
        course = self.course
        for deed in (course.deed, *course.then):
            if deed == "plan" and list(self.folder.glob("runs/*_run_file.json")):
                continue  # one that is there is taken again
            done = self.crew.do(self.folder, deed)
            assert (done.status, done.raised) == (0, None), done
        self.check()
        self.check_end()

    def check_end(self) -> None:
        """See that all is as in the end of an undisturbed run."""
        course = self.course
        states = self.states()
        assert states[-1:] == [course.ends], states
        assert set(states) == {course.ends}, states
        there = oracle.tree(self.root)
        if course.ends == "restored":
            assert {
                path: fact for path, fact in there.items() if path in self.unit.members
            } == dict(self.unit.wanted())
        elif course.kind == "directory" and not course.archive.get("tombstone"):
            assert not there
        else:
            assert not self.unit.members & there.keys() - {b""}
        if course.ends == "binned":
            (only,) = [each for each in oracle.binned(self.bin) if each.tree]
            assert only.origin is not None
            assert oracle.raw(only.origin["root"]) == os.fsencode(self.root)
        else:
            assert list(self.bin.iterdir() if self.bin.exists() else ()) == []
        for shelf in self.shelves:
            there_ = oracle.copied(shelf, self.root)
            assert there_.broken == []
            assert there_.whole.keys() == self.unit.members
            assert all(
                there_.whole[path].content == fact.content for path, fact in self.unit.wanted()
            )

    def idle(self) -> None:
        """Run a third time: nothing changes."""
        before = self.everything()
        for deed in (self.course.deed, *self.course.then):
            if deed != "plan":  # which is another run
                done = self.crew.do(self.folder, deed)
                assert (done.status, done.raised) == (0, None), done
        assert self.everything() == before

    def everything(self) -> tuple[object, ...]:
        folders = [
            name for name in ("s1", "target", "other", "runs") if (self.folder / name).exists()
        ]
        listed = [oracle.listing(self.folder / name) for name in folders]
        return (oracle.ledger(self.database), *listed)

    def volume(self) -> object:
        """The ledger, and the volume but for the times of the bin, which are nobody's."""
        return oracle.ledger(self.database), {
            path: facts
            for path, facts in oracle.listing(self.folder / "s1").items()
            if path != oracle.BIN
        }

    def left_over(self) -> Counter[str]:
        """What is of no use to anybody in the end, by what it is."""
        left: Counter[str] = Counter()
        for shelf in self.shelves:
            named = oracle.copied(shelf, self.root).named
            for key in shelf.sizes():
                if key.endswith(".part\u2026"):
                    left["target: what was being written"] += 1
                elif key not in named:
                    left["target: an object that no manifest names"] += 1
        for path in self.folder.glob("runs/**/.*"):
            left["run folder: what was being written"] += path.is_file() or path.name.startswith(
                ".planning"
            )
        for path in self.folder.glob("s1/**/.lurge-*"):
            left["volume: what was being made"] += path.name != oracle.BIN
        return +left


KILLED = {"before": "killed before a call", "after": "killed after it"}
COMMITS = frozenset({"fdatasync", "unlink"})
"""What SQLite does in the end of a transaction."""


def changes(course: Course, outcome: Outcome, what: str) -> list[Moment]:
    """
    The calls of an undisturbed run that change anything, at which it is killed: of each call in an
    area and during a step the first before, and the last after; or every one both times.
    """
    found = [
        moment
        for moment in outcome.moments
        if moment.step
        and (course.steps is None or moment.step in course.steps)
        and moment.call not in READING | {"open"}
        and (EVERY or moment.area != "database" or _commits(course, moment))
    ]
    assert found
    assert all(moment.area != "neighbour" for moment in found)
    return chosen(found, last=what == "after")


def _commits(course: Course, moment: Moment) -> bool:
    """SQLite writes the same way whatever it is about: its commits are enough, of three courses."""
    of = course.name in {"archive", "purge", "restore from a copy"}
    return of and moment.call in COMMITS


def chosen(moments: list[Moment], last: bool) -> list[Moment]:
    """Of each call in an area and during a step the first or the last, or every one."""
    most = {moment[:3]: moment.nth for moment in moments}
    return [
        moment for moment in moments if EVERY or moment.nth == (most[moment[:3]] if last else 1)
    ]


def row(course: Course, moment: Moment) -> str:
    """What the table calls a step."""
    if moment.step == "restoring":
        return "restoring from the bin" if "bin" in course.name else "restoring from a copy"
    return moment.step


AREAS = {
    "EIO": ("source", "bin", "target", "second target", "run folder", "database"),
    "ENOSPC": ("bin", "target", "run folder", "database"),
    "EDQUOT": ("target",),
}
"""Where which errors are. One of no room is told three times in a row, then there is some."""

WRITES = frozenset({"pwrite64", "fdatasync", "openat"})
REFUSED = [
    course
    for course in COURSES
    if course.name
    in {"plan", "archive", "purge", "restore from the bin", "restore from a copy", "two targets"}
]
KNOWN = ("DatabaseFailed: ", "RunFileWrong: ", "RunRefused: ", "GuardTripped: ", "NoRoom: ")
"""What an act may end with, beside what it tells of each unit; a plan, which does nothing, too by
what the system says."""


def refusals(course: Course, outcome: Outcome, error: str) -> list[Moment]:
    """The calls of an undisturbed run that may get an error: the first of each, or every one."""
    found = [
        moment
        for moment in outcome.moments
        if moment.step
        and (course.steps is None or moment.step in course.steps)
        and moment.area in AREAS[error]
        and (error == "EIO" or moment.call not in READING | {"open"})
        and (EVERY or moment.area != "database" or moment.call in WRITES)
    ]
    return chosen(found, last=False)


def is_told(course: Course, outcome: Outcome) -> bool:
    """Whether an act has ended as it may."""
    known = (*KNOWN, "OSError: ") if course.deed == "plan" else KNOWN
    return outcome.raised is None or outcome.raised.startswith(known)


SLEEPER = Course("sleeper", "apply", "deleted", archive={**NOW, "lease_seconds": 2.0, "workers": 1})


def sleeping(outcome: Outcome) -> list[Moment]:
    """The first call that changes anything in each area and during each step, and the renames."""
    seen: set[tuple[str, str]] = set()
    found = []
    for moment in outcome.moments:
        place = moment.step, moment.area
        # Whoever sleeps in a commit of SQLite lets nobody else commit.
        if not moment.step or moment.area == "database" or moment.call in READING | {"open"}:
            continue
        if place not in seen or (moment.call == "renameat2" and moment.nth == 1):
            seen.add(place)
            found.append(moment)
    return found


def first(outcome: Outcome, step: str, area: str, call: str | None = None) -> Moment:
    """The first moment of a step in an area, or of one call there."""
    return next(
        moment
        for moment in outcome.moments
        if (moment.step, moment.area) == (step, area) and call in {None, moment.call}
    )


def _change(file: Path) -> None:
    file.write_bytes(file.read_bytes()[::-1])


HARM: Mapping[str, Callable[[Path], object]] = {
    "an object is deleted": lambda file: file.unlink(),
    "an object is cut short": lambda file: os.truncate(file, 5),
    "an object is changed": _change,
}
"""What may become of an object at a target; of a change of the same size only its times tell."""

SEEN = (
    ("copied", "database", tuple(HARM)),
    ("verified", "bin", tuple(HARM)),
    ("binned", "database", tuple(HARM)),
)
"""When: while a unit is in these states, at the first call there; and what is noticed then."""
