"""The reporter's nights: who is warned, what is foretold, and that only earlier nights count."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from servers import nights

from db import usage
from db.database import Database
from lurge import warned
from lurge.forecast.foretell import days_needed
from lurge.onepass.work import Told
from lurge.reporter import COLUMNS, MARKS, Reporter
from lurge.tallies.owners import OWNERS, OwnerSum
from lurge_types.config import Config, WarningsTable
from lurge_types.forecasts import Forecast
from lurge_types.names import Group, Limits
from lurge_types.reports import GroupReport, Made
from lurge_types.scans import Scan, Volume
from utils.names import SystemNames
from utils.quotas import Answer

FIRST = date(2026, 3, 1)
ONE, OTHER = Volume("scratch1"), Volume("scratch2")
LARGEST = 2**63 - 1


class Use(NamedTuple):
    used_bytes: int
    inodes: int = 1


class Counted(NamedTuple):
    """A tally that knows its answer."""

    answer: Any

    def tell(self, question: object) -> Any:  # noqa: ARG002
        return self.answer


@dataclass
class Limited:
    """The same quota for every group, where none is given."""

    of_all: Limits = field(default_factory=lambda: Limits(1000, None))
    others: Mapping[int, Limits] = field(default_factory=dict)

    def limits(self, volume: Volume, groups: Sequence[Group]) -> Answer:  # noqa: ARG002
        return Answer({group.gid: self.others.get(group.gid, self.of_all) for group in groups})


@dataclass
class Nights:
    """A reporter, and what it is shown on some nights, counted from the first."""

    database: Database
    folder: Path
    quotas: Limited = field(default_factory=Limited)
    volume: Volume = ONE

    @property
    def reporter(self) -> Reporter:
        config = Config(report_dir=self.folder)
        return Reporter(config, self.database, SystemNames(), self.quotas, today=FIRST)

    def of(self, volume: Volume) -> "Nights":
        return replace(self, volume=volume)

    def scan(self, night: int) -> Scan:
        day = FIRST + timedelta(days=night)
        moment = datetime(day.year, day.month, day.day, 1, tzinfo=UTC)
        return Scan(self.volume, Path("scan"), day, int(moment.timestamp()))

    def write(self, night: int, used: Mapping[int, Use], *, force: bool = False) -> Made:
        scan = self.scan(night)
        run = nights.run(scan.record_date, self.volume)
        return self.reporter.write(run, scan, told(used), replace=force)

    def bytes_of(self, gid: int, *used: int) -> None:
        """What one group used, night after night."""
        for night, count in enumerate(used):
            self.write(night, {gid: Use(count)})

    def rows(self, night: int) -> dict[int, GroupReport]:
        day = FIRST + timedelta(days=night)
        stored = self.database.transaction(
            lambda connection: usage.read(connection, self.volume.name, day)
        )
        return {row.group.gid: row for row in stored}

    def tsv(self, night: int) -> Path:
        return self.reporter.tsv(nights.run(FIRST + timedelta(days=night), self.volume))

    def cells(self, night: int, gid: int) -> dict[str, str]:
        for line in self.tsv(night).read_text("utf-8").splitlines():
            cells = dict(zip(COLUMNS, line.split("\t"), strict=True))
            if cells["gid"] == str(gid):
                return cells
        raise KeyError(gid)


def told(used: Mapping[int, Use]) -> Told:
    sums = [OwnerSum(gid, 0, *use, 1_700_000_000) for gid, use in used.items()]
    return {OWNERS: Counted(sums), MARKS: Counted(set())}


def grown(night: int) -> dict[int, Use]:
    """What three groups use: steadily more, now more and now less, and up to a fall."""
    odd = night % 2
    return {
        71: Use(300 + 10 * night, 50 + night),
        72: Use(500 + 3 * night + 80 * odd, 70 - 20 * odd),
        73: Use(100 if night == 20 else 200 + 7 * night, 10),
    }


@pytest.fixture
def volume(database: Database, tmp_path: Path) -> Nights:
    return Nights(database, tmp_path)


def _judged(row: object) -> tuple[object, ...]:
    assert isinstance(row, GroupReport)
    return row.group.gid, row.warning, row.foretold_bytes, row.foretold_inodes


def forecast(cells: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(cells[column] for column in COLUMNS[-5:])


# Levels.


def test_a_first_night_warns_by_what_is_used_alone(volume: Nights) -> None:
    used = {71: 800, 72: 801, 73: 850, 74: 851, 75: 951, 76: 1000, 77: 2000}
    volume.write(0, {gid: Use(count) for gid, count in used.items()})
    rows = volume.rows(0)
    assert [rows[gid].warning for gid in used] == [1, 2, 2, 3, 3, 3, 3]
    assert [volume.cells(0, gid)["warning"] for gid in (71, 72, 74)] == ["OK", "Kinda OK", "Not OK"]
    assert forecast(volume.cells(0, 71)) == ("0", "-", "-", "-", "-")
    assert forecast(volume.cells(0, 77)) == (
        "0",
        "-",
        str(FIRST),
        *forecast(volume.cells(0, 77))[3:],
    )


@pytest.mark.parametrize(
    ("used", "level"), [((400, 500, 600), 3), ((590, 595, 600), 1), ((560, 600, 640), 2)]
)
def test_growth_warns_before_the_quota_is_reached(
    volume: Nights, used: Sequence[int], level: int
) -> None:
    volume.bytes_of(71, *used)
    assert volume.rows(2)[71].warning == level


def test_the_worse_of_bytes_and_inodes_is_the_level(volume: Nights) -> None:
    volume.quotas.of_all = Limits(1000, 100)
    volume.write(0, {71: Use(990, 1), 72: Use(1, 82), 73: Use(820, 99), 74: Use(1, 1)})
    assert [row.warning for row in volume.rows(0).values()] == [3, 2, 3, 1]


def test_who_has_no_quota_is_not_warned(volume: Nights) -> None:
    volume.quotas.of_all = Limits()
    volume.bytes_of(71, 10**15, 2 * 10**15, 3 * 10**15)
    row = volume.rows(2)[71]
    assert (row.warning, row.foretold_bytes.rate) == (1, 10**15)
    assert warned.full(row) == (None, None, None)


def test_the_largest_figures_are_judged_and_stored(volume: Nights) -> None:
    volume.quotas.of_all = Limits(LARGEST, LARGEST)
    for night, count in enumerate((0, LARGEST, 1, LARGEST, LARGEST - 1)):
        volume.write(night, {71: Use(count, count)})
    row = volume.rows(4)[71]
    assert (row.used_bytes, row.inodes, row.warning) == (LARGEST - 1, LARGEST - 1, 3)


@pytest.mark.parametrize("rate", [2**63, -(2**63), 2**80])
def test_no_rate_is_higher_than_a_database_takes(rate: int) -> None:
    of = Forecast("theil-sen", rate, rate, rate)
    found = warned.bounded(of)
    expected = LARGEST if rate > 0 else -LARGEST
    assert (found.rate, found.theil_sen, found.two_point) == (expected,) * 3
    assert warned.bounded(Forecast()) == Forecast()


# Forecasts.


def test_a_steady_growth_is_foretold_by_day(volume: Nights) -> None:
    volume.bytes_of(71, 500, 510, 520, 530)
    row = volume.rows(3)[71]
    assert (row.foretold_bytes.method, row.foretold_bytes.rate) == ("theil-sen", 10)
    assert row.foretold_bytes.likely == FIRST + timedelta(days=3 + 47)
    assert volume.cells(3, 71)["full_likely"] == str(FIRST + timedelta(days=50))
    assert volume.cells(3, 71)["rate_bytes_per_day"] == "10"


def test_the_tsv_has_the_earlier_of_bytes_and_inodes_and_the_rate_of_bytes(volume: Nights) -> None:
    volume.quotas.of_all = Limits(1000, 100)
    for night in range(3):
        volume.write(night, {71: Use(500 + night, 50 + 5 * night), 72: Use(500 + 50 * night, 5)})
    likely = [volume.cells(2, gid)["full_likely"] for gid in (71, 72)]
    assert likely == [str(FIRST + timedelta(days=2 + days)) for days in (8, 8)]
    assert volume.cells(2, 71)["rate_bytes_per_day"] == "1"
    assert volume.rows(2)[71].foretold_inodes.rate == 5


@pytest.mark.parametrize("column", ["likely", "earliest", "latest"])
def test_each_day_of_a_full_quota_is_the_earlier_by_itself(column: str) -> None:
    days = [None, FIRST, FIRST + timedelta(days=1)]
    place = ("likely", "earliest", "latest").index(column)
    for one in days:
        for other in days:
            row = nights.row(
                nights.group(1),
                foretold_bytes=Forecast(**{column: one}),  # type: ignore[arg-type]
                foretold_inodes=Forecast(**{column: other}),  # type: ignore[arg-type]
            )
            known = [day for day in (one, other) if day]
            assert warned.full(row)[place] == (min(known) if known else None)


def test_long_histories_give_an_interval_that_is_read_back_too(volume: Nights) -> None:
    for night in range(40):
        volume.write(night, grown(night))
    row = volume.rows(39)[72]
    assert row.foretold_bytes.earliest
    assert row.foretold_bytes.likely
    assert row.foretold_bytes.earliest <= row.foretold_bytes.likely
    assert volume.cells(39, 72)["full_earliest"] == str(row.foretold_bytes.earliest)


def test_a_fall_that_is_suspect_changes_no_rate_that_night_or_later(volume: Nights) -> None:
    volume.bytes_of(71, 500, 510, 520, 53, 540)
    assert [volume.rows(night)[71].suspect for night in range(5)] == [False] * 3 + [True, False]
    assert [volume.rows(night)[71].foretold_bytes.rate for night in (2, 3, 4)] == [10, 10, 10]


def test_a_group_that_is_new_has_no_rate_while_others_have(volume: Nights) -> None:
    for night in range(3):
        volume.write(night, {71: Use(10 * night), **({72: Use(5)} if night == 2 else {})})
    assert [row.foretold_bytes.method for row in volume.rows(2).values()] == ["theil-sen", "-"]
    assert forecast(volume.cells(2, 72)) == ("0", "-", "-", "-", "-")


# Which nights count.


def test_later_nights_do_not_count_and_do_not_change(volume: Nights) -> None:
    gap, last, late = 10, 22, volume.of(OTHER)
    for night in range(last):
        volume.write(night, grown(night))
        if night != gap:
            late.write(night, grown(night))
    later = [late.tsv(night).read_bytes() for night in range(gap + 1, last)]
    stored = [late.rows(night) for night in range(gap + 1, last)]
    late.write(gap, grown(gap))
    assert late.tsv(gap).read_text() == volume.tsv(gap).read_text().replace(ONE.name, OTHER.name)
    assert [late.tsv(night).read_bytes() for night in range(gap + 1, last)] == later
    assert [late.rows(night) for night in range(gap + 1, last)] == stored


def test_a_night_that_is_made_again_does_not_count_for_itself(volume: Nights) -> None:
    for night in range(12):
        volume.write(night, grown(night))
    for night in (2, 11, 5):
        before = volume.tsv(night).read_bytes()
        volume.write(night, {71: Use(999), 72: Use(0), 73: Use(10**6)}, force=True)
        assert volume.tsv(night).read_bytes() != before
        volume.write(night, grown(night), force=True)
        assert volume.tsv(night).read_bytes() == before


def test_other_volumes_do_not_count(volume: Nights) -> None:
    for night in range(3):
        volume.of(OTHER).write(night, {71: Use(100 * night)})
    volume.write(3, {71: Use(700)})
    assert volume.rows(3)[71].foretold_bytes == Forecast()


def test_of_a_year_the_last_days_count(volume: Nights) -> None:
    last, short = 365, volume.of(OTHER)
    reports = {}
    for night in range(last):
        for of in (volume, short) if night >= last - days_needed(WarningsTable()) else (volume,):
            rows = reports[of.volume] = [
                nights.row(
                    nights.group(gid),
                    of.volume,
                    used_bytes=use.used_bytes,
                    inodes=use.inodes,
                    suspect=night % 50 == 0,
                    foretold_bytes=Forecast("theil-sen", 9 + night % 3, 9 + night % 3, night % 5),
                )
                for gid, use in grown(night % 100).items()
            ]
            run = nights.run(FIRST + timedelta(days=night), of.volume)
            usage.store(volume.database, run, of.volume, rows, replace=False)
    for of in (volume, short):
        of.write(last, grown(last % 100))
    assert volume.rows(last)[71].foretold_bytes.method != "-"
    for gid, row in volume.rows(last).items():
        assert replace(short.rows(last)[gid], volume=row.volume) == row


# What is told.


def test_the_documents_question_who_will_be_full_soon_is_answered(volume: Nights) -> None:
    text = (Path(__file__).parents[2] / "docs" / "database.md").read_text("utf-8")
    after = text.partition("be full within the next 30 days")[2]
    question = after.partition("```sql\n")[2].partition(";")[0]
    volume.quotas.of_all = Limits(1000, 100)
    for night in range(3):
        growing = {71: Use(500 + 20 * night), 72: Use(500 + 5 * night), 73: Use(1, 50 + night)}
        volume.write(night, {**growing, 74: Use(2000), 75: Use(1)})
    asked = question.replace("2026-12-21", str(FIRST + timedelta(days=2 + 30)))
    rows = volume.database.transaction(lambda connection: connection.exec_driver_sql(asked).all())
    assert [(row.group_name, row.warning) for row in rows] == [
        ("gid:74", "Not OK"),
        ("gid:71", "OK"),
    ]
    asked = question.replace("2026-12-21", str(FIRST + timedelta(days=2 + 48)))
    rows = volume.database.transaction(lambda connection: connection.exec_driver_sql(asked).all())
    assert [row.group_name for row in rows] == ["gid:74", "gid:71", "gid:73"]


def test_a_dry_run_tells_what_would_be_written(volume: Nights) -> None:
    for night in range(9):
        volume.write(night, grown(night))
    previewed = volume.reporter.preview(volume.scan(9), told(grown(9)))
    assert volume.rows(9) == {}
    written = volume.write(9, grown(9))
    assert (previewed.largest, previewed.remarks) == (written.largest, written.remarks)
    recorded = volume.reporter.recorded(nights.run(FIRST + timedelta(days=9), ONE))
    assert (recorded.rows, recorded.remarks) == (written.rows, written.remarks)
    assert [_judged(row) for row in recorded.largest] == [_judged(row) for row in written.largest]


def test_a_tsv_that_is_restored_is_the_one_that_was_written(volume: Nights) -> None:
    for night in range(30):
        volume.write(night, grown(night))
    for night in (0, 2, 20, 29):
        written = volume.tsv(night).read_bytes()
        volume.tsv(night).unlink()
        volume.reporter.restore(nights.run(FIRST + timedelta(days=night), ONE), None)
        assert volume.tsv(night).read_bytes() == written


def test_all_who_are_warned_are_told_however_little_they_use(volume: Nights) -> None:
    volume.quotas.of_all = Limits(10**6, None)
    volume.quotas.others = {gid: Limits(100, None) for gid in range(50, 65)}
    used = {gid: Use(10_000 + gid) for gid in range(1, 13)} | {
        gid: Use(81 if gid < 60 else 99) for gid in range(50, 65)
    }
    made = volume.write(0, used)
    told = {row.group.gid for row in made.largest if isinstance(row, GroupReport)}
    assert told == {*range(3, 13), *range(50, 65)}
    assert made.remarks == ("groups: 5 Not OK, 10 Kinda OK",)


def test_nothing_is_told_where_all_are_ok(volume: Nights) -> None:
    assert volume.write(0, {71: Use(5)}).remarks == ()


def test_the_most_urgent_are_the_worst_then_the_soonest_then_the_fullest() -> None:
    def row(gid: int, warning: int, likely: int | None, used: int) -> GroupReport:
        day = None if likely is None else FIRST + timedelta(days=likely)
        return nights.row(
            nights.group(gid),
            warning=warning,
            used_bytes=used,
            quota_bytes=100,
            inodes=1,
            quota_inodes=100,
            foretold_inodes=Forecast(likely=day),
        )

    rows = [
        row(1, 3, 5, 10),
        row(2, 3, 8, 99),
        row(3, 3, None, 98),
        row(4, 3, None, 97),
        row(5, 2, 1, 100),
    ]
    for order in (rows[::-1], rows[2:] + rows[:2]):
        assert sorted(order, key=warned.urgency) == rows
