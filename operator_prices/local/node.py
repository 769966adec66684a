"""The node of a command: the one that the settings name, else the development chain."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from operator_prices import store
from operator_prices.local.leftovers import lock
from operator_prices.local.ports import LOOPBACK, free_port, listening
from operator_prices.local.supervisor import Child, Supervisor
from operator_prices.settings import Settings

HISTORY = 240
"""Epochs of history that a new development chain begins with."""


@contextmanager
def usable_node(settings: Settings) -> Iterator[Settings]:
    """The settings with a node; without one they name, the development chain that `up` serves.

    Where none is served, one is started for as long as it is needed.
    """
    if settings.archive_node_url is not None:
        yield settings
    elif (served := served_chain(settings.data_dir)) is not None:
        yield settings.with_node(served)
    else:
        with lock(settings.data_dir), Supervisor(settings.data_dir) as children:
            yield start_development_chain(children, settings)


def start_development_chain(children: Supervisor, settings: Settings) -> Settings:
    """Start the development chain where it left off; return the settings that name it."""
    port = free_port(LOOPBACK)
    url = f"ws://{LOOPBACK}:{port}"

    def argv() -> list[str]:
        history = max(HISTORY, _stored_epochs(settings) + 1)
        return [
            *(sys.executable, "-m", "operator_prices.devchain"),
            *("--port", str(port), "--epochs", str(history)),
            *("--careers-over", str(HISTORY)),
        ]

    children.start(
        Child(
            name="devchain",
            argv=argv,
            log=settings.data_dir / "logs" / "devchain.log",
            ready=listening(LOOPBACK, port),
        )
    )
    return settings.with_node(url)


@contextmanager
def announced(settings: Settings) -> Iterator[None]:
    """Let other commands on the same data directory find the development chain that is served."""
    notice = _notice(settings.data_dir)
    process = psutil.Process()
    notice.write_text(
        json.dumps(
            {
                "url": settings.archive_node_url,
                "pid": process.pid,
                "started": process.create_time(),
            }
        )
    )
    try:
        yield
    finally:
        notice.unlink(missing_ok=True)


def served_chain(data_dir: Path) -> str | None:
    """The address of the development chain that `up` serves from a data directory, if it does."""
    try:
        known = json.loads(_notice(data_dir).read_text())
        if psutil.Process(known["pid"]).create_time() == known["started"]:
            return str(known["url"])
    except (FileNotFoundError, psutil.NoSuchProcess):
        pass
    return None


def _notice(data_dir: Path) -> Path:
    return data_dir / "devchain.json"


def _stored_epochs(settings: Settings) -> int:
    """The last stored epoch, -1 in a database that holds none."""
    with store.connect(str(settings.database_url)) as connection:
        return store.last_epoch(connection)
