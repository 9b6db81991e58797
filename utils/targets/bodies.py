"""
Bodies on their way to a target: counted, and read to their end before their last bytes are sent.

So a body that is too short or too long, or that raises at its very end because its source has
changed meanwhile, never becomes an object: the target has not got all that it waits for.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from lurge_types.targets import CHUNK_BYTES, SizeDiffers


class BodyRaised(BaseException):
    """What a body raised, on its way through libraries that would make other errors of it."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error


@contextmanager
def unchanged() -> Iterator[None]:
    """Let what a body raised go on as it was."""
    try:
        yield
    except BodyRaised as raised:
        error = raised.error
    else:
        return
    raise error


def counted(body: Iterable[bytes], size: int) -> Iterator[bytes]:
    """The chunks of a body, none empty, each once it is known whether another one follows."""
    chunks = filter(None, body)
    held, left = b"", size
    while chunk := _next(chunks):
        left -= len(chunk)
        if left < 0:
            raise BodyRaised(SizeDiffers(f"a body has more than the {size:,} bytes that it should"))
        if held:
            yield held
        held = chunk
    if left:
        raise BodyRaised(SizeDiffers(f"a body has {size - left:,} bytes of {size:,}"))
    if held:
        yield held


def _next(chunks: Iterator[bytes]) -> bytes:
    try:
        return next(chunks, b"")
    except BaseException as error:  # noqa: BLE001 - raised again by `unchanged`
        raise BodyRaised(error) from None


class Flow:
    """A body that a library reads as if it were a file, once."""

    def __init__(self, body: Iterable[bytes], size: int) -> None:
        self._chunks = counted(body, size)
        self._rest = memoryview(b"")

    def read(self, count: int) -> bytes:
        """Some bytes, at most so many; none at the end."""
        if not self._rest:
            self._rest = memoryview(next(self._chunks, b""))
        read, self._rest = self._rest[:count], self._rest[count:]
        return bytes(read)


def sendable(body: Iterable[bytes], size: int) -> bytes | Flow:
    """What libraries for HTTP send: a small body as a whole, so that its MD5 can go before it."""
    if size > CHUNK_BYTES:
        return Flow(body, size)
    return b"".join(counted(body, size))
