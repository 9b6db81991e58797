"""What stands here for what an older database has: ids of names, and dates of days."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.metadata import version

from sqlalchemy.engine import Connection

from db import imports
from db.ancestor import Ancestor, OldNames, Place
from db.database import Database
from lurge.nightly import volume as configured
from lurge_types.config import Config
from lurge_types.reports import Run
from lurge_types.scans import Volume
from utils import scans
from utils.names import Names
from utils.paths import text
from utils.scans import SECOND, Found

NO_SCAN = "-"
"""The file of a scan that is gone."""


@dataclass(frozen=True)
class Ids:
    """The ids here of names, by their ids there."""

    groups: Mapping[int, int]
    users: Mapping[int, int]
    pis: Mapping[int, int]
    volumes: Mapping[int, int]
    bases: Mapping[int, int]
    actions: Mapping[int, int]


@dataclass(frozen=True)
class Day:
    """The date under which an old day is recorded, and the scan that it is of, if that is there."""

    record_date: date
    scan: Found | None


@dataclass(frozen=True)
class Plan:
    """
    What stands for what.

    origin: the older database, as it is recorded. old: its names. days: by the id of a volume
    there, and the date there. volumes: the volumes by their ids there.
    """

    origin: str
    old: OldNames
    ids: Ids
    days: Mapping[int, Mapping[date, Day]]
    volumes: Mapping[int, Volume]
    now: datetime

    def run(self, report: str, place: Place) -> Run:
        """The record of a day that is taken over."""
        volume_id, old = place
        volume, day = self.volumes[volume_id], self.days[volume_id][old]
        scan = day.scan and day.scan.scan(volume)
        return Run(
            report=report,
            volume=volume.name,
            record_date=day.record_date,
            scan_file=text(bytes(scan.path.absolute())) if scan else NO_SCAN,
            scan_time=scan.scanned_at if scan else datetime.combine(old, datetime.min.time()),
            lines=0,
            bad_lines=0,
            started=self.now,
            finished=self.now,
            version=version("lurge"),
            imported_from=self.origin,
        )


def make(
    config: Config,
    database: Database,
    names: Names,
    ancestor: Ancestor,
    places: Iterable[Place],
) -> Plan:
    """
    Add the names that are new, and find out which day is which; places: all that have rows.

    Raises DatabaseFailed, ScansUnreadable.
    """
    now = datetime.now(UTC).replace(tzinfo=None, microsecond=0)
    old = ancestor.names()
    known = _numbers(config, names, old)
    ids = database.transaction(partial(_adopt, old=old, known=known, today=now.date()))
    tables = {each.name: configured(each) for each in config.volume}
    volumes = {number: tables.get(name, Volume(name)) for number, name in old.volumes.items()}
    days: dict[int, set[date]] = {number: set() for number in volumes}
    for volume_id, day in places:
        days[volume_id].add(day)
    found = scans.listing(config.wrstat_dir)
    dated = {number: dates(days[number], found, volume) for number, volume in volumes.items()}
    return Plan(ancestor.name, old, ids, dated, volumes, now)


def _numbers(
    config: Config, names: Names, old: OldNames
) -> tuple[Mapping[str, int], Mapping[str, int]]:
    """The gids and the uids of those names that anybody knows."""
    groups = {group.name for group in old.groups.values()}
    pseudo = {group.name: group.gid for group in config.pseudo_groups.values()}
    gids = {**names.gids(groups), **{name: pseudo[name] for name in groups & pseudo.keys()}}
    return gids, names.uids(set(old.users.values()))


def _adopt(
    connection: Connection,
    old: OldNames,
    known: tuple[Mapping[str, int], Mapping[str, int]],
    today: date,
) -> Ids:
    gids, uids = known
    volumes = imports.volumes(connection, old.volumes)
    bases = {
        number: (base.path, volumes[base.volume_id])
        for number, base in old.bases.items()
        if base.volume_id in volumes
    }
    return Ids(
        groups=imports.groups(connection, old.groups, gids, today),
        users=imports.users(connection, old.users, uids, today),
        pis=imports.pis(connection, old.pis),
        volumes=volumes,
        bases=imports.bases(connection, bases),
        actions=imports.actions(connection, old.actions),
    )


def dates(days: Collection[date], found: Iterable[Found], volume: Volume) -> dict[date, Day]:
    """
    Under which date each old day of a volume is recorded; found: scans, the best first.

    The old dates are those of when a scan's file was changed last, in local time; here it is its
    name that counts. A day whose scan is gone is recorded under the nearest free date at or before
    its own. The order of days stays.
    """
    scan_of: dict[date, Found] = {}
    for each in found:
        if each.is_of(volume):
            scan_of.setdefault(_local_date(each), each)
    kept = {scan_of[day].record_date for day in days if day in scan_of}
    dated: dict[date, Day] = {}
    last = date.max
    for day in sorted(days, reverse=True):
        scan = scan_of.get(day)
        if scan is not None and scan.record_date >= last:
            scan = None
        mine = scan.record_date if scan else min(day, last - timedelta(1))
        while scan is None and mine in kept:
            mine -= timedelta(1)
        dated[day] = Day(mine, scan)
        last = mine
    return dated


def _local_date(of: Found) -> date:
    """When a scan's file was changed last, where this program runs."""
    return datetime.fromtimestamp(of.modified // SECOND).astimezone().date()
