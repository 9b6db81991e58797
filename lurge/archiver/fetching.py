"""The manifest of a copy: here, or read back from its target."""

import os
import secrets
from hashlib import sha256
from pathlib import Path

from lurge.archiver.sending import Patience
from lurge_types.archive import Copy
from lurge_types.targets import Target, TargetFailed
from utils import manifests
from utils.durable import room_in, sync_folder


class ManifestLost(TargetFailed):
    """The manifest of a copy is neither here nor at its target as it was sent: which."""


def fetched(target: Target, copy: Copy, manifest: Path, patience: Patience) -> Path:
    """
    The manifest of a copy, from its target unless it is here.

    Raises ManifestLost where neither is as it was sent, TargetFailed, NoRoom, OSError.
    """
    if manifest.exists() and manifests.digest(manifest) == copy.manifest_sha256:
        return manifest
    with room_in(manifest.parent):
        manifest.parent.mkdir(parents=True, exist_ok=True)
    part = manifest.with_name(f".{manifest.name}.{secrets.token_hex(4)}")
    try:
        fetch(target, copy, part, patience)
        part.rename(manifest)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    sync_folder(manifest.parent)
    return manifest


def fetch(target: Target, copy: Copy, file: Path, patience: Patience) -> None:
    """
    Read a copy's manifest back into a file, a piece at a time, durably.

    Raises ManifestLost where it is not there as it was sent, TargetFailed, NoRoom, OSError.
    """

    def once() -> str:
        digest = sha256()
        with room_in(file.parent), file.open("wb") as opened:
            for chunk in target.get(copy.key, 0, copy.manifest_bytes):
                digest.update(chunk)
                opened.write(chunk)
            opened.flush()
            os.fsync(opened.fileno())
        return digest.hexdigest()

    stored = patience.tried(lambda: target.stat(copy.key))
    if stored is None:
        raise ManifestLost(f"{copy.target}: {copy.key} is not there")
    if stored.size != copy.manifest_bytes or patience.tried(once) != copy.manifest_sha256:
        raise ManifestLost(f"{copy.target}: {copy.key} is not what was sent")
