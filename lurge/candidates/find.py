"""What could be archived of a volume: the candidates with their ranks, and what they free."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from lurge.candidates.judge import Judged, Judgement, Rules, judge
from lurge.candidates.sources import CHUNK_ROWS, Source
from lurge.inspector.rules import RuleHeads
from lurge_types.candidates import COLD, NOW, SOON, VAULT, WATCH, Candidate, Marked
from lurge_types.names import Group
from lurge_types.reports import LARGEST_SHOWN, NamedCandidate
from utils import show
from utils.path_rules import ShownPaths
from utils.paths import raw, text

TIB = 1 << 40
CENT = Decimal("0.01")
COMMA = "\\x2c"
"""A comma within a name, where commas stand between names."""

IN_DOUBT = (
    "a part of them may be counted elsewhere: in *other* (inspector.rows_per_base), or by a rule "
    "of base directories that begins in them"
)


@dataclass(frozen=True, slots=True)
class Terms:
    """
    How candidates are found and told.

    heads: directories in which rules of base directories begin: what lies there may be counted
    elsewhere. price: of a TiB and month, if there is one. groups: looks up gids.
    """

    rules: Rules
    heads: RuleHeads
    price: Decimal | None
    shown: ShownPaths
    groups: Callable[[Collection[int]], Mapping[int, Group]]


class Found:
    """
    The candidates of a volume: directories by their ranks, then files by their sizes.

    freed: what goes with them. groups: all whose files are in them, by gid.

    Raises TallyFailed, DatabaseFailed, as its methods do.
    """

    def __init__(self, source: Source, terms: Terms) -> None:
        self._source = source
        self._terms = terms
        held = (
            each._replace(is_whole=each.is_whole and not terms.heads.hold(raw(each.real_path)))
            for each in source.directories(terms.rules.min_bytes)
        )
        self._judgement = judge(held, terms.rules)
        self._directories = self._judgement.candidates
        self.freed = source.freed(self._directories)
        gids = {gid for each in self._directories for gid in each.held.gids} | set(source.gids)
        self.groups = terms.groups(sorted(gids))

    def __len__(self) -> int:
        return len(self._directories) + self._source.files

    def chunks(self) -> Iterator[Sequence[Candidate]]:
        """All rows by rank, some thousand at a time."""
        for first in range(0, len(self), CHUNK_ROWS):
            yield self._rows(first, first + CHUNK_ROWS)

    def check(self) -> None:
        """See that what they were found in still holds."""
        self._source.check()

    def top(self, volume: str) -> tuple[NamedCandidate, ...]:
        """The first ranks."""
        scores = [each.score for each in self._directories[:LARGEST_SHOWN]]
        rows = self._rows(0, LARGEST_SHOWN)
        scores += [0] * (len(rows) - len(scores))
        return tuple(map(NamedCandidate, [volume] * len(rows), scores, rows))

    def remarks(self) -> Iterator[str]:
        """What goes, or why nothing does; and what is left out."""
        judgement = self._judgement
        yield self._total() if len(self) else _none(judgement, self._terms.rules)
        if judgement.in_doubt:
            yield f"{judgement.in_doubt:,} cold directories are no candidates, for {IN_DOUBT}"
        if self._source.left_out:
            yield (
                f"{self._source.left_out:,} files that are marked to be archived are no "
                "candidates: they are marked to be kept, too"
            )

    def _total(self) -> str:
        freed = self.freed
        most, once = ("", ", each inode once") if freed.is_exact else ("at most ", "")
        parts = ", ".join(
            f"{kind} {show.size(freed.by_kind[kind])}" for kind in (NOW, SOON, WATCH, VAULT)
        )
        cost = self._cost(freed.total)
        price = "" if cost is None else f"; it costs {most}{cost:,} a month"
        return f"could be freed: {most}{show.size(freed.total)}{once}: {parts}{price}"

    def _rows(self, first: int, last: int) -> list[Candidate]:
        count = len(self._directories)
        some = self._directories[first:last]
        rows = list(map(self._directory, range(first + 1, last + 1), some))
        if last > count:
            place = max(first, count)
            files = self._source.marked(place - count, last - count)
            rows += map(self._file, range(place + 1, place + 1 + len(files)), files)
        return rows

    def _directory(self, rank: int, judged: Judged) -> Candidate:
        held = judged.held
        groups = [self.groups[gid] for gid in held.gids]
        return Candidate(
            rank,
            judged.kind,
            COLD,
            *_named(groups),
            held.size_bytes,
            judged.cold_bytes,
            held.files,
            held.last_used_days,
            self._shown(held.real_path),
            held.real_path,
            self._cost(held.size_bytes),
            held.gids,
        )

    def _file(self, rank: int, file: Marked) -> Candidate:
        return Candidate(
            rank,
            None,
            VAULT,
            *_named([self.groups[file.gid]]),
            file.size_bytes,
            None,
            1,
            None,
            self._shown(file.real_path),
            file.real_path,
            self._cost(file.size_bytes),
            (file.gid,),
        )

    def _shown(self, real_path: str) -> str:
        return text(self._terms.shown.of(raw(real_path)))

    def _cost(self, size_bytes: int) -> Decimal | None:
        price = self._terms.price
        return None if price is None else (price * size_bytes / TIB).quantize(CENT)


def _none(judgement: Judgement, rules: Rules) -> str:
    least = show.size(rules.min_bytes)
    if not judgement.large:
        return f"nothing is a candidate: no directory holds {least} or more"
    large = f"of {judgement.large:,} directories with {least} or more"
    if not judgement.cold:
        return f"nothing is a candidate: {large} none is cold"
    return (
        f"nothing is a candidate: {large} {judgement.cold:,} are cold, and of these none is free "
        "of kept files, vaults, bins, other base directories, archived and pseudo groups"
    )


def _named(groups: Sequence[Group]) -> tuple[str, str | None]:
    """The names of groups, and of their PIs if any are known."""
    return _list(group.name for group in groups), _list(
        group.pi for group in groups if group.pi
    ) or None


def _list(names: Iterable[str]) -> str:
    r"""
    Names in the order of their bytes, each once, with commas between.

    >>> _list(["b", "a,c", "b"])
    'a\\x2cc,b'
    """
    return ",".join(sorted({name.replace(",", COMMA) for name in names}, key=str.encode))
