"""A pipelined JSON-RPC client: many requests in flight on one WebSocket, none of them lost."""

import asyncio
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp

from operator_prices.chain.errors import (
    ArchiveNeededError,
    ChainError,
    RateLimitedError,
    RefusedError,
    TooBigError,
    WrongChainError,
)
from operator_prices.chain.rpc import calls, refusals
from operator_prices.chain.rpc.calls import ALONE, Call
from operator_prices.chain.rpc.connections import Http, WebSocket, connected
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.in_flight import MOST, InFlight
from operator_prices.chain.rpc.messages import Message, Refusal, Request, genesis_in
from operator_prices.chain.rpc.outstanding import Outstanding
from operator_prices.chain.rpc.patience import Patience, now
from operator_prices.chain.rpc.refusals import (
    ConnectionLostError,
    NoJsonRpcError,
    TooBigMessageError,
)
from operator_prices.chain.rpc.upstreams import Upstream, all_reasons, out_of_time

PATIENCE = 45.0
"""Seconds without any answer after which whoever waits is told: well below a minute."""

SILENCE = 30.0
"""Seconds without an answer after which a connection is taken for dead, at most."""


class _MovedOnError(Exception):
    """A request was refused here and is to be asked at another endpoint."""


class Client:
    """Asks one of several endpoints, with as many requests unanswered at a time as the node bears.

    That is found out by how fast it answers, up to `in_flight`, and halved when a
    connection drops. What was unanswered is sent again on the next connection. An endpoint is given
    up after `attempts` connections in a row that brought no answer at all; when all are given up,
    every caller gets the reasons as a `ChainError`. A request that one endpoint keeps refusing is
    asked at the next.

    What is asked together goes in one message, a batch, where the endpoint takes it. It is asked
    one by one from then on where that is refused, so that nobody sees an error of a batch.

    Nobody waits longer than `patience` seconds in which no answer comes at all, nor than `within`
    seconds after the client was made; another endpoint, or another connection, is tried in between.

    Once the genesis hash has been asked for, every further connection has to show the same one.
    """

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        *,
        in_flight: int = MOST,
        requests_per_second: float | None = None,
        patience: float = PATIENCE,
        within: float | None = None,
        timeout: float | None = None,
        attempts: int = 6,
        pause: float = 0.25,
    ) -> None:
        self._upstreams = [Upstream(endpoint) for endpoint in endpoints]
        self._upstream = self._upstreams[0]
        self._genesis: str | None = None
        self.sent = 0
        """Messages so far, those sent again included; a batch is one."""
        self.asked = 0
        """Requests in them, each one of a batch by itself."""
        self.flight = InFlight(in_flight)
        self._interval = 1 / requests_per_second if requests_per_second else 0.0
        self._in_a_second = max(1, int(requests_per_second)) if requests_per_second else None
        self._next_send = 0.0
        self._patience = Patience(patience, within)
        self._timeout = timeout or min(SILENCE, patience / (len(endpoints) + 1))
        self._attempts = attempts
        self._pause = pause
        self._calls = Outstanding()
        self._wake = asyncio.Event()
        self._progress = False
        self._runner: asyncio.Task[None] | None = None

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint in use."""
        return self._upstream.endpoint

    @property
    def endpoint_count(self) -> int:
        return len(self._upstreams)

    @property
    def takes_batches(self) -> bool:
        """Whether the endpoint in use takes several requests in one message, for all we know."""
        return self._together > 1

    @property
    def _together(self) -> int:
        """Requests in one message at most: of which rate limits count each, too."""
        return min(self._upstream.together, self._in_a_second or self._upstream.together)

    async def call_many(
        self, requests: Iterable[Request], *, together: int = 0, turn: int = 0
    ) -> list[Any]:
        """Ask all `requests` at once; their results come in the order of the requests.

        As many as have so many entries `together` go in one message if the endpoint takes it; 0 is
        a message for each. Those of a lower `turn` go before others that wait.
        """
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._run())
        asked = self._calls.make_all(requests, together, turn=turn)
        if not (self._calls.waiting or self._calls.sent):
            self._patience.begin()
        self._calls.ask_all(asked)
        self._wake.set()
        try:
            await self._all_answered({call.answer for call in asked})
            return [call.answer.result() for call in asked]
        finally:
            self._calls.forget(asked)
            self._wake.set()

    async def _all_answered(self, answers: set[asyncio.Future[Any]]) -> None:
        """Wait while answers come; raise the first error, or why none will come in time."""
        while answers:
            left = self._patience.left
            if left <= 0:
                raise out_of_time(self._patience, self._timeout, self._upstream, self._upstreams)
            done, answers = await asyncio.wait(
                answers, timeout=left, return_when=asyncio.FIRST_EXCEPTION
            )
            for answer in done:
                answer.result()

    async def close(self) -> None:
        if self._runner is not None:
            self._runner.cancel()
            await asyncio.gather(self._runner, return_exceptions=True)

    async def turn_away(self) -> bool:
        """Use the next endpoint that is left from now on; False where there is no other.

        It is called when the answers of the one in use do not agree; nothing may be on its way.
        """
        here = self._upstreams.index(self._upstream)
        others = (*self._upstreams[here + 1 :], *self._upstreams[:here])
        usable = self._usable()
        following = next((one for one in others if one in usable), None)
        if following is None:
            return False
        await self.close()
        self._upstream = following
        return True

    async def _run(self) -> None:
        """Keep a connection as long as there is something to ask; live through its ends."""
        while True:
            await self._until(lambda: bool(self._calls.waiting))
            self._progress = False
            try:
                await self._talk()
            except _MovedOnError:
                self._calls.withdraw_all()
            except WrongChainError as error:
                self._upstream.out = error
                self._move_on()
            except (
                ConnectionLostError,
                ChainError,
                aiohttp.ClientError,
                OSError,
                TimeoutError,
            ) as error:
                self._after_loss(error)
            except Exception as error:  # noqa: BLE001 - whoever waits has to know
                self._calls.fail(error)
            await asyncio.sleep(
                0 if self._progress else backoff(self._pause, self._upstream.failures)
            )

    async def _talk(self) -> None:
        """Connect and converse until the connection ends; always raises."""
        connection = await connected(self.endpoint, self._timeout)
        self.flight.forget()
        try:
            await self._require_same_chain(connection)
            await self._converse(connection)
        finally:
            await connection.close()

    async def _require_same_chain(self, connection: WebSocket | Http) -> None:
        """Ask for the genesis hash before anything else, where it is known what it has to be."""
        if self._genesis is None:
            return
        call = self._calls.make(("chain_getBlockHash", [0]))
        await self._pace()
        await self._send_now(connection, [call])
        async with asyncio.timeout(self._timeout):
            answer = await connection.receive()
            while not isinstance(answer, dict) or answer.get("id") != call.id:
                if isinstance(answer, Refusal):
                    raise ConnectionLostError(refusals.text_of(answer.error))
                answer = await connection.receive()
        if "result" not in answer:
            raise refusals.of_answer(answer.get("error"), self.endpoint)
        if answer["result"] != self._genesis:
            raise WrongChainError(
                f"{self.endpoint} serves the chain with genesis {answer['result']}, and not the one"
                f" with genesis {self._genesis} that was read so far: take it out of"
                " ARCHIVE_NODE_URL."
            )

    async def _converse(self, connection: WebSocket | Http) -> None:
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

    async def _send(self, connection: WebSocket | Http) -> None:
        while True:
            await self._until(lambda: not self._is_full and self._calls.may_send())
            await self._pace()
            batch = self._calls.send_next(self._together)
            if not batch:
                continue
            self._next_send += self._interval * (len(batch) - 1)
            await self._send_now(connection, batch)
            self._wake.set()

    @property
    def _is_full(self) -> bool:
        """Whether as many are on their way as the node bears."""
        return self._calls.messages >= int(self.flight.size)

    async def _send_now(self, connection: WebSocket | Http, batch: Sequence[Call]) -> None:
        self.sent += 1
        self.asked += len(batch)
        for call in batch:
            call.sent_at = now()
        await connection.send([call.id for call in batch], calls.payload(batch))

    async def _pace(self) -> None:
        """Wait until another request may be sent."""
        if self._interval:
            self._next_send = max(now(), self._next_send + self._interval)
            await asyncio.sleep(self._next_send - now())

    async def _receive(self, connection: WebSocket | Http) -> None:
        while True:
            await self._until(lambda: bool(self._calls.sent))
            async with asyncio.timeout(self._timeout):
                message = await connection.receive()
            self._take(message)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._wake.clear()
            await self._wake.wait()

    def _take(self, message: Message) -> None:
        if isinstance(message, dict):
            self._take_one(message)
        elif isinstance(message, list):
            self._take_batch(calls.by_number(message))
        elif self._calls.batch:
            self._batch_refused(message.error)
        else:
            raise refusals.of_whom_it_is_not_said(message.error)
        self._wake.set()

    def _take_one(self, answer: Mapping[str, Any]) -> None:
        full = self._is_full
        number = answer.get("id")
        call = self._calls.sent.pop(number, None) if isinstance(number, int) else None
        if call is None:
            return
        self._patience.begin()
        if "result" in answer:
            self._in_time([call], full=full)
            self._answered(call, answer["result"])
        else:
            error = answer.get("error")
            if isinstance(refusals.of_answer(error, self.endpoint), RateLimitedError):
                self.flight.halve()
            self._refused(call, error)

    def _in_time(self, batch: Sequence[Call], *, full: bool) -> None:
        self.flight.answered(calls.kind(batch), now() - batch[0].sent_at, now(), full=full)

    def _take_batch(self, answers: Mapping[int, Mapping[str, Any]]) -> None:
        """Take the answers to a batch; what is none of them, or an error, is asked by itself.

        Only what says that we ask too often holds for a call as it does by itself.
        """
        full = self._is_full
        batch = self._calls.batch
        if not any(call.id in answers for call in batch):
            if any(0 < number <= self._calls.newest for number in answers):
                return  # somebody has not waited for it
            if not batch:
                raise NoJsonRpcError("an answer is no JSON-RPC object")
            self._batch_refused("an array of no answers")
            return
        self._patience.begin()
        self._in_time(batch, full=full)
        told = [answers[call.id] for call in batch if call.id in answers]
        if len(told) < len(batch) or not any(self._holds(answer) for answer in told):
            self._upstream.together = 1
        else:
            self._upstream.has_batched = True
        if any(self._is_too_often(answer) for answer in told):
            self._too_often()
        for call in batch:
            del self._calls.sent[call.id]
            call.group = ALONE
            answer = answers.get(call.id, {})
            if "result" in answer:
                self._answered(call, answer["result"])
            elif self._holds(answer):
                self._refused(call, answer["error"])
            else:
                self._calls.waiting.append(call)

    def _holds(self, answer: Mapping[str, Any]) -> bool:
        """Whether one of the answers to a batch is what a request by itself is answered with."""
        return "result" in answer or self._is_too_often(answer)

    def _is_too_often(self, answer: Mapping[str, Any]) -> bool:
        if "result" in answer:
            return False
        reason = refusals.of_batch(answer.get("error"), self.endpoint)
        return isinstance(reason, RateLimitedError)

    def _too_often(self) -> None:
        """Ask for half as many together from now on, and in half as many messages at a time.

        So who counts requests is not sent as many again and again. A single refusal says little of
        batches, but who refuses each of them for that is soon sent none.
        """
        self._upstream.together = (self._upstream.together + 1) // 2
        self.flight.halve()

    def _batch_refused(self, error: object) -> None:
        """Ask for less at once where it is too much, later where that is too often, else singly."""
        upstream = self._upstream
        reason = refusals.of_batch(error, upstream.endpoint)
        batch = self._calls.batch
        if isinstance(reason, RateLimitedError):
            self._too_often()
            for call in batch:
                call.group = ALONE
                self._refused(self._calls.sent.pop(call.id), error)
            return
        upstream.together = (len(batch) + 1) // 2 if isinstance(reason, TooBigError) else 1
        self._calls.withdraw(batch)

    def _answered(self, call: Call, result: object) -> None:
        self._progress = True
        self._upstream.failures, self._upstream.loss = 0, None
        self._genesis = self._genesis or genesis_in(call.request, result)
        if not call.answer.done():
            call.answer.set_result(result)

    def _refused(self, call: Call, error: object) -> None:
        """Ask again later what may pass, elsewhere what this endpoint lacks; else say no."""
        upstream = self._upstream
        call.refusals[upstream] += 1
        reason = refusals.of_answer(error, upstream.endpoint)
        if isinstance(reason, ArchiveNeededError):
            upstream.out = reason
        if isinstance(reason, TooBigError) and call.size > 1:
            self._calls.ask_in_parts(call)
            return
        elsewhere = {*self._upstreams} - {upstream, *call.refused_by}
        spare = [one for one in self._usable() if one in elsewhere]
        patience = self._attempts * (1 if spare else 2)
        vain = isinstance(reason, RefusedError | ArchiveNeededError)
        if not vain and call.refusals[upstream] < patience:
            self._ask_later(call)
            return
        call.refused_by.add(upstream)
        if spare:
            self._calls.waiting.appendleft(call)
            self._upstream = spare[0]
            raise _MovedOnError
        if not call.answer.done():
            call.answer.set_exception(reason)

    def _ask_later(self, call: Call) -> None:
        delay = backoff(self._pause, call.refusals[self._upstream])
        asyncio.get_running_loop().call_later(delay, self._again, call)

    def _again(self, call: Call) -> None:
        if not call.answer.done():
            self._calls.waiting.append(call)
            self._wake.set()

    def _after_loss(self, error: Exception) -> None:
        """Queue what was unanswered again; move on after too many fruitless tries."""
        if self._batch_lost(error):
            self._calls.withdraw_all()
            return
        if isinstance(error, TooBigMessageError) and self._calls.divide_the_largest():
            self._progress = True
        self._calls.withdraw_all()
        self.flight.halve()
        if self._progress or not self._calls.waiting:
            return
        self._upstream.failures += 1
        self._upstream.loss = error
        if self._is_passed_over(error):
            self._upstream.failures = self._attempts
        if self._upstream.failures >= self._attempts:
            self._move_on()

    def _batch_lost(self, error: Exception) -> bool:
        """Ask singly what was lost in a batch; whether that may be why the connection has ended.

        So it may be where no batch has ever been answered, and where one was too big; who says
        nothing is not asked once more for that while there is another.
        """
        batch = self._calls.batch
        too_big = isinstance(error, TooBigMessageError)
        for call in batch:
            call.group = call.group if too_big else ALONE
        if not batch or not (too_big or not self._upstream.has_batched):
            return False
        self._upstream.together = (len(batch) + 1) // 2 if too_big else 1
        return not self._is_passed_over(error)

    def _is_passed_over(self, error: Exception) -> bool:
        """Whether an endpoint that says nothing is left at once, since there is another."""
        return isinstance(error, TimeoutError) and len(self._usable()) > 1

    def _usable(self) -> list[Upstream]:
        return [one for one in self._upstreams if one.out is None and one.failures < self._attempts]

    def _move_on(self) -> None:
        """Turn to an endpoint that is left; where none is, tell everyone why."""
        if usable := self._usable():
            self._upstream = usable[0]
            return
        by_weight = sorted(self._upstreams, key=lambda one: (not one.out, one.failures == 0))
        reason = all_reasons(by_weight)
        for upstream in self._upstreams:
            upstream.failures = 0
        ours = [one for one in self._upstreams if not isinstance(one.out, WrongChainError)]
        self._upstream = ours[0] if ours else self._upstream
        self._calls.fail(reason)


def backoff(pause: float, tries: int) -> float:
    """Seconds before the next try: twice as many after each, and never quite what others wait."""
    return pause * 2.0 ** min(tries, 5) * random.uniform(0.5, 1.0)  # noqa: S311
