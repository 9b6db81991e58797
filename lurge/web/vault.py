"""The files in vaults: searched, and shown in the order of their paths, a page after the other."""

import base64
from datetime import date
from typing import IO, Annotated

from flask import Flask, Response, render_template, request, url_for
from pydantic import AfterValidator, Field, PlainSerializer, PlainValidator
from sqlalchemy.engine import Connection
from werkzeug.exceptions import BadRequest

from db.schema import PATH_START
from db.sight import vaults, volumes
from db.sight.vaults import FilesWanted, KeptFile, Page, Place, SearchTooLong, Stretch
from lurge.web.columns import Column
from lurge.web.downloads import attached
from lurge.web.listing import LARGEST_NUMBER, MIME, Form, Query, Words, as_json, few, parse, written
from lurge.web.site import Site
from lurge_types.sight import Sight

MOST_DOWNLOADED = 10_000
MOST_LOOKED_AT = vaults.READS_FOR_A_DOWNLOAD * vaults.FOR_A_DOWNLOAD.rows
TOO_LONG = (
    f"up to {MOST_LOOKED_AT:,} files are looked at for a download, and too few of them are wanted: "
    "narrow the search, by the beginning of the path, a user or a group"
)
LONGEST_PATH = 4096


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
    if place.record_id > LARGEST_NUMBER:
        raise ValueError("no place")
    return place


def _place(form: str) -> Place:
    try:
        return place_of(form)
    except ValueError as error:
        raise ValueError("no place where a page ends: start from the beginning") from error


def _path(path: str) -> str:
    return path if path.startswith("/") else few(path)


class FilesAsked(Query):
    """Which files. path: how it begins, or words in it. after: where the page before has ended."""

    path: Annotated[str, Field(max_length=LONGEST_PATH), AfterValidator(_path)] = ""
    user: Words | None = None
    group: Words | None = None
    action: Words | None = None
    volume: Words | None = None
    after: Annotated[Place, PlainValidator(_place), PlainSerializer(token)] | None = None

    def wanted(self, today: date) -> FilesWanted:
        """The same, as the database is asked."""
        return FilesWanted(today, self.path, self.user, self.group, self.action, self.volume)


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
        stretch = Stretch(asked.after, asked.rows, vaults.FOR_A_PAGE)
        return vaults.read(connection, sight, asked.wanted(site.today()), stretch)

    def page() -> str:
        of = asked()

        def read(connection: Connection, sight: Sight) -> dict[str, object]:
            return {
                "found": look(connection, sight, of),
                "actions": vaults.actions(connection),
                "volumes": [each.name for each in volumes.read(connection)],
            }

        facts = {"asked": of, "columns": ON_PAGE, "most": (MOST_DOWNLOADED, MOST_LOOKED_AT)}
        return render_template("vault.html", **site.look(read), **facts)

    def download(form: Form) -> Response:
        of = asked()

        def read(connection: Connection, sight: Sight) -> IO[bytes]:
            wanted = of.wanted(site.today())
            files = vaults.through(connection, sight, wanted, of.after, MOST_DOWNLOADED)
            try:
                return written(COLUMNS, files, form)
            except SearchTooLong as error:
                raise BadRequest(TOO_LONG) from error

        name = f"vault.{form}"
        return attached(site.look(read), MIME[form], name)

    def for_programs() -> dict[str, object]:
        of = asked()
        found = site.look(lambda connection, sight: look(connection, sight, of))
        return {
            "rows": as_json(COLUMNS, found.files),
            "next": None if found.after is None else token(found.after),
            "searched_to": found.stopped,
        }

    app.add_url_rule("/vault", "vault", page)
    app.add_url_rule("/vault.<any(csv, tsv):form>", "vault.download", download)
    app.add_url_rule("/api/vault", "vault.json", for_programs)
