"""Quotas from a CSV file: what a group may use on a volume, or what is wrong with the file."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from lurge_types.names import Group, Limits
from lurge_types.scans import Volume
from utils.quotas import (
    HIGHEST,
    Answer,
    CsvQuotas,
    FirstThatKnows,
    Quotas,
    QuotasWrong,
)

HEADER = "group,volume,limit_bytes,limit_inodes\n"
TEAM = Group(1001, "team")


def quotas(
    folder: Path, text: str, encoding: str = "utf-8", volumes: Collection[str] = ()
) -> CsvQuotas:
    path = folder / "quotas.csv"
    path.write_bytes(text.encode(encoding))
    return CsvQuotas(path, volumes)


def limits_of(group: Group, found: Quotas) -> Limits | None:
    return found.limits(Volume("v1"), [group]).limits.get(group.gid)


def problems(folder: Path, text: str) -> list[str]:
    """What is told of a file of quotas, without its name."""
    with pytest.raises(QuotasWrong) as caught:
        quotas(folder, text)
    prefix = f"quotas.csv_file: {folder / 'quotas.csv'}"
    told = str(caught.value).splitlines()
    assert all(line.startswith(prefix) for line in told)
    return [line.removeprefix(prefix) for line in told]


def test_without_a_source_nobody_has_a_limit() -> None:
    assert limits_of(TEAM, FirstThatKnows(())) is None


@pytest.mark.parametrize(
    ("line", "limits"),
    [
        ("team,v1,1000,50", Limits(1000, 50)),
        ("1001,v1,1000,50", Limits(1000, 50)),
        ("team,v1,0,50", Limits(None, 50)),
        ("team,v1,,50", Limits(None, 50)),
        ("team,v1,1000,", Limits(1000, None)),
        ("team,v1,0,0", Limits()),
        ("team,v1,,", Limits()),
        ("team,v1,007,0000", Limits(7, None)),
        (f"team,v1,{HIGHEST},{HIGHEST}", Limits(HIGHEST, HIGHEST)),
        ('"team","v1","1000","50"', Limits(1000, 50)),
        ("team,v2,1000,50", None),
        ("Team,v1,1000,50", None),
        ("other,v1,1000,50", None),
        ("1002,v1,1000,50", None),
    ],
)
def test_a_line_limits_a_group_on_a_volume(
    line: str, limits: Limits | None, tmp_path: Path
) -> None:
    assert limits_of(TEAM, quotas(tmp_path, f"{HEADER}{line}\n")) == limits


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("a,b", '"a,b"'),
        ('a"b', '"a""b"'),
        ("日本", "日本"),
        ("gid:1001", "gid:1001"),
        ("team (gid:7)", "team (gid:7)"),
        ("caf\\xe9", "caf\\xe9"),
    ],
)
def test_any_name_can_be_given(name: str, cell: str, tmp_path: Path) -> None:
    found = quotas(tmp_path, f"{HEADER}{cell},v1,5,6\n")
    assert limits_of(Group(7, name), found) == Limits(5, 6)


@pytest.mark.parametrize("lines", ["1001,v1,1,1\nteam,v1,2,2\n", "team,v1,2,2\n1001,v1,1,1\n"])
def test_a_line_with_the_gid_goes_before_one_with_the_name(lines: str, tmp_path: Path) -> None:
    found = quotas(tmp_path, HEADER + lines)
    assert limits_of(TEAM, found) == Limits(1, 1)
    assert limits_of(Group(1002, "team"), found) == Limits(2, 2)


def test_a_line_with_the_gid_that_lifts_a_limit_goes_before_one_with_the_name(
    tmp_path: Path,
) -> None:
    found = quotas(tmp_path, f"{HEADER}team,v1,2,2\n1001,v1,,\n")
    assert limits_of(TEAM, found) == Limits()


@pytest.mark.parametrize("text", [HEADER, HEADER.rstrip(), HEADER.replace("\n", "\r\n")])
def test_a_file_may_hold_no_line(text: str, tmp_path: Path) -> None:
    assert limits_of(TEAM, quotas(tmp_path, text)) is None


def test_files_as_spreadsheets_write_them_are_read(tmp_path: Path) -> None:
    text = f"{HEADER}team,v1,5,6\n".replace("\n", "\r\n")
    assert limits_of(TEAM, quotas(tmp_path, text, "utf-8-sig")) == Limits(5, 6)


def test_every_bad_line_is_told_at_once(tmp_path: Path) -> None:
    lines = [
        "team,v1,1,1",
        "team,v1",
        "team,v1,1,1,1",
        "team,v2,-1,1",
        "team,v2,1,1.5",
        "team,v2,1e9,1",
        "team,v2, 1,1",
        "team,v2,1_000,1",
        "team,v2,\u0661,1",
        "team,v2,ten,1",
        f"team,v2,{HIGHEST + 1},1",
        f"team,v2,{'9' * 5000},1",
        "team,v1,1,1",
    ]
    told = problems(tmp_path, HEADER + "\n".join(lines))
    assert told == [
        *(f", line {number}: not group,volume,number,number" for number in range(3, 14)),
        ", line 14: team on v1 a second time",
    ]


@pytest.mark.parametrize(
    "header", ["", "team,v1,1,1", "group,volume", "Group,Volume,Limit_Bytes,Limit_Inodes"]
)
def test_another_header_is_told(header: str, tmp_path: Path) -> None:
    expected = "group,volume,limit_bytes,limit_inodes"
    assert problems(tmp_path, header) == [f", line 1: the header is {header}, not {expected}"]


@pytest.mark.parametrize("line", ['"team,v1,1,1', '"team"x,v1,1,1'])
def test_what_is_no_csv_is_told(line: str, tmp_path: Path) -> None:
    assert len(problems(tmp_path, HEADER + line)) == 1


def test_bytes_that_are_no_text_are_told(tmp_path: Path) -> None:
    with pytest.raises(QuotasWrong, match="'utf-8' codec can't decode"):
        quotas(tmp_path, f"{HEADER}caf\xe9,v1,1,1\n", "latin-1")


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    for path, why in ((tmp_path / "no.csv", "No such file or directory"), (tmp_path, "Is a direc")):
        with pytest.raises(QuotasWrong) as caught:
            CsvQuotas(path)
        assert str(caught.value).startswith(f"quotas.csv_file: {path}: {why}")


@pytest.mark.parametrize(
    ("lines", "remark"),
    [
        ("team,v1,1,1\nother,v2,1,1", None),
        ("team,v1,1,1\nteam,V1,1,1", "1 line is of volumes that are not configured (V1)"),
        (
            "a,v3,1,1\na,v4,1,1\nb,v4,1,1\na,,1,1\na,v5,1,1",
            '5 lines are of volumes that are not configured (v4, v3, "", ...)',
        ),
    ],
)
def test_lines_of_volumes_that_are_not_there_are_told_once(
    lines: str, remark: str | None, tmp_path: Path
) -> None:
    found = quotas(tmp_path, HEADER + lines, volumes=["v1", "v2"])
    remarks = (f"quotas.csv_file: {remark}",) if remark else ()
    assert found.limits(Volume("v2"), [TEAM]).remarks == remarks
    assert found.limits(Volume("v1"), [TEAM]).remarks == ()


def test_where_no_volume_is_configured_none_is_said_to_be_missing(tmp_path: Path) -> None:
    found = quotas(tmp_path, f"{HEADER}team,v9,1,1\n")
    assert found.limits(Volume("v1"), [TEAM]).remarks == ()


# Several sources.


@dataclass
class Known:
    """A source that knows some groups."""

    known: Mapping[int, Limits]
    remark: str
    asked: list[list[int]] = field(default_factory=list)

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:  # noqa: ARG002
        gids = [group.gid for group in groups]
        self.asked.append(gids)
        return Answer({gid: self.known[gid] for gid in gids if gid in self.known}, (self.remark,))


def test_each_group_has_its_limits_from_the_first_source_that_knows_it() -> None:
    first = Known({1: Limits(10), 2: Limits()}, "one")
    second = Known({1: Limits(20), 2: Limits(20), 3: Limits(20)}, "two")
    groups = [Group(gid, f"g{gid}") for gid in (1, 2, 3, 4)]
    answer = FirstThatKnows([first, second]).limits(Volume("v1"), groups)
    assert answer == Answer({1: Limits(10), 2: Limits(), 3: Limits(20)}, ("one", "two"))
    assert (first.asked, second.asked) == ([[1, 2, 3, 4]], [[3, 4]])


def test_without_any_source_nobody_has_a_limit() -> None:
    assert FirstThatKnows([]).limits(Volume("v1"), [TEAM]) == Answer({})
