"""A wire to a server on this host, on which something can happen at an exact moment."""

import select
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sql


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

    happened: set when what was waited for has happened.
    """

    daemon_threads = True  # each ends when one of its ends hangs up

    def __init__(self, behind: int) -> None:
        super().__init__(("127.0.0.1", 0), _Carrier)
        self.port: int = self.server_address[1]
        self.behind = behind
        self.happened = threading.Event()
        self._words: list[bytes] = []
        self._act: Callable[[], object] = lambda: None
        self._cut = False
        self._left: dict[str, int] = {}

    def url(self, url: str) -> str:
        """The url of what is behind, by this wire."""
        return sql.make_url(url).set(port=self.port).render_as_string()

    def before(self, *words: bytes, act: Callable[[], object]) -> None:
        """Do something once, when clients have sent these words in turn, the last not passed on."""
        self._words, self._act = list(words), act

    def cut_behind(self, *words: bytes) -> None:
        """Let what has the last of these words pass, and lose the answer and the connection."""
        self._words, self._cut = list(words), True

    def reset_after(self, *, sent: int | None = None, answered: int | None = None) -> None:
        """Let so many bytes pass that way from now on, then reset that connection, once."""
        left = {"sent": sent, "answered": answered}
        self._left = {way: count for way, count in left.items() if count is not None}

    def carry(self, near: socket.socket, far: socket.socket) -> None:
        """Pass on what either end says until one of them hangs up."""
        while True:
            for end in select.select([near, far], [], [])[0]:
                said = end.recv(1 << 16)
                if not said:
                    return
                if self._is_spent("answered" if end is far else "sent", said):
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if end is far:
                    near.sendall(said)
                elif self._is_moment(said):
                    self._act()
                    far.sendall(said)
                    if self._cut:
                        far.recv(1)
                        return
                else:
                    far.sendall(said)

    def _is_spent(self, way: str, said: bytes) -> bool:
        if way not in self._left:
            return False
        self._left[way] -= len(said)
        if self._left[way] > 0:
            return False
        self._left.clear()
        self.happened.set()
        return True

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
        thread = threading.Thread(target=wire.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield wire
        finally:
            wire.shutdown()
            thread.join()
