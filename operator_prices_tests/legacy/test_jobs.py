"""The jobs that people launch in Dagster's own pages on imported data."""

import gzip
from collections.abc import Callable, Sequence
from pathlib import Path

import dagster as dg
import psycopg
import pytest

from operator_prices.definitions import defs
from operator_prices.defs.parity_checks import PARITY
from operator_prices.defs.partitions import begin_windows
from operator_prices.legacy.snapshots import Row
from operator_prices.settings import Settings
from operator_prices_tests.support.heads import HeadOnly
from operator_prices_tests.support.legacy_forms import json_lines, json_list
from operator_prices_tests.support.legacy_imports import Import
from operator_prices_tests.support.legacy_samples import (
    history,
    write_sqlite,
)


def test_parity_is_a_check_of_its_own_that_the_ui_can_launch(
    database: psycopg.Connection,
    imported: Import,
    instance: dg.DagsterInstance,
    tmp_path: Path,
) -> None:
    imported(write_sqlite(tmp_path / "old.db", history(20)))
    database.execute(
        "UPDATE operator_shares SET shares_raw = 7 WHERE (epoch, operator_id) = (3, 1)"
    )
    job = defs.resolve_job_def("verify_parity")
    result = job.execute_in_process(instance=instance)
    found = {told.check_name: told.passed for told in result.get_asset_check_evaluations()}
    assert found.keys() == PARITY.keys()
    assert {name for name, passed in found.items() if not passed} == {
        "operators_as_in_raw_json",
        "analytics_fresh",
    }


def launched(
    instance: dg.DagsterInstance, database: psycopg.Connection, source: str, data_dir: Path
) -> dg.ExecuteInProcessResult:
    """A window of an import as the dialog of Dagster's pages launches it."""
    begin_windows(instance, 99)
    job = dg.Definitions(
        assets=defs.assets,
        asset_checks=defs.asset_checks,
        jobs=defs.jobs,
        resources={
            "database": database,
            "options": Settings(data_dir=data_dir),
            "chain": HeadOnly(None),
        },
    ).resolve_job_def("import_legacy")
    config = {"ops": {"legacy_epochs": {"config": {"source": source}}}}
    return job.execute_in_process(
        instance=instance,
        run_config=config,
        partition_key="000000-000099",
        raise_on_error=False,
    )


@pytest.mark.parametrize(
    ("name", "form"),
    [("old.json", json_list), ("folder/old.bin", lambda rows: gzip.compress(json_lines(rows)))],
)
def test_the_ui_imports_every_form_that_the_command_does(
    database: psycopg.Connection,
    instance: dg.DagsterInstance,
    tmp_path: Path,
    name: str,
    form: Callable[[Sequence[Row]], bytes],
) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(form(history(20)))
    source = str(file if file.parent == tmp_path else file.parent)
    assert launched(instance, database, source, tmp_path / "data").success
    assert database.execute("SELECT count(*) FROM epochs").fetchone() == (20,)
    assert list((tmp_path / "data" / "staging").glob("*.db")) == []


def test_the_ui_says_what_it_cannot_import(
    database: psycopg.Connection, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    for source, said in (("-", "no standard input"), (str(tmp_path / "none.json"), "is no file")):
        result = launched(instance, database, source, tmp_path)
        (failure,) = result.filter_events(lambda event: event.is_step_failure)
        assert said in str(failure.step_failure_data.error)


def test_the_import_job_shows_its_lineage() -> None:
    graph = defs.resolve_asset_graph()
    children = graph.get(dg.AssetKey("legacy_epochs")).child_keys
    assert {key.to_user_string() for key in children} >= {
        "operator_share_prices",
        "operator_shares",
        "operators_metadata",
    }
