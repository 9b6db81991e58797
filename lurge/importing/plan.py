"""What stands here for what an older database has: ids of names, and dates of days."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial
from importlib.metadata import version

from sqlalchemy.engine import Connection

from db import imports, runs
from db.ancestor import Ancestor, OldNames, Place
from db.database import Database
from db.runs import ScanOf
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
    there, and the date there. volumes: the volumes by their ids there. groups_known, users_known:
    of how many names the number is known. version: of Lurge.
    """

    origin: str
    old: OldNames
    ids: Ids
    days: Mapping[int, Mapping[date, Day]]
    volumes: Mapping[int, Volume]
    groups_known: int
    users_known: int
    now: datetime
    version: str

    def run(self, report: str, place: Place) -> Run:
        """
        The record of a day that is taken over.

        Its scan time is the date there: of what has been imported that is all there is to know.
        """
        volume_id, old = place
        volume, day = self.volumes[volume_id], self.days[volume_id][old]
        scan = day.scan and day.scan.scan(volume)
        return Run(
            report=report,
            volume=volume.name,
            record_date=day.record_date,
            scan_file=text(bytes(scan.path.absolute())) if scan else NO_SCAN,
            scan_time=datetime.combine(old, datetime.min.time()),
            lines=0,
            bad_lines=0,
            started=self.now,
            finished=self.now,
            version=self.version,
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
    old = ancestor.names
    known = _numbers(config, names, old)
    ids = database.transaction(partial(_adopt, old=old, known=known, today=now.date()))
    tables = {each.name: configured(each) for each in config.volume}
    volumes = {number: tables.get(name, Volume(name)) for number, name in old.volumes.items()}
    days: dict[int, set[date]] = {number: set() for number in volumes}
    for volume_id, day in places:
        days[volume_id].add(day)
    found = scans.listing(config.wrstat_dir)
    dated = {}
    for number, volume in volumes.items():
        ask = partial(runs.scans_of, volume_id=ids.volumes[number])
        recorded = _recorded(database.transaction(ask), ancestor.name)
        dated[number] = dates(days[number], _by_date(found, volume), recorded)
    gids, uids = known
    return Plan(
        origin=ancestor.name,
        old=old,
        ids=ids,
        days=dated,
        volumes=volumes,
        groups_known=len(gids),
        users_known=len(uids),
        now=now,
        version=version("lurge"),
    )


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
        number: (base.path, volumes[old.first_of[base.volume_id]])
        for number, base in old.bases.items()
        if base.volume_id in old.first_of
    }
    return Ids(
        groups=imports.groups(connection, old.groups, gids, today),
        users=imports.users(connection, old.users, uids, today),
        pis=imports.pis(connection, old.pis),
        volumes=volumes,
        bases=imports.bases(connection, bases),
        actions=imports.actions(connection, old.actions),
    )


def _recorded(of_runs: Iterable[ScanOf], origin: str) -> dict[date, date]:
    """
    The date under which an old day is recorded, by the date that it has there.

    An earlier import has told it of its days; of what Lurge has counted the scan's time does.
    """
    own = {_local(run.scan_time): run.record_date for run in of_runs if run.imported_from is None}
    imported = {
        run.scan_time.date(): run.record_date for run in of_runs if run.imported_from == origin
    }
    return {**own, **imported}


def _by_date(found: Iterable[Found], volume: Volume) -> dict[date, Found]:
    """A volume's scans by the date that they had in the old suite; the best one of each."""
    scan_of: dict[date, Found] = {}
    for each in found:
        # One that was copied since tells by its time when that was.
        if each.is_of(volume) and each.scan(volume).scan_time == each.modified // SECOND:
            changed = datetime.fromtimestamp(each.modified // SECOND, UTC)
            scan_of.setdefault(changed.astimezone().date(), each)
    return scan_of


def dates(
    days: Collection[date], scan_of: Mapping[date, Found], recorded: Mapping[date, date]
) -> dict[date, Day]:
    """
    Under which date each old day of a volume is recorded.

    The old dates are those of when a scan's file was changed last, in local time; here it is its
    name that counts. What is recorded already keeps its date, and one whose scan is gone is
    recorded under the nearest free date at or before its own.
    """
    taken = {recorded[day] for day in days if day in recorded}
    taken |= {scan_of[day].record_date for day in days if day in scan_of}
    dated: dict[date, Day] = {}
    used: set[date] = set()
    last = date.max
    for day in sorted(days, reverse=True):
        scan = scan_of.get(day)
        mine = recorded.get(day) or (scan.record_date if scan else None)
        if mine is None or mine in used:
            mine = min(day, last - timedelta(1))
            while mine in taken | used:
                mine -= timedelta(1)
        dated[day] = Day(mine, scan if scan and scan.record_date == mine else None)
        used.add(mine)
        last = mine
    return dict(sorted(dated.items()))


def _local(moment: datetime) -> date:
    """The date of a time in UTC, where this program runs."""
    return moment.replace(tzinfo=UTC).astimezone().date()
