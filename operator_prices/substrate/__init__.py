"""The adapter to an archive node: the only code that knows Substrate."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from operator_prices.substrate.endpoint import Endpoint
from operator_prices.substrate.reader import SubstrateChain
from operator_prices.substrate.rpc import Rpc


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
    """Read `domain_id` from the nodes at `urls`, separated by commas, the first one first.

    Nothing is sent before something is asked.
    """
    endpoints = Endpoint.parse_all(urls, authorization)
    with Rpc(endpoints, requests_per_second=requests_per_second) as rpc:
        yield SubstrateChain(rpc, domain_id=domain_id, cache=cache, depth=depth)
