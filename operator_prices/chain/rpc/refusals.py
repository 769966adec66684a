"""What the errors and the lost connections of a node mean, and what to do about them."""

import re

import aiohttp
from aiohttp_socks import ProxyTimeoutError

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    NodeBehindError,
    NodeHangsError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    TooBigError,
)
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.proxies import Proxy

METHOD_NOT_FOUND = -32601
FATAL_CODES = {-32600, METHOD_NOT_FOUND, -32602}
"""Invalid request, unknown method, invalid parameters: asking again changes nothing."""

TOO_BIG_CODES = {413, -32007, -32008, -32010, -32011}
"""What nodes and the proxies before them answer to what is larger than they let pass."""

TOO_BIG_CLOSE = 1009
"""The code with which a WebSocket is closed after a message that is too big."""

TOO_OFTEN_CODES = {429, 503, -32029, -32005}
"""What nodes and the proxies before them answer to a client that asks too often."""

NOT_ALLOWED_CODES = {401, 403, 407}

PROXY_ASKS_WHO = 407


class ConnectionLostError(Exception):
    """The connection ended, or said something that is no answer."""


class NoJsonRpcError(ConnectionLostError):
    """What was said is no JSON-RPC."""


class TooBigMessageError(ConnectionLostError):
    """The connection ended since a message was too big for it."""


class ProxyUnreachableError(ConnectionLostError):
    """The proxy before the node cannot be reached."""


class ProxyRefusedError(ConnectionLostError):
    """The proxy before the node does not let us through."""

    def __init__(self, reason: str, status: int | None) -> None:
        super().__init__(reason)
        self.status = status


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
_TOO_BIG = re.compile(
    r"(too|so) (big|large)|oversized|exceed\w* .*size|size .*exceed", re.IGNORECASE
)
_BATCH = re.compile(r"batch|array", re.IGNORECASE)
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
    if _is_too_big(error):
        return _too_big(endpoint, text)
    if code in TOO_OFTEN_CODES or _TOO_OFTEN.search(text):
        return _rate_limited(endpoint, text)
    if code in FATAL_CODES:
        return _fatal(code, text, endpoint)
    return NodeUnreachableError(
        f"{endpoint} keeps answering with an error ({text}): see its log, or use another node."
    )


def _is_too_big(error: object) -> bool:
    code = error.get("code") if isinstance(error, dict) else None
    return code in TOO_BIG_CODES or _TOO_BIG.search(text_of(error)) is not None


def of_whom_it_is_not_said(error: object) -> ConnectionLostError:
    """An error that bears no number of a request, where none was sent in a batch."""
    kind = TooBigMessageError if _is_too_big(error) else ConnectionLostError
    return kind(text_of(error))


def of_batch(error: object, endpoint: Endpoint) -> ChainError:
    """The typed error for one in place of all the answers to a batch.

    -32005 says that we ask too often, or of other nodes that they take no batches.
    """
    if _BATCH.search(text_of(error)) and not _TOO_BIG.search(text_of(error)):
        return RefusedError(f"{endpoint} takes no batches: {text_of(error)}.")
    return of_answer(error, endpoint)


def _fatal(code: object, text: str, endpoint: Endpoint) -> RefusedError:
    if code == METHOD_NOT_FOUND:
        return RefusedError(
            f"{endpoint} does not offer a method that an archive node has ({text}): use another"
            " node, or allow its methods."
        )
    return RefusedError(f"{endpoint} refused a request: {text}.")


def _too_big(endpoint: Endpoint, reason: str) -> TooBigError:
    return TooBigError(
        f"{endpoint} does not let so much pass at once ({reason}): raise its limit"
        " (--rpc-max-request-size, --rpc-max-response-size, or that of the proxy before it), or use"
        " another node."
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
    if endpoint.proxy is not None and (refusal := _of_proxy(error, endpoint, endpoint.proxy)):
        return refusal
    if isinstance(error, TooBigMessageError):
        return _too_big(endpoint, str(error))
    reason = type(error).__name__
    if isinstance(error, _SPEAKING):
        reason = str(error) or reason
    if isinstance(error, aiohttp.ClientResponseError):  # a refused WebSocket is one, too
        reason = f"HTTP {error.status}"
        if error.status < 500 or error.status in TOO_OFTEN_CODES:  # noqa: PLR2004
            return _of_status(error.status, endpoint)
    if isinstance(error, NoJsonRpcError):
        return NotASubstrateNodeError(
            f"{endpoint} does not answer as a Substrate node does ({reason}): set ARCHIVE_NODE_URL"
            " to a node's RPC address."
        )
    if isinstance(error, TimeoutError):
        reason = "no answer in time"
    way = f" through {endpoint.proxy}" if endpoint.proxy else ""
    return NodeUnreachableError(
        f"{endpoint} cannot be reached{way} ({reason}): start the node, or set ARCHIVE_NODE_URL to"
        " one that runs."
    )


def _of_status(status: int, endpoint: Endpoint) -> ChainError:
    """The typed error for an HTTP status that is no trouble within the server."""
    reason = f"HTTP {status}"
    if status in TOO_OFTEN_CODES:
        return _rate_limited(endpoint, reason)
    if status in NOT_ALLOWED_CODES:
        return RefusedError(
            f"{endpoint} refuses our authorization ({reason}): put user and password into"
            " ARCHIVE_NODE_URL, or set ARCHIVE_NODE_AUTHORIZATION."
        )
    return NotASubstrateNodeError(
        f"{endpoint} is no Substrate node (it answered with {reason}): set ARCHIVE_NODE_URL to a"
        " node's RPC address."
    )


def _of_proxy(error: Exception, endpoint: Endpoint, proxy: Proxy) -> ChainError | None:
    """The typed error for what a proxy did, None where it was not the proxy."""
    if isinstance(error, aiohttp.ClientProxyConnectionError | ProxyUnreachableError):
        return NodeUnreachableError(
            f"{endpoint} cannot be reached, since {proxy} does not answer ({error}): start the"
            " proxy, or name the node's host in NO_PROXY."
        )
    status = error.status if isinstance(error, aiohttp.ClientResponseError) else None
    if isinstance(error, ProxyRefusedError):
        status = error.status
    if status == PROXY_ASKS_WHO:
        return RefusedError(
            f"{proxy} asks who we are (HTTP {status}): put user and password into"
            f" {proxy.variable}, as http://user:password@host:port."
        )
    if isinstance(error, ProxyRefusedError):
        return NodeUnreachableError(
            f"{endpoint} cannot be reached, since {proxy} does not let us through ({error}): allow"
            " it there, or name the node's host in NO_PROXY."
        )
    return None


def of_silence(loss: Exception | None, endpoint: Endpoint, seconds: float) -> ChainError:
    """The typed error for an endpoint from which no answer came in so many seconds.

    `loss` is what ended the last connection to it, None where there was one all the time.
    """
    never = (aiohttp.ConnectionTimeoutError, ProxyTimeoutError)
    if loss is not None and (not isinstance(loss, TimeoutError) or isinstance(loss, never)):
        return of_loss(loss, endpoint)
    way = f" through {endpoint.proxy}" if endpoint.proxy else ""
    return NodeHangsError(
        f"{endpoint} hangs: connected{way}, no answer for {seconds:.0f} s; restart the node, or set"
        " ARCHIVE_NODE_URL to one that answers."
    )
