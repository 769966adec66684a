"""Keys that must be listed, since they are not computable: page by page."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from operator_prices.chain.errors import NotASubstrateNodeError
from operator_prices.chain.substrate.node import Node

if TYPE_CHECKING:
    from operator_prices.chain.rpc.messages import Request

PAGE = 1000
"""Keys that a node lists in one answer, at most."""


def keys(node: Node, wanted: Sequence[tuple[str, str]]) -> list[list[str]]:
    """All keys that begin with some prefixes, each at a block, a thousand keys a request."""
    found: list[list[str]] = [[] for _ in wanted]
    unfinished = list(range(len(wanted)))
    while unfinished:
        requests: list[Request] = []
        for i in unfinished:
            prefix, block_hash = wanted[i]
            start = found[i][-1] if found[i] else None
            requests.append(("state_getKeysPaged", [prefix, PAGE, start, block_hash]))
        going_on = []
        for i, page in zip(unfinished, node.rpc.call_many(requests), strict=True):
            if not isinstance(page, list):
                raise NotASubstrateNodeError(
                    f"{node} does not answer state_getKeysPaged with a list: use another node."
                )
            found[i] += page
            if len(page) == PAGE:
                going_on.append(i)
        unfinished = going_on
    return found
