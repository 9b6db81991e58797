"""A wire to the database server, for what goes wrong at an exact moment."""

from collections.abc import Iterator

import pytest
from servers.databases import Place, Wired
from servers.mariadb import Mariadb
from servers.wire import wire_to


@pytest.fixture
def wired(mariadb: Mariadb, place: Place) -> Iterator[Wired]:
    with wire_to(mariadb.port) as wire:
        table, admin = (
            table.model_copy(update={"url": wire.url(table.url)})
            for table in (place.table, place.admin)
        )
        yield Wired(mariadb, wire, table, admin)
