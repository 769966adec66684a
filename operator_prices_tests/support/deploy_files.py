"""What is in `deploy/`: read as its readers do, and run as the image does."""

import os
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

import yaml

from operator_prices.settings import PROJECT

DEPLOY = PROJECT / "deploy"

SCRIPTS = Path(sysconfig.get_path("scripts"))


def read(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())
    return found


def run(*command: object) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": f"{SCRIPTS}:{os.environ['PATH']}", "DEPLOY": str(DEPLOY)}
    return subprocess.run(
        [str(part) for part in command],
        cwd=PROJECT,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
