"""Where the pipeline reaches outside. A resource is a recipe; an asset is handed the thing."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import psycopg

from operator_prices import store
from operator_prices.chain import Chain, connect
from operator_prices.defs import signs_of_life
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


@dg.resource(
    config_schema={"url": dg.StringSource, "data_dir": dg.StringSource},
    required_resource_keys={"database"},  # first of all a run gives a sign of life
    description="An archive node; several addresses, separated by commas, stand in for each other."
    " The chain's runtimes are kept below `data_dir`.",
)
@contextmanager
def archive_node(context: dg.InitResourceContext) -> Iterator[Chain]:
    settings = Settings.read()
    with connect(
        context.resource_config["url"],
        domain_id=settings.domain_id,
        cache=Path(context.resource_config["data_dir"]) / "runtimes",
        depth=settings.confirmation_depth,
        requests_per_second=share(settings.requests_per_second, context.instance),
        authorization=settings.archive_node_authorization,
        **({} if context.run else {"patience": PATIENCE, "within": WITHIN}),
    ) as chain:
        yield chain


class Database(dg.ConfigurableResource[psycopg.Connection]):
    """The Postgres that the tables are in; a run that has it gives signs of life."""

    dsn: str

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[psycopg.Connection]:
        with signs_of_life.connected(understood(self.dsn), context) as connection:
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
