"""
The keys of objects: what is where at a target can be told by looking at it.

A file's key is its absolute path, so the copies of a directory have its structure. A component
keeps its letters, digits and some signs; all other bytes are quoted, as in a URL. Nothing is quoted
as `~`, which stands before what makes a second key of one path another.
"""

from collections.abc import Iterator
from hashlib import sha256
from urllib.parse import quote

SAFE = "+=@,"
"""Beside letters, digits, `_`, `.` and `-`."""

LONGEST_KEY = 900
LONGEST_COMPONENT = 180
"""A file's name has 255 bytes; an object's key 1,024 characters."""

VERSION_DIGITS = 16


def of_file(path: bytes) -> str:
    r"""
    The key of a file's bytes, by its absolute path.

    >>> of_file(b"/lustre/s1/a b/~caf\xe9.bam")
    'data/lustre/s1/a%20b/%7Ecaf%E9.bam'
    >>> of_file(b"/" + 70 * b"\n")[:20]
    'long/f3bc1af35693898'
    """
    components = [quote(part, safe=SAFE).replace("~", "%7E") for part in path.split(b"/")[1:]]
    key = "/".join(["data", *components])
    if len(key) > LONGEST_KEY or max(map(len, components)) > LONGEST_COMPONENT:
        return f"long/{sha256(path).hexdigest()}"
    return key


def versions(key: str, digest: str, unit: str) -> Iterator[str]:
    """
    What else a key may be, where another object has it or stands in its way.

    digest: in hexadecimal, of the content. unit: by its name, of the last one, which nobody has.
    """
    yield f"{key}~{digest[:VERSION_DIGITS]}"
    if key.startswith(MANIFESTS):  # they are looked for there alone
        yield f"{key}~{digest}"
        return
    yield f"versions/{digest}"
    yield f"versions/{digest}~{unit}"


def of_pack(unit: str, number: int) -> str:
    """
    The key of the bytes of many small files, of which the first has a number in the unit: who takes
    over and begins with the same file finds what was sent of it.
    """
    return f"{PACKS}{unit}/{number:09}"


def of_manifest(unit: str) -> str:
    """The key of a unit's manifest."""
    return f"{MANIFESTS}{unit}.jsonl.gz"


MANIFESTS = "manifests/"
"""What all keys of manifests begin with."""

PACKS = "packs/"
"""What keys of packs begin with, but for few that begin with `versions/`."""

SHARED = ("manifests", "long", "versions")
"""Folders in which keys of all units are."""


def folder_of(key: str) -> str:
    """
    The folder in which a key is.

    >>> folder_of("data/a/b")
    'data/a'
    """
    return key.rpartition("/")[0]
