"""What entries of an LDAP directory name, groups or people, and which of them count."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from lurge_types.config import MAX_ID
from lurge_types.ldap_text import normal_value, parts_of_dn
from utils.names import LONGEST_NAME, NUMBER
from utils.paths import text

EXAMPLES = 3


class Entry(NamedTuple):
    """An entry of the directory; the names of its attributes are in small letters."""

    dn: str
    values: Mapping[str, Sequence[bytes]]

    def all(self, attribute: str) -> list[bytes]:
        """The values of an attribute, in the order of their bytes; empty ones are none."""
        return sorted({value for value in self.values.get(attribute.lower(), ()) if value})


class Found(NamedTuple):
    """What an entry names: a number and its name; those of a lesser (name, dn) count first."""

    name: bytes
    number: int
    dn: str
    entry: Entry


class Remarks:
    """What is to be told of entries: how many of a kind, and the first few with the reason."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, list[str]] = {}

    def add(self, kind: str, dn: str, why: str) -> None:
        """Tell of an entry."""
        self.count(kind)
        examples = self._examples.setdefault(kind, [])
        if len(examples) < EXAMPLES:
            examples.append(f"{shown_dn(dn)}: {why}")

    def count(self, kind: str, number: int = 1) -> None:
        """Count what cannot be told more of."""
        self._counts[kind] += number

    def lines(self) -> tuple[str, ...]:
        """A line for each kind."""
        return tuple(self._line(kind, count) for kind, count in self._counts.items() if count)

    def _line(self, kind: str, count: int) -> str:
        examples = self._examples.get(kind, [])
        more = ["..."] if 0 < len(examples) < count else []
        return "; ".join([f"{count} {kind}", *examples, *more])


def shown_dn(dn: str) -> str:
    """A DN in the text form."""
    return text(dn.encode("utf-8", "surrogateescape"))


def found_in(
    kind: str, entries: Iterable[Entry], name: str, number: str, told: Remarks
) -> dict[int, Found]:
    """What entries name, by number, in the order in which they count."""
    usable = []
    for entry in entries:
        try:
            usable.append(Found(name_of(entry, name), number_of(entry, number), entry.dn, entry))
        except ValueError as error:
            told.add(f"{kind} passed over", entry.dn, str(error))
            continue
        if len(entry.all(name)) > 1:
            told.add(f"{kind} of several names", entry.dn, f"goes by {text(usable[-1].name)}")
    counting: dict[int, Found] = {}
    for one in sorted(usable, key=lambda one: one[:3]):
        first = counting.setdefault(one.number, one)
        if first is not one:
            why = f"{number} {one.number} is that of {shown_dn(first.dn)}, which counts"
            told.add(f"{kind} with the number of another", one.dn, why)
    return counting


def name_of(entry: Entry, attribute: str) -> bytes:
    """An entry's name. Raises ValueError where it has none that can be used."""
    names = entry.all(attribute)
    if not names:
        raise ValueError(f"no {attribute}")
    if len(names) > 1:
        own = _in_dn(entry.dn, attribute)
        names.sort(key=lambda name: normal_value(name.decode("utf-8", "surrogateescape")) != own)
    if len(names[0]) > LONGEST_NAME:
        raise ValueError(f"{attribute} has more than {LONGEST_NAME} bytes")
    return names[0]


def _in_dn(dn: str, attribute: str) -> str | None:
    """The value of an attribute in an entry's own part of its DN, in the normal form."""
    try:
        return dict(parts_of_dn(dn)[0]).get(attribute.lower())
    except ValueError:
        return None


def number_of(entry: Entry, attribute: str) -> int:
    """A gid or uid. Raises ValueError where there is none, or not one."""
    values = entry.all(attribute)
    if len(values) != 1:
        raise ValueError(f"{len(values)} values of {attribute}" if values else f"no {attribute}")
    if not NUMBER(values[0]):
        raise ValueError(f"{attribute} is no number: {text(values[0][:40])}")
    if int(values[0]) > MAX_ID:
        raise ValueError(f"{attribute} is above {MAX_ID}: {int(values[0])}")
    return int(values[0])
