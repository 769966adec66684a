"""The database of a command; poolers are the real PgBouncer."""

from pathlib import Path

import psycopg
import pytest

from operator_prices.local.database import migrated_database, usable_database
from operator_prices.postgres.address import AddressError
from operator_prices.postgres.pooling import TransactionPoolerError
from operator_prices.settings import Settings
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer


@pytest.mark.parametrize(
    "url", ["me:secret@db.example/prices", "postgresql://me:secret@db.example:here/prices"]
)
def test_a_database_address_that_is_none_is_refused_without_its_text(
    url: str, tmp_path: Path
) -> None:
    with pytest.raises(AddressError, match="DATABASE_URL") as raised:
        Settings(data_dir=tmp_path, database_url=url)
    assert "secret" not in str(raised.value)


@needs_pgbouncer
def test_a_command_refuses_a_transaction_pooler_before_it_does_anything(
    dsn: str, tmp_path: Path
) -> None:
    data_dir = tmp_path / "data"
    with (
        pgbouncer(dsn, "transaction") as pooled,
        pytest.raises(TransactionPoolerError, match="session pooler's address"),
        usable_database(Settings(data_dir=data_dir, database_url=pooled)),
    ):
        pass
    assert not data_dir.exists()
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT FROM pg_tables WHERE schemaname = 'public'").rowcount == 0


@needs_pgbouncer
@pytest.mark.usefixtures("database")
def test_the_api_alone_is_content_with_one(dsn: str, tmp_path: Path) -> None:
    with pgbouncer(dsn, "transaction") as pooled:
        asked = Settings(data_dir=tmp_path, database_url=pooled)
        with migrated_database(asked, session=False) as settings:
            assert settings.database_url == pooled
