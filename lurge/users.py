"""The user reporter: what each person has in each group, a column for each volume."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import partial
from itertools import groupby
from pathlib import Path

from db import user_usage
from db.database import Database
from lurge.onepass.work import Told
from lurge.tallies.owners import OWNERS, By, OwnerSum, OwnerTally
from lurge.tallies.tally import Maker
from lurge_types.names import Group, User
from lurge_types.reports import LARGEST_SHOWN, Made, NamedUse, Run, UserUse
from lurge_types.scans import Scan
from utils import tsv
from utils.names import Names
from utils.tsv import TsvFailed

COLUMNS = ("user", "uid", "group", "gid", "data")
"""Before one for each volume."""


class UserReporter:
    """Makes the rows of `user_usage`, and a TSV for each date with all volumes."""

    name = "users"

    def __init__(self, report_dir: Path, database: Database, names: Names) -> None:
        self._report_dir = report_dir
        self._database = database
        self._names = names

    def tallies(self, scan: Scan) -> Mapping[str, Maker]:
        """What makes its tally of a scan, which is the reporter's too, unless that has others."""
        return {OWNERS: partial(OwnerTally, scan.scan_time)}

    def settings(self, scan: Scan) -> str | None:  # noqa: ARG002 - there are none
        """Rows depend on no settings."""
        return None

    def preview(self, scan: Scan, told: Told) -> Made:
        """What would be written. Raises SumOverflow."""
        rows = _rows(told)
        return self._made(scan.volume.name, rows, self._users(rows), self._groups(rows), None)

    def write(self, run: Run, scan: Scan, told: Told, *, replace: bool) -> Made:
        """
        Put the rows into the database, and write the TSV of the date again from it.

        A TSV in which a volume is to be replaced is gone before its rows are. Raises SumOverflow,
        DatabaseFailed, AlreadyRecorded; then there are no new rows. TsvFailed where they are there
        and the TSV is not, or is that of the volumes before: the next run writes it.
        """
        rows = _rows(told)
        users, groups = self._users(rows), self._groups(rows)
        user_usage.store(
            self._database,
            run,
            scan.volume,
            rows,
            users,
            groups,
            withdraw=partial(tsv.withdraw, self.tsv(run)),
            replace=replace,
        )
        self._publish(run, may_lose_volumes=True)
        return self._made(run.volume, rows, users, groups, self.tsv(run))

    def recorded(self, run: Run) -> Made:
        """A run that is in the database. Raises DatabaseFailed."""
        stored = self._database.transaction(
            partial(user_usage.read, day=run.record_date, volume_name=run.volume)
        )
        users = {each.user.uid: each.user for each in stored}
        groups = {each.group.gid: each.group for each in stored}
        return self._made(run.volume, [each.row for each in stored], users, groups, self.tsv(run))

    def is_there(self, run: Run) -> bool:
        """
        Whether the TSV of a run's date has all volumes of that date.

        It may have more, whose history was thinned out since. Raises DatabaseFailed, TsvFailed.
        """
        volumes = self._database.transaction(partial(user_usage.volumes, day=run.record_date))
        there = _volumes(self.tsv(run))
        return there is not None and there.issuperset(volumes)

    def restore(self, run: Run, told: Told | None) -> bool:  # noqa: ARG002 - the rows are stored
        """
        Write the TSV of a run's date again.

        Raises DatabaseFailed, and TsvFailed: also where the one that is there has a volume that the
        database has no longer.
        """
        self._publish(run, may_lose_volumes=False)
        return True

    def tsv(self, run: Run) -> Path:
        """Where the TSV of a run's date is."""
        return tsv.place_of_day(self._report_dir, self.name, run.record_date)

    def _publish(self, run: Run, *, may_lose_volumes: bool) -> None:
        """
        Write the TSV of a run's date.

        Nobody can change the rows meanwhile: so the file that has the name has all of them, however
        many runs write it.
        """
        path = self.tsv(run)

        def write(volumes: Sequence[str], rows: Sequence[NamedUse]) -> None:
            if run.volume not in volumes:
                raise tsv.thinned(path)
            lost = set() if may_lose_volumes else (_volumes(path) or set()).difference(volumes)
            if lost:
                raise TsvFailed(
                    f"{path} is not written: it has {', '.join(sorted(lost))}, of which this day "
                    "is no longer in the database: remove the file to have it without"
                )
            tsv.publish(tsv.prepare(path, (*COLUMNS, *volumes), _lines(rows, volumes)))

        user_usage.show(self._database, run.record_date, write)

    def _users(self, rows: Sequence[UserUse]) -> Mapping[int, User]:
        return self._names.users({row.uid for row in rows})

    def _groups(self, rows: Sequence[UserUse]) -> Mapping[int, Group]:
        return self._names.groups({row.gid for row in rows})

    def _made(
        self,
        volume: str,
        rows: Sequence[UserUse],
        users: Mapping[int, User],
        groups: Mapping[int, Group],
        path: Path | None,
    ) -> Made:
        largest = sorted(rows, key=lambda row: (-row.used_bytes, row.uid, row.gid))[:LARGEST_SHOWN]
        named = [NamedUse(volume, users[row.uid], groups[row.gid], row) for row in largest]
        return Made(len(rows), tuple(named), path)


def _volumes(path: Path) -> set[str] | None:
    """The volumes that a TSV has; None if there is none. Raises TsvFailed."""
    header = tsv.header(path)
    if header is None or header[: len(COLUMNS)] != COLUMNS:
        return None
    return set(header[len(COLUMNS) :])


def _rows(told: Told) -> list[UserUse]:
    """A row for each user in each group. Raises SumOverflow."""
    sums: list[OwnerSum] = told[OWNERS].tell(By.USER)
    return [
        UserUse(each.uid, each.gid, each.used_bytes, each.inodes, _day(each.last_modified))
        for each in sums
    ]


def _day(seconds: int) -> date | None:
    """The day in UTC of a time; None where it is 0, for not known."""
    return datetime.fromtimestamp(seconds, UTC).date() if seconds else None


def _lines(stored: Iterable[NamedUse], volumes: Sequence[str]) -> Iterator[Sequence[object]]:
    """Three rows for each user in a group, which come in their order."""
    for whose, of_pair in groupby(stored, key=_whose):
        rows = {each.volume: each.row for each in of_pair}
        uses = [rows.get(name) for name in volumes]
        yield (*whose, "inodes", *(use and use.inodes for use in uses))
        yield (*whose, "last_modified", *(use and use.last_modified for use in uses))
        yield (*whose, "size_bytes", *(use and use.used_bytes for use in uses))


def _whose(each: NamedUse) -> tuple[str, int, str, int]:
    return each.user.name, each.user.uid, each.group.name, each.group.gid
