"""How many requests are on their way: as many as the node bears, and fewer when it slows down."""

import asyncio
from collections.abc import Callable

import pytest

from operator_prices.chain.rpc.blocking import Rpc
from operator_prices.chain.rpc.endpoints import Endpoint
from operator_prices.chain.rpc.in_flight import IN_A_ROW, MOST, START, InFlight
from operator_prices.devchain.chain import DevChain
from operator_prices.devchain.scenario import Scenario
from operator_prices.devchain.server import Call
from operator_prices.devchain.serving import serving

CHAIN = DevChain(Scenario(seconds_per_block=0, epochs=12, operators=3))
KIND = ("state_queryStorageAt", 8)


def rounds(flight: InFlight, seconds: Callable[[float], float], count: int, at: float = 0) -> float:
    """So many rounds in which the flight is full, and each answer takes `seconds(size)`."""
    for _ in range(count):
        took = seconds(int(flight.size))
        at += took
        for _ in range(int(flight.size)):
            flight.answered(KIND, took, at, full=True)
    return at


@pytest.mark.parametrize(("latency", "service"), [(0.025, 0.001), (0.1, 0.001), (0.25, 0.004)])
def test_it_grows_until_the_node_is_busy_all_the_time(latency: float, service: float) -> None:
    flight = InFlight()
    rounds(flight, lambda size: max(latency, size * service), 200)
    assert min(MOST, latency / service) <= flight.size <= min(MOST, 3 * latency / service + 20)


def test_a_node_at_hand_is_not_sent_all_there_is() -> None:
    flight = InFlight()
    rounds(flight, lambda size: size * 0.005, 100)
    assert flight.size < 3 * START


def test_it_shrinks_within_seconds_when_the_node_slows_down_and_grows_again() -> None:
    flight = InFlight()
    at = rounds(flight, lambda size: max(0.1, size * 0.001), 50)
    before = flight.size
    slowed = rounds(flight, lambda size: max(0.1, size * 0.02), 15, at)
    assert flight.size < before / 3
    rounds(flight, lambda size: max(0.1, size * 0.001), 100, slowed)
    assert flight.size > before * 0.8


def test_a_longer_way_is_not_taken_for_a_slower_node_for_ever() -> None:
    flight = InFlight()
    at = rounds(flight, lambda _: 0.005, 20)
    rounds(flight, lambda _: 0.25, 1000, at)
    assert flight.size == MOST


def test_large_requests_are_not_held_against_small_ones() -> None:
    flight = InFlight()
    for at in range(200):
        flight.answered(("state_queryStorageAt", 1), 0.02, at * 0.02, full=True)
        flight.answered(("state_queryStorageAt", 15), 1.0, at * 0.02, full=True)
    assert flight.size == MOST


def test_what_waits_behind_a_much_larger_request_says_nothing_of_the_node() -> None:
    def after(size: int) -> float:
        flight = InFlight()
        at = rounds(flight, lambda _: 0.1, 20)
        flight.answered(("state_queryStorageAt", size), 1.0, at + 0.9, full=True)
        for _ in range(50):
            flight.answered(KIND, 0.9, at + 1, full=True)
        return flight.size

    assert after(14) == MOST
    assert after(9) < MOST


@pytest.mark.parametrize(("late", "grown"), [(1, True), (IN_A_ROW, False)])
def test_an_answer_that_is_late_by_chance_does_not_end_the_fast_growth(
    late: int, *, grown: bool
) -> None:
    flight = InFlight()
    at = rounds(flight, lambda _: 0.1, 2)
    for _ in range(late):
        flight.answered(KIND, 0.5, at, full=True)
    rounds(flight, lambda _: 0.1, 2, at)
    assert (flight.size == MOST) is grown


def test_who_asks_little_learns_nothing_about_how_much_the_node_bears() -> None:
    flight = InFlight()
    for at in range(1000):
        flight.answered(KIND, 0.02, at, full=False)
    assert flight.size == START


@pytest.mark.e2e
def test_a_far_node_is_sent_more_at_a_time_than_one_that_slows_down_under_load() -> None:
    opened, peaks = 0, []

    async def counted(seconds: Callable[[int], float], call: Call) -> object:
        nonlocal opened
        opened += 1
        peaks.append(opened)
        await asyncio.sleep(seconds(opened))
        opened -= 1
        return call.answer()

    def peak(seconds: Callable[[int], float]) -> int:
        peaks.clear()
        with (
            serving(CHAIN, tamper=lambda call: counted(seconds, call)) as node,
            Rpc([Endpoint.parse(node.url)], in_flight=60) as rpc,
        ):
            rpc.call_many([("system_chain", [])] * 200)
        return max(peaks[-100:])

    assert peak(lambda _: 0.1) > 2 * peak(lambda busy: 0.01 * busy)
