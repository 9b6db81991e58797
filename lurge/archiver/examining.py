"""
What the archiver needs, point by point, for the doctor: whether it could do its work tonight.

It is asked of the real thing: an object goes to each target, is read back and removed, and an empty
folder is renamed into each bin. Nothing is left of that, but at S3 the object by which it is found
out that the server replaces none.
"""

import errno
import getpass
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import closing, suppress
from dataclasses import replace
from datetime import date
from functools import partial
from itertools import combinations
from pathlib import Path

from db import checkup, projects
from db.database import Database, is_empty_file
from db.projects import ProjectsFailed
from lurge.archiver.binning import BinRefused, see_own
from lurge.archiver.guards import PLACE
from lurge.archiver.handles import opened
from lurge.archiver.selectors.projects import TREES
from lurge.archiver.sending import see_told
from lurge.archiver.works import bin_of, words
from lurge.doctor import Check, Point, room
from lurge_types.config import ArchiveTable, Config, VolumeTable
from lurge_types.targets import Target, TargetFailed
from utils import checkpoints, lfs, show
from utils.handles import TreeUnfit
from utils.mounts import Mount, mounts, nearest, of
from utils.paths import raw, text
from utils.renaming import renamed_at_once
from utils.targets.opening import open_target

TRIAL = b"The doctor was here.\n"
KEYS = "doctor/"
"""How the keys begin of what is put at targets."""

FOLDERS = b".lurge-doctor-"
"""How the names begin of folders that are renamed."""

FORGETFUL = frozenset({b"tmpfs", b"ramfs"})
"""Types of filesystems that are gone after a reboot."""

QUERY_SECONDS = 30

NOT_AT_ONCE = (
    "its filesystem cannot see to it, in the one step of a rename, that nothing is replaced, which "
    "is looked at before then: let nobody else write where a directory is being restored"
)


def checks(
    config: Config, today: date, database: Callable[[], Database], projects_url: Callable[[], str]
) -> Mapping[str, Check]:
    """
    What is to be looked at, by the point that tells why it could not be.

    database: opens it. projects_url: raises what says that there is none.
    """
    retired = config.retired(today)
    volumes = [table for table in config.volume if table.name not in retired]
    return {
        "archive.target": partial(targets, config),
        "archive.run_dir": lambda: folders(config.archive, mounts()),
        "archive.bin": partial(bins, config, volumes),
        "lfs": lambda: lustre(volumes, mounts()),
        "archive tables": partial(tables, config, database),
        "archive.projects": partial(queries, config.archive, projects_url),
    }


# Targets.


def targets(config: Config) -> Iterator[Point]:
    """Whether objects can be stored at each target, read back and removed."""
    urls = config.archive.target
    if not urls:
        words = "names no target: nothing can be archived, only discarded: name one"
        yield Point("archive.target", "look", words)
    for url in urls[config.archive.copies :]:
        words = f"archive.copies = {config.archive.copies}: new copies go to those before it"
        yield Point(_of(url), "look", words)
    for url in urls:
        try:
            yield from _target(config, url)
        except TargetFailed as error:
            yield Point(_of(url), "fails", str(error))
    yield from _together(urls)


def _of(url: str) -> str:
    return f"target {url}"


def _target(config: Config, url: str) -> Iterator[Point]:
    """Raises TargetFailed."""
    if url.startswith(PLACE):
        folder = Path(url.removeprefix(PLACE))
        if not folder.exists() and folder.parent.is_dir():
            yield _to_be_made(url, folder)
            return
        yield from _place(config, url, folder)
    with closing(open_target(url, config.archive)) as target:
        try_out(target)
        free, least = target.free_bytes(), config.archive.guards.min_free
    said = "an object was stored, read back and removed"
    if free is None:
        yield Point(_of(url), "ok", said)
    elif free < least:
        few = f"{show.size(free)} are free, and guards.min_free is {show.size(least)}"
        yield Point(_of(url), "look", f"{said}; {few}: archive apply waits for room: make some")
    else:
        yield Point(_of(url), "ok", f"{said}; {show.size(free)} free")


def _to_be_made(url: str, folder: Path) -> Point:
    """What to know of a target that is a directory, of which all but itself is there."""
    if not os.access(folder.parent, os.W_OK | os.X_OK):
        words = f"it is not there, and {_shown(folder.parent)} cannot be written: see to its rights"
        return Point(_of(url), "fails", words)
    words = (
        "it is not there: the first run makes it. If a filesystem is to be mounted there, mount it"
    )
    return Point(_of(url), "look", words)


def _place(config: Config, url: str, folder: Path) -> Iterator[Point]:
    """Whether a directory is where copies are safe: not where what is copied is."""
    place = folder.resolve()
    for table in config.volume:
        mount = Path(os.fsdecode(raw(table.mount)))
        if not mount.is_dir():
            continue
        if mount.resolve().is_relative_to(place):
            words = f"volume {table.name} lies in it: nothing of that is archived: name another"
            yield Point(_of(url), "fails", words)
        elif place.exists() and place.stat().st_dev == mount.stat().st_dev:
            words = (
                f"it is on the filesystem of volume {table.name}: what breaks that takes the "
                "copies too, and no room is won: put it elsewhere"
            )
            yield Point(_of(url), "look", words)


def try_out(target: Target) -> None:
    """
    Store an object, read it back, and remove it.

    Raises TargetFailed.
    """
    key = f"{KEYS}{secrets.token_hex(8)}"
    stored = target.put(key, [TRIAL], len(TRIAL))
    try:
        md5 = hashlib.md5(TRIAL, usedforsecurity=False).hexdigest()
        see_told(target, stored, len(TRIAL), [md5 if target.speaks_md5 else None])
        target.sync()
        read = b"".join(target.get(key, 0, len(TRIAL)))
    finally:
        target.delete(key)
    if read != TRIAL:
        raise TargetFailed(f"{target.url}: {key} was read back as something else: see to the store")
    if target.stat(key) is not None:
        raise TargetFailed(f"{target.url}: {key} was removed, and is still there: see to the store")


def _together(urls: Iterable[str]) -> Iterator[Point]:
    """Directories that are on one filesystem, so that they break together."""
    there: dict[str, int] = {}
    for url in urls:
        if url.startswith(PLACE):
            with suppress(OSError):  # which is a point of its own
                there[url] = Path(url.removeprefix(PLACE)).stat().st_dev
    for one, other in combinations(there, 2):
        if there[one] == there[other]:
            words = f"it is on the filesystem of {one}: what breaks that takes both copies"
            yield Point(_of(other), "look", f"{words}: put one elsewhere")


# What the archiver writes of its own.


def folders(table: ArchiveTable, mounted: Collection[Mount]) -> Iterator[Point]:
    """Whether runs, checkpoints and logs can be written, and outlive a reboot."""
    places = {file.parent: "checkpoint_files" for file in table.checkpoint_files}
    places |= {table.log_dir: "log_dir", table.run_dir: "run_dir"}
    for folder, key in places.items():
        found = room(folder, 0)
        yield replace(found, point=f"archive.{key}", words=f"{_shown(folder)}: {found.words}")
        mount = of(bytes(nearest(folder.absolute()).resolve()), mounted)
        if mount is not None and mount.kind in FORGETFUL:
            words = (
                f"{_shown(folder)} is on {mount.kind.decode()}, of which nothing is left after a "
                "reboot, and with it runs could not go on: put it on a disk"
            )
            yield Point(f"archive.{key}", "look", words)
    yield from _checkpoints(table)


def _checkpoints(table: ArchiveTable) -> Iterator[Point]:
    """Whether the files of checkpoints are what they should be."""
    point = "archive.checkpoint_files"
    try:
        found = checkpoints.newest(table.checkpoint_files)
    except OSError as error:
        yield Point(point, "fails", f"{words(error)}: see to its rights")
        return
    for remark in found.remarks:
        yield Point(point, "look", f"{remark}: it is written anew, unless it is another's file")


# Bins.


def bins(config: Config, volumes: Iterable[VolumeTable]) -> Iterator[Point]:
    """Whether each volume has a bin into which can be renamed what is on it."""
    for table in volumes:
        mount = raw(table.mount)
        point = f"bin of {table.name}"
        if not os.path.isdir(mount):
            yield Point(point, "look", f"{table.mount} is not mounted here: run this where it is")
            continue
        bin_ = bin_of(config, table.name)
        try:
            yield from _marker(config.archive, table)
            yield _bin(point, mount, bin_)
        except (BinRefused, TreeUnfit) as error:
            yield Point(point, "fails", str(error))
        except OSError as error:
            where = "" if error.filename else f"{text(bin_)}: "
            advice = "see to its rights, or set archive.bin"
            yield Point(point, "fails", f"{where}{words(error)}: {advice}")


def _marker(table: ArchiveTable, volume: VolumeTable) -> Iterator[Point]:
    marker = table.guards.marker
    if marker is not None and not Path(os.fsdecode(raw(volume.mount)), marker).is_file():
        why = f"{volume.mount}/{marker} is not there, so nothing of {volume.name} is planned"
        advice = "see whether it is mounted; if so, make the file"
        yield Point("archive.guards.marker", "fails", f"{why}: {advice}")


def _bin(point: str, mount: bytes, bin_: bytes) -> Point:
    """
    Rename an empty folder from a volume's root to where its bin is, or will be.

    Raises BinRefused, TreeUnfit, OSError.
    """
    is_there = os.path.lexists(bin_)
    if is_there:
        see_own(bin_)
    where = bin_ if is_there else os.path.dirname(bin_)
    if os.stat(where).st_dev != os.stat(mount).st_dev:
        return Point(point, "look", _refused(mount, bin_, "which is on another filesystem"))
    name = FOLDERS + secrets.token_hex(8).encode("ascii")
    with opened(mount) as root, opened(where) as folder:
        try:
            os.mkdir(name, 0o700, dir_fd=root)
        except PermissionError:
            words = f"{getpass.getuser()} cannot write to {text(mount)}, so nothing was tried"
            return Point(point, "look", f"{words}: run this as the user who archives")
        try:
            at_once = _rename(name, root, folder)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise OSError(error.errno, error.strerror, where) from error
            return Point(point, "look", _refused(mount, bin_, "though it is on its filesystem"))
    if not at_once:
        return Point(point, "look", f"{text(bin_)}: {NOT_AT_ONCE}")
    made = "can be renamed into" if is_there else "is not there yet: the first run makes it"
    return Point(point, "ok", f"{text(bin_)} {made}")


def _rename(name: bytes, root: int, folder: int) -> bool:
    """Rename an empty folder, and remove it; whether nothing could have been replaced by that."""
    new = name + b"-renamed"
    try:
        at_once = renamed_at_once(name, new, from_=root, to=folder)
        if not at_once:
            os.rename(name, new, src_dir_fd=root, dst_dir_fd=folder)
    except BaseException:
        os.rmdir(name, dir_fd=root)
        raise
    os.rmdir(new, dir_fd=folder)
    return at_once


def _refused(mount: bytes, bin_: bytes, why: str) -> str:
    return (
        f"nothing can be renamed from {text(mount)} into {text(bin_)}, {why}: each unit will have "
        "a .lurge-bin beside it; for one bin, name a folder there in archive.bin"
    )


# All else.


def lustre(volumes: Iterable[VolumeTable], mounted: Iterable[Mount]) -> Iterator[Point]:
    """Whether what was released to an HSM can be told from what is there."""
    kinds = {mount.place: mount.kind for mount in mounted}
    on_lustre = [table.name for table in volumes if kinds.get(table.mount) == b"lustre"]
    if not on_lustre:
        return
    if program := shutil.which(lfs.PROGRAM):
        yield Point("lfs", "ok", f"{program} can be asked what was released to an HSM")
        return
    words = (
        "there is no lfs on the PATH: what looks as if it was released to an HSM is left out of "
        f"plans of {', '.join(on_lustre)}, unless there is --recall: install Lustre's tools"
    )
    yield Point("lfs", "look", words)


def tables(config: Config, database: Callable[[], Database]) -> Iterator[Point]:
    """Whether what is done can be written down. Raises DatabaseFailed."""
    if is_empty_file(config.database.url):  # which is a point of its own
        return
    with closing(database()) as opened_:
        opened_.check(make=False)
        opened_.transaction(checkup.try_archive_rights)
    yield Point("archive tables", "ok", "rows can be added, and changed")


def queries(table: ArchiveTable, url: Callable[[], str]) -> Iterator[Point]:
    """Whether the site's own database answers. Raises ConfigWrong where none is named."""
    for name in TREES:
        query = getattr(table.projects, name)
        if query is None:
            continue
        called = f"archive.projects.{name}"
        started = time.monotonic()
        try:
            count = sum(1 for _ in projects.rows(url(), query.query, called, QUERY_SECONDS))
        except ProjectsFailed as error:
            yield Point(called, "fails", str(error))
            continue
        words = f"the query gives {count:,} rows in {time.monotonic() - started:.1f} s"
        if not count:
            words = f"{words}: see whether it is the right one"
        yield Point(called, "ok" if count else "look", words)


def _shown(path: Path) -> str:
    return text(bytes(path))
