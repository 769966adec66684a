"""The node's door: JSON-RPC over WebSocket and over HTTP POST on one port."""

import asyncio
from asyncio import gather
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import orjson
from aiohttp import WSMsgType, web

from operator_prices.devchain.answers import failed, joined, within_limit
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.rpc import (
    SUBSCRIPTIONS,
    UNSUBSCRIPTIONS,
    Json,
    Rpc,
    RpcError,
    invalid_params,
)
from operator_prices.devchain.state import State

MAX_MESSAGE_BYTES = 15 * 1024 * 1024
BUFFERED_MESSAGES = 64
"""Messages of one connection that are worked on at once; further ones wait unread."""

_PATIENCE = 5
"""Seconds that a subscriber may take to read a notification."""


@dataclass(frozen=True, slots=True)
class Refused:
    """What a tamper returns to refuse at the level of HTTP; on a WebSocket, an error -32029."""

    status: int = 429
    reason: str = "Too many requests"


@dataclass(slots=True)
class Call:
    """One message of a client, on its way through a `Tamper`."""

    request: Json
    """What the client sent: a request; a whole batch of them only for who tampers with batches."""
    transport: str
    """`ws` or `http`."""
    connection: int
    """Number of the connection, counted from 1; an HTTP request is one of its own."""
    number: int
    """Position of the message on its connection, counted from 1."""
    total: int
    """Position among all messages the node ever received, counted from 1."""
    honest: Callable[[], Json]
    close: Callable[[], None]
    """Cut the connection, without a goodbye."""

    def answer(self) -> Json:
        """What the node would answer: a response, a list of them, or `None` for nothing."""
        return self.honest()


Tamper = Callable[[Call], Awaitable[Json]]
"""Decides what is sent for a call: JSON, `bytes` as they are, a `Refused`, or `None`, nothing."""


@dataclass(eq=False, slots=True)
class _Connection:
    number: int
    transport: asyncio.BaseTransport | None
    socket: web.WebSocketResponse | None = None
    subscriptions: dict[str, str] = field(default_factory=dict)
    """Names of subscriptions, and the methods that made them."""
    messages: Iterator[int] = field(default_factory=lambda: count(1))
    tasks: set[asyncio.Task[None]] = field(default_factory=set)


class Server:
    """Serves a chain, and lets it grow. All of it runs in one event loop."""

    def __init__(
        self,
        chain: DevChain,
        *,
        tamper: Tamper | None = None,
        batches: Tamper | None = None,
        batch_limit: int | None = None,
        latency_ms: float = 0,
    ) -> None:
        """`tamper` sees the requests of a batch one by one, `batches` sees each batch as a whole.

        `batch_limit` is how many requests a batch may have, with 0 none is taken, as the options of
        a node have it; without it any number.
        """
        self.chain = chain
        self._batches = batches
        self._batch_limit = batch_limit
        self._state = State(chain)
        self._rpc = Rpc(chain, self._state)
        self._tamper = tamper
        self._latency = latency_ms / 1000
        self._connections: set[_Connection] = set()
        self._connection_numbers = count(1)
        self._subscription_numbers = count(1)
        self._totals = count(1)
        self._runner: web.AppRunner | None = None
        self._producer: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int) -> int:
        """Listen, begin to produce blocks, and return the port."""
        app = web.Application(client_max_size=MAX_MESSAGE_BYTES)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        if self.chain.scenario.seconds_per_block > 0:
            self._producer = asyncio.create_task(self._produce_on())
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        if self._producer is not None:
            self._producer.cancel()
            await asyncio.gather(self._producer, return_exceptions=True)
        for connection in list(self._connections):
            if connection.socket is not None:
                await connection.socket.close()
        if self._runner is not None:
            await self._runner.cleanup()

    # --- the chain grows ---

    async def _produce_on(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self.chain.scenario.seconds_per_block
            await asyncio.sleep(due - loop.time())
            await self.produce(1)

    async def produce(self, blocks: int) -> None:
        for _ in range(blocks):
            finalized, runtime = self.chain.finalized, self.chain.next_runtime(self.chain.head)
            number = self.chain.produce()
            await self._announce(number, finalized, runtime)

    async def reorg(self, first: int, extra: int = 1) -> None:
        """Replace the blocks from `first` on; the new ones are announced."""
        finalized, runtime = self.chain.finalized, self.chain.next_runtime(self.chain.head)
        self.chain.reorg(first, extra=extra)
        self._state.forget()
        for number in range(first, self.chain.head + 1):
            await self._announce(number, finalized, runtime)

    async def _announce(self, number: int, finalized: int, runtime: int) -> None:
        """Tell the subscribers of a block, given what was finalized and running before it."""
        for connection in list(self._connections):
            try:
                async with asyncio.timeout(_PATIENCE):
                    await self._tell(connection, number, finalized, runtime)
            except TimeoutError:  # it does not read what it asked for, and must not stop the chain
                _cut(connection)

    async def _tell(
        self, connection: _Connection, number: int, finalized: int, runtime: int
    ) -> None:
        for name, method in list(connection.subscriptions.items()):
            if method == "state_subscribeRuntimeVersion":
                if self.chain.next_runtime(number) != runtime:
                    await self._notify(connection, name, method)
            elif method != "chain_subscribeFinalizedHeads":
                await self._notify(connection, name, method, number)
            elif self.chain.finalized > finalized:
                await self._notify(connection, name, method)

    async def _notify(
        self, connection: _Connection, name: str, method: str, number: int | None = None
    ) -> None:
        if method == "state_subscribeRuntimeVersion":
            result = self._rpc.runtime_version(self.chain.head)
        elif method == "chain_subscribeFinalizedHeads":
            result = self._rpc.header(self.chain.finalized)
        else:
            result = self._rpc.header(self.chain.head if number is None else number)
        params = {"subscription": name, "result": result}
        message = {"jsonrpc": "2.0", "method": SUBSCRIPTIONS[method], "params": params}
        await _send(connection, orjson.dumps(message))

    # --- answers ---

    def answer(self, request: Json, connection: _Connection) -> Json:
        """The answer to a request or a batch; `None` when none is due."""
        if not isinstance(request, list):
            return self._answer_one(request, connection)
        if refusal := self._batch_refusal(request):
            return refusal
        return joined([self._answer_one(one, connection) for one in request])

    def _batch_refusal(self, requests: list[Json]) -> Json:
        """Why a batch is not looked into."""
        if self._batch_limit == 0:
            error = RpcError(-32005, "Batched requests are not supported by this server")
            return failed(None, error)
        if not requests:
            return failed(None, RpcError(-32600, "Invalid request"))
        if self._batch_limit is not None and len(requests) > self._batch_limit:
            limit = f"Exceeded max limit of {self._batch_limit}"
            return failed(None, RpcError(-32010, "The batch request was too large", limit))
        return None

    def _answer_one(self, request: Json, connection: _Connection) -> Json:
        if not isinstance(request, dict) or not isinstance(request.get("method"), str):
            return failed(None, RpcError(-32600, "Invalid request"))
        if "id" not in request:
            return None
        params = request.get("params")
        try:
            if params is not None and not isinstance(params, list):
                raise invalid_params("the parameters are to be a list")
            result = self._call(request["method"], params or [], connection)
        except RpcError as error:
            return failed(request["id"], error)
        return {"jsonrpc": "2.0", "id": request["id"], "result": result}

    def _call(self, method: str, params: list[Json], connection: _Connection) -> Json:
        if method not in SUBSCRIPTIONS and method not in UNSUBSCRIPTIONS:
            return self._rpc.call(method, params)
        if connection.socket is None:
            raise RpcError(-32601, "Method not found", "subscriptions need a WebSocket")
        if method in UNSUBSCRIPTIONS:
            if len(params) != 1:
                raise invalid_params("which subscription is to end?")
            return connection.subscriptions.pop(str(params[0]), None) is not None
        name = f"dev{next(self._subscription_numbers)}"
        connection.subscriptions[name] = method
        return name

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.method == "POST":
            return await self._handle_post(request)
        socket = web.WebSocketResponse(max_msg_size=MAX_MESSAGE_BYTES, compress=False)
        if not socket.can_prepare(request):
            return web.Response(status=405, text="JSON-RPC needs POST or a WebSocket.\n")
        await socket.prepare(request)
        connection = _Connection(next(self._connection_numbers), request.transport, socket)
        self._connections.add(connection)
        try:
            await self._listen(connection, socket)
        finally:
            self._connections.discard(connection)
            for task in connection.tasks:
                task.cancel()
        return socket

    async def _listen(self, connection: _Connection, socket: web.WebSocketResponse) -> None:
        places = asyncio.Semaphore(BUFFERED_MESSAGES)
        async for message in socket:
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                continue
            if self._tamper is None and not self._latency:
                await self._respond(connection, message.data)
                continue
            await places.acquire()
            task = asyncio.create_task(self._respond(connection, message.data))
            connection.tasks.add(task)
            task.add_done_callback(connection.tasks.discard)
            task.add_done_callback(lambda _: places.release())

    async def _respond(self, connection: _Connection, text: str | bytes) -> None:
        before = set(connection.subscriptions)
        reply = await self._reply(connection, text)
        if isinstance(reply, Refused):
            reply = orjson.dumps(failed(_id_of(text), RpcError(-32029, reply.reason)))
        if reply is not None:
            await _send(connection, reply)
        for name, method in list(connection.subscriptions.items()):
            if name not in before:
                await self._notify(connection, name, method)

    async def _handle_post(self, request: web.Request) -> web.Response:
        text = await request.read()
        connection = _Connection(next(self._connection_numbers), request.transport)
        reply = await self._reply(connection, text)
        if isinstance(reply, Refused):
            return web.Response(status=reply.status, text=reply.reason)
        return web.Response(body=reply or b"", content_type="application/json")

    async def _reply(self, connection: _Connection, text: str | bytes) -> bytes | Refused | None:
        if self._latency:
            await asyncio.sleep(self._latency)
        try:
            request = orjson.loads(text)
        except orjson.JSONDecodeError:
            return orjson.dumps(failed(None, RpcError(-32700, "Parse error")))
        if not isinstance(request, list):
            answer = await self._tampered(self._tamper, request, connection)
        elif self._batches is not None or self._tamper is None or self._batch_refusal(request):
            answer = await self._tampered(self._batches, request, connection)
        else:
            each = (self._tampered(self._tamper, one, connection) for one in request)
            answer = joined(list(map(_in_batch, request, await gather(*each))))
        if answer is None or isinstance(answer, Refused | bytes):
            return answer
        return within_limit(answer, MAX_MESSAGE_BYTES)

    async def _tampered(
        self, tamper: Tamper | None, request: Json, connection: _Connection
    ) -> Json:
        """What is sent for a request, or for a batch as a whole."""
        if tamper is None:
            return self.answer(request, connection)
        return await tamper(
            Call(
                request=request,
                transport="http" if connection.socket is None else "ws",
                connection=connection.number,
                number=next(connection.messages),
                total=next(self._totals),
                honest=lambda: self.answer(request, connection),
                close=lambda: _cut(connection),
            )
        )


def _in_batch(request: Json, answer: Json) -> Json:
    """An answer as one of those to a batch: what is refused there has no HTTP status."""
    if isinstance(answer, Refused):
        return failed(request.get("id"), RpcError(-32029, answer.reason))
    return answer


def _id_of(text: str | bytes) -> object:
    request = orjson.loads(text)
    return request.get("id") if isinstance(request, dict) else None


async def _send(connection: _Connection, message: bytes) -> None:
    socket = connection.socket
    if socket is None or socket.closed:
        return
    try:
        await socket.send_frame(message, WSMsgType.TEXT)
    except ConnectionError:  # the client has left; its listener ends by itself
        connection.subscriptions.clear()


def _cut(connection: _Connection) -> None:
    if isinstance(connection.transport, asyncio.WriteTransport):
        connection.transport.abort()
