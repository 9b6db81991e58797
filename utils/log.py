"""The log of a run, for when nobody looks on: one event a line, `key=value`, with the run's id."""

import re
from collections.abc import MutableMapping
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any, Protocol, TextIO, cast

import structlog

Log = structlog.typing.FilteringBoundLogger

HIDDEN = re.compile(
    r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""
Characters that end a line, steer a terminal or turn the direction of writing, and bytes. Newlines
are written out by the renderer.
"""


class Stream(Protocol):
    """Takes lines of text."""

    def write(self, text: str, /) -> object:
        """Take some."""

    def flush(self) -> object:
        """Take what was written for good."""


def open_log(stream: Stream, run: str | None, zone: tzinfo | None = None) -> Log:
    """
    A log that writes to a stream; every line names the run.

    zone: in which times are told, too, beside UTC.
    """
    local = [] if zone is None else [_Local(zone)]
    log: Log = structlog.wrap_logger(
        structlog.WriteLogger(cast(TextIO, stream)),  # which only writes and flushes
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *local,
            _seen,
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "local", "level", "event", "run"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
    )
    return log if run is None else log.bind(run=run)


class _Local:
    """Adds what the clocks of a time zone say."""

    def __init__(self, zone: tzinfo) -> None:
        self._zone = zone

    def __call__(
        self, _: object, __: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        moment = datetime.fromisoformat(event["timestamp"])
        event["local"] = moment.astimezone(self._zone).isoformat(timespec="seconds")
        return event


def _seen(_: object, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Let a line be a line, whatever names are in it."""
    for key, value in event.items():
        if isinstance(value, (str, Path)):
            event[key] = HIDDEN.sub(_written_out, str(value))
    return event


def _written_out(found: re.Match[str]) -> str:
    code = ord(found[0])
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no character
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
