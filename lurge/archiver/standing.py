"""What stands there already of what is to be made again, as after a restore that was killed."""

import os
import stat
from hashlib import sha256
from pathlib import Path

from lurge.archiver.binning import GONE
from lurge.archiver.handles import opened
from lurge_types.archive import Entry
from lurge_types.targets import CHUNK_BYTES
from utils import manifests
from utils.handles import Opener, TreeUnfit
from utils.trees import fingerprint


def all_stands(root: bytes, manifest: Path) -> bool:
    """
    Whether all of a unit is in its place, with its bytes, modes, owners and times.

    Raises OSError, ManifestBroken.
    """
    try:
        with opened(root) as handle, Opener(handle) as opener, manifest.open("rb") as file:
            return all(
                _is_dressed(opener.stat(entry.path), entry) and stands(opener, entry)
                for entry in manifests.read(file)[1]
            )
    except (*GONE, TreeUnfit):
        return False


def stands(opener: Opener, entry: Entry) -> bool:
    """Whether an entry is there with its bytes. Raises TreeUnfit, OSError."""
    try:
        found = opener.stat(entry.path)
        if not _is_like(found, entry):
            return False
        if entry.same_as is not None:
            return os.path.samestat(opener.stat(entry.same_as), found)
    except GONE:
        return False
    if entry.link is not None:
        above, name = opener.place(entry.path)
        return os.readlink(name, dir_fd=above) == entry.link
    return not entry.has_bytes or _has_bytes(opener, entry)


def _is_dressed(found: os.stat_result, entry: Entry) -> bool:
    is_ = stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid
    return is_ == (entry.mode, entry.uid, entry.gid)


def _is_like(found: os.stat_result, entry: Entry) -> bool:
    now, known = fingerprint(found), entry.fingerprint
    if known.kind == "d":  # its size is its filesystem's matter
        return (now.kind, now.mtime_ns) == (known.kind, known.mtime_ns)
    is_ = now.kind, now.size, now.mtime_ns, found.st_rdev
    return is_ == (known.kind, known.size, known.mtime_ns, entry.rdev)


def _has_bytes(opener: Opener, entry: Entry) -> bool:
    """Whether a file that is there has the bytes of an entry; False where none are known."""
    with os.fdopen(opener.open(entry.path), "rb") as file:
        for segment in entry.segments:
            digest, left = sha256(), segment.size
            while chunk := file.read(min(left, CHUNK_BYTES)):
                digest.update(chunk)
                left -= len(chunk)
            if digest.hexdigest() != segment.sha256:
                return False
    return bool(entry.segments)
