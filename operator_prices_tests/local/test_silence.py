"""Dagster's own connections: they neither wait for ever nor keep a process from ending."""

import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Timer
from time import monotonic

import dagster as dg
import psycopg2
import pytest
from psycopg2 import extensions

from operator_prices.local import dagster_home, silence
from operator_prices.local.dagster_home import storage_url
from operator_prices.postgres.keeping import INTERRUPTED, REACH, SilentDatabaseError
from operator_prices.store import migrations
from operator_prices_tests.support.lines import Line, line


@pytest.fixture
def way(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Line]:
    before = extensions.get_wait_callback()
    monkeypatch.setattr(silence, "SILENT_SECONDS", 1)
    monkeypatch.setattr(silence, "CONNECTING_SECONDS", 1)
    monkeypatch.setattr(silence, "IMPATIENT_SECONDS", 0.5)
    monkeypatch.setattr(silence, "INTERRUPTED_SECONDS", 0.2)
    silence.install()
    with line(dsn) as between:
        yield between
        between.thaw()
    extensions.set_wait_callback(before)
    INTERRUPTED.clear()
    REACH.succeeds()


def connected(way: Line) -> extensions.connection:
    url = storage_url(way.url).replace("+psycopg2", "")
    connection: extensions.connection = psycopg2.connect(url)
    return connection


def test_a_statement_that_is_never_answered_is_given_up(way: Line) -> None:
    connection = connected(way)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 'done' FROM pg_sleep(0.8)")
        assert cursor.fetchone() == ("done",)
        way.freeze()
        with pytest.raises(psycopg2.OperationalError, match="silent for 1 s"):
            cursor.execute("SELECT 1")
    assert connection.closed


def test_connecting_is_given_up_and_sooner_when_it_was_in_vain_before(way: Line) -> None:
    way.freeze()
    seconds = []
    for _ in range(2):
        begun = monotonic()
        with pytest.raises(psycopg2.OperationalError, match="silent"):
            connected(way)
        seconds.append(monotonic() - begun)
    assert seconds[0] > 1 > seconds[1]
    way.thaw()
    connected(way).close()


def test_a_run_bears_a_longer_silence_and_knows_after_it_that_nothing_answers(
    way: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(silence, "RUN_SECONDS", 2)
    monkeypatch.setattr(sys, "argv", ["operator-prices", "worker"])
    connection = connected(way)
    with connection.cursor() as cursor:
        way.freeze()
        Timer(1.3, way.thaw).start()
        cursor.execute("SELECT 'answered'")
        assert cursor.fetchone() == ("answered",)
    connection.close()
    way.freeze()
    with pytest.raises(psycopg2.OperationalError, match="silent for 2 s"):
        connected(way)
    assert REACH.silence is not None


def test_who_has_been_told_to_end_is_interrupted_again(way: Line) -> None:
    connection = connected(way)
    way.freeze()
    INTERRUPTED.set()
    with connection.cursor() as cursor, pytest.raises(KeyboardInterrupt):
        cursor.execute("SELECT 1")


def test_who_knows_that_nothing_answers_does_not_try_again_and_again(
    way: Line, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dagster would try to connect six times for each event that it keeps."""
    migrations.migrate(way.url)
    monkeypatch.setenv("DAGSTER_PG_URL", dagster_home.storage_url(way.url))
    with dg.DagsterInstance.from_config(str(dagster_home.home(tmp_path))) as instance:
        assert instance.get_runs() == []
        way.freeze()
        REACH.fails(silent=30)
        begun = monotonic()
        with pytest.raises(SilentDatabaseError, match="silent for 3"):
            instance.get_runs()
        assert monotonic() - begun < 3
        way.thaw()
        assert instance.get_runs() == []
        assert REACH.silence is None
