"""Dagster's tables are in their own schema, on a real server and through the real PgBouncer."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from dagster_postgres.storage import DagsterPostgresStorage

from operator_prices.local import dagster_home, dagster_pool, dagster_storage
from operator_prices.postgres.parts import WEBSERVER, WEBSERVER_MORE
from operator_prices.postgres.pooling import TransactionPoolerError
from operator_prices.postgres.turns import Turns
from operator_prices.store import migrations
from operator_prices.store.dagster_tables import SchemaError
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer

DROPS, REFUSES = ("extra_float_digits", "options"), ("extra_float_digits",)

TABLES = 22
"""Dagster's, with Alembic's list of versions."""


@contextmanager
def opened(dsn: str, home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_PG_URL", dagster_home.storage_url(dsn))
    with dg.DagsterInstance.from_config(str(dagster_home.home(home))) as instance:
        yield instance


def named(database: psycopg.Connection, schema: str) -> set[str]:
    found = database.execute(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = %s::regnamespace",
        [schema],
    )
    return {name for (name,) in found}


def of_dagster() -> set[str]:
    return {*dagster_storage.tables(), "alembic_version"}


@needs_pgbouncer
@pytest.mark.parametrize("ignored", [DROPS, REFUSES], ids=["drops options", "refuses options"])
def test_through_a_session_pooler_the_tables_are_in_the_schema_of_their_own(
    database: psycopg.Connection,
    dsn: str,
    ignored: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = named(database, "public")
    with (
        pgbouncer(dsn, "session", ignored=ignored) as pooled,
        opened(pooled, tmp_path, monkeypatch) as instance,
    ):
        instance.add_dynamic_partitions("epoch_windows", ["a"])
        assert instance.get_dynamic_partitions("epoch_windows") == ["a"]
        instance.optimize_for_webserver(5_000, 3_600, 0)
        assert instance.get_dynamic_partitions("epoch_windows") == ["a"], "as the webserver asks"
    assert named(database, "dagster") == of_dagster()
    assert len(of_dagster()) == TABLES
    assert named(database, "public") == before


def test_the_web_server_answers_at_once_after_a_restart_of_postgres(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(dsn, tmp_path, monkeypatch) as instance:
        instance.optimize_for_webserver(5_000, 3_600, 0)
        assert instance.get_dynamic_partitions("epoch_windows") == []
        ended = database.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchall()
        assert (True,) in ended
        assert instance.get_dynamic_partitions("epoch_windows") == []


@needs_pgbouncer
def test_the_users_own_runs_and_jobs_do_not_matter(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("runs", "jobs", "kvs"):
        database.execute(f"CREATE TABLE {name} (id int, key text, value text)")
        database.execute(f"INSERT INTO {name} VALUES (1, 'mine', '2')")  # noqa: S608
    database.execute("CREATE TABLE alembic_version (version_num text)")
    database.execute("INSERT INTO alembic_version VALUES ('theirs')")
    with (
        pgbouncer(dsn, "session", ignored=DROPS) as pooled,
        opened(pooled, tmp_path, monkeypatch) as instance,
    ):
        assert instance.get_runs_count() == 0
    assert named(database, "dagster") == of_dagster()
    for name in ("runs", "jobs", "kvs"):
        found = database.execute(f"SELECT key FROM public.{name}").fetchall()  # noqa: S608
        assert found == [("mine",)]
    assert database.execute("SELECT * FROM public.alembic_version").fetchall() == [("theirs",)]


def laid_in_public(dsn: str) -> None:
    """What an earlier version left behind where a pooler dropped its startup option."""
    storage = DagsterPostgresStorage(dagster_home.storage_url(dsn))
    storage.event_log_storage.add_dynamic_partitions("epoch_windows", ["a", "b"])


def test_tables_of_an_earlier_version_in_public_are_moved_with_what_they_hold(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = named(database, "public")
    laid_in_public(dsn)
    assert named(database, "public") == before | of_dagster()
    with opened(dsn, tmp_path, monkeypatch) as instance:
        assert instance.get_dynamic_partitions("epoch_windows") == ["a", "b"]
        instance.add_dynamic_partitions("epoch_windows", ["c"])
    assert named(database, "public") == before
    assert named(database, "dagster") == of_dagster()


def test_tables_laid_among_the_users_are_moved_and_the_users_stay(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.execute("CREATE TABLE runs (id int, miles numeric)")
    database.execute("CREATE TABLE jobs (id int, title text)")
    before = named(database, "public")
    laid_in_public(dsn)
    assert len(named(database, "public") - before) > 8
    with opened(dsn, tmp_path, monkeypatch) as instance:
        assert instance.get_runs() == []
        assert instance.get_dynamic_partitions("epoch_windows") == ["a", "b"]
    assert named(database, "public") == before
    assert named(database, "dagster") == of_dagster()


def test_tables_in_both_schemas_stay_where_they_are_and_the_log_says_so(
    database: psycopg.Connection,
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with opened(dsn, tmp_path, monkeypatch) as instance:
        instance.add_dynamic_partitions("epoch_windows", ["z"])
    laid_in_public(dsn)
    dagster_storage.prepare.cache_clear()  # as in a process that starts
    with opened(dsn, tmp_path, monkeypatch) as instance:
        assert instance.get_dynamic_partitions("epoch_windows") == ["z"]
    assert "in the schema public and in dagster too" in caplog.text
    assert named(database, "public") >= of_dagster()


@needs_pgbouncer
def test_a_transaction_pooler_is_refused_before_anything_is_made(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = named(database, "public")
    with (
        pgbouncer(dsn, "transaction", ignored=DROPS) as pooled,
        pytest.raises(TransactionPoolerError, match=r"session pooler's address, .*:5432/"),
        opened(pooled, tmp_path, monkeypatch),
    ):
        pass
    assert named(database, "dagster") == set()
    assert named(database, "public") == before


@needs_pgbouncer
def test_a_session_is_given_back_as_it_was_to_a_pooler_that_resets_nothing(
    migrated_apart: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pgbouncer(migrated_apart, "session", ignored=DROPS, reset="", size=4) as pooled:
        with opened(pooled, tmp_path, monkeypatch) as instance:
            instance.add_dynamic_partitions("epoch_windows", ["a"])
        others = [psycopg.connect(pooled) for _ in range(4)]
        told = [other.execute("SHOW search_path").fetchone() for other in others]
        for other in others:
            other.close()
    assert told == [('"$user", public',)] * 4


@pytest.fixture
def migrated_apart(dsn: str) -> str:
    migrations.migrate(dsn)
    return dsn


def test_a_database_without_the_schema_is_explained(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        pytest.raises(SchemaError, match="run `operator-prices migrate` first"),
        opened(dsn, tmp_path, monkeypatch),
    ):
        pass
    with psycopg.connect(dsn) as connection:
        assert named(connection, "public") == set()


class Noted(Turns):
    """Turns that note how many connections a thread has had at a time."""

    most = 0

    def take(self) -> int:
        return self._noted(super().take())

    def resume(self, lock: int) -> int:
        return self._noted(super().resume(lock))

    def _noted(self, turn: int) -> int:
        self.most = max(self.most, self._depths[turn])
        return turn


@pytest.mark.usefixtures("database")
def test_an_event_costs_one_connection_at_a_time(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = dg.AssetMaterialization("raw_epochs", tags={"dagster/data_version": "1"})
    turns = Noted(tmp_path / "turns", 2)
    with opened(dsn, tmp_path, monkeypatch) as instance:
        instance.report_runless_asset_event(event)
        monkeypatch.setattr(dagster_pool, "TURNS", turns)
        instance.report_runless_asset_event(event)
        assert turns.most == 1


def test_the_webserver_has_one_pool_for_all_of_dagsters_tables(
    database: psycopg.Connection, dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(dsn, tmp_path, monkeypatch) as instance:
        instance.optimize_for_webserver(5_000, 3_600, WEBSERVER_MORE)
        for _ in range(2):
            instance.report_runless_asset_event(dg.AssetMaterialization("raw_epochs"))
            assert instance.get_runs() == []
            assert instance.all_instigator_state() == []
        kept = database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'operator-prices%'"
        )
        assert kept.fetchone() == (WEBSERVER,)
