"""The log of a run, for when nobody looks on: one event a line, `key=value`, with the run's id."""

from typing import TextIO

import structlog

Log = structlog.typing.FilteringBoundLogger


def open_log(stream: TextIO, run: str) -> Log:
    """A log that writes to a stream; every line names the run."""
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(stream),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.LogfmtRenderer(
                key_order=["timestamp", "level", "event", "run"], drop_missing=True
            ),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(0),
        run=run,
    )
    return log
