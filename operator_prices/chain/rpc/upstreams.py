"""What has become of each endpoint of a client, and why none of them is of use."""

from collections.abc import Iterable
from dataclasses import dataclass

from operator_prices.chain.errors import ChainError, NodeUnreachableError
from operator_prices.chain.rpc import refusals
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.patience import Patience


@dataclass(slots=True, eq=False)
class Upstream:
    """An endpoint and what has become of it."""

    endpoint: Endpoint
    together: int = 100
    """Requests that it takes in one message, a batch, as far as is known; many take one alone."""
    has_batched: bool = False
    """Whether it has ever answered a batch."""
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


def out_of_time(
    patience: Patience, one_silence: float, here: Upstream, upstreams: Iterable[Upstream]
) -> ChainError:
    """Why nobody is to wait any longer: no endpoint answers, or the one in use too slowly.

    `one_silence` is how long a connection may be without an answer before it is taken for dead.
    """
    silent = patience.silent
    if silent < min(patience.silence, one_silence):
        return NodeUnreachableError(
            f"{here.endpoint} answers too slowly: what was asked took longer than"
            f" {patience.within:.0f} s; see what keeps it busy, or use another node."
        )
    reason = refusals.of_silence(here.loss, here.endpoint, silent)
    others = [one for one in upstreams if one is not here and (one.out or one.loss)]
    return type(reason)(" ".join([str(reason), *(str(all_reasons([one])) for one in others)]))
