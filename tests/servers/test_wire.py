"""On a wire, things happen at the very byte that was named, and it carries everything else."""

import socket
import socketserver
import threading
import time
from collections.abc import Iterator

import pytest
from servers.wire import Wire, wire_to

WAITS_SECONDS = 20


class _Echo(socketserver.StreamRequestHandler):
    server: "Echo"

    def handle(self) -> None:
        while said := self.request.recv(1 << 16):
            self.server.heard += said
            self.request.sendall(said)


class Echo(socketserver.ThreadingTCPServer):
    """A server that says what it hears."""

    daemon_threads = True
    heard = b""

    def handle_error(self, request: object, client_address: object) -> None:
        """Who hangs up does so on purpose."""


@pytest.fixture
def echo() -> Iterator[Echo]:
    with Echo(("127.0.0.1", 0), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def wire(echo: Echo) -> Iterator[Wire]:
    with wire_to(echo.server_address[1]) as made:
        yield made


def connected(wire: Wire) -> socket.socket:
    return socket.create_connection(("127.0.0.1", wire.port), WAITS_SECONDS)


def echoed(client: socket.socket, said: bytes) -> bytes:
    """What comes back, of the same length."""
    client.sendall(said)
    heard = b""
    while len(heard) < len(said):
        got = client.recv(1 << 16)
        assert got
        heard += got
    return heard


def until_reset(client: socket.socket) -> int:
    """How many bytes come before a reset."""
    count = 0
    try:
        while got := client.recv(1 << 16):
            count += len(got)
    except ConnectionResetError:
        return count
    raise AssertionError("it was closed, not reset")


def test_all_of_it_is_carried_and_connections_are_counted(wire: Wire) -> None:
    for _ in range(3):
        with connected(wire) as client:
            assert echoed(client, bytes(range(256)) * 1000) == bytes(range(256)) * 1000
    assert wire.connections == 3


@pytest.mark.parametrize("count", [0, 1, 70_000])
def test_so_many_bytes_are_sent_before_a_reset(wire: Wire, echo: Echo, count: int) -> None:
    with connected(wire) as client:
        wire.reset_after(sent=count)
        client.sendall(bytes(100_000))
        until_reset(client)
    deadline = time.monotonic() + WAITS_SECONDS
    while len(echo.heard) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(echo.heard) == count
    assert wire.happened.is_set()
    with connected(wire) as client:
        assert echoed(client, b"again") == b"again"


def test_so_many_bytes_are_answered_before_a_reset(wire: Wire) -> None:
    with connected(wire) as client:
        assert echoed(client, b"before") == b"before"
        wire.reset_after(answered=10)
        client.sendall(bytes(100))
        assert until_reset(client) <= 10  # a reset overtakes what nobody has read yet
    assert wire.happened.is_set()


@pytest.mark.parametrize("held", [False, True])
def test_all_connections_are_reset(wire: Wire, held: bool) -> None:
    with connected(wire) as one, connected(wire) as two:
        for client in (one, two):
            echoed(client, b"x")
        if held:
            wire.hold()
            two.sendall(b"unheard")
        wire.reset()
        assert until_reset(one) == until_reset(two) == 0
    wire.go_on()
    with connected(wire) as client:
        assert echoed(client, b"again") == b"again"


def test_connections_are_refused_for_a_while(wire: Wire) -> None:
    with connected(wire) as old:
        assert echoed(old, b"x") == b"x"
        wire.refuse()
        with pytest.raises(ConnectionRefusedError):
            connected(wire)
        assert echoed(old, b"old") == b"old"
    wire.listen()
    with connected(wire) as client:
        assert echoed(client, b"new") == b"new"


def test_nothing_is_carried_until_it_goes_on(wire: Wire, echo: Echo) -> None:
    with connected(wire) as client:
        assert echoed(client, b"before") == b"before"
        wire.hold()
        client.sendall(b"after")
        client.settimeout(0.05)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert echo.heard == b"before"
        client.settimeout(WAITS_SECONDS)
        wire.go_on()
        assert client.recv(1) == b"a"


def test_a_slow_wire_takes_its_time(wire: Wire) -> None:
    with connected(wire) as client:
        wire.slow_down(20_000)
        start = time.monotonic()
        assert echoed(client, bytes(2_000)) == bytes(2_000)
        assert time.monotonic() - start >= 0.1
        wire.slow_down(None)
        assert echoed(client, bytes(1_000_000)) == bytes(1_000_000)
