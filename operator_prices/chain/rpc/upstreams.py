"""What has become of each endpoint of a client, and why none of them is of use."""

from collections.abc import Iterable
from dataclasses import dataclass

from operator_prices.chain.errors import ChainError
from operator_prices.chain.rpc import refusals
from operator_prices.chain.rpc.endpoints import Endpoint


@dataclass(slots=True, eq=False)
class Upstream:
    """An endpoint and what has become of it."""

    endpoint: Endpoint
    failures: int = 0
    """Connections in a row that brought no answer."""
    loss: Exception | None = None
    """Why the last of them ended."""
    out: ChainError | None = None
    """Why nothing is to be expected of it any more."""


def all_reasons(upstreams: Iterable[Upstream]) -> ChainError:
    """One error that says of each endpoint why it is of no use; the first gives it its type."""
    reasons = []
    for upstream in upstreams:
        if upstream.out is not None:
            reasons.append(upstream.out)
        if upstream.loss is not None:
            reasons.append(refusals.of_loss(upstream.loss, upstream.endpoint))
    return type(reasons[0])(" ".join(str(reason) for reason in reasons))
