"""
For Prometheus: what each group uses, and how old that is, in its text format.

Written here and not by Prometheus' own library, which takes 110 ms for 5,000 groups instead of 10:
https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import gzip
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from operator import attrgetter
from typing import NamedTuple

from flask import Flask, Response, request
from sqlalchemy.engine import Connection

from db.sight import groups, volumes
from db.sight.groups import Figures
from db.sight.volumes import Scanned
from lurge.web.site import Site
from lurge_types.sight import Sight

FORMAT = "text/plain; version=0.0.4; charset=utf-8"


class Metric(NamedTuple):
    """A metric of a group. of: the field of `Figures`. tells: what it is, in words."""

    name: str
    of: str
    tells: str


USES = (
    Metric("lurge_used_bytes", "used_bytes", "What a group uses on a volume."),
    Metric("lurge_quota_bytes", "quota_bytes", "What it may use; nothing where there is no quota."),
    Metric("lurge_files", "inodes", "Its inodes: files, directories and links."),
    Metric("lurge_quota_files", "quota_inodes", "How many it may have; nothing without a quota."),
)

AGE = "lurge_data_age_seconds"
AGE_TELLS = "Since the newest scan of a volume that a report was made of."


def add(app: Flask, site: Site) -> None:
    """The page that Prometheus reads."""

    def page() -> Response:
        today = site.today()

        def read(
            connection: Connection, sight: Sight
        ) -> tuple[Sequence[Figures], Sequence[Scanned]]:
            return groups.figures(connection, sight, today), volumes.scans(connection, today)

        uses, scans = site.look(read)
        now = datetime.now(UTC).replace(tzinfo=None)
        return _packed("\n".join([*_uses(uses), *_ages(scans, now), ""]).encode())

    app.add_url_rule("/metrics", "metrics", page)


def _uses(uses: Sequence[Figures]) -> Iterator[str]:
    labels = [_labels(volume=use.volume, group=use.group, gid=str(use.gid)) for use in uses]
    for metric in USES:
        yield from _head(metric.name, metric.tells)
        for label, figure in zip(labels, map(attrgetter(metric.of), uses), strict=True):
            if figure is not None:
                yield f"{metric.name}{label} {figure}"


def _ages(scans: Sequence[Scanned], now: datetime) -> Iterator[str]:
    yield from _head(AGE, AGE_TELLS)
    for each in scans:
        seconds = (now - each.scan_time).total_seconds()
        yield f"{AGE}{_labels(volume=each.volume, report=each.report)} {seconds:.0f}"


def _head(name: str, tells: str) -> Iterator[str]:
    yield f"# HELP {name} {tells}"
    yield f"# TYPE {name} gauge"


def _labels(**values: str) -> str:
    r"""
    Labels as the format has them.

    >>> print(_labels(volume="s1", group='a"b\\'))
    {volume="s1",group="a\"b\\"}
    """
    escaped = (
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n"))
        for key, value in values.items()
    )
    return f"{{{','.join(escaped)}}}"


def _packed(text: bytes) -> Response:
    """1.4 MB for 5,000 groups, a tenth of it for whoever takes gzip, as Prometheus does."""
    headers = {"Vary": "Accept-Encoding"}
    if request.accept_encodings["gzip"] > 0:
        headers["Content-Encoding"] = "gzip"
        text = gzip.compress(text, 1)
    return Response(text, headers=headers, content_type=FORMAT)
