"""Databases for tests: one body runs on SQLite and on a real MariaDB."""

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from reliability import pytest_runtest_logreport, pytest_sessionfinish  # noqa: F401 - hooks
from servers.databases import Connect, Place, Tables
from servers.faults import FaultFilesystem, fault_filesystem
from servers.mariadb import Mariadb, private_mariadb
from servers.openldap import Openldap, private_openldap
from servers.swift_s3 import Swift, private_swift

from db.database import Database
from lurge_types.config import DatabaseTable
from utils import config

# One runs under Debian's Python, where Swift is; the other loads libfuse.
collect_ignore = ["servers/swift_servers.py", "servers/fault_filesystem.py"]

# The first example of a test may have to compile its loops, which takes seconds.
settings.register_profile("lurge", deadline=None)
settings.load_profile("lurge")


@pytest.fixture(scope="session")
def mariadb() -> Iterator[Mariadb]:
    """The server of this session, which starts when a test first asks for it."""
    with private_mariadb() as server:
        yield server


@pytest.fixture(scope="session")
def swift() -> Iterator[Swift]:
    """The S3 server of this session, which starts when a test first asks for it."""
    with private_swift() as server:
        yield server


@pytest.fixture(scope="session")
def openldap() -> Iterator[Openldap]:
    """The LDAP server of this session, which starts when a test first asks for it."""
    with private_openldap() as server:
        yield server


@pytest.fixture
def faulty(tmp_path: Path) -> Iterator[FaultFilesystem]:
    """A filesystem of this test, in which things go wrong."""
    behind, root = tmp_path / "behind", tmp_path / "faulty"
    behind.mkdir()
    root.mkdir()
    with fault_filesystem(behind, root) as filesystem:
        yield filesystem


@pytest.fixture(params=["sqlite", "mariadb"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """An empty database, once of each kind. Passwords come from files."""
    monkeypatch.delenv(config.PASSWORD_VARIABLE, raising=False)
    if request.param == "sqlite":
        table = DatabaseTable(url=f"sqlite:///{tmp_path}/lurge.db", retry_seconds=10)
        yield Place(table, table)
        return
    server: Mariadb = request.getfixturevalue("mariadb")
    name = f"lurge_{secrets.token_hex(4)}"
    user, admin = f"{name}_user", f"{name}_admin"
    server.execute(f"CREATE DATABASE {name}")
    try:
        yield Place(
            _user(server, name, user, "SELECT, INSERT, UPDATE, DELETE", tmp_path),
            _user(server, name, admin, "ALL", tmp_path),
        )
    finally:
        server.thaw()
        server.start()  # if the test has left it without life
        server.execute(f"DROP DATABASE {name}")
        server.execute(f"DROP USER {user}@127.0.0.1, {admin}@127.0.0.1")


def _user(server: Mariadb, name: str, user: str, rights: str, folder: Path) -> DatabaseTable:
    """A new user with some rights in one database, and how to be it."""
    password = secrets.token_urlsafe()
    server.execute(f"CREATE USER {user}@127.0.0.1 IDENTIFIED BY %s", password)
    server.execute(f"GRANT {rights} ON {name}.* TO {user}@127.0.0.1")
    file = folder / f"{user}.password"
    file.write_text(f"{password}\n")
    file.chmod(0o600)
    return DatabaseTable(
        # PyMySQL reads all certificates for each connection, 20 ms, even if the server has no TLS.
        url=f"mysql+pymysql://{user}@127.0.0.1:{server.port}/{name}?ssl_disabled=true",
        password_file=file,
        retry_seconds=10,
    )


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Opens databases as a run does."""
    opened = []

    def connect(table: DatabaseTable, **settings: Any) -> Database:
        chosen = {
            "password": config.password(table),
            "retry_seconds": table.retry_seconds,
            **settings,
        }
        opened.append(Database(table.url, **chosen))
        return opened[-1]

    yield connect
    for database in opened:
        database.close()


@pytest.fixture(scope="session")
def tables(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tables:
    """What makes the tables in a test's database."""
    folder = tmp_path_factory.mktemp("tables")
    return Tables(folder, lambda: request.getfixturevalue("mariadb"))


@pytest.fixture
def table(place: Place, tables: Tables) -> DatabaseTable:
    """How a run reaches a database that has its tables."""
    tables.make(place.admin)
    return place.table


@pytest.fixture
def database(table: DatabaseTable, connect: Connect) -> Database:
    """A database with its tables, as a run uses it."""
    return connect(table)
