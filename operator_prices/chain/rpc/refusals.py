"""What the errors and the lost connections of a node mean, and what to do about them."""

import re

import aiohttp

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    NodeBehindError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
)
from operator_prices.chain.rpc.endpoints import Endpoint

METHOD_NOT_FOUND = -32601
FATAL_CODES = {-32600, METHOD_NOT_FOUND, -32602}
"""Invalid request, unknown method, invalid parameters: asking again changes nothing."""

TOO_OFTEN_CODES = {429, 503, -32029, -32005}
"""What nodes and the proxies before them answer to a client that asks too often."""

NOT_ALLOWED_CODES = {401, 403, 407}


class ConnectionLostError(Exception):
    """The connection ended, or said something that is no answer."""


class NoJsonRpcError(ConnectionLostError):
    """What was said is no JSON-RPC."""


_SPEAKING = (
    ConnectionLostError,
    aiohttp.ClientConnectorError,
    aiohttp.ServerDisconnectedError,
    ConnectionError,
)
"""Errors whose text can be shown; that of others may repeat the whole URL with its token."""


def text_of(error: object) -> str:
    if isinstance(error, dict):
        parts = [str(error[name]) for name in ("message", "data") if error.get(name)]
        return ": ".join(parts) or str(error)
    return str(error)


_DISCARDED = re.compile(r"state already discarded|state .*pruned|missing trie", re.IGNORECASE)
_UNKNOWN_BLOCK = re.compile(r"header was not found|(unknown|missing) block", re.IGNORECASE)
_TOO_OFTEN = re.compile(r"rate.?limit|too many|limit exceeded", re.IGNORECASE)


def of_answer(error: object, endpoint: Endpoint) -> ChainError:
    """The typed error for a JSON-RPC `error`; only `RefusedError` says that asking on is vain."""
    text = text_of(error)
    code = error.get("code") if isinstance(error, dict) else None
    if _DISCARDED.search(text):
        return ArchiveNeededError(
            f"{endpoint} no longer has this state ({text}): use an archive node, one that runs with"
            " --state-pruning archive --blocks-pruning archive."
        )
    if _UNKNOWN_BLOCK.search(text):
        return NodeBehindError(
            f"{endpoint} does not know a block it should ({text}): it is behind or on another fork;"
            " wait until it has caught up, or use another node."
        )
    if code in TOO_OFTEN_CODES or _TOO_OFTEN.search(text):
        return _rate_limited(endpoint, text)
    if code == METHOD_NOT_FOUND:
        return RefusedError(
            f"{endpoint} does not offer a method that an archive node has ({text}): use another"
            " node, or allow its methods."
        )
    if code in FATAL_CODES:
        return RefusedError(f"{endpoint} refused a request: {text}.")
    return NodeUnreachableError(
        f"{endpoint} keeps answering with an error ({text}): see its log, or use another node."
    )


def _rate_limited(endpoint: Endpoint, reason: str) -> RateLimitedError:
    return RateLimitedError(
        f"{endpoint} limits how often it answers ({reason}): lower REQUESTS_PER_SECOND or use"
        " another node."
    )


def of_loss(error: Exception, endpoint: Endpoint) -> ChainError:
    """The typed error for what ended a connection."""
    if isinstance(error, ChainError):
        return error
    reason = type(error).__name__
    if isinstance(error, _SPEAKING):
        reason = str(error) or reason
    if isinstance(error, aiohttp.ClientResponseError):  # a refused WebSocket is one, too
        reason = f"HTTP {error.status}"
        if error.status in TOO_OFTEN_CODES:
            return _rate_limited(endpoint, reason)
        if error.status in NOT_ALLOWED_CODES:
            return RefusedError(
                f"{endpoint} refuses our authorization ({reason}): put user and password into"
                " ARCHIVE_NODE_URL, or set ARCHIVE_NODE_AUTHORIZATION."
            )
        if error.status < 500:  # noqa: PLR2004 - above, it is the server's trouble
            return NotASubstrateNodeError(
                f"{endpoint} is no Substrate node (it answered with {reason}): set ARCHIVE_NODE_URL"
                " to a node's RPC address."
            )
    if isinstance(error, NoJsonRpcError):
        return NotASubstrateNodeError(
            f"{endpoint} does not answer as a Substrate node does ({reason}): set ARCHIVE_NODE_URL"
            " to a node's RPC address."
        )
    if isinstance(error, TimeoutError):
        reason = "no answer in time"
    return NodeUnreachableError(
        f"{endpoint} cannot be reached ({reason}): start the node, or set ARCHIVE_NODE_URL to one"
        " that runs."
    )
