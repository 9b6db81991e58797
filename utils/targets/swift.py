"""
A container of a Swift as a target; large objects are static ones, of segments.

Nothing is replaced: each request says `If-None-Match: *`. Swift looks when a request begins: of two
that put an object at the same time both may be told that it is theirs, and the later one counts.
Segments are in the same container, below a name that no key can have, one folder for each upload;
a marker there tells that it goes on. What makes the object names the size and the MD5 of each
segment, and Swift compares them.
"""

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from lurge_types.buckets import parse
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
from utils.targets.bodies import sendable, unchanged
from utils.targets.swift_session import NOT_FOUND, Answer, Session, account

LARGEST_PUT = 5 << 30
MOST_SEGMENTS = 1000
MOST_PARTS = 10_000
LARGEST_LIST = 8 << 20
LISTED_SEGMENT = 2048
"""Bytes that a segment takes in the list of them, at most."""

LONGEST_NAME = 1024
SEGMENTS = ".lurge-segments…"
"""No key can be so: it is not of ASCII only."""

FINISH_SECONDS = 900
"""How long a server may look for 10,000 segments before it answers."""

PAGE = 2000
THERE, DAMAGED, TOO_FEW, PARTIAL, NOT_SO = 412, 409, 416, 206, 400
NEW = {"If-None-Match": "*"}
LARGE = "x-static-large-object"
UPLOAD_ID = re.compile(r"[0-9a-f]{32}").fullmatch


class Swift:
    """
    A folder in a container as a target; see `Target`.

    url: swift://CONTAINER/PREFIX. environ: where Swift's or Keystone's variables are.

    Raises TargetFailed; ValueError for what is no such URL.
    """

    speaks_md5 = True
    smallest_part = 1

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        self.url = url
        scheme, _, rest = url.partition("://")
        if scheme != "swift":
            raise ValueError("must be swift://CONTAINER or swift://CONTAINER/PREFIX")
        self._place = parse(f"s3://{rest}")
        self._session = Session(url, self._place.bucket, account(environ))
        able = self._session.capabilities()
        self.largest_put = int(able.get("swift", {}).get("max_file_size", LARGEST_PUT))
        large = able.get("slo", {}) if able else {"max_manifest_segments": MOST_SEGMENTS}
        listed = int(large.get("max_manifest_size", LARGEST_LIST)) // LISTED_SEGMENT
        self.most_parts = min(int(large.get("max_manifest_segments", 1)), listed, MOST_PARTS)

    def put(self, key: str, body: Iterable[bytes], size: int) -> Stored:
        """Store an object. Raises Occupied."""
        name = self._name(key)
        with unchanged():
            told = self._put(name, key, body, size)
        return Stored(key, size, told)

    def begin(self, key: str, size: int) -> Upload:
        """Begin a large object. Raises Occupied."""
        if self.stat(key):
            raise _occupied(key)
        self._see_room(key, size)
        upload = Upload(key, secrets.token_hex(16))
        self._session.request("PUT", self._marker(upload))
        return upload

    def put_part(
        self,
        upload: Upload,
        number: int,
        start: int,  # noqa: ARG002 - numbers are enough
        body: Iterable[bytes],
        size: int,
    ) -> Part:
        """Store a part. Raises UploadLost."""
        self._see_upload(upload)
        with unchanged():
            told = self._send(self._segment(upload, number), upload.key, body, size, {})
        return Part(size, told or "")

    def finish(self, upload: Upload, parts: Sequence[Part]) -> Stored:
        """
        Make the object of all its parts.

        An object that is there and has this upload's segments is what an earlier call has made,
        whose answer was lost. Raises Occupied, UploadLost.
        """
        if len(parts) < 2:
            raise ValueError(f"{upload.key}: what has less than two parts is put at once")
        name = self._name(upload.key)
        if not self._is_of(upload):
            self._see_upload(upload)
            answer = self._session.request(
                "PUT",
                name,
                query={"multipart-manifest": "put"},
                headers={**NEW, "Accept": "application/json"},
                body=self._listed(upload, parts),
                allowed=(THERE, NOT_SO),
                silent_seconds=FINISH_SECONDS,
            )
            self._see_made(upload, answer)
        self._session.request("DELETE", self._marker(upload), allowed=(NOT_FOUND,))
        found = self.stat(upload.key)
        if found is None:
            raise TargetTrouble(f"{self.url}: {upload.key} is not there yet: finish it again")
        return found

    def abort(self, upload: Upload) -> None:
        """Forget an upload and its parts, unless they have become the object."""
        self._session.request("DELETE", self._marker(upload), allowed=(NOT_FOUND,))
        if not self._is_of(upload):
            self._forget(upload.id)

    def digest(self, md5s: Sequence[str]) -> str:
        """The MD5 itself, or that of all MD5s in hexadecimal."""
        if len(md5s) == 1:
            return md5s[0]
        return hashlib.md5("".join(md5s).encode(), usedforsecurity=False).hexdigest()

    def stat(self, key: str) -> Stored | None:
        """What it has, None if nothing."""
        answer = self._session.request("HEAD", self._name(key), allowed=(NOT_FOUND,))
        if answer.status == NOT_FOUND:
            return None
        return Stored(key, int(answer.headers["content-length"]), _tag(answer))

    def mark(self, key: str) -> str | None:
        """What it tells as the digest, with the size."""
        stored = self.stat(key)
        return f"{stored.size} {stored.told}" if stored and stored.told else None

    def get(self, key: str, start: int, size: int) -> Iterator[bytes]:
        """
        So many bytes from `start` on.

        Raises ObjectMissing, ObjectDamaged; TargetFailed where it has fewer.
        """
        name = self._name(key)
        where = f"{self.url}: {key}"
        fewer = TargetFailed(f"{where} has fewer bytes than {start + size:,}")
        if size == 0:
            found = self.stat(key)
            if found is None:
                raise ObjectMissing(f"{where} is not there")
            if found.size < start:
                raise fewer
            return

        def see(answer: Answer) -> None:
            if answer.status == NOT_FOUND:
                raise ObjectMissing(f"{where} is not there")
            if answer.status == DAMAGED:
                raise ObjectDamaged(f"{where}: its segments are missing or damaged")
            whole = answer.status == PARTIAL and answer.headers.get("content-length") == str(size)
            if answer.status == TOO_FEW or (answer.is_good and not whole):
                raise fewer

        wanted = {"Range": f"bytes={start}-{start + size - 1}"}
        for chunk in self._session.stream(name, wanted, CHUNK_BYTES, see):
            size -= len(chunk)
            if size < 0:
                break
            yield chunk
        if size:
            raise TargetTrouble(f"{where} was cut off: try again")

    def delete(self, key: str) -> None:
        """
        Delete an object with all its parts.

        Swift deletes the segments first; what it leaves of them is deleted here.
        """
        name = self._name(key)
        answer = self._session.request("HEAD", name, allowed=(NOT_FOUND,))
        if answer.headers.get(LARGE, "").lower() != "true":
            self._session.request("DELETE", name, allowed=(NOT_FOUND,))
            return
        upload = self._upload_of(key)
        self._session.request("DELETE", name, query={"multipart-manifest": "delete"})
        if self.stat(key):
            raise TargetTrouble(f"{self.url}: {key} is still there: try again")
        if upload:
            self._forget(upload)

    def list(self, prefix: str) -> Iterator[Stored]:
        """What has a key that begins so, in the order of keys."""
        above = self._place.key("")
        for each in self._listing(above + prefix):
            key = each["name"].removeprefix(above)
            if is_key(key):
                told = each.get("slo_etag") or each["hash"]
                yield Stored(key, each["bytes"], told.strip('"').lower())

    def sweep(self, folders: Iterable[str], keep: Collection[str]) -> None:
        """What was not sent to its end is not there, and uploads are for its own rules."""

    def sync(self) -> None:
        """What it has answered is durable."""

    def free_bytes(self) -> int | None:
        """How much room the quotas of the container and the account leave, None without any."""
        container = self._session.request("HEAD").headers
        account = self._session.account_headers()
        rooms = [
            _room(container, "x-container-meta-quota-bytes", "x-container-bytes-used"),
            _room(account, "x-account-meta-quota-bytes", "x-account-bytes-used"),
        ]
        return min((room for room in rooms if room is not None), default=None)

    def close(self) -> None:
        """Hang up."""
        self._session.close()

    def _put(self, name: str, key: str, body: Iterable[bytes], size: int) -> str | None:
        """Send what must be new. The MD5 that the server tells."""
        if size > CHUNK_BYTES and self.stat(key):
            raise _occupied(key)
        return self._send(name, key, body, size, NEW)

    def _send(
        self, name: str, key: str, body: Iterable[bytes], size: int, headers: Mapping[str, str]
    ) -> str | None:
        """
        Send a body. The MD5 that the server tells.

        A server that refuses a large one hangs up while it is sent, and says no more: so it is
        asked before.
        """
        if size > self.largest_put:
            raise ValueError(f"{key}: {size:,} bytes are too many at once: {self.largest_put:,}")
        if size > CHUNK_BYTES:
            self._see_room(key, size)
        sent = sendable(body, size)
        headers = {**headers, "Content-Length": str(size)}
        if isinstance(sent, bytes):  # the server compares it
            headers["ETag"] = hashlib.md5(sent, usedforsecurity=False).hexdigest()
        answer = self._session.request("PUT", name, headers=headers, body=sent, allowed=(THERE,))
        if answer.status == THERE:
            raise _occupied(key)
        return _tag(answer)

    def _see_room(self, key: str, size: int) -> None:
        room = self.free_bytes()
        if room is not None and room < size:
            raise TargetFull(f"{self.url}: no room for {key}: ask for a larger quota")

    def _see_upload(self, upload: Upload) -> None:
        marker = self._session.request("HEAD", self._marker(upload), allowed=(NOT_FOUND,))
        if marker.status == NOT_FOUND:
            raise _lost(upload)

    def _see_made(self, upload: Upload, answer: Answer) -> None:
        """See what came of making an object of segments."""
        if answer.status == THERE:
            if not self._is_of(upload):
                raise _occupied(upload.key)
        elif answer.status == NOT_SO:
            problems = [why for _, why in answer.json()["Errors"]]
            if any(why.startswith(str(NOT_FOUND)) for why in problems):
                raise _lost(upload)
            why = ", ".join(sorted(set(problems))) or "no reason is told"
            raise TargetFailed(f"{self.url}: {upload.key}: its segments are others: {why}")

    def _listed(self, upload: Upload, parts: Sequence[Part]) -> bytes:
        """What an object is made of, as Swift wants it."""
        listed = [
            {
                "path": f"/{self._place.bucket}/{self._segment(upload, number)}",
                "etag": part.tag,
                "size_bytes": part.size,
            }
            for number, part in enumerate(parts, 1)
        ]
        return json.dumps(listed).encode()

    def _is_of(self, upload: Upload) -> bool:
        """Whether the object is there, and of the segments of this upload."""
        return self._upload_of(upload.key) == upload.id

    def _upload_of(self, key: str) -> str | None:
        """By which upload of this target a large object came there, None without any."""
        name = self._name(key)
        query = {"multipart-manifest": "get"}
        head = self._session.request("HEAD", name, query=query, allowed=(NOT_FOUND,))
        if head.headers.get(LARGE, "").lower() != "true":
            return None
        answer = self._session.request("GET", name, query=query, allowed=(NOT_FOUND,))
        segments = answer.json() if answer.status != NOT_FOUND else []
        above = f"/{self._place.bucket}/{self._place.key(SEGMENTS)}/"
        first = segments[0]["name"] if segments else ""
        upload = first.removeprefix(above).partition("/")[0]
        return upload if first.startswith(above) and UPLOAD_ID(upload) else None

    def _forget(self, upload: str) -> None:
        """Delete all segments of an upload."""
        for each in self._listing(self._place.key(f"{SEGMENTS}/{upload}/")):
            self._session.request("DELETE", each["name"], allowed=(NOT_FOUND,))

    def _listing(self, prefix: str) -> Iterator[Mapping[str, Any]]:
        query = {"format": "json", "prefix": prefix, "limit": str(PAGE)}
        while page := self._session.request("GET", query=query).json():
            yield from page
            query["marker"] = page[-1]["name"]

    def _name(self, key: str) -> str:
        """How the server calls an object. Raises ValueError for what is no key."""
        name = self._place.key(key)
        if not is_key(key) or len(name.encode()) > LONGEST_NAME:
            raise ValueError(f"no key: {key!a}")
        return name

    def _marker(self, upload: Upload) -> str:
        if not UPLOAD_ID(upload.id):
            raise ValueError(f"no upload of this target: {upload.id!a}")
        return self._place.key(f"{SEGMENTS}/{upload.id}")

    def _segment(self, upload: Upload, number: int) -> str:
        return f"{self._marker(upload)}/{number:06}"


def _room(headers: Mapping[str, str], quota: str, used: str) -> int | None:
    limit = headers.get(quota, "")
    return max(int(limit) - int(headers.get(used, 0)), 0) if limit.isdecimal() else None


def _tag(answer: Answer) -> str | None:
    return answer.headers.get("etag", "").strip('"').lower() or None


def _occupied(key: str) -> Occupied:
    return Occupied(f"{key}: something is there")


def _lost(upload: Upload) -> UploadLost:
    return UploadLost(f"{upload.key}: its upload, or a part, is no longer there: begin it anew")
