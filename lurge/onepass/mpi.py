"""
How ranks send messages with MPI. All that is known of MPI is known here.

Every MPI burns a core in its blocking calls; so whoever waits looks now and then, with pauses that
grow while nothing comes. Blocks travel as raw bytes with two numbers behind them, all else pickled.
"""

import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from lurge.onepass.ranks import MESSAGES_UNDER_WAY, WRITER, Kind, Letter, PassOver
from lurge_types.batch import Block

if TYPE_CHECKING:
    from mpi4py import MPI

LOOKS_WITHOUT_PAUSE = 20
FIRST_PAUSE_SECONDS = 20e-6
LONGEST_PAUSE_SECONDS = 5e-3
TAIL = 2
"""Numbers of 8 bytes behind a block: its first line's, and how many lines it has."""

LAUNCHED = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_SIZE", "MPI_LOCALNRANKS")
"""What launchers tell of the number of ranks."""

T = TypeVar("T")


class NotStarted(Exception):
    """There are several processes, but they are no ranks of one MPI: each would do everything."""


def post() -> "MpiPost | None":
    """
    How to reach the other ranks; None where this is the only one.

    `python -m mpi4py` ends all ranks when one fails, and tells that MPI is wanted.

    Raises NotStarted.
    """
    if "mpi4py.run" not in sys.modules:
        if _is_one_of_several():
            raise NotStarted("mpirun needs: python -m mpi4py manager.py ...")
        return None
    from mpi4py import MPI  # noqa: PLC0415 - loading it starts MPI

    if MPI.COMM_WORLD.size > 1:
        return MpiPost(MPI.COMM_WORLD)
    if _is_one_of_several():
        raise NotStarted(
            f"mpirun is not that of mpi4py's MPI ({MPI.Get_library_version().split(',')[0]}): "
            "start with the one, or install mpi4py for the other"
        )
    return None


def _is_one_of_several() -> bool:
    """Whether a launcher says that it has started several processes."""
    return any(int(os.environ.get(variable) or 1) > 1 for variable in LAUNCHED)


def launched() -> bool:
    """Whether a launcher started this process: the terminal that it may see is none."""
    return any(variable in os.environ for variable in LAUNCHED)


def quietly(look: Callable[[], T | None]) -> T:
    """What a look gives as soon as it gives anything."""
    looks = 0
    pause = FIRST_PAUSE_SECONDS
    while (found := look()) is None:
        looks += 1
        if looks > LOOKS_WITHOUT_PAUSE:
            time.sleep(pause)
            pause = min(1.5 * pause, LONGEST_PAUSE_SECONDS)
    return found


def _finish(request: "MPI.Request") -> None:
    """Wait until something is sent or received."""
    quietly(lambda: request.Test() or None)


class MpiPost:
    """The post of this rank; see `Post`."""

    def __init__(self, comm: "MPI.Intracomm") -> None:
        from mpi4py import MPI  # noqa: PLC0415 - loading it starts MPI

        self._mpi = MPI
        self._all = comm
        self._comm = comm
        self.rank = comm.rank
        self.hosts: Sequence[str] = comm.allgather(MPI.Get_processor_name())
        self._rooms: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._sent: dict[int, MPI.Request] = {}
        self._lines_sent: dict[tuple[int, int], MPI.Request] = {}
        self._turns: dict[int, int] = {}
        self._lines = np.empty(0, np.uint8)

    def begin(self) -> None:
        """Begin a pass: its letters go by a communicator of their own."""
        self._comm, request = self._all.Idup()
        _finish(request)

    def send(self, to: int, kind: Kind, content: object = None) -> None:
        """Send something; what was sent to that rank before is then gone."""
        if before := self._sent.pop(to, None):
            _finish(before)
        comm = self._all if kind == Kind.PLAN else self._comm
        self._sent[to] = comm.isend(content, to, kind)

    def room(self, to: int, size: int) -> NDArray[np.uint8]:
        """Room for lines to a rank; what lay there before has been received when it asks again."""
        slot = to, self._turns.get(to, 0)
        if request := self._lines_sent.pop(slot, None):
            _finish(request)
        if slot not in self._rooms:
            self._rooms[slot] = np.empty(size + 8 * TAIL, np.uint8)
        return self._rooms[slot][: -8 * TAIL]

    def send_lines(self, to: int, block: Block) -> None:
        """Send the block that lies in the room for it."""
        turn = self._turns.get(to, 0)
        self._turns[to] = (turn + 1) % MESSAGES_UNDER_WAY
        message = self._rooms[to, turn][: block.length + 8 * TAIL]
        tail = np.array([block.first_line, block.lines], np.int64)
        message[block.length :] = tail.view(np.uint8)
        self._lines_sent[to, turn] = self._comm.Isend([message, self._mpi.BYTE], to, Kind.LINES)

    def take(self, source: int | None = None, kind: Kind | None = None) -> Letter | None:
        """A letter that is there."""
        names_others = source is not None or kind is not None
        if names_others and self.rank != WRITER and self._comm.iprobe(WRITER, Kind.END):
            source, kind = WRITER, Kind.END
        status = self._mpi.Status()
        comm = self._all if kind == Kind.PLAN else self._comm
        message = comm.improbe(
            self._mpi.ANY_SOURCE if source is None else source,
            self._mpi.ANY_TAG if kind is None else kind,
            status,
        )
        if message is None:
            return None
        got = Kind(status.Get_tag())
        if got == Kind.LINES:
            return Letter(status.Get_source(), got, self._receive(message, status))
        letter = Letter(status.Get_source(), got, message.recv())
        if got == Kind.END:
            raise PassOver
        return letter

    def _receive(self, message: "MPI.Message", status: "MPI.Status") -> Block:
        size = status.Get_count(self._mpi.BYTE)
        if size > len(self._lines):
            self._lines = np.empty(2 * size, np.uint8)
        _finish(message.Irecv([self._lines[:size], self._mpi.BYTE]))
        length = size - 8 * TAIL
        first_line, lines = np.frombuffer(self._lines[length:size].tobytes(), np.int64).tolist()
        return Block(self._lines, length, first_line, lines)

    def wait(self, source: int | None = None, kind: Kind | None = None) -> Letter:
        """A letter, once it is there."""
        return quietly(lambda: self.take(source, kind))

    def abort(self, status: int) -> None:
        """End all ranks at once, with an exit status."""
        self._all.Abort(status)

    def close(self) -> None:
        """End MPI, which every rank must do; nothing can be sent any more."""
        for request in self._sent.values():
            _finish(request)
        self._mpi.Finalize()
