"""Read one domain of a chain from archive nodes; knows no database and no Dagster."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operator_prices.chain.entries import (
    NOTHING,
    Entry,
    Pair,
    Prices,
    Unlocking,
    entries_of,
    histories_of,
)
from operator_prices.chain.entries import frame as nominators_frame
from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    DomainMissingError,
    NodeBehindError,
    NodeHangsError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
)
from operator_prices.chain.port import (
    AMOUNT,
    EPOCH_FACTS,
    NOMINATORS,
    OPERATOR_FACTS,
    PRICE_FACTS,
    QUARANTINED,
    SKIPPED,
    STAKING,
    TOTALS,
    Before,
    Chain,
    EpochStates,
    Head,
    Listing,
    Nominators,
    Reach,
)
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.client import PATIENCE
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.substrate.assembling import address_of
from operator_prices.chain.substrate.listing import LISTED as NOMINATOR_LISTING
from operator_prices.chain.substrate.reader import SubstrateChain
from operator_prices.chain.substrate.stakes import ITEMS as NOMINATOR_ITEMS

__all__ = [
    "AMOUNT",
    "EPOCH_FACTS",
    "NOMINATORS",
    "NOMINATOR_ITEMS",
    "NOMINATOR_LISTING",
    "NOTHING",
    "OPERATOR_FACTS",
    "PATIENCE",
    "PRICE_FACTS",
    "QUARANTINED",
    "SKIPPED",
    "STAKING",
    "TOTALS",
    "ArchiveNeededError",
    "Before",
    "Chain",
    "ChainError",
    "DomainMissingError",
    "Endpoint",
    "Entry",
    "EpochStates",
    "Head",
    "Listing",
    "NodeBehindError",
    "NodeHangsError",
    "NodeUnreachableError",
    "Nominators",
    "NotASubstrateNodeError",
    "Pair",
    "Prices",
    "RateLimitedError",
    "Reach",
    "RefusedError",
    "Unlocking",
    "WrongChainError",
    "address_of",
    "connect",
    "entries_of",
    "histories_of",
    "nominators_frame",
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
    patience: float = PATIENCE,
    within: float | None = None,
) -> Iterator[SubstrateChain]:
    """A reader of `domain_id` behind the endpoints of `urls`, which are separated by commas.

    Nothing is sent before something is asked. Whoever asks waits on while answers come, and
    `patience` seconds without any; with `within`, no more than so many seconds in all.
    """
    endpoints = Endpoint.parse_all(urls, authorization)
    limits = {"patience": patience, "within": within}
    with Rpc(endpoints, requests_per_second=requests_per_second, **limits) as rpc:
        yield SubstrateChain(rpc, domain_id=domain_id, cache=cache, depth=depth)
