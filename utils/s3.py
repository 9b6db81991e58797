"""
A folder in an S3 bucket, at Amazon or elsewhere: files go in whole, and are checked.

A file counts as sent when the store, asked for it anew, tells the size and the checksum that it
must have there. The checksum is the object's ETag: the MD5 of what was sent at once, or the MD5 of
the parts' MD5s, a dash and their number.
"""

import hashlib
import io
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from lurge_types.buckets import endpoint, parse
from utils.s3_client import Client, S3Failed, status

T = TypeVar("T")

MIB = 1 << 20
PART_BYTES = 64 * MIB
"""What is larger goes up in parts of this size, or of a larger one."""

LARGEST_PART_BYTES = 5 << 30
MOST_PARTS = 1000
"""That many a Swift takes for one object unless it is told otherwise; others take 10,000."""

PAUSES = (1.0, 4.0, 16.0, 60.0)
"""Seconds between five tries."""

READ_BYTES = MIB

DIFFERS = (
    "the store tells another size or checksum each time "
    "(of objects that it encrypts with keys of KMS no checksum can be told)"
)


class S3Stopped(S3Failed):
    """Another thread wants no more to be sent."""


class Part(io.RawIOBase):
    """A part of an open file that is read like a file of its own, until it is to stop."""

    def __init__(self, file: BinaryIO, start: int, size: int, stop: threading.Event) -> None:
        self._handle = file.fileno()
        self._start = start
        self._size = size
        self._stop = stop
        self._at = 0

    def readinto(self, buffer: Any) -> int:
        """Read on. Raises S3Stopped, OSError."""
        if self._stop.is_set():
            raise S3Stopped("stopped")
        with memoryview(buffer) as view:
            rest = view[: max(self._size - self._at, 0)]
            count = os.preadv(self._handle, [rest], self._start + self._at)
        self._at += count
        return count

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go elsewhere in the part."""
        self._at = (0, self._at, self._size)[whence] + offset
        return self._at

    def tell(self) -> int:
        """Where in the part the next byte is read."""
        return self._at

    def readable(self) -> bool:
        """It is read."""
        return True

    def seekable(self) -> bool:
        """It goes back to be sent again."""
        return True

    def md5(self) -> bytes:
        """The MD5 of the part. Raises S3Stopped, OSError."""
        self.seek(0)
        md5 = _md5()
        while read := self.read(READ_BYTES):
            md5.update(read)
        return md5.digest()


def cut(file: BinaryIO, part_bytes: int, stop: threading.Event) -> list[Part]:
    """All parts of an open file, one at least; larger ones where there would be too many."""
    size = os.fstat(file.fileno()).st_size
    part_bytes = part_size(size, part_bytes)
    starts = range(0, max(size, 1), part_bytes)
    return [Part(file, start, min(part_bytes, size - start), stop) for start in starts]


def part_size(size: int, part_bytes: int) -> int:
    """
    How large the parts of a file are, in bytes: it depends on nothing but the size.

    >>> part_size(1_000_000_000_000, PART_BYTES) / MIB
    954.0
    """
    if size <= MOST_PARTS * part_bytes:
        return part_bytes
    return min(-(-size // (MOST_PARTS * MIB)) * MIB, LARGEST_PART_BYTES)


def etag(parts: Sequence[bytes]) -> str:
    """What a store must tell of an object as its ETag, from the MD5s of its parts."""
    if len(parts) == 1:
        return parts[0].hex()
    return f"{_md5(b''.join(parts)).hexdigest()}-{len(parts)}"


def _md5(of: bytes = b"") -> "hashlib._Hash":
    return hashlib.md5(of, usedforsecurity=False)  # what S3 has, not what is safe


class Bucket:
    """
    A folder in a bucket; its verbs may be used by several threads.

    url: see `parse`. endpoint_url: of a server that is not Amazon's.
    credentials_file: goes before what boto3 finds in the environment.
    part_bytes: what is larger goes up in parts.
    pauses: seconds before each further try of what may pass; waiting: told why, by any thread.

    Raises S3Failed, and ValueError for what is no URL of a bucket.
    """

    def __init__(
        self,
        url: str,
        *,
        endpoint_url: str | None = None,
        credentials_file: Path | None = None,
        part_bytes: int = PART_BYTES,
        pauses: Sequence[float] = PAUSES,
        waiting: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._waiting = waiting
        self._place = parse(url)
        self._endpoint_url = endpoint(endpoint_url) if endpoint_url else None
        self._part_bytes = part_bytes
        self._pauses = pauses
        self._store = Client(
            url,
            endpoint_url=self._endpoint_url,
            credentials_file=credentials_file,
            rights="s3:PutObject, s3:GetObject and s3:AbortMultipartUpload",
        )
        self._client = self._store.raw
        self._errors = self._store.errors

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def url(self, name: str) -> str:
        """Where an object is, for people; of a server that is not Amazon's, with its URL."""
        where = f"s3://{self._place.bucket}/{self._place.key(name)}"
        return f"{where} at {self._endpoint_url}" if self._endpoint_url else where

    def has(self, file: Path, name: str, stop: threading.Event) -> bool:
        """
        Whether an object is there that has the size and the checksum of a file.

        stop: set by another thread, it ends this soon, as failed.

        Raises S3Failed, OSError.
        """
        with self._named(file, name):
            try:
                told = self._told(name, stop)
            except self._errors.ClientError as error:
                # Who may not list a bucket is told so of every object that is not there.
                if status(error) == 403:
                    return False
                raise
            with file.open("rb") as opened:
                size = os.fstat(opened.fileno()).st_size
                if told is None or told[0] != size:
                    return False
                parts = cut(opened, self._part_bytes, stop)
                return told == (size, etag([part.md5() for part in parts]))

    def send(self, file: Path, name: str, stop: threading.Event) -> None:
        """
        Send a file, and see that it is there: another object of this name is replaced.

        stop: set by another thread, it ends this soon, as failed.

        Raises S3Failed, OSError.
        """
        with self._named(file, name), file.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            parts = cut(opened, self._part_bytes, stop)
            for pause in (*self._pauses, None):
                sent = self._put_parts(parts, name, stop)
                if self._told(name, stop) == (size, etag(sent)):
                    return
                if pause is None or stop.wait(pause):
                    break
            raise self._failed(file, name, DIFFERS)

    def _told(self, name: str, stop: threading.Event) -> tuple[int, str] | None:
        """The size and the checksum that the store tells of an object, None if it has none."""
        try:
            answer = self._tried(lambda: self._client.head_object(**self._object(name)), stop)
        except self._errors.ClientError as error:
            if status(error) == 404:
                return None
            raise
        return answer["ContentLength"], answer.get("ETag", "").strip('"').lower()

    def _put_parts(self, parts: Sequence[Part], name: str, stop: threading.Event) -> list[bytes]:
        """Send a file, one part at once; what does not become an object is taken back. The MD5s."""
        this = self._object(name)
        if len(parts) == 1:
            return [self._put(partial(self._client.put_object, **this), parts[0], stop)[0]]
        begun = self._tried(partial(self._client.create_multipart_upload, **this), stop)
        this["UploadId"] = begun["UploadId"]
        try:
            sent = [
                self._put(partial(self._client.upload_part, **this, PartNumber=number), part, stop)
                for number, part in enumerate(parts, 1)
            ]
            told = [{"PartNumber": number, "ETag": tag} for number, (_, tag) in enumerate(sent, 1)]
            complete = partial(self._client.complete_multipart_upload, **this)
            self._tried(partial(complete, MultipartUpload={"Parts": told}), stop)
        except BaseException:
            with suppress(*self._store.raised):
                self._client.abort_multipart_upload(**this)
            raise
        return [md5 for md5, _ in sent]

    def _put(
        self, ask: Callable[..., dict[str, Any]], part: Part, stop: threading.Event
    ) -> tuple[bytes, str]:
        """Send a part, which the store compares with its MD5: that, and the ETag it was given."""
        md5 = part.md5()

        def put() -> dict[str, Any]:
            part.seek(0)
            return ask(Body=part, ContentMD5=b64encode(md5).decode())

        return md5, self._tried(put, stop)["ETag"]

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.key(name)}

    def _tried(self, ask: Callable[[], T], stop: threading.Event) -> T:
        """What the store answers, asked again after a pause where that may help."""
        for pause in self._pauses:
            try:
                return ask()
            except self._store.raised as error:
                if not self._store.may_pass(error):
                    raise
                self._waiting(f"{self._store.reason(error)}: again in {pause:.0f} s")
                if stop.wait(pause):
                    raise
        return ask()

    @contextmanager
    def _named(self, file: Path, name: str) -> Iterator[None]:
        """Say of errors which file they are about."""
        try:
            yield
        except self._store.raised as error:
            raise self._failed(file, name, self._store.reason(error)) from error

    def _failed(self, file: Path, name: str, reason: str) -> S3Failed:
        return S3Failed(
            f"{file} was not sent to {self.url(name)}: {reason}. "
            "All files are kept here; the next upload sends what is missing."
        )
