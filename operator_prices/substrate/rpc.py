"""A pipelined JSON-RPC client: many requests in flight on one WebSocket, none of them lost."""

import asyncio
import random
import re
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from time import monotonic
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

import aiohttp
import orjson
from anyio.from_thread import BlockingPortal, start_blocking_portal

from operator_prices.chain import (
    ArchiveNeededError,
    ChainError,
    NodeBehindError,
    NodeUnreachableError,
    NotASubstrateNodeError,
    RateLimitedError,
    RefusedError,
    WrongChainError,
)

if TYPE_CHECKING:
    from concurrent.futures import Future

MAX_IN_FLIGHT = 32
METHOD_NOT_FOUND = -32601
FATAL_CODES = {-32600, METHOD_NOT_FOUND, -32602}
"""Invalid request, unknown method, invalid parameters: asking again changes nothing."""

TOO_OFTEN_CODES = {429, 503, -32029, -32005}
"""What nodes and the proxies before them answer to a client that asks too often."""

NOT_ALLOWED_CODES = {401, 403, 407}

JSON = "application/json"

Request = tuple[str, Sequence[Any]]
"""A method and its parameters."""


@dataclass(frozen=True, slots=True, repr=False)
class Endpoint:
    """Where a node answers. Neither text form shows a password, a token or a query."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, url: str, authorization: str | None = None) -> Self:
        """Take user and password out of `url` into an `Authorization` header.

        A text that is no address is not repeated: who knows what of it is a password.

        >>> str(Endpoint.parse("wss://me:secret@node.example/ws?token=1"))
        'wss://node.example/ws'
        """
        parts = _parts(url)
        headers = {"Authorization": authorization} if authorization else {}
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            headers = {"Authorization": f"Basic {b64encode(pair).decode()}"}
        host = parts.netloc.rpartition("@")[2]
        return cls(urlunsplit(parts._replace(netloc=host)), headers)

    @property
    def is_http(self) -> bool:
        return self.url.startswith("http")

    def __str__(self) -> str:
        parts = urlsplit(self.url)
        return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))

    def __repr__(self) -> str:
        return f"Endpoint({str(self)!r})"


def _parts(url: str) -> SplitResult:
    """The parts of a node's address; an `@` behind the host is the end of a password."""
    try:
        parts = urlsplit(url)
        usable = bool(parts.hostname) and parts.port != 0
    except ValueError:  # its text repeats what it does not understand
        usable = False
    if (
        usable
        and parts.scheme in {"ws", "wss", "http", "https"}
        and "@" not in parts.path + parts.query + parts.fragment
    ):
        return parts
    raise NotASubstrateNodeError(
        "What ARCHIVE_NODE_URL holds is no node address: set it to ws://, wss://, http:// or"
        " https:// URLs, separated by commas, in which a user or password has % codes for"
        " special characters (%40 for @)."
    )


@dataclass(slots=True, eq=False)
class _Door:
    """An endpoint and what has become of it."""

    endpoint: Endpoint
    failures: int = 0
    """Connections in a row that brought no answer."""
    loss: Exception | None = None
    """Why the last of them ended."""
    out: ChainError | None = None
    """Why nothing is to be expected of it any more."""


@dataclass(slots=True, eq=False)
class _Call:
    """A request on its way, from the first time it is sent until it has its answer."""

    id: int
    request: Request
    answer: asyncio.Future[Any]
    refusals: Counter[_Door] = field(default_factory=Counter)
    refused_by: set[_Door] = field(default_factory=set)

    @property
    def payload(self) -> bytes:
        method, params = self.request
        message = {"jsonrpc": "2.0", "id": self.id, "method": method, "params": list(params)}
        return orjson.dumps(message)


class _ConnectionLostError(Exception):
    """The connection ended, or said something that is no answer."""


class _MovedOnError(Exception):
    """A request was refused here and is to be asked at another endpoint."""


SPEAKING = (
    _ConnectionLostError,
    aiohttp.ClientConnectorError,
    aiohttp.ServerDisconnectedError,
    ConnectionError,
)
"""Errors whose text can be shown; that of others may repeat the whole URL with its token."""


class _WebSocket:
    def __init__(
        self, session: aiohttp.ClientSession, socket: aiohttp.ClientWebSocketResponse
    ) -> None:
        self._session = session
        self._socket = socket

    async def send(self, call: _Call) -> None:
        await self._socket.send_str(call.payload.decode())

    async def receive(self) -> bytes | str:
        message = await self._socket.receive()
        if message.type in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
            data: bytes | str = message.data
            return data
        raise _ConnectionLostError(f"the connection was closed ({self._socket.close_code})")

    async def close(self) -> None:
        await self._socket.close()
        await self._session.close()


class _Http:
    """Makes POST requests look like a connection: what is sent is answered later, in any order."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self._answers: asyncio.Queue[bytes | Exception] = asyncio.Queue()
        self._posts: set[asyncio.Task[None]] = set()

    async def send(self, call: _Call) -> None:
        task = asyncio.create_task(self._post(call))
        self._posts.add(task)
        task.add_done_callback(self._posts.discard)

    async def _post(self, call: _Call) -> None:
        try:
            async with self._session.post(self._url, data=call.payload) as response:
                body = await response.read()
                if response.status not in TOO_OFTEN_CODES and not _has_id(body):
                    response.raise_for_status()
        except Exception as error:  # noqa: BLE001 - raised where answers are waited for
            await self._answers.put(error)
            return
        if response.status in TOO_OFTEN_CODES:
            refusal = {"code": response.status, "message": f"HTTP {response.status}"}
            body = orjson.dumps({"id": call.id, "error": refusal})
        await self._answers.put(body)

    async def receive(self) -> bytes:
        answer = await self._answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        for task in self._posts:
            task.cancel()
        await self._session.close()


class Client:
    """Asks one of several endpoints, with at most `in_flight` requests unanswered at a time.

    The in-flight window is halved when a connection drops and grows again with every answer. What
    was unanswered is sent again on the next connection. An endpoint is given up after `attempts`
    connections in a row that brought no answer at all; when all are given up, every caller gets
    the reasons as a `ChainError`. A request that one endpoint keeps refusing is asked at the next.

    Once the genesis hash has been asked for, every further connection has to show the same one.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        in_flight: int = MAX_IN_FLIGHT,
        requests_per_second: float | None = None,
        timeout: float = 30.0,
        attempts: int = 6,
        pause: float = 0.25,
    ) -> None:
        self._doors = [_Door(endpoint) for endpoint in endpoints]
        self._door = self._doors[0]
        self._turned: set[_Door] = set()
        self._genesis: str | None = None
        self.sent = 0
        self._in_flight_limit = min(in_flight, MAX_IN_FLIGHT)
        self._window = float(self._in_flight_limit)
        self._interval = 1 / requests_per_second if requests_per_second else 0.0
        self._next_send = 0.0
        self._timeout = timeout
        self._attempts = attempts
        self._pause = pause
        self._ids = count(1)
        self._waiting: deque[_Call] = deque()
        self._unanswered: dict[int, _Call] = {}
        self._wake = asyncio.Event()
        self._progress = False
        self._runner: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint in use."""
        return self._door.endpoint

    async def call_many(self, requests: Iterable[Request]) -> list[Any]:
        """Ask all `requests` at once; their results come in the order of the requests."""
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        calls = [self._call(request) for request in requests]
        self._waiting.extend(calls)
        self._wake.set()
        try:
            return await asyncio.gather(*(call.answer for call in calls))
        finally:
            self._forget(calls)

    async def close(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def turn_away(self) -> bool:
        """Use another endpoint from now on; False once all that are left have been turned from.

        For who finds that the answers of the one in use do not agree; nothing may be on its way.
        """
        self._turned.add(self._door)
        spare = [one for one in self._usable() if one not in self._turned]
        if not spare:
            self._turned.clear()
            return False
        await self.close()
        self._door = spare[0]
        self._turned.add(self._door)  # whose turn it is now, wherever that ends
        return True

    def _call(self, request: Request) -> _Call:
        return _Call(next(self._ids), request, asyncio.get_running_loop().create_future())

    def _forget(self, calls: Iterable[_Call]) -> None:
        """Drop what nobody waits for any more, so that a failed batch leaves nothing behind."""
        for call in calls:
            if not call.answer.done():
                call.answer.cancel()
            self._unanswered.pop(call.id, None)
        self._waiting = deque(call for call in self._waiting if not call.answer.done())
        self._wake.set()

    async def _run(self) -> None:
        """Keep a connection as long as there is something to ask; live through its ends."""
        while True:
            await self._until(lambda: bool(self._waiting))
            self._progress = False
            try:
                await self._talk()
            except _MovedOnError:
                self._queue_again()
            except WrongChainError as error:
                self._door.out = error
                self._move_on()
            except (
                _ConnectionLostError,
                ChainError,
                aiohttp.ClientError,
                OSError,
                TimeoutError,
            ) as error:
                self._after_loss(error)
            except Exception as error:  # noqa: BLE001 - whoever waits has to know
                self._fail(error)
            await asyncio.sleep(0 if self._progress else wait(self._pause, self._door.failures))

    async def _talk(self) -> None:
        """Connect and converse until the connection ends; always raises."""
        connection = await self._connect()
        try:
            await self._require_same_chain(connection)
            await self._converse(connection)
        finally:
            await connection.close()

    async def _connect(self) -> _WebSocket | _Http:
        endpoint = self.endpoint
        headers = {**endpoint.headers, "Content-Type": JSON}
        limits = aiohttp.ClientTimeout(total=None, sock_connect=self._timeout)
        connector = aiohttp.TCPConnector(limit=0)
        session = aiohttp.ClientSession(headers=headers, timeout=limits, connector=connector)
        if endpoint.is_http:
            return _Http(session, endpoint.url)
        try:
            async with asyncio.timeout(self._timeout):
                socket = await session.ws_connect(endpoint.url, max_msg_size=0, compress=0)
        except BaseException:
            await session.close()
            raise
        return _WebSocket(session, socket)

    async def _require_same_chain(self, connection: _WebSocket | _Http) -> None:
        """Ask for the genesis hash before anything else, where it is known what it has to be."""
        if self._genesis is None:
            return
        call = self._call(("chain_getBlockHash", [0]))
        await self._pace()
        self.sent += 1
        await connection.send(call)
        async with asyncio.timeout(self._timeout):
            answer = _parsed(await connection.receive())
            while answer.get("id") != call.id:
                answer = _parsed(await connection.receive())
        if "result" not in answer:
            raise _error_for(answer.get("error"), self.endpoint)
        if answer["result"] != self._genesis:
            raise WrongChainError(
                f"{self.endpoint} serves the chain with genesis {answer['result']}, and not the one"
                f" with genesis {self._genesis} that was read so far: take it out of"
                " ARCHIVE_NODE_URL."
            )

    async def _converse(self, connection: _WebSocket | _Http) -> None:
        """Send and receive until the connection ends; always raises."""
        sending = asyncio.create_task(self._send(connection))
        receiving = asyncio.create_task(self._receive(connection))
        try:
            done, _ = await asyncio.wait((sending, receiving), return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
        finally:
            sending.cancel()
            receiving.cancel()
            await asyncio.gather(sending, receiving, return_exceptions=True)

    async def _send(self, connection: _WebSocket | _Http) -> None:
        while True:
            await self._until(
                lambda: bool(self._waiting) and len(self._unanswered) < int(self._window)
            )
            await self._pace()
            if not self._waiting:
                continue
            call = self._waiting.popleft()
            self._unanswered[call.id] = call
            self.sent += 1
            await connection.send(call)
            self._wake.set()

    async def _pace(self) -> None:
        """Wait until another request may be sent."""
        if self._interval:
            now = asyncio.get_running_loop().time()
            self._next_send = max(now, self._next_send + self._interval)
            await asyncio.sleep(self._next_send - now)

    async def _receive(self, connection: _WebSocket | _Http) -> None:
        while True:
            await self._until(lambda: bool(self._unanswered))
            async with asyncio.timeout(self._timeout):
                message = await connection.receive()
            self._take(message)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._wake.clear()
            await self._wake.wait()

    def _take(self, message: bytes | str) -> None:
        answer = _parsed(message)
        number = answer.get("id")
        call = self._unanswered.pop(number, None) if isinstance(number, int) else None
        if call is None:
            return
        if "result" in answer:
            self._answered(call, answer["result"])
        else:
            self._refused(call, answer.get("error"))
        self._wake.set()

    def _answered(self, call: _Call, result: object) -> None:
        self._progress = True
        self._door.failures, self._door.loss = 0, None
        self._window = min(self._in_flight_limit, self._window + 1 / self._window)
        self._genesis = self._genesis or _genesis_in(call.request, result)
        if not call.answer.done():
            call.answer.set_result(result)

    def _refused(self, call: _Call, error: object) -> None:
        """Ask again later what may pass, elsewhere what this endpoint lacks; else say no."""
        door = self._door
        call.refusals[door] += 1
        reason = _error_for(error, door.endpoint)
        if isinstance(reason, ArchiveNeededError):
            door.out = reason
        spare = [one for one in self._usable() if one is not door and one not in call.refused_by]
        patience = self._attempts * (1 if spare else 2)
        vain = isinstance(reason, RefusedError | ArchiveNeededError)
        if not vain and call.refusals[door] < patience:
            self._ask_later(call, reason)
            return
        call.refused_by.add(door)
        if spare:
            self._waiting.appendleft(call)
            self._door = spare[0]
            raise _MovedOnError
        if not call.answer.done():
            call.answer.set_exception(reason)

    def _ask_later(self, call: _Call, reason: ChainError) -> None:
        if isinstance(reason, RateLimitedError):
            self._window = max(1.0, self._window / 2)
        delay = wait(self._pause, call.refusals[self._door])
        asyncio.get_running_loop().call_later(delay, self._again, call)

    def _again(self, call: _Call) -> None:
        if not call.answer.done():
            self._waiting.append(call)
            self._wake.set()

    def _queue_again(self) -> None:
        lost = [call for call in self._unanswered.values() if not call.answer.done()]
        self._unanswered.clear()
        self._waiting.extendleft(reversed(lost))

    def _after_loss(self, error: Exception) -> None:
        """Queue what was unanswered again; move on after too many fruitless tries."""
        self._queue_again()
        self._window = max(1.0, self._window / 2)
        if self._progress or not self._waiting:
            return
        self._door.failures += 1
        self._door.loss = error
        if self._door.failures >= self._attempts:
            self._move_on()

    def _usable(self) -> list[_Door]:
        return [one for one in self._doors if one.out is None and one.failures < self._attempts]

    def _move_on(self) -> None:
        """Turn to an endpoint that is left; where none is, tell everyone why."""
        if usable := self._usable():
            self._door = usable[0]
            return
        reason = _all_reasons(sorted(self._doors, key=lambda one: (not one.out, one.failures == 0)))
        for door in self._doors:
            door.failures = 0
        ours = [one for one in self._doors if not isinstance(one.out, WrongChainError)]
        self._door = ours[0] if ours else self._door
        self._fail(reason)

    def _fail(self, error: Exception) -> None:
        """Tell everyone who waits that there will be no answer."""
        for call in (*self._waiting, *self._unanswered.values()):
            if not call.answer.done():
                call.answer.set_exception(error)
        self._waiting.clear()
        self._unanswered.clear()


def wait(pause: float, tries: int) -> float:
    """Seconds before the next try: twice as many after each, and never quite what others wait."""
    return pause * 2.0 ** min(tries, 5) * random.uniform(0.5, 1.0)  # noqa: S311


def _parsed(message: bytes | str) -> dict[str, Any]:
    """A JSON-RPC message; raises where it is none, or an error that is about no request."""
    try:
        answer = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise _ConnectionLostError("an answer was cut short or is no JSON") from error
    if not isinstance(answer, dict):
        raise _ConnectionLostError("an answer is no JSON-RPC object")
    if not answer.keys() & {"id", "method", "error"}:
        raise _ConnectionLostError("an answer is no JSON-RPC")
    if answer.get("id") is None and "error" in answer:
        raise _ConnectionLostError(_text(answer["error"]))
    return answer


def _has_id(body: bytes) -> bool:
    """Whether a body is the answer to a request, whatever the HTTP status says."""
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return isinstance(answer, dict) and "id" in answer


def _genesis_in(request: Request, result: object) -> str | None:
    """The genesis hash, if a request for hashes of blocks asked for it and `result` has it."""
    method, params = request
    if method != "chain_getBlockHash" or not params:
        return None
    blocks, hashes = ([params[0]], [result]) if params[0] == 0 else (params[0], result)
    if not isinstance(blocks, list) or not isinstance(hashes, list):
        return None
    return next(
        (found for block, found in zip(blocks, hashes, strict=False) if block == 0 and found), None
    )


def _text(error: object) -> str:
    if isinstance(error, dict):
        parts = [str(error[name]) for name in ("message", "data") if error.get(name)]
        return ": ".join(parts) or str(error)
    return str(error)


_DISCARDED = re.compile(r"state already discarded|state .*pruned|missing trie", re.IGNORECASE)
_UNKNOWN_BLOCK = re.compile(r"header was not found|(unknown|missing) block", re.IGNORECASE)
_TOO_OFTEN = re.compile(r"rate.?limit|too many|limit exceeded", re.IGNORECASE)


def _error_for(error: object, endpoint: Endpoint) -> ChainError:
    """The typed error for a JSON-RPC `error`; only `RefusedError` says that asking on is vain."""
    text = _text(error)
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
        return _rate_limited(f"{endpoint}", text)
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


def _rate_limited(names: str, reason: str) -> RateLimitedError:
    return RateLimitedError(
        f"{names} limits how often it answers ({reason}): lower REQUESTS_PER_SECOND or use another"
        " node."
    )


def _all_reasons(doors: Iterable[_Door]) -> ChainError:
    """One error that says of each endpoint why it is of no use; the first gives it its type."""
    reasons = []
    for door in doors:
        if door.out is not None:
            reasons.append(door.out)
        if door.loss is not None:
            reasons.append(_final(door.loss, str(door.endpoint)))
    return type(reasons[0])(" ".join(str(reason) for reason in reasons))


def _final(error: Exception, names: str) -> ChainError:
    if isinstance(error, ChainError):
        return error
    reason = type(error).__name__
    if isinstance(error, SPEAKING):
        reason = str(error) or reason
    if isinstance(error, aiohttp.ClientResponseError):  # a refused WebSocket is one, too
        reason = f"HTTP {error.status}"
        if error.status in TOO_OFTEN_CODES:
            return _rate_limited(names, reason)
        if error.status in NOT_ALLOWED_CODES:
            return RefusedError(
                f"{names} refuses our authorization ({reason}): put user and password into"
                " ARCHIVE_NODE_URL, or set ARCHIVE_NODE_AUTHORIZATION."
            )
        if error.status < 500:  # noqa: PLR2004 - above, it is the server's trouble
            return NotASubstrateNodeError(
                f"{names} is no Substrate node (it answered with {reason}): set ARCHIVE_NODE_URL to"
                " a node's RPC address."
            )
    if "no JSON" in reason:
        return NotASubstrateNodeError(
            f"{names} does not answer as a Substrate node does ({reason}): set ARCHIVE_NODE_URL to"
            " a node's RPC address."
        )
    if isinstance(error, TimeoutError):
        reason = "no answer in time"
    return NodeUnreachableError(
        f"{names} cannot be reached ({reason}): start the node, or set ARCHIVE_NODE_URL to one that"
        " runs."
    )


class Rpc:
    """The same client for code that is not asynchronous: it runs in a thread of its own."""

    def __init__(self, endpoints: Sequence[Endpoint], **limits: Any) -> None:  # noqa: ANN401
        self._running = start_blocking_portal()
        self._portal: BlockingPortal = self._running.__enter__()
        self._client: Client = self._portal.call(partial(Client, endpoints, **limits))
        self.waited = 0.0
        """Seconds spent waiting for answers so far."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._portal.call(self._client.close)
        self._running.__exit__(kind, error, trace)

    @property
    def sent(self) -> int:
        """Requests sent so far, those sent again included."""
        return self._client.sent

    @property
    def endpoint(self) -> Endpoint:
        return self._client.endpoint

    def turn_away(self) -> bool:
        """Use another endpoint from now on; False once all that are left have been turned from."""
        return self._portal.call(self._client.turn_away)

    def call(self, method: str, *params: Any) -> Any:  # noqa: ANN401
        """Ask one thing and wait for the `result`."""
        (answer,) = self.call_many([(method, params)])
        return answer

    def call_many(self, requests: Iterable[Request]) -> list[Any]:
        """Ask all `requests` at once; their results come in the order of the requests."""
        begun = monotonic()
        asked: Future[list[Any]] = self._portal.start_task_soon(
            self._client.call_many, list(requests)
        )
        try:
            return asked.result()
        except BaseException:  # who is interrupted does not wait for the rest of the answers
            asked.cancel()
            raise
        finally:
            self.waited += monotonic() - begun
