"""A pooler is recognized by what it does: tried on the real PgBouncer."""

import threading

import psycopg
import pytest

from operator_prices.postgres import pooling as module
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.postgres.pooling import (
    Pooling,
    TransactionPoolerError,
    pooling,
    require_session,
)
from operator_prices.store import migrations
from operator_prices_tests.support.pgbouncer import needs_pgbouncer, pgbouncer

NOTHING_SET = ("0", "off", "0", '"$user", public')


def left_behind(pooled: str, clients: int) -> set[tuple[str, ...]]:
    """What the sessions at a pooler say to whoever comes next."""
    others = [psycopg.connect(pooled, prepare_threshold=None) for _ in range(clients)]
    told = {
        other.execute(
            "SELECT current_setting('statement_timeout'),"
            " current_setting('default_transaction_read_only'),"
            " current_setting('lock_timeout'), current_setting('search_path')"
        ).fetchone()
        or ()
        for other in others
    }
    for other in others:
        other.close()
    return told


def test_the_server_itself_is_known(dsn: str) -> None:
    assert pooling(dsn) is Pooling.NONE


@needs_pgbouncer
@pytest.mark.parametrize(
    ("mode", "found"),
    [
        ("session", Pooling.SESSION),
        ("transaction", Pooling.TRANSACTION),
        ("statement", Pooling.TRANSACTION),
    ],
)
def test_a_pooler_is_known_by_a_lone_client(dsn: str, mode: str, found: Pooling) -> None:
    with pgbouncer(dsn, mode) as pooled:
        assert pooling(pooled) is found


@needs_pgbouncer
@pytest.mark.parametrize("size", [1, 20])
def test_a_transaction_pooler_is_known_while_others_are_busy(dsn: str, size: int) -> None:
    done = threading.Event()

    def busy(pooled: str) -> None:
        with psycopg.connect(pooled, autocommit=True, prepare_threshold=None) as connection:
            while not done.is_set():
                connection.execute("SELECT pg_sleep(0.001)")

    with pgbouncer(dsn, "transaction", size=size) as pooled:
        others = [threading.Thread(target=busy, args=[pooled]) for _ in range(6)]
        for other in others:
            other.start()
        try:
            assert [pooling(pooled) for _ in range(20)] == [Pooling.TRANSACTION] * 20
        finally:
            done.set()
            for other in others:
                other.join()


@needs_pgbouncer
def test_a_pooler_that_has_one_connection_for_all_is_told_as_such(
    dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PROBE_SECONDS", 1)
    with (
        pgbouncer(dsn, "session", size=1) as pooled,
        pytest.raises(SilentDatabaseError, match=r"no second connection .* may be used up"),
    ):
        pooling(pooled)


@needs_pgbouncer
def test_work_that_needs_a_session_is_refused_with_the_address_that_has_one(dsn: str) -> None:
    with (
        pgbouncer(dsn, "transaction") as pooled,
        pytest.raises(TransactionPoolerError) as refused,
    ):
        require_session(pooled)
    assert "DATABASE_URL" in str(refused.value)
    assert "postgresql://...@127.0.0.1:5432/" in str(refused.value)
    assert str(refused.value).count(". ") == 0, "one sentence"


@needs_pgbouncer
def test_a_migration_through_a_transaction_pooler_leaves_no_lock_and_no_table(dsn: str) -> None:
    with pgbouncer(dsn, "transaction") as pooled:
        for _ in range(2):
            with pytest.raises(TransactionPoolerError):
                migrations.migrate(pooled)
        with psycopg.connect(dsn) as connection:
            locks = connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'")
            assert locks.fetchall() == []
            tables = connection.execute("SELECT FROM pg_tables WHERE schemaname = 'public'")
            assert tables.fetchall() == []
        assert left_behind(pooled, 2) == {NOTHING_SET}


@needs_pgbouncer
def test_a_session_pooler_that_resets_nothing_gets_its_sessions_back_as_they_were(
    dsn: str,
) -> None:
    with pgbouncer(dsn, "session", reset="", size=3) as pooled:
        assert migrations.migrate(pooled)
        assert migrations.migrate(pooled) == []
        assert left_behind(pooled, 3) == {NOTHING_SET}
        with psycopg.connect(dsn) as connection:
            locks = connection.execute("SELECT FROM pg_locks WHERE locktype = 'advisory'")
            assert locks.fetchall() == []
        assert migrations.rollback(pooled)
