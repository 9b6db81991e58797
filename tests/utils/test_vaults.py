"""Keys of vaults."""

import base64
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from utils import vaults
from utils.path_loops import WINDOW, in_vaults
from utils.path_rules import as_array
from utils.vaults import Key, KeyBroken, Place

NAMES = st.binary(min_size=1, max_size=255).filter(
    lambda name: not {b"\0"[0], b"/"[0]} & set(name) and name not in (b".", b"..")
)
PATHS = st.lists(NAMES, min_size=1, max_size=12).map(b"/".join)


@given(st.integers(0, 2**64 - 1), PATHS)
def test_what_was_encoded_is_decoded(inode: int, path: bytes) -> None:
    key = vaults.encode(Key(inode, path))
    assert vaults.decode(key) == (inode, path)
    assert all(0 < len(name) <= 255 for name in key.split(b"/"))


@pytest.mark.parametrize("size", range(1, 9))
def test_an_inode_has_a_folder_for_each_byte_but_the_last(size: int) -> None:
    inode = int.from_bytes(bytes(range(0xA1, 0xA1 + size)), "big")
    *folders, last = vaults.encode(Key(inode, b"x")).split(b"/")
    assert folders == [b"%x" % (0xA1 + place) for place in range(size - 1)]
    assert last == b"%x-eA==" % (0xA0 + size)


def test_a_key_may_be_cut_anywhere() -> None:
    path = b"d" * 200 + b"/" + b"e" * 250 + b"/" + b"\xff+_- \n" * 25
    key = vaults.encode(Key(5, path)).replace(b"/", b"")
    cut = b"/".join(key[at : at + 7] for at in range(0, len(key), 7))
    assert vaults.decode(cut) == (5, path)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (b"", "no -"),
        (b"1f/03", "no -"),
        (b"-eA==", "inode"),
        (b"f-eA==", "inode"),
        (b"1F-eA==", "inode"),
        (b"0x1f-eA==", "inode"),
        (b"1f 3-eA==", "inode"),
        (b"01/02/03/04/05/06/07/08/09-eA==", "inode"),
        (b"1f-eA", "base64"),
        (b"1f-eA=", "base64"),
        (b"1f-e A=", "base64"),
        (b"1f-eA==-", "base64"),
        (b"1f-", "root"),
        (b"1f-" + base64.b64encode(b"/etc/passwd"), "root"),
        (b"1f-" + base64.b64encode(b"a/../../b"), "root"),
        (b"1f-" + base64.b64encode(b"a/./b"), "root"),
        (b"1f-" + base64.b64encode(b"a/"), "root"),
        (b"1f-" + base64.b64encode(b"a\0b"), "none"),
        (b"1f-" + base64.b64encode(b"a" * 4097), "none"),
    ],
)
def test_a_broken_key_says_why(key: bytes, reason: str) -> None:
    with pytest.raises(KeyBroken, match=reason):
        vaults.decode(key)


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (b"/a/b", None),
        (b"/a/.vault", None),
        (b"/a/.vaults/keep/x", None),
        (b"/a/x.vault/keep/x", None),
        (b"/a/.vault/keep", Place(b"/a", b"keep", b"")),
        (b"/.vault/keep/1/2", Place(b"", b"keep", b"1/2")),
        (b"/a/.vault/keep/b/.vault/archive/c", Place(b"/a", b"keep", b"b/.vault/archive/c")),
    ],
)
def test_the_outermost_vault_counts(path: bytes, place: Place | None) -> None:
    assert vaults.place(path) == place


@pytest.mark.parametrize(
    ("branch", "action"),
    [
        (b"keep", b"keep"),
        (b".KeeP", b"keep"),
        (b"..keep", b".keep"),
        (b"", b""),
        (b".\xc3\x84", b"\xc3\x84"),
    ],
)
def test_the_action_is_the_branch_without_its_dot_whatever_its_case(
    branch: bytes, action: bytes
) -> None:
    assert Place(b"/a", branch, b"x").action == action


def found_in(paths: list[bytes], behind: bytes = b"") -> list[int]:
    """The numbers of the paths in vaults, where something else lies behind them all."""
    offsets = np.array([0, *accumulate(map(len, paths))])
    found: list[int] = in_vaults(as_array(b"".join(paths) + behind), offsets).tolist()
    return found


components = st.one_of(
    st.sampled_from([b".vault", b".vault", b".vaul", b"vault", b".vaults", b"x.vault", b".va"]),
    st.sampled_from([b".", b".v", b".x", b"a", b"x" * WINDOW]),
    st.integers(1, WINDOW).map(lambda length: b"x" * length),
)
some_paths = st.lists(components, max_size=6).map(lambda parts: b"/" + b"/".join(parts))


@given(st.lists(some_paths, max_size=12), st.sampled_from([b"", b"/", b"/.vault/x", b"t/x"]))
@settings(max_examples=500)
def test_what_is_in_a_vault_is_found_wherever_its_path_lies(
    paths: list[bytes], behind: bytes
) -> None:
    expected = [number for number, path in enumerate(paths) if b".vault" in path.split(b"/")]
    assert found_in(paths, behind) == expected
    assert found_in(paths * 9, behind) == [
        number + len(paths) * time for time in range(9) for number in expected
    ]


def test_a_vault_that_two_paths_make_together_is_none() -> None:
    assert found_in([b"/a/.va", b"/ult/x", b"/a/.vaul", b"/t/x", b"/a/.vaults", b"/x"]) == []
    assert found_in([b"/", b"/.vault", b"/", b"/a/.vault", b"/x"]) == [1, 3]
