"""Requests that go together in one message, and what nodes and gateways make of it."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

import pytest

from operator_prices.chain.errors import TooBigError
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.in_flight import START
from operator_prices.devchain import server
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call, Refused, Tamper
from operator_prices.devchain.serving import Node, serving

CHAIN = DevChain(Scenario(seconds_per_block=0, epochs=2, operators=2))
BLOCKS = range(12)
HASHES = [f"0x{CHAIN.blocks.hash(block).hex()}" for block in BLOCKS]
TRANSPORTS = pytest.mark.parametrize("scheme", ["ws", "http"])

pytestmark = pytest.mark.usefixtures("hurried")


@contextmanager
def asking(node: Node, scheme: str = "ws", **limits: float) -> Iterator[Rpc]:
    url = node.url if scheme == "ws" else node.http_url
    with Rpc([Endpoint.parse(url)], **limits) as rpc:
        yield rpc


def ask(rpc: Rpc) -> list[str]:
    """All hashes, in one message if that is taken."""
    requests = [("chain_getBlockHash", [block]) for block in BLOCKS]
    return rpc.call_many(requests, together=100)


def counted(rpc: Rpc) -> tuple[int, int]:
    """The messages that asking takes, and the requests in them; the answers are right."""
    sent, asked = rpc.sent, rpc.asked
    assert ask(rpc) == HASHES
    return rpc.sent - sent, rpc.asked - asked


@TRANSPORTS
def test_what_is_asked_together_is_one_message_with_answers_in_order(scheme: str) -> None:
    with serving(CHAIN) as node, asking(node, scheme) as rpc:
        assert [counted(rpc), counted(rpc)] == [(1, 12), (1, 12)]
        assert rpc.call_many([("chain_getBlockHash", [1])] * 2) == [HASHES[1]] * 2
        assert (rpc.sent, rpc.asked) == (4, 26)


@TRANSPORTS
def test_a_node_without_batches_is_asked_one_by_one_from_then_on(scheme: str) -> None:
    with serving(CHAIN, batch_limit=0) as node, asking(node, scheme) as rpc:
        assert rpc.takes_batches
        assert [counted(rpc), counted(rpc)] == [(13, 24), (12, 12)]
        assert not rpc.takes_batches


def erring(code: int, message: str, *, each: bool = False) -> Tamper:
    """Answers a batch with an error in place of the array, or with an array of nothing else."""

    async def tamper(call: Call) -> object:
        error = {"code": code, "message": message}
        if each:
            return [{"jsonrpc": "2.0", "id": one["id"], "error": error} for one in call.request]
        return {"jsonrpc": "2.0", "id": None, "error": error}

    return tamper


async def closing(call: Call) -> None:
    call.close()


def saying(answer: object) -> Tamper:
    async def tamper(_: Call) -> object:
        return answer

    return tamper


@TRANSPORTS
@pytest.mark.parametrize(
    "gateway",
    [
        erring(-32600, "Invalid Request"),
        erring(-32601, "Method not found"),
        erring(-32700, "Parse error"),
        erring(-32005, "Batched requests are not supported by this server"),
        erring(-32600, "batch requests are disabled", each=True),
        closing,
        saying([]),
        saying([{"jsonrpc": "2.0", "id": "another", "result": 1}, None, 7]),
        saying(Refused(400, "bad request")),
        saying(Refused(405, "not allowed")),
        saying(Refused(403, "forbidden")),
        saying(Refused(500, "trouble")),
    ],
)
def test_who_refuses_a_batch_in_whatever_way_is_asked_one_by_one_and_nothing_is_lost(
    gateway: Tamper, scheme: str
) -> None:
    batches = 0

    async def tamper(call: Call) -> object:
        nonlocal batches
        batches += 1
        refusal = await gateway(call)
        if isinstance(refusal, Refused) and scheme == "ws":
            return await erring(-32000, refusal.reason)(call)
        return refusal

    with serving(CHAIN, batches=tamper) as node, asking(node, scheme, attempts=1) as rpc:
        counted(rpc)
        assert counted(rpc) == (12, 12)
        assert not rpc.takes_batches
    assert batches == 1


def test_who_says_nothing_to_a_batch_is_asked_one_by_one() -> None:
    with serving(CHAIN, batches=saying(None)) as node, asking(node, timeout=0.3) as rpc:
        counted(rpc)
        assert counted(rpc) == (12, 12)


def test_who_says_nothing_to_a_batch_is_left_at_once_while_there_is_another() -> None:
    seen: list[Call] = []

    async def silent(call: Call) -> None:
        seen.append(call)

    with (
        serving(CHAIN, batches=silent, tamper=silent) as hanging,
        serving(CHAIN) as node,
        Rpc([Endpoint.parse(one.url) for one in (hanging, node)], timeout=0.3) as rpc,
    ):
        assert counted(rpc) == (13, 24)
        assert rpc.endpoint.url == node.url
        assert [len(call.request) for call in seen] == [12]
        assert counted(rpc) == (1, 12)


Answers = list[dict[str, Any]]


def backwards(answers: Answers) -> Answers:
    return answers[::-1]


def with_a_notice(answers: Answers) -> Answers:
    notice = {"jsonrpc": "2.0", "method": "chain_newHead", "params": {"subscription": "1"}}
    return [*answers[:3], notice, *answers[3:]]


def with_an_error(answers: Answers) -> Answers:
    error = {"code": -32603, "message": "Internal error"}
    return [{"jsonrpc": "2.0", "id": answers[0]["id"], "error": error}, *answers[1:]]


def lacking(answers: Answers) -> Answers:
    return answers[2:]


def twice(answers: Answers) -> Answers:
    """Another answer under a number that is there already."""
    return [*answers, answers[0] | {"result": HASHES[7]}]


@TRANSPORTS
@pytest.mark.parametrize(
    ("change", "cost", "then"),
    [
        (backwards, (1, 12), (1, 12)),
        (with_a_notice, (1, 12), (1, 12)),
        (with_an_error, (2, 13), (2, 13)),
        (lacking, (3, 14), (12, 12)),
        (twice, (2, 13), (12, 12)),
    ],
)
def test_of_an_answer_to_a_batch_what_holds_is_taken_and_the_rest_is_asked_again(
    change: Callable[[Answers], Answers], cost: tuple[int, int], then: tuple[int, int], scheme: str
) -> None:
    async def tamper(call: Call) -> object:
        answers = call.answer()
        assert isinstance(answers, list)
        return change(answers)

    with serving(CHAIN, batches=tamper) as node, asking(node, scheme) as rpc:
        assert [counted(rpc), counted(rpc)] == [cost, then]


@TRANSPORTS
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_fewer_are_asked_together_of_who_takes_not_so_many(scheme: str, limit: int) -> None:
    with serving(CHAIN, batch_limit=limit) as node, asking(node, scheme) as rpc:
        counted(rpc)
        messages, requests = counted(rpc)
    assert requests == 12
    assert messages == {1: 12, 3: 4, 7: 2}[limit]


@TRANSPORTS
def test_what_is_too_big_together_is_asked_for_in_parts(
    scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are too big a message, and half of them have too big an answer."""
    monkeypatch.setattr(server, "MAX_MESSAGE_BYTES", 600)
    with serving(CHAIN) as node, asking(node, scheme, attempts=1) as rpc:
        counted(rpc)
        assert counted(rpc) == (4, 12)


def too_often(*, each: bool) -> Tamper:
    return erring(429, "too many requests", each=True) if each else saying(Refused(429, "slowly"))


@TRANSPORTS
@pytest.mark.parametrize("each", [False, True])
def test_who_says_that_it_is_too_often_is_asked_again_later_and_for_less_and_less_together(
    scheme: str, *, each: bool
) -> None:
    """Once is not held against batches; who says so each time gets no more of them."""
    with serving(CHAIN, batches=too_often(each=each)) as node, asking(node, scheme) as rpc:
        assert counted(rpc) == (13, 24)
        assert rpc.takes_batches
        messages = [counted(rpc)[0] - 12 for _ in range(6)]
        assert sum(messages) == 6
        assert messages[-1] == 0
        assert not rpc.takes_batches


@pytest.mark.parametrize("each", [False, True])
def test_a_message_that_was_too_often_halves_what_is_on_its_way_once(*, each: bool) -> None:
    opened, seen = 0, []

    async def watched(call: Call) -> object:
        nonlocal opened
        opened += 1
        await asyncio.sleep(0.1)
        seen.append(opened)
        opened -= 1
        return call.answer()

    with serving(CHAIN, tamper=watched, batches=too_often(each=each)) as node, asking(node) as rpc:
        counted(rpc)
    assert seen[0] == START / 2


def test_a_batch_leaves_room_for_others_however_many_requests_it_has() -> None:
    answered: list[str] = []
    came, alone = threading.Event(), asyncio.Event()

    async def single(call: Call) -> object:
        answered.append("alone")
        alone.set()
        return call.answer()

    async def batch(call: Call) -> object:
        came.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(alone.wait(), 1)
        answered.append("batch")
        return call.answer()

    with (
        serving(CHAIN, tamper=single, batches=batch) as node,
        asking(node) as rpc,
        ThreadPoolExecutor() as threads,
    ):
        together = threads.submit(ask, rpc)
        assert came.wait(10)
        assert rpc.call("chain_getBlockHash", 1) == HASHES[1]
        assert together.result() == HASHES
    assert len(BLOCKS) > START
    assert answered == ["alone", "batch"]


def test_a_line_that_ends_says_nothing_of_who_has_answered_batches_before() -> None:
    seen = 0

    async def tamper(call: Call) -> object:
        nonlocal seen
        seen += 1
        if seen == 2:
            call.close()
            return None
        return call.answer()

    with serving(CHAIN, batches=tamper) as node, asking(node) as rpc:
        assert [counted(rpc)[0] for _ in range(3)] == [1, 1 + 1 + 12, 1]


def test_a_rate_limit_counts_each_request_and_no_message_has_more_than_a_second_of_them() -> None:
    sizes: list[int] = []

    async def tamper(call: Call) -> object:
        sizes.append(len(call.request))
        return call.answer()

    with serving(CHAIN, batches=tamper) as node, asking(node, requests_per_second=10) as rpc:
        begun = time.monotonic()
        assert counted(rpc) == (2, 12)
        assert time.monotonic() - begun >= 1
    assert sizes == [10, 2]


def test_who_refused_a_batch_is_asked_one_by_one_but_not_one_after_the_other() -> None:
    with serving(CHAIN, batch_limit=0, latency_ms=100) as node, asking(node) as rpc:
        begun = time.monotonic()
        counted(rpc)
        assert time.monotonic() - begun < 0.9


def too_big_above(entries: int) -> Tamper:
    """Says of a message with more blocks that it is too big, and not which request that was."""

    async def tamper(call: Call) -> object:
        requests = call.request if isinstance(call.request, list) else [call.request]
        blocks = [one["params"][0] for one in requests]
        if sum(len(one) if isinstance(one, list) else 1 for one in blocks) <= entries:
            return call.answer()
        return await erring(-32007, "Request is too big")(call)

    return tamper


@TRANSPORTS
def test_what_is_too_big_by_itself_too_is_asked_for_in_parts(scheme: str) -> None:
    tamper = too_big_above(5)
    requests = [("chain_getBlockHash", [list(BLOCKS)])] * 4
    with (
        serving(CHAIN, batches=tamper, tamper=tamper) as node,
        asking(node, scheme, patience=3) as rpc,
    ):
        assert rpc.call_many(requests, together=100) == [HASHES] * 4
        assert rpc.sent < 60


@TRANSPORTS
def test_what_is_too_big_and_has_no_parts_is_told(scheme: str) -> None:
    tamper = too_big_above(0)
    with (
        serving(CHAIN, batches=tamper, tamper=tamper) as node,
        asking(node, scheme, patience=3) as rpc,
    ):
        with pytest.raises(TooBigError, match="does not let so much pass at once"):
            ask(rpc)
        assert rpc.sent < 100
