"""Where the pipeline reaches outside. A resource is a recipe; an asset is handed the thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import Chain, connect
from operator_prices.postgres.address import understood
from operator_prices.settings import Settings

NODE_POOL = "archive_node"
"""Whatever asks the node much takes a slot of this pool."""

PATIENCE, WITHIN = 12.0, 40.0
"""Seconds that a sensor waits without an answer of the node, and in all: a tick has 60."""

WITHOUT_SLOT = 3
"""Two sensors that ask the node how far it is, and a command, each on a connection of its own."""


@dg.resource
def environment_options(_: dg.InitResourceContext) -> Settings:
    """The settings that need not be set, as the environment has them when they are needed."""
    return Settings.read()


class ArchiveNode(dg.ConfigurableResource[Chain]):
    """An archive node; several addresses, separated by commas, stand in for each other."""

    url: str
    data_dir: str
    """Where the chain's runtimes are kept."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[Chain]:
        options = Settings.read()
        with connect(
            self.url,
            domain_id=options.domain_id,
            cache=Path(self.data_dir) / "runtimes",
            depth=options.confirmation_depth,
            requests_per_second=share(options.requests_per_second, context.instance),
            authorization=options.archive_node_authorization,
            **({} if context.run else {"patience": PATIENCE, "within": WITHIN}),
        ) as chain:
            yield chain


class Database(dg.ConfigurableResource[psycopg.Connection]):
    """The Postgres that the tables are in."""

    dsn: str

    @contextmanager
    def yield_for_execution(self, _: dg.InitResourceContext) -> Iterator[psycopg.Connection]:
        with store.connect(understood(self.dsn)) as connection:
            store.refuse_hidden(connection)
            yield connection


def share(total: float | None, instance: dg.DagsterInstance | None) -> float | None:
    """One connection's part of what the node may be asked in all, in requests a second.

    Each slot of the pool has one part, and so has each of those who ask little and take no slot:
    the limit holds whatever runs, and on whichever machine.
    """
    if total is None or instance is None:
        return total
    return total / (pool_slots(instance, NODE_POOL) + WITHOUT_SLOT)


def pool_slots(instance: dg.DagsterInstance, pool: str) -> int:
    """How many steps of the pool may run at once, on all machines together."""
    limit = instance.event_log_storage.get_concurrency_info(pool).limit
    return limit or instance.global_op_concurrency_default_limit or 1
