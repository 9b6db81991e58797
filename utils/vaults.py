"""
The layout of vaults, in which people mark files to keep or to archive.

A vault is a folder `.vault` in a root. It holds a hard link of each marked file, in the branch that
tells what is to become of it: `<root>/.vault/<branch>/<key>`. The key is the file's inode in
hexadecimal, byte by byte, as folders; the last byte is followed by `-` and the base64 of the path
below the root that the file had when it was marked. See https://github.com/wtsi-hgi/hgi-vault.
"""

import binascii
import re
from base64 import b64decode, b64encode
from typing import NamedTuple

VAULT = b".vault"
KEEP = b"keep"
"""The action of files that stay where they are."""

ALPHABET_ENDS = b"+_"
"""The last two characters of the base64; in the standard one, the last would cut the key."""

LONGEST_NAME = 255
LONGEST_PATH = 4096
INODE = re.compile(rb"(?:[0-9a-f]{2}){1,8}").fullmatch


class KeyBroken(ValueError):
    """A key that says nothing of a file."""


class Place(NamedTuple):
    """
    Where in a vault something lies.

    root: of the vault, without a trailing slash. branch: the folder of the vault. key: what is left
    of the path, empty for what lies directly in the vault.
    """

    root: bytes
    branch: bytes
    key: bytes

    @property
    def action(self) -> bytes:
        """What the branch says is to become of it: without its leading dot, in lower case."""
        return self.branch.removeprefix(b".").lower()


class Key(NamedTuple):
    """What a key says: the inode of the file, and its path below the root when it was marked."""

    inode: int
    path: bytes


def place(path: bytes) -> Place | None:
    """
    Where in the outermost vault on its way a path lies; None if it is or lies in none.

    >>> place(b"/a/.vault/keep/1f/03-eA==")
    Place(root=b'/a', branch=b'keep', key=b'1f/03-eA==')
    """
    root, found, rest = path.partition(b"/" + VAULT + b"/")
    if not found:
        return None
    branch, _, key = rest.partition(b"/")
    return Place(root, branch, key)


def encode(key: Key) -> bytes:
    """
    A key as a path; what is too long for a name is cut into folders.

    >>> encode(Key(0x1F03, b"data/x"))
    b'1f/03-ZGF0YS94'
    """
    digits = f"{key.inode:x}"
    digits = "0" * (len(digits) % 2) + digits
    folders = [digits[at : at + 2].encode() for at in range(0, len(digits), 2)]
    last = folders.pop() + b"-" + b64encode(key.path, ALPHABET_ENDS)
    cut = [last[at : at + LONGEST_NAME] for at in range(0, len(last), LONGEST_NAME)]
    return b"/".join(folders + cut)


def decode(key: bytes) -> Key:
    """
    What a key says.

    >>> decode(b"1f/03-ZGF0/YS94")
    Key(inode=7939, path=b'data/x')

    Raises KeyBroken.
    """
    digits, dash, encoded = key.replace(b"/", b"").partition(b"-")
    if not dash:
        raise KeyBroken("no - behind the inode")
    if not INODE(digits):
        raise KeyBroken("the inode is not one to eight bytes in hexadecimal")
    try:
        path = b64decode(encoded, ALPHABET_ENDS, validate=True)
    except binascii.Error as error:
        raise KeyBroken("the path is not in base64") from error
    if b"\0" in path or len(path) > LONGEST_PATH:
        raise KeyBroken("the path is none")
    if {b"", b".", b".."} & set(path.split(b"/")):
        raise KeyBroken("the path does not lie below the vault's root")
    return Key(int(digits, 16), path)
