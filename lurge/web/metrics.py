"""For Prometheus: what each group uses, and how old that is."""

import gzip
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from flask import Flask, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.engine import Connection

from db.sight import groups, volumes
from db.sight.groups import GroupUse, Wanted
from db.sight.part import Part
from db.sight.volumes import Scanned
from lurge.web.site import Site
from lurge_types.sight import Sight

FIGURES = {
    "lurge_used_bytes": ("What a group uses on a volume.", "used_bytes"),
    "lurge_quota_bytes": ("What it may use; nothing where there is no quota.", "quota_bytes"),
    "lurge_files": ("Its inodes: files, directories and links.", "inodes"),
    "lurge_quota_files": ("How many it may have; nothing without a quota.", "quota_inodes"),
}
"""Of each metric: what it tells, and which field of a group's use it is."""


class Measured(Collector):
    """All metrics, as the library asks for them."""

    def __init__(self, uses: Sequence[GroupUse], scans: Sequence[Scanned], now: datetime) -> None:
        self._uses = uses
        self._scans = scans
        self._now = now

    def collect(self) -> Iterable[Metric]:
        """A family for each metric."""
        for name, (words, field) in FIGURES.items():
            yield self._figures(name, words, field)
        age = GaugeMetricFamily(
            "lurge_data_age_seconds",
            "Since the newest scan of a volume that a report was made of.",
            labels=["volume", "report"],
        )
        for each in self._scans:
            seconds = (self._now - each.scan_time).total_seconds()
            age.add_metric([each.volume, each.report], seconds)
        yield age

    def _figures(self, name: str, words: str, field: str) -> Metric:
        family = GaugeMetricFamily(name, words, labels=["volume", "group", "gid"])
        for use in self._uses:
            value = getattr(use, field)
            if value is not None:
                family.add_metric([use.volume, use.group, str(use.gid)], value)
        return family


def add(app: Flask, site: Site) -> None:
    """The page that Prometheus reads."""

    def page() -> Response:
        today = site.today()

        def read(connection: Connection, sight: Sight) -> Measured:
            uses = groups.read(connection, sight, Wanted(today), Part("volume"))
            now = datetime.now(UTC).replace(tzinfo=None)
            return Measured(list(uses.rows), volumes.scans(connection, today), now)

        registry = CollectorRegistry(auto_describe=False)
        registry.register(site.look(read))
        return _packed(generate_latest(registry))

    app.add_url_rule("/metrics", "metrics", page)


def _packed(text: bytes) -> Response:
    """A megabyte for 5,000 groups, a tenth of it for whoever takes gzip, as Prometheus does."""
    headers = {"Vary": "Accept-Encoding"}
    if request.accept_encodings["gzip"] > 0:
        headers["Content-Encoding"] = "gzip"
        text = gzip.compress(text, 1)
    return Response(text, headers=headers, content_type=CONTENT_TYPE_PLAIN_0_0_4)
