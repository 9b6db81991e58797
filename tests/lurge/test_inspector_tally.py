"""What the inspector counts: files in directories, and all entries in base directories."""

import pickle
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from inspector_twin import Told, told
from site_of_tests import entry, text

from lurge.inspector.rows import Bases, Counts, Directories, Groups, Largest, Put
from lurge.inspector.rules import BaseRule, FileType, Rules
from lurge.inspector.tally import InspectorTally
from lurge.tallies.owners import PseudoGroups
from lurge.tallies.tally import SumOverflow
from lurge_types.batch import Block, Entry
from lurge_types.reports import (
    AGE_CLASSES,
    UNKNOWN_AGE,
    BaseDirectory,
    DirectoryReport,
    Part,
)
from utils.path_rules import PathRules
from utils.wrstat import Parser

DAY = 86_400
SCAN_TIME = 10_000 * DAY + 5  # 27 years from 1970: long enough for every age class
ALL = 10**6


def show(tally: InspectorTally, entries: Sequence[Entry], size: int = ALL) -> InspectorTally:
    """Show entries to a tally, so many in a batch; each batch is void when the next one comes."""
    parser = Parser()
    for start in range(0, len(entries), size):
        some = entries[start : start + size]
        raw = np.frombuffer(bytearray(text(some)), np.uint8)
        batch, bad = parser.parse(Block(raw, len(raw), 1, len(some)))
        assert bad.count == 0
        tally.add(batch)
    return tally


def put(tally: InspectorTally, gids: Sequence[int]) -> Counts:
    counts = tally.tell(Put(tuple(gids)))
    assert isinstance(counts, Counts)
    return counts


def ask(tally: InspectorTally, question: object) -> Any:
    return tally.tell(question)  # type: ignore[arg-type]


def all_told(tally: InspectorTally, *, backwards: bool = False) -> Told:
    """All that a tally tells, with rows in the order of gids, or of gids backwards."""
    groups = ask(tally, Groups())
    counts = put(tally, groups[::-1] if backwards else groups)
    told = Told(
        groups,
        ask(tally, Directories(0, counts.directories)),
        ask(tally, Bases(0, counts.bases)),
        counts.folded,
        counts.folded_bases,
    )
    assert len(told.directories) == counts.directories
    assert len(told.bases) == counts.bases
    assert ask(tally, Largest()) == told.largest
    return told


def inspected(rules: Rules, *entries: Entry) -> Told:
    return all_told(show(InspectorTally(rules), entries))


def rows(rules: Rules, *entries: Entry) -> list[DirectoryReport]:
    return inspected(rules, *entries).directories


def row(rules: Rules, *entries: Entry) -> DirectoryReport:
    """The one row that there is."""
    (only,) = rows(rules, *entries)
    return only


def places(rules: Rules, *entries: Entry) -> list[tuple[str, str, int]]:
    """(base directory, directory, files) of each row."""
    return [(row.base.real, row.directory, row.files) for row in rows(rules, *entries)]


def uses(rules: Rules, *entries: Entry) -> list[tuple[str, int, int]]:
    """(base directory, bytes, inodes) of each base directory."""
    bases = inspected(rules, *entries).bases
    return [(each.base.real, each.used_bytes, each.inodes) for each in bases]


def folder(path: str | bytes, **facts: Any) -> Entry:
    return entry(path, type="d", **facts)


def pseudo_groups(gids: Mapping[bytes, int]) -> PseudoGroups:
    return PseudoGroups(PathRules(list(gids)), tuple(gids.values()))


TYPES = (
    FileType("BAM", (b".bam", b".bam.gz")),
    FileType("gzip", (b".gz", b".fastq.gz", b"\xff.gz")),
    FileType("FASTQ", (b".fastq", b".fq", b"am")),
)

AT_ONE = Rules(SCAN_TIME, base_rules=(BaseRule(b"/", 1),), deeper=(b"users", b"projects"))
"""Base directories are the directories in the root."""

IN_A = Rules(SCAN_TIME, bases=(b"/a",), deeper=(b"users", b"projects"), file_types=TYPES)
"""There is one base directory, which is known."""

# Properties: what the tally tells is what the twin tells.

odd_names = [
    b"\xff\xfe",
    b"new\nline",
    b"sp ace",
    b"back\\slash",
    b"\xc3\xa4",
    b"-",
    b"*",
    b"*other*",
    b"x" * 40,
]
file_names = [
    *(b"x.bam", b"x.BAM", b"x.bam.gz", b"X.BaM.GZ", b"x.fastq.gz", b"x.Fastq.Gz", b".gz", b"bam"),
    *(b"x\xff.gz", b"x\xff.GZ", b"x.fq", b"am", b"xAM", b"x.gz.x"),
]
components = (
    st.sampled_from([b"a", b"b", b"ab"])
    | st.sampled_from([b"users", b"projects", b".vault"])
    | st.sampled_from([*odd_names, *file_names])
)
few = st.sampled_from([b"a", b"a", b"b", b"ab"])


def path_of(parts: Iterable[bytes]) -> bytes:
    return b"/" + b"/".join(parts)


branches = st.sampled_from([b"keep", b"Keep", b".keep", b".KEEP", b"keep2", b"..keep", b"archive"])
in_vault = st.builds(
    lambda branch, below: [b".vault", branch, *below], branches, st.lists(components, max_size=2)
)
paths = st.builds(
    lambda above, below: path_of(above + below),
    st.lists(few, max_size=2),
    st.lists(components, max_size=4) | in_vault,
)
edges = [SCAN_TIME - days * DAY + by for days in AGE_CLASSES for by in (-1, 0, 1)]
times = st.sampled_from([-1, 0, 1, 2**40, -(2**40), *edges]) | st.integers(0, SCAN_TIME)
gids = st.integers(0, 2) | st.just(2**32 - 1)
one_entry = st.builds(
    lambda path, type_, **facts: entry(path, type="d" if path == b"/" else type_, **facts),
    path=paths,
    type_=st.sampled_from("fffdls"),
    size=st.integers(0, 3) | st.integers(0, 10**12),
    gid=gids,
    atime=times,
    mtime=times,
    inode=st.integers(0, 3) | st.just(2**64 - 1),
    links=st.integers(0, 3) | st.just(2**64 - 1),
    device=st.integers(1, 2) | st.just(2**64 - 1),
)
all_entries = st.lists(one_entry, max_size=10) | st.lists(one_entry, min_size=20, max_size=60)
starred = st.sampled_from([b"a", b"b", b"ab", b"*", b"a*", b"*b", b"users"])
patterns = st.lists(starred, max_size=3).map(path_of)
known = st.lists(few | st.just(b"users"), max_size=3).map(path_of)
slash = st.sampled_from([b"", b"/"])
base_rules = st.builds(BaseRule, st.builds(bytes.__add__, patterns, slash), st.integers(0, 4))
pseudo_gids = st.dictionaries(patterns, st.integers(1, 6), max_size=2)
all_rules = st.builds(
    Rules,
    scan_time=st.just(SCAN_TIME),
    bases=st.lists(st.builds(bytes.__add__, known, slash), max_size=4).map(tuple),
    base_rules=st.lists(base_rules, max_size=4).map(tuple),
    deeper=st.sampled_from([(), (b"users",), (b"users", b"projects"), (b"a", b"ab")]),
    file_types=st.permutations(TYPES).map(tuple) | st.just(()),
    rows_per_base=st.none() | st.integers(1, 4),
    symlinks=st.dictionaries(patterns.filter(lambda path: path != b"/"), known, max_size=2),
)


@given(all_entries, all_rules, pseudo_gids, st.booleans(), st.integers(1, 61))
@settings(max_examples=500)
def test_what_is_told_is_what_the_plain_rule_tells(
    entries: list[Entry],
    rules: Rules,
    pseudo: dict[bytes, int],
    in_order: bool,
    batch_size: int,
) -> None:
    shown = sorted(entries) if in_order else entries
    tally = InspectorTally(replace(rules, pseudo=pseudo_groups(pseudo) if pseudo else None))
    show(tally, shown, batch_size)
    assert all_told(tally) == told(entries, rules, pseudo=pseudo)


@given(all_entries, all_rules, st.integers(1, 6), st.randoms(use_true_random=False))
@settings(max_examples=200)
def test_parts_merged_in_any_order_are_the_whole(
    entries: list[Entry], rules: Rules, parts: int, order: random.Random
) -> None:
    tallies = [InspectorTally(rules) for _ in range(parts)]
    for each in entries:
        show(order.choice(tallies), [each])
    while len(tallies) > 1:
        one, other = (tallies.pop(order.randrange(len(tallies))) for _ in range(2))
        sent = pickle.dumps(list(other.pieces()))
        one.merge(pickle.loads(sent))
        tallies.append(one)
    assert all_told(tallies[0]) == told(entries, rules)


@given(all_entries, all_rules)
@settings(max_examples=100)
def test_groups_come_in_the_order_that_is_asked_for(entries: list[Entry], rules: Rules) -> None:
    tally = show(InspectorTally(rules), entries)
    assert all_told(tally) == told(entries, rules)
    assert all_told(tally, backwards=True) == told(entries, rules, lambda gids: gids[::-1])


@given(all_entries, all_rules, st.integers(0, 30), st.integers(1, 10))
@settings(max_examples=100)
def test_rows_are_told_in_chunks_from_anywhere_as_all_at_once(
    entries: list[Entry], rules: Rules, first: int, size: int
) -> None:
    tally = show(InspectorTally(rules), entries)
    gids = ask(tally, Groups())
    counts = put(tally, gids)
    starts = range(0, counts.directories + size, size)
    expected = told(entries, rules)
    assert ask(tally, Directories(first, first + size)) == expected.directories[first:][:size]
    assert [
        row for start in starts for row in ask(tally, Directories(start, start + size))
    ] == expected.directories
    assert ask(tally, Bases(first, first + size)) == expected.bases[first:][:size]


def test_tables_grow_as_directories_bases_and_links_come() -> None:
    many = [
        entry(
            f"/a/{i % 700:05}/{'x' * (1 + i % 60)}{i % 3000}/f{i}",
            links=1 + i % 2,
            inode=i % 7000,
            size=i,
            gid=i % 3,
        )
        for i in range(12_000)
    ]
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a", 2),), rows_per_base=12)
    first, second = InspectorTally(rules), InspectorTally(rules)
    show(first, many[:7000], 997)
    show(second, many[7000:], 997)
    first.merge(second.pieces())
    assert all_told(first) == told(many, rules)


def test_pieces_are_small_however_much_was_counted() -> None:
    many = [entry(f"/a/{i % 9000}/f", links=2, inode=i) for i in range(70_000)]
    one, other = show(InspectorTally(IN_A), many), InspectorTally(IN_A)
    pieces = [pickle.dumps(piece) for piece in one.pieces()]
    assert max(map(len, pieces)) < 4 * 10**6
    other.merge(map(pickle.loads, pieces))
    assert put(other, [2]) == put(one, [2]) == Counts(9000, 1, 0, 0)
    assert ask(other, Bases(0, 1)) == ask(one, Bases(0, 1))
    assert ask(other, Directories(4000, 4010)) == ask(one, Directories(4000, 4010))


def test_nothing_shown_is_nothing_told() -> None:
    assert inspected(replace(AT_ONE, rows_per_base=1)) == Told([], [], [], 0, 0)


# Where base directories are.


def test_a_known_base_is_compared_by_whole_components() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/a/b",))
    found = places(rules, entry("/a/b/x"), entry("/a/bc/x"), entry("/a/b c"), entry("/a/bc"))
    assert found == [("-", "-", 3), ("/a/b", ".", 1)]


def test_a_prefix_is_compared_by_whole_components() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a/b", 3),))
    found = places(rules, entry("/a/b/c/x"), entry("/a/bc/c/x"), entry("/b/a/b/x"))
    assert found == [("-", "-", 2), ("/a/b/c", ".", 1)]


def test_a_slash_behind_a_known_base_or_a_prefix_says_nothing() -> None:
    known = Rules(SCAN_TIME, bases=(b"/a/b/",))
    ruled = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a/", 2),))
    files = [entry("/a/b/x"), entry("/a/b/c/x"), folder("/a/b")]
    assert inspected(known, *files) == inspected(ruled, *files)
    assert places(known, *files) == [("/a/b", ".", 1), ("/a/b", "c", 1)]


def test_the_longest_known_base_wins() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/a/b/c", b"/a"))
    found = places(rules, entry("/a/x"), entry("/a/b/x"), entry("/a/b/c/x"), entry("/a/b/c/d/x"))
    assert found == [("/a", ".", 1), ("/a", "b", 1), ("/a/b/c", ".", 1), ("/a/b/c", "d", 1)]


def test_a_known_base_goes_before_rules_even_if_they_would_name_a_deeper_one() -> None:
    rules = Rules(
        SCAN_TIME, bases=(b"/a/b",), base_rules=(BaseRule(b"/a/b/c", 4), BaseRule(b"/", 1))
    )
    found = places(rules, entry("/a/b/c/d/x"), entry("/a/x"), entry("/z/x"))
    assert found == [("/a", ".", 1), ("/a/b", "c", 1), ("/z", ".", 1)]


def test_a_dropped_neighbour_of_a_known_base_is_found_by_rule() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/p/proj",), base_rules=(BaseRule(b"/p", 2),))
    found = places(rules, entry("/p/proj/x"), entry("/p/proj2/x"))
    assert found == [("/p/proj", ".", 1), ("/p/proj2", ".", 1)]


@pytest.mark.parametrize(
    ("prefixes", "base"),
    [
        pytest.param([(b"/", 1), (b"/a/b", 3)], "/a/b/c", id="most components"),
        pytest.param([(b"/a/b", 3), (b"/", 1)], "/a/b/c", id="wherever it stands"),
        pytest.param([(b"/*/*/c", 1), (b"/a/b", 3)], "/a", id="most components, though starred"),
        pytest.param([(b"/a/*", 1), (b"/a/b", 3)], "/a/b/c", id="literal before a star"),
        pytest.param([(b"/*/b", 1), (b"/a/*", 3)], "/a/b/c", id="the first component decides"),
        pytest.param([(b"/a/b*", 3), (b"/a/*b", 1)], "/a/b/c", id="the order in the file"),
        pytest.param([(b"/a/b/c/d/e", 1), (b"/a", 3)], "/a/b/c", id="longer than the path"),
    ],
)
def test_of_several_rules_one_wins(prefixes: list[tuple[bytes, int]], base: str) -> None:
    rules = Rules(SCAN_TIME, base_rules=tuple(BaseRule(*prefix) for prefix in prefixes))
    assert row(rules, entry("/a/b/c/d/x")).base.real == base


@pytest.mark.parametrize(
    ("path", "base"),
    [
        ("/s/mdt1/p/x", "/s/mdt1/p"),
        ("/s/mdt/p/x", "/s/mdt/p"),
        ("/s/mdt\n2/p/x", "/s/mdt\\n2/p"),
        ("/s/1mdt/p/x", "-"),
        ("/s/mdt1/x", "-"),
        ("/mdt1/s/p/x", "-"),
    ],
)
def test_a_star_stands_for_any_bytes_within_one_component(path: str, base: str) -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/s/mdt*", 3),))
    assert row(rules, entry(path)).base.real == base


def test_a_star_in_a_known_base_or_a_scan_is_a_star() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/a*",), base_rules=(BaseRule(b"/b", 1),))
    found = places(rules, entry("/a*/x"), entry("/ab/x"), entry("/*/x"))
    assert found == [("-", "-", 2), ("/a*", ".", 1)]


def test_a_prefix_may_be_longer_than_the_base_directory() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a/b", 1),))
    found = places(rules, entry("/a/b/x"), entry("/a/c/x"), entry("/a/b/c/x"))
    assert found == [("-", "-", 1), ("/a", "b", 2)]


def test_a_prefix_may_be_like_the_names_of_some_files_of_a_directory() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a/b*", 1),))
    found = places(rules, entry("/a/b1"), entry("/a/c1"), entry("/a/b2"), entry("/a/c2"))
    assert found == [("-", "-", 2), ("/a", ".", 2)]


def test_a_file_or_link_at_the_depth_is_no_base() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a", 2),))
    found = [entry("/a/b"), entry("/a/c", type="l"), entry("/a/d", type="s")]
    assert uses(rules, *found) == [("-", 30, 3)]
    assert places(rules, *found) == [("-", "-", 1)]


def test_a_file_with_the_name_of_a_known_base_is_no_base() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/a/b", b"/a"))
    assert places(rules, entry("/a/b")) == [("/a", ".", 1)]
    assert uses(rules, entry("/a/b", type="l")) == [("/a", 10, 1)]


def test_a_directory_at_the_depth_is_its_own_base() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a", 2),))
    found = [folder("/"), folder("/a"), folder("/a/b", size=5), folder("/a/b/c", size=7)]
    assert uses(rules, *found) == [("-", 20, 2), ("/a/b", 12, 2)]
    assert rows(rules, *found) == []


@pytest.mark.parametrize(
    "rules", [Rules(SCAN_TIME, bases=(b"/",)), Rules(SCAN_TIME, base_rules=(BaseRule(b"/", 0),))]
)
def test_the_root_can_be_a_base(rules: Rules) -> None:
    found = [folder("/"), entry("/x"), entry("/a/x"), entry("/a/b/x")]
    assert places(rules, *found) == [("/", ".", 1), ("/", "a", 2)]
    assert uses(rules, *found) == [("/", 40, 4)]
    assert [each.real_path for each in rows(rules, *found)] == ["/", "/a"]


def test_without_rules_everything_lies_above_every_base() -> None:
    found = [folder("/"), entry("/a/b/x"), entry("/x", size=3, gid=1)]
    assert places(Rules(SCAN_TIME), *found) == [("-", "-", 1), ("-", "-", 1)]
    only = row(Rules(SCAN_TIME), entry("/a/b/x"))
    assert (only.base, only.real_path) == (BaseDirectory("-", "-"), None)


# Which directory a file counts to.


@pytest.mark.parametrize(
    ("path", "directory", "real"),
    [
        ("/a/x", ".", "/a"),
        ("/a/b/x", "b", "/a/b"),
        ("/a/b/c/d/x", "b", "/a/b"),
        ("/a/users", ".", "/a"),
        ("/a/users/x", "users", "/a/users"),
        ("/a/users/u/x", "users/u", "/a/users/u"),
        ("/a/users/u/v/x", "users/u", "/a/users/u"),
        ("/a/projects/p/x", "projects/p", "/a/projects/p"),
        ("/a/users/users/u/x", "users/users", "/a/users/users"),
        ("/a/b/users/u/x", "b", "/a/b"),
        ("/a/users2/u/x", "users2", "/a/users2"),
        ("/a/user/u/x", "user", "/a/user"),
        ("/a/Users/u/x", "Users", "/a/Users"),
        ("/a/b\t\\\n/x", "b\\t\\\\\\n", "/a/b\\t\\\\\\n"),
        (b"/a/\xff \xc3\xa4/x", "\\xff ä", "/a/\\xff ä"),
    ],
)
def test_a_file_counts_to_the_first_directory_below_its_base(
    path: str | bytes, directory: str, real: str
) -> None:
    only = row(IN_A, entry(path))
    assert (only.directory, only.real_path) == (directory, real)


@pytest.mark.parametrize("name", ["-", "*other*"])
def test_a_directory_may_be_called_like_a_row_that_stands_for_none(name: str) -> None:
    told = rows(IN_A, entry(f"/a/{name}/x"), folder(f"/a/{name}/.vault"))
    assert [(row.directory, row.real_path, row.holds_vault) for row in told] == [
        (name, f"/a/{name}", True)
    ]


def test_users_that_are_a_base_themselves_are_not_looked_into_twice() -> None:
    rules = replace(AT_ONE, bases=(b"/a/users",))
    assert places(rules, entry("/a/users/u/v/x")) == [("/a/users", "u", 1)]


def test_names_that_are_not_utf_8_stay_apart() -> None:
    found = rows(IN_A, entry(b"/a/\xff/x"), entry(b"/a/\xfe/x"), entry(rb"/a/\xff/x"))
    assert [row.directory for row in found] == ["\\\\xff", "\\xfe", "\\xff"]


def test_only_files_count_in_directories_and_a_directory_without_files_has_no_row() -> None:
    others = [entry(f"/a/b/{kind}", type=kind) for kind in "dlsbFcX"]
    assert rows(IN_A, *others) == []
    assert uses(IN_A, *others) == [("/a", 70, 7)]
    assert [each.files for each in rows(IN_A, *others, entry("/a/b/f"))] == [1]


def test_groups_have_rows_of_their_own_in_one_directory() -> None:
    found = [entry("/a/b/x", gid=1), entry("/a/b/y", gid=2, size=3), folder("/a/b", gid=3)]
    assert [(row.gid, row.size_bytes) for row in rows(IN_A, *found)] == [(1, 10), (2, 3)]
    told = inspected(IN_A, *found)
    assert told.groups == [1, 2, 3]
    assert [(use.gid, use.used_bytes, use.inodes) for use in told.bases] == [
        (1, 10, 1),
        (2, 3, 1),
        (3, 10, 1),
    ]


def test_groups_are_those_that_have_anything_whatever_it_is() -> None:
    tally = show(InspectorTally(IN_A), [entry("/x", gid=9, type="s"), folder("/a/b", gid=4)])
    assert ask(tally, Groups()) == [4, 9]


def test_what_lies_under_a_pseudo_groups_path_counts_to_it() -> None:
    pseudo = pseudo_groups({b"/a/b": 77, b"/a/b/c": 88})
    found = [folder("/a/b"), entry("/a/b/x"), entry("/a/bc/x"), entry("/a/b/c/x"), entry("/a/x")]
    told = inspected(replace(IN_A, pseudo=pseudo), *found)
    assert [(row.gid, row.directory, row.files) for row in told.directories] == [
        (2, ".", 1),
        (2, "bc", 1),
        (77, "b", 1),
        (88, "b", 1),
    ]
    assert [(use.gid, use.inodes) for use in told.bases] == [(2, 2), (77, 2), (88, 1)]


# Hard links.


def link(path: str | bytes, **facts: Any) -> Entry:
    return entry(path, **{"links": 2, **facts})


def test_a_hard_link_counts_once_in_each_directory_but_once_in_the_base() -> None:
    names = [link("/a/b/1"), link("/a/b/2"), link("/a/b/c/3"), link("/a/d/1"), link("/a/1")]
    assert places(IN_A, *names) == [("/a", ".", 1), ("/a", "b", 1), ("/a", "d", 1)]
    assert [row.size_bytes for row in rows(IN_A, *names)] == [10, 10, 10]
    assert uses(IN_A, *names) == [("/a", 10, 1)]


def test_a_hard_link_counts_once_in_each_base() -> None:
    names = [link("/a/1"), link("/b/1"), link("/b/c/2"), link("/1"), link("/2")]
    assert uses(AT_ONE, *names) == [("-", 10, 1), ("/a", 10, 1), ("/b", 10, 1)]


def test_a_hard_link_whose_names_have_two_groups_counts_in_both() -> None:
    names = [link("/a/b/1", gid=1), link("/a/b/2", gid=2), link("/a/c/2", gid=2)]
    assert [(use.gid, use.used_bytes, use.inodes) for use in inspected(IN_A, *names).bases] == [
        (1, 10, 1),
        (2, 10, 1),
    ]


def test_links_are_told_apart_by_device_and_inode() -> None:
    numbers = [(1, 1), (1, 2), (2, 1), (2, 2), (1, 2**64 - 1), (2**64 - 1, 1), (1, 2**63)]
    names = [link("/a/x", device=device, inode=inode) for device, inode in numbers * 2]
    assert row(IN_A, *names).files == len(numbers)
    assert uses(IN_A, *names) == [("/a", 10 * len(numbers), len(numbers))]


@pytest.mark.parametrize("links", [0, 1])
def test_files_that_have_one_name_or_none_are_counted_by_name(links: int) -> None:
    names = [entry("/a/x", links=links), entry("/a/y", links=links)]
    assert row(IN_A, *names).files == 2
    assert uses(IN_A, *names) == [("/a", 20, 2)]


def test_more_names_than_links_count_once_all_the_same() -> None:
    names = [link(f"/a/{number}") for number in range(5)]
    assert row(IN_A, *names).files == 1


def test_links_of_what_is_no_file_count_every_time() -> None:
    names = [link("/a/b", type="d", links=9), link("/a/x", type="l"), link("/a/y", type="l")]
    assert uses(IN_A, *names) == [("/a", 30, 3)]


OLD, NEW = SCAN_TIME - 800 * DAY, SCAN_TIME - 10 * DAY


@pytest.mark.parametrize(
    ("one", "other", "kind", "age"),
    [
        pytest.param(
            link("/a/x", size=11, atime=OLD, mtime=OLD),
            link("/a/x.fq", size=10, atime=NEW, mtime=NEW),
            (0, 11),
            730,
            id="size",
        ),
        pytest.param(
            link("/a/x", atime=NEW, mtime=OLD),
            link("/a/x.fq", atime=OLD + 1, mtime=OLD + 1),
            (0, 10),
            0,
            id="last used",
        ),
        pytest.param(
            link("/a/x", atime=NEW, mtime=OLD + 1),
            link("/a/x.fq", atime=NEW, mtime=OLD),
            (0, 10),
            0,
            id="mtime",
        ),
        pytest.param(
            link("/a/x", atime=NEW, mtime=SCAN_TIME + 1),
            link("/a/x.fq", atime=NEW, mtime=1),
            (3, 10),
            0,
            id="an mtime that cannot be is none",
        ),
        pytest.param(link("/a/x.bam"), link("/a/x.fq"), (3, 10), 2555, id="the later type"),
        pytest.param(link("/a/x"), link("/a/x.bam"), (1, 10), 2555, id="other is the lowest"),
    ],
)
def test_of_names_that_differ_the_greatest_decides(
    one: Entry, other: Entry, kind: tuple[int, int], age: int
) -> None:
    apart = []
    for first, second in ((one, other), (other, one)):
        tally = show(InspectorTally(IN_A), [first])
        tally.merge(show(InspectorTally(IN_A), [second]).pieces())
        apart += all_told(tally).directories
    together = [row(IN_A, *names) for names in ([one, other], [other, one], [one, other, one])]
    for only in together + apart:
        assert only.by_type == (Part(kind[0], 1, kind[1]),)
        assert only.by_age == (Part(age, 1, kind[1]),)
        assert only.size_bytes == kind[1]


def test_times_of_a_row_are_over_all_names_of_a_link() -> None:
    names = [
        link("/a/b/x", size=11, atime=SCAN_TIME - 900 * DAY, mtime=SCAN_TIME - 900 * DAY),
        link("/a/b/y", size=10, atime=SCAN_TIME - 2 * DAY, mtime=SCAN_TIME - 5 * DAY),
        link("/a/c/y", size=99, atime=SCAN_TIME - DAY, mtime=SCAN_TIME - DAY),
    ]
    first, _ = rows(IN_A, *names)
    assert (first.last_used_days, first.last_modified_days) == (Decimal(2), Decimal(5))
    assert first.by_age == (Part(730, 1, 11),)
    assert inspected(IN_A, *names).bases[0].last_modified_days == 1


# Times and ages.


@pytest.mark.parametrize(
    ("atime", "mtime", "used", "modified"),
    [
        (SCAN_TIME - 3 * DAY, SCAN_TIME - 5 * DAY, 3, 5),
        (SCAN_TIME - 5 * DAY, SCAN_TIME - 3 * DAY, 3, 3),
        (SCAN_TIME, SCAN_TIME, 0, 0),
        (SCAN_TIME + 1, SCAN_TIME - DAY, 1, 1),
        (SCAN_TIME - DAY, SCAN_TIME + 1, 1, None),
        (2**62, -(2**62), None, None),
        (0, 0, None, None),
        (-1, SCAN_TIME - DAY, 1, 1),
        (0, 5, 10_000, 10_000),
        (5, 0, 10_000, None),
    ],
)
def test_times_that_cannot_be_say_nothing(
    atime: int, mtime: int, used: int | None, modified: int | None
) -> None:
    told = inspected(IN_A, entry("/a/x", atime=atime, mtime=mtime))
    (only,) = told.directories
    assert (only.last_used_days, only.last_modified_days) == (used, modified)
    assert told.bases[0].last_modified_days == modified


@pytest.mark.parametrize(
    ("seconds", "days"),
    [(4319, "0.0"), (4320, "0.0"), (4321, "0.1"), (12_960, "0.2"), (DAY, "1.0")],
)
def test_days_have_one_decimal_and_halves_go_to_the_even_one(seconds: int, days: str) -> None:
    only = row(IN_A, entry("/a/x", mtime=SCAN_TIME - seconds))
    assert str(only.last_modified_days) == days


def test_modification_of_a_base_is_that_of_anything_in_it() -> None:
    newer = folder("/a/b", mtime=SCAN_TIME - 2 * DAY, atime=SCAN_TIME)
    told = inspected(IN_A, entry("/a/x", mtime=SCAN_TIME - 3 * DAY), newer)
    assert told.bases[0].last_modified_days == 2
    assert told.directories[0].last_modified_days == 3


@pytest.mark.parametrize("position", range(len(AGE_CLASSES)))
def test_an_age_class_begins_at_its_edge_and_ends_before_the_next(position: int) -> None:
    days = AGE_CLASSES[position]
    edge = entry("/a/x", atime=SCAN_TIME - days * DAY, mtime=1)
    assert row(IN_A, edge).by_age == (Part(days, 1, 10),)
    if position:
        younger = edge._replace(atime=edge.atime + 1)
        assert row(IN_A, younger).by_age == (Part(AGE_CLASSES[position - 1], 1, 10),)


def test_a_file_of_which_no_time_is_known_is_of_unknown_age() -> None:
    unknown = entry("/a/x", atime=0, mtime=SCAN_TIME + 1, size=4)
    assert row(IN_A, unknown).by_age == (Part(UNKNOWN_AGE, 1, 4),)
    both = row(IN_A, unknown, entry("/a/y", atime=SCAN_TIME, size=3))
    assert both.by_age == (Part(0, 1, 3), Part(UNKNOWN_AGE, 1, 4))
    assert both.last_used_days == 0


# File types.


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (b"x.bam", 1),
        (b"x.BAM", 1),
        (b".bam", 1),
        (b"xam", 3),
        (b"x.bam.gz", 1),
        (b"x.vcf.gz", 2),
        (b"x.FastQ.Gz", 2),
        (b"x.fastq", 3),
        (b"x.fq", 3),
        (b"x.bam.txt", 0),
        (b"x.b\xe1m", 0),
        (b"gz", 0),
        (b"x\xff.gz", 2),
        (b"x", 0),
        (b"m", 0),
    ],
)
def test_the_longest_ending_decides_whatever_its_case(name: bytes, kind: int) -> None:
    assert row(IN_A, entry(b"/a/" + name)).by_type == (Part(kind, 1, 10),)


def test_only_the_name_of_a_file_says_its_type() -> None:
    assert row(IN_A, entry("/a/x.bam/y")).by_type == (Part(0, 1, 10),)
    spelled = replace(IN_A, file_types=(FileType("long", (b"x.bam",)), FileType("BAM", (b".bam",))))
    assert row(spelled, entry("/a/x/.bam")).by_type == (Part(2, 1, 10),)


def test_without_types_every_file_is_other() -> None:
    assert row(AT_ONE, entry("/a/x.bam")).by_type == (Part(0, 1, 10),)


@given(all_entries, all_rules)
@settings(max_examples=100)
def test_types_and_ages_add_up_to_the_row(entries: list[Entry], rules: Rules) -> None:
    for row in rows(rules, *entries):
        for parts in (row.by_type, row.by_age):
            assert sum(part.size_bytes for part in parts) == row.size_bytes
            assert sum(part.files for part in parts) == row.files > 0
            assert all(part.files for part in parts)


# The smallest directories of a base.


def sized(*sizes: int, **facts: Any) -> list[Entry]:
    """A file in each of the directories /a/d0, /a/d1, …"""
    return [entry(f"/a/d{place}/x", size=size, **facts) for place, size in enumerate(sizes)]


def test_the_smallest_rows_of_a_base_become_one() -> None:
    told = inspected(replace(IN_A, rows_per_base=3), *sized(5, 9, 1, 7, 3))
    assert [
        (row.directory, row.real_path, row.files, row.size_bytes) for row in told.directories
    ] == [
        ("*other*", None, 3, 9),
        ("d1", "/a/d1", 1, 9),
        ("d3", "/a/d3", 1, 7),
    ]
    assert (told.folded, told.folded_bases) == (3, 1)
    assert [(use.used_bytes, use.inodes) for use in told.bases] == [(25, 5)]


def test_a_base_with_no_more_rows_than_the_cap_stays_as_it_is() -> None:
    told = inspected(replace(IN_A, rows_per_base=3), *sized(5, 9, 1))
    assert [row.directory for row in told.directories] == ["d0", "d1", "d2"]
    assert (told.folded, told.folded_bases) == (0, 0)


def test_a_cap_of_one_leaves_one_row_of_each_base() -> None:
    told = inspected(replace(IN_A, rows_per_base=1), *sized(5, 9), entry("/a/x"), entry("/x"))
    assert [(row.directory, row.files) for row in told.directories] == [("-", 1), ("*other*", 3)]


def test_of_directories_with_as_many_bytes_the_first_ones_stay() -> None:
    for files in (sized(5, 5, 5, 5), sized(5, 5, 5, 5)[::-1]):
        folded = rows(replace(IN_A, rows_per_base=3), *files)
        assert [row.directory for row in folded] == ["*other*", "d0", "d1"]


def test_a_directory_called_like_the_row_of_the_smallest_is_in_it() -> None:
    files = [*sized(5, 9, 1), entry("/a/*other*/x", size=100)]
    folded = rows(replace(IN_A, rows_per_base=3), *files)
    assert [(row.directory, row.size_bytes) for row in folded] == [
        ("*other*", 101),
        ("d0", 5),
        ("d1", 9),
    ]


def test_a_cap_holds_for_each_group_and_base() -> None:
    files = [*sized(5, 9, 1), *sized(5, 9, gid=1), entry("/b/1/x"), entry("/b/2/x"), entry("/b/x")]
    told = inspected(replace(AT_ONE, rows_per_base=2), *files)
    assert [(row.gid, row.base.real, row.directory) for row in told.directories] == [
        (1, "/a", "d0"),
        (1, "/a", "d1"),
        (2, "/a", "*other*"),
        (2, "/a", "d1"),
        (2, "/b", "*other*"),
        (2, "/b", "."),
    ]
    assert (told.folded, told.folded_bases) == (4, 2)


def test_a_hard_link_counts_once_in_the_row_of_the_smallest() -> None:
    names = [
        entry("/a/big/x", size=100),
        link("/a/b/x", size=7, atime=NEW),
        link("/a/c/x.bam", size=8, atime=OLD),
        entry("/a/c/y", size=1, atime=OLD),
    ]
    other, _ = rows(replace(IN_A, rows_per_base=2), *names)
    assert (other.directory, other.files, other.size_bytes) == ("*other*", 2, 9)
    assert other.by_type == (Part(0, 1, 1), Part(1, 1, 8))
    assert other.by_age == (Part(730, 2, 9),)
    assert other.last_used_days == 10


def test_links_count_when_it_is_told_which_are_the_smallest() -> None:
    names = [link("/a/b/x", size=50), entry("/a/c/x", size=20), entry("/a/d/x", size=10)]
    folded = rows(replace(IN_A, rows_per_base=2), *names)
    assert [(row.directory, row.size_bytes) for row in folded] == [("*other*", 30), ("b", 50)]


# What vaults keep.


def kept(rules: Rules, *entries: Entry) -> list[tuple[str, int, int]]:
    """(directory, files, kept files) of each row."""
    return [(row.directory, row.files, row.kept_files) for row in rows(rules, *entries)]


def test_a_kept_file_counts_wherever_it_is_called_something_else() -> None:
    names = [link(f"/a/{name}", inode=7) for name in ("b/x", "b/y", "c/moved", ".vault/keep/07-eA")]
    others = [link("/a/b/z", inode=8), entry("/a/c/z", inode=9), link("/a/c/w", inode=7, device=1)]
    for found in (names + others, (names + others)[::-1]):
        assert kept(IN_A, *found) == [(".vault", 1, 1), ("b", 2, 1), ("c", 3, 1)]


def test_a_kept_file_that_only_its_vault_still_has_counts_there_and_once() -> None:
    names = [entry(f"/a/.vault/{key}", links=1) for key in ("keep/07-eA==", "keep/07-e/A==")]
    assert kept(IN_A, *names) == [(".vault", 1, 1)]
    assert uses(IN_A, *names) == [("/a", 10, 1)]


@pytest.mark.parametrize(
    ("vault", "files"),
    [
        ("/a/b/.vault/keep/x", 1),
        ("/a/b/.vault/.KEEP/01/x", 1),
        ("/.vault/Keep/x", 1),
        ("/z/.vault/keep/y/.vault/archive/x", 1),
        ("/a/b/.vault/keeper/x", 0),
        ("/a/b/.vault/..keep/x", 0),
        ("/a/b/.vault/archive/keep/x", 0),
        ("/a/b/.vault/.stash/.vault/keep/x", 0),
        ("/a/b/.vaults/keep/x", 0),
        ("/a/b/vault/keep/x", 0),
    ],
)
def test_a_file_is_kept_by_the_keep_branch_of_a_vault(vault: str, files: int) -> None:
    told = rows(replace(IN_A, bases=(b"/a/c",)), link(vault), link("/a/c/d/x"))
    assert told[-1].kept_files == files


@pytest.mark.parametrize("kind", "dls")
def test_only_files_are_kept(kind: str) -> None:
    assert kept(IN_A, link("/a/.vault/keep/x", type=kind), link("/a/b/x")) == [("b", 1, 0)]


def test_a_kept_file_counts_once_among_the_smallest_directories() -> None:
    names = [
        entry("/a/big/x", size=100, inode=1),
        link("/a/b/x", size=7),
        link("/a/c/x", size=7),
        link("/a/.vault/keep/07-eA==", size=7),
        link("/a/d/y", size=1, inode=8),
    ]
    assert kept(replace(IN_A, rows_per_base=2), *names) == [("*other*", 2, 1), ("big", 1, 0)]


# Vaults, and bases below others.


@pytest.mark.parametrize(
    ("vault", "directory"),
    [
        pytest.param("/a/b/.vault", "b", id="directly"),
        pytest.param("/a/b/c/d/.vault", "b", id="far below"),
        pytest.param("/a/users/u/.vault", "users/u", id="in a user's directory"),
        pytest.param("/a/.vault", ".vault", id="it is one"),
        pytest.param("/a/users/.vault", "users/.vault", id="it is one, of all users"),
    ],
)
def test_a_directory_that_is_or_holds_a_vault_is_marked(vault: str, directory: str) -> None:
    found = [entry("/a/x"), entry("/a/0/x"), entry(f"/a/{directory}/x"), folder(vault)]
    marked = [row.directory for row in rows(IN_A, *found) if row.holds_vault]
    assert marked == [directory]


def test_a_file_with_the_name_of_a_vault_is_none() -> None:
    assert not row(IN_A, entry("/a/b/.vault")).holds_vault


def test_a_vault_marks_directories_of_every_group() -> None:
    told = rows(IN_A, entry("/a/b/x", gid=1), folder("/a/b/c/.vault", gid=9))
    assert [row.holds_vault for row in told] == [True]


def test_directories_in_a_vault_are_marked() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a", 2),))
    assert row(rules, entry("/a/.vault/keep/x")).holds_vault


def test_a_name_that_is_like_that_of_a_vault_is_none() -> None:
    likes = [folder("/a/b/x.vault"), folder("/a/b/.vaults"), folder("/a/b/vault")]
    assert not row(IN_A, entry("/a/b/x"), *likes).holds_vault


def test_a_vault_in_a_directory_whose_name_begins_alike_marks_nothing() -> None:
    told = rows(IN_A, entry("/a/b/x"), entry("/a/bc/x"), folder("/a/bc/.vault"))
    assert [row.holds_vault for row in told] == [False, True]


def test_a_directory_above_another_base_is_marked() -> None:
    rules = Rules(SCAN_TIME, bases=(b"/a", b"/a/b/c/d", b"/a/ef"))
    told = rows(rules, entry("/a/b/x"), entry("/a/e/x"), entry("/a/x"), entry("/a/ef/x"))
    assert [(row.directory, row.lies_above) for row in told] == [
        (".", False),
        ("b", True),
        ("e", False),
        (".", False),
    ]


def test_a_directory_above_a_base_found_by_rule_is_marked_if_the_base_is_there() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/a", 1), BaseRule(b"/a/b/c*", 3)))
    assert not row(rules, entry("/a/b/x")).lies_above
    assert row(rules, entry("/a/b/x"), folder("/a/b/c1", gid=5)).lies_above


# Rows in their order, and as people know them.


def test_rows_are_in_the_order_of_groups_then_paths_as_bytes() -> None:
    files = [
        entry(path, gid=gid)
        for gid in (1, 2)
        for path in ("/b/x/1", "/a/ä/1", "/a/z/1", "/a/-/1", "/a/1", "/a/Z/1", "/a/b/1", "/1")
    ]
    tally = show(InspectorTally(AT_ONE), files)
    counts = put(tally, [2, 1])
    told = ask(tally, Directories(0, counts.directories))
    one = ["-", "-", ".", "Z", "b", "z", "ä", "x"]
    assert [(row.gid, row.directory) for row in told] == [
        (gid, name) for gid in (2, 1) for name in one
    ]
    assert [(use.gid, use.base.real) for use in ask(tally, Bases(0, counts.bases))] == [
        (gid, base) for gid in (2, 1) for base in ("-", "/a", "/b")
    ]


def test_rows_can_be_put_in_another_order_again() -> None:
    tally = show(InspectorTally(AT_ONE), [entry("/a/x", gid=1), entry("/a/x", gid=2)])
    for gids in ([1, 2], [2, 1], [1, 2]):
        put(tally, gids)
        assert [row.gid for row in ask(tally, Directories(0, 2))] == gids
        assert [use.gid for use in ask(tally, Bases(0, 2))] == gids
        assert [row.gid for row in ask(tally, Largest())] == gids


def test_the_largest_rows_are_ten_and_as_large_ones_keep_their_order() -> None:
    sizes = [3, 7, 3, 9, 3, 3, 3, 3, 3, 3, 3, 3]
    tally = show(InspectorTally(IN_A), sized(*sizes))
    put(tally, [2])
    names = [(row.directory, row.size_bytes) for row in ask(tally, Largest())]
    assert names[:3] == [("d3", 9), ("d1", 7), ("d0", 3)]
    assert [name for name, _ in names[3:]] == ["d10", "d11", "d2", "d4", "d5", "d6", "d7"]


LAYOUT = {b"/s/mdt*/projects": b"/s/projects"}


def test_a_base_is_shown_as_people_know_it_and_ruled_by_its_real_path() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/s/mdt*/projects", 4),), symlinks=LAYOUT)
    found = inspected(rules, entry("/s/mdt1/projects/p/d/x"), entry("/s/projects/p/x"))
    nowhere, only = found.directories
    assert only.base == BaseDirectory("/s/mdt1/projects/p", "/s/projects/p")
    assert only.real_path == "/s/mdt1/projects/p/d"
    assert nowhere.base == BaseDirectory("-", "-")
    assert found.bases[1].base == only.base


def test_two_real_directories_that_are_shown_as_one_stay_apart() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/s/mdt*/projects", 4),), symlinks=LAYOUT)
    found = [entry(f"/s/mdt{number}/projects/p/d/x", size=number) for number in (2, 10, 1)]
    told = inspected(rules, *found)
    assert [(row.base.real, row.base.shown, row.size_bytes) for row in told.directories] == [
        (f"/s/mdt{number}/projects/p", "/s/projects/p", number) for number in (1, 10, 2)
    ]
    assert [use.base.real for use in told.bases] == [row.base.real for row in told.directories]


def test_rows_that_show_the_same_path_are_in_the_order_of_their_directories() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/s/mdt*/projects", 4),), symlinks=LAYOUT)
    found = [entry(f"/s/mdt{real}/projects/p/{name}/x") for real in (1, 2) for name in "ab"]
    assert [(row.directory, row.base.real) for row in inspected(rules, *found).directories] == [
        (name, f"/s/mdt{real}/projects/p") for name in "ab" for real in (1, 2)
    ]


def test_bases_are_in_the_order_of_the_paths_that_people_know() -> None:
    rules = Rules(SCAN_TIME, base_rules=(BaseRule(b"/s", 2),), symlinks={b"/s/1": b"/z"})
    told = inspected(rules, entry("/s/1/x"), entry("/s/2/x"))
    assert [use.base.shown for use in told.bases] == ["/s/2", "/z"]


# Sums beyond 64 bits.


@pytest.mark.parametrize("links", [1, 2])
def test_sizes_beyond_64_bits_are_an_error_and_no_small_number(links: int) -> None:
    huge = [entry("/a/b/x", size=2**63 - 1, inode=inode, links=links) for inode in (1, 2)]
    with pytest.raises(SumOverflow, match="2\\^63"):
        all_told(show(InspectorTally(IN_A), huge))


@pytest.mark.parametrize("facts", [{"links": 1}, {"links": 2}, {"type": "d"}])
def test_a_base_may_overflow_though_no_directory_does(facts: dict[str, Any]) -> None:
    huge = [entry(f"/a/{inode}/x", size=2**62, inode=inode, **facts) for inode in (1, 2)]
    with pytest.raises(SumOverflow):
        all_told(show(InspectorTally(IN_A), huge))


def test_names_of_one_inode_do_not_overflow() -> None:
    huge = [link(f"/a/{name}/x", size=2**63 - 1) for name in "bcd"]
    assert uses(IN_A, *huge) == [("/a", 2**63 - 1, 1)]


@pytest.mark.parametrize("facts", [{"links": 1}, {"links": 2}, {"type": "s"}])
def test_sums_that_leave_64_bits_only_when_merged_are_an_error(facts: dict[str, Any]) -> None:
    one, other = (
        show(InspectorTally(IN_A), [entry("/a/b/x", size=2**62, inode=inode, **facts)])
        for inode in (1, 2)
    )
    with pytest.raises(SumOverflow):  # noqa: PT012 - links are added up when something is asked
        one.merge(other.pieces())
        one.tell(Groups())
