"""Windows that a command runs share a run, and each of them is told of, and fails, for itself."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.defs.partitions import epoch_windows
from operator_prices.devchain.serving import serving
from operator_prices.epochs.windows import between
from operator_prices.runs.windows import RunFailedError, run_windows
from operator_prices_tests.support.windows_samples import FIRST, SECOND, SMALL, rows

NOT_THE_SECOND = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'epoch % is unwelcome', NEW.epoch;
END $$;
CREATE TRIGGER refuse BEFORE INSERT ON operator_shares FOR EACH ROW WHEN (NEW.epoch = 100)
  EXECUTE FUNCTION refuse();
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


def test_the_window_to_blame_is_named_and_those_before_it_are_done(
    instance: dg.DagsterInstance, database: psycopg.Connection
) -> None:
    database.execute(NOT_THE_SECOND)
    running = run_windows(instance, WINDOWS)
    assert next(running).window.key == FIRST
    assert rows(database, "comprehensive_analytics") == 100
    with pytest.raises(RunFailedError, match=f"of window {SECOND} failed: epoch 100 is unwelcome"):
        next(running)


def test_partitions_in_another_order_get_a_run_each(instance: dg.DagsterInstance) -> None:
    """Dagster goes by when they were added, and takes a reversed range for nothing at all."""
    instance.add_dynamic_partitions(str(epoch_windows.name), [SECOND])
    assert [one.epochs_read for one in run_windows(instance, WINDOWS)] == [100, 12]
    assert len(instance.get_runs()) == 2
