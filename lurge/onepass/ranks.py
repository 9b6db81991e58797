"""
The pass over many ranks: who says what to whom, and what follows. How it is sent is not known here.

Rank 0 deals the volumes and is told of each that is done. A controller reads the file of a volume,
hands blocks to the workers that ask for them, counts blocks itself while nobody asks, and merges
what the workers have counted; then rank 0 asks it for rows. A worker asks a controller for blocks
until there are no more, hands in what it has counted, and goes on to the controller with most left.

    ASK          worker → controller   give me a block; two of these are under way
    LINES, OVER  controller → worker   a block; or there are no more, and whether counts are wanted
    PIECE        worker → controller   a piece of what was counted, None behind the last
    TROUBLE      worker → controller   what was counted cannot be right
    HOW_MUCH     worker → controller   how much is left?
    LEFT         controller → worker   bytes for each of its workers if another one joined
    NEWS         controller → 0        progress, or a volume that is done
    QUESTION     0 → controller        what does that tally say?
    ANSWER       controller → 0        what it says
    NEXT         0 → controller        all that was wanted of the volume is there
    PLAN         0 → all               the works of a pass and who does what; None: no more passes
    WARM         first of a host → its neighbours   the loops are compiled
    END          0 → all               the pass is over
"""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lurge.onepass.work import Read, Reading, Share, VolumeError, Work, judge
from lurge.tallies.tally import Piece, SumOverflow, TallyFailed
from lurge_types.batch import Block, Entry
from lurge_types.scans import BadLines, Progress
from utils.scanfile import ScanChanged, ScanFile, ScanUnreadable, buffer
from utils.wrstat import Parser, format_line

WRITER = 0
NEWS_SECONDS = 5.0
"""Rank 0 logs progress every half minute, and there is no bar under a launcher."""

MESSAGES_UNDER_WAY = 2
EXAMPLE = Entry(b"/a", 1, 1, 1, 1, 1, 1, "f", 1, 2, 1, None)


class Kind(IntEnum):
    """What a message is about."""

    ASK = auto()
    LINES = auto()
    OVER = auto()
    PIECE = auto()
    TROUBLE = auto()
    HOW_MUCH = auto()
    LEFT = auto()
    NEWS = auto()
    QUESTION = auto()
    ANSWER = auto()
    NEXT = auto()
    PLAN = auto()
    WARM = auto()
    END = auto()


@dataclass(frozen=True, slots=True)
class Letter:
    """A message: from which rank, of which kind, and what it says."""

    source: int
    kind: Kind
    content: Any = None


class PassOver(Exception):
    """Rank 0 has ended the pass."""


class Post(Protocol):
    """
    Carries messages between ranks; of those from one rank to another, none overtakes another.

    hosts: the host of each rank. Waiting costs next to nothing, and ends with PassOver when END
    comes. What names no source or kind takes letters of any.
    """

    rank: int
    hosts: Sequence[str]

    def begin(self) -> None:
        """Begin a pass, which all ranks do: no letter of an earlier one comes any more."""

    def send(self, to: int, kind: Kind, content: object = None) -> None:
        """Send something, without waiting for more than what was sent to that rank before."""

    def room(self, to: int, size: int) -> NDArray[np.uint8]:
        """Room of that many bytes for lines to a rank, as it asks for them."""

    def send_lines(self, to: int, block: Block) -> None:
        """Send a block that lies in the room for it; as raw bytes, without waiting."""

    def take(self, source: int | None = None, kind: Kind | None = None) -> Letter | None:
        """A letter that is there; the lines in it are valid until the next are taken."""

    def wait(self, source: int | None = None, kind: Kind | None = None) -> Letter:
        """A letter, once it is there."""


@dataclass(frozen=True, slots=True)
class Plan:
    """
    The works of a pass, and which each rank does: volumes in order, or that a worker begins with.

    A rank that is in neither of the two has nothing to do.
    """

    works: tuple[Work, ...]
    reading: Reading
    volumes: dict[int, tuple[int, ...]]
    workers: dict[int, int]


@dataclass(frozen=True, slots=True)
class Done:
    """A volume was read: its number among the works, its lines, and what was wrong with it."""

    number: int
    lines: int
    bad: BadLines
    error: VolumeError | None


def deal(works: Sequence[Work], reading: Reading, hosts: Sequence[str]) -> Plan:
    """
    Deal volumes, largest first, to controllers, and workers to those, by the size of their files.

    Where a volume's controller is on a worker's host, the worker begins with such a one.
    """
    sizes = [_size(work) for work in works]
    largest = sorted(range(len(works)), key=lambda number: -sizes[number])
    controllers = range(1, min(len(works), len(hosts) - 1) + 1)
    volumes: dict[int, tuple[int, ...]] = dict.fromkeys(controllers, ())
    for number in largest:
        loads = {rank: sum(sizes[each] for each in volumes[rank]) for rank in controllers}
        rank = min(controllers, key=lambda rank: (len(volumes[rank]) > 0, loads[rank], rank))
        volumes[rank] += (number,)
    workers: dict[int, int] = {}
    for rank in range(len(controllers) + 1, len(hosts)):
        near = [each for each in controllers if hosts[each] == hosts[rank]] or controllers
        helped = list(workers.values())
        workers[rank] = max(
            near, key=lambda each: (sizes[volumes[each][0]] / (1 + helped.count(each)), -each)
        )
    return Plan(tuple(works), reading, volumes, workers)


def _size(work: Work) -> int:
    """Bytes of a scan's file; one that cannot be seen fails when it is to be read."""
    with suppress(OSError):
        return work.scan.path.stat().st_size
    return 0


# Rank 0.


@dataclass(frozen=True, slots=True)
class Far:
    """A tally that a controller has."""

    post: Post
    controller: int
    number: int

    def tell(self, question: object) -> Any:
        """What it says. Raises TallyFailed."""
        self.post.send(self.controller, Kind.QUESTION, (self.number, question))
        answer = self.post.wait(self.controller, Kind.ANSWER).content
        if isinstance(answer, TallyFailed):
            raise answer
        return answer


def one_pass(
    post: Post, works: Sequence[Work], reading: Reading, progress: Callable[[Progress], None]
) -> Iterator[Read]:
    """
    Let the other ranks read every scan, and give each as soon as it is done.

    A volume's trouble is its own: its result holds the error and the others go on. Leaving the
    iterator early ends the pass on all ranks.
    """
    if not works:
        return
    plan = deal(works, reading, post.hosts)
    others = range(1, len(post.hosts))
    for rank in others:
        post.send(rank, Kind.PLAN, plan)
    post.begin()
    try:
        waiting = len(works)
        while waiting:
            letter = post.wait(kind=Kind.NEWS)
            if isinstance(letter.content, Progress):
                progress(letter.content)
                continue
            done: Done = letter.content
            work = plan.works[done.number]
            numbers = range(0 if done.error else len(work.tallies))
            tallies = [Far(post, letter.source, number) for number in numbers]
            waiting -= 1
            yield Read(work.scan, done.lines, done.bad, tallies, done.error)
            post.send(letter.source, Kind.NEXT)
    finally:
        for rank in others:
            post.send(rank, Kind.END)


def dismiss(post: Post) -> None:
    """Tell the other ranks that there is nothing more to do."""
    for rank in range(1, len(post.hosts)):
        post.send(rank, Kind.PLAN, None)


# The other ranks.


def serve(post: Post) -> None:
    """Do what rank 0 plans for this rank, pass after pass, until it plans no more."""
    while plan := post.wait(WRITER, Kind.PLAN).content:
        post.begin()
        with suppress(PassOver):
            _warm_up(post, plan)
            if post.rank in plan.volumes:
                control(post, plan)
            elif post.rank in plan.workers:
                work(post, plan)
            post.wait(WRITER, Kind.END)


def _warm_up(post: Post, plan: Plan) -> None:
    """Let one rank of each host compile the loops, or load them, while its neighbours wait."""
    neighbours = [
        rank for rank in range(1, len(post.hosts)) if post.hosts[rank] == post.hosts[post.rank]
    ]
    if post.rank != neighbours[0]:
        post.wait(neighbours[0], Kind.WARM)
        return
    line = format_line(EXAMPLE)
    block = Block(np.frombuffer(bytearray(line), np.uint8), len(line), 1, 1)
    for each in plan.works:
        share = Share.of(each)
        share.count(Parser(), block)
        Share.of(each).merge(share.pieces())
        for tally in share.tallies:
            with suppress(TallyFailed):  # it is told when it is asked in earnest
                tally.tell(None)
    for rank in neighbours[1:]:
        post.send(rank, Kind.WARM)


def work(post: Post, plan: Plan) -> None:
    """Count blocks for one controller after the other, until none has any left."""
    parser = Parser()
    controller: int | None = plan.workers[post.rank]
    going_on = set(plan.volumes)
    while controller is not None:
        [number] = plan.volumes[controller]
        share = Share.of(plan.works[number])
        if _count(post, controller, share, parser):
            for piece in share.pieces():
                post.send(controller, Kind.PIECE, piece)
            post.send(controller, Kind.PIECE, None)
        going_on.discard(controller)
        controller = _most_left(post, going_on)


def _count(post: Post, controller: int, share: Share, parser: Parser) -> bool:
    """Count a controller's blocks until there are no more; whether there are counts to hand in."""
    for _ in range(MESSAGES_UNDER_WAY):
        post.send(controller, Kind.ASK)
    over = counted = wanted = failed = 0
    while over < MESSAGES_UNDER_WAY:
        letter = post.wait(controller)
        if letter.kind == Kind.OVER:
            over += 1
            wanted = letter.content
            continue
        post.send(controller, Kind.ASK)
        if failed:
            continue
        counted = True
        try:
            share.count(parser, letter.content)
        except SumOverflow as error:
            failed = True
            post.send(controller, Kind.TROUBLE, error)
    return bool(counted and wanted)


def _most_left(post: Post, going_on: set[int]) -> int | None:
    """
    The controller with most left to do for each of its workers, if any has something left.

    Those that have nothing left are taken out of `going_on`: one that has workers has one volume.
    """
    for controller in going_on:
        post.send(controller, Kind.HOW_MUCH)
    left = {controller: post.wait(controller, Kind.LEFT).content for controller in going_on}
    going_on -= {controller for controller in left if not left[controller]}
    return max(going_on, key=lambda controller: (left[controller], -controller), default=None)


def control(post: Post, plan: Plan) -> None:
    """Read one volume after the other, until the pass is over."""
    controller = Controller(post, plan)
    for number in plan.volumes[post.rank]:
        controller.read(number)
        controller.answer()
    while True:
        controller.handle(post.wait())


class Controller:
    """
    Reads the file of a volume, and answers whoever asks, whatever it is doing.

    owing: the workers that have counted and not yet handed in.
    """

    def __init__(self, post: Post, plan: Plan) -> None:
        self._post = post
        self._plan = plan
        self._reading = plan.reading
        self._parser = Parser()
        self._into = buffer(self._reading.block_lines, self._reading.blocks_per_message)
        self._file: ScanFile | None = None
        self._share = Share([])
        self._error: VolumeError | None = None
        self._over = True
        self._owing: set[int] = set()

    def read(self, number: int) -> None:
        """Read a volume to its end, and tell rank 0."""
        work = self._plan.works[number]
        self._share = Share.of(work)
        self._error = None
        try:
            self._file = ScanFile(work.scan.path, self._reading.block_lines)
        except ScanUnreadable as error:
            self._error = error
            self._tell(Done(number, 0, BadLines(), error))
            return
        self._over = False
        with closing(self._file) as file:
            self._share_out(work, file)
            self._share.end()
            self._tell(self._done(number, work, file))

    def _share_out(self, work: Work, file: ScanFile) -> None:
        """Hand out blocks and count what nobody asks for, until all who counted have handed in."""
        told = time.monotonic()
        while not self._over or self._owing:
            if time.monotonic() - told > NEWS_SECONDS:
                told = time.monotonic()
                self._tell(Progress(work.scan, file.position, file.size, file.lines))
            letter = self._post.wait() if self._over else self._post.take()
            if letter:
                self.handle(letter)
            elif block := self._next(self._into):
                self._count(block)

    def answer(self) -> None:
        """Answer rank 0 until it has all that it wants of the volume."""
        while (letter := self._post.wait()).kind != Kind.NEXT:
            self.handle(letter)
        self._share = Share([])

    def handle(self, letter: Letter) -> None:
        """Do what a letter asks for."""
        source, content = letter.source, letter.content
        match letter.kind:
            case Kind.ASK:
                self._give(source)
            case Kind.HOW_MUCH:
                self._post.send(source, Kind.LEFT, self._left)
            case Kind.PIECE:
                self._merge(source, content)
            case Kind.TROUBLE:
                self._fail(content)
            case Kind.QUESTION:
                self._post.send(source, Kind.ANSWER, self._answer(*content))
            case _:
                raise ValueError(letter)

    @property
    def _left(self) -> float:
        """Bytes left for each worker if another one joined; at least 1 while there are any."""
        if self._over or self._file is None:
            return 0
        return max(1, self._file.size - self._file.position) / (len(self._owing) + 1)

    def _give(self, worker: int) -> None:
        """Hand out the next block, or that there are no more and whether the counts are wanted."""
        into = self._post.room(worker, len(self._into))
        if block := self._next(into):
            self._owing.add(worker)
            self._post.send_lines(worker, block)
        else:
            self._post.send(worker, Kind.OVER, self._error is None)

    def _next(self, into: NDArray[np.uint8]) -> Block | None:
        """The next block, in `into`; None when there are no more, or the volume has failed."""
        if self._over or self._file is None:
            return None
        try:
            block = self._file.read(into, self._reading.blocks_per_message)
        except (ScanUnreadable, ScanChanged) as error:
            self._fail(error)
            return None
        self._over = block is None
        return block

    def _count(self, block: Block) -> None:
        try:
            self._share.count(self._parser, block)
        except SumOverflow as error:
            self._fail(error)

    def _fail(self, error: VolumeError) -> None:
        """Nothing more of the volume is wanted."""
        self._error = self._error or error
        self._over = True
        self._owing.clear()

    def _merge(self, worker: int, first: Piece | None) -> None:
        """Take over all that a worker has counted."""
        pieces = self._pieces(worker, first)
        try:
            if self._error is None:
                self._share.merge(pieces)
        except SumOverflow as error:
            self._fail(error)
        for _ in pieces:
            pass  # what nobody wants any more, to its end
        self._owing.discard(worker)

    def _pieces(self, worker: int, piece: Piece | None) -> Iterator[Piece]:
        while piece is not None:
            yield piece
            piece = self._post.wait(worker, Kind.PIECE).content

    def _answer(self, number: int, question: object) -> object:
        try:
            answer: object = self._share.tallies[number].tell(question)
        except TallyFailed as error:
            return error
        return answer

    def _done(self, number: int, work: Work, file: ScanFile) -> Done:
        self._share.bad = self._share.bad.merge(file.unended)
        lines = file.lines + file.unended.count
        allowed = self._reading.bad_lines_allowed
        error = self._error or judge(work.scan, lines, self._share, allowed)
        return Done(number, lines, self._share.bad, error)

    def _tell(self, news: Progress | Done) -> None:
        self._post.send(WRITER, Kind.NEWS, news)
