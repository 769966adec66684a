"""Many requests in flight: what is sent when, how often, and what is made of the answers."""

import asyncio
import time
from pathlib import Path

import pytest

from operator_prices.chain import (
    NodeUnreachableError,
)
from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.client import Client, backoff
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call, Tamper
from operator_prices.devchain.serving import serving
from operator_prices.local import dagster_home as instances
from operator_prices.runs.chain import connected_chain
from operator_prices.settings import Settings
from operator_prices_tests.support.nodes import (
    Switch,
    failing_with,
    noting,
)
from operator_prices_tests.support.samples import (
    own_copy,
    reading,
)

SMALL = Scenario(seconds_per_block=0, epochs=12, operators=3, locking_epochs=5, forced=(7,))
CHAIN = DevChain(SMALL)


def test_the_window_is_halved_by_a_drop_and_grows_again() -> None:
    opened, peaks = 0, []

    async def watched(call: Call) -> object:
        nonlocal opened
        if call.connection == 1:
            call.close()
            return None
        opened += 1
        await asyncio.sleep(0.01)
        peaks.append(opened)
        opened -= 1
        return call.answer()

    with (
        serving(CHAIN, tamper=watched) as node,
        Rpc([Endpoint.parse(node.url)], in_flight=8, pause=0.01) as client,
    ):
        client.call_many([("system_chain", [])] * 200)
    assert max(peaks[:4]) == 4
    assert max(peaks) == max(peaks[-100:-10]) == 8


def test_what_waits_is_sent_in_its_turn_whenever_it_was_asked() -> None:
    async def ask(url: str) -> None:
        client = Client([Endpoint.parse(url)], in_flight=1)
        await asyncio.gather(
            client.call_many([("system_name", [])] * 3, turn=2),
            client.call_many([("system_chain", [])] * 2, turn=1),
        )
        await client.close()

    with noting(CHAIN) as (node, asked):
        asyncio.run(ask(node.url))
    assert asked == ["system_chain"] * 2 + ["system_name"] * 3


def test_waits_double_and_are_never_all_the_same() -> None:
    for tries, longest in ((0, 0.25), (1, 0.5), (3, 2), (5, 8), (50, 8)):
        waits = [backoff(0.25, tries) for _ in range(200)]
        assert longest / 2 <= min(waits) < longest * 0.6
        assert longest * 0.9 < max(waits) <= longest
        assert len(set(waits)) > 190


@pytest.mark.parametrize(
    ("tamper", "tries"),
    [(failing_with(-32603, "Internal error"), range(1, 12)), (Switch(after=0), range(1, 6))],
    ids=["refused", "dropped"],
)
def test_between_two_tries_there_is_a_wait_that_grows(
    tamper: Tamper, tries: range, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []

    def at_once(_: float, tries: int) -> float:
        waited.append(tries)
        return 0

    monkeypatch.setattr("operator_prices.chain.rpc.client.backoff", at_once)
    with (
        serving(CHAIN, tamper=tamper) as node,
        Rpc([Endpoint.parse(node.url)], pause=0.01) as client,
        pytest.raises(NodeUnreachableError),
    ):
        client.call("system_chain")
    assert waited[: len(tries)] == list(tries)


@pytest.mark.usefixtures("hurried")
def test_only_connections_in_a_row_without_an_answer_are_counted() -> None:
    async def moody(call: Call) -> object:
        if call.connection % 3 or call.number > 1:
            call.close()
            return None
        return call.answer()

    with (
        serving(CHAIN, tamper=moody) as node,
        Rpc([Endpoint.parse(node.url)], attempts=4) as client,
    ):
        assert all(client.call("system_chain") for _ in range(4))


@pytest.mark.usefixtures("hurried")
def test_who_was_given_up_is_tried_as_often_the_next_time() -> None:
    async def late(call: Call) -> object:
        if call.connection <= 4:
            call.close()
            return None
        return call.answer()

    with (
        serving(CHAIN, tamper=late) as node,
        Rpc([Endpoint.parse(node.url)], attempts=3) as client,
    ):
        with pytest.raises(NodeUnreachableError):
            client.call("system_chain")
        assert client.call("system_chain")


def test_a_notice_is_no_answer_and_does_no_harm() -> None:
    async def noticed(call: Call) -> object:
        if call.request["method"] == "system_chain":
            return call.answer()
        return {"jsonrpc": "2.0", "method": "chain_newHead", "params": {}}

    with (
        serving(CHAIN, tamper=noticed) as node,
        Rpc([Endpoint.parse(node.url)], pause=0.01, timeout=0.5, attempts=2) as client,
    ):
        with pytest.raises(NodeUnreachableError, match="no answer in time"):
            client.call("system_name")
        assert client.call("system_chain")


def test_the_first_connection_costs_no_question_about_the_genesis(tmp_path: Path) -> None:
    with noting(CHAIN) as (node, asked), reading(node.url, tmp_path) as reader:
        reader.head()
        assert asked[:2] == ["chain_getHeader", "chain_getBlockHash"]
        assert asked.count("chain_getBlockHash") == 2


@pytest.mark.parametrize("blocks", [0, [0], [3, 0]])
def test_each_later_connection_costs_one_question_which_is_counted(
    blocks: int | list[int],
) -> None:
    with (
        noting(CHAIN, tampering.close_after(3)) as (node, asked),
        Rpc([Endpoint.parse(node.url)], pause=0.01) as client,
    ):
        client.call("chain_getBlockHash", blocks)
        for _ in range(6):
            client.call("system_chain")
        assert client.sent == len(asked)
    connection = ["chain_getBlockHash", "system_chain", "system_chain"]
    assert asked == [*connection, "system_chain", *connection, "system_chain", *connection]


@pytest.mark.usefixtures("database")
def test_a_command_takes_a_share_of_the_limit_like_a_run(
    dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(CHAIN) as node:
        settings = Settings(
            data_dir=tmp_path,
            database_url=dsn,
            archive_node_url=node.url,
            requests_per_second=80,
        )
        for name, value in instances.dagster_environment(settings).items():
            monkeypatch.setenv(name, value)
        with connected_chain(settings) as chain:
            asked, begun = chain.requests, time.monotonic()
            chain.head()
            assert (chain.requests - asked) / (time.monotonic() - begun) < 30


def test_an_answer_to_nobody_is_passed_over(tmp_path: Path) -> None:
    first = True

    async def odd(call: Call) -> object:
        nonlocal first
        answer = own_copy(call)
        if first:
            first, answer["id"] = False, [answer["id"]]
        return answer

    with serving(SMALL, tamper=odd) as node, reading(node.url, tmp_path, timeout=0.5) as reader:
        assert reader.head().last_completed_epoch is not None


def test_what_nobody_thought_of_reaches_who_waits() -> None:
    with serving(SMALL) as node:
        for url in (node.url, node.http_url):
            endpoint = Endpoint(url, {"Authorization": "broken\nin two"})
            with Rpc([endpoint], pause=0.01) as rpc, pytest.raises(ValueError, match=r"[Hh]eader"):
                rpc.call("system_chain")


def test_a_rate_limit_of_our_own_is_kept(tmp_path: Path) -> None:
    with (
        serving(SMALL) as node,
        reading(node.url, tmp_path, requests_per_second=100) as reader,
    ):
        begun = time.monotonic()
        reader.read(range(10))
        assert reader.requests / (time.monotonic() - begun) < 110
