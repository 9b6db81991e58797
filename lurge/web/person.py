"""What a user has: by volume and group, and over time; of others only what is in one's groups."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from flask import Flask, redirect, render_template, request, url_for
from sqlalchemy.engine import Connection
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response

from db.sight import people
from db.sight.history import Of
from db.sight.paging import Part, Rows
from db.sight.people import Person, Recorded, UserHas
from lurge.web.charts import ChartAsked, months_choices, of_choices
from lurge.web.columns import Column
from lurge.web.downloads import add_forms
from lurge.web.listing import LARGEST_NUMBER, Asked, Listing, Parameters, Words, parse
from lurge.web.site import Site, visitor
from lurge_types.sight import Sight

PATH = "/user/<int(signed=True):uid>"

UNSEEN = "no user of this whole name, or nothing of theirs is recorded in groups that you may see"


class NameAsked(Parameters):
    """Whose page is looked for."""

    name: Words


class PersonAsked(Asked, ChartAsked):
    """A page has a table and a chart; each is asked for with the other left as it is."""


def _page_of_group(row: UserHas) -> str | None:
    """A user may have something in a group that they are not in."""
    sight = visitor().sight
    if sight.everything or row.gid in sight.gids:
        return url_for("group", volume=row.volume, gid=row.gid)
    return None


COLUMNS = (
    Column("volume", "volume"),
    Column("group", "group", link=_page_of_group),
    Column("gid", "gid"),
    Column("used_bytes", "used", "bytes"),
    Column("inodes", "inodes", "count", hint="files, directories and links"),
    Column("last_modified", "last modified", "date"),
    Column("record_date", "date", "date"),
)

SUMS = (
    Column("volume", "volume"),
    Column("used_bytes", "used", "bytes"),
    Column("inodes", "inodes", "count"),
    Column("date", "date", "date"),
)
"""Those of what a user has on each volume."""


def found(connection: Connection, sight: Sight, uid: int) -> Person:
    """
    A user; who asks is there even if nothing is recorded of them.

    Raises NotFound where there is none of whom something may be seen.
    """
    of = people.person(connection, sight, uid) if abs(uid) <= LARGEST_NUMBER else None
    if of is None and uid == sight.uid:
        of = Person(None, uid, visitor().login or str(uid))
    if of is None:
        raise NotFound(UNSEEN)
    return of


def uses_listing(site: Site, uid: int) -> Listing:
    """The table of what a user has."""

    def read(connection: Connection, sight: Sight, asked: Asked, part: Part) -> Rows[UserHas]:  # noqa: ARG001
        of = found(connection, sight, uid)
        return people.of_person(connection, sight, of, site.today(), part)

    return Listing(COLUMNS, PersonAsked, "-used_bytes", read)


def add(app: Flask, site: Site) -> None:
    """The page, its table in other forms, its chart's data, and the way to it by a name."""
    _add_page(app, site)
    _add_history(app, site)

    def find() -> Response:
        name = parse(NameAsked, request.args).name
        of = site.look(lambda connection, sight: people.find(connection, sight, name))
        if of is None:
            raise NotFound(UNSEEN)
        return redirect(url_for("user", uid=of.uid))

    app.add_url_rule("/user", "find_user", find)
    add_forms(app, site, "uses", lambda uid: uses_listing(site, uid), PATH, endpoint="user_uses")


def _add_page(app: Flask, site: Site) -> None:
    def page(uid: int) -> str:
        asked = parse(PersonAsked, request.args)
        listing = uses_listing(site, uid)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            of = found(connection, sight, uid)
            return {
                "of": of,
                "sums": people.sums(connection, sight, of, site.today()),
                "table_shown": listing.shown(connection, sight, asked),
            }

        return render_template(
            "person.html",
            **site.look(read),
            place={"uid": uid},
            asked=asked,
            columns=SUMS,
            choices=(of_choices(asked), months_choices(asked)),
        )

    app.add_url_rule(PATH, "user", page)


def _add_history(app: Flask, site: Site) -> None:
    def as_json(uid: int) -> dict[str, object]:
        asked = parse(ChartAsked, request.args)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            of = found(connection, sight, uid)
            recorded = people.history(connection, sight, of, asked.since(site.today()))
            return {"uid": uid, "user": of.name, "of": asked.of, **stack(recorded, asked.of)}

        return site.look(read)

    app.add_url_rule(f"/api{PATH}/history", "user.history", as_json)


def stack(recorded: Mapping[str, Recorded], what: Of) -> dict[str, object]:
    """
    What volumes have of a user, one upon the other: on each of the dates of any.

    The figures of a volume are as many as the dates.
    """
    dates = sorted({had.date for each in recorded.values() for had in each.had})
    return {
        "dates": [day.isoformat() for day in dates],
        "volumes": [
            {"volume": name, "used": list(_on(dates, each, what))}
            for name, each in recorded.items()
        ],
    }


def _on(dates: Sequence[date], of: Recorded, what: Of) -> Iterator[int]:
    """As on the last recorded date; nothing before the first, and since the volume has retired."""
    days = [had.date for had in of.had]
    used = [had.used_bytes if what == "bytes" else had.inodes for had in of.had]
    for day in dates:
        known = bisect_right(days, day)
        gone = of.retired is not None and day >= of.retired
        yield used[known - 1] if known and not gone else 0
