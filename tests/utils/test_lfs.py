"""What Lustre's `lfs` says of quotas, in every shape, and what is done where it says nothing."""

import re
import signal
from collections.abc import Sequence
from contextlib import suppress
from os import kill
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lfs_stand_in import ANYBODY, DEFAULT_BLOCKS, ERRORS, Count, Reply, StandIn, figures

from lurge_types.names import Group, Limits
from lurge_types.scans import Volume
from utils.lfs import (
    MOST_AT_ONCE,
    MOST_SILENT,
    LfsQuotas,
    LfsRefused,
    LfsSilent,
    Stated,
    _Questions,
    parse,
)
from utils.lfs import Reply as Told
from utils.quotas import HIGHEST, Answer

MOUNT = b"/lustre/s1"
VOLUME = Volume("s1", MOUNT)
ENOUGH = 30.0
"""Seconds in which everything that answers has answered, however busy the machine is."""

U64 = st.integers(0, 2**64 - 1)
GRACES = st.sampled_from(["-", "none", "expired", "notify", "6d23h59m58s", "1w", "0s", "[6d]"])
NOTES = st.lists(st.sampled_from([DEFAULT_BLOCKS, ERRORS, "", "pool: x"]), max_size=3)


def counts(**fixed: Any) -> st.SearchStrategy[Count]:
    return st.builds(
        Count,
        *(U64 | st.integers(0, 10**12) for _ in range(3)),
        GRACES,
        st.sampled_from(["", "*", "**"]),
        **{"used_known": st.booleans(), "limits_known": st.just(True), **fixed},
    )


def limit(count: int, unit: int = 1) -> int | None:
    return count * unit if 0 < count * unit <= HIGHEST else None


def used(count: Count, unit: int = 1) -> int | None:
    return count.used * unit if count.used_known and count.used * unit <= HIGHEST else None


# What is read.


@given(st.binary().map(lambda tail: b"/" + tail.replace(b"\0", b"")), counts(), counts(), NOTES)
@example(b"/short", Count(1, 2, 3), Count(4, 5, 6), [])
@example(b"/a/long/name of a mount", Count(1, 2, 3), Count(4, 5, 6), [DEFAULT_BLOCKS])
@example(b"/like/figures 1 2 3 - 4 5 6 -", Count(7), Count(8), [])
@example(b"/1 1 1 - 4 4 4\n-", Count(7), Count(8), [])
def test_what_lfs_prints_reads_back(
    mount: bytes, blocks: Count, inodes: Count, notes: list[str]
) -> None:
    assert parse(figures(mount, blocks, inodes, *notes)) == Stated(
        used(blocks, 1024),
        limit(blocks.soft, 1024),
        limit(blocks.hard, 1024),
        used(inodes),
        limit(inodes.soft),
        limit(inodes.hard),
    )


@given(counts(limits_known=st.booleans()), counts(limits_known=st.booleans()))
def test_limits_that_a_server_did_not_tell_are_not_taken_for_limits(
    blocks: Count, inodes: Count
) -> None:
    printed = figures(MOUNT, blocks, inodes, ERRORS)
    if blocks.limits_known and inodes.limits_known:
        assert parse(printed).inodes == used(inodes)
        return
    with pytest.raises(LfsRefused, match="in brackets"):
        parse(printed)


@pytest.mark.parametrize(
    ("printed", "stated"),
    [
        (
            "     /lustre/s1 309440  0       409600 - 2 0 10240 -\n",
            Stated(309440 << 10, None, 409600 << 10, 2, None, 10240),
        ),
        (
            "/lustre/scratch123\n                161616*      0  161616       - "
            "     12*     10       0   6d23h\n",
            Stated(161616 << 10, None, 161616 << 10, 12, 10, None),
        ),
        (
            "        /lustre [10200224]       0       0       -   17724       0       0       -\n",
            Stated(None, None, None, 17724, None, None),
        ),
        (
            "        /lustre       4       -       -       -       -       -       -       -\n",
            None,
        ),
        (
            "  /lustre  4  -  -  -  5  -  8  -\n" + DEFAULT_BLOCKS + "\n",
            Stated(4096, None, None, 5, None, 8),
        ),
        (f"/l 1 {2**53 - 1} {2**53} - 1 0 0 -", Stated(1024, HIGHEST - 1023, None, 1, None, None)),
        (f"/l {2**64 - 4} 0 1 none 1 0 0 -", Stated(None, None, 1024, 1, None, None)),
        (f"/l 1 2 3 - {2**63} 5 {2**63 - 1} -", Stated(1024, 2048, 3072, None, 5, HIGHEST)),
        (f"/l 1 2 3 - {2**63 - 1} 5 {2**63} -", Stated(1024, 2048, 3072, HIGHEST, 5, None)),
        ("/l 1 2 3 - 4 5 6 -\r\n", Stated(1024, 2048, 3072, 4, 5, 6)),
        ("", None),
        ("\n\n", None),
        ("/lustre 4k 0k 8T - 4 5 6 -", None),
        ("/lustre 1 2 3 - 4 5 6", None),
        ("/lustre -1 2 3 - 4 5 6 -", None),
        (f"/lustre {'1' * 5000} 2 3 - 4 5 6 -", None),
        ("/lustre \u0661 2 3 - 4 5 6 -", None),
        ("Filesystem  kbytes   quota   limit   grace   files   quota   limit   grace", None),
        (ERRORS, None),
    ],
)
def test_known_shapes_are_read(printed: str, stated: Stated | None) -> None:
    if stated:
        assert parse(printed.encode()) == stated
        return
    with pytest.raises(LfsRefused):
        parse(printed.encode())


@given(st.binary() | st.text(alphabet="0123456789 []*-\n/").map(str.encode))
def test_nothing_printed_ends_in_another_error(printed: bytes) -> None:
    with suppress(LfsRefused):
        parse(printed)


# Who is asked, and how.


@pytest.fixture
def lfs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """A stand-in that states 1 KiB and one inode of everybody, without limits."""
    made = StandIn(tmp_path / "bin", {ANYBODY: Reply(figures(MOUNT, Count(1), Count(1)))})
    monkeypatch.setenv("PATH", made.path)
    return made


def groups(*gids: int) -> list[Group]:
    return [Group(gid, f"g{gid}") for gid in gids]


def ask(lfs: StandIn, asked: Sequence[Group], timeout: float = ENOUGH, **settings: Any) -> Answer:
    lfs.install()
    return LfsQuotas(timeout, **{"limit": "hard", **settings}).limits(VOLUME, asked)


FREE = Limits(None, None, 1024, 1)


@pytest.mark.parametrize(
    ("kind", "limits"),
    [("hard", Limits(4096, 7, 2048, 5)), ("soft", Limits(3072, None, 2048, 5))],
)
def test_one_of_the_limits_counts_and_the_servers_own_use_comes_along(
    kind: str, limits: Limits, lfs: StandIn
) -> None:
    lfs.replies[71] = Reply(figures(MOUNT, Count(2, 3, 4), Count(5, 0, 7)))
    assert ask(lfs, groups(71, 72), limit=kind) == Answer({71: limits, 72: FREE})


def test_a_group_is_asked_for_by_its_number_and_no_shell_reads_the_mount(lfs: StandIn) -> None:
    mount = b"/lustre/it's $(touch x); -rf \xe9\n*"
    lfs.install()
    answer = LfsQuotas(ENOUGH, "hard").limits(
        Volume("s1", mount), [Group(0, "-rf"), Group(4_294_967_295, "gid:4294967295", known=False)]
    )
    assert answer == Answer({0: FREE, 4_294_967_295: FREE})
    calls = sorted(lfs.calls(), key=lambda call: call["arguments"])
    shown = mount.decode("utf-8", "surrogateescape")
    assert [call["arguments"] for call in calls] == [
        ["quota", "-q", "-g", "0", shown],
        ["quota", "-q", "-g", "4294967295", shown],
    ]
    assert {call["locale"] for call in calls} == {"C"}


def test_groups_that_are_left_out_are_not_asked_for(lfs: StandIn) -> None:
    assert ask(lfs, groups(1, 2, 3), left_out={2}).limits == {1: FREE, 3: FREE}
    assert lfs.gids() == [1, 3]
    assert ask(lfs, groups(2), left_out={2}) == Answer({})
    assert ask(lfs, []) == Answer({})
    assert lfs.gids() == [1, 3]


def test_several_are_asked_at_once_but_not_all(lfs: StandIn) -> None:
    lfs.replies[ANYBODY].seconds = 0.3
    assert set(ask(lfs, groups(*range(3 * MOST_AT_ONCE))).limits) == set(range(3 * MOST_AT_ONCE))
    assert lfs.gids() == list(range(3 * MOST_AT_ONCE))
    assert 1 < lfs.most_at_once() <= MOST_AT_ONCE


# What is said where there is no answer, or half of one.


def test_what_lfs_refuses_is_told_by_reason_with_the_first_groups(lfs: StandIn) -> None:
    denied = Reply(complaint="\n Permission denied.\nmore\n", status=1)
    lfs.replies |= dict.fromkeys(range(1, 6), denied)
    lfs.replies[6] = Reply(status=3)
    lfs.replies[7] = Reply(complaint="\x1b[31m" + "é" * 500)
    lfs.replies[8] = lfs.replies[9] = Reply(complaint="group quotas are not enabled.", status=3)
    lfs.replies[10] = Reply(figures(MOUNT, Count(0, limits_known=False), Count(0)), status=5)
    answer = ask(lfs, groups(*range(12)))
    assert answer.limits == {0: FREE, 11: FREE}
    reasons = [
        "lfs says nothing of 5 groups (g1, g2, g3, ...): Permission denied.",
        "lfs says nothing of 2 groups (g8, g9): group quotas are not enabled.",
        "lfs says nothing of 1 group (g6): it printed no figures (exit status 3)",
        "lfs says nothing of 2 groups (g7, g10), for other reasons",
    ]
    assert list(answer.remarks) == reasons
    (only,) = ask(lfs, groups(7)).remarks
    assert only.endswith(r"): \x1b[31m" + "é" * 192)


def test_a_use_that_lacks_a_servers_part_is_not_stated(lfs: StandIn) -> None:
    lfs.replies = {
        1: Reply(figures(MOUNT, Count(9, 0, 8, used_known=False), Count(3), ERRORS)),
        2: Reply(figures(MOUNT, Count(9, 0, 8, stars="*"), Count(3)), status=121),
        3: Reply(figures(MOUNT, Count(2**64 - 1, 0, 8), Count(3))),
        4: Reply(figures(MOUNT, Count(9, 0, 8), Count(3)), complaint="a word of warning"),
    }
    answer = ask(lfs, groups(1, 2, 3, 4))
    assert answer.limits == {
        1: Limits(8192, None, None, 3),
        2: Limits(8192, None, None, None),
        3: Limits(8192, None, None, 3),
        4: Limits(8192, None, 9216, 3),
    }
    assert answer.remarks == (
        "lfs is not sure of the use of 3 groups (g1, g2, g3): a server may not have told its part",
    )


def test_a_group_without_an_answer_in_time_is_told_and_its_processes_end(lfs: StandIn) -> None:
    lfs.replies[1] = Reply(seconds=600, stubborn=True)
    answer = ask(lfs, groups(1, 2), timeout=3)
    assert answer == Answer({2: FREE}, ("lfs did not answer within 3 s for 1 group (g1)",))
    for call in lfs.calls():
        with pytest.raises(ProcessLookupError):
            kill(call["pid"], 0)


def test_an_output_that_another_process_holds_open_is_not_waited_for(lfs: StandIn) -> None:
    lfs.replies[1] = Reply(seconds=600, child=True)
    answer = ask(lfs, groups(1), timeout=3)
    (call,) = lfs.calls()
    kill(call["child"], signal.SIGKILL)
    assert answer.remarks == ("lfs did not answer within 3 s for 1 group (g1)",)


def test_a_server_that_never_answers_is_given_up(lfs: StandIn) -> None:
    lfs.replies[ANYBODY] = Reply(seconds=600)
    silent, given_up = ask(lfs, groups(*range(50)), timeout=0.5).remarks
    told = re.fullmatch(r"lfs did not answer within 0\.5 s for (\d+) groups \(.*\)", silent)
    left = re.fullmatch(
        rf"LFS WAS GIVEN UP AFTER {MOST_SILENT} TIME-OUTS IN A ROW: nothing is known of "
        r"(\d+) groups \(.*\)",
        given_up,
    )
    assert told
    assert left
    assert int(told[1]) + int(left[1]) == 50
    assert MOST_SILENT <= int(told[1]) < MOST_SILENT + MOST_AT_ONCE


@pytest.mark.parametrize("answer", [LfsRefused("no"), Stated(1, None, None, 1, None, None)])
def test_an_answer_between_time_outs_lets_the_asking_go_on(answer: Told) -> None:
    questions = _Questions("lfs", MOUNT, ENOUGH)
    few = [LfsSilent()] * (MOST_SILENT - 1)
    for reply in (*few, answer, *few, None):
        questions._count(reply)
        assert not questions._enough.is_set()
    questions._count(LfsSilent())
    assert questions._enough.is_set()


def test_without_the_program_nothing_is_asked_and_that_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LfsQuotas(ENOUGH, "hard").limits(VOLUME, groups(*range(5))) == Answer(
        {},
        (
            "lfs was not asked for 5 groups (g0, g1, g2, ...): there is no such program on the "
            "PATH: run this on a client of Lustre",
        ),
    )


def test_without_a_mount_nothing_is_asked_and_that_is_told_once(lfs: StandIn) -> None:
    lfs.install()
    answer = LfsQuotas(ENOUGH, "hard").limits(Volume("s1"), groups(1, 2))
    why = "the volume's mount is not known: configure it in [[volume]]"
    assert answer == Answer({}, (f"lfs was not asked for 2 groups (g1, g2): {why}",))
    assert lfs.calls() == []


def test_a_program_that_cannot_be_started_is_told(lfs: StandIn) -> None:
    lfs.folder.mkdir()
    program = lfs.folder / "lfs"
    program.write_bytes(b"\x7fELF")
    program.chmod(0o755)
    assert LfsQuotas(ENOUGH, "hard").limits(VOLUME, groups(1, 2)).remarks == (
        f"lfs says nothing of 2 groups (g1, g2): {program} cannot be started: Exec format error",
    )
