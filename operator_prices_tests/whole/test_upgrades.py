"""A rolling upgrade: the code of today on the schema of tomorrow, to which things were added."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from psycopg import sql

from operator_prices.store import migrations
from operator_prices_tests.support.catalogue import catalogue, taken_away
from operator_prices_tests.support.commands import run
from operator_prices_tests.support.web_server import serving
from operator_prices_tests.support.windows_samples import (
    FIRST,
    SECOND,
    failed_checks,
    rows,
    run_windows,
    small_chain,
)

pytestmark = pytest.mark.e2e

TOMORROW = "99_tomorrow"


@pytest.fixture
def tomorrow(database: psycopg.Connection) -> psycopg.Connection:
    """Each table has two columns more, and a table and a migration are there that nobody knows."""
    before = catalogue(database)
    tables = database.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r'"
        " AND relnamespace = 'public'::regnamespace AND relname !~ 'yoyo'"
        # whose rows a function makes, which would be replaced with them
        " AND reltype NOT IN (SELECT prorettype FROM pg_proc)"
    ).fetchall()
    assert ("epochs",) in tables
    for (table,) in tables:
        added = sql.SQL("ALTER TABLE {} ADD tomorrow_x TEXT, ADD tomorrow_y INT NOT NULL DEFAULT 7")
        database.execute(added.format(sql.Identifier(table)))
    database.execute("CREATE TABLE of_tomorrow (id INT PRIMARY KEY)")
    database.execute(
        "INSERT INTO _yoyo_migration (migration_hash, migration_id, applied_at_utc)"
        " VALUES ('hash', %s, now())",
        [TOMORROW],
    )
    assert taken_away(before, catalogue(database)) == []
    return database


@pytest.fixture
def today(
    tomorrow: psycopg.Connection, instance: dg.DagsterInstance, tmp_path: Path
) -> Iterator[psycopg.Connection]:
    """Two windows that the code of today has brought to the schema of tomorrow."""
    with small_chain(tmp_path) as chain:
        result = run_windows(instance, tomorrow, chain, FIRST, SECOND)
        assert result.success
        assert failed_checks(result) == set()
        again = run_windows(instance, tomorrow, chain, FIRST, verify=True)
        assert again.success
        yield tomorrow


def test_old_code_reads_writes_and_serves_on_a_newer_schema(
    today: psycopg.Connection, dsn: str, tmp_path: Path
) -> None:
    assert rows(today, "comprehensive_analytics") == rows(today, "epochs") == 112
    with serving(dsn) as served:
        for path in ("/readyz", "/api/summary", "/api/epochs?limit=200", "/api/operators"):
            answer = served.get(path)
            assert answer.status == 200, (path, answer.body)
            assert b"tomorrow" not in answer.body, path
    verified = run("verify", data_dir=tmp_path, DATABASE_URL=dsn)
    assert verified.returncode == 0, verified.stdout + verified.stderr
    kept = run("backup", str(tmp_path / "kept"), data_dir=tmp_path, DATABASE_URL=dsn)
    assert kept.returncode == 0, kept.stderr


def test_old_code_leaves_migrations_to_the_new(
    tomorrow: psycopg.Connection, dsn: str, tmp_path: Path
) -> None:
    assert migrations.pending(dsn) == []
    refused = run("migrate", data_dir=tmp_path, DATABASE_URL=dsn)
    assert refused.returncode == 1
    assert TOMORROW in refused.stderr
    assert "use that version" in " ".join(refused.stderr.split())
    assert rows(tomorrow, "of_tomorrow") == 0
