"""Rules on paths, against a twin that compares lists of components."""

import re
from collections.abc import Sequence
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lurge_types.batch import NUMBER_COLUMNS, Batch
from utils.path_loops import ends_with
from utils.path_rules import PathRules, real_paths

# The twin.


def components(path: bytes) -> list[bytes]:
    return path.rstrip(b"/").split(b"/")


def like(component: bytes, pattern: bytes) -> bool:
    """Whether a component is like a pattern, in which only a * is special."""
    parts = map(re.escape, pattern.split(b"*"))
    return re.fullmatch(b".*".join(parts), component, re.DOTALL) is not None


def lies_under(path: bytes, rule: bytes) -> bool:
    found, wanted = components(path), components(rule)
    return len(found) >= len(wanted) and all(map(like, found, wanted))


def plain_find(rules: Sequence[bytes], path: bytes) -> int:
    """Of the rules that hold the one with most components, then literal ones, then the first."""
    held = [number for number, rule in enumerate(rules) if lies_under(path, rule)]

    def rank(number: int) -> tuple[int, list[bool], int]:
        wanted = components(rules[number])
        return -len(wanted), [b"*" in component for component in wanted], number

    return min(held, key=rank, default=-1)


# Both on the same paths.

few = st.binary(max_size=3).map(lambda name: name.replace(b"/", b""))
names = st.text("ab*", max_size=5).map(str.encode) | st.sampled_from([b"a", b"b", b"\xff", b"\n"])
paths = st.lists(names | few, max_size=5).map(
    lambda parts: b"/" + b"/".join(parts).strip(b"/") if parts else b"/"
)
rules = st.lists(st.lists(names, max_size=4).map(lambda parts: b"/" + b"/".join(parts)), max_size=6)


def batch(paths: Sequence[bytes]) -> Batch:
    """A batch of paths, amid bytes that belong to none."""
    raw = np.frombuffer(b"".join(paths) + b"/behind", np.uint8)
    numbers = np.zeros((len(NUMBER_COLUMNS), len(paths)), np.int64)
    no_lines = np.zeros(len(paths), np.int64)
    return Batch(numbers, raw, np.cumsum([0, *map(len, paths)]), raw, no_lines, no_lines)


@given(rules, st.lists(paths, max_size=8))
@settings(max_examples=500, deadline=None)
def test_the_rule_that_holds_is_the_twins(rules: list[bytes], paths: list[bytes]) -> None:
    found = PathRules(rules)
    expected = [plain_find(rules, path) for path in paths]
    assert found.match(batch(paths)).tolist() == expected
    assert [found.find(path) for path in paths] == expected


@given(paths, st.data())
@settings(deadline=None)
def test_a_pattern_that_is_made_of_a_path_holds_for_it_and_what_lies_below(
    path: bytes, data: st.DataObject
) -> None:
    def starred(component: bytes) -> bytes:
        start, end = sorted(data.draw(st.integers(0, len(component))) for _ in range(2))
        return component[:start] + b"*" + component[end:]

    rules = PathRules([b"/" + b"/".join(map(starred, components(path)[1:]))])
    assert rules.find(path) == 0
    assert rules.find(path.rstrip(b"/") + b"/below/it") == 0


# By example.


@pytest.mark.parametrize(
    ("rule", "path", "holds"),
    [
        (b"/a/b", b"/a/b", True),
        (b"/a/b", b"/a/b/c", True),
        (b"/a/b/", b"/a/b", True),
        (b"/a/b", b"/a/bc", False),
        (b"/a/b", b"/a", False),
        (b"/a/b", b"/x/a/b", False),
        (b"/a/b", b"/A/B", False),
        (b"/", b"/", True),
        (b"/", b"/a", True),
        (b"/*", b"/a", True),
        (b"/*", b"/", False),
        (b"/a", b"/", False),
        (b"/a*/c", b"/ab/c", True),
        (b"/a*/c", b"/a/c", True),
        (b"/a*/c", b"/a/b/c", False),
        (b"/a*/c", b"/ab/x/c", False),
        (b"/*/c", b"/a/c/d", True),
        (b"/*/*", b"/a", False),
        (b"/*b*", b"/abc", True),
        (b"/*b*", b"/ac", False),
        (b"/*ab", b"/aab", True),
        (b"/*ab*ab", b"/abaab", True),
        (b"/*ab*ab", b"/abb", False),
        (b"/a*b", b"/acb/d", True),
        (b"/a*b", b"/ac/b", False),
        (b"/**", b"/a/b", True),
        (b"/a*", b"/a*", True),
        (b"/a?", b"/ab", False),
        (b"/a?", b"/a?", True),
        (b"/[ab]", b"/a", False),
        (b"/a.c", b"/abc", False),
        (b"/*\n", b"/a\n", True),
        (b"/caf\xe9", b"/caf\xe9/x", True),
        (b"/caf\xe9", "/café".encode(), False),
    ],
)
def test_a_rule_holds_for_whole_components(rule: bytes, path: bytes, holds: bool) -> None:
    assert PathRules([rule]).find(path) == (0 if holds else -1)
    assert lies_under(path, rule) == holds


@pytest.mark.parametrize(
    ("path", "best_first"),
    [
        (b"/a/b/c/d", [b"/a/b/c", b"/a/b", b"/a", b"/"]),
        (b"/a/b/c/d", [b"/*/*/*", b"/a/b", b"/*/*", b"/*"]),
        (b"/a/b/c", [b"/a/b", b"/a/*", b"/*/b", b"/*/*"]),
        (b"/abc/d", [b"/abc/d", b"/abc/*", b"/a*/d", b"/a*/*"]),
        (b"/abc/d", [b"/abc/d/", b"/ab*/*", b"/abc"]),
    ],
)
def test_the_longest_rule_wins_and_a_literal_component_before_a_star(
    path: bytes, best_first: list[bytes]
) -> None:
    for count in range(1, len(best_first) + 1):
        for rules in permutations(best_first[-count:]):
            assert rules[PathRules(rules).find(path)] == best_first[-count]


@pytest.mark.parametrize("rules", [[b"/a*", b"/*b"], [b"/*b", b"/a*"], [b"/ab", b"/ab/"]])
def test_of_equal_rules_the_earlier_one_wins(rules: list[bytes]) -> None:
    assert PathRules(rules).find(b"/ab") == 0


def test_without_a_rule_none_holds() -> None:
    assert PathRules([]).find(b"/a") == -1
    assert PathRules([]).match(batch([b"/", b"/a"])).tolist() == [-1, -1]
    assert PathRules([b"/a"]).match(batch([])).tolist() == []


# Other ways to say a path.


@pytest.mark.parametrize(
    ("path", "symlinks", "real"),
    [
        (b"/p/x", {}, []),
        (b"/p/x", {b"/mdt*/p": b"/p"}, [b"/mdt*/p/x"]),
        (b"/p", {b"/mdt*/p": b"/p"}, [b"/mdt*/p"]),
        (b"/px", {b"/mdt*/p": b"/p"}, []),
        (b"/p/x", {b"/1": b"/p", b"/2": b"/q", b"/3": b"/p/x"}, [b"/1/x", b"/3"]),
        (b"/mdt1/p/x", {b"/mdt*/p": b"/p"}, []),
    ],
)
def test_a_path_may_stand_for_real_ones(
    path: bytes, symlinks: dict[bytes, bytes], real: list[bytes]
) -> None:
    assert list(real_paths(path, symlinks)) == [path, *real]


# Endings.

ending_names = st.text("ab.", max_size=6).map(str.encode)


@given(st.lists(ending_names, max_size=8), ending_names)
@settings(deadline=None)
def test_the_paths_that_end_in_a_suffix_are_the_twins(paths: list[bytes], suffix: bytes) -> None:
    shown = batch(paths)
    found = ends_with(shown.paths, shown.offsets, np.frombuffer(suffix, np.uint8))
    assert found.tolist() == [number for number, path in enumerate(paths) if path.endswith(suffix)]
