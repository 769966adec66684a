"""Nothing waits longer than who asks: nodes that hang, that are slow, and that come back."""

import asyncio
import time
from pathlib import Path

import pytest

from operator_prices.chain import NodeHangsError, NodeUnreachableError
from operator_prices.devchain import tampering
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving
from operator_prices_tests.support.nodes import stoppable
from operator_prices_tests.support.samples import assert_all_read, reading

PLAYED = DevChain(Scenario(seconds_per_block=0, epochs=12, operators=3))


@pytest.mark.e2e
@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_a_process_that_is_stopped_is_told_to_hang_and_read_again_when_it_goes_on(
    scheme: str, tmp_path: Path
) -> None:
    with stoppable() as node:
        url = node.url.replace("ws:", f"{scheme}:")
        with reading(url, tmp_path, patience=2) as reader:
            before = reader.head()
            node.stop()
            for _ in range(2):
                begun = time.monotonic()
                with pytest.raises(
                    NodeHangsError, match=rf"^{url} hangs: connected, no answer for 2 s; restart"
                ):
                    reader.head()
                assert 1.9 < time.monotonic() - begun < 3.5
            node.go_on()
            assert reader.head() == before


def test_a_process_that_is_stopped_from_the_beginning_is_told_to_hang(tmp_path: Path) -> None:
    with stoppable() as node:
        node.stop()
        begun = time.monotonic()
        with (
            pytest.raises(NodeHangsError, match="hangs: connected, no answer for 1 s"),
            reading(node.url, tmp_path, patience=1) as reader,
        ):
            reader.head()
        assert time.monotonic() - begun < 3.5


def test_a_second_endpoint_stands_in_for_one_that_hangs(tmp_path: Path) -> None:
    with stoppable() as hanging, serving(PLAYED) as node:
        hanging.stop()
        with reading(f"{hanging.url},{node.url}", tmp_path, patience=3) as reader:
            begun = time.monotonic()
            assert_all_read(reader, PLAYED)
            assert time.monotonic() - begun < 3


def test_two_endpoints_that_hang_are_both_named(tmp_path: Path) -> None:
    with stoppable() as first, stoppable() as second:
        first.stop()
        second.stop()
        with (
            reading(f"{first.url},{second.url}", tmp_path, patience=2) as reader,
            pytest.raises(NodeHangsError, match="hangs") as raised,
        ):
            reader.head()
    assert first.url in str(raised.value)
    assert second.url in str(raised.value)


@pytest.mark.e2e
def test_who_waits_goes_on_waiting_while_answers_come(tmp_path: Path) -> None:
    with (
        serving(PLAYED, tamper=tampering.delay(0.3)) as node,
        reading(node.url, tmp_path, patience=1) as reader,
    ):
        begun = time.monotonic()
        assert_all_read(reader, PLAYED)
        assert time.monotonic() - begun > 2


@pytest.mark.parametrize("scheme", ["ws", "http"])
def test_answers_that_come_too_slowly_in_all_are_told(scheme: str, tmp_path: Path) -> None:
    with serving(PLAYED, tamper=tampering.delay(0.4)) as node:
        url = node.url.replace("ws:", f"{scheme}:")
        begun = time.monotonic()
        with (
            reading(url, tmp_path, patience=5, within=1) as reader,
            pytest.raises(NodeUnreachableError, match=r"answers too slowly: .* longer than 1 s"),
        ):
            reader.read(range(10))
        assert time.monotonic() - begun < 2


def test_refusals_alone_do_not_last_longer_than_who_asks_has_time(tmp_path: Path) -> None:
    async def busy(call: Call) -> object:
        await asyncio.sleep(0.01)
        return tampering.error(call, -32603, "Internal error")

    with serving(PLAYED, tamper=busy) as node:
        begun = time.monotonic()
        with (
            reading(node.url, tmp_path, attempts=10**6, within=1) as reader,
            pytest.raises(NodeUnreachableError),
        ):
            reader.head()
        assert time.monotonic() - begun < 2
