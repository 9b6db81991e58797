"""A wire to a server on this host, on which something can happen at an exact moment."""

import re
import select
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sql

RESETS = struct.pack("ii", 1, 0)
"""A socket that lingers for 0 s ends in a reset."""
SLICES = 20
"""In how many pieces a slow wire carries what it may in a second."""


class _Carrier(socketserver.BaseRequestHandler):
    server: "Wire"

    def handle(self) -> None:
        try:
            with socket.create_connection(("127.0.0.1", self.server.behind)) as far:
                self.server.carry(self.request, far)
        except OSError:
            return  # one end has gone: so is the other


class Wire(socketserver.ThreadingTCPServer):
    """
    Listens on a port and carries everything to the port behind it and back.

    happened: set when what was waited for has happened. connections: how many there have been.
    heard: shown each piece of what clients say, before it is passed on. answers: what becomes of
        each piece of what the server answers.
    """

    daemon_threads = True  # each ends when one of its ends hangs up
    allow_reuse_port = True

    def __init__(self, behind: int) -> None:
        # A port that was asked for by its number is kept while nobody listens on it.
        with socket.socket() as keeper:
            keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            keeper.bind(("127.0.0.1", 0))
            super().__init__(keeper.getsockname(), _Carrier)
        self.port: int = self.server_address[1]
        self.behind = behind
        self.connections = 0
        self.happened = threading.Event()
        self.heard: Callable[[bytes], object] = lambda _: None
        self.answers: Callable[[bytes], bytes] = bytes
        self._words: list[bytes] = []
        self._act: Callable[[], object] = lambda: None
        self._cut = False
        self._left_out: re.Pattern[bytes] | None = None
        self._unknown = b""
        self._left: dict[str, int] = {}
        self._bytes_per_second: int | None = None
        self._flows = threading.Event()
        self._flows.set()
        self._changing = threading.Lock()
        self._near: set[socket.socket] = set()
        self._resetting: set[socket.socket] = set()
        self._listener: threading.Thread | None = None

    def url(self, url: str) -> str:
        """The url of what is behind, by this wire."""
        return sql.make_url(url).set(port=self.port).render_as_string()

    def before(self, *words: bytes, act: Callable[[], object]) -> None:
        """Do something once, when clients have sent these words in turn, the last not passed on."""
        self._words, self._act = list(words), act

    def cut_behind(self, *words: bytes) -> None:
        """Let what has the last of these words pass, and lose the answer and the connection."""
        self._words, self._cut = list(words), True

    def leave_out(self, header: bytes) -> None:
        """Give a header of all answers a name that nobody knows."""
        self._left_out = re.compile(rb"(?i)\r\n" + header + rb":")
        self._unknown = b"\r\n" + b"x" * len(header) + b":"

    def reset_after(self, *, sent: int | None = None, answered: int | None = None) -> None:
        """Let so many bytes pass that way from now on, then reset that connection, once."""
        left = {"sent": sent, "answered": answered}
        with self._changing:
            self._left = {way: count for way, count in left.items() if count is not None}

    def reset(self) -> None:
        """Reset all connections that there are."""
        with self._changing:
            self._resetting |= self._near
            for near in self._near:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                near.shutdown(socket.SHUT_RD)  # its carrier hears of it, and closes it

    def slow_down(self, bytes_per_second: int | None) -> None:
        """Let each connection carry no more than that; None: as much as it can."""
        self._bytes_per_second = bytes_per_second

    def hold(self) -> None:
        """Keep connections, and carry nothing until it is let go on."""
        self._flows.clear()

    def go_on(self) -> None:
        """Carry again."""
        self._flows.set()

    def refuse(self) -> None:
        """Refuse new connections, until it listens again."""
        if self._listener:
            self.shutdown()
            self._listener.join()
            self._listener = None
            self.socket.shutdown(socket.SHUT_RDWR)

    def listen(self) -> None:
        """Accept connections."""
        if not self._listener:
            self.socket.listen(self.request_queue_size)
            self._listener = threading.Thread(target=self.serve_forever, args=(0.02,))
            self._listener.start()

    def shutdown_request(self, request: Any) -> None:
        """Close it at once: to be told of its end would come before a reset."""
        self.close_request(request)

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Pass on what either end says until one of them hangs up."""
        with self._changing:
            self.connections += 1
            self._near.add(near)
        try:
            while self._carried(near, far):
                pass
        finally:
            with self._changing:
                self._near.remove(near)
                self._resetting.discard(near)

    def _carried(self, near: socket.socket, far: socket.socket) -> bool:
        """Whether it goes on after what has been said."""
        for end in self._speaking(near, far):
            said = self._hear(end, near)
            if not said:
                return False
            if end is near:
                self.heard(said)
            else:
                said = self.answers(said)
            passing = self._passing("answered" if end is far else "sent", said)
            if passing is not None:
                (near if end is far else far).sendall(said[:passing])
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESETS)
                self.happened.set()
                return False
            if end is far:
                left_out = self._left_out
                near.sendall(left_out.sub(self._unknown, said) if left_out else said)
                continue
            if not self._is_moment(said):
                far.sendall(said)
                continue
            self._act()
            far.sendall(said)
            if self._cut:
                far.recv(1)
                return False
        return True

    def _speaking(self, *ends: socket.socket) -> Iterator[socket.socket]:
        """Those of the ends that say something; `select` would take no number above 1,023."""
        listening = select.poll()
        for end in ends:
            listening.register(end, select.POLLIN)
        numbers = {number for number, _ in listening.poll()}
        return (end for end in ends if end.fileno() in numbers)

    def _hear(self, end: socket.socket, near: socket.socket) -> bytes:
        slowest = self._bytes_per_second
        said = end.recv(1 << 16 if slowest is None else max(1, slowest // SLICES))
        if slowest is not None:
            time.sleep(len(said) / slowest)
        while not self._flows.wait(0.02):
            if near in self._resetting:
                return b""
        return said

    def _passing(self, way: str, said: bytes) -> int | None:
        """How much of it passes before the reset, if that is due."""
        with self._changing:
            if way not in self._left:
                return None
            if self._left[way] > len(said):
                self._left[way] -= len(said)
                return None
            passing = self._left[way]
            self._left.clear()
            return passing

    def _is_moment(self, said: bytes) -> bool:
        while self._words and self._words[0] in said:
            said = said.partition(self._words.pop(0))[2]
            if not self._words:
                self.happened.set()
                return True
        return False


@contextmanager
def wire_to(port: int) -> Iterator[Wire]:
    """A wire to a port, until its context ends."""
    with Wire(port) as wire:
        wire.listen()
        try:
            yield wire
        finally:
            wire.go_on()
            wire.refuse()
