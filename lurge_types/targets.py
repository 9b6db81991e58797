"""
A target: where copies go, whatever is behind it.

Keys are text of printable ASCII, up to 1,000 characters, with `/` between components of up to 200.
An object is there whole or not at all, and is never replaced.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

CHUNK_BYTES = 1 << 20
"""Bodies are iterated in pieces of this size or less."""

LONGEST_KEY = 1000
LONGEST_COMPONENT = 200

COMPONENT = re.compile(rf"[ -.0-~]{{1,{LONGEST_COMPONENT}}}").fullmatch


class TargetFailed(Exception):
    """A target cannot do what it was asked: which, why, and what to do."""


class TargetTrouble(TargetFailed):
    """The same, but another try, some time later, may go through."""


class TargetFull(TargetFailed):
    """There is no room left: it goes on when somebody has made some."""


class Occupied(Exception):
    """Another object has this key, or stands in the way of it."""


class UploadLost(Exception):
    """An upload that was begun is no longer there: it is to be begun anew."""


class ObjectMissing(TargetFailed):
    """There is no object of this key."""


class ObjectDamaged(TargetFailed):
    """There is an object of this key, and not all that it is made of."""


class SizeDiffers(TargetFailed):
    """A body has fewer or more bytes than was said: its source has changed, or was misread."""


def is_key(text: str) -> bool:
    """
    Whether an object may have this key.

    >>> is_key("a/b c/~"), is_key("a//b"), is_key("a/../b"), is_key("caf\u00e9")
    (True, False, False, False)
    """
    return len(text) <= LONGEST_KEY and all(
        COMPONENT(each) and each not in {".", ".."} for each in text.split("/")
    )


class Stored(NamedTuple):
    """
    An object as the target tells of it.

    told: what it tells as the digest: an MD5 in hexadecimal, or what `Target.digest` makes of
    several; None where it tells none.
    """

    key: str
    size: int
    told: str | None


class Upload(NamedTuple):
    """A large object in the making: its key, and by what any process can go on with it."""

    key: str
    id: str


class Part(NamedTuple):
    """A part of a large object that is there: its size, and what the target told of it."""

    size: int
    tag: str


class Target(Protocol):
    """
    Where copies go. All verbs may be called by several threads.

    url: as configured, with nothing secret in it. speaks_md5: whether it tells MD5s.
    largest_put: bytes of an object that may be put at once. most_parts: of a large object.
    smallest_part: bytes of each part but the last.

    All raise TargetFailed or one of its kinds, SizeDiffers for a body of another size; what the
    body of an object raises goes through them unchanged. Then nothing is stored: a body is read to
    its end before its last bytes are sent. Each verb tries once. ValueError: what is no key, too
    large, or no upload's id.
    """

    url: str
    speaks_md5: bool
    largest_put: int
    most_parts: int
    smallest_part: int

    def put(self, key: str, body: Iterable[bytes], size: int) -> Stored:
        """Store an object of so many bytes. Raises Occupied."""

    def begin(self, key: str, size: int) -> Upload:
        """Begin a large object. Raises Occupied."""

    def put_part(
        self, upload: Upload, number: int, start: int, body: Iterable[bytes], size: int
    ) -> Part:
        """Store a part, counted from 1, which begins at `start`. Raises UploadLost."""

    def finish(self, upload: Upload, parts: Sequence[Part]) -> Stored:
        """
        Make the object of all its parts, of which there are two at least.

        Where an answer was lost it may be asked again. Raises Occupied, UploadLost.
        """

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts; nothing happens where it is not there."""

    def digest(self, md5s: Sequence[str]) -> str | None:
        """What it must tell of an object of these parts, or of the one put at once."""

    def stat(self, key: str) -> Stored | None:
        """What it has, None if nothing."""

    def mark(self, key: str) -> str | None:
        """What is another one after whatever was done to an object; None where nothing tells."""

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """
        So many bytes from `start` on, from where they are stored and not from what is remembered.

        Raises ObjectMissing, ObjectDamaged; TargetFailed where there are fewer.
        """

    def delete(self, key: str) -> None:
        """Delete an object with all its parts; nothing happens where it is not there."""

    def list(self, prefix: str) -> Iterator[Stored]:
        """What has a key that begins so, sorted; `told` may be None."""

    def sweep(self, folders: Iterable[str], keep: Collection[str]) -> None:
        """
        Remove what killed processes had begun to store in folders of keys, where that is to be seen
        there. keep: ids of uploads that go on.
        """

    def sync(self) -> None:
        """Return when all that was stored before is durable."""

    def free_bytes(self) -> int | None:
        """How much room is left, None where it tells none."""

    def close(self) -> None:
        """Hang up."""
