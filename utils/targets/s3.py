"""
A folder in an S3 bucket as a target, at Amazon or elsewhere; large objects are multipart uploads.

That nothing is replaced is up to the server: a request says `If-None-Match: *`. Servers that are
not Amazon's may know nothing of it, or not listen to it, which is found out before the first
object is put: an empty one, `.lurge-once…`, that stays in the bucket is put there twice. Where it
does not help, the server is asked what it has just before; what others store between that and the
end of the request is replaced.
"""

import hashlib
import re
from base64 import b64encode
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

from lurge_types.buckets import endpoint, parse
from lurge_types.targets import (
    CHUNK_BYTES,
    ObjectDamaged,
    ObjectMissing,
    Occupied,
    Part,
    Stored,
    TargetFailed,
    TargetFull,
    TargetTrouble,
    Upload,
    UploadLost,
    is_key,
)
from utils.s3_client import Client, S3Failed, code, status
from utils.targets.bodies import sendable, unchanged

MIB = 1 << 20
LARGEST_PUT = 5 << 30
SMALLEST_PART = 5 * MIB
MOST_PARTS = 10_000
MOST_PARTS_ELSEWHERE = 1000
"""So many a Swift takes for one object unless it is told otherwise."""

LONGEST_NAME = 1024
CONNECTIONS = 64
ONCE = ".lurge-once…"
"""No key can be so: it is not of ASCII only."""

RIGHTS = (
    "s3:ListBucket, s3:PutObject, s3:GetObject, s3:DeleteObject, s3:ListMultipartUploadParts and "
    "s3:AbortMultipartUpload"
)
ANY = {"IfNoneMatch": "*"}
NOT_FOUND, IN_USE, THERE, TOO_FEW, NOT_KNOWN = 404, 409, 412, 416, 501
LOST = {"NoSuchUpload", "InvalidPart"}
WITHOUT = {
    "NoSuchKey": (ObjectMissing, "is not there"),
    "BrokenMPU": (ObjectDamaged, "has parts that are missing or damaged"),  # as Swift calls it
}
MD5 = re.compile(r"[0-9a-f]{32}").fullmatch


class S3:
    """
    A folder in a bucket as a target; see `Target`.

    url: see `parse`. endpoint_url: of a server that is not Amazon's.
    credentials_file: goes before what boto3 finds in the environment.

    Raises TargetFailed; ValueError for what is no URL of a bucket.
    """

    speaks_md5 = True
    largest_put = LARGEST_PUT
    smallest_part = SMALLEST_PART

    def __init__(
        self, url: str, *, endpoint_url: str | None = None, credentials_file: Path | None = None
    ) -> None:
        self.url = url
        self.most_parts = MOST_PARTS_ELSEWHERE if endpoint_url else MOST_PARTS
        self._place = parse(url)
        try:
            self._store = Client(
                url,
                endpoint_url=endpoint(endpoint_url) if endpoint_url else None,
                credentials_file=credentials_file,
                rights=RIGHTS,
                max_pool_connections=CONNECTIONS,
                s3={"payload_signing_enabled": False},  # bodies are read once
            )
        except S3Failed as error:
            raise TargetFailed(str(error)) from error
        self._client = self._store.raw
        self._listens: bool | None = None
        self._finding = Lock()

    def put(self, key: str, body: Iterable[bytes], size: int) -> Stored:
        """Store an object. Raises Occupied."""
        self._check_size(key, size)
        with unchanged(), self._named(key):
            condition = self._condition(key)
            told = self._client.put_object(
                **self._object(key), **condition, **_body(body, size), ContentLength=size
            )
        return Stored(key, size, _tag(told))

    def begin(self, key: str, size: int) -> Upload:  # noqa: ARG002 - how large is told by parts
        """Begin a large object. Raises Occupied."""
        with self._named(key):
            self._see_free(key)
            return Upload(
                key, self._client.create_multipart_upload(**self._object(key))["UploadId"]
            )

    def put_part(
        self,
        upload: Upload,
        number: int,
        start: int,  # noqa: ARG002 - numbers are enough
        body: Iterable[bytes],
        size: int,
    ) -> Part:
        """Store a part. Raises UploadLost."""
        self._check_size(upload.key, size)
        with unchanged(), self._named(upload.key):
            told = self._client.upload_part(
                **self._upload(upload), **_body(body, size), PartNumber=number, ContentLength=size
            )
        return Part(size, _tag(told) or "")

    def finish(self, upload: Upload, parts: Sequence[Part]) -> Stored:
        """
        Make the object of all its parts.

        An object that is there and is all of them is what an earlier call has made, whose answer
        was lost. Raises Occupied, UploadLost.
        """
        if len(parts) < 2:
            raise ValueError(f"{upload.key}: what has less than two parts is put at once")
        with self._named(upload.key):
            found = self.stat(upload.key)
            if found is None:
                self._complete(upload, parts)
                found = self.stat(upload.key)
            elif not self._is_of(found, parts):
                raise _occupied(upload.key)
        if found is None:
            raise TargetTrouble(f"{self.url}: {upload.key} is not there yet: finish it again")
        return found

    def abort(self, upload: Upload) -> None:
        """
        Forget an upload and its parts.

        It is left alone where its object is there: a Swift that was interrupted when it made that
        still has the upload, and would take the object's parts away with it.
        """
        with self._named(upload.key):
            try:
                parts = self._parts(upload)
                found = self.stat(upload.key)
                if found is None or not self._is_of(found, parts):
                    self._client.abort_multipart_upload(**self._upload(upload))
            except self._store.errors.ClientError as error:
                if status(error) != NOT_FOUND or code(error) == "NoSuchBucket":
                    raise

    def digest(self, md5s: Sequence[str]) -> str:
        """The MD5 itself, or that of all MD5s, a dash and their number."""
        return md5s[0] if len(md5s) == 1 else _of_parts(md5s)

    def stat(self, key: str) -> Stored | None:
        """What it has, None if nothing."""
        with self._named(key):
            try:
                told = self._client.head_object(**self._object(key))
            except self._store.errors.ClientError as error:
                if status(error) == NOT_FOUND:
                    return None
                raise
        return Stored(key, told["ContentLength"], _tag(told))

    def mark(self, key: str) -> str | None:
        """What it tells as the digest, with the size."""
        stored = self.stat(key)
        return f"{stored.size} {stored.told}" if stored and stored.told else None

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """
        So many bytes from `start` on.

        Raises ObjectMissing, ObjectDamaged; TargetFailed where it has fewer.
        """
        if size == 0:
            self._see_size(key, start)
            return
        with self._named(key):
            told = self._client.get_object(
                **self._object(key), Range=f"bytes={start}-{start + size - 1}"
            )
        with closing(told["Body"]) as body:
            if told["ContentLength"] != size or "ContentRange" not in told:
                raise TargetFailed(f"{self.url}: {key} has fewer bytes than {start + size:,}")
            while size:
                with self._named(key):
                    read = body.read(min(size, CHUNK_BYTES))
                if not read:
                    raise TargetTrouble(f"{self.url}: {key} was cut off: try again")
                size -= len(read)
                yield read

    def delete(self, key: str) -> None:
        """Delete an object with all its parts."""
        with self._named(key):
            try:
                self._client.delete_object(**self._object(key))
            except self._store.errors.ClientError as error:
                if status(error) != NOT_FOUND:
                    raise

    def list(self, prefix: str) -> Iterator[Stored]:
        """What has a key that begins so, in the order of keys."""
        above = self._place.key("")
        listing = self._client.get_paginator("list_objects_v2")
        pages = iter(listing.paginate(Bucket=self._place.bucket, Prefix=above + prefix))
        while page := self._next(pages):
            for each in page.get("Contents", ()):
                key = each["Key"].removeprefix(above)
                if is_key(key):
                    yield Stored(key, each["Size"], _tag(each))

    def sweep(self, folders: Iterable[str], keep: Collection[str]) -> None:
        """What was not sent to its end is not there, and uploads are for its own rules."""

    def sync(self) -> None:
        """What it has answered is durable."""

    def free_bytes(self) -> None:
        """S3 tells of no room."""

    def close(self) -> None:
        """Hang up."""
        self._client.close()

    def _condition(self, key: str) -> dict[str, str]:
        """What a request says so that it replaces nothing. Raises Occupied."""
        with self._finding:
            if self._listens is None:
                self._listens = self._find_out()
        if self._listens:
            return ANY
        self._see_free(key)
        return {}

    def _find_out(self) -> bool:
        """Whether the server refuses to replace an object."""
        once = {"Bucket": self._place.bucket, "Key": self._place.key(ONCE)}
        try:
            for _ in range(2):
                self._client.put_object(**once, **ANY, Body=b"", ContentLength=0)
        except self._store.errors.ClientError as error:
            if status(error) not in {THERE, IN_USE, NOT_KNOWN}:
                raise
            self._client.close()  # a server may hang up on whom it refuses: connect anew
            return status(error) != NOT_KNOWN
        return False

    def _see_free(self, key: str) -> None:
        if self.stat(key):
            raise _occupied(key)

    def _see_size(self, key: str, size: int) -> None:
        found = self.stat(key)
        if found is None:
            raise ObjectMissing(f"{self.url}: {key} is not there")
        if found.size < size:
            raise TargetFailed(f"{self.url}: {key} has fewer bytes than {size:,}")

    def _check_size(self, key: str, size: int) -> None:
        if size > self.largest_put:
            raise ValueError(f"{key}: {size:,} bytes are too many at once: {self.largest_put:,}")

    def _complete(self, upload: Upload, parts: Sequence[Part]) -> None:
        named = [{"PartNumber": number, "ETag": part.tag} for number, part in enumerate(parts, 1)]
        this = {**self._upload(upload), "MultipartUpload": {"Parts": named}}
        try:
            self._client.complete_multipart_upload(**this, **ANY)
        except self._store.errors.ClientError as error:
            if status(error) != NOT_KNOWN:
                raise
            self._client.complete_multipart_upload(**this)

    def _is_of(self, found: Stored, parts: Sequence[Part]) -> bool:
        """Whether an object is all of these parts."""
        size = sum(part.size for part in parts)
        return found[1:] == (size, _of_parts([part.tag for part in parts]))

    def _parts(self, upload: Upload) -> Sequence[Part]:
        """The parts of an upload that are there, in their order."""
        pages = self._client.get_paginator("list_parts").paginate(**self._upload(upload))
        return [
            Part(part["Size"], _tag(part) or "") for page in pages for part in page.get("Parts", ())
        ]

    def _next(self, pages: Iterator[dict[str, Any]]) -> dict[str, Any] | None:
        with self._named(None):
            return next(pages, None)

    def _object(self, key: str) -> dict[str, str]:
        return {"Bucket": self._place.bucket, "Key": self._place.key(key)}

    def _upload(self, upload: Upload) -> dict[str, str]:
        return {**self._object(upload.key), "UploadId": upload.id}

    @contextmanager
    def _named(self, key: str | None) -> Iterator[None]:
        """Say of errors which object they are about. Raises ValueError for what is no key."""
        if key is not None and not self._is_name(key):
            raise ValueError(f"no key: {key!a}")
        try:
            yield
        except self._store.raised as error:
            where = f"{self.url}: {key}" if key else self.url
            raise self._translated(error, key, where) from error

    def _is_name(self, key: str) -> bool:
        return is_key(key) and len(self._place.key(key).encode()) <= LONGEST_NAME

    def _translated(self, error: Any, key: str | None, where: str) -> Exception:
        why = self._store.reason(error)
        if isinstance(error, self._store.errors.ClientError):
            if status(error) == THERE:
                return _occupied(key or self.url)
            if code(error) in LOST:
                return UploadLost(f"{where}: its upload, or a part, is no longer there")
            if code(error) in WITHOUT:
                lacking, what = WITHOUT[code(error)]
                return lacking(f"{where} {what}")
            if status(error) == TOO_FEW:
                return TargetFailed(f"{where} has fewer bytes than were asked for")
            if self._store.is_full(error):
                return TargetFull(f"{where}: {why}")
        kind = TargetTrouble if self._store.may_pass(error) else TargetFailed
        return kind(f"{where}: {why}")


def _body(body: Iterable[bytes], size: int) -> dict[str, Any]:
    """A body for boto3; the server compares a small one with its MD5."""
    sent = sendable(body, size)
    if not isinstance(sent, bytes):
        return {"Body": sent}
    md5 = hashlib.md5(sent, usedforsecurity=False).digest()
    return {"Body": sent, "ContentMD5": b64encode(md5).decode()}


def _of_parts(md5s: Sequence[str]) -> str:
    """The ETag of an object of these parts; of no object where a tag is no MD5."""
    if not all(MD5(each) for each in md5s):
        return ""
    joined = bytes.fromhex("".join(md5s))
    return f"{hashlib.md5(joined, usedforsecurity=False).hexdigest()}-{len(md5s)}"


def _tag(told: dict[str, Any]) -> str | None:
    return told.get("ETag", "").strip('"').lower() or None


def _occupied(key: str) -> Occupied:
    return Occupied(f"{key}: something is there")
