"""The command line as a person runs it, with its settings in the environment."""

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = [sys.executable, "-m", "operator_prices"]


def run(*arguments: str, data_dir: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "DATA_DIR": str(data_dir), **settings}
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def sentence(done: subprocess.CompletedProcess[str]) -> str:
    """The one line that a command which cannot do its work ends with."""
    assert done.returncode == 1, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    (line,) = done.stderr.strip().splitlines()
    return line
