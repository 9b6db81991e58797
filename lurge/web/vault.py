"""The files in vaults: searched, and shown in the order of their paths, a page after the other."""

import base64
from datetime import date
from typing import IO, Annotated

from flask import Flask, Response, render_template, request, url_for
from pydantic import AfterValidator, Field
from sqlalchemy.engine import Connection

from db.schema import PATH_START
from db.sight import vaults, volumes
from db.sight.vaults import FilesWanted, KeptFile, Page, Place, Stretch
from lurge.web.columns import Column
from lurge.web.downloads import attached
from lurge.web.listing import MIME, Form, Query, Words, as_json, few, parse, written
from lurge.web.site import Site
from lurge_types.sight import Sight

MOST_DOWNLOADED = 10_000
LARGEST_ID = 2**63 - 1
LONGEST_PATH = 4096
LONGEST_TOKEN = 2000


def token(place: Place) -> str:
    """
    A place as addresses have it.

    >>> token(Place("/lustre/é", 12)), place_of("MTIgL2x1c3RyZS_DqQ")
    ('MTIgL2x1c3RyZS_DqQ', Place(path_start='/lustre/é', record_id=12))
    """
    told = f"{place.record_id} {place.path_start}"
    return base64.urlsafe_b64encode(told.encode("utf-8")).decode("ascii").rstrip("=")


def place_of(form: str) -> Place:
    """The twin of `token`. Raises ValueError."""
    padded = form + "=" * (-len(form) % 4)
    told = base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True).decode("utf-8")
    number, _, path_start = told.partition(" ")
    if not (number.isascii() and number.isdigit()) or len(path_start) > PATH_START:
        raise ValueError("no place")
    place = Place(path_start, int(number))
    if place.record_id > LARGEST_ID:
        raise ValueError("no place")
    return place


def _place(form: str) -> str:
    try:
        place_of(form)
    except ValueError as error:
        raise ValueError("no place where a page ends: start from the beginning") from error
    return form


def _path(path: str) -> str:
    return path if path.startswith("/") else few(path)


class FilesAsked(Query):
    """Which files. path: how it begins, or words in it. after: where the page before has ended."""

    path: Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_path)] = ""
    user: Words | None = None
    group: Words | None = None
    action: Words | None = None
    volume: Words | None = None
    after: Annotated[str, Field(max_length=LONGEST_TOKEN), AfterValidator(_place)] | None = None

    def wanted(self, today: date) -> FilesWanted:
        """The same, as the database is asked."""
        return FilesWanted(today, self.path, self.user, self.group, self.action, self.volume)

    @property
    def place(self) -> Place | None:
        """Behind which the page begins."""
        return None if self.after is None else place_of(self.after)


def _files_of_group(row: KeptFile) -> str:
    """Whoever sees a file need not see its group's page."""
    return url_for("vault", group=row.group)


def _files_of_user(row: KeptFile) -> str:
    return url_for("vault", user=row.user)


COLUMNS = (
    Column("volume", "volume"),
    Column("path", "path", "path"),
    Column("action", "action"),
    Column("group", "group", link=_files_of_group),
    Column("gid", "gid"),
    Column("user", "user", link=_files_of_user),
    Column("uid", "uid"),
    Column("size_bytes", "size", "bytes"),
    Column("last_modified", "last modified", "date"),
    Column(
        "links", "names", "hard_links", hint="how many names the file has, with that in the vault"
    ),
    Column("first_seen", "first seen", "date", hint="the day from which on it is in the vault so"),
)

ON_PAGE = tuple(column for column in COLUMNS if column.key not in {"gid", "uid"})
"""The columns that people see; programs get all."""


def add(app: Flask, site: Site) -> None:
    """The page, its downloads, and the same for programs."""

    def asked() -> FilesAsked:
        return parse(FilesAsked, request.args)

    def look(connection: Connection, sight: Sight, asked: FilesAsked) -> Page:
        stretch = Stretch(asked.place, asked.rows, vaults.FOR_A_PAGE)
        return vaults.read(connection, sight, asked.wanted(site.today()), stretch)

    def page() -> str:
        of = asked()

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            found = look(connection, sight, of)
            return {
                "found": found,
                "after": _after(found),
                "actions": vaults.actions(connection),
                "volumes": [each.name for each in volumes.read(connection)],
            }

        facts = {"asked": of, "columns": ON_PAGE, "most": MOST_DOWNLOADED}
        return render_template("vault.html", **site.look(read), **facts)

    def download(form: Form) -> Response:
        of = asked()

        def read(connection: Connection, sight: Sight) -> IO[bytes]:
            wanted = of.wanted(site.today())
            files = vaults.through(connection, sight, wanted, of.place, MOST_DOWNLOADED)
            return written(COLUMNS, files, form)

        name = f"vault.{form}"
        return attached(site.look(read), MIME[form], name)

    def for_programs() -> dict[str, object]:
        of = asked()
        found = site.look(lambda connection, sight: look(connection, sight, of))
        return {
            "rows": as_json(COLUMNS, found.files),
            "next": _after(found),
            "searched_to": found.stopped,
        }

    app.add_url_rule("/vault", "vault", page)
    app.add_url_rule("/vault.<any(csv, tsv):form>", "vault.download", download)
    app.add_url_rule("/api/vault", "vault.json", for_programs)


def _after(found: Page) -> str | None:
    """What the next page is asked for with."""
    return None if found.after is None else token(found.after)
