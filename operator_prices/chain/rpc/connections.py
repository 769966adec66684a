"""One connection to a node, by WebSocket or HTTP: requests go out, messages come in."""

import asyncio
import ssl
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Literal

import aiohttp
import orjson
from aiohttp import TCPConnector
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyType

from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.messages import Message, Refusal, has_id, parsed
from operator_prices.chain.rpc.proxies import Proxy
from operator_prices.chain.rpc.refusals import (
    TOO_BIG_CLOSE,
    TOO_OFTEN_CODES,
    ConnectionLostError,
    NoJsonRpcError,
    ProxyRefusedError,
    ProxyUnreachableError,
    TooBigMessageError,
    of_whom_it_is_not_said,
)

JSON = "application/json"

KINDS = {
    "http": ProxyType.HTTP,
    "https": ProxyType.HTTP,
    "socks4": ProxyType.SOCKS4,
    "socks5": ProxyType.SOCKS5,
    "socks5h": ProxyType.SOCKS5,
}

TOLD_CODES = TOO_OFTEN_CODES | {HTTPStatus.REQUEST_ENTITY_TOO_LARGE}
"""HTTP statuses that are told as the error of one request, whatever the body is."""

POSTS = 64
"""HTTP connections at a time, of which a node allows 100 in all unless it is told otherwise."""

CONNECTING = 0.5
"""Seconds that are left for who connects at the last moment to say so."""

CLOSING = 1.0
"""Seconds to wait for a goodbye, which a node that hangs never says."""


async def connected(endpoint: Endpoint, within: float) -> "WebSocket | Http":
    """Connect within so many seconds; HTTP connects when something is sent.

    Who is connected to and then says nothing makes a `TimeoutError`, who is not connected to an
    `aiohttp.ConnectionTimeoutError`.
    """
    proxy = endpoint.proxy
    forwarded = proxy is not None and proxy.is_http and endpoint.url.startswith("http:")
    passed_on = proxy.headers if proxy is not None and forwarded else {}
    session = aiohttp.ClientSession(
        headers={**endpoint.headers, **passed_on, "Content-Type": JSON},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=within),
        connector=_tunnel(proxy) if proxy and not forwarded else TCPConnector(limit=POSTS),
        proxy=proxy.url if proxy is not None and forwarded else None,
    )
    if endpoint.is_http:
        return Http(session, endpoint.url)
    try:
        async with asyncio.timeout(within + CONNECTING):
            socket = await session.ws_connect(
                endpoint.url,
                max_msg_size=0,
                compress=0,
                decode_text=False,
                timeout=aiohttp.ClientWSTimeout(ws_close=CLOSING),
            )
    except BaseException as error:
        await session.close()
        raise _of_proxy(error) from error
    return WebSocket(session, socket)


def _tunnel(proxy: Proxy) -> ProxyConnector:
    """Connections through a proxy that lets everything pass: by CONNECT, or as SOCKS does."""
    user, password = proxy.user
    return ProxyConnector(
        proxy.host,
        proxy.port,
        proxy_type=KINDS[proxy.scheme],
        username=user,
        password=password,
        rdns=True,
        proxy_ssl=ssl.create_default_context() if proxy.scheme == "https" else None,
        limit=POSTS,
    )


def _of_proxy(error: BaseException) -> BaseException:
    """What a proxy's error is to who knows none of `aiohttp_socks`."""
    if isinstance(error, ProxyError):
        return ProxyRefusedError(str(error), error.error_code)
    if isinstance(error, ProxyConnectionError):
        return ProxyUnreachableError(str(error))
    return error


def _of_one(answer: Message) -> dict[str, Any]:
    """The answer to one request; raises where it is of none."""
    if isinstance(answer, Refusal):
        raise of_whom_it_is_not_said(answer.error)
    if isinstance(answer, list):
        raise NoJsonRpcError("an answer is no JSON-RPC object")
    return answer


def _array_or_error(body: bytes, status: int) -> Any:  # noqa: ANN401
    """The answers to a batch, or the error that stands for all of them."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        answer = None
    if isinstance(answer, list) and status < HTTPStatus.BAD_REQUEST:
        return answer
    if isinstance(answer, dict) and "error" in answer and status not in TOLD_CODES:
        return answer["error"]
    return {"code": status, "message": f"HTTP {status}"}


class WebSocket:
    """Sends requests and receives answers over one socket."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        socket: aiohttp.ClientWebSocketResponse[Literal[False]],
    ) -> None:
        self._session = session
        self._socket = socket

    async def send(self, numbers: Sequence[int], payload: bytes) -> None:  # noqa: ARG002 - as `Http`
        await self._socket.send_frame(payload, aiohttp.WSMsgType.TEXT)

    async def receive(self) -> Message:
        message = await self._socket.receive()
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            return parsed(message.data)
        reason = f"the connection was closed ({self._socket.close_code})"
        if self._socket.close_code == TOO_BIG_CLOSE:
            raise TooBigMessageError(reason)
        raise ConnectionLostError(reason)

    async def close(self) -> None:
        await self._socket.close()
        await self._session.close()


class Http:
    """Makes POST requests look like a connection: what is sent is answered later, in any order."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._answers: asyncio.Queue[Message | Exception] = asyncio.Queue()
        self._posts: set[asyncio.Task[None]] = set()

    async def send(self, numbers: Sequence[int], payload: bytes) -> None:
        alone = len(numbers) == 1
        post = self._post(numbers[0], payload) if alone else self._post_batch(payload)
        task = asyncio.create_task(post)
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post_batch(self, payload: bytes) -> None:
        """Whatever answers a batch and is no array says that it is refused."""
        try:
            async with self._session.post(self._url, data=payload) as response:
                answer = _array_or_error(await response.read(), response.status)
        except Exception as error:  # noqa: BLE001 - raised where answers are waited for
            await self._answers.put(error)
            return
        await self._answers.put(answer if isinstance(answer, list) else Refusal(answer))

    async def _post(self, number: int, payload: bytes) -> None:
        try:
            async with self._session.post(self._url, data=payload) as response:
                body = await response.read()
                told = response.ok or response.status in TOLD_CODES or has_id(body)
                if not told:
                    response.raise_for_status()
            if response.status in TOLD_CODES:
                refusal = {"code": response.status, "message": f"HTTP {response.status}"}
                body = orjson.dumps({"id": number, "error": refusal})
            answer = _of_one(parsed(body))
        except Exception as error:  # noqa: BLE001 - raised where answers are waited for
            await self._answers.put(error)
            return
        await self._answers.put(answer)

    async def receive(self) -> Message:
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise _of_proxy(answer) from answer
        return answer

    async def close(self) -> None:
        for task in self._posts:
            task.cancel()
        await self._session.close()
