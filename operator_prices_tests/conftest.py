"""One throwaway Postgres per session, one database per test."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import dagster as dg
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices.local.postgres import embedded
from operator_prices.store import migrations


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole processes, and of them what takes minutes, begin first, or all would wait for them."""
    items.sort(key=lambda item: (item.path.parent.name != "whole", item.path.stem != "test_hosts"))


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    """`TEST_DATABASE_URL` if it is set, else an embedded server."""
    if url := os.environ.get("TEST_DATABASE_URL"):
        yield url
        return
    # Not in pytest's folder: root's server runs as someone else, whom every other session of pytest
    # that starts shuts out of there.
    with TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        with embedded.server(Path(folder)) as url:
            with psycopg.connect(url, autocommit=True) as admin:
                admin.execute("ALTER SYSTEM SET fsync = off")  # nothing here outlives the session
                admin.execute("SELECT pg_reload_conf()")
            yield url
        embedded.remove(Path(folder))


@pytest.fixture(scope="session")
def migrated(server: str) -> Iterator[str]:
    """The name of a migrated database, to be copied."""
    with _database(server, name := f"template_{uuid4().hex}") as dsn:
        migrations.migrate(dsn)
        yield name


@pytest.fixture
def dsn(server: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """An empty database; the migrated one if the test also asks for `database`."""
    migrated = "database" in request.fixturenames
    template = request.getfixturevalue("migrated") if migrated else "template0"
    with _database(server, f"test_{uuid4().hex}", template) as dsn:
        yield dsn


@pytest.fixture
def database(dsn: str) -> Iterator[psycopg.Connection]:
    """A connection to a migrated database, which is also the test's `dsn`."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@contextmanager
def _database(server: str, name: str, template: str = "template0") -> Iterator[str]:
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE DATABASE {name} TEMPLATE {template}").format(**names))
        yield make_conninfo(server, dbname=name)
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))
