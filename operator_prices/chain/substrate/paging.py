"""Keys that must be listed, since they are not computable: page by page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from operator_prices.chain.errors import NotASubstrateNodeError
from operator_prices.chain.rpc.parts import LISTING
from operator_prices.chain.rpc.rounds import Rounds, alone
from operator_prices.chain.substrate.node import Node

if TYPE_CHECKING:
    from operator_prices.chain.rpc.messages import Request

PAGE = 1000
"""Keys that a node lists in one answer, at most."""


class Span(NamedTuple):
    """Some keys with a common beginning at a block: those above `start`, up to `stop`."""

    prefix: str
    block_hash: str
    start: str | None = None
    stop: str | None = None


def keys(node: Node, wanted: Sequence[Span]) -> list[list[str]]:
    """All keys of some spans, a thousand keys a request."""
    return alone(node.rpc, listing(node, wanted), together=PAGE * len(wanted))


def listing(node: Node, wanted: Sequence[Span]) -> Rounds[list[list[str]]]:
    """Ask for all keys of some spans, of each a page at a time."""
    found: list[list[str]] = [[] for _ in wanted]
    unfinished = list(range(len(wanted)))
    while unfinished:
        requests: list[Request] = []
        for i in unfinished:
            span = wanted[i]
            start = found[i][-1] if found[i] else span.start
            requests.append((LISTING, [span.prefix, PAGE, start, span.block_hash]))
        going_on = []
        for i, page in zip(unfinished, (yield requests), strict=True):
            if not isinstance(page, list):
                raise NotASubstrateNodeError(
                    f"{node} does not answer {LISTING} with a list: use another node."
                )
            found[i] += page
            stop = wanted[i].stop
            if len(page) == PAGE and (stop is None or page[-1] < stop):
                going_on.append(i)
        unfinished = going_on
    return [
        [key for key in listed if span.stop is None or key <= span.stop]
        for span, listed in zip(wanted, found, strict=True)
    ]
