"""Dagster's storage keeps a connection for its next statement, unless somebody waits for it."""

import logging
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest
from sqlalchemy import Engine, event, text

from operator_prices.local import dagster_home, dagster_pool
from operator_prices.local.dagster_storage import EventLog
from operator_prices.postgres.turns import Turns
from operator_prices_tests.support.live import until

LONG = 60
"""Seconds that no test waits."""

HELD = (
    "SELECT pid, state FROM pg_stat_activity WHERE datname = current_database()"
    " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)


@pytest.fixture
def turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Turns:
    """The only connection there is."""
    only = Turns(tmp_path / "turns", 1, seconds=10)
    monkeypatch.setattr(dagster_pool, "TURNS", only)
    return only


@pytest.fixture
def instance(
    database: psycopg.Connection,  # noqa: ARG001 - the tables are there
    turns: Turns,  # noqa: ARG001
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_PG_URL", dagster_home.storage_url(dsn))
    with dg.DagsterInstance.from_config(str(dagster_home.home(tmp_path))) as opened:
        yield opened


@pytest.fixture
def engine(instance: dg.DagsterInstance) -> Engine:
    storage = instance.event_log_storage
    assert isinstance(storage, EventLog)
    return dagster_pool.kept_engine(storage.postgres_url)


def held(database: psycopg.Connection) -> list[tuple[int, str]]:
    return database.execute(HELD).fetchall()


def test_what_is_told_of_a_run_goes_over_one_connection(
    instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    made: list[object] = []
    instance.report_runless_asset_event(dg.AssetMaterialization("raw_epochs"))  # looks at tables
    event.listen(engine, "connect", lambda *them: made.append(them))
    for _ in range(5):
        instance.report_runless_asset_event(dg.AssetMaterialization("raw_epochs"))
        assert instance.get_runs() == []
        assert instance.all_instigator_state() == []
    assert made == []


def test_nothing_is_kept_for_longer_than_a_moment(
    database: psycopg.Connection, instance: dg.DagsterInstance
) -> None:
    assert instance.get_runs() == []
    until(lambda: held(database) == [], 10)


def test_whoever_waits_gets_the_turn_of_a_connection_that_nobody_uses(
    instance: dg.DagsterInstance, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    assert instance.get_runs() == []
    with ThreadPoolExecutor(1) as other:
        other.submit(lambda: turns.give(turns.take())).result(10)


def test_whoever_waits_gets_the_turn_of_a_connection_that_is_used_on_end(
    instance: dg.DagsterInstance, turns: Turns, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    done = threading.Event()

    def wait() -> None:
        turns.give(turns.take())
        done.set()

    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(wait)
        while not done.is_set() and not waiting.done():
            assert instance.get_runs() == []
        waiting.result(10)


def test_a_connection_that_the_server_ended_meanwhile_is_not_used(
    database: psycopg.Connection,
    instance: dg.DagsterInstance,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    assert instance.get_runs() == []
    ((kept, state),) = held(database)
    assert state == "idle"
    database.execute("SELECT pg_terminate_backend(%s, 5000)", [kept])
    with caplog.at_level(logging.WARNING):
        assert instance.get_runs() == []
    assert "Retrying" not in caplog.text


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_is_kept_is_closed_in_the_end_though_a_closer_has_died(
    database: psycopg.Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as failing:
        failing.setattr(dagster_pool, "LOOK_SECONDS", "none")  # which `sleep` does not take
        with engine.connect() as one:
            one.execute(text("SELECT 1"))
        until(lambda: "closer" not in {thread.name for thread in threading.enumerate()}, 10)
    with engine.connect() as one:
        one.execute(text("SELECT 1"))
    until(lambda: held(database) == [], 10)


@pytest.mark.parametrize("why", ["in a transaction", "interrupted"])
def test_what_is_busy_or_interrupted_is_not_kept(
    why: str, database: psycopg.Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    event.listen(engine, "checkin", lambda line, _: _spoil(line, why, monkeypatch))
    with engine.connect() as one:
        one.execute(text("SELECT 1"))
    until(lambda: held(database) == [], 10)


def _spoil(line: Any, why: str, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: ANN401
    """Have a connection be no more what it was, at the moment when it is given back."""
    if why == "interrupted":
        interrupted = threading.Event()
        interrupted.set()
        monkeypatch.setattr(dagster_pool, "INTERRUPTED", interrupted)
    else:
        line.autocommit = False
        line.cursor().execute("SELECT 1")


def test_what_is_not_as_good_as_new_is_not_kept(
    database: psycopg.Connection, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    with engine.connect() as one, engine.connect() as nested:  # a thread has one turn for both
        one.execute(text("SELECT 1"))
        nested.execute(text("SELECT 1"))
    until(lambda: len(held(database)) <= 1, 10)
    engine.pool.dispose()
    until(lambda: held(database) == [], 10)


def test_a_forked_process_leaves_its_parent_the_connection(
    instance: dg.DagsterInstance, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dagster_pool, "KEEP_SECONDS", LONG)
    with engine.connect() as connection:
        ours = connection.scalar(text("SELECT pg_backend_pid()"))
    pool = engine.pool
    assert isinstance(pool, dagster_pool.BriefPool)
    child = os.fork()
    if child == 0:
        os._exit(0 if pool._take() is None else 1)  # noqa: SLF001 - what it would use
    assert os.waitpid(child, 0)[1] == 0
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT pg_backend_pid()")) == ours
    assert instance.get_runs() == []
