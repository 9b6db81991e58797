"""The routes of a table: the same rows as CSV, as TSV and as JSON."""

import os
from collections.abc import Callable
from typing import IO, Any

from flask import Flask, Response, request, send_file

from lurge.web.listing import MIME, Form, Listing, parse
from lurge.web.site import Site


def attached(file: IO[bytes], mimetype: str, name: str) -> Response:
    """A file that a browser saves; it is closed when it is sent."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    answer = send_file(file, mimetype, as_attachment=True, download_name=name)
    answer.content_length = size
    return answer


def add_forms(
    app: Flask,
    site: Site,
    name: str,
    listing_of: Callable[..., Listing],
    below: str = "",
    *,
    endpoint: str | None = None,
) -> None:
    """
    A table's downloads beside its page, and its JSON below /api.

    below: the page's path, whose variables are what the table is made of. endpoint: what begins the
    names of its routes, where another page has a table of the same name.
    """
    called = endpoint or name

    def download(form: Form, **place: Any) -> Response:
        listing = listing_of(**place)
        asked = parse(listing.asked, request.args)
        file = site.look(lambda connection, sight: listing.download(connection, sight, asked, form))
        called = "-".join([name, *map(str, place.values())])
        return attached(file, MIME[form], f"{called}.{form}")

    def as_json(**place: Any) -> dict[str, object]:
        listing = listing_of(**place)
        asked = parse(listing.asked, request.args)
        shown = site.look(lambda connection, sight: listing.shown(connection, sight, asked))
        return shown.as_json()

    app.add_url_rule(f"{below}/{name}.<any(csv, tsv):form>", f"{called}.download", download)
    app.add_url_rule(f"/api{below}/{name}", f"{called}.json", as_json)
