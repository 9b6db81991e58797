"""Files go in parcels, and large ones in parts, as the targets allow it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from servers import archives

from lurge.archiver.parcels import BATCH_FILES, SMALL_BYTES, parcels, parts
from lurge_types.archive import Entry, Fingerprint, Policy
from lurge_types.targets import CHUNK_BYTES, Target, TargetFailed

MIB = 1 << 20
GIB = 1 << 30
SEGMENT = 5 * MIB
TREE = replace(archives.POLICY, segment_bytes=SEGMENT)
PACKS = replace(TREE, layout="packs")
SIZES = st.lists(
    st.sampled_from([0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, SEGMENT, SEGMENT + 1, 20 * MIB]),
    max_size=300,
)


@dataclass(frozen=True)
class Limits:
    """What parts depend on of a target."""

    url: str = "s3://archive"
    largest_put: int = 5 * GIB
    most_parts: int = 1000
    smallest_part: int = 5 * MIB


def cut(size: int, *targets: Limits, policy: Policy = TREE) -> list[range]:
    return parts(size, policy, cast(Sequence[Target], targets))


def files(sizes: Sequence[int]) -> list[tuple[int, Entry]]:
    print_ = Fingerprint(1, 1, "f", 0, 0, 0)
    return [
        (number, Entry(b"%d" % number, print_._replace(size=size), 0, 0, 0, 0))
        for number, size in enumerate(sizes)
    ]


@given(SIZES, st.sampled_from([TREE, PACKS]))
def test_every_file_is_in_one_parcel_and_in_order(sizes: list[int], policy: Policy) -> None:
    made = list(parcels(files(sizes), policy, SEGMENT))
    for kinds in (["pack"], ["each", "large"]):
        numbers = [number for each in made if each.kind in kinds for number, _ in each.files]
        assert numbers == sorted(numbers)
    assert sorted(number for each in made for number, _ in each.files) == list(range(len(sizes)))


@given(SIZES, st.sampled_from([TREE, PACKS]))
def test_no_object_is_larger_than_a_segment(sizes: list[int], policy: Policy) -> None:
    for each in parcels(files(sizes), policy, SEGMENT):
        sizes_there = [entry.fingerprint.size for _, entry in each.files]
        if each.kind == "large":
            assert len(sizes_there) == 1
            assert sizes_there[0] > SEGMENT
        else:
            assert max(sizes_there) <= SEGMENT
        if each.kind == "pack":
            assert each.size_bytes <= SEGMENT
            assert max(sizes_there) <= SMALL_BYTES
        assert each.kind != "each" or len(sizes_there) <= BATCH_FILES


@given(st.integers(SEGMENT + 1, 5 * 10**12), st.integers(2, 10_000))
def test_parts_are_one_after_the_other_and_as_many_as_are_allowed(size: int, most: int) -> None:
    target = Limits(most_parts=most, largest_put=1 << 62)
    made = cut(size, target)
    assert made[0].start == 0
    assert made[-1].stop == size
    assert all(one.stop == other.start for one, other in pairwise(made))
    assert len(made) <= most
    assert {len(each) for each in made[:-1]} <= {len(made[0])}
    assert len(made[0]) >= SEGMENT or len(made) == 1


def test_a_file_of_5_tb_goes_to_a_server_that_takes_1000_parts_of_5_gib() -> None:
    made = cut(5 * 10**12, Limits(), replace(Limits(), most_parts=10_000), policy=TREE)
    assert len(made) <= 1000
    assert max(map(len, made)) <= 5 * GIB


def test_a_file_that_a_target_cannot_take_is_told() -> None:
    with pytest.raises(TargetFailed, match=r"too much for 1000 parts of 5\.0 GiB"):
        cut(6 * 10**12, Limits())


def test_of_a_target_that_takes_less_at_once_parts_are_smaller() -> None:
    made = cut(12 * MIB, Limits(largest_put=3 * MIB, smallest_part=1))
    assert max(map(len, made)) <= 3 * MIB
    with pytest.raises(TargetFailed, match="too much for 1 parts"):
        cut(12 * MIB, Limits(most_parts=1, largest_put=1 << 62))
