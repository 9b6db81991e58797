r"""
What LDAP writes as text: distinguished names (RFC 4514) and filters (RFC 4515).

Two distinguished names are the same entry's when their normal forms are equal: capitals, spaces and
ways to escape make no difference.
"""

import re
import unicodedata

NAME = r"(?:[A-Za-z][A-Za-z0-9-]*|[0-9]+(?:\.[0-9]+)*)"
ATTRIBUTE = re.compile(NAME).fullmatch

ONE_PART = re.compile(
    rf"\s*({NAME})\s*=\s*((?:\\[0-9A-Fa-f]{{2}}|\\.|[^\\,+;\"<>])*?)\s*([,+;]|$)", re.DOTALL
).match
ESCAPED = re.compile(rb"\\([0-9A-Fa-f]{2}|.)", re.DOTALL)
SPECIAL = re.compile(r"[\\,+=]")

DESCRIPTION = rf"{NAME}(?:;[A-Za-z0-9-]+)*"
VALUE = r"(?:[^()\\*\x00]|\\[0-9A-Fa-f]{2})*"
MATCH = re.compile(
    rf"{DESCRIPTION}\s*(?:[~<>]={VALUE}|={VALUE}(?:\*{VALUE})*|(?::dn)?(?::{NAME})?:={VALUE})"
    rf"|(?::dn)?:(?!dn:=){NAME}:={VALUE}"
).match


def normal_dn(dn: str) -> str:
    r"""
    The normal form of a distinguished name. Raises ValueError for what is none.

    >>> normal_dn(r"UID = Ann ,  OU=A\2c  B\, C,dc=x+CN=\4d")
    'uid=ann,ou=a\\, b\\, c,cn=m+dc=x'
    """
    parts = [sorted(one) for one in parts_of_dn(dn)]
    return ",".join("+".join(f"{kind}={_quoted(value)}" for kind, value in one) for one in parts)


def parts_of_dn(dn: str) -> list[list[tuple[str, str]]]:
    """The (type, value) pairs of each part, in their normal form. Raises ValueError."""
    parts: list[list[tuple[str, str]]] = [[]]
    at, more = 0, "+"
    while more:
        found = ONE_PART(dn, at)
        if found is None:
            raise ValueError("no distinguished name, which is like uid=ann,ou=people,dc=example")
        if more != "+":
            parts.append([])
        kind, value, more = found.groups()
        parts[-1].append((kind.lower(), normal_value(_unescaped(value))))
        at = found.end()
    return parts


def normal_value(value: str) -> str:
    """A value without what makes no difference: capitals, spaces around it and double ones."""
    folded = unicodedata.normalize("NFKC", value).casefold()
    return " ".join(unicodedata.normalize("NFKC", folded).split())


def _unescaped(value: str) -> str:
    if "\\" not in value:
        return value
    raw = ESCAPED.sub(_byte, value.encode("utf-8", "surrogateescape"))
    return raw.decode("utf-8", "surrogateescape")


def _byte(found: re.Match[bytes]) -> bytes:
    return bytes.fromhex(found[1].decode()) if len(found[1]) == 2 else found[1]


def _quoted(value: str) -> str:
    return SPECIAL.sub(r"\\\g<0>", value)


def escaped(value: bytes) -> str:
    r"""
    What a value is in a filter: nothing but itself, whatever its bytes are.

    >>> escaped(b"ann"), escaped(b"*)(\0")
    ('\\61\\6e\\6e', '\\2a\\29\\28\\00')
    """
    # RFC 4515 lets any byte be written so. With all of them nothing is left to be taken for syntax.
    return "".join(f"\\{byte:02x}" for byte in value)


def check_filter(text: str) -> None:
    """
    See that a filter is one. Raises ValueError.

    >>> check_filter("(&(objectClass=posixGroup)(!(cn=te*m)))")
    """
    if _rest(text) != "":
        raise ValueError("no filter, which is like (objectClass=posixGroup)")


def _rest(text: str) -> str | None:
    """What follows a filter at the start of a text; None if there is none."""
    text = text.lstrip()
    if not text.startswith("("):
        return None
    inner = text[1:].lstrip()
    rest: str | None
    if inner[:1] in {"&", "|", "!"}:
        rest = _rest_of_list(inner[1:], 1 if inner[0] == "!" else None)
    else:
        found = MATCH(inner)
        rest = inner[found.end() :] if found else None
    if rest is None or not rest.startswith(")"):
        return None
    return rest[1:].lstrip()


def _rest_of_list(text: str, most: int | None) -> str | None:
    """What follows one or more filters, at most so many; None where there is none."""
    rest = _rest(text)
    count = 1
    while rest is not None and rest.startswith("(") and (most is None or count < most):
        rest = _rest(rest)
        count += 1
    return rest
