"""Keys of vaults."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils import vaults
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
