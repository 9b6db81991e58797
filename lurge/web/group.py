"""A group on a volume: its use over time with the forecast, its directories and its users."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask, render_template, request, url_for
from sqlalchemy.engine import Connection
from werkzeug.exceptions import NotFound

from db.sight import group_directories, history, people
from db.sight.group_directories import Directory, Share
from db.sight.history import GroupNow, Point
from db.sight.paging import Part, Rows
from db.sight.people import UserHas
from lurge.web import overview
from lurge.web.charts import ChartAsked, months_choices, of_choices
from lurge.web.columns import Column, for_json, shown
from lurge.web.downloads import add_forms
from lurge.web.foretold import in_words
from lurge.web.listing import LARGEST_NUMBER, Asked, Listing, parse
from lurge.web.site import Site
from lurge_types.forecasts import Forecast
from lurge_types.reports import AGE_CLASSES, UNKNOWN_AGE
from lurge_types.sight import Sight

PATH = "/group/<volume>/<int(signed=True):gid>"

FIRST_ROWS = 10
"""Of each table on the group's page; all rows are on pages of their own."""

UNSEEN = "no such group on this volume, or none of yours"

Find = Callable[[Connection, Sight], GroupNow]
"""Looks for the group of which a table is."""


@dataclass(frozen=True, slots=True)
class SharesColumn(Column):
    """
    The files of a directory by type or by age, largest or youngest first.

    People see sizes in words. CSV and TSV have a JSON object in a cell, of sizes in bytes; JSON has
    an object of objects with `files` and `size_bytes`.

    called: what a type or an age is called by people.
    """

    called: Callable[[Any], str] = str

    def value(self, row: object) -> object:
        """What a program gets in a cell."""
        return json.dumps({kind: share.size_bytes for kind, share in self._shares(row).items()})

    def shown(self, row: object) -> str:
        """What people see."""
        shares = self._shares(row).items()
        return ", ".join(
            f"{self.called(of)} {shown('bytes', each.size_bytes)}" for of, each in shares
        )

    def for_json(self, row: object) -> object:
        """What JSON has."""
        return {kind: share._asdict() for kind, share in self._shares(row).items()}

    def _shares(self, row: object) -> Mapping[Any, Share]:
        shares: Mapping[Any, Share] = getattr(row, self.key)
        return shares


def age(days: int) -> str:
    """
    A class of ages.

    >>> age(0), age(90), age(730), age(2555), age(-1)
    ('0-30 d', '90-180 d', '2-3 y', '7 y or more', 'unknown')
    """
    if days == UNKNOWN_AGE:
        return "unknown"
    until = next((each for each in AGE_CLASSES if each > days), None)
    if until is None:
        return f"{_long(days)} or more"
    of_days = until < 365
    return f"{days}-{until} d" if of_days else f"{_long(days).removesuffix(' y')}-{_long(until)}"


def _long(days: int) -> str:
    """
    A number of days.

    >>> _long(180), _long(365)
    ('180 d', '1 y')
    """
    return f"{days} d" if days < 365 else f"{days // 365} y"


DIRECTORY_COLUMNS = (
    Column("base_directory", "base directory", "path"),
    Column("directory", "directory", "path", hint="below the base directory"),
    Column("size_bytes", "size", "bytes"),
    Column("files", "files", "count"),
    Column("last_modified_days", "last modified", "days", hint="days before the scan"),
    Column("last_used_days", "last used", "days", hint="days before the scan"),
    Column("kept_files", "kept files", "count", hint="by vaults"),
    SharesColumn("by_type", "by type", "shares", sortable=False),
    SharesColumn("by_age", "by last use", "shares", sortable=False, called=age),
)


def _page_of_user(row: UserHas) -> str:
    return url_for("user", uid=row.uid)


USER_COLUMNS = (
    Column("user", "user", link=_page_of_user),
    Column("uid", "uid"),
    Column("used_bytes", "used", "bytes"),
    Column("inodes", "inodes", "count", hint="files, directories and links"),
    Column("last_modified", "last modified", "date"),
    Column("record_date", "date", "date"),
)

FACTS = tuple(column for column in overview.COLUMNS if column.key != "full_in_days")
"""Those of the table of groups."""


def found(connection: Connection, sight: Sight, volume: str, gid: int) -> GroupNow:
    """
    A group on a volume.

    Raises NotFound where there is none that may be seen.
    """
    of = None
    if abs(gid) <= LARGEST_NUMBER:
        of = history.now(connection, sight, volume, gid)
    if of is None:
        raise NotFound(UNSEEN)
    return of


def directories_listing(find: Find) -> Listing:
    """The table of a group's directories."""

    def read(connection: Connection, sight: Sight, asked: Asked, part: Part) -> Rows[Directory]:  # noqa: ARG001
        return group_directories.read(connection, find(connection, sight), part)

    return Listing(DIRECTORY_COLUMNS, Asked, "-size_bytes", read)


def users_listing(find: Find) -> Listing:
    """The table of a group's users."""

    def read(connection: Connection, sight: Sight, asked: Asked, part: Part) -> Rows[UserHas]:  # noqa: ARG001
        return people.of_group(connection, find(connection, sight), part)

    return Listing(USER_COLUMNS, Asked, "-used_bytes", read)


TABLES = {"directories": directories_listing, "users": users_listing}
"""By their names in paths."""


def add(app: Flask, site: Site) -> None:
    """The page, its tables in whole and in other forms, and its history as JSON."""
    _add_page(app, site)
    _add_history(app, site)
    for name, listing_of in TABLES.items():
        _add_table(app, site, name, listing_of)


def _add_page(app: Flask, site: Site) -> None:
    def page(volume: str, gid: int) -> str:
        asked = parse(ChartAsked, request.args)
        few = Asked(rows=FIRST_ROWS)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            of = found(connection, sight, volume, gid)
            listings = {name: listing_of(lambda *_: of) for name, listing_of in TABLES.items()}
            return {
                "use": of.use,
                "foretold": foretold_in_words(of),
                "elsewhere": history.elsewhere(connection, of, site.today()),
                "tables": {
                    name: listing.shown(connection, sight, few)
                    for name, listing in listings.items()
                },
            }

        return render_template(
            "group.html",
            **site.look(read),
            place={"volume": volume, "gid": gid},
            facts=FACTS,
            asked=asked,
            choices=(of_choices(asked), months_choices(asked)),
        )

    app.add_url_rule(PATH, "group", page)


def _add_table(app: Flask, site: Site, name: str, listing_of: Callable[[Find], Listing]) -> None:
    endpoint = f"group_{name}"

    def of(volume: str, gid: int) -> Listing:
        return listing_of(lambda connection, sight: found(connection, sight, volume, gid))

    def page(volume: str, gid: int) -> str:
        asked = parse(Asked, request.args)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            of = found(connection, sight, volume, gid)
            listing = listing_of(lambda *_: of)
            return {"use": of.use, "table_shown": listing.shown(connection, sight, asked)}

        place = {"volume": volume, "gid": gid}
        return render_template("group_table.html", **site.look(read), place=place, name=name)

    app.add_url_rule(f"{PATH}/{name}", endpoint, page)
    add_forms(app, site, name, of, PATH, endpoint=endpoint)


def _add_history(app: Flask, site: Site) -> None:
    def as_json(volume: str, gid: int) -> dict[str, object]:
        asked = parse(ChartAsked, request.args)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            of = found(connection, sight, volume, gid)
            first = asked.since(of.use.record_date)
            points = history.read(connection, of, asked.of, first)
            until = history.imported_until(connection, of, first)
            return {
                "volume": of.use.volume,
                "group": of.use.group,
                "gid": gid,
                "of": asked.of,
                "imported_until": for_json(until),
                "points": list(map(_point, points)),
                "forecast": _forecast(of.foretold[asked.of]),
            }

        return site.look(read)

    app.add_url_rule(f"/api{PATH}/history", "group.history", as_json)


def _point(point: Point) -> dict[str, object]:
    return {**point._asdict(), "date": point.date.isoformat()}


def _forecast(of: Forecast) -> dict[str, object] | None:
    """For programs; None where nothing is foretold."""
    if of.method == "-":
        return None
    days = {name: for_json(getattr(of, name)) for name in ("likely", "earliest", "latest")}
    return {"method": of.method, "rate_per_day": of.rate, **days}


def foretold_in_words(of: GroupNow) -> list[tuple[str, str]]:
    """What is foretold of bytes and of inodes."""
    today = of.use.record_date
    return [
        ("bytes", in_words(of.foretold["bytes"], "bytes", of.use.quota_bytes, today)),
        ("inodes", in_words(of.foretold["inodes"], "count", of.use.quota_inodes, today)),
    ]
