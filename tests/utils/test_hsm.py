"""What `lfs hsm_state` says of files is read whatever they are called; silence is no answer."""

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hsm_stand_in import ARCHIVED, ON_TAPE, HsmStandIn, described
from hypothesis import example, given
from hypothesis import strategies as st

from utils import hsm
from utils.hsm import HsmUnknown, parse, released

NAMES = st.binary(min_size=1).map(lambda name: b"/" + name.replace(b"\0", b""))
STATES = st.sampled_from([0, 1, 0x4, ARCHIVED, ON_TAPE, 0x1D])
HOSTILE = [
    b"plain",
    b"new\nline",
    b"a: (0x0000000d) released exists archived, archive_id:1",
    b"a: (0x0000000d) released\n",
    b": (0x",
    b"-dash",
    b"\xff\xfe",
]


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HsmStandIn:
    lfs = HsmStandIn(tmp_path / "lfs")
    lfs.install()
    monkeypatch.setenv("PATH", lfs.path)
    return lfs


def files(folder: Path, names: list[bytes] = HOSTILE) -> list[bytes]:
    paths = [bytes(folder) + b"/" + name for name in names]
    for path in paths:
        Path(os.fsdecode(path)).touch()
    return paths


@given(st.lists(st.tuples(NAMES, STATES), max_size=6))
@example([(b"/a", 1), (b"/a: (0x0000000d) released\n", 4), (b"/", 0)])
def test_what_is_printed_of_any_names_reads_back(told: list[tuple[bytes, int]]) -> None:
    output = b"".join(b"%s: %s\n" % (path, described(states).encode()) for path, states in told)
    assert parse(output, [path for path, _ in told]) == [states for _, states in told]


@given(st.lists(NAMES, min_size=1, max_size=4), st.data())
def test_what_is_cut_short_is_no_answer(paths: list[bytes], data: st.DataObject) -> None:
    output = b"".join(b"%s: (0x0000000d) released\n" % path for path in paths)
    with pytest.raises(HsmUnknown):
        parse(output[: data.draw(st.integers(0, len(output) - 1))], paths)


def test_released_files_are_told_from_others(lfs: HsmStandIn, tmp_path: Path) -> None:
    paths = files(tmp_path)
    for number, path in enumerate(paths):
        lfs.tell(Path(os.fsdecode(path)), ON_TAPE if number % 2 else ARCHIVED)
    assert released(paths) == paths[1::2]
    assert released([]) == []
    assert [len(call) for call in lfs.calls()] == [len(paths)]


def test_an_open_file_is_asked_for_by_its_handle(lfs: HsmStandIn, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    lfs.tell(tmp_path / "file", ON_TAPE)
    with (tmp_path / "file").open("rb") as file:
        (tmp_path / "file").unlink()
        path = b"/proc/self/fd/%d" % file.fileno()
        assert released([path], handles=[file.fileno()]) == [path]


@pytest.mark.parametrize(("limit", "of"), [("MOST_AT_ONCE", 3), ("MOST_BYTES", 400)])
def test_many_are_asked_for_some_at_a_time(
    lfs: HsmStandIn, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str, of: int
) -> None:
    monkeypatch.setattr(hsm, limit, of)
    paths = files(tmp_path, [b"%0100d" % number for number in range(10)])
    lfs.tell(Path(os.fsdecode(paths[9])), ON_TAPE)
    assert released(paths) == paths[9:]
    assert len(lfs.calls()) >= 4
    assert [os.fsencode(path) for call in lfs.calls() for path in call] == paths


def test_nothing_is_known_without_the_program(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    with pytest.raises(HsmUnknown, match="run this on a client of Lustre"):
        released([b"/a"])


def test_one_file_of_which_nothing_is_said_leaves_all_unknown(
    lfs: HsmStandIn, tmp_path: Path
) -> None:
    paths = [*files(tmp_path), bytes(tmp_path / "gone")]
    with pytest.raises(HsmUnknown, match=r"can't get hsm state for .*gone.*: No such file"):
        released(paths)
    lfs.silent = True
    lfs.install()
    with pytest.raises(HsmUnknown, match=r"lfs says nothing of .*plain"):
        released(paths)


def test_one_that_hangs_is_ended(lfs: HsmStandIn, tmp_path: Path) -> None:
    lfs.seconds = 600
    lfs.install()
    with pytest.raises(HsmUnknown, match="did not answer within"):
        released(files(tmp_path), seconds=0.2)
    with suppress(ChildProcessError):
        assert os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def test_a_program_that_cannot_be_started_is_told(lfs: HsmStandIn) -> None:
    (lfs.folder / "lfs").write_text("#!/no/such/program\n")
    with pytest.raises(HsmUnknown, match="cannot be started"):
        released([b"/a"])
