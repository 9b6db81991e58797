"""The project inspector's rows in plain Python: lists of components, sets, one entry at a time."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from lurge.inspector.rules import Rules
from lurge_types.batch import Entry
from lurge_types.reports import (
    AGE_CLASSES,
    DIRECTLY,
    FOLDED,
    NOWHERE,
    UNKNOWN_AGE,
    BaseDirectory,
    BaseUse,
    DirectoryReport,
    Part,
)
from utils.paths import text

DAY = 86_400
TENTH_OF_A_DAY = DAY // 10
LARGEST = 10

Components = tuple[bytes, ...]
"""A path in its components; the root has none."""

Place = tuple[int, Components | None, Components | None]
"""A key of a row: group, base directory (or None), directory (None stands for the smallest)."""


@dataclass(frozen=True)
class Told:
    """All that the tally has to tell; rows in the order they were asked for."""

    groups: list[int]
    directories: list[DirectoryReport]
    bases: list[BaseUse]
    folded: int
    folded_bases: int

    @property
    def largest(self) -> list[DirectoryReport]:
        """The rows with most bytes; `sorted` keeps the order of those that have as many."""
        return sorted(self.directories, key=lambda row: -row.size_bytes)[:LARGEST]


@dataclass(frozen=True)
class Facts:
    """What a file, or several names of one, counts with; the greatest decides."""

    size: int
    used: int
    modified: int
    kind: int

    @property
    def rank(self) -> tuple[int, int, int, int]:
        return self.size, self.used, self.modified, self.kind


def told(
    entries: Iterable[Entry],
    rules: Rules,
    gids: Callable[[list[int]], Sequence[int]] = list,
    pseudo: Mapping[bytes, int] | None = None,
) -> Told:
    """What a tally of these entries must tell, when rows are put in the order of `gids`."""
    files: dict[Place, list[Entry]] = defaultdict(list)
    of_bases: dict[tuple[int, Components | None], list[Entry]] = defaultdict(list)
    vaults = set()
    kept = set()
    for each in entries:
        gid = group(each, pseudo or {})
        base = base_directory(each, rules)
        of_bases[gid, base].append(each)
        if each.type == "f":
            files[gid, base, directory(each, base, rules)].append(each)
        if each.type == "d" and components(each.path)[-1:] == (b".vault",):
            vaults.add(components(each.path))
        if each.type == "f" and is_kept(each):
            kept.add((each.device, each.inode))
    bases = {base for _, base in of_bases if base is not None}
    bases |= set(map(components, rules.bases))
    rows, small = folded(files, rules)
    groups = sorted({gid for gid, _ in of_bases})
    order = list(gids(groups))

    def key(row: DirectoryReport | BaseUse) -> tuple[int, bytes, bytes, bytes]:
        directory = row.directory.encode() if isinstance(row, DirectoryReport) else b""
        return order.index(row.gid), row.base.shown.encode(), directory, row.base.real.encode()

    reports = [
        report(place, names, rules, kept, vaults=vaults, bases=bases)
        for place, names in rows.items()
    ]
    reports += [report(place, names, rules, kept) for place, names in small.items()]
    return Told(
        groups,
        sorted(reports, key=key),
        sorted((use(*place, names, rules) for place, names in of_bases.items()), key=key),
        len(files) - len(rows),
        len(small),
    )


# Where an entry counts.


def components(path: bytes) -> Components:
    return tuple(part for part in path.split(b"/") if part)


def path_of(parts: Components) -> str:
    return text(b"/" + b"/".join(parts))


def group(each: Entry, pseudo: Mapping[bytes, int]) -> int:
    rule = best(list(pseudo), components(each.path))
    return each.gid if rule is None else list(pseudo.values())[rule]


def best(patterns: Sequence[bytes], path: Components) -> int | None:
    """The longest pattern, then a literal component before a `*`, then the first."""
    wanted = list(map(components, patterns))
    held = [number for number, pattern in enumerate(wanted) if lies_under(path, pattern)]

    def rank(number: int) -> tuple[int, list[bool], int]:
        return -len(wanted[number]), [b"*" in part for part in wanted[number]], number

    return min(held, key=rank, default=None)


def lies_under(path: Components, pattern: Components) -> bool:
    return len(path) >= len(pattern) and all(map(like, path, pattern))


def like(component: bytes, pattern: bytes) -> bool:
    parts = map(re.escape, pattern.split(b"*"))
    return re.fullmatch(b".*".join(parts), component, re.DOTALL) is not None


def directories_of(each: Entry) -> Components:
    """The entry's path, or where it lies if it is no directory: a base is always a directory."""
    path = components(each.path)
    return path if each.type == "d" else path[:-1]


def base_directory(each: Entry, rules: Rules) -> Components | None:
    path = directories_of(each)
    known = set(map(components, rules.bases))
    for length in range(len(path), -1, -1):
        if path[:length] in known:
            return path[:length]
    rule = best([rule.prefix for rule in rules.base_rules], components(each.path))
    if rule is None or len(path) < rules.base_rules[rule].depth:
        return None
    return path[: rules.base_rules[rule].depth]


def directory(each: Entry, base: Components | None, rules: Rules) -> Components:
    if base is None:
        return ()
    path = directories_of(each)
    below = path[len(base) :]
    taken = 2 if below[:1] and below[0] in rules.deeper else 1
    return base + below[:taken]


def folded(
    files: Mapping[Place, list[Entry]], rules: Rules
) -> tuple[dict[Place, list[Entry]], dict[Place, list[Entry]]]:
    """
    The rows that stay, and one for the others of each base directory that has too many.

    A directory that has this row's name goes into it, so that no two rows have one.
    """
    of_base: dict[tuple[int, Components | None], list[Place]] = defaultdict(list)
    for place in files:
        of_base[place[:2]].append(place)
    stay = dict(files)
    small: dict[Place, list[Entry]] = {}
    for (gid, base), places in of_base.items():
        if rules.rows_per_base and len(places) > rules.rows_per_base:
            places.sort(key=lambda place: b"/".join(place[2] or ()))
            places.sort(key=lambda place: used_bytes(files[place], rules), reverse=True)
            places.sort(key=lambda place: _called(*place[1:])[0] == FOLDED)
            gone = places[rules.rows_per_base - 1 :]
            small[gid, base, None] = [name for place in gone for name in stay.pop(place)]
    return stay, small


# What the entries of a row amount to.


def is_kept(each: Entry) -> bool:
    """Whether an entry lies in the keep branch of a vault; the outermost one counts."""
    path = components(each.path)
    branch = path[path.index(b".vault") + 1 :][:1] if b".vault" in path else ()
    return bool(branch) and re.fullmatch(rb"(?i)[.]?keep", branch[0]) is not None


def is_linked(each: Entry) -> bool:
    """Whether a file is told by its inode, however many names were seen."""
    return each.type == "f" and (each.links > 1 or is_kept(each))


def counted(names: Iterable[Entry], rules: Rules) -> list[Facts]:
    """The facts of each file; files with several names once, with the greatest of each."""
    single = []
    linked: dict[tuple[int, int], Facts] = {}
    for name in names:
        modified = known(name.mtime, rules)
        used = max(known(name.atime, rules), modified)
        facts = Facts(name.size, used, modified, file_type(name.path, rules))
        if is_linked(name):
            inode = name.device, name.inode
            linked[inode] = max(facts, linked.get(inode, facts), key=lambda facts: facts.rank)
        else:
            single.append(facts)
    return [*single, *linked.values()]


def used_bytes(names: Iterable[Entry], rules: Rules) -> int:
    return sum(facts.size for facts in counted(names, rules))


def known(time: int, rules: Rules) -> int:
    """A time that can be, or 0."""
    return time if 0 < time <= rules.scan_time else 0


def days(times: Iterable[int], rules: Rules) -> Decimal | None:
    newest = max(times)
    if not newest:
        return None
    # `round` of a fraction is exact and half-even.
    return Decimal(round(Fraction(rules.scan_time - newest, TENTH_OF_A_DAY))) / 10


def file_type(path: bytes, rules: Rules) -> int:
    """The place of the type of the longest ending, from 1, or 0."""
    name = components(path)[-1].lower()
    held = [
        (len(ending), kind)
        for kind, file_type in enumerate(rules.file_types, 1)
        for ending in file_type.endings
        if name.endswith(ending)
    ]
    return max(held, default=(0, 0))[1]


def age_class(used: int, rules: Rules) -> int:
    if not used:
        return UNKNOWN_AGE
    return max(days for days in AGE_CLASSES if days * DAY <= rules.scan_time - used)


def parts(
    files: Sequence[Facts], kinds: Iterable[int], kind: Callable[[Facts], int]
) -> tuple[Part, ...]:
    sizes = defaultdict(list)
    for facts in files:
        sizes[kind(facts)].append(facts.size)
    return tuple(Part(each, len(sizes[each]), sum(sizes[each])) for each in kinds if each in sizes)


# The rows.


def report(
    place: Place,
    names: Sequence[Entry],
    rules: Rules,
    kept: Collection[tuple[int, int]],
    *,
    vaults: Iterable[Components] = (),
    bases: Iterable[Components] = (),
) -> DirectoryReport:
    """A row; what it says of vaults and bases holds of whole directories only."""
    gid, base, path = place
    files = counted(names, rules)
    called, real = _called(base, path)
    is_tree = base is not None and path is not None and len(path) > len(base)
    return DirectoryReport(
        gid=gid,
        base=base_of(base, rules),
        directory=called,
        real_path=real,
        files=len(files),
        size_bytes=sum(facts.size for facts in files),
        last_modified_days=days([known(name.mtime, rules) for name in names], rules),
        last_used_days=days(
            [known(time, rules) for name in names for time in (name.atime, name.mtime)], rules
        ),
        by_type=parts(files, range(len(rules.file_types) + 1), lambda facts: facts.kind),
        by_age=parts(
            files, [*AGE_CLASSES, UNKNOWN_AGE], lambda facts: age_class(facts.used, rules)
        ),
        kept_files=len(
            {(name.device, name.inode) for name in names if is_linked(name)}.intersection(kept)
        ),
        holds_vault=is_tree and holds_vault(path or (), vaults),
        lies_above=is_tree and lies_above(path or (), bases),
    )


def holds_vault(path: Components, vaults: Iterable[Components]) -> bool:
    """Whether a directory is, lies in or holds a vault."""
    return b".vault" in path or any(vault[: len(path)] == path for vault in vaults)


def lies_above(path: Components, bases: Iterable[Components]) -> bool:
    return any(base[: len(path)] == path for base in bases if base != path)


def _called(base: Components | None, path: Components | None) -> tuple[str, str | None]:
    """The directory's path below its base directory, and the whole one."""
    if base is None:
        return NOWHERE, None
    if path is None:
        return FOLDED, None
    return text(b"/".join(path[len(base) :])) or DIRECTLY, path_of(path)


def base_of(base: Components | None, rules: Rules) -> BaseDirectory:
    if base is None:
        return BaseDirectory(NOWHERE, NOWHERE)
    rule = best(list(rules.symlinks), base)
    if rule is None:
        return BaseDirectory(path_of(base), path_of(base))
    real, shown = list(rules.symlinks.items())[rule]
    return BaseDirectory(path_of(base), path_of(components(shown) + base[len(components(real)) :]))


def use(gid: int, base: Components | None, names: Sequence[Entry], rules: Rules) -> BaseUse:
    """What all entries of a base directory amount to; of no base, if it is None."""
    single = [name.size for name in names if not is_linked(name)]
    linked: dict[tuple[int, int], int] = defaultdict(int)
    for name in names:
        if is_linked(name):
            inode = name.device, name.inode
            linked[inode] = max(linked[inode], name.size)
    return BaseUse(
        gid,
        base_of(base, rules),
        sum(single) + sum(linked.values()),
        len(single) + len(linked),
        days([known(name.mtime, rules) for name in names], rules),
    )
