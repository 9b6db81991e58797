"""The server of the pages: it listens, and stops when it is told to, with no answer cut short."""

import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from flask import Flask
from waitress import create_server, wasyncore
from waitress.channel import HTTPChannel
from waitress.server import BaseWSGIServer

from db.database import Database, DatabaseFailed, SchemaMissing
from lurge.sources import members
from lurge.web.app import make_app
from lurge.web.site import Site
from lurge.web.visitors import Visitors
from lurge_types.config import Config, ServeTable
from utils import config as config_file
from utils.config import ConfigWrong
from utils.log import Log

WAITS_SECONDS = 2
"""How long a page waits for a database that is away or busy."""

CONNECT_SECONDS = 3

SILENT_SECONDS = 10
"""For how long a statement may say nothing."""

STOPS_WITHIN_SECONDS = 15
"""Answers that take longer are cut short."""

LOOKS_EVERY_SECONDS = 0.5


def run(config: Config, log: Log, ready: Callable[[str], None]) -> None:
    """
    Serve a site's pages until SIGTERM or SIGINT; ready is told their address.

    A database that is away is told on the pages. Raises ConfigWrong, SchemaMissing.
    """
    database = Database(
        config.database.url,
        password=config_file.password(config.database),
        retry_seconds=WAITS_SECONDS,
        silent_seconds=SILENT_SECONDS,
        connect_seconds=CONNECT_SECONDS,
        connections=config.serve.threads,
    )
    try:
        database.check(make=False)
    except SchemaMissing:
        raise
    except DatabaseFailed as error:
        log.warning("away", why=str(error))
    site = Site(config, database, Visitors(config.serve, members(config)))
    try:
        serve(make_app(site, log), config.serve, ready)
        log.info("stopped")
    finally:
        database.close()


def serve(app: Flask, table: ServeTable, ready: Callable[[str], None]) -> None:
    """
    Answer requests until SIGTERM or SIGINT; ready is told the address.

    Raises ConfigWrong where that cannot be listened on.
    """
    stop = threading.Event()
    sockets: dict[int, Any] = {}
    try:
        server = create_server(
            app,
            map=sockets,
            host=table.host,
            port=table.port,
            threads=table.threads,
            ident="lurge",
            clear_untrusted_proxy_headers=True,
        )
    except (OSError, ValueError) as error:  # a ValueError where nobody knows the host
        why = getattr(error, "strerror", None) or error
        raise ConfigWrong(
            f"serve.listen: {table.listen}: {why}: name another address or port"
        ) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    host, port = _listeners(sockets)[0].socket.getsockname()[:2]
    ready(f"http://{f'[{host}]' if ':' in host else host}:{port}/")
    deadline = float("inf")
    while sockets and time.monotonic() < deadline:
        if stop.is_set():
            deadline = min(deadline, time.monotonic() + STOPS_WITHIN_SECONDS)
            for listener in _listeners(sockets):
                # Its own `close` would take the pipe from threads that still answer.
                wasyncore.dispatcher.close(listener)
            if not any(map(_is_busy, sockets.values())):
                break
        wasyncore.loop(LOOKS_EVERY_SECONDS, map=sockets, count=1)
    server.task_dispatcher.shutdown()
    wasyncore.close_all(sockets)


def _listeners(sockets: dict[int, Any]) -> list[BaseWSGIServer]:
    return [each for each in sockets.values() if isinstance(each, BaseWSGIServer)]


def _is_busy(each: Any) -> bool:
    """Whether a request is being answered, or an answer being sent."""
    return isinstance(each, HTTPChannel) and bool(each.requests or each.total_outbufs_len)
