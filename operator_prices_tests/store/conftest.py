"""What tests of the schema share: a database of the old system."""

import psycopg
import pytest

from operator_prices_tests.support.schema import OLD_DATABASE


@pytest.fixture
def old(dsn: str) -> str:
    """A database of the old system, with rows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(OLD_DATABASE)
    return dsn
