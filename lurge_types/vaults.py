"""The files that vaults hold: what people have marked to be kept or archived."""

from datetime import date
from hashlib import sha256
from typing import NamedTuple


class VaultFile(NamedTuple):
    """
    A file that a vault holds; made by the million.

    action: what is to become of it, as the database calls it. real_path and shown: where it was
    when it was marked, in text form; shown as people know it. last_modified: a day in UTC, None if
    it is not known. links: how many names it has; with 1, only the vault still has it.
    """

    action: str
    real_path: str
    shown: str
    inode: int
    size_bytes: int
    uid: int
    gid: int
    last_modified: date | None
    links: int

    def state(self) -> bytes:
        """A digest of all that is known of the file: two that differ in anything differ in it."""
        return sha256("\0".join(map(str, self)).encode()).digest()
