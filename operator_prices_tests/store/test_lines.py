"""Connections of the pipeline: given up when they are dead, and never while the server works."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Timer
from time import monotonic
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from operator_prices import store
from operator_prices.postgres import working
from operator_prices.postgres.keeping import SilentDatabaseError
from operator_prices.store.parity import findings
from operator_prices_tests.support import history
from operator_prices_tests.support.lines import line


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(working, "DOUBT_SECONDS", 0.3)
    monkeypatch.setattr(working, "AGAIN_SECONDS", 0.2)


def test_a_statement_that_takes_long_is_waited_for(dsn: str) -> None:
    with line(dsn) as between, store.connect(between.url) as connection:
        assert connection.execute("SELECT 'done' FROM pg_sleep(1.5)").fetchone() == ("done",)


@pytest.mark.usefixtures("database")
def test_a_statement_that_waits_for_a_lock_is_waited_for(dsn: str) -> None:
    with (
        line(dsn) as between,
        store.connect(between.url) as connection,
        closing(psycopg.connect(dsn)) as holder,
    ):
        holder.execute("LOCK TABLE epochs")
        release = Timer(1.5, holder.rollback)
        release.start()
        begun = monotonic()
        connection.execute("TABLE epochs")
        assert monotonic() - begun > 1
        release.join()


def test_much_that_comes_slowly_is_waited_for(dsn: str) -> None:
    with line(dsn) as between, store.connect(between.url) as connection:
        between.delay(0.05)
        rows = connection.execute("SELECT repeat('x', 40000) FROM generate_series(1, 60)")
        assert len(rows.fetchall()) == 60


@pytest.mark.e2e
@pytest.mark.parametrize("everything", [True, False])
def test_silence_is_noticed_whether_one_connection_is_lost_or_all_are(
    dsn: str, monkeypatch: pytest.MonkeyPatch, *, everything: bool
) -> None:
    monkeypatch.setattr(store.database, "ASKING_SECONDS", 1)
    with line(dsn) as between, store.connect(between.url) as connection:
        if everything:
            between.freeze()
        else:
            between.forget()
        begun = monotonic()
        with pytest.raises(SilentDatabaseError, match="silent for"):
            connection.execute("SELECT 1")
        assert monotonic() - begun < 6
        assert connection.closed
        between.thaw()


def test_a_session_that_was_given_up_holds_no_lock_against_the_next_one(
    dsn: str, database: psycopg.Connection
) -> None:
    history.write(database, 0, 3, 2)
    with line(dsn) as between:
        connection = store.connect(between.url)
        connection.autocommit = False
        connection.execute("UPDATE epochs SET complete = false")
        between.forget()
        with pytest.raises(SilentDatabaseError):
            connection.execute("SELECT 1")
        store.revive(connection)
        changed = connection.execute("UPDATE epochs SET complete = true WHERE NOT complete")
        assert changed.rowcount == 0
        assert connection.execute("SELECT count(*) FROM epochs").fetchone() == (4,)
        connection.close()


def test_a_server_that_only_refuses_more_connections_is_believed(
    dsn: str, database: psycopg.Connection
) -> None:
    with role(database) as (name, url):
        database.execute(sql.SQL("ALTER ROLE {} CONNECTION LIMIT 1").format(name))
        with line(dsn) as between, store.connect(between.to(url)) as connection:
            assert connection.execute("SELECT 'done' FROM pg_sleep(1.5)").fetchone() == ("done",)


def test_work_that_takes_long_is_not_stopped_by_limits_of_its_role(
    database: psycopg.Connection,
) -> None:
    history.write(database, 0, 599, 16)
    with role(database) as (name, url):
        for limit in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            database.execute(
                sql.SQL("ALTER ROLE {} SET {} = '60ms'").format(name, sql.Identifier(limit))
            )
        with store.connect(url) as connection:
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute("SELECT refresh_epoch_analytics(0, 599)")
            with store.long_work(connection):
                connection.execute("SELECT refresh_epoch_analytics(0, 599)")
            assert all(one.passed for one in findings(connection) if one.name != "no gap")
            setting = connection.execute("SHOW statement_timeout").fetchone()
            assert setting == ("60ms",)  # nothing of ours outlives its transaction


@contextmanager
def role(database: psycopg.Connection) -> Iterator[tuple[sql.Identifier, str]]:
    """A role that may do everything in the database, and an address with it."""
    name = f"lines_{uuid4().hex}"
    database.execute(
        sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'line' IN ROLE operator_prices_writer").format(
            sql.Identifier(name)
        )
    )
    try:
        yield sql.Identifier(name), make_conninfo(database.info.dsn, user=name, password="line")  # noqa: S106
    finally:
        database.execute(  # its temporary functions go when its sessions have ended
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = %s",
            [name],
        )
        database.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
