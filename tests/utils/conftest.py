"""What tests of a directory's names and members are given."""

from collections.abc import Iterator

import pytest
from servers.openldap import Openldap


@pytest.fixture
def server(openldap: Openldap) -> Iterator[Openldap]:
    """A server that runs, and does so again when a test has left it without life."""
    openldap.start()
    yield openldap
    openldap.thaw()
    openldap.start()
