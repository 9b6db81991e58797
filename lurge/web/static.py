"""What pages are made of in the browser: style, scripts, and plotly's own script from its wheel."""

import gzip
import re
from collections.abc import Mapping
from functools import cache
from importlib import resources
from importlib.metadata import version

from flask import Flask, Response, request

from lurge.web.site import Site

KEPT: Mapping[str, str] = {
    "static": "public, max-age=3600",
    # With the version in its name it never changes.
    "plotly": "public, max-age=31536000, immutable",
}
"""The endpoints that everybody may see, and for how long browsers keep what they have got."""

STYLE_LOOKED_FOR = re.compile(rb'getElementById\("([0-9a-f]{64})"\)').findall
"""Ids that bundlers make of a style that a script brings along."""


def add(app: Flask, site: Site) -> None:  # noqa: ARG001 - the same for all sites
    """Plotly's script; what lies in the folder `static` is there already."""
    _packed()  # the first visitor need not wait for it
    app.add_url_rule(f"/plotly-{version('plotly')}.js", "plotly", _plotly)
    app.jinja_env.globals["version"] = version("lurge")
    app.jinja_env.globals["plotly_styles"] = plotly_styles


def _plotly() -> Response:
    script = _packed()
    headers = {"Vary": "Accept-Encoding"}
    if request.accept_encodings["gzip"] > 0:
        headers["Content-Encoding"] = "gzip"
    else:
        script = gzip.decompress(script)
    return Response(script, mimetype="text/javascript", headers=headers)


@cache
def _packed() -> bytes:
    """1.5 MB instead of 4.9."""
    return gzip.compress(_script())


@cache
def plotly_styles() -> tuple[str, ...]:
    """The ids of elements without which plotly puts styles of its maps into a page."""
    return tuple(sorted({found.decode() for found in STYLE_LOOKED_FOR(_script())}))


def _script() -> bytes:
    return (resources.files("plotly") / "package_data" / "plotly.min.js").read_bytes()
