"""Read one domain of a chain from archive nodes; knows no database and no Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    DomainMissingError,
    NodeBehindError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
)
from operator_prices.chain.port import (
    AMOUNT,
    EPOCH_FACTS,
    OPERATOR_FACTS,
    PRICE_FACTS,
    QUARANTINED,
    SKIPPED,
    STAKING,
    Chain,
    EpochStates,
    Head,
)
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate.reader import SubstrateChain

__all__ = [
    "AMOUNT",
    "EPOCH_FACTS",
    "OPERATOR_FACTS",
    "PRICE_FACTS",
    "QUARANTINED",
    "SKIPPED",
    "STAKING",
    "ArchiveNeededError",
    "Chain",
    "ChainError",
    "DomainMissingError",
    "Endpoint",
    "EpochStates",
    "Head",
    "NodeBehindError",
    "NodeUnreachableError",
    "NotASubstrateNodeError",
    "RateLimitedError",
    "RefusedError",
    "WrongChainError",
    "connect",
]


@contextmanager
def connect(
    urls: str,
    *,
    domain_id: int,
    cache: Path,
    depth: int = 0,
    requests_per_second: float | None = None,
    authorization: str | None = None,
) -> Iterator[SubstrateChain]:
    """A reader of `domain_id` behind the endpoints of `urls`, which are separated by commas.

    Nothing is sent before something is asked.
    """
    endpoints = Endpoint.parse_all(urls, authorization)
    with Rpc(endpoints, requests_per_second=requests_per_second) as rpc:
        yield SubstrateChain(rpc, domain_id=domain_id, cache=cache, depth=depth)
