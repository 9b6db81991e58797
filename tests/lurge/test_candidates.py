"""Archive candidates: what may go, in which order, what it frees, and from what that is known."""

import gzip
import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import candidates_twin as twin
import numpy as np
import pytest
import sqlalchemy as sql
from dump import dump
from hypothesis import given, settings
from hypothesis import strategies as st
from servers import archives, nights
from servers.databases import on_mariadb
from servers.mariadb import Mariadb
from servers.wire import wire_to
from site_of_tests import TODAY, Site, entry, text, wait_for

from db import candidate_sources, pages, usage
from db import candidates as stored_rows
from db.database import Database
from db.schema import archive_candidate, archive_candidate_now, candidate_group, unix_group
from lurge.bins import Bins
from lurge.candidates.find import Found, Terms
from lurge.candidates.judge import Rules, judge
from lurge.candidates.sources import Tallies
from lurge.inspector.rows import Groups, Large
from lurge.inspector.rules import BaseRule, RuleHeads
from lurge.inspector.rules import Rules as InspectorRules
from lurge.inspector.tally import DIRECTORIES, InspectorTally
from lurge.puppeteer.tally import VaultTally
from lurge.tallies.table import LINKS
from lurge_types.archive import Binned
from lurge_types.batch import Block, Entry
from lurge_types.candidates import Candidate, Held
from lurge_types.config import CandidatesTable, DatabaseTable
from lurge_types.names import Group
from lurge_types.reports import Run
from utils.config import password
from utils.path_rules import ShownPaths
from utils.paths import raw
from utils.vaults import Key, encode
from utils.wrstat import Parser

GIB = 1 << 30
DAY = 86_400
YEAR = 365
AT = clock(1, 2, 3)
NOW = int(datetime.combine(TODAY, AT, UTC).timestamp())
YESTERDAY = TODAY - timedelta(days=1)
ALL = ("reporter", "inspector", "puppeteer", "candidates")

# Judging: a table for each rule.

RULES = Rules(
    min_bytes=GIB,
    cold_share=Fraction("0.95"),
    cold_after=180,
    deeper=frozenset({"users"}),
    pseudo=frozenset({70}),
    archived=frozenset({90}),
    bins=Bins([b"/p/gone", b"/q*/deep/gone"]),
)


def held(*by_age: int, **facts: Any) -> Held:
    """A directory with so many bytes in each class of age, the youngest first."""
    sizes = (*by_age, *(0,) * (10 - len(by_age)))
    made = Held("d", "/p/d", (3,), 1, sum(sizes), sizes, Decimal(5), 0, False, False, True)
    return made._replace(**facts)


def kinds(*directories: Held, rules: Rules = RULES) -> list[str]:
    return [each.kind for each in judge(directories, rules).candidates]


COLD = (0, 0, 0, GIB)


@pytest.mark.parametrize(
    ("directory", "kind"),
    [
        (held(0, 0, 0, GIB), ["watch"]),
        (held(0, 0, 0, GIB - 1), []),
        (held(0, 0, GIB), []),
        (held(5 * GIB, 0, 0, 95 * GIB), ["watch"]),
        (held(5 * GIB + 1, 0, 0, 95 * GIB - 1), []),
        (held(0, 0, 0, 0, GIB), ["soon"]),
        (held(0, 0, 0, 5 * GIB, 95 * GIB), ["soon"]),
        (held(0, 0, 0, 5 * GIB + 1, 95 * GIB - 1), ["watch"]),
        (held(0, 0, 0, 0, 0, GIB), ["now"]),
        (held(0, 0, 0, 0, 0, 0, 0, 0, GIB), ["now"]),
        (held(0, 0, 0, 0, 5 * GIB, 95 * GIB), ["now"]),
        (held(0, 0, 0, 0, 5 * GIB + 1, 95 * GIB - 1), ["soon"]),
        (held(5 * GIB, 0, 0, 0, 0, 0, 0, 0, 95 * GIB), ["now"]),
        (held(0, 0, 0, 0, 0, 0, 0, 0, 95 * GIB, 5 * GIB), ["now"]),
        (held(0, 0, 0, 0, 0, 0, 0, 0, 94 * GIB, 6 * GIB), []),
        (held(*(0,) * 9, GIB), []),
    ],
)
def test_a_directory_is_of_the_class_whose_share_is_cold_to_the_byte(
    directory: Held, kind: list[str]
) -> None:
    assert kinds(directory) == kind


@pytest.mark.parametrize(
    "facts",
    [
        {"kept_files": 1},
        {"holds_vault": True},
        {"lies_above": True},
        {"is_whole": False},
        {"directory": "users"},
        {"gids": (3, 70)},
        {"gids": (90,)},
        {"gids": (3, 90, 91)},
        *(
            {"real_path": path}
            for path in (
                *("/p/.lurge-bin", "/p/.lurge-bin/unit", "/p/d/.lurge-bin/a/b"),
                *("/p/gone", "/p/gone/unit", "/p", "/q1/deep/gone/unit", "/q1/deep"),
            )
        ),
    ],
)
def test_what_bars_a_directory_bars_it_however_cold_it_is(facts: dict[str, Any]) -> None:
    assert kinds(held(*COLD)) == ["watch"]
    assert kinds(held(*COLD, **facts)) == []


@pytest.mark.parametrize("path", ["/p/.lurge-bins", "/p/gone away", "/q1/gone", "/p/x/gone"])
def test_what_is_only_called_like_a_bin_is_a_candidate(path: str) -> None:
    assert kinds(held(*COLD, real_path=path)) == ["watch"]


def test_a_directory_below_one_that_is_looked_into_is_no_exception() -> None:
    assert kinds(held(*COLD, directory="users/u1"), held(*COLD, directory="d/users")) == [
        *("watch", "watch")
    ]


@pytest.mark.parametrize(("after", "kind"), [(730, ["now"]), (1095, ["now"]), (1825, [])])
def test_no_class_holds_of_what_is_younger_than_cold(after: int, kind: list[str]) -> None:
    rules = Rules(GIB, Fraction(1), after)
    assert kinds(held(0, 0, 0, 0, 0, 0, GIB), rules=rules) == kind


def test_shares_are_compared_exactly_where_floats_are_not() -> None:
    rules = Rules(1, Fraction("0.1"), 30)
    large = 10**18
    assert kinds(held(9 * large, large), rules=rules) == ["watch"]
    assert kinds(held(9 * large + 1, large - 1), rules=rules) == []


def test_ranks_go_by_bytes_and_age_and_then_by_real_path() -> None:
    directories = [
        held(0, 0, 0, 8 * GIB, real_path="/p/b"),  # 8 x 180
        held(0, 0, 0, 0, 4 * GIB, real_path="/p/c"),  # 4 x 365
        held(0, 0, 0, 0, 0, 2 * GIB, real_path="/p/z"),  # 2 x 730, as much
        held(0, 0, 0, 0, 4 * GIB, real_path="/p/\\x80"),
        held(0, 0, 0, 0, 4 * GIB, real_path="/p/é"),
    ]
    ranked = [each.held.real_path for each in judge(directories, RULES).candidates]
    assert ranked == ["/p/c", "/p/z", "/p/\\x80", "/p/é", "/p/b"]


def test_what_is_no_candidate_is_counted_by_why() -> None:
    found = judge(
        [held(GIB), held(1), held(*COLD, kept_files=1), held(*COLD, is_whole=False), held(*COLD)],
        RULES,
    )
    assert (found.large, found.cold, found.in_doubt, len(found.candidates)) == (4, 3, 1, 1)


@pytest.mark.parametrize("days", [0, 1, 179, 181, 3000])
def test_cold_begins_where_a_class_of_age_does(days: int) -> None:
    with pytest.raises(ValueError, match="must be where a class of age begins: one of 30, 90, 180"):
        CandidatesTable(cold_after=days)


# From tallies: what a plain rule tells.

SCAN_TIME = 10_000 * DAY
INSPECTS = InspectorRules(
    SCAN_TIME,
    bases=(b"/p/b/e/k",),
    base_rules=(BaseRule(b"/p", 2), BaseRule(b"/p/a/n/m", 5)),
    deeper=(b"users",),
)
LENIENT = Rules(2, Fraction("0.5"), 180, frozenset({"users"}), archived=frozenset({9}))


def tallies_of(
    entries: Sequence[Entry], inspects: InspectorRules
) -> tuple[InspectorTally, VaultTally]:
    """Tallies that were merged of two that saw a part of the entries each."""
    made = [
        (InspectorTally(inspects), VaultTally(inspects.scan_time, ("Archive", "Keep"), {}))
        for _ in range(2)
    ]
    for part, both in enumerate(made):
        some = entries[part::2]
        lines = np.frombuffer(bytearray(text(some)), np.uint8)
        batch, bad = Parser().parse(Block(lines, len(lines), 1, len(some)))
        assert not bad.count
        for tally in both:
            tally.add(batch)
    for whole, other in zip(*made, strict=True):
        whole.merge(other.pieces())
    return made[0]


def found_in(
    entries: Sequence[Entry],
    inspects: InspectorRules = INSPECTS,
    rules: Rules = LENIENT,
    price: Decimal | None = None,
) -> Found:
    """What is found by tallies of some entries."""
    terms = Terms(
        rules,
        RuleHeads(inspects.base_rules),
        price,
        ShownPaths({}),
        lambda gids: {gid: Group(gid, f"g{gid}", f"PI{gid % 2}") for gid in gids},
    )
    return Found(Tallies(*tallies_of(entries, inspects)), terms)


def rows(found: Found) -> list[Candidate]:
    return [row for chunk in found.chunks() for row in chunk]


places = st.sampled_from(
    [
        *("x", "d/x", "d/y", "d/deep/z", "e/x", "e/k/x", "users/x", "users/u/x", "users/u/y"),
        *("n/x", "n/m/x", "n/m/k/x"),
    ]
)
ages = st.sampled_from([0, 29, 30, 179, 180, 365, 730, 3000, -5, 10_000])
files = st.builds(
    lambda base, place, age, size, links, **facts: entry(
        f"/p/{base}/{place}", mtime=SCAN_TIME - age * DAY, atime=0, size=size, links=links, **facts
    ),
    base=st.sampled_from("ab"),
    place=places,
    age=ages,
    size=st.integers(0, 5),
    links=st.integers(1, 2),
    gid=st.sampled_from([3, 3, 4, 9]),
    inode=st.integers(1, 8),
    device=st.integers(1, 2),
)


def in_vault(root: str, action: str, path: str, **facts: Any) -> Entry:
    """A vault's link of a file."""
    key = encode(Key(facts["inode"], path.encode()))
    return entry(f"{root}/.vault/{action}/{key.decode()}", **facts)


marks = st.builds(
    in_vault,
    root=st.sampled_from(["/p/a", "/p/b", "/p/b/d"]),
    action=st.sampled_from(["archive", "archive", ".Archive", "keep", ".staged"]),
    path=places,
    inode=st.integers(1, 10),
    size=st.integers(0, 5),
    gid=st.integers(3, 4),
    links=st.integers(1, 2),
    device=st.integers(1, 2),
)
folders = st.builds(
    lambda path: entry(path, type="d"), st.sampled_from(["/p/b/e/.vault", "/p/a/n", "/p/a/n/m/k"])
)
some = st.lists(files, max_size=12)
trees = st.builds(
    lambda *parts: [each for part in parts for each in part],
    some,
    st.lists(marks, max_size=4),
    st.lists(folders, max_size=1),
    some,
)


@given(trees, st.none() | st.integers(1, 3))
@settings(max_examples=400)
def test_what_is_found_and_freed_is_what_the_plain_rule_tells(
    entries: list[Entry], rows_per_base: int | None
) -> None:
    found = found_in(entries, replace(INSPECTS, rows_per_base=rows_per_base))
    expected = twin.told(entries, INSPECTS, LENIENT)
    told = rows(found)
    assert [(row.kind, row.size_bytes, row.real_path) for row in told if row.kind] == (
        expected.directories
    )
    assert [row.real_path for row in told if not row.kind] == expected.files
    assert [row.rank for row in told] == list(range(1, len(told) + 1))
    assert found.freed.by_kind == expected.freed
    assert found.freed.is_exact


@given(trees)
def test_the_classes_of_what_is_freed_add_up_to_each_inode_once(entries: list[Entry]) -> None:
    found = found_in(entries)
    chosen = {row.real_path for row in rows(found) if row.kind}
    most = sum(row.size_bytes for row in rows(found))
    assert found.freed.total <= most
    if not any(row.kind is None for row in rows(found)) and all(e.links == 1 for e in entries):
        assert found.freed.total == most
    assert len(chosen) == sum(row.kind is not None for row in rows(found))


def test_links_that_need_several_parts_are_counted_once_all_the_same() -> None:
    """More links than are looked at at a time, of the two directories d and e."""
    count = 1_300_000
    small, vaults = tallies_of([entry(f"/p/a/{name}/x") for name in "de"], INSPECTS)
    inodes = np.arange(count, dtype=np.uint64)
    links = [
        (np.full(count, row, np.uint32), inodes, inodes // 2, np.ones((count, 3), np.int64))
        for row in range(2)
    ]
    directories = [piece for piece in small.pieces() if piece[0] == DIRECTORIES]
    many = InspectorTally(INSPECTS)
    many.merge([*directories, *((DIRECTORIES, (LINKS, piece)) for piece in links)])
    terms = Terms(LENIENT, RuleHeads(()), None, ShownPaths({}), lambda _: {2: Group(2, "g")})
    found = Found(Tallies(many, vaults), terms)
    assert [row.size_bytes for row in rows(found)] == [count + 10] * 2
    assert found.freed.by_kind == {"now": count + 20, "soon": 0, "watch": 0, "vault": 0}


def test_candidates_are_asked_for_before_all_else_for_then_the_links_are_let_go() -> None:
    tally, _ = tallies_of([entry("/p/a/d/x")], INSPECTS)
    assert tally.tell(Large(1)) == 1
    tally.tell(Groups())
    with pytest.raises(ValueError, match="asked for first"):
        tally.tell(Large(1))


def test_names_are_sorted_and_a_comma_in_one_is_no_comma_between_two() -> None:
    entries = [entry("/p/a/d/x", gid=gid, mtime=1, atime=0) for gid in (5, 3, 4)]
    groups = {3: Group(3, "b", "Doe, J"), 4: Group(4, "a,c", "Doe, J"), 5: Group(5, "B")}
    terms = Terms(LENIENT, RuleHeads(()), None, ShownPaths({}), lambda _: groups)
    [row] = rows(Found(Tallies(*tallies_of(entries, INSPECTS)), terms))
    assert (row.groups, row.pi, row.gids) == ("B,a\\x2cc,b", "Doe\\x2c J", (3, 4, 5))


def test_a_price_makes_a_cost_of_rows_and_of_the_total_with_two_decimals() -> None:
    old = {"mtime": 1, "atime": 0, "size": 1 << 38, "links": 2, "inode": 1}
    found = found_in([entry("/p/a/d/x", **old), entry("/p/a/e/x", **old)], price=Decimal("8.5"))
    assert [row.cost_per_month for row in rows(found)] == [Decimal("2.12")] * 2
    assert list(found.remarks()) == [
        "could be freed: 256.0 GiB, each inode once: now 256.0 GiB, soon 0 B, watch 0 B, "
        "vault 0 B; it costs 2.12 a month"
    ]


def test_where_nothing_is_a_candidate_a_sentence_says_why() -> None:
    kept = {"inode": 5, "links": 2, "size": 7}
    entries = [
        entry("/p/a/d/x", mtime=1, atime=0, **kept),
        in_vault("/p/a", "keep", "d/old", **kept),
        entry("/p/a/e/x", mtime=SCAN_TIME, size=7),
        entry("/p/a/f/x", mtime=1, size=1),
    ]
    [remark] = found_in(entries).remarks()
    assert remark == (
        "nothing is a candidate: of 3 directories with 2 B or more 2 are cold, and of these none "
        "is free of kept files, vaults, bins, other base directories, archived and pseudo groups"
    )


# A site whose right answer is known.

CONFIG = """
[candidates]
cost_per_tib_month = 10
[names]
source = "files"
group_file = "group"
[inspector]
base_directories = [
    { prefix = "/lustre/s1/mdt*/projects", depth = 5 },
    { prefix = "/lustre/s1/mdt*/projects/a/nest", depth = 7 },
]
[symlinks]
"/lustre/s1/mdt*/projects" = "/lustre/s1/projects"
[pseudo_groups."/lustre/s1/projects/a/common"]
name = "common"
pi = "Roe"
gid = 77
[[volume]]
name = "s1"
mount = "/lustre/s1"
group_directories = ["/lustre/s1/projects"]
[archive.bin]
s1 = "/lustre/s1/projects/a/removed"
"""
REAL = "/lustre/s1/mdt0/projects"
SHOWN = "/lustre/s1/projects"


def file(path: str, gib: float, days: float, **facts: Any) -> Entry:
    """A file of that size below the projects, which was used so many days before the scan."""
    used = NOW - int(days * DAY)
    facts = {"inode": abs(hash(path)) % 2**40, "links": 1, "gid": 1, "uid": 0} | facts
    return entry(f"{REAL}/{path}", size=int(gib * GIB), atime=used, mtime=used, **facts)


def mark(  # noqa: PLR0917 - read as a line of a table
    root: str, action: str, path: str, gib: float, inode: int, links: int = 2
) -> Entry:
    """What a vault has of a file that lay there when it was marked."""
    key = encode(Key(inode, path.encode())).decode()
    return file(f"{root}/.vault/{action}/{key}", gib, 10, inode=inode, links=links)


def tree() -> list[Entry]:
    """Each directory is named by what it is."""
    two = {"links": 2, "inode": 1}
    return [
        # Candidates.
        file("a/old/x", 2, 900),
        file("a/old/y", 1, 800, gid=2),
        file("a/half/hot", 0.08, 1),
        file("a/half/deep/er/x", 1.92, 400),
        file("a/link1/x", 5, 200, **two),
        file("a/link2/x", 5, 200, **two),
        file("a/users/u1/x", 3, 181),
        file("b/archived file/x", 4, 300, inode=2, links=2),
        # None of these is one.
        file("a/warm/x", 9, 900),
        file("a/warm/y", 1, 5, gid=2),
        file("a/kept/now called otherwise", 50, 900, inode=3, links=2),
        mark("a", "keep", "gone/first name", 50, 3),
        file("a/small/x", 0.99, 900),
        file("a/unknown/x", 30, NOW / DAY),
        file("a/users/directly", 30, 900),
        file("a/directly", 30, 900),
        file("directly above", 30, 900),
        file("a/nest/n1/d/deep", 0.5, 900),
        file("a/nest/directly above", 30, 900),
        file("a/common/x", 30, 900),
        file("b/of a vault/sub/.vault/.staged/x", 30, 900),
        file("b/of a vault/x", 30, 900),
        entry(f"{REAL}/b/of a vault/sub/.vault", type="d", mtime=5),
        entry(f"{REAL}/a/.vault", type="d", mtime=5),
        file(".lurge-bin/unit/x", 30, 900),
        file("a/.lurge-bin/x", 30, 900),
        file("a/removed/x", 30, 900),
        mark(".lurge-bin/unit", "archive", "x", 30, 7),
        mark("a/removed/unit", "archive", "x", 30, 8),
        file("b/mirrored/x", 30, 900),
        file("b/mirrored/y", 1e-6, 900, gid=3),
        file("third/.imirrored", 0, 900, gid=3),
        # To be archived: what a candidate has, what only the vault has, twice, and kept, too.
        mark("b", "archive", "archived file/x", 4, 2),
        mark("b", ".Archive", "gone/only here", 6, 4, links=1),
        mark("b", "archive", "name 1", 7, 5, links=3),
        mark("b", "archive", "name 2", 7, 5, links=3),
        mark("a", "archive", "kept by another", 8, 6),
        mark("a", "keep", "kept by another", 8, 6),
    ]


ANSWER = [
    ("1", "now", "cold", "one,two", "3.0", "3.0", "2", "800.0", "a/old"),
    ("2", "watch", "cold", "one", "5.0", "5.0", "1", "200.0", "a/link1"),
    ("3", "watch", "cold", "one", "5.0", "5.0", "1", "200.0", "a/link2"),
    ("4", "watch", "cold", "one", "4.0", "4.0", "1", "300.0", "b/archived file"),
    ("5", "soon", "cold", "one", "2.0", "1.92", "2", "1.0", "a/half"),
    ("6", "watch", "cold", "one", "3.0", "3.0", "1", "181.0", "a/users/u1"),
    ("7", "-", "vault", "one", "7.0", "-", "1", "-", "b/name 1"),
    ("8", "-", "vault", "one", "7.0", "-", "1", "-", "b/name 2"),
    ("9", "-", "vault", "one", "6.0", "-", "1", "-", "b/gone/only here"),
    ("10", "-", "vault", "one", "4.0", "-", "1", "-", "b/archived file/x"),
]
FREED = (
    "could be freed: 30.0 GiB, each inode once: now 3.0 GiB, soon 2.0 GiB, watch 12.0 GiB, "
    "vault 13.0 GiB; it costs 0.29 a month"
)
AT_MOST = (
    "could be freed: at most 46.0 GiB: now 3.0 GiB, soon 2.0 GiB, watch 17.0 GiB, "
    "vault 24.0 GiB; it costs at most 0.45 a month"
)
KEPT_TOO = (
    "1 files that are marked to be archived are no candidates: they are marked to be kept, too"
)


@pytest.fixture
def small(tmp_path: Path) -> Site:
    """A site with SQLite."""
    return site_in(tmp_path)


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    """A site whose database has its tables, once of each kind."""
    return site_in(
        tmp_path, database=table.url, password_file=table.password_file, retry_seconds=10
    )


def site_in(folder: Path, **facts: Any) -> Site:
    folder.mkdir(exist_ok=True)
    (folder / "group").write_text("one:x:1:\ntwo:x:2:\nthird:x:3:\n")
    return Site(folder, config=CONFIG, **facts)


def outcome(site: Site, *arguments: str) -> dict[str, Any]:
    """What became of the candidates."""
    [said] = [each for each in site.outcomes(*arguments) if each["report"] == "candidates"]
    return said


def tsv(site: Site, day: date = TODAY) -> list[dict[str, str]]:
    header, *lines = site.tsv(program="candidates", day=day).read_text("utf-8").splitlines()
    return [dict(zip(header.split("\t"), line.split("\t"), strict=True)) for line in lines]


def answer(site: Site) -> list[tuple[str, ...]]:
    """The rows of the TSV, sizes in GiB and paths below the projects."""
    names = ("rank", "class", "reason", "groups", "size_bytes", "cold_bytes", "files")

    def shown(name: str, cell: str) -> str:
        is_size = name.endswith("_bytes") and cell != "-"
        return str(round(int(cell) / GIB, 2)) if is_size else cell

    return [
        (
            *(shown(name, row[name]) for name in names),
            row["last_used_days"],
            row["path"].removeprefix(f"{SHOWN}/"),
        )
        for row in tsv(site)
    ]


def test_a_tree_whose_answer_is_known_from_tallies_and_again_from_stored_rows(
    site: Site, table: DatabaseTable
) -> None:
    site.add_scan(tree(), at=AT)
    said = outcome(site, *ALL)
    assert answer(site) == ANSWER
    assert {FREED, KEPT_TOO} <= set(said["remarks"])
    assert (said["status"], said["rows"]) == ("written", 10)
    assert {row["real_path"] for row in tsv(site)} == {f"{REAL}/{row[-1]}" for row in ANSWER}
    assert {(row["volume"], row["pi"]) for row in tsv(site)} == {("s1", "-")}
    assert [row["cost_per_month"] for row in tsv(site)][:2] == ["0.03", "0.05"]
    dumped = dump(table)
    first = dumped["archive_candidate"][0]
    assert first[:4] == (1, "now", "cold", "s1")
    assert (first[6], first[-1]) == (3 * GIB, Decimal("0.03"))
    assert len(dumped["candidate_group"]) == sum(len(row[3].split(",")) for row in ANSWER)
    # Stored rows tell the same but for the total.
    before = site.tsv(program="candidates").read_bytes()
    for scan in site.wrstat.glob("*/stats.gz"):
        os.truncate(scan, 5)  # whoever reads it fails
    said = outcome(site, "candidates", "--force")
    assert said["status"] == "written"
    assert site.tsv(program="candidates").read_bytes() == before
    assert {AT_MOST, KEPT_TOO} <= set(said["remarks"])


def test_of_reports_in_several_runs_candidates_are_made_when_all_rows_are_there(
    small: Site,
) -> None:
    small.add_scan(tree(), at=AT)
    said = outcome(small, "inspector", "candidates")
    assert said["reason"] == "no rows of puppeteer of s1: run puppeteer first"
    said = outcome(small, "puppeteer", "inspector", "candidates", "reporter")
    assert (said["status"], answer(small)) == ("written", ANSWER)
    assert AT_MOST in said["remarks"]
    assert outcome(small, "candidates")["status"] == "already"


def test_without_a_row_of_the_reporter_no_group_is_archived(small: Site) -> None:
    small.add_scan(tree(), at=AT)
    outcome(small, *ALL[1:])
    assert "mirrored" in {row[-1].removeprefix("b/") for row in answer(small)}


def test_what_was_archived_since_the_scan_is_no_candidate(site: Site, database: Database) -> None:
    site.add_scan(tree(), at=AT)
    outcome(site, *ALL)
    first = raw(f"{REAL}/{ANSWER[0][-1]}")
    run = replace(archives.run(1), units=(archives.unit(1, volume="s1", root=first),))
    [unit] = archives.register(database, run)
    moment = datetime.combine(TODAY, AT) + timedelta(minutes=1)
    binned = Binned(b"/bin", moment, moment)
    archives.bring(database, unit, "claimed", "copied", "verified", "binned", binned=binned)
    assert outcome(site, "candidates", "--force")["status"] == "written"
    assert [row[1:] for row in answer(site)] == [row[1:] for row in ANSWER[1:]]


def test_people_see_the_first_ranks_and_what_they_free(small: Site) -> None:
    small.add_scan(tree(), at=AT)
    done = small.run(*ALL, "--dry-run")
    assert "Top candidates (10 of 10)" in done.stdout
    shown = [line.split() for line in done.stdout.splitlines()]
    assert f"s1 now 3.0 GiB 100.0 800.0 d ago 0.03 {SHOWN}/a/old".split() in shown
    assert f"s1 vault 7.0 GiB - - 0.07 {SHOWN}/b/name 1".split() in shown
    assert "could be freed: 30.0 GiB, each inode once" in done.stdout
    assert not small.reports.exists()


@pytest.mark.parametrize("ranks", [2, 5])
def test_ranks_write_what_threads_do(tmp_path: Path, ranks: int) -> None:
    files = []
    for name, number in (("threads", 0), ("ranks", ranks)):
        made = site_in(tmp_path / name)
        made.ranks = number
        made.add_scan(tree(), at=AT)
        said = outcome(made, *ALL)
        assert FREED in said["remarks"]
        files.append(made.tsv(program="candidates").read_bytes())
    assert files[0] == files[1]


# What is stored, replaced, and written again.


def cold(count: int, name: str = "d") -> list[Entry]:
    return [file(f"p{i % 40}/{name}{i}/x", 1 + i % 3, 800) for i in range(count)]


def now(table: DatabaseTable) -> list[str]:
    """The real paths that readers see."""
    return paths_of(table, archive_candidate_now)


def paths_of(table: DatabaseTable, rows: Any) -> list[str]:
    database = Database(table.url, password=password(table))
    select = sql.select(rows.c.real_path).order_by(rows.c.rank)
    try:
        return database.transaction(lambda connection: list(connection.scalars(select)))
    finally:
        database.close()


def test_a_newer_date_replaces_the_rows_and_an_older_one_writes_its_tsv_only(
    site: Site, table: DatabaseTable
) -> None:
    site.add_scan(cold(2, "old"), day=YESTERDAY, at=AT)
    site.add_scan(cold(3, "new"), at=AT)
    said = outcome(site, *ALL, "--date", str(YESTERDAY))
    assert (said["rows"], len(paths_of(table, archive_candidate))) == (2, 2)
    assert outcome(site, *ALL)["rows"] == 3
    expected = now(table)
    assert len(expected) == 3
    said = outcome(site, *ALL, "--date", str(YESTERDAY), "--force")
    assert (said["status"], said["rows"], len(tsv(site, YESTERDAY))) == ("written", 2, 2)
    assert now(table) == paths_of(table, archive_candidate) == expected
    latest = site.reports / "candidates" / "latest" / "s1.tsv"
    assert latest.resolve() == site.tsv(program="candidates").resolve()


def restored(site: Site, day: date) -> str:
    """How a TSV that is missing is written again."""
    path = site.tsv(program="candidates", day=day)
    before = path.read_bytes()
    path.unlink()
    said = outcome(site, "candidates", "--date", str(day))
    assert said["status"] == "already"
    assert path.read_bytes() == before
    return str(said["remarks"][0])


def test_a_tsv_that_is_missing_is_written_from_the_rows(site: Site) -> None:
    site.add_scan(tree(), at=AT)
    outcome(site, *ALL)
    assert restored(site, TODAY) == "the TSV was missing: written from the database"


@on_mariadb
def test_a_missing_tsv_is_left_to_another_run_that_replaces_the_rows_meanwhile(
    site: Site, table: DatabaseTable, mariadb: Mariadb
) -> None:
    site.add_scan(tree(), at=AT)
    outcome(site, *ALL)
    path = site.tsv(program="candidates")
    path.unlink()
    with wire_to(mariadb.port) as wire:
        slower = replace(site, database=wire.url(table.url))
        wire.before(b"archive_candidate.run_id", act=lambda: outcome(site, "candidates", "--force"))
        said = outcome(slower, "candidates")
    assert said["status"] == "failed"
    assert said["reason"] == (
        f"{path} is not written: the rows of candidates of s1 were replaced meanwhile: run again"
    )
    assert answer(site) == ANSWER
    assert list(path.parent.iterdir()) == [path]


def test_a_tsv_of_an_older_day_that_is_missing_is_written_from_the_scan(small: Site) -> None:
    for day in (YESTERDAY, TODAY):
        small.add_scan(tree(), day=day, at=AT)
        outcome(small, *ALL, "--date", str(day))
    assert restored(small, YESTERDAY) == "the TSV was missing: written from the scan again"


def test_force_replaces_the_rows_of_a_day(site: Site, table: DatabaseTable) -> None:
    scan = site.add_scan(cold(2500), at=AT)
    assert outcome(site, *ALL)["rows"] == 2500
    scan.write_bytes(gzip.compress(text(cold(1, "new"))))
    os.utime(scan, (NOW, NOW))
    assert outcome(site, *ALL, "--force")["rows"] == 1
    assert paths_of(table, archive_candidate) == [f"{REAL}/p0/new0"]


def test_killed_while_rows_are_written_nothing_is_seen_and_the_next_run_completes_it(
    site: Site, table: DatabaseTable
) -> None:
    site.add_scan(cold(1, "old"), day=YESTERDAY, at=AT)
    outcome(site, *ALL, "--date", str(YESTERDAY))
    site.add_scan(cold(10_000), at=AT)
    process = site.start(*ALL)
    wait_for(lambda: list(site.reports.glob("candidates/*/.*")), process)
    process.kill()
    process.communicate()
    assert now(table) == [f"{REAL}/p0/old0"]
    assert not site.tsv(program="candidates").exists()
    said = outcome(site, *ALL)
    assert (said["status"], said["rows"]) == ("written", 10_000)
    assert len(now(table)) == len(paths_of(table, archive_candidate)) == 10_000


def test_rows_that_are_not_there_are_told_with_what_to_do(small: Site) -> None:
    small.add_scan(tree(), at=AT)
    done = small.run("candidates")
    assert done.returncode == 1
    assert "no rows of inspector and puppeteer of s1: run inspector puppeteer first" in done.stderr


def test_rows_of_two_dates_are_no_base_for_candidates(small: Site) -> None:
    small.add_scan(tree(), day=YESTERDAY, at=AT)
    small.outcomes("inspector", "puppeteer", "--date", str(YESTERDAY))
    small.add_scan(tree(), at=AT)
    small.outcomes("inspector")
    assert outcome(small, "candidates")["reason"] == (
        f"the newest rows of inspector are of {TODAY}, those of puppeteer of {YESTERDAY}: "
        "run the older one of the two first"
    )


def test_rows_of_two_scans_of_a_day_are_no_base_for_candidates(small: Site) -> None:
    first = small.add_scan(tree(), at=AT)
    small.outcomes("inspector", "puppeteer")
    second = small.add_scan(tree(), at=clock(1, 2, 4))
    small.outcomes("inspector", "--force")
    assert outcome(small, "candidates")["reason"] == (
        f"the rows of inspector are of another scan, {second} of {TODAY} 01:02:04, than those of "
        f"puppeteer, {first} of {TODAY} 01:02:03: "
        f"run inspector puppeteer candidates --date {TODAY} --force"
    )
    said = outcome(small, *ALL[1:], "--date", str(TODAY), "--force")
    assert (said["status"], said["run"]["scan_file"]) == ("written", str(second))


def test_candidates_of_stored_rows_have_the_date_of_these(small: Site) -> None:
    small.add_scan(tree(), day=YESTERDAY, at=AT)
    small.outcomes(*ALL[:3], "--date", str(YESTERDAY))
    small.add_scan(tree(), at=AT)
    said = outcome(small, "candidates", "--date", str(TODAY))
    assert f"that are kept are of {YESTERDAY}, not of {TODAY}" in said["reason"]
    assert "run inspector puppeteer candidates --date" in said["reason"]
    said = outcome(small, "candidates")
    assert (said["status"], said["run"]["record_date"]) == ("written", str(YESTERDAY))
    assert len(tsv(small, YESTERDAY)) == 10
    assert outcome(small, "candidates")["status"] == "already"


def test_candidates_need_no_scan_where_rows_are_stored(small: Site) -> None:
    scan = small.add_scan(tree(), at=AT)
    small.add_scan(cold(1), "/lustre/s2", at=AT)
    small.outcomes(*ALL[:3])
    scan.unlink()
    scan.parent.rmdir()
    assert outcome(small, "candidates")["status"] == "written"
    assert answer(small) == ANSWER


def test_rows_made_with_other_settings_are_no_base_for_candidates(small: Site) -> None:
    small.add_scan(tree(), at=AT)
    small.outcomes(*ALL[:3])
    small.config = CONFIG.replace("[inspector]", "[inspector]\ndeeper = []")
    assert "run inspector --force first" in outcome(small, "candidates")["reason"]


def test_candidates_made_with_other_settings_are_told_so(small: Site) -> None:
    small.add_scan(tree(), at=AT)
    small.outcomes(*ALL)
    small.config = CONFIG.replace("[candidates]", '[candidates]\nmin_size = "2 GiB"')
    said = outcome(small, "candidates")
    assert "recorded with other settings: --force makes it and its rows again" in said["remarks"]
    assert outcome(small, "candidates", "--force")["rows"] == 9


@pytest.mark.parametrize("broken", ["inspector", "puppeteer"])
def test_a_report_that_fails_takes_the_candidates_with_it(small: Site, broken: str) -> None:
    small.add_scan(tree(), at=AT)
    small.reports.mkdir()
    (small.reports / broken).write_text("where a folder should be")
    said = outcome(small, *ALL)
    assert said["status"] == "failed"
    assert said["reason"].startswith(f"{broken} failed: ")
    assert not (small.reports / "candidates").exists()


def test_a_scan_that_cannot_be_read_fails_the_candidates_though_older_rows_are_there(
    small: Site,
) -> None:
    small.add_scan(tree(), day=YESTERDAY, at=AT)
    small.outcomes(*ALL, "--date", str(YESTERDAY))
    scan = small.add_scan(tree(), at=AT)
    os.truncate(scan, 100)
    os.utime(scan, (NOW, NOW))
    assert "cut short" in outcome(small, *ALL)["reason"]


def test_folded_rows_hide_nothing_in_one_run_and_are_in_doubt_when_stored(small: Site) -> None:
    small.config = CONFIG.replace("[inspector]", "[inspector]\nrows_per_base = 3")
    mixed = [
        file("a/mixed/x", 10, 800),
        file("a/mixed/kept by another group", 0.001, 800, gid=2, inode=9, links=2),
        mark("b", "keep", "x", 0.001, 9),
        *(file(f"a/of two {i}/x", 2 + i, 900, gid=2) for i in range(3)),
        file("a/only of one/x", 3, 900),
    ]
    small.add_scan(mixed, at=AT)
    assert outcome(small, *ALL)["rows"] == 4
    assert "a/mixed" not in {row[-1] for row in answer(small)}
    said = outcome(small, "candidates", "--force")
    assert [row[-1] for row in answer(small)] == ["a/of two 2", "a/of two 1"]
    assert any(remark.startswith("2 cold directories are no cand") for remark in said["remarks"])


def test_paths_as_long_and_odd_as_can_be_are_told_apart(site: Site) -> None:
    """MariaDB would compare the first 1,024 bytes of a text."""
    long = "/".join(["d" * 250] * 2)
    names = [f"users/{'u' * 200}{i}" for i in range(3)] + ["caf\\u00e9", "new\nline", "CAF"]
    site.config = CONFIG.replace("depth = 5 }", f"depth = {4 + 14} }}").replace(
        "depth = 7", "depth = 21"
    )
    base = "/".join([long] * 7)
    site.add_scan([file(f"{base}/{name}/x", 2, 800, gid=i % 2 + 1) for i, name in enumerate(names)])
    assert outcome(site, *ALL)["rows"] == len(names)
    before = site.tsv(program="candidates").read_bytes()
    assert outcome(site, "candidates", "--force")["rows"] == len(names)
    assert site.tsv(program="candidates").read_bytes() == before


def test_a_group_is_archived_by_its_last_row_of_that_date_or_before(database: Database) -> None:
    for day, marked in ((1, {2}), (3, {1}), (5, set())):
        reports = [
            nights.row(nights.group(gid), archived=gid in marked)
            for gid in (1, 2, 3)
            if (gid, day) != (2, 3)
        ]
        run = nights.run(date(2026, 3, day))
        usage.store(database, run, nights.VOLUME, reports, replace=False)

    def archived(day: int, volume: str = "scratch1") -> set[int]:
        return database.transaction(
            lambda connection: candidate_sources.archived(connection, volume, date(2026, 3, day))
        )

    assert [archived(day) for day in (1, 2, 3, 4, 5)] == [{2}, {2}, {1, 2}, {1, 2}, set()]
    assert archived(3, "another") == set()


def test_rows_that_are_replaced_while_they_are_read_are_told(database: Database) -> None:
    run = nights.run(report="inspector")
    gone = pages.Stored(run, 1, "token", keeps_rows=True)
    with pytest.raises(pages.RowsReplaced, match="inspector of scratch1 were replaced"):
        pages.check(database, [gone])


def put_candidates(database: Database, run: Run, count: int) -> None:
    """Store so many rows, and delete those that they replace."""
    candidates = [
        Candidate(rank, "now", "cold", "one", None, 1, 1, 1, None, "/s/d", "/r/d", None, (1,))
        for rank in range(1, count + 1)
    ]
    store(database, run, candidates)


def store(database: Database, run: Run, candidates: Sequence[Candidate]) -> None:
    """Do what a run does."""
    groups = {gid: nights.group(gid) for each in candidates for gid in each.gids}
    filling = stored_rows.begin(database, run, nights.VOLUME, len(candidates), replace=True)
    filling.add(candidates, groups)
    filling.finish()
    stored_rows.sweep(database, run.report, run.volume)


COLD_ONE = Candidate(
    *(1, "now", "cold", "a,b", "Doe, J", 2**40, 2**39, 7, Decimal("800.5"), "/s/d", "/r/d"),
    *(Decimal("0.03"), (3, 20, 100)),
)
A_FILE = Candidate(2, None, "vault", "b", None, 5, None, 1, None, "/s/f", "/r/f", None, (20,))


def test_candidates_are_read_as_they_were_stored(database: Database) -> None:
    run = nights.run(report="candidates")
    stored = [COLD_ONE, A_FILE, A_FILE._replace(rank=3, gids=(2**32 - 1,))]
    store(database, run, stored)
    rows = stored_rows.read(database, run)
    assert rows is not None
    assert list(rows) == stored


def test_each_page_of_candidates_has_its_groups(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pages, "PAGE_ROWS", 3)
    run = nights.run(report="candidates")
    stored = [A_FILE._replace(rank=rank, gids=(rank, 50)) for rank in range(1, 9)]
    store(database, run, stored)
    rows = stored_rows.read(database, run)
    assert rows is not None
    assert list(rows) == stored


def test_the_groups_of_candidates_go_with_them(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_rows, "SWEPT_ROWS", 3)
    run = nights.run(report="candidates")
    store(database, run, [COLD_ONE._replace(rank=rank) for rank in range(1, 9)])
    store(database, run, [A_FILE._replace(rank=1)])
    gids = sql.select(unix_group.c.gid).join(
        candidate_group, candidate_group.c.group_id == unix_group.c.group_id
    )
    assert database.transaction(lambda connection: list(connection.scalars(gids))) == [20]


def test_candidates_of_a_schema_without_their_groups_are_read_without(database: Database) -> None:
    run = nights.run(report="candidates")
    store(database, run, [COLD_ONE])
    database.transaction(lambda connection: connection.execute(sql.delete(candidate_group)))
    rows = stored_rows.read(database, run)
    assert rows is not None
    assert list(rows) == [COLD_ONE._replace(gids=())]


def test_rows_that_are_replaced_between_two_pages_are_told(database: Database) -> None:
    run = nights.run(report="candidates")
    count = pages.PAGE_ROWS + 1
    put_candidates(database, run, count)
    rows = stored_rows.read(database, run)
    assert rows is not None
    assert len(list(rows)) == count
    rows = stored_rows.read(database, run)
    assert rows is not None
    assert next(rows).rank == 1
    put_candidates(database, run, 2)
    with pytest.raises(pages.RowsReplaced, match="candidates of scratch1 were replaced"):
        list(rows)
    count_rows = sql.select(sql.func.count()).select_from(archive_candidate)
    assert database.transaction(lambda connection: connection.scalar(count_rows)) == 2
