r"""
The one reversible text form of a path, for wherever bytes must become text: SQL, TSV, JSON, pages.

A path is bytes. In text a backslash is `\\`, a tab `\t`, a newline `\n`, any other byte below 20,
7F and every byte that is not UTF-8 `\xNN`; all else is as it is.
"""

import re

PLAIN = re.compile(rb"[ -\[\]-~]*").fullmatch
SPECIAL = re.compile("[\x00-\x1f\x7f\\\\\udc80-\udcff]")
ESCAPED = re.compile(rb"\\(?:x([0-9a-f]{2})|([\\tn]))")
SHORT = {"\\": "\\\\", "\t": "\\t", "\n": "\\n"}
LONG = {b"\\": b"\\", b"t": b"\t", b"n": b"\n"}


def text(path: bytes) -> str:
    r"""
    The text form of a path or name.

    >>> print(text(b"/a/tab\there, caf\xe9, caf\xc3\xa9"))
    /a/tab\there, caf\xe9, café
    """
    if PLAIN(path):
        return path.decode("ascii")
    return SPECIAL.sub(_escape, path.decode("utf-8", "surrogateescape"))


def raw(form: str) -> bytes:
    r"""
    The bytes whose text form this is.

    >>> raw(text(b"caf\xe9\n\\n"))
    b'caf\xe9\n\\n'
    """
    return ESCAPED.sub(_unescape, form.encode("utf-8"))


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    return SHORT.get(character) or f"\\x{ord(character) & 0xFF:02x}"


def _unescape(found: re.Match[bytes]) -> bytes:
    return LONG[found[2]] if found[2] else bytes.fromhex(found[1].decode("ascii"))
