"""The pages as one application: who asks is found out first, and what fails is told in words."""

import json
import sys
import time
import traceback
from collections import ChainMap
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from flask import Flask, Response, g, render_template, request, url_for
from flask.json.provider import DefaultJSONProvider
from werkzeug.exceptions import HTTPException

from db.database import DatabaseFailed
from lurge.web import candidates, directories, group, metrics, overview, person, static, vault
from lurge.web.columns import shown
from lurge.web.site import Site
from utils.log import Log
from utils.names import NamesMissing
from utils.paths import text

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

ONES_OWN = "private, no-cache"
"""What a browser, and nobody else, may keep and has to ask about again."""

AGAIN_SECONDS = 30
"""After which a page that could not be made is asked for again."""

AWAY = (DatabaseFailed, NamesMissing)


class InOrder(DefaultJSONProvider):
    """JSON whose keys stay in the order of columns, and of what is largest."""

    sort_keys = False


def make_app(site: Site, log: Log) -> Flask:
    """All pages of a site; a line is logged for each request."""
    app = Flask(__name__)
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.json = InOrder(app)
    app.jinja_env.globals["url"] = _url
    app.jinja_env.filters["shown"] = lambda value, kind: shown(kind, value)
    app.url_map.strict_slashes = False
    app.before_request(lambda: _enter(site))
    app.after_request(lambda response: _leave(response, log))
    app.register_error_handler(HTTPException, _refused)
    for kind in AWAY:
        app.register_error_handler(kind, lambda error: _away(error, log))
    app.register_error_handler(Exception, lambda error: _bug(error, log))
    for pages in (overview, group, directories, person, vault, candidates, metrics, static):
        pages.add(app, site)
    return app


def _url(endpoint: str, *parameters: Mapping[str, Any]) -> str:
    """The address of a page, with parameters of its path and of its query."""
    return url_for(endpoint, **ChainMap(*map(dict, parameters)))


def _enter(site: Site) -> None:
    g.started = time.perf_counter()
    if request.endpoint not in static.KEPT:
        g.login = site.visitors.login(request)
        g.visitor = site.visitors.of(request)


def _leave(response: Response, log: Log) -> Response:
    response.headers.update(HEADERS)
    response.headers["Cache-Control"] = static.KEPT.get(request.endpoint or "", ONES_OWN)
    facts = {
        "method": request.method,
        "path": _address(),
        "status": response.status_code,
        "ms": round((time.perf_counter() - g.started) * 1000, 1),
        "bytes": response.content_length,
        "user": g.get("login"),
        "address": request.remote_addr,
        "why": g.get("why"),
    }
    log.info("request", **{name: fact for name, fact in facts.items() if fact is not None})
    return response


def _address() -> str:
    """What was asked for, without a character that would break a line."""
    query = text(request.query_string)
    return quote(request.path) + (f"?{query}" if query else "")


def _refused(error: HTTPException) -> Response:
    g.why = error.description
    return _told(error.code or 500, error.name, error.description or "", dict(error.get_headers()))


def _away(error: Exception, log: Log) -> Response:
    """Visitors need not know where the database is, and what it says."""
    log.error("away", why=str(error))
    whoever = "database" if isinstance(error, DatabaseFailed) else "directory of users and groups"
    words = f"The {whoever} does not answer as it should."
    headers = {"Retry-After": str(AGAIN_SECONDS), "Refresh": str(AGAIN_SECONDS)}
    return _told(503, "Not available now, asked again by itself", words, headers)


def _bug(error: Exception, log: Log) -> Response:
    log.error("bug", path=_address(), error=type(error).__name__)
    traceback.print_exception(error, file=sys.stderr)
    return _told(500, "A fault in these pages", "It is in their log.", {})


def _told(status: int, name: str, words: str, headers: Mapping[str, str]) -> Response:
    """What went wrong, as a page or as JSON, as was asked."""
    if request.path.startswith("/api/"):
        body, mimetype = json.dumps({"error": words}), "application/json"
    else:
        body, mimetype = render_template("told.html", name=name, words=words), "text/html"
    kept = {key: value for key, value in headers.items() if key.lower() != "content-type"}
    return Response(body, status, kept, mimetype=mimetype)
