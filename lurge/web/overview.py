"""The first page: how old the data is, what each volume holds, and the table of groups."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Annotated, NamedTuple

from flask import Flask, render_template, request, url_for
from pydantic import Field
from sqlalchemy.engine import Connection

from db.sight import groups, volumes
from db.sight.groups import GroupsWanted, GroupUse
from db.sight.paging import Part, Rows
from db.sight.volumes import VolumeDates
from lurge.nightly import FRESH_DAYS
from lurge.web.columns import Column
from lurge.web.downloads import add_forms
from lurge.web.listing import Asked, FewWords, Listing, Words, parse
from lurge.web.site import Site
from lurge_types.reports import WARNINGS
from lurge_types.sight import Sight


class GroupsAsked(Asked):
    """Which groups."""

    volume: Words | None = None
    group: Words | None = None
    pi: Words | None = None
    level: Annotated[int, Field(ge=1, le=3)] | None = None
    words: FewWords = ""

    def wanted(self, today: date) -> GroupsWanted:
        """The same, as the database is asked."""
        return GroupsWanted(today, self.volume, self.group, self.pi, self.level, self.words)


def _page_of(row: GroupUse) -> str:
    return url_for("group", volume=row.volume, gid=row.gid)


COLUMNS = (
    Column("volume", "volume"),
    Column("group", "group", link=_page_of),
    Column("gid", "gid"),
    Column("pi", "PI", hint="principal investigator"),
    Column("used_bytes", "used", "bytes"),
    Column("quota_bytes", "quota", "bytes"),
    Column("used_percent", "share", "percent", hint="of the quota of bytes"),
    Column("inodes", "inodes", "count", hint="files, directories and links"),
    Column("quota_inodes", "quota of inodes", "count"),
    Column("inodes_percent", "share of inodes", "percent"),
    Column("last_modified_days", "last modified", "days", hint="days before the scan"),
    Column("level", "level", "level"),
    Column("archived", "archived", "flag"),
    Column("suspect", "suspect", "flag", hint="a fall that is not believed"),
    Column("full", "full on", "date", hint="when the first quota will likely be reached"),
    Column("full_in_days", "full in", "days"),
    Column("record_date", "date", "date"),
)

ON_PAGE = frozenset(
    {"volume", "group", "pi", "used_bytes", "quota_bytes", "used_percent", "inodes"}
    | {"inodes_percent", "last_modified_days", "level", "suspect", "full_in_days"}
)
"""The columns that people see; programs get all."""

VOLUMES = (
    Column("volume", "volume"),
    Column("record_date", "data of", "date"),
    Column("groups", "groups", "count"),
    Column("used_bytes", "used", "bytes"),
    Column("inodes", "inodes", "count"),
    Column("remark", "remark"),
)
"""Those of a `VolumeLine`."""


class VolumeLine(NamedTuple):
    """
    A volume in the overview, and what the visitor's groups use there, if they have any.

    remark: what is odd about its data, in words.
    """

    volume: str
    record_date: date | None
    groups: int
    used_bytes: int | None
    inodes: int | None
    remark: str | None


def groups_listing(site: Site) -> Listing:
    """The table of groups."""

    def read(
        connection: Connection, sight: Sight, asked: GroupsAsked, part: Part
    ) -> Rows[GroupUse]:
        return groups.read(connection, sight, asked.wanted(site.today()), part)

    return Listing(COLUMNS, GroupsAsked, "-level", read)


def add(app: Flask, site: Site) -> None:
    """The page, and its table in other forms."""
    listing = groups_listing(site)

    def page() -> str:
        asked = parse(GroupsAsked, request.args)
        today = site.today()

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            there = volumes.read(connection)
            uses = groups.of_volumes(connection, sight, today)
            return {
                "lines": lines(there, uses, today),
                "levels": levels(groups.levels(connection, sight, asked.wanted(today))),
                "volumes": [each.name for each in there],
                "table_shown": listing.shown(connection, sight, asked),
            }

        return render_template("overview.html", **site.look(read), columns=VOLUMES, on_page=ON_PAGE)

    app.add_url_rule("/", "overview", page)
    add_forms(app, site, "groups", lambda: listing)


def lines(
    there: Sequence[VolumeDates], uses: Sequence[groups.VolumeUse], today: date
) -> list[VolumeLine]:
    """The volumes that are in use."""
    by_name = {use.volume: use for use in uses}
    return [
        _line(each, by_name.get(each.name), today)
        for each in there
        if each.retired is None or each.retired > today
    ]


def _line(of: VolumeDates, use: groups.VolumeUse | None, today: date) -> VolumeLine:
    day, words = of.dates.get("reporter"), remark(of, today)
    if use is None:
        return VolumeLine(of.name, day, 0, None, None, words)
    return VolumeLine(of.name, day, use.groups, use.used_bytes, use.inodes, words)


def remark(of: VolumeDates, today: date) -> str | None:
    """
    What is odd about the data of a volume.

    >>> remark(VolumeDates("s1", None, {"reporter": date(2026, 1, 2)}), date(2026, 1, 5))
    'its newest data is 3 days old'
    """
    newest = of.dates.get("reporter")
    if newest is None:
        return "nothing is recorded"
    age = (today - newest).days
    if age > FRESH_DAYS:
        return f"its newest data is {age} days old"
    late = sorted(f"{report} of {day}" for report, day in of.dates.items() if day < newest)
    return f"older than the rest: {', '.join(late)}" if late else None


def levels(counts: Mapping[int, int]) -> list[tuple[int, str, int]]:
    """How many groups are of each level, the worst first."""
    return [(level, WARNINGS[level], counts.get(level, 0)) for level in (3, 2, 1)]
