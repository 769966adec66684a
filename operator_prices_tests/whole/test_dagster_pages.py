from pathlib import Path

import pytest

from operator_prices.devchain.serving import serving
from operator_prices_tests.support.dagster_pages import (
    ASSET,
    CHAIN,
    PROGRAM,
    WINDOWS,
    opened,
    tour,
)
from operator_prices_tests.support.live import up

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium: apt-get install chromium"),
]

STATUSES = """
query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetPartitionStatuses { ... on DefaultPartitionStatuses { materializedPartitions } }
  assetChecksOrError { ... on AssetChecks { checks { name executionForLatestMaterialization
    { status } } } } } } }
"""


def test_a_person_launches_a_backfill_from_the_page_of_an_asset_and_sees_it_green(
    tmp_path: Path,
) -> None:
    with serving(CHAIN) as node, up(tmp_path / "data", node.url) as live:
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
        *("dagster-picture.png", "dagster-checks.png", "dagster-graph.png"),
    }
