"""What Dagster's own commands work with where nothing is set: database and node of the data dir."""

import atexit
import os
import sys
from contextlib import ExitStack
from pathlib import Path

from operator_prices.local import dagster_home
from operator_prices.local.database import migrated_database
from operator_prices.local.node import announced, served_chain, usable_node
from operator_prices.settings import Settings

STORAGE = "DAGSTER_PG_URL"
"""The variable that tells Dagster's processes their storage; who has it needs nothing of this."""

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
        told = dagster_home.dagster_environment(settings)
        told.pop("DAGSTER_HOME")
        os.environ.update(told)
    return os.environ[STORAGE]


def _is_dev() -> bool:
    """Whether this process is `dagster dev`, which `dg dev` becomes, too."""
    return Path(sys.argv[0]).name == "dagster" and "dev" in sys.argv[1:]
