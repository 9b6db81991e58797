"""
Where the scan files are: named by date and volume, or in folders named by time and mount.

Up to wrstat 6.0 the files are `YYYYMMDD_<volume>.<unique>.<unique>.stats.gz`; since 6.1 they are
`YYYYMMDD-HHMMSS_<mount>/stats.gz`, with every slash of the mount as U+FF0F. A folder whose name
begins with a dot is unfinished.
"""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

import numpy as np

from lurge_types.scans import Scan, Volume
from utils.paths import text
from utils.scanfile import STANDARD_INPUT

SECOND = 10**9
FULLWIDTH_SLASH = "\uff0f"
COPIED_AFTER = timedelta(days=7)
"""A file modified further away from its date than this was copied or restored since."""

BY_VOLUME = re.compile(rb"(?P<date>[0-9]{8})_(?P<volume>.+)\.[^.]+\.[^.]+\.stats\.gz", re.DOTALL)
BY_MOUNT = re.compile(rb"(?P<date>[0-9]{8})-(?P<time>[0-9]{6})_(?P<mount>.+)", re.DOTALL)


class ScansUnreadable(Exception):
    """The folder of the scan files cannot be read."""


class NoScans(Exception):
    """There is no scan file within reach, of any volume."""


class MountsAlike(Exception):
    """Two mounts would have the same name."""


@dataclass(frozen=True, slots=True)
class ScanMissing:
    """A volume without a scan file within reach, and why that is so in words."""

    volume: Volume
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """
    A scan file, as its name tells: of a mount, or of a volume's name, or of both.

    modified: nanoseconds since 1970; as a float it would be rounded, to the next second even.
    """

    path: Path
    record_date: date
    named_time: datetime
    modified: int
    mount: bytes | None = None
    volume: str | None = None

    def is_of(self, volume: Volume) -> bool:
        """Whether this is a scan of the volume."""
        if self.mount is not None:
            return self.mount == volume.mount
        return self.volume == volume.name

    def scan(self, volume: Volume) -> Scan:
        """The scan with its time: the file's, unless it was copied or restored later."""
        modified = self.modified // SECOND
        midnight = datetime.combine(self.record_date, time(), UTC).timestamp()
        if abs(modified - midnight) <= COPIED_AFTER.total_seconds():
            return Scan(volume, self.path, self.record_date, modified)
        # A file may be of a year that no datetime.date can be.
        day = np.datetime64(modified, "s").astype("datetime64[D]")
        remark = f"the file is of {day}: {self.named_time:%Y-%m-%d %H:%M:%S} is taken as scan time"
        scan_time = int(self.named_time.timestamp())
        return Scan(volume, self.path, self.record_date, scan_time, (remark,))


def listing(folder: Path) -> list[Found]:
    """
    Every finished scan file in a folder, the best one of each volume first.

    Raises ScansUnreadable.
    """
    try:
        found = [_found(folder, name) for name in os.listdir(folder)]  # noqa: PTH208 - names only
    except OSError as error:
        raise ScansUnreadable(
            f"wrstat_dir: {error.filename}: {error.strerror}: see that it is there and readable"
        ) from error
    return sorted(
        (each for each in found if each),
        key=lambda each: (each.record_date, each.modified, each.path),
        reverse=True,
    )


def _found(folder: Path, name: str) -> Found | None:
    """What a name in the folder stands for, if it is a scan's; its bytes tell in any locale."""
    by_mount = BY_MOUNT.fullmatch(os.fsencode(name))
    match = by_mount or BY_VOLUME.fullmatch(os.fsencode(name))
    if match is None:
        return None
    path = folder / name / "stats.gz" if by_mount else folder / name
    try:
        named_time = _named_time(match)
        modified = _modified(path, named_time)
    except (ValueError, FileNotFoundError, NotADirectoryError):
        return None
    found = Found(path, named_time.date(), named_time, modified)
    if by_mount is None:
        return replace(found, volume=text(match["volume"]))
    mount = match["mount"].replace(FULLWIDTH_SLASH.encode(), b"/")
    return replace(found, mount=mount.rstrip(b"/") or b"/")


def _named_time(match: re.Match[bytes]) -> datetime:
    """When the name says that the scan was made; a date alone is the end of its day."""
    day = match["date"].decode("ascii")
    if match.re is BY_VOLUME:
        return _end_of(datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC))
    moment = day + match["time"].decode("ascii")
    return datetime.strptime(moment, "%Y%m%d%H%M%S").replace(tzinfo=UTC)


def _modified(path: Path, named_time: datetime) -> int:
    """When a file was modified; one that cannot be seen fails its volume when it is to be read."""
    try:
        return path.stat().st_mtime_ns
    except (FileNotFoundError, NotADirectoryError):
        raise
    except OSError:
        return int(named_time.timestamp()) * SECOND


def _end_of(day: datetime) -> datetime:
    return day.replace(hour=23, minute=59, second=59)


def within_reach(
    found: Iterable[Found], *, day: date | None, today: date, max_days_ago: int
) -> list[Found]:
    """
    The scans of a day, or without one those that are neither too old nor of the future.

    Names may tell local time, which is ahead of UTC by less than a day.
    """
    if day is not None:
        return [each for each in found if each.record_date == day]
    oldest = today - timedelta(days=max_days_ago)
    tomorrow = today + timedelta(days=1)
    return [each for each in found if oldest <= each.record_date <= tomorrow]


def volumes_of(found: Iterable[Found]) -> list[Volume]:
    """
    A volume for each mount and each name among scan files, sorted by name.

    Raises MountsAlike.
    """
    volumes: dict[str, Volume] = {}
    for each in found:
        if each.mount is None:
            volumes.setdefault(each.volume or "", Volume(each.volume or ""))
            continue
        name = text(each.mount.rstrip(b"/").rsplit(b"/", 1)[-1]) or "root"
        other = volumes.get(name)
        if other and other.mount not in (None, each.mount):
            raise MountsAlike(
                f"{text(each.mount)} and {text(other.mount or b'')} are both called {name}: "
                "name them in [[volume]] tables"
            )
        volumes[name] = Volume(name, each.mount)
    return sorted(volumes.values(), key=lambda volume: volume.name)


def newest(
    found: Sequence[Found], volumes: Iterable[Volume], folder: Path, reach: str
) -> list[Scan | ScanMissing]:
    """For each volume the first of its scans, or that there is none within `reach`."""
    scans: list[Scan | ScanMissing] = []
    for volume in volumes:
        best = next((each for each in found if each.is_of(volume)), None)
        if best:
            scans.append(best.scan(volume))
        else:
            of = volume.name if volume.mount is None else f"{volume.name} ({text(volume.mount)})"
            reason = f"no scan of {of} {reach} in {folder}: see whether it ran"
            scans.append(ScanMissing(volume, reason))
    return scans


def of_file(path: Path, volume: Volume, day: date) -> Scan:
    """
    The scan in a file that is named by whoever asks for it.

    Raises ScansUnreadable.
    """
    midnight = datetime.combine(day, time(), UTC)
    if path == STANDARD_INPUT:
        remark = "read from standard input: the end of its day is the scan time"
        return Scan(volume, path, day, int(_end_of(midnight).timestamp()), (remark,))
    try:
        modified = path.stat().st_mtime_ns
    except OSError as error:
        raise ScansUnreadable(f"--scan {path}: {error.strerror}") from error
    return Found(path, day, _end_of(midnight), modified).scan(volume)
