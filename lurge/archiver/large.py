"""A large file: it goes up in parts, each read once for all targets, and goes on where it stood."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from lurge.archiver.job import Job
from lurge.archiver.parcels import parts
from lurge.archiver.pouring import pour
from lurge.archiver.reading import Digests, drained, shown_to
from lurge.archiver.sending import digest, holds, see_told
from lurge_types.archive import Entry, Segment
from lurge_types.targets import Occupied, Part, Target, TargetFailed, Upload, UploadLost
from utils.journals import Copied, Journal, PartDone, Place
from utils.object_keys import of_file, versions

ROUNDS = 4
"""How often the parts that a target has lost are sent, or an upload is begun under another key."""


@dataclass
class _At:
    """
    How far a target is: with which upload, which parts of it are there, and the place in the end.

    number: of the target among those of the run.
    """

    number: int
    target: Target
    upload: Upload | None = None
    parts: dict[int, Part] = field(default_factory=dict)
    place: Place | None = None

    def forget(self) -> None:
        """The upload is not there any more."""
        self.upload = None
        self.parts.clear()


class Large:
    """A file that goes up in parts, by one thread; see the module."""

    def __init__(self, job: Job, journal: Journal, number: int, entry: Entry) -> None:
        self._job = job
        self._journal = journal
        self._number = number
        self._entry = entry
        self._parts = dict(enumerate(parts(entry.fingerprint.size, job.policy, job.targets), 1))
        self._segments: dict[int, Segment] = {}
        self._key = of_file(job.path(entry))

    def store(self, begun: Mapping[int, Mapping[int, PartDone]]) -> Copied:
        """
        Store it at all targets.

        begun: what is there of it, by the target and the number of the part.

        Raises TargetFailed, Changed, SourceFailed, Stopped, LeaseLost.
        """
        all_of_them = [
            self._resumed(number, target, begun.get(number, {}))
            for number, target in enumerate(self._job.targets)
        ]
        for _ in range(ROUNDS):
            waiting = [at for at in all_of_them if at.place is None]
            for at in waiting:
                self._begin(at)
            self._send([at for at in waiting if at.upload])
            for at in waiting:
                self._finish(at)
        places = tuple(at.place for at in all_of_them if at.place)
        if len(places) < len(all_of_them):
            raise TargetFailed(f"{self._key}: a target keeps losing its parts: ask who runs it")
        return Copied(self._number, self._hashed(), places)

    def _resumed(self, number: int, target: Target, begun: Mapping[int, PartDone]) -> _At:
        at = _At(number, target)
        for part, done in begun.items():
            if part in self._parts and done.segment.size == len(self._parts[part]):
                at.upload = done.upload
                at.parts[part] = done.part
                self._segments[part] = done.segment
        return at

    def _begin(self, at: _At) -> None:
        """Begin an upload unless there is one, or find the object that has these bytes."""
        if at.upload:
            return
        for key in self._keys():
            if self._begun(at, key):
                return
        raise TargetFailed(
            f"{at.target.url}: other objects have all keys that {self._key} can have"
        )

    def _begun(self, at: _At, key: str) -> bool:
        """Whether an upload of a key is begun, or its object has these bytes already."""
        tried = self._job.patience.tried
        try:
            at.upload = tried(lambda: at.target.begin(key, self._entry.fingerprint.size))
        except Occupied:
            segments = self._hashed()
            if not tried(lambda: holds(at.target, key, 0, segments, self._job.check)):
                return False
            at.place = Place(key, 0)
        return True

    def _keys(self) -> Iterator[str]:
        yield self._key
        yield from versions(self._key, digest(self._hashed()), self._job.name)

    def _hashed(self) -> tuple[Segment, ...]:
        """The digests of all parts; those that are not known are read for them."""
        for number, part in self._parts.items():
            if number not in self._segments:
                digests = Digests(md5=self._job.md5)
                drained(shown_to(self._job.read(self._entry, part), digests))
                self._segments[number] = digests.segment()
        return tuple(self._segments[number] for number in self._parts)

    def _send(self, waiting: list[_At]) -> None:
        """Send each part to those who do not have it."""
        for number, part in self._parts.items():
            without = [at for at in waiting if at.upload and number not in at.parts]
            if without:
                self._job.patience.tried(partial(self._send_part, number, part, without))

    def _send_part(self, number: int, part: range, without: list[_At]) -> None:
        digests = Digests(md5=self._job.md5)
        read = shown_to(self._job.read(self._entry, part), digests)
        given = pour(read, [self._taker(at, number, part) for at in without])
        segment = self._segments[number] = digests.segment()
        for at, done in zip(without, given, strict=True):
            if done is None or at.upload is None:
                at.forget()
                continue
            at.parts[number] = done
            self._journal.part(self._number, at.number, number, PartDone(at.upload, done, segment))

    @staticmethod
    def _taker(at: _At, number: int, part: range) -> Callable[[Iterable[bytes]], Part | None]:
        upload = at.upload

        def take(chunks: Iterable[bytes]) -> Part | None:
            rest = iter(chunks)
            if upload:
                try:
                    return at.target.put_part(upload, number, part.start, rest, len(part))
                except UploadLost:
                    drained(rest)
            return None

        return take

    def _finish(self, at: _At) -> None:
        """Make the object if all parts are there; else they are sent again, or elsewhere."""
        upload = at.upload
        if upload is None or len(at.parts) < len(self._parts):
            return
        whole = [at.parts[number] for number in self._parts]
        try:
            stored = self._job.patience.tried(lambda: at.target.finish(upload, whole))
        except UploadLost:
            at.forget()
            return
        except Occupied:
            self._job.patience.tried(lambda: at.target.abort(upload))
            at.forget()
            return
        md5s = [self._segments[number].md5 for number in self._parts]
        see_told(at.target, stored, self._entry.fingerprint.size, md5s)
        at.place = Place(upload.key, 0)
