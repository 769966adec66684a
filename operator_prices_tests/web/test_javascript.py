"""Arrow as JavaScript reads it, with an older and the newest release of its own library."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from operator_prices_tests.support.web_server import Served

READ = """
import { tableFromIPC } from "apache-arrow";
const table = await tableFromIPC(fetch(process.argv[2]));
const told = (row) => [Number(row.epoch), row.stake, String(row.share_price_perq)];
const rows = table.toArray().map(told);
console.log(JSON.stringify(rows));
"""


@pytest.mark.e2e
@pytest.mark.parametrize("release", ["17.0.0", "latest"])
def test_arrow_is_read_by_its_javascript_library(api: Served, tmp_path: Path, release: str) -> None:
    if shutil.which("npm") is None:
        assert not os.environ.get("REQUIRE_EVERYTHING"), "npm is missing"
        pytest.skip("there is no npm here")
    (tmp_path / "package.json").write_text(json.dumps({"private": True, "type": "module"}))
    (tmp_path / "read.js").write_text(READ)
    for command in (
        ["npm", "install", "--no-audit", "--no-fund", f"apache-arrow@{release}"],
        ["node", "read.js", f"{api.url}/api/share-prices?format=arrow"],
    ):
        done = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [
        [point["epoch"], point["stake"], str(point["sharePricePerq"] or "null")]
        for point in api.get("/api/share-prices").json
    ]
