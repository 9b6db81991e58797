"""What could be archived: sums by volume and class, the table, and the paths for an archiver."""

from datetime import date
from typing import IO, Literal

from flask import Flask, Response, render_template, request
from pydantic import Field
from sqlalchemy.engine import Connection

from db.sight import candidates, volumes
from db.sight.candidates import CandidatesWanted, ShownCandidate
from db.sight.paging import Part, Rows
from lurge.web.columns import Column
from lurge.web.downloads import add_forms, attached
from lurge.web.listing import Asked, FewWords, Listing, Shown, Words, as_json, filed, parse
from lurge.web.site import Site
from lurge_types.candidates import KINDS
from lurge_types.sight import Sight

Kind = Literal["now", "soon", "watch", "vault"]


class CandidatesAsked(Asked):
    """Which candidates."""

    volume: Words | None = None
    kind: Kind | None = Field(default=None, alias="class")
    group: Words | None = None
    words: FewWords = ""

    def wanted(self, today: date) -> CandidatesWanted:
        """The same, as the database is asked."""
        return CandidatesWanted(today, self.volume, self.kind, self.group, self.words)


COLUMNS = (
    Column("volume", "volume", hint="and by rank"),
    Column("rank", "rank", hint="1 is the first to go, on its volume"),
    Column("class", "class", of="kind", sortable=False),
    Column("reason", "reason", sortable=False),
    Column("path", "path", "path", sortable=False),
    Column("groups", "groups", "names", sortable=False),
    Column("pi", "PI", "names", sortable=False, hint="principal investigators"),
    Column("size_bytes", "size", "bytes"),
    Column("cold_bytes", "cold", "bytes"),
    Column("cold_percent", "cold share", "percent", sortable=False, hint="of the size"),
    Column("files", "files", "count", sortable=False),
    Column("last_used_days", "last used", "days", hint="days before the scan"),
    Column("cost_per_month", "cost a month", "cost"),
    Column("real_path", "real path", "path", sortable=False),
)

ON_PAGE = frozenset(column.key for column in COLUMNS) - {"real_path"}
"""The columns that people see; programs get all."""

TOTALS = (
    Column("volume", "volume"),
    Column("class", "class", of="kind"),
    Column("candidates", "candidates", "count"),
    Column("size_bytes", "size", "bytes"),
    Column("cold_bytes", "cold", "bytes"),
    Column("files", "files", "count"),
    Column("cost_per_month", "cost a month", "cost"),
)


def candidates_listing(site: Site) -> Listing:
    """The table of candidates."""

    def read(
        connection: Connection, sight: Sight, asked: CandidatesAsked, part: Part
    ) -> Rows[ShownCandidate]:
        return candidates.read(connection, sight, asked.wanted(site.today()), part)

    return Listing(COLUMNS, CandidatesAsked, "volume", read)


def add(app: Flask, site: Site) -> None:
    """The page, its table in other forms, its totals for programs, and the archiver's list."""
    listing = candidates_listing(site)

    def page() -> str:
        asked = parse(CandidatesAsked, request.args)
        part = listing.part(asked)

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            found = candidates.read(connection, sight, asked.wanted(site.today()), part)
            return {
                "totals": found.totals,
                "volumes": [each.name for each in volumes.read(connection)],
                "table_shown": Shown(listing, asked, part, list(found.rows), found.total),
            }

        facts = {"on_page": ON_PAGE, "columns": TOTALS, "kinds": KINDS[::-1]}
        return render_template("candidates.html", **site.look(read), **facts)

    def totals() -> dict[str, object]:
        asked = parse(CandidatesAsked, request.args)

        def read(connection: Connection, sight: Sight) -> list[dict[str, object]]:
            wanted = asked.wanted(site.today())
            return as_json(TOTALS, candidates.totals(connection, sight, wanted))

        return {"rows": site.look(read)}

    def paths() -> Response:
        asked = parse(CandidatesAsked, request.args)

        def read(connection: Connection, sight: Sight) -> IO[bytes]:
            part = listing.part(asked, everything=True)
            found = listing.read(connection, sight, asked, part)
            return filed(f"{row.real_path}\n" for row in found.rows)

        name = "candidates.txt"
        return attached(site.look(read), "text/plain", name)

    app.add_url_rule("/candidates", "candidates", page)
    app.add_url_rule("/candidates.txt", "candidates.paths", paths)
    app.add_url_rule("/api/candidates/totals", "candidates.totals", totals)
    add_forms(app, site, "candidates", lambda: listing)
