"""What we rely on in Dagster and could change."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from operator_prices.defs.jobs import forget_runs
from operator_prices.defs.partitions import BACKFILLING
from operator_prices.defs.resources import NODE_POOL, pool_slots, share
from operator_prices.local import dagster_home as instances
from operator_prices.local.dagster_home import EVENTS_AT_ONCE
from operator_prices.settings import PROJECT

windows = dg.DynamicPartitionsDefinition(name="w")


@dg.asset(partitions_def=windows)
def kept(context: dg.AssetExecutionContext) -> None:
    for key in context.partition_keys:
        context.add_asset_metadata({"only": key}, partition_key=key)


def runs_of(instance: dg.DagsterInstance, *keys: str) -> str:
    instance.add_dynamic_partitions("w", ["a", "b", "c"])
    tags = {
        "dagster/asset_partition_range_start": keys[0],
        "dagster/asset_partition_range_end": keys[-1],
    }
    result = dg.materialize([kept], instance=instance, tags=tags)
    return result.run_id


def test_a_run_over_a_range_says_of_each_partition_its_own(instance: dg.DagsterInstance) -> None:
    runs_of(instance, "a", "b")
    of = dg.AssetRecordsFilter(asset_key=kept.key)
    assert {
        record.partition_key: record.asset_materialization.metadata["only"].value
        for record in instance.fetch_materializations(of, limit=9).records
        if record.asset_materialization
    } == {"a": "a", "b": "b"}


def test_a_run_that_holds_a_latest_materialization_is_not_forgotten(
    instance: dg.DagsterInstance,
) -> None:
    old = runs_of(instance, "a", "a")
    both = runs_of(instance, "a", "b")
    runs_of(instance, "a", "a")
    later = datetime.now(UTC) + timedelta(hours=1)

    assert forget_runs(instance, later) == (1, 2)
    assert instance.get_run_by_id(old) is None
    assert instance.get_run_by_id(both) is not None, "it is the latest of b"
    assert forget_runs(instance, later - timedelta(hours=2)) == (0, 0)


@pytest.mark.usefixtures("database")
def test_the_pool_of_the_instance_has_the_slots_that_dagster_yaml_says(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_PG_URL", instances.storage_url(dsn))
    home = instances.home(tmp_path)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert pool_slots(instance, NODE_POOL) == 2
        assert share(60, instance) == 12
        instance.event_log_storage.set_concurrency_slots(NODE_POOL, 5)
        assert share(80, instance) == 10
        assert share(None, instance) is None
        assert instance.run_monitoring_enabled
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 3
        assert not instance.telemetry_enabled


def test_dagster_knows_the_variable_that_has_events_written_at_once() -> None:
    source = Path(str(dg.__file__)).parent
    assert any(EVENTS_AT_ONCE in file.read_text() for file in source.rglob("utils.py"))


def test_the_tags_we_read_are_those_that_dagster_writes() -> None:
    tags = (Path(str(dg.__file__)).parent / "_core" / "storage" / "tags.py").read_text()
    names = "will_retry", "asset_partition_range_start", "asset_partition_range_end", "run_key"
    for name in names:
        assert f"{{SYSTEM_TAG_PREFIX}}{name}" in tags, name
    assert '{HIDDEN_TAG_PREFIX}repository"' in tags


def test_the_backfills_under_way_are_those_of_these_statuses() -> None:
    backfill = (Path(str(dg.__file__)).parent / "_core" / "execution" / "backfill.py").read_text()
    ended = {"COMPLETED", "FAILED", "CANCELED", "COMPLETED_SUCCESS", "COMPLETED_FAILED"}
    assert set(re.findall(r'^    ([A-Z_]+) = "\1"', backfill, re.MULTILINE)) == ended | BACKFILLING


def test_the_workspace_file_names_the_code_server(tmp_path: Path) -> None:
    file = instances.workspace(tmp_path, "127.0.0.1", 4000)
    assert "grpc_server" in file.read_text()
    assert (PROJECT / "workspace.yaml").exists()
