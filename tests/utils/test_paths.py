import pytest
from hypothesis import given
from hypothesis import strategies as st

from utils.paths import raw, text

PIECES = (
    *(b"\\", b"\\\\", b"\t", b"\n", b"\r", b"\0", b"\x1f", b"\x7f", b"\x80", b"\xff"),
    *(b"\\t", b"\\n", b"\\x41", b"x41", b"n", b"t", b"/", b" ", "\x85é日🙂\ufffd".encode()),
    *("日".encode()[:2], "🙂".encode()[1:], b"\xed\xb2\x80", b"\xc0\x80"),
)

paths = st.binary() | st.lists(st.sampled_from(PIECES)).map(b"".join)


@pytest.mark.parametrize(
    ("path", "form"),
    [
        (b"", ""),
        (b"/lustre/scratch123/a b~!", "/lustre/scratch123/a b~!"),
        (b"/back\\slash", r"/back\\slash"),
        (b"/tab\tnewline\n", r"/tab\tnewline\n"),
        (b"/return\r, bell\a, null\0", r"/return\x0d, bell\x07, null\x00"),
        (b"/\x1f \x7f", r"/\x1f \x7f"),
        ("/café/日本/🙂".encode(), "/café/日本/🙂"),
        (b"/caf\xe9", r"/caf\xe9"),
        (b"/cut \xe6\x97 here", r"/cut \xe6\x97 here"),
        (b"/surrogate \xed\xb2\x80", r"/surrogate \xed\xb2\x80"),
        (b"/overlong \xc0\x80", r"/overlong \xc0\x80"),
        (b"/beyond \xf4\x90\x80\x80", r"/beyond \xf4\x90\x80\x80"),
        (b"/looks like \\xe9 or \\n", r"/looks like \\xe9 or \\n"),
        ("/no-break\u00a0space, \ufffd".encode(), "/no-break\u00a0space, \ufffd"),
    ],
)
def test_a_path_and_its_text_form_are_one_another(path: bytes, form: str) -> None:
    assert text(path) == form
    assert raw(form) == path


def test_each_byte_alone_survives() -> None:
    names = [bytes([byte]) for byte in range(256)]
    assert [raw(text(name)) for name in names] == names


@given(paths)
def test_any_path_is_had_back_from_its_text_form(path: bytes) -> None:
    assert raw(text(path)) == path


@given(paths)
def test_a_text_form_is_utf_8_without_ascii_control_characters(path: bytes) -> None:
    form = text(path).encode("utf-8")
    assert not set(form) & {*range(0x20), 0x7F}


@given(paths, paths)
def test_distinct_paths_stay_distinct(path: bytes, other: bytes) -> None:
    assert (text(path) == text(other)) == (path == other)


@given(st.binary(max_size=6), st.sampled_from(PIECES))
def test_a_path_and_its_own_text_form_as_a_name_stay_distinct(path: bytes, piece: bytes) -> None:
    name = path + piece
    form = text(name).encode("utf-8")
    assert (text(form) == text(name)) == (form == name)


@given(st.lists(st.binary(), min_size=1))
def test_the_form_of_a_path_is_the_forms_of_its_components(names: list[bytes]) -> None:
    names = [name.replace(b"/", b"") for name in names]
    assert text(b"/".join(names)) == "/".join(map(text, names))
