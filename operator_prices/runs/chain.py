"""The chain of a command, held against the chain that its database is of."""

from collections.abc import Iterator
from contextlib import contextmanager

from operator_prices import store
from operator_prices.chain import PATIENCE, Chain, Head, Reach, connect
from operator_prices.defs.resources import share
from operator_prices.local import dagster_home
from operator_prices.settings import Settings

HEAD_PATIENCE, HEAD_WITHIN = 15.0, 50.0
"""Seconds to wait for how far the chain is: without an answer of the node, and in all."""


@contextmanager
def connected_chain(
    settings: Settings, *, patience: float = PATIENCE, within: float | None = None
) -> Iterator[Chain]:
    """The chain behind the node of `settings`; refuses one that the database is not of."""
    with connect(
        str(settings.archive_node_url),
        domain_id=settings.domain_id,
        cache=settings.data_dir / "runtimes",
        depth=settings.confirmation_depth,
        requests_per_second=_share(settings, settings.requests_per_second),
        authorization=settings.archive_node_authorization,
        patience=patience,
        within=within,
    ) as reader:
        with store.connect(str(settings.database_url)) as connection:
            store.refuse_other_chain(connection, reader.genesis_hash, reader.domain_id)
        yield reader


def chain_extent(settings: Settings) -> tuple[Head, Reach]:
    """How far the chain is, and how far back the node goes.

    Raises `WrongChainError` if the database holds another chain's data.
    """
    with connected_chain(settings, patience=HEAD_PATIENCE, within=HEAD_WITHIN) as reader:
        return reader.head(), reader.reach()


def _share(settings: Settings, total: float | None) -> float | None:
    """A command's part of what the node may be asked in all: as much as a run has."""
    if total is None:
        return None
    with dagster_home.opened_instance(settings) as dagster:
        return share(total, dagster)
