"""What README.md shows works as it stands there."""

import os
import re
import subprocess
import sys
from pathlib import Path

from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.serving import serving
from operator_prices.settings import PROJECT
from operator_prices_tests.support.samples import truth_of

NODE = "wss://rpc.mainnet.autonomys.xyz/ws"


def block(heading: str, language: str) -> str:
    """The first block of code below a heading of README.md."""
    section = (PROJECT / "README.md").read_text().split(f"\n## {heading}\n")[1]
    found = re.search(rf"```{language}\n(.*?)```", section, re.DOTALL)
    assert found, heading
    return found[1]


def test_the_python_of_the_readme_reads_an_epoch_and_loads_no_dagster(tmp_path: Path) -> None:
    program = block("From Python", "python")
    no_dagster = "import sys; assert 'dagster' not in sys.modules"
    assert NODE in program
    with serving(Scenario(seconds_per_block=0, epochs=20, operators=3)) as node:
        done = subprocess.run(
            [sys.executable, "-"],
            input=program.replace(NODE, node.url) + no_dagster,
            cwd=tmp_path,
            env={**os.environ, "POLARS_TABLE_WIDTH": "200", "POLARS_FMT_STR_LEN": "99"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        truth = max(truth_of(node.chain), key=lambda epoch: epoch.epoch)
    assert (done.returncode, done.stderr) == (0, "")
    for operator, told in truth.operators.items():
        row = rf"│ {truth.epoch} +┆ {operator} +┆ {told.stake} +┆ {told.shares} +┆ su\w+ +│"
        assert re.search(row, done.stdout), done.stdout
