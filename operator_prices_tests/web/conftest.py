"""What the tests of the API ask: a serving process over a small history that none changes."""

from collections.abc import Iterator

import psycopg
import pytest
from playwright.sync_api import Browser

from operator_prices_tests.support import positions, published
from operator_prices_tests.support.browser import browser
from operator_prices_tests.support.web_server import Served, database, serving


@pytest.fixture(scope="session")
def filled(server: str, migrated: str) -> Iterator[str]:
    with database(server, migrated) as dsn:
        with psycopg.connect(dsn, autocommit=True) as connection:
            published.fill(connection)
            positions.write(connection)
        yield dsn


@pytest.fixture(scope="session")
def api(filled: str) -> Iterator[Served]:
    with serving(filled) as served:
        yield served


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser() as running:
        yield running
