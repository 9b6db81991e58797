#!/usr/bin/env python3
"""
How good forecasts are on made-up histories, each kind by itself, as docs/forecast.md shows it; and
how long a night of 5,000 groups takes to foretell.

    bench_forecast.py [SEED]
"""

import sys
import time
from datetime import date, timedelta
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

from grown import as_history, grow

from lurge.backtest import AHEAD, CONTENDERS, Score, replay
from lurge.demo.histories import KINDS
from lurge.forecast.foretell import days_needed, foretell
from lurge_types.config import WarningsTable
from lurge_types.forecasts import Present

GROUPS, DAYS = 200, 365
MANY_GROUPS, ROUNDS = 5000, 5
FIRST = date(2025, 1, 1)
TABLE = WarningsTable()


def percent(share: float | None) -> str:
    """A share of what was used, to two digits; nothing where nothing is known."""
    return "" if share is None else f"{100 * share:.2g}" if share < 1 else f"{100 * share:.0f}"


def show(kind: str, seed: int) -> None:
    """Print the lines of a kind."""
    scores = [Score("bytes", days) for days in AHEAD]
    replay(as_history(grow(kind, seed, GROUPS, DAYS), FIRST), TABLE, scores)
    for score in scores:
        errors = (percent(score.misses[who].median) for who in CONTENDERS)
        cells = (kind, str(score.days), *errors, f"{100 * (score.coverage or 0):.0f}")
        print(f"| {' | '.join(cells)} | {percent(score.widths.median)} |", flush=True)


def measure(seed: int) -> None:
    """Print how long a night takes."""
    days = days_needed(TABLE)
    made = grow("steady", seed, MANY_GROUPS, days + 1)
    history = as_history(made, FIRST)
    now = zip(made.used_bytes[:, -1], made.inodes[:, -1], strict=True)
    present = [
        Present(gid, False, int(used), int(inodes), 2 * int(used), 2 * int(inodes))
        for gid, (used, inodes) in enumerate(now, start=1)
    ]
    taken = []
    for _ in range(ROUNDS):
        start = time.process_time()
        foretell(history, FIRST + timedelta(days=days), present, TABLE)
        taken.append(time.process_time() - start)
    print(
        f"\n{MANY_GROUPS:,} groups with {days} days each, {len(history.day):,} records: "
        f"{np.median(taken):.2f} s of one core"
    )


def main() -> None:
    """Measure all."""
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    print("| histories | days ahead | error | two-point | no change | in interval | its width |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for kind in KINDS:
        show(kind, seed)
    measure(seed)


if __name__ == "__main__":
    main()
