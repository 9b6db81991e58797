"""The back-test: what it makes of histories whose answer is known, and how good forecasts are."""

import json
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from grown import as_history, grow
from servers import nights
from servers.databases import on_sqlite
from site_of_tests import Site

from db import usage
from db.database import Database
from lurge import backtest
from lurge.backtest import Score, Sizes, replay
from lurge.demo.histories import KINDS
from lurge.forecast.foretell import foretell
from lurge.forecast.past import METHODS
from lurge_types.config import DatabaseTable, WarningsTable
from lurge_types.forecasts import History, Kept, Present
from lurge_types.reports import GroupReport

FIRST = date(2026, 1, 1)
TABLE = WarningsTable()
SEEDS = (3, 4)
STEPS = "stepwise"


def scored(
    history: History, *, of: str = "bytes", table: WarningsTable = TABLE
) -> dict[int, Score]:
    scores = {days: Score(of, days) for days in (7, 14, 30)}
    replay(history, table, list(scores.values()))
    return scores


def median(score: Score, who: str) -> float:
    found = score.misses[who].median
    assert found is not None
    return found


# How good forecasts are, on each kind of history by itself.


@pytest.fixture(scope="module", params=[(kind, seed) for kind in KINDS for seed in SEEDS], ids=str)
def made(request: pytest.FixtureRequest) -> tuple[str, dict[int, Score]]:
    kind, seed = request.param
    return kind, scored(as_history(grow(kind, seed, groups=40, days=330), FIRST))


@pytest.mark.parametrize("days", [7, 14])
def test_intervals_hold_what_they_promise(made: tuple[str, dict[int, Score]], days: int) -> None:
    kind, scores = made
    coverage = scores[days].coverage
    assert coverage is not None
    assert coverage >= 0.75
    assert kind == STEPS or coverage <= 0.85


def test_a_week_ahead_the_forecast_is_as_good_as_the_better_of_the_simple_ones(
    made: tuple[str, dict[int, Score]],
) -> None:
    kind, scores = made
    forecast, two_point, no_change = (median(scores[7], who) for who in backtest.CONTENDERS)
    assert forecast <= 1.1 * min(two_point, no_change)
    if kind in ("noisy", "weekly"):
        assert forecast < two_point / 2


# Made-up histories.


@pytest.mark.parametrize("kind", KINDS)
def test_histories_are_believable_and_the_same_for_a_seed(kind: str) -> None:
    made = grow(kind, 1, groups=30, days=200)
    assert made.used_bytes.min() >= 0
    assert 2**40 < np.median(made.used_bytes) < 2**46
    assert made.used_bytes.max() < 2**53  # a float64 holds it
    assert (made.inodes >= 0).all()
    again, other = grow(kind, 1, groups=30, days=200), grow(kind, 2, groups=30, days=200)
    assert (again.used_bytes == made.used_bytes).all()
    assert (other.used_bytes != made.used_bytes).any()


def test_falls_by_more_than_a_share_are_suspect() -> None:
    made = grow("sawtooth", 1, groups=10, days=200)
    change = made.used_bytes[:, 1:] / made.used_bytes[:, :-1]
    assert made.suspect.any()
    assert (made.suspect[:, 1:] == (change < 0.8)).all()
    assert not made.suspect[:, 0].any()


# What is replayed.


def test_each_day_says_what_that_night_would_have_said() -> None:
    """The rates of a replay are those of nights that keep what they found."""
    made = grow("weekly", 1, groups=4, days=60)
    groups = range(4)
    rows: list[list[float]] = []
    chosen = np.zeros(len(METHODS), np.int64)
    for day in range(60):
        columns = np.array(rows).reshape(-1, 5).T
        kept = Kept(columns[2], columns[3], columns[4])
        past = History(
            columns[0].astype(np.int64),
            columns[1].astype(np.int64),
            np.zeros(len(rows), np.bool_),
            kept,
            kept,
        )
        night = FIRST + timedelta(days=day)
        used = [int(made.used_bytes[group, day]) for group in groups]
        present = [Present(group, False, used[group], used[group], None, None) for group in groups]
        for group, found in enumerate(foretell(past, night, present, TABLE)):
            said = found.used_bytes
            rates = [np.nan if rate is None else rate for rate in (said.theil_sen, said.two_point)]
            rows.append([group, night.toordinal(), used[group], *rates])
            if said.method != "-" and day + 7 < 60:
                chosen[METHODS.index(said.method)] += 1
    assert scored(as_history(made, FIRST))[7].chosen.tolist() == chosen.tolist()


def test_what_came_later_changes_nothing_that_was_said_before() -> None:
    made = grow("noisy", 1, groups=5, days=150)
    later = made.used_bytes.copy()
    later[:, 120:] *= 3
    short = scored(
        as_history(
            replace(
                made,
                used_bytes=made.used_bytes[:, :120],
                inodes=made.inodes[:, :120],
                suspect=made.suspect[:, :120],
            ),
            FIRST,
        )
    )
    long = scored(as_history(replace(made, used_bytes=later), FIRST))
    assert (long[7].misses["forecast"].counts >= short[7].misses["forecast"].counts).all()


def test_kept_rates_that_are_stored_are_not_believed() -> None:
    history = as_history(grow("steady", 1, groups=5, days=100), FIRST)
    odd = np.full(len(history.day), 1e12)
    lied = replace(history, used_bytes=Kept(history.used_bytes.used, odd, odd))
    assert scored(lied)[7].chosen.tolist() == scored(history)[7].chosen.tolist()


def test_without_history_nothing_is_scored() -> None:
    history = as_history(grow("steady", 1, groups=0, days=0), FIRST)
    assert scored(history)[7].misses["forecast"].count == 0


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([], None), ([0.0], 0), ([0, 0, 5], 0), ([0.5], 0.5), ([0.01, 0.02, 3], 0.02), ([1e9], 1e6)],
)
def test_a_median_is_right_to_half_a_per_cent(sizes: list[float], expected: float | None) -> None:
    counted = Sizes()
    counted.add(np.array(sizes, np.float64))
    assert counted.median == (None if expected is None else pytest.approx(expected, rel=0.006))


# The command, on both databases.

DAYS = 60


def used(row: GroupReport, day: int) -> GroupReport:
    """Bytes grow by 2 % of the first day's a day; inodes stay."""
    start = row.group.gid * 10**12
    return replace(
        row, used_bytes=start + day * start // 50, inodes=1000, suspect=False, quota_bytes=None
    )


@pytest.fixture
def filled(database: Database) -> Database:
    for day in range(DAYS):
        rows = [used(row, day) for row in nights.rows(3)]
        run = nights.run(FIRST + timedelta(days=day))
        usage.store(database, run, nights.VOLUME, rows, replace=False)
    return database


@pytest.fixture
def site(tmp_path: Path, table: DatabaseTable) -> Site:
    return Site(tmp_path, database=table.url, password_file=table.password_file)


def test_the_command_tells_what_is_known_of_a_history(site: Site, filled: Database) -> None:
    done = site.run("backtest", "--json", "--days", "7", "--days", "14")
    assert done.returncode == 0, done.stderr
    found = {(one["of"], one["days"]): one for one in map(json.loads, done.stdout.splitlines())}
    assert list(found) == [("bytes", 7), ("bytes", 14), ("inodes", 7), ("inodes", 14)]
    grows, stays = found["bytes", 7], found["inodes", 7]
    # The first two days have no rate, of the last seven nobody knows what came.
    assert grows["forecasts"] == stays["forecasts"] == 3 * (DAYS - 2 - 7)
    assert grows["mean_error"]["forecast"] == grows["mean_error"]["two-point"] == 0
    assert grows["mean_error"]["no-change"] == pytest.approx(
        np.mean([7 / 50 / (1 + day / 50) for day in range(2, DAYS - 7)])
    )
    assert grows["methods"] == {"no-change": 0, "theil-sen": 153, "two-point": 0}
    assert stays["mean_error"] == {"forecast": 0, "two-point": 0, "no-change": 0}
    assert stays["methods"]["two-point"] == 0
    assert grows["coverage"] == stays["coverage"] == 1
    assert 0 < grows["intervals"] < grows["forecasts"]
    assert grows["median_width"] == 0


def test_the_command_shows_a_table(site: Site, filled: Database) -> None:
    done = site.run("backtest", "--volume", nights.VOLUME.name)
    assert done.returncode == 0, done.stderr
    bytes_in_a_week = done.stdout.splitlines()[2].split()
    assert bytes_in_a_week[:6] == ["bytes", "7", "153", "0.00", "/", "0.00"]
    assert "theil-sen 100 %" in done.stdout


@on_sqlite
def test_the_forced_method_is_replayed(site: Site, filled: Database) -> None:
    site.config = '[warnings]\nrate = "two-point"'
    done = site.run("backtest", "--json", "--days", "7")
    assert json.loads(done.stdout.splitlines()[0])["methods"]["two-point"] == 153


@on_sqlite
def test_too_little_history_is_told(site: Site, filled: Database) -> None:
    done = site.run("backtest", "--days", str(DAYS))
    assert done.returncode == 1
    assert "too little history" in done.stderr


@on_sqlite
def test_a_volume_without_history_is_told(site: Site, filled: Database) -> None:
    done = site.run("backtest", "--volume", "scratch9")
    assert done.returncode == 1
    assert f"scratch9: no history; there is one of {nights.VOLUME.name}" in done.stderr


def test_an_empty_database_is_told(tmp_path: Path) -> None:
    done = Site(tmp_path).run("backtest")
    assert done.returncode == 1
    assert "too little history" in done.stderr
    assert not (tmp_path / "lurge.db").exists()
