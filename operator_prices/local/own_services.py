"""What Dagster's own commands work with where nothing is set: database and node of the data dir."""

import atexit
import os
import sys
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import psutil

from operator_prices.local import dagster_home, leftovers
from operator_prices.local.database import migrated_database
from operator_prices.local.node import announced, served_chain, usable_node
from operator_prices.settings import Settings

STORAGE = "DAGSTER_PG_URL"
"""The variable that tells Dagster's processes their storage; who has it needs nothing of this."""

MARK = "OPERATOR_PRICES_SERVICES"
"""The variable by which whatever works with what was started for this process is known."""

END_SECONDS, GRACE_SECONDS = 5, 15
"""How long those have to end by themselves, and how long once they are told to."""

_kept = ExitStack()
"""What was started for this process, and ends with it."""


def storage_address() -> str:
    """The address of Dagster's storage: the one that is told, else that of our own database.

    Ours is started if it does not run, left alone if it does, and told to whatever this process
    starts. `dagster dev` gets a development chain the same way.
    """
    if not os.environ.get(STORAGE):
        settings = _kept.enter_context(migrated_database(Settings.read()))
        if settings.archive_node_url is None and (served := served_chain(settings.data_dir)):
            settings = settings.with_node(served)
        elif settings.archive_node_url is None and _is_dev():
            settings = _kept.enter_context(usable_node(settings))
            _kept.enter_context(announced(settings))
        atexit.register(_kept.close)
        os.environ[MARK] = mark = uuid4().hex
        _kept.callback(_end_users, mark)
        told = dagster_home.dagster_environment(settings)
        told.pop("DAGSTER_HOME")
        os.environ.update(told)
    return os.environ[STORAGE]


def _end_users(mark: str) -> None:
    """See the code servers and runs end that this process has started, before their database does.

    `dagster dev` does not wait for them, and a code server that finds no database when one of its
    runs has been interrupted would never end.
    """
    psutil.wait_procs(leftovers.bearing(MARK, mark), END_SECONDS)
    leftovers.end_all(lambda: leftovers.bearing(MARK, mark), GRACE_SECONDS)


def _is_dev() -> bool:
    """Whether this process is `dagster dev`, which `dg dev` becomes, too."""
    return Path(sys.argv[0]).name == "dagster" and "dev" in sys.argv[1:]
