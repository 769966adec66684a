"""Windows that a command runs share a run, and each of them is told of, and fails, for itself."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.defs.partitions import epoch_windows
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import between
from operator_prices.runs import persistence
from operator_prices.runs.windows import BELIEVED, RunFailedError, run_windows
from operator_prices_tests.support.windows_samples import FIRST, SECOND, SMALL, rows

NOT_THE_SECOND = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'epoch % is unwelcome', NEW.epoch;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON operator_shares FOR EACH ROW WHEN (NEW.epoch = 100)
  EXECUTE FUNCTION refuse();
"""

LOST_ONCE = """
CREATE SEQUENCE tries;
CREATE FUNCTION lose() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF nextval('tries') = 1 THEN
    PERFORM pg_terminate_backend(pg_backend_pid());
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER lose BEFORE INSERT ON operator_shares FOR EACH ROW EXECUTE FUNCTION lose();
"""

WINDOWS = [*between(0, 111)]


@pytest.fixture(autouse=True)
def environment(
    database: psycopg.Connection,  # noqa: ARG001 - the tables are there
    dsn: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[None]:
    with serving(SMALL) as node:
        for name, value in {
            "DATABASE_URL": dsn,
            "ARCHIVE_NODE_URL": node.url,
            "DATA_DIR": str(tmp_path),
            "NOMINATORS": "off",
        }.items():
            monkeypatch.setenv(name, value)
        yield


def test_windows_share_a_run_that_tells_of_each(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    told = [*run_windows(instance, WINDOWS)]
    assert [(one.window.key, one.epochs_read) for one in told] == [(FIRST, 100), (SECOND, 12)]
    changed = [one.changed_rows["operator_shares"] for one in told]
    stored = "SELECT count(*) FROM operator_shares GROUP BY epoch / 100 ORDER BY epoch / 100"
    assert changed == [count for (count,) in database.execute(stored)]
    assert len(instance.get_runs()) == 1


def test_requests_are_told_as_rate_limits_count_them(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOMINATORS", "on")
    (done,) = run_windows(instance, WINDOWS[1:])
    event = instance.get_latest_materialization_event(dg.AssetKey("raw_epochs"))
    assert event is not None
    assert event.asset_materialization is not None
    told = event.asset_materialization.metadata
    assert done.rpc_calls == told["rpc_calls"].value
    assert done.rpc_calls > int(str(told["rpc_requests"].value)), "batches count one by one"


def test_the_window_to_blame_is_named_and_those_before_it_are_done(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    database.execute(NOT_THE_SECOND)
    running = run_windows(instance, WINDOWS)
    done = next(running)
    assert (done.window.key, done.epochs_read, done.changed_rows["raw_epochs"]) == (FIRST, 100, 100)
    assert done.rpc_calls > 100, "they were read by the run of both windows, which then failed"
    assert rows(database, "comprehensive_analytics") == 100
    with pytest.raises(RunFailedError, match=f"of window {SECOND} failed: epoch 100 is unwelcome"):
        next(running)


def test_partitions_in_another_order_get_a_run_each(instance: dg.DagsterInstance) -> None:
    """Dagster goes by when they were added, and takes a reversed range for nothing at all."""
    instance.add_dynamic_partitions(str(epoch_windows.name), [SECOND])
    assert [one.epochs_read for one in run_windows(instance, WINDOWS)] == [100, 12]
    assert len(instance.get_runs()) == 2


def test_what_was_read_before_the_database_was_lost_is_told(
    instance: dg.DagsterInstance, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(persistence, "FIRST_PAUSE", 0)
    database.execute(LOST_ONCE)
    assert [one.epochs_read for one in run_windows(instance, WINDOWS)] == [100, 12]
    assert [run.is_success for run in instance.get_runs()] == [True, False]


def test_windows_of_epochs_that_no_chain_has_yet_share_a_run_as_well(
    instance: dg.DagsterInstance,
) -> None:
    """A row of an old system may say any epoch; not all windows before it become partitions."""
    far = [*between(BELIEVED, BELIEVED + 299)]
    done = [*run_windows(instance, far, ["operator_shares"])]
    assert [one.window for one in done] == far
    assert len(instance.get_runs()) == 1
    assert len(instance.get_dynamic_partitions(str(epoch_windows.name))) == len(far)


def test_windows_on_both_sides_of_what_is_believed_become_partitions(
    instance: dg.DagsterInstance,
) -> None:
    edge = [*between(BELIEVED - 100, BELIEVED + 199)]
    done = [*run_windows(instance, edge, ["operator_shares"])]
    assert [one.window for one in done] == edge
    assert len(instance.get_runs()) == 1
