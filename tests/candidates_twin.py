"""Archive candidates in plain Python: lists of names, sets of inodes, one directory at a time."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import inspector_twin as inspector
from inspector_twin import Components

from lurge.candidates.judge import Rules
from lurge.inspector.rules import Rules as InspectorRules
from lurge_types.batch import Entry
from lurge_types.reports import UNKNOWN_AGE
from utils import vaults
from utils.paths import text

DAY = 86_400
Inode = tuple[int, int]
BEST = ("now", "soon", "watch", "vault")


@dataclass(frozen=True)
class Told:
    """Class, bytes and path of each directory by rank; paths of files; the bytes that go."""

    directories: list[tuple[str, int, str]]
    files: list[str]
    freed: dict[str, int]


def told(entries: Sequence[Entry], inspects: InspectorRules, rules: Rules) -> Told:
    """What must be found in these entries."""
    names = trees(entries, inspects)
    vault_folders = {
        inspector.components(each.path)
        for each in entries
        if each.type == "d" and inspector.components(each.path)[-1:] == (b".vault",)
    }
    bases = {inspector.base_directory(each, inspects) for each in entries} - {None}
    bases |= set(map(inspector.components, inspects.bases))
    kept = {(each.device, each.inode) for each in entries if inspector.is_kept(each)}
    ranked = []
    for path, of in names.items():
        if (
            path[-1] in inspects.deeper
            or inspector.holds_vault(path, vault_folders)
            or any(base and base[: len(path)] == path for base in bases)
            or any(begins_below(path, rule.prefix) for rule in inspects.base_rules)
            or any((each.device, each.inode) in kept for each in of if inspector.is_linked(each))
            or {each.gid for each in of} & (rules.archived | rules.pseudo)
        ):
            continue
        ages = by_age(of, inspects)
        size = sum(ages.values())
        if size < rules.min_bytes:
            continue
        for kind, days in (("now", 730), ("soon", 365), ("watch", 0)):
            limit = max(days, rules.cold_after)
            if sum(ages[age] for age in ages if age >= limit) >= rules.cold_share * size:
                score = sum(age * ages[age] for age in ages if age >= rules.cold_after)
                ranked.append((-score, b"/".join(path), kind, size, path))
                break
    ranked.sort()
    files = marked(entries)
    return Told(
        [(kind, size, inspector.path_of(path)) for *_, kind, size, path in ranked],
        [path for _, _, path in sorted((-each.size, path, path) for each, path in files)],
        freed({path: kind for *_, kind, _, path in ranked}, names, [each for each, _ in files]),
    )


def trees(entries: Iterable[Entry], inspects: InspectorRules) -> dict[Components, list[Entry]]:
    """The files in each directory that is a row, and neither a base directory nor above one."""
    found = defaultdict(list)
    for each in entries:
        base = inspector.base_directory(each, inspects)
        if each.type == "f" and base is not None:
            path = inspector.directory(each, base, inspects)
            if path != base and not (
                path[len(base) :][0] in inspects.deeper and len(path) == len(base) + 1
            ):
                found[path].append(each)
    return found


def begins_below(path: Components, prefix: bytes) -> bool:
    parts = inspector.components(prefix)
    return len(parts) > len(path) and all(map(inspector.like, path, parts))


def by_age(names: Sequence[Entry], inspects: InspectorRules) -> dict[int, int]:
    """Bytes of each class of age; a file of several names once for each group."""
    ages: dict[int, int] = defaultdict(int)
    for gid in {each.gid for each in names}:
        for facts in inspector.counted([each for each in names if each.gid == gid], inspects):
            age = inspector.age_class(facts.used, inspects)
            ages[age] += facts.size
    assert min(ages, default=0) >= UNKNOWN_AGE
    return ages


def marked(entries: Iterable[Entry]) -> list[tuple[Entry, str]]:
    """The files that vaults have to archive and not to keep, and where they were."""
    decoded = []
    for each in entries:
        place = vaults.place(each.path) if each.type == "f" else None
        if place is None or place.action not in {b"keep", b"archive"}:
            continue
        try:
            key = vaults.decode(place.key)
        except vaults.KeyBroken:
            continue
        if key.inode == each.inode:
            decoded.append((each, place, text(place.root + b"/" + key.path)))
    keeps = {each.inode for each, place, _ in decoded if place.action == b"keep"}
    found, states = [], set()
    for each, place, path in decoded:
        state = path, each.inode, each.size, each.uid, each.gid, each.mtime // DAY, each.links
        if place.action == b"archive" and each.inode not in keeps and state not in states:
            states.add(state)
            found.append((each, path))
    return found


def freed(
    chosen: dict[Components, str], names: dict[Components, list[Entry]], files: Sequence[Entry]
) -> dict[str, int]:
    """Each inode once, with its greatest size, for the best that any of its names is chosen for."""
    total = dict.fromkeys(BEST, 0)
    inodes: dict[Inode, list[tuple[int, int]]] = defaultdict(list)
    chosen_names = [(each, kind) for path, kind in chosen.items() for each in names[path]]
    for each, kind in chosen_names:
        if inspector.is_linked(each):
            inodes[each.device, each.inode].append((BEST.index(kind), each.size))
        else:
            total[kind] += each.size
    for each in files:
        inodes[each.device, each.inode].append((BEST.index("vault"), each.size))
    for of_inode in inodes.values():
        best = min(kind for kind, _ in of_inode)
        total[BEST[best]] += max(size for _, size in of_inode)
    return total
