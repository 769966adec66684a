import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from operator_prices.devchain.serving import serving
from operator_prices_tests.support.dagster_pages import (
    ASSET,
    CHAIN,
    PROGRAM,
    WINDOWS,
    execute_all_checks,
    opened,
    tour,
)
from operator_prices_tests.support.live import ASSETS, SELECTOR, Live, until, up

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(
        PROGRAM is None and not os.environ.get("REQUIRE_EVERYTHING"),
        reason="no Chromium: apt-get install chromium",
    ),
]

ENDED = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}

STATUSES = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization
    { status evaluation { success } } } } } } } }
"""


ADD = (
    f"mutation ($key: String!) {{ addDynamicPartition(repositorySelector: {{{SELECTOR}}},"
    ' partitionsDefName: "epoch_windows", partitionKey: $key) { __typename } }'
)

PARTITIONS = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode { partitionKeys
  assetPartitionStatuses { ... on DefaultPartitionStatuses { failedPartitions } } } } }
"""


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    with serving(CHAIN) as node, up(tmp_path_factory.mktemp("live"), node.url) as live:
        yield live


def test_the_development_chain_passes_all_checks(live: Live) -> None:
    """Those of the runs that `up` itself has made."""
    for asset in ASSETS:
        known = live.ask(STATUSES, key={"path": [asset]})["assetNodeOrError"]["assetChecksOrError"]
        for check in known["checks"]:
            assert check["executionForLatestMaterialization"]["status"] == "SUCCEEDED", check
            evaluation = check["executionForLatestMaterialization"]["evaluation"]
            assert evaluation["success"], check


def test_a_person_launches_a_backfill_from_the_page_of_an_asset_and_sees_it_green(
    live: Live, tmp_path: Path
) -> None:
    with live.database() as connection:
        connection.execute("DELETE FROM operator_share_prices WHERE epoch < 200")
    with opened() as page:
        tour(live, page, WINDOWS, tmp_path)

    node_now = live.ask(STATUSES, key={"path": [ASSET]})["assetNodeOrError"]
    assert set(WINDOWS) <= set(node_now["assetPartitionStatuses"]["materializedPartitions"])
    checks = node_now["assetChecksOrError"]["checks"]
    statuses = {one["executionForLatestMaterialization"]["status"] for one in checks}
    assert statuses == {"SUCCEEDED"}
    (first, *_) = live.runs()
    assert "dagster/backfill" in first["tags"]
    with live.database() as connection:
        (rows,) = connection.execute(
            "SELECT count(*) FROM operator_share_prices WHERE epoch < 200"
        ).fetchone() or (0,)
        assert rows > 0
    assert {file.name for file in tmp_path.glob("*.png")} == {
        *("dagster-launch.png", "dagster-backfill.png", "dagster-partition.png"),
        *("dagster-checks.png", "dagster-graph.png"),
    }


def test_a_mistyped_partition_fails_no_good_window_and_goes(live: Live) -> None:
    live.ask(ADD, key="000250")
    backfill = live.backfill([*WINDOWS, "000250"], ["operator_share_prices", "operator_shares"])
    until(lambda: live.backfill_status(backfill) in ENDED, 180)
    assert live.backfill_status(backfill) == "COMPLETED_SUCCESS"

    def known() -> dict[str, Any]:
        found: dict[str, Any] = live.ask(PARTITIONS, key={"path": [ASSET]})["assetNodeOrError"]
        return found

    until(lambda: known()["partitionKeys"] == WINDOWS, 60)  # at a later tick of the sensor
    assert known()["assetPartitionStatuses"]["failedPartitions"] == []


def test_all_checks_are_executed_at_a_press_of_the_button_and_no_incident_is_left(
    live: Live,
) -> None:
    before = {run["runId"] for run in live.runs()}
    with opened() as page:
        execute_all_checks(live, page)
        until(lambda: bool(new_runs(live, before)), 60)
    until(lambda: new_runs(live, before)[0]["status"] in {"SUCCESS", "FAILURE"}, 90)
    assert new_runs(live, before)[0]["status"] == "SUCCESS"
    with live.database() as connection:
        assert connection.execute("SELECT what, place FROM alert_incidents").fetchall() == []


def test_a_run_has_at_most_two_tags_of_ours(live: Live) -> None:
    for run in live.runs():
        ours = {name for name in run["tags"] if "dagster/" not in name}
        assert ours <= {"source", "worker"}, run


def new_runs(live: Live, before: set[str]) -> list[dict[str, Any]]:
    """Runs of checks that somebody has asked for since."""
    return [
        run for run in live.runs() if run["runId"] not in before and "source" not in run["tags"]
    ]
