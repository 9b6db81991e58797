"""
A year of made-up history in the database: what the reporter would have stored, day by day.

Rates and forecasts cost more than all else. Only the last days have them, those that forecasts of
the oldest night look back on; before, it is as if an older version had reported.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from importlib.metadata import version

import numpy as np

from db import usage
from db.database import Database
from lurge.demo.use import DAYS, Past, Whole
from lurge.forecast.foretell import days_needed
from lurge.levels import level, worst
from lurge.warned import judged
from lurge_types.config import Config
from lurge_types.forecasts import Forecast, History, Kept
from lurge_types.names import Limits
from lurge_types.reports import GroupReport, Run
from lurge_types.scans import Volume
from utils.names import Names
from utils.paths import raw
from utils.quotas import Quotas

DAYS_AT_ONCE = 30
"""Are stored in one transaction: one for each took 17 s, of 33 in all."""

MADE_UP = "made up by lurge demo"
"""Stands for the name of a scan file."""

SCANNED, STARTED, FINISHED = time(0, 45), time(3), time(3, 30)

LATEST_CHANGE = Decimal("0.3")
"""So many days before a scan a group that writes each day has written last."""


def write(
    database: Database, config: Config, names: Names, quotas: Quotas, pasts: Sequence[Past]
) -> int:
    """
    Store what each volume's groups used before its oldest scan; how many rows.

    Raises DatabaseFailed, and AlreadyRecorded where there is a history.
    """
    mounts = {table.name: raw(table.mount) for table in config.volume}
    volumes = [
        _Reports(Volume(past.volume, mounts[past.volume]), past, config, names, quotas)
        for past in pasts
    ]
    for first in range(0, DAYS, DAYS_AT_ONCE):
        days = range(first, min(first + DAYS_AT_ONCE, DAYS))
        for volume in volumes:
            usage.store_days(database, volume.of, list(map(volume.report, days)), replace=False)
    return sum(len(past.gids) * DAYS for past in pasts)


class _Reports:
    """Makes the reports of a volume, one day after the other: each looks back on those before."""

    def __init__(
        self, of: Volume, past: Past, config: Config, names: Names, quotas: Quotas
    ) -> None:
        self.of = of
        self._past = past
        self._warnings = config.warnings
        found = names.groups(past.gids.tolist())
        self._groups = [found[gid] for gid in past.gids.tolist()]
        limits = quotas.limits(of, self._groups).limits
        self._limits = [limits.get(group.gid, Limits()) for group in self._groups]
        used = past.used_bytes
        self._suspect = np.zeros(used.shape, np.bool_)
        self._suspect[:, 1:] = used[:, 1:] < used[:, :-1] * (1 - config.warnings.suspect_fall)
        self._same_days = np.zeros(len(used), np.int64)
        self._kept_bytes = _Rates(past.used_bytes.shape)
        self._kept_inodes = _Rates(past.inodes.shape)

    def report(self, column: int) -> tuple[Run, list[GroupReport]]:
        """The report of the next day, whose column of the past this is."""
        day = self._past.last - timedelta(DAYS - column)
        rows = self._rows(column)
        if DAYS - column <= days_needed(self._warnings):
            rows = judged(rows, self._history(column), day, self._warnings)
            self._kept_bytes.keep(column, [row.foretold_bytes for row in rows])
            self._kept_inodes.keep(column, [row.foretold_inodes for row in rows])
        else:
            rows = list(map(self._judged_by_use, rows))
        return self._run(day, rows), rows

    def _run(self, day: date, rows: Sequence[GroupReport]) -> Run:
        return Run(
            report="reporter",
            volume=self.of.name,
            record_date=day,
            scan_file=MADE_UP,
            scan_time=datetime.combine(day, SCANNED),
            lines=sum(row.inodes for row in rows),
            bad_lines=0,
            started=datetime.combine(day, STARTED),
            finished=datetime.combine(day, FINISHED),
            version=version("lurge"),
        )

    def _rows(self, column: int) -> list[GroupReport]:
        used = self._past.used_bytes
        if column:
            is_same = used[:, column] == used[:, column - 1]
            self._same_days = np.where(is_same, self._same_days + 1, 0)
        return [
            GroupReport(
                volume=self.of.name,
                group=group,
                used_bytes=used_bytes,
                quota_bytes=limits.used_bytes,
                inodes=inodes,
                quota_inodes=limits.inodes,
                last_modified_days=same_days + LATEST_CHANGE,
                archived=group.gid in self._past.archived,
                suspect=suspect,
            )
            for group, limits, used_bytes, inodes, same_days, suspect in zip(
                self._groups,
                self._limits,
                used[:, column].tolist(),
                self._past.inodes[:, column].tolist(),
                self._same_days.tolist(),
                self._suspect[:, column].tolist(),
                strict=True,
            )
        ]

    def _judged_by_use(self, row: GroupReport) -> GroupReport:
        """A row with its level, where no rate is known."""
        used = ((row.used_bytes, row.quota_bytes), (row.inodes, row.quota_inodes))
        levels = (level(now, quota, 0, self._warnings.levels) for now, quota in used)
        return replace(row, warning=worst(*levels))

    def _history(self, column: int) -> History:
        """The records that the report of a day looks back on."""
        first = max(column - days_needed(self._warnings), 0)
        before = slice(first, column)
        past = self._past
        days = past.last.toordinal() - DAYS + np.arange(first, column)
        return History(
            gid=np.repeat(past.gids, len(days)),
            day=np.tile(days, len(past.gids)),
            suspect=self._suspect[:, before].ravel(),
            used_bytes=self._kept_bytes.kept(past.used_bytes, before),
            inodes=self._kept_inodes.kept(past.inodes, before),
        )


class _Rates:
    """The rates that were kept by now, groups by days; NaN where there are none."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._theil_sen = np.full(shape, np.nan)
        self._two_point = np.full(shape, np.nan)

    def keep(self, column: int, foretold: Sequence[Forecast]) -> None:
        """Keep those of a day."""
        rates = [(each.theil_sen, each.two_point) for each in foretold]
        self._theil_sen[:, column], self._two_point[:, column] = np.array(rates, np.float64).T

    def kept(self, used: Whole, days: slice) -> Kept:
        """The records of some days."""
        columns = (used.astype(np.float64), self._theil_sen, self._two_point)
        return Kept(*(column[:, days].ravel() for column in columns))
