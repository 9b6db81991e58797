"""A post between ranks that are threads of one process: to test what ranks say to each other."""

import pickle
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lurge.onepass.ranks import WRITER, Kind, Letter, PassOver, serve
from lurge_types.batch import Block


class Abandoned(Exception):
    """The test is over, and a rank still waits."""


@dataclass
class Office:
    """
    All letters, and who has what.

    most_lines: of letters with lines that lay unread for one rank, the greatest number.
    """

    hosts: Sequence[str]
    arrived: threading.Condition = field(default_factory=threading.Condition)
    boxes: list[deque[Letter]] = field(default_factory=list)
    sent: list[tuple[int, int, Kind]] = field(default_factory=list)
    most_lines: int = 0
    closed: bool = False

    def __post_init__(self) -> None:
        self.boxes = [deque() for _ in self.hosts]

    def post(self, rank: int) -> "OfficePost":
        return OfficePost(self, rank)


class OfficePost:
    """The post of one rank; what is sent is pickled as it would be, lines are copied."""

    def __init__(self, office: Office, rank: int) -> None:
        self._office = office
        self.rank = rank
        self.hosts = office.hosts
        self._rooms: dict[int, NDArray[np.uint8]] = {}

    def begin(self) -> None:
        """Nothing is left over from one pass to the next but what nobody has asked for."""

    def send(self, to: int, kind: Kind, content: object = None) -> None:
        self._put(to, Letter(self.rank, kind, pickle.loads(pickle.dumps(content))))

    def room(self, to: int, size: int) -> NDArray[np.uint8]:
        return self._rooms.setdefault(to, np.empty(size, np.uint8))

    def send_lines(self, to: int, block: Block) -> None:
        copy = block.raw[: block.length].copy()
        made = Block(copy, block.length, block.first_line, block.lines)
        self._put(to, Letter(self.rank, Kind.LINES, made))

    def _put(self, to: int, letter: Letter) -> None:
        with self._office.arrived:
            box = self._office.boxes[to]
            box.append(letter)
            self._office.sent.append((self.rank, to, letter.kind))
            lines = sum(each.kind == Kind.LINES for each in box)
            self._office.most_lines = max(self._office.most_lines, lines)
            self._office.arrived.notify_all()

    def take(self, source: int | None = None, kind: Kind | None = None) -> Letter | None:
        with self._office.arrived:
            return self._take(source, kind)

    def _take(self, source: int | None, kind: Kind | None) -> Letter | None:
        box = self._office.boxes[self.rank]
        for letter in box:
            if letter.kind == Kind.END or (
                source in (None, letter.source) and kind in (None, letter.kind)
            ):
                box.remove(letter)
                if letter.kind == Kind.END:
                    raise PassOver
                return letter
        return None

    def wait(self, source: int | None = None, kind: Kind | None = None) -> Letter:
        with self._office.arrived:
            while (letter := self._take(source, kind)) is None:
                if self._office.closed:
                    raise Abandoned
                self._office.arrived.wait()
            return letter


class Team:
    """Ranks 1 and higher, each in a thread; `post` is that of rank 0."""

    def __init__(
        self, ranks: int, serve: Callable[[OfficePost], None] = serve, hosts: Sequence[str] = ()
    ) -> None:
        self.office = Office(hosts or ["here"] * ranks)
        self.post = self.office.post(WRITER)
        self.bugs: list[BaseException] = []
        self._serve = serve
        self._threads = [
            threading.Thread(target=self._run, args=(rank,)) for rank in range(1, ranks)
        ]

    def __enter__(self) -> "Team":
        for thread in self._threads:
            thread.start()
        return self

    def _run(self, rank: int) -> None:
        try:
            self._serve(self.office.post(rank))
        except BaseException as bug:  # noqa: BLE001 - shown by the test
            self.bugs.append(bug)

    def __exit__(self, *_: object) -> None:
        deadline = time.monotonic() + 20
        for rank in range(1, len(self.office.hosts)):
            self.post.send(rank, Kind.PLAN, None)
        for thread in self._threads:
            thread.join(max(0, deadline - time.monotonic()))
        with self.office.arrived:
            self.office.closed = True
            self.office.arrived.notify_all()
        assert not self.bugs, self.bugs
