"""The parts of the pipeline that connect to the database: their names there, and their shares."""

import multiprocessing
import sys
from pathlib import Path

PREFIX = "operator-prices"

API_SMALL, API_LARGE = 2, 2
"""For answers that hold a connection for a millisecond, and for as long as a client reads."""

API_STREAM = 1
"""Listens for new epochs."""

WEBSERVER, WEBSERVER_MORE = 1, 2
"""What the one pool of the Dagster UI keeps, and what it may open for a moment."""

STORAGE = 2
"""Dagster's tables, for daemon, code server, runs and commands together: they take turns."""

RUNS = 3
"""As many as `dagster.yaml` lets run at a time, each with one connection to our tables."""

SENSORS = 1
"""To our tables, for as long as a sensor looks."""

PROGRAMS = {
    "dagster": "code-server",
    "dagster-daemon": "daemon",
    "dagster-webserver": "webserver",
}


def part() -> str:
    """What this process is."""
    if multiprocessing.parent_process() is not None:
        return "run"  # the code server's worker
    if sys.argv[1:2] == ["worker"]:
        return "run"  # Celery's
    return PROGRAMS.get(Path(sys.argv[0]).name, "command")


def application_name(name: str = "") -> str:
    """What `pg_stat_activity` shows of a connection: its own `name`, else that of the part."""
    return f"{PREFIX} {name or part()}"
