"""Requests that can be asked in parts, where an answer or a request is too big for a gateway."""

from typing import Any

from operator_prices.chain.rpc.messages import Request

LISTS = {"state_queryStorageAt", "chain_getBlockHash"}
"""Methods whose first parameter is a list, with an answer that is one of what each entry has."""

LISTING = "state_getKeysPaged"
"""The method whose second parameter is how many entries are answered, at most."""


def size(request: Request) -> int:
    """How many entries a request asks for; 1 where it cannot be divided."""
    method, params = request
    divisible = method in LISTS and params and isinstance(params[0], list)
    return len(params[0]) if divisible else 1


def weight(request: Request) -> int:
    """How many entries a request asks for or is answered with, at most."""
    method, params = request
    return int(params[1]) if method == LISTING and len(params) > 1 else size(request)


def halves(request: Request) -> tuple[Request, Request]:
    """Two requests whose answers `joined` makes one; `size` must be at least 2."""
    method, (entries, *rest) = request
    middle = len(entries) // 2
    return (method, [entries[:middle], *rest]), (method, [entries[middle:], *rest])


def joined(first: Any, second: Any) -> Any:  # noqa: ANN401
    """The answer to a request from those to its halves; None where they are no lists."""
    return first + second if isinstance(first, list) and isinstance(second, list) else None
