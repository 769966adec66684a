"""The jobs that people launch in Dagster's own pages on imported data."""

from pathlib import Path

import dagster as dg
import psycopg

from operator_prices.definitions import defs
from operator_prices.defs.parity_checks import PARITY
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


def test_the_import_job_shows_its_lineage() -> None:
    graph = defs.resolve_asset_graph()
    children = graph.get(dg.AssetKey("legacy_epochs")).child_keys
    assert {key.to_user_string() for key in children} >= {
        "operator_share_prices",
        "operator_shares",
        "operators_metadata",
    }
